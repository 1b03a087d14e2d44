"""Corpora on AWS: who may do what, what is told of documents, who gets through to which corpus, and what a change changes."""

import base64
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components import contracts
from components.aws.data.storage import Storage, StorageArgs
from components.aws.retrieval.ask import Ask, AskArgs
from components.aws.retrieval.corpora import Corpora, CorporaArgs
from components.core import retrieval
from components.spec.retrieval import Asking, Corpus
from components.spec.serving import Tokens
from policies.model import Graph, Resource
from preview.difference import compare
from runtime.aws import ingestion
from runtime.aws import retrieval as function
from tests.aws.building import by_sid, documents, kind, one, statements, upstream, waits_for
from tests.aws.serving import AT, CRITICAL, TEAM, WARNING, built, key, network, only, scope, text, zone

POLICIES: dict[str, Any] = {"team": "risk", "readers": ["risk", "vision"], "guardrail": "strict"}
CLAIMS: dict[str, Any] = {"team": "vision", "readers": ["vision"], "schedule": "30 3 * * 1-5"}
GUARDRAIL = f"arn:aws:bedrock:us-west-2:{AT}:guardrail/abcdefghijkl"
ROLES = {team: f"arn:aws:iam::{AT}:role/acme-ai-dev-{team}" for team in ("risk", "vision", "audit")}
TOKENS = Tokens(issuer="https://id.example.com", keys="https://id.example.com/keys", audience="ml")
KEY = f"arn:aws:kms:us-west-2:{AT}:key"


def program(
    *, tier: str = "dev", environment: str | None = None, auth: str = "jwt", throttle: int = 20, **corpora: Any
) -> Callable[[], None]:
    """A program with these corpora, by default two of two teams."""
    told = corpora or {"policies": POLICIES, "claims": CLAIMS}
    described = {name: Corpus.model_validate(one) for name, one in told.items()}

    def run() -> None:
        here, raw = scope(tier, environment), zone("raw", "data")
        parent = pulumi.ComponentResource("ai-platform:aws:Environment", "environment")
        common: dict[str, Any] = {
            "corpora": described, "bucket": raw.bucket, "network": network(), "compute_key": key("compute"),
            "logs_key": key("logs"), "warning": [text(WARNING)],
            "boundary": contracts.Boundary(id=text(f"arn:aws:iam::{AT}:policy/boundary")),
        }  # fmt: skip
        tags = {name: {"team": spec.team} for name, spec in described.items()}
        made = Corpora(
            "corpora",
            CorporaArgs(**common, key=raw.key, teams={"risk": [text(TEAM)]}, tags=tags),
            scope=here,
            parent=parent,
        ).outputs
        asked = Ask(
            "ask",
            AskArgs(
                **common,
                stores=made,
                guardrails=contracts.Guardrails(ids={"strict": text(GUARDRAIL)}, versions={"strict": text("3")}),
                guardrails_key=key("models"),
                api=Asking(auth=auth, throttle_rps=throttle),  # pyright: ignore[reportArgumentType]
                tokens=TOKENS,
                claim="teams",
                identities={team: text(arn) for team, arn in ROLES.items()},
                critical=[text(CRITICAL)],
            ),
            scope=here,
            parent=parent,
        ).outputs
        pulumi.export("address", asked.address)
        pulumi.export("sources", dict(made.sources))
        pulumi.export("ids", dict(made.ids))

    return run


@cache
def graph(auth: str = "jwt") -> Graph:
    return built(program(auth=auth))


def policy(role: str, made: Graph | None = None) -> list[dict[str, Any]]:
    return statements(one(made or graph(), "RolePolicy", f"{role}-policy"))


def allowed(role: str, made: Graph | None = None) -> dict[str, tuple[list[str], Any]]:
    """What a role may do: action to resources and condition."""
    return {
        action: (s["Resource"], s.get("Condition"))
        for s in policy(role, made)
        if s["Effect"] == "Allow"
        for action in s["Action"]
    }


def environment(label: str, made: Graph | None = None) -> dict[str, Any]:
    return one(made or graph(), "Function", f"{label}-function").get("environment.variables")


def corpora_of(label: str, made: Graph | None = None) -> dict[str, Any]:
    return json.loads(environment(label, made)["CORPORA"])


# ---- Who may do what


