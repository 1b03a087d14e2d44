"""What is paid for inside of a cluster, by type of object: machines that come with pods, and balancers and disks of objects."""

from collections.abc import Iterator, Mapping

from components.core.accelerators import machine
from policies.model import Resource
from preview.prices import machines, rates
from preview.prices.google import rule
from preview.prices.items import POOL, Item, Look, Priced, amount, gib, listed, untold

_NODE_CLASS = "kubernetes:karpenter.k8s.aws/v1:EC2NodeClass"
_TYPES, _CAPACITY = "node.kubernetes.io/instance-type", "karpenter.sh/capacity-type"


def _node_pool(resource: Resource, look: Look) -> Iterator[Item]:
    """Machines that Karpenter starts: the cheapest of its types as expected, the dearest of them at the most.

    Spot is bought where the pool may, and on demand what spot does not have: at the most, all of it.
    """
    spec = resource.get("spec.template.spec", {})
    wanted = {each.get("key"): each.get("values", []) for each in listed(spec.get("requirements"))}
    known = [found for each in wanted.get(_TYPES, []) if (found := machine("aws", str(each)))]
    most = amount(resource.get("spec.limits.nodes"))
    if not known or most is None:
        yield untold("EC2 machines of Karpenter", "nothing says which, or how many")
        return
    region = look.home("aws")
    spot = "spot" in wanted.get(_CAPACITY, [])
    only = "on-demand" not in wanted.get(_CAPACITY, [])
    usual, smallest = machines.cheapest("aws", known, region, spot=spot)
    worst, _ = machines.dearest("aws", known, region, spot=only)
    pool = str(resource.get("spec.template.metadata.labels", {}).get(POOL, ""))
    sizes = (
        gib(mapping.get("ebs", {}).get("volumeSize"))
        for each in look.graph.where(_NODE_CLASS, "metadata.name", str(spec.get("nodeClassRef", {}).get("name")))
        for mapping in listed(each.get("spec.blockDeviceMappings"))
    )
    disks = [(rates.service("aws", "EBS", "gp3 storage", region), size or 0) for size in sizes]
    for item in machines.nodes(look, pool, smallest, usual, disks, 0, most):
        if item.rate is not usual or usual.usd is None or worst.usd is None:
            yield item
            continue
        # What is there as expected stays as it is; the rest up to the ceiling is of the dearest.
        low = item.idle if item.expected is None else item.expected
        yield Item(rate=usual, idle=item.idle, expected=item.expected, ceiling=low, why=item.why)
        yield Item(rate=worst, expected=0, ceiling=(item.ceiling or 0) - low)


def _gateway(resource: Resource, look: Look) -> Iterator[Item]:
    yield from rule(resource, look)


def _service(resource: Resource, _look: Look) -> Iterator[Item]:
    if resource.get("spec.type") == "LoadBalancer":
        yield untold("a load balancer of a Service", "what it is depends on the cluster")


def _claim(resource: Resource, _look: Look) -> Iterator[Item]:
    if resource.get("spec.storageClassName") != "":  # else it is bound to a file system that is paid for itself
        yield untold("disks of claims", "what it is depends on the cluster")


PRICED: Mapping[str, Priced] = {
    "kubernetes:core/v1:PersistentVolumeClaim": _claim,
    "kubernetes:core/v1:Service": _service,
    "kubernetes:gateway.networking.k8s.io/v1:Gateway": _gateway,
    "kubernetes:karpenter.sh/v1:NodePool": _node_pool,
}

UNKNOWN: Mapping[str, str] = {
    "kubernetes:apps/v1:StatefulSet": "its disks depend on the cluster",
    "kubernetes:monitoring.googleapis.com/v1:PodMonitoring": "samples of metrics are not counted",
}

FREE = frozenset(
    {
        "kubernetes:admissionregistration.k8s.io/",
        "kubernetes:apps/v1:DaemonSet",  # pods run on machines that are paid for
        "kubernetes:apps/v1:Deployment",
        "kubernetes:argoproj.io/",
        "kubernetes:batch/",
        "kubernetes:cloud.google.com/v1:ComputeClass",  # its node pools are paid for
        "kubernetes:core/v1:ConfigMap",
        "kubernetes:core/v1:LimitRange",
        "kubernetes:core/v1:Namespace",
        "kubernetes:core/v1:PersistentVolume",
        "kubernetes:core/v1:ResourceQuota",
        "kubernetes:core/v1:Secret",
        "kubernetes:core/v1:ServiceAccount",
        "kubernetes:elbv2.k8s.aws/v1beta1:TargetGroupBinding",
        "kubernetes:gateway.networking.k8s.io/v1:HTTPRoute",
        "kubernetes:helm.sh/v3:Release",
        "kubernetes:http.keda.sh/",
        _NODE_CLASS,
        "kubernetes:keda.sh/",
        "kubernetes:kueue.x-k8s.io/",
        "kubernetes:kyverno.io/",
        "kubernetes:networking.gke.io/",
        "kubernetes:networking.k8s.io/",
        "kubernetes:notation.nirmata.io/",
        "kubernetes:policy/",
        "kubernetes:rbac.authorization.k8s.io/",
        "kubernetes:scheduling.k8s.io/",
        "kubernetes:serving.kserve.io/",
        "kubernetes:storage.k8s.io/",
    }
)  # fmt: skip
"""What costs nothing itself: pods run on the machines of pools, and these are paid for."""
