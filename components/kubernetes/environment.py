"""Kubernetes: the table of contents. What is in a cluster, in which order, and what each part hands to the next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pulumi

from components import contracts
from components.core.scrapes import Controller
from components.kubernetes.contracts import Charts as Controllers
from components.kubernetes.contracts import Door as Joined
from components.kubernetes.contracts import Kueue as Queues
from components.kubernetes.contracts import Served, Verification
from components.kubernetes.contracts import Spaces as Spaced
from components.kubernetes.contracts import Tenants as Namespaces
from components.kubernetes.contracts import Volumes as Claims
from components.kubernetes.data.volumes import Volumes, VolumesArgs
from components.kubernetes.foundation.admission import Admission, AdmissionArgs
from components.kubernetes.foundation.charts import SYSTEM, Charts, ChartsArgs
from components.kubernetes.foundation.signatures import Signatures, SignaturesArgs
from components.kubernetes.foundation.tenants import Tenant, Tenants, TenantsArgs
from components.kubernetes.operations.metrics import Metrics, MetricsArgs
from components.kubernetes.pods import Place, listening
from components.kubernetes.serving.batch import Batch as Run
from components.kubernetes.serving.batch import BatchArgs as RunArgs
from components.kubernetes.serving.container import Container as Service
from components.kubernetes.serving.container import ContainerArgs as ServiceArgs
from components.kubernetes.serving.door import Door, DoorArgs
from components.kubernetes.serving.entrance import Entrance, EntranceArgs
from components.kubernetes.serving.interceptors import INTERCEPTOR, Interceptors, InterceptorsArgs
from components.kubernetes.serving.llm import Llm as LanguageModel
from components.kubernetes.serving.llm import LlmArgs as LanguageModelArgs
from components.kubernetes.serving.realtime import RealTime as Model
from components.kubernetes.serving.realtime import RealTimeArgs as ModelArgs
from components.kubernetes.serving.release import Release, ReleaseArgs
from components.kubernetes.serving.router import ENVOY, PICKER, Router, RouterArgs
from components.kubernetes.serving.spaces import Spaces, SpacesArgs
from components.kubernetes.serving.watchers import PYTHON, Watchers, WatchersArgs
from components.kubernetes.training.queues import Kueue, KueueArgs
from components.kubernetes.training.tracking import Mlflow, MlflowArgs
from components.scope import Scope
from components.spec.capacity import PoolPlan, QueuePlan
from components.spec.endpoints import instances, stepwise
from components.spec.serving import Batch, Container, Llm, RealTime, Tokens
from components.spec.training import Distributed, TrainingTeam


@dataclass(frozen=True, kw_only=True)
class InClusterArgs:
    """What a cloud hands over with its cluster."""

    cluster: contracts.Cluster
    pools: contracts.Pools
    plans: Mapping[str, PoolPlan]
    """The cloud's pools; those of another scheduler are left out."""
    queues: Mapping[str, QueuePlan]
    """The cloud's queues; those of another scheduler are left out."""
    nominal: Mapping[tuple[str, str, str], int]
    """As `Capacity.nominal()` has it."""
    teams: Mapping[str, TrainingTeam]
    distributed: Distributed
    annotations: Mapping[str, Mapping[str, pulumi.Input[str]]] = field(
        default_factory=dict[str, Mapping[str, pulumi.Input[str]]]
    )
    """By team: what stands on the service account of its jobs. Empty on EKS."""
    submitters: Sequence[str] = ()
    """Kubernetes groups of people that submit jobs."""
    readers: Sequence[str] = ()
    """Kubernetes groups of people that look at jobs."""
    mirrors: Mapping[str, contracts.Text] = field(default_factory=dict[str, contracts.Text])
    """Registry to the address that stands in its place; for a network without a way out."""
    registries: Sequence[pulumi.Input[str]] = ()
    """Addresses that every image of a team lies under; without any, an image may come from anywhere."""
    system: Mapping[str, str] = field(default_factory=lambda: dict(SYSTEM))
    """Label of the machines of the cluster's own services."""
    file_systems: Mapping[str, contracts.Volume] = field(default_factory=dict[str, contracts.Volume])
    """By name: those that pods mount."""
    verification: Verification | None = None
    """Whose signature images of teams have to have; None where the cloud itself sees to that."""
    experiments: tuple[contracts.Database, pulumi.Input[str]] | None = None
    """Database and image of a tracking server of our own, where there is one."""
    endpoints: Mapping[str, Served] = field(default_factory=dict[str, Served])
    """By name: what answers in the cluster."""
    doors: contracts.Doors | None = None
    """The ways to it from the internet, where there are any."""
    tokens: Tokens | None = None
    """Whose tokens are good there."""
    collectors: Sequence[str] = ()
    """Ranges that metrics of endpoints are collected from, where that is outside of the cluster."""
    controllers: Sequence[Controller] = ()
    """Controllers whose metrics are read besides Kueue's."""


