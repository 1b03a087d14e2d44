"""Quotas on AWS: what the pools may take at once, by family, spot apart from on demand."""

from typing import Any

import pytest

from components.core.accelerators import machine
from components.spec.quotas import quotas
from tests.spec.test_capacity import environment, pool

G_ON_DEMAND, G_SPOT, P_ON_DEMAND, STANDARD = "L-DB2E81BA", "L-3819A6DF", "L-417A185B", "L-1216C47A"
WIDEST = 16  # of g6.4xlarge, which stands in for g6.2xlarge


def needed(**training: Any) -> dict[str, int]:
    return {need.quota.code: need.value for need in quotas(environment(**training), "aws")}


def test_a_pool_of_two_markets_needs_both_quotas_whole() -> None:
    found = needed(pools={"l4": pool(4, capacity=["spot", "on-demand"])})
    assert found == {STANDARD: 4 * 4, G_SPOT: 4 * WIDEST, G_ON_DEMAND: 4 * WIDEST}


def test_pools_of_one_family_add_up_and_a_named_machine_counts_as_itself() -> None:
    named = {"machine": "g6.xlarge", "nodes": {"max": 2}}
    found = needed(pools={"a": named, "b": named})
    assert found[G_ON_DEMAND] == 2 * 2 * 4
    assert G_SPOT not in found


def test_reservations_count_as_on_demand_and_blocks_do_not() -> None:
    h100 = machine("aws", "p5.48xlarge")
    assert h100 is not None
    capacity = [{"reserved": "cr-0123", "nodes": 1}, {"block": "cr-0456", "nodes": 3, "zone": "usw2-az1"}]
    found = needed(pools={"h": pool(4, type_="nvidia-h100", per_node=8, capacity=capacity)})
    assert found[P_ON_DEMAND] == h100.vcpus


def test_the_ceiling_bounds_what_is_asked_for() -> None:
    assert needed(max_accelerators=3, pools={"l4": pool(9)})[G_ON_DEMAND] == 3 * WIDEST


def test_without_a_cluster_nothing_is_asked_for_it() -> None:
    assert STANDARD not in needed(pools={"b": pool(1, scheduler="batch")})
    assert needed() == {}


@pytest.mark.parametrize("pools", [{"l4": pool(4, capacity=["spot"])}])
def test_who_needs_it_is_said(pools: dict[str, Any]) -> None:
    assert {n.quota.code: n.needed_by for n in quotas(environment(pools=pools), "aws")} == {
        STANDARD: ("system",), G_SPOT: ("l4",),
    }  # fmt: skip
