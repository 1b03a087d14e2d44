"""The function endpoint, run by Lambda's own runtime client, its model in S3 (moto's server), events as an HTTP API sends them.

A server in memory stands for Lambda: it hands out events and takes the answers (Lambda, "Using the Lambda runtime API").
"""

import base64
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.runtime.amazon import s3
from tests.runtime.serving import trained

RUNTIME = "/2018-06-01/runtime/"


class Lambda:
    """Lambda, with one instance of the function."""

    def __init__(self, **environment: str) -> None:
        self.events: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.answers: queue.Queue[tuple[str, Any]] = queue.Queue()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self, status: int, body: bytes, **headers: str) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                assert self.path == f"{RUNTIME}invocation/next"
                number, event = outer.events.get()
                self.answer(
                    200, event, Content_Type="application/json",
                    Lambda_Runtime_Aws_Request_Id=number, Lambda_Runtime_Deadline_Ms="9999999999999",
                    Lambda_Runtime_Invoked_Function_Arn="arn:aws:lambda:us-west-2:111111111111:function:f",
                    Lambda_Runtime_Trace_Id="Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1",
                )  # fmt: skip

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.answers.put((self.path.removeprefix(RUNTIME), json.loads(body)))
                self.answer(202, b"{}")

            def log_message(self, format: str, *args: Any) -> None: ...  # noqa: A002

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.output = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as this
        settings = {
            "PATH": os.environ["PATH"],
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self.server.server_port}",
            "AWS_LAMBDA_FUNCTION_NAME": "f",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
            "AWS_LAMBDA_FUNCTION_VERSION": "7",
            "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/f",
            "AWS_LAMBDA_LOG_STREAM_NAME": "s",
            "_HANDLER": "runtime.aws.endpoint.handler",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "awslambdaric", "runtime.aws.endpoint.handler"],
            cwd=ROOT, env=settings | environment, stdout=self.output, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def invoke(self, event: Any, number: str = "af9c3624-3f2b-4d5f-b2a4-1c8d2a0e0000") -> dict[str, Any]:
        """What the function answers; fails where it raised."""
        self.events.put((number, json.dumps(event).encode()))
        where, answer = self.answers.get(timeout=20)
        assert where == f"invocation/{number}/response", (answer, self.said)
        return answer

    @property
    def said(self) -> list[dict[str, Any]]:
        self.output.seek(0)
        return [json.loads(line) for line in self.output.read().splitlines() if line.startswith("{")]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.server.shutdown()
        self.server.server_close()


