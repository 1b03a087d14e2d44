"""The ingestion function against Cloud Storage and Vector Search in memory, with messages as Pub/Sub pushes them.

What counts is the end: the collection holds what the bucket holds, nothing was embedded twice, nothing is left but what can never
be read.
"""

import base64
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.gcp import ingestion, retrieval_stores
from runtime.gcp.ingestion import RefusedError, identify, ingest, read
from runtime.gcp.ingestion_text import LARGEST, UnreadableError, parts
from tests.conftest import ROOT
from tests.runtime.vector_search import Google, listening

BUCKET = "acme-ai-dev-documents"
PLACE = "projects/acme-ai-dev/locations/us-central1/collections"
CORPORA = {name: {"collection": f"{PLACE}/acme-ai-dev-{name}"} for name in ("policies", "manuals")}
NAME = "documents/policies/travel.txt"
LONG = "\n\n".join(f"Paragraph {n}. " + "Some words follow here. " * 20 for n in range(20))


class Request:
    """What the runtime hands to the function: Flask's request, as far as it is used."""

    def __init__(self, body: Any) -> None:
        self.body = body

    def get_json(self, *, silent: bool) -> Any:
        assert silent  # else what is no JSON would be answered with a page of HTML
        return self.body


def message(kind: str, name: str, **attributes: str) -> dict[str, Any]:
    """A message as Cloud Storage publishes and Pub/Sub pushes it ("Pub/Sub notifications for Cloud Storage")."""
    given = {
        "notificationConfig": f"projects/_/buckets/{BUCKET}/notificationConfigs/1",
        "eventType": kind,
        "payloadFormat": "NONE",
        "bucketId": BUCKET,
        "objectId": name,
        "objectGeneration": "1",
        "eventTime": "2026-11-01T00:00:00.000000Z",
    }
    return {
        "message": {
            "attributes": given | attributes,
            "messageId": "1",
            "publishTime": "2026-11-01T00:00:00Z",
            "data": "",
        },
        "subscription": "projects/acme-ai-dev/subscriptions/acme-ai-dev-ingestion",
    }


SYNC = {"message": {"attributes": {"sync": "policies"}, "data": base64.b64encode(b"{}").decode()}}


class World:
    """A bucket whose notifications reach the function, sooner or later."""

    def __init__(self, google: Google) -> None:
        self.google = google
        google.__init__(BUCKET)
        google.collections = {corpus["collection"]: {} for corpus in CORPORA.values()}
        self.messages: list[dict[str, Any]] = []
        self.dead: list[dict[str, Any]] = []
        self.tries: dict[int, int] = {}

    @property
    def held(self) -> dict[str, dict[str, Any]]:
        return self.google.collections[CORPORA["policies"]["collection"]]

    def put(self, name: str = NAME, content: bytes | str = "text", *, tell: bool = True) -> None:
        self.google.put(name, content.encode() if isinstance(content, str) else content)
        if tell:
            self.messages.append(message("OBJECT_FINALIZE", name))

    def remove(self, name: str = NAME) -> None:
        if self.google.objects.pop(name, None):
            self.messages.append(message("OBJECT_ARCHIVE", name))

    def deliver(self, index: int = 0) -> int:
        """One message; what is not done comes back, and after some tries goes to the dead letters."""
        told = self.messages.pop(index % len(self.messages))
        status = ingest(Request(told))[1]
        if status != 204:
            self.tries[id(told)] = self.tries.get(id(told), 0) + 1
            (self.dead if self.tries[id(told)] >= 5 else self.messages).append(told)
        return status

    def run(self) -> None:
        while self.messages:
            self.deliver()

    def expected(self, corpus: str = "policies") -> dict[str, dict[str, Any]]:
        """What the collection has to hold."""
        found: dict[str, dict[str, Any]] = {}
        for name, (generation, content) in self.google.objects.items():
            if name.startswith(f"documents/{corpus}/") and not ingestion.refusal(name, len(content)):
                try:
                    texts = parts(name, content)
                except UnreadableError:
                    continue
                for n, text in enumerate(texts):
                    data = {"source": name, "generation": generation, "part": n, "parts": len(texts), "text": text}
                    found[identify(name, generation, n)] = data
        return found

    def agree(self) -> None:
        assert self.held == self.expected()
        assert self.google.problems == []
        assert set(self.google.created.values()) <= {1}, "a part was embedded twice"


