"""What a description has to fulfil beyond the shape of its parts: limits of the clouds, and one part against another.

Each check is a function of the description and the sources of its values that yields problems. It may rely on the shape of
every part; the loader leaves a part that has none out by calling the checks only on what can be read.
"""

from collections.abc import Callable, Iterator
from datetime import date
from fnmatch import fnmatchcase

from components.core.addresses import LARGEST, SMALLEST, share
from components.core.cloud_sql import CORPORA_USERS, LONGEST_USER, TRACKING_USER, user
from components.core.naming import LIMITS, REPLICA_SUFFIX, Names
from components.spec import (
    checks_experiments,
    checks_file_systems,
    checks_gateways,
    checks_images,
    checks_registry,
    checks_retrieval,
    checks_serving,
    checks_training,
)
from components.spec.environment import Environment
from components.spec.problems import Problem, one_of
from components.spec.regions import REGIONS
from components.spec.source import Layer, dotted
from components.spec.tiers import MINIMUM

Check = Callable[[Environment, Layer], Iterator[Problem]]


def clouds(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """At least one cloud."""
    if not environment.cloud.names:
        yield layer.problem(("cloud",), "no cloud is named", "cloud.aws with account and region, or cloud.gcp, or both")


def regions(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """Regions that the cloud has, enough zones in them, and a second region where data is replicated."""
    for cloud in environment.cloud.names:
        place = getattr(environment.cloud, cloud)
        known = REGIONS[cloud]
        path = ("cloud", cloud, "region")
        if place.region not in known:
            yield layer.problem(path, f"{place.region} is no region of {cloud}", one_of(place.region, known))
            continue
        region = known[place.region]
        yield from _zones(environment, layer, place.region, region.zones)
        replica = ("cloud", cloud, "replica_region")
        if place.replica_region is None:
            if environment.data.replicate and region.replica is None:
                yield layer.problem(path, f"data.replicate is on, and {place.region} has no second region in its jurisdiction",
                    "data.replicate: false with a waiver, a region that has one"
                    + (", or replica_region beside it" if cloud == "aws" else ""),
                )  # fmt: skip
        elif place.replica_region not in known or place.replica_region == place.region:
            others = [r for r in known if r != place.region]
            yield layer.problem(
                replica, f"{place.replica_region} cannot hold a copy", one_of(place.replica_region, others)
            )
        elif cloud == "gcp" and (
            region.multi_region is None or known[place.replica_region].multi_region != region.multi_region
        ):
            pairs = [r for r, v in known.items() if region.multi_region and v.multi_region == region.multi_region]
            yield layer.problem(replica, f"no dual-region holds {place.region} and {place.replica_region}",
                one_of(place.replica_region, [r for r in pairs if r != place.region]),
            )  # fmt: skip


def _zones(environment: Environment, layer: Layer, region: str, known: tuple[str, ...]) -> Iterator[Problem]:
    zones = environment.network.zones
    if isinstance(zones, int):
        if zones > len(known):
            yield layer.problem(
                ("network", "zones"), f"{zones} zones, but {region} has {len(known)}", f"{len(known)} at most"
            )
        return
    for i, zone in enumerate(zones):
        if zone not in known:
            yield layer.problem(("network", "zones", i), f"{zone} is no zone of {region}", one_of(zone, known))
        elif zone in zones[:i]:
            yield layer.problem(("network", "zones", i), f"{zone} stands twice", "each zone once")


def ranges(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """A private range that is neither too small nor too large for its clouds."""
    cidr = environment.network.cidr
    path = ("network", "cidr")
    if not cidr.is_private:
        yield layer.problem(path, f"{cidr} is public", "a private range (RFC 1918), such as 10.16.0.0/16")
        return
    if not environment.cloud.names:
        return
    for cloud, part in share(cidr, environment.cloud.names).items() if cidr.prefixlen < 32 else ():
        halved = len(environment.cloud.names) - 1
        if part.prefixlen > SMALLEST[cloud]:
            yield layer.problem(
                path, f"{cidr} is too small to divide on {cloud}", f"/{SMALLEST[cloud] - halved} or larger"
            )
        if part.prefixlen < LARGEST[cloud]:
            yield layer.problem(
                path,
                f"{cidr} is larger than a network of {cloud} takes",
                f"/{LARGEST[cloud] - halved} or smaller",
            )
    if cidr.prefixlen == 32:
        yield layer.problem(path, f"{cidr} is a single address", "/19 or larger, such as 10.16.0.0/16")


def account_of_role(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """A role to deploy with that lies in the account it deploys to."""
    aws = environment.cloud.aws
    if aws and aws.assume_role and f"::{aws.account}:" not in aws.assume_role:
        right = f"arn:aws:iam::{aws.account}:role/{aws.assume_role.split('/', 1)[1]}"
        yield layer.problem(("cloud", "aws", "assume_role"), "the role lies in another account", right)


def names(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """Bucket names that fit: they are written down by people and policies, so they are never cut."""
    made = Names(environment.company.prefix, environment.name)
    room = LIMITS["bucket"] - len(REPLICA_SUFFIX)
    for zone in environment.data.zones:
        name = made.full(zone)
        if len(name) > room:
            spare = room - (len(name) - len(zone))
            yield layer.problem(("data", "zones", zone), f"makes the bucket name {name}: {len(name)} characters, {room} at most",
                f"a zone name of {spare} characters at most, or a shorter company.prefix",
            )  # fmt: skip


def users_of_databases(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """Service accounts whose names a database of Google Cloud takes; only with a long id of the project are they too long."""
    if environment.cloud.gcp is None:
        return
    corpora, tracking = environment.here(environment.retrieval.corpora, "gcp"), environment.training.tracking
    signing = [*(CORPORA_USERS if any(corpus.store == "database" for corpus in corpora.values()) else ())]
    if tracking and tracking.server == "kubernetes":
        signing.append(TRACKING_USER)
    made, project = Names(environment.company.prefix, environment.name), environment.cloud.gcp.project
    names = [user(made.of(workload, "service_account"), project) for workload in signing]
    longest = max(names, key=len, default="")
    if len(longest) > LONGEST_USER:
        wrong = f"{longest} signs in to a database: {len(longest)} characters, {LONGEST_USER} at most"
        room = len(project) - (len(longest) - LONGEST_USER)
        right = f"a project id of {room} characters at most, or a shorter company.prefix"
        yield layer.problem(("cloud", "gcp", "project"), wrong, right)


def zone_references(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """Zones that are named elsewhere are there."""
    for path, zone in environment.zone_references:
        if zone not in environment.data.zones:
            yield layer.problem(path, f"there is no zone {zone}", one_of(zone, environment.data.zones))


def teams(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """Teams that are named elsewhere are there, and their shares leave the budget whole."""
    for name, zone in environment.data.zones.items():
        if zone.team and zone.team not in environment.teams:
            path = ("data", "zones", name, "team")
            yield layer.problem(path, f"there is no team {zone.team}", one_of(zone.team, environment.teams))
    shares = {name: team.budget_percent or 0 for name, team in environment.teams.items()}
    if sum(shares.values()) > 100:
        listed = ", ".join(f"{name} {share}" for name, share in shares.items() if share)
        yield layer.problem(
            ("teams",), f"the teams' budget_percent come to {sum(shares.values())}: {listed}", "100 at most"
        )


def rotation(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """On AWS the function that rotates secrets finds Secrets Manager: by an endpoint of the network, or by a way out of it."""
    network, services = environment.network, environment.network.private_services
    closed = network.nat == "none" or network.egress == "deny"
    generated = [name for name, secret in environment.secrets.items() if secret.kind == "generated"]
    if environment.cloud.aws and generated and closed and services is not None and "secretsmanager" not in services:
        wrong = f"{', '.join(generated)} cannot be rotated: no way to Secrets Manager"
        right = "secretsmanager in the list, or a way out of the network"
        yield layer.problem(("network", "private_services"), wrong, right)


def numbers(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """Of the repository's two numbers both, or none."""
    github = environment.delivery.github
    if github and (github.owner_id is None) != (github.repository_id is None):
        missing = "owner_id" if github.owner_id is None else "repository_id"
        yield layer.problem(
            ("delivery", "github", missing), "one of two numbers is missing", f"{missing} beside the other"
        )


# Names of buckets that are not zones: the copy of a zone on AWS, the source of functions on Google Cloud.
RESERVED = (f"*{REPLICA_SUFFIX}", "function-source")


def reserved(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """Zones that take no name of another bucket."""
    for zone in environment.data.zones:
        if any(fnmatchcase(zone, pattern) for pattern in RESERVED):
            yield layer.problem(("data", "zones", zone), f"{zone} is a bucket of the platform's own", "another name")


def minimum(environment: Environment, layer: Layer, today: date) -> Iterator[Problem]:
    """Prod keeps what prod must have, or says in a waiver, not expired `today`, why not."""
    if environment.tier != "prod":
        return
    for rule in MINIMUM:
        value = getattr(getattr(environment, rule.key[0]), rule.key[1])
        waived = any(
            w.rule == rule.rule and fnmatchcase(dotted(rule.key), w.resource) and w.expires >= today
            for w in environment.waivers
        )
        if not rule.holds(value) and not waived:
            shown = str(value).lower() if isinstance(value, bool) else value
            yield layer.problem(rule.key, f"{shown} is less than prod must have",
                f"{rule.right}; or a waiver in policy.waivers with rule {rule.rule} and resource {dotted(rule.key)}",
            )  # fmt: skip


CHECKS: tuple[Check, ...] = (
    clouds,
    regions,
    ranges,
    account_of_role,
    names,
    users_of_databases,
    zone_references,
    teams,
    rotation,
    numbers,
    reserved,
    *checks_registry.CHECKS,
    *checks_images.CHECKS,
    *checks_training.CHECKS,
    *checks_experiments.CHECKS,
    *checks_file_systems.CHECKS,
    *checks_serving.CHECKS,
    *checks_gateways.CHECKS,
    *checks_retrieval.CHECKS,
)
