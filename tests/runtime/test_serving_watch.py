"""What watches a new version: as a process against the real server over HTTP, and its judgement of pages of every kind."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from runtime.serving import watch
from runtime.serving.watch import Counts, Watch, read
from tests.conftest import ROOT
from tests.runtime.serving import QUIET, Service, free_port, service, trained

BOUNDS = {"error_rate": 0.5, "p95_latency": 2000}
HERE = ("10.0.0.1", 8080)


class Watcher:
    """The program as its job runs it: a file, on an image of Python alone."""

    def __init__(self, *ports: int, seconds: float, bounds: dict[str, float] | None = None) -> None:
        said = {
            "WATCH_ENDPOINT": "fraud",
            "WATCH_HOST": "localhost",
            "WATCH_PORTS": ",".join(map(str, ports)),
            "WATCH_MINUTES": str(seconds / 60),
            "WATCH_WINDOW_MINUTES": "5",
            "WATCH_BOUNDS": json.dumps(bounds or BOUNDS),
            "WATCH_STEP": "0.1",
        }
        # -S: nothing that is installed here helps it.
        self.process = subprocess.Popen(
            [sys.executable, "-ISB", ROOT / "runtime" / "serving" / "watch.py"], env=QUIET | said, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def end(self) -> tuple[int, dict[str, Any]]:
        """The exit code, and the last line."""
        output, _ = self.process.communicate(timeout=40)
        return self.process.returncode, json.loads(output.splitlines()[-1])


def ask(found: Service, count: int) -> set[int]:
    body = {"instances": trained().rows(1)}
    with ThreadPoolExecutor(8) as pool:
        return set(pool.map(lambda _: found.post("/predict", body).status, range(count)))


def test_a_version_that_answers_well_is_trusted():
    with service() as found:
        watcher = Watcher(found.port, seconds=3)
        assert ask(found, 60) == {200}
        code, said = watcher.end()
        assert (code, said["event"], said["severity"]) == (watch.TRUSTED, "release trusted", "INFO")
        assert said["requests"] == 60


def test_a_version_that_fails_is_taken_back_at_once():
    with service(REQUEST_SECONDS="0.2", BATCH_WAIT_MS="500") as found:
        watcher, began = Watcher(found.port, seconds=600), time.monotonic()
        assert ask(found, 5) == {504}
        code, said = watcher.end()
        assert (code, said["event"]) == (watch.TAKEN_BACK, "release taken back")
        assert "error_rate is 100 percent" in said["reason"]
        assert time.monotonic() - began < 30


def test_a_version_that_is_slow_is_taken_back_where_that_was_said():
    with service(BATCH_WAIT_MS="300") as found:
        slow = Watcher(found.port, seconds=600, bounds={"p95_latency": 100})
        only_errors = Watcher(found.port, seconds=4, bounds={"error_rate": 0.5})
        assert ask(found, 24) == {200}
        code, said = slow.end()
        assert code == watch.TAKEN_BACK
        assert "p95_latency" in said["reason"]
        assert only_errors.end()[0] == watch.TRUSTED


def test_without_a_request_nothing_has_failed_and_the_log_says_so():
    with service() as found:
        code, said = Watcher(found.port, seconds=1).end()
        assert (code, said["event"], said["severity"], said["requests"]) == (0, "release trusted", "WARNING", 0)


def test_a_pod_that_falls_silent_is_taken_back():
    found = Service()
    watcher = Watcher(found.port, seconds=600)
    try:
        assert ask(found, 3) == {200}
        time.sleep(0.5)
    finally:
        found.process.kill()
        found.limit.cancel()
    code, said = watcher.end()
    assert code == watch.TAKEN_BACK
    assert "answer" in said["reason"]


def test_a_container_that_starts_anew_is_taken_back():
    """Pages of two real processes, one after the other behind one port."""
    looking, earlier = Watch(BOUNDS, 300), time.time() - 60
    with service() as first:
        ask(first, 5)
        assert looking.look(earlier, {HERE: first.get("/metrics").body.decode()}) == ""
        port = first.port
    second = Service(wait=False, PORT=str(port))
    second.port = port
    try:
        second.until("/readyz")
        assert "started anew" in looking.look(time.time(), {HERE: second.get("/metrics").body.decode()})
    finally:
        second.end()


@contextmanager
def page(text: str, status: int = 200) -> Iterator[int]:
    """A container that says this at every path."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.parametrize(("text", "status"), [("# TYPE other counter\nother 1\n", 200), ("no such page", 404)])
