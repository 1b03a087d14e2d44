"""Makes and rotates generated secrets, when Google Secret Manager says that one was made or that its time has come.

The messages come by a Pub/Sub push subscription: at least once, in any order, and again after anything but a success. So each
may be handled again at any time, after it was done or half-way; what is left is done then, and nothing twice. A value is
never logged or returned. The version before the newest stays valid, for readers that have not asked again; older ones go.

`LENGTHS` maps the id of each secret to its number of characters: `{"acme-ai-dev-request-signing": 48}`. A message that nothing
can be made of, or for a secret that is not in it, is answered with 422; after some attempts it is put with the dead letters.
"""

import base64
import json
import os
import re
import secrets
import string
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from http.client import HTTPConnection, HTTPSConnection
from typing import Any
from urllib.parse import quote

# What shells, connection strings and YAML read as nothing else.
ALPHABET = string.ascii_letters + string.digits + "-_"
CREATED, DUE = "SECRET_CREATE", "SECRET_ROTATE"
# The newest, and the one before it.
KEPT = 2
_SECRET = re.compile(r"projects/[\w-]+/secrets/([\w-]+)")
_TIMEOUT = 20
"""Seconds."""


class RefusedError(Exception):
    """The message is none that this function may act on; to repeat it would not help."""


class ApiError(Exception):
    """An API answered with an error; the message will come again."""


@dataclass(frozen=True)
class Event:
    """What happened to a secret, and when."""

    kind: str
    secret: str
    """`projects/…/secrets/…`."""
    time: datetime


Call = Callable[[str, str, Any], Any]
"""Calls Secret Manager: method, path with its query, and the body where there is one, to the answer."""


def rotate(request: Any) -> tuple[str, int]:
    """Entry point: one message."""
    lengths = json.loads(os.environ["LENGTHS"])
    try:
        event = read(request.get_json(silent=True), lengths)
    except RefusedError as error:
        print(json.dumps({"severity": "ERROR", "message": str(error)}))  # noqa: T201 - how a function logs
        return str(error), 422
    if event is not None:
        handle(event, lengths[event.secret.rpartition("/")[2]], api())
    return "", 204


def read(envelope: Any, lengths: Mapping[str, int]) -> Event | None:
    """The event in a message as Pub/Sub pushes it; none where it is of a kind that asks for nothing.

    Raises RefusedError where it makes no sense.
    """
    try:
        message = envelope["message"]
        attributes = message["attributes"]
        kind = attributes["eventType"]
        if kind not in {CREATED, DUE}:
            return None
        secret = str(attributes["secretId"])
        time = datetime.fromisoformat(attributes.get("timestamp") or message["publishTime"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RefusedError(f"not a message of Secret Manager: {error!r}") from error
    named = _SECRET.fullmatch(secret)
    if named is None or named[1] not in lengths:
        raise RefusedError(f"{secret} is none of the secrets that are generated here")
    if time.tzinfo is None:
        raise RefusedError(f"the event on {secret} does not say in which zone its time is")
    return Event(kind, secret, time)


def handle(event: Event, length: int, call: Call) -> None:
    """Add a version where the event is not answered yet, then let go of what is older than the one before."""
    found = sorted(versions(event.secret, call), key=_made, reverse=True)
    answered = bool(found) and (event.kind == CREATED or _made(found[0]) >= event.time)
    if not answered:
        value = "".join(secrets.choice(ALPHABET) for _ in range(length))
        data = base64.b64encode(value.encode()).decode()
        found.insert(0, call("POST", f"{event.secret}:addVersion", {"payload": {"data": data}}))
    living = [version for version in found if version["state"] != "DESTROYED"]
    for version in living[KEPT:]:
        # One whose destruction is on its way says when.
        if "scheduledDestroyTime" not in version:
            call("POST", f"{version['name']}:destroy", {})


def versions(secret: str, call: Call) -> Iterator[dict[str, Any]]:
    """Every version of a secret, without its value."""
    page = ""
    while True:
        answer = call("GET", f"{secret}/versions?pageSize=250&pageToken={quote(page)}", None)
        yield from answer.get("versions", ())
        page = answer.get("nextPageToken", "")
        if not page:
            return


def _made(version: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(version["createTime"])


def api() -> Call:
    """Secret Manager, as the function's own identity."""
    token: str = _answer(
        HTTPConnection("metadata.google.internal", timeout=_TIMEOUT),
        "GET",
        "/computeMetadata/v1/instance/service-accounts/default/token",
        headers={"Metadata-Flavor": "Google"},
    )["access_token"]

    def call(method: str, path: str, body: Any) -> Any:
        return _answer(
            HTTPSConnection("secretmanager.googleapis.com", timeout=_TIMEOUT),
            method,
            f"/v1/{path}",
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            body=None if body is None else json.dumps(body),
        )

    return call


def _answer(
    connection: HTTPConnection, method: str, path: str, *, headers: Mapping[str, str], body: str | None = None
) -> Any:
    try:
        connection.request(method, path, body=body, headers=dict(headers))
        response = connection.getresponse()
        text = response.read()
    finally:
        connection.close()
    if response.status != 200:
        # The API's words name the permission that is missing; a value is in no answer.
        raise ApiError(f"{method} {path}: {response.status} {text.decode(errors='replace')[:500]}")
    return json.loads(text)
