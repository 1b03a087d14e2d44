"""The floor: the resources of a stack as a flat script, with the SDK's own classes under its own mocks, and nothing else.

`python -m benchmarks.floor ROOT STACK FILE` writes it.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pulumi
from pulumi import _types  # pyright: ignore[reportPrivateUsage]  the SDK's own table of names

from policies.model import Graph, Resource
from preview import schema
from preview.record import record

_HEAD = """\
import pulumi
from pulumi.runtime.stack import run_pulumi_func
from pulumi.runtime.sync_await import _sync_await
{imports}

registered = 0


class Echo(pulumi.runtime.Mocks):
    def call(self, args):
        return {{}}

    def new_resource(self, args):
        global registered
        registered += 1
        return args.name, args.inputs


pulumi.runtime.set_mocks(Echo(), project={project!r}, stack={stack!r}, preview=False)


def program():
"""
_TAIL = """

_sync_await(run_pulumi_func(program))
print(registered)
"""


def script(graph: Graph) -> str:
    """The text of a script that registers the same custom resources with literal inputs, and prints their number.

    References and secrets are the texts that the graph has for them; components and dependencies are left out.
    """
    custom = [r for r in graph.resources.values() if r.custom]
    # Providers first: the others name them.
    custom.sort(key=lambda r: not r.type.startswith("pulumi:providers:"))
    names = {resource.urn: f"r{i}" for i, resource in enumerate(custom)}
    packages = sorted({_class(r).__module__.partition(".")[0] for r in custom})
    imports = "\n".join(f"import {package}" for package in packages)
    lines = [f"    {names[r.urn]} = {_call(r, names)}\n" for r in custom]
    return _HEAD.format(imports=imports, project=graph.project, stack=graph.stack) + "".join(lines) + _TAIL


def _class(resource: Resource) -> type:
    found = schema.resource_class(resource.type)
    if found is None and resource.type.startswith("kubernetes:"):
        return pulumi.CustomResource  # of a kind that only a cluster knows
    assert found is not None, resource.type  # noqa: S101  the program has registered it through this class
    return found


def _call(resource: Resource, names: dict[str, str]) -> str:
    cls = _class(resource)
    if cls is pulumi.CustomResource:
        given = [repr(resource.type), repr(resource.name), repr(dict(resource.inputs)), *_options(resource, names)]
        return f"pulumi.CustomResource({', '.join(given)})"
    # The package that a person imports from: `pulumi_aws.s3`, not the module of the class.
    package = cls.__module__.rpartition(".")[0]
    inputs = ", ".join([repr(resource.name), *_arguments(resource), *_options(resource, names)])
    return f"{package}.{cls.__name__}({inputs})"


def _arguments(resource: Resource) -> Iterator[str]:
    arguments = schema.arguments(resource.type)
    assert arguments is not None, resource.type  # noqa: S101  every SDK class has them
    types = schema.inputs(resource.type) or {}
    python = _python_names(arguments)
    for name, value in resource.inputs.items():
        yield f"{python[name]}={_source(value, types.get(name))}"


def _options(resource: Resource, names: dict[str, str]) -> Iterator[str]:
    options = [f"provider={names[resource.provider]}"] if resource.provider else []
    if resource.protect:
        options.append("protect=True")
    if resource.retain_on_delete:
        options.append("retain_on_delete=True")
    if options:
        yield f"opts=pulumi.ResourceOptions({', '.join(options)})"


def _source(value: Any, type_: Any) -> str:
    """The value as Python source, with the names that a person writes; for a file to upload, one with its description."""
    kind = _types.unwrap_type(type_) if type_ is not None else None
    if kind is pulumi.Archive:
        files = value if isinstance(value, dict) else {"file": value}
        inside = ", ".join(f"{name!r}: pulumi.StringAsset({str(file)!r})" for name, file in files.items())
        return f"pulumi.AssetArchive({{{inside}}})"
    if kind is pulumi.Asset:
        return f"pulumi.StringAsset({value!r})"
    inner = schema.element(type_) if type_ is not None else None
    if isinstance(value, list):
        return f"[{', '.join(_source(item, inner) for item in value)}]"
    if not isinstance(value, dict):
        return repr(value)
    fields = schema.fields(type_) if type_ is not None else None
    python = _python_names(kind) if fields and kind else {}
    items = (
        f"{python.get(name, name)!r}: {_source(item, fields[name] if fields else inner)}"
        for name, item in value.items()
    )
    return f"{{{', '.join(items)}}}"


def _python_names(arguments: type) -> dict[str, str]:
    return {pulumi: python for python, pulumi in _types.input_type_py_to_pulumi_names(arguments).items()}


if __name__ == "__main__":
    root, stack, file = sys.argv[1:]
    Path(file).write_text(script(record(Path(root), stack)), encoding="utf-8")
