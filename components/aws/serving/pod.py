"""What the pods of an endpoint in the cluster run as, and where prompts are kept that they see."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import get_args

import pulumi
import pulumi_aws as aws

from components import contracts
from components.aws.blocks.workload import Workload, WorkloadArgs
from components.core import iam
from components.scope import Component, Scope, after
from components.spec.foundation import LogDays


@dataclass(frozen=True, kw_only=True)
class Place:
    """What lies under a path of a storage zone: a folder ends in a slash, and without a path it is all of the zone."""

    bucket: contracts.Storage
    key: contracts.Key
    path: str

    @property
    def folder(self) -> bool:
        """Whether there is more than one object."""
        return self.path.endswith("/") or not self.path


@dataclass(frozen=True, kw_only=True)
class Guard:
    """The guardrail that prompts and answers pass, and how long they are kept."""

    id: contracts.Text
    """Its ARN."""
    key: contracts.Key
    """Encrypts it."""
    days: int


@dataclass(frozen=True, kw_only=True)
class PodArgs:
    """Which pods they are, and what they read and write."""

    cluster: contracts.Cluster
    pod: tuple[str, str]
    """Namespace and service account."""
    reads: Mapping[str, Place]
    """By what it is: `model`, `input`."""
    writes: Place | None = None
    guard: Guard | None = None
    """Of a language model."""
    logs_key: contracts.Key
    boundary: contracts.Boundary
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class Pod(Component):
    """The identity of one endpoint's pods: a role that they alone are given, through EKS Pod Identity.

    It reads the endpoint's model and nothing beside it; a run over many records also what it is run over, and writes its own
    folder; a language model with a guardrail applies that one and writes to its own log of prompts, which nobody else does.

    Owns the role, its association with the pods, and that log group: encrypted, and kept for no longer than prompts may be, which
    is the longest term of CloudWatch Logs within them. Never owns the pods, their namespace, a bucket, a key or a guardrail.

    Costs nothing but the log, 0.50 USD a GB (us-east-1, 2026-09). A destroy takes it away after the pods; in a tier that protects
    data the log of prompts is refused.

    >>> cluster = contracts.Cluster(
    ...     name=boundary.id, physical_name="acme-ai-dev-cluster", endpoint=boundary.id, location="us-west-2",
    ...     provider=scope.provider, resource=parent, node_identity=boundary.id, security_group=boundary.id,
    ... )
    >>> args = PodArgs(
    ...     cluster=cluster, pod=("serving-risk", "chat"), reads={"model": Place(bucket=bucket, key=key, path="llama/")},
    ...     logs_key=key, boundary=boundary,
    ... )
    >>> role = Pod("chat", args, scope=scope, parent=parent).outputs.id
    """

    outputs: contracts.Pod

    def __init__(self, name: str, args: PodArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the log, the role, and associate it."""
        super().__init__(name, scope, parent)
        self._args = args
        log = self._log(args.guard) if args.guard else None
        namespace, account = args.pod
        role = Workload(
            f"{name}-pods",
            WorkloadArgs(
                description=f"Pods of the endpoint {name}.",
                service=None,
                pod=args.pod,
                statements=[*self._stored(), *(self._guarded(args.guard, log) if args.guard and log else [])],
                boundary=args.boundary,
            ),
            scope=scope,
            parent=self,
        ).outputs.id
        association = aws.eks.PodIdentityAssociation(
            f"{name}-pods",
            cluster_name=args.cluster.name,
            namespace=namespace,
            service_account=account,
            role_arn=role,
            tags=dict(args.tags),
            opts=self.options(),
        )
        self.outputs = contracts.Pod(id=after(role, association), log=log.name if log else None)
        self.finish(self.outputs)

    def _log(self, guard: Guard) -> aws.cloudwatch.LogGroup:
        return aws.cloudwatch.LogGroup(
            f"{self.name}-prompts",
            name=f"/{self.scope.names.of('prompts')}/{self.name}",
            retention_in_days=kept(guard.days),
            kms_key_id=self._args.logs_key.id,
            tags=dict(self._args.tags),
            opts=self.options(holds_data=True),
        )

    def _stored(self) -> list[iam.Statement]:
        args, region = self._args, self.scope.region
        found: list[iam.Statement] = []
        for place in args.reads.values():
            found += _objects(place, ["s3:GetObject"], ["kms:Decrypt"], region)
        if args.writes:
            actions = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"]
            found += _objects(args.writes, actions, ["kms:Decrypt", "kms:GenerateDataKey"], region)
        return found

    def _guarded(self, guard: Guard, log: aws.cloudwatch.LogGroup) -> list[iam.Statement]:
        return [
            iam.allow(["bedrock:ApplyGuardrail"], [guard.id]),
            # Whoever applies a guardrail decrypts it (Bedrock, "Create a customer managed key for your guardrail").
            iam.allow(["kms:Decrypt"], [guard.key.id], when=iam.via(self.scope.region, "bedrock")),
            iam.allow(["logs:CreateLogStream", "logs:PutLogEvents"], [pulumi.Output.concat(log.arn, ":*")]),
        ]


def _objects(place: Place, actions: list[str], keys: list[str], region: str) -> list[iam.Statement]:
    """What it takes to use a place: only where it is a folder does anybody look what is in it."""
    listed: iam.Condition = {"StringLike": {"s3:prefix": [place.path, f"{place.path}*"]}} if place.path else {}
    objects = f"/{place.path}*" if place.folder else f"/{place.path}"
    return [
        *([iam.allow(["s3:ListBucket"], [place.bucket.resource], when=listed)] if place.folder else []),
        iam.allow(actions, [pulumi.Output.concat(place.bucket.resource, objects)]),
        iam.allow(keys, [place.key.id], when=iam.via(region, "s3")),
    ]


def kept(days: int) -> int:
    """The longest term that CloudWatch Logs knows within these days.

    >>> kept(365), kept(100)
    (365, 90)
    """
    return max(term for term in get_args(LogDays) if term <= days)
