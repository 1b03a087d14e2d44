"""Corpora in tables: both functions against a real PostgreSQL with pgvector, signed in with tokens, over TLS.

What counts is the end, as with collections: a table holds what the bucket holds, nothing was embedded twice, and whoever asks
finds passages of his own corpus and of no other.
"""

import json
import os
import random
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from runtime.gcp import retrieval_stores
from runtime.gcp.retrieval_rest import ApiError
from tests.runtime import test_retrieval_gcp as asking
from tests.runtime.postgres import Server, postgres
from tests.runtime.test_ingestion_gcp import BUCKET, LONG, SYNC, World, message
from tests.runtime.vector_search import Google, listening

# What the fake's metadata server hands out.
TOKEN = "t0k3n"  # noqa: S105
OWNER, READER, STRANGER = (f"acme-ai-dev-{name}@acme-ai-dev.iam" for name in ("ingestion", "retrieval", "stranger"))
MODELS = "projects/acme-ai-dev/locations/us-central1/publishers/google/models"
NAMES = ("policies", "manuals")


class Tables(World):
    """The same world, with tables for collections."""

    def __init__(self, google: Google, server: Server, patch: pytest.MonkeyPatch) -> None:
        super().__init__(google)
        self.server, self.patch = server, patch
        for name in NAMES:
            server.run(f'DROP DATABASE IF EXISTS "corpus-{name}" WITH (FORCE)')
            server.run(f'CREATE DATABASE "corpus-{name}" OWNER cloudsqlsuperuser')
        self.embed("text-embedding-005", 768)
        self.sign_in()

    def embed(self, model: str, dimensions: int) -> None:
        """What both functions know of the corpora, and the one that asks besides."""
        of = {"model": f"{MODELS}/{model}", "dimensions": dimensions}
        readers = {"groups": [], "accounts": [asking.ASSISTANT], "guardrail": None}
        corpora = {name: {"database": f"corpus-{name}", **of, **readers} for name in NAMES}
        self.patch.setenv("CORPORA", json.dumps(corpora))

    def sign_in(self, user: str = OWNER, **more: Any) -> None:
        server = self.server
        at = {"host": server.host, "port": server.port, "authority": server.authority, "user": user, "reader": READER}
        self.patch.setenv("DATABASE", json.dumps({**at, **more}))

    def ask(self, question: str, corpus: str = "policies", **more: Any) -> tuple[int, list[tuple[str, str]]]:
        """Status, and the sources and texts of an answer, as the account that only reads."""
        self.sign_in(READER)
        body = {"query": question, **more}
        status, found = asking.ask({"Authorization": asking.account(asking.ASSISTANT)}, corpus, body)
        self.sign_in()
        return status, [(one["source"], one["text"]) for one in found.get("results", ())]

    @property
    def held(self) -> dict[str, dict[str, Any]]:
        tables = self.tables()
        if not tables:
            return {}
        fields = ("source", "generation", "part", "parts", "text")
        rows = self.server.run(f"SELECT id, {', '.join(fields)} FROM corpus.{tables[0]}", "corpus-policies")  # noqa: S608
        return {row[0]: dict(zip(fields, row[1:], strict=True)) for row in rows}

    def tables(self) -> list[str]:
        found = self.server.run("SELECT tablename FROM pg_tables WHERE schemaname = 'corpus'", "corpus-policies")
        return [str(name) for (name,) in found]

    @property
    def embedded(self) -> list[str]:
        return [text for task, text in self.google.embedded if task == "RETRIEVAL_DOCUMENT"]

    def agree(self) -> None:
        super().agree()
        assert len(set(self.embedded)) == len(self.embedded), "a part was embedded twice"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres() as found:
        # Users of Cloud SQL are no superusers. Members of this role may create the extension there; here it is there already.
        found.run("CREATE ROLE cloudsqlsuperuser")
        found.run("CREATE EXTENSION vector", database="template1")
        found.role(OWNER, TOKEN, "cloudsqlsuperuser")
        found.role(READER, TOKEN)
        found.role(STRANGER, TOKEN)
        yield found


@pytest.fixture(scope="module")
def interfaces() -> Iterator[Google]:
    google = Google(BUCKET)
    with listening(google):
        yield google


@pytest.fixture
def world(server: Server, interfaces: Google, monkeypatch: pytest.MonkeyPatch) -> Tables:
    for key, value in {"BUCKET": BUCKET, "GATEWAY": asking.GATEWAY, "GROUPS_CLAIM": "teams"}.items():
        monkeypatch.setenv(key, value)
    return Tables(interfaces, server, monkeypatch)


def test_a_document_that_comes_changes_and_goes_does_so_in_the_table(world: Tables) -> None:
    world.put(content=LONG)
    world.run()
    assert len(world.held) > 5
    world.agree()
    world.put(content="Trains are paid.")
    world.run()
    world.agree()
    assert world.ask("Are trains paid?") == (200, [("travel.txt", "Trains are paid.")])
    world.remove()
    world.run()
    assert world.held == {}
    assert world.ask("Are trains paid?") == (200, [])
    assert world.dead == []