def event(body: Any, *, packed: bool = False, **headers: str) -> dict[str, Any]:
    """As an HTTP API sends it (API Gateway, "AWS Lambda proxy integrations for HTTP APIs", format 2.0)."""
    text = body if isinstance(body, str) else json.dumps(body)
    host = "abc123.execute-api.us-west-2.amazonaws.com"
    return {
        "version": "2.0",
        "routeKey": "POST /predict",
        "rawPath": "/predict",
        "rawQueryString": "",
        "headers": {
            "accept": "*/*",
            "content-length": str(len(text)),
            "content-type": "application/json",
            "host": host,
            "user-agent": "curl/8.5.0",
            "x-amzn-trace-id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700",
            "x-forwarded-for": "203.0.113.7",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        },
        "requestContext": {
            "accountId": "111111111111",
            "apiId": "abc123",
            "authorizer": {"jwt": {"claims": {"sub": "caller"}, "scopes": None}},
            "domainName": host,
            "domainPrefix": "abc123",
            "http": {
                "method": "POST",
                "path": "/predict",
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.7",
                "userAgent": "curl/8.5.0",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": "POST /predict",
            "stage": "$default",
            "time": "21/Nov/2026:15:00:00 +0000",
            "timeEpoch": 1795273200000,
        },
        "body": base64.b64encode(text.encode()).decode() if packed else text,
        "isBase64Encoded": packed,
    }


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with s3() as (client, environment):
        client.upload_file(trained().archive, "models", "fraud/12/model.tar.gz")
        yield environment | {
            "MODEL_URI": "s3://models/fraud/12/model.tar.gz",
            "MODEL_DIGEST": f"sha256:{trained().digest}",
            "MAX_INSTANCES": "100",
            "MODEL_CACHE": str(tmp_path_factory.mktemp("cache")),
        }


@pytest.fixture(scope="module")
def function(cloud: dict[str, str]) -> Iterator[Lambda]:
    found = Lambda(**cloud)
    yield found
    found.end()


@pytest.mark.parametrize("packed", [False, True])
def test_it_answers_what_scikit_learn_says(function: Lambda, packed: bool):
    rows = trained().rows(100)  # more than the model takes at once
    answer = function.invoke(event({"instances": rows}, packed=packed))
    assert (answer["statusCode"], answer["headers"]["content-type"]) == (200, "application/json")
    trained().same(json.loads(answer["body"])["predictions"], rows)
    assert answer["headers"]["x-model-version"] == "12"


def test_a_load_balancer_is_answered_as_an_api_is(function: Lambda):
    rows = trained().rows(3)
    sent = event({"instances": rows}, packed=True)
    told = {"requestContext": {"elb": {"targetGroupArn": "arn"}}, "httpMethod": "POST", "path": "/predict"}
    answer = function.invoke(told | {key: sent[key] for key in ("headers", "body", "isBase64Encoded")})
    assert answer["statusCode"] == 200
    trained().same(json.loads(answer["body"])["predictions"], rows)


def test_the_model_is_loaded_before_the_first_request(cloud: dict[str, str]):
    found = Lambda(**cloud)
    try:
        for _ in range(500):
            if found.said:
                break
            time.sleep(0.02)
        assert [line["event"] for line in found.said] == ["model loaded"]
    finally:
        found.end()


def test_a_request_can_be_followed(function: Lambda):
    answer = function.invoke(event({"instances": trained().rows(1)}), "b7c1")
    assert answer["headers"]["x-request-id"] == "JKJaXmPLvHcESHA="
    line = function.said[-1]
    assert (line["aws_request_id"], line["request_id"], line["status"]) == ("b7c1", "JKJaXmPLvHcESHA=", 200)
    assert line["xray"].startswith("Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;")
    answer = function.invoke(event({"instances": trained().rows(1)}, x_request_id="mine"))
    assert answer["headers"]["x-request-id"] == "mine"


SENT = "4000123412341234"


@pytest.mark.parametrize(
    ("told", "status"),
    [
        (event({"instances": [{"amount": SENT}]}), 422),
        (event({"instances": []}), 422),
        (event([[1, 1, 1, 1]] * 101), 422),
        (event("{" + SENT), 400),
        (event({}) | {"body": None}, 400),
        (event({}) | {"body": "no base 64!", "isBase64Encoded": True}, 400),
        (event("x", content_type="image/png"), 415),
        ({"version": "1.0", "httpMethod": "POST", "headers": None, "requestContext": {}}, 400),
        ({"source": "aws.events"}, 400),
    ],
)  # fmt: skip
def test_what_is_wrong_is_a_problem_not_an_exception(function: Lambda, told: Any, status: int):
    answer = function.invoke(told)
    assert (answer["statusCode"], answer["headers"]["content-type"]) == (status, "application/problem+json")
    problem = json.loads(answer["body"])
    assert (problem["status"], problem["request_id"]) == (status, answer["headers"]["x-request-id"])
    assert SENT not in answer["body"]
    assert SENT not in json.dumps(function.said)


def test_a_table_is_answered_with_a_table(function: Lambda):
    rows = trained().rows(3)
    table = "".join(",".join(map(str, row.values())) + "\n" for row in rows)
    answer = function.invoke(event(table, content_type="text/csv"))
    assert answer["headers"]["content-type"] == "text/csv"
    assert [int(line[0]) for line in answer["body"].splitlines()] == [e["label"] for e in trained().expected(rows)]


@pytest.mark.parametrize("wrong", [{"MODEL_DIGEST": "0" * 64}, {"MODEL_URI": "s3://models/none.tar.gz"}])
def test_a_model_that_is_not_there_fails_the_deployment(cloud: dict[str, str], wrong: dict[str, str], tmp_path: Path):
    found = Lambda(**(cloud | wrong | {"MODEL_CACHE": str(tmp_path)}))
    try:
        where, answer = found.answers.get(timeout=20)
        assert where == "init/error"
        assert answer["errorType"]
    finally:
        found.end()
