"""Pipelines that train on a cadence: Workflows that drive jobs of Vertex AI."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.contracts import Text
from components.core.google import labels, nth
from components.core.naming import Names
from components.core.vertex import spec
from components.gcp.blocks.workload import Grant, Workload, WorkloadArgs
from components.scope import Component, Scope, after
from components.spec.experiments import Gate, Job, Run

_REGISTER = Path(__file__).parents[3] / "runtime" / "gcp" / "register_model.py"
_HOUR = 3600
# Hours that a job may wait for machines where the description does not say.
_WAIT_HOURS = 24
# The least that a machine of a job has ("DiskSpec", bootDiskSizeGb).
_LEAST_DISK_GB = 100
# What registers a model, which is small work.
_REGISTRAR: Mapping[str, Any] = {"machineType": "e2-standard-4"}
_WAITS = "model-waits-for-approval"
# What a workflow does for itself. Source: IAM "Vertex AI permissions", "Cloud Logging permissions".
_DRIVE = (
    "aiplatform.customJobs.cancel", "aiplatform.customJobs.create", "aiplatform.customJobs.get",
    "logging.logEntries.create",
)  # fmt: skip
_READ, _WRITE = "roles/storage.objectViewer", "roles/storage.objectUser"


@dataclass(frozen=True, kw_only=True)
class PipelinesArgs:
    """Which pipelines there are, and what they stand on."""

    apis: Mapping[str, contracts.Text]
    number: str
    """Number of the project."""
    runs: Mapping[str, Run]
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    """By pipeline."""
    zones: Mapping[str, contracts.Storage]
    model_zone: str
    """The one of them that holds models."""
    candidates: Mapping[str, Text]
    """By model, the address of the repository of its candidates."""
    python: pulumi.Input[str]
    """Image with Python, in which a model is packed and pushed."""
    network: contracts.Network
    key: contracts.Key
    tracking: contracts.Tracking | None = None
    record: Text | None = None
    """Role that an identity needs to record experiments."""
    warning: Sequence[Text] = ()
    """Channels that are told when a run fails, does not start, or leaves a version that waits for approval."""
    generation: int
    """Which life of the environment this is: the id of a custom role is free again after weeks only."""


class Pipelines(Component):
    """Pipelines of four steps: prepare, train, evaluate and, where the model is good enough, register.

    A workflow starts one job of Vertex AI after the other. A version that was registered waits: somebody approves it in the
    registry, the channels tell them so, and no pipeline can. Every job runs in the network, encrypted with our key, on the
    machines that the description names and not a machine more, and is stopped when its time is over. Buckets are mounted below
    `/gcs`; its identity reads the pipeline's inputs, writes below `pipelines/{name}/` and, for the model and its
    measurements, below `{model}/` in the zone of models. It sees the names of other objects in those buckets, since a mounted
    bucket lists them.

    Owns the workflows, their identities and schedules, and the alerts. Never owns data, images or the registry.

    Costs what its jobs cost; a step of a workflow 0.00001 USD, an alert 0.10 USD a month (2026-07). A destroy takes everything
    in a tier that deletes; a run that is going on is cancelled, its job ends by itself.

    >>> bound(Gate(metric="error", at_most=0.1))
    '${measured.error <= 0.100000}'
    """

    outputs: contracts.Pipelines

    def __init__(self, name: str, args: PipelinesArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the workflows, and what starts and watches them."""
        super().__init__(name, scope, parent)
        self._args = args
        made: dict[str, gcp.workflows.Workflow] = {}
        if args.runs:
            self._role = gcp.projects.IAMCustomRole(
                f"{name}-role",
                role_id=role_id(scope.names, args.generation),
                title="Pipeline",
                description="Starts jobs of a pipeline and waits for them.",
                permissions=list(_DRIVE),
                project=args.apis["iam.googleapis.com"],
                opts=self.options(),
            ).name
            made = {pipeline: self._workflow(run) for pipeline, run in args.runs.items()}
            self._watch(made)
        started = self._schedules({pipeline: made[pipeline] for pipeline, run in args.runs.items() if run.schedule})
        self.outputs = contracts.Pipelines(
            ids={
                pipeline: after(resource.id, *([started[pipeline]] if pipeline in started else []))
                for pipeline, resource in made.items()
            }
        )
        self.finish(self.outputs)

    def _workflow(self, run: Run) -> gcp.workflows.Workflow:
        args, scope, label = self._args, self.scope, f"{self.name}-{run.name}"
        worker = self._worker(run)
        network = args.network.id.apply(lambda found: found.rpartition("/")[2])
        where = Where(
            parent=f"projects/{scope.account}/locations/{scope.region}",
            region=scope.region,
            name=scope.names.of(run.name, "workflow"),
            inputs={
                channel: pulumi.Output.concat("/gcs/", args.zones[data.zone].name, f"/{data.prefix}")
                for channel, data in run.inputs.items()
            },
            work=pulumi.Output.concat(args.zones[run.zone].name, f"/pipelines/{run.name}"),
            bucket=args.zones[args.model_zone].name,
            worker=worker,
            # By the number of the project, which Vertex AI wants ("CustomJobSpec", network).
            network=pulumi.Output.concat(f"projects/{args.number}/global/networks/", network),
            key=args.key.id,
            repository=pulumi.Output.concat(args.candidates[run.model], f"/{run.model}"),
            python=args.python,
            tensorboard=args.tracking.uri if args.tracking else None,
            labels={**labels({**scope.tags, **args.tags.get(run.name, {})}), "pipeline": run.name},
        )
        return gcp.workflows.Workflow(
            label,
            name=where.name,
            description=f"Prepares, trains, evaluates and registers {run.model}.",
            project=args.apis["workflows.googleapis.com"],
            region=scope.region,
            service_account=self._driver(run, worker),
            source_contents=pulumi.Output.json_dumps(workflow(run, where), sort_keys=True),
            crypto_key_name=args.key.id,
            call_log_level="LOG_ALL_CALLS",
            execution_history_level="EXECUTION_HISTORY_BASIC",
            deletion_protection=not scope.deletable,
            labels=where.labels,
            opts=self.options(),
        )

    def _worker(self, run: Run) -> Text:
        """Who the jobs of a pipeline are."""
        args = self._args
        repository = args.candidates[run.model].apply(lambda address: address.rpartition("/")[2])
        grants = {
            "logs": Grant(role="roles/logging.logWriter"),
            "metrics": Grant(role="roles/monitoring.metricWriter"),
            "candidates": Grant(role="roles/artifactregistry.writer", repository=(self.scope.region, repository)),
            **{f"input-{channel}": self._below(_READ, data.zone, data.prefix) for channel, data in run.inputs.items()},
            "work": self._below(_WRITE, run.zone, f"pipelines/{run.name}/"),
            "models": self._below(_WRITE, args.model_zone, f"{run.model}/"),
        }
        if args.record is not None:
            grants["experiments"] = Grant(role=args.record)
        return Workload(
            f"pipeline-{run.name}",
            WorkloadArgs(description=f"Jobs of the pipeline {run.name}.", apis=args.apis, grants=grants),
            scope=self.scope,
            parent=self,
        ).outputs.id

    def _driver(self, run: Run, worker: Text) -> Text:
        """Who starts those jobs and reads what was measured; nothing else can make a job as them."""
        args, scope = self._args, self.scope
        driver = Workload(
            f"pipeline-{run.name}-drive",
            WorkloadArgs(
                description=f"Drives the pipeline {run.name}.",
                apis=args.apis,
                grants={
                    "drive": Grant(role=self._role),
                    "measured": self._below(_READ, args.model_zone, f"{run.model}/"),
                },
            ),
            scope=scope,
            parent=self,
        ).outputs.id
        acts = gcp.serviceaccount.IAMMember(
            f"{self.name}-{run.name}-acts",
            service_account_id=pulumi.Output.concat(f"projects/{scope.account}/serviceAccounts/", worker),
            role="roles/iam.serviceAccountUser",
            member=pulumi.Output.concat("serviceAccount:", driver),
            opts=self.options(),
        )
        return after(driver, acts)

    def _below(self, role: str, zone: str, prefix: str) -> Grant:
        """A role on what lies under a prefix of a zone; on the whole zone where there is none.

        A mounted bucket is listed, which is a right on the bucket and not on what lies in it.
        """
        bucket = self._args.zones[zone].resource
        if not prefix:
            return Grant(role=role, bucket=bucket)
        objects = f"projects/_/buckets/{self.scope.names.of(zone, 'bucket')}/objects/{prefix}"
        expression = f'resource.type == "storage.googleapis.com/Bucket" || resource.name.startsWith("{objects}")'
        return Grant(role=role, bucket=bucket, condition=("below-a-prefix", expression))

    def _schedules(self, workflows: Mapping[str, gcp.workflows.Workflow]) -> dict[str, gcp.cloudscheduler.Job]:
        """What starts pipelines when their time has come."""
        if not workflows:
            return {}
        args, scope = self._args, self.scope
        starter = Workload(
            "pipeline-start",
            WorkloadArgs(
                description="Starts pipelines when their time has come.",
                apis=args.apis,
                # A workflow has no policy of its own.
                grants={"start": Grant(role="roles/workflows.invoker")},
            ),
            scope=scope,
            parent=self,
        ).outputs.id
        return {
            pipeline: gcp.cloudscheduler.Job(
                f"{self.name}-schedule-{pipeline}",
                name=scope.names.of(pipeline, "schedule"),
                description=f"Starts the pipeline {pipeline}.",
                project=args.apis["cloudscheduler.googleapis.com"],
                region=scope.region,
                schedule=args.runs[pipeline].schedule,
                time_zone=args.runs[pipeline].time_zone,
                attempt_deadline="180s",
                retry_config={"retry_count": 5, "min_backoff_duration": "30s", "max_backoff_duration": "600s"},
                http_target={
                    "http_method": "POST",
                    "uri": args.apis["workflowexecutions.googleapis.com"]
                    .apply(lambda _, made=made: made.id)
                    .apply(lambda found: f"https://workflowexecutions.googleapis.com/v1/{found}/executions"),
                    "headers": {"Content-Type": "application/json"},
                    "body": base64.b64encode(json.dumps({"argument": "{}"}).encode()).decode(),
                    "oauth_token": {
                        "service_account_email": starter,
                        "scope": "https://www.googleapis.com/auth/cloud-platform",
                    },
                },
                opts=self.options(depends_on=[made]),
            )
            for pipeline, made in workflows.items()
        }

    def _watch(self, workflows: Mapping[str, gcp.workflows.Workflow]) -> None:
        """Tell people of runs that failed, of starts that failed, and of versions that wait for them."""
        names = [made.name for made in workflows.values()]
        failed = pulumi.Output.all(*names).apply(
            lambda known: (
                'resource.type = "workflows.googleapis.com/Workflow"'
                f" AND resource.labels.workflow_id = {_one_of(known)}"
                ' AND metric.type = "workflows.googleapis.com/finished_execution_count"'
                ' AND metric.labels.status = "FAILED"'
            )
        )
        self._alert(
            "failed",
            "a pipeline failed",
            "A run failed, or its model did not reach what it has to. The workflow's executions say which step it was.",
            {
                "display_name": "A run ended without success",
                "condition_threshold": {
                    "filter": failed,
                    "comparison": "COMPARISON_GT",
                    "threshold_value": 0,
                    "duration": "0s",
                    "aggregations": [{"alignment_period": "300s", "per_series_aligner": "ALIGN_DELTA"}],
                },
            },
        )
        self._alert(
            "waiting",
            "a version of a model waits for approval",
            "What and where stand in the labels; `gcrane cp` copies it to what is approved.",
            {
                "display_name": "A candidate was registered",
                "condition_matched_log": {
                    "filter": f'resource.type="workflows.googleapis.com/Workflow" AND jsonPayload.event="{_WAITS}"',
                    "label_extractors": {
                        "repository": "EXTRACT(jsonPayload.repository)",
                        "version": "EXTRACT(jsonPayload.version)",
                    },
                },
            },
        )
        self._alert(
            "not-started",
            "a pipeline was not started",
            "Its time had come, and five tries failed. The scheduler's log says why.",
            {
                "display_name": "A start failed",
                "condition_matched_log": {
                    "filter": 'resource.type="cloud_scheduler_job" AND severity>=ERROR'
                    f' AND resource.labels.job_id=~"^{self.scope.names.full("")}"',
                },
            },
        )

    def _alert(self, label: str, title: str, text: str, condition: Mapping[str, Any]) -> None:
        args, scope = self._args, self.scope
        # An alert on logs wants a limit; half an hour is the shortest that an incident stays open.
        strategy: Any = {"notification_rate_limit": {"period": "300s"}, "auto_close": "1800s"}
        gcp.monitoring.AlertPolicy(
            f"{self.name}-{label}",
            display_name=f"{scope.environment}: {title}",
            project=args.apis["monitoring.googleapis.com"],
            combiner="OR",
            severity="WARNING",
            conditions=[dict(condition)],  # pyright: ignore[reportArgumentType]
            alert_strategy=strategy if "condition_matched_log" in condition else None,
            documentation={"mime_type": "text/markdown", "content": text},
            notification_channels=list(args.warning),
            user_labels=labels(scope.tags),
            opts=self.options(),
        )


