"""For a person: the tree of a stack, what is protected, what changes, the findings and the needs."""

from collections.abc import Iterator, Sequence
from textwrap import wrap

from policies.model import Resource
from preview.needs import KINDS
from preview.report import words
from preview.result import Preview

_MARKS = {"+": "+", "-": "-", "~": "~", "±": "±"}

STYLES: Sequence[tuple[str, str]] = (
    (r"^={2,} .*$", "bold"),
    (r"^[A-Z][^\n]*:$", "bold"),
    (r"^  \+ .*$", "green"),
    (r"^  ~ .*$", "yellow"),
    (r"^  ± .*$", "magenta"),
    (r"^  - .*$", "red"),
    (r"\b(?:critical|high) mandatory\b", "bold red"),
    (r"\b(?:medium|low) mandatory\b", "red"),
    (r"\b\w+ advisory\b", "yellow"),
    (r"\b\w+ waived\b", "dim"),
    (r"its data is lost", "bold red"),
    (r"What is expected[^.]* is above[^.]*\.", "bold red"),
    (r"the ceiling is above it", "yellow"),
)
"""Patterns and their styles, for a terminal with colours. The text says everything without them."""


def render(previews: Sequence[Preview], width: int = 80) -> str:
    """The whole report; a table of all stacks at the end where there is more than one. No other line is wider but a name."""
    parts = [line for preview in previews for line in _stack(preview, width)]
    if len(previews) > 1:
        parts += list(_table(previews))
    return "\n".join(parts) + "\n"


def _stack(preview: Preview, width: int) -> Iterator[str]:
    yield f"== {preview.stack}: {words.plural(len(preview.resources), 'resource')}, {words.findings(preview)} =="
    yield from _tree(preview, width)
    yield ""
    if preview.protected:
        yield f"Protected ({len(preview.protected)}):"
        yield from _wrapped(", ".join(words.counted(preview.protected)), width)
        yield ""
    if preview.difference is not None:
        yield from _difference(preview, width)
    yield from _price(preview, width)
    if preview.findings:
        yield f"Findings ({len(preview.findings)}):"
        for finding in preview.findings:
            where = words.place(finding.place)
            yield f"  {finding.severity} {words.standing(finding)}  {finding.rule}  {finding.name}  {where}".rstrip()
            yield from _wrapped(finding.message, width, 6)
            if finding.waiver:
                accepted = f"accepted by {finding.waiver.owner} until {finding.waiver.expires}: {finding.waiver.reason}"
                yield from _wrapped(accepted, width, 6)
            else:
                yield from _wrapped(finding.remedy, width, 6)
        yield ""
    if preview.needs:
        yield "Before an up:"
        for kind, title in KINDS.items():
            found = [n for n in preview.needs if n.kind == kind]
            if found:
                yield f"  {title}"
            for need in found:
                yield from _wrapped(need.text, width, 6, "    - ")
        yield ""


def _difference(preview: Preview, width: int) -> Iterator[str]:
    assert preview.difference is not None  # noqa: S101  asked by the caller
    if not preview.difference:
        yield f"No change against {preview.base}."
        yield ""
        return
    yield f"Change against {preview.base} ({words.amounts(preview.difference)}):"
    if preview.note:
        yield from _wrapped(preview.note, width)
    for endangered in preview.difference.endangered:
        yield from _wrapped(words.endangered(endangered), width, 4, "  ! ", "    ")
    for line in words.lines(preview.difference, _MARKS):
        yield f"  {line}"
    yield ""


