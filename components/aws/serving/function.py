"""Functions behind an API."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws

from components import contracts
from components.aws.blocks.alarms import Alarms, AlarmsArgs
from components.aws.blocks.hosting import Served
from components.aws.blocks.lambda_function import LambdaFunction, LambdaFunctionArgs
from components.aws.blocks.route import Route, RouteArgs
from components.aws.blocks.way import way
from components.aws.blocks.workload import Workload, WorkloadArgs, connect
from components.contracts import Text
from components.core import cloudwatch, functions, iam, promises
from components.core.cloudwatch_rows import row
from components.core.fronts import Front
from components.core.functions import ALIAS
from components.scope import Component, Scope, after
from components.spec import serving
from components.spec.endpoints import Alarm
from components.spec.releases import AllAtOnce, Shadow

# One alarm tells five at most ("PutMetricAlarm", AlarmActions).
_TOLD = 5


@dataclass(frozen=True, kw_only=True)
class FunctionArgs:
    """What one endpoint is."""

    spec: serving.Function
    model: Served
    """Image and artifact; the artifact has a digest, for nothing else is loaded."""
    alarms: Mapping[str, Alarm]
    """By sign, `components.spec.endpoints.alarms`."""
    cache: contracts.Entry | None = None
    """Of its answers, where it may use one."""
    gateway: contracts.Gateway | None = None
    """None where only identities of AWS call it."""
    front: Front | None = None
    tokens: serving.Tokens | None = None
    network: contracts.Network
    compute_key: contracts.Key
    logs_key: contracts.Key
    boundary: contracts.Boundary
    critical: Sequence[Text] = ()
    warning: Sequence[Text] = ()
    team: Sequence[Text] = ()
    """Topics of the team that owns it."""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class Function(Component):
    """A model in a function of Lambda, from an image, behind the gateway or for identities of AWS alone.

    Callers call the alias `live`. Every change of image, model or size publishes a version, and CodeDeploy brings it to them:
    a part of the requests first, the rest after the time that it is watched, all back by itself when the alarm goes off. The
    alarm stands before, and tells the newest version from the others. A deployment is no resource, so a small function starts
    it within the program's run, after everything that it depends on; what CodeDeploy does then needs nobody. While a release is
    on its way another one is refused. One that was taken back is not tried again until something changes.

    The model is loaded while an instance starts. Requests and answers have 1 MB at most, as a load balancer's with functions.

    Owns the function, its alias, its alarms, what releases it, its route and its target group. Never owns the gateway, the
    image or the artifact. Costs 0.20 USD a million requests and 0.0000167 a GB-second, warm instances 0.0000042 a GB-second
    besides (us-east-1, 2026-09). A destroy takes it, its route first.

    >>> from components.aws.blocks.hosting import Served
    >>> from components.spec.endpoints import alarms
    >>> spec = serving.Function.model_validate({
    ...     "kind": "function", "team": "risk", "model": {"image": "serving:1.0"}, "concurrency": {"max": 10},
    ...     "objective": {"p95_ms": 2000, "requests_per_month": 1_000_000}, "api": {"throttle_rps": 50, "auth": "iam"},
    ... })
    >>> model = Served(
    ...     content={}, version="serving:1.0", image="111111111111.dkr.ecr.us-west-2.amazonaws.com/acme-ai-dev-serving:1.0"
    ... )
    >>> args = FunctionArgs(
    ...     spec=spec, model=model, alarms=alarms(spec), network=network, compute_key=key, logs_key=key, boundary=boundary
    ... )
    >>> address = Function("fraud", args, scope=scope, parent=parent).outputs.address
    """

    outputs: contracts.Endpoint

    def __init__(self, name: str, args: FunctionArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the function, what it is judged by, what releases it, and the way to it."""
        super().__init__(name, scope, parent)
        self._args = args
        self._made = self._function()
        # A shadow is refused by the checks; whatever comes here is watched.
        release = args.spec.release
        self._release = AllAtOnce(strategy="all_at_once") if isinstance(release, Shadow) else release
        watched, alarms = self._alarms()
        alias = aws.lambda_.Alias(
            f"{name}-alias",
            name=ALIAS,
            description="What callers call; releases move it.",
            function_name=self._made.name,
            function_version=self._made.version,
            # The first version; CodeDeploy moves it from then on.
            opts=self.options(ignore_changes=["functionVersion", "routingConfig"]),
        )
        ready: list[pulumi.Resource] = []
        if args.spec.concurrency.warm:
            ready.append(
                aws.lambda_.ProvisionedConcurrencyConfig(
                    f"{name}-warm",
                    function_name=self._made.name,
                    qualifier=alias.name,
                    provisioned_concurrent_executions=args.spec.concurrency.warm,
                    opts=self.options(),
                )
            )
        ready += self._releases(alias, [alarms, *ready])
        ready += self._grants(alias)
        address = self._made.name.apply(lambda called: f"{called}:{ALIAS}")
        if args.gateway is not None:
            route, answers = self._route(args.gateway, alias)
            ready += answers
            address = pulumi.Output.all(args.gateway.addresses[name], route).apply(lambda known: str(known[0]))
        self.outputs = contracts.Endpoint(
            id=after(alias.arn, *ready),
            address=after(address, *ready),
            version=pulumi.Output.from_input(args.model.version),
            row=row(
                name,
                args.spec.kind,
                args.spec.team,
                watched,
                arns=list(alarms.outputs.names.values()),
                region=scope.region,
                log=f"/aws/lambda/{scope.names.of(name, 'function')}",
            ),
        )
        self.finish(self.outputs)

    def _function(self) -> contracts.LambdaFunction:
        args, spec, region = self._args, self._args.spec, self.scope.region
        artifact = args.model.artifact
        variables: dict[str, pulumi.Input[str]] = {"REQUEST_SECONDS": str(spec.timeout_seconds)}
        statements: list[iam.Statement] = []
        if artifact is not None:
            if args.model.sha256 is None:
                raise ValueError(f"{self.name}: a function loads only what has the digest that it is told")
            variables |= {"MODEL_URI": artifact.uri, "MODEL_DIGEST": args.model.sha256}
            # A version that was published before goes on reading its model.
            statements = artifact.around().statements(region)
        if args.cache is not None:
            variables |= args.cache.variables
            statements = [*statements, connect(args.cache)]
        made = LambdaFunction(
            self.name,
            LambdaFunctionArgs(
                description=f"Endpoint {self.name}.",
                image=args.model.image,
                memory_mib=spec.memory_gib * 1024,
                ephemeral_mib=functions.ephemeral_mib(spec.memory_gib),
                seconds=spec.timeout_seconds,
                most=spec.concurrency.max,
                published=True,
                environment=variables,
                statements=statements,
                network=args.network,
                to=way(args.cache),
                key=args.compute_key,
                logs_key=args.logs_key,
                boundary=args.boundary,
                tags=args.tags,
            ),
            scope=self.scope,
            parent=self,
        )
        self._log_group = made.log_group
        return made.outputs

    # -- what it is judged by

    def _alarms(self) -> tuple[list[cloudwatch.Alarm], Alarms]:
        args, scope = self._args, self.scope
        namespace = scope.names.of("serving")
        aws.cloudwatch.LogMetricFilter(
            f"{self.name}-failed",
            name=scope.names.of(f"{self.name}-failed"),
            log_group_name=self._log_group,
            pattern=functions.PATTERN,
            metric_transformation={
                "name": f"{self.name}-{functions.FAILED}",
                "namespace": namespace,
                "value": "1",
                "unit": "Count",
            },
            opts=self.options(),
        )
        watched = functions.Watched(
            name=self.name,
            physical=scope.names.of(self.name, "function"),
            bounds=args.alarms,
            most=args.spec.concurrency.max,
            namespace=namespace,
            signs=self._release.rollback_on,
            version=self._made.version,
        )
        found = list(functions.alarms(watched))
        return found, Alarms(
            f"{self.name}-alarm",
            AlarmsArgs(
                alarms=found,
                critical=[*args.critical, *args.team][:_TOLD],
                warning=[*(args.team or args.warning)],
            ),
            scope=scope,
            parent=self,
        )

    # -- how it changes

    def _releases(self, alias: aws.lambda_.Alias, before: Sequence[pulumi.Resource]) -> list[pulumi.Resource]:
        args, scope, name = self._args, self.scope, self.name
        percent, minutes = functions.step(self._release)
        physical = scope.names.of(name, "deployment")
        application = aws.codedeploy.Application(
            f"{name}-releases",
            name=physical,
            compute_platform="Lambda",
            tags=dict(args.tags),
            opts=self.options(),
        )
        steps = aws.codedeploy.DeploymentConfig(
            # It cannot be changed: another one has another name, and is there before the old one goes.
            f"{name}-steps-{percent}-{minutes}",
            deployment_config_name=scope.names.of(f"{name}-{percent}-{minutes}", "deployment"),
            compute_platform="Lambda",
            traffic_routing_config={
                "type": "TimeBasedCanary",
                "time_based_canary": {"percentage": percent, "interval": minutes},
            },
            opts=self.options(),
        )
        mover = Workload(
            f"{name}-releaser",
            WorkloadArgs(
                description=f"CodeDeploy: moves the requests of {name} from one version to the next, and back.",
                service="codedeploy.amazonaws.com",
                statements=[
                    # What AWSCodeDeployRoleForLambdaLimited allows, of this function.
                    iam.allow(
                        ["lambda:GetAlias", "lambda:GetProvisionedConcurrencyConfig", "lambda:UpdateAlias"],
                        [self._made.arn, pulumi.Output.concat(self._made.arn, ":*")],
                    ),
                    iam.allow(["cloudwatch:DescribeAlarms"], ["*"]),
                ],
                boundary=args.boundary,
            ),
            scope=scope,
            parent=self,
        ).outputs.id
        group = aws.codedeploy.DeploymentGroup(
            f"{name}-release",
            app_name=application.name,
            deployment_group_name=physical,
            deployment_config_name=steps.deployment_config_name,
            service_role_arn=mover,
            deployment_style={"deployment_option": "WITH_TRAFFIC_CONTROL", "deployment_type": "BLUE_GREEN"},
            auto_rollback_configuration={
                "enabled": True,
                "events": ["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM", "DEPLOYMENT_STOP_ON_REQUEST"],
            },
            alarm_configuration={
                "enabled": True,
                # Nobody knows how the new version does: then it does not go on.
                "ignore_poll_alarm_failure": False,
                "alarms": [scope.names.of(promises.rollback_alarm(name))],
            },
            tags=dict(args.tags),
            opts=self.options(depends_on=before),
        )
        at = f"arn:aws:codedeploy:{scope.region}:{scope.account}"
        starter = LambdaFunction(
            f"{name}-starter",
            LambdaFunctionArgs(
                description=f"Starts releases of {name}.",
                module="start_deployment",
                seconds=60,
                most=1,
                environment={
                    "APPLICATION": application.name,
                    "GROUP": group.deployment_group_name,
                    "FUNCTION": self._made.name,
                    "ALIAS": ALIAS,
                },
                statements=[
                    iam.allow(["lambda:GetAlias"], [self._made.arn, pulumi.Output.concat(self._made.arn, ":*")]),
                    iam.allow(
                        ["codedeploy:CreateDeployment", "codedeploy:GetDeployment", "codedeploy:ListDeployments"],
                        [f"{at}:deploymentgroup:{physical}/{physical}"],
                    ),
                    iam.allow(
                        ["codedeploy:GetApplicationRevision", "codedeploy:RegisterApplicationRevision"],
                        [f"{at}:application:{physical}"],
                    ),
                    # Of every endpoint: they hold nothing but steps, and another release has another one.
                    iam.allow(
                        ["codedeploy:GetDeploymentConfig"],
                        [f"{at}:deploymentconfig:{scope.names.of('*', 'deployment')}"],
                    ),
                ],
                network=None,
                key=args.compute_key,
                logs_key=args.logs_key,
                boundary=args.boundary,
                tags=args.tags,
            ),
            scope=scope,
            parent=self,
        ).outputs
        started = aws.lambda_.Invocation(
            f"{name}-start",
            function_name=starter.name,
            # Another version is another invocation; nothing is called when it goes.
            input=pulumi.Output.json_dumps({"version": self._made.version}),
            lifecycle_scope="CREATE_ONLY",
            opts=self.options(depends_on=[alias, group, *before]),
        )
        return [started]

    # -- who reaches it

    def _grants(self, alias: aws.lambda_.Alias) -> list[pulumi.Resource]:
        return [
            aws.iam.RolePolicy(
                f"{self.name}-caller-{caller}",
                name=self.scope.names.of(f"{self.name}-call", "iam_policy"),
                role=caller,
                policy=pulumi.Output.json_dumps(iam.document(iam.allow(["lambda:InvokeFunction"], [alias.arn]))),
                opts=self.options(),
            )
            for caller in self._args.spec.callers
        ]

    def _route(self, gateway: contracts.Gateway, alias: aws.lambda_.Alias) -> tuple[Text, list[pulumi.Resource]]:
        """The rule of the gateway, and what lets it call the alias."""
        args = self._args
        if args.front is None or args.front.scope is None or args.tokens is None:
            raise ValueError(f"{self.name}: behind a gateway an endpoint has a host, and tokens that are checked")
        target = aws.lb.TargetGroup(
            f"{self.name}-target",
            name=self.scope.names.of(self.name, "balancer"),
            target_type="lambda",
            tags=dict(args.tags),
            opts=self.options(),
        )
        allowed = aws.lambda_.Permission(
            f"{self.name}-from-gateway",
            function=self._made.name,
            qualifier=alias.name,
            action="lambda:InvokeFunction",
            principal="elasticloadbalancing.amazonaws.com",
            source_arn=target.arn,
            opts=self.options(),
        )
        attached = aws.lb.TargetGroupAttachment(
            f"{self.name}-attached",
            target_group_arn=target.arn,
            target_id=alias.arn,
            # Lambda is asked whether the load balancer may call.
            opts=self.options(depends_on=[allowed]),
        )
        route = Route(
            f"{self.name}-route",
            RouteArgs(
                gateway=gateway,
                host=args.front.host,
                tokens=args.tokens,
                scope=args.front.scope,
                targets=[target.arn],
                tags=args.tags,
            ),
            scope=self.scope,
            parent=self,
        )
        return route.outputs.id, [attached]
