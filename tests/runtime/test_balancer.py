"""Requests of a load balancer as those of an HTTP API."""

import base64
import json
from typing import Any

import pytest

from runtime.aws.balancer import as_http_api, claims


def token(said: Any) -> str:
    part = base64.urlsafe_b64encode(json.dumps(said).encode()).rstrip(b"=").decode()
    return f"eyJhbGciOiJSUzI1NiJ9.{part}.c2lnbmF0dXJl"


def event(**changes: Any) -> dict[str, Any]:
    """As "Using AWS Lambda with an Application Load Balancer" shows it."""
    arn = "arn:aws:elasticloadbalancing:us-west-2:111111111111:targetgroup/lambda/49e9d65c45c6791a"
    return {
        "requestContext": {"elb": {"targetGroupArn": arn}},
        "httpMethod": "POST",
        "path": "/predict",
        "queryStringParameters": {"q": "a%20b"},
        "headers": {
            "Content-Type": "application/json",
            "authorization": f"Bearer {token({'sub': 'me', 'scope': 'fraud', 'teams': ['claims']})}",
            "x-amzn-trace-id": "Root=1-5c536348-3d683b8b04734faae651f476",
        },
        "body": "{}",
        "isBase64Encoded": False,
        **changes,
    }


def test_a_request_is_one_of_an_http_api():
    made = as_http_api(event())
    assert (made["version"], made["rawPath"], made["body"], made["isBase64Encoded"]) == ("2.0", "/predict", "{}", False)
    assert made["headers"]["content-type"] == "application/json"
    assert made["queryStringParameters"] == {"q": "a b"}
    context = made["requestContext"]
    assert context["requestId"] == "Root=1-5c536348-3d683b8b04734faae651f476"
    assert context["http"] == {"method": "POST", "path": "/predict"}
    assert context["authorizer"]["jwt"]["claims"] == {"sub": "me", "scope": "fraud", "teams": ["claims"]}


@pytest.mark.parametrize(
    "other", [{"version": "2.0", "requestContext": {}}, {"source": "aws.events"}, {"requestContext": None}]
)
def test_any_other_event_stays_as_it_is(other: dict[str, Any]):
    assert as_http_api(other) is other


def test_a_request_with_nothing_in_it_is_one_too():
    made = as_http_api({"requestContext": {"elb": {}}, "headers": None, "body": None, "queryStringParameters": None})
    assert (made["body"], made["headers"], made["queryStringParameters"]) == ("", {}, {})
    assert "authorizer" not in made["requestContext"]


@pytest.mark.parametrize(
    "wrong", ["", "Bearer", "Bearer a.b", "Basic eyJ.eyJ.x", "Bearer a.!!.c", f"Bearer {token([1])}"]
)
def test_what_is_no_token_says_nothing(wrong: str):
    assert claims(wrong) is None