def test_a_knowledge_base_reads_its_own_folder_and_its_own_index_only():
    may = allowed("corpus-policies")
    index = one(graph(), "VectorsIndex", "corpora-policies-index")
    model = "arn:aws:bedrock:us-west-2::foundation-model/amazon.titan-embed-text-v2:0"
    mine = {"StringEquals": {"aws:ResourceAccount": AT}}
    folder = {**mine, "StringLike": {"s3:prefix": ["documents/policies/*"]}}
    assert may.pop("bedrock:InvokeModel") == ([model], None)
    assert may.pop("s3:GetObject") == (["arn:aws:s3:::acme-ai-dev-raw/documents/policies/*"], mine)
    assert may.pop("s3:ListBucket") == (["arn:aws:s3:::acme-ai-dev-raw"], folder)
    assert may.pop("kms:Decrypt") == may.pop("kms:GenerateDataKey") == ([f"{KEY}/data"], None)
    verbs = ("GetIndex", *(f"{verb}Vectors" for verb in ("Get", "Put", "Delete", "List", "Query")))
    assert set(may) == {f"s3vectors:{verb}" for verb in verbs}
    assert {tuple(resources) for resources, _ in may.values()} == {(f"${{{index.urn}#indexArn}}",)}


def test_the_function_that_fills_them_may_do_that_and_no_more():
    may = allowed("corpora-ingestion")
    bases = [
        f"${{{r.urn}#arn}}" for r in sorted(kind(graph(), "AgentKnowledgeBase"), key=lambda r: r.name, reverse=True)
    ]
    queue = f"${{{one(graph(), 'Queue', 'corpora-queue').urn}#arn}}"
    for verb in ("Get", "Ingest", "Delete"):
        assert may.pop(f"bedrock:{verb}KnowledgeBaseDocuments") == (bases, None)
    assert may.pop("bedrock:StartIngestionJob") == (bases, None)
    assert may.pop("s3:GetObject") == (["arn:aws:s3:::acme-ai-dev-raw/documents/*"], None)
    # HeadObject of what is gone is answered with 404 only to whoever may list, whatever the prefix.
    assert may.pop("s3:ListBucket") == (["arn:aws:s3:::acme-ai-dev-raw"], None)
    for verb in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes", "ChangeMessageVisibility"):
        assert may.pop(f"sqs:{verb}") == ([queue], None)
    assert {action.partition(":")[0] for action in may} == {"ec2", "kms", "logs", "xray"}


def test_the_function_that_asks_reads_no_document_and_no_store():
    may = allowed("ask-retrieval")
    ids = [one(graph(), "AgentKnowledgeBase", f"corpora-{name}-base") for name in ("policies", "claims")]
    assert may.pop("bedrock:Retrieve")[0] == [
        f"arn:aws:bedrock:us-west-2:{AT}:knowledge-base/{base.get('id', f'${{{base.urn}#id}}')}" for base in ids
    ]
    assert may.pop("bedrock:ApplyGuardrail") == ([GUARDRAIL], None)
    keys = {s["Resource"][0]: s["Condition"] for s in policy("ask-retrieval") if s["Action"] == ["kms:Decrypt"]}
    via = {key: next(iter(when["StringEquals"]["kms:ViaService"])) for key, when in keys.items()}
    assert via == {
        f"{KEY}/models": "bedrock.us-west-2.amazonaws.com",
        f"{KEY}/compute": "lambda.us-west-2.amazonaws.com",
    }
    assert {action.partition(":")[0] for action in may} == {"ec2", "kms", "logs", "xray"}
    without = built(program(policies={**POLICIES, "guardrail": None}))
    assert "bedrock:ApplyGuardrail" not in allowed("ask-retrieval", without)


def test_no_document_of_a_policy_holds_nothing():
    for made in (graph(), graph("iam")):
        for resource, _, found in documents(made):
            assert found, resource.urn
            assert "null" not in json.dumps(found), resource.urn


# ---- What is told of documents


