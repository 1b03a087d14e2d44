"""What the pools and queues of a description come to on a cloud: machines, choices of capacity, ceilings, quotas.

Pure, and the same for both clouds, so that what is checked is what is built.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TypeVar, cast

from components.core.accelerators import ACCELERATORS, Accelerator, Machine, machine, machines
from components.spec.environment import Environment
from components.spec.foundation import Aws, Gcp
from components.spec.section import CloudName
from components.spec.training import Block, Mig, Pool, Queue, Reserved, TimeSlicing

_K = TypeVar("_K")
_LARGEST = 2

# Parts that one accelerator can be divided into, by profile: slices of compute, and of memory, GB. Source: NVIDIA "MIG User
# Guide", supported MIG profiles.
_PARTS = {"1g": 7, "1g+": 4, "2g": 3, "3g": 2, "4g": 1, "7g": 1}
_MEMORY = {
    "nvidia-a100-40gb": (5, 10, 10, 20, 20, 40),
    "nvidia-a100-80gb": (10, 20, 20, 40, 40, 80),
    "nvidia-h100": (10, 20, 20, 40, 40, 80),
    "nvidia-h100-mega": (10, 20, 20, 40, 40, 80),
    "nvidia-h200": (18, 35, 35, 71, 71, 141),
    "nvidia-b200": (23, 45, 45, 90, 90, 180),
}
MIG: Mapping[str, Mapping[str, int]] = {
    name: {f"{part[:2]}.{gb}gb": parts for (part, parts), gb in zip(_PARTS.items(), memory, strict=True)}
    for name, memory in _MEMORY.items()
}
"""By accelerator that can be divided: its profiles, and how many parts each makes."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One source of machines of a pool."""

    kind: str
    """`spot`, `on-demand`, `reserved`, `block`, `flex-start` or `queued`."""
    reservation: str | None
    """Id or name of the reservation, where the choice is one."""
    min: int
    """Machines at all times. Only the first choice has any."""
    max: int
    """Machines at most."""
    zones: tuple[str, ...]
    """Where its machines may be."""
    label: str
    """Tells it from the pool's other choices: the kind, with a number from the second of it on."""
    starts: datetime | None = None
    """When the machines of a block may start; None where nobody said."""
    ends: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class PoolPlan:
    """A pool, worked out for one cloud."""

    name: str
    machines: tuple[Machine, ...]
    """Machine types, the best first; several only where the description leaves it open."""
    accelerator: Accelerator | None
    per_node: int
    """Accelerators a machine; 0 where it has none."""
    slices: int
    """Workloads that may share one accelerator; 1 where none may."""
    sharing: TimeSlicing | Mig | None
    min: int
    max: int
    """Machines, within the environment's ceiling."""
    choices: tuple[Choice, ...]
    fast: bool
    """Side by side, on the machine's fabric."""
    zones: tuple[str, ...]
    disk_gib: int
    topology: str | None
    scheduler: str
    team: str | None
    resilience: str = "none"
    """`hyperpod` where SageMaker HyperPod keeps its machines."""

    @property
    def machine(self) -> Machine:
        """The machine type that counts where there is room for one."""
        return self.machines[0]

    @property
    def resource(self) -> str | None:
        """What a container asks for to get an accelerator."""
        return self.accelerator.resource if self.accelerator else None

    @property
    def accelerators(self) -> int:
        """Accelerators at most."""
        return self.max * self.per_node

    @property
    def devices(self) -> int:
        """What Kubernetes sees of them at most: shared ones count as often as they are shared."""
        return self.accelerators * self.slices

    @property
    def units(self) -> int:
        """What is divided among teams: devices, or machines where there is no accelerator."""
        return self.devices if self.per_node else self.max


@dataclass(frozen=True, kw_only=True)
class QueuePlan:
    """A queue, worked out for one cloud."""

    name: str
    pools: tuple[str, ...]
    teams: tuple[str, ...]
    priority_classes: Mapping[str, int]
    retries: int
    timeout_hours: int
    checkpoint_zone: str
    scheduler: str


