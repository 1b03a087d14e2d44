"""Prompts and answers: logged, encrypted, for as long as they may be kept, and read by few."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.contracts import Text
from components.core.google import agent, labels, nth
from components.core.monitoring import Alarm, Query
from components.core.naming import Names
from components.gcp.blocks.alarms import Alarms, AlarmsArgs
from components.gcp.blocks.workload import Grant, Workload, WorkloadArgs
from components.scope import Component, Scope, after

_DAY_MS = 24 * 3600 * 1000
_API = "https://workflowexecutions.googleapis.com/v1"
_SCHEDULE = "*/15 * * * *"
# "Use the legacy streaming API", required permissions: that of the data set goes with whoever has it on the table.
_ADDS = ("bigquery.tables.get", "bigquery.tables.updateData")
_TABLE = "endpoints"
_COLUMNS: Mapping[str, tuple[str, str, str]] = {
    "time": ("TIMESTAMP", "REQUIRED", "When it was asked."),
    "endpoint": ("STRING", "REQUIRED", "Which model of ours."),
    "request_id": ("STRING", "REQUIRED", "The same of a question and its answer."),
    "stopped": ("STRING", "NULLABLE", "What the guardrail stopped: prompt or answer."),
    "request": ("STRING", "NULLABLE", "What was asked, as JSON."),
    "answer": ("STRING", "NULLABLE", "What was answered, as JSON."),
}
"""What the guard writes (runtime/guard/guard.py)."""
# "Log requests and responses": no other role than Vertex AI Administrator holds it, which may do everything else as well.
_SETS = "aiplatform.endpoints.setPublisherModelConfig"


@dataclass(frozen=True, kw_only=True)
class PromptsArgs:
    """What is logged, where, and who reads it."""

    apis: Mapping[str, Text]
    number: str
    """Number of the project."""
    models: Sequence[str]
    """Models of publishers that are called: `publishers/…/models/…`."""
    endpoints: bool = False
    """Whether models of ours in the cluster are asked, and their pods write it down."""
    days: int
    """How long they are kept."""
    readers: Mapping[str, str]
    """Persona to the address of its group."""
    key: contracts.Key
    """BigQuery may use it."""
    workflow_key: contracts.Key
    starter: Text | None
    """E-mail of who starts workflows; without a model of a publisher there may be none."""
    generation: int
    """Which life of the environment this is: the id of a custom role is free again after weeks only."""
    critical: Sequence[Text] = ()


class Prompts(Component):
    """Every prompt to a model of a publisher on Vertex AI and every answer, in a dataset that few may read.

    Where they go is a setting of each model in the project and region (`setPublisherModelConfig`), which no provider declares
    (hashicorp/terraform-provider-google#24092). So a workflow declares it, every quarter of an hour: whoever turns it off has
    it on again. Vertex AI makes a table in the dataset, in partitions by the hour, each of which expires. A model that is no
    longer described stays logged. Of partners only Anthropic's are logged, and only where the address is a region's.

    What models of ours in the cluster are asked lies in the same dataset, in a table in partitions by the day: whoever reads the
    one reads the other, for as long and with the same key. Their pods add to it; see `Pod`.

    Owns the dataset, that table and the role that adds to it, readers and writer, the workflow with its identity, role and
    schedule, and the alert when it fails. Never owns what is called, nor the grant of pods. Costs 0.02 USD a GB a month (BigQuery
    storage, us-central1, 2026-07), 0.10 for the schedule and less than a dollar for the steps. A destroy takes the workflow
    first, so that logging ends up where nothing is: turn it off before, or keep the dataset.

    >>> role_id(Names("acme-ai", "dev"), 1)
    'acme_ai_dev_prompts'
    """

    outputs: contracts.Prompts

    def __init__(self, name: str, args: PromptsArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the dataset, let Vertex AI write and people read, and have it set for each model."""
        super().__init__(name, scope, parent)
        self._args = args
        project = args.apis["bigquery.googleapis.com"]
        dataset = gcp.bigquery.Dataset(
            f"{name}-dataset",
            # No hyphens ("Name datasets").
            dataset_id=scope.names.full("prompts").replace("-", "_"),
            description="Prompts and answers of language models.",
            project=project,
            location=scope.region,
            default_encryption_configuration={"kms_key_name": args.key.id},
            # Of a table in partitions each expires, of another one the whole: in no case is anything kept for longer.
            default_partition_expiration_ms=args.days * _DAY_MS,
            default_table_expiration_ms=args.days * _DAY_MS,
            delete_contents_on_destroy=scope.deletable,
            labels=labels(scope.tags),
            opts=self.options(holds_data=True),
        )
        grants = [
            gcp.bigquery.DatasetIamMember(
                f"{name}-writer",
                project=project,
                dataset_id=dataset.dataset_id,
                role="roles/bigquery.dataEditor",
                member=agent("aiplatform.googleapis.com", args.number),
                opts=self.options(),
            ),
            *self._readers(dataset),
        ]
        place = after(pulumi.Output.concat("projects/", project, "/datasets/", dataset.dataset_id), *grants)
        made = self._keep(dataset, grants, args.starter) if args.models and args.starter is not None else []
        table = self._table(dataset) if args.endpoints else None
        self.outputs = contracts.Prompts(
            id=after(made[0].id, *made) if made else place,
            place=place,
            table=(dataset.dataset_id, table.table_id) if table else None,
            writes=self._adds() if table else None,
        )
        self.finish(self.outputs)

    def _table(self, dataset: gcp.bigquery.Dataset) -> gcp.bigquery.Table:
        columns = [
            {"name": name, "type": kind, "mode": mode, "description": what}
            for name, (kind, mode, what) in _COLUMNS.items()
        ]
        return gcp.bigquery.Table(
            f"{self.name}-endpoints",
            dataset_id=dataset.dataset_id,
            table_id=_TABLE,
            description="Prompts and answers of models of ours in the cluster.",
            project=self._args.apis["bigquery.googleapis.com"],
            schema=json.dumps(columns),
            time_partitioning={"type": "DAY", "field": "time", "expiration_ms": self._args.days * _DAY_MS},
            encryption_configuration={"kms_key_name": self._args.key.id},
            deletion_protection=not self.scope.deletable,
            labels=labels(self.scope.tags),
            opts=self.options(holds_data=True),
        )

    def _adds(self) -> Text:
        """To add is not to read: every role of Google's that may do the one may do the other."""
        return gcp.projects.IAMCustomRole(
            f"{self.name}-adds",
            role_id=writer_id(self.scope.names, self._args.generation),
            title="Adds prompts",
            description="Adds prompts and answers to their table, and reads none.",
            permissions=list(_ADDS),
            project=self._args.apis["iam.googleapis.com"],
            opts=self.options(),
        ).name

    def _readers(self, dataset: gcp.bigquery.Dataset) -> list[pulumi.Resource]:
        args, found = self._args, list[pulumi.Resource]()
        for persona, group in args.readers.items():
            found.append(
                gcp.bigquery.DatasetIamMember(
                    f"{self.name}-{persona}",
                    project=args.apis["bigquery.googleapis.com"],
                    dataset_id=dataset.dataset_id,
                    role="roles/bigquery.dataViewer",
                    member=f"group:{group}",
                    opts=self.options(),
                )
            )
            # A query is a job of the project; it sees nothing that its author may not read.
            found.append(
                gcp.projects.IAMMember(
                    f"{self.name}-{persona}-queries",
                    project=args.apis["cloudresourcemanager.googleapis.com"],
                    role="roles/bigquery.jobUser",
                    member=f"group:{group}",
                    opts=self.options(),
                )
            )
        return found

    def _keep(
        self, dataset: gcp.bigquery.Dataset, grants: Sequence[pulumi.Resource], starter: Text
    ) -> list[gcp.workflows.Workflow | gcp.cloudscheduler.Job]:
        """The workflow that sets it, and its schedule."""
        args, scope = self._args, self.scope
        physical = scope.names.of(self.name, "workflow")
        role = gcp.projects.IAMCustomRole(
            f"{self.name}-role",
            role_id=role_id(scope.names, args.generation),
            title="Logging of prompts",
            description="Says where prompts to models of publishers are logged.",
            permissions=[_SETS],
            project=args.apis["iam.googleapis.com"],
            opts=self.options(),
        )
        identity = Workload(
            "log-prompts",
            WorkloadArgs(
                description="Says where prompts to models of publishers are logged.",
                apis=args.apis,
                grants={"sets": Grant(role=role.name), "logs": Grant(role="roles/logging.logWriter")},
            ),
            scope=scope,
            parent=self,
        ).outputs.id
        to = dataset.dataset_id.apply(lambda found: f"bq://{scope.account}.{found}.requests")
        made = gcp.workflows.Workflow(
            f"{self.name}-workflow",
            name=physical,
            description="Has prompts and answers of models of publishers logged.",
            project=args.apis["workflows.googleapis.com"],
            region=scope.region,
            service_account=identity,
            source_contents=pulumi.Output.json_dumps(
                workflow(scope.account, scope.region, sorted(set(args.models)), to), sort_keys=True
            ),
            crypto_key_name=args.workflow_key.id,
            call_log_level="LOG_ERRORS_ONLY",
            deletion_protection=False,
            labels=labels(scope.tags),
            opts=self.options(depends_on=[*grants, self._watch(physical)]),
        )
        path = f"projects/{scope.account}/locations/{scope.region}/workflows/{physical}"
        schedule = gcp.cloudscheduler.Job(
            f"{self.name}-schedule",
            name=scope.names.of(self.name, "schedule"),
            description="Has prompts logged, whoever turned it off.",
            project=args.apis["cloudscheduler.googleapis.com"],
            region=scope.region,
            schedule=_SCHEDULE,
            time_zone="Etc/UTC",
            attempt_deadline="180s",
            retry_config={"retry_count": 0},
            http_target={
                "http_method": "POST",
                "uri": args.apis["workflowexecutions.googleapis.com"].apply(lambda _: f"{_API}/{path}/executions"),
                "headers": {"Content-Type": "application/json"},
                "body": base64.b64encode(json.dumps({"argument": "{}"}).encode()).decode(),
                "oauth_token": {
                    "service_account_email": starter,
                    "scope": "https://www.googleapis.com/auth/cloud-platform",
                },
            },
            opts=self.options(depends_on=[made]),
        )
        return [made, schedule]

    def _watch(self, physical: str) -> Alarms:
        chosen = 'monitored_resource="workflows.googleapis.com/Workflow"' + f',workflow_id="{physical}",status="FAILED"'
        alarm = Alarm(
            name=f"{self.name}-not-logged",
            meaning="It cannot be said that prompts are logged: the workflow that has them logged failed twice within an hour.",
            first="The last execution of the workflow: which model refused the setting, and why.",
            severity="critical",
            condition=Query(
                promql=f"sum(increase(workflows_googleapis_com:finished_execution_count{{{chosen}}}[1h])) >= 2"
            ),
            minutes=0,
        )
        args = self._args
        return Alarms(
            f"{self.name}-alarm",
            AlarmsArgs(apis=args.apis, alarms=[alarm], critical=list(args.critical), warning=[]),
            scope=self.scope,
            parent=self,
        )


def role_id(names: Names, generation: int) -> str:
    """Id of the custom role, for whoever may grant it."""
    return names.of(nth("prompts", generation), "custom_role").replace("-", "_")


def writer_id(names: Names, generation: int) -> str:
    """Id of the custom role of pods that add to the table."""
    return names.of(nth("prompts-adds", generation), "custom_role").replace("-", "_")


def workflow(project: str, region: str, models: Sequence[str], to: pulumi.Input[str]) -> dict[str, Any]:
    """What sets it, for one model after the other; one that refuses ends the run, after the others.

    >>> workflow("acme", "us-central1", ["publishers/google/models/gemini-2.5-flash@001"], "bq://a.b.c")["main"]["steps"][0]
    {'begin': {'assign': [{'models': ['publishers/google/models/gemini-2.5-flash']}, {'refused': []}]}}
    """
    host = f"https://{region}-aiplatform.googleapis.com/v1beta1/projects/{project}/locations/{region}/"
    # Every version of a model is logged, so none is named.
    bare = list(dict.fromkeys(model.partition("@")[0] for model in models))
    body = {
        "publisherModelConfig": {
            "loggingConfig": {"enabled": True, "samplingRate": 1, "bigqueryDestination": {"outputUri": to}}
        }
    }
    call = {
        "call": "http.post",
        "args": {
            "url": f'${{"{host}" + model + ":setPublisherModelConfig"}}',
            "auth": {"type": "OAuth2"},
            "body": body,
        },
    }
    tried = {"try": call, "except": {"as": "e", "steps": [{"note": {"assign": [
        {"refused": '${list.concat(refused, model + ": " + json.encode_to_string(e))}'}
    ]}}]}}  # fmt: skip
    return {
        "main": {
            "steps": [
                {"begin": {"assign": [{"models": bare}, {"refused": []}]}},
                {"each": {"for": {"value": "model", "in": "${models}", "steps": [{"set": tried}]}}},
                {
                    "judge": {
                        "switch": [
                            {
                                "condition": "${len(refused) > 0}",
                                "steps": [{"fail": {"raise": "${json.encode_to_string(refused)}"}}],
                            }
                        ]
                    }
                },
            ]
        }
    }
