"""Registries on AWS: what others may read and pull, who approves, what is kept, and in which order it all comes."""

import json
from collections.abc import Sequence
from datetime import date
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest

from components import contracts
from components.aws.registry.images import Images, ImagesArgs, Repository, clean_up, finding
from components.aws.registry.models import Model, Models, ModelsArgs, Source, marking, shared
from components.core.naming import Names
from components.scope import Scope
from policies.model import Graph
from preview.record import run
from tests.aws.building import by_sid, kind, one, region, statements, waits_for

HERE, THERE = "111111111111", "222222222222"
TOPIC = f"arn:aws:sns:us-west-2:{HERE}:warning"
KEY, COPY = f"arn:aws:kms:us-west-2:{HERE}:key/1", f"arn:aws:kms:us-east-2:{HERE}:key/1"
TWO = {"training": Repository(keep=20, untagged_days=7), "serving": Repository(keep=50, untagged_days=7, shared=True)}


def scope(root: pulumi.Resource, *, environment: str, protection: str, second: str | None) -> Scope:
    opts = pulumi.ResourceOptions(parent=root)
    return Scope(
        environment=environment,
        tier="prod" if protection == "retain" else "dev",
        cloud="aws",
        account=HERE,
        region="us-west-2",
        replica_region=second,
        names=Names("acme-ai", environment),
        tags={"environment": environment},
        protection=protection,
        log_days=30,
        today=date(2026, 1, 1),
        provider=aws.Provider("aws", region="us-west-2", opts=opts),
        replica_provider=aws.Provider("aws-replica", region=second, opts=opts) if second else None,
    )


def images(
    *,
    environment: str = "dev",
    protection: str = "delete",
    second: str | None = None,
    preview: bool = False,
    **args: Any,
) -> Graph:
    def program() -> None:
        root = pulumi.ComponentResource("test:Root", "root")
        text = pulumi.Output.from_input
        given: dict[str, Any] = {
            "repositories": TWO,
            "key": contracts.Key(id=text(KEY), replica=text(COPY) if second else None),
            "boundary": contracts.Boundary(id=text(f"arn:aws:iam::{HERE}:policy/boundary")),
            "scanning": "continuous",
            "signatures": "audit",
            "warning": [text(TOPIC)],
        }
        where = scope(root, environment=environment, protection=protection, second=second)
        made = Images("images", ImagesArgs(**(given | args)), scope=where, parent=root)
        # Whoever uses an address waits for what it passes through.
        for name, address in made.outputs.repositories.items():
            aws.sns.Topic(f"user-{name}", display_name=address, opts=made.options())
        for name, address in made.outputs.mirrors.items():
            aws.sns.Topic(f"user-{name}", display_name=address, opts=made.options())
        pulumi.export("signer", made.outputs.signer)

    return run(program, preview=preview)


def models(*, protection: str = "delete", preview: bool = False, **args: Any) -> tuple[Graph, Models]:
    built: list[Models] = []

    def program() -> None:
        root = pulumi.ComponentResource("test:Root", "root")
        text = pulumi.Output.from_input
        where = scope(root, environment="dev", protection=protection, second=None)
        role = aws.iam.Role(
            "engineer",
            name="acme-ai-dev-ml-engineer",
            assume_role_policy="{}",
            opts=pulumi.ResourceOptions(parent=root, provider=where.provider),
        )
        bucket = "acme-ai-dev-models"
        given: dict[str, Any] = {
            "models": {"fraud": Model(description="Scores payments.", tags={"team": "risk"})},
            "bucket": contracts.Storage(
                name=text(bucket), uri=text(f"s3://{bucket}"), resource=text(f"arn:aws:s3:::{bucket}")
            ),
            "approvers": {"ml-engineer": role.arn},
            "boundary": contracts.Boundary(id=text(f"arn:aws:iam::{HERE}:policy/boundary")),
            "warning": [text(TOPIC)],
        }
        made = Models("models", ModelsArgs(**(given | args)), scope=where, parent=root)
        for model in made.outputs.approved:
            aws.sns.Topic(f"user-{model}", display_name=made.outputs.approved[model], opts=made.options())
        built.append(made)

    return run(program, preview=preview), built[0]


# Images


