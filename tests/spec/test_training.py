# ruff: noqa: E501 - a case a line, to be read as a table
"""Bad pools, queues and teams: each is reported at its place, with the rule that it breaks and what would be right."""

from pathlib import Path
from typing import Any

import pytest

from components.spec.load import load
from tests.spec.test_load import TODAY, change, problems


def pool(**rest: Any) -> dict[str, Any]:
    return {"accelerator": {"type": "nvidia-l4"}, "nodes": {"max": 4}, **rest}


H100 = {"accelerator": {"type": "nvidia-h100", "per_node": 8}, "nodes": {"max": 4}}
HYPERPOD = {**H100, "nodes": {"min": 4, "max": 4}, "resilience": "hyperpod"}
PLAN = "arn:aws:sagemaker:us-west-2:111111111111:training-plan/spring"
A = "training.pools.p"

CASES: dict[str, tuple[str, dict[str, Any], str, str, str]] = {
    # what -> stack, the pool, key of the problem, what is wrong, what would be right
    "unknown accelerator": ("dev", pool(accelerator={"type": "nvidia-l5"}), f"{A}.accelerator.type", "no accelerator", "nvidia-l4?"),
    "accelerator of the other cloud": ("dev", pool(accelerator={"type": "google-tpu-v5e", "topology": "2x4"}), f"{A}.accelerator.type", "aws has no google-tpu-v5e", "aws-trainium"),
    "number that no machine has": ("dev", pool(accelerator={"type": "nvidia-l4", "per_node": 3}), f"{A}.accelerator.per_node", "no machine with 3 nvidia-l4", "1, 4, 8"),
    "neither machine nor accelerator": ("dev", {"nodes": {"max": 1}}, A, "neither", "accelerator.type"),
    "unknown machine": ("dev", {"machine": "g6.2xlrge", "nodes": {"max": 1}}, f"{A}.machine", "no machine", "g6.2xlarge?"),
    "machine without the accelerator": ("dev", pool(machine="g5.xlarge"), f"{A}.machine", "does not carry 1 nvidia-l4", "1 nvidia-a10g"),
    "machine without any": ("dev", pool(machine="m7i.xlarge"), f"{A}.machine", "does not carry", "no accelerator"),
    "zone without the machine": ("dev", pool(zone="use1-az1"), f"{A}.zone", "not in use1-az1", "usw2-az1"),
    "fast without a fabric": ("dev", pool(interconnect="fast"), f"{A}.interconnect", "no fabric", "g6.12xlarge"),
    "minimum over maximum": ("dev", pool(nodes={"min": 5, "max": 4}), f"{A}.nodes", "min 5 is over max 4", "5 or more"),
    "no maximum": ("dev", pool(nodes={"min": 5}), f"{A}.nodes.max", "is missing", ""),
    "unknown capacity": ("dev", pool(capacity=["spott"]), f"{A}.capacity[0]", "spott is not allowed", "spot?"),
    "unknown key of a block": ("dev", pool(capacity=[{"block": "cr-0123", "node": 3}]), f"{A}.capacity[0].node", "no key here", "nodes?"),
    "no capacity": ("dev", pool(capacity=[]), f"{A}.capacity", "holds 0", "1 or more"),
    "spot beside a block": ("dev", {**H100, "capacity": [{"block": "cr-0123", "zone": "usw2-az1"}, "spot"]}, f"{A}.capacity", "EC2: a launch template has one market type", "a pool for the block"),
    "on-demand before spot on EKS": ("dev", pool(capacity=["on-demand", "spot"]), f"{A}.capacity", "Karpenter always tries", "spot, on-demand"),
    "minimum with Karpenter": ("dev", pool(nodes={"min": 1, "max": 2}, capacity=["spot"]), f"{A}.capacity", "Karpenter starts machines for work", "nodes.min: 0"),
    "queued on AWS": ("dev", pool(capacity=["queued"]), f"{A}.capacity[0]", "aws has no capacity queued", "{block: cr-…}"),
    "flex-start on AWS": ("dev", pool(capacity=["flex-start"]), f"{A}.capacity[0]", "aws has no capacity flex-start", "{block: cr-…}"),
    "block on Google Cloud": ("dev-gcp", pool(capacity=[{"block": "cr-0123"}]), f"{A}.capacity[0]", "gcp has no capacity block", "calendar mode"),
    "the same market twice": ("dev", pool(capacity=["spot", "spot"]), f"{A}.capacity[1]", "spot stands twice", "once"),
    "queued as a fallback": ("dev-gcp", pool(capacity=["spot", "queued"]), f"{A}.capacity", "GKE: machines of queued provisioning", "[queued] alone"),
    "minimum with flex-start": ("dev-gcp", pool(nodes={"min": 1, "max": 2}, capacity=["flex-start"]), f"{A}.capacity", "GKE: flex-start and queued provisioning start from zero", "nodes.min: 0"),
    "queued and compact": ("dev-gcp", {**H100, "capacity": ["queued"], "interconnect": "fast"}, f"{A}.capacity", "no compact placement", "interconnect: default"),
    "flex-start and compact": ("dev-gcp", {**H100, "capacity": ["flex-start"], "interconnect": "fast"}, f"{A}.capacity", "compact placement only with", "interconnect: default"),
    "two markets in Batch": ("dev", pool(scheduler="batch", capacity=["spot", "on-demand"]), f"{A}.capacity", "a compute environment of Batch", "two pools"),
    "Batch on Google Cloud": ("dev-gcp", pool(scheduler="batch"), f"{A}.scheduler", "no job queues of Batch", "kubernetes"),
    "another form of reservation": ("dev", pool(capacity=[{"reserved": "my-reservation"}]), f"{A}.capacity[0].reserved", "no reservation of aws", "cr-"),
    "a reservation of AWS on Google Cloud": ("dev-gcp", pool(capacity=[{"reserved": "CR_1"}]), f"{A}.capacity[0].reserved", "no reservation of gcp", "projects/PROJECT"),
    "reservation without a zone": ("dev-gcp", pool(capacity=[{"reserved": "mine"}]), f"{A}.capacity[0]", "lies in one zone", "us-central1-a"),
    "block without a zone": ("dev", {**H100, "capacity": [{"block": "cr-0123"}]}, f"{A}.capacity[0]", "lies in one zone", "usw2-az1"),
    "block in another zone": ("dev", {**H100, "capacity": [{"block": "cr-0123", "zone": "usw2-az9"}]}, f"{A}.capacity[0].zone", "not in usw2-az9", "usw2-az"),
    "a block that ends before it starts": ("dev", {**H100, "capacity": [{"block": "cr-0123", "zone": "usw2-az1", "starts": "2026-12-02T11:30:00Z", "ends": "2026-12-01T11:30:00Z"}]}, f"{A}.capacity[0]", "before it starts", "after"),
    "a block without an end": ("dev", {**H100, "capacity": [{"block": "cr-0123", "zone": "usw2-az1", "starts": "2026-12-02T11:30:00Z"}]}, f"{A}.capacity[0]", "one is missing", "starts and ends"),
    "a time without its zone": ("dev", {**H100, "capacity": [{"block": "cr-0123", "zone": "usw2-az1", "starts": "2026-12-02T11:30:00"}]}, f"{A}.capacity[0].starts", "time zone", "2027-01-31T11:30:00Z"),
    "reservations larger than the pool": ("dev", pool(capacity=[{"reserved": "cr-0123", "nodes": 5}]), f"{A}.capacity", "come to 5", "4 at most"),
    "HyperPod on Google Cloud": ("dev-gcp", {**HYPERPOD}, f"{A}.resilience", "no HyperPod", "GKE repairs"),
    "HyperPod for Batch": ("dev", {**HYPERPOD, "scheduler": "batch"}, f"{A}.resilience", "not to Batch", "scheduler: kubernetes"),
    "a machine that HyperPod has not": ("dev", {**HYPERPOD, "accelerator": {"type": "nvidia-l4"}}, f"{A}.resilience", "not known to have g6.2xlarge", "p5.48xlarge"),
    "HyperPod from zero": ("dev", {**HYPERPOD, "nodes": {"max": 4}}, f"{A}.nodes", "keeps all machines", "min: 4"),
    "HyperPod on spot": ("dev", {**HYPERPOD, "capacity": ["spot"]}, f"{A}.capacity", "[spot]: HyperPod keeps", "on-demand"),
    "HyperPod with a fallback": ("dev", {**HYPERPOD, "capacity": ["on-demand", "spot"]}, f"{A}.capacity", "[on-demand, spot]: HyperPod", "on-demand"),
    "HyperPod on a block": ("dev", {**HYPERPOD, "capacity": [{"block": "cr-0123", "zone": "usw2-az1"}]}, f"{A}.capacity", "[block]: HyperPod", "training plan"),
    "HyperPod on a reservation of EC2": ("dev", {**HYPERPOD, "capacity": [{"reserved": "cr-0123", "zone": "usw2-az1"}]}, f"{A}.capacity[0].reserved", "no training plan", "arn:aws:sagemaker:"),
    "a training plan without a zone": ("dev", {**HYPERPOD, "capacity": [{"reserved": PLAN}]}, f"{A}.capacity[0]", "lies in one zone", "usw2-az1"),
    "a training plan in another zone": ("dev", {**HYPERPOD, "capacity": [{"reserved": PLAN, "zone": "usw2-az9"}]}, f"{A}.capacity[0].zone", "not in usw2-az9", "usw2-az"),
    "a part of a training plan": ("dev", {**HYPERPOD, "capacity": [{"reserved": PLAN, "zone": "usw2-az1", "nodes": 1}]}, f"{A}.capacity[0].nodes", "all of a pool", "4, as max"),
    "a training plan without HyperPod": ("dev", {**H100, "capacity": [{"reserved": PLAN}]}, f"{A}.capacity[0].reserved", "no reservation of aws", "cr-"),
    "HyperPod with shared accelerators": ("dev", {**HYPERPOD, "accelerator": {**H100["accelerator"], "sharing": {"kind": "mig", "profile": "3g.40gb"}}}, f"{A}.accelerator.sharing", "do not divide", "no sharing"),
    "a disk that HyperPod has not": ("dev", {**HYPERPOD, "disk_gib": 2000}, f"{A}.disk_gib", "1024 GiB at most", "1024 or less"),
    "another resilience": ("dev", {**H100, "resilience": "hyperpodd"}, f"{A}.resilience", "not allowed", "hyperpod?"),
    "a topology that is none": ("dev", pool(accelerator={"type": "nvidia-l4", "topology": "2x4"}), f"{A}.accelerator.topology", "only a TPU", "no topology"),
    "a TPU without one": ("dev-gcp", pool(accelerator={"type": "google-tpu-v5e", "per_node": 4}), f"{A}.accelerator.topology", "by its topology", "2x4"),
    "shared though fast": ("dev", {"accelerator": {"type": "nvidia-h100", "per_node": 8, "sharing": {"kind": "time-slicing", "replicas": 2}}, "nodes": {"max": 1}, "interconnect": "fast"}, f"{A}.accelerator.sharing", "whole accelerators", "no sharing"),
    "divided though it cannot": ("dev", pool(accelerator={"type": "nvidia-l4", "sharing": {"kind": "mig", "profile": "1g.10gb"}}), f"{A}.accelerator.sharing", "cannot be divided", "time-slicing"),
    "a profile that it has not": ("dev", {"accelerator": {"type": "nvidia-h100", "per_node": 8, "sharing": {"kind": "mig", "profile": "1g.5gb"}}, "nodes": {"max": 1}}, f"{A}.accelerator.sharing.profile", "has no 1g.5gb", "1g.10gb"),
    "shared though it is none of NVIDIA": ("dev", pool(accelerator={"type": "aws-inferentia2", "sharing": {"kind": "time-slicing", "replicas": 2}}), f"{A}.accelerator.sharing", "cannot be shared", "no sharing"),
    "a cloud that is not there": ("dev", pool(on="gcp"), f"{A}.on", "not on gcp", "aws"),
    "a team that is not there": ("dev", pool(team="visoin"), f"{A}.team", "no team visoin", "vision?"),
}  # fmt: skip


