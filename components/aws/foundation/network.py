"""A private network: a VPC with one subnet of each kind a zone."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any, Literal

import pulumi
import pulumi_aws as aws

from components import contracts
from components.aws.blocks.workload import Workload, WorkloadArgs
from components.core import eks, iam
from components.core.addresses import AwsPlan, aws_plan
from components.scope import Component, Scope, after

ANYWHERE = "0.0.0.0/0"

# Services that are reached through an endpoint of the network's own where the description names none. Where workloads have
# no other way out, all that this platform's workloads call; else only what should never leave the network.
_ALWAYS = ("secretsmanager",)
_CLOSED = ("kms", "logs", "monitoring", "sns", "sqs", "sts", "xray")
Feature = Literal["cluster", "doors", "batch", "notebooks", "serving", "retrieval", "database"]
_FEATURES: Mapping[Feature, tuple[str, ...]] = {
    # Machines, their images, Pod Identity, Karpenter (isolatedVPC: its images by ssm), the drivers of disks, the agent of
    # CloudWatch ("Private cluster requirements"). Nothing in the cluster calls autoscaling, elasticloadbalancing or fsx.
    "cluster": ("ec2", "ecr.api", "ecr.dkr", "eks", "eks-auth", "ssm"),
    # What registers pods of the cluster with the load balancer.
    "doors": ("ec2", "elasticloadbalancing"),
    # The agent of machines that Batch starts ("Considerations for AWS Batch", interface endpoints).
    "batch": ("ec2", "ecr.api", "ecr.dkr", "ecs", "ecs-agent", "ecs-telemetry"),
    # "Connect Studio in a VPC to external resources".
    "notebooks": ("sagemaker.api", "sagemaker.runtime"),
    # Tasks of Fargate pull their images from the network ("Amazon ECS interface VPC endpoints"), and functions call endpoints.
    "serving": ("ecr.api", "ecr.dkr", "sagemaker.runtime"),
    # S3 Vectors is called by Bedrock alone.
    "retrieval": ("bedrock-agent", "bedrock-agent-runtime", "bedrock-runtime"),
    # The Data API, by which the tables of corpora are made ("Creating an Amazon VPC endpoint for Amazon RDS Data API").
    "database": ("rds-data",),
}


@dataclass(frozen=True, kw_only=True)
class NetworkArgs:
    """What the network is like."""

    cidr: IPv4Network
    zones: Sequence[str]
    """Zone ids (`usw2-az1`): unlike the letters they mean the same place in every account."""
    nat: Literal["none", "single", "per_zone"]
    egress: Literal["open", "deny"]
    allow: Sequence[IPv4Network] = ()
    """With `egress="deny"`: ranges that workloads may reach all the same, on port 443."""
    public: bool = False
    """Whether something stands towards the internet: then public subnets are there without NAT as well."""
    features: Collection[Feature] = ("cluster", "batch", "notebooks")
    """What is in the network: for it the default list has what it calls. An endpoint costs, a missing one stops machines."""
    private: Collection[str] = ()
    """Services that get an interface endpoint by default whatever other way there is."""
    endpoints: Sequence[str] | None = None
    """Services with an interface endpoint, in place of the default list."""
    flow_logs: bool = True
    logs_key: contracts.Key
    boundary: contracts.Boundary
    organization: str | None = None


class Network(Component):
    """A VPC in which nothing has a public address but its NAT gateways.

    Each zone has a private subnet for workloads and one for data stores and, where there is NAT or it is `public`, one for NAT
    gateways and load balancers. Data stores reach the network itself and nothing else. Workloads go out through NAT; with
    `egress="deny"` only to the ranges in `allow`, and only those have a route: no security group can undo that. S3 and DynamoDB
    are reached by gateway endpoints, other services of AWS by the interface endpoints in `endpoints`, and both let nobody
    through but the account's (the organization's) own principals.

    Owns the VPC, subnets, routes, gateways, endpoints, network ACLs and the flow logs with their role. Never owns the
    security group of a workload; each workload brings its own.

    Costs a month (us-east-1, 2026-09): a NAT gateway 32.85 USD and 0.045 a GB, its address 3.65 (2024-07); an interface
    endpoint 7.30 in each zone; flow logs 0.50 a GB. With a NAT gateway a zone and `egress="deny"` the gateways stand ready
    with fixed addresses, which a partner can allow beforehand; `nat: none` saves them. A destroy leaves nothing: the log
    group is its own, and the role cannot make it again behind our back.

    >>> args = NetworkArgs(
    ...     cidr=IPv4Network("10.16.0.0/16"), zones=["usw2-az1", "usw2-az2"], nat="per_zone", egress="deny",
    ...     allow=[IPv4Network("203.0.113.0/24")], logs_key=key, boundary=boundary,
    ... )
    >>> network = Network("network", args, scope=scope, parent=parent)
    >>> len(network.outputs.workload_subnets), network.endpoints[:3]
    (2, ('secretsmanager', 'kms', 'logs'))
    """

    outputs: contracts.Network

    def __init__(self, name: str, args: NetworkArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Build the network."""
        super().__init__(name, scope, parent)
        self._args = args
        self._plan: AwsPlan = aws_plan(args.cidr, len(args.zones))
        self.endpoints = services(
            nat=args.nat, egress=args.egress, features=args.features, private=args.private, wanted=args.endpoints
        )
        self._vpc = aws.ec2.Vpc(
            f"{name}-vpc",
            cidr_block=str(args.cidr),
            enable_dns_support=True,
            # The private names of interface endpoints need it.
            enable_dns_hostnames=True,
            tags=self._tags("network"),
            opts=self.options(),
        )
        self._lock_defaults()
        public = self._public_subnets()
        nats = self._nat_gateways(public)
        private, private_tables = self._workload_subnets(nats)
        data, data_table = self._data_subnets()
        gateways = self._gateway_endpoints([*private_tables, data_table])
        ways = [*gateways.values(), *self._interface_endpoints(private)]
        recorded = self._flow_logs() if args.flow_logs else []
        # A subnet is handed on once there is a way from it to what workloads call, and every flow in it is recorded.
        self.outputs = contracts.Network(
            id=after(self._vpc.id, *recorded),
            workload_subnets=[after(subnet.id, *rest, *ways, *recorded) for subnet, *rest in private],
            data_subnets=[after(subnet.id, *rest, *recorded) for subnet, *rest in data],
            cidr=str(args.cidr),
            reach=[ANYWHERE] if args.egress == "open" else [str(args.cidr), *map(str, args.allow)],
            prefix_lists={service: endpoint.prefix_list_id for service, endpoint in gateways.items()}
            if args.egress == "deny"
            else {},
            public_subnets=[after(subnet.id, *rest, *recorded) for subnet, *rest in public] if args.public else [],
            public_ranges=[str(cidr) for cidr in self._plan.public] if args.public else [],
            data_ranges=[str(cidr) for cidr in self._plan.data],
        )
        self.finish(self.outputs)

    def _tags(self, what: str, **more: str) -> dict[str, str]:
        return {"Name": self.scope.names.of(what), **more}

    def _lock_defaults(self) -> None:
        """What AWS makes with every VPC is emptied, so that nothing works by accident."""
        aws.ec2.DefaultSecurityGroup(
            f"{self.name}-default-security-group",
            vpc_id=self._vpc.id,
            ingress=[],
            egress=[],
            tags=self._tags("default-unused"),
            opts=self.options(),
        )
        aws.ec2.DefaultRouteTable(
            f"{self.name}-default-routes",
            default_route_table_id=self._vpc.main_route_table_id,
            routes=[],
            tags=self._tags("default-unused"),
            opts=self.options(),
        )

    def _public_subnets(self) -> list[list[Any]]:
        """For each zone its public subnet and whatever makes it one; none where nothing has a public address.

        They keep the VPC's own network ACL: NAT answers come back to any high port, and nothing listens there but a load
        balancer.
        """
        args, name = self._args, self.name
        if args.nat == "none" and not args.public:
            return []
        gateway = aws.ec2.InternetGateway(
            f"{name}-internet-gateway", vpc_id=self._vpc.id, tags=self._tags("internet"), opts=self.options()
        )
        table = aws.ec2.RouteTable(
            f"{name}-public-routes", vpc_id=self._vpc.id, tags=self._tags("public"), opts=self.options()
        )
        out = aws.ec2.Route(
            f"{name}-public-default",
            route_table_id=table.id,
            destination_cidr_block=ANYWHERE,
            gateway_id=gateway.id,
            opts=self.options(),
        )
        found: list[list[Any]] = []
        for zone, cidr in zip(args.zones, self._plan.public, strict=True):
            subnet = self._subnet("public", zone, cidr, {"kubernetes.io/role/elb": "1"})
            found.append([subnet, out, self._associate("public", zone, subnet, table), gateway])
        return found

    def _nat_gateways(self, public: Sequence[Sequence[Any]]) -> list[aws.ec2.NatGateway]:
        """The NAT gateways in order of the zones; none where there is no NAT."""
        args, name = self._args, self.name
        wanted = {"none": 0, "single": 1, "per_zone": len(public)}[args.nat]
        nats: list[aws.ec2.NatGateway] = []
        for zone, (subnet, out, routed, gateway) in list(zip(args.zones, public, strict=bool(public)))[:wanted]:
            address = aws.ec2.Eip(
                f"{name}-nat-address-{zone}",
                domain="vpc",
                tags=self._tags(f"nat-{zone}"),
                opts=self.options(depends_on=[gateway]),
            )
            nats.append(
                aws.ec2.NatGateway(
                    f"{name}-nat-{zone}",
                    allocation_id=address.allocation_id,
                    subnet_id=subnet.id,
                    tags=self._tags(f"nat-{zone}"),
                    # A NAT gateway fails for good if its subnet has no way out while it is made.
                    opts=self.options(depends_on=[out, routed]),
                )
            )
        return nats

    def _workload_subnets(self, nats: Sequence[aws.ec2.NatGateway]) -> tuple[list[list[Any]], list[aws.ec2.RouteTable]]:
        """For each zone its subnet and whatever has to be there before it is of use; and the route tables."""
        args, name = self._args, self.name
        ranges = [ANYWHERE] if args.egress == "open" else [str(cidr) for cidr in args.allow]
        found: list[list[Any]] = []
        tables: list[aws.ec2.RouteTable] = []
        for i, (zone, cidr) in enumerate(zip(args.zones, self._plan.private, strict=True)):
            subnet = self._subnet(
                "private",
                zone,
                cidr,
                # Where Kubernetes puts internal load balancers and Karpenter its nodes.
                {"kubernetes.io/role/internal-elb": "1", eks.DISCOVERY: self.scope.names.of("cluster", "cluster")},
            )
            table = aws.ec2.RouteTable(
                f"{name}-private-routes-{zone}",
                vpc_id=self._vpc.id,
                tags=self._tags(f"private-{zone}"),
                opts=self.options(),
            )
            routes = [
                aws.ec2.Route(
                    f"{name}-private-{zone}-to-{destination.replace('/', '-')}",
                    route_table_id=table.id,
                    destination_cidr_block=destination,
                    nat_gateway_id=nats[i if args.nat == "per_zone" else 0].id,
                    opts=self.options(),
                )
                for destination in (ranges if nats else [])
            ]
            found.append([subnet, self._associate("private", zone, subnet, table), *routes])
            tables.append(table)
        if args.egress == "deny":
            self._acl("private", [subnet for subnet, *_ in found], _closed(args.cidr))
        return found, tables

    def _data_subnets(self) -> tuple[list[list[Any]], aws.ec2.RouteTable]:
        """Subnets of data stores: no route but to the network itself, and nobody else's packet comes in."""
        table = aws.ec2.RouteTable(
            f"{self.name}-data-routes", vpc_id=self._vpc.id, tags=self._tags("data"), opts=self.options()
        )
        found: list[list[Any]] = []
        for zone, cidr in zip(self._args.zones, self._plan.data, strict=True):
            subnet = self._subnet("data", zone, cidr, {})
            found.append([subnet, self._associate("data", zone, subnet, table)])
        acl = self._acl("data", [subnet for subnet, *_ in found], [_rule(100, "-1", 0, 0, str(self._args.cidr))] * 2)
        return [[*parts, acl] for parts in found], table

    def _subnet(self, kind: str, zone: str, cidr: IPv4Network, tags: dict[str, str]) -> aws.ec2.Subnet:
        return aws.ec2.Subnet(
            f"{self.name}-{kind}-{zone}",
            vpc_id=self._vpc.id,
            availability_zone_id=zone,
            cidr_block=str(cidr),
            # Not even in a public subnet: what needs an address there asks for one.
            map_public_ip_on_launch=False,
            tags=self._tags(f"{kind}-{zone}", **tags),
            opts=self.options(),
        )

    def _associate(
        self, kind: str, zone: str, subnet: aws.ec2.Subnet, table: aws.ec2.RouteTable
    ) -> aws.ec2.RouteTableAssociation:
        return aws.ec2.RouteTableAssociation(
            f"{self.name}-{kind}-{zone}-routes", subnet_id=subnet.id, route_table_id=table.id, opts=self.options()
        )

    def _acl(self, kind: str, subnets: Sequence[aws.ec2.Subnet], rules: Sequence[Any]) -> aws.ec2.NetworkAcl:
        """A network ACL of these rules: half of them for what comes in, then as many for what goes out."""
        half = len(rules) // 2
        return aws.ec2.NetworkAcl(
            f"{self.name}-{kind}-acl",
            vpc_id=self._vpc.id,
            subnet_ids=[subnet.id for subnet in subnets],
            ingress=list(rules[:half]),
            egress=list(rules[half:]),
            tags=self._tags(kind),
            opts=self.options(),
        )

    def _gateway_endpoints(self, tables: Sequence[aws.ec2.RouteTable]) -> dict[str, aws.ec2.VpcEndpoint]:
        scope = self.scope
        # Nobody takes data out to a bucket or a table of somebody else through them, not even with credentials brought along.
        ours = iam.allow(["*"], ["*"], principals="*", when=iam.insiders(scope.account, self._args.organization))
        # Layers of images lie in a bucket of ECR's own, whose address ECR signs itself ("Amazon ECR interface VPC endpoints",
        # minimum S3 bucket permissions). Not the repositories of Amazon Linux: images of machines have all they need.
        layers = iam.allow(
            ["s3:GetObject"],
            [f"arn:aws:s3:::prod-{scope.region}-starport-layer-bucket/*"],
            sid="Layers",
            principals="*",
        )
        return {
            service: aws.ec2.VpcEndpoint(
                f"{self.name}-endpoint-{service}",
                vpc_id=self._vpc.id,
                service_name=f"com.amazonaws.{scope.region}.{service}",
                vpc_endpoint_type="Gateway",
                route_table_ids=[table.id for table in tables],
                policy=pulumi.Output.json_dumps(iam.document(ours, *([layers] if service == "s3" else []))),
                tags=self._tags(service),
                opts=self.options(),
            )
            for service in ("s3", "dynamodb")
        }

    def _interface_endpoints(self, private: Sequence[Sequence[Any]]) -> list[pulumi.CustomResource]:
        args, scope = self._args, self.scope
        if not self.endpoints:
            return []
        group = aws.ec2.SecurityGroup(
            f"{self.name}-endpoints",
            name=scope.names.of("endpoints"),
            description="Interface endpoints: HTTPS from the network, nothing out",
            vpc_id=self._vpc.id,
            # No rule for what goes out: the provider takes away the one that AWS gives every new group.
            tags=self._tags("endpoints"),
            opts=self.options(),
        )
        rule = aws.vpc.SecurityGroupIngressRule(
            f"{self.name}-endpoints-https",
            security_group_id=group.id,
            description="HTTPS from the network",
            cidr_ipv4=str(args.cidr),
            ip_protocol="tcp",
            from_port=443,
            to_port=443,
            opts=self.options(),
        )
        key, value = ("OrgID", args.organization) if args.organization else ("Account", scope.account)
        policy = iam.document(
            # By principal alone: some services answer for resources of AWS itself.
            iam.allow(["*"], ["*"], principals="*", when={"StringEquals": {f"aws:Principal{key}": value}})
        )
        return [
            rule,
            *(
                aws.ec2.VpcEndpoint(
                    f"{self.name}-endpoint-{service}",
                    vpc_id=self._vpc.id,
                    service_name=f"com.amazonaws.{scope.region}.{service}",
                    vpc_endpoint_type="Interface",
                    subnet_ids=[subnet.id for subnet, *_ in private],
                    security_group_ids=[group.id],
                    private_dns_enabled=True,
                    policy=pulumi.Output.json_dumps(policy),
                    tags=self._tags(service),
                    opts=self.options(),
                )
                for service in self.endpoints
            ),
        ]

    def _flow_logs(self) -> list[pulumi.CustomResource]:
        args, scope = self._args, self.scope
        name = f"/{scope.names.of('flows')}"
        arn = f"arn:aws:logs:{scope.region}:{scope.account}:log-group:{name}"
        group = aws.cloudwatch.LogGroup(
            f"{self.name}-flows",
            name=name,
            retention_in_days=scope.log_days,
            kms_key_id=args.logs_key.id,
            opts=self.options(holds_data=True),
        )
        writer = Workload(
            f"{self.name}-flows-writer",
            WorkloadArgs(
                description="Writes the flow logs of the network.",
                service="vpc-flow-logs.amazonaws.com",
                source=f"arn:aws:ec2:{scope.region}:{scope.account}:vpc-flow-log/*",
                statements=[
                    # Not logs:CreateLogGroup, which AWS's example has: flows that arrive after a destroy would make the
                    # group again, unencrypted and for good.
                    iam.allow(
                        ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"], [arn, f"{arn}:*"]
                    ),
                    iam.allow(["logs:DescribeLogGroups"], [f"arn:aws:logs:{scope.region}:{scope.account}:log-group:*"]),
                ],
                boundary=args.boundary,
            ),
            scope=scope,
            parent=self,
        )
        log = aws.ec2.FlowLog(
            f"{self.name}-flow-log",
            vpc_id=self._vpc.id,
            traffic_type="ALL",
            max_aggregation_interval=60,
            log_destination_type="cloud-watch-logs",
            log_destination=group.arn,
            iam_role_arn=writer.outputs.id,
            tags=self._tags("flows"),
            opts=self.options(),
        )
        return [log]


