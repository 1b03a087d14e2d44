"""Retrieval: the table of contents. What is built, in which order, and what each part hands to the next."""

from collections.abc import Mapping
from typing import Any

import pulumi

from components import contracts, plan
from components.aws.retrieval.ask import Ask, AskArgs
from components.aws.retrieval.corpora import Corpora, CorporaArgs
from components.aws.retrieval.database import Database, DatabaseArgs
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
    key, secrets_key = base.keys.domains[environment.data.zones[zone].key], base.keys.domains["secrets"]
    tags = {name: plan.team_tags(environment, spec.team) for name, spec in corpora.items()}
    tables: Mapping[str, contracts.Table] = {}
    if stored := {name: spec for name, spec in corpora.items() if spec.store == "database"}:
        tables = Database(
            "corpora-database",
            DatabaseArgs(
                corpora=stored,
                size=retrieval.database.size,
                network=base.network,
                key=key,
                secrets_key=secrets_key,
                compute_key=base.keys.domains["compute"],
                logs_key=base.keys.domains["logs"],
                boundary=base.boundary,
                recovery_days=0 if scope.deletable else environment.keys.deletion_days,
                organization=environment.cloud.aws.organization if environment.cloud.aws else None,
                warning=base.notifications.warning,
                tags=tags,
            ),
            scope=scope,
            parent=parent,
        ).outputs.tables
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
            key=key,
            tables=tables,
            secrets_key=secrets_key,
            teams=base.notifications.teams,
            tags=tags,
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
