"""Keys, people, pipelines, secrets, notifications, budgets: who may do what, and who is told."""

import json
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from components.aws.foundation.personas import READ, WRITE, reserved_roles
from policies.model import SECRET, Graph
from tests.aws.building import build, by_sid, documents, kind, one, region, statements, waits_for
from tests.conftest import AWS

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
    aliases = [(r.get("name"), region(graph, r)) for r in kind(graph, "Alias")]
    assert len(aliases) == 9
    assert ("alias/acme-ai-prod-data", "us-east-2") in aliases


@pytest.mark.parametrize("stack", AWS)
def test_the_account_can_never_be_locked_out_of_a_key(graphs: Graphs, stack: str) -> None:
    for key in [*kind(graphs(stack), "Key"), *kind(graphs(stack), "ReplicaKey")]:
        root = by_sid(key)["AccountDecidesByIam"]
        assert (root["Effect"], root["Action"], root["Resource"]) == ("Allow", ["kms:*"], ["*"])
        assert root["Principal"]["AWS"].endswith(":root")
        others = [s for s in statements(key) if s is not root and s["Sid"] != "AccountDecidesByIam"]
        assert all("Service" in s["Principal"] and s["Condition"] for s in others)
        # A service in its own name only where it has something to encrypt.
        assert bool(others) == (key.name == "keys-logs-key")


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
    platform.write_text(platform.read_text().replace("permission_set: Auditor, ", ""))
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
    assert len(attached) == 3


@pytest.mark.parametrize("stack", AWS)
def test_a_deployment_makes_roles_only_inside_the_boundary(graphs: Graphs, stack: str) -> None:
    graph = graphs(stack)
    found = by_sid(one(graph, "Policy", "delivery-deploy-identities"))
    boundary = one(graph, "Policy", "boundary-policy")
    assert found["RolesWithTheBoundary"]["Condition"] == {
        "StringEquals": {"iam:PermissionsBoundary": f"${{{boundary.urn}#arn}}"}
    }
    for statement in found.values():
        assert all(
            f":role/acme-ai-{stack}-" in r or ":policy/acme" in r or "provider/" in r or "/aws-service-role/" in r
            for r in statement["Resource"]
        )
    assert set(found["RolesForServices"]["Condition"]) == {"StringEquals"}
    platform = statements(one(graph, "Policy", "delivery-deploy-platform"))
    assert not can(platform, "s3:GetObject")
    assert not can(platform, "secretsmanager:GetSecretValue")
    assert bool(can(platform, "s3:DeleteObjectVersion")) == (stack == "dev")


def test_no_delivery_without_a_repository(project: Path) -> None:
    graph = build(project, {"delivery": {"github": None}})
    assert not kind(graph, "OpenIdConnectProvider")
    assert not [r.name for r in kind(graph, "Role") if r.name.startswith("delivery")]


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
    )
    version = one(graph, "SecretVersion", "secrets-model-hub-value")
    assert version.get("secretString") == SECRET
    assert value not in repr(graph)
    platform = statements(one(graph, "Policy", "delivery-deploy-platform"))
    secret = one(graph, "Secret", "secrets-model-hub-secret")
    assert can(platform, "secretsmanager:GetSecretValue") == {f"${{{secret.urn}#arn}}"}


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
        project, {"operations": {"webhook": {"secure": "v1:abc"}}}, config={"operations": {"webhook": address}}
    )
    subscription = one(graph, "TopicSubscription", "notifications-webhook-subscription")
    assert subscription.get("endpoint") == SECRET
    assert "endpoint" in subscription.secret_outputs
    assert address not in repr(graph)
    queue = one(graph, "Queue", "notifications-webhook-failed")
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
        "budgets-environment": 40000,
        "budgets-team-vision": 20000,
        "budgets-team-risk": 12000,
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
                assert "aws:SourceAccount" in json.dumps(statement["Condition"]) or "EncryptionContext" in json.dumps(
                    statement["Condition"]
                ), f"{resource.name}.{path}"


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
    assert seen.pop("vpc-flow-logs.amazonaws.com") == {"StringEquals"}
    assert seen.pop("lambda.amazonaws.com") == {"StringEqualsIfExists"}
    assert seen == ({"s3.amazonaws.com": {"StringEqualsIfExists"}} if stack == "prod" else {})
