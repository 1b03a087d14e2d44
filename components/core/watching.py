"""What shows how endpoints of Google Cloud do: queries in PromQL, the same for an alert and for a release that is watched.

Sources: "Google Cloud metrics" (run, aiplatform, pubsub); "PromQL for Cloud Monitoring": `run.googleapis.com/request_count` is
`run_googleapis_com:request_count`, a distribution ends in `_bucket`. Times are milliseconds in both services.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from components.core.monitoring import Alarm, Query
from components.core.rollouts import VERSION, Guard
from components.spec.endpoints import Alarm as Sign

_WINDOW = "5m"
LEAST_FAILURES = 3
"""An endpoint with few requests does not wake anybody for one of them that failed."""
LEAST_REQUESTS = 20
"""Of fewer, 95 of 100 is the slowest one."""
_SEVERITY: Mapping[str, str] = {
    "p95_latency": "critical",
    "error_rate": "critical",
    "waiting": "critical",
    "saturation": "warning",
    "ceiling": "warning",
}


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where an endpoint's figures come from."""

    labels: Mapping[str, str]
    """What tells its series from those of others."""
    version: str
    """The label that tells its versions apart."""
    latency: Mapping[str, str]
    """Distributions of times, each with what else selects it; where there are several, an endpoint writes one of them."""
    count: tuple[str, ...]
    """Counts of requests, likewise."""
    failed: str
    """What selects the requests that failed."""
    busy: str
    """Expression, 0 to 100, with a place for labels."""
    instances: str
    """Expression, with a place for labels."""

    def said(self, *, watched: bool = False, more: str = "") -> str:
        """Selectors; with `watched` of one version alone, whose name is put in later."""
        found = {**self.labels, **({self.version: VERSION} if watched else {})}
        return ",".join([*(f'{key}="{value}"' for key, value in found.items()), *([more] if more else [])])


def cloud_run(service: str) -> Source:
    """A service of Cloud Run, by its name."""
    return Source(
        labels={"monitored_resource": "cloud_run_revision", "service_name": service},
        version="revision_name",
        latency={"run_googleapis_com:request_latencies_bucket": ""},
        count=("run_googleapis_com:request_count",),
        failed='response_code_class="5xx"',
        busy="100 * histogram_quantile(0.95,"
        f" sum by (le) (rate(run_googleapis_com:container_cpu_utilizations_bucket{{%s}}[{_WINDOW}])))",
        instances='sum(run_googleapis_com:container_instance_count{state="active",%s})',
    )


def vertex(endpoint: str, *, cpus: int, accelerator: bool) -> Source:
    """An endpoint of Vertex AI, by its id, with so many vCPUs a replica.

    One with a private address writes metrics of its own. Their response codes are numbers, those of the others classes (5xx).
    """
    # Use of processors is 100 % for each of them, that of accelerators for all.
    used, most = ("accelerator_duty_cycle", 1) if accelerator else ("cpu_utilization", cpus)
    return Source(
        labels={"monitored_resource": "aiplatform.googleapis.com/Endpoint", "endpoint_id": endpoint},
        version="deployed_model_id",
        latency={
            "aiplatform_googleapis_com:prediction_online_prediction_latencies_bucket": 'latency_type="total"',
            "aiplatform_googleapis_com:prediction_online_private_prediction_latencies_bucket": "",
        },
        count=(
            "aiplatform_googleapis_com:prediction_online_response_count",
            "aiplatform_googleapis_com:prediction_online_private_response_count",
        ),
        failed='response_code=~"5.*"',
        busy=f"100 * avg(aiplatform_googleapis_com:prediction_online_{used}{{%s}}) / {most}",
        # By version: while a release is watched there are two fleets, each with the whole ceiling.
        instances="max(sum by (deployed_model_id) (aiplatform_googleapis_com:prediction_online_replicas{%s}))",
    )


def _over(function: str, series: Mapping[str, str]) -> str:
    """A function of the last minutes of one of these series."""
    return " or ".join(f"{function}({name}{{{said}}}[{_WINDOW}])" for name, said in series.items())


def figure(source: Source, sign: str, *, watched: bool = False) -> str:
    """What is compared with a bound: ms, percent, or instances."""
    everything = source.said(watched=watched)
    match sign:
        case "p95_latency":
            times = {name: source.said(watched=watched, more=more) for name, more in source.latency.items()}
            return f"histogram_quantile(0.95, sum by (le) ({_over('rate', times)}))"
        case "error_rate":
            failed = _counted(source, "rate", source.failed, watched=watched)
            return f"100 * {failed} / {_counted(source, 'rate', watched=watched)}"
        case "saturation":
            return source.busy % everything
        case "ceiling":
            return source.instances % everything
        case _:
            raise ValueError(f"{sign} is no sign of an endpoint that answers")


def _counted(source: Source, function: str, more: str = "", *, watched: bool = False) -> str:
    """A function of the requests, or of those that `more` selects."""
    return f"sum({_over(function, dict.fromkeys(source.count, source.said(watched=watched, more=more)))})"


