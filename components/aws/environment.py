"""AWS: the table of contents. What is built, in which order, and what each part hands to the next."""

from collections.abc import Mapping, Sequence
from typing import cast

import pulumi
import pulumi_aws as aws

from components import contracts, plan
from components.aws.cost.budgets import Budgets, BudgetsArgs
from components.aws.data.storage import AccessLogs, Storage, StorageArgs
from components.aws.foundation.boundary import Boundary, BoundaryArgs
from components.aws.foundation.delivery import Delivery, DeliveryArgs
from components.aws.foundation.isolation import Isolation, IsolationArgs
from components.aws.foundation.keys import Keys, KeysArgs
from components.aws.foundation.network import ANYWHERE, Feature, Network, NetworkArgs
from components.aws.foundation.personas import Personas, PersonasArgs, Secret, Zone
from components.aws.foundation.quotas import Quotas, QuotasArgs
from components.aws.foundation.secrets import Secrets, SecretsArgs
from components.aws.operations.notifications import Notifications, NotificationsArgs
from components.aws.registry import contents as registry
from components.aws.registry.models import shared
from components.aws.retrieval import contents as retrieval
from components.aws.retrieval.prompts import PREFIX, statements
from components.aws.serving import contents as serving
from components.aws.training import contents as training
from components.contracts import Domain
from components.core import iam
from components.core.addresses import share
from components.core.answering import PRIVATE
from components.core.fronts import delivers_logs, fronts
from components.scope import PROJECT, Scope, opened
from components.spec.capacity import Capacity
from components.spec.endpoints import answering
from components.spec.environment import Environment
from components.spec.foundation import Aws
from components.spec.images import own_repository
from components.spec.quotas import quotas


def build(environment: Environment, *, parent: pulumi.Resource) -> contracts.Environment:
    """Build the environment on AWS, as children of `parent`."""
    place = cast("Aws", environment.cloud.aws)
    root = pulumi.ComponentResource(
        f"{PROJECT}:aws:Environment", environment.name, None, pulumi.ResourceOptions(parent=parent)
    )
    scope = _scope(environment, place, root)

    keys = Keys(
        "keys",
        KeysArgs(
            rotation_days=environment.keys.rotation_days,
            deletion_days=environment.keys.deletion_days,
            readers=_readers(environment),
        ),
        scope=scope,
        parent=root,
    ).outputs
    isolation = Isolation(
        "isolation", IsolationArgs(compute_key=keys.domains["compute"]), scope=scope, parent=root
    ).outputs
    boundary = Boundary(
        "boundary", BoundaryArgs(deployer=scope.names.of("deploy", "iam_role")), scope=scope, parent=root
    ).outputs
    network = Network(
        "network",
        NetworkArgs(
            features=_features(environment),
            private=[
                endpoint for name in environment.here(environment.serving.services, "aws") for endpoint in PRIVATE[name]
            ],
            cidr=share(environment.network.cidr, environment.cloud.names)["aws"],
            zones=environment.subnet_zones("aws"),
            nat=environment.network.nat,
            egress=environment.network.egress,
            public=bool(fronts(environment, "aws")),
            allow=environment.network.allow,
            endpoints=environment.network.private_services,
            flow_logs=environment.network.flow_logs,
            logs_key=keys.domains["logs"],
            boundary=boundary,
            organization=place.organization,
        ),
        scope=scope,
        parent=root,
    )
    webhook = environment.operations.webhook
    notifications = Notifications(
        "notifications",
        NotificationsArgs(
            critical=environment.operations.critical or environment.budget.notify,
            warning=environment.operations.warning or environment.budget.notify,
            teams=plan.told(environment, "aws"),
            webhook=opened(webhook) if webhook else None,
            key=keys.domains["logs"],
        ),
        scope=scope,
        parent=root,
    ).outputs
    storage = _storage(environment, place, keys, boundary, notifications, scope, root)
    secrets = Secrets(
        "secrets",
        SecretsArgs(
            secrets=plan.secrets(environment),
            key=keys.domains["secrets"],
            logs_key=keys.domains["logs"],
            network=network.outputs,
            reach=network.outputs.cidr if "secretsmanager" in network.endpoints else ANYWHERE,
            boundary=boundary,
            warning=notifications.warning,
            organization=place.organization,
            recovery_days=0 if scope.deletable else environment.keys.deletion_days,
        ),
        scope=scope,
        parent=root,
    ).outputs
    personas = Personas(
        "personas",
        PersonasArgs(
            permission_sets={
                persona: access.permission_set
                for persona, access in environment.identity.personas.items()
                if access.permission_set
            },
            session_hours=environment.identity.session_hours,
            teams=sorted(environment.training.teams) if "batch" in _features(environment) else [],
            training_images=[own] if (own := own_repository(environment.training.image)) else [],
            zones=[
                Zone(bucket=storage[name], key=keys.domains[zone.key], readers=zone.readers, writers=zone.writers)
                for name, zone in environment.data.zones.items()
            ],
            secrets=[Secret(id=secrets.ids[name], readers=spec.readers) for name, spec in environment.secrets.items()],
            secrets_key=keys.domains["secrets"],
            boundary=boundary,
        ),
        scope=scope,
        parent=root,
    ).outputs
    delivery = _delivery(environment, keys, secrets, boundary, scope, root)
    base = contracts.Foundation(
        isolation=isolation,
        keys=keys,
        boundary=boundary,
        network=network.outputs,
        storage=storage,
        secrets=secrets,
        personas=personas,
        delivery=delivery,
        notifications=notifications,
    )
    requested = Quotas("quotas", QuotasArgs(needs=quotas(environment, "aws")), scope=scope, parent=root).outputs
    budgets = Budgets("budgets", _budgets(environment, scope, notifications), scope=scope, parent=root).outputs

    registered = registry.build(environment, place, base, scope=scope, parent=root)
    guardrails = retrieval.guard(environment, base, scope=scope, parent=root)
    caches = serving.caches(environment, base, scope=scope, parent=root)
    gateway = serving.front(environment, base, scope=scope, parent=root)
    trained = training.build(
        environment, place, base, registered, guardrails, caches, gateway, scope=scope, parent=root
    )
    grounded = retrieval.build(environment, base, trained, guardrails, scope=scope, parent=root)
    built = contracts.Environment(
        region=place.region,
        foundation=base,
        registry=registered,
        training=trained,
        serving=serving.build(
            environment, place, base, registered, trained, grounded, caches, gateway, scope=scope, parent=root
        ),
        retrieval=grounded,
        quotas=requested,
        budgets=budgets,
    )
    root.register_outputs(built.exports())
    return built


