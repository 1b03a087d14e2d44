"""Kueue's objects: who may have how much, in which order they are made, and that a thousand of them are no matter."""

from fractions import Fraction
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from components.core.accelerators import MACHINES
from components.kubernetes.training.queues import cpu, memory, room
from components.spec.capacity import Capacity
from policies.model import Graph, Resource
from tests.kubernetes.building import (
    ACCELERATORS,
    LEVELS,
    POOLS,
    TEAMS,
    before,
    built,
    described,
    objects,
    pool,
    releases,
)

CLOUDS = ("aws", "gcp")
CEILING = "accelerators.ceiling"
_UNITS = {"": 1, "m": Fraction(1, 1000), "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}


def amount(quantity: str) -> Fraction:
    number = quantity.rstrip("KMGTim")
    return Fraction(number) * _UNITS[quantity[len(number) :]]


def quotas(queue: Resource) -> dict[tuple[str, str], Fraction]:
    """Nominal quota of a queue or cohort by flavor and resource."""
    return {
        (flavor["name"], resource["name"]): amount(resource["nominalQuota"])
        for group in queue.get("spec.resourceGroups")
        for flavor in group["flavors"]
        for resource in flavor["resources"]
    }


def total(graph: Graph, flavor: str, resource: str) -> Fraction:
    queues = objects(graph, "ClusterQueue").values()
    return sum((quotas(queue).get((flavor, resource), Fraction(0)) for queue in queues), Fraction(0))


@pytest.mark.parametrize("cloud", CLOUDS)
def test_queues_together_have_what_a_pool_has_and_never_more(cloud: Any):
    graph, plans = built(cloud), Capacity(described(cloud), cloud).pools
    for name, plan in plans.items():
        if plan.resource:
            assert total(graph, name, plan.resource) == plan.devices
        whole = room(plan.machine)
        least = Fraction(9, 10)  # rounding down, once a queue
        most = Fraction(whole.millicores * plan.max, 1000)
        assert least * most <= total(graph, name, "cpu") <= most
        most = Fraction(whole.mebibytes * plan.max) * (1 << 20)
        assert least * most <= total(graph, name, "memory") <= most


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_team_s_queues_share_its_ceiling_and_lend_it_to_nobody(cloud: Any):
    graph = built(cloud)
    for team, share in TEAMS.items():
        mine = [q for name, q in objects(graph, "ClusterQueue").items() if name.endswith(f".{team}")]
        assert sum(quotas(queue)[CEILING, ACCELERATORS] for queue in mine) == share["gpus"]
        assert {queue.get("spec.cohortName") for queue in mine} == {f"team-{team}"}
        cohort = objects(graph, "Cohort")[f"team-{team}"]
        assert cohort.get("spec.parentName") == "training"
        assert cohort.get("spec.fairSharing") == {"weight": str(share["share"])}
        [group] = cohort.get("spec.resourceGroups")
        [count] = group["flavors"][0]["resources"]
        assert count == {"name": ACCELERATORS, "nominalQuota": "0", "borrowingLimit": "0", "lendingLimit": "0"}
    assert objects(graph, "ResourceFlavor")[CEILING].get("spec") == {}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_every_accelerator_is_counted_against_the_ceiling(cloud: Any):
    graph, plans = built(cloud), Capacity(described(cloud), cloud).pools
    text = releases(graph)["kueue"].inputs["values"]["managerConfig"]["controllerManagerConfigYaml"]
    counted = {t["input"]: t for t in yaml.safe_load(text)["resources"]["transformations"]}
    assert set(counted) == {plan.resource for plan in plans.values() if plan.resource}
    assert all(t["strategy"] == "Retain" and t["outputs"] == {ACCELERATORS: "1"} for t in counted.values())


def test_a_queue_s_flavors_are_its_pools_in_order_and_each_covers_the_same():
    queue = objects(built("aws"), "ClusterQueue")["neuron.risk"]
    first, second = queue.get("spec.resourceGroups")
    assert [flavor["name"] for flavor in first["flavors"]] == ["trn", "cpu"]
    for group in (first, second):
        for flavor in group["flavors"]:
            assert [r["name"] for r in flavor["resources"]] == group["coveredResources"]
    assert quotas(queue)["cpu", "aws.amazon.com/neuron"] == 0


def test_only_a_team_s_own_namespace_may_use_its_queues():
    graph = built("gcp")
    for name, queue in objects(graph, "ClusterQueue").items():
        _, team = name.split(".")
        selector = queue.get("spec.namespaceSelector.matchLabels")
        assert selector == {"kubernetes.io/metadata.name": f"team-{team}"}
    local = objects(graph, "LocalQueue")
    assert {name: q.get("spec.clusterQueue") for name, q in local.items() if "large" in name} == {
        "team-vision/large": "large.vision"
    }
    assert {q.get("spec.clusterQueue") for q in local.values()} == set(objects(graph, "ClusterQueue"))


def test_a_job_needs_no_toleration_of_its_own():
    flavor = objects(built("aws"), "ResourceFlavor")["l4-spot"].get("spec")
    assert flavor["nodeLabels"] == {"ai-platform.io/pool": "l4-spot"}
    assert [t["key"] for t in flavor["nodeTaints"]] == ["nvidia.com/gpu", "ai-platform.io/pool"]
    assert flavor["tolerations"] == [
        {"key": "nvidia.com/gpu", "effect": "NoSchedule", "operator": "Equal", "value": "present"},
        {"key": "ai-platform.io/pool", "effect": "NoSchedule", "operator": "Equal", "value": "l4-spot"},
    ]


@pytest.mark.parametrize("cloud", CLOUDS)
def test_topology_counts_where_machines_stand(cloud: Any):
    graph = built(cloud)
    [topology] = objects(graph, "Topology").values()
    levels = [level["nodeLabel"] for level in topology.get("spec.levels")]
    assert levels == [*LEVELS[cloud], "kubernetes.io/hostname"]
    named = {name for name, f in objects(graph, "ResourceFlavor").items() if f.get("spec.topologyName")}
    assert named == {"h100"}


def test_topology_does_not_keep_work_from_machines_that_start_for_it():
    """Kueue places by topology among machines that are there: an autoscaled pool of none would never get its first."""
    h100 = pool(2, 0, per_node=8, type_="nvidia-h100", interconnect="fast", capacity=["on-demand"])
    graph = built("aws", pools={**POOLS["aws"], "h100": h100})
    assert not objects(graph, "Topology")


def test_work_for_queued_machines_is_asked_for_as_a_whole():
    graph = built("gcp")
    [check], [config] = objects(graph, "AdmissionCheck").values(), objects(graph, "ProvisioningRequestConfig").values()
    assert check.get("spec.parameters.name") == config.get("metadata.name") == "queued-whole"
    assert config.get("spec.managedResources") == ["nvidia.com/gpu"]
    # 300 hours are asked for, and seven days are the most that Google gives.
    assert config.get("spec.parameters") == {"maxRunDurationSeconds": "604800"}
    for name, queue in objects(graph, "ClusterQueue").items():
        strategy = queue.get("spec.admissionChecksStrategy")
        wanted = {"admissionChecks": [{"name": "queued-whole", "onFlavors": ["a100-queued"]}]}
        assert strategy == (wanted if name.startswith("whole.") else None)
        assert (check.urn in before(graph, queue)) == name.startswith("whole.")
    assert not objects(built("aws"), "AdmissionCheck")


def test_priorities_belong_to_their_queue():
    found = {n: p.inputs["value"] for n, p in objects(built("aws"), "WorkloadPriorityClass").items()}
    assert found["train.urgent"] == 1000
    assert found["large.normal"] == 100
    # `a-b` with `c` and `a` with `b-c` are two.
    queues = {
        "a-b": {"pools": ["cpu"], "priority_classes": {"c": 1}},
        "a": {"pools": ["cpu"], "priority_classes": {"b-c": 2}},
    }
    assert set(objects(built("aws", queues=queues), "WorkloadPriorityClass")) == {"a-b.c", "a.b-c"}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_nothing_of_kueue_comes_before_its_webhook_answers(cloud: Any):
    graph = built(cloud)
    [probe] = objects(graph, "Job").values()
    kueue = [r for r in graph.resources.values() if r.type.startswith("kubernetes:kueue.x-k8s.io")]
    assert len(kueue) > 25
    assert all(probe.urn in before(graph, r) for r in kueue)
    assert releases(graph)["kueue"].urn in before(graph, probe)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_queue_comes_after_what_it_names(cloud: Any):
    graph = built(cloud)
    flavors, cohorts = objects(graph, "ResourceFlavor"), objects(graph, "Cohort")
    queues = objects(graph, "ClusterQueue")
    for name, queue in queues.items():
        needed = {flavors[f].urn for f, _ in quotas(queue)} | {cohorts[f"team-{name.split('.')[1]}"].urn}
        assert needed <= before(graph, queue)
    for local in objects(graph, "LocalQueue").values():
        assert queues[local.get("spec.clusterQueue")].urn in before(graph, local)
        namespace = objects(graph, "Namespace")[local.get("metadata.namespace")]
        assert namespace.urn in before(graph, local)


def test_growing_a_pool_changes_quotas_and_nothing_else():
    small = objects(built("aws"))
    large = objects(built("aws", pools={**POOLS["aws"], "l4-spot": {**POOLS["aws"]["l4-spot"], "nodes": {"max": 12}}}))
    assert set(small) == set(large)
    changed = {name for name in small if small[name].inputs != large[name].inputs}
    assert changed == {"ClusterQueue/train.vision", "ClusterQueue/train.risk"}
    for name in changed:
        first, second = (dict(found[name].inputs["spec"]) for found in (small, large))
        assert {key for key in first if first[key] != second[key]} == {"resourceGroups"}


def test_the_order_of_keys_changes_nothing():
    mixed = dict(reversed(POOLS["gcp"].items()))
    first, second = objects(built("gcp")), objects(built("gcp", pools=mixed, teams=dict(reversed(TEAMS.items()))))
    assert {n: r.inputs for n, r in first.items()} == {n: r.inputs for n, r in second.items()}


def test_an_unrelated_team_changes_no_quota_of_a_queue_that_is_not_its_own():
    own = {name: {**queue, "teams": ["vision"]} for name, queue in (("train", {"pools": ["l4-spot"]}),)}
    first = objects(built("aws", queues=own), "ClusterQueue")
    teams = {**TEAMS, "late": {"share": 7, "gpus": 3}}
    second = objects(built("aws", queues=own, teams=teams), "ClusterQueue")
    assert {n: r.inputs for n, r in first.items()} == {n: r.inputs for n, r in second.items()}


SIZES = st.dictionaries(
    st.sampled_from("abcd"),
    st.builds(lambda most, each: pool(most, per_node=each), st.integers(1, 30), st.sampled_from([1, 4, 8])),
    min_size=1,
)
NAMED = st.lists(st.lists(st.sampled_from("abcd"), min_size=1, unique=True), min_size=1, max_size=5)


@settings(max_examples=12)
@given(SIZES, NAMED, st.integers(1, 40), st.integers(1, 40))
def test_whatever_is_described_no_quota_is_over_what_there_is(
    pools: dict[str, Any], named: list[list[str]], vision: int, risk: int
):
    queues = {f"q{i}": {"pools": mine} for i, ps in enumerate(named) if (mine := [p for p in ps if p in pools])}
    teams = {"vision": {"share": 5, "gpus": vision}, "risk": {"share": 2, "gpus": risk}}
    graph = built("aws", pools=pools, queues=queues, teams=teams)
    plans = Capacity(described("aws", pools=pools, queues=queues, teams=teams), "aws").pools
    for name, plan in plans.items():
        assert total(graph, name, "nvidia.com/gpu") <= plan.devices
        assert total(graph, name, "cpu") <= Fraction(room(plan.machine).millicores * plan.max, 1000)
    for team, most in (("vision", vision), ("risk", risk)):
        mine = [q for name, q in objects(graph, "ClusterQueue").items() if name.endswith(team)]
        assert not mine or sum(quotas(q)[CEILING, ACCELERATORS] for q in mine) == most
    # Names of custom resources, and labels' values where they are one.
    for name in objects(graph, "ClusterQueue"):
        assert len(name) <= 253
        assert len(name.split(".")[0]) <= 63


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: f"{m.type}-{m.accelerator}")
def test_a_machine_leaves_less_than_it_has(machine: Any):
    left = room(machine)
    assert 100 <= left.millicores < machine.vcpus * 1000
    assert 256 <= left.mebibytes < machine.memory_gib * 1024


@given(st.integers(0, 10_000_000))
def test_quantities_say_what_they_are_in_the_fewest_figures(number: int):
    assert amount(memory(number)) == number << 20
    assert amount(cpu(number)) == Fraction(number, 1000)
    assert cpu(number).endswith("m") == bool(number % 1000)
    assert memory(number).endswith("Mi") == bool(number % 1024)
