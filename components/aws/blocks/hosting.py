"""What answers on machines of SageMaker: models, what they run as, and where they are in the network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pulumi
import pulumi_aws as aws

from components import contracts
from components.aws.blocks.security_group import SecurityGroup, SecurityGroupArgs
from components.aws.blocks.workload import Workload, WorkloadArgs
from components.contracts import Text, Zone
from components.core import hosting, iam
from components.scope import Component, Scope
from components.spec.models import Container, Package, called

Use = Literal["read", "write"]
_PULL = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
_LOG = ("logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents")
_SEE_NETWORK = (
    "ec2:DescribeDhcpOptions", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSecurityGroups", "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
)  # fmt: skip
_INTERFACES = (
    "ec2:CreateNetworkInterface", "ec2:CreateNetworkInterfacePermission", "ec2:DeleteNetworkInterface",
    "ec2:DeleteNetworkInterfacePermission",
)  # fmt: skip
_OBJECTS: Mapping[Use, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "read": (("s3:GetObject",), ("kms:Decrypt",)),
    "write": (("s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"), ("kms:Decrypt", "kms:GenerateDataKey")),
}
"""On objects, and on the key that they lie under."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """What lies under a prefix of a zone, `async/ocr/`; an object where it does not end in a slash."""

    zone: Zone
    path: str
    use: Use

    @property
    def uri(self) -> Text:
        """Its address, without a slash at the end."""
        return pulumi.Output.concat(self.zone.bucket.uri, f"/{self.path.rstrip('/')}")

    @property
    def prefix(self) -> Text:
        """Its address as it is written: with a slash at the end, what begins like its last part is not meant."""
        return pulumi.Output.concat(self.zone.bucket.uri, f"/{self.path}")

    def around(self) -> "Place":
        """All that lies in the same folder at the top of the zone."""
        top, slash, _ = self.path.partition("/")
        return replace(self, path=f"{top}{slash}")

    def statements(self, region: str) -> list[iam.Statement]:
        """What is needed to use it."""
        actions, keys = _OBJECTS[self.use]
        inside = f"{self.path}*" if self.path.endswith("/") or not self.path else self.path
        return [
            iam.allow(
                ["s3:ListBucket"], [self.zone.bucket.resource], when={"StringLike": {"s3:prefix": [self.path, inside]}}
            ),
            iam.allow(actions, [pulumi.Output.concat(self.zone.bucket.resource, f"/{inside}")]),
            iam.allow(keys, [self.zone.key.id], when=iam.via(region, "s3")),
        ]


@dataclass(frozen=True, kw_only=True)
class Served:
    """A model as SageMaker gets it: a version of a package, or an image with what it loads."""

    content: Mapping[str, Any]
    """What makes it, known before anything is built."""
    version: str
    """What outputs call it."""
    package: Text | None = None
    """ARN of the version."""
    image: pulumi.Input[str] | None = None
    artifact: Place | None = None
    sha256: str | None = None
    statements: Sequence[iam.Statement] = ()
    """What it takes to look at the package, and to load what is in it."""


def served(
    model: Package | Container,
    *,
    group: Text | None = None,
    statements: Sequence[iam.Statement] = (),
    image: pulumi.Input[str] | None = None,
    zone: Zone | None = None,
) -> Served:
    """A model of the description.

    Of a package: the ARN of its `group`, and the `statements` that it takes to read it. Of a container: the address of its
    `image`, and the `zone` of its artifact where it has one.
    """
    content = model.model_dump(exclude_none=True)
    if isinstance(model, Package):
        if group is None or model.version is None:
            raise ValueError(f"{model.package}: a package is read by its group and a version")
        version = model.version
        return Served(
            content=content,
            version=called(model),
            package=group.apply(lambda arn: hosting.package(arn, version)),
            statements=statements,
        )
    artifact = model.artifact
    return Served(
        content=content,
        version=called(model),
        image=image or model.image,
        artifact=Place(zone=zone, path=artifact.path, use="read") if artifact and zone else None,
        sha256=artifact.sha256 if artifact else None,
    )


@dataclass(frozen=True, kw_only=True)
class HostingArgs:
    """Which models answer, and what they may do."""

    models: Mapping[str, Served]
    """By variant."""
    kind: Literal["machines", "transform", "serverless"]
    log_group: str | Text
    """Where SageMaker writes: the name of a group that is made here, or the ARN of one that is shared."""
    places: Sequence[Place] = ()
    """What is read and written besides the models."""
    statements: Sequence[iam.Statement] = ()
    """What else it may."""
    network: contracts.Network
    key: contracts.Key
    """Of volumes."""
    logs_key: contracts.Key
    boundary: contracts.Boundary
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class Hosting(Component):
    """Models of one endpoint, or of one run over many records, with an identity of their own.

    The identity reads these models, pulls their images, writes its log group and the places that it is given, and makes network
    interfaces in our subnets. Of a model it reads every version, and of an artifact what lies in the same folder at the top of
    the zone: a release may be taken back, and what answered before starts a machine once more.

    Machines are in the network, in a security group that lets HTTPS out to where the network's workloads may call; the
    containers on them reach nothing at all, since SageMaker itself fetches models and keeps what is captured. A serverless model
    is in no network of ours and cannot be isolated ("Serverless Inference", exclusions).

    A model cannot be changed. Its name holds what makes it, and a suffix by which the same content can be made once more: what
    was there before stays, so that whoever goes back to it, SageMaker or a person, finds it. In an environment that may be
    deleted it goes with the release after it.

    Owns the models, the role, the log group and the security group. Never owns an endpoint, an image or an artifact. Costs
    nothing but its logs, 0.50 USD a GB (us-east-1, 2026-09). A destroy takes what is of now, after what answers.

    >>> model = Served(
    ...     content={"image": "a:1"}, version="a:1", image="111111111111.dkr.ecr.us-west-2.amazonaws.com/acme-ai-dev-a:1"
    ... )
    >>> args = HostingArgs(
    ...     models={"main": model}, kind="machines", log_group="/aws/sagemaker/Endpoints/acme-ai-dev-fraud", network=network,
    ...     key=key, logs_key=key, boundary=boundary,
    ... )
    >>> list(Hosting("fraud-hosting", args, scope=scope, parent=parent).outputs.models)
    ['main']
    """

    outputs: contracts.Hosting

    def __init__(self, name: str, args: HostingArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make what models run as, and the models."""
        super().__init__(name, scope, parent)
        self._args = args
        self._made: dict[str, aws.sagemaker.Model] = {}
        group = args.log_group
        if isinstance(group, str):
            group = aws.cloudwatch.LogGroup(
                f"{name}-log",
                # The name that SageMaker writes to; made here, for it would make it unencrypted and for ever.
                name=group,
                retention_in_days=scope.log_days,
                kms_key_id=args.logs_key.id,
                tags=dict(args.tags),
                opts=self.options(),
            ).arn
        self._security: Text | None = None
        if args.kind != "serverless":
            self._security = SecurityGroup(
                f"{name}-network",
                SecurityGroupArgs(
                    label=name,
                    description="Models that answer: HTTPS out, nothing in",
                    network=args.network,
                ),
                scope=scope,
                parent=self,
            ).outputs.id
        self._identity = Workload(
            name,
            WorkloadArgs(
                description="Loads the models of one endpoint, and keeps what it is told to.",
                service="sagemaker.amazonaws.com",
                statements=self._statements(group),
                boundary=args.boundary,
            ),
            scope=scope,
            parent=self,
        ).outputs.id
        self.outputs = contracts.Hosting(
            identity=self._identity,
            models={variant: self._model(model) for variant, model in args.models.items()},
        )
        self.finish(self.outputs)

    def _statements(self, group: Text) -> list[iam.Statement]:
        args, scope = self._args, self.scope
        at = f"{scope.region}:{scope.account}"
        found: list[iam.Statement] = [
            iam.allow(_LOG, [pulumi.Output.concat(group, ":*")]),
            iam.allow(
                ["cloudwatch:PutMetricData"], ["*"], when={"StringLike": {"cloudwatch:namespace": "/aws/sagemaker/*"}}
            ),
            iam.allow(["ecr:GetAuthorizationToken"], ["*"]),
            *args.statements,
        ]
        for model in args.models.values():
            found += model.statements
            if model.image is not None:
                ours = scope.names.full("").rstrip("-")
                found.append(iam.allow(_PULL, [hosting.repository(model.content["image"], at, ours)]))
            if model.artifact:
                found += model.artifact.around().statements(scope.region)
        for place in args.places:
            found += place.statements(scope.region)
        found += [
            iam.allow(["kms:CreateGrant"], [args.key.id], when={"Bool": {"kms:GrantIsForAWSResource": "true"}}),
            iam.allow(
                ["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext"],
                [args.key.id],
                when=iam.via(scope.region, "ec2", "sagemaker"),
            ),
        ]
        if self._security is not None:
            where = [
                f"arn:aws:ec2:{at}:network-interface/*",
                *(
                    pulumi.Output.concat(f"arn:aws:ec2:{at}:subnet/", subnet)
                    for subnet in args.network.workload_subnets
                ),
                pulumi.Output.concat(f"arn:aws:ec2:{at}:security-group/", self._security),
            ]
            found += [iam.allow(_SEE_NETWORK, ["*"]), iam.allow(_INTERFACES, where)]
        # The same package or image twice, as beside its shadow, is one statement.
        return [statement for i, statement in enumerate(found) if statement not in found[:i]]

    def _model(self, model: Served) -> Text:
        args, scope = self._args, self.scope
        content = {**model.content, "kind": args.kind}
        label = scope.names.of(f"{self.name}-{hosting.digest(content)}", "hosted")
        if label not in self._made:
            isolated = self._security is not None
            opts = self.options()
            opts.retain_on_delete = not scope.deletable or None
            self._made[label] = aws.sagemaker.Model(
                # Without a name of its own: the engine adds a suffix. A release that is taken back in the description makes the
                # content again whose model was left behind, and a name cannot be had twice.
                label,
                execution_role_arn=self._identity,
                primary_container=self._container(model),
                enable_network_isolation=isolated,
                vpc_config={"subnets": list(args.network.workload_subnets), "security_group_ids": [self._security]}
                if self._security is not None
                else None,
                tags=dict(args.tags),
                opts=opts,
            )
        return self._made[label].name

    def _container(self, model: Served) -> aws.sagemaker.ModelPrimaryContainerArgsDict:
        if model.package is not None:
            return {"model_package_name": model.package}
        if model.artifact is None:
            return {"image": model.image}
        folder = model.artifact.path.endswith("/")
        if self._args.kind != "machines" or not (folder or model.sha256):
            # SageMaker unpacks the archive. Jobs and serverless endpoints take nothing else (ContainerDefinition,
            # ModelDataSource).
            return {"image": model.image, "model_data_url": model.artifact.uri}
        return {
            "image": model.image,
            "model_data_source": {
                "s3_data_sources": [
                    {
                        "s3_uri": pulumi.Output.concat(model.artifact.uri, "/" if folder else ""),
                        "s3_data_type": "S3Prefix" if folder else "S3Object",
                        # An archive arrives as it is, for the container to hold it against its digest before it opens it.
                        "compression_type": "None",
                    }
                ]
            },
            "environment": {"MODEL_DIGEST": model.sha256} if model.sha256 else {},
        }