@pytest.fixture(scope="module")
def server() -> Iterator[Google]:
    google = Google(BUCKET)
    with listening(google), pytest.MonkeyPatch.context() as patch:
        patch.setenv("BUCKET", BUCKET)
        patch.setenv("CORPORA", json.dumps(CORPORA))
        yield google


@pytest.fixture
def world(server: Google) -> World:
    return World(server)


def test_a_document_that_comes_changes_and_goes_does_so_in_the_collection(world: World) -> None:
    world.put(content=LONG)
    world.run()
    assert len(world.held) > 5
    world.agree()
    world.put(content="short now")
    world.run()
    assert [data["text"] for data in world.held.values()] == ["short now"]
    world.agree()
    world.remove()
    world.run()
    assert world.held == {}
    assert world.dead == []


def test_a_duplicate_neither_reads_nor_embeds(world: World) -> None:
    world.put(content=LONG)
    world.messages *= 4
    world.run()
    assert world.google.calls["download"] == 1
    world.agree()


def test_the_news_of_a_deletion_that_comes_after_a_new_upload_deletes_nothing(world: World) -> None:
    world.put()
    world.run()
    world.remove()
    late = world.messages.pop()
    world.put(content="again")
    world.run()
    world.messages.append(late)
    world.run()
    assert len(world.held) == 1
    world.agree()


def test_the_old_is_found_until_the_new_can_be(world: World) -> None:
    world.put(content=LONG)
    world.run()
    world.put(content=LONG + " more")
    world.google.faults[":batchDelete"] = [503]
    assert world.deliver() == 503
    assert {data["generation"] for data in world.held.values()} == {
        str(world.google.generation - 1),
        str(world.google.generation),
    }
    world.run()
    world.agree()


@pytest.mark.parametrize("call", [":query", "GET /storage", ":batchCreate", ":batchDelete"])
@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_what_an_interface_refuses_comes_again(world: World, call: str, status: int) -> None:
    world.put(content=LONG)
    world.run()
    world.put(content=f"{LONG} and more")
    world.google.faults[call] = [status]
    assert world.deliver() == 503
    world.run()
    world.agree()
    assert world.dead == []


def test_a_bucket_that_does_not_answer_is_not_an_empty_one(world: World) -> None:
    world.put()
    world.run()
    world.remove()
    world.google.faults["GET /storage"] = [403]
    assert world.deliver() == 503
    assert len(world.held) == 1


def test_what_stopped_half_way_is_finished_and_not_done_twice(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval_stores, "CREATED", 2)
    world.put(content=LONG)
    world.google.before[world.google.count + 5] = lambda: world.google.faults.update({":batchCreate": [429]})
    assert world.deliver() == 503
    assert 0 < len(world.held) < len(world.expected())
    world.run()
    world.agree()
    assert world.google.calls["POST"] == 0, "only what is missing is asked for"


@pytest.mark.parametrize("atomic", [True, False])
def test_a_collection_that_answers_with_what_was_does_no_harm(world: World, atomic: bool) -> None:
    """What was just written may not be found yet."""
    world.google.atomic = atomic
    world.put(content=LONG)
    world.run()
    first = dict(world.held)
    del first[next(iter(first))]
    world.messages.append(message("OBJECT_FINALIZE", NAME))
    world.google.stale = [first] * 2 + [{}] * 10
    world.run()
    world.agree()
    world.remove()
    world.google.stale = [first | {"p-gone-0": dict(next(iter(first.values())))}] * 20
    world.run()
    world.google.stale = []
    world.messages.append(SYNC)
    world.run()
    assert world.held == {}
    assert world.dead == []


def test_two_functions_at_once_leave_what_the_bucket_holds(world: World) -> None:
    """Whatever moment the other one chooses: this one is in the middle of the old document."""
    world.put(content=LONG)
    world.run()
    calls = world.google.count
    for other in ("new", "none", "back"):
        for moment in range(1, calls + 2):
            world = World(world.google)
            world.put(content=LONG)

            def act(world: World = world, other: str = other) -> None:
                world.remove() if other == "none" else world.put(content=f"{other} {LONG}")
                if other == "back":
                    world.remove()
                    world.put(content="back")
                world.google.before.clear()
                world.deliver(-1)

            world.google.before[moment] = act
            world.run()
            world.agree()
            assert world.dead == []


