"""What an instance of Cloud Run can be, and how much work it is given."""

from collections.abc import Mapping
from math import ceil

from components.spec.serving import Objective, Target

# Cloud Run "CPU limits", "Memory limits": by vCPUs, GiB of memory from and to.
_SIZES: Mapping[int, tuple[int, int]] = {1: (1, 4), 2: (1, 8), 4: (2, 16), 6: (4, 24), 8: (4, 32)}
# Cloud Run "GPU support": with an L4 at least 4 vCPUs and 16 GiB.
_WITH_GPU = (4, 16)
ACCELERATORS = ("nvidia-l4",)
MOST_AT_ONCE = 1000
"""Cloud Run "Maximum concurrent requests": of an instance."""


def size(cpu: int, memory_gib: int, *, gpu: bool = False) -> tuple[int, int]:
    """The smallest instance with at least this: vCPUs and GiB. Raises ValueError where none is that large.

    >>> size(1, 2), size(1, 6), size(3, 4), size(1, 2, gpu=True)
    ((1, 2), (2, 6), (4, 4), (4, 16))
    """
    if gpu:
        cpu, memory_gib = max(cpu, _WITH_GPU[0]), max(memory_gib, _WITH_GPU[1])
    for cpus, (least, most) in _SIZES.items():
        if cpus >= cpu and memory_gib <= most:
            return cpus, max(memory_gib, least)
    raise ValueError(f"Cloud Run has no instance with {cpu} vCPUs and {memory_gib} GiB: 8 and 32 at most")


def at_once(target: Target, objective: Objective) -> int:
    """Requests that an instance works on at once, so that it comes to what it is given.

    By Little's law, with the time that the objective allows.

    >>> at_once(Target(requests_per_second=50), Objective(p95_ms=200, requests_per_month=1))
    10
    """
    if target.concurrency is not None:
        return target.concurrency
    return max(1, min(MOST_AT_ONCE, ceil((target.requests_per_second or 1) * objective.p95_ms / 1000)))


def url(service: str, number: str, region: str) -> str:
    """Where a service listens, in the project of this number ("Invoke with an HTTPS request", deterministic URL)."""
    return f"https://{service}-{number}.{region}.run.app"
