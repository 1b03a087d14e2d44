"""How the reports for people call things."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from policies.model import REFERENCE, Place, Resource
from policies.registry import Finding
from preview.difference import Changed, Difference, Endangered, Fate
from preview.price import Bill, Figures, Line
from preview.prices.items import OFFERED, UNPRICED
from preview.result import Preview

_LONGEST = 160
"""Characters of a value that a person still reads; the JSON holds all of it."""


def kind(type_: str) -> str:
    """A type token as a person says it: `s3.Bucket`, `Storage`."""
    package, _, rest = type_.partition(":")
    module, _, name = rest.rpartition(":")
    return f"{module.partition('/')[0]}.{name}" if package in {"aws", "gcp", "kubernetes"} else name or type_


def counted(resources: Iterable[Resource]) -> list[str]:
    """The kinds of the resources, the most frequent first: `s3.Bucket 6`."""
    found = Counter(kind(r.type) for r in resources)
    return [
        f"{name} {count}" if count > 1 else name for name, count in sorted(found.items(), key=lambda i: (-i[1], i[0]))
    ]


def value(of: Any) -> str:
    """A value in one line: a reference by name, what is too long cut."""
    text = REFERENCE.sub(lambda m: f"${{{m[1].rpartition('::')[2]}.{m[2]}}}", json.dumps(of, ensure_ascii=False))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def place(of: Place | None) -> str:
    """`file:line`, or nothing."""
    return f"{of.file}:{of.line}" if of else ""


def called(resource: Resource) -> str:
    """A resource as a person says it: `s3.Bucket raw`."""
    return f"{kind(resource.type)} {resource.name}"


def plural(count: int, word: str) -> str:
    """`1 resource`, `2 resources`."""
    return f"{count} {word}{'' if count == 1 else 's'}"


def amounts(difference: Difference) -> str:
    """`+3 ~2 ±1 -0`: created, changed, replaced, removed."""
    changed = len(difference.changed) - len(difference.replaced)
    return f"+{len(difference.created)} ~{changed} ±{len(difference.replaced)} -{len(difference.removed)}"


def findings(preview: Preview) -> str:
    """How many findings of each sort, in words."""
    sorts = (("mandatory", preview.mandatory), ("advisory", preview.advisory), ("waived", preview.waived))
    said = [f"{len(found)} {name}" for name, found in sorts if found]
    return ", ".join(said) if said else "no findings"


FATES: Mapping[Fate, str] = {
    "lost": "its data is lost",
    "refused": "it is protected, so Pulumi refuses the whole update",
    "left behind": "its data stays in the cloud, outside of this program",
    "stays": "its data stays",
}


def endangered(of: Endangered) -> str:
    """What happens to something that holds data, in a sentence without its full stop."""
    return f"{called(of.resource)} holds data and is {of.how}: {FATES[of.fate]}"


def standing(finding: Finding) -> str:
    """What a finding does: `mandatory`, `advisory`, or `waived`."""
    return "waived" if finding.waiver else finding.enforcement


def lines(difference: Difference, marks: dict[str, str]) -> Iterator[str]:
    """A difference line by line: what goes, what is replaced, what changes, what comes. `marks` stand at column 0."""
    for resource in difference.removed:
        yield f"{marks['-']} {called(resource)}"
    for changed in sorted(difference.changed, key=lambda c: not c.replaced):
        yield from _changed(changed, marks)
    for resource in difference.created:
        yield f"{marks['+']} {called(resource)}"


def _changed(changed: Changed, marks: dict[str, str]) -> Iterator[str]:
    mark = marks["±" if changed.replaced else "~"]
    because = ", ".join(dict.fromkeys(re.split(r"[.\[]", change.path)[0] for change in changed.because))
    yield f"{mark} {called(changed.resource)}{f'  (replaced: {because})' if because else ''}"
    for change in changed.changes:
        yield f"{mark}     {change.path}: {value(change.old)} → {value(change.new)}"


DEAREST = 10
"""Lines of a bill that a person is shown; the JSON holds all of them."""


def usd(amount: float, *, sign: bool = False) -> str:
    """US dollars, whole ones where there are some: `1,288`, `0.40`, with a sign `+12`, `-12`, `±0`."""
    if sign and abs(amount) < 0.005:
        return "±0"
    digits = 0 if abs(amount) >= 9.995 or abs(amount) < 0.005 else 2
    return f"{amount:{'+' if sign else ''},.{digits}f}"


def money(of: Figures, *, sign: bool = False) -> tuple[str, str, str]:
    """Idle, expected and ceiling."""
    return usd(of.idle, sign=sign), usd(of.expected, sign=sign), usd(of.ceiling, sign=sign)


def dearest(bill: Bill) -> list[Line]:
    """The lines that a person is shown: those that cost most as expected, of these the ones with the highest ceiling first."""
    return [line for line in bill.lines if line.figures.ceiling >= 0.005][:DEAREST]


def paid(line: Line) -> str:
    """What of what: `SageMaker ml.m6i.xlarge, fraud-score-endpoint`."""
    return f"{line.item.rate.what}, {line.resource.name}"


def budget(bill: Bill) -> str:
    """How the expected price and the ceiling stand to the budget; nothing where there is none."""
    if not bill.budget_usd:
        return ""
    total, limit = bill.total, f"the budget of {usd(bill.budget_usd)} USD"
    if total.expected > bill.budget_usd:
        return f"What is expected is above {limit}, and so is the ceiling."
    share = f"{100 * total.expected / bill.budget_usd:.0f} % of {limit} is expected"
    above = total.ceiling > bill.budget_usd
    return f"{share}; the ceiling is above it." if above else f"{share}; the ceiling is within it."


def shares(bill: Bill) -> list[str]:
    """The teams whose expected price is above their part of the budget, in a sentence each."""
    return [
        f"What is expected of {team} is above its {usd(bill.team_budgets[team])} USD of the budget."
        for team, figures in bill.teams.items()
        if team in bill.team_budgets and figures.expected > bill.team_budgets[team]
    ]


def volumes(preview: Preview) -> list[str]:
    """Where a graph does not say how much is asked of it, in a sentence each."""
    said: list[str] = []
    if not preview.bill.volumes:
        said.append("No volumes are stated: what is expected is what is there when idle.")
    elif preview.change is not None and not preview.change.before.volumes:
        said.append(f"{preview.base} states no volumes: those of now stand in for its own.")
    return said


def unknown(bill: Bill) -> str:
    """What no figure holds: of what no price is known, and of what no volume is; nothing where all is. The JSON says why."""
    whats: dict[str, Counter[str]] = {"no price": Counter(), "no volume": Counter()}
    for (what, why), count in bill.unknown.items():
        whats["no price" if why in {UNPRICED, OFFERED} else "no volume"][what] += count
    return "; ".join(
        f"{missing} of {', '.join(f'{what} {n}' if n > 1 else what for what, n in found.items())}"
        for missing, found in whats.items()
        if found
    )


def elsewhere(bill: Bill) -> str:
    """Whose prices stand in for those of the resource's own region: `us-east-1 for 129 lines`; nothing where none do."""
    return ", ".join(f"{region} for {plural(count, 'line')}" for region, count in bill.elsewhere.items())


def hosted(bill: Bill) -> str:
    """The endpoints whose machines are those of a pool: `rank in system`; nothing where there are none."""
    return ", ".join(f"{endpoint} in {pool}" for endpoint, pool in sorted(bill.hosted.items()))
