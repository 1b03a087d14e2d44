"""The gateway: what the internet may ask, and what has to be there before it may."""

import json
import re
from functools import cache
from ipaddress import IPv4Network
from typing import Any

import pulumi
import pytest

from components.aws.foundation.network import Network, NetworkArgs
from components.core.fronts import Front, firewall
from policies.model import Graph, Resource
from tests.aws import fronted
from tests.aws.building import kind, one, waits_for
from tests.aws.serving import only


@cache
def made(tier: str = "dev", *, named: bool = True) -> Graph:
    return fronted.graph(fronted.front(tier, named=named))


def rules(graph: Graph) -> dict[str, dict[str, Any]]:
    return {rule["name"]: rule for rule in only(graph, "WebAcl").get("rules")}


def hosts(statement: Any) -> set[str]:
    """The hosts that a statement is about."""
    if isinstance(statement, dict):
        if "searchString" in statement:
            return {statement["searchString"]}
        return {host for value in statement.values() for host in hosts(value)}
    return {host for value in statement for host in hosts(value)} if isinstance(statement, list) else set()


def test_inventory():
    found = sorted(r.type.rpartition(":")[2] for r in made().resources.values() if r.type.startswith("aws:"))
    assert found == sorted(
        ["LoadBalancer", "Listener", "Listener", "SecurityGroup", "SecurityGroupIngressRule", "SecurityGroupIngressRule",
         "SecurityGroupEgressRule", "Certificate", "CertificateValidation", "WebAcl", "WebAclAssociation", "LogGroup",
         "LogResourcePolicy", "WebAclLoggingConfiguration", *["Record"] * 4, *["MetricAlarm"] * 4]
    )  # fmt: skip


def test_everything_is_answered_by_tls_or_not_at_all():
    listeners = {r.get("port"): r for r in kind(made(), "Listener")}
    assert listeners[80].get("defaultActions")[0]["redirect"] == {
        "protocol": "HTTPS", "port": "443", "statusCode": "HTTP_301",
    }  # fmt: skip
    assert listeners[443].get("sslPolicy") == "ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09"
    # Nobody is let through by default.
    assert listeners[443].get("defaultActions")[0]["fixedResponse"]["statusCode"] == "404"
    # A certificate that is not valid yet is refused.
    assert waits_for(made(), listeners[443], only(made(), "CertificateValidation"))
    assert only(made(), "Certificate").get("subjectAlternativeNames") == ["*.ml.example.com"]


def test_the_load_balancer_is_strict_and_recorded():
    balancer = only(made(), "LoadBalancer")
    assert balancer.get("subnets") == ["subnet-7", "subnet-8"]
    assert balancer.get("internal") is False
    assert balancer.get("dropInvalidHeaderFields") is True
    assert balancer.get("desyncMitigationMode") == "defensive"
    assert balancer.get("enableWafFailOpen") is False
    assert len(balancer.get("name")) <= 32
    for logs in ("accessLogs", "connectionLogs"):
        assert balancer.get(logs)["enabled"]
        assert balancer.get(logs)["prefix"].startswith("access/")


@pytest.mark.parametrize(("tier", "kept"), [("dev", False), ("staging", True), ("prod", True)])
def test_it_is_not_deleted_by_accident(tier: str, kept: bool):
    assert only(made(tier), "LoadBalancer").get("enableDeletionProtection") is kept


def test_it_reaches_keys_of_tokens_and_nothing_else_by_itself():
    [out] = kind(made(), "SecurityGroupEgressRule")
    assert (out.get("fromPort"), out.get("toPort"), out.get("cidrIpv4")) == (443, 443, "0.0.0.0/0")
    assert {r.get("fromPort") for r in kind(made(), "SecurityGroupIngressRule")} == {80, 443}


def test_each_host_is_throttled_by_its_own_rate():
    found = rules(made())
    limits = {name: rule["statement"]["rateBasedStatement"] for name, rule in found.items() if "throttle" in name}
    assert {name: (each["limit"], each["evaluationWindowSec"]) for name, each in limits.items()} == {
        "throttle-50": (3000, 60),
        "throttle-500": (30_000, 60),
    }
    assert hosts(limits["throttle-50"]["scopeDownStatement"]) == {"fraud.ml.example.com", "open.ml.example.com"}
    assert hosts(limits["throttle-500"]["scopeDownStatement"]) == {"score.ml.example.com"}
    for each in limits.values():
        # All callers of a host together, and no two hosts together.
        assert [key["header"]["name"] for key in each["customKeys"]] == ["host"]
    assert found["throttle-50"]["action"]["block"]["customResponse"]["responseCode"] == 429


