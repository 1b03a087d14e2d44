"""Pools of machines for training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import pulumi
import pulumi_gcp as gcp
import pulumi_kubernetes as kubernetes

from components import contracts
from components.core.accelerators import topologies
from components.core.google import HARDENED, labels, started
from components.scope import Component, Scope, after
from components.spec.capacity import Choice, PoolPlan
from components.spec.training import Mig, TimeSlicing

POOL = "ai-platform.io/pool"
"""Label of a machine, with its pool as its value."""
_CLASS = "cloud.google.com/compute-class"
_QUEUED = "cloud.google.com/gke-queued"
_FABRIC_DRIVER = "cloud.google.com/gke-networking-dra-driver"
_TPU, _SLICE = "cloud.google.com/gke-tpu-accelerator", "cloud.google.com/gke-tpu-topology"
# How near machines are to one another, the widest first (GKE "Schedule workloads with Topology Aware Scheduling").
_TOPOLOGY = tuple(f"cloud.google.com/gce-topology-{level}" for level in ("block", "subblock", "host"))
# The taint of accelerators, by who makes them. GKE puts it on such machines by itself: declared, it is no difference.
_ACCELERATED = {"nvidia": "nvidia.com/gpu", "google": "google.com/tpu"}
# What comes by the Dynamic Workload Scheduler, as a request and for seven days at most.
_SCHEDULED = ("flex-start", "queued")
# Families that boot from nothing else; all others boot from pd-balanced (Compute Engine, "Supported disk types").
_HYPERDISK = ("a3-ultragpu", "a4-", "ct6e-")
# Pods of GKE's own on each machine, rounded up, and what a range of addresses holds ("Flexible Pod CIDR").
_OWN_PODS, _RANGES = 20, (32, 64, 110, 256)
# GKE works on five node pools of a cluster at once; one is left to people (terraform-provider-google issue 15205).
_AT_ONCE = 4


@dataclass(frozen=True, kw_only=True)
class PoolsArgs:
    """Which pools there are."""

    apis: Mapping[str, contracts.Text]
    cluster: contracts.Cluster
    key: contracts.Key
    """Encrypts the machines' disks."""
    plans: Mapping[str, PoolPlan]
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    """By pool: what stands on its machines besides, for the bill."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Machines that GKE scales as one: a node pool."""

    name: str
    choice: Choice
    zones: tuple[str, ...]
    least: int
    most: int
    whole: bool = False
    """Whether they are one slice of TPUs, which is there as a whole or not at all."""


