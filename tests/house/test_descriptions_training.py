"""Whatever the description of pools and queues says and the checks let through builds, within its ceiling and every limit."""

import json
import re
from collections import Counter
from datetime import date
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from components.core.accelerators import machine
from components.spec.capacity import Capacity
from components.spec.checks import CHECKS
from components.spec.environment import Environment
from components.spec.load import load
from components.spec.problems import Source
from components.spec.source import Layer
from policies.model import Graph
from tests.conftest import ROOT

# What is built here is covered by the tests of each part, and to trace it all takes half as long again.
pytestmark = pytest.mark.no_cover

NAME = st.from_regex(r"\A[a-z](-?[a-z0-9]){1,4}\Z")
ACCELERATORS = {
    "aws": [("nvidia-l4", 1), ("nvidia-l4", 8), ("nvidia-a10g", 4), ("nvidia-h100", 8), ("aws-trainium", 16)],
    "gcp": [("nvidia-l4", 1), ("nvidia-l4", 4), ("nvidia-t4", 2), ("nvidia-a100-40gb", 8), ("google-tpu-v5e", 4)],
}
CAPACITY = {
    "aws": [
        ["spot"], ["on-demand"], ["spot", "on-demand"], [{"reserved": "cr-0123"}], [{"reserved": "cr-0123"}, "spot", "on-demand"],
        [{"block": "cr-0456", "zone": "usw2-az1"}],
        [{"reserved": "cr-0123"}, {"block": "cr-0456", "zone": "usw2-az2", "nodes": 1}],
    ],
    "gcp": [
        ["spot"], ["on-demand"], ["spot", "on-demand"], ["on-demand", "spot"], ["spot", "flex-start"], ["queued"], ["flex-start"],
        [{"reserved": "mine", "zone": "us-central1-a"}, "spot"],
    ],
}  # fmt: skip
SHARING = [None, {"kind": "time-slicing", "replicas": 3}, {"kind": "mig", "profile": "1g.5gb"}]


@st.composite
def pools(draw: st.DrawFn, cloud: str) -> dict[str, Any]:
    kind, per_node = draw(st.sampled_from(ACCELERATORS[cloud]))
    accelerator: dict[str, Any] = {"type": kind, "per_node": per_node}
    if kind.startswith("google-tpu"):
        accelerator["topology"] = draw(st.sampled_from(["2x2", "2x4", "4x4"]))
    if sharing := draw(st.sampled_from(SHARING)):
        accelerator["sharing"] = sharing
    least = draw(st.sampled_from([0, 0, 0, 1]))
    schedulers = ["kubernetes", "kubernetes", "batch"] if cloud == "aws" else ["kubernetes"]
    return {
        "accelerator": accelerator,
        "nodes": {"min": least, "max": least + draw(st.integers(1, 9))},
        "capacity": draw(st.sampled_from(CAPACITY[cloud])),
        "interconnect": draw(st.sampled_from(["default", "default", "fast"])),
        "scheduler": draw(st.sampled_from(schedulers)),
        "disk_gib": draw(st.integers(100, 1000)),
    }


