"""What is let through to language models and back."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.contracts import Text
from components.core.google import agent, labels
from components.core.rollouts import digest
from components.scope import Component, Scope, after
from components.spec.retrieval import Guardrail

# Model Armor API: RaiFilterType, DetectionConfidenceLevel. To look carefully is to act upon little confidence.
_HARMFUL = ("DANGEROUS", "HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT")
_STRENGTHS = ("off", "low", "medium", "high")
_LEVELS = MappingProxyType({"low": "HIGH", "medium": "MEDIUM_AND_ABOVE", "high": "LOW_AND_ABOVE"})
# What the basic filter does not know ("Sensitive Data Protection", basic configuration: numbers of cards, accounts and taxpayers,
# credentials of Google Cloud, passwords). Source: Sensitive Data Protection "InfoType detector reference".
_PERSONAL = (
    "CREDIT_CARD_NUMBER", "EMAIL_ADDRESS", "FINANCIAL_ACCOUNT_NUMBER", "GCP_API_KEY", "GCP_CREDENTIALS", "IBAN_CODE",
    "IP_ADDRESS", "MAC_ADDRESS", "PASSPORT", "PASSWORD", "PERSON_NAME", "PHONE_NUMBER", "STREET_ADDRESS", "SWIFT_CODE",
    "US_DRIVERS_LICENSE_NUMBER", "US_INDIVIDUAL_TAXPAYER_IDENTIFICATION_NUMBER", "US_SOCIAL_SECURITY_NUMBER",
    "VEHICLE_IDENTIFICATION_NUMBER",
)  # fmt: skip
_BLOCKED = "A guardrail stopped this."


@dataclass(frozen=True, kw_only=True)
class GuardrailsArgs:
    """What is stopped, by name."""

    apis: Mapping[str, Text]
    number: str
    """Number of the project."""
    guardrails: Mapping[str, Guardrail]
    floor: bool = False
    """Whether no model of the cloud is called with less than all of them have in common: in prod."""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class Guardrails(Component):
    """Templates of Model Armor, and the floor below which the project does not go.

    A request to a model of Vertex AI names a template (`modelArmorConfig`, `promptTemplateName` and `responseTemplateName`), and
    nothing in IAM can make it do so. Hence the floor: what all guardrails have in common is applied to every call of a Gemini
    model in the project that names none, and what it finds is blocked. A template has no versions: its name says which content
    it is, another content is another template, and the former one stays but in an environment that may be deleted.

    Model Armor cannot mask what passes to Vertex AI ("Integrate with Vertex AI", limitations): `mask` and `block` both stop a
    prompt. With `mask` that is the basic filter, of numbers and credentials; with `block` also names and addresses, by an
    inspection template. Results of filters hold the text, so they are not written to the log of the project, which more people
    read than prompts: those are logged apart (`Prompts`). Where Model Armor cannot be reached, Vertex AI answers unchecked
    (same source): what must never happen belongs before the call as well.

    Owns the templates, the floor and the right of Vertex AI's agent to use them. Never owns who calls a model. Costs 0.10 USD for
    a million tokens, the first two million a month free (Model Armor pricing, 2026-07). A destroy takes the floor away, and
    the templates where the tier lets it.

    >>> weakest({"a": Guardrail(harmful="high"), "b": Guardrail(harmful="low")}).harmful
    'low'
    """

    outputs: contracts.Guardrails

    def __init__(self, name: str, args: GuardrailsArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the floor, and what stands on it."""
        super().__init__(name, scope, parent)
        self._args = args
        uses = gcp.projects.IAMMember(
            f"{name}-vertex",
            project=args.apis["cloudresourcemanager.googleapis.com"],
            role="roles/modelarmor.user",
            member=agent("aiplatform.googleapis.com", args.number),
            opts=self.options(),
        )
        # A template below the floor is refused: a lower floor comes first, and so may a higher one, which leaves what is there.
        floor = [self._floor()] if args.floor and args.guardrails else []
        made = {
            guardrail: self._template(guardrail, spec, floor) for guardrail, spec in sorted(args.guardrails.items())
        }
        self.outputs = contracts.Guardrails(
            ids={guardrail: after(template.name, uses, *floor) for guardrail, template in made.items()},
            versions={guardrail: template.template_id for guardrail, template in made.items()},
        )
        self.finish(self.outputs)

    def _floor(self) -> gcp.modelarmor.Floorsetting:
        args = self._args
        return gcp.modelarmor.Floorsetting(
            f"{self.name}-floor",
            parent=args.apis["modelarmor.googleapis.com"].apply(lambda project: f"projects/{project}"),
            location="global",
            enable_floor_setting_enforcement=True,
            integrated_services=["AI_PLATFORM"],
            ai_platform_floor_setting={"inspect_and_block": True, "enable_cloud_logging": False},
            filter_config=filters(weakest(args.guardrails)),
            opts=self.options(),
        )

    def _template(
        self, name: str, spec: Guardrail, floor: list[gcp.modelarmor.Floorsetting]
    ) -> gcp.modelarmor.Template:
        args, scope, label = self._args, self.scope, f"{self.name}-{name}"
        inspection = self._inspection(label, name) if spec.pii == "block" else None
        opts = self.options(depends_on=floor)
        # What was there before may still be named by a request.
        opts.retain_on_delete = not scope.deletable or None
        return gcp.modelarmor.Template(
            label,
            template_id=scope.names.of(f"{name}-{content(spec)}", "armor_template"),
            location=scope.region,
            filter_config=filters(spec, inspection.id if inspection else None),
            template_metadata={
                "enforcement_type": "INSPECT_AND_BLOCK",
                "log_template_operations": True,
                "log_sanitize_operations": False,
                # What could not be looked at is not let through.
                "ignore_partial_invocation_failures": False,
                "custom_prompt_safety_error_message": _BLOCKED,
                "custom_llm_response_safety_error_message": _BLOCKED,
                "multi_language_detection": {"enable_multi_language_detection": True},
            },
            project=args.apis["modelarmor.googleapis.com"],
            labels={**labels({**scope.tags, **args.tags}), "guardrail": name},
            opts=opts,
        )

    def _inspection(self, label: str, name: str) -> gcp.dataloss.PreventionInspectTemplate:
        args, scope = self._args, self.scope
        return gcp.dataloss.PreventionInspectTemplate(
            f"{label}-personal",
            # Beside the template that names it.
            parent=args.apis["dlp.googleapis.com"].apply(
                lambda project: f"projects/{project}/locations/{scope.region}"
            ),
            template_id=scope.names.full(f"{name}-personal"),
            display_name=f"What says who somebody is: {name}.",
            inspect_config={"info_types": [{"name": kind} for kind in _PERSONAL], "min_likelihood": "LIKELY"},
            opts=self.options(),
        )