def _price(preview: Preview, width: int) -> Iterator[str]:
    bill = preview.bill
    if not bill.lines:
        return
    yield "Price (USD a month, without taxes and free tiers):"
    rows = [("", ("idle", "expected", "ceiling")), ("  all", words.money(bill.total))]
    if preview.change is not None:
        rows.append((f"  against {preview.base}", words.money(preview.change.total, sign=True)))
    for title, parts in (("endpoint", bill.endpoints), ("team", bill.teams)):
        if len(parts) > 1:
            rows.append((f"  by {title}", ("", "", "")))
            rows += [(f"    {name}", words.money(figures)) for name, figures in parts.items()]
    if preview.change is not None and preview.change.resources:
        rows.append(("  what changes most", ("", "", "")))
        changed = preview.change.resources[: words.DEAREST]
        rows += [(f"    {words.called(each)}", words.money(figures, sign=True)) for each, figures in changed]
    rows.append(("  the dearest", ("", "", "")))
    rows += [(f"    {words.paid(line)}", words.money(line.figures)) for line in words.dearest(bill)]
    ends = [max(len(row[1][i]) for row in rows) for i in range(3)]
    room = width - sum(ends) - 6
    for name, cells in rows:
        short = name if len(name) <= room else f"{name[: room - 1]}…"
        yield (short.ljust(room) + "".join(f"  {c.rjust(w)}" for c, w in zip(cells, ends, strict=True))).rstrip()
    for said in (words.budget(bill), *words.shares(bill), *words.volumes(preview)):
        yield from _wrapped(said, width)
    for title, said in (
        ("In the machines of a pool", words.hosted(bill)),
        ("Prices of another region", words.elsewhere(bill)),
        ("In no figure", words.unknown(bill)),
    ):
        if said:
            yield from _wrapped(f"{title}: {said}.", width, 4, "  ", "    ")
    yield ""


def _tree(preview: Preview, width: int) -> Iterator[str]:
    """The components, each with what it owns itself: the resources whose nearest component it is."""
    owned: dict[str, list[Resource]] = {}
    for resource in preview.resources:
        owned.setdefault(_owner(preview, resource), []).append(resource)
    yield from _branch(preview, "", owned, "", width)
    if loose := owned.get(""):
        yield f"without a component  {len(loose)}"
        yield from _wrapped(", ".join(words.counted(loose)), width, 4)


def _owner(preview: Preview, resource: Resource) -> str:
    above = preview.graph.resources.get(resource.parent)
    while above is not None and above.custom:
        above = preview.graph.resources.get(above.parent)
    return above.urn if above else ""


def _branch(preview: Preview, urn: str, owned: dict[str, list[Resource]], indent: str, width: int) -> Iterator[str]:
    components = [r for r in preview.graph.children(urn) if not r.custom]
    for i, component in enumerate(components):
        last = i == len(components) - 1
        own = owned.get(component.urn, [])
        below = indent + ("   " if last else "│  ")
        count = f"  {len(own)}" if own else ""
        yield f"{indent}{'└─' if last else '├─'} {words.kind(component.type)}  {component.name}{count}"
        inner = "│  " if any(not r.custom for r in preview.graph.children(component.urn)) else "   "
        if own:
            yield from _wrapped(", ".join(words.counted(own)), width, 0, f"{below}{inner}", f"{below}{inner}")
        yield from _branch(preview, component.urn, owned, below, width)


def _table(previews: Sequence[Preview]) -> Iterator[str]:
    head = ("stack", "resources", "protected", "change", "mandatory", "advisory", "waived", "needs", "USD/month")
    rows = [
        (
            p.stack,
            str(len(p.resources)),
            str(len(p.protected)),
            "" if p.difference is None else words.amounts(p.difference),
            str(len(p.mandatory)),
            str(len(p.advisory)),
            str(len(p.waived)),
            str(len(p.needs)),
            words.usd(p.bill.total.expected),
        )
        for p in previews
    ]
    if all(p.difference is None for p in previews):
        head, rows = head[:3] + head[4:], [row[:3] + row[4:] for row in rows]
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    for row in (head, *rows):
        yield "  ".join(
            c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()


def _wrapped(text: str, width: int, indent: int = 2, first: str = "", rest: str = "") -> list[str]:
    return wrap(
        text,
        width,
        initial_indent=first or " " * indent,
        subsequent_indent=rest or " " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