@pytest.mark.parametrize("second", [None, "us-east-2"])
def test_every_repository_is_closed_encrypted_scanned_and_its_tags_stay(second: str | None) -> None:
    graph = images(second=second)
    found = kind(graph, "Repository")
    assert len(found) == 2 * (2 if second else 1)
    for repository in found:
        there = region(graph, repository) != "us-west-2"
        assert repository.get("imageTagMutability") == "IMMUTABLE"
        assert repository.get("imageScanningConfiguration") == {"scanOnPush": True}
        assert repository.get("encryptionConfigurations") == [
            {"encryptionType": "KMS", "kmsKey": COPY if there else KEY}
        ]
        label = repository.name.removesuffix("-repository")
        for cls, part in (("RepositoryPolicy", "policy"), ("LifecyclePolicy", "lifecycle")):
            side = one(graph, cls, f"{label}-{part}")
            assert side.property_dependencies["repository"] == (repository.urn,)
            assert side.provider == repository.provider


def test_an_address_waits_for_policy_and_clean_up() -> None:
    graph = images()
    for name in TWO:
        user = one(graph, "Topic", f"user-{name}")
        parts = [
            one(graph, "RepositoryPolicy", f"images-{name}-policy"),
            one(graph, "LifecyclePolicy", f"images-{name}-lifecycle"),
            one(graph, "RegistryScanningConfiguration", "images-scanning"),
        ]
        assert waits_for(graph, user, *parts)


@pytest.mark.parametrize("organization", [None, "o-abcdefghij"])
def test_other_accounts_pull_what_is_shared_and_do_nothing_else(organization: str | None) -> None:
    graph = images(readers=[THERE], organization=organization)
    outside = {"aws:PrincipalOrgID": organization} if organization else {}
    for name, accounts in (("training", [HERE]), ("serving", [HERE, THERE])):
        found = by_sid(one(graph, "RepositoryPolicy", f"images-{name}-policy"))
        assert found["OnlyInsiders"]["Effect"] == "Deny"
        assert found["OnlyInsiders"]["Condition"] == {
            "StringNotEquals": {**outside, "aws:PrincipalAccount": accounts},
            "BoolIfExists": {"aws:PrincipalIsAWSService": "false"},
        }
        # ECR refuses a repository policy that names a resource.
        assert not any("Resource" in statement for statement in found.values())
        assert ("ReadersPull" in found) == (name == "serving")
    pull = by_sid(one(graph, "RepositoryPolicy", "images-serving-policy"))["ReadersPull"]
    assert pull["Principal"] == {"AWS": [f"arn:aws:iam::{THERE}:root"]}
    assert not [a for a in pull["Action"] if not a.startswith(("ecr:Batch", "ecr:Describe", "ecr:Get"))]


def test_nobody_is_let_in_where_nobody_is_named() -> None:
    for policy in kind(images(), "RepositoryPolicy"):
        # But the service that starts functions of ours from them.
        allowed = [s for s in statements(policy) if s["Effect"] == "Allow"]
        assert [s["Principal"] for s in allowed] == [{"Service": "lambda.amazonaws.com"}]
        assert all("111111111111:function:acme-ai-dev-" in json.dumps(s["Condition"]) for s in allowed)


def test_where_images_must_be_signed_no_signature_is_cleaned_up() -> None:
    """A signature has no tag: deleted by age, it would take the image out of service."""
    for signatures, states in (("audit", ["untagged", "tagged"]), ("enforce", ["tagged"])):
        graph = images(signatures=signatures)
        rules = json.loads(one(graph, "LifecyclePolicy", "images-training-lifecycle").get("policy"))["rules"]
        assert [rule["selection"]["tagStatus"] for rule in rules] == states
        assert len({rule["rulePriority"] for rule in rules}) == len(rules)
    assert clean_up(keep=20, untagged_days=7)["rules"][0]["selection"] == {
        "tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 7,
    }  # fmt: skip
    assert clean_up(keep=20, untagged_days=7)["rules"][1]["selection"] == {
        "tagStatus": "tagged", "tagPatternList": ["*"], "countType": "imageCountMoreThan", "countNumber": 20,
    }  # fmt: skip


def test_replicas_are_ours_before_anything_is_copied() -> None:
    """A repository that the replication made would have AWS's key, and tags that move."""
    graph = images(second="us-east-2", environment="prod", protection="retain")
    replication = one(graph, "ReplicationConfiguration", "images-replication")
    replicas = [one(graph, "Repository", f"images-{name}-replica-repository") for name in TWO]
    assert waits_for(graph, replication, *replicas)
    (rule,) = replication.get("replicationConfiguration.rules")
    assert rule["destinations"] == [{"region": "us-east-2", "registryId": HERE}]
    (only,) = rule["repositoryFilters"]
    assert only["filterType"] == "PREFIX_MATCH"
    assert all(r.get("name").startswith(only["filter"]) for r in kind(graph, "Repository"))
    assert {region(graph, r) for r in kind(graph, "RegistryScanningConfiguration")} == {"us-west-2", "us-east-2"}
    for name in TWO:
        assert waits_for(graph, one(graph, "Topic", f"user-{name}"), replication)
    assert not kind(images(), "ReplicationConfiguration")


