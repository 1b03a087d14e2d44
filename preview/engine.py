"""The stand-in for Pulumi's engine: it keeps every resource that the program registers, and answers like the cloud."""

# ruff: noqa: N802 - the methods have the protocol's names

import logging
import traceback
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from google.protobuf import empty_pb2
from google.protobuf.message import Message
from pulumi.runtime import _callbacks, mocks, sync_await  # pyright: ignore[reportPrivateUsage]
from pulumi.runtime.proto import alias_pb2, callback_pb2, engine_pb2, resource_pb2, source_pb2

from policies.model import Place, Resource
from preview import schema
from preview.values import Reader, answer, name_resources, reference

STACK = "pulumi:pulumi:Stack"
_PREVIEW = Path(__file__).resolve().parent
_LOG = logging.getLogger("preview")


class ProgramError(Exception):
    """What Pulumi's engine would refuse, or accept and misunderstand: every such problem of one run."""

    def __init__(self, stack: str, problems: Iterable[str]) -> None:
        """Keep the distinct problems in order."""
        self.stack = stack
        self.problems = sorted(set(problems))
        super().__init__(self.report())

    def report(self) -> str:
        """The whole report as text: a line of summary, then a line for each problem."""
        count = len(self.problems)
        head = f"Stack {self.stack}: the program has {count} problem{'' if count == 1 else 's'}; nothing was built."
        return "\n".join([head, *(f"  {p}" for p in self.problems)])


class Log:
    """Takes the program's messages: a warning and an error go to Python's log, and so to stderr."""

    def Log(self, request: engine_pb2.LogRequest) -> None:
        """Pass a message on; the SDK's own debug lines are not for a person."""
        if request.severity >= engine_pb2.WARNING:
            _LOG.log(logging.ERROR if request.severity == engine_pb2.ERROR else logging.WARNING, "%s", request.message)

    def RequirePulumiVersion(self, _: engine_pb2.RequirePulumiVersionRequest) -> empty_pb2.Empty:
        """Accept any: no command-line tool takes part."""
        return empty_pb2.Empty()


