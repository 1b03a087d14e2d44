"""A small interpreter of Workflows: enough of "Syntax overview" to run what the program writes, against a cloud that is made up.

Strict where Workflows is: a variable that nobody has set, a step that is not there, two steps of one name and an unknown key are
errors. Loops have a scope of their own for their variables; a routine sees its parameters alone.
"""

import json
import re
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

KEYS = {
    "assign",
    "call",
    "args",
    "result",
    "switch",
    "next",
    "return",
    "raise",
    "try",
    "retry",
    "except",
    "for",
    "steps",
}
CASE = {"condition", "next", "return", "steps"}


class Raised(Exception):  # noqa: N818 - as Workflows calls it
    """What a step raised: a text, or a map."""

    def __init__(self, value: Any) -> None:
        super().__init__(str(value))
        self.value = value


class Stopped(Exception):  # noqa: N818
    """An execution that was broken off."""


class _Return(Exception):  # noqa: N818
    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value


def failed(code: int) -> Raised:
    """What a call raises that the cloud answers with an error."""
    return Raised({"code": code, "message": f"HTTP server responded with error code {code}", "tags": ["HttpError"]})


class _Break(Exception):  # noqa: N818
    """Ends a loop."""


class _Map(dict[str, Any]):
    def __getattr__(self, name: str) -> Any:
        try:
            return wrapped(self[name])
        except KeyError:
            raise Raised({"tags": ["KeyError"], "message": f"key not found: {name}"}) from None


def wrapped(value: Any) -> Any:
    """Values whose keys are read with a dot."""
    return _Map(value) if isinstance(value, dict) else value


def _get(found: Any, keys: Any) -> Any:
    for key in keys if isinstance(keys, list) else [keys]:
        if found is None:
            return None
        if not isinstance(found, dict):
            raise Raised({"tags": ["TypeError"], "message": "map.get of no map"})
        found = found.get(key)
    return wrapped(found)


def _default(value: Any, other: Any) -> Any:
    return other if value is None else value


