"""What is watched of endpoints in a cluster that nothing stands in front of, and the rows of all that answer there.

What pods say of themselves is read on both clouds (`scrapes.py`) and asked in PromQL: one table of signs, bounds and queries. The
two stores differ in how they call who said it, and in times: Managed Service for Prometheus keeps a series for each bucket,
CloudWatch one histogram ("PromQL querying", Querying histogram metrics), cumulative on both. Who is reached through a gateway
is watched by what that counts (`doors.py`).

What a sign says. Of a model: answers and times as runtime/serving counts them, so an image that does not say `serving_…` at
/metrics has no alarm but `silent`, which says so. What waits for a first pod where `scale.min` is 0 is not in its times. Of a
language model: answers as the Envoy in front of it counts them, for vLLM counts successes alone; an answer that breaks off after
it has begun is none of the failures. The first failure after a pod's start begins a series and is not in its rate yet. Of a
release and of a run: what Argo Rollouts and kube-state-metrics tell of the rollout and of the job.

Rows on AWS show what Container Insights counts, by service or by namespace (metric declarations of amazon-cloudwatch-agent,
awscontainerinsight), and the states of the alarms. Charts of runs over many records are on the page of training.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from components.core import cloudwatch_rows, monitoring_rows
from components.core.cloudwatch import INSIGHTS, USE, Alarm, Metric, log_address
from components.core.fronts import fronts
from components.core.monitoring import Alarm as Alert
from components.core.monitoring import Query, asked
from components.core.rows import Row, Shown
from components.core.scrapes import ROLLOUTS, ROUTED, ROUTERS, STATES, Controller
from components.core.watching import LEAST_FAILURES, LEAST_REQUESTS
from components.spec.endpoints import Alarm as Bound
from components.spec.endpoints import alarms as bounds
from components.spec.endpoints import answering, stepwise, where
from components.spec.environment import Environment
from components.spec.section import CloudName
from components.spec.serving import AnyEndpoint, Batch, Llm, RealTime

Spec = RealTime | Llm
"""What is watched by what its pods say."""
_WINDOW, _PERIOD, _MINUTE = "5m", 300, 60
_SILENT_MINUTES = 30
_BUSY = Shown(slot="use", label="busy, %")
_PODS = Shown(slot="room", label="pods")
APPLICATION_LOG = "/aws/containerinsights/{cluster}/application"
"""Where Container Insights keeps what containers write."""


@dataclass(frozen=True, kw_only=True)
class Store:
    """Where series arrive, as far as one differs from the other."""

    endpoint: str
    """Label that names the endpoint."""
    controller: str
    """The same for a controller, whose own labels may be called like those of the store."""
    whole: bool
    """Whether a histogram is one series, without those of its buckets."""
    exported: str = ""
    """What its own `namespace` begins with, where the store has one of that name."""


STORES: Mapping[CloudName, Store] = {
    # The collector stamps them (`scrapes.configuration`).
    "aws": Store(endpoint="endpoint", controller="", whole=True),
    # `PodMonitoring` ("Configure pod monitoring", target labels): its name is the job.
    "gcp": Store(endpoint="job", controller="job", whole=False, exported="exported_"),
}


@dataclass(frozen=True, kw_only=True)
class Sign:
    """What is watched of one endpoint."""

    aws: str
    gcp: str
    """Ends of the names of alarms, as on each cloud for endpoints of every kind."""
    meaning: str
    first: str
    severity: Literal["critical", "warning"]
    bound: Bound
    figure: str
    """ms, percent, pods or tokens a minute: what is compared, and what a chart shows."""
    at: Literal[">", ">="] = ">"
    least: str = ""
    """What has to be there besides, so that one request that failed wakes nobody."""
    beside: Mapping[str, str] = field(default_factory=dict[str, str])
    """What a chart shows besides."""

    @property
    def promql(self) -> str:
        """What yields something once the bound is passed."""
        bound = f"{self.bound.above:.12g}"  # whole, also where it is millions of tokens
        return f"{self.figure} {self.at} {bound}{f' and on() {self.least}' if self.least else ''}"


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What is watched of one endpoint, and who hears of it."""

    team: str
    signs: Sequence[Sign]