class Engine(mocks.MockMonitor):
    """One run of one stack."""

    def __init__(self, *, project: str, stack: str, root: Path, preview: bool, denied: Sequence[str] = ()) -> None:
        """Prepare a run.

        `denied` are the packages whose default provider is switched off, `*` for all of them. With `preview` no output
        is known that no input gives, as in the first `pulumi preview`.
        """
        super().__init__(mocks=cast("mocks.Mocks", None))  # every method that would ask them is replaced
        self.found: dict[str, Resource] = {}
        self.outputs: dict[str, Any] = {}
        self.problems: list[str] = []
        self._project = project
        self._stack = stack
        self._root = root
        self._preview = preview
        self._denied = frozenset(denied)
        self._files: dict[str, str] = {}
        self._transforms: dict[str, list[str]] = {"": []}

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        """The engine's URN: the types of all parents but the stack's."""
        above = parent.split("::", 3)[2] if parent else STACK
        qualified = type_ if above == STACK else f"{above}${type_}"
        return f"urn:pulumi:{self._stack}::{self._project}::{qualified}::{name}"

    def RegisterResource(self, request: resource_pb2.RegisterResourceRequest) -> resource_pb2.RegisterResourceResponse:
        """Keep a resource, and answer with its outputs."""
        urn = self.make_urn(request.parent, request.type, request.name)
        if request.type == STACK:
            return resource_pb2.RegisterResourceResponse(urn=urn)
        place = self._place(request.stackTrace)
        self._transform(request, urn)
        self._check(request, urn, place)
        reader = self._reader(urn, request.propertyDependencies, request.name, place)
        reader.encoded = request.type.startswith("pulumi:providers:")
        types = schema.inputs(request.type) if request.custom else None
        self.found[urn] = Resource(
            urn=urn,
            type=request.type,
            name=request.name,
            parent="" if f"::{STACK}::" in request.parent else request.parent,
            provider=request.provider.rpartition("::")[0],
            custom=request.custom,
            inputs=reader.properties(request.object, types),
            dependencies=tuple(sorted(request.dependencies)),
            property_dependencies={
                name: tuple(sorted(found.urns))
                for name, found in sorted(request.propertyDependencies.items())
                if found.urns
            },
            protect=request.protect,
            retain_on_delete=request.retainOnDelete,
            deleted_with=request.deletedWith,
            ignore_changes=tuple(sorted(request.ignoreChanges)),
            replace_on_changes=tuple(sorted(request.replaceOnChanges)),
            aliases=tuple(dict.fromkeys(self._alias(alias, request) for alias in request.aliases)),
            secret_outputs=tuple(sorted(request.additionalSecretOutputs)),
            place=place,
        )
        if reader.met_resource:
            name_resources(request.object)
        response = resource_pb2.RegisterResourceResponse(urn=urn, object=request.object)
        if request.custom and not self._preview:
            # A resource names its provider as `urn::id`: an id must not look like a URN, and nothing else reads it.
            response.id = "id" if request.type.startswith("pulumi:providers:") else reference(urn, "id")
            answer(response.object, urn, schema.outputs(request.type), frozenset(request.additionalSecretOutputs))
        return response

    def RegisterStackTransform(self, request: callback_pb2.Callback) -> empty_pb2.Empty:
        """Keep a transform for all resources that follow."""
        self._transforms[""].append(request.token)
        return empty_pb2.Empty()

    def RegisterResourceOutputs(self, request: resource_pb2.RegisterResourceOutputsRequest) -> empty_pb2.Empty:
        """Keep the outputs of the stack; those of a component show in what uses them."""
        if f"::{STACK}::" in request.urn:
            self.outputs = self._reader(request.urn, {}, "outputs", None).properties(request.outputs)
        return empty_pb2.Empty()

    def Invoke(self, request: resource_pb2.ResourceInvokeRequest) -> resource_pb2.ResourceInvokeResponse:
        """Refuse to ask the cloud."""
        what = f"{request.tok} asks the cloud, which an offline preview cannot; take the value from the description"
        return self._refused(what, self._caller())

    def ReadResource(self, request: resource_pb2.ReadResourceRequest) -> resource_pb2.ReadResourceResponse:
        """Refuse to read what another program made."""
        what = f"{request.name} ({request.type}) is read from the cloud, which an offline preview cannot"
        return self._refused(what, self._caller())

    def ExistsResource(self, request: resource_pb2.ExistsResourceRequest) -> Any:
        """Refuse to look whether something is there."""
        what = f"{request.id} ({request.type}) is looked for in the cloud, which an offline preview cannot"
        return self._refused(what, self._caller())

    def RegisterStackInvokeTransform(self, request: callback_pb2.Callback) -> empty_pb2.Empty:  # noqa: ARG002
        """Take a transform of what is refused in any case."""
        return empty_pb2.Empty()

    def Call(self, request: resource_pb2.ResourceCallRequest) -> Any:
        """Refuse to call a method, which a provider would answer."""
        what = f"{request.tok} calls a provider, which an offline preview does not have"
        return self._refused(what, self._caller())

    def _transform(self, request: resource_pb2.RegisterResourceRequest, urn: str) -> None:
        """Apply the transforms of the resource, then of its parents, then of the stack, as the engine does."""
        inherited = [*(c.token for c in request.transforms), *self._transforms.get(request.parent, [])]
        self._transforms[urn] = inherited
        for token in (*inherited, *self._transforms[""]):
            asked = resource_pb2.TransformRequest(
                type=request.type,
                name=request.name,
                custom=request.custom,
                parent=request.parent,
                properties=request.object,
                options=resource_pb2.TransformResourceOptions(
                    provider=request.provider,
                    protect=request.protect,
                    retain_on_delete=request.retainOnDelete,
                    depends_on=request.dependencies,
                    ignore_changes=request.ignoreChanges,
                    aliases=request.aliases,
                    additional_secret_outputs=request.additionalSecretOutputs,
                ),
            )
            answered = resource_pb2.TransformResponse()
            answered.CopyFrom(sync_await._sync_await(_callback(token)(asked.SerializeToString())))  # pyright: ignore
            request.object.CopyFrom(answered.properties)
            if answered.HasField("options"):
                _set_options(request, answered.options)

    def _refused(self, what: str, place: Place | None) -> Any:
        self.problems.append(_located(place, what))
        raise ProgramError(self._stack, self.problems)

    def _check(self, request: resource_pb2.RegisterResourceRequest, urn: str, place: Place | None) -> None:
        if urn in self.found:
            before = self.found[urn].place
            where = f" in {before.file}:{before.line}" if before else ""
            self.problems.append(
                _located(place, f"{request.name} ({request.type}): registered before{where}; duplicate URN")
            )
        if request.remote:
            what = "a component of a package, whose resources only its own program knows"
            self.problems.append(_located(place, f"{request.name} ({request.type}): {what}"))
        package = request.type.partition(":")[0]
        if request.custom and not request.provider and package != "pulumi" and self._denied & {package, "*"}:
            what = f"no explicit provider, and the default provider of {package} is switched off"
            self.problems.append(_located(place, f"{request.name} ({request.type}): {what}"))

    def _reader(self, urn: str, dependencies: Mapping[str, Any], name: str, place: Place | None) -> Reader:
        def unknown(top: str) -> str:
            urns = sorted(dependencies[top].urns) if top in dependencies else []
            return "".join(reference(u, "") for u in urns) or reference(urn, top)

        def complain(what: str) -> None:
            self.problems.append(_located(place, f"{name}.{what}"))

        return Reader(unknown, complain, self._root)

    def _alias(self, alias: alias_pb2.Alias, request: resource_pb2.RegisterResourceRequest) -> str:
        if alias.urn:
            return alias.urn
        spec = alias.spec
        parent = "" if spec.noParent else spec.parentUrn or request.parent
        urn = self.make_urn(parent, spec.type or request.type, spec.name or request.name)
        _, _, rest = urn.split("::", 2)
        return f"urn:pulumi:{spec.stack or self._stack}::{spec.project or self._project}::{rest}"

    def _place(self, trace: source_pb2.StackTrace) -> Place | None:
        """The innermost frame in the project's own files: paths outside of it mean nothing to another machine."""
        for frame in trace.frames:
            uri = frame.pc.uri
            if uri not in self._files:
                self._files[uri] = self._relative(Path(unquote(urlsplit(uri).path)))
            if file := self._files[uri]:
                return Place(file, frame.pc.line)
        return None

    def _caller(self) -> Place | None:
        """The same for a call that carries no trace: the program's own frame, where it waits for the answer."""
        for frame, line in traceback.walk_stack(None):
            if file := self._relative(Path(frame.f_code.co_filename)):
                return Place(file, line)
        return None

    def _relative(self, path: Path) -> str:
        inside = path.is_relative_to(self._root) and "site-packages" not in path.parts and path.parent != _PREVIEW
        return path.relative_to(self._root).as_posix() if inside else ""


def _callback(token: str) -> Callable[[bytes], Awaitable[Message]]:
    """The transform that the SDK registered under a token."""
    servicers = _callbacks._CallbackServicer._servicers  # pyright: ignore[reportPrivateUsage]
    return next(s._callbacks[token] for s in servicers if token in s._callbacks)  # pyright: ignore[reportPrivateUsage]


def _set_options(request: resource_pb2.RegisterResourceRequest, options: resource_pb2.TransformResourceOptions) -> None:
    request.provider = options.provider
    request.protect = options.protect
    request.retainOnDelete = options.retain_on_delete
    for old, new in (
        (request.dependencies, options.depends_on),
        (request.ignoreChanges, options.ignore_changes),
        (request.aliases, options.aliases),
        (request.additionalSecretOutputs, options.additional_secret_outputs),
    ):
        del old[:]
        old.extend(new)


def _located(place: Place | None, what: str) -> str:
    return f"{place.file}:{place.line}  {what}" if place else what
