"""The configuration of a stack as the engine hands it to the program, but for the secrets, which only the engine can open."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from components.spec.source import Loader
from policies.model import IN_CLEAR


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
    text = Loader((root / "Pulumi.yaml").read_text(encoding="utf-8")).get_single_data()
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
        text = Loader((of.stacks / f"Pulumi.{stack}.yaml").read_text(encoding="utf-8")).get_single_data()
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
