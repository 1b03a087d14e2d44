"""The catalogue is whole: every fact has its source, every place is known, and the first machine is the right one."""

import csv
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.core import accelerators
from components.core.accelerators import (
    ACCELERATORS,
    ALIASES,
    GPUS_ALL_REGIONS,
    IMAGES,
    MACHINES,
    Machine,
    Quota,
    image,
    machine,
    machines,
    price,
    regions,
    topologies,
)
from components.spec.regions import REGIONS

TABLES = {path.stem: path for path in (Path(accelerators.__file__).parent / "catalogue").glob("*.csv")}
# What the account's quota page names no code for: sources differ over it.
WITHOUT_SPOT_QUOTA = {"p6-b200.48xlarge", "p6-b300.48xlarge"}
ACCELERATED = [each for each in MACHINES if each.accelerator]
SORTS = sorted({(m.cloud, m.accelerator, m.count) for m in ACCELERATED})


def label(each: Machine) -> str:
    return f"{each.type}/{each.accelerator}/{each.count}"


def table(name: str) -> list[dict[str, str]]:
    with TABLES[name].open(newline="") as file:
        return list(csv.DictReader(file))


def quotas(each: Machine) -> Iterator[Quota]:
    yield from (quota for quota in (each.quota_on_demand, each.quota_spot) if quota)


# ---- the tables


def test_every_row_names_sources_that_exist_and_every_source_is_named():
    known = {row["key"] for row in table("sources")}
    named = {
        key for name in TABLES.keys() - {"sources"} for row in table(name) for key in row["source"].split() or ["-"]
    }
    assert named == known
    assert all(row["source"].strip() for row in table("sources"))


def test_no_row_is_there_twice():
    keys = {
        "accelerators": ("name",),
        "machines": ("cloud", "type", "accelerator", "count"),
        "prices": ("cloud", "type", "accelerator", "count", "region"),
        "quotas": ("cloud", "family", "capacity"),
        "sources": ("key",),
        "topologies": ("type", "topology"),
        "zones": ("group", "region"),
    }
    assert keys.keys() == TABLES.keys()
    for name, columns in keys.items():
        rows = [tuple(row[column] for column in columns) for row in table(name)]
        assert len(rows) == len(set(rows)), name


def test_no_row_is_left_out():
    """A price of a machine that is not there, a family of quotas or a group of zones that nobody has, is a typing error."""
    found = {(m.cloud, m.type, m.accelerator or "", str(m.count)) for m in MACHINES}
    assert {(r["cloud"], r["type"], r["accelerator"], r["count"]) for r in table("prices")} <= found
    assert {r["zones"] for r in table("machines")} == {r["group"] for r in table("zones")}
    # GCP: quotas of machines without accelerators have no source here; all-gpus belongs to no machine.
    families = {(r["cloud"], r["quota"]) for r in table("machines") if r["quota"]}
    # HyperPod has a quota for each machine type, and two over all of them.
    types = {(r["cloud"], r["type"]) for r in table("machines")}
    others = {("gcp", "all-gpus"), ("aws", "hyperpod")}
    assert {(r["cloud"], r["family"]) for r in table("quotas")} - families - types == others
    assert families <= {(r["cloud"], r["family"]) for r in table("quotas")}
    assert {r["type"] for r in table("topologies")} == {m.type for m in MACHINES if m.type.startswith("ct")}


def test_what_is_not_known_is_empty_and_never_zero():
    for row in table("prices"):
        figures = [row["on_demand_usd_hour"], row["spot_usd_hour"]]
        assert any(figures), row
        assert all(float(figure) > 0 for figure in figures if figure), row
    for each in MACHINES:
        for figure in (each.network_gbps, each.local_ssd_gib, each.vcpus, each.memory_gib):
            assert figure is None or figure > 0, label(each)
    assert all(found.memory_gib is None or found.memory_gib > 0 for found in ACCELERATORS.values())


def test_a_price_has_a_date_or_says_that_it_has_none():
    for row in table("prices"):
        assert row["as_of"] == "unknown" or date.fromisoformat(row["as_of"]) < date(2027, 1, 1), row
        # Spot above on demand would be a swapped column; at the same price, it is what the catalogue saw in some zones.
        if row["on_demand_usd_hour"] and row["spot_usd_hour"]:
            assert float(row["spot_usd_hour"]) <= float(row["on_demand_usd_hour"]) * 1.001, row


# ---- accelerators and machines


def test_the_accelerators_are_those_that_a_description_may_name():
    nvidia = ("t4", "l4", "a10g", "l40s", "a100-40gb", "a100-80gb", "h100", "h100-mega", "h200", "b200", "b300")
    others = {"aws-trainium", "aws-trainium2", "aws-inferentia2", "google-tpu-v5e", "google-tpu-v6e"}
    assert {found.name for found in ACCELERATORS.values()} == {f"nvidia-{name}" for name in nvidia} | others
    assert ACCELERATORS["nvidia-a100"] is ACCELERATORS["nvidia-a100-40gb"]
    assert machines("gcp", "nvidia-a100", 8) == machines("gcp", "nvidia-a100-40gb", 8) != ()
    assert machine("gcp", "a2-highgpu-8g", "nvidia-a100", 8) == machine("gcp", "a2-highgpu-8g")


