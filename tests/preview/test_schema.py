"""The templates of outputs that only the cloud can give."""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

import pulumi

from preview import schema


class Size(Enum):
    SMALL = "small"


@pulumi.output_type
class Leaf:
    name: str
    count: int | None
    tags: Mapping[str, str]


@pulumi.output_type
class Node:
    leaf: Leaf
    leaves: Sequence[Leaf]
    names: Sequence[str]
    anything: Any
    size: Size
    sizes: Sequence[Size]
    nodes: Sequence["Node"]


class Thing(pulumi.CustomResource):
    @property
    @pulumi.getter
    def node(self) -> pulumi.Output[Node]: ...

    @property
    @pulumi.getter
    def maybe(self) -> pulumi.Output[str | None]: ...

    @property
    @pulumi.getter(name="alwaysThere")
    def always_there(self) -> pulumi.Output[bool]: ...


def test_templates(monkeypatch) -> None:
    monkeypatch.setattr(schema, "resource_class", lambda _: Thing)
    monkeypatch.setattr(schema, "_DEPTH", 2)
    leaf = {"name": None, "count": None, "tags": None}
    inner = {"leaf": leaf, "leaves": [leaf], "names": [None], "anything": None}
    # An enum answers to no text. What contains itself ends.
    deepest = {"names": [None], "anything": None}
    assert schema.outputs.__wrapped__("t") == {"node": {**inner, "nodes": [deepest]}, "alwaysThere": None}
