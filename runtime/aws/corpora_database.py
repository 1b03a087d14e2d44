"""Tables of corpora in Aurora PostgreSQL, and the users that read and write them, through the Data API.

A deployment calls it once for each corpus, and again when that changes (`aws.lambda_.Invocation`, CRUD):
`{"corpus": "policies", "embedding": "amazon.titan-embed-text-v2:0", "dimensions": 1024}`, with `tf.action` `delete` when the
corpus goes. It may be called again at any time, after it was done or half-way. Another embedding makes the table anew: vectors of
two models cannot be compared.

Secrets Manager calls it to rotate the secret of a corpus, in four steps, each of which may come again. A corpus has two users
that take turns, so the old password stays valid until the last step, and until the next rotation. Nobody else knows one: the
database is told a verifier of SCRAM, so that no statement and no log holds a password.

`CLUSTER` and `DATABASE` name the database, `MASTER` the secret of its owner, `SECRETS` that of each corpus, by its name:
`{"policies": "acme-ai-dev-corpus-policies"}`. What is not in it, is refused.
"""

import base64
import hashlib
import hmac
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import boto3  # pyright: ignore[reportMissingTypeStubs] - its types are made at run time
from botocore.exceptions import ClientError  # pyright: ignore[reportMissingTypeStubs]

PENDING, CURRENT = "AWSPENDING", "AWSCURRENT"
CORPUS = re.compile(r"[a-z][a-z0-9-]{0,31}")
# A database that paused is awake again within some 15 seconds, after a day of rest in 30 or more ("Scaling to Zero ACUs").
WAKING_SECONDS, PAUSE_SECONDS = 90.0, 3.0
_ITERATIONS = 4096
"""Of a verifier: what PostgreSQL itself takes (`scram_iterations`). The password is random, so nobody guesses it."""
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-. ")
_MAY = ("SELECT", "INSERT", "UPDATE", "DELETE")

Run = Callable[[str], list[list[Any]]]


class RefusedError(Exception):
    """The call is none that this function may do; to repeat it would not help."""


class Names:
    """What a corpus is called in the database. No two corpora are called alike, for theirs have no underscore."""

    def __init__(self, corpus: str) -> None:
        if not CORPUS.fullmatch(corpus):
            raise RefusedError(f"{corpus!r} is no name of a corpus")
        self.schema = self.group = f"corpus_{corpus.replace('-', '_')}"
        self.table = f"{self.schema}.passages"
        self.users = (f"{self.group}_1", f"{self.group}_2")


def literal(text: str) -> str:
    r"""A text as SQL has it. The Data API takes what follows a colon for a parameter, so none is left.

    >>> print(literal("a:b'c"))
    E'a\072b\047c'
    """
    return "E'" + "".join(c if c in _PLAIN else f"\\{ord(c):03o}" for c in text) + "'"


def verifier(password: str, salt: bytes) -> str:
    """What PostgreSQL keeps of a password (RFC 5803), which it takes in place of one.

    >>> verifier("a", b"b" * 16)[:46]
    'SCRAM-SHA-256$4096:YmJiYmJiYmJiYmJiYmJiYg==$wj'
    """
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ITERATIONS)
    client, server = (hmac.digest(salted, key, "sha256") for key in (b"Client Key", b"Server Key"))
    told = (base64.b64encode(part).decode() for part in (salt, hashlib.sha256(client).digest(), server))
    return f"SCRAM-SHA-256${_ITERATIONS}:{next(told)}${next(told)}:{next(told)}"


class Database:
    """The database, as whoever a secret names."""

    def __init__(self, client: Any, secret: str) -> None:
        self.client = client
        self._where = {"resourceArn": os.environ["CLUSTER"], "secretArn": secret}

    def run(self, statement: str, **more: str) -> list[list[Any]]:
        """The rows that one statement gives."""
        told = _awake(
            lambda: self.client.execute_statement(**self._where, database=os.environ["DATABASE"], sql=statement, **more)
        )
        return [[_value(field) for field in row] for row in told.get("records", [])]

    @contextmanager
    def transaction(self) -> Generator[Run]:
        """All that is run in here, or nothing."""
        made = _awake(
            lambda: self.client.begin_transaction(**self._where, database=os.environ["DATABASE"])["transactionId"]
        )
        try:
            yield lambda statement: self.run(statement, transactionId=made)
        except BaseException:
            self.client.rollback_transaction(**self._where, transactionId=made)
            raise
        self.client.commit_transaction(**self._where, transactionId=made)


def _awake(call: Callable[[], Any]) -> Any:
    """What a call answers, once the database does: where nobody asks, it pauses."""
    end = time.monotonic() + WAKING_SECONDS
    while True:
        try:
            return call()
        except ClientError as error:
            if error.response["Error"]["Code"] != "DatabaseResumingException" or time.monotonic() > end:
                raise
        time.sleep(PAUSE_SECONDS)