def test_a_container_asks_for_what_the_device_plugin_of_its_vendor_gives():
    plugins = {"nvidia": "nvidia.com/gpu", "aws": "aws.amazon.com/neuron", "google": "google.com/tpu"}
    assert all(found.resource == plugins[found.vendor] for found in ACCELERATORS.values())


@pytest.mark.parametrize("name", sorted(ACCELERATORS.keys() - ALIASES.keys()))
def test_every_accelerator_has_a_machine(name: str):
    assert any(each.accelerator == name for each in MACHINES)


@pytest.mark.parametrize("each", MACHINES, ids=label)
def test_a_machine_is_whole(each: Machine):
    assert each.source
    assert each.accelerator is None or each.accelerator in ACCELERATORS.keys() - ALIASES.keys()
    assert (each.accelerator is None) == (each.count == 0)
    assert (each.fabric is None) or each.accelerator
    if each.cloud == "aws":
        assert each.gke_accelerator is None
        assert not each.attached
        assert not each.local_ssds
        assert (each.interfaces > 0) == (each.fabric == "efa")
        assert each.network_cards - each.interfaces in {0, 1}
        assert each.usage
        assert set(each.usage) <= {"on-demand", "spot", "capacity-block"}
    else:
        assert (each.gke_accelerator is None) == (each.accelerator is None)
        assert each.local_ssd_gib == (375 * each.local_ssds or None)
        assert (each.interfaces > 0) == (each.fabric is not None and each.fabric.startswith("gpudirect"))


@pytest.mark.parametrize("each", MACHINES, ids=label)
def test_a_machine_is_in_regions_and_zones_that_the_platform_knows(each: Machine):
    assert each.zones
    for region, zones in each.zones.items():
        assert set(zones) <= set(REGIONS[each.cloud][region].zones)
        assert len(zones) == len(set(zones))
    # Only where no source has the zones may they be missing.
    assert all(each.zones.values()) or each.type.startswith("c3-")


@pytest.mark.parametrize("each", ACCELERATED, ids=label)
def test_a_machine_with_accelerators_has_its_quotas(each: Machine):
    assert each.quota_on_demand
    assert (each.quota_spot is None) == (each.type in WITHOUT_SPOT_QUOTA)
    for quota in quotas(each):
        assert quota.source
        assert quota.default is None or quota.default >= 0
        if each.cloud == "aws":
            assert (quota.service, quota.unit, dict(quota.dimensions)) == ("ec2", "vcpus", {})
            assert quota.code.startswith("L-")
            assert len(quota.code) == len("L-DB2E81BA")
        else:
            assert (quota.service, quota.unit, quota.per) == ("compute.googleapis.com", "accelerators", "region")
            assert quota.code.endswith("-per-project-region")
            assert quota.metric is None or quota.metric.startswith("compute.googleapis.com/")
    assert each.quota_on_demand != each.quota_spot


def test_the_ceiling_on_all_gpus_of_a_project_is_not_kept_by_region():
    assert (GPUS_ALL_REGIONS.per, dict(GPUS_ALL_REGIONS.dimensions)) == ("global", {})


def test_machines_of_one_family_count_against_one_quota():
    """A new size put under the wrong quota would be found out by a refused launch."""
    families: dict[str, set[tuple[str, ...]]] = {}
    for each in ACCELERATED:
        if each.cloud == "aws":
            families.setdefault(each.type.partition(".")[0], set()).add(tuple(quota.code for quota in quotas(each)))
    assert all(len(codes) == 1 for codes in families.values()), families
    assert {family for family, (codes,) in families.items() if "L-C4BD4855" in codes} == {"p5", "p5e", "p5en"}


# ---- looking up


@pytest.mark.parametrize(("cloud", "accelerator", "count"), SORTS)
def test_the_first_machine_is_the_smallest_that_feeds_its_accelerators(cloud: str, accelerator: str, count: int):
    found = machines(cloud, accelerator, count)
    assert found
    feeding = [each for each in found if each.feeds]
    assert list(found[: len(feeding)]) == feeding
    for part in (feeding, found[len(feeding) :]):
        assert [each.vcpus for each in part] == sorted(each.vcpus for each in part)
    memory = ACCELERATORS[accelerator].memory_gib or 0
    for each in feeding:
        assert each.vcpus >= 4 * count
        assert each.memory_gib >= memory * count


