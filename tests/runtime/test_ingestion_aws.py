"""The ingestion function against S3 and SQS of moto's server, and a Bedrock that works when it pleases.

What counts is the end: the store holds what the bucket holds, no version was embedded twice, nothing is left in a queue but what
can never be read.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.retries.standard import ExponentialBackoff
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.aws import ingestion
from runtime.aws.ingestion import RefusedError, handler, read, refusal
from tests.runtime.amazon import AWS, amazon
from tests.runtime.bedrock import Agent, KnowledgeBase, running

CORPORA = {
    "policies": {"knowledge_base": "AAAAAAAAAA", "data_source": "BBBBBBBBBB"},
    "manuals": {"knowledge_base": "CCCCCCCCCC", "data_source": "DDDDDDDDDD"},
}
ATTEMPTS = 4
KEY = "documents/policies/travel.pdf"


class Context:
    """What Lambda says of the time that is left."""

    def __init__(self, seconds: float = 120) -> None:
        self.seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(self.seconds * 1000)


class World:
    """A bucket whose events reach a queue, and what takes them to the function."""

    def __init__(self, number: int, agent: Agent) -> None:
        self.bucket = f"acme-ai-dev-documents-{number}"
        plain = Config(retries={"total_max_attempts": 1})
        self.s3, self.sqs = boto3.client("s3", config=plain), boto3.client("sqs", config=plain)
        self.s3.create_bucket(Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
        self.s3.put_bucket_versioning(Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"})
        self.dead = self.sqs.create_queue(QueueName=f"failed-{number}")["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=self.dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": ATTEMPTS})
        self.queue = self.sqs.create_queue(QueueName=f"events-{number}", Attributes={"RedrivePolicy": redrive})[
            "QueueUrl"
        ]
        self.agent = agent
        self.sequence = 0
        for (name, _), base in agent.bases.items():
            corpus = next(corpus for corpus, ids in CORPORA.items() if ids["knowledge_base"] == name)
            base.__init__(name, base.source, f"s3://{self.bucket}/documents/{corpus}/", self.version)
        agent.faults.clear()
        agent.calls.clear()
        self.lost_answers = 0
        """After how many of the next batches the function dies before its answer is heard."""
        self.late: list[str] = []

    @property
    def base(self) -> KnowledgeBase:
        return self.agent.bases["AAAAAAAAAA", "BBBBBBBBBB"]

    def version(self, uri: str) -> str | None:
        try:
            found = self.s3.head_object(Bucket=self.bucket, Key=uri.removeprefix(f"s3://{self.bucket}/"))
        except self.s3.exceptions.ClientError:
            return None
        return found["VersionId"]

    def event(self, kind: str, key: str, **more: Any) -> str:
        """An event as EventBridge puts it into a queue ("EventBridge event message structure")."""
        self.sequence += 1
        return json.dumps(
            {
                "version": "0",
                "id": "17793124-05d4-b198-2fde-7ededc63b103",
                "detail-type": kind,
                "source": "aws.s3",
                "account": "123456789012",
                "region": "us-west-2",
                "resources": [f"arn:aws:s3:::{self.bucket}"],
                "detail": {
                    "version": "0",
                    "bucket": {"name": self.bucket},
                    "object": {"key": key, "sequencer": f"{self.sequence:016X}"},
                    "request-id": "N4N7GDK58NMKJ12R",
                    "requester": "123456789012",
                }
                | more,
            }
        )

    def put(self, key: str, content: bytes = b"text", *, tell: bool = True) -> str:
        version = self.s3.put_object(Bucket=self.bucket, Key=key, Body=content)["VersionId"]
        if tell:
            self.send(self.event("Object Created", key, reason="PutObject"))
        return version

    def remove(self, key: str) -> None:
        self.s3.delete_object(Bucket=self.bucket, Key=key)
        self.send(
            self.event("Object Deleted", key, **{"reason": "DeleteObject", "deletion-type": "Delete Marker Created"})
        )

    def remove_for_ever(self, key: str, version: str) -> None:
        self.s3.delete_object(Bucket=self.bucket, Key=key, VersionId=version)
        self.send(
            self.event("Object Deleted", key, **{"reason": "DeleteObject", "deletion-type": "Permanently Deleted"})
        )

    def send(self, body: str) -> None:
        self.sqs.send_message(QueueUrl=self.queue, MessageBody=body)

    def batch(self, context: Context | None = None) -> list[str] | None:
        """One batch, as Lambda takes it from the queue; the bodies that failed, or none where the queue is empty."""
        found = self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10, AttributeNames=["All"])
        messages = found.get("Messages", [])
        if not messages:
            return None
        records = [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": message["Attributes"],
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-west-2:123456789012:events",
                "awsRegion": "us-west-2",
            }
            for message in messages
        ]
        answer = handler({"Records": records}, context or Context())
        if self.lost_answers:
            self.lost_answers -= 1
            for message in messages:
                self.sqs.change_message_visibility(
                    QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
                )
            return []
        failed = {item["itemIdentifier"] for item in answer["batchItemFailures"]}
        for message in messages:
            if message["MessageId"] not in failed:
                self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
        return [message["Body"] for message in messages if message["MessageId"] in failed]

    def run(self) -> None:
        """Everything, until the queue is empty."""
        for _ in range(200):
            if self.batch() is None:
                return
        raise AssertionError("the queue never gets empty")

    def do(self, step: str, name: str) -> None:
        """What may happen, by its name."""
        key = f"documents/policies/{name}"
        {
            "put": lambda: self.put(key),
            "remove": lambda: self.remove(key),
            "duplicate": lambda: self.send(self.event("Object Created", key)),
            "keep": self.keep,
            "release": self.release,
            "deliver": self.batch,
            "hurry": lambda: self.batch(Context(0)),
            "die": lambda: setattr(self, "lost_answers", 1),
            # Four, so that a client that tries again gives up.
            "throttle": lambda: self.agent.faults.update(
                {f"{name}KnowledgeBaseDocuments": ["ThrottlingException"] * 4}
            ),
            "fail": lambda: setattr(self.base, "flaky", self.base.flaky + 1),
        }[step]()

    def keep(self) -> None:
        """Hold an event back, so that others overtake it."""
        for message in self.sqs.receive_message(QueueUrl=self.queue).get("Messages", []):
            self.late.append(message["Body"])
            self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])

    def release(self) -> None:
        """Send what was held back, the last first."""
        while self.late:
            self.send(self.late.pop())

    def dead_letters(self) -> list[str]:
        found = self.sqs.receive_message(QueueUrl=self.dead, MaxNumberOfMessages=10).get("Messages", [])
        return [message["Body"] for message in found]

    def expected(self, corpus: str = "policies") -> dict[str, str]:
        """What the store has to hold: the current versions of what can be read."""
        found = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=f"documents/{corpus}/").get("Contents", [])
        uris = [f"s3://{self.bucket}/{o['Key']}" for o in found if not refusal(o["Key"], o["Size"])]
        return {uri: version for uri in uris if (version := self.version(uri))}

    def agree(self) -> None:
        assert self.base.content == self.expected()
        assert not self.base.problems
        assert len(set(self.base.embedded)) == len(self.base.embedded), "a version was embedded twice"


class Worlds:
    def __init__(self) -> None:
        self.agent = Agent(*(KnowledgeBase(*ids.values(), "", lambda _: None) for ids in CORPORA.values()))
        self.number = 0

    def new(self, patch: pytest.MonkeyPatch) -> World:
        self.number += 1
        world = World(self.number, self.agent)
        patch.setenv("BUCKET", world.bucket)
        patch.setenv("QUEUE_URL", world.queue)
        return world


@pytest.fixture(scope="module")
def worlds() -> Iterator[Worlds]:
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        worlds = Worlds()
        address = stack.enter_context(amazon())
        endpoints = stack.enter_context(running(bedrock_agent=worlds.agent))
        settings = {
            **AWS,
            "AWS_ENDPOINT_URL_S3": address,
            "AWS_ENDPOINT_URL_SQS": address,
            "CORPORA": json.dumps(CORPORA),
        }
        for key, value in (settings | endpoints).items():
            patch.setenv(key, value)
        patch.setattr(ingestion, "_PAUSE", 0)
        patch.setattr(ingestion, "_FIRST", 0)
        patch.setattr(ExponentialBackoff, "delay_amount", lambda *_: 0)
        ingestion._clients.cache_clear()
        yield worlds
    ingestion._clients.cache_clear()


@pytest.fixture
def world(worlds: Worlds, monkeypatch: pytest.MonkeyPatch) -> World:
    return worlds.new(monkeypatch)


def test_a_document_that_comes_changes_and_goes_does_so_in_the_store(world: World) -> None:
    first = world.put(KEY)
    world.run()
    assert world.base.content == {f"s3://{world.bucket}/{KEY}": first}
    second = world.put(KEY, b"other text")
    world.run()
    assert world.base.content == {f"s3://{world.bucket}/{KEY}": second}
    world.remove(KEY)
    world.run()
    assert world.base.content == {}
    assert world.dead_letters() == []
    world.agree()


def test_a_message_is_done_only_when_its_document_can_be_found(world: World) -> None:
    world.base.looks = 3
    world.put(KEY)
    assert world.batch(Context(ingestion._RESERVE)) != []
    assert world.base.content == {}
    while world.batch(Context(ingestion._RESERVE)) is not None:
        pass
    world.agree()
    assert world.dead_letters() == []


@pytest.fixture(params=["now", "first", "nothing"])
def ignoring(world: World, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> World:
    """A Bedrock that answers a used token in one of the ways there are; it is waited for as long as it says that it works."""
    world.base.ignored = request.param
    if request.param == "first":
        monkeypatch.setattr(Context, "get_remaining_time_in_millis", lambda _: 1000 * ingestion._RESERVE + 100)
    return world


def test_duplicates_embed_nothing_twice(ignoring: World) -> None:
    world = ignoring
    world.put(KEY)
    world.run()
    for _ in range(3):
        world.send(world.event("Object Created", KEY))
        world.send(world.event("Object Created", KEY))
        world.run()
    assert len(world.base.embedded) == 1
    if world.base.ignored == "now":
        assert world.agent.calls["IngestKnowledgeBaseDocuments"] == 4, "several messages of a batch are one request"
    assert world.dead_letters() == []
    world.agree()


def test_a_slow_document_that_could_not_be_sent_at_first_is_embedded_once(ignoring: World) -> None:
    world = ignoring
    world.base.looks = 1
    world.put(KEY)
    world.agent.faults["GetKnowledgeBaseDocuments"] = ["ThrottlingException", "…"]
    world.batch()
    world.agent.faults.clear()
    for _ in range(2):
        world.batch(Context(0))
    world.run()
    assert len(world.base.embedded) == 1
    world.agree()


def test_a_function_that_dies_before_its_answer_does_nothing_twice(ignoring: World) -> None:
    world = ignoring
    world.lost_answers = 2
    world.put(KEY)
    world.run()
    assert len(world.base.embedded) == 1
    world.agree()


def test_the_event_of_a_deletion_that_comes_after_a_new_upload_deletes_nothing(world: World) -> None:
    world.put(KEY)
    world.run()
    world.remove(KEY)
    late = world.sqs.receive_message(QueueUrl=world.queue)["Messages"][0]
    world.put(KEY, b"again")
    world.run()
    world.send(late["Body"])
    world.run()
    world.agree()
    assert world.base.content


def test_the_same_content_that_comes_back_is_ingested_again(world: World) -> None:
    """Its version is another, though its checksum is the same."""
    for content in (b"one", b"two", b"one"):
        world.put(KEY, content)
        world.run()
    world.remove(KEY)
    world.run()
    world.put(KEY, b"one")
    world.run()
    world.agree()
    assert len(world.base.embedded) == 4


def test_a_version_that_is_current_again_is_ingested_again(ignoring: World) -> None:
    """Bedrock has seen the token of this version, and would ignore it."""
    world = ignoring
    first = world.put(KEY, b"one")
    world.run()
    second = world.put(KEY, b"two")
    world.run()
    world.remove_for_ever(KEY, second)
    world.run()
    assert world.base.content == {f"s3://{world.bucket}/{KEY}": first} == world.expected()


def test_a_deletion_that_is_taken_back_brings_the_document_back(ignoring: World) -> None:
    world = ignoring
    first = world.put(KEY, b"one")
    world.run()
    marker = world.s3.delete_object(Bucket=world.bucket, Key=KEY)["VersionId"]
    world.send(world.event("Object Deleted", KEY, **{"deletion-type": "Delete Marker Created"}))
    world.run()
    world.remove_for_ever(KEY, marker)
    world.run()
    assert world.base.content == {f"s3://{world.bucket}/{KEY}": first} == world.expected()


def test_a_document_that_somebody_removed_from_the_store_comes_back(ignoring: World) -> None:
    """Bedrock has seen the token of this version, and ignores it the first time."""
    world = ignoring
    world.put(KEY)
    world.run()
    world.base.become(f"s3://{world.bucket}/{KEY}", "NOT_FOUND", None)
    world.send(world.event("Object Created", KEY))
    world.run()
    assert world.base.content == world.expected() != {}
    assert world.dead_letters() == []


def test_another_upload_while_the_store_works_is_not_lost(world: World) -> None:
    world.base.looks = 2
    world.put(KEY, b"one")
    assert world.batch(Context(ingestion._RESERVE)) != []
    world.put(KEY, b"two")
    world.run()
    world.agree()


def test_what_changes_while_it_is_deleted_comes_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two functions at once: this one saw that there was nothing, the other one then ingested what came."""
    world.put(KEY)
    world.run()
    world.remove(KEY)
    send = ingestion._send

    def slowly(task: ingestion.Task, store: ingestion.Store) -> None:
        monkeypatch.setattr(ingestion, "_send", send)
        world.put(KEY, b"new", tell=False)
        send(task, store)

    monkeypatch.setattr(ingestion, "_send", slowly)
    assert world.batch() != []
    assert world.base.content == {}
    world.run()
    assert world.base.content == world.expected() != {}


