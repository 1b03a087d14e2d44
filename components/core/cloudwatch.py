"""What CloudWatch is told of training: series, alarms on them, what an agent reads in the cluster, and a page of charts.

Facts of one cloud without its SDK. Every series is one that something publishes; what nothing publishes has no alarm here:

- Container Insights with enhanced observability (amazon-cloudwatch-agent, awscontainerinsight metric declarations) publishes
  by cluster, by namespace or by machine, never by pool; and failed pods by cluster alone.
- Kueue and Karpenter speak Prometheus. `agent` is the second agent of the CloudWatch add-on that reads the few gauges and
  counters which the alarms need; it knows no histograms ("Prometheus metric type conversion"), so how long work waits is
  told by the queue standing still.
- Batch publishes nothing of its jobs. `components.core.batch.METRICS` counts its events.
- EC2 publishes the use of its quotas, by class (`QUOTA_CLASSES`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from components.core.eks import POOL_LABEL, SYSTEM_POOL
from components.spec.capacity import PoolPlan, QueuePlan
from components.spec.quotas import QuotaNeed

INSIGHTS, PROMETHEUS = "ContainerInsights", "ContainerInsights/Prometheus"
LOG_GROUP = "/aws/containerinsights/{cluster}/prometheus"
"""Where the second agent writes what it reads; CloudWatch makes metrics of it. Has to be there before the agent is."""
# Class of a usage metric by quota code: UsageMetric in answers of `aws service-quotas list-service-quotas` that others published.
# None was found for P5 spot (L-C4BD4855) and for Trainium (L-2C3B7624, L-6B0D517C): their quotas have no alarm.
QUOTA_CLASSES: Mapping[str, str] = {
    "L-1216C47A": "Standard/OnDemand",
    "L-34B43A08": "Standard/Spot",
    "L-DB2E81BA": "G/OnDemand",
    "L-3819A6DF": "G/Spot",
    "L-417A185B": "P/OnDemand",
    "L-7212CCBC": "P/Spot",
    "L-1945791B": "Inf/OnDemand",
    "L-B5D1601B": "Inf/Spot",
}
# Use of the accelerators that a team's pods hold, by vendor (same metric declarations).
USE = {"nvidia": "pod_gpu_utilization", "aws": "pod_neuroncore_utilization"}
_MINUTE, _HOUR = 60, 3600
_STILL_HOURS = 4
"""Hours in which a queue admits nothing though work waits."""
_IDLE_PERCENT = 10
_QUOTA_PERCENT = 80
WIDTH, HEIGHT = 24, 6
"""Columns of a page, and rows of a chart ("Dashboard body structure and syntax")."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One series."""

    namespace: str
    name: str
    dimensions: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Values may be outputs."""
    statistic: Literal["Average", "Maximum", "Minimum", "Sum", "p95"]
    """A percentile stands in an expression only."""


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """When somebody is told, and what."""

    name: str
    meaning: str
    """What has happened, for whoever is woken by it."""
    first: str
    """What to do first."""
    severity: Literal["critical", "warning"]
    metrics: Mapping[str, Metric]
    """By the name that `expression` has for it; one alone needs no expression."""
    expression: str | None = None
    """Metric maths of them; what it yields is compared."""
    promql: str | None = None
    """In place of metrics: a query that yields something while it is so, compared already ("PromQL alarms"). It is asked once a
    period, and has to be so for all of them."""
    comparison: Literal[">", ">=", "<"]
    threshold: float
    period: int
    """Seconds of a data point."""
    periods: int
    """Data points that are looked at."""
    breaching: int | None = None
    """Of them, those that have to be over the threshold; by default all."""
    missing: Literal["notBreaching", "breaching"] = "notBreaching"
    """What a data point that is not there counts as. Nothing there is nothing wrong, but where silence is what is looked for."""
    figure: str | None = None
    """What a chart shows in place of the expression, where that keeps quiet about a few requests."""
    line: float | None = None
    """Where a chart has its line, where that is not the threshold."""

    @property
    def description(self) -> str:
        """What it says."""
        return f"{self.meaning} First: {self.first}"


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What there is to watch in an environment."""

    cluster: str | None
    """Physical name of the cluster, where there is one."""
    pools: Mapping[str, PoolPlan]
    queues: Mapping[str, QueuePlan]
    namespace: str
    """Of the metrics that are made of events."""
    batch_queues: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """ARN of each job queue of Batch; may be outputs."""
    dead_letters: str | None = None
    """Name of the queue of notices that nobody could take."""
    needs: Sequence[QuotaNeed] = ()
    """Quotas that the pools count against."""