class Capacity:
    """The pools and queues that an environment has on one cloud."""

    def __init__(self, environment: Environment, cloud: CloudName) -> None:
        """Read the description; it has to be one that the checks let through."""
        self._environment = environment
        self._training = environment.training
        self._cloud: CloudName = cloud
        self._place = cast("Aws | Gcp", getattr(environment.cloud, cloud))

    @cached_property
    def pools(self) -> Mapping[str, PoolPlan]:
        """The pools by name, sorted: the order of the description is nothing that a resource may depend on."""
        mine = self._environment.here(self._training.pools, self._cloud)
        limits = ceilings(self._environment)
        return {name: self._pool(name, pool, limits[name]) for name, pool in sorted(mine.items())}

    @cached_property
    def queues(self) -> Mapping[str, QueuePlan]:
        """The queues by name, sorted."""
        return {
            name: self._queue(name, queue)
            for name, queue in sorted(self._training.queues.items())
            if queue.pools[0] in self.pools
        }

    @property
    def kubernetes(self) -> bool:
        """Whether a cluster is needed."""
        return any(pool.scheduler == "kubernetes" for pool in self.pools.values())

    def nominal(self) -> Mapping[tuple[str, str, str], int]:
        """What a team may count on, by queue, team and pool: devices, or machines where the pool has no accelerator.

        A pool is divided among the queues that name it in even parts, and in each by the shares of its teams; the sum is
        what the pool has, never more. Whoever leaves some idle lends them.
        """
        found: dict[tuple[str, str, str], int] = {}
        for name, pool in self.pools.items():
            weights = {
                (queue.name, team): self._training.teams[team].share / self._shares(queue)
                for queue in self.queues.values()
                if name in queue.pools
                for team in queue.teams
            }
            for (queue_name, team), units in divide(pool.units, weights).items() if weights else ():
                found[queue_name, team, name] = units
        return found

    def _shares(self, queue: QueuePlan) -> int:
        return sum(self._training.teams[team].share for team in queue.teams)

    def _pool(self, name: str, pool: Pool, most: int) -> PoolPlan:
        found = resolve(pool, self._cloud, self._place.region)
        accelerator = ACCELERATORS[found[0].accelerator] if found[0].accelerator else None
        sharing = pool.accelerator.sharing if pool.accelerator else None
        where = zones(self._environment, self._cloud, pool, found[0])
        return PoolPlan(
            name=name,
            machines=found,
            accelerator=accelerator,
            per_node=found[0].count,
            slices=slices(accelerator, sharing),
            sharing=sharing,
            min=pool.nodes.min,
            max=most,
            choices=_choices(pool, most, where),
            fast=pool.interconnect == "fast",
            zones=where,
            disk_gib=pool.disk_gib,
            topology=pool.accelerator.topology if pool.accelerator else None,
            scheduler=pool.scheduler,
            team=pool.team,
            resilience=pool.resilience,
        )

    def _queue(self, name: str, queue: Queue) -> QueuePlan:
        return QueuePlan(
            name=name,
            pools=tuple(queue.pools),
            teams=tuple(sorted(queue.teams or self._training.teams)),
            priority_classes=dict(queue.priority_classes),
            retries=queue.retries,
            timeout_hours=queue.timeout_hours,
            checkpoint_zone=self._training.checkpoints(name),
            scheduler=self.pools[queue.pools[0]].scheduler,
        )


def resolve(pool: Pool, cloud: CloudName, region: str) -> tuple[Machine, ...]:
    """The machine types that fit a pool, the best first; none where nothing does."""
    wanted = pool.accelerator
    if pool.machine is not None:
        named = machine(cloud, pool.machine, *((wanted.type, wanted.per_node) if wanted else ()))
        return (named,) if named else ()
    if wanted is None:
        return ()
    found = machines(cloud, wanted.type, wanted.per_node, region)
    if pool.resilience == "hyperpod":  # one kind of machine, which HyperPod is known to have, if any is
        return (tuple(m for m in found if m.quota_cluster) or found)[:1]
    # What stands in for the best machine costs about as much: it feeds its accelerators, and is not over twice as large.
    return found[:1] + tuple(m for m in found[1:] if m.feeds and m.vcpus <= _LARGEST * found[0].vcpus)


def slices(accelerator: Accelerator | None, sharing: TimeSlicing | Mig | None) -> int:
    """Workloads on one accelerator.

    >>> slices(ACCELERATORS["nvidia-h100"], Mig(kind="mig", profile="2g.20gb"))
    3
    """
    match sharing:
        case TimeSlicing(replicas=replicas):
            return replicas
        case Mig(profile=profile):
            return MIG[accelerator.name][profile] if accelerator else 1
        case None:
            return 1


