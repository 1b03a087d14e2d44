"""Answers questions with passages from one corpus, to those who may read it.

`POST …/corpora/{corpus}/query` with `{"query": "…", "results": 5}`; it is answered with
`{"request_id": "…", "corpus": "policies", "results": [{"text": "…", "source": "travel.pdf", "score": 0.7}], "withheld": 0}`, best
first. A corpus that the caller may not read and one that there is not are answered alike. A store belongs to one corpus, and
a passage that nevertheless lies in the folder of another is kept back.

Nobody may call this but through Cloud Run's own check (`roles/run.invoker`, never `allUsers`). It leaves the caller's token, less
its signature, in the header that it checked. The caller is either the API gateway (`GATEWAY`, its service account), which says
in another header whose token it has verified, so that the groups in it count; or a service account that counts itself.

Where a corpus has a template of Model Armor, the question passes it before the search, and each passage after it: as a prompt,
for it goes into one, and as a response, for it leaves the house. A passage that it blocks is withheld and counted, one from
which it takes sensitive data goes on without. Where Model Armor does not answer, or not in full, nobody does.

`GROUPS_CLAIM` is the claim with the caller's groups, and `CORPORA` says of each corpus:
`{"policies": {"collection": "projects/acme/locations/us-central1/collections/acme-dev-policies", "groups": ["claims"],
"accounts": ["assistant@acme.iam.gserviceaccount.com"], "guardrail": "projects/acme/locations/us-central1/templates/default"}}`.
A corpus in a database has other words for its store (`retrieval_stores`). No guardrail is `null`. Neither questions nor
passages are logged.
"""

import base64
import json
import os
import re
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from runtime.gcp.retrieval_rest import ApiError, Google
from runtime.gcp.retrieval_stores import opened

LONGEST = 1000
"""Characters of a question."""
MOST, USUAL = 20, 5
"""Passages in an answer, at most and where the question does not say."""
BODY = 16 * 1024
"""Bytes of a request."""
_FIELDS = {"UserPrompt": "userPromptData", "ModelResponse": "modelResponseData"}
_PATH = re.compile(r".*/corpora/([^/]+)/query")


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


@dataclass(frozen=True)
class Caller:
    """Who asks, as far as it is certain."""

    account: str = ""
    """Service account; empty for a person who came through the gateway."""
    subject: str = ""
    """The person, for the log."""
    groups: frozenset[str] = frozenset()

    def may_read(self, corpus: Mapping[str, Any]) -> bool:
        """Whether it is among the readers of a corpus."""
        return (bool(self.account) and self.account in corpus["accounts"]) or not self.groups.isdisjoint(
            corpus["groups"]
        )


def query(request: Any) -> tuple[str, int, dict[str, str]]:
    """Entry point: one request."""
    begin = time.monotonic()
    number = str(uuid.uuid4())
    told: dict[str, Any] = {"request_id": number}
    corpora: dict[str, dict[str, Any]] = json.loads(os.environ["CORPORA"])
    try:
        status, body = 200, answer(request, corpora, told)
    except RefusedError as error:
        status, body = error.status, {"error": str(error)}
    except ApiError as error:
        told["cause"] = str(error)
        status, body = (429, {"error": "busy"}) if error.status == 429 else (503, {"error": "not available"})
    severity = "INFO" if status < 500 else "ERROR"
    told |= {"severity": severity, "status": status, "seconds": round(time.monotonic() - begin, 3)}
    print(json.dumps(told))  # noqa: T201 - the log
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    if status in {429, 503}:
        headers["Retry-After"] = "1"
    return json.dumps({"request_id": number} | body), status, headers


def answer(request: Any, corpora: Mapping[str, Mapping[str, Any]], told: dict[str, Any]) -> dict[str, Any]:
    """The passages that answer a question; `told` takes what may be logged. Raises RefusedError or ApiError."""
    found = _PATH.fullmatch(request.path)
    if found is None or request.method != "POST":
        raise RefusedError(404, "ask by POST …/corpora/{corpus}/query")
    name = found[1]
    corpus, caller = corpora.get(name), known(request.headers)
    if corpus is None or not caller.may_read(corpus):
        raise RefusedError(403, "there is no such corpus, or you may not read it")
    told |= {"corpus": name, "caller": caller.account or caller.subject}
    question = asked(request)
    google = Google()
    armor = Armor(google, corpus["guardrail"]) if corpus["guardrail"] else None
    text = question.text
    if armor is not None:
        passed = armor.passed("UserPrompt", text)
        if passed is None:
            raise RefusedError(422, "the question was blocked")
        text = passed
    with opened(google, corpus) as store:
        results = store.search(text, question.results)
    own = f"documents/{name}/"
    mine = [passage for passage in results if passage["source"].startswith(own)]
    if len(mine) < len(results):
        told["foreign"] = len(results) - len(mine)
    checked = zip(mine, _checked(armor, [passage["text"] for passage in mine]), strict=True)
    given = [
        passage | {"text": text, "source": passage["source"].removeprefix(own)}
        for passage, text in checked
        if text is not None
    ]
    told |= {"results": len(given), "withheld": len(results) - len(given)}
    return {"corpus": name, "results": given, "withheld": len(results) - len(given)}


