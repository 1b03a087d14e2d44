"""Training: the table of contents. What is built, in which order, and what each part hands to the next."""

from collections.abc import Mapping

import pulumi

from components import contracts, plan
from components.core import in_cluster
from components.core.accelerators import machine
from components.core.fronts import fronts
from components.core.monitoring import Watched, counts, dashboard, training_alarms
from components.gcp.blocks.alarms import Alarms, AlarmsArgs
from components.gcp.data.file_systems import FileSystem, FileSystems, FileSystemsArgs
from components.gcp.foundation.cluster import Cluster, ClusterArgs
from components.gcp.operations.dashboard import Dashboard, DashboardArgs
from components.gcp.serving.doors import Doors, DoorsArgs, Way
from components.gcp.serving.pod import Place, Pod, PodArgs
from components.gcp.training.database import Database, DatabaseArgs
from components.gcp.training.pipelines import Pipelines, PipelinesArgs
from components.gcp.training.pools import Pools, PoolsArgs
from components.gcp.training.queues import Queues, QueuesArgs
from components.gcp.training.tracking import Tracking, TrackingArgs
from components.gcp.training.workbench import User, Workbench, WorkbenchArgs, Zone
from components.kubernetes.contracts import Located, Served, pod, served, wanted
from components.kubernetes.environment import InClusterArgs
from components.kubernetes.environment import build as build_in_cluster
from components.kubernetes.pods import listening
from components.kubernetes.training.tracking import ACCOUNT as TRACKING_ACCOUNT
from components.kubernetes.training.tracking import SPACE as TRACKING_SPACE
from components.scope import Scope
from components.spec.capacity import Capacity
from components.spec.endpoints import alarms
from components.spec.environment import Environment
from components.spec.foundation import Gcp, Persona
from components.spec.quotas import quotas
from components.spec.regions import GCP_REGIONS
from components.spec.serving import Container as Service
from components.spec.serving import Llm as LanguageModel
from components.spec.serving import RealTime

# What packs a model: Debian's slim image with Python and nothing else, by way of our own registry where there is one.
_PYTHON = "library/python:3.13.15-slim-bookworm"
_HUB = "docker.io"
# Personas that record experiments.
_EXPERIMENTERS = ("data-scientist", "ml-engineer")


def build(
    environment: Environment,
    place: Gcp,
    base: contracts.Foundation,
    registry: contracts.Registry,
    guardrails: contracts.Guardrails,
    prompts: contracts.Prompts | None,
    caches: Mapping[str, contracts.Cache],
    gateway: contracts.Gateway | None,
    *,
    scope: Scope,
    parent: pulumi.Resource,
) -> contracts.Training:
    """Build what trains models, as children of `parent`."""
    training, capacity, apis = environment.training, Capacity(environment, "gcp"), base.isolation.apis
    zones = environment.subnet_zones("gcp")

    cluster = _cluster(environment, place, base, scope, parent) if capacity.kubernetes else None
    queues = Queues(
        "queues",
        QueuesArgs(
            apis=apis,
            number=place.number,
            queues=capacity.queues,
            teams=list(training.teams),
            checkpoints={name: base.storage[name] for name in training.checkpoint_zones},
            readable={name: base.storage[name] for name in plan.readable(environment)},
            cluster=cluster,
            key=base.keys.domains["logs"],
        ),
        scope=scope,
        parent=parent,
    ).outputs
    file_systems = FileSystems(
        "file-systems",
        FileSystemsArgs(
            apis=apis,
            number=place.number,
            file_systems={
                name: FileSystem(
                    bucket=base.storage[spec.zone],
                    zone=spec.zone,
                    capacity_gib=spec.capacity_gib,
                    throughput=spec.throughput,
                    key=base.keys.domains["compute"] if spec.clients == "machines" else None,
                    place=spec.place or zones[0],
                    tags=plan.team_tags(environment, spec.team),
                )
                for name, spec in environment.here(environment.data.file_systems, "gcp").items()
            },
            network=base.network,
        ),
        scope=scope,
        parent=parent,
    ).outputs
    own_tracking: contracts.Tracking | None = None
    answers: Mapping[str, contracts.Endpoint] = {}
    labels: dict[str, dict[str, str]] = {}
    doors: contracts.Doors | None = None
    if cluster:
        doors = _doors(environment, base, cluster, gateway, scope, parent)
        pools = Pools(
            "pools",
            PoolsArgs(
                apis=apis,
                cluster=cluster,
                key=base.keys.domains["compute"],
                plans=capacity.pools,
                tags={name: plan.team_tags(environment, pool.team) for name, pool in capacity.pools.items()},
            ),
            scope=scope,
            parent=parent,
        ).outputs
        labels = {name: dict(flavor.labels) for name, flavor in pools.flavors.items()}
        inside = build_in_cluster(
            InClusterArgs(
                cluster=cluster,
                pools=pools,
                plans=capacity.pools,
                queues=capacity.queues,
                nominal=capacity.nominal(),
                teams=training.teams,
                distributed=training.distributed,
                annotations={
                    team: {"iam.gke.io/gcp-service-account": email} for team, email in queues.identities.items()
                },
                submitters=_groups(environment, "data-scientist", "ml-engineer"),
                readers=_groups(environment, "auditor"),
                mirrors=plan.stand_ins(environment, registry.images.mirrors),
                registries=[address for _, address in sorted(registry.images.repositories.items())],
                file_systems={
                    name: file_systems.volumes[name]
                    for name, spec in environment.here(environment.data.file_systems, "gcp").items()
                    if spec.clients == "cluster"
                },
                experiments=_experiments(environment, place, base, registry, cluster, scope, parent),
                endpoints=_served(environment, base, registry, guardrails, prompts, caches, cluster, scope, parent),
                doors=doors,
                tokens=environment.serving.tokens,
                controllers=in_cluster.controllers(environment, "gcp"),
            ),
            scope=scope,
            parent=parent,
        )
        own_tracking, answers = inside.tracking, inside.endpoints
    tracking = _tracking(environment, place, base, scope, parent)
    watched = Watched(
        region=place.region,
        prefix=scope.names.full(""),
        cluster=cluster.physical_name if cluster else None,
        pools=capacity.pools,
        labels=labels,
        queues=capacity.queues,
        needs=quotas(environment, "gcp"),
    )
    Alarms(
        "training-alarms",
        AlarmsArgs(
            apis=apis,
            alarms=training_alarms(watched),
            counts=counts(watched),
            critical=base.notifications.critical,
            warning=base.notifications.warning,
        ),
        scope=scope,
        parent=parent,
    )
    return contracts.Training(
        cluster=cluster,
        queues=queues,
        workbench=_workbench(environment, place, base, tracking, scope, parent),
        tracking=tracking.outputs if tracking else own_tracking,
        pipelines=_pipelines(environment, place, base, registry, tracking, scope, parent),
        file_systems=file_systems,
        dashboard=Dashboard(
            "training-dashboard",
            DashboardArgs(apis=apis, body=dashboard(watched, title=f"Training in {scope.environment}", links={})),
            scope=scope,
            parent=parent,
        ).outputs,
        served=answers,
        records=doors.records if doors else {},
        rows=doors.rows if doors else {},
    )