@pytest.mark.parametrize("what", CASES)
def test_a_bad_pool_is_reported(project: Path, what: str):
    stack, described, key, wrong, right = CASES[what]
    change(project, stack, training={"pools": {"p": described}})
    found = problems(project, stack)
    assert key in found, found
    assert wrong in found[key][1]
    assert right in found[key][2]
    assert found[key][0].startswith(f"stacks/Pulumi.{stack}.yaml:")


def test_an_accelerator_that_the_region_has_not_says_where_it_is(project: Path):
    change(
        project,
        "dev",
        cloud={"aws": {"account": "111111111111", "region": "eu-west-1"}},
        training={"pools": {"p": H100, "l4-spot": None, "l4-large": None}, "queues": None},
    )
    _, wrong, right = problems(project, "dev")[f"{A}.accelerator.type"]
    assert "8 nvidia-h100 a machine are not known in eu-west-1" in wrong
    assert "us-west-2" in right


def test_a_name_that_fits_no_instance_template_says_how_long_it_may_be(project: Path):
    change(project, "dev-gcp", training={"pools": {"a-pool-with-a-very-long-name": pool(capacity=["flex-start"])}})
    _, wrong, right = problems(project, "dev-gcp")["training.pools.a-pool-with-a-very-long-name"]
    assert "39 characters, 32 fit" in wrong
    assert "21 characters" in right


