"""Runs over many records: what a run does, when it starts, what stops it, and who is told."""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import botocore.session  # pyright: ignore[reportMissingTypeStubs]
import pytest
from botocore.validate import ParamValidator  # pyright: ignore[reportMissingTypeStubs]

from components.core.accelerators import MACHINES
from components.core.sagemaker import offered
from policies.model import Graph
from preview.difference import compare
from tests.aws.building import kind, one, statements, waits_for
from tests.aws.serving import AT, CRITICAL, LONG, PACKAGE, TEAM, alarm, batch, built, formula, only, series

API: Any = botocore.session.get_session().get_service_model("sagemaker")
EXAMPLE = {"job": "acme-ai-dev-nightly-00000000-0000-0000-0000-000000000000"}


@cache
def graph() -> Graph:
    return built(batch())


def definition(found: Graph) -> dict[str, Any]:
    return json.loads(only(found, "StateMachine").get("definition"))


def targets(state: dict[str, Any]) -> Iterator[str]:
    """The states that one leads to."""
    for key in ("Next", "Default"):
        if key in state:
            yield state[key]
    for choice in [*state.get("Choices", []), *state.get("Catch", [])]:
        yield choice["Next"]


def test_every_state_is_there_and_reached_and_ends():
    machine = definition(graph())
    states = machine["States"]
    reached, left = {machine["StartAt"]}, [machine["StartAt"]]
    while left:
        for name in targets(states[left.pop()]):
            if name not in reached:
                reached.add(name)
                left.append(name)
    assert reached == set(states)
    for name, state in states.items():
        assert state.get("End") or state["Type"] == "Fail" or list(targets(state)), name
    # JSONata has none of these ("Transforming data with JSONata in Step Functions").
    old = {"InputPath", "OutputPath", "Parameters", "ResultPath", "ResultSelector"}
    assert not [name for name, state in states.items() if old & set(state)]


def test_expressions_are_closed_and_know_their_variables():
    assigned = {"states"}
    texts: list[str] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            assigned.update(value.get("Assign", {}))
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)
        elif isinstance(value, str) and "{%" in value:
            texts.append(value)

    walk(definition(graph()))
    known = assigned | {"contains", "floor", "millis", "toMillis", "uuid"}
    assert texts
    for text in texts:
        assert text.startswith("{% ")
        assert text.endswith(" %}")
        assert set(re.findall(r"\$(\w+)", text)) <= known, text


def test_the_job_is_what_sagemaker_takes():
    arguments = definition(graph())["States"]["Transform"]["Arguments"]
    told = {**arguments, "TransformJobName": EXAMPLE["job"]}
    report = ParamValidator().validate(told, API.operation_model("CreateTransformJob").input_shape)
    assert not report.has_errors(), report.generate_report()
    assert arguments["MaxPayloadInMB"] * arguments["MaxConcurrentTransforms"] <= 100
    assert arguments["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"] == "s3://acme-ai-dev-curated/claims/"
    assert arguments["TransformOutput"]["KmsKeyId"].endswith("key/models")
    assert arguments["TransformResources"] == {
        "InstanceType": "ml.m7i.xlarge", "InstanceCount": 3, "VolumeKmsKeyId": f"arn:aws:kms:us-west-2:{AT}:key/compute",
    }  # fmt: skip
    assert arguments["ModelName"] == f"${{{only(graph(), 'Model').urn}#name}}"


def test_local_disks_take_no_key():
    told = definition(built(batch(on="g5.xlarge")))["States"]["Transform"]["Arguments"]
    assert "VolumeKmsKeyId" not in told["TransformResources"]


def test_no_run_writes_over_another():
    target = definition(graph())["States"]["Transform"]["Arguments"]["TransformOutput"]["S3OutputPath"]
    assert target == "{% 's3://acme-ai-dev-artifacts/batch/nightly/' & $states.context.Execution.Name %}"
    assert "$uuid()" in definition(graph())["States"]["Name"]["Assign"]["job"]


def test_only_a_lack_of_machines_is_tried_again_and_only_while_there_is_time():
    states = definition(graph())["States"]
    assert "Retry" not in states["Transform"]
    [again] = states["Why"]["Choices"]
    assert "CapacityError" in again["Condition"]
    assert "> 1800" in again["Condition"]
    assert states["Why"]["Default"] == "Failed"
    assert states["Wait"]["Next"] == "Name"


def test_a_run_is_stopped_when_its_time_is_over():
    machine = definition(graph())
    states = machine["States"]
    assert states["Transform"]["TimeoutSeconds"].startswith("{% $floor(21600 - ")
    assert states["Transform"]["Catch"][0] == {"ErrorEquals": ["States.Timeout"], "Next": "Stop"}
    assert states["Stop"]["Resource"].endswith("sagemaker:stopTransformJob")
    assert states["Stop"]["Next"] == "Late"
    # Else the execution would end before it can stop the job.
    assert machine["TimeoutSeconds"] > 21_600


def test_it_starts_jobs_of_its_own_with_its_own_model():
    found = statements(one(graph(), "RolePolicy", "nightly-runs-policy"))
    by_action = {action: s for s in found for action in s["Action"]}
    create = by_action["sagemaker:CreateTransformJob"]
    assert create["Resource"] == [f"arn:aws:sagemaker:us-west-2:{AT}:transform-job/acme-ai-dev-nightly-*"]
    model = f"arn:aws:sagemaker:us-west-2:{AT}:model/${{{only(graph(), 'Model').urn}#name}}"
    assert create["Condition"] == {"ArnEquals": {"sagemaker:ModelArn": model}}
    assert by_action["events:PutRule"]["Resource"] == [
        f"arn:aws:events:us-west-2:{AT}:rule/StepFunctionsGetEventsForSageMakerTransformJobsRule"
    ]
    wide = {action for action, s in by_action.items() if s["Resource"] == ["*"]}
    assert all(action.startswith(("logs:", "xray:")) for action in wide)
    assert "iam:PassRole" not in by_action


