"""Releases on Google Cloud: the very source that Workflows is given is run, against a cloud that is made up."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

import pytest

from components.core.rollouts import (
    RELEASED,
    TAKEN_BACK,
    VERSION,
    Guard,
    Model,
    Plan,
    batch,
    cloud_run,
    number,
    vertex,
    waves,
    workflow,
)
from tests.gcp.workflows import Interpreter, Raised, Stopped, failed

PARENT = "projects/acme-ai-dev/locations/us-central1"
SERVICE, ENDPOINT, WORKFLOW = f"{PARENT}/services/fraud", f"{PARENT}/endpoints/123", f"{PARENT}/workflows/release"
GUARDS = [
    Guard(sign="p95_latency", query=f'p95{{v="{VERSION}"}}'),
    Guard(sign="error_rate", query=f'bad{{v="{VERSION}"}}'),
]
OLD, NEW = "1111111111", "2222222222"


class Cloud:
    """What a release reaches: one bucket, one endpoint of either kind, metrics, executions."""

    def __init__(self) -> None:
        self.record: dict[str, Any] | None = None
        self.split: dict[str, int] = {}
        self.there: set[str] = set()
        self.models: set[str] = set()
        self.running: set[str] = set()
        self.signs: Callable[[str], bool] = lambda _: False
        """Whether a query yields something."""
        self.fails: dict[str, int] = {}
        """A call's name, or a part of its address, to the code that it fails with, once."""
        self.stop: str | None = None
        """The execution is broken off before the first call that has this in it."""
        self.splits: list[dict[str, int]] = []
        self.calls: list[str] = []
        self.minutes = 0
        self.events: list[dict[str, Any]] = []
        self.bodies: list[Any] = []
        self.at: Callable[[str], None] = lambda _: None

    @property
    def memory(self) -> dict[str, str]:
        return (self.record or {}).get("metadata", {})

    def call(self, name: str, args: dict[str, Any]) -> Any:
        label = f"{name} {args.get('url', '')}"
        if self.stop and self.stop in label:
            self.stop = None
            raise Stopped
        self.calls.append(label)
        self.at(label)
        for part in [part for part in self.fails if part in label]:
            raise failed(self.fails.pop(part))
        if name == "sys.sleep":
            self.minutes += args["seconds"] // 60
            return None
        if name == "sys.log":
            self.events.append(args["json"])
            return None
        if name.startswith("http."):
            assert args["auth"] == {"type": "OAuth2"}
            return {"code": 200, "body": self._http(name.removeprefix("http."), args)}
        return self._connector(name.rpartition(".")[2], args)

    def _http(self, method: str, args: dict[str, Any]) -> Any:  # noqa: PLR0911 - one API each
        url: str = args["url"]
        query: dict[str, Any] = args.get("query", {})
        body: Any = args.get("body")
        if url.startswith("https://storage."):
            return self._storage(method, url, query, body)
        if url.startswith("https://workflowexecutions."):
            assert f"/v1/{WORKFLOW}/executions/" in url
            return {"state": "ACTIVE" if url.rpartition("/")[2] in self.running else "SUCCEEDED"}
        if url.startswith("https://monitoring."):
            assert url.endswith("/v1/projects/acme-ai-dev/location/global/prometheus/api/v1/query")
            assert VERSION not in query["query"]
            return {"data": {"result": [{"value": 1}] if self.signs(query["query"]) else []}}
        if "/revisions/" in url:
            if url.rpartition("/")[2] not in self.there:
                raise failed(404)
            return {}
        if "/models/" in url:
            if url.rpartition("/")[2] not in self.models:
                raise failed(404)
            return {}
        if method == "patch":
            (mask,) = query.values()
            assert list(body) == [mask], "more is sent than the mask lets through"
            if mask == "traffic":
                assert {t["type"] for t in body["traffic"]} == {"TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION"}
                self._shift({t["revision"]: t["percent"] for t in body["traffic"]})
            else:
                self._shift(body["trafficSplit"])
            return {}
        if "/services/" in url:
            return {"traffic": [{"revision": v, "percent": p} for v, p in self.split.items()]}
        found = {"deployedModels": [{"id": v} for v in sorted(self.there)], "trafficSplit": dict(self.split)}
        return {key: value for key, value in found.items() if value}

    def _shift(self, split: dict[str, int]) -> None:
        assert sum(split.values()) == 100
        assert set(split) <= self.there, "traffic to what is not there"
        self.split = dict(split)
        self.splits.append(self.split)

    def _storage(self, method: str, url: str, query: dict[str, str], body: Any) -> Any:
        if method == "post":
            assert query["ifGenerationMatch"] == "0"
            assert query["name"] == "releases/fraud.json"
            self.record = {"metageneration": "1"}
        elif self.record is None:
            raise failed(404)
        assert method == "post" or unquote(url).endswith("/o/releases/fraud.json")
        if method == "patch":
            if query["ifMetagenerationMatch"] != self.record["metageneration"]:
                raise failed(412)
            self.record = {
                "metageneration": str(int(self.record["metageneration"]) + 1),
                "metadata": {**self.memory, **body["metadata"]},
            }
        return json.loads(json.dumps(self.record))

    def _connector(self, name: str, args: dict[str, Any]) -> Any:
        self.bodies.append(args.get("body"))
        if name == "upload":
            said = args["body"]["model"]
            parent = args["body"].get("parentModel")
            assert bool(parent) != ("modelId" in args["body"])
            assert bool(parent) == ("fraud" in self.models), "a further version names its parent"
            self.models |= {"fraud", *(f"fraud@{alias}" for alias in said["versionAliases"])}
        elif name == "deployModel":
            made = args["body"]["deployedModel"]
            assert made["model"].rpartition("/")[2] in self.models
            assert "trafficSplit" not in args["body"]
            self.there.add(made["id"])
        elif name == "undeployModel":
            version = args["body"]["deployedModelId"]
            assert version not in self.split, "what still answers is taken away"
            self.there.remove(version)
        elif name == "create":
            return {"name": "job", "state": "JOB_STATE_SUCCEEDED"}
        return {}


