"""Measure the preview: `python -m benchmarks.preview`, or `make bench`.

For each stack: the processor's time to import and to register, and the time of the whole preview as a process, beside the
floor (see `floor.py`) as a process, in turn, each the median of the runs; and the largest process. Then all stacks at once,
and how the time grows with the description. Prints tables, writes `benchmarks/results/preview.json`, and ends with 1 where
a limit is passed.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
import yaml

from components.spec.load import stacks as known_stacks

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "preview.json"

RATIO = 1.5
"""At most this many times the floor may a preview take."""
SPREAD = 0.2
"""At most this much dearer may a resource become while the description grows."""


def _zones(description: dict[str, Any], count: int) -> None:
    description.setdefault("data", {}).setdefault("zones", {}).update({f"zone-{i:03}": {} for i in range(count)})


def _pools(description: dict[str, Any], count: int) -> None:
    pool = {"accelerator": {"type": "nvidia-l4"}, "nodes": {"max": 2}, "capacity": ["spot", "on-demand"]}
    description["training"]["pools"].update({f"pool-{i:03}": pool for i in range(count)})


def _queues(description: dict[str, Any], count: int) -> None:
    queue = {"pools": [next(iter(description["training"]["pools"]))]}
    description["training"]["queues"].update({f"queue-{i:04}": queue for i in range(count)})


def _endpoints(description: dict[str, Any], count: int) -> None:
    endpoint = {
        "kind": "realtime",
        "team": next(iter(description["teams"])),
        "model": {"image": "serving:1.0.0"},
        "scale": {"max": 2},
        "objective": {"p95_ms": 500, "requests_per_month": 1_000_000},
    }
    serving = description.setdefault("serving", {})
    serving["max_instances"] = 50 + 4 * count
    serving.setdefault("endpoints", {}).update({f"endpoint-{i:03}": endpoint for i in range(count)})


GROWTH: Mapping[str, tuple[Callable[[dict[str, Any], int], None], tuple[int, ...]]] = {
    "zones": (_zones, (1, 10, 100)),
    "pools": (_pools, (1, 10, 100)),
    "queues": (_queues, (1, 10, 100, 1000)),
    "endpoints": (_endpoints, (1, 10, 200)),
}
"""What grows, how, and its sizes, beside what every environment has."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process from its start to its end."""

    seconds: float
    mebibytes: float
    """Most memory held at once by it or by one of its children."""
    output: str


def process(*command: str) -> Process:
    """Run Python with these arguments. Raises RuntimeError where it fails; findings (3) are no failure."""
    start = time.perf_counter()
    running = subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None  # noqa: S101  asked for above
    output = running.stdout.read()
    _, status, usage = os.wait4(running.pid, 0)
    seconds = time.perf_counter() - start
    running.returncode = os.waitstatus_to_exitcode(status)
    if running.returncode not in {0, 3}:
        raise RuntimeError(f"{' '.join(command)}: exit code {running.returncode}")
    # Linux counts in kibibytes, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return Process(seconds, usage.ru_maxrss * unit / 2**20, output)


@dataclass(frozen=True, kw_only=True)
class Stack:
    """The figures of one stack; times in seconds, memory in mebibytes."""

    stack: str
    resources: int
    importing: float
    registering: float
    preview: float
    floor: float
    preview_memory: float
    floor_memory: float

    @property
    def ratio(self) -> float:
        """How many times the floor the preview takes."""
        return self.preview / self.floor


def measure(stack: str, runs: int, folder: Path) -> Stack:
    """Measure one stack; raises RuntimeError where the floor is not about the same resources."""
    script = folder / f"{stack}.py"
    process("-m", "benchmarks.floor", str(ROOT), stack, str(script))
    probe = json.loads(process("-m", "benchmarks.probe", str(ROOT), stack, str(runs)).output)
    previews: list[Process] = []
    floors: list[Process] = []
    for _ in range(runs):
        floors.append(process(str(script)))
        previews.append(process("-m", "preview", stack, "--format", "json"))
    summary = json.loads(previews[0].output)["resources"]
    custom = sum(resource["custom"] for resource in summary)
    if int(floors[0].output) != custom:
        raise RuntimeError(f"{stack}: the floor has {floors[0].output.strip()} resources, the preview {custom}")
    return Stack(
        stack=stack,
        resources=custom,
        importing=probe["import"],
        registering=probe["register"],
        preview=median(p.seconds for p in previews),
        floor=median(p.seconds for p in floors),
        preview_memory=max(p.mebibytes for p in previews),
        floor_memory=max(p.mebibytes for p in floors),
    )