@dataclass(frozen=True, kw_only=True)
class Where:
    """What the workflow of one pipeline refers to."""

    parent: str
    """Project and location of its jobs."""
    region: str
    name: str
    inputs: Mapping[str, pulumi.Input[str]]
    """By channel, the folder where the data is mounted."""
    work: pulumi.Input[str]
    """Bucket and prefix of what is of no use after a run."""
    bucket: pulumi.Input[str]
    """Bucket of models."""
    worker: pulumi.Input[str]
    network: pulumi.Input[str]
    key: pulumi.Input[str]
    repository: pulumi.Input[str]
    """Where candidates are pushed to."""
    python: pulumi.Input[str]
    tensorboard: pulumi.Input[str] | None
    labels: Mapping[str, str]


def workflow(run: Run, where: Where) -> dict[str, Any]:
    """The source of a pipeline's workflow ("Syntax overview"), in JSON, which Workflows takes as it takes YAML.

    What each run has for itself goes by the id of its execution.
    """
    variables = {f"INPUT_{channel.upper().replace('-', '_')}": folder for channel, folder in where.inputs.items()}
    steps = {
        "prepare": _body(
            "prepare",
            run.prepare,
            where,
            {**variables, "OUTPUT_TRAIN": _join("work", "train"), "OUTPUT_TEST": _join("work", "test")},
        ),
        "train": _body(
            "train",
            run.train,
            where,
            {
                "INPUT_TRAIN": _join("work", "train"),
                "MODEL": _join("package", "model"),
                "CHECKPOINT": _join("work", "checkpoints"),
            },
            spot=run.spot,
        ),
        "evaluate": _body(
            "evaluate",
            run.evaluate,
            where,
            {
                "INPUT_TEST": _join("work", "test"),
                "MODEL": _join("package", "model"),
                "OUTPUT_EVALUATION": _join("package", "evaluation"),
            },
        ),
    }
    if where.tensorboard is not None:
        steps["train"]["jobSpec"] |= {
            "tensorboard": where.tensorboard,
            "baseOutputDirectory": {"outputUriPrefix": pulumi.Output.concat('${"gs://', where.work, '/" + run}')},
        }
    hours = {
        "prepare": run.prepare.max_hours + _WAIT_HOURS,
        "train": run.train.max_hours + (run.max_wait_hours if run.spot else _WAIT_HOURS),
        "evaluate": run.evaluate.max_hours + _WAIT_HOURS,
    }
    init = {
        "assign": [
            {"run": '${sys.get_env("GOOGLE_CLOUD_WORKFLOW_EXECUTION_ID")}'},
            {"work": pulumi.Output.concat('${"/gcs/', where.work, '/" + run}')},
            {"prefix": f'${{"{run.model}/" + run}}'},
            {"package": pulumi.Output.concat('${"/gcs/', where.bucket, '/" + prefix}')},
        ]
    }
    return {
        "main": {
            "steps": [
                {"init": init},
                *({step: _call(body, hours[step])} for step, body in steps.items()),
                *_gate(run, where),
                {"register": _call(_registrar(run, where), 1 + _WAIT_HOURS)},
                {
                    "tell": {
                        "call": "sys.log",
                        "args": {
                            "severity": "NOTICE",
                            "json": {
                                "event": _WAITS,
                                "pipeline": run.name,
                                "model": run.model,
                                "repository": where.repository,
                                "version": "${run}",
                            },
                        },
                    }
                },
                {"done": {"return": {"repository": where.repository, "version": "${run}"}}},
            ]
        },
        "job": _job(where),
    }


