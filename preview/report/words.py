"""How the reports for people call things."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from policies.model import REFERENCE, Place, Resource
from policies.registry import Finding
from preview.difference import Changed, Difference, Endangered, Fate
from preview.result import Preview

_LONGEST = 160
"""Characters of a value that a person still reads; the JSON holds all of it."""


def kind(type_: str) -> str:
    """A type token as a person says it: `s3.Bucket`, `Storage`."""
    package, _, rest = type_.partition(":")
    module, _, name = rest.rpartition(":")
    return f"{module.partition('/')[0]}.{name}" if package in {"aws", "gcp", "kubernetes"} else name or type_


def counted(resources: Iterable[Resource]) -> list[str]:
    """The kinds of the resources, the most frequent first: `s3.Bucket 6`."""
    found = Counter(kind(r.type) for r in resources)
    return [
        f"{name} {count}" if count > 1 else name for name, count in sorted(found.items(), key=lambda i: (-i[1], i[0]))
    ]


def value(of: Any) -> str:
    """A value in one line: a reference by name, what is too long cut."""
    text = REFERENCE.sub(lambda m: f"${{{m[1].rpartition('::')[2]}.{m[2]}}}", json.dumps(of, ensure_ascii=False))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def place(of: Place | None) -> str:
    """`file:line`, or nothing."""
    return f"{of.file}:{of.line}" if of else ""


def called(resource: Resource) -> str:
    """A resource as a person says it: `s3.Bucket raw`."""
    return f"{kind(resource.type)} {resource.name}"


def plural(count: int, word: str) -> str:
    """`1 resource`, `2 resources`."""
    return f"{count} {word}{'' if count == 1 else 's'}"


def amounts(difference: Difference) -> str:
    """`+3 ~2 ±1 -0`: created, changed, replaced, removed."""
    changed = len(difference.changed) - len(difference.replaced)
    return f"+{len(difference.created)} ~{changed} ±{len(difference.replaced)} -{len(difference.removed)}"


def findings(preview: Preview) -> str:
    """How many findings of each sort, in words."""
    sorts = (("mandatory", preview.mandatory), ("advisory", preview.advisory), ("waived", preview.waived))
    said = [f"{len(found)} {name}" for name, found in sorts if found]
    return ", ".join(said) if said else "no findings"


FATES: Mapping[Fate, str] = {
    "lost": "its data is lost",
    "refused": "it is protected, so Pulumi refuses the whole update",
    "left behind": "its data stays in the cloud, outside of this program",
    "stays": "its data stays",
}


def endangered(of: Endangered) -> str:
    """What happens to something that holds data, in a sentence without its full stop."""
    return f"{called(of.resource)} holds data and is {of.how}: {FATES[of.fate]}"


def standing(finding: Finding) -> str:
    """What a finding does: `mandatory`, `advisory`, or `waived`."""
    return "waived" if finding.waiver else finding.enforcement


def lines(difference: Difference, marks: dict[str, str]) -> Iterator[str]:
    """A difference line by line: what goes, what is replaced, what changes, what comes. `marks` stand at column 0."""
    for resource in difference.removed:
        yield f"{marks['-']} {called(resource)}"
    for changed in sorted(difference.changed, key=lambda c: not c.replaced):
        yield from _changed(changed, marks)
    for resource in difference.created:
        yield f"{marks['+']} {called(resource)}"


def _changed(changed: Changed, marks: dict[str, str]) -> Iterator[str]:
    mark = marks["±" if changed.replaced else "~"]
    because = ", ".join(dict.fromkeys(re.split(r"[.\[]", change.path)[0] for change in changed.because))
    yield f"{mark} {called(changed.resource)}{f'  (replaced: {because})' if because else ''}"
    for change in changed.changes:
        yield f"{mark}     {change.path}: {value(change.old)} → {value(change.new)}"
