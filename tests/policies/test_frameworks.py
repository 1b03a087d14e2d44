"""Frameworks: what rules name exists there, and what stands there is served."""

import pytest

from policies.catalogue import FILE, document
from policies.frameworks import coverage, frameworks
from policies.registry import RULES


def test_every_control_that_a_rule_names_is_in_its_framework():
    named = {(f, c) for rule in RULES.values() for f, controls in rule.controls.items() for c in controls}
    listed = {(f.id, control) for f in frameworks().values() for control in f.controls}
    assert sorted(named - listed) == []
    assert sorted(listed - named) == []


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.id)
def test_a_rule_names_no_control_twice(rule):
    for controls in rule.controls.values():
        assert controls
        assert len(set(controls)) == len(controls)


def test_the_frameworks_that_customers_ask_for_are_there():
    assert set(frameworks()) == {
        "aws-fsbp", "cis-aws", "cis-eks", "cis-gcp", "cis-gke", "eu-ai-act", "gdpr", "iso-27001", "nist-ai-rmf", "soc2",
    }  # fmt: skip


@pytest.mark.parametrize("framework", frameworks().values(), ids=lambda framework: framework.id)
def test_a_framework_says_what_it_is_and_where_it_comes_from(framework):
    assert framework.title
    assert framework.version
    assert framework.source.startswith("https://")
    assert all(isinstance(control, str) and title for control, title in framework.controls.items())


def test_the_controls_of_clusters_lead_to_the_rules_on_them():
    found = coverage()
    assert found["cis-eks"]["5.4.2"] == found["cis-gke"]["5.6.4"] == ("cluster-private-endpoint",)
    assert found["aws-fsbp"]["ECR.2"] == ("image-immutable",)


def test_coverage_leads_from_a_control_to_its_rules():
    found = coverage()
    assert found["cis-aws"]["6.5"] == ("network-default-closed",)
    assert "bucket-private" in found["aws-fsbp"]["S3.8"]
    assert all(rules for controls in found.values() for rules in controls.values())


def test_the_document_is_up_to_date():
    text = FILE.read_text(encoding="utf-8")
    assert text == document(text), "run python -m policies.catalogue"


def test_what_a_person_wrote_in_the_document_stays():
    assert document("# Mine\n\n").startswith("# Mine\n\n<!-- From here on")
    assert document(document("# Mine\n")) == document("# Mine\n")


def test_the_document_names_every_rule_and_every_control():
    text = document("")
    assert all(f"| `{rule.id}` |" in text for rule in RULES.values())
    assert all(f"| {control} |" in text for f in frameworks().values() for control in f.controls)
