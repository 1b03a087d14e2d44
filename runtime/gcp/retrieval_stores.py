"""What holds the parts of a corpus: a collection of Vector Search, or a table of PostgreSQL with pgvector. Each does the same.

A part is `{"source": …, "generation": …, "part": …, "parts": …, "text": …}` under an id. A collection makes the embeddings
itself. For a table Vertex AI is asked, and rows are sorted by the cosine of their vectors, which are kept in half precision: the
index takes 4,000 numbers of these, of others 2,000 (pgvector, "HNSW").

The table is made by whoever fills it, and is named by what its vectors are made with: another embedding is another table, and the
old one goes with that. Its owner lets one other account read. Both sign in as themselves, with a token in place of a password,
over TLS and with the certificate of who vouches for this very server: "IAM authentication" and "Configure SSL/TLS certificates"
of Cloud SQL. `DATABASE` says where it is, and who they are:
`{"host": "10.0.0.3", "authority": "-----BEGIN CERTIFICATE…", "user": "ingestion@acme.iam", "reader": "retrieval@acme.iam"}`.
"""

import json
import os
import re
import ssl
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

from pg8000.exceptions import DatabaseError, InterfaceError  # pyright: ignore[reportMissingTypeStubs]
from pg8000.native import Connection, identifier  # pyright: ignore[reportMissingTypeStubs]

from runtime.gcp.retrieval_rest import TIMEOUT, ApiError, Google

CREATED, DELETED = 50, 1000
"""Objects of one request. Its limit is 1,000; 50 parts are about what embedding models take at once, 20,000 tokens."""
EMBEDDED: Mapping[str, int] = {"gemini-embedding-001": 1}
"""Texts of one request to a model; to others as many as their tokens surely are no more than 20,000, at 2,048 each ("Get text
embeddings", API limits)."""
_EMBEDDED = 9
_VECTORS = "vectorsearch.googleapis.com"
_SCHEMA = "corpus"
_BUSY = "53300"
"""PostgreSQL "Error Codes": too_many_connections."""


@dataclass(frozen=True)
class Part:
    """A part of a document, as a store holds it."""

    name: str
    """Its id."""
    source: str
    generation: str
    parts: int
    """How many there are of that generation."""


class Store(Protocol):
    """The parts of one corpus. Every method raises ApiError."""

    def held(self, source: str | None = None) -> list[Part]:
        """The parts that it holds: of one document, or of all."""
        ...

    def create(self, objects: Mapping[str, Mapping[str, Any]]) -> None:
        """Add parts by their ids; one that is there already is the same one."""
        ...

    def delete(self, names: Iterable[str]) -> None:
        """Remove parts; one that is gone is gone."""
        ...

    def search(self, text: str, results: int) -> list[dict[str, Any]]:
        """Passages with `text`, `source` and `score`, best first."""
        ...


@contextmanager
def opened(google: Google, corpus: Mapping[str, Any], *, owner: bool = False) -> Generator[Store]:
    """The store of a corpus, by what is told of it: `collection`, or `database`, `model` and `dimensions`.

    The `owner` makes the table where there is none.
    """
    if "collection" in corpus:
        yield Collection(google, corpus["collection"])
        return
    told: dict[str, Any] = json.loads(os.environ["DATABASE"])
    with _heard():
        connection = _connection(told, corpus["database"], google.token)
    try:
        table = Table(google, connection, corpus["model"], corpus["dimensions"])
        if owner:
            table.make(told["reader"])
        yield table
    finally:
        with suppress(InterfaceError, OSError):
            connection.close()


def _connection(told: Mapping[str, Any], database: str, token: str) -> Connection:
    context = ssl.create_default_context(cadata=told["authority"])
    # It vouches for this one instance, whose certificate names no address.
    context.check_hostname = False
    return Connection(
        told["user"],
        host=told["host"],
        port=told.get("port", 5432),
        database=database,
        password=token,
        ssl_context=context,
        timeout=TIMEOUT,
    )


@contextmanager
def _heard() -> Generator[None]:
    """Whatever a database refuses is an ApiError, without its words: they may repeat those of a document."""
    try:
        yield
    except DatabaseError as error:
        told = error.args[0] if error.args else None
        code = told.get("C") if isinstance(told, dict) else None
        raise ApiError(429 if code == _BUSY else 0, f"database: {code}") from None
    except (InterfaceError, OSError) as error:
        raise ApiError(0, f"database: {type(error).__name__}") from None


