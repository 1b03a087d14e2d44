"""Run a program as Pulumi would, in this process, and keep what it declares: no tool, account or network."""

import asyncio
import contextvars
import gc
import importlib
import json
import os
import runpy
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from pulumi import RunError, runtime
from pulumi.runtime import resource, settings
from pulumi.runtime.proto import source_pb2

from policies.model import Graph
from preview import config as stack_config
from preview.engine import Engine, Log, ProgramError

_DENIED = "pulumi:disable-default-providers"
_FOREIGN = ("AWS_", "GOOGLE_", "GCLOUD_", "CLOUDSDK_", "GCP_", "PULUMI_CONFIG")
_HERE = Path(__file__).resolve().parents[1]


def record(root: Path, stack: str, *, preview: bool = False) -> Graph:
    """Run the program in `root` for a stack, and return its graph.

    Every output that no input gives is the text `${urn#property}`; with `preview` it is unknown, as in the first
    `pulumi preview`, and what is applied to it does not run. Raises pulumi.RunError for what the program reports of its
    input, ProgramError for what the engine would refuse, and whatever else the program raises.
    """
    root = root.resolve()
    project = stack_config.project(root)
    values, secrets = stack_config.configuration(project, stack)

    main = project.main / "__main__.py" if project.main.is_dir() else project.main

    def program() -> None:
        # By its absolute path: the SDK then knows in which file and line a resource stands.
        runpy.run_path(str(main), run_name="__main__")

    with _as_project(root):
        return _run(
            program, project=project.name, stack=stack, root=root, values=values, secrets=secrets, preview=preview
        )


def run(
    program: Callable[[], None],
    *,
    project: str = "ai-platform",
    stack: str = "dev",
    config: Mapping[str, str] | None = None,
    secrets: Sequence[str] = (),
    preview: bool = False,
) -> Graph:
    """Run a function that declares resources, and return its graph; for tests of components and rules.

    `config` are configuration keys with their texts, `secrets` those of them that hold a secret. The default providers
    are switched off unless `config` says otherwise. Places are relative to the working directory. Raises as `record`.
    """
    values = {_DENIED: '["*"]', **(config or {})}
    return _run(program, project=project, stack=stack, root=Path.cwd(), values=values, secrets=secrets, preview=preview)


def _run(
    program: Callable[[], None],
    *,
    project: str,
    stack: str,
    root: Path,
    values: Mapping[str, str],
    secrets: Sequence[str],
    preview: bool,
) -> Graph:
    engine = Engine(
        project=project, stack=stack, root=root, preview=preview, denied=json.loads(values.get(_DENIED, "[]"))
    )

    def isolated() -> None:
        settings.reset_options()
        runtime.configure(
            runtime.Settings(
                project=project,
                stack=stack,
                monitor=engine,
                engine=Log(),
                dry_run=preview,
                organization="organization",
                root_directory=str(root),
            )
        )
        runtime.set_all_config(dict(values), list(secrets))
        with _environment(), _quick_traces(), _loop() as loop, _no_collection():
            loop.run_until_complete(runtime.run_in_stack(lambda: _settled(program)))

    try:
        # Pulumi keeps its settings, its configuration and the root resource in context variables: in a context of its
        # own a run leaves nothing behind for the next one.
        contextvars.copy_context().run(isolated)
    except RunError:
        raise
    except Exception as error:
        # One misunderstanding leads to the next failure: what the engine saw says more.
        if engine.problems:
            raise ProgramError(stack, engine.problems) from error
        raise
    if engine.problems:
        raise ProgramError(stack, engine.problems)
    return Graph(
        project=project,
        stack=stack,
        resources={urn: engine.found[urn] for urn in sorted(engine.found)},
        outputs=engine.outputs,
    )


async def _settled(program: Callable[[], None]) -> None:
    """Run the program and let all its outputs come to rest at once.

    The SDK waits for one output after the other, each time upon all that are left: the square of their number.
    """
    program()
    outputs: set[asyncio.Task[Any]] = settings.SETTINGS.outputs  # pyright: ignore[reportAttributeAccessIssue]
    while pending := [task for task in outputs if not task.done()]:
        done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_EXCEPTION)
        if any(not task.cancelled() and task.exception() for task in done):
            return  # the SDK raises it


