"""Whole environments: a release in a cluster that was taken back is told, by a series that somebody collects."""

from collections.abc import Callable, Mapping

import pytest
import yaml

from components.core.scrapes import ROLLOUTS
from components.spec.endpoints import answering, stepwise
from components.spec.load import load
from components.spec.section import CloudName
from policies.model import Graph, Resource
from tests.conftest import ROOT

STACKS: Mapping[str, CloudName] = {"staging": "aws", "staging-gcp": "gcp"}
ROLLOUT = "kubernetes:argoproj.io/v1alpha1:Rollout"  # a component of Google Cloud is called so too
ALARM = {"aws": "MetricAlarm", "gcp": "AlertPolicy"}
TOLD = {"aws": "alarmActions", "gcp": "notificationChannels"}


def query(alarm: Resource) -> str:
    if asked := alarm.get("evaluationCriteria.promqlCriteria.query"):
        return asked
    return alarm.get("conditions")[0]["conditionPrometheusQueryLanguage"]["query"]


@pytest.mark.parametrize("stack", STACKS)
def test_who_owns_an_endpoint_hears_of_a_release_that_was_taken_back(stack: str, graphs: Callable[..., Graph]) -> None:
    cloud, found = STACKS[stack], graphs(stack)
    made = list(found.resources.values())
    rollouts = {r.get("metadata.labels")["ai-platform.io/endpoint"]: r for r in made if r.type == ROLLOUT}
    released = {name: spec for name, spec in answering(load(ROOT, stack), cloud).items() if stepwise(spec)}
    assert rollouts.keys() == released.keys() == {"rank", "similar"}
    for name, rollout in rollouts.items():
        [alarm] = [r for r in made if r.type.endswith(f":{ALARM[cloud]}") and r.name == f"{name}-alarm-{name}-release"]
        asked = query(alarm)
        assert asked.startswith("max(rollout_info{")
        assert f'name="{rollout.get("metadata.name")}"' in asked
        assert f'namespace="serving-{released[name].team}"' in asked
        assert any(f"notifications-team-{released[name].team}" in each for each in alarm.get(TOLD[cloud])), name


@pytest.mark.parametrize("stack", STACKS)
def test_the_series_is_collected_where_the_controller_says_it(stack: str, graphs: Callable[..., Graph]) -> None:
    found = list(graphs(stack).resources.values())
    [chart] = [r for r in found if r.type.endswith(":Release") and r.get("chart") == "argo-rollouts"]
    assert chart.get("values.controller.metrics.enabled") is True
    if STACKS[stack] == "gcp":
        [told] = [r for r in found if r.type.endswith(":PodMonitoring") and r.get("metadata.name") == ROLLOUTS.name]
        assert told.get("metadata.namespace") == chart.get("namespace")
        [endpoint] = told.get("spec.endpoints")
        assert (endpoint["port"], endpoint["metricRelabeling"][0]["regex"]) == (8090, "rollout_info")
        return
    [scraper] = [r for r in found if r.type.endswith(":Scraper")]
    jobs = {job["job_name"]: job for job in yaml.safe_load(scraper.get("scrapeConfiguration"))["scrape_configs"]}
    job = jobs[ROLLOUTS.name]
    assert job["kubernetes_sd_configs"] == [{"role": "pod", "namespaces": {"names": [chart.get("namespace")]}}]
    assert job["metric_relabel_configs"] == [{"source_labels": ["__name__"], "regex": "rollout_info", "action": "keep"}]
    # And it may get there.
    [way] = [r for r in found if r.type.endswith(":SecurityGroupIngressRule") and r.get("fromPort") == ROLLOUTS.port]
    assert way.get("toPort") == ROLLOUTS.port
