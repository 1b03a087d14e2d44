"""Serving: the table of contents. What is built, in which order, and what each part hands to the next."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pulumi

from components import contracts, plan
from components.aws.blocks.hosting import Served, served
from components.aws.blocks.log_group import TRANSFORM_JOBS, LogGroup, LogGroupArgs
from components.aws.operations.dashboard import Dashboard, DashboardArgs
from components.aws.registry.models import Source, reading
from components.aws.retrieval.prompts import Prompts, PromptsArgs
from components.aws.serving.asynchronous import Asynchronous, AsynchronousArgs
from components.aws.serving.batch import Batch, BatchArgs
from components.aws.serving.cache import Cache, CacheArgs
from components.aws.serving.container import Container, ContainerArgs
from components.aws.serving.edge import Edge, EdgeArgs
from components.aws.serving.fleets import Fleets, FleetsArgs
from components.aws.serving.function import Function, FunctionArgs
from components.aws.serving.gateway import Gateway, GatewayArgs
from components.aws.serving.llm import Guard, Llm, LlmArgs
from components.aws.serving.passage import Passage, PassageArgs
from components.aws.serving.realtime import RealTime, RealTimeArgs
from components.aws.serving.serverless import Serverless, ServerlessArgs
from components.aws.serving.services import Services, ServicesArgs
from components.aws.serving.watch import Watch, WatchArgs
from components.core import in_cluster, scrapes
from components.core.accelerators import Machine
from components.core.cloudwatch_rows import bodies
from components.core.fronts import fronts
from components.scope import Scope
from components.spec import serving
from components.spec.endpoints import alarms, answering, fitting, where
from components.spec.environment import Environment
from components.spec.foundation import Aws
from components.spec.models import Container as Packed
from components.spec.models import Package
from components.spec.releases import Shadow

# Requests at once of an instance whose target is given by the second.
_EACH = 10


def front(
    environment: Environment, base: contracts.Foundation, *, scope: Scope, parent: pulumi.Resource
) -> contracts.Gateway | None:
    """Build what stands in front of endpoints, before any of them: also in front of those of the cluster."""
    known, domain = fronts(environment, "aws"), environment.serving.domain
    if not known or domain is None:
        return None
    args = GatewayArgs(
        fronts=known,
        domain=domain.name,
        zone=domain.zone.get("aws"),
        network=base.network,
        access_logs=base.storage[environment.data.access_log_zone],
        logs_key=base.keys.domains["logs"],
        critical=base.notifications.critical,
        warning=base.notifications.warning,
    )
    return Gateway("gateway", args, scope=scope, parent=parent).outputs


def build(
    environment: Environment,
    place: Aws,
    base: contracts.Foundation,
    registry: contracts.Registry,
    training: contracts.Training,
    retrieval: contracts.Retrieval,
    caches: Mapping[str, contracts.Cache],
    gateway: contracts.Gateway | None,
    *,
    scope: Scope,
    parent: pulumi.Resource,
) -> contracts.Serving:
    """Build what answers, as children of `parent`."""
    entries = plan.entries(caches)
    found: dict[str, contracts.Endpoint] = {}
    mine = {name: spec for name, spec in answering(environment, "aws").items() if where(spec) == "managed"}
    jobs = (
        LogGroup(
            "transform-logs",
            LogGroupArgs(path=TRANSFORM_JOBS, key=base.keys.domains["logs"]),
            scope=scope,
            parent=parent,
        ).outputs.id
        if any(isinstance(spec, serving.Batch) for spec in mine.values())
        else None
    )
    fleets = (
        Fleets(
            "fleets",
            FleetsArgs(logs_key=base.keys.domains["logs"], boundary=base.boundary),
            scope=scope,
            parent=parent,
        ).outputs
        if any(isinstance(spec, serving.Edge) for spec in mine.values())
        else None
    )
    capture = plan.zone(environment, base, environment.serving.capture_zone)
    known, tokens = fronts(environment, "aws", "managed"), environment.serving.tokens
    for name, spec in mine.items():
        tags = {**plan.team_tags(environment, spec.team), "endpoint": name}
        told: dict[str, Any] = {
            "critical": base.notifications.critical,
            "warning": base.notifications.warning,
            "team": base.notifications.teams.get(spec.team, ()),
        }
        inside: dict[str, Any] = {
            "network": base.network,
            "compute_key": base.keys.domains["compute"],
            "logs_key": base.keys.domains["logs"],
            "boundary": base.boundary,
        }
        common: dict[str, Any] = {**inside, **told, "tags": tags}
        match spec:
            case serving.RealTime():
                shadow = spec.release.model if isinstance(spec.release, Shadow) else None
                args = RealTimeArgs(
                    spec=spec,
                    machine=_machine(spec.compute, place),
                    model=_model(environment, base, registry, spec.model, scope),
                    shadow=_model(environment, base, registry, shadow, scope) if shadow else None,
                    capture=capture,
                    alarms=alarms(spec),
                    **common,
                )
                found[name] = RealTime(name, args, scope=scope, parent=parent).outputs
            case serving.Serverless():
                model = _model(environment, base, registry, spec.model, scope)
                args = ServerlessArgs(spec=spec, model=model, alarms=alarms(spec), **common)
                found[name] = Serverless(name, args, scope=scope, parent=parent).outputs
            case serving.Async():
                args = AsynchronousArgs(
                    spec=spec,
                    machine=_machine(spec.compute, place),
                    model=_model(environment, base, registry, spec.model, scope),
                    zone=plan.zone(environment, base, spec.zone),
                    capture=capture,
                    alarms=alarms(spec),
                    **common,
                )
                found[name] = Asynchronous(name, args, scope=scope, parent=parent).outputs
            case serving.Batch() if jobs is not None:
                args = BatchArgs(
                    spec=spec,
                    machine=_machine(spec.compute, place),
                    model=_model(environment, base, registry, spec.model, scope),
                    input=plan.zone(environment, base, spec.input.zone),
                    zone=plan.zone(environment, base, spec.zone),
                    jobs_log=jobs,
                    **common,
                )
                found[name] = Batch(name, args, scope=scope, parent=parent).outputs
            case serving.Function():
                behind: dict[str, Any] = (
                    {"gateway": gateway, "front": known[name], "tokens": tokens} if name in known else {}
                )
                function = FunctionArgs(
                    spec=spec,
                    cache=entries.get(name),
                    model=_model(environment, base, registry, spec.model, scope),
                    alarms=alarms(spec),
                    **behind,
                    **common,
                )
                found[name] = Function(name, function, scope=scope, parent=parent).outputs
            case serving.Container() if gateway and tokens:
                container = ContainerArgs(
                    spec=spec,
                    cache=entries.get(name),
                    model=_model(environment, base, registry, spec.model, scope),
                    alarms=alarms(spec),
                    gateway=gateway,
                    front=known[name],
                    tokens=tokens,
                    **common,
                )
                found[name] = Container(name, container, scope=scope, parent=parent).outputs
            case serving.Llm():
                guard = (
                    Guard(
                        id=retrieval.guardrails.ids[spec.guardrail],
                        version=retrieval.guardrails.versions[spec.guardrail],
                        key=base.keys.domains["models"],
                    )
                    if spec.guardrail
                    else None
                )
                asked = LlmArgs(
                    spec=spec,
                    guard=guard,
                    network=base.network,
                    alarms=alarms(spec),
                    tags=tags,
                    **told,
                )
                found[name] = Llm(name, asked, scope=scope, parent=parent).outputs
            case serving.Edge() if fleets is not None:
                artifact = spec.model.artifact
                packed = EdgeArgs(
                    spec=spec,
                    image=plan.image(spec.model.image, "aws", registry.images.repositories),
                    zone=plan.zone(environment, base, artifact.zone) if artifact else None,
                    ready=fleets,
                    boundary=base.boundary,
                    tags=tags,
                    **told,
                )
                found[name] = Edge(name, packed, scope=scope, parent=parent).outputs
            case _:
                pass
        if gateway and tokens and name in known and isinstance(spec, serving.RealTime | serving.Serverless):
            passage = PassageArgs(
                endpoint=found[name],
                name=name,
                most=_at_once(spec),
                gateway=gateway,
                front=known[name],
                tokens=tokens,
                tags=tags,
                **inside,
            )
            found[name] = Passage(f"{name}-passage", passage, scope=scope, parent=parent).outputs
    if plan.prompted(environment, "aws"):
        _prompts(environment, base, scope, parent)
    watched = _watch(environment, base, training.cluster, scope, parent)
    return contracts.Serving(
        endpoints={**found, **training.served},
        caches=caches,
        services=_services(environment, base, training, scope, parent),
        gateway=gateway,
        dashboards=_pages(environment, found, retrieval, training, watched, scope, parent),
    )


def _pages(
    environment: Environment,
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
        name: in_cluster.aws(name, spec, cluster.physical_name, scope.region, watched.get(name, ()))
        for name, spec in answering(environment, "aws").items()
        if cluster and where(spec) == "kubernetes"
    }
    # Who is reached from the internet is seen by what is in front of it.
    served |= {
        name: replace(served[name], charts=row.charts, alarms=[*row.alarms, *watched.get(name, ())])
        for name, row in training.rows.items()
    }
    found = bodies({**served, **plan.rows(endpoints, retrieval)}, f"Serving in {environment.name}")
    return [
        Dashboard(f"{page}-dashboard", DashboardArgs(called=page, body=body), scope=scope, parent=parent).outputs
        for page, body in zip(plan.pages(found), found, strict=True)
    ]


def _at_once(spec: serving.RealTime | serving.Serverless) -> int:
    """Requests at once that are handed on to an endpoint: as many as it works on."""
    if isinstance(spec, serving.Serverless):
        return spec.concurrency.max
    return spec.scale.max * (spec.scale.target.concurrency or _EACH)


def _prompts(
    environment: Environment, base: contracts.Foundation, scope: Scope, parent: pulumi.Resource
) -> contracts.Prompts:
    """Prompts and answers are logged wherever a model of Bedrock is asked; readers are let in to those of our own models too."""
    retrieval = environment.retrieval
    zone = plan.zone(environment, base, retrieval.prompt_zone)
    args = PromptsArgs(
        bucket=zone.bucket,
        key=zone.key,
        personas=base.personas,
        readers=retrieval.prompt_readers,
        asked=plan.asked(environment, "aws"),
        critical=base.notifications.critical,
    )
    return Prompts("prompts", args, scope=scope, parent=parent).outputs


def caches(
    environment: Environment, base: contracts.Foundation, *, scope: Scope, parent: pulumi.Resource
) -> dict[str, contracts.Cache]:
    """Build caches, which come before whoever uses them."""
    told = base.notifications
    return {
        name: Cache(
            name,
            CacheArgs(
                max_gib=spec.max_gib,
                keep_minutes=spec.keep_minutes,
                clients=plan.clients(environment, "aws", name),
                network=base.network,
                key=base.keys.domains["data"],
                warning=told.warning,
                team=told.teams.get(spec.team, ()),
                tags=plan.team_tags(environment, spec.team),
            ),
            scope=scope,
            parent=parent,
        ).outputs
        for name, spec in sorted(environment.here(environment.serving.caches, "aws").items())
    }


def _watch(
    environment: Environment,
    base: contracts.Foundation,
    cluster: contracts.Cluster | None,
    scope: Scope,
    parent: pulumi.Resource,
) -> Mapping[str, Sequence[contracts.Text]]:
    """What watches endpoints in the cluster by what is read there, where there are any: their alarms, by name."""
    if cluster is None or not (found := in_cluster.watches(environment, "aws", cluster.physical_name)):
        return {}
    told = base.notifications
    args = WatchArgs(
        endpoints=found,
        scrapes=list(
            scrapes.scrapes(
                *in_cluster.spaces(in_cluster.watched(environment, "aws").values()),
                in_cluster.controllers(environment, "aws"),
            )
        ),
        cluster=cluster,
        network=base.network,
        critical=told.critical,
        warning=told.warning,
        teams=told.teams,
    )
    return Watch("watch", args, scope=scope, parent=parent).outputs.alarms


def _services(
    environment: Environment,
    base: contracts.Foundation,
    training: contracts.Training,
    scope: Scope,
    parent: pulumi.Resource,
) -> contracts.Services | None:
    services = environment.here(environment.serving.services, "aws")
    if not services:
        return None
    args = ServicesArgs(
        services=services,
        identities=training.queues.identities if training.queues else {},
        tags={team: plan.team_tags(environment, team) for team in environment.teams},
        network=base.network,
        compute_key=base.keys.domains["compute"],
        logs_key=base.keys.domains["logs"],
        boundary=base.boundary,
        critical=base.notifications.critical,
        warning=base.notifications.warning,
        teams=base.notifications.teams,
    )
    return Services("services", args, scope=scope, parent=parent).outputs


def _machine(compute: serving.Compute, place: Aws) -> Machine:
    found = fitting(compute, "aws", place.region)
    if found is None:  # a description is not loaded without one
        raise ValueError(compute)
    return found


def _model(
    environment: Environment,
    base: contracts.Foundation,
    registry: contracts.Registry,
    model: Package | Packed,
    scope: Scope,
) -> Served:
    if isinstance(model, Package):
        promoted = environment.registry.promotion.aws.source
        source = Source(environment=promoted.environment, account=promoted.account) if promoted else None
        return served(
            model,
            group=registry.models.approved[model.package],
            statements=reading(scope, source, environment.registry.model_zone, model.package),
        )
    return served(
        model,
        image=plan.image(model.image, "aws", registry.images.repositories),
        zone=plan.zone(environment, base, model.artifact.zone) if model.artifact else None,
    )
