"""What file systems have to fulfil: a cloud and a zone that are there, and sizes that the clouds make."""

from collections.abc import Callable, Iterator
from itertools import combinations

from components.spec.environment import Environment
from components.spec.file_systems import FileSystem
from components.spec.problems import Problem, one_of
from components.spec.source import Layer, Path

# GiB by throughput. Sources: Amazon FSx "CreateFileSystem", StorageCapacity (1200 or a multiple of 2400); "Managing storage
# capacity", EFA-enabled file systems; Managed Lustre "Performance tiers": the least, and up to where such steps lead.
_AWS_LEAST, _AWS_STEP = 1200, 2400
_EFA_STEPS = {125: 38_400, 250: 19_200, 500: 9_600, 1000: 4_800}
_GCP_STEPS = {125: 72_000, 250: 36_000, 500: 18_000, 1000: 9_000}
_GCP_MOST = {125: 12_240_000, 250: 6_120_000, 500: 3_060_000, 1000: 1_530_000}


def _all(environment: Environment) -> Iterator[tuple[Path, str, FileSystem]]:
    for name, file_system in environment.data.file_systems.items():
        yield ("data", "file_systems", name), name, file_system


def links(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """A cloud, a storage zone and a team that are there, and no two file systems that write to the same place."""
    zones = [zone for zone in environment.data.zones if zone != environment.data.access_log_zone]
    for path, _, file_system in _all(environment):
        if file_system.on and file_system.on not in environment.cloud.names:
            wrong = f"the environment is not on {file_system.on}"
            yield layer.problem((*path, "on"), wrong, one_of(file_system.on, environment.cloud.names))
        if file_system.zone == environment.data.access_log_zone:
            yield layer.problem(
                (*path, "zone"), f"{file_system.zone} holds access logs and nothing else", one_of("", zones)
            )
        elif file_system.zone not in zones:
            yield layer.problem(
                (*path, "zone"), f"there is no zone {file_system.zone}", one_of(file_system.zone, zones)
            )
        if file_system.team and file_system.team not in environment.teams:
            wrong = f"there is no team {file_system.team}"
            yield layer.problem((*path, "team"), wrong, one_of(file_system.team, environment.teams))
    for (_, first, one), (path, _, other) in combinations(_all(environment), 2):
        same = (one.zone, one.on) == (other.zone, other.on)
        if same and (one.prefix.startswith(other.prefix) or other.prefix.startswith(one.prefix)):
            wrong = f"{first} is linked to the same part of {other.zone}; each would undo what the other writes"
            yield layer.problem(
                (*path, "prefix"), wrong, "a prefix that does not begin with the other, nor it with this"
            )


def sizes(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """Sizes that the cloud makes."""
    for path, _, file_system in _all(environment):
        cloud = environment.cloud_of(file_system)
        if cloud not in environment.cloud.names:
            continue
        size, speed = file_system.capacity_gib, file_system.throughput
        here, fast = (*path, "capacity_gib"), file_system.interconnect == "fast"
        if cloud == "aws":
            if fast:
                yield from _multiple(layer, here, size, _EFA_STEPS[speed], f"over EFA, at {speed} MB/s a TiB,")
            elif size != _AWS_LEAST:
                yield from _multiple(layer, here, size, _AWS_STEP, "on FSx", besides=f"{_AWS_LEAST}, or ")
            continue
        if fast:
            yield layer.problem((*path, "interconnect"), "Managed Lustre has no fabric of its own", "default")
        if size > _GCP_MOST[speed]:
            wrong = f"{size} GiB are too many for Managed Lustre at {speed} MB/s a TiB"
            yield layer.problem(here, wrong, f"{_GCP_MOST[speed]} at most")
        else:
            yield from _multiple(layer, here, size, _GCP_STEPS[speed], f"on Managed Lustre, at {speed} MB/s a TiB,")


def _multiple(layer: Layer, path: Path, size: int, step: int, where: str, *, besides: str = "") -> Iterator[Problem]:
    if size % step:
        below, above = size // step * step, (size // step + 1) * step
        near = " or ".join(str(found) for found in (below, above) if found)
        yield layer.problem(
            path, f"{where} no file system has {size} GiB", f"{besides}a multiple of {step}, such as {near}"
        )


def places(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """A place within the network."""
    for path, _, file_system in _all(environment):
        cloud = environment.known_cloud(file_system)
        known = environment.network_zones(cloud) if cloud else ()
        if cloud and file_system.place and file_system.place not in known:
            wrong = f"the network is not in {file_system.place}"
            yield layer.problem((*path, "place"), wrong, one_of(file_system.place, known))


CHECKS: tuple[Callable[[Environment, Layer], Iterator[Problem]], ...] = (links, sizes, places)
