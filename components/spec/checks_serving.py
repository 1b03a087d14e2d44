"""What endpoints have to fulfil: what each cloud can give each kind, objectives that it can keep, and parts that are there."""

import re
from collections.abc import Iterator
from functools import lru_cache, partial
from typing import cast

from components.core import caching
from components.core.answering import COLD_START_MS, GEOGRAPHIES, NEVER_ZERO, PRIVATE, RELEASES
from components.core.cron import eventbridge
from components.core.hosting import LONGEST_BAKE
from components.spec.capacity import Capacity
from components.spec.endpoints import fitting, instances, where
from components.spec.environment import Environment
from components.spec.foundation import Aws, Gcp
from components.spec.images import own_repository
from components.spec.models import Artifact, Container, Foundation, Package, Weights
from components.spec.problems import Problem, one_of
from components.spec.releases import AllAtOnce, BlueGreen, Canary, Shadow
from components.spec.section import CloudName
from components.spec.serving import AnyEndpoint, Async, Batch, Cache, Edge, Llm, RealTime, Serverless, live
from components.spec.serving import Container as Contained
from components.spec.source import Layer, Path

# SageMaker "Deployment guardrails", CanarySize: half of the fleet at most; more would be no canary anywhere.
_LARGEST_CANARY = 50
# What a service of the cloud reads by itself from its registry of models.
_FROM_REGISTRY: dict[CloudName, tuple[str, ...]] = {
    "aws": ("realtime", "serverless", "async", "batch"),
    "gcp": ("realtime", "batch"),
}
# SageMaker "Serverless Inference", memory size: 1 to 6 GB. Cloud Run: 32 GiB at most.
_SERVERLESS_GIB: dict[CloudName, int] = {"aws": 6, "gcp": 32}
# SageMaker "Serverless Inference", concurrent invocations: 200 an endpoint.
_SERVERLESS_AT_ONCE = 200
_ECR = re.compile(r"^\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com/")
_SEEN_BY_P95 = 5
# Cloud Run "GPU support".
_CLOUD_RUN_GPUS = ("none", "nvidia-l4")
# Kinds that run as containers without a machine of their own, and what an instance of these has at most: service, vCPUs, GiB,
# accelerators. Sources: Amazon ECS "Task definition parameters for Fargate", task size; Cloud Run "Configure memory limits".
_OF_CONTAINERS: dict[CloudName, tuple[str, ...]] = {"aws": ("container",), "gcp": ("async", "container")}
_CONTAINERS: dict[CloudName, tuple[str, int, int, tuple[str, ...]]] = {
    "aws": ("Fargate", 16, 120, ("none",)),
    "gcp": ("Cloud Run", 8, 32, _CLOUD_RUN_GPUS),
}


def _endpoints(environment: Environment) -> Iterator[tuple[Path, AnyEndpoint, CloudName]]:
    """Each endpoint on a cloud that is there and has its region, with its place in the description."""
    for name, endpoint in environment.serving.endpoints.items():
        cloud = environment.known_cloud(endpoint)
        if cloud:
            yield ("serving", "endpoints", name), endpoint, cloud


