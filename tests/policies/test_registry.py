"""Evaluation: order, waivers, defects."""

import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from policies import rule as registers
from policies.model import Graph, Place, Resource
from policies.registry import CONCERNS, EXPIRED, RULES, UNUSED, RuleError, evaluate
from policies.rule import EVERY, graph_rule, resource_rule
from tests.policies.build import aws, gcp, graph, make
from tests.policies.cases import CASES

TODAY = date(2030, 6, 15)
TOPIC = replace(make("aws:sns/topic:Topic", "alerts", inputs={"name": "acme-dev-alerts"}), place=Place("a.py", 7))
QUEUE = make("aws:sqs/queue:Queue", "work", inputs={"name": "acme-dev-work", "kmsMasterKeyId": "alias/acme"})
BROKEN = graph(aws(), TOPIC, QUEUE)


@dataclass(frozen=True)
class Written:
    rule: str = "encryption-own-key"
    resource: str = "alerts"
    reason: str = "It carries nothing but the word that something is wrong."
    owner: str = "a@example.com"
    expires: date = TODAY


def found(*waivers, of="encryption-own-key", in_=BROKEN, today=TODAY):
    return [f for f in evaluate(in_, waivers, today) if f.rule == of]


def test_a_finding_says_all_that_a_report_needs():
    (finding,) = found()
    rule = RULES["encryption-own-key"]
    assert (finding.title, finding.severity, finding.enforcement, finding.remedy) == (
        rule.title,
        rule.severity,
        rule.enforcement,
        rule.remedy,
    )
    assert (finding.resource, finding.name, finding.place) == (TOPIC.urn, "alerts", Place("a.py", 7))
    assert finding.message == "kmsMasterKeyId names no key"
    assert finding.waiver is None
    assert finding.blocking


def test_a_finding_on_the_stack_names_the_stack():
    (finding,) = found(of="budget-exists")
    assert (finding.resource, finding.name, finding.place) == ("", "dev", None)


@pytest.mark.parametrize("resource", ["alerts", "al*", "*", TOPIC.urn, "urn:pulumi:dev::*Topic::alerts"])
def test_a_waived_finding_is_listed_and_stops_nothing(resource):
    waiver = Written(resource=resource)
    (finding,) = found(waiver)
    assert finding.waiver is waiver
    assert not finding.blocking
    assert found(waiver, of=UNUSED) == []


@pytest.mark.parametrize(
    "waiver", [Written(resource="other"), Written(rule="key-rotation"), Written(resource="ALERTS")]
)
def test_a_waiver_of_something_else_covers_nothing_and_is_named(waiver):
    (finding,) = found(waiver)
    assert finding.blocking
    (unused,) = found(waiver, of=UNUSED)
    assert unused.enforcement == "advisory"
    assert not unused.blocking
    assert waiver.rule in unused.message
    assert "holds without it" in unused.message


def test_a_waiver_of_no_rule_is_named():
    (unused,) = found(Written(rule="encryption-own-kye"), of=UNUSED)
    assert "no such rule" in unused.message


def test_a_waiver_of_a_minimum_of_the_description_is_the_loaders_affair():
    assert found(Written(rule="prod-zones", resource="network.zones"), of=UNUSED) == []


def test_a_waiver_holds_on_its_last_day_and_not_on_the_next():
    waiver = Written()
    assert not found(waiver)[0].blocking
    (finding,) = found(waiver, today=TODAY + timedelta(days=1))
    assert finding.blocking
    (expired,) = found(waiver, of=EXPIRED, today=TODAY + timedelta(days=1))
    assert expired.enforcement == "mandatory"
    assert expired.blocking
    assert "2030-06-15" in expired.message
    assert "a@example.com" in expired.message


def test_without_a_day_the_day_is_today():
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    assert [f for f in evaluate(BROKEN, [Written(expires=yesterday)]) if f.rule == EXPIRED]
    assert not [f for f in evaluate(BROKEN, [Written(expires=yesterday + timedelta(days=2))]) if f.rule == EXPIRED]


