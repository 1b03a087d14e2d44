"""What an accelerator is on each cloud: the machines that carry it, where they are, what they cost, which quota they use.

A description names an accelerator and how many of it a node has; `machines` turns that into machine types, best first:

1. machines that feed their accelerators before those that do not: at least 4 vCPUs an accelerator, and as much memory as
   the accelerators have together, so that a checkpoint fits into the host in one piece;
2. then fewer vCPUs, less memory, more regions, and the name.

The first is therefore the smallest that works, and the others are alternatives with the same accelerators: what a spot
pool is spread over. Nothing here is read from a cloud as the program runs: the tables in `catalogue/` are facts, each
with its source and date. What a table does not know is `None`, never 0; a region whose zones are not known has `()`.
Only regions and zones that the platform knows are in the tables.

>>> [found.type for found in machines("aws", "nvidia-l4", 1, "eu-west-2")]
['g6.2xlarge', 'g6.4xlarge', 'gr6.4xlarge', 'g6.8xlarge', 'gr6.8xlarge', 'g6.16xlarge', 'g6.xlarge']
>>> machines("gcp", "nvidia-h200", 8)[0].zones["us-west1"]
('us-west1-c',)
"""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal, cast

Cloud = Literal["aws", "gcp"]
Vendor = Literal["nvidia", "aws", "google"]
Fabric = Literal["efa", "gpudirect-tcpx", "gpudirect-tcpxo", "gpudirect-rdma", "ici"]
Unit = Literal["vcpus", "accelerators", "instances"]
Place = Literal["region", "zone", "global"]
Architecture = Literal["x86_64", "arm64"]
Service = Literal["eks", "karpenter", "batch", "gke"]
Row = dict[str, str]

_TABLES = Path(__file__).parent / "catalogue"


@dataclass(frozen=True, kw_only=True)
class Accelerator:
    """An accelerator, by the name that a description uses."""

    name: str
    vendor: Vendor
    resource: str
    """The Kubernetes resource that a container asks for."""
    memory_gib: float | None
    """Of one accelerator, nominal."""
    source: str


