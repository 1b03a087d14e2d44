"""Rows of a page of charts in Cloud Monitoring: for each thing that answers its words, and four charts.

Source: "Dashboards API", MosaicLayout, XyChart, IncidentList; limit: "Cloud Monitoring quotas and limits", 100 widgets a
dashboard. A row has 5, a page two more: its title, and the open incidents of all of its rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from components.core.monitoring import COLUMNS, ROWS, Alarm, Query, asked, chart, mosaic, tile
from components.core.rows import SLOTS, Row, Shown, Slot, pages, shown, title, words

MOST = 19
"""Rows of a page."""
_LEFT, _HEIGHT = 8, 12
_HEAD = ROWS // 2


@dataclass(frozen=True, kw_only=True)
class Line:
    """A figure in a chart."""

    shown: Shown
    query: Mapping[str, Any]
    """`prometheusQuery`, or `timeSeriesFilter`."""
    bound: float | None = None
    """What it should stay under."""


def lines(name: str, kind: str, alarms: Sequence[Alarm]) -> Iterator[Line]:
    """The figures that alarms look at, and what stands beside them."""
    for alarm in alarms:
        place, condition = shown(name, kind, alarm.name), alarm.condition
        if place is None or not isinstance(condition, Query) or not condition.figure:
            continue
        yield Line(shown=place, query=asked(condition.figure), bound=condition.above)
        for label, promql in condition.beside.items():
            yield Line(shown=Shown(slot=place.slot, label=label, counted=True), query=asked(promql))


def charts(name: str, kind: str, found: Sequence[Line]) -> dict[Slot, Any]:
    """The charts of a row, by their place in it."""
    made: dict[Slot, Any] = {}
    for slot, (_, called) in SLOTS.items():
        here = [each for each in found if each.shown.slot == slot]
        # The scale on the right is for what is counted beside a figure: alone it has the left one.
        left = [each for each in here if not each.shown.counted] or here
        right = [each for each in here if each not in left]
        bounds = {each.bound: None for each in left if each.bound and not each.shown.counted}
        if here:
            made[slot] = chart(
                title(name, kind, slot),
                *((each.query, each.shown.label) for each in left),
                beside=[(each.query, each.shown.label) for each in right],
                lines=list(bounds),
                called=called,
            )
    return made


def row(
    name: str,
    kind: str,
    team: str | None,
    alarms: Sequence[Alarm],
    *,
    policies: Sequence[Any],
    log: tuple[str, str] | None = None,
    more: Sequence[Line] = (),
) -> Row:
    """The row of one thing that answers: from its alarms, with `more` that its kind has besides.

    `log` is the project, and the filter of its entries. `policies` are the names of its alert policies.
    """
    return Row(
        kind=kind,
        team=team,
        charts=charts(name, kind, [*lines(name, kind, alarms), *more]),
        alarms=policies,
        links=[("Log", log_address(*log))] if log else [],
    )


def log_address(project: str, chosen: str) -> str:
    """Where people read entries of logs.

    >>> log_address("acme", 'resource.type="x"')
    'https://console.cloud.google.com/logs/query;query=resource.type%3D%22x%22?project=acme'
    """
    return f"https://console.cloud.google.com/logs/query;query={quote(chosen, safe='')}?project={project}"


def bodies(rows: Mapping[str, Row], heading: str) -> list[dict[str, Any]]:
    """The pages of these rows, in the order of their names. A row has its height whatever is in it: none moves another."""
    found = pages(rows, MOST)
    return [
        mosaic(
            _heading(heading, number, len(found)),
            [*_head(part), *(t for i, (name, each) in enumerate(part.items()) for t in _row(name, each, i))],
        )
        for number, part in enumerate(found, 1)
    ]


def _heading(heading: str, number: int, last: int) -> str:
    return f"{heading} ({number} of {last})" if last > 1 else heading


def _head(part: Mapping[str, Row]) -> Iterator[dict[str, Any]]:
    said = "Lines are what was promised, or the most there may be. What to do: docs/serving.md, Alarms."
    half = COLUMNS // 2
    yield tile(0, 0, half, _HEAD, {"title": "Read on", "text": {"content": said, "format": "MARKDOWN"}})
    policies = [policy for each in part.values() for policy in each.alarms]
    # Without names it would list those of the whole project.
    if policies:
        yield tile(half, 0, half, _HEAD, {"title": "Incidents", "incidentList": {"policyNames": policies}})


def _row(name: str, each: Row, number: int) -> Iterator[dict[str, Any]]:
    y, width = _HEAD + number * _HEIGHT, (COLUMNS - _LEFT) // len(SLOTS)
    yield tile(0, y, _LEFT, _HEIGHT, {"title": name, "text": {"content": words(name, each), "format": "MARKDOWN"}})
    for i, slot in enumerate(SLOTS):
        if slot in each.charts:
            yield tile(_LEFT + i * width, y, width, _HEIGHT, each.charts[slot])
