"""What a stack costs a month, as four figures: idle, expected, ceiling, and the change of each against the base.

**Idle** is what is paid while nothing is asked of it, **expected** follows from the volumes that the description states, and
the **ceiling** is everything at its maximum for the whole month. What is not known, a price or a volume, is listed and counts
in no total. `docs/prices.md` says where the prices come from.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from policies.model import Graph, Resource
from preview.prices import aws, clusters, google
from preview.prices.asked import Asked, asked, of
from preview.prices.items import UNPRICED, Item, Look, Priced, labels
from preview.prices.rates import Rate

PRICED: Mapping[str, Priced] = {**aws.PRICED, **google.PRICED, **clusters.PRICED}
UNKNOWN: Mapping[str, str] = {**aws.UNKNOWN, **google.UNKNOWN, **clusters.UNKNOWN}
FREE = aws.FREE | google.FREE | clusters.FREE

SHARED = "(shared)"
"""In place of an endpoint or a team: what belongs to the whole environment."""
_FREE_GROUPS = tuple(sorted(prefix for prefix in FREE if prefix.endswith("/")))
_NOWHERE = "no table of prices has this type"


@dataclass(frozen=True, kw_only=True)
class Figures:
    """US dollars a month."""

    idle: float = 0
    expected: float = 0
    ceiling: float = 0

    def __add__(self, other: "Figures") -> "Figures":
        return Figures(
            idle=self.idle + other.idle,
            expected=self.expected + other.expected,
            ceiling=self.ceiling + other.ceiling,
        )

    def __sub__(self, other: "Figures") -> "Figures":
        return self + Figures(idle=-other.idle, expected=-other.expected, ceiling=-other.ceiling)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One thing of one resource that is paid for."""

    resource: Resource
    item: Item
    component: str
    """The component right below the environment's that it is in."""
    endpoint: str
    team: str

    @property
    def figures(self) -> Figures:
        """What it costs, as far as that is known: an expected volume that nobody states is that of idle."""
        usd, item = self.item.rate.usd, self.item
        if usd is None:
            return Figures()
        idle = item.idle * usd
        expected = idle if item.expected is None else item.expected * usd
        return Figures(idle=idle, expected=expected, ceiling=expected if item.ceiling is None else item.ceiling * usd)

    @property
    def unknown(self) -> str:
        """Why its price or its volume is not known; empty where both are."""
        item = self.item
        if item.rate.usd is None:
            return item.why or UNPRICED
        return item.why if item.expected is None or item.ceiling is None else ""


@dataclass(frozen=True, kw_only=True)
class Bill:
    """What a stack costs."""

    lines: tuple[Line, ...] = ()
    """Every line, the dearest first: by what is expected, then by the ceiling, the URN, and what it is."""
    budget_usd: float | None = None
    team_budgets: Mapping[str, float] = field(default_factory=dict[str, float])
    hosted: Mapping[str, str] = field(default_factory=dict[str, str])
    """Endpoints in a cluster, by name the pool whose machines their pods run on: they are paid for there."""
    volumes: bool = True
    """Whether the graph says how much is asked of it; without that, what is expected is what is there when idle."""

    @cached_property
    def total(self) -> Figures:
        """Of all lines."""
        return _sum(self.lines)

    def by(self, key: Callable[[Line], str]) -> dict[str, Figures]:
        """Totals by what `key` says of a line, the dearest first, `SHARED` last."""
        found: dict[str, list[Line]] = {}
        for line in self.lines:
            found.setdefault(key(line) or SHARED, []).append(line)
        sums = {name: _sum(lines) for name, lines in found.items() if any(line.item.rate.usd for line in lines)}
        return dict(
            sorted(sums.items(), key=lambda pair: (pair[0] == SHARED, -pair[1].expected, -pair[1].ceiling, pair[0]))
        )

    @property
    def endpoints(self) -> dict[str, Figures]:
        """Totals by endpoint."""
        return self.by(lambda line: line.endpoint)

    @property
    def teams(self) -> dict[str, Figures]:
        """Totals by team."""
        return self.by(lambda line: line.team)

    @property
    def components(self) -> dict[str, Figures]:
        """Totals by component."""
        return self.by(lambda line: line.component)

    @cached_property
    def unknown(self) -> dict[tuple[str, str], int]:
        """What is in no figure and why, with the number of resources; the most frequent first."""
        every = {(line.item.rate.what, line.unknown, line.resource.urn) for line in self.lines if line.unknown}
        counted = Counter((what, why) for what, why, _ in every)
        return dict(sorted(counted.items(), key=lambda pair: (-pair[1], pair[0])))

    @cached_property
    def elsewhere(self) -> dict[str, int]:
        """Regions whose prices stand in for those of the resource's own, and of how many lines."""
        return dict(sorted(Counter(line.item.rate.region for line in self.lines if line.item.rate.elsewhere).items()))


