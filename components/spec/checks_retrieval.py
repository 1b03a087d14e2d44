"""What corpora and guardrails have to fulfil: parts that are there, and what each cloud can filter."""

from collections.abc import Iterator

from components.core.cloud_sql import CORPORA, RESERVED
from components.core.cron import eventbridge
from components.core.retrieval import EMBEDDINGS, gcp_connections
from components.spec.environment import Environment
from components.spec.problems import Problem, one_of
from components.spec.section import CloudName
from components.spec.source import Layer, Path

# Model Armor "Overview": prompt attack, sensitive data, harmful content, addresses and files; nothing else.
_ONLY_AWS = ("topics", "words", "grounding")

# What makes the tables of corpora asks for, besides what every function does.
_TABLES = ("rds-data", "secretsmanager")


def corpora(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """Teams, zones and guardrails that are there, and something that answers."""
    retrieval = environment.retrieval
    for name, corpus in retrieval.corpora.items():
        path: Path = ("retrieval", "corpora", name)
        if corpus.on and corpus.on not in environment.cloud.names:
            wrong = f"the environment is not on {corpus.on}"
            yield layer.problem((*path, "on"), wrong, one_of(corpus.on, environment.cloud.names))
        for key, value, known in (
            ("team", corpus.team, environment.teams),
            ("source", corpus.source, environment.data.zones),
            ("guardrail", corpus.guardrail, retrieval.guardrails),
        ):
            if value is not None and value not in known:
                what = "zone" if key == "source" else key
                yield layer.problem((*path, key), f"there is no {what} {value}", one_of(value, known))
        for i, reader in enumerate(corpus.readers):
            if reader not in environment.teams:
                wrong = f"there is no team {reader}"
                yield layer.problem((*path, "readers", i), wrong, one_of(reader, environment.teams))
        if environment.cloud_of(corpus) == "aws":
            try:
                eventbridge(corpus.schedule)
            except ValueError:
                wrong = "EventBridge takes a day of the month or a day of the week"
                yield layer.problem((*path, "schedule"), wrong, "a * in one of the two")
    if retrieval.corpora and retrieval.api is None:
        yield layer.problem(("retrieval", "api"), "nobody can ask the corpora", "an api, such as {throttle_rps: 20}")
    for i, persona in enumerate(retrieval.prompt_readers):
        if persona not in environment.identity.personas:
            wrong = f"there is no persona {persona}"
            yield layer.problem(
                ("retrieval", "prompt_readers", i), wrong, one_of(persona, environment.identity.personas)
            )


def stores(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """Stores that are built, embeddings that the cloud has, and one zone of documents on each cloud."""
    zones: dict[CloudName, str] = {}
    for name, corpus in environment.retrieval.corpora.items():
        path: Path = ("retrieval", "corpora", name)
        cloud = environment.known_cloud(corpus)
        if cloud is None:
            continue
        model, known = getattr(corpus.embedding, cloud), EMBEDDINGS[cloud]
        if model not in known:
            wrong = f"no corpus on {cloud} is embedded with {model}"
            yield layer.problem((*path, "embedding", cloud), wrong, one_of(model, known))
        elif corpus.embedding.dimensions not in (None, *known[model]):
            wrong = f"vectors of {model} do not have {corpus.embedding.dimensions} numbers"
            right = " or ".join(map(str, known[model]))
            yield layer.problem((*path, "embedding", "dimensions"), wrong, right)
        if cloud == "gcp" and "chunks" in corpus.model_fields_set:
            wrong = "on Google Cloud documents are cut by characters, 1,500 with 200 shared"
            yield layer.problem((*path, "chunks"), wrong, "no chunks")
        first = zones.setdefault(cloud, corpus.source)
        if corpus.source != first:
            wrong = f"documents of other corpora on {cloud} lie in {first}"
            yield layer.problem((*path, "source"), wrong, first)


def connections(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """A database that has a connection for every question that is let through."""
    retrieval = environment.retrieval
    corpora = environment.here(retrieval.corpora, "gcp").values()
    if retrieval.api is None or not any(corpus.store == "database" for corpus in corpora):
        return
    needed = gcp_connections(retrieval.api.throttle_rps) + RESERVED
    asked, size = retrieval.api.throttle_rps, retrieval.database.size
    if needed > CORPORA[size].connections:
        wrong = f"{asked} requests a second take {needed} connections, and {size} has {CORPORA[size].connections}"
        enough = [name for name, one in CORPORA.items() if one.connections >= needed]
        right = " or ".join(enough) or "less in retrieval.api.throttle_rps"
        yield layer.problem(("retrieval", "database", "size"), wrong, right)


def guardrails(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """Something that is stopped, by filters that the cloud has wherever a guardrail is attached."""
    used: dict[str, set[str]] = {}
    for part in (*environment.serving.endpoints.values(), *environment.retrieval.corpora.values()):
        name, cloud = getattr(part, "guardrail", None), environment.cloud_of(part)
        if name and cloud:
            used.setdefault(name, set()).add(cloud)
    for name, guardrail in environment.retrieval.guardrails.items():
        path: Path = ("retrieval", "guardrails", name)
        strengths = (guardrail.pii, guardrail.prompt_attack, guardrail.harmful)
        if {*strengths} == {"off"} and not any(getattr(guardrail, key) for key in _ONLY_AWS):
            yield layer.problem(path, "it lets everything through", "pii, prompt_attack or harmful that is not off")
        for key in _ONLY_AWS if "gcp" in used.get(name, ()) else ():
            if getattr(guardrail, key):
                wrong = f"Model Armor on Google Cloud has no filter for {key}"
                right = f"a guardrail of its own without {key} for what is there"
                yield layer.problem((*path, key), wrong, right)


def tables(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """On AWS, what makes tables finds the database and its secrets: by endpoints of the network, or by a way out of it."""
    network, services = environment.network, environment.network.private_services
    stored = [
        name
        for name, corpus in environment.here(environment.retrieval.corpora, "aws").items()
        if corpus.store == "database"
    ]
    missing = [service for service in _TABLES if service not in (services or ())]
    if stored and (network.nat == "none" or network.egress == "deny") and services is not None and missing:
        yield layer.problem(
            ("network", "private_services"),
            f"the tables of {', '.join(stored)} cannot be made: no way to {' and '.join(missing)}",
            f"{', '.join(missing)} in the list, or a way out of the network",
        )


CHECKS = (corpora, stores, connections, tables, guardrails)
