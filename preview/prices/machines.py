"""Machines of a cluster: which, and how many of them what runs there needs.

Pods cost nothing themselves: they run on machines, which do. So what an endpoint in a cluster costs stands in the line of the
pool that it is bound to, once, and not beside it again.
"""

import math
from collections.abc import Iterable, Iterator, Sequence

from components.core.accelerators import Machine
from preview.prices import rates
from preview.prices.asked import HOURS, between
from preview.prices.items import Item, Look, Pods, hours, ranging
from preview.prices.rates import Rate

SYSTEM = "system"
"""The pool of the cluster's own services, in the labels of its machines."""
JOBS = "hours of jobs are not stated"


def share(pods: Pods, machine: Machine) -> float:
    """The part of a machine that one pod takes: as many fit as what they take most of allows, and none is on two machines."""
    parts = [pods.cpu / machine.vcpus, pods.memory_gib / machine.memory_gib]
    if machine.count:
        parts.append(pods.accelerators / machine.count)
    return 1 / max(1, math.floor(1 / max(parts))) if max(parts) else 0


def nodes(
    look: Look,
    pool: str,
    machine: Machine | None,
    rate: Rate,
    disks: Iterable[tuple[Rate, float]],
    least: float,
    most: float,
) -> Iterator[Item]:
    """Machines of a pool and their disks: as many as its endpoints need, while nothing is asked and as expected.

    A pool without endpoints is there for jobs, whose hours nobody states. What the cluster itself runs is what the least
    number of machines is there for.
    """
    bound = look.pods.get(pool, []) if machine else []
    unstated = pool != SYSTEM and not bound and least < most
    if unstated:
        yield Item(rate=rate, idle=hours(least), ceiling=hours(most), why=JOBS)
    parts = [(share(pods, machine), pods) for pods in bound] if machine else []
    idle = between(least, math.ceil(sum(part * pods.least for part, pods in parts)), most)
    expected = between(idle, math.ceil(sum(part * pods.expected for part, pods in parts)), most)
    for each, units in disks if unstated else [(rate, float(HOURS)), *disks]:
        yield ranging(each, idle, expected, most, units)


def dearest(cloud: str, machines: Sequence[Machine], region: str, *, spot: bool = False) -> tuple[Rate, Machine]:
    """The one that costs most of those that may be taken."""
    return max(_priced(cloud, machines, region, spot=spot), key=lambda pair: pair[0].usd or 0)


def cheapest(cloud: str, machines: Sequence[Machine], region: str, *, spot: bool = False) -> tuple[Rate, Machine]:
    """The one that costs least of those whose price is known."""
    found = _priced(cloud, machines, region, spot=spot)
    known = [pair for pair in found if pair[0].usd is not None]
    return min(known or found, key=lambda pair: pair[0].usd or 0)


def _priced(cloud: str, machines: Sequence[Machine], region: str, *, spot: bool) -> list[tuple[Rate, Machine]]:
    return [
        (rates.computer(cloud, m.type, region, spot=spot, accelerator=m.accelerator, count=m.count), m)
        for m in machines
    ]
