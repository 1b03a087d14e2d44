"""What a change of the description does to pools and queues: nothing, something in place, or a new one, and never more."""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml

from components.platform import Platform
from components.spec.load import load
from policies.model import Graph, Resource
from preview.difference import Difference, compare
from preview.record import run
from tests.conftest import ROOT

pytestmark = pytest.mark.xdist_group("changes of training")  # the graphs are recorded once

L4 = {"accelerator": {"type": "nvidia-l4", "per_node": 1}, "nodes": {"max": 4}}
H100 = {"accelerator": {"type": "nvidia-h100", "per_node": 8}, "nodes": {"max": 2}, "capacity": ["on-demand"]}
TPU = {"accelerator": {"type": "google-tpu-v5e", "per_node": 4, "topology": "2x4"}, "nodes": {"max": 8}}
HELD = [{"reserved": "cr-0123", "zone": "usw2-az1"}]
MINE = [{"reserved": "mine", "zone": "us-central1-a"}]
# Every kind of pool: on which stack, and what it is before something of it changes.
KINDS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "karpenter": ("dev", {**L4, "capacity": ["spot", "on-demand"]}),
    "karpenter, whole": ("dev", H100),
    "karpenter, named": ("dev", {"machine": "m7i.2xlarge", "nodes": {"max": 2}}),
    "group": ("dev", {**H100, "capacity": HELD}),
    "batch": ("dev", {**L4, "scheduler": "batch"}),
    "batch, whole": ("dev", {**H100, "scheduler": "batch"}),
    "gke": ("dev-gcp", {**L4, "capacity": ["spot", "on-demand"]}),
    "gke, whole": ("dev-gcp", H100),
    "gke, reserved": ("dev-gcp", {**H100, "capacity": MINE}),
    "gke, slice": ("dev-gcp", TPU),
    "gke, named": ("dev-gcp", {"machine": "n2-standard-8", "nodes": {"max": 2}}),
}
SHARED = {"kind": "time-slicing", "replicas": 4}


@dataclass(frozen=True)
class Case:
    """A key of a pool with another value, and the types of what the change touches; whatever is not named stays as it is."""

    kind: str
    key: str
    value: Any
    updated: str = ""
    replaced: str = ""
    created: str = ""
    removed: str = ""
    forced: str = ""
    """Why the cloud leaves no other way, where something is replaced or removed."""


