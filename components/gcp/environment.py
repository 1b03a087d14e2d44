"""Google Cloud: the table of contents. What is built, in which order, and what each part hands to the next."""

from collections.abc import Mapping
from typing import cast

import pulumi
import pulumi_gcp as gcp

from components import contracts, plan
from components.contracts import Domain
from components.core.addresses import share
from components.core.google import DualRegion, dual_region, labels
from components.gcp.blocks import ceilings
from components.gcp.cost.budgets import Budgets, BudgetsArgs
from components.gcp.data.storage import Storage, StorageArgs
from components.gcp.foundation.boundary import Boundary, BoundaryArgs
from components.gcp.foundation.delivery import Delivery, DeliveryArgs
from components.gcp.foundation.isolation import Isolation, IsolationArgs
from components.gcp.foundation.keys import Keys, KeysArgs
from components.gcp.foundation.network import Network, NetworkArgs
from components.gcp.foundation.personas import Personas, PersonasArgs, Secret, Zone, role_id
from components.gcp.foundation.quotas import Quotas, QuotasArgs
from components.gcp.foundation.secrets import Secrets, SecretsArgs
from components.gcp.operations.notifications import Notifications, NotificationsArgs
from components.gcp.registry import contents as registry
from components.gcp.retrieval import ask, corpora, prompts
from components.gcp.retrieval import contents as retrieval
from components.gcp.serving import contents as serving
from components.gcp.serving import releases, services
from components.gcp.training import contents as training
from components.gcp.training import pipelines, tracking
from components.scope import PROJECT, Scope, opened
from components.spec.endpoints import answering, where
from components.spec.environment import Environment
from components.spec.foundation import Gcp
from components.spec.models import Foundation
from components.spec.quotas import quotas
from components.spec.regions import GCP_REGIONS

# Roles of Google's that the program grants on the project, and to whom. The deployer may grant these and no others.
_GRANTED: Mapping[str, str] = {
    "roles/modelarmor.user": "who answers questions, on what is let through",
    "roles/bigquery.jobUser": "readers of prompts",
    "roles/memorystore.dbConnectionUser": "clients of caches",
    "roles/memorystore.serviceAgent": "agents of Google's services",
    "roles/logging.logWriter": "notebooks, pipelines, the builder of functions",
    "roles/logging.viewAccessor": "people, on the logs of the cluster",
    "roles/monitoring.metricWriter": "jobs, notebooks, pipelines",
    "roles/storage.objectViewer": "the builder of functions, on its sources",
    "roles/cloudsql.instanceUser": "the server of experiments, and what fills and asks corpora, each on its database",
    "roles/workflows.invoker": "what starts pipelines",
    "roles/artifactregistry.reader": "machines of the cluster",
    "roles/container.defaultNodeServiceAccount": "machines of the cluster",
    "roles/container.admin": "platform administrators",
    "roles/container.clusterViewer": "everybody else",
    "roles/containeranalysis.occurrences.editor": "whoever vouches for images",
    **{
        f"roles/{service}.serviceAgent": "agents of Google's services"
        for service in (
            "aiplatform", "artifactregistry", "cloudfunctions", "container", "eventarc", "notebooks", "pubsub", "run",
            "workflows",
        )
    },
}  # fmt: skip


