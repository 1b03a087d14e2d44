"""Corpora on Google Cloud: who may do what, what is told of documents, who gets through to which corpus, and what changes."""

import base64
import doctest
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pulumi
import pulumi_gcp as gcp
import pytest

from components import contracts
from components.core import cloud_sql
from components.core import retrieval as facts
from components.core.naming import Names
from components.gcp.blocks.worker import code
from components.gcp.retrieval.ask import Ask, AskArgs
from components.gcp.retrieval.corpora import Corpora, CorporaArgs
from components.gcp.retrieval.database import Database, DatabaseArgs
from components.scope import Scope
from components.spec.retrieval import Asking, Corpus
from components.spec.retrieval import Database as DatabaseSpec
from components.spec.serving import Tokens
from policies.model import Graph
from preview.difference import compare
from preview.record import run
from runtime.gcp import ingestion, retrieval
from tests.gcp.building import before, build, kind, one

SERVICES = (
    "apigateway", "artifactregistry", "cloudfunctions", "cloudresourcemanager", "cloudscheduler", "iam", "logging", "monitoring",
    "pubsub", "run", "servicecontrol", "servicemanagement", "sqladmin", "storage", "vectorsearch",
)  # fmt: skip
PROJECT, NUMBER, REGION = "acme-ai-dev", "444444444444", "us-central1"
POLICIES: dict[str, Any] = {"team": "risk", "readers": ["risk", "vision"], "guardrail": "strict"}
CLAIMS: dict[str, Any] = {"team": "vision", "readers": ["vision"], "schedule": "30 3 * * 1-5"}
TEMPLATE = f"projects/{PROJECT}/locations/{REGION}/templates/strict-1"
ACCOUNTS = {team: f"team-{team}@{PROJECT}.iam.gserviceaccount.com" for team in ("risk", "vision", "audit")}
TOKENS = Tokens(issuer="https://id.example.com", keys="https://id.example.com/keys", audience="ml")
CRITICAL, WARNING, TEAM = (f"projects/{PROJECT}/notificationChannels/{n}" for n in (1, 2, 3))
STORAGE = f"serviceAccount:service-{NUMBER}@gs-project-accounts.iam.gserviceaccount.com"
PUBSUB = f"serviceAccount:service-{NUMBER}@gcp-sa-pubsub.iam.gserviceaccount.com"


def text(value: str) -> contracts.Text:
    return pulumi.Output.from_input(value)


def key(domain: str) -> contracts.Key:
    return contracts.Key(id=text(f"projects/{PROJECT}/keys/{domain}"), replica=None)


