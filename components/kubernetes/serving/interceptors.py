"""What holds requests to endpoints that have no instance, until there is one."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

from components import contracts
from components.kubernetes import pods
from components.kubernetes.contracts import INTERCEPTORS, TEAM, Spaces
from components.kubernetes.contracts import Interceptors as Handles
from components.kubernetes.objects import custom, inside, outward
from components.kubernetes.pods import MODEL_PORT as PORT
from components.kubernetes.pods import Place
from components.scope import Component, Scope, after

INTERCEPTOR = "ghcr.io/kedacore/http-add-on-interceptor:0.15.0"
"""Of the same version as its chart (`foundation/charts.py`)."""
_CHART = "keda-add-ons-http"
_COUNTS = 9090
"""Where interceptors say how many requests they hold, and where the chart's scaler hands that on to KEDA."""
# How the chart's service for counts finds interceptors (kedacore/charts c4b92e9, http-add-on: _helpers.tpl, service-admin.yaml).
_COUNTED: Mapping[str, str] = {
    "app.kubernetes.io/component": "interceptor",
    "app.kubernetes.io/name": "http-add-on",
    "app.kubernetes.io/part-of": _CHART,
    "app.kubernetes.io/managed-by": "Helm",
    "app.kubernetes.io/instance": _CHART,
}
_LEAVING, _DRAIN, _GRACE = 5, 60, 75
"""Seconds: until nobody sends it requests any more, what it holds has to be answered in, and until it is ended anyway."""


@dataclass(frozen=True, kw_only=True)
class InterceptorsArgs:
    """For whose endpoints."""

    cluster: contracts.Cluster
    teams: Collection[str]
    """Those with an endpoint that may have no instance."""
    spaces: Spaces
    image: pulumi.Input[str]
    system: Mapping[str, str]
    """Label of the machines of the cluster's own services."""
    ready: tuple[pulumi.Resource, ...]
    """The chart, among others, with its namespace and its scaler."""