def training_alarms(watched: Watched) -> list[Alarm]:
    """What has to be watched of training, in the order of the description."""
    return [
        *_cluster(watched),
        *_queues(watched),
        *_pools(watched),
        *_teams(watched),
        *_machines(watched),
        *_quotas(watched),
    ]


def _insight(watched: Watched, name: str, statistic: Any, **dimensions: str) -> Metric:
    return Metric(
        namespace=INSIGHTS,
        name=name,
        dimensions={"ClusterName": str(watched.cluster), **dimensions},
        statistic=statistic,
    )


def _scraped(watched: Watched, name: str, statistic: Any, **dimensions: str) -> Metric:
    return Metric(
        namespace=PROMETHEUS,
        name=name,
        dimensions={"ClusterName": str(watched.cluster), **dimensions},
        statistic=statistic,
    )


def _cluster(watched: Watched) -> Iterator[Alarm]:
    if watched.cluster is None:
        return
    yield Alarm(
        name="machines-failed",
        meaning="A machine of the cluster has not been ready for 15 minutes; work on it stands still.",
        first="kubectl get nodes; kubectl describe node NAME. Its repair replaces it, unless several fail at once.",
        severity="critical",
        metrics={"failed": _insight(watched, "cluster_failed_node_count", "Maximum")},
        comparison=">",
        threshold=0,
        period=5 * _MINUTE,
        periods=3,
    )
    yield Alarm(
        name="cluster-silent",
        meaning="The cluster has sent no metrics for half an hour: no other alarm on it can be trusted.",
        first="kubectl -n amazon-cloudwatch get pods, and whether the control plane answers.",
        severity="warning",
        metrics={"machines": _insight(watched, "cluster_node_count", "Minimum")},
        comparison="<",
        threshold=1,
        period=5 * _MINUTE,
        periods=6,
        missing="breaching",
    )
    yield Alarm(
        name="pods-failing",
        meaning="Pods failed in three or more minutes of the last hour.",
        first="kubectl get pods -A --field-selector status.phase=Failed, then the log of one; compare with interruptions.",
        severity="warning",
        # How many failed pods there are, once a minute; what counts is that there are more of them than before.
        metrics={"failed": _insight(watched, "pod_status_failed", "Sum")},
        expression="IF(DIFF(failed) > 0, 1, 0)",
        comparison=">",
        threshold=0,
        period=_MINUTE,
        periods=60,
        breaching=3,
    )


def _queues(watched: Watched) -> Iterator[Alarm]:
    for queue, plan in watched.queues.items():
        if plan.scheduler == "kubernetes" and watched.cluster:
            yield Alarm(
                name=f"{queue}-waits",
                meaning=f"Work waits in the queue {queue}, and none of it was admitted for {_STILL_HOURS} hours.",
                first=f"kubectl get workloads -A, and kubectl describe one of {queue}: it says whether quota or machines lack.",
                severity="warning",
                metrics={
                    "waiting": _scraped(watched, "kueue_pending_workloads", "Maximum", Queue=queue),
                    "admitted": _scraped(watched, "kueue_admitted_workloads_total", "Sum", Queue=queue),
                },
                expression="IF(waiting > 0 AND FILL(admitted, 0) == 0, 1, 0)",
                comparison=">",
                threshold=0,
                period=_HOUR,
                periods=_STILL_HOURS,
            )
        elif plan.scheduler == "batch":
            arn = watched.batch_queues[queue]
            yield Alarm(
                name=f"{queue}-blocked",
                meaning=f"The job at the head of the queue {queue} cannot start, and those behind it wait.",
                first="aws batch describe-jobs: statusReason says whether machines, quota or the job itself is why.",
                severity="warning",
                metrics={"blocked": _counted(watched, "QueuesBlocked", Queue=arn)},
                comparison=">",
                threshold=0,
                period=15 * _MINUTE,
                periods=1,
            )
            yield Alarm(
                name=f"{queue}-failing",
                meaning=f"Three or more jobs of the queue {queue} failed for good within an hour.",
                first="aws batch list-jobs --job-status FAILED, then the log of one of them.",
                severity="warning",
                metrics={"failed": _counted(watched, "JobsFailed", Queue=arn)},
                comparison=">=",
                threshold=3,
                period=_HOUR,
                periods=1,
            )


