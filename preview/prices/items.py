"""What of a resource is paid for, and what a function that says so is given."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

from policies.model import Graph, Resource
from preview.prices import rates
from preview.prices.asked import HOURS, NOTHING, Asked, Values, instances
from preview.prices.rates import Rate

REGION_PATHS = ("region", "location", "settings.region")
_ENDPOINTS = {
    "RealTime", "Serverless", "Asynchronous", "Batch", "Function", "Container", "Llm", "Edge", "Pod",
}  # fmt: skip
"""Components that are named as the endpoint that they are."""
UNPRICED = "no price with a source"
"""Why a price is not known: no public figure was found that says where it is from."""
OFFERED = "its price is in the offer"
POOL = "ai-platform.io/pool"
ENDPOINT = "ai-platform.io/endpoint"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """Units a month that are paid for: while nothing is asked, as expected, and at the most."""

    rate: Rate
    idle: float = 0
    expected: float | None = None
    """None where the description states no volume."""
    ceiling: float | None = None
    """None where nothing bounds it."""
    why: str = ""
    """Why one of them is None, or what is behind a figure that is not what it seems."""


Priced = Callable[[Resource, "Look"], Iterable[Item]]


def fixed(rate: Rate, units: float) -> Item:
    """Units that are paid for whatever is asked."""
    return Item(rate=rate, idle=units, expected=units, ceiling=units)


def ranging(rate: Rate, least: float, expected: float, most: float, each: float = 1) -> Item:
    """Units between two bounds; `each` is what one of them counts."""
    low = least * each
    middle = max(low, expected * each)
    return Item(rate=rate, idle=low, expected=middle, ceiling=max(middle, most * each))


def untold(what: str, why: str) -> Item:
    """Something that is paid for, of which neither the price nor the volume can be said."""
    return Item(rate=Rate(what=what, unit="", usd=None), why=why)


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a function looks at besides its resource."""

    graph: Graph
    asked: Asked

    def cloud(self, resource: Resource) -> str:
        """The cloud of a resource, by its type."""
        return resource.type.partition(":")[0]

    def region(self, resource: Resource) -> str:
        """The region of a resource: its own, else its provider's; a zone of Google Cloud is in its region."""
        for path in REGION_PATHS:
            named = resource.get(path)
            if isinstance(named, str) and named and "$" not in named:
                return re.sub(r"-[a-z]$", "", named.lower())
        provider = self.graph.resources.get(resource.provider)
        return str(provider.get("region", "")) if provider else ""

    def home(self, cloud: str) -> str:
        """The region of a cloud in this graph, for what is inside of a cluster."""
        for provider in self.graph.of_type(f"pulumi:providers:{cloud}"):
            if not provider.name.endswith("-replica"):
                return str(provider.get("region", ""))
        return ""

    def rate(self, resource: Resource, service: str, sku: str, unit: str = "") -> Rate:
        """The price of a unit of a service where a resource is."""
        return rates.service(self.cloud(resource), service, sku, self.region(resource), unit)

    def linked(self, resource: Resource, property_: str, type_: str) -> Resource | None:
        """The resource of a type that an input comes from."""
        found = [self.graph.resources.get(urn) for urn in sorted(resource.links(property_))]
        return next((each for each in found if each and each.type == type_), None)

    def named(self, resource: Resource) -> str:
        """The endpoint that a resource belongs to: as it is tagged, else by the component that it is in; or nothing."""
        tagged = labels(resource).get("endpoint") or labels(resource).get(ENDPOINT) or ""
        return tagged if tagged in self.asked.endpoints else self._around.get(resource.urn, "")

    def endpoint(self, resource: Resource) -> Values:
        """What is asked of the endpoint that a resource belongs to."""
        return self.asked.endpoints.get(self.named(resource), NOTHING)

    @cached_property
    def _around(self) -> Mapping[str, str]:
        """The endpoint by resource, where a component above is one."""
        found: dict[str, str] = {}

        def above(urn: str) -> str:
            if urn not in found:
                here = self.graph.resources.get(urn)
                if here is None:
                    return ""
                own = not here.custom and here.type.rpartition(":")[2] in _ENDPOINTS
                found[urn] = here.name if own and here.name in self.asked.endpoints else above(here.parent)
            return found[urn]

        for urn in self.graph.resources:
            above(urn)
        return found

    @cached_property
    def pods(self) -> Mapping[str, list["Pods"]]:
        """What runs in a cluster without an end, by the pool that it is bound to."""
        found: dict[str, list[Pods]] = {}
        for resource in self.graph.of_type("kubernetes:"):
            made = _pods(resource, self)
            if made:
                found.setdefault(made[0], []).append(made[1])
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Pods:
    """Pods of an endpoint: how many, and what one of them asks for."""

    endpoint: str
    least: float
    expected: float
    cpu: float
    memory_gib: float
    accelerators: float


