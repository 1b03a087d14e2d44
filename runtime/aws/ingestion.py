"""Makes the knowledge base of each corpus hold what its folder of documents holds: `documents/{corpus}/` of one bucket.

It is told by a queue that a document came, changed or went (events of S3 by EventBridge), and on a schedule that a corpus is to
be compared as a whole (`{"sync": "policies"}`). A message only says where to look: what to do follows from what the bucket holds
now. So it does no harm that a message comes twice, late or in another order, and no state is kept anywhere.

Knowledge bases work asynchronously. One change of a document at a time is sent and waited for; only then its message is done.
Whatever did not work comes back later, and after some attempts is put with the dead letters, without holding up its neighbours:
an answer of an API, a document that is still being worked on, one that no knowledge base can read. The text of a document that
was replaced by one that cannot be read is removed.

The same version is never embedded twice: the token of a request follows from the version, and Bedrock ignores a token that it
has seen (IngestKnowledgeBaseDocuments, `clientToken`).

`BUCKET` is the bucket, `QUEUE_URL` the queue, and `CORPORA` says where each corpus lies:
`{"policies": {"knowledge_base": "ABCDEFGHIJ", "data_source": "KLMNOPQRST"}}`. A data source is of the type S3, with the folder as
its only prefix. A file of metadata beside a document (`….metadata.json`) counts from the next comparison on.
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from typing import Any

import boto3  # pyright: ignore[reportMissingTypeStubs] - its types are made at run time
from botocore.config import Config  # pyright: ignore[reportMissingTypeStubs]
from botocore.exceptions import BotoCoreError, ClientError  # pyright: ignore[reportMissingTypeStubs]

FORMATS = (".txt", ".md", ".html", ".doc", ".docx", ".csv", ".xls", ".xlsx", ".pdf")
"""What a knowledge base reads ("Supported document formats and limits for knowledge base data")."""
LARGEST = 50 * 1024**2
"""Bytes of a document, at the same place."""
LONGEST = len("s3://") + 128
"""Characters of an address that the interface for single documents takes (S3Location: `s3://.{1,128}`)."""
GROUP = 10
"""Documents in one request (service model of bedrock-agent)."""
IN_PROGRESS = {"STARTING", "PENDING", "IN_PROGRESS", "DELETING", "DELETE_IN_PROGRESS"}
INDEXED, ABSENT = "INDEXED", "NOT_FOUND"
CREATED, DELETED = "Object Created", "Object Deleted"
_PLACE = re.compile(r"documents/([^/]+)/.+", re.DOTALL)
_PAUSE = 2.0
"""Seconds between two looks at what is being worked on."""
_RESERVE = 20
"""Seconds that are kept for what comes after the waiting."""
_FIRST, _LAST = 15, 900
"""Seconds until a message comes back the first time, and at most."""


class RefusedError(Exception):
    """The message, or the document, is none that this function can do anything with."""


@dataclass(frozen=True)
class Wanted:
    """What the bucket holds of a document."""

    version: str | None = None
    """None where there is no such document."""
    refused: str = ""
    """Why the document cannot be in the store."""

    @property
    def present(self) -> bool:
        """Whether the store shall hold it."""
        return self.version is not None and not self.refused


@dataclass(frozen=True)
class Held:
    """What the store says of a document."""

    status: str = ABSENT
    changed: str = ""
    """When that became so."""

    @property
    def moving(self) -> bool:
        """Whether it is being worked on."""
        return self.status in IN_PROGRESS


@dataclass
class Task:
    """A document that something happened to, or a whole corpus, and the messages that say so."""

    corpus: str
    key: str
    """Empty for the whole corpus."""
    messages: list[str] = field(default_factory=list[str])
    received: int = 1
    """How often a message of it was received."""
    restored: str = ""
    """Which event made an older version the current one again."""
    wanted: Wanted = Wanted()
    before: Held = Held()
    sent: bool = False
    """Whether the store works on it."""
    outcome: str = ""
    """How it ended; nothing as long as it has not."""


@cache
def _clients() -> tuple[Any, Any, Any]:
    patient = Config(retries={"mode": "standard", "total_max_attempts": 4}, connect_timeout=5, read_timeout=20)
    return (
        boto3.client("s3", config=patient),
        boto3.client("bedrock-agent", config=patient),
        boto3.client("sqs", config=patient),
    )


def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Do what a batch of messages asks for; the answer names those that are to come again."""
    corpora: dict[str, dict[str, str]] = json.loads(os.environ["CORPORA"])
    bucket = os.environ["BUCKET"]
    s3, bedrock, sqs = _clients()
    tasks: dict[tuple[str, str], Task] = {}
    records = {record["messageId"]: record for record in event["Records"]}
    failed: set[str] = set()
    for name, record in records.items():
        try:
            place, restored = read(record["body"], bucket, corpora)
        except RefusedError as error:
            failed.add(name)
            _log("refused", message=name, reason=str(error))
            continue
        if place is not None:
            task = tasks.setdefault(place, Task(*place))
            task.messages.append(name)
            task.received = max(task.received, _received(record))
            task.restored = task.restored or restored
    stores = {corpus: Store(bedrock, bucket, **names) for corpus, names in corpora.items()}
    deadline = time.monotonic() + context.get_remaining_time_in_millis() / 1000 - _RESERVE
    work(list(tasks.values()), stores, Documents(s3, bucket), deadline)
    for task in tasks.values():
        if task.outcome.startswith("again"):
            failed.update(task.messages)
    _put_off(sqs, [records[name] for name in sorted(failed)])
    return {"batchItemFailures": [{"itemIdentifier": name} for name in sorted(failed)]}


