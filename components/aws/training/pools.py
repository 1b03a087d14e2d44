"""Pools of machines of the cluster: what Karpenter may start, and groups for capacity that is reserved."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes

from components import contracts
from components.core import eks
from components.core.accelerators import Machine, image
from components.scope import Component, Scope, after
from components.spec.capacity import Choice, PoolPlan
from components.spec.training import Mig, TimeSlicing

_MARKETS = frozenset({"spot", "on-demand"})
"""What Karpenter is for; a pool that has neither consists of groups."""
_CLEARED = timedelta(minutes=40)
"""How long before the end of a block its machines go: EC2 takes them away at thirty, and work has ten to save itself."""
_TO_END = "60m"
"""How long a destroy waits for the machines of a pool to end."""
_ARCHITECTURES = {"x86_64": "amd64", "arm64": "arm64"}


@dataclass(frozen=True, kw_only=True)
class PoolsArgs:
    """Which pools there are, and what they stand on."""

    pools: Mapping[str, PoolPlan]
    """Those whose work the cluster places; the machines of some HyperPod makes."""
    version: str
    """Kubernetes version."""
    cluster: contracts.Cluster
    autoscaler: contracts.Autoscaler | None
    """There, where a pool takes spot or on-demand machines."""
    network: contracts.Network
    zones: Sequence[str]
    """Zone ids of the network's subnets, in their order."""
    key: contracts.Key
    """Of disks."""
    teams: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    """By team, the tags of what belongs to it; else its name."""


