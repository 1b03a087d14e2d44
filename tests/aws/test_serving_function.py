"""Functions behind an API: what runs, how a version takes over, and who may call."""

import json
from functools import cache
from typing import Any

import pytest

from components.core.functions import step
from components.spec.releases import AllAtOnce, BlueGreen, Canary
from policies.model import Graph, Resource
from preview.difference import compare
from tests.aws import fronted
from tests.aws.building import kind, one, waits_for
from tests.aws.serving import LONG, TEAM, alarm, formula, only, series


@cache
def made(tier: str = "dev") -> Graph:
    return fronted.graph(fronted.function(tier=tier))


def endpoint(graph: Graph) -> Resource:
    """The function that answers, not the one that starts releases."""
    [found] = [r for r in kind(graph, "Function") if not r.name.startswith("fraud-starter")]
    return found


def statements(graph: Graph, logical: str) -> list[dict[str, Any]]:
    return json.loads(one(graph, "RolePolicy", logical).get("policy"))["Statement"]


def test_inventory():
    found = [r.type.rpartition(":")[2] for r in made().resources.values() if r.type.startswith("aws:")]
    front = fronted.graph(fronted.front())
    before = [r.type.rpartition(":")[2] for r in front.resources.values() if r.type.startswith("aws:")]
    # Two hosts fewer than the gateway alone.
    before.remove("Record")
    before.remove("Record")
    assert {name: found.count(name) - before.count(name) for name in sorted({*found, *before})} == {
        **dict.fromkeys(before, 0),
        "Function": 2, "LogGroup": 2, "Role": 3, "RolePolicy": 4, "SecurityGroup": 1, "SecurityGroupEgressRule": 2, "Alias": 1,
        "ProvisionedConcurrencyConfig": 1, "LogMetricFilter": 1, "MetricAlarm": 6, "Application": 1, "DeploymentConfig": 1,
        "DeploymentGroup": 1, "Invocation": 1, "TargetGroup": 1, "TargetGroupAttachment": 1, "Permission": 1, "ListenerRule": 1,
    }  # fmt: skip


def test_it_has_bounds():
    function = endpoint(made())
    assert function.get("packageType") == "Image"
    assert function.get("imageUri") == fronted.IMAGE
    assert function.get("imageConfig") == {
        "entryPoints": ["python", "-m", "awslambdaric"], "commands": ["runtime.aws.endpoint.handler"],
    }  # fmt: skip
    assert (function.get("memorySize"), function.get("timeout")) == (2048, 10)
    assert function.get("ephemeralStorage") == {"size": 4096}
    assert function.get("reservedConcurrentExecutions") == 20
    assert only(made(), "ProvisionedConcurrencyConfig").get("provisionedConcurrentExecutions") == 2
    assert function.get("publish") is True
    assert function.get("tracingConfig") == {"mode": "Active"}
    assert function.get("kmsKeyArn").endswith("key/compute")
    assert function.get("loggingConfig")["logFormat"] == "JSON"


def test_it_loads_the_model_with_the_digest_and_no_other():
    told = endpoint(made()).get("environment")["variables"]
    assert told["MODEL_URI"] == "s3://acme-ai-dev-models/fraud/12/model.tar.gz"
    assert told["MODEL_DIGEST"] == fronted.DIGEST
    unsafe = {**fronted.MODEL, "artifact": {"zone": "models", "path": "fraud/12/model.tar.gz"}}
    with pytest.raises(ValueError, match="digest"):
        fronted.graph(fronted.function(model=unsafe))


