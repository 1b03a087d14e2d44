"""Where endpoints answer: a namespace for each team, beside the one where it trains."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as kubernetes

from components import contracts
from components.core.scrapes import ROUTERS
from components.kubernetes import pods
from components.kubernetes.contracts import INTERCEPTORS, SERVING, TEAM
from components.kubernetes.contracts import Spaces as Handles
from components.kubernetes.objects import inside, outward
from components.kubernetes.pods import MODEL_PORT, ROUTER_PORT, SERVER_PORT
from components.scope import Component, Scope, after

PRIORITY = "ai-platform-serving"
_PODS = 500
_DEFAULT: Mapping[str, str] = {"cpu": "1", "memory": "2Gi"}
# Pods there are ready once the load balancer, too, finds them healthy (AWS Load Balancer Controller, "Pod readiness gate").
_GATED: Mapping[str, str] = {"elbv2.k8s.aws/pod-readiness-gate-inject": "enabled"}


@dataclass(frozen=True, kw_only=True)
class SpacesArgs:
    """Whose endpoints there are."""

    cluster: contracts.Cluster
    callers: Mapping[str, contracts.Text]
    """By team with endpoints: the namespace that its work calls them from."""
    accelerators: Mapping[str, Mapping[str, int]]
    """By team, by what a container asks for: how many its endpoints may hold at once, with their releases."""
    routed: bool = False
    """Whether there are language models among them."""
    sleeping: Collection[str] = ()
    """Teams with an endpoint that may have no instance: they are called past what holds requests meanwhile."""
    registered: Sequence[str] = ()
    """Teams with endpoints that AWS's load balancer leads to."""
    collectors: Sequence[str] = ()
    """Ranges that metrics are collected from, outside of the cluster."""