def _value(field: Mapping[str, Any]) -> Any:
    return None if field.get("isNull") else next(iter(field.values()))


# ---- What a deployment asks for


def build(database: Database, names: Names, embedding: str, dimensions: int) -> bool:
    """The schema, the table and the users of a corpus, as far as they are not there; whether the table is a new one.

    "Using Aurora PostgreSQL as a Knowledge Base for Amazon Bedrock": these columns and indexes.
    """
    made_for = f"{embedding} {int(dimensions)}"
    with database.transaction() as run:
        # One after the other: two that make the same extension or role at once would fail.
        run("SELECT CAST(pg_advisory_xact_lock(7) AS text)")
        run("CREATE EXTENSION IF NOT EXISTS vector")
        listed = ", ".join(literal(role) for role in (names.group, *names.users))
        known = {role for (role,) in run(f"SELECT CAST(rolname AS text) FROM pg_roles WHERE rolname IN ({listed})")}  # noqa: S608
        if names.group not in known:
            run(f"CREATE ROLE {names.group} NOLOGIN")
        for user in names.users:
            if user not in known:
                # Without a password nobody signs in.
                run(f"CREATE ROLE {user} LOGIN IN ROLE {names.group}")
        run(f"CREATE SCHEMA IF NOT EXISTS {names.schema}")
        [[found]] = run(f"SELECT obj_description(to_regclass({literal(names.table)}), 'pg_class')")
        if found != made_for:
            run(f"DROP TABLE IF EXISTS {names.table}")
            columns = f"embedding vector({int(dimensions)}), chunks text, metadata json, custom_metadata jsonb"
            run(f"CREATE TABLE {names.table} (id uuid PRIMARY KEY, {columns})")
            run(f"COMMENT ON TABLE {names.table} IS {literal(made_for)}")
            for index in (
                "hnsw (embedding vector_cosine_ops) WITH (ef_construction = 256)",
                "gin (to_tsvector('simple', chunks))",
                "gin (custom_metadata)",
            ):
                run(f"CREATE INDEX ON {names.table} USING {index}")
        run(f"GRANT USAGE ON SCHEMA {names.schema} TO {names.group}")
        run(f"GRANT {', '.join(_MAY)} ON TABLE {names.table} TO {names.group}")
    return found != made_for


def remove(database: Database, names: Names) -> None:
    """Take all of a corpus away, passages and users."""
    with database.transaction() as run:
        run(f"DROP SCHEMA IF EXISTS {names.schema} CASCADE")
        for role in (*names.users, names.group):
            run(f"DROP ROLE IF EXISTS {role}")


def admit(database: Database, keeper: Any, secret: str, names: Names) -> None:
    """Let in whom the secret names; make the first password where there is none: a knowledge base is refused that cannot sign in.

    Users that were made anew have no password, and a database that was restored has those of the past.
    """
    try:
        found = keeper.get_secret_value(SecretId=secret, VersionStage=CURRENT)
    except keeper.exceptions.ResourceNotFoundException:
        made = credentials(names.users[0])
        let_in(database, made)
        keeper.put_secret_value(SecretId=secret, SecretString=json.dumps(made))
    else:
        let_in(database, owned(json.loads(found["SecretString"]), names))


def owned(made: dict[str, str], names: Names) -> dict[str, str]:
    """What a secret says, where it is of a user of this corpus; raises RefusedError."""
    if made["username"] not in names.users:
        raise RefusedError(f"{made['username']} is no user of this corpus")
    return made


def credentials(user: str) -> dict[str, str]:
    """A user with a new password, as the Data API reads it ("Storing database credentials in AWS Secrets Manager")."""
    return {"username": user, "password": secrets.token_urlsafe(36)}


def let_in(database: Database, made: Mapping[str, str]) -> None:
    """Let a user sign in with this password, and no other."""
    told = literal(verifier(made["password"], secrets.token_bytes(16)))
    database.run(f"ALTER ROLE {made['username']} PASSWORD {told}")


# ---- What Secrets Manager asks for


