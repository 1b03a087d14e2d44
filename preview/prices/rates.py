"""Prices of units: of services from `services.csv`, of machines from the catalogue that descriptions are read with.

A price is that of its region. Where a region has no row, the price of the base region stands in for it and says so; where no
region has one it is unknown, which is `None` and never zero. Taxes, free tiers, commitments and credits are left out.
"""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from components.core.accelerators import machine, price

BASE: Mapping[str, str] = {"aws": "us-east-1", "gcp": "us-central1"}
"""The region of a cloud that every price is known of, if any is."""

TABLE = Path(__file__).parent / "services.csv"

_MACHINES: Mapping[str, str] = {"aws": "EC2", "gcp": "Compute Engine"}
# The managed services sell the machines of their cloud at a fixed ratio: by the first letters of the machine's family.
_SAGEMAKER: Mapping[str, str] = {
    **dict.fromkeys("cmrt", "over EC2: c m r t"),
    "g": "over EC2: g",
    "p": "over EC2: p",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What a unit costs."""

    what: str
    """Service and what of it."""
    unit: str
    usd: float | None
    """None where it is not known."""
    region: str = ""
    """The region whose price it is."""
    elsewhere: bool = False
    """Whether that is another one than the resource's own."""
    as_of: str = ""
    source: str = ""


@cache
def rows() -> Mapping[tuple[str, str, str], Mapping[str, Rate]]:
    """The prices of services by cloud, service and what of it, then by region."""
    found: dict[tuple[str, str, str], dict[str, Rate]] = {}
    with TABLE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            service, sku = row["service"], row["sku"]
            found.setdefault((row["cloud"], service, sku), {})[row["region"]] = Rate(
                what=f"{service} {sku}",
                unit=row["unit"],
                usd=float(row["usd"]) if row["usd"] else None,
                region=row["region"],
                as_of=row["as_of"],
                source=row["source"],
            )
    return found


@cache
def service(cloud: str, name: str, sku: str, region: str, unit: str = "") -> Rate:
    """What a unit of a service costs in a region; `unit` where the table may not know it."""
    known = rows().get((cloud, name, sku), {})
    if region in known:
        return known[region]
    stand_in = known.get(BASE[cloud]) or next(iter(known.values()), None)
    if stand_in is None:
        return Rate(what=f"{name} {sku}", unit=unit, usd=None)
    return _moved(stand_in)


def _moved(rate: Rate) -> Rate:
    return Rate(
        what=rate.what,
        unit=rate.unit,
        usd=rate.usd,
        region=rate.region,
        elsewhere=True,
        as_of=rate.as_of,
        source=rate.source,
    )


@cache
def computer(
    cloud: str, type_: str, region: str, *, spot: bool = False, accelerator: str | None = None, count: int | None = None
) -> Rate:
    """What a machine costs an hour, its accelerators and their disks included; one in its spot form costs no more than else."""
    what = f"{_MACHINES[cloud]} {type_}{' spot' if spot else ''}"
    known = machine(cloud, type_, accelerator, count)
    for place in (region, BASE[cloud]):
        found = price(known, place) if known else None
        usd = found and (found.spot_usd_hour if spot else found.on_demand_usd_hour)
        if found and usd is not None:
            return Rate(
                what=what,
                unit="hour",
                usd=usd,
                region=place,
                elsewhere=place != region,
                as_of=found.as_of,
                source=found.source,
            )
    return Rate(what=what, unit="hour", usd=None)


def sagemaker(type_: str, region: str) -> Rate:
    """What an instance of SageMaker costs an hour; where it has no row of its own, what EC2 asks for it and the ratio."""
    family = re.sub(r"\d.*", "", type_.removeprefix("ml."))
    return _over("aws", "SageMaker", type_, region, _SAGEMAKER.get(family, ""), type_.removeprefix("ml."))


def vertex(type_: str, region: str, accelerator: str | None = None) -> Rate:
    """What a machine of Vertex AI costs an hour; where it has no row of its own, what Compute Engine asks and the ratio."""
    return _over("gcp", "Vertex AI", type_, region, "over Compute Engine", type_, accelerator)


@cache
def _over(
    cloud: str, name: str, type_: str, region: str, ratio: str, bare: str, accelerator: str | None = None
) -> Rate:
    own = service(cloud, name, type_, region, "hour")
    if own.usd is not None and not accelerator and not own.elsewhere:
        return own
    below, times = computer(cloud, bare, region, accelerator=accelerator), service(cloud, name, ratio, region)
    if below.usd is None or times.usd is None:
        return own
    return Rate(
        what=f"{name} {type_}",
        unit="hour",
        usd=round(below.usd * times.usd, 6),
        region=below.region,
        elsewhere=below.elsewhere,
        as_of=below.as_of,
        source=f"{below.source}; times {times.usd:g}, {times.source}",
    )