def test_what_happens_to_documents_is_told_to_the_queue():
    [rule] = kind(graph(), "EventRule")
    told = json.loads(rule.get("eventPattern"))
    assert set(told["detail-type"]) == {ingestion.CREATED, ingestion.DELETED}
    assert told["detail"] == {"bucket": {"name": ["acme-ai-dev-raw"]}, "object": {"key": [{"prefix": "documents/"}]}}
    [target] = kind(graph(), "EventTarget")
    queue, failed = one(graph(), "Queue", "corpora-queue"), one(graph(), "Queue", "corpora-failed")
    assert target.get("arn") == f"${{{queue.urn}#arn}}"
    assert target.get("deadLetterConfig.arn") == f"${{{failed.urn}#arn}}"
    # The function reads the event as EventBridge wrote it.
    assert not {"input", "inputPath", "inputTransformer"} & set(target.inputs)
    # Nothing is sent before EventBridge may send.
    assert waits_for(graph(), target, *kind(graph(), "QueuePolicy"))
    rule_arn = f"arn:aws:events:us-west-2:{AT}:rule/{rule.get('name')}"
    for made in kind(graph(), "QueuePolicy"):
        sids = by_sid(made)
        assert set(sids) == {"ChangesOfDocuments", "OnlyOverTls"}
        assert sids["ChangesOfDocuments"]["Condition"]["ArnLike"] == {"aws:SourceArn": rule_arn}
        assert sids["OnlyOverTls"]["Effect"] == "Deny"


def test_a_message_is_tried_for_long_and_then_kept():
    queue, failed = one(graph(), "Queue", "corpora-queue"), one(graph(), "Queue", "corpora-failed")
    called = one(graph(), "Function", "corpora-ingestion-function")
    assert queue.get("visibilityTimeoutSeconds") == 720 >= 6 * called.get("timeout")
    assert json.loads(queue.get("redrivePolicy")) == {
        "deadLetterTargetArn": f"${{{failed.urn}#arn}}", "maxReceiveCount": 12,
    }  # fmt: skip
    assert json.loads(failed.get("redriveAllowPolicy"))["sourceQueueArns"] == [
        f"arn:aws:sqs:us-west-2:{AT}:{queue.get('name')}"
    ]
    for made in (queue, failed):
        assert (made.get("messageRetentionSeconds"), made.get("kmsMasterKeyId")) == (1_209_600, f"{KEY}/logs")
    [mapping] = kind(graph(), "EventSourceMapping")
    # Each failed message alone comes again, and no more are received than can be worked on.
    assert mapping.get("functionResponseTypes") == ["ReportBatchItemFailures"]
    assert mapping.get("scalingConfig.maximumConcurrency") == called.get("reservedConcurrentExecutions") == 2
    assert (mapping.get("batchSize"), mapping.get("maximumBatchingWindowInSeconds")) == (10, 5)


def test_each_corpus_is_compared_when_it_says_so():
    found = {r.name: r for r in kind(graph(), "Schedule")}
    claims = found["corpora-claims-schedule"]
    assert claims.get("scheduleExpression") == "cron(30 3 ? * MON-FRI *)"
    message = claims.get("target.input")
    assert ingestion.read(message, "acme-ai-dev-raw", ["policies", "claims"]) == (("claims", ""), "")
    assert found["corpora-policies-schedule"].get("scheduleExpression") == "cron(0 2 * * ? *)"
    may = allowed("corpora-schedule")
    assert set(may) == {"sqs:SendMessage", "kms:Decrypt", "kms:GenerateDataKey"}


def test_the_function_finds_the_stores_as_it_reads_them():
    places = corpora_of("corpora-ingestion")
    assert set(places) == {"policies", "claims"}
    for name, place in places.items():
        # Its own arguments: a wrong key does not even start.
        ingestion.Store(None, "b", **place)
        assert f"corpora-{name}-base" in place["knowledge_base"]
        assert f"corpora-{name}-source" in place["data_source"]
    assert environment("corpora-ingestion")["QUEUE_URL"].endswith("corpora-queue#url}")
    source = one(graph(), "AgentDataSource", "corpora-claims-source")
    assert source.get("dataSourceConfiguration.s3Configuration.inclusionPrefixes") == ["documents/claims/"]
    # What was kept would be found though its document is gone.
    assert {r.get("dataDeletionPolicy") for r in kind(graph(), "AgentDataSource")} == {"DELETE"}
    chunks = source.get("vectorIngestionConfiguration.chunkingConfiguration")
    assert chunks["fixedSizeChunkingConfiguration"] == {"maxTokens": 300, "overlapPercentage": 20}


