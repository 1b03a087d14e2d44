"""How changes reach the environment: the identities of the continuous integration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components import contracts
from components.contracts import Text
from components.core import iam
from components.scope import Component, Scope, after

ISSUER = "token.actions.githubusercontent.com"
AUDIENCE = "sts.amazonaws.com"
_READ_ONLY = ("arn:aws:iam::aws:policy/SecurityAudit", "arn:aws:iam::aws:policy/job-function/ViewOnlyAccess")
# What those two policies, or whoever attaches a third, must never show to a pull request.
_CONTENTS = (
    "dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query", "dynamodb:Scan", "logs:FilterLogEvents", "logs:GetLogEvents",
    "logs:StartQuery", "secretsmanager:BatchGetSecretValue", "secretsmanager:GetSecretValue", "sqs:ReceiveMessage",
)  # fmt: skip

# What the program declares, by service; a new kind of resource brings its actions here.
_ANYWHERE = (
    "access-analyzer:*Analyzer", "access-analyzer:*Analyzers", "access-analyzer:ListTagsForResource",
    "access-analyzer:TagResource", "access-analyzer:UntagResource", "budgets:ListTagsForResource", "budgets:ModifyBudget",
    "budgets:TagResource", "budgets:UntagResource", "budgets:ViewBudget", "ce:ListCostAllocationTags",
    "ce:UpdateCostAllocationTagsStatus", "cloudwatch:DeleteAlarms", "cloudwatch:DescribeAlarms",
    "cloudwatch:ListTagsForResource", "cloudwatch:PutMetricAlarm", "cloudwatch:TagResource", "cloudwatch:UntagResource",
    "ec2:*Address*", "ec2:*EbsDefaultKmsKeyId", "ec2:*EbsEncryptionByDefault", "ec2:*FlowLogs", "ec2:*ImageBlockPublicAccess*",
    "ec2:*InstanceMetadataDefaults", "ec2:*InternetGateway*", "ec2:*NatGateway*", "ec2:*NetworkAcl*", "ec2:*Route",
    "ec2:*RouteTable*", "ec2:*SecurityGroup*", "ec2:*SerialConsoleAccess*", "ec2:*SnapshotBlockPublicAccess*", "ec2:*Subnet*",
    "ec2:*Tags", "ec2:*Vpc*", "ec2:Describe*", "iam:DeleteAccountPasswordPolicy", "iam:GetAccountPasswordPolicy", "iam:List*",
    "iam:UpdateAccountPasswordPolicy", "kms:CreateKey", "kms:ListAliases", "kms:ListKeys", "logs:DescribeLogGroups",
    "s3:GetAccountPublicAccessBlock", "s3:ListAllMyBuckets", "s3:PutAccountPublicAccessBlock",
    "secretsmanager:GetRandomPassword", "sns:ListTopics", "tag:GetResources",
)  # fmt: skip
_BUCKETS = (
    "s3:CreateBucket", "s3:DeleteBucket", "s3:DeleteBucketPolicy", "s3:GetAccelerateConfiguration", "s3:GetBucket*",
    "s3:GetEncryptionConfiguration", "s3:GetLifecycleConfiguration", "s3:GetReplicationConfiguration", "s3:ListBucket",
    "s3:ListTagsForResource", "s3:PutBucket*", "s3:PutEncryptionConfiguration", "s3:PutLifecycleConfiguration",
    "s3:PutReplicationConfiguration", "s3:TagResource", "s3:UntagResource",
)  # fmt: skip
_EMPTYING = ("s3:DeleteObject", "s3:DeleteObjectVersion", "s3:ListBucketVersions")
_KEYS = (
    "kms:CancelKeyDeletion", "kms:CreateAlias", "kms:DeleteAlias", "kms:DescribeKey", "kms:EnableKeyRotation",
    "kms:GetKeyPolicy", "kms:GetKeyRotationStatus", "kms:ListResourceTags", "kms:PutKeyPolicy", "kms:ReplicateKey",
    "kms:ScheduleKeyDeletion", "kms:TagResource", "kms:UntagResource", "kms:UpdateAlias", "kms:UpdateKeyDescription",
)  # fmt: skip
_SECRETS = (
    "secretsmanager:CancelRotateSecret", "secretsmanager:CreateSecret", "secretsmanager:DeleteResourcePolicy",
    "secretsmanager:DeleteSecret", "secretsmanager:DescribeSecret", "secretsmanager:GetResourcePolicy",
    "secretsmanager:ListSecretVersionIds", "secretsmanager:PutResourcePolicy", "secretsmanager:PutSecretValue",
    "secretsmanager:RemoveRegionsFromReplication", "secretsmanager:ReplicateSecretToRegions", "secretsmanager:RotateSecret",
    "secretsmanager:TagResource", "secretsmanager:UntagResource", "secretsmanager:UpdateSecret",
    "secretsmanager:UpdateSecretVersionStage", "secretsmanager:ValidateResourcePolicy",
)  # fmt: skip
_QUEUES = (
    "sqs:CreateQueue", "sqs:DeleteQueue", "sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ListQueueTags",
    "sqs:SetQueueAttributes", "sqs:TagQueue", "sqs:UntagQueue",
)  # fmt: skip
_LOG_GROUPS = (
    "logs:AssociateKmsKey", "logs:CreateLogGroup", "logs:DeleteLogGroup", "logs:ListTagsForResource",
    "logs:PutRetentionPolicy", "logs:TagResource", "logs:UntagResource",
)  # fmt: skip
_ROLES = (
    "iam:AttachRolePolicy", "iam:CreateRole", "iam:DeleteRolePolicy", "iam:DetachRolePolicy",
    "iam:PutRolePermissionsBoundary", "iam:PutRolePolicy",
)  # fmt: skip
_IDENTITIES = (
    "iam:CreateOpenIDConnectProvider", "iam:CreatePolicy", "iam:CreatePolicyVersion", "iam:DeleteOpenIDConnectProvider",
    "iam:DeletePolicy", "iam:DeletePolicyVersion", "iam:DeleteRole", "iam:GetOpenIDConnectProvider", "iam:GetPolicy",
    "iam:GetPolicyVersion", "iam:GetRole", "iam:GetRolePolicy", "iam:TagOpenIDConnectProvider", "iam:TagPolicy", "iam:TagRole",
    "iam:UntagOpenIDConnectProvider", "iam:UntagPolicy", "iam:UntagRole", "iam:UpdateAssumeRolePolicy",
    "iam:UpdateOpenIDConnectProviderThumbprint", "iam:UpdateRole", "iam:UpdateRoleDescription",
)  # fmt: skip
# Services that a role of ours is passed to.
_PASSED_TO = ("lambda.amazonaws.com", "s3.amazonaws.com", "vpc-flow-logs.amazonaws.com")


@dataclass(frozen=True, kw_only=True)
class DeliveryArgs:
    """Which repository delivers, and how far."""

    repository: str
    """As the subject of a token names it: `owner/name`, or with numbers, `owner@1/name@2`."""
    github_environment: str
    """Protected environment of that repository that alone may deploy."""
    keys: Mapping[str, contracts.Key]
    """The keys by domain."""
    values: Sequence[Text]
    """Secrets whose value stands encrypted in the stack's file, and is therefore written, and read back, by Pulumi."""
    boundary: contracts.Boundary


