"""How models answer: endpoints of every kind, what is in front of them, and what stands beside them."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field

from components.core.cron import PATTERN
from components.spec.experiments import Input
from components.spec.images import Image
from components.spec.models import Container as Packed
from components.spec.models import LanguageModel, Package, Source, Weights
from components.spec.releases import AllAtOnce, Release
from components.spec.section import CloudName, Days, Name, Section

TimeZone = Annotated[str, Field(pattern=r"^[A-Za-z]+([/_+-][A-Za-z0-9]+)*$")]
Host = Annotated[str, Field(pattern=r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}$", max_length=253)]
Seconds = Annotated[int, Field(ge=1, le=900)]
Gib = Annotated[int, Field(ge=1, le=2048)]


class Objective(Section):
    """What an endpoint promises. Its alarms, its autoscaling and its price follow from this."""

    p95_ms: Annotated[int, Field(ge=1, le=900_000)] = Field(
        description="95 of 100 requests are answered in this time, ms."
    )
    availability_percent: Annotated[float, Field(ge=90, le=99.99)] = Field(
        default=99.5, description="Percent of requests that get an answer; the rest may fail."
    )
    requests_per_month: Annotated[int, Field(ge=0)] = Field(description="How many are expected.")


class QueueObjective(Section):
    """What an asynchronous endpoint promises."""

    max_wait_minutes: Annotated[int, Field(ge=1, le=360)] = Field(
        default=15, description="No request waits for longer, minutes."
    )
    availability_percent: Annotated[float, Field(ge=90, le=99.99)] = Field(
        default=99.5, description="Percent of requests that get an answer; the rest may fail."
    )
    requests_per_month: Annotated[int, Field(ge=0)] = Field(description="How many are expected.")


class RunObjective(Section):
    """What a run over many records promises."""

    finish_hours: Annotated[int, Field(ge=1, le=120)] = Field(
        default=6, description="A run ends within this time, and is stopped after it."
    )
    records_per_month: Annotated[int, Field(ge=0)] = Field(description="How many are expected.")


class LanguageObjective(Section):
    """What a language model promises."""

    first_token_p95_ms: Annotated[int, Field(ge=50, le=120_000)] = Field(
        default=2000, description="95 of 100 answers begin within this time, ms."
    )
    availability_percent: Annotated[float, Field(ge=90, le=99.99)] = Field(
        default=99.5, description="Percent of requests that get an answer; the rest may fail."
    )
    requests_per_month: Annotated[int, Field(ge=0)] = Field(description="How many are expected.")
    input_tokens: Annotated[int, Field(ge=1)] = Field(default=1000, description="Tokens of a question, on average.")
    output_tokens: Annotated[int, Field(ge=1)] = Field(default=300, description="Tokens of an answer, on average.")


class Compute(Section):
    """One instance of an endpoint."""

    machine: str | None = Field(default=None, description="Machine type; by default the best that has the rest.")
    accelerator: str = Field(default="none", description="A name of the catalogue, such as `nvidia-l4`.")
    per_machine: Annotated[int, Field(ge=1, le=16)] = Field(default=1, description="Accelerators an instance.")
    cpu: Annotated[int, Field(ge=1, le=192)] = Field(default=2, description="vCPUs at least.")
    memory_gib: Gib = Field(default=4, description="Memory at least, GiB.")


class Target(Section):
    """How much one instance is given before another one starts. One of the two."""

    requests_per_second: Annotated[float, Field(gt=0, le=10_000)] | None = Field(
        default=None, description="Requests a second."
    )
    concurrency: Annotated[int, Field(ge=1, le=1000)] | None = Field(default=None, description="Requests at once.")


class Scale(Section):
    """How many instances."""

    min: Annotated[int, Field(ge=0, le=1000)] = Field(default=1, description="Instances at all times.")
    max: Annotated[int, Field(ge=1, le=1000)] = Field(description="Instances at most.")
    target: Target = Field(default=Target(concurrency=4), description="What one of them is given.")


class QueueScale(Section):
    """How many instances work on a queue."""

    min: Annotated[int, Field(ge=0, le=1000)] = Field(default=0, description="Instances at all times.")
    max: Annotated[int, Field(ge=1, le=1000)] = Field(description="Instances at most.")
    waiting: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=5, description="Waiting requests an instance before another one starts."
    )


class Concurrency(Section):
    """How many requests are worked on at once, where instances come by themselves."""

    warm: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=0, description="Instances that are kept warm; with none the first request waits for a start."
    )
    max: Annotated[int, Field(ge=1, le=1000)] = Field(description="At most.")


class Api(Section):
    """What stands in front of an endpoint towards the internet. Without one, only identities of the environment call it."""

    auth: Literal["jwt", "iam"] = Field(
        default="jwt",
        description="`jwt`: a token of `serving.tokens`; `iam`: an identity of the cloud.",
    )
    scope: Annotated[str, Field(pattern=r"^[\w:./-]{1,128}$")] | None = Field(
        default=None, description="With `jwt`: what has to be in the token's `scope`; by default the endpoint's name."
    )
    throttle_rps: Annotated[int, Field(ge=1, le=100_000)] = Field(
        description="Requests a second of all callers together; what is above is refused."
    )
    waf: bool = Field(default=True, description="A web application firewall looks at each request.")
    domain: Host | None = Field(
        default=None, description="Its host name; by default `{endpoint}.{serving.domain.name}`."
    )


class Tokens(Section):
    """Who issues the tokens that callers show (JSON Web Tokens, OpenID Connect)."""

    issuer: Annotated[str, Field(pattern=r"^https://[\w./-]+$")] = Field(description="Its address, as tokens name it.")
    keys: Annotated[str, Field(pattern=r"^https://[\w./-]+$")] = Field(description="Where its public keys are.")
    audience: Annotated[str, Field(min_length=1, max_length=256)] = Field(description="Whom tokens are for: us.")


class Domain(Section):
    """The domain of the endpoints."""

    name: Host = Field(description="Such as `ml.example.com`; each endpoint is a host below it.")
    zone: dict[CloudName, str] = Field(
        default={},
        description="By cloud, the zone of its names: id of a hosted zone of Route 53, or name of a zone of Cloud DNS.",
    )


class Endpoint(Section):
    """What every endpoint has."""

    team: Name = Field(description="The team that owns it, is told of it and pays for it.")
    on: CloudName | None = Field(default=None, description="The cloud; by default the environment's first.")
    callers: list[str] = Field(
        default=[],
        description="Identities that may call it besides those of the platform: names of roles on AWS, e-mails of service"
        " accounts on Google Cloud.",
    )


class RealTime(Endpoint):
    """Machines that are always there, behind one address."""

    kind: Literal["realtime"]
    model: Source = Field(description="What answers.")
    server: Literal["managed", "kubernetes"] = Field(
        default="managed", description="The cloud's own service, or KServe in the cluster."
    )
    pool: Name | None = Field(
        default=None, description="With `kubernetes`: the pool of `training.pools` that has its accelerators."
    )
    compute: Compute = Field(default=Compute(), description="One instance.")
    scale: Scale = Field(description="How many.")
    release: Release = Field(default=AllAtOnce(strategy="all_at_once"), description="How a new version takes over.")
    objective: Objective = Field(description="What it promises.")
    api: Api | None = Field(default=None, description="What stands in front of it.")
    capture_percent: Annotated[int, Field(ge=0, le=100)] = Field(
        default=0, description="Percent of requests and answers that are kept, in `serving.capture_zone`."
    )


class Serverless(Endpoint):
    """Instances that come with requests, and go without."""

    kind: Literal["serverless"]
    model: Source = Field(description="What answers.")
    memory_gib: Annotated[int, Field(ge=1, le=32)] = Field(default=2, description="Memory of an instance, GiB.")
    cpu: Annotated[int, Field(ge=1, le=8)] = Field(
        default=1, description="Google Cloud: vCPUs of an instance; on AWS they come with the memory."
    )
    accelerator: str = Field(default="none", description="Google Cloud: `nvidia-l4`, or none.")
    concurrency: Concurrency = Field(description="How many at once.")
    release: Release = Field(default=AllAtOnce(strategy="all_at_once"), description="How a new version takes over.")
    objective: Objective = Field(description="What it promises.")
    api: Api | None = Field(default=None, description="What stands in front of it.")


class Async(Endpoint):
    """Requests wait in a queue, answers are put into a bucket."""

    kind: Literal["async"]
    model: Source = Field(description="What answers.")
    compute: Compute = Field(default=Compute(), description="One instance.")
    scale: QueueScale = Field(description="How many.")
    release: Release = Field(default=AllAtOnce(strategy="all_at_once"), description="How a new version takes over.")
    objective: QueueObjective = Field(description="What it promises.")
    zone: Name = Field(default="artifacts", description="Zone of requests and answers, under `async/{name}/`.")
    capture_percent: Annotated[int, Field(ge=0, le=100)] = Field(
        default=0, description="AWS: percent of requests and answers that are kept, in `serving.capture_zone`."
    )


class Batch(Endpoint):
    """A run over many records, when it is due or when somebody starts it."""

    kind: Literal["batch"]
    model: Source = Field(description="What answers.")
    queue: Name | None = Field(
        default=None,
        description="The queue of `training.queues` that it runs in, in the cluster; by default the cloud's own service.",
    )
    compute: Compute = Field(default=Compute(), description="One machine.")
    machines: Annotated[int, Field(ge=1, le=100)] = Field(default=1, description="Machines at once, and no more.")
    input: Input = Field(description="What it reads.")
    zone: Name = Field(default="artifacts", description="Zone of what it writes, under `batch/{name}/`.")
    schedule: Annotated[str, Field(pattern=PATTERN)] | None = Field(
        default=None, description="When it runs, in the five fields of cron; by default when somebody starts it."
    )
    time_zone: TimeZone = Field(default="UTC", description="Time zone of the schedule, such as `Europe/Berlin`.")
    objective: RunObjective = Field(description="What it promises.")


class Function(Endpoint):
    """A function behind an API."""

    kind: Literal["function"]
    model: Packed = Field(description="The image of the function, and the model that it loads.")
    memory_gib: Annotated[int, Field(ge=1, le=10)] = Field(default=2, description="Memory of an instance, GiB.")
    timeout_seconds: Annotated[int, Field(ge=1, le=29)] = Field(
        default=15, description="A request is given up after it."
    )
    concurrency: Concurrency = Field(description="How many at once.")
    release: Release = Field(default=AllAtOnce(strategy="all_at_once"), description="How a new version takes over.")
    objective: Objective = Field(description="What it promises.")
    api: Api = Field(description="What stands in front of it.")


class Container(Endpoint):
    """A service of containers behind TLS."""

    kind: Literal["container"]
    model: Packed = Field(description="The image of the service, and the model that it loads.")
    server: Literal["managed", "kubernetes"] = Field(
        default="managed", description="The cloud's own service, or pods in the cluster."
    )
    pool: Name | None = Field(
        default=None, description="With `kubernetes`: the pool of `training.pools` that has its accelerators."
    )
    port: Annotated[int, Field(ge=1024, le=65535)] = Field(default=8080, description="Where it listens.")
    health: Annotated[str, Field(pattern=r"^/[\w./-]{0,127}$")] = Field(
        default="/ping", description="Path that answers once it is ready."
    )
    compute: Compute = Field(default=Compute(), description="One instance.")
    scale: Scale = Field(description="How many.")
    release: Release = Field(default=AllAtOnce(strategy="all_at_once"), description="How a new version takes over.")
    objective: Objective = Field(description="What it promises.")
    api: Api = Field(description="What stands in front of it.")


class Llm(Endpoint):
    """A language model: one that the cloud has, or one of ours in the cluster."""

    kind: Literal["llm"]
    model: LanguageModel = Field(description="What answers.")
    guardrail: Name | None = Field(
        default=None, description="The guardrail of `retrieval.guardrails` that each prompt and answer passes."
    )
    units: Annotated[int, Field(ge=1, le=100)] | None = Field(
        default=None, description="Units of throughput that are bought; by default each request is paid for."
    )
    tokens_per_minute: Annotated[int, Field(ge=1000)] = Field(description="Ceiling; above it an alarm goes off.")
    pool: Name | None = Field(default=None, description="With weights of ours: the pool that has its accelerators.")
    scale: Scale | None = Field(default=None, description="With weights of ours: how many servers.")
    release: Release = Field(default=AllAtOnce(strategy="all_at_once"), description="How a new version takes over.")
    objective: LanguageObjective = Field(description="What it promises.")


class Edge(Endpoint):
    """Signed packages for devices, which fetch them when they can."""

    kind: Literal["edge"]
    model: Packed = Field(description="What runs on the devices, and the model that it loads.")
    fleet: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")] = Field(description="The group of the devices.")
    devices: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=100, description="How many of them are expected; the pace of a roll-out follows."
    )
    percent_per_hour: Annotated[int, Field(ge=1, le=100)] = Field(
        default=10, description="Percent of the fleet that takes a new version in an hour."
    )
    abort_percent: Annotated[int, Field(ge=1, le=100)] = Field(
        default=10, description="A roll-out stops when this many of its devices failed, percent."
    )


AnyEndpoint = Annotated[
    RealTime | Serverless | Async | Batch | Function | Container | Llm | Edge, Field(discriminator="kind")
]
Answering = RealTime | Serverless | Async | Function | Container
"""Endpoints that a release moves from one version to the next."""


class Cache(Section):
    """Answers and embeddings that are not worked out twice."""

    team: Name = Field(description="The team that owns it and pays for it.")
    on: CloudName | None = Field(default=None, description="The cloud; by default the environment's first.")
    max_gib: Annotated[int, Field(ge=1, le=500)] = Field(
        default=1, description="The most that it holds, GiB; then what was longest unused goes."
    )
    keep_minutes: Annotated[int, Field(ge=1, le=43_200)] = Field(
        default=60, description="Minutes that an answer is kept; then it is worked out anew."
    )
    clients: list[Name] = Field(
        default=[], description="Endpoints whose answers it keeps, each in keys of its own; an endpoint has one cache."
    )


_TIMES_EXPECTED = 2
"""How often what is expected may be called, where the description does not say."""
Service = Literal["vision", "language", "speech", "translation", "text_to_speech", "document"]


class Pretrained(Section):
    """One of the cloud's own models for a task."""

    teams: Annotated[list[Name], Field(min_length=1)] = Field(description="Teams whose work may call it.")
    on: CloudName | None = Field(default=None, description="The cloud; by default the environment's first.")
    calls_per_day: Annotated[int, Field(ge=1)] = Field(description="How many are expected; above it an alarm goes off.")
    cap_calls_per_day: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="More than so many within 24 hours take it away from all who may call it, until they are what is expected"
        " again; by default twice `calls_per_day`.",
    )

    @property
    def ceiling(self) -> int:
        """Calls within a day above which it is taken away; never fewer than are expected."""
        return _TIMES_EXPECTED * self.calls_per_day if self.cap_calls_per_day is None else self.cap_calls_per_day


