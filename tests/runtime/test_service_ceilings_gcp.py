"""What takes services away on Google Cloud, against Service Usage and Cloud Monitoring in memory, over HTTP.

Fields are those of the interfaces' own definitions (serviceusage/v1beta1 resources: ConsumerQuotaMetric, QuotaBucket,
QuotaOverride; monitoring/v3 metric_service): what they do not know is an error here, and zeroes are left out.
"""

import json
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.gcp import retrieval_rest, service_ceilings
from runtime.gcp.service_ceilings import look
from tests.runtime.cloud_storage import serving

PROJECT = "acme-ai-dev"
VISION, SPEECH = "vision.googleapis.com", "speech.googleapis.com"
LOWERED = "speech.googleapis.com/default_requests"
SERVICES: dict[str, dict[str, Any]] = {
    "vision": {"api": VISION, "expected": 100, "ceiling": 200, "quotas": {}},
    "speech": {"api": SPEECH, "expected": 100, "ceiling": 200, "quotas": {LOWERED: 10}},
}
# Metric, unit, what Google grants, dimensions with an override of their own.
LIMITS: list[tuple[str, str, str, int, dict[str, str]]] = [
    (VISION, f"{VISION}/requests_of_some_kind", "1/min/{project}", 1800, {}),
    (VISION, f"{VISION}/requests_of_some_kind", "1/min/{project}/{user}", 600, {}),
    (VISION, f"{VISION}/pages", "1/d/{project}", 10_000, {}),
    (VISION, f"{VISION}/things_that_are_there", "1/{project}", 20, {}),
    (VISION, f"{VISION}/none_from_the_start", "1/min/{project}", 0, {}),
    (SPEECH, LOWERED, "1/min/{project}", 3000, {}),
    (SPEECH, f"{SPEECH}/streams", "1/100s/{project}/{region}", 300, {"region": "us-central1"}),
]