@dataclass(frozen=True, kw_only=True)
class Quota:
    """The quota that machines of one family count against."""

    service: str
    """AWS: the service code of Service Quotas; GCP: the service of Cloud Quotas."""
    code: str
    """AWS: the quota's code; GCP: the quota's id in Cloud Quotas."""
    metric: str | None = None
    """GCP: the metric that the quota limits."""
    unit: Unit
    dimensions: Mapping[str, str]
    """GCP: the dimensions beside the place; a quota that is kept by region has `region` too."""
    per: Place = "region"
    default: float | None = None
    """What an account or a project starts with, where it is known."""
    source: str


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A machine type with the accelerators that it carries."""

    cloud: Cloud
    type: str
    accelerator: str | None
    """The name of its accelerator; None for a machine without one."""
    count: int
    vcpus: int
    memory_gib: float
    architecture: Architecture
    network_gbps: float | None
    """What it has at all times, all its cards together."""
    fabric: Fabric | None
    """What joins the accelerators of several machines."""
    interfaces: int
    """AWS: EFA interfaces at most; GCP: network interfaces of the fabric, beside those for everything else."""
    network_cards: int
    """AWS: network cards; where there is one more than EFA interfaces, card 0 takes none (P6-B300). 1 on GCP."""
    local_ssd_gib: float | None
    """Local NVMe that comes with the machine; None where none does."""
    local_ssds: int
    """GCP: how many disks that is, which is what a node pool is told."""
    attached: bool
    """GCP: whether the accelerator is a guest of a machine that also exists without it."""
    gke_accelerator: str | None
    """GKE: the accelerator's type in a node pool (GPUs only) and in the node's label."""
    usage: tuple[str, ...] | None
    """AWS: how it can be bought, of `on-demand`, `spot` and `capacity-block`; None where that is not known."""
    quota_on_demand: Quota | None
    quota_spot: Quota | None
    quota_cluster: Quota | None
    """AWS: machines of HyperPod; None where HyperPod is not known to have it."""
    zones: Mapping[str, tuple[str, ...]]
    """The zones by region: zone ids on AWS. Where the machine is known to exist: elsewhere it may."""
    source: str

    @property
    def feeds(self) -> bool:
        """Whether the host keeps up with its accelerators: the module says how that is judged."""
        memory = ACCELERATORS[self.accelerator].memory_gib if self.accelerator else None
        return self.vcpus >= 4 * self.count and self.memory_gib >= (memory or 0) * self.count


@dataclass(frozen=True, kw_only=True)
class Price:
    """What a whole machine costs an hour in a region, its accelerators and bundled disks included."""

    on_demand_usd_hour: float | None
    spot_usd_hour: float | None
    as_of: str
    """The date of the on-demand price, or words where it is not known."""
    source: str


@dataclass(frozen=True, kw_only=True)
class Topology:
    """A slice of TPUs: how its chips are laid out, and over how many nodes of the machine."""

    type: str
    topology: str
    chips: int
    nodes: int
    source: str


@dataclass(frozen=True, kw_only=True)
class Image:
    """The operating system image of a node, by the name that the service has for it."""

    type: str
    source: str


def _accelerators() -> Iterator[Accelerator]:
    for row in _rows("accelerators"):
        yield Accelerator(
            name=row["name"],
            vendor=cast("Vendor", row["vendor"]),
            resource=row["resource"],
            memory_gib=_number(row["memory_gib"]),
            source=_sources(row["source"]),
        )


def _rows(table: str) -> tuple[Row, ...]:
    with (_TABLES / f"{table}.csv").open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        columns = next(rows)
        return tuple(dict(zip(columns, row, strict=True)) for row in rows)


def _number(text: str) -> float | None:
    return float(text) if text else None


@cache
def _source_names() -> Mapping[str, str]:
    return {row["key"]: row["source"] for row in _rows("sources")}


def _sources(keys: str) -> str:
    """The sources that a row names by their keys."""
    return "; ".join(_source_names()[key] for key in keys.split())


@cache
def _quotas() -> Mapping[tuple[str, str, str], Quota]:
    return {
        (row["cloud"], row["family"], row["capacity"]): Quota(
            service=row["service"],
            code=row["code"],
            metric=row["metric"] or None,
            unit=cast("Unit", row["unit"]),
            dimensions=MappingProxyType(dict(pair.split("=", 1) for pair in row["dimensions"].split())),
            per=cast("Place", row["per"]),
            default=_number(row["default"]),
            source=_sources(row["source"]),
        )
        for row in _rows("quotas")
    }


def _zones() -> dict[str, dict[str, tuple[str, ...]]]:
    """Where machines are, by the group of machines that are in the same places."""
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for row in _rows("zones"):
        prefix = row["prefix"]
        found.setdefault(row["group"], {})[row["region"]] = tuple(prefix + zone for zone in row["zones"].split())
    return found


def _machines() -> Iterator[Machine]:
    quotas, zones = _quotas(), _zones()
    for row in _rows("machines"):
        cloud, accelerator = row["cloud"], row["accelerator"]
        yield Machine(
            cloud=cast("Cloud", cloud),
            type=row["type"],
            accelerator=accelerator or None,
            count=int(row["count"]),
            vcpus=int(row["vcpus"]),
            memory_gib=float(row["memory_gib"]),
            architecture=cast("Architecture", row["architecture"]),
            network_gbps=_number(row["network_gbps"]),
            fabric=cast("Fabric", row["fabric"]) if row["fabric"] else None,
            interfaces=int(row["interfaces"]),
            network_cards=int(row["network_cards"]),
            local_ssd_gib=_number(row["local_ssd_gib"]),
            local_ssds=int(row["local_ssds"]),
            attached=row["attached"] == "yes",
            gke_accelerator=row["gke_accelerator"] or None,
            usage=tuple(row["usage"].split()) or None,
            quota_on_demand=quotas.get((cloud, row["quota"], "on-demand")),
            quota_spot=quotas.get((cloud, row["quota"], "spot")),
            quota_cluster=quotas.get((cloud, row["type"], "cluster")),
            zones=MappingProxyType(zones[row["zones"]]),
            source=_sources(row["source"]),
        )


ALIASES: Mapping[str, str] = {"nvidia-a100": "nvidia-a100-40gb"}
"""Other names of an accelerator, by which it is found too."""

_BY_NAME = {found.name: found for found in _accelerators()}
ACCELERATORS: Mapping[str, Accelerator] = MappingProxyType(
    _BY_NAME | {alias: _BY_NAME[name] for alias, name in ALIASES.items()}
)
"""The accelerators by name, aliases among them."""

MACHINES: tuple[Machine, ...] = tuple(_machines())
"""Every machine type with the accelerators that it carries, or can carry; those without accelerators too."""

GPUS_ALL_REGIONS: Quota = _quotas()["gcp", "all-gpus", "any"]
"""GCP: the ceiling on all GPUs of a project, on top of each region's own. A new project has none or few."""