def _counted(watched: Watched, name: str, **dimensions: Any) -> Metric:
    return Metric(namespace=watched.namespace, name=name, dimensions=dimensions, statistic="Sum")


def _full(plan: PoolPlan) -> bool:
    """Whether its ceiling shows: Karpenter has one, counted in accelerators; what is reserved, or HyperPod's, is always there."""
    markets = {"spot", "on-demand"} & {choice.kind for choice in plan.choices}
    karpenter = plan.scheduler == "kubernetes" and plan.resilience == "none"
    return karpenter and bool(markets) and plan.per_node > 0


def _pools(watched: Watched) -> Iterator[Alarm]:
    for pool, plan in watched.pools.items():
        if watched.cluster and _full(plan):
            yield Alarm(
                name=f"{pool}-full",
                meaning=f"The pool {pool} has been at its ceiling of {plan.max} machines for an hour.",
                first=f"Whether work waits for it. If so: raise training.pools.{pool}.nodes.max, or let it wait.",
                severity="warning",
                metrics={
                    "used": _scraped(watched, "karpenter_nodepools_usage", "Minimum", nodepool=pool),
                    "most": _scraped(watched, "karpenter_nodepools_limit", "Maximum", nodepool=pool),
                },
                expression="IF(used >= most, 1, 0)",
                comparison=">",
                threshold=0,
                period=5 * _MINUTE,
                periods=12,
            )


def teams(pools: Mapping[str, PoolPlan], queues: Mapping[str, QueuePlan]) -> Mapping[str, tuple[str, ...]]:
    """The teams that can hold accelerators in a cluster, and the vendors of these."""
    found: dict[str, dict[str, None]] = {}
    for queue in queues.values():
        used = (pools[pool] for pool in queue.pools if pool in pools)
        vendors = [plan.accelerator.vendor for plan in used if plan.scheduler == "kubernetes" and plan.accelerator]
        for team in queue.teams:
            found.setdefault(team, {}).update(dict.fromkeys(vendors))
    return {team: tuple(vendors) for team, vendors in found.items() if vendors}


def _teams(watched: Watched) -> Iterator[Alarm]:
    if watched.cluster is None:
        return
    for team, vendors in teams(watched.pools, watched.queues).items():
        for vendor in vendors:
            if vendor not in USE:
                continue
            yield Alarm(
                name=f"{team}-idle" if vendor == "nvidia" else f"{team}-idle-{vendor}",
                meaning=f"The accelerators that team {team} holds have been idle for two hours, and are paid for.",
                first=f"kubectl -n team-{team} get pods: what holds them; a job that only waits should end.",
                severity="warning",
                metrics={"use": _insight(watched, USE[vendor], "Average", Namespace=f"team-{team}")},
                comparison="<",
                threshold=_IDLE_PERCENT,
                period=15 * _MINUTE,
                periods=8,
            )


