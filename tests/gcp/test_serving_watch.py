"""What watches endpoints in a cluster of Google Cloud that no load balancer counts."""

from functools import cache
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components.core.in_cluster import Watched, alerts, signs
from components.gcp.serving.watch import Watch, WatchArgs
from components.scope import PROJECT
from policies.model import Graph, Resource
from preview.record import run
from tests.gcp.alone import scope, text
from tests.gcp.building import build, kind
from tests.kubernetes.endpoints import endpoint

REAL: dict[str, Any] = {
    "kind": "realtime", "team": "risk", "server": "kubernetes", "model": {"image": "serving:1.0.0"},
    "scale": {"min": 2, "max": 4}, "objective": {"p95_ms": 400, "requests_per_month": 1_000_000},
}  # fmt: skip
CLUSTER = "acme-ai-dev-cluster"
ENDPOINTS = {"fraud": endpoint("realtime"), "chat": endpoint("llm", team="vision")}


@cache
def made(*, preview: bool = False) -> Graph:
    def program() -> None:
        root = pulumi.ComponentResource(f"{PROJECT}:Root", "root", None)
        here = scope(root)
        args = WatchArgs(
            apis={"monitoring.googleapis.com": text("acme-dev"), "logging.googleapis.com": text("acme-dev")},
            endpoints={
                name: Watched(team=spec.team, signs=signs(name, spec, CLUSTER, "gcp"))
                for name, spec in ENDPOINTS.items()
            },
            critical=[text("critical")],
            warning=[text("warning")],
            teams={"risk": [text("team-risk")]},
        )
        Watch("watch", args, scope=here, parent=root)

    return run(program, preview=preview)


def policies(graph: Graph) -> dict[str, Resource]:
    return {each.name: each for each in kind(graph, "monitoring/AlertPolicy")}


@pytest.mark.parametrize("name", ["fraud", "chat"])
def test_each_sign_has_an_alert_that_asks_what_the_table_says(name: str):
    found, spec = policies(made()), ENDPOINTS[name]
    for alert in alerts(name, signs(name, spec, CLUSTER, "gcp")):
        [condition] = found[f"{name}-alarm-{alert.name}"].get("conditions")
        asked = condition["conditionPrometheusQueryLanguage"]
        assert asked["query"] == getattr(alert.condition, "promql", "")
        assert asked["duration"] == f"{alert.minutes * 60}s"
    wanted = {"p95_latency", "error_rate", "saturation", "ceiling", "silent"}
    assert {sign.bound.sign for sign in signs(name, spec, "c", "gcp")} == wanted
    assert len([each for each in found if each.startswith(f"{name}-alarm-")]) == len(wanted)


def test_the_team_hears_of_all_and_everybody_of_what_cannot_wait():
    found = policies(made())
    assert found["fraud-alarm-fraud-error-rate"].get("notificationChannels") == ["critical", "team-risk"]
    assert found["fraud-alarm-fraud-ceiling"].get("notificationChannels") == ["team-risk"]
    assert found["chat-alarm-chat-errors"].get("notificationChannels") == ["critical"]
    assert found["chat-alarm-chat-ceiling"].get("notificationChannels") == ["warning"]


def test_a_first_preview_knows_nothing_and_still_watches():
    assert len(policies(made(preview=True))) == 10


def test_an_endpoint_without_an_api_has_its_alerts_and_they_stand_on_its_page(project: Path):
    graph = build(project, {"serving": {"endpoints": {"inner": REAL}}})
    mine = [each for name, each in policies(graph).items() if name.startswith("inner-alarm-")]
    assert len(mine) == 5
    pages = [each.get("dashboardJson") for each in kind(graph, "monitoring/Dashboard") if "serving" in each.name]
    for each in mine:
        assert any(str(each.urn) in str(page) for page in pages), each.name
        assert each.get("notificationChannels"), each.name