def watches(environment: Environment, cloud: CloudName, cluster: str) -> dict[str, Watched]:
    """What is watched of the endpoints in a cluster, by name."""
    seen, found = watched(environment, cloud), dict[str, Watched]()
    for name, spec in answering(environment, cloud).items():
        made = signs(name, seen[name], cluster, cloud) if name in seen else []
        if stepwise(spec):
            made.append(taken_back(name, space(spec), workload(name, spec), cluster, cloud))
        if isinstance(spec, Batch) and where(spec) == "kubernetes":
            made.append(failed(name, spec, cluster, cloud))
        if made:
            found[name] = Watched(team=spec.team, signs=made)
    return found


def controllers(environment: Environment, cloud: CloudName) -> list[Controller]:
    """The controllers in the cluster whose series alarms read."""
    found = answering(environment, cloud).values()
    runs = any(isinstance(spec, Batch) and where(spec) == "kubernetes" for spec in found)
    return [*([ROLLOUTS] if any(map(stepwise, found)) else []), *([STATES] if runs else [])]


def workload(name: str, spec: AnyEndpoint) -> str:
    """What the pods of an endpoint belong to: KServe's name for it, or its own."""
    return f"{name}-predictor" if isinstance(spec, RealTime) else name


def watched(environment: Environment, cloud: CloudName) -> dict[str, Spec]:
    """The endpoints in the cluster of a cloud that nothing stands in front of, by name, sorted."""
    seen = fronts(environment, cloud, "kubernetes")
    return {
        name: spec
        for name, spec in answering(environment, cloud).items()
        if where(spec) == "kubernetes" and isinstance(spec, RealTime | Llm) and name not in seen
    }


def space(spec: AnyEndpoint) -> str:
    """The namespace of an endpoint."""
    return f"serving-{spec.team}"


def spaces(found: Iterable[Spec]) -> tuple[set[str], set[str]]:
    """The namespaces of models, and of servers of language models."""
    models, servers = set[str](), set[str]()
    for spec in found:
        (servers if isinstance(spec, Llm) else models).add(space(spec))
    return models, servers


def of_controller(cloud: CloudName, cluster: str, each: Controller, **said: str) -> str:
    """Selectors of a controller's series, by labels of its own.

    >>> from components.core.scrapes import ROLLOUTS
    >>> of_controller("gcp", "acme", ROLLOUTS, namespace="serving-risk", phase="Degraded")
    'cluster="acme",job="argo-rollouts",exported_namespace="serving-risk",phase="Degraded"'
    """
    store = STORES[cloud]
    own = {f"{store.exported}{key}" if key == "namespace" else key: value for key, value in said.items()}
    job = {store.controller: each.name} if store.controller else {}
    return _said({"cluster": cluster, **job, **own})


def taken_back(name: str, namespace: str, rollout: str, cluster: str, cloud: CloudName) -> Sign:
    """A release that Argo Rollouts has taken back, or that stands still: the phase of the `rollout` of an endpoint.

    >>> made = taken_back("fraud", "serving-risk", "fraud", "acme", "aws")
    >>> made.promql
    'max(rollout_info{cluster="acme",namespace="serving-risk",name="fraud",phase="Degraded"}) > 0'
    """
    said = of_controller(cloud, cluster, ROLLOUTS, namespace=namespace, name=rollout, phase="Degraded")
    return Sign(
        aws="release",
        gcp="release",
        meaning=f"A release of {name} was taken back, or cannot go on; the former version answers.",
        first=f"kubectl describe rollout {rollout} -n {namespace}, and the log of its new pods; then mend or withdraw it.",
        severity="critical",
        bound=Bound(sign="release", above=0, minutes=0),
        figure=f"max(rollout_info{{{said}}})",
    )