def _scope(environment: Environment, place: Aws, root: pulumi.Resource) -> Scope:
    replica = plan.replica_region(environment, "aws", place)
    tags = plan.tags(environment)
    return plan.scope(
        environment,
        "aws",
        place,
        provider=_provider("aws", place, place.region, tags, root),
        replica_provider=_provider("aws-replica", place, replica, tags, root) if replica else None,
    )


def _provider(name: str, place: Aws, region: str, tags: Mapping[str, str], root: pulumi.Resource) -> aws.Provider:
    # Argument classes: a provider's plain dictionaries keep their keys as they are, which the engine does not know.
    role = place.assume_role
    return aws.Provider(
        name,
        region=region,
        # Credentials of another account fail before anything is changed.
        allowed_account_ids=[place.account],
        assume_roles=[aws.ProviderAssumeRoleArgs(role_arn=role, session_name=PROJECT)] if role else None,
        default_tags=aws.ProviderDefaultTagsArgs(tags=tags),
        # EKS and load balancers write these onto subnets; without it every preview would want to take them away.
        ignore_tags=aws.ProviderIgnoreTagsArgs(key_prefixes=["kubernetes.io/cluster/"]),
        opts=pulumi.ResourceOptions(parent=root),
    )


def _features(environment: Environment) -> list[Feature]:
    """What calls AWS from inside the network, and needs its endpoints where ways out are closed."""
    capacity, corpora = Capacity(environment, "aws"), environment.here(environment.retrieval.corpora, "aws")
    there: dict[Feature, bool] = {
        "cluster": capacity.kubernetes,
        "doors": bool(fronts(environment, "aws", "kubernetes")),
        "batch": any(pool.scheduler == "batch" for pool in capacity.pools.values()),
        "notebooks": environment.training.workbench is not None,
        "serving": bool(fronts(environment, "aws"))
        or any(spec.kind in {"function", "container"} for spec in answering(environment, "aws").values()),
        "retrieval": bool(corpora) or plan.prompted(environment, "aws"),
        "database": any(corpus.store == "database" for corpus in corpora.values()),
    }
    return [feature for feature, wanted in there.items() if wanted]


