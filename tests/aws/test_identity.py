"""Keys, people, pipelines, secrets, notifications, budgets: who may do what, and who is told."""

import json
import re
import shutil
from collections.abc import Callable
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest
import yaml

from components import contracts
from components.aws.foundation.personas import READ, WRITE, Personas, PersonasArgs, reserved_roles
from components.core.naming import Names
from components.scope import Scope
from policies.model import REFERENCE, SECRET, Graph
from preview.record import run
from tests.aws.building import build, by_sid, documents, kind, one, region, statements, waits_for
from tests.conftest import AWS, ROOT

Graphs = Callable[..., Graph]
PERMISSION_SETS = {
    "data-scientist": "DataScientist",
    "ml-engineer": "MLEngineer",
    "platform-admin": "PlatformAdmin",
    "auditor": "Auditor",
}
PERSONAS = tuple(PERMISSION_SETS)


def allowed(graph: Graph, persona: str) -> list[dict[str, Any]]:
    """All statements of a persona's own policies."""
    prefix = f"personas-{persona}-"
    own = [p for p in kind(graph, "Policy") if p.name.startswith(prefix)]
    attached = {r.get("policyArn") for r in kind(graph, "RolePolicyAttachment") if r.name.startswith(prefix)}
    assert {f"${{{p.urn}#arn}}" for p in own} <= attached
    return [s for p in own for s in statements(p) if s["Effect"] == "Allow"]


def deployer(graph: Graph) -> list[dict[str, Any]]:
    """All statements of the role that deploys."""
    return [s for p in kind(graph, "Policy") if p.name.startswith("delivery-deploy-") for s in statements(p)]


def can(found: list[dict[str, Any]], action: str) -> set[str]:
    """The resources on which an action is allowed."""
    return {r for s in found for r in s["Resource"] if any(fnmatchcase(action, a) for a in s["Action"])}


# Keys


@pytest.mark.parametrize(("stack", "days", "deletion"), [("dev", 90, 7), ("staging", 90, 14), ("prod", 90, 30)])
def test_keys_rotate_and_can_be_had_back(graphs: Graphs, stack: str, days: int, deletion: int) -> None:
    found = kind(graphs(stack), "Key")
    assert {r.name for r in found} == {f"keys-{d}-key" for d in ("data", "models", "logs", "secrets", "compute")}
    assert {(r.get("enableKeyRotation"), r.get("rotationPeriodInDays")) for r in found} == {(True, days)}
    assert {r.get("deletionWindowInDays") for r in [*found, *kind(graphs(stack), "ReplicaKey")]} == {deletion}


def test_copied_keys(graphs: Graphs) -> None:
    graph = graphs("prod")
    assert {r.name: r.get("multiRegion") for r in kind(graph, "Key")} == {
        "keys-data-key": True,
        "keys-models-key": True,
        "keys-logs-key": True,
        "keys-secrets-key": True,
        "keys-compute-key": False,
    }
    aliases = [(r.get("name"), region(graph, r)) for r in kind(graph, "Alias") if "kms" in r.type]
    assert len(aliases) == 9
    assert ("alias/acme-ai-prod-data", "us-east-2") in aliases


IN_THEIR_OWN_NAME = {
    "keys-compute-key": {"DisksOfTasks", "GrantsOfTasks", "KeyOfTasks"},
    "keys-data-key": {"S3Vectors"},
    "keys-logs-key": {"Bedrock", "Budgets", "CloudWatchLogs", "Cloudwatch", "Costalerts", "Events", "Sns"},
}


@pytest.mark.parametrize("stack", AWS)
def test_the_account_can_never_be_locked_out_of_a_key(graphs: Graphs, stack: str) -> None:
    for key in [*kind(graphs(stack), "Key"), *kind(graphs(stack), "ReplicaKey")]:
        root = by_sid(key)["AccountDecidesByIam"]
        assert (root["Effect"], root["Action"], root["Resource"]) == ("Allow", ["kms:*"], ["*"])
        assert root["Principal"]["AWS"].endswith(":root")
        others = [s for s in statements(key) if s is not root and s["Sid"] != "AccountDecidesByIam"]
        services = [s for s in others if "Service" in s["Principal"]]
        # To look at a key, and not into anything, ECS needs no more than that there is one.
        assert all(s.get("Condition") or s["Action"] == ["kms:DescribeKey"] for s in services)
        # A service in its own name only where it has something to encrypt.
        assert {s["Sid"] for s in services} == IN_THEIR_OWN_NAME.get(key.name, set())
        # Whoever else is let in is a role that AWS makes and nobody can assume.
        for statement in (s for s in others if s not in services):
            who = statement["Condition"]["ArnLike"]["aws:PrincipalArn"]
            assert all(":role/aws-service-role/" in arn for arn in ([who] if isinstance(who, str) else who))


def test_log_groups_can_be_encrypted(graphs: Graphs) -> None:
    found = by_sid(one(graphs("prod"), "Key", "keys-logs-key"))["CloudWatchLogs"]
    assert found["Principal"] == {"Service": "logs.us-west-2.amazonaws.com"}
    assert found["Condition"]["ArnLike"] == {
        "kms:EncryptionContext:aws:logs:arn": "arn:aws:logs:us-west-2:333333333333:log-group:*"
    }


# People


@pytest.mark.parametrize("stack", AWS)
def test_only_the_holders_of_a_permission_set_become_a_persona(graphs: Graphs, stack: str) -> None:
    graph = graphs(stack)
    for persona in PERSONAS:
        role = one(graph, "Role", f"personas-{persona}-role")
        [trust] = statements(role, "assumeRolePolicy")
        assert trust["Action"] == ["sts:AssumeRole"]
        account, name = graph.outputs["aws"]["account"], PERMISSION_SETS[persona]
        assert trust["Condition"] == {"ArnLike": {"aws:PrincipalArn": reserved_roles(account, name)}}
        assert role.get("maxSessionDuration") == (4 if stack == "prod" else 8) * 3600


@pytest.mark.parametrize(
    ("role", "fits"),
    [
        ("AWSReservedSSO_Data_0123456789abcdef", True),
        ("eu-west-2/AWSReservedSSO_Data_0123456789abcdef", True),
        ("AWSReservedSSO_Data_Admin_0123456789abcdef", False),
        ("eu-west-2/AWSReservedSSO_Data_Admin_0123456789abcdef", False),
        ("AWSReservedSSO_Big_Data_0123456789abcdef", False),
    ],
)
def test_a_permission_set_is_not_taken_for_another(role: str, fits: bool) -> None:
    arn = f"arn:aws:iam::111111111111:role/aws-reserved/sso.amazonaws.com/{role}"
    assert any(fnmatchcase(arn, pattern) for pattern in reserved_roles("111111111111", "Data")) == fits


def test_people_reach_the_zones_that_name_them(graphs: Graphs) -> None:
    graph = graphs("prod")
    buckets = {
        zone: f"arn:aws:s3:::acme-ai-prod-{zone}/*"
        for zone in ("raw", "curated", "features", "artifacts", "models", "logs", "access-logs")
    }
    reads = {p: {z for z, arn in buckets.items() if arn in can(allowed(graph, p), "s3:GetObject")} for p in PERSONAS}
    writes = {p: {z for z, arn in buckets.items() if arn in can(allowed(graph, p), "s3:PutObject")} for p in PERSONAS}
    assert reads == {
        "data-scientist": {"curated", "features", "artifacts", "models"},
        "ml-engineer": {"raw", "curated", "features", "artifacts", "models"},
        "platform-admin": set(),
        "auditor": {"logs", "access-logs"},
    }
    assert writes == {
        "data-scientist": {"features", "artifacts"},
        "ml-engineer": {"curated", "features", "artifacts", "models"},
        "platform-admin": set(),
        "auditor": set(),
    }


def test_keys_of_people_work_through_their_service_only(graphs: Graphs) -> None:
    graph = graphs("prod")
    for persona in PERSONAS:
        for statement in allowed(graph, persona):
            if any(a in ("kms:Decrypt", "kms:GenerateDataKey") for a in statement["Action"]):
                assert statement["Condition"]["StringEquals"]["kms:ViaService"], persona
                assert statement["Resource"] != ["*"]