def _pods(resource: Resource, look: Look) -> tuple[str, Pods] | None:
    spec = resource.get("spec.template.spec") or resource.get("spec.predictor")
    endpoint = look.endpoint(resource)
    if not isinstance(spec, Mapping) or not endpoint:
        return None
    inner = cast("Values", spec)
    pool = inner.get("nodeSelector", NOTHING).get(POOL)
    if not isinstance(pool, str):
        return None
    scale = endpoint.get("scale", NOTHING)
    least, most = scale.get("min", 1), scale.get("max", 1)
    wanted: list[Values] = [
        container.get("resources", NOTHING).get("requests", NOTHING)
        for container in (*listed(inner.get("containers")), *listed([inner["model"]] if "model" in inner else None))
    ]
    return pool, Pods(
        endpoint=look.named(resource),
        least=least,
        expected=instances(endpoint, least, most),
        cpu=sum(amount(each.get("cpu")) or 0 for each in wanted),
        memory_gib=sum(gib(each.get("memory")) or 0 for each in wanted),
        accelerators=sum(
            amount(value) or 0 for each in wanted for key, value in each.items() if "/" in key and "storage" not in key
        ),
    )


def hours(count: float) -> float:
    """Hours a month of so many that are always there."""
    return count * HOURS


def listed(value: Any) -> Iterator[Values]:
    """The maps of a list; nothing of what is not one, or not known yet."""
    if isinstance(value, list):
        yield from (cast("Values", each) for each in cast("list[Any]", value) if isinstance(each, Mapping))


def amount(value: Any) -> float | None:
    """A number, also where it is written as text or in thousandths; None for anything else.

    >>> amount(2), amount("500m"), amount("4"), amount("${urn:pulumi:dev::p::t::n#cpu}")
    (2.0, 0.5, 4.0, None)
    """
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return float(value)
    text = str(value)
    try:
        return float(text[:-1]) / 1000 if text.endswith("m") else float(text)
    except ValueError:
        return None


_GIB = {"Ki": 2**-20, "Mi": 2**-10, "Gi": 1, "Ti": 2**10, "M": 1e6 / 2**30, "G": 1e9 / 2**30, "T": 1e12 / 2**30}


def gib(value: Any) -> float | None:
    """Memory or a disk in GiB, where it is written with its unit; None for anything else.

    >>> gib("512Mi"), gib("4Gi"), gib(None)
    (0.5, 4.0, None)
    """
    text = str(value)
    unit = next((unit for unit in _GIB if text.endswith(unit)), None)
    number = amount(text.removesuffix(unit)) if unit else None
    return number * _GIB[unit] if unit and number is not None else None


def document(text: Any) -> Any:
    """A document of JSON; None while it is not known, or none."""
    try:
        return json.loads(text)
    except (TypeError, ValueError):
        return None


def within(value: Any, key: str) -> Iterator[Any]:
    """Every value of a key, at any depth."""
    if isinstance(value, Mapping):
        for name, inner in cast("Values", value).items():
            if name == key:
                yield inner
            yield from within(inner, key)
    elif isinstance(value, list):
        for each in cast("list[Any]", value):
            yield from within(each, key)


def labels(resource: Resource) -> Mapping[str, str]:
    """The tags or labels of a resource."""
    for path in ("tags", "labels", "metadata.labels"):
        found = resource.get(path)
        if isinstance(found, Mapping) and found:
            return cast("Mapping[str, str]", found)
    return {}
