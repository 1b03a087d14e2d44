"""Pages of what answers, on AWS: a row for each, of series that somebody publishes, within what CloudWatch takes."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from components.core import containers, in_cluster
from components.core.cloudwatch_rows import ROWS, SERIES, bodies, row
from components.core.rows import UNSEEN, Row, shown
from components.spec.endpoints import Alarm as Bound
from components.spec.endpoints import answering, where
from components.spec.load import load
from components.spec.serving import Batch, Edge, Llm
from policies.model import Graph
from tests.aws.building import kind
from tests.aws.test_watch import INSIGHTS_BY
from tests.conftest import AWS, ROOT, graph
from tests.kubernetes.endpoints import endpoint

# What a chart shows though no alarm looks at it: runs that began, what they took, and what a guardrail did.
BESIDES = {
    ("AWS/States", "ExecutionsStarted"),
    ("AWS/States", "ExecutionTime"),
    ("AWS/Bedrock/Guardrails", "Invocations"),
    ("AWS/Bedrock/Guardrails", "InvocationsIntervened"),
    # Of pods that nothing stands in front of: their alarms ask in PromQL.
    ("ContainerInsights", "pod_cpu_utilization_over_pod_limit"),
    ("ContainerInsights", "service_number_of_running_pods"),
}
# "Dashboard body structure and syntax": what each type of widget has, and what a series may say.
PROPERTIES = {
    "text": {"markdown"},
    "alarm": {"title", "alarms", "sortBy"},
    "metric": {"title", "region", "view", "stacked", "period", "metrics", "yAxis", "annotations"},
}
SAID = {"id", "label", "period", "stat", "visible", "yAxis"}


def pages(found: Graph) -> list[dict[str, Any]]:
    made = [page for page in kind(found, "Dashboard") if page.name.startswith("serving")]
    return [json.loads(page.get("dashboardBody")) for page in sorted(made, key=lambda page: page.name)]


def widgets(body: Mapping[str, Any], type_: str) -> list[dict[str, Any]]:
    return [widget["properties"] for widget in body["widgets"] if widget["type"] == type_]


def rows(found: Graph) -> dict[str, str]:
    """The words of each row, by its name."""
    said = [text["markdown"] for body in pages(found) for text in widgets(body, "text")]
    return {words.removeprefix("### ").partition("\n")[0]: words for words in said if words.startswith("### ")}


def series(chart: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, str]]]:
    for line in chart["metrics"]:
        if isinstance(line[0], str):
            namespace, name, *pairs = line[:-1]
            yield namespace, name, dict(zip(pairs[::2], pairs[1::2], strict=True))


def watched(found: Graph) -> list[tuple[str, str, dict[str, str]]]:
    """Every series that an alarm looks at."""
    alarms = kind(found, "MetricAlarm")
    queries = [query["metric"] for alarm in alarms for query in alarm.get("metricQueries") or [] if "metric" in query]
    plain = [alarm.inputs for alarm in alarms if alarm.get("metricName")]
    return [(each["namespace"], each["metricName"], dict(each.get("dimensions") or {})) for each in (*queries, *plain)]


def charts(body: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {chart["title"]: chart for chart in widgets(body, "metric")}


@pytest.mark.parametrize("stack", AWS)
def test_whatever_answers_has_a_row(stack: str, graphs: Callable[..., Graph]) -> None:
    environment, found = load(ROOT, stack), rows(graphs(stack))
    for name, spec in answering(environment, "aws").items():
        inside = ", in the cluster" if where(spec) == "kubernetes" else ""
        assert f"\n{spec.kind}{inside}, team {spec.team}\n" in f"{found[name]}\n"
        if not isinstance(spec, Llm | Edge):
            assert "#logsV2:log-groups/log-group/$252F" in found[name], name
    for corpus, spec in environment.here(environment.retrieval.corpora, "aws").items():
        assert f"team {spec.team}" in found[f"corpus {corpus}"]
    assert list(found) == sorted(found)


@pytest.mark.parametrize("stack", AWS)
def test_a_row_has_its_alarms_and_their_series_and_no_others(stack: str, graphs: Callable[..., Graph]) -> None:
    found = graphs(stack)
    looked = watched(found)
    for body in pages(found):
        for chart in widgets(body, "metric"):
            for line in series(chart):
                assert line in looked or line[:2] in BESIDES, line
    stated = {arn for body in pages(found) for states in widgets(body, "alarm") for arn in states["alarms"]}
    for name, spec in answering(load(ROOT, stack), "aws").items():
        mine = [alarm for alarm in kind(found, "MetricAlarm") if alarm.name.startswith(f"{name}-alarm-{name}-")]
        assert mine, name
        for alarm in mine:
            assert f"${{{alarm.urn}#arn}}" in stated
            called = alarm.name.removeprefix(f"{name}-alarm-")
            assert shown(name, spec.kind, called) or called.endswith(UNSEEN), f"{called} has no chart"


@pytest.mark.parametrize("stack", AWS)
def test_lines_are_what_the_description_promises(stack: str, graphs: Callable[..., Graph]) -> None:
    drawn = {title: chart for body in pages(graphs(stack)) for title, chart in charts(body).items()}

    def lines(title: str) -> list[float]:
        return [line["value"] for line in drawn[title]["annotations"]["horizontal"]]

    environment = load(ROOT, stack)
    asked = in_cluster.watched(environment, "aws")
    for name, spec in answering(environment, "aws").items():
        objective: Any = getattr(spec, "objective", None)
        if isinstance(spec, Edge) or name in asked:
            continue
        if isinstance(spec, Batch):
            assert lines(f"{name}: Time") == [60 * objective.finish_hours]
            continue
        times = ("p95_ms", "first_token_p95_ms", "max_wait_minutes")
        [promised] = [getattr(objective, key) for key in times if hasattr(objective, key)]
        assert lines(f"{name}: Time") == [promised * (60 if hasattr(objective, "max_wait_minutes") else 1)]
        answers = drawn[f"{name}: Requests; errors, %"]
        assert lines(f"{name}: Requests; errors, %") == [pytest.approx(100 - objective.availability_percent)]
        requests = [line for line in answers["metrics"] if line[-1].get("label") == "requests"]
        assert requests, f"{name} shows no requests"
        assert all(line[-1]["yAxis"] == "right" for line in requests)
        most = getattr(spec, "tokens_per_minute", None) or getattr(getattr(spec, "concurrency", None), "max", None)
        scale: Any = getattr(spec, "scale", None)
        if most or (scale and scale.min < scale.max):
            assert lines(f"{name}: {'Tokens a minute' if isinstance(spec, Llm) else 'Against the ceiling'}") == [
                most or scale.max
            ]


def bold(body: Mapping[str, Any]) -> None:
    """Whether CloudWatch would take a page."""
    assert len(body["widgets"]) <= 500
    assert sum(len(chart["metrics"]) for chart in widgets(body, "metric")) <= 2500
    taken: set[tuple[int, int]] = set()
    for widget in body["widgets"]:
        x, y, width, height = (widget[key] for key in ("x", "y", "width", "height"))
        assert 0 <= x < x + width <= 24
        assert 1 <= height <= 1000
        cells = {(i, j) for i in range(x, x + width) for j in range(y, y + height)}
        assert not cells & taken, "widgets lie over one another"
        taken |= cells
        assert set(widget["properties"]) <= PROPERTIES[widget["type"]], widget
    for states in widgets(body, "alarm"):
        assert 1 <= len(states["alarms"]) <= 100
    for chart in widgets(body, "metric"):
        ids = [line[-1]["id"] for line in chart["metrics"] if "id" in line[-1]]
        assert len(ids) == len(set(ids)), chart
        assert all(re.fullmatch(r"[a-z][a-zA-Z0-9_]*", each) for each in ids)
        for line in chart["metrics"]:
            said = line[-1]
            assert set(said) <= (SAID if isinstance(line[0], str) else (SAID - {"stat"}) | {"expression"}), line
            assert len(line) % 2 == 1
            # Whatever is small is a name that the chart has.
            names = re.findall(r"\b[a-z]\w*", said.get("expression", ""))
            assert set(names) <= set(ids), line
        sides = {line[-1].get("yAxis", "left") for line in chart["metrics"]}
        assert sides <= set(chart["yAxis"])


@pytest.mark.parametrize("stack", AWS)
def test_cloudwatch_takes_the_pages(stack: str, graphs: Callable[..., Graph]) -> None:
    found = graphs(stack)
    [body] = pages(found)
    bold(body)
    by_row: dict[int, int] = {}
    for widget in body["widgets"]:
        by_row[widget["y"]] = by_row.get(widget["y"], 0) + len(widget["properties"].get("metrics", []))
    assert max(by_row.values()) <= SERIES
    [address] = found.outputs["aws"]["serving"]["dashboards"]
    assert address.endswith(f"#dashboards/dashboard/acme-ai-{stack}-serving")


def wide(name: str) -> Row:
    """The row with the most series: a container's, which has two target groups."""
    bounds = {
        sign: Bound(sign=sign, above=1, minutes=5) for sign in ("p95_latency", "error_rate", "saturation", "ceiling")
    }
    looked = containers.Watched(
        name=name, physical=name, balancer="app/a", groups={"a": "targetgroup/a", "b": "targetgroup/b"}, bounds=bounds,
        signs=["error_rate"],
    )  # fmt: skip
    alarms = list(containers.alarms(looked))
    return row(name, "container", "risk", alarms, arns=["arn"] * len(alarms), region="us-west-2", log="/ecs/a")