def failed(name: str, spec: Batch, cluster: str, cloud: CloudName) -> Sign:
    """A run over records that was given up, or stopped after `finish_hours`. Its job stays for a week, and is told for a day."""
    said = of_controller(cloud, cluster, STATES, namespace=f"team-{spec.team}", condition="true")
    # As the cron job calls them, and those that somebody starts as the guide says.
    jobs = f'kube_job_failed{{{said},job_name=~"{name}-[0-9]+"}}'
    return Sign(
        aws="failed",
        gcp="failed",
        meaning=f"A run of {name} failed, or took longer than {spec.objective.finish_hours} hours and was stopped.",
        first=f"kubectl describe jobs -n team-{spec.team} -l ai-platform.io/endpoint={name}, and the logs of its pods; then start"
        " it again: it writes to a new place.",
        severity="critical",
        bound=Bound(sign="failed", above=0, minutes=0),
        # A series of a run that lasts for days was there a day ago, and said 0.
        figure=f"max(({jobs} == 1) unless on (job_name) ({jobs} offset 1d == 1))",
    )


def _said(labels: Mapping[str, str]) -> str:
    return ",".join(f'{key}="{value}"' for key, value in labels.items())


# -- signs, the same on both clouds ------------------------------------------------------------------------------------


def signs(name: str, spec: Spec, cluster: str, cloud: CloudName) -> list[Sign]:
    """What is watched of an endpoint."""
    store = STORES[cloud]
    labels = {"cluster": cluster, "namespace": space(spec), store.endpoint: name}
    made = _language(name, spec, labels, store) if isinstance(spec, Llm) else _model(name, spec, labels, store)
    return list(made)


def _rate(series: str, said: str) -> str:
    return f"sum(rate({series}{{{said}}}[{_WINDOW}]))"


def _more(series: str, said: str) -> str:
    return f"sum(increase({series}{{{said}}}[{_WINDOW}]))"


def _p95(series: str, said: str, store: Store) -> str:
    """ms; the series counts seconds."""
    times = f"sum({_of(series, said)})" if store.whole else f"sum by (le) ({_of(f'{series}_bucket', said)})"
    return f"1000 * histogram_quantile(0.95, {times})"


def _of(series: str, said: str) -> str:
    return f"rate({series}{{{said}}}[{_WINDOW}])"


def _look(spec: Spec, name: str) -> str:
    return f"kubectl logs -n {space(spec)} -l ai-platform.io/endpoint={name}"


def _model(name: str, spec: RealTime, labels: Mapping[str, str], store: Store) -> Iterator[Sign]:
    said, count = _said(labels), "serving_requests_total"
    failed = f'{said},status=~"5.."'
    aim, most = spec.scale.target.concurrency or 1, spec.scale.max
    for sign, bound in bounds(spec).items():
        match sign:
            case "p95_latency":
                figure = _p95("serving_request_seconds", said, store)
                yield Sign(
                    aws="p95",
                    gcp="p95-latency",
                    meaning=f"More than 5 of 100 answers of {name} took longer than {bound.above:g} ms.",
                    first="Whether its pods are busy (its saturation). If a version is new, go back to the old one.",
                    severity="critical",
                    bound=bound,
                    figure=figure,
                    # Of fewer, 95 of 100 is the slowest one.
                    least=f"{_more(count, said)} >= {LEAST_REQUESTS}",
                )
            case "error_rate":
                figure = f"100 * {_rate(count, failed)} / {_rate(count, said)}"
                yield Sign(
                    aws="errors",
                    gcp="error-rate",
                    meaning=f"More than {bound.above:g} % of the requests to {name} failed, {LEAST_FAILURES} of them at least.",
                    first=f"What its pods say: {_look(spec, name)}. If a version is new, go back to the old one.",
                    severity="critical",
                    bound=bound,
                    figure=figure,
                    least=f"{_more(count, failed)} >= {LEAST_FAILURES}",
                    beside={"requests a minute": f"60 * {_rate(count, said)}"},
                )
            case "saturation":
                figure = f"100 * sum(serving_running{{{said}}}) / {aim * most}"
                yield Sign(
                    aws="saturated",
                    gcp="saturation",
                    meaning=f"{name} has worked on over {bound.above:g} % of the requests that its {most} pods take at once,"
                    f" {aim} each, for {bound.minutes} minutes.",
                    first="Whether answers are late. If so: a higher scale.max, with the quota; else a larger scale.target.",
                    severity="warning",
                    bound=bound,
                    figure=figure,
                )
            case "ceiling" if spec.scale.min < most:
                figure = f"sum(serving_ready{{{said}}})"
                yield Sign(
                    aws="ceiling",
                    gcp="ceiling",
                    meaning=f"{name} has had all of its {bound.above:g} pods at work for {bound.minutes} minutes.",
                    first="Whether answers are late. If so: raise its scale.max.",
                    severity="warning",
                    bound=bound,
                    figure=figure,
                    at=">=",
                )
            case _:
                pass
    if spec.scale.min:
        yield _silent(name, spec, f"serving_ready{{{said}}}", "its image says no serving_… at /metrics; ")


