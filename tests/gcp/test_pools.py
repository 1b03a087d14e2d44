"""Pools: a node pool for each choice, what it is made of, and what would replace it."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.core.accelerators import MACHINES, topologies
from components.core.google import started
from components.gcp.training.pools import affinity, groups, pods
from components.spec.capacity import PoolPlan
from components.spec.training import Mig, TimeSlicing
from policies.model import Graph, Resource
from tests.gcp.alone import ZONES, build, choice, plan, raised
from tests.gcp.building import before, kind, one

ONE = ZONES[:1]
RESERVATION = "projects/acme-dev/reservations/h200-2026/reservationBlocks/block-1"
# Every kind of pool that the cloud has, by name.
PLANS = {
    "l4": plan("l4", "nvidia-l4", 1, choice("spot"), choice("on-demand", min=1)),
    "shared": plan("shared", "nvidia-l4", 1, choice("spot"), sharing=TimeSlicing(kind="time-slicing", replicas=8)),
    "cut": plan("cut", "nvidia-h100", 8, choice("spot"), sharing=Mig(kind="mig", profile="1g.10gb")),
    "t4": plan("t4", "nvidia-t4", 2, choice("on-demand")),
    "flex": plan("flex", "nvidia-h100", 8, choice("flex-start")),
    "queued": plan("queued", "nvidia-a100-80gb", 8, choice("queued")),
    "reserved": plan(
        "reserved", "nvidia-h200", 8, choice("reserved", reservation=RESERVATION, zones=ONE), fast=True, zones=ONE,
    ),
    "fast": plan("fast", "nvidia-b200", 8, choice("on-demand", zones=ONE), fast=True, zones=ONE),
    "tpu": plan("tpu", "google-tpu-v6e", 8, choice("spot"), topology="2x4"),
    "slice": plan("slice", "google-tpu-v6e", 4, choice("flex-start", max=8), topology="4x4"),
    "cpu": plan("cpu", None, 0, choice("spot"), type="n2-standard-8"),
}  # fmt: skip


@pytest.fixture(scope="module")
def graph() -> Graph:
    return build(*PLANS.values())


def pools(graph: Graph) -> dict[str, Resource]:
    """The node pools by name, without the system's."""
    return {r.get("name"): r for r in kind(graph, "container/NodePool") if r.get("name") != "system"}


def classes(graph: Graph) -> dict[str, Resource]:
    return {r.get("metadata.name"): r for r in graph.of_type("kubernetes:cloud.google.com/v1:ComputeClass")}


def config(graph: Graph, name: str) -> dict[str, Any]:
    return pools(graph)[name].get("nodeConfig")


# Choices


def test_each_choice_is_a_pool_of_its_own(graph: Graph):
    assert set(pools(graph)) == {
        "l4-spot", "l4-on-demand", "shared-spot", "cut-spot", "t4-on-demand", "flex-flex-start", "queued-queued",
        "reserved-reserved", "fast-on-demand", "tpu-spot", "slice-flex-start-1", "slice-flex-start-2", "cpu-spot",
    }  # fmt: skip
    for name, pool in pools(graph).items():
        assert pool.get("nodeConfig.spot") is name.endswith("-spot")


def test_reservations_are_used_by_who_names_them_and_nobody_else(graph: Graph):
    """A spot, flex-start or queued machine from a reservation is refused; an on-demand one would take what is another's."""
    for name, pool in pools(graph).items():
        used = pool.get("nodeConfig.reservationAffinity")
        if name == "reserved-reserved":
            assert used == {
                "consumeReservationType": "SPECIFIC_RESERVATION",
                "key": "compute.googleapis.com/reservation-name",
                "values": [RESERVATION],
            }
            assert pool.get("nodeLocations") == ["us-central1-a"]
        else:
            assert used == {"consumeReservationType": "NO_RESERVATION"}


