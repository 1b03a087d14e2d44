"""Watching training on AWS: series that somebody publishes, words that help whoever is woken, and a page of the right shape."""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import combinations
from pathlib import Path
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest

from components.aws.blocks.alarms import Alarms, AlarmsArgs
from components.aws.operations.dashboard import Dashboard, DashboardArgs
from components.core.batch import METRICS
from components.core.cloudwatch import (
    INSIGHTS,
    LOG_GROUP,
    PROMETHEUS,
    QUOTA_CLASSES,
    Alarm,
    Metric,
    Watched,
    agent,
    dashboard,
    training_alarms,
)
from components.core.eks import POOL_LABEL, SYSTEM_POOL
from components.core.naming import Names
from components.scope import Scope
from components.spec.capacity import Capacity
from components.spec.load import load
from components.spec.quotas import quotas
from policies.model import Graph, Resource
from preview.record import run
from tests.aws.building import kind, one, upstream
from tests.conftest import ROOT
from tests.spec.test_load import change

HERE = "111111111111"
AT = f"us-west-2:{HERE}"
CRITICAL, WARNING = f"arn:aws:sns:{AT}:critical", f"arn:aws:sns:{AT}:warning"
QUEUE = f"arn:aws:batch:{AT}:job-queue/acme-ai-dev-sweep"
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
            "capacity": [{"reserved": "cr-0123"}],
        },
        "trn": {"accelerator": {"type": "aws-trainium", "per_node": 16}, "nodes": {"max": 1}},
        "sweep": {
            "accelerator": {"type": "nvidia-l4"},
            "nodes": {"max": 4},
            "capacity": ["spot"],
            "scheduler": "batch",
        },
    },
    "queues": {
        "train": {"pools": ["l4", "h100"], "retries": 3},
        "neuron": {"pools": ["trn"], "teams": ["vision"]},
        "sweep": {"pools": ["sweep"], "retries": 3},
    },
}


@pytest.fixture
def watched(project: Path) -> Watched:
    return facts(project, TRAINING)


def alone(training: Mapping[str, Any], stack: str) -> dict[str, Any]:
    """A training of the test's own: what the platform's file says besides is taken away."""
    said = load(ROOT, stack).training.model_dump()
    return {part: {**dict.fromkeys(said[part]), **values} for part, values in training.items()}


def facts(project: Path, training: Mapping[str, Any], **rest: Any) -> Watched:
    change(project, "dev", training=alone(training, "dev"))
    environment = load(project, "dev")
    capacity = Capacity(environment, "aws")
    given: dict[str, Any] = {
        "cluster": "acme-ai-dev",
        "pools": capacity.pools,
        "queues": capacity.queues,
        "namespace": "acme-ai-dev-training",
        "batch_queues": {name: QUEUE for name, plan in capacity.queues.items() if plan.scheduler == "batch"},
        "dead_letters": "acme-ai-dev-interruptions-failed",
        "needs": quotas(environment, "aws"),
    }
    return Watched(**(given | rest))


def build(alarms: Sequence[Alarm], watched: Watched | None = None, *, preview: bool = False) -> Graph:
    def program() -> None:
        root = pulumi.ComponentResource("test:Root", "root")
        provider = aws.Provider("aws", region="us-west-2", opts=pulumi.ResourceOptions(parent=root))
        scope = Scope(
            environment="dev", tier="dev", cloud="aws", account=HERE, region="us-west-2", replica_region=None,
            names=Names("acme-ai", "dev"), tags={}, protection="delete", log_days=30, today=date(2026, 1, 1),
            provider=provider,
        )  # fmt: skip
        # As the notifications hand them on: topics that resolve once they may be published to.
        topics = {
            name: aws.sns.Topic(name, name=name, opts=pulumi.ResourceOptions(parent=root, provider=provider)).arn
            for name in ("critical", "warning")
        }
        args = AlarmsArgs(alarms=alarms, critical=[topics["critical"]], warning=[topics["warning"]])
        made = Alarms("alarms", args, scope=scope, parent=root)
        if watched:
            body = dashboard(
                watched,
                region="us-west-2",
                title="Training in dev",
                links={"Guide": "https://example.com/guide"},
                alarms=list(made.outputs.names.values()),
            )
            Dashboard("dashboard", DashboardArgs(called="training", body=body), scope=scope, parent=root)

    return run(program, preview=preview)


