"""Where the time of a run goes: `python -m benchmarks.probe ROOT STACK RUNS` prints it as JSON.

The first run of a process imports the SDKs, those that follow find them there: what they need is the time to register,
and the difference is the time to import. It is the processor's time, all of it one thread's: what else runs on the machine
does not count.
"""

import gc
import json
import sys
import time
from pathlib import Path

start = time.process_time()

from preview.record import record  # noqa: E402  its import is part of what is measured


def main(root: Path, stack: str, runs: int) -> None:
    """Record the stack once, and then `runs` times more."""
    graph = record(root, stack)
    first = time.process_time() - start
    seconds: list[float] = []
    for _ in range(runs):
        gc.collect()
        before = time.process_time()
        record(root, stack)
        seconds.append(time.process_time() - before)
    found = {"resources": len(graph.resources), "import": max(first - min(seconds), 0.0), "register": min(seconds)}
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