HYPERPOD: tuple[Quota, ...] = (_quotas()["aws", "hyperpod", "cluster"], _quotas()["aws", "hyperpod", "all"])
"""AWS: the ceilings on machines of HyperPod of any type, in one of its clusters and in all. A new account has none."""

QUOTAS: Mapping[tuple[str, str], Quota] = MappingProxyType({(q.service, q.code): q for q in _quotas().values()})
"""Every quota by its service and code; of those that differ by dimension, one."""

_EKS_TYPES = "Amazon EKS API Reference, Nodegroup, amiType"
_EKS_RELEASE = (
    "awslabs/amazon-eks-ami v20260728, the variants of AL2023; aws/karpenter-provider-aws: pkg/providers/amifamily"
)
_BATCH_TYPES = "AWS CDK API Reference v2.275.0, EcsMachineImageType; AWS SDK for .NET 3.7.500.14, Batch"
_COS = "Google Kubernetes Engine, 'Increase network traffic speed for GPU nodes': gVNIC takes Container-Optimized OS"

IMAGES: Mapping[tuple[Service, Vendor | None, Architecture], Image] = MappingProxyType(
    {
        ("eks", None, "x86_64"): Image(type="AL2023_x86_64_STANDARD", source=_EKS_TYPES),
        ("eks", None, "arm64"): Image(type="AL2023_ARM_64_STANDARD", source=_EKS_TYPES),
        ("eks", "nvidia", "x86_64"): Image(type="AL2023_x86_64_NVIDIA", source=_EKS_TYPES),
        ("eks", "nvidia", "arm64"): Image(type="AL2023_ARM_64_NVIDIA", source=_EKS_TYPES),
        ("eks", "aws", "x86_64"): Image(type="AL2023_x86_64_NEURON", source=_EKS_TYPES),
        # One alias stands for every variant: Karpenter takes the one that the machine's accelerator needs.
        ("karpenter", None, "x86_64"): Image(type="al2023@v20260728", source=_EKS_RELEASE),
        ("karpenter", None, "arm64"): Image(type="al2023@v20260728", source=_EKS_RELEASE),
        ("karpenter", "nvidia", "x86_64"): Image(type="al2023@v20260728", source=_EKS_RELEASE),
        ("karpenter", "nvidia", "arm64"): Image(type="al2023@v20260728", source=_EKS_RELEASE),
        ("karpenter", "aws", "x86_64"): Image(type="al2023@v20260728", source=_EKS_RELEASE),
        # Batch has no type with the Neuron driver: there, a job on Trainium or Inferentia needs an image of its own.
        ("batch", None, "x86_64"): Image(type="ECS_AL2023", source=_BATCH_TYPES),
        ("batch", None, "arm64"): Image(type="ECS_AL2023", source=_BATCH_TYPES),
        ("batch", "nvidia", "x86_64"): Image(type="ECS_AL2023_NVIDIA", source=_BATCH_TYPES),
        ("gke", None, "x86_64"): Image(type="COS_CONTAINERD", source=_COS),
        ("gke", "nvidia", "x86_64"): Image(type="COS_CONTAINERD", source=_COS),
        ("gke", "google", "x86_64"): Image(type="COS_CONTAINERD", source=_COS),
    }
)
"""The image of a node by service, vendor of its accelerator and architecture."""


