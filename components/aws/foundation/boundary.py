"""What no identity of the environment may exceed, and what watches it."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components import contracts
from components.core import iam
from components.scope import Component, Scope

# Services that the platform is made of, for all that it is to hold; what is not here, no identity of the environment can use.
_SERVICES = (
    "access-analyzer", "acm", "apigateway", "application-autoscaling", "aps", "athena", "autoscaling", "backup",
    "batch", "bedrock", "budgets", "ce", "cloudformation", "cloudtrail", "cloudwatch", "codedeploy", "cognito-idp",
    "comprehend", "config", "cost-optimization-hub", "dynamodb", "ebs", "ec2", "ec2messages", "ecr", "ecs", "eks",
    "eks-auth", "elasticache", "elasticfilesystem", "elasticloadbalancing", "emr-serverless", "events", "execute-api",
    "firehose", "fsx", "glue", "guardduty", "health", "iam", "inspector2", "iot", "kinesis", "kms", "lakeformation",
    "lambda", "logs", "oam", "pipes", "polly", "rds", "rds-data", "rekognition", "resource-groups", "route53",
    "route53resolver", "s3", "s3tables", "s3vectors", "sagemaker", "sagemaker-mlflow", "scheduler", "secretsmanager",
    "securityhub", "servicequotas", "signer", "sns", "sqs", "ssm", "ssmmessages", "states", "sts", "tag", "textract",
    "transcribe", "translate", "wafv2", "xray",
)  # fmt: skip
# Services with one endpoint for the world, mostly in us-east-1 ("AWS: Denies access to AWS based on the requested Region",
# IAM User Guide), and calls of S3 that are answered there.
_GLOBAL = (
    "budgets:*", "ce:*", "cost-optimization-hub:*", "health:*", "iam:*", "organizations:*", "route53:*", "sts:*",
    "s3:ListAllMyBuckets", "s3:GetAccountPublicAccessBlock", "s3:PutAccountPublicAccessBlock",
)  # fmt: skip
# A cross-region inference profile takes a call to another region of its geography, and the call is judged there as well
# ("Prerequisites for inference profiles", "Geographic cross-Region inference", Amazon Bedrock User Guide). Which models a role
# may ask, and through which profiles, its own policy says.
_ROUTED = ("bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream")
_LASTING_CREDENTIALS = (
    "iam:CreateUser", "iam:CreateAccessKey", "iam:CreateLoginProfile", "iam:UpdateLoginProfile",
    "iam:CreateServiceSpecificCredential", "iam:UploadSSHPublicKey", "iam:UploadSigningCertificate",
)  # fmt: skip
# Of all actions on roles only these know the condition key iam:PermissionsBoundary ("Actions, resources, and condition keys for
# IAM").
_SHAPE_ROLES = (
    "iam:CreateRole", "iam:PutRolePermissionsBoundary", "iam:AttachRolePolicy", "iam:DetachRolePolicy", "iam:PutRolePolicy",
    "iam:DeleteRolePolicy",
)  # fmt: skip
_EVIDENCE = (
    "access-analyzer:DeleteAnalyzer", "cloudtrail:DeleteTrail", "cloudtrail:PutEventSelectors", "cloudtrail:StopLogging",
    "cloudtrail:UpdateTrail", "config:DeleteConfigurationRecorder", "config:DeleteDeliveryChannel",
    "config:StopConfigurationRecorder", "ec2:DeleteFlowLogs", "guardduty:DeleteDetector", "guardduty:UpdateDetector",
    "kms:DisableKey", "kms:ScheduleKeyDeletion", "logs:DeleteLogGroup", "logs:DeleteLogStream", "logs:PutRetentionPolicy",
    "securityhub:DisableSecurityHub",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class BoundaryArgs:
    """Who is outside of part of it."""

    deployer: str
    """Name of the role that deploys: in an environment that may be deleted it may also delete logs and keys."""


class Boundary(Component):
    """The most that any role of the environment can do, whatever its policies say, and Access Analyzer over it all.

    Inside the platform's services and the environment's regions only; no credentials that last; no role without this same
    boundary and no change to it; no audit trail, log or key deleted. A change to the boundary itself is therefore made by
    an administrator of the account, not by the pipeline that it binds.

    Owns the managed policy and the analyzers. Never owns a role. The analyzer of access from outside costs nothing; that
    of unused access, in prod, 0.20 USD a month for each role (IAM Access Analyzer pricing). A destroy needs that
    administrator as well.

    >>> made = Boundary("boundary", BoundaryArgs(deployer="acme-ai-dev-deploy"), scope=scope, parent=parent)
    >>> arn_for_every_role = made.outputs.id
    """

    outputs: contracts.Boundary

    def __init__(self, name: str, args: BoundaryArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the policy and the analyzers."""
        super().__init__(name, scope, parent)
        physical = scope.names.of(name, "iam_policy")
        # Its own ARN as text: a policy cannot refer to itself.
        arn = f"arn:aws:iam::{scope.account}:policy/{physical}"
        regions = [region for region in (scope.region, scope.replica_region) if region]
        deployer = f"arn:aws:iam::{scope.account}:role/{args.deployer}" if scope.deletable else None
        policy = aws.iam.Policy(
            f"{name}-policy",
            name=physical,
            description="The most that any role of the environment can do.",
            policy=pulumi.Output.json_dumps(document(arn, regions, deployer)),
            opts=self.options(),
        )
        for region in regions:
            # An analyzer sees one region.
            replica = region != scope.region
            aws.accessanalyzer.Analyzer(
                f"{name}-outside-access{'-replica' if replica else ''}",
                analyzer_name=scope.names.of("outside-access"),
                type="ACCOUNT",
                opts=self.options(replica=replica),
            )
        if scope.tier == "prod":
            aws.accessanalyzer.Analyzer(
                f"{name}-unused-access",
                analyzer_name=scope.names.of("unused-access"),
                type="ACCOUNT_UNUSED_ACCESS",
                configuration={"unused_access": {"unused_access_age": 90}},
                opts=self.options(),
            )
        self.outputs = contracts.Boundary(id=policy.arn)
        self.finish(self.outputs)


