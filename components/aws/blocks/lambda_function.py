"""A function of Lambda with an identity, a log and a place in the network of its own."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pulumi
import pulumi_aws as aws

from components import contracts
from components.aws.blocks.security_group import SecurityGroup, SecurityGroupArgs
from components.aws.blocks.workload import Workload, WorkloadArgs
from components.core import functions, iam
from components.scope import Component, Scope, after

_RUNTIME = "python3.13"
_CODE = Path(__file__).parents[3] / "runtime" / "aws"
_INTERFACES = (
    "ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class LambdaFunctionArgs:
    """What one function runs, and what it may do."""

    description: str
    image: pulumi.Input[str] | None = None
    """An image of runtime/serving."""
    module: str | None = None
    """In place of an image: a module of runtime/aws, which has a `handler`."""
    memory_mib: int = 256
    ephemeral_mib: int = 512
    seconds: int = 30
    most: int | None = None
    """At once."""
    published: bool = False
    """Whether every change is a version that stays."""
    environment: Mapping[str, pulumi.Input[str]] = field(default_factory=dict[str, pulumi.Input[str]])
    statements: Sequence[iam.Statement] = ()
    """What it may do besides writing its log and its traces."""
    network: contracts.Network | None
    """None for one that only speaks to AWS about what is set up, and sees no data."""
    to: Mapping[str, tuple[contracts.Text, tuple[int, int]]] = field(
        default_factory=dict[str, tuple[contracts.Text, tuple[int, int]]]
    )
    """What else it reaches in the network: group and ports, by a name of ours."""
    key: contracts.Key
    """Of its environment variables."""
    logs_key: contracts.Key
    boundary: contracts.Boundary
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class LambdaFunction(Component):
    """A function, with tracing, a log in JSON under our key, and a role that may do what it is told to and no more.

    In the network it is in a security group that lets HTTPS out to where workloads may call, and nobody in. Lambda keeps its
    interfaces there for some minutes after a destroy, in which the group cannot go; the provider waits.

    Owns the function, its role, its log group and its security group. Never owns an alias, nor who may call it. Costs
    0.20 USD a million calls and 0.0000167 a GB-second (us-east-1, 2026-09). A destroy takes it with all of its versions.

    >>> args = LambdaFunctionArgs(
    ...     description="Starts releases.", module="start_deployment", network=None, key=key, logs_key=key, boundary=boundary
    ... )
    >>> arn = LambdaFunction("fraud-starter", args, scope=scope, parent=parent).outputs.arn
    """

    outputs: contracts.LambdaFunction

    def __init__(self, name: str, args: LambdaFunctionArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the function, and before it what it needs."""
        super().__init__(name, scope, parent)
        physical = scope.names.of(name, "function")
        group = aws.cloudwatch.LogGroup(
            f"{name}-log",
            # The name that Lambda writes to; made here, for Lambda would make it unencrypted and for ever.
            name=f"/aws/lambda/{physical}",
            retention_in_days=scope.log_days,
            kms_key_id=args.logs_key.id,
            tags=dict(args.tags),
            opts=self.options(),
        )
        self.log_group = group.name
        inside: aws.lambda_.FunctionVpcConfigArgsDict | None = None
        if args.network is not None:
            security = SecurityGroup(
                f"{name}-network",
                SecurityGroupArgs(
                    label=name, description="Function: HTTPS out, nothing in", network=args.network, to=args.to
                ),
                scope=scope,
                parent=self,
            ).outputs.id
            inside = {"subnet_ids": list(args.network.workload_subnets), "security_group_ids": [security]}
        identity = Workload(
            name,
            WorkloadArgs(
                description=args.description,
                service="lambda.amazonaws.com",
                statements=self._statements(physical, group.arn, args),
                boundary=args.boundary,
            ),
            scope=scope,
            parent=self,
        ).outputs.id
        zipped = None
        if args.module is not None:
            zipped = pulumi.AssetArchive({f"{args.module}.py": pulumi.FileAsset(_relative(args.module))})
        entry_points, commands = functions.COMMAND
        function = aws.lambda_.Function(
            f"{name}-function",
            name=physical,
            description=args.description,
            role=identity,
            package_type="Zip" if zipped else "Image",
            runtime=_RUNTIME if zipped else None,
            handler=f"{args.module}.handler" if zipped else None,
            code=zipped,
            image_uri=args.image,
            image_config=None if zipped else {"entry_points": entry_points, "commands": commands},
            architectures=["arm64" if zipped else "x86_64"],
            memory_size=args.memory_mib,
            ephemeral_storage={"size": args.ephemeral_mib},
            timeout=args.seconds,
            reserved_concurrent_executions=args.most,
            publish=args.published,
            environment={"variables": dict(args.environment)} if args.environment else None,
            kms_key_arn=args.key.id,
            vpc_config=inside,
            tracing_config={"mode": "Active"},
            logging_config={"log_format": "JSON", "log_group": group.name, "system_log_level": "INFO"},
            tags=dict(args.tags),
            opts=self.options(),
        )
        self.outputs = contracts.LambdaFunction(
            arn=function.arn, name=after(function.name, group), version=function.version
        )
        self.finish(self.outputs)

    def _statements(self, physical: str, group: contracts.Text, args: LambdaFunctionArgs) -> list[iam.Statement]:
        scope = self.scope
        arn = f"arn:aws:lambda:{scope.region}:{scope.account}:function:{physical}"
        inside = [
            # A function in a network makes its own interface there ("AWSLambdaVPCAccessExecutionRole"). These actions know no
            # resource that could be named beforehand; the code of the function itself is kept from them below.
            iam.allow(_INTERFACES, ["*"]),
            iam.deny(_INTERFACES, ["*"], when={"ArnEquals": {"lambda:SourceFunctionArn": arn}}),
        ]
        return [
            iam.allow(["logs:CreateLogStream", "logs:PutLogEvents"], [pulumi.Output.concat(group, ":*")]),
            iam.allow(["xray:PutTelemetryRecords", "xray:PutTraceSegments"], ["*"]),
            *(inside if args.network is not None else []),
            *args.statements,
        ]


def _relative(module: str) -> str:
    """The module's file as a path that is the same on every machine, as the state keeps it."""
    return os.path.relpath(_CODE / f"{module}.py")
