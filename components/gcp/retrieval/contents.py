"""Retrieval: the table of contents. What is built, in which order, and what each part hands to the next."""

from typing import Any

import pulumi

from components import contracts, plan
from components.gcp.retrieval.ask import Ask, AskArgs
from components.gcp.retrieval.corpora import Corpora, CorporaArgs
from components.gcp.retrieval.guardrails import Guardrails, GuardrailsArgs
from components.scope import Scope
from components.spec.environment import Environment
from components.spec.foundation import Gcp


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
    common: dict[str, Any] = {
        "apis": base.isolation.apis,
        "number": place.number,
        "corpora": corpora,
        "network": base.network if environment.network.egress == "deny" else None,
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
            key=base.keys.domains[environment.data.zones[zone].key],
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
