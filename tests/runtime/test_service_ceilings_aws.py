"""What takes services away on AWS, against IAM and CloudWatch as moto's server has them, with events as EventBridge sends."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.aws import service_ceilings
from runtime.aws.service_ceilings import NotDoneError, RefusedError, handler
from tests.runtime.amazon import AWS, amazon, emptied

AT = "123456789012"
POLICIES = f"arn:aws:iam::{AT}:policy"
NAMES = {"vision": "acme-ai-dev-vision", "speech": "acme-ai-dev-speech"}
SERVICES = {
    service: {
        "expected": f"{name}-calls",
        "ceiling": f"{name}-ceiling",
        "stop": f"acme-ai-dev-stop-{service}",
        "grants": [f"acme-ai-dev-call-{service}-{team}" for team in ("claims", "risk")] + ["acme-ai-dev-calls-of-risk"],
    }
    for service, name in NAMES.items()
}
ROLES = ["acme-ai-dev-jobs-risk", "acme-ai-dev-serve-claims", "acme-ai-dev-other"]
EMPTY = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "polly:*", "Resource": "*"}]})
TIME = {"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}


def changed(service: str, now: str) -> dict[str, Any]:
    """As in "Alarm events and EventBridge", CloudWatch User Guide."""
    name = SERVICES[service]["ceiling"]
    return {
        "version": "0",
        "id": "c4c1c1c9-6542-e61b-6ef0-8c4d36933a92",
        "detail-type": "CloudWatch Alarm State Change",
        "source": "aws.cloudwatch",
        "account": AT,
        "resources": [f"arn:aws:cloudwatch:us-west-2:{AT}:alarm:{name}"],
        "detail": {"alarmName": name, "state": {"value": now}, "previousState": {"value": "OK"}},
    }


class Cloud:
    """Clients of the server, and a few words for what is asked of them."""

    def __init__(self) -> None:
        self.iam: Any = boto3.client("iam")
        self.cloudwatch: Any = boto3.client("cloudwatch")

    def policy(self, name: str) -> None:
        self.iam.create_policy(PolicyName=name, PolicyDocument=EMPTY)

    def attach(self, role: str, policy: str) -> None:
        self.iam.attach_role_policy(RoleName=role, PolicyArn=f"{POLICIES}/{policy}")

    def attached(self, role: str) -> set[str]:
        return {p["PolicyName"] for p in self.iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]}

    def denied(self, service: str) -> list[str]:
        return [role for role in ROLES if SERVICES[service]["stop"] in self.attached(role)]

    def state(self, service: str, *, expected: str = "OK", ceiling: str = "OK") -> None:
        for kind, value in (("expected", expected), ("ceiling", ceiling)):
            self.cloudwatch.set_alarm_state(
                AlarmName=SERVICES[service][kind], StateValue=value, StateReason="a test", StateReasonData="{}"
            )


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with amazon() as address:
        yield address


@pytest.fixture
def cloud(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    emptied(server)
    told = {"AWS_ENDPOINT_URL": server, "SERVICES": json.dumps(SERVICES), "POLICIES": POLICIES}
    for name, value in (AWS | told).items():
        monkeypatch.setenv(name, value)
    service_ceilings._client.cache_clear()
    made = Cloud()
    for role in ROLES:
        made.iam.create_role(RoleName=role, AssumeRolePolicyDocument="{}")
    for service in SERVICES.values():
        for policy in {service["stop"], *service["grants"]} - {"acme-ai-dev-calls-of-risk"}:
            made.policy(str(policy))
        for alarm in (service["expected"], service["ceiling"]):
            made.cloudwatch.put_metric_alarm(
                AlarmName=alarm, MetricName="SuccessfulRequestCount", Namespace="AWS/Rekognition", Statistic="Sum",
                Period=86_400, EvaluationPeriods=1, Threshold=1, ComparisonOperator="GreaterThanThreshold",
            )  # fmt: skip
    made.policy("acme-ai-dev-calls-of-risk")
    # The work of one team, which holds both services by one policy, and an endpoint of another one, which was given one.
    made.attach("acme-ai-dev-jobs-risk", "acme-ai-dev-calls-of-risk")
    made.attach("acme-ai-dev-serve-claims", "acme-ai-dev-call-vision-claims")
    for service in SERVICES:
        made.state(service)
    yield made
    service_ceilings._client.cache_clear()


HOLDERS = ["acme-ai-dev-jobs-risk", "acme-ai-dev-serve-claims"]


def test_above_the_ceiling_nobody_who_may_call_does(cloud: Cloud):
    cloud.state("vision", expected="ALARM", ceiling="ALARM")
    assert handler(changed("vision", "ALARM"), None) == {"vision": HOLDERS}
    assert cloud.denied("vision") == HOLDERS
    assert cloud.denied("speech") == []
    assert "acme-ai-dev-calls-of-risk" in cloud.attached("acme-ai-dev-jobs-risk"), "what the program attached stays"


def test_the_same_event_again_does_no_harm(cloud: Cloud):
    cloud.state("vision", expected="ALARM", ceiling="ALARM")
    handler(changed("vision", "ALARM"), None)
    assert handler(changed("vision", "ALARM"), None) == {}
    assert cloud.denied("vision") == HOLDERS


def test_it_is_given_back_once_calls_are_what_is_expected(cloud: Cloud):
    cloud.state("vision", expected="ALARM", ceiling="ALARM")
    handler(changed("vision", "ALARM"), None)
    # Between both: what was taken stays taken, so that it does not come and go with every few calls.
    cloud.state("vision", expected="ALARM", ceiling="OK")
    assert handler(changed("vision", "OK"), None) == {}
    assert cloud.denied("vision") == HOLDERS
    cloud.state("vision")
    assert handler(TIME, None) == {"vision": HOLDERS}
    assert cloud.denied("vision") == []
    assert cloud.attached("acme-ai-dev-jobs-risk") == {"acme-ai-dev-calls-of-risk"}


def test_more_than_expected_alone_takes_nothing(cloud: Cloud):
    cloud.state("vision", expected="ALARM")
    assert handler(changed("vision", "OK"), None) == {}
    assert cloud.denied("vision") == []


def test_an_event_that_comes_late_changes_nothing(cloud: Cloud):
    cloud.state("vision")
    assert handler(changed("vision", "ALARM"), None) == {}
    assert cloud.denied("vision") == []


def test_who_gets_the_grant_meanwhile_is_found_with_the_next_look(cloud: Cloud):
    cloud.state("vision", expected="ALARM", ceiling="ALARM")
    cloud.attach("acme-ai-dev-jobs-risk", "acme-ai-dev-stop-vision")  # half of it was done
    assert handler(TIME, None) == {"vision": ["acme-ai-dev-serve-claims"]}
    cloud.attach("acme-ai-dev-other", "acme-ai-dev-call-vision-risk")
    assert handler(TIME, None) == {"vision": ["acme-ai-dev-other"]}


@pytest.mark.parametrize("state", ["INSUFFICIENT_DATA", None])
def test_an_alarm_that_does_not_know_changes_nothing(cloud: Cloud, state: str | None):
    cloud.state("vision", expected="ALARM", ceiling="ALARM")
    handler(TIME, None)
    if state:
        cloud.state("vision", expected=state, ceiling=state)
    else:
        cloud.cloudwatch.delete_alarms(AlarmNames=["acme-ai-dev-vision-ceiling"])
    assert handler(TIME, None) == {}
    assert cloud.denied("vision") == HOLDERS


def test_before_the_grants_are_there_nobody_holds_them(cloud: Cloud):
    cloud.iam.delete_policy(PolicyArn=f"{POLICIES}/acme-ai-dev-call-vision-risk")
    cloud.state("vision", expected="ALARM", ceiling="ALARM")
    assert handler(TIME, None) == {"vision": HOLDERS}


def test_a_service_that_fails_keeps_no_other_waiting(cloud: Cloud, capsys: pytest.CaptureFixture[str]):
    for service in SERVICES:
        cloud.state(service, expected="ALARM", ceiling="ALARM")
    for i in range(9):  # IAM takes ten
        cloud.policy(f"filler-{i}")
        cloud.attach("acme-ai-dev-serve-claims", f"filler-{i}")
    client: Any = service_ceilings._client("iam")
    real = client.attach_role_policy

    def full(**asked: str) -> None:
        if asked["RoleName"] == "acme-ai-dev-serve-claims":
            raise client.exceptions.LimitExceededException(
                {"Error": {"Code": "LimitExceeded", "Message": "Cannot exceed quota for PoliciesPerRole: 10"}},
                "AttachRolePolicy",
            )
        real(**asked)

    client.attach_role_policy = full
    with pytest.raises(NotDoneError, match="vision"):
        handler(TIME, None)
    assert cloud.denied("speech") == ["acme-ai-dev-jobs-risk"]
    assert cloud.denied("vision") == ["acme-ai-dev-jobs-risk"]
    assert "PoliciesPerRole" in capsys.readouterr().out
    client.attach_role_policy = real
    assert handler(TIME, None) == {"vision": ["acme-ai-dev-serve-claims"]}


def test_before_a_policy_goes_nobody_has_it(cloud: Cloud):
    """IAM deletes no policy that is attached ("DeletePolicy"): a destroy while a service is taken away would fail."""
    cloud.state("vision", expected="ALARM", ceiling="ALARM")
    handler(TIME, None)
    call = {"stop": "acme-ai-dev-stop-vision"}
    for action in ("create", "update"):
        assert handler({**call, "tf": {"action": action, "prev_input": None}}, None) == {}
    assert handler(call, None) == {}
    assert cloud.denied("vision") == HOLDERS
    leaving = {**call, "tf": {"action": "delete", "prev_input": call}}
    assert handler(leaving, None) == {"acme-ai-dev-stop-vision": HOLDERS}
    assert cloud.denied("vision") == []
    cloud.iam.delete_policy(PolicyArn=f"{POLICIES}/acme-ai-dev-stop-vision")
    assert handler(leaving, None) == {"acme-ai-dev-stop-vision": []}


@pytest.mark.parametrize(
    "event",
    [
        {},
        [],
        "text",
        None,
        {"source": "aws.s3", "detail-type": "Object Created"},
        {"stop": 1},
        {"source": ["aws.cloudwatch"], "detail-type": []},
    ],
)
def test_what_makes_no_sense_is_refused(cloud: Cloud, event: Any):
    cloud.state("vision", expected="ALARM", ceiling="ALARM")
    with pytest.raises(RefusedError):
        handler(event, None)
    assert cloud.denied("vision") == []


def test_what_was_done_is_told_in_the_log(cloud: Cloud, capsys: pytest.CaptureFixture[str]):
    cloud.state("vision", expected="ALARM", ceiling="ALARM")
    handler(TIME, None)
    assert json.loads(capsys.readouterr().out) == {
        "level": "WARNING", "service": "vision", "event": "taken away", "roles": HOLDERS,
    }  # fmt: skip


STATES = st.sampled_from(["OK", "ALARM", "INSUFFICIENT_DATA"])


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(course=st.lists(st.tuples(st.sampled_from(sorted(SERVICES)), STATES, STATES, st.integers(1, 2)), max_size=6))
def test_whatever_comes_the_last_look_decides(cloud: Cloud, course: list[tuple[str, str, str, int]]):
    for service, expected, ceiling, times in course:
        cloud.state(service, expected=expected, ceiling=ceiling)
        for _ in range(times):
            handler(changed(service, ceiling), None)
        if ceiling == "ALARM":
            assert cloud.denied(service) == [r for r in HOLDERS if service == "vision" or r == HOLDERS[0]]
        elif expected == ceiling == "OK":
            assert cloud.denied(service) == []
