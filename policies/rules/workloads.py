"""What runs in containers: in a cluster, in a queue of AWS Batch, from a chart."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from policies.context import is_prod, mapping, maps
from policies.model import REFERENCE, Graph, Resource
from policies.pods import CLOUD_RUN, RELEASE, TASK_DEFINITION, Container, Pod, pods
from policies.rule import EVERY, Found, Violation, resource_rule

DAEMON_SET = "kubernetes:apps/v1:DaemonSet"
SERVICE = "kubernetes:core/v1:Service"
GATEWAY = "kubernetes:gateway.networking.k8s.io/v1:Gateway"
INGRESS = "kubernetes:networking.k8s.io/v1:Ingress"
FUNCTION = "aws:lambda/function:Function"
MODEL = "aws:sagemaker/model:Model"

SYSTEM = "kube-system"
"""Where the cluster's own agents live: one on each machine, which they may have to touch."""
_AGENTS = frozenset({SYSTEM, "aws-hyperpod"})
"""The same, and where HyperPod wants its own."""

_CERTIFICATES = "networking.gke.io/certmap"
"""Names the map of certificates of a gateway of GKE ("Secure a Gateway")."""
ROUTE = "kubernetes:gateway.networking.k8s.io/v1:HTTPRoute"
BACKEND_POLICY = "kubernetes:networking.gke.io/v1:GCPBackendPolicy"

# Where charts come from: each project's own place, as its README names it, and nobody's copy; and which charts, by their own
# names, since who may publish one chart there may publish any.
_SOURCES: Mapping[str, tuple[str, ...]] = {
    "https://argoproj.github.io/argo-helm": ("argo-rollouts",),
    "https://aws.github.io/eks-charts": ("aws-efa-k8s-device-plugin", "aws-load-balancer-controller"),
    "https://kedacore.github.io/charts": ("keda", "keda-add-ons-http"),
    "https://kyverno.github.io/kyverno": ("kyverno",),
    "https://nvidia.github.io/k8s-device-plugin": ("nvidia-device-plugin",),
    "https://ray-project.github.io/kuberay-helm": ("kuberay-operator",),
    "oci://ghcr.io/kserve/charts": ("kserve-crd", "kserve-resources"),
    "oci://public.ecr.aws/karpenter": ("karpenter", "karpenter-crd"),
    "oci://public.ecr.aws/neuron": ("neuron-helm-chart",),
    "oci://quay.io/jetstack/charts": ("cert-manager",),
    "oci://registry.k8s.io/jobset/charts": ("jobset",),
    "oci://registry.k8s.io/kueue/charts": ("kueue",),
}
# The environment's own registries; that it is this environment's and no other's is `isolation-no-foreign`'s concern.
_OWN_SOURCES = re.compile(r"oci://(\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com|[a-z0-9-]+-docker\.pkg\.dev)/")
_OWN_IMAGES = re.compile(r"(\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com|[a-z0-9-]+-docker\.pkg\.dev)/")
_EXACT = re.compile(r"v?\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?")

# What keeps a load balancer inside the network (AWS Load Balancer Controller, "Service annotations"; GKE, "LoadBalancer
# Service parameters").
_INTERNAL = {
    "service.beta.kubernetes.io/aws-load-balancer-scheme": "internal",
    "service.beta.kubernetes.io/aws-load-balancer-internal": "true",
    "networking.gke.io/load-balancer-type": "internal",
}


def loose(image: Any) -> str:
    """Why an image is not always the same one, in words; empty where it is, or is not known."""
    if not isinstance(image, str) or not REFERENCE.sub("", image):
        return ""
    plain = REFERENCE.sub("known-later", image)
    if "@sha256:" in plain:
        return ""
    tag = plain.rpartition("/")[2].partition(":")[2]
    if tag == "latest":
        return f"{image} is whatever was pushed last"
    return "" if tag else f"{image} has no tag"


def images(resource: Resource) -> list[Any]:
    """The images that a resource runs."""
    if resource.type == FUNCTION:
        return [resource.get("imageUri")]
    if resource.type == MODEL:
        found = [*maps(resource.get("primaryContainer")), *maps(resource.get("containers"))]
        return [container.get("image") for container in found]
    return [container.image for pod in pods(resource) for container in pod.containers]


