"""Who may read Kueue's metrics, and whom Google's collectors ask."""

import json
import re
from typing import Any

import pytest

from components.core import monitoring
from components.core.scrapes import ROLLOUTS, STATES
from components.kubernetes.operations.metrics import KEPT
from components.spec.capacity import Capacity
from tests.kubernetes.building import before, built, described, objects, releases
from tests.kubernetes.endpoints import endpoint, served


@pytest.mark.parametrize(
    ("cloud", "reader"),
    [("aws", ("amazon-cloudwatch", "cloudwatch-agent")), ("gcp", ("kueue-system", "metrics-reader"))],
)
def test_what_asks_may_read_metrics_and_nothing_else(cloud: Any, reader: tuple[str, str]):
    graph = built(cloud)
    bound = objects(graph, "ClusterRoleBinding")["ai-platform:read-metrics"]
    [subject] = bound.get("subjects")
    assert (subject["namespace"], subject["name"]) == reader
    role = objects(graph, "ClusterRole")[bound.get("roleRef.name")]
    assert role.get("rules") == [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]
    assert not objects(built("aws"), "PodMonitoring")


def test_google_s_collectors_ask_kueue_as_the_one_that_may():
    graph = built("gcp")
    [monitoring_] = objects(graph, "PodMonitoring").values()
    [endpoint] = monitoring_.get("spec.endpoints")
    secret = endpoint["authorization"]["credentials"]["secret"]
    token = objects(graph, "Secret")[f"kueue-system/{secret['name']}"]
    assert token.get("type") == "kubernetes.io/service-account-token"
    [subject] = objects(graph, "ClusterRoleBinding")["ai-platform:read-metrics"].get("subjects")
    assert token.get("metadata.annotations") == {"kubernetes.io/service-account.name": subject["name"]}
    # The port and the labels of the pods of the chart that is installed.
    assert (endpoint["scheme"], endpoint["port"]) == ("https", 8443)
    assert (
        monitoring_.get("spec.selector.matchLabels")["app.kubernetes.io/name"]
        == releases(graph)["kueue"].inputs["name"]
    )
    assert monitoring_.get("metadata.namespace") == releases(graph)["kueue"].inputs["namespace"]
    assert releases(graph)["kueue"].urn in before(graph, monitoring_)


def test_the_collectors_may_read_that_token_and_no_other_secret():
    graph = built("gcp")
    [role] = objects(graph, "Role").values()
    [rule] = role.get("rules")
    assert rule["resources"] == ["secrets"]
    assert rule["resourceNames"] == ["metrics-reader-token"]
    [binding] = objects(graph, "RoleBinding").values()
    assert binding.get("subjects") == [{"kind": "ServiceAccount", "name": "collector", "namespace": "gmp-system"}]


def test_what_alarms_and_charts_read_is_kept():
    environment = described("gcp")
    capacity = Capacity(environment, "gcp")
    watched = monitoring.Watched(
        region="us-central1", prefix="acme-ai-dev-", cluster="acme-ai-dev", pools=capacity.pools, labels={},
        queues=capacity.queues, needs=[],
    )  # fmt: skip
    text = monitoring.text(monitoring.dashboard(watched, title="training", links={}))
    text += json.dumps([getattr(alarm.condition, "promql", "") for alarm in monitoring.training_alarms(watched)])
    read = set(re.findall(r"kueue_\w+", text))
    assert len(read) >= 2
    assert all(re.fullmatch(KEPT, series) for series in read), read


def test_a_controller_is_read_where_it_is_and_after_it():
    def args() -> dict[str, Any]:
        return {"controllers": [ROLLOUTS]}

    assert not [name for name in objects(built("aws", args=args), "PodMonitoring") if "rollouts" in name]
    graph = built("gcp", args=args)
    found = objects(graph, "PodMonitoring")["argo-rollouts/argo-rollouts"]
    assert found.get("spec.selector.matchLabels") == dict(ROLLOUTS.labels)
    [endpoint] = found.get("spec.endpoints")
    assert (endpoint["port"], endpoint["metricRelabeling"][0]["regex"]) == (8090, "rollout_info")
    assert "scheme" not in endpoint


def test_what_tells_of_releases_and_of_runs_is_there_before_it_is_asked():
    def args() -> dict[str, Any]:
        stepwise = endpoint("realtime", release={"strategy": "canary", "percent": 33})
        return {**served("gcp", fraud={"spec": stepwise})(), "controllers": [ROLLOUTS, STATES]}

    graph = built("gcp", args=args)
    told = {name.partition("/")[2]: found for name, found in objects(graph, "PodMonitoring").items()}
    for each in (ROLLOUTS, STATES):
        chart = releases(graph)[each.name]
        assert chart.urn in before(graph, told[each.name]), f"{each.name} is asked before it is there"
        assert chart.get("namespace") == each.namespace
    values = releases(graph)[STATES.name].get("values")
    assert (values["collectors"], values["metricAllowlist"]) == (["jobs"], [STATES.kept])
    assert STATES.name not in releases(built("gcp"))
