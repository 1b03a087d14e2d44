"""Runs over many records."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.contracts import Text
from components.core import rollouts
from components.core.accelerators import Machine
from components.core.google import labels
from components.core.monitoring_rows import Line, row
from components.core.rows import Shown
from components.core.vertex import spec as machine_spec
from components.gcp.blocks.rollout import Platform
from components.gcp.blocks.vertex_model import Packaged, VertexModel, VertexModelArgs
from components.gcp.blocks.workload import Grant, Workload, WorkloadArgs
from components.scope import Component, Scope, after
from components.spec import serving
from components.spec.models import Container, called

_FINISHED = "workflows.googleapis.com/finished_execution_count"
_TOOK = "workflows.googleapis.com/execution_times"
_EXECUTIONS = "https://workflowexecutions.googleapis.com/v1"


@dataclass(frozen=True, kw_only=True)
class BatchArgs:
    """One run, and what it stands on."""

    spec: serving.Batch
    model: Container | Packaged
    image: pulumi.Input[str] | None = None
    """Address of the image, where `model` names one."""
    machine: Machine
    platform: Platform
    callers: Mapping[str, pulumi.Input[str]] = field(default_factory=dict[str, pulumi.Input[str]])
    """E-mails of service accounts that may start runs; Workflows knows no grant on one workflow, so of every one."""
    team: Sequence[Text] = ()
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class Batch(Component):
    """A model that runs over the files of a folder, each line an instance, when it is due or when somebody starts it.

    A workflow enters the model into the registry of Vertex AI, where it is not there yet, runs it (BatchPredictionJob) on so many
    machines and not one more, and stops it when its time is over. Each run writes below `batch/{name}/` into a folder of its own:
    a run that is started twice writes twice, and overwrites nothing.

    Owns the workflow, its identity and that of the model, the schedule and its alerts. Never owns what is read and written.

    Costs machines while a run lasts, 15 % above Compute Engine's prices (2026-10), the schedule 0.10 USD a month. A destroy takes
    everything but what was written; a run that is going on ends by itself.

    >>> folder("transactions")
    'transactions/*'
    """

    outputs: contracts.Endpoint

    def __init__(self, name: str, args: BatchArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the workflow, and what starts and watches it."""
        super().__init__(name, scope, parent)
        self._args = args
        platform, spec = args.platform, args.spec
        source, target = platform.storage[spec.input.zone], platform.storage[spec.zone]
        model = VertexModel(
            f"{name}-model",
            VertexModelArgs(
                platform=platform,
                endpoint=name,
                model=args.model,
                image=args.image,
                grants={
                    "input": self._below("roles/storage.objectViewer", spec.input.zone, spec.input.prefix),
                    "output": self._below("roles/storage.objectUser", spec.zone, f"batch/{name}/"),
                },
                tags=args.tags,
            ),
            scope=scope,
            parent=self,
        )
        physical = scope.names.of(f"batch-{name}", "workflow")
        job: dict[str, Any] = {
            "displayName": physical,
            "inputConfig": {
                "instancesFormat": "jsonl",
                "gcsSource": {"uris": [pulumi.Output.concat(source.uri, "/", folder(spec.input.prefix))]},
            },
            "dedicatedResources": {
                "machineSpec": machine_spec(args.machine),
                "startingReplicaCount": spec.machines,
                "maxReplicaCount": spec.machines,
            },
            "serviceAccount": model.outputs.id,
            "encryptionSpec": {"kmsKeyName": platform.compute_key.id},
            "labels": self._labels(),
        }
        watched = self._watch(physical)
        made = gcp.workflows.Workflow(
            f"{name}-workflow",
            name=physical,
            description=f"Runs {name}.",
            project=platform.apis["workflows.googleapis.com"],
            region=scope.region,
            service_account=self._driver(model),
            source_contents=pulumi.Output.json_dumps(
                rollouts.batch(
                    job,
                    model.model,
                    output=pulumi.Output.concat(target.uri, f"/batch/{name}"),
                    hours=spec.objective.finish_hours,
                ),
                sort_keys=True,
            ),
            crypto_key_name=platform.models_key.id,
            call_log_level="LOG_ALL_CALLS",
            execution_history_level="EXECUTION_HISTORY_BASIC",
            deletion_protection=False,
            labels=self._labels(),
            # Alerts first: nothing runs that nobody watches.
            opts=self.options(depends_on=watched),
        )
        ready: list[pulumi.Resource] = [
            gcp.projects.IAMMember(
                f"{name}-caller-{caller}",
                project=platform.apis["cloudresourcemanager.googleapis.com"],
                role="roles/workflows.invoker",
                member=pulumi.Output.concat("serviceAccount:", email),
                opts=self.options(),
            )
            for caller, email in args.callers.items()
        ]
        if spec.schedule is not None:
            ready.append(self._schedule(made, spec.schedule))
        self.outputs = contracts.Endpoint(
            id=after(made.id, *ready),
            address=after(made.id, *ready).apply(lambda found: f"{_EXECUTIONS}/{found}/executions"),
            version=pulumi.Output.from_input(called(args.spec.model)),
            row=row(
                name,
                spec.kind,
                spec.team,
                [],
                policies=[policy.name for policy in watched],
                log=(scope.account, _selected(physical)),
                more=runs(physical),
            ),
        )
        self.finish(self.outputs)

    def _labels(self) -> dict[str, str]:
        return {**labels({**self.scope.tags, **self._args.tags}), "endpoint": self.name}

    def _below(self, role: str, zone: str, prefix: str) -> Grant:
        """A role on what lies under a prefix of a zone, and on the list of what lies in it."""
        bucket = self._args.platform.storage[zone].resource
        if not prefix:
            return Grant(role=role, bucket=bucket)
        objects = f"projects/_/buckets/{self.scope.names.of(zone, 'bucket')}/objects/{prefix}"
        expression = f'resource.type == "storage.googleapis.com/Bucket" || resource.name.startsWith("{objects}")'
        return Grant(role=role, bucket=bucket, condition=("below-a-prefix", expression))

    def _driver(self, model: VertexModel) -> Text:
        """Who starts runs, and nothing else."""
        args, scope = self._args, self.scope
        driver = Workload(
            f"batch-{self.name}",
            WorkloadArgs(
                description=f"Runs {self.name}.",
                apis=args.platform.apis,
                grants={"run": Grant(role=args.platform.releases.roles["batch"])},
            ),
            scope=scope,
            parent=self,
        ).outputs.id
        acts = [
            gcp.serviceaccount.IAMMember(
                f"{self.name}-acts-{worker}",
                service_account_id=pulumi.Output.concat(f"projects/{scope.account}/serviceAccounts/", identity),
                role="roles/iam.serviceAccountUser",
                member=pulumi.Output.concat("serviceAccount:", driver),
                opts=self.options(),
            )
            for worker, identity in model.workers.items()
        ]
        return after(driver, *acts)

    def _schedule(self, made: gcp.workflows.Workflow, schedule: str) -> gcp.cloudscheduler.Job:
        args, scope = self._args, self.scope
        return gcp.cloudscheduler.Job(
            f"{self.name}-schedule",
            name=scope.names.of(f"batch-{self.name}", "schedule"),
            description=f"Runs {self.name}.",
            project=args.platform.apis["cloudscheduler.googleapis.com"],
            region=scope.region,
            schedule=schedule,
            time_zone=args.spec.time_zone,
            attempt_deadline="180s",
            retry_config={"retry_count": 5, "min_backoff_duration": "30s", "max_backoff_duration": "600s"},
            http_target={
                "http_method": "POST",
                "uri": args.platform.apis["workflowexecutions.googleapis.com"]
                .apply(lambda _: made.id)
                .apply(lambda found: f"{_EXECUTIONS}/{found}/executions"),
                "headers": {"Content-Type": "application/json"},
                "body": base64.b64encode(json.dumps({"argument": "{}"}).encode()).decode(),
                "oauth_token": {
                    "service_account_email": args.platform.releases.starter,
                    "scope": "https://www.googleapis.com/auth/cloud-platform",
                },
            },
            opts=self.options(depends_on=[made]),
        )

    def _watch(self, physical: str) -> list[gcp.monitoring.AlertPolicy]:
        """Tell people of runs that failed or were stopped, and of those that nobody could start."""
        failed = {
            "display_name": "A run ended without success",
            "condition_threshold": {
                "filter": _failed(physical),
                "comparison": "COMPARISON_GT",
                "threshold_value": 0,
                "duration": "0s",
                "aggregations": [{"alignment_period": "300s", "per_series_aligner": "ALIGN_DELTA"}],
            },
        }
        found = [
            self._policy(
                "failed",
                f"{self.name} failed, or was stopped",
                "Its executions say at which step; the job of Vertex AI says why. What it wrote until then lies in the folder of"
                " its execution.",
                failed,
                None,
            )
        ]
        if self._args.spec.schedule is not None:
            job = self.scope.names.of(f"batch-{self.name}", "schedule")
            log = {
                "display_name": "A start failed",
                "condition_matched_log": {
                    "filter": f'resource.type="cloud_scheduler_job" AND severity>=ERROR AND resource.labels.job_id="{job}"'
                },
            }
            # An alert on logs wants a limit; half an hour is the shortest that an incident stays open.
            strategy = {"notification_rate_limit": {"period": "300s"}, "auto_close": "1800s"}
            text = "Its time had come, and five tries failed. The scheduler's log says why."
            found.append(self._policy("not-started", f"{self.name} was not started", text, log, strategy))
        return found

    def _policy(
        self, label: str, title: str, text: str, condition: Mapping[str, Any], strategy: Any
    ) -> gcp.monitoring.AlertPolicy:
        args, scope = self._args, self.scope
        return gcp.monitoring.AlertPolicy(
            f"{self.name}-{label}",
            display_name=f"{scope.environment}: {title}",
            project=args.platform.apis["monitoring.googleapis.com"],
            combiner="OR",
            severity="WARNING",
            conditions=[dict(condition)],  # pyright: ignore[reportArgumentType]
            alert_strategy=strategy,
            documentation={"mime_type": "text/markdown", "content": text},
            notification_channels=[*args.platform.warning, *args.team],
            user_labels=self._labels(),
            opts=self.options(),
        )


