"""What an SDK knows of its own resources: the names of their inputs, and which outputs only the cloud can give."""

import sys
from collections.abc import Mapping, Sequence
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pulumi import _types  # pyright: ignore[reportPrivateUsage]  the only place that knows the SDK's own tables
from pulumi.runtime import rpc

LEAF = None
"""A scalar in a template."""

Template = dict[str, Any] | list[Any] | None
"""What an output looks like: a map of names, a list of one element, or `LEAF`."""

_DEPTH = 6
"""How deep a structure of unknown outputs is built; some types contain themselves."""


@cache
def resource_class(type_: str) -> type | None:
    """The SDK's class of a type token; None for what no imported SDK declares."""
    package, _, rest = type_.partition(":")
    provider = rest.removeprefix("providers:")
    if package == "pulumi" and provider != rest:
        info = getattr(rpc.get_resource_package(provider, ""), "pkg_info", {})
        name = info.get("class")
    else:
        info = getattr(rpc.get_resource_module(package, rest.rpartition(":")[0], ""), "mod_info", {})
        name = info.get("classes", {}).get(type_)
    found = getattr(sys.modules.get(info.get("fqn", "")), name or "", None)
    return found if isinstance(found, type) else None


@cache
def arguments(type_: str) -> type | None:
    """The SDK's class of a resource's arguments; None where nothing is known."""
    cls = resource_class(type_)
    if cls is None:
        return None
    # `InitArgs` where the plain name is taken by a nested type, which then stands in the same module.
    for name in (f"{cls.__name__}InitArgs", f"{cls.__name__}Args"):
        found = getattr(sys.modules[cls.__module__], name, None)
        if isinstance(found, type) and found.__module__ == cls.__module__:
            return found
    return None


@cache
def inputs(type_: str) -> Mapping[str, Any] | None:
    """Property name → type of a resource's inputs; None where nothing is known."""
    found = arguments(type_)
    return _types.input_type_types(found) if found else None


@cache
def fields(type_: Any) -> Mapping[str, Any] | None:
    """Property name → type where `type_` is one of the SDK's input types; else None."""
    type_ = _types.unwrap_type(type_)
    return _types.input_type_types(type_) if isinstance(type_, type) and _types.is_input_type(type_) else None


@cache
def element(type_: Any) -> Any:
    """The type of the items of a list, or of the values of a map; None where it has none."""
    type_ = _types.unwrap_type(type_)
    inner = get_args(type_)
    return inner[-1] if inner and get_origin(type_) in _CONTAINERS else None


_CONTAINERS = {list, dict, Sequence, Mapping}


@cache
def outputs(type_: str) -> Mapping[str, Template]:
    """Template of every output that always has a value once the resource exists: those that are not `Optional`."""
    cls = resource_class(type_)
    if cls is None:
        return {}
    # The SDK's own table of hints, which it has filled already: to evaluate them again would double the cost.
    hints = _types._raw_return_hints(cls)  # pyright: ignore[reportPrivateUsage]
    found: dict[str, Template] = {}
    for name, hint in hints.items():
        if name not in {"id", "urn"} and not _optional(hint):
            _add(found, name, _types.unwrap_type(hint), _DEPTH)
    return found


def _optional(hint: Any) -> bool:
    """Whether `Output[Optional[T]]`: absent unless an input gives it."""
    inner = get_args(hint)
    return bool(inner) and get_origin(inner[0]) in {Union, UnionType} and type(None) in get_args(inner[0])


def _add(found: dict[str, Template], name: str, type_: Any, depth: int) -> None:
    type_ = _types.unwrap_type(type_)
    origin = get_origin(type_)
    if isinstance(type_, type) and _types.is_output_type(type_):
        if depth:
            inner: dict[str, Template] = {}
            for key, value in _types.output_type_types(type_).items():
                _add(inner, key, value, depth - 1)
            found[name] = inner
    elif origin in {list, Sequence}:
        item: dict[str, Template] = {}
        _add(item, "", get_args(type_)[0], depth)
        if item:
            found[name] = [item[""]]
    elif type_ in {str, int, float, bool, Any} or origin in {dict, Mapping, Union}:
        # A number, a flag or a map is answered as text too: a visible reference where it is only handed on, and a loud
        # TypeError where it is reckoned with, instead of a silent None.
        found[name] = LEAF