def _groups(environment: Environment, *personas: Persona) -> list[str]:
    """Addresses of personas' groups, where roles in the cluster may name them ("Configure Google Groups for RBAC", GKE)."""
    people = environment.identity.personas if environment.training.cluster.security_group else {}
    return [group for persona in personas if persona in people and (group := people[persona].group)]


def _cluster(
    environment: Environment, place: Gcp, base: contracts.Foundation, scope: Scope, parent: pulumi.Resource
) -> contracts.Cluster:
    cluster = environment.training.cluster
    return Cluster(
        "cluster",
        ClusterArgs(
            apis=base.isolation.apis,
            network=base.network,
            secrets_key=base.keys.domains["secrets"],
            compute_key=base.keys.domains["compute"],
            version=cluster.version,
            upgrades=cluster.upgrades,
            allow=cluster.allow,
            window=cluster.window,
            system=cluster.system,
            zones=GCP_REGIONS[place.region].zones,
            security_group=cluster.security_group,
            groups={persona: access.group for persona, access in environment.identity.personas.items()},
            lustre=bool(environment.here(environment.data.file_systems, "gcp")),
            impersonate=place.impersonate,
            generation=place.generation,
        ),
        scope=scope,
        parent=parent,
    ).outputs


def _served(
    environment: Environment,
    base: contracts.Foundation,
    registry: contracts.Registry,
    guardrails: contracts.Guardrails,
    prompts: contracts.Prompts | None,
    caches: Mapping[str, contracts.Cache],
    cluster: contracts.Cluster,
    scope: Scope,
    parent: pulumi.Resource,
) -> dict[str, Served]:
    """What answers in the cluster, by name, with what the cloud has made for each."""

    def place(at: Located) -> Place:
        return Place(zone=at.zone, bucket=base.storage[at.zone], path=at.path)

    found: dict[str, Served] = {}
    entries = plan.entries(caches)
    for name, endpoint in wanted(environment, "gcp").items():
        args = PodArgs(
            apis=base.isolation.apis,
            cluster=cluster,
            pod=endpoint.pod,
            reads={what: place(at) for what, at in endpoint.reads.items()},
            writes=place(endpoint.writes) if endpoint.writes else None,
            prompts=prompts if isinstance(endpoint.spec, LanguageModel) else None,
            guardrail=isinstance(endpoint.spec, LanguageModel) and endpoint.spec.guardrail is not None,
            cache=entries.get(name),
        )
        found[name] = served(
            endpoint,
            Pod(name, args, scope=scope, parent=parent).outputs,
            image=plan.image(endpoint.model.image, "gcp", registry.images.repositories),
            storage=base.storage,
            guardrails=guardrails,
            cache=entries.get(name),
        )
    return found