def _selected(physical: str, *more: str) -> str:
    return " AND ".join(
        ('resource.type = "workflows.googleapis.com/Workflow"', f'resource.labels.workflow_id = "{physical}"', *more)
    )


def _failed(physical: str) -> str:
    return _selected(physical, f'metric.type = "{_FINISHED}"', 'metric.labels.status = "FAILED"')


def runs(physical: str) -> list[Line]:
    """What a chart shows of runs, by the name of the workflow: those that failed, those that ended, and what they took.

    Source: "Google Cloud metrics", workflows. What a run took is told in the unit of the metric, which the chart knows.
    """

    def asked(chosen: str, reducer: str) -> dict[str, Any]:
        summed = {"alignmentPeriod": "300s", "perSeriesAligner": "ALIGN_DELTA", "crossSeriesReducer": reducer}
        return {"timeSeriesFilter": {"filter": chosen, "aggregation": summed}}

    ended, took = (_selected(physical, f'metric.type = "{metric}"') for metric in (_FINISHED, _TOOK))
    return [
        Line(shown=Shown(slot="answers", label="failed", counted=True), query=asked(_failed(physical), "REDUCE_SUM")),
        Line(shown=Shown(slot="answers", label="ended", counted=True), query=asked(ended, "REDUCE_SUM")),
        Line(shown=Shown(slot="time", label="95 of 100 runs took"), query=asked(took, "REDUCE_PERCENTILE_95")),
    ]


def folder(prefix: str) -> str:
    """All files below a prefix ("GcsSource", uris: wildcards are let through).

    >>> folder("daily/")
    'daily/*'
    """
    below = prefix.rstrip("/")
    return f"{below}/*" if below else "*"
