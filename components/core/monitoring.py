"""What Cloud Monitoring is told of training: queries, alerts on them, entries of logs that are counted, and a page of charts.

Facts of one cloud without its SDK, the counterpart of `cloudwatch.py`. Everything is asked in PromQL, but for the machines of
a pool, which are counted by their labels, and those no query in PromQL knows. Sources: "PromQL for Cloud Monitoring"
(`kubernetes.io/node/interruption_count` is `kubernetes_io:node_interruption_count`), "Kubernetes metrics" (GKE 1.32 or later),
"Using quota metrics"; Kueue's own by Managed Service for Prometheus, which calls a cluster `cluster`.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from components.core.cloudwatch import teams
from components.spec.capacity import PoolPlan, QueuePlan
from components.spec.quotas import QuotaNeed

_STILL_HOURS = 4
"""Hours in which a queue admits nothing though work waits."""
_IDLE_PERCENT = 10
_QUOTA_PERCENT = 80
COLUMNS, ROWS = 48, 16
"""Columns of a mosaic, and rows of a chart ("Dashboards API", MosaicLayout)."""
# Why the controller gives a Job up (k8s.io/api/batch/v1, JobReason…); GKE writes events of the cluster to the log `events`.
_GIVEN_UP = (
    "BackoffLimitExceeded",
    "DeadlineExceeded",
    "FailedIndexes",
    "MaxFailedIndexesExceeded",
    "PodFailurePolicy",
)
# What the autoscaler says where Google has no machine, or none within the quota ("View cluster autoscaler events").
_REFUSED = ("scale.up.error.out.of.resources", "scale.up.error.quota.exceeded")


@dataclass(frozen=True, kw_only=True)
class Query:
    """A query in PromQL that yields something once it is time."""

    promql: str
    figure: str = ""
    """What a chart shows of it: the figure that is compared. None where nobody has a chart of it."""
    above: float | None = None
    """Where a chart has its line."""
    beside: Mapping[str, str] = field(default_factory=dict[str, str])
    """What a chart shows besides, by what it is called: `requests a minute`."""


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """Time series, filtered and reduced to one number, over a value."""

    filter: str
    aligner: str
    reducer: str
    above: float


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """When somebody is told, and what."""

    name: str
    meaning: str
    """What has happened, for whoever is woken by it."""
    first: str
    """What to do first."""
    severity: Literal["critical", "warning"]
    condition: Query | Threshold
    minutes: int
    """How long it has to last."""

    @property
    def documentation(self) -> str:
        """What it says, in Markdown."""
        return f"{self.meaning}\n\n**First:** {self.first}"


@dataclass(frozen=True, kw_only=True)
class Count:
    """Entries of a log that are counted."""

    name: str
    description: str
    filter: str


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What there is to watch in an environment."""

    region: str
    prefix: str
    """What names of metrics begin with: the environment's part of physical names, with a hyphen."""
    cluster: str | None
    """Name of the cluster, where there is one."""
    pools: Mapping[str, PoolPlan]
    labels: Mapping[str, Mapping[str, str]]
    """By pool: labels that its machines, and no others, have."""
    queues: Mapping[str, QueuePlan]
    needs: Sequence[QuotaNeed] = ()
    """Quotas that the pools count against."""


def counts(watched: Watched) -> list[Count]:
    """What is counted of the cluster's logs."""
    if watched.cluster is None:
        return []
    at = f'resource.type="k8s_cluster" AND resource.labels.cluster_name="{watched.cluster}"'
    reasons = " OR ".join(f'"{reason}"' for reason in _GIVEN_UP)
    refused = " OR ".join(f'"{message}"' for message in _REFUSED)
    return [
        Count(
            name="jobs-failed",
            description="Jobs of teams that were given up.",
            filter=f'{at} AND log_id("events") AND jsonPayload.involvedObject.kind="Job"'
            f' AND jsonPayload.involvedObject.namespace=~"^team-" AND jsonPayload.reason=({reasons})',
        ),
        Count(
            name="machines-refused",
            description="Machines that Google had none of, or none within the quota.",
            filter=f'{at} AND log_id("container.googleapis.com/cluster-autoscaler-visibility")'
            f" AND jsonPayload.resultInfo.results.errorMsg.messageId=({refused})",
        ),
    ]


