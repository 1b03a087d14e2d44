"""Load on the container service: `python -m benchmarks.serving`, or `make bench-serving`.

The service with a small model, beside plain uvicorn with an empty handler as the floor, each as a process of its own and on the
same settings, in turn; the client is this process. With 1, 8 and 32 callers that each wait for their answer before they ask
again, and with 32 instances in a request. Prints a table and writes `benchmarks/results/serving.json`; ends with 1 where there
was an error. It measures this machine: compare the ratio, not the figures.
"""

import asyncio
import json
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from typing import Annotated, Any

import typer
import uvloop

from tests.runtime.serving import trained

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "serving.json"
LOADS: Sequence[tuple[int, int]] = ((1, 1), (8, 1), (32, 1), (8, 32))
"""Callers, and instances in each request."""
FLOOR = (
    "uvicorn",
    "benchmarks.empty:app",
    "--http",
    "httptools",
    "--loop",
    "uvloop",
    "--no-access-log",
    "--log-level",
    "warning",
    "--port",
)


@dataclass(frozen=True, slots=True)
class Measured:
    """One server under one load; the median of the rounds. Times are milliseconds."""

    server: str
    callers: int
    instances: int
    per_second: float
    p50: float
    p95: float
    p99: float
    processor: float
    """Milliseconds of processor time that the server spends on a request; what else runs here hardly changes it."""
    errors: int


@contextmanager
def serving(port: int, command: Sequence[str], settings: Mapping[str, str]) -> Generator[int]:
    """A server as a process; its number."""
    running = subprocess.Popen(
        [sys.executable, "-m", *command], cwd=ROOT, env=os.environ | settings, stdout=subprocess.DEVNULL
    )
    try:
        for _ in range(500):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        yield running.pid
    finally:
        running.terminate()
        running.wait(30)


async def caller(port: int, request: bytes, until: float, times: list[float]) -> int:
    """Ask and wait, again and again; how many were not answered with 200."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    errors = 0
    while (began := time.perf_counter()) < until:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        times.append(time.perf_counter() - began)
        errors += not head.startswith(b"HTTP/1.1 200")
    writer.close()
    return errors


def load(port: int, callers: int, instances: int, seconds: float) -> tuple[list[float], int, float, int]:
    """Times, errors and requests a second of one round, and requests with those that warm up."""
    body = json.dumps({"instances": trained().rows(instances)}).encode()
    head = f"POST /predict HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    times: list[float] = []

    async def run(seconds: float) -> int:
        until = time.perf_counter() + seconds
        return sum(await asyncio.gather(*(caller(port, head.encode() + body, until, times) for _ in range(callers))))

    uvloop.run(run(0.3))  # warms up
    warming = len(times)
    times.clear()
    began = time.perf_counter()
    errors = uvloop.run(run(seconds))
    return times, errors, len(times) / (time.perf_counter() - began), warming + len(times)


def spent(process: int) -> float:
    """Seconds of processor time of a process (proc(5), "stat": utime, stime)."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(name: str, process: int, port: int, callers: int, instances: int, rounds: int, seconds: float) -> Measured:
    """The median of several rounds."""
    before = spent(process)
    found = [load(port, callers, instances, seconds) for _ in range(rounds)]
    processor = (spent(process) - before) / sum(asked for _, _, _, asked in found) * 1000
    cuts = [quantiles(times, n=100) for times, *_ in found]
    p50, p95, p99 = (median(cut[at - 1] for cut in cuts) * 1000 for at in (50, 95, 99))
    rate, errors = median(rate for _, _, rate, _ in found), sum(errors for _, errors, _, _ in found)
    return Measured(name, callers, instances, rate, p50, p95, p99, processor, errors)


def main(
    seconds: Annotated[float, typer.Option(help="Of one round.", min=0.2, max=60)] = 2.0,
    rounds: Annotated[int, typer.Option(help="Of each server under each load.", min=1, max=20)] = 3,
) -> None:
    """Measure the service beside the floor."""
    settings = {"MODEL_DIR": str(trained().folder), "PORT": "18080", "LOG_REQUESTS": "true", "DRAIN_SECONDS": "0"}
    found: list[Measured] = []
    print("callers  instances  server    requests/s      p50       p95       p99  processor  errors  ratio")
    with (
        serving(18080, ("runtime.serving",), settings) as service_process,
        serving(18081, (*FLOOR, "18081"), {"PYTHONPATH": str(ROOT)}) as floor_process,
    ):
        time.sleep(1)  # until the model is warm
        for callers, instances in LOADS:
            floor = measure("floor", floor_process, 18081, callers, instances, rounds, seconds)
            service = measure("service", service_process, 18080, callers, instances, rounds, seconds)
            for each in (floor, service):
                print(
                    f"{each.callers:>7}  {each.instances:>9}  {each.server:<8} {each.per_second:>11.0f}"
                    f" {each.p50:>7.2f} ms {each.p95:>6.2f} ms {each.p99:>6.2f} ms"
                    f"  {each.processor:>6.3f} ms {each.errors:>7}"
                    f"  {each.per_second / floor.per_second:>5.2f}",
                    flush=True,
                )
            found += (floor, service)
    _store(found, rounds, seconds)
    raise typer.Exit(any(each.errors for each in found))


def _store(found: Sequence[Measured], rounds: int, seconds: float) -> None:
    written: dict[str, Any] = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "rounds": rounds,
        "seconds": seconds,
        "loads": [asdict(each) for each in found],
    }
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(f"{json.dumps(written, indent=2)}\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
