"""The database of corpora on AWS: who gets in, in which order it comes, and what a change changes."""

import json
from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import pulumi
import pytest

from components import contracts
from components.aws.foundation.network import services
from components.aws.retrieval.corpora import Corpora, CorporaArgs
from components.aws.retrieval.database import Database, DatabaseArgs
from components.core.naming import LIMITS
from components.spec.retrieval import Corpus
from policies.model import Graph, Resource
from preview.difference import compare
from runtime.aws import corpora_database
from tests.aws.building import by_sid, documents, kind, one, statements, waits_for
from tests.aws.serving import AT, WARNING, built, key, network, only, scope, text, zone

POLICIES: dict[str, Any] = {"team": "risk", "readers": ["risk"], "store": "database"}
CLAIMS: dict[str, Any] = {"team": "vision", "readers": ["vision"], "store": "database"}
KEY = f"arn:aws:kms:us-west-2:{AT}:key"


def program(
    *, tier: str = "dev", environment: str | None = None, size: Any = "small", **corpora: Any
) -> Callable[[], None]:
    told = corpora or {"policies": POLICIES, "claims-2026": CLAIMS, "manuals": {**CLAIMS, "store": "vectors"}}
    described = {name: Corpus.model_validate(one) for name, one in told.items()}

    def run() -> None:
        here, raw = scope(tier, environment), zone("raw", "data")
        parent = pulumi.ComponentResource("ai-platform:aws:Environment", "environment")
        common: dict[str, Any] = {
            "network": network(), "compute_key": key("compute"), "logs_key": key("logs"), "secrets_key": key("secrets"),
            "key": raw.key, "boundary": contracts.Boundary(id=text(f"arn:aws:iam::{AT}:policy/boundary")),
            "warning": [text(WARNING)], "tags": {name: {"team": spec.team} for name, spec in described.items()},
        }  # fmt: skip
        stored = {name: spec for name, spec in described.items() if spec.store == "database"}
        tables = Database(
            "corpora-database",
            DatabaseArgs(corpora=stored, size=size, recovery_days=14, **common),
            scope=here,
            parent=parent,
        ).outputs.tables
        args = CorporaArgs(corpora=described, bucket=raw.bucket, tables=tables, **common)
        pulumi.export("ids", dict(Corpora("corpora", args, scope=here, parent=parent).outputs.ids))

    return run


@cache
def graph(tier: str = "dev") -> Graph:
    return built(program(tier=tier))


def base(corpus: str, made: Graph | None = None) -> Resource:
    return one(made or graph(), "AgentKnowledgeBase", f"corpora-{corpus}-base")


def allowed(role: str) -> dict[str, tuple[list[str], Any]]:
    """What a role may do: action to resources and condition."""
    return {
        action: (s["Resource"], s.get("Condition"))
        for s in statements(one(graph(), "RolePolicy", f"{role}-policy"))
        if s["Effect"] == "Allow"
        for action in s["Action"]
    }


def arn(resource: Resource) -> str:
    return f"${{{resource.urn}#arn}}"


# ---- Who gets in


def test_a_knowledge_base_signs_in_with_its_own_secret_and_no_other():
    cluster, secret = only(graph(), "Cluster"), one(graph(), "Secret", "corpora-database-policies-secret")
    stored = base("policies").get("storageConfiguration")
    assert stored["type"] == "RDS"
    told = stored["rdsConfiguration"]
    assert (told["credentialsSecretArn"], told["resourceArn"]) == (arn(secret), arn(cluster))
    assert (told["databaseName"], told["tableName"]) == (cluster.get("databaseName"), "corpus_policies.passages")
    may = allowed("corpus-policies")
    assert may["secretsmanager:GetSecretValue"] == ([arn(secret)], None)
    for action in ("rds:DescribeDBClusters", "rds-data:ExecuteStatement", "rds-data:BatchExecuteStatement"):
        assert may[action] == ([arn(cluster)], None)
    # By the key of secrets, and through their service for this secret alone.
    [opens] = [
        s
        for s in statements(one(graph(), "RolePolicy", "corpus-policies-policy"))
        if s["Resource"] == [f"{KEY}/secrets"]
    ]
    assert opens["Action"] == ["kms:Decrypt"]
    assert opens["Condition"]["StringEquals"] == {
        "kms:ViaService": ["secretsmanager.us-west-2.amazonaws.com"],
        "kms:EncryptionContext:SecretARN": arn(secret),
    }
    assert not [action for action in may if action.startswith("s3vectors")]
    # And one with an index knows nothing of databases.
    assert not [action for action in allowed("corpus-manuals") if action.startswith(("rds", "secretsmanager"))]


