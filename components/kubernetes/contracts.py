"""What a part of a cluster hands on to another; what leaves the cluster is in `components.contracts`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi

from components.contracts import Text

TEAM = "ai-platform.io/team"
"""Label of a team's namespace, with the team as its value; policies and Kueue go by it."""
POOL = "ai-platform.io/pool"
"""Label of a machine, with its pool as its value."""


@dataclass(frozen=True, kw_only=True)
class Charts:
    """The controllers."""

    queueing: Sequence[pulumi.Resource]
    """What objects of Kueue wait for: all of it there, and its webhook seen to answer."""
    verifying: Sequence[pulumi.Resource] = ()
    """What verifies signatures of images, where that is not the cloud."""


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Who signs images, and what happens to others."""

    signer: Text
    """ARN of the signing profile."""
    identity: Text
    """Of the pods that verify; resolves once they would be given it."""
    enforced: bool
    """Whether an image without a signature does not start; else it is reported."""


@dataclass(frozen=True, kw_only=True)
class Signatures:
    """The rule on signatures."""

    ready: Text
    """Name of the policy; resolves once it is there."""


@dataclass(frozen=True, kw_only=True)
class Tenants:
    """The teams' namespaces."""

    namespaces: Mapping[str, Text]
    """By team: its namespace; resolves once its quota, its limits and its fences are up."""


@dataclass(frozen=True, kw_only=True)
class Admission:
    """The rules of admission."""

    ready: Text
    """Name of the object that holds the rules' figures; resolves once every rule is bound."""


@dataclass(frozen=True, kw_only=True)
class Volumes:
    """The file systems that pods mount."""

    claims: Mapping[str, Text]
    """By file system: the claim's name in every team's namespace; resolves once it is there in each."""


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """What reads metrics of controllers."""

    ready: Text
    """Name of the role; resolves once it is held by what reads."""


@dataclass(frozen=True, kw_only=True)
class Kueue:
    """The queues of a cluster."""

    queues: Mapping[str, Text]
    """By queue: the name that a job gives; resolves once it is there in every team's namespace."""
