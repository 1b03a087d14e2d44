"""Endpoints that work on a queue: scaling from and to nothing, answers, failures, and who is told."""

from functools import cache
from typing import Any

import pytest

from policies.model import Graph
from preview.difference import compare
from tests.aws.building import by_sid, kind, one, statements, waits_for
from tests.aws.serving import AT, LONG, PACKAGE, TEAM, alarm, asynchronous, built, formula, only, series


@cache
def graph() -> Graph:
    return built(asynchronous())


def topic(name: str) -> str:
    return f"${{{one(graph(), 'Topic', f'ocr-{name}-topic').urn}#arn}}"


def test_answers_and_failures_go_to_their_places_under_the_key_of_the_zone():
    found = only(graph(), "EndpointConfiguration").get("asyncInferenceConfig.outputConfig")
    assert found == {
        "s3OutputPath": "s3://acme-ai-dev-artifacts/async/ocr/output",
        "s3FailurePath": "s3://acme-ai-dev-artifacts/async/ocr/failure",
        "kmsKeyId": f"arn:aws:kms:us-west-2:{AT}:key/models",
        "notificationConfig": {"successTopic": topic("answers"), "errorTopic": topic("failures")},
    }


def test_it_scales_to_nothing_and_back():
    target = only(graph(), "Target")
    assert (target.get("minCapacity"), target.get("maxCapacity")) == (0, 4)
    policies = {p.get("policyType"): p for p in kind(graph(), "Policy") if p.type.startswith("aws:appautoscaling")}
    tracking = policies["TargetTrackingScaling"].get("targetTrackingScalingPolicyConfiguration")
    assert tracking["targetValue"] == 3
    metric = tracking["customizedMetricSpecification"]
    assert (metric["namespace"], metric["metricName"]) == ("AWS/SageMaker", "ApproximateBacklogSizePerInstance")
    # With its name as text: no dimension other than that of the endpoint has the series.
    assert metric["dimensions"] == [{"name": "EndpointName", "value": "acme-ai-dev-ocr"}]
    first = alarm(graph(), "acme-ai-dev-ocr-first")
    assert first.get("metricName") == "HasBacklogWithoutCapacity"
    assert first.get("dimensions") == {"EndpointName": "acme-ai-dev-ocr"}
    assert first.get("alarmActions") == [f"${{{policies['StepScaling'].urn}#arn}}"]
    [step] = policies["StepScaling"].get("stepScalingPolicyConfiguration.stepAdjustments")
    assert step["scalingAdjustment"] == 1
    [variant] = only(graph(), "EndpointConfiguration").get("productionVariants")
    assert variant["initialInstanceCount"] == 1


def test_with_a_minimum_the_first_instance_needs_no_call():
    made = built(asynchronous(scale={"min": 1, "max": 4}))
    assert not [r for r in kind(made, "MetricAlarm") if r.get("name").endswith("-first")]
    assert [p.get("policyType") for p in kind(made, "Policy") if "appautoscaling" in p.type] == [
        "TargetTrackingScaling"
    ]


def test_scaling_ends_before_the_endpoint_does():
    assert waits_for(graph(), only(graph(), "Target"), only(graph(), "Endpoint"))


def test_alarms_of_a_release_stand_before_the_endpoint_and_follow_what_an_async_endpoint_publishes():
    endpoint = only(graph(), "Endpoint")
    before = [r for r in kind(graph(), "MetricAlarm") if not r.get("name").endswith("-first")]
    assert {r.get("name").removeprefix("acme-ai-dev-ocr-") for r in before} == {
        "ceiling", "errors", "failed", "rollback", "saturated", "waiting",
    }  # fmt: skip
    assert waits_for(graph(), endpoint, *before)
    names = {m["metricName"] for r in before if r.get("metricQueries") for m in series(r).values()}
    # Of these nothing is published for an asynchronous endpoint ("Monitor asynchronous endpoint").
    assert not names & {"Invocations", "InvocationsPerInstance", "OverheadLatency"}
    assert endpoint.get("deploymentConfig.autoRollbackConfiguration.alarms") == [
        {"alarmName": "acme-ai-dev-ocr-rollback"}
    ]
    # It has no latency to be judged by: what is left counts.
    rollback = formula(alarm(graph(), "acme-ai-dev-ocr-rollback"))
    assert rollback == "IF((errors >= 3 AND 100 * errors / SUM([calls, errors]) > 0.5), 1, 0)"


