"""For a pull request: one comment, which is found again by its marker and replaced."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from preview.needs import KINDS
from preview.report import words
from preview.result import Preview

MARKER = "<!-- ai-platform-preview -->"
LIMIT = 65_000
"""Characters; GitHub refuses a comment of more than 65,536."""

# GitHub colours a line of a `diff` block by its first character; `!` is its colour for a change.
_MARKS = {"+": "+", "-": "-", "~": "!", "±": "!"}


@dataclass(frozen=True, kw_only=True)
class _Section:
    """A part of the comment that may lose its last lines, and never its first or its end."""

    head: str
    lines: tuple[str, ...]
    tail: str = "\n"
    more: str = "{} more in the full report: the artifact of this run."


def render(previews: Sequence[Preview]) -> str:
    """The comment. What does not fit is left out from the end of its section, never inside a line or a block."""
    sections = [s for s in _sections(previews) if s.lines]
    left = LIMIT - sum(len(s.head) + len(s.tail) + len(s.more) + 16 for s in sections)
    text: list[str] = []
    for section in sections:
        shown: list[str] = []
        for line in section.lines:
            if len(line) + 1 > left:
                break
            shown.append(line)
            left -= len(line) + 1
        hidden = len(section.lines) - len(shown)
        if hidden:
            shown.append(section.more.format(hidden))
        text += [section.head, *(f"{line}\n" for line in shown), section.tail]
    return "".join(text)


def _sections(previews: Sequence[Preview]) -> Iterator[_Section]:
    yield _Section(head=f"{MARKER}\n## Preview\n\n", lines=tuple(_verdicts(previews)))
    yield _Section(head="### Removed, replaced, or holding data\n\n", lines=tuple(_dangers(previews)))
    yield _table("### Findings", "severity | rule | resource | where | what to do", tuple(_findings(previews)))
    yield _table(
        "### Price, USD a month", "idle | expected | ceiling | against the base | budget", tuple(_prices(previews))
    )
    for preview in previews:
        yield _bill(preview)
    yield _Section(head="### Before an `up`\n\n", lines=tuple(_needs(previews)))
    for preview in previews:
        if preview.difference:
            yield _change(preview)


def _verdicts(previews: Sequence[Preview]) -> Iterator[str]:
    for preview in previews:
        warned = _at_risk(preview) or preview.advisory or _above(preview)
        mark = "❌" if preview.mandatory else "⚠️" if warned else "✅"
        said = [words.plural(len(preview.resources), "resource")]
        if preview.difference is not None:
            said.append(f"`{words.amounts(preview.difference)}`" if preview.difference else "no change")
        said.append(words.findings(preview))
        if preview.bill.lines:
            said.append(f"{words.usd(preview.bill.total.expected)} USD a month")
        note = f"<br>{_cell(preview.note)}" if preview.note else ""
        yield f"- {mark} **{_cell(preview.stack)}**: {' · '.join(said)}{note}"


def _at_risk(preview: Preview) -> bool:
    return bool(preview.difference) and any(e.fate == "lost" for e in preview.difference.endangered)


def _above(preview: Preview) -> bool:
    return bool(preview.bill.budget_usd) and preview.bill.total.expected > (preview.bill.budget_usd or 0)


def _dangers(previews: Sequence[Preview]) -> Iterator[str]:
    for preview in previews:
        difference = preview.difference
        if difference is None:
            continue
        data = {e.resource.urn: e for e in difference.endangered}
        for endangered in data.values():
            said = _cell(words.endangered(endangered))
            yield f"- {_cell(preview.stack)}: {f'**{said}**' if endangered.fate == 'lost' else said}"
        gone = [(r, "removed") for r in difference.removed] + [(c.before, "replaced") for c in difference.replaced]
        for resource, how in gone:
            if resource.urn not in data:
                yield f"- {_cell(preview.stack)}: {_cell(words.called(resource))} is {how}"


def _table(title: str, columns: str, rows: tuple[str, ...]) -> _Section:
    rule = "|".join("---" for _ in columns.split("|"))
    more = "\n{} more in the full report: the artifact of this run."
    return _Section(head=f"{title}\n\n| stack | {columns} |\n|---|{rule}|\n", lines=rows, more=more)


def _findings(previews: Sequence[Preview]) -> Iterator[str]:
    every = [(f, p.stack) for p in previews for f in p.findings]
    for finding, stack in sorted(every, key=lambda item: item[0].order):
        severity = f"{finding.severity}, {words.standing(finding)}"
        cells = (stack, severity, f"`{finding.rule}`", f"`{finding.name}`: {finding.message}")
        remedy = finding.remedy
        if finding.waiver:
            remedy = f"accepted by {finding.waiver.owner} until {finding.waiver.expires}: {finding.waiver.reason}"
        yield f"| {' | '.join(_cell(c) for c in (*cells, words.place(finding.place), remedy))} |"


def _prices(previews: Sequence[Preview]) -> Iterator[str]:
    for preview in previews:
        bill, change = preview.bill, preview.change
        if bill.lines:
            against = " / ".join(words.money(change.total, sign=True)) if change else ""
            said = " ".join((words.budget(bill), *words.shares(bill), *words.volumes(preview))).strip()
            yield f"| {' | '.join(_cell(c) for c in (preview.stack, *words.money(bill.total), against, said))} |"


def _bill(preview: Preview) -> _Section:
    """What of it is dearest, and by whom, folded; nothing where nothing is paid for."""
    bill = preview.bill
    lines: list[str] = []
    parts = [(words.paid(line), line.figures) for line in words.dearest(bill)]
    for kind, totals in (("endpoint", bill.endpoints), ("team", bill.teams)):
        parts += [(f"{kind} **{name}**", figures) for name, figures in totals.items() if len(totals) > 1]
    lines += [f"| {' | '.join((_cell(name), *words.money(figures)))} |" for name, figures in parts]
    notes = (
        ("In the machines of a pool", words.hosted(bill)),
        ("Prices of another region", words.elsewhere(bill)),
        ("In no figure", words.unknown(bill)),
    )
    tail = "".join(f"\n{title}: {_cell(said)}.\n" for title, said in notes if said)
    return _Section(
        head=f"<details><summary>{_cell(preview.stack)}: what is dearest, by endpoint and by team</summary>\n\n"
        "| what | idle | expected | ceiling |\n|---|--:|--:|--:|\n",
        lines=tuple(lines),
        tail=f"{tail}\n</details>\n\n",
        more="\n{} more in the full report: the artifact of this run.",
    )


def _needs(previews: Sequence[Preview]) -> Iterator[str]:
    wanted: dict[tuple[int, str], list[str]] = {}
    order = list(KINDS)
    for preview in previews:
        for need in preview.needs:
            wanted.setdefault((order.index(need.kind), need.text), []).append(preview.stack)
    for (_, text), stacks in sorted(wanted.items()):
        yield f"- {_cell(text)} ({_cell(', '.join(stacks))})"


def _change(preview: Preview) -> _Section:
    assert preview.difference is not None  # noqa: S101  asked by the caller
    lines = tuple(words.lines(preview.difference, _MARKS))
    # Longer than any run of backticks in the block, so that nothing in it can end it.
    longest = max((len(run) for line in lines for run in re.findall(r"`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    summary = f"{_cell(preview.stack)} against {_cell(preview.base)}: {words.amounts(preview.difference)}"
    return _Section(
        head=f"<details><summary>{summary}</summary>\n\n{fence}diff\n",
        lines=lines,
        tail=f"{fence}\n\n</details>\n\n",
        more="# {} more lines in the full report: the artifact of this run.",
    )


def _cell(text: str) -> str:
    """Text that can neither end a cell nor become markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("\n", " ")
