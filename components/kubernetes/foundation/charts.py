"""The controllers of a cluster, from their own charts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
import yaml

from components import contracts
from components.contracts import Text
from components.kubernetes.contracts import INTERCEPTORS, POOL, TEAM, WATCHERS, Verification
from components.kubernetes.contracts import Charts as Handles
from components.kubernetes.objects import inside, requirement
from components.scope import Component, Scope
from components.spec.capacity import PoolPlan
from components.spec.section import CloudName
from components.spec.training import Distributed, TimeSlicing

ACCELERATORS = "ai-platform.io/accelerators"
"""What Kueue counts besides: accelerators of any kind. Nothing in the cluster has or asks for it."""
SYSTEM: Mapping[str, str] = {POOL: "system"}
"""Label of the machines of the cluster's own services."""
_TOLERATED: Sequence[Mapping[str, str]] = (
    {"key": "CriticalAddonsOnly", "operator": "Exists"},
    # Google's toolkit gives it to Kueue and JobSet (cluster-toolkit v1.95.0: kueue-helm-values.yaml).
    {"key": "components.gke.io/gke-managed-components", "operator": "Exists"},
)
_PRIORITY = "ai-platform-controllers"
"""Not `system-cluster-critical`: GKE keeps that for kube-system ("Limit Priority Class consumption by default")."""
_NVIDIA = "nvidia.com/gpu"
_REGISTRAR = "aws-load-balancer-controller"
# The image has nothing but kubectl in it: no shell. One minor version apart from each that the description allows.
_KUBECTL = ("registry.k8s.io/kubectl", "v1.35.3")
_TIMEOUT = 900
"""Seconds for a chart to be up: a first system machine may still be on its way."""
_READY = "30m"
"""Until the pods of admitted work run: a machine is started, and an image of tens of GB pulled. Then it goes back to wait."""


@dataclass(frozen=True, kw_only=True)
class ChartsArgs:
    """Which controllers a cluster needs."""

    cluster: contracts.Cluster
    plans: Mapping[str, PoolPlan]
    """Its pools."""
    distributed: Distributed
    mirrors: Mapping[str, Text] = field(default_factory=dict[str, Text])
    """Registry to the address that stands in its place; for a network without a way out."""
    system: Mapping[str, str] = field(default_factory=lambda: dict(SYSTEM))
    """Label of the machines of the cluster's own services."""

    verification: Verification | None = None
    """Whose signature images have to have; None where the cloud itself sees to that."""
    serving: bool = False
    """Whether something answers in the cluster, for as long as it is wanted."""
    models: bool = False
    """Whether KServe runs some of it."""
    sleeping: bool = False
    """Whether some of that runs only while it is asked."""
    releasing: bool = False
    """Whether new versions of some of it take over step by step."""
    running: bool = False
    """Whether runs over records are started."""
    doors: contracts.Doors | None = None
    """The ways to it from the internet, where there are any."""

    def pools(self, resource: str | None = None, *, fast: bool = False, shared: bool = False) -> list[str]:
        """The pools with this accelerator, those with a fabric of their own, those whose accelerators are shared."""
        return [
            name
            for name, plan in sorted(self.plans.items())
            if resource in {None, plan.resource} and (plan.fast or not fast) and (plan.sharing or not shared)
        ]

    @property
    def marks(self) -> tuple[str, ...]:
        """Taints that HyperPod gives a machine while it looks closer at it: what hands out its accelerators has to stay."""
        kept = any(plan.resilience == "hyperpod" for plan in self.plans.values())
        return ("sagemaker.amazonaws.com/node-health-status",) if kept else ()

    def registry(self, name: str) -> pulumi.Input[str]:
        """What stands in the place of a registry."""
        return self.mirrors.get(name, name)

    def image(self, repository: str) -> pulumi.Input[str]:
        """Where an image is pulled from."""
        registry, _, path = repository.partition("/")
        mirror = self.mirrors.get(registry)
        return pulumi.Output.concat(mirror, "/", path) if mirror is not None else repository


def _kueue(args: ChartsArgs, _: Scope) -> dict[str, Any]:
    return {
        "controllerManager": {
            "replicas": 2,
            "podDisruptionBudget": {"enabled": True, "minAvailable": 1},
            "nodeSelector": dict(args.system),
            "tolerations": list(_TOLERATED),
            "topologySpreadConstraints": _apart("kueue"),
            "manager": {
                "priorityClassName": _PRIORITY,
                # The README's own example for production; it keeps every queue and all waiting work in memory.
                "resources": {
                    "requests": {"cpu": "500m", "memory": "1Gi"},
                    "limits": {"cpu": "2", "memory": "2Gi"},
                },
                "image": {"repository": args.image("registry.k8s.io/kueue/kueue")},
            },
        },
        "managerConfig": {"controllerManagerConfigYaml": kueue_configuration(args)},
    }


