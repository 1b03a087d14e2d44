"""Models of Bedrock: what callers may call and what not, what is watched, and what a change changes."""

import json
from functools import cache
from typing import Any

import pulumi
import pytest

from components.aws.serving.llm import Guard, Llm, LlmArgs
from components.spec import serving
from components.spec.endpoints import alarms
from policies.model import Graph
from preview.difference import compare
from preview.record import run
from tests.aws.building import by_sid, kind, one, waits_for
from tests.aws.serving import AT, CRITICAL, LONG, TEAM, WARNING, alarm, formula, key, network, only, scope, series, text

MODEL, EVERYWHERE = "amazon.nova-lite-v1:0", "us.amazon.nova-lite-v1:0"
GUARDRAIL = f"arn:aws:bedrock:us-west-2:{AT}:guardrail/abc"
SPEC: dict[str, Any] = {
    "kind": "llm", "team": "risk", "model": {"aws": MODEL}, "tokens_per_minute": 100_000, "guardrail": "default",
    "callers": ["acme-ai-dev-shop", "acme-ai-dev-web"],
    "objective": {"first_token_p95_ms": 1500, "availability_percent": 99.5, "requests_per_month": 1000},
}  # fmt: skip
KEY = "bedrock:GuardrailIdentifier"


def build(
    name: str = "assistant",
    *,
    tier: str = "dev",
    preview: bool = False,
    version: str = "3",
    guarded: bool = True,
    **changes: Any,
) -> Graph:
    def program() -> None:
        spec = serving.Llm.model_validate({**SPEC, **changes})
        here = scope(tier)
        args = LlmArgs(
            spec=spec, guard=Guard(id=text(GUARDRAIL), version=text(version), key=key("models")) if guarded else None,
            network=network(), alarms=alarms(spec), critical=[text(CRITICAL)], warning=[text(WARNING)], team=[text(TEAM)],
            tags={"team": "risk", "endpoint": name},
        )  # fmt: skip
        made = Llm(name, args, scope=here, parent=here.provider).outputs
        pulumi.export("address", made.address)
        pulumi.export("version", made.version)

    return run(program, preview=preview)


@cache
def dev() -> Graph:
    return build()


@cache
def prod() -> Graph:
    return build(tier="prod", model={"aws": EVERYWHERE})


def test_an_address_of_our_own_carries_the_cost():
    profile = only(dev(), "InferenceProfile")
    assert profile.get("modelSource") == {"copyFrom": f"arn:aws:bedrock:us-west-2::foundation-model/{MODEL}"}
    assert profile.get("tags") == {"team": "risk", "endpoint": "assistant"}
    several = only(prod(), "InferenceProfile").get("modelSource")
    assert several == {"copyFrom": f"arn:aws:bedrock:us-west-2:{AT}:inference-profile/{EVERYWHERE}"}
    assert len(only(build(LONG), "InferenceProfile").get("name")) <= 64


def test_callers_may_call_this_model_with_this_version_of_the_guardrail():
    profile = only(dev(), "InferenceProfile")
    arn = f"${{{profile.urn}#arn}}"
    for caller in SPEC["callers"]:
        policy = one(dev(), "RolePolicy", f"assistant-caller-{caller}")
        assert policy.get("role") == caller
        found = by_sid(policy)
        assert set(found) == {"Call", "ModelThroughIt", "Guardrail", "GuardrailKey"}
        assert found["Call"]["Action"] == ["bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream"]
        assert found["Call"]["Resource"] == [arn]
        assert found["Call"]["Condition"] == {"StringEquals": {KEY: f"{GUARDRAIL}:3"}}
        through = found["ModelThroughIt"]
        assert through["Resource"] == [f"arn:aws:bedrock:us-west-2::foundation-model/{MODEL}"]
        assert through["Condition"]["StringEquals"] == {
            KEY: f"{GUARDRAIL}:3",
            "bedrock:InferenceProfileArn": arn,
        }
        assert found["Guardrail"]["Resource"] == [GUARDRAIL]
        assert found["GuardrailKey"]["Condition"] == {
            "StringEquals": {"kms:ViaService": ["bedrock.us-west-2.amazonaws.com"]}
        }


