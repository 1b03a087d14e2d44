"""Coverage of our own code alone: to trace what the SDK does between two pieces of it would double the time of every build."""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import pulumi

from preview import record

WHOLE: tuple[tuple[Any, str, Any], ...] = (
    (asyncio, "new_event_loop", asyncio.new_event_loop),
    (pulumi.Output, "apply", pulumi.Output.apply),
    (record, "_run", record._run),
    (record._Inline, "submit", record._Inline.submit),
)
"""What is replaced, as it was: for the tests of the recorder itself, which is what runs in between."""

_apply, _run = pulumi.Output.apply, record._run
_tracer: Any = None


class Loop(asyncio.SelectorEventLoop):
    """An event loop, in which the SDK works: it is not traced."""

    def run_until_complete(self, future: Any) -> Any:
        global _tracer  # noqa: PLW0603
        before, _tracer = _tracer, sys.gettrace()
        sys.settrace(None)
        try:
            return super().run_until_complete(future)
        finally:
            sys.settrace(_tracer)
            _tracer = before


def traced(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, traced although the loop that calls it is not."""

    def call(*args: Any, **kwargs: Any) -> Any:
        if _tracer is None or sys.gettrace() is not None:
            return function(*args, **kwargs)
        sys.settrace(_tracer)
        try:
            return function(*args, **kwargs)
        finally:
            sys.settrace(None)

    return call


def apply(output: pulumi.Output[Any], func: Callable[..., Any], *args: Any, **kwargs: Any) -> pulumi.Output[Any]:
    """`Output.apply`, whose function is traced where it is ours."""
    file = getattr(getattr(func, "__code__", None), "co_filename", "site-packages")
    return _apply(output, func if "site-packages" in file else traced(func), *args, **kwargs)


def install() -> None:
    """Have the recorder's loop untraced, and traced what it calls: the program, what is applied, the engine."""
    record._run = lambda program, **rest: _run(traced(program), **rest)
    record._Inline.submit = traced(record._Inline.submit)
    asyncio.new_event_loop, pulumi.Output.apply = Loop, apply
