"""The rules on the real environments: they hold, and each fault that is put in is found."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import pytest

from policies.finding import Finding
from policies.model import Graph, Resource
from policies.registry import evaluate
from tests.conftest import STACKS, graph

ANYBODY = '{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}}'
EVERYTHING = '{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}'
ANY_SERVICE = (
    '{"Statement": {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}}'
)
ANY_REPOSITORY = (
    '{"Statement": {"Effect": "Allow", "Principal": {"Federated": "arn:aws:iam::333333333333:oidc-provider/x"},'
    ' "Action": "sts:AssumeRoleWithWebIdentity", "Condition": {"StringLike": {"x:aud": "y", "x:sub": "repo:acme/*"}}}}'
)


@dataclass(frozen=True)
class Fault:
    """What is done to every resource of a type: it goes, or its inputs or attributes change."""

    rule: str
    type: str
    inputs: dict[str, Any] = field(default_factory=dict[str, Any])
    attributes: dict[str, Any] = field(default_factory=dict[str, Any])
    goes: bool = False

    def put_in(self, graph: Graph) -> Graph:
        hit = [r for r in graph.resources.values() if r.type == self.type]
        assert hit, f"no {self.type} in {graph.stack}"
        resources = {u: self._changed(r) if r in hit else r for u, r in graph.resources.items()}
        return replace(graph, resources={u: r for u, r in resources.items() if not (self.goes and r.type == self.type)})

    def _changed(self, resource: Resource) -> Resource:
        inputs = {k: v for k, v in {**resource.inputs, **self.inputs}.items() if v is not None}
        return replace(resource, inputs=inputs, **self.attributes)


def gone(rule: str, type_: str) -> Fault:
    return Fault(rule, type_, goes=True)


def given(rule: str, type_: str, **inputs: Any) -> Fault:
    return Fault(rule, type_, inputs=inputs)


EKS, GKE = "aws:eks/cluster:Cluster", "gcp:container/cluster:Cluster"
TEMPLATE, NODE_POOL = "aws:ec2/launchTemplate:LaunchTemplate", "gcp:container/nodePool:NodePool"
KARPENTER = "kubernetes:karpenter.sh/v1:NodePool"
QUEUE, FLAVOR = (f"kubernetes:kueue.x-k8s.io/v1beta2:{kind}" for kind in ("ClusterQueue", "ResourceFlavor"))
ROLE = "kubernetes:rbac.authorization.k8s.io/v1:ClusterRole"
RELEASE, NAMESPACE, JOB = "kubernetes:helm.sh/v3:Release", "kubernetes:core/v1:Namespace", "kubernetes:batch/v1:Job"

STORAGE_CLASS = "kubernetes:storage.k8s.io/v1:StorageClass"

# What holds in a cluster, whichever cloud it is on.
INSIDE = [
    gone("cluster-volumes-encrypted", STORAGE_CLASS),
    given("chart-pinned", RELEASE, version=None),
    given("image-pinned", JOB, spec={"containers": [{"image": "kubectl"}]}),
    given("isolation-cluster-pinned", "pulumi:providers:kubernetes", clusterIdentifier=None),
    given("job-timeout", JOB, spec={}),
    Fault("cluster-teardown", NAMESPACE, attributes={"deleted_with": "it"}),
    given("namespace-pod-security", NAMESPACE, metadata={"name": "open"}),
    gone("queue-bounded", "kubernetes:kueue.x-k8s.io/v1beta2:Cohort"),
    gone("queue-complete", FLAVOR),
    gone("queue-complete", QUEUE),
    given("queue-not-bypassed", RELEASE, values={}),
    given("queue-reclaims", QUEUE, spec={"cohortName": "team-vision"}),
    given(
        "rbac-no-admin", "kubernetes:rbac.authorization.k8s.io/v1:ClusterRoleBinding", roleRef={"name": "cluster-admin"}
    ),
    given("rbac-no-escalation", ROLE, rules=[{"resources": ["secrets"], "verbs": ["get"]}]),
    given("rbac-no-wildcard", ROLE, rules=[{"resources": ["*"], "verbs": ["get"]}]),
    gone("tenant-admission", "kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicyBinding"),
    gone("tenant-fenced", "kubernetes:core/v1:LimitRange"),
    gone("tenant-fenced", "kubernetes:core/v1:ResourceQuota"),
    gone("tenant-fenced", "kubernetes:networking.k8s.io/v1:NetworkPolicy"),
    given("token-not-mounted", "kubernetes:core/v1:ServiceAccount", automountServiceAccountToken=None),
    given("workload-limits", JOB, spec={"containers": [{"image": "kubectl"}]}),
    given("workload-no-host", JOB, spec={"containers": [{"name": "main"}], "hostNetwork": True}),
    given("workload-unprivileged", JOB, spec={"containers": [{"name": "main"}]}),
    gone("spot-retried", FLAVOR),
]

AWS = [
    gone("cluster-images-signed", "kubernetes:kyverno.io/v1:ClusterPolicy"),
    *INSIDE,
    given("pipeline-readable", "aws:sagemaker/pipeline:Pipeline", pipelineDefinition="{}"),
    given("pipeline-own-identity", "aws:sagemaker/pipeline:Pipeline", roleArn=None),
    given("cluster-identities", EKS, accessConfig=None),
    given("cluster-logs", EKS, enabledClusterLogTypes=["api"]),
    gone("cluster-logs", "aws:cloudwatch/logGroup:LogGroup"),
    Fault("cluster-logs", EKS, attributes={"dependencies": ()}),
    gone("cluster-network-policy", "aws:eks/addon:Addon"),
    given("cluster-pinned", "aws:eks/addon:Addon", addonVersion=None),
    given("cluster-pinned", "aws:eks/nodeGroup:NodeGroup", releaseVersion=None),
    given(
        "cluster-private-endpoint", EKS, vpcConfig={"endpointPrivateAccess": True, "publicAccessCidrs": ["10.0.0.0/8"]}
    ),
    given("cluster-secrets-encrypted", EKS, encryptionConfig=None),
    Fault("cluster-teardown", KARPENTER, attributes={"deleted_with": "it"}),
    given("encryption-own-key", EKS, encryptionConfig=None),
    given("encryption-own-key", TEMPLATE, blockDeviceMappings=None),
    given("encryption-own-key", "aws:ecr/repository:Repository", encryptionConfigurations=None),
    given("encryption-own-key", "kubernetes:karpenter.k8s.aws/v1:EC2NodeClass", spec={}),
    given("encryption-own-key", "kubernetes:storage.k8s.io/v1:StorageClass", parameters={}),
    gone("image-clean-up", "aws:ecr/lifecyclePolicy:LifecyclePolicy"),
    given("image-immutable", "aws:ecr/repository:Repository", imageTagMutability="MUTABLE"),
    given("machine-metadata", TEMPLATE, metadataOptions={"httpTokens": "optional"}),
    given("network-no-public-address", TEMPLATE, networkInterfaces=[{"associatePublicIpAddress": "true"}]),
    given("pool-tainted", KARPENTER, spec={"limits": {"nvidia.com/gpu": "8"}}),
    given("prod-protection", EKS, deletionProtection=False),
    given("registry-private", "aws:ecr/repositoryPolicy:RepositoryPolicy", policy=ANYBODY),
    given("identity-no-anonymous", "aws:ecr/repositoryPolicy:RepositoryPolicy", policy=ANYBODY),
    given("scale-ceiling", "aws:eks/nodeGroup:NodeGroup", scalingConfig={}),
    given("scale-ceiling", KARPENTER, spec={}),
    gone("account-defaults", "aws:accessanalyzer/analyzer:Analyzer"),
    gone("account-defaults", "aws:ebs/encryptionByDefault:EncryptionByDefault"),
    gone("account-defaults", "aws:s3/accountPublicAccessBlock:AccountPublicAccessBlock"),
    given("alarm-reaches-somebody", "aws:cloudwatch/metricAlarm:MetricAlarm", alarmActions=None),
    gone("bucket-access-log", "aws:s3/bucketLogging:BucketLogging"),
    gone("bucket-lifecycle", "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"),
    gone("bucket-no-acl", "aws:s3/bucketOwnershipControls:BucketOwnershipControls"),
    gone("bucket-private", "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"),
    gone("bucket-tls", "aws:s3/bucketPolicy:BucketPolicy"),
    given("bucket-tls", "aws:s3/bucketPolicy:BucketPolicy", policy=EVERYTHING),
    gone("bucket-versioned", "aws:s3/bucketVersioning:BucketVersioning"),
    gone("budget-exists", "aws:budgets/budget:Budget"),
    given("budget-warns", "aws:budgets/budget:Budget", notifications=[]),
    given("delivery-bound", "aws:iam/role:Role", assumeRolePolicy=ANY_REPOSITORY),
    given("document-no-null", "aws:kms/key:Key", policy='{"Statement": [null]}'),
    given("document-readable", "aws:iam/role:Role", assumeRolePolicy="?"),
    gone(
        "encryption-own-key", "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
    ),
    given("encryption-own-key", "aws:cloudwatch/logGroup:LogGroup", kmsKeyId=None),
    given("encryption-own-key", "aws:secretsmanager/secret:Secret", kmsKeyId="alias/aws/secretsmanager"),
    given("encryption-own-key", "aws:sns/topic:Topic", kmsMasterKeyId="alias/aws/sns"),
    given("function-private", "aws:lambda/permission:Permission", sourceAccount=None, sourceArn=None),
    given("function-runtime", "aws:lambda/function:Function", runtime="python3.9"),
    given("identity-bounded", "aws:iam/role:Role", permissionsBoundary=None),
    given(
        "identity-decrypt-named", "aws:iam/rolePolicy:RolePolicy", policy=EVERYTHING.replace('"*", "R', '"kms:*", "R')
    ),
    given("identity-no-anonymous", "aws:sns/topicPolicy:TopicPolicy", policy=ANYBODY),
    given("identity-no-anonymous", "aws:kms/key:Key", policy=ANYBODY),
    given(
        "identity-no-escalation", "aws:iam/rolePolicy:RolePolicy", policy=EVERYTHING.replace('"*", "R', '"iam:*", "R')
    ),
    given("identity-no-full-admin", "aws:iam/rolePolicy:RolePolicy", policy=EVERYTHING),
    given(
        "identity-no-service-admin", "aws:iam/rolePolicy:RolePolicy", policy=EVERYTHING.replace('"*", "R', '"s3:*", "R')
    ),
    given("identity-source-named", "aws:iam/role:Role", assumeRolePolicy=ANY_SERVICE),
    Fault("isolation-explicit-provider", "aws:ec2/vpc:Vpc", attributes={"provider": ""}),
    given("isolation-jurisdiction", "aws:s3/bucket:Bucket", region="eu-central-1"),
    given("isolation-named", "aws:s3/bucket:Bucket", bucket="acme-ai-raw"),
    given("isolation-no-foreign", "aws:sns/topicPolicy:TopicPolicy", policy='{"Principal": "111111111111"}'),
    given("isolation-provider-pinned", "pulumi:providers:aws", allowedAccountIds=None),
    given("key-administrable", "aws:kms/key:Key", policy=None),
    given("key-rotation", "aws:kms/key:Key", enableKeyRotation=False),
    given("log-retention", "aws:cloudwatch/logGroup:LogGroup", retentionInDays=None),
    given(
        "network-closed", "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", cidrIpv4="0.0.0.0/0", fromPort=22
    ),
    gone("network-default-closed", "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"),
    gone("network-flow-logs", "aws:ec2/flowLog:FlowLog"),
    gone("network-no-public-address", "aws:ec2/natGateway:NatGateway"),
    given("network-no-public-address", "aws:ec2/subnet:Subnet", mapPublicIpOnLaunch=True),
    gone("network-private-apis", "aws:ec2/vpcEndpoint:VpcEndpoint"),
    given("prod-egress", "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule", cidrIpv4="0.0.0.0/0"),
    given("prod-key-deletion", "aws:kms/key:Key", deletionWindowInDays=7),
    given("prod-log-retention", "aws:cloudwatch/logGroup:LogGroup", retentionInDays=30),
    given("prod-protection", "aws:s3/bucket:Bucket", forceDestroy=True),
    Fault("prod-protection", "aws:s3/bucket:Bucket", attributes={"protect": False}),
    Fault("prod-protection", "aws:kms/key:Key", attributes={"retain_on_delete": False}),
    given("secret-not-in-clear", "aws:lambda/function:Function", environment={"variables": {"HUB_TOKEN": "x"}}),
    gone("secret-rotates", "aws:secretsmanager/secretRotation:SecretRotation"),
    given("tags-common", "pulumi:providers:aws", defaultTags={}),
    given("tags-not-overridden", "aws:s3/bucket:Bucket", tags={"environment": "dev"}),
]

ENDPOINT, CONFIGURATION = "aws:sagemaker/endpoint:Endpoint", "aws:sagemaker/endpointConfiguration:EndpointConfiguration"
FUNCTION, LISTENER = "aws:lambda/function:Function", "aws:lb/listener:Listener"
BALANCER, WEB_ACL = "aws:lb/loadBalancer:LoadBalancer", "aws:wafv2/webAcl:WebAcl"
METRIC_ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"

# What answers requests.
SERVING = [
    given("alarm-reaches-somebody", METRIC_ALARM, alarmActions=[]),
    given("corpus-forgets", "aws:bedrock/agentDataSource:AgentDataSource", dataDeletionPolicy="RETAIN"),
    given(
        "corpus-forgets",
        "aws:cloudwatch/eventRule:EventRule",
        eventPattern='{"detail-type": ["Object Created"], "detail": {"object": {"key": [{"prefix": "documents/"}]}}}',
    ),
    given("corpus-narrow", "aws:iam/rolePolicy:RolePolicy", policy=EVERYTHING),
    given("encryption-own-key", CONFIGURATION, kmsKeyArn="alias/aws/ebs"),
    given("encryption-own-key", FUNCTION, kmsKeyArn=None),
    given("encryption-own-key", "aws:bedrock/guardrail:Guardrail", kmsKeyArn=None),
    given("encryption-own-key", "aws:s3/vectorsVectorBucket:VectorsVectorBucket", encryptionConfigurations=None),
    given(
        "endpoint-output-ours", CONFIGURATION, dataCaptureConfig={"enableCapture": True, "destinationS3Uri": "s3://a"}
    ),
    gone("endpoint-watched", METRIC_ALARM),
    given("function-in-network", FUNCTION, vpcConfig=None),
    given("function-in-time", FUNCTION, timeout=900),
    given("function-own-identity", FUNCTION, role="${urn:pulumi:prod::ai-platform::aws:iam/role:Role::one#arn}"),
    given("function-private", "aws:lambda/permission:Permission", principal="*", sourceAccount=None, sourceArn=None),
    given("function-traced", FUNCTION, tracingConfig=None),
    given("gateway-authenticated", "aws:lb/listenerRule:ListenerRule", actions=[{"type": "forward", "forward": {}}]),
    given("gateway-authenticated", LISTENER, defaultActions=[{"type": "forward"}]),
    gone("gateway-firewalled", "aws:wafv2/webAclAssociation:WebAclAssociation"),
    given("gateway-firewalled", WEB_ACL, rules=[]),
    given("gateway-hardened", BALANCER, enableDeletionProtection=False),
    given("gateway-logged", BALANCER, accessLogs=None),
    gone("gateway-logged", "aws:wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration"),
    given("gateway-only-door", BALANCER, loadBalancerType="network"),
    given("gateway-tls", LISTENER, sslPolicy="ELBSecurityPolicy-2016-08"),
    given("guardrail-strict", "aws:bedrock/guardrail:Guardrail", contentPolicyConfig=None),
    gone("guardrail-versioned", "aws:bedrock/guardrailVersion:GuardrailVersion"),
    given("image-own", FUNCTION, imageUri="public.ecr.aws/lambda/python:3.13"),
    given("image-pinned", "aws:sagemaker/model:Model", primaryContainer={"image": "a:latest"}),
    given("ingestion-loses-nothing", "aws:lambda/eventSourceMapping:EventSourceMapping", functionResponseTypes=None),
    given("model-isolated", "aws:sagemaker/model:Model", enableNetworkIsolation=None),
    given(
        "prompt-guarded",
        "aws:iam/rolePolicy:RolePolicy",
        policy=EVERYTHING.replace('"*", "R', '"bedrock:InvokeModel", "R'),
    ),
    gone("prompt-logged", "aws:bedrockmodel/invocationLoggingConfiguration:InvocationLoggingConfiguration"),
    gone("release-taken-back", METRIC_ALARM),
    gone("release-taken-back", "aws:codedeploy/deploymentGroup:DeploymentGroup"),
    Fault("release-taken-back", ENDPOINT, attributes={"dependencies": ()}),
    given("scale-ceiling", FUNCTION, reservedConcurrentExecutions=None),
    given("scale-ceiling", "aws:appautoscaling/target:Target", maxCapacity=None),
]

GCP = [
    *INSIDE,
    given("cluster-identities", GKE, workloadIdentityConfig=None),
    given("cluster-images-signed", GKE, binaryAuthorization=None),
    given("cluster-logs", GKE, loggingConfig=None),
    given("cluster-network-policy", GKE, datapathProvider=None),
    given("cluster-nodes-hardened", NODE_POOL, nodeConfig={}),
    given("cluster-private-endpoint", GKE, privateClusterConfig=None, controlPlaneEndpointsConfig=None),
    given("cluster-private-nodes", NODE_POOL, networkConfig={"enablePrivateNodes": False}),
    given("cluster-secrets-encrypted", GKE, databaseEncryption=None),
    given("cluster-upgrades", GKE, maintenancePolicy=None),
    given("cluster-upgrades", NODE_POOL, management={}),
    given("encryption-own-key", GKE, databaseEncryption=None),
    given("encryption-own-key", NODE_POOL, nodeConfig={}),
    given("image-clean-up", "gcp:artifactregistry/repository:Repository", cleanupPolicies=[]),
    given("image-immutable", "gcp:artifactregistry/repository:Repository", dockerConfig=None),
    gone("image-scanned", "gcp:projects/service:Service"),
    given(
        "image-vouched-for",
        "gcp:binaryauthorization/policy:Policy",
        defaultAdmissionRule={"evaluationMode": "ALWAYS_ALLOW"},
    ),
    given("pool-driver-owner", NODE_POOL, nodeConfig={"guestAccelerators": [{"type": "nvidia-l4"}]}),
    given("pool-one-market", NODE_POOL, nodeConfig={"spot": True}),
    given("pool-tainted", NODE_POOL, nodeConfig={"guestAccelerators": [{"type": "nvidia-l4"}]}),
    given("prod-log-retention", "gcp:logging/projectBucketConfig:ProjectBucketConfig", retentionDays=30),
    given("prod-protection", GKE, deletionProtection=False),
    given("scale-ceiling", NODE_POOL, autoscaling=None),
    given("bucket-no-acl", "gcp:storage/bucket:Bucket", uniformBucketLevelAccess=False),
    given("bucket-private", "gcp:storage/bucket:Bucket", publicAccessPrevention="inherited"),
    given("bucket-versioned", "gcp:storage/bucket:Bucket", versioning={"enabled": False}),
    given("bucket-lifecycle", "gcp:storage/bucket:Bucket", lifecycleRules=[]),
    gone("budget-exists", "gcp:billing/budget:Budget"),
    given("budget-warns", "gcp:billing/budget:Budget", thresholdRules=[]),
    given(
        "delivery-bound",
        "gcp:iam/workloadIdentityPoolProvider:WorkloadIdentityPoolProvider",
        attributeCondition="assertion.repository_owner == 'acme'",
    ),
    given("encryption-own-key", "gcp:pubsub/topic:Topic", kmsKeyName=None),
    given("encryption-own-key", "gcp:secretmanager/secret:Secret", replication={"auto": {}}),
    given("encryption-own-key", "gcp:storage/bucket:Bucket", encryption=None),
    gone("identity-bounded", "gcp:iam/denyPolicy:DenyPolicy"),
    given(
        "identity-decrypt-named",
        "gcp:projects/iAMMember:IAMMember",
        role="roles/cloudkms.cryptoKeyDecrypter",
        member="group:a",
    ),
    given("identity-no-anonymous", "gcp:kms/cryptoKeyIAMMember:CryptoKeyIAMMember", member="allUsers"),
    given(
        "identity-no-escalation",
        "gcp:projects/iAMMember:IAMMember",
        role="roles/iam.serviceAccountUser",
        member="group:a",
    ),
    given("identity-no-full-admin", "gcp:projects/iAMMember:IAMMember", role="roles/editor"),
    given(
        "identity-no-service-admin",
        "gcp:projects/iAMMember:IAMMember",
        role="roles/storage.admin",
        member="serviceAccount:a",
    ),
    given("isolation-jurisdiction", "gcp:storage/bucket:Bucket", location="EU"),
    given("isolation-named", "gcp:storage/bucket:Bucket", name="acme-ai-raw"),
    given("isolation-no-foreign", "gcp:pubsub/topic:Topic", kmsKeyName="projects/acme-ai-dev/locations/us"),
    given(
        "isolation-one-number",
        "gcp:kms/cryptoKeyIAMMember:CryptoKeyIAMMember",
        member="serviceAccount:service-123456@gcp-sa-x",
    ),
    given("isolation-provider-pinned", "pulumi:providers:gcp", project=None),
    given("key-rotation", "gcp:kms/cryptoKey:CryptoKey", rotationPeriod=None),
    given("network-default-closed", "gcp:compute/network:Network", autoCreateSubnetworks=True),
    given("network-flow-logs", "gcp:compute/subnetwork:Subnetwork", logConfig=None),
    given("network-private-apis", "gcp:compute/subnetwork:Subnetwork", privateIpGoogleAccess=False),
    gone("prod-egress", "gcp:compute/networkFirewallPolicyAssociation:NetworkFirewallPolicyAssociation"),
    given("prod-key-deletion", "gcp:kms/cryptoKey:CryptoKey", destroyScheduledDuration="86400s"),
    Fault("prod-protection", "gcp:storage/bucket:Bucket", attributes={"protect": False}),
    given("secret-rotates", "gcp:secretmanager/secret:Secret", rotation=None),
    given("tags-common", "pulumi:providers:gcp", defaultLabels={}),
]


@pytest.mark.parametrize("preview", [False, True], ids=["known", "first preview"])
@pytest.mark.parametrize("stack", STACKS)
def test_nothing_stops_an_environment(stack: str, preview: bool, graphs: Callable[..., Graph]):
    assert [f for f in evaluate(graphs(stack, preview=preview)) if f.blocking] == []


@pytest.mark.no_cover  # each rule is covered by its own cases, and to trace them all here takes as long again
@pytest.mark.parametrize(
    ("stack", "fault"),
    [("prod", fault) for fault in (*AWS, *SERVING)] + [("prod-gcp", fault) for fault in GCP],
    ids=lambda value: f"{value.rule} {value.type}" if isinstance(value, Fault) else value,
)
def test_a_fault_is_found(stack: str, fault: Fault, graphs: Callable[..., Graph]):
    before = {(f.resource, f.message) for f in without_a_fault(stack) if f.rule == fault.rule}
    after = {(f.resource, f.message) for f in evaluate(fault.put_in(graphs(stack))) if f.rule == fault.rule}
    assert after - before


@cache
def without_a_fault(stack: str) -> list[Finding]:
    return evaluate(graph(stack))


@pytest.mark.parametrize("stack", STACKS)
def test_a_promise_too_many_is_found(stack: str, graphs: Callable[..., Graph]):
    sound = graphs(stack)
    queues = {u: replace(r, inputs=_doubled(r.inputs)) for u, r in sound.resources.items() if r.type == QUEUE}
    found = evaluate(replace(sound, resources={**sound.resources, **queues}))
    assert any(f.rule == "queue-within-pool" and f.name.startswith("kueue-") for f in found)


def _doubled(value: Any) -> Any:
    """A queue that promises twice of everything."""
    if isinstance(value, dict):
        quota = value.get("nominalQuota", "")
        twice = {"nominalQuota": str(2 * int(quota))} if quota.isdecimal() else {}
        return {**{key: _doubled(item) for key, item in value.items()}, **twice}
    return [_doubled(item) for item in value] if isinstance(value, list) else value
