"""Pools of machines with accelerators: who keeps off them, where their driver comes from, how they are paid for."""

import json
import re
from collections.abc import Mapping
from typing import Any

from components.core.accelerators import machine, topologies
from policies.context import items, mapping, maps
from policies.model import REFERENCE, Graph, Resource
from policies.pods import RELEASE, cluster_of
from policies.rule import Found, resource_rule

GKE = "gcp:container/cluster:Cluster"
NODE_GROUP = "aws:eks/nodeGroup:NodeGroup"
NODE_POOL = "gcp:container/nodePool:NodePool"
KARPENTER_POOL = "kubernetes:karpenter.sh/v1:NodePool"
LAUNCH_TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
CLOUD_CONTROL = "aws:cloudcontrol/resource:Resource"
"""What the provider has no resource of; here that is HyperPod."""

# Families of machines that have accelerators ("Accelerated computing", EC2; "Accelerator-optimized machine family", Compute
# Engine): NVIDIA's, Trainium, Inferentia, Gaudi; A and G machines, TPUs.
_AWS_FAMILY = re.compile(r"(p|g|gr|trn|inf|dl)(\d|$)")
_GCP_FAMILY = re.compile(r"(a[2-9]x?|g[2-9])-|ct\w+-|tpu")
_IMAGES = re.compile(r"NVIDIA|NEURON|GPU")

_DRIVERS = {"DEFAULT", "LATEST", "INSTALLATION_DISABLED"}
"""What may be said of a driver; what is not said, each version of GKE decides anew."""


def capacity_types(pool: Resource) -> list[Any]:
    """What a pool of Karpenter may be: `reserved`, `spot`, `on-demand`. One that does not say may be on-demand only."""
    return [
        value
        for need in maps(pool.get("spec.template.spec.requirements"))
        if need.get("key") == "karpenter.sh/capacity-type"
        for value in items(need.get("values"))
    ]


def is_spot(pool: Resource) -> bool:
    """Whether machines of a pool may be taken away."""
    if pool.type == KARPENTER_POOL:
        return "spot" in capacity_types(pool)
    if pool.type == NODE_GROUP:
        return pool.get("capacityType") == "SPOT"
    return any(pool.get(f"nodeConfig.{switch}", False) is not False for switch in ("spot", "preemptible"))


def labels_of_machines(pool: Resource) -> Mapping[str, Any]:
    """The labels of a pool's machines."""
    if pool.type != NODE_POOL:
        return mapping(pool.get("spec.template.metadata.labels" if pool.type == KARPENTER_POOL else "labels"))
    return {**_labels_of_tpus(pool), **mapping(pool.get("nodeConfig.labels"))}


def _labels_of_tpus(pool: Resource) -> Mapping[str, Any]:
    """What GKE labels machines with TPUs by itself ("Deploy TPU workloads in GKE Standard")."""
    type_ = str(pool.get("nodeConfig.machineType"))
    alone = next((known.topology for known in topologies(type_) if known.nodes == 1), None)
    if alone is None:
        return {}
    known = machine("gcp", type_)
    return {
        "cloud.google.com/gke-tpu-accelerator": known.gke_accelerator if known else None,
        "cloud.google.com/gke-tpu-topology": pool.get("placementPolicy.tpuTopology", alone),
    }


def hyperpod(resource: Resource) -> Mapping[str, Any]:
    """What a HyperPod cluster is told to be; empty where a resource is none, or where that is not known yet."""
    state = resource.get("desiredState")
    if resource.get("typeName") != "AWS::SageMaker::Cluster" or not isinstance(state, str) or not state.startswith("{"):
        return {}
    return mapping(json.loads(state))


def instance_groups(resource: Resource) -> list[Mapping[str, Any]]:
    """The groups of machines of a HyperPod cluster."""
    return list(maps(hyperpod(resource).get("InstanceGroups")))