def source(
    version: str = NEW, strategy: Any = "canary", *, kind: str = "vertex", unpack: bool = False
) -> dict[str, Any]:
    plan = Plan(
        endpoint="fraud", project="acme-ai-dev", workflow=WORKFLOW, bucket="acme-ai-dev-models", record="releases/fraud.json",
        version=version, waves=waves(strategy, 10, 15), guards=GUARDS,
    )  # fmt: skip
    model = Model(
        parent=PARENT, region="us-central1", id="fraud", alias=f"v{version}", body={"displayName": "fraud"},
        unpack={"displayName": "unpack"} if unpack else None,
    )  # fmt: skip
    target = cloud_run(SERVICE) if kind == "run" else vertex(ENDPOINT, "us-central1", {"displayName": "fraud"}, model)
    return workflow(plan, target)


def execute(cloud: Cloud, made: dict[str, Any] | None = None, argument: Any = None, name: str = "e1") -> Any:
    return Interpreter(made or source(), cloud.call, name).run({} if argument is None else argument)


def live(kind: str = "vertex") -> Cloud:
    """A cloud in which the old version is live."""
    cloud = Cloud()
    if kind == "run":
        cloud.there = {OLD}
    assert execute(cloud, source(OLD, kind=kind), name="e0") == "released"
    cloud.there |= {NEW} if kind == "run" else set()
    cloud.splits.clear()
    cloud.events.clear()
    cloud.calls.clear()
    return cloud


@pytest.mark.parametrize("kind", ["vertex", "run"])
def test_a_first_version_goes_straight(kind: str):
    cloud = Cloud()
    cloud.there = {NEW} if kind == "run" else set()
    assert execute(cloud, source(kind=kind)) == "released"
    assert cloud.splits == [{NEW: 100}]
    assert cloud.minutes < 6
    assert cloud.memory["trusted"] == NEW


@pytest.mark.parametrize("kind", ["vertex", "run"])
@pytest.mark.parametrize(
    ("strategy", "splits", "minutes"),
    [
        ("canary", [{OLD: 90, NEW: 10}, {NEW: 100}], 15),
        ("blue_green", [{OLD: 50, NEW: 50}, {NEW: 100}], 30),
        ("all_at_once", [{NEW: 100}], 15),
    ],
)
def test_requests_move_in_parts_that_are_watched(kind: str, strategy: str, splits: list[dict[str, int]], minutes: int):
    cloud = live(kind)
    assert execute(cloud, source(strategy=strategy, kind=kind)) == "released"
    assert cloud.splits == splits
    assert cloud.minutes >= minutes
    assert cloud.memory["trusted"] == NEW
    assert [event["event"] for event in cloud.events] == [RELEASED]
    assert OLD not in cloud.there or kind == "run"
    # Nothing is left to do.
    cloud.calls.clear()
    assert execute(cloud, source(strategy=strategy, kind=kind), name="e2") == "live"
    assert len(cloud.splits) == len(splits)
    assert not any("deployModel" in call for call in cloud.calls)