def test_it_may_read_its_model_and_write_its_log():
    found = statements(made(), "fraud-policy")
    objects = [r for s in found if "s3:GetObject" in s["Action"] for r in s["Resource"]]
    assert objects == ["arn:aws:s3:::acme-ai-dev-models/fraud/*"]
    [log] = [s for s in found if "logs:PutLogEvents" in s["Action"]]
    group = one(made(), "LogGroup", "fraud-log")
    assert log["Resource"] == [f"${{{group.urn}#arn}}:*"]
    everywhere = {a for s in found if s["Effect"] == "Allow" and "*" in s["Resource"] for a in s["Action"]}
    assert {action.partition(":")[0] for action in everywhere} == {"ec2", "xray"}
    # What Lambda does for it, its own code may not.
    assert any(s["Effect"] == "Deny" and "ec2:CreateNetworkInterface" in s["Action"] for s in found)
    assert not any("s3:PutObject" in s["Action"] for s in found)


def test_its_log_is_there_before_it_and_under_our_key():
    group = one(made(), "LogGroup", "fraud-log")
    assert group.get("name") == f"/aws/lambda/{endpoint(made()).get('name')}"
    assert group.get("kmsKeyId").endswith("key/logs")
    assert group.get("retentionInDays") == 30
    assert waits_for(made(), endpoint(made()), group, one(made(), "RolePolicy", "fraud-policy"))


# ---- How a version takes over


@pytest.mark.parametrize(
    ("release", "wanted"),
    [
        (Canary(strategy="canary", percent=5, bake_minutes=20), (5, 20)),
        (BlueGreen(strategy="blue_green", bake_minutes=5), (50, 5)),
        # CodeDeploy looks at no alarm once all requests have moved.
        (AllAtOnce(strategy="all_at_once", bake_minutes=5), (99, 5)),
    ],
)
def test_every_release_is_watched(release: Any, wanted: tuple[int, int]):
    assert step(release) == wanted


def test_a_release_begins_with_its_part_and_is_taken_back_by_itself():
    steps, group = only(made(), "DeploymentConfig"), only(made(), "DeploymentGroup")
    routing = steps.get("trafficRoutingConfig")
    assert routing == {"type": "TimeBasedCanary", "timeBasedCanary": {"percentage": 10, "interval": 15}}
    assert "DEPLOYMENT_STOP_ON_ALARM" in group.get("autoRollbackConfiguration")["events"]
    [name] = group.get("alarmConfiguration")["alarms"]
    assert waits_for(made(), group, alarm(made(), name))
    assert group.get("alarmConfiguration")["ignorePollAlarmFailure"] is False


def test_the_release_is_started_after_all_that_it_depends_on():
    start = only(made(), "Invocation")
    alarms = [r for r in kind(made(), "MetricAlarm") if r.name.startswith("fraud-alarm")]
    assert len(alarms) == 6
    assert waits_for(
        made(), start, *alarms, only(made(), "Alias"), only(made(), "DeploymentGroup"),
        only(made(), "ProvisionedConcurrencyConfig"), one(made(), "RolePolicy", "fraud-starter-policy"),
    )  # fmt: skip
    assert start.get("lifecycleScope") == "CREATE_ONLY"
    assert json.loads(start.get("input")) == {"version": f"${{{endpoint(made()).urn}#version}}"}


def test_releases_alone_move_the_alias():
    alias = only(made(), "Alias")
    assert set(alias.ignore_changes) == {"functionVersion", "routingConfig"}
    assert alias.get("name") == "live"


def test_who_moves_requests_moves_those_of_this_function_alone():
    found = statements(made(), "fraud-releaser-policy")
    [moves] = [s for s in found if "lambda:UpdateAlias" in s["Action"]]
    assert all(endpoint(made()).urn in resource for resource in moves["Resource"])
    starts = statements(made(), "fraud-starter-policy")
    [create] = [s for s in starts if "codedeploy:CreateDeployment" in s["Action"]]
    assert create["Resource"] == [
        "arn:aws:codedeploy:us-west-2:111111111111:deploymentgroup:acme-ai-dev-fraud/acme-ai-dev-fraud"
    ]
    assert not any("lambda:UpdateAlias" in s["Action"] for s in starts)


