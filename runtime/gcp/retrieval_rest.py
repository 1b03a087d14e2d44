"""Calls Google's interfaces as the function's own identity, with Python's standard library alone."""

import json
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any

TIMEOUT = 30
"""Seconds of one call."""


class ApiError(Exception):
    """An interface did not answer as it should; `status` is 0 where it did not answer at all."""

    def __init__(self, status: int, what: str) -> None:
        super().__init__(what)
        self.status = status


class Google:
    """Google's interfaces; the token is asked for once."""

    def __init__(self) -> None:
        self._token: str | None = None

    def call(self, method: str, host: str, path: str, body: Any = None) -> Any:
        """The answer as JSON; raises ApiError."""
        return json.loads(self.load(method, host, path, body) or b"{}")

    def load(self, method: str, host: str, path: str, body: Any = None) -> bytes:
        """The answer as it comes; raises ApiError."""
        return _answer(
            HTTPSConnection(host, timeout=TIMEOUT),
            method,
            path,
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
            body=None if body is None else json.dumps(body),
        )

    @property
    def token(self) -> str:
        """What this function shows of itself, for some more minutes; raises ApiError."""
        if self._token is None:
            found = _answer(
                HTTPConnection("metadata.google.internal", timeout=TIMEOUT),
                "GET",
                "/computeMetadata/v1/instance/service-accounts/default/token",
                headers={"Metadata-Flavor": "Google"},
            )
            self._token = str(json.loads(found)["access_token"])
        return self._token


def _answer(
    connection: HTTPConnection, method: str, path: str, *, headers: Mapping[str, str], body: str | None = None
) -> bytes:
    # Never more of a path than what is asked for: it may name a document.
    what = f"{method} {connection.host} {path.rpartition(':')[2] if ':' in path else ''}".strip()
    try:
        connection.request(method, path, body=body, headers=dict(headers))
        response = connection.getresponse()
        content = response.read()
    except (OSError, HTTPException) as error:
        raise ApiError(0, f"{what}: {error!r}") from error
    finally:
        connection.close()
    if response.status not in {200, 204}:
        # Not the interface's own words: they may repeat what was sent.
        raise ApiError(response.status, f"{what}: {response.status}")
    return content