def test_a_generation_that_is_gone_before_it_is_read_is_not_missed(world: World) -> None:
    world.put(content="one")
    generation = world.google.objects[NAME][0]

    def act() -> None:
        del world.google.old[NAME, generation]
        world.put(content="two", tell=False)

    world.google.before[3] = act
    assert world.deliver() == 204
    world.agree()


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.exe", b"MZ", "is none of"),
        ("no-ending", b"text", "is none of"),
        ("a.txt", b"", "is empty"),
        ("a.txt", b" \n ", "holds no text"),
        ("a.txt", b"\xff\xfe\x00", "UnicodeDecodeError"),
        ("a.pdf", b"%PDF-1.7 no more", "cannot be read"),
        ("a.docx", b"PK no more", "cannot be read"),
    ],
)
def test_poison_is_told_and_ends_with_the_dead_letters(
    world: World, capsys: pytest.CaptureFixture[str], name: str, content: bytes, why: str
) -> None:
    world.put(f"documents/policies/{name}", content)
    world.put()
    assert world.deliver() == 422
    world.run()
    assert len(world.dead) == 1
    logged = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert why in logged[0]["reason"]
    assert logged[0]["severity"] == "ERROR"
    world.agree()


def test_a_document_that_is_too_large_is_not_even_loaded(world: World) -> None:
    world.google.objects["documents/policies/a.txt"] = ("1", range(LARGEST + 1))  # pyright: ignore[reportArgumentType] - has a length
    world.messages.append(message("OBJECT_FINALIZE", "documents/policies/a.txt"))
    assert world.deliver() == 422
    assert world.google.calls["download"] == 0


def test_what_a_document_said_before_it_became_unreadable_is_removed(world: World) -> None:
    world.put(content="old")
    world.run()
    world.put(content=b"\xff\xfe\x00")
    assert world.deliver() == 422
    assert world.held == {}


@pytest.mark.parametrize(
    "body",
    [
        None,
        "text",
        [],
        {},
        {"message": None},
        {"message": {"data": "e30="}},
        {"message": {"attributes": {}}},
        {"message": {"attributes": {"sync": "nobody"}}},
        {"message": {"attributes": {"sync": ["policies"]}}},
        {"message": {"attributes": {"eventType": "OBJECT_FINALIZE", "bucketId": BUCKET}}},
        {"message": {"attributes": {"eventType": ["OBJECT_FINALIZE"], "bucketId": BUCKET, "objectId": NAME}}},
        {"message": {"attributes": {"eventType": "OBJECT_FINALIZE", "bucketId": BUCKET, "objectId": 5}}},
        message("OBJECT_FINALIZE", NAME, bucketId="another"),
        message("OBJECT_METADATA_UPDATE", NAME),
        message("OBJECT_FINALIZE", "documents/nobody/a.txt"),
        message("OBJECT_FINALIZE", "raw/policies/a.txt"),
        message("OBJECT_FINALIZE", "documents/a.txt"),
        message("OBJECT_FINALIZE", "documents//a.txt"),
    ],
)
def test_what_makes_no_sense_is_refused_without_a_call(world: World, body: Any) -> None:
    with pytest.raises(RefusedError):
        read(body, BUCKET, CORPORA)
    assert ingest(Request(body))[1] == 422
    assert world.google.count == 0


def test_a_folder_asks_for_nothing(world: World) -> None:
    world.put("documents/policies/2026/", b"")
    assert world.deliver() == 204
    assert world.google.count == 0


def test_a_corpus_never_reaches_the_collection_of_another(world: World) -> None:
    world.put()
    world.put("documents/manuals/travel.txt", "a manual")
    world.run()
    other = world.google.collections[CORPORA["manuals"]["collection"]]
    assert [data["text"] for data in other.values()] == ["a manual"]
    world.agree()


def test_names_are_taken_as_they_are(world: World) -> None:
    for name in ("a b+c.txt", "ü?#%20:x.md", "2026/11/x.TXT", "a&alt=media.txt"):
        world.put(f"documents/policies/{name}")
    world.run()
    assert len(world.held) == 4
    world.agree()


