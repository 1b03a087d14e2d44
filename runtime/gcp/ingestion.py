"""Makes the store of each corpus hold what its folder of documents holds: `documents/{corpus}/` of one bucket.

It is told by pushed messages that an object came, changed or went (notifications of Cloud Storage), and on a schedule that a
corpus is to be compared as a whole (attribute `sync` with its name). A message only says where to look: what to do follows from
what bucket and store hold now. So it does no harm that a message comes twice, late or in another order, and no state is
kept anywhere but in the store itself.

Each part of a document is an object of a collection or a row of a table (`retrieval_stores`), named by document, generation and
number. So what is missing can be told from what is there, half-way too: nothing is embedded twice. New parts come before old
ones go, so that a search always finds one of the two.

What nothing can be made of (a message that makes no sense, a document that cannot be read) is answered with 422, whatever else
did not work with 503. Either comes again, and after some attempts is put with the dead letters. The text of a document that was
replaced by one that cannot be read is removed.

`BUCKET` is the bucket, and `CORPORA` says where each corpus lies:
`{"policies": {"collection": "projects/acme/locations/us-central1/collections/acme-dev-policies"}, "contracts": {"database":
"acme-dev-contracts", "model": "projects/acme/locations/us-central1/publishers/google/models/text-embedding-005", "dimensions":
768}}`. Parts have the fields `source`, `generation`, `part`, `parts` and `text`, and the vector `embedding`, made of `text`.
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from runtime.gcp.ingestion_text import UnreadableError, parts, refusal
from runtime.gcp.retrieval_rest import ApiError, Google
from runtime.gcp.retrieval_stores import Part, Store, opened

EVENTS = {"OBJECT_FINALIZE", "OBJECT_DELETE", "OBJECT_ARCHIVE"}
SECONDS = 420
"""Of comparing a corpus; Pub/Sub waits 600 for an answer, then sends the message again."""
_BUCKETS = "storage.googleapis.com"
_PLACE = re.compile(r"documents/([^/]+)/.+", re.DOTALL)
_ROUNDS = 3


class RefusedError(Exception):
    """The message, or the document, is none that this function can do anything with."""


@dataclass(frozen=True)
class Document:
    """A document, as the bucket holds it now."""

    generation: str
    refused: str
    """Why it cannot be read, as far as its name and size tell."""


def ingest(request: Any) -> tuple[str, int]:
    """Entry point: one message."""
    corpora: dict[str, dict[str, Any]] = json.loads(os.environ["CORPORA"])
    corpus = name = ""
    try:
        place = read(request.get_json(silent=True), os.environ["BUCKET"], corpora)
        if place is None:
            return "", 204
        corpus, name = place
        google = Google()
        bucket = Bucket(google, os.environ["BUCKET"])
        with opened(google, corpora[corpus], owner=True) as store:
            outcome = reconcile(store, bucket, name) if name else compare(store, bucket, corpus)
    except RefusedError as error:
        _log("ERROR", "refused", corpus, name, reason=str(error))
        return str(error), 422
    except ApiError as error:
        _log("WARNING", "again", corpus, name, reason=str(error))
        return "try again", 503
    _log("INFO", outcome, corpus, name)
    return "", 204


def read(envelope: Any, bucket: str, corpora: Collection[str]) -> tuple[str, str] | None:
    """The corpus and the document that a message is about, or no document for the whole corpus; none where it asks for nothing.

    Raises RefusedError where it makes no sense.
    """
    try:
        told = envelope["message"]["attributes"]
        if "sync" in told:
            if told["sync"] not in corpora:
                raise RefusedError("there is no such corpus")
            return told["sync"], ""
        if told["bucketId"] != bucket or told["eventType"] not in EVENTS:
            raise RefusedError("not about a document")
        name = told["objectId"]
        found = _PLACE.fullmatch(name)
    except (KeyError, TypeError) as error:
        raise RefusedError(f"not a message of Cloud Storage: {error!r}") from error
    if found is None or found[1] not in corpora:
        raise RefusedError(f"{name} lies in no corpus")
    return None if name.endswith("/") else (found[1], name)


class Bucket:
    """The documents, as the bucket holds them."""

    def __init__(self, google: Google, name: str) -> None:
        self._google, self._path = google, f"/storage/v1/b/{quote(name, safe='')}/o"

    def look(self, name: str) -> Document | None:
        """What there is of a document now."""
        try:
            found = self._google.call("GET", _BUCKETS, f"{self._of(name)}?fields=name,generation,size")
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        return _document(found)

    def all(self, corpus: str) -> dict[str, Document]:
        """Every document of a corpus, by name."""
        found: dict[str, Document] = {}
        asked = {
            "prefix": f"documents/{corpus}/",
            "fields": "items(name,generation,size),nextPageToken",
            "maxResults": "1000",
        }
        while True:
            answer = self._google.call("GET", _BUCKETS, f"{self._path}?{urlencode(asked)}")
            found |= {i["name"]: _document(i) for i in answer.get("items", ()) if not i["name"].endswith("/")}
            asked["pageToken"] = answer.get("nextPageToken", "")
            if not asked["pageToken"]:
                return found

    def load(self, name: str, generation: str) -> bytes | None:
        """The content of one generation; none where it is gone."""
        try:
            return self._google.load("GET", _BUCKETS, f"{self._of(name)}?alt=media&generation={generation}")
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def _of(self, name: str) -> str:
        return f"{self._path}/{quote(name, safe='')}"


def _document(found: Mapping[str, Any]) -> Document:
    return Document(found["generation"], refusal(found["name"], int(found["size"])))


def reconcile(store: Store, bucket: Bucket, name: str) -> str:
    """Make the store hold what the bucket holds of a document; raises RefusedError where that cannot be read.

    The store is asked before the bucket: what it held then of another generation than the bucket holds after that is old
    for certain, even where somebody else is at work on the same document. What this adds may be old when it is done; so it looks
    again.
    """
    for _ in range(_ROUNDS):
        held = store.held(name)
        document = bucket.look(name)
        refused = ""
        if _agree(held, document):
            wanted = {part.name: {} for part in held}
        else:
            try:
                wanted = _wanted(bucket, name, document)
            except UnreadableError as error:
                wanted, refused = {}, str(error)
        if wanted is None:
            continue
        there = {part.name for part in held}
        missing = {part: data for part, data in wanted.items() if part not in there}
        old = sorted(there - wanted.keys())
        store.create(missing)
        store.delete(old)
        if bucket.look(name) == document:
            if refused:
                raise RefusedError(refused)
            return "changed" if missing or old else "unchanged"
    raise ApiError(0, "the document changes faster than it can be read")


def _wanted(bucket: Bucket, name: str, document: Document | None) -> dict[str, dict[str, Any]] | None:
    """The parts of a document by the ids of their objects; None where it has changed. Raises UnreadableError."""
    if document is None:
        return {}
    if document.refused:
        raise UnreadableError(document.refused)
    content = bucket.load(name, document.generation)
    if content is None:
        return None
    texts = parts(name, content)
    common = {"source": name, "generation": document.generation, "parts": len(texts)}
    return {identify(name, document.generation, n): common | {"part": n, "text": text} for n, text in enumerate(texts)}


def identify(name: str, generation: str, number: int) -> str:
    """The id of a part: at most 63 small letters, digits and hyphens, a letter first (CreateDataObjectRequest)."""
    return f"p-{hashlib.sha256(json.dumps([name, generation]).encode()).hexdigest()[:48]}-{number}"


def compare(store: Store, bucket: Bucket, corpus: str) -> str:
    """Make the store hold what the folder holds; one document that cannot be read or reached holds up no other."""
    deadline = time.monotonic() + SECONDS
    held: dict[str, list[Part]] = {}
    for part in store.held():
        held.setdefault(part.source, []).append(part)
    documents = bucket.all(corpus)
    failed = 0
    for name in sorted(held.keys() | documents.keys()):
        if _agree(held.get(name, []), documents.get(name)):
            continue
        if time.monotonic() > deadline:
            # What is done stays done: the next try goes on from there.
            raise ApiError(0, "takes more than one message")
        try:
            _log("INFO", reconcile(store, bucket, name), corpus, name)
        except RefusedError as error:
            _log("ERROR", "refused", corpus, name, reason=str(error))
        except ApiError as error:
            _log("WARNING", "again", corpus, name, reason=str(error))
            failed += 1
    if failed:
        raise ApiError(0, f"{failed} documents are left")
    return "compared"


def _agree(held: list[Part], document: Document | None) -> bool:
    """Whether these are all the parts of a document, and none of another one."""
    if document is None or document.refused:
        return not held and document is None
    names = {part.name for part in held}
    return bool(held) and all(part.generation == document.generation and part.parts == len(names) for part in held)


def _log(severity: str, outcome: str, corpus: str, name: str, **more: str) -> None:
    print(json.dumps({"severity": severity, "outcome": outcome, "corpus": corpus, "name": name} | more))  # noqa: T201 - the log
