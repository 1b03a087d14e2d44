"""What the pods of an endpoint in the cluster run as, and what they read and write."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws

from components import contracts
from components.aws.blocks.workload import Workload, WorkloadArgs, connect
from components.core import iam
from components.scope import Component, Scope, after


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
    """The guardrail that prompts and answers pass, where there is one, and where they are kept."""

    guardrail: tuple[contracts.Text, contracts.Key] | None = None
    """Its ARN, and the key that encrypts it."""
    prompts: Place
    """A folder of the zone of prompts, to whose other folders nothing of this endpoint's is written."""


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
    cache: contracts.Entry | None = None
    """Of its answers, where it may use one; the way there is the cluster's."""
    boundary: contracts.Boundary
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class Pod(Component):
    """The identity of one endpoint's pods: a role that they alone are given, through EKS Pod Identity.

    It reads what it is told to, the endpoint's model in all of its versions, and nothing beside it; a run over many records also
    what it is run over, and writes its own folder; a language model applies its guardrail, where it has one, and adds to its own
    folder of the zone of prompts what it is asked and answers, which it cannot read again; a client of a cache connects to that
    one, as itself. Who can read prompts, and for how long they stay, is the zone's (`Prompts`).

    Owns the role and its association with the pods. Never owns the pods, their namespace, a bucket, a key or a guardrail.

    Costs nothing. A destroy takes it away after the pods.

    >>> cluster = contracts.Cluster(
    ...     name=boundary.id, physical_name="acme-ai-dev-cluster", endpoint=boundary.id, location="us-west-2",
    ...     provider=scope.provider, resource=parent, node_identity=boundary.id, security_group=boundary.id,
    ... )
    >>> args = PodArgs(
    ...     cluster=cluster, pod=("serving-risk", "chat"), reads={"model": Place(bucket=bucket, key=key, path="llama/")},
    ...     boundary=boundary,
    ... )
    >>> role = Pod("chat", args, scope=scope, parent=parent).outputs.id
    """

    outputs: contracts.Pod

    def __init__(self, name: str, args: PodArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the role, and associate it."""
        super().__init__(name, scope, parent)
        self._args = args
        namespace, account = args.pod
        role = Workload(
            f"{name}-pods",
            WorkloadArgs(
                description=f"Pods of the endpoint {name}.",
                service=None,
                pod=args.pod,
                statements=[
                    *self._stored(),
                    *(self._guarded(args.guard) if args.guard else []),
                    *([connect(args.cache)] if args.cache else []),
                ],
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
        kept = args.guard.prompts if args.guard else None
        self.outputs = contracts.Pod(
            id=after(role, association),
            log=pulumi.Output.concat(kept.bucket.uri, "/", kept.path) if kept else None,
        )
        self.finish(self.outputs)

    def _stored(self) -> list[iam.Statement]:
        args, region = self._args, self.scope.region
        found: list[iam.Statement] = []
        for place in args.reads.values():
            found += _objects(place, ["s3:GetObject"], ["kms:Decrypt"], region)
        if args.writes:
            actions = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"]
            found += _objects(args.writes, actions, ["kms:Decrypt", "kms:GenerateDataKey"], region)
        return found

    def _guarded(self, guard: Guard) -> list[iam.Statement]:
        applies: list[iam.Statement] = []
        if guard.guardrail is not None:
            arn, key = guard.guardrail
            applies = [
                iam.allow(["bedrock:ApplyGuardrail"], [arn]),
                # Whoever applies a guardrail decrypts it (Bedrock, "Create a customer managed key for your guardrail").
                iam.allow(["kms:Decrypt"], [key.id], when=iam.via(self.scope.region, "bedrock")),
            ]
        return [
            *applies,
            iam.allow(
                ["s3:PutObject"], [pulumi.Output.concat(guard.prompts.bucket.resource, f"/{guard.prompts.path}*")]
            ),
            iam.allow(["kms:GenerateDataKey"], [guard.prompts.key.id], when=iam.via(self.scope.region, "s3")),
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