def test_the_newest_version_is_looked_at_apart():
    rollback = alarm(made(), "acme-ai-dev-fraud-rollback")
    apart = [m for m in series(rollback).values() if "ExecutedVersion" in m.get("dimensions", {})]
    assert {m["metricName"] for m in apart} == {"Duration", "Errors", "Invocations"}
    assert all(m["dimensions"]["ExecutedVersion"] == f"${{{endpoint(made()).urn}#version}}" for m in apart)
    assert all(m["dimensions"]["Resource"] == "acme-ai-dev-fraud:live" for m in apart)
    assert "1500" in formula(rollback)
    assert "0.1" in formula(rollback)


def test_alarms_do_not_wait_for_the_alias():
    alias = only(made(), "Alias")
    assert not any(waits_for(made(), r, alias) for r in kind(made(), "MetricAlarm"))


def test_what_is_watched_follows_from_the_objective():
    names = {r.name.removeprefix("fraud-alarm-fraud-"): r for r in kind(made(), "MetricAlarm") if "fraud" in r.name}
    assert set(names) == {"p95", "errors", "saturated", "ceiling", "throttled", "rollback"}
    assert names["p95"].get("threshold") == 1500
    assert names["ceiling"].get("threshold") == 20
    assert all(TEAM in r.get("alarmActions") for r in names.values())
    # Lambda counts an answer of 500 as a success: the log says otherwise.
    metric = only(made(), "LogMetricFilter").get("metricTransformation")
    assert any(m["metricName"] == metric["name"] for m in series(names["errors"]).values())


# ---- What changes


def test_another_model_changes_the_version_and_never_the_way_to_it():
    newer = {
        **fronted.MODEL,
        "artifact": {**fronted.MODEL["artifact"], "path": "fraud/13/model.tar.gz", "sha256": "b" * 64},
    }
    found = compare(made(), fronted.graph(fronted.function(model=newer)))
    assert [changed.resource.name for changed in found.changed] == ["fraud-function"]
    assert not found.created
    assert not found.removed


def test_nothing_changes_by_itself():
    found = compare(made(), fronted.graph(fronted.function()))
    assert not found


def test_another_release_makes_its_steps_before_the_old_ones_go():
    found = compare(made(), fronted.graph(fronted.function(release={"strategy": "canary", "percent": 20})))
    assert {r.type.rpartition(":")[2] for r in found.created} == {"DeploymentConfig"}
    assert {r.type.rpartition(":")[2] for r in found.removed} == {"DeploymentConfig"}
    assert [changed.resource.name for changed in found.changed] == ["fraud-release"]


# ---- Who reaches it


def test_the_gateway_calls_the_alias_alone():
    permission, attached = only(made(), "Permission"), only(made(), "TargetGroupAttachment")
    assert permission.get("qualifier") == "live"
    assert attached.get("targetId") == f"${{{only(made(), 'Alias').urn}#arn}}"
    assert waits_for(made(), attached, permission)


def test_identities_call_it_without_a_gateway():
    graph = fronted.graph(fronted.function(api={"auth": "iam", "throttle_rps": 5}))
    assert not kind(graph, "ListenerRule")
    assert not kind(graph, "Permission")
    [call] = statements(graph, "fraud-caller-acme-ai-dev-shop")
    assert call["Action"] == ["lambda:InvokeFunction"]
    assert call["Resource"] == [f"${{{only(graph, 'Alias').urn}#arn}}"]


def test_names_fit():
    graph = fronted.graph(fronted.function(LONG))
    limits = {"Function": 64, "TargetGroup": 32, "Application": 100, "LoadBalancer": 32, "Role": 64}
    for type_, limit in limits.items():
        assert all(len(r.get("name")) <= limit for r in kind(graph, type_)), type_
    assert len(only(graph, "DeploymentConfig").get("deploymentConfigName")) <= 100


def test_a_preview_knows_what_to_make():
    graph = fronted.graph(fronted.function(), preview=True)
    assert {r.urn for r in graph.resources.values()} == {r.urn for r in made().resources.values()}
