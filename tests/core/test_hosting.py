"""What SageMaker is told of endpoints: the tables, apart from any resource."""

import doctest

import pytest

from components.core import hosting
from components.spec.endpoints import Alarm
from components.spec.releases import AllAtOnce, BlueGreen, Canary


def test_examples():
    result = doctest.testmod(hosting)
    assert result.attempted >= 6
    assert result.failed == 0


def test_waits_of_a_release_end_before_the_provider_gives_up():
    # It waits for an hour; machines that start are a part of it.
    for strategy, minutes in hosting.LONGEST_BAKE.items():
        assert minutes * (1 if strategy == "all_at_once" else 2) <= 45


@pytest.mark.parametrize("minutes", [1, 15, 60, 1440])
def test_no_release_is_watched_for_longer_than_sagemaker_can(minutes: int):
    for release in (
        AllAtOnce(strategy="all_at_once", bake_minutes=minutes),
        BlueGreen(strategy="blue_green", bake_minutes=minutes),
        Canary(strategy="canary", percent=90, bake_minutes=minutes),
    ):
        made = hosting.rollout(release)
        # TrafficRoutingConfig and BlueGreenUpdatePolicy: 3600 each; CanarySize: half of the fleet.
        assert max(made.wait, made.bake) <= 3600
        assert (made.percent or 0) <= 50
        assert 600 <= made.wait + made.bake + 600 < made.longest <= 14_400


@pytest.mark.parametrize("minimum", [0, 1, 2, 7])
@pytest.mark.parametrize("maximum", [7, 9])
@pytest.mark.parametrize("expected", [0, 0.1, 6.4, 100])
@pytest.mark.parametrize("strategy", ["all_at_once", "blue_green", "canary", "shadow"])
def test_a_release_begins_within_the_scale(minimum: int, maximum: int, expected: float, strategy: str):
    count = hosting.first_count(minimum, maximum, expected, strategy)
    assert max(minimum, 1) <= count <= maximum


def test_a_bound_without_a_series_has_no_alarm():
    bounds = {sign: Alarm(sign=sign, above=1, minutes=5) for sign in ("throttled", "saturation", "waiting")}
    watched = hosting.Watched(name="a", physical="x-a", kind="async", bounds=bounds, machine=None)
    assert [alarm.name for alarm in hosting.alarms(watched)] == ["a-waiting"]


def test_alarms_have_windows_that_cloudwatch_takes():
    bounds = {
        sign: Alarm(sign=sign, above=9, minutes=15)
        for sign in ("p95_latency", "error_rate", "waiting", "saturation", "ceiling")
    }
    for kind in ("realtime", "async", "serverless"):
        watched = hosting.Watched(name="a", physical="x-a", kind=kind, bounds=bounds, signs=["error_rate"])
        for alarm in hosting.alarms(watched):
            # PutMetricAlarm: a multiple of a minute, and a day at most altogether.
            assert alarm.period % 60 == 0
            assert alarm.period * alarm.periods <= 86_400
            assert len(alarm.metrics) <= 10
            # A percentile is no statistic of an alarm on one series.
            assert alarm.expression or all(m.statistic != "p95" for m in alarm.metrics.values())