def kueue_configuration(args: ChartsArgs) -> str:
    """What Kueue's manager reads; setting any of it replaces all of it.

    Source of the fields: apis/config/v1beta2/configuration_types.go, v0.19.2.
    """
    resources = sorted({plan.resource for plan in args.plans.values() if plan.resource})
    frameworks = {
        "batch/job": True,
        "jobset.x-k8s.io/jobset": args.distributed.jobset,
        "ray.io/rayjob": args.distributed.ray,
        "ray.io/raycluster": args.distributed.ray,
    }
    return yaml.safe_dump(
        {
            "apiVersion": "config.kueue.x-k8s.io/v1beta2",
            "kind": "Configuration",
            "health": {"healthProbeBindAddress": ":8081"},
            # With the queues' quota and use among the metrics, which the alarms on waiting work read.
            "metrics": {"bindAddress": ":8443", "enableClusterQueueResources": True},
            "webhook": {"port": 9443},
            "leaderElection": {"leaderElect": True, "resourceName": "c1f6bfd2.kueue.x-k8s.io"},
            "clientConnection": {"qps": 300, "burst": 500},
            # In a team's namespace nothing starts past the queues. Elsewhere Kueue's webhooks are not even asked: the chart
            # makes this their namespaceSelector. Pods, deployments and stateful sets are left out of the frameworks, since
            # with them their webhooks fail closed wherever this selector reaches.
            "manageJobsWithoutQueueName": True,
            "managedJobsNamespaceSelector": {"matchExpressions": [{"key": TEAM, "operator": "Exists"}]},
            "integrations": {"frameworks": [name for name, wanted in frameworks.items() if wanted]},
            "fairSharing": {"preemptionStrategies": ["LessThanOrEqualToFinalShare", "LessThanInitialShare"]},
            # Machines that cannot be had hold no quota for ever: work that does not come up waits again, longer each time.
            "waitForPodsReady": {
                "timeout": _READY,
                "recoveryTimeout": _READY,
                "blockAdmission": False,
                "requeuingStrategy": {
                    "timestamp": "Eviction",
                    "backoffBaseSeconds": 60,
                    "backoffMaxSeconds": 1800,
                },
            },
            "resources": {
                # What no quota is kept of; anything else that a queue does not cover would never be admitted.
                "excludeResourcePrefixes": [
                    "ephemeral-storage",
                    "hugepages-",
                    "networking.gke.io.networks/",
                    "vpc.amazonaws.com/",
                ],
                # Every accelerator counts a second time, under one name, against the ceiling of its team.
                "transformations": [
                    {"input": name, "strategy": "Retain", "outputs": {ACCELERATORS: "1"}} for name in resources
                ],
            },
            "objectRetentionPolicies": {"workloads": {"afterFinished": "168h"}},
        },
        sort_keys=False,
    )


def _jobset(args: ChartsArgs, _: Scope) -> dict[str, Any]:
    return {
        "image": {"repository": args.image("registry.k8s.io/jobset/jobset")},
        "controller": {
            "replicas": 2,
            "podDisruptionBudget": {"enabled": True, "minAvailable": 1},
            "resources": {"requests": {"cpu": "200m", "memory": "256Mi"}, "limits": {"cpu": "2", "memory": "1Gi"}},
            "nodeSelector": dict(args.system),
            "tolerations": list(_TOLERATED),
            "affinity": _repelled("jobset"),
        },
    }


def _kuberay(args: ChartsArgs, _: Scope) -> dict[str, Any]:
    return {
        # The chart has no disruption budget; of two, one leads.
        "replicas": 2,
        "image": {"repository": args.image("quay.io/kuberay/operator")},
        "priorityClassName": _PRIORITY,
        "resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}},
        "nodeSelector": dict(args.system),
        "tolerations": list(_TOLERATED),
        "affinity": _repelled("kuberay-operator"),
    }


def _nvidia(args: ChartsArgs, _: Scope) -> dict[str, Any]:
    shared = {name: device_plugin(args.plans[name]) for name in args.pools(_NVIDIA, shared=True)}
    return {
        "image": {"repository": args.image("nvcr.io/nvidia/k8s-device-plugin")},
        "affinity": _on(args.pools(_NVIDIA)),
        "tolerations": _tolerating(_NVIDIA, *args.marks),
        "resources": {"requests": {"cpu": "50m", "memory": "100Mi"}, "limits": {"cpu": "200m", "memory": "256Mi"}},
        # A machine says by its label `nvidia.com/device-plugin.config` which of them is its own.
        **({"config": {"default": "whole", "map": {"whole": device_plugin(None), **shared}}} if shared else {}),
    }