def _gate(run: Run, where: Where) -> list[dict[str, Any]]:
    """Go on with a model that is good enough; fail with one that is not."""
    measured = pulumi.Output.concat(
        '${"https://storage.googleapis.com/storage/v1/b/',
        where.bucket,
        '/o/" + text.url_encode(prefix + "/evaluation/evaluation.json") + "?alt=media"}',
    )
    return [
        {
            "measure": {
                "try": {
                    "call": "http.get",
                    "args": {"url": measured, "auth": {"type": "OAuth2"}},
                    "result": "answer",
                },
                "retry": "${http.default_retry}",
            }
        },
        # Of a file that says it is JSON the body is parsed already; what a job wrote into a mounted bucket may not say so.
        {"take": {"assign": [{"measured": "${answer.body}"}]}},
        {
            "parsed": {
                "switch": [{"condition": '${get_type(measured) == "map"}', "next": "good_enough"}],
                "next": "parse",
            }
        },
        {"parse": {"assign": [{"measured": "${json.decode(answer.body)}"}]}},
        {
            "good_enough": {
                "switch": [{"condition": bound(run.gate), "next": "register"}],
                "next": "not_good_enough",
            }
        },
        {"not_good_enough": {"raise": f"{run.gate.metric} is not what it has to be."}},
    ]