def ceilings(environment: Environment) -> Mapping[str, int]:
    """Machines at most of each pool, so that all pools together stay under `training.max_accelerators`.

    Each pool has its minimum, or one machine; what the ceiling leaves above that is divided in proportion to what each
    asks for above it, rounded down. Where it does not leave even that, a pool has its minimum.
    """
    pools, ceiling = environment.training.pools, environment.training.max_accelerators
    sizes = {name: per_node(environment, pool) for name, pool in pools.items()}
    least = {name: max(pool.nodes.min, 1) for name, pool in pools.items()}
    room = (ceiling or 0) - sum(least[name] * sizes[name] for name in pools)
    asked = sum((pool.nodes.max - least[name]) * sizes[name] for name, pool in pools.items())
    if ceiling is None or room >= asked:
        return {name: pool.nodes.max for name, pool in pools.items()}
    if room < 0:
        return {name: pool.nodes.min if sizes[name] else pool.nodes.max for name, pool in pools.items()}
    return {
        name: least[name] + (pool.nodes.max - least[name]) * room // asked if sizes[name] else pool.nodes.max
        for name, pool in pools.items()
    }


def per_node(environment: Environment, pool: Pool) -> int:
    """Accelerators that a machine of a pool has."""
    if pool.machine is not None:
        cloud = environment.cloud_of(pool)
        named = machine(cloud, pool.machine) if cloud else None
        return named.count if named else 0
    return pool.accelerator.per_node if pool.accelerator else 0


def zones(environment: Environment, cloud: CloudName, pool: Pool, best: Machine) -> tuple[str, ...]:
    """Where a pool's machines may be: its only zone, else the network's zones that are known to have the machine.

    A pool with a fast interconnect stays in one zone, the first of them; so does a group of machines of HyperPod.
    """
    if pool.zone:
        return (pool.zone,)
    region = cast("Aws | Gcp", getattr(environment.cloud, cloud)).region
    own = environment.network_zones(cloud)
    known = best.zones.get(region, ())
    found = tuple(zone for zone in own if zone in known) or own
    return found[:1] if pool.interconnect == "fast" or pool.resilience == "hyperpod" else found


def _choices(pool: Pool, most: int, where: tuple[str, ...]) -> tuple[Choice, ...]:
    """The choices in order. Each market may give all machines; reservations share them."""
    kinds = [kind(item) for item in pool.capacity]
    held = [item for item in pool.capacity if isinstance(item, Reserved | Block)]
    stated = sum(item.nodes or 0 for item in held)
    open_ended = [i for i, item in enumerate(held) if item.nodes is None]
    rest = divide(max(most - stated, 0), dict.fromkeys(open_ended, 1.0))
    sizes = {id(item): item.nodes or rest.get(i, 0) for i, item in enumerate(held)}
    needed = pool.nodes.min
    found: list[Choice] = []
    for i, item in enumerate(pool.capacity):
        held_here = isinstance(item, Reserved | Block)
        size = min(sizes[id(item)], most) if held_here else most
        least = min(needed, size)
        needed -= least
        number = kinds[: i + 1].count(kinds[i])
        found.append(
            Choice(
                kind=kinds[i],
                reservation=_reservation(item),
                min=least,
                max=size,
                zones=(item.zone,) if held_here and item.zone else where,
                # The first has no number: it stays what it is when a second one comes.
                label=kinds[i] if number == 1 else f"{kinds[i]}-{number}",
                starts=item.starts if isinstance(item, Block) else None,
                ends=item.ends if isinstance(item, Block) else None,
            )
        )
    return tuple(found)


def kind(capacity: object) -> str:
    """What a choice of capacity is.

    >>> kind(Block(block="cr-0123"))
    'block'
    """
    match capacity:
        case Reserved():
            return "reserved"
        case Block():
            return "block"
        case _:
            return str(capacity)


def _reservation(capacity: object) -> str | None:
    match capacity:
        case Reserved(reserved=name):
            return name
        case Block(block=name):
            return name
        case _:
            return None


def divide(whole: int, weights: Mapping[_K, float]) -> dict[_K, int]:
    """`whole` in parts by weight that add up to it; what rounding leaves over goes to the largest remainders, then by name.

    >>> divide(10, {"vision": 3, "nlp": 1})
    {'vision': 8, 'nlp': 2}
    """
    total = sum(weights.values())
    exact = {key: whole * weight / total for key, weight in weights.items()}
    parts = {key: int(value) for key, value in exact.items()}
    left = whole - sum(parts.values())
    for key in sorted(exact, key=lambda k: (parts[k] - exact[k], str(k)))[:left]:
        parts[key] += 1
    return parts
