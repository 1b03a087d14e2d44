"""Facts of corpora: embeddings, how much is asked at once, the description of the API, and what is watched.

Facts of both clouds without their SDKs.
"""

import hashlib
from collections.abc import Mapping
from math import ceil
from typing import Any

from components.core import cloudwatch, monitoring
from components.spec.retrieval import Corpus, Embedding
from components.spec.section import CloudName

EMBEDDINGS: Mapping[CloudName, Mapping[str, tuple[int, ...]]] = {
    # Bedrock "Supported models and Regions for Amazon Bedrock knowledge bases"; "Amazon Titan Embeddings Text", "Cohere Embed".
    "aws": {
        "amazon.titan-embed-text-v2:0": (1024, 512, 256),
        "cohere.embed-english-v3": (1024,),
        "cohere.embed-multilingual-v3": (1024,),
    },
    # "Autogenerating embeddings for Vector Search 2.0". Vectors of gemini-embedding-001 have length 1 only as a whole ("Get text
    # embeddings", output_dimensionality), and a collection takes them as they come.
    "gcp": {
        "text-embedding-005": (768,),
        "text-multilingual-embedding-002": (768,),
        "gemini-embedding-001": (3072,),
    },
}
"""By cloud and model, the lengths of a vector; the model's own first."""
ROUTE = "/v1/corpora/{corpus}/query"
_SECONDS = 2
"""An answer takes at most that long, most of the time: two looks of a guardrail and a search."""
_LATE_SECONDS = 5
_ERROR_PERCENT, _ERRORS = 1, 3
_MINUTE = 60
_FULL_PERCENT = 90
GCP_AT_ONCE = 20
"""Requests that an instance of the function that asks works on at once, on Google Cloud."""
GCP_ASKS, GCP_FILLS = "retrieval", 3
"""What that function is called, and how many instances the other one has at most, which fills corpora."""
NAMESPACE = "retrieval"
"""Of the metrics that are made of logs, within the environment."""
REFUSED, UNREADABLE, FOREIGN = "documents-refused", "messages-refused", "passages-foreign"


def dimensions(embedding: Embedding, cloud: CloudName) -> int:
    """Length of a vector. KeyError where the model is none of the cloud's.

    >>> dimensions(Embedding(), "aws"), dimensions(Embedding(dimensions=256), "aws"), dimensions(Embedding(), "gcp")
    (1024, 256, 768)
    """
    return embedding.dimensions or EMBEDDINGS[cloud][getattr(embedding, cloud)][0]


def at_once(throttle_rps: int) -> int:
    """Requests that are worked on at once, by Little's law.

    >>> at_once(20)
    40
    """
    return max(2, ceil(throttle_rps * _SECONDS))


def gcp_instances(throttle_rps: int) -> int:
    """Instances of the function that asks, for as many requests a second as are let through.

    >>> gcp_instances(1), gcp_instances(20)
    (1, 2)
    """
    return ceil(at_once(throttle_rps) / GCP_AT_ONCE)


def gcp_connections(throttle_rps: int) -> int:
    """Connections to a database that both functions hold at most: one for each request that is worked on.

    >>> gcp_connections(20)
    43
    """
    return gcp_instances(throttle_rps) * GCP_AT_ONCE + GCP_FILLS


def gcp_store(corpus: Corpus, name: Any, project: str, region: str) -> dict[str, Any]:
    """What the functions are told of a store: the name of its collection, or of its database and what embeds; may be an output.

    >>> gcp_store(Corpus(team="a", readers=["a"]), "b", "acme", "us-central1")
    {'collection': 'b'}
    """
    if corpus.store == "vectors":
        return {"collection": name}
    model = f"projects/{project}/locations/{region}/publishers/google/models/{corpus.embedding.gcp}"
    return {"database": name, "model": model, "dimensions": dimensions(corpus.embedding, "gcp")}