def test_nobody_connects_and_no_password_is_in_the_program():
    cluster, group = only(graph(), "Cluster"), one(graph(), "SecurityGroup", "corpora-database-network")
    assert cluster.get("vpcSecurityGroupIds") == [f"${{{group.urn}#id}}"]
    assert not {"ingress", "egress"} & set(group.inputs)
    for rule in (*kind(graph(), "SecurityGroupIngressRule"), *kind(graph(), "SecurityGroupEgressRule")):
        assert group.urn not in str(rule.get("securityGroupId"))
    assert only(graph(), "SubnetGroup").get("subnetIds") == ["subnet-3"]
    assert [r.get("publiclyAccessible") for r in kind(graph(), "ClusterInstance")] == [False]
    assert cluster.get("enableHttpEndpoint") is True
    assert (cluster.get("manageMasterUserPassword"), cluster.get("masterUserSecretKmsKeyId")) == (
        True,
        f"{KEY}/secrets",
    )
    assert "masterPassword" not in cluster.inputs
    assert not kind(graph(), "SecretVersion")
    parameters = {p["name"]: p["value"] for p in only(graph(), "ClusterParameterGroup").get("parameters")}
    assert (parameters["rds.force_ssl"], parameters["rds.accepted_password_auth_method"]) == ("1", "scram")


def test_the_function_makes_tables_and_passwords_and_nothing_else():
    may = allowed("corpora-tables")
    cluster = only(graph(), "Cluster")
    kept = [arn(secret) for secret in kind(graph(), "Secret")]
    for verb in ("BeginTransaction", "CommitTransaction", "ExecuteStatement", "RollbackTransaction"):
        assert may.pop(f"rds-data:{verb}") == ([arn(cluster)], None)
    for verb in ("DescribeSecret", "GetSecretValue", "PutSecretValue", "UpdateSecretVersionStage"):
        assert sorted(may.pop(f"secretsmanager:{verb}")[0]) == sorted(kept)
    assert {action.partition(":")[0] for action in may} == {"ec2", "kms", "logs", "xray"}
    function = one(graph(), "Function", "corpora-tables-function")
    assert function.get("vpcConfig.subnetIds") == ["subnet-1", "subnet-2"]
    [called] = kind(graph(), "Permission")
    assert (called.get("principal"), called.get("sourceAccount")) == ("secretsmanager.amazonaws.com", AT)
    for resource, _, found in documents(graph()):
        assert "null" not in json.dumps(found), resource.urn
    for policy in kind(graph(), "SecretPolicy"):
        assert by_sid(policy)["OnlyInsiders"]["Effect"] == "Deny"


# ---- What the function is told, and what it makes of it