def test_nobody_deletes_a_version_or_reads_a_secret_unnamed(graphs: Graphs) -> None:
    graph = graphs("prod")
    for persona in PERSONAS:
        assert not can(allowed(graph, persona), "s3:DeleteObjectVersion")
        secrets = can(allowed(graph, persona), "secretsmanager:GetSecretValue")
        hub = one(graph, "Secret", "secrets-model-hub-secret")
        assert secrets == ({f"${{{hub.urn}#arn}}"} if persona == "ml-engineer" else set())


def test_an_administrator_cannot_grant_himself_the_data(graphs: Graphs) -> None:
    found = allowed(graphs("prod"), "platform-admin")
    for action in (
        "s3:PutBucketPolicy", "kms:PutKeyPolicy", "kms:CreateGrant", "iam:PassRole", "iam:PutRolePolicy", "iam:AttachRolePolicy",
        "lambda:UpdateFunctionCode", "secretsmanager:PutResourcePolicy", "ec2:RunInstances",
    ):  # fmt: skip
        expected = {"*"} if action == "ec2:RunInstances" else set()
        assert can(found, action) == expected, action
    assert can(found, "secretsmanager:PutSecretValue") == {
        "arn:aws:secretsmanager:us-west-2:333333333333:secret:acme-ai-prod-*"
    }


def test_auditors_and_administrators_see_how_things_are_set_up(graphs: Graphs) -> None:
    graph = graphs("prod")
    for persona in ("auditor", "platform-admin"):
        given = {
            r.get("policyArn") for r in kind(graph, "RolePolicyAttachment") if r.name.startswith(f"personas-{persona}-")
        }
        assert {"arn:aws:iam::aws:policy/SecurityAudit", "arn:aws:iam::aws:policy/job-function/ViewOnlyAccess"} <= given


def test_a_persona_without_a_permission_set_has_no_role(project: Path) -> None:
    personas = {"auditor": {"permission_set": None}, "ml-engineer": {"permission_set": None}}
    platform = project / "stacks" / "platform.yaml"
    content = yaml.safe_load(platform.read_text())
    del content["identity"]["personas"]["auditor"]["permission_set"]
    # Engineers would approve models, and open notebooks by their role.
    content["registry"]["approvers"] = ["data-scientist"]
    content["training"]["workbench"]["sign_in"] = "sso"
    platform.write_text(yaml.safe_dump(content))
    graph = build(project, {"identity": {"personas": personas}})
    names = {r.name for r in kind(graph, "Role") if r.name.startswith("personas")}
    assert names == {"personas-data-scientist-role", "personas-platform-admin-role"}
    assert set(graph.outputs) == set()


def test_a_hundred_zones_pass_no_limit(project: Path) -> None:
    zones = {
        f"zone-{i:03}-with-a-long-name": {"readers": ["data-scientist"], "writers": ["ml-engineer"]} for i in range(100)
    }
    secrets = {f"secret-{i:03}": {"kind": "provided", "readers": ["ml-engineer"]} for i in range(70)}
    graph = build(project, {"data": {"zones": zones}, "secrets": secrets})
    for persona in ("data-scientist", "ml-engineer"):
        policies = [p for p in kind(graph, "Policy") if p.name.startswith(f"personas-{persona}-")]
        # Ten managed policies a role, 6,144 characters each.
        assert len(policies) <= 10
        for policy in policies:
            text = json.dumps(json.loads(policy.get("policy")), separators=(",", ":"))
            assert len(text.replace("urn:pulumi:dev::ai-platform::", "")) <= 6144 or "secrets" in policy.name
        buckets = can(allowed(graph, persona), "s3:GetObject")
        assert len([b for b in buckets if "zone-" in b and b.endswith("/*")]) == 100
    assert len(can(allowed(graph, "ml-engineer"), "secretsmanager:GetSecretValue")) == 71


def test_reading_and_writing_share_no_action() -> None:
    assert not set(READ) & set(WRITE)


# Pipelines


@pytest.mark.parametrize("stack", AWS)
def test_only_the_protected_environment_deploys(graphs: Graphs, stack: str) -> None:
    graph = graphs(stack)
    issuer = "token.actions.githubusercontent.com"
    provider = one(graph, "OpenIdConnectProvider", "delivery-github")
    for role, subjects in {
        "deploy": [f"repo:acme@1000001/ai-platform@2000002:environment:{stack}"],
        "preview": [
            "repo:acme@1000001/ai-platform@2000002:pull_request",
            "repo:acme@1000001/ai-platform@2000002:ref:refs/heads/main",
        ],
    }.items():
        [trust] = statements(one(graph, "Role", f"delivery-{role}-role"), "assumeRolePolicy")
        assert trust["Principal"] == {"Federated": f"${{{provider.urn}#arn}}"}
        assert trust["Action"] == ["sts:AssumeRoleWithWebIdentity"]
        assert trust["Condition"] == {"StringEquals": {f"{issuer}:aud": "sts.amazonaws.com", f"{issuer}:sub": subjects}}


def test_a_preview_sees_no_contents(graphs: Graphs) -> None:
    graph = graphs("prod")
    found = statements(one(graph, "Policy", "delivery-preview-limits"))
    assert {s["Effect"] for s in found} == {"Deny"}
    denied = {a for s in found for a in s["Action"]}
    assert {"s3:GetObject*", "secretsmanager:GetSecretValue", "kms:Decrypt", "sqs:ReceiveMessage"} <= denied
    assert len(by_sid(one(graph, "Policy", "delivery-preview-limits"))["NoKeys"]["Resource"]) == 5
    attached = {
        r.get("policyArn") for r in kind(graph, "RolePolicyAttachment") if r.name.startswith("delivery-preview-")
    }
    assert len(attached) == 4
    # What it is shown besides is how things are set up.
    [settings, apis] = statements(one(graph, "Policy", "delivery-preview-settings"))
    assert apis["Action"] == ["apigateway:GET"]
    verbs = {action.partition(":")[2] for action in settings["Action"]}
    assert all(re.match("Describe|Get|List|Validate|View", verb) for verb in verbs)
    assert not [a for a in settings["Action"] if any(fnmatchcase(a, d) or fnmatchcase(d, a) for d in denied)]


@pytest.mark.parametrize("stack", AWS)
def test_a_deployment_makes_roles_only_inside_the_boundary(graphs: Graphs, stack: str) -> None:
    graph = graphs(stack)
    found = by_sid(one(graph, "Policy", "delivery-deploy-identities"))
    boundary = one(graph, "Policy", "boundary-policy")
    assert found["RolesWithTheBoundary"]["Condition"] == {
        "StringEquals": {"iam:PermissionsBoundary": f"${{{boundary.urn}#arn}}"}
    }
    mine = (
        f":role/acme-ai-{stack}-", f":instance-profile/acme-ai-{stack}-", ":policy/acme", "oidc-provider/", "/aws-service-role/"
    )  # fmt: skip
    for statement in found.values():
        assert all(any(part in r for part in mine) for r in statement["Resource"])
    assert set(found["RolesForServices"]["Condition"]) == {"StringEquals"}
    assert set(found["RolesOfServices"]["Condition"]) == {"StringEquals"}
    platform = deployer(graph)
    # Of contents it reads what it puts there itself, the script of machines, and charts that lie in copies.
    assert can(platform, "s3:GetObject") == {f"arn:aws:s3:::acme-ai-{stack}-hyperpod-scripts/*"}
    assert all(r.endswith(":repository/copies/*/charts/*") for r in can(platform, "ecr:BatchGetImage"))
    for action in (
        "secretsmanager:GetSecretValue", "ecr:PutImage", "batch:SubmitJob",
        "sagemaker:StartPipelineExecution", "sagemaker:CreatePresignedDomainUrl", "sagemaker:CallMlflowAppApi",
        "sagemaker:UpdateModelPackage", "signer:SignPayload", "states:StartExecution", "fsx:CreateDataRepositoryTask",
        "eks:AccessKubernetesApi", "sagemaker:InvokeEndpoint", "sagemaker:CreateTransformJob", "bedrock:InvokeModel",
        "bedrock:Retrieve", "bedrock:RetrieveAndGenerate", "bedrock:ApplyGuardrail", "s3vectors:QueryVectors",
        "s3vectors:GetVectors", "elasticache:Connect", "iot:Publish", "iot:CreateJob", "ecs:RunTask", "ecs:ExecuteCommand",
        "codedeploy:CreateDeployment", "lambda:InvokeFunctionUrl", "lambda:CreateFunctionUrlConfig", "execute-api:Invoke",
        "rds-data:ExecuteStatement", "rds-data:BatchExecuteStatement", "rds-db:connect",
    ):  # fmt: skip
        assert not can(platform, action), action
    # Of functions it calls what starts a release, what makes the tables of corpora, and what gives services back.
    called = {r.partition(":function:")[2] for r in can(platform, "lambda:InvokeFunction")}
    assert called == {f"acme-ai-{stack}-{function}" for function in ("*-starter", "*-ceilings", "corpora-tables")}
    assert bool(can(platform, "s3:DeleteObjectVersion")) == (stack == "dev")
    # A machine only from a template, and a key only through a service.
    [start] = [s for s in platform if "ec2:RunInstances" in s["Action"]]
    assert list(start["Condition"]) == ["ArnLike"]
    for statement in platform:
        if any(a.startswith(("kms:CreateGrant", "kms:Decrypt", "kms:GenerateDataKey")) for a in statement["Action"]):
            keys = {k for operator in statement["Condition"].values() for k in operator}
            assert keys <= {"kms:ViaService", "kms:GrantIsForAWSResource"}
            assert keys
            assert not [r for r in statement["Resource"] if "*" in r]