def test_its_model_reads_the_input_and_writes_answers_and_nothing_else():
    found = statements(one(graph(), "RolePolicy", "nightly-hosting-policy"))
    written = [r for s in found if "s3:PutObject" in s["Action"] for r in s["Resource"]]
    read = [r for s in found if s["Action"] == ["s3:GetObject"] for r in s["Resource"]]
    assert written == ["arn:aws:s3:::acme-ai-dev-artifacts/batch/nightly/*"]
    assert read == ["arn:aws:s3:::acme-ai-dev-models/fraud/*", "arn:aws:s3:::acme-ai-dev-curated/claims/*"]
    logs = [r for s in found if "logs:PutLogEvents" in s["Action"] for r in s["Resource"]]
    assert logs == [f"arn:aws:logs:us-west-2:{AT}:log-group:/aws/sagemaker/TransformJobs:*"]


def test_executions_are_logged_and_traced():
    machine, group = only(graph(), "StateMachine"), only(graph(), "LogGroup")
    assert machine.get("loggingConfiguration") == {
        "level": "ALL", "includeExecutionData": True, "logDestination": f"${{{group.urn}#arn}}:*",
    }  # fmt: skip
    assert machine.get("tracingConfiguration") == {"enabled": True}
    assert group.get("name").startswith("/aws/vendedlogs/states/")
    assert group.get("kmsKeyId").endswith("key/logs")


def test_it_starts_when_its_time_has_come_and_a_start_that_failed_is_not_lost():
    schedule = only(graph(), "Schedule")
    assert schedule.get("scheduleExpression") == "cron(30 2 ? * MON-FRI *)"
    assert schedule.get("scheduleExpressionTimezone") == "Europe/Berlin"
    queue = one(graph(), "Queue", "nightly-not-started-queue")
    assert schedule.get("target.deadLetterConfig.arn") == f"${{{queue.urn}#arn}}"
    assert waits_for(
        graph(), schedule, only(graph(), "StateMachine"), one(graph(), "RolePolicy", "nightly-start-policy")
    )
    [start] = [s for s in statements(one(graph(), "RolePolicy", "nightly-start-policy")) if "states" in s["Action"][0]]
    assert start["Resource"] == [f"${{{only(graph(), 'StateMachine').urn}#arn}}"]
    made = alarm(graph(), "acme-ai-dev-nightly-not-started")
    assert made.get("dimensions") == {"QueueName": queue.get("name")}


def test_without_a_schedule_somebody_starts_it():
    made = built(batch(schedule=None))
    for name in ("Schedule", "Queue"):
        assert not kind(made, name)
    [caller] = [r for r in kind(made, "RolePolicy") if r.name == "nightly-caller-acme-ai-dev-shop"]
    assert [s["Action"] for s in statements(caller)] == [["states:StartExecution"], ["states:DescribeExecution"]]


def test_people_hear_of_every_run_that_did_not_end_well():
    made = alarm(graph(), "acme-ai-dev-nightly-failed")
    assert {m["metricName"] for m in series(made).values()} == {
        "ExecutionsAborted", "ExecutionsFailed", "ExecutionsTimedOut",
    }  # fmt: skip
    # A sum of series of which one is missing is missing; this one is not.
    assert formula(made) == "SUM([failed, late, ended])"
    assert made.get("alarmActions") == [CRITICAL, TEAM]


def test_another_version_is_another_model_and_the_same_state_machine():
    found = compare(graph(), built(batch(model={**PACKAGE, "version": "13"})))
    assert [r.type.rpartition(":")[2] for r in found.created] == ["Model"]
    assert [r.type.rpartition(":")[2] for r in found.removed] == ["Model"]
    # What may be started with, and what is.
    assert sorted(c.resource.type.rpartition(":")[2] for c in found.changed) == ["RolePolicy", "StateMachine"]
    assert not compare(graph(), built(batch()))


def test_names_keep_their_limits_and_a_first_preview_knows_as_much():
    made = built(batch(LONG))
    name = definition(made)["States"]["Name"]["Assign"]["job"]
    prefix = name.removeprefix("{% '").partition("'")[0]
    assert len(prefix) + 36 <= 63
    assert prefix.removesuffix("-") in str(statements(one(made, "RolePolicy", f"{LONG}-runs-policy")))
    assert len(only(made, "StateMachine").get("name")) <= 80
    assert len(only(made, "Schedule").get("name")) <= 64
    assert set(built(batch(), preview=True).resources) == set(graph().resources)


@pytest.mark.parametrize(
    ("use", "shape"), [("hosting", "ProductionVariantInstanceType"), ("transform", "TransformInstanceType")]
)
def test_machines_are_those_that_sagemaker_has(use: Any, shape: str):
    there = set(API.shape_for(shape).enum)
    wrong = [m.type for m in MACHINES if offered(m, use) and f"ml.{m.type}" not in there]
    assert not wrong
    # An accelerator that is there for it is not withheld.
    kept = {m.type for m in MACHINES if m.cloud == "aws" and m.accelerator and f"ml.{m.type}" in there}
    assert kept == {m.type for m in MACHINES if m.accelerator and offered(m, use)}
