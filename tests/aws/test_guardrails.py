"""Guardrails of Bedrock: what each stops, and that another content is another version."""

from functools import cache
from typing import Any

from components.aws.retrieval.guardrails import Guardrails, GuardrailsArgs
from components.spec.retrieval import Guardrail
from policies.model import Graph
from preview.difference import compare
from preview.record import run
from tests.aws.building import kind, one, waits_for
from tests.aws.serving import key, scope

STRICT: dict[str, Any] = {
    "topics": {"legal-advice": {"definition": "What somebody should do before a court.", "examples": ["Should I sue?"]}},
    "words": ["swordfish", "abracadabra"], "pii": "block", "prompt_attack": "medium", "harmful": "high", "grounding": 0.7,
}  # fmt: skip
LOOSE: dict[str, Any] = {"pii": "off", "prompt_attack": "off", "harmful": "low"}


def build(*, preview: bool = False, tier: str = "prod", **changes: Any) -> Graph:
    def program() -> None:
        here = scope(tier)
        specs = {"strict": {**STRICT, **changes}, "loose": LOOSE, "masks": {}, "a" * 63: {}}
        args = GuardrailsArgs(
            guardrails={name: Guardrail.model_validate(spec) for name, spec in specs.items()}, key=key("models")
        )
        made = Guardrails("guardrails", args, scope=here, parent=here.provider).outputs
        assert set(made.ids) == set(made.versions) == set(specs)

    return run(program, preview=preview)


@cache
def graph() -> Graph:
    return build()


def content(name: str, policy: str) -> list[dict[str, Any]]:
    return one(graph(), "Guardrail", f"guardrails-{name}").get(policy)


def test_a_strict_guardrail_stops_what_is_described():
    filters = content("strict", "contentPolicyConfig.filtersConfigs")
    assert {f["type"]: (f["inputStrength"], f["outputStrength"]) for f in filters} == {
        **dict.fromkeys(("HATE", "INSULTS", "MISCONDUCT", "SEXUAL", "VIOLENCE"), ("HIGH", "HIGH")),
        "PROMPT_ATTACK": ("MEDIUM", "NONE"),
    }
    [topic] = content("strict", "topicPolicyConfig.topicsConfigs")
    assert (topic["name"], topic["type"], topic["examples"]) == ("legal-advice", "DENY", ["Should I sue?"])
    assert content("strict", "wordPolicyConfig.wordsConfigs") == [{"text": "abracadabra"}, {"text": "swordfish"}]
    entities = content("strict", "sensitiveInformationPolicyConfig.piiEntitiesConfigs")
    assert {e["action"] for e in entities} == {"BLOCK"}
    assert {"NAME", "ADDRESS", "EMAIL", "US_SOCIAL_SECURITY_NUMBER"} <= {e["type"] for e in entities}
    assert content("strict", "contextualGroundingPolicyConfig.filtersConfigs") == [
        {"type": "GROUNDING", "threshold": 0.7}
    ]


def test_what_is_off_is_left_out():
    loose = one(graph(), "Guardrail", "guardrails-loose")
    assert {f["type"] for f in loose.get("contentPolicyConfig.filtersConfigs")} == {
        "HATE", "INSULTS", "MISCONDUCT", "SEXUAL", "VIOLENCE",
    }  # fmt: skip
    for policy in ("topic", "word", "sensitiveInformation", "contextualGrounding"):
        assert loose.inputs.get(f"{policy}PolicyConfig") is None


def test_secrets_are_blocked_even_where_the_rest_is_masked():
    entities = content("masks", "sensitiveInformationPolicyConfig.piiEntitiesConfigs")
    actions = {e["type"]: e["action"] for e in entities}
    assert {kind for kind, action in actions.items() if action == "BLOCK"} == {
        "AWS_ACCESS_KEY", "AWS_SECRET_KEY", "PASSWORD", "PIN",
    }  # fmt: skip
    assert actions["NAME"] == "ANONYMIZE"


def test_every_guardrail_is_encrypted_named_within_the_limit_and_published():
    guardrails = kind(graph(), "Guardrail")
    assert len(guardrails) == len(kind(graph(), "GuardrailVersion")) == 4
    for guardrail in guardrails:
        assert guardrail.get("kmsKeyArn").endswith("key/models")
        assert len(guardrail.get("name")) <= 50
        assert guardrail.inputs.get("crossRegionConfig") is None, "prompts stay in the region"
        version = one(graph(), "GuardrailVersion", f"{guardrail.name}-version")
        assert version.get("skipDestroy") is True, "what names a former version goes on"
        assert waits_for(graph(), version, guardrail), "a version is of the draft as it is by then"


def test_another_content_is_another_version_and_nothing_else_is():
    found = compare(graph(), build(harmful="low"))
    changed = {change.resource.name: change.replaced for change in found.changed}
    assert changed == {"guardrails-strict": False, "guardrails-strict-version": True}
    assert not found.created
    assert not found.removed
    assert not compare(graph(), build(words=["abracadabra", "swordfish"])).changed, "order says nothing"


def test_a_first_preview_knows_no_outputs():
    assert len(kind(build(preview=True), "GuardrailVersion")) == 4