def test_what_the_scheduler_gives_starts_from_none_and_is_not_repaired(graph: Graph):
    scheduled = {"flex-flex-start", "queued-queued", "slice-flex-start-1", "slice-flex-start-2"}
    for name, pool in pools(graph).items():
        assert pool.get("management") == {"autoRepair": name not in scheduled, "autoUpgrade": True}
        assert pool.get("nodeConfig.flexStart") is (True if name in scheduled else None)
        if name in scheduled:
            assert pool.get("initialNodeCount") == 0
            assert pool.get("upgradeSettings") is None
            assert not pool.get("autoscaling.minNodeCount", 0) + pool.get("autoscaling.totalMinNodeCount", 0)
        else:
            # No machine more than there are: reservations are full, and quotas as well.
            assert pool.get("upgradeSettings") == {"strategy": "SURGE", "maxSurge": 0, "maxUnavailable": 1}
    assert {name for name, pool in pools(graph).items() if pool.get("queuedProvisioning")} == {"queued-queued"}


def test_sizes_are_in_all_zones_together_and_never_both_ways(graph: Graph):
    for pool in pools(graph).values():
        sizes = set(pool.get("autoscaling")) - {"locationPolicy"}
        assert sizes in ({"totalMinNodeCount", "totalMaxNodeCount"}, {"minNodeCount", "maxNodeCount"})
        assert pool.get("autoscaling.locationPolicy") == "ANY"
        assert pool.get("nodeCount") is None
        assert pool.ignore_changes == ("initialNodeCount",)
    kept = pools(graph)["l4-on-demand"]
    assert kept.get("autoscaling.totalMinNodeCount") == 1
    assert 1 <= kept.get("initialNodeCount") * len(kept.get("nodeLocations")) <= 4


@given(st.integers(0, 20), st.integers(0, 20), st.integers(1, 4))
def test_no_pool_starts_outside_of_its_bounds(least: int, more: int, count: int):
    zones, each = started(least, max(least + more, 1), [*ZONES, "us-central1-f"][:count])
    assert zones
    assert least <= each * len(zones) <= max(least + more, 1)


# Accelerators


def test_the_driver_has_one_owner(graph: Graph):
    """Also on machines that come with their GPUs: what is not said there is what GKE likes."""
    for name, pool in pools(graph).items():
        gpus = pool.get("nodeConfig.guestAccelerators")
        if name.startswith(("tpu", "slice", "cpu")):
            assert gpus == []
        else:
            assert [gpu["gpuDriverInstallationConfig"] for gpu in gpus] == [{"gpuDriverVersion": "LATEST"}]
    every = {name: config(graph, name)["guestAccelerators"] for name in pools(graph)}
    found = {name: (gpus[0]["type"], gpus[0]["count"]) for name, gpus in every.items() if gpus}
    assert found["l4-spot"] == ("nvidia-l4", 1)
    assert found["t4-on-demand"] == ("nvidia-tesla-t4", 2)
    assert found["fast-on-demand"] == ("nvidia-b200", 8)


def test_a_gpu_is_shared_only_where_asked(graph: Graph):
    shared = config(graph, "shared-spot")["guestAccelerators"][0]
    assert shared["gpuSharingConfig"] == {"gpuSharingStrategy": "TIME_SHARING", "maxSharedClientsPerGpu": 8}
    assert "gpuPartitionSize" not in shared
    cut = config(graph, "cut-spot")["guestAccelerators"][0]
    assert cut["gpuPartitionSize"] == "1g.10gb"
    assert "gpuSharingConfig" not in cut
    plain = config(graph, "l4-spot")["guestAccelerators"][0]
    assert not {"gpuPartitionSize", "gpuSharingConfig"} & set(plain)
    # A machine has an address for each of its parts.
    assert pools(graph)["cut-spot"].get("maxPodsPerNode") == 110
    assert pools(graph)["l4-spot"].get("maxPodsPerNode") == 32


@pytest.mark.parametrize(("devices", "most"), [(0, 32), (12, 32), (13, 64), (44, 64), (90, 110), (91, 256), (384, 256)])
def test_a_machine_has_addresses_for_all_of_its_pods(devices: int, most: int):
    assert pods(devices) == most


def test_machines_boot_from_what_they_can(graph: Graph):
    modern = {"reserved-reserved", "fast-on-demand", "tpu-spot", "slice-flex-start-1", "slice-flex-start-2"}
    for name, pool in pools(graph).items():
        assert pool.get("nodeConfig.diskType") == ("hyperdisk-balanced" if name in modern else "pd-balanced")
        assert pool.get("nodeConfig.diskSizeGb") == 200


