"""Retrieval: the table of contents. What is built, in which order, and what each part hands to the next."""

from typing import Any

import pulumi

from components import contracts, plan
from components.gcp.retrieval.ask import Ask, AskArgs
from components.gcp.retrieval.corpora import Corpora, CorporaArgs
from components.gcp.retrieval.database import Database, DatabaseArgs
from components.gcp.retrieval.guardrails import Guardrails, GuardrailsArgs
from components.gcp.retrieval.prompts import Prompts, PromptsArgs
from components.scope import Scope
from components.spec.endpoints import answering
from components.spec.environment import Environment
from components.spec.foundation import Gcp
from components.spec.models import Foundation
from components.spec.serving import Llm


def guard(
    environment: Environment, place: Gcp, base: contracts.Foundation, *, scope: Scope, parent: pulumi.Resource
) -> contracts.Guardrails:
    """Build what is let through, as a child of `parent`: what answers needs it, wherever that is."""
    args = GuardrailsArgs(
        apis=base.isolation.apis,
        number=place.number,
        guardrails=environment.retrieval.guardrails,
        floor=environment.tier == "prod",
    )
    return Guardrails("guardrails", args, scope=scope, parent=parent).outputs


def keep(
    environment: Environment,
    place: Gcp,
    base: contracts.Foundation,
    releases: contracts.Releases | None,
    *,
    scope: Scope,
    parent: pulumi.Resource,
) -> contracts.Prompts | None:
    """Build where prompts and answers are kept, as a child of `parent`, before anything is asked: wherever a model is."""
    if not plan.prompted(environment, "gcp"):
        return None
    llms = [spec.model for spec in answering(environment, "gcp").values() if isinstance(spec, Llm)]
    args = PromptsArgs(
        apis=base.isolation.apis,
        number=place.number,
        models=sorted({model.gcp for model in llms if isinstance(model, Foundation) and model.gcp}),
        endpoints=bool(plan.keeping(environment, "gcp")),
        days=environment.retrieval.prompt_days,
        readers=plan.prompt_readers(environment),
        key=base.keys.domains["logs"],
        workflow_key=base.keys.domains["models"],
        starter=releases.starter if releases else None,
        generation=place.generation,
        critical=base.notifications.critical,
    )
    return Prompts("prompts", args, scope=scope, parent=parent).outputs


def build(
    environment: Environment,
    place: Gcp,
    base: contracts.Foundation,
    training: contracts.Training,
    guardrails: contracts.Guardrails,
    *,
    scope: Scope,
    parent: pulumi.Resource,
) -> contracts.Retrieval:
    """Build what answers are grounded in, as children of `parent`."""
    retrieval = environment.retrieval
    corpora = environment.here(retrieval.corpora, "gcp")
    if not corpora or retrieval.api is None:
        return contracts.Retrieval(guardrails=guardrails)
    zone = next(iter(corpora.values())).source
    key = base.keys.domains[environment.data.zones[zone].key]
    database = _database(environment, place, base, key, scope, parent)
    # A database has an address in the network alone.
    inside = environment.network.egress == "deny" or database is not None
    common: dict[str, Any] = {
        "apis": base.isolation.apis,
        "number": place.number,
        "corpora": corpora,
        "database": database,
        "network": base.network if inside else None,
        "compute_key": base.keys.domains["compute"],
        "logs": base.storage[environment.data.access_log_zone].name,
        "generation": place.generation,
        "warning": base.notifications.warning,
    }
    stores = Corpora(
        "corpora",
        CorporaArgs(
            **common,
            bucket=base.storage[zone],
            key=key,
            logs_key=base.keys.domains["logs"],
            teams=base.notifications.teams,
            tags={name: plan.team_tags(environment, spec.team) for name, spec in corpora.items()},
        ),
        scope=scope,
        parent=parent,
    ).outputs
    asked = Ask(
        "ask",
        AskArgs(
            **common,
            stores=stores,
            guardrails=guardrails,
            api=retrieval.api,
            tokens=environment.serving.tokens,
            claim=retrieval.team_claim,
            identities=training.queues.identities if training.queues else {},
            critical=base.notifications.critical,
        ),
        scope=scope,
        parent=parent,
    ).outputs
    return contracts.Retrieval(guardrails=guardrails, corpora=stores, ask=asked)


def _database(
    environment: Environment,
    place: Gcp,
    base: contracts.Foundation,
    key: contracts.Key,
    scope: Scope,
    parent: pulumi.Resource,
) -> contracts.Server | None:
    """What holds the corpora that want a database."""
    corpora = environment.here(environment.retrieval.corpora, "gcp")
    held = [name for name, corpus in corpora.items() if corpus.store == "database"]
    if not held:
        return None
    args = DatabaseArgs(
        apis=base.isolation.apis,
        size=environment.retrieval.database,
        corpora=held,
        network=base.network,
        key=key,
        generation=place.generation,
        critical=base.notifications.critical,
        warning=base.notifications.warning,
        tags=scope.tags,
    )
    return Database("corpora-database", args, scope=scope, parent=parent).outputs.server
