"""What a part of a cluster hands on to another; what leaves the cluster is in `components.contracts`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi

from components.contracts import Text
from components.spec import models
from components.spec.serving import Batch, Llm, RealTime

TEAM = "ai-platform.io/team"
"""Label of a team's namespace, with the team as its value; policies and Kueue go by it."""
POOL = "ai-platform.io/pool"
"""Label of a machine, with its pool as its value."""
SERVING = "ai-platform.io/serving"
"""Label of a namespace where endpoints answer, beside its team's: there, accelerators are given to more than jobs."""
ENDPOINT = "ai-platform.io/endpoint"
"""Label of what belongs to an endpoint, with its name as its value."""


@dataclass(frozen=True, kw_only=True)
class Charts:
    """The controllers."""

    queueing: Sequence[pulumi.Resource]
    """What objects of Kueue wait for: all of it there, and its webhook seen to answer."""
    verifying: Sequence[pulumi.Resource] = ()
    """What verifies signatures of images, where that is not the cloud."""
    serving: Sequence[pulumi.Resource] = ()
    """What objects of KServe and KEDA wait for, where something answers in the cluster."""


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Who signs images, and what happens to others."""

    signer: Text
    """ARN of the signing profile."""
    identity: Text
    """Of the pods that verify; resolves once they would be given it."""
    enforced: bool
    """Whether an image without a signature does not start; else it is reported."""
    revocation: bool = True
    """Whether the verifier can ask if a signature was revoked; where it cannot and asks all the same, nothing is verified."""


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


@dataclass(frozen=True, kw_only=True)
class Spaces:
    """Where endpoints answer."""

    namespaces: Mapping[str, Text]
    """By team: its namespace; resolves once its ceiling, its fences and the way there are up."""
    callers: Mapping[str, Text]
    """By team: the namespace that its work calls them from."""
    priority: Text
    """Name of the priority class of what answers."""
    routers: Text | None
    """The namespace of what is in front of language models, where there are any."""


@dataclass(frozen=True, kw_only=True)
class Router:
    """What is in front of a language model."""

    address: Text
    """Resolves once it listens."""


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A model in a storage zone."""

    uri: Text
    """`s3://…` or `gs://…`; a folder ends in a slash."""
    sha256: str | None = None
    """Digest of an archive."""


@dataclass(frozen=True, kw_only=True)
class Guard:
    """What prompts and answers pass, and where they are kept."""

    guardrail: Text
    """ARN of a guardrail of Bedrock, or name of a template of Model Armor."""
    version: Text
    log: Text | None = None
    """Name of the log group, or `projects/…/logs/…`; None where nobody keeps them."""


@dataclass(frozen=True, kw_only=True)
class Served:
    """An endpoint in a cluster, with what the cloud has made for it."""

    spec: RealTime | Llm | Batch
    image: pulumi.Input[str]
    identity: Text
    """What its pods run as: role ARN, or e-mail of a service account. Resolves once they would be given it."""
    model: Artifact | None = None
    """What it loads: weights, of a language model."""
    guard: Guard | None = None
    """Of a language model."""
    source: Text | None = None
    """Of a run over many records: where they are, `s3://…/` or `gs://…/`."""
    target: Text | None = None
    """The same: where what comes of them is put, one folder a run."""


def pod(name: str, spec: RealTime | Llm | Batch) -> tuple[str, str]:
    """Namespace and service account of an endpoint's pods: a run's are in its team's own namespace, as its queue is."""
    if isinstance(spec, Batch):
        return f"team-{spec.team}", f"batch-{name}"
    return f"serving-{spec.team}", name


def loaded(model: models.Container | models.Weights) -> models.Artifact | None:
    """What is loaded, where the image does not hold it; weights are a folder, however it is written."""
    if isinstance(model, models.Container):
        return model.artifact
    return model.weights.model_copy(update={"path": f"{model.weights.path.rstrip('/')}/"})
