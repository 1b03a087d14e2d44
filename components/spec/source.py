"""Read YAML so that every value remembers its line, and merge layers of it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from components.spec.problems import Problem, Source

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Secure:
    """A value that stands encrypted in a stack's file; only Pulumi's configuration can open it.

    `path` leads to it from the project's configuration: `("operations", "webhook")`.
    """

    path: Path

    def __repr__(self) -> str:
        return "[secret]"


@dataclass(slots=True)
class Layer:
    """A tree of values, and the source of each by its path; `origin` is that of what has none of its own."""

    origin: Source
    values: dict[str, Any] = field(default_factory=dict[str, Any])
    sources: dict[Path, Source] = field(default_factory=dict[Path, Source])

    def source(self, path: Path) -> Source:
        """Where the value at `path` was written; of the nearest one around it when it was not written at all."""
        while path and path not in self.sources:
            path = path[:-1]
        return self.sources.get(path, self.origin)

    def problem(self, path: Path, wrong: str, right: str) -> Problem:
        """A problem of the value at `path`."""
        return Problem(self.source(path), dotted(path), wrong, right)


class Loader(yaml.CSafeLoader):
    """YAML 1.2's plain types: `on` and `no` are words, `12:30` is text, a date stays text."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML looks it up on the class


_PLAIN = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(0|[1-9][0-9_]*)", "-+0123456789"),
    ("float", r"[-+]?([0-9][0-9_]*)?(\.[0-9]+([eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)", "-+.0123456789"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", "<<", "<"),
)
for _kind, _pattern, _first in _PLAIN:
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(f"^(?:{_pattern})$"), list(_first))


def read(text: str, file: str) -> tuple[Layer, list[Problem]]:
    """Parse YAML text; `file` is how problems name it. What does not parse, or stands twice, is a problem."""
    problems: list[Problem] = []
    layer = Layer(Source(file, 1))
    try:
        loader = Loader(text)
        root = loader.get_single_node()
        value = _value(loader, root, (), file, layer, problems) if root else {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or str(error)
        problems.append(Problem(Source(file, mark.line + 1 if mark else 1), "", f"not YAML: {what}", "valid YAML"))
        return layer, problems
    if isinstance(value, dict):
        layer.values = value
    else:
        problems.append(Problem(Source(file, 1), "", f"a {type(value).__name__} at the top", "a map of keys to values"))
    return layer, problems


def _value(loader: Any, node: yaml.Node, path: Path, file: str, layer: Layer, problems: list[Problem]) -> Any:
    layer.sources.setdefault(path, Source(file, node.start_mark.line + 1))
    if isinstance(node, yaml.SequenceNode):
        return [_value(loader, n, (*path, i), file, layer, problems) for i, n in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        return loader.construct_object(node)
    seen: dict[str, int] = {}
    found: dict[str, Any] = {}
    for key_node, _ in node.value:
        key, line = str(key_node.value), key_node.start_mark.line + 1
        if key in seen and key != "<<":
            wrong = f"stands twice: here and in line {seen[key]}"
            problems.append(Problem(Source(file, line), dotted((*path, key)), wrong, "each key once"))
        seen.setdefault(key, line)
    loader.flatten_mapping(node)
    for key_node, value_node in node.value:
        key = str(key_node.value)
        layer.sources[(*path, key)] = Source(file, key_node.start_mark.line + 1)
        found[key] = _value(loader, value_node, (*path, key), file, layer, problems)
    return found


def merge(*layers: Layer) -> Layer:
    """Later layers win: maps merge by key, lists and scalars replace, `null` removes. The last is the origin of the whole."""
    merged = Layer(layers[-1].origin)
    for layer in layers:
        merged.values = _merged(merged.sources, layer, (), merged.values, layer.values)
    return merged


def _merged(
    sources: dict[Path, Source], layer: Layer, path: Path, old: Mapping[str, Any], new: Mapping[str, Any]
) -> dict[str, Any]:
    result = dict(old)
    for key, value in new.items():
        here, before = (*path, key), result.get(key)
        if isinstance(before, dict | list) and not (isinstance(before, dict) and isinstance(value, dict)):
            for place in [p for p in sources if p[: len(here)] == here]:  # what it replaces is no longer there
                del sources[place]
        if value is None:
            result.pop(key, None)
            sources.pop(here, None)
        elif isinstance(value, dict):
            _place(sources, layer, here)
            result[key] = _merged(sources, layer, here, before if isinstance(before, dict) else {}, value)
        else:
            _place(sources, layer, here, value)
            result[key] = value
    return result


def _place(sources: dict[Path, Source], layer: Layer, here: Path, value: Any = None) -> None:
    sources[here] = layer.source(here)
    if isinstance(value, list | dict):
        for part, item in enumerate(value) if isinstance(value, list) else value.items():
            _place(sources, layer, (*here, part), item)


def dotted(path: Path) -> str:
    """A path as a person writes it: `data.zones.raw`, `policy.waivers[0].owner`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def secure(value: Any, path: Path = ()) -> Any:
    """The same tree, each `{secure: …}` in it turned into a `Secure`."""
    if isinstance(value, dict):
        if set(value) == {"secure"}:
            return Secure(path)
        return {key: secure(item, (*path, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [secure(item, (*path, i)) for i, item in enumerate(value)]
    return value


def leaves(value: Any) -> Iterator[str]:
    """Every scalar of a tree as text, in one form for what readers of YAML write differently: case, `1_000`, dates."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from leaves(item)
    else:
        yield str(value).lower().replace("_", "").removesuffix("t00:00:00z")