@pytest.mark.parametrize("stack", AWS)
def test_policies_of_the_pipeline_pass_no_limit(graphs: Graphs, stack: str) -> None:
    """ "IAM and STS quotas": 6,144 characters a policy without white space, ten policies a role."""
    graph = graphs(stack)
    for role in ("deploy", "preview"):
        own = [p for p in kind(graph, "Policy") if p.name.startswith(f"delivery-{role}-")]
        assert len(own) <= 8
        for policy in own:
            # The longest ARN that one of these refers to is that of a key in another region: 79 characters.
            text = REFERENCE.sub("x" * 80, policy.get("policy"))
            assert len(json.dumps(json.loads(text), separators=(",", ":"))) <= 6144, policy.name


# What the provider calls to make, to read and to take away a resource of each type, and to change it where it can be. Sources:
# "Service Authorization Reference"; the provider's resources.
NEEDS: dict[str, str] = {
    "acm/Certificate": "acm: RequestCertificate DescribeCertificate DeleteCertificate AddTagsToCertificate",
    "acm/CertificateValidation": "acm: DescribeCertificate",
    "apigatewayv2/Api": "apigateway: POST GET PATCH DELETE TagResource",
    "apigatewayv2/Authorizer": "apigateway: POST GET PATCH DELETE",
    "apigatewayv2/Integration": "apigateway: POST GET PATCH DELETE",
    "apigatewayv2/Route": "apigateway: POST GET PATCH DELETE",
    "apigatewayv2/Stage": "apigateway: POST GET PATCH DELETE TagResource",
    "appautoscaling/Policy": "application-autoscaling: PutScalingPolicy DescribeScalingPolicies DeleteScalingPolicy",
    "appautoscaling/Target": "application-autoscaling: RegisterScalableTarget DescribeScalableTargets DeregisterScalableTarget"
    " TagResource ListTagsForResource",
    "bedrock/AgentDataSource": "bedrock: CreateDataSource GetDataSource UpdateDataSource DeleteDataSource",
    "bedrock/AgentKnowledgeBase": "bedrock: CreateKnowledgeBase GetKnowledgeBase UpdateKnowledgeBase DeleteKnowledgeBase"
    " TagResource ListTagsForResource",
    "bedrock/Guardrail": "bedrock: CreateGuardrail GetGuardrail UpdateGuardrail DeleteGuardrail TagResource ListTagsForResource",
    "bedrock/GuardrailVersion": "bedrock: CreateGuardrailVersion GetGuardrail DeleteGuardrail",
    "bedrock/InferenceProfile": "bedrock: CreateInferenceProfile GetInferenceProfile DeleteInferenceProfile TagResource",
    "bedrock/ProvisionedModelThroughput": "bedrock: CreateProvisionedModelThroughput GetProvisionedModelThroughput"
    " DeleteProvisionedModelThroughput TagResource",
    "bedrockmodel/InvocationLoggingConfiguration": "bedrock: PutModelInvocationLoggingConfiguration"
    " GetModelInvocationLoggingConfiguration DeleteModelInvocationLoggingConfiguration",
    "cloudcontrol/Resource": "cloudformation: CreateResource GetResource UpdateResource DeleteResource"
    " GetResourceRequestStatus DescribeType",
    "codedeploy/Application": "codedeploy: CreateApplication GetApplication UpdateApplication DeleteApplication TagResource",
    "codedeploy/DeploymentConfig": "codedeploy: CreateDeploymentConfig GetDeploymentConfig DeleteDeploymentConfig",
    "codedeploy/DeploymentGroup": "codedeploy: CreateDeploymentGroup GetDeploymentGroup UpdateDeploymentGroup"
    " DeleteDeploymentGroup TagResource ListTagsForResource",
    "ecs/Cluster": "ecs: CreateCluster DescribeClusters UpdateCluster DeleteCluster TagResource",
    "ecs/Service": "ecs: CreateService DescribeServices UpdateService DeleteService DescribeServiceDeployments"
    " ListServiceDeployments StopServiceDeployment TagResource",
    "ecs/TaskDefinition": "ecs: RegisterTaskDefinition DescribeTaskDefinition DeregisterTaskDefinition TagResource",
    "elasticache/ServerlessCache": "elasticache: CreateServerlessCache DescribeServerlessCaches ModifyServerlessCache"
    " DeleteServerlessCache AddTagsToResource ListTagsForResource",
    "elasticache/User": "elasticache: CreateUser DescribeUsers ModifyUser DeleteUser AddTagsToResource",
    "elasticache/UserGroup": "elasticache: CreateUserGroup DescribeUserGroups ModifyUserGroup DeleteUserGroup AddTagsToResource",
    "iot/EventConfigurations": "iot: UpdateEventConfigurations DescribeEventConfigurations",
    "iot/IndexingConfiguration": "iot: UpdateIndexingConfiguration GetIndexingConfiguration",
    "iot/LoggingOptions": "iot: SetV2LoggingOptions GetV2LoggingOptions",
    "iot/Policy": "iot: CreatePolicy GetPolicy CreatePolicyVersion ListPolicyVersions DeletePolicyVersion DeletePolicy",
    "iot/RoleAlias": "iot: CreateRoleAlias DescribeRoleAlias UpdateRoleAlias DeleteRoleAlias TagResource",
    "iot/ThingGroup": "iot: CreateThingGroup DescribeThingGroup UpdateThingGroup DeleteThingGroup TagResource",
    "iot/ThingType": "iot: CreateThingType DescribeThingType DeprecateThingType DeleteThingType TagResource",
    "iot/TopicRule": "iot: CreateTopicRule GetTopicRule ReplaceTopicRule DeleteTopicRule TagResource",
    "lambda/Alias": "lambda: CreateAlias GetAlias UpdateAlias DeleteAlias",
    "lambda/EventSourceMapping": "lambda: CreateEventSourceMapping GetEventSourceMapping UpdateEventSourceMapping"
    " DeleteEventSourceMapping TagResource ListTags",
    "lambda/Invocation": "lambda: InvokeFunction",
    "lambda/ProvisionedConcurrencyConfig": "lambda: PutProvisionedConcurrencyConfig GetProvisionedConcurrencyConfig"
    " DeleteProvisionedConcurrencyConfig",
    "lb/Listener": "elasticloadbalancing: CreateListener DescribeListeners DescribeListenerAttributes ModifyListener"
    " ModifyListenerAttributes DeleteListener AddTags",
    "lb/ListenerRule": "elasticloadbalancing: CreateRule DescribeRules ModifyRule SetRulePriorities DeleteRule AddTags",
    "lb/LoadBalancer": "elasticloadbalancing: CreateLoadBalancer DescribeLoadBalancers ModifyLoadBalancerAttributes"
    " DescribeLoadBalancerAttributes SetSecurityGroups SetSubnets SetIpAddressType DescribeCapacityReservation"
    " DeleteLoadBalancer AddTags",
    "lb/TargetGroup": "elasticloadbalancing: CreateTargetGroup DescribeTargetGroups ModifyTargetGroup"
    " ModifyTargetGroupAttributes DescribeTargetGroupAttributes DeleteTargetGroup AddTags",
    "lb/TargetGroupAttachment": "elasticloadbalancing: RegisterTargets DescribeTargetHealth DeregisterTargets",
    "route53/Record": "route53: ChangeResourceRecordSets GetChange GetHostedZone ListResourceRecordSets",
    "s3/BucketNotification": "s3: PutBucketNotification GetBucketNotification",
    "s3/BucketObjectv2": "s3: PutObject GetObject DeleteObject",
    "s3/VectorsIndex": "s3vectors: CreateIndex GetIndex DeleteIndex TagResource ListTagsForResource",
    "s3/VectorsVectorBucket": "s3vectors: CreateVectorBucket GetVectorBucket DeleteVectorBucket ListIndexes DeleteIndex"
    " TagResource",
    "sagemaker/Endpoint": "sagemaker: CreateEndpoint DescribeEndpoint UpdateEndpoint DeleteEndpoint AddTags ListTags",
    "sagemaker/EndpointConfiguration": "sagemaker: CreateEndpointConfig DescribeEndpointConfig DeleteEndpointConfig AddTags",
    "sagemaker/Model": "sagemaker: CreateModel DescribeModel DeleteModel AddTags ListTags",
    # In front of a load balancer: "elasticloadbalancing:SetWebAcl" besides.
    "wafv2/WebAcl": "wafv2: CreateWebACL GetWebACL UpdateWebACL DeleteWebACL TagResource ListTagsForResource",
    "wafv2/WebAclAssociation": "wafv2: AssociateWebACL GetWebACLForResource DisassociateWebACL",
    "wafv2/WebAclLoggingConfiguration": "wafv2: PutLoggingConfiguration GetLoggingConfiguration DeleteLoggingConfiguration",
    "accessanalyzer/Analyzer": "access-analyzer: CreateAnalyzer GetAnalyzer DeleteAnalyzer UpdateAnalyzer TagResource",
    "autoscaling/Schedule": "autoscaling: PutScheduledUpdateGroupAction DescribeScheduledActions DeleteScheduledAction",
    "batch/ComputeEnvironment": "batch: CreateComputeEnvironment DescribeComputeEnvironments UpdateComputeEnvironment"
    " DeleteComputeEnvironment TagResource",
    "batch/JobDefinition": "batch: RegisterJobDefinition DescribeJobDefinitions DeregisterJobDefinition TagResource",
    "batch/JobQueue": "batch: CreateJobQueue DescribeJobQueues UpdateJobQueue DeleteJobQueue TagResource ListTagsForResource",
    "batch/SchedulingPolicy": "batch: CreateSchedulingPolicy DescribeSchedulingPolicies UpdateSchedulingPolicy"
    " DeleteSchedulingPolicy TagResource",
    "budgets/Budget": "budgets: ModifyBudget ViewBudget TagResource",
    "cloudwatch/Dashboard": "cloudwatch: PutDashboard GetDashboard DeleteDashboards",
    "cloudwatch/EventRule": "events: PutRule DescribeRule DeleteRule TagResource ListTagsForResource",
    "cloudwatch/EventTarget": "events: PutTargets ListTargetsByRule RemoveTargets",
    "cloudwatch/LogGroup": "logs: CreateLogGroup DescribeLogGroups DeleteLogGroup PutRetentionPolicy AssociateKmsKey TagResource",
    "cloudwatch/LogMetricFilter": "logs: PutMetricFilter DescribeMetricFilters DeleteMetricFilter",
    "cloudwatch/LogResourcePolicy": "logs: PutResourcePolicy DescribeResourcePolicies DeleteResourcePolicy",
    "cloudwatch/MetricAlarm": "cloudwatch: PutMetricAlarm DescribeAlarms DeleteAlarms TagResource",
    "ebs/DefaultKmsKey": "ec2: ModifyEbsDefaultKmsKeyId GetEbsDefaultKmsKeyId ResetEbsDefaultKmsKeyId",
    "ebs/EncryptionByDefault": "ec2: EnableEbsEncryptionByDefault GetEbsEncryptionByDefault DisableEbsEncryptionByDefault",
    "ebs/SnapshotBlockPublicAccess": "ec2: EnableSnapshotBlockPublicAccess GetSnapshotBlockPublicAccessState",
    "ec2/DefaultRouteTable": "ec2: DescribeRouteTables DeleteRoute CreateTags",
    "ec2/DefaultSecurityGroup": "ec2: DescribeSecurityGroups RevokeSecurityGroupIngress RevokeSecurityGroupEgress CreateTags",
    "ec2/Eip": "ec2: AllocateAddress DescribeAddresses ReleaseAddress DisassociateAddress CreateTags",
    "ec2/FlowLog": "ec2: CreateFlowLogs DescribeFlowLogs DeleteFlowLogs CreateTags",
    "ec2/ImageBlockPublicAccess": "ec2: EnableImageBlockPublicAccess GetImageBlockPublicAccessState",
    "ec2/InstanceMetadataDefaults": "ec2: ModifyInstanceMetadataDefaults GetInstanceMetadataDefaults",
    "ec2/InternetGateway": "ec2: CreateInternetGateway AttachInternetGateway DetachInternetGateway DeleteInternetGateway",
    # EKS tries whether the deployer may start machines.
    "ec2/LaunchTemplate": "ec2: CreateLaunchTemplate CreateLaunchTemplateVersion ModifyLaunchTemplate DescribeLaunchTemplates"
    " DescribeLaunchTemplateVersions DeleteLaunchTemplate RunInstances CreateTags",
    "ec2/NatGateway": "ec2: CreateNatGateway DescribeNatGateways DeleteNatGateway CreateTags",
    "ec2/NetworkAcl": "ec2: CreateNetworkAcl CreateNetworkAclEntry DeleteNetworkAclEntry ReplaceNetworkAclAssociation"
    " DeleteNetworkAcl",
    "ec2/PlacementGroup": "ec2: CreatePlacementGroup DescribePlacementGroups DeletePlacementGroup CreateTags",
    "ec2/Route": "ec2: CreateRoute ReplaceRoute DeleteRoute DescribeRouteTables",
    "ec2/RouteTable": "ec2: CreateRouteTable DescribeRouteTables DeleteRouteTable",
    "ec2/RouteTableAssociation": "ec2: AssociateRouteTable DisassociateRouteTable ReplaceRouteTableAssociation",
    "ec2/SecurityGroup": "ec2: CreateSecurityGroup DescribeSecurityGroups DeleteSecurityGroup RevokeSecurityGroupEgress",
    "ec2/SerialConsoleAccess": "ec2: DisableSerialConsoleAccess GetSerialConsoleAccessStatus EnableSerialConsoleAccess",
    "ec2/Subnet": "ec2: CreateSubnet ModifySubnetAttribute DescribeSubnets DeleteSubnet",
    "ec2/Vpc": "ec2: CreateVpc ModifyVpcAttribute DescribeVpcs DeleteVpc",
    "ec2/VpcEndpoint": "ec2: CreateVpcEndpoint ModifyVpcEndpoint DescribeVpcEndpoints DeleteVpcEndpoints",
    "ecr/LifecyclePolicy": "ecr: PutLifecyclePolicy GetLifecyclePolicy DeleteLifecyclePolicy",
    "ecr/PullThroughCacheRule": "ecr: CreatePullThroughCacheRule DescribePullThroughCacheRules DeletePullThroughCacheRule",
    "ecr/RegistryScanningConfiguration": "ecr: PutRegistryScanningConfiguration GetRegistryScanningConfiguration",
    "ecr/ReplicationConfiguration": "ecr: PutReplicationConfiguration DescribeRegistry",
    "ecr/Repository": "ecr: CreateRepository DescribeRepositories DeleteRepository PutImageTagMutability"
    " PutImageScanningConfiguration TagResource ListTagsForResource",
    "ecr/RepositoryCreationTemplate": "ecr: CreateRepositoryCreationTemplate DescribeRepositoryCreationTemplates"
    " UpdateRepositoryCreationTemplate DeleteRepositoryCreationTemplate",
    "ecr/RepositoryPolicy": "ecr: SetRepositoryPolicy GetRepositoryPolicy DeleteRepositoryPolicy",
    "eks/AccessEntry": "eks: CreateAccessEntry DescribeAccessEntry UpdateAccessEntry DeleteAccessEntry TagResource",
    "eks/AccessPolicyAssociation": "eks: AssociateAccessPolicy ListAssociatedAccessPolicies DisassociateAccessPolicy",
    "eks/Addon": "eks: CreateAddon DescribeAddon UpdateAddon DeleteAddon DescribeUpdate CreatePodIdentityAssociation"
    " UpdatePodIdentityAssociation DeletePodIdentityAssociation DescribePodIdentityAssociation TagResource",
    "eks/Cluster": "eks: CreateCluster DescribeCluster UpdateClusterConfig UpdateClusterVersion DeleteCluster DescribeUpdate"
    " AssociateEncryptionConfig TagResource",
    "eks/NodeGroup": "eks: CreateNodegroup DescribeNodegroup UpdateNodegroupConfig UpdateNodegroupVersion DeleteNodegroup"
    " TagResource",
    "eks/PodIdentityAssociation": "eks: CreatePodIdentityAssociation DescribePodIdentityAssociation UpdatePodIdentityAssociation"
    " DeletePodIdentityAssociation ListPodIdentityAssociations TagResource",
    "fsx/DataRepositoryAssociation": "fsx: CreateDataRepositoryAssociation DescribeDataRepositoryAssociations"
    " UpdateDataRepositoryAssociation DeleteDataRepositoryAssociation TagResource",
    "fsx/LustreFileSystem": "fsx: CreateFileSystem DescribeFileSystems UpdateFileSystem DeleteFileSystem TagResource",
    "iam/AccountPasswordPolicy": "iam: UpdateAccountPasswordPolicy GetAccountPasswordPolicy DeleteAccountPasswordPolicy",
    "iam/InstanceProfile": "iam: CreateInstanceProfile AddRoleToInstanceProfile RemoveRoleFromInstanceProfile"
    " GetInstanceProfile DeleteInstanceProfile TagInstanceProfile",
    "iam/OpenIdConnectProvider": "iam: CreateOpenIDConnectProvider GetOpenIDConnectProvider DeleteOpenIDConnectProvider",
    "iam/Policy": "iam: CreatePolicy GetPolicy GetPolicyVersion CreatePolicyVersion DeletePolicyVersion DeletePolicy TagPolicy",
    "iam/Role": "iam: CreateRole GetRole UpdateAssumeRolePolicy DeleteRole ListInstanceProfilesForRole TagRole PassRole",
    "iam/RolePolicy": "iam: PutRolePolicy GetRolePolicy DeleteRolePolicy",
    "iam/RolePolicyAttachment": "iam: AttachRolePolicy ListAttachedRolePolicies DetachRolePolicy",
    "kms/Alias": "kms: CreateAlias ListAliases UpdateAlias DeleteAlias",
    "kms/Key": "kms: CreateKey DescribeKey GetKeyPolicy PutKeyPolicy EnableKeyRotation ScheduleKeyDeletion TagResource",
    "kms/ReplicaKey": "kms: ReplicateKey CreateKey DescribeKey PutKeyPolicy ScheduleKeyDeletion",
    "lambda/Function": "lambda: CreateFunction GetFunction UpdateFunctionCode UpdateFunctionConfiguration DeleteFunction",
    "lambda/Permission": "lambda: AddPermission GetPolicy RemovePermission",
    # With its owner's password: "secretsmanager:CreateSecret" besides.
    "rds/Cluster": "rds: CreateDBCluster DescribeDBClusters ModifyDBCluster DeleteDBCluster EnableHttpEndpoint"
    " DisableHttpEndpoint AddTagsToResource ListTagsForResource",
    "rds/ClusterInstance": "rds: CreateDBInstance DescribeDBInstances ModifyDBInstance DeleteDBInstance AddTagsToResource",
    "rds/ClusterParameterGroup": "rds: CreateDBClusterParameterGroup DescribeDBClusterParameters ModifyDBClusterParameterGroup"
    " DeleteDBClusterParameterGroup AddTagsToResource",
    "rds/Instance": "rds: CreateDBInstance DescribeDBInstances ModifyDBInstance DeleteDBInstance AddTagsToResource",
    "rds/ParameterGroup": "rds: CreateDBParameterGroup DescribeDBParameters ModifyDBParameterGroup DeleteDBParameterGroup",
    "rds/SubnetGroup": "rds: CreateDBSubnetGroup DescribeDBSubnetGroups ModifyDBSubnetGroup DeleteDBSubnetGroup",
    "s3/AccountPublicAccessBlock": "s3: PutAccountPublicAccessBlock GetAccountPublicAccessBlock",
    "s3/Bucket": "s3: CreateBucket ListBucket GetBucketTagging DeleteBucket",
    "s3/BucketLifecycleConfiguration": "s3: PutLifecycleConfiguration GetLifecycleConfiguration",
    "s3/BucketLogging": "s3: PutBucketLogging GetBucketLogging",
    "s3/BucketOwnershipControls": "s3: PutBucketOwnershipControls GetBucketOwnershipControls",
    "s3/BucketPolicy": "s3: PutBucketPolicy GetBucketPolicy DeleteBucketPolicy",
    "s3/BucketPublicAccessBlock": "s3: PutBucketPublicAccessBlock GetBucketPublicAccessBlock",
    "s3/BucketReplicationConfig": "s3: PutReplicationConfiguration GetReplicationConfiguration",
    "s3/BucketServerSideEncryptionConfiguration": "s3: PutEncryptionConfiguration GetEncryptionConfiguration",
    "s3/BucketVersioning": "s3: PutBucketVersioning GetBucketVersioning",
    "sagemaker/Domain": "sagemaker: CreateDomain DescribeDomain UpdateDomain DeleteDomain AddTags ListTags",
    "sagemaker/MlflowApp": "sagemaker: CreateMlflowApp DescribeMlflowApp UpdateMlflowApp DeleteMlflowApp AddTags ListTags",
    "sagemaker/ModelPackageGroup": "sagemaker: CreateModelPackageGroup DescribeModelPackageGroup DeleteModelPackageGroup AddTags",
    "sagemaker/ModelPackageGroupPolicy": "sagemaker: PutModelPackageGroupPolicy GetModelPackageGroupPolicy"
    " DeleteModelPackageGroupPolicy",
    "sagemaker/Pipeline": "sagemaker: CreatePipeline DescribePipeline UpdatePipeline DeletePipeline AddTags ListTags",
    "sagemaker/Space": "sagemaker: CreateSpace DescribeSpace UpdateSpace DeleteSpace AddTags ListTags",
    "sagemaker/UserProfile": "sagemaker: CreateUserProfile DescribeUserProfile UpdateUserProfile DeleteUserProfile AddTags",
    "scheduler/Schedule": "scheduler: CreateSchedule GetSchedule UpdateSchedule DeleteSchedule",
    "scheduler/ScheduleGroup": "scheduler: CreateScheduleGroup GetScheduleGroup DeleteScheduleGroup TagResource"
    " ListTagsForResource",
    "secretsmanager/Secret": "secretsmanager: CreateSecret DescribeSecret UpdateSecret DeleteSecret TagResource",
    "secretsmanager/SecretPolicy": "secretsmanager: PutResourcePolicy GetResourcePolicy DeleteResourcePolicy",
    "secretsmanager/SecretRotation": "secretsmanager: RotateSecret DescribeSecret CancelRotateSecret",
    "servicequotas/ServiceQuota": "servicequotas: RequestServiceQuotaIncrease GetServiceQuota ListServiceQuotas"
    " GetAWSDefaultServiceQuota GetRequestedServiceQuotaChange",
    "sfn/StateMachine": "states: CreateStateMachine DescribeStateMachine UpdateStateMachine DeleteStateMachine"
    " ListStateMachineVersions ValidateStateMachineDefinition TagResource ListTagsForResource",
    "signer/SigningProfile": "signer: PutSigningProfile GetSigningProfile CancelSigningProfile TagResource ListTagsForResource",
    "sns/Topic": "sns: CreateTopic GetTopicAttributes SetTopicAttributes DeleteTopic TagResource",
    "sns/TopicPolicy": "sns: SetTopicAttributes GetTopicAttributes",
    "sns/TopicSubscription": "sns: Subscribe GetSubscriptionAttributes Unsubscribe",
    "sqs/Queue": "sqs: CreateQueue GetQueueAttributes SetQueueAttributes DeleteQueue TagQueue ListQueueTags",
    "sqs/QueuePolicy": "sqs: SetQueueAttributes GetQueueAttributes",
    "vpc/SecurityGroupEgressRule": "ec2: AuthorizeSecurityGroupEgress DescribeSecurityGroupRules ModifySecurityGroupRules"
    " RevokeSecurityGroupEgress",
    "vpc/SecurityGroupIngressRule": "ec2: AuthorizeSecurityGroupIngress DescribeSecurityGroupRules ModifySecurityGroupRules"
    " RevokeSecurityGroupIngress",
}


