"""Values on their way between the program and the engine: protobuf to plain Python, and references back."""

import difflib
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct, Value
from pulumi.runtime.rpc import UNKNOWN

from policies.model import IN_CLEAR, SECRET
from preview import schema

# The wire protocol's own marks, from Pulumi's sdk/go/common/resource: properties.go, asset.go.
SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET_MARK = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105  a public mark, no secret
_ASSET_MARK = "c44067f5952c0a294b673a41bacd8c17"
_ARCHIVE_MARK = "0def7320c3a5731c473e5ecbe6d01bc7"
_RESOURCE_MARK = "5cf8f73096256a8f31e491e813e4eb8e"

_EXACT = 2**53
"""Above it a double, the protocol's only number, no longer holds every integer."""


def reference(urn: str, path: str) -> str:
    """The text that stands for an output of a resource."""
    return f"${{{urn}#{path}}}"


class Reader:
    """Reads the values of one resource."""

    def __init__(self, unknown: Callable[[str], str], complain: Callable[[str], None], base: Path) -> None:
        """Prepare for one resource.

        `unknown` gives the text for a not yet known value in a top-level property; `complain` takes what is wrong;
        paths of assets are relative to `base`.
        """
        self._unknown = unknown
        self._complain = complain
        self._base = base
        self.encoded = False
        """Whether the values are those of a provider, each of which the protocol carries as JSON in a text."""
        self.met_resource = False
        """Whether one of the values was a resource itself."""

    def properties(self, values: Struct, types: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The properties as plain values, keys in order; `types` are the SDK's own types, where it has them."""
        fields = values.fields
        found: dict[str, Any] = {}
        for name in sorted(fields):
            if types is not None and name not in types:
                self._misspelt(name, name, types)
            type_ = types.get(name) if types else None
            value = _opened(fields[name], type_) if self.encoded else fields[name]
            found[name] = self._value(value, type_, name, name)
        return found

    def _value(self, value: Value, type_: Any, path: str, top: str) -> Any:
        kind = value.WhichOneof("kind")
        if kind == "string_value":
            text = value.string_value
            if IN_CLEAR in text:
                self._complain(f"{path}: a secret of the stack's file stands here in clear; keep it an output")
            return self._unknown(top) if text == UNKNOWN else text
        if kind == "struct_value":
            return self._struct(value.struct_value, type_, path, top)
        if kind == "list_value":
            inner = schema.element(type_) if type_ is not None else None
            return [self._value(item, inner, f"{path}[{i}]", top) for i, item in enumerate(value.list_value.values)]
        if kind == "number_value":
            number = value.number_value
            return int(number) if number.is_integer() and abs(number) <= _EXACT else number
        return value.bool_value if kind == "bool_value" else None

    def _struct(self, value: Struct, type_: Any, path: str, top: str) -> Any:
        fields = value.fields
        if SIGNATURE in fields:
            return self._marked(value, path, top)
        known = schema.fields(type_) if type_ is not None else None
        inner = schema.element(type_) if type_ is not None and known is None else None
        found: dict[str, Any] = {}
        for name in sorted(fields):
            here = f"{path}.{name}"
            if known is not None and name not in known:
                self._misspelt(name, here, known)
            found[name] = self._value(fields[name], known.get(name) if known else inner, here, top)
        return found

    def _marked(self, value: Struct, path: str, top: str) -> Any:
        fields = value.fields
        mark = fields[SIGNATURE].string_value
        if mark == SECRET_MARK:
            return SECRET
        if mark == _RESOURCE_MARK:
            self.met_resource = True
            return _resource(fields)
        if "assets" in fields:
            return {
                name: self._value(item, None, f"{path}.{name}", top)
                for name, item in sorted(fields["assets"].struct_value.fields.items())
            }
        kind = "asset" if mark == _ASSET_MARK else "archive"
        if "text" in fields:
            return _described(kind, hashlib.sha256(fields["text"].string_value.encode()).hexdigest())
        if "uri" in fields:
            return f"[{kind} {fields['uri'].string_value}]"
        return self._file(kind, fields["path"].string_value, path)

    def _file(self, kind: str, given: str, path: str) -> str:
        file = self._base / given
        digest = hashlib.sha256()
        if file.is_file():
            digest.update(file.read_bytes())
        elif file.is_dir():
            for part in sorted(p for p in file.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
                digest.update(f"{part.relative_to(file).as_posix()}\0".encode())
                digest.update(hashlib.sha256(part.read_bytes()).digest())
        else:
            self._complain(f"{path}: no file {Path(given).name} to upload")
        return _described(kind, digest.hexdigest())

    def _misspelt(self, name: str, path: str, known: Mapping[str, Any]) -> None:
        near = difflib.get_close_matches(name.replace("_", "").lower(), {k.lower(): k for k in known}, n=1)
        meant = next((k for k in known if near and k.lower() == near[0]), None)
        right = f"did you mean {meant}?" if meant else f"known are {', '.join(sorted(known)) or 'none'}"
        why = " (a plain dict of a provider is sent as it is: use the SDK's Args class)" if self.encoded else ""
        self._complain(f"{path}: no such property; {right}{why}")


def _opened(value: Value, type_: Any) -> Value:
    """What stands in a text as JSON, where the property is no text by itself; else the value."""
    if type_ in {None, str} or not value.HasField("string_value"):
        return value
    try:
        return json_format.Parse(value.string_value, Value())
    except json_format.ParseError:
        return value


def _described(kind: str, digest: str) -> str:
    return f"[{kind} sha256:{digest[:16]}]"


def answer(into: Struct, urn: str, templates: Mapping[str, schema.Template], secret: frozenset[str]) -> None:
    """Add to a resource's properties a reference for each output that they lack; wrap those named in `secret`."""
    fields = into.fields
    for name, template in templates.items():
        if name not in fields:
            _fill(fields[name], f"{urn}#{name}", template)
    for name in secret & set(fields):
        inner = Value()
        inner.CopyFrom(fields[name])
        wrapped = fields[name].struct_value
        wrapped.Clear()
        wrapped.fields[SIGNATURE].string_value = SECRET_MARK
        wrapped.fields["value"].CopyFrom(inner)


def name_resources(values: Struct) -> None:
    """Put the reference in the place of every resource: no provider answers with one."""
    for value in values.fields.values():
        _name_resources(value)


def _name_resources(value: Value) -> None:
    if value.HasField("list_value"):
        for item in value.list_value.values:
            _name_resources(item)
    elif value.HasField("struct_value"):
        fields = value.struct_value.fields
        if SIGNATURE in fields and fields[SIGNATURE].string_value == _RESOURCE_MARK:
            value.string_value = _resource(fields)
        else:
            name_resources(value.struct_value)


def _resource(fields: Mapping[str, Value]) -> str:
    return reference(fields["urn"].string_value, "id" if "id" in fields else "urn")


def _fill(value: Value, path: str, template: schema.Template) -> None:
    if template is None:
        value.string_value = f"${{{path}}}"
    elif isinstance(template, list):
        _fill(value.list_value.values.add(), f"{path}[0]", template[0])
    else:
        # An empty structure still has to become a structure.
        fields = value.struct_value.fields
        value.struct_value.SetInParent()
        for name, inner in template.items():
            _fill(fields[name], f"{path}.{name}", inner)
