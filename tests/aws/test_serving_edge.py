"""Fleets of devices: what each may do, how a new version reaches them, and who hears of failures."""

import json
from functools import cache
from typing import Any

import pulumi
import pytest

from components import contracts
from components.aws.serving.edge import Edge, EdgeArgs, pace
from components.aws.serving.fleets import Fleets, FleetsArgs
from components.contracts import Zone
from components.spec import serving
from policies.model import Graph
from preview.difference import compare
from preview.record import run
from tests.aws.building import by_sid, one, statements, waits_for
from tests.aws.serving import AT, IMAGE, LONG, TEAM, alarm, key, only, scope, text, zone

OWN = "$aws/things/${iot:Connection.Thing.ThingName}"
DIGEST = "a" * 64
SPEC: dict[str, Any] = {
    "kind": "edge", "team": "risk", "fleet": "cameras", "devices": 1200, "percent_per_hour": 20, "abort_percent": 5,
    "model": {"image": "serving:1.0", "artifact": {"path": "cameras/7/model.tar.gz", "sha256": DIGEST}},
    "callers": ["acme-ai-dev-shop"],
}  # fmt: skip


def build(
    name: str = "detector", *, tier: str = "dev", preview: bool = False, image: str = IMAGE, **changes: Any
) -> Graph:
    def program() -> None:
        here = scope(tier)
        spec = serving.Edge.model_validate({**SPEC, **changes})
        boundary = contracts.Boundary(id=text(f"arn:aws:iam::{AT}:policy/boundary"))
        ready = Fleets("fleets", FleetsArgs(logs_key=key("logs"), boundary=boundary), scope=here, parent=here.provider)
        models = zone("models", "models")
        args = EdgeArgs(
            spec=spec, image=image, zone=Zone(bucket=models.bucket, key=models.key) if spec.model.artifact else None,
            ready=ready.outputs, boundary=boundary, team=[text(TEAM)], tags={"team": "risk"},
        )  # fmt: skip
        made = Edge(name, args, scope=here, parent=here.provider).outputs
        pulumi.export("address", made.address)

    return run(program, preview=preview)


@cache
def graph() -> Graph:
    return build()


def policy(name: str) -> Any:
    [found] = [r for r in graph().resources.values() if r.type == "aws:iot/policy:Policy" and r.name == name]
    return found


def test_a_device_sees_its_own_jobs_and_no_others():
    connect, send, subscribe, become = statements(policy("detector-policy"))
    at = f"arn:aws:iot:us-west-2:{AT}"
    assert connect["Resource"] == [f"{at}:client/${{iot:Connection.Thing.ThingName}}"]
    assert connect["Condition"] == {"Bool": {"iot:Connection.Thing.IsAttached": "true"}}
    assert send["Resource"] == [f"{at}:topic/{OWN}/jobs/*", f"{at}:topic/{OWN}/shadow/name/$package/*"]
    assert all(r.startswith(f"{at}:topicfilter/{OWN}/") for r in subscribe["Resource"])
    assert become["Action"] == ["iot:AssumeRoleWithCertificate"]
    assert become["Resource"] == [f"${{{only(graph(), 'RoleAlias').urn}#arn}}"]


def test_its_credentials_read_its_image_and_its_model_for_an_hour():
    found = by_sid(one(graph(), "RolePolicy", "detector-device-policy"))
    # Of every version: the way back is a former one.
    assert found["ReadModel"]["Resource"] == ["arn:aws:s3:::acme-ai-dev-models/cameras/*"]
    assert found["ReadModel"]["Action"] == ["s3:GetObject"]
    assert found["PullImage"]["Resource"] == [f"arn:aws:ecr:us-west-2:{AT}:repository/acme-ai-dev/serving"]
    assert found["Decrypt"]["Condition"] == {"StringEquals": {"kms:ViaService": ["s3.us-west-2.amazonaws.com"]}}
    assert only(graph(), "RoleAlias").get("credentialDuration") == 3600
    [trust] = statements(one(graph(), "Role", "detector-device-role"), "assumeRolePolicy")
    assert trust["Principal"] == {"Service": "credentials.iot.amazonaws.com"}
    assert one(graph(), "Role", "detector-device-role").get("permissionsBoundary")


def template(found: Graph) -> dict[str, Any]:
    made = only(found, "Resource")
    assert made.get("typeName") == "AWS::IoT::JobTemplate"
    return json.loads(made.get("desiredState"))


