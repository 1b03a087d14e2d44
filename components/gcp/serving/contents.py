"""Serving: the table of contents. What is built, in which order, and what each part hands to the next."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pulumi

from components import contracts, plan
from components.core import in_cluster
from components.core.fronts import Front, fronts
from components.core.monitoring_rows import bodies
from components.gcp.blocks.rollout import Platform
from components.gcp.blocks.vertex_model import Packaged
from components.gcp.blocks.workload import email
from components.gcp.operations.dashboard import Dashboard, DashboardArgs
from components.gcp.serving.asynchronous import Asynchronous, AsynchronousArgs
from components.gcp.serving.batch import Batch, BatchArgs
from components.gcp.serving.cache import Cache, CacheArgs
from components.gcp.serving.container import Container, ContainerArgs
from components.gcp.serving.exchange import Exchange, ExchangeArgs
from components.gcp.serving.function import Function, FunctionArgs
from components.gcp.serving.gateway import Gateway, GatewayArgs
from components.gcp.serving.llm import Guard, Llm, LlmArgs
from components.gcp.serving.realtime import Capture, RealTime, RealTimeArgs
from components.gcp.serving.releases import Releases, ReleasesArgs
from components.gcp.serving.serverless import Serverless, ServerlessArgs
from components.gcp.serving.services import Services, ServicesArgs
from components.gcp.serving.watch import Watch, WatchArgs
from components.scope import Scope
from components.spec import serving
from components.spec.endpoints import alarms, answering, fitting, where
from components.spec.environment import Environment
from components.spec.foundation import Gcp
from components.spec.models import Container as Image
from components.spec.models import Package

_PYTHON = "library/python:3.13.15-slim-bookworm"
_HUB = "docker.io"


def release(
    environment: Environment, place: Gcp, base: contracts.Foundation, *, scope: Scope, parent: pulumi.Resource
) -> contracts.Releases | None:
    """Build what all releases share, as a child of `parent`, where the cloud itself runs an endpoint."""
    if not _managed(environment):
        return None
    args = ReleasesArgs(apis=base.isolation.apis, generation=place.generation)
    return Releases("releases", args, scope=scope, parent=parent).outputs


def _managed(environment: Environment) -> dict[str, serving.AnyEndpoint]:
    return {name: spec for name, spec in answering(environment, "gcp").items() if where(spec) == "managed"}


def answer(
    environment: Environment,
    place: Gcp,
    base: contracts.Foundation,
    registry: contracts.Registry,
    guardrails: contracts.Guardrails,
    releases: contracts.Releases | None,
    caches: Mapping[str, contracts.Cache],
    *,
    scope: Scope,
    parent: pulumi.Resource,
) -> contracts.Serving:
    """Build what answers by the cloud's own services, and what is in front of it: before the cluster, whose hosts share it."""
    apis, told = base.isolation.apis, base.notifications
    found: dict[str, contracts.Endpoint] = {}
    known, domain, tokens = (
        fronts(environment, "gcp", "managed"),
        environment.serving.domain,
        environment.serving.tokens,
    )
    if releases:
        platform = Platform(
            apis=apis,
            number=place.number,
            network=base.network,
            storage=base.storage,
            records_zone=environment.registry.model_zone,
            compute_key=base.keys.domains["compute"],
            models_key=base.keys.domains["models"],
            signed=registry.images.signatures == "enforce",
            releases=releases,
            critical=told.critical,
            warning=told.warning,
        )
        entries = plan.entries(caches)
        for name, spec in _managed(environment).items():
            found[name] = _endpoint(
                name,
                spec,
                environment,
                platform,
                base,
                registry,
                known.get(name),
                guardrails,
                entries.get(name),
                scope,
                parent,
            )
    gateway: contracts.Gateway | None = None
    exchange: contracts.Exchange | None = None
    if fronts(environment, "gcp") and domain:
        services = {name: found[name].address for name in known}
        gateway = Gateway(
            "gateway",
            GatewayArgs(
                fronts=known,
                services=services,
                domain=domain.name,
                zone=domain.zone.get("gcp"),
                apis=apis,
                critical=told.critical,
                warning=told.warning,
            ),
            scope=scope,
            parent=parent,
        ).outputs
        found |= {name: replace(found[name], address=gateway.addresses[name]) for name in known}
        if tokens and any(front.scope for front in known.values()):
            exchange = Exchange(
                "exchange",
                ExchangeArgs(
                    apis=apis,
                    number=place.number,
                    tokens=tokens,
                    fronts=known,
                    services=services,
                    generation=place.generation,
                ),
                scope=scope,
                parent=parent,
            ).outputs
    return contracts.Serving(endpoints=found, caches=caches, services=None, gateway=gateway, exchange=exchange)