def build(environment: Environment, *, parent: pulumi.Resource) -> contracts.Environment:
    """Build the environment on Google Cloud, as children of `parent`."""
    place = cast("Gcp", environment.cloud.gcp)
    root = pulumi.ComponentResource(
        f"{PROJECT}:gcp:Environment", environment.name, None, pulumi.ResourceOptions(parent=parent)
    )
    scope = _scope(environment, place, root)
    dual = _dual_region(scope)

    isolation = Isolation(
        "isolation",
        IsolationArgs(
            organization=place.organization,
            perimeter=place.access_policy is not None and environment.network.perimeter != "off",
            locations=_locations(place.region),
            models=_models(environment),
        ),
        scope=scope,
        parent=root,
    ).outputs
    apis = isolation.apis
    keys = Keys(
        "keys",
        KeysArgs(
            number=place.number,
            apis=apis,
            protection_level=environment.keys.protection_level,
            rotation_days=environment.keys.rotation_days,
            deletion_days=environment.keys.deletion_days,
            generation=place.generation,
            users=_key_users(environment),
            copies=_copies(environment, scope, dual),
        ),
        scope=scope,
        parent=root,
    ).outputs
    delivery = _delivery(environment, place, apis, scope, root)
    deployers = [place.impersonate, delivery.deploy if delivery else None]
    boundary = Boundary(
        "boundary",
        BoundaryArgs(
            project=apis["iam.googleapis.com"],
            organization=place.organization,
            deployers=[deployer for deployer in deployers if deployer is not None],
        ),
        scope=scope,
        parent=root,
    ).outputs
    network = Network(
        "network",
        NetworkArgs(
            apis=apis,
            number=place.number,
            cidr=share(environment.network.cidr, environment.cloud.names)["gcp"],
            nat=environment.network.nat,
            egress=environment.network.egress,
            allow=environment.network.allow,
            flow_logs=environment.network.flow_logs,
            connects=_connects(environment),
            access_policy=place.access_policy,
            perimeter=environment.network.perimeter,
            generation=place.generation,
        ),
        scope=scope,
        parent=root,
    ).outputs
    webhook = environment.operations.webhook
    notifications = Notifications(
        "notifications",
        NotificationsArgs(
            apis=apis,
            critical=environment.operations.critical or environment.budget.notify,
            warning=environment.operations.warning or environment.budget.notify,
            cost=environment.budget.notify,
            teams=plan.told(environment, "gcp"),
            webhook=opened(webhook) if webhook else None,
            key=keys.domains["logs"],
        ),
        scope=scope,
        parent=root,
    ).outputs
    storage = _storage(environment, apis, keys, dual, scope, root)
    secrets = Secrets(
        "secrets",
        SecretsArgs(
            apis=apis,
            number=place.number,
            secrets=plan.secrets(environment),
            key=keys.domains["secrets"],
            compute_key=keys.domains["compute"],
            # Only where ways out are closed: Google holds on to the function's addresses for hours after it is gone, and
            # the subnet could not be deleted with it.
            network=network if environment.network.egress == "deny" else None,
            logs=storage[environment.data.access_log_zone].name,
            warning=notifications.warning,
            recovery_days=0 if scope.deletable else environment.keys.deletion_days,
        ),
        scope=scope,
        parent=root,
    ).outputs
    personas = Personas(
        "personas",
        PersonasArgs(
            apis=apis,
            groups={persona: access.group for persona, access in environment.identity.personas.items()},
            zones={
                name: Zone(bucket=storage[name], readers=zone.readers, writers=zone.writers)
                for name, zone in environment.data.zones.items()
            },
            secrets={
                name: Secret(id=secrets.ids[name], readers=spec.readers) for name, spec in environment.secrets.items()
            },
            queries=[*plan.capture_readers(environment, "gcp")],
            generation=place.generation,
        ),
        scope=scope,
        parent=root,
    ).outputs
    base = contracts.Foundation(
        isolation=isolation,
        keys=keys,
        boundary=boundary,
        network=network,
        storage=storage,
        secrets=secrets,
        personas=personas,
        delivery=delivery,
        notifications=notifications,
    )
    requested = Quotas(
        "quotas",
        QuotasArgs(apis=apis, needs=quotas(environment, "gcp"), contact=environment.company.owner),
        scope=scope,
        parent=root,
    ).outputs
    budgets = Budgets("budgets", _budgets(environment, place, apis, notifications), scope=scope, parent=root).outputs

    registered = registry.build(environment, place, base, scope=scope, parent=root)
    guardrails = retrieval.guard(environment, place, base, scope=scope, parent=root)
    released = serving.release(environment, place, base, scope=scope, parent=root)
    kept = retrieval.keep(environment, place, base, released, scope=scope, parent=root)
    caches = serving.caches(environment, base, scope=scope, parent=root)
    answered = serving.answer(
        environment, place, base, registered, guardrails, released, caches, scope=scope, parent=root
    )
    trained = training.build(
        environment, place, base, registered, guardrails, kept, caches, answered.gateway, scope=scope, parent=root
    )
    grounded = retrieval.build(environment, place, base, trained, guardrails, scope=scope, parent=root)
    built = contracts.Environment(
        region=place.region,
        foundation=base,
        registry=registered,
        training=trained,
        serving=serving.build(environment, place, base, trained, grounded, answered, scope=scope, parent=root),
        retrieval=grounded,
        quotas=requested,
        budgets=budgets,
    )
    root.register_outputs(built.exports())
    return built


def _scope(environment: Environment, place: Gcp, root: pulumi.Resource) -> Scope:
    provider = gcp.Provider(
        "gcp",
        project=place.project,
        region=place.region,
        default_labels=labels(plan.tags(environment)),
        add_pulumi_attribution_label=False,
        # Calls are counted on the environment's own project: budgets and organisation policies are refused without it.
        user_project_override=True,
        billing_project=place.project,
        impersonate_service_account=place.impersonate,
        opts=pulumi.ResourceOptions(parent=root),
    )
    return plan.scope(environment, "gcp", place, provider=provider)


def _dual_region(scope: Scope) -> DualRegion | None:
    """Where the buckets lie that have a copy."""
    multi_region = GCP_REGIONS[scope.region].multi_region
    if scope.replica_region is None or multi_region is None:
        return None
    return dual_region(scope.region, scope.replica_region, multi_region)


def _locations(region: str) -> tuple[str, ...]:
    """Where organisation policies let resources be: on the region's continent, or in the region where it has no pair."""
    multi_region = GCP_REGIONS[region].multi_region
    return (f"in:{(multi_region or region).lower()}-locations",)


def _models(environment: Environment) -> list[str]:
    """Models of publishers that something calls: the endpoints that are one, and what turns documents into vectors."""
    endpoints = (getattr(spec, "model", None) for spec in answering(environment, "gcp").values())
    corpora = environment.here(environment.retrieval.corpora, "gcp").values()
    return [
        *(model.gcp for model in endpoints if isinstance(model, Foundation) and model.gcp),
        *(f"publishers/google/models/{spec.embedding.gcp}" for spec in corpora),
    ]


