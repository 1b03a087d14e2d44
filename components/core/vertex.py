"""What Vertex AI calls the accelerators of the catalogue, and which machines it has."""

from collections.abc import Mapping
from typing import Any

from components.core.accelerators import Machine

# Vertex AI API v1, MachineSpec.acceleratorType.
ACCELERATORS: Mapping[str, str] = {
    "nvidia-t4": "NVIDIA_TESLA_T4",
    "nvidia-l4": "NVIDIA_L4",
    "nvidia-a100-40gb": "NVIDIA_TESLA_A100",
    "nvidia-a100-80gb": "NVIDIA_A100_80GB",
    "nvidia-h100": "NVIDIA_H100_80GB",
    "nvidia-h100-mega": "NVIDIA_H100_MEGA_80GB",
    "nvidia-h200": "NVIDIA_H200_141GB",
    "nvidia-b200": "NVIDIA_B200",
}


# Notebooks API v2, AcceleratorConfig.type: what jobs may have and notebooks not.
_ONLY_JOBS = ("nvidia-b200", "nvidia-h200")


def offered(machine: Machine, *, notebook: bool = False) -> bool:
    """Whether a job of Vertex AI, or a notebook, can have a machine of the catalogue."""
    if machine.cloud != "gcp" or (notebook and machine.accelerator in _ONLY_JOBS):
        return False
    return machine.accelerator is None or machine.accelerator in ACCELERATORS


def spec(machine: Machine) -> dict[str, Any]:
    """A machine as a job of Vertex AI names it.

    >>> from components.core.accelerators import machines
    >>> spec(machines("gcp", "nvidia-l4", 1)[0])
    {'machineType': 'g2-standard-8', 'acceleratorType': 'NVIDIA_L4', 'acceleratorCount': 1}
    """
    found: dict[str, Any] = {"machineType": machine.type}
    if machine.accelerator:
        found |= {"acceleratorType": ACCELERATORS[machine.accelerator], "acceleratorCount": machine.count}
    return found