def test_a_host_cannot_be_written_otherwise_to_be_counted_apart():
    first = min(rules(made()).values(), key=lambda rule: rule["priority"])
    pattern = first["statement"]["notStatement"]["statement"]["regexMatchStatement"]["regexString"]
    assert first["action"] == {"block": {}}
    assert re.search(pattern, "fraud.ml.example.com")
    assert not any(re.search(pattern, host) for host in ("FRAUD.ml.example.com", "fraud.ml.example.com:443", "fraud."))


def test_rule_groups_look_at_all_that_want_it_and_let_large_bodies_through():
    groups = {n: r["statement"]["managedRuleGroupStatement"] for n, r in rules(made()).items() if n.startswith("AWS")}
    assert len(groups) == 3
    for group in groups.values():
        assert hosts(group["scopeDownStatement"]["notStatement"]) == {"open.ml.example.com"}
    counted = groups["AWSManagedRulesCommonRuleSet"]["ruleActionOverrides"]
    assert counted == [{"name": "SizeRestrictions_BODY", "actionToUse": {"count": {}}}]


def test_a_firewall_takes_ten_throttles():
    many = {str(i): Front(host=f"h{i}.example.com", throttle_rps=i + 1) for i in range(11)}
    with pytest.raises(ValueError, match="10 different throttles, not 11"):
        firewall(many, "acme")
    same = {str(i): Front(host=f"h{i}.example.com", throttle_rps=1 + i % 10, waf=False) for i in range(200)}
    made = firewall(same, "acme")
    assert len(made) == 11
    assert made[1]["statement"]["rate_based_statement"]["limit"] == 60


def test_a_slow_throttle_is_one_that_a_firewall_takes():
    [_, rule, *_] = firewall({"a": Front(host="a.example.com", throttle_rps=1)}, "acme")
    assert rule["statement"]["rate_based_statement"]["limit"] >= 10


def test_the_firewall_writes_what_it_blocks_and_no_token():
    graph = made()
    group, logging = only(graph, "LogGroup"), only(graph, "WebAclLoggingConfiguration")
    assert group.get("name") == "aws-waf-logs-acme-ai-dev-gateway"
    assert group.get("kmsKeyId").endswith("key/logs")
    assert group.get("retentionInDays") == 30
    assert waits_for(graph, logging, group, only(graph, "LogResourcePolicy"))
    assert {field["singleHeader"]["name"] for field in logging.get("redactedFields")} == {"authorization", "cookie"}
    [writes] = json.loads(only(graph, "LogResourcePolicy").get("policyDocument"))["Statement"]
    assert writes["Principal"] == {"Service": "delivery.logs.amazonaws.com"}
    assert writes["Condition"]["StringEquals"] == {"aws:SourceAccount": "111111111111"}
    assert "*" not in writes["Resource"]


def test_names_lead_to_it():
    graph = made()
    records = {r.get("name"): r for r in kind(graph, "Record") if r.get("type") == "A"}
    assert set(records) == {"fraud.ml.example.com", "score.ml.example.com", "open.ml.example.com"}
    assert all(r.get("zoneId") == "Z0123456789" for r in records.values())


def test_without_a_zone_a_person_is_told_what_to_write():
    graph = made(named=False)
    assert not kind(graph, "Record")
    assert only(graph, "CertificateValidation").get("validationRecordFqdns") is None
    assert set(graph.outputs["records"]) == {front.host for front in fronted.FRONTS.values()}
    assert all(str(value).startswith("CNAME ") for value in graph.outputs["records"].values())


def test_somebody_is_told():
    found = {r.name.removeprefix("gateway-alarm-gateway-"): r for r in kind(made(), "MetricAlarm")}
    assert set(found) == {"errors", "refuses", "blocks", "certificate"}
    assert all(r.get("alarmActions") for r in found.values())
    metric = next(q["metric"] for q in found["blocks"].get("metricQueries") if "metric" in q)
    assert metric["dimensions"]["WebACL"] == only(made(), "WebAcl").get("visibilityConfig")["metricName"]