def test_one_that_says_nothing_of_its_requests_cannot_be_judged(text: str, status: int):
    with page(text, status) as port:
        code, said = Watcher(port, seconds=600).end()
        assert code == watch.TAKEN_BACK
        assert "says anything" in said["reason"]


def test_what_checks_tokens_speaks_for_a_container_that_says_nothing():
    good = front(requests=50, failed=0, slow=0)
    with page("nothing", 404) as silent, page(good) as fine, page(front(requests=50, failed=3, slow=0)) as failing:
        assert Watcher(silent, fine, seconds=2).end()[0] == watch.TRUSTED
        code, said = Watcher(silent, failing, seconds=60).end()
        assert code == watch.TAKEN_BACK
        assert "what checks tokens" in said["reason"]


def test_no_pod_at_all_is_no_success():
    code, said = Watcher(free_port(), seconds=600).end()
    assert (code, said["reason"]) == (watch.TAKEN_BACK, "no pod of the new version answers")


# ---- Pages.
def front(requests: int, failed: int, slow: int) -> str:
    """What Envoy says, with listeners that nobody asks about."""
    of = 'envoy_http_conn_manager_prefix="front"'
    return f"""# TYPE envoy_http_downstream_rq_xx counter
envoy_http_downstream_rq_xx{{envoy_response_code_class="2",{of}}} {requests - failed}
envoy_http_downstream_rq_xx{{envoy_response_code_class="5",{of}}} {failed}
envoy_http_downstream_rq_xx{{envoy_response_code_class="5",envoy_http_conn_manager_prefix="admin"}} 99
# TYPE envoy_http_downstream_rq_time histogram
envoy_http_downstream_rq_time_bucket{{{of},le="100"}} {requests - slow}
envoy_http_downstream_rq_time_bucket{{{of},le="3000"}} {requests}
envoy_http_downstream_rq_time_bucket{{{of},le="+Inf"}} {requests}
"""


def own(requests: int = 0, failed: int = 0, slow: int = 0, started: float = 0) -> str:
    """What our server says, of a process that started then."""
    said = f"process_start_time_seconds {started}\n" if started else ""
    return (
        said
        + f"""# HELP serving_requests_total Requests
# TYPE serving_requests_total counter
serving_requests_total{{route="predict",status="200"}} {requests - failed}
serving_requests_total{{route="predict",status="503"}} {failed}
# TYPE serving_request_seconds histogram
serving_request_seconds_bucket{{le="0.1",route="predict"}} {requests - slow}
serving_request_seconds_bucket{{le="0.25",route="predict"}} {requests - slow}
serving_request_seconds_bucket{{le="+Inf",route="predict"}} {requests}
"""
    )


def judged(*pages: Any, window: float = 300, step: float = 15, **bounds: float) -> str:
    """What is said in the end of these readings; a page alone is that of one pod."""
    looking, said = Watch(bounds or BOUNDS, window), ""
    for i, each in enumerate(pages):
        said = looking.look(1000 + i * step, each if isinstance(each, dict) else {HERE: each})
        if said:
            break
    return said


def test_the_real_server_is_read_as_it_counts():
    with service() as found:
        ask(found, 12)
        found.post("/predict", b"{")
        counted, started = read(found.get("/metrics").body.decode())
        [(family, counts)] = counted.items()
        assert family.said_by == "the container"
        assert (counts.requests, counts.failed, counts.within[float("inf")]) == (13, 0, 13)
        assert abs(float(started) - time.time()) < 60


