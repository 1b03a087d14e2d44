"""The registry: the table of contents."""

import pulumi

from components import contracts, plan
from components.aws.registry.images import Images, ImagesArgs, Repository
from components.aws.registry.models import Model, Models, ModelsArgs, Source
from components.scope import Scope
from components.spec.environment import Environment
from components.spec.foundation import Aws


def build(
    environment: Environment, place: Aws, base: contracts.Foundation, *, scope: Scope, parent: pulumi.Resource
) -> contracts.Registry:
    """Build the registries of images and of models, as children of `parent`."""
    registry, promotion, key = environment.registry, environment.registry.promotion.aws, base.keys.domains["models"]
    images = Images(
        "images",
        ImagesArgs(
            repositories={
                name: Repository(
                    keep=spec.keep,
                    untagged_days=spec.untagged_days,
                    shared=spec.shared,
                    tags=plan.team_tags(environment, spec.team),
                )
                for name, spec in registry.images.items()
            },
            mirrors=plan.mirrors(environment, "aws"),
            key=key,
            boundary=base.boundary,
            readers=promotion.shared_with,
            organization=place.organization,
            scanning=registry.scanning,
            signatures=registry.signatures,
            warning=base.notifications.warning,
        ),
        scope=scope,
        parent=parent,
    ).outputs
    source = promotion.source
    models = Models(
        "models",
        ModelsArgs(
            models={
                name: Model(description=spec.description, tags=plan.team_tags(environment, spec.team))
                for name, spec in registry.models.items()
            },
            bucket=base.storage[registry.model_zone],
            zone=registry.model_zone,
            approvers={name: base.personas.roles[name] for name in registry.approvers if name in base.personas.roles},
            readers=promotion.shared_with,
            source=Source(environment=source.environment, account=source.account) if source else None,
            boundary=base.boundary,
            warning=base.notifications.warning,
        ),
        scope=scope,
        parent=parent,
    ).outputs
    return contracts.Registry(images=images, models=models)
