"""What pools, queues and teams of training have to fulfil: what each cloud can give, and in which combination."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from components.core.accelerators import ACCELERATORS, MACHINES, Machine, regions, topologies
from components.core.naming import LIMITS
from components.core.sagemaker import AGENT_ACCOUNTS, HYPERPOD_DISK_GIB, HYPERPOD_VERSIONS, TRAINING_PLAN
from components.spec.capacity import MIG, ceilings, kind, per_node, resolve, zones
from components.spec.environment import Environment
from components.spec.problems import Problem, one_of
from components.spec.section import CloudName
from components.spec.source import Layer, Path
from components.spec.training import Block, Mig, Pool, Reserved

_MARKETS = ("spot", "on-demand")
_KINDS: dict[CloudName, tuple[str, ...]] = {
    "aws": ("spot", "on-demand", "reserved", "block"),
    "gcp": ("spot", "on-demand", "reserved", "flex-start", "queued"),
}
_INSTEAD = {
    ("aws", "flex-start"): "{block: cr-…} of EC2 Capacity Blocks, or [spot, on-demand]",
    ("aws", "queued"): "{block: cr-…} of EC2 Capacity Blocks, or [spot, on-demand]",
    ("gcp", "block"): "{reserved: NAME} of a reservation in calendar mode, or flex-start",
}
# "cr-" and hexadecimal digits (EC2 API, CapacityReservationId); a resource name or its last part (Compute, reservations).
_RESERVATION: dict[CloudName, tuple[str, str]] = {
    "aws": (r"^cr-[0-9a-f]{4,20}$", "cr- and hexadecimal digits"),
    "gcp": (
        r"^(projects/[a-z][a-z0-9-]{4,28}[a-z0-9]/reservations/)?[a-z]([a-z0-9-]{0,61}[a-z0-9])?(/reservationBlocks/[a-z0-9-]+)?$",
        "NAME, or projects/PROJECT/reservations/NAME",
    ),
}
# Compute environments of a job queue of AWS Batch ("Job queue parameters", compute environment order).
_BATCH_ENVIRONMENTS = 3
# Machines with compact placement under flex-start (GKE "About flex-start provisioning"): A3 Ultra, A4.
_FLEX_COMPACT = ("nvidia-h200", "nvidia-b200")


# What a pool says that keeps it in one zone.
_ANYWHERE = {"zone": None, "interconnect": "default", "resilience": "none"}


@dataclass(frozen=True)
class _Rule:
    """A combination that a cloud does not have."""

    cloud: CloudName
    scheduler: str | None
    """`kubernetes` or `batch`; None for both."""
    breaks: Callable[[Sequence[str], Pool], bool]
    """From the kinds of capacity in order, and the pool."""
    wrong: str
    right: str


_RULES = (
    _Rule(
        "aws",
        None,
        lambda kinds, _: "block" in kinds and bool(set(kinds) & set(_MARKETS)),
        "EC2: a launch template has one market type, capacity-block or spot, so a block has no other market beside it",
        "a pool for the block and another for the rest, both named in the queue",
    ),
    _Rule(
        "aws",
        "kubernetes",
        lambda kinds, _: list(kinds) != sorted(kinds, key=("block", "reserved", "spot", "on-demand").index)
        and "block" not in kinds,
        "Karpenter always tries reserved, then spot, then on-demand",
        "[{reserved: …}, spot, on-demand] or a part of it, in this order",
    ),
    _Rule(
        "aws",
        "kubernetes",
        lambda kinds, pool: pool.nodes.min > 0 and bool(set(kinds) & set(_MARKETS)),
        "Karpenter starts machines for work that waits, and keeps none without",
        "nodes.min: 0, or capacity that is reserved alone",
    ),
    _Rule(
        "aws",
        "batch",
        lambda kinds, _: len(kinds) > 1 or not set(kinds) <= set(_MARKETS),
        "a compute environment of Batch has one source of machines, spot or on-demand",
        "one of them; a queue that names two pools falls back from the first to the second",
    ),
    _Rule(
        "aws",
        "batch",
        lambda kinds, pool: "spot" in kinds and pool.interconnect == "fast",
        "Batch runs no job over several machines on spot",
        "on-demand, or interconnect: default",
    ),
    _Rule(
        "gcp",
        None,
        lambda kinds, _: "queued" in kinds and len(kinds) > 1,
        "GKE: machines of queued provisioning come only for a ProvisioningRequest, so they are no fallback",
        "[queued] alone, and another pool in the queue",
    ),
    _Rule(
        "gcp",
        None,
        lambda kinds, pool: pool.nodes.min > 0 and bool(set(kinds) & {"queued", "flex-start"}),
        "GKE: flex-start and queued provisioning start from zero",
        "nodes.min: 0",
    ),
    _Rule(
        "gcp",
        None,
        lambda kinds, pool: "queued" in kinds and pool.interconnect == "fast" and not _tpu(pool),
        "GKE: queued provisioning has no compact placement, TPUs apart",
        "interconnect: default, or capacity reserved",
    ),
    _Rule(
        "gcp",
        None,
        lambda kinds, pool: "flex-start" in kinds and pool.interconnect == "fast" and not _tpu(pool)
        and not (pool.accelerator and pool.accelerator.type in _FLEX_COMPACT),
        f"GKE: flex-start has compact placement only with {' and '.join(_FLEX_COMPACT)}",
        "interconnect: default, or capacity reserved",
    ),
)  # fmt: skip


def _tpu(pool: Pool) -> bool:
    return bool(pool.accelerator and pool.accelerator.type.startswith("google-tpu"))


def _pools(environment: Environment) -> Iterator[tuple[Path, Pool, CloudName]]:
    """Each pool on a cloud that is there and has its region, with its place in the description."""
    for name, pool in environment.training.pools.items():
        cloud = environment.known_cloud(pool)
        if cloud:
            yield ("training", "pools", name), pool, cloud


def places(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """A cloud that is there, and what places work on it there."""
    for name, pool in environment.training.pools.items():
        path = ("training", "pools", name)
        if pool.on and pool.on not in environment.cloud.names:
            yield layer.problem(
                (*path, "on"), f"the environment is not on {pool.on}", one_of(pool.on, environment.cloud.names)
            )
        if pool.scheduler == "batch" and environment.cloud_of(pool) == "gcp":
            yield layer.problem(
                (*path, "scheduler"), "Google Cloud has no job queues of Batch", "kubernetes: Kueue on GKE"
            )
        if pool.team and pool.team not in environment.teams:
            yield layer.problem((*path, "team"), f"there is no team {pool.team}", one_of(pool.team, environment.teams))


def machine_types(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """Machines that the catalogue knows in the region, in zones that have them, with what is asked of them."""
    for path, pool, cloud in _pools(environment):
        region = getattr(environment.cloud, cloud).region
        if pool.accelerator is None and pool.machine is None:
            yield layer.problem(path, "names neither an accelerator nor a machine", "accelerator.type, or machine")
            continue
        unknown = list(_unknown(layer, path, pool, cloud, region))
        yield from unknown
        found = () if unknown else resolve(pool, cloud, region)
        if not found:
            continue
        best = found[0]
        own = zones(environment, cloud, pool.model_copy(update=_ANYWHERE), best)
        if pool.zone and pool.zone not in own:
            yield layer.problem(
                (*path, "zone"), f"{best.type} is not in {pool.zone}, or the network is not", one_of(pool.zone, own)
            )
        if pool.interconnect == "fast" and best.fabric is None:
            fabrics = sorted(
                {m.type for m in MACHINES if m.cloud == cloud and m.fabric and m.accelerator == best.accelerator}
            )
            right = f"default, or {', '.join(fabrics)}" if fabrics else "default"
            yield layer.problem((*path, "interconnect"), f"{best.type} has no fabric of its own", right)
        yield from _accelerated(layer, path, pool)
        yield from _slices(layer, path, pool, best)


def _slices(layer: Layer, path: Path, pool: Pool, best: Machine) -> Iterator[Problem]:
    """TPUs are there by the slice: all of its machines, or none."""
    wanted = pool.accelerator
    if wanted is None or wanted.topology is None or best.fabric != "ici":
        return
    known = {each.topology: each for each in topologies(best.type)}
    if wanted.topology not in known:
        wrong = f"{best.type} has no slice {wanted.topology}"
        yield layer.problem((*path, "accelerator", "topology"), wrong, one_of(wanted.topology, known))
        return
    nodes = known[wanted.topology].nodes
    for key, count in (("min", pool.nodes.min), ("max", pool.nodes.max)):
        if count % nodes:
            wrong = f"a slice {wanted.topology} is {nodes} machines, and {count} are no whole number of them"
            yield layer.problem((*path, "nodes", key), wrong, f"{count // nodes * nodes or nodes}, or another multiple")


def _unknown(layer: Layer, path: Path, pool: Pool, cloud: CloudName, region: str) -> Iterator[Problem]:
    wanted = pool.accelerator
    if wanted and wanted.type not in ACCELERATORS:
        yield layer.problem(
            (*path, "accelerator", "type"),
            f"{wanted.type} is no accelerator of the catalogue",
            one_of(wanted.type, ACCELERATORS),
        )
        return
    if pool.machine is not None:
        known = [m for m in MACHINES if m.cloud == cloud]
        if pool.machine not in {m.type for m in known}:
            types = dict.fromkeys(m.type for m in known)
            yield layer.problem(
                (*path, "machine"),
                f"{pool.machine} is no machine of the catalogue on {cloud}",
                one_of(pool.machine, types),
            )
        elif not resolve(pool, cloud, region) and wanted:
            carries = sorted({f"{m.count} {m.accelerator}" for m in known if m.type == pool.machine and m.accelerator})
            yield layer.problem(
                (*path, "machine"), f"{pool.machine} does not carry {wanted.per_node} {wanted.type}",
                f"it carries {', '.join(carries)}" if carries else "it carries no accelerator",
            )  # fmt: skip
        return
    if wanted is None or resolve(pool, cloud, region):
        return
    counts = sorted({m.count for m in MACHINES if m.cloud == cloud and m.accelerator == ACCELERATORS[wanted.type].name})
    if not counts:
        others = sorted({m.accelerator for m in MACHINES if m.cloud == cloud and m.accelerator})
        yield layer.problem(
            (*path, "accelerator", "type"), f"{cloud} has no {wanted.type}", one_of(wanted.type, others)
        )
    elif wanted.per_node not in counts:
        yield layer.problem(
            (*path, "accelerator", "per_node"),
            f"{cloud} has no machine with {wanted.per_node} {wanted.type}",
            one_of("", map(str, counts)),
        )
    else:
        where = regions(cloud, wanted.type, wanted.per_node)
        yield layer.problem(
            (*path, "accelerator", "type"), f"{wanted.per_node} {wanted.type} a machine are not known in {region}",
            f"a region that has them: {', '.join(where)}",
        )  # fmt: skip


def _accelerated(layer: Layer, path: Path, pool: Pool) -> Iterator[Problem]:
    wanted = pool.accelerator
    if wanted is None:
        return
    name = ACCELERATORS[wanted.type].name
    if pool.scheduler == "batch" and not name.startswith("nvidia"):
        # No image type of Batch has the driver ("Ec2Configuration", imageType).
        yield layer.problem((*path, "scheduler"), f"Batch has no image for {wanted.type}", "kubernetes")
    if (wanted.topology is not None) != name.startswith("google-tpu"):
        wrong = "only a TPU has a topology" if wanted.topology else "a TPU is asked for by its topology"
        yield layer.problem(
            (*path, "accelerator", "topology"), wrong, "no topology" if wanted.topology else "such as 2x4"
        )
    if wanted.sharing is None:
        return
    sharing = (*path, "accelerator", "sharing")
    if pool.scheduler == "batch":
        yield layer.problem(sharing, "Batch gives a job whole accelerators", "no sharing, or scheduler: kubernetes")
        return
    if not name.startswith("nvidia"):
        yield layer.problem(sharing, f"{wanted.type} cannot be shared", "no sharing")
    elif isinstance(wanted.sharing, Mig) and name not in MIG:
        yield layer.problem(sharing, f"{wanted.type} cannot be divided", f"time-slicing, or one of: {', '.join(MIG)}")
    elif isinstance(wanted.sharing, Mig) and wanted.sharing.profile not in MIG[name]:
        profile = wanted.sharing.profile
        yield layer.problem((*sharing, "profile"), f"{wanted.type} has no {profile}", one_of(profile, MIG[name]))
    elif pool.interconnect == "fast":
        yield layer.problem(sharing, "a pool that works across machines needs whole accelerators", "no sharing")


def capacities(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """Capacity that the cloud has, and has together."""
    for path, pool, cloud in _pools(environment):
        kinds = [kind(item) for item in pool.capacity]
        foreign = [k for k in kinds if k not in _KINDS[cloud]]
        for i, found in enumerate(kinds):
            here = (*path, "capacity", i)
            if found in foreign:
                yield layer.problem(here, f"{cloud} has no capacity {found}", _INSTEAD[cloud, found])
            elif isinstance(pool.capacity[i], str) and found in kinds[:i]:
                yield layer.problem(here, f"{found} stands twice", "each once")
        if not foreign and cloud == "aws" and pool.resilience == "hyperpod":
            yield from _training_plan(environment, layer, path, pool, cloud)
        elif not foreign:
            for rule in _RULES:
                if rule.cloud == cloud and rule.scheduler in {None, pool.scheduler} and rule.breaks(kinds, pool):
                    yield layer.problem((*path, "capacity"), f"[{', '.join(kinds)}]: {rule.wrong}", rule.right)
            yield from _reservations(environment, layer, path, pool, cloud)


def _reservations(
    environment: Environment, layer: Layer, path: Path, pool: Pool, cloud: CloudName
) -> Iterator[Problem]:
    region = getattr(environment.cloud, cloud).region
    found = resolve(pool, cloud, region)
    own = zones(environment, cloud, pool, found[0]) if found else ()
    stated = 0
    for i, item in enumerate(pool.capacity):
        if not isinstance(item, Reserved | Block):
            continue
        here = (*path, "capacity", i)
        stated += item.nodes or 0
        pattern, right = _RESERVATION[cloud]
        if isinstance(item, Reserved) and not re.match(pattern, item.reserved):
            yield layer.problem((*here, "reserved"), f"{item.reserved} is no reservation of {cloud}", right)
        if item.zone and own and item.zone not in own:
            yield layer.problem((*here, "zone"), f"the pool is not in {item.zone}", one_of(item.zone, own))
        elif item.zone is None and len(own) > 1 and (cloud == "gcp" or isinstance(item, Block)):
            yield layer.problem(
                here, "a reservation lies in one zone, and the pool in several", f"zone: {', or '.join(own)}"
            )
        if isinstance(item, Block) and (item.starts is None) != (item.ends is None):
            yield layer.problem(here, "of its two ends one is missing", "starts and ends, or neither")
        elif isinstance(item, Block) and item.starts and item.ends and item.starts >= item.ends:
            yield layer.problem(here, f"it ends at {item.ends}, before it starts", "ends after starts")
    if stated > pool.nodes.max:
        yield layer.problem(
            (*path, "capacity"), f"the reservations' nodes come to {stated}", f"{pool.nodes.max} at most, as nodes.max"
        )


def _training_plan(
    environment: Environment, layer: Layer, path: Path, pool: Pool, cloud: CloudName
) -> Iterator[Problem]:
    """The one source of machines that a group of HyperPod has; spot machines, which it has too, Karpenter starts as well."""
    if len(pool.capacity) > 1 or kind(pool.capacity[0]) not in {"on-demand", "reserved"}:
        wrong = f"[{', '.join(kind(item) for item in pool.capacity)}]: HyperPod keeps machines on demand, or those of a plan"
        yield layer.problem((*path, "capacity"), wrong, "[on-demand], or [{reserved: ARN of a training plan}]")
        return
    item = pool.capacity[0]
    if not isinstance(item, Reserved):
        return
    here = (*path, "capacity", 0)
    if not re.match(TRAINING_PLAN, item.reserved):
        wrong = f"{item.reserved} is no training plan, and HyperPod takes no other reservation"
        yield layer.problem((*here, "reserved"), wrong, "arn:aws:sagemaker:REGION:ACCOUNT:training-plan/NAME")
    if item.nodes not in {None, pool.nodes.max}:
        yield layer.problem((*here, "nodes"), "HyperPod takes all of a pool from its plan", f"{pool.nodes.max}, as max")
    own = environment.network_zones(cloud)
    if item.zone and item.zone not in own:
        yield layer.problem((*here, "zone"), f"the network is not in {item.zone}", one_of(item.zone, own))
    elif not item.zone and not pool.zone:
        yield layer.problem(here, "a training plan lies in one zone, which is not said", f"zone: {', or '.join(own)}")


def resilience(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """Pools that HyperPod keeps: on AWS, for the cluster, of machines that it has and that are there at all times."""
    version, first = environment.training.cluster.version, None
    for path, pool, cloud in _pools(environment):
        if pool.resilience != "hyperpod":
            continue
        here, region = (*path, "resilience"), getattr(environment.cloud, cloud).region
        if cloud != "aws":
            yield layer.problem(here, "Google Cloud has no HyperPod", "none: GKE repairs its machines by itself")
            continue
        if pool.scheduler != "kubernetes":
            yield layer.problem(
                here, "HyperPod gives its machines to the cluster, not to Batch", "scheduler: kubernetes"
            )
            continue
        if first:
            # One HyperPod cluster goes with one EKS cluster, and Cloud Control changes a list by position, where the type keeps
            # no order of its groups (insertionOrder: false): what was meant for one could end the machines of another.
            yield layer.problem(
                here, f"HyperPod keeps one pool of a cluster, which is {first}", "none, or one larger pool"
            )
        first = first or path[-1]
        if region not in AGENT_ACCOUNTS:
            known = ", ".join(sorted(AGENT_ACCOUNTS))
            yield layer.problem(here, f"HyperPod is not known in {region}", f"a region that has it: {known}")
        if version not in HYPERPOD_VERSIONS:
            right = f"training.cluster.version: {' or '.join(HYPERPOD_VERSIONS)}"
            yield layer.problem(here, f"HyperPod has no machines for Kubernetes {version}", right)
        found = resolve(pool, cloud, region)
        if found and found[0].quota_cluster is None:
            types = ", ".join(m.type for m in MACHINES if m.quota_cluster)
            yield layer.problem(here, f"HyperPod is not known to have {found[0].type}", f"none, or one of: {types}")
        if pool.nodes.min != pool.nodes.max:
            wrong = "HyperPod keeps all machines of a pool, whether there is work or not"
            yield layer.problem((*path, "nodes"), wrong, f"min: {pool.nodes.max}, as max")
        if pool.accelerator and pool.accelerator.sharing:
            wrong = "machines of HyperPod do not divide their accelerators"
            yield layer.problem((*path, "accelerator", "sharing"), wrong, "no sharing")
        if pool.disk_gib > HYPERPOD_DISK_GIB:
            wrong = f"a machine of HyperPod has a disk of {HYPERPOD_DISK_GIB} GiB at most"
            yield layer.problem((*path, "disk_gib"), wrong, f"{HYPERPOD_DISK_GIB} or less")


def sizes(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """No minimum over a maximum, and a ceiling that leaves every pool its minimum."""
    training = environment.training
    system = training.cluster.system
    if system.min > system.max:
        yield layer.problem(
            ("training", "cluster", "system"),
            f"min {system.min} is over max {system.max}",
            f"max: {system.min} or more",
        )
    for name, pool in training.pools.items():
        path = ("training", "pools", name, "nodes")
        if pool.nodes.min > pool.nodes.max:
            yield layer.problem(
                path, f"min {pool.nodes.min} is over max {pool.nodes.max}", f"max: {pool.nodes.min} or more"
            )
    ceiling = training.max_accelerators
    if ceiling is None or not environment.cloud.names:
        return
    least = {name: pool.nodes.min * per_node(environment, pool) for name, pool in training.pools.items()}
    if sum(least.values()) > ceiling:
        held = ", ".join(f"{name} {count}" for name, count in least.items() if count)
        wrong = f"{ceiling} is under the pools' minima: {held}"
        yield layer.problem(("training", "max_accelerators"), wrong, f"{sum(least.values())} or more")
        return
    for name, most in ceilings(environment).items():
        if most == 0:
            yield layer.problem(
                ("training", "max_accelerators"), f"{ceiling} leaves no machine to {name}",
                "more, or a smaller nodes.max in the other pools",
            )  # fmt: skip


def teams(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """Teams that are there, and somebody who may use each queue."""
    training = environment.training
    for name in training.teams:
        if name not in environment.teams:
            path = ("training", "teams", name)
            yield layer.problem(path, f"there is no team {name}", one_of(name, environment.teams))
    for name, queue in training.queues.items():
        path = ("training", "queues", name)
        for i, team in enumerate(queue.teams or []):
            if team not in training.teams:
                yield layer.problem((*path, "teams", i), f"{team} has no share", one_of(team, training.teams))
        if not training.teams:
            right = "training.teams: a share and gpus for each team that trains"
            yield layer.problem(path, "nobody may use it", right)


def queues(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """Queues of pools that are there, on one cloud and one scheduler, with what their pools ask of them."""
    training = environment.training
    for name, queue in training.queues.items():
        path = ("training", "queues", name)
        for i, pool in enumerate(queue.pools):
            if pool not in training.pools:
                yield layer.problem((*path, "pools", i), f"there is no pool {pool}", one_of(pool, training.pools))
            elif pool in queue.pools[:i]:
                yield layer.problem((*path, "pools", i), f"{pool} stands twice", "each pool once")
        named = [training.pools[pool] for pool in queue.pools if pool in training.pools]
        places = {(environment.cloud_of(pool), pool.scheduler) for pool in named}
        if len(places) > 1:
            yield layer.problem((*path, "pools"), "they are not on one cloud and one scheduler", "a queue for each")
        elif named and named[0].scheduler == "batch" and len(named) > _BATCH_ENVIRONMENTS:
            yield layer.problem((*path, "pools"), "too many for a job queue of Batch", f"{_BATCH_ENVIRONMENTS} at most")
        if not queue.priority_classes:
            yield layer.problem((*path, "priority_classes"), "there is none", "one or more, such as normal: 100")
        if queue.retries == 0 and any("spot" in pool.capacity for pool in named):
            wrong = "work on spot machines is interrupted, and would not be started again"
            yield layer.problem((*path, "retries"), wrong, "1 or more")


def names(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """Pool names that fit: GKE makes instance templates of them, one for each choice of capacity."""
    for path, pool, cloud in _pools(environment):
        name = str(path[-1])
        kinds = [kind(item) for item in pool.capacity]
        longest = max((f"{name}-{k}-{kinds.count(k)}" if kinds.count(k) > 1 else f"{name}-{k}" for k in kinds), key=len)
        room = LIMITS["node_pool"] if cloud == "gcp" else LIMITS["node_group"]
        if len(longest) > room:
            spare = room - (len(longest) - len(name))
            yield layer.problem(
                path, f"makes the name {longest}: {len(longest)} characters, {room} fit an instance template",
                f"a name of {spare} characters at most",
            )  # fmt: skip


CHECKS = (places, machine_types, capacities, resilience, sizes, teams, queues, names)
