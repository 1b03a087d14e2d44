"""Rows of endpoints in a cluster: what their pods, and what counts pods, tell each cloud.

On Google Cloud Managed Service for Prometheus collects what pods say of themselves (`PodMonitoring`, which is its `job`):
`serving_…` of runtime/serving, `vllm:…` of vLLM ("Production metrics"). On AWS nothing collects that: a row has what Container
Insights counts, by service or by namespace (metric declarations of amazon-cloudwatch-agent, awscontainerinsight). Runs over many
records are work of a queue: the page of training has their charts.
"""

from collections.abc import Iterator

from components.core import cloudwatch_rows, monitoring_rows
from components.core.cloudwatch import INSIGHTS, USE, Metric, log_address
from components.core.monitoring import asked
from components.core.rows import Row, Shown
from components.spec.endpoints import alarms
from components.spec.serving import AnyEndpoint, Llm, RealTime

_WINDOW, _PERIOD = "5m", 300
_REQUESTS = Shown(slot="answers", label="requests a minute", counted=True)
_ERRORS = Shown(slot="answers", label="errors, %")
_P95 = Shown(slot="time", label="95 of 100 within, ms")
_FIRST = Shown(slot="time", label="95 of 100 begin within, ms")
_BUSY = Shown(slot="use", label="busy, %")
_CACHE = Shown(slot="use", label="in use, %")
_WAITING = Shown(slot="use", label="waiting", counted=True)
_PODS = Shown(slot="room", label="pods")
_TOKENS = Shown(slot="room", label="tokens a minute")
APPLICATION_LOG = "/aws/containerinsights/{cluster}/application"
"""Where Container Insights keeps what containers write."""


def space(spec: AnyEndpoint) -> str:
    """The namespace of an endpoint."""
    return f"serving-{spec.team}"


def aws(name: str, spec: AnyEndpoint, cluster: str, region: str) -> Row:
    """The row of an endpoint on EKS."""
    found = list(_aws(name, spec, cluster)) if isinstance(spec, Llm | RealTime) else []
    log = APPLICATION_LOG.format(cluster=cluster)
    return Row(
        kind=f"{spec.kind}, in the cluster",
        team=spec.team,
        charts=cloudwatch_rows.charts(name, "cluster", found, region),
        alarms=[],
        links=[(log, log_address(region, log))],
    )


def _aws(name: str, spec: Llm | RealTime, cluster: str) -> Iterator[cloudwatch_rows.Line]:
    there = {"ClusterName": cluster, "Namespace": space(spec)}
    # The service in front of its pods (components/kubernetes/serving).
    service = {**there, "Service": f"{name}-{'servers' if isinstance(spec, Llm) else 'http'}"}
    most = spec.scale.max if spec.scale else None
    pods = Metric(namespace=INSIGHTS, name="service_number_of_running_pods", dimensions=service, statistic="Maximum")
    busy = Metric(
        namespace=INSIGHTS, name="pod_cpu_utilization_over_pod_limit", dimensions=service, statistic="Average"
    )
    if isinstance(spec, Llm):
        # By namespace: of all language models of the team.
        busy = Metric(namespace=INSIGHTS, name=USE["nvidia"], dimensions=there, statistic="Average")
    yield cloudwatch_rows.Line(shown=_BUSY, metrics={"busy": busy}, period=_PERIOD)
    yield cloudwatch_rows.Line(shown=_PODS, metrics={"pods": pods}, period=_PERIOD, bound=most)


def gcp(name: str, spec: AnyEndpoint, cluster: str, project: str) -> Row:
    """The row of an endpoint on GKE."""
    said = f'cluster="{cluster}",namespace="{space(spec)}",job="{name}"'
    match spec:
        case RealTime():
            found = list(_model(spec, said))
        case Llm():
            found = list(_language(spec, said))
        case _:
            found = []
    pods = f'resource.labels.cluster_name="{cluster}" AND resource.labels.namespace_name="{space(spec)}"'
    log = f'resource.type="k8s_container" AND {pods} AND resource.labels.pod_name:"{name}"'
    return Row(
        kind=f"{spec.kind}, in the cluster",
        team=spec.team,
        charts=monitoring_rows.charts(name, "served" if isinstance(spec, Llm) else "cluster", found),
        alarms=[],
        links=[("Log", monitoring_rows.log_address(project, log))],
    )


def _drawn(shown: Shown, promql: str, bound: float | None = None) -> monitoring_rows.Line:
    return monitoring_rows.Line(shown=shown, query=asked(promql), bound=bound)


def _rate(series: str, said: str, more: str = "") -> str:
    return f"sum(rate({series}{{{said}{more}}}[{_WINDOW}]))"


def _p95(series: str, said: str) -> str:
    return f"1000 * histogram_quantile(0.95, sum by (le) (rate({series}{{{said}}}[{_WINDOW}])))"


def _model(spec: RealTime, said: str) -> Iterator[monitoring_rows.Line]:
    bounds = {sign: found.above for sign, found in alarms(spec).items()}
    requests, failed = _rate("serving_requests_total", said), _rate("serving_requests_total", said, ',status=~"5.."')
    yield _drawn(_ERRORS, f"100 * {failed} / {requests}", bounds.get("error_rate"))
    yield _drawn(_REQUESTS, f"60 * {requests}")
    yield _drawn(_P95, _p95("serving_request_seconds_bucket", said), bounds.get("p95_latency"))
    aim = spec.scale.target.concurrency or 1
    yield _drawn(_BUSY, f"100 * sum(serving_running{{{said}}}) / ({aim} * sum(serving_ready{{{said}}}))")
    yield _drawn(_PODS, f"sum(serving_ready{{{said}}})", spec.scale.max)


def _language(spec: Llm, said: str) -> Iterator[monitoring_rows.Line]:
    bounds = {sign: found.above for sign, found in alarms(spec).items()}
    # What fails before vLLM answers is counted by nobody.
    yield _drawn(_REQUESTS, f"60 * {_rate('vllm:request_success_total', said)}")
    yield _drawn(_FIRST, _p95("vllm:time_to_first_token_seconds_bucket", said), bounds.get("p95_latency"))
    yield _drawn(_CACHE, f"100 * avg(vllm:kv_cache_usage_perc{{{said}}})")
    yield _drawn(_WAITING, f"sum(vllm:num_requests_waiting{{{said}}})")
    tokens = (_rate(f"vllm:{part}_tokens_total", said) for part in ("prompt", "generation"))
    yield _drawn(_TOKENS, f"60 * ({' + '.join(tokens)})", bounds.get("ceiling"))