def weakest(guardrails: Mapping[str, Guardrail]) -> Guardrail:
    """What all guardrails have in common."""

    def least(key: str) -> Any:
        return min((getattr(guardrail, key) for guardrail in guardrails.values()), key=_STRENGTHS.index)

    pii = "off" if any(guardrail.pii == "off" for guardrail in guardrails.values()) else "mask"
    return Guardrail(harmful=least("harmful"), prompt_attack=least("prompt_attack"), pii=pii)


def filters(
    spec: Guardrail, inspection: pulumi.Input[str] | None = None
) -> "gcp.modelarmor.TemplateFilterConfigArgsDict":
    """A guardrail as Model Armor takes it, for a template or a floor.

    >>> filters(Guardrail(prompt_attack="off"))["pi_and_jailbreak_filter_settings"]
    {'filter_enforcement': 'DISABLED'}
    """
    found: gcp.modelarmor.TemplateFilterConfigArgsDict = {
        # Addresses of what is known to do harm: nobody wants to be sent there.
        "malicious_uri_filter_settings": {"filter_enforcement": "ENABLED"},
        "pi_and_jailbreak_filter_settings": {"filter_enforcement": "DISABLED"}
        if spec.prompt_attack == "off"
        else {"filter_enforcement": "ENABLED", "confidence_level": _LEVELS[spec.prompt_attack]},
    }
    if spec.harmful != "off":
        level = _LEVELS[spec.harmful]
        found["rai_settings"] = {"rai_filters": [{"filter_type": kind, "confidence_level": level} for kind in _HARMFUL]}
    if inspection is not None:
        found["sdp_settings"] = {"advanced_config": {"inspect_template": inspection}}
    elif spec.pii != "off":
        found["sdp_settings"] = {"basic_config": {"filter_enforcement": "ENABLED"}}
    return found


def content(spec: Guardrail) -> str:
    """What stands for what a guardrail stops, in the name of its template."""
    return digest(json.dumps([filters(spec), spec.pii, _PERSONAL if spec.pii == "block" else ()], sort_keys=True))
