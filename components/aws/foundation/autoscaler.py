"""What starts machines when work waits, and ends them when none is left: Karpenter."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes

from components import contracts
from components.aws.blocks.workload import Workload, WorkloadArgs
from components.contracts import Text
from components.core import eks, iam
from components.scope import Component, Scope, after

_NAMESPACE = "kube-system"
_ACCOUNT = "karpenter"
_REGISTRY = "public.ecr.aws"
_CHARTS = f"oci://{_REGISTRY}/karpenter"
_WAIT = 600
"""Seconds that a chart has to become ready."""
_RETENTION = 300
"""Seconds that a notice is of use; of a spot machine there are 120."""

# What Karpenter listens to, by what it is called here: source and kind of event (getting-started-with-karpenter/
# cloudformation.yaml of 1.14).
_EVENTS: Mapping[str, tuple[str, str]] = {
    "health": ("aws.health", "AWS Health Event"),
    "spot": ("aws.ec2", "EC2 Spot Instance Interruption Warning"),
    "rebalance": ("aws.ec2", "EC2 Instance Rebalance Recommendation"),
    "state": ("aws.ec2", "EC2 Instance State-change Notification"),
    "reservation": ("aws.ec2", "EC2 Capacity Reservation Instance Interruption Warning"),
}


@dataclass(frozen=True, kw_only=True)
class AutoscalerArgs:
    """What it works on."""

    cluster: contracts.Cluster
    compute_key: contracts.Key
    """The key of the disks of machines."""
    notices_key: contracts.Key
    """A key that EventBridge may use, for the queue of notices."""
    boundary: contracts.Boundary
    mirrors: Mapping[str, Text] = field(default_factory=dict[str, Text])
    """Public registry to the address that stands in its place."""


class Autoscaler(Component):
    """Karpenter: it starts the machine that waiting work needs, moves work off one that is about to be taken, ends empty ones.

    Owns its two charts, its role, the queue of notices with the five rules that fill it. Never owns a pool, or the role of the
    machines that it starts. It runs on the system machines, twice. Its role can start and end only what it has tagged for this
    cluster; it cannot make a role or an instance profile, since pools bring theirs.

    Costs a month (us-east-1, 2026-09): less than 0.40 USD for the queue (0.40 a million requests). A destroy takes the pools
    first, since their machines are ended by the controller, and then the charts with the cluster.

    >>> cluster = contracts.Cluster(
    ...     name=boundary.id, physical_name="acme-ai-dev-cluster", endpoint=boundary.id, location="us-west-2",
    ...     provider=kubernetes.Provider("kubernetes"), resource=parent, node_identity=boundary.id, security_group=boundary.id,
    ... )
    >>> args = AutoscalerArgs(cluster=cluster, compute_key=key, notices_key=key, boundary=boundary)
    >>> ready = Autoscaler("autoscaler", args, scope=scope, parent=parent).outputs.ready
    """

    outputs: contracts.Autoscaler

    def __init__(self, name: str, args: AutoscalerArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the role, the queue and the charts."""
        super().__init__(name, scope, parent)
        self._args = args
        queue, notices = self._notices()
        identity = self._identity(queue)
        crds = self._chart("karpenter-crd", {}, notices)
        controller = self._chart("karpenter", self._values(queue), [crds, identity, *notices])
        self.outputs = contracts.Autoscaler(ready=after(args.cluster.name, controller))
        self.finish(self.outputs)

    def _notices(self) -> tuple[aws.sqs.Queue, list[pulumi.Resource]]:
        """The queue, and what fills it."""
        scope, label = self.scope, f"{self.name}-notices"
        physical = scope.names.of(label)
        arn = f"arn:aws:sqs:{scope.region}:{scope.account}:{physical}"
        rules = f"arn:aws:events:{scope.region}:{scope.account}:rule/{scope.names.of(f'{self.name}-*')}"
        queue = aws.sqs.Queue(
            label,
            name=physical,
            kms_master_key_id=self._args.notices_key.id,
            message_retention_seconds=_RETENTION,
            opts=self.options(),
        )
        policy = aws.sqs.QueuePolicy(
            label,
            queue_url=queue.id,
            policy=pulumi.Output.json_dumps(
                iam.document(
                    iam.deny(
                        ["sqs:*"], [arn], sid="OnlyOverTls", principals="*", when=iam.secure_transport(required=False)
                    ),
                    iam.allow(
                        ["sqs:SendMessage"],
                        [arn],
                        sid="Notices",
                        principals={"Service": "events.amazonaws.com"},
                        when=iam.source(scope.account, rules),
                    ),
                )
            ),
            opts=self.options(),
        )
        made: list[pulumi.Resource] = [policy]
        for event, (source, kind) in _EVENTS.items():
            rule = aws.cloudwatch.EventRule(
                f"{self.name}-{event}",
                name=scope.names.of(f"{self.name}-{event}", "event_rule"),
                description=f"{kind}, for Karpenter.",
                event_pattern=json.dumps({"source": [source], "detail-type": [kind]}),
                opts=self.options(),
            )
            made.append(
                aws.cloudwatch.EventTarget(
                    f"{self.name}-{event}",
                    rule=rule.name,
                    target_id="karpenter",
                    arn=queue.arn,
                    opts=self.options(depends_on=[policy]),
                )
            )
        return queue, made

    def _identity(self, queue: aws.sqs.Queue) -> pulumi.Resource:
        args, scope = self._args, self.scope
        role = Workload(
            self.name,
            WorkloadArgs(
                description="Karpenter: starts and ends machines of the cluster.",
                service=None,
                pod=(_NAMESPACE, _ACCOUNT),
                statements=statements(
                    account=scope.account,
                    region=scope.region,
                    cluster=args.cluster.physical_name,
                    node_role=args.cluster.node_identity,
                    queue=queue.arn,
                    notices_key=args.notices_key.id,
                    compute_key=args.compute_key.id,
                ),
                boundary=args.boundary,
            ),
            scope=scope,
            parent=self,
        ).outputs
        return aws.eks.PodIdentityAssociation(
            f"{self.name}-identity",
            cluster_name=args.cluster.name,
            namespace=_NAMESPACE,
            service_account=_ACCOUNT,
            role_arn=role.id,
            opts=self.options(),
        )

    def _values(self, queue: aws.sqs.Queue) -> dict[str, Any]:
        """Values of the chart; its own tolerations and affinity place it on the system machines, one replica a zone."""
        args = self._args
        mirror = args.mirrors.get(_REGISTRY)
        controller: dict[str, Any] = {
            "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
        }
        if mirror is not None:  # the digest stays that of the chart
            controller["image"] = {"repository": pulumi.Output.concat(mirror, "/", eks.KARPENTER_IMAGE)}
        return {
            "replicas": 2,
            "serviceAccount": {"name": _ACCOUNT},
            "nodeSelector": {"kubernetes.io/os": "linux", eks.POOL_LABEL: eks.SYSTEM_POOL},
            "controller": controller,
            "settings": {
                "clusterName": args.cluster.name,
                "clusterEndpoint": args.cluster.endpoint,
                "interruptionQueue": queue.name,
                # The price list and IAM have no endpoint of a network's own. Karpenter then goes by the prices that it was
                # released with, and leaves instance profiles alone: it needs a right to neither.
                "isolatedVPC": True,
                # By name, so that a new version of the chart changes none of them behind our back: capacity blocks and
                # reservations need the first; the second ends machines whose accelerator failed, as EKS does in its groups.
                "featureGates": {
                    "reservedCapacity": True,
                    "nodeRepair": True,
                    "nodeOverlay": False,
                    "spotToSpotConsolidation": False,
                    "staticCapacity": False,
                    "capacityBuffer": False,
                },
            },
        }

    def _chart(
        self, chart: str, values: Mapping[str, Any], after_: Sequence[pulumi.Resource]
    ) -> kubernetes.helm.v3.Release:
        cluster = self._args.cluster
        return kubernetes.helm.v3.Release(
            f"{self.name}-{chart}",
            name=chart,
            chart=f"{_CHARTS}/{chart}",
            version=eks.KARPENTER,
            namespace=_NAMESPACE,
            values=dict(values),
            # The definitions are a release of their own: those inside of a chart are made once and never upgraded.
            skip_crds=True,
            atomic=True,
            timeout=_WAIT,
            opts=self.options(cluster=cluster.provider, depends_on=after_, deleted_with=cluster.resource),
        )