def test_the_schedule_finds_what_no_message_told_of(world: World) -> None:
    world.put("documents/policies/same.txt", LONG)
    for name in "abcdef":
        world.put(f"documents/policies/{name}.txt", "old")
    world.run()
    downloads = world.google.calls["download"]
    for name in "abc":
        world.put(f"documents/policies/{name}.txt", f"new {LONG}", tell=False)
    del world.google.objects["documents/policies/d.txt"]
    world.put("documents/policies/new.txt", tell=False)
    world.put("documents/policies/bad.exe", tell=False)
    del world.held[next(n for n, data in world.held.items() if data["source"].endswith("e.txt"))]
    world.google.created.clear()
    world.messages = [SYNC]
    world.run()
    world.agree()
    assert world.dead == []
    assert world.google.calls["download"] - downloads == 5
    world.google.calls.clear()
    world.messages = [SYNC]
    world.run()
    assert world.google.calls["download"] == 0
    assert world.google.calls["storage"] < 8, "documents that agree are not looked at one by one"


def test_a_document_that_fails_holds_up_no_other_and_is_not_forgotten(world: World) -> None:
    for name in "abc":
        world.put(f"documents/policies/{name}.txt", tell=False)
    world.messages = [SYNC]
    world.google.faults[":batchCreate"] = [500]
    assert world.deliver() == 503
    assert len(world.held) == 2
    world.run()
    world.agree()


def test_a_comparison_that_takes_too_long_goes_on_with_the_next_try(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        world.put(f"documents/policies/{name}.txt", tell=False)
    times = iter([0.0, 1.0, 1000.0])
    with monkeypatch.context() as patch:
        patch.setattr(ingestion.time, "monotonic", lambda: next(times))
        world.messages = [SYNC]
        assert world.deliver() == 503
    assert len(world.held) == 1
    world.run()
    world.agree()


@pytest.mark.parametrize(
    ("entry", "files"),
    [
        ("ingestion import ingest", ["ingestion.py", "ingestion_text.py", "retrieval_rest.py", "retrieval_stores.py"]),
        ("retrieval import query", ["retrieval.py", "retrieval_rest.py", "retrieval_stores.py"]),
    ],
)
def test_each_function_stands_on_its_own_files_alone(tmp_path: Path, entry: str, files: list[str]) -> None:
    """The source of a function: these, under their paths, and a main.py of one line."""
    (tmp_path / "runtime/gcp").mkdir(parents=True)
    for file in files:
        shutil.copy(ROOT / "runtime/gcp" / file, tmp_path / "runtime/gcp")
    (tmp_path / "main.py").write_text(f"from runtime.gcp.{entry}\n")
    subprocess.run(
        [sys.executable, "-c", "import main"], cwd=tmp_path, check=True, env={"PYTHONDONTWRITEBYTECODE": "1"}
    )


def test_no_text_of_a_document_is_logged(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.put(content="the secret of the house")
    world.google.faults[":batchCreate"] = [400]
    world.run()
    said = capsys.readouterr()
    assert "secret of the house" not in said.out + said.err


NAMES = st.sampled_from([f"documents/policies/{name}" for name in ("a.txt", "b.md", "c/d.html")])
STEPS = st.one_of(
    st.tuples(st.sampled_from(["put", "remove", "duplicate", "deliver", "deliver", "twice", "race", "stale"]), NAMES),
    st.tuples(st.just("fault"), st.sampled_from([":query", "GET /storage", ":batchCreate", ":batchDelete"])),
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, min_size=3, max_size=16), atomic=st.booleans(), seed=st.integers(0, 2**32))
def test_whatever_happens_the_collection_ends_as_the_bucket(
    server: Google, steps: list[tuple[str, str]], atomic: bool, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - no secret
    world = World(server)
    world.google.atomic = atomic
    staled = False
    for step, name in steps:
        if step == "put":
            world.put(name, f"{chance.random()} {LONG[: chance.randrange(4000)]}")
        elif step == "remove":
            world.remove(name)
        elif step == "duplicate":
            world.messages.append(message("OBJECT_FINALIZE", name))
        elif step == "fault":
            world.google.faults[name] = [503]
        elif step == "stale":
            world.google.stale, staled = [dict(world.held)], True
        elif step == "race":
            content = f"{chance.random()} raced"
            world.google.before[world.google.count + chance.randrange(1, 8)] = lambda n=name, c=content: world.put(n, c)
        elif world.messages:
            told = world.messages[index := chance.randrange(len(world.messages))]
            world.deliver(index)
            if step == "twice":
                world.messages.append(told)
    world.google.before.clear()
    world.google.faults.clear()
    if staled:
        # An answer of yesterday may hide something from whoever got it; the schedule finds that.
        world.google.stale = []
        world.messages.append(SYNC)
    world.messages += world.dead
    world.run()
    world.agree()