def openapi(title: str, service: str, *, issuer: str, keys: str, audience: str, seconds: int) -> dict[str, Any]:
    """The description of the API for API Gateway: one path, which nobody calls without a token that holds.

    No quota stands in it: it counts by project of a caller that shows an API key, and callers here show a token ("About quotas").
    Sources: "OpenAPI 2.0 extensions", "Using JWT to authenticate users".

    >>> openapi("a", "https://b", issuer="c", keys="d", audience="e", seconds=60)["security"]
    [{'tokens': []}]
    """
    tokens = {
        "type": "oauth2",
        "flow": "implicit",
        "authorizationUrl": "",
        "x-google-issuer": issuer,
        "x-google-jwks_uri": keys,
        "x-google-audiences": audience,
    }
    security: list[dict[str, list[str]]] = [{"tokens": []}]
    asked = {"type": "object", "properties": {"query": {"type": "string"}, "results": {"type": "integer"}}}
    operation = {
        "operationId": "query",
        "summary": "Passages of a corpus that answer a question",
        "security": security,
        "parameters": [
            {"name": "corpus", "in": "path", "required": True, "type": "string"},
            {"name": "body", "in": "body", "required": True, "schema": asked},
        ],
        "responses": {"200": {"description": "Passages, best first", "schema": {"type": "object"}}},
    }
    return {
        "swagger": "2.0",
        "info": {"title": title, "version": "1"},
        "schemes": ["https"],
        "consumes": ["application/json"],
        "produces": ["application/json"],
        "securityDefinitions": {"tokens": tokens},
        "security": security,
        "x-google-backend": {
            "address": service,
            "jwt_audience": service,
            # The path that was asked for, not only what comes after the service's own.
            "path_translation": "APPEND_PATH_TO_ADDRESS",
            "deadline": float(seconds),
        },
        "paths": {ROUTE: {"post": operation}},
    }


def digest(content: str) -> str:
    """A short text that is another one where the content is.

    >>> digest("a") == digest("a"), len(digest("b"))
    (True, 8)
    """
    return hashlib.sha256(content.encode()).hexdigest()[:8]


# ---- What is watched, for whoever is woken by it: what has happened, and what to do first.

_REFUSED = (
    "A document of the corpus {corpus} cannot be read, so nobody finds it; or an older version of it was taken out.",
    "Read the log of the ingestion: `refused` says why. Replace the document, or delete it.",
)
_UNREADABLE = (
    "The ingestion was sent what is no message about a document of a corpus.",
    "Read its log: `reason`. Something lies under documents/ that belongs to no corpus, or somebody sends what he should not.",
)
_DEAD = (
    "A change of a document never reached its corpus, though it was tried for hours.",
    "Read the message and the log of the ingestion, mend the cause. The nightly comparison then does the rest.",
)
_FULL = (
    "The database of the corpora has been above {percent} percent of its ceiling for half an hour.",
    "See whether many documents arrive, then it passes; else raise `retrieval.database.size`.",
)
_TABLES = (
    "The table or the password of a corpus could not be made. The old password stays valid, and Secrets Manager tries again.",
    "Read the log of corpora-tables: the last line says which corpus, and what the database answered.",
)
_FOREIGN = (
    "A search found a passage that belongs to another corpus. It was kept back; a store holds what it must not.",
    "Find out who wrote to the store, in the audit log, and when. Then have the corpus built anew.",
)
_FAILED = (
    "More than {percent} percent of the questions to the corpora are not answered.",
    "Read the log of the retrieval: `cause`. Then whether the store, the guardrail or their quotas are the reason.",
)
_LATE = (
    "More than 5 of 100 questions to the corpora take longer than {seconds} seconds.",
    "Compare the times in the log of the retrieval: with a guardrail, and without.",
)
_THROTTLED = (
    "Questions to the corpora are refused, because all that may work on them do.",
    "Who asks so much; else raise retrieval.api.throttle_rps.",
)


def aws_documents(corpus: str, namespace: str) -> list[cloudwatch.Alarm]:
    """What is watched of one corpus, on AWS."""
    return [
        _count(f"corpus-{corpus}-refused", _REFUSED, namespace, REFUSED, dimensions={"corpus": corpus}, corpus=corpus)
    ]