@dataclass(frozen=True, kw_only=True)
class InCluster:
    """What is in a cluster."""

    namespaces: Namespaces
    queues: Queues
    volumes: Claims
    tracking: contracts.Tracking | None
    endpoints: Mapping[str, contracts.Endpoint]


def build(args: InClusterArgs, *, scope: Scope, parent: pulumi.Resource) -> InCluster:
    """Build what is in a cluster, as children of `parent`."""
    # By name, here and so in every part: the order in which they are described changes nothing.
    plans = {name: plan for name, plan in sorted(args.plans.items()) if plan.scheduler == "kubernetes"}
    queues = {name: queue for name, queue in sorted(args.queues.items()) if queue.scheduler == "kubernetes"}
    teams = dict(sorted(args.teams.items()))
    resources = sorted({plan.resource for plan in plans.values() if plan.resource})
    cluster = args.cluster

    charts = Charts(
        "charts",
        ChartsArgs(
            cluster=cluster,
            plans=plans,
            distributed=args.distributed,
            mirrors=args.mirrors,
            system=args.system,
            verification=args.verification,
            serving=any(not isinstance(each.spec, Batch) for each in args.endpoints.values()),
            models=any(isinstance(each.spec, RealTime) for each in args.endpoints.values()),
            sleeping=any(map(_sleeps, args.endpoints.values())),
            releasing=any(stepwise(each.spec) for each in args.endpoints.values()),
            running=any(isinstance(each.spec, Batch) for each in args.endpoints.values()),
            doors=args.doors,
        ),
        scope=scope,
        parent=parent,
    ).outputs
    Admission(
        "admission",
        AdmissionArgs(cluster=cluster, plans=plans, queues=queues, registries=args.registries),
        scope=scope,
        parent=parent,
    )
    if args.verification:
        Signatures(
            "signatures",
            SignaturesArgs(cluster=cluster, verification=args.verification, ready=charts.verifying),
            scope=scope,
            parent=parent,
        )
    tenants = Tenants(
        "tenants",
        TenantsArgs(
            cluster=cluster,
            tenants={
                team: Tenant(gpus=share.gpus, annotations=args.annotations.get(team, {}))
                for team, share in teams.items()
            },
            resources=resources,
            submitters=sorted(args.submitters),
            readers=sorted(args.readers),
            ray=args.distributed.ray,
        ),
        scope=scope,
        parent=parent,
    ).outputs
    kueue = Kueue(
        "kueue",
        KueueArgs(
            cluster=cluster,
            flavors=dict(sorted(args.pools.flavors.items())),
            plans=plans,
            queues=queues,
            teams=teams,
            nominal=args.nominal,
            ready=charts.queueing,
            namespaces=tenants.namespaces,
        ),
        scope=scope,
        parent=parent,
    ).outputs
    Metrics(
        "metrics",
        MetricsArgs(
            cluster=cluster,
            ready=charts.queueing,
            controllers=args.controllers,
            installed=charts.telling,
        ),
        scope=scope,
        parent=parent,
    )
    volumes = Volumes(
        "volumes",
        VolumesArgs(cluster=cluster, volumes=args.file_systems, namespaces=tenants.namespaces),
        scope=scope,
        parent=parent,
    ).outputs
    tracking = None
    if args.experiments:
        database, image = args.experiments
        tracking = Mlflow(
            "tracking-server",
            MlflowArgs(
                cluster=cluster,
                database=database,
                image=_pulled(image, args.mirrors),
                teams=tenants.namespaces,
                system=args.system,
            ),
            scope=scope,
            parent=parent,
        ).outputs
    endpoints = _endpoints(args, plans, charts, tenants, kueue, scope, parent)
    return InCluster(namespaces=tenants, queues=kueue, tracking=tracking, volumes=volumes, endpoints=endpoints)


