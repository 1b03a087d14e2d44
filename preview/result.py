"""All that is said of one stack: the graph, and every pure function of it that the reports show."""

from collections.abc import Sequence
from dataclasses import dataclass

from policies.model import Graph, Resource
from policies.registry import Finding, Waiver, evaluate
from preview.difference import Difference, compare
from preview.needs import Need, needs
from preview.price import NOTHING_PAID, Bill, Change, change, price
from preview.prices.asked import asked


@dataclass(frozen=True, kw_only=True)
class Preview:
    """One stack, looked at. A further question to the graph is one more field here and one more section in each report."""

    graph: Graph
    findings: tuple[Finding, ...]
    needs: tuple[Need, ...]
    bill: Bill = NOTHING_PAID
    """What it costs a month."""
    base: str = ""
    """What it is compared with, as the caller named it; empty where nothing was asked."""
    difference: Difference | None = None
    change: Change | None = None
    """What the difference costs."""
    note: str = ""
    """Why the base has nothing to compare with, where that is so."""

    @property
    def stack(self) -> str:
        """Name of the stack."""
        return self.graph.stack

    @property
    def resources(self) -> list[Resource]:
        """What a cloud will hold: no components, no providers."""
        return [r for r in self.graph.resources.values() if r.custom and not r.type.startswith("pulumi:")]

    @property
    def protected(self) -> list[Resource]:
        """Those that Pulumi refuses to delete, or leaves in the cloud."""
        return [r for r in self.resources if r.protect or r.retain_on_delete]

    @property
    def mandatory(self) -> list[Finding]:
        """Findings that stop a deployment."""
        return [f for f in self.findings if f.blocking]

    @property
    def advisory(self) -> list[Finding]:
        """Findings that are shown, and stop nothing."""
        return [f for f in self.findings if f.enforcement == "advisory" and f.waiver is None]

    @property
    def waived(self) -> list[Finding]:
        """Findings that a person has accepted in writing."""
        return [f for f in self.findings if f.waiver is not None]


def look(
    graph: Graph,
    waivers: Sequence[Waiver] = (),
    *,
    base: str = "",
    before: Graph | None = None,
    note: str = "",
) -> Preview:
    """Ask a graph everything.

    `base` names what to compare with and `before` is its graph; without one, everything is created and `note` says why.
    """
    before = before or Graph(project=graph.project, stack=graph.stack, resources={})
    bill = price(graph)
    return Preview(
        graph=graph,
        findings=tuple(evaluate(graph, waivers)),
        needs=tuple(needs(graph)),
        bill=bill,
        base=base,
        difference=compare(before, graph) if base else None,
        change=change(price(before, asked(graph)), bill) if base else None,
        note=note,
    )
