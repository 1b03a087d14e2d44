"""What answers on Cloud Run: a service, what it runs as, and how a new revision takes over."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.contracts import Text
from components.core import cloud_run, rollouts, watching
from components.core.google import labels
from components.core.monitoring import Alarm
from components.core.monitoring_rows import row
from components.core.rollouts import digest
from components.gcp.blocks.rollout import Platform, Rollout, RolloutArgs, guarded
from components.gcp.blocks.workload import Grant, Workload, WorkloadArgs, connect
from components.scope import Component, Scope, after
from components.spec.endpoints import Alarm as Sign
from components.spec.models import Container, called
from components.spec.releases import Release

_READ = "roles/storage.objectViewer"
_MOUNT = "/mnt/models"
_OF_A_REVISION = 100
"""Instances that a revision has at most where nothing is said of it; below that the ceiling is that of its service."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """What an instance has, and how many there are."""

    cpu: int
    memory_gib: int
    accelerator: str = "none"
    at_once: int
    """Requests that one of them works on at once."""
    least: int
    most: int


@dataclass(frozen=True, kw_only=True)
class CloudRunArgs:
    """One service."""

    platform: Platform
    endpoint: str
    model: Container
    image: pulumi.Input[str]
    """Address of the image that `model` names."""
    size: Size
    timeout_seconds: int
    port: int = 8080
    health: str = "/ping"
    environment: Mapping[str, pulumi.Input[str]] = field(default_factory=dict[str, pulumi.Input[str]])
    grants: Mapping[str, Grant] = field(default_factory=dict[str, Grant])
    """What it may do besides reading its model."""
    cache: contracts.Entry | None = None
    """Of its answers, where it may use one."""
    callers: Mapping[str, pulumi.Input[str]]
    """E-mails of service accounts that may call it, each by a name that is stable."""
    fronted: bool = False
    """Whether a load balancer stands in front of it: then nobody reaches it in another way."""
    audiences: Sequence[str] = ()
    """What a token of Google's may be for, besides its own address: `https://{host}`."""
    release: Release
    signs: Mapping[str, Sign]
    alarms: Sequence[Alarm] = ()
    """What else is watched."""
    kind: str = "container"
    owner: str | None = None
    """The team's name."""
    team: Sequence[Text] = ()
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class CloudRun(Component):
    """A service of Cloud Run with an identity of its own, in the network, under our key, and with a ceiling.

    A revision is called after its content, so an update that changes nothing makes none. An update makes a revision without
    requests: those are moved by the rollout. That rests on the traffic not being declared here. The provider sends with every
    update the traffic that it knows of, as old as the last refresh (resource_cloud_run_v2_service.go sends no update mask), so
    the program is run with a refresh first; were it not, the rollout would correct it within five minutes.

    Owns the service, its identity with what that may do, who may call it, and the rollout with its alerts. Never owns the image,
    the model or what stands in front. Its logs are those of the project, kept as long as its default bucket of logs says.

    Costs 0.000024 USD a vCPU-second and 0.0000025 a GiB-second while it works, 0.40 a million requests; with an L4 0.0001867 a
    second as long as an instance lives (us-central1, 2026-08). A destroy takes everything; in a tier that protects it is refused.
    For hours after, Google holds on to addresses of the subnet ("Direct VPC egress").

    >>> Size(cpu=1, memory_gib=2, at_once=8, least=0, most=3).accelerator
    'none'
    """

    outputs: contracts.Endpoint

    def __init__(self, name: str, args: CloudRunArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the identity, the service, and what releases it."""
        super().__init__(name, scope, parent)
        self._args = args
        platform = args.platform
        physical = scope.names.of(args.endpoint, "run_service")
        identity = self._identity()
        template = self._template(identity)
        revision = pulumi.Output.json_dumps(template, sort_keys=True).apply(
            lambda content: f"{physical}-{digest(content)}"
        )
        service = gcp.cloudrunv2.Service(
            f"{name}-service",
            name=physical,
            description=f"Endpoint {args.endpoint}.",
            project=platform.apis["run.googleapis.com"],
            location=scope.region,
            template={**template, "revision": revision},  # pyright: ignore[reportArgumentType]
            # Of all revisions together, so that a release stays under the ceiling and keeps what is warm. It holds at once, and
            # makes no revision ("Set maximum instances for services").
            scaling={"min_instance_count": args.size.least, "max_instance_count": args.size.most},
            ingress="INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER" if args.fronted else "INGRESS_TRAFFIC_INTERNAL_ONLY",
            default_uri_disabled=args.fronted,
            custom_audiences=list(args.audiences) or None,
            binary_authorization={"use_default": True} if platform.signed else None,
            deletion_protection=not scope.deletable,
            labels=self._labels(),
            opts=self.options(),
        )
        invokers = [
            gcp.cloudrunv2.ServiceIamMember(
                f"{name}-caller-{caller}",
                project=platform.apis["run.googleapis.com"],
                location=scope.region,
                name=service.name,
                role="roles/run.invoker",
                member=pulumi.Output.concat("serviceAccount:", email),
                opts=self.options(),
            )
            for caller, email in args.callers.items()
        ]
        source = watching.cloud_run(physical)
        alarms = [*watching.alarms(args.endpoint, source, args.signs), *args.alarms]
        rollout = self._rollout(physical, service, revision, identity, source, alarms)
        address = physical if args.fronted else cloud_run.url(physical, platform.number, scope.region)
        self.name_of_service = after(service.name, *invokers)
        """For a network endpoint group, and for a grant."""
        self.outputs = contracts.Endpoint(
            id=after(service.id, *invokers),
            address=pulumi.Output.all(after(address, service, *invokers), rollout.id).apply(
                lambda known: str(known[0])
            ),
            version=pulumi.Output.from_input(called(args.model)),
            row=row(
                args.endpoint,
                args.kind,
                args.owner,
                alarms,
                policies=rollout.alarms,
                log=(
                    scope.account,
                    f'resource.type="cloud_run_revision" AND resource.labels.service_name="{physical}"',
                ),
            ),
        )
        self.finish(self.outputs)

    def _labels(self) -> dict[str, str]:
        return {**labels({**self.scope.tags, **self._args.tags}), "endpoint": self._args.endpoint}

    def _identity(self) -> Text:
        """What it runs as: it reads its model and nothing else, unless it is told to."""
        args, scope = self._args, self.scope
        grants = dict(args.grants)
        if args.cache is not None:
            grants["cache"] = connect(args.cache)
        artifact = args.model.artifact
        if artifact is not None:
            bucket = scope.names.of(artifact.zone, "bucket")
            # All versions of the model: while a release is watched, and after it was taken back, instances of the old one
            # start too, and read theirs.
            expression = f'resource.name.startsWith("projects/_/buckets/{bucket}/objects/{artifact.family}")'
            if artifact.sha256 is None:
                # A mounted bucket is listed, which is a right on the bucket and not on what lies in it.
                expression = f'resource.type == "storage.googleapis.com/Bucket" || {expression}'
            grants["model"] = Grant(
                role=_READ, bucket=args.platform.storage[artifact.zone].resource, condition=("its-model", expression)
            )
        return Workload(
            f"serve-{args.endpoint}",
            WorkloadArgs(description=f"Endpoint {args.endpoint}.", apis=args.platform.apis, grants=grants),
            scope=scope,
            parent=self,
        ).outputs.id

    def _template(self, identity: Text) -> dict[str, Any]:
        args, size = self._args, self._args.size
        gpu = size.accelerator != "none"
        limits = {"cpu": str(size.cpu), "memory": f"{size.memory_gib}Gi", **({"nvidia.com/gpu": "1"} if gpu else {})}
        variables, volume = self._model()
        # Above what Cloud Run lets through, so that Cloud Run starts another instance and the container refuses nobody.
        variables = {
            **(args.cache.variables if args.cache else {}),
            "MAX_REQUESTS": str(max(64, size.at_once)),
            "REQUEST_SECONDS": str(args.timeout_seconds),
            **variables,
        }
        probe = {"http_get": {"path": args.health, "port": args.port}, "timeout_seconds": 5}
        container: dict[str, Any] = {
            "image": args.image,
            "ports": {"container_port": args.port},
            "envs": [{"name": key, "value": value} for key, value in sorted({**variables, **args.environment}.items())],
            # With an accelerator the processor is always there ("GPU support").
            "resources": {"limits": limits, "cpu_idle": not gpu, "startup_cpu_boost": True},
            # "Container health checks": four minutes at most until a start counts as failed.
            "startup_probe": {**probe, "period_seconds": 10, "failure_threshold": 24},
            "liveness_probe": {**probe, "period_seconds": 30, "failure_threshold": 3},
        }
        template: dict[str, Any] = {
            "containers": [container],
            "service_account": identity,
            "encryption_key": args.platform.compute_key.id,
            "execution_environment": "EXECUTION_ENVIRONMENT_GEN2",
            "max_instance_request_concurrency": size.at_once,
            "timeout": f"{args.timeout_seconds}s",
        }
        if size.most > _OF_A_REVISION:
            template["scaling"] = {"max_instance_count": size.most}
        if volume is not None:
            container["volume_mounts"] = [{"name": "models", "mount_path": _MOUNT}]
            template["volumes"] = [{"name": "models", "gcs": {"bucket": volume, "read_only": True}}]
        if gpu:
            template |= {"node_selector": {"accelerator": size.accelerator}, "gpu_zonal_redundancy_disabled": True}
        if args.platform.network is not None:
            network = args.platform.network
            template["vpc_access"] = {
                "egress": "ALL_TRAFFIC",
                "network_interfaces": [{"network": network.id, "subnetwork": network.workload_subnets[0]}],
            }
        return template

    def _model(self) -> tuple[dict[str, pulumi.Input[str]], Text | None]:
        """Where the container finds its model: an archive of this digest, or a folder of a mounted bucket."""
        artifact = self._args.model.artifact
        if artifact is None:
            return {}, None
        bucket = self._args.platform.storage[artifact.zone]
        if artifact.sha256 is not None:
            return {
                "MODEL_URI": pulumi.Output.concat(bucket.uri, "/", artifact.path),
                "MODEL_DIGEST": artifact.sha256,
            }, None
        return {"MODEL_DIR": f"{_MOUNT}/{_kept(artifact.path).rstrip('/')}"}, bucket.name

    def _rollout(
        self,
        physical: str,
        service: gcp.cloudrunv2.Service,
        revision: Text,
        identity: Text,
        source: watching.Source,
        alarms: Sequence[Alarm],
    ) -> contracts.Rollout:
        args, scope = self._args, self.scope
        release = guarded(args.release)
        return Rollout(
            f"{args.endpoint}-release",
            RolloutArgs(
                platform=args.platform,
                endpoint=args.endpoint,
                version=revision,
                target=rollouts.cloud_run(f"projects/{scope.account}/locations/{scope.region}/services/{physical}"),
                waves=rollouts.waves(release.strategy, getattr(release, "percent", 100), release.bake_minutes),
                guards=watching.guards(source, args.signs, list(release.rollback_on)),
                alarms=alarms,
                service=service.name,
                workers={"service": identity},
                team=args.team,
                tags=args.tags,
            ),
            scope=scope,
            parent=self,
        ).outputs


def _kept(path: str) -> str:
    """The folder of a model that is mounted; of an archive, what it lies in.

    >>> _kept("fraud/3/"), _kept("fraud/3/model.tar.gz")
    ('fraud/3/', 'fraud/3/')
    """
    return path if path.endswith("/") else f"{path.rpartition('/')[0]}/".removeprefix("/")


def instances(requests: int, at_once: int) -> int:
    """Instances for so many requests at once.

    >>> instances(10, 4)
    3
    """
    return ceil(requests / at_once)
