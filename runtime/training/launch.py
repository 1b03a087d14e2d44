"""The job by several processes, one for each GPU: `python -m runtime.training.launch --processes 8 --checkpoint-uri …`.

It sets what torchrun sets, so the job runs under either. Unlike torchrun it ends with the exit code of the processes (torchrun:
with 1), by which a queue tells an interruption from a failure; it leaves them all the time that the queue gives for a checkpoint;
and in a multi-node job of AWS Batch it knows the other nodes. Every argument that is not its own goes to the job.
"""

import argparse
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from os import environ

GRACE = 20.0
"""Seconds that the others have once one has ended other than well: what waits for it would wait for half an hour."""


def nodes(environment: Mapping[str, str]) -> dict[str, str]:
    """How many machines, which of them this is, and where the first is, as far as the queue says so.

    Batch gives the address of the main node to the other nodes only (Batch user guide, "Multi-node parallel jobs", "Environment
    variables"); an indexed Job of Kubernetes says which of its pods this is.
    """
    if "AWS_BATCH_JOB_NUM_NODES" in environment:
        count, main = environment["AWS_BATCH_JOB_NUM_NODES"], int(environment["AWS_BATCH_JOB_MAIN_NODE_INDEX"])
        node = (int(environment["AWS_BATCH_JOB_NODE_INDEX"]) - main) % int(count)
        address = environment.get("AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS", "127.0.0.1")
        return {"nodes": count, "node": str(node), "address": address}
    return {"nodes": "1", "node": environment.get("JOB_COMPLETION_INDEX", "0"), "address": "127.0.0.1"}


def main(arguments: Sequence[str]) -> int:
    """Run all processes of this machine; the exit code of the first that did not end well, 0 where all did."""
    parser = argparse.ArgumentParser(prog="python -m runtime.training.launch", allow_abbrev=False)
    parser.add_argument("--processes", type=int, required=True, help="on each machine: its GPUs")
    for name, default in nodes(environ).items():
        parser.add_argument(f"--{name}", type=str if name == "address" else int, default=default)
    parser.add_argument("--port", type=int, help="of the first machine; any that is free where there is one machine")
    asked, job = parser.parse_known_args(arguments)
    shared = {
        "MASTER_ADDR": asked.address,
        "MASTER_PORT": str(asked.port or (29500 if asked.nodes > 1 else _free())),
        "WORLD_SIZE": str(asked.nodes * asked.processes),
        "LOCAL_WORLD_SIZE": str(asked.processes),
    }
    processes: list[subprocess.Popen[bytes]] = []
    told: list[int] = []

    def tell(*_: object) -> None:
        told.append(signal.SIGTERM)
        for process in processes:
            process.terminate()

    signal.signal(signal.SIGTERM, tell)
    for local in range(asked.processes):
        own = {"RANK": str(asked.node * asked.processes + local), "LOCAL_RANK": str(local)}
        processes.append(subprocess.Popen([sys.executable, "-m", "runtime.training", *job], env=environ | shared | own))  # noqa: S603
    if told:
        tell()
    return _wait(processes)


def _wait(processes: Sequence[subprocess.Popen[bytes]]) -> int:
    code, end = 0, float("inf")
    # Every one is asked each time: one that hangs must not hide another that has failed.
    while None in (ended := [process.poll() for process in processes]):
        if not code and any(ended):
            code, end = next(filter(None, ended)), time.monotonic() + GRACE
            for process in processes:
                process.terminate()
        if time.monotonic() > end:
            for process in processes:
                process.kill()
        time.sleep(0.05)
    code = code or next(filter(None, ended), 0)
    # Negative: the number of the signal that ended it.
    return code if code >= 0 else 128 - code


def _free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
