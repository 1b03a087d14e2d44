"""What the registries have to fulfil: names that a cloud takes, people who can approve, promotion to somewhere else."""

from collections.abc import Callable, Iterator, Sequence

from components.core.accelerators import ACCELERATORS
from components.spec.capacity import resolve
from components.spec.environment import Environment
from components.spec.problems import Problem, one_of
from components.spec.registry import MIRRORED
from components.spec.section import CloudName
from components.spec.source import Layer, Path

_SIGNS_IN: dict[CloudName, str] = {"aws": "permission_set", "gcp": "group"}


def owners(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """Teams of models and images are there."""
    registry = environment.registry
    for kind, entries in (("models", registry.models), ("images", registry.images)):
        for name, entry in entries.items():
            if entry.team and entry.team not in environment.teams:
                yield layer.problem(
                    ("registry", kind, name, "team"),
                    f"there is no team {entry.team}",
                    one_of(entry.team, environment.teams),
                )


def approvers(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """Where there are models, somebody can sign in who may approve them, on each cloud."""
    if not environment.registry.models:
        return
    for cloud in environment.cloud.names:
        able = [name for name, access in environment.identity.personas.items() if getattr(access, _SIGNS_IN[cloud])]
        if not set(able) & set(environment.registry.approvers):
            yield layer.problem(
                ("registry", "approvers"),
                f"no persona that approves models can sign in on {cloud}",
                f"a persona with a {_SIGNS_IN[cloud]} ({one_of('', able)})",
            )


def image_names(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """Names without two hyphens in a row, which Amazon ECR does not take ("CreateRepository", repositoryName)."""
    if environment.cloud.aws is None or not environment.registry.images:
        return
    before = f"{environment.company.prefix}-{environment.name}"
    if "--" in before:
        yield layer.problem(
            ("registry", "images"), f"repositories begin with {before}, with two hyphens in a row", "single hyphens"
        )


def mirrors(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """Public registries that every cloud of the environment reads without a credential."""
    for i, mirror in enumerate(environment.registry.mirrors or []):
        for cloud in environment.cloud.names:
            if mirror not in MIRRORED[cloud]:
                yield layer.problem(
                    ("registry", "mirrors", i),
                    f"{cloud} reads {mirror} with a credential only",
                    one_of(mirror, MIRRORED[cloud]),
                )


def copies(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """What clusters of EKS need of registries that no mirror reads lies in a copy: else nothing of a team's would start."""
    pools = [
        pool for pool in environment.here(environment.training.pools, "aws").values() if pool.scheduler == "kubernetes"
    ]
    if environment.cloud.aws is None or not pools:
        return
    registry, region = environment.registry, environment.cloud.aws.region
    if registry.signatures == "enforce" and "ghcr.io" not in registry.copies:
        wrong = "signatures are enforced, and what verifies them on EKS comes from ghcr.io, which no mirror reads"
        audited = "registry.signatures: audit"
        if environment.tier == "prod":
            audited += ", with a waiver of rule prod-signatures"
        yield layer.problem(
            ("registry", "copies", "ghcr.io"),
            wrong,
            f"ADDRESS of a copy (docs/training.md, Signatures on EKS); or {audited}",
        )
    types = {found[0].accelerator for pool in pools if (found := resolve(pool, "aws", region))}
    if (
        environment.network.egress == "deny"
        and any(type_ and ACCELERATORS[type_].resource == "nvidia.com/gpu" for type_ in types)
        and "nvcr.io" not in registry.copies
    ):
        yield layer.problem(
            ("registry", "copies", "nvcr.io"),
            "the network of aws is closed, and NVIDIA's device plugin comes from nvcr.io, which no mirror reads",
            "ADDRESS of a copy (docs/training.md, Copies of images)",
        )


def promotion(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """Promotion on a cloud that the environment is on, to and from other environments, each named once."""
    aws, gcp = environment.registry.promotion.aws, environment.registry.promotion.gcp
    here = environment.cloud
    for cloud, told, there in (("aws", aws, here.aws), ("gcp", gcp, here.gcp)):
        path: Path = ("registry", "promotion", cloud)
        if there is None and (told.shared_with or told.source):
            yield layer.problem(path, f"the environment is not on {cloud}", f"cloud.{cloud}, or no such key")
        if told.source and told.source.environment == environment.name:
            yield layer.problem(
                (*path, "source", "environment"), "the environment cannot read from itself", "another, or no source"
            )
        yield from _twice(layer, (*path, "shared_with"), told.shared_with)
    if here.aws:
        for i, account in enumerate(aws.shared_with):
            if account == here.aws.account:
                yield layer.problem(
                    ("registry", "promotion", "aws", "shared_with", i), "the environment's own account", "another"
                )
        if aws.source and aws.source.account == here.aws.account:
            yield layer.problem(
                ("registry", "promotion", "aws", "source", "account"), "the environment's own account", "another"
            )
    if here.gcp:
        for i, member in enumerate(gcp.shared_with):
            if member.endswith(f"@{here.gcp.project}.iam.gserviceaccount.com"):
                yield layer.problem(
                    ("registry", "promotion", "gcp", "shared_with", i), "of the environment's own project", "another"
                )
        if gcp.source and gcp.source.project == here.gcp.project:
            yield layer.problem(
                ("registry", "promotion", "gcp", "source", "project"), "the environment's own project", "another"
            )


def _twice(layer: Layer, path: Path, values: Sequence[str]) -> Iterator[Problem]:
    for i, value in enumerate(values):
        if value in values[:i]:
            yield layer.problem((*path, i), f"{value} stands twice", "each once")


CHECKS: tuple[Callable[[Environment, Layer], Iterator[Problem]], ...] = (
    owners,
    approvers,
    image_names,
    mirrors,
    copies,
    promotion,
)
