# ruff: noqa: E501 - a case a line, to be read as a table
"""File systems of a description: sizes that a cloud makes, and bad input reported at its place."""

from pathlib import Path
from typing import Any

import pytest

from components.spec.load import load
from tests.spec.test_load import TODAY, change, problems

A = "data.file_systems.scratch"


def scratch(**rest: Any) -> dict[str, Any]:
    return {"zone": "artifacts", "capacity_gib": 1200, **rest}


def described(project: Path, stack: str, **file_systems: Any) -> None:
    change(project, stack, data={"file_systems": file_systems})


CASES: dict[str, tuple[str, dict[str, Any], str, str, str]] = {
    # what -> stack, the file system, key of the problem, what is wrong, what would be right
    "no such zone": ("dev", scratch(zone="artefacts"), f"{A}.zone", "no zone artefacts", "artifacts?"),
    "the zone of access logs": ("dev", scratch(zone="access-logs"), f"{A}.zone", "holds access logs", "raw"),
    "no zone": ("dev", {"capacity_gib": 1200}, f"{A}.zone", "is missing", ""),
    "too small": ("dev", scratch(capacity_gib=600), f"{A}.capacity_gib", "600", "1200"),
    "between two steps": ("dev", scratch(capacity_gib=3000), f"{A}.capacity_gib", "on FSx no file system has 3000 GiB", "1200, or a multiple of 2400, such as 2400 or 4800"),
    "too small for the fabric": ("dev", scratch(capacity_gib=2400, interconnect="fast", throughput=1000), f"{A}.capacity_gib", "over EFA, at 1000 MB/s", "a multiple of 4800, such as 4800"),
    "a size of AWS on Google Cloud": ("dev-gcp", scratch(), f"{A}.capacity_gib", "at 250 MB/s a TiB, no file system has 1200", "a multiple of 36000, such as 36000"),
    "a step of another tier": ("dev-gcp", scratch(capacity_gib=9000, throughput=500), f"{A}.capacity_gib", "at 500 MB/s", "18000"),
    "too large": ("dev-gcp", scratch(capacity_gib=1_539_000, throughput=1000), f"{A}.capacity_gib", "too many", "1530000 at most"),
    "no such throughput": ("dev", scratch(throughput=200), f"{A}.throughput", "200", "125"),
    "a fabric that is not there": ("dev-gcp", scratch(capacity_gib=36_000, interconnect="fast"), f"{A}.interconnect", "no fabric", "default"),
    "a place outside of the network": ("dev", scratch(place="usw2-az4"), f"{A}.place", "not in usw2-az4", "usw2-az1"),
    "a place of another region": ("dev-gcp", scratch(capacity_gib=36_000, place="us-central2-b"), f"{A}.place", "not in us-central2-b", "us-central1-"),
    "a cloud that is not there": ("dev", scratch(on="gcp"), f"{A}.on", "not on gcp", "aws"),
    "a team that is not there": ("dev", scratch(team="visoin"), f"{A}.team", "no team visoin", "vision?"),
    "a prefix without its slash": ("dev", scratch(prefix="runs"), f"{A}.prefix", "runs", ""),
    "an unknown key": ("dev", scratch(capacity=1), f"{A}.capacity", "no key here", "capacity_gib?"),
}  # fmt: skip


@pytest.mark.parametrize("what", CASES)
def test_a_bad_file_system_is_reported(project: Path, what: str):
    stack, file_system, key, wrong, right = CASES[what]
    described(project, stack, scratch=file_system)
    found = problems(project, stack)
    assert key in found, found
    assert wrong in found[key][1]
    assert right in found[key][2]


@pytest.mark.parametrize(
    ("stack", "size", "throughput", "interconnect"),
    [
        ("dev", 1200, 125, "default"),
        ("dev", 2400, 1000, "default"),
        ("dev", 38_400, 125, "fast"),
        ("dev-gcp", 72_000, 125, "default"),
        ("dev-gcp", 1_530_000, 1000, "default"),
    ],
)
def test_sizes_that_the_clouds_make(project: Path, stack: str, size: int, throughput: int, interconnect: str):
    described(project, stack, scratch=scratch(capacity_gib=size, throughput=throughput, interconnect=interconnect))
    cloud = "gcp" if stack.endswith("gcp") else "aws"
    environment = load(project, stack, today=TODAY)
    assert list(environment.here(environment.data.file_systems, cloud)) == ["scratch"]
    assert environment.here(environment.data.file_systems, "aws" if cloud == "gcp" else "gcp") == {}
    assert environment.network_zones(cloud)


def test_two_file_systems_never_write_to_the_same_place(project: Path):
    described(project, "dev", all=scratch(), runs=scratch(prefix="runs/"))
    found = problems(project, "dev")
    assert "all is linked to the same part of artifacts" in found["data.file_systems.runs.prefix"][1]
    described(
        project, "dev", evals=scratch(prefix="evals/"), runs=scratch(prefix="runs/"), other=scratch(zone="features")
    )
    assert load(project, "dev", today=TODAY)