class Pools(Component):
    """The pools: machines of one kind, with the pool's label and taints, none over its maximum.

    A pool that may be spot or on-demand is an EC2NodeClass and a NodePool: Karpenter starts machines for work that waits, from
    reservations first, then spot, then on-demand, and ends each ten minutes after its last work; it moves nobody's work to
    save money or to bring a new image, which machines get when they are empty, or after thirty days. A pool of reservations or
    capacity blocks alone is a managed group for each of them: reserved machines stand at all times, since they are paid for;
    those of a block from its start to its end. Fast machines lie in one placement group, with the fabric's own interfaces.
    Disks are encrypted; local ones are one volume for images and scratch.

    Owns the node classes and pools, groups with their launch templates and schedules, placement groups and the instance
    profile. Never owns queues, or the plugins that hand accelerators to pods. A larger maximum is an
    update in place. The cloud replaces a group only for another kind of image, market, role or zone, and as little as that.

    Costs what runs: an empty Karpenter pool nothing, a reservation its price (accelerators' catalogue). A destroy ends the
    machines of a pool before it goes on, up to an hour for each.

    >>> pools = Pools(
    ...     "pools",
    ...     PoolsArgs(pools={}, version="1.35", cluster=contracts.Cluster(
    ...         name=boundary.id, physical_name="acme-ai-dev-cluster", endpoint=boundary.id, location="us-west-2",
    ...         provider=kubernetes.Provider("kubernetes"), resource=parent, node_identity=boundary.id,
    ...         security_group=boundary.id,
    ...     ), autoscaler=None, network=network, zones=["usw2-az1"], key=key),
    ...     scope=scope, parent=parent,
    ... )
    >>> pools.outputs.flavors
    {}
    """

    outputs: contracts.Pools

    def __init__(self, name: str, args: PoolsArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the pools."""
        super().__init__(name, scope, parent)
        self._args = args
        self._subnets = dict(zip(args.zones, args.network.workload_subnets, strict=True))
        self._security_groups = [args.cluster.security_group] if args.cluster.security_group is not None else []
        own = [plan for plan in args.pools.values() if plan.resilience == "none"]
        started = [plan for plan in own if not managed(plan)]
        profile = self._profile() if started else None
        made: list[pulumi.Resource] = []
        for plan in own:
            placement = self._placement(plan) if plan.fast else None
            if profile is not None and not managed(plan):
                made.append(self._karpenter(plan, profile, placement))
            else:
                made.extend(self._group(plan, choice, placement) for choice in plan.choices)
        self.outputs = contracts.Pools(
            flavors={pool: flavor(plan) for pool, plan in args.pools.items()}, ready=after(args.cluster.name, *made)
        )
        self.finish(self.outputs)

    def _label(self, plan: PoolPlan, part: str = "") -> str:
        return f"{self.name}-{plan.name}{part}"

    def _tags(self, plan: PoolPlan, *, everything: bool = False) -> dict[str, str]:
        """Tags of a pool; `everything` where the provider's own do not reach."""
        scope = self.scope
        physical = scope.names.of(f"pool-{plan.name}", "node_group")
        team = self._args.teams.get(plan.team, {"team": plan.team}) if plan.team else {}
        return {**(scope.tags if everything else {}), "pool": plan.name, **team, "Name": physical}

    def _profile(self) -> aws.iam.InstanceProfile:
        """The role of machines, as EC2 takes it; Karpenter's own would need rights to IAM, and a way to it."""
        return aws.iam.InstanceProfile(
            f"{self.name}-machines",
            name=self.scope.names.of(f"{self.name}-machines", "iam_role"),
            role=self._args.cluster.node_identity.apply(lambda arn: arn.rpartition("/")[2]),
            opts=self.options(),
        )

    def _placement(self, plan: PoolPlan) -> aws.ec2.PlacementGroup:
        """Machines side by side in one zone."""
        return aws.ec2.PlacementGroup(
            self._label(plan, "-placement"),
            name=self.scope.names.of(f"pool-{plan.name}", "node_group"),
            strategy="cluster",
            tags=self._tags(plan),
            opts=self.options(),
        )

    def _karpenter(
        self, plan: PoolPlan, profile: aws.iam.InstanceProfile, placement: aws.ec2.PlacementGroup | None
    ) -> pulumi.Resource:
        """A pool that Karpenter fills."""
        args = self._args
        # Depends on the controller, which has to be there as long as a machine of the pool is.
        ready = args.autoscaler.ready if args.autoscaler else args.cluster.name
        labels = {"ai-platform.io/cluster": ready}
        node_class = kubernetes.apiextensions.CustomResource(
            self._label(plan, "-class"),
            api_version="karpenter.k8s.aws/v1",
            kind="EC2NodeClass",
            metadata={"name": plan.name, "labels": labels},
            spec=self._class(plan, profile, placement),
            opts=self.options(cluster=args.cluster.provider, custom_timeouts=pulumi.CustomTimeouts(delete=_TO_END)),
        )
        return kubernetes.apiextensions.CustomResource(
            self._label(plan, "-pool"),
            api_version="karpenter.sh/v1",
            kind="NodePool",
            metadata={
                "name": plan.name,
                "labels": labels,
                # Gone only when the last machine is: no `deleted_with` here, or the machines would outlive the cluster.
                "annotations": {"pulumi.com/deletionPropagationPolicy": "foreground"},
            },
            spec=node_pool(plan),
            opts=self.options(
                cluster=args.cluster.provider,
                depends_on=[node_class],
                custom_timeouts=pulumi.CustomTimeouts(delete=_TO_END),
            ),
        )

    def _class(
        self, plan: PoolPlan, profile: aws.iam.InstanceProfile, placement: aws.ec2.PlacementGroup | None
    ) -> dict[str, Any]:
        kinds = machines(plan)
        found = image("karpenter", plan.machine)
        reservations = [choice.reservation for choice in plan.choices if choice.reservation]
        # Karpenter writes the rest of the user data itself, local disks too.
        script = eks.node_config(local_disks=False, script=_script(plan))
        mine = {eks.DISCOVERY: self._args.cluster.physical_name}
        spec: dict[str, Any] = {
            "instanceProfile": profile.name,
            "amiSelectorTerms": [{"alias": found.type if found else ""}],
            # Subnets of other zones too: where its machines may be, the pool says.
            "subnetSelectorTerms": [{"tags": mine}],
            "securityGroupSelectorTerms": [{"tags": mine}],
            "associatePublicIPAddress": False,
            "metadataOptions": {
                "httpEndpoint": "enabled",
                "httpProtocolIPv6": "disabled",
                "httpPutResponseHopLimit": 1,
                "httpTokens": "required",
            },
            "blockDeviceMappings": [
                {
                    "deviceName": eks.ROOT_DISK,
                    "ebs": {
                        "volumeSize": f"{plan.disk_gib}Gi",
                        "volumeType": "gp3",
                        "encrypted": True,
                        "kmsKeyID": self._args.key.id,
                        "deleteOnTermination": True,
                    },
                }
            ],
            "detailedMonitoring": True,
            "tags": self._tags(plan, everything=True),
        }
        if any(machine.local_ssd_gib for machine in kinds):
            spec["instanceStorePolicy"] = "RAID0"
        if script:
            spec["userData"] = script
        if reservations:
            spec["capacityReservationSelectorTerms"] = [{"id": reservation} for reservation in reservations]
        if placement is not None:
            spec["placementGroupSelector"] = {"name": placement.name}
            spec["networkInterfaces"] = [
                {"networkCardIndex": card, "deviceIndex": device, "interfaceType": kind}
                for card, device, kind in _interfaces(plan.machine)
            ]
        return spec

    def _group(self, plan: PoolPlan, choice: Choice, placement: aws.ec2.PlacementGroup | None) -> aws.eks.NodeGroup:
        """Machines of one reservation or block."""
        args, scope, machine = self._args, self.scope, plan.machine
        label = self._label(plan, f"-{choice.label}")
        physical = scope.names.of(f"{plan.name}-{choice.label}", "node_group")
        block = choice.kind == "block"
        config = eks.node_config(local_disks=bool(machine.local_ssd_gib), script=_script(plan))
        template = aws.ec2.LaunchTemplate(
            label,
            name=physical,
            description=f"Machines of the pool {plan.name}, {choice.label}.",
            # A block wants it here; for the others it saves a replacement of the group where the type changes.
            instance_type=machine.type,
            instance_market_options={"market_type": "capacity-block"} if block else None,
            capacity_reservation_specification={
                "capacity_reservation_target": {"capacity_reservation_id": choice.reservation}
            },
            placement={"group_name": placement.name} if placement is not None else None,
            # Groups stand on the interfaces, where those are given.
            network_interfaces=self._network(plan) if plan.fast else [],
            vpc_security_group_ids=[] if plan.fast else self._security_groups,
            user_data=base64.b64encode(config.encode()).decode() if config else None,
            **eks.template(disk_gib=plan.disk_gib, key=args.key.id, tags=self._tags(plan, everything=True)),
            opts=self.options(),
        )
        found = image("eks", machine)
        group = aws.eks.NodeGroup(
            label,
            cluster_name=args.cluster.name,
            node_group_name=physical,
            node_role_arn=args.cluster.node_identity,
            subnet_ids=[self._subnets[zone] for zone in choice.zones],
            ami_type=found.type if found else None,
            capacity_type="CAPACITY_BLOCK" if block else "ON_DEMAND",
            release_version=eks.RELEASES[args.version],
            version=args.version,
            launch_template={"id": template.id, "version": template.latest_version.apply(str)},
            scaling_config=self._scaling(choice),
            # A reservation has no machine to spare: the old one goes before the new one comes.
            update_config={"max_unavailable": 1, "update_strategy": "MINIMAL"},
            node_repair_config={"enabled": True},
            labels=node_labels(plan),
            taints=[{"key": taint["key"], "value": taint["value"], "effect": "NO_SCHEDULE"} for taint in taints(plan)],
            tags=self._tags(plan),
            opts=self.options(
                # The schedule, or a person, says how many machines of a block run.
                ignore_changes=["scalingConfig.desiredSize"] if block else [],
                # There are neither two groups of one name nor twice the machines of a reservation.
                delete_before_replace=True,
            ),
        )
        if block:
            self._schedule(label, choice, group)
        return group

    def _network(self, plan: PoolPlan) -> list[aws.ec2.LaunchTemplateNetworkInterfaceArgsDict]:
        return [
            {
                "network_card_index": card,
                "device_index": device,
                "interface_type": kind,
                "security_groups": list(self._security_groups),
                "delete_on_termination": "true",
            }
            for card, device, kind in _interfaces(plan.machine)
        ]

    def _scaling(self, choice: Choice) -> aws.eks.NodeGroupScalingConfigArgsDict:
        if choice.kind != "block":  # paid for, whether it runs or not
            return {"min_size": choice.max, "max_size": choice.max, "desired_size": choice.max}
        begun = choice.starts is not None and choice.starts.date() <= self.scope.today
        return {"min_size": 0, "max_size": choice.max, "desired_size": choice.max if begun else 0}

    def _schedule(self, label: str, choice: Choice, group: aws.eks.NodeGroup) -> None:
        """Start and end of a block; what lies in the past is left out, for EC2 takes no action that is due already."""
        times: list[tuple[str, datetime | None, int]] = [
            ("start", choice.starts, choice.max),
            ("end", choice.ends - _CLEARED if choice.ends else None, 0),
        ]
        for action, time, size in times:
            if time is not None and time.date() > self.scope.today:
                aws.autoscaling.Schedule(
                    f"{label}-{action}",
                    autoscaling_group_name=group.resources.apply(_scaled),
                    scheduled_action_name=action,
                    start_time=time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                    min_size=0,
                    max_size=choice.max,
                    desired_capacity=size,
                    opts=self.options(),
                )


def _scaled(found: Sequence[aws.eks.outputs.NodeGroupResource] | None) -> str:
    """The name of the only Auto Scaling group of a managed group; nothing where the cloud has not said it."""
    return next((str(each.name) for part in found or () for each in part.autoscaling_groups or ()), "")


def managed(plan: PoolPlan) -> bool:
    """Whether a pool consists of managed groups, one for each choice of capacity."""
    return not _MARKETS & {choice.kind for choice in plan.choices}


def machines(plan: PoolPlan) -> Sequence[Machine]:
    """The machine types of a pool; with a fabric only those that have as many interfaces, which are the same for all."""
    best = plan.machine
    if not plan.fast:
        return plan.machines
    return [m for m in plan.machines if (m.interfaces, m.network_cards) == (best.interfaces, best.network_cards)]


def node_labels(plan: PoolPlan) -> dict[str, str]:
    """Labels of every machine of a pool."""
    own = {eks.POOL_LABEL: plan.name}
    # What the device plugin reads its configuration by (NVIDIA k8s-device-plugin, "Per-node configuration").
    return {**own, "nvidia.com/device-plugin.config": plan.name} if plan.sharing else own


def taints(plan: PoolPlan) -> list[dict[str, str]]:
    """Key and value of what work on a pool has to tolerate."""
    device = [{"key": plan.resource, "value": "present"}] if plan.resource else []
    return [*device, {"key": eks.POOL_LABEL, "value": plan.name}]


def flavor(plan: PoolPlan) -> contracts.Flavor:
    """How work finds the machines of a pool.

    Topology only where machines stand: among those that Karpenter has yet to start, Kueue would find no place.
    """
    return contracts.Flavor(
        labels={eks.POOL_LABEL: plan.name},
        taints=[{**taint, "effect": "NoSchedule"} for taint in taints(plan)],
        topology=eks.NETWORK_LAYERS if plan.fast and (managed(plan) or plan.resilience == "hyperpod") else (),
    )


def node_pool(plan: PoolPlan) -> dict[str, Any]:
    """The specification of a NodePool."""
    found = machines(plan)
    limits = {"nodes": str(plan.max)}
    if plan.resource:
        # As the machines report them: a shared accelerator counts as often as it is shared.
        limits[plan.resource] = str(plan.devices)
    one_of: dict[str, Sequence[str]] = {
        "karpenter.sh/capacity-type": list(dict.fromkeys(choice.kind for choice in plan.choices)),
        "kubernetes.io/arch": sorted({_ARCHITECTURES[machine.architecture] for machine in found}),
        "kubernetes.io/os": ["linux"],
        "node.kubernetes.io/instance-type": [machine.type for machine in found],
        "topology.k8s.aws/zone-id": _zones(plan),
    }
    return {
        "limits": limits,
        "template": {
            "metadata": {"labels": node_labels(plan)},
            "spec": {
                "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": plan.name},
                "requirements": [
                    {"key": key, "operator": "In", "values": list(values)} for key, values in one_of.items()
                ],
                "taints": [{**taint, "effect": "NoSchedule"} for taint in taints(plan)],
                # No machine gets older, so each has an image that is maintained; work on it is told to save itself first.
                "expireAfter": "720h",
                "terminationGracePeriod": "30m",
            },
        },
        "disruption": {
            "consolidationPolicy": "WhenEmpty",
            "consolidateAfter": "10m",
            # Training is not moved: what is started again on another machine is paid for twice.
            "budgets": [
                {"nodes": "100%", "reasons": ["Empty"]},
                {"nodes": "0", "reasons": ["Drifted", "Underutilized"]},
            ],
        },
    }


def _zones(plan: PoolPlan) -> list[str]:
    return list(dict.fromkeys(zone for choice in plan.choices for zone in choice.zones))


def _interfaces(machine: Machine) -> list[tuple[int, int, str]]:
    return eks.interfaces(count=machine.interfaces, cards=machine.network_cards)


def _script(plan: PoolPlan) -> str | None:
    """What divides the accelerators; the device plugin only hands out the parts."""
    match plan.sharing:
        case Mig(profile=profile):
            return eks.divide_script(profile, plan.slices)
        case TimeSlicing() | None:
            return None