class Pools(Component):
    """A node pool for each choice of capacity of a pool, and a ComputeClass that tries them in order.

    A pod asks for the class by its node selector, `cloud.google.com/compute-class: {pool}`; GKE then starts machines of the
    first choice that has any, and of nothing else. A queued pool has no class: its machines come for a ProvisioningRequest.
    TPUs over several machines are a node pool a slice.

    The driver of a GPU comes from GKE, and from nobody else; so does its device plugin. Where machines of a pool stand side
    by side, GKE also makes the networks of their fabric (an accelerator network profile), which a pod claims by the class
    `mrdma.google.com`, or `netdev.google.com` on A3 High and Mega (GKE "managed DRANET").

    Owns the node pools and the classes. Never owns the cluster, a reservation, or who may use a pool: that is the queues'.

    Costs what its machines cost while they run, by the second: 0.71 USD an hour for g2-standard-4 with an L4, 88.49 for
    a3-highgpu-8g (us-central1, on demand, 2026-07-30). A pool needs quota for its `max`, of spot and of all others each. A
    destroy takes classes first and machines after them. What replaces a node pool, and with it its machines: another
    accelerator, number or sharing of it, another kind of capacity or another reservation, another topology or interconnect,
    another key. A new size, zone, disk, team or machine type of the same accelerator does not.

    >>> affinity(Choice(kind="spot", reservation=None, min=0, max=4, zones=("us-west1-a",), label="spot"))
    {'consume_reservation_type': 'NO_RESERVATION'}
    """

    outputs: contracts.Pools

    def __init__(self, name: str, args: PoolsArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the pools."""
        super().__init__(name, scope, parent)
        self._args = args
        self._made: list[gcp.container.NodePool] = []
        classes: list[pulumi.Resource] = []
        flavors: dict[str, contracts.Flavor] = {}
        for plan in args.plans.values():
            found = groups(plan)
            pools = [self._pool(plan, group) for group in found]
            if not _queued(plan) and found:
                classes.append(self._class(plan, found, pools))
            flavors[plan.name] = _flavor(plan)
        self.outputs = contracts.Pools(
            flavors=flavors,
            ready=after(args.cluster.name, *self._made, *classes),
        )
        self.finish(self.outputs)

    def _pool(self, plan: PoolPlan, group: Group) -> gcp.container.NodePool:
        args, kind = self._args, group.choice.kind
        zones, each = started(group.least, group.most, group.zones)
        scheduled = kind in _SCHEDULED
        made = gcp.container.NodePool(
            f"{self.name}-{group.name}",
            name=group.name,
            project=args.apis["container.googleapis.com"],
            location=args.cluster.location,
            cluster=args.cluster.name,
            node_locations=list(zones),
            initial_node_count=each,
            autoscaling=_bounds(group),
            # GKE takes a flex-start pool only without repair; channels refuse any other pool without it.
            management={"auto_repair": not scheduled, "auto_upgrade": True},
            # An upgrade never needs a machine more than there are. GKE has a way of its own for what lives for days only.
            upgrade_settings=None if scheduled else {"strategy": "SURGE", "max_surge": 0, "max_unavailable": 1},
            max_pods_per_node=pods(plan.per_node * plan.slices),
            placement_policy=_placement(plan, group),
            queued_provisioning={"enabled": True} if kind == "queued" else None,
            network_config=_network(plan),
            node_config=self._machine(plan, group),
            opts=self.options(
                # Only the next in line waits, and no input changes when the line does.
                depends_on=[self._made[-_AT_ONCE]] if len(self._made) >= _AT_ONCE else [],
                # The autoscaler decides from then on; a change would replace the pool.
                ignore_changes=["initialNodeCount"],
                # The provider would leave the placement as it is: GKE has no update of it (API, UpdateNodePoolRequest).
                replace_on_changes=["placementPolicy"],
                # There are no two node pools of one name.
                delete_before_replace=True,
                # GKE goes machine by machine.
                custom_timeouts=pulumi.CustomTimeouts(create="60m", update="180m", delete="60m"),
            ),
        )
        self._made.append(made)
        return made

    def _machine(self, plan: PoolPlan, group: Group) -> gcp.container.NodePoolNodeConfigArgsDict:
        args, machine, choice = self._args, plan.machine, group.choice
        team = {"team": plan.team} if plan.team else {}
        marks = {POOL: plan.name, "ai-platform.io/capacity": choice.kind}
        marks |= {_QUEUED: "true"} if choice.kind == "queued" else {_CLASS: plan.name}
        # Takes pods to the networks of the fabric.
        marks |= {_FABRIC_DRIVER: "true"} if _fabric(plan) else {}
        config: gcp.container.NodePoolNodeConfigArgsDict = {
            **cast("gcp.container.NodePoolNodeConfigArgsDict", HARDENED),
            "machine_type": machine.type,
            "guest_accelerators": _gpus(plan),
            "spot": choice.kind == "spot",
            "reservation_affinity": affinity(choice),
            "disk_type": "hyperdisk-balanced" if machine.type.startswith(_HYPERDISK) else "pd-balanced",
            "disk_size_gb": plan.disk_gib,
            "boot_disk_kms_key": args.key.id,
            "service_account": args.cluster.node_identity,
            "labels": marks,
            "taints": [
                {"key": key, "value": value, "effect": "NO_SCHEDULE"}
                for key, value in taints(plan).items()
                # GKE puts it there, and takes it away from a machine that a request was granted.
                if key != _QUEUED
            ],
            "resource_labels": labels({**self.scope.tags, **team, **args.tags.get(plan.name, {}), "pool": plan.name}),
        }
        if choice.kind in _SCHEDULED:
            config["flex_start"] = True
        if machine.local_ssds:
            # What a pod writes beside its volumes goes to the disks that come with the machine.
            config["ephemeral_storage_local_ssd_config"] = {"local_ssd_count": machine.local_ssds}
        return config

    def _class(
        self, plan: PoolPlan, found: Sequence[Group], pools: Sequence[pulumi.Resource]
    ) -> kubernetes.apiextensions.CustomResource:
        """The order in which a pool's choices are tried."""
        order = [choice.label for choice in plan.choices]
        spec = {
            "priorities": [
                {"nodepools": names}
                for label in order
                if (names := [group.name for group in found if group.choice.label == label])
            ],
            # A pool is what was declared: neither another machine in its place, nor a pool that GKE makes up.
            "nodePoolAutoCreation": {"enabled": False},
            "whenUnsatisfiable": "DoNotScaleUp",
            # A job is not moved because a better choice has room again.
            "activeMigration": {"optimizeRulePriority": False},
        }
        return kubernetes.apiextensions.CustomResource(
            f"{self.name}-{plan.name}-class",
            api_version="cloud.google.com/v1",
            kind="ComputeClass",
            metadata={"name": plan.name},
            spec=spec,
            opts=self.options(
                cluster=self._args.cluster.provider, depends_on=pools, deleted_with=self._args.cluster.resource
            ),
        )


def groups(plan: PoolPlan) -> list[Group]:
    """The node pools of a pool: one a choice, or one a slice where TPUs span machines."""
    nodes = _slice(plan)
    found: list[Group] = []
    for choice in plan.choices:
        name = f"{plan.name}-{choice.label}"
        if nodes == 1:
            found.append(Group(name=name, choice=choice, zones=choice.zones, least=choice.min, most=choice.max))
            continue
        slices = choice.max // nodes
        found += [
            Group(
                name=name if slices == 1 else f"{name}-{i + 1}",
                choice=choice,
                # A slice lies in one zone; several are spread.
                zones=(choice.zones[i % len(choice.zones)],),
                least=nodes if (i + 1) * nodes <= choice.min else 0,
                most=nodes,
                whole=True,
            )
            for i in range(slices)
        ]
    return [group for group in found if group.most]


def taints(plan: PoolPlan) -> dict[str, str]:
    """What keeps everybody else from a pool's machines: key and value of each taint, none of which lets anything start."""
    found = {_ACCELERATED[plan.accelerator.vendor]: "present"} if plan.accelerator else {}
    return found | ({_QUEUED: "true"} if _queued(plan) else {_CLASS: plan.name})


def affinity(choice: Choice) -> gcp.container.NodePoolNodeConfigReservationAffinityArgsDict:
    """Which reservation its machines come from: the one that is named, and never one that was meant for something else."""
    if choice.reservation is None:
        return {"consume_reservation_type": "NO_RESERVATION"}
    return {
        "consume_reservation_type": "SPECIFIC_RESERVATION",
        # Its name, or `projects/P/reservations/NAME`, with `/reservationBlocks/BLOCK` for a part of it.
        "key": "compute.googleapis.com/reservation-name",
        "values": [choice.reservation],
    }


def pods(devices: int) -> int:
    """Pods that a machine has addresses for, where each of its devices may be a pod's.

    >>> pods(8), pods(56), pods(384)
    (32, 110, 256)
    """
    return next((size for size in _RANGES if size >= devices + _OWN_PODS), _RANGES[-1])


def _queued(plan: PoolPlan) -> bool:
    return any(choice.kind == "queued" for choice in plan.choices)


def _slice(plan: PoolPlan) -> int:
    """Machines of one slice of TPUs; 1 for every other machine."""
    if plan.topology is None:
        return 1
    nodes = {known.topology: known.nodes for known in topologies(plan.machine.type)}
    if plan.topology not in nodes:
        raise ValueError(f"pool {plan.name}: {plan.machine.type} has no slice {plan.topology}, but {', '.join(nodes)}")
    return nodes[plan.topology]


def _fabric(plan: PoolPlan) -> bool:
    """Whether GPUs of several machines reach each other past the network that everything else uses."""
    return plan.fast and (plan.machine.fabric or "").startswith("gpudirect")


def _bounds(group: Group) -> gcp.container.NodePoolAutoscalingArgsDict:
    if group.whole:
        # The provider takes a slice of flex-start by zone only (cluster-toolkit, gke-node-pool); and it has but one.
        return {"min_node_count": group.least, "max_node_count": group.most, "location_policy": "ANY"}
    return {"total_min_node_count": group.least, "total_max_node_count": group.most, "location_policy": "ANY"}


def _network(plan: PoolPlan) -> gcp.container.NodePoolNetworkConfigArgsDict:
    if _fabric(plan):
        return {"enable_private_nodes": True, "accelerator_network_profile": "auto"}
    return {"enable_private_nodes": True}


def _gpus(plan: PoolPlan) -> list[gcp.container.NodePoolNodeConfigGuestAcceleratorArgsDict]:
    """The GPUs, also those that come with the machine: only here is said where their driver comes from."""
    kind = plan.machine.gke_accelerator
    if plan.accelerator is None or plan.accelerator.vendor != "nvidia" or kind is None:
        return []
    gpus: gcp.container.NodePoolNodeConfigGuestAcceleratorArgsDict = {
        "type": kind,
        "count": plan.per_node,
        # Signed by Google, as secure boot wants it. A4 takes no older one, and to change it replaces the pool.
        "gpu_driver_installation_config": {"gpu_driver_version": "LATEST"},
    }
    match plan.sharing:
        case Mig(profile=profile):
            gpus["gpu_partition_size"] = profile
        case TimeSlicing(replicas=replicas):
            gpus["gpu_sharing_config"] = {
                "gpu_sharing_strategy": "TIME_SHARING",
                "max_shared_clients_per_gpu": replicas,
            }
        case None:
            pass
    return [gpus]


def _placement(plan: PoolPlan, group: Group) -> gcp.container.NodePoolPlacementPolicyArgsDict | None:
    """Side by side: a slice always; GPUs of a fast pool, unless a reservation has placed them already."""
    if group.whole:
        return {"type": "COMPACT", "tpu_topology": plan.topology}
    return {"type": "COMPACT"} if _fabric(plan) and group.choice.kind != "reserved" else None


def _flavor(plan: PoolPlan) -> contracts.Flavor:
    queued = _queued(plan)
    where = {_QUEUED: "true", POOL: plan.name} if queued else {_CLASS: plan.name}
    if plan.topology and plan.machine.gke_accelerator:
        # GKE admits no pod with TPUs that does not name them ("Deploy TPU workloads in GKE Standard").
        where |= {_TPU: plan.machine.gke_accelerator, _SLICE: plan.topology}
    return contracts.Flavor(
        labels=where,
        taints=[{"key": key, "value": value, "effect": "NoSchedule"} for key, value in taints(plan).items()],
        queued=queued,
        topology=_TOPOLOGY if _fabric(plan) else (),
    )