def test_disks_that_come_with_a_machine_are_used(graph: Graph):
    found = {
        name: c["ephemeralStorageLocalSsdConfig"]["localSsdCount"]
        for name in pools(graph)
        if "ephemeralStorageLocalSsdConfig" in (c := config(graph, name))
    }
    assert found == {
        "cut-spot": 16, "flex-flex-start": 16, "queued-queued": 8, "reserved-reserved": 32, "fast-on-demand": 32,
    }  # fmt: skip


def test_gpus_side_by_side_have_the_networks_of_their_fabric(graph: Graph):
    for name, pool in pools(graph).items():
        fast = name in {"reserved-reserved", "fast-on-demand"}
        profile = pool.get("networkConfig.acceleratorNetworkProfile")
        assert profile == ("auto" if fast else None)
        labels = pool.get("nodeConfig.labels")
        assert labels.get("cloud.google.com/gke-networking-dra-driver") == ("true" if fast else None)
        if fast:  # GKE makes such networks in one zone only
            assert len(pool.get("nodeLocations")) == 1
    # What is reserved was placed when it was reserved; another policy does not match it.
    assert pools(graph)["reserved-reserved"].get("placementPolicy") is None
    assert pools(graph)["fast-on-demand"].get("placementPolicy") == {"type": "COMPACT"}


# TPUs


def test_a_slice_over_machines_is_a_pool_that_is_there_as_a_whole(graph: Graph):
    for i, zone in ((1, ZONES[0]), (2, ZONES[1])):
        pool = pools(graph)[f"slice-flex-start-{i}"]
        assert pool.get("placementPolicy") == {"type": "COMPACT", "tpuTopology": "4x4"}
        assert pool.get("autoscaling") == {"minNodeCount": 0, "maxNodeCount": 4, "locationPolicy": "ANY"}
        assert pool.get("nodeLocations") == [zone]
    # One machine is a slice by itself, and has to be asked for without its topology.
    assert pools(graph)["tpu-spot"].get("placementPolicy") is None
    assert classes(graph)["slice"].get("spec.priorities") == [
        {"nodepools": ["slice-flex-start-1", "slice-flex-start-2"]}
    ]


@given(st.integers(0, 40), st.integers(0, 40))
def test_slices_never_exceed_what_was_asked(least: int, more: int):
    asked = plan("s", "google-tpu-v6e", 4, choice("spot", min=least, max=max(least + more, 1)), topology="4x4")
    found = groups(asked)
    assert sum(group.most for group in found) <= asked.choices[0].max
    assert sum(group.least for group in found) <= asked.choices[0].min
    assert all(group.least in {0, 4} for group in found)
    assert len({group.name for group in found}) == len(found)


def test_a_slice_that_is_not_made_is_a_mistake_of_ours():
    wrong = raised(lambda: groups(plan("s", "google-tpu-v6e", 4, choice("spot"), topology="3x3")))
    assert wrong.startswith("pool s: ct6e-standard-4t has no slice 3x3, but 2x2, ")


def test_every_slice_of_the_catalogue_builds():
    tpus = [m for m in MACHINES if m.cloud == "gcp" and m.accelerator and m.accelerator.startswith("google-tpu")]
    assert tpus
    for tpu in tpus:
        for known in topologies(tpu.type):
            asked = plan("s", tpu.accelerator, tpu.count, choice("spot", max=known.nodes), topology=known.topology)
            (found,) = groups(replace(asked, machines=(tpu,)))
            assert found.most == known.nodes
            assert found.whole is (known.nodes > 1)


# Who may run there


def test_every_pool_keeps_everybody_else_away(graph: Graph):
    """A taint that GKE adds by itself has to be declared: it would be taken away by the next deployment."""
    accelerated = {"tpu": "google.com/tpu", "slice": "google.com/tpu", "cpu": None}
    for name, pool in pools(graph).items():
        of = next(p for p in PLANS if name.startswith(p))
        expected = {}
        if key := accelerated.get(of, "nvidia.com/gpu"):
            expected[key] = "present"
        if of != "queued":
            expected["cloud.google.com/compute-class"] = of
        assert {t["key"]: t["value"] for t in pool.get("nodeConfig.taints")} == expected
        assert {t["effect"] for t in pool.get("nodeConfig.taints")} == {"NO_SCHEDULE"}