def series(alarms: Sequence[Alarm]) -> list[Metric]:
    return [metric for alarm in alarms for metric in alarm.metrics.values()]


def named(alarms: Sequence[Alarm]) -> dict[str, Alarm]:
    found = {alarm.name: alarm for alarm in alarms}
    assert len(found) == len(alarms), "two alarms of one name"
    return found


def test_everything_that_stops_training_is_watched(watched: Watched) -> None:
    found = named(training_alarms(watched))
    assert set(found) == {
        "machines-failed", "cluster-silent", "pods-failing",
        "train-waits", "neuron-waits", "sweep-blocked", "sweep-failing",
        # Reserved machines are there at all times, those of Batch show nowhere.
        "l4-full", "trn-full",
        "vision-idle", "vision-idle-aws", "risk-idle",
        "interruptions", "notices-lost",
        "quota-l-1216c47a", "quota-l-3819a6df", "quota-l-db2e81ba", "quota-l-417a185b",
    }  # fmt: skip
    assert {name for name, alarm in found.items() if alarm.severity == "critical"} == {"machines-failed"}


def test_without_a_cluster_only_batch_is_watched(project: Path) -> None:
    training = {
        **TRAINING,
        "pools": {"sweep": TRAINING["pools"]["sweep"]},
        "queues": {"sweep": TRAINING["queues"]["sweep"]},
    }
    watched = facts(project, training, cluster=None)
    found = training_alarms(watched)
    assert {"sweep-blocked", "sweep-failing", "interruptions", "notices-lost"} < set(named(found))
    assert not {m.namespace for m in series(found)} & {INSIGHTS, PROMETHEUS}
    body = dashboard(watched, region="us-west-2", title="t", links={}, alarms=[])
    assert "ClusterName" not in json.dumps(body)


# What publishes a series, and by which dimensions: a wrong one is an alarm that never fires. Container Insights: the metric
# declarations of the agent; Batch: `METRICS`; the rest: `agent`.
INSIGHTS_BY = {
    "cluster_failed_node_count": [{"ClusterName"}],
    "cluster_node_count": [{"ClusterName"}],
    "pod_status_failed": [{"ClusterName"}],
    "pod_gpu_utilization": [{"ClusterName"}, {"ClusterName", "Namespace"}],
    "pod_neuroncore_utilization": [{"ClusterName"}, {"ClusterName", "Namespace"}],
}


def test_every_series_is_published_by_somebody(watched: Watched) -> None:
    scraped: dict[str, set[str]] = {}
    emf = agent("acme-ai-dev")["config"]["logs"]["metrics_collected"]["prometheus"]["emf_processor"]
    assert emf["metric_namespace"] == PROMETHEUS
    for declared in emf["metric_declaration"]:
        for selector in declared["metric_selectors"]:
            scraped[selector.strip("^$")] = set(declared["dimensions"][0])
    for metric in series(training_alarms(watched)):
        names = set(metric.dimensions)
        match metric.namespace:
            case "ContainerInsights":
                assert names in INSIGHTS_BY[metric.name], metric
            case "ContainerInsights/Prometheus":
                assert names == scraped[metric.name], metric
            case "AWS/Usage":
                assert names == {"Service", "Resource", "Type", "Class"}
                assert metric.dimensions["Class"] in QUOTA_CLASSES.values()
            case "AWS/SQS":
                assert names == {"QueueName"}
            case own:
                assert own == watched.namespace
                assert names == ({"Queue"} if METRICS[metric.name][1] else set())


