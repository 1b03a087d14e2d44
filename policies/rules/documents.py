"""That policy documents are documents: rules on what they say can only judge what can be read."""

import json
from typing import Any

from policies.documents import PLACES, documents
from policies.model import Graph, Resource
from policies.rule import Found, Violation, resource_rule

# What `str()` of a pulumi.Output reads, in part (pulumi/output.py).
_OUTPUT_AS_TEXT = "Calling __str__ on an Output"


@resource_rule(
    "document-readable",
    title="Every policy document can be read and judged",
    types=tuple(PLACES),
    severity="high",
    why="A document that no rule can read is one that no rule has judged.",
    remedy="Build it from plain dictionaries with components.core.iam, and turn the whole into JSON.",
    controls={"soc2": ("CC8.1",), "iso-27001": ("A.8.9",)},
)
def document_readable(resource: Resource, graph: Graph) -> Found:
    """A document that waits for an output is named, so that no other rule passes in silence."""
    for document in documents(resource, graph):
        if document.unknown:
            message = f"{document.path} is not known before the deployment; the offline preview judges it"
            yield Violation(message, enforcement="advisory")
        elif document.statements is None:
            yield f"{document.path} is no policy document"


@resource_rule(
    "document-no-null",
    title="No policy document has a hole where an output was not known",
    types=tuple(PLACES),
    severity="high",
    why="A null in a document is refused by the service, or, in a condition, matches nothing and locks everybody out.",
    remedy="Build the document inside pulumi.Output.json_dumps, from outputs that resolve.",
    controls={"iso-27001": ("A.8.9",)},
)
def document_no_null(resource: Resource, graph: Graph) -> Found:
    """A null at any depth, or the text of an output that was turned into text too early."""
    for document in documents(resource, graph):
        text = document.value if isinstance(document.value, str) else json.dumps(document.value)
        if _OUTPUT_AS_TEXT in text:
            yield f"{document.path} holds the text of an unresolved output"
        try:
            value = json.loads(text)
        except ValueError:
            continue
        for path in _nulls(value, document.path):
            yield f"{path} is null"


def _nulls(value: Any, path: str) -> list[str]:
    if value is None:
        return [path]
    if isinstance(value, dict):
        return [found for key, item in value.items() for found in _nulls(item, f"{path}.{key}")]
    if isinstance(value, list):
        return [found for i, item in enumerate(value) for found in _nulls(item, f"{path}.{i}")]
    return []
