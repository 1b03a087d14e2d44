"""The quotas that a description needs on a cloud: everything at its maximum at once, by family, on demand and spot apart."""

from collections.abc import Iterator
from dataclasses import dataclass

from components.core.accelerators import GPUS_ALL_REGIONS, HYPERPOD, Machine, Quota, machine
from components.spec.capacity import Capacity, PoolPlan
from components.spec.environment import Environment
from components.spec.section import CloudName

# What the system pool of a cluster is made of: room for the controllers of a cluster with some hundred machines.
SYSTEM_MACHINE: dict[CloudName, str] = {"aws": "m7i.xlarge", "gcp": "n2-standard-4"}


@dataclass(frozen=True, kw_only=True)
class QuotaNeed:
    """So much of one quota."""

    quota: Quota
    value: int
    """In the quota's unit."""
    needed_by: tuple[str, ...]
    """Names of the pools, and `system`."""


def system_machine(cloud: CloudName) -> Machine:
    """The machine of a cluster's own services."""
    found = machine(cloud, SYSTEM_MACHINE[cloud])
    assert found is not None, f"the catalogue has no {SYSTEM_MACHINE[cloud]}"  # noqa: S101 - a table against a table
    return found


def quotas(environment: Environment, cloud: CloudName) -> tuple[QuotaNeed, ...]:
    """The needs in the order of the description, each quota once.

    A reservation counts as on demand; a capacity block has limits of its own. Where several machine types are possible,
    the one with the most vCPUs counts, for nobody knows which one it will be.
    """
    capacity = Capacity(environment, cloud)
    found: dict[tuple[str, str, tuple[tuple[str, str], ...]], tuple[Quota, int, list[str]]] = {}
    for name, quota, value in _parts(environment, cloud, capacity):
        key = (quota.service, quota.code, tuple(sorted(quota.dimensions.items())))
        _, before, names = found.get(key, (quota, 0, []))
        found[key] = (quota, before + value, [*names, name])
    return tuple(
        QuotaNeed(quota=quota, value=value, needed_by=tuple(dict.fromkeys(names)))
        for quota, value, names in found.values()
        if value
    )


def _parts(environment: Environment, cloud: CloudName, capacity: Capacity) -> Iterator[tuple[str, Quota, int]]:
    if capacity.kubernetes:
        system = system_machine(cloud)
        if system.quota_on_demand:
            yield "system", system.quota_on_demand, environment.training.cluster.system.max * system.vcpus
    for name, pool in capacity.pools.items():
        for quota, nodes in _markets(pool):
            sizes = {
                "vcpus": max(m.vcpus for m in pool.machines),
                "accelerators": max(pool.per_node, 1),
                "instances": 1,
            }
            yield name, quota, nodes * sizes[quota.unit]
        if pool.accelerator and pool.accelerator.vendor == "nvidia" and cloud == "gcp":
            yield name, GPUS_ALL_REGIONS, pool.accelerators


def _markets(pool: PoolPlan) -> Iterator[tuple[Quota, int]]:
    """Each quota that a pool counts against, with the machines that it may take of it."""
    if pool.resilience == "hyperpod":  # of SageMaker, which has quotas of its own
        for quota in (pool.machine.quota_cluster, *HYPERPOD):
            if quota:
                yield quota, pool.max
        return
    spot = max((choice.max for choice in pool.choices if choice.kind == "spot"), default=0)
    # Machines on demand that stand in for one another count once, reservations each.
    others = [choice.max for choice in pool.choices if choice.kind in {"on-demand", "flex-start", "queued"}]
    steady = max([sum(choice.max for choice in pool.choices if choice.kind == "reserved"), *others])
    if spot and pool.machine.quota_spot:
        yield pool.machine.quota_spot, spot
    if steady and pool.machine.quota_on_demand:
        yield pool.machine.quota_on_demand, steady
