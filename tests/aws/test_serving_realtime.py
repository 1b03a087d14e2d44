"""Endpoints on machines: how a version takes over, what takes it back, how they grow, and what they may do."""

import re
from functools import cache
from typing import Any

import pytest

from components.aws.registry.models import Source, reading
from components.core import hosting
from components.scope import Scope
from policies.model import Graph
from preview.difference import Difference, compare
from preview.record import run
from tests.aws.building import kind, one, statements, waits_for
from tests.aws.serving import (
    AT,
    CRITICAL,
    IMAGE,
    LONG,
    PACKAGE,
    TEAM,
    alarm,
    built,
    document,
    formula,
    only,
    realtime,
    scope,
    series,
)  # fmt: skip

NEWER = {**PACKAGE, "version": "13"}
ARTIFACT = {"image": "serving:1.0", "artifact": {"zone": "models", "path": "fraud/12/model.tar.gz"}}
SHADOW = {"strategy": "shadow", "percent": 20, "model": NEWER}
# Properties of the endpoint with which the provider makes another one (internal/service/sagemaker/endpoint.go, ForceNew).
REPLACES = re.compile(r"^(name|deploymentConfig\.autoRollbackConfiguration)")


@cache
def graph() -> Graph:
    return built(realtime())


@cache
def prod() -> Graph:
    return built(realtime(tier="prod"))


def types(difference: Difference, part: str) -> list[str]:
    found = getattr(difference, part)
    return sorted((r.resource if part == "changed" else r).type.rpartition(":")[2] for r in found)


# How a version takes over


def test_another_version_is_another_model_and_configuration_and_the_same_endpoint():
    found = compare(graph(), built(realtime(model=NEWER)))
    assert types(found, "created") == types(found, "removed") == ["EndpointConfiguration", "Model"]
    [changed] = found.changed
    assert changed.resource.type.endswith(":Endpoint")
    assert [c.path for c in changed.changes] == ["endpointConfigName"]
    assert changed.resource.get("name") == changed.before.get("name") == "acme-ai-dev-fraud-score"


def test_an_artifact_that_lies_elsewhere_changes_no_right_so_that_the_former_one_can_still_be_loaded():
    newer = {**ARTIFACT, "artifact": {"zone": "models", "path": "fraud/13/model.tar.gz"}}
    found = compare(built(realtime(model=ARTIFACT)), built(realtime(model=newer)))
    assert types(found, "created") == types(found, "removed") == ["EndpointConfiguration", "Model"]
    assert types(found, "changed") == ["Endpoint"]


def test_nothing_changes_where_nothing_did():
    assert not compare(graph(), built(realtime()))


@pytest.mark.parametrize(
    ("scale", "changed"),
    [
        ({"min": 3, "max": 10, "target": {"requests_per_second": 50}}, ["Target"]),
        ({"min": 2, "max": 12, "target": {"requests_per_second": 50}}, ["MetricAlarm", "Target"]),
        ({"min": 2, "max": 10, "target": {"requests_per_second": 5}}, ["Policy"]),
    ],
)
def test_scale_changes_in_place_and_rolls_nothing(scale: dict[str, Any], changed: list[str]):
    found = compare(graph(), built(realtime(scale=scale)))
    assert not found.created
    assert not found.removed
    assert types(found, "changed") == changed


@pytest.mark.parametrize(
    "changes",
    [
        {"release": {"strategy": "canary", "percent": 20, "bake_minutes": 10, "rollback_on": ["error_rate"]}},
        {"release": {"strategy": "all_at_once"}},
        {"release": SHADOW},
        {"objective": {"p95_ms": 90, "requests_per_month": 1}},
        {"capture_percent": 0},
        {"on": "g5.xlarge"},
        {"model": ARTIFACT},
    ],
)
def test_no_change_of_the_description_makes_another_endpoint(changes: dict[str, Any]):
    found = compare(graph(), built(realtime(**changes)))
    [before, *_], [after, *_] = kind(graph(), "Endpoint"), kind(built(realtime(**changes)), "Endpoint")
    assert before.urn == after.urn
    paths = [c.path for changed in found.changed if changed.resource.urn == after.urn for c in changed.changes]
    assert not [path for path in paths if REPLACES.match(path)], paths


