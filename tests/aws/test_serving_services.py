"""Services of AWS for a task: least privilege by service and team, and what is watched."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast, get_args

import pytest

from components import contracts
from components.aws.serving.services import TASKS, Services, ServicesArgs
from components.spec.serving import Pretrained, Service
from policies.model import Graph, Resource
from preview.record import run
from tests.aws.building import build as environment
from tests.aws.building import by_sid, foundation_only, kind, one, waits_for
from tests.aws.serving import AT, CRITICAL, TEAM, WARNING, key, network, scope, series, text

BOUNDARY = f"arn:aws:iam::{AT}:policy/acme-ai-dev-boundary"
SERVICES: dict[str, dict[str, Any]] = {
    service: {"teams": ["risk", "claims"], "calls_per_day": 1000} for service in get_args(Service)
}


def build(*, tier: str = "dev", preview: bool = False, services: Sequence[str] = tuple(SERVICES)) -> Graph:
    def program() -> None:
        here = scope(tier)
        args = ServicesArgs(
            services={cast("Service", name): Pretrained.model_validate(SERVICES[name]) for name in services},
            identities={"risk": text(f"arn:aws:iam::{AT}:role/acme-ai-dev-jobs-risk")}, tags={"risk": {"team": "risk"}},
            network=network(), compute_key=key("compute"), logs_key=key("logs"),
            boundary=contracts.Boundary(id=text(BOUNDARY)), critical=[text(CRITICAL)], warning=[text(WARNING)],
            teams={"risk": [text(TEAM)]},
        )  # fmt: skip
        made = Services("services", args, scope=here, parent=here.provider).outputs
        assert {service: set(teams) for service, teams in made.grants.items()} == {
            service: {"risk", "claims"} for service in services
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
    grants = [p for p in kind(build(tier="prod"), "Policy") if not p.name.endswith("-denial")]
    assert len(grants) == 2 * len(SERVICES) + 1
    for policy in grants:
        assert by_sid(policy)["Call"]["Condition"]["StringEquals"]["aws:SourceVpc"] == "vpc-1"


def test_the_work_of_a_team_has_its_services_by_one_policy():
    """IAM attaches ten policies to a role, and each service may be taken away by one more."""
    [attached] = kind(graph(), "RolePolicyAttachment")
    assert attached.get("role") == "acme-ai-dev-jobs-risk"
    work = one(graph(), "Policy", "services-work-of-risk")
    assert attached.get("policyArn").endswith("services-work-of-risk#arn}")
    assert len(work.get("policy")) <= 6144
    given = {
        action
        for service in SERVICES
        for action in by_sid(one(graph(), "Policy", called(service, "risk")))["Call"]["Action"]
    }
    assert set(by_sid(work)["Call"]["Action"]) == given
    assert by_sid(work)["Call"]["Condition"] == {"StringEquals": {"aws:RequestedRegion": "us-west-2"}}


def test_a_team_gets_another_service_without_a_new_policy():
    """IAM changes no description: the policy would be made anew, under a name that is taken."""
    few = one(build(services=("vision",)), "Policy", "services-work-of-risk")
    all_of_them = one(graph(), "Policy", "services-work-of-risk")
    assert few.get("policy") != all_of_them.get("policy")
    assert [few.get(key) for key in ("name", "description", "path")] == [
        all_of_them.get(key) for key in ("name", "description", "path")
    ]


def called(service: str, team: str) -> str:
    return f"services-{service.replace('_', '-')}-{team}"


def watching(kind_of: str) -> dict[str, Resource]:
    found = {a.get("name"): a for a in kind(graph(), "MetricAlarm")}
    names = {service: f"acme-ai-dev-{service.replace('_', '-')}-{kind_of}" for service in SERVICES}
    return {service: found[name] for service, name in names.items()}


def test_more_calls_than_described_are_told_of_before_anybody_calls():
    alarms = watching("calls")
    for alarm in alarms.values():
        assert (alarm.get("threshold"), alarm.get("evaluationPeriods")) == (1000, 1)
        assert {m["period"] for m in series(alarm).values()} == {24 * 3600}
        assert len(series(alarm)) <= 10, "an alarm looks at ten series at most"
        assert alarm.get("alarmActions") == [WARNING]
    assert waits_for(graph(), one(graph(), "Policy", "services-vision-risk"), alarms["vision"])


def test_the_ceiling_counts_as_the_alarm_below_it_does_and_the_team_hears_of_it():
    expected, ceilings = watching("calls"), watching("capped")
    assert len(kind(graph(), "MetricAlarm")) == 2 * len(SERVICES) + 1
    for service, alarm in ceilings.items():
        assert alarm.get("threshold") == 2000
        assert alarm.get("comparisonOperator") == "GreaterThanThreshold"
        assert series(alarm) == series(expected[service])
        assert alarm.get("alarmActions") == alarm.get("okActions") == [WARNING, TEAM]


def test_a_ceiling_acts_before_anybody_calls():
    acts = {
        "services-ceilings-vision-vision-capped", "services-ceilings-target", "services-ceilings-function",
        "services-ceilings-vision-denial", "services-ceilings-from-events", "services-ceilings-failing-service-ceilings-failing",
    }  # fmt: skip
    for policy in ("services-vision-risk", "services-vision-claims", "services-work-of-risk"):
        assert acts <= {
            r.name for r in graph().resources.values() if waits_for(graph(), one(graph(), "Policy", policy), r)
        }


def test_what_is_denied_is_what_costs_and_no_other_service():
    for service in SERVICES:
        denial = one(graph(), "Policy", f"services-ceilings-{service.replace('_', '-')}-denial")
        stop = by_sid(denial)["Stop"]
        assert stop["Effect"] == "Deny"
        assert stop["Resource"] == ["*"]
        assert "Condition" not in stop
        assert tuple(stop["Action"]) == TASKS[cast("Service", service)].anew
        others = {a for other in SERVICES if other != service for a in TASKS[cast("Service", other)].actions}
        assert not others & set(stop["Action"]), "another service's calls would be refused with it"
        assert denial.get("name") == f"acme-ai-dev-stop-{service.replace('_', '-')}"


def told() -> dict[str, dict[str, Any]]:
    """What the function knows."""
    return json.loads(one(graph(), "Function", "services-ceilings-function").get("environment.variables.SERVICES"))


def test_the_function_knows_every_policy_and_both_alarms():
    grants = {p.get("name") for p in kind(graph(), "Policy") if not p.name.endswith("-denial")}
    assert {name for service in told().values() for name in service["grants"]} == grants
    alarms = {a.get("name") for a in kind(graph(), "MetricAlarm")}
    for service, known in told().items():
        part = service.replace("_", "-")
        assert set(known["grants"]) == {f"acme-ai-dev-call-{part}-{team}" for team in ("risk", "claims")} | {
            "acme-ai-dev-calls-of-risk"
        }
        assert {known["expected"], known["ceiling"]} <= alarms
        assert known["stop"] == f"acme-ai-dev-stop-{part}"
    environment_of = one(graph(), "Function", "services-ceilings-function").get("environment.variables")
    assert environment_of["POLICIES"] == f"arn:aws:iam::{AT}:policy"
    assert sum(len(k) + len(v) for k, v in environment_of.items()) < 4096, "Lambda: environment variables, 4 KB"


def test_every_alarm_that_decides_calls_the_function_and_so_does_time():
    rule = one(graph(), "EventRule", "services-ceilings-changes")
    pattern = json.loads(rule.get("eventPattern"))
    assert pattern["source"] == ["aws.cloudwatch"]
    assert set(pattern["detail"]["alarmName"]) == {
        name for known in told().values() for name in (known["expected"], known["ceiling"])
    }
    assert rule.get("scheduleExpression") == "rate(15 minutes)"
    target = one(graph(), "EventTarget", "services-ceilings-target")
    assert target.get("arn").endswith("services-ceilings-function#arn}")
    permission = one(graph(), "Permission", "services-ceilings-from-events")
    assert permission.get("principal") == "events.amazonaws.com"
    assert permission.get("sourceArn").endswith("services-ceilings-changes#arn}")


def test_the_function_attaches_and_detaches_what_denies_and_nothing_else():
    [policy] = [p for p in kind(graph(), "RolePolicy") if p.name == "services-ceilings-policy"]
    rights = {
        action: statement
        for statement in json.loads(policy.get("policy"))["Statement"]
        for action in statement["Action"]
        if action.startswith("iam:")
    }
    assert set(rights) == {"iam:ListEntitiesForPolicy", "iam:AttachRolePolicy", "iam:DetachRolePolicy"}
    changing = rights["iam:AttachRolePolicy"]
    assert changing == rights["iam:DetachRolePolicy"]
    assert changing["Resource"] == [f"arn:aws:iam::{AT}:role/acme-ai-dev-*"]
    stops = f"arn:aws:iam::{AT}:policy/acme-ai-dev-stop-*"
    assert changing["Condition"] == {"ArnLike": {"iam:PolicyARN": stops}}
    looked = rights["iam:ListEntitiesForPolicy"]["Resource"]
    assert looked == [stops, f"arn:aws:iam::{AT}:policy/acme-ai-dev-call*"]
    # Every policy that it is told of is among those that it may look at.
    names = {name for known in told().values() for name in (known["stop"], *known["grants"])}
    assert all(name.startswith(("acme-ai-dev-stop-", "acme-ai-dev-call")) for name in names)
    assert one(graph(), "Role", "services-ceilings-role").get("permissionsBoundary") == BOUNDARY


def test_only_one_look_at_a_time():
    function = one(graph(), "Function", "services-ceilings-function")
    assert function.get("reservedConcurrentExecutions") == 1
    assert function.get("vpcConfig") is None, "IAM has no endpoint in networks of most regions"


def test_a_destroy_detaches_what_denies_before_it_deletes_it():
    """In the order of a destroy: nothing calls the function, it gives back, the policy goes, and the function with its rights."""
    for service in SERVICES:
        back = one(graph(), "Invocation", f"services-ceilings-{service}-given-back")
        denial = one(graph(), "Policy", f"services-ceilings-{service.replace('_', '-')}-denial")
        assert back.get("lifecycleScope") == "CRUD"
        assert waits_for(graph(), back, denial)
        assert waits_for(graph(), one(graph(), "EventTarget", "services-ceilings-target"), back)
        for needed in ("services-ceilings-function", "services-ceilings-policy", "services-ceilings-role"):
            assert needed in {r.name for r in graph().resources.values() if waits_for(graph(), back, r)}


def test_a_ceiling_that_nobody_keeps_is_told_of():
    [alarm] = [a for a in kind(graph(), "MetricAlarm") if a.get("name") == "acme-ai-dev-service-ceilings-failing"]
    assert alarm.get("alarmActions") == [CRITICAL]
    function = one(graph(), "Function", "services-ceilings-function")
    assert alarm.get("dimensions.FunctionName") == function.get("name") == "acme-ai-dev-services-ceilings"


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_whatever_costs_is_counted(service: str):
    costing = {action.partition(":")[2] for action in TASKS[cast("Service", service)].anew}
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
    assert {p.name for p in kind(made, "Policy") if p.name.startswith("services-")} == {
        "services-vision-vision", "services-ceilings-vision-denial",
    }  # fmt: skip
    apis = {api.get("service") for api in made.resources.values() if api.type.endswith("projects/service:Service")}
    assert "speech.googleapis.com" in apis
    assert "vision.googleapis.com" not in apis
    names = {e.get("serviceName") for e in kind(made, "VpcEndpoint")}
    assert "com.amazonaws.us-west-2.rekognition" in names
    assert not {name for name in names if "transcribe" in name}


def test_a_first_preview_knows_no_outputs():
    assert len(kind(build(preview=True), "Policy")) == 3 * len(SERVICES) + 1
