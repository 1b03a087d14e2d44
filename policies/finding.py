"""What an evaluation says: where a rule does not hold, and the waiver under which that is accepted."""

from dataclasses import dataclass
from datetime import date
from typing import Protocol

from policies.model import Place
from policies.rule import Enforcement, Severity

SEVERITIES: tuple[Severity, ...] = ("critical", "high", "medium", "low")
"""From the worst to the least."""


class Waiver(Protocol):
    """A written exception from a rule, as a stack's file holds it."""

    @property
    def rule(self) -> str:
        """Id of the rule."""
        ...

    @property
    def resource(self) -> str:
        """Logical name or URN; `*` matches any text."""
        ...

    @property
    def reason(self) -> str:
        """Why the rule does not hold here."""
        ...

    @property
    def owner(self) -> str:
        """Who answers for it."""
        ...

    @property
    def expires(self) -> date:
        """Last day on which it holds."""
        ...


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A rule that does not hold."""

    rule: str
    title: str
    severity: Severity
    enforcement: Enforcement
    resource: str
    """URN; empty where the stack as a whole is at fault."""
    name: str
    """Logical name of the resource; that of the stack where there is none."""
    message: str
    remedy: str
    place: Place | None = None
    waiver: Waiver | None = None
    """The waiver that covers it. A waived finding is listed, and stops nothing."""

    @property
    def blocking(self) -> bool:
        """Whether it stops a deployment."""
        return self.enforcement == "mandatory" and self.waiver is None

    @property
    def order(self) -> tuple[bool, int, str, str, str]:
        """Sorts what blocks first, then the worst, then by rule and resource."""
        return not self.blocking, SEVERITIES.index(self.severity), self.rule, self.resource, self.message
