"""Training: the table of contents. What is built, in which order, and what each part hands to the next."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from components import contracts, plan
from components.aws.blocks.alarms import Alarms, AlarmsArgs
from components.aws.blocks.way import Way, WayArgs
from components.aws.data.file_systems import FileSystem, FileSystems, FileSystemsArgs
from components.aws.data.storage import AccessLogs, Storage, StorageArgs
from components.aws.foundation.autoscaler import Autoscaler, AutoscalerArgs
from components.aws.foundation.cluster import Cluster, ClusterArgs
from components.aws.operations.dashboard import Dashboard, DashboardArgs
from components.aws.retrieval.prompts import folder
from components.aws.serving.doors import Doors, DoorsArgs
from components.aws.serving.doors import Way as DoorWay
from components.aws.serving.pod import Guard as PodGuard
from components.aws.serving.pod import Place, Pod, PodArgs
from components.aws.training.database import Database, DatabaseArgs
from components.aws.training.hyperpod import HyperPod, HyperPodArgs
from components.aws.training.pipelines import Pipelines, PipelinesArgs
from components.aws.training.pools import Pools, PoolsArgs
from components.aws.training.queues import Queues, QueuesArgs, Team
from components.aws.training.tracking import Tracking, TrackingArgs
from components.aws.training.verifier import Verifier, VerifierArgs
from components.aws.training.workbench import User, Workbench, WorkbenchArgs
from components.aws.training.workbench import Zone as WorkbenchZone
from components.core.cloudwatch import Watched, dashboard, training_alarms
from components.core.fronts import fronts
from components.core.in_cluster import watched as watched_here
from components.kubernetes.contracts import Located, Served, Verification, pod, served, wanted
from components.kubernetes.environment import InClusterArgs
from components.kubernetes.environment import build as build_in_cluster
from components.kubernetes.pods import listening
from components.kubernetes.training.tracking import ACCOUNT as TRACKING_ACCOUNT
from components.kubernetes.training.tracking import SPACE as TRACKING_SPACE
from components.scope import Scope
from components.spec.capacity import Capacity, PoolPlan
from components.spec.endpoints import alarms
from components.spec.environment import Environment
from components.spec.foundation import Aws
from components.spec.quotas import quotas, system_machine
from components.spec.serving import Container as Service
from components.spec.serving import Llm as LanguageModel
from components.spec.serving import RealTime


def build(
    environment: Environment,
    place: Aws,
    base: contracts.Foundation,
    registry: contracts.Registry,
    guardrails: contracts.Guardrails,
    caches: Mapping[str, contracts.Cache],
    gateway: contracts.Gateway | None,
    *,
    scope: Scope,
    parent: pulumi.Resource,
) -> contracts.Training:
    """Build what trains models, as children of `parent`."""
    training, capacity = environment.training, Capacity(environment, "aws")
    zones = environment.subnet_zones("aws")
    mirrors = plan.stand_ins(environment, registry.images.mirrors)

    cluster = _cluster(environment, place, base, zones, scope, parent) if capacity.kubernetes else None
    queues = Queues(
        "queues",
        QueuesArgs(
            pools=capacity.pools,
            queues=capacity.queues,
            teams={
                team: Team(share=spec.share, tags=plan.team_tags(environment, team))
                for team, spec in training.teams.items()
            },
            checkpoints={name: plan.zone(environment, base, name) for name in training.checkpoint_zones},
            readable={name: plan.zone(environment, base, name) for name in plan.readable(environment)},
            image=plan.image(training.image, "aws", registry.images.repositories),
            cluster=cluster,
            network=base.network,
            zones=zones,
            compute_key=base.keys.domains["compute"],
            logs_key=base.keys.domains["logs"],
            boundary=base.boundary,
        ),
        scope=scope,
        parent=parent,
    )
    file_systems = FileSystems(
        "file-systems",
        FileSystemsArgs(
            file_systems={
                name: FileSystem(
                    bucket=base.storage[spec.zone],
                    zone=spec.zone,
                    prefix=spec.prefix,
                    capacity_gib=spec.capacity_gib,
                    throughput=spec.throughput,
                    fast=spec.interconnect == "fast",
                    key=base.keys.domains[environment.data.zones[spec.zone].key],
                    subnet=base.network.workload_subnets[zones.index(spec.place) if spec.place else 0],
                    tags=plan.team_tags(environment, spec.team),
                )
                for name, spec in environment.here(environment.data.file_systems, "aws").items()
            },
            network=base.network,
            clients={"cluster": cluster.security_group} if cluster and cluster.security_group else {},
            logs_key=base.keys.domains["logs"],
        ),
        scope=scope,
        parent=parent,
    ).outputs
    own_tracking: contracts.Tracking | None = None
    doors: contracts.Doors | None = None
    answers: Mapping[str, contracts.Endpoint] = {}
    if cluster:
        autoscaler = Autoscaler(
            "autoscaler",
            AutoscalerArgs(
                cluster=cluster,
                compute_key=base.keys.domains["compute"],
                notices_key=base.keys.domains["logs"],
                boundary=base.boundary,
                mirrors=mirrors,
            ),
            scope=scope,
            parent=parent,
        ).outputs
        plans = {name: pool for name, pool in capacity.pools.items() if pool.scheduler == "kubernetes"}
        pools = Pools(
            "pools",
            PoolsArgs(
                pools=plans,
                version=training.cluster.version,
                cluster=cluster,
                autoscaler=autoscaler,
                network=base.network,
                zones=zones,
                key=base.keys.domains["compute"],
                teams={team: plan.team_tags(environment, team) for team in environment.teams},
            ),
            scope=scope,
            parent=parent,
        ).outputs
        healed = {name: pool for name, pool in plans.items() if pool.resilience == "hyperpod"}
        if healed:
            _hyperpod(environment, base, zones, healed, pools, cluster, scope, parent)
        verification = _verification(environment, base, registry, cluster, scope, parent)
        doors = _doors(environment, base, cluster, gateway, scope, parent)
        inside = build_in_cluster(
            InClusterArgs(
                cluster=cluster,
                pools=pools,
                plans=plans,
                queues=capacity.queues,
                nominal=capacity.nominal(),
                teams=training.teams,
                distributed=training.distributed,
                submitters=[f"ai-platform:{persona}" for persona in ("data-scientist", "ml-engineer")],
                readers=["ai-platform:auditor"],
                mirrors=mirrors,
                registries=[address for _, address in sorted(registry.images.repositories.items())],
                file_systems={
                    name: file_systems.volumes[name]
                    for name, spec in environment.here(environment.data.file_systems, "aws").items()
                    if spec.clients == "cluster"
                },
                verification=verification,
                experiments=_experiments(environment, base, registry, cluster, scope, parent),
                endpoints=_served(environment, base, registry, guardrails, caches, cluster, scope, parent),
                doors=doors,
                tokens=environment.serving.tokens,
                collectors=base.network.data_ranges if watched_here(environment, "aws") else (),
            ),
            scope=scope,
            parent=parent,
        )
        own_tracking, answers = inside.tracking, inside.endpoints
    tracking = _tracking(environment, base, scope, parent)
    record = tracking.record if tracking else []
    watched = Watched(
        cluster=cluster.physical_name if cluster else None,
        pools=capacity.pools,
        queues=capacity.queues,
        namespace=queues.namespace,
        batch_queues={
            name: queues.outputs.names[name] for name, queue in capacity.queues.items() if queue.scheduler == "batch"
        },
        dead_letters=queues.dead_letters,
        needs=quotas(environment, "aws"),
    )
    alarms = Alarms(
        "training-alarms",
        AlarmsArgs(
            alarms=training_alarms(watched),
            critical=base.notifications.critical,
            warning=base.notifications.warning,
        ),
        scope=scope,
        parent=parent,
    ).outputs
    return contracts.Training(
        cluster=cluster,
        queues=queues.outputs,
        workbench=_workbench(environment, base, record, scope, parent),
        tracking=tracking.outputs if tracking else own_tracking,
        pipelines=_pipelines(environment, base, registry, tracking, scope, parent),
        file_systems=file_systems,
        dashboard=Dashboard(
            "training-dashboard",
            DashboardArgs(
                called="training",
                body=dashboard(
                    watched,
                    region=scope.region,
                    title=f"Training in {scope.environment}",
                    links={},
                    alarms=list(alarms.names.values()),
                ),
            ),
            scope=scope,
            parent=parent,
        ).outputs,
        served=answers,
        rows=doors.rows if doors else {},
    )


def _cluster(
    environment: Environment,
    place: Aws,
    base: contracts.Foundation,
    zones: Sequence[str],
    scope: Scope,
    parent: pulumi.Resource,
) -> contracts.Cluster:
    cluster = environment.training.cluster
    return Cluster(
        "cluster",
        ClusterArgs(
            version=cluster.version,
            allow=cluster.allow,
            upgrades=cluster.upgrades,
            machine=system_machine("aws"),
            min=cluster.system.min,
            max=cluster.system.max,
            network=base.network,
            zones=zones,
            keys=base.keys,
            boundary=base.boundary,
            role=place.assume_role,
            deployers=_deployers(place, base, scope),
            personas=base.personas.roles,
            lustre=bool(environment.here(environment.data.file_systems, "aws")),
        ),
        scope=scope,
        parent=parent,
    ).outputs


def _hyperpod(
    environment: Environment,
    base: contracts.Foundation,
    zones: Sequence[str],
    plans: Mapping[str, PoolPlan],
    pools: contracts.Pools,
    cluster: contracts.Cluster,
    scope: Scope,
    parent: pulumi.Resource,
) -> None:
    """Machines that heal themselves, with a bucket that nobody but who deploys writes to."""
    key, logs = base.keys.domains["models"], base.storage[environment.data.access_log_zone]
    bucket = StorageArgs(key=key, access_logs=AccessLogs(here=logs.name, replica=None), boundary=base.boundary)
    args = HyperPodArgs(
        pools=plans,
        flavors=pools.flavors,
        cluster=cluster,
        network=base.network,
        zones=zones,
        key=base.keys.domains["compute"],
        scripts=Storage("hyperpod-scripts", bucket, scope=scope, parent=parent).outputs,
        scripts_key=key,
        boundary=base.boundary,
        tags=plan.team_tags(environment, next(iter(plans.values())).team),
    )
    HyperPod("hyperpod", args, scope=scope, parent=parent)


def _verification(
    environment: Environment,
    base: contracts.Foundation,
    registry: contracts.Registry,
    cluster: contracts.Cluster,
    scope: Scope,
    parent: pulumi.Resource,
) -> Verification | None:
    """Who verifies signatures: what decides over every start comes from a copy that somebody has looked at, or not at all."""
    if "ghcr.io" not in environment.registry.copies:
        return None
    args = VerifierArgs(cluster=cluster, boundary=base.boundary)
    return Verification(
        signer=registry.images.signer,
        identity=Verifier("verifier", args, scope=scope, parent=parent).outputs.id,
        enforced=registry.images.signatures == "enforce",
        revocation=environment.network.egress == "open"
        or "data-signer" in (environment.network.private_services or ()),
    )


def _served(
    environment: Environment,
    base: contracts.Foundation,
    registry: contracts.Registry,
    guardrails: contracts.Guardrails,
    caches: Mapping[str, contracts.Cache],
    cluster: contracts.Cluster,
    scope: Scope,
    parent: pulumi.Resource,
) -> dict[str, Served]:
    """What answers in the cluster, by name, with what the cloud has made for each."""

    def place(at: Located) -> Place:
        zone = plan.zone(environment, base, at.zone)
        return Place(bucket=zone.bucket, key=zone.key, path=at.path)

    def guard(name: str, guardrail: str | None) -> PodGuard:
        return PodGuard(
            guardrail=(guardrails.ids[guardrail], base.keys.domains["models"]) if guardrail else None,
            prompts=place(Located(zone=environment.retrieval.prompt_zone, path=folder(name))),
        )

    found: dict[str, Served] = {}
    entries = _entries(environment, caches, cluster, scope, parent)
    for name, endpoint in wanted(environment, "aws").items():
        args = PodArgs(
            cluster=cluster,
            pod=endpoint.pod,
            reads={what: place(at) for what, at in endpoint.reads.items()},
            writes=place(endpoint.writes) if endpoint.writes else None,
            guard=guard(name, endpoint.spec.guardrail) if isinstance(endpoint.spec, LanguageModel) else None,
            cache=entries.get(name),
            boundary=base.boundary,
            tags={**plan.team_tags(environment, endpoint.spec.team), "endpoint": name},
        )
        found[name] = served(
            endpoint,
            Pod(name, args, scope=scope, parent=parent).outputs,
            image=plan.image(endpoint.model.image, "aws", registry.images.repositories),
            storage=base.storage,
            guardrails=guardrails,
            cache=entries.get(name),
        )
    return found


def _entries(
    environment: Environment,
    caches: Mapping[str, contracts.Cache],
    cluster: contracts.Cluster,
    scope: Scope,
    parent: pulumi.Resource,
) -> dict[str, contracts.Entry]:
    """How what answers in the cluster gets into caches: one way for each, for pods have the group of their machines."""
    inside = wanted(environment, "aws")
    found: dict[str, contracts.Entry] = {}
    for cache, made in caches.items():
        mine = {client: entry for client, entry in made.entries.items() if client in inside}
        first = next(iter(mine.values()), None)
        if first is None or first.group is None or cluster.security_group is None:
            continue
        args = WayArgs(
            source=cluster.security_group,
            target=first.group,
            ports=first.ports,
            description=f"Endpoints in the cluster to the cache {cache}",
        )
        way = Way(f"cluster-to-{cache}", args, scope=scope, parent=parent)
        found |= {client: plan.awaiting(entry, way) for client, entry in mine.items()}
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
    known, tokens = fronts(environment, "aws", "kubernetes"), environment.serving.tokens
    if not known or gateway is None or tokens is None:
        return None
    ways: dict[str, DoorWay] = {}
    for name, front in known.items():
        spec = environment.serving.endpoints[name]
        assert isinstance(spec, RealTime | Service)  # noqa: S101  nothing else in a cluster has an `api`
        answers = listening(name, spec)
        ways[name] = DoorWay(
            front=front,
            port=answers.port,
            health=answers.health,
            space=pod(name, spec)[0],
            workload=answers.workload,
            kind=spec.kind,
            owner=spec.team,
            alarms=alarms(spec),
            fixed=spec.scale.min == spec.scale.max,
            team=base.notifications.teams.get(spec.team, ()),
            tags={**plan.team_tags(environment, spec.team), "endpoint": name},
        )
    args = DoorsArgs(
        ways=ways,
        gateway=gateway,
        tokens=tokens,
        cluster=cluster,
        network=base.network,
        boundary=base.boundary,
        critical=base.notifications.critical,
        warning=base.notifications.warning,
    )
    return Doors("doors", args, scope=scope, parent=parent).outputs


def _deployers(place: Aws, base: contracts.Foundation, scope: Scope) -> dict[str, contracts.Text]:
    """Roles that deploy beside the one that is assumed: EKS takes no second entry for one role."""
    deploy = f":role/{scope.names.of('deploy', 'iam_role')}"
    assumed = place.assume_role is not None and place.assume_role.endswith(deploy)
    return {"deploy": base.delivery.deploy} if base.delivery and not assumed else {}


def _tracking(
    environment: Environment, base: contracts.Foundation, scope: Scope, parent: pulumi.Resource
) -> Tracking | None:
    spec = environment.training.tracking
    if spec is None or spec.server != "managed":
        return None
    zone = plan.zone(environment, base, spec.zone)
    args = TrackingArgs(bucket=zone.bucket, key=zone.key, register_models=spec.register_models, boundary=base.boundary)
    return Tracking("tracking", args, scope=scope, parent=parent)


def _experiments(
    environment: Environment,
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
    zone = environment.data.zones[spec.zone]
    args = DatabaseArgs(
        size=spec.database.size,
        disk_gib=spec.database.disk_gib,
        max_disk_gib=spec.database.max_disk_gib,
        network=base.network,
        cluster=cluster,
        pod=(TRACKING_SPACE, TRACKING_ACCOUNT),
        bucket=base.storage[spec.zone],
        bucket_key=base.keys.domains[zone.key],
        key=base.keys.domains["data"],
        secrets_key=base.keys.domains["secrets"],
        logs_key=base.keys.domains["logs"],
        boundary=base.boundary,
    )
    database = Database("tracking-database", args, scope=scope, parent=parent).outputs
    return database, plan.image(spec.image, "aws", registry.images.repositories)


def _workbench(
    environment: Environment, base: contracts.Foundation, record: Sequence[Any], scope: Scope, parent: pulumi.Resource
) -> contracts.Workbench | None:
    spec = environment.training.workbench
    if spec is None:
        return None
    args = WorkbenchArgs(
        users={
            name: User(persona=user.persona, email=user.email, tags=plan.team_tags(environment, user.team))
            for name, user in spec.users.items()
        },
        sign_in=spec.sign_in,
        personas=base.personas.roles,
        idle_hours=spec.idle_hours,
        machines=spec.machines.aws,
        disk_gib=spec.disk_gib,
        max_disk_gib=spec.max_disk_gib,
        zones=[
            WorkbenchZone(
                bucket=base.storage[name], key=base.keys.domains[zone.key], readers=zone.readers, writers=zone.writers
            )
            for name, zone in environment.data.zones.items()
            if name != environment.data.access_log_zone
        ],
        network=base.network,
        key=base.keys.domains["compute"],
        logs_key=base.keys.domains["logs"],
        record=record,
        boundary=base.boundary,
    )
    return Workbench("workbench", args, scope=scope, parent=parent).outputs


def _pipelines(
    environment: Environment,
    base: contracts.Foundation,
    registry: contracts.Registry,
    tracking: Tracking | None,
    scope: Scope,
    parent: pulumi.Resource,
) -> contracts.Pipelines:
    mine = environment.here(environment.training.pipelines, "aws")
    if not mine and environment.training.workbench is None:  # the log groups of all jobs are theirs
        return contracts.Pipelines(ids={})
    args = PipelinesArgs(
        runs=plan.runs(environment, "aws", registry.images.repositories),
        tags={name: plan.team_tags(environment, pipeline.team) for name, pipeline in mine.items()},
        zones={name: plan.zone(environment, base, name) for name in environment.data.zones},
        packages=plan.zone(environment, base, environment.registry.model_zone),
        candidates=registry.models.candidates,
        network=base.network,
        key=base.keys.domains["compute"],
        logs_key=base.keys.domains["logs"],
        tracking=tracking.outputs if tracking else None,
        record=tracking.record if tracking else [],
        boundary=base.boundary,
        warning=base.notifications.warning,
    )
    return Pipelines("pipelines", args, scope=scope, parent=parent).outputs
