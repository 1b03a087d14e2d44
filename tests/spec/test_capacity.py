"""What pools and queues come to on a cloud: machines, choices, ceilings, shares."""

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.core.accelerators import ACCELERATORS
from components.spec.capacity import Capacity, ceilings, divide, slices
from components.spec.environment import Environment
from components.spec.load import load
from components.spec.training import Mig, TimeSlicing
from tests.conftest import ROOT


def environment(stack: str = "dev", **training: Any) -> Environment:
    """An environment of the repository with this training instead of its own."""
    base = load(ROOT, stack, today=date(2026, 6, 1)).model_dump(exclude_none=True)
    keep = {"checkpoint_days": base["training"]["checkpoint_days"]}
    base["training"] = {
        **keep,
        "teams": {"vision": {"share": 3, "gpus": 9}, "risk": {"share": 1, "gpus": 9}},
        **training,
    }
    return Environment.model_validate(base)


def pool(most: int = 4, least: int = 0, *, per_node: int = 1, type_: str = "nvidia-l4", **rest: Any) -> dict[str, Any]:
    return {"accelerator": {"type": type_, "per_node": per_node}, "nodes": {"min": least, "max": most}, **rest}


@pytest.mark.parametrize(("stack", "cloud", "family"), [("dev", "aws", "g6."), ("dev-gcp", "gcp", "g2-standard-")])
def test_an_accelerator_becomes_machines_of_the_cloud(stack: str, cloud: Any, family: str):
    built = Capacity(environment(stack, pools={"l4": pool()}), cloud).pools["l4"]
    assert built.machine.type.startswith(family)
    assert built.machine.count == built.per_node == 1
    assert built.resource == "nvidia.com/gpu"
    assert built.accelerators == 4


def test_a_named_machine_is_taken_as_it_is():
    built = Capacity(environment(pools={"l4": {"machine": "g6.12xlarge", "nodes": {"max": 2}}}), "aws").pools["l4"]
    assert [m.type for m in built.machines] == ["g6.12xlarge"]
    assert built.accelerators == 8


def test_a_machine_without_accelerator_counts_as_a_machine():
    built = Capacity(environment(pools={"cpu": {"machine": "m7i.2xlarge", "nodes": {"max": 3}}}), "aws").pools["cpu"]
    assert (built.accelerator, built.per_node, built.units) == (None, 0, 3)


def test_shared_accelerators_count_as_often_as_they_are_shared():
    sharing = {"kind": "time-slicing", "replicas": 4}
    described = {"accelerator": {"type": "nvidia-l4", "sharing": sharing}, "nodes": {"max": 2}}
    built = Capacity(environment(pools={"l4": described}), "aws").pools["l4"]
    assert (built.accelerators, built.devices) == (2, 8)


@pytest.mark.parametrize(
    ("profile", "parts"),
    [("1g.10gb", 7), ("1g.20gb", 4), ("2g.20gb", 3), ("3g.40gb", 2), ("4g.40gb", 1), ("7g.80gb", 1)],
)
def test_a_profile_says_how_many_parts_an_accelerator_has(profile: str, parts: int):
    assert slices(ACCELERATORS["nvidia-h100"], Mig(kind="mig", profile=profile)) == parts
    assert slices(ACCELERATORS["nvidia-l4"], TimeSlicing(kind="time-slicing", replicas=5)) == 5


def test_markets_may_each_give_all_machines_and_reservations_share_them():
    capacity = [{"reserved": "cr-0123"}, {"reserved": "cr-4567", "nodes": 1}, {"block": "cr-89ab", "zone": "usw2-az1"}]
    described = pool(6, 2, type_="nvidia-h100", per_node=8, capacity=capacity)
    built = Capacity(environment(pools={"h": described, "l": pool(5, capacity=["spot", "on-demand"])}), "aws").pools
    assert [(c.label, c.min, c.max, c.reservation) for c in built["h"].choices] == [
        ("reserved", 2, 3, "cr-0123"), ("reserved-2", 0, 1, "cr-4567"), ("block", 0, 2, "cr-89ab"),
    ]  # fmt: skip
    assert built["h"].choices[2].zones == ("usw2-az1",)
    assert [(c.label, c.max) for c in built["l"].choices] == [("spot", 5), ("on-demand", 5)]


