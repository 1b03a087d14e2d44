"""Services of containers behind TLS."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_aws as aws

from components import contracts
from components.aws.blocks.alarms import Alarms, AlarmsArgs
from components.aws.blocks.hosting import Served
from components.aws.blocks.route import Route, RouteArgs
from components.aws.blocks.security_group import SecurityGroup, SecurityGroupArgs
from components.aws.blocks.way import way
from components.aws.blocks.workload import Workload, WorkloadArgs, connect
from components.contracts import Text
from components.core import cloudwatch, containers, hosting, iam, promises
from components.core.cloudwatch_rows import row
from components.core.containers import NEW, OLD
from components.core.fronts import Front
from components.scope import Component, Scope, after
from components.spec import serving
from components.spec.endpoints import Alarm, requests_per_second
from components.spec.releases import AllAtOnce, Shadow

_PULL = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
# The user of the image of runtime/serving; a number, so that it is none without rights under another name.
_USER = "10001:10001"
_SCRATCH = "scratch"
# What a task has without paying for it, and the least that can be asked for beyond it ("Fargate task ephemeral storage").
_FREE_GIB, _LEAST_GIB, _MOST_GIB = 20, 21, 200
_STOP_SECONDS, _DRAIN_SECONDS = 30, 20
_START_SECONDS = 300
_OUT_SECONDS, _IN_SECONDS = 60, 300
_TOLD = 5


@dataclass(frozen=True, kw_only=True)
class ContainerArgs:
    """What one endpoint is."""

    spec: serving.Container
    model: Served
    """Image and artifact; the artifact has a digest, for nothing else is loaded."""
    alarms: Mapping[str, Alarm]
    """By sign, `components.spec.endpoints.alarms`."""
    cache: contracts.Entry | None = None
    """Of its answers, where it may use one."""
    gateway: contracts.Gateway
    front: Front
    tokens: serving.Tokens
    network: contracts.Network
    compute_key: contracts.Key
    logs_key: contracts.Key
    boundary: contracts.Boundary
    critical: Sequence[Text] = ()
    warning: Sequence[Text] = ()
    team: Sequence[Text] = ()
    """Topics of the team that owns it."""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class Container(Component):
    """A container on Fargate, as many tasks as requests need and never more than its maximum, behind the gateway alone.

    A change of image, model or size is a new revision: ECS starts as many tasks of it as there are, brings them a part of the
    requests, then all, and the old tasks go once the new ones were watched for as long as the description says. The alarm
    stands before; when it goes off, or tasks do not start, all requests go back, and nobody has to be awake. The provider does
    not wait for it, and a release that was taken back is tried again by the next update.

    The container runs as a user without rights, on a file system that it cannot write to but for /tmp, nobody can sign in to it,
    and no secret is in its environment. It sends and gets through a security group that knows the gateway alone.

    Owns the service in a cluster of its own, which costs nothing, its tasks' identity, log and security group, its target
    groups, route, alarms and scaling. Never owns the gateway, the image or the artifact. Costs 0.04048 USD an hour for each
    vCPU and 0.004445 for each GB (us-east-1, 2026-09), twice that while a release is watched. A destroy ends scaling, then
    the service, then what it stands on.

    >>> from components.aws.blocks.hosting import Served
    >>> from components.spec.endpoints import alarms
    >>> from components.spec.serving import Tokens
    >>> spec = serving.Container.model_validate({
    ...     "kind": "container", "team": "risk", "model": {"image": "serving:1.0"}, "scale": {"max": 10},
    ...     "objective": {"p95_ms": 200, "requests_per_month": 1_000_000}, "api": {"throttle_rps": 50},
    ... })
    >>> model = Served(
    ...     content={"image": "serving:1.0"}, version="serving:1.0",
    ...     image="111111111111.dkr.ecr.us-west-2.amazonaws.com/acme-ai-dev-serving:1.0"
    ... )
    >>> gateway = contracts.Gateway(addresses={"fraud": topic}, listener=topic, balancer=topic, security_group=topic)
    >>> args = ContainerArgs(
    ...     spec=spec, model=model, alarms=alarms(spec), gateway=gateway,
    ...     front=Front(host="fraud.ml.example.com", throttle_rps=50, scope="fraud"),
    ...     tokens=Tokens(issuer="https://id.example.com", keys="https://id.example.com/keys", audience="ml"),
    ...     network=network, compute_key=key, logs_key=key, boundary=boundary,
    ... )
    >>> address = Container("fraud", args, scope=scope, parent=parent).outputs.address
    """

    outputs: contracts.Endpoint

    def __init__(self, name: str, args: ContainerArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the tasks' surroundings, the way to them, what they are judged by, and the service."""
        super().__init__(name, scope, parent)
        self._args = args
        release = args.spec.release
        self._release = AllAtOnce(strategy="all_at_once") if isinstance(release, Shadow) else release
        self._physical = scope.names.of(name, "cluster")
        self._log = aws.cloudwatch.LogGroup(
            f"{name}-log",
            name=f"/ecs/{self._physical}",
            retention_in_days=scope.log_days,
            kms_key_id=args.logs_key.id,
            tags=dict(args.tags),
            opts=self.options(),
        )
        security, ways = self._security()
        groups = {part: self._group(part) for part in (OLD, NEW)}
        route = self._route(groups)
        watched, alarms = self._alarms(groups)
        service = self._service(security, groups, route, [alarms, *ways])
        scaled = self._scale(service, groups)
        self.outputs = contracts.Endpoint(
            id=after(service.arn, *scaled),
            address=after(args.gateway.addresses[name], service, route, *scaled),
            version=pulumi.Output.from_input(args.model.version),
            row=row(
                name,
                args.spec.kind,
                args.spec.team,
                watched,
                arns=list(alarms.outputs.names.values()),
                region=scope.region,
                log=f"/ecs/{self._physical}",
            ),
        )
        self.finish(self.outputs)

    # -- where it is

    def _security(self) -> tuple[Text, list[pulumi.Resource]]:
        """Its group, which the gateway may call and nobody else; and the ways there."""
        args, name, port = self._args, self.name, self._args.spec.port
        if args.gateway.security_group is None:
            raise ValueError(f"{name}: a container is behind a gateway")
        group = SecurityGroup(
            f"{name}-network",
            SecurityGroupArgs(
                label=name,
                description="Tasks: the gateway in, HTTPS out",
                network=args.network,
                to=way(args.cache),
            ),
            scope=self.scope,
            parent=self,
        ).outputs.id
        inward = aws.vpc.SecurityGroupIngressRule(
            f"{name}-from-gateway",
            security_group_id=group,
            description="The gateway",
            referenced_security_group_id=args.gateway.security_group,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            opts=self.options(),
        )
        outward = aws.vpc.SecurityGroupEgressRule(
            f"{name}-gateway-out",
            security_group_id=args.gateway.security_group,
            description=f"Endpoint {name}",
            referenced_security_group_id=group,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            opts=self.options(),
        )
        return group, [inward, outward]

    def _group(self, part: str) -> aws.lb.TargetGroup:
        args = self._args
        return aws.lb.TargetGroup(
            f"{self.name}-target-{part}",
            name=self.scope.names.of(f"{self.name}-{part}", "balancer"),
            target_type="ip",
            vpc_id=args.network.id,
            protocol="HTTP",
            # ECS registers each task with its own port; were it said here, another port would make another group.
            port=80,
            deregistration_delay=_DRAIN_SECONDS,
            load_balancing_algorithm_type="least_outstanding_requests",
            health_check={
                "enabled": True,
                "path": args.spec.health,
                "protocol": "HTTP",
                "port": "traffic-port",
                "matcher": "200",
                "interval": 10,
                "timeout": 5,
                "healthy_threshold": 2,
                "unhealthy_threshold": 3,
            },
            tags=dict(args.tags),
            opts=self.options(),
        )

    def _route(self, groups: Mapping[str, aws.lb.TargetGroup]) -> Route:
        args = self._args
        if args.front.scope is None:
            raise ValueError(f"{self.name}: behind a load balancer tokens are checked, not identities of AWS")
        return Route(
            f"{self.name}-route",
            RouteArgs(
                gateway=args.gateway,
                host=args.front.host,
                tokens=args.tokens,
                scope=args.front.scope,
                targets=[group.arn for group in groups.values()],
                tags=args.tags,
            ),
            scope=self.scope,
            parent=self,
        )

    # -- what it is judged by

    def _alarms(self, groups: Mapping[str, aws.lb.TargetGroup]) -> tuple[list[cloudwatch.Alarm], Alarms]:
        args, scale = self._args, self._args.spec.scale
        watched = containers.Watched(
            name=self.name,
            physical=self._physical,
            balancer=args.gateway.balancer,
            groups={part: group.arn_suffix.apply(str) for part, group in groups.items()},
            bounds=args.alarms,
            fixed=scale.min == scale.max,
            signs=self._release.rollback_on,
        )
        found = list(containers.alarms(watched))
        return found, Alarms(
            f"{self.name}-alarm",
            AlarmsArgs(
                alarms=found,
                critical=[*args.critical, *args.team][:_TOLD],
                warning=[*(args.team or args.warning)],
            ),
            scope=self.scope,
            parent=self,
        )

    # -- what runs

    def _task(self) -> aws.ecs.TaskDefinition:
        args, scope, name, spec = self._args, self.scope, self.name, self._args.spec
        size = containers.fargate(spec.compute.cpu, spec.compute.memory_gib)
        if size is None:
            raise ValueError(f"{name}: a task of Fargate has {containers.LARGEST} at most")
        cpu, memory = size
        identities = {
            "tasks": ("Answers for one endpoint: loads its model.", self._may()),
            "start": ("Starts the tasks of one endpoint: pulls its image, opens its log.", self._starts()),
        }
        roles = {
            part: Workload(
                f"{name}-{part}",
                WorkloadArgs(
                    description=description,
                    service="ecs-tasks.amazonaws.com",
                    statements=statements,
                    boundary=args.boundary,
                ),
                scope=scope,
                parent=self,
            ).outputs.id
            for part, (description, statements) in identities.items()
        }
        # A model lies there packed and unpacked, and each fits into the memory.
        room = 2 * memory // 1024
        return aws.ecs.TaskDefinition(
            f"{name}-task",
            family=self._physical,
            requires_compatibilities=["FARGATE"],
            network_mode="awsvpc",
            cpu=str(cpu),
            memory=str(memory),
            runtime_platform={"operating_system_family": "LINUX", "cpu_architecture": "X86_64"},
            ephemeral_storage={"size_in_gib": min(max(room, _LEAST_GIB), _MOST_GIB)} if room > _FREE_GIB else None,
            task_role_arn=roles["tasks"],
            execution_role_arn=roles["start"],
            container_definitions=pulumi.Output.json_dumps([self._container()], sort_keys=True),
            volumes=[{"name": _SCRATCH}],
            # What was there before is what a release goes back to.
            skip_destroy=not scope.deletable,
            tags=dict(args.tags),
            opts=self.options(),
        )

    def _container(self) -> dict[str, Any]:
        args, scope, spec = self._args, self.scope, self._args.spec
        artifact = args.model.artifact
        variables: dict[str, Any] = {
            "PORT": str(spec.port),
            # Above what one task is given, so that another one starts before it refuses anybody.
            "MAX_REQUESTS": str(max(64, 2 * (spec.scale.target.concurrency or 0))),
            "DRAIN_SECONDS": "10",
        }
        if artifact is not None:
            if args.model.sha256 is None:
                raise ValueError(f"{self.name}: a task loads only what has the digest that it is told")
            variables |= {"MODEL_URI": artifact.uri, "MODEL_DIGEST": args.model.sha256}
        if args.cache is not None:
            variables |= args.cache.variables
        return {
            "name": self.name,
            "image": args.model.image,
            "essential": True,
            "user": _USER,
            "readonlyRootFilesystem": True,
            "privileged": False,
            "linuxParameters": {"initProcessEnabled": True, "capabilities": {"drop": ["ALL"]}},
            "portMappings": [{"containerPort": spec.port, "hostPort": spec.port, "protocol": "tcp"}],
            "mountPoints": [{"sourceVolume": _SCRATCH, "containerPath": "/tmp", "readOnly": False}],  # noqa: S108
            "volumesFrom": [],
            "systemControls": [],
            "environment": [{"name": key, "value": value} for key, value in sorted(variables.items())],
            "stopTimeout": _STOP_SECONDS,
            "logConfiguration": {
                "logDriver": "awslogs",
                "options": {
                    "awslogs-group": self._log.name,
                    "awslogs-region": scope.region,
                    "awslogs-stream-prefix": "task",
                    # A line that cannot be sent holds up nobody's answer.
                    "mode": "non-blocking",
                    "max-buffer-size": "4m",
                },
            },
        }

    def _may(self) -> list[iam.Statement]:
        artifact, cache = self._args.model.artifact, self._args.cache
        reads = artifact.around().statements(self.scope.region) if artifact else []
        if cache is not None:
            reads.append(connect(cache))
        return [*reads, iam.allow(["xray:PutTelemetryRecords", "xray:PutTraceSegments"], ["*"])]

    def _starts(self) -> list[iam.Statement]:
        scope = self.scope
        ours = scope.names.full("").rstrip("-")
        image = hosting.repository(self._args.model.content["image"], f"{scope.region}:{scope.account}", ours)
        return [
            iam.allow(["ecr:GetAuthorizationToken"], ["*"]),
            iam.allow(_PULL, [image]),
            iam.allow(["logs:CreateLogStream", "logs:PutLogEvents"], [pulumi.Output.concat(self._log.arn, ":*")]),
        ]

    def _service(
        self,
        security: Text,
        groups: Mapping[str, aws.lb.TargetGroup],
        route: Route,
        before: Sequence[pulumi.Resource],
    ) -> aws.ecs.Service:
        args, scope, name, spec = self._args, self.scope, self.name, self._args.spec
        cluster = aws.ecs.Cluster(
            f"{name}-cluster",
            name=self._physical,
            configuration={
                "managed_storage_configuration": {"fargate_ephemeral_storage_kms_key_id": args.compute_key.id}
            },
            # Its figures cost by the series; what is watched comes from the load balancer and the service.
            settings=[{"name": "containerInsights", "value": "disabled"}],
            tags=dict(args.tags),
            opts=self.options(),
        )
        plan: Any = containers.deployment(self._release)
        mover = Workload(
            f"{name}-releaser",
            WorkloadArgs(
                description=f"ECS: moves the requests of {name} between its target groups.",
                service="ecs.amazonaws.com",
                statements=[
                    # What AmazonECSInfrastructureRolePolicyForLoadBalancers allows, of these groups and this rule.
                    iam.allow(
                        [
                            "elasticloadbalancing:DescribeListeners",
                            "elasticloadbalancing:DescribeRules",
                            "elasticloadbalancing:DescribeTargetGroups",
                            "elasticloadbalancing:DescribeTargetHealth",
                        ],
                        ["*"],
                    ),
                    iam.allow(
                        ["elasticloadbalancing:DeregisterTargets", "elasticloadbalancing:RegisterTargets"],
                        [group.arn for group in groups.values()],
                    ),
                    iam.allow(["elasticloadbalancing:ModifyRule"], [route.outputs.id]),
                ],
                boundary=args.boundary,
            ),
            scope=scope,
            parent=self,
        ).outputs.id
        first = _first(spec)
        return aws.ecs.Service(
            f"{name}-service",
            name=self._physical,
            cluster=cluster.arn,
            task_definition=self._task().arn,
            launch_type="FARGATE",
            platform_version="LATEST",
            desired_count=first,
            availability_zone_rebalancing="ENABLED",
            enable_execute_command=False,
            enable_ecs_managed_tags=True,
            propagate_tags="SERVICE",
            health_check_grace_period_seconds=_START_SECONDS,
            network_configuration={
                "subnets": list(args.network.workload_subnets),
                "security_groups": [security],
                "assign_public_ip": False,
            },
            deployment_controller={"type": "ECS"},
            deployment_configuration=plan,
            deployment_minimum_healthy_percent=100,
            deployment_maximum_percent=200,
            alarms={
                "enable": True,
                "rollback": True,
                # By its name as text: it is made before the service, and never after.
                "alarm_names": [scope.names.of(promises.rollback_alarm(name))],
            },
            load_balancers=[
                {
                    "container_name": name,
                    "container_port": spec.port,
                    "target_group_arn": groups[OLD].arn,
                    "advanced_configuration": {
                        "alternate_target_group_arn": groups[NEW].arn,
                        "production_listener_rule": route.outputs.id,
                        "role_arn": mover,
                    },
                }
            ],
            tags=dict(args.tags),
            # How many there are is for autoscaling to say.
            opts=self.options(ignore_changes=["desiredCount"], depends_on=before),
        )

    # -- how it grows

    def _scale(self, service: aws.ecs.Service, groups: Mapping[str, aws.lb.TargetGroup]) -> list[pulumi.Resource]:
        """Its scaling. It refers to the service, and so ends before it."""
        scale = self._args.spec.scale
        target = aws.appautoscaling.Target(
            f"{self.name}-scale",
            service_namespace="ecs",
            scalable_dimension="ecs:service:DesiredCount",
            resource_id=pulumi.Output.concat(f"service/{self._physical}/", service.name),
            min_capacity=scale.min,
            max_capacity=scale.max,
            opts=self.options(),
        )
        suffixes = {part: group.arn_suffix.apply(str) for part, group in groups.items()}
        series, value = containers.scaling(scale.target, self._args.gateway.balancer, suffixes)
        metrics: Any = series
        policy = aws.appautoscaling.Policy(
            f"{self.name}-load",
            name=self.scope.names.of(f"{self.name}-load"),
            policy_type="TargetTrackingScaling",
            service_namespace=target.service_namespace,
            scalable_dimension=target.scalable_dimension,
            resource_id=target.resource_id,
            target_tracking_scaling_policy_configuration={
                "target_value": value,
                "scale_out_cooldown": _OUT_SECONDS,
                "scale_in_cooldown": _IN_SECONDS,
                "customized_metric_specification": {"metrics": metrics},
            },
            opts=self.options(),
        )
        return [target, policy]


def _first(spec: serving.Container) -> int:
    """Tasks of the first release: what the expected requests need, within its bounds.

    >>> _first(serving.Container.model_validate({
    ...     "kind": "container", "team": "risk", "model": {"image": "serving:1.0"},
    ...     "scale": {"min": 2, "max": 10, "target": {"requests_per_second": 50}},
    ...     "objective": {"p95_ms": 200, "requests_per_month": 500_000_000}, "api": {"throttle_rps": 50},
    ... }))
    4
    """
    rate, target = requests_per_second(spec), spec.scale.target
    if target.requests_per_second is not None:
        expected = rate / target.requests_per_second
    else:
        expected = rate * spec.objective.p95_ms / 1000 / (target.concurrency or 1)
    return hosting.first_count(spec.scale.min, spec.scale.max, expected, "all_at_once")