# What can be updated: GKE API, `UpdateNodePoolRequest`; EKS API, `UpdateNodegroupConfig` and `UpdateNodegroupVersion`; AWS Batch
# API, `ComputeResourceUpdate`, of which terraform-provider-aws leaves the placement group out.
GPU = "GKE updates no accelerator of a node pool, nor how it is shared"
CASES = (
    Case("karpenter", "accelerator.type", "nvidia-l40s", updated="ClusterQueue NodePool"),
    Case("karpenter", "accelerator.per_node", 4, updated="ClusterQueue NodePool"),
    Case("karpenter", "accelerator.sharing", SHARED, updated="ClusterQueue NodePool"),
    Case("karpenter", "machine", "g6.2xlarge", updated="NodePool"),
    Case("karpenter, named", "machine", "m7i.4xlarge", updated="ClusterQueue NodePool"),
    Case("karpenter", "nodes.max", 9, updated="ClusterQueue MetricAlarm NodePool"),
    Case("karpenter", "capacity", ["on-demand"], updated="NodePool"),
    Case("karpenter", "capacity", [{"reserved": "cr-0123"}, "spot", "on-demand"], updated="EC2NodeClass NodePool"),
    Case(
        "karpenter",
        "capacity",
        HELD,
        created="LaunchTemplate NodeGroup",
        removed="EC2NodeClass MetricAlarm NodePool",
        forced="Karpenter starts machines, a group has those of its reservation",
    ),
    Case("karpenter, whole", "interconnect", "fast", updated="EC2NodeClass NodePool", created="PlacementGroup"),
    Case("karpenter", "zone", "usw2-az1", updated="NodePool"),
    Case("karpenter", "disk_gib", 300, updated="EC2NodeClass"),
    Case("karpenter", "team", "risk", updated="EC2NodeClass"),
    Case("karpenter", "on", "aws"),
    Case("group", "accelerator.type", "nvidia-a100-40gb", updated="ClusterQueue LaunchTemplate"),
    Case("group", "accelerator.per_node", 1, updated="ClusterQueue LaunchTemplate"),
    Case("group", "accelerator.sharing", SHARED, updated="ClusterQueue NodeGroup"),
    Case("group", "machine", "p5.48xlarge"),
    Case("group", "nodes.min", 1),
    Case("group", "nodes.max", 4, updated="ClusterQueue NodeGroup"),
    Case("group", "capacity", [{"reserved": "cr-0456", "zone": "usw2-az1"}], updated="LaunchTemplate"),
    Case(
        "group",
        "capacity",
        [*HELD, {"reserved": "cr-0456", "zone": "usw2-az1"}],
        updated="NodeGroup",
        created="LaunchTemplate NodeGroup",
    ),
    Case(
        "group",
        "capacity",
        [{"reserved": "cr-0123", "zone": "usw2-az2"}],
        replaced="NodeGroup",
        forced="EKS moves no group to another subnet",
    ),
    Case(
        "group",
        "capacity",
        [{"block": "cr-0456", "zone": "usw2-az1"}],
        created="LaunchTemplate NodeGroup",
        removed="LaunchTemplate NodeGroup",
        forced="EKS changes no group's capacity type",
    ),
    Case(
        "group",
        "capacity",
        ["on-demand"],
        created="EC2NodeClass MetricAlarm NodePool",
        removed="LaunchTemplate NodeGroup",
        forced="Karpenter starts machines, a group has those of its reservation",
    ),
    Case("group", "interconnect", "fast", updated="LaunchTemplate ResourceFlavor", created="PlacementGroup Topology"),
    Case("group", "zone", "usw2-az1"),
    Case("group", "disk_gib", 300, updated="LaunchTemplate"),
    Case("group", "team", "risk", updated="LaunchTemplate NodeGroup"),
    Case("group", "on", "aws"),
    Case("batch", "accelerator.type", "nvidia-l40s", updated="ComputeEnvironment JobDefinition"),
    Case("batch", "accelerator.per_node", 4, updated="ComputeEnvironment JobDefinition"),
    Case("batch", "machine", "g6.4xlarge", updated="ComputeEnvironment JobDefinition"),
    Case("batch", "nodes.min", 1, updated="ComputeEnvironment"),
    Case("batch", "nodes.max", 9, updated="ComputeEnvironment"),
    Case("batch", "capacity", ["spot"], updated="ComputeEnvironment JobDefinition"),
    Case(
        "batch, whole",
        "interconnect",
        "fast",
        updated="LaunchTemplate",
        replaced="ComputeEnvironment",
        created="JobDefinition PlacementGroup SecurityGroup SecurityGroupEgressRule SecurityGroupIngressRule",
        forced="the provider replaces an environment for another placement group",
    ),
    Case("batch", "zone", "usw2-az1", updated="ComputeEnvironment"),
    Case("batch", "disk_gib", 300, updated="LaunchTemplate"),
    Case("batch", "team", "risk", updated="ComputeEnvironment LaunchTemplate"),
    Case(
        "batch",
        "scheduler",
        "kubernetes",
        created="ClusterQueue EC2NodeClass LocalQueue MetricAlarm NodePool ResourceFlavor WorkloadPriorityClass",
        removed="ComputeEnvironment JobDefinition JobQueue LaunchTemplate LogGroup MetricAlarm SchedulingPolicy",
        forced="it is made by another service",
    ),
    Case("batch", "on", "aws"),
    Case("gke", "accelerator.type", "nvidia-t4", updated="ClusterQueue", replaced="NodePool", forced=GPU),
    Case("gke", "accelerator.per_node", 2, updated="ClusterQueue", replaced="NodePool", forced=GPU),
    Case("gke", "accelerator.sharing", SHARED, updated="ClusterQueue", replaced="NodePool", forced=GPU),
    Case(
        "gke, slice",
        "accelerator.topology",
        "4x4",
        updated="AlertPolicy ComputeClass ResourceFlavor",
        replaced="NodePool",
        removed="NodePool",
        forced="GKE updates no placement, and fewer slices are fewer pools",
    ),
    Case("gke", "machine", "g2-standard-16", updated="ClusterQueue NodePool"),
    Case("gke, named", "machine", "n2-standard-16", updated="ClusterQueue NodePool"),
    Case("gke", "nodes.min", 1, updated="NodePool"),
    Case("gke", "nodes.max", 9, updated="AlertPolicy ClusterQueue NodePool"),
    Case("gke, slice", "nodes.max", 16, updated="AlertPolicy ClusterQueue ComputeClass", created="NodePool"),
    Case("gke, reserved", "nodes.max", 4, updated="ClusterQueue NodePool"),
    Case(
        "gke",
        "capacity",
        ["on-demand"],
        updated="ComputeClass",
        removed="NodePool",
        forced="a pool without a choice is a pool less",
    ),
    Case("gke", "capacity", ["on-demand", "spot"], updated="ComputeClass"),
    Case("gke", "capacity", ["spot", "on-demand", "flex-start"], updated="ComputeClass", created="NodePool"),
    Case(
        "gke, whole",
        "capacity",
        ["queued"],
        updated="AlertPolicy ClusterQueue ResourceFlavor",
        created="AdmissionCheck NodePool ProvisioningRequestConfig",
        removed="ComputeClass NodePool",
        forced="GKE updates no `queuedProvisioning` and no `flexStart`",
    ),
    Case(
        "gke, reserved",
        "capacity",
        [{"reserved": "other", "zone": "us-central1-a"}],
        replaced="NodePool",
        forced="GKE updates no `reservationAffinity`",
    ),
    Case(
        "gke, reserved",
        "capacity",
        [*MINE, {"reserved": "other", "zone": "us-central1-b"}],
        updated="ComputeClass NodePool",
        created="NodePool",
    ),
    Case("gke, reserved", "capacity", [{"reserved": "mine", "zone": "us-central1-b"}], updated="NodePool"),
    Case(
        "gke, whole",
        "interconnect",
        "fast",
        replaced="NodePool",
        forced="GKE updates neither placement nor `acceleratorNetworkProfile`",
    ),
    Case(
        "gke, reserved",
        "interconnect",
        "fast",
        updated="ResourceFlavor",
        replaced="NodePool",
        created="Topology",
        forced="GKE updates no `acceleratorNetworkProfile`",
    ),
    Case("gke", "zone", "us-central1-a", updated="NodePool"),
    Case("gke", "disk_gib", 300, updated="NodePool"),
    Case("gke", "team", "risk", updated="NodePool"),
    Case("gke", "on", "gcp"),
)


