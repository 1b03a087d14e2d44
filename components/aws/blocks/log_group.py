"""A log group that several share: of jobs, whose names SageMaker gives."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components import contracts
from components.scope import Component, Scope

TRANSFORM_JOBS = "/aws/sagemaker/TransformJobs"
"""Where every transform job of the account writes ("Log groups and streams that Amazon SageMaker creates")."""


@dataclass(frozen=True, kw_only=True)
class LogGroupArgs:
    """What it is called, and what encrypts it."""

    path: str
    key: contracts.Key


class LogGroup(Component):
    """A log group, made before what writes to it: SageMaker would make it unencrypted and for ever.

    Owns the group. Never owns what is written. Costs 0.50 USD a GB (us-east-1, 2026-09). A destroy takes it with the logs.

    >>> args = LogGroupArgs(path=TRANSFORM_JOBS, key=key)
    >>> arn = LogGroup("transform-logs", args, scope=scope, parent=parent).outputs.id
    """

    outputs: contracts.LogGroup

    def __init__(self, name: str, args: LogGroupArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the group."""
        super().__init__(name, scope, parent)
        group = aws.cloudwatch.LogGroup(
            f"{name}-group",
            name=args.path,
            retention_in_days=scope.log_days,
            kms_key_id=args.key.id,
            opts=self.options(),
        )
        self.outputs = contracts.LogGroup(id=group.arn)
        self.finish(self.outputs)