@pytest.mark.parametrize(
    "operation", ["GetKnowledgeBaseDocuments", "IngestKnowledgeBaseDocuments", "DeleteKnowledgeBaseDocuments"]
)
@pytest.mark.parametrize("code", ["ThrottlingException", "InternalServerException", "ValidationException"])
def test_what_bedrock_refuses_comes_again(world: World, operation: str, code: str) -> None:
    world.put(KEY)
    world.put("documents/policies/b.txt")
    if operation.startswith("Delete"):
        world.run()
        world.remove(KEY)
    world.agent.faults[operation] = [code, "…"]
    assert world.batch()
    world.agent.faults.clear()
    world.run()
    world.agree()
    assert world.dead_letters() == []


def test_one_document_that_bedrock_refuses_holds_up_no_other(world: World) -> None:
    for name in "abcdef":
        world.put(f"documents/policies/{name}.txt")
    world.agent.faults["IngestKnowledgeBaseDocuments"] = ["ValidationException"]
    failed = world.batch()
    assert failed is not None
    assert len(failed) == 1
    assert len(world.base.content) == 5
    world.run()
    world.agree()


@pytest.mark.parametrize("status", [403, 503])
def test_a_bucket_that_does_not_answer_is_not_an_empty_one(world: World, status: int) -> None:
    """Without the right to list a bucket, S3 says 403 where it would say 404."""
    world.put(KEY)
    world.run()
    world.remove(KEY)
    events = ingestion._clients()[0].meta.events
    answer = (
        type("Answer", (), {"status_code": status, "headers": {}})(),
        {"Error": {"Code": str(status)}, "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": {}}},
    )
    events.register("before-call.s3.HeadObject", lambda **_: answer, unique_id="refuse")
    try:
        assert world.batch()
        assert world.base.content
    finally:
        events.unregister("before-call.s3.HeadObject", unique_id="refuse")
    world.run()
    world.agree()