def test_what_is_scraped_gets_the_dimensions_that_alarms_ask_for() -> None:
    jobs = {job["job_name"]: job for job in agent("c")["prometheus"]["config"]["scrape_configs"]}
    [queue] = [rule for rule in jobs["kueue"]["metric_relabel_configs"] if rule.get("target_label") == "Queue"]
    # The default replacement is the first group.
    assert re.fullmatch(queue["regex"], "train-eu.vision")[1] == "train-eu"  # pyright: ignore[reportOptionalSubscript]
    [kept] = [r for r in jobs["karpenter"]["metric_relabel_configs"] if r["source_labels"] == ["resource_type"]]
    assert all(re.fullmatch(kept["regex"], r) for r in ("nvidia.com/gpu", "nvidia_com_gpu", "aws.amazon.com/neuron"))
    assert not any(re.fullmatch(kept["regex"], r) for r in ("cpu", "memory", "nodes", "ephemeral_storage"))
    for job in jobs.values():
        assert job["kubernetes_sd_configs"][0]["namespaces"]["names"], "not every pod of the cluster"
        assert job["relabel_configs"][0]["action"] == "keep"


def test_the_agent_keeps_no_accelerator_awake_and_writes_where_we_look() -> None:
    made = agent("acme-ai-dev")
    assert made["mode"] == "deployment"
    assert made["nodeSelector"][POOL_LABEL] == SYSTEM_POOL
    written = made["config"]["logs"]["metrics_collected"]["prometheus"]
    assert written["cluster_name"] == "acme-ai-dev"
    assert written["log_group_name"] == LOG_GROUP.format(cluster="acme-ai-dev")


def test_whoever_is_woken_is_told_what_to_do(watched: Watched) -> None:
    alarms = training_alarms(watched)
    graph = build(alarms)
    made = kind(graph, "MetricAlarm")
    assert len(made) == len(alarms)
    for alarm in made:
        said = alarm.get("alarmDescription")
        assert " First: " in said
        assert len(said) <= 1024
        assert len(alarm.get("name")) <= 255
        # Told when it starts and when it is over, by the topic of its urgency; what a missing point means is stated.
        urgency = "critical" if alarm.name == "alarms-machines-failed" else "warning"
        topic = one(graph, "Topic", urgency)
        assert alarm.get("alarmActions") == alarm.get("okActions") == [f"${{{topic.urn}#arn}}"]
        assert topic.urn in upstream(graph, alarm)
        silent = alarm.name == "alarms-cluster-silent"
        assert alarm.get("treatMissingData") == ("breaching" if silent else "notBreaching")
        # An alarm looks back a day at most.
        assert period(alarm) * alarm.get("evaluationPeriods") <= 86_400
        assert 1 <= alarm.get("datapointsToAlarm") <= alarm.get("evaluationPeriods")


def period(alarm: Resource) -> int:
    periods = {q["metric"]["period"] for q in alarm.get("metricQueries") or [] if "metric" in q}
    return alarm.get("period") or periods.pop()


def test_metric_maths_names_its_series_and_returns_one(watched: Watched) -> None:
    graph = build(training_alarms(watched))
    maths = [alarm for alarm in kind(graph, "MetricAlarm") if alarm.get("metricQueries")]
    assert len(maths) >= 6
    for alarm in maths:
        assert not alarm.get("metricName"), "either one series or metric maths"
        queries = {query["id"]: query for query in alarm.get("metricQueries")}
        assert [q for q, query in queries.items() if query["returnData"]] == ["result"]
        used = set(re.findall(r"\b[a-z]\w*", queries["result"]["expression"]))
        assert used == set(queries) - {"result"}
        # "An id has to begin with a lower-case letter" (MetricDataQuery).
        assert all(re.fullmatch(r"[a-z]\w*", name) for name in queries)


def test_the_ceiling_of_interruptions_follows_the_spot_machines(project: Path, watched: Watched) -> None:
    assert named(training_alarms(watched))["interruptions"].threshold == 12
    small = {**TRAINING, "pools": {**TRAINING["pools"], "l4": {**TRAINING["pools"]["l4"], "capacity": ["on-demand"]}}}
    assert named(training_alarms(facts(project, small)))["interruptions"].threshold == 3


