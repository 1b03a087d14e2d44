"""What changes from one graph to another: created, changed property by property, replaced, removed."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from policies.model import Graph, Resource
from policies.stateful import HOLDS_DATA
from preview.documents import decoded
from preview.replaced import EVERYTHING, REPLACED_BY

How = Literal["removed", "replaced", "changed"]
Fate = Literal["lost", "refused", "left behind", "stays"]
"""Of data: gone with the resource; the whole update is refused; kept in the cloud, no longer managed; untouched."""

ABSENT = "(absent)"
"""In place of a value that one side does not have."""


_INDEX = re.compile(r"\[[^\]]*\]")


@dataclass(frozen=True, slots=True)
class Change:
    """One property: its path, and its value before and after."""

    path: str
    old: Any
    new: Any


@dataclass(frozen=True, kw_only=True)
class Changed:
    """A resource that both sides have."""

    resource: Resource
    """As it will be."""
    before: Resource
    changes: tuple[Change, ...]
    because: tuple[Change, ...]
    """Those of the changes that are known to delete the resource and make another."""

    @property
    def replaced(self) -> bool:
        """Whether it is another resource afterwards."""
        return bool(self.because)


@dataclass(frozen=True, kw_only=True)
class Endangered:
    """What holds data and does not stay as it is."""

    resource: Resource
    how: How

    @property
    def fate(self) -> Fate:
        """What becomes of the data."""
        if self.how == "changed":
            return "stays"
        if self.resource.protect:
            return "refused"
        return "left behind" if self.resource.retain_on_delete else "lost"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Everything that changes; each part in order of URN. Components are no part of it: they exist in Pulumi alone."""

    created: tuple[Resource, ...] = ()
    changed: tuple[Changed, ...] = ()
    removed: tuple[Resource, ...] = ()

    @property
    def replaced(self) -> tuple[Changed, ...]:
        """Those of the changed that are deleted and made again."""
        return tuple(c for c in self.changed if c.replaced)

    @property
    def endangered(self) -> tuple[Endangered, ...]:
        """What holds data and is removed, replaced or changed, in this order."""
        fates: tuple[tuple[How, tuple[Resource, ...]], ...] = (
            ("removed", self.removed),
            ("replaced", tuple(c.before for c in self.changed if c.replaced)),
            ("changed", tuple(c.before for c in self.changed if not c.replaced)),
        )
        return tuple(Endangered(resource=r, how=how) for how, found in fates for r in found if r.type in HOLDS_DATA)

    def __bool__(self) -> bool:
        """Whether anything changes."""
        return bool(self.created or self.changed or self.removed)


def compare(base: Graph, head: Graph) -> Difference:
    """What an update from `base` to `head` would do.

    A resource that names its former URN in an alias stays the same resource. What it is told to ignore does not count.
    """
    old = {urn: r for urn, r in base.resources.items() if r.custom}
    new = {urn: r for urn, r in head.resources.items() if r.custom}
    formerly = {urn: next((a for a in r.aliases if a in old), "") for urn, r in new.items() if urn not in old}
    moved = {before: urn for urn, before in formerly.items() if before and before not in new}
    created = [r for urn, r in new.items() if urn not in old and moved.get(formerly[urn]) != urn]
    changed: list[Changed] = []
    for urn, before in old.items():
        after = new.get(moved.get(urn, urn))
        if after is None:
            continue
        changes = tuple(_changes(before, after, moved))
        if changes:
            because = tuple(filter(_replaces(after), changes))
            changed.append(Changed(resource=after, before=before, changes=changes, because=because))
    return Difference(
        created=tuple(created),
        changed=tuple(sorted(changed, key=lambda c: c.resource.urn)),
        removed=tuple(r for urn, r in old.items() if urn not in new and urn not in moved),
    )