def counter(watched: Watched, name: str) -> str:
    """A metric made of a log, as PromQL calls it.

    >>> counter(Watched(region="r", prefix="acme-dev-", cluster="c", pools={}, labels={}, queues={}), "jobs-failed")
    'logging_googleapis_com:user_acme_dev_jobs_failed{monitored_resource="k8s_cluster"}'
    """
    mapped = re.sub(r"\W", "_", f"{watched.prefix}{name}")
    return f'logging_googleapis_com:user_{mapped}{{monitored_resource="k8s_cluster"}}'


def training_alarms(watched: Watched) -> list[Alarm]:
    """What has to be watched of training, in the order of the description."""
    return [*_cluster(watched), *_queues(watched), *_pools(watched), *_teams(watched), *_quotas(watched)]


def _system(watched: Watched, metric: str, resource: str, **labels: str) -> str:
    """A metric of GKE itself, of this cluster; a value that begins with `~` is a pattern."""
    said = {"monitored_resource": resource, "cluster_name": str(watched.cluster), **labels}
    return f"kubernetes_io:{metric}{{{_selectors(said)}}}"


def _kueue(watched: Watched, metric: str, **labels: str) -> str:
    return f"{metric}{{{_selectors({'cluster': str(watched.cluster), **labels})}}}"


def _selectors(labels: Mapping[str, str]) -> str:
    return ",".join(
        f'{key}=~"{value[1:]}"' if value.startswith("~") else f'{key}="{value}"' for key, value in labels.items()
    )


def _preemptions(watched: Watched) -> str:
    return _system(watched, "node_interruption_count", "k8s_node", interruption_type="PreemptionEvent")


def _cluster(watched: Watched) -> Iterator[Alarm]:
    if watched.cluster is None:
        return
    ready = _system(watched, "node_status_condition", "k8s_node", condition="Ready", status="~False|Unknown")
    yield Alarm(
        name="machines-failed",
        meaning="A machine of the cluster has not been ready for 15 minutes; work on it stands still.",
        first="`kubectl get nodes`, `kubectl describe node NAME`. Repair replaces it, unless several fail at once.",
        severity="critical",
        condition=Query(promql=f"sum({ready}) > 0"),
        minutes=15,
    )
    yield Alarm(
        name="cluster-silent",
        meaning="The cluster has sent no metrics for half an hour: no other alert on it can be trusted.",
        first="Whether it is there and its control plane answers: `gcloud container clusters list`.",
        severity="warning",
        condition=Query(promql=f"absent({_system(watched, 'node_cpu_total_cores', 'k8s_node')})"),
        minutes=30,
    )
    yield Alarm(
        name="jobs-failing",
        meaning="Three or more jobs were given up within an hour.",
        first="`kubectl get jobs -A`, then the log of one of them; compare with interruptions.",
        severity="warning",
        condition=Query(promql=f"sum(increase({counter(watched, 'jobs-failed')}[1h])) >= 3"),
        minutes=0,
    )
    spot = sum(max((c.max for c in plan.choices if c.kind == "spot"), default=0) for plan in watched.pools.values())
    if spot:
        yield Alarm(
            name="interruptions",
            meaning="Spot machines are being taken away faster than work gets done.",
            first="Which pools, on the page of charts. Add on-demand to their capacity, or another zone.",
            severity="warning",
            condition=Query(promql=f"sum(sum_over_time({_preemptions(watched)}[1h])) >= {max(3, spot // 2)}"),
            minutes=0,
        )


def _queues(watched: Watched) -> Iterator[Alarm]:
    for queue in watched.queues if watched.cluster else ():
        # A ClusterQueue is called `{queue}.{team}`.
        mine = {"cluster_queue": f"~{queue}[.].+"}
        hours = f"[{_STILL_HOURS}h]"
        waiting = _kueue(watched, "kueue_pending_workloads", **mine)
        admitted = _kueue(watched, "kueue_admitted_workloads_total", **mine)
        yield Alarm(
            name=f"{queue}-waits",
            meaning=f"Work waits in the queue {queue}, and none of it was admitted for {_STILL_HOURS} hours.",
            first=f"`kubectl get workloads -A`, and `kubectl describe` one of {queue}: it says whether quota or machines lack."
            " Where Google has none, the page of charts shows machines refused.",
            severity="warning",
            condition=Query(
                promql=f"sum(min_over_time({waiting}{hours})) > 0"
                f" and on() (sum(increase({admitted}{hours})) or vector(0)) == 0"
            ),
            minutes=5,
        )