def test_work_finds_its_pool_and_tolerates_all_of_its_taints(graph: Graph):
    flavors = graph.outputs["flavors"]
    assert set(flavors) == set(PLANS)
    for name, pool in pools(graph).items():
        flavor = flavors[next(p for p in PLANS if name.startswith(p))]
        set_by_gke = {"cloud.google.com/gke-tpu-accelerator", "cloud.google.com/gke-tpu-topology"}
        ours = {key: value for key, value in flavor["labels"].items() if key not in set_by_gke}
        assert ours.items() <= pool.get("nodeConfig.labels").items()
        taints = {(t["key"], t["value"]) for t in pool.get("nodeConfig.taints")}
        assert taints <= {(t["key"], t["value"]) for t in flavor["taints"]}
    # No two pools answer to the same labels.
    assert len({tuple(sorted(f["labels"].items())) for f in flavors.values()}) == len(flavors)
    assert [name for name, f in flavors.items() if f["queued"]] == ["queued"]
    assert {"key": "cloud.google.com/gke-queued", "value": "true", "effect": "NoSchedule"} in flavors["queued"][
        "taints"
    ]
    assert flavors["slice"]["labels"]["cloud.google.com/gke-tpu-accelerator"] == "tpu-v6e-slice"
    assert flavors["slice"]["labels"]["cloud.google.com/gke-tpu-topology"] == "4x4"
    levels = [f"cloud.google.com/gce-topology-{level}" for level in ("block", "subblock", "host")]
    assert {name for name, f in flavors.items() if f["topology"] == levels} == {"reserved", "fast"}


def test_a_class_tries_the_choices_in_order_and_nothing_else(graph: Graph):
    found = classes(graph)
    assert set(found) == set(PLANS) - {"queued"}
    assert found["l4"].get("spec") == {
        "priorities": [{"nodepools": ["l4-spot"]}, {"nodepools": ["l4-on-demand"]}],
        "nodePoolAutoCreation": {"enabled": False},
        "whenUnsatisfiable": "DoNotScaleUp",
        "activeMigration": {"optimizeRulePriority": False},
    }
    # A class is no use before its pools, and a job must not be moved while a pool is taken away.
    assert {"pools-l4-spot", "pools-l4-on-demand"} <= before(graph, found["l4"])


def test_the_bill_is_split_by_team_and_pool():
    made = build(
        replace(PLANS["l4"], team="vision"), PLANS["t4"], tags={"l4": {"cost-center": "cc-4210"}},
    )  # fmt: skip
    assert config(made, "l4-spot")["resourceLabels"] == {
        "environment": "dev", "team": "vision", "cost-center": "cc-4210", "pool": "l4",
    }  # fmt: skip
    assert config(made, "t4-on-demand")["resourceLabels"] == {"environment": "dev", "pool": "t4"}


# Change

# What the provider replaces a node pool for (terraform-provider-google: services/container, ForceNew).
REPLACING = {
    "name", "project", "location", "cluster", "maxPodsPerNode", "placementPolicy", "queuedProvisioning",
    "networkConfig.acceleratorNetworkProfile", "nodeConfig.guestAccelerators", "nodeConfig.spot", "nodeConfig.flexStart",
    "nodeConfig.reservationAffinity", "nodeConfig.ephemeralStorageLocalSsdConfig", "nodeConfig.bootDiskKmsKey",
    "nodeConfig.serviceAccount", "nodeConfig.shieldedInstanceConfig", "nodeConfig.metadata", "nodeConfig.oauthScopes",
    "nodeConfig.gvnic", "nodeConfig.gcfsConfig",
}  # fmt: skip


def replaced(old: PoolPlan, new: PoolPlan) -> set[str]:
    """What of a change would replace a node pool, or take it away."""
    graphs = [pools(build(each)) for each in (old, new)]
    found = {f"gone: {name}" for name in graphs[0] if name not in graphs[1]}
    for name in set(graphs[0]) & set(graphs[1]):
        found |= {path for path in REPLACING if graphs[0][name].get(path) != graphs[1][name].get(path)}
    return found