@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """An environment with all that a description can ask for."""
    root = tmp_path_factory.mktemp("everything")
    shutil.copytree(ROOT / "stacks", root / "stacks")
    platform = root / "stacks" / "platform.yaml"
    content = yaml.safe_load(platform.read_text())
    training = content["training"]
    h100 = {"accelerator": {"type": "nvidia-h100", "per_node": 8}, "nodes": {"max": 2}}
    week = {"starts": "2127-01-01T00:00:00Z", "ends": "2127-01-08T00:00:00Z"}
    training["pools"] |= {
        "held": {**h100, "capacity": [{"reserved": "cr-0123", "zone": "usw2-az1"}], "interconnect": "fast"},
        "block": {**h100, "capacity": [{"block": "cr-0456", "zone": "usw2-az2", **week}]},
        "batch": {**h100, "capacity": ["on-demand"], "interconnect": "fast", "scheduler": "batch"},
        "batch-spot": {**training["pools"]["l4-spot"], "capacity": ["spot"], "scheduler": "batch"},
    }
    training["queues"] |= {"nightly": {"pools": ["batch-spot"]}, "large": {"pools": ["batch"]}}
    content["registry"]["promotion"] = {"aws": {"shared_with": ["222222222222"]}}
    content["data"] = {"file_systems": {"scratch": {"zone": "curated", "capacity_gib": 2400}}}
    content["retrieval"]["corpora"]["claims"] = {"team": "risk", "readers": ["risk"], "store": "database"}
    platform.write_text(yaml.safe_dump(content))
    return build(root, whole=True)


