"""How new versions of an endpoint in a cluster take over, step by step, and are taken back."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

from components import contracts
from components.core.fronts import FRONT_METRICS
from components.kubernetes import pods
from components.kubernetes.contracts import Release as Handles
from components.kubernetes.contracts import Watchers
from components.kubernetes.objects import custom, inside
from components.kubernetes.pods import ROLLOUTS, Place
from components.scope import Component, Scope, after
from components.spec.endpoints import alarms, stepwise
from components.spec.releases import BlueGreen, Canary
from components.spec.serving import Container, RealTime

NEW = "ai-platform.io/new-version"
"""Label of pods whose version is not trusted yet. Argo Rollouts takes it from them once it is."""
_START_SECONDS = 900
"""Until a version without a pod that becomes ready counts as failed: five minutes each for a machine, an image and a model."""
_STAYS_SECONDS = 20
"""That a new pod has to be ready for before it counts: until the load balancer has seen it too."""
_LATE_SECONDS = 900
"""That a watcher may take besides: until it has started, perhaps on a machine of its own, and once more where it was moved."""
_TAKEN_BACK = 3
"""Exit code of `runtime/serving/watch.py`."""


@dataclass(frozen=True, kw_only=True)
class ReleaseArgs:
    """Whose versions, and who watches them."""

    cluster: contracts.Cluster
    spec: RealTime | Container
    endpoint: str
    namespace: contracts.Text
    """Of its pods."""
    template: contracts.Text
    """Name of the deployment that they are made by; resolves once it is there."""
    priority: contracts.Text
    """Name of the priority class of what watches."""
    watchers: Watchers
    python: pulumi.Input[str]
    """The image that watches."""
    system: Mapping[str, str]
    """Label of the machines of the cluster's own services."""
    fronted: bool = False
    """Whether something in the pods checks tokens, and counts requests too."""
    ready: Sequence[pulumi.Resource] = ()
    """What understands these kinds."""


