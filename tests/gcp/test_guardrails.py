"""Guardrails of Model Armor: what each stops, the floor below them, and that another content is another template."""

from functools import cache
from typing import Any

import pytest

from components.gcp.retrieval.guardrails import Guardrails, GuardrailsArgs, weakest
from components.spec.retrieval import Guardrail
from policies.model import Graph
from preview.difference import compare
from preview.record import run
from tests.gcp.building import before, kind, one
from tests.gcp.test_serving_endpoints import NUMBER, PROJECT_ID, scope, text

SPECS: dict[str, dict[str, Any]] = {
    "strict": {"pii": "block", "prompt_attack": "high", "harmful": "medium"},
    "loose": {"pii": "mask", "prompt_attack": "low", "harmful": "high"},
    "a" * 63: {"pii": "off", "prompt_attack": "medium", "harmful": "low"},
}
SERVICES = ("cloudresourcemanager", "dlp", "modelarmor")


def build(*, preview: bool = False, tier: str = "prod", floor: bool = True, **changes: dict[str, Any]) -> Graph:
    def program() -> None:
        here = scope(tier)
        specs = {name: Guardrail.model_validate({**spec, **changes.get(name, {})}) for name, spec in SPECS.items()}
        args = GuardrailsArgs(
            apis={f"{service}.googleapis.com": text(PROJECT_ID) for service in SERVICES},
            number=NUMBER, guardrails=specs, floor=floor,
        )  # fmt: skip
        made = Guardrails("guardrails", args, scope=here, parent=here.provider).outputs
        assert set(made.ids) == set(made.versions) == set(specs)

    return run(program, preview=preview)


@cache
def graph() -> Graph:
    return build()


def filters(name: str) -> dict[str, Any]:
    return one(graph(), "modelarmor/Template", f"guardrails-{name}").get("filterConfig")


def test_a_careful_filter_acts_upon_little_confidence():
    assert {f["confidenceLevel"] for f in filters("loose")["raiSettings"]["raiFilters"]} == {"LOW_AND_ABOVE"}
    assert {f["filterType"] for f in filters("loose")["raiSettings"]["raiFilters"]} == {
        "DANGEROUS", "HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT",
    }  # fmt: skip
    assert filters("loose")["piAndJailbreakFilterSettings"] == {
        "filterEnforcement": "ENABLED",
        "confidenceLevel": "HIGH",
    }
    assert filters("strict")["piAndJailbreakFilterSettings"]["confidenceLevel"] == "LOW_AND_ABOVE"


def test_personal_data_is_looked_for_as_described():
    inspection = one(graph(), "dataloss/PreventionInspectTemplate", "guardrails-strict-personal")
    kinds = {kind["name"] for kind in inspection.get("inspectConfig.infoTypes")}
    assert {"PERSON_NAME", "STREET_ADDRESS", "EMAIL_ADDRESS", "PASSWORD"} <= kinds
    assert inspection.get("parent") == f"projects/{PROJECT_ID}/locations/us-central1", "beside the template"
    assert filters("strict")["sdpSettings"] == {"advancedConfig": {"inspectTemplate": f"${{{inspection.urn}#id}}"}}
    assert filters("loose")["sdpSettings"] == {"basicConfig": {"filterEnforcement": "ENABLED"}}
    assert "sdpSettings" not in filters("a" * 63)


def test_templates_block_and_write_no_prompt_to_the_log():
    templates = kind(graph(), "modelarmor/Template")
    assert len(templates) == 3
    for template in templates:
        told = template.get("templateMetadata")
        assert told["enforcementType"] == "INSPECT_AND_BLOCK"
        assert told["logSanitizeOperations"] is False
        assert template.get("location") == "us-central1"
        assert len(template.get("templateId")) <= 63
        assert template.get("labels")["environment"] == "prod"


def test_in_prod_nothing_of_the_project_goes_below_the_floor():
    [floor] = kind(graph(), "modelarmor/Floorsetting")
    assert floor.get("aiPlatformFloorSetting") == {"inspectAndBlock": True, "enableCloudLogging": False}
    assert floor.get("integratedServices") == ["AI_PLATFORM"]
    assert floor.get("enableFloorSettingEnforcement") is True
    assert floor.get("parent") == f"projects/{PROJECT_ID}"
    assert {f["confidenceLevel"] for f in floor.get("filterConfig.raiSettings.raiFilters")} == {"HIGH"}
    assert "sdpSettings" not in floor.get("filterConfig")
    for template in kind(graph(), "modelarmor/Template"):
        assert floor.name in before(graph(), template), "a template below the floor is refused"
    assert not kind(build(floor=False), "modelarmor/Floorsetting")


@pytest.mark.parametrize("key", ["harmful", "prompt_attack"])
def test_the_floor_is_never_above_a_template(key: str):
    order = ["off", "low", "medium", "high"]
    specs = {name: Guardrail.model_validate(spec) for name, spec in SPECS.items()}
    least = order.index(getattr(weakest(specs), key))
    assert all(least <= order.index(getattr(spec, key)) for spec in specs.values())


def test_vertex_may_use_templates():
    grant = one(graph(), "projects/IAMMember", "guardrails-vertex")
    assert grant.get("role") == "roles/modelarmor.user"
    assert grant.get("member") == f"serviceAccount:service-{NUMBER}@gcp-sa-aiplatform.iam.gserviceaccount.com"


def test_another_content_is_another_template_beside_the_former_one():
    found = compare(graph(), build(loose={"prompt_attack": "medium"}))
    changed = {change.resource.name: {c.path.partition(".")[0] for c in change.changes} for change in found.changed}
    # The floor follows: what all have in common is more than it was.
    assert changed == {"guardrails-loose": {"filterConfig", "templateId"}, "guardrails-floor": {"filterConfig"}}
    assert one(graph(), "modelarmor/Template", "guardrails-loose").retain_on_delete
    assert not one(build(tier="dev"), "modelarmor/Template", "guardrails-loose").retain_on_delete


def test_a_first_preview_knows_no_outputs():
    assert len(kind(build(preview=True), "modelarmor/Template")) == 3