def document(arn: str, regions: Sequence[str], deployer: str | None) -> iam.Document:
    """The boundary whose own ARN is `arn`. `deployer` is the ARN of a role that may delete evidence, where one may."""
    evidence = iam.deny(
        _EVIDENCE,
        ["*"],
        sid="EvidenceAndKeysStay",
        when={"ArnNotEquals": {"aws:PrincipalArn": deployer}} if deployer else None,
    )
    elsewhere: iam.Statement = {
        "Sid": "NoOtherRegion",
        "Effect": "Deny",
        "NotAction": [*_GLOBAL, *_ROUTED],
        "Resource": ["*"],
        "Condition": {"StringNotEquals": {"aws:RequestedRegion": list(regions)}},
    }
    shapeless: iam.Statement = {
        "Sid": "NoRoleWithoutThisBoundary",
        "Effect": "Deny",
        "Action": list(_SHAPE_ROLES),
        # A role that is linked to a service takes no boundary, and only its service changes it; FSx does so in the name of
        # whoever links a file system to a bucket.
        "NotResource": [f"{arn.partition(':policy/')[0]}:role/aws-service-role/*"],
        "Condition": {"StringNotEquals": {"iam:PermissionsBoundary": arn}},
    }
    return iam.document(
        iam.allow([f"{service}:*" for service in _SERVICES], ["*"], sid="ServicesOfThePlatform"),
        iam.deny(_LASTING_CREDENTIALS, ["*"], sid="NoLastingCredentials"),
        shapeless,
        iam.deny(["iam:DeleteRolePermissionsBoundary"], ["*"], sid="NoRoleLeavesThisBoundary"),
        iam.deny(
            ["iam:CreatePolicyVersion", "iam:DeletePolicy", "iam:DeletePolicyVersion", "iam:SetDefaultPolicyVersion"],
            [arn],
            sid="BoundaryStaysAsItIs",
        ),
        evidence,
        elsewhere,
        iam.deny(["account:*", "aws-portal:*", "organizations:LeaveOrganization"], ["*"], sid="AccountStaysWhereItIs"),
    )