def read(body: str, bucket: str, corpora: Collection[str]) -> tuple[tuple[str, str] | None, str]:
    """The corpus and the key that a message is about, and the event that made an older version current again.

    No key means the whole corpus; no place at all, that there is nothing to do. Raises RefusedError.
    """
    try:
        told = json.loads(body)
        if "sync" in told:
            if told["sync"] not in corpora:
                raise RefusedError("there is no such corpus")
            return (told["sync"], ""), ""
        kind, detail = told["detail-type"], told["detail"]
        key, sequencer = detail["object"]["key"], str(detail["object"].get("sequencer", ""))
        if told["source"] != "aws.s3" or kind not in {CREATED, DELETED} or detail["bucket"]["name"] != bucket:
            raise RefusedError("not about a document")
        found = _PLACE.fullmatch(key)
    except (KeyError, TypeError, ValueError) as error:
        raise RefusedError(f"not an event: {error!r}") from None
    if found is None or found[1] not in corpora:
        raise RefusedError(f"{key} lies in no corpus")
    if key.endswith(("/", ".metadata.json")):
        return None, ""
    if len(f"s3://{bucket}/{key}") > LONGEST:
        return (found[1], ""), ""
    restored = kind == DELETED and detail.get("deletion-type") == "Permanently Deleted"
    return (found[1], key), sequencer if restored else ""


class Documents:
    """The documents, as the bucket holds them."""

    def __init__(self, client: Any, bucket: str) -> None:
        self._client, self._bucket = client, bucket

    def look(self, key: str) -> Wanted:
        """What there is of a document now."""
        try:
            found = self._client.head_object(Bucket=self._bucket, Key=key)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return Wanted()
            raise
        # A bucket without versions has none to tell; then the time keeps one content apart from the same one of before.
        version = found.get("VersionId") or f"{found['LastModified'].isoformat()} {found['ETag']}"
        return Wanted(version, refusal(key, found["ContentLength"]))


def refusal(key: str, size: int) -> str:
    """Why no knowledge base can read a document; empty where one can."""
    if not key.lower().endswith(FORMATS):
        return f"is none of {', '.join(FORMATS)}"
    if size == 0:
        return "is empty"
    return f"has {size} bytes, more than {LARGEST}" if size > LARGEST else ""


class Store:
    """The documents of one corpus, as its knowledge base holds them."""

    def __init__(self, client: Any, bucket: str, knowledge_base: str, data_source: str) -> None:
        self._client, self._bucket = client, bucket
        self._names = {"knowledgeBaseId": knowledge_base, "dataSourceId": data_source}

    def held(self, keys: Iterable[str]) -> dict[str, Held]:
        """What it says of documents, by key."""
        answers = {key: Held() for key in keys}
        rest = iter(answers)
        while group := list(islice(rest, GROUP)):
            named = [{"dataSourceType": "S3", "s3": {"uri": self._uri(key)}} for key in group]
            found = self._client.get_knowledge_base_documents(**self._names, documentIdentifiers=named)
            answers |= dict(map(self._held, found["documentDetails"]))
        return answers

    def ingest(self, key: str, token: str) -> Held:
        """Read a document; nothing happens where the token was used before."""
        content = {"dataSourceType": "S3", "s3": {"s3Location": {"uri": self._uri(key)}}}
        documents = [{"content": content}]
        answer = self._client.ingest_knowledge_base_documents(**self._names, clientToken=token, documents=documents)
        return self._one(key, answer)

    def delete(self, key: str) -> Held:
        """Remove a document."""
        named = [{"dataSourceType": "S3", "s3": {"uri": self._uri(key)}}]
        return self._one(key, self._client.delete_knowledge_base_documents(**self._names, documentIdentifiers=named))

    def sync(self, token: str) -> None:
        """Start to compare the whole corpus with its folder; nothing happens where the token was used before."""
        self._client.start_ingestion_job(**self._names, clientToken=token)

    def _uri(self, key: str) -> str:
        return f"s3://{self._bucket}/{key}"

    def _one(self, key: str, answer: Mapping[str, Any]) -> Held:
        told = dict(map(self._held, answer.get("documentDetails", ())))
        return told[key] if key in told else self.held([key])[key]

    def _held(self, detail: Mapping[str, Any]) -> tuple[str, Held]:
        key = detail["identifier"]["s3"]["uri"].removeprefix(self._uri(""))
        if reason := detail.get("statusReason"):
            _log("told", key=key, status=detail["status"], reason=reason)
        return key, Held(detail["status"], str(detail.get("updatedAt", "")))