class Interpreter:
    """Runs a workflow. `call` is what it reaches outside: name and arguments to a result."""

    def __init__(self, source: dict[str, Any], call: Callable[[str, dict[str, Any]], Any], execution: str) -> None:
        """`execution` is its id."""
        self.source, self._call, self._execution = json.loads(json.dumps(source)), call, execution
        for routine in self.source.values():
            names = list(_names(routine["steps"]))
            assert len(names) == len(set(names)), f"two steps of one name: {sorted(names)}"

    def run(self, argument: Any = None) -> Any:
        """What main returns."""
        params = self.source["main"].get("params", [])
        return self._routine("main", {params[0]: argument} if params else {})

    def _routine(self, name: str, args: dict[str, Any]) -> Any:
        routine = self.source[name]
        assert set(args) == set(routine.get("params", [])), (name, sorted(args))
        assert len(json.dumps(self.source).encode()) < 128 * 1024, "larger than Workflows takes"
        try:
            self._steps(routine["steps"], dict(args))
        except _Return as done:
            return done.value
        return None

    def _steps(self, steps: list[dict[str, Any]], scope: dict[str, Any]) -> None:
        order = [next(iter(step)) for step in steps]
        at = 0
        while at < len(steps):
            ((name, body),) = steps[at].items()
            assert set(body) <= KEYS, (name, sorted(body))
            follows = self._step(name, body, scope)
            if follows == "break":
                raise _Break
            assert follows is None or follows in order, f"{name}: no step {follows}"
            at = order.index(follows) if follows else at + 1

    def _step(  # noqa: PLR0912 - one kind of step each
        self, name: str, body: dict[str, Any], scope: dict[str, Any]
    ) -> str | None:
        if "assign" in body:
            for entry in body["assign"]:
                ((variable, value),) = entry.items()
                self._assign(variable, self._value(value, scope), scope)
        elif "switch" in body:
            for case in body["switch"]:
                assert set(case) <= CASE, (name, sorted(case))
                condition = self._value(case["condition"], scope)
                assert isinstance(condition, bool), f"{name}: {case['condition']} is {condition!r}"
                if condition:
                    if "return" in case:
                        raise _Return(self._value(case["return"], scope))
                    self._steps(case.get("steps", []), scope)
                    if "next" in case:
                        return case["next"]
                    if "steps" in case:
                        return None
        elif "try" in body:
            self._try(body, scope)
        elif "for" in body:
            self._for(body["for"], scope)
        elif "call" in body:
            found = self._called(body["call"], self._value(body.get("args", {}), scope))
            if "result" in body:
                scope[body["result"]] = found
        elif "steps" in body:
            self._steps(body["steps"], scope)
        if "return" in body:
            raise _Return(self._value(body["return"], scope))
        if "raise" in body:
            raise Raised(self._value(body["raise"], scope))
        return body.get("next")

    def _try(self, body: dict[str, Any], scope: dict[str, Any]) -> None:
        assert "retry" in body or "except" in body
        attempts = 5 if body.get("retry") == "${http.default_retry}" else 1
        for left in reversed(range(attempts)):
            try:
                self._step("try", body["try"], scope)
            except Raised as error:
                code = error.value.get("code") if isinstance(error.value, dict) else None
                if left and code in {429, 502, 503, 504}:
                    continue
                if "except" not in body:
                    raise
                handler = body["except"]
                inner = _Scope(scope, {handler["as"]: error.value})
                self._steps(handler["steps"], inner)
            return

    def _for(self, loop: dict[str, Any], scope: dict[str, Any]) -> None:
        if "range" in loop:
            first, last = (self._value(bound, scope) for bound in loop["range"])
            values: Any = range(first, last + 1)
        else:
            values = self._value(loop["in"], scope)
            assert isinstance(values, list), loop["in"]
        for value in values:
            try:
                self._steps(loop["steps"], _Scope(scope, {loop["value"]: value}))
            except _Break:
                return

    def _called(self, name: str, args: dict[str, Any]) -> Any:
        if name in self.source:
            return self._routine(name, args)
        return self._call(name, json.loads(json.dumps(args)))

    def _assign(self, variable: str, value: Any, scope: dict[str, Any]) -> None:
        indexed = re.fullmatch(r"(\w+)\[(.+)\]", variable)
        if indexed:
            scope[indexed[1]][self._expression(indexed[2], scope)] = value
        else:
            assert re.fullmatch(r"\w+", variable), variable
            scope[variable] = value

    def _value(self, value: Any, scope: dict[str, Any]) -> Any:
        if isinstance(value, dict):
            return {key: self._value(inner, scope) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._value(inner, scope) for inner in value]
        if isinstance(value, str) and value.startswith("${"):
            assert value.endswith("}"), value
            return self._expression(value[2:-1], scope)
        return value

    def _expression(self, text: str, scope: dict[str, Any]) -> Any:
        known: dict[str, Any] = {
            "true": True, "false": False, "null": None, "default": _default, "len": len, "string": str, "int": int,
            "keys": sorted,
            "map": SimpleNamespace(get=_get),
            "text": SimpleNamespace(
                url_encode=lambda value: quote(value, safe=""),
                replace_all=lambda value, old, new: value.replace(old, new),
            ),
            "list": SimpleNamespace(concat=lambda found, item: [*found, item]),
            "json": SimpleNamespace(encode_to_string=json.dumps, decode=json.loads),
            "sys": SimpleNamespace(get_env=lambda _: self._execution),
        }  # fmt: skip
        variables = {key: wrapped(scope[key]) for key in scope}
        try:
            return eval(text, {"__builtins__": {}, **known, **variables})  # noqa: S307 - our own source
        except NameError as error:
            raise AssertionError(f"{text}: {error}") from None


class _Scope(dict[str, Any]):
    """Variables of a block: its own, and those of what is around it, which it may change."""

    def __init__(self, around: dict[str, Any], own: dict[str, Any]) -> None:
        super().__init__({**around, **own})
        self._around = around

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        if key in self._around:
            self._around[key] = value


def _names(steps: list[dict[str, Any]]) -> Iterator[str]:
    for step in steps:
        ((name, body),) = step.items()
        yield name
        yield from _within(body)


def _within(body: dict[str, Any]) -> Iterator[str]:
    yield from _names(body.get("steps", []))
    for case in body.get("switch", []):
        yield from _names(case.get("steps", []))
    for key in ("try", "except", "for"):
        if key in body:
            yield from _within(body[key])
