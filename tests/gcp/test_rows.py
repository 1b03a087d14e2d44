"""Pages of what answers, on Google Cloud: a row for each, of series that somebody publishes, within what it takes."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from components.core import in_cluster, watching
from components.core.monitoring_rows import MOST, bodies, row
from components.core.rows import UNSEEN, Row, shown
from components.kubernetes.serving import llm, realtime, router
from components.spec.endpoints import Alarm as Sign
from components.spec.endpoints import answering, where
from components.spec.load import load
from components.spec.serving import Batch, Llm
from policies.model import Graph
from tests.conftest import GCP, ROOT, graph
from tests.gcp.building import kind
from tests.kubernetes.endpoints import endpoint

# What a chart shows though no alert looks at it: what runs took.
BESIDES = {"workflows.googleapis.com/execution_times"}


def pages(found: Graph) -> list[dict[str, Any]]:
    made = [page for page in kind(found, "monitoring/Dashboard") if page.name.startswith("serving")]
    return [json.loads(page.get("dashboardJson")) for page in sorted(made, key=lambda page: page.name)]


def widgets(body: Mapping[str, Any], type_: str) -> list[dict[str, Any]]:
    return [tile["widget"] for tile in body["mosaicLayout"]["tiles"] if type_ in tile["widget"]]


def rows(found: Graph) -> dict[str, str]:
    """The words of each row, by its name."""
    said = [widget["text"]["content"] for body in pages(found) for widget in widgets(body, "text")]
    return {words.removeprefix("### ").partition("\n")[0]: words for words in said if words.startswith("### ")}


def queries(chart: Mapping[str, Any]) -> Iterator[str]:
    for data in chart["xyChart"]["dataSets"]:
        asked = data["timeSeriesQuery"]
        yield asked["prometheusQuery"] if "prometheusQuery" in asked else asked["timeSeriesFilter"]["filter"]


def metrics(query: str) -> set[str]:
    """The names of series in a query: in PromQL before what they are chosen by, in a filter as the type."""
    return set(re.findall(r"\b[\w:]+(?=\{)", query)) | set(re.findall(r'metric\.type = "([^"]+)"', query))


def charts(found: Graph) -> dict[str, dict[str, Any]]:
    return {chart["title"]: chart for body in pages(found) for chart in widgets(body, "xyChart")}


@pytest.mark.parametrize("stack", GCP)
def test_whatever_answers_has_a_row(stack: str, graphs: Callable[..., Graph]) -> None:
    environment, found = load(ROOT, stack), rows(graphs(stack))
    for name, spec in answering(environment, "gcp").items():
        inside = ", in the cluster" if where(spec) == "kubernetes" else ""
        assert f"\n{spec.kind}{inside}, team {spec.team}\n" in f"{found[name]}\n"
        if not isinstance(spec, Llm):
            assert "https://console.cloud.google.com/logs/query" in found[name], name
    for corpus, spec in environment.here(environment.retrieval.corpora, "gcp").items():
        assert f"team {spec.team}" in found[f"corpus {corpus}"]
    assert list(found) == sorted(found)


@pytest.mark.parametrize("stack", GCP)
def test_a_row_shows_what_alerts_look_at(stack: str, graphs: Callable[..., Graph]) -> None:
    found = graphs(stack)
    policies = kind(found, "monitoring/AlertPolicy")
    looked = json.dumps([policy.inputs for policy in policies]).replace('\\"', '"')
    for chart in charts(found).values():
        for query in queries(chart):
            names = metrics(query)
            assert names, query
            assert all(name in looked or name in BESIDES for name in names), query
    listed = {
        name
        for body in pages(found)
        for widget in widgets(body, "incidentList")
        for name in widget["incidentList"]["policyNames"]
    }
    for name, spec in answering(load(ROOT, stack), "gcp").items():
        mine = [policy for policy in policies if policy.urn.rpartition("::")[2].startswith(f"{name}-")]
        assert mine, name
        for policy in mine:
            assert f"${{{policy.urn}#name}}" in listed, policy.name
        for policy in mine:
            sign = policy.get("displayName").partition(": ")[2]
            if sign.startswith(f"{name}-"):
                assert shown(name, spec.kind, sign) or sign.endswith(UNSEEN), f"{sign} has no chart"


@pytest.mark.parametrize("stack", GCP)
def test_lines_are_what_the_description_promises(stack: str, graphs: Callable[..., Graph]) -> None:
    drawn = charts(graphs(stack))

    def lines(title: str) -> list[float]:
        return [line["value"] for line in drawn[title]["xyChart"]["thresholds"]]

    for name, spec in answering(load(ROOT, stack), "gcp").items():
        objective: Any = getattr(spec, "objective", None)
        if isinstance(spec, Batch):
            assert f"{name}: Time" in drawn
            continue
        times = ("p95_ms", "first_token_p95_ms", "max_wait_minutes")
        [promised] = [getattr(objective, key) for key in times if hasattr(objective, key)]
        assert lines(f"{name}: Time") == [promised * (60 if hasattr(objective, "max_wait_minutes") else 1)]
        answers = drawn[f"{name}: Requests; errors, %"]
        assert lines(f"{name}: Requests; errors, %") == [pytest.approx(100 - objective.availability_percent)]
        beside = {data["legendTemplate"] for data in answers["xyChart"]["dataSets"] if data["targetAxis"] == "Y2"}
        assert any(legend.startswith("requests") for legend in beside), f"{name} shows no requests"
        assert f"{name}: {'Tokens a minute' if isinstance(spec, Llm) else 'Against the ceiling'}" in drawn


def bold(body: Mapping[str, Any]) -> None:
    """Whether Cloud Monitoring would take a page ("Dashboards API")."""
    tiles = body["mosaicLayout"]["tiles"]
    assert len(tiles) <= 100
    assert body["mosaicLayout"]["columns"] == 48
    taken: set[tuple[int, int]] = set()
    for tile in tiles:
        assert 0 not in (tile.get("xPos"), tile.get("yPos")), "the API answers without zeroes"
        x, y = tile.get("xPos", 0), tile.get("yPos", 0)
        assert x + tile["width"] <= 48
        cells = {(i, j) for i in range(x, x + tile["width"]) for j in range(y, y + tile["height"])}
        assert not cells & taken, "tiles lie over one another"
        taken |= cells
        [type_] = set(tile["widget"]) - {"title"}
        assert type_ in {"text", "incidentList", "xyChart"}
        if type_ == "xyChart":
            chart = tile["widget"]["xyChart"]
            assert set(chart) <= {"dataSets", "thresholds", "yAxis", "y2Axis"}
            axes = {data["targetAxis"] for data in chart["dataSets"]}
            assert "Y1" in axes
            assert ("Y2" in axes) == ("y2Axis" in chart)
            assert all(set(line) == {"label", "targetAxis", "value"} for line in chart.get("thresholds", []))


@pytest.mark.parametrize("stack", GCP)
def test_cloud_monitoring_takes_the_pages(stack: str, graphs: Callable[..., Graph]) -> None:
    found = graphs(stack)
    [body] = pages(found)
    bold(body)
    assert len(found.outputs["gcp"]["serving"]["dashboards"]) == 1


def wide(name: str) -> Row:
    """A row with all four charts."""
    signs = {
        sign: Sign(sign=sign, above=1, minutes=5) for sign in ("p95_latency", "error_rate", "saturation", "ceiling")
    }
    alarms = watching.alarms(name, watching.cloud_run(name), signs)
    return row(name, "container", "risk", alarms, policies=[f"projects/1/alertPolicies/{name}"], log=("acme", "a"))


def test_two_hundred_endpoints_have_pages_that_cloud_monitoring_takes() -> None:
    made = bodies({f"e{i:03}": wide(f"e{i:03}") for i in reversed(range(200))}, "Serving")
    assert len(made) == -(-200 // MOST)
    for body in made:
        bold(body)
    assert len({body["displayName"] for body in made}) == len(made)
    titles = [w["title"] for body in made for w in widgets(body, "text") if w["title"].startswith("e")]
    assert titles == [f"e{i:03}" for i in range(200)]


def test_another_endpoint_changes_no_other_row() -> None:
    many = {name: wide(name) for name in ("a", "b", "c")}
    less = Row(kind="batch", team="risk", charts={}, alarms=many["b"].alarms)
    [before], [after] = bodies(many, "Serving"), bodies({**many, "b": less}, "Serving")
    was, is_ = before["mosaicLayout"]["tiles"], after["mosaicLayout"]["tiles"]
    [own] = [tile["yPos"] for tile in was if tile["widget"].get("title") == "b"]
    changed = [tile for tile in was if tile not in is_] + [tile for tile in is_ if tile not in was]
    assert changed
    assert {tile.get("yPos") for tile in changed} == {own}


def test_a_first_preview_knows_nothing_and_still_has_the_page() -> None:
    found = graph("dev-gcp", preview=True)
    assert [page for page in kind(found, "monitoring/Dashboard") if page.name == "serving-dashboard-page"]


_TITLES: dict[str, set[str]] = {
    "realtime": {"Requests; errors, %", "Time", "Busy, %", "Against the ceiling"},
    "llm": {"Requests; errors, %", "Time", "Cache of the servers, %", "Tokens a minute"},
    "batch": set(),
}


@pytest.mark.parametrize(
    ("which", "kept"), [("realtime", realtime.KEPT), ("llm", f"{llm.KEPT}|{router.KEPT}"), ("batch", "")]
)
def test_what_answers_in_a_cluster_shows_what_is_collected_of_it(which: str, kept: str) -> None:
    made = in_cluster.gcp("fraud", endpoint(which), "acme-ai-dev-gcp", "acme-ai-dev")
    bold(bodies({"fraud": made}, "Serving")[0])
    asked = [query for chart in made.charts.values() for query in queries(chart)]
    assert bool(asked) == bool(kept)
    for query in asked:
        names = re.findall(r"[\w:]+(?=\{)", query)
        assert names
        assert all(re.fullmatch(kept, name) for name in names), query
        spaces = "(serving-risk|inference)"
        assert len(re.findall(f'cluster="acme-ai-dev-gcp",namespace="{spaces}",job="fraud"', query)) == len(names)
    assert {chart["title"].partition(": ")[2] for chart in made.charts.values()} == _TITLES[which]