def test_hyperpod_has_no_machines_for_every_version_of_kubernetes_nor_in_every_region(project: Path):
    change(project, "dev", training={"pools": {"p": HYPERPOD}, "cluster": {"version": "1.36"}})
    _, wrong, right = problems(project, "dev")[f"{A}.resilience"]
    assert "Kubernetes 1.36" in wrong
    assert "1.34 or 1.35" in right
    change(project, "dev", cloud={"aws": {"account": "111111111111", "region": "eu-west-3"}})
    change(
        project,
        "dev",
        training={
            "cluster": {"version": "1.35"},
            "pools": {"p": {**HYPERPOD, "machine": "g6.48xlarge", "accelerator": None}},
        },
    )
    found = problems(project, "dev")
    assert "not known in eu-west-3" in found[f"{A}.resilience"][1]
    assert "eu-west-1" in found[f"{A}.resilience"][2]


def test_hyperpod_keeps_one_pool(project: Path):
    change(project, "dev", training={"pools": {"p": HYPERPOD, "q": HYPERPOD}})
    found = problems(project, "dev")
    assert f"{A}.resilience" not in found
    assert "one pool of a cluster, which is p" in found["training.pools.q.resilience"][1]
    assert "larger" in found["training.pools.q.resilience"][2]


@pytest.mark.parametrize("capacity", [["on-demand"], [{"reserved": PLAN, "zone": "usw2-az2"}]])
def test_a_pool_that_hyperpod_keeps_is_accepted_in_any_zone_of_the_network(project: Path, capacity: list[Any]):
    change(project, "dev", training={"pools": {"p": {**HYPERPOD, "capacity": capacity, "zone": "usw2-az2"}}})
    assert load(project, "dev", today=TODAY).training.pools["p"].resilience == "hyperpod"


