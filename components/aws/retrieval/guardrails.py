"""What is let through to language models and back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import pulumi
import pulumi_aws as aws

from components import contracts
from components.core.hosting import digest
from components.scope import Component, Scope, after
from components.spec.retrieval import Guardrail

# Bedrock API: GuardrailContentFilterConfig, type and strengths; GuardrailPiiEntityConfig, type.
_HARMFUL = ("HATE", "INSULTS", "MISCONDUCT", "SEXUAL", "VIOLENCE")
_STRENGTHS = MappingProxyType({"off": "NONE", "low": "LOW", "medium": "MEDIUM", "high": "HIGH"})
_ACTIONS = MappingProxyType({"mask": "ANONYMIZE", "block": "BLOCK"})
# A secret that was masked has still been told to whoever sends the prompt on.
_SECRETS = ("AWS_ACCESS_KEY", "AWS_SECRET_KEY", "PASSWORD", "PIN")
# All that says who somebody is; neither AGE nor URL does.
_PERSONAL = (
    "ADDRESS", "CA_HEALTH_NUMBER", "CA_SOCIAL_INSURANCE_NUMBER", "CREDIT_DEBIT_CARD_CVV", "CREDIT_DEBIT_CARD_EXPIRY",
    "CREDIT_DEBIT_CARD_NUMBER", "DRIVER_ID", "EMAIL", "INTERNATIONAL_BANK_ACCOUNT_NUMBER", "IP_ADDRESS", "LICENSE_PLATE",
    "MAC_ADDRESS", "NAME", "PHONE", "SWIFT_CODE", "UK_NATIONAL_HEALTH_SERVICE_NUMBER", "UK_NATIONAL_INSURANCE_NUMBER",
    "UK_UNIQUE_TAXPAYER_REFERENCE_NUMBER", "USERNAME", "US_BANK_ACCOUNT_NUMBER", "US_BANK_ROUTING_NUMBER",
    "US_INDIVIDUAL_TAX_IDENTIFICATION_NUMBER", "US_PASSPORT_NUMBER", "US_SOCIAL_SECURITY_NUMBER",
    "VEHICLE_IDENTIFICATION_NUMBER",
)  # fmt: skip
_BLOCKED_QUESTION = "This question is not answered: a guardrail stopped it."
_BLOCKED_ANSWER = "This answer is not shown: a guardrail stopped it."


@dataclass(frozen=True, kw_only=True)
class GuardrailsArgs:
    """What is stopped, by name."""

    guardrails: Mapping[str, Guardrail]
    key: contracts.Key
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class Guardrails(Component):
    """Guardrails of Bedrock, and of each the version that says what it stops now.

    Whoever calls a model names a version, which never changes. Another content changes the guardrail's draft, and publishes a
    new version beside the old one, which stays until the guardrail goes: what still names it, goes on. What may be called with
    which version is said where a model is (`Llm`), and changes with it.

    The filters are those of the tier CLASSIC, in the region alone: STANDARD knows more languages, and sends prompts to other
    regions of its geography (`cross_region_config`), which an environment forbids.

    Owns the guardrails and their versions, encrypted with our key: whoever uses one may also decrypt with it. Never owns who
    that is. Costs nothing without prompts; 0.15 USD for 1,000 text units of 1,000 characters that pass filters of content or
    topics, 0.10 that pass those of personal data (Bedrock pricing, us-east-1, as quoted in 2026). A destroy takes all versions.

    >>> args = GuardrailsArgs(guardrails={"default": Guardrail(pii="block")}, key=key)
    >>> sorted(Guardrails("guardrails", args, scope=scope, parent=parent).outputs.versions)
    ['default']
    """

    outputs: contracts.Guardrails

    def __init__(self, name: str, args: GuardrailsArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the guardrails and publish them."""
        super().__init__(name, scope, parent)
        self._args = args
        made = {guardrail: self._guardrail(guardrail, spec) for guardrail, spec in sorted(args.guardrails.items())}
        self.outputs = contracts.Guardrails(
            ids={guardrail: after(what.guardrail_arn, version) for guardrail, (what, version) in made.items()},
            versions={guardrail: version.version for guardrail, (_, version) in made.items()},
        )
        self.finish(self.outputs)

    def _guardrail(self, name: str, spec: Guardrail) -> tuple[aws.bedrock.Guardrail, aws.bedrock.GuardrailVersion]:
        label = f"{self.name}-{name}"
        content = policies(spec)
        guardrail = aws.bedrock.Guardrail(
            label,
            name=self.scope.names.of(name, "guardrail"),
            description=f"What is let through: {name}.",
            blocked_input_messaging=_BLOCKED_QUESTION,
            blocked_outputs_messaging=_BLOCKED_ANSWER,
            kms_key_arn=self._args.key.id,
            tags=dict(self._args.tags),
            **content,
            opts=self.options(),
        )
        version = aws.bedrock.GuardrailVersion(
            f"{label}-version",
            guardrail_arn=guardrail.guardrail_arn,
            # A version cannot be changed: another description is another version, of the draft as it is by then.
            description=f"Content {digest([content, _BLOCKED_QUESTION, _BLOCKED_ANSWER])}",
            skip_destroy=True,
            opts=self.options(replace_on_changes=["description"]),
        )
        return guardrail, version


def policies(spec: Guardrail) -> dict[str, Any]:
    """A guardrail as Bedrock takes it; what is off is left out.

    >>> sorted(policies(Guardrail(pii="off", harmful="off")))
    ['content_policy_config']
    """
    found: dict[str, Any] = {}
    if filters := _filters(spec):
        content: aws.bedrock.GuardrailContentPolicyConfigArgsDict = {"filters_configs": filters}
        found["content_policy_config"] = content
    if spec.topics:
        topics: aws.bedrock.GuardrailTopicPolicyConfigArgsDict = {
            "topics_configs": [
                {"name": name, "type": "DENY", "definition": topic.definition, "examples": topic.examples}
                for name, topic in sorted(spec.topics.items())
            ]
        }
        found["topic_policy_config"] = topics
    if spec.words:
        words: aws.bedrock.GuardrailWordPolicyConfigArgsDict = {
            "words_configs": [{"text": word} for word in sorted(set(spec.words))]
        }
        found["word_policy_config"] = words
    if spec.pii != "off":
        action = _ACTIONS[spec.pii]
        sensitive: aws.bedrock.GuardrailSensitiveInformationPolicyConfigArgsDict = {
            "pii_entities_configs": [
                {"type": entity, "action": "BLOCK" if entity in _SECRETS else action}
                for entity in sorted((*_SECRETS, *_PERSONAL))
            ]
        }
        found["sensitive_information_policy_config"] = sensitive
    if spec.grounding:
        grounding: aws.bedrock.GuardrailContextualGroundingPolicyConfigArgsDict = {
            "filters_configs": [{"type": "GROUNDING", "threshold": spec.grounding}]
        }
        found["contextual_grounding_policy_config"] = grounding
    return found


def _filters(spec: Guardrail) -> "Sequence[aws.bedrock.GuardrailContentPolicyConfigFiltersConfigArgsDict]":
    strength, attack = _STRENGTHS[spec.harmful], _STRENGTHS[spec.prompt_attack]
    # An attack is in a question: of an answer Bedrock takes NONE alone.
    wanted = {**dict.fromkeys(_HARMFUL, (strength, strength)), "PROMPT_ATTACK": (attack, "NONE")}
    return [
        {"type": kind, "input_strength": asked, "output_strength": answered}
        for kind, (asked, answered) in wanted.items()
        if asked != "NONE"
    ]
