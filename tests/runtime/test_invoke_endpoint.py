"""What hands requests on to SageMaker, with answers and failures as SageMaker's API sends them."""

import base64
import io
import json
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, ReadTimeoutError  # pyright: ignore[reportMissingTypeStubs]
from botocore.response import StreamingBody  # pyright: ignore[reportMissingTypeStubs]

from runtime.aws import invoke_endpoint

CONTEXT = SimpleNamespace(aws_request_id="request-1")
SENT = "4000123412341234"


class Runtime:
    """SageMaker's runtime: what it was asked, and what it says."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.says: Any = (b'{"predictions": [1]}', "application/json")

    def invoke_endpoint(self, **asked: Any) -> dict[str, Any]:
        self.asked.append(asked)
        if isinstance(self.says, Exception):
            raise self.says
        body, media = self.says
        return {"Body": StreamingBody(io.BytesIO(body), len(body)), "ContentType": media}


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Runtime:
    made = Runtime()
    monkeypatch.setenv("ENDPOINT", "acme-ai-dev-fraud")
    monkeypatch.setattr(invoke_endpoint, "_client", lambda: made)
    return made


def event(body: str = SENT, **changes: Any) -> dict[str, Any]:
    headers = {"content-type": "text/csv", "x-amzn-trace-id": "Root=1-2"}
    return {"httpMethod": "POST", "headers": headers, "body": body, "isBase64Encoded": False, **changes}


def failed(code: str, **more: Any) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": SENT}, **more}, "InvokeEndpoint")  # pyright: ignore[reportArgumentType]


def test_a_request_is_handed_on_as_it_is(runtime: Runtime):
    answer = invoke_endpoint.handler(event(), CONTEXT)
    assert runtime.asked == [{"EndpointName": "acme-ai-dev-fraud", "Body": SENT.encode(), "ContentType": "text/csv"}]
    assert (answer["statusCode"], answer["body"], answer["isBase64Encoded"]) == (200, '{"predictions": [1]}', False)
    assert answer["headers"] == {"content-type": "application/json", "x-request-id": "Root=1-2"}


def test_what_is_no_text_goes_both_ways(runtime: Runtime):
    runtime.says = (b"\x93NUMPY\xff", "application/x-npy")
    sent = base64.b64encode(b"\x00\xff").decode()
    asked = {"content-type": "application/x-npy", "accept": "application/x-npy"}
    answer = invoke_endpoint.handler(event(sent, isBase64Encoded=True, headers=asked), CONTEXT)
    assert runtime.asked[0]["Body"] == b"\x00\xff"
    assert runtime.asked[0]["Accept"] == "application/x-npy"
    assert answer["isBase64Encoded"] is True
    assert base64.b64decode(answer["body"]) == b"\x93NUMPY\xff"
    assert answer["headers"]["x-request-id"] == "request-1"


@pytest.mark.parametrize(
    ("told", "status"),
    [
        (event(httpMethod="GET"), 405),
        (event(""), 400),
        (event("no base 64!", isBase64Encoded=True), 400),
        ({"source": "aws.events"}, 405),
    ],
)
def test_what_is_wrong_is_not_handed_on(runtime: Runtime, told: dict[str, Any], status: int):
    answer = invoke_endpoint.handler(told, CONTEXT)
    assert (answer["statusCode"], answer["headers"]["content-type"]) == (status, "application/problem+json")
    assert not runtime.asked


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (failed("ThrottlingException"), 429),
        (failed("ServiceUnavailable"), 503),
        (failed("InternalDependencyException"), 503),
        (failed("ModelError", OriginalStatusCode=500, OriginalMessage=SENT), 502),
        (failed("ModelNotReadyException"), 502),
        (failed("AccessDeniedException"), 502),
        (ReadTimeoutError(endpoint_url="https://runtime"), 504),
        (ConnectTimeoutError(endpoint_url="https://runtime"), 503),
    ],
)
def test_a_failure_says_whose_it_is_and_nothing_else(
    runtime: Runtime, error: Exception, status: int, capsys: pytest.CaptureFixture[str]
):
    runtime.says = error
    answer = invoke_endpoint.handler(event(), CONTEXT)
    assert answer["statusCode"] == status
    assert ("retry-after" in answer["headers"]) == (status in (429, 503))
    assert SENT not in json.dumps(answer)
    [line] = capsys.readouterr().out.splitlines()
    assert json.loads(line)["severity"] == ("ERROR" if status >= 500 else "INFO")
    assert SENT not in line


def test_a_model_that_refuses_is_heard(runtime: Runtime):
    words = '{"title": "amount is missing", "status": 422}'
    runtime.says = failed("ModelError", OriginalStatusCode=422, OriginalMessage=words)
    answer = invoke_endpoint.handler(event(), CONTEXT)
    assert (answer["statusCode"], answer["body"]) == (422, words)
    assert answer["headers"]["content-type"] == "application/json"


def test_an_answer_that_a_load_balancer_does_not_take_is_said_to_be_too_large(runtime: Runtime):
    runtime.says = (b"\x00" * 800_000, "application/octet-stream")
    answer = invoke_endpoint.handler(event(), CONTEXT)
    assert answer["statusCode"] == 413
    runtime.says = (b"1" * 800_000, "text/csv")
    assert invoke_endpoint.handler(event(), CONTEXT)["statusCode"] == 200


def test_a_request_is_made_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    monkeypatch.setenv("SECONDS", "7")
    invoke_endpoint._client.cache_clear()  # pyright: ignore[reportPrivateUsage]
    config = invoke_endpoint._client().meta.config  # pyright: ignore[reportPrivateUsage]
    invoke_endpoint._client.cache_clear()  # pyright: ignore[reportPrivateUsage]
    assert config.read_timeout == 7
    assert config.retries["total_max_attempts"] == 1