@pytest.mark.parametrize("kind", ["vertex", "run"])
@pytest.mark.parametrize("strategy", ["canary", "blue_green", "all_at_once"])
@pytest.mark.parametrize("sign", ["p95", "bad"])
def test_a_sign_takes_it_back_and_nobody_tries_again(kind: str, strategy: str, sign: str):
    cloud = live(kind)
    # Only of the new version, and only once it has requests; late, as metrics are.
    cloud.signs = lambda query: query == f'{sign}{{v="{NEW}"}}' and cloud.minutes >= 14
    assert execute(cloud, source(strategy=strategy, kind=kind)) == "taken back"
    assert cloud.split == {OLD: 100}
    assert cloud.memory["trusted"] == OLD
    (event,) = cloud.events
    assert (event["event"], event["version"], event["live"]) == (TAKEN_BACK, NEW, OLD)
    assert {"p95": "p95_latency", "bad": "error_rate"}[sign] in event["because"]
    assert NEW not in cloud.there or kind == "run"
    moved = len(cloud.splits)
    assert execute(cloud, source(strategy=strategy, kind=kind), name="e2") == "refused"
    assert (len(cloud.splits), len(cloud.events)) == (moved, 1)
    # Somebody asks for it.
    cloud.signs = lambda _: False
    assert execute(cloud, source(strategy=strategy, kind=kind), {"again": True}, name="e3") == "released"
    assert cloud.memory["refused"] == ""


def test_a_sign_of_the_last_minutes_counts():
    cloud = live()
    cloud.signs = lambda query: NEW in query and cloud.minutes >= 15 + 5
    assert execute(cloud) == "taken back"


def test_going_back_to_what_was_live_is_no_release():
    cloud = live()
    cloud.signs = lambda query: NEW in query
    execute(cloud)
    assert execute(cloud, source(OLD), name="e2") == "live"
    assert cloud.split == {OLD: 100}


@pytest.mark.parametrize("kind", ["vertex", "run"])
def test_a_repeated_start_leaves_the_one_that_runs_alone(kind: str):
    cloud = live(kind)
    seen: list[Any] = []

    def again(label: str) -> None:
        if "monitoring" in label and not seen:
            cloud.running.add("e1")
            before = (dict(cloud.split), set(cloud.there), cloud.record)
            seen.append(execute(cloud, source(kind=kind), name="e2"))
            assert before == (cloud.split, cloud.there, cloud.record)

    cloud.at = again
    assert execute(cloud, source(kind=kind)) == "released"
    assert seen == ["another execution is at it"]


def test_of_two_starts_at_the_same_moment_one_goes_on():
    cloud = live()
    seen: list[Any] = []

    def between(label: str) -> None:
        # The other one claims after this one has read.
        if label.startswith("http.patch https://storage") and not seen:
            seen.append(None)
            assert cloud.record is not None
            cloud.record["metageneration"] = "99"

    cloud.at = between
    assert execute(cloud) == "another execution is at it"
    assert not cloud.splits


def steps_of(kind: str) -> Iterator[str]:
    """Every call that a release makes."""
    cloud = live(kind)
    execute(cloud, source(kind=kind))
    yield from dict.fromkeys(cloud.calls)


@pytest.mark.parametrize("kind", ["vertex", "run"])
@pytest.mark.parametrize("good", [True, False])
def test_broken_off_anywhere_the_next_start_ends_it(kind: str, good: bool):
    for label in steps_of(kind):
        cloud = live(kind)
        cloud.signs = lambda query: NEW in query and not good
        cloud.stop = label
        try:
            execute(cloud, source(kind=kind))
        except Stopped:
            assert not cloud.split or sum(cloud.split.values()) == 100
        for turn in range(2):
            execute(cloud, source(kind=kind), name=f"e{turn + 2}")
        assert cloud.split == ({NEW: 100} if good else {OLD: 100}), label
        assert cloud.memory["trusted"] == (NEW if good else OLD), label
        assert kind == "run" or cloud.there == set(cloud.split), label