def _endpoints(
    args: InClusterArgs,
    plans: Mapping[str, PoolPlan],
    charts: Controllers,
    tenants: Namespaces,
    kueue: Queues,
    scope: Scope,
    parent: pulumi.Resource,
) -> dict[str, contracts.Endpoint]:
    """What answers, by name: models and language models in namespaces of their own, runs in queues."""
    served, ready = dict(sorted(args.endpoints.items())), tuple(charts.serving)
    teams = {each.spec.team for each in served.values() if not isinstance(each.spec, Batch)}
    # Of what its endpoints have no use for, a team's namespace is given none.
    resources = sorted({plan.resource for plan in plans.values() if plan.resource} or {"nvidia.com/gpu"})
    held = {team: dict.fromkeys(resources, 0) for team in teams}
    for each in served.values():
        plan = plans.get(getattr(each.spec, "pool", None) or "")
        if plan and plan.resource and not isinstance(each.spec, Batch):
            used = held[each.spec.team]
            devices = plan.per_node
            if isinstance(each.spec, RealTime | Container):
                compute = each.spec.compute
                devices = compute.per_machine if compute.accelerator != "none" else 0
            used[plan.resource] += instances(each.spec) * devices
    doors = args.doors.doors if args.doors else {}
    sleeping = sorted({each.spec.team for each in served.values() if _sleeps(each)})
    spaces = interceptors = None
    if teams:
        spaces = Spaces(
            "spaces",
            SpacesArgs(
                cluster=args.cluster,
                callers={team: tenants.namespaces[team] for team in sorted(teams)},
                accelerators=held,
                routed=any(isinstance(each.spec, Llm) for each in served.values()),
                sleeping=sleeping,
                registered=sorted({served[name].spec.team for name in doors}) if scope.cloud == "aws" else (),
                collectors=args.collectors,
            ),
            scope=scope,
            parent=parent,
        ).outputs
    if spaces and sleeping:
        interceptors = Interceptors(
            "interceptors",
            InterceptorsArgs(
                cluster=args.cluster,
                teams=sleeping,
                spaces=spaces,
                image=_pulled(INTERCEPTOR, args.mirrors),
                system=args.system,
                ready=ready,
            ),
            scope=scope,
            parent=parent,
        ).outputs
    ways = _doors(args, charts, spaces, scope, parent) if spaces else {}
    found: dict[str, contracts.Endpoint] = {}
    for name, each in served.items():
        pool = getattr(each.spec, "pool", None)
        place = Place(
            system=args.system, plan=plans[pool] if pool else None, flavor=args.pools.flavors[pool] if pool else None
        )
        # KEDA refuses to scale what the cluster does not know (v2.20.2, scaledobject_webhook.go: `ParseGVKR`).
        known = (*ready, *charts.releasing) if stepwise(each.spec) else ready
        match each.spec:
            case RealTime() as spec:
                assert spaces is not None  # noqa: S101  there is one of its team
                found[name] = Model(
                    name,
                    ModelArgs(
                        cluster=args.cluster,
                        spec=spec,
                        image=_pulled(each.image, args.mirrors),
                        identity=each.identity,
                        model=each.model,
                        cache=each.cache,
                        spaces=spaces,
                        place=place,
                        interceptors=interceptors,
                        door=ways.get(name),
                        ready=known,
                    ),
                    scope=scope,
                    parent=parent,
                ).outputs
            case Container() as spec:
                assert spaces is not None  # noqa: S101  the same
                found[name] = Service(
                    name,
                    ServiceArgs(
                        cluster=args.cluster,
                        spec=spec,
                        image=_pulled(each.image, args.mirrors),
                        identity=each.identity,
                        model=each.model,
                        spaces=spaces,
                        place=place,
                        door=ways[name],
                        ready=known,
                    ),
                    scope=scope,
                    parent=parent,
                ).outputs
            case Llm() as spec:
                assert spaces is not None  # noqa: S101  the same
                assert spaces.routers is not None  # noqa: S101  `routed`, above
                assert each.model is not None  # noqa: S101  its weights
                router = Router(
                    f"{name}-router",
                    RouterArgs(
                        cluster=args.cluster,
                        endpoint=name,
                        namespace=spaces.namespaces[spec.team],
                        caller=spaces.callers[spec.team],
                        routers=spaces.routers,
                        priority=spaces.priority,
                        system=args.system,
                        images={"picker": _pulled(PICKER, args.mirrors), "envoy": _pulled(ENVOY, args.mirrors)},
                        collectors=args.collectors,
                    ),
                    scope=scope,
                    parent=parent,
                ).outputs
                assert each.guard is not None  # noqa: S101  components/kubernetes/contracts.py, `served`
                found[name] = LanguageModel(
                    name,
                    LanguageModelArgs(
                        cluster=args.cluster,
                        spec=spec,
                        image=_pulled(each.image, args.mirrors),
                        identity=each.identity,
                        weights=each.model,
                        guard=each.guard,
                        spaces=spaces,
                        place=place,
                        router=router.address,
                        ready=ready,
                    ),
                    scope=scope,
                    parent=parent,
                ).outputs
            case Batch(queue=queue) as spec:
                assert queue is not None  # noqa: S101  components/spec/endpoints.py, `where`
                assert each.source is not None  # noqa: S101  `Served` of a run has both
                assert each.target is not None  # noqa: S101
                able = [plans[pool] for pool in args.queues[queue].pools]
                fits = [plan for plan in able if plan.accelerator and plan.accelerator.name == spec.compute.accelerator]
                found[name] = Run(
                    name,
                    RunArgs(
                        cluster=args.cluster,
                        spec=spec,
                        image=_pulled(each.image, args.mirrors),
                        identity=each.identity,
                        model=each.model,
                        source=each.source,
                        target=each.target,
                        namespace=tenants.namespaces[spec.team],
                        queue=args.queues[queue],
                        name=kueue.queues[queue],
                        resource=fits[0].resource if fits else None,
                    ),
                    scope=scope,
                    parent=parent,
                ).outputs
    return found | _releases(args, charts, spaces, ways, found, scope, parent) if spaces else found