def device_plugin(plan: PoolPlan | None) -> str:
    """The device plugin's configuration on machines of a pool; of None, where accelerators are whole.

    Source: NVIDIA/k8s-device-plugin v0.20.0, README.md, "Shared Access to GPUs". The resource keeps its name.
    """
    sharing = plan.sharing if plan else None
    whole: dict[str, Any] = {"version": "v1", "flags": {"migStrategy": "none"}}
    if isinstance(sharing, TimeSlicing):
        # To ask for two turns on an accelerator gives no more of it than one: refused instead of believed.
        slices = {"resources": [{"name": _NVIDIA, "replicas": sharing.replicas}], "failRequestsGreaterThanOne": True}
        whole["sharing"] = {"timeSlicing": slices}
    elif sharing:
        whole["flags"] = {"migStrategy": "single"}
    return yaml.safe_dump(whole, sort_keys=False)


def _efa(args: ChartsArgs, scope: Scope) -> dict[str, Any]:
    return {
        # Each region has the account's copy, which alone a network without a way out can reach (EKS User Guide, "View Amazon
        # container image registries for Amazon EKS add-ons"); newer regions have an account of their own: `_EKS_IMAGES`.
        "image": {"repository": f"{_eks_registry(scope.region)}/eks/aws-efa-k8s-device-plugin"},
        # By pool instead of the chart's list of machine types, which a new type is not on.
        "supportedInstanceLabels": {"keys": [POOL], "values": args.pools(fast=True)},
        "tolerations": _tolerating(_NVIDIA, "aws.amazon.com/neuron", *args.marks),
        "resources": {"requests": {"cpu": "10m", "memory": "20Mi"}, "limits": {"cpu": "100m", "memory": "128Mi"}},
    }


def _neuron(args: ChartsArgs, _: Scope) -> dict[str, Any]:
    return {
        "devicePlugin": {
            "image": {"repository": args.image("public.ecr.aws/neuron/neuron-device-plugin")},
            "tolerations": _tolerating("aws.amazon.com/neuron"),
        },
        # EKS's own monitoring agent watches the machines.
        "npd": {"enabled": False},
    }


def _kyverno(args: ChartsArgs, _: Scope) -> dict[str, Any]:
    registry = args.registry("ghcr.io")
    return {
        "global": {
            # All its images, also those of the hooks: `reg.kyverno.io` is a front of this registry, which a mirror can read.
            "image": {"registry": registry},
            "nodeSelector": dict(args.system),
            "tolerations": list(_TOLERATED),
            "priorityClassName": _PRIORITY,
        },
        # It alone has a registry of its own in the chart, which goes before the one above.
        "webhooksCleanup": {"image": {"registry": registry}},
        # Its webhooks see the teams' namespaces and no other: else nothing in the cluster could start while it is down.
        "config": {"webhooks": {"namespaceSelector": {"matchExpressions": [{"key": TEAM, "operator": "Exists"}]}}},
        "features": {
            "backgroundScan": {"enabled": False},
            # Admission of ours is the API server's own and named by us.
            "generateValidatingAdmissionPolicy": {"enabled": False},
            "validatingAdmissionPolicyReports": {"enabled": False},
            "policyExceptions": {"enabled": False},
        },
        "admissionController": {
            "replicas": _answering(args),
            "podDisruptionBudget": {"enabled": _enforced(args), "minAvailable": 2},
            "container": {
                "resources": {
                    "requests": {"cpu": "100m", "memory": "256Mi"},
                    "limits": {"cpu": "1", "memory": "768Mi"},
                }
            },
        },
        # What changes and deletes objects is not needed; what writes reports is.
        "backgroundController": {"enabled": False},
        "cleanupController": {"enabled": False},
    }


def _verifier(args: ChartsArgs, scope: Scope) -> dict[str, Any]:
    return {
        "region": scope.region,
        "image": {"registry": args.registry("ghcr.io")},
        # Pods are given an identity as they are made, so they wait for it, and are made anew with another.
        "podAnnotations": {"ai-platform.io/identity": args.verification.identity if args.verification else ""},
        "replicaCount": _answering(args),
        "podDisruptionBudget": {"enabled": _enforced(args), "minAvailable": 2},
        "defaultTrustPolicy": "signer",
        "logFormat": "json",
        "tokenReview": {
            "enabled": True,
            "allowedUsers": ["system:serviceaccount:kyverno:kyverno-admission-controller"],
            # Kyverno's own for what it asks outside of the API server (kyverno-chart-3.9.0, values.yaml, apiCallToken).
            "audiences": ["kyverno-svc.kyverno.io"],
        },
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}},
        "priorityClassName": _PRIORITY,
        "nodeSelector": dict(args.system),
        "tolerations": list(_TOLERATED),
        "topologySpreadConstraints": _apart("notation-aws-verifier"),
    }


