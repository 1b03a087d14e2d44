"""Environments of the tests' own: a stack file changed and built, and what is looked up in their graphs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
import yaml

from components.platform import Platform
from components.spec.load import load
from policies.model import Graph, Resource
from preview.record import run
from tests.aws.building import ABOVE, foundation_only

PREFIX = "ai-platform:"


def build(
    project: Path,
    changes: Mapping[str, Any] | None = None,
    *,
    stack: str = "dev-gcp",
    cloud: Mapping[str, Any] | None = None,
    secrets: Mapping[str, Any] | None = None,
    whole: bool = False,
    **options: Any,
) -> Graph:
    """The graph of a stack whose file has these sections changed, and `cloud.gcp` these keys.

    `secrets` are sections of Pulumi's configuration that hold a secret, as they are once opened.
    Only the foundation is built unless the `whole` is asked for, or the changes are about what stands on it.
    """
    if not whole and not {*ABOVE, "registry"} & set(changes or {}):
        foundation_only(project, stack)
    file = project / "stacks" / f"Pulumi.{stack}.yaml"
    content = yaml.safe_load(file.read_text())
    content["config"][f"{PREFIX}cloud"]["gcp"] |= dict(cloud or {})
    for section, values in (changes or {}).items():
        content["config"][PREFIX + section] = {**content["config"].get(PREFIX + section, {}), **values}
    file.write_text(yaml.safe_dump(content))
    environment = load(project, stack)

    def program() -> None:
        for name, value in Platform(environment).outputs.items():
            pulumi.export(name, value)

    opened = {PREFIX + key: json.dumps(value) for key, value in (secrets or {}).items()}
    return run(program, stack=stack, config=opened, secrets=list(opened), **options)


def kind(graph: Graph, name: str) -> list[Resource]:
    """All resources of a class, by module and name: `storage/Bucket`."""
    module, _, cls = name.rpartition("/")
    return [r for r in graph.resources.values() if r.type.startswith(f"gcp:{module}") and r.type.endswith(f":{cls}")]


def one(graph: Graph, name: str, logical: str) -> Resource:
    """The resource of a class with this logical name."""
    found = [r for r in kind(graph, name) if r.name == logical]
    assert len(found) == 1, f"{logical}: {[r.name for r in kind(graph, name)]}"
    return found[0]


def before(graph: Graph, resource: Resource) -> set[str]:
    """Logical names of everything that has to be there before a resource, at any distance."""
    found: set[str] = set()
    todo = list(resource.dependencies)
    while todo:
        urn = todo.pop()
        if urn not in found:
            found.add(urn)
            todo += graph.resources[urn].dependencies
    return {graph.resources[urn].name for urn in found}


def said(resource: Resource) -> str:
    """All inputs as text."""
    return json.dumps(resource.inputs, default=str)