def test_another_queue_changes_no_alarm_that_is_there(project: Path, watched: Watched) -> None:
    more = {**TRAINING, "queues": {**TRAINING["queues"], "extra": {"pools": ["l4"], "retries": 1}}}
    before, after = build(training_alarms(watched)), build(training_alarms(facts(project, more)))
    inputs = {r.urn: dict(r.inputs) for r in kind(after, "MetricAlarm")}
    for alarm in kind(before, "MetricAlarm"):
        assert inputs.pop(alarm.urn) == dict(alarm.inputs)
    assert [urn.rpartition("::")[2] for urn in inputs] == ["alarms-extra-waits"]


def test_the_page_has_the_shape_that_cloudwatch_takes(watched: Watched) -> None:
    graph = build(training_alarms(watched), watched)
    page = one(graph, "Dashboard", "dashboard-page")
    assert page.get("dashboardName") == "acme-ai-dev-training"
    body = json.loads(page.get("dashboardBody"))
    widgets = body["widgets"]
    assert {w["type"] for w in widgets} == {"text", "alarm", "metric"}
    assert "https://example.com/guide" in widgets[0]["properties"]["markdown"]
    [states] = [w for w in widgets if w["type"] == "alarm"]
    assert 1 <= len(states["properties"]["alarms"]) <= 100
    taken: set[tuple[int, int]] = set()
    for widget in widgets:
        x, y, width, height = (widget[key] for key in ("x", "y", "width", "height"))
        assert 0 <= x < x + width <= 24
        cells = {(i, j) for i in range(x, x + width) for j in range(y, y + height)}
        assert not cells & taken, "widgets lie over one another"
        taken |= cells
    for chart in (w["properties"] for w in widgets if w["type"] == "metric"):
        assert chart["title"]
        assert chart["region"] == "us-west-2"
        assert chart["metrics"]
        ids = [m["id"] for line in chart["metrics"] for m in line if isinstance(m, dict) and "id" in m]
        assert len(ids) == len(set(ids))
        for line in chart["metrics"]:
            if isinstance(line[0], dict):
                assert set(line[0]) <= {"expression", "label", "id"}
            else:
                # Namespace, name, pairs of dimension and value, options.
                assert isinstance(line[-1], dict)
                assert len(line) % 2 == 1
    titles = " ".join(w["properties"]["title"] for w in widgets if w["type"] == "metric").lower()
    for topic in ("waits, by queue", "ceiling", "use of accelerators", "interruptions", "failed", "quotas"):
        assert topic in titles


def test_the_page_is_as_large_with_a_hundred_queues(project: Path, watched: Watched) -> None:
    def page(of: Watched) -> dict[str, Any]:
        return dashboard(of, region="us-west-2", title="t", links={}, alarms=["a"] * 500)

    many = {**TRAINING, "queues": {f"q{i}": {"pools": ["l4"], "retries": 1} for i in range(100)} | TRAINING["queues"]}
    crowd = facts(project, many)
    assert page(crowd) == page(watched)
    # "A widget takes a hundred alarms".
    assert len(page(crowd)["widgets"][1]["properties"]["alarms"]) == 100


def test_searches_name_a_namespace_as_search_wants_it(watched: Watched) -> None:
    text = json.dumps(dashboard(watched, region="us-west-2", title="t", links={}, alarms=[]))
    searches = re.findall(r"SEARCH\('(.*?)', '(\w+)', 300\)", text.replace('\\"', '"'))
    assert len(searches) >= 8
    for term, statistic in searches:
        assert re.match(r'\{"[\w/-]+",\w+(,\w+)*\} MetricName="\w+"', term), term
        assert statistic in {"Average", "Maximum", "Sum"}


def test_a_first_preview_knows_nothing_and_still_shows_all(watched: Watched) -> None:
    alarms = training_alarms(watched)
    graph = build(alarms, watched, preview=True)
    assert len(kind(graph, "MetricAlarm")) == len(alarms)
    assert kind(graph, "Dashboard")


def test_names_of_alarms_tell_apart_what_is_called_alike() -> None:
    """Whatever queues, pools and teams are called, no two alarms have one name."""
    suffixes = {"waits", "blocked", "failing", "full", "idle", "idle-aws"}
    for one_, other in combinations(sorted(suffixes), 2):
        assert not one_.endswith(f"-{other}")
        assert not other.endswith(f"-{one_}")