def test_a_preview_knows_the_addresses():
    graph = fronted.graph(fronted.front(), preview=True)
    assert graph.outputs["addresses"]["fraud"] == "https://fraud.ml.example.com"


# ---- What is behind it


@cache
def passage() -> Graph:
    return fronted.graph(fronted.passage())


def statements(graph: Graph, logical: str) -> list[dict[str, Any]]:
    return json.loads(one(graph, "RolePolicy", logical).get("policy"))["Statement"]


def rule(graph: Graph) -> Resource:
    return only(graph, "ListenerRule")


def test_a_passage_calls_one_endpoint_and_nothing_else():
    graph = passage()
    found = statements(graph, "fraud-passage-policy")
    [call] = [s for s in found if "sagemaker:InvokeEndpoint" in s["Action"]]
    assert call["Resource"] == ["arn:aws:sagemaker:us-west-2:111111111111:endpoint/acme-ai-dev-fraud"]
    function = only(graph, "Function")
    assert function.get("environment")["variables"]["ENDPOINT"] == "acme-ai-dev-fraud"
    assert function.get("reservedConcurrentExecutions") == 20
    assert function.get("vpcConfig")["subnetIds"] == ["subnet-1", "subnet-2"]
    # Each waits a little longer than what it waits for.
    answer = int(function.get("environment")["variables"]["SECONDS"])
    assert answer < function.get("timeout") < only(graph, "LoadBalancer").get("idleTimeout")


def test_only_its_own_target_group_calls_it():
    permission = only(passage(), "Permission")
    assert permission.get("principal") == "elasticloadbalancing.amazonaws.com"
    assert permission.get("sourceArn") == f"${{{only(passage(), 'TargetGroup').urn}#arn}}"


def test_a_token_is_checked_before_anything_is_let_through():
    first, second = rule(passage()).get("actions")
    assert (first["type"], first["order"], second["type"]) == ("jwt-validation", 1, "forward")
    checked = first["jwtValidation"]
    assert (checked["issuer"], checked["jwksEndpoint"]) == (fronted.TOKENS.issuer, fronted.TOKENS.keys)
    assert checked["additionalClaims"] == [
        {"name": "aud", "format": "single-string", "values": ["ml"]},
        {"name": "scope", "format": "space-separated-values", "values": ["fraud"]},
    ]
    assert rule(passage()).get("conditions") == [{"hostHeader": {"values": ["fraud.ml.example.com"]}}]


def test_a_route_comes_after_the_firewall():
    graph = passage()
    assert waits_for(graph, rule(graph), only(graph, "WebAclAssociation"), only(graph, "WebAclLoggingConfiguration"))
    assert waits_for(graph, rule(graph), only(graph, "TargetGroupAttachment"))


# ---- Where it stands


@cache
def around(*, public: bool, nat: str = "none") -> Graph:
    def program() -> None:
        told: Any = {"nat": nat, "egress": "deny"}
        args = NetworkArgs(
            cidr=IPv4Network("10.16.0.0/16"),
            zones=["usw2-az1", "usw2-az2"],
            public=public,
            logs_key=fronted.key("logs"),
            boundary=fronted.common()["boundary"],
            **told,
        )
        made = Network("network", args, scope=fronted.scope(), parent=fronted.parent()).outputs
        pulumi.export("public", list(made.public_subnets))

    return fronted.graph(program)


def test_public_subnets_are_there_without_a_way_out_for_workloads():
    graph = around(public=True)
    assert len(kind(graph, "InternetGateway")) == 1
    assert not kind(graph, "NatGateway")
    assert len(graph.outputs["public"]) == 2
    assert [r.name for r in kind(graph, "Route")] == ["network-public-default"]
    assert all(r.get("mapPublicIpOnLaunch") is False for r in kind(graph, "Subnet"))


@pytest.mark.parametrize("nat", ["single", "per_zone"])
def test_they_are_those_of_nat_where_there_is_some(nat: str):
    graph = around(public=True, nat=nat)
    assert {r.urn for r in around(public=False, nat=nat).resources.values()} == {
        r.urn for r in graph.resources.values()
    }
    assert len(graph.outputs["public"]) == 2
    assert not around(public=False, nat=nat).outputs["public"]