def work(tasks: Iterable[Task], stores: Mapping[str, Store], documents: Documents, deadline: float) -> None:
    """Give each task its outcome: what was done, or `again…` where its messages are to come back."""
    single: list[Task] = []
    for task in tasks:
        with _isolated([task]):
            if not task.key:
                # One message starts one job, however often it comes; two do not run at a time: ConflictException.
                stores[task.corpus].sync(_token(sorted(task.messages)[:1]))
                task.outcome = "compares"
            else:
                task.wanted = documents.look(task.key)
                single.append(task)
    for task, held in _look(single, stores):
        task.before = held
        with _isolated([task]):
            _send(task, stores[task.corpus])
    left = _open(single)
    while left:
        # What is still being worked on when time is up comes back, and is then found done.
        late = time.monotonic() >= deadline
        for task, held in _look(left, stores):
            if not held.moving and not (task.sent and held == task.before):
                with _isolated([task]):
                    _judge(task, held, documents)
            elif late:
                task.outcome = "again: takes long"
        left = _open(left)
        if left:
            time.sleep(_PAUSE)
    for task in tasks:
        _log(task.outcome, corpus=task.corpus, key=task.key, received=task.received, refused=task.wanted.refused)


def _send(task: Task, store: Store) -> None:
    """Ask the store for what the bucket holds."""
    if task.before.moving:
        task.outcome = "again: is being worked on"
    elif task.wanted.present:
        task.sent = _ingested(task, store).moving
    elif task.before.status != ABSENT:
        task.sent = store.delete(task.key).moving


def _ingested(task: Task, store: Store) -> Held:
    """Ask for the version that the bucket holds; Bedrock does that once, unless it came to nothing or was undone."""
    version = [task.corpus, task.key, task.wanted.version, task.restored]
    held = store.ingest(task.key, _token(version))
    if held.moving and task.received > 1:
        # A token that was used may be answered as it was the first time.
        held = store.held([task.key])[task.key]
    if not held.moving and held.status != INDEXED:
        held = store.ingest(task.key, _token([*version, held.status, held.changed, task.received]))
    return held


def _judge(task: Task, held: Held, documents: Documents) -> None:
    """Whether store and bucket agree now."""
    if documents.look(task.key) != task.wanted:
        # Somebody else may have acted on what is there now before this did on what was there then.
        task.outcome = "again: changed meanwhile"
    elif held.status != (INDEXED if task.wanted.present else ABSENT):
        task.outcome = f"again: {held.status}"
    elif task.wanted.refused:
        task.outcome = "again: refused"
    else:
        task.outcome = "indexed" if task.wanted.present else "absent"


def _look(tasks: Iterable[Task], stores: Mapping[str, Store]) -> Iterator[tuple[Task, Held]]:
    """What the stores say of tasks without an outcome."""
    groups: dict[str, list[Task]] = {}
    for task in _open(tasks):
        groups.setdefault(task.corpus, []).append(task)
    for corpus, group in groups.items():
        held: dict[str, Held] = {}
        with _isolated(group):
            held = stores[corpus].held([task.key for task in group])
        yield from ((task, held[task.key]) for task in group if task.key in held)


def _open(tasks: Iterable[Task]) -> list[Task]:
    return [task for task in tasks if not task.outcome]


@contextmanager
def _isolated(tasks: Iterable[Task]) -> Generator[None]:
    """What goes wrong in here is the matter of these tasks alone."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        for task in tasks:
            task.outcome = f"again: {error}"


def _token(parts: Iterable[Any]) -> str:
    return hashlib.sha256(json.dumps(list(parts)).encode()).hexdigest()


def _received(record: Mapping[str, Any]) -> int:
    return int(record["attributes"]["ApproximateReceiveCount"])


def _put_off(sqs: Any, records: Iterable[Mapping[str, Any]]) -> None:
    """Let messages come back sooner than the queue would, and later each time."""
    for record in records:
        seconds = min(_LAST, _FIRST * 2 ** (_received(record) - 1))
        try:
            sqs.change_message_visibility(
                QueueUrl=os.environ["QUEUE_URL"], ReceiptHandle=record["receiptHandle"], VisibilityTimeout=seconds
            )
        except (ClientError, BotoCoreError) as error:
            # It comes back after the queue's own time then.
            _log("not put off", message=record["messageId"], reason=str(error))


def _log(outcome: str, **more: Any) -> None:
    print(json.dumps({"outcome": outcome} | more))  # noqa: T201 - the log
