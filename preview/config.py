"""The configuration of a stack as the engine hands it to the program, but for the secrets, which only the engine can open."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from policies.model import IN_CLEAR


class _Loader(yaml.CSafeLoader):
    """The engine reads YAML 1.2: `on` is a word, `12:30` and a date are texts."""

    yaml_implicit_resolvers = {  # noqa: RUF012  PyYAML's own way to give a loader its types
        first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] in {"null", "merge", "float"}]
        for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9_]*)$"), list("-+0123456789"))


@dataclass(frozen=True, kw_only=True)
class Project:
    """What `Pulumi.yaml` says of a project."""

    name: str
    main: Path
    """The program's entry: a file, or a folder with a `__main__.py`."""
    stacks: Path
    """The folder of the stack files."""
    defaults: Mapping[str, Any] = field(default_factory=dict[str, Any])


def project(root: Path) -> Project:
    """Read `Pulumi.yaml` in `root`. Raises OSError or YAMLError: Pulumi cannot run a project without one either."""
    text = _Loader((root / "Pulumi.yaml").read_text(encoding="utf-8")).get_single_data()
    return Project(
        name=text["name"],
        main=root / text.get("main", "."),
        stacks=root / text.get("stackConfigDir", "."),
        defaults=text.get("config") or {},
    )


def configuration(of: Project, stack: str) -> tuple[dict[str, str], list[str]]:
    """The configuration of a stack (key → text, anything else than text as JSON), and the keys that hold a secret.

    A stack file that is missing or that cannot be read gives what the project says alone: the program's own loader
    reports such a file in a better way.
    """
    given: dict[str, Any] = {}
    for key, value in of.defaults.items():
        given[key] = value.get("value", value.get("default")) if isinstance(value, dict) else value
    try:
        text = _Loader((of.stacks / f"Pulumi.{stack}.yaml").read_text(encoding="utf-8")).get_single_data()
        given |= text.get("config") or {}
    except (OSError, UnicodeDecodeError, AttributeError, TypeError, yaml.YAMLError):
        pass
    values: dict[str, str] = {}
    secrets: list[str] = []
    for key, value in given.items():
        if value is None:
            continue
        name = str(key) if ":" in str(key) else f"{of.name}:{key}"
        opened = _opened(value)
        if opened != value:
            secrets.append(name)
        values[name] = opened if isinstance(opened, str) else json.dumps(opened, separators=(",", ":"))
    return values, secrets


def _opened(value: Any) -> Any:
    """The same value, each `{secure: …}` in it as a text that only shows where the program does not keep it secret."""
    if isinstance(value, dict):
        if set(value) == {"secure"}:
            return IN_CLEAR
        return {key: _opened(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_opened(item) for item in value]
    return value
