"""The rotation function against Secret Manager's own protocol: repeated, interrupted, late and poisoned messages.

A server in memory answers as the REST API does (v1, projects.secrets.versions), page by page, newest first.
"""

import base64
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from runtime.gcp import secret_rotation
from runtime.gcp.secret_rotation import ALPHABET, ApiError, RefusedError, read, rotate

NAME = "acme-ai-dev-request-signing"
SECRET = f"projects/444444444444/secrets/{NAME}"
LENGTHS = {NAME: 48}
START = datetime(2026, 11, 1, tzinfo=UTC)


class SecretManager:
    """Versions of secrets, what was asked, and faults to come."""

    def __init__(self) -> None:
        self.now = START
        self.page = 2
        self.secrets: dict[str, list[dict[str, Any]]] = {SECRET: []}
        self.values: list[str] = []
        self.asked: list[str] = []
        self.hosts: list[str] = []
        self.faults: dict[str, int] = {}
        """Part of a path to the status that the next call to it is answered with."""
        self.delay: timedelta | None = None
        """How long a destroyed version can be had back."""

    def answer(self, method: str, path: str, headers: Any, body: Any) -> tuple[int, Any]:
        if path.startswith("/computeMetadata/"):
            return (200, {"access_token": "t0k3n"}) if headers["Metadata-Flavor"] == "Google" else (403, {})
        if headers["Authorization"] != "Bearer t0k3n":
            return 401, {}
        url = urlsplit(path.removeprefix("/v1/"))
        self.asked.append(f"{method} {url.path}")
        for part in [part for part in self.faults if part in url.path]:
            return self.faults.pop(part), {"error": {"status": "FAULT"}}
        name, _, action = url.path.partition(":")
        secret = "/".join(name.split("/")[:4])
        if secret not in self.secrets:
            return 404, {"error": {"status": "NOT_FOUND"}}
        if method == "GET":
            return self.versions(secret, parse_qs(url.query))
        return self.add(secret, body) if action == "addVersion" else self.destroy(secret, name)

    def versions(self, secret: str, query: dict[str, list[str]]) -> tuple[int, Any]:
        newest = self.secrets[secret][::-1]
        begin = int(query.get("pageToken", ["0"])[0] or 0)
        page = {"versions": newest[begin : begin + self.page]} if newest else {}
        more = {"nextPageToken": str(begin + self.page)} if begin + self.page < len(newest) else {}
        return 200, page | more

    def add(self, secret: str, body: Any) -> tuple[int, Any]:
        self.now += timedelta(seconds=1)
        self.values.append(base64.b64decode(body["payload"]["data"], validate=True).decode())
        version = {
            "name": f"{secret}/versions/{len(self.secrets[secret]) + 1}",
            "createTime": self.now.isoformat().replace("+00:00", "Z"),
            "state": "ENABLED",
        }
        self.secrets[secret].append(version)
        return 200, version

    def destroy(self, secret: str, name: str) -> tuple[int, Any]:
        (version,) = [v for v in self.secrets[secret] if v["name"] == name]
        if version["state"] == "DESTROYED" or "scheduledDestroyTime" in version:
            return 400, {"error": {"status": "FAILED_PRECONDITION"}}
        if self.delay:
            version |= {"state": "DISABLED", "scheduledDestroyTime": (self.now + self.delay).isoformat()}
        else:
            version["state"] = "DESTROYED"
        return 200, version

    @property
    def states(self) -> list[str]:
        return [v["state"] for v in self.secrets[SECRET]]


class Request:
    """What the runtime hands to the function: Flask's request, as far as it is used."""

    def __init__(self, body: Any) -> None:
        self.body = body

    def get_json(self, *, silent: bool) -> Any:
        assert silent  # else what is no JSON would be answered with a page of HTML
        return self.body


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[SecretManager]:
    fake = SecretManager()

    class Handler(BaseHTTPRequestHandler):
        def respond(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length)) if length else None
            status, answer = fake.answer(self.command, self.path, self.headers, body)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        do_GET = do_POST = respond  # noqa: N815 - the base class calls them so

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class calls it so
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()

    def connection(host: str, timeout: int) -> HTTPConnection:
        assert timeout
        fake.hosts.append(host)
        return HTTPConnection("127.0.0.1", server.server_port, timeout=5)

    monkeypatch.setattr(secret_rotation, "HTTPConnection", connection)
    monkeypatch.setattr(secret_rotation, "HTTPSConnection", connection)
    monkeypatch.setenv("LENGTHS", json.dumps(LENGTHS))
    yield fake
    server.shutdown()
    thread.join()
    server.server_close()