@pytest.mark.parametrize(
    ("counts", "figure"),
    [
        (Counts(within={100: 19, float("inf"): 19}), 0),  # too few
        (Counts(within={100: 20, float("inf"): 20}), 95),  # between nothing and the first bound
        (Counts(within={100: 90, 200: 100, float("inf"): 100}), 150),
        (Counts(within={100: 95, 200: 100, float("inf"): 100}), 100),
        (Counts(within={100: 90, float("inf"): 100}), float("inf")),
        (Counts(), 0),
    ],
)
def test_p95_is_what_prometheus_would_say(counts: Counts, figure: float):
    assert counts.p95_latency() == pytest.approx(figure)


def test_too_few_requests_say_nothing():
    assert judged(own(requests=2, failed=2)) == ""
    assert "error_rate" in judged(own(requests=3, failed=3))
    assert judged(own(requests=19, slow=19)) == ""
    assert "p95_latency is inf" in judged(own(requests=20, slow=20))
    # At the bound the promise is kept.
    assert judged(own(requests=200, failed=10), error_rate=5) == ""
    assert "error_rate" in judged(own(requests=200, failed=11), error_rate=5)


def test_what_is_long_ago_is_no_reason_and_what_is_new_is():
    quiet = [own(requests=3000, failed=10)] * 30
    assert judged(*quiet, error_rate=1) == ""
    # 20 of 2,000 in the last five minutes, where all in all these are 1 of 1,000.
    assert "error_rate" in judged(*quiet, own(requests=20_000, failed=400), error_rate=1)
    assert (
        judged(own(requests=20_000), *[own(requests=20_000)] * 30, own(requests=20_100, failed=2), error_rate=1) == ""
    )
    # Three of the last hundred, of which all that went well before makes next to nothing.
    late = own(requests=20_100, failed=3)
    assert "error_rate is 3 percent" in judged(*[own(requests=20_000)] * 30, late, error_rate=1)


def test_pods_are_added_up_and_one_that_was_moved_says_nothing():
    other = ("10.0.0.2", 8080)
    both = {HERE: own(requests=100, failed=2), other: own(requests=100, failed=2)}
    assert judged({HERE: own(requests=100, failed=2)}, error_rate=1.5) == ""  # 2 failures are none
    assert "error_rate" in judged(both, error_rate=1.5)
    fine = {HERE: own(requests=10), other: own(requests=10)}
    assert judged(fine, *[{HERE: own(requests=10)}] * 20) == ""
    # Another one may have its address, and counts from the beginning.
    assert judged(fine, {HERE: own(requests=10)}, {HERE: own(requests=10), other: own(requests=1)}) == ""
    # While names cannot be looked up nobody is gone.
    assert "anew" in judged(fine, {}, {HERE: own(requests=1), other: own(requests=10)})


def test_one_that_starts_is_waited_for_and_one_that_stops_is_not():
    other = ("10.0.0.2", 8080)
    assert judged(*[{HERE: own(), other: None}] * 30) == ""
    stopped = [{HERE: own(), other: None}] * watch.MISSED
    assert judged({HERE: own(), other: own()}, *stopped[1:]) == ""
    assert judged({HERE: own(), other: own()}, *stopped) == "10.0.0.2:8080 does not answer any more"
    assert judged(*[{}] * watch.MISSED) == "no pod of the new version answers"


def test_workers_take_turns_and_one_that_is_new_is_seen():
    """Several processes behind one port, each with counts of its own: a reading is that of one of them."""
    first, second = own(requests=50, started=900), own(requests=7, started=990)
    assert judged(first, second, first, own(requests=9, started=990), own(requests=52, started=900)) == ""
    assert "error_rate" in judged(first, own(requests=50, failed=40, started=990), first)
    assert "started anew" in judged(first, second, own(requests=1, started=1020))
    # One that does not say when it started.
    assert "started anew" in judged(own(requests=5), own(requests=4))


def test_a_counter_without_a_value_yet_is_one():
    said = "# HELP serving_requests_total Requests\n# TYPE serving_requests_total counter\n"
    assert judged(*[said] * 30) == ""
    assert "says anything" in judged(*["# TYPE serving_requests_of_others counter\n"] * 30)


def test_what_envoy_says_of_its_own_pages_is_left_out():
    assert judged(front(requests=100, failed=0, slow=0)) == ""
    assert "error_rate" in judged(front(requests=100, failed=3, slow=0))
    assert "p95_latency" in judged(front(requests=100, failed=0, slow=20))
