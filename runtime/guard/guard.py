"""What prompts and answers of a language model of ours pass: a proxy in the model's own pod. `python3 guard.py`.

vLLM listens on the pod's loopback only, so nothing gets there but through here. A prompt is checked before the model sees it, an
answer before anybody does: whole, or where it is streamed piece by piece, each with the end of the one before it, so that the
first words come after some `PIECE` characters and nothing unchecked ever does. What the guardrail stops, or would have masked,
ends with the reason `content_filter`. Where the guardrail or the log does not answer, neither does this: 503.

Only what can be checked goes through: chats and completions of text, one choice, and fields that are known here. GET /health,
/metrics and /v1/models pass as they are.

It runs in the image of vLLM, of which it needs starlette, uvicorn and urllib3, and on AWS boto3. Variables: UPSTREAM, PORT,
GUARDRAIL (ARN of a guardrail of Bedrock, or name of a template of Model Armor; without it nothing is stopped, and all is kept),
GUARDRAIL_VERSION, PROMPT_LOG (where prompts and answers are kept: a folder `s3://…/`, or a table
`projects/…/datasets/…/tables/…`; without it nothing starts), ENDPOINT.
"""

import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import anyio.to_thread
import urllib3
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

Json = dict[str, Any]

PIECE, TAIL = 400, 200
"""Characters of an answer that are checked together, and of what came before that are looked at again."""
PART = 20_000
"""Characters that a guardrail is given at once (Bedrock quotas, ApplyGuardrail: 25 text units of 1,000 a second and more)."""
BODY, THREADS = 4 << 20, 256
PATHS = ("/v1/chat/completions", "/v1/completions")
# What the model reads of a request has to be text that was checked; what only steers it is let through.
READ = ("messages", "prompt", "tools", "response_format", "stop", "suffix")
STEERS = (
    "model", "stream", "stream_options", "max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "min_p", "n",
    "seed", "presence_penalty", "frequency_penalty", "repetition_penalty", "tool_choice", "parallel_tool_calls", "user",
)  # fmt: skip
_LABELS = ("role", "id", "type", "index", "finish_reason")


class Refusal(Exception):  # noqa: N818 - the caller's error, or a service that does not answer
    """A request that is not answered."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


def texts(value: Any, *, names: bool = True) -> Iterator[str]:
    """Every text in a value; in what a model reads, the names of fields too, as of a tool's parameters."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in cast("Json", value).items():
            if names:
                yield key
            if names or key not in _LABELS:
                yield from texts(item, names=names)
    elif isinstance(value, list):
        for item in cast("list[Any]", value):
            yield from texts(item, names=names)


def asked(body: Any) -> str:
    """What the model would read; raises Refusal for what cannot be checked."""
    if not isinstance(body, dict):
        raise Refusal(400, "the body is not an object")
    request = cast("Json", body)
    if unknown := sorted(set(request) - {*READ, *STEERS}):
        raise Refusal(400, f"not let through: {', '.join(unknown)}")
    if request.get("n") not in {None, 1}:
        raise Refusal(400, "one choice at a time")
    prompt = request.get("prompt", "")
    if not isinstance(prompt, str):
        raise Refusal(400, "a prompt is one text")
    for message in cast("list[Any]", request.get("messages") or []):
        parts = cast("Json", message).get("content") if isinstance(message, dict) else None
        if isinstance(parts, list) and any(
            not isinstance(part, dict) or cast("Json", part).get("type") != "text" for part in cast("list[Any]", parts)
        ):
            raise Refusal(400, "only text can be checked")
    return "\n".join(texts({key: request[key] for key in READ if key in request}))


@dataclass(frozen=True)
class Verdict:
    """What a guardrail says."""

    stopped: bool
    message: str = "This was stopped by a guardrail."


Check = Callable[[str, str], Verdict]
Keep = Callable[[Json], None]


def bedrock(guardrail: str, version: str) -> Check:
    """ApplyGuardrail of Amazon Bedrock."""
    import boto3  # noqa: PLC0415 # pyright: ignore - only here

    client: Any = boto3.client("bedrock-runtime")  # pyright: ignore[reportUnknownMemberType]

    def check(text: str, source: str) -> Verdict:
        for start in range(0, len(text), PART - TAIL):
            said = client.apply_guardrail(
                guardrailIdentifier=guardrail,
                guardrailVersion=version,
                source=source,
                content=[{"text": {"text": text[start : start + PART]}}],
            )
            if said["action"] != "NONE":
                # Masked is stopped too: what is left of a text that was masked may be no question any more.
                return Verdict(stopped=True)
        return Verdict(stopped=False)

    return check


_HTTP = urllib3.PoolManager(maxsize=THREADS, retries=urllib3.Retry(2, backoff_factor=0.2, allowed_methods=None))


def _token() -> str:
    metadata = os.environ.get("METADATA_URL", "http://metadata.google.internal")
    path = "/computeMetadata/v1/instance/service-accounts/default/token"
    answer = _HTTP.request("GET", f"{metadata}{path}", headers={"Metadata-Flavor": "Google"}, timeout=5.0)
    return str(answer.json()["access_token"])