@pytest.mark.parametrize("protection", ["delete", "protect", "retain"])
def test_a_destroy_takes_images_only_where_the_tier_deletes(protection: str) -> None:
    for repository in kind(images(protection=protection, second="us-east-2"), "Repository"):
        assert bool(repository.get("forceDelete")) == (protection == "delete")
        assert bool(repository.protect) == (protection != "delete")
        assert bool(repository.retain_on_delete) == (protection == "retain")


@pytest.mark.parametrize(
    ("scanning", "kind_", "source"),
    [("on_push", "BASIC", "aws.ecr"), ("continuous", "ENHANCED", "aws.inspector2")],
)
def test_a_critical_finding_reaches_people(scanning: str, kind_: str, source: str) -> None:
    graph = images(scanning=scanning)
    assert one(graph, "RegistryScanningConfiguration", "images-scanning").get("scanType") == kind_
    rule = one(graph, "EventRule", "images-critical")
    assert json.loads(rule.get("eventPattern")) == finding(scanning)
    assert finding(scanning)["source"] == [source]
    (target,) = kind(graph, "EventTarget")
    assert target.get("arn") == TOPIC
    assert target.property_dependencies["rule"] == (rule.urn,)


@pytest.mark.parametrize("environment", ["dev", "staging-gcp", "a-very-long-environment-name-xyz"])
def test_mirrors_are_encrypted_by_our_key_and_made_before_the_first_pull(environment: str) -> None:
    graph = images(environment=environment, mirrors=["public.ecr.aws", "registry.k8s.io"])
    role = one(graph, "Role", "images-mirrors-role")
    for dashed, upstream in (("public-ecr-aws", "public.ecr.aws"), ("registry-k8s-io", "registry.k8s.io")):
        rule = one(graph, "PullThroughCacheRule", f"images-{dashed}-mirror")
        template = one(graph, "RepositoryCreationTemplate", f"images-{dashed}-template")
        assert rule.get("upstreamRegistryUrl") == upstream
        prefix = rule.get("ecrRepositoryPrefix")
        assert 2 <= len(prefix) <= 30
        assert "--" not in prefix
        assert template.get("prefix") == prefix
        assert template.get("encryptionConfigurations") == [{"encryptionType": "KMS", "kmsKey": KEY}]
        assert template.get("appliedFors") == ["PULL_THROUGH_CACHE"]
        assert by_sid(template, "repositoryPolicy")["OnlyInsiders"]["Effect"] == "Deny"
        # Without it the first pull makes a repository with AWS's key.
        assert waits_for(graph, rule, template, role, one(graph, "RolePolicy", "images-mirrors-policy"))
        user = one(graph, "Topic", f"user-{upstream}")
        assert user.get("displayName") == f"{HERE}.dkr.ecr.us-west-2.amazonaws.com/{prefix}"
        assert waits_for(graph, user, rule)
    may = statements(one(graph, "RolePolicy", "images-mirrors-policy"))
    assert [s["Resource"] for s in may if "kms:CreateGrant" in s["Action"]] == [[KEY]]
    assert all(s["Resource"] != ["*"] for s in may)
    assert not kind(images(), "PullThroughCacheRule")


def test_a_signing_profile_can_be_made_again_after_a_destroy() -> None:
    profile = one(images(), "SigningProfile", "images-signer")
    assert profile.get("platformId") == "Notation-OCI-SHA384-ECDSA"
    assert "name" not in profile.inputs
    long = one(images(environment="a-very-long-environment-name-xyz"), "SigningProfile", "images-signer")
    for made in (profile, long):
        prefix = made.get("namePrefix")
        assert len(prefix) <= 38
        assert prefix.replace("_", "").isalnum()


# Models


def test_a_version_is_approved_by_an_approver_and_by_nobody_who_publishes() -> None:
    graph, made = models()
    policy = one(graph, "RolePolicy", "models-ml-engineer-approves")
    assert policy.get("role") == "acme-ai-dev-ml-engineer"
    assert waits_for(graph, policy, one(graph, "Role", "engineer"))
    (decide,) = [s for s in statements(policy) if "sagemaker:UpdateModelPackage" in s["Action"]]
    assert decide["Resource"] == [f"arn:aws:sagemaker:us-west-2:{HERE}:model-package/acme-ai-dev-*/*"]
    assert set(decide["Condition"]["StringEquals"]) == {"sagemaker:ModelApprovalStatus"}
    actions = {a for s in made.publish for a in s["Action"]}
    assert "sagemaker:UpdateModelPackage" not in actions
    (register,) = [s for s in made.publish if "sagemaker:CreateModelPackage" in s["Action"]]
    # A version could be born approved.
    assert register["Condition"] == {"StringEqualsIfExists": {"sagemaker:ModelApprovalStatus": "PendingManualApproval"}}