def test_a_duplicate_neither_reads_nor_embeds(world: Tables) -> None:
    world.put(content=LONG)
    world.messages *= 4
    world.run()
    assert world.google.calls["download"] == 1
    world.agree()


def test_news_of_an_older_generation_brings_nothing_back(world: Tables) -> None:
    world.put(content="old")
    late = world.messages.pop()
    world.put(content="new")
    world.run()
    world.messages.append(late)
    world.remove()
    gone = world.messages.pop()
    world.put(content="newest")
    world.run()
    world.messages += [gone, late]
    world.run()
    assert [data["text"] for data in world.held.values()] == ["newest"]
    assert world.embedded == ["new", "newest"]


def test_what_stopped_half_way_is_finished_and_not_done_twice(world: Tables) -> None:
    world.put(content=LONG)
    world.run()
    world.google.embedded.clear()
    world.patch.setattr(retrieval_stores, "_EMBEDDED", 2)
    world.put(content=LONG.replace("Paragraph", "Section"))
    world.google.before[world.google.count + 5] = lambda: world.google.faults.update({":predict": [429]})
    assert world.deliver() == 503
    assert 0 < len(world.held.keys() & world.expected().keys()) < len(world.expected())
    # Until the new is there, the old is found.
    assert len({data["generation"] for data in world.held.values()}) == 2
    world.run()
    world.agree()


def test_the_schedule_finds_what_no_message_told_of(world: Tables) -> None:
    for name in "abc":
        world.put(f"documents/policies/{name}.txt", f"old {name}")
    world.run()
    world.put("documents/policies/a.txt", "new a", tell=False)
    del world.google.objects["documents/policies/b.txt"]
    world.put("documents/policies/d.txt", "new d", tell=False)
    world.messages = [SYNC]
    world.run()
    world.agree()
    assert world.dead == []


def test_poison_is_told_and_ends_with_the_dead_letters(world: Tables) -> None:
    world.put("documents/policies/a.pdf", b"%PDF-1.7 no more")
    world.put(content="good")
    assert world.deliver() == 422
    world.run()
    assert len(world.dead) == 1
    assert world.ask("good") == (200, [("travel.txt", "good")])
    world.put(content=b"\xff\xfe\x00")
    assert world.deliver() == 422
    assert world.held == {}


@pytest.mark.parametrize(
    ("model", "dimensions"), [("gemini-embedding-001", 3072), ("text-multilingual-embedding-002", 768)]
)
def test_another_embedding_makes_the_table_anew(world: Tables, model: str, dimensions: int) -> None:
    world.put(content=LONG)
    world.run()
    before = world.tables()
    world.embed(model, dimensions)
    # It has not been made yet: nobody finds anything, least of all by vectors of another model.
    assert world.ask("some words") == (200, [])
    world.google.embedded.clear()
    world.messages = [SYNC]
    world.run()
    world.agree()
    assert len(world.tables()) == 1
    assert world.tables() != before
    assert world.ask("some words follow here")[1][0][0] == "travel.txt"


def test_questions_are_answered_best_first_from_an_index(world: Tables) -> None:
    for topic in ("trains", "planes", "boats", "cars"):
        world.put(f"documents/policies/{topic}.txt", f"Journeys by {topic}.")
    world.run()
    status, found = world.ask("What of planes?", results=3)
    assert status == 200
    assert found[0] == ("planes.txt", "Journeys by planes.")
    assert len(found) == 3
    assert ("RETRIEVAL_QUERY", "What of planes?") in world.google.embedded
    ((table,),) = [world.tables()]
    plan = world.server.run(
        f"SET enable_seqscan = off; EXPLAIN SELECT id FROM corpus.{table}"  # noqa: S608
        f" ORDER BY embedding <=> CAST('[{'1,' * 767}1]' AS halfvec(768)) LIMIT 3",
        "corpus-policies",
    )
    assert f"{table}_near" in json.dumps(plan)


def test_one_corpus_never_answers_for_another(world: Tables, capsys: pytest.CaptureFixture[str]) -> None:
    world.put(content="The same words in both.")
    world.put("documents/manuals/travel.txt", "The same words in both, of a manual.")
    world.run()
    for corpus, text in (("policies", "The same words in both."), ("manuals", "The same words in both, of a manual.")):
        assert world.ask("same words in both", corpus) == (200, [("travel.txt", text)])
    # Somebody put a row where it does not belong.
    (table,) = world.tables()
    columns = "id, generation, part, parts, text, embedding"
    world.server.run(
        f"INSERT INTO corpus.{table} (source, {columns})"  # noqa: S608
        f" SELECT 'documents/manuals/x.txt', 'x', generation, part, parts, 'foreign', embedding FROM corpus.{table}",
        "corpus-policies",
    )
    capsys.readouterr()
    assert world.ask("same words in both") == (200, [("travel.txt", "The same words in both.")])
    assert json.loads(capsys.readouterr().out)["foreign"] == 1
    status, _ = world.ask("same words in both", "payroll")
    assert status == 403


