"""Rows of a page of charts: which of its four charts each sign of an endpoint stands in, and how rows come onto pages.

The signs are the ends of the names of alarms, on both clouds: a row is made of the alarms of what it shows, so that nobody names
a series twice, and a chart shows the figure that an alarm compares.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

Slot = Literal["answers", "time", "use", "room"]
T = TypeVar("T")

SLOTS: Mapping[Slot, tuple[str, str]] = {
    "answers": ("Requests; errors, %", "promise"),
    "time": ("Time", "promise"),
    "use": ("Busy, %", "warned of"),
    "room": ("Against the ceiling", "ceiling"),
}
"""The charts of a row, from left to right: what each is called, and what its line is."""
_TITLES: Mapping[tuple[str, Slot], str] = {
    ("batch", "answers"): "Runs",
    ("edge", "answers"): "Devices",
    ("llm", "use"): "Guardrail",
    ("served", "use"): "Cache of the servers, %",
    ("served", "room"): "Tokens a minute",
    ("llm", "room"): "Tokens a minute",
    ("corpus", "answers"): "Documents",
    ("ingestion", "answers"): "Documents and messages",
    ("retrieval", "answers"): "Questions; errors, %",
    ("retrieval", "use"): "Passages of another corpus",
}


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Where the figure of a sign stands."""

    slot: Slot
    label: str
    counted: bool = False
    """A number of things beside the figure that the chart is about: it has the scale on the right."""


_ERRORS = Shown(slot="answers", label="errors, %")
_P95 = Shown(slot="time", label="95 of 100 within, ms")
_BUSY = Shown(slot="use", label="busy, %")
_REFUSED = Shown(slot="answers", label="refused", counted=True)
_GIVEN_UP = Shown(slot="answers", label="given up", counted=True)
_SIGNS: Mapping[str, Shown] = {
    "errors": _ERRORS,
    "error-rate": _ERRORS,
    "p95": _P95,
    "p95-latency": _P95,
    "first-token": Shown(slot="time", label="95 of 100 begin within, ms"),
    "waiting": Shown(slot="time", label="oldest request, seconds"),
    "saturated": _BUSY,
    "saturation": _BUSY,
    "ceiling": Shown(slot="room", label="in use"),
    "unhealthy": Shown(slot="room", label="not healthy", counted=True),
    "throttled": _REFUSED,
    "refused": _REFUSED,
    "failed": _GIVEN_UP,
    "dead-letters": _GIVEN_UP,
    "not-started": Shown(slot="answers", label="not started", counted=True),
    "devices": Shown(slot="answers", label="ended badly", counted=True),
}
_OF_KIND: Mapping[tuple[str, str], Shown] = {
    ("batch", "failed"): Shown(slot="answers", label="failed", counted=True),
    ("llm", "ceiling"): Shown(slot="room", label="tokens a minute"),
    ("served", "ceiling"): Shown(slot="room", label="tokens a minute"),
    ("served", "saturation"): Shown(slot="use", label="in use, %"),
    ("corpus", "refused"): Shown(slot="answers", label="cannot be read", counted=True),
    ("ingestion", "documents-given-up"): Shown(slot="answers", label="given up", counted=True),
    ("ingestion", "messages-refused"): Shown(slot="answers", label="about no document", counted=True),
    ("retrieval", "failing"): _ERRORS,
    ("retrieval", "late"): Shown(slot="time", label="95 of 100 within, seconds"),
    ("retrieval", "passages-foreign"): Shown(slot="use", label="kept back", counted=True),
}
UNSEEN = ("rollback", "release", "silent")
"""Signs without a chart: a rollback looks at two figures that have one each; a release that went back and silence have none."""


def shown(name: str, kind: str, alarm: str) -> Shown | None:
    """Where the figure of an alarm stands, by its name; None where no chart has it.

    >>> shown("fraud", "realtime", "fraud-p95").slot, shown("fraud", "realtime", "fraud-rollback")
    ('time', None)
    """
    sign = alarm.removeprefix(f"{name}-")
    return _OF_KIND.get((kind, sign)) or _SIGNS.get(sign)


def title(name: str, kind: str, slot: Slot) -> str:
    """What a chart is called.

    >>> title("nightly", "batch", "answers")
    'nightly: Runs'
    """
    return f"{name}: {_TITLES.get((kind, slot), SLOTS[slot][0])}"


@dataclass(frozen=True, kw_only=True)
class Row:
    """What a page says of one thing that answers, and whose it is; texts may be outputs."""

    kind: str
    team: str | None
    charts: Mapping[Slot, Any]
    """By place, as the cloud's pages have them."""
    alarms: Sequence[Any]
    """What watches it: ARNs of alarms, or names of alert policies."""
    links: Sequence[tuple[str, str]] = ()
    """Where to read on: title and address."""


def pages(rows: Mapping[str, T], most: int) -> list[dict[str, T]]:
    """Rows in the order of their names, so many a page: one page as long as it has room, then another.

    >>> pages({"b": 1, "a": 2, "c": 3}, 2), pages({}, 2)
    ([{'a': 2, 'b': 1}, {'c': 3}], [])
    """
    names = sorted(rows)
    return [{name: rows[name] for name in names[first : first + most]} for first in range(0, len(names), most)]


def words(name: str, row: Row) -> str:
    """What stands at the left of a row, in Markdown.

    >>> print(words("fraud", Row(kind="realtime", team="risk", charts={}, alarms=[], links=[("Log", "https://example.com")])))
    ### fraud
    realtime, team risk
    <BLANKLINE>
    [Log](https://example.com)
    """
    owner = f", team {row.team}" if row.team else ""
    found = " · ".join(f"[{text}]({address})" for text, address in row.links)
    return f"### {name}\n{row.kind}{owner}\n\n{found}".rstrip()