def test_a_corpus_whose_store_is_away_holds_up_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "CORPORA", json.dumps(CORPORA | {"gone": {"knowledge_base": "EEEEEEEEEE", "data_source": "F" * 10}})
    )
    world.put("documents/gone/a.txt")
    world.put(KEY)
    failed = world.batch()
    assert failed is not None
    assert len(failed) == 1
    assert "documents/gone/a.txt" in failed[0]
    world.agree()


def test_a_document_that_fails_once_is_tried_again(ignoring: World) -> None:
    """Bedrock would ignore the token of the first try."""
    world = ignoring
    world.base.flaky = 2
    world.put(KEY)
    world.run()
    world.agree()
    assert world.base.content
    assert world.dead_letters() == []


def test_a_document_that_nobody_can_read_ends_with_the_dead_letters(world: World) -> None:
    world.base.unreadable.add(world.put(KEY))
    world.put("documents/policies/b.txt")
    world.run()
    (dead,) = world.dead_letters()
    assert json.loads(dead)["detail"]["object"]["key"] == KEY
    assert list(world.base.content) == [f"s3://{world.bucket}/documents/policies/b.txt"]


@pytest.mark.parametrize(("name", "content"), [("a.exe", b"MZ"), ("a.txt", b""), ("no-ending", b"text")])
def test_poison_is_told_and_ends_with_the_dead_letters(
    world: World, capsys: pytest.CaptureFixture[str], name: str, content: bytes
) -> None:
    key = f"documents/policies/{name}"
    world.put(key, content)
    world.put(KEY)
    world.run()
    (dead,) = world.dead_letters()
    assert json.loads(dead)["detail"]["object"]["key"] == key
    logged = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert any(line.get("key") == key and line["refused"] for line in logged)
    world.agree()