def services(
    *,
    nat: str,
    egress: str,
    features: Collection[Feature],
    private: Collection[str] = (),
    wanted: Sequence[str] | None,
) -> tuple[str, ...]:
    """The services that get an interface endpoint: those `wanted`, else a list by whether workloads have another way out.

    >>> services(nat="none", egress="open", features=[], wanted=["sts"])
    ('sts',)
    >>> services(nat="none", egress="open", features=["notebooks"], wanted=None)[-2:]
    ('sagemaker.api', 'sagemaker.runtime')
    """
    if wanted is not None:
        return tuple(dict.fromkeys(wanted))
    if nat != "none" and egress == "open":
        return tuple(dict.fromkeys((*_ALWAYS, *private)))
    called = (service for feature, known in _FEATURES.items() if feature in features for service in known)
    return tuple(dict.fromkeys((*_ALWAYS, *_CLOSED, *called, *private)))


def _rule(number: int, protocol: str, low: int, high: int, cidr: str) -> dict[str, Any]:
    return {
        "rule_no": number,
        "protocol": protocol,
        "from_port": low,
        "to_port": high,
        "cidr_block": cidr,
        "action": "allow",
    }


def _closed(cidr: IPv4Network) -> list[dict[str, Any]]:
    """Rules of workloads that may not go out: the network itself, and HTTPS; where to, the routes say.

    The ranges cannot stand here, for S3 and DynamoDB have public addresses also behind a gateway endpoint. A network ACL
    keeps no state: what comes back comes to an ephemeral port (1024-65535 of a function or behind NAT, VPC User Guide).
    """
    inside = _rule(100, "-1", 0, 0, str(cidr))
    return [inside, _rule(110, "tcp", 1024, 65535, ANYWHERE), inside, _rule(110, "tcp", 443, 443, ANYWHERE)]