def test_two_hundred_endpoints_have_pages_that_cloudwatch_takes() -> None:
    made = bodies({f"e{i:03}": wide(f"e{i:03}") for i in reversed(range(200))}, "Serving")
    assert len(made) == 200 // ROWS
    for body in made:
        bold(body)
    shown_ = [text["markdown"] for body in made for text in widgets(body, "text") if text["markdown"].startswith("###")]
    assert [words.partition("\n")[0] for words in shown_] == [f"### e{i:03}" for i in range(200)]
    assert sum(len(chart["metrics"]) for chart in wide("a").charts.values()) <= SERIES


def test_another_endpoint_changes_no_other_row() -> None:
    less = Row(kind="edge", team="risk", charts={}, alarms=[])
    many = {name: wide(name) for name in ("a", "b", "c")}
    [before], [after] = bodies(many, "Serving"), bodies({**many, "b": less}, "Serving")
    own = {widget["y"] for widget in before["widgets"] if "### b" in json.dumps(widget)}
    [first] = own
    changed = [w for w in before["widgets"] if w not in after["widgets"]] + [
        w for w in after["widgets"] if w not in before["widgets"]
    ]
    assert changed
    assert all(first <= widget["y"] < first + 6 for widget in changed)


def test_a_first_preview_knows_nothing_and_still_has_the_page() -> None:
    found = graph("dev", preview=True)
    assert [page for page in kind(found, "Dashboard") if page.name == "serving-dashboard-page"]


@pytest.mark.parametrize("which", ["realtime", "llm", "batch"])
def test_what_answers_in_a_cluster_has_a_row_of_what_the_agent_counts(which: str) -> None:
    made = in_cluster.aws("fraud", endpoint(which), "acme-ai-dev", "us-west-2")
    bold(bodies({"fraud": made}, "Serving")[0])
    found = [line for chart in made.charts.values() for line in series(chart)]
    assert bool(found) == (which != "batch")
    # Metric declarations of the agent: services, and pods by the service in front of them.
    by_service = {"ClusterName", "Namespace", "Service"}
    declared = {"service_number_of_running_pods": by_service, "pod_cpu_utilization_over_pod_limit": by_service}
    for namespace, name, dimensions in found:
        assert namespace == "ContainerInsights"
        assert set(dimensions) == declared.get(name) or set(dimensions) in INSIGHTS_BY[name]
        assert dimensions["Namespace"] == "serving-risk"