def is_accelerated(pool: Resource, graph: Graph) -> bool:
    """Whether a pool's machines have accelerators, as far as it says."""
    if pool.type == NODE_POOL:
        machine = str(pool.get("nodeConfig.machineType", ""))
        return bool(pool.get("nodeConfig.guestAccelerators")) or bool(_GCP_FAMILY.match(machine))
    if pool.type == NODE_GROUP:
        types = [*items(pool.get("instanceTypes")), *(t.get("instanceType") for t in templates_of(pool, graph))]
        image = str(pool.get("amiType", ""))
        return bool(_IMAGES.search(image)) or any(_AWS_FAMILY.match(str(t)) for t in types)
    needs = maps(pool.get("spec.template.spec.requirements"))
    values = [str(v) for need in needs if "instance" in str(need.get("key")) for v in items(need.get("values"))]
    counted = any("/" in str(name) for name in mapping(pool.get("spec.limits")))
    return counted or any(_AWS_FAMILY.match(value) for value in values)


def templates_of(pool: Resource, graph: Graph) -> list[Resource]:
    """The launch templates of a managed group."""
    found = (graph.resources.get(urn) for urn in sorted(pool.links("launchTemplate")))
    return [template for template in found if template and template.type == LAUNCH_TEMPLATE]


@resource_rule(
    "pool-tainted",
    title="Nothing lands on a machine with accelerators that does not ask for it",
    types=(NODE_GROUP, NODE_POOL, KARPENTER_POOL, CLOUD_CONTROL),
    severity="medium",
    why="One web server that was placed there keeps eight GPUs running for ever, and whoever needs all of them waiting.",
    remedy="A taint with NoSchedule on the pool, which only work of its queue tolerates.",
    controls={"soc2": ("A1.2",), "iso-27001": ("A.8.6",)},
)
def pool_tainted(resource: Resource, graph: Graph) -> Found:
    """Whatever the taint is called: that it lets nothing start is what counts."""
    for group in instance_groups(resource):
        kept = {taint.get("Effect") for taint in maps(mapping(group.get("KubernetesConfig")).get("Taints"))}
        if _AWS_FAMILY.match(str(group.get("InstanceType", "")).removeprefix("ml.")) and not kept & {
            "NoSchedule",
            "NoExecute",
        }:
            yield f"no taint keeps other pods off the machines of {group.get('InstanceGroupName')}"
    if resource.type == CLOUD_CONTROL:
        return
    path = {KARPENTER_POOL: "spec.template.spec.taints", NODE_POOL: "nodeConfig.taints"}.get(resource.type, "taints")
    effects = {str(taint.get("effect", "")).replace("_", "").lower() for taint in maps(resource.get(path))}
    if is_accelerated(resource, graph) and not effects & {"noschedule", "noexecute"}:
        yield "no taint keeps other pods off its machines"


@resource_rule(
    "pool-driver-owner",
    title="The driver of an accelerator has one owner, who is stated",
    types=(NODE_POOL, RELEASE),
    severity="high",
    why="Two installers of one driver end with a machine that has a GPU, is paid for, and runs nothing.",
    remedy="GKE: gpu_driver_installation_config. GPU operator: driver.enabled: false, since the images of EKS bring the driver.",
    controls={"soc2": ("CC8.1",), "iso-27001": ("A.8.9",)},
)
def pool_driver_owner(resource: Resource, graph: Graph) -> Found:
    """GKE installs the driver or is told not to; a chart that installs one is right only where it was told so."""
    if resource.type == NODE_POOL:
        for gpu in maps(resource.get("nodeConfig.guestAccelerators")):
            stated = mapping(gpu.get("gpuDriverInstallationConfig")).get("gpuDriverVersion")
            if str(stated) not in _DRIVERS:
                yield f"where the driver of {gpu.get('type')} comes from is not stated"
        return
    chart, cluster = str(resource.get("chart", "")).rpartition("/")[2], cluster_of(resource, graph)
    on_gke = cluster is not None and cluster.type == GKE
    if chart == "nvidia-device-plugin" and on_gke:
        yield "GKE brings the device plugin itself"
    if chart == "gpu-operator":
        installs = mapping(mapping(resource.get("values")).get("driver")).get("enabled", True) is not False
        left = on_gke and _left_to_others(graph)
        if installs and not left:
            yield "it installs a driver where the machine has one already"
        if not installs and left:
            yield "nobody installs the driver: GKE was told not to"