class Interceptors(Component):
    """The interceptors of KEDA's HTTP add-on, of each team its own.

    Owns the interceptors, their accounts and what these may look at, and the fences of their namespace. Never owns the chart with
    the scaler that counts for KEDA, nor the routes: an endpoint has its own.

    One interceptor for all, as the chart has it, goes wherever a caller's `Host` header says: whoever may call one endpoint
    could call every other. So each team has one that knows the routes of its namespace alone, reached from where the team works
    and from nowhere else. They bear the labels of the chart's own, by which its scaler finds them; the chart's own, which it
    cannot be installed without, knows no route and is let nobody in to.

    The add-on calls itself beta: stable, with small changes that break until 1.0 (README, v0.15.0 of 2026-06-15). Only endpoints
    with `scale.min: 0` go past it; the others are called without it. An interceptor that goes gives what it holds a minute: who
    waits longer for a start is cut off and has to ask again.

    Costs a quarter of a vCPU and 256 MiB of the system machines for each team, twice in prod, and the same once for the scaler. A
    destroy takes it along with the cluster.

    >>> args = InterceptorsArgs(cluster=cluster, teams=["risk"], spaces=spaces, image=INTERCEPTOR, system={}, ready=())
    >>> sorted(Interceptors("interceptors", args, scope=scope, parent=parent).outputs.hosts)
    ['risk']
    """

    layer = "kubernetes"
    outputs: Handles

    def __init__(self, name: str, args: InterceptorsArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Fence the namespace, then make each team's."""
        super().__init__(name, scope, parent)
        self._args = args
        fences = self._fences()
        self.outputs = Handles(
            hosts={team: self._interceptor(team, *fences) for team in sorted(args.teams)},
            scaler=f"{_CHART}-external-scaler.{INTERCEPTORS}:{_COUNTS}",
        )
        self.finish(self.outputs)

    def _options(self, *made: pulumi.Resource) -> pulumi.ResourceOptions:
        return inside(self, self._args.cluster, *self._args.ready, *made)

    def _fence(self, name: str, spec: kubernetes.networking.v1.NetworkPolicySpecArgsDict) -> pulumi.Resource:
        return kubernetes.networking.v1.NetworkPolicy(
            f"{self.name}-{name}",
            metadata={"name": name, "namespace": INTERCEPTORS},
            spec={"policy_types": ["Ingress", "Egress"], **spec},
            opts=self._options(),
        )

    def _fences(self) -> list[pulumi.Resource]:
        """In for counts, from KEDA and among each other; out to the API server, which says what is ready."""
        counts: list[kubernetes.networking.v1.NetworkPolicyPortArgsDict] = [{"port": _COUNTS, "protocol": "TCP"}]
        here: kubernetes.networking.v1.NetworkPolicyPeerArgsDict = {"pod_selector": {}}
        needed: kubernetes.networking.v1.NetworkPolicySpecArgsDict = {
            "pod_selector": {},
            "ingress": [{"from_": [here, _namespace("keda")], "ports": counts}],
            "egress": [{"to": [here], "ports": counts}, *outward(self.scope.cloud)],
        }
        return [self._fence("closed", {"pod_selector": {}}), self._fence("needed", needed)]

    def _interceptor(self, team: str, *fences: pulumi.Resource) -> contracts.Text:
        spaces, name = self._args.spaces, f"team-{team}"
        label, matched = f"{self.name}-{team}", {**_COUNTED, TEAM: team}
        http: list[kubernetes.networking.v1.NetworkPolicyPortArgsDict] = [{"port": PORT, "protocol": "TCP"}]
        fence = self._fence(
            name,
            {
                "pod_selector": {"match_labels": matched},
                "ingress": [{"from_": [_namespace(spaces.callers[team])], "ports": http}],
                "egress": [{"to": [_namespace(spaces.namespaces[team])], "ports": http}],
            },
        )
        here = kubernetes.meta.v1.ObjectMetaArgs(name=name, namespace=INTERCEPTORS, labels=matched)
        deployment = custom(
            label,
            "apps/v1",
            "Deployment",
            {"name": name, "namespace": INTERCEPTORS, "labels": matched},
            self._options(fence, *fences, *self._account(team, here)),
            spec={
                "replicas": 2 if self.scope.tier == "prod" else 1,
                "revisionHistoryLimit": 3,
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
                "selector": {"matchLabels": matched},
                "template": {"metadata": {"labels": matched}, "spec": self._pod(team, matched)},
            },
        )
        service = kubernetes.core.v1.Service(
            label,
            metadata=here,
            spec={
                "type": "ClusterIP",
                "selector": matched,
                "ports": [{"name": "http", "port": PORT, "target_port": PORT, "protocol": "TCP"}],
            },
            opts=self._options(deployment),
        )
        budget = kubernetes.policy.v1.PodDisruptionBudget(
            label,
            metadata=here,
            spec={"max_unavailable": 1, "selector": {"match_labels": matched}},
            opts=self._options(),
        )
        return after(f"{name}.{INTERCEPTORS}.svc.cluster.local", deployment, service, budget)

    def _account(self, team: str, here: kubernetes.meta.v1.ObjectMetaArgs) -> list[pulumi.Resource]:
        """What an interceptor looks at: routes, services and what is ready behind them, in its team's namespace alone."""
        label, name = f"{self.name}-{team}", f"team-{team}"
        looking = ["get", "list", "watch"]
        there = kubernetes.meta.v1.ObjectMetaArgs(name="interceptor", namespace=self._args.spaces.namespaces[team])
        account = kubernetes.core.v1.ServiceAccount(
            label, metadata=here, automount_service_account_token=False, opts=self._options()
        )
        # The chart's own has the same of the whole cluster (interceptor/rbac.yml).
        role = kubernetes.rbac.v1.Role(
            label,
            metadata=there,
            rules=[
                {"api_groups": [""], "resources": ["services"], "verbs": looking},
                {"api_groups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": looking},
                {
                    "api_groups": ["http.keda.sh"],
                    "resources": ["httpscaledobjects", "interceptorroutes"],
                    "verbs": looking,
                },
            ],
            opts=self._options(),
        )
        bound = kubernetes.rbac.v1.RoleBinding(
            label,
            metadata=there,
            role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "Role", "name": "interceptor"},
            subjects=[{"kind": "ServiceAccount", "name": name, "namespace": INTERCEPTORS}],
            opts=self._options(account, role),
        )
        return [bound]

    def _pod(self, team: str, matched: Mapping[str, str]) -> dict[str, Any]:
        # Source: http-add-on v0.15.0, interceptor/config/serving.go.
        variables: dict[str, pulumi.Input[str]] = {
            "KEDA_HTTP_PROXY_PORT": str(PORT),
            "KEDA_HTTP_ADMIN_PORT": str(_COUNTS),
            "KEDA_HTTP_WATCH_NAMESPACE": self._args.spaces.namespaces[team],
            "KEDA_HTTP_SHUTDOWN_DELAY": f"{_LEAVING}s",
            "KEDA_HTTP_DRAIN_TIMEOUT": f"{_DRAIN}s",
        }
        container = {
            "name": "interceptor",
            "image": self._args.image,
            "args": ["--zap-log-level=info", "--zap-encoder=json", "--zap-time-encoding=rfc3339"],
            "ports": [
                {"name": "proxy", "containerPort": PORT, "protocol": "TCP"},
                # The chart's service for counts goes by this name.
                {"name": "admin", "containerPort": _COUNTS, "protocol": "TCP"},
            ],
            "env": pods.variables(variables),
            "resources": pods.resources("250m", "256Mi"),
            "securityContext": dict(pods.RESTRICTED),
            "readinessProbe": {"httpGet": {"path": "/readyz", "port": "admin"}, "periodSeconds": 5},
            "livenessProbe": {
                "httpGet": {"path": "/livez", "port": "admin"},
                "periodSeconds": 15,
                "failureThreshold": 4,
            },
        }
        return {
            "serviceAccountName": f"team-{team}",
            # It watches routes.
            "automountServiceAccountToken": True,
            "enableServiceLinks": False,
            "priorityClassName": self._args.spaces.priority,
            "terminationGracePeriodSeconds": _GRACE,
            "securityContext": pods.security(),
            "topologySpreadConstraints": pods.spread(matched),
            **Place(system=self._args.system).scheduling(),
            "containers": [container],
        }


def _namespace(name: pulumi.Input[str]) -> kubernetes.networking.v1.NetworkPolicyPeerArgsDict:
    return {"namespace_selector": {"match_labels": {"kubernetes.io/metadata.name": name}}}