QUEUES: dict[str, tuple[str, dict[str, Any], str, str, str]] = {
    "no pool": ("dev", {"pools": []}, "pools", "holds 0", "1 or more"),
    "unknown pool": ("dev", {"pools": ["l4-spto"]}, "pools[0]", "no pool l4-spto", "l4-spot?"),
    "a pool twice": ("dev", {"pools": ["l4-spot", "l4-spot"]}, "pools[1]", "stands twice", "once"),
    "two schedulers": ("dev", {"pools": ["l4-spot", "b"]}, "pools", "one scheduler", "a queue for each"),
    "too many for Batch": ("dev", {"pools": ["b", "b2", "b3", "b4"]}, "pools", "too many", "3 at most"),
    "a team without share": ("dev", {"pools": ["l4-spot"], "teams": ["nlp"]}, "teams[0]", "nlp has no share", "vision"),
    "spot without a retry": ("dev", {"pools": ["l4-spot"], "retries": 0}, "retries", "interrupted", "1 or more"),
    "a priority that is too high": ("dev", {"pools": ["l4-spot"], "priority_classes": {"top": 10_000}}, "priority_classes.top", "too large", "9999"),
    "no priority": ("dev", {"pools": ["l4-spot"], "priority_classes": {}}, "priority_classes", "there is none", "normal: 100"),
    "unknown zone of checkpoints": ("dev", {"pools": ["l4-spot"], "checkpoint": "artefacts"}, "checkpoint", "no zone artefacts", "artifacts?"),
}  # fmt: skip