def _releases(
    args: InClusterArgs,
    charts: Controllers,
    spaces: Spaced,
    ways: Mapping[str, Joined],
    answering: Mapping[str, contracts.Endpoint],
    scope: Scope,
    parent: pulumi.Resource,
) -> dict[str, contracts.Endpoint]:
    """Let versions take over step by step, where they shall: these endpoints, with addresses once there are pods behind them."""
    released = {name: each.spec for name, each in sorted(args.endpoints.items()) if stepwise(each.spec)}
    if not released:
        return {}
    watchers = Watchers("watchers", WatchersArgs(cluster=args.cluster), scope=scope, parent=parent).outputs
    found: dict[str, contracts.Endpoint] = {}
    for name, spec in released.items():
        assert isinstance(spec, RealTime | Container)  # noqa: S101  `stepwise`
        endpoint, way = answering[name], ways.get(name)
        release = ReleaseArgs(
            cluster=args.cluster,
            spec=spec,
            endpoint=name,
            namespace=spaces.namespaces[spec.team],
            template=_first(pulumi.Output.from_input(listening(name, spec).workload), endpoint.address),
            priority=spaces.priority,
            watchers=watchers,
            python=_pulled(PYTHON, args.mirrors),
            system=args.system,
            fronted=way is not None and way.beside is not None,
            ready=charts.releasing,
        )
        ready = Release(f"{name}-release", release, scope=scope, parent=parent).outputs.ready
        found[name] = replace(endpoint, address=_first(endpoint.address, ready))
    return found


def _first(value: contracts.Text, other: contracts.Text) -> contracts.Text:
    """A value that resolves with another one."""
    return pulumi.Output.all(value, other).apply(lambda found: str(found[0]))


def _sleeps(endpoint: Served) -> bool:
    """Whether it may have no instance at all."""
    return isinstance(endpoint.spec, RealTime) and endpoint.spec.scale.min == 0


def _doors(
    args: InClusterArgs, charts: Controllers, spaces: Spaced, scope: Scope, parent: pulumi.Resource
) -> dict[str, Joined]:
    """The ways from the internet, by endpoint."""
    if args.doors is None or args.tokens is None:
        return {}
    entrance = None
    if scope.cloud == "gcp":
        entrance = Entrance(
            "front", EntranceArgs(cluster=args.cluster, doors=args.doors), scope=scope, parent=parent
        ).outputs
    found: dict[str, Joined] = {}
    for name in sorted(args.doors.doors):
        spec = args.endpoints[name].spec
        assert isinstance(spec, RealTime | Container)  # noqa: S101  nothing else in a cluster has an `api`
        door = DoorArgs(
            cluster=args.cluster,
            endpoint=name,
            spec=spec,
            namespace=spaces.namespaces[spec.team],
            doors=args.doors,
            tokens=args.tokens,
            envoy=_pulled(ENVOY, args.mirrors),
            entrance=entrance,
            ready=charts.registering,
        )
        found[name] = Door(f"{name}-door", door, scope=scope, parent=parent).outputs
    return found


def _pulled(image: pulumi.Input[str], mirrors: Mapping[str, contracts.Text]) -> pulumi.Input[str]:
    """Where an image is pulled from: ours from where it lies, another through what stands in its registry's place."""
    registry, _, path = image.partition("/") if isinstance(image, str) else ("", "", "")
    return pulumi.Output.concat(mirrors[registry], "/", path) if registry in mirrors else image
