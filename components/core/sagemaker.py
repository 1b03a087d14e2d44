"""Which machines of the catalogue SageMaker has, for what, and what they are called there."""

from typing import Literal

from components.core.accelerators import Machine

Use = Literal["notebook", "processing", "training"]

# Families that EC2 has and SageMaker has not, and those that it has for some uses only. SageMaker API, TrainingInstanceType,
# ProcessingInstanceType and AppInstanceType; the tests hold the catalogue against them.
_NEVER = ("c7g", "gr6", "inf2", "m7g")
_NEITHER = ("g4dn.metal", "trn2.3xlarge")
_ONLY_TRAINING = ("p5e", "p6-b300", "trn2")
_NO_PROCESSING = ("p4d", "p4de", "p5en", "p6-b200", "trn1", "trn1n")
_SMALL = {"c6i.large": ("notebook",), "p5.48xlarge": ("notebook", "training")}


def offered(machine: Machine, use: Use) -> bool:
    """Whether SageMaker has a machine of the catalogue for a use.

    >>> from components.core.accelerators import machine
    >>> [offered(machine("aws", "p4d.24xlarge"), use) for use in ("notebook", "processing", "training")]
    [True, False, True]
    """
    family = machine.type.split(".")[0]
    if machine.cloud != "aws" or family in _NEVER or machine.type in _NEITHER:
        return False
    if machine.type in _SMALL:
        return use in _SMALL[machine.type]
    if family in _ONLY_TRAINING:
        return use == "training"
    return not (family in _NO_PROCESSING and use == "processing")


def instance(machine: str) -> str:
    """The name that SageMaker has for a machine type.

    >>> instance("g6.xlarge")
    'ml.g6.xlarge'
    """
    return f"ml.{machine}"
