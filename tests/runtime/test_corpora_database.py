"""Tables and users of corpora, on a real PostgreSQL with pgvector: made twice, made anew, kept apart, and rotated."""

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from runtime.aws import corpora_database
from runtime.aws.corpora_database import Database, Names, RefusedError, handler, literal, verifier
from tests.runtime.data_api import data_api
from tests.runtime.postgres import Server, postgres

CLUSTER = "arn:aws:rds:us-west-2:111111111111:cluster:acme-ai-dev-corpora"
SECRETS = {"policies": "acme-ai-dev-corpus-policies", "claims-2026": "acme-ai-dev-corpus-claims-2026"}
TITAN = "amazon.titan-embed-text-v2:0"
STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")
FIRST, SECOND = (f"{n * 8}-0000-4000-8000-000000000000" for n in "12")
PASSAGE = "INSERT INTO {table} VALUES ('{id}', '[{vector}]', 'What is insured', '{{}}', '{{}}')"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres() as found:
        # As on Aurora: the owner of the database makes roles, and is no superuser. It may not make the extension here.
        found.run("CREATE ROLE owner LOGIN CREATEROLE PASSWORD 'secret of the owner'")
        found.run("CREATE DATABASE corpora OWNER owner")
        found.run("CREATE EXTENSION vector", database="corpora")
        yield found


