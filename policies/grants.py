"""Grants of Google Cloud in one form: who is given which role, and on what.

A grant is additive (`…IAMMember`), authoritative for a role (`…IAMBinding`) or for everything (`…IAMPolicy`); the provider
has a family of the three for every kind of resource.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from policies.context import maps
from policies.model import Resource

_FAMILY = re.compile(r"^gcp:(\w+)/(\w*?)iam(Member|Binding|Policy):", re.IGNORECASE)

# Grants on these reach everything inside.
CONTAINERS = {"projects", "folder", "organizations"}


@dataclass(frozen=True, slots=True)
class Grant:
    """A role, given to a member."""

    role: str
    member: str
    wide: bool
    """Whether it is given on a whole project, folder or organisation."""


def grants(resource: Resource) -> Iterator[Grant]:
    """What a resource of any of the families gives; nothing for other resources."""
    match = _FAMILY.match(resource.type)
    if not match:
        return
    wide = match[1] in CONTAINERS and not match[2]
    for role, members in _bindings(resource):
        for member in members if isinstance(members, list) else [members]:
            yield Grant(str(role), str(member), wide)


def is_readable(resource: Resource) -> bool:
    """Whether what a resource gives can be read: a whole policy may wait for an output, or be no policy."""
    return "policyData" not in resource.inputs or _policy(resource) is not None


def _policy(resource: Resource) -> list[Mapping[str, Any]] | None:
    try:
        return maps(json.loads(str(resource.inputs["policyData"]))["bindings"])
    except (ValueError, TypeError, KeyError):
        return None


def _bindings(resource: Resource) -> Iterator[tuple[Any, Any]]:
    if "policyData" in resource.inputs:
        for binding in _policy(resource) or ():
            yield binding.get("role"), binding.get("members", [])
        return
    yield resource.get("role", ""), resource.get("members", resource.get("member", []))
