"""Serving: the table of contents. What is built, in which order, and what each part hands to the next."""

from dataclasses import replace
from typing import Any

import pulumi

from components import contracts, plan
from components.core.fronts import Front, fronts
from components.gcp.blocks.rollout import Platform
from components.gcp.blocks.vertex_model import Packaged
from components.gcp.retrieval.prompts import Prompts, PromptsArgs
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
from components.scope import Scope
from components.spec import serving
from components.spec.endpoints import alarms, answering, fitting, where
from components.spec.environment import Environment
from components.spec.foundation import Gcp
from components.spec.models import Container as Image
from components.spec.models import Foundation, Package

_PYTHON = "library/python:3.13.15-slim-bookworm"
_HUB = "docker.io"


def build(
    environment: Environment,
    place: Gcp,
    base: contracts.Foundation,
    registry: contracts.Registry,
    training: contracts.Training,
    guardrails: contracts.Guardrails,
    *,
    scope: Scope,
    parent: pulumi.Resource,
) -> contracts.Serving:
    """Build what answers, as children of `parent`."""
    mine = {name: spec for name, spec in answering(environment, "gcp").items() if where(spec) == "managed"}
    apis, told = base.isolation.apis, base.notifications
    found: dict[str, contracts.Endpoint] = {}
    known, domain, tokens = fronts(environment, "gcp"), environment.serving.domain, environment.serving.tokens
    if mine:
        releases = Releases(
            "releases", ReleasesArgs(apis=apis, generation=place.generation), scope=scope, parent=parent
        ).outputs
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
        _prompts(environment, place, base, releases, scope, parent)
        for name, spec in mine.items():
            found[name] = _endpoint(
                name, spec, environment, platform, base, registry, known.get(name), guardrails, scope, parent
            )
    gateway: contracts.Gateway | None = None
    exchange: contracts.Exchange | None = None
    if known and domain:
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
    caches = {
        name: Cache(
            name,
            CacheArgs(
                apis=apis,
                max_gib=spec.max_gib,
                clients={},
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
    return contracts.Serving(
        endpoints={**found, **training.served},
        caches=caches,
        services=_services(environment, place, base, training, scope, parent),
        gateway=gateway,
        exchange=exchange,
    )


def _prompts(
    environment: Environment,
    place: Gcp,
    base: contracts.Foundation,
    releases: contracts.Releases,
    scope: Scope,
    parent: pulumi.Resource,
) -> None:
    """Prompts and answers of the cloud's own models are logged wherever there is one."""
    retrieval = environment.retrieval
    llms = [spec.model for spec in answering(environment, "gcp").values() if isinstance(spec, serving.Llm)]
    models = sorted({model.gcp for model in llms if isinstance(model, Foundation) and model.gcp})
    if not models:
        return
    args = PromptsArgs(
        apis=base.isolation.apis,
        number=place.number,
        models=models,
        days=retrieval.prompt_days,
        readers={
            persona: access.group
            for persona, access in environment.identity.personas.items()
            if persona in retrieval.prompt_readers and access.group
        },
        key=base.keys.domains["logs"],
        workflow_key=base.keys.domains["models"],
        starter=releases.starter,
        generation=place.generation,
        critical=base.notifications.critical,
    )
    Prompts("prompts", args, scope=scope, parent=parent)


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
        warning=base.notifications.warning,
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
                capture=Capture(key=base.keys.domains["logs"], days=environment.serving.capture_days),
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
                ServerlessArgs(spec=spec, image=image, signs=signs, **fronted, **common),
                scope=scope,
                parent=parent,
            ).outputs
        case serving.Function():
            image = _image(spec.model, registry)
            made = Function(
                name, FunctionArgs(spec=spec, image=image, signs=signs, **fronted, **common), scope=scope, parent=parent
            ).outputs
        case serving.Container():
            image = _image(spec.model, registry)
            made = Container(
                name,
                ContainerArgs(spec=spec, image=image, signs=signs, **fronted, **common),
                scope=scope,
                parent=parent,
            ).outputs
        case serving.Async():
            image = _image(spec.model, registry)
            queued = AsynchronousArgs(spec=spec, image=image, logs_key=base.keys.domains["logs"], signs=signs, **common)
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