def test_who_waits_for_too_long_is_heard():
    made = alarm(graph(), "acme-ai-dev-ocr-waiting")
    assert (made.get("metricName"), made.get("statistic")) == ("ApproximateAgeOfOldestRequest", "Maximum")
    assert made.get("threshold") == 15 * 60
    assert made.get("dimensions") == {"EndpointName": "acme-ai-dev-ocr"}


def test_failures_are_kept_though_nobody_listens():
    queue, failures = one(graph(), "Queue", "ocr-failed-queue"), topic("failures")
    assert queue.get("messageRetentionSeconds") == 14 * 24 * 3600
    subscription = only(graph(), "TopicSubscription")
    assert (subscription.get("topic"), subscription.get("protocol")) == (failures, "sqs")
    policy = only(graph(), "QueuePolicy")
    assert waits_for(graph(), subscription, policy)
    allowed = by_sid(policy)["Topic"]
    assert allowed["Principal"] == {"Service": "sns.amazonaws.com"}
    assert allowed["Condition"]["ArnLike"] == {"aws:SourceArn": failures}
    made = alarm(graph(), "acme-ai-dev-ocr-failed")
    assert made.get("dimensions") == {"QueueName": queue.get("name")}
    assert made.get("alarmActions") == [TEAM]


def test_topics_and_queue_are_encrypted_and_their_publisher_may_use_the_key():
    key = f"arn:aws:kms:us-west-2:{AT}:key/logs"
    assert {r.get("kmsMasterKeyId") for name in ("Topic", "Queue") for r in kind(graph(), name)} == {key}
    for policy in kind(graph(), "TopicPolicy"):
        assert by_sid(policy)["OnlyOverTls"]["Effect"] == "Deny"
        assert by_sid(policy)["Owner"]["Principal"] == {"AWS": f"arn:aws:iam::{AT}:root"}
    may = statements(one(graph(), "RolePolicy", "ocr-hosting-policy"))
    [publish] = [s for s in may if s["Action"] == ["sns:Publish"]]
    assert publish["Resource"] == [topic("answers"), topic("failures")]
    [through] = [s for s in may if s.get("Condition", {}).get("StringEquals", {}).get("kms:ViaService") == [
        "sns.us-west-2.amazonaws.com"
    ]]  # fmt: skip
    assert through["Resource"] == [key]


def places(policy: str, action: str) -> list[Any]:
    found = statements(one(graph(), "RolePolicy", policy))
    return sorted(r.rpartition("/async/ocr/")[2] for s in found if action in s["Action"] for r in s["Resource"])


def test_it_reads_requests_and_a_caller_writes_them():
    at = "arn:aws:s3:::acme-ai-dev-"
    assert places("ocr-hosting-policy", "s3:PutObject") == [f"{at}logs/capture/ocr/*", "failure/*", "output/*"]
    assert "input/*" in places("ocr-hosting-policy", "s3:GetObject")
    assert places("ocr-caller-acme-ai-dev-shop", "s3:PutObject") == ["input/*"]
    assert places("ocr-caller-acme-ai-dev-shop", "s3:GetObject") == ["failure/*", "input/*", "output/*"]
    first = statements(one(graph(), "RolePolicy", "ocr-caller-acme-ai-dev-shop"))[0]
    assert first["Action"] == ["sagemaker:InvokeEndpointAsync"]


def test_another_version_is_another_model_and_configuration_and_the_same_endpoint():
    found = compare(graph(), built(asynchronous(model={**PACKAGE, "version": "13"})))
    kinds = ["EndpointConfiguration", "Model"]
    assert sorted(r.type.rpartition(":")[2] for r in found.created) == kinds
    assert sorted(r.type.rpartition(":")[2] for r in found.removed) == kinds
    assert [c.path for changed in found.changed for c in changed.changes] == ["endpointConfigName"]


@pytest.mark.parametrize("scale", [{"min": 0, "max": 6, "waiting": 3}, {"min": 0, "max": 4, "waiting": 9}])
def test_scale_changes_in_place(scale: dict[str, int]):
    found = compare(graph(), built(asynchronous(scale=scale)))
    assert not found.created
    assert not found.removed
    assert {c.resource.type.rpartition(":")[2] for c in found.changed} <= {"MetricAlarm", "Policy", "Target"}


def test_nothing_changes_where_nothing_did():
    assert not compare(graph(), built(asynchronous()))


def test_names_keep_their_limits_and_a_first_preview_knows_as_much():
    made = built(asynchronous(LONG))
    assert len(only(made, "Endpoint").get("name")) <= 63
    assert len(one(made, "Queue", f"{LONG}-failed-queue").get("name")) <= 80
    assert set(built(asynchronous(), preview=True).resources) == set(graph().resources)