def _doors(
    environment: Environment,
    base: contracts.Foundation,
    cluster: contracts.Cluster,
    gateway: contracts.Gateway | None,
    scope: Scope,
    parent: pulumi.Resource,
) -> contracts.Doors | None:
    """The ways from the internet to endpoints of the cluster."""
    known, domain, told = fronts(environment, "gcp", "kubernetes"), environment.serving.domain, base.notifications
    if not known or gateway is None or domain is None:
        return None
    ways: dict[str, Way] = {}
    for name, front in known.items():
        spec = environment.serving.endpoints[name]
        assert isinstance(spec, RealTime | Service)  # noqa: S101  nothing else in a cluster has an `api`
        ways[name] = Way(
            front=front,
            space=pod(name, spec)[0],
            container=listening(name, spec).container,
            kind=spec.kind,
            owner=spec.team,
            alarms=alarms(spec),
            fixed=spec.scale.min == spec.scale.max,
            team=told.teams.get(spec.team, ()),
        )
    args = DoorsArgs(
        apis=base.isolation.apis,
        ways=ways,
        gateway=gateway,
        cluster=cluster,
        zone=domain.zone.get("gcp"),
        critical=told.critical,
        warning=told.warning,
    )
    return Doors("doors", args, scope=scope, parent=parent).outputs


def _tracking(
    environment: Environment, place: Gcp, base: contracts.Foundation, scope: Scope, parent: pulumi.Resource
) -> Tracking | None:
    spec = environment.training.tracking
    if spec is None or spec.server != "managed":
        return None
    people = environment.identity.personas
    args = TrackingArgs(
        apis=base.isolation.apis,
        key=base.keys.domains["models"],
        groups={name: group for name in _EXPERIMENTERS if name in people and (group := people[name].group)},
        generation=place.generation,
    )
    return Tracking("tracking", args, scope=scope, parent=parent)


def _experiments(
    environment: Environment,
    place: Gcp,
    base: contracts.Foundation,
    registry: contracts.Registry,
    cluster: contracts.Cluster,
    scope: Scope,
    parent: pulumi.Resource,
) -> tuple[contracts.Database, pulumi.Input[str]] | None:
    """Database and image of a tracking server of our own."""
    spec = environment.training.tracking
    if spec is None or spec.server != "kubernetes":
        return None
    args = DatabaseArgs(
        apis=base.isolation.apis,
        size=spec.database.size,
        disk_gib=spec.database.disk_gib,
        max_disk_gib=spec.database.max_disk_gib,
        network=base.network,
        cluster=cluster,
        pod=(TRACKING_SPACE, TRACKING_ACCOUNT),
        bucket=base.storage[spec.zone],
        zone=spec.zone,
        key=base.keys.domains["data"],
        generation=place.generation,
    )
    database = Database("tracking-database", args, scope=scope, parent=parent).outputs
    return database, plan.image(spec.image, "gcp", registry.images.repositories)


def _workbench(
    environment: Environment,
    place: Gcp,
    base: contracts.Foundation,
    tracking: Tracking | None,
    scope: Scope,
    parent: pulumi.Resource,
) -> contracts.Workbench | None:
    spec = environment.training.workbench
    if spec is None:
        return None
    args = WorkbenchArgs(
        apis=base.isolation.apis,
        users={
            name: User(
                persona=user.persona,
                email=user.email,
                machine=user.machine,
                tags=plan.team_tags(environment, user.team),
            )
            for name, user in spec.users.items()
        },
        idle_hours=spec.idle_hours,
        machines=[found for type_ in spec.machines.gcp if (found := machine("gcp", type_))],
        disk_gib=spec.disk_gib,
        zones={
            name: Zone(bucket=base.storage[name], readers=zone.readers, writers=zone.writers)
            for name, zone in environment.data.zones.items()
            if name != environment.data.access_log_zone
        },
        network=base.network,
        zone=environment.subnet_zones("gcp")[0],
        key=base.keys.domains["compute"],
        record=tracking.record if tracking else None,
        generation=place.generation,
    )
    return Workbench("workbench", args, scope=scope, parent=parent).outputs


def _pipelines(
    environment: Environment,
    place: Gcp,
    base: contracts.Foundation,
    registry: contracts.Registry,
    tracking: Tracking | None,
    scope: Scope,
    parent: pulumi.Resource,
) -> contracts.Pipelines:
    mine = environment.here(environment.training.pipelines, "gcp")
    if not mine:
        return contracts.Pipelines(ids={})
    args = PipelinesArgs(
        apis=base.isolation.apis,
        number=place.number,
        runs=plan.runs(environment, "gcp", registry.images.repositories),
        tags={name: plan.team_tags(environment, pipeline.team) for name, pipeline in mine.items()},
        zones=base.storage,
        model_zone=environment.registry.model_zone,
        candidates=registry.models.candidates,
        python=pulumi.Output.concat(registry.images.mirrors.get(_HUB, _HUB), f"/{_PYTHON}"),
        network=base.network,
        key=base.keys.domains["models"],
        tracking=tracking.outputs if tracking else None,
        record=tracking.record if tracking else None,
        warning=base.notifications.warning,
        generation=place.generation,
    )
    return Pipelines("pipelines", args, scope=scope, parent=parent).outputs
