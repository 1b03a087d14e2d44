"""Physical names: `{prefix}-{environment}-{name}`, never random, never a date."""

import hashlib
from dataclasses import dataclass

# The longest name that each kind allows. Sources: S3 "Bucket naming rules" (Cloud Storage has the same 63), IAM "quotas",
# KMS "Aliases", Secrets Manager "Quotas", Lambda "FunctionName", SNS "CreateTopic", Google Cloud IAM "Service accounts" (id),
# "Custom roles" (id), "Workload identity pools" (id), Compute "Naming resources" (RFC 1035), Pub/Sub "Resource names".
LIMITS = {
    "bucket": 63,
    "iam_role": 64,
    "iam_policy": 128,
    "kms_alias": 250,
    "secret": 255,
    "function": 63,
    "topic": 255,
    "budget": 60,
    "compute": 63,
    "service_account": 30,
    "custom_role": 64,
    "identity_pool": 32,
    # With a hyphen and a project's number of at most 19 digits it makes one label of a host name, which has 63.
    "run_service": 43,
    # GKE names instance templates `gke-{cluster}-{pool}-{hash}` and cuts each part; 32 of a pool's 40 characters stay apart.
    "node_pool": 32,
    # EKS "Quotas", "Create a managed node group": a cluster's name has 100 characters, a node group's 63.
    "cluster": 40,
    "node_group": 63,
    # SageMaker "CreateModelPackageGroup"; ECR "CreatePullThroughCacheRule", ecrRepositoryPrefix; EventBridge "PutRule"; Step
    # Functions "CreateStateMachine"; Signer "PutSigningProfile", where 64 leave 26 to the suffix that the provider adds.
    "model_group": 63,
    "pull_through": 30,
    "event_rule": 64,
    "state_machine": 80,
    "signing_profile": 37,
    # Batch "CreateJobQueue" and its like: 128, of which the provider's suffix of a compute environment takes 26.
    "batch": 102,
    # SageMaker "CreateDomain", "CreateUserProfile" and "CreateSpace"; "CreateMlflowApp"; "CreatePipeline"; EventBridge Scheduler
    # "CreateSchedule"; Workflows "projects.locations.workflows.create", workflowId.
    "studio": 63,
    "mlflow": 256,
    "pipeline": 256,
    "schedule": 64,
    "workflow": 64,
    # SQS "CreateQueue".
    "queue": 80,
    # SageMaker "CreateEndpoint"; "CreateModel" and "CreateEndpointConfig", where 63 leave 8 to the suffix that the engine adds;
    # "CreateTransformJob", where they leave 37 to an id.
    "endpoint": 63,
    "hosted": 55,
    "transform_job": 26,
    # Elastic Load Balancing "CreateLoadBalancer" and "CreateTargetGroup"; CodeDeploy "CreateDeploymentConfig" and its like.
    "balancer": 32,
    "deployment": 100,
    # SageMaker "CreateCluster", ClusterName.
    "hyperpod": 63,
    # Bedrock "CreateKnowledgeBase", "CreateDataSource"; S3 "Vector bucket naming rules" and those of vector indexes.
    "knowledge_base": 100,
    "vectors": 63,
    # API Gateway of Google Cloud, "Gateway" and "API config" ids: 49, of which a config's content takes 9.
    "api": 40,
    # RDS "CreateDBInstance", 63; Cloud SQL "Instance settings", 98 together with the project's id of at most 30 and a colon.
    "database": 63,
    # The Data API takes ARNs of 100 characters ("ExecuteStatement"): with the longest region, 48 of them come with every cluster,
    # and 65 with every secret.
    "data_api_cluster": 52,
    "data_api_secret": 35,
    # Bedrock "CreateGuardrail", "CreateInferenceProfile" and "CreateProvisionedModelThroughput"; Model Armor
    # "projects.locations.templates.create", templateId.
    "guardrail": 50,
    "inference_profile": 64,
    "provisioned_model": 63,
    "armor_template": 63,
    # ElastiCache "CreateServerlessCache" and "CreateUser", 40 each; Memorystore for Valkey, instanceId.
    "cache": 40,
    "valkey": 63,
    # IoT "CreateThingGroup", "CreatePolicy" and "CreateRoleAlias", 128 each; "CreateJobTemplate" and "CreateJob", where 64 leave
    # 9 to what tells two of a fleet apart.
    "fleet": 128,
    "roll_out": 55,
}
# A bucket's name is what people and policies write down, and its copy is called the same with this at the end.
REPLICA_SUFFIX = "-replica"


@dataclass(frozen=True)
class Names:
    """The names of one environment.

    >>> Names("acme-ai", "dev").of("raw")
    'acme-ai-dev-raw'
    """

    prefix: str
    environment: str

    def full(self, name: str) -> str:
        """The physical name of `name`, however long."""
        return f"{self.prefix}-{self.environment}-{name}"

    def of(self, name: str, kind: str = "topic") -> str:
        """The physical name of `name`. Where the kind's limit forces it, cut, with a short stable hash at its end.

        >>> Names("acme-ai", "staging-gcp").of("secret-rotation", "service_account")
        'acme-ai-staging-gcp-sec-1aacb3'
        """
        full = self.full(name)
        limit = LIMITS[kind]
        if len(full) <= limit:
            return full
        return f"{full[: limit - 7].rstrip('-')}-{hashlib.sha256(full.encode()).hexdigest()[:6]}"