def _job(where: Where) -> dict[str, Any]:
    """Run a job to its end, as the connector does, and fail with one that failed."""
    return {
        "params": ["body", "seconds"],
        "steps": [
            {
                "run": {
                    "call": "googleapis.aiplatform.v1.projects.locations.customJobs.create",
                    "args": {
                        "parent": where.parent,
                        "region": where.region,
                        "body": "${body}",
                        # Half an hour would be all that it waits ("Connectors reference").
                        "connector_params": {
                            "timeout": "${seconds}",
                            "polling_policy": {"initial_delay": 60, "multiplier": 1.5, "max_delay": 300},
                        },
                    },
                    "result": "made",
                }
            },
            {
                "ended": {
                    "switch": [{"condition": '${made.state == "JOB_STATE_SUCCEEDED"}', "return": "${made.name}"}],
                    "next": "failed",
                }
            },
            {"failed": {"raise": '${made.name + " ended as " + made.state}'}},
        ],
    }


def _call(body: Mapping[str, Any], hours: int) -> dict[str, Any]:
    return {"call": "job", "args": {"body": dict(body), "seconds": hours * _HOUR}}


def _body(
    step: str, job: Job, where: Where, folders: Mapping[str, pulumi.Input[str]], *, spot: bool = False
) -> dict[str, Any]:
    """A job of Vertex AI (CustomJob)."""
    container: dict[str, Any] = {
        "imageUri": job.image,
        "env": [{"name": name, "value": value} for name, value in {**job.environment, **folders}.items()],
    }
    if job.arguments:
        container["args"] = list(job.arguments)
    return _custom_job(
        step,
        where,
        container,
        spec(job.machine),
        job.machines,
        job.disk_gib,
        job.max_hours,
        "SPOT" if spot else "STANDARD",
    )


