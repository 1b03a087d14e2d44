"""What a change of the description does to pools and queues: nothing, something in place, or a new one, and never more."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.platform import Platform
from components.spec.load import load
from policies.model import Graph
from preview.difference import Difference, compare
from preview.record import run

Change = Callable[[dict[str, Any]], None]

H100 = {
    "accelerator": {"type": "nvidia-h100", "per_node": 8},
    "nodes": {"max": 2},
    "capacity": [{"reserved": "cr-0123", "zone": "usw2-az1"}],
}


def build(project: Path, stack: str, change: Change | None = None) -> Graph:
    file = project / "stacks" / "platform.yaml"
    before = file.read_text()
    content = yaml.safe_load(before)
    content["training"]["pools"]["held"] = {**H100, "capacity": [{"reserved": "cr-0123"}]} if stack == "dev" else {
        **H100, "capacity": [{"reserved": "mine", "zone": "us-central1-a"}]
    }  # fmt: skip
    if stack == "dev":
        content["training"]["pools"]["batch"] = {**content["training"]["pools"]["l4-large"], "scheduler": "batch"}
        content["training"]["queues"]["batch"] = {"pools": ["batch"]}
    if change:
        change(content)
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    environment = load(project, stack)
    file.write_text(before)
    return run(lambda: Platform(environment) and None, stack=stack)


def difference(project: Path, stack: str, change: Change) -> Difference:
    return compare(build(project, stack), build(project, stack, change))


def reverse(content: dict[str, Any]) -> None:
    for key in ("pools", "queues", "teams"):
        content["training"][key] = dict(reversed(content["training"][key].items()))


def another_team(content: dict[str, Any]) -> None:
    content["teams"]["legal"] = {"owner": "legal@example.com"}


@pytest.mark.parametrize("stack", ["dev", "dev-gcp"])
def test_the_order_of_pools_and_queues_changes_nothing(project: Path, stack: str):
    assert not difference(project, stack, reverse)


@pytest.mark.parametrize("stack", ["dev", "dev-gcp"])
def test_a_team_that_does_not_train_changes_no_pool_and_no_queue(project: Path, stack: str):
    found = difference(project, stack, another_team)
    assert not found.changed
    assert not found.removed


def resize(content: dict[str, Any]) -> None:
    for pool in content["training"]["pools"].values():
        pool["nodes"]["max"] += 1


@pytest.mark.parametrize("stack", ["dev", "dev-gcp"])
def test_more_machines_come_in_place(project: Path, stack: str):
    found = difference(project, stack, resize)
    assert found.changed
    assert not found.removed
    assert not found.created
    assert not [c.resource.urn for c in found.changed if c.replaced]


# What a change of a pool makes anew, by cloud; whatever is not here stays. Each entry is forced: the types are those whose
# field the cloud's API cannot update.
REPLACED: dict[str, dict[str, set[str]]] = {
    "dev": {"disk_gib": set(), "interconnect": set(), "team": set()},
    "dev-gcp": {"disk_gib": set(), "interconnect": {"gcp:container/nodePool:NodePool"}, "team": set()},
}


@pytest.mark.parametrize(("stack", "key", "value"), [
    ("dev", "disk_gib", 300), ("dev", "team", "vision"),
    ("dev-gcp", "disk_gib", 300), ("dev-gcp", "team", "vision"),
])  # fmt: skip
def test_only_what_a_cloud_forces_is_made_anew(project: Path, stack: str, key: str, value: Any):
    def change(content: dict[str, Any]) -> None:
        content["training"]["pools"]["held"][key] = value

    found = difference(project, stack, change)
    assert not found.removed, [r.resource.urn for r in found.removed]
    replaced = {c.resource.type for c in found.changed if c.replaced}
    assert replaced <= REPLACED[stack][key], replaced
