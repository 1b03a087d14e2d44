"""Machines of the cluster that heal themselves: SageMaker HyperPod, attached to the cluster that is there."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes

from components import contracts
from components.aws.blocks.workload import Workload, WorkloadArgs
from components.core import eks, iam, sagemaker
from components.scope import Component, Scope
from components.spec.capacity import PoolPlan

_TIMES = pulumi.CustomTimeouts(create="3h", update="3h", delete="3h")
"""A machine of HyperPod is there in 20 minutes; the cloud itself gives a change twelve hours."""


@dataclass(frozen=True, kw_only=True)
class HyperPodArgs:
    """Which pools HyperPod keeps, and what they stand on."""

    pools: Mapping[str, PoolPlan]
    """One: Cloud Control changes a list by position, and groups have no order that would stay."""
    flavors: Mapping[str, contracts.Flavor]
    """By pool: the labels and taints by which work finds its machines."""
    cluster: contracts.Cluster
    network: contracts.Network
    zones: Sequence[str]
    """Zone ids of the network's subnets, in their order."""
    key: contracts.Key
    """Of disks."""
    scripts: contracts.Storage
    """Where what a machine runs at first lies, and nothing else: whoever writes there is root on every machine."""
    scripts_key: contracts.Key
    boundary: contracts.Boundary
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    """Tags besides those of every resource: those of the team whose pool it is."""


