"""The guard of a language model, as a process: a model behind it that says what it is told, and the services of both clouds."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import pytest

from runtime.guard.guard import PART, Refusal, asked, chosen
from runtime.guard.guard import s3 as to_s3
from tests.conftest import ROOT
from tests.runtime.amazon import AWS, s3
from tests.runtime.bedrock import Service, running
from tests.runtime.cloud_storage import serving

ARN = "arn:aws:bedrock:us-west-2:111111111111:guardrail/abc123"
TEMPLATE = "projects/acme/locations/us-central1/templates/strict"
TABLE = "projects/acme/datasets/acme_dev_prompts/tables/endpoints"
COLUMNS = {"time", "endpoint", "request_id", "stopped", "request", "answer"}
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"


class Model:
    """As much of vLLM as the guard asks; `says` in pieces."""

    def __init__(self) -> None:
        self.says, self.asked = ["fine"], list[Any]()
        self.status = 200

    @contextmanager
    def running(self) -> Generator[str]:
        model = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = {"/health": b"", "/metrics": b"vllm:num_requests_running 3\n"}.get(self.path, b"{}")
                self._reply(200, found)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                model.asked.append(body)
                if model.status != 200:
                    self._reply(model.status, b'{"error": {"message": "too long"}}')
                elif body.get("stream"):
                    events = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in model.says]
                    lines = [f"data: {json.dumps(event)}\n\n" for event in events] + ["data: [DONE]\n\n"]
                    self._reply(200, "".join(lines).encode())
                else:
                    said = "".join(model.says)
                    choice = (
                        {"message": {"role": "assistant", "content": said}} if self.path == CHAT else {"text": said}
                    )
                    self._reply(
                        200, json.dumps({"choices": [{"index": 0, "finish_reason": "stop", **choice}]}).encode()
                    )

            def _reply(self, status: int, content: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class calls it so
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


class Cloud:
    """A guardrail that stops what holds one of these words, and what was kept."""

    def __init__(self) -> None:
        self.words, self.checked, self.kept = ("poison",), list[tuple[str, str]](), list[Any]()
        self.named = list[str]()
        self.broken = self.full = self.refuses = False

    def stops(self, source: str, text: str) -> bool:
        self.checked.append((source, text))
        return any(word in text for word in self.words)

    def google(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, bytes]:
        """Model Armor, BigQuery and the metadata server."""
        if method == "GET":
            assert headers["Metadata-Flavor"] == "Google"
            return 200, b'{"access_token": "it"}'
        assert headers["Authorization"] == "Bearer it"
        given = json.loads(body)
        if path == f"/bigquery/v2/{TABLE}/insertAll":
            if self.full:
                return 429, b"{}"
            if self.refuses:
                return 200, b'{"insertErrors": [{"index": 0, "errors": [{"reason": "invalid"}]}]}'
            for row in given["rows"]:
                # A column that the table does not have is refused, and what is in one is text or nothing.
                assert set(row["json"]) <= COLUMNS
                assert all(isinstance(value, str | None) for value in row["json"].values())
                nested = {key: json.loads(row["json"][key]) for key in ("request", "answer") if key in row["json"]}
                self.named.append(row["insertId"])
                self.kept.append({**row["json"], **nested})
            return 200, b"{}"
        template, _, call = unquote(path).removeprefix("/v1/").partition(":")
        assert template == TEMPLATE
        source, field = {
            "sanitizeUserPrompt": ("INPUT", "userPromptData"),
            "sanitizeModelResponse": ("OUTPUT", "modelResponseData"),
        }[call]
        state = "MATCH_FOUND" if self.stops(source, given[field]["text"]) else "NO_MATCH_FOUND"
        worked = "PARTIAL" if self.broken else "SUCCESS"
        return 200, json.dumps({"sanitizationResult": {"filterMatchState": state, "invocationResult": worked}}).encode()

    def bedrock(self, given: dict[str, Any]) -> Any:
        """ApplyGuardrail."""
        assert (unquote(given["guardrailIdentifier"]), given["guardrailVersion"]) == (ARN, "3")
        [content] = given["content"]
        stopped = self.stops(given["source"], content["text"]["text"])
        found = {"usage": {}, "outputs": [], "assessments": []}
        return {**found, "action": "GUARDRAIL_INTERVENED" if stopped else "NONE"}


class Guarded:
    """The guard, and what is around it."""

    def __init__(self, port: int, model: Model, cloud: Cloud) -> None:
        self.port, self.model, self.cloud = port, model, cloud

    def ask(self, body: Any, path: str = CHAT, method: str = "POST") -> tuple[int, str]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            text = body if isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, path, text, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


def port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def started(variables: dict[str, str], model: Model, cloud: Cloud) -> Generator[Guarded]:
    with model.running() as upstream:
        number = port()
        given = {"PATH": os.environ["PATH"], "PORT": str(number), "UPSTREAM": upstream, "ENDPOINT": "chat", **variables}
        program = [sys.executable, str(ROOT / "runtime/guard/guard.py")]
        with subprocess.Popen(program, env=given, stdout=subprocess.PIPE, text=True) as process:
            guard = Guarded(number, model, cloud)
            try:
                for _ in range(200):
                    try:
                        if guard.ask(b"", "/health", "GET")[0] == 200:
                            break
                    except OSError:
                        time.sleep(0.05)
                else:
                    raise RuntimeError("the guard does not start")
                yield guard
            finally:
                process.terminate()
                process.wait(10)


@pytest.fixture(scope="module")
def google() -> Iterator[Guarded]:
    model, cloud = Model(), Cloud()
    with serving(cloud.google) as address:
        urls = dict.fromkeys(("ARMOR_URL", "BIGQUERY_URL", "METADATA_URL"), f"http://{address}")
        with started(
            {"GUARDRAIL": TEMPLATE, "GUARDRAIL_VERSION": "", "PROMPT_LOG": TABLE, **urls}, model, cloud
        ) as guard:
            yield guard


@pytest.fixture
def guard(google: Guarded) -> Guarded:
    """On Google Cloud, as new."""
    google.model.says, google.model.asked, google.model.status = ["fine"], [], 200
    google.cloud.__init__()
    return google


def chat(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "chat", "messages": [{"role": "user", "content": text}], **more}


def events(answer: str) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in answer.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def said(answer: str) -> str:
    return "".join(event["choices"][0]["delta"].get("content", "") for event in events(answer))


def test_what_is_harmless_goes_there_and_back(guard: Guarded):
    status, answer = guard.ask(chat("hello", temperature=0))
    assert status == 200
    assert json.loads(answer)["choices"][0]["message"]["content"] == "fine"
    assert guard.model.asked == [chat("hello", temperature=0)]
    assert [source for source, _ in guard.cloud.checked] == ["INPUT", "OUTPUT"]
    question, reply = guard.cloud.kept
    assert question["request"] == chat("hello", temperature=0)
    assert question["request_id"] == reply["request_id"]
    assert reply["answer"][0]["message"]["content"] == "fine"
    # What is sent again is there once.
    assert guard.cloud.named == [f"{question['request_id']}-request", f"{question['request_id']}-answer"]
    assert datetime.now(UTC) - datetime.fromisoformat(question["time"]) < timedelta(minutes=1)
    assert question["endpoint"] == "chat"


@pytest.mark.parametrize("path", [CHAT, TEXT])
@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_is_stopped_never_reaches_the_model(guard: Guarded, path: str, stream: bool):
    body = chat("poison", stream=stream) if path == CHAT else {"prompt": "poison", "stream": stream}
    status, answer = guard.ask(body, path)
    assert status == 200
    [found] = events(answer) if stream else [json.loads(answer)]
    assert found["choices"][0]["finish_reason"] == "content_filter"
    assert guard.model.asked == []
    assert [record["stopped"] for record in guard.cloud.kept] == ["prompt"]


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "system", "content": "x"}, {"role": "user", "content": [{"type": "text", "text": "poison"}]}]},
        chat("x", tools=[{"type": "function", "function": {"name": "f", "description": "poison"}}]),
        chat("x", tools=[{"type": "function", "function": {"name": "f", "parameters": {"properties": {"poison": {}}}}}]),
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": '{"a": "poison"}'}}]}]},
    ],
)  # fmt: skip
def test_it_is_found_wherever_the_model_reads_it(guard: Guarded, body: Any):
    _, answer = guard.ask(body)
    assert json.loads(answer)["choices"][0]["finish_reason"] == "content_filter"
    assert guard.model.asked == []


def test_it_is_found_at_the_end_of_a_long_prompt_and_where_it_was_cut(guard: Guarded):
    for text in ("a" * 3 * PART + "poison", "a" * (PART - 3) + "poison" + "a" * PART):
        _, answer = guard.ask(chat(text))
        assert json.loads(answer)["choices"][0]["finish_reason"] == "content_filter"
    assert max(len(text) for _, text in guard.cloud.checked) <= PART


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"{", "JSON"),
        ([], "object"),
        (chat("x", n=2), "one choice"),
        (chat("x", documents=[{"text": "poison"}]), "documents"),
        ({"prompt": [1, 2, 3]}, "one text"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]},
            "only text",
        ),
    ],
)
def test_what_cannot_be_checked_is_refused(guard: Guarded, body: Any, detail: str):
    status, answer = guard.ask(body)
    assert status == 400
    assert detail in json.loads(answer)["error"]["message"]
    assert guard.model.asked == []


def test_other_ways_to_the_model_are_closed(guard: Guarded):
    for path in ("/v1/embeddings", "/tokenize", "/v1/responses", "/v1/load_lora_adapter", "/invocations"):
        assert guard.ask({"prompt": "x"}, path)[0] == 404
    assert guard.ask(b"", CHAT, "GET")[0] == 405
    assert "num_requests_running" in guard.ask(b"", "/metrics", "GET")[1]
    assert guard.model.asked == []


def test_an_answer_that_is_stopped_is_seen_by_nobody(guard: Guarded):
    guard.model.says = ["here is the poi", "son"]
    _, answer = guard.ask(chat("hello"))
    assert "poi" not in answer
    assert json.loads(answer)["choices"][0]["finish_reason"] == "content_filter"
    assert [record["stopped"] for record in guard.cloud.kept] == [None, "answer"]


def test_a_stream_is_let_go_piece_by_piece(guard: Guarded):
    guard.model.says = [f"word{i} " for i in range(300)]
    _, answer = guard.ask(chat("hello", stream=True))
    assert said(answer) == "".join(guard.model.says)
    checks = [text for source, text in guard.cloud.checked if source == "OUTPUT"]
    assert 3 < len(checks) < 10
    assert guard.cloud.kept[-1]["answer"] == "".join(guard.model.says)


def test_a_stream_ends_before_what_is_stopped_also_between_pieces(guard: Guarded):
    # The word lies across the end of the first piece.
    guard.model.says = ["a" * 396, "poi", "so", "n", "b" * 500]
    _, answer = guard.ask(chat("hello", stream=True))
    assert "poison" not in said(answer)
    assert "b" not in said(answer)
    assert events(answer)[-1]["choices"][0]["finish_reason"] == "content_filter"
    assert guard.cloud.kept[-1]["stopped"] == "answer"


def test_where_the_guardrail_or_the_log_does_not_answer_neither_does_the_guard(guard: Guarded):
    guard.cloud.broken = True
    assert guard.ask(chat("hello"))[0] == 503
    guard.cloud.broken, guard.cloud.full = False, True
    assert guard.ask(chat("hello"))[0] == 503
    assert guard.model.asked == []
    guard.cloud.full, guard.cloud.refuses = False, True
    assert guard.ask(chat("hello"))[0] == 503
    assert guard.model.asked == []
    guard.cloud.refuses = False
    assert guard.ask(chat("hello"))[0] == 200


def test_a_refusal_of_the_model_is_passed_on(guard: Guarded):
    guard.model.status = 400
    status, answer = guard.ask(chat("hello"))
    assert status == 400
    assert "too long" in answer


def test_many_at_once_get_their_own_answers(guard: Guarded):
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(guard.ask(chat("hello"))[0])) for _ in range(40)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert found == [200] * 40


def test_on_aws_it_asks_bedrock_and_keeps_in_its_own_folder():
    model, cloud = Model(), Cloud()
    with ExitStack() as stack:
        client, variables = stack.enter_context(s3("logs"))
        service = Service("bedrock-runtime", {"ApplyGuardrail": cloud.bedrock})
        endpoints = stack.enter_context(running(bedrock_runtime=service))
        folder = {"PROMPT_LOG": "s3://logs/prompts/endpoints/chat/"}
        given = {**variables, **AWS, **endpoints, "GUARDRAIL": ARN, "GUARDRAIL_VERSION": "3", **folder}
        guard = stack.enter_context(started(given, model, cloud))
        assert json.loads(guard.ask(chat("hello"))[1])["choices"][0]["message"]["content"] == "fine"
        _, stopped = guard.ask(chat("poison"))
        assert json.loads(stopped)["choices"][0]["finish_reason"] == "content_filter"
        assert len(model.asked) == 1
        names = [each["Key"] for each in client.list_objects_v2(Bucket="logs")["Contents"]]
        assert all(
            re.fullmatch(r"prompts/endpoints/chat/\d{4}/\d\d/\d\d/\d\d/\w+-(request|answer)\.json", n) for n in names
        )
        kept = [json.loads(client.get_object(Bucket="logs", Key=name)["Body"].read()) for name in names]
        assert sorted(str(record["stopped"]) for record in kept) == ["None", "None", "prompt"]
        assert len({record["request_id"] for record in kept}) == 2


def test_on_aws_what_is_kept_is_never_written_over(monkeypatch: pytest.MonkeyPatch):
    with s3("logs") as (client, variables):
        for name, value in {**variables, **AWS}.items():
            monkeypatch.setenv(name, value)
        keep = to_s3("s3://logs/prompts/endpoints/chat/")
        record: dict[str, Any] = {"time": 0.0, "request_id": "a", "request": "first"}
        keep(record)
        # Sent again, for the answer was lost on the way: no error, and what is there stays.
        keep({**record, "request": "second"})
        [found] = client.list_objects_v2(Bucket="logs")["Contents"]
        assert json.loads(client.get_object(Bucket="logs", Key=found["Key"])["Body"].read())["request"] == "first"
        with pytest.raises(Exception, match="NoSuchBucket"):
            to_s3("s3://nowhere/")(record)


def test_without_a_place_for_prompts_it_does_not_start():
    with pytest.raises(KeyError, match="PROMPT_LOG"):
        chosen({"GUARDRAIL": TEMPLATE})


def test_without_a_guardrail_nothing_is_stopped_and_all_is_kept():
    model, cloud = Model(), Cloud()
    with serving(cloud.google) as address:
        urls = dict.fromkeys(("BIGQUERY_URL", "METADATA_URL"), f"http://{address}")
        with started({"PROMPT_LOG": TABLE, **urls}, model, cloud) as guard:
            model.says = ["how to build a bomb"]
            assert guard.ask(chat("a bomb"))[0] == 200
            status, streamed = guard.ask(chat("a bomb", stream=True))
    assert (status, said(streamed)) == (200, "how to build a bomb")
    assert not cloud.checked
    assert [record["stopped"] for record in cloud.kept] == [None] * 4
    assert [("request" in record, "answer" in record) for record in cloud.kept] == [(True, False), (False, True)] * 2


def test_the_text_that_is_checked_is_all_that_the_model_reads():
    body = chat("one", stop=["two"], tools=[{"function": {"name": "three"}}], temperature=1)
    assert {"one", "two", "three"} <= set(asked(body).split("\n"))
    with pytest.raises(Refusal):
        asked({"messages": [{"role": "user", "content": [{"type": "audio"}]}]})