def _pools(watched: Watched) -> Iterator[Alarm]:
    for pool, plan in watched.pools.items():
        # What is reserved is all there at all times.
        if watched.cluster is None or all(choice.kind == "reserved" for choice in plan.choices):
            continue
        yield Alarm(
            name=f"{pool}-full",
            meaning=f"The pool {pool} has been at its ceiling of {plan.max} machines for an hour.",
            first=f"Whether work waits for it. If so: raise `training.pools.{pool}.nodes.max`, or let it wait.",
            severity="warning",
            condition=Threshold(
                filter=machines(watched, pool), aligner="ALIGN_MEAN", reducer="REDUCE_COUNT", above=plan.max - 1
            ),
            minutes=60,
        )


def machines(watched: Watched, pool: str | None = None) -> str:
    """The filter of a series for each machine of a pool, or of the cluster."""
    labels = watched.labels.get(pool, {}) if pool else {}
    return " AND ".join(
        [
            'resource.type="k8s_node"',
            'metric.type="kubernetes.io/node/cpu/total_cores"',
            f'resource.labels.cluster_name="{watched.cluster}"',
            *(f'metadata.user_labels."{key}"="{value}"' for key, value in labels.items()),
        ]
    )


def _teams(watched: Watched) -> Iterator[Alarm]:
    for team in teams(watched.pools, watched.queues) if watched.cluster else ():
        held = _system(watched, "container_accelerator_duty_cycle", "k8s_container", namespace_name=f"team-{team}")
        yield Alarm(
            name=f"{team}-idle",
            meaning=f"The accelerators that team {team} holds have been idle for two hours, and are paid for.",
            first=f"`kubectl -n team-{team} get pods`: what holds them; a job that only waits should end.",
            severity="warning",
            condition=Query(promql=f"avg(avg_over_time({held}[15m])) < {_IDLE_PERCENT}"),
            minutes=120,
        )


def usage(watched: Watched, need: QuotaNeed) -> str | None:
    """Which part of a quota is used, as a query; None where the quota's metric is not known, or it is kept by family."""
    if need.quota.metric is None or need.quota.dimensions:
        return None
    said = {
        "monitored_resource": "consumer_quota",
        "service": need.quota.service,
        "quota_metric": need.quota.metric,
        "location": watched.region if need.quota.per == "region" else "global",
    }
    # Usage is written when it changes, and at least once a day.
    used = f"max(last_over_time(serviceruntime_googleapis_com:quota_allocation_usage{{{_selectors(said)}}}[1d]))"
    return f"{used} / max(last_over_time(serviceruntime_googleapis_com:quota_limit{{{_selectors(said)}}}[1d]))"


def _quotas(watched: Watched) -> Iterator[Alarm]:
    for need in watched.needs:
        used = usage(watched, need)
        if used is None:
            continue
        yield Alarm(
            name=f"quota-{need.quota.code.lower().replace('_', '-')}",
            meaning=f"{_QUOTA_PERCENT} % of the quota {need.quota.code} is used; {', '.join(need.needed_by)} count against it.",
            first="IAM & Admin, Quotas: whether the request for more was granted. Above the quota no machine starts.",
            severity="warning",
            condition=Query(promql=f"{used} >= {_QUOTA_PERCENT / 100}"),
            minutes=15,
        )


# -- a page of charts --------------------------------------------------------------------------------------------------


