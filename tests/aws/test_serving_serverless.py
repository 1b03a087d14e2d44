"""Endpoints without machines: what SageMaker has for them, and what it has not."""

from functools import cache

from policies.model import Graph
from preview.difference import compare
from tests.aws.building import kind, one, statements, waits_for
from tests.aws.serving import AT, LONG, PACKAGE, alarm, built, formula, only, series, serverless


@cache
def graph() -> Graph:
    return built(serverless())


def test_concurrency_is_bounded_and_what_is_to_be_warm_is():
    [variant] = only(graph(), "EndpointConfiguration").get("productionVariants")
    assert variant["serverlessConfig"] == {"memorySizeInMb": 3072, "maxConcurrency": 20, "provisionedConcurrency": 2}
    assert not {"initialInstanceCount", "instanceType", "routingConfigs"} & set(variant)
    cold = built(serverless(concurrency={"max": 5}))
    [variant] = only(cold, "EndpointConfiguration").get("productionVariants")
    assert "provisionedConcurrency" not in variant["serverlessConfig"]


def test_it_has_nothing_that_sagemaker_refuses_for_it():
    model, endpoint = only(graph(), "Model"), only(graph(), "Endpoint")
    assert model.get("vpcConfig") is None
    assert not model.get("enableNetworkIsolation")
    assert endpoint.get("deploymentConfig") is None
    assert only(graph(), "EndpointConfiguration").get("dataCaptureConfig") is None
    for name in ("SecurityGroup", "Target", "EventRule"):
        assert not kind(graph(), name)
    policy = statements(one(graph(), "RolePolicy", "fraud-rare-hosting-policy"))
    assert not [action for statement in policy for action in statement["Action"] if action.startswith("ec2:")]


def test_another_version_is_another_model_and_configuration_and_the_same_endpoint():
    found = compare(graph(), built(serverless(model={**PACKAGE, "version": "13"})))
    kinds = ["EndpointConfiguration", "Model"]
    assert sorted(r.type.rpartition(":")[2] for r in found.created) == kinds
    assert sorted(r.type.rpartition(":")[2] for r in found.removed) == kinds
    [changed] = found.changed
    assert [c.path for c in changed.changes] == ["endpointConfigName"]


def test_nothing_changes_where_nothing_did():
    assert not compare(graph(), built(serverless()))


def test_an_archive_is_unpacked_by_sagemaker_which_takes_nothing_else_here():
    told = {"image": "serving:1.0", "artifact": {"path": "fraud/model.tar.gz", "sha256": "0" * 64}}
    container = only(built(serverless(model=told)), "Model").get("primaryContainer")
    assert container["modelDataUrl"] == "s3://acme-ai-dev-models/fraud/model.tar.gz"
    assert not {"modelDataSource", "environment"} & set(container)


def test_its_alarms_look_at_concurrency():
    used = alarm(graph(), "acme-ai-dev-fraud-rare-saturated")
    assert formula(used) == "100 * used"
    assert [m["metricName"] for m in series(used).values()] == ["ServerlessConcurrentExecutionsUtilization"]
    ceiling = alarm(graph(), "acme-ai-dev-fraud-rare-ceiling")
    assert (formula(ceiling), ceiling.get("threshold")) == ("used * 20", 20)
    assert waits_for(graph(), only(graph(), "Endpoint"), *kind(graph(), "MetricAlarm"))
    assert not [r for r in kind(graph(), "MetricAlarm") if "rollback" in r.get("name")]


def test_it_is_encrypted_and_logged_by_us():
    assert only(graph(), "EndpointConfiguration").get("kmsKeyArn") == f"arn:aws:kms:us-west-2:{AT}:key/compute"
    group = only(graph(), "LogGroup")
    assert (group.get("name"), group.get("retentionInDays")) == (
        "/aws/sagemaker/Endpoints/acme-ai-dev-fraud-rare", 30,
    )  # fmt: skip
    assert waits_for(graph(), only(graph(), "Model"), group)


def test_names_keep_their_limits_and_a_first_preview_knows_as_much():
    made = built(serverless(LONG))
    assert len(only(made, "Endpoint").get("name")) <= 63
    assert set(built(serverless(), preview=True).resources) == set(graph().resources)