def build(
    environment: Environment,
    place: Gcp,
    base: contracts.Foundation,
    training: contracts.Training,
    retrieval: contracts.Retrieval,
    answered: contracts.Serving,
    *,
    scope: Scope,
    parent: pulumi.Resource,
) -> contracts.Serving:
    """Build the rest, as children of `parent`, and name all that answers."""
    apis = base.isolation.apis
    watched = _watch(environment, base, training.cluster, scope, parent)
    return replace(
        answered,
        endpoints={**answered.endpoints, **training.served},
        services=_services(environment, place, base, training, scope, parent),
        records=dict(training.records),
        dashboards=_pages(environment, apis, answered.endpoints, retrieval, training, watched, scope, parent),
    )


def caches(
    environment: Environment, base: contracts.Foundation, *, scope: Scope, parent: pulumi.Resource
) -> dict[str, contracts.Cache]:
    """Build caches, which come before whoever uses them."""
    told = base.notifications
    return {
        name: Cache(
            name,
            CacheArgs(
                apis=base.isolation.apis,
                max_gib=spec.max_gib,
                keep_minutes=spec.keep_minutes,
                clients={
                    client: email(_account(environment, client), scope)
                    for client in plan.clients(environment, "gcp", name)
                },
                network=base.network,
                connected=base.network.connected["gcp-memorystore"],
                key=base.keys.domains["data"],
                warning=told.warning,
                team=told.teams.get(spec.team, ()),
                tags=plan.team_tags(environment, spec.team),
            ),
            scope=scope,
            parent=parent,
        ).outputs
        for name, spec in sorted(environment.here(environment.serving.caches, "gcp").items())
    }


def _account(environment: Environment, endpoint: str) -> str:
    """Which workload an endpoint runs as: in the cluster that of its pods, else that of its service."""
    inside = where(environment.serving.endpoints[endpoint]) == "kubernetes"
    return f"{endpoint}-pods" if inside else f"serve-{endpoint}"


def _pages(
    environment: Environment,
    apis: Mapping[str, contracts.Text],
    endpoints: Mapping[str, contracts.Endpoint],
    retrieval: contracts.Retrieval,
    training: contracts.Training,
    watched: Mapping[str, Sequence[contracts.Text]],
    scope: Scope,
    parent: pulumi.Resource,
) -> list[contracts.Dashboard]:
    """A row for everything that answers, on as many pages as it takes; `watched` are alarms that stand with no endpoint."""
    cluster = training.cluster
    served = {
        name: in_cluster.gcp(name, spec, cluster.physical_name, scope.account, watched.get(name, ()))
        for name, spec in answering(environment, "gcp").items()
        if cluster and where(spec) == "kubernetes"
    }
    # Who is reached from the internet is seen by what is in front of it.
    served |= {
        name: replace(served[name], charts=row.charts, alarms=[*row.alarms, *watched.get(name, ())])
        for name, row in training.rows.items()
    }
    found = bodies({**served, **plan.rows(endpoints, retrieval)}, f"Serving in {environment.name}")
    return [
        Dashboard(f"{page}-dashboard", DashboardArgs(apis=apis, body=body), scope=scope, parent=parent).outputs
        for page, body in zip(plan.pages(found), found, strict=True)
    ]


def _watch(
    environment: Environment,
    base: contracts.Foundation,
    cluster: contracts.Cluster | None,
    scope: Scope,
    parent: pulumi.Resource,
) -> Mapping[str, Sequence[contracts.Text]]:
    """What watches endpoints in the cluster by what is read there, where there are any: their alarms, by name."""
    if cluster is None or not (found := in_cluster.watches(environment, "gcp", cluster.physical_name)):
        return {}
    told = base.notifications
    args = WatchArgs(
        endpoints=found,
        apis=base.isolation.apis,
        critical=told.critical,
        warning=told.warning,
        teams=told.teams,
    )
    return Watch("watch", args, scope=scope, parent=parent).outputs.alarms


def _services(
    environment: Environment,
    place: Gcp,
    base: contracts.Foundation,
    training: contracts.Training,
    scope: Scope,
    parent: pulumi.Resource,
) -> contracts.Services | None:
    services = environment.here(environment.serving.services, "gcp")
    if not services:
        return None
    args = ServicesArgs(
        services=services,
        apis=base.isolation.apis,
        identities=training.queues.identities if training.queues else {},
        generation=place.generation,
        number=place.number,
        # Inside of a perimeter only: metrics are within it. Of Service Usage it is not written that the restricted addresses have
        # it, and they are all that the network reaches.
        network=base.network if environment.network.perimeter == "enforced" else None,
        compute_key=base.keys.domains["compute"],
        logs=base.storage[environment.data.access_log_zone].name,
        critical=base.notifications.critical,
        warning=base.notifications.warning,
        teams=base.notifications.teams,
    )
    return Services("services", args, scope=scope, parent=parent).outputs


