"""The rules as a document: `python -m policies.catalogue` brings the tables of `docs/policies.md` up to date."""

from pathlib import Path

from policies.frameworks import coverage, frameworks
from policies.registry import CONCERNS, RULES
from policies.rule import Rule

FILE = Path(__file__).resolve().parents[1] / "docs" / "policies.md"
START = "<!-- From here on written by python -m policies.catalogue -->"


def tables() -> str:
    """Every rule by concern, then every framework by control, in Markdown."""
    parts = ["## Rules", ""]
    for concern in CONCERNS:
        parts += [f"### {concern.capitalize()}", "", "| rule | what holds | severity | | why | how to mend it |"]
        parts += ["|---|---|---|---|---|---|"]
        parts += [_row(rule) for rule in RULES.values() if rule.concern == concern]
        parts.append("")
    parts += ["## Frameworks", ""]
    found = coverage()
    for framework in frameworks().values():
        parts += [f"### {framework.title}, {framework.version}", "", f"`{framework.id}`, <{framework.source}>", ""]
        parts += ["| control | title | rules |", "|---|---|---|"]
        for control, title in framework.controls.items():
            rules = ", ".join(f"`{rule}`" for rule in found[framework.id][control])
            parts.append(f"| {control} | {_cell(title)} | {rules} |")
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def document(text: str) -> str:
    """A document with its tables brought up to date; what a person wrote above them stays."""
    return f"{text.partition(START)[0]}{START}\n\n{tables()}"


def _row(rule: Rule) -> str:
    cells = (f"`{rule.id}`", rule.title, rule.severity, rule.enforcement, rule.why, rule.remedy)
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    FILE.write_text(document(FILE.read_text(encoding="utf-8")), encoding="utf-8")