def _machines(watched: Watched) -> Iterator[Alarm]:
    spot = sum(max((c.max for c in plan.choices if c.kind == "spot"), default=0) for plan in watched.pools.values())
    if spot:
        yield Alarm(
            name="interruptions",
            meaning="Spot machines are being taken away faster than work gets done.",
            first="Which pools: aws ec2 describe-spot-price-history. Add on-demand to their capacity, or another zone.",
            severity="warning",
            metrics={"warnings": _counted(watched, "SpotWarnings")},
            comparison=">=",
            threshold=max(3, spot // 2),
            period=_HOUR,
            periods=1,
        )
    if watched.dead_letters:
        yield Alarm(
            name="notices-lost",
            meaning="Notices of interruption could not be delivered.",
            first=f"Read the queue {watched.dead_letters}: each message says why.",
            severity="warning",
            metrics={
                "lost": Metric(
                    namespace="AWS/SQS",
                    name="ApproximateNumberOfMessagesVisible",
                    dimensions={"QueueName": watched.dead_letters},
                    statistic="Maximum",
                )
            },
            comparison=">",
            threshold=0,
            period=5 * _MINUTE,
            periods=1,
        )


def usage(code: str) -> Metric | None:
    """The use of a quota of EC2 in vCPUs, where its class is known.

    >>> usage("L-DB2E81BA").dimensions["Class"]
    'G/OnDemand'
    """
    kind = QUOTA_CLASSES.get(code)
    if kind is None:
        return None
    return Metric(
        namespace="AWS/Usage",
        name="ResourceCount",
        dimensions={"Service": "EC2", "Resource": "vCPU", "Type": "Resource", "Class": kind},
        statistic="Maximum",
    )


def _quotas(watched: Watched) -> Iterator[Alarm]:
    for need in watched.needs:
        used = usage(need.quota.code)
        if used is None:
            continue
        yield Alarm(
            name=f"quota-{need.quota.code.lower()}",
            meaning=f"{_QUOTA_PERCENT} % of the quota {QUOTA_CLASSES[need.quota.code]} is used;"
            f" {', '.join(need.needed_by)} count against it.",
            first="Service Quotas: whether the request for more was granted. Above the quota no machine starts.",
            severity="warning",
            metrics={"used": used},
            expression="used / SERVICE_QUOTA(used) * 100",
            comparison=">=",
            threshold=_QUOTA_PERCENT,
            period=5 * _MINUTE,
            periods=3,
        )


# -- what an agent reads in the cluster --------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Scrape:
    """What one controller is asked."""

    job: str
    namespace: str
    port: str
    secure: bool
    metrics: tuple[str, ...]
    dimension: str
    """What is told apart besides the cluster."""
    relabel: tuple[Mapping[str, Any], ...] = ()


_SCRAPES = (
    _Scrape(
        job="kueue",
        namespace="kueue-system",
        port="8443",
        # Its certificate is its own, and whoever asks shows who they are (charts/kueue, metrics.bindAddress).
        secure=True,
        metrics=("kueue_pending_workloads", "kueue_admitted_workloads_total"),
        dimension="Queue",
        # A ClusterQueue is called `{queue}.{team}`.
        relabel=({"source_labels": ["cluster_queue"], "regex": r"(.+)\.[^.]+", "target_label": "Queue"},),
    ),
    _Scrape(
        job="karpenter",
        namespace="kube-system",
        port="8080",
        secure=False,
        metrics=("karpenter_nodepools_usage", "karpenter_nodepools_limit"),
        dimension="nodepool",
        # Of a pool's limits, that of its accelerators; it has one kind.
        relabel=({"source_labels": ["resource_type"], "regex": r"(nvidia|aws).*(gpu|neuron)", "action": "keep"},),
    ),
)


def agent(cluster: str) -> dict[str, Any]:
    """The second agent of the add-on `amazon-cloudwatch-observability`, an item of its `agents`: one pod, on a system machine.

    Sources: charts/amazon-cloudwatch-observability/values.yaml of aws-observability/helm-charts; "Scraping additional
    Prometheus sources and importing those metrics". It needs no right to PutMetricData: it writes log events, of which
    CloudWatch makes the metrics.

    >>> agent("c")["prometheus"]["config"]["scrape_configs"][0]["job_name"]
    'kueue'
    """
    return {
        "name": "cloudwatch-agent-controllers",
        "mode": "deployment",
        "replicas": 1,
        # The chart's agents tolerate everything: without this it would keep an accelerator's machine from ever being empty.
        "nodeSelector": {"kubernetes.io/os": "linux", POOL_LABEL: SYSTEM_POOL},
        "config": {
            "logs": {
                "metrics_collected": {
                    "prometheus": {
                        "cluster_name": cluster,
                        "log_group_name": LOG_GROUP.format(cluster=cluster),
                        "prometheus_config_path": "/etc/prometheusconfig/prometheus.yaml",
                        "emf_processor": {
                            "metric_declaration_dedup": True,
                            "metric_namespace": PROMETHEUS,
                            "metric_declaration": [
                                {
                                    "source_labels": ["job"],
                                    "label_matcher": f"^{scrape.job}$",
                                    "dimensions": [["ClusterName", scrape.dimension]],
                                    "metric_selectors": [f"^{metric}$" for metric in scrape.metrics],
                                }
                                for scrape in _SCRAPES
                            ],
                        },
                    }
                }
            }
        },
        "prometheus": {
            "config": {
                "global": {"scrape_interval": "1m", "scrape_timeout": "10s"},
                "scrape_configs": [_scrape(scrape) for scrape in _SCRAPES],
            }
        },
    }


def _scrape(scrape: _Scrape) -> dict[str, Any]:
    token = "/var/run/secrets/kubernetes.io/serviceaccount/token"  # noqa: S105 - where it lies
    secure = {"scheme": "https", "tls_config": {"insecure_skip_verify": True}, "bearer_token_file": token}
    return {
        "job_name": scrape.job,
        **(secure if scrape.secure else {}),
        "kubernetes_sd_configs": [{"role": "pod", "namespaces": {"names": [scrape.namespace]}}],
        "relabel_configs": [
            {
                "source_labels": [
                    "__meta_kubernetes_pod_label_app_kubernetes_io_name",
                    "__meta_kubernetes_pod_container_port_number",
                ],
                "regex": f"{scrape.job};{scrape.port}",
                "action": "keep",
            }
        ],
        "metric_relabel_configs": [
            {"source_labels": ["__name__"], "regex": "|".join(scrape.metrics), "action": "keep"},
            *(dict(rule) for rule in scrape.relabel),
        ],
    }


# -- a page of charts --------------------------------------------------------------------------------------------------


def dashboard(
    watched: Watched, *, region: str, title: str, links: Mapping[str, str], alarms: Sequence[Any]
) -> dict[str, Any]:
    """The body of a dashboard ("Dashboard body structure and syntax"), two charts a row below the words and the alarms.

    Queues, pools and teams are found by search, so that the page has the same size however many there are.
    """
    words = [f"# {title}", *(f"- [{name}]({address})" for name, address in links.items())]
    half = WIDTH // 2
    return page(
        [
            said("\n".join(words), at=(0, 0), size=(8, HEIGHT)),
            *([states("Alarms", alarms, at=(8, 0), size=(WIDTH - 8, HEIGHT))] if alarms else []),
            *(
                placed(chart, at=(half * (i % 2), HEIGHT * (1 + i // 2)), size=(half, HEIGHT))
                for i, chart in enumerate(_charts(watched, region))
            ),
        ]
    )


def page(widgets: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A page: a chart keeps the period that it is given, however long the time is that somebody looks at."""
    return {"start": "-P1D", "periodOverride": "inherit", "widgets": list(widgets)}


def _widget(type_: str, at: tuple[int, int], size: tuple[int, int], properties: Mapping[str, Any]) -> dict[str, Any]:
    (x, y), (width, height) = at, size
    return {"type": type_, "x": x, "y": y, "width": width, "height": height, "properties": properties}


def said(markdown: str, *, at: tuple[int, int], size: tuple[int, int]) -> dict[str, Any]:
    """Words, at a place of the page: columns and rows."""
    return _widget("text", at, size, {"markdown": markdown})


def states(title: str, alarms: Sequence[Any], *, at: tuple[int, int], size: tuple[int, int]) -> dict[str, Any]:
    """The states of alarms, by ARN; a widget takes a hundred at most."""
    shown = {"title": title, "alarms": list(alarms[:100]), "sortBy": "stateUpdatedTimestamp"}
    return _widget("alarm", at, size, shown)


def placed(properties: Mapping[str, Any], *, at: tuple[int, int], size: tuple[int, int]) -> dict[str, Any]:
    """A chart at a place of the page."""
    return _widget("metric", at, size, properties)


def address(region: str, name: str) -> str:
    """Where people see a dashboard.

    >>> address("us-west-2", "acme-ai-dev-serving")
    'https://us-west-2.console.aws.amazon.com/cloudwatch/home?region=us-west-2#dashboards/dashboard/acme-ai-dev-serving'
    """
    return f"{_console(region)}#dashboards/dashboard/{name}"


def log_address(region: str, group: str) -> str:
    """Where people read a log group.

    >>> log_address("us-west-2", "/ecs/a").rpartition("#")[2]
    'logsV2:log-groups/log-group/$252Fecs$252Fa'
    """
    # The console wants it encoded twice, the second time with a dollar.
    return f"{_console(region)}#logsV2:log-groups/log-group/{group.replace('/', '$252F')}"


def _console(region: str) -> str:
    return f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}"


def chart(title: str, region: str, metrics: Sequence[Sequence[Any]], **rest: Any) -> dict[str, Any]:
    """What a chart shows."""
    return {
        "title": title,
        "region": region,
        "view": "timeSeries",
        "stacked": False,
        "period": 300,
        "metrics": [list(metric) for metric in metrics],
        "yAxis": {"left": {"min": 0}},
        **rest,
    }


def _search(schema: str, name: str, statistic: str, cluster: str | None = None, **rest: Any) -> list[Any]:
    """A search for a metric in `namespace,dimension,…`; a namespace may hold what only quotes let through."""
    namespace, _, dimensions = schema.partition(",")
    term = f'{{"{namespace}",{dimensions}}} MetricName="{name}"' + (f' ClusterName="{cluster}"' if cluster else "")
    return [{"expression": f"SEARCH('{term}', '{statistic}', 300)", **rest}]


def line(metric: Metric, **rest: Any) -> list[Any]:
    """A series as a chart has it."""
    named = [part for pair in metric.dimensions.items() for part in pair]
    return [metric.namespace, metric.name, *named, {"stat": metric.statistic, **rest}]


def _charts(watched: Watched, region: str) -> Iterator[dict[str, Any]]:
    cluster = watched.cluster
    if cluster:
        queues = f"{PROMETHEUS},ClusterName,Queue"
        yield chart(
            "Work that waits, by queue", region, [_search(queues, "kueue_pending_workloads", "Maximum", cluster)]
        )
        yield chart(
            "Work admitted, by queue", region, [_search(queues, "kueue_admitted_workloads_total", "Sum", cluster)]
        )
        pools = f"{PROMETHEUS},ClusterName,nodepool"
        yield chart(
            "Accelerators by pool, against the ceiling",
            region,
            [
                _search(pools, "karpenter_nodepools_usage", "Maximum", cluster),
                _search(pools, "karpenter_nodepools_limit", "Maximum", cluster),
            ],
        )
        teams_ = f"{INSIGHTS},ClusterName,Namespace"
        yield chart(
            "Use of accelerators, by team, %",
            region,
            [_search(teams_, metric, "Average", cluster) for metric in USE.values()],
            yAxis={"left": {"min": 0, "max": 100}},
            annotations={"horizontal": [{"label": "idle", "value": _IDLE_PERCENT}]},
        )
        yield chart(
            "Machines",
            region,
            [
                line(_insight(watched, "cluster_node_count", "Maximum"), label="all"),
                line(_insight(watched, "cluster_failed_node_count", "Maximum"), label="not ready"),
            ],
        )
        yield chart(
            "Pods", region,
            [
                line(_insight(watched, "pod_status_pending", "Sum"), label="pending", period=_MINUTE),
                line(_insight(watched, "pod_status_failed", "Sum"), label="failed", period=_MINUTE),
            ],
        )  # fmt: skip
    if watched.batch_queues:
        counted = f"{watched.namespace},Queue"
        yield chart("Jobs of Batch that failed, by queue", region, [_search(counted, "JobsFailed", "Sum")])
        yield chart(
            "Jobs of Batch interrupted, queues blocked",
            region,
            [_search(counted, "JobsInterrupted", "Sum"), _search(counted, "QueuesBlocked", "Sum")],
        )
    yield chart(
        "Interruptions",
        region,
        [
            line(_counted(watched, "SpotWarnings"), label="taken away"),
            line(_counted(watched, "RebalanceRecommendations"), label="likely to be"),
        ],
    )
    used = {need.quota.code: found for need in watched.needs if (found := usage(need.quota.code))}
    if used:
        yield chart(
            "Quotas, % used", region,
            [
                part
                for i, (code, metric) in enumerate(used.items())
                for part in (
                    line(metric, id=f"m{i}", visible=False),
                    [{"expression": f"m{i} / SERVICE_QUOTA(m{i}) * 100", "label": QUOTA_CLASSES[code], "id": f"e{i}"}],
                )
            ],
            yAxis={"left": {"min": 0, "max": 100}},
            annotations={"horizontal": [{"label": "near", "value": _QUOTA_PERCENT}]},
        )  # fmt: skip