def test_in_prod_nobody_calls_without_it_nor_from_elsewhere():
    policy = one(prod(), "RolePolicy", f"assistant-caller-{SPEC['callers'][0]}")
    found = by_sid(policy)
    arn = f"${{{only(prod(), 'InferenceProfile').urn}#arn}}"
    # Negated, so that a request without any is denied as well.
    assert found["NotWithout"]["Effect"] == "Deny"
    assert found["NotWithout"]["Resource"] == [arn]
    assert found["NotWithout"]["Condition"] == {"StringNotEquals": {KEY: f"{GUARDRAIL}:3"}}
    assert found["NotBesideIt"]["Resource"] == [f"arn:aws:bedrock:*::foundation-model/{MODEL}"]
    assert found["NotBesideIt"]["Condition"] == {"Null": {KEY: "true"}}
    for sid in ("Call", "ModelThroughIt"):
        assert found[sid]["Condition"]["StringEquals"]["aws:SourceVpc"] == "vpc-1"


def test_without_a_guardrail_nothing_is_asked_for():
    found = by_sid(one(build(guarded=False, guardrail=None), "RolePolicy", "assistant-caller-acme-ai-dev-shop"))
    assert set(found) == {"Call", "ModelThroughIt"}
    assert "Condition" not in found["Call"]


def test_units_take_the_place_of_the_profile():
    graph = build(units=2)
    bought = only(graph, "ProvisionedModelThroughput")
    assert bought.get("modelUnits") == 2
    assert bought.inputs.get("commitmentDuration") is None
    assert not kind(graph, "InferenceProfile")
    found = by_sid(one(graph, "RolePolicy", "assistant-caller-acme-ai-dev-shop"))
    assert "ModelThroughIt" not in found
    assert found["Call"]["Resource"] == [f"${{{bought.urn}#provisionedModelArn}}"]


def test_what_is_promised_is_watched():
    named = {a.get("name").removeprefix("acme-ai-dev-assistant-"): a for a in kind(dev(), "MetricAlarm")}
    assert set(named) == {"first-token", "errors", "refused", "ceiling"}
    first = named["first-token"]
    assert first.get("threshold") == 1500
    assert series(first)["first"]["stat"] == "p95"
    errors = named["errors"]
    assert errors.get("threshold") == 0.5
    assert {m["metricName"] for m in series(errors).values()} == {
        "InvocationServerErrors", "InvocationClientErrors", "Invocations",
    }  # fmt: skip
    assert "SUM([theirs, ours])" in formula(errors), "a series without errors is not there"
    ceiling = named["ceiling"]
    assert (ceiling.get("threshold"), ceiling.get("period"), ceiling.get("evaluationPeriods")) == (100_000, 60, 5)
    assert ceiling.get("metricName") == "EstimatedTPMQuotaUsage"
    assert named["refused"].get("alarmActions") == [TEAM]
    assert errors.get("alarmActions") == [CRITICAL, TEAM]


def test_an_address_resolves_once_callers_are_let_in():
    profile = only(dev(), "InferenceProfile")
    for policy in kind(dev(), "RolePolicy"):
        assert waits_for(dev(), policy, profile)
    assert alarm(dev(), "acme-ai-dev-assistant-refused").get("dimensions")["ModelId"]


def test_another_version_of_the_guardrail_changes_who_may_call_and_no_address():
    found = compare(dev(), build(version="4"))
    assert {c.resource.type.rpartition(":")[2] for c in found.changed} == {"RolePolicy"}
    assert not found.created
    assert not found.removed


@pytest.mark.parametrize("model", ["global.amazon.nova-lite-v1:0"])
def test_a_global_profile_names_the_model_without_a_region_too(model: str):
    found = by_sid(one(build(model={"aws": model}), "RolePolicy", "assistant-caller-acme-ai-dev-shop"))
    assert f"arn:aws:bedrock:::foundation-model/{MODEL}" in found["ModelThroughIt"]["Resource"]


def test_a_first_preview_knows_no_outputs():
    graph = build(preview=True)
    assert len(kind(graph, "MetricAlarm")) == 4
    assert json.dumps([r.name for r in kind(graph, "RolePolicy")])
