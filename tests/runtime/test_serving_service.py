"""The container service, started as a process and called over HTTP: right and wrong questions, load, overload, and its end."""

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any

import numpy as np
import pytest

from runtime.serving.batcher import Batcher, FullError
from runtime.serving.settings import Settings
from runtime.serving.signature import Feed
from tests.conftest import ROOT
from tests.runtime.amazon import AWS
from tests.runtime.cloud_storage import serving
from tests.runtime.serving import JSON, QUIET, Answer, Service, read, service, trained

SENT = "4000123412341234"


@pytest.fixture(scope="module")
def running() -> Iterator[Service]:
    with service(
        MAX_INSTANCES="100",
        AIP_HEALTH_ROUTE="/v1/endpoints/1/deployedModels/2",
        AIP_PREDICT_ROUTE="/v1/e/1/d/2:predict",
    ) as found:
        yield found


def test_it_answers_what_scikit_learn_says(running: Service):
    rows = trained().rows(100)  # more than the model takes at once
    answer = running.post("/predict", {"instances": rows})
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    trained().same(answer.json["predictions"], rows)
    in_order = running.post("/predict", {"instances": [list(row.values()) for row in rows]})
    assert in_order.json == answer.json
    assert answer.headers["X-Model-Version"] == "12"


PATHS = ("/invocations", "/v1/e/1/d/2:predict", "/v1/models/fraud:predict", "/predict")


@pytest.mark.parametrize("path", PATHS)
def test_every_platform_finds_its_path(running: Service, path: str):
    rows = trained().rows(2)
    trained().same(running.post(path, {"instances": rows}).json["predictions"], rows)


@pytest.mark.parametrize(
    "path", ["/ping", "/readyz", "/v1/endpoints/1/deployedModels/2", "/v1/models/fraud", "/v2/health/ready", "/healthz"]
)
def test_every_platform_finds_its_health(running: Service, path: str):
    assert running.get(path).status == 200


def test_another_model_is_not_here(running: Service):
    assert running.post("/v1/models/other:predict", {"instances": trained().rows(1)}).status == 404
    assert running.get("/v1/models/other").status == 404


def test_sagemaker_s_formats_and_headers(running: Service):
    rows = trained().rows(5)
    expected = trained().expected(rows)
    table = "".join(",".join(map(str, row.values())) + "\r\n" for row in rows).encode()
    sent = {
        "Content-Type": "text/csv; charset=utf-8",
        "X-Amzn-SageMaker-Custom-Attributes": "trace=7",
        "X-Amzn-SageMaker-Inference-Id": "inference-7",
    }
    answer = running.ask("POST", "/invocations", table, sent)
    assert (answer.status, answer.headers["Content-Type"].partition(";")[0]) == (200, "text/csv")
    assert [int(line.split(",")[0]) for line in answer.body.decode().splitlines()] == [e["label"] for e in expected]
    assert answer.headers["X-Amzn-SageMaker-Custom-Attributes"] == "trace=7"
    assert answer.headers["X-Request-Id"] == "inference-7"

    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    answer = running.ask("POST", "/invocations", lines, {"Content-Type": "application/jsonlines"})
    trained().same([json.loads(line) for line in answer.body.splitlines()], rows)
    answer = running.ask(
        "POST", "/invocations", lines, {"Content-Type": "application/jsonlines", "Accept": "application/json"}
    )
    trained().same(answer.json["predictions"], rows)
    assert running.get("/execution-parameters").json["MaxPayloadInMB"] == 6


