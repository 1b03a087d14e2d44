"""As much of the Data API of RDS as the functions use, over HTTP: statements are run by a PostgreSQL server that is there.

It is as strict as the service, or stricter: one statement at a time, which holds no colon (what follows it would be a parameter),
and whoever asks signs in as the secret says, with its current version.
"""

import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import uuid4

import boto3

from tests.runtime import bedrock
from tests.runtime.bedrock import FaultError, Service, running
from tests.runtime.postgres import Server

bedrock.FAULT_STATUS |= {"DatabaseErrorException": 400, "DatabaseResumingException": 400, "ForbiddenException": 403}


class DataApi:
    """The database of one cluster, as the service hands it on."""

    def __init__(self, server: Server, database: str) -> None:
        self._server, self._database = server, database
        self._open: dict[str, Any] = {}
        self.statements: list[str] = []
        self.service = Service(
            "rds-data",
            {
                "ExecuteStatement": self._execute,
                "BeginTransaction": self._begin,
                "CommitTransaction": lambda given: self._end(given, "COMMIT"),
                "RollbackTransaction": lambda given: self._end(given, "ROLLBACK"),
            },
        )

    def _connection(self, secret: str) -> Any:
        """As whoever the secret names; PostgreSQL itself says whether the password is right."""
        from pg8000.exceptions import DatabaseError, InterfaceError
        from pg8000.native import Connection

        keeper: Any = boto3.client("secretsmanager")
        # By its stage: the emulator takes a version that is pending for the one that is meant where none is named.
        told = json.loads(keeper.get_secret_value(SecretId=secret, VersionStage="AWSCURRENT")["SecretString"])
        server, trusted = self._server, ssl.create_default_context(cadata=self._server.authority)
        try:
            return Connection(
                told["username"],
                password=told["password"],
                host=server.host,
                port=server.port,
                database=self._database,
                ssl_context=trusted,
            )
        except (DatabaseError, InterfaceError):
            raise FaultError("DatabaseErrorException") from None

    def _run(self, connection: Any, statement: str) -> dict[str, Any]:
        from pg8000.exceptions import DatabaseError

        assert ":" not in statement, statement
        assert ";" not in statement, statement
        self.statements.append(statement)
        try:
            rows = connection.run(statement)
        except DatabaseError:
            raise FaultError("DatabaseErrorException") from None
        return {"numberOfRecordsUpdated": 0, "records": [[_field(value) for value in row] for row in rows or ()]}

    def _execute(self, given: dict[str, Any]) -> dict[str, Any]:
        if "transactionId" in given:
            return self._run(self._open[given["transactionId"]], given["sql"])
        connection = self._connection(given["secretArn"])
        try:
            return self._run(connection, given["sql"])
        finally:
            connection.close()

    def _begin(self, given: dict[str, Any]) -> dict[str, Any]:
        name = str(uuid4())
        self._open[name] = self._connection(given["secretArn"])
        self._open[name].run("BEGIN")
        return {"transactionId": name}

    def _end(self, given: dict[str, Any], how: str) -> dict[str, Any]:
        connection = self._open.pop(given["transactionId"])
        with suppress(Exception):
            connection.run(how)
        connection.close()
        return {"transactionStatus": how}


def _field(value: Any) -> dict[str, Any]:
    if value is None:
        return {"isNull": True}
    kinds: tuple[tuple[type, str], ...] = ((bool, "booleanValue"), (int, "longValue"), (str, "stringValue"))
    name = next((name for kind, name in kinds if isinstance(value, kind)), None)
    # As the service, which knows no other types of what is answered here.
    if name is None:
        raise FaultError("UnsupportedResultException")
    return {name: value}


@contextmanager
def data_api(server: Server, database: str, tell: Callable[[str, str], None]) -> Iterator[DataApi]:
    """The service of a database; `tell` is given the environment variables by which clients find it."""
    api = DataApi(server, database)
    with running(rds_data=api.service) as found:
        for name, value in found.items():
            tell(name, value)
        yield api