@pytest.mark.parametrize(
    ("cloud", "accelerator", "count", "first"),
    [
        ("aws", "nvidia-t4", 1, "g4dn.xlarge"),
        ("aws", "nvidia-l4", 1, "g6.2xlarge"),
        ("aws", "nvidia-l4", 4, "g6.12xlarge"),
        ("aws", "nvidia-a100-40gb", 8, "p4d.24xlarge"),
        ("aws", "nvidia-h100", 1, "p5.4xlarge"),
        ("aws", "nvidia-h100", 8, "p5.48xlarge"),
        ("aws", "nvidia-h200", 8, "p5en.48xlarge"),
        ("aws", "aws-trainium", 16, "trn1.32xlarge"),
        ("gcp", "nvidia-t4", 1, "n1-standard-8"),
        ("gcp", "nvidia-l4", 1, "g2-standard-8"),
        ("gcp", "nvidia-h100", 8, "a3-highgpu-8g"),
        ("gcp", "nvidia-h100-mega", 8, "a3-megagpu-8g"),
        ("gcp", "google-tpu-v6e", 4, "ct6e-standard-4t"),
    ],
)
def test_what_is_chosen(cloud: str, accelerator: str, count: int, first: str):
    """A change here replaces the pools of whoever named the accelerator alone: it has to be meant."""
    assert machines(cloud, accelerator, count)[0].type == first


@given(st.sampled_from(SORTS), st.data())
def test_a_machine_that_is_found_in_a_region_is_there(sort: tuple[str, str, int], data: st.DataObject):
    where = regions(*sort)
    assert list(where) == sorted(set(where))
    region = data.draw(st.sampled_from(sorted(REGIONS[sort[0]])))
    found = machines(*sort, region)
    assert bool(found) == (region in where)
    assert all(region in each.zones for each in found)
    assert [each for each in machines(*sort) if each in found] == list(found)
    for each in found:
        paid = price(each, region)
        assert paid is None or (paid.source and paid.as_of)


@given(st.sampled_from(MACHINES))
def test_a_machine_is_found_by_its_type(each: Machine):
    assert machine(each.cloud, each.type, each.accelerator, each.count) is each
    by_type = machine(each.cloud, each.type)
    assert by_type is each or (by_type and by_type.count < each.count)


def test_what_is_not_there_is_not_found():
    assert machines("aws", "nvidia-l4", 3) == ()
    assert machines("aws", "google-tpu-v5e", 4) == ()
    assert machines("gcp", "nvidia-a10g", 1) == ()
    assert machines("aws", "nvidia-l4", 1, "sa-west-9") == ()
    assert machine("gcp", "g6.xlarge") is None
    assert machine("aws", "g6.xlarge", "nvidia-t4") is None
    assert regions("gcp", "nvidia-b300", 8) == ()
    assert topologies("g6.xlarge") == ()


def test_a_type_that_accelerators_are_attached_to_is_the_bare_one_unless_they_are_named():
    bare, with_two = machine("gcp", "n1-standard-8"), machine("gcp", "n1-standard-8", "nvidia-t4", 2)
    assert bare
    assert with_two
    assert (bare.accelerator, bare.attached) == (None, False)
    assert (with_two.count, with_two.attached) == (2, True)
    region = "us-central1"
    paid, paid_bare = price(with_two, region), price(bare, region)
    assert paid
    assert paid_bare
    assert paid.on_demand_usd_hour
    assert paid_bare.on_demand_usd_hour
    # T4 in us-central1: 0.35 an hour each (2026-07-30 and the undated catalogue).
    assert paid.on_demand_usd_hour == pytest.approx(paid_bare.on_demand_usd_hour + 2 * 0.35)


def test_a_slice_has_the_chips_of_its_nodes():
    for each in MACHINES:
        found = topologies(each.type)
        assert bool(found) == bool(each.type.startswith("ct")), each.type
        for slice_ in found:
            across, down = (int(side) for side in slice_.topology.split("x"))
            assert slice_.chips == across * down == slice_.nodes * each.count
            assert slice_.nodes == 1 or each.fabric == "ici"


def test_an_image_drives_the_accelerator_of_its_machine():
    for each in ACCELERATED:
        vendor = ACCELERATORS[each.accelerator or ""].vendor
        if each.cloud == "gcp":
            gke = image("gke", each)
            assert gke
            assert gke.type == "COS_CONTAINERD"
            continue
        eks, batch = image("eks", each), image("batch", each)
        assert eks
        assert eks.type.rpartition("_")[2] == {"nvidia": "NVIDIA", "aws": "NEURON"}[vendor]
        assert ("x86_64" in eks.type) == (each.architecture == "x86_64")
        assert (batch.type if batch else None) == {"nvidia": "ECS_AL2023_NVIDIA", "aws": None}[vendor]
        assert image("karpenter", each)
    plain = {label(each): image("eks", each) for each in MACHINES if each.cloud == "aws" and not each.accelerator}
    assert {found.type for found in plain.values() if found} == {"AL2023_x86_64_STANDARD", "AL2023_ARM_64_STANDARD"}
    assert all(plain.values())
    assert all(found.source for found in IMAGES.values())
    aliases = {found.type for (service, _, _), found in IMAGES.items() if service == "karpenter"}
    assert len(aliases) == 1
    assert not any(alias.endswith("@latest") for alias in aliases)