def _cert_manager(args: ChartsArgs, _: Scope) -> dict[str, Any]:
    def part(name: str, memory: str) -> dict[str, Any]:
        return {
            "image": {"repository": args.image(f"quay.io/jetstack/cert-manager-{name}")},
            "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "500m", "memory": memory}},
            "nodeSelector": dict(args.system),
            "tolerations": list(_TOLERATED),
        }

    return {
        **part("controller", "512Mi"),
        "replicaCount": 2,
        "podDisruptionBudget": {"enabled": True, "minAvailable": 1},
        # A destroy of the cluster takes them; where it stays, so do they, and the certificates with them.
        "crds": {"enabled": True, "keep": True},
        # The default, kube-system, is not everybody's to write to.
        "global": {"priorityClassName": _PRIORITY, "leaderElection": {"namespace": "cert-manager"}},
        "webhook": {
            **part("webhook", "256Mi"),
            "replicaCount": 2,
            "podDisruptionBudget": {"enabled": True, "minAvailable": 1},
        },
        "cainjector": part("cainjector", "512Mi"),
        # It asks the webhook until that answers, and the release waits for it.
        "startupapicheck": part("startupapicheck", "128Mi"),
        "acmesolver": {"image": {"repository": args.image("quay.io/jetstack/cert-manager-acmesolver")}},
        "prometheus": {"enabled": False},
    }


def _kserve(args: ChartsArgs, _: Scope) -> dict[str, Any]:
    return {
        "kserve": {
            "controller": {
                "image": args.image("docker.io/kserve/kserve-controller"),
                "imagePullPolicy": "IfNotPresent",
                "rbacProxyImage": args.image("quay.io/brancz/kube-rbac-proxy:v0.18.0"),
                # Deployments and services: no Knative, no Istio. Who calls an endpoint is in the cluster.
                "deploymentMode": "Standard",
                "gateway": {"disableIngressCreation": True, "disableIstioVirtualHost": True, "domain": "cluster.local"},
                "nodeSelector": dict(args.system),
                "tolerations": list(_TOLERATED),
                "resources": {"requests": {"cpu": "100m", "memory": "300Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}},
            },
            "metricsaggregator": {"enableMetricAggregation": "false", "enablePrometheusScraping": "false"},
        }
    }


def _keda(args: ChartsArgs, _: Scope) -> dict[str, Any]:
    def image(name: str) -> dict[str, Any]:
        # The chart puts a registry of its own in front of what is named here.
        return {"registry": args.registry("ghcr.io"), "repository": f"kedacore/{name}"}

    part = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
    budget = {"minAvailable": 1}
    return {
        "image": {
            "keda": image("keda"),
            "metricsApiServer": image("keda-metrics-apiserver"),
            "webhooks": image("keda-admission-webhooks"),
        },
        # Of two operators one leads. A second server of metrics answers the autoscaler while the first one moves.
        "operator": {"replicaCount": 2},
        "metricsServer": {"replicaCount": 2},
        "podDisruptionBudget": {"operator": dict(budget), "metricServer": dict(budget)},
        "resources": {"operator": part, "metricServer": part, "webhooks": part},
        "nodeSelector": dict(args.system),
        "tolerations": list(_TOLERATED),
        "priorityClassName": _PRIORITY,
    }


def _http(args: ChartsArgs, _: Scope) -> dict[str, Any]:
    def image(name: str) -> pulumi.Input[str]:
        return args.image(f"ghcr.io/kedacore/http-add-on-{name}")

    part = {
        "pullPolicy": "IfNotPresent",
        "nodeSelector": dict(args.system),
        "tolerations": list(_TOLERATED),
        # In its templates, though not among its values.
        "priorityClassName": _PRIORITY,
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "500m", "memory": "256Mi"}},
    }
    return {
        "images": {name: image(name) for name in ("operator", "interceptor", "scaler")},
        # Of a route it writes nothing but that it has seen it (v0.15.0, interceptorroute_controller.go).
        "operator": {"replicas": 0},
        "scaler": {
            **part,
            "replicas": 2,
            "metrics": {"prometheus": {"enabled": False}},
            "topologySpreadConstraints": _apart("http-add-on"),
        },
        # It would let each team call the others' endpoints: every team has its own (`Interceptors`). The chart cannot leave it
        # out, so that it knows no routes; a budget of the chart's would be a second one for the teams' own.
        "interceptor": {
            **part,
            "replicas": {"min": 0, "max": 1},
            "pdb": {"enabled": False},
            "extraEnvs": {"KEDA_HTTP_WATCH_NAMESPACE": INTERCEPTORS},
        },
        "podSecurityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "runAsGroup": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def _rollouts(args: ChartsArgs, _: Scope) -> dict[str, Any]:
    return {
        "controller": {
            "image": {"registry": args.registry("quay.io")},
            # One leads.
            "replicas": 2,
            "pdb": {"enabled": True, "minAvailable": 1},
            "topologySpreadConstraints": _apart("argo-rollouts"),
            "priorityClassName": _PRIORITY,
            "nodeSelector": dict(args.system),
            "tolerations": list(_TOLERATED),
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}},
            "logging": {"format": "json"},
            "metrics": {"enabled": True},
            # What watches a version is the platform's: it does not run among a team's pods (`Watchers`).
            "extraEnv": [{"name": "ARGO_ROLLOUTS_ANALYSIS_JOB_NAMESPACE", "value": WATCHERS}],
        },
        "podSecurityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        # Requests are split by pods: no mesh and no gateway is touched, and no right to (one of them has a wildcard).
        "providerRBAC": {"enabled": False},
        # They would widen what people may do who have the cluster's own roles.
        "createClusterAggregateRoles": False,
    }