class _Inline(ThreadPoolExecutor):
    """Does at once what the SDK hands to a thread: the engine is a Python object, there is nothing to wait for."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  handed on to whoever waits
            done.set_exception(error)
        return done


@contextmanager
def _loop() -> Generator[asyncio.AbstractEventLoop]:
    """An event loop of its own; what a failed run leaves in it is cancelled without a word, the failure says enough."""
    loop = asyncio.new_event_loop()
    loop.set_default_executor(_Inline())
    loop.set_exception_handler(lambda *_: None)
    asyncio.set_event_loop(loop)
    try:
        yield loop
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        asyncio.set_event_loop(None)
        loop.close()


@contextmanager
def _environment() -> Generator[None]:
    """No setting from this machine: the SDKs take defaults of a provider from variables of the clouds' own tools."""
    kept = dict(os.environ)
    for name in kept:
        if name.startswith(_FOREIGN):
            del os.environ[name]
    # An output in an f-string is a bug that Pulumi else only warns of, with a useless text as the value.
    os.environ["PULUMI_ERROR_OUTPUT_STRING"] = "true"
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)


@contextmanager
def _no_collection() -> Generator[None]:
    """No garbage collection: what a run makes lives to its end, and to look for what does not costs a third."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def _quick_traces() -> Generator[None]:
    """Have the SDK take its traces of the stack more cheaply.

    Its own way reads the source line of every frame, which nobody looks at: a tenth of a whole run.
    """
    kept = resource._get_stack_trace  # pyright: ignore[reportPrivateUsage]
    resource._get_stack_trace = _trace  # pyright: ignore[reportPrivateUsage]
    try:
        yield
    finally:
        resource._get_stack_trace = kept  # pyright: ignore[reportPrivateUsage]


def _trace() -> source_pb2.StackTrace:
    """The frames from where a resource is declared outwards: those before its third constructor are the SDK's."""
    frame, constructors = sys._getframe(1), 0  # pyright: ignore[reportPrivateUsage]
    found = source_pb2.StackTrace()
    while frame := frame.f_back:
        if constructors == 3:
            position = source_pb2.SourcePosition(uri=_uri(frame.f_code.co_filename), line=frame.f_lineno)
            found.frames.append(source_pb2.StackFrame(pc=position))
        elif frame.f_code.co_name == "__init__":
            constructors += 1
    return found


@cache
def _uri(file: str) -> str:
    """The file as a URI; of what is no file of its own, such as Python's frozen modules, its name."""
    return Path(file).as_uri() if Path(file).is_absolute() else file


@contextmanager
def _as_project(root: Path) -> Generator[None]:
    """Be in `root` as Pulumi is: its folder, its modules, freshly imported; then everything as before.

    A module that an earlier run imported may hold resources of that run.
    """
    path, folder = sys.path[:], Path.cwd()
    kept = _take_modules(root, _HERE)
    sys.path[:] = [str(root), *(p for p in path if Path(p).resolve() not in {root, _HERE})]
    os.chdir(root)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        os.chdir(folder)
        sys.path[:] = path
        _take_modules(root, _HERE)
        sys.modules.update(kept)


def _take_modules(*roots: Path) -> dict[str, ModuleType]:
    """Take the modules that stand in these folders out of Python's table, and return them."""
    folders = tuple(f"{root}{os.sep}" for root in roots)
    taken: dict[str, ModuleType] = {}
    everything: dict[str, Any] = dict(sys.modules)
    for name, module in everything.items():
        if not issubclass(type(module), ModuleType):  # extensions put other things there, which answer for nothing
            continue
        # Not through the module: to ask one of an SDK's lazy modules for anything would load it.
        origin = getattr(object.__getattribute__(module, "__dict__").get("__spec__"), "origin", None) or ""
        if origin.startswith(folders) and "site-packages" not in origin and name != "__main__":
            taken[name] = sys.modules.pop(name)
    return taken
