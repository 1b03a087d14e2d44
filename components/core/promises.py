"""Alarms of CloudWatch that follow from an objective: the same words and bounds, whatever it is that answers."""

from collections.abc import Mapping, Sequence

from components.core.cloudwatch import Alarm, Metric
from components.spec.endpoints import Alarm as Bound

ERRORS = 3
"""Errors in a window below which their share says nothing."""
_MINUTE = 60


def late(
    name: str, bound: Bound, *, first: str, metrics: Mapping[str, Metric], expression: str, figure: str | None = None
) -> Alarm:
    """More than 5 of 100 answers take too long; the expression comes to ms."""
    return Alarm(
        name=f"{name}-p95",
        meaning=f"More than 5 of 100 answers of {name} took longer than {bound.above:g} ms.",
        first=first,
        severity="critical",
        metrics=metrics,
        expression=expression,
        figure=figure,
        comparison=">",
        threshold=bound.above,
        period=bound.minutes * _MINUTE,
        periods=1,
    )


def failing(
    name: str, bound: Bound, *, first: str, metrics: Mapping[str, Metric], expression: str, figure: str | None = None
) -> Alarm:
    """More requests fail than may; the expression comes to percent, and to nothing where fewer than `ERRORS` failed.

    Names of series that count requests begin with `cloudwatch_rows.REQUESTS`.
    """
    return Alarm(
        name=f"{name}-errors",
        meaning=f"More than {bound.above:g} % of the requests to {name} failed, {ERRORS} of them at least.",
        first=first,
        severity="critical",
        metrics=metrics,
        expression=expression,
        figure=figure,
        comparison=">",
        threshold=bound.above,
        period=bound.minutes * _MINUTE,
        periods=1,
    )


def saturated(
    name: str, bound: Bound, *, meaning: str, first: str, metrics: Mapping[str, Metric], expression: str | None = None
) -> Alarm:
    """Nearly all of what there is is in use."""
    return Alarm(
        name=f"{name}-saturated",
        meaning=meaning,
        first=first,
        severity="warning",
        metrics=metrics,
        expression=expression,
        comparison=">",
        threshold=bound.above,
        period=bound.minutes * _MINUTE,
        periods=1,
    )


def full(
    name: str,
    bound: Bound,
    *,
    meaning: str,
    first: str,
    metrics: Mapping[str, Metric],
    expression: str | None = None,
    threshold: float | None = None,
) -> Alarm:
    """As many as there may be are at work; `threshold` is by default the bound."""
    return Alarm(
        name=f"{name}-ceiling",
        meaning=meaning,
        first=first,
        severity="warning",
        metrics=metrics,
        expression=expression,
        comparison=">=",
        threshold=bound.above if threshold is None else threshold,
        line=bound.above,
        period=5 * _MINUTE,
        periods=max(1, bound.minutes // 5),
    )


def rollback_alarm(name: str) -> str:
    """Name of the one alarm that takes a release back, within the environment."""
    return f"{name}-rollback"


def judged(bounds: Mapping[str, Bound], signs: Sequence[str]) -> dict[str, float]:
    """By sign, the bound that takes a release back: of those that it names, else of both that there are."""
    known = {sign: bounds[sign].above for sign in ("p95_latency", "error_rate") if sign in bounds}
    return {sign: known[sign] for sign in signs if sign in known} or known


def rollback(name: str, metrics: Mapping[str, Metric], tests: Sequence[str]) -> Alarm:
    """One alarm for all that takes a release back: what counts changes inside of it, and its name never."""
    return Alarm(
        name=rollback_alarm(name),
        meaning=f"{name} breaks its objective; a release that is on its way is taken back.",
        first="Nothing by night: the former version answers. Then read the log group, and mend or withdraw the new version.",
        severity="critical",
        metrics=metrics,
        expression=f"IF({' OR '.join(tests)}, 1, 0)",
        comparison=">",
        threshold=0,
        period=_MINUTE,
        periods=3,
        breaching=2,
    )
