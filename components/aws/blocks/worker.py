"""A function of the platform's own: code of one file, and what it runs as and in."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pulumi
import pulumi_aws as aws

from components import contracts
from components.aws.blocks.security_group import SecurityGroup, SecurityGroupArgs
from components.aws.blocks.workload import Workload, WorkloadArgs
from components.core import iam
from components.scope import Component, Scope, after

_CODE = Path(__file__).parents[3] / "runtime" / "aws"
_RUNTIME = "python3.13"
_INTERFACES = (
    "ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class WorkerArgs:
    """What one function is and may do."""

    label: str
    """Its name within the environment."""
    module: str
    """The file of `runtime/aws` that it is; its `handler` is called."""
    description: str
    memory_mb: int
    timeout_seconds: int
    concurrency: int
    """How many of it run at once; kept for it, and no more."""
    environment: Mapping[str, pulumi.Input[str]]
    statements: Sequence[iam.Statement]
    """What it may do besides what every function does."""
    network: contracts.Network
    compute_key: contracts.Key
    """Encrypts its environment."""
    logs_key: contracts.Key
    boundary: contracts.Boundary
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class Worker(Component):
    """A function in the network, with an identity, a log and a share of the account's concurrency of its own.

    Owns the function, its role, log group and security group. Never owns what calls it, nor who may: its caller brings that.
    It has no queue of failures: it is called by a queue that has one, or by somebody who waits for the answer.

    Costs 0.0000133 USD a GB-second and 0.20 a million requests while it runs (us-east-1, 2026-09). A destroy takes it away; its
    network interfaces go some minutes later, and the security group waits for that.

    >>> args = WorkerArgs(
    ...     label="ingestion", module="ingestion", description="Reads documents.", memory_mb=256, timeout_seconds=120,
    ...     concurrency=2, environment={}, statements=[], network=network, compute_key=key, logs_key=key, boundary=boundary,
    ... )
    >>> Worker("ingestion", args, scope=scope, parent=parent).outputs.name
    'acme-ai-dev-ingestion'
    """

    outputs: contracts.Worker

    def __init__(self, name: str, args: WorkerArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the function and what it stands on."""
        super().__init__(name, scope, parent)
        physical = scope.names.of(args.label, "function")
        arn = f"arn:aws:lambda:{scope.region}:{scope.account}:function:{physical}"
        group = aws.cloudwatch.LogGroup(
            f"{name}-log",
            # The name that Lambda writes to; made here, for Lambda would make it unencrypted and for ever.
            name=f"/aws/lambda/{physical}",
            retention_in_days=scope.log_days,
            kms_key_id=args.logs_key.id,
            opts=self.options(),
        )
        reach = SecurityGroup(
            f"{name}-network",
            SecurityGroupArgs(
                label=args.label, description=f"{args.label}: HTTPS out, nothing in", network=args.network
            ),
            scope=scope,
            parent=self,
        )
        identity = Workload(
            name,
            WorkloadArgs(
                description=args.description,
                service="lambda.amazonaws.com",
                statements=[*args.statements, *_every(arn, group.arn, args.compute_key.id, scope.region)],
                boundary=args.boundary,
            ),
            scope=scope,
            parent=self,
        )
        file = f"{args.module}.py"
        function = aws.lambda_.Function(
            f"{name}-function",
            name=physical,
            description=args.description,
            role=identity.outputs.id,
            runtime=_RUNTIME,
            architectures=["arm64"],
            handler=f"{args.module}.handler",
            code=pulumi.AssetArchive({file: pulumi.FileAsset(os.path.relpath(_CODE / file))}),
            memory_size=args.memory_mb,
            timeout=args.timeout_seconds,
            reserved_concurrent_executions=args.concurrency,
            environment={"variables": dict(args.environment)},
            kms_key_arn=args.compute_key.id,
            vpc_config={
                "subnet_ids": list(args.network.workload_subnets),
                "security_group_ids": [reach.outputs.id],
            },
            tracing_config={"mode": "Active"},
            # What it prints is JSON already, and stays as it is ("Configuring JSON and plain text log formats").
            logging_config={"log_format": "JSON", "log_group": group.name},
            tags=dict(args.tags),
            opts=self.options(),
        )
        self.outputs = contracts.Worker(
            id=after(function.arn), name=physical, identity=identity.outputs.id, log=group.name
        )
        self.finish(self.outputs)


def _every(arn: str, log: contracts.Text, key: contracts.Text, region: str) -> list[iam.Statement]:
    """What every function `arn` may do."""
    return [
        # Its own environment.
        iam.allow(["kms:Decrypt"], [key], when=iam.via(region, "lambda")),
        iam.allow(["logs:CreateLogStream", "logs:PutLogEvents"], [pulumi.Output.concat(log, ":*")]),
        iam.allow(["xray:PutTraceSegments", "xray:PutTelemetryRecords"], ["*"]),
        # A function in a network makes its own interface there ("AWSLambdaVPCAccessExecutionRole"). These actions know no
        # resource that could be named beforehand; the code of the function itself is kept from them below.
        iam.allow(_INTERFACES, ["*"]),
        iam.deny(_INTERFACES, ["*"], when={"ArnEquals": {"lambda:SourceFunctionArn": arn}}),
    ]