def test_a_waiver_of_a_finding_on_the_stack_names_the_stack():
    (finding,) = found(Written(rule="budget-exists", resource="dev"), of="budget-exists")
    assert finding.waiver


def test_what_blocks_comes_first_then_the_worst():
    findings = evaluate(BROKEN, [Written(rule="budget-exists", resource="*")], TODAY)
    order = [
        (not f.blocking, ["critical", "high", "medium", "low"].index(f.severity), f.rule, f.resource) for f in findings
    ]
    assert order == sorted(order)
    assert len({blocked for blocked, *_ in order}) == 2


def test_the_order_of_resources_changes_nothing():
    resources = dict(reversed(BROKEN.resources.items()))
    assert evaluate(replace(BROKEN, resources=resources), (), TODAY) == evaluate(BROKEN, (), TODAY)


def test_an_empty_graph_has_no_findings():
    assert evaluate(Graph(project="p", stack="dev", resources={})) == []


@pytest.fixture
def register(monkeypatch):
    monkeypatch.setattr(registers, "RULES", {})
    monkeypatch.setattr("policies.registry.RULES", registers.RULES)
    text = {"title": "t", "severity": "low", "why": "w.", "remedy": "r"}

    def declare(name, check, types=(EVERY,)):
        if types:
            resource_rule(name, types=types, **text)(check)
        else:
            graph_rule(name, **text)(check)

    return declare


def fails(*_):
    raise KeyError("policy")
    yield


@pytest.mark.parametrize(("types", "where"), [((EVERY,), TOPIC.urn), ((), "the stack dev")])
def test_a_rule_that_fails_shows_its_id(register, types, where):
    register("rule-with-a-defect", fails, types)
    with pytest.raises(RuleError, match=r"rule-with-a-defect failed on .*KeyError: 'policy'") as error:
        evaluate(graph(TOPIC))
    assert where in str(error.value)


def test_two_rules_of_one_name_are_refused(register):
    register("one", lambda *_: iter(()))
    with pytest.raises(ValueError, match="two rules are called one"):
        register("one", lambda *_: iter(()))


def test_a_resource_meets_the_rules_on_its_type_only(register):
    seen: list[tuple[str, str]] = []

    def watch(name):
        def check(resource: Resource, _):
            seen.append((name, resource.name))
            yield from ()

        return check

    register("topics", watch("topics"), (TOPIC.type,))
    register("all", watch("all"))
    evaluate(BROKEN)
    assert sorted(seen) == [("all", "alerts"), ("all", "aws"), ("all", "work"), ("topics", "alerts")]


def test_every_file_of_rules_declares_some():
    files = {p.stem for p in Path("policies/rules").glob("*.py")} - {"__init__"}
    assert files == set(CONCERNS) == {rule.concern for rule in RULES.values()}


def test_no_module_takes_the_place_of_one_of_pythons_own():
    # Pulumi starts Python inside policies/, where each of these would be found first.
    modules = {p.stem for p in Path("policies").iterdir() if p.suffix == ".py" or p.is_dir()}
    assert sorted(modules & sys.stdlib_module_names) == []


def test_the_rules_need_neither_pulumi_nor_the_descriptions_model():
    code = "import sys, policies.registry; print(*sorted({'pulumi', 'pydantic', 'pulumi_policy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip() == ""


GIVEN: dict[str, set[str]] = {type_: set() for rule in RULES.values() for type_ in rule.types if type_ != EVERY}
for case in CASES:
    for resource in case.graph.resources.values():
        GIVEN.setdefault(resource.type, set()).update(resource.inputs)


@pytest.mark.parametrize("type_", sorted(GIVEN))
def test_no_rule_fails_on_what_is_missing_unknown_or_of_another_kind(type_):
    other = make("aws:kms/key:Key", "other", inputs={})
    for value in (f"${{{other.urn}#}}", ["text"], [None], {}, 7, None):
        given = make(type_, "given", inputs=dict.fromkeys(GIVEN[type_], value))
        evaluate(graph(aws("prod"), gcp("prod"), other, given, make(type_, "empty", inputs={})))
