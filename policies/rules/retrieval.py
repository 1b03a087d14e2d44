"""Retrieval: what a corpus may read, that nothing of it is lost, and that what is deleted is forgotten."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from policies.context import items, mapping, maps
from policies.documents import Statement, statements
from policies.model import REFERENCE, Graph, Resource
from policies.pods import decoded
from policies.rule import EVERY, Found, resource_rule
from policies.rules.identity import ROLE, ROLE_ATTACHMENT, only_delivery
from policies.rules.operations import METRIC_ALARM, QUEUE, REDRIVE, SUBSCRIPTION

KNOWLEDGE_BASE = "aws:bedrock/agentKnowledgeBase:AgentKnowledgeBase"
DATA_SOURCE = "aws:bedrock/agentDataSource:AgentDataSource"
MAPPING = "aws:lambda/eventSourceMapping:EventSourceMapping"
EVENT_RULE = "aws:cloudwatch/eventRule:EventRule"
BUCKET_EVENTS = "aws:s3/bucketNotification:BucketNotification"
GCS_EVENTS = "gcp:storage/notification:Notification"

_DOCUMENTS = "documents/"
_PROMPTS = "/prompts/"
_ONE_ENDPOINT = re.compile(r"/prompts/endpoints/[a-z0-9-]+/\*$")
_POLICIES = ("aws:iam/rolePolicy:RolePolicy", "aws:iam/policy:Policy")


def _policies_of(role: Resource, graph: Graph) -> Iterator[Resource]:
    """What gives a role its rights."""
    yield role
    yield from graph.linked(role.urn, _POLICIES[0], "role")
    for attachment in graph.linked(role.urn, ROLE_ATTACHMENT, "role"):
        linked = (graph.resources.get(urn) for urn in sorted(attachment.links("policyArn")))
        yield from (each for each in linked if each is not None and each.type == _POLICIES[1])


@resource_rule(
    "corpus-narrow",
    title="A corpus reads its own folder, and embeds with its own model",
    types=(KNOWLEDGE_BASE,),
    severity="high",
    why="A knowledge base that reads the bucket answers one team's questions from every other team's documents.",
    remedy="Corpora makes an identity for each: s3:GetObject below documents/{corpus}/, bedrock:InvokeModel on one model.",
    controls={
        "soc2": ("CC6.3",),
        "iso-27001": ("A.5.15", "A.8.3"),
        "gdpr": ("25", "32"),
        "eu-ai-act": ("10",),
    },
)
def corpus_narrow(resource: Resource, graph: Graph) -> Found:
    """What its role may do with objects, lists of them, models, and secrets of databases. One role a corpus."""
    roles = [graph.resources[u] for u in sorted(resource.links("roleArn")) if u in graph.resources]
    roles = [role for role in roles if role.type == ROLE]
    if not roles:
        yield "it runs as nobody of this program"
    for role in roles:
        others = {each.name for each in graph.linked(role.urn, KNOWLEDGE_BASE, "roleArn")} - {resource.name}
        if others:
            yield f"it has the role of {', '.join(sorted(others))}"
        model = resource.get("knowledgeBaseConfiguration.vectorKnowledgeBaseConfiguration.embeddingModelArn")
        secret = resource.get("storageConfiguration.rdsConfiguration.credentialsSecretArn")
        for policy in _policies_of(role, graph):
            for statement in statements(policy, graph, "identity"):
                if statement.allows:
                    yield from _too_much(statement, model, secret)


def _too_much(statement: Statement, model: Any, secret: Any) -> Iterator[str]:
    if statement.covers("secretsmanager:GetSecretValue"):
        for each in statement.resources or ("*",):
            if each != secret:
                yield f"statement {statement.label} reads the secret {each}, which is not what it signs in with"
    if statement.covers("s3:GetObject"):
        for each in statement.resources or ("*",):
            if not _is_folder(each):
                yield f"statement {statement.label} reads {each}, which is more than a folder"
    if statement.covers("s3:ListBucket") and not statement.demands("s3:prefix"):
        yield f"statement {statement.label} lists the whole bucket"
    if statement.covers("bedrock:InvokeModel"):
        for each in statement.resources or ("*",):
            if each != model:
                yield f"statement {statement.label} calls {each}, which is not what it embeds with"


def _is_folder(resource: str) -> bool:
    """Whether the ARN of objects names a folder: something between the bucket and the first pattern."""
    plain = REFERENCE.sub("bucket", resource)
    path = plain.rpartition(":::")[2].partition("/")[2]
    return "*" not in plain.partition("/")[0] and "/" in path.partition("*")[0]


@resource_rule(
    "corpus-forgets",
    title="A document that is deleted is forgotten",
    types=(DATA_SOURCE, EVENT_RULE, BUCKET_EVENTS, GCS_EVENTS),
    severity="high",
    why="Who has his data deleted finds it quoted in the next answer.",
    remedy="Tell ingestion of deletions as of creations; data_deletion_policy DELETE.",
    controls={"soc2": ("C1.2",), "iso-27001": ("A.8.10",), "gdpr": ("25",), "eu-ai-act": ("10",)},
)
def corpus_forgets(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """What is told of documents that come is told of those that go; other folders may want the one without the other."""
    if resource.type == DATA_SOURCE:
        if resource.get("dataDeletionPolicy", "DELETE") != "DELETE":
            yield "what it wrote stays when it goes"
    elif resource.type == EVENT_RULE:
        pattern = mapping(decoded(resource.get("eventPattern")))
        kinds = {str(kind) for kind in items(pattern.get("detail-type"))}
        if _DOCUMENTS in json.dumps(pattern) and "Object Created" in kinds and "Object Deleted" not in kinds:
            yield "it tells of documents that come, and not of those that go"
    elif resource.type == BUCKET_EVENTS:
        told = [each for kind in ("lambdaFunctions", "queues", "topics") for each in maps(resource.get(kind))]
        told = [each for each in told if str(each.get("filterPrefix", "")).startswith(_DOCUMENTS)]
        if _only_comes(told, "events", "s3:ObjectCreated", "s3:ObjectRemoved"):
            yield "it tells of documents that come, and not of those that go"
    elif str(resource.get("objectNamePrefix", "")).startswith(_DOCUMENTS) and _only_comes(
        [resource.inputs], "eventTypes", "OBJECT_FINALIZE", "OBJECT_DELETE"
    ):
        yield "it tells of documents that come, and not of those that go"


def _only_comes(told: list[Mapping[str, Any]], key: str, comes: str, goes: str) -> bool:
    events = [str(event) for each in told for event in items(each.get(key))]
    return any(event.startswith(comes) for event in events) and not any(event.startswith(goes) for event in events)


@resource_rule(
    "ingestion-loses-nothing",
    title="A function or service that works on messages gives back what it could not handle, and somebody hears of it in the end",
    types=(MAPPING, SUBSCRIPTION),
    severity="high",
    why="A document that was never read is missing in every answer, and a message that expired tells nobody.",
    remedy="ReportBatchItemFailures, a redrive policy, and an alarm on the dead letters; on Google Cloud dead_letter_policy.",
    controls={
        "soc2": ("A1.2", "CC7.2"),
        "iso-27001": ("A.8.14", "A.8.16"),
        "eu-ai-act": ("12",),
    },
)
def ingestion_loses_nothing(resource: Resource, graph: Graph) -> Found:
    """Queues of SQS that a function reads, and subscriptions that are pushed to a service."""
    if resource.type == SUBSCRIPTION:
        if resource.get("pushConfig") and not resource.get("deadLetterPolicy.deadLetterTopic"):
            yield "what cannot be handled is tried until it expires"
        return
    linked = (graph.resources.get(urn) for urn in sorted(resource.links("eventSourceArn")))
    for queue in (each for each in linked if each is not None and each.type == QUEUE):
        if "ReportBatchItemFailures" not in items(resource.get("functionResponseTypes")):
            yield "one message that fails brings back all that came with it"
        dead = list(_dead_letters(queue, graph))
        if not queue.get("redrivePolicy") and not graph.linked(queue.urn, REDRIVE, "queueUrl"):
            yield f"what cannot be handled is tried until it expires: {queue.name} has no dead letters"
        elif dead and not any(_is_watched(each, graph) for each in dead):
            yield f"nobody hears of the dead letters of {queue.name}"


def _dead_letters(queue: Resource, graph: Graph) -> Iterator[Resource]:
    sources = [*queue.links("redrivePolicy")]
    for redrive in graph.linked(queue.urn, REDRIVE, "queueUrl"):
        sources += redrive.links("redrivePolicy")
    found = (graph.resources.get(urn) for urn in sorted(set(sources)))
    yield from (each for each in found if each is not None and each.type == QUEUE)


def _is_watched(queue: Resource, graph: Graph) -> bool:
    name = str(queue.get("name", ""))
    return any(
        mapping(series.get("dimensions")).get("QueueName") == name or queue.urn in alarm.links("dimensions")
        for alarm in graph.of_type(METRIC_ALARM)
        for series in (alarm.inputs, *(mapping(q.get("metric")) for q in maps(alarm.get("metricQueries"))))
    )


_WRITES = ("s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion", "s3:PutObjectRetention")


@resource_rule(
    "prompt-log-kept",
    title="Nobody may write or delete in the log of prompts",
    types=(EVERY,),
    severity="high",
    why="A log that can be changed by those whom it is about proves nothing.",
    remedy="Persons read below prompts/; Bedrock writes there by the bucket's policy, an endpoint's pods add to its folder.",
    controls={"soc2": ("CC7.2", "CC7.3"), "iso-27001": ("A.5.28", "A.5.33"), "eu-ai-act": ("12",)},
)
def prompt_log_kept(resource: Resource, graph: Graph) -> Found:
    """Of identities that name the folder; whoever may write to every object is another rule's concern.

    What adds to the folder of one endpoint, and does nothing else there, is what guards that endpoint.
    """
    for statement in statements(resource, graph, "identity"):
        named = [each for each in statement.resources if _PROMPTS in each]
        may = [action for action in _WRITES if statement.covers(action)]
        adds = statement.actions == ("s3:PutObject",) and all(
            _ONE_ENDPOINT.search(each) for each in statement.resources
        )
        if adds or not statement.allows or not named or not may or statement.not_actions:
            continue
        if not only_delivery(resource, graph):
            yield f"statement {statement.label} allows {', '.join(may)} on {named[0]}"
