"""Caches of ElastiCache: who reaches them, how much they hold, and how they are watched."""

from functools import cache
from typing import Any

import pulumi
import pytest

from components.aws.serving.cache import Cache, CacheArgs
from policies.model import Graph
from preview.difference import compare
from preview.record import run
from tests.aws.building import by_sid, kind, one, waits_for
from tests.aws.serving import AT, LONG, TEAM, alarm, key, network, only, scope, text

ROLE = f"arn:aws:iam::{AT}:role/acme-ai-dev-chat"


def build(
    name: str = "answers", *, tier: str = "prod", preview: bool = False, groups: bool = True, **changes: Any
) -> Graph:
    def program() -> None:
        here = scope(tier)
        values: dict[str, Any] = {
            "max_gib": 2, "clients": {"chat": text(ROLE)}, "groups": {"chat": text("sg-chat")} if groups else {},
            "network": network(), "key": key("data"), "team": [text(TEAM)], "tags": {"team": "risk"},
        }  # fmt: skip
        made = Cache(name, CacheArgs(**{**values, **changes}), scope=here, parent=here.provider).outputs
        pulumi.export("port", made.port)
        pulumi.export("address", made.address)

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
    user = only(graph(), "User")
    assert user.get("userId") == user.get("userName"), "as IAM wants it"
    assert user.get("authenticationMode") == {"type": "iam"}
    assert not {"passwords", "noPasswordRequired"} & set(user.inputs)
    assert "-@dangerous" in user.get("accessString")
    assert "+@all" not in user.get("accessString")
    made = only(graph(), "ServerlessCache")
    assert made.get("userGroupId") == only(graph(), "UserGroup").get("userGroupId")
    [policy] = kind(graph(), "RolePolicy")
    assert policy.get("role") == "acme-ai-dev-chat"
    found = by_sid(policy)["Connect"]
    assert found["Action"] == ["elasticache:Connect"]
    assert found["Resource"] == [f"${{{made.urn}#arn}}", f"${{{user.urn}#arn}}"]


def test_only_groups_of_clients_get_there():
    group = only(graph(), "SecurityGroup")
    inward = one(graph(), "SecurityGroupIngressRule", "answers-from-chat")
    outward = one(graph(), "SecurityGroupEgressRule", "answers-out-of-chat")
    assert inward.get("referencedSecurityGroupId") == outward.get("securityGroupId") == "sg-chat"
    assert inward.get("securityGroupId") == outward.get("referencedSecurityGroupId") == f"${{{group.urn}#id}}"
    assert {(r.get("fromPort"), r.get("toPort")) for r in (inward, outward)} == {(6379, 6380)}
    assert len(kind(graph(), "SecurityGroupIngressRule")) == len(kind(graph(), "SecurityGroupEgressRule")) == 1


def test_without_groups_the_network_gets_there_and_nobody_else():
    [rule] = kind(build(groups=False), "SecurityGroupIngressRule")
    assert rule.get("cidrIpv4") == "10.16.0.0/16"


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
    user = only(graph(), "User")
    assert waits_for(graph(), only(graph(), "ServerlessCache"), user, only(graph(), "SecurityGroup"))


@pytest.mark.parametrize("name", [LONG, "answers"])
def test_names_are_within_limits(name: str):
    made = build(name)
    for resource, key_ in (("ServerlessCache", "name"), ("User", "userId"), ("UserGroup", "userGroupId")):
        assert len(only(made, resource).get(key_)) <= 40


def test_a_larger_ceiling_changes_the_cache_in_place():
    found = compare(graph(), build(max_gib=4))
    assert {c.resource.name: c.replaced for c in found.changed} == {
        "answers-cache": False,
        "answers-alarm-answers-cache-full": False,
    }


def test_a_first_preview_knows_no_outputs():
    assert only(build(preview=True), "ServerlessCache")