class Recorded:
    """A database that writes down what it is asked, and has nothing yet."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def begin_transaction(self, **_: str) -> dict[str, str]:
        return {"transactionId": "one"}

    commit_transaction = begin_transaction

    def execute_statement(self, *, sql: str, **_: str) -> dict[str, Any]:
        self.asked.append(sql)
        return {"records": [[{"isNull": True}]] if "obj_description" in sql else []}


def test_the_table_that_is_made_is_the_one_that_bedrock_is_told_of(monkeypatch: pytest.MonkeyPatch):
    known = one(graph(), "Function", "corpora-tables-function").get("environment.variables")
    for name, value in known.items():
        monkeypatch.setenv(name, value)
    database = Recorded()
    absent = type("ResourceNotFoundException", (Exception,), {})

    def nothing(**_: str) -> None:
        raise absent

    stored: dict[str, str] = {}
    kept = SimpleNamespace(
        exceptions=SimpleNamespace(ResourceNotFoundException=absent),
        get_secret_value=nothing,
        put_secret_value=lambda SecretId, SecretString: stored.update({SecretId: SecretString}),  # noqa: N803
    )
    monkeypatch.setattr(corpora_database, "_clients", lambda: (database, kept))
    for corpus in ("policies", "claims-2026"):
        event = json.loads(one(graph(), "Invocation", f"corpora-database-{corpus}-table").get("input"))
        assert corpora_database.handler(event, None)["outcome"] == "new table"
        told = base(corpus).get("storageConfiguration.rdsConfiguration")
        [made] = [s for s in database.asked if s.startswith(f"CREATE TABLE {told['tableName']} (")]
        assert set(told["fieldMapping"].values()) == {"id", "embedding", "chunks", "metadata", "custom_metadata"}
        assert all(f"{column} " in made for column in told["fieldMapping"].values())
        assert "embedding vector(1024)" in made
        secret = one(graph(), "Secret", f"corpora-database-{corpus}-secret")
        user = json.loads(stored[secret.get("name")])["username"]
        assert user == f"{told['tableName'].partition('.')[0]}_1"


def test_a_knowledge_base_comes_once_it_can_sign_in_and_goes_before_its_table():
    made = one(graph(), "Invocation", "corpora-database-policies-table")
    rotation = one(graph(), "SecretRotation", "corpora-database-policies-rotation")
    assert waits_for(graph(), made, *kind(graph(), "ClusterInstance"), *kind(graph(), "Permission"))
    assert waits_for(graph(), made, one(graph(), "RolePolicy", "corpora-tables-policy"))
    assert waits_for(graph(), rotation, made, one(graph(), "Secret", "corpora-database-policies-secret"))
    assert waits_for(graph(), base("policies"), made, rotation)
    assert not waits_for(graph(), base("manuals"), made)
    # Told of the end as well, or the passages of a corpus that is gone would lie there for ever.
    assert made.get("lifecycleScope") == "CRUD"
    assert waits_for(graph(), only(graph(), "Cluster"), only(graph(), "ClusterParameterGroup"))
    log = one(graph(), "LogGroup", "corpora-database-log")
    assert waits_for(graph(), only(graph(), "Cluster"), log)
    assert log.get("name") == f"/aws/rds/cluster/{only(graph(), 'Cluster').get('clusterIdentifier')}/postgresql"


def test_passwords_change_every_month():
    found = kind(graph(), "SecretRotation")
    assert len(found) == 2
    assert {r.get("rotationRules.automaticallyAfterDays") for r in found} == {30}


# ---- How large, and how safe


@pytest.mark.parametrize(
    ("tier", "instances", "least", "pause", "keeps", "days"),
    [("dev", 1, 0, 1800, False, 7), ("staging", 1, 0, 1800, True, 14), ("prod", 2, 1, None, True, 35)],
)
def test_tiers_differ(tier: str, instances: int, least: float, pause: int | None, keeps: bool, days: int):
    made = graph(tier)
    cluster = only(made, "Cluster")
    capacity = cluster.get("serverlessv2ScalingConfiguration")
    assert (capacity["minCapacity"], capacity.get("secondsUntilAutoPause")) == (least, pause)
    assert len(kind(made, "ClusterInstance")) == instances
    assert (cluster.protect, cluster.get("deletionProtection")) == (keeps, keeps)
    assert cluster.retain_on_delete == (tier == "prod")
    assert (cluster.get("backupRetentionPeriod"), cluster.get("deleteAutomatedBackups")) == (days, not keeps)
    assert {(r.protect, r.get("recoveryWindowInDays")) for r in kind(made, "Secret")} == {(keeps, 14)}
    assert (cluster.get("storageEncrypted"), cluster.get("kmsKeyId")) == (True, f"{KEY}/data")


def test_each_size_is_twice_the_one_before():
    most = [
        only(built(program(tier="prod", size=size)), "Cluster").get("serverlessv2ScalingConfiguration")
        for size in ("small", "medium", "large")
    ]
    assert [(each["minCapacity"], each["maxCapacity"]) for each in most] == [(1, 8), (2, 16), (4, 32)]


def test_a_bucket_of_vectors_is_there_for_those_that_want_one():
    assert len(kind(graph(), "VectorsVectorBucket")) == len(kind(graph(), "VectorsIndex")) == 1
    without = built(program(policies=POLICIES))
    assert not kind(without, "VectorsVectorBucket")
    assert not kind(without, "VectorsIndex")


def test_names_and_arns_keep_their_limits():
    long = "a" + "b" * 30
    found = built(program(environment="staging-of-somebody-else", **{f"{long}c": POLICIES, f"{long}d": CLAIMS}))
    cluster = only(found, "Cluster").get("clusterIdentifier")
    assert len(f"arn:aws:rds:ap-southeast-1:{AT}:cluster:{cluster}") <= 100
    kept = {r.get("name") for r in kind(found, "Secret")}
    assert len(kept) == 2
    assert all(len(f"arn:aws:secretsmanager:ap-southeast-1:{AT}:secret:{name}-aBcDeF") <= 100 for name in kept)
    assert all(len(r.get("identifier")) <= LIMITS["database"] for r in kind(found, "ClusterInstance"))
    # KnowledgeBase API, tableName.
    assert all(
        len(r.get("storageConfiguration.rdsConfiguration.tableName")) <= 63 for r in kind(found, "AgentKnowledgeBase")
    )


def test_where_no_way_leads_out_the_data_api_has_an_endpoint():
    assert "rds-data" in services(nat="none", egress="open", features=["database"], wanted=None)
    assert "rds-data" not in services(nat="none", egress="open", features=["retrieval"], wanted=None)


def test_what_is_watched():
    alarms = {r.get("name"): r for r in kind(graph(), "MetricAlarm")}
    full = alarms["acme-ai-dev-corpora-database-full"]
    assert full.get("dimensions") == {"DBClusterIdentifier": only(graph(), "Cluster").get("clusterIdentifier")}
    failing = alarms["acme-ai-dev-corpora-tables-failing"]
    assert failing.get("dimensions") == {
        "FunctionName": one(graph(), "Function", "corpora-tables-function").get("name")
    }
    assert all(each.get("alarmActions") == [WARNING] for each in (full, failing))


# ---- Changes


def test_another_embedding_makes_one_table_anew_and_touches_no_other():
    small = {**POLICIES, "embedding": {"dimensions": 512}}
    rest = {"claims-2026": CLAIMS, "manuals": {**CLAIMS, "store": "vectors"}}
    found = compare(graph(), built(program(policies=small, **rest)))
    assert not found.created
    assert not found.removed
    assert {c.resource.name for c in found.changed} == {"corpora-database-policies-table", "corpora-policies-base"}


def test_another_corpus_leaves_the_others_as_they_are():
    before = {"policies": POLICIES}
    found = compare(built(program(**before)), built(program(**before, claims=CLAIMS)))
    assert not found.removed
    assert not [c.resource.name for c in found.changed if "policies" in c.resource.name]
    assert not [c.resource.name for c in found.changed if c.resource.type.startswith("aws:rds")]


def test_a_first_preview_knows_as_much():
    assert set(built(program(), preview=True).resources) == set(graph().resources)
