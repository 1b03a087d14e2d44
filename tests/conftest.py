"""What the tests share: the root, the stacks' graphs, and stack files of their own."""

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from policies.model import Graph

# A busy machine is no failure; the examples are the same on every run, so that a red test stays red until it is mended.
settings.register_profile("steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")

ROOT = Path(__file__).resolve().parent.parent
AWS = ("dev", "staging", "prod")
GCP = ("dev-gcp", "staging-gcp", "prod-gcp")
STACKS = (*AWS, *GCP)


@cache
def graph(stack: str, *, preview: bool = False) -> Graph:
    """A stack of the repository as a graph, recorded once in a test process."""
    from preview.record import record

    return record(ROOT, stack, preview=preview)


@pytest.fixture(scope="session")
def graphs() -> Callable[..., Graph]:
    return graph


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the stack files, to be changed by a test."""
    shutil.copytree(ROOT / "stacks", tmp_path / "stacks")
    return tmp_path