def _posted(url: str, body: Json) -> Any:
    answer = _HTTP.request("POST", url, json=body, headers={"Authorization": f"Bearer {_token()}"}, timeout=20.0)
    if answer.status != 200:
        raise OSError(f"{url} answers {answer.status}")
    return answer.json()


def armor(template: str) -> Check:
    """Model Armor of Google Cloud, at its region."""
    location = template.split("/")[3]
    base = os.environ.get("ARMOR_URL", f"https://modelarmor.{location}.rep.googleapis.com")
    calls = {
        "INPUT": ("sanitizeUserPrompt", "userPromptData"),
        "OUTPUT": ("sanitizeModelResponse", "modelResponseData"),
    }

    def check(text: str, source: str) -> Verdict:
        call, field = calls[source]
        for start in range(0, len(text), PART - TAIL):
            said = _posted(f"{base}/v1/{template}:{call}", {field: {"text": text[start : start + PART]}})
            result = said["sanitizationResult"]
            if result.get("invocationResult") != "SUCCESS":
                raise OSError("a filter of the template did not answer")
            if result.get("filterMatchState") != "NO_MATCH_FOUND":
                return Verdict(stopped=True)
        return Verdict(stopped=False)

    return check


def s3(folder: str) -> Keep:
    """An object each, below a folder of a bucket and the hour: whoever writes there need not be able to read."""
    import boto3  # noqa: PLC0415 # pyright: ignore - only here

    client: Any = boto3.client("s3")  # pyright: ignore[reportUnknownMemberType]
    bucket, _, prefix = folder.removeprefix("s3://").partition("/")

    def keep(record: Json) -> None:
        hour = datetime.fromtimestamp(record["time"], UTC).strftime("%Y/%m/%d/%H")
        try:
            client.put_object(
                Bucket=bucket,
                Key=f"{prefix}{hour}/{_named(record)}.json",
                Body=json.dumps(record, ensure_ascii=False).encode(),
                ContentType="application/json",
                # The bucket takes nothing that would be written over something.
                IfNoneMatch="*",
            )
        except client.exceptions.ClientError as error:
            # It was sent twice, and is there.
            if error.response["Error"]["Code"] != "PreconditionFailed":
                raise

    return keep


def bigquery(table: str) -> Keep:
    """A row each, in a table of BigQuery (`tabledata.insertAll`: 10 MB a row)."""
    base = os.environ.get("BIGQUERY_URL", "https://bigquery.googleapis.com")

    def keep(record: Json) -> None:
        nested = {key: json.dumps(record[key], ensure_ascii=False) for key in ("request", "answer") if key in record}
        row = {**record, **nested, "time": datetime.fromtimestamp(record["time"], UTC).isoformat()}
        # What is sent twice has one name, and is there once.
        rows = [{"insertId": _named(record), "json": row}]
        if _posted(f"{base}/bigquery/v2/{table}/insertAll", {"rows": rows}).get("insertErrors"):
            raise OSError("a record was refused")

    return keep


def _named(record: Json) -> str:
    return f"{record['request_id']}-{'answer' if 'answer' in record else 'request'}"


def chosen(environment: Mapping[str, str]) -> tuple[Check, Keep]:
    """The guardrail and the log that the variables name."""
    guardrail, log = environment.get("GUARDRAIL"), environment["PROMPT_LOG"]
    if guardrail is None:
        check = _passing
    elif guardrail.startswith("arn:"):
        check = bedrock(guardrail, environment["GUARDRAIL_VERSION"])
    else:
        check = armor(guardrail)
    return check, s3(log) if log.startswith("s3://") else bigquery(log)


def _passing(text: str, source: str) -> Verdict:  # noqa: ARG001
    """Where there is no guardrail."""
    return Verdict(stopped=False)


