"""The registry: the table of contents."""

import pulumi

from components import contracts, plan
from components.gcp.registry.images import Images, ImagesArgs, Repository
from components.gcp.registry.models import Model, Models, ModelsArgs, Source
from components.scope import Scope
from components.spec.environment import Environment
from components.spec.foundation import Gcp, Persona
from components.spec.images import own_repository
from components.spec.regions import GCP_REGIONS

# Multi-regions of Artifact Registry ("Repository locations") by that of the region's buckets.
_MULTI_REGIONS = {"US": "us", "EU": "europe", "ASIA": "asia"}


def build(
    environment: Environment, place: Gcp, base: contracts.Foundation, *, scope: Scope, parent: pulumi.Resource
) -> contracts.Registry:
    """Build the registries of images and of models, as children of `parent`."""
    registry, promotion, key = environment.registry, environment.registry.promotion.gcp, base.keys.domains["models"]
    multi_region = GCP_REGIONS[place.region].multi_region
    images = Images(
        "images",
        ImagesArgs(
            apis=base.isolation.apis,
            number=place.number,
            repositories={
                name: Repository(
                    untagged_days=spec.untagged_days,
                    shared=spec.shared,
                    writers=_writers(environment, name),
                    tags=plan.team_tags(environment, spec.team),
                )
                for name, spec in registry.images.items()
            },
            mirrors=plan.mirrors(environment, "gcp"),
            key=key,
            multi_region=_MULTI_REGIONS[multi_region] if scope.replica_region and multi_region else None,
            protection_level=environment.keys.protection_level,
            rotation_days=environment.keys.rotation_days,
            deletion_days=environment.keys.deletion_days,
            generation=place.generation,
            readers=promotion.shared_with,
            signers=[base.delivery.deploy] if base.delivery else [],
            signatures=registry.signatures,
        ),
        scope=scope,
        parent=parent,
    ).outputs
    source = promotion.source
    models = Models(
        "models",
        ModelsArgs(
            apis=base.isolation.apis,
            models={
                name: Model(description=spec.description, tags=plan.team_tags(environment, spec.team))
                for name, spec in registry.models.items()
            },
            key=key,
            approvers={
                persona: access.group
                for persona, access in environment.identity.personas.items()
                if persona in registry.approvers and access.group
            },
            readers=promotion.shared_with,
            source=Source(environment=source.environment, project=source.project, location=source.location)
            if source
            else None,
            warning=base.notifications.warning,
        ),
        scope=scope,
        parent=parent,
    ).outputs
    return contracts.Registry(images=images, models=models)


def _writers(environment: Environment, repository: str) -> dict[Persona, str]:
    """Who pushes to a repository: engineers to each, data scientists to that of the images that training runs, as on AWS."""
    wanted: list[Persona] = ["ml-engineer"]
    if own_repository(environment.training.image) == repository:
        wanted.append("data-scientist")
    personas = environment.identity.personas
    return {name: group for name in wanted if name in personas and (group := personas[name].group)}