@pytest.mark.parametrize("what", QUEUES)
def test_a_bad_queue_is_reported(project: Path, what: str):
    stack, described, key, wrong, right = QUEUES[what]
    batch = {name: pool(scheduler="batch") for name in ("b", "b2", "b3", "b4")}
    change(project, stack, training={"pools": batch, "queues": {"q": described}})
    found = problems(project, stack)
    assert f"training.queues.q.{key}" in found, found
    assert wrong in found[f"training.queues.q.{key}"][1]
    assert right in found[f"training.queues.q.{key}"][2]


def test_a_team_without_share_is_reported(project: Path):
    change(project, "dev", training={"teams": {"vision": {"share": None}, "risk": {"share": 0}}})
    found = problems(project, "dev")
    assert "is missing" in found["training.teams.vision.share"][1]
    assert "too small" in found["training.teams.risk.share"][1]


def test_a_team_that_trains_is_a_team(project: Path):
    change(project, "dev", training={"teams": {"visions": {"share": 1, "gpus": 1}}})
    _, wrong, right = problems(project, "dev")["training.teams.visions"]
    assert "no team visions" in wrong
    assert "vision?" in right


def test_queues_that_nobody_may_use_are_reported(project: Path):
    change(project, "dev", training={"teams": {"vision": None, "risk": None}})
    assert "nobody may use it" in problems(project, "dev")["training.queues.train"][1]


@pytest.mark.parametrize(
    ("ceiling", "wrong", "right"), [(3, "under the pools' minima: p 8", "8 or more"), (9, "leaves no machine to l4-spot", "more, or")]
)  # fmt: skip
def test_a_ceiling_that_leaves_a_pool_nothing_is_reported(project: Path, ceiling: int, wrong: str, right: str):
    held = {**H100, "nodes": {"min": 1, "max": 2}, "capacity": [{"reserved": "cr-0123"}]}
    change(project, "dev", training={"max_accelerators": ceiling, "pools": {"p": held}})
    _, said, mend = problems(project, "dev")["training.max_accelerators"]
    assert wrong in said
    assert right in mend


def test_a_system_pool_with_its_bounds_crossed_is_reported(project: Path):
    change(project, "dev", training={"cluster": {"system": {"min": 5, "max": 3}}})
    assert "min 5 is over max 3" in problems(project, "dev")["training.cluster.system"][1]


def test_reserved_capacity_a_block_and_a_queue_over_two_kinds_of_pool_are_accepted(project: Path):
    """Reserved capacity first, then a block, side by side on the fabric; a queue over both kinds of pool."""
    capacity = [{"reserved": "cr-0123"}, {"block": "cr-0456", "zone": "usw2-az2"}]
    fast = {**H100, "capacity": capacity, "interconnect": "fast", "zone": "usw2-az2"}
    queues = {
        "big": {"pools": ["l4-spot", "h100"], "teams": ["vision"], "priority_classes": {"urgent": 1000, "normal": 100}}
    }
    change(project, "dev", training={"pools": {"h100": fast}, "queues": queues, "max_accelerators": 32})
    environment = load(project, "dev", today=TODAY)
    assert environment.training.checkpoints("big") == "artifacts"