def test_what_was_there_before_stays_but_in_an_environment_that_may_be_deleted():
    for name in ("Model", "EndpointConfiguration"):
        assert only(prod(), name).retain_on_delete
        assert not only(graph(), name).retain_on_delete
        # A name of its own could not be had a second time, by whoever goes back to this content.
        assert only(prod(), name).get("name") is None
    assert not only(prod(), "Endpoint").retain_on_delete


def test_names_of_what_is_kept_hold_what_makes_it():
    other = built(realtime(model=NEWER))
    assert only(graph(), "Model").name != only(other, "Model").name
    assert only(graph(), "EndpointConfiguration").name != only(other, "EndpointConfiguration").name
    assert only(graph(), "EndpointConfiguration").name.startswith("acme-ai-dev-fraud-score-")


@pytest.mark.parametrize(
    ("release", "type_", "percent", "wait", "bake"),
    [
        ({"strategy": "canary", "percent": 10, "bake_minutes": 15}, "CANARY", 10, 900, 900),
        ({"strategy": "blue_green", "bake_minutes": 5}, "CANARY", 50, 300, 300),
        ({"strategy": "all_at_once", "bake_minutes": 30}, "ALL_AT_ONCE", None, 0, 1800),
        (SHADOW, "ALL_AT_ONCE", None, 0, 900),
    ],
)
def test_releases(release: dict[str, Any], type_: str, percent: int | None, wait: int, bake: int):
    made = only(built(realtime(release=release)), "Endpoint")
    policy = made.get("deploymentConfig.blueGreenUpdatePolicy")
    routing = policy["trafficRoutingConfiguration"]
    assert (routing["type"], routing["waitIntervalInSeconds"]) == (type_, wait)
    assert routing.get("canarySize") == (percent and {"type": "CAPACITY_PERCENT", "value": percent})
    assert policy["terminationWaitInSeconds"] == bake
    # BlueGreenUpdatePolicy: larger than all waits together.
    assert wait + bake < policy["maximumExecutionTimeoutInSeconds"] <= 14_400
    assert made.get("deploymentConfig.autoRollbackConfiguration.alarms") == [
        {"alarmName": "acme-ai-dev-fraud-score-rollback"}
    ]


def test_a_fleet_that_never_grows_is_sized_by_its_configuration_and_is_not_scaled():
    fixed = built(realtime(scale={"min": 3, "max": 3}))
    config = only(fixed, "EndpointConfiguration")
    assert config.get("productionVariants")[0]["initialInstanceCount"] == 3
    assert not config.ignore_changes
    # SageMaker refuses another machine for an endpoint that is scaled: this is the way to one.
    assert not kind(fixed, "Target")
    found = compare(fixed, built(realtime(scale={"min": 4, "max": 4})))
    assert types(found, "created") == types(found, "removed") == ["EndpointConfiguration"]
    assert types(found, "changed") == ["Endpoint"]


def test_an_endpoint_is_never_updated_with_the_configuration_that_it_has():
    # SageMaker wants another one (UpdateEndpoint).
    other = built(realtime(release={"strategy": "canary", "percent": 30, "bake_minutes": 15}))
    found = compare(graph(), other)
    assert types(found, "created") == ["EndpointConfiguration"]
    [changed] = found.changed
    assert {c.path.partition(".")[0] for c in changed.changes} == {"deploymentConfig", "endpointConfigName"}
    signs = built(realtime(release={"strategy": "canary", "bake_minutes": 15, "rollback_on": ["error_rate"]}))
    assert types(compare(graph(), signs), "changed") == ["MetricAlarm"]