@dataclass(frozen=True, kw_only=True)
class Growth:
    """The figures of one size of the description."""

    what: str
    size: int
    resources: int
    registering: float

    @property
    def each(self) -> float:
        """Seconds a resource."""
        return self.registering / self.resources


def grow(stack: str, what: str, runs: int, folder: Path) -> list[Growth]:
    """Register the same stack with more and more of one thing: the least of the runs, the sizes in turn."""
    roots: dict[int, Path] = {}
    add, sizes = GROWTH[what]
    for size in sizes:
        roots[size] = root = folder / f"{what}-{size}"
        for name in ("components", "runtime", "stacks"):
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("__main__.py", "Pulumi.yaml"):
            shutil.copy(ROOT / name, root / name)
        description = root / "stacks" / "platform.yaml"
        text = yaml.safe_load(description.read_text(encoding="utf-8"))
        add(text, size)
        description.write_text(yaml.safe_dump(text), encoding="utf-8")
    probes: dict[int, list[dict[str, Any]]] = {size: [] for size in sizes}
    for _ in range(runs):
        for size, root in roots.items():
            probes[size].append(json.loads(process("-m", "benchmarks.probe", str(root), stack, "1").output))
    return [
        Growth(what=what, size=size, resources=found[0]["resources"], registering=min(f["register"] for f in found))
        for size, found in probes.items()
    ]


def spread(growth: Sequence[Growth]) -> float:
    """How much dearer a resource becomes as one thing grows: 0 where it grows in proportion, or less.

    What the last step adds costs so many seconds each. That is held against what the step before added, or against all that there
    was at first where that is dearer: of a small step a few resources decide, and noise with them.
    """
    each = [(b.registering - a.registering) / (b.resources - a.resources) for a, b in pairwise(growth)]
    return max(0.0, each[-1] / max(each[-2], growth[0].each) - 1)


def main(
    stacks: Annotated[list[str] | None, typer.Argument(help="Stacks; by default all.")] = None,
    runs: Annotated[int, typer.Option(help="Runs of each process.", min=1)] = 5,
) -> None:
    """Measure the preview beside the floor."""
    stacks = stacks or known_stacks(ROOT)
    with TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name).resolve()
        measured: list[Stack] = []
        for stack in stacks:
            measured.append(measure(stack, runs, folder))
            _row(measured[-1], head=len(measured) == 1)
        together = [process("-m", "preview", *stacks, "--format", "json") for _ in range(runs)]
        everything = median(p.seconds for p in together)
        memory = max(p.mebibytes for p in together)
        print(f"\nall {len(stacks)}: {everything:.2f} s, largest process {memory:.0f} MiB")
        growth = {what: grow(stacks[0], what, runs, folder) for what in GROWTH}
    for what, found in growth.items():
        for g in found:
            print(f"{g.size:>4} {what}: {g.resources:>5} resources, {1000 * g.each:.2f} ms each")
    missed = [f"{m.stack}: {m.ratio:.2f} times the floor, {RATIO} at most" for m in measured if m.ratio > RATIO]
    for what, found in growth.items():
        if spread(found) > SPREAD:
            missed.append(f"a resource becomes {spread(found):.0%} dearer as {what} are added, {SPREAD:.0%} at most")
    _store(measured, everything, memory, growth, runs)
    print("\n".join(missed) or f"within the limits: {RATIO} times the floor, {SPREAD:.0%} dearer while growing")
    raise typer.Exit(bool(missed))


def _row(of: Stack, *, head: bool) -> None:
    if head:
        print("stack          resources   import  register   preview     floor  ratio  memory   floor's")
    print(
        f"{of.stack:<14} {of.resources:>9} {of.importing:>6.2f} s {of.registering:>7.2f} s {of.preview:>7.2f} s"
        f" {of.floor:>7.2f} s {of.ratio:>6.2f} {of.preview_memory:>3.0f} MiB {of.floor_memory:>5.0f} MiB",
        flush=True,
    )


def _store(
    measured: Sequence[Stack], everything: float, memory: float, growth: Mapping[str, Sequence[Growth]], runs: int
) -> None:
    found: dict[str, Any] = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "runs": runs,
        "stacks": [{**asdict(m), "ratio": m.ratio} for m in measured],
        "all": {"seconds": everything, "mebibytes": memory},
        "growth": [{**asdict(g), "each": g.each} for found in growth.values() for g in found],
        "spread": {what: spread(found) for what, found in growth.items()},
    }
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(f"{json.dumps(found, indent=2)}\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