def program(
    *,
    tier: str = "dev",
    environment: str | None = None,
    auth: str = "jwt",
    throttle: int = 20,
    size: DatabaseSpec = DatabaseSpec(),  # noqa: B008 - it cannot be changed
    **corpora: Any,
) -> Callable[[], None]:
    """A program with these corpora, by default two of two teams."""
    told = corpora or {"policies": POLICIES, "claims": CLAIMS}
    described = {name: Corpus.model_validate(one) for name, one in told.items()}

    def built() -> None:
        parent = pulumi.ComponentResource("ai-platform:gcp:Environment", "environment")
        here = Scope(
            environment=environment or tier,
            tier=tier,  # pyright: ignore[reportArgumentType]
            cloud="gcp",
            account=PROJECT,
            region=REGION,
            replica_region=None,
            names=Names("acme-ai", environment or tier),
            tags={"environment": tier},
            protection={"dev": "delete", "prod": "retain"}[tier],
            log_days=30,
            today=date(2026, 1, 1),
            provider=gcp.Provider("gcp", project=PROJECT, opts=pulumi.ResourceOptions(parent=parent)),
        )
        net = contracts.Network(id=text("vpc"), workload_subnets=[text("subnet")], data_subnets=[], cidr="10.0.0.0/16")
        common: dict[str, Any] = {
            "apis": {f"{service}.googleapis.com": text(PROJECT) for service in SERVICES}, "number": NUMBER, "corpora": described,
            "network": net, "compute_key": key("compute"), "logs": text("acme-ai-dev-logs"), "warning": [text(WARNING)],
        }  # fmt: skip
        held = [name for name, spec in described.items() if spec.store == "database"]
        if held:
            made_of = Database(
                "corpora-database",
                DatabaseArgs(
                    apis=common["apis"],
                    size=size,
                    corpora=held,
                    network=net,
                    key=key("data"),
                    critical=[text(CRITICAL)],
                    warning=[text(WARNING)],
                ),
                scope=here,
                parent=parent,
            )
            common["database"] = made_of.outputs.server
        raw = here.names.of("raw", "bucket")
        made = Corpora(
            "corpora",
            CorporaArgs(
                **common,
                bucket=contracts.Storage(name=text(raw), uri=text(f"gs://{raw}"), resource=text(raw)),
                key=key("data"),
                logs_key=key("logs"),
                teams={"risk": [text(TEAM)]},
                tags={name: {"team": spec.team} for name, spec in described.items()},
            ),
            scope=here,
            parent=parent,
        ).outputs
        asked = Ask(
            "ask",
            AskArgs(
                **common,
                stores=made,
                guardrails=contracts.Guardrails(ids={"strict": text(TEMPLATE)}, versions={"strict": text("1")}),
                api=Asking(auth=auth, throttle_rps=throttle),  # pyright: ignore[reportArgumentType]
                tokens=TOKENS,
                claim="teams",
                identities={team: text(account) for team, account in ACCOUNTS.items()},
                critical=[text(CRITICAL)],
            ),
            scope=here,
            parent=parent,
        ).outputs
        pulumi.export("address", asked.address)
        pulumi.export("sources", dict(made.sources))

    return built


@cache
def graph(auth: str = "jwt") -> Graph:
    return run(program(auth=auth))


def environment(label: str, made: Graph | None = None) -> dict[str, Any]:
    function = one(made or graph(), "cloudfunctionsv2/Function", f"{label}-function")
    return function.get("serviceConfig.environmentVariables")


def corpora_of(label: str, made: Graph | None = None) -> dict[str, Any]:
    return json.loads(environment(label, made)["CORPORA"])


# ---- Who may do what


def test_the_function_that_fills_them_reads_documents_and_nothing_else_of_the_zone():
    [documents] = [r for r in kind(graph(), "storage/BucketIAMMember") if r.name == "ingestion-documents"]
    condition = documents.get("condition.expression")
    assert condition == (
        'resource.type == "storage.googleapis.com/Bucket" || '
        'resource.name.startsWith("projects/_/buckets/acme-ai-dev-raw/objects/documents/")'
    )
    roles = {r.name: r.get("permissions") for r in kind(graph(), "projects/IAMCustomRole")}
    assert roles == {
        "corpora-ingestion-role": [f"vectorsearch.dataObjects.{verb}" for verb in ("create", "delete", "query")],
        "corpora-documents-role": ["storage.objects.get", "storage.objects.list"],
        "ask-role": ["vectorsearch.dataObjects.search"],
    }
    granted = {r.name for r in kind(graph(), "projects/IAMMember")}
    assert {name for name in granted if name.startswith(("ingestion-", "retrieval-"))} == {
        "ingestion-build-copies", "ingestion-build-logs", "ingestion-collections", "retrieval-build-copies",
        "retrieval-build-logs", "retrieval-collections", "retrieval-guardrails",
    }  # fmt: skip
    without = run(program(policies={**POLICIES, "guardrail": None}))
    assert "retrieval-guardrails" not in {r.name for r in kind(without, "projects/IAMMember")}