def test_steps_begin_with_two_machines_for_the_first_is_half_a_fleet_at_most():
    for release, least in (
        ({"strategy": "canary"}, 2),
        ({"strategy": "blue_green"}, 2),
        ({"strategy": "all_at_once"}, 1),
    ):
        made = built(
            realtime(release=release, scale={"min": 1, "max": 4}, objective={"p95_ms": 9, "requests_per_month": 0})
        )
        [variant] = only(made, "EndpointConfiguration").get("productionVariants")
        assert variant["initialInstanceCount"] == least


def test_a_release_begins_with_what_the_expected_requests_need():
    # 500 million a month are 193 a second, and one instance takes 50.
    busy = built(realtime(objective={"p95_ms": 200, "requests_per_month": 500_000_000}))
    [variant] = only(busy, "EndpointConfiguration").get("productionVariants")
    assert variant["initialInstanceCount"] == 4
    assert only(busy, "EndpointConfiguration").ignore_changes == ("productionVariants[0].initialInstanceCount",)


def test_a_shadow_is_a_second_variant_with_machines_of_its_own():
    made = built(realtime(release=SHADOW))
    config = only(made, "EndpointConfiguration")
    [main], [shadow] = config.get("productionVariants"), config.get("shadowProductionVariants")
    assert (main["variantName"], shadow["variantName"]) == ("main", "shadow")
    assert shadow["initialVariantWeight"] / main["initialVariantWeight"] == 0.2
    assert main["modelName"] != shadow["modelName"]
    assert (main["initialInstanceCount"], shadow["initialInstanceCount"]) == (2, 1)
    # A variant that is scaled could not be taken away again.
    assert only(made, "Target").get("resourceId").endswith("/variant/main")
    assert config.ignore_changes == tuple(
        f"{v}[0].initialInstanceCount" for v in ("productionVariants", "shadowProductionVariants")
    )


# What takes it back


def test_alarms_stand_before_the_endpoint_and_know_its_name_only():
    endpoint = only(graph(), "Endpoint")
    made = kind(graph(), "MetricAlarm")
    assert len(made) == 5
    assert waits_for(graph(), endpoint, *made)
    for resource in made:
        assert not resource.dependencies
        for metric in series(resource).values():
            assert metric["dimensions"]["EndpointName"] == endpoint.get("name")
            assert metric["dimensions"]["VariantName"] == "main"


def test_the_alarm_of_a_release_follows_what_is_to_take_it_back():
    both = alarm(graph(), "acme-ai-dev-fraud-score-rollback")
    assert "/ 1000 > 200" in formula(both)
    assert "100 * errors / calls > 0.1" in formula(both)
    release = {"strategy": "canary", "rollback_on": ["p95_latency"]}
    one_sign = alarm(built(realtime(release=release)), "acme-ai-dev-fraud-score-rollback")
    assert "errors" not in formula(one_sign) + str(series(one_sign))
    assert {m["metricName"] for m in series(one_sign).values()} == {"ModelLatency", "OverheadLatency"}
    # It has to go off within the shortest time that a release is watched, and more than once by chance.
    assert {m["period"] for m in series(both).values()} == {60}
    assert (both.get("evaluationPeriods"), both.get("datapointsToAlarm")) == (3, 2)


def test_latency_is_in_milliseconds_though_its_metrics_are_not():
    made = alarm(graph(), "acme-ai-dev-fraud-score-p95")
    # One slow request of few wakes nobody.
    assert formula(made) == "IF(calls >= 20, (model + overhead) / 1000, 0)"
    assert made.get("threshold") == 200
    assert {name: m["stat"] for name, m in series(made).items()} == {"model": "p95", "overhead": "p95", "calls": "Sum"}


def test_one_error_of_few_requests_wakes_nobody():
    made = alarm(graph(), "acme-ai-dev-fraud-score-errors")
    assert formula(made) == "IF(errors >= 3, 100 * errors / calls, 0)"
    assert made.get("threshold") == 0.1
    assert made.get("treatMissingData") == "notBreaching"


