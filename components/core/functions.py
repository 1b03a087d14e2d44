"""What is watched of an endpoint that is a function, and how its requests move from one version to the next.

Sources: "Using CloudWatch metrics with Lambda"; CodeDeploy API, `TimeBasedCanary`; "AppSpec file structure", AWS Lambda; "Lambda
functions as targets for Application Load Balancers".
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.core import promises
from components.core.cloudwatch import Alarm, Metric
from components.spec.endpoints import Alarm as Bound
from components.spec.releases import AllAtOnce, BlueGreen, Canary

ALIAS = "live"
"""What callers call: an alias leads to a version, or to two."""
NAMESPACE, FAILED = "AWS/Lambda", "Failed"
PATTERN = '{ $.severity = "ERROR" && $.event = "request" }'
"""Lines of the log that say that a request failed: the function answers those with 500, which Lambda counts as a success."""
COMMAND = (["python", "-m", "awslambdaric"], ["runtime.aws.endpoint.handler"])
"""Entry point and command of the image of runtime/serving, as a function."""
_MINUTE = 60
_ALMOST_ALL, _HALF = 99, 50


def ephemeral_mib(memory_gib: int) -> int:
    """Room for a model, packed and unpacked: each is smaller than the memory that it has to fit into.

    >>> ephemeral_mib(2), ephemeral_mib(10)
    (4096, 10240)
    """
    return min(2 * memory_gib * 1024, 10_240)


def step(release: AllAtOnce | BlueGreen | Canary) -> tuple[int, int]:
    """The percent of requests that a new version gets at first, and the minutes after which it gets the rest.

    CodeDeploy watches alarms only until all requests have moved. What is asked to move at once therefore leaves a hundredth
    with the old version for as long as the new one is watched.

    >>> step(Canary(strategy="canary", percent=10, bake_minutes=15)), step(AllAtOnce(strategy="all_at_once"))
    ((10, 15), (99, 15))
    """
    match release:
        case Canary(percent=percent):
            return percent, release.bake_minutes
        case BlueGreen():
            return _HALF, release.bake_minutes
        case _:
            return _ALMOST_ALL, release.bake_minutes


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A function that is watched."""

    name: str
    physical: str
    bounds: Mapping[str, Bound]
    """By sign, `components.spec.endpoints.alarms`."""
    most: int
    """Requests at once."""
    namespace: str
    """Of the metric that is made of its log."""
    signs: Sequence[str] = ()
    """What takes a release back."""
    version: Any = None
    """The newest version; may be an output."""


def alarms(watched: Watched) -> Iterator[Alarm]:
    """What is watched of a function."""
    for sign, bound in watched.bounds.items():
        if sign in _SIGNS:
            yield _SIGNS[sign](watched, bound)
    yield Alarm(
        name=f"{watched.name}-throttled",
        meaning=f"Requests to {watched.name} were refused: {watched.most} were worked on at once, or the account had no more.",
        first="Whether callers do too much; else raise concurrency.max, or the account's quota of concurrent executions.",
        severity="warning",
        metrics={"refused": _metric(watched, "Throttles", "Sum")},
        comparison=">",
        threshold=0,
        period=5 * _MINUTE,
        periods=1,
    )
    if watched.signs:
        yield _rollback(watched)


def _metric(watched: Watched, name: str, statistic: Any, **more: Any) -> Metric:
    return Metric(
        namespace=NAMESPACE, name=name, dimensions={"FunctionName": watched.physical, **more}, statistic=statistic
    )


def _called(watched: Watched, name: str, statistic: Any, *, newest: bool = False) -> Metric:
    """A series of the alias; with `newest`, of the version alone that a release brings, while it shares the alias."""
    version = {"ExecutedVersion": watched.version} if newest else {}
    return _metric(watched, name, statistic, Resource=f"{watched.physical}:{ALIAS}", **version)


def _failures(watched: Watched) -> dict[str, Metric]:
    return {
        "crashed": _called(watched, "Errors", "Sum"),
        "failed": Metric(namespace=watched.namespace, name=f"{watched.name}-{FAILED}", statistic="Sum"),
        "calls": _called(watched, "Invocations", "Sum"),
    }


_PERCENT = "100 * (FILL(crashed, 0) + FILL(failed, 0)) / calls"
_ENOUGH = f"FILL(crashed, 0) + FILL(failed, 0) >= {promises.ERRORS}"


def _p95(watched: Watched, bound: Bound) -> Alarm:
    return promises.late(
        watched.name,
        bound,
        first="Whether starts are many (Init Duration in its log): concurrency.warm. If a release is new, take it back.",
        metrics={"took": _called(watched, "Duration", "p95")},
        expression="took",
    )


def _error_rate(watched: Watched, bound: Bound) -> Alarm:
    return promises.failing(
        watched.name,
        bound,
        first=f"Read its log group /aws/lambda/{watched.physical}. If a release is new, take it back.",
        metrics=_failures(watched),
        expression=f"IF({_ENOUGH}, {_PERCENT}, 0)",
        figure=_PERCENT,
    )


def _saturation(watched: Watched, bound: Bound) -> Alarm:
    return promises.saturated(
        watched.name,
        bound,
        meaning=f"{watched.name} has had {bound.above:g} % of its requests at once for {bound.minutes} minutes.",
        first="Whether callers are more than the objective expects. If so: raise concurrency.max.",
        metrics={"used": _metric(watched, "ConcurrentExecutions", "Maximum")},
        expression=f"100 * used / {watched.most}",
    )


def _ceiling(watched: Watched, bound: Bound) -> Alarm:
    return promises.full(
        watched.name,
        bound,
        meaning=f"{watched.name} has worked on {bound.above:g} requests at once, and no more are let in, for {bound.minutes}"
        " minutes.",
        first="Whether requests are refused (its throttled alarm). If so: raise concurrency.max.",
        metrics={"used": _metric(watched, "ConcurrentExecutions", "Maximum")},
    )


_SIGNS = {"p95_latency": _p95, "error_rate": _error_rate, "saturation": _saturation, "ceiling": _ceiling}


def _rollback(watched: Watched) -> Alarm:
    """One alarm for all that takes a release back: of the alias, and of the newest version apart.

    With a few requests of a hundred the newest one hardly moves the alias's figures.
    """
    chosen = promises.judged(watched.bounds, watched.signs)
    metrics: dict[str, Metric] = {}
    tests: list[str] = []
    for sign, above in chosen.items():
        if sign == "p95_latency":
            metrics |= {
                "took": _called(watched, "Duration", "p95"),
                "newtook": _called(watched, "Duration", "p95", newest=True),
            }
            tests.append(f"FILL(took, 0) > {above:g} OR FILL(newtook, 0) > {above:g}")
        else:
            metrics |= {
                **_failures(watched),
                "newcrashed": _called(watched, "Errors", "Sum", newest=True),
                "newcalls": _called(watched, "Invocations", "Sum", newest=True),
            }
            newest = f"FILL(newcrashed, 0) >= {promises.ERRORS} AND 100 * FILL(newcrashed, 0) / FILL(newcalls, 1) > {above:g}"
            tests.append(f"({_ENOUGH} AND {_PERCENT} > {above:g}) OR ({newest})")
    return promises.rollback(watched.name, metrics, tests)