def _states(args: ChartsArgs, _: Scope) -> dict[str, Any]:
    return {
        "image": {"registry": args.registry("registry.k8s.io")},
        # Of all that it could tell, that a job has failed: it may list jobs and nothing else.
        "collectors": ["jobs"],
        "metricAllowlist": ["kube_job_failed"],
        # Whoever collects is told where it is (`operations/metrics.py`, and the collector of AWS).
        "prometheusScrape": False,
        "priorityClassName": _PRIORITY,
        "nodeSelector": dict(args.system),
        "tolerations": list(_TOLERATED),
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"cpu": "200m", "memory": "256Mi"}},
    }


def _registers(args: ChartsArgs, scope: Scope) -> dict[str, Any]:
    doors = args.doors
    return {
        "clusterName": args.cluster.name,
        # Both, since the metadata that it would ask are out of its reach.
        "region": scope.region,
        "vpcId": doors.network if doors else None,
        "image": {"repository": args.image("public.ecr.aws/eks/aws-load-balancer-controller")},
        "serviceAccount": {"name": _REGISTRAR},
        # Pods are given an identity as they are made, so they wait for it, and are made anew with another.
        "podAnnotations": {"ai-platform.io/identity": doors.registrar if doors else ""},
        # It registers pods where it is told to, and makes nothing: no load balancer for a service, an ingress or a gateway.
        "createIngressClassResource": False,
        "ingressClassParams": {"create": False},
        "enableServiceMutatorWebhook": False,
        "enableShield": False,
        "enableWaf": False,
        "enableWafv2": False,
        "enableBackendSecurityGroup": False,
        "controllerConfig": {
            "featureGates": {
                "ALBGatewayAPI": "false",
                "EnableServiceController": "false",
                "GatewayListenerSet": "false",
                "NLBGatewayAPI": "false",
            }
        },
        # Its certificate stays while nothing of it changes.
        "keepTLSSecret": True,
        "replicaCount": 2,
        "podDisruptionBudget": {"minAvailable": 1},
        "podSecurityContext": {"fsGroup": 65534, "runAsUser": 65534, "seccompProfile": {"type": "RuntimeDefault"}},
        "securityContext": {
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}},
        "priorityClassName": _PRIORITY,
        "nodeSelector": dict(args.system),
        "tolerations": list(_TOLERATED),
    }


def _enforced(args: ChartsArgs) -> bool:
    return bool(args.verification and args.verification.enforced)