def statements(
    *, account: str, region: str, cluster: str, node_role: Any, queue: Any, notices_key: Any, compute_key: Any
) -> list[iam.Statement]:
    """What the controller may do: cloudformation.yaml of Karpenter 1.14, narrowed to one account and one role of machines.

    Left out of it: whatever makes instance profiles (pools bring theirs), the price list, zonal shifts. Added: the key of the
    disks, and the role that EC2 makes with an account's first spot machine, for which it needs the right of whoever asks.
    """

    def ec2(*kinds: str, owner: str = account) -> list[str]:
        return [f"arn:aws:ec2:{region}:{owner}:{kind}/*" for kind in kinds]

    owned, named = f"kubernetes.io/cluster/{cluster}", "eks:eks-cluster-name"
    started = ("fleet", "instance", "launch-template", "network-interface", "spot-instances-request", "volume")
    made: iam.Condition = {
        "StringEquals": {f"aws:RequestTag/{owned}": "owned", f"aws:RequestTag/{named}": cluster},
        "StringLike": {"aws:RequestTag/karpenter.sh/nodepool": "*"},
    }
    mine: iam.Condition = {
        "StringEquals": {f"aws:ResourceTag/{owned}": "owned"},
        "StringLike": {"aws:ResourceTag/karpenter.sh/nodepool": "*"},
    }
    start = ["ec2:CreateFleet", "ec2:RunInstances"]
    creating: iam.Condition = {
        "StringEquals": {"ec2:CreateAction": ["RunInstances", "CreateFleet", "CreateLaunchTemplate"]}
    }
    relabelled: iam.Condition = {
        "StringEqualsIfExists": {f"aws:RequestTag/{named}": cluster},
        "ForAllValues:StringEquals": {"aws:TagKeys": [named, "karpenter.sh/nodeclaim", "Name"]},
    }
    return [
        iam.allow(
            start,
            [
                *ec2("image", "snapshot", owner=""),
                *ec2("placement-group", "security-group", "subnet"),
                # A reservation may be shared by another account.
                *ec2("capacity-reservation", owner="*"),
            ],
            sid="StartWith",
        ),
        iam.allow(start, ec2("launch-template"), sid="StartFromItsTemplates", when=mine),
        iam.allow([*start, "ec2:CreateLaunchTemplate"], ec2(*started), sid="StartTagged", when=made),
        iam.allow(["ec2:CreateTags"], ec2(*started), sid="TagWhatItStarts", when=iam.both(made, creating)),
        iam.allow(["ec2:CreateTags"], ec2("instance"), sid="TagItsMachines", when=iam.both(mine, relabelled)),
        iam.allow(
            ["ec2:DeleteLaunchTemplate", "ec2:TerminateInstances"],
            ec2("instance", "launch-template"),
            sid="EndItsOwn",
            when=mine,
        ),
        iam.allow(
            ["iam:PassRole"],
            [node_role],
            sid="RoleOfMachines",
            when={"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}},
        ),
        iam.allow(
            ["iam:CreateServiceLinkedRole"],
            [f"arn:aws:iam::{account}:role/aws-service-role/spot.amazonaws.com/*"],
            sid="RoleOfSpot",
            when={"StringEquals": {"iam:AWSServiceName": "spot.amazonaws.com"}},
        ),
        iam.allow(["eks:DescribeCluster"], [f"arn:aws:eks:{region}:{account}:cluster/{cluster}"], sid="Cluster"),
        iam.allow(["sqs:DeleteMessage", "sqs:GetQueueUrl", "sqs:ReceiveMessage"], [queue], sid="Notices"),
        iam.allow(["kms:Decrypt"], [notices_key], sid="KeyOfNotices", when=iam.via(region, "sqs")),
        *eks.disks(compute_key, region),
        iam.allow(
            [
                "ec2:DescribeCapacityReservations",
                "ec2:DescribeImages",
                "ec2:DescribeInstanceStatus",
                "ec2:DescribeInstanceTypeOfferings",
                "ec2:DescribeInstanceTypes",
                "ec2:DescribeInstances",
                "ec2:DescribeLaunchTemplates",
                "ec2:DescribePlacementGroups",
                "ec2:DescribeSecurityGroups",
                "ec2:DescribeSpotPriceHistory",
                "ec2:DescribeSubnets",
            ],
            ["*"],
            sid="Look",
            when={"StringEquals": {"aws:RequestedRegion": region}},
        ),
        iam.allow(["ssm:GetParameter"], [f"arn:aws:ssm:{region}::parameter/aws/service/*"], sid="Images"),
    ]
