"""What pods that answer have in common: where they run, as whom, and how they come and go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

from components import contracts
from components.core import doors, scrapes
from components.core.fronts import FRONT_METRICS
from components.core.in_cluster import workload
from components.kubernetes.contracts import ENDPOINT, Artifact, Door
from components.kubernetes.objects import custom
from components.spec.capacity import PoolPlan
from components.spec.section import CloudName
from components.spec.serving import Container, RealTime

DRAIN, GRACE = 40, 75
"""Seconds of a pod behind a load balancer: until nobody sends it requests any more, and until it is ended whatever it does."""
USER = 10001
"""Of the serving image; any image has to run as a user without rights."""
# Of a container and of the service in front of it: with the network policies of EKS the two have to be the same ("Limit Pod
# traffic with Kubernetes network policies", considerations).
MODEL_PORT, ROUTER_PORT, SERVER_PORT = scrapes.MODEL_PORT, scrapes.ROUTER_PORT, scrapes.SERVER_PORT
"""Where a model of KServe is called; where a language model is, its router; where its own pods listen, to their router."""
# The machines of the cluster's own services, and what they have to be tolerated for.
_SYSTEM_TAINTS = ("CriticalAddonsOnly", "components.gke.io/gke-managed-components")
_SPREAD = ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
ROLLOUTS = "argoproj.io/v1alpha1"
"""Version of the kinds of Argo Rollouts."""
RESTRICTED: Mapping[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
"""Of each container, as pod security `restricted` wants it, and a root file system that nobody writes to."""


SCALER = "keda"
"""Namespace of who says how many pods there are, by what they say of themselves."""
_COLLECTORS: Mapping[CloudName, Sequence[str]] = {"aws": (), "gcp": ("gmp-system",)}
"""Namespaces of who collects metrics (see `operations/metrics.py`); on AWS that is outside of the cluster."""
READERS: Mapping[CloudName, Sequence[str]] = {cloud: (SCALER, *collectors) for cloud, collectors in _COLLECTORS.items()}
"""Namespaces of who reads what pods say of themselves: KEDA, and who collects metrics."""


def of(namespace: pulumi.Input[str]) -> kubernetes.networking.v1.NetworkPolicyPeerArgsDict:
    """Pods of a namespace, in a network policy."""
    return {"namespace_selector": {"match_labels": {"kubernetes.io/metadata.name": namespace}}}


def collected_by(
    cloud: CloudName, ranges: Sequence[str], *ports: int
) -> list[kubernetes.networking.v1.NetworkPolicyIngressRuleArgsDict]:
    """Rules that let in who collects metrics: a namespace, or `ranges` outside of the cluster, where no pod has an address."""
    peers: list[kubernetes.networking.v1.NetworkPolicyPeerArgsDict] = [
        *map(of, _COLLECTORS[cloud]),
        *({"ip_block": {"cidr": cidr}} for cidr in ranges),
    ]
    # A rule that names nobody lets everybody in.
    return [{"from_": peers, "ports": [{"port": port, "protocol": "TCP"} for port in ports]}] if peers else []


@dataclass(frozen=True, kw_only=True)
class Place:
    """The machines that pods run on: a pool's, or those of the cluster's own services."""

    system: Mapping[str, str]
    """Label of the machines of the cluster's own services."""
    plan: PoolPlan | None = None
    flavor: contracts.Flavor | None = None

    @property
    def accelerators(self) -> str | None:
        """What a container asks for to get one."""
        return self.plan.resource if self.plan else None

    def scheduling(self) -> dict[str, Any]:
        """Part of a pod that says where it runs."""
        if self.flavor:
            tolerated = [
                {"key": taint["key"], "operator": "Equal", "value": taint["value"], "effect": taint["effect"]}
                for taint in self.flavor.taints
            ]
            return {"nodeSelector": dict(self.flavor.labels), "tolerations": tolerated}
        return {
            "nodeSelector": dict(self.system),
            "tolerations": [{"key": key, "operator": "Exists"} for key in _SYSTEM_TAINTS],
        }