def test_nobody_but_who_is_named_calls_a_function():
    def callers(made: Graph) -> dict[str, str]:
        found = kind(made, "cloudrunv2/ServiceIamMember")
        assert {r.get("role") for r in found} == {"roles/run.invoker"}
        return {r.name: r.get("member") for r in found}

    by_token, by_account = callers(graph()), callers(graph("iam"))
    assert set(by_token) == {"corpora-ingestion-caller-push", "ask-retrieval-caller-gateway"}
    assert set(by_account) == {
        "corpora-ingestion-caller-push", "ask-retrieval-caller-risk", "ask-retrieval-caller-vision",
    }  # fmt: skip
    for member in (*by_token.values(), *by_account.values()):
        assert member.startswith("serviceAccount:")
    ingress = "serviceConfig.ingressSettings"
    fill, ask = "corpora-ingestion-function", "ask-retrieval-function"
    assert one(graph(), "cloudfunctionsv2/Function", fill).get(ingress) == "ALLOW_INTERNAL_ONLY"
    # API Gateway is no part of the project's network.
    assert one(graph(), "cloudfunctionsv2/Function", ask).get(ingress) == "ALLOW_ALL"
    assert one(graph("iam"), "cloudfunctionsv2/Function", ask).get(ingress) == "ALLOW_INTERNAL_ONLY"
    assert not kind(graph("iam"), "apigateway/Gateway")


# ---- What is told of documents


def test_what_happens_to_documents_is_told():
    [notification] = kind(graph(), "storage/Notification")
    assert set(notification.get("eventTypes")) == ingestion.EVENTS
    assert (notification.get("objectNamePrefix"), notification.get("payloadFormat")) == ("documents/", "NONE")
    # Cloud Storage checks that it may publish, and what nobody listens to is gone.
    assert {
        "corpora-documents-publisher-storage", "corpora-documents-subscription", "corpora-ingestion-caller-push",
    } <= before(graph(), notification)  # fmt: skip
    publishers = {r.name: r.get("member") for r in kind(graph(), "pubsub/TopicIAMMember")}
    assert publishers == {
        "corpora-documents-publisher-storage": STORAGE,
        "corpora-documents-failed-publisher-agent": PUBSUB,
    }


def test_a_message_is_tried_for_long_and_then_kept():
    pushed = one(graph(), "pubsub/Subscription", "corpora-documents-subscription")
    assert pushed.get("ackDeadlineSeconds") == 600
    assert pushed.get("retryPolicy") == {"minimumBackoff": "30s", "maximumBackoff": "600s"}
    assert pushed.get("deadLetterPolicy.maxDeliveryAttempts") == 20
    address = f"https://acme-ai-dev-ingestion-{NUMBER}.{REGION}.run.app"
    assert pushed.get("pushConfig.pushEndpoint") == pushed.get("pushConfig.oidcToken.audience") == address
    function = one(graph(), "cloudfunctionsv2/Function", "corpora-ingestion-function")
    service = function.get("serviceConfig")
    assert ingestion.SECONDS < service["timeoutSeconds"] < 600
    assert (service["maxInstanceCount"], service["maxInstanceRequestConcurrency"]) == (3, 1)
    # Pub/Sub moves a message as a subscriber of this, and a publisher of the other.
    [mover] = kind(graph(), "pubsub/SubscriptionIAMMember")
    assert (mover.get("role"), mover.get("member")) == ("roles/pubsub.subscriber", PUBSUB)
    assert {"corpora-documents-failed-publisher-agent", "corpora-documents-failed-kept"} <= before(graph(), pushed)
    for subscription in kind(graph(), "pubsub/Subscription"):
        assert subscription.get("expirationPolicy.ttl") == ""
    for topic in kind(graph(), "pubsub/Topic"):
        assert topic.get("kmsKeyName").endswith("keys/logs")


def test_each_corpus_is_compared_when_it_says_so():
    jobs = {r.name: r for r in kind(graph(), "cloudscheduler/Job")}
    claims = jobs["corpora-claims-schedule"]
    assert (claims.get("schedule"), claims.get("timeZone")) == ("30 3 * * 1-5", "Etc/UTC")
    message = {"message": {"attributes": claims.get("pubsubTarget.attributes")}}
    assert ingestion.read(message, "acme-ai-dev-raw", ["claims"]) == ("claims", "")
    assert "corpora-documents-subscription" in before(graph(), claims)


# ---- Stores