class Serving(Section):
    """Serving of the environment."""

    capture_zone: Name = Field(default="logs", description="Zone of captured requests and answers, under `capture/`.")
    capture_days: Days = Field(description="Days that captured requests and answers are kept.")
    max_instances: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=50, description="Machines of all endpoints at most, those of a release on the way among them."
    )
    tokens: Tokens | None = Field(default=None, description="Who issues the tokens that callers show.")
    domain: Domain | None = Field(default=None, description="The domain of the endpoints.")
    endpoints: dict[Name, AnyEndpoint] = Field(default={}, description="What answers.")
    caches: dict[Name, Cache] = Field(default={}, description="Caches of answers and embeddings.")
    services: dict[Service, Pretrained] = Field(default={}, description="The cloud's own models for a task.")


def live(endpoint: Endpoint) -> bool:
    """Whether an endpoint is deployed: not while nobody has said which version of its model answers."""
    model = getattr(endpoint, "model", None)
    return not (isinstance(model, Package) and model.version is None)


def images(endpoints: Mapping[str, AnyEndpoint]) -> Iterator[tuple[tuple[str, ...], Image, bool]]:
    """Each image that an endpoint names: its place, itself, and whether a cluster pulls it."""
    for name, endpoint in endpoints.items():
        path = ("serving", "endpoints", name)
        cluster = any(getattr(endpoint, key, None) for key in ("pool", "queue"))
        cluster = cluster or getattr(endpoint, "server", None) == "kubernetes"
        shadow = getattr(getattr(endpoint, "release", None), "model", None)
        for here, model in (
            ((*path, "model"), getattr(endpoint, "model", None)),
            ((*path, "release", "model"), shadow),
        ):
            if isinstance(model, Packed | Weights):
                yield (*here, "image"), model.image, cluster
