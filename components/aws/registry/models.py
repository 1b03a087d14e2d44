"""The registry of models: what was trained, what is approved, and who may read that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_aws as aws

from components import contracts
from components.aws.blocks.workload import Workload, WorkloadArgs
from components.contracts import Text
from components.core import iam
from components.core.naming import Names
from components.scope import Component, Scope, after

APPROVAL = "approval"
"""Tag of an object that belongs to a model package; its value is the package's status."""
APPROVED = "Approved"
_STATES = (APPROVED, "Rejected", "PendingManualApproval")
# Service Authorization Reference, "Actions, resources, and condition keys for Amazon SageMaker": of these only the actions that
# create and update a package know the condition key sagemaker:ModelApprovalStatus.
_LOOK = ("sagemaker:DescribeModelPackage", "sagemaker:DescribeModelPackageGroup", "sagemaker:ListModelPackages")
_PULL = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
_STATUS = "sagemaker:ModelApprovalStatus"
# The most objects that a package may have: what one call lists must fit into the 256 KiB that a state hands on ("Step Functions
# service quotas"), at some 300 bytes each.
_OBJECTS = 500
_UNCLEAR = "$states.input.more or $count($states.input.keys) = 0"


@dataclass(frozen=True, kw_only=True)
class Model:
    """One model."""

    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, kw_only=True)
class Source:
    """The environment that this one reads approved models from."""

    environment: str
    account: str


@dataclass(frozen=True, kw_only=True)
class ModelsArgs:
    """Which models there are, who approves them and who reads them."""

    models: Mapping[str, Model]
    bucket: contracts.Storage
    """The zone of model packages."""
    zone: str = "models"
    """Its name, which is the same in the source's environment."""
    approvers: Mapping[str, Text]
    """Persona to the ARN of its role."""
    readers: Sequence[str] = ()
    """Accounts that may read what is approved. The bucket and its key let them in for themselves."""
    source: Source | None = None
    boundary: contracts.Boundary
    warning: Sequence[Text] = ()
    """Topics that are told when a version is approved or rejected, and when an approval did not reach the bucket."""