class HyperPod(Component):
    """A pool whose machines SageMaker HyperPod watches, restarts and replaces, as instance group of a HyperPod cluster.

    An agent on each machine reads the accelerator's and the kernel's complaints; HyperPod then marks the machine, takes its
    work off, restarts or replaces it, and gives the new one the pool's labels and taints, so that queues send work there as to
    any other pool. The group has as many machines as its pool, at all times: no autoscaler adds any. Machines come as there
    are any (continuous provisioning), so that a lack of them stops no deployment. They get security patches when idle. Deep
    health checks at the start are off: HyperPod does not have them together with taints.

    Owns the HyperPod cluster with its group, the role of the machines, the script that they run at first, and what HyperPod
    needs in the cluster: its namespace, the agent, the rights of both. It is declared through Cloud Control
    (`AWS::SageMaker::Cluster`), for the provider has no resource of it. Never owns the access entries of the machines and of
    HyperPod, which HyperPod makes and takes away, or its log group `/aws/sagemaker/Clusters/{name}/{id}`: its name is known
    when it is written to already, so it has no retention of ours. Never owns the reservation that a training plan is.

    A change of the number of machines is an update in place. EKS cluster, name and first subnet are the only things whose
    change replaces the whole. HyperPod changes neither the zone nor the key of a group: that takes a pool of another name.

    Costs what stands: p5.48xlarge 66.05 USD an hour, p4d.24xlarge 25.91, g6e.48xlarge 37.66 (us-east-1, 2026-10), a sixth to a
    quarter above the same machine of EC2; a plan its price, paid before. A destroy ends all machines, then takes away the rest.

    >>> cluster = contracts.Cluster(
    ...     name=boundary.id, physical_name="acme-ai-dev-cluster", endpoint=boundary.id, location="us-west-2",
    ...     provider=kubernetes.Provider("kubernetes"), resource=parent, node_identity=boundary.id,
    ...     security_group=boundary.id,
    ... )
    >>> made = HyperPod(
    ...     "hyperpod",
    ...     HyperPodArgs(pools={}, flavors={}, cluster=cluster, network=network, zones=["usw2-az1"], key=key,
    ...         scripts=bucket, scripts_key=key, boundary=boundary),
    ...     scope=scope, parent=parent,
    ... )
    >>> made.physical
    'acme-ai-dev-hyperpod'
    """

    outputs: contracts.HyperPod

    def __init__(self, name: str, args: HyperPodArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make what HyperPod needs in the cluster, then its machines."""
        super().__init__(name, scope, parent)
        self._args = args
        self.physical = scope.names.of(name, "hyperpod")
        self._subnets = dict(zip(args.zones, args.network.workload_subnets, strict=True))
        self._security_groups = [args.cluster.security_group] if args.cluster.security_group is not None else []
        inside = self._inside()
        script = self._script()
        role = self._role()
        state = {
            "ClusterName": self.physical,
            # Resolves when the cluster has its add-ons and whoever deploys is let in.
            "Orchestrator": {"Eks": {"ClusterArn": args.cluster.name.apply(lambda found: f"{self._arn}{found}")}},
            # One subnet, and of a group its own besides: another list would replace the whole.
            "VpcConfig": self._network(args.zones[0]),
            "NodeRecovery": "Automatic",
            # Keys of ours go with it alone ("Customer managed AWS KMS key encryption for SageMaker HyperPod").
            "NodeProvisioningMode": "Continuous",
            "InstanceGroups": [self._group(plan, role) for _, plan in sorted(args.pools.items())],
            # The provider's own do not reach into what Cloud Control is told.
            "Tags": [
                {"Key": key, "Value": value}
                for key, value in sorted({**scope.tags, **args.tags, "Name": self.physical}.items())
            ],
        }
        made = aws.cloudcontrol.Resource(
            f"{name}-cluster",
            type_name="AWS::SageMaker::Cluster",
            desired_state=pulumi.Output.json_dumps(state, sort_keys=True),
            # There are no two of one name, nor twice the machines.
            opts=self.options(depends_on=[*inside, script], delete_before_replace=True, custom_timeouts=_TIMES),
        )
        self.outputs = contracts.HyperPod(id=made.id)
        self.finish(self.outputs)

    @property
    def _arn(self) -> str:
        return f"arn:aws:eks:{self.scope.region}:{self.scope.account}:cluster/"

    def _network(self, zone: str) -> dict[str, Any]:
        """The group that all machines and the control plane share lets its members reach each other, as a fabric wants it."""
        return {"SecurityGroupIds": list(self._security_groups), "Subnets": [self._subnets[zone]]}

    def _group(self, plan: PoolPlan, role: contracts.Text) -> dict[str, Any]:
        """The machines of a pool."""
        args, choice, flavor = self._args, plan.choices[0], self._args.flavors[plan.name]
        disks = [{"RootVolume": True}, {"VolumeSizeInGB": plan.disk_gib}]
        group: dict[str, Any] = {
            "InstanceGroupName": plan.name,
            "InstanceType": sagemaker.instance(plan.machine.type),
            "InstanceCount": plan.max,
            "ExecutionRole": role,
            "LifeCycleConfig": {"SourceS3Uri": args.scripts.uri, "OnCreate": _script_name()},
            "InstanceStorageConfigs": [{"EbsVolumeConfig": {**disk, "VolumeKmsKeyId": args.key.id}} for disk in disks],
            "OverrideVpcConfig": self._network(choice.zones[0]),
            "KubernetesConfig": {
                "Labels": dict(flavor.labels),
                "Taints": [{key.capitalize(): value for key, value in taint.items()} for taint in flavor.taints],
            },
            "AutoPatchConfig": {"PatchingStrategy": "WhenIdle"},
        }
        if choice.reservation:
            group["TrainingPlanArn"] = choice.reservation
        return group

    def _role(self) -> contracts.Text:
        """What machines are, to AWS. Their metadata is out of the reach of pods, which have roles of their own."""
        args, scope = self._args, self.scope
        ours = f"{scope.region}:{scope.account}"
        # The instances are not the account's: SageMaker's own, with an interface in its network.
        ec2 = {kind: f"arn:aws:ec2:{scope.region}:*:{kind}/*" for kind in _TOUCHED}
        return Workload(
            f"{self.name}-machines",
            WorkloadArgs(
                description="Machines that HyperPod keeps: they join the cluster and pull images.",
                service="sagemaker.amazonaws.com",
                policies=["AmazonSageMakerClusterInstanceRolePolicy", "AmazonEC2ContainerRegistryPullOnly"],
                # "IAM role for SageMaker HyperPod", Amazon EKS; then its own script, and its disks.
                statements=[
                    iam.allow(_SEE, ["*"]),
                    iam.allow(_INTERFACES, list(ec2.values())),
                    iam.allow(["ec2:CreateTags"], [ec2["network-interface"]]),
                    iam.allow(
                        ["eks-auth:AssumeRoleForPodIdentity"],
                        [f"arn:aws:eks:{ours}:cluster/{args.cluster.physical_name}"],
                    ),
                    iam.allow(["s3:ListBucket"], [args.scripts.resource]),
                    iam.allow(["s3:GetObject"], [pulumi.Output.concat(args.scripts.resource, "/*")]),
                    iam.allow(["kms:Decrypt"], [args.scripts_key.id], when=iam.via(scope.region, "s3")),
                    iam.allow(["kms:DescribeKey"], [args.key.id], when=iam.via(scope.region, "sagemaker")),
                    iam.allow(
                        ["kms:CreateGrant"],
                        [args.key.id],
                        when=iam.both(
                            iam.via(scope.region, "sagemaker"), {"Bool": {"kms:GrantIsForAWSResource": "true"}}
                        ),
                    ),
                ],
                boundary=args.boundary,
            ),
            scope=scope,
            parent=self,
        ).outputs.id

    def _script(self) -> aws.s3.BucketObjectv2:
        """What a machine runs at first. Its name changes with it, so that a group is told of a new one."""
        args = self._args
        return aws.s3.BucketObjectv2(
            f"{self.name}-script",
            bucket=args.scripts.name,
            key=_script_name(),
            content=sagemaker.ON_CREATE,
            content_type="text/x-shellscript",
            server_side_encryption="aws:kms",
            kms_key_id=args.scripts_key.id,
            opts=self.options(),
        )

    def _inside(self) -> list[pulumi.Resource]:
        """What HyperPod wants to find in the cluster before it makes a machine."""
        cluster = self._args.cluster
        opts = self.options(cluster=cluster.provider, deleted_with=cluster.resource)
        space = kubernetes.core.v1.Namespace(
            f"{self.name}-space",
            metadata={
                "name": sagemaker.HYPERPOD_SPACE,
                # As a label, so that it waits for the cluster's add-ons, and for whoever deploys to be let in.
                "labels": {
                    "name": sagemaker.HYPERPOD_SPACE,
                    "ai-platform.io/cluster": cluster.name,
                    # Of agents that read the machine's log, and of HyperPod's own health checks.
                    "pod-security.kubernetes.io/enforce": "privileged",
                },
            },
            opts=opts,
        )
        below = self.options(cluster=cluster.provider, deleted_with=cluster.resource, depends_on=[space])
        made: list[pulumi.Resource] = [space]
        for label, (who, rules) in sagemaker.RIGHTS.items():
            made.extend(self._rights(label, who, rules, below))
        return [*made, self._agent(below)]

    def _rights(
        self, label: str, who: str, rules: Sequence[Mapping[str, Any]], opts: pulumi.ResourceOptions
    ) -> list[pulumi.Resource]:
        name = f"{self.name}-{label.removeprefix('hyperpod-')}"
        group = "rbac.authorization.k8s.io"
        role = kubernetes.rbac.v1.ClusterRole(
            f"{name}-role",
            metadata={"name": label},
            rules=[
                {"api_groups": rule["apiGroups"], "resources": rule["resources"], "verbs": rule["verbs"]}
                for rule in rules
            ],
            opts=opts,
        )
        made: list[pulumi.Resource] = [role]
        subject: kubernetes.rbac.v1.SubjectArgsDict = {"api_group": group, "kind": "User", "name": who}
        if who != sagemaker.HYPERPOD_USER:
            metadata: kubernetes.meta.v1.ObjectMetaArgsDict = {"name": who, "namespace": sagemaker.HYPERPOD_SPACE}
            made.append(kubernetes.core.v1.ServiceAccount(f"{name}-account", metadata=metadata, opts=opts))
            subject = {"kind": "ServiceAccount", "name": who, "namespace": sagemaker.HYPERPOD_SPACE}
        made.append(
            kubernetes.rbac.v1.ClusterRoleBinding(
                f"{name}-binding",
                metadata={"name": label},
                role_ref={"api_group": group, "kind": "ClusterRole", "name": label},
                subjects=[subject],
                opts=opts,
            )
        )
        return made

    def _agent(self, opts: pulumi.ResourceOptions) -> pulumi.Resource:
        """The agent, on the machines of HyperPod's pools: by pool instead of the chart's list of machine types."""
        who = {"app": sagemaker.AGENT}
        paths = {"log": "/var/log/", "kmsg": "/dev/kmsg", "localtime": "/etc/localtime"}
        return kubernetes.apps.v1.DaemonSet(
            f"{self.name}-agent",
            metadata={"name": sagemaker.AGENT, "namespace": sagemaker.HYPERPOD_SPACE, "labels": who},
            spec={
                "selector": {"match_labels": who},
                "template": {
                    "metadata": {"labels": who},
                    "spec": {
                        "service_account_name": sagemaker.AGENT,
                        "affinity": {
                            "node_affinity": {
                                "required_during_scheduling_ignored_during_execution": {
                                    "node_selector_terms": [
                                        {
                                            "match_expressions": [
                                                {
                                                    "key": eks.POOL_LABEL,
                                                    "operator": "In",
                                                    "values": sorted(self._args.pools),
                                                }
                                            ]
                                        }
                                    ]
                                }
                            }
                        },
                        # A machine that is marked as broken most of all.
                        "tolerations": [
                            {"operator": "Exists", "effect": effect} for effect in ("NoSchedule", "NoExecute")
                        ],
                        "containers": [
                            {
                                "name": sagemaker.AGENT,
                                "image": sagemaker.agent_image(self.scope.region),
                                "image_pull_policy": "IfNotPresent",
                                "resources": {
                                    "requests": {"cpu": "500m", "memory": "512Mi"},
                                    "limits": {"cpu": "500m", "memory": "512Mi"},
                                },
                                "security_context": {"run_as_user": 1000, "run_as_group": 2000},
                                "env": [
                                    {"name": name, "value_from": {"field_ref": {"field_path": path}}}
                                    for name, path in (("NODE_NAME", "spec.nodeName"), ("NODE_IP", "status.hostIP"))
                                ],
                                "volume_mounts": [
                                    {"name": name, "mount_path": path.rstrip("/"), "read_only": name != "log"}
                                    for name, path in paths.items()
                                ],
                            }
                        ],
                        "volumes": [{"name": name, "host_path": {"path": path}} for name, path in paths.items()],
                    },
                },
            },
            opts=opts,
        )


_SEE = (
    "ec2:DescribeDhcpOptions", "ec2:DescribeInstances", "ec2:DescribeInstanceTypes", "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeTags", "ec2:DescribeVpcs",
)  # fmt: skip
_INTERFACES = (
    "ec2:AssignPrivateIpAddresses", "ec2:AttachNetworkInterface", "ec2:CreateNetworkInterface",
    "ec2:CreateNetworkInterfacePermission", "ec2:DeleteNetworkInterface", "ec2:DeleteNetworkInterfacePermission",
    "ec2:DetachNetworkInterface", "ec2:ModifyNetworkInterfaceAttribute", "ec2:UnassignPrivateIpAddresses",
)  # fmt: skip
_TOUCHED = ("instance", "network-interface", "security-group", "subnet")


def _script_name() -> str:
    return f"on_create-{hashlib.sha256(sagemaker.ON_CREATE.encode()).hexdigest()[:8]}.sh"