def _changes(before: Resource, after: Resource, moved: Mapping[str, str]) -> Iterator[Change]:
    if before.urn != after.urn:
        yield Change("(urn)", before.urn, after.urn)
    for path, old, new in _differing("", _renamed(dict(before.inputs), moved), dict(after.inputs)):
        if not _ignored(path, after.ignore_changes):
            yield Change(path, old, new)
    for name, old, new in (
        ("(protect)", before.protect, after.protect),
        ("(retain on delete)", before.retain_on_delete, after.retain_on_delete),
        ("(provider)", _renamed(before.provider, moved), after.provider),
    ):
        if old != new:
            yield Change(name, old, new)


def _replaces(resource: Resource) -> Callable[[Change], bool]:
    """Whether a change of a resource deletes it and makes another."""
    stated = (path for key in (resource.type, resource.type.partition(":")[0]) for path in REPLACED_BY.get(key, ()))
    fixed = [path.split(".") for path in (*stated, *resource.replace_on_changes)]

    def replaces(change: Change) -> bool:
        if change.path.startswith("("):  # an option, and no input
            return False
        path = _INDEX.sub("", change.path).split(".")
        return any(
            inner == [EVERYTHING]
            or path[: len(inner)] == inner
            # A block comes or goes as a whole: what counts is what is in it.
            or (
                inner[: len(path)] == path
                and _at(change.old, inner[len(path) :]) != _at(change.new, inner[len(path) :])
            )
            for inner in fixed
        )

    return replaces


def _at(value: Any, keys: Sequence[str]) -> Any:
    """What is within a value, in every item of a list; `ABSENT` where there is nothing."""
    if isinstance(value, list):
        return [found for item in value if (found := _at(item, keys)) != ABSENT] or ABSENT
    if not keys:
        return value
    return _at(value.get(keys[0], ABSENT), keys[1:]) if isinstance(value, dict) else ABSENT


def _ignored(path: str, ignored: tuple[str, ...]) -> bool:
    return any(path == i or path.startswith((f"{i}.", f"{i}[")) for i in ignored)


def _renamed(value: Any, moved: Mapping[str, str]) -> Any:
    """The value with references to what has moved as they are now: they are the same resources."""
    if not moved:
        return value
    if isinstance(value, dict):
        return {key: _renamed(item, moved) for key, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item, moved) for item in value]
    if isinstance(value, str):
        for before, now in moved.items():
            value = value.replace(f"${{{before}#", f"${{{now}#") if value != before else now
    return value


def _differing(path: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    """Every place in which two values differ; a document in a text is looked into."""
    if old == new:
        return
    left, right = decoded(old), decoded(new)
    if isinstance(left, dict) and isinstance(right, dict):
        form = f"{path}.{{}}" if path else "{}"
    elif isinstance(left, list) and isinstance(right, list):
        form, left, right = f"{path}[{{}}]", *_numbered(left, right)
    else:
        yield path, old, new
        return
    for key in [*left, *(key for key in right if key not in left)]:
        yield from _differing(form.format(key), left.get(key, ABSENT), right.get(key, ABSENT))


def _distinct(items: list[Any]) -> bool:
    return all(isinstance(item, str) for item in items) and len(set(items)) == len(items)


def _numbered(left: list[Any], right: list[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two lists as maps: by position, unless their items have names of their own.

    Texts that stand once are their own names, and so are ids of statements and names of rules, variables and containers: one
    more at the top is then no change of all that follow. Where the same stand in another order, it is the order that changed;
    among statements alone it means nothing.
    """
    if all(_distinct(items) for items in (left, right)) and set(left) != set(right):
        return {item: item for item in left}, {item: item for item in right}
    for key in ("Sid", "name"):
        before, after = ([_called(item, key) for item in items] for items in (left, right))
        unique = all(all(names) and len(set(names)) == len(names) for names in (before, after))
        if unique and (key == "Sid" or before == after or set(before) != set(after)):
            return dict(zip(before, left, strict=True)), dict(zip(after, right, strict=True))
    return {str(i): item for i, item in enumerate(left)}, {str(i): item for i, item in enumerate(right)}


def _called(item: Any, key: str) -> str:
    """What an item of a list is called; nothing where its name is no text that is known beforehand."""
    name = item.get(key) if isinstance(item, dict) else None
    return name if isinstance(name, str) and "${" not in name else ""