def test_a_document_of_more_than_50_mb_is_refused() -> None:
    assert "more than 52428800" in refusal(KEY, 50 * 1024**2 + 1)
    assert refusal(KEY, 50 * 1024**2) == ""
    assert refusal("A.PDF", 1) == ""


def test_what_a_document_said_before_it_became_unreadable_is_removed(world: World) -> None:
    world.put("documents/policies/a.txt", b"old")
    world.run()
    world.put("documents/policies/a.txt", b"")
    world.run()
    assert world.base.content == {}
    assert len(world.dead_letters()) == 1


@pytest.mark.parametrize(
    "body",
    [
        "",
        "text",
        "[]",
        "5",
        "{}",
        '{"sync": "nobody"}',
        '{"sync": ["policies"]}',
        '{"source": "aws.s3", "detail-type": "Object Created", "detail": {}}',
        '{"source": "aws.s3", "detail-type": "Object Created", "detail": {"bucket": {"name": "b"}, "object": {"key": 5}}}',
    ],
)
def test_a_message_that_makes_no_sense_ends_with_the_dead_letters(world: World, body: str) -> None:
    with pytest.raises(RefusedError):
        read(body, "b", CORPORA)
    if body:  # SQS takes no empty one
        world.send(body)
    world.put(KEY)
    world.run()
    assert world.dead_letters() == ([body] if body else [])
    world.agree()


