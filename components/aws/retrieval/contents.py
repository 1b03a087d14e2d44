"""Retrieval: the table of contents. What is built, in which order, and what each part hands to the next."""

from typing import Any

import pulumi

from components import contracts, plan
from components.aws.retrieval.ask import Ask, AskArgs
from components.aws.retrieval.corpora import Corpora, CorporaArgs
from components.aws.retrieval.guardrails import Guardrails, GuardrailsArgs
from components.scope import Scope
from components.spec.environment import Environment


def guard(
    environment: Environment, base: contracts.Foundation, *, scope: Scope, parent: pulumi.Resource
) -> contracts.Guardrails:
    """Build what is let through, as a child of `parent`: what answers needs it, wherever that is."""
    args = GuardrailsArgs(guardrails=environment.retrieval.guardrails, key=base.keys.domains["models"])
    return Guardrails("guardrails", args, scope=scope, parent=parent).outputs


def build(
    environment: Environment,
    base: contracts.Foundation,
    training: contracts.Training,
    guardrails: contracts.Guardrails,
    *,
    scope: Scope,
    parent: pulumi.Resource,
) -> contracts.Retrieval:
    """Build what answers are grounded in, as children of `parent`."""
    retrieval = environment.retrieval
    corpora = environment.here(retrieval.corpora, "aws")
    if not corpora or retrieval.api is None:
        return contracts.Retrieval(guardrails=guardrails)
    zone = next(iter(corpora.values())).source
    common: dict[str, Any] = {
        "corpora": corpora,
        "bucket": base.storage[zone],
        "network": base.network,
        "compute_key": base.keys.domains["compute"],
        "logs_key": base.keys.domains["logs"],
        "boundary": base.boundary,
        "warning": base.notifications.warning,
    }
    stores = Corpora(
        "corpora",
        CorporaArgs(
            **common,
            key=base.keys.domains[environment.data.zones[zone].key],
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
            guardrails_key=base.keys.domains["models"],
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