def _language(name: str, spec: Llm, labels: Mapping[str, str], store: Store) -> Iterator[Sign]:
    said, count = _said(labels), "envoy_http_downstream_rq_xx"
    # Its router is in a namespace of its own.
    asked_ = _said({**labels, "namespace": ROUTERS, "envoy_http_conn_manager_prefix": ROUTED})
    failed = f'{asked_},envoy_response_code_class="5"'
    for sign, bound in bounds(spec).items():
        match sign:
            case "p95_latency":
                figure = _p95("vllm:time_to_first_token_seconds", said, store)
                yield Sign(
                    aws="first-token",
                    gcp="first-token",
                    meaning=f"More than 5 of 100 answers of {name} began later than after {bound.above:g} ms.",
                    first="Whether prompts have grown, or requests wait (on its row). Then scale.max, or a larger machine.",
                    severity="critical",
                    bound=bound,
                    figure=figure,
                    least=f"{_more(count, asked_)} >= {LEAST_REQUESTS}",
                )
            case "error_rate":
                figure = f"100 * {_rate(count, failed)} / {_rate(count, asked_)}"
                yield Sign(
                    aws="errors",
                    gcp="errors",
                    meaning=f"More than {bound.above:g} % of the requests to {name} failed, {LEAST_FAILURES} of them at least.",
                    first=f"What its servers say: {_look(spec, name)}; and its router, the same in {ROUTERS}.",
                    severity="critical",
                    bound=bound,
                    figure=figure,
                    least=f"{_more(count, failed)} >= {LEAST_FAILURES}",
                    beside={"requests a minute": f"60 * {_rate(count, asked_)}"},
                )
            case "saturation":
                figure = f"100 * avg(vllm:kv_cache_usage_perc{{{said}}})"
                yield Sign(
                    aws="saturated",
                    gcp="saturation",
                    meaning=f"The servers of {name} have had {bound.above:g} % of their memory for prompts and answers in use"
                    f" for {bound.minutes} minutes.",
                    first="Whether servers start. If they do and it stays: a higher scale.max, or fewer max_tokens.",
                    severity="warning",
                    bound=bound,
                    figure=figure,
                    beside={"waiting": f"sum(vllm:num_requests_waiting{{{said}}})"},
                )
            case "ceiling":
                tokens = (_rate(f"vllm:{part}_tokens_total", said) for part in ("prompt", "generation"))
                figure = f"60 * ({' + '.join(tokens)})"
                yield Sign(
                    aws="ceiling",
                    gcp="ceiling",
                    meaning=f"{name} has used more than {bound.above:,.12g} tokens a minute for {bound.minutes} minutes.",
                    first="Who calls it, in the log of prompts. If it is meant: raise tokens_per_minute, and look at the budget.",
                    severity="warning",
                    bound=bound,
                    figure=figure,
                )
            case _:
                pass
    yield _silent(name, spec, f"vllm:num_requests_running{{{said}}}", "")