def test_a_new_description_replaces_no_group() -> None:
    graph, _ = models(protection="retain")
    group = one(graph, "ModelPackageGroup", "models-fraud-group")
    assert group.get("modelPackageGroupName") == "acme-ai-dev-fraud"
    assert group.get("tags") == {"team": "risk"}
    assert "modelPackageGroupDescription" in group.ignore_changes
    assert group.protect
    assert group.retain_on_delete


def test_decisions_are_told() -> None:
    graph, _ = models()
    rule = one(graph, "EventRule", "models-decided")
    pattern = json.loads(rule.get("eventPattern"))
    assert pattern["detail-type"] == ["SageMaker Model Package State Change"]
    assert pattern["detail"] == {
        "ModelPackageGroupName": [{"prefix": "acme-ai-dev-"}],
        "ModelApprovalStatus": ["Approved", "Rejected"],
    }
    target = one(graph, "EventTarget", "models-decided-0")
    assert target.get("arn") == TOPIC
    # EventBridge wants text in quotes for what is no JSON of its own.
    template = target.get("inputTransformer.inputTemplate")
    assert json.loads(template)
    assert set(target.get("inputTransformer.inputPaths")) == {"package", "status"}


def test_without_readers_nothing_crosses() -> None:
    graph, made = models()
    assert not kind(graph, "ModelPackageGroupPolicy")
    assert not kind(graph, "StateMachine")
    assert made.read
    assert not [s for s in made.read if THERE in json.dumps(s)]


def test_readers_see_versions_and_approve_none() -> None:
    graph, _ = models(readers=[THERE])
    policy = one(graph, "ModelPackageGroupPolicy", "models-fraud-policy")
    found = statements(policy, "resourcePolicy")
    assert all(s["Principal"] == {"AWS": [f"arn:aws:iam::{THERE}:root"]} for s in found)
    at = f"arn:aws:sagemaker:us-west-2:{HERE}"
    assert {r for s in found for r in s["Resource"]} == {
        f"{at}:model-package-group/acme-ai-dev-fraud",
        f"{at}:model-package/acme-ai-dev-fraud/*",
    }
    assert "sagemaker:UpdateModelPackage" not in {a for s in found for a in s["Action"]}
    # Whoever deploys comes after the policy, and after what marks objects is at work.
    user = one(graph, "Topic", "user-fraud")
    assert waits_for(graph, user, policy, one(graph, "EventTarget", "models-approval-target"))


def test_an_approval_reaches_the_objects_and_its_failure_people() -> None:
    graph, _ = models(readers=[THERE])
    rule = one(graph, "EventRule", "models-approval")
    # A version that is rejected later, or is to be looked at again, loses the mark.
    assert json.loads(rule.get("eventPattern"))["detail"]["ModelApprovalStatus"] == [
        "Approved", "Rejected", "PendingManualApproval",
    ]  # fmt: skip
    machine = one(graph, "StateMachine", "models-approval-machine")
    target = one(graph, "EventTarget", "models-approval-target")
    assert target.get("arn") == f"${{{machine.urn}#arn}}"
    roles = [one(graph, "RolePolicy", f"models-approval{part}-policy") for part in ("", "-start")]
    assert waits_for(graph, target, *roles)
    may = statements(one(graph, "RolePolicy", "models-approval-policy"))
    assert {a for s in may for a in s["Action"]} == {
        "sagemaker:DescribeModelPackage", "s3:ListBucket", "s3:PutObjectTagging",
    }  # fmt: skip
    assert {r for s in may for r in s["Resource"] if "s3" in r} == {
        "arn:aws:s3:::acme-ai-dev-models", "arn:aws:s3:::acme-ai-dev-models/*",
    }  # fmt: skip
    alarm = one(graph, "MetricAlarm", "models-approval-failed")
    assert alarm.get("alarmActions") == [TOPIC]
    assert alarm.get("dimensions") == {"StateMachineArn": f"${{{machine.urn}#arn}}"}