def test_a_roll_out_has_a_pace_and_stops_by_itself():
    state = template(graph())
    assert state["JobExecutionsRolloutConfig"] == {"MaximumPerMinute": 4}, "1,200 devices, 20 percent an hour"
    assert state["AbortConfig"]["CriteriaList"] == [
        {"Action": "CANCEL", "FailureType": "ALL", "MinNumberOfExecutedThings": 10, "ThresholdPercentage": 5}
    ]
    told = json.loads(state["Document"])
    assert told["image"] == IMAGE
    assert told["model"] == "s3://acme-ai-dev-models/cameras/7/model.tar.gz"
    assert told["sha256"] == DIGEST, "a device refuses what does not match"
    assert len(state["JobTemplateId"]) <= 64


@pytest.mark.parametrize(("devices", "percent"), [(1, 1), (60, 100), (1_000_000, 100)])
def test_a_pace_is_one_that_jobs_take(devices: int, percent: int):
    assert 1 <= pace(devices, percent) <= 1000


def test_another_version_is_another_template_and_the_same_fleet():
    model = {"image": "serving:1.1", "artifact": SPEC["model"]["artifact"]}
    found = compare(graph(), build(model=model, image=IMAGE.replace("1.0", "1.1")))
    assert {c.resource.name: c.replaced for c in found.changed} == {"detector-template": True}
    assert template(build(model=model))["JobTemplateId"] != template(graph())["JobTemplateId"]
    assert only(build(tier="prod"), "Resource").retain_on_delete, "to go back to"


def test_callers_start_roll_outs_of_this_fleet_and_stop_them():
    found = by_sid(one(graph(), "RolePolicy", "detector-caller-acme-ai-dev-shop"))
    jobs = f"arn:aws:iot:us-west-2:{AT}:job/acme-ai-dev-detector-*"
    assert found["RollOut"]["Action"] == ["iot:CreateJob"]
    assert found["RollOut"]["Resource"][0] == jobs
    # Of a former version too: to go back takes no deployment.
    assert found["RollOut"]["Resource"][2] == f"arn:aws:iot:us-west-2:{AT}:jobtemplate/acme-ai-dev-detector-*"
    assert template(graph())["JobTemplateId"].startswith("acme-ai-dev-detector-")
    assert found["StopIt"]["Resource"] == [jobs]


def test_jobs_that_end_badly_are_counted_and_told_of():
    rule = only(graph(), "TopicRule")
    assert "startswith(topic(4), 'acme-ai-dev-detector-')" in rule.get("sql")
    for status in ("failed", "rejected", "timed_out"):
        assert f"'{status}'" in rule.get("sql")
    [metric] = rule.get("cloudwatchMetrics")
    watched = alarm(graph(), "acme-ai-dev-detector-devices")
    assert (watched.get("namespace"), watched.get("metricName")) == (metric["metricNamespace"], metric["metricName"])
    assert watched.get("threshold") == 12
    [may] = statements(one(graph(), "RolePolicy", "detector-count-policy"))
    assert may["Condition"] == {"StringEquals": {"cloudwatch:namespace": metric["metricNamespace"]}}


def test_what_an_account_has_once_is_there_before_a_roll_out():
    made = only(graph(), "Resource")
    for name in ("LoggingOptions", "IndexingConfiguration", "EventConfigurations", "LogGroup"):
        assert waits_for(graph(), made, only(graph(), name))
    assert waits_for(graph(), only(graph(), "LoggingOptions"), only(graph(), "LogGroup"))
    assert only(graph(), "EventConfigurations").get("eventConfigurations")["JOB_EXECUTION"] is True
    assert only(graph(), "LogGroup").get("kmsKeyId").endswith("key/logs")


def test_names_are_within_limits_and_a_first_preview_knows_no_outputs():
    made = build(LONG, preview=True, fleet="f" * 63)
    assert len(only(made, "ThingGroup").get("name")) <= 128
    assert len(only(made, "TopicRule").get("name")) <= 128
    assert "-" not in only(made, "TopicRule").get("name")
    assert len(template(made)["JobTemplateId"]) <= 64


def test_an_image_that_holds_its_model_needs_no_zone():
    found = by_sid(one(build(model={"image": "serving:1.0"}), "RolePolicy", "detector-device-policy"))
    assert set(found) == {"SignInToRegistry", "PullImage"}