def test_a_bucket_tells_eventbridge_where_it_is_asked_to():
    def program() -> None:
        boundary = contracts.Boundary(id=text("boundary"))
        here = scope()
        receiving = StorageArgs(key=key("logs"), access_logs=None, boundary=boundary)
        logs = Storage("logs", receiving, scope=here, parent=here.provider)
        raw = StorageArgs(key=key("data"), access_logs=logs.access_logs, boundary=boundary, events=True)
        pulumi.export("raw", Storage("raw", raw, scope=here, parent=here.provider).outputs.name)

    [notification] = kind(built(program), "BucketNotification")
    assert (notification.name, notification.get("eventbridge")) == ("raw-events", True)


# ---- Stores


def test_an_index_takes_what_the_model_makes_and_passages_of_any_length():
    index = one(graph(), "VectorsIndex", "corpora-claims-index")
    base = one(graph(), "AgentKnowledgeBase", "corpora-claims-base")
    assert (index.get("dimension"), index.get("dataType"), index.get("distanceMetric")) == (1024, "float32", "cosine")
    keys = index.get("metadataConfiguration.nonFilterableMetadataKeys")
    assert keys == ["AMAZON_BEDROCK_TEXT", "AMAZON_BEDROCK_METADATA"]
    vector = "knowledgeBaseConfiguration.vectorKnowledgeBaseConfiguration"
    assert base.get(f"{vector}.embeddingModelConfiguration") is None
    small = built(program(policies={**POLICIES, "embedding": {"dimensions": 256}}))
    assert only(small, "VectorsIndex").get("dimension") == 256
    path = f"{vector}.embeddingModelConfiguration.bedrockEmbeddingModelConfiguration"
    assert only(small, "AgentKnowledgeBase").get(path) == {"dimensions": 256, "embeddingDataType": "FLOAT32"}


def test_stores_are_encrypted_as_the_documents_are():
    for name in ("VectorsIndex", "VectorsVectorBucket"):
        for resource in kind(graph(), name):
            assert resource.get("encryptionConfigurations") == [{"sseType": "aws:kms", "kmsKeyArn": f"{KEY}/data"}]
    for resource in kind(graph(), "AgentDataSource"):
        assert resource.get("serverSideEncryptionConfiguration.kmsKeyArn") == f"{KEY}/data"
    for resource in kind(graph(), "LogGroup"):
        assert (resource.get("kmsKeyId"), resource.get("retentionInDays")) == (f"{KEY}/logs", 30)


def test_a_store_is_taken_down_before_what_it_needs_for_that():
    """To remove what a data source wrote, Bedrock takes the role, the index and the bucket of the knowledge base."""
    source = one(graph(), "AgentDataSource", "corpora-policies-source")
    index = one(graph(), "VectorsIndex", "corpora-policies-index")
    grants = one(graph(), "RolePolicy", "corpus-policies-policy")
    assert waits_for(graph(), source, index, grants, only(graph(), "VectorsVectorBucket"))
    # And in no tier is it refused: it is made of the documents.
    prod = built(program(tier="prod"))
    for name in ("VectorsVectorBucket", "VectorsIndex", "AgentKnowledgeBase", "AgentDataSource"):
        assert not [r for r in kind(prod, name) if r.protect]
    assert only(prod, "VectorsVectorBucket").get("forceDestroy") is True


# ---- Asking


def jwt(*groups: str) -> dict[str, Any]:
    token = {"iss": "i", "sub": "s", "teams": list(groups)}
    payload = base64.urlsafe_b64encode(json.dumps(token).encode()).decode().rstrip("=")
    claims = {"iss": "i", "sub": "s"}
    return {
        "requestContext": {"authorizer": {"jwt": {"claims": claims}}}, "headers": {"authorization": f"Bearer h.{payload}.s"},
    }  # fmt: skip


def role(name: str) -> dict[str, Any]:
    return {"requestContext": {"authorizer": {"iam": {"userArn": f"arn:aws:sts::{AT}:assumed-role/{name}/session"}}}}