HARMLESS: dict[str, dict[str, Any]] = {
    "more machines": {"max": 40, "choices": (choice("spot", max=40), choice("on-demand", min=1, max=40))},
    "some at all times": {"min": 2, "choices": (choice("spot", min=2), choice("on-demand"))},
    "another zone": {"zones": ONE, "choices": (choice("spot", zones=ONE), choice("on-demand", min=1, zones=ONE))},
    "a larger disk": {"disk_gib": 500},
    "a team": {"team": "vision"},
    "a larger machine": {"machines": plan("l4", "nvidia-l4", 1, choice("spot"), type="g2-standard-16").machines},
    "another choice behind": {"choices": (*PLANS["l4"].choices, choice("flex-start"))},
    "another order": {"choices": PLANS["l4"].choices[::-1]},
}
REPLACED: dict[str, tuple[dict[str, Any], set[str]]] = {
    "sharing": ({"sharing": TimeSlicing(kind="time-slicing", replicas=2)}, {"nodeConfig.guestAccelerators"}),
    "number": ({"per_node": 2}, {"nodeConfig.guestAccelerators"}),
    "capacity": ({"choices": (choice("flex-start"),)}, {"gone: l4-spot", "gone: l4-on-demand"}),
}


@pytest.mark.parametrize("change", HARMLESS)
def test_a_change_that_the_cloud_makes_in_place_replaces_nothing(change: str):
    assert replaced(PLANS["l4"], replace(PLANS["l4"], **HARMLESS[change])) == set()


@pytest.mark.parametrize("change", REPLACED)
def test_what_replaces_a_pool_is_what_the_cloud_forces(change: str):
    values, expected = REPLACED[change]
    assert replaced(PLANS["l4"], replace(PLANS["l4"], **values)) == expected


def test_another_reservation_replaces_only_its_pool():
    old = plan("r", "nvidia-h200", 8, choice("reserved", reservation="a", zones=ONE), choice("spot", zones=ONE))
    new = replace(old, choices=(choice("reserved", reservation="b", zones=ONE), old.choices[1]))
    assert replaced(old, new) == {"nodeConfig.reservationAffinity"}
    assert affinity(new.choices[1]) == {"consume_reservation_type": "NO_RESERVATION"}


def test_another_pool_in_the_middle_changes_no_other(graph: Graph):
    """Neither does the order of the description, though pools wait for one another in it."""
    alone = {name: pool.inputs for name, pool in pools(build(PLANS["cpu"], PLANS["l4"])).items()}
    for name, inputs in alone.items():
        assert pools(graph)[name].inputs == inputs
    assert classes(build(PLANS["l4"]))["l4"].inputs == classes(graph)["l4"].inputs


def test_no_more_pools_are_worked_on_at_once_than_the_cloud_takes(graph: Graph):
    """GKE refuses a sixth: in line, each waits for every fourth before it, and so no more than four wait for nothing."""
    made = pools(graph)
    names = {pool.name for pool in made.values()}
    waits = {pool.name: before(graph, pool) & names for pool in made.values()}
    order = [pool.name for plan_ in PLANS.values() for g in groups(plan_) for pool in [made[g.name]]]
    for i, name in enumerate(order):
        assert len(waits[name]) == i // 4


def test_nothing_but_the_next_in_line_waits():
    made = build(*(plan(f"p{i}", "nvidia-l4", 1, choice("spot")) for i in range(9)))
    direct = {
        name: {made.resources[urn].get("name") for urn in pool.dependencies if ":NodePool::pools-" in urn}
        for name, pool in pools(made).items()
    }
    assert direct["p3-spot"] == set()
    assert direct["p4-spot"] == {"p0-spot"}
    assert direct["p8-spot"] == {"p4-spot"}


def test_a_first_preview_declares_the_same(graph: Graph):
    assert set(build(*PLANS.values(), preview=True).resources) == set(graph.resources)


def test_a_pool_that_the_ceiling_leaves_nothing_is_not_there():
    none = plan("s", "google-tpu-v6e", 4, choice("spot", max=3), topology="4x4")
    made = build(none)
    assert pools(made) == {}
    # A class without a pool would be refused.
    assert classes(made) == {}
    assert set(made.outputs["flavors"]) == {"s"}


def test_a_hundred_pools_build_in_a_straight_line():
    made = build(*(plan(f"p{i}", "nvidia-l4", 1, choice("spot"), choice("on-demand")) for i in range(100)))
    assert len(pools(made)) == 200
    assert len(one(made, "container/NodePool", "pools-p99-spot").dependencies) == 6
