"""Quotas on Google Cloud: by model of accelerator and market, and all of a project's GPUs together."""

from typing import Any

from components.spec.quotas import quotas
from tests.spec.test_capacity import environment, pool

ALL = "GPUS-ALL-REGIONS-per-project"


def needed(**training: Any) -> dict[str, int]:
    return {need.quota.code: need.value for need in quotas(environment("dev-gcp", **training), "gcp")}


def test_accelerators_are_counted_by_market_and_once_in_all() -> None:
    found = needed(pools={"l4": pool(4, per_node=2, capacity=["spot", "on-demand"])})
    assert found == {
        "PREEMPTIBLE-NVIDIA-L4-GPUS-per-project-region": 8, "NVIDIA-L4-GPUS-per-project-region": 8, ALL: 8,
    }  # fmt: skip


def test_tpus_are_no_gpus() -> None:
    tpu = {"accelerator": {"type": "google-tpu-v6e", "per_node": 4, "topology": "2x4"}, "nodes": {"max": 2}}
    found = needed(pools={"tpu": tpu})
    assert ALL not in found
    assert found == {"TPUS-PER-TPU-FAMILY-per-project-region": 8}


def test_families_of_one_quota_are_apart() -> None:
    described = {"h": pool(1, type_="nvidia-h100", per_node=8), "m": pool(1, type_="nvidia-h100-mega", per_node=8)}
    found = [
        (n.quota.code, n.quota.dimensions, n.value) for n in quotas(environment("dev-gcp", pools=described), "gcp")
    ]
    family = "GPUS-PER-GPU-FAMILY-per-project-region"
    assert (family, {"gpu_family": "NVIDIA_H100"}, 8) in found
    assert (family, {"gpu_family": "NVIDIA_H100_MEGA"}, 8) in found
    assert (ALL, {}, 16) in found