def parts(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """A cloud, a team, a model and zones that are there."""
    clouds, zones = environment.cloud.names, environment.data.zones
    for name, endpoint in environment.serving.endpoints.items():
        path: Path = ("serving", "endpoints", name)
        if endpoint.on and endpoint.on not in clouds:
            wrong = f"the environment is not on {endpoint.on}"
            yield layer.problem((*path, "on"), wrong, one_of(endpoint.on, clouds))
        if endpoint.team not in environment.teams:
            wrong = f"there is no team {endpoint.team}"
            yield layer.problem((*path, "team"), wrong, one_of(endpoint.team, environment.teams))
        zone = getattr(endpoint, "zone", None)
        if zone is not None and zone not in zones:
            yield layer.problem((*path, "zone"), f"there is no zone {zone}", one_of(zone, zones))
        if isinstance(endpoint, Batch) and endpoint.input.zone not in zones:
            wrong = f"there is no zone {endpoint.input.zone}"
            yield layer.problem((*path, "input", "zone"), wrong, one_of(endpoint.input.zone, zones))
        release = getattr(endpoint, "release", None)
        models = {"model": endpoint.model} | ({"release": release.model} if isinstance(release, Shadow) else {})
        for key, model in models.items():
            here = (*path, key) if key == "model" else (*path, "release", "model")
            yield from _model(environment, layer, here, model)


def _model(environment: Environment, layer: Layer, path: Path, model: object) -> Iterator[Problem]:
    artifact: Artifact | None = None
    match model:
        case Package(package=package, version=version):
            known = environment.registry.models
            if package not in known:
                yield layer.problem((*path, "package"), f"there is no model {package}", one_of(package, known))
            if version is None and (environment.tier == "prod" or path[-2] == "release"):
                wrong = "nobody has said which version answers"
                yield layer.problem((*path, "version"), wrong, 'the number of an approved version, such as "12"')
        case Container(artifact=found):
            artifact = found
        case Weights(weights=found):
            artifact = found
        case _:
            pass
    if artifact and artifact.zone not in environment.data.zones:
        wrong = f"there is no zone {artifact.zone}"
        yield layer.problem((*path, "artifact", "zone"), wrong, one_of(artifact.zone, environment.data.zones))


def kinds(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """Kinds that the cloud has, with what it can give them."""
    for path, endpoint, cloud in _endpoints(environment):
        if isinstance(endpoint, Edge) and cloud == "gcp":
            yield layer.problem(
                (*path, "kind"), "Google Cloud has no service for fleets of devices", "on: aws, where IoT Core has one"
            )
        elif isinstance(endpoint, Edge) and endpoint.model.artifact and endpoint.model.artifact.sha256 is None:
            wrong = "a device could not tell whether it got the model"
            yield layer.problem((*path, "model", "artifact", "sha256"), wrong, "an archive, with its digest")
        model = getattr(endpoint, "model", None)
        if isinstance(model, Package) and (
            endpoint.kind not in _FROM_REGISTRY[cloud] or where(endpoint) == "kubernetes"
        ):
            wrong = f"on {cloud} {endpoint.kind} in {where(endpoint)} form reads no package of the registry"
            yield layer.problem((*path, "model"), wrong, "image and artifact")
        if isinstance(endpoint, Serverless):
            most = _SERVERLESS_GIB[cloud]
            if endpoint.memory_gib > most:
                wrong = f"{endpoint.memory_gib} GiB are too many for a serverless instance on {cloud}"
                yield layer.problem((*path, "memory_gib"), wrong, f"{most} at most, or kind: realtime")
            allowed = ("none",) if cloud == "aws" else _CLOUD_RUN_GPUS
            if endpoint.accelerator not in allowed:
                wrong = f"a serverless instance on {cloud} has no {endpoint.accelerator}"
                yield layer.problem((*path, "accelerator"), wrong, f"{' or '.join(allowed)}, or kind: realtime")
        if isinstance(endpoint, Async) and cloud == "gcp" and endpoint.capture_percent:
            wrong = "Google Cloud captures nothing of an asynchronous endpoint; its answers are kept anyway"
            yield layer.problem((*path, "capture_percent"), wrong, "0")


def scales(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """No minimum over a maximum, and none at zero where that cannot be."""
    for path, endpoint, cloud in _endpoints(environment):
        kind = (
            "llm" if isinstance(endpoint, Llm) else "kubernetes" if where(endpoint) == "kubernetes" else endpoint.kind
        )
        scale = getattr(endpoint, "scale", None)
        if scale is not None:
            if scale.min > scale.max:
                yield layer.problem(
                    (*path, "scale"), f"min {scale.min} is over max {scale.max}", f"max: {scale.min} or more"
                )
            if scale.min == 0 and (cloud, kind) in NEVER_ZERO:
                wrong = f"{endpoint.kind} on {cloud} does not scale to zero"
                yield layer.problem((*path, "scale", "min"), wrong, f"1 or more; or {NEVER_ZERO[cloud, kind]}")
            target = getattr(scale, "target", None)
            if target and (target.requests_per_second is None) == (target.concurrency is None):
                yield layer.problem(
                    (*path, "scale", "target"), "it has no measure, or two", "requests_per_second or concurrency"
                )
        concurrency = getattr(endpoint, "concurrency", None)
        if concurrency and concurrency.warm > concurrency.max:
            wrong = f"warm {concurrency.warm} is over max {concurrency.max}"
            yield layer.problem((*path, "concurrency"), wrong, f"max: {concurrency.warm} or more")


def machines(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """Instances that the cloud's service has."""
    for path, endpoint, cloud in _endpoints(environment):
        compute = getattr(endpoint, "compute", None)
        if compute is None or where(endpoint) != "managed":
            continue
        here, size = (*path, "compute"), f"{compute.cpu} vCPUs and {compute.memory_gib} GiB"
        if endpoint.kind in _OF_CONTAINERS[cloud]:
            service, cpus, gib, accelerators = _CONTAINERS[cloud]
            if compute.machine or compute.accelerator not in accelerators:
                wrong = f"{service} has no {compute.machine or compute.accelerator}"
                yield layer.problem(here, wrong, f"cpu and memory_gib, with {' or '.join(accelerators)}")
            elif compute.cpu > cpus or compute.memory_gib > gib:
                yield layer.problem(here, f"{service} has no instance with {size}", f"{cpus} and {gib} at most")
            continue
        region = cast("Aws | Gcp", getattr(environment.cloud, cloud)).region
        if fitting(compute, cloud, region, "transform" if isinstance(endpoint, Batch) else "hosting") is None:
            service = "SageMaker" if cloud == "aws" else "Vertex AI"
            what = compute.machine or f"{compute.per_machine} {compute.accelerator}"
            wrong = f"{service} answers on no machine with {what}, {size} in {region}"
            yield layer.problem(here, wrong, "less of it, another accelerator, or server: kubernetes")


def releases(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """Releases that are taken back by themselves, canaries that are small, and room for both fleets."""
    for path, endpoint, cloud in _endpoints(environment):
        release = getattr(endpoint, "release", None)
        if release is None:
            continue
        here = (*path, "release", "strategy")
        kind = (
            "llm" if isinstance(endpoint, Llm) else "kubernetes" if where(endpoint) == "kubernetes" else endpoint.kind
        )
        able = RELEASES.get((cloud, kind), ())
        if release.strategy not in able and (able or (*path, "release") in layer.sources):
            wrong = f"{release.strategy} is not there for {endpoint.kind} on {cloud}, with a way back that needs nobody awake"
            others = [k for (c, k), names in RELEASES.items() if c == cloud and release.strategy in names]
            right = " or ".join([*able, *(f"kind: {other}" for other in others[:2])])
            yield layer.problem(here, wrong, right or "no release")
        if isinstance(release, Canary) and release.percent > _LARGEST_CANARY:
            wrong = f"{release.percent} percent are more than half of the fleet"
            yield layer.problem((*path, "release", "percent"), wrong, f"{_LARGEST_CANARY} at most, or blue_green")
    used = {name: instances(endpoint) for name, endpoint in environment.serving.endpoints.items() if live(endpoint)}
    ceiling = environment.serving.max_instances
    if sum(used.values()) > ceiling:
        largest = sorted(filter(used.get, used), key=lambda name: (-used[name], name))[:3]
        wrong = f"{ceiling} is under what the endpoints take with their releases: " + ", ".join(
            f"{name} {used[name]}" for name in largest
        )
        yield layer.problem(("serving", "max_instances"), wrong, f"{sum(used.values())} or more, or less for them")


def sagemaker(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """What SageMaker does not take: images of other registries, long waits, and parts of a fleet of one."""
    for path, endpoint, cloud in _endpoints(environment):
        if cloud != "aws" or endpoint.kind not in _FROM_REGISTRY["aws"] or where(endpoint) != "managed":
            continue
        model, release = getattr(endpoint, "model", None), getattr(endpoint, "release", None)
        if isinstance(model, Container):
            yield from _hosted(layer, (*path, "model"), endpoint, model)
        if isinstance(endpoint, Serverless) and endpoint.concurrency.max > _SERVERLESS_AT_ONCE:
            wrong = f"{endpoint.concurrency.max} requests at once are too many for one serverless endpoint"
            yield layer.problem(
                (*path, "concurrency", "max"), wrong, f"{_SERVERLESS_AT_ONCE} at most, or kind: realtime"
            )
        if isinstance(release, AllAtOnce | BlueGreen | Canary) and not isinstance(endpoint, Serverless):
            longest = LONGEST_BAKE[release.strategy]
            if release.bake_minutes > longest:
                wrong = f"SageMaker gives a release an hour, so {release.bake_minutes} minutes do not fit"
                yield layer.problem((*path, "release", "bake_minutes"), wrong, f"{longest} at most")
        if isinstance(release, BlueGreen | Canary) and getattr(getattr(endpoint, "scale", None), "max", 2) == 1:
            wrong = "a fleet of one has no part that could go first"
            yield layer.problem((*path, "release", "strategy"), wrong, "all_at_once, or scale.max: 2 or more")
        if isinstance(release, Canary) and release.percent < _SEEN_BY_P95 and release.rollback_on == ["p95_latency"]:
            wrong = f"the slowest 5 of 100 requests can be the canary's, and p95 does not see {release.percent} percent"
            yield layer.problem((*path, "release", "rollback_on"), wrong, "error_rate too, or 5 percent or more")


def _hosted(layer: Layer, path: Path, endpoint: AnyEndpoint, model: Container) -> Iterator[Problem]:
    if own_repository(model.image) is None and not _ECR.match(model.image):
        yield layer.problem(
            (*path, "image"), "SageMaker pulls from Amazon ECR alone", "a copy in a repository of registry.images"
        )
    # ModelDataSource, which knows folders and digests, is not there for these (SageMaker API, ContainerDefinition).
    if isinstance(endpoint, Serverless | Batch) and model.artifact:
        if model.artifact.path.endswith("/"):
            wrong = f"{endpoint.kind} on SageMaker takes one archive, no folder"
            yield layer.problem((*path, "artifact", "path"), wrong, "a model.tar.gz")
        if model.artifact.sha256:
            wrong = f"{endpoint.kind} on SageMaker looks at no digest"
            yield layer.problem((*path, "artifact", "sha256"), wrong, "no sha256, or kind: realtime")


def objectives(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """Times that the kind can keep: a first request that waits for a start is a request too."""
    for path, endpoint, cloud in _endpoints(environment):
        promised = getattr(getattr(endpoint, "objective", None), "p95_ms", None)
        scale, concurrency = getattr(endpoint, "scale", None), getattr(endpoint, "concurrency", None)
        warm = concurrency.warm if concurrency else scale.min if scale else 1
        if promised is None or warm:
            continue
        key = "gpu" if getattr(endpoint, "accelerator", "none") != "none" else endpoint.kind
        place = f"on {cloud}"
        if where(endpoint) == "kubernetes":
            pool = environment.training.pools.get(getattr(endpoint, "pool", None) or "")
            empty = pool is not None and pool.nodes.min == 0
            key, place = ("pool", f"{place} in an empty pool") if empty else ("kubernetes", f"{place} in a cluster")
        start = COLD_START_MS.get((cloud, key), 0)
        if promised < start:
            wrong = f"{promised} ms cannot be kept: a start of {endpoint.kind} {place} takes {start} ms or more"
            at = "concurrency.warm" if concurrency else "scale.min"
            yield layer.problem((*path, "objective", "p95_ms"), wrong, f"{start} or more, or {at}: 1")


def _inside(environment: Environment, layer: Layer, path: Path, endpoint: AnyEndpoint) -> Iterator[Problem]:
    """What an endpoint in a cluster cannot have, and what it has to: a place for its team, and a model with a digest."""
    if endpoint.team not in environment.training.teams:
        wrong = f"{endpoint.team} has no place in the cluster, which alone could call it"
        yield layer.problem((*path, "team"), wrong, one_of(endpoint.team, environment.training.teams))
    artifact = getattr(getattr(endpoint, "model", None), "artifact", None)
    if artifact and artifact.sha256 is None and not artifact.path.endswith("/"):
        wrong = "in a cluster no archive is opened whose digest nobody has named"
        yield layer.problem((*path, "model", "artifact", "sha256"), wrong, "its digest, which `pack` prints")
    if getattr(endpoint, "capture_percent", 0):
        yield layer.problem((*path, "capture_percent"), "nothing captures in a cluster", "0, or server: managed")
    scale, release = getattr(endpoint, "scale", None), (*path, "release")
    if scale is not None and scale.target.requests_per_second is not None:
        wrong = "a cluster keeps no rates; an instance says how many requests it works on"
        yield layer.problem((*path, "scale", "target"), wrong, "concurrency")
    # A load balancer leads to pods, past what holds requests while there is none (`Interceptors`).
    if scale is not None and scale.min == 0 and (isinstance(endpoint, Contained) or getattr(endpoint, "api", None)):
        wrong = f"{endpoint.kind} behind an api does not scale to zero in a cluster"
        yield layer.problem((*path, "scale", "min"), wrong, "1 or more; or kind: serverless; or no api")
    strategy = getattr(endpoint, "release", None)
    if isinstance(endpoint, RealTime | Contained) and isinstance(strategy, BlueGreen | Canary):
        yield from _stepwise(layer, path, endpoint, strategy)
        return
    for key in ("bake_minutes", "rollback_on"):
        if (*release, key) in layer.sources:
            wrong = "in a cluster nothing watches pods that come all at once: what does not become ready never answers"
            other = "" if isinstance(endpoint, Llm) else ", or strategy: canary or blue_green"
            yield layer.problem((*release, key), wrong, f"no {key}{other}")


def _stepwise(
    layer: Layer, path: Path, endpoint: RealTime | Contained, release: BlueGreen | Canary
) -> Iterator[Problem]:
    """A part of the fleet that goes first: there is a fleet, and pods can have that part of the requests."""
    least = endpoint.scale.min
    if least == 0:
        wrong = f"{release.strategy} compares pods with others, and there may be none"
        yield layer.problem((*path, "scale", "min"), wrong, "1 or more, or strategy: all_at_once")
        return
    # One pod beside the others; of three it has 33 percent, and a third more.
    smallest = 100 // (least + 1)
    if isinstance(release, Canary) and release.percent < smallest:
        wrong = f"requests are split by pods, and one beside {least} has {smallest} percent, not {release.percent}"
        enough = 100 // (release.percent + 1)
        right = f"{smallest} or more, or scale.min: {enough}, or strategy: blue_green"
        yield layer.problem((*path, "release", "percent"), wrong, right)


def _queued(
    environment: Environment, layer: Layer, path: Path, endpoint: Batch, capacity: Capacity
) -> Iterator[Problem]:
    """A run in a queue: one of the cluster, of its team, with its accelerators and the time that it takes."""
    if endpoint.queue not in environment.training.queues:
        wrong = f"there is no queue {endpoint.queue}"
        yield layer.problem((*path, "queue"), wrong, one_of(endpoint.queue or "", environment.training.queues))
        return
    queue = capacity.queues.get(endpoint.queue)
    if queue is None or queue.scheduler != "kubernetes":
        wrong = f"{endpoint.queue} is no queue of the cluster"
        yield layer.problem((*path, "queue"), wrong, "one of pools with scheduler: kubernetes, or no queue")
        return
    if endpoint.team not in queue.teams:
        wrong = f"{endpoint.team} may not submit to {endpoint.queue}"
        yield layer.problem((*path, "queue"), wrong, f"a queue of {endpoint.team}")
    able = [capacity.pools[pool].accelerator for pool in queue.pools]
    names = sorted({"none", *(each.name for each in able if each)})
    if endpoint.compute.accelerator not in names:
        wrong = f"{endpoint.queue} has no {endpoint.compute.accelerator}"
        yield layer.problem((*path, "compute", "accelerator"), wrong, one_of(endpoint.compute.accelerator, names))
    if endpoint.objective.finish_hours > queue.timeout_hours:
        wrong = f"{endpoint.queue} stops work after {queue.timeout_hours} hours"
        yield layer.problem((*path, "objective", "finish_hours"), wrong, f"{queue.timeout_hours} at most")


def clusters(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """Endpoints in a cluster: a cluster, a pool with what they ask for, a queue, and room for a release."""
    pools = environment.training.pools
    # Worked out once a cloud: it goes through all pools and queues.
    known = lru_cache(partial(Capacity, environment))
    for path, endpoint, cloud in _endpoints(environment):
        if where(endpoint) == "kubernetes":
            yield from _inside(environment, layer, path, endpoint)
        if isinstance(endpoint, Batch) and endpoint.queue:
            yield from _queued(environment, layer, path, endpoint, known(cloud))
            continue
        if where(endpoint) != "kubernetes":
            if isinstance(endpoint, RealTime | Contained) and endpoint.pool:
                yield layer.problem((*path, "pool"), "a managed endpoint has no pool", "server: kubernetes, or no pool")
            continue
        if not known(cloud).kubernetes:
            yield layer.problem(path, f"there is no cluster on {cloud}", "a pool on it with scheduler: kubernetes")
            continue
        pool = getattr(endpoint, "pool", None)
        compute = getattr(endpoint, "compute", None)
        if pool is None:
            if compute and compute.accelerator != "none":
                wrong = "in a cluster an accelerator comes from a pool"
                yield layer.problem((*path, "pool"), wrong, one_of("", pools))
            continue
        plan = known(cloud).pools.get(pool)
        if plan is None or plan.scheduler != "kubernetes":
            yield layer.problem(
                (*path, "pool"), f"there is no pool {pool} in the cluster of {cloud}", one_of(pool, pools)
            )
            continue
        if isinstance(endpoint, Llm) and (plan.resource != "nvidia.com/gpu" or plan.slices > 1):
            wrong = f"vLLM's image wants whole NVIDIA GPUs, and {pool} has none"
            yield layer.problem((*path, "pool"), wrong, "a pool of NVIDIA GPUs that nobody shares")
            continue
        each = compute.per_machine if compute and compute.accelerator != "none" else plan.per_node
        needed = instances(endpoint) * each
        if needed > plan.devices:
            wrong = f"{needed} accelerators with its release, and {pool} has {plan.devices}"
            yield layer.problem((*path, "scale", "max"), wrong, f"fewer, or a larger nodes.max of {pool}")


def language(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """Language models: one that the cloud has or weights on a pool, and in prod never without a guardrail."""
    known = environment.retrieval.guardrails
    for path, endpoint, cloud in _endpoints(environment):
        if not isinstance(endpoint, Llm):
            continue
        if endpoint.guardrail is None and environment.tier == "prod":
            yield layer.problem(
                (*path, "guardrail"),
                "prompts reach it unchecked",
                one_of("", known) if known else "one of retrieval.guardrails",
            )
        elif endpoint.guardrail is not None and endpoint.guardrail not in known:
            wrong = f"there is no guardrail {endpoint.guardrail}"
            yield layer.problem((*path, "guardrail"), wrong, one_of(endpoint.guardrail, known))
        if isinstance(endpoint.model, Foundation):
            yield from _foundation(path, endpoint, endpoint.model, cloud, layer)
            continue
        for key in ("pool", "scale"):
            if getattr(endpoint, key) is None:
                yield layer.problem((*path, key), "weights need machines of ours", f"a {key}")
        if endpoint.units is not None:
            yield layer.problem((*path, "units"), "units are bought of a model of the cloud", "no units")


def _foundation(path: Path, endpoint: Llm, model: Foundation, cloud: CloudName, layer: Layer) -> Iterator[Problem]:
    """A model of the cloud: called as it is there, on no machine of ours, with units where they can be bought."""
    named = getattr(model, cloud)
    if named is None:
        wrong = f"nobody has said what it is called on {cloud}"
        yield layer.problem((*path, "model", cloud), wrong, "its name there")
    for key in ("pool", "scale"):
        if getattr(endpoint, key) is not None:
            yield layer.problem((*path, key), "a model of the cloud has no machines of ours", f"no {key}, or weights")
    if endpoint.units is not None and cloud == "gcp":
        # "Purchase Provisioned Throughput": an order in the console, for a term that cannot be cancelled.
        wrong = "throughput of Vertex AI cannot be bought by a description"
        yield layer.problem((*path, "units"), wrong, "no units, and an order in the console; or on: aws")
    elif endpoint.units is not None and named and named.partition(".")[0] in GEOGRAPHIES:
        wrong = "units are bought of a model in one region"
        yield layer.problem((*path, "units"), wrong, f"no units, or the model as {named.partition('.')[2]}")


def schedules(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """Schedules that the cloud's scheduler understands."""
    for path, endpoint, cloud in _endpoints(environment):
        if isinstance(endpoint, Batch) and endpoint.schedule and cloud == "aws":
            try:
                eventbridge(endpoint.schedule)
            except ValueError:
                wrong = "EventBridge takes a day of the month or a day of the week"
                yield layer.problem((*path, "schedule"), wrong, "a * in one of the two")


def besides(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """Caches and services of teams and endpoints that are there."""
    for name, cache in environment.serving.caches.items():
        path: Path = ("serving", "caches", name)
        if cache.team not in environment.teams:
            yield layer.problem(
                (*path, "team"), f"there is no team {cache.team}", one_of(cache.team, environment.teams)
            )
        if cache.on and cache.on not in environment.cloud.names:
            wrong = f"the environment is not on {cache.on}"
            yield layer.problem((*path, "on"), wrong, one_of(cache.on, environment.cloud.names))
        yield from _clients(environment, layer, (*path, "clients"), name, cache)
    for name, service in environment.serving.services.items():
        path = ("serving", "services", name)
        if service.on and service.on not in environment.cloud.names:
            wrong = f"the environment is not on {service.on}"
            yield layer.problem((*path, "on"), wrong, one_of(service.on, environment.cloud.names))
        if service.ceiling < service.calls_per_day:
            wrong = f"a ceiling of {service.ceiling} is below the {service.calls_per_day} calls that are expected"
            right = f"{service.calls_per_day} or more, or nothing for twice that"
            yield layer.problem((*path, "cap_calls_per_day"), wrong, right)
        for i, team in enumerate(service.teams):
            if team not in environment.teams:
                wrong = f"there is no team {team}"
                yield layer.problem((*path, "teams", i), wrong, one_of(team, environment.teams))
    yield from _reached(environment, layer)


def _reached(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """On AWS a service is found where there is no other way, and in prod nobody calls it but through its endpoint."""
    network, given = environment.network, environment.network.private_services
    open_ = network.nat != "none" and network.egress == "open" and environment.tier != "prod"
    if given is None or open_:
        return
    for name in environment.here(environment.serving.services, "aws"):
        missing = [endpoint for endpoint in PRIVATE[name] if endpoint not in given]
        if missing:
            wrong = f"{name} is called through its endpoint, and there is none"
            yield layer.problem(("network", "private_services"), wrong, f"{', '.join(missing)} in the list")


def _clients(environment: Environment, layer: Layer, path: Path, name: str, cache: Cache) -> Iterator[Problem]:
    """Endpoints that are there, reach a cache, and have no other."""
    cloud = environment.cloud_of(cache) or "aws"
    same = environment.here(environment.serving.endpoints, cloud)
    others = {
        each: other for other, found in environment.serving.caches.items() if other < name for each in found.clients
    }
    for i, client in enumerate(cache.clients):
        here = (*path, i)
        if client not in same:
            yield layer.problem(here, f"there is no endpoint {client} on its cloud", one_of(client, same))
            continue
        endpoint = same[client]
        unable = _unable(endpoint, cloud)
        if unable:
            why, right = unable
            yield layer.problem(here, f"{client} is {endpoint.kind} on {cloud}, which uses no cache: {why}", right)
        if client in cache.clients[:i]:
            yield layer.problem(here, f"{client} is there twice", "it once")
        elif client in others:
            wrong = f"{client} keeps its answers in {others[client]}, and an endpoint has one cache"
            yield layer.problem(here, wrong, f"it in one of {others[client]} and {name}")


def _unable(endpoint: AnyEndpoint, cloud: CloudName) -> tuple[str, str] | None:
    """Why an endpoint uses no cache, and what would be right; None for one that can."""
    if endpoint.kind in caching.NOWHERE:
        return caching.NOWHERE[endpoint.kind]
    kind = "kubernetes" if where(endpoint) == "kubernetes" else endpoint.kind
    return None if kind in caching.ABLE[cloud] else caching.UNABLE[cloud, kind]


CHECKS = (parts, kinds, scales, machines, releases, sagemaker, objectives, clusters, language, schedules, besides)
