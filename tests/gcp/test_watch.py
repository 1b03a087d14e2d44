"""Watching training on Google Cloud: queries that mean what they say, words that help, and a page of the right shape."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pulumi
import pulumi_gcp as gcp
import pytest

from components import contracts
from components.core.monitoring import (
    Alarm,
    Query,
    Threshold,
    Watched,
    counter,
    counts,
    dashboard,
    text,
    training_alarms,
)
from components.core.naming import Names
from components.gcp.blocks.alarms import Alarms, AlarmsArgs
from components.gcp.operations.dashboard import Dashboard, DashboardArgs
from components.scope import Scope
from components.spec.capacity import Capacity
from components.spec.load import load
from components.spec.quotas import quotas
from policies.model import Graph
from preview.record import run
from tests.aws.test_watch import alone
from tests.gcp.building import before, kind, one
from tests.spec.test_load import change

CLASS = "cloud.google.com/compute-class"
TRAINING: dict[str, Any] = {
    "teams": {"vision": {"share": 3, "gpus": 32}, "risk": {"share": 1, "gpus": 8}},
    "pools": {
        "l4": {
            "accelerator": {"type": "nvidia-l4"},
            "nodes": {"max": 20},
            "capacity": ["spot", "on-demand"],
        },
        "h100": {
            "accelerator": {"type": "nvidia-h100", "per_node": 8},
            "nodes": {"max": 2},
            "capacity": [{"reserved": "mine", "zone": "us-central1-a"}],
        },
    },
    "queues": {"train": {"pools": ["l4", "h100"], "retries": 3}, "own": {"pools": ["h100"], "teams": ["vision"]}},
}


@pytest.fixture
def watched(project: Path) -> Watched:
    return facts(project, TRAINING)


def facts(project: Path, training: Mapping[str, Any], **rest: Any) -> Watched:
    change(project, "dev-gcp", training=alone(training, "dev-gcp"))
    environment = load(project, "dev-gcp")
    capacity = Capacity(environment, "gcp")
    given: dict[str, Any] = {
        "region": "us-central1",
        "prefix": "acme-ai-dev-gcp-",
        "cluster": "acme-ai-dev-gcp",
        "pools": capacity.pools,
        "labels": {name: {CLASS: name} for name in capacity.pools},
        "queues": capacity.queues,
        "needs": quotas(environment, "gcp"),
    }
    return Watched(**(given | rest))


def build(watched: Watched, *, preview: bool = False) -> Graph:
    def program() -> None:
        root = pulumi.ComponentResource("test:Root", "root")
        provider = gcp.Provider("gcp", project="acme-ai-dev", opts=pulumi.ResourceOptions(parent=root))
        scope = Scope(
            environment="dev-gcp", tier="dev", cloud="gcp", account="acme-ai-dev", region="us-central1",
            replica_region=None, names=Names("acme-ai", "dev-gcp"), tags={"owner": "a@example.com"},
            protection="delete", log_days=30, today=date(2026, 1, 1), provider=provider,
        )  # fmt: skip
        opts = pulumi.ResourceOptions(parent=root, provider=provider)
        apis: dict[str, contracts.Text] = {
            name: gcp.projects.Service(name, service=name, project="acme-ai-dev", opts=opts).project
            for name in ("monitoring.googleapis.com", "logging.googleapis.com")
        }
        channels = {
            name: gcp.monitoring.NotificationChannel(name, type="email", opts=opts).name
            for name in ("critical", "warning")
        }
        made = Alarms(
            "alarms",
            AlarmsArgs(
                apis=apis,
                alarms=training_alarms(watched),
                counts=counts(watched),
                critical=[channels["critical"]],
                warning=[channels["warning"]],
            ),
            scope=scope,
            parent=root,
        )
        body = dashboard(watched, title="Training in dev-gcp", links={"Guide": "https://example.com/guide"})
        Dashboard("dashboard", DashboardArgs(apis=apis, body=body), scope=scope, parent=root)
        pulumi.export("alarms", dict(made.outputs.names))

    return run(program, preview=preview)


def named(alarms: Sequence[Alarm]) -> dict[str, Alarm]:
    found = {alarm.name: alarm for alarm in alarms}
    assert len(found) == len(alarms), "two alarms of one name"
    return found


def asked(alarm: Alarm) -> str:
    assert isinstance(alarm.condition, Query)
    return alarm.condition.promql


def test_everything_that_stops_training_is_watched(watched: Watched) -> None:
    found = named(training_alarms(watched))
    assert set(found) == {
        "machines-failed", "cluster-silent", "jobs-failing", "interruptions",
        "train-waits", "own-waits",
        # Reserved machines are there at all times.
        "l4-full",
        "vision-idle", "risk-idle",
        "quota-nvidia-l4-gpus-per-project-region", "quota-preemptible-nvidia-l4-gpus-per-project-region",
        "quota-gpus-all-regions-per-project", *(name for name in found if name.startswith("quota-cpus")),
    }  # fmt: skip
    assert {name for name, alarm in found.items() if alarm.severity == "critical"} == {"machines-failed"}


def test_without_a_cluster_there_is_nothing_to_ask_of_one(project: Path) -> None:
    watched = facts(project, {"pools": {}, "queues": {}, "teams": TRAINING["teams"]}, cluster=None, needs=())
    assert training_alarms(watched) == []
    assert counts(watched) == []
    assert len(dashboard(watched, title="t", links={})["mosaicLayout"]["tiles"]) == 2


def test_queries_are_whole_and_of_this_cluster(watched: Watched) -> None:
    for alarm in training_alarms(watched):
        if not isinstance(alarm.condition, Query):
            continue
        query = alarm.condition.promql
        for opening, closing in ("()", "{}", "[]"):
            assert query.count(opening) == query.count(closing), query
        selectors = re.findall(r"(\w+(?::\w+)?){([^}]*)}", query)
        assert selectors, query
        for metric, labels in selectors:
            said = dict(re.findall(r'(\w+)=~?"([^"]*)"', labels))
            # What Google's own metrics are asked without it, every resource of that type answers.
            if ":" in metric:
                assert "monitored_resource" in said, query
            if metric.startswith("kubernetes_io"):
                assert said["cluster_name"] == "acme-ai-dev-gcp", query
            if metric.startswith("kueue_"):
                assert said["cluster"] == "acme-ai-dev-gcp", query


def test_a_queue_stands_still_only_if_its_own_work_does(watched: Watched) -> None:
    query = asked(named(training_alarms(watched))["train-waits"])
    [pattern] = set(re.findall(r'cluster_queue=~"([^"]*)"', query))
    assert re.fullmatch(pattern, "train.vision")
    assert not re.fullmatch(pattern, "trainXvision")
    assert not re.fullmatch(pattern, "pretrain.vision")
    # A queue that admits nothing publishes no increase: without the zero the comparison would yield nothing.
    assert "or vector(0)" in query


def test_the_ceiling_of_a_pool_counts_its_machines_and_no_others(watched: Watched) -> None:
    condition = named(training_alarms(watched))["l4-full"].condition
    assert isinstance(condition, Threshold)
    assert f'metadata.user_labels."{CLASS}"="l4"' in condition.filter
    assert condition.reducer == "REDUCE_COUNT"
    # Alert policies know only more than and less than.
    assert condition.above == 19


def test_a_quota_by_family_has_no_alarm_of_the_whole(watched: Watched) -> None:
    families = [need for need in watched.needs if need.quota.dimensions]
    assert families, "the case is there"
    quotas_ = " ".join(alarm.name for alarm in training_alarms(watched) if alarm.name.startswith("quota-"))
    assert "family" not in quotas_
    everywhere = asked(named(training_alarms(watched))["quota-gpus-all-regions-per-project"])
    assert 'location="global"' in everywhere
    assert 'location="us-central1"' in asked(named(training_alarms(watched))["quota-nvidia-l4-gpus-per-project-region"])


def test_policies_say_what_to_do_and_tell_the_right_people(watched: Watched) -> None:
    graph = build(watched)
    alarms = named(training_alarms(watched))
    policies = kind(graph, "monitoring/AlertPolicy")
    assert {policy.name.removeprefix("alarms-") for policy in policies} == set(alarms)
    for policy in policies:
        alarm = alarms[policy.name.removeprefix("alarms-")]
        assert policy.get("severity") == alarm.severity.upper()
        assert "**First:**" in policy.get("documentation.content")
        assert len(policy.get("documentation.subject")) <= 255
        channel = one(graph, "monitoring/NotificationChannel", alarm.severity)
        assert policy.get("notificationChannels") == [f"${{{channel.urn}#name}}"]
        assert policy.get("alertStrategy.autoClose") == "86400s"
        assert "notificationRateLimit" not in policy.get("alertStrategy"), "refused but for policies on log entries"
        [condition] = policy.get("conditions")
        query = condition.get("conditionPrometheusQueryLanguage")
        if query:
            assert query["disableMetricValidation"] is True
            assert int(query["duration"].removesuffix("s")) % 30 == 0
        else:
            assert condition["conditionThreshold"]["comparison"] == "COMPARISON_GT"
        assert "monitoring.googleapis.com" in before(graph, policy)


def test_what_is_counted_is_what_queries_ask_for(watched: Watched) -> None:
    graph = build(watched)
    made = {metric.get("name"): metric for metric in kind(graph, "logging/Metric")}
    everything = " ".join(asked(a) for a in training_alarms(watched) if isinstance(a.condition, Query))
    page = text(dashboard(watched, title="t", links={}))
    for count in counts(watched):
        metric = made[f"acme-ai-dev-gcp-{count.name}"]
        mapped = "logging_googleapis_com:user_" + re.sub(r"\W", "_", metric.get("name"))
        assert counter(watched, count.name).startswith(mapped + "{")
        assert mapped in everything + page
        assert 'resource.labels.cluster_name="acme-ai-dev-gcp"' in metric.get("filter")
        assert metric.get("metricDescriptor.metricKind") == "DELTA"
    failed = made["acme-ai-dev-gcp-jobs-failed"].get("filter")
    assert 'namespace=~"^team-"' in failed
    assert "BackoffLimitExceeded" in failed


def test_an_alarm_is_handed_on_once_what_it_counts_is_there(watched: Watched) -> None:
    graph = build(watched)
    assert set(graph.outputs["alarms"]) == set(named(training_alarms(watched)))


def test_the_page_is_a_mosaic_without_gaps(watched: Watched) -> None:
    graph = build(watched)
    page = json.loads(one(graph, "monitoring/Dashboard", "dashboard-page").get("dashboardJson"))
    assert page["displayName"] == "Training in dev-gcp"
    assert page["mosaicLayout"]["columns"] == 48
    taken: set[tuple[int, int]] = set()
    for tile in page["mosaicLayout"]["tiles"]:
        assert 0 not in (tile.get("xPos"), tile.get("yPos")), "the API answers without zeroes"
        x, y = tile.get("xPos", 0), tile.get("yPos", 0)
        assert x + tile["width"] <= 48
        cells = {(i, j) for i in range(x, x + tile["width"]) for j in range(y, y + tile["height"])}
        assert not cells & taken, "tiles lie over one another"
        taken |= cells
        [shown] = set(tile["widget"]) - {"title"}
        assert shown in {"text", "incidentList", "xyChart"}
        for data in tile["widget"].get("xyChart", {}).get("dataSets", []):
            assert len(data["timeSeriesQuery"]) == 1
            assert data["plotType"] == "LINE"
    titles = " ".join(tile["widget"]["title"] for tile in page["mosaicLayout"]["tiles"]).lower()
    for topic in ("waits, by queue", "ceilings", "use of accelerators", "taken away", "given up", "quotas"):
        assert topic in titles
    assert "https://example.com/guide" in page["mosaicLayout"]["tiles"][0]["widget"]["text"]["content"]


def test_the_same_facts_make_the_same_page(watched: Watched) -> None:
    turned = replace(watched, labels={name: watched.labels[name] for name in reversed(list(watched.labels))})
    assert text(dashboard(turned, title="t", links={})) == text(dashboard(watched, title="t", links={}))


def test_another_queue_changes_no_alarm_that_is_there(project: Path, watched: Watched) -> None:
    more = {**TRAINING, "queues": {**TRAINING["queues"], "extra": {"pools": ["l4"], "retries": 1}}}
    was, is_ = named(training_alarms(watched)), named(training_alarms(facts(project, more)))
    assert set(is_) - set(was) == {"extra-waits"}
    assert all(is_[name] == alarm for name, alarm in was.items())


def test_a_first_preview_knows_nothing_and_still_shows_all(watched: Watched) -> None:
    graph = build(watched, preview=True)
    assert len(kind(graph, "monitoring/AlertPolicy")) == len(training_alarms(watched))
    assert kind(graph, "monitoring/Dashboard")
