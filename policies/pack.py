"""The rules as policies of the Pulumi CLI.

Two policies hold all rules: one that stops a deployment, one that advises. The CLI hands every resource to every policy
anew, so a policy for each rule would cost seconds; two share one evaluation.

What the CLI hands over is the state: outputs beside inputs, secrets opened, `retain_on_delete` and `deleted_with` left out, and,
in a preview, marks where a value is not known. `graph` turns that into the graph that the offline preview records, and names
what it cannot tell in `untold`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pulumi_policy import (
    EnforcementLevel,
    Policy,
    PolicyResource,
    ReportViolation,
    StackValidationArgs,
    StackValidationPolicy,
    proxy,
)
from pulumi_policy.deserialize import serialize_properties

from components.spec.load import load
from components.spec.problems import SpecError
from policies.model import Graph, Resource
from policies.registry import Finding, Waiver, evaluate

UNTOLD = frozenset({"deleted_with", "retain_on_delete", "secrets"})

_UNKNOWN = frozenset(
    {
        proxy.UNKNOWN_ARCHIVE_VALUE,
        proxy.UNKNOWN_ARRAY_VALUE,
        proxy.UNKNOWN_ASSET_VALUE,
        proxy.UNKNOWN_BOOLEAN_VALUE,
        proxy.UNKNOWN_NUMBER_VALUE,
        proxy.UNKNOWN_OBJECT_VALUE,
        proxy.UNKNOWN_STRING_VALUE,
    }
)


def policies(root: Path) -> list[Policy]:
    """The pack's policies, for the project in `root`."""
    evaluation = _Evaluation(root)

    def mandatory(args: StackValidationArgs, report: ReportViolation) -> None:
        findings = evaluation.of(args)
        if evaluation.problem:
            report(f"No waiver holds, for the stack's description cannot be read:\n{evaluation.problem}", None)
        for finding in findings:
            if finding.blocking:
                report(_message(finding), finding.resource or None)

    def advisory(args: StackValidationArgs, report: ReportViolation) -> None:
        for finding in evaluation.of(args):
            if not finding.blocking:
                report(_message(finding), finding.resource or None)

    return [
        StackValidationPolicy(
            name="mandatory",
            description="Rules that stop a deployment.",
            validate=mandatory,
            enforcement_level=EnforcementLevel.MANDATORY,
        ),
        StackValidationPolicy(
            name="advisory",
            description="Rules that advise, and what is excused.",
            validate=advisory,
            enforcement_level=EnforcementLevel.ADVISORY,
        ),
    ]


def graph(resources: Sequence[PolicyResource]) -> Graph:
    """The graph of what the CLI hands over."""
    found = {resource.urn: _resource(resource) for resource in sorted(resources, key=lambda r: r.urn)}
    stack, project = next(iter(found), "urn:pulumi:::").split("::")[:2]
    return Graph(project=project, stack=stack.removeprefix("urn:pulumi:"), resources=found, untold=UNTOLD)


def _resource(given: PolicyResource) -> Resource:
    comes_from = {
        name: tuple(sorted(resource.urn for resource in resources))
        for name, resources in given.property_dependencies.items()
    }
    inputs = {
        name: _plain(value, "".join(f"${{{urn}#}}" for urn in comes_from.get(name, ())) or f"${{{given.urn}#{name}}}")
        for name, value in serialize_properties(given.props).items()
        if not name.startswith("__")  # the provider's own notes
    }
    return Resource(
        urn=given.urn,
        type=given.resource_type,
        name=given.name,
        parent=given.parent.urn if given.parent else "",
        provider=given.provider.urn if given.provider else "",
        inputs=inputs,
        dependencies=tuple(sorted(resource.urn for resource in given.dependencies)),
        property_dependencies={name: urns for name, urns in comes_from.items() if urns},
        protect=given.opts.protect,
        ignore_changes=tuple(given.opts.ignore_changes),
        aliases=tuple(given.opts.aliases),
        secret_outputs=tuple(given.opts.additional_secret_outputs),
    )


def _plain(value: Any, unknown: str) -> Any:
    """A value with `unknown` in place of the marks for what is not known; the wire's only number is a float."""
    if isinstance(value, str):
        return unknown if value in _UNKNOWN else value
    if isinstance(value, Mapping):
        return {key: _plain(item, unknown) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, unknown) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


@dataclass
class _Evaluation:
    """The last evaluation: the CLI asks each policy in turn for the same stack."""

    root: Path
    graph: Graph | None = None
    findings: list[Finding] = field(default_factory=list[Finding])
    problem: str = ""
    """Why the stack's description cannot be read, where it cannot."""

    def of(self, args: StackValidationArgs) -> list[Finding]:
        asked = graph(args.resources)
        if asked != self.graph:
            self.findings = evaluate(asked, self._waivers(asked.stack))
            self.graph = asked
        return self.findings

    def _waivers(self, stack: str) -> Sequence[Waiver]:
        self.problem = ""
        try:
            return load(self.root, stack).waivers
        except SpecError as error:
            self.problem = error.report()
            return ()


def _message(finding: Finding) -> str:
    excused = ""
    if finding.waiver:
        waiver = finding.waiver
        excused = f"\nExcused until {waiver.expires} by {waiver.owner}: {waiver.reason}"
    return f"{finding.title} ({finding.rule}, {finding.severity}): {finding.message}\n{finding.remedy}{excused}"
