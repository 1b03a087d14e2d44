"""What stands in front of endpoints: which have a front, and examples of the tables."""

import doctest
from types import ModuleType
from typing import Any

import pytest

from components.core import containers, fronts, functions
from components.core.cloudwatch import Alarm
from components.spec.endpoints import Alarm as Bound
from components.spec.load import load
from tests.conftest import ROOT


@pytest.mark.parametrize("module", [containers, fronts, functions])
def test_examples(module: ModuleType):
    result = doctest.testmod(module)
    assert result.attempted >= 1
    assert result.failed == 0


BOUNDS = {
    sign: Bound(sign=sign, above=above, minutes=5)
    for sign, above in {"p95_latency": 200.0, "error_rate": 0.5, "saturation": 80.0, "ceiling": 10.0}.items()
}


def watched(signs: list[str]) -> list[tuple[str, list[Alarm]]]:
    function = functions.Watched(
        name="a", physical="p-a", bounds=BOUNDS, most=10, namespace="p", signs=signs, version="7"
    )
    container = containers.Watched(
        name="a", physical="p-a", balancer="app/b/1", groups={"a": "g/a", "b": "g/b"}, bounds=BOUNDS, signs=signs
    )
    return [("function", list(functions.alarms(function))), ("container", list(containers.alarms(container)))]


@pytest.mark.parametrize("sign", ["p95_latency", "error_rate"])
def test_a_release_is_judged_by_the_signs_that_are_asked_for(sign: str):
    for kind, found in watched([sign]):
        [rollback] = [alarm for alarm in found if alarm.name == "a-rollback"]
        assert ("> 200" in str(rollback.expression)) == (sign == "p95_latency"), kind
        assert ("> 0.5" in str(rollback.expression)) == (sign == "error_rate"), kind


def test_an_expression_knows_every_series_and_names_no_other():
    for kind, found in watched(["p95_latency", "error_rate"]):
        for alarm in found:
            text = alarm.expression
            assert text is None or all(name in text for name in alarm.metrics), (kind, alarm.name)
            # "Metric math syntax": an alarm looks at ten series at most.
            assert len(alarm.metrics) <= 9, (kind, alarm.name)
            assert all(name[0].islower() and name.isalnum() for name in alarm.metrics), (kind, alarm.name)


def test_no_host_twice_and_none_without_a_domain():
    for stack in ("dev", "prod", "dev-gcp", "prod-gcp"):
        environment = load(ROOT, stack)
        for cloud in environment.cloud.names:
            found: dict[str, Any] = fronts.fronts(environment, cloud)
            hosts = [front.host for front in found.values()]
            assert len(hosts) == len(set(hosts))
            assert not hosts or environment.serving.domain
            if cloud == "aws":
                assert all(front.scope for front in found.values())