@dataclass(frozen=True, kw_only=True)
class Listening:
    """Where a front finds an endpoint."""

    port: int
    health: str
    """Path that answers once it is ready."""
    workload: str
    """What its pods belong to."""
    container: str


def listening(name: str, spec: RealTime | Container) -> Listening:
    """How what answers here listens: a model as KServe runs it, a container as it says."""
    if isinstance(spec, Container):
        return Listening(port=spec.port, health=spec.health, workload=workload(name, spec), container="service")
    return Listening(port=MODEL_PORT, health="/ping", workload=workload(name, spec), container="kserve-container")


def resources(cpu: str, memory: str, **more: str) -> dict[str, Any]:
    """What a container is given, no more and no less: it is never the one that is evicted for what another takes."""
    given = {"cpu": cpu, "memory": memory, **more}
    return {"requests": dict(given), "limits": dict(given)}


def labels(endpoint: str) -> dict[str, str]:
    """What the pods of an endpoint are found by."""
    return {ENDPOINT: endpoint}


def security(user: int = USER) -> dict[str, Any]:
    """Of a pod."""
    return {
        "runAsNonRoot": True,
        "runAsUser": user,
        "runAsGroup": user,
        "fsGroup": user,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def spread(matched: Mapping[str, str]) -> list[dict[str, Any]]:
    """Over machines and zones, as far as there are any."""
    return [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": dict(matched)},
        }
        for key in _SPREAD
    ]


def account(
    label: str,
    name: str,
    space: pulumi.Input[str],
    cloud: CloudName,
    identity: pulumi.Input[str],
    opts: pulumi.ResourceOptions,
) -> pulumi.Resource:
    """The service account of an endpoint's pods. It asks nothing of the cluster's API."""
    # Whom it stands for; EKS knows it without.
    annotations = {"iam.gke.io/gcp-service-account": identity} if cloud == "gcp" else {}
    return kubernetes.core.v1.ServiceAccount(
        label,
        metadata={"name": name, "namespace": space, "annotations": annotations},
        automount_service_account_token=False,
        opts=opts,
    )


def identified(identity: pulumi.Input[str]) -> dict[str, pulumi.Input[str]]:
    """Annotations of pods: they get their identity as they are made, so they wait for it, and are made anew with another."""
    return {"ai-platform.io/identity": identity}


def variables(given: Mapping[str, pulumi.Input[str]]) -> list[dict[str, Any]]:
    """As a container has them, in this order."""
    return [{"name": name, "value": value} for name, value in given.items()]


def region(cloud: CloudName, name: str) -> dict[str, pulumi.Input[str]]:
    """Where AWS's libraries ask; Google's know."""
    return {"AWS_REGION": name, "AWS_DEFAULT_REGION": name} if cloud == "aws" else {}


def scaled(
    target: str,
    least: int,
    most: int,
    load: str,
    aim: int,
    triggers: Sequence[Mapping[str, Any]],
    cpu: bool,
    *,
    rollout: bool = False,
) -> dict[str, Any]:
    """What KEDA keeps: as many pods as `load`, a sum of the triggers' metrics, needs with `aim` for each.

    Triggers are read from the pods themselves, so that no store of metrics is needed. Where nobody answers, nothing shrinks,
    and nothing that runs goes to zero (KEDA v2.20.2, scale_scaledobjects.go: a fallback of none would be that).
    Source: KEDA 2.20, "Metrics API" (`aggregateFromKubeServiceEndpoints`), "ScaledObject specification".
    """
    processors = {"type": "cpu", "name": "cpu", "metricType": "Utilization", "metadata": {"value": "75"}}
    return {
        "scaleTargetRef": {"name": target, **({"apiVersion": ROLLOUTS, "kind": "Rollout"} if rollout else {})},
        "minReplicaCount": least,
        "maxReplicaCount": most,
        "pollingInterval": 15,
        "fallback": {"failureThreshold": 4, "replicas": max(least, 1), "behavior": "currentReplicasIfHigher"},
        "advanced": {
            **(
                {"scalingModifiers": {"formula": load, "target": str(aim), "metricType": "AverageValue"}}
                if len(triggers) > 1
                else {}
            ),
            "horizontalPodAutoscalerConfig": {
                "behavior": {
                    "scaleDown": {
                        "stabilizationWindowSeconds": 300,
                        "policies": [{"type": "Percent", "value": 25, "periodSeconds": 60}],
                    }
                }
            },
        },
        "triggers": [*map(dict, triggers), *([processors] if cpu else [])],
    }