def test_a_collection_holds_what_the_function_writes():
    collection = one(graph(), "vectorsearch/Collection", "corpora-policies")
    schema = json.loads(collection.get("dataSchema"))
    name = "documents/policies/a.txt"
    bucket = type("Bucket", (), {"load": lambda *_: b"Travel is paid."})()
    [wanted] = ingestion._wanted(bucket, name, ingestion.Document("7", "")).values()  # type: ignore[union-attr] # pyright: ignore
    kinds = {str: "string", int: "number"}
    assert {field: kinds[type(value)] for field, value in wanted.items()} == {
        field: told["type"] for field, told in schema["properties"].items()
    }
    [vector] = collection.get("vectorSchemas")
    assert vector["fieldName"] == "embedding"
    assert vector["denseVector"] == {
        "dimensions": 768,
        "vertexEmbeddingConfig": {
            "modelId": "text-embedding-005", "taskType": "RETRIEVAL_DOCUMENT", "textTemplate": "{text}",
        },
    }  # fmt: skip
    assert collection.get("encryptionSpec.cryptoKeyName").endswith("keys/data")
    assert collection.get("labels.team") == "risk"


def test_stores_are_made_of_documents_and_so_refuse_no_destroy():
    prod = run(program(tier="prod"))
    assert not [r for r in kind(prod, "vectorsearch/Collection") if r.protect]


def test_the_functions_find_the_stores_as_they_read_them():
    for label in ("corpora-ingestion", "ask-retrieval"):
        found = {name: told["collection"] for name, told in corpora_of(label).items()}
        assert found == {
            name: f"projects/{PROJECT}/locations/{REGION}/collections/acme-ai-dev-{name}"
            for name in ("policies", "claims")
        }
    function = one(graph(), "cloudfunctionsv2/Function", "corpora-ingestion-function")
    assert {"corpora-policies", "corpora-claims", "ingestion-collections", "ingestion-documents"} <= before(
        graph(), function
    )


# ---- Code