def states(definition: dict[str, Any]) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Every state at any depth, with the machine that it is in."""
    found: list[tuple[str, dict[str, Any], dict[str, Any]]] = []
    for name, state in definition["States"].items():
        found.append((name, state, definition))
        if "ItemProcessor" in state:
            found += states(state["ItemProcessor"])
    return found


def test_the_state_machine_is_whole() -> None:
    graph, _ = models(readers=[THERE])
    definition = json.loads(one(graph, "StateMachine", "models-approval-machine").get("definition"))
    for name, state, machine in states(definition):
        assert machine["StartAt"] in machine["States"]
        led = [state.get("Next"), state.get("Default"), *(choice["Next"] for choice in state.get("Choices", []))]
        assert all(to in machine["States"] for to in led if to), name
        assert state["Type"] in ("Choice", "Fail") or ("Next" in state) != ("End" in state), name
        for expression in json.dumps(state).split("{%")[1:]:
            assert "%}" in expression
    tasks = {
        state["Resource"].rpartition(":")[2]: state for _, state, _ in states(definition) if state["Type"] == "Task"
    }
    assert list(tasks) == ["describeModelPackage", "listObjectsV2", "putObjectTagging"]
    assert {t["Arguments"].get("Bucket") for t in tasks.values()} == {None, "acme-ai-dev-models"}
    assert tasks["putObjectTagging"]["Arguments"]["Tagging"]["TagSet"] == [
        {"Key": "approval", "Value": "{% $status %}"}
    ]
    assert "s3://acme-ai-dev-models/" in tasks["listObjectsV2"]["Arguments"]["Prefix"]
    assert all("Retry" in task for task in tasks.values())
    assert definition == marking("acme-ai-dev-models")
    assert definition["QueryLanguage"] == "JSONata"


def test_the_bucket_lets_readers_have_what_is_approved_and_lets_nobody_else_approve() -> None:
    marker = f"arn:aws:iam::{HERE}:role/acme-ai-dev-models-approval"
    graph, _ = models(readers=[THERE])
    assert one(graph, "Role", "models-approval-role").get("name") == marker.rpartition("/")[2]
    found = {s["Sid"]: s for s in shared("acme-ai-dev-models", marker, [THERE])}
    read = found["ReadersReadApproved"]
    assert read["Action"] == ["s3:GetObject"]
    assert read["Condition"] == {"StringEquals": {"s3:ExistingObjectTag/approval": "Approved"}}
    tagged = {"s3:RequestObjectTagKeys": ["approval"]}
    assert found["OnlyTheRegistryApproves"]["Effect"] == "Deny"
    assert found["OnlyTheRegistryApproves"]["Condition"] == {
        "ForAnyValue:StringEquals": tagged,
        "ArnNotEquals": {"aws:PrincipalArn": marker},
    }
    assert found["NothingIsBornApproved"]["Action"] == ["s3:PutObject"]
    assert found["NothingIsBornApproved"]["Condition"] == {"ForAnyValue:StringEquals": tagged}


def test_an_environment_that_reads_from_another_names_that_one() -> None:
    graph, made = models(source=Source(environment="lab", account=THERE))
    assert one(graph, "Topic", "user-fraud").get("displayName") == (
        f"arn:aws:sagemaker:us-west-2:{THERE}:model-package-group/acme-ai-lab-fraud"
    )
    read = json.dumps(made.read)
    assert HERE not in read
    assert "acme-ai-dev" not in read
    (key,) = [s for s in made.read if s["Action"] == ["kms:Decrypt"]]
    assert key["Condition"]["StringEquals"] == {"kms:ViaService": ["s3.us-west-2.amazonaws.com"]}
    assert key["Condition"]["StringLike"]["kms:EncryptionContext:aws:s3:arn"][0] == "arn:aws:s3:::acme-ai-lab-models"
    # It publishes to its own registry all the same.
    assert THERE not in json.dumps(made.publish)


def test_no_model_no_registry() -> None:
    graph, made = models(models={}, readers=[THERE])
    assert {r.type.rpartition(":")[2] for r in graph.resources.values() if r.type.startswith("aws:")} == {"Role"}
    assert not made.publish
    assert not made.read


def shape(graph: Graph) -> Sequence[tuple[object, ...]]:
    return [(urn, r.dependencies, r.protect) for urn, r in graph.resources.items()]


def test_a_first_preview_registers_the_same() -> None:
    full: dict[str, Any] = {"readers": [THERE], "second": "us-east-2", "mirrors": ["quay.io"]}
    assert shape(images(**full)) == shape(images(**full, preview=True))
    assert shape(models(readers=[THERE])[0]) == shape(models(readers=[THERE], preview=True)[0])