class Rotation:
    """One step for one version of the secret of a corpus."""

    def __init__(self, database: Database, keeper: Any, secret: str, token: str) -> None:
        """Look the secret up; raises RefusedError where this version of it is not ours to make."""
        self.database, self.keeper, self.secret, self.token = database, keeper, secret, token
        found = keeper.describe_secret(SecretId=secret)
        name = str(found["Name"])
        corpus = next((corpus for corpus, known in _secrets().items() if known == name), None)
        if corpus is None:
            raise RefusedError(f"{name} is no secret of a corpus")
        if not found.get("RotationEnabled"):
            raise RefusedError(f"{name} is not set to rotate")
        self.names = Names(corpus)
        self.stages: dict[str, list[str]] = found.get("VersionIdsToStages", {})
        mine = self.stages.get(token)
        if mine is None or not {PENDING, CURRENT} & set(mine):
            raise RefusedError(f"{name} has no version {token} that is pending or current")

    @property
    def done(self) -> bool:
        """Whether the version is already the current one."""
        return CURRENT in self.stages[self.token]

    def create(self) -> None:
        """Store a password of the user whose turn it is; keep the one that an earlier try stored."""
        if self._pending() is None:
            made = credentials(next(user for user in self.names.users if user != self._current()["username"]))
            self.keeper.put_secret_value(
                SecretId=self.secret,
                ClientRequestToken=self.token,
                SecretString=json.dumps(made),
                VersionStages=[PENDING],
            )

    def set(self) -> None:
        """Tell the database. The current user signs in as before."""
        let_in(self.database, self._made())

    def test(self) -> None:
        """That the user may do what a knowledge base does.

        The Data API reads a secret's current version only, so a pending one is tried in the last step. When a rotation is set up,
        this step is called for a version without a value (RotateSecret, RotateImmediately): then the current one is tried.
        """
        if self._pending() is None:
            self._sign_in()
            return
        made = self._made()
        asked = " AND ".join(
            f"has_table_privilege({literal(made['username'])}, {literal(self.names.table)}, '{right}')"
            for right in _MAY
        )
        if self.database.run(f"SELECT {asked}") != [[True]]:
            raise RefusedError(f"{made['username']} may not use {self.names.table}")

    def finish(self) -> None:
        """Make the version the current one, and sign in with it; what was current before comes back where that fails."""
        self._made()
        before = next(version for version, stages in self.stages.items() if CURRENT in stages)
        self._move(before, self.token)
        try:
            self._sign_in()
        except ClientError:
            self._move(self.token, before)
            raise

    def _sign_in(self) -> None:
        Database(self.database.client, self.secret).run(f"SELECT count(*) FROM {self.names.table} WHERE false")  # noqa: S608

    def _move(self, old: str, new: str) -> None:
        self.keeper.update_secret_version_stage(
            SecretId=self.secret, VersionStage=CURRENT, RemoveFromVersionId=old, MoveToVersionId=new
        )

    def _current(self) -> dict[str, str]:
        return json.loads(self.keeper.get_secret_value(SecretId=self.secret, VersionStage=CURRENT)["SecretString"])

    def _made(self) -> dict[str, str]:
        if (made := self._pending()) is None:
            raise RefusedError(f"{self.secret} has no pending value")
        return owned(made, self.names)

    def _pending(self) -> dict[str, str] | None:
        """The value of this version, where it has one: at the start of a rotation there is a version without."""
        try:
            found = self.keeper.get_secret_value(SecretId=self.secret, VersionId=self.token, VersionStage=PENDING)
        except self.keeper.exceptions.ResourceNotFoundException:
            return None
        return json.loads(found["SecretString"])


STEPS: dict[str, Callable[[Rotation], None]] = {
    "createSecret": Rotation.create,
    "setSecret": Rotation.set,
    "testSecret": Rotation.test,
    "finishSecret": Rotation.finish,
}


def _secrets() -> dict[str, str]:
    return json.loads(os.environ["SECRETS"])


@cache
def _clients() -> tuple[Any, Any]:
    return boto3.client("rds-data"), boto3.client("secretsmanager")


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001 - the signature is Lambda's
    """Do what is asked; see the module. Raises RefusedError, or whatever the services answer."""
    data, keeper = _clients()
    database = Database(data, os.environ["MASTER"])
    told: dict[str, Any]
    if "Step" in event:
        told = {"step": event["Step"], "secret": event["SecretId"], "version": event["ClientRequestToken"]}
        if event["Step"] not in STEPS:
            raise RefusedError(f"there is no step {event['Step']}")
        rotation = Rotation(database, keeper, event["SecretId"], event["ClientRequestToken"])
        told["done"] = rotation.done
        if not rotation.done:
            STEPS[event["Step"]](rotation)
    else:
        names = Names(str(event["corpus"]))
        if event.get("tf", {}).get("action") == "delete":
            remove(database, names)
            told = {"corpus": event["corpus"], "outcome": "removed"}
        else:
            if (secret := _secrets().get(event["corpus"])) is None:
                raise RefusedError(f"{event['corpus']} is no corpus with a secret")
            renewed = build(database, names, str(event["embedding"]), int(event["dimensions"]))
            admit(database, keeper, secret, names)
            told = {"corpus": event["corpus"], "outcome": "new table" if renewed else "as before"}
    print(json.dumps(told))  # noqa: T201 - the log
    return told