def measured(name: str, url: pulumi.Input[str], metric: str, aim: int) -> dict[str, Any]:
    """A trigger: the sum over the pods behind a service of what each says of itself."""
    return {
        "type": "metrics-api",
        "name": name,
        "metricType": "AverageValue",
        "metadata": {
            "url": url,
            "format": "prometheus",
            "valueLocation": metric,
            "aggregateFromKubeServiceEndpoints": "true",
            "aggregationType": "sum",
            "targetValue": str(aim),
        },
    }


def told(name: str, port: int, model: Artifact | None, drain: int, grace: int) -> dict[str, pulumi.Input[str]]:
    """What a container of ours reads (`runtime/serving`): where it listens, what it loads, and how it ends."""
    found: dict[str, pulumi.Input[str]] = {
        "PORT": str(port),
        "MODEL_NAME": name,
        "DRAIN_SECONDS": str(drain),
        "GRACE_SECONDS": str(grace - drain - 5),
    }
    if model and model.sha256:
        found |= {"MODEL_URI": model.uri, "MODEL_DIGEST": model.sha256}
    elif model:
        found["AIP_STORAGE_URI"] = model.uri
    return found


def probes(port: int, health: str) -> dict[str, Any]:
    """When it has started, is ready and lives: five minutes for an image that is there to load its model."""
    asked = {"httpGet": {"path": health, "port": port}, "timeoutSeconds": 5}
    return {
        "startupProbe": {**asked, "periodSeconds": 5, "failureThreshold": 60},
        "readinessProbe": {**asked, "periodSeconds": 5, "failureThreshold": 2},
        # Not the same question: what has too much to do is no better for a restart.
        "livenessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 20, "failureThreshold": 3},
    }


def kept(name: str, meta: Mapping[str, Any], opts: pulumi.ResourceOptions) -> pulumi.Resource:
    """While machines are drained, one pod of an endpoint goes at a time."""
    return kubernetes.policy.v1.PodDisruptionBudget(
        f"{name}-budget",
        metadata=kubernetes.meta.v1.ObjectMetaArgs(**meta),
        # Not at least one: with one, that would keep a machine from ever being drained.
        spec={"max_unavailable": 1, "selector": {"match_labels": labels(name)}},
        opts=opts,
    )


def collected(
    name: str,
    cloud: CloudName,
    meta: Mapping[str, Any],
    port: int,
    series: str,
    opts: pulumi.ResourceOptions,
    door: Door | None = None,
) -> list[pulumi.Resource]:
    """What brings metrics of an endpoint's pods to Google Cloud; on AWS one collector finds all of them (`scrapes.py`)."""
    if cloud != "gcp":
        return []
    ports = {port: series, **({FRONT_METRICS: doors.KEPT} if door else {})}
    endpoints = [
        {
            "port": number,
            "path": "/metrics",
            "interval": "30s",
            "metricRelabeling": [{"sourceLabels": ["__name__"], "regex": regex, "action": "keep"}],
        }
        for number, regex in ports.items()
    ]
    spec = {"selector": {"matchLabels": meta["labels"]}, "endpoints": endpoints}
    return [custom(f"{name}-metrics", "monitoring.googleapis.com/v1", "PodMonitoring", meta, opts, spec=spec)]
