"""Answers questions with passages from one corpus, to those who may read it.

`POST …/corpora/{corpus}/query` of an HTTP API (payload 2.0), with `{"query": "…", "results": 5}`; it is answered with
`{"request_id": "…", "corpus": "policies", "results": [{"text": "…", "source": "travel.pdf", "score": 0.7}], "withheld": 0}`, best
first. Who asks is what the API has made sure of: groups in a token (JWT authorizer), or a role (IAM authorizer). A corpus that
the caller may not read and one that there is not are answered alike. A knowledge base belongs to one corpus, and a passage that
nevertheless lies in the folder of another is kept back.

Where a corpus has a guardrail, the question passes it before the search, and each passage after it: as input, for it goes into a
prompt, and as output, for it leaves the house. A passage that it blocks is withheld and counted, one that it masks is masked.
Where the guardrail does not answer, nobody does.

`BUCKET` holds the documents, `GROUPS_CLAIM` is the claim with the caller's groups, and `CORPORA` says of each corpus:
`{"policies": {"knowledge_base": "ABCDEFGHIJ", "groups": ["claims"], "roles": ["arn:aws:iam::123456789012:role/assistant"],
"guardrail": {"id": "abcdefghijkl", "version": "1"}}}`. No guardrail is `null`. Neither questions nor passages are logged.
"""

import base64
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import boto3  # pyright: ignore[reportMissingTypeStubs] - its types are made at run time
from botocore.config import Config  # pyright: ignore[reportMissingTypeStubs]
from botocore.exceptions import BotoCoreError, ClientError  # pyright: ignore[reportMissingTypeStubs]

LONGEST = 1000
"""Characters of a question: one text unit of a guardrail ("Amazon Bedrock pricing": up to 1,000 characters)."""
MOST, USUAL = 20, 5
"""Passages in an answer, at most and where the question does not say."""
BODY = 16 * 1024
"""Bytes of a request."""
BUSY = {"ThrottlingException", "TooManyRequestsException", "ServiceQuotaExceededException"}
_ROLE = re.compile(r"arn:([\w-]+):sts::(\d+):assumed-role/([^/]+)/.+")


