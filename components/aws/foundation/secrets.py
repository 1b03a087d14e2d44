"""The environment's secrets, and the function that rotates those that the platform makes itself."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
import pulumi_aws as aws

from components import contracts
from components.aws.blocks.dead_letters import DeadLetters, DeadLettersArgs
from components.aws.blocks.workload import Workload, WorkloadArgs
from components.contracts import Text
from components.core import iam
from components.plan import Generated, Provided
from components.scope import Component, Scope, after

_ROTATION = Path(__file__).parents[3] / "runtime" / "aws" / "secret_rotation.py"
_RUNTIME = "python3.13"
_INTERFACES = (
    "ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SecretsArgs:
    """Which secrets there are, and what their rotation stands on."""

    secrets: Mapping[str, Generated | Provided]
    key: contracts.Key
    logs_key: contracts.Key
    network: contracts.Network
    reach: str
    """Range in which the function finds Secrets Manager: that of the network, where it has an endpoint for it."""
    boundary: contracts.Boundary
    warning: Sequence[Text] = field(default=())
    """Topics that are told when a rotation fails."""
    organization: str | None = None
    recovery_days: int
    """Days in which a deleted secret can be had back; 0 where it may go at once."""


class Secrets(Component):
    """Encrypted secrets that no other account can read; those that the platform makes are never seen by Pulumi.

    Owns the secrets, their policies and replicas, the values that were given encrypted in a stack's file, and for generated
    ones the function that makes and rotates them, with its role, log, queue of failures and alarms. Never owns the grant to
    read one: identities bring their own. A generated secret gets its first value from its first rotation, which starts as
    soon as it is set up.

    Costs a month (us-east-1, 2026-09): 0.40 USD for each secret and each of its replicas; the function and its queue cents,
    its two alarms 0.20. A destroy deletes at once where the tier deletes data; elsewhere it is refused, and a deleted secret
    could be had back for `recovery_days`.

    It needs more concurrency than the ten executions of a brand-new account, since AWS keeps that much unreserved.

    >>> args = SecretsArgs(
    ...     secrets={"signing": Generated(length=48, rotation_days=30), "model-hub": Provided()},
    ...     key=key, logs_key=key, network=network, reach=network.cidr, boundary=boundary, recovery_days=7,
    ... )
    >>> sorted(Secrets("secrets", args, scope=scope, parent=parent).outputs.ids)
    ['model-hub', 'signing']
    """

    outputs: contracts.Secrets

    def __init__(self, name: str, args: SecretsArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the secrets and what rotates them."""
        super().__init__(name, scope, parent)
        self._args = args
        made = {secret: self._secret(secret) for secret in args.secrets}
        generated = {secret: spec for secret, spec in args.secrets.items() if isinstance(spec, Generated)}
        provided = {
            secret: spec.value for secret, spec in args.secrets.items() if isinstance(spec, Provided) and spec.value
        }
        waits = {secret: [policy] for secret, (_, policy) in made.items()}
        if generated:
            function, invocable = self._function({secret: made[secret][0] for secret in generated})
            for secret, spec in generated.items():
                rotation = aws.secretsmanager.SecretRotation(
                    f"{name}-{secret}-rotation",
                    secret_id=made[secret][0].id,
                    rotation_lambda_arn=function.arn,
                    rotation_rules={"automatically_after_days": spec.rotation_days},
                    # The first rotation makes the first value.
                    rotate_immediately=True,
                    opts=self.options(depends_on=[invocable]),
                )
                waits[secret].append(rotation)
        for secret, value in provided.items():
            version = aws.secretsmanager.SecretVersion(
                f"{name}-{secret}-value",
                secret_id=made[secret][0].id,
                secret_string=value,
                # Not protected: a new value replaces this resource, and Secrets Manager keeps the one before by itself.
                opts=self.options(),
            )
            waits[secret].append(version)
        self.outputs = contracts.Secrets(
            ids={secret: after(resource.arn, *waits[secret]) for secret, (resource, _) in made.items()}
        )
        self.finish(self.outputs)

    def _secret(self, secret: str) -> tuple[aws.secretsmanager.Secret, pulumi.Resource]:
        """A secret without a value, and its policy."""
        args, scope, label = self._args, self.scope, f"{self.name}-{secret}"
        second, its_key = scope.replica_region, args.key.replica
        made = aws.secretsmanager.Secret(
            f"{label}-secret",
            name=scope.names.of(secret, "secret"),
            description=f"{secret} of {scope.environment}",
            kms_key_id=args.key.id,
            recovery_window_in_days=args.recovery_days,
            replicas=[{"region": second, "kms_key_id": its_key}] if second and its_key else [],
            opts=self.options(holds_data=True),
        )
        policy = aws.secretsmanager.SecretPolicy(
            f"{label}-policy",
            secret_arn=made.arn,
            policy=pulumi.Output.json_dumps(
                iam.document(
                    iam.deny(
                        ["secretsmanager:*"],
                        ["*"],
                        sid="OnlyInsiders",
                        principals="*",
                        when=iam.outsiders(scope.account, args.organization),
                    )
                )
            ),
            block_public_policy=True,
            opts=self.options(),
        )
        return made, policy

    def _function(
        self, secrets: Mapping[str, aws.secretsmanager.Secret]
    ) -> tuple[aws.lambda_.Function, pulumi.Resource]:
        """The function that rotates `secrets`, and what has to be there before Secrets Manager can call it."""
        args, scope, label = self._args, self.scope, f"{self.name}-rotation"
        physical = scope.names.of("secret-rotation", "function")
        arn = f"arn:aws:lambda:{scope.region}:{scope.account}:function:{physical}"
        group = aws.cloudwatch.LogGroup(
            f"{label}-log",
            # The name that Lambda writes to; made here, for Lambda would make it unencrypted and for ever.
            name=f"/aws/lambda/{physical}",
            retention_in_days=scope.log_days,
            kms_key_id=args.logs_key.id,
            opts=self.options(),
        )
        failed = DeadLetters(
            f"{label}-failed",
            DeadLettersArgs(queue=scope.names.of("secret-rotation-failed"), key=args.key),
            scope=scope,
            parent=self,
        ).outputs
        security = aws.ec2.SecurityGroup(
            f"{label}-network",
            name=physical,
            description="Rotation of secrets: HTTPS out, nothing in",
            vpc_id=args.network.id,
            tags={"Name": physical},
            opts=self.options(),
        )
        out = aws.vpc.SecurityGroupEgressRule(
            f"{label}-https",
            security_group_id=security.id,
            description="HTTPS to Secrets Manager",
            cidr_ipv4=args.reach,
            ip_protocol="tcp",
            from_port=443,
            to_port=443,
            opts=self.options(),
        )
        identity = Workload(
            label,
            WorkloadArgs(
                description="Makes and rotates the generated secrets.",
                service="lambda.amazonaws.com",
                statements=self._statements(arn, group.arn, failed.id, [secret.arn for secret in secrets.values()]),
                boundary=args.boundary,
            ),
            scope=scope,
            parent=self,
        )
        lengths = {
            scope.names.of(secret, "secret"): spec.length
            for secret, spec in args.secrets.items()
            if isinstance(spec, Generated)
        }
        function = aws.lambda_.Function(
            f"{label}-function",
            name=physical,
            description="Makes and rotates the generated secrets.",
            role=identity.outputs.id,
            runtime=_RUNTIME,
            architectures=["arm64"],
            handler="secret_rotation.handler",
            code=pulumi.AssetArchive({"secret_rotation.py": pulumi.FileAsset(os.path.relpath(_ROTATION))}),
            memory_size=256,
            timeout=60,
            # One secret after the other is fast enough; two, so that a slow one holds nobody up.
            reserved_concurrent_executions=2,
            environment={"variables": {"LENGTHS": json.dumps(lengths, sort_keys=True)}},
            kms_key_arn=args.key.id,
            vpc_config={"subnet_ids": list(args.network.workload_subnets), "security_group_ids": [security.id]},
            dead_letter_config={"target_arn": failed.id},
            tracing_config={"mode": "Active"},
            logging_config={"log_format": "JSON", "log_group": group.name},
            opts=self.options(depends_on=[out]),
        )
        permission = aws.lambda_.Permission(
            f"{label}-permission",
            function=function.name,
            action="lambda:InvokeFunction",
            principal="secretsmanager.amazonaws.com",
            source_account=scope.account,
            opts=self.options(),
        )
        self._alarm(
            f"{label}-errors",
            "secret-rotation-errors",
            "A secret could not be rotated; its old value stays valid. Secrets Manager tries again.",
            {"namespace": "AWS/Lambda", "metric_name": "Errors", "dimensions": {"FunctionName": function.name}},
        )
        self._alarm(
            f"{label}-failed",
            "secret-rotation-failed",
            "A rotation was given up. What it was called with lies in the queue of the same name.",
            {
                "namespace": "AWS/SQS",
                "metric_name": "ApproximateNumberOfMessagesVisible",
                "dimensions": {"QueueName": failed.name},
            },
        )
        return function, permission

    def _statements(self, arn: str, group: Text, failed: Text, secrets: Sequence[Text]) -> list[iam.Statement]:
        """All that the function `arn` may do."""
        args, region = self._args, self.scope.region
        return [
            iam.allow(
                [
                    "secretsmanager:DescribeSecret",
                    "secretsmanager:GetSecretValue",
                    "secretsmanager:PutSecretValue",
                    "secretsmanager:UpdateSecretVersionStage",
                ],
                secrets,
                # Only what this very function is set to rotate ("Lambda rotation function execution role permissions").
                when={"StringEquals": {"secretsmanager:resource/AllowRotationLambdaArn": arn}},
            ),
            iam.allow(["secretsmanager:GetRandomPassword"], ["*"]),
            iam.allow(
                ["kms:Decrypt", "kms:GenerateDataKey"], [args.key.id], when=iam.via(region, "secretsmanager", "sqs")
            ),
            iam.allow(["sqs:SendMessage"], [failed]),
            iam.allow(["logs:CreateLogStream", "logs:PutLogEvents"], [pulumi.Output.concat(group, ":*")]),
            iam.allow(["xray:PutTraceSegments", "xray:PutTelemetryRecords"], ["*"]),
            # A function in a network makes its own interface there ("AWSLambdaVPCAccessExecutionRole"). These actions know no
            # resource that could be named beforehand; the code of the function itself is kept from them below.
            iam.allow(_INTERFACES, ["*"]),
            iam.deny(_INTERFACES, ["*"], when={"ArnEquals": {"lambda:SourceFunctionArn": arn}}),
        ]

    def _alarm(self, label: str, name: str, description: str, metric: Mapping[str, Any]) -> None:
        """Tell when a count is above zero."""
        aws.cloudwatch.MetricAlarm(
            f"{label}-alarm",
            name=self.scope.names.of(name),
            alarm_description=description,
            statistic="Maximum" if metric["namespace"] == "AWS/SQS" else "Sum",
            period=300,
            evaluation_periods=1,
            threshold=0,
            comparison_operator="GreaterThanThreshold",
            treat_missing_data="notBreaching",
            alarm_actions=list(self._args.warning),
            opts=self.options(),
            **metric,
        )