def test_saturation_is_a_share_of_what_the_machine_has():
    made = alarm(graph(), "acme-ai-dev-fraud-score-saturated")
    assert formula(made) == "used / 4"
    [metric] = series(made).values()
    assert (metric["namespace"], metric["metricName"]) == ("/aws/sagemaker/Endpoints", "CPUUtilization")
    graphics = alarm(built(realtime(on="g5.12xlarge")), "acme-ai-dev-fraud-score-saturated")
    assert formula(graphics) == "used / 4"
    assert [m["metricName"] for m in series(graphics).values()] == ["GPUUtilization"]
    # Neuron devices are in no metric of SageMaker's.
    neuron = alarm(built(realtime(on="inf2.xlarge")), "acme-ai-dev-fraud-score-saturated")
    assert [m["metricName"] for m in series(neuron).values()] == ["CPUUtilization"]


def test_a_fleet_that_never_grows_is_not_at_its_ceiling():
    assert alarm(graph(), "acme-ai-dev-fraud-score-ceiling").get("threshold") == 9.5
    fixed = built(realtime(scale={"min": 2, "max": 2}))
    assert not [r for r in kind(fixed, "MetricAlarm") if r.get("name").endswith("-ceiling")]


def test_the_team_is_told_and_the_platform_of_what_cannot_wait():
    assert alarm(graph(), "acme-ai-dev-fraud-score-p95").get("alarmActions") == [CRITICAL, TEAM]
    assert alarm(graph(), "acme-ai-dev-fraud-score-ceiling").get("alarmActions") == [TEAM]
    pattern = document(only(graph(), "EventRule"), "eventPattern")
    assert pattern["detail"]["EndpointName"] == ["acme-ai-dev-fraud-score"]
    assert "ROLLING_BACK" in pattern["detail"]["EndpointStatus"]
    assert {r.get("arn") for r in kind(graph(), "EventTarget")} == {CRITICAL, TEAM}


def test_every_alarm_says_what_to_do():
    for resource in kind(graph(), "MetricAlarm"):
        assert " First: " in resource.get("alarmDescription")


# How it grows


def test_scaling_has_a_ceiling_and_the_target_of_the_description():
    target, policy = only(graph(), "Target"), one(graph(), "Policy", "fraud-score-load")
    assert (target.get("minCapacity"), target.get("maxCapacity")) == (2, 10)
    assert target.get("scalableDimension") == "sagemaker:variant:DesiredInstanceCount"
    tracking = policy.get("targetTrackingScalingPolicyConfiguration")
    assert tracking["targetValue"] == 50 * 60
    assert tracking["predefinedMetricSpecification"] == {
        "predefinedMetricType": "SageMakerVariantInvocationsPerInstance"
    }
    at_once = built(realtime(scale={"min": 1, "max": 3, "target": {"concurrency": 4}}))
    tracking = one(at_once, "Policy", "fraud-score-load").get("targetTrackingScalingPolicyConfiguration")
    assert tracking["targetValue"] == 4
    assert "ConcurrentRequests" in tracking["predefinedMetricSpecification"]["predefinedMetricType"]


def test_scaling_ends_before_the_endpoint_does():
    target = only(graph(), "Target")
    assert waits_for(graph(), target, only(graph(), "Endpoint"))
    assert waits_for(graph(), one(graph(), "Policy", "fraud-score-load"), target)


# What it may do


def allowed(found: Graph) -> dict[str, list[Any]]:
    """Action to the resources that it is allowed on."""
    made: dict[str, list[Any]] = {}
    for statement in statements(one(found, "RolePolicy", "fraud-score-hosting-policy")):
        assert statement["Effect"] == "Allow"
        for action in statement["Action"]:
            made.setdefault(action, []).extend(statement["Resource"])
    return made


