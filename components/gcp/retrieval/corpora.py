"""What questions are answered from: a store for each corpus, and what keeps it as its documents are."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.contracts import Text
from components.core import retrieval
from components.core.cloud_sql import API
from components.core.google import agent, labels, nth
from components.core.monitoring_rows import row
from components.core.naming import Names
from components.core.rows import Row
from components.core.watching import undelivered
from components.gcp.blocks.alarms import Alarms, AlarmsArgs
from components.gcp.blocks.cloud_sql import client, sql_user
from components.gcp.blocks.inbox import Inbox, InboxArgs
from components.gcp.blocks.worker import Worker, WorkerArgs
from components.gcp.blocks.workload import Grant, Workload, WorkloadArgs
from components.scope import Component, Scope, after
from components.spec.retrieval import Corpus

DOCUMENTS = "documents/"
"""Where corpora lie in their zone."""
# An object of a collection is a part of a document; the function names the fields, and searches ask for them.
_FIELDS = {"source": "string", "generation": "string", "part": "number", "parts": "number", "text": "string"}
_EVENTS = ("OBJECT_FINALIZE", "OBJECT_DELETE", "OBJECT_ARCHIVE")
# "Cloud Storage roles": without list an object that is gone is answered with 403, and no deletion ever ends.
_READ = ("storage.objects.get", "storage.objects.list")
# By store. IAM "Vector Search roles and permissions"; a collection makes its embeddings itself, for a table a model is asked.
_KEEP: Mapping[str, Sequence[str]] = {
    "vectors": ("vectorsearch.dataObjects.create", "vectorsearch.dataObjects.delete", "vectorsearch.dataObjects.query"),
    "database": ("aiplatform.endpoints.predict",),
}
_LABEL = "ingestion"
_TRIES = 20


@dataclass(frozen=True, kw_only=True)
class CorporaArgs:
    """Which corpora there are, and what they stand on."""

    apis: Mapping[str, Text]
    number: str
    """Number of the project."""
    corpora: Mapping[str, Corpus]
    bucket: contracts.Storage
    """The zone of their documents."""
    database: contracts.Server | None = None
    """Where those with `store: database` lie."""
    key: contracts.Key
    """Key of that zone, in the environment's region: passages stand in the store as they are. The agent of Vector Search may use
    it."""
    network: contracts.Network | None
    """All that the function calls it calls through it; needed with a database."""
    compute_key: contracts.Key
    logs_key: contracts.Key
    """Encrypts the topics."""
    logs: Text
    """Bucket of access logs."""
    generation: int = 1
    """Which life of the environment this is: names of custom roles are not freed."""
    warning: Sequence[Text] = ()
    teams: Mapping[str, Sequence[Text]] = field(default_factory=dict[str, Sequence[Text]])
    """Channels of the teams that own corpora; of the others `warning` is told."""
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    """Labels of each corpus besides."""


class Corpora(Component):
    """Stores of corpora, each filled from its folder: collections of Vector Search, or tables of a database where asked for.

    A collection makes the embeddings itself; for a table the function asks Vertex AI, and it makes the table.

    A document that comes, changes or goes is told to a topic by Cloud Storage, and a function does what follows; every night each
    corpus is compared with its folder as a whole. What could not be done comes again twenty times, then lies with the dead
    letters for a week. The function reads nothing but what lies under `documents/`.

    Owns the collections, topics and subscriptions, the notification of the bucket, the schedules, the function with its role and
    its user of the database, and the alerts. Never owns the documents, their bucket, the database, or who may ask. All corpora
    lie in one zone.

    The collections hold nothing that the documents do not: none of them is protected, and a change of an embedding builds its
    corpus anew. Until then nobody finds anything in it.

    Costs what collections hold and are asked; embeddings of text-embedding-005 0.000025 USD a thousand characters (Vertex AI
    pricing, 2025); the function and the topics cents. A destroy takes it all; the documents stay.

    >>> role_id(Names("acme-ai", "dev"), 1, "ingestion")
    'acme_ai_dev_ingestion'
    """

    outputs: contracts.Corpora

    def __init__(self, name: str, args: CorporaArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the stores, and what fills them."""
        super().__init__(name, scope, parent)
        self._args = args
        stores = {corpus: self._store(corpus, spec) for corpus, spec in args.corpora.items() if spec.store == "vectors"}
        if args.database is not None:
            stores |= args.database.databases
        pusher = self._identity("ingestion-push", "Brings messages to the function that fills corpora.", {})
        worker = self._worker(stores, pusher)
        inbox = Inbox(
            f"{name}-documents",
            InboxArgs(
                apis=args.apis,
                number=args.number,
                label="documents",
                key=args.logs_key,
                publishers={"storage": agent("storage.googleapis.com", args.number)},
                address=worker.outputs.id.apply(lambda _: worker.address),
                audience=worker.address,
                bringer=pusher,
                seconds=600,
                tries=_TRIES,
            ),
            scope=scope,
            parent=self,
        ).outputs
        told: list[pulumi.Resource] = [self._notification(inbox.topic), *self._schedules(inbox.topic)]
        rows = self._watch(worker.outputs, inbox.failed)
        if args.database is not None:
            told.append(
                sql_user(
                    self,
                    worker.outputs.identity,
                    instance=args.database.id,
                    project=args.apis[API],
                    # It may create the extension, and is the owner of a database that the API made ("About PostgreSQL users and
                    # roles").
                    roles=["cloudsqlsuperuser"],
                )
            )
        self.outputs = contracts.Corpora(
            ids={corpus: after(stores[corpus], *told) for corpus in args.corpora},
            sources={
                corpus: pulumi.Output.concat(args.bucket.uri, f"/{DOCUMENTS}{corpus}/") for corpus in args.corpora
            },
            rows=rows,
        )
        self.finish(self.outputs)

    def _identity(self, label: str, description: str, grants: Mapping[str, Grant]) -> Text:
        args = WorkloadArgs(description=description, apis=self._args.apis, grants=grants)
        return Workload(label, args, scope=self.scope, parent=self).outputs.id

    # -- stores

    def _store(self, corpus: str, spec: Corpus) -> Text:
        """Name of the collection of a corpus."""
        args, scope = self._args, self.scope
        short = scope.names.of(corpus, "compute")
        schema = {
            "type": "object",
            "properties": {name: {"type": kind} for name, kind in _FIELDS.items()},
            "required": list(_FIELDS),
        }
        made = gcp.vectorsearch.Collection(
            f"{self.name}-{corpus}",
            collection_id=short,
            display_name=short,
            description=f"Corpus {corpus} of {scope.environment}.",
            project=args.apis["vectorsearch.googleapis.com"],
            location=scope.region,
            data_schema=json.dumps(schema),
            vector_schemas=[
                {
                    "field_name": "embedding",
                    "dense_vector": {
                        "dimensions": retrieval.dimensions(spec.embedding, "gcp"),
                        "vertex_embedding_config": {
                            "model_id": spec.embedding.gcp,
                            "task_type": "RETRIEVAL_DOCUMENT",
                            "text_template": "{text}",
                        },
                    },
                }
            ],
            encryption_spec={"crypto_key_name": args.key.id},
            labels=labels({**scope.tags, **args.tags.get(corpus, {})}),
            # It keeps its name, so the one that is replaced has to go first.
            opts=self.options(delete_before_replace=True),
        )
        return after(f"projects/{scope.account}/locations/{scope.region}/collections/{short}", made)

    # -- what fills them

    def _worker(self, stores: Mapping[str, Text], pusher: Text) -> Worker:
        args, scope = self._args, self.scope
        signed_in = client(args.database, scope, _LABEL, reader=retrieval.GCP_ASKS)
        # Collections know no conditions; which of them a question reaches is decided by the function that asks.
        used = [store for store in _KEEP if any(spec.store == store for spec in args.corpora.values())]
        keep = self._role("ingestion", "Fills corpora.", [right for store in used for right in _KEEP[store]])
        read = self._role("documents", "Reads documents.", _READ)
        bucket = scope.names.of(self._zone, "bucket")
        below = f'resource.name.startsWith("projects/_/buckets/{bucket}/objects/{DOCUMENTS}")'
        # To list is a right on the bucket, not on what lies in it.
        condition = ("its-documents", f'resource.type == "storage.googleapis.com/Bucket" || {below}')
        return Worker(
            f"{self.name}-ingestion",
            WorkerArgs(
                apis=args.apis,
                number=args.number,
                label=_LABEL,
                module="ingestion",
                entry="ingest",
                others=["ingestion_text", "retrieval_rest", "retrieval_stores"],
                requirements="ingestion_requirements.txt",
                description="Makes collections hold what their folders hold.",
                memory="1Gi",
                # Less than the 600 that Pub/Sub waits for an answer.
                timeout_seconds=540,
                # A document is read in memory.
                at_once=1,
                instances=retrieval.GCP_FILLS,
                environment={
                    "BUCKET": args.bucket.name,
                    "CORPORA": pulumi.Output.json_dumps(
                        {
                            corpus: retrieval.gcp_store(spec, stores[corpus], scope.account, scope.region)
                            for corpus, spec in args.corpora.items()
                        },
                        sort_keys=True,
                    ),
                    **signed_in.environment,
                },
                grants={
                    "collections": Grant(role=keep),
                    "documents": Grant(role=read, bucket=args.bucket.resource, condition=condition),
                    **signed_in.grants,
                },
                callers={"push": pusher},
                network=args.network,
                compute_key=args.compute_key,
                logs=args.logs,
            ),
            scope=scope,
            parent=self,
        )

    @property
    def _zone(self) -> str:
        """The zone that all corpora lie in."""
        return next(spec.source for spec in self._args.corpora.values())

    def _role(self, name: str, description: str, permissions: Sequence[str]) -> Text:
        args, scope = self._args, self.scope
        return gcp.projects.IAMCustomRole(
            f"{self.name}-{name}-role",
            role_id=role_id(scope.names, args.generation, name),
            title=description.rstrip("."),
            description=description,
            permissions=list(permissions),
            project=args.apis["iam.googleapis.com"],
            opts=self.options(),
        ).name

    def _notification(self, topic: Text) -> pulumi.Resource:
        """What happens to documents is told by name alone: the function looks what there is."""
        return gcp.storage.Notification(
            f"{self.name}-changes",
            bucket=self._args.bucket.name,
            # The agent of Cloud Storage may publish by then, and somebody listens: what nobody hears is gone.
            topic=topic,
            event_types=list(_EVENTS),
            object_name_prefix=DOCUMENTS,
            payload_format="NONE",
            opts=self.options(),
        )

    def _schedules(self, topic: Text) -> list[pulumi.Resource]:
        """When each corpus is compared as a whole. The agent of Cloud Scheduler may publish to every topic of the project."""
        args, scope = self._args, self.scope
        return [
            gcp.cloudscheduler.Job(
                f"{self.name}-{corpus}-schedule",
                name=scope.names.of(f"corpus-{corpus}", "schedule"),
                description=f"Compares the corpus {corpus} with its folder.",
                project=args.apis["cloudscheduler.googleapis.com"],
                region=scope.region,
                schedule=spec.schedule,
                time_zone="Etc/UTC",
                retry_config={"retry_count": 5, "min_backoff_duration": "30s", "max_backoff_duration": "600s"},
                pubsub_target={"topic_name": topic, "attributes": {"sync": corpus}},
                opts=self.options(),
            )
            for corpus, spec in args.corpora.items()
        ]

    # -- what is watched

    def _watch(self, worker: contracts.Worker, failed: str) -> dict[str, Row]:
        """The alerts, and the row of each corpus, and of what fills them all."""
        args, scope = self._args, self.scope
        prefix = scope.names.full("")
        counted, alarm = retrieval.gcp_ingestion(prefix, worker.name)
        dead = retrieval.gcp_given_up(undelivered(failed))
        watched: dict[str, Any] = {
            "ingestion": ([dead, alarm], [counted], args.warning),
        }
        for corpus, spec in args.corpora.items():
            counted, alarm = retrieval.gcp_documents(corpus, prefix, worker.name)
            watched[f"corpus-{corpus}"] = ([alarm], [counted], args.teams.get(spec.team) or args.warning)
        rows: dict[str, Row] = {}
        log = (scope.account, f'resource.type="cloud_run_revision" AND resource.labels.service_name="{worker.name}"')
        for label, (alarms, counts, told) in watched.items():
            made = Alarms(
                f"{self.name}-{label}-alert",
                AlarmsArgs(apis=args.apis, alarms=alarms, counts=counts, critical=told, warning=told),
                scope=scope,
                parent=self,
            ).outputs
            policies, corpus = list(made.names.values()), label.removeprefix("corpus-")
            if label == "ingestion":
                shared = row("corpora", "ingestion", None, alarms, policies=policies, log=log)
                rows["corpora: ingestion"] = shared
            else:
                team = args.corpora[corpus].team
                rows[f"corpus {corpus}"] = row(label, "corpus", team, alarms, policies=policies, log=log)
        return rows


def role_id(names: Names, generation: int, role: str) -> str:
    """Id of a custom role.

    >>> role_id(Names("acme-ai", "dev"), 2, "retrieval")
    'acme_ai_dev_retrieval_2'
    """
    return names.of(nth(role, generation), "custom_role").replace("-", "_")
