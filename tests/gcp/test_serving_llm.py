"""Models of Vertex AI: who may call, and what is watched."""

from functools import cache
from typing import Any

import pulumi

from components.gcp.serving.llm import Guard, Llm, LlmArgs
from components.spec import serving
from components.spec.endpoints import alarms
from policies.model import Graph
from preview.record import run
from tests.gcp.building import kind, one
from tests.gcp.test_serving_endpoints import CALLER, CRITICAL, PROJECT_ID, TEAM, WARNING, scope, text

SERVICES = ("aiplatform", "cloudresourcemanager", "logging", "monitoring")
ROLE = f"projects/{PROJECT_ID}/roles/acme_ai_dev_release_call"
SPEC: dict[str, Any] = {
    "kind": "llm", "team": "risk", "model": {"gcp": "publishers/google/models/gemini-2.5-flash@001"}, "guardrail": "default",
    "tokens_per_minute": 100_000,
    "objective": {"first_token_p95_ms": 1500, "availability_percent": 99.5, "requests_per_month": 1000},
}  # fmt: skip


def build(*, preview: bool = False) -> Graph:
    def program() -> None:
        spec = serving.Llm.model_validate(SPEC)
        here = scope("dev")
        args = LlmArgs(
            spec=spec, guard=Guard(id=text("template"), version=text("default-1")), role=text(ROLE),
            apis={f"{service}.googleapis.com": text(PROJECT_ID) for service in SERVICES}, alarms=alarms(spec),
            critical=[text(CRITICAL)], warning=[text(WARNING)], team=[text(TEAM)], callers={"shop": CALLER},
        )  # fmt: skip
        made = Llm("assistant", args, scope=here, parent=here.provider).outputs
        pulumi.export("id", made.id)
        pulumi.export("address", made.address)

    return run(program, preview=preview)


@cache
def graph() -> Graph:
    return build()


def test_callers_may_call_and_nothing_else():
    [grant] = kind(graph(), "projects/IAMMember")
    assert (grant.get("role"), grant.get("member")) == (ROLE, f"serviceAccount:{CALLER}")


def test_the_address_is_that_of_the_model_in_the_region():
    path = f"projects/{PROJECT_ID}/locations/us-central1/publishers/google/models/gemini-2.5-flash@001"
    assert graph().outputs["id"] == path
    assert graph().outputs["address"] == f"https://us-central1-aiplatform.googleapis.com/v1/{path}"


def query(name: str) -> str:
    policy = one(graph(), "monitoring/AlertPolicy", f"assistant-alarm-assistant-{name}")
    return policy.get("conditions")[0]["conditionPrometheusQueryLanguage"]["query"]


def test_what_is_promised_is_watched():
    assert len(kind(graph(), "monitoring/AlertPolicy")) == 4
    for name in ("first-token", "errors", "refused", "ceiling"):
        assert 'model_user_id="gemini-2.5-flash"' in query(name)
        assert query(name).count("{") == query(name).count("}")
    assert query("first-token").endswith("> 1500")
    assert "> 0.5 and on()" in query("errors")
    assert 'response_code!~"2..|429"' in query("errors"), "what was refused has an alert of its own"
    assert query("ceiling").endswith("> 100000")
    critical = one(graph(), "monitoring/AlertPolicy", "assistant-alarm-assistant-errors")
    assert critical.get("notificationChannels") == [CRITICAL, TEAM]
    warning = one(graph(), "monitoring/AlertPolicy", "assistant-alarm-assistant-ceiling")
    assert warning.get("notificationChannels") == [TEAM]


def test_a_first_preview_knows_no_outputs():
    assert len(kind(build(preview=True), "monitoring/AlertPolicy")) == 4