def aws_ingestion(namespace: str, dead_letters: str) -> list[cloudwatch.Alarm]:
    """What is watched of what fills all corpora, on AWS."""
    waiting = "ApproximateNumberOfMessagesVisible"
    return [
        _count(
            "documents-given-up", _DEAD, "AWS/SQS", waiting, dimensions={"QueueName": dead_letters}, statistic="Maximum"
        ),
        _count(UNREADABLE, _UNREADABLE, namespace, UNREADABLE),
    ]


def aws_asking(namespace: str, api: Any, function: str) -> list[cloudwatch.Alarm]:
    """What is watched of the API of the corpora, on AWS; `api` may be an output. "Working with metrics for HTTP APIs"."""

    def series(name: str, statistic: Any) -> cloudwatch.Metric:
        return cloudwatch.Metric(namespace="AWS/ApiGateway", name=name, dimensions={"ApiId": api}, statistic=statistic)

    failed = cloudwatch.Alarm(
        name="corpora-failing",
        severity="critical",
        metrics={"errors": series("5xx", "Sum"), "calls": series("Count", "Sum")},
        expression=f"IF(errors >= {_ERRORS}, 100 * errors / calls, 0)",
        figure="100 * errors / calls",
        comparison=">",
        threshold=_ERROR_PERCENT,
        period=5 * _MINUTE,
        periods=1,
        meaning=_FAILED[0].format(percent=_ERROR_PERCENT),
        first=_FAILED[1],
    )
    late = cloudwatch.Alarm(
        name="corpora-late",
        severity="warning",
        metrics={"time": series("Latency", "p95")},
        expression="time / 1000",
        comparison=">",
        threshold=_LATE_SECONDS,
        period=5 * _MINUTE,
        periods=3,
        meaning=_LATE[0].format(seconds=_LATE_SECONDS),
        first=_LATE[1],
    )
    return [
        failed,
        late,
        _count("corpora-throttled", _THROTTLED, "AWS/Lambda", "Throttles", dimensions={"FunctionName": function}),
        _count(FOREIGN, _FOREIGN, namespace, FOREIGN, severity="critical"),
    ]


def aws_database(cluster: str, function: str) -> list[cloudwatch.Alarm]:
    """What is watched of the database of corpora, on AWS ("Important Amazon CloudWatch metrics for Aurora Serverless v2").

    Nothing counts who is refused at the door; a knowledge base that is, fails questions and documents, which are watched.
    """
    full = cloudwatch.Alarm(
        name="corpora-database-full",
        severity="warning",
        metrics={
            "use": cloudwatch.Metric(
                namespace="AWS/RDS",
                name="ACUUtilization",
                dimensions={"DBClusterIdentifier": cluster},
                statistic="Maximum",
            )
        },
        comparison=">",
        threshold=_FULL_PERCENT,
        period=5 * _MINUTE,
        periods=6,
        meaning=_FULL[0].format(percent=_FULL_PERCENT),
        first=_FULL[1],
    )
    failed = _count("corpora-tables-failing", _TABLES, "AWS/Lambda", "Errors", dimensions={"FunctionName": function})
    return [full, failed]


def _count(
    name: str,
    texts: tuple[str, str],
    namespace: str,
    metric: str,
    *,
    dimensions: Mapping[str, Any] | None = None,
    statistic: Any = "Sum",
    severity: Any = "warning",
    **values: object,
) -> cloudwatch.Alarm:
    """One is too many."""
    return cloudwatch.Alarm(
        name=name,
        severity=severity,
        metrics={
            "count": cloudwatch.Metric(
                namespace=namespace, name=metric, dimensions=dimensions or {}, statistic=statistic
            )
        },
        comparison=">",
        threshold=0,
        period=5 * _MINUTE,
        periods=1,
        meaning=texts[0].format(**values),
        first=texts[1],
    )


def gcp_documents(corpus: str, prefix: str, service: str) -> tuple[monitoring.Count, monitoring.Alarm]:
    """What is watched of one corpus, on Google Cloud: `prefix` is what names of metrics begin with."""
    name = f"corpus-{corpus}-refused"
    chosen = f'jsonPayload.outcome="refused" AND jsonPayload.corpus="{corpus}"'
    return _logged(
        name, f"Documents of {corpus} that cannot be read.", _REFUSED, prefix, service, chosen, corpus=corpus
    )