def described(stack: str, *, changed: bool) -> dict[str, Any]:
    """All pools of a stack, each in a queue of its own; nothing that does not depend on them."""
    content = yaml.safe_load((ROOT / "stacks/platform.yaml").read_text())
    pools, queues = {}, {}
    for number, case in enumerate(CASES):
        where, pool = KINDS[case.kind]
        if where == stack:
            # Who moves between cluster and Batch takes its part of the team's ceiling along, which no other case is to see.
            teams = ["risk"] if case.key == "scheduler" else ["vision"]
            pools[f"p{number:02}"] = with_(pool, case.key, case.value) if changed else dict(pool)
            queues[f"p{number:02}"] = {"pools": [f"p{number:02}"], "teams": teams}
    teams = {"vision": {"share": 3, "gpus": 400}, "risk": {"share": 1, "gpus": 80}}
    content = {key: value for key, value in content.items() if key not in {"serving", "retrieval"}}
    return {**content, "secrets": {}, "registry": {}, "training": {"teams": teams, "pools": pools, "queues": queues}}


def with_(pool: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    found = deepcopy(dict(pool))
    *path, last = key.split(".")
    inner = found
    for part in path:
        inner = inner[part]
    inner[last] = value
    return found


def build(stack: str, text: str) -> Graph:
    """The graph of a stack for this text of `platform.yaml`."""
    with TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "stacks").mkdir()
        own = yaml.safe_load((ROOT / f"stacks/Pulumi.{stack}.yaml").read_text())
        for section in ("training", "serving", "retrieval"):
            own["config"].pop(f"ai-platform:{section}", None)
        (root / f"stacks/Pulumi.{stack}.yaml").write_text(yaml.safe_dump(own))
        (root / "stacks/platform.yaml").write_text(text)
        environment = load(root, stack)
    return run(lambda: Platform(environment) and None, stack=stack)


def written(content: Any) -> str:
    return yaml.safe_dump(content, sort_keys=False)


@cache
def base(stack: str) -> Graph:
    return build(stack, written(described(stack, changed=False)))


@cache
def difference(stack: str) -> Difference:
    """Every pool changed at once, each by its own case: they have nothing in common but their teams."""
    return compare(base(stack), build(stack, written(described(stack, changed=True))))


def pool_of(resource: Resource) -> int | None:
    """The number of the case that a resource belongs to."""
    found = re.search(r"(?<![a-z0-9])p(\d\d)(?!\d)", resource.name)
    return int(found.group(1)) if found else None