class Delivery(Component):
    """Two roles for GitHub Actions, without a key: `preview` reads how things are set up, `deploy` changes them.

    The preview role is for pull requests of the repository and its main branch; GitHub gives the workflow of a fork no token
    for it. The deploy role is for jobs that run in one protected GitHub environment, so that who may approve there decides
    what is deployed. It makes and changes what the program declares and carries the environment's name, roles only with the
    environment's boundary; it reads no object, no generated secret, and encrypts nothing but for the secrets' own service.

    Owns the OpenID Connect provider of the account, the two roles and their policies. Never owns the GitHub environment or
    the rights of the first deployment, which an administrator of the account makes.

    Costs nothing. A destroy takes away the role that a workflow is using: an administrator destroys, not the pipeline.

    >>> args = DeliveryArgs(
    ...     repository="acme/platform", github_environment="prod", keys={"secrets": key}, values=[], boundary=boundary
    ... )
    >>> role = Delivery("delivery", args, scope=scope, parent=parent).outputs.deploy
    """

    outputs: contracts.Delivery

    def __init__(self, name: str, args: DeliveryArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the provider and the roles."""
        super().__init__(name, scope, parent)
        self._args = args
        provider = aws.iam.OpenIdConnectProvider(
            f"{name}-github",
            url=f"https://{ISSUER}",
            # No thumbprint: AWS trusts this issuer by its certificate authority.
            client_id_lists=[AUDIENCE],
            opts=self.options(),
        )
        allowed = subjects(args.repository, args.github_environment)
        preview = self._role(
            "preview", provider.arn, allowed["preview"], "Previews of pull requests: reads how things are set up."
        )
        deploy = self._role(
            "deploy", provider.arn, allowed["deploy"], "Deployments from the protected GitHub environment."
        )
        self.outputs = contracts.Delivery(
            provider=provider.arn,
            preview=after(preview.arn, *self._attach("preview", preview, {"limits": self._limits()}, _READ_ONLY)),
            deploy=after(
                deploy.arn,
                *self._attach("deploy", deploy, {"platform": self._platform(), "identities": self._identities()}, ()),
            ),
        )
        self.finish(self.outputs)

    def _role(self, role: str, provider: Text, subject: Sequence[str], description: str) -> aws.iam.Role:
        trust = iam.allow(
            ["sts:AssumeRoleWithWebIdentity"],
            principals={"Federated": provider},
            when={"StringEquals": {f"{ISSUER}:aud": AUDIENCE, f"{ISSUER}:sub": list(subject)}},
        )
        return aws.iam.Role(
            f"{self.name}-{role}-role",
            name=self.scope.names.of(role, "iam_role"),
            description=description,
            assume_role_policy=pulumi.Output.json_dumps(iam.document(trust)),
            permissions_boundary=self._args.boundary.id,
            max_session_duration=3600 * (2 if role == "deploy" else 1),
            force_detach_policies=True,
            opts=self.options(),
        )

    def _attach(
        self, label: str, role: aws.iam.Role, own: Mapping[str, Sequence[iam.Statement]], others: Sequence[str]
    ) -> list[pulumi.Resource]:
        arns: dict[str, pulumi.Input[str]] = {arn.rpartition("/")[2]: arn for arn in others}
        for part, statements in own.items():
            arns[part] = aws.iam.Policy(
                f"{self.name}-{label}-{part}",
                name=self.scope.names.of(f"{label}-{part}", "iam_policy"),
                description=f"{label}: {part}",
                policy=pulumi.Output.json_dumps(iam.document(*statements)),
                opts=self.options(),
            ).arn
        return [
            aws.iam.RolePolicyAttachment(
                f"{self.name}-{label}-{part}-attached", role=role.name, policy_arn=arn, opts=self.options()
            )
            for part, arn in arns.items()
        ]

    def _limits(self) -> list[iam.Statement]:
        """What a preview never sees, whatever else its role is given."""
        scope = self.scope
        buckets = f"arn:aws:s3:::{scope.names.of('*', 'bucket')}"
        return [
            iam.deny(_CONTENTS, ["*"], sid="NoContents"),
            # By name and by key, for the state of Pulumi itself lies in a bucket of its own that a preview has to read.
            iam.deny(["s3:GetObject*"], [buckets], sid="NoObjects"),
            iam.deny(["kms:Decrypt"], [key.id for key in self._args.keys.values()], sid="NoKeys"),
        ]

    def _platform(self) -> list[iam.Statement]:
        args, scope = self._args, self.scope
        at, mine = f"{scope.region}:{scope.account}", scope.names.of("*")
        buckets = f"arn:aws:s3:::{scope.names.of('*', 'bucket')}"
        secrets = f"arn:aws:secretsmanager:*:{scope.account}:secret:{mine}"
        through = iam.via(scope.region, "lambda", "secretsmanager")
        statements = [
            iam.allow(_ANYWHERE, ["*"], sid="WhatHasNoNameYet"),
            iam.allow((*_BUCKETS, *(_EMPTYING if scope.deletable else ())), [buckets, f"{buckets}/*"], sid="Buckets"),
            iam.allow(
                _KEYS,
                [f"arn:aws:kms:*:{scope.account}:key/*", f"arn:aws:kms:*:{scope.account}:alias/{mine}"],
                sid="Keys",
            ),
            # Lambda keeps the environment of a function encrypted, and holds a grant for it.
            iam.allow(
                ["kms:CreateGrant", "kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"],
                [args.keys["secrets"].id],
                sid="KeyOfSecrets",
                when=through,
            ),
            iam.allow(["sns:*"], [f"arn:aws:sns:{at}:{mine}"], sid="Topics"),
            iam.allow(
                _QUEUES,
                [f"arn:aws:sqs:{at}:{mine}"],
                sid="Queues",
            ),
            iam.allow(["lambda:*"], [f"arn:aws:lambda:{at}:function:{mine}"], sid="Functions"),
            iam.allow(
                _LOG_GROUPS,
                [f"arn:aws:logs:{at}:log-group:/{mine}*", f"arn:aws:logs:{at}:log-group:/aws/lambda/{mine}*"],
                sid="LogGroups",
            ),
            iam.allow(_SECRETS, [secrets], sid="Secrets"),
        ]
        if args.values:
            # Pulumi reads back what it wrote, to see whether somebody changed it.
            statements.append(iam.allow(["secretsmanager:GetSecretValue"], args.values, sid="ValuesItWrote"))
        return statements

    def _identities(self) -> list[iam.Statement]:
        scope = self.scope
        at, mine = f"arn:aws:iam::{scope.account}", scope.names.of("*")
        roles = [f"{at}:role/{mine}"]
        return [
            iam.allow(
                _ROLES,
                roles,
                sid="RolesWithTheBoundary",
                when={"StringEquals": {"iam:PermissionsBoundary": self._args.boundary.id}},
            ),
            iam.allow(
                _IDENTITIES,
                [*roles, f"{at}:policy/{mine}", f"{at}:oidc-provider/{ISSUER}"],
                sid="RolesPoliciesProvider",
            ),
            iam.allow(
                ["iam:PassRole"],
                roles,
                sid="RolesForServices",
                when={"StringEquals": {"iam:PassedToService": list(_PASSED_TO)}},
            ),
            # Access Analyzer makes its own role with the first analyzer.
            iam.allow(
                ["iam:CreateServiceLinkedRole"],
                [f"{at}:role/aws-service-role/access-analyzer.amazonaws.com/*"],
                sid="RoleOfAccessAnalyzer",
                when={"StringEquals": {"iam:AWSServiceName": "access-analyzer.amazonaws.com"}},
            ),
        ]


def subjects(repository: str, environment: str) -> dict[str, list[str]]:
    """The subjects of GitHub's tokens that may take each role ("OpenID Connect reference: example subject claims").

    >>> subjects("acme/platform", "prod")["deploy"]
    ['repo:acme/platform:environment:prod']
    """
    return {
        "preview": [f"repo:{repository}:pull_request", f"repo:{repository}:ref:refs/heads/main"],
        "deploy": [f"repo:{repository}:environment:{environment}"],
    }