def gcp_ingestion(prefix: str, service: str) -> tuple[monitoring.Count, monitoring.Alarm]:
    """What is watched of what fills all corpora, on Google Cloud, besides its dead letters."""
    chosen = 'jsonPayload.outcome="refused" AND jsonPayload.corpus=""'
    return _logged(UNREADABLE, "Messages that are about no document.", _UNREADABLE, prefix, service, chosen)


def gcp_given_up(lying: monitoring.Query) -> monitoring.Alarm:
    """Messages that were tried too often, on Google Cloud."""
    return monitoring.Alarm(
        name="documents-given-up",
        severity="warning",
        condition=lying,
        minutes=0,
        meaning=_DEAD[0],
        first=_DEAD[1],
    )


def gcp_foreign(prefix: str, service: str) -> tuple[monitoring.Count, monitoring.Alarm]:
    """Passages in the wrong place, on Google Cloud."""
    chosen = "jsonPayload.foreign>0"
    texts = "Passages that belong to another corpus."
    return _logged(FOREIGN, texts, _FOREIGN, prefix, service, chosen, severity="critical")


def gcp_asking(service: str) -> list[monitoring.Alarm]:
    """What is watched of the API of the corpora, on Google Cloud: a service of Cloud Run ("Google Cloud metrics", run)."""
    said = f'monitored_resource="cloud_run_revision",service_name="{service}"'
    count, times = "run_googleapis_com:request_count", "run_googleapis_com:request_latencies_bucket"
    failed = f'{count}{{{said},response_code_class="5xx"}}[5m]'
    enough = f"sum(increase({failed})) >= {_ERRORS}"
    percent = f"100 * sum(rate({failed})) / sum(rate({count}{{{said}}}[5m]))"
    late = f"histogram_quantile(0.95, sum by (le) (rate({times}{{{said}}}[5m])))"
    refused = f'sum(increase({count}{{{said},response_code="429"}}[5m]))'
    return [
        monitoring.Alarm(
            name="corpora-failing",
            meaning=_FAILED[0].format(percent=_ERROR_PERCENT),
            first=_FAILED[1],
            severity="critical",
            condition=monitoring.Query(
                promql=f"{percent} > {_ERROR_PERCENT} and on() {enough}",
                figure=percent,
                above=_ERROR_PERCENT,
                beside={"questions a minute": f"60 * sum(rate({count}{{{said}}}[5m]))"},
            ),
            minutes=0,
        ),
        monitoring.Alarm(
            name="corpora-late",
            meaning=_LATE[0].format(seconds=_LATE_SECONDS),
            first=_LATE[1],
            severity="warning",
            condition=monitoring.Query(
                promql=f"{late} > {1000 * _LATE_SECONDS}", figure=f"{late} / 1000", above=_LATE_SECONDS
            ),
            minutes=15,
        ),
        monitoring.Alarm(
            name="corpora-throttled",
            meaning=_THROTTLED[0],
            first=_THROTTLED[1],
            severity="warning",
            # Cloud Run itself answers so where every instance is busy, and so does the function where the store is.
            condition=monitoring.Query(promql=f"{refused} > 0", figure=refused),
            minutes=0,
        ),
    ]


def _logged(
    name: str,
    description: str,
    texts: tuple[str, str],
    prefix: str,
    service: str,
    chosen: str,
    *,
    severity: Any = "warning",
    **values: object,
) -> tuple[monitoring.Count, monitoring.Alarm]:
    """Entries of a service's log, counted, and the alarm on the first of them."""
    metric = "".join(c if c.isalnum() else "_" for c in f"{prefix}{name}")
    series = f'logging_googleapis_com:user_{metric}{{monitored_resource="cloud_run_revision"}}'
    counted = monitoring.Count(
        name=name,
        description=description,
        filter=f'resource.type="cloud_run_revision" AND resource.labels.service_name="{service}" AND {chosen}',
    )
    lately = f"sum(increase({series}[10m]))"
    alarm = monitoring.Alarm(
        name=name,
        severity=severity,
        condition=monitoring.Query(promql=f"{lately} > 0", figure=lately),
        minutes=0,
        meaning=texts[0].format(**values),
        first=texts[1],
    )
    return counted, alarm
