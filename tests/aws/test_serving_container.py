"""Services of containers: what runs, how a version takes over, how many there are, and who may call."""

import json
from functools import cache
from typing import Any

import pytest

from components.core.containers import deployment, fargate, scaling, uses_key
from components.spec.releases import AllAtOnce, BlueGreen, Canary
from components.spec.serving import Target
from policies.model import Graph, Resource
from preview.difference import compare
from tests.aws import fronted
from tests.aws.building import kind, one, waits_for
from tests.aws.serving import LONG, TEAM, alarm, formula, only, series


@cache
def made(tier: str = "dev") -> Graph:
    return fronted.graph(fronted.container(tier=tier))


def statements(graph: Graph, logical: str) -> list[dict[str, Any]]:
    return json.loads(one(graph, "RolePolicy", logical).get("policy"))["Statement"]


def container(graph: Graph) -> dict[str, Any]:
    [found] = json.loads(only(graph, "TaskDefinition").get("containerDefinitions"))
    return found


def groups(graph: Graph) -> list[Resource]:
    return [one(graph, "TargetGroup", f"score-target-{part}") for part in ("a", "b")]


def test_inventory():
    found = [r.type.rpartition(":")[2] for r in made().resources.values() if r.type.startswith("aws:")]
    front = fronted.graph(fronted.front())
    before = [r.type.rpartition(":")[2] for r in front.resources.values() if r.type.startswith("aws:")]
    # Two hosts fewer than the gateway alone.
    before.remove("Record")
    before.remove("Record")
    assert {name: found.count(name) - before.count(name) for name in sorted({*found, *before})} == {
        **dict.fromkeys(before, 0),
        "Cluster": 1, "Service": 1, "TaskDefinition": 1, "TargetGroup": 2, "ListenerRule": 1, "LogGroup": 1, "Role": 3,
        "RolePolicy": 3, "SecurityGroup": 1, "SecurityGroupIngressRule": 1, "SecurityGroupEgressRule": 3, "MetricAlarm": 6,
        "Target": 1, "Policy": 1,
    }  # fmt: skip


def test_it_runs_without_rights_on_a_file_system_that_stays_as_it_is():
    found = container(made())
    assert found["readonlyRootFilesystem"] is True
    assert found["user"].split(":")[0] not in ("", "0", "root")
    assert found["privileged"] is False
    assert found["linuxParameters"]["capabilities"]["drop"] == ["ALL"]
    assert [mount["containerPath"] for mount in found["mountPoints"]] == ["/tmp"]  # noqa: S108
    assert only(made(), "Service").get("enableExecuteCommand") is False
    assert "secrets" not in found


def test_it_loads_the_model_with_the_digest_and_no_other():
    told = {each["name"]: each["value"] for each in container(made())["environment"]}
    assert told["MODEL_URI"] == "s3://acme-ai-dev-models/fraud/12/model.tar.gz"
    assert told["MODEL_DIGEST"] == fronted.DIGEST
    unsafe = {**fronted.MODEL, "artifact": {"zone": "models", "path": "fraud/12/model.tar.gz"}}
    with pytest.raises(ValueError, match="digest"):
        fronted.graph(fronted.container(model=unsafe))


def test_its_log_is_there_before_it_and_under_our_key():
    graph = made()
    group = one(graph, "LogGroup", "score-log")
    options = container(graph)["logConfiguration"]["options"]
    assert options["awslogs-group"] == group.get("name")
    assert "awslogs-create-group" not in options
    assert group.get("kmsKeyId").endswith("key/logs")
    assert waits_for(graph, only(graph, "Service"), group)


@pytest.mark.parametrize(
    ("asked", "size"),
    [((1, 1), (1024, 2048)), ((2, 16), (2048, 16_384)), ((2, 17), (4096, 17_408)), ((8, 17), (8192, 20_480)),
     ((16, 120), (16_384, 122_880)), ((16, 121), None), ((17, 8), None)],
)  # fmt: skip
def test_a_task_has_a_size_that_fargate_has(asked: tuple[int, int], size: tuple[int, int] | None):
    assert fargate(*asked) == size


def test_a_size_that_fargate_has_not_is_no_task():
    with pytest.raises(ValueError, match="16 vCPUs and 120 GiB"):
        fronted.graph(fronted.container(compute={"cpu": 32, "memory_gib": 64}))