def test_a_reader_of_one_corpus_asks_no_other(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GROUPS_CLAIM", environment("ask-retrieval")["GROUPS_CLAIM"])
    by_token, by_role = corpora_of("ask-retrieval"), corpora_of("ask-retrieval", graph("iam"))
    assert function.may_read(jwt("risk"), by_token["policies"])
    assert not function.may_read(jwt("risk"), by_token["claims"])
    assert not function.may_read(jwt("audit"), by_token["policies"])
    assert function.may_read(role("acme-ai-dev-vision"), by_role["claims"])
    assert not function.may_read(role("acme-ai-dev-risk"), by_role["claims"])
    # What the API does not check counts for nothing.
    assert not function.may_read(role("acme-ai-dev-vision"), by_token["claims"])
    assert not function.may_read(jwt("vision"), by_role["claims"])
    assert by_token["policies"]["guardrail"] == {"id": GUARDRAIL, "version": "3"}
    assert by_token["claims"]["guardrail"] is None


def test_nobody_asks_without_a_token_or_a_role():
    route, authorizer = only(graph(), "Route"), only(graph(), "Authorizer")
    assert route.get("routeKey") == "POST /v1/corpora/{corpus}/query"
    assert (route.get("authorizationType"), route.get("authorizerId")) == ("JWT", f"${{{authorizer.urn}#id}}")
    assert authorizer.get("jwtConfiguration") == {"issuer": "https://id.example.com", "audiences": ["ml"]}
    assert authorizer.get("identitySources") == ["$request.header.Authorization"]
    assert only(graph(), "Api").get("corsConfiguration") is None
    assert not kind(graph(), "FunctionUrl")
    [permission] = kind(graph(), "Permission")
    assert (permission.get("principal"), permission.get("sourceAccount")) == ("apigateway.amazonaws.com", AT)
    assert permission.get("sourceArn").endswith("/*/POST/v1/corpora/*")
    assert only(graph("iam"), "Route").get("authorizationType") == "AWS_IAM"
    assert not kind(graph("iam"), "Authorizer")


def test_roles_of_teams_may_call_what_they_read():
    may = {
        r.get("role"): statements(r)[0]["Resource"]
        for r in kind(graph("iam"), "RolePolicy")
        if r.name.startswith("ask-reader-")
    }
    assert set(may) == {"acme-ai-dev-risk", "acme-ai-dev-vision"}
    [risk] = may["acme-ai-dev-risk"]
    assert risk.endswith("/$default/POST/v1/corpora/policies/query")
    assert len(may["acme-ai-dev-vision"]) == 2
    assert not [r for r in kind(graph(), "RolePolicy") if r.name.startswith("ask-reader-")]


def test_questions_have_a_throttle_a_ceiling_and_a_log_without_them():
    stage, called = only(graph(), "Stage"), one(graph(), "Function", "ask-retrieval-function")
    assert stage.get("defaultRouteSettings.throttlingRateLimit") == 20
    assert stage.get("defaultRouteSettings.throttlingBurstLimit") == 20
    assert called.get("reservedConcurrentExecutions") == retrieval.at_once(20) == 40
    assert (called.get("timeout"), only(graph(), "Integration").get("timeoutMilliseconds")) == (29, 29_000)
    assert waits_for(graph(), stage, one(graph(), "LogGroup", "ask-access-log"), only(graph(), "Route"))
    logged = json.loads(stage.get("accessLogSettings.format"))
    assert logged["request_id"] == "$context.requestId"
    assert not [value for value in logged.values() if "claims" in value or "querystring" in value.lower()]


def test_the_address_is_known_once_questions_get_through():
    assert graph().outputs["address"].endswith("#apiEndpoint}/v1")
    assert graph().outputs["sources"] == {
        name: f"s3://acme-ai-dev-raw/documents/{name}/" for name in ("policies", "claims")
    }
    called = one(graph(), "Function", "ask-retrieval-function")
    # A search is never sent to a store that nothing fills.
    assert waits_for(graph(), called, *kind(graph(), "EventSourceMapping"), *kind(graph(), "EventTarget"))
    assert waits_for(graph(), called, one(graph(), "RolePolicy", "ask-retrieval-policy"))
    assert waits_for(graph(), called, one(graph(), "LogGroup", "ask-retrieval-log"))


# ---- What is watched


def test_what_is_watched_is_told_to_whom_it_concerns():
    found = {r.get("name").removeprefix("acme-ai-dev-"): r for r in kind(graph(), "MetricAlarm")}
    assert set(found) == {
        "corpora-failing", "corpora-late", "corpora-throttled", "corpus-claims-refused", "corpus-policies-refused",
        "documents-given-up", "messages-refused", "passages-foreign",
    }  # fmt: skip
    told = {name: r.get("alarmActions") for name, r in found.items()}
    assert told["corpus-policies-refused"] == [TEAM]
    assert told["corpus-claims-refused"] == told["documents-given-up"] == told["corpora-late"] == [WARNING]
    assert told["passages-foreign"] == told["corpora-failing"] == [CRITICAL]
    dead = found["documents-given-up"]
    assert (dead.get("threshold"), dead.get("dimensions")) == (0, {"QueueName": "acme-ai-dev-documents-failed"})


def test_every_count_of_a_log_is_one_that_the_code_writes():
    published = {
        (f.get("metricTransformation.namespace"), f.get("metricTransformation.name")): f
        for f in kind(graph(), "LogMetricFilter")
    }
    watched = {
        (r.get("namespace"), r.get("metricName"))
        for r in kind(graph(), "MetricAlarm")
        if r.get("namespace") == "acme-ai-dev-retrieval"
    }
    assert watched == set(published)
    patterns = {name: f.get("pattern") for (_, name), f in published.items()}
    code = {module.__name__: Path(str(module.__file__)).read_text() for module in (ingestion, function)}
    assert patterns[retrieval.REFUSED] == '{ $.outcome = "again: refused" }'
    assert 'task.outcome = "again: refused"' in code["runtime.aws.ingestion"]
    assert patterns[retrieval.UNREADABLE] == '{ $.outcome = "refused" }'
    assert '_log("refused"' in code["runtime.aws.ingestion"]
    assert patterns[retrieval.FOREIGN] == "{ $.foreign > 0 }"
    assert 'told["foreign"]' in code["runtime.aws.retrieval"]
    by_corpus = published["acme-ai-dev-retrieval", retrieval.REFUSED]
    assert by_corpus.get("metricTransformation.dimensions") == {"corpus": "$.corpus"}


# ---- What a change changes


def test_nothing_changes_where_nothing_did():
    assert not compare(graph(), built(program()))


def test_another_reader_changes_what_the_function_knows_and_nothing_else():
    more = built(program(policies=POLICIES, claims={**CLAIMS, "readers": ["vision", "risk"]}))
    found = compare(graph(), more)
    assert not found.created
    assert not found.removed
    assert [changed.resource.name for changed in found.changed] == ["ask-retrieval-function"]


def test_another_embedding_builds_one_corpus_anew_and_no_other():
    other = {**CLAIMS, "embedding": {"aws": "cohere.embed-multilingual-v3"}}
    found = compare(graph(), built(program(policies=POLICIES, claims=other)))
    changed = {c.resource.name for c in found.changed}
    assert {"corpora-claims-base", "corpus-claims-policy"} <= changed
    assert not [name for name in changed if "policies" in name]


def names(made: Graph) -> dict[str, set[str]]:
    return {
        name: {str(r.get(path)) for r in kind(made, name)}
        for name, path in (
            ("Role", "name"), ("Queue", "name"), ("EventRule", "name"), ("Schedule", "name"), ("Function", "name"),
            ("VectorsIndex", "indexName"), ("VectorsVectorBucket", "vectorBucketName"), ("AgentKnowledgeBase", "name"),
        )
    }  # fmt: skip


def test_names_keep_their_limits():
    long = "a" + "b" * 62
    corpora: Any = {long: POLICIES, f"{long[:-1]}c": CLAIMS}
    found = names(built(program(environment="staging-of-somebody", **corpora)))
    limits = {
        "Role": 64, "Queue": 80, "EventRule": 64, "Schedule": 64, "Function": 64, "VectorsIndex": 63, "VectorsVectorBucket": 63,
        "AgentKnowledgeBase": 100,
    }  # fmt: skip
    for name, limit in limits.items():
        assert max(map(len, found[name])) <= limit, name
    assert len(found["VectorsIndex"]) == len(found["Schedule"]) == len(found["AgentKnowledgeBase"]) == 2


def test_a_first_preview_knows_as_much():
    for auth in ("jwt", "iam"):
        assert set(built(program(auth=auth), preview=True).resources) == set(graph(auth).resources)


def test_whatever_is_made_is_in_the_network_and_the_boundary():
    for made in kind(graph(), "Function"):
        assert made.get("vpcConfig.subnetIds") == ["subnet-1", "subnet-2"]
        assert made.get("tracingConfig.mode") == "Active"
        assert made.get("kmsKeyArn") == f"{KEY}/compute"
    roles: list[Resource] = kind(graph(), "Role")
    assert len(roles) == 5
    assert {r.get("permissionsBoundary") for r in roles} == {f"arn:aws:iam::{AT}:policy/boundary"}
    assert upstream(graph(), one(graph(), "Function", "ask-retrieval-function"))
