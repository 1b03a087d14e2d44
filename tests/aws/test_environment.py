"""The AWS environments as a whole: what would fail, leak, cost or stay behind."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.core.naming import LIMITS
from policies.model import Graph
from tests.aws.building import build, documents, kind, one, region, statements, upstream
from tests.conftest import AWS

Graphs = Callable[..., Graph]

PROTECTED = (
    "Bucket",
    "Key",
    "ReplicaKey",
    "Secret",
)
NAMES = {
    "Bucket": ("bucket", "bucket"),
    "Role": ("name", "iam_role"),
    "Policy": ("name", "iam_policy"),
    "Function": ("name", "function"),
    "Budget": ("name", "budget"),
    "Secret": ("name", "secret"),
    "Topic": ("name", "topic"),
    "Queue": ("name", "topic"),
}


@pytest.mark.parametrize("stack", AWS)
@pytest.mark.parametrize("preview", [False, True])
def test_it_builds_with_known_and_with_unknown_outputs(graphs: Graphs, stack: str, preview: bool) -> None:
    known, seen = graphs(stack), graphs(stack, preview=preview)
    assert set(seen.resources) == set(known.resources)
    assert {u: r.dependencies for u, r in seen.resources.items()} == {
        u: r.dependencies for u, r in known.resources.items()
    }
    assert set(seen.outputs) == {"aws"}


@pytest.mark.parametrize("stack", AWS)
def test_everything_has_a_provider_which_is_bound_to_the_account(graphs: Graphs, stack: str) -> None:
    graph = graphs(stack)
    providers = graph.of_type("pulumi:providers:aws")
    assert [p.name for p in providers] == (["aws", "aws-replica"] if stack == "prod" else ["aws"])
    assert {r.provider for r in kind_all(graph)} == {p.urn for p in providers}
    for provider in providers:
        assert provider.get("allowedAccountIds") == [graph.outputs["aws"]["account"]]
        tags = provider.get("defaultTags")["tags"]
        assert set(tags) == {"environment", "tier", "platform", "owner", "cost-center", "managed-by"}
        assert tags["environment"] == stack
        assert "assumeRoles" not in provider.inputs


def test_the_deploy_role_is_assumed_where_it_is_given(project: Path) -> None:
    role = "arn:aws:iam::111111111111:role/deployer"
    graph = build(project, {"cloud": {"aws": {"account": "111111111111", "region": "us-west-2", "assume_role": role}}})
    [provider] = [r for r in graph.resources.values() if r.type == "pulumi:providers:aws"]
    assert provider.get("assumeRoles")[0]["roleArn"] == role


@pytest.mark.parametrize(
    ("stack", "protect", "retain"), [("dev", False, False), ("staging", True, False), ("prod", True, True)]
)
def test_what_holds_data_is_protected_by_tier(graphs: Graphs, stack: str, protect: bool, retain: bool) -> None:
    graph = graphs(stack)
    held = [r for name in PROTECTED for r in kind(graph, name)] + [one(graph, "LogGroup", "network-flows")]
    assert len(held) > 10
    assert {(r.protect, r.retain_on_delete) for r in held} == {(protect, retain)}
    assert {r.get("forceDestroy") for r in kind(graph, "Bucket")} == {not protect}
    assert {r.get("recoveryWindowInDays") for r in kind(graph, "Secret")} == {
        {"dev": 0, "staging": 14, "prod": 30}[stack]
    }


@pytest.mark.parametrize("stack", AWS)
def test_a_destroy_of_dev_is_not_held_up_by_anything(graphs: Graphs, stack: str) -> None:
    held = [r.name for r in graphs(stack).resources.values() if r.protect or r.retain_on_delete]
    assert bool(held) == (stack != "dev")


@pytest.mark.parametrize("stack", AWS)
def test_nothing_but_nat_has_a_public_address(graphs: Graphs, stack: str) -> None:
    graph = graphs(stack)
    assert {r.get("mapPublicIpOnLaunch") for r in kind(graph, "Subnet")} == {False}
    nats = kind(graph, "NatGateway")
    used = {urn for nat in nats for urn in nat.property_dependencies["allocationId"]}
    assert used == {r.urn for r in kind(graph, "Eip")}


@pytest.mark.parametrize("stack", AWS)
def test_names_fit(graphs: Graphs, stack: str) -> None:
    for name, (field, limit) in NAMES.items():
        for resource in kind(graphs(stack), name):
            given = resource.get(field)
            assert given.startswith(f"acme-ai-{stack}-"), resource.name
            assert len(given) <= LIMITS[limit]


@pytest.mark.parametrize("stack", AWS)
def test_policies_fit_their_limits(graphs: Graphs, stack: str) -> None:
    # "IAM and STS quotas": without white space 6,144 characters a managed policy, 10,240 all inline ones of a role, 2,048 a trust
    # policy; a bucket policy 20 KB, a key policy 32 KB. A reference is longer than the ARN that it stands for.
    limits = {"Policy": 6144, "RolePolicy": 10240, "Role": 2048, "BucketPolicy": 20480, "Key": 32768}
    seen = set()
    for resource, path, _ in documents(graphs(stack)):
        limit = limits.get(resource.type.split(":")[-1])
        if limit:
            seen.add(resource.type.split(":")[-1])
            text = re.sub(
                r"\$\{urn[^}]*\}", "x" * 90, json.dumps(json.loads(resource.get(path)), separators=(",", ":"))
            )
            assert len(text) <= limit, resource.name
    assert seen == set(limits)


@pytest.mark.parametrize("stack", AWS)
def test_no_policy_holds_a_null_or_an_empty_list(graphs: Graphs, stack: str) -> None:
    def empty(value: Any) -> bool:
        if isinstance(value, dict):
            return not value or any(empty(v) for v in value.values())
        if isinstance(value, list):
            return not value or any(empty(v) for v in value)
        return value is None or value == ""

    for resource, _, found in documents(graphs(stack)):
        assert not empty(found), resource.name


@pytest.mark.parametrize("stack", AWS)
def test_every_role_has_the_boundary(graphs: Graphs, stack: str) -> None:
    graph = graphs(stack)
    boundary = one(graph, "Policy", "boundary-policy")
    roles = kind(graph, "Role")
    assert len(roles) >= 8
    assert {r.get("permissionsBoundary") for r in roles} == {f"${{{boundary.urn}#arn}}"}


@pytest.mark.parametrize("stack", AWS)
def test_no_other_environment_is_named(graphs: Graphs, stack: str) -> None:
    text = json.dumps([dict(r.inputs) for r in graphs(stack).resources.values()])
    other = {"dev": "1", "staging": "2", "prod": "3"}
    ids = set(re.findall(r"\b([123])\1{11}\b", text))
    assert ids == {other[stack]}
    for name in set(AWS) - {stack}:
        assert f"acme-ai-{name}-" not in text


@pytest.mark.parametrize("stack", AWS)
def test_a_destroy_can_go_back_the_way_it_came(graphs: Graphs, stack: str) -> None:
    graph = graphs(stack)
    for resource in graph.resources.values():
        assert resource.urn not in upstream(graph, resource), f"{resource.name} waits for itself"


def test_replicas_are_in_the_second_region_and_only_they(graphs: Graphs) -> None:
    graph = graphs("prod")
    elsewhere = {r.name for r in kind_all(graph) if region(graph, r) == "us-east-2"}
    assert all("replica" in name for name in elsewhere)
    copies = {r.name for r in kind_all(graph) if re.search(r"-replica(-|$)", r.name)}
    assert copies == elsewhere
    assert {region(graph, r) for r in kind_all(graph)} == {"us-west-2", "us-east-2"}
    assert not [r.name for r in kind_all(graph) if "region" in r.inputs]


def kind_all(graph: Graph) -> list[Any]:
    return [r for r in graph.resources.values() if r.type.startswith("aws:")]


def test_outputs_name_what_a_person_looks_for_and_no_secret(graphs: Graphs) -> None:
    outputs = graphs("prod").outputs["aws"]
    assert outputs["region"] == "us-west-2"
    assert outputs["storage"]["raw"] == "s3://acme-ai-prod-raw"
    assert set(outputs["personas"]) == {"data-scientist", "ml-engineer", "platform-admin", "auditor"}
    assert set(outputs["secrets"]) == {"request-signing", "model-hub"}
    assert len(outputs["network"]["workload_subnets"]) == 3


def test_boundary_fits_and_denies_what_it_must(graphs: Graphs) -> None:
    for stack, exempt in (("dev", True), ("staging", False), ("prod", False)):
        boundary = one(graphs(stack), "Policy", "boundary-policy")
        found = {s["Sid"]: s for s in statements(boundary)}
        arn = found["NoRoleWithoutThisBoundary"]["Condition"]["StringNotEquals"]["iam:PermissionsBoundary"]
        assert arn.endswith(f":policy/{boundary.get('name')}")
        assert found["BoundaryStaysAsItIs"]["Resource"] == [arn]
        assert {"iam:CreatePolicyVersion", "iam:SetDefaultPolicyVersion"} <= set(found["BoundaryStaysAsItIs"]["Action"])
        assert {"iam:CreateUser", "iam:CreateAccessKey"} <= set(found["NoLastingCredentials"]["Action"])
        assert {"kms:ScheduleKeyDeletion", "ec2:DeleteFlowLogs", "cloudtrail:StopLogging"} <= set(
            found["EvidenceAndKeysStay"]["Action"]
        )
        regions = ["us-west-2", "us-east-2"] if stack == "prod" else ["us-west-2"]
        assert found["NoOtherRegion"]["Condition"] == {"StringNotEquals": {"aws:RequestedRegion": regions}}
        assert "iam:*" in found["NoOtherRegion"]["NotAction"]
        deployer = f"arn:aws:iam::{graphs(stack).outputs['aws']['account']}:role/acme-ai-{stack}-deploy"
        condition = found["EvidenceAndKeysStay"].get("Condition")
        assert condition == ({"ArnNotEquals": {"aws:PrincipalArn": deployer}} if exempt else None)
        assert "*" not in found["ServicesOfThePlatform"]["Action"]


def test_unused_access_is_watched_in_prod(graphs: Graphs) -> None:
    kinds = {stack: sorted(r.get("type") for r in kind(graphs(stack), "Analyzer")) for stack in AWS}
    assert kinds == {
        "dev": ["ACCOUNT"],
        "staging": ["ACCOUNT"],
        "prod": ["ACCOUNT", "ACCOUNT", "ACCOUNT_UNUSED_ACCESS"],
    }


@pytest.mark.parametrize("stack", AWS)
def test_the_account_is_fenced(graphs: Graphs, stack: str) -> None:
    graph = graphs(stack)
    [fence] = kind(graph, "AccountPublicAccessBlock")
    assert [
        fence.get(k) for k in ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
    ] == [True] * 4
    [key] = kind(graph, "DefaultKmsKey")
    assert key.property_dependencies["keyArn"] == (one(graph, "Key", "keys-compute-key").urn,)
    [metadata] = kind(graph, "InstanceMetadataDefaults")
    assert (metadata.get("httpTokens"), metadata.get("httpPutResponseHopLimit")) == ("required", 1)
    assert one(graph, "SerialConsoleAccess", "isolation-serial-console").get("enabled") is False
    assert one(graph, "EncryptionByDefault", "isolation-volumes").get("enabled") is True