class Release(Component):
    """The pods of an endpoint, of the version that answers and of the one that comes: a `Rollout` of Argo Rollouts.

    Owns the rollout, how a version is watched and from where, and the name that its pods are found by. Never owns the endpoint:
    the rollout makes its pods by the template of the endpoint's deployment, which has none of its own (`workloadRef`), so a new
    version changes what it would change without a release. KServe leaves the number of a deployment alone whose autoscaler is
    another's (v0.20.0, deployment_reconciler.go: `Replicas` are neither compared nor sent, unless `autoscalerClass` is none),
    and finds one without pods available.

    The endpoint's address leads to all its pods, whatever their version: requests are split by their number, by a load balancer
    as by the cluster, and nobody's address or target group changes. So `canary` is one pod or more beside the others, as near to
    `percent` as their number allows. With `blue_green` a second fleet of the same size comes beside the old one, which stays
    whole: half of the requests are its own, and the rest once it is trusted; the service that Argo's strategy wants to switch
    leads nowhere anybody goes.

    Before it is trusted a version is watched for `bake_minutes` by a job that reads its pods (`runtime/serving/watch.py`), with
    the bounds of the endpoint's objective. Whatever ends the job but trust takes the version back: its pods go, the old ones have
    all requests again, the rollout is Degraded, and stays so until there is another version. So it is with pods that are not
    ready within 15 minutes. Nobody has to be awake, and `pulumi up` does not wait, but for the very first version.

    Costs nothing by itself; a release one pod more while it lasts, or the fleet twice, and a tenth of a vCPU of the system
    machines for its watcher. A destroy takes it along with the cluster.

    >>> canary = container.model_copy(update={"release": Canary(strategy="canary", percent=33)})
    >>> args = ReleaseArgs(
    ...     cluster=cluster, spec=canary, endpoint="search", namespace=cluster.name, template=cluster.name,
    ...     priority=cluster.name, watchers=watchers, python="python:3.13", system={},
    ... )
    >>> Release("search-release", args, scope=scope, parent=parent).name
    'search-release'
    """

    layer = "kubernetes"
    outputs: Handles

    def __init__(self, name: str, args: ReleaseArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Say how a version is watched, then make the rollout."""
        super().__init__(name, scope, parent)
        self._args = args
        release = stepwise(args.spec)
        if release is None:
            raise ValueError(f"{args.endpoint}: versions take over at once")
        self._listening = pods.listening(args.endpoint, args.spec)
        self._ports = [self._listening.port, *([FRONT_METRICS] if args.fronted else [])]
        made = [self._listed(), *self._fences(), self._template(release)]
        if isinstance(release, BlueGreen):
            made.append(self._active())
        rollout = self._rollout(release, *made)
        self.outputs = Handles(ready=after(self._listening.workload, rollout))
        self.finish(self.outputs)

    def _options(self, *made: pulumi.Resource) -> pulumi.ResourceOptions:
        return inside(self, self._args.cluster, *self._args.ready, *made)

    def _meta(self, name: str) -> dict[str, Any]:
        return {"name": name, "namespace": self._args.namespace, "labels": pods.labels(self._args.endpoint)}

    def _service(self, suffix: str) -> dict[str, Any]:
        # Pulumi would wait for pods behind it, which are there while something is released, or come after it.
        return {**self._meta(f"{self._args.endpoint}-{suffix}"), "annotations": {"pulumi.com/skipAwait": "true"}}

    def _listed(self) -> pulumi.Resource:
        """Pods of the version that is not trusted yet, by name; also those not ready any more, for whoever reads them."""
        return kubernetes.core.v1.Service(
            f"{self.name}-new",
            metadata=kubernetes.meta.v1.ObjectMetaArgs(**self._service("new")),
            spec={
                "type": "ClusterIP",
                "cluster_ip": "None",
                "publish_not_ready_addresses": True,
                "selector": {**pods.labels(self._args.endpoint), NEW: "true"},
                "ports": [{"name": "http", "port": self._listening.port, "protocol": "TCP"}],
            },
            opts=self._options(),
        )

    def _active(self) -> pulumi.Resource:
        """What Argo's strategy wants to switch: it adds to the selector."""
        return kubernetes.core.v1.Service(
            f"{self.name}-active",
            metadata=kubernetes.meta.v1.ObjectMetaArgs(**self._service("active")),
            spec={
                "type": "ClusterIP",
                "cluster_ip": "None",
                "selector": pods.labels(self._args.endpoint),
                "ports": [{"name": "http", "port": self._listening.port, "protocol": "TCP"}],
            },
            opts=pulumi.ResourceOptions.merge(
                self._options(), pulumi.ResourceOptions(ignore_changes=["spec.selector"])
            ),
        )

    def _fences(self) -> list[pulumi.Resource]:
        """From what watches to these pods, on the ports that it reads."""
        args, endpoint = self._args, self._args.endpoint
        open_: list[kubernetes.networking.v1.NetworkPolicyPortArgsDict] = [
            {"port": port, "protocol": "TCP"} for port in self._ports
        ]
        matched: kubernetes.meta.v1.LabelSelectorArgsDict = {"match_labels": pods.labels(endpoint)}
        here = kubernetes.networking.v1.NetworkPolicy(
            f"{self.name}-watched",
            metadata=kubernetes.meta.v1.ObjectMetaArgs(**self._meta(f"{endpoint}-watched")),
            spec={
                "pod_selector": matched,
                "policy_types": ["Ingress"],
                "ingress": [{"from_": [pods.of(args.watchers.space)], "ports": open_}],
            },
            opts=self._options(),
        )
        there = kubernetes.networking.v1.NetworkPolicy(
            f"{self.name}-way",
            metadata={"name": f"endpoint-{endpoint}", "namespace": args.watchers.space},
            spec={
                "pod_selector": {"match_labels": pods.labels(endpoint)},
                "policy_types": ["Egress"],
                "egress": [{"to": [{**pods.of(args.namespace), "pod_selector": matched}], "ports": open_}],
            },
            opts=self._options(),
        )
        return [here, there]

    def _template(self, release: Canary | BlueGreen) -> pulumi.Resource:
        """A release is watched once, by a job (Argo Rollouts v1.9.0, "Job Metrics"): where it fails, so does the version."""
        return custom(
            f"{self.name}-watch",
            ROLLOUTS,
            "AnalysisTemplate",
            self._meta(self._args.endpoint),
            self._options(),
            spec={"metrics": [{"name": "watched", "provider": {"job": self._job(release)}}]},
        )

    def _job(self, release: Canary | BlueGreen) -> dict[str, Any]:
        args = self._args
        matched = pods.labels(args.endpoint)
        container = {
            "name": "watch",
            "image": args.python,
            "command": ["python", "-IB", "/watch/watch.py"],
            "env": pods.variables(self._variables(release)),
            "resources": pods.resources("100m", "128Mi"),
            "securityContext": dict(pods.RESTRICTED),
            "volumeMounts": [{"name": "program", "mountPath": "/watch", "readOnly": True}],
        }
        pod = {
            "serviceAccountName": args.watchers.account,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "restartPolicy": "Never",
            "priorityClassName": args.priority,
            "securityContext": pods.security(),
            **Place(system=args.system).scheduling(),
            "containers": [container],
            "volumes": [{"name": "program", "configMap": {"name": args.watchers.program}}],
        }
        failed = {"containerName": "watch", "operator": "In", "values": [_TAKEN_BACK]}
        return {
            "metadata": {"labels": matched},
            "spec": {
                "activeDeadlineSeconds": release.bake_minutes * 60 + _LATE_SECONDS,
                "ttlSecondsAfterFinished": 7 * 24 * 3600,
                # An accident of the watcher's own says nothing of the version, nor does a machine that is drained.
                "backoffLimit": 3,
                "podFailurePolicy": {
                    "rules": [
                        {"action": "FailJob", "onExitCodes": failed},
                        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                    ]
                },
                "template": {"metadata": {"labels": matched}, "spec": pod},
            },
        }

    def _variables(self, release: Canary | BlueGreen) -> dict[str, pulumi.Input[str]]:
        endpoint, bounds = self._args.endpoint, alarms(self._args.spec)
        signs = {sign: bounds[sign] for sign in sorted(set(release.rollback_on))}
        return {
            "WATCH_ENDPOINT": endpoint,
            "WATCH_HOST": pulumi.Output.concat(f"{endpoint}-new.", self._args.namespace, ".svc.cluster.local."),
            "WATCH_PORTS": ",".join(map(str, self._ports)),
            "WATCH_MINUTES": str(release.bake_minutes),
            "WATCH_WINDOW_MINUTES": str(max(alarm.minutes for alarm in signs.values())),
            "WATCH_BOUNDS": json.dumps({sign: alarm.above for sign, alarm in signs.items()}),
        }

    def _rollout(self, release: Canary | BlueGreen, *made: pulumi.Resource) -> pulumi.Resource:
        workload = self._listening.workload
        metadata = self._meta(workload)
        metadata["annotations"] = {
            "pulumi.com/waitFor": "jsonpath={.status.phase}=Healthy",
            # A change of it that comes with a version waits for that.
            "pulumi.com/timeoutSeconds": str(2 * _START_SECONDS + release.bake_minutes * 60 + _LATE_SECONDS),
        }
        # While two colours are watched nothing counts as progress (v1.9.0, sync.go: `isIndefiniteStep` knows canaries alone).
        watched = release.bake_minutes * 60 + _LATE_SECONDS if isinstance(release, BlueGreen) else 0
        return custom(
            f"{self.name}-rollout",
            ROLLOUTS,
            "Rollout",
            metadata,
            pulumi.ResourceOptions.merge(
                self._options(*made),
                # How many there are is KEDA's to say.
                pulumi.ResourceOptions(ignore_changes=["spec.replicas"]),
            ),
            spec={
                "replicas": self._args.spec.scale.min,
                "revisionHistoryLimit": 3,
                "minReadySeconds": _STAYS_SECONDS,
                "progressDeadlineSeconds": _START_SECONDS + watched,
                "progressDeadlineAbort": True,
                # Pods that the deployment had of its own go once those of the rollout are there.
                "workloadRef": {
                    "apiVersion": "apps/v1",
                    "kind": "Deployment",
                    "name": self._args.template,
                    "scaleDown": "onsuccess",
                },
                "strategy": self._strategy(release),
            },
        )

    def _strategy(self, release: Canary | BlueGreen) -> dict[str, Any]:
        endpoint, marked = self._args.endpoint, {"labels": {NEW: "true"}}
        watched = {"templates": [{"templateName": endpoint}]}
        if isinstance(release, Canary):
            # There is room for one more: see `instances` in components/spec/endpoints.py.
            steps = [{"setWeight": release.percent}, {"analysis": watched}]
            return {"canary": {"maxSurge": 1, "maxUnavailable": 0, "canaryMetadata": marked, "steps": steps}}
        return {
            "blueGreen": {
                "activeService": f"{endpoint}-active",
                "previewMetadata": marked,
                # Before Argo calls it active, which moves nobody here: by then half of the requests are its own.
                "prePromotionAnalysis": watched,
                "scaleDownDelaySeconds": 30,
                # At once; 0 would be never.
                "abortScaleDownDelaySeconds": 1,
            }
        }
