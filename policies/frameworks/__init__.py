"""What the rules answer for: the controls of each framework that a rule serves.

A file holds a framework's title, version and source, and only the controls that a rule really serves. Being served is not
being met: a rule judges what is declared, never how an organisation works.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from policies.rule import RULES


@dataclass(frozen=True, kw_only=True)
class Framework:
    """A set of controls."""

    id: str
    title: str
    version: str
    source: str
    controls: Mapping[str, str]
    """Control id to its title."""


@cache
def frameworks() -> Mapping[str, Framework]:
    """Every framework by id, sorted."""
    found: dict[str, Framework] = {}
    for file in sorted(Path(__file__).parent.glob("*.yaml")):
        raw: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
        found[file.stem] = Framework(id=file.stem, **raw)
    return found


def coverage() -> dict[str, dict[str, tuple[str, ...]]]:
    """Framework id to control id to the ids of the rules that serve it, in the order of the framework's file."""
    return {
        framework.id: {
            control: tuple(rule.id for rule in RULES.values() if control in rule.controls.get(framework.id, ()))
            for control in framework.controls
        }
        for framework in frameworks().values()
    }
