"""The function endpoint on AWS: a Lambda function behind a load balancer, or an HTTP API (payload format 2.0).

It runs from the image of runtime/serving, as `python -m awslambdaric runtime.aws.endpoint.handler`; MODEL_URI and MODEL_DIGEST
say which model. The model is loaded while the function is initialised: with provisioned concurrency before the first
request, and a model that cannot be loaded fails the deployment, not a request. One request at a time: nothing to batch.

A request that cannot be answered gets a problem document, not an exception, so that the function's error count is that of
failures alone; a failure of the model is answered with 500 and is one more line of severity ERROR.
"""

import base64
import os
import time
from collections.abc import Mapping
from functools import cache
from typing import Any

from runtime.aws import balancer
from runtime.serving import artifact, protocol
from runtime.serving.cache import Blocking, opened
from runtime.serving.log import capture, log, place
from runtime.serving.model import Model
from runtime.serving.protocol import Caller, Refusal
from runtime.serving.settings import Settings
from runtime.serving.signature import InvalidError

ANSWER_BYTES = 6 << 20
"""Lambda takes no larger answer (Lambda quotas, "Invocation payload, synchronous"); a load balancer takes less."""


@cache
def _settings() -> Settings:
    return Settings.of(os.environ)


@cache
def _model() -> Model:
    capture()
    began = time.monotonic()
    model = Model(artifact.locate())
    said = model.signature
    log("model loaded", model=said.name, version=said.version, seconds=round(time.monotonic() - began, 3))
    return model


@cache
def _cache() -> Blocking | None:
    return opened(_settings(), Blocking)


def _predictions(model: Model, rows: list[Any]) -> tuple[list[Any], str]:
    """Predictions, and whether they came from the cache, where there is one; raises InvalidError."""
    kept = _cache()
    key = kept.key(model.signature, rows) if kept else None
    if kept is None or key is None:
        return model.score(rows), ""
    found, outcome = kept.read(key, len(rows))
    if found is None:
        found = model.score(rows)
        if outcome == "miss":
            # What is not stored before the answer may never be: the function is frozen after it.
            kept.store(key, found, _settings().cache_ms / 1000)
    return found, outcome


def _answer(
    event: Mapping[str, Any], headers: Mapping[str, str], model: Model, most: int
) -> tuple[bytes, str, int, str]:
    """Body, content type, number of instances, and whether it came from the cache; raises Refusal."""
    if event.get("version") != "2.0":
        raise Refusal(400, "Events are of the HTTP API's payload format 2.0")
    said = model.signature
    body = event.get("body") or ""
    try:
        sent = base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body.encode()
    except ValueError:
        raise Refusal(400, "The body is not what it is said to be") from None
    media = headers.get("content-type", "")
    rows = protocol.decode(sent, media, said.inputs, _settings().max_instances)
    try:
        found, cached = _predictions(model, rows)
    except InvalidError as error:
        raise protocol.invalid(error) from None
    answer, media = protocol.encode(found, headers.get("accept", ""), media)
    if len(answer) > most:
        raise Refusal(413, "The answer would be too large: send fewer instances")
    return answer, media, len(rows), cached


def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Answer one request; see the module."""
    began = time.perf_counter()
    most = balancer.ANSWER_BYTES if balancer.is_balancers(event) else ANSWER_BYTES
    event = balancer.as_http_api(event)
    sent: Mapping[str, str] = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    caller = Caller.of(sent, fallback=str(event.get("requestContext", {}).get("requestId", "")))
    headers, rows, cause, told = caller.headers(), 0, {}, dict[str, str]()
    try:
        model = _model()
        headers["x-model-version"] = model.signature.version
        body, media, rows, cached = _answer(event, sent, model, most)
        status = 200
        if cached:
            headers["x-cache"] = told["cache"] = cached
    except Refusal as refusal:
        status, body, media = refusal.status, refusal.body(caller.request_id), protocol.PROBLEM
    except Exception as error:  # noqa: BLE001 - the caller gets an answer, whatever it is
        status, media, cause = 500, protocol.PROBLEM, place(error)
        body = Refusal(500).body(caller.request_id)
    log(
        "request",
        "ERROR" if status >= 500 else "INFO",
        trace_id=caller.trace_id,
        request_id=caller.request_id,
        status=status,
        instances=rows,
        ms=round((time.perf_counter() - began) * 1000, 2),
        aws_request_id=getattr(context, "aws_request_id", ""),
        xray=os.environ.get("_X_AMZN_TRACE_ID", ""),
        **told,
        **cause,
    )
    headers["content-type"] = media
    return {"statusCode": status, "headers": headers, "body": body.decode(), "isBase64Encoded": False}


# Set by Lambda while it initialises the function.
if "AWS_LAMBDA_RUNTIME_API" in os.environ:
    _cache()
    _model()
