"""Caches of ElastiCache: who reaches them, how much they hold, and how they are watched."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components.aws.serving.cache import Cache, CacheArgs
from policies.model import Graph, Resource
from preview.difference import compare
from preview.record import run
from tests.aws import building
from tests.aws.building import kind, one, statements, waits_for
from tests.aws.serving import LONG, TEAM, alarm, key, network, only, scope, text
from tests.conftest import graph as stack


def build(name: str = "answers", *, tier: str = "prod", preview: bool = False, **changes: Any) -> Graph:
    def program() -> None:
        here = scope(tier)
        values: dict[str, Any] = {
            "max_gib": 2, "keep_minutes": 10, "clients": ["chat", "search"], "network": network(), "key": key("data"),
            "team": [text(TEAM)], "tags": {"team": "risk"},
        }  # fmt: skip
        made = Cache(name, CacheArgs(**{**values, **changes}), scope=here, parent=here.provider).outputs
        pulumi.export("port", made.port)
        pulumi.export("address", made.address)
        pulumi.export("told", {client: dict(entry.variables) for client, entry in made.entries.items()})

    return run(program, preview=preview)


@cache
def graph() -> Graph:
    return build()


def test_it_is_bounded_encrypted_and_private():
    made = only(graph(), "ServerlessCache")
    assert made.get("cacheUsageLimits.dataStorage") == {"maximum": 2, "unit": "GB"}
    assert made.get("cacheUsageLimits.ecpuPerSeconds")[0]["maximum"] > 0
    assert made.get("kmsKeyId").endswith("key/data")
    assert made.get("subnetIds") == ["subnet-3"], "data stores reach nothing but the network"
    assert made.get("engine") == "valkey"


def test_clients_sign_in_as_themselves_and_nobody_has_a_password():
    users = {user.name.rpartition("-")[2]: user for user in kind(graph(), "User")}
    assert users.keys() == {"chat", "search"}
    for client, user in users.items():
        assert user.get("userId") == user.get("userName"), "as IAM wants it"
        assert user.get("authenticationMode") == {"type": "iam"}
        assert not {"passwords", "noPasswordRequired"} & set(user.inputs)
        may = user.get("accessString").split()
        assert [part for part in may if part.startswith("~")] == [f"~{client}:*"], "its own keys and no others"
        assert "-@dangerous" in may
        assert "+@all" not in may
        assert "+cluster|slots" in may, "or it would not find a single key"
    group = only(graph(), "UserGroup")
    assert group.get("userIds") == [users[name].get("userId") for name in ("chat", "search")]
    assert only(graph(), "ServerlessCache").get("userGroupId") == group.get("userGroupId")


def test_without_clients_nobody_may_do_anything():
    [user] = kind(build(clients=[]), "User")
    assert user.get("accessString") == "on -@all"
    assert user.get("authenticationMode") == {"type": "iam"}


def test_it_lets_nobody_in_by_itself():
    assert only(graph(), "SecurityGroup")
    assert not kind(graph(), "SecurityGroupIngressRule")
    assert not kind(graph(), "SecurityGroupEgressRule")
    assert not kind(graph(), "RolePolicy")


def test_a_destroy_is_refused_but_in_dev():
    assert only(graph(), "ServerlessCache").protect
    assert only(graph(), "ServerlessCache").get("snapshotRetentionLimit") == 1
    dev = only(build(tier="dev"), "ServerlessCache")
    assert not dev.protect
    assert dev.inputs.get("snapshotRetentionLimit") is None


def test_it_is_watched_before_it_is_full():
    full = alarm(graph(), "acme-ai-prod-answers-cache-full")
    assert full.get("threshold") == 2 * 2**30 * 90 // 100
    assert {a.get("metricName") for a in kind(graph(), "MetricAlarm")} == {
        "BytesUsedForCache",
        "Evictions",
        "ThrottledCmds",
    }
    for watched in kind(graph(), "MetricAlarm"):
        assert watched.get("dimensions") == {"clusterId": only(graph(), "ServerlessCache").get("name")}
        assert watched.get("alarmActions") == [TEAM]


def test_the_cache_waits_for_who_signs_in_and_who_gets_there():
    made = only(graph(), "ServerlessCache")
    assert waits_for(graph(), made, *kind(graph(), "User"), only(graph(), "SecurityGroup"))


@pytest.mark.parametrize("name", [LONG, "answers"])
def test_names_are_within_limits(name: str):
    made = build(name, clients=[LONG, LONG[:-1] + "c"])
    for resource, key_ in (("ServerlessCache", "name"), ("User", "userId"), ("UserGroup", "userGroupId")):
        assert all(len(found.get(key_)) <= 40 for found in kind(made, resource))
    assert len({user.get("userId") for user in kind(made, "User")}) == 2


def test_a_larger_ceiling_changes_the_cache_in_place():
    found = compare(graph(), build(max_gib=4))
    assert {c.resource.name: c.replaced for c in found.changed} == {
        "answers-cache": False,
        "answers-alarm-answers-cache-full": False,
    }


def test_a_first_preview_knows_no_outputs():
    assert only(build(preview=True), "ServerlessCache")


def test_another_client_changes_nothing_of_those_that_are_there():
    found = compare(graph(), build(clients=["chat", "price", "search"]))
    assert [resource.name for resource in found.created] == ["answers-user-price"]
    assert [(change.resource.name, change.replaced) for change in found.changed] == [("answers-users", False)]


# ---- Its clients


SCORES = {
    "kind": "realtime", "team": "risk", "server": "kubernetes", "model": {"image": "serving:1.0.0"}, "scale": {"max": 2},
    "objective": {"p95_ms": 200, "requests_per_month": 1000},
}  # fmt: skip
CLIENTS = {
    "training": {"queues": {}},
    "serving": {
        "endpoints": {"scores": SCORES, "alone": SCORES},
        "caches": {"answers": {"team": "risk", "clients": ["scores"], "keep_minutes": 5}},
    },
}  # fmt: skip


def connecting(found: Graph) -> dict[str, list[str]]:
    """By policy of a role, in what it may connect to."""
    return {
        policy.name: resource["Resource"]
        for policy in kind(found, "RolePolicy")
        for resource in statements(policy)
        if "elasticache:Connect" in resource["Action"]
    }


def user(found: Graph, client: str) -> Resource:
    return one(found, "User", f"answers-user-{client}")


def both(found: Graph, client: str) -> list[str]:
    return [f"${{{one(found, 'ServerlessCache', 'answers-cache').urn}#arn}}", f"${{{user(found, client).urn}#arn}}"]


def test_clients_of_a_stack_may_connect_as_themselves_and_nobody_else_may():
    found = stack("staging")
    assert connecting(found) == {
        "price-check-policy": both(found, "price-check"),
        "search-tasks-policy": both(found, "search"),
    }


@pytest.mark.parametrize("client", ["price-check", "search"])
def test_there_is_a_way_from_a_client_to_the_cache(client: str):
    found = stack("staging")
    group = one(found, "SecurityGroup", f"{client}-network")
    cache_ = one(found, "SecurityGroup", "answers-group")
    outward = one(found, "SecurityGroupEgressRule", f"{client}-network-to-cache-out")
    inward = one(found, "SecurityGroupIngressRule", f"{client}-network-to-cache-in")
    assert outward.get("securityGroupId") == inward.get("referencedSecurityGroupId") == f"${{{group.urn}#id}}"
    assert inward.get("securityGroupId") == outward.get("referencedSecurityGroupId") == f"${{{cache_.urn}#id}}"
    assert {(rule.get("fromPort"), rule.get("toPort")) for rule in (inward, outward)} == {(6379, 6380)}


def test_nobody_else_gets_to_the_cache():
    found = stack("staging")
    cache_ = f"${{{one(found, 'SecurityGroup', 'answers-group').urn}#id}}"
    rules = [rule for rule in kind(found, "SecurityGroupIngressRule") if rule.get("securityGroupId") == cache_]
    assert {rule.name for rule in rules} == {f"{client}-network-to-cache-in" for client in ("price-check", "search")}


def function(found: Graph) -> Resource:
    return one(found, "Function", "price-check-function")


def test_a_client_is_told_where_its_cache_is_and_starts_once_it_gets_there():
    found = stack("staging")
    told = function(found).get("environment.variables")
    assert told["CACHE_SIGN_IN"] == "elasticache/us-west-2/acme-ai-staging-answers"
    assert told["CACHE_URL"].startswith("rediss://acme-ai-staging-answers-price-check@${")
    assert (told["CACHE_PREFIX"], told["CACHE_SECONDS"]) == ("price-check", "3600")
    task = one(found, "TaskDefinition", "search-task")
    [container] = json.loads(task.get("containerDefinitions"))
    said = {each["name"]: each["value"] for each in container["environment"]}
    assert (said["CACHE_PREFIX"], said["CACHE_SIGN_IN"]) == ("search", told["CACHE_SIGN_IN"])
    service = one(found, "Service", "search-service")
    for client, resource, policy in (
        ("price-check", function(found), "price-check-policy"),
        ("search", service, "search-tasks-policy"),
    ):
        ways = [
            one(found, f"SecurityGroup{way}Rule", f"{client}-network-to-cache-{end}")
            for way, end in (("Ingress", "in"), ("Egress", "out"))
        ]
        members, made = one(found, "UserGroup", "answers-users"), one(found, "ServerlessCache", "answers-cache")
        assert waits_for(found, resource, *ways, members, made, one(found, "RolePolicy", policy))


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    import shutil

    from tests.conftest import ROOT

    project: Path = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "stacks", project / "stacks")
    return building.build(project, CLIENTS)


def test_pods_of_a_client_may_connect_and_those_of_others_may_not(inside: Graph):
    assert connecting(inside) == {"scores-pods-policy": both(inside, "scores")}
    told = {name: dict(pairs) for name, pairs in environments(inside).items()}
    assert told["scores"]["CACHE_PREFIX"] == "scores"
    assert told["scores"]["CACHE_SECONDS"] == "300"
    assert not any(name.startswith("CACHE") for name in told["alone"])


def environments(found: Graph) -> dict[str, list[tuple[str, str]]]:
    services = [r for r in found.resources.values() if r.type.endswith(":InferenceService")]
    return {
        each.name.removesuffix("-answering"): [
            (one_["name"], one_.get("value")) for one_ in each.get("spec.predictor.containers")[0]["env"]
        ]
        for each in services
    }


def test_pods_of_a_client_get_there_over_the_group_of_their_machines(inside: Graph):
    machines = f"${{{one(inside, 'SecurityGroup', 'cluster-machines').urn}#id}}"
    inward = one(inside, "SecurityGroupIngressRule", "cluster-to-answers-in")
    outward = one(inside, "SecurityGroupEgressRule", "cluster-to-answers-out")
    assert inward.get("referencedSecurityGroupId") == outward.get("securityGroupId") == machines
    [policy] = [r for r in inside.resources.values() if r.name == "scores-to-cache"]
    assert policy.get("spec.podSelector.matchLabels") == {"ai-platform.io/endpoint": "scores"}
    [way] = policy.get("spec.egress")
    assert way["ports"] == [{"port": 6379, "endPort": 6380, "protocol": "TCP"}]
    [service] = [r for r in inside.resources.values() if r.name == "scores-answering"]
    assert waits_for(inside, service, inward, outward, policy, one(inside, "UserGroup", "answers-users"))