def _endpoint(
    name: str,
    spec: serving.AnyEndpoint,
    environment: Environment,
    platform: Platform,
    base: contracts.Foundation,
    registry: contracts.Registry,
    front: Front | None,
    guardrails: contracts.Guardrails,
    cache: contracts.Entry | None,
    scope: Scope,
    parent: pulumi.Resource,
) -> contracts.Endpoint:
    common: dict[str, Any] = {
        "platform": platform,
        "callers": {caller.partition("@")[0]: caller for caller in spec.callers},
        "team": list(base.notifications.teams.get(spec.team, ())),
        "tags": plan.team_tags(environment, spec.team),
    }
    signs = alarms(spec)
    fronted = {"audiences": [f"https://{front.host}"]} if front else {}
    match spec:
        case serving.RealTime():
            machine = fitting(spec.compute, "gcp", scope.region)
            if machine is None:
                raise ValueError(f"{name}: no machine")
            args = RealTimeArgs(
                spec=spec,
                **_model(spec.model, environment, registry),
                machine=machine,
                private=environment.tier == "prod",
                connected=base.network.connected.get("gcp-vertexai"),
                capture=Capture(
                    key=base.keys.domains["logs"],
                    days=environment.serving.capture_days,
                    readers=plan.capture_readers(environment, "gcp"),
                ),
                signs=signs,
                **common,
            )
            made = RealTime(name, args, scope=scope, parent=parent).outputs
        case serving.Batch():
            machine = fitting(spec.compute, "gcp", scope.region)
            if machine is None:
                raise ValueError(f"{name}: no machine")
            run = BatchArgs(spec=spec, **_model(spec.model, environment, registry), machine=machine, **common)
            made = Batch(name, run, scope=scope, parent=parent).outputs
        case serving.Serverless():
            image = _image(spec.model, registry)
            made = Serverless(
                name,
                ServerlessArgs(spec=spec, image=image, cache=cache, signs=signs, **fronted, **common),
                scope=scope,
                parent=parent,
            ).outputs
        case serving.Function():
            image = _image(spec.model, registry)
            made = Function(
                name,
                FunctionArgs(spec=spec, image=image, cache=cache, signs=signs, **fronted, **common),
                scope=scope,
                parent=parent,
            ).outputs
        case serving.Container():
            image = _image(spec.model, registry)
            made = Container(
                name,
                ContainerArgs(spec=spec, image=image, cache=cache, signs=signs, **fronted, **common),
                scope=scope,
                parent=parent,
            ).outputs
        case serving.Async():
            image = _image(spec.model, registry)
            queued = AsynchronousArgs(
                spec=spec, image=image, cache=cache, logs_key=base.keys.domains["logs"], signs=signs, **common
            )
            made = Asynchronous(name, queued, scope=scope, parent=parent).outputs
        case serving.Llm():
            guard = (
                Guard(id=guardrails.ids[spec.guardrail], version=guardrails.versions[spec.guardrail])
                if spec.guardrail
                else None
            )
            asked = LlmArgs(
                spec=spec,
                guard=guard,
                apis=platform.apis,
                role=platform.releases.roles["call"],
                alarms=signs,
                critical=platform.critical,
                warning=platform.warning,
                team=common["team"],
                callers=common["callers"],
            )
            made = Llm(name, asked, scope=scope, parent=parent).outputs
        case _:
            raise TypeError(f"{name}: {spec.kind} is not built here")
    return made


def _image(model: Image | Package, registry: contracts.Registry) -> pulumi.Input[str]:
    if not isinstance(model, Image):
        raise TypeError("Cloud Run reads no package of the registry")
    return plan.image(model.image, "gcp", registry.images.repositories)


def _model(model: Image | Package, environment: Environment, registry: contracts.Registry) -> dict[str, Any]:
    """A model as Vertex AI reads it."""
    if isinstance(model, Image):
        return {"model": model, "image": plan.image(model.image, "gcp", registry.images.repositories)}
    pipelines = environment.here(environment.training.pipelines, "gcp").values()
    server = next((found.serving_image for found in pipelines if found.model == model.package), None)
    hub = registry.images.mirrors.get(_HUB)
    return {
        "model": Packaged(
            repository=registry.models.approved[model.package],
            package=model.package,
            version=model.version or "",
            own=environment.registry.promotion.gcp.source is None,
            server=plan.image(server, "gcp", registry.images.repositories) if server else None,
            python=pulumi.Output.concat(hub, f"/{_PYTHON}") if hub else f"{_HUB}/{_PYTHON}",
        )
    }