class Spaces(Component):
    """The namespaces of endpoints, `serving-{team}`.

    Owns of each: the namespace, its ceiling, limits for containers that name none, its network policies, and the way there in
    the team's own namespace; and once for all what comes first where there is too little room, and the namespace of what routes
    to language models. Never owns an endpoint.

    Apart from the team's own namespace, since whoever submits a job there names any service account of it: a job could else
    take an endpoint's identity, and its pods would be called past its guardrail. Nobody of a team makes anything here. Rules of
    admission on images and limits, and signatures, hold as there. Called is what answers by pods of its own team, on its port;
    it goes out to names, its credentials and HTTPS, where the network itself says to whom.

    Costs nothing. A destroy deletes the namespaces along with the cluster.

    >>> callers = {"risk": pulumi.Output.from_input("team-risk")}
    >>> args = SpacesArgs(cluster=cluster, callers=callers, accelerators={})
    >>> sorted(Spaces("spaces", args, scope=scope, parent=parent).outputs.namespaces)
    ['risk']
    """

    layer = "kubernetes"
    outputs: Handles

    def __init__(self, name: str, args: SpacesArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the priority once, and each team's namespace."""
        super().__init__(name, scope, parent)
        self._args = args
        priority = kubernetes.scheduling.v1.PriorityClass(
            f"{name}-priority",
            metadata={"name": PRIORITY},
            value=500_000_000,
            description="What answers: before all work, after the controllers.",
            opts=self._options(),
        )
        self.outputs = Handles(
            namespaces={team: self._space(team, caller) for team, caller in sorted(args.callers.items())},
            callers=args.callers,
            priority=after(PRIORITY, priority),
            routers=self._routers() if args.routed else None,
        )
        self.finish(self.outputs)

    def _options(self, *made: pulumi.Resource) -> pulumi.ResourceOptions:
        return inside(self, self._args.cluster, *made)

    def _routers(self) -> contracts.Text:
        level = "pod-security.kubernetes.io"
        space = kubernetes.core.v1.Namespace(
            f"{self.name}-routers",
            metadata={
                "name": ROUTERS,
                "labels": {f"{level}/{mode}": "restricted" for mode in ("enforce", "warn", "audit")},
            },
            opts=self._options(),
        )
        closed = kubernetes.networking.v1.NetworkPolicy(
            f"{self.name}-routers-closed",
            metadata={"name": "closed", "namespace": ROUTERS},
            spec={"pod_selector": {}, "policy_types": ["Ingress", "Egress"]},
            opts=self._options(space),
        )
        return after(ROUTERS, space, closed)

    def _space(self, team: str, caller: contracts.Text) -> contracts.Text:
        level, name = "pod-security.kubernetes.io", f"serving-{team}"
        space = kubernetes.core.v1.Namespace(
            f"{self.name}-{team}",
            metadata={
                "name": name,
                "labels": {
                    TEAM: team,
                    SERVING: "true",
                    **(_GATED if team in self._args.registered else {}),
                    **{f"{level}/{mode}": "restricted" for mode in ("enforce", "warn", "audit")},
                },
            },
            opts=inside(self, self._args.cluster, outlived=False),
        )
        held = {f"requests.{kind}": str(most) for kind, most in self._args.accelerators.get(team, {}).items()}
        ceiling = kubernetes.core.v1.ResourceQuota(
            f"{self.name}-{team}-ceiling",
            metadata={"name": "ceiling", "namespace": name},
            spec={
                "hard": {
                    **held,
                    "pods": str(_PODS),
                    "count/ingresses.networking.k8s.io": "0",
                    "services.loadbalancers": "0",
                    "services.nodeports": "0",
                }
            },
            opts=self._options(space),
        )
        limits = kubernetes.core.v1.LimitRange(
            f"{self.name}-{team}-limits",
            metadata={"name": "limits", "namespace": name},
            spec={"limits": [{"type": "Container", "default": dict(_DEFAULT), "default_request": dict(_DEFAULT)}]},
            opts=self._options(space),
        )
        return after(name, space, ceiling, limits, *self._fences(team, name, caller, space))

    def _fences(
        self, team: str, name: str, caller: contracts.Text, space: pulumi.Resource
    ) -> Sequence[pulumi.Resource]:
        both = ["Ingress", "Egress"]
        ports: list[kubernetes.networking.v1.NetworkPolicyPortArgsDict] = [
            {"port": port, "protocol": "TCP"} for port in (MODEL_PORT, ROUTER_PORT)
        ]
        asleep = team in self._args.sleeping
        holding: kubernetes.networking.v1.NetworkPolicyPeerArgsDict = {
            **pods.of(INTERCEPTORS),
            "pod_selector": {"match_labels": {TEAM: team}},
        }
        routed: kubernetes.networking.v1.NetworkPolicyPortArgsDict = {"port": SERVER_PORT, "protocol": "TCP"}
        closed = kubernetes.networking.v1.NetworkPolicy(
            f"{self.name}-{team}-closed",
            metadata={"name": "closed", "namespace": name},
            spec={"pod_selector": {}, "policy_types": both},
            opts=self._options(space),
        )
        needed = kubernetes.networking.v1.NetworkPolicy(
            f"{self.name}-{team}-needed",
            metadata={"name": "needed", "namespace": name},
            spec={
                "pod_selector": {},
                "policy_types": both,
                "ingress": [
                    {"from_": [pods.of(caller)], "ports": ports},
                    {"from_": [pods.of(pods.SCALER)], "ports": [*ports, routed]},
                    *pods.collected_by(self.scope.cloud, self._args.collectors, MODEL_PORT, SERVER_PORT),
                    {"from_": [pods.of(ROUTERS)], "ports": [routed]},
                    *([{"from_": [holding], "ports": [ports[0]]}] if asleep else []),
                ],
                "egress": outward(self.scope.cloud),
            },
            opts=self._options(space),
        )
        way = kubernetes.networking.v1.NetworkPolicy(
            f"{self.name}-{team}-way",
            metadata={"name": "endpoints", "namespace": caller},
            spec={
                "pod_selector": {},
                "policy_types": ["Egress"],
                "egress": [
                    {"to": [pods.of(name), pods.of(ROUTERS)], "ports": ports},
                    *([{"to": [holding], "ports": [ports[0]]}] if asleep else []),
                ],
            },
            opts=self._options(space),
        )
        return closed, needed, way
