"""Requests of a load balancer as those of an HTTP API: a function behind either sees one kind of event (payload 2.0).

The load balancer has checked the token before it calls, and calls nothing with one that is bad: what the token says is read
here without looking at its signature again. That holds because a function's permission names the one target group that may call
it, whose only rule checks tokens. Nothing else may be handed to `as_http_api`.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_plus

ANSWER_BYTES = 1_000_000
"""The largest answer that a load balancer takes from a function; it takes no larger request ("Lambda functions as targets")."""


def is_balancers(event: Mapping[str, Any]) -> bool:
    """Whether a load balancer calls."""
    return "elb" in (event.get("requestContext") or {})


def as_http_api(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """The event in the form of payload 2.0; any other event is left as it is."""
    if not is_balancers(event):
        return event
    headers: dict[str, str] = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    query: Mapping[str, str] = event.get("queryStringParameters") or {}
    context: dict[str, Any] = {
        # One for each request; the load balancer writes the same into its log.
        "requestId": headers.get("x-amzn-trace-id", ""),
        "http": {"method": event.get("httpMethod", ""), "path": event.get("path", "")},
    }
    said = claims(headers.get("authorization", ""))
    if said is not None:
        context["authorizer"] = {"jwt": {"claims": said}}
    return {
        "version": "2.0",
        "rawPath": event.get("path", ""),
        "headers": headers,
        # As they were sent: a load balancer does not decode them.
        "queryStringParameters": {unquote_plus(key): unquote_plus(value) for key, value in query.items()},
        "requestContext": context,
        "body": event.get("body") or "",
        "isBase64Encoded": bool(event.get("isBase64Encoded")),
    }


def claims(authorization: str) -> dict[str, Any] | None:
    """What a token says, which somebody else has checked; None where there is none."""
    scheme, _, token = authorization.partition(" ")
    parts = token.strip().split(".")
    if scheme.lower() != "bearer" or len(parts) != 3:
        return None
    try:
        said = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return None
    return said if isinstance(said, dict) else None