def all_types(*graphs: Graph) -> set[str]:
    """Types of AWS without what stands between module and class: `batch/JobQueue`."""
    found = {r.type for graph in graphs for r in graph.resources.values() if r.type.startswith("aws:")}
    return {f"{type_[4:].partition('/')[0]}/{type_.rpartition(':')[2]}" for type_ in found}


def test_the_pipeline_can_make_change_and_take_away_all_that_there_is(graphs: Graphs, everything: Graph) -> None:
    """A type that brings no action to the deployer is refused to the pipeline, half way through a deployment."""
    stacks = [graphs("dev"), graphs("prod"), everything]
    assert not all_types(*stacks) - set(NEEDS)
    for graph in stacks:
        found = deployer(graph)
        for type_ in all_types(graph):
            service, _, actions = NEEDS[type_].partition(": ")
            missing = [action for action in actions.split() if not can(found, f"{service}:{action}")]
            assert not missing, f"{type_}: {missing}"


AT, IAM = "us-west-2:111111111111", "arn:aws:iam::111111111111"


@pytest.mark.parametrize(
    ("action", "mine", "another"),
    [
        ("autoscaling:PutScheduledUpdateGroupAction", "autoScalingGroup:6f:autoScalingGroupName/eks-{}-block-1a2b", None),
        ("batch:DeleteJobQueue", "job-queue/{}-nightly", None),
        ("batch:DeregisterJobDefinition", "job-definition/{}-nightly_risk:7", None),
        ("cloudwatch:PutDashboard", "arn:aws:cloudwatch::111111111111:dashboard/{}-training", None),
        ("ecr:DeleteRepository", "arn:aws:ecr:us-east-2:111111111111:repository/{}/training", "{}other/training"),
        ("eks:DeleteCluster", "cluster/{}-cluster", None),
        ("eks:UpdateAddon", "addon/{}-cluster/coredns/1a2b", "addon/other/{}-cluster/1a2b"),
        ("eks:UpdateNodegroupVersion", "nodegroup/{}-cluster/{}-held-reserved/1a2b", None),
        ("events:DeleteRule", "rule/{}-spot-warning", None),
        ("iam:DeleteInstanceProfile", f"{IAM}:instance-profile/{{}}-batch-machines", None),
        ("iam:PassRole", f"{IAM}:role/{{}}-batch-machines", f"{IAM}:role/admin"),
        ("logs:CreateLogGroup", "log-group:/aws/eks/{}-cluster/cluster:*", "log-group:/aws/eks/other/cluster"),
        ("logs:PutMetricFilter", "log-group:/aws/events/{}-training:*", None),
        ("logs:PutRetentionPolicy", "log-group:/aws/sagemaker/TrainingJobs:*", "log-group:/aws/rds/other"),
        ("bedrock:DeleteGuardrail", "guardrail/1a2b", "model-import-job/1a2b"),
        ("codedeploy:DeleteDeploymentGroup", "deploymentgroup:{}-price-check/{}-price-check", None),
        ("ecs:UpdateService", "service/{}-api/{}-api", None),
        ("elasticache:DeleteUser", "user:{}-cache", None),
        ("elasticloadbalancing:ModifyListener", "listener/app/{}-gateway/1a2b/3c4d", "listener/net/{}-gateway/1a2b/3c4d"),
        ("elasticloadbalancing:ModifyRule", "listener-rule/app/{}-gateway/1a2b/3c4d/5e6f", None),
        ("elasticloadbalancing:DeleteTargetGroup", "targetgroup/{}-price-check/1a2b", None),
        ("iot:DeleteTopicRule", "rule/acme_ai_dev_edge_count", "rule/acme_ai_prod_edge_count"),
        ("iot:DeleteJobTemplate", "jobtemplate/{}-edge-1a2b3c4d", None),
        ("lambda:DeleteFunction", "function:{}-price-check", None),
        ("logs:DeleteLogGroup", "log-group:aws-waf-logs-{}-gateway:*", None),
        ("s3vectors:DeleteIndex", "bucket/{}-vectors/index/{}-policies", None),
        ("sagemaker:UpdateEndpoint", "endpoint/{}-fraud-score", None),
        ("sagemaker:DeleteModel", "model/{}-fraud-score-1a2b3c-4d5e6f7", None),
        ("wafv2:DeleteWebACL", "regional/webacl/{}-gateway/1a2b", None),
        ("sagemaker:DeleteModelPackageGroup", "model-package-group/{}-fraud", None),
        ("sagemaker:UpdatePipeline", "pipeline/{}-fraud", None),
        ("rds:DeleteDBInstance", "db:{}-tracking", None),
        ("scheduler:UpdateSchedule", "schedule/{}-pipelines/{}-fraud", "schedule/default/{}-fraud"),
        ("signer:CancelSigningProfile", "/signing-profiles/acme_ai_dev_images_20261121", "/signing-profiles/other"),
        ("states:UpdateStateMachine", "stateMachine:{}-models-approval", None),
    ],
)  # fmt: skip
def test_the_pipeline_changes_what_has_the_environments_name(
    everything: Graph, action: str, mine: str, another: str | None
) -> None:
    """Of a service that knows resources by name; and nothing else of it."""

    def allowed_on(resource: str, name: str) -> bool:
        text = resource.replace("{}", name)
        arn = text if text.startswith("arn:") else f"arn:aws:{action.partition(':')[0]}:{AT}:{text}"
        return any(fnmatchcase(arn, pattern) for pattern in can(deployer(everything), action))

    assert allowed_on(mine, "acme-ai-dev")
    assert not allowed_on(another or mine, "acme-ai-dev" if another else "acme-ai-prod")