def test_a_request_can_be_followed(running: Service):
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    answer = running.post("/predict", {"instances": trained().rows(1)}, X_Request_Id="my-7", traceparent=trace)
    assert (answer.headers["X-Request-Id"], answer.headers["traceparent"]) == ("my-7", trace)
    (line,) = [line for line in running.said if line.get("request_id") == "my-7"]
    assert line["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert (line["status"], line["instances"]) == (200, 1)
    # What would break a log or a header is replaced.
    assert len(running.post("/predict", {}, X_Request_Id="a" * 999).headers["X-Request-Id"]) == 32


GOOD = {"amount": 1, "hour": 2, "age_days": 3, "risk": 0.5}


def instances(**changes: Any) -> dict[str, Any]:
    return {"instances": [GOOD, {k: v for k, v in (GOOD | changes).items() if v != "gone"}]}


@pytest.mark.parametrize(
    ("body", "problems"),
    [
        (instances(amount=-1), ["instances[1].amount must be between 0 and 10000"]),
        (instances(amount=SENT), ["instances[1].amount must be a number"]),
        (instances(amount=True), ["instances[1].amount must be a number"]),
        (instances(amount=None), ["instances[1].amount is missing"]),
        (instances(amount=[1]), ["instances[1].amount must be a number"]),
        (instances(risk=1e300), ["instances[1].risk must be finite"]),
        (instances(hour=99, risk="x"), ["instances[1].hour must be between 0 and 23", "instances[1].risk must be a number"]),
        (instances(age_days=-1), ["instances[1].age_days must be at least 0"]),
        (instances(hour="gone"), ["instances[1].hour is missing"]),
        (instances(**{SENT: 1}), ["instances[1] has an input that the model does not know"]),
        ({"instances": [GOOD, [1, 2, 3]]}, ["instances[1] must be an object, or a list of 4 values"]),
        ({"instances": [GOOD, 7]}, ["instances[1] must be an object, or a list of 4 values"]),
        ({"instances": []}, ["instances there must be one at least"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)  # fmt: skip
def test_all_that_is_wrong_is_said_at_once(running: Service, body: Any, problems: list[str]):
    answer = running.post("/predict", body)
    assert (answer.status, answer.headers["Content-Type"]) == (422, "application/problem+json")
    assert [f"{each['at']} {each['problem']}" for each in answer.json["problems"]] == problems
    assert answer.json["request_id"] == answer.headers["X-Request-Id"]
    assert SENT not in answer.body.decode()


@pytest.mark.parametrize(
    ("body", "media", "status"),
    [
        (b"{", "application/json", 400),
        (b"", "application/json", 400),
        (b"7", "application/json", 400),
        (b'{"instances": {}}', "application/json", 400),
        (b'{"instances": [[NaN, 1, 1, 1]]}', "application/json", 400),
        (b'{"instances": [], "signature_name": "x"}', "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"\xff\xfe", "text/csv", 400),
        (b"1,2,3", "text/csv", 422),
        (b"1,2,3,nan", "text/csv", 422),
        (b"1,2,1_0,4", "text/csv", 422),
        (b"1,2,,4", "text/csv", 422),
        (b"<x/>", "application/xml", 415),
        (json.dumps([[1, 1, 1, 1]] * 101).encode(), "application/json", 422),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(running: Service, body: bytes, media: str, status: int):
    answer = running.ask("POST", "/predict", body, {"Content-Type": media})
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/problem+json")


def test_a_report_stays_short(running: Service):
    many = running.post("/predict", {"instances": [[SENT] * 4] * 64})
    assert len(many.json["problems"]) == 51
    assert many.json["problems"][-1]["problem"] == "206 more problems"


def test_other_methods_and_addresses_are_problems_too(running: Service):
    assert (running.get("/predict").status, running.get("/predict").headers["Allow"]) == (405, "POST")
    assert running.get("/nothing").json["status"] == 404


def test_no_payload_is_in_the_log(running: Service):
    running.post("/predict", instances(amount=SENT))
    running.post("/predict?card=" + SENT, instances(amount=1))
    assert all(isinstance(line, dict) for line in running.said)
    assert SENT not in json.dumps(running.said)


def test_under_load_everyone_gets_their_own_answer():
    threads, each = 16, 25
    with service(MAX_REQUESTS="64") as found, ThreadPoolExecutor(threads) as pool:

        def caller(number: int) -> None:
            connection = HTTPConnection("127.0.0.1", found.port, timeout=30)
            for count in range(each):
                rows = trained().rows(1 + count % 3, seed=number * 1000 + count)
                connection.request("POST", "/predict", json.dumps({"instances": rows}), JSON)
                answer = read(connection.getresponse())
                assert answer.status == 200
                trained().same(answer.json["predictions"], rows)
            connection.close()

        list(pool.map(caller, range(threads)))
        assert found.metric("serving_requests_total") == threads * each
        # They went through the model together.
        assert found.metric("serving_batch_rows_count") < threads * each


def together(found: Service, count: int, rows: int = 1) -> list[Answer]:
    with ThreadPoolExecutor(count) as pool:
        return list(
            pool.map(lambda n: found.post("/predict", {"instances": trained().rows(rows, seed=n)}), range(count))
        )


def test_too_many_at_once_are_told_to_come_back():
    with service(MAX_REQUESTS="2", BATCH_WAIT_MS="400") as found:
        answers = together(found, 8)
        assert sorted(each.status for each in answers) == [200] * 2 + [429] * 6
        assert {each.headers["Retry-After"] for each in answers if each.status == 429} == {"1"}
        assert {each.status for each in together(found, 2)} == {200}
        assert found.get("/readyz").status == 200


def test_too_many_instances_wait():
    with service(QUEUE_ROWS="40", BATCH_WAIT_MS="400") as found:
        answers = together(found, 4, rows=20)
        assert sorted(each.status for each in answers) == [200, 200, 429, 429]
        # More than may wait at all still goes through when nothing waits: the signature's limit is what bounds it.
        assert together(found, 1, rows=64)[0].status == 200


def test_what_takes_too_long_is_given_up():
    with service(REQUEST_SECONDS="0.2", BATCH_WAIT_MS="500") as found:
        assert found.post("/predict", {"instances": trained().rows(1)}).status == 504
        connection = socket.create_connection(("127.0.0.1", found.port))
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert b" 408 " in connection.recv(1000)
        connection.close()


def test_a_body_that_is_too_large_costs_no_memory():
    with service(MAX_BODY_BYTES="100000") as found:
        found.post("/predict", {"instances": trained().rows(1)})
        before = found.memory()
        connection = HTTPConnection("127.0.0.1", found.port, timeout=30)
        connection.putrequest("POST", "/predict")
        connection.putheader("Content-Length", "1000000000")
        connection.endheaders()
        assert connection.getresponse().status == 413
        connection.close()

        connection = HTTPConnection("127.0.0.1", found.port, timeout=30)
        connection.putrequest("POST", "/predict")
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        part = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
        for _ in range(200):
            connection.send(part)
        connection.send(b"0\r\n\r\n")
        assert connection.getresponse().status == 413
        connection.close()
        assert found.memory() - before < 30


def test_a_head_that_is_too_large_costs_no_memory(running: Service):
    before = running.memory()
    connection = socket.create_connection(("127.0.0.1", running.port))
    connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nX-Long: ")
    with pytest.raises(OSError, match=r"reset|pipe"):
        connection.sendall(b"a" * (100 << 20))
    connection.close()
    assert running.memory() - before < 20
    # As much as is common still comes through.
    long = {"X-Long": "a" * 30_000}
    assert running.post("/predict", {"instances": trained().rows(1)}, **long).status == 200


def test_sigterm_loses_nothing_of_what_has_come():
    """Some wait in a batch when it comes; the load balancer still sends until it notices, and then no more."""
    found = Service(DRAIN_SECONDS="1.0", BATCH_WAIT_MS="20", MAX_REQUESTS="64")
    answers: list[tuple[float, int, str | None]] = []
    stop = threading.Event()

    def caller(number: int) -> None:
        connection = HTTPConnection("127.0.0.1", found.port, timeout=20)
        while not stop.is_set():
            connection.request("POST", "/predict", json.dumps({"instances": trained().rows(1, seed=number)}), JSON)
            answer = read(connection.getresponse())
            answers.append((time.monotonic(), answer.status, answer.headers["Connection"]))

    with ThreadPoolExecutor(8) as pool:
        callers = [pool.submit(caller, number) for number in range(8)]
        time.sleep(0.4)
        told = time.monotonic()
        found.process.send_signal(signal.SIGTERM)
        found.until("/readyz", 503)
        assert found.get("/healthz").status == 200
        time.sleep(0.4)
        stop.set()
        for each in callers:
            each.result()  # raises where a connection was cut off
    found.end()
    assert {status for _, status, _ in answers} == {200}
    late = [closes for at, _, closes in answers if at > told + 0.2]
    assert len(late) > 8
    assert set(late) == {"close"}
    with pytest.raises(ConnectionRefusedError):
        found.get("/healthz")
    assert [line["event"] for line in found.said if line["event"] != "request"] == ["model loaded", "draining", "ended"]


def test_what_runs_when_it_ends_is_answered():
    found = Service(BATCH_WAIT_MS="700", MAX_REQUESTS="32")
    with ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(found.post, "/predict", {"instances": trained().rows(2, seed=n)}) for n in range(20)]
        while found.metric("serving_running") < 20:
            time.sleep(0.02)
        found.process.send_signal(signal.SIGTERM)
        assert [each.result().status for each in asked] == [200] * 20
    found.end()


def test_the_end_is_bounded():
    found = Service(BATCH_WAIT_MS="20000", GRACE_SECONDS="0.3")
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(found.post, "/predict", {"instances": trained().rows(1)})
        while found.metric("serving_running") < 1:
            time.sleep(0.02)
        began = time.monotonic()
        found.end()
        assert time.monotonic() - began < 5
        with contextlib.suppress(OSError):
            assert asked.result().status >= 500


@contextlib.contextmanager
def slow_bucket() -> Iterator[tuple[threading.Event, dict[str, str]]]:
    """A bucket that holds the model back until it is told not to."""
    go = threading.Event()

    def answer(*_: Any) -> tuple[int, bytes]:
        go.wait(20)
        return 200, trained().archive.read_bytes()

    with serving(answer) as host:
        yield go, AWS | {"AWS_ENDPOINT_URL": f"http://{host}", "MODEL_URI": "s3://models/a/model.tar.gz"}


def test_it_lives_before_it_is_ready(tmp_path: Any):
    with slow_bucket() as (go, environment):
        more = {"MODEL_DIGEST": trained().digest, "MODEL_CACHE": str(tmp_path)}
        found = Service(wait=False, **environment, **more)
        found.until("/healthz")
        assert [found.get(path).status for path in ("/ping", "/readyz", "/v1/models/fraud")] == [503] * 3
        early = found.post("/predict", {"instances": trained().rows(1)})
        assert (early.status, early.headers["Retry-After"]) == (503, "5")
        go.set()
        found.until("/ping")
        assert found.post("/predict", {"instances": trained().rows(1)}).status == 200
        found.end()


def test_it_can_be_ended_before_it_is_ready(tmp_path: Any):
    with slow_bucket() as (go, environment):
        found = Service(wait=False, **environment, MODEL_DIGEST=trained().digest, MODEL_CACHE=str(tmp_path))
        found.until("/healthz")
        found.end()
        go.set()


def test_a_model_that_is_not_the_one_ends_it(tmp_path: Any):
    with slow_bucket() as (go, environment):
        go.set()
        found = Service(wait=False, **environment, MODEL_DIGEST="0" * 64, MODEL_CACHE=str(tmp_path))
        found.process.wait()
        found.end(1)
        (line,) = [line for line in found.said if line["event"] == "model not loaded"]
        assert line["message"] == "the archive is not the one of MODEL_DIGEST"


def test_settings_that_are_none_are_named():
    done = subprocess.run(
        [sys.executable, "-m", "runtime.serving"], cwd=ROOT, env=QUIET | {"MAX_REQUESTS": "many"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "MAX_REQUESTS must be a number, not many\n")
    assert Settings.of({"AIP_HTTP_PORT": "9000", "PORT": "1", "LOG_REQUESTS": "false"}) == Settings(
        port=9000, log_requests=False
    )


def batched(*feeds: list[float], queue_rows: int = 99) -> tuple[list[Any], list[int]]:
    """What a model that doubles, but fails on 13, answers to these, all at once; and the rows of its calls."""
    calls: list[int] = []

    def predict(feed: Feed) -> Feed:
        if 13 in feed["x"]:
            raise RuntimeError
        return {"y": feed["x"] * 2}

    async def run() -> list[Any]:
        batcher = Batcher(predict, rows=4, queue_rows=queue_rows, seen=calls.append)
        task = asyncio.create_task(batcher.run())
        asked = (batcher.submit({"x": np.array(feed)}, len(feed)) for feed in feeds)
        found = await asyncio.gather(*asked, return_exceptions=True)
        task.cancel()
        assert batcher.waiting == 0
        return [each if isinstance(each, Exception) else each["y"].tolist() for each in found]

    return asyncio.run(run()), calls


def test_one_that_the_model_fails_on_does_not_harm_the_others():
    answers, calls = batched([1], [13], [2, 3])
    assert (answers[0], answers[2]) == ([2], [4, 6])
    assert isinstance(answers[1], RuntimeError)
    assert calls == [4, 1, 1, 2]


def test_a_batch_is_never_larger_than_the_model_takes():
    answers, calls = batched([1, 2, 3], [4, 5], [6], [7])
    assert answers == [[2, 4, 6], [8, 10], [12], [14]]
    assert calls == [3, 4]


def test_the_queue_is_bounded():
    answers, _ = batched([1, 2], [3, 4], [5, 6], queue_rows=4)
    assert answers[:2] == [[2, 4], [6, 8]]
    assert isinstance(answers[2], FullError)