def _left_to_others(graph: Graph) -> bool:
    gpus = [gpu for pool in graph.of_type(NODE_POOL) for gpu in maps(pool.get("nodeConfig.guestAccelerators"))]
    stated = [mapping(gpu.get("gpuDriverInstallationConfig")).get("gpuDriverVersion") for gpu in gpus]
    return bool(stated) and all(version == "INSTALLATION_DISABLED" for version in stated)


@resource_rule(
    "pool-one-market",
    title="What is reserved is not spot, and spot takes nobody's reservation",
    types=(NODE_GROUP, NODE_POOL, LAUNCH_TEMPLATE),
    severity="medium",
    why="The cloud refuses the combination at best; at worst the reservation is paid for and stands idle beside spot machines.",
    remedy="One choice of capacity a node pool or group, in the order in which they are tried.",
    controls={"iso-27001": ("A.8.6",)},
)
def pool_one_market(resource: Resource, graph: Graph) -> Found:
    """GKE takes an unnamed reservation for whatever matches, unless it is told not to."""
    if resource.type == NODE_POOL:
        affinity = resource.get("nodeConfig.reservationAffinity.consumeReservationType", "not stated")
        by_request = resource.get("queuedProvisioning.enabled") is True or resource.get("nodeConfig.flexStart") is True
        if (is_spot(resource) or by_request) and affinity != "NO_RESERVATION":
            yield f"its machines come from no reservation, and its affinity to one is {affinity}"
        if is_spot(resource) and by_request:
            yield "machines that come by request are never spot"
        return
    if resource.type == NODE_GROUP:
        reserved = any(map(_reserved, templates_of(resource, graph)))
        if is_spot(resource) and reserved:
            yield "its machines are spot, and its launch template takes a reservation"
        return
    market = resource.get("instanceMarketOptions.marketType")
    if market == "spot" and _reserved(resource):
        yield "it asks for spot machines of a reservation"


def _reserved(template: Resource) -> bool:
    target = template.get("capacityReservationSpecification.capacityReservationTarget")
    return bool(mapping(target))


@resource_rule(
    "pool-kept",
    title="HyperPod replaces what fails, in the network, on disks under a key, and starts nothing by itself",
    types=(CLOUD_CONTROL,),
    severity="high",
    why="Without recovery it is a cluster at a higher price; without a network of ours its machines are in one of AWS.",
    remedy="NodeRecovery: Automatic, VpcConfig, VolumeKmsKeyId on the root disk and the other, and no AutoScaling.",
    controls={"soc2": ("A1.2", "CC6.1"), "iso-27001": ("A.8.6", "A.8.9")},
)
def pool_kept(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """Its own autoscaler knows no ceiling but the quota: the number of machines of a group is one."""
    state = hyperpod(resource)
    if not state:
        return
    if state.get("NodeRecovery") != "Automatic":
        yield "what fails stays as it is"
    if not mapping(state.get("VpcConfig")).get("Subnets"):
        yield "its machines are in no network of the environment"
    if mapping(state.get("AutoScaling")).get("Mode") == "Enable":
        yield "its own autoscaler starts machines past what is described"
    for group in instance_groups(resource):
        disks = [mapping(each.get("EbsVolumeConfig")) for each in maps(group.get("InstanceStorageConfigs"))]
        root = any(disk.get("RootVolume") is True for disk in disks)
        if not root or not all(_own_key(disk.get("VolumeKmsKeyId")) for disk in disks):
            yield f"{group.get('InstanceGroupName')} has a disk without a key of the environment"


def _own_key(key: Any) -> bool:
    """A key by its ARN, or one that is yet to be made."""
    return isinstance(key, str) and bool(REFERENCE.search(key) or ":kms:" in key)