def test_its_disk_is_under_our_key_and_has_room_for_the_model():
    task, cluster = only(made(), "TaskDefinition"), only(made(), "Cluster")
    assert (task.get("cpu"), task.get("memory")) == ("2048", "16384")
    assert task.get("ephemeralStorage") == {"sizeInGib": 32}
    told = cluster.get("configuration")["managedStorageConfiguration"]
    assert told["fargateEphemeralStorageKmsKeyId"].endswith("key/compute")
    for statement in uses_key("111111111111", "acme-ai-dev-*")[:2]:
        assert statement["Condition"]["StringEquals"] == {
            "kms:EncryptionContext:aws:ecs:clusterAccount": "111111111111"
        }


def test_it_may_read_its_model_and_who_starts_it_its_image():
    reads = statements(made(), "score-tasks-policy")
    objects = [r for s in reads if "s3:GetObject" in s["Action"] for r in s["Resource"]]
    assert objects == ["arn:aws:s3:::acme-ai-dev-models/fraud/*"]
    assert not any(action.startswith(("logs:", "ecr:", "ecs:")) for s in reads for action in s["Action"])
    starts = statements(made(), "score-start-policy")
    [pulls] = [s for s in starts if "ecr:BatchGetImage" in s["Action"]]
    assert pulls["Resource"] == ["arn:aws:ecr:us-west-2:111111111111:repository/acme-ai-dev/serving"]
    assert not any(action.startswith("s3:") for s in starts for action in s["Action"])


# ---- How a version takes over


@pytest.mark.parametrize(
    ("release", "wanted"),
    [
        (
            Canary(strategy="canary", percent=5, bake_minutes=20),
            {"strategy": "CANARY", "bake_time_in_minutes": "20",
             "canary_configuration": {"canary_percent": 5.0, "canary_bake_time_in_minutes": "20"}},
        ),
        (
            BlueGreen(strategy="blue_green", bake_minutes=5),
            {"strategy": "CANARY", "bake_time_in_minutes": "5",
             "canary_configuration": {"canary_percent": 50.0, "canary_bake_time_in_minutes": "5"}},
        ),
        (AllAtOnce(strategy="all_at_once", bake_minutes=5), {"strategy": "BLUE_GREEN", "bake_time_in_minutes": "5"}),
    ],
)  # fmt: skip
def test_every_release_is_watched(release: Any, wanted: dict[str, Any]):
    assert deployment(release) == wanted


def test_a_release_is_taken_back_by_an_alarm_that_was_there_before():
    graph = made()
    service = only(graph, "Service")
    told = service.get("alarms")
    assert (told["enable"], told["rollback"]) == (True, True)
    [name] = told["alarmNames"]
    assert waits_for(graph, service, alarm(graph, name))
    assert not any(waits_for(graph, each, service) for each in kind(graph, "MetricAlarm"))


def test_a_release_moves_requests_between_two_groups_and_nothing_else():
    graph = made()
    [balanced] = only(graph, "Service").get("loadBalancers")
    old, new = groups(graph)
    rule = only(graph, "ListenerRule")
    assert balanced["targetGroupArn"] == f"${{{old.urn}#arn}}"
    assert balanced["advancedConfiguration"]["alternateTargetGroupArn"] == f"${{{new.urn}#arn}}"
    assert balanced["advancedConfiguration"]["productionListenerRule"] == f"${{{rule.urn}#arn}}"
    weights = [each["weight"] for each in rule.get("actions")[1]["forward"]["targetGroups"]]
    assert weights == [100, 0]
    # What checks tokens is not ignored: were it gone, the next update would bring it back.
    assert set(rule.ignore_changes) == {f"actions[1].forward.targetGroups[{i}].weight" for i in (0, 1)}


def test_who_moves_requests_moves_those_of_this_service_alone():
    graph = made()
    found = statements(graph, "score-releaser-policy")
    [rule] = [s for s in found if "elasticloadbalancing:ModifyRule" in s["Action"]]
    assert rule["Resource"] == [f"${{{only(graph, 'ListenerRule').urn}#arn}}"]
    [targets] = [s for s in found if "elasticloadbalancing:RegisterTargets" in s["Action"]]
    assert targets["Resource"] == [f"${{{group.urn}#arn}}" for group in groups(graph)]
    trust = json.loads(one(graph, "Role", "score-releaser-role").get("assumeRolePolicy"))["Statement"]
    assert trust[0]["Principal"] == {"Service": "ecs.amazonaws.com"}


def test_a_canary_does_not_vanish_among_the_others():
    rollback = alarm(made(), "acme-ai-dev-score-rollback")
    looked = series(rollback)
    for name in ("TargetResponseTime", "HTTPCode_Target_5XX_Count", "RequestCount"):
        seen = {m["dimensions"]["TargetGroup"] for m in looked.values() if m["metricName"] == name}
        assert len(seen) == 2, name
    assert "> 200" in formula(rollback)
    assert "> 0.1" in formula(rollback)


