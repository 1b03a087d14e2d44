"""What a rule is, and the register that every rule enters.

A rule is one pure function with its metadata. It looks at one resource at a time, or, where it names no type, at the whole
graph. It yields what is wrong as text for a person; nothing yielded means that the rule holds.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NotRequired, TypedDict, Unpack

from policies.model import Graph, Resource

Severity = Literal["critical", "high", "medium", "low"]
Enforcement = Literal["mandatory", "advisory"]

EVERY = "*"
"""In place of a type: every resource, components and providers too."""


@dataclass(frozen=True, slots=True)
class Violation:
    """What is wrong, where it is not the resource at hand or where it weighs less than the rule."""

    message: str
    resource: Resource | None = None
    """Whose fault it is; by default the resource that the rule was given, or the stack."""
    enforcement: Enforcement | None = None
    """By default the rule's own."""


Found = Iterator[str | Violation]
ResourceCheck = Callable[[Resource, Graph], Found]
GraphCheck = Callable[[Graph], Found]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A rule that an environment is held to."""

    id: str
    title: str
    """What holds, as a sentence without its full stop."""
    severity: Severity
    enforcement: Enforcement = "mandatory"
    """`mandatory` stops a deployment, `advisory` is shown."""
    why: str
    """What happens to those who do without."""
    remedy: str
    """What to do, in the words of the program or of the stack's file."""
    controls: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Framework id to the ids of its controls that the rule serves; see `policies/frameworks`."""
    types: tuple[str, ...] = ()
    """Resource types it looks at; none for a rule on the whole graph."""
    concern: str
    """The file it stands in."""
    check_resource: ResourceCheck | None = None
    check_graph: GraphCheck | None = None


RULES: dict[str, Rule] = {}
"""Every rule by id, in the order of declaration. Complete once `policies.rules` is imported."""


class _About(TypedDict):
    title: str
    severity: Severity
    why: str
    remedy: str
    enforcement: NotRequired[Enforcement]
    controls: NotRequired[Mapping[str, tuple[str, ...]]]


def _register(rule: Rule) -> None:
    if rule.id in RULES:
        raise ValueError(f"two rules are called {rule.id}")
    RULES[rule.id] = rule


def resource_rule(
    rule_id: str, *, types: tuple[str, ...], **about: Unpack[_About]
) -> Callable[[ResourceCheck], ResourceCheck]:
    """Declare a rule on each resource of some types. Raises `ValueError` when the id is taken."""

    def declare(check: ResourceCheck) -> ResourceCheck:
        concern = check.__module__.rpartition(".")[2]
        _register(Rule(id=rule_id, types=types, concern=concern, check_resource=check, **about))
        return check

    return declare


def graph_rule(rule_id: str, **about: Unpack[_About]) -> Callable[[GraphCheck], GraphCheck]:
    """Declare a rule on the whole graph. Raises `ValueError` when the id is taken."""

    def declare(check: GraphCheck) -> GraphCheck:
        _register(Rule(id=rule_id, concern=check.__module__.rpartition(".")[2], check_graph=check, **about))
        return check

    return declare