class Guard:
    """The proxy."""

    def __init__(self, upstream: str, check: Check, keep: Keep) -> None:
        """Nothing is asked yet."""
        self.upstream, self.check, self.keep = upstream, check, keep

    def app(self) -> Starlette:
        """As ASGI."""
        routes = [Route(path, self._passed, methods=["GET"]) for path in ("/health", "/metrics", "/v1/models")]
        return Starlette(routes=[*routes, *(Route(path, self._answer, methods=["POST"]) for path in PATHS)])

    async def _passed(self, request: Request) -> Response:
        def get() -> Response:
            answer = _HTTP.request("GET", self.upstream + request.url.path, timeout=10.0, retries=False)
            return Response(answer.data, answer.status, media_type=answer.headers.get("content-type"))

        try:
            return await run_in_threadpool(get)
        except urllib3.exceptions.HTTPError:
            return Response(status_code=503)

    async def _answer(self, request: Request) -> Response:
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        data = bytearray()
        async for part in request.stream():
            data += part
            if len(data) > BODY:
                return _problem(Refusal(413, f"{BODY} bytes at most"))
        try:
            body = json.loads(bytes(data))
        except ValueError:
            return _problem(Refusal(400, "the body is not JSON"))
        try:
            return await run_in_threadpool(self._guarded, request.url.path, body)
        except Refusal as refusal:
            return _problem(refusal)
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing unchecked leaves; nor does what was asked
            sys.stdout.write(json.dumps({"severity": "ERROR", "event": "guard", "error": type(error).__name__}) + "\n")
            return _problem(Refusal(503, "what checks prompts does not answer"))

    def _guarded(self, path: str, body: Any) -> Response:
        prompt = asked(body)
        record: Json = {
            "time": time.time(), "endpoint": os.environ.get("ENDPOINT", ""), "request_id": secrets.token_hex(16),
            "request": body,
        }  # fmt: skip
        verdict = self.check(prompt, "INPUT")
        if verdict.stopped:
            self.keep({**record, "stopped": "prompt"})
            return _stopped(path, body, record["request_id"], verdict)
        # Kept before the model is asked: whatever happens then, what was asked is there.
        self.keep({**record, "stopped": None})
        answer = _HTTP.request(
            "POST", self.upstream + path, json=body, preload_content=False, retries=False,
            timeout=urllib3.Timeout(connect=5, read=600),
        )  # fmt: skip
        if answer.status != 200:
            # Of a refusal of vLLM's the caller learns the status: its words may repeat what was asked, which is theirs.
            return Response(answer.data, answer.status, media_type="application/json")
        if body.get("stream"):
            pieces = self._pieces(path, answer, record)
            return StreamingResponse(pieces, media_type="text/event-stream")
        whole = json.loads(answer.data)
        verdict = self.check("".join(texts(whole.get("choices"), names=False)), "OUTPUT")
        self.keep({**_of(record), "answer": whole.get("choices"), "stopped": "answer" if verdict.stopped else None})
        return _stopped(path, body, record["request_id"], verdict) if verdict.stopped else JSONResponse(whole)

    def _pieces(self, path: str, answer: urllib3.BaseHTTPResponse, record: Json) -> Iterator[bytes]:
        """Events of a stream, held back until what they say was checked."""
        held, said, seen = list[bytes](), "", ""
        try:
            for event in _events(answer):
                held.append(b"data: " + event + b"\n\n")
                if event != b"[DONE]":
                    said += "".join(texts(json.loads(event).get("choices"), names=False))
                if event == b"[DONE]" or len(said) >= PIECE:
                    if said and self.check(seen[-TAIL:] + said, "OUTPUT").stopped:
                        self.keep({**_of(record), "answer": seen + said, "stopped": "answer"})
                        yield _end(path, "content_filter")
                        return
                    if event == b"[DONE]":
                        self.keep({**_of(record), "answer": seen + said, "stopped": None})
                    yield from held
                    held, seen, said = [], seen + said, ""
        except Exception as error:  # noqa: BLE001 - the caller sees an end that says so, and nothing unchecked
            line = {"severity": "ERROR", "event": "guard", "error": type(error).__name__}
            sys.stdout.write(json.dumps(line) + "\n")
            yield _end(path, "error")
        finally:
            answer.close()


def _of(record: Json) -> Json:
    return {key: record[key] for key in ("time", "endpoint", "request_id")}


def _events(answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """The data of server-sent events, as vLLM sends them: one line each."""
    rest = b""
    for chunk in answer.stream(65536):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line[6:].strip() for line in lines if line.startswith(b"data: "))


def _choice(path: str, reason: str, text: str, key: str) -> Json:
    content: Json = {"text": text} if path == PATHS[1] else {key: {"role": "assistant", "content": text}}
    return {"index": 0, "finish_reason": reason, **content}


def _end(path: str, reason: str) -> bytes:
    last = {"choices": [_choice(path, reason, "", "delta")]}
    return b"data: " + json.dumps(last).encode() + b"\n\ndata: [DONE]\n\n"


def _stopped(path: str, body: Json, request_id: str, verdict: Verdict) -> Response:
    made = {"id": request_id, "created": int(time.time()), "model": body.get("model", "")}
    if not body.get("stream"):
        kind = "text_completion" if path == PATHS[1] else "chat.completion"
        choice = _choice(path, "content_filter", verdict.message, "message")
        return JSONResponse({**made, "object": kind, "choices": [choice]})
    first = {**made, "choices": [_choice(path, "content_filter", verdict.message, "delta")]}
    content = b"data: " + json.dumps(first).encode() + b"\n\ndata: [DONE]\n\n"
    return Response(content, media_type="text/event-stream")


def _problem(refusal: Refusal) -> Response:
    error = {"message": str(refusal), "type": "guard", "code": refusal.status}
    return JSONResponse({"error": error}, refusal.status)


if __name__ == "__main__":
    guard = Guard(os.environ["UPSTREAM"], *chosen(os.environ))
    uvicorn.run(
        guard.app(),
        host="0.0.0.0",  # noqa: S104 - a pod is reached from outside
        port=int(os.environ["PORT"]),
        access_log=False,
        log_level="warning",
        timeout_keep_alive=620,
        timeout_graceful_shutdown=90,
    )
