"""The graph that the policies and the preview look at: resources, and what leads from one to another.

It knows no cloud and no Pulumi. The offline preview fills it from a recorded program, the policy pack from what the Pulumi
engine hands over; a rule cannot tell the two apart.

A value that only the cloud will know is text that holds a reference, ``${urn#property}``, alone or inside a longer text
(an ARN in a policy document). A secret is the text ``[secret]``.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

SECRET = "[secret]"  # noqa: S105 - what stands for one
IN_CLEAR = "[secret in clear]"
"""What stands for one that the program took out of Pulumi's keeping."""
REFERENCE = re.compile(r"\$\{(urn:pulumi:[^#}]+)#([^}]*)\}")


def is_unknown(value: Any) -> bool:
    """Whether a value is made of references and nothing else: what only the cloud will know."""
    return isinstance(value, str) and "${" in value and not REFERENCE.sub("", value).strip()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a resource was declared: a file relative to the project's root, and a line from 1."""

    file: str
    line: int


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One resource as registered. Property names are the provider's own (camelCase)."""

    urn: str
    type: str
    name: str
    parent: str = ""
    provider: str = ""
    """URN of the explicit provider; empty for components and providers."""
    custom: bool = True
    inputs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    dependencies: tuple[str, ...] = ()
    """URNs of everything that has to exist first, sorted; contains all of `property_dependencies`."""
    property_dependencies: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    protect: bool = False
    retain_on_delete: bool = False
    deleted_with: str = ""
    """URN of the resource whose end is this one's too: a destroy does not ask for it apart."""
    ignore_changes: tuple[str, ...] = ()
    replace_on_changes: tuple[str, ...] = ()
    """Inputs of which the program itself says that a new value makes another resource."""
    aliases: tuple[str, ...] = ()
    secret_outputs: tuple[str, ...] = ()
    place: Place | None = None

    def get(self, path: str, default: Any = None) -> Any:
        """The input at a dotted path (`rule.0.status`); a list index is a number; `default` where nothing stands."""
        value: Any = self.inputs
        for part in path.split("."):
            if isinstance(value, Mapping) and part in value:
                value = value[part]
            elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
                value = value[int(part)]
            else:
                return default
        return default if value is None else value

    def links(self, property_: str) -> frozenset[str]:
        """URNs that a top-level input comes from, whether or not its value shows it.

        A name that the program wrote down itself is plain text, even where it came from a resource's output.
        """
        named = {urn for urn, _ in _references(self.inputs.get(property_))}
        return frozenset(named.union(self.property_dependencies.get(property_, ())))

    @cached_property
    def references(self) -> frozenset[tuple[str, str]]:
        """Every (urn, property) that the inputs refer to, at any depth, also inside a text."""
        return frozenset(_references(self.inputs))


@dataclass(frozen=True, kw_only=True)
class Graph:
    """All resources of one stack, by URN in sorted order, with the stack's outputs."""

    project: str
    stack: str
    resources: Mapping[str, Resource]
    outputs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    untold: frozenset[str] = frozenset()
    """What the source of this graph does not tell: `retain_on_delete`, `deleted_with`, or which values are `secrets`."""

    @cached_property
    def _typed(self) -> dict[str, list[Resource]]:
        found: dict[str, list[Resource]] = {}
        for resource in self.resources.values():
            found.setdefault(resource.type, []).append(resource)
        return found

    def of_type(self, *types: str) -> list[Resource]:
        """The resources of any of these types; a type that ends in `/` or `:` is a prefix."""
        if len(types) == 1 and types[0][-1] not in "/:":
            return list(self._typed.get(types[0], ()))
        exact = {t for t in types if t[-1] not in "/:"}
        prefixes = tuple(t for t in types if t[-1] in "/:")
        chosen = {t for t in self._typed if t in exact or (prefixes and t.startswith(prefixes))}
        return sorted((r for t in chosen for r in self._typed[t]), key=lambda r: r.urn)

    @cached_property
    def _values(self) -> dict[tuple[str, str], dict[str, list[Resource]]]:
        return {}

    def where(self, type_: str, path: str, value: str) -> list[Resource]:
        """The resources of a type that have this text at a dotted path, in order of URN."""
        index = self._values.get((type_, path))
        if index is None:
            index = self._values[type_, path] = {}
            for resource in self._typed.get(type_, ()):
                index.setdefault(str(resource.get(path, "")), []).append(resource)
        return index.get(value, [])

    @cached_property
    def _referring(self) -> dict[str, list[Resource]]:
        found: dict[str, list[Resource]] = {}
        for resource in self.resources.values():
            for urn in sorted({urn for urn, _ in resource.references}):
                found.setdefault(urn, []).append(resource)
        return found

    def referring(self, urn: str, *types: str) -> list[Resource]:
        """The resources (of these types, where any is given) whose inputs refer to the resource `urn`."""
        return [r for r in self._referring.get(urn, []) if not types or r.type in types]

    @cached_property
    def _linked(self) -> dict[tuple[str, str, str], list[Resource]]:
        found: dict[tuple[str, str, str], list[Resource]] = {}
        for resource in self.resources.values():
            for property_ in resource.inputs:
                for urn in sorted(resource.links(property_)):
                    found.setdefault((urn, resource.type, property_), []).append(resource)
        return found

    def linked(self, urn: str, type_: str, property_: str) -> list[Resource]:
        """The resources of a type whose top-level input `property_` comes from the resource `urn`."""
        return self._linked.get((urn, type_, property_), [])

    @cached_property
    def _children(self) -> dict[str, list[Resource]]:
        found: dict[str, list[Resource]] = {}
        for resource in self.resources.values():
            found.setdefault(resource.parent, []).append(resource)
        return found

    def children(self, urn: str) -> list[Resource]:
        """The direct children of a resource, in order of URN; of the stack itself where `urn` is empty."""
        return self._children.get(urn, [])


def texts(value: Any) -> Iterator[str]:
    """Every text in a value, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


def _references(value: Any) -> Iterator[tuple[str, str]]:
    for text in texts(value):
        if "${" in text:
            for match in REFERENCE.finditer(text):
                yield match[1], match[2]