def test_a_role_can_be_given_to_every_service_that_takes_one(graphs: Graphs, everything: Graph) -> None:
    """Else the role is made, and what it is for is not."""
    for graph in (graphs("prod"), everything):
        trusted = {
            service
            for role in kind(graph, "Role")
            for statement in statements(role, "assumeRolePolicy")
            for service in [statement["Principal"].get("Service")]
            if service
        }
        passed = by_sid(one(graph, "Policy", "delivery-deploy-identities"))["RolesForServices"]
        assert trusted <= set(passed["Condition"]["StringEquals"]["iam:PassedToService"])


def test_no_policy_gives_what_the_boundary_takes_away(graphs: Graphs, everything: Graph) -> None:
    """What a policy allows of a service that the boundary does not name is allowed to nobody."""
    for graph in (graphs("prod"), everything):
        inside = set(by_sid(one(graph, "Policy", "boundary-policy"))["ServicesOfThePlatform"]["Action"])
        for resource, path, found in documents(graph):
            if path != "policy" or resource.type.rpartition(":")[2] not in ("Policy", "RolePolicy"):
                continue
            used = {a.partition(":")[0] for s in found if s["Effect"] == "Allow" for a in s["Action"]}
            assert {f"{service}:*" for service in used} <= inside, resource.name