class Collection:
    """A collection (vectorsearch.googleapis.com, v1)."""

    def __init__(self, google: Google, collection: str) -> None:
        self._google, self._collection = google, collection

    def held(self, source: str | None = None) -> list[Part]:
        """The parts that it holds: of one document, or of all."""
        asked: dict[str, Any] = {"outputFields": {"dataFields": ["source", "generation", "parts"]}, "pageSize": 1000}
        if source is not None:
            asked["filter"] = {"source": {"$eq": source}}
        found: list[Part] = []
        while True:
            answer = self._call(":query", asked)
            found += [
                Part(
                    o["name"].rpartition("/")[2], o["data"]["source"], o["data"]["generation"], int(o["data"]["parts"])
                )
                for o in answer.get("dataObjects", ())
            ]
            asked["pageToken"] = answer.get("nextPageToken", "")
            if not asked["pageToken"]:
                return found

    def create(self, objects: Mapping[str, Mapping[str, Any]]) -> None:
        """Add parts; one that is there already is the same one."""
        for group in _groups(objects, CREATED):
            wanted = [
                {"parent": self._collection, "dataObjectId": name, "dataObject": {"data": objects[name], "vectors": {}}}
                for name in group
            ]
            try:
                self._call(":batchCreate", {"requests": wanted})
            except ApiError as error:
                if error.status != 409:
                    raise
                for one in wanted:
                    self._but(409, "POST", f"?dataObjectId={one['dataObjectId']}", one["dataObject"])

    def delete(self, names: Iterable[str]) -> None:
        """Remove parts; one that is gone is gone."""
        for group in _groups(names, DELETED):
            wanted = [{"name": f"{self._collection}/dataObjects/{name}"} for name in group]
            try:
                self._call(":batchDelete", {"requests": wanted})
            except ApiError as error:
                if error.status != 404:
                    raise
                for name in group:
                    self._but(404, "DELETE", f"/{name}")

    def search(self, text: str, results: int) -> list[dict[str, Any]]:
        """Passages with their sources, best first."""
        search = {
            "searchText": text,
            "searchField": "embedding",
            "taskType": "RETRIEVAL_QUERY",
            "topK": results,
            "outputFields": {"dataFields": ["source", "text"]},
        }
        return [
            {
                "text": str(result["dataObject"].get("data", {}).get("text", "")),
                "source": str(result["dataObject"].get("data", {}).get("source", "")),
                "score": result.get("distance"),
            }
            for result in self._call(":search", {"semanticSearch": search}).get("results", ())
        ]

    def _call(self, verb: str, body: Any) -> Any:
        return self._google.call("POST", _VECTORS, f"/v1/{self._collection}/dataObjects{verb}", body)

    def _but(self, status: int, method: str, path: str, body: Any = None) -> None:
        """A call that may also end with a certain status."""
        try:
            self._google.call(method, _VECTORS, f"/v1/{self._collection}/dataObjects{path}", body)
        except ApiError as error:
            if error.status != status:
                raise