class Google:
    """Calls that were answered, quotas with their overrides, and faults to come."""

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}
        self.overrides: dict[str, tuple[int, dict[str, str]]] = {}
        """By resource name."""
        self.asked: list[str] = []
        self.faults: dict[str, int] = {}
        """Part of a path to the status that calls to it are answered with."""
        self.slow = 0
        """How often an operation is asked for before it is done."""
        self.broken: str | None = None
        """Part of the path of an override that is taken on, and not made."""
        self.partly = False
        self.operations: dict[str, tuple[int, Any]] = {}
        for service, metric, unit, _, dimensions in LIMITS:
            if dimensions:
                self.overrides[f"{self.limit(service, metric, unit)}/consumerOverrides/regional"] = (50, dimensions)
        self.overrides[f"{self.limit(SPEECH, LOWERED, '1/min/{project}')}/consumerOverrides/ours"] = (10, {})

    @staticmethod
    def limit(service: str, metric: str, unit: str) -> str:
        path = unit.removeprefix("1").replace("{", "").replace("}", "")
        return f"projects/44/services/{service}/consumerQuotaMetrics/{quote(metric, safe='')}/limits/{quote(path, safe='')}"

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, bytes]:
        status, content = self._answer(method, path, headers, json.loads(body) if body else None)
        return status, json.dumps(content).encode()

    def _answer(self, method: str, path: str, headers: Any, body: Any) -> tuple[int, Any]:  # noqa: PLR0911 - as the interface
        url = urlsplit(path)
        query = {key: values[0] for key, values in parse_qs(url.query, keep_blank_values=True).items()}
        if url.path.startswith("/computeMetadata/"):
            return 200, {"access_token": "t0k3n"}
        assert headers["Authorization"] == "Bearer t0k3n"
        self.asked.append(f"{method} {url.path}")
        for part in [part for part in self.faults if part in path]:
            return self.faults[part], {}
        if url.path.startswith("/v3/"):
            assert headers["Host"] == "monitoring.googleapis.com"
            return 200, self._series(url.path, query)
        assert headers["Host"] == "serviceusage.googleapis.com"
        name = url.path.removeprefix("/v1beta1/")
        if method == "GET" and name.startswith("operations/"):
            return 200, self._operation(name)
        if method == "GET":
            return 200, self._metrics(name, query)
        assert query.pop("force") == "true", "a limit falls by more than a tenth"
        if method == "POST":
            parent, _, kind = name.rpartition("/")
            assert kind == "consumerOverrides"
            made = f"{name}/made"
            if made in self.overrides:
                return 409, {}
            assert set(body) == {"overrideValue"}
            assert not query
            return 200, self._later(lambda: self.overrides.update({made: (int(body["overrideValue"]), {})}), parent)
        assert name in self.overrides, name
        if method == "PATCH":
            assert query == {"updateMask": "overrideValue"}
            dimensions = self.overrides[name][1]
            value = int(body["overrideValue"])
            return 200, self._later(lambda: self.overrides.update({name: (value, dimensions)}), name)
        assert method == "DELETE"
        assert body is None
        return 200, self._later(lambda: self.overrides.pop(name), name)

    def _later(self, act: Callable[[], Any], at: str) -> dict[str, Any]:
        operation = f"operations/quf.{len(self.operations)}"
        failed = {"code": 9, "message": "no"} if self.broken and self.broken in at else None
        if not failed:
            act()
        self.operations[operation] = (self.slow, failed)
        return self._operation(operation)

    def _operation(self, name: str) -> dict[str, Any]:
        left, failed = self.operations[name]
        self.operations[name] = (left - 1, failed)
        if left > 0:
            return {"name": name}
        return {"name": name, "done": True, **({"error": failed} if failed else {"response": {}})}

    def _metrics(self, name: str, query: dict[str, str]) -> dict[str, Any]:
        parent, _, kind = name.rpartition("/")
        assert kind == "consumerQuotaMetrics"
        service = parent.rpartition("/")[2]
        assert parent == f"projects/{PROJECT}/services/{service}"
        metrics: dict[str, list[dict[str, Any]]] = {}
        for of, metric, unit, granted, _ in LIMITS:
            if of == service:
                metrics.setdefault(metric, []).append(self._limit(of, metric, unit, granted))
        names = sorted(metrics)
        begin = int(query.pop("pageToken") or 0)
        assert not query
        page = [{"metric": metric, "consumerQuotaLimits": metrics[metric]} for metric in names[begin : begin + 2]]
        return {"metrics": page, **({"nextPageToken": str(begin + 2)} if begin + 2 < len(names) else {})}

    def _limit(self, service: str, metric: str, unit: str, granted: int) -> dict[str, Any]:
        name = self.limit(service, metric, unit)
        found = {key: value for key, value in self.overrides.items() if key.startswith(f"{name}/")}
        whole = next((key for key, (_, dimensions) in found.items() if not dimensions), None)
        buckets = [self._bucket(granted, whole)]
        buckets += [self._bucket(granted, key) for key, (_, dimensions) in found.items() if dimensions]
        return {"name": name, "unit": unit, "metric": metric, "quotaBuckets": buckets}

    def _bucket(self, granted: int, override: str | None) -> dict[str, Any]:
        said, dimensions = self.overrides[override] if override else (granted, {})
        effective = min(said, granted)
        bucket: dict[str, Any] = {"effectiveLimit": str(effective)} if effective else {}
        if dimensions:
            bucket["dimensions"] = dimensions
        if override:
            bucket["consumerOverride"] = {"name": override, **({"overrideValue": str(said)} if said else {})}
        return bucket

    def _series(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        assert path == f"/v3/projects/{PROJECT}/timeSeries"
        assert query.pop("interval.startTime") < query.pop("interval.endTime")
        [service] = [api for api in (VISION, SPEECH) if f'resource.labels.service="{api}"' in query["filter"]]
        assert 'response_code_class="2xx"' in query.pop("filter"), "what is refused would keep it refused"
        assert query == {
            "aggregation.alignmentPeriod": "86400s", "aggregation.perSeriesAligner": "ALIGN_SUM",
            "aggregation.crossSeriesReducer": "REDUCE_SUM",
        }  # fmt: skip
        if self.partly:
            return {"executionErrors": [{"code": 4}]}
        if service not in self.calls:
            return {}
        return {"timeSeries": [{"points": [{"value": {"int64Value": str(self.calls[service])}}]}]}

    def effective(self, service: str) -> list[int]:
        """Rates that are left, limit by limit, with regions that have one of their own."""
        found: list[int] = []
        for of, metric, unit, granted, _ in LIMITS:
            if of == service and unit != "1/{project}" and granted:
                buckets = self._limit(of, metric, unit, granted)["quotaBuckets"]
                found += [int(bucket.get("effectiveLimit", 0)) for bucket in buckets]
        return found


NORMAL = {VISION: [1800, 600, 10_000], SPEECH: [10, 300, 50]}


@pytest.fixture(scope="module")
def server() -> Iterator[Google]:
    google = Google()
    with serving(google.answer) as address, pytest.MonkeyPatch.context() as patch:

        class Connection(HTTPConnection):
            def __init__(self, host: str, timeout: int) -> None:
                super().__init__(address, timeout=timeout)
                self.asked = host

            def request(self, method: str, url: str, body: Any = None, headers: Any = None, **_: Any) -> None:
                super().request(method, url, body, {**headers, "Host": self.asked})

        patch.setattr(retrieval_rest, "HTTPConnection", Connection)
        patch.setattr(retrieval_rest, "HTTPSConnection", Connection)
        patch.setattr(service_ceilings, "_PAUSE_SECONDS", 0.0)
        patch.setenv("PROJECT", PROJECT)
        patch.setenv("SERVICES", json.dumps(SERVICES))
        yield google


@pytest.fixture
def google(server: Google) -> Google:
    server.__init__()
    return server


def changed(google: Google) -> list[str]:
    return [what for what in google.asked if not what.startswith("GET ")]


def test_above_the_ceiling_every_call_is_refused(google: Google):
    google.calls = {VISION: 201, SPEECH: 200}
    assert look(None) == ("", 204)
    assert set(google.effective(VISION)) == {0}
    assert google.effective(SPEECH) == NORMAL[SPEECH], "another service is another one's"
    there = google._limit(VISION, f"{VISION}/things_that_are_there", "1/{project}", 20)
    assert there["quotaBuckets"] == [{"effectiveLimit": "20"}], "nothing that is there is over a quota by that"


def test_regions_with_a_word_of_their_own_are_refused_as_well(google: Google):
    google.calls = {SPEECH: 1000}
    look(None)
    assert google.effective(SPEECH) == [0, 0, 0]


@pytest.mark.parametrize("service", [VISION, SPEECH])
def test_called_again_it_does_nothing_twice(google: Google, service: str):
    google.calls = {service: 201}
    look(None)
    before = changed(google)
    assert before
    for _ in range(2):
        assert look(None) == ("", 204)
    assert changed(google) == before


def test_it_is_given_back_once_calls_are_what_is_expected(google: Google):
    google.calls = {VISION: 201, SPEECH: 201}
    look(None)
    # Between both: what was taken stays taken, so that it does not come and go with every few calls.
    google.calls = {VISION: 101, SPEECH: 200}
    look(None)
    assert set(google.effective(VISION) + google.effective(SPEECH)) == {0}
    google.calls = {VISION: 100}  # and of speech no series at all
    assert look(None) == ("", 204)
    assert google.effective(VISION) == NORMAL[VISION]
    assert google.effective(SPEECH) == [10, 300], "what the program lowered is lowered, and a hand's own word is gone"


def test_what_the_program_lowered_follows_the_description(google: Google, monkeypatch: pytest.MonkeyPatch):
    raised = SERVICES | {"speech": {**SERVICES["speech"], "quotas": {LOWERED: 25}}}
    monkeypatch.setenv("SERVICES", json.dumps(raised))
    look(None)
    assert google.effective(SPEECH)[0] == 25


def test_what_somebody_lowered_by_hand_is_let_be_while_nothing_is_exceeded(google: Google):
    look(None)
    assert google.effective(SPEECH) == NORMAL[SPEECH]
    assert changed(google) == []


def test_it_waits_until_an_override_is_made(google: Google):
    google.calls, google.slow = {VISION: 201}, 3
    assert look(None) == ("", 204)
    assert sum(what.startswith("GET /v1beta1/operations/") for what in google.asked) == 9


def test_one_that_is_not_made_in_time_is_for_the_next_call(google: Google, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(service_ceilings, "_WAIT_SECONDS", -1.0)
    google.calls, google.slow = {VISION: 201}, 1
    assert look(None)[1] == 500
    assert look(None)[1] == 204


def test_one_that_fails_is_told_and_tried_again(google: Google, capsys: pytest.CaptureFixture[str]):
    google.calls, google.broken = {VISION: 201}, "pages"
    assert look(None) == ("failed: vision", 500)
    assert json.loads(capsys.readouterr().out.splitlines()[0])["severity"] == "ERROR"
    google.broken = None
    assert look(None) == ("", 204)
    assert set(google.effective(VISION)) == {0}


@pytest.mark.parametrize(
    ("part", "status"), [("timeSeries", 503), ("consumerQuotaMetrics?", 429), ("consumerOverrides", 403)]
)
def test_a_service_that_fails_keeps_no_other_waiting(google: Google, part: str, status: int):
    google.calls = {VISION: 201, SPEECH: 201}
    google.faults = {part: status}
    assert look(None) == ("failed: vision, speech", 500)
    google.faults = {VISION: status}
    assert look(None) == ("failed: vision", 500)
    assert set(google.effective(SPEECH)) == {0}


def test_a_limit_that_google_fixed_holds_nothing_up(google: Google, capsys: pytest.CaptureFixture[str]):
    google.calls = {VISION: 201}
    google.faults = {"%2Fd%2Fproject/consumerOverrides": 400}
    assert look(None) == ("", 204)
    assert google.effective(VISION) == [0, 0, 10_000]
    assert "not overridden" in capsys.readouterr().out


def test_where_nothing_could_be_lowered_it_says_so(google: Google):
    google.calls = {VISION: 201}
    google.faults = {"consumerOverrides": 400}
    assert look(None)[1] == 500


def test_half_of_the_count_is_no_count(google: Google):
    google.calls = {VISION: 201}
    look(None)
    google.partly = True
    assert look(None) == ("failed: vision, speech", 500)
    assert set(google.effective(VISION)) == {0}


def test_what_was_done_is_told_in_the_log(google: Google, capsys: pytest.CaptureFixture[str]):
    google.calls = {VISION: 201}
    look(None)
    assert json.loads(capsys.readouterr().out) == {
        "severity": "WARNING", "service": "vision", "event": "taken away", "calls": 201,
    }  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(course=st.lists(st.tuples(st.sampled_from([VISION, SPEECH]), st.integers(0, 300)), max_size=8))
def test_whatever_comes_the_last_count_decides(server: Google, course: list[tuple[str, int]]):
    server.__init__()
    for service, calls in course:
        server.calls[service] = calls
        assert look(None) == ("", 204)
        if calls > 200:
            assert set(server.effective(service)) == {0}
        elif calls <= 100:
            assert all(server.effective(service))
            assert server.effective(service)[:2] == NORMAL[service][:2]