def test_a_fast_pool_stays_in_one_zone():
    described = pool(2, type_="nvidia-h100", per_node=8, interconnect="fast", capacity=["on-demand"])
    assert len(Capacity(environment(pools={"h": described}), "aws").pools["h"].zones) == 1
    described = {**described, "zone": "usw2-az2"}
    assert Capacity(environment(pools={"h": described}), "aws").pools["h"].zones == ("usw2-az2",)


def test_a_ceiling_is_divided_and_leaves_every_pool_its_minimum():
    described = environment(
        max_accelerators=10,
        pools={
            "a": pool(10, 2, capacity=[{"reserved": "cr-0123"}]),
            "b": pool(2, per_node=8),
            "c": {"machine": "m7i.xlarge", "nodes": {"max": 9}},
        },
    )
    most = ceilings(described)
    assert most["a"] >= 2
    assert most["a"] + 8 * most["b"] <= 10
    assert most["c"] == 9
    assert ceilings(environment(max_accelerators=99, pools={"a": pool(10)})) == {"a": 10}


POOLS = st.dictionaries(
    st.sampled_from("abcdef"),
    st.builds(
        lambda least, more, per_node: pool(least + more, least, per_node=per_node),
        st.integers(0, 5), st.integers(1, 40), st.sampled_from([1, 4, 8]),
    ),
    min_size=1,
)  # fmt: skip


@given(POOLS, st.integers(0, 400))
def test_no_ceiling_is_ever_exceeded(pools: dict[str, Any], above: int):
    least = sum(p["nodes"]["min"] * p["accelerator"]["per_node"] for p in pools.values())
    described = environment(max_accelerators=max(least + above, 1), pools=pools)
    most = ceilings(described)
    assert sum(most[n] * p["accelerator"]["per_node"] for n, p in pools.items()) <= max(least + above, 1)
    assert all(p["nodes"]["min"] <= most[n] <= p["nodes"]["max"] for n, p in pools.items())


QUEUES = st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, unique=True), min_size=1, max_size=6)


@given(POOLS, QUEUES, st.integers(1, 9), st.integers(1, 9))
def test_what_teams_may_count_on_is_what_a_pool_has(
    pools: dict[str, Any], named: list[list[str]], one: int, other: int
):
    teams = {"vision": {"share": one, "gpus": 9}, "risk": {"share": other, "gpus": 9}}
    lists = [[p for p in group if p in pools] for group in named]
    queues = {f"q{i}": {"pools": group} for i, group in enumerate(lists) if group}
    capacity = Capacity(environment(pools=pools, queues=queues, teams=teams), "aws")
    nominal = capacity.nominal()
    for name, built in capacity.pools.items():
        parts = [units for (_, _, p), units in nominal.items() if p == name]
        assert sum(parts) == (built.devices if parts else 0)
        assert all(units >= 0 for units in parts)


@given(st.integers(0, 1000), st.dictionaries(st.text(max_size=3), st.floats(0.1, 100), min_size=1))
def test_parts_add_up_whatever_the_order(whole: int, weights: dict[str, float]):
    parts = divide(whole, weights)
    assert divide(whole, dict(reversed(weights.items()))) == parts
    assert sum(parts.values()) == whole
    total = sum(weights.values())
    assert all(abs(parts[k] - whole * w / total) < 1 + 1e-6 for k, w in weights.items())


def test_a_pool_lies_on_one_cloud_and_its_queue_with_it():
    both = load(ROOT, "dev").model_dump(exclude_none=True)
    both["cloud"]["gcp"] = load(ROOT, "dev-gcp").model_dump(exclude_none=True)["cloud"]["gcp"]
    both["training"] |= {
        "pools": {"here": pool(), "there": pool(on="gcp")},
        "queues": {"near": {"pools": ["here"]}, "far": {"pools": ["there"]}},
    }
    described = Environment.model_validate(both)
    for cloud, name, queue in (("aws", "here", "near"), ("gcp", "there", "far")):
        capacity = Capacity(described, cloud)  # type: ignore[arg-type]
        assert (set(capacity.pools), set(capacity.queues), capacity.kubernetes) == ({name}, {queue}, True)
        assert capacity.queues[queue].teams == ("risk", "vision")


def test_without_pools_no_cluster_is_needed():
    assert not Capacity(environment(), "aws").kubernetes
    assert not Capacity(environment(pools={"b": pool(scheduler="batch")}), "aws").kubernetes