@pytest.mark.parametrize(
    ("module", "entry", "others", "requirements"),
    [
        ("ingestion", "ingest", ["ingestion_text", "retrieval_rest", "retrieval_stores"], "ingestion_requirements.txt"),
        ("retrieval", "query", ["retrieval_rest", "retrieval_stores"], "retrieval_requirements.txt"),
    ],
)
def test_a_function_has_all_of_its_code(tmp_path: Path, module: str, entry: str, others: list[str], requirements: str):
    for name, content in code(module, entry, others, requirements).items():
        place = tmp_path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content)
    found = subprocess.run(
        [sys.executable, "-c", f"import main; print(main.{entry}.__module__, main.__file__)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout.split() == [f"runtime.gcp.{module}", str(tmp_path / "main.py")], found.stderr
    [source] = [
        set(r.get("source"))
        for r in kind(graph(), "storage/BucketObject")
        if f"runtime/gcp/{module}.py" in r.get("source")
    ]
    assert source == set(code(module, entry, others, requirements))
    [function] = [r for r in kind(graph(), "cloudfunctionsv2/Function") if r.get("buildConfig.entryPoint") == entry]
    # Less than one processor takes one request at a time.
    assert function.get("serviceConfig.availableCpu") == "1"


# ---- Asking


def headers(account: str, claims: dict[str, Any] | None = None) -> dict[str, str]:
    def encoded(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    token = f"h.{encoded({'email': account, 'email_verified': True})}.s"
    told = {"X-Apigateway-Api-Userinfo": encoded(claims)} if claims else {}
    return {"Authorization": f"Bearer {token}", **told}


def test_a_reader_of_one_corpus_asks_no_other(monkeypatch: pytest.MonkeyPatch):
    for name, value in environment("ask-retrieval").items():
        monkeypatch.setenv(name, value)
    gateway = environment("ask-retrieval")["GATEWAY"]
    by_token, by_account = corpora_of("ask-retrieval"), corpora_of("ask-retrieval", graph("iam"))
    risk = retrieval.known(headers(gateway, {"teams": ["risk"]}))
    assert risk.may_read(by_token["policies"])
    assert not risk.may_read(by_token["claims"])
    # Whoever is not the gateway says nothing of teams.
    assert not retrieval.known(headers(ACCOUNTS["risk"], {"teams": ["vision"]})).may_read(by_token["claims"])
    assert by_token["policies"]["guardrail"] == TEMPLATE
    assert by_token["claims"]["guardrail"] is None
    monkeypatch.setenv("GATEWAY", environment("ask-retrieval", graph("iam"))["GATEWAY"])
    vision, other = retrieval.known(headers(ACCOUNTS["vision"])), retrieval.known(headers(ACCOUNTS["risk"]))
    assert vision.may_read(by_account["claims"])
    assert not other.may_read(by_account["claims"])
    assert not retrieval.known(headers("", {"teams": ["vision"]})).may_read(by_account["claims"])


def test_every_path_of_the_api_wants_a_token():
    [config] = kind(graph(), "apigateway/ApiConfig")
    [document] = config.get("openapiDocuments")
    api = json.loads(base64.b64decode(document["document"]["contents"]))
    tokens = api["securityDefinitions"]["tokens"]
    assert tokens["x-google-issuer"] == "https://id.example.com"
    assert tokens["x-google-jwks_uri"] == "https://id.example.com/keys"
    assert tokens["x-google-audiences"] == "ml"
    operations = [operation for path in api["paths"].values() for operation in path.values()]
    assert [operation["security"] for operation in operations] == [[{"tokens": []}]]
    assert api["security"] == [{"tokens": []}]
    backend = api["x-google-backend"]
    address = f"https://acme-ai-dev-retrieval-{NUMBER}.{REGION}.run.app"
    assert backend["address"] == backend["jwt_audience"] == address
    # The function knows the corpus by the path that was asked for.
    assert backend["path_translation"] == "APPEND_PATH_TO_ADDRESS"
    assert retrieval._PATH.fullmatch(next(iter(api["paths"])).format(corpus="policies"))[1] == "policies"  # type: ignore[index] # pyright: ignore
    account = config.get("gatewayConfig.backendConfig.googleServiceAccount")
    assert account == environment("ask-retrieval")["GATEWAY"]


def test_another_configuration_stands_before_the_gateway_moves_to_it():
    [config], [gateway] = kind(graph(), "apigateway/ApiConfig"), kind(graph(), "apigateway/Gateway")
    assert gateway.get("apiConfig") == f"${{{config.urn}#id}}"
    assert {"ask-retrieval-function", "ask-retrieval-caller-gateway"} <= before(graph(), gateway)
    assert graph().outputs["address"] == f"https://${{{gateway.urn}#defaultHostname}}/v1"
    assert graph("iam").outputs["address"] == f"https://acme-ai-dev-retrieval-{NUMBER}.{REGION}.run.app/v1"
    elsewhere = run(program(environment="test"))
    [other] = kind(elsewhere, "apigateway/ApiConfig")
    assert other.get("apiConfigId").rpartition("-")[2] != config.get("apiConfigId").rpartition("-")[2]


def test_examples_of_facts():
    found = doctest.testmod(facts)
    assert found.attempted >= 4
    assert found.failed == 0


def test_questions_have_a_ceiling():
    service = one(graph(), "cloudfunctionsv2/Function", "ask-retrieval-function").get("serviceConfig")
    assert (service["maxInstanceCount"], service["maxInstanceRequestConcurrency"]) == (2, 20)
    more = one(run(program(throttle=500)), "cloudfunctionsv2/Function", "ask-retrieval-function")
    assert more.get("serviceConfig.maxInstanceCount") == 50


# ---- In a database

CONTRACTS: dict[str, Any] = {**CLAIMS, "store": "database"}


@cache
def tables(tier: str = "dev", auth: str = "jwt", **size: Any) -> Graph:
    """One corpus in a collection, one in a database."""
    return run(program(tier=tier, auth=auth, size=DatabaseSpec(**size), policies=POLICIES, contracts=CONTRACTS))


def instance(made: Graph) -> Any:
    return one(made, "sql/DatabaseInstance", "corpora-database-instance")


def test_each_function_signs_in_as_itself_and_nobody_has_a_password():
    made = tables()
    users = {r.name: r for r in kind(made, "sql/User")}
    assert {name: user.get("databaseRoles") for name, user in users.items()} == {
        "corpora-user": ["cloudsqlsuperuser"],
        "ask-user": None,
    }
    for user in users.values():
        assert (user.get("type"), user.get("password")) == ("CLOUD_IAM_SERVICE_ACCOUNT", None)
    assert instance(made).get("rootPassword") is None
    accounts = {r.get("accountId") for r in kind(made, "serviceaccount/Account")}
    fills, asks = (json.loads(environment(label, made)["DATABASE"]) for label in ("corpora-ingestion", "ask-retrieval"))
    for name in (fills["user"], asks["user"], fills["reader"]):
        assert name.removesuffix(f"@{PROJECT}.iam") in accounts
    assert fills["user"] != asks["user"] == fills["reader"]
    # Whoever asks is not told whom it could let in.
    assert "reader" not in asks
    for told in (fills, asks):
        assert told["host"] == f"${{{instance(made).urn}#privateIpAddress}}"


def test_they_sign_in_to_this_instance_alone_and_ask_for_embeddings_where_there_are_tables():
    made = tables()
    grants = {
        r.name: r.get("condition.expression")
        for r in kind(made, "projects/IAMMember")
        if r.get("role") == "roles/cloudsql.instanceUser"
    }
    path = f"projects/{PROJECT}/instances/{instance(made).get('name')}"
    condition = f"resource.name == '{path}' && resource.type == 'sqladmin.googleapis.com/Instance'"
    # A check looks whether the database takes the names of these.
    assert grants == {f"{workload}-database": condition for workload in cloud_sql.CORPORA_USERS}
    alone = run(program(contracts=CONTRACTS))
    for graph_, roles in (
        (made, {"corpora-ingestion-role": 4, "ask-role": 2}),
        (alone, {"corpora-ingestion-role": 1, "ask-role": 1}),
    ):
        for role, rights in roles.items():
            found = one(graph_, "projects/IAMCustomRole", role).get("permissions")
            assert len(found) == rights
            assert "aiplatform.endpoints.predict" in found
    assert not kind(alone, "vectorsearch/Collection")


def test_the_functions_find_the_tables_as_they_read_them():
    made = tables()
    [database] = kind(made, "sql/Database")
    model = f"projects/{PROJECT}/locations/{REGION}/publishers/google/models/text-embedding-005"
    expected = {"database": "acme-ai-dev-contracts", "model": model, "dimensions": 768}
    assert database.get("name") == expected["database"]
    for label in ("corpora-ingestion", "ask-retrieval"):
        told = corpora_of(label, made)
        assert expected.items() <= told["contracts"].items()
        assert set(told["policies"]) & {"collection", "database"} == {"collection"}
        function = one(made, "cloudfunctionsv2/Function", f"{label}-function")
        assert {"corpora-database-instance", "corpora-database-contracts"} <= before(made, function)
    # Nobody asks what nobody signed in to fill.
    asking = one(made, "cloudfunctionsv2/Function", "ask-retrieval-function")
    assert "corpora-user" in before(made, asking)


@pytest.mark.parametrize("preview", [False, True])
def test_the_database_is_private_and_encrypted(preview: bool):
    made = run(program(contracts=CONTRACTS), preview=True) if preview else tables()
    assert instance(made).get("settings.ipConfiguration") == {
        "ipv4Enabled": False, "privateNetwork": "vpc", "sslMode": "ENCRYPTED_ONLY",
    }  # fmt: skip
    assert instance(made).get("encryptionKeyName").endswith("keys/data")


def test_no_question_or_passage_is_logged_by_the_database():
    flags = {each["name"]: each["value"] for each in instance(tables()).get("settings.databaseFlags")}
    assert flags == {
        "cloudsql.iam_authentication": "on", "log_connections": "on", "log_disconnections": "on", "log_statement": "ddl",
        "log_min_duration_statement": "-1", "max_connections": "200",
    }  # fmt: skip


@pytest.mark.parametrize("size", cloud_sql.CORPORA)
def test_there_is_a_connection_for_every_question(size: str):
    most = max(
        n
        for n in range(1, 1001)
        if facts.gcp_connections(n) + cloud_sql.RESERVED <= cloud_sql.CORPORA[size].connections
    )
    made = run(program(throttle=most, size=DatabaseSpec(size=size), contracts=CONTRACTS))  # pyright: ignore[reportArgumentType]
    taken = 0
    for label in ("corpora-ingestion", "ask-retrieval"):
        service = one(made, "cloudfunctionsv2/Function", f"{label}-function").get("serviceConfig")
        taken += service["maxInstanceCount"] * service["maxInstanceRequestConcurrency"]
    flags = {each["name"]: each["value"] for each in instance(made).get("settings.databaseFlags")}
    assert taken == facts.gcp_connections(most) < int(flags["max_connections"])
    assert most >= 80


@pytest.mark.parametrize(("tier", "keeps", "kept"), [("dev", False, 7), ("prod", True, 35)])
def test_the_database_is_protected_as_the_tier_has_it(tier: str, keeps: bool, kept: int):
    found = instance(tables(tier))
    assert (found.protect, found.get("deletionProtection"), found.get("settings.retainBackupsOnDelete")) == (keeps,) * 3
    assert found.get("settings.backupConfiguration.backupRetentionSettings.retainedBackups") == kept
    assert found.get("settings.availabilityType") == ("REGIONAL" if keeps else "ZONAL")
    assert found.ignore_changes == ("settings.diskSize",)
    assert found.get("settings.diskAutoresizeLimit") == 80


def test_the_database_is_watched():
    made = tables()
    found = {r.get("displayName").removeprefix("dev: "): r for r in kind(made, "monitoring/AlertPolicy")}
    name = instance(made).get("name")
    for alarm, more in (("disk", f"> {80 * 1024**3 * 80 // 100}"), ("connections", "> 160"), ("busy", "> 0.9")):
        policy = found[f"corpora-database-{alarm}"]
        query = policy.get("conditions")[0]["conditionPrometheusQueryLanguage"]["query"]
        assert f'database_id="{PROJECT}:{name}"' in query
        assert query.endswith(more)
        assert policy.get("notificationChannels") == [CRITICAL if alarm == "disk" else WARNING]


def test_another_embedding_of_a_table_changes_what_functions_know_and_nothing_else():
    other = {**CONTRACTS, "embedding": {"gcp": "gemini-embedding-001"}}
    found = compare(tables(), run(program(policies=POLICIES, contracts=other)))
    assert not found.created
    assert not found.removed
    assert {changed.resource.name for changed in found.changed} == {
        "corpora-ingestion-function", "ask-retrieval-function",
    }  # fmt: skip


def test_with_a_database_functions_call_through_the_network_whatever_may_leave_it(project: Path):
    """Its address is in the network alone. Beside a database of experiments, its key is granted once."""
    network = "serviceConfig.directVpcNetworkInterfaces"
    corpora = {"contracts": {**CONTRACTS, "team": "risk", "readers": ["risk"]}, "policies": None}
    changes = {"retrieval": {"corpora": corpora}, "training": {"tracking": {"server": "kubernetes"}}}
    made = build(project, changes, stack="dev-gcp")
    for label in ("corpora-ingestion", "ask-retrieval"):
        assert one(made, "cloudfunctionsv2/Function", f"{label}-function").get(network)
    assert len(kind(made, "sql/DatabaseInstance")) == 2
    grants = [g for g in kind(made, "kms/CryptoKeyIAMMember") if "gcp-sa-cloud-sql" in g.get("member")]
    assert [g.name for g in grants] == ["keys-data-sqladmin"]
    for database in kind(made, "sql/DatabaseInstance"):
        assert {"keys-data-sqladmin", "keys-agent-sqladmin", "network-producers-connection"} <= before(made, database)


def test_a_first_preview_with_a_database_knows_as_much():
    made = run(program(policies=POLICIES, contracts=CONTRACTS), preview=True)
    assert set(made.resources) == set(tables().resources)


# ---- What is watched


def test_what_is_watched_is_told_to_whom_it_concerns():
    found = {r.get("displayName").removeprefix("dev: "): r for r in kind(graph(), "monitoring/AlertPolicy")}
    assert set(found) == {
        "corpora-failing", "corpora-late", "corpora-throttled", "corpus-claims-refused", "corpus-policies-refused",
        "documents-given-up", "messages-refused", "passages-foreign",
    }  # fmt: skip
    told = {name: r.get("notificationChannels") for name, r in found.items()}
    assert told["corpus-policies-refused"] == [TEAM]
    assert told["corpus-claims-refused"] == told["documents-given-up"] == [WARNING]
    assert told["passages-foreign"] == told["corpora-failing"] == [CRITICAL]
    counts = {r.get("name"): r.get("filter") for r in kind(graph(), "logging/Metric")}
    services = ('service_name="acme-ai-dev-ingestion"', 'service_name="acme-ai-dev-retrieval"')
    assert all(any(service in text for service in services) for text in counts.values())
    for name in ("corpus-claims-refused", "passages-foreign", "messages-refused"):
        query = found[name].get("conditions")[0]["conditionPrometheusQueryLanguage"]["query"]
        assert f"user_acme_ai_dev_{name.replace('-', '_')}{{" in query
        assert f"acme-ai-dev-{name}" in counts
    dead = found["documents-given-up"].get("conditions")[0]["conditionPrometheusQueryLanguage"]["query"]
    assert 'subscription_id="acme-ai-dev-documents-failed"' in dead


def test_every_count_of_a_log_is_one_that_the_code_writes(capsys: pytest.CaptureFixture[str]):
    ingestion._log("ERROR", "refused", "claims", "a", reason="b")  # pyright: ignore[reportPrivateUsage]
    entry = json.loads(capsys.readouterr().out)
    filters = {r.get("name"): r.get("filter") for r in kind(graph(), "logging/Metric")}
    assert f'jsonPayload.outcome="{entry["outcome"]}"' in filters["acme-ai-dev-corpus-claims-refused"]
    assert f'jsonPayload.corpus="{entry["corpus"]}"' in filters["acme-ai-dev-corpus-claims-refused"]
    assert "jsonPayload.foreign>0" in filters["acme-ai-dev-passages-foreign"]
    assert 'told["foreign"]' in Path(str(retrieval.__file__)).read_text()


# ---- What a change changes


def test_nothing_changes_where_nothing_did():
    assert not compare(graph(), run(program()))


def test_another_reader_changes_what_the_function_knows_and_nothing_else():
    found = compare(graph(), run(program(policies=POLICIES, claims={**CLAIMS, "readers": ["vision", "risk"]})))
    assert not found.created
    assert not found.removed
    assert [changed.resource.name for changed in found.changed] == ["ask-retrieval-function"]


def test_another_embedding_builds_one_corpus_anew_and_no_other():
    other = {**CLAIMS, "embedding": {"gcp": "text-multilingual-embedding-002"}}
    found = compare(graph(), run(program(policies=POLICIES, claims=other)))
    assert [changed.resource.name for changed in found.changed] == ["corpora-claims"]


LIMITS = {
    "vectorsearch/Collection": ("collectionId", 63), "cloudfunctionsv2/Function": ("name", 43), "apigateway/Api": ("apiId", 49),
    "apigateway/ApiConfig": ("apiConfigId", 49), "apigateway/Gateway": ("gatewayId", 49), "storage/Bucket": ("name", 63),
    "serviceaccount/Account": ("accountId", 30), "artifactregistry/Repository": ("repositoryId", 63),
    "projects/IAMCustomRole": ("roleId", 64), "sql/Database": ("name", 63), "sql/DatabaseInstance": ("name", 68),
}  # fmt: skip


def test_names_keep_their_limits():
    long = "a" + "b" * 62
    corpora: Any = {
        long: POLICIES, f"{long[:-1]}c": CLAIMS, f"{long[:-1]}d": CONTRACTS, f"{long[:-1]}e": CONTRACTS,
    }  # fmt: skip
    made = run(program(environment="staging-of-somebody", **corpora))
    for name, (path, limit) in LIMITS.items():
        found = [r.get(path) for r in kind(made, name)]
        assert found, name
        assert len(set(found)) == len(found), name
        assert max(map(len, found)) <= limit, name


def test_a_first_preview_knows_as_much():
    for auth in ("jwt", "iam"):
        assert set(run(program(auth=auth), preview=True).resources) == set(graph(auth).resources)