def image(service: Service, machine: Machine) -> Image | None:
    """The image that a service runs on a machine; None where it has none that drives the accelerator.

    >>> [image("batch", machines("aws", name, 1)[0]) is not None for name in ("nvidia-l4", "aws-trainium")]
    [True, False]
    """
    vendor = ACCELERATORS[machine.accelerator].vendor if machine.accelerator else None
    return IMAGES.get((service, vendor, machine.architecture))


def _canonical(accelerator: str | None) -> str | None:
    return ALIASES.get(accelerator, accelerator) if accelerator else None


@cache
def machines(cloud: str, accelerator: str | None, per_node: int, region: str | None = None) -> tuple[Machine, ...]:
    """The machines with so many of an accelerator, in a region or anywhere, the best first; none where none is known."""
    name = _canonical(accelerator)
    found = [
        each
        for each in MACHINES
        if (each.cloud, each.accelerator, each.count) == (cloud, name, per_node)
        and (region is None or region in each.zones)
    ]
    return tuple(sorted(found, key=lambda m: (not m.feeds, m.vcpus, m.memory_gib, -len(m.zones), m.type)))


@cache
def machine(cloud: str, type: str, accelerator: str | None = None, per_node: int | None = None) -> Machine | None:  # noqa: A002
    """The machine of a type. A type that accelerators can be attached to is the bare one, unless one is named."""
    name = _canonical(accelerator)
    found = [
        each
        for each in MACHINES
        if (each.cloud, each.type) == (cloud, type)
        and (name is None or each.accelerator == name)
        and (per_node is None or each.count == per_node)
    ]
    return min(found, key=lambda m: m.count, default=None)


@cache
def regions(cloud: str, accelerator: str | None, per_node: int) -> tuple[str, ...]:
    """The regions where a node with so many of an accelerator is known to exist."""
    return tuple(sorted({region for each in machines(cloud, accelerator, per_node) for region in each.zones}))


@cache
def _prices() -> Mapping[tuple[str, str, str, int, str], Price]:
    return {
        (row["cloud"], row["type"], row["accelerator"], int(row["count"]), row["region"]): Price(
            on_demand_usd_hour=_number(row["on_demand_usd_hour"]),
            spot_usd_hour=_number(row["spot_usd_hour"]),
            as_of=row["as_of"],
            source=_sources(row["source"]),
        )
        for row in _rows("prices")
    }


def price(machine: Machine, region: str) -> Price | None:
    """What a machine costs in a region, where that is known."""
    return _prices().get((machine.cloud, machine.type, machine.accelerator or "", machine.count, region))


@cache
def topologies(type: str) -> tuple[Topology, ...]:  # noqa: A002
    """The slices that a TPU machine can be part of, the smallest first; none for any other machine."""
    found = (
        Topology(
            type=row["type"],
            topology=row["topology"],
            chips=int(row["chips"]),
            nodes=int(row["nodes"]),
            source=_sources(row["source"]),
        )
        for row in _rows("topologies")
        if row["type"] == type
    )
    return tuple(sorted(found, key=lambda each: (each.nodes, each.chips)))