def query(source: Source, sign: Sign, *, watched: bool = False) -> str:
    """The query that yields something once a bound is passed.

    >>> made = query(cloud_run("fraud"), Sign(sign="error_rate", above=0.5, minutes=5), watched=True)
    >>> made.startswith("100 * sum(rate(run_googleapis_com:request_count{"), 'revision_name="@VERSION@"' in made
    (True, True)
    """
    found = figure(source, sign.sign, watched=watched)
    match sign.sign:
        case "p95_latency":
            requests = _counted(source, "increase", watched=watched)
            return f"{found} > {sign.above:g} and on() {requests} >= {LEAST_REQUESTS}"
        case "error_rate":
            failures = _counted(source, "increase", source.failed, watched=watched)
            return f"{found} > {sign.above:g} and on() {failures} >= {LEAST_FAILURES}"
        case "ceiling":
            return f"{found} >= {sign.above:g}"
        case _:
            return f"{found} > {sign.above:g}"


def guards(source: Source, signs: Mapping[str, Sign], wanted: list[str]) -> list[Guard]:
    """What a release looks at: the signs of the description that the endpoint has, of the new version alone.

    Under a canary's few requests the figures of the whole endpoint would hardly move.
    """
    return [
        Guard(sign=sign, query=query(source, signs[sign], watched=True))
        for sign in dict.fromkeys(wanted)
        if sign in signs
    ]


_MEANING: Mapping[str, tuple[str, str]] = {
    "p95_latency": (
        "{endpoint} answers more slowly than its objective: 95 of 100 requests in {above:g} ms.",
        "Whether a release is on its way: its workflow takes it back. Else its load, and its saturation.",
    ),
    "error_rate": (
        "More than {above:g} percent of the requests to {endpoint} fail.",
        "Its log, severity ERROR. A release on its way is taken back by its workflow.",
    ),
    "saturation": (
        "The instances of {endpoint} have been over {above:g} percent busy for {minutes} minutes.",
        "Whether it is at its ceiling; else larger instances, or a lower target of the scale.",
    ),
    "ceiling": (
        "{endpoint} has been at its ceiling of {above:g} instances for {minutes} minutes: more requests will wait or fail.",
        "Raise the ceiling, with the quota that it needs, or throttle callers.",
    ),
    "waiting": (
        "A request to {endpoint} has waited for longer than {above:g} seconds.",
        "Whether its instances are at their ceiling, or fail: their log.",
    ),
}


def alarm(
    endpoint: str, sign: Sign, promql: str, *, shown: str = "", beside: Mapping[str, str] = MappingProxyType({})
) -> Alarm:
    """The alarm of a sign; a chart shows the figure `shown`, and what is `beside` it.

    >>> alarm("fraud", Sign(sign="ceiling", above=4, minutes=15), "1").severity
    'warning'
    """
    meaning, first = _MEANING[sign.sign]
    severity = "critical" if _SEVERITY[sign.sign] == "critical" else "warning"
    return Alarm(
        name=f"{endpoint}-{sign.sign.replace('_', '-')}",
        meaning=meaning.format(endpoint=endpoint, above=sign.above, minutes=sign.minutes),
        first=first,
        severity=severity,
        condition=Query(promql=promql, figure=shown, above=sign.above, beside=beside),
        minutes=sign.minutes,
    )


def bounded(signs: Mapping[str, Sign], instances: int) -> dict[str, Sign]:
    """The same signs, with the ceiling in instances: the description counts requests where instances come by themselves.

    >>> bounded({"ceiling": Sign(sign="ceiling", above=20, minutes=15)}, 3)["ceiling"].above
    3
    """
    return {name: replace(sign, above=instances) if name == "ceiling" else sign for name, sign in signs.items()}


def alarms(endpoint: str, source: Source, signs: Mapping[str, Sign]) -> list[Alarm]:
    """The alarms of an endpoint that answers."""
    requests = {"requests a minute": f"60 * {_counted(source, 'rate')}"}
    return [
        alarm(
            endpoint,
            sign,
            query(source, sign),
            shown=figure(source, sign.sign),
            beside=requests if sign.sign == "error_rate" else {},
        )
        for sign in signs.values()
    ]


def waits(endpoint: str, sign: Sign, subscription: str) -> Alarm:
    """The alarm: a message has waited for too long."""
    age = f"max(pubsub_googleapis_com:subscription_oldest_unacked_message_age{{{_pubsub(subscription)}}})"
    return alarm(endpoint, sign, f"{age} > {sign.above:g}", shown=age)


def undelivered(subscription: str) -> Query:
    """The query: messages lie there."""
    lying = f"max(pubsub_googleapis_com:subscription_num_undelivered_messages{{{_pubsub(subscription)}}})"
    return Query(promql=f"{lying} > 0", figure=lying)


def _pubsub(subscription: str) -> str:
    return f'monitored_resource="pubsub_subscription",subscription_id="{subscription}"'
