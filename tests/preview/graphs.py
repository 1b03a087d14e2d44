"""Graphs built by hand, for what needs no program."""

from typing import Any

from policies.model import Graph, Resource
from preview.values import reference

AWS = "pulumi:providers:aws"
GCP = "pulumi:providers:gcp"


def urn(type_: str, name: str) -> str:
    return f"urn:pulumi:dev::ai-platform::{type_}::{name}"


def ref(type_: str, name: str, prop: str = "id") -> str:
    return reference(urn(type_, name), prop)


def make(type_: str, name: str, /, *, inputs: dict[str, Any] | None = None, **fields: Any) -> Resource:
    fields.setdefault("custom", not type_.startswith("ai-platform:"))
    return Resource(urn=fields.pop("urn", urn(type_, name)), type=type_, name=name, inputs=inputs or {}, **fields)


def graph(*resources: Resource, stack: str = "dev", outputs: dict[str, Any] | None = None) -> Graph:
    found = {r.urn: r for r in sorted(resources, key=lambda r: r.urn)}
    return Graph(project="ai-platform", stack=stack, resources=found, outputs=outputs or {})
