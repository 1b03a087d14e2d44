"""The Kubernetes cluster: EKS, with the machines of its own services."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Any, Literal

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes

from components import contracts
from components.aws.blocks.workload import Workload, WorkloadArgs
from components.contracts import Text
from components.core import cloudwatch, eks, iam
from components.core.accelerators import Machine, image
from components.scope import Component, Scope, after

_LOGS = ("api", "audit", "authenticator", "controllerManager", "scheduler")
_INSIGHTS = ("application", "dataplane", "host", "performance", "prometheus")
"""Log groups of Container Insights, below the cluster's name; measurements arrive in the last one."""
_DISK_GIB = 50

# What EKS lets a persona see and do in the cluster ("Review access policy permissions"). Everybody is in a group of the
# persona's name besides, to which roles in the cluster can be bound: the policies know nothing of custom resources.
_TEAMS = ("team-*",)
_ACCESS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "platform-admin": ("AmazonEKSClusterAdminPolicy", ()),
    "auditor": ("AmazonEKSViewPolicy", ()),
    "ml-engineer": ("AmazonEKSViewPolicy", _TEAMS),
    "data-scientist": ("AmazonEKSViewPolicy", _TEAMS),
}
"""Persona to policy and namespaces; none for the whole cluster."""

_ON_SYSTEM: Mapping[str, Any] = {
    "nodeSelector": {eks.POOL_LABEL: eks.SYSTEM_POOL},
    "tolerations": [{"key": eks.SYSTEM_TAINT, "operator": "Exists"}],
}
_EVERYWHERE = [{"operator": "Exists"}]


@dataclass(frozen=True)
class _AddOn:
    """Software that EKS installs and keeps running."""

    name: eks.AddOn
    values: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Of its chart, as far as its configuration schema takes them."""
    account: tuple[str, str] | None = None
    """Namespace and service account of the pods that have a role."""


@dataclass(frozen=True, kw_only=True)
class ClusterArgs:
    """What the cluster is like."""

    version: str
    """Kubernetes version."""
    allow: Sequence[IPv4Network] = ()
    """Ranges outside the network that reach the control plane; none: it has no public endpoint."""
    upgrades: Literal["standard", "extended"] = "standard"
    machine: Machine
    """What the cluster's own services run on."""
    min: int
    max: int
    """Machines of that kind."""
    network: contracts.Network
    zones: Sequence[str]
    """Zone ids of the network's subnets, in their order."""
    keys: contracts.Keys
    boundary: contracts.Boundary
    role: str | None = None
    """ARN of the role that deploys, where it is assumed."""
    deployers: Mapping[str, Text] = field(default_factory=dict[str, Text])
    """ARNs of other roles that deploy, by what they are called. Where nobody is named, whoever makes the cluster may."""
    personas: Mapping[str, Text] = field(default_factory=dict[str, Text])
    """Role ARNs by persona."""
    lustre: bool = False
    """Whether file systems of FSx for Lustre are mounted."""