def known(headers: Mapping[str, str]) -> Caller:
    """The caller, by the header that Cloud Run checked.

    Where there is `X-Serverless-Authorization`, Cloud Run checks that and passes the other one on as it is ("Authenticating
    service-to-service"): what `Authorization` says is worth nothing then.
    """
    checked = headers.get("X-Serverless-Authorization") or headers.get("Authorization") or ""
    token = _decoded(checked.removeprefix("Bearer ").split(".")[1:2])
    account = token.get("email")
    if not isinstance(account, str) or not account or token.get("email_verified") is not True:
        return Caller()
    if account != os.environ["GATEWAY"]:
        return Caller(account=account)
    # Only the gateway's word counts here: whoever else calls could write this header as well.
    claims = _decoded([headers.get("X-Apigateway-Api-Userinfo") or ""])
    groups = claims.get(os.environ["GROUPS_CLAIM"], [])
    listed = groups if isinstance(groups, list) else [groups]
    return Caller(
        subject=str(claims.get("sub", "")), groups=frozenset(group for group in listed if isinstance(group, str))
    )


def _decoded(parts: list[str]) -> dict[str, Any]:
    """The claims in a part of a token; none where it is no such part."""
    try:
        found = json.loads(base64.urlsafe_b64decode(parts[0] + "=" * (-len(parts[0]) % 4)))
    except (IndexError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def asked(request: Any) -> Question:
    """The question in a request; raises RefusedError where there is none, or too much of it."""
    if (request.content_length or 0) > BODY:
        raise RefusedError(413, f"a request has at most {BODY} bytes")
    try:
        given = json.loads(request.get_data()[: BODY + 1])
    except (ValueError, RecursionError):
        raise RefusedError(400, "the body is no JSON") from None
    if not isinstance(given, dict) or not {"query"} <= set(given) <= {"query", "results"}:
        raise RefusedError(400, "the body has `query`, may have `results`, and nothing else")
    text, results = given["query"], given.get("results", USUAL)
    if not isinstance(text, str) or not text.strip() or len(text) > LONGEST:
        raise RefusedError(400, f"`query` is a text of 1 to {LONGEST} characters")
    if not isinstance(results, int) or isinstance(results, bool) or not 1 <= results <= MOST:
        raise RefusedError(400, f"`results` is a number from 1 to {MOST}")
    return Question(text, results)


class Armor:
    """A template of Model Armor."""

    def __init__(self, google: Google, template: str) -> None:
        self._google, self._template = google, template
        # The templates of a region are known to its own endpoint alone.
        self._host = f"modelarmor.{template.split('/')[3]}.rep.googleapis.com"

    def passed(self, side: str, text: str) -> str | None:
        """A text as it may go on, without what the template takes out; None where it must not. Raises ApiError."""
        body = {_FIELDS[side]: {"text": text}}
        said = self._google.call("POST", self._host, f"/v1/{self._template}:sanitize{side}", body)["sanitizationResult"]
        if said.get("invocationResult") != "SUCCESS":
            raise ApiError(0, f"sanitize{side}: {said.get('invocationResult')}")
        if said["filterMatchState"] == "NO_MATCH_FOUND":
            return text
        matched = [inner for outer in said["filterResults"].values() for inner in outer.values() if _matches(inner)]
        # Sensitive data that was found and taken out is the only match that a text passes with.
        cleaned = [inner.get("deidentifyResult", {}).get("data", {}).get("text") for inner in matched]
        return cleaned[0] if len(cleaned) == 1 else None


def _matches(result: Any) -> bool:
    """Whether a filter found something; one that does not say counts as if it had."""
    inner = result.get("deidentifyResult") or result.get("inspectResult") or result
    return inner.get("matchState") != "NO_MATCH_FOUND"


def _checked(armor: Armor | None, texts: list[str]) -> list[str | None]:
    """Texts as they may go on, all at once."""
    if armor is None or not texts:
        return list(texts)

    def check(text: str) -> str | None:
        entering = armor.passed("UserPrompt", text)
        return None if entering is None else armor.passed("ModelResponse", entering)

    with ThreadPoolExecutor(max_workers=min(len(texts), 10)) as pool:
        return list(pool.map(check, texts))
