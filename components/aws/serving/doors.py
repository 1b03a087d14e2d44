"""What stands in front of endpoints in the cluster: the same gateway as in front of all others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws

from components import contracts
from components.aws.blocks.alarms import Alarms, AlarmsArgs
from components.aws.blocks.route import Route, RouteArgs
from components.aws.blocks.workload import Workload, WorkloadArgs
from components.contracts import Text
from components.core import doors, iam
from components.core.cloudwatch_rows import row
from components.core.fronts import Front
from components.core.rows import Row
from components.scope import Component, Scope, after
from components.spec.endpoints import Alarm
from components.spec.serving import Tokens

_POD = ("aws-load-balancer-controller", "aws-load-balancer-controller")
"""Namespace and service account of what registers pods; components/kubernetes/foundation/charts.py."""
_DRAIN_SECONDS = 20
"""Less than a pod waits before it ends; components/kubernetes/pods.py."""
_TOLD = 5


@dataclass(frozen=True, kw_only=True)
class Way:
    """Where one endpoint answers, and what it promises."""

    front: Front
    port: int
    health: str
    space: str
    """Namespace of its pods."""
    workload: str
    """What its pods belong to."""
    kind: str
    alarms: Mapping[str, Alarm]
    """By sign, `components.spec.endpoints.alarms`."""
    fixed: bool = False
    """Whether there are always as many pods as there may be."""
    owner: str | None = None
    """The team that owns it."""
    team: Sequence[Text] = ()
    """Its topics."""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, kw_only=True)
class DoorsArgs:
    """To whose pods, and through what."""

    ways: Mapping[str, Way]
    """By endpoint."""
    gateway: contracts.Gateway
    tokens: Tokens
    cluster: contracts.Cluster
    network: contracts.Network
    boundary: contracts.Boundary
    critical: Sequence[Text] = ()
    warning: Sequence[Text] = ()


class Doors(Component):
    """The ways from the gateway to pods of the cluster.

    Requests come through the one load balancer with its certificate, firewall, throttles and logs, and a rule of its listener
    checks the token (`Route`). Pods are registered in a target group by the AWS Load Balancer Controller in the cluster, which
    is told the group (`TargetGroupBinding`) and makes no load balancer: its role registers and takes back in these groups and
    reads, and that is all. A Gateway of the cluster's own would be a second load balancer with a second firewall, which a
    controller makes with far more rights, and whose address nobody knows beforehand.

    Owns a target group, a rule and the alarms of each endpoint, one opening between the load balancer and the machines for each
    port, and the controller's role with its association. Never owns the gateway, the controller or a pod. Costs nothing beside
    the alarms. A destroy takes it after the pods.

    >>> from components.spec.endpoints import Alarm
    >>> cluster = contracts.Cluster(
    ...     name=boundary.id, physical_name="acme-ai-dev-cluster", endpoint=boundary.id, location="us-west-2",
    ...     provider=scope.provider, resource=parent, node_identity=boundary.id, security_group=boundary.id,
    ... )
    >>> gateway = contracts.Gateway(addresses={"fraud": topic}, listener=topic, balancer=topic, security_group=topic)
    >>> way = Way(
    ...     front=Front(host="fraud.ml.example.com", throttle_rps=50, scope="fraud"), port=8080, health="/ping",
    ...     space="serving-risk", workload="fraud", kind="realtime", alarms={},
    ... )
    >>> args = DoorsArgs(
    ...     ways={"fraud": way}, gateway=gateway, cluster=cluster, network=network, boundary=boundary,
    ...     tokens=Tokens(issuer="https://id.example.com", keys="https://id.example.com/keys", audience="ml"),
    ... )
    >>> Doors("doors", args, scope=scope, parent=parent).outputs.doors["fraud"].host
    'fraud.ml.example.com'
    """

    outputs: contracts.Doors

    def __init__(self, name: str, args: DoorsArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Open the ports once, make each way, then let the controller register there."""
        super().__init__(name, scope, parent)
        self._args = args
        open_ = {port: self._opened(port) for port in sorted({way.port for way in args.ways.values()})}
        found: dict[str, contracts.Door] = {}
        groups: list[Text] = []
        for endpoint, way in sorted(args.ways.items()):
            group = self._group(endpoint, way)
            groups.append(group.arn)
            route = self._route(endpoint, way, group)
            row = self._alarms(endpoint, way, group)
            found[endpoint] = contracts.Door(
                address=args.gateway.addresses[endpoint],
                host=way.front.host,
                scope=str(way.front.scope),
                # A group that no rule leads to has no health, and its pods would never be ready.
                target=after(group.arn, route, *open_[way.port]),
                row=row,
            )
        self.outputs = contracts.Doors(
            doors=found,
            sources=args.network.public_ranges,
            registrar=self._registrar(groups),
            network=args.network.id,
        )
        self.finish(self.outputs)

    def _opened(self, port: int) -> list[pulumi.Resource]:
        """Between the load balancer and the machines, whose group pods have; who of the pods is reached, their policies say."""
        args, name = self._args, self.name
        if args.gateway.security_group is None or args.cluster.security_group is None:
            raise ValueError(f"{name}: a gateway and machines have groups")
        inward = aws.vpc.SecurityGroupIngressRule(
            f"{name}-{port}-in",
            security_group_id=args.cluster.security_group,
            description=f"The gateway, to endpoints on {port}",
            referenced_security_group_id=args.gateway.security_group,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            opts=self.options(),
        )
        outward = aws.vpc.SecurityGroupEgressRule(
            f"{name}-{port}-out",
            security_group_id=args.gateway.security_group,
            description=f"Endpoints of the cluster on {port}",
            referenced_security_group_id=args.cluster.security_group,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            opts=self.options(),
        )
        return [inward, outward]

    def _group(self, endpoint: str, way: Way) -> aws.lb.TargetGroup:
        return aws.lb.TargetGroup(
            f"{self.name}-{endpoint}",
            name=self.scope.names.of(f"{endpoint}-pods", "balancer"),
            target_type="ip",
            ip_address_type="ipv4",
            vpc_id=self._args.network.id,
            protocol="HTTP",
            # Each pod is registered with its own port; were it said here, another port would make another group.
            port=80,
            deregistration_delay=_DRAIN_SECONDS,
            load_balancing_algorithm_type="least_outstanding_requests",
            health_check={
                "enabled": True,
                "path": way.health,
                "protocol": "HTTP",
                "port": "traffic-port",
                "matcher": "200",
                "interval": 10,
                "timeout": 5,
                "healthy_threshold": 2,
                "unhealthy_threshold": 3,
            },
            tags=dict(way.tags),
            opts=self.options(),
        )

    def _route(self, endpoint: str, way: Way, group: aws.lb.TargetGroup) -> Route:
        if way.front.scope is None:
            raise ValueError(f"{endpoint}: behind a load balancer tokens are checked, not identities of AWS")
        return Route(
            f"{endpoint}-route",
            RouteArgs(
                gateway=self._args.gateway,
                host=way.front.host,
                tokens=self._args.tokens,
                scope=way.front.scope,
                targets=[group.arn],
                tags=way.tags,
            ),
            scope=self.scope,
            parent=self,
        )

    def _alarms(self, endpoint: str, way: Way, group: aws.lb.TargetGroup) -> Row:
        args = self._args
        watched = doors.Watched(
            name=endpoint,
            space=way.space,
            workload=way.workload,
            cluster=args.cluster.physical_name,
            balancer=args.gateway.balancer,
            group=group.arn_suffix.apply(str),
            bounds=way.alarms,
            fixed=way.fixed,
        )
        made = list(doors.alarms(watched))
        alarms = Alarms(
            f"{endpoint}-alarm",
            AlarmsArgs(
                alarms=made,
                critical=[*args.critical, *way.team][:_TOLD],
                warning=[*(way.team or args.warning)],
            ),
            scope=self.scope,
            parent=self,
        ).outputs
        arns = list(alarms.names.values())
        return row(endpoint, way.kind, way.owner, made, arns=arns, region=self.scope.region)

    def _registrar(self, groups: Sequence[Text]) -> Text:
        namespace, account = _POD
        role = Workload(
            f"{self.name}-registrar",
            WorkloadArgs(
                description="Registers pods of the cluster with the gateway.",
                service=None,
                pod=_POD,
                statements=statements(groups),
                boundary=self._args.boundary,
            ),
            scope=self.scope,
            parent=self,
        ).outputs.id
        association = aws.eks.PodIdentityAssociation(
            f"{self.name}-registrar-pods",
            cluster_name=self._args.cluster.name,
            namespace=namespace,
            service_account=account,
            role_arn=role,
            opts=self.options(),
        )
        return after(role, association)


def statements(groups: Sequence[Text]) -> list[iam.Statement]:
    """What it may do: register in these groups, and look.

    Source: what the controller calls for a binding without `networking` (v3.5.0: webhooks/elbv2, pkg/targetgroupbinding, and
    pkg/networking/networking_manager.go, which looks for openings that it made before).
    """
    return [
        iam.allow(["elasticloadbalancing:DeregisterTargets", "elasticloadbalancing:RegisterTargets"], list(groups)),
        iam.allow(
            [
                "ec2:DescribeSecurityGroups",
                "ec2:DescribeVpcs",
                "elasticloadbalancing:DescribeTargetGroups",
                "elasticloadbalancing:DescribeTargetHealth",
            ],
            ["*"],
        ),
    ]
