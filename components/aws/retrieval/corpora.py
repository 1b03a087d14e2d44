"""What questions are answered from: a store for each corpus, and what keeps it as its documents are."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws

from components import contracts
from components.aws.blocks.alarms import Alarms, AlarmsArgs
from components.aws.blocks.worker import Worker, WorkerArgs
from components.aws.blocks.workload import Workload, WorkloadArgs
from components.contracts import Text
from components.core import iam, retrieval
from components.core.cloudwatch_rows import row
from components.core.cron import eventbridge
from components.core.rows import Row
from components.scope import Component, Scope, after
from components.spec.retrieval import Corpus

DOCUMENTS = "documents/"
"""Where corpora lie in their zone."""
_FORTNIGHT = 14 * 24 * 3600
"""The longest that a queue keeps a message, in seconds."""
_TIMEOUT_SECONDS = 120
_AT_ONCE = 2
_TRIES = 12
_FLEXIBLE_MINUTES = 15
_HOUR = 3600
# What a knowledge base keeps with each vector for itself. S3 Vectors lets a filter see 2 KB ("Limitations and restrictions"), and
# a passage is longer: an index that filters by these takes no documents.
_NO_FILTER = ("AMAZON_BEDROCK_TEXT", "AMAZON_BEDROCK_METADATA")
# Of a table, as runtime/aws/corpora_database.py makes it.
_COLUMNS: "aws.bedrock.AgentKnowledgeBaseStorageConfigurationRdsConfigurationFieldMappingArgsDict" = {
    "primary_key_field": "id",
    "vector_field": "embedding",
    "text_field": "chunks",
    "metadata_field": "metadata",
    "custom_metadata_field": "custom_metadata",
}


@dataclass(frozen=True, kw_only=True)
class CorporaArgs:
    """Which corpora there are, and what they stand on."""

    corpora: Mapping[str, Corpus]
    bucket: contracts.Storage
    """The zone of their documents; it tells EventBridge what changes."""
    key: contracts.Key
    """Key of that zone. Passages stand in the store as they are, so it encrypts that as well; its policy lets
    `indexing.s3vectors.amazonaws.com` decrypt."""
    network: contracts.Network
    compute_key: contracts.Key
    logs_key: contracts.Key
    """Encrypts the queues; its policy lets EventBridge use it."""
    boundary: contracts.Boundary
    tables: Mapping[str, contracts.Table] = field(default_factory=dict[str, contracts.Table])
    """Of the corpora with a database."""
    secrets_key: contracts.Key | None = None
    """Encrypts the secrets of those."""
    warning: Sequence[Text] = ()
    teams: Mapping[str, Sequence[Text]] = field(default_factory=dict[str, Sequence[Text]])
    """Topics of the teams that own corpora; of the others `warning` is told."""
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    """Tags of each corpus besides."""


@dataclass(frozen=True, kw_only=True)
class _Store:
    """Where a knowledge base keeps its passages, and what it may do there."""

    storage: "aws.bedrock.AgentKnowledgeBaseStorageConfigurationArgsDict"
    may: Sequence[iam.Statement]


class Corpora(Component):
    """Knowledge bases of Bedrock: one a corpus, with a folder, an index or a table, an identity and a team of its own.

    A document that comes, changes or goes is told to a queue by EventBridge, and a function does what follows; every night each
    corpus is compared with its folder as a whole. What could not be done comes again twelve times, then lies with the dead
    letters for a fortnight. The identity of a knowledge base reads its own folder and its own index or table only.

    Owns the vector bucket and its indexes, where a corpus lies there, knowledge bases and data sources with their roles, the
    queues, the rule, the schedules, the function and the alarms. Never owns a table, the documents, their bucket, or who may ask.
    All corpora lie in one zone.

    The stores hold nothing that the documents do not: none of them is protected, and a change of an embedding builds its corpus
    anew. Until then nobody finds anything in it. What a data source wrote goes with it in every tier: left behind it would be
    found for ever, whatever becomes of the documents.

    Costs a month (us-east-1, 2025): 0.06 USD a GB of vectors and 0.20 a GB that is written, 2.50 a million questions;
    embeddings of Titan 0.02 a million tokens; the function and the queues cents, an alarm 0.10. A destroy takes it all; the
    documents stay.

    >>> policies = Corpus.model_validate({"team": "risk", "readers": ["risk"]})
    >>> args = CorporaArgs(
    ...     corpora={"policies": policies}, bucket=bucket, key=key, network=network, compute_key=key, logs_key=key,
    ...     boundary=boundary,
    ... )
    >>> sorted(Corpora("corpora", args, scope=scope, parent=parent).outputs.ids)
    ['policies']
    """

    outputs: contracts.Corpora

    def __init__(self, name: str, args: CorporaArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the stores, and what fills them."""
        super().__init__(name, scope, parent)
        self._args = args
        vectors = None
        if any(spec.store == "vectors" for spec in args.corpora.values()):
            # The cheapest place that a knowledge base takes, and the only one whose index can be declared.
            vectors = aws.s3.VectorsVectorBucket(
                f"{name}-vectors",
                vector_bucket_name=scope.names.of("vectors", "vectors"),
                encryption_configurations=[{"sse_type": "aws:kms", "kms_key_arn": args.key.id}],
                force_destroy=True,
                opts=self.options(),
            )
        stores = {
            corpus: self._base(corpus, spec, self._index(corpus, spec, vectors))
            if vectors is not None and spec.store == "vectors"
            else self._base(corpus, spec, self._rows(args.tables[corpus]))
            for corpus, spec in args.corpora.items()
        }
        queue, failed = self._queues()
        worker = self._worker(stores, queue)
        told = [self._mapping(queue, worker), self._rule(queue, failed), *self._schedules(queue, failed)]
        rows = self._watch(worker)
        self.outputs = contracts.Corpora(
            ids={corpus: after(base.id, source, *told) for corpus, (base, source) in stores.items()},
            sources={
                corpus: pulumi.Output.concat(args.bucket.uri, f"/{DOCUMENTS}{corpus}/") for corpus in args.corpora
            },
            rows=rows,
        )
        self.finish(self.outputs)

    # -- stores

    def _index(self, corpus: str, spec: Corpus, vectors: aws.s3.VectorsVectorBucket) -> _Store:
        """An index of S3 Vectors, and what its knowledge base may do there."""
        args, scope = self._args, self.scope
        index = aws.s3.VectorsIndex(
            f"{self.name}-{corpus}-index",
            index_name=scope.names.of(corpus, "vectors"),
            vector_bucket_name=vectors.vector_bucket_name,
            data_type="float32",
            distance_metric="cosine",
            dimension=retrieval.dimensions(spec.embedding, "aws"),
            metadata_configuration={"non_filterable_metadata_keys": list(_NO_FILTER)},
            encryption_configurations=[{"sse_type": "aws:kms", "kms_key_arn": args.key.id}],
            tags=dict(args.tags.get(corpus, {})),
            opts=self._renewed(),
        )
        may = [
            "s3vectors:DeleteVectors",
            "s3vectors:GetIndex",
            "s3vectors:GetVectors",
            "s3vectors:ListVectors",
            "s3vectors:PutVectors",
            "s3vectors:QueryVectors",
        ]
        return _Store(
            storage={"type": "S3_VECTORS", "s3_vectors_configuration": {"index_arn": index.index_arn}},
            may=[iam.allow(may, [index.index_arn])],
        )

    def _rows(self, table: contracts.Table) -> _Store:
        """A table of Aurora, and what its knowledge base may do there: sign in as one of its users, and no other."""
        args, scope = self._args, self.scope
        if args.secrets_key is None:
            raise ValueError("a corpus with a database signs in with a secret, which a key encrypts")
        context: iam.Condition = {"StringEquals": {"kms:EncryptionContext:SecretARN": table.secret}}
        return _Store(
            storage={
                "type": "RDS",
                "rds_configuration": {
                    "resource_arn": table.cluster,
                    "credentials_secret_arn": table.secret,
                    "database_name": table.database,
                    "table_name": table.name,
                    "field_mapping": _COLUMNS,
                },
            },
            may=[
                iam.allow(["rds:DescribeDBClusters"], [table.cluster]),
                iam.allow(["rds-data:BatchExecuteStatement", "rds-data:ExecuteStatement"], [table.cluster]),
                iam.allow(["secretsmanager:GetSecretValue"], [table.secret]),
                iam.allow(
                    ["kms:Decrypt"],
                    [args.secrets_key.id],
                    when=iam.both(iam.via(scope.region, "secretsmanager"), context),
                ),
            ],
        )

    def _renewed(self) -> pulumi.ResourceOptions:
        """Of what keeps its name, so that what is replaced has to go first."""
        return self.options(delete_before_replace=True)

    def _base(
        self, corpus: str, spec: Corpus, store: _Store
    ) -> tuple[aws.bedrock.AgentKnowledgeBase, aws.bedrock.AgentDataSource]:
        """The knowledge base of a corpus, and its way to the documents."""
        args, scope, label = self._args, self.scope, f"{self.name}-{corpus}"
        tags, renewed = dict(args.tags.get(corpus, {})), self._renewed()
        model = f"arn:aws:bedrock:{scope.region}::foundation-model/{spec.embedding.aws}"
        vector: aws.bedrock.AgentKnowledgeBaseKnowledgeBaseConfigurationVectorKnowledgeBaseConfigurationArgsDict = {
            "embedding_model_arn": model
        }
        if spec.embedding.dimensions is not None:
            vector["embedding_model_configuration"] = {
                "bedrock_embedding_model_configuration": {
                    "dimensions": spec.embedding.dimensions,
                    "embedding_data_type": "FLOAT32",
                }
            }
        base = aws.bedrock.AgentKnowledgeBase(
            f"{label}-base",
            name=scope.names.of(corpus, "knowledge_base"),
            description=f"Corpus {corpus} of {scope.environment}.",
            role_arn=self._identity(corpus, model, store.may),
            knowledge_base_configuration={"type": "VECTOR", "vector_knowledge_base_configuration": vector},
            storage_configuration=store.storage,
            tags=tags,
            opts=renewed,
        )
        source = aws.bedrock.AgentDataSource(
            f"{label}-source",
            name=scope.names.of(corpus, "knowledge_base"),
            knowledge_base_id=base.id,
            description=f"Documents of {corpus}.",
            data_source_configuration={
                "type": "S3",
                "s3_configuration": {
                    "bucket_arn": args.bucket.resource,
                    "bucket_owner_account_id": scope.account,
                    "inclusion_prefixes": [f"{DOCUMENTS}{corpus}/"],
                },
            },
            # Cannot be changed: another size of parts is another data source.
            vector_ingestion_configuration={
                "chunking_configuration": {
                    "chunking_strategy": "FIXED_SIZE",
                    "fixed_size_chunking_configuration": {
                        "max_tokens": spec.chunks.tokens,
                        "overlap_percentage": spec.chunks.overlap_percent,
                    },
                }
            },
            server_side_encryption_configuration={"kms_key_arn": args.key.id},
            data_deletion_policy="DELETE",
            opts=renewed,
        )
        return base, source

    def _identity(self, corpus: str, model: str, may: Sequence[iam.Statement]) -> Text:
        """What a knowledge base runs as ("Create a service role for Amazon Bedrock Knowledge Bases")."""
        args, scope = self._args, self.scope
        folder = f"{DOCUMENTS}{corpus}/*"
        mine: iam.Condition = {"StringEquals": {"aws:ResourceAccount": scope.account}}
        return Workload(
            f"corpus-{corpus}",
            WorkloadArgs(
                description=f"The knowledge base of the corpus {corpus}.",
                service="bedrock.amazonaws.com",
                statements=[
                    iam.allow(["bedrock:InvokeModel"], [model]),
                    iam.allow(
                        ["s3:ListBucket"],
                        [args.bucket.resource],
                        when=iam.both(mine, {"StringLike": {"s3:prefix": [folder]}}),
                    ),
                    iam.allow(["s3:GetObject"], [pulumi.Output.concat(args.bucket.resource, "/", folder)], when=mine),
                    *may,
                    # Documents, vectors, and what Bedrock keeps while it reads ("Encryption of transient data storage during data
                    # ingestion"); through which services is not said, so no condition holds them to some.
                    iam.allow(["kms:Decrypt", "kms:GenerateDataKey"], [args.key.id]),
                ],
                boundary=args.boundary,
            ),
            scope=scope,
            parent=self,
        ).outputs.id

    # -- what fills them

    def _worker(
        self,
        stores: Mapping[str, tuple[aws.bedrock.AgentKnowledgeBase, aws.bedrock.AgentDataSource]],
        queue: aws.sqs.Queue,
    ) -> contracts.Worker:
        args, region = self._args, self.scope.region
        places = {
            corpus: {"knowledge_base": base.id, "data_source": source.data_source_id}
            for corpus, (base, source) in stores.items()
        }
        return Worker(
            f"{self.name}-ingestion",
            WorkerArgs(
                label="ingestion",
                module="ingestion",
                description="Makes knowledge bases hold what their folders hold.",
                memory_mb=256,
                timeout_seconds=_TIMEOUT_SECONDS,
                concurrency=_AT_ONCE,
                environment={
                    "BUCKET": args.bucket.name,
                    "QUEUE_URL": queue.url,
                    "CORPORA": pulumi.Output.json_dumps(places, sort_keys=True),
                },
                statements=[
                    iam.allow(["s3:GetObject"], [pulumi.Output.concat(args.bucket.resource, f"/{DOCUMENTS}*")]),
                    # Whoever may not list a bucket hears 403 of an object that is gone, and not 404 (HeadObject). That question
                    # has no prefix, so no condition on one lets it through.
                    iam.allow(["s3:ListBucket"], [args.bucket.resource]),
                    iam.allow(
                        [
                            "bedrock:DeleteKnowledgeBaseDocuments",
                            "bedrock:GetKnowledgeBaseDocuments",
                            "bedrock:IngestKnowledgeBaseDocuments",
                            "bedrock:StartIngestionJob",
                        ],
                        [base.arn for base, _ in stores.values()],
                    ),
                    iam.allow(
                        [
                            "sqs:ChangeMessageVisibility",
                            "sqs:DeleteMessage",
                            "sqs:GetQueueAttributes",
                            "sqs:ReceiveMessage",
                        ],
                        [queue.arn],
                    ),
                    iam.allow(["kms:Decrypt"], [args.key.id], when=iam.via(region, "s3")),
                    iam.allow(["kms:Decrypt"], [args.logs_key.id], when=iam.via(region, "sqs")),
                ],
                network=args.network,
                compute_key=args.compute_key,
                logs_key=args.logs_key,
                boundary=args.boundary,
            ),
            scope=self.scope,
            parent=self,
        ).outputs

    def _mapping(self, queue: aws.sqs.Queue, worker: contracts.Worker) -> aws.lambda_.EventSourceMapping:
        return aws.lambda_.EventSourceMapping(
            f"{self.name}-messages",
            event_source_arn=queue.arn,
            function_name=worker.id,
            batch_size=10,
            maximum_batching_window_in_seconds=5,
            function_response_types=["ReportBatchItemFailures"],
            # As many as there are of the function: what is received and then throttled counts as tried.
            scaling_config={"maximum_concurrency": _AT_ONCE},
            opts=self.options(),
        )

    def _rule(self, queue: aws.sqs.Queue, failed: aws.sqs.Queue) -> pulumi.Resource:
        """What happens to documents is told as it is."""
        args = self._args
        pattern = {
            "source": ["aws.s3"],
            "detail-type": ["Object Created", "Object Deleted"],
            "detail": {"bucket": {"name": [args.bucket.name]}, "object": {"key": [{"prefix": DOCUMENTS}]}},
        }
        rule = aws.cloudwatch.EventRule(
            f"{self.name}-changes",
            name=self._changes,
            description="A document of a corpus came, changed or went.",
            event_pattern=pulumi.Output.json_dumps(pattern, sort_keys=True),
            opts=self.options(),
        )
        return aws.cloudwatch.EventTarget(
            f"{self.name}-changes",
            rule=rule.name,
            target_id="ingestion",
            # Once EventBridge may send to them.
            arn=after(queue.arn, self._policies[0]),
            dead_letter_config={"arn": after(failed.arn, self._policies[1])},
            opts=self.options(),
        )

    @property
    def _changes(self) -> str:
        return self.scope.names.of("documents", "event_rule")

    def _schedules(self, queue: aws.sqs.Queue, failed: aws.sqs.Queue) -> list[pulumi.Resource]:
        """When each corpus is compared as a whole."""
        args, scope = self._args, self.scope
        starter = Workload(
            f"{self.name}-schedule",
            WorkloadArgs(
                description="Says when corpora are compared.",
                service="scheduler.amazonaws.com",
                statements=[
                    iam.allow(["sqs:SendMessage"], [queue.arn, failed.arn]),
                    iam.allow(
                        ["kms:Decrypt", "kms:GenerateDataKey"], [args.logs_key.id], when=iam.via(scope.region, "sqs")
                    ),
                    # A schedule is encrypted as well.
                    iam.allow(["kms:Decrypt"], [args.logs_key.id], when=iam.via(scope.region, "scheduler")),
                ],
                boundary=args.boundary,
            ),
            scope=scope,
            parent=self,
        ).outputs.id
        group = aws.scheduler.ScheduleGroup(
            f"{self.name}-schedules", name=scope.names.of("corpora", "schedule"), opts=self.options()
        )
        return [
            aws.scheduler.Schedule(
                f"{self.name}-{corpus}-schedule",
                name=scope.names.of(f"corpus-{corpus}", "schedule"),
                group_name=group.name,
                description=f"Compares the corpus {corpus} with its folder.",
                schedule_expression=eventbridge(spec.schedule),
                schedule_expression_timezone="UTC",
                # Not everything at the full hour.
                flexible_time_window={"mode": "FLEXIBLE", "maximum_window_in_minutes": _FLEXIBLE_MINUTES},
                kms_key_arn=args.logs_key.id,
                target={
                    "arn": queue.arn,
                    "role_arn": starter,
                    "input": json.dumps({"sync": corpus}),
                    "retry_policy": {"maximum_retry_attempts": 5, "maximum_event_age_in_seconds": _HOUR},
                    "dead_letter_config": {"arn": failed.arn},
                },
                opts=self.options(),
            )
            for corpus, spec in args.corpora.items()
        ]

    def _queues(self) -> tuple[aws.sqs.Queue, aws.sqs.Queue]:
        """The queue of what happened, and that of what was given up."""
        scope = self.scope
        physical = {"": scope.names.of("documents", "queue"), "failed": scope.names.of("documents-failed", "queue")}
        arns = {part: f"arn:aws:sqs:{scope.region}:{scope.account}:{name}" for part, name in physical.items()}
        rule = f"arn:aws:events:{scope.region}:{scope.account}:rule/{self._changes}"
        failed = aws.sqs.Queue(
            f"{self.name}-failed",
            name=physical["failed"],
            kms_master_key_id=self._args.logs_key.id,
            message_retention_seconds=_FORTNIGHT,
            redrive_allow_policy=json.dumps({"redrivePermission": "byQueue", "sourceQueueArns": [arns[""]]}),
            opts=self.options(),
        )
        queue = aws.sqs.Queue(
            f"{self.name}-queue",
            name=physical[""],
            kms_master_key_id=self._args.logs_key.id,
            message_retention_seconds=_FORTNIGHT,
            # Six times what the function takes ("Configuring a queue to use with Lambda").
            visibility_timeout_seconds=6 * _TIMEOUT_SECONDS,
            redrive_policy=pulumi.Output.json_dumps({"deadLetterTargetArn": failed.arn, "maxReceiveCount": _TRIES}),
            opts=self.options(),
        )
        self._policies = [
            aws.sqs.QueuePolicy(
                f"{self.name}-{label}-policy",
                queue_url=made.id,
                policy=pulumi.Output.json_dumps(
                    iam.document(
                        iam.allow(
                            ["sqs:SendMessage"],
                            [arns[part]],
                            sid="ChangesOfDocuments",
                            principals={"Service": "events.amazonaws.com"},
                            when=iam.source(scope.account, rule),
                        ),
                        iam.deny(
                            ["sqs:*"],
                            [arns[part]],
                            sid="OnlyOverTls",
                            principals="*",
                            when=iam.secure_transport(required=False),
                        ),
                    )
                ),
                opts=self.options(),
            )
            for label, part, made in (("queue", "", queue), ("failed", "failed", failed))
        ]
        return queue, failed

    # -- what is watched

    def _watch(self, worker: contracts.Worker) -> dict[str, Row]:
        """The alarms, and the row of each corpus, and of what fills them all."""
        args, scope = self._args, self.scope
        namespace = scope.names.full(retrieval.NAMESPACE)
        # By its field, so that a new corpus takes no new filter.
        for metric, pattern, dimensions in (
            (retrieval.REFUSED, '{ $.outcome = "again: refused" }', {"corpus": "$.corpus"}),
            (retrieval.UNREADABLE, '{ $.outcome = "refused" }', None),
        ):
            aws.cloudwatch.LogMetricFilter(
                f"{self.name}-{metric}",
                name=scope.names.of(metric),
                log_group_name=worker.log or "",
                pattern=pattern,
                metric_transformation={"name": metric, "namespace": namespace, "value": "1", "dimensions": dimensions},
                opts=self.options(),
            )
        dead = scope.names.of("documents-failed", "queue")
        log, found = f"/aws/lambda/{worker.name}", retrieval.aws_ingestion(namespace, dead)
        made = Alarms(
            f"{self.name}-ingestion-alarm",
            AlarmsArgs(alarms=found, critical=args.warning, warning=args.warning),
            scope=scope,
            parent=self,
        ).outputs
        arns = list(made.names.values())
        rows = {"corpora: ingestion": row("corpora", "ingestion", None, found, arns=arns, region=scope.region, log=log)}
        for corpus, spec in args.corpora.items():
            told = args.teams.get(spec.team) or args.warning
            found, label = retrieval.aws_documents(corpus, namespace), f"corpus-{corpus}"
            made = Alarms(
                f"{self.name}-{corpus}-alarm",
                AlarmsArgs(alarms=found, critical=told, warning=told),
                scope=scope,
                parent=self,
            ).outputs
            arns = list(made.names.values())
            rows[f"corpus {corpus}"] = row(label, "corpus", spec.team, found, arns=arns, region=scope.region, log=log)
        return rows
