"""Services of AWS for a task: least privilege by service and team, and what is watched."""

from functools import cache
from pathlib import Path
from typing import Any, cast, get_args

import pytest

from components.aws.serving.services import TASKS, Services, ServicesArgs
from components.spec.serving import Pretrained, Service
from policies.model import Graph
from preview.record import run
from tests.aws.building import build as environment
from tests.aws.building import by_sid, foundation_only, kind, one, waits_for
from tests.aws.serving import AT, WARNING, network, scope, series, text

SERVICES: dict[str, dict[str, Any]] = {
    service: {"teams": ["risk", "claims"], "calls_per_day": 1000} for service in get_args(Service)
}


def build(*, tier: str = "dev", preview: bool = False) -> Graph:
    def program() -> None:
        here = scope(tier)
        args = ServicesArgs(
            services={cast("Service", name): Pretrained.model_validate(spec) for name, spec in SERVICES.items()},
            identities={"risk": text(f"arn:aws:iam::{AT}:role/acme-ai-dev-jobs-risk")}, tags={"risk": {"team": "risk"}},
            network=network(), warning=[text(WARNING)],
        )  # fmt: skip
        made = Services("services", args, scope=here, parent=here.provider).outputs
        assert {service: set(teams) for service, teams in made.grants.items()} == {
            service: {"risk", "claims"} for service in SERVICES
        }

    return run(program, preview=preview)


@cache
def graph() -> Graph:
    return build()


def test_every_service_has_a_task():
    assert set(TASKS) == set(get_args(Service))


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_a_team_may_work_something_out_and_make_nothing(service: str):
    policy = one(graph(), "Policy", f"services-{service.replace('_', '-')}-risk")
    found = by_sid(policy)["Call"]
    assert found["Condition"] == {"StringEquals": {"aws:RequestedRegion": "us-west-2"}}
    for action in found["Action"]:
        verb = action.partition(":")[2]
        assert "*" not in verb
        assert not verb.startswith(("Create", "Delete", "Put", "Update", "Tag", "Import", "Stop")), verb
        assert verb not in {"CompareFaces", "RecognizeCelebrities", "SearchFacesByImage"}, "who somebody is"
    assert len(policy.get("policy")) <= 6144


def test_in_prod_calls_come_from_the_network():
    for policy in kind(build(tier="prod"), "Policy"):
        assert by_sid(policy)["Call"]["Condition"]["StringEquals"]["aws:SourceVpc"] == "vpc-1"


def test_the_work_of_a_team_has_its_policies_and_no_others():
    attached = kind(graph(), "RolePolicyAttachment")
    assert len(attached) == len(SERVICES)
    assert {a.get("role") for a in attached} == {"acme-ai-dev-jobs-risk"}
    assert all(a.name.endswith("-risk-attached") for a in attached)


def test_more_calls_than_described_are_told_of_before_anybody_calls():
    alarms = {a.get("name"): a for a in kind(graph(), "MetricAlarm")}
    assert set(alarms) == {f"acme-ai-dev-{service.replace('_', '-')}-calls" for service in SERVICES}
    for alarm in alarms.values():
        assert (alarm.get("threshold"), alarm.get("evaluationPeriods")) == (1000, 1)
        assert {m["period"] for m in series(alarm).values()} == {24 * 3600}
        assert len(series(alarm)) <= 10, "an alarm looks at ten series at most"
        assert alarm.get("alarmActions") == [WARNING]
    assert waits_for(graph(), one(graph(), "Policy", "services-vision-risk"), alarms["acme-ai-dev-vision-calls"])


# What asks for a result or a list, and Translate's finding out of a language, which comes with a call that counts.
UNCOUNTED = ("Get", "Describe")


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_whatever_costs_is_counted(service: str):
    prefix = "translate:" if service == "translation" else ""
    costing = {
        action.partition(":")[2]
        for action in TASKS[cast("Service", service)].actions
        if action.startswith(prefix) and not action.partition(":")[2].startswith(UNCOUNTED)
    }
    [alarm] = [a for a in kind(graph(), "MetricAlarm") if a.name == f"services-alarm-{service.replace('_', '-')}-calls"]
    dimensions = [m["dimensions"] for m in series(alarm).values()]
    assert {d.get("Operation") or d["Resource"] for d in dimensions} == costing
    assert all({"Service", "Type", "Class", "Resource"} == set(d) for d in dimensions if "Resource" in d)


def test_a_service_is_built_on_its_own_cloud_and_reached_by_its_endpoint(project: Path):
    described = {
        "vision": {"teams": ["vision"], "calls_per_day": 5},
        "speech": {"teams": ["vision"], "calls_per_day": 5, "on": "gcp"},
    }
    foundation_only(project, "dev")
    google = {"project": "acme-ai-both", "number": "9" * 12, "region": "us-central1"}
    google["billing_account"] = "01ABCD-23EF45-6789AB"
    made = environment(project, {"cloud": {"gcp": google}, "serving": {"services": described}})
    assert {p.name for p in kind(made, "Policy") if p.name.startswith("services-")} == {"services-vision-vision"}
    apis = {api.get("service") for api in made.resources.values() if api.type.endswith("projects/service:Service")}
    assert "speech.googleapis.com" in apis
    assert "vision.googleapis.com" not in apis
    names = {e.get("serviceName") for e in kind(made, "VpcEndpoint")}
    assert "com.amazonaws.us-west-2.rekognition" in names
    assert not {name for name in names if "transcribe" in name}


def test_a_first_preview_knows_no_outputs():
    assert len(kind(build(preview=True), "Policy")) == 2 * len(SERVICES)
