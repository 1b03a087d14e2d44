"""What pods that answer have in common: where they run, as whom, and how they come and go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

from components import contracts
from components.kubernetes.contracts import ENDPOINT
from components.kubernetes.objects import custom
from components.spec.capacity import PoolPlan
from components.spec.section import CloudName

USER = 10001
"""Of the serving image; any image has to run as a user without rights."""
# Of a container and of the service in front of it: with the network policies of EKS the two have to be the same ("Limit Pod
# traffic with Kubernetes network policies", considerations).
MODEL_PORT = 8080
"""Where a model of KServe is called."""
ROUTER_PORT = 8081
"""Where a language model is called: its router."""
SERVER_PORT = 8000
"""Where a language model's own pods listen, to their router."""
# The machines of the cluster's own services, and what they have to be tolerated for.
_SYSTEM_TAINTS = ("CriticalAddonsOnly", "components.gke.io/gke-managed-components")
_SPREAD = ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
RESTRICTED: Mapping[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
"""Of each container, as pod security `restricted` wants it, and a root file system that nobody writes to."""


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


def annotations(cloud: CloudName, identity: pulumi.Input[str]) -> dict[str, pulumi.Input[str]]:
    """Of a service account: whom it stands for. EKS knows it without."""
    return {"iam.gke.io/gcp-service-account": identity} if cloud == "gcp" else {}


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
    target: str, least: int, most: int, load: str, aim: int, triggers: Sequence[Mapping[str, Any]], cpu: bool
) -> dict[str, Any]:
    """What KEDA keeps: as many pods as `load`, a sum of the triggers' metrics, needs with `aim` for each.

    Triggers are read from the pods themselves, so that no store of metrics is needed. Where nobody answers, nothing shrinks.
    Source: KEDA 2.20, "Metrics API" (`aggregateFromKubeServiceEndpoints`), "ScaledObject specification".
    """
    processors = {"type": "cpu", "name": "cpu", "metricType": "Utilization", "metadata": {"value": "75"}}
    return {
        "scaleTargetRef": {"name": target},
        "minReplicaCount": least,
        "maxReplicaCount": most,
        "pollingInterval": 15,
        "fallback": {"failureThreshold": 4, "replicas": least, "behavior": "currentReplicasIfHigher"},
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
    name: str, cloud: CloudName, meta: Mapping[str, Any], port: int, series: str, opts: pulumi.ResourceOptions
) -> list[pulumi.Resource]:
    """What brings metrics of an endpoint's pods to Google Cloud; on AWS the agent of the cluster finds them by itself."""
    if cloud != "gcp":
        return []
    endpoint = {
        "port": port,
        "path": "/metrics",
        "interval": "30s",
        "metricRelabeling": [{"sourceLabels": ["__name__"], "regex": series, "action": "keep"}],
    }
    spec = {"selector": {"matchLabels": labels(name)}, "endpoints": [endpoint]}
    return [custom(f"{name}-metrics", "monitoring.googleapis.com/v1", "PodMonitoring", meta, opts, spec=spec)]
