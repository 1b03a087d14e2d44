"""Where experiments are recorded: managed MLflow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws

from components import contracts
from components.aws.blocks.workload import Workload, WorkloadArgs
from components.core import iam
from components.scope import Component, Scope

ARTIFACTS = "mlflow/"
"""Prefix of the artifacts of runs in their zone."""
# In UTC, as the API wants it (CreateMlflowApp, WeeklyMaintenanceWindowStart): "(Mon|Tue|…):hh:mm".
_MAINTENANCE = "Sun:03:00"
# "Set up IAM permissions for MLflow Apps": what automatic registration does. Without sagemaker:UpdateModelPackage, which is how a
# version is approved.
_REGISTER = (
    "sagemaker:AddTags", "sagemaker:CreateModelPackage", "sagemaker:CreateModelPackageGroup",
    "sagemaker:DescribeModelPackageGroup",
)  # fmt: skip
_AUTOMATIC = {True: "AutoModelRegistrationEnabled", False: "AutoModelRegistrationDisabled"}


@dataclass(frozen=True, kw_only=True)
class TrackingArgs:
    """What experiments leave behind, and where."""

    bucket: contracts.Storage
    """The zone of their artifacts."""
    key: contracts.Key
    """Of that zone."""
    register_models: bool = False
    """Enter models that a run registers into SageMaker's registry too."""
    boundary: contracts.Boundary
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class Tracking(Component):
    """MLflow that SageMaker runs without a server of ours; artifacts lie in our bucket, with our key.

    Clients take the ARN as tracking URI, with the plug-in `sagemaker-mlflow`, and need `sagemaker:CallMlflowAppApi` on it:
    one action for all of MLflow, so whoever may record may also delete what others recorded. Artifacts go to the bucket
    directly, by the client's own rights.

    Owns the app and the role that it reads and writes artifacts by. Never owns the bucket or who may use it: whoever records
    brings `record` into its own identity. What it enters into the registry waits for approval there, like any other version.

    Costs nothing itself, where a tracking server of the older kind costs 0.642 USD an hour in its smallest size
    (us-east-1, 2026); the artifacts cost what storage costs. A destroy takes runs and metrics along; in a tier that protects
    data it is refused.

    >>> Tracking("tracking", TrackingArgs(bucket=bucket, key=key, boundary=boundary), scope=scope, parent=parent).name
    'tracking'
    """

    outputs: contracts.Tracking
    record: Sequence[iam.Statement]
    """What an identity needs to record experiments and to look at them."""

    def __init__(self, name: str, args: TrackingArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the app and its role."""
        super().__init__(name, scope, parent)
        below = pulumi.Output.concat(args.bucket.resource, f"/{ARTIFACTS}*")
        packages = [
            f"arn:aws:sagemaker:{scope.region}:{scope.account}:{kind}/*"
            for kind in ("model-package-group", "model-package")
        ]
        waiting: iam.Condition = {"StringEqualsIfExists": {"sagemaker:ModelApprovalStatus": "PendingManualApproval"}}
        register = [iam.allow(_REGISTER, packages, when=waiting)] if args.register_models else []
        role = Workload(
            name,
            WorkloadArgs(
                description="Reads and writes the artifacts of experiments.",
                service="sagemaker.amazonaws.com",
                statements=[
                    iam.allow(
                        ["s3:ListBucket"],
                        [args.bucket.resource],
                        when={"StringLike": {"s3:prefix": [ARTIFACTS, f"{ARTIFACTS}*"]}},
                    ),
                    iam.allow(["s3:GetBucketLocation"], [args.bucket.resource]),
                    iam.allow(
                        ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"],
                        [below],
                    ),
                    iam.allow(["kms:Decrypt", "kms:GenerateDataKey"], [args.key.id], when=iam.via(scope.region, "s3")),
                    *register,
                ],
                boundary=args.boundary,
            ),
            scope=scope,
            parent=self,
        )
        app = aws.sagemaker.MlflowApp(
            f"{name}-app",
            name=scope.names.of("mlflow", "mlflow"),
            artifact_store_uri=pulumi.Output.concat(args.bucket.uri, f"/{ARTIFACTS.rstrip('/')}"),
            role_arn=role.outputs.id,
            model_registration_mode=_AUTOMATIC[args.register_models],
            # The environment's account holds nothing else.
            account_default_status="ENABLED",
            weekly_maintenance_window_start=_MAINTENANCE,
            tags=dict(args.tags),
            opts=self.options(holds_data=True),
        )
        # "Set up IAM permissions for MLflow Apps"; the app has one action for all of MLflow.
        self.record = [
            iam.allow(
                ["sagemaker:CallMlflowAppApi", "sagemaker:CreatePresignedMlflowAppUrl", "sagemaker:DescribeMlflowApp"],
                [app.arn],
            )
        ]
        self.outputs = contracts.Tracking(uri=app.arn)
        self.finish(self.outputs)