def test_what_is_watched_follows_from_the_objective():
    names = {r.name.removeprefix("score-alarm-score-"): r for r in kind(made(), "MetricAlarm") if "score" in r.name}
    assert set(names) == {"p95", "errors", "saturated", "ceiling", "unhealthy", "rollback"}
    assert (names["p95"].get("threshold"), names["ceiling"].get("threshold")) == (200, 10)
    assert all(TEAM in r.get("alarmActions") for r in names.values())
    fixed = fronted.graph(fronted.container(scale={"min": 2, "max": 2}))
    assert not any(r.name.endswith("ceiling") for r in kind(fixed, "MetricAlarm"))


# ---- How many


def test_there_are_as_many_as_needed_and_no_more():
    target, policy = only(made(), "Target"), only(made(), "Policy")
    assert (target.get("minCapacity"), target.get("maxCapacity")) == (2, 10)
    told = policy.get("targetTrackingScalingPolicyConfiguration")
    assert told["targetValue"] == 3000
    assert "desiredCount" in only(made(), "Service").ignore_changes
    # Scaling ends before the service does.
    assert waits_for(made(), target, only(made(), "Service"))


@pytest.mark.parametrize(("target", "value"), [(Target(requests_per_second=2.5), 150), (Target(concurrency=8), 8)])
def test_scaling_looks_at_both_groups(target: Target, value: float):
    metrics, wanted = scaling(target, "app/b/1", {"a": "targetgroup/a/1", "b": "targetgroup/b/2"})
    assert wanted == value
    assert [m["return_data"] for m in metrics].count(True) == 1
    told = [m["metric_stat"]["metric"]["dimensions"][1]["value"] for m in metrics if "metric_stat" in m]
    assert set(told) == {"targetgroup/a/1", "targetgroup/b/2"}
    result = metrics[-1]["expression"]
    assert all(m["id"] in result for m in metrics[:-1])


def test_the_first_release_has_enough():
    assert only(made(), "Service").get("desiredCount") == 2


# ---- Who reaches it


def test_the_gateway_reaches_it_and_nobody_else():
    graph = made()
    [inward] = [r for r in kind(graph, "SecurityGroupIngressRule") if r.name == "score-from-gateway"]
    gateway = one(graph, "SecurityGroup", "gateway-network")
    assert inward.get("referencedSecurityGroupId") == f"${{{gateway.urn}#id}}"
    assert (inward.get("fromPort"), inward.get("toPort")) == (8080, 8080)
    outward = one(graph, "SecurityGroupEgressRule", "score-gateway-out")
    assert outward.get("securityGroupId") == f"${{{gateway.urn}#id}}"
    assert not outward.get("cidrIpv4")
    service = only(graph, "Service")
    assert service.get("networkConfiguration")["assignPublicIp"] is False
    assert waits_for(graph, service, inward, outward, only(graph, "ListenerRule"))


# ---- What changes


def test_another_model_changes_the_task_and_never_the_way_to_it():
    newer = {
        **fronted.MODEL,
        "artifact": {**fronted.MODEL["artifact"], "path": "fraud/13/model.tar.gz", "sha256": "b" * 64},
    }
    found = compare(made(), fronted.graph(fronted.container(model=newer)))
    assert [changed.resource.name for changed in found.changed] == ["score-task"]
    assert not found.created
    assert not found.removed


def test_another_port_keeps_the_target_groups():
    found = compare(made(), fronted.graph(fronted.container(port=9090)))
    assert not found.created
    assert not found.removed
    assert not any("score-target" in changed.resource.name for changed in found.changed)


def test_nothing_changes_by_itself():
    found = compare(made(), fronted.graph(fronted.container()))
    assert not found


@pytest.mark.parametrize(("tier", "kept"), [("dev", False), ("staging", True), ("prod", True)])
def test_what_a_release_goes_back_to_stays(tier: str, kept: bool):
    assert only(made(tier), "TaskDefinition").get("skipDestroy") is kept


def test_names_fit():
    graph = fronted.graph(fronted.container(LONG))
    names = [r.get("name") for r in kind(graph, "TargetGroup")]
    assert len(set(names)) == 2
    assert all(len(name) <= 32 for name in names)
    assert all(len(r.get("name")) <= 64 for r in kind(graph, "Role"))
    assert len(only(graph, "Service").get("name")) <= 255


def test_a_preview_knows_what_to_make():
    graph = fronted.graph(fronted.container(), preview=True)
    assert {r.urn for r in graph.resources.values()} == {r.urn for r in made().resources.values()}