def _copies(environment: Environment, scope: Scope, dual: DualRegion | None) -> dict[Domain, str]:
    """The domains that need a key in a second location, and where."""
    copies: dict[Domain, str] = {}
    if dual is not None:
        zones = (zone for name, zone in environment.data.zones.items() if name != environment.data.access_log_zone)
        copies |= {zone.key: dual.key_location for zone in zones}
    if scope.replica_region is not None:
        copies["secrets"] = scope.replica_region
    return copies


def _connects(environment: Environment) -> list[str]:
    """Classes of services with endpoints in the network: caches, and endpoints of Vertex AI in prod."""
    caches = environment.here(environment.serving.caches, "gcp")
    hosted = [spec for spec in answering(environment, "gcp").values() if spec.kind == "realtime"]
    vertex = environment.tier == "prod" and any(where(spec) == "managed" for spec in hosted)
    return [*(["gcp-memorystore"] if caches else []), *(["gcp-vertexai"] if vertex else [])]


def _key_users(environment: Environment) -> dict[Domain, list[str]]:
    """Services that encrypt only where there is something for them: their agents come with their first use."""
    found: dict[Domain, list[str]] = {}
    if plan.captures(environment, "gcp") or plan.prompted(environment, "gcp"):
        found["logs"] = ["bigquery.googleapis.com"]
    if environment.here(environment.serving.caches, "gcp"):
        found["data"] = ["memorystore.googleapis.com"]
    stores = {"vectors": "vectorsearch.googleapis.com", "database": "sqladmin.googleapis.com"}
    for corpus in environment.here(environment.retrieval.corpora, "gcp").values():
        found.setdefault(environment.data.zones[corpus.source].key, []).append(stores[corpus.store])
    tracking = environment.training.tracking
    if tracking is not None and tracking.server == "kubernetes":
        found.setdefault("data", []).append(stores["database"])
    # Each once: a key has one grant for each of its users.
    return {domain: list(dict.fromkeys(users)) for domain, users in found.items()}


def _storage(
    environment: Environment,
    apis: Mapping[str, contracts.Text],
    keys: contracts.Keys,
    dual: DualRegion | None,
    scope: Scope,
    root: pulumi.Resource,
) -> dict[str, contracts.Storage]:
    """The storage zones in the order of the description; the one that receives access logs is made first."""
    first = environment.data.access_log_zone

    def zone(name: str, logs: contracts.Text | None) -> contracts.Storage:
        spec = environment.data.zones[name]
        args = StorageArgs(
            apis=apis,
            zone=name,
            key=keys.domains[spec.key],
            dual_region=None if name == first else dual,
            logs=logs,
            cool_after_days=spec.cool_after_days,
            expire_after_days=spec.expire_after_days,
            expiries=environment.expiries(name),
            old_versions_days=spec.old_versions_days,
            old_versions_kept=plan.kept_versions(environment, name),
            tags=plan.zone_tags(environment, name),
        )
        return Storage(name, args, scope=scope, parent=root).outputs

    logs = zone(first, None)
    return {name: logs if name == first else zone(name, logs.name) for name in environment.data.zones}


def _delivery(
    environment: Environment,
    place: Gcp,
    apis: Mapping[str, contracts.Text],
    scope: Scope,
    root: pulumi.Resource,
) -> contracts.Delivery | None:
    github = environment.delivery.github
    if github is None:
        return None
    roles = [
        *(role_id(scope.names, persona, place.generation) for persona in environment.identity.personas),
        *(made(scope.names, place.generation) for made in (pipelines.role_id, tracking.role_id)),
        *releases.role_ids(scope.names, place.generation).values(),
        *(corpora.role_id(scope.names, place.generation, role) for role in ("documents", "ingestion")),
        ask.role_id(scope.names, place.generation),
        prompts.role_id(scope.names, place.generation),
        *(
            services.role_id(scope.names, name, place.generation)
            for name in environment.here(environment.serving.services, "gcp")
        ),
        *(
            [ceilings.role_id(scope.names, place.generation)]
            if environment.here(environment.serving.services, "gcp")
            else []
        ),
    ]
    return Delivery(
        "delivery",
        DeliveryArgs(
            apis=apis,
            number=place.number,
            repository=github.repository,
            repository_id=github.repository_id,
            environment=github.environment or environment.name,
            grantable=[*_GRANTED, *(f"projects/{place.project}/roles/{role}" for role in roles)],
            generation=place.generation,
        ),
        scope=scope,
        parent=root,
    ).outputs


def _budgets(
    environment: Environment, place: Gcp, apis: Mapping[str, contracts.Text], notifications: contracts.Notifications
) -> BudgetsArgs:
    budget = environment.budget
    return BudgetsArgs(
        apis=apis,
        number=place.number,
        billing_account=place.billing_account,
        monthly_usd=budget.monthly_usd,
        actual_percent=budget.actual_percent,
        forecast_percent=budget.forecast_percent,
        teams=plan.shares(environment),
        channels=notifications.cost,
        topic=notifications.cost_topic,
    )