class RefusedError(Exception):
    """The question is not answered; says with which status, and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True)
class Question:
    """What was asked."""

    text: str
    results: int


@cache
def _clients() -> tuple[Any, Any]:
    # A caller waits: better an early answer that it is busy.
    swift = Config(retries={"mode": "standard", "total_max_attempts": 2}, connect_timeout=2, read_timeout=10)
    return boto3.client("bedrock-agent-runtime", config=swift), boto3.client("bedrock-runtime", config=swift)


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001 - the signature is Lambda's
    """Answer one request."""
    begin = time.monotonic()
    request = str(event["requestContext"]["requestId"])
    told: dict[str, Any] = {"request_id": request}
    corpora: dict[str, dict[str, Any]] = json.loads(os.environ["CORPORA"])
    try:
        status, body = 200, answer(event, corpora, told)
    except RefusedError as error:
        status, body = error.status, {"error": str(error)}
    except (ClientError, BotoCoreError) as error:
        # By its code alone: its words may repeat what was sent.
        told["cause"] = code = (
            error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
        )
        busy = code in BUSY
        status, body = (429, {"error": "busy"}) if busy else (503, {"error": "not available"})
    print(json.dumps(told | {"status": status, "seconds": round(time.monotonic() - begin, 3)}))  # noqa: T201 - the log
    headers = {"content-type": "application/json", "cache-control": "no-store"}
    if status in {429, 503}:
        headers["retry-after"] = "1"
    return {"statusCode": status, "headers": headers, "body": json.dumps({"request_id": request} | body)}


def answer(event: Mapping[str, Any], corpora: Mapping[str, Mapping[str, Any]], told: dict[str, Any]) -> dict[str, Any]:
    """The passages that answer a question; `told` takes what may be logged. Raises RefusedError, or what Bedrock says."""
    name = (event.get("pathParameters") or {}).get("corpus", "")
    corpus = corpora.get(name)
    if corpus is None or not may_read(event, corpus):
        raise RefusedError(403, "there is no such corpus, or you may not read it")
    told |= {"corpus": name, "caller": _caller(event)}
    question = asked(event)
    search, guard = _clients()
    guardrail = Guardrail(guard, corpus["guardrail"]) if corpus["guardrail"] else None
    text = question.text
    if guardrail is not None:
        passed = guardrail.passed("INPUT", text)
        if passed is None:
            raise RefusedError(422, "the question was blocked")
        text = passed
    found = search.retrieve(
        knowledgeBaseId=corpus["knowledge_base"],
        retrievalQuery={"text": text},
        retrievalConfiguration={"vectorSearchConfiguration": {"numberOfResults": question.results}},
    )["retrievalResults"]
    own = f"s3://{os.environ['BUCKET']}/documents/{name}/"
    mine = [passage for passage in map(_passage, found) if passage["source"].startswith(own)]
    if len(mine) < len(found):
        told["foreign"] = len(found) - len(mine)
    results: list[dict[str, Any]] = []
    for passage, checked in zip(mine, _checked(guardrail, [passage["text"] for passage in mine]), strict=True):
        if checked is not None:
            results.append(passage | {"text": checked, "source": passage["source"].removeprefix(own)})
    told |= {"results": len(results), "withheld": len(found) - len(results)}
    return {"corpus": name, "results": results, "withheld": len(found) - len(results)}


def may_read(event: Mapping[str, Any], corpus: Mapping[str, Any]) -> bool:
    """Whether the caller is among the readers of a corpus, by what the API made sure of."""
    known = event["requestContext"].get("authorizer") or {}
    if "jwt" in known:
        return not _groups(event, known["jwt"]["claims"]).isdisjoint(corpus["groups"])
    if "iam" in known:
        role = _ROLE.fullmatch(known["iam"].get("userArn") or "")
        # A session names its role without the role's path.
        return role is not None and f"arn:{role[1]}:iam::{role[2]}:role/{role[3]}" in corpus["roles"]
    return False


def _groups(event: Mapping[str, Any], claims: Mapping[str, Any]) -> set[str]:
    """The groups in the token that the authorizer has verified.

    The authorizer hands a list on as one text, `[a b]`, in which a group `a b` looks like two. So the list is taken from the
    token itself, once it is certain that it is the same one.
    """
    claim = os.environ["GROUPS_CLAIM"]
    try:
        token = event["headers"]["authorization"].removeprefix("Bearer ").split(".")
        payload = json.loads(base64.urlsafe_b64decode(token[1] + "=" * (-len(token[1]) % 4)))
        if any(str(payload.get(name)) != str(claims.get(name)) for name in ("iss", "sub", "jti")):
            return set()
        groups = payload.get(claim, [])
    except (KeyError, IndexError, ValueError, AttributeError, RecursionError):
        return set()
    listed = groups if isinstance(groups, list) else [groups]
    return {group for group in listed if isinstance(group, str)}


def _caller(event: Mapping[str, Any]) -> Any:
    """Who asks, for the log."""
    known = event["requestContext"]["authorizer"]
    return known["jwt"]["claims"].get("sub") if "jwt" in known else known["iam"]["userArn"]


def asked(event: Mapping[str, Any]) -> Question:
    """The question in a request; raises RefusedError where there is none, or too much of it."""
    body = event.get("body") or ""
    if len(body) > BODY:
        raise RefusedError(413, f"a request has at most {BODY} bytes")
    try:
        given = json.loads(base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body)
    except (ValueError, RecursionError):
        raise RefusedError(400, "the body is no JSON") from None
    return parsed(given)


def parsed(given: Any) -> Question:
    """The question in a body; raises RefusedError."""
    if not isinstance(given, dict) or not {"query"} <= set(given) <= {"query", "results"}:
        raise RefusedError(400, "the body has `query`, may have `results`, and nothing else")
    text, results = given["query"], given.get("results", USUAL)
    if not isinstance(text, str) or not text.strip() or len(text) > LONGEST:
        raise RefusedError(400, f"`query` is a text of 1 to {LONGEST} characters")
    if not isinstance(results, int) or isinstance(results, bool) or not 1 <= results <= MOST:
        raise RefusedError(400, f"`results` is a number from 1 to {MOST}")
    return Question(text, results)


class Guardrail:
    """A version of a guardrail."""

    def __init__(self, client: Any, named: Mapping[str, str]) -> None:
        self._client = client
        self._named = {"guardrailIdentifier": named["id"], "guardrailVersion": named["version"]}

    def passed(self, source: str, text: str) -> str | None:
        """A text as it may go on, masked where the guardrail masks; None where it must not."""
        said = self._client.apply_guardrail(**self._named, source=source, content=[{"text": {"text": text}}])
        if said["action"] == "NONE":
            return text
        actions = set(_actions(said["assessments"]))
        # Blocked and masked look the same but for what each filter did.
        masked = actions - {"NONE"} == {"ANONYMIZED"} and said.get("outputs")
        return said["outputs"][0]["text"] if masked else None


def _actions(assessments: Any) -> Iterator[str]:
    """What each filter did, wherever it says so."""
    if isinstance(assessments, dict):
        if isinstance(action := assessments.get("action"), str):
            yield action
        assessments = list(assessments.values())
    if isinstance(assessments, list):
        for part in assessments:
            yield from _actions(part)


def _checked(guardrail: Guardrail | None, texts: list[str]) -> list[str | None]:
    """Texts as they may go on, all at once."""
    if guardrail is None or not texts:
        return list(texts)

    def check(text: str) -> str | None:
        entering = guardrail.passed("INPUT", text)
        return None if entering is None else guardrail.passed("OUTPUT", entering)

    with ThreadPoolExecutor(max_workers=min(len(texts), 10)) as pool:
        return list(pool.map(check, texts))


def _passage(result: Mapping[str, Any]) -> dict[str, Any]:
    """A passage as it is answered, with its whole address."""
    source = result.get("location", {}).get("s3Location", {}).get("uri", "")
    return {"text": result["content"].get("text", ""), "source": source, "score": result.get("score")}