@pytest.mark.parametrize(
    "key", ["documents/nobody/a.txt", "raw/policies/a.txt", "documents/a.txt", "documents/policies", "documents//a.txt"]
)
def test_what_lies_in_no_corpus_reaches_no_store(world: World, key: str) -> None:
    world.put(key)
    world.run()
    assert len(world.dead_letters()) == 1
    assert world.agent.calls["IngestKnowledgeBaseDocuments"] == 0


def test_an_event_of_another_bucket_or_kind_is_refused(world: World) -> None:
    event = json.loads(world.event("Object Created", KEY))
    for change in ({"source": "acme.s3"}, {"detail-type": "Object Restore Completed"}):
        with pytest.raises(RefusedError):
            read(json.dumps(event | change), world.bucket, CORPORA)
    with pytest.raises(RefusedError):
        read(json.dumps(event), "another", CORPORA)


def test_a_corpus_never_reaches_the_store_of_another(world: World) -> None:
    world.put(KEY)
    manual = world.put("documents/manuals/travel.pdf")
    world.run()
    other = world.agent.bases["CCCCCCCCCC", "DDDDDDDDDD"]
    assert other.content == {f"s3://{world.bucket}/documents/manuals/travel.pdf": manual}
    assert other.problems == []
    world.agree()


def test_a_folder_and_a_file_of_metadata_ask_for_nothing(world: World) -> None:
    world.put("documents/policies/2026/", b"")
    world.put(f"{KEY}.metadata.json", b"{}")
    world.run()
    assert world.dead_letters() == []
    assert world.agent.calls == {}