def test_roles_of_services_alone_need_no_boundary(graphs: Graphs) -> None:
    found = by_sid(one(graphs("prod"), "Policy", "boundary-policy"))["NoRoleWithoutThisBoundary"]
    assert found["NotResource"] == ["arn:aws:iam::333333333333:role/aws-service-role/*"]
    assert "iam:CreateServiceLinkedRole" not in found["Action"]


def test_no_delivery_without_a_repository(project: Path) -> None:
    graph = build(project, {"delivery": {"github": None}})
    assert not kind(graph, "OpenIdConnectProvider")
    assert not [r.name for r in kind(graph, "Role") if r.name.startswith("delivery")]


# Training


def test_who_trains_finds_pulls_reads_and_registers_and_approves_nothing(graphs: Graphs) -> None:
    graph, at = graphs("prod"), "us-west-2:333333333333"
    for persona in ("data-scientist", "ml-engineer"):
        found = allowed(graph, persona)
        assert can(found, "eks:DescribeCluster") == {f"arn:aws:eks:{at}:cluster/acme-ai-prod-*"}
        assert can(found, "ecr:BatchGetImage") == {
            f"arn:aws:ecr:{at}:repository/acme-ai-prod/*", f"arn:aws:ecr:{at}:repository/acme-ai-prod-*"
        }  # fmt: skip
        # Not the flows of the network, nor what functions write.
        assert can(found, "logs:GetLogEvents") == {
            f"arn:aws:logs:{at}:log-group:/acme-ai-prod-jobs/*",
            f"arn:aws:logs:{at}:log-group:/aws/containerinsights/acme-ai-prod-*",
            f"arn:aws:logs:{at}:log-group:/aws/sagemaker/*",
        }
        for action in (
            "ecr:BatchDeleteImage",
            "sagemaker:UpdateModelPackage",
            "iam:PassRole",
            "batch:RegisterJobDefinition",
        ):
            assert not can(found, action), action
        [register] = [s for s in found if "sagemaker:CreateModelPackage" in s["Action"]]
        waiting = {"sagemaker:ModelApprovalStatus": "PendingManualApproval"}
        assert register["Condition"] == {"StringEqualsIfExists": waiting}
    engineer, scientist = allowed(graph, "ml-engineer"), allowed(graph, "data-scientist")
    for action in ("signer:SignPayload", "sagemaker:StartPipelineExecution"):
        assert can(engineer, action)
        assert not can(scientist, action)
    assert can(engineer, "ecr:PutImage") == {f"arn:aws:ecr:{at}:repository/acme-ai-prod/*"}
    assert can(scientist, "ecr:PutImage") <= {f"arn:aws:ecr:{at}:repository/acme-ai-prod/training"}
    for persona in ("auditor", "platform-admin"):
        for action in (
            "ecr:BatchGetImage",
            "batch:SubmitJob",
            "sagemaker:CreateModelPackage",
            "sagemaker:CallMlflowAppApi",
        ):
            assert not can(allowed(graph, persona), action), f"{persona}: {action}"


def people(**changes: Any) -> Graph:
    """The personas alone."""

    def program() -> None:
        parent = pulumi.ComponentResource("ai-platform:aws:Environment", "dev")
        scope = Scope(
            environment="dev", tier="dev", cloud="aws", account="111111111111", region="us-west-2", replica_region=None,
            names=Names("acme-ai", "dev"), tags={}, protection="delete", log_days=30, today=date(2026, 6, 1),
            provider=aws.Provider("aws", region="us-west-2", opts=pulumi.ResourceOptions(parent=parent)),
        )  # fmt: skip
        args = PersonasArgs(
            permission_sets=PERMISSION_SETS,
            session_hours=4,
            zones=[],
            secrets=[],
            secrets_key=contracts.Key(
                id=pulumi.Output.from_input("arn:aws:kms:us-west-2:111111111111:key/1"), replica=None
            ),
            boundary=contracts.Boundary(id=pulumi.Output.from_input("arn:aws:iam::111111111111:policy/boundary")),
            **changes,
        )
        Personas("personas", args, scope=scope, parent=parent)

    return run(program)


def test_jobs_are_submitted_as_one_of_the_teams() -> None:
    """Batch gives a share that it does not know as much as a team of one."""
    graph = people(teams=["vision", "fraud-eu"], training_images=["training"])
    for persona in ("data-scientist", "ml-engineer"):
        found = allowed(graph, persona)
        [submit] = [s for s in found if "batch:SubmitJob" in s["Action"]]
        assert submit["Condition"] == {"StringEqualsIfExists": {"batch:ShareIdentifier": ["vision", "fraudXeu"]}}
        assert all(":job/*" in r or "/acme-ai-dev-*" in r for r in submit["Resource"])
        assert can(found, "batch:TerminateJob") == {"arn:aws:batch:us-west-2:111111111111:job/*"}
    pushed = can(allowed(graph, "data-scientist"), "ecr:PutImage")
    assert pushed == {"arn:aws:ecr:us-west-2:111111111111:repository/acme-ai-dev/training"}


def test_without_teams_and_images_nobody_submits_and_scientists_do_not_push() -> None:
    graph = people()
    assert not [p for p in PERSONAS if can(allowed(graph, p), "batch:SubmitJob")]
    assert not can(allowed(graph, "data-scientist"), "ecr:PutImage")
    assert can(allowed(graph, "ml-engineer"), "ecr:PutImage")


# Secrets


@pytest.mark.parametrize("stack", AWS)
def test_a_generated_secret_has_no_value_that_pulumi_knows(graphs: Graphs, stack: str) -> None:
    graph = graphs(stack)
    assert not kind(graph, "SecretVersion")
    rotation = one(graph, "SecretRotation", "secrets-request-signing-rotation")
    assert rotation.get("rotateImmediately") is True
    assert rotation.get("rotationRules") == {"automaticallyAfterDays": 30}
    assert waits_for(
        graph,
        rotation,
        one(graph, "Permission", "secrets-rotation-permission"),
        one(graph, "RolePolicy", "secrets-rotation-policy"),
        one(graph, "SecurityGroupEgressRule", "secrets-rotation-https"),
        one(graph, "LogGroup", "secrets-rotation-log"),
    )


def test_the_function_is_private_observed_and_bounded(graphs: Graphs) -> None:
    graph = graphs("prod")
    function = one(graph, "Function", "secrets-rotation-function")
    assert len(function.get("vpcConfig.subnetIds")) == 3
    assert function.get("tracingConfig") == {"mode": "Active"}
    assert function.get("reservedConcurrentExecutions") == 2
    assert function.get("deadLetterConfig.targetArn")
    assert list(function.get("code")) == ["secret_rotation.py"]
    assert json.loads(function.get("environment.variables.LENGTHS")) == {"acme-ai-prod-request-signing": 48}
    permission = one(graph, "Permission", "secrets-rotation-permission")
    assert (permission.get("principal"), permission.get("sourceAccount")) == (
        "secretsmanager.amazonaws.com",
        "333333333333",
    )
    topic = one(graph, "Topic", "notifications-warning-topic")
    for name in ("secrets-rotation-errors-alarm", "secrets-rotation-failed-alarm"):
        assert one(graph, "MetricAlarm", name).get("alarmActions") == [f"${{{topic.urn}#arn}}"]


def test_the_function_touches_its_own_secrets_only(graphs: Graphs) -> None:
    graph = graphs("prod")
    found = statements(one(graph, "RolePolicy", "secrets-rotation-policy"))
    secret = one(graph, "Secret", "secrets-request-signing-secret")
    [own] = [s for s in found if "secretsmanager:PutSecretValue" in s["Action"]]
    assert own["Resource"] == [f"${{{secret.urn}#arn}}"]
    function = one(graph, "Function", "secrets-rotation-function")
    arn = f"arn:aws:lambda:us-west-2:333333333333:function:{function.get('name')}"
    assert own["Condition"] == {"StringEquals": {"secretsmanager:resource/AllowRotationLambdaArn": arn}}
    [denied] = [s for s in found if s["Effect"] == "Deny"]
    assert "ec2:CreateNetworkInterface" in denied["Action"]
    assert denied["Condition"] == {"ArnEquals": {"lambda:SourceFunctionArn": arn}}


