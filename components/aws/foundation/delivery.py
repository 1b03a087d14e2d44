"""How changes reach the environment: the identities of the continuous integration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components import contracts
from components.contracts import Text
from components.core import iam
from components.core.naming import LIMITS
from components.scope import Component, Scope, after

ISSUER = "token.actions.githubusercontent.com"
AUDIENCE = "sts.amazonaws.com"
_READ_ONLY = ("arn:aws:iam::aws:policy/SecurityAudit", "arn:aws:iam::aws:policy/job-function/ViewOnlyAccess")
# What those two policies, or whoever attaches a third, must never show to a pull request.
_CONTENTS = (
    "dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query", "dynamodb:Scan", "logs:FilterLogEvents", "logs:GetLogEvents",
    "logs:StartQuery", "secretsmanager:BatchGetSecretValue", "secretsmanager:GetSecretValue", "sqs:ReceiveMessage",
)  # fmt: skip

# What a preview compares that those two policies do not show (versions 85 and 43, 2026-03).
_SETTINGS = (
    "application-autoscaling:ListTagsForResource", "aps:DescribeScraper", "aps:ListTagsForResource", "batch:DescribeJobQueues",
    "batch:DescribeSchedulingPolicies", "batch:ListTagsForResource", "bedrock:GetDataSource", "bedrock:GetGuardrail",
    "bedrock:GetKnowledgeBase", "budgets:ListTagsForResource", "budgets:ViewBudget", "ce:ListCostAllocationTags",
    "cloudformation:DescribeType", "cloudformation:GetResource", "ecr:DescribePullThroughCacheRules",
    "ecr:DescribeRepositoryCreationTemplates", "eks:DescribeAccessEntry", "eks:DescribeAddon",
    "eks:DescribePodIdentityAssociation", "eks:DescribeUpdate", "eks:ListPodIdentityAssociations",
    "iot:GetIndexingConfiguration", "iot:GetTopicRule", "iot:GetV2LoggingOptions", "lambda:GetAlias",
    "lambda:GetEventSourceMapping", "lambda:GetFunction", "lambda:GetFunctionRecursionConfig",
    "lambda:GetProvisionedConcurrencyConfig", "s3vectors:GetIndex", "s3vectors:GetVectorBucket",
    "s3vectors:ListTagsForResource", "sagemaker:GetModelPackageGroupPolicy", "scheduler:GetSchedule*",
    "scheduler:ListTagsForResource", "signer:GetSigningProfile", "signer:ListTagsForResource", "sns:GetSubscriptionAttributes",
    "states:ListTagsForResource", "states:ValidateStateMachineDefinition",
)  # fmt: skip

# What the program declares, by service; a new kind of resource brings its actions here. "Service Authorization Reference" says
# which actions know a resource.
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
# The same of training, of which most have ids that nobody knows beforehand.
_TRAINING_ANYWHERE = (
    "autoscaling:Describe*", "batch:Describe*", "ec2:*LaunchTemplate*", "ec2:*PlacementGroup", "eks:CreateCluster",
    "fsx:Describe*", "logs:*ResourcePolic*", "rds:Describe*", "servicequotas:Get*", "servicequotas:List*",
    "servicequotas:RequestServiceQuotaIncrease",
)  # fmt: skip
_CLUSTERS = (
    "eks:*AccessEntry", "eks:*AccessPolicy", "eks:*Addon", "eks:*Cluster", "eks:*ClusterConfig", "eks:*ClusterVersion",
    "eks:*Nodegroup", "eks:*NodegroupConfig", "eks:*NodegroupVersion", "eks:*PodIdentityAssociation", "eks:*Resource",
    "eks:AssociateEncryptionConfig", "eks:DescribeUpdate", "eks:List*",
)  # fmt: skip
# Not batch:SubmitJob: a deployment makes queues, people and pipelines fill them.
_BATCH = (
    "batch:Create*", "batch:Delete*", "batch:DeregisterJobDefinition", "batch:ListTagsForResource",
    "batch:RegisterJobDefinition", "batch:TagResource", "batch:UntagResource", "batch:Update*",
)  # fmt: skip
_FILE_SYSTEMS = (
    "fsx:*DataRepositoryAssociation", "fsx:CreateFileSystem", "fsx:DeleteFileSystem", "fsx:ListTagsForResource",
    "fsx:TagResource", "fsx:UntagResource", "fsx:UpdateFileSystem",
)  # fmt: skip
_DATABASES = (
    "rds:*DBParameterGroup", "rds:*DBSubnetGroup", "rds:AddTagsToResource", "rds:CreateDBInstance", "rds:DeleteDBInstance",
    "rds:ListTagsForResource", "rds:ModifyDBInstance", "rds:RebootDBInstance", "rds:RemoveTagsFromResource",
)  # fmt: skip
# Each ends as it does: what opens a notebook, runs a pipeline or records an experiment is called otherwise.
_STUDIO = (
    "sagemaker:*Domain", "sagemaker:*MlflowApp", "sagemaker:*Pipeline", "sagemaker:*Space", "sagemaker:*UserProfile",
    "sagemaker:AddTags", "sagemaker:DeleteTags", "sagemaker:ListTags",
)  # fmt: skip
_REGISTRY_ANYWHERE = (
    "ecr:*PullThroughCacheRule*", "ecr:*RegistryScanningConfiguration", "ecr:*ReplicationConfiguration",
    "ecr:*RepositoryCreationTemplate*", "ecr:DescribeRegistry", "inspector2:Disable", "inspector2:Enable",
    "inspector2:ListAccountPermissions", "signer:PutSigningProfile", "states:ValidateStateMachineDefinition",
)  # fmt: skip
# Neither push nor pull.
_REPOSITORIES = (
    "ecr:*LifecyclePolicy", "ecr:*RepositoryPolicy", "ecr:CreateRepository", "ecr:DeleteRepository", "ecr:DescribeRepositories",
    "ecr:ListTagsForResource", "ecr:PutImageScanningConfiguration", "ecr:PutImageTagMutability", "ecr:TagResource",
    "ecr:UntagResource",
)  # fmt: skip
_SIGNERS = (
    "signer:CancelSigningProfile", "signer:GetSigningProfile", "signer:ListTagsForResource", "signer:TagResource",
    "signer:UntagResource",
)  # fmt: skip
_STATE_MACHINES = (
    "states:*StateMachine", "states:ListStateMachineVersions", "states:ListTagsForResource", "states:TagResource",
    "states:UntagResource",
)  # fmt: skip
_EVENT_RULES = (
    "events:*Rule", "events:*Targets", "events:ListTagsForResource", "events:ListTargetsByRule", "events:TagResource",
    "events:UntagResource",
)  # fmt: skip
# Neither a call of a function, but for those that start a release, nor an address of its own.
_FUNCTIONS = (
    "lambda:*Alias", "lambda:*FunctionConcurrency", "lambda:*FunctionEventInvokeConfig", "lambda:*Permission",
    "lambda:*ProvisionedConcurrencyConfig", "lambda:CreateFunction", "lambda:DeleteFunction", "lambda:Get*", "lambda:List*",
    "lambda:PublishVersion", "lambda:TagResource", "lambda:UntagResource", "lambda:UpdateFunctionCode",
    "lambda:UpdateFunctionConfiguration",
)  # fmt: skip
_SERVING_ANYWHERE = (
    "acm:ListCertificates", "acm:RequestCertificate", "application-autoscaling:*ScalableTarget*",
    "application-autoscaling:*ScalingPolic*", "application-autoscaling:ListTagsForResource",
    "application-autoscaling:TagResource", "application-autoscaling:UntagResource", "ecs:DeregisterTaskDefinition",
    "ecs:DescribeTaskDefinition", "elasticache:Describe*", "elasticloadbalancing:Describe*", "iot:*EventConfigurations",
    "iot:*IndexingConfiguration", "iot:*V2LoggingOptions", "logs:*LogDelivery", "logs:ListLogDeliveries", "route53:GetChange",
    "route53:ListHostedZones", "route53:ListHostedZonesByName",
)  # fmt: skip
# Not sagemaker:InvokeEndpoint, nor jobs.
_ENDPOINTS = (
    "sagemaker:AddTags", "sagemaker:CreateEndpoint", "sagemaker:CreateEndpointConfig", "sagemaker:CreateModel",
    "sagemaker:DeleteEndpoint", "sagemaker:DeleteEndpointConfig", "sagemaker:DeleteModel", "sagemaker:DeleteTags",
    "sagemaker:DescribeEndpoint", "sagemaker:DescribeEndpointConfig", "sagemaker:DescribeModel", "sagemaker:ListTags",
    "sagemaker:UpdateEndpoint", "sagemaker:UpdateEndpointWeightsAndCapacities",
)  # fmt: skip
_BALANCERS = (
    "elasticloadbalancing:*Listener", "elasticloadbalancing:*ListenerAttributes", "elasticloadbalancing:*ListenerCertificates",
    "elasticloadbalancing:*LoadBalancer", "elasticloadbalancing:*Rule", "elasticloadbalancing:*Tags",
    "elasticloadbalancing:*TargetGroup", "elasticloadbalancing:*Targets", "elasticloadbalancing:ModifyCapacityReservation",
    "elasticloadbalancing:ModifyLoadBalancerAttributes", "elasticloadbalancing:ModifyTargetGroupAttributes",
    "elasticloadbalancing:SetIpAddressType", "elasticloadbalancing:SetRulePriorities",
    "elasticloadbalancing:SetSecurityGroups", "elasticloadbalancing:SetSubnets", "elasticloadbalancing:SetWebAcl",
)  # fmt: skip
_FIREWALLS = (
    "wafv2:*LoggingConfiguration", "wafv2:*WebACL", "wafv2:GetWebACLForResource", "wafv2:ListTagsForResource",
    "wafv2:TagResource", "wafv2:UntagResource",
)  # fmt: skip
_CERTIFICATES = (
    "acm:AddTagsToCertificate", "acm:DeleteCertificate", "acm:DescribeCertificate", "acm:ListTagsForCertificate",
    "acm:RemoveTagsFromCertificate", "acm:UpdateCertificateOptions",
)  # fmt: skip
# Not codedeploy:CreateDeployment: releases are started by a function of their own.
_RELEASES = (
    "codedeploy:*Application", "codedeploy:*DeploymentConfig", "codedeploy:*DeploymentGroup", "codedeploy:ListTagsForResource",
    "codedeploy:TagResource", "codedeploy:UntagResource",
)  # fmt: skip
_COLLECTORS = (
    "aps:CreateScraper", "aps:DeleteScraper", "aps:DescribeScraper", "aps:ListTagsForResource", "aps:TagResource",
    "aps:UntagResource", "aps:UpdateScraper",
)  # fmt: skip
# Neither ecs:RunTask nor ecs:ExecuteCommand.
_CONTAINERS = (
    "ecs:*Cluster", "ecs:*Service", "ecs:DescribeClusters", "ecs:DescribeService*", "ecs:ListServiceDeployments",
    "ecs:ListTagsForResource", "ecs:RegisterTaskDefinition", "ecs:StopServiceDeployment", "ecs:TagResource",
    "ecs:UntagResource", "ecs:UpdateClusterSettings",
)  # fmt: skip
# Not elasticache:Connect.
_CACHES = (
    "elasticache:*ServerlessCache", "elasticache:*User", "elasticache:*UserGroup", "elasticache:AddTagsToResource",
    "elasticache:ListTagsForResource", "elasticache:RemoveTagsFromResource",
)  # fmt: skip
# A deployment makes templates of jobs; it starts none, and publishes nothing.
_FLEETS = (
    "iot:*JobTemplate", "iot:*RoleAlias", "iot:*ThingGroup", "iot:*ThingType", "iot:*TopicRule", "iot:CreatePolicy",
    "iot:CreatePolicyVersion", "iot:DeletePolicy", "iot:DeletePolicyVersion", "iot:GetPolicy", "iot:GetPolicyVersion",
    "iot:ListPolicyVersions", "iot:ListTagsForResource", "iot:ListTargetsForPolicy", "iot:SetDefaultPolicyVersion",
    "iot:TagResource", "iot:UntagResource",
)  # fmt: skip
_RETRIEVAL_ANYWHERE = (
    "bedrock:*ModelInvocationLoggingConfiguration", "bedrock:CreateGuardrail", "bedrock:CreateInferenceProfile",
    "bedrock:CreateKnowledgeBase", "bedrock:CreateProvisionedModelThroughput", "bedrock:ListGuardrails",
    "bedrock:ListKnowledgeBases",
)  # fmt: skip
# Neither a model is asked, nor a corpus, nor a guardrail.
_BEDROCK = (
    "bedrock:*DataSource", "bedrock:CreateGuardrailVersion", "bedrock:DeleteGuardrail", "bedrock:DeleteInferenceProfile",
    "bedrock:DeleteKnowledgeBase", "bedrock:DeleteProvisionedModelThroughput", "bedrock:GetGuardrail",
    "bedrock:GetInferenceProfile", "bedrock:GetKnowledgeBase", "bedrock:GetProvisionedModelThroughput",
    "bedrock:ListDataSources", "bedrock:ListTagsForResource", "bedrock:TagResource", "bedrock:UntagResource",
    "bedrock:UpdateGuardrail", "bedrock:UpdateKnowledgeBase", "bedrock:UpdateProvisionedModelThroughput",
)  # fmt: skip
# Of their ids nobody knows any beforehand.
_BEDROCK_KINDS = (
    "application-inference-profile", "guardrail", "inference-profile", "knowledge-base", "provisioned-model",
)  # fmt: skip
_VECTORS = (
    "s3vectors:*Index", "s3vectors:*VectorBucket", "s3vectors:ListIndexes", "s3vectors:ListTagsForResource",
    "s3vectors:TagResource", "s3vectors:UntagResource",
)  # fmt: skip
# Neither a statement, nor a password.
_CLUSTERS_OF_DATABASES = (
    "rds:*DBClusterParameterGroup", "rds:*DBSubnetGroup", "rds:*HttpEndpoint", "rds:AddTagsToResource", "rds:CreateDBCluster",
    "rds:CreateDBInstance", "rds:DeleteDBCluster", "rds:DeleteDBInstance", "rds:ListTagsForResource", "rds:ModifyDBCluster",
    "rds:ModifyDBInstance", "rds:RebootDBInstance", "rds:RemoveTagsFromResource",
)  # fmt: skip
_APIS = tuple(
    f"apigateway:{verb}" for verb in ("DELETE", "GET", "PATCH", "POST", "PUT", "TagResource", "UntagResource")
)
# Services that use a domain's key in the name of whoever makes something with it, for serving and retrieval.
_THROUGH: Mapping[str, tuple[str, ...]] = {
    "compute": ("lambda",), "data": ("bedrock", "elasticache", "s3vectors"), "models": ("bedrock",),
}  # fmt: skip
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
    "logs:*MetricFilter", "logs:AssociateKmsKey", "logs:CreateLogGroup", "logs:DeleteLogGroup", "logs:DescribeMetricFilters",
    "logs:ListTagsForResource", "logs:PutRetentionPolicy", "logs:TagResource", "logs:UntagResource",
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
# Services that a role of ours is passed to. Of the machines of node groups and compute environments it is not said whether EC2 or
# the service counts as who gets their role.
_PASSED_TO = (
    "batch.amazonaws.com", "bedrock.amazonaws.com", "codedeploy.amazonaws.com", "credentials.iot.amazonaws.com",
    "ec2.amazonaws.com", "ecr.amazonaws.com", "ecs.amazonaws.com", "ecs-tasks.amazonaws.com", "eks.amazonaws.com",
    "eks-nodegroup.amazonaws.com", "events.amazonaws.com", "iot.amazonaws.com", "lambda.amazonaws.com",
    "pods.eks.amazonaws.com", "s3.amazonaws.com", "sagemaker.amazonaws.com", "scheduler.amazonaws.com", "states.amazonaws.com",
    "vpc-flow-logs.amazonaws.com",
)  # fmt: skip
# A link of FSx to a bucket has a role of its own, which gets its rights in the name of whoever makes the link; else FSx writes
# itself into the bucket's policy ("Setting up", FSx for Lustre User Guide).
_LINKS = "s3.data-source.lustre.fsx.amazonaws.com"
_CLOUD_CONTROL = (
    "cloudformation:CancelResourceRequest", "cloudformation:CreateResource", "cloudformation:DeleteResource",
    "cloudformation:DescribeType", "cloudformation:GetResource", "cloudformation:GetResourceRequestStatus",
    "cloudformation:UpdateResource",
)  # fmt: skip
_HYPERPOD = (
    "sagemaker:AddTags", "sagemaker:BatchAddClusterNodes", "sagemaker:BatchDeleteClusterNodes", "sagemaker:CreateCluster",
    "sagemaker:DeleteCluster", "sagemaker:DeleteTags", "sagemaker:DescribeCluster", "sagemaker:ListTags",
    "sagemaker:UpdateCluster", "sagemaker:UpdateClusterSoftware",
)  # fmt: skip
# Services that make their own role with the first thing that is made of them. Not those of Auto Scaling and Spot: EKS and Batch
# make them (AWSServiceRoleForAmazonEKSNodegroup, BatchServiceRolePolicy), and Karpenter its own.
_LINKED_ROLES = (
    "access-analyzer.amazonaws.com", "batch.amazonaws.com", "ecs.amazonaws.com", "ecs.application-autoscaling.amazonaws.com",
    "eks-nodegroup.amazonaws.com", "eks.amazonaws.com", "elasticache.amazonaws.com", "elasticloadbalancing.amazonaws.com",
    "fsx.amazonaws.com", "hyperpod.sagemaker.amazonaws.com", "inspector2.amazonaws.com", "pullthroughcache.ecr.amazonaws.com",
    "rds.amazonaws.com", "replication.ecr.amazonaws.com", "sagemaker.amazonaws.com",
    "sagemaker.application-autoscaling.amazonaws.com", "scraper.aps.amazonaws.com", "servicequotas.amazonaws.com",
    "wafv2.amazonaws.com", _LINKS,
)  # fmt: skip


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
    environment's boundary; it reads no object, no image and no generated secret, starts no job, and uses a key only through a
    service that makes something with it.

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
            preview=after(
                preview.arn,
                *self._attach(
                    "preview",
                    preview,
                    {"limits": self._limits(), "settings": self._settings()},
                    _READ_ONLY,
                ),
            ),
            deploy=after(
                deploy.arn,
                *self._attach(
                    "deploy",
                    deploy,
                    # Apart, since a policy holds 6,144 characters.
                    {
                        "platform": self._platform(),
                        "training": self._training(),
                        "registry": self._registry(),
                        "serving": self._serving(),
                        "caches": self._caches_and_fleets(),
                        "retrieval": self._retrieval(),
                        "identities": self._identities(),
                    },
                    (),
                ),
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

    def _settings(self) -> list[iam.Statement]:
        return [
            iam.allow(_SETTINGS, ["*"], sid="Settings"),
            # Those two policies show what belongs to an API, and not the API itself.
            iam.allow(["apigateway:GET"], [f"arn:aws:apigateway:{self.scope.region}::/apis/*"], sid="Apis"),
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
            iam.allow(_FUNCTIONS, [f"arn:aws:lambda:{at}:function:{mine}"], sid="Functions"),
            iam.allow(
                _LOG_GROUPS,
                [
                    f"arn:aws:logs:{at}:log-group:/{mine}",
                    f"arn:aws:logs:{at}:log-group:/aws/*/{mine}",
                    # Names that SageMaker has for all of an account.
                    f"arn:aws:logs:{at}:log-group:/aws/sagemaker/*",
                    f"arn:aws:logs:{at}:log-group:/ecs/{mine}",
                    # WAF takes no group that is called otherwise; IoT has one for all of an account.
                    f"arn:aws:logs:{at}:log-group:aws-waf-logs-{self._cut('balancer')}",
                    f"arn:aws:logs:{at}:log-group:AWSIotLogsV2:*",
                ],
                sid="LogGroups",
            ),
            iam.allow(_SECRETS, [secrets], sid="Secrets"),
        ]
        if args.values:
            # Pulumi reads back what it wrote, to see whether somebody changed it.
            statements.append(iam.allow(["secretsmanager:GetSecretValue"], args.values, sid="ValuesItWrote"))
        return statements

    def _training(self) -> list[iam.Statement]:
        args, scope = self._args, self.scope
        at, mine = f"{scope.region}:{scope.account}", scope.names.of("*")
        sagemaker = f"arn:aws:sagemaker:{at}"
        keys = [key.id for key in args.keys.values()]
        return [
            iam.allow(_TRAINING_ANYWHERE, ["*"], sid="WhatHasNoNameYet"),
            iam.allow(
                _CLUSTERS,
                [
                    f"arn:aws:eks:{at}:cluster/{mine}",
                    *(
                        f"arn:aws:eks:{at}:{kind}/{mine}/*"
                        for kind in ("access-entry", "addon", "nodegroup", "podidentityassociation")
                    ),
                ],
                sid="Clusters",
            ),
            # EKS tries whether whoever makes a node group may start its machines.
            iam.allow(
                ["ec2:RunInstances"],
                ["*"],
                sid="MachinesOfTemplates",
                when={"ArnLike": {"ec2:LaunchTemplate": f"arn:aws:ec2:{at}:launch-template/*"}},
            ),
            iam.allow(
                ["autoscaling:DeleteScheduledAction", "autoscaling:PutScheduledUpdateGroupAction"],
                # What EKS calls the groups of its node groups.
                [f"arn:aws:autoscaling:{at}:autoScalingGroup:*:autoScalingGroupName/eks-{mine}"],
                sid="SchedulesOfBlocks",
            ),
            iam.allow(
                _BATCH,
                [
                    f"arn:aws:batch:{at}:{kind}/{mine}"
                    for kind in ("compute-environment", "job-definition", "job-queue", "scheduling-policy")
                ],
                sid="Batch",
            ),
            iam.allow(
                _FILE_SYSTEMS,
                [f"arn:aws:fsx:{at}:file-system/*", f"arn:aws:fsx:{at}:association/*"],
                sid="FileSystems",
            ),
            iam.allow(
                ["logs:CreateLogStream", "logs:PutLogEvents"],
                [f"arn:aws:logs:{at}:log-group:/aws/fsx/{mine}"],
                sid="LogOfFileSystems",
            ),
            iam.allow(
                _DATABASES,
                [
                    *(f"arn:aws:rds:{at}:{kind}:{mine}" for kind in ("db", "pg", "subgrp")),
                    f"arn:aws:rds:{at}:og:default:*",
                ],
                sid="Databases",
            ),
            # RDS makes and rotates the password, in the name of whoever makes the database ("Password management with RDS and
            # Secrets Manager").
            iam.allow(
                ["secretsmanager:CreateSecret", "secretsmanager:RotateSecret", "secretsmanager:TagResource"],
                [f"arn:aws:secretsmanager:{at}:secret:rds!db-*"],
                sid="PasswordsOfDatabases",
            ),
            iam.allow(
                _STUDIO,
                [
                    *(f"{sagemaker}:{kind}/*" for kind in ("domain", "mlflow-app", "space", "user-profile")),
                    f"{sagemaker}:pipeline/{mine}",
                ],
                sid="Studio",
            ),
            # HyperPod is made through Cloud Control, which takes no name, and asks for the rest in the caller's name.
            iam.allow(_CLOUD_CONTROL, ["*"], sid="CloudControl"),
            iam.allow(_HYPERPOD, [f"{sagemaker}:{kind}/*" for kind in ("cluster", "training-plan")], sid="HyperPod"),
            iam.allow(
                ["s3:DeleteObject", "s3:GetObject*", "s3:PutObject*"],
                [f"arn:aws:s3:::{scope.names.of('hyperpod-scripts', 'bucket')}/*"],
                sid="ScriptsOfMachines",
            ),
            iam.allow(
                ["scheduler:*Resource", "scheduler:*Schedule", "scheduler:*ScheduleGroup"],
                [f"arn:aws:scheduler:{at}:schedule-group/{mine}", f"arn:aws:scheduler:{at}:schedule/{mine}/{mine}"],
                sid="Schedules",
            ),
            iam.allow(
                ["cloudwatch:*Dashboard*"], [f"arn:aws:cloudwatch::{scope.account}:dashboard/{mine}"], sid="Dashboards"
            ),
            # File systems, databases, notebooks, schedules: made with a key of ours, by a service in the deployer's name.
            iam.allow(
                ["kms:Decrypt", "kms:GenerateDataKey*"],
                keys,
                sid="KeysThroughServices",
                when=iam.via(scope.region, "elasticfilesystem", "fsx", "rds", "s3", "sagemaker", "scheduler"),
            ),
        ]

    def _registry(self) -> list[iam.Statement]:
        args, scope = self._args, self.scope
        at, mine = f"{scope.region}:{scope.account}", scope.names.of("*")
        keys = [each for key in args.keys.values() for each in (key.id, key.replica) if each is not None]
        sagemaker = f"arn:aws:sagemaker:{at}"
        return [
            iam.allow(_REGISTRY_ANYWHERE, ["*"], sid="WhatHasNoNameYet"),
            iam.allow(
                _REPOSITORIES,
                # In the second region too.
                [f"arn:aws:ecr:*:{scope.account}:repository/{scope.names.full('').rstrip('-')}/*"],
                sid="Repositories",
            ),
            iam.allow(
                _SIGNERS,
                [f"arn:aws:signer:{at}:/signing-profiles/{mine.replace('-', '_')}"],
                sid="Signers",
            ),
            iam.allow(
                [
                    "sagemaker:*ModelPackageGroup",
                    "sagemaker:*ModelPackageGroupPolicy",
                    "sagemaker:AddTags",
                    "sagemaker:DeleteTags",
                    "sagemaker:ListTags",
                ],
                [f"{sagemaker}:model-package-group/{mine}"],
                sid="Models",
            ),
            # Charts that lie in copies of public registries are pulled by whoever deploys.
            iam.allow(["ecr:GetAuthorizationToken"], ["*"], sid="SignIn"),
            iam.allow(
                ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
                [f"arn:aws:ecr:{at}:repository/copies/*/charts/*"],
                sid="ChartsInCopies",
            ),
            iam.allow(_STATE_MACHINES, [f"arn:aws:states:{at}:stateMachine:{mine}"], sid="StateMachines"),
            iam.allow(_EVENT_RULES, [f"arn:aws:events:{at}:rule/{mine}"], sid="Rules"),
            # A service keeps a grant on the key of what it makes: repositories, the cluster's secrets, disks, file systems.
            iam.allow(
                ["kms:CreateGrant"], keys, sid="GrantsToServices", when={"Bool": {"kms:GrantIsForAWSResource": "true"}}
            ),
            iam.allow(["kms:RetireGrant"], keys, sid="GrantsEnd"),
        ]

    def _cut(self, kind: str) -> str:
        """What names of a kind begin with that are short, and therefore cut where they are too long."""
        return f"{self.scope.names.full('')[: LIMITS[kind] - 7]}*"

    def _serving(self) -> list[iam.Statement]:
        scope = self.scope
        at, mine, balancer = f"{scope.region}:{scope.account}", scope.names.of("*"), self._cut("balancer")
        functions, mappings = f"arn:aws:lambda:{at}:function:{mine}", f"arn:aws:lambda:{at}:event-source-mapping:*"
        balancers = f"arn:aws:elasticloadbalancing:{at}"
        return [
            iam.allow(_SERVING_ANYWHERE, ["*"], sid="WhatHasNoNameYet"),
            iam.allow(
                _ENDPOINTS,
                [f"arn:aws:sagemaker:{at}:{kind}/{mine}" for kind in ("endpoint", "endpoint-config", "model")],
                sid="Endpoints",
            ),
            iam.allow(
                _BALANCERS,
                [
                    *(f"{balancers}:{kind}/app/{balancer}" for kind in ("listener", "listener-rule", "loadbalancer")),
                    f"{balancers}:targetgroup/{balancer}",
                ],
                sid="LoadBalancers",
            ),
            iam.allow(
                _FIREWALLS,
                [
                    f"arn:aws:wafv2:{at}:regional/webacl/{balancer}",
                    f"arn:aws:wafv2:{at}:regional/managedruleset/*",
                    f"{balancers}:loadbalancer/app/{balancer}",
                ],
                sid="Firewalls",
            ),
            iam.allow(_CERTIFICATES, [f"arn:aws:acm:{at}:certificate/*"], sid="Certificates"),
            iam.allow(
                ["route53:GetHostedZone", "route53:ListResourceRecordSets", "route53:ListTagsForResource"],
                ["arn:aws:route53:::hostedzone/*"],
                sid="Zones",
            ),
            # Where a load balancer is, and what shows that a domain is ours; neither mail nor delegations.
            iam.allow(
                ["route53:ChangeResourceRecordSets"],
                ["arn:aws:route53:::hostedzone/*"],
                sid="Records",
                when={
                    "ForAllValues:StringEquals": {"route53:ChangeResourceRecordSetsRecordTypes": ["A", "AAAA", "CNAME"]}
                },
            ),
            iam.allow(
                _RELEASES,
                [
                    f"arn:aws:codedeploy:{at}:{kind}:{mine}"
                    for kind in ("application", "deploymentconfig", "deploymentgroup")
                ],
                sid="Releases",
            ),
            iam.allow(
                _CONTAINERS,
                [
                    f"arn:aws:ecs:{at}:{kind}/{mine}"
                    for kind in ("cluster", "service", "service-deployment", "service-revision", "task-definition")
                ],
                sid="Containers",
            ),
            iam.allow(
                ["lambda:*EventSourceMapping"],
                ["*"],
                sid="Mappings",
                when={"ArnLike": {"lambda:FunctionArn": functions}},
            ),
            iam.allow(["lambda:ListTags", "lambda:TagResource", "lambda:UntagResource"], [mappings], sid="TheirTags"),
            # The program calls the function that starts a release, once a version, and that which gives services back, before
            # these go.
            iam.allow(
                ["lambda:InvokeFunction"], [f"{functions}-starter", f"{functions}-ceilings"], sid="StartsReleases"
            ),
        ]

    def _caches_and_fleets(self) -> list[iam.Statement]:
        scope = self.scope
        at, mine, cache = f"{scope.region}:{scope.account}", scope.names.of("*"), self._cut("cache")
        fleets = ("jobtemplate", "policy", "rolealias", "thinggroup", "thingtype")
        return [
            # It is made for a cluster, and has an id that nobody knows beforehand.
            iam.allow(
                _COLLECTORS,
                [
                    f"arn:aws:aps:{at}:scraper/*",
                    f"arn:aws:eks:{at}:cluster/{mine}",
                    f"arn:aws:cloudwatch:{at}:dataset/default",
                ],
                sid="CollectorsOfMetrics",
            ),
            iam.allow(
                _CACHES,
                [f"arn:aws:elasticache:{at}:{kind}:{cache}" for kind in ("serverlesscache", "user", "usergroup")],
                sid="Caches",
            ),
            iam.allow(
                _FLEETS,
                [
                    *(f"arn:aws:iot:{at}:{kind}/{mine}" for kind in fleets),
                    # Rules have no hyphens.
                    f"arn:aws:iot:{at}:rule/{mine.replace('-', '_')}",
                ],
                sid="Fleets",
            ),
        ]

    def _retrieval(self) -> list[iam.Statement]:
        args, scope = self._args, self.scope
        at = f"{scope.region}:{scope.account}"
        apis = f"arn:aws:apigateway:{scope.region}::"
        return [
            iam.allow(_RETRIEVAL_ANYWHERE, ["*"], sid="WhatHasNoNameYet"),
            iam.allow(_BEDROCK, [f"arn:aws:bedrock:{at}:{kind}/*" for kind in _BEDROCK_KINDS], sid="Bedrock"),
            iam.allow(
                _VECTORS,
                [f"arn:aws:s3vectors:{at}:bucket/{scope.names.of('*', 'vectors')}"],
                sid="Vectors",
            ),
            iam.allow(_APIS, [f"{apis}/apis", f"{apis}/apis/*", f"{apis}/tags/*"], sid="Apis"),
            iam.allow(
                _CLUSTERS_OF_DATABASES,
                [
                    *(
                        f"arn:aws:rds:{at}:{kind}:{scope.names.of('corpora*')}"
                        for kind in ("cluster", "cluster-pg", "db", "subgrp")
                    ),
                    # Of an instance that names none.
                    *(f"arn:aws:rds:{at}:{kind}:default*" for kind in ("og", "pg")),
                ],
                sid="DatabaseOfCorpora",
            ),
            # RDS makes and rotates its owner's password, in the name of whoever makes the cluster.
            iam.allow(
                ["secretsmanager:CreateSecret", "secretsmanager:RotateSecret", "secretsmanager:TagResource"],
                [f"arn:aws:secretsmanager:{at}:secret:rds!cluster-*"],
                sid="PasswordOfItsOwner",
            ),
            # The program calls the function that makes tables, once a corpus.
            iam.allow(
                ["lambda:InvokeFunction"],
                [f"arn:aws:lambda:{at}:function:{scope.names.of('corpora-tables', 'function')}"],
                sid="MakesTables",
            ),
            *(
                iam.allow(
                    ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey*"],
                    [args.keys[domain].id],
                    sid=f"KeyOf{domain.capitalize()}",
                    when=iam.via(scope.region, *services),
                )
                for domain, services in _THROUGH.items()
                if domain in args.keys
            ),
        ]

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
            iam.allow(
                ["iam:*InstanceProfile"],
                [f"{at}:instance-profile/{mine}"],
                sid="ProfilesOfMachines",
            ),
            iam.allow(
                ["iam:CreateServiceLinkedRole"],
                [f"{at}:role/aws-service-role/*"],
                sid="RolesOfServices",
                when={"StringEquals": {"iam:AWSServiceName": list(_LINKED_ROLES)}},
            ),
            # EKS looks whether they are there, as whoever makes a cluster or a node group.
            iam.allow(["iam:GetRole"], [f"{at}:role/aws-service-role/*"], sid="LookForRolesOfServices"),
            iam.allow(
                ["iam:AttachRolePolicy", "iam:PutRolePolicy"],
                [f"{at}:role/aws-service-role/{_LINKS}/*"],
                sid="RolesOfLinks",
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