def test_it_reads_its_model_and_writes_what_is_captured_and_nothing_else():
    may = allowed(graph())
    assert may["s3:GetObject"] == [
        "arn:aws:s3:::acme-ai-dev-models/fraud/*",
        "arn:aws:s3:::acme-ai-dev-logs/capture/fraud-score/*",
    ]
    assert may["s3:PutObject"] == ["arn:aws:s3:::acme-ai-dev-logs/capture/fraud-score/*"]
    assert set(may["kms:GenerateDataKey"]) == {f"arn:aws:kms:us-west-2:{AT}:key/logs"}
    group = only(graph(), "LogGroup")
    assert may["logs:PutLogEvents"] == [f"${{{group.urn}#arn}}:*"]
    anywhere = {action for action, resources in may.items() if "*" in resources}
    assert anywhere == {
        "cloudwatch:PutMetricData", "ecr:GetAuthorizationToken", "ec2:DescribeDhcpOptions",
        "ec2:DescribeNetworkInterfaces", "ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeVpcs",
    }  # fmt: skip
    assert not [action for action in may if action.startswith("iam:") or action.endswith("*")]


def test_an_image_is_pulled_from_its_own_repository():
    may = allowed(built(realtime(model=ARTIFACT)))
    assert may["ecr:BatchGetImage"] == [f"arn:aws:ecr:us-west-2:{AT}:repository/acme-ai-dev/serving"]
    assert may["s3:GetObject"][0] == "arn:aws:s3:::acme-ai-dev-models/fraud/*"


def test_interfaces_are_made_in_its_own_subnets_and_group_only():
    resources = allowed(graph())["ec2:CreateNetworkInterface"]
    group = only(graph(), "SecurityGroup")
    at = f"arn:aws:ec2:us-west-2:{AT}"
    named = ("network-interface/*", "subnet/subnet-1", "subnet/subnet-2", f"security-group/${{{group.urn}#id}}")
    assert resources == [f"{at}:{name}" for name in named]
    assert not kind(graph(), "SecurityGroupIngressRule")


def test_containers_reach_nothing_and_machines_are_in_the_network():
    made = only(graph(), "Model")
    assert made.get("enableNetworkIsolation") is True
    assert made.get("vpcConfig.subnets") == ["subnet-1", "subnet-2"]
    assert made.get("primaryContainer") == {
        "modelPackageName": f"arn:aws:sagemaker:us-west-2:{AT}:model-package/acme-ai-dev-fraud/12"
    }


def test_how_an_artifact_arrives():
    def container(artifact: dict[str, Any]) -> Any:
        told = {"image": "serving:1.0", "artifact": {"zone": "models", **artifact}}
        return only(built(realtime(model=told)), "Model").get("primaryContainer")

    digest = "0" * 64
    assert container({"path": "fraud/model.tar.gz"}) == {
        "image": IMAGE, "modelDataUrl": "s3://acme-ai-dev-models/fraud/model.tar.gz",
    }  # fmt: skip
    pinned = container({"path": "fraud/model.tar.gz", "sha256": digest})
    assert pinned["environment"] == {"MODEL_DIGEST": digest}
    [source] = pinned["modelDataSource"]["s3DataSources"]
    # As it is: an archive that SageMaker unpacked could not be held against its digest.
    assert (source["s3DataType"], source["compressionType"]) == ("S3Object", "None")
    [source] = container({"path": "fraud/12/"})["modelDataSource"]["s3DataSources"]
    assert source == {"s3Uri": "s3://acme-ai-dev-models/fraud/12/", "s3DataType": "S3Prefix", "compressionType": "None"}


def test_everything_is_encrypted_with_a_key_of_ours_but_disks_that_take_none():
    config = only(graph(), "EndpointConfiguration")
    assert config.get("kmsKeyArn").endswith("key/compute")
    assert config.get("dataCaptureConfig.kmsKeyId").endswith("key/logs")
    assert only(graph(), "LogGroup").get("kmsKeyId").endswith("key/logs")
    assert only(built(realtime(on="g5.xlarge")), "EndpointConfiguration").get("kmsKeyArn") is None