@st.composite
def training(draw: st.DrawFn, cloud: str) -> dict[str, Any]:
    described = draw(st.dictionaries(NAME, pools(cloud), min_size=1, max_size=3))
    by_scheduler = {
        scheduler: [name for name, pool in described.items() if pool["scheduler"] == scheduler]
        for scheduler in ("kubernetes", "batch")
    }
    names = draw(st.lists(NAME, min_size=1, max_size=3, unique=True))
    queues: dict[str, Any] = {}
    for name in names:
        able = by_scheduler[draw(st.sampled_from(["kubernetes", "batch"]))]
        if able:
            queues[name] = {
                "pools": draw(st.lists(st.sampled_from(able), min_size=1, max_size=3, unique=True)),
                "retries": draw(st.integers(1, 9)),
                "timeout_hours": draw(st.integers(1, 200)),
                "priority_classes": draw(st.dictionaries(NAME, st.integers(0, 9999), min_size=1, max_size=2)),
            }
    asked = sum(p["nodes"]["max"] * p["accelerator"]["per_node"] for p in described.values())
    return {
        "pools": described,
        "queues": queues,
        "teams": {
            "vision": {"share": draw(st.integers(1, 9)), "gpus": draw(st.integers(1, 64))}, "risk": {"share": 1, "gpus": 8},
        },
        "max_accelerators": draw(st.one_of(st.none(), st.integers(max(asked // 2, 1), asked))),
    }  # fmt: skip


def ceiling(graph: Graph, capacity: Capacity) -> int:
    """Accelerators that everything that starts machines may start at once. On GKE the queue in front of a pool bounds it."""
    total = 0
    for pool in graph.of_type("kubernetes:karpenter.sh/v1:NodePool"):
        plan = capacity.pools[pool.get("metadata.name")]
        limits = pool.get("spec.limits")
        # A shared accelerator is seen as often as it is shared.
        assert int(limits[plan.resource]) == plan.devices
        total += int(limits["nodes"]) * plan.per_node
    for group in graph.of_type("aws:eks/nodeGroup:NodeGroup"):
        plan = capacity.pools.get(group.get("labels", {}).get("ai-platform.io/pool", ""))
        total += group.get("scalingConfig.maxSize") * plan.per_node if plan else 0
    for environment in graph.of_type("aws:batch/computeEnvironment:ComputeEnvironment"):
        [type_] = environment.get("computeResources.instanceTypes")
        found = machine("aws", type_)
        assert found
        total += environment.get("computeResources.maxVcpus") // found.vcpus * found.count
    quotas: Counter[str] = Counter()
    for queue in graph.of_type("kubernetes:kueue.x-k8s.io/v1beta2:ClusterQueue"):
        for group in queue.get("spec.resourceGroups"):
            for flavor in group["flavors"]:
                for resource in flavor["resources"]:
                    if resource["name"] in {"nvidia.com/gpu", "google.com/tpu", "aws.amazon.com/neuron"}:
                        quotas[flavor["name"]] += int(resource["nominalQuota"])
    for name, quota in quotas.items():
        assert quota <= capacity.pools[name].devices, (name, quota)
    return total


LIMITS = {
    "aws:eks/cluster:Cluster": ("name", 100), "aws:eks/nodeGroup:NodeGroup": ("nodeGroupName", 63),
    "aws:iam/role:Role": ("name", 64), "aws:ec2/launchTemplate:LaunchTemplate": ("name", 128),
    "aws:batch/jobQueue:JobQueue": ("name", 128), "aws:batch/jobDefinition:JobDefinition": ("name", 128),
    "gcp:container/nodePool:NodePool": ("name", 40), "gcp:container/cluster:Cluster": ("name", 40),
    "gcp:serviceaccount/account:Account": ("accountId", 30),
}  # fmt: skip


@pytest.mark.parametrize(("stack", "cloud"), [("dev", "aws"), ("dev-gcp", "gcp")])
# To shrink an example takes minutes; of many that are thought up, few pass the checks.
@settings(max_examples=6, phases=[Phase.generate], suppress_health_check=[HealthCheck.filter_too_much])
@given(data=st.data())
def test_pools_and_queues_that_pass_the_checks_build(stack: str, cloud: Any, data: st.DataObject):
    from components.platform import Platform
    from preview.record import run

    base = load(ROOT, stack, today=date(2026, 6, 1)).model_dump(exclude_none=True)
    # The rest stays away: it is many resources, and none of them depends on a pool.
    base["training"] = {"checkpoint_days": base["training"]["checkpoint_days"], **data.draw(training(cloud))}
    base["secrets"], base["registry"]["models"] = {}, {}
    base["serving"] = {"capture_days": base["serving"]["capture_days"]}
    base["retrieval"] = {"prompt_days": base["retrieval"]["prompt_days"]}
    environment = Environment.model_validate(base)
    assume(not [p for check in CHECKS for p in check(environment, Layer(Source("stacks/test.yaml")))])
    graph = run(lambda: Platform(environment) and None, stack=stack)
    capacity = Capacity(environment, cloud)
    most = environment.training.max_accelerators or sum(pool.accelerators for pool in capacity.pools.values())
    assert ceiling(graph, capacity) <= most
    for type_, (key, limit) in LIMITS.items():
        for resource in graph.of_type(type_):
            assert 1 <= len(resource.get(key)) <= limit, (type_, resource.get(key))
    for resource in graph.resources.values():
        if resource.type.startswith("kubernetes:") and "metadata" in resource.inputs:
            name = resource.get("metadata.name")
            assert len(name) <= 253
            # Roles may have colons in their names.
            plain = name.replace(":", "-") if ":rbac." in resource.type else name
            assert re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", plain), name
            assert "null" not in json.dumps(resource.inputs), resource.urn
