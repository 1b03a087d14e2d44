"""What a part of a cluster hands on to another; what leaves the cluster is in `components.contracts`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from components import contracts
from components.contracts import Entry, Text
from components.core import scrapes
from components.spec import models
from components.spec.endpoints import answering, where
from components.spec.environment import Environment
from components.spec.section import CloudName
from components.spec.serving import Batch, Container, Llm, RealTime

TEAM = "ai-platform.io/team"
"""Label of a team's namespace, with the team as its value; policies and Kueue go by it."""
POOL = "ai-platform.io/pool"
"""Label of a machine, with its pool as its value."""
SERVING = "ai-platform.io/serving"
"""Label of a namespace where endpoints answer, beside its team's: there, accelerators are given to more than jobs."""
WATCHERS = "releases"
"""Namespace of what watches new versions of endpoints."""
INTERCEPTORS = "http-add-on"
"""Namespace of what holds requests while nothing runs."""
ENDPOINT = scrapes.ENDPOINT
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
    releasing: Sequence[pulumi.Resource] = ()
    """What releases new versions of endpoints step by step, where one is to be."""
    telling: Sequence[pulumi.Resource] = ()
    """What tells of others by series that alarms read, where it is there."""
    registering: Sequence[pulumi.Resource] = ()
    """What registers pods with a load balancer, where something does."""


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
class Interceptors:
    """What holds requests while nothing runs."""

    hosts: Mapping[str, Text]
    """By team: what stands in front of its endpoints; resolves once it listens, behind its fence."""
    scaler: str
    """Where KEDA asks how many requests there are."""


@dataclass(frozen=True, kw_only=True)
class Watchers:
    """Where new versions are watched from."""

    space: Text
    """Its namespace; resolves once it is fenced, and the program is there."""
    account: str
    program: str
    """Name of the ConfigMap that holds it, `watch.py`."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """How new versions of an endpoint take over."""

    ready: Text
    """Name of the rollout; resolves once the first version answers by it."""


@dataclass(frozen=True, kw_only=True)
class Router:
    """What is in front of a language model."""

    address: Text
    """Resolves once it listens."""


@dataclass(frozen=True, kw_only=True)
class Entrance:
    """The gateway of a cluster."""

    name: Text
    """Resolves once it has its address."""
    space: Text
    """Its namespace."""


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What checks tokens in the pods of an endpoint, where the load balancer does not."""

    container: Mapping[str, Any]
    volume: Mapping[str, Any]
    digest: str
    """Of what it is told: with another, pods are made anew."""


@dataclass(frozen=True, kw_only=True)
class Door:
    """The way from the internet to an endpoint."""

    address: Text
    made: Sequence[pulumi.Resource]
    """What its pods wait for: without it they would not be known to the load balancer as they start."""
    beside: Beside | None


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

    guardrail: tuple[Text, Text] | None = None
    """ARN of a guardrail of Bedrock, or name of a template of Model Armor, and its version; with none they are kept alone."""
    log: Text
    """`s3://…/`, or `projects/…/datasets/…/tables/…`."""


@dataclass(frozen=True, kw_only=True)
class Served:
    """An endpoint in a cluster, with what the cloud has made for it."""

    spec: RealTime | Container | Llm | Batch
    image: pulumi.Input[str]
    identity: Text
    """What its pods run as: role ARN, or e-mail of a service account. Resolves once they would be given it."""
    model: Artifact | None = None
    """What it loads: weights, of a language model."""
    guard: Guard | None = None
    """Of a language model."""
    cache: Entry | None = None
    """Of the answers of a model, where it may use one."""
    source: Text | None = None
    """Of a run over many records: where they are, `s3://…/` or `gs://…/`."""
    target: Text | None = None
    """The same: where what comes of them is put, one folder a run."""


@dataclass(frozen=True, kw_only=True)
class Located:
    """What lies under a path of a storage zone: a folder ends in a slash, and without a path it is all of the zone."""

    zone: str
    path: str


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """An endpoint in a cluster, before the cloud has made anything for it."""

    spec: RealTime | Container | Llm | Batch
    model: models.Container | models.Weights
    pod: tuple[str, str]
    """Namespace and service account."""
    reads: Mapping[str, Located]
    """By what it is: `model`, `input`."""
    writes: Located | None


def wanted(environment: Environment, cloud: CloudName) -> dict[str, Wanted]:
    """What answers in the cluster of a cloud, by name, sorted."""
    found: dict[str, Wanted] = {}
    for name, spec in answering(environment, cloud).items():
        if where(spec) != "kubernetes":
            continue
        assert isinstance(spec, RealTime | Container | Llm | Batch)  # noqa: S101  components/spec/endpoints.py, `where`
        model = spec.model
        assert isinstance(model, models.Container | models.Weights)  # noqa: S101  components/spec/checks_serving.py
        part, batch = loaded(model), spec if isinstance(spec, Batch) else None
        found[name] = Wanted(
            spec=spec,
            model=model,
            pod=pod(name, spec),
            reads={
                # Every version of it: pods of the former one start again until the new one is ready, and read theirs.
                **({"model": Located(zone=part.zone, path=part.family)} if part else {}),
                **({"input": Located(zone=batch.input.zone, path=batch.input.prefix)} if batch else {}),
            },
            writes=Located(zone=batch.zone, path=f"batch/{name}/") if batch else None,
        )
    return found


def served(
    endpoint: Wanted,
    identity: contracts.Pod,
    *,
    image: pulumi.Input[str],
    storage: Mapping[str, contracts.Storage],
    guardrails: contracts.Guardrails,
    cache: Entry | None,
) -> Served:
    """An endpoint with what the cloud has made for it."""

    def uri(at: Located | None) -> Text | None:
        return pulumi.Output.concat(storage[at.zone].uri, "/", at.path) if at else None

    part = loaded(endpoint.model)
    at = uri(Located(zone=part.zone, path=part.path)) if part else None
    guard: Guard | None = None
    if isinstance(endpoint.spec, Llm):
        if identity.log is None:
            raise ValueError(f"{endpoint.pod} is asked, and nobody has said where prompts are kept")
        said = endpoint.spec.guardrail
        passed = (guardrails.ids[said], guardrails.versions[said]) if said else None
        guard = Guard(guardrail=passed, log=identity.log)
    return Served(
        spec=endpoint.spec,
        image=image,
        identity=identity.id,
        model=Artifact(uri=at, sha256=part.sha256) if part and at is not None else None,
        guard=guard,
        cache=cache,
        source=uri(endpoint.reads.get("input")),
        target=uri(endpoint.writes),
    )


def pod(name: str, spec: RealTime | Container | Llm | Batch) -> tuple[str, str]:
    """Namespace and service account of an endpoint's pods: a run's are in its team's own namespace, as its queue is."""
    if isinstance(spec, Batch):
        return f"team-{spec.team}", f"batch-{name}"
    return f"serving-{spec.team}", name


def loaded(model: models.Container | models.Weights) -> models.Artifact | None:
    """What is loaded, where the image does not hold it; weights are a folder, however it is written."""
    if isinstance(model, models.Container):
        return model.artifact
    return model.weights.model_copy(update={"path": f"{model.weights.path.rstrip('/')}/"})