@cache
def touched(stack: str) -> Mapping[int | None, Mapping[str, set[str]]]:
    """By case and by what happens to it: the types."""
    found: dict[int | None, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    change = difference(stack)
    parts = {
        "updated": [c.resource for c in change.changed if not c.replaced],
        "replaced": [c.resource for c in change.replaced],
        "created": change.created,
        "removed": change.removed,
    }
    for how, resources in parts.items():
        for resource in resources:
            found[pool_of(resource)][how].add(resource.type.rpartition(":")[2])
    return found


@pytest.mark.parametrize("number", range(len(CASES)), ids=[f"{case.kind}: {case.key}" for case in CASES])
def test_a_change_of_a_pool_touches_what_the_table_says(number: int):
    case = CASES[number]
    found = touched(KINDS[case.kind][0])[number]
    expected = {how: set(getattr(case, how).split()) for how in ("updated", "replaced", "created", "removed")}
    assert {how: found.get(how, set()) for how in expected} == expected


@pytest.mark.parametrize("stack", ["dev", "dev-gcp"])
def test_nothing_else_is_replaced_or_goes(stack: str):
    """What all pools have in common: quotas, the page of figures, the settings of plugins."""
    others = touched(stack)[None]
    assert not others["replaced"]
    assert not others["removed"]


def test_machines_end_only_where_a_cloud_leaves_no_other_way():
    """The shortest list that there is: what ends machines, or takes away what makes them, says which API forces it."""
    for case in CASES:
        assert bool(case.forced) == bool(case.replaced or case.removed), f"{case.kind}: {case.key}"
    grown = [case for case in CASES if case.key in {"nodes.min", "nodes.max"}]
    assert {KINDS[case.kind][0] for case in grown} == {"dev", "dev-gcp"}
    assert not [case for case in grown if case.forced]


# Keys that not every kind has: TPUs alone have a topology; Karpenter keeps no machine without work, so it has no minimum; Batch
# gives a job whole accelerators; there is no Batch on Google Cloud, and nobody else's pool becomes one in place.
ELSEWHERE = {
    "karpenter": {"accelerator.topology", "nodes.min", "scheduler"},
    "group": {"accelerator.topology", "scheduler"},
    "batch": {"accelerator.topology", "accelerator.sharing"},
    "gke": {"scheduler"},
}


@pytest.mark.parametrize("kind", ELSEWHERE)
def test_every_key_of_a_pool_has_its_case(kind: str):
    keys = {
        "accelerator.type", "accelerator.per_node", "accelerator.sharing", "accelerator.topology", "machine", "nodes.min",
        "nodes.max", "capacity", "interconnect", "zone", "disk_gib", "team", "scheduler", "on",
    }  # fmt: skip
    assert {case.key for case in CASES if case.kind.partition(",")[0] == kind} == keys - ELSEWHERE[kind]


def another_order(content: dict[str, Any]) -> str:
    for key in ("pools", "queues", "teams"):
        content["training"][key] = dict(reversed(content["training"][key].items()))
    content["training"]["pools"] = {
        name: dict(reversed(pool.items())) for name, pool in content["training"]["pools"].items()
    }
    return written(dict(reversed(content.items())))


def a_comment(content: dict[str, Any]) -> str:
    return re.sub(r"^(\s+)(p\d\d:)$", r"\1# What it is for.\n\1\2", written(content), flags=re.MULTILINE)


def another_team(content: dict[str, Any]) -> str:
    content["teams"]["legal"] = {"owner": "legal@example.com"}
    return written(content)


NOTHING: Mapping[str, Callable[[dict[str, Any]], str]] = {
    "another order of keys": another_order, "a comment": a_comment, "a team that does not train": another_team,
}  # fmt: skip


@pytest.mark.parametrize("stack", ["dev", "dev-gcp"])
@pytest.mark.parametrize("change", NOTHING)
def test_what_says_nothing_new_of_training_changes_nothing(stack: str, change: str):
    before = described(stack, changed=False)
    text = NOTHING[change](deepcopy(before))
    assert text != written(before)
    found = compare(base(stack), build(stack, text))
    assert not found.changed
    assert not found.removed
    # The team has a budget of its own, and that is all.
    assert {r.type.rpartition(":")[2] for r in found.created} <= {"Budget"}
    assert "team" in change or not found


@pytest.mark.parametrize("stack", ["dev", "dev-gcp"])
def test_what_a_config_map_holds_is_updated(stack: str):
    """Else it would be deleted and made again with each change, and gone for whoever reads it meanwhile."""
    providers = base(stack).of_type("pulumi:providers:kubernetes")
    assert providers
    assert all(str(p.get("enableConfigMapMutable")).lower() == "true" for p in providers)
