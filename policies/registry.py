"""Hold a graph against every rule.

The pack for the Pulumi CLI, the preview and the tests all come through `evaluate`.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase

from components.spec.tiers import MINIMUM
from policies import rules
from policies.finding import Finding, Waiver
from policies.model import Graph, Resource
from policies.rule import EVERY, RULES, Rule, Violation

__all__ = ["CONCERNS", "EXPIRED", "RULES", "UNUSED", "Finding", "RuleError", "Waiver", "evaluate"]

CONCERNS: tuple[str, ...] = tuple(rules.__all__)
"""The files that the rules stand in; importing them declares the rules."""

EXPIRED = "waiver-expired"
UNUSED = "waiver-unused"

# Waivers of these speak to the loader, about the description; they cover no resource.
_ON_DESCRIPTION = frozenset(minimum.rule for minimum in MINIMUM)


class RuleError(Exception):
    """A rule failed instead of judging: a defect of the rule, never of the program that it looked at."""


def evaluate(graph: Graph, waivers: Sequence[Waiver] = (), today: date | None = None) -> list[Finding]:
    """Everything that does not hold in `graph`, what blocks first, then the worst, in a stable order.

    A finding that a waiver covers carries it. An expired waiver covers nothing and is a mandatory finding itself; one
    that covers nothing is an advisory one. `today` is the day in UTC unless given. Raises `RuleError`, with the rule's id,
    when a rule itself fails.
    """
    today = today or datetime.now(UTC).date()
    valid = [w for w in waivers if w.expires >= today]
    used: set[int] = set()
    found: list[Finding] = []
    for rule, violation, resource in _violations(graph):
        waiver = next((w for w in valid if w.rule == rule.id and _covers(w, resource, graph)), None)
        if waiver is not None:
            used.add(id(waiver))
        found.append(_finding(rule, violation, resource, graph, waiver))
    for waiver in waivers:
        if waiver.expires < today:
            found.append(_expired(waiver, graph))
        elif id(waiver) not in used and waiver.rule not in _ON_DESCRIPTION:
            found.append(_unused(waiver, graph))
    return sorted(found, key=lambda finding: finding.order)


def _violations(graph: Graph) -> Iterator[tuple[Rule, Violation, Resource | None]]:
    """What every rule says. Each resource meets only the rules on its type."""
    by_type: dict[str, list[Rule]] = {}
    for rule in RULES.values():
        for type_ in rule.types:
            by_type.setdefault(type_, []).append(rule)
        if rule.check_graph:
            yield from _said(rule, None, graph, rule.check_graph(graph))
    general = by_type.pop(EVERY, [])
    for resource in graph.resources.values():
        for rule in (*by_type.get(resource.type, ()), *general):
            if rule.check_resource:
                yield from _said(rule, resource, graph, rule.check_resource(resource, graph))


def _said(
    rule: Rule, resource: Resource | None, graph: Graph, found: Iterable[str | Violation]
) -> Iterator[tuple[Rule, Violation, Resource | None]]:
    try:
        for item in found:
            violation = Violation(item) if isinstance(item, str) else item
            yield rule, violation, violation.resource or resource
    except Exception as error:
        where = resource.urn if resource else f"the stack {graph.stack}"
        raise RuleError(f"rule {rule.id} failed on {where}: {type(error).__name__}: {error}") from error


def _covers(waiver: Waiver, resource: Resource | None, graph: Graph) -> bool:
    names = (resource.name, resource.urn) if resource else (graph.stack,)
    return any(fnmatchcase(name, waiver.resource) for name in names)


def _finding(
    rule: Rule, violation: Violation, resource: Resource | None, graph: Graph, waiver: Waiver | None
) -> Finding:
    return Finding(
        rule=rule.id,
        title=rule.title,
        severity=rule.severity,
        enforcement=violation.enforcement or rule.enforcement,
        resource=resource.urn if resource else "",
        name=resource.name if resource else graph.stack,
        message=violation.message,
        remedy=rule.remedy,
        place=resource.place if resource else None,
        waiver=waiver,
    )


def _expired(waiver: Waiver, graph: Graph) -> Finding:
    return Finding(
        rule=EXPIRED,
        title="No exception outlives its date",
        severity="high",
        enforcement="mandatory",
        resource="",
        name=graph.stack,
        message=f"the waiver of {waiver.rule} on {waiver.resource} expired on {waiver.expires}; {waiver.owner} answers for it",
        remedy="Mend what the waiver excused and remove it, or have its owner agree to a new date.",
    )


def _unused(waiver: Waiver, graph: Graph) -> Finding:
    why = "no such rule" if waiver.rule not in RULES else "the rule holds without it"
    return Finding(
        rule=UNUSED,
        title="Every exception excuses something",
        severity="low",
        enforcement="advisory",
        resource="",
        name=graph.stack,
        message=f"the waiver of {waiver.rule} on {waiver.resource} covers nothing: {why}",
        remedy="Remove the waiver, or correct its rule and resource.",
    )