class Cluster(Component):
    """A control plane with a private endpoint, its add-ons, and the machines that its own services run on, and no others.

    The public endpoint is there only for the ranges in `allow`. Who may do what in the cluster, access entries say: no config
    map, and no administrator that nobody named. Secrets are encrypted with the key of that domain, disks with that of compute.
    All five logs of the control plane and those of Container Insights go to groups that are made here, with a retention and a
    key. Pods get rights by Pod Identity alone: the metadata of a machine is out of their reach.

    Owns the control plane, its log groups, roles and access entries, the security group that it shares with all machines, the
    add-ons with their roles, the group of system machines (tainted, so that no workload lands there), the default class of
    volumes, and the provider that speaks to the API server.
    Never owns the machines of workloads, or anything that runs on them.

    Container Insights brings the one exporter of GPU metrics (DCGM); `eks-node-monitoring-agent` tells which machines EKS has
    to repair. EKS knows no maintenance window: the version, the add-ons and the images change with a deployment, and only then.

    Costs a month (us-east-1, 2026-09): 73 USD for the control plane, 438 in extended support; two m7i.xlarge 294; logs 0.50 USD
    a GB; Container Insights by what it observes. A destroy takes machines first, then add-ons, then the control plane, whose
    log group waits for its last words. In a tier that protects data EKS itself refuses to delete the cluster.

    >>> from components.core.accelerators import machine
    >>> args = ClusterArgs(
    ...     version="1.35", machine=machine("aws", "m7i.xlarge"), min=2, max=4, network=network, zones=["usw2-az1"],
    ...     keys=contracts.Keys(domains=dict.fromkeys(("compute", "logs", "secrets"), key)),
    ...     boundary=boundary,
    ... )
    >>> Cluster("cluster", args, scope=scope, parent=parent).outputs.physical_name
    'acme-ai-dev-cluster'
    """

    outputs: contracts.Cluster

    def __init__(self, name: str, args: ClusterArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the cluster and its system machines."""
        super().__init__(name, scope, parent)
        self._args = args
        self._physical = scope.names.of(name, "cluster")
        self._arn = f"arn:aws:eks:{scope.region}:{scope.account}:cluster/{self._physical}"
        self._shared, rules = self._security_group()
        self._cluster = self._control_plane(rules)
        entries = self._access()
        # Machines without a network never become ready, and those without the agent have pods without rights (field notes:
        # both before the first machine).
        agent = self._add_on(_AddOn("eks-pod-identity-agent"), [])
        first = [
            agent,
            self._add_on(_AddOn("kube-proxy"), []),
            self._add_on(
                _AddOn("vpc-cni", {"enableNetworkPolicy": "true"}, ("kube-system", "aws-node")),
                [agent],
                ["AmazonEKS_CNI_Policy"],
            ),
        ]
        nodes = self._nodes()
        group = self._group(nodes, first)
        rest = self._services(group)
        provider = self._kubernetes(entries)
        self._volumes(provider, rest)
        self.outputs = contracts.Cluster(
            name=after(self._cluster.name, group, *rest, *entries),
            physical_name=self._physical,
            endpoint=self._cluster.endpoint,
            location=scope.region,
            provider=provider,
            resource=self._cluster,
            node_identity=nodes.outputs.id,
            security_group=after(self._shared.id, *rules),
        )
        self.finish(self.outputs)

    def _log_group(self, label: str, path: str, *, evidence: bool = False) -> aws.cloudwatch.LogGroup:
        """A log group made before whoever writes to it, who would else make it without a key and for ever."""
        return aws.cloudwatch.LogGroup(
            f"{self.name}-{label}-log",
            name=path,
            retention_in_days=self.scope.log_days,
            kms_key_id=self._args.keys.domains["logs"].id,
            opts=self.options(holds_data=evidence),
        )

    def _security_group(self) -> tuple[aws.ec2.SecurityGroup, list[pulumi.Resource]]:
        """The group of the machines and of the control plane's interfaces among them, and its rules.

        In place of the one that EKS makes, which may go anywhere. It carries the cluster's tag, and machines have no other
        group that does: the load balancer controller fails on a second one. A fabric wants rules to and from the group itself,
        for ranges do not count (EC2 User Guide, "Elastic Fabric Adapter").
        """
        scope, network, label = self.scope, self._args.network, f"{self.name}-machines"
        physical = scope.names.of(label)
        group = aws.ec2.SecurityGroup(
            label,
            name=physical,
            description="Machines and control plane: each other, the network, HTTPS out",
            vpc_id=network.id,
            tags={"Name": physical, f"kubernetes.io/cluster/{self._physical}": "owned", eks.DISCOVERY: self._physical},
            opts=self.options(),
        )
        everything: Mapping[str, Any] = {"security_group_id": group.id, "ip_protocol": "-1"}
        https: Mapping[str, Any] = {
            "security_group_id": group.id, "ip_protocol": "tcp", "from_port": 443, "to_port": 443
        }  # fmt: skip
        out: dict[str, Mapping[str, Any]] = {
            "out": {**everything, "referenced_security_group_id": group.id, "description": "Each other"},
            "network": {**everything, "cidr_ipv4": network.cidr, "description": "Endpoints and stores of the network"},
        }
        for service, prefixes in network.prefix_lists.items():
            out[service] = {**https, "prefix_list_id": prefixes, "description": f"{service}, by its endpoint"}
        for cidr in sorted({*network.reach} - {network.cidr}):
            out[f"to-{cidr.replace('/', '-')}"] = {**https, "cidr_ipv4": cidr, "description": "HTTPS"}
        return group, [
            aws.vpc.SecurityGroupIngressRule(
                f"{label}-in",
                description="Each other",
                referenced_security_group_id=group.id,
                opts=self.options(),
                **everything,
            ),
            *(
                aws.vpc.SecurityGroupEgressRule(f"{label}-{rule}", opts=self.options(), **given)
                for rule, given in out.items()
            ),
        ]

    def _control_plane(self, rules: Sequence[pulumi.Resource]) -> aws.eks.Cluster:
        args, scope, secrets = self._args, self.scope, self._args.keys.domains["secrets"].id
        log = self._log_group("control-plane", f"/aws/eks/{self._physical}/cluster", evidence=True)
        role = Workload(
            f"{self.name}-control-plane",
            WorkloadArgs(
                description="The control plane of the cluster.",
                service="eks.amazonaws.com",
                policies=["AmazonEKSClusterPolicy"],
                # Envelope encryption of secrets.
                statements=[iam.allow(["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:ListGrants"], [secrets])],
                boundary=args.boundary,
            ),
            scope=scope,
            parent=self,
        ).outputs
        network: aws.eks.ClusterVpcConfigArgsDict = {
            "subnet_ids": [
                subnet
                for zone, subnet in zip(args.zones, args.network.workload_subnets, strict=True)
                if zone not in eks.WITHOUT_CONTROL_PLANE
            ],
            "security_group_ids": [after(self._shared.id, *rules)],
            "endpoint_private_access": True,
            "endpoint_public_access": bool(args.allow),
        }
        if args.allow:  # EKS refuses the ranges of an endpoint that is not there
            network["public_access_cidrs"] = [str(cidr) for cidr in args.allow]
        return aws.eks.Cluster(
            f"{self.name}-cluster",
            name=self._physical,
            version=args.version,
            role_arn=role.id,
            vpc_config=network,
            access_config={
                "authentication_mode": "API",
                # Never beside entries of ours: EKS would have made one for its creator, and refuse a second.
                "bootstrap_cluster_creator_admin_permissions": not args.role and not args.deployers,
            },
            # Those that it would install are declared below, with versions.
            bootstrap_self_managed_addons=False,
            encryption_config={"provider": {"key_arn": secrets}, "resources": ["secrets"]},
            enabled_cluster_log_types=list(_LOGS),
            upgrade_policy={"support_type": args.upgrades.upper()},
            deletion_protection=not scope.deletable,
            opts=self.options(
                holds_data=True,
                depends_on=[log],
                # Both are read when a cluster is made and never again; a difference would replace it.
                ignore_changes=["accessConfig.bootstrapClusterCreatorAdminPermissions", "bootstrapSelfManagedAddons"],
            ),
        )

    def _access(self) -> list[pulumi.Resource]:
        """Who may come in; returned is what the provider has to wait for."""
        args = self._args
        deployers: dict[str, pulumi.Input[str]] = {**({"deployer": args.role} if args.role else {}), **args.deployers}
        entries = [self._entry(who, arn, "AmazonEKSClusterAdminPolicy", ()) for who, arn in deployers.items()]
        for persona, arn in args.personas.items():
            policy, namespaces = _ACCESS[persona]
            self._entry(persona, arn, policy, namespaces)
        return entries

    def _entry(self, who: str, arn: pulumi.Input[str], policy: str, namespaces: Sequence[str]) -> pulumi.Resource:
        label = f"{self.name}-access-{who}"
        entry = aws.eks.AccessEntry(
            label,
            cluster_name=self._cluster.name,
            principal_arn=arn,
            kubernetes_groups=[f"ai-platform:{who}"],
            type="STANDARD",
            opts=self.options(),
        )
        return aws.eks.AccessPolicyAssociation(
            label,
            cluster_name=self._cluster.name,
            principal_arn=entry.principal_arn,
            policy_arn=f"arn:aws:eks::aws:cluster-access-policy/{policy}",
            access_scope={"type": "namespace", "namespaces": list(namespaces)} if namespaces else {"type": "cluster"},
            opts=self.options(),
        )

    def _nodes(self) -> Workload:
        """The role of every machine.

        EKS makes its access entry (EC2_LINUX) with the first managed group, and refuses a second one for the same role.
        """
        return Workload(
            f"{self.name}-nodes",
            WorkloadArgs(
                description="Machines of the cluster: they join it, pull images, and fetch the rights of their pods.",
                service="ec2.amazonaws.com",
                policies=["AmazonEKSWorkerNodeMinimalPolicy", "AmazonEC2ContainerRegistryPullOnly"],
                # How nodeadm learns the name and the size of its machine (awslabs/amazon-eks-ami: nodeadm/internal).
                statements=[iam.allow(["ec2:DescribeInstances", "ec2:DescribeInstanceTypes"], ["*"])],
                boundary=self._args.boundary,
            ),
            scope=self.scope,
            parent=self,
        )

    def _group(self, nodes: Workload, first: Sequence[pulumi.Resource]) -> aws.eks.NodeGroup:
        args, scope, label = self._args, self.scope, f"{self.name}-system"
        physical = scope.names.of(f"{self.name}-system", "node_group")
        found = image("eks", args.machine)
        template = aws.ec2.LaunchTemplate(
            label,
            name=physical,
            description="Machines of the cluster's own services.",
            # Here and not in the group: another type is then rolled out, where the group would be replaced.
            instance_type=args.machine.type,
            vpc_security_group_ids=[self._shared.id],
            **eks.template(
                disk_gib=_DISK_GIB, key=args.keys.domains["compute"].id, tags={**scope.tags, "Name": physical}
            ),
            opts=self.options(),
        )
        return aws.eks.NodeGroup(
            label,
            cluster_name=self._cluster.name,
            node_group_name=physical,
            node_role_arn=nodes.outputs.id,
            subnet_ids=list(args.network.workload_subnets),
            ami_type=found.type if found else None,
            release_version=eks.RELEASES[args.version],
            version=args.version,
            launch_template={"id": template.id, "version": template.latest_version.apply(str)},
            # Nothing but this number scales it: Karpenter leaves these machines alone, since it runs on them.
            scaling_config={"min_size": args.min, "max_size": args.max, "desired_size": args.min},
            update_config={"max_unavailable": 1},
            node_repair_config={"enabled": True},
            labels={eks.POOL_LABEL: eks.SYSTEM_POOL},
            taints=[{"key": eks.SYSTEM_TAINT, "value": "true", "effect": "NO_SCHEDULE"}],
            # There are no two groups of one name; work goes on while the controllers are away.
            opts=self.options(depends_on=first, delete_before_replace=True),
        )

    def _services(self, group: aws.eks.NodeGroup) -> Sequence[pulumi.Resource]:
        """The add-ons that need machines to run on."""
        args, scope = self._args, self.scope
        root = f"/aws/containerinsights/{self._physical}"
        groups = [self._log_group(f"insights-{part}", f"{root}/{part}") for part in _INSIGHTS]
        arn = f"arn:aws:logs:{scope.region}:{scope.account}:log-group:{root}/*"
        found = [
            self._add_on(
                _AddOn("coredns", {"autoScaling": {"enabled": True, "minReplicas": 2, "maxReplicas": 10}}), [group]
            ),
            self._add_on(
                _AddOn(
                    "aws-ebs-csi-driver",
                    # The region, since the metadata that it would ask are out of its reach.
                    {"controller": {"region": scope.region, "extraVolumeTags": dict(scope.tags)}},
                    ("kube-system", "ebs-csi-controller-sa"),
                ),
                [group],
                ["service-role/AmazonEBSCSIDriverPolicy"],
                eks.disks(args.keys.domains["compute"].id, scope.region),
            ),
            self._add_on(_AddOn("metrics-server", _ON_SYSTEM), [group]),
            # Its host engine for GPUs tolerates nothing of itself (charts/eks-node-monitoring-agent/values.yaml).
            self._add_on(_AddOn("eks-node-monitoring-agent", {"dcgmAgent": {"tolerations": _EVERYWHERE}}), [group]),
            self._add_on(
                _AddOn(
                    "amazon-cloudwatch-observability",
                    {
                        # In place of the chart's own second agent, which tolerates every taint, and would keep an
                        # accelerator's machine from ever being empty.
                        "agents": [{"name": "cloudwatch-agent"}, cloudwatch.agent(self._physical)],
                        "containerInsights": {"enabled": True},
                        "applicationSignals": {"enabled": False},
                        "containerLogs": {"enabled": True},
                        "manager": dict(_ON_SYSTEM),
                    },
                    ("amazon-cloudwatch", "cloudwatch-agent"),
                ),
                [group, *groups],
                statements=[
                    # Not logs:CreateLogGroup: what comes after a destroy would make the groups again, and for good.
                    iam.allow(
                        ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"], [arn, f"{arn}:*"]
                    ),
                    iam.allow(["logs:DescribeLogGroups", "ec2:DescribeTags", "ec2:DescribeVolumes"], ["*"]),
                    iam.allow(
                        ["cloudwatch:PutMetricData"],
                        ["*"],
                        when={"StringEquals": {"cloudwatch:namespace": ["ContainerInsights", "CWAgent"]}},
                    ),
                ],
            ),
        ]
        if args.lustre:
            # Without a role: the file systems are made by this program, and a machine mounts them without asking anybody.
            found.append(self._add_on(_AddOn("aws-fsx-csi-driver"), [group]))
        return found

    def _add_on(
        self,
        spec: _AddOn,
        after_: Sequence[pulumi.Resource],
        policies: Sequence[str] = (),
        statements: Sequence[iam.Statement] = (),
    ) -> aws.eks.Addon:
        args, label = self._args, f"{self.name}-{spec.name}"
        associations: list[aws.eks.AddonPodIdentityAssociationArgsDict] = []
        if spec.account:
            role = Workload(
                label,
                WorkloadArgs(
                    description=f"The add-on {spec.name}.",
                    service=None,
                    pod=spec.account,
                    policies=policies,
                    statements=statements,
                    boundary=args.boundary,
                ),
                scope=self.scope,
                parent=self,
            ).outputs
            associations = [{"role_arn": role.id, "service_account": spec.account[1]}]
        return aws.eks.Addon(
            label,
            cluster_name=self._cluster.name,
            addon_name=spec.name,
            addon_version=eks.ADD_ONS[spec.name][args.version],
            configuration_values=json.dumps(spec.values, sort_keys=True) if spec.values else None,
            pod_identity_associations=associations,
            # What stands here holds, also against what somebody edited in the cluster.
            resolve_conflicts_on_create="OVERWRITE",
            resolve_conflicts_on_update="OVERWRITE",
            opts=self.options(depends_on=after_),
        )

    def _kubernetes(self, entries: Sequence[pulumi.Resource]) -> kubernetes.Provider:
        args, scope, cluster = self._args, self.scope, self._cluster
        command = ["eks", "get-token", "--cluster-name", self._physical, "--region", scope.region, "--output", "json"]
        here = "cluster"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": here,
                    "cluster": {
                        "server": cluster.endpoint,
                        "certificate-authority-data": cluster.certificate_authority.data,
                    },
                }
            ],
            "users": [
                {
                    "name": here,
                    "user": {
                        # A token for a quarter of an hour, of whoever deploys: nothing that lasts is in the state.
                        "exec": {
                            "apiVersion": "client.authentication.k8s.io/v1beta1",
                            "command": "aws",
                            "args": [*command, *(["--role-arn", args.role] if args.role else [])],
                            "interactiveMode": "Never",
                        }
                    },
                }
            ],
            "contexts": [{"name": here, "context": {"cluster": here, "user": here}}],
            "current-context": here,
        }
        return kubernetes.Provider(
            f"{self.name}-kubernetes",
            kubeconfig=pulumi.Output.json_dumps(config),
            # Else the provider compares kubeconfigs to see whether the cluster is another one, and a change of this file
            # could replace it with all that it holds.
            cluster_identifier=self._arn,
            enable_server_side_apply=True,
            # Else what a ConfigMap holds would be gone for a moment with each change of it.
            enable_config_map_mutable=True,
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(entries)),
        )

    def _volumes(self, provider: kubernetes.Provider, rest: Sequence[pulumi.Resource]) -> None:
        """The class of volumes that a claim gets without asking; EKS has none since 1.30."""
        kubernetes.storage.v1.StorageClass(
            f"{self.name}-gp3",
            metadata={"name": "gp3", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
            provisioner="ebs.csi.aws.com",
            parameters={"type": "gp3", "encrypted": "true", "kmsKeyId": self._args.keys.domains["compute"].id},
            reclaim_policy="Delete",
            allow_volume_expansion=True,
            # A volume lies in one zone: that of the machine that wants it.
            volume_binding_mode="WaitForFirstConsumer",
            opts=self.options(cluster=provider, depends_on=rest, deleted_with=self._cluster),
        )