def test_the_schedule_compares_a_corpus_once(world: World) -> None:
    world.lost_answers = 2
    world.send('{"sync": "policies"}')
    world.run()
    assert world.base.jobs == 1
    assert world.agent.bases["CCCCCCCCCC", "DDDDDDDDDD"].jobs == 0
    assert world.dead_letters() == []


def test_a_comparison_waits_for_the_one_that_runs(world: World) -> None:
    world.base.job_running = True
    world.send('{"sync": "policies"}')
    assert world.batch() == ['{"sync": "policies"}']
    world.base.job_running = False
    world.run()
    assert world.base.jobs == 1
    assert world.dead_letters() == []


def test_a_name_too_long_for_a_single_document_is_left_to_a_comparison(world: World) -> None:
    world.put(f"documents/policies/{'long' * 40}.txt")
    world.run()
    assert world.base.jobs == 1
    assert world.agent.calls == {"StartIngestionJob": 1}


def test_names_are_taken_as_they_are(world: World) -> None:
    for name in ("a b+c.txt", "ü?#%20.md", "2026/11/x.TXT"):
        world.put(f"documents/policies/{name}")
    world.run()
    assert len(world.base.content) == 3
    world.agree()


def test_more_documents_than_one_request_takes(world: World) -> None:
    for number in range(23):
        world.put(f"documents/policies/{number}.txt")
    world.run()
    assert len(world.base.content) == 23
    store = ingestion.Store(ingestion._clients()[1], world.bucket, **CORPORA["policies"])
    held = store.held([f"documents/policies/{number}.txt" for number in range(25)])
    assert sorted(found.status for found in held.values()) == ["INDEXED"] * 23 + ["NOT_FOUND"] * 2
    world.agree()


def test_a_message_that_failed_comes_back_later_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class Queue:
        def __init__(self) -> None:
            self.seconds: list[int] = []

        def change_message_visibility(self, **told: Any) -> None:
            self.seconds.append(told["VisibilityTimeout"])

    queue = Queue()
    monkeypatch.setenv("QUEUE_URL", "https://queue")
    monkeypatch.setattr(ingestion, "_FIRST", 15)
    records = [
        {"messageId": "m", "receiptHandle": "r", "attributes": {"ApproximateReceiveCount": str(count)}}
        for count in (1, 2, 3, 20)
    ]
    ingestion._put_off(queue, records)
    assert queue.seconds == [15, 30, 60, 900]


def test_no_text_of_a_document_is_logged(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.put(KEY, b"the secret of the house")
    world.run()
    said = capsys.readouterr()
    assert "secret of the house" not in said.out + said.err


NAMES = st.sampled_from(["a.txt", "b.md", "c/d.pdf"])
STEPS = st.one_of(
    st.tuples(
        st.sampled_from(["put", "remove", "duplicate", "keep", "release", "deliver", "hurry", "die", "fail"]), NAMES
    ),
    st.tuples(st.just("throttle"), st.sampled_from(["Get", "Ingest", "Delete"])),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, min_size=3, max_size=14), looks=st.integers(0, 3), early=st.booleans())
def test_whatever_happens_the_store_ends_as_the_bucket(
    worlds: Worlds, steps: list[tuple[str, str]], looks: int, early: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        world = worlds.new(patch)
        world.base.looks, world.base.early = looks, early
        for step, name in steps:
            world.do(step, name)
        world.release()
        world.agent.faults.clear()
        world.base.flaky = world.lost_answers = 0
        for _ in range(20):  # what was given up in between is put back, as a person would
            world.run()
            dead = world.dead_letters()
            if not dead:
                break
            world.sqs.purge_queue(QueueUrl=world.dead)
            for body in dead:
                world.send(body)
        assert world.base.content == world.expected()
        assert not world.base.problems
        if early:
            # A store that reads late may take a version before it is asked to; it is read once more then.
            assert len(set(world.base.embedded)) == len(world.base.embedded)