def test_who_asks_only_reads(world: Tables) -> None:
    world.put(content="text")
    world.run()
    (table,) = world.tables()
    sessions = (
        "DELETE FROM corpus.{}", "UPDATE corpus.{} SET text = ''", "TRUNCATE corpus.{}", "DROP TABLE corpus.{}",
        "CREATE TABLE corpus.more (id int)", "CREATE TABLE public.more (id int)", "CREATE SCHEMA more",
    )  # fmt: skip
    for user, refused in ((READER, sessions), (STRANGER, ("SELECT * FROM corpus.{}",))):
        world.sign_in(user)
        told = json.loads(os.environ["DATABASE"])
        for statement in refused:
            connection = retrieval_stores._connection(told, "corpus-policies", TOKEN)  # pyright: ignore[reportPrivateUsage]
            with closing(connection), pytest.raises(retrieval_stores.DatabaseError, match="42501"):
                connection.run(statement.format(table))
    assert len(world.held) == 1


def test_nothing_is_said_to_a_server_that_somebody_else_vouches_for(world: Tables) -> None:
    world.put()
    with postgres() as other:
        world.sign_in(authority=other.authority)
        assert world.deliver() == 503
        assert not other.run("SELECT 1 FROM pg_roles WHERE rolname LIKE 'acme%'")
    world.sign_in()
    world.run()
    world.agree()


@pytest.mark.parametrize(
    "wrong", [{"port": 1}, {"user": "nobody@acme-ai-dev.iam"}, {"host": "203.0.113.1.invalid"}, {"reader": "missing"}]
)
def test_a_database_that_refuses_is_tried_again(
    world: Tables, wrong: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    world.put(content="the secret of the house")
    world.sign_in(**wrong)
    assert world.deliver() == 503
    world.sign_in()
    assert world.tables() == []
    world.run()
    world.agree()
    assert world.dead == []
    said = capsys.readouterr()
    assert "database" in json.loads(said.out.splitlines()[0])["reason"]
    assert "secret of the house" not in said.out + said.err


def test_a_question_to_a_database_that_refuses_is_not_answered(world: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    world.put(content="text")
    world.run()

    def refuse(status: int) -> Any:
        def connect(*_: Any) -> Any:
            raise ApiError(status, "database: as the test wants it")

        return connect

    for status, answered in ((0, 503), (429, 429)):
        with monkeypatch.context() as patch:
            patch.setattr(retrieval_stores, "_connection", refuse(status))
            assert world.ask("text")[0] == answered
    with pytest.raises(ApiError) as told, retrieval_stores._heard():  # pyright: ignore[reportPrivateUsage]
        raise retrieval_stores.DatabaseError({"C": "53300", "M": "sorry, too many clients: 'the text'"})
    assert (told.value.status, str(told.value)) == (429, "database: 53300")


def test_vectors_of_another_length_are_not_kept(world: Tables) -> None:
    world.embed("text-embedding-005", 256)
    world.put()
    assert world.deliver() == 503
    assert world.held == {}


def test_two_functions_that_begin_at_once_make_one_table(world: Tables) -> None:
    world.put("documents/policies/a.txt", "one")
    world.put("documents/policies/b.txt", "two")
    world.put("documents/policies/c.txt", "three")
    threads = [threading.Thread(target=world.deliver) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    world.run()
    world.agree()
    assert world.dead == []
    assert len(world.tables()) == 1


def test_what_somebody_else_has_just_added_is_the_same(world: Tables) -> None:
    world.put(content="text")
    world.messages *= 2
    # In the middle of the one, when it asks for vectors, the other begins and ends.
    world.google.before[world.google.count + 3] = world.deliver
    assert world.deliver() == 204
    assert world.messages == []
    assert world.held == world.expected()


def test_whatever_happens_the_table_ends_as_the_bucket(world: Tables) -> None:
    chance = random.Random(5)  # noqa: S311 - no secret
    names = [f"documents/policies/{name}" for name in ("a.txt", "b.md", "it's; DROP TABLE--.html")]
    for _ in range(40):
        name = chance.choice(names)
        match chance.choice(["put", "put", "remove", "duplicate", "fault", "race", "deliver", "deliver", "deliver"]):
            case "put":
                world.put(name, f"{chance.random()} {LONG[: chance.randrange(4000)]}")
            case "remove":
                world.remove(name)
            case "duplicate":
                world.messages.append(message("OBJECT_FINALIZE", name))
            case "fault":
                world.google.faults[chance.choice([":predict", "GET /storage"])] = [503]
            case "race":
                content = f"{chance.random()} raced"
                world.google.before[world.google.count + chance.randrange(1, 6)] = lambda n=name, c=content: world.put(
                    n, c
                )
            case _ if world.messages:
                world.deliver(chance.randrange(len(world.messages)))
            case _:
                pass
    world.google.before.clear()
    world.google.faults.clear()
    world.messages += world.dead
    world.run()
    assert world.held == world.expected()
    assert world.google.problems == []
    assert world.held
