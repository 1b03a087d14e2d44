"""What AWS Batch is told: machines of one size, shares, what a job is given, what is known of machines that go.

Pure data, so that it can be checked without declaring anything.

>>> share("fraud-eu"), weight(4)
('fraudXeu', 0.25)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.core.accelerators import Machine

HOUR, WEEK = 3600, 7 * 24 * 3600
"""Seconds."""
MARKETS: Mapping[str, tuple[str, str]] = {
    "spot": ("SPOT", "SPOT_PRICE_CAPACITY_OPTIMIZED"),
    "on-demand": ("EC2", "BEST_FIT_PROGRESSIVE"),
}
"""By market: type and allocation strategy. Not BEST_FIT, the default: it wants a Spot Fleet role, and an environment that has it
takes no infrastructure update ("Perform infrastructure updates"), so that every change would be a replacement."""
IMAGES: Mapping[str | None, str] = {None: "ECS_AL2023", "nvidia": "ECS_AL2023_NVIDIA"}
"""By vendor of the accelerator ("Ec2Configuration", imageType). Batch has no image with the driver of Neuron."""
HOPELESS = ("MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE", "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT")
"""Why a job can never run. It is taken out of the head of its queue, which it would block; not so one that waits for capacity,
which is what a queue is for. "Automatic remediation with jobStateTimeLimitActions"."""
INTERRUPTED = "143"
"""What a job ends with that stopped because it was told to, after it kept a checkpoint: 128 + SIGTERM, see `runtime/training`."""
USER = "10001:10001"
"""Who the image of `runtime/training` runs as."""

# The kernel and the agent have the rest ("Compute resource memory management").
_JOB_MEMORY = 0.9
# Between SIGTERM and SIGKILL, for a last checkpoint: what EC2 gives after a notice of interruption.
_STOP_SECONDS = 120
# ECS keeps images and the volumes of jobs where Docker does. The disks of the machine are there before Docker starts, for a
# boothook runs early; where several are and no mdadm, the first one is taken. They are encrypted by the machine itself (EC2 user
# guide, "Data protection").
_BOOT = f"""\
#!/bin/bash
set -euo pipefail
echo ECS_CONTAINER_STOP_TIMEOUT={_STOP_SECONDS}s >> /etc/ecs/ecs.config
mountpoint -q /var/lib/docker && exit 0
shopt -s nullglob
found=(/dev/disk/by-id/nvme-Amazon_EC2_NVMe_Instance_Storage_*)
[ ${{#found[@]}} -gt 0 ] || exit 0
mapfile -t disks < <(readlink -f "${{found[@]}}" | sort -u)
disk=${{disks[0]}}
if [ ${{#disks[@]}} -gt 1 ] && command -v mdadm; then
  disk=/dev/md0
  mdadm --create "$disk" --run --level=0 --raid-devices=${{#disks[@]}} "${{disks[@]}}"
fi
mkfs.xfs -f "$disk"
mkdir -p /var/lib/docker
mount -o noatime "$disk" /var/lib/docker
"""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happens to machines or jobs."""

    pattern: Mapping[str, Any]
    batch: bool = False
    """Whether it comes from Batch, and then only of the environment's own queues."""
    told: bool = False
    """Whether it is a notice that somebody waits for."""
    logged: bool = True


def _state(told: bool, logged: bool, **detail: Any) -> Event:
    pattern = {"source": ["aws.batch"], "detail-type": ["Batch Job State Change"], "detail": detail}
    return Event(pattern=pattern, batch=True, told=told, logged=logged)


def _machine(kind: str) -> Event:
    return Event(pattern={"source": ["aws.ec2"], "detail-type": [kind]}, told=True)


_WARNING, _REBALANCE = "EC2 Spot Instance Interruption Warning", "EC2 Instance Rebalance Recommendation"
_HOST = [{"prefix": "Host EC2"}]
EVENTS: Mapping[str, Event] = {
    "spot-warning": _machine(_WARNING),
    "rebalance": _machine(_REBALANCE),
    # Its machine went, and it waits again.
    "job-interrupted": _state(True, True, status=["RUNNABLE"], attempts={"statusReason": _HOST}),
    # Its machine went once too often; the log has that from `job-failed`.
    "job-lost": _state(True, False, status=["FAILED"], statusReason=_HOST),
    "job-failed": _state(False, True, status=["FAILED"]),
    "queue-blocked": Event(
        pattern={"source": ["aws.batch"], "detail-type": ["Batch Job Queue Blocked"], "detail": {}}, batch=True
    ),
}
"""By name, each logged once, so that nothing is counted twice; of the machines of a cluster too, which are of the same account.
"Spot Instance interruption notices", "EC2 instance rebalance recommendations", "AWS Batch events"."""
METRICS: Mapping[str, tuple[str, bool]] = {
    "SpotWarnings": (f'{{ $.detail-type = "{_WARNING}" }}', False),
    "RebalanceRecommendations": (f'{{ $.detail-type = "{_REBALANCE}" }}', False),
    "JobsInterrupted": ('{ $.detail-type = "Batch Job State Change" && $.detail.status = "RUNNABLE" }', True),
    "JobsFailed": ('{ $.detail-type = "Batch Job State Change" && $.detail.status = "FAILED" }', True),
    "QueuesBlocked": ('{ $.detail-type = "Batch Job Queue Blocked" }', True),
}
"""What each counts of the log of events, and whether by queue."""


def sizes(machines: Sequence[Machine], *, fast: bool) -> list[Machine]:
    """The machines that are of one size, that of the first: as many vCPUs, the same processor, the same fabric.

    Batch counts in vCPUs and not in accelerators, and prefers the machine whose vCPU is cheapest, which has few of them.
    """

    def size(machine: Machine) -> tuple[Any, ...]:
        return machine.vcpus, machine.architecture, machine.interfaces if fast else 0

    return [machine for machine in machines if size(machine) == size(machines[0])]


def share(team: str) -> str:
    """A team's share identifier: Batch wants letters and digits only ("ShareAttributes"), and names have no capital letter."""
    return team.replace("-", "X")


def weight(team_share: int) -> float:
    """The weight of a share: half of it is twice the machines ("ShareAttributes", weightFactor, 0.0001 to 999.9999)."""
    return round(1 / team_share, 4)


@dataclass(frozen=True, kw_only=True)
class Part:
    """What a job has of a machine."""

    vcpus: int
    memory_mib: int
    gpus: int


def part(machines: Sequence[Machine], accelerators: int, parts: int) -> Part:
    """One of so many parts of any of these machines, with so many accelerators."""
    machine = min(machines, key=lambda found: (found.vcpus, found.memory_gib))
    memory = int(min(found.memory_gib for found in machines) * 1024 * _JOB_MEMORY)
    return Part(vcpus=machine.vcpus // parts, memory_mib=memory // parts, gpus=accelerators)


def resources(parts: Sequence[Part], *, interfaces: int = 0) -> dict[str, Any]:
    """What a container asks for so that it fits each of these, and gets the machine's interfaces of the fabric.

    >>> resources([Part(vcpus=8, memory_mib=1000, gpus=0)])["linuxParameters"]
    {'initProcessEnabled': True, 'sharedMemorySize': 500}
    """
    memory = min(each.memory_mib for each in parts)
    asked = {"VCPU": min(each.vcpus for each in parts), "MEMORY": memory, "GPU": min(each.gpus for each in parts)}
    # Processes of a job hand batches to one another through /dev/shm, which is 64 MiB by default; used, it is the job's memory.
    linux: dict[str, Any] = {"initProcessEnabled": True, "sharedMemorySize": memory // 2}
    found: dict[str, Any] = {
        "resourceRequirements": [{"type": kind, "value": str(value)} for kind, value in asked.items() if value],
        "linuxParameters": linux,
    }
    if interfaces:
        linux["devices"] = [
            {"hostPath": path, "containerPath": path, "permissions": ["READ", "WRITE", "MKNOD"]}
            for path in (f"/dev/infiniband/uverbs{i}" for i in range(interfaces))
        ]
        # The fabric reads and writes the job's memory itself, so that has to stay where it is.
        found["ulimits"] = [{"name": "memlock", "softLimit": -1, "hardLimit": -1}]
    return found


def boot() -> str:
    """What a machine does as it starts, in the form that Batch wants, since it adds parts of its own ("Launch templates").

    >>> boot().splitlines()[0]
    'MIME-Version: 1.0'
    """
    return (
        "MIME-Version: 1.0\n"
        'Content-Type: multipart/mixed; boundary="==BOUNDARY=="\n\n'
        "--==BOUNDARY==\n"
        'Content-Type: text/cloud-boothook; charset="us-ascii"\n\n'
        f"{_BOOT}\n"
        "--==BOUNDARY==--\n"
    )