def _readers(environment: Environment) -> Mapping[Domain, Sequence[str]]:
    """Other accounts that read models, by the domain of the key that encrypts those."""
    models = environment.registry
    return {environment.data.zones[models.model_zone].key: models.promotion.aws.shared_with}


def _storage(
    environment: Environment,
    place: Aws,
    keys: contracts.Keys,
    boundary: contracts.Boundary,
    notifications: contracts.Notifications,
    scope: Scope,
    root: pulumi.Resource,
) -> dict[str, contracts.Storage]:
    """The storage zones in the order of the description; the one that receives access logs is made first."""

    def zone(name: str, logs: AccessLogs | None) -> Storage:
        spec, models = environment.data.zones[name], environment.registry
        readers = models.promotion.aws.shared_with if name == models.model_zone and models.models else []
        marker = f"arn:aws:iam::{scope.account}:role/{scope.names.of('models-approval', 'iam_role')}"
        return Storage(
            name,
            StorageArgs(
                key=keys.domains[spec.key],
                access_logs=logs,
                replicate=environment.data.replicate,
                boundary=boundary,
                warning=notifications.warning,
                organization=place.organization,
                readers=readers,
                statements=[
                    *(shared(scope.names.of(name, "bucket"), marker, readers) if readers else []),
                    *_prompted(environment, name, scope),
                    *_delivered(environment, name, scope),
                ],
                events=name in plan.document_zones(environment, "aws"),
                tags=plan.zone_tags(environment, name),
                cool_after_days=spec.cool_after_days,
                expire_after_days=spec.expire_after_days,
                expiries=environment.expiries(name),
                # Nobody can delete a prompt, so there is nothing to have back; and `prompt_days` is what it says.
                forgotten=[f"{PREFIX}/"] if name == environment.retrieval.prompt_zone else [],
                old_versions_days=spec.old_versions_days,
                old_versions_kept=plan.kept_versions(environment, name),
            ),
            scope=scope,
            parent=root,
        )

    first = environment.data.access_log_zone
    logs = zone(first, None)
    others = {name: zone(name, logs.access_logs).outputs for name in environment.data.zones if name != first}
    return {name: logs.outputs if name == first else others[name] for name in environment.data.zones}


def _delivered(environment: Environment, zone: str, scope: Scope) -> Sequence[iam.Statement]:
    """What the zone of access logs says besides, where a gateway writes there."""
    if zone != environment.data.access_log_zone or not fronts(environment, "aws"):
        return []
    return [delivers_logs(scope.names.of(zone, "bucket"), scope.account)]


def _prompted(environment: Environment, zone: str, scope: Scope) -> Sequence[iam.Statement]:
    """What the zone of prompts says besides, where any are logged."""
    retrieval = environment.retrieval
    if zone != retrieval.prompt_zone or not plan.prompted(environment, "aws"):
        return []
    bucket = scope.names.of(zone, "bucket")
    return statements(
        bucket,
        scope.account,
        scope.region,
        scope.names,
        retrieval.prompt_readers,
        asked=plan.asked(environment, "aws"),
        endpoints=plan.keeping(environment, "aws"),
    )


def _delivery(
    environment: Environment,
    keys: contracts.Keys,
    secrets: contracts.Secrets,
    boundary: contracts.Boundary,
    scope: Scope,
    root: pulumi.Resource,
) -> contracts.Delivery | None:
    github = environment.delivery.github
    if github is None:
        return None
    written = [name for name, spec in environment.secrets.items() if spec.kind == "provided" and spec.value]
    return Delivery(
        "delivery",
        DeliveryArgs(
            repository=github.subject,
            github_environment=github.environment or environment.name,
            keys={str(domain): key for domain, key in keys.domains.items()},
            values=[secrets.ids[name] for name in written],
            boundary=boundary,
        ),
        scope=scope,
        parent=root,
    ).outputs


def _budgets(environment: Environment, scope: Scope, notifications: contracts.Notifications) -> BudgetsArgs:
    budget = environment.budget
    return BudgetsArgs(
        monthly_usd=budget.monthly_usd,
        notify=budget.notify,
        actual_percent=budget.actual_percent,
        forecast_percent=budget.forecast_percent,
        teams=plan.shares(environment),
        topic=notifications.cost_topic,
        activate_tags=[*scope.tags, "team", "feature"] if environment.cost.activate_tags else [],
    )