def test_a_version_that_does_not_start_is_taken_back():
    cloud = live()
    cloud.fails = {"deployModel": 400}
    assert execute(cloud) == "taken back"
    assert cloud.split == {OLD: 100}
    assert "400" in cloud.events[0]["because"]


def test_a_first_version_that_does_not_start_is_tried_again():
    cloud = Cloud()
    cloud.fails = {"deployModel": 403}
    with pytest.raises(Raised):
        execute(cloud)
    assert cloud.memory.get("refused", "") == ""
    assert execute(cloud, name="e2") == "released"


def test_a_passing_fault_takes_nothing_back():
    cloud = live()
    cloud.fails = {"monitoring": 503, "executions/": 502}
    assert execute(cloud) == "released"


def test_traffic_that_another_moved_is_corrected():
    cloud = live("run")
    # An update of the service that knew of an older split.
    cloud.split = {NEW: 100}
    assert execute(cloud, source(OLD, kind="run"), name="e2") == "live"
    assert cloud.split == {OLD: 100}


def test_an_endpoint_that_was_made_anew_begins_anew():
    cloud = live()
    cloud.there, cloud.split = set(), {}
    assert execute(cloud) == "released"
    assert cloud.splits == [{NEW: 100}]


def test_files_of_a_version_are_brought_once():
    cloud = Cloud()
    assert execute(cloud, source(OLD, unpack=True)) == "released"
    assert sum("customJobs.create" in call for call in cloud.calls) == 1
    cloud.there, cloud.split = set(), {}
    execute(cloud, source(OLD, unpack=True), name="e2")
    assert sum("customJobs.create" in call for call in cloud.calls) == 1
    assert sum("models.upload" in call for call in cloud.calls) == 1


def test_an_endpoint_is_emptied_before_it_goes():
    cloud = live()
    # Vertex AI gives no split to an endpoint without models.
    cloud.split = {}
    assert execute(cloud, source(OLD), {"empty": True}, name="e2") == "empty"
    assert not cloud.there


class Runs:
    """A job that ends as it is told, after so many minutes."""

    def __init__(self, state: str, minutes: int) -> None:
        self.state, self.left = state, minutes
        self.calls: list[str] = []
        self.bodies: list[Any] = []

    def call(self, name: str, args: dict[str, Any]) -> Any:
        url = args.get("url", "")
        self.calls.append(f"{name} {url}")
        if name == "sys.sleep":
            self.left -= 1
            return None
        if name == "http.post" and url.endswith("/batchPredictionJobs"):
            self.bodies.append(args["body"])
            return {"body": {"name": f"{PARENT}/batchPredictionJobs/7"}}
        if name == "http.get" and "/batchPredictionJobs/" in url:
            return {"body": {"state": self.state if self.left <= 0 else "JOB_STATE_RUNNING"}}
        if "/models/" in url:
            return {"body": {}}
        assert url.endswith(":cancel"), (name, url)
        return {"body": {}}


@pytest.mark.parametrize(
    ("state", "minutes", "said"),
    [
        ("JOB_STATE_SUCCEEDED", 50, "gs://out/batch/fraud/e1"),
        ("JOB_STATE_FAILED", 5, "ended as JOB_STATE_FAILED"),
        ("JOB_STATE_SUCCEEDED", 61, "was stopped after 1 hours"),
    ],
)
def test_a_run_ends_fails_or_is_stopped(state: str, minutes: int, said: str):
    model = Model(parent=PARENT, region="us-central1", id="fraud", alias="v1", body={})
    made = batch({"displayName": "fraud"}, model, output="gs://out/batch/fraud", hours=1)
    runs = Runs(state, minutes)
    try:
        found = Interpreter(made, runs.call, "e1").run()
    except Raised as error:
        found = error.value
    assert said in found
    assert any(call.endswith(":cancel") for call in runs.calls) == ("stopped" in said)
    assert runs.bodies[0]["outputConfig"]["gcsDestination"]["outputUriPrefix"] == "gs://out/batch/fraud/e1"
    assert runs.bodies[0]["model"] == f"{PARENT}/models/fraud@v1"


def test_ids_are_such_that_vertex_ai_takes_them():
    for i in range(500):
        assert len(number(str(i))) == 10
        assert number(str(i))[0] != "0"