def _registrar(run: Run, where: Where) -> dict[str, Any]:
    """The job that packs a model and pushes it."""
    container = {
        "imageUri": where.python,
        "command": ["python3", "-c", _REGISTER.read_text(encoding="utf-8")],
        "args": [
            *("--folder", _join("package", "model")),
            *("--repository", where.repository),
            *("--tag", "${run}"),
            *("--label", f"pipeline={run.name}"),
            *("--label", pulumi.Output.concat('${"evaluation=gs://', where.bucket, '/" + prefix + "/evaluation"}')),
        ],
    }
    return _custom_job("register", where, container, _REGISTRAR, 1, _LEAST_DISK_GB, 1, "STANDARD")


def _custom_job(
    step: str,
    where: Where,
    container: Mapping[str, Any],
    machine: Mapping[str, Any],
    machines: int,
    disk_gib: int,
    hours: int,
    strategy: str,
) -> dict[str, Any]:
    pool = {
        "machineSpec": dict(machine),
        "diskSpec": {"bootDiskType": "pd-ssd", "bootDiskSizeGb": max(disk_gib, _LEAST_DISK_GB)},
        "containerSpec": dict(container),
    }
    # The first pool is the one machine that leads.
    pools = [{**pool, "replicaCount": "1"}]
    if machines > 1:
        pools.append({**pool, "replicaCount": str(machines - 1)})
    return {
        "displayName": f"{where.name}-{step}",
        "jobSpec": {
            "workerPoolSpecs": pools,
            "scheduling": {"timeout": f"{hours * _HOUR}s", "strategy": strategy, "restartJobOnWorkerRestart": False},
            "serviceAccount": where.worker,
            "network": where.network,
            "enableWebAccess": False,
        },
        "encryptionSpec": {"kmsKeyName": where.key},
        "labels": dict(where.labels),
    }


def _join(variable: str, name: str) -> str:
    """An expression: what lies below the folder that a variable holds."""
    return f'${{{variable} + "/{name}"}}'


def role_id(names: Names, generation: int) -> str:
    """Id of the custom role of workflows.

    >>> role_id(Names("acme-ai", "dev"), 1)
    'acme_ai_dev_pipeline'
    """
    return names.of(nth("pipeline", generation), "custom_role").replace("-", "_")


def _one_of(values: Sequence[str]) -> str:
    """A set of values in a filter of Cloud Monitoring."""
    return f"one_of({', '.join(json.dumps(value) for value in values)})"


def bound(gate: Gate) -> str:
    """The condition that a measurement has to fulfil."""
    sign, value = ("<=", gate.at_most) if gate.at_least is None else (">=", gate.at_least)
    return f"${{measured.{gate.metric} {sign} {value or 0.0:f}}}"
