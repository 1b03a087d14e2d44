"""What people may do: one role a persona."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from components import contracts
from components.contracts import Text
from components.core import batch, iam
from components.scope import Component, Scope, after

READ = (
    "s3:GetBucketLocation", "s3:GetObject", "s3:GetObjectTagging", "s3:GetObjectVersion", "s3:ListBucket",
    "s3:ListBucketVersions",
)  # fmt: skip
# Not s3:DeleteObjectVersion: what a person deletes can be had back for as long as old versions are kept.
WRITE = (
    "s3:AbortMultipartUpload", "s3:DeleteObject", "s3:ListBucketMultipartUploads", "s3:ListMultipartUploadParts",
    "s3:PutObject", "s3:PutObjectTagging",
)  # fmt: skip
_AUDIT = ("arn:aws:iam::aws:policy/SecurityAudit", "arn:aws:iam::aws:policy/job-function/ViewOnlyAccess")
"""Policies of AWS that show how everything is set up, and none of the data in it."""
# A managed policy holds 6,144 characters and a role ten policies ("IAM and STS quotas"). A bucket takes at most 2 x 80 of
# them, so thirty fill five sixths of a policy, and the eight policies that a persona has left hold 240 buckets.
_PER_POLICY = 30
_LOOK = (
    "batch:Describe*", "batch:List*", "cloudwatch:DescribeAlarms", "cloudwatch:GetDashboard", "cloudwatch:GetMetricData",
    "cloudwatch:ListDashboards", "cloudwatch:ListMetrics", "ecr:DescribeRepositories", "ecr:GetAuthorizationToken",
    "eks:ListClusters", "fsx:DescribeFileSystems", "logs:DescribeLogGroups", "logs:StopQuery", "s3:ListAllMyBuckets",
    "sagemaker:ListM*", "sagemaker:ListPipeline*", "secretsmanager:ListSecrets", "tag:GetResources",
)  # fmt: skip
_PULL = (
    "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:DescribeImageScanFindings", "ecr:DescribeImages",
    "ecr:GetDownloadUrlForLayer", "ecr:ListImages",
)  # fmt: skip
# Not ecr:BatchDeleteImage: what an image was that trained a model can be looked up for as long as the repository keeps it.
_PUSH = ("ecr:CompleteLayerUpload", "ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:UploadLayerPart")
_LOGS = (
    "logs:DescribeLogStreams", "logs:FilterLogEvents", "logs:GetLogEvents", "logs:GetQueryResults", "logs:StartQuery",
)  # fmt: skip
_MODELS = ("sagemaker:DescribeModelPackage", "sagemaker:DescribeModelPackageGroup")
_EXPERIMENTS = ("sagemaker:CallMlflowAppApi", "sagemaker:CreatePresignedMlflowAppUrl", "sagemaker:DescribeMlflowApp")
_PIPELINES = (
    "sagemaker:RetryPipelineExecution", "sagemaker:StartPipelineExecution", "sagemaker:StopPipelineExecution",
)  # fmt: skip
# What keeps the platform running. What changes it goes through delivery: no role, key or bucket policy can be edited here, for
# with that an administrator could grant himself the data.
_OPERATE = (
    "autoscaling:*InstanceRefresh*", "autoscaling:*Scaling*", "autoscaling:Describe*", "batch:CancelJob", "batch:Describe*",
    "batch:Get*", "batch:List*", "batch:TerminateJob", "budgets:View*", "ce:Get*", "ce:List*", "cloudwatch:*Alarm*",
    "cloudwatch:*Dashboard*", "cloudwatch:Get*", "cloudwatch:List*", "ec2:*Instances", "ec2:*NetworkInsights*",
    "ec2:Describe*", "ec2:GetConsoleOutput", "eks:Describe*", "eks:List*", "elasticloadbalancing:Describe*",
    "health:Describe*", "kms:Describe*", "kms:Get*", "kms:List*", "logs:Describe*", "logs:List*", "logs:StopQuery",
    "s3:GetBucket*", "s3:GetLifecycleConfiguration", "s3:GetReplicationConfiguration", "s3:ListAllMyBuckets",
    "sagemaker:DeleteApp", "sagemaker:Stop*", "servicequotas:Get*", "servicequotas:List*",
    "servicequotas:RequestServiceQuotaIncrease", "tag:Get*", "xray:BatchGet*", "xray:Get*",
)  # fmt: skip
_OPERATE_NAMED = (
    "batch:UpdateJobQueue", "eks:UpdateNodegroupConfig", "events:DisableRule", "events:EnableRule", "lambda:InvokeFunction",
    "logs:FilterLogEvents", "logs:GetLogEvents", "logs:GetQueryResults", "logs:StartQuery", "sns:ConfirmSubscription",
    "sns:GetTopicAttributes", "sns:List*", "sns:Publish", "sns:Subscribe", "sns:Unsubscribe", "sqs:DeleteMessage",
    "sqs:GetQueueAttributes", "sqs:PurgeQueue", "sqs:ReceiveMessage", "sqs:StartMessageMoveTask",
)  # fmt: skip
_SECRET_UPKEEP = (
    "secretsmanager:CancelRotateSecret", "secretsmanager:DescribeSecret", "secretsmanager:ListSecretVersionIds",
    "secretsmanager:PutSecretValue", "secretsmanager:RestoreSecret", "secretsmanager:RotateSecret",
    "secretsmanager:UpdateSecretVersionStage",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Zone:
    """A storage zone and who may use it."""

    bucket: contracts.Storage
    key: contracts.Key
    readers: Sequence[str] = ()
    writers: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Secret:
    """A secret and who may read it."""

    id: Text
    readers: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class PersonasArgs:
    """Who signs in how, and what there is to be granted."""

    permission_sets: Mapping[str, str]
    """Persona to the permission set of IAM Identity Center whose holders may take its role; one without has no role."""
    session_hours: int
    zones: Sequence[Zone]
    secrets: Sequence[Secret]
    secrets_key: contracts.Key
    boundary: contracts.Boundary
    teams: Sequence[str] = ()
    """Teams whose jobs queues of AWS Batch take; where there are none, nobody submits to Batch."""
    training_images: Sequence[str] = ()
    """Repositories of the images that training runs; to those also data scientists push."""


class Personas(Component):
    """A role for each persona that the holders of one permission set of IAM Identity Center may assume, and nobody else.

    Owns the roles and their policies: data by zone, each with its key and only through S3; secrets by name; for auditors how
    everything is set up; for platform administrators what keeps it running, without the data. Never owns a user, a group or
    a permission set, which live in the organization's management account. Grants are put together by persona, thirty zones a
    policy, so that many zones do not pass IAM's limits.

    Who trains also finds the cluster, in which its access entries decide; pulls images, pushes those of training, and as an
    engineer all of them, with a signature; submits jobs to Batch, as one of the teams, and ends any; reads their logs; records
    experiments; registers versions of models, none of them approved. To which team somebody belongs AWS does not know: one
    role is all that a persona's people have, and CloudTrail says who it was.

    Whoever comes from Identity Center assumes a second role, and AWS ends such a chained session after an hour at most.

    Costs nothing, and a destroy leaves nothing.

    >>> args = PersonasArgs(
    ...     permission_sets={"auditor": "Auditor"}, session_hours=4, zones=[Zone(bucket=bucket, key=key, readers=["auditor"])],
    ...     secrets=[], secrets_key=key, boundary=boundary,
    ... )
    >>> list(Personas("personas", args, scope=scope, parent=parent).outputs.roles)
    ['auditor']
    """

    outputs: contracts.Personas

    def __init__(self, name: str, args: PersonasArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the roles."""
        super().__init__(name, scope, parent)
        self._args = args
        self.outputs = contracts.Personas(
            roles={persona: self._role(persona, holders) for persona, holders in args.permission_sets.items()}
        )
        self.finish(self.outputs)

    def _role(self, persona: str, permission_set: str) -> Text:
        args, scope, label = self._args, self.scope, f"{self.name}-{persona}"
        trust = iam.allow(
            ["sts:AssumeRole"],
            principals={"AWS": f"arn:aws:iam::{scope.account}:root"},
            when={"ArnLike": {"aws:PrincipalArn": reserved_roles(scope.account, permission_set)}},
        )
        role = aws.iam.Role(
            f"{label}-role",
            name=scope.names.of(persona, "iam_role"),
            description=f"People: {persona}, by the permission set {permission_set}.",
            assume_role_policy=pulumi.Output.json_dumps(iam.document(trust)),
            max_session_duration=args.session_hours * 3600,
            permissions_boundary=args.boundary.id,
            force_detach_policies=True,
            tags={"persona": persona},
            opts=self.options(),
        )
        attached: list[pulumi.Resource] = []
        arns: dict[str, pulumi.Input[str]] = {
            arn.rpartition("/")[2]: arn for arn in (_AUDIT if persona in ("auditor", "platform-admin") else ())
        }
        for part, statements in self._grants(persona):
            arns[part] = aws.iam.Policy(
                f"{label}-{part}",
                name=scope.names.of(f"{persona}-{part}", "iam_policy"),
                description=f"{persona}: {part}",
                policy=pulumi.Output.json_dumps(iam.document(*statements)),
                opts=self.options(),
            ).arn
        for part, arn in arns.items():
            attached.append(
                aws.iam.RolePolicyAttachment(
                    f"{label}-{part}-attached", role=role.name, policy_arn=arn, opts=self.options()
                )
            )
        return after(role.arn, *attached)

    def _grants(self, persona: str) -> Iterator[tuple[str, list[iam.Statement]]]:
        """The policies of a persona: part of the name, and statements."""
        args, region = self._args, self.scope.region
        if persona == "platform-admin":
            yield "operations", self._operations()
        elif persona != "auditor":
            yield "overview", [iam.allow(_LOOK, ["*"]), *self._work(persona)]
        zones = [zone for zone in args.zones if persona in (*zone.readers, *zone.writers)]
        for i in range(0, len(zones), _PER_POLICY):
            yield f"storage-{i // _PER_POLICY}", list(_storage(persona, zones[i : i + _PER_POLICY], region))
        secrets = [secret.id for secret in args.secrets if persona in secret.readers]
        for i in range(0, len(secrets), _PER_POLICY):
            yield (
                f"secrets-{i // _PER_POLICY}",
                [
                    iam.allow(
                        ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"], secrets[i : i + _PER_POLICY]
                    ),
                    iam.allow(["kms:Decrypt"], [args.secrets_key.id], when=iam.via(region, "secretsmanager")),
                ],
            )

    def _work(self, persona: str) -> Iterator[iam.Statement]:
        """What training a model takes, beside its data."""
        args, scope = self._args, self.scope
        at, mine = f"{scope.region}:{scope.account}", scope.names.of("*")
        repositories = f"arn:aws:ecr:{at}:repository/{scope.names.full('').rstrip('-')}"
        sagemaker = f"arn:aws:sagemaker:{at}"
        engineer = persona == "ml-engineer"
        yield iam.allow(["eks:DescribeCluster"], [f"arn:aws:eks:{at}:cluster/{mine}"], sid="FindCluster")
        # Our own, and those that come through the cache of a public registry.
        yield iam.allow(_PULL, [f"{repositories}/*", f"{repositories}-*"], sid="PullImages")
        if pushed := ["*"] if engineer else args.training_images:
            yield iam.allow(_PUSH, [f"{repositories}/{name}" for name in pushed], sid="PushImages")
        if engineer:
            profiles = f"arn:aws:signer:{at}:/signing-profiles/{mine.replace('-', '_')}"
            # To sign, and to see whether a signature was revoked ("Sign container images in Signer").
            yield iam.allow(
                ["signer:GetRevocationStatus", "signer:GetSigningProfile", "signer:SignPayload"],
                [profiles, f"arn:aws:signer:{at}:/signing-jobs/*"],
                sid="SignImages",
            )
        jobs = f"arn:aws:batch:{at}:job/*"
        if args.teams:
            yield iam.allow(
                ["batch:SubmitJob"],
                [f"arn:aws:batch:{at}:job-definition/{mine}", f"arn:aws:batch:{at}:job-queue/{mine}", jobs],
                sid="SubmitJobs",
                # Batch takes any other share too, at the weight of a team of one. The key belongs to jobs, and definitions and
                # queues do not have it ("Actions, resources, and condition keys for AWS Batch").
                when={"StringEqualsIfExists": {"batch:ShareIdentifier": [batch.share(team) for team in args.teams]}},
            )
            # A job has no name in its ARN.
            yield iam.allow(["batch:CancelJob", "batch:TagResource", "batch:TerminateJob"], [jobs], sid="EndJobs")
        groups = (f"/{scope.names.of('jobs')}/*", f"/aws/containerinsights/{mine}", "/aws/sagemaker/*")
        yield iam.allow(_LOGS, [f"arn:aws:logs:{at}:log-group:{group}" for group in groups], sid="ReadLogs")
        yield iam.allow(_EXPERIMENTS, [f"{sagemaker}:mlflow-app/*"], sid="RecordExperiments")
        packages = [f"{sagemaker}:model-package-group/{mine}", f"{sagemaker}:model-package/{mine}/*"]
        yield iam.allow(
            ["sagemaker:CreateModelPackage"],
            packages,
            sid="RegisterModels",
            when={"StringEqualsIfExists": {"sagemaker:ModelApprovalStatus": "PendingManualApproval"}},
        )
        yield iam.allow(_MODELS, packages, sid="SeeModels")
        pipelines = [f"{sagemaker}:pipeline/{mine}"]
        yield iam.allow(["sagemaker:DescribePipeline*"], pipelines, sid="SeePipelines")
        if engineer:
            yield iam.allow(_PIPELINES, pipelines, sid="RunPipelines")

    def _operations(self) -> list[iam.Statement]:
        args, scope = self._args, self.scope
        at, mine = f"{scope.region}:{scope.account}", scope.names.of("*")
        named = [
            f"arn:aws:batch:{at}:job-queue/{mine}",
            f"arn:aws:eks:{at}:nodegroup/{mine}/*",
            f"arn:aws:events:{at}:rule/{mine}",
            f"arn:aws:lambda:{at}:function:{mine}",
            f"arn:aws:logs:{at}:log-group:/{mine}",
            f"arn:aws:logs:{at}:log-group:/aws/*/{mine}",
            f"arn:aws:sns:{at}:{mine}",
            f"arn:aws:sqs:{at}:{mine}",
        ]
        through = iam.via(scope.region, "secretsmanager")
        return [
            iam.allow(_OPERATE, ["*"]),
            iam.allow(_OPERATE_NAMED, named),
            # To add a value is not to read one: there is no GetSecretValue. Secrets Manager wants both actions on the key for it.
            iam.allow(_SECRET_UPKEEP, [f"arn:aws:secretsmanager:{at}:secret:{mine}"]),
            iam.allow(["kms:Decrypt", "kms:GenerateDataKey"], [args.secrets_key.id], when=through),
            # Messages in the queues of what failed are encrypted too.
            iam.allow(["kms:Decrypt"], [args.secrets_key.id], when=iam.via(scope.region, "sqs")),
        ]


