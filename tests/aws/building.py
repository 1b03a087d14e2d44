"""Environments of the tests' own: a stack file changed and built, and what is looked up in their graphs."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from components.platform import Platform
from components.spec.load import load
from policies.model import Graph, Resource
from preview.record import run

PREFIX = "ai-platform:"
# Sections that stand on the foundation: it is the same without them, and built in half the time.
ABOVE = ("training", "serving", "retrieval")


def build(
    project: Path,
    changes: Mapping[str, Any] | None = None,
    *,
    stack: str = "dev",
    config: Any = None,
    whole: bool = False,
    **options: Any,
) -> Graph:
    """The graph of a stack whose file has these sections changed: `{"network": {"nat": "none"}}`.

    Only the foundation is built unless the `whole` is asked for, or the changes are about what stands on it.
    """
    if not whole and not {*ABOVE, "registry"} & set(changes or {}):
        foundation_only(project, stack)
    file = project / "stacks" / f"Pulumi.{stack}.yaml"
    content = yaml.safe_load(file.read_text())
    for section, values in (changes or {}).items():
        before = content["config"].get(PREFIX + section)
        both = isinstance(before, dict) and isinstance(values, dict)
        content["config"][PREFIX + section] = {**before, **values} if both else values
    file.write_text(yaml.safe_dump(content))
    environment = load(project, stack)

    def program() -> None:
        Platform(environment)

    secret = {PREFIX + key: json.dumps(value) for key, value in (config or {}).items()}
    return run(program, stack=stack, config=secret, secrets=list(secret), **options)


def foundation_only(project: Path, stack: str) -> None:
    """Take what stands on the foundation, and the models, out of a copy of the stack files."""
    for name in ("platform.yaml", f"Pulumi.{stack}.yaml"):
        file = project / "stacks" / name
        content = yaml.safe_load(file.read_text())
        sections, prefix = (content["config"], PREFIX) if "config" in content else (content, "")
        for section in ABOVE:
            sections.pop(prefix + section, None)
        sections.get(f"{prefix}registry", {}).pop("models", None)
        sections.get(f"{prefix}data", {}).pop("file_systems", None)
        file.write_text(yaml.safe_dump(content))


def kind(graph: Graph, name: str) -> list[Resource]:
    """All resources of a class: `Bucket`, not `BucketPolicy`."""
    return [r for r in graph.resources.values() if r.type.startswith("aws:") and r.type.endswith(f":{name}")]


def one(graph: Graph, name: str, logical: str) -> Resource:
    """The resource of a class with this logical name."""
    found = [r for r in kind(graph, name) if r.name == logical]
    assert len(found) == 1, f"{logical}: {[r.name for r in kind(graph, name)]}"
    return found[0]


def region(graph: Graph, resource: Resource) -> str:
    """The region that a resource is made in: that of its provider."""
    return graph.resources[resource.provider].get("region")


def statements(resource: Resource, path: str = "policy") -> list[dict[str, Any]]:
    """The statements of a policy document."""
    return json.loads(resource.get(path))["Statement"]


def by_sid(resource: Resource, path: str = "policy") -> dict[str, dict[str, Any]]:
    """The statements of a policy document by their id."""
    return {s["Sid"]: s for s in statements(resource, path) if "Sid" in s}


def documents(graph: Graph) -> Iterator[tuple[Resource, str, list[dict[str, Any]]]]:
    """Every policy document of a graph: resource, property, statements."""
    for resource in graph.resources.values():
        for path in ("policy", "assumeRolePolicy"):
            text = resource.inputs.get(path)
            # What ECR calls a policy of a life cycle is none.
            if resource.type.startswith("aws:") and isinstance(text, str) and '"Statement"' in text:
                yield resource, path, json.loads(text)["Statement"]


def upstream(graph: Graph, resource: Resource) -> set[str]:
    """URNs of everything that has to exist before a resource, directly or not."""
    seen: set[str] = set()
    left = [resource.urn]
    while left:
        for urn in graph.resources[left.pop()].dependencies:
            if urn not in seen:
                seen.add(urn)
                left.append(urn)
    return seen


def waits_for(graph: Graph, resource: Resource, *others: Resource) -> bool:
    """Whether a resource is made after all the others, and so deleted before them."""
    return {other.urn for other in others} <= upstream(graph, resource)