def _answering(args: ChartsArgs) -> int:
    """How many of what answers for each pod of a team: three where none starts without."""
    return 3 if _enforced(args) else 1


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart, pinned."""

    chart: str
    """Its name in `repository`, or its address where it lies in a registry of images."""
    repository: str | None = None
    version: str
    namespace: str
    source: str
    copied: bool = False
    """Whether it is taken from where its images are copied to, and not from its own registry."""
    wanted: Callable[[ChartsArgs, CloudName], bool]
    values: Callable[[ChartsArgs, Scope], dict[str, Any]]


# In the order in which they are installed. A chart's own `crds/` are made with the first version of it and never changed by
# Helm (JobSet, KubeRay): whoever raises such a version applies its definitions first.
CHARTS: Mapping[str, Chart] = {
    "jobset": Chart(
        chart="oci://registry.k8s.io/jobset/charts/jobset",
        version="0.12.0",
        namespace="jobset-system",
        source="kubernetes-sigs/jobset v0.12.0, charts/jobset",
        wanted=lambda args, _: args.distributed.jobset,
        values=_jobset,
    ),
    "kuberay-operator": Chart(
        chart="kuberay-operator",
        repository="https://ray-project.github.io/kuberay-helm/",
        version="1.7.0",
        namespace="kuberay-system",
        source="ray-project/kuberay v1.7.0, helm-chart/kuberay-operator",
        wanted=lambda args, _: args.distributed.ray,
        values=_kuberay,
    ),
    # GKE brings the device plugins of its accelerators and fabrics; the images of EKS bring a driver only.
    "nvidia-device-plugin": Chart(
        chart="nvidia-device-plugin",
        repository="https://nvidia.github.io/k8s-device-plugin",
        version="0.20.0",
        namespace="kube-system",
        source="NVIDIA/k8s-device-plugin v0.20.0, deployments/helm/nvidia-device-plugin",
        wanted=lambda args, cloud: cloud == "aws" and bool(args.pools(_NVIDIA)),
        values=_nvidia,
    ),
    "aws-efa-k8s-device-plugin": Chart(
        chart="aws-efa-k8s-device-plugin",
        repository="https://aws.github.io/eks-charts",
        version="v0.5.30",
        namespace="kube-system",
        source="aws/eks-charts, stable/aws-efa-k8s-device-plugin, 2026-07-21",
        wanted=lambda args, cloud: cloud == "aws" and bool(args.pools(fast=True)),
        values=_efa,
    ),
    "neuron": Chart(
        chart="oci://public.ecr.aws/neuron/neuron-helm-chart",
        version="1.10.0",
        namespace="kube-system",
        source="seen in public.ecr.aws on 2026-09-11; keys of aws-neuron/neuron-helm-charts, charts/neuron-helm-chart",
        wanted=lambda args, cloud: cloud == "aws" and bool(args.pools("aws.amazon.com/neuron")),
        values=_neuron,
    ),
    # See `Signatures` for why these two.
    "kyverno": Chart(
        chart="kyverno",
        repository="https://kyverno.github.io/kyverno/",
        version="3.9.0",
        namespace="kyverno",
        source="kyverno/kyverno kyverno-chart-3.9.0 (v1.19.0, 2026-08-20), charts/kyverno",
        wanted=lambda args, _: args.verification is not None,
        values=_kyverno,
    ),
    "notation-aws-verifier": Chart(
        chart="oci://ghcr.io/krax1337/charts/notation-aws-verifier",
        version="1.0.0",
        namespace="notation-aws-verifier",
        source="krax1337/notation-aws-verifier v1.0.0 (2026-09-24), charts/notation-aws-verifier",
        copied=True,
        wanted=lambda args, _: args.verification is not None,
        values=_verifier,
    ),
    # KServe's webhook has its certificate from it.
    "cert-manager": Chart(
        chart="oci://quay.io/jetstack/charts/cert-manager",
        version="v1.21.1",
        namespace="cert-manager",
        source="cert-manager/cert-manager v1.21.1 (2026-07-29), deploy/charts/cert-manager",
        wanted=lambda args, _: args.models,
        values=_cert_manager,
    ),
    "kserve-crd": Chart(
        chart="oci://ghcr.io/kserve/charts/kserve-crd",
        version="v0.20.0",
        namespace="kserve",
        source="kserve/kserve v0.20.0 (2026-08-06), charts/kserve-crd",
        wanted=lambda args, _: args.models,
        values=lambda *_: {},
    ),
    "kserve": Chart(
        chart="oci://ghcr.io/kserve/charts/kserve-resources",
        version="v0.20.0",
        namespace="kserve",
        source="kserve/kserve v0.20.0 (2026-08-06), charts/kserve-resources",
        wanted=lambda args, _: args.models,
        values=_kserve,
    ),
    "keda": Chart(
        chart="keda",
        repository="https://kedacore.github.io/charts",
        version="2.20.2",
        namespace="keda",
        source="kedacore/charts v2.20.2 (2026-07-31), keda",
        wanted=lambda args, _: args.serving,
        values=_keda,
    ),
    # Beta, by its own README ("stable, though minor breaking changes" until 1.0): only where an endpoint may have no instance.
    # 0.16.0 (2026-09-16) goes to pods past their services and names its roles anew.
    "keda-add-ons-http": Chart(
        chart="keda-add-ons-http",
        repository="https://kedacore.github.io/charts",
        version="0.15.0",
        namespace=INTERCEPTORS,
        source="kedacore/charts c4b92e9 (2026-06-15), http-add-on; kedacore/http-add-on v0.15.0",
        wanted=lambda args, _: args.sleeping,
        values=_http,
    ),
    "argo-rollouts": Chart(
        chart="argo-rollouts",
        repository="https://argoproj.github.io/argo-helm",
        version="2.41.0",
        namespace="argo-rollouts",
        source="argoproj/argo-helm 8796aeaa (2026-06-05), charts/argo-rollouts; argoproj/argo-rollouts v1.9.0",
        wanted=lambda args, _: args.releasing,
        values=_rollouts,
    ),
    "kube-state-metrics": Chart(
        chart="kube-state-metrics",
        repository="https://prometheus-community.github.io/helm-charts",
        version="8.4.0",
        namespace="kube-state-metrics",
        source="prometheus-community/helm-charts cf408a29 (2026-08-22), charts/kube-state-metrics; v2.20.0",
        wanted=lambda args, _: args.running,
        values=_states,
    ),
    # On Google Cloud that is GKE's own.
    _REGISTRAR: Chart(
        chart="aws-load-balancer-controller",
        repository="https://aws.github.io/eks-charts",
        version="3.5.0",
        namespace=_REGISTRAR,
        source="kubernetes-sigs/aws-load-balancer-controller v3.5.0 (2026-08-03), helm/aws-load-balancer-controller",
        wanted=lambda args, cloud: cloud == "aws" and args.doors is not None,
        values=_registers,
    ),
    "kueue": Chart(
        chart="oci://registry.k8s.io/kueue/charts/kueue",
        version="0.19.2",
        namespace="kueue-system",
        source="kubernetes-sigs/kueue v0.19.2, charts/kueue",
        wanted=lambda *_: True,
        values=_kueue,
    ),
}

_VERIFYING = ("kyverno", "notation-aws-verifier")
_SERVING = ("kserve", "keda", "keda-add-ons-http")
_RELEASING = ("argo-rollouts",)
# What a chart needs before it is installed. Kueue looks for the definitions of what it manages as it starts.
_AFTER: Mapping[str, Sequence[str]] = {
    "kueue": ("jobset", "kuberay-operator"),
    "kserve": ("cert-manager", "kserve-crd"),
    # It has an object of KEDA's in it.
    "keda-add-ons-http": ("keda",),
}

# Accounts of the regions that do not use 602401143452. Source: EKS User Guide, "View Amazon container image registries for
# Amazon EKS add-ons".
_EKS_IMAGES = {
    "af-south-1": "877085696533",
    "ap-east-1": "800184023465",
    "ap-south-2": "900889452093",
    "ap-southeast-3": "296578399912",
    "ap-southeast-4": "491585149902",
    "ca-west-1": "761377655185",
    "eu-central-2": "900612956339",
    "eu-south-1": "590381155156",
    "eu-south-2": "455263428931",
    "il-central-1": "066635153087",
    "me-central-1": "759879836304",
    "me-south-1": "558608220178",
}


def _eks_registry(region: str) -> str:
    return f"{_EKS_IMAGES.get(region, '602401143452')}.dkr.ecr.{region}.amazonaws.com"


def _selector(chart: str) -> dict[str, Any]:
    return {"matchLabels": {"app.kubernetes.io/name": chart}}


def _apart(chart: str) -> list[dict[str, Any]]:
    return [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": _selector(chart),
        }
    ]


def _repelled(chart: str) -> dict[str, Any]:
    term = {"labelSelector": _selector(chart), "topologyKey": "kubernetes.io/hostname"}
    return {
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": term}],
        }
    }


def _on(pools: Sequence[str]) -> dict[str, Any]:
    terms = [{"matchExpressions": [requirement(POOL, pools)]}]
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}


def _tolerating(*keys: str) -> list[Mapping[str, str]]:
    return [*_TOLERATED, *({"key": key, "operator": "Exists"} for key in (POOL, *keys))]


class Charts(Component):
    """The controllers that a cluster of ours needs, each from its own project's chart at one version.

    Owns the releases, the namespaces of those that have their own, the priority class of all of them, and the job that asks
    Kueue's webhook until it answers. Never owns what the cloud brings: DCGM's exporter, GKE's device plugins, Karpenter.

    That Helm calls a release ready is not enough for Kueue's objects: its webhook fails closed, and the address of a pod that
    is ready may still be on its way to every machine. The job makes a queue's flavor by server-side dry run, again and again
    until that succeeds, and what needs Kueue waits for the job. It is made anew with each version of Kueue.

    Costs nothing by itself: about 1.5 vCPU and 4 GiB of the system machines. A destroy of the cluster takes all of it along;
    where the cluster stays, the queues go before Kueue, whose definitions take every queue that is left with them.

    >>> args = ChartsArgs(cluster=cluster, plans=plans, distributed=Distributed())
    >>> len(Charts("charts", args, scope=scope, parent=parent).outputs.queueing)
    1
    """

    layer = "kubernetes"
    outputs: Handles

    def __init__(self, name: str, args: ChartsArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Install what is wanted, and wait until Kueue answers."""
        super().__init__(name, scope, parent)
        self._args = args
        wanted = {label: chart for label, chart in CHARTS.items() if chart.wanted(args, scope.cloud)}
        priority = kubernetes.scheduling.v1.PriorityClass(
            f"{name}-priority",
            metadata={"name": _PRIORITY},
            value=900_000_000,
            description="Controllers of the platform: before all work, after the cluster's own.",
            opts=self._options(),
        )
        own = sorted({chart.namespace for chart in wanted.values()} - {"kube-system"})
        namespaces = {label: self._namespace(label) for label in own}
        releases: dict[str, kubernetes.helm.v3.Release] = {}
        for label, chart in wanted.items():
            first = [releases[name] for name in _AFTER.get(label, ()) if name in releases]
            space = [namespaces[chart.namespace]] if chart.namespace in namespaces else []
            releases[label] = self._release(label, chart, [priority, *space, *first])
        self.outputs = Handles(
            queueing=[self._probe(releases["kueue"], CHARTS["kueue"])],
            verifying=[releases[label] for label in _VERIFYING if label in releases],
            serving=[releases[label] for label in _SERVING if label in releases],
            releasing=[releases[label] for label in _RELEASING if label in releases],
            telling=[releases[label] for label in (*_RELEASING, "kube-state-metrics") if label in releases],
            registering=[releases[label] for label in (_REGISTRAR,) if label in releases],
        )
        self.finish(self.outputs)

    def _options(self, *after: pulumi.Resource, replaced_first: bool = False) -> pulumi.ResourceOptions:
        return inside(self, self._args.cluster, *after, replaced_first=replaced_first)

    def _namespace(self, label: str) -> kubernetes.core.v1.Namespace:
        level = "pod-security.kubernetes.io"
        return kubernetes.core.v1.Namespace(
            f"{self.name}-{label}",
            metadata={
                "name": label,
                "labels": {f"{level}/{mode}": "restricted" for mode in ("enforce", "warn", "audit")},
            },
            opts=self._options(),
        )

    def _release(self, label: str, chart: Chart, after: Sequence[pulumi.Resource]) -> kubernetes.helm.v3.Release:
        repository = kubernetes.helm.v3.RepositoryOptsArgs(repo=chart.repository) if chart.repository else None
        return kubernetes.helm.v3.Release(
            f"{self.name}-{label}",
            name=label,
            namespace=chart.namespace,
            chart=pulumi.Output.concat("oci://", self._args.image(chart.chart.removeprefix("oci://")))
            if chart.copied
            else chart.chart,
            version=chart.version,
            repository_opts=repository,
            values=chart.values(self._args, self.scope),
            # A release that does not come up leaves nothing half done behind.
            atomic=True,
            cleanup_on_fail=True,
            wait_for_jobs=True,
            timeout=_TIMEOUT,
            max_history=5,
            opts=self._options(*after),
        )

    def _probe(self, kueue: kubernetes.helm.v3.Release, chart: Chart) -> pulumi.Resource:
        name, label = f"{self.name}-webhook-probe", "webhook-probe"
        here = kubernetes.meta.v1.ObjectMetaArgs(name=label, namespace=chart.namespace)
        account = kubernetes.core.v1.ServiceAccount(name, metadata=here, opts=self._options(kueue))
        role = kubernetes.rbac.v1.ClusterRole(
            name,
            metadata={"name": f"ai-platform:{label}"},
            rules=[{"api_groups": ["kueue.x-k8s.io"], "resources": ["resourceflavors"], "verbs": ["create"]}],
            opts=self._options(kueue),
        )
        binding = kubernetes.rbac.v1.ClusterRoleBinding(
            name,
            metadata={"name": f"ai-platform:{label}"},
            role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": f"ai-platform:{label}"},
            subjects=[{"kind": "ServiceAccount", "name": label, "namespace": chart.namespace}],
            opts=self._options(account, role),
        )
        flavor = {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "ResourceFlavor", "metadata": {"name": label}}
        asked = kubernetes.core.v1.ConfigMap(
            name, metadata=here, data={"flavor.yaml": yaml.safe_dump(flavor)}, opts=self._options(kueue)
        )
        repository, tag = _KUBECTL
        return kubernetes.batch.v1.Job(
            name,
            # By its version: a raised one is asked again, and a job's template cannot be changed.
            metadata={"name": f"{label}-{chart.version.replace('.', '-')}", "namespace": chart.namespace},
            spec={
                "backoff_limit": 10,
                "active_deadline_seconds": _TIMEOUT,
                "template": {
                    "metadata": {"labels": {"app.kubernetes.io/name": label}},
                    "spec": {
                        "service_account_name": label,
                        "restart_policy": "OnFailure",
                        "node_selector": dict(self._args.system),
                        "tolerations": [{"key": each["key"], "operator": each["operator"]} for each in _TOLERATED],
                        "security_context": {
                            "run_as_non_root": True,
                            "run_as_user": 65534,
                            "seccomp_profile": {"type": "RuntimeDefault"},
                        },
                        "containers": [
                            {
                                "name": "kubectl",
                                "image": pulumi.Output.concat(self._args.image(repository), ":", tag),
                                "args": [
                                    "create", "--dry-run=server", "--validate=false", "--cache-dir=/tmp",
                                    "--filename=/probe/flavor.yaml",
                                ],
                                "resources": {
                                    "requests": {"cpu": "50m", "memory": "64Mi"},
                                    "limits": {"cpu": "500m", "memory": "256Mi"},
                                },
                                "security_context": {
                                    "allow_privilege_escalation": False,
                                    "read_only_root_filesystem": True,
                                    "capabilities": {"drop": ["ALL"]},
                                },
                                "volume_mounts": [
                                    {"name": "probe", "mount_path": "/probe", "read_only": True},
                                    {"name": "cache", "mount_path": "/tmp"},  # noqa: S108  a volume of its own
                                ],
                            }
                        ],
                        "volumes": [
                            {"name": "probe", "config_map": {"name": label}},
                            {"name": "cache", "empty_dir": {"size_limit": "64Mi"}},
                        ],
                    },
                },
            },
            opts=self._options(binding, asked, replaced_first=True),
        )  # fmt: skip