def _storage(persona: str, zones: Sequence[Zone], region: str) -> Iterator[iam.Statement]:
    written = [zone for zone in zones if persona in zone.writers]
    read = [zone for zone in zones if persona not in zone.writers]
    for actions, key_actions, chosen in (
        (READ, ["kms:Decrypt"], read),
        ((*READ, *WRITE), ["kms:Decrypt", "kms:GenerateDataKey"], written),
    ):
        if chosen:
            arns: list[Any] = [zone.bucket.resource for zone in chosen]
            yield iam.allow(actions, [*arns, *(pulumi.Output.concat(arn, "/*") for arn in arns)])
            keys = list(dict.fromkeys(zone.key.id for zone in chosen))
            yield iam.allow(key_actions, keys, when=iam.via(region, "s3"))


def reserved_roles(account: str, permission_set: str) -> list[str]:
    """Patterns of the role that Identity Center makes for a permission set ("Referencing permission sets in resource policies").

    Its path has the region of Identity Center in it, but for us-east-1. Its name ends in sixteen characters that change with
    every new assignment; as many question marks, so that `Data` does not match `Data_Admin`.
    """
    prefix, name = f"arn:aws:iam::{account}:role/aws-reserved/sso.amazonaws.com/", f"AWSReservedSSO_{permission_set}_"
    return [f"{prefix}{name}{'?' * 16}", f"{prefix}*/{name}{'?' * 16}"]