@resource_rule(
    "image-pinned",
    title="An image is named by a tag that does not move, or by its digest",
    types=(EVERY,),
    severity="high",
    why="What is called latest is another program tomorrow: nobody tested it, and no run can be repeated.",
    remedy="A version or, better, a digest: `repository:1.4.0@sha256:…`.",
    controls={
        "soc2": ("CC7.1", "CC8.1"),
        "iso-27001": ("A.8.9", "A.8.32"),
        "eu-ai-act": ("15",),
    },
)
def image_pinned(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """Of containers, functions and models, and of what the values of a chart say about images."""
    found = images(resource)
    if resource.type == RELEASE:
        found += list(_images(resource.get("values")))
    for image in found:
        if wrong := loose(image):
            yield wrong


@resource_rule(
    "image-own",
    title="What answers runs an image of the environment's own registry",
    types=(FUNCTION, MODEL, TASK_DEFINITION, *CLOUD_RUN),
    severity="high",
    why="An image that lies with somebody else is changed, or gone, when he likes; nobody scanned or signed it here.",
    remedy="model.image of an image of `images` in the stack's file, which a workflow builds, scans and signs.",
    controls={
        "soc2": ("CC7.1", "CC8.1"),
        "iso-27001": ("A.8.9",),
        "eu-ai-act": ("15",),
        "nist-ai-rmf": ("MEASURE 2.7",),
    },
)
def image_own(resource: Resource, graph: Graph) -> Found:
    """By its address; a reference leads to a registry of the program. Other accounts are `isolation-no-foreign`'s concern."""
    for image in images(resource):
        if isinstance(image, str) and not REFERENCE.match(image) and not _OWN_IMAGES.match(image):
            yield Violation(f"{image} is in no registry of ours", enforcement=None if is_prod(graph) else "advisory")


def _images(values: Any) -> Iterator[str]:
    """Images of a chart's values: whole ones, and tags that move. Without a tag of its own a chart takes its version's."""
    if isinstance(values, Mapping):
        if values.get("tag") == "latest":
            yield f"{values.get('repository', 'an image')}:latest"
        if isinstance(values.get("image"), str) and ":" in values["image"]:
            yield values["image"]
        for item in values.values():
            yield from _images(item)
    elif isinstance(values, list):
        for item in values:
            yield from _images(item)


@resource_rule(
    "workload-limits",
    title="A container has limits of cpu and memory",
    types=(EVERY,),
    severity="medium",
    why="Without a limit one leak takes the machine down, and with it everybody's work on it.",
    remedy="resources.limits of every container; with Batch resourceRequirements of VCPU and MEMORY.",
    controls={"soc2": ("A1.2",), "iso-27001": ("A.8.6",)},
)
def workload_limits(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """A chart whose values name no limit at all is only told so: it may bring limits of its own."""
    for pod in pods(resource):
        for container in pod.containers:
            missing = {"cpu", "memory"} - container.limits
            if missing:
                yield f"{container.name or 'a container'} has no limit of {' and '.join(sorted(missing))}"
    # The definitions of an operator's kinds, as a chart of their own, run nothing.
    runs = resource.type == RELEASE and not re.search(r"-crds?$", str(resource.get("chart", "")))
    if runs and not _limited(resource.get("values")):
        yield Violation("its values limit nothing that it runs", enforcement="advisory")


def _limited(values: Any) -> bool:
    if isinstance(values, list):
        return any(map(_limited, values))
    return isinstance(values, Mapping) and (bool(mapping(values.get("limits"))) or any(map(_limited, values.values())))


@resource_rule(
    "workload-no-host",
    title="No container reaches the machine that it runs on",
    types=(EVERY,),
    severity="critical",
    why="Whoever owns the machine owns every other team's data and credentials on it.",
    remedy="No privileged, hostNetwork, hostPID, hostIPC or hostPath; what a machine needs, a DaemonSet in kube-system brings.",
    controls={
        "aws-fsbp": ("ECS.3", "ECS.4"),
        "cis-eks": ("4.2.1", "4.2.2", "4.2.3", "4.2.4"),
        "cis-gke": ("4.2.1", "4.6.3"),
        "soc2": ("CC6.1", "CC6.6"),
        "iso-27001": ("A.8.2", "A.8.9"),
        "eu-ai-act": ("15",),
    },
)
def workload_no_host(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """The agents of a machine are left out: DaemonSets in kube-system or of HyperPod, and no other kind there."""
    if resource.type == DAEMON_SET and resource.get("metadata.namespace") in _AGENTS:
        return
    for pod in pods(resource):
        yield from (f"{container.name or 'a container'} is privileged" for container in _privileged(pod))
        yield from (f"it has {what}" for what in pod.host)


def _privileged(pod: Pod) -> Iterator[Container]:
    return (container for container in pod.containers if container.privileged)


@resource_rule(
    "workload-unprivileged",
    title="A container runs as nobody in particular and cannot become more",
    types=(EVERY,),
    severity="high",
    why="A poisoned package that runs as root needs one hole in the kernel to have the machine.",
    remedy="runAsNonRoot, allowPrivilegeEscalation: false, capabilities.drop: [ALL], seccompProfile RuntimeDefault.",
    controls={
        "aws-fsbp": ("ECS.20",),
        "cis-eks": ("4.2.5",),
        "cis-gke": ("4.6.2", "4.6.3"),
        "soc2": ("CC6.1",),
        "iso-27001": ("A.8.2", "A.8.9"),
    },
)
def workload_unprivileged(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """The same agents are left out. Batch knows of these only the user."""
    if resource.type == DAEMON_SET and resource.get("metadata.namespace") in _AGENTS:
        return
    for pod in pods(resource):
        for container in pod.containers:
            if container.unconfined:
                yield f"{container.name or 'a container'} {', '.join(container.unconfined)}"


@resource_rule(
    "chart-pinned",
    title="A chart is one version of its project's own",
    types=(RELEASE,),
    severity="high",
    why="A chart installs whatever it likes with the rights of whoever deploys; without a version, whatever is newest.",
    remedy="version, and a repository of policies/rules/workloads.py; a new one is added there, with a reviewer's eyes on it.",
    controls={
        "cis-eks": ("5.1.4",),
        "cis-gke": ("5.1.4",),
        "soc2": ("CC8.1",),
        "iso-27001": ("A.8.9", "A.8.32"),
        "eu-ai-act": ("15",),
    },
)
def chart_pinned(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """A chart that lies in the program itself is a path, and no version of somebody else's."""
    version, chart = str(resource.get("version", "")), str(resource.get("chart", ""))
    if chart.startswith((".", "/")):
        return
    if not _EXACT.fullmatch(version):
        yield f"its version is {version}, which is not one" if version else "it names no version"
    apart = str(resource.get("repositoryOpts.repo", ""))
    repository = apart or chart.rpartition("/")[0]
    if REFERENCE.search(apart or chart) or _OWN_SOURCES.match(f"{repository}/"):
        return
    known = _SOURCES.get(repository.removesuffix("/"))
    if known is None:
        yield f"{repository or 'no repository'} is not among those that charts come from"
    elif chart.rpartition("/")[2] not in known:
        yield f"{chart} is not among the charts that come from {repository}"


@resource_rule(
    "service-internal",
    title="No service of a cluster has a public address",
    types=(SERVICE, GATEWAY, INGRESS),
    severity="high",
    why="A service of type LoadBalancer is on the internet within a minute, with neither TLS nor anybody asking who comes.",
    remedy="type: ClusterIP; or the annotation that keeps the load balancer inside the network. A gateway towards the internet"
    " has certificates, HTTP for redirects alone, and a firewall before each service that it leads to.",
    controls={"soc2": ("CC6.6",), "iso-27001": ("A.8.20",), "eu-ai-act": ("15",)},
)
def service_internal(resource: Resource, graph: Graph) -> Found:
    """Load balancers that are not internal, and ports of every machine; gateways and ingresses that make a public one."""
    annotations = mapping(resource.get("metadata.annotations"))
    if resource.type == GATEWAY:
        if "external" in str(resource.get("spec.gatewayClassName")):
            yield from _on_the_internet(resource, graph)
        return
    if resource.type == INGRESS:
        if annotations.get("alb.ingress.kubernetes.io/scheme") != "internal" and (
            annotations.get("kubernetes.io/ingress.class", resource.get("spec.ingressClassName", "")) != "gce-internal"
        ):
            yield "its load balancer is on the internet"
        return
    kind = resource.get("spec.type", "ClusterIP")
    if kind == "LoadBalancer" and not any(
        str(annotations.get(name, "")).lower() == value for name, value in _INTERNAL.items()
    ):
        yield "its load balancer is on the internet"
    if kind == "NodePort":
        yield "it opens a port on every machine"


def _on_the_internet(gateway: Resource, graph: Graph) -> Found:
    """What a gateway towards the internet lacks: TLS on all that leads anywhere, and a firewall before it."""
    listeners = list(maps(gateway.get("spec.listeners")))
    certified = _CERTIFICATES in mapping(gateway.get("metadata.annotations"))
    plain = [
        each
        for each in listeners
        if (
            each.get("protocol") != "HTTPS"
            and mapping(mapping(each.get("allowedRoutes")).get("namespaces")).get("from", "Same") != "Same"
        )
        or (each.get("protocol") == "HTTPS" and not certified and not each.get("tls"))
    ]
    if plain or not listeners:
        yield f"its load balancer is on the internet, without TLS: {gateway.get('spec.gatewayClassName')}"
    name, space = gateway.get("metadata.name"), gateway.get("metadata.namespace")
    for route in graph.of_type(ROUTE):
        parents = [each for each in maps(route.get("spec.parentRefs")) if each.get("name") == name]
        here = route.get("metadata.namespace")
        if route.provider != gateway.provider or not any(each.get("namespace", here) == space for each in parents):
            continue
        behind = {
            str(backend.get("name"))
            for rule in maps(route.get("spec.rules"))
            for backend in maps(rule.get("backendRefs"))
        }
        if here == space and behind and any(each.get("sectionName") != "https" for each in parents):
            yield f"{route.get('metadata.name')} leads from plain HTTP to {', '.join(sorted(behind))}"
        guarded = {
            str(policy.get("spec.targetRef.name"))
            for policy in graph.of_type(BACKEND_POLICY)
            if policy.get("metadata.namespace") == here
            and policy.provider == gateway.provider
            and policy.get("spec.default.securityPolicy")
        }
        for service in sorted(behind - guarded):
            yield f"no firewall is before {service} of {here}, which it leads to from the internet"