def test_what_is_captured():
    found = only(graph(), "EndpointConfiguration").get("dataCaptureConfig")
    assert found["destinationS3Uri"] == "s3://acme-ai-dev-logs/capture/fraud-score"
    assert found["initialSamplingPercentage"] == 10
    none = built(realtime(capture_percent=0))
    assert only(none, "EndpointConfiguration").get("dataCaptureConfig") is None
    assert "s3:PutObject" not in allowed(none)


def test_the_log_group_and_the_rights_are_there_before_the_model():
    policy = one(graph(), "RolePolicy", "fraud-score-hosting-policy")
    assert waits_for(graph(), only(graph(), "Model"), policy, only(graph(), "LogGroup"))
    assert only(graph(), "LogGroup").get("name") == "/aws/sagemaker/Endpoints/acme-ai-dev-fraud-score"


def test_callers_call_this_endpoint_and_in_prod_from_the_network():
    caller = one(graph(), "RolePolicy", "fraud-score-caller-acme-ai-dev-shop")
    [statement] = statements(caller)
    assert caller.get("role") == "acme-ai-dev-shop"
    assert statement["Action"] == ["sagemaker:InvokeEndpoint"]
    assert statement["Resource"] == [f"${{{only(graph(), 'Endpoint').urn}#arn}}"]
    assert "Condition" not in statement
    [statement] = statements(one(prod(), "RolePolicy", "fraud-score-caller-acme-ai-dev-shop"))
    assert statement["Condition"] == {"StringEquals": {"aws:SourceVpc": "vpc-1"}}


# Names, and what is not known yet


def test_names_keep_their_limits_however_long_the_endpoint_is_called():
    made = built(realtime(LONG))
    assert len(only(made, "Endpoint").get("name")) <= 63
    for name in ("Model", "EndpointConfiguration"):
        # With the eight characters that the engine adds.
        assert len(only(made, name).name) + 8 <= 63
        assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*", only(made, name).name)
    assert len(one(made, "Role", f"{LONG}-hosting-role").get("name")) <= 64
    assert len(only(made, "EventRule").get("name")) <= 64
    # Cut, a name still says which content it is.
    other = built(realtime(LONG, model=NEWER))
    assert only(made, "EndpointConfiguration").name != only(other, "EndpointConfiguration").name


def test_it_can_be_previewed_before_anything_is_there():
    made = built(realtime(release=SHADOW), preview=True)
    assert sorted(r.urn for r in made.resources.values()) == sorted(
        r.urn for r in built(realtime(release=SHADOW)).resources.values()
    )


def test_what_it_takes_to_read_a_package_is_the_source_s_and_of_this_model():
    place = hosting_scope()
    mine = reading(place, None, "models", "fraud")
    assert mine[0]["Resource"] == [f"arn:aws:sagemaker:us-west-2:{AT}:model-package/acme-ai-staging-fraud/*"]
    theirs = reading(place, Source(environment="dev", account="222222222222"), "models", "fraud")
    found = {action: s["Resource"] for s in theirs for action in s["Action"]}
    assert found["sagemaker:DescribeModelPackage"] == [
        "arn:aws:sagemaker:us-west-2:222222222222:model-package/acme-ai-dev-fraud/*"
    ]
    assert found["s3:GetObject"] == ["arn:aws:s3:::acme-ai-dev-models/fraud/*"]
    assert found["ecr:BatchGetImage"] == ["arn:aws:ecr:us-west-2:222222222222:repository/acme-ai-dev-*"]
    assert "*" not in [resource for resources in found.values() for resource in resources]


def hosting_scope() -> Scope:
    made: list[Scope] = []
    run(lambda: made.append(scope("staging")))
    return made[0]


def test_an_image_from_elsewhere_is_refused():
    with pytest.raises(ValueError, match="outside of ECR"):
        hosting.repository("docker.io/library/python:3.12", f"us-west-2:{AT}", "acme-ai-dev")