class Models(Component):
    """A group of model packages for each model; a version is a candidate until an approver says otherwise.

    Owns the groups, the grant of approvers, who is told of their decisions and, where other accounts read, the groups'
    policies and the state machine that marks the objects of a package with its status. SageMaker cannot limit a reader to what is
    approved, since reading a package knows no condition on its status; S3 can, by an object's tag. The tag of a new
    version of an object is never that of the old one, so what is overwritten is not approved any more. Never owns
    packages, the bucket or the key. Training brings `publish` into its own identity: it registers versions and approves none.
    An identity that deploys a model of the source's environment brings `read`, one that runs it `reading`. Who approved
    what is in CloudTrail, UpdateModelPackage.

    A package's objects are one archive or all that lies under one prefix that ends in a slash, at most 500.

    Costs nothing (Step Functions, 4,000 transitions a month free, 2026-09), the alarm 0.10 USD a month. A destroy takes a group
    away once it is empty: SageMaker refuses it before, so dev's last `aws sagemaker delete-model-package` comes first. A group
    cannot be changed; a new description stays in the program until the group is made again.

    >>> args = ModelsArgs(
    ...     models={"fraud": Model(description="Scores payments.")}, bucket=bucket, approvers={}, boundary=boundary,
    ...     readers=["222222222222"],
    ... )
    >>> arn = Models("models", args, scope=scope, parent=parent).outputs.approved["fraud"]
    """

    outputs: contracts.Models
    publish: Sequence[iam.Statement]
    """What an identity needs to register versions, none of them approved."""
    read: Sequence[iam.Statement]
    """What an identity needs to look at and deploy approved versions, the source's where there is one."""

    def __init__(self, name: str, args: ModelsArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the groups and the grants."""
        super().__init__(name, scope, parent)
        self._args = args
        self._mine = mine = _there(scope, None, args.zone)
        groups = {model: self._group(model) for model in args.models}
        approvals = [self._approver(persona, role) for persona, role in args.approvers.items()] if groups else []
        if groups:
            self._tell()
        if groups and args.readers:
            approvals.append(self._mark())
        there = _there(scope, args.source, args.zone)
        self.publish = mine.publish() if groups else []
        self.read = there.read() if groups else []
        self.outputs = contracts.Models(
            candidates={model: after(group.arn, *parts) for model, (group, parts) in groups.items()},
            approved={
                model: after(there.group(model), group, *parts, *approvals) for model, (group, parts) in groups.items()
            },
        )
        self.finish(self.outputs)

    def _group(self, model: str) -> tuple[aws.sagemaker.ModelPackageGroup, list[pulumi.Resource]]:
        """A model's group and, where other accounts read, its policy."""
        args, scope, label = self._args, self.scope, f"{self.name}-{model}"
        place = self._mine
        group = aws.sagemaker.ModelPackageGroup(
            f"{label}-group",
            model_package_group_name=scope.names.of(model, "model_group"),
            model_package_group_description=args.models[model].description or None,
            tags=dict(args.models[model].tags),
            # Of a group nothing but its tags can be changed; with its description all versions would be replaced.
            opts=self.options(holds_data=True, ignore_changes=["modelPackageGroupDescription"]),
        )
        if not args.readers:
            return group, []
        readers = {"AWS": [f"arn:aws:iam::{account}:root" for account in args.readers]}
        policy = aws.sagemaker.ModelPackageGroupPolicy(
            f"{label}-policy",
            model_package_group_name=group.model_package_group_name,
            # "Deploy a model version from a different account". Without sagemaker:UpdateModelPackage: nobody approves from there.
            resource_policy=pulumi.Output.json_dumps(
                iam.document(
                    iam.allow(
                        ["sagemaker:DescribeModelPackageGroup"],
                        [place.group(model)],
                        sid="SeeGroup",
                        principals=readers,
                    ),
                    iam.allow(
                        ["sagemaker:CreateModel", "sagemaker:DescribeModelPackage", "sagemaker:ListModelPackages"],
                        [place.package(model)],
                        sid="DeployVersions",
                        principals=readers,
                    ),
                )
            ),
            opts=self.options(),
        )
        return group, [policy]

    def _approver(self, persona: str, role: Text) -> pulumi.Resource:
        """A persona's right to decide. It is given a role that may do other things, so this is a policy of its own."""
        scope, place = self.scope, self._mine
        packages = [place.package("*")]
        return aws.iam.RolePolicy(
            f"{self.name}-{persona}-approves",
            name=scope.names.of(f"{persona}-approves-models", "iam_policy"),
            # By name, which is known; once the role is there.
            role=pulumi.Output.all(scope.names.of(persona, "iam_role"), role).apply(lambda known: str(known[0])),
            policy=pulumi.Output.json_dumps(
                iam.document(
                    iam.allow(["sagemaker:ListModelPackageGroups"], ["*"]),
                    iam.allow(_LOOK, [place.group("*"), *packages]),
                    iam.allow(["sagemaker:UpdateModelPackage"], packages, when={"StringEquals": {_STATUS: _STATES}}),
                )
            ),
            opts=self.options(),
        )

    def _rule(self, label: str, description: str, states: Sequence[str]) -> aws.cloudwatch.EventRule:
        """A rule for packages of this environment that reach one of these states."""
        pattern: dict[str, Any] = {
            "source": ["aws.sagemaker"],
            "detail-type": ["SageMaker Model Package State Change"],
            "detail": {
                "ModelPackageGroupName": [{"prefix": self.scope.names.full("")}],
                "ModelApprovalStatus": list(states),
            },
        }
        return aws.cloudwatch.EventRule(
            f"{self.name}-{label}",
            name=self.scope.names.of(f"{self.name}-{label}", "event_rule"),
            description=description,
            event_pattern=pulumi.Output.json_dumps(pattern),
            opts=self.options(),
        )

    def _tell(self) -> None:
        """Tell people of decisions."""
        rule = self._rule("decided", "A version of a model was approved or rejected.", _STATES[:2])
        for i, topic in enumerate(self._args.warning):
            aws.cloudwatch.EventTarget(
                f"{self.name}-decided-{i}",
                rule=rule.name,
                target_id=f"warning-{i}",
                arn=topic,
                input_transformer={
                    "input_paths": {"package": "$.detail.ModelPackageArn", "status": "$.detail.ModelApprovalStatus"},
                    "input_template": '"<package> is now <status>. By whom: UpdateModelPackage in CloudTrail."',
                },
                opts=self.options(),
            )

    def _mark(self) -> pulumi.Resource:
        """The state machine that marks a package's objects with its status, and what starts it."""
        args, scope, label = self._args, self.scope, f"{self.name}-approval"
        place = self._mine
        marker = Workload(
            label,
            WorkloadArgs(
                description="Marks objects of the model registry with what was decided on their package.",
                service="states.amazonaws.com",
                statements=[
                    iam.allow(["sagemaker:DescribeModelPackage"], [place.package("*")]),
                    iam.allow(["s3:ListBucket"], [args.bucket.resource]),
                    iam.allow(["s3:PutObjectTagging"], [pulumi.Output.concat(args.bucket.resource, "/*")]),
                ],
                boundary=args.boundary,
            ),
            scope=scope,
            parent=self,
        ).outputs
        machine = aws.sfn.StateMachine(
            f"{label}-machine",
            name=scope.names.of(label, "state_machine"),
            role_arn=marker.id,
            type="STANDARD",
            definition=pulumi.Output.json_dumps(args.bucket.name.apply(marking)),
            tracing_configuration={"enabled": False},
            opts=self.options(),
        )
        starter = Workload(
            f"{label}-start",
            WorkloadArgs(
                description="Starts what marks objects of the model registry.",
                service="events.amazonaws.com",
                statements=[iam.allow(["states:StartExecution"], [machine.arn])],
                boundary=args.boundary,
            ),
            scope=scope,
            parent=self,
        ).outputs
        rule = self._rule("approval", "Something was decided on a version of a model.", _STATES)
        target = aws.cloudwatch.EventTarget(
            f"{label}-target",
            rule=rule.name,
            target_id="mark",
            arn=machine.arn,
            role_arn=starter.id,
            opts=self.options(),
        )
        aws.cloudwatch.MetricAlarm(
            f"{label}-failed",
            name=scope.names.of(f"{label}-failed"),
            alarm_description="A decision on a model did not reach its objects: others read what they should not, or cannot.",
            namespace="AWS/States",
            metric_name="ExecutionsFailed",
            dimensions={"StateMachineArn": machine.arn},
            statistic="Sum",
            period=300,
            evaluation_periods=1,
            threshold=0,
            comparison_operator="GreaterThanThreshold",
            treat_missing_data="notBreaching",
            alarm_actions=list(args.warning),
            opts=self.options(),
        )
        return target


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where an environment's models are."""

    names: Names
    account: str
    region: str
    zone: str

    def _at(self, kind: str, model: str) -> str:
        return f"arn:aws:sagemaker:{self.region}:{self.account}:{kind}/{self.names.of(model, 'model_group')}"

    def group(self, model: str) -> str:
        """ARN of a model's group."""
        return self._at("model-package-group", model)

    def package(self, model: str) -> str:
        """Pattern of the ARNs of a model's versions."""
        return f"{self._at('model-package', model)}/*"

    def publish(self) -> list[iam.Statement]:
        """Register versions; one that names no status waits for approval."""
        targets = [self.group("*"), self.package("*")]
        waiting: iam.Condition = {"StringEqualsIfExists": {_STATUS: "PendingManualApproval"}}
        return [
            iam.allow(["sagemaker:CreateModelPackage"], targets, when=waiting),
            iam.allow(_LOOK, targets),
        ]

    def reading(self, model: str) -> list[iam.Statement]:
        """Look at versions of one model, load them, and pull the image that each names, which is one of that environment's."""
        bucket = f"arn:aws:s3:::{self.names.of(self.zone, 'bucket')}"
        at = f"{self.region}:{self.account}"
        return [
            iam.allow(["sagemaker:DescribeModelPackage"], [self.package(model)]),
            iam.allow(["s3:ListBucket"], [bucket], when={"StringLike": {"s3:prefix": [f"{model}/*"]}}),
            iam.allow(["s3:GetObject"], [f"{bucket}/{model}/*"]),
            iam.allow(["kms:Decrypt"], [f"arn:aws:kms:{at}:key/*"], when=self._opened(bucket)),
            iam.allow(_PULL, [f"arn:aws:ecr:{at}:repository/{self.names.full('')}*"]),
        ]

    def _opened(self, bucket: str) -> iam.Condition:
        """Objects of a bucket alone. Which of the account's keys it is, only that account knows; its policy decides."""
        inside: iam.Condition = {"StringLike": {"kms:EncryptionContext:aws:s3:arn": [bucket, f"{bucket}/*"]}}
        return iam.both(iam.via(self.region, "s3"), inside)

    def read(self) -> list[iam.Statement]:
        """Look at versions and load what is approved."""
        bucket = f"arn:aws:s3:::{self.names.of(self.zone, 'bucket')}"
        return [
            iam.allow(_LOOK, [self.group("*"), self.package("*")]),
            iam.allow(["sagemaker:CreateModel"], [self.package("*")]),
            iam.allow(["s3:ListBucket"], [bucket]),
            iam.allow(["s3:GetObject"], [f"{bucket}/*"]),
            iam.allow(["kms:Decrypt"], [f"arn:aws:kms:{self.region}:{self.account}:key/*"], when=self._opened(bucket)),
        ]


def _there(scope: Scope, source: Source | None, zone: str) -> _Place:
    """Where an environment reads models: with itself, or with its source."""
    names = Names(scope.names.prefix, source.environment) if source else scope.names
    return _Place(names=names, account=source.account if source else scope.account, region=scope.region, zone=zone)


def reading(scope: Scope, source: Source | None, zone: str, model: str) -> list[iam.Statement]:
    """What an identity needs that runs one model, of the `source` where there is one, and nothing else.

    `zone` holds the packages of all models; those of one lie below its name there, as training pipelines put them. Of every
    version: a release may be taken back, and what answered before starts a machine once more.
    """
    return _there(scope, source, zone).reading(model)


def shared(bucket: str, marker: str, readers: Sequence[str]) -> list[iam.Statement]:
    """What the policy of the bucket of model packages says where other accounts read: approved objects, and no others.

    `marker` is the ARN of the role that marks objects. Nobody else may set that tag, neither later nor with a new object; a
    copy of an approved object takes it along, and is the same object.

    >>> [s["Sid"] for s in shared("acme-ai-dev-models", "arn:aws:iam::111111111111:role/marker", ["222222222222"])]
    ['ReadersFind', 'ReadersReadApproved', 'OnlyTheRegistryApproves', 'NothingIsBornApproved']
    """
    arn = f"arn:aws:s3:::{bucket}"
    principals = {"AWS": [f"arn:aws:iam::{account}:root" for account in readers]}
    tagged: iam.Condition = {"ForAnyValue:StringEquals": {"s3:RequestObjectTagKeys": [APPROVAL]}}
    return [
        iam.allow(["s3:ListBucket"], [arn], sid="ReadersFind", principals=principals),
        iam.allow(
            ["s3:GetObject"],
            [f"{arn}/*"],
            sid="ReadersReadApproved",
            principals=principals,
            when={"StringEquals": {f"s3:ExistingObjectTag/{APPROVAL}": APPROVED}},
        ),
        iam.deny(
            ["s3:PutObjectTagging", "s3:PutObjectVersionTagging"],
            [f"{arn}/*"],
            sid="OnlyTheRegistryApproves",
            principals="*",
            when=iam.both(tagged, {"ArnNotEquals": {"aws:PrincipalArn": marker}}),
        ),
        iam.deny(["s3:PutObject"], [f"{arn}/*"], sid="NothingIsBornApproved", principals="*", when=tagged),
    ]


def marking(bucket: str) -> dict[str, Any]:
    """The state machine: what SageMaker says now of the package, for every object that the package consists of.

    It asks SageMaker again and does not go by the event, so that two decisions that overtake each other end well. A location
    that names an object means that object; one that ends in a slash, all below it.
    """
    prefix = f"$substringAfter($states.input.uri, 's3://{bucket}/')"
    objects = f"($at := {prefix}; [$states.result.Contents[Key = $at or $substring($at, -1) = '/'].Key])"
    location = "ModelDataSource ? ModelDataSource.S3DataSource.S3Uri : ModelDataUrl"
    return {
        "QueryLanguage": "JSONata",
        "StartAt": "Ask",
        "States": {
            "Ask": {
                "Type": "Task",
                "Resource": "arn:aws:states:::aws-sdk:sagemaker:describeModelPackage",
                "Arguments": {"ModelPackageName": "{% $states.input.detail.ModelPackageArn %}"},
                "Assign": {"status": "{% $states.result.ModelApprovalStatus %}"},
                "Output": {"uris": f"{{% [$states.result.InferenceSpecification.Containers.({location})] %}}"},
                "Retry": [_RETRY],
                "Next": "Locations",
            },
            "Locations": {
                "Type": "Map",
                "Items": "{% $states.input.uris %}",
                "ItemSelector": {"uri": "{% $states.context.Map.Item.Value %}"},
                "MaxConcurrency": 1,
                "ItemProcessor": {
                    "ProcessorConfig": {"Mode": "INLINE"},
                    "StartAt": "List",
                    "States": {
                        "List": {
                            "Type": "Task",
                            "Resource": "arn:aws:states:::aws-sdk:s3:listObjectsV2",
                            "Arguments": {
                                "Bucket": bucket,
                                "Prefix": f"{{% {prefix} %}}",
                                "MaxKeys": _OBJECTS,
                            },
                            "Output": {
                                "keys": f"{{% {objects} %}}",
                                "more": "{% $states.result.IsTruncated %}",
                            },
                            "Retry": [_RETRY],
                            "Next": "Whole",
                        },
                        "Whole": {
                            "Type": "Choice",
                            "Choices": [{"Condition": f"{{% {_UNCLEAR} %}}", "Next": "Unclear"}],
                            "Default": "Objects",
                        },
                        "Unclear": {
                            "Type": "Fail",
                            "Error": "Unclear",
                            "Cause": "The package names no object of the bucket of model packages, or more than can be marked.",
                        },
                        "Objects": {
                            "Type": "Map",
                            "Items": "{% $states.input.keys %}",
                            "ItemSelector": {"key": "{% $states.context.Map.Item.Value %}"},
                            "MaxConcurrency": 10,
                            "ItemProcessor": {
                                "ProcessorConfig": {"Mode": "INLINE"},
                                "StartAt": "Mark",
                                "States": {
                                    "Mark": {
                                        "Type": "Task",
                                        "Resource": "arn:aws:states:::aws-sdk:s3:putObjectTagging",
                                        "Arguments": {
                                            "Bucket": bucket,
                                            "Key": "{% $states.input.key %}",
                                            "Tagging": {"TagSet": [{"Key": APPROVAL, "Value": "{% $status %}"}]},
                                        },
                                        "Retry": [_RETRY],
                                        "End": True,
                                    }
                                },
                            },
                            "End": True,
                        },
                    },
                },
                "End": True,
            },
        },
    }  # fmt: skip


# "Handling errors in Step Functions workflows": every error but those of the definition itself and of what a task costs.
_RETRY: Mapping[str, Any] = {
    "ErrorEquals": ["States.TaskFailed"],
    "IntervalSeconds": 5,
    "MaxAttempts": 4,
    "BackoffRate": 2,
}