def dashboard(watched: Watched, *, title: str, links: Mapping[str, str]) -> dict[str, Any]:
    """A dashboard as the API has it: words and open incidents at the top, below them two charts a row."""
    words = [f"# {title}", *(f"- [{name}]({address})" for name, address in links.items())]
    head: list[dict[str, Any]] = [
        {"title": "Read on", "text": {"content": "\n".join(words), "format": "MARKDOWN"}},
        {"title": "Incidents", "incidentList": {}},
    ]
    half = COLUMNS // 2
    return mosaic(
        title,
        [
            tile(half * (i % 2), ROWS * (i // 2), half, ROWS, widget)
            for i, widget in enumerate([*head, *_charts(watched)])
        ],
    )


def mosaic(title: str, tiles: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A page."""
    return {"displayName": title, "mosaicLayout": {"columns": COLUMNS, "tiles": list(tiles)}}


def tile(x: int, y: int, width: int, height: int, widget: Mapping[str, Any]) -> dict[str, Any]:
    """A widget at its place."""
    # The API leaves zeroes out of what it answers, and would differ from what it was given.
    place = {key: value for key, value in (("xPos", x), ("yPos", y)) if value}
    return {**place, "width": width, "height": height, "widget": dict(widget)}


def chart(
    title: str,
    *sets: tuple[Mapping[str, Any], str],
    beside: Sequence[tuple[Mapping[str, Any], str]] = (),
    lines: Sequence[float] = (),
    called: str = "",
) -> dict[str, Any]:
    """A chart of queries, each with its legend; those `beside` have the scale on the right. Its lines are called alike."""
    label = {"label": called} if called else {}
    return {
        "title": title,
        "xyChart": {
            "dataSets": [
                {
                    "timeSeriesQuery": dict(query),
                    "plotType": "LINE",
                    "targetAxis": axis,
                    **({"legendTemplate": legend} if legend else {}),
                }
                for axis, drawn in (("Y1", sets), ("Y2", beside))
                for query, legend in drawn
            ],
            **({"thresholds": [{"value": value, "targetAxis": "Y1", **label} for value in lines]} if lines else {}),
            "yAxis": {"scale": "LINEAR"},
            **({"y2Axis": {"scale": "LINEAR"}} if beside else {}),
        },
    }


def asked(promql: str) -> dict[str, Any]:
    """A query of a chart."""
    return {"prometheusQuery": promql}


def _charts(watched: Watched) -> Iterator[dict[str, Any]]:
    if watched.cluster is None:
        return
    waiting, admitted = _kueue(watched, "kueue_pending_workloads"), _kueue(watched, "kueue_admitted_workloads_total")
    wait = _kueue(watched, "kueue_admission_wait_time_seconds_bucket")
    yield chart("Work that waits, by queue", (asked(f"sum by (cluster_queue) ({waiting})"), ""))
    yield chart(
        "Wait of the work that was admitted, 95 % within, seconds",
        (asked(f"histogram_quantile(0.95, sum by (le, cluster_queue) (rate({wait}[1h])))"), ""),
    )
    yield chart("Work admitted, an hour", (asked(f"sum by (cluster_queue) (increase({admitted}[1h]))"), ""))
    filtered = {
        "filter": machines(watched),
        "aggregation": {
            "alignmentPeriod": "300s",
            "perSeriesAligner": "ALIGN_MEAN",
            "crossSeriesReducer": "REDUCE_COUNT",
            "groupByFields": ['metadata.user_labels."cloud.google.com/gke-nodepool"'],
        },
    }
    yield chart(
        "Machines by node pool; lines: ceilings of the pools",
        ({"timeSeriesFilter": filtered}, ""),
        lines=sorted({float(plan.max) for plan in watched.pools.values()}),
    )
    held = _system(watched, "container_accelerator_duty_cycle", "k8s_container")
    yield chart(
        "Use of accelerators, by team, %", (asked(f"avg by (namespace_name) ({held})"), ""), lines=[_IDLE_PERCENT]
    )
    lost = _preemptions(watched)
    yield chart("Machines taken away, an hour", (asked(f"sum(sum_over_time({lost}[1h]))"), "taken away"))
    yield chart(
        "Jobs given up, machines refused, an hour",
        (asked(f"sum(increase({counter(watched, 'jobs-failed')}[1h]))"), "jobs given up"),
        (asked(f"sum(increase({counter(watched, 'machines-refused')}[1h]))"), "machines refused"),
    )
    used = {need.quota.code: query for need in watched.needs if (query := usage(watched, need))}
    if used:
        yield chart(
            "Quotas, part used", *((asked(query), code) for code, query in used.items()), lines=[_QUOTA_PERCENT / 100]
        )


def address(project: str, dashboard: str) -> str:
    """Where people see a dashboard, by its id.

    >>> address("acme", "projects/1/dashboards/a-b")
    'https://console.cloud.google.com/monitoring/dashboards/builder/a-b?project=acme'
    """
    return f"https://console.cloud.google.com/monitoring/dashboards/builder/{dashboard.rpartition('/')[2]}?project={project}"


def text(body: Mapping[str, Any]) -> str:
    """A dashboard as text, the same for the same page."""
    return json.dumps(body, sort_keys=True)