def message(kind: str, time: datetime, name: str = SECRET, **attributes: str) -> dict[str, Any]:
    """A message as Pub/Sub pushes what Secret Manager published."""
    given = {"eventType": kind, "secretId": name, "timestamp": time.isoformat(), "dataFormat": "JSON_API_V1"}
    return {"message": {"attributes": given | attributes, "messageId": "1", "publishTime": time.isoformat()}}


def deliver(kind: str, time: datetime, **rest: Any) -> int:
    return rotate(Request(message(kind, time, **rest)))[1]


def test_a_new_secret_gets_its_first_value(manager: SecretManager):
    assert deliver("SECRET_CREATE", START) == 204
    (value,) = manager.values
    assert len(value) == 48
    assert set(value) <= set(ALPHABET)
    assert manager.hosts[:2] == ["metadata.google.internal", "secretmanager.googleapis.com"]


def test_two_values_are_never_the_same(manager: SecretManager):
    for day in range(4):
        manager.now = START + timedelta(days=30 * day)
        deliver("SECRET_ROTATE", manager.now)
    assert len(set(manager.values)) == 4


def test_the_news_of_a_new_secret_may_come_twice_and_late(manager: SecretManager):
    for _ in range(3):
        assert deliver("SECRET_CREATE", START) == 204
    manager.now = START + timedelta(days=30)
    deliver("SECRET_ROTATE", manager.now)
    assert deliver("SECRET_CREATE", START) == 204
    assert len(manager.values) == 2


def test_a_rotation_keeps_the_version_before_and_lets_older_ones_go(manager: SecretManager):
    for day in range(4):
        manager.now = START + timedelta(days=30 * day)
        assert deliver("SECRET_ROTATE", manager.now) == 204
    assert manager.states == ["DESTROYED", "DESTROYED", "ENABLED", "ENABLED"]


def test_one_rotation_that_is_told_twice_is_one(manager: SecretManager):
    deliver("SECRET_CREATE", START)
    due = manager.now + timedelta(days=30)
    manager.now = due
    for _ in range(3):
        assert deliver("SECRET_ROTATE", due) == 204
    assert manager.states == ["ENABLED", "ENABLED"]


def test_an_old_message_that_comes_late_rotates_nothing(manager: SecretManager):
    manager.now = START + timedelta(days=60)
    deliver("SECRET_ROTATE", manager.now)
    assert deliver("SECRET_ROTATE", START + timedelta(days=30)) == 204
    assert len(manager.values) == 1


def test_a_time_in_another_zone_is_the_same_time(manager: SecretManager):
    """Secret Manager writes an offset, `…-08:00`; read as text, the order of the two would be another."""
    manager.now = datetime(2026, 12, 1, 10, tzinfo=UTC)
    deliver("SECRET_ROTATE", manager.now)
    told = message("SECRET_ROTATE", manager.now)
    told["message"]["attributes"]["timestamp"] = "2026-12-01T02:00:00.5-08:00"
    assert rotate(Request(told))[1] == 204
    assert len(manager.values) == 1


def test_what_stopped_half_way_is_finished_and_not_done_twice(manager: SecretManager):
    for day in (0, 30):
        manager.now = START + timedelta(days=day)
        deliver("SECRET_ROTATE", manager.now)
    due = START + timedelta(days=60)
    manager.now = due
    manager.faults = {":destroy": 503}
    with pytest.raises(ApiError, match="503"):
        deliver("SECRET_ROTATE", due)
    assert manager.states == ["ENABLED", "ENABLED", "ENABLED"]
    assert deliver("SECRET_ROTATE", due) == 204
    assert manager.states == ["DESTROYED", "ENABLED", "ENABLED"]
    assert len(manager.values) == 3