NOTHING_PAID = Bill()


def _sum(lines: Iterable[Line]) -> Figures:
    # Each figure for itself: a sum of objects would make one for every line.
    every = [line.figures for line in lines]
    return Figures(
        idle=sum(each.idle for each in every),
        expected=sum(each.expected for each in every),
        ceiling=sum(each.ceiling for each in every),
    )


def known(type_: str) -> bool:
    """Whether a table says of a type of resource what it costs, that it costs nothing, or why that is not known."""
    return type_ in PRICED or type_ in UNKNOWN or type_ in FREE or type_.startswith(_FREE_GROUPS)


def price(graph: Graph, volumes: Asked | None = None) -> Bill:
    """What a graph costs; `volumes` stand in for its own where it carries none, as one from before they were there."""
    said = asked(graph)
    look = Look(graph=graph, asked=said or volumes or of({}))
    components = _components(graph)
    lines = [
        Line(
            resource=resource,
            item=item,
            component=components.get(resource.urn, ""),
            endpoint=look.named(resource),
            team=_team(resource, look),
        )
        for resource in graph.resources.values()
        for item in _items(resource, look)
    ]
    return Bill(
        lines=tuple(sorted(lines, key=_dearest)),
        budget_usd=look.asked.budget_usd,
        team_budgets=look.asked.team_budgets,
        hosted={each.endpoint: pool for pool, bound in look.pods.items() for each in bound},
        volumes=said is not None,
    )


def _dearest(line: Line) -> tuple[float, float, str, str]:
    return (-line.figures.expected, -line.figures.ceiling, line.resource.urn, line.item.rate.what)


def _items(resource: Resource, look: Look) -> Iterator[Item]:
    """What of a resource is paid for. A component is in a table where a cloud has no resource of what it stands for."""
    type_ = resource.type
    if priced := PRICED.get(type_):
        yield from priced(resource, look)
    elif not resource.custom or type_.startswith("pulumi:"):
        return
    elif why := UNKNOWN.get(type_):
        yield Item(rate=Rate(what=_called(type_), unit="", usd=None), why=why)
    elif not known(type_):
        yield Item(rate=Rate(what=_called(type_), unit="", usd=None), why=_NOWHERE)


def _called(type_: str) -> str:
    """`aws:s3/bucket:Bucket` as `s3.Bucket`."""
    module, _, name = type_.partition(":")[2].rpartition(":")
    return f"{module.partition('/')[0]}.{name}"


def _team(resource: Resource, look: Look) -> str:
    team = look.endpoint(resource).get("team") or labels(resource).get("team")
    return str(team) if team else ""


def _components(graph: Graph) -> dict[str, str]:
    """The component right below the environment's, by resource."""
    found: dict[str, str] = {}

    def top(urn: str) -> str:
        if urn not in found:
            here = graph.resources.get(urn)
            above = graph.resources.get(here.parent) if here else None
            if here is None or above is None:
                return ""
            found[urn] = here.name if above.type.endswith(":Environment") else top(above.urn)
        return found[urn]

    for urn in graph.resources:
        top(urn)
    return found


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a change costs: the figures after it less those before it."""

    before: Bill
    total: Figures
    resources: Sequence[tuple[Resource, Figures]]
    """Resources whose figures change, what changes most first."""


def change(before: Bill, after: Bill) -> Change:
    """The difference of two bills, in total and by resource."""
    old, new = (_by_resource(bill) for bill in (before, after))
    found: list[tuple[Resource, Figures]] = []
    for urn in sorted(old.keys() | new.keys()):
        resource = (new.get(urn) or old[urn])[0]
        figures = (new[urn][1] if urn in new else Figures()) - (old[urn][1] if urn in old else Figures())
        if any(abs(figure) >= 0.005 for figure in (figures.idle, figures.expected, figures.ceiling)):
            found.append((resource, figures))
    found.sort(key=lambda pair: (-abs(pair[1].expected), -abs(pair[1].ceiling), pair[0].urn))
    return Change(before=before, total=after.total - before.total, resources=found)


def _by_resource(bill: Bill) -> dict[str, tuple[Resource, Figures]]:
    found: dict[str, list[Line]] = {}
    for line in bill.lines:
        found.setdefault(line.resource.urn, []).append(line)
    return {urn: (lines[0].resource, _sum(lines)) for urn, lines in found.items()}
