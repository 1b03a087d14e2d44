"""Rows of a page of charts in CloudWatch: for each thing that answers its words, the states of its alarms, and four charts.

Source: "Dashboard body structure and syntax"; limits: "CloudWatch service quotas", dashboards: 500 widgets, 500 series a chart,
2,500 series a dashboard. A row has 6 widgets and `SERIES` series at most, so a page of `ROWS` keeps to all of them.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.core.cloudwatch import (
    HEIGHT,
    WIDTH,
    Alarm,
    Metric,
    chart,
    line,
    log_address,
    page,
    placed,
    said,
    states,
)
from components.core.rows import SLOTS, Row, Shown, Slot, pages, shown, title, words

ROWS, SERIES = 50, 40
"""Rows of a page; series of a row."""
REQUESTS = "calls"
"""What the series begin with, in the alarm on failures, that count requests."""
_HEAD = 3
_LEFT = 4


@dataclass(frozen=True, kw_only=True)
class Line:
    """A figure in a chart."""

    shown: Shown
    metrics: Mapping[str, Metric]
    """By the name that `expression` has for it; one alone needs no expression."""
    expression: str | None = None
    period: int
    """Seconds of a data point."""
    bound: float | None = None
    """What it should stay under."""


def lines(name: str, kind: str, alarms: Sequence[Alarm]) -> Iterator[Line]:
    """The figures that alarms look at, and the requests that one on failures counts.

    Not those of queries: what the body of a page says of such a chart is not written down ("Dashboard body structure").
    """
    for alarm in alarms:
        place = shown(name, kind, alarm.name)
        if place is None or alarm.promql is not None:
            continue
        yield Line(
            shown=place,
            metrics=alarm.metrics,
            expression=alarm.figure or alarm.expression,
            period=alarm.period,
            bound=alarm.threshold if alarm.line is None else alarm.line,
        )
        if place.slot == "answers":
            for called, metric in alarm.metrics.items():
                if called.startswith(REQUESTS):
                    counted = Shown(slot="answers", label="requests", counted=True)
                    yield Line(shown=counted, metrics={called: metric}, period=alarm.period)


def charts(name: str, kind: str, found: Sequence[Line], region: str) -> dict[Slot, Any]:
    """The charts of a row, by their place in it."""
    made: dict[Slot, Any] = {}
    for slot, (_, called) in SLOTS.items():
        here = [each for each in found if each.shown.slot == slot]
        if not here:
            continue
        # The scale on the right is for what is counted beside a figure: alone it has the left one.
        beside = not all(each.shown.counted for each in here)
        drawn = [part for i, each in enumerate(here) for part in _drawn(i, each, right=beside and each.shown.counted)]
        bounds = {each.bound: None for each in here if each.bound and not each.shown.counted}
        scales = {side: {"min": 0, "showUnits": False} for side in (["left", "right"] if beside else ["left"])}
        rest: dict[str, Any] = {"yAxis": scales}
        if bounds:
            rest["annotations"] = {
                "horizontal": [{"label": f"{called} {bound:,g}", "value": bound} for bound in bounds]
            }
        made[slot] = chart(title(name, kind, slot), region, drawn, **rest)
    return made


def _drawn(number: int, each: Line, *, right: bool) -> Iterator[list[Any]]:
    """A figure as the chart has it: what it is made of is there and not seen. Names are of a chart, so each gets a number."""
    side = {"yAxis": "right"} if right else {}
    if each.expression is None:
        for metric in each.metrics.values():
            yield line(metric, label=each.shown.label, period=each.period, **side)
        return
    names = {called: f"m{number}{called}" for called in each.metrics if re.search(rf"\b{called}\b", each.expression)}
    for called, new in names.items():
        yield line(each.metrics[called], id=new, visible=False, period=each.period)
    expression = re.sub(rf"\b({'|'.join(names)})\b", lambda match: names[match[0]], each.expression)
    yield [{"expression": expression, "label": each.shown.label, "id": f"e{number}", "period": each.period, **side}]


def row(
    name: str,
    kind: str,
    team: str | None,
    alarms: Sequence[Alarm],
    *,
    arns: Sequence[Any],
    region: str,
    log: str | None = None,
    more: Sequence[Line] = (),
) -> Row:
    """The row of one thing that answers: from its alarms, with `more` that its kind has besides.

    `log` is its log group. `arns` are those of the alarms.
    """
    return Row(
        kind=kind,
        team=team,
        charts=charts(name, kind, [*lines(name, kind, alarms), *more], region),
        alarms=arns,
        links=[(log, log_address(region, log))] if log else [],
    )


def bodies(rows: Mapping[str, Row], heading: str) -> list[dict[str, Any]]:
    """The pages of these rows, in the order of their names. A row has its height whatever is in it: none moves another."""
    found = pages(rows, ROWS)
    return [
        page(
            [
                said(_heading(heading, number, len(found)), at=(0, 0), size=(WIDTH, _HEAD)),
                *(
                    widget
                    for i, (name, row) in enumerate(part.items())
                    for widget in _row(name, row, _HEAD + i * HEIGHT)
                ),
            ]
        )
        for number, part in enumerate(found, 1)
    ]


def _heading(heading: str, number: int, last: int) -> str:
    more = f" ({number} of {last})" if last > 1 else ""
    return f"# {heading}{more}\nLines are what was promised, or the most there may be. What to do: docs/serving.md, Alarms."


def _row(name: str, row: Row, y: int) -> Iterator[dict[str, Any]]:
    half, width = HEIGHT // 2, (WIDTH - _LEFT) // len(SLOTS)
    yield said(words(name, row), at=(0, y), size=(_LEFT, half))
    if row.alarms:
        yield states(f"{name}: alarms", row.alarms, at=(0, y + half), size=(_LEFT, half))
    for i, slot in enumerate(SLOTS):
        if slot in row.charts:
            yield placed(row.charts[slot], at=(_LEFT + i * width, y), size=(width, HEIGHT))