def test_secrets_are_copied_in_prod_and_closed_to_outsiders(graphs: Graphs) -> None:
    for stack, copies in (("dev", []), ("prod", ["us-east-2"])):
        for secret in kind(graphs(stack), "Secret"):
            assert [r["region"] for r in secret.get("replicas", [])] == copies
            policy = one(graphs(stack), "SecretPolicy", secret.name.replace("-secret", "-policy"))
            assert by_sid(policy)["OnlyInsiders"]["Effect"] == "Deny"
            assert policy.get("blockPublicPolicy") is True


def test_a_provided_value_stays_a_secret(project: Path) -> None:
    value = "hub-token-of-nobody"
    graph = build(
        project,
        {"secrets": {"model-hub": {"kind": "provided", "value": {"secure": "v1:abc"}, "readers": ["ml-engineer"]}}},
        config={"secrets": {"model-hub": {"value": value}}},
        whole=True,
    )
    version = one(graph, "SecretVersion", "secrets-model-hub-value")
    assert version.get("secretString") == SECRET
    assert value not in repr(graph)
    secret = one(graph, "Secret", "secrets-model-hub-secret")
    assert can(deployer(graph), "secretsmanager:GetSecretValue") == {f"${{{secret.urn}#arn}}"}


def test_without_a_generated_secret_there_is_no_function(project: Path) -> None:
    platform = project / "stacks" / "platform.yaml"
    lines = [line for line in platform.read_text().splitlines() if "request-signing" not in line]
    platform.write_text("\n".join(lines))
    graph = build(project)
    assert not kind(graph, "Function")
    assert [r.name for r in kind(graph, "Secret")] == ["secrets-model-hub-secret"]


# Notifications


@pytest.mark.parametrize("stack", AWS)
def test_topics_keep_their_owner_and_take_from_named_services(graphs: Graphs, stack: str) -> None:
    graph = graphs(stack)
    key = by_sid(one(graph, "Key", "keys-logs-key"))
    senders = {
        "critical": {"cloudwatch", "events"},
        "warning": {"cloudwatch", "events"},
        "cost": {"budgets", "costalerts"},
    }
    for topic, services in senders.items():
        made = one(graph, "Topic", f"notifications-{topic}-topic")
        assert made.property_dependencies["kmsMasterKeyId"] == (one(graph, "Key", "keys-logs-key").urn,)
        found = by_sid(one(graph, "TopicPolicy", f"notifications-{topic}-policy"))
        assert "sns:Publish" in found["Owner"]["Action"]
        assert found["OnlyOverTls"]["Effect"] == "Deny"
        for service in services:
            statement = found[service.capitalize()]
            assert statement["Principal"] == {"Service": f"{service}.amazonaws.com"}
            assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": graph.outputs["aws"]["account"]}
            # Without a right on the key the service publishes into nothing.
            assert key[service.capitalize()]["Principal"] == {"Service": f"{service}.amazonaws.com"}
        assert {s["Sid"] for s in statements(one(graph, "TopicPolicy", f"notifications-{topic}-policy"))} == {
            "Owner", "OnlyOverTls", *(s.capitalize() for s in services)
        }  # fmt: skip


def test_people_are_told(project: Path) -> None:
    graph = build(project, {"operations": {"critical": ["on-call@example.com", "on-call@example.com"], "warning": []}})
    told = {(r.name, r.get("endpoint"), r.get("protocol")) for r in kind(graph, "TopicSubscription")}
    assert told == {
        ("notifications-critical-on-call@example.com", "on-call@example.com", "email"),
        ("notifications-warning-ml-platform@example.com", "ml-platform@example.com", "email"),
    }


def test_the_webhook_is_a_secret_and_what_it_refuses_is_kept(project: Path) -> None:
    address = "https://pager.example.com/key-of-nobody"
    graph = build(
        project,
        {"operations": {"webhook": {"secure": "v1:abc"}}},
        config={"operations": {"webhook": address}},
        whole=True,
    )
    subscription = one(graph, "TopicSubscription", "notifications-webhook-subscription")
    assert subscription.get("endpoint") == SECRET
    assert "endpoint" in subscription.secret_outputs
    assert address not in repr(graph)
    queue = one(graph, "Queue", "notifications-webhook-failed-queue")
    assert json.loads(subscription.get("redrivePolicy")) == {"deadLetterTargetArn": f"${{{queue.urn}#arn}}"}
    assert waits_for(graph, subscription, one(graph, "QueuePolicy", "notifications-webhook-failed-policy"))
    allowed_ = by_sid(one(graph, "QueuePolicy", "notifications-webhook-failed-policy"))["Topic"]
    topic = one(graph, "Topic", "notifications-critical-topic")
    assert allowed_["Condition"]["ArnLike"] == {"aws:SourceArn": f"${{{topic.urn}#arn}}"}
    assert "Sns" in by_sid(one(graph, "Key", "keys-logs-key"))
    assert one(graph, "MetricAlarm", "notifications-webhook-failed-alarm").get("alarmActions")


# Budgets


def test_budgets(graphs: Graphs) -> None:
    graph = graphs("prod")
    found = {r.name: r for r in kind(graph, "Budget")}
    assert {n: float(r.get("limitAmount")) for n, r in found.items()} == {
        "budgets-environment": 150000,
        "budgets-team-vision": 75000,
        "budgets-team-risk": 45000,
    }
    assert found["budgets-environment"].get("costFilters") == []
    assert found["budgets-team-vision"].get("costFilters") == [{"name": "TagKeyValue", "values": ["user:team$vision"]}]
    for budget in found.values():
        # "AWS Budgets quotas": five notifications a budget, ten addresses and one topic each.
        notifications = budget.get("notifications")
        assert len(notifications) == 5
        assert all(len(n["subscriberEmailAddresses"]) <= 10 for n in notifications)
        assert waits_for(graph, budget, one(graph, "TopicPolicy", "notifications-cost-policy"))
        assert "timePeriodStart" not in budget.inputs
    told = {n["subscriberEmailAddresses"][0] for n in found["budgets-team-vision"].get("notifications")}
    assert told == {"vision@example.com"}


def test_tags_are_activated_by_the_payer_alone(project: Path, graphs: Graphs) -> None:
    assert not kind(graphs("prod"), "CostAllocationTag")
    graph = build(project, {"cost": {"activate_tags": True, "tags": {"product": "vision"}}})
    assert {r.get("tagKey") for r in kind(graph, "CostAllocationTag")} == {
        "environment", "tier", "platform", "owner", "cost-center", "managed-by", "product", "team", "feature"
    }  # fmt: skip


@pytest.mark.parametrize("stack", AWS)
def test_every_service_that_is_trusted_is_named_with_its_account(graphs: Graphs, stack: str) -> None:
    for resource, path, found in documents(graphs(stack)):
        for statement in found:
            principal = statement.get("Principal")
            if statement["Effect"] == "Allow" and isinstance(principal, dict) and "Service" in principal:
                condition = json.dumps(statement.get("Condition"))
                # By the account, by an ARN that has it, or by a folder of its own, as load balancers' logs have; and whether
                # there is a key is no secret.
                named = '"aws:SourceAccount"' in condition or re.search(r'SourceArn": "arn:(\S*:){3}\d{12}:', condition)
                named = named or all(re.search(r"/AWSLogs/\d{12}/", r) for r in statement.get("Resource", [""]))
                harmless = statement["Action"] == ["kms:DescribeKey"]
                assert named or harmless or "EncryptionContext" in condition, f"{resource.name}.{path}"


@pytest.mark.parametrize("stack", AWS)
def test_a_service_takes_a_role_for_this_account_alone_and_is_never_kept_out_of_it(graphs: Graphs, stack: str) -> None:
    """Where it is not documented that the service names the account it acts for, the condition holds only where it does."""
    account = graphs(stack).outputs["aws"]["account"]
    seen: dict[str, set[str]] = {}
    for role in kind(graphs(stack), "Role"):
        for statement in statements(role, "assumeRolePolicy"):
            if service := statement["Principal"].get("Service"):
                operators = {
                    op for op, keys in statement["Condition"].items() if keys.get("aws:SourceAccount") == account
                }
                seen.setdefault(service, set()).update(operators)
    loose = {service for service, operators in seen.items() if operators != {"StringEquals"}}
    assert "vpc-flow-logs.amazonaws.com" not in loose
    assert "lambda.amazonaws.com" in loose
    assert ("s3.amazonaws.com" in loose) == (stack == "prod")
    assert all(seen[service] == {"StringEqualsIfExists"} for service in loose), seen