@pytest.fixture
def cloud(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    for [schema] in server.run("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'corpus%'", database="corpora"):
        server.run(f"DROP SCHEMA {schema} CASCADE", database="corpora")
    for [role] in server.run("SELECT rolname FROM pg_roles WHERE rolname LIKE 'corpus%'"):
        server.run(f"DROP ROLE {role}")
    for name, value in {
        "AWS_DEFAULT_REGION": "us-west-2", "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing",
        "CLUSTER": CLUSTER, "DATABASE": "corpora", "SECRETS": json.dumps(SECRETS),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(corpora_database, "PAUSE_SECONDS", 0.01)
    corpora_database._clients.cache_clear()
    with mock_aws(config={"lambda": {"use_docker": False}}), data_api(server, "corpora", monkeypatch.setenv) as api:
        keeper: Any = boto3.client("secretsmanager")
        told = json.dumps({"username": "owner", "password": "secret of the owner"})
        monkeypatch.setenv("MASTER", keeper.create_secret(Name="rds-owner", SecretString=told)["ARN"])
        for name in SECRETS.values():
            keeper.create_secret(Name=name)
        yield SimpleNamespace(api=api, keeper=keeper, server=server)
    corpora_database._clients.cache_clear()


def make(corpus: str = "policies", embedding: str = TITAN, dimensions: int = 3, **more: Any) -> str:
    event = {"corpus": corpus, "embedding": embedding, "dimensions": dimensions, **more}
    return handler(event, None)["outcome"]


def inside(cloud: SimpleNamespace, statement: str) -> list[list[Any]]:
    return cloud.server.run(statement, database="corpora")


def as_corpus(cloud: SimpleNamespace, corpus: str) -> Database:
    """What the knowledge base of a corpus sees."""
    arn = cloud.keeper.describe_secret(SecretId=SECRETS[corpus])["ARN"]
    return Database(boto3.client("rds-data"), arn)


def fill(cloud: SimpleNamespace, corpus: str = "policies", vector: str = "1,0,0", number: int = 1) -> None:
    passage = PASSAGE.format(table=Names(corpus).table, id=f"{number:032x}", vector=vector)
    as_corpus(cloud, corpus).run(passage)


def count(cloud: SimpleNamespace, corpus: str = "policies") -> int:
    [[found]] = inside(cloud, f"SELECT count(*) FROM {Names(corpus).table}")  # noqa: S608
    return found


def begin(cloud: SimpleNamespace, token: str, corpus: str = "policies") -> None:
    """What RotateSecret does before the first step: a version that is pending and empty."""
    name, rules = SECRETS[corpus], {"AutomaticallyAfterDays": 30}
    for version, stages in cloud.keeper.describe_secret(SecretId=name)["VersionIdsToStages"].items():
        if {"AWSPENDING", "AWSCURRENT"} <= set(stages):
            cloud.keeper.update_secret_version_stage(
                SecretId=name, VersionStage="AWSPENDING", RemoveFromVersionId=version
            )
    cloud.keeper.rotate_secret(
        SecretId=name, ClientRequestToken=token, RotationRules=rules, RotationLambdaARN=_silent()
    )


def _silent() -> str:
    """A function that the emulator calls and that does nothing: the tests make the steps themselves."""
    functions: Any = boto3.client("lambda")
    roles: Any = boto3.client("iam")
    if found := functions.list_functions()["Functions"]:
        return found[0]["FunctionArn"]
    role = roles.create_role(RoleName="rotation", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    code = {"ZipFile": b"PK\x05\x06" + bytes(18)}
    return functions.create_function(
        FunctionName="rotation", Role=role, Runtime="python3.13", Handler="a.b", Code=code
    )["FunctionArn"]


def step(cloud: SimpleNamespace, name: str, token: str, corpus: str = "policies") -> None:
    arn = cloud.keeper.describe_secret(SecretId=SECRETS[corpus])["ARN"]
    handler({"SecretId": arn, "ClientRequestToken": token, "Step": name}, None)


def signs_in(cloud: SimpleNamespace, told: dict[str, str]) -> bool:
    """Whether somebody gets in with a password, by a secret of the test's own."""
    name = "tried"
    cloud.keeper.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
    arn = cloud.keeper.create_secret(Name=name, SecretString=json.dumps(told))["ARN"]
    try:
        return Database(boto3.client("rds-data"), arn).run("SELECT 1") == [[1]]
    except ClientError:
        return False


def current(cloud: SimpleNamespace, stage: str = "AWSCURRENT") -> dict[str, str]:
    return json.loads(cloud.keeper.get_secret_value(SecretId=SECRETS["policies"], VersionStage=stage)["SecretString"])


# ---- Tables


def test_a_table_has_the_columns_and_indexes_that_bedrock_asks_for(cloud: SimpleNamespace):
    assert make() == "new table"
    columns = inside(
        cloud,
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE attrelid = 'corpus_policies.passages'::regclass AND attnum > 0 ORDER BY attnum",
    )
    assert columns == [
        ["id", "uuid"], ["embedding", "vector(3)"], ["chunks", "text"], ["metadata", "json"], ["custom_metadata", "jsonb"],
    ]  # fmt: skip
    indexes = " ".join(
        definition
        for [definition] in inside(cloud, "SELECT indexdef FROM pg_indexes WHERE schemaname = 'corpus_policies'")
    )
    assert "hnsw (embedding vector_cosine_ops) WITH (ef_construction='256')" in indexes
    assert "gin (to_tsvector('simple'::regconfig, chunks))" in indexes
    assert "gin (custom_metadata)" in indexes


def test_the_user_of_a_corpus_writes_finds_and_deletes(cloud: SimpleNamespace):
    make()
    fill(cloud, vector="1,0,0", number=1)
    fill(cloud, vector="0,1,0", number=2)
    mine = as_corpus(cloud, "policies")
    near = "SELECT CAST(id AS text) FROM corpus_policies.passages ORDER BY embedding <=> '[0.1,0.9,0]' LIMIT 1"
    assert mine.run(near) == [["00000000-0000-0000-0000-000000000002"]]
    mine.run("DELETE FROM corpus_policies.passages")
    assert count(cloud) == 0


def test_made_twice_it_is_as_it_was(cloud: SimpleNamespace):
    make()
    fill(cloud)
    before = current(cloud)
    assert make() == "as before"
    assert count(cloud) == 1
    assert current(cloud) == before


@pytest.mark.parametrize("change", [{"dimensions": 4}, {"embedding": "cohere.embed-english-v3"}])
def test_another_embedding_makes_the_table_anew_and_lets_the_same_user_in(
    cloud: SimpleNamespace, change: dict[str, Any]
):
    make()
    make("claims-2026")
    fill(cloud)
    fill(cloud, "claims-2026")
    before = current(cloud)
    assert make(**change) == "new table"
    assert (count(cloud), count(cloud, "claims-2026")) == (0, 1)
    fill(cloud, vector=",".join("1" * change.get("dimensions", 3)))
    assert current(cloud) == before


def test_what_fails_half_way_leaves_nothing_and_may_come_again(cloud: SimpleNamespace, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patched:
        patched.setattr(corpora_database, "_MAY", ("SELECT", "NONSENSE"))
        with pytest.raises(ClientError, match="DatabaseErrorException"):
            make()
    assert inside(cloud, "SELECT 1 FROM pg_namespace WHERE nspname = 'corpus_policies'") == []
    assert make() == "new table"


def test_a_database_that_sleeps_is_waited_for_and_no_longer_than_that(
    cloud: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
):
    cloud.api.service.faults["BeginTransaction"] += ["DatabaseResumingException"] * 3
    assert make() == "new table"
    assert cloud.api.service.calls["BeginTransaction"] == 4
    monkeypatch.setattr(corpora_database, "WAKING_SECONDS", 0.05)
    cloud.api.service.faults["BeginTransaction"] += ["DatabaseResumingException", "…"]
    with pytest.raises(ClientError, match="DatabaseResumingException"):
        make()


# ---- Kept apart


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1 FROM corpus_claims_2026.passages",
        "DELETE FROM corpus_claims_2026.passages",
        "GRANT corpus_claims_2026 TO corpus_policies",
        "SET ROLE corpus_claims_2026",
        "ALTER ROLE corpus_claims_2026_1 PASSWORD 'mine'",
        "DROP TABLE corpus_policies.passages",
        "CREATE TABLE public.elsewhere (a int)",
        "CREATE TABLE corpus_policies.more (a int)",
    ],
)
def test_the_user_of_one_corpus_does_nothing_elsewhere(cloud: SimpleNamespace, statement: str):
    make()
    make("claims-2026")
    with pytest.raises(ClientError, match="DatabaseErrorException"):
        as_corpus(cloud, "policies").run(statement)
    assert as_corpus(cloud, "claims-2026").run("SELECT 1 FROM corpus_claims_2026.passages") == []


def test_what_goes_leaves_neither_passages_nor_users(cloud: SimpleNamespace):
    make()
    make("claims-2026")
    fill(cloud, "claims-2026")
    assert make(tf={"action": "delete", "prev_input": None}) == "removed"
    assert make(tf={"action": "delete", "prev_input": None}) == "removed"
    assert not signs_in(cloud, current(cloud))
    assert inside(cloud, "SELECT rolname FROM pg_roles WHERE rolname LIKE 'corpus_policies%'") == []
    assert count(cloud, "claims-2026") == 1
    # An update is no end.
    assert make("claims-2026", tf={"action": "update", "prev_input": {}}) == "as before"


# ---- Passwords


def test_no_statement_holds_a_password(cloud: SimpleNamespace):
    make()
    begin(cloud, FIRST)
    for name in STEPS:
        step(cloud, name, FIRST)
    said = "\n".join(cloud.api.statements)
    assert "ALTER ROLE corpus_policies_2 PASSWORD" in said
    for stage in ("AWSCURRENT", "AWSPREVIOUS"):
        assert current(cloud, stage)["password"] not in said


def test_nobody_signs_in_without_a_password(cloud: SimpleNamespace):
    make()
    assert not signs_in(cloud, {"username": "corpus_policies_2", "password": ""})


def test_the_old_password_is_valid_until_the_last_step_and_after_it(cloud: SimpleNamespace):
    make()
    first = current(cloud)
    begin(cloud, FIRST)
    for name in STEPS:
        step(cloud, name, FIRST)
        assert signs_in(cloud, first)
    second = current(cloud)
    assert (first["username"], second["username"]) == ("corpus_policies_1", "corpus_policies_2")
    fill(cloud)
    begin(cloud, SECOND)
    for name in STEPS:
        step(cloud, name, SECOND)
    assert current(cloud)["username"] == "corpus_policies_1"
    assert (signs_in(cloud, first), signs_in(cloud, second), signs_in(cloud, current(cloud))) == (False, True, True)


@pytest.mark.parametrize("again", STEPS)
def test_each_step_may_come_twice(cloud: SimpleNamespace, again: str):
    make()
    begin(cloud, FIRST)
    pending: dict[str, str] = {}
    for name in STEPS:
        step(cloud, name, FIRST)
        if name == "createSecret":
            pending = current(cloud, "AWSPENDING")
        if name == again:
            step(cloud, name, FIRST)
    assert current(cloud) == pending
    assert as_corpus(cloud, "policies").run("SELECT 1") == [[1]]


def test_all_steps_may_come_again_after_the_last(cloud: SimpleNamespace):
    make()
    begin(cloud, FIRST)
    for name in STEPS * 2:
        step(cloud, name, FIRST)
    assert current(cloud)["username"] == "corpus_policies_2"


def test_a_password_that_does_not_hold_is_taken_back(cloud: SimpleNamespace):
    make()
    before = current(cloud)
    begin(cloud, FIRST)
    step(cloud, "createSecret", FIRST)
    # Set by nobody.
    with pytest.raises(ClientError, match="DatabaseErrorException"):
        step(cloud, "finishSecret", FIRST)
    assert current(cloud) == before
    for name in STEPS[1:]:
        step(cloud, name, FIRST)
    assert current(cloud)["username"] == "corpus_policies_2"


def test_users_that_were_made_anew_keep_the_password_of_the_secret(cloud: SimpleNamespace):
    make()
    before = current(cloud)
    make(tf={"action": "delete", "prev_input": None})
    assert make(tf={"action": "create", "prev_input": None}) == "new table"
    assert (current(cloud), signs_in(cloud, before)) == (before, True)


def test_a_rotation_mends_a_current_password_that_does_not_hold(cloud: SimpleNamespace):
    make()
    inside(cloud, "ALTER ROLE corpus_policies_1 PASSWORD 'another'")
    begin(cloud, FIRST)
    for name in STEPS:
        step(cloud, name, FIRST)
    fill(cloud)


def test_a_secret_that_names_somebody_else_lets_nobody_in(cloud: SimpleNamespace):
    make()
    told = json.dumps({"username": "owner", "password": "mine"})
    cloud.keeper.put_secret_value(SecretId=SECRETS["policies"], SecretString=told)
    with pytest.raises(RefusedError, match="owner is no user"):
        make()
    begin(cloud, FIRST)
    cloud.keeper.put_secret_value(
        SecretId=SECRETS["policies"], SecretString=told, ClientRequestToken=FIRST, VersionStages=["AWSPENDING"]
    )
    for name in STEPS[1:]:
        with pytest.raises(RefusedError, match="owner is no user"):
            step(cloud, name, FIRST)


def test_a_rotation_that_is_set_up_is_tried_with_the_current_password(cloud: SimpleNamespace):
    make()
    begin(cloud, FIRST)
    step(cloud, "testSecret", FIRST)
    inside(cloud, "ALTER ROLE corpus_policies_1 PASSWORD 'another'")
    with pytest.raises(ClientError, match="DatabaseErrorException"):
        step(cloud, "testSecret", FIRST)


def test_a_user_that_lost_its_rights_does_not_become_the_current_one(cloud: SimpleNamespace):
    make()
    begin(cloud, FIRST)
    step(cloud, "createSecret", FIRST)
    step(cloud, "setSecret", FIRST)
    inside(cloud, "REVOKE DELETE ON corpus_policies.passages FROM corpus_policies")
    with pytest.raises(RefusedError, match="may not use"):
        step(cloud, "testSecret", FIRST)


# ---- What is refused


def test_what_is_none_of_its_business_is_refused(cloud: SimpleNamespace):
    for corpus in ("other", "a; DROP", "A", ""):
        with pytest.raises(RefusedError):
            make(corpus)
    make()
    with pytest.raises(RefusedError, match="not set to rotate"):
        step(cloud, "createSecret", FIRST)
    begin(cloud, FIRST)
    with pytest.raises(RefusedError, match="no step"):
        step(cloud, "dropSecret", FIRST)
    with pytest.raises(RefusedError, match="has no version"):
        step(cloud, "createSecret", SECOND)
    with pytest.raises(RefusedError, match="no pending value"):
        step(cloud, "setSecret", FIRST)
    with pytest.raises(RefusedError, match="no secret of a corpus"):
        handler({"SecretId": "rds-owner", "ClientRequestToken": FIRST, "Step": "createSecret"}, None)


def test_texts_stand_in_statements_without_a_colon_or_a_quote(cloud: SimpleNamespace):
    odd = "a:b'c\\d;e$f::g"
    assert not {":", ";", "$"} & set(literal(odd))
    assert inside(cloud, f"SELECT {literal(odd)}") == [[odd]]
    assert verifier("a", b"b" * 16) != verifier("a", b"c" * 16)
