"""Every rule on every case that is written down for it."""

import pytest

from policies.registry import EXPIRED, RULES, UNUSED, evaluate
from policies.rule import EVERY
from tests.policies.build import Case
from tests.policies.cases import CASES
from tests.policies.sdk import inputs_of, knows

# These look for what should not be there at all.
FORBIDDING = {"identity-no-static-keys"}
CAUGHT = [case for case in CASES if case.says]
PASSED = [case for case in CASES if not case.says]


def name(case: Case) -> str:
    return f"{case.rule}: {case.what}"


@pytest.mark.parametrize("case", CAUGHT, ids=name)
def test_a_rule_catches_what_is_broken(case: Case):
    found = [f for f in evaluate(case.graph) if f.rule == case.rule]
    matching = [f for f in found if case.says in f.message]
    assert matching, [f.message for f in found]
    assert {f.enforcement for f in matching} == {case.enforcement or RULES[case.rule].enforcement}


@pytest.mark.parametrize("case", PASSED, ids=name)
def test_a_rule_passes_what_is_right(case: Case):
    assert case.messages == []


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.id)
def test_every_rule_has_a_case_that_it_catches_and_one_that_it_passes(rule):
    assert any(case.rule == rule.id for case in CAUGHT)
    passed = [case for case in PASSED if case.rule == rule.id]
    assert passed
    types = set(rule.types) - {EVERY}
    if types and rule.id not in FORBIDDING:  # a case without a resource that the rule looks at proves nothing
        assert any(r.type in types for case in passed for r in case.graph.resources.values())


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.id)
def test_a_rule_speaks_to_a_person(rule):
    for text in (rule.title, rule.why, rule.remedy):
        assert text
        assert text == text.strip()
    assert not rule.title.endswith(".")
    assert rule.why.endswith(".")
    assert rule.id == rule.id.lower()
    assert rule.id not in {EXPIRED, UNUSED}
    assert (rule.check_resource is None) == (not rule.types)
    assert (rule.check_resource is None) != (rule.check_graph is None)


def test_no_case_is_of_a_rule_that_is_not_there():
    assert {case.rule for case in CASES} <= set(RULES)


def test_rules_look_at_types_that_exist():
    types = {type_ for rule in RULES.values() for type_ in rule.types} - {EVERY}
    assert sorted(type_ for type_ in types if not knows(type_)) == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the SDK's modules, on import
def test_cases_write_inputs_that_exist():
    wrong = {
        f"{resource.type} {name}"
        for case in CASES
        for resource in case.graph.resources.values()
        if knows(resource.type)
        for name in resource.inputs
        if name not in inputs_of(resource.type)
    }
    assert sorted(wrong) == []
