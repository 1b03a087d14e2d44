"""Endpoints whose machines are always there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import floor
from typing import Any

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.contracts import Text
from components.core import rollouts, watching
from components.core.accelerators import Machine
from components.core.google import agent, labels
from components.core.monitoring_rows import row
from components.core.vertex import spec as machine_spec
from components.gcp.blocks.rollout import Platform, Rollout, RolloutArgs, endpoint_id, guarded
from components.gcp.blocks.vertex_model import Packaged, VertexModel, VertexModelArgs
from components.scope import Component, Scope, after
from components.spec import serving
from components.spec.endpoints import Alarm as Sign
from components.spec.models import Container, called

_API = "aiplatform.googleapis.com"
_ONLINE = f"{_API}/prediction/online"
_BUSY = 60
"""Percent; what Vertex AI takes where nothing is said ("DedicatedResources", autoscalingMetricSpecs)."""
_DAY_MS = 86_400_000


@dataclass(frozen=True, kw_only=True)
class Capture:
    """Where requests and answers are kept."""

    key: contracts.Key
    """BigQuery may use it."""
    days: int
    readers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Persona to the address of the group that reads it: whoever reads captures on AWS, in the zone. It may ask BigQuery."""


@dataclass(frozen=True, kw_only=True)
class RealTimeArgs:
    """One endpoint, and what it stands on."""

    spec: serving.RealTime
    model: Container | Packaged
    image: pulumi.Input[str] | None = None
    """Address of the image, where `model` names one."""
    machine: Machine
    platform: Platform
    private: bool
    """Whether it has an address in the network instead of one of the internet, which shows who calls it either way."""
    connected: Text | None = None
    """Resolves once the network lets Vertex AI make addresses in it (service class `gcp-vertexai`); with `private`."""
    capture: Capture | None = None
    """With a `capture_percent`."""
    signs: Mapping[str, Sign]
    """What is watched, by sign."""
    callers: Mapping[str, pulumi.Input[str]] = field(default_factory=dict[str, pulumi.Input[str]])
    team: Sequence[Text] = ()
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class RealTime(Component):
    """An endpoint of Vertex AI, dedicated or in the network alone, to which a workflow deploys what is declared.

    The provider has no resource that deploys a model (pulumi-gcp 10.2: vertex.AiEndpoint, and one that deploys models of the
    garden as it is created), and its endpoint takes part of no update of traffic unless that is declared, which it is not. The
    endpoint's id follows from its name: alerts know it before it is there, and no version changes it.

    Owns the endpoint, who may call it, the dataset of what it captures and who reads that, its model's identity, and the rollout
    with its alerts.
    Never owns a version, or the network's consent to private addresses.

    Costs machines by the hour, 15 % above Compute Engine's prices, while a release is watched those of two versions; a
    g2-standard-4 0.81 USD an hour (us-central1, 2026-10). A destroy is refused by Vertex AI while a model is deployed: see
    `Rollout`. What was captured goes with it in a tier that deletes.

    >>> metrics(serving.Target(requests_per_second=5), 200, accelerator=False)[0]["target"]
    300
    """

    outputs: contracts.Endpoint

    def __init__(self, name: str, args: RealTimeArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the endpoint and what deploys to it."""
        super().__init__(name, scope, parent)
        self._args = args
        platform = args.platform
        model = VertexModel(
            f"{name}-model",
            VertexModelArgs(platform=platform, endpoint=name, model=args.model, image=args.image, tags=args.tags),
            scope=scope,
            parent=self,
        )
        number = endpoint_id(scope.names, name)
        endpoint = self._endpoint(number)
        callers: list[pulumi.Resource] = [
            gcp.vertex.AiEndpointIamMember(
                f"{name}-caller-{caller}",
                project=platform.apis[_API],
                location=scope.region,
                endpoint=endpoint.name,
                role=platform.releases.roles["call"],
                member=pulumi.Output.concat("serviceAccount:", email),
                opts=self.options(),
            )
            for caller, email in args.callers.items()
        ]
        path = f"projects/{scope.account}/locations/{scope.region}/endpoints/{number}"
        rollout = self._rollout(path, number, model, endpoint)
        host = f"https://{number}.{scope.region}-{platform.number}.prediction.vertexai.goog"
        ready = pulumi.Output.all(after(path, endpoint, *callers), rollout.id).apply(lambda known: str(known[0]))
        self.outputs = contracts.Endpoint(
            id=ready,
            address=ready if args.private else ready.apply(lambda found: f"{host}/v1/{found}"),
            version=pulumi.Output.from_input(called(args.spec.model)),
            row=row(
                name,
                args.spec.kind,
                args.spec.team,
                watching.alarms(name, self._source(number), args.signs),
                policies=rollout.alarms,
                log=(
                    scope.account,
                    f'resource.type="aiplatform.googleapis.com/Endpoint" AND resource.labels.endpoint_id="{number}"',
                ),
            ),
        )
        self.finish(self.outputs)

    def _endpoint(self, number: str) -> gcp.vertex.AiEndpoint:
        args, scope, platform = self._args, self.scope, self._args.platform
        private: dict[str, Any] = {"dedicated_endpoint_enabled": True}
        depends_on: list[pulumi.Resource] = []
        project = platform.apis[_API]
        if args.private:
            if platform.network is None:
                raise ValueError(f"{self.name} is private, and there is no network")
            # By name, whatever the network's id begins with ("PSCAutomationConfig", network).
            network = platform.network.id.apply(
                lambda found: f"projects/{scope.account}/global/networks/{found.rpartition('/')[2]}"
            )
            if args.connected is not None:
                network = pulumi.Output.all(network, args.connected).apply(lambda known: str(known[0]))
            private = {
                "private_service_connect_config": {
                    "enable_private_service_connect": True,
                    "project_allowlists": [scope.account],
                    "psc_automation_configs": [{"project_id": scope.account, "network": network}],
                }
            }
        if args.spec.capture_percent:
            dataset, grants = self._capture()
            depends_on.extend(grants)
            private["predict_request_response_logging_config"] = {
                "enabled": True,
                "sampling_rate": args.spec.capture_percent / 100,
                "bigquery_destination": {
                    "output_uri": dataset.dataset_id.apply(lambda found: f"bq://{scope.account}.{found}")
                },
            }
        return gcp.vertex.AiEndpoint(
            f"{self.name}-endpoint",
            name=number,
            display_name=scope.names.full(self.name)[:128],
            description=f"Endpoint {self.name}.",
            project=project,
            location=scope.region,
            region=scope.region,
            encryption_spec={"kms_key_name": platform.compute_key.id},
            labels=self._labels(),
            # Vertex AI completes the name of the table.
            opts=self.options(
                depends_on=depends_on,
                ignore_changes=["predictRequestResponseLoggingConfig.bigqueryDestination.outputUri"]
                if args.spec.capture_percent
                else [],
            ),
            **private,
        )

    def _labels(self) -> dict[str, str]:
        return {**labels({**self.scope.tags, **self._args.tags}), "endpoint": self.name}

    def _capture(self) -> tuple[gcp.bigquery.Dataset, list[gcp.bigquery.DatasetIamMember]]:
        """Where requests and answers go, for as long as they may be kept, and who writes and who reads them there."""
        scope, platform, capture = self.scope, self._args.platform, self._args.capture
        if capture is None:
            raise ValueError(f"{self.name} captures, and nobody has said where")
        project = platform.apis["bigquery.googleapis.com"]
        dataset = gcp.bigquery.Dataset(
            f"{self.name}-capture",
            # No hyphens ("Name datasets").
            dataset_id=scope.names.full(f"capture-{self.name}").replace("-", "_"),
            description=f"Requests to {self.name}, and its answers.",
            project=project,
            location=scope.region,
            default_encryption_configuration={"kms_key_name": capture.key.id},
            # Of a table in partitions each expires, of another one the whole: in no case is anything kept for longer.
            default_partition_expiration_ms=capture.days * _DAY_MS,
            default_table_expiration_ms=capture.days * _DAY_MS,
            delete_contents_on_destroy=scope.deletable,
            labels=self._labels(),
            opts=self.options(holds_data=True),
        )
        grants = {"writer": ("roles/bigquery.dataEditor", agent(_API, platform.number))}
        for persona, group in capture.readers.items():
            grants[persona] = ("roles/bigquery.dataViewer", f"group:{group}")
        return dataset, [
            gcp.bigquery.DatasetIamMember(
                f"{self.name}-capture-{label}",
                project=project,
                dataset_id=dataset.dataset_id,
                role=role,
                member=member,
                opts=self.options(),
            )
            for label, (role, member) in grants.items()
        ]

    def _source(self, number: str) -> watching.Source:
        machine = self._args.machine
        return watching.vertex(number, cpus=machine.vcpus, accelerator=machine.accelerator is not None)

    def _rollout(
        self, path: str, number: str, model: VertexModel, endpoint: gcp.vertex.AiEndpoint
    ) -> contracts.Rollout:
        args, scope, spec = self._args, self.scope, self._args.spec
        accelerator = args.machine.accelerator is not None
        deployed: dict[str, Any] = {
            "displayName": self.name,
            "dedicatedResources": {
                "machineSpec": machine_spec(args.machine),
                # Vertex AI keeps to the bounds by itself: a new version starts at its least.
                "minReplicaCount": spec.scale.min,
                "maxReplicaCount": spec.scale.max,
                "autoscalingMetricSpecs": metrics(spec.scale.target, spec.objective.p95_ms, accelerator=accelerator),
            },
            "serviceAccount": model.outputs.id,
        }
        # What is deployed, and what it is made of: another content is another version.
        content = pulumi.Output.json_dumps({"deployed": deployed, "model": model.model.alias}, sort_keys=True)
        source = self._source(number)
        release = guarded(spec.release)
        return Rollout(
            f"{self.name}-release",
            RolloutArgs(
                platform=args.platform,
                endpoint=self.name,
                version=after(content.apply(rollouts.number), endpoint),
                target=rollouts.vertex(path, scope.region, deployed, model.model),
                waves=rollouts.waves(release.strategy, getattr(release, "percent", 100), release.bake_minutes),
                guards=watching.guards(source, args.signs, list(release.rollback_on)),
                alarms=watching.alarms(self.name, source, args.signs),
                workers=model.workers,
                team=args.team,
                tags=args.tags,
            ),
            scope=scope,
            parent=self,
        ).outputs


def metrics(target: serving.Target, p95_ms: int, *, accelerator: bool) -> list[dict[str, Any]]:
    """What another replica starts at: the requests that one is given, or use of what it has, whichever comes first.

    Requests are counted by the minute and replica (`request-counts-per-minute` of `gcloud ai endpoints deploy-model`). Of so many
    at once, each as long as the objective allows, the rate follows by Little's law.
    """
    a_second = target.requests_per_second or (target.concurrency or 1) * 1000 / p95_ms
    found = [{"metricName": f"{_ONLINE}/request_count", "target": max(1, floor(a_second * 60))}]
    found.append({"metricName": f"{_ONLINE}/cpu/utilization", "target": _BUSY})
    if accelerator:
        found.append({"metricName": f"{_ONLINE}/accelerator/duty_cycle", "target": _BUSY})
    return found
