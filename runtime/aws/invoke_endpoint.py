"""Hands requests from the gateway on to an endpoint of SageMaker, which a load balancer cannot call itself.

`POST` with the body and the content type that the model takes; what the model answers comes back as it is. `ENDPOINT` names the
endpoint, `SECONDS` says how long an answer may take. Neither requests nor answers are logged, and both have 1 MB at most: larger
ones are for callers that have an identity of AWS and call the endpoint themselves.

| what happens | status |
|---|---|
| the model refuses the request (4xx) | the same, with its words |
| the model fails, or does not answer in time | 502, 504 |
| SageMaker has no capacity, or refuses for the rate | 503 with Retry-After, 429 |
"""

import base64
import json
import os
import time
from collections.abc import Mapping
from functools import cache
from typing import Any

import boto3  # pyright: ignore[reportMissingTypeStubs] - its types are made at run time
from botocore.config import Config  # pyright: ignore[reportMissingTypeStubs]
from botocore.exceptions import (  # pyright: ignore[reportMissingTypeStubs]
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    ReadTimeoutError,
)

MOST_BYTES = 1_000_000
"""Of an answer as it is sent, in base64 where it is no text ("Lambda functions as targets")."""
_TEXT = ("application/json", "application/jsonlines", "application/problem+json", "text/")
_STATUS = {
    "ThrottlingException": 429,
    "ServiceUnavailable": 503,
    "ServiceUnavailableException": 503,
    "InternalDependencyException": 503,
}
_MEANING = {
    429: "Too many requests",
    502: "The model failed",
    503: "No capacity at the moment",
    504: "The model took too long",
}


@cache
def _client() -> Any:
    seconds = int(os.environ.get("SECONDS", "60"))
    # One try: who calls knows whether to ask again, and a model may have done its work.
    config = Config(connect_timeout=2, read_timeout=seconds, retries={"total_max_attempts": 1})
    return boto3.client("sagemaker-runtime", config=config)


def _answer(status: int, body: bytes, media: str, request: str, **headers: str) -> dict[str, Any]:
    text = media.startswith(_TEXT)
    return {
        "statusCode": status,
        "headers": {"content-type": media, "x-request-id": request, **headers},
        "body": body.decode(errors="replace") if text else base64.b64encode(body).decode(),
        "isBase64Encoded": not text,
    }


def _problem(status: int, title: str, request: str, **headers: str) -> dict[str, Any]:
    told = {"title": title, "status": status, "request_id": request}
    return _answer(status, json.dumps(told).encode(), "application/problem+json", request, **headers)


def _failed(error: Exception, request: str) -> dict[str, Any]:
    if isinstance(error, ClientError):
        told: Any = error.response
        code = told.get("Error", {}).get("Code", "")
        status = told.get("OriginalStatusCode", 0) if code == "ModelError" else _STATUS.get(code, 502)
        if code == "ModelError" and 400 <= status < 500:
            words = str(told.get("OriginalMessage") or "The model refuses it").encode()
            return _answer(status, words, "application/json" if words[:1] in b"{[" else "text/plain", request)
        status = status if status in _MEANING else 502
    else:
        status = 504 if isinstance(error, ReadTimeoutError) else 503 if isinstance(error, ConnectTimeoutError) else 502
    return _problem(status, _MEANING[status], request, **({"retry-after": "5"} if status in (429, 503) else {}))


def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Hand one request on."""
    began = time.perf_counter()
    headers: dict[str, str] = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    request = headers.get("x-amzn-trace-id") or getattr(context, "aws_request_id", "")
    answer = _handed_on(event, headers, request)
    took = round((time.perf_counter() - began) * 1000, 2)
    line = {"event": "request", "request_id": request, "status": answer["statusCode"], "ms": took}
    print(json.dumps({"severity": "ERROR" if answer["statusCode"] >= 500 else "INFO", **line}))  # noqa: T201
    return answer


def _handed_on(event: Mapping[str, Any], headers: Mapping[str, str], request: str) -> dict[str, Any]:
    if event.get("httpMethod") != "POST":
        return _problem(405, "Requests are sent with POST", request, allow="POST")
    body = event.get("body") or ""
    try:
        sent = base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body.encode()
    except ValueError:
        return _problem(400, "The body is not what it is said to be", request)
    if not sent:
        return _problem(400, "There is no body", request)
    asked = {"ContentType": headers.get("content-type", "application/json")}
    if headers.get("accept", "*/*") != "*/*":
        asked["Accept"] = headers["accept"]
    try:
        said = _client().invoke_endpoint(EndpointName=os.environ["ENDPOINT"], Body=sent, **asked)
        found: bytes = said["Body"].read()
    except (ClientError, BotoCoreError) as error:
        return _failed(error, request)
    made = _answer(200, found, said.get("ContentType") or "application/octet-stream", request)
    if len(made["body"].encode()) > MOST_BYTES:
        return _problem(
            413, "The answer would be too large: send less, or call the endpoint with an identity of AWS", request
        )
    return made
