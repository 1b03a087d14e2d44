"""From the files of a stack to one checked `Environment`, or to one report of everything that is wrong with them."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from components.spec.checks import CHECKS, minimum
from components.spec.environment import Environment
from components.spec.explain import explain
from components.spec.problems import Problem, Source, SpecError, one_of
from components.spec.source import Layer, dotted, leaves, merge, read, secure
from components.spec.source import Path as Key
from components.spec.tiers import COMMON, TIERS

PROJECT = "ai-platform"
PLATFORM = Path("stacks/platform.yaml")


def stack_file(stack: str) -> Path:
    """Where the file of a stack lies, from the project's root."""
    return Path(f"stacks/Pulumi.{stack}.yaml")


def stacks(root: Path) -> list[str]:
    """The stacks that have a file, sorted."""
    return sorted(p.name[len("Pulumi.") : -len(".yaml")] for p in (root / "stacks").glob("Pulumi.*.yaml"))


def load(root: Path, stack: str, *, config: Mapping[str, str] | None = None, today: date | None = None) -> Environment:
    """Read, merge and check the description of `stack`.

    `config` is Pulumi's own configuration of the run, by full key, where there is one: it must say what the stack's file
    says. `today` decides which waivers have expired; by default it is the day in UTC. Raises `SpecError` with every
    problem of every file.
    """
    today = today or datetime.now(UTC).date()
    known = stacks(root)
    if stack not in known:
        missing = Problem(Source(str(stack_file(stack))), "", f"there is no stack {stack}", one_of(stack, known))
        raise SpecError(stack, [missing])

    file = str(stack_file(stack))
    platform, problems = _read(root, str(PLATFORM))
    own, more = _stack(root, stack)
    problems += more
    if any(
        not p.key for p in problems
    ):  # a file that is not there or does not parse would make all that follows untrue
        raise SpecError(stack, problems)
    if config is not None:
        problems += _differences(own, file, config)

    tier = str(own.values.get("tier", platform.values.get("tier")))
    origin = Source(f"{file} (default of the tier)")
    defaults = merge(Layer(origin, COMMON), Layer(origin, TIERS.get(tier, TIERS["prod"])))
    layer = merge(defaults, platform, own)
    if "name" in layer.values:
        problems.append(
            Problem(layer.source(("name",)), "name", "name is no key here", "the stack's name is its file's")
        )
    layer.values["name"] = stack
    environment, found = _validated(layer, defaults)
    problems += found
    problems += _neighbours(root, stack, own)
    if environment:
        problems += [p for check in CHECKS for p in check(environment, layer)]
        problems += minimum(environment, layer, today)
    if problems or environment is None:
        raise SpecError(stack, problems)
    return environment


def _read(root: Path, file: str) -> tuple[Layer, list[Problem]]:
    try:
        return read((root / file).read_text(encoding="utf-8"), file)
    except (OSError, UnicodeDecodeError) as error:
        wrong = f"cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}"
        return Layer(Source(file)), [Problem(Source(file), "", wrong, "a file of YAML")]


# What Pulumi itself keeps in a stack's file ("Stack settings file reference").
_PULUMI = ("config", "environment", "secretsprovider", "encryptedkey", "encryptionsalt")


def _stack(root: Path, stack: str) -> tuple[Layer, list[Problem]]:
    """The project's own keys of a stack's file, without their namespace."""
    raw, problems = _read(root, str(stack_file(stack)))
    for key in raw.values.keys() - set(_PULUMI):
        right = f"{PROJECT}:{key} under config, or {one_of(key, _PULUMI)}"
        problems.append(Problem(raw.source((key,)), key, f"{key} is no key of a stack's file", right))
    config = raw.values.get("config", {})
    if not isinstance(config, dict):
        problems.append(Problem(raw.source(("config",)), "config", "config is not a map", "a map of keys to values"))
        config = {}
    own = Layer(raw.source(("config",)))
    for full, value in config.items():
        namespace, _, key = full.rpartition(":")
        if namespace == PROJECT:
            own.values[key] = secure(value, (key,))
        elif not namespace:
            wrong = f"{full} has no namespace, so Pulumi would look for it elsewhere"
            problems.append(Problem(raw.source(("config", full)), full, wrong, f"{PROJECT}:{full}"))
    for path, source in raw.sources.items():
        match path:
            case ("config", str(full), *rest) if full.startswith(f"{PROJECT}:"):
                own.sources[(full[len(PROJECT) + 1 :], *rest)] = source
            case _:
                pass
    return own, problems


def _differences(own: Layer, file: str, config: Mapping[str, str]) -> Iterator[Problem]:
    """Pulumi was started with another file, or with a value that the stack's file does not hold."""
    said = {k.partition(":")[2]: v for k, v in config.items() if k.startswith(f"{PROJECT}:")}
    for key, text in said.items():
        value = own.values.get(key)
        if "[secret]" in leaves(value):
            continue
        try:
            given = json.loads(text)
        except ValueError:
            given = text
        if set(leaves(given)) != set(leaves(value)) and text.lower() != str(value).lower():
            wrong = "Pulumi's configuration and the stack's file do not say the same"
            yield Problem(Source(file), key, wrong, f"one value, in {file}; --config-file is not supported")


def _validated(layer: Layer, defaults: Layer) -> tuple[Environment | None, list[Problem]]:
    """The description, and what is wrong with its shape.

    Both, where the defaults can stand in for what is wrong: then the rest is checked as well, and nothing has to wait.
    """
    try:
        return Environment.model_validate(layer.values), []
    except ValidationError as error:
        problems, paths = explain(error, layer)
    pruned = merge(layer)
    for path in paths:
        _prune(pruned.values, path)
    try:
        return Environment.model_validate(merge(defaults, pruned).values), problems
    except ValidationError:
        return None, problems


def _prune(values: Any, path: Key) -> None:
    """Take out the value at `path`, or the whole list around it."""
    for part in path[:-1]:
        if not isinstance(values, dict) or part not in values:
            return
        if isinstance(values[part], list):
            del values[part]
            return
        values = values[part]
    if isinstance(values, dict):
        values.pop(path[-1], None)


def _neighbours(root: Path, stack: str, own: Layer) -> Iterator[Problem]:
    """No two environments share a range, an account or a project."""
    for other in stacks(root):
        if other == stack:
            continue
        layer, unreadable = _stack(root, other)
        if unreadable:
            continue  # its own report says so
        here, there = _cidr(own), _cidr(layer)
        if here and there and here.overlaps(there):
            wrong = f"{here} overlaps {there} of stack {other} ({layer.source(('network', 'cidr'))})"
            yield Problem(own.source(("network", "cidr")), "network.cidr", wrong, "a range that no other stack has")
        for path in (("cloud", "aws", "account"), ("cloud", "gcp", "project"), ("cloud", "gcp", "number")):
            value = _at(own, path)
            if value is not None and value == _at(layer, path):
                wrong = f"{value} is also that of stack {other} ({layer.source(path)})"
                yield Problem(own.source(path), dotted(path), wrong, f"one {path[-1]} for each environment")


def _at(layer: Layer, path: Key) -> Any:
    value: Any = layer.values
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _cidr(layer: Layer) -> IPv4Network | None:
    try:
        return IPv4Network(str(_at(layer, ("network", "cidr"))))
    except ValueError:
        return None
