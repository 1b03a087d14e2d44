"""The rules on the real environments: they hold, and each fault that is put in is found."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from policies.model import Graph, Resource
from policies.registry import evaluate
from tests.conftest import STACKS

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


AWS = [
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

GCP = [
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


@pytest.mark.parametrize(
    ("stack", "fault"),
    [("prod", fault) for fault in AWS] + [("prod-gcp", fault) for fault in GCP],
    ids=lambda value: f"{value.rule} {value.type}" if isinstance(value, Fault) else value,
)
def test_a_fault_is_found(stack: str, fault: Fault, graphs: Callable[..., Graph]):
    sound = graphs(stack)
    before = {(f.resource, f.message) for f in evaluate(sound) if f.rule == fault.rule}
    after = {(f.resource, f.message) for f in evaluate(fault.put_in(sound)) if f.rule == fault.rule}
    assert after - before