class Table:
    """A table of the corpus's own database, named by what its vectors are made with."""

    def __init__(self, google: Google, connection: Connection, model: str, dimensions: int) -> None:
        self._google, self._connection, self._model, self._dimensions = google, connection, model, dimensions
        self._own = re.sub(r"\W", "_", f"{model.rpartition('/')[2]}_{dimensions}")
        self._table = f"{_SCHEMA}.{identifier(self._own)}"

    def make(self, reader: str) -> None:
        """Make the table, and let somebody read it, where it is not there."""
        if self._is_there():
            return
        # Of two that begin at once, one is refused, and tried again.
        self._run("BEGIN")
        # A member of cloudsqlsuperuser may ("Configure PostgreSQL extensions").
        self._run("CREATE EXTENSION IF NOT EXISTS vector")
        self._run(f"CREATE SCHEMA IF NOT EXISTS {_SCHEMA}")
        self._run(f"GRANT USAGE ON SCHEMA {_SCHEMA} TO {identifier(reader)}")
        others = "SELECT tablename FROM pg_tables WHERE schemaname = :schema AND tablename <> :own"
        for (other,) in self._run(others, schema=_SCHEMA, own=self._own):
            self._run(f"DROP TABLE {_SCHEMA}.{identifier(other)}")
        self._run(
            f"CREATE TABLE IF NOT EXISTS {self._table} (id text PRIMARY KEY, source text NOT NULL, generation text NOT NULL,"
            f" part integer NOT NULL, parts integer NOT NULL, text text NOT NULL,"
            f" embedding halfvec({self._dimensions:d}) NOT NULL)"
        )
        self._run(f"CREATE INDEX IF NOT EXISTS {identifier(self._own + '_source')} ON {self._table} (source)")
        near = f"{self._table} USING hnsw (embedding halfvec_cosine_ops)"
        self._run(f"CREATE INDEX IF NOT EXISTS {identifier(self._own + '_near')} ON {near}")
        self._run(f"GRANT SELECT ON {self._table} TO {identifier(reader)}")
        self._run("COMMIT")

    def held(self, source: str | None = None) -> list[Part]:
        """The parts that it holds: of one document, or of all."""
        chosen, values = ("", {}) if source is None else (" WHERE source = :source", {"source": source})
        rows = self._run(f"SELECT id, source, generation, parts FROM {self._table}{chosen}", **values)  # noqa: S608 - names of ours
        return [Part(*row) for row in rows]

    def create(self, objects: Mapping[str, Mapping[str, Any]]) -> None:
        """Add parts; one that is there already is the same one."""
        fields = ("source", "generation", "part", "parts", "text")
        values = ", ".join(f":{field}" for field in fields)
        # One that somebody else has just added stays as it is.
        statement = (
            f"INSERT INTO {self._table} (id, {', '.join(fields)}, embedding)"  # noqa: S608 - names of ours
            f" VALUES (:id, {values}, CAST(:embedding AS halfvec)) ON CONFLICT (id) DO NOTHING"
        )
        for group in _groups(objects, EMBEDDED.get(self._model.rpartition("/")[2], _EMBEDDED)):
            vectors = self._embedded([str(objects[name]["text"]) for name in group], "RETRIEVAL_DOCUMENT")
            for name, vector in zip(group, vectors, strict=True):
                self._run(statement, id=name, embedding=vector, **{field: objects[name][field] for field in fields})

    def delete(self, names: Iterable[str]) -> None:
        """Remove parts; one that is gone is gone."""
        for group in _groups(names, DELETED):
            self._run(f"DELETE FROM {self._table} WHERE id = ANY(CAST(:ids AS text[]))", ids=group)  # noqa: S608 - a name of ours

    def search(self, text: str, results: int) -> list[dict[str, Any]]:
        """Passages with their sources, best first; none where the table is yet to be made."""
        if not self._is_there():
            return []
        (vector,) = self._embedded([text], "RETRIEVAL_QUERY")
        distance = f"embedding <=> CAST(:vector AS halfvec({self._dimensions:d}))"
        statement = f"SELECT text, source, 1 - ({distance}) FROM {self._table} ORDER BY {distance} LIMIT :results"  # noqa: S608 - a name of ours
        rows = self._run(statement, vector=vector, results=results)
        return [{"text": text, "source": source, "score": score} for text, source, score in rows]

    def _embedded(self, texts: Sequence[str], task: str) -> list[str]:
        """The vectors of texts, as pgvector reads them ("Text embeddings API")."""
        _, _, _, region, *_ = self._model.split("/")
        body = {"instances": [{"content": text, "task_type": task} for text in texts]}
        answer = self._google.call("POST", f"{region}-aiplatform.googleapis.com", f"/v1/{self._model}:predict", body)
        vectors = [found["embeddings"]["values"] for found in answer.get("predictions", ())]
        if [len(vector) for vector in vectors] != [self._dimensions] * len(texts):
            raise ApiError(0, "predict: other vectors than were asked for")
        return [json.dumps(vector) for vector in vectors]

    def _is_there(self) -> bool:
        return self._run("SELECT to_regclass(:name) IS NOT NULL", name=self._table)[0][0]

    def _run(self, statement: str, **values: Any) -> Sequence[Any]:
        with _heard():
            return self._connection.run(statement, **values) or ()


def _groups(names: Iterable[str], size: int) -> Iterator[list[str]]:
    listed = list(names)
    for begin in range(0, len(listed), size):
        yield listed[begin : begin + size]
