"""What the tests share: the root, the stacks' graphs, and stack files of their own."""

import fcntl
import gc
import pickle
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from policies.model import Graph
from tests import tracing

tracing.install()
# A busy machine is no failure; the examples are the same on every run, so that a red test stays red until it is mended.
settings.register_profile("steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")

ROOT = Path(__file__).resolve().parent.parent
AWS = ("dev", "staging", "prod")
GCP = ("dev-gcp", "staging-gcp", "prod-gcp")
STACKS = (*AWS, *GCP)


_shared: Path | None = None


@cache
def graph(stack: str, *, preview: bool = False) -> Graph:
    """A stack of the repository as a graph, recorded once: the first of the test processes hands it to the others."""
    from preview.record import record

    if _shared is None:
        return record(ROOT, stack, preview=preview)
    with (_shared / f"{stack}-{preview}.graph").open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not file.tell():
            pickle.dump(record(ROOT, stack, preview=preview), file)
            file.flush()
        file.seek(0)
        return pickle.load(file)  # noqa: S301  our own


@pytest.fixture(scope="session", autouse=True)
def _processes_share_graphs(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> None:
    global _shared  # noqa: PLW0603
    if worker_id != "master":
        _shared = tmp_path_factory.getbasetemp().parent


def pytest_collection_finish() -> None:
    """What is imported by now stays: not to look for garbage in it saves a tenth of the time."""
    gc.freeze()


@pytest.fixture(scope="session")
def graphs() -> Callable[..., Graph]:
    return graph


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the stack files, to be changed by a test."""
    shutil.copytree(ROOT / "stacks", tmp_path / "stacks")
    return tmp_path