@pytest.mark.parametrize("status", [403, 429, 500])
def test_a_refusal_of_the_api_is_an_error_so_that_the_message_comes_again(manager: SecretManager, status: int):
    """A grant to a new secret takes minutes to be known everywhere."""
    manager.faults = {":addVersion": status}
    with pytest.raises(ApiError, match=str(status)):
        deliver("SECRET_CREATE", START)
    assert manager.values == []
    assert deliver("SECRET_CREATE", START) == 204
    assert len(manager.values) == 1


def test_a_version_whose_destruction_is_on_its_way_is_left_alone(manager: SecretManager):
    manager.delay = timedelta(days=30)
    for day in range(5):
        manager.now = START + timedelta(days=day)
        assert deliver("SECRET_ROTATE", manager.now) == 204
    assert manager.states == ["DISABLED", "DISABLED", "DISABLED", "ENABLED", "ENABLED"]
    assert len([call for call in manager.asked if call.endswith(":destroy")]) == 3


def test_a_version_that_somebody_disabled_counts_as_one(manager: SecretManager):
    for day in range(2):
        manager.now = START + timedelta(days=day)
        deliver("SECRET_ROTATE", manager.now)
    manager.secrets[SECRET][1]["state"] = "DISABLED"
    manager.now = START + timedelta(days=2)
    deliver("SECRET_ROTATE", manager.now)
    assert manager.states == ["DESTROYED", "DISABLED", "ENABLED"]


@pytest.mark.parametrize("kind", ["SECRET_UPDATE", "SECRET_VERSION_ADD", "SECRET_DELETE", "TOPIC_CONFIGURED"])
def test_what_asks_for_nothing_is_done_at_once(manager: SecretManager, kind: str):
    assert deliver(kind, START) == 204
    assert manager.asked == []


def test_a_test_message_of_secret_manager_has_nothing_else(manager: SecretManager):
    assert rotate(Request({"message": {"attributes": {"eventType": "TOPIC_CONFIGURED"}}}))[1] == 204


@pytest.mark.parametrize(
    "body",
    [
        None,
        "text",
        [],
        {},
        {"message": None},
        {"message": {"data": "e30="}},
        {"message": {"attributes": {}}},
        {"message": {"attributes": {"eventType": "SECRET_ROTATE"}}},
        {"message": {"attributes": {"eventType": "SECRET_ROTATE", "secretId": SECRET}}},
        message("SECRET_ROTATE", START, timestamp="yesterday"),
        message("SECRET_ROTATE", START, timestamp="2026-11-01T00:00:00"),
        message("SECRET_ROTATE", START, name="projects/444444444444/secrets/acme-ai-prod-request-signing"),
        message("SECRET_ROTATE", START, name=f"{SECRET}/versions/1"),
        message("SECRET_ROTATE", START, name=f"projects/1/secrets/another/{NAME}"),
        {"message": {"attributes": {"eventType": "SECRET_ROTATE", "secretId": 5, "timestamp": START.isoformat()}}},
        {"message": {"attributes": {"eventType": ["SECRET_ROTATE"]}}},
    ],
)
def test_poison_is_refused_without_a_call_and_told_in_the_log(
    manager: SecretManager, capsys: pytest.CaptureFixture[str], body: Any
):
    text, status = rotate(Request(body))
    assert status == 422
    assert manager.hosts == []
    logged = json.loads(capsys.readouterr().out)
    assert logged == {"severity": "ERROR", "message": text}


def test_no_value_is_logged_or_answered(manager: SecretManager, capsys: pytest.CaptureFixture[str]):
    answer = rotate(Request(message("SECRET_CREATE", START)))
    (value,) = manager.values
    said = capsys.readouterr()
    assert value not in said.out + said.err + str(answer)


def test_a_message_without_the_events_own_time_has_that_of_its_publication():
    told = message("SECRET_ROTATE", START)
    del told["message"]["attributes"]["timestamp"]
    event = read(told, LENGTHS)
    assert event is not None
    assert event.time == START


def test_a_secret_of_another_environment_is_named_in_the_refusal():
    with pytest.raises(RefusedError, match="other is none of the secrets"):
        read(message("SECRET_ROTATE", START, name="projects/1/secrets/other"), LENGTHS)