def _silent(name: str, spec: Spec, series: str, why: str) -> Sign:
    """No other sign goes off without series: that there are none is said once."""
    return Sign(
        aws="silent",
        gcp="silent",
        meaning=f"Nothing has been heard of the pods of {name} for {_SILENT_MINUTES} minutes: its other alarms cannot go off.",
        first=f"kubectl get pods -n {space(spec)}: whether there are any that are ready. If so, {why}else nobody collects.",
        severity="warning",
        bound=Bound(sign="silent", above=0, minutes=_SILENT_MINUTES),
        figure=f"absent({series})",
    )


# -- AWS ---------------------------------------------------------------------------------------------------------------


def alarms(name: str, found: Sequence[Sign]) -> list[Alarm]:
    """The alarms of an endpoint on EKS.

    >>> made = [taken_back("fraud", "serving-risk", "fraud", "acme", "aws")]
    >>> [each.name for each in alarms("fraud", made)]
    ['fraud-release']
    """
    return [
        Alarm(
            name=f"{name}-{sign.aws}",
            meaning=sign.meaning,
            first=sign.first,
            severity=sign.severity,
            metrics={},
            promql=sign.promql,
            comparison=">",
            threshold=sign.bound.above,
            period=_MINUTE,
            periods=sign.bound.minutes,
        )
        for sign in found
    ]


def aws(name: str, spec: AnyEndpoint, cluster: str, region: str, arns: Sequence[Any] = ()) -> Row:
    """The row of an endpoint on EKS, with the ARNs of its alarms."""
    found = list(_counted(name, spec, cluster)) if isinstance(spec, Llm | RealTime) else []
    log = APPLICATION_LOG.format(cluster=cluster)
    return Row(
        kind=f"{spec.kind}, in the cluster",
        team=spec.team,
        charts=cloudwatch_rows.charts(name, "cluster", found, region),
        alarms=arns,
        links=[(log, log_address(region, log))],
    )


def _counted(name: str, spec: Spec, cluster: str) -> Iterator[cloudwatch_rows.Line]:
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


# -- Google Cloud ------------------------------------------------------------------------------------------------------


def alerts(name: str, found: Sequence[Sign]) -> list[Alert]:
    """The alerts of an endpoint on GKE."""
    return [
        Alert(
            name=f"{name}-{sign.gcp}",
            meaning=sign.meaning,
            first=sign.first,
            severity=sign.severity,
            condition=Query(promql=sign.promql, figure=sign.figure, above=sign.bound.above, beside=sign.beside),
            minutes=sign.bound.minutes,
        )
        for sign in found
    ]


def gcp(name: str, spec: AnyEndpoint, cluster: str, project: str, policies: Sequence[Any] = ()) -> Row:
    """The row of an endpoint on GKE, with the names of its alert policies."""
    kind, found = spec.kind, list[Alert]()
    if isinstance(spec, RealTime | Llm):
        kind, found = "served" if isinstance(spec, Llm) else "cluster", alerts(name, signs(name, spec, cluster, "gcp"))
    at = f'resource.labels.cluster_name="{cluster}" AND resource.labels.namespace_name="{space(spec)}"'
    log = f'resource.type="k8s_container" AND {at} AND resource.labels.pod_name:"{name}"'
    more = list(_always(name, spec, cluster)) if isinstance(spec, RealTime) else []
    made = monitoring_rows.row(name, kind, spec.team, found, policies=policies, log=(project, log), more=more)
    return replace(made, kind=f"{spec.kind}, in the cluster")


def _always(name: str, spec: RealTime, cluster: str) -> Iterator[monitoring_rows.Line]:
    """The pods of an endpoint that has as many as it may: no alarm counts them."""
    if spec.scale.min == spec.scale.max:
        said = _said({"cluster": cluster, "namespace": space(spec), STORES["gcp"].endpoint: name})
        yield monitoring_rows.Line(shown=_PODS, query=asked(f"sum(serving_ready{{{said}}})"), bound=spec.scale.max)
