"""What every cloud needs to know of the description, worked out once; none of it depends on a cloud."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pulumi

from components import contracts
from components.core import caching
from components.core.naming import Names
from components.core.rows import Row
from components.scope import Scope, after, opened
from components.spec.endpoints import answering, where
from components.spec.environment import Environment
from components.spec.experiments import Run, run
from components.spec.foundation import Aws, Gcp, GeneratedSecret
from components.spec.images import own_repository
from components.spec.regions import REGIONS
from components.spec.registry import MIRRORED
from components.spec.section import CloudName


@dataclass(frozen=True, kw_only=True)
class Generated:
    """A secret that the platform makes and rotates: a random value."""

    length: int
    """Characters."""
    rotation_days: int


@dataclass(frozen=True, kw_only=True)
class Provided:
    """A secret that somebody else issued; without a value, a person adds it."""

    value: pulumi.Output[str] | None = None


@dataclass(frozen=True, kw_only=True)
class Share:
    """The part of the budget that one team has."""

    monthly_usd: float
    notify: Sequence[str]
    """E-mail addresses."""


def tags(environment: Environment) -> dict[str, str]:
    """What stands on every resource, so that the bill can be split."""
    company = environment.company
    return {
        "environment": environment.name,
        "tier": environment.tier,
        "platform": company.prefix,
        "owner": company.owner,
        "cost-center": company.cost_center,
        "managed-by": "pulumi",
        **environment.cost.tags,
    }


def scope(environment: Environment, cloud: CloudName, place: Aws | Gcp, **providers: Any) -> Scope:
    """The scope of an environment on a cloud, with its `provider` and, where there is one, its `replica_provider`."""
    return Scope(
        environment=environment.name,
        tier=environment.tier,
        cloud=cloud,
        account=place.account if isinstance(place, Aws) else place.project,
        region=place.region,
        replica_region=replica_region(environment, cloud, place),
        names=Names(environment.company.prefix, environment.name),
        tags=tags(environment),
        protection=environment.protection.data,
        log_days=environment.logs.retention_days,
        today=datetime.now(UTC).date(),
        **providers,
    )


def replica_region(environment: Environment, cloud: CloudName, place: Aws | Gcp) -> str | None:
    """The second region; None where nothing is replicated."""
    if not environment.data.replicate:
        return None
    return place.replica_region or REGIONS[cloud][place.region].replica


def readable(environment: Environment) -> Sequence[str]:
    """The zones that training reads: all but those of logs, and that of the access logs."""
    data = environment.data
    return [name for name, zone in data.zones.items() if zone.key != "logs" and name != data.access_log_zone]


def runs(environment: Environment, cloud: CloudName, images: Mapping[str, pulumi.Output[str]]) -> Mapping[str, Run]:
    """The pipelines on a cloud, worked out, with the addresses of our own images."""
    region = getattr(environment.cloud, cloud).region
    found: dict[str, Run] = {}
    for name, pipeline in environment.here(environment.training.pipelines, cloud).items():
        made = run(name, pipeline, cloud, region)
        steps = {step: replace(job, image=image(job.image, cloud, images)) for step, job in made.steps.items()}
        found[name] = replace(made, **steps, serving_image=image(made.serving_image, cloud, images))
    return found


def image(reference: str, cloud: CloudName, images: Mapping[str, pulumi.Output[str]]) -> pulumi.Input[str]:
    """The address of an image: of one of ours where it names a repository of ours, else as it is written.

    A repository of Google Cloud holds many images: ours are called as the repository.
    """
    repository = own_repository(reference)
    if repository is None or repository not in images:
        return reference
    inside = f"/{repository}" if cloud == "gcp" else ""
    return pulumi.Output.concat(images[repository], inside, reference.removeprefix(repository))


def team_tags(environment: Environment, team: str | None) -> dict[str, str]:
    """What stands besides on what belongs to a team: its name, and where it pays from."""
    if team is None:
        return {}
    center = environment.teams[team].cost_center
    return {"team": team, **({"cost-center": center} if center else {})}


def mirrors(environment: Environment, cloud: CloudName) -> Sequence[str]:
    """The public registries that are read through one of our own."""
    named = environment.registry.mirrors
    return MIRRORED[cloud] if named is None else named


def stand_ins(environment: Environment, mirrors: Mapping[str, pulumi.Output[str]]) -> dict[str, pulumi.Output[str]]:
    """Public registry to the address that stands in its place: a mirror where the network has no way out, a copy always."""
    closed = dict(mirrors) if environment.network.egress == "deny" else {}
    return closed | {host: pulumi.Output.from_input(copy) for host, copy in environment.registry.copies.items()}


def zone(environment: Environment, base: contracts.Foundation, name: str) -> contracts.Zone:
    """A storage zone with the key of what lies in it."""
    return contracts.Zone(bucket=base.storage[name], key=base.keys.domains[environment.data.zones[name].key])


def zone_tags(environment: Environment, zone: str) -> dict[str, str]:
    """What stands on a storage zone besides: its team, and where the team pays from."""
    return team_tags(environment, environment.data.zones[zone].team)


def kept_versions(environment: Environment, zone: str) -> int | None:
    """Old versions of an object that a zone keeps whatever their age; those of models come from the registry."""
    kept = environment.data.zones[zone].old_versions_kept
    if kept is None and zone == environment.registry.model_zone:
        return environment.registry.keep_versions
    return kept


def secrets(environment: Environment) -> Mapping[str, Generated | Provided]:
    """The secrets by name."""
    return {
        name: Generated(length=spec.length, rotation_days=spec.rotation_days)
        if isinstance(spec, GeneratedSecret)
        else Provided(value=opened(spec.value) if spec.value else None)
        for name, spec in environment.secrets.items()
    }


def document_zones(environment: Environment, cloud: CloudName) -> set[str]:
    """The zones that documents of corpora on a cloud lie in."""
    return {corpus.source for corpus in environment.here(environment.retrieval.corpora, cloud).values()}


def captures(environment: Environment, cloud: CloudName) -> bool:
    """Whether requests of any endpoint on a cloud are kept."""
    return any(getattr(endpoint, "capture_percent", 0) for endpoint in answering(environment, cloud).values())


def capture_readers(environment: Environment, cloud: CloudName) -> Mapping[str, str]:
    """Groups that read captured requests, by persona: those that read the zone of captures; one without a group reads nothing."""
    zone = environment.data.zones[environment.serving.capture_zone]
    readers = {*zone.readers, *zone.writers} if captures(environment, cloud) else set[str]()
    return _groups(environment, readers)


def asked(environment: Environment, cloud: CloudName) -> bool:
    """Whether language models of a cloud itself are asked anything."""
    return any(spec.kind == "llm" and where(spec) == "managed" for spec in answering(environment, cloud).values())


def keeping(environment: Environment, cloud: CloudName) -> Sequence[str]:
    """Language models of ours in the cluster, whose pods keep prompts and answers; sorted."""
    return [
        name
        for name, spec in answering(environment, cloud).items()
        if spec.kind == "llm" and where(spec) == "kubernetes"
    ]


def prompted(environment: Environment, cloud: CloudName) -> bool:
    """Whether prompts and answers are kept on a cloud, of its own models or of ours."""
    return asked(environment, cloud) or bool(keeping(environment, cloud))


def prompt_readers(environment: Environment) -> Mapping[str, str]:
    """Groups that read prompts and answers, by persona; one without a group reads nothing."""
    return _groups(environment, environment.retrieval.prompt_readers)


def _groups(environment: Environment, readers: Collection[str]) -> Mapping[str, str]:
    people = environment.identity.personas
    return {persona: access.group for persona, access in people.items() if persona in readers and access.group}


def rows(endpoints: Mapping[str, contracts.Endpoint], retrieval: contracts.Retrieval) -> dict[str, Row]:
    """What pages of charts say, by name: a row for each endpoint and each corpus, and for what all corpora share."""
    asked = {"corpora: questions": retrieval.ask.row} if retrieval.ask and retrieval.ask.row else {}
    filled = retrieval.corpora.rows if retrieval.corpora else {}
    return {name: found.row for name, found in endpoints.items() if found.row} | asked | dict(filled)


def pages(bodies: Sequence[object]) -> list[str]:
    """What the pages of what answers are called.

    >>> pages(["a"]), pages(["a", "b"])
    (['serving'], ['serving', 'serving-2'])
    """
    return ["serving", *(f"serving-{number}" for number in range(2, len(bodies) + 1))][: len(bodies)]


def clients(environment: Environment, cloud: CloudName, cache: str) -> list[str]:
    """The endpoints that may use a cache of a cloud, sorted: those of its list that are deployed."""
    return sorted({*environment.serving.caches[cache].clients} & {*answering(environment, cloud)})


def entries(caches: Mapping[str, contracts.Cache]) -> dict[str, contracts.Entry]:
    """How each endpoint that may use a cache gets into it: an endpoint has one at most."""
    return {client: entry for cache in caches.values() for client, entry in cache.entries.items()}


def awaiting(entry: contracts.Entry, *ways: pulumi.Resource) -> contracts.Entry:
    """The same, whose address resolves once these ways are there."""
    url = after(entry.variables[caching.URL], *ways)
    return replace(entry, variables={**entry.variables, caching.URL: url})


def told(environment: Environment, cloud: CloudName) -> Mapping[str, Sequence[str]]:
    """E-mail addresses of the teams that own something that answers on a cloud, by team, sorted."""
    serving, retrieval = environment.serving, environment.retrieval
    parts = (serving.endpoints, serving.caches, retrieval.corpora)
    owners = {part.team for named in parts for part in environment.here(named, cloud).values()}
    return {team: [environment.teams[team].owner] for team in sorted(owners)}


def shares(environment: Environment) -> Mapping[str, Share]:
    """The budgets of the teams that have a share, by team."""
    return {
        name: Share(monthly_usd=environment.budget.monthly_usd * team.budget_percent / 100, notify=[team.owner])
        for name, team in environment.teams.items()
        if team.budget_percent
    }
