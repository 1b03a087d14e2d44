"""Watches the pods of a new version while it has some of the requests, and says whether it may stay: `python watch.py`.

Standard library only: it runs on an image of Python alone, beside an endpoint whose image may have none. Every `STEP` seconds
it looks up the pods by name and reads what each says of itself at `/metrics`, of the last `WATCH_WINDOW_MINUTES`:

| what shows | verdict |
|---|---|
| `error_rate` over its bound, percent, of 3 failures or more; `p95_latency`, ms, of 20 requests or more | taken back, at once |
| a pod, or a worker of it, that starts anew | taken back, at once |
| a pod that answered and does not any more, while it is still there; or no pod at all, for 90 s | taken back |
| nothing about requests at `/metrics` of any pod, for 90 s | taken back: nobody could judge it |
| none of this for `WATCH_MINUTES` | trusted; also without a request, since none has failed |

A pod that is gone by name was moved or is needed no more; one that has not answered yet is starting. Neither says anything about
the version. Exit code 0 for trusted and 3 for taken back; any other is an accident of this program's own.
"""

import http.client
import json
import os
import re
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

TRUSTED, TAKEN_BACK = 0, 3
STEP = 15
"""Seconds between two readings."""
MISSED = 6
"""Readings in succession that may fail: a pod that ends stays listed for about a minute, and names are kept for 30 s."""
LEAST_FAILURES, LEAST_REQUESTS = 3, 20
"""As for the alarms: one failure is no rate, and of fewer requests 95 of 100 is the slowest one."""
_APART = 5
"""Seconds that clocks of machines may differ by."""
_TIMEOUT, _MOST_BYTES, _AT_ONCE = 5, 8 << 20, 16
_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+([^\s]+)(?:\s+-?\d+)?$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_STARTED = "process_start_time_seconds"


@dataclass(frozen=True)
class Family:
    """Series that tell of requests."""

    said_by: str
    requests: str
    status: str
    """The label whose value begins with a 5 where a request failed."""
    times: str
    milliseconds: float
    """That a bound of its buckets stands for."""
    only: tuple[str, str] | None = None


FAMILIES = (
    Family("the container", "serving_requests_total", "status", "serving_request_seconds_bucket", 1000),
    Family(
        "what checks tokens",
        "envoy_http_downstream_rq_xx",
        "envoy_response_code_class",
        "envoy_http_downstream_rq_time_bucket",
        1,
        ("envoy_http_conn_manager_prefix", "front"),
    ),
)


@dataclass
class Counts:
    """Requests since a process began, or of a time."""

    requests: float = 0
    failed: float = 0
    within: dict[float, float] = field(default_factory=dict[float, float])
    """By bound in ms: answers that took no longer."""

    def added(self, other: "Counts", sign: int = 1) -> "Counts":
        """Both together, or without the other."""
        bounds = {*self.within, *other.within}
        return Counts(
            self.requests + sign * other.requests,
            self.failed + sign * other.failed,
            {bound: self.within.get(bound, 0) + sign * other.within.get(bound, 0) for bound in bounds},
        )

    def less_than(self, other: "Counts") -> bool:
        """Whether anything went down, which a counter never does."""
        found = self.added(other, -1)
        return min(found.requests, found.failed, *found.within.values()) < 0

    def error_rate(self) -> float:
        """Percent that failed; 0 of too few."""
        return 100 * self.failed / self.requests if self.failed >= LEAST_FAILURES and self.requests else 0

    def p95_latency(self) -> float:
        """Milliseconds, between the bounds of buckets as Prometheus has it; 0 of too few. Above the last bound it is endless."""
        bounds = sorted(self.within)
        count = self.within[bounds[-1]] if bounds else 0
        if count < LEAST_REQUESTS:
            return 0
        wanted, below, before = 0.95 * count, 0.0, 0.0
        for bound in bounds:
            if self.within[bound] >= wanted:
                if bound == float("inf"):
                    return bound
                share = (wanted - before) / (self.within[bound] - before) if self.within[bound] > before else 1
                return below + (bound - below) * share
            below, before = bound, self.within[bound]
        return float("inf")


def read(text: str) -> tuple[dict[Family, Counts], str]:
    """What a page in Prometheus' format says of requests, and which process says so; no family where it says nothing of them.

    A counter without a value yet is known by its comment.
    """
    found = {each: Counts() for each in FAMILIES if re.search(rf"^# TYPE {each.requests}\b", text, re.MULTILINE)}
    started = ""
    for name, labels, value in _samples(text):
        if name == _STARTED:
            started = str(value)
        for each in FAMILIES:
            if each.only and labels.get(each.only[0]) != each.only[1]:
                continue
            if name == each.requests:
                counts = found.setdefault(each, Counts())
                counts.requests += value
                counts.failed += value if labels.get(each.status, "").startswith("5") else 0
            elif name == each.times and "le" in labels:
                counts, bound = found.setdefault(each, Counts()), float(labels["le"]) * each.milliseconds
                counts.within[bound] = counts.within.get(bound, 0) + value
    return found, started


def _samples(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    for line in text.splitlines():
        parts = None if line.startswith("#") else _SAMPLE.match(line.strip())
        if parts:
            yield parts[1], dict(_LABEL.findall(parts[2] or "")), float(parts[3])


Place = tuple[str, int]
"""An address and a port."""
Process = tuple[Place, str, Family]
"""One that counts: several workers behind one port take turns to answer, each with counts of its own."""


class Watch:
    """What has been seen of the pods; times are seconds since the epoch, as pods say when they have started."""

    def __init__(self, bounds: Mapping[str, float], window: float) -> None:
        """`bounds` by sign, `window` in seconds."""
        self._bounds, self._window = bounds, window
        self._seen: dict[Process, deque[tuple[float, Counts]]] = {}
        self._missed: dict[Place, int] = {}
        self._began: dict[Place, float] = {}
        """By place that has answered: until when the processes may have started that were met there first."""
        self._none = self._silent = 0

    def look(self, now: float, pages: Mapping[Place, str | None]) -> str:
        """Why the version is taken back, after this reading of every pod that is listed; empty where nothing speaks for it.

        A page is None where a place does not answer.
        """
        silent = True
        self._forget(pages.keys(), now)
        for place, page in pages.items():
            if page is None:
                if place in self._began:
                    self._missed[place] = self._missed.get(place, 0) + 1
                continue
            self._missed[place] = 0
            families, started = read(page)
            silent = silent and not families
            if anew := self._again(place, started, now):
                return anew
            for family, counts in families.items():
                history = self._seen.setdefault((place, started, family), deque())
                if history and counts.less_than(history[-1][1]):
                    return f"{_named(place)} counts from the beginning again: it has started anew"
                history.append((now, counts))
        answered = any(page is not None for page in pages.values())
        self._none = 0 if answered else self._none + 1
        self._silent = self._silent + 1 if answered and silent else 0
        lost = [place for place, missed in self._missed.items() if missed >= MISSED]
        if lost:
            return f"{_named(lost[0])} does not answer any more"
        if self._none >= MISSED:
            return "no pod of the new version answers"
        if self._silent >= MISSED:
            return "no pod of the new version says anything of its requests at /metrics"
        return self._over(now)

    def _forget(self, there: Collection[Place], now: float) -> None:
        """Pods that are listed no more: another one may come at the same address. Without any, names could not be looked up."""
        for gone in set(self._began) - set(there) if there else ():
            del self._began[gone]
            self._missed.pop(gone, None)
            for place, started, family in [key for key in self._seen if key[0] == gone]:
                self._seen[place, f"{started} until {now}", family] = self._seen.pop((place, started, family))

    def _again(self, place: Place, started: str, now: float) -> str:
        """Workers that were there from the beginning are met one by one; one that started since then replaces another."""
        if place not in self._began:
            self._began[place] = now + _APART
            return ""
        return f"{_named(place)} has started anew" if float(started or 0) > self._began[place] else ""

    def since(self, now: float) -> dict[Family, Counts]:
        """Requests of the window, of all pods, by what says so.

        What a pod answered before the first look counts too: it has never been anything but the new version.
        """
        found: dict[Family, Counts] = {}
        for (_, _, family), history in self._seen.items():
            while len(history) > 1 and history[1][0] <= now - self._window:
                history.popleft()
            at, first = history[0]
            before = first if at <= now - self._window else Counts()
            found[family] = found.get(family, Counts()).added(history[-1][1].added(before, -1))
        return found

    def asked(self) -> float:
        """Requests that anybody has counted so far."""
        return max([0.0, *(history[-1][1].requests for history in self._seen.values())])

    def _over(self, now: float) -> str:
        for family, counts in self.since(now).items():
            for sign, bound in sorted(self._bounds.items()):
                figure = counts.error_rate() if sign == "error_rate" else counts.p95_latency()
                if figure > bound:
                    unit = "percent" if sign == "error_rate" else "ms"
                    return (
                        f"{sign} is {figure:.4g} {unit} and may be {bound:g}, of {counts.requests:.0f} requests"
                        f" that {family.said_by} has counted"
                    )
        return ""


def _named(place: Place) -> str:
    return f"{place[0]}:{place[1]}"


def listed(host: str) -> list[str]:
    """Addresses of the pods behind a headless service; none where there are none."""
    try:
        found = socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)
    except OSError:
        return []
    return sorted({str(each[4][0]) for each in found})


def page(place: Place) -> str | None:
    """What a pod says of itself; empty where it has no such page, None where it does not answer."""
    connection = http.client.HTTPConnection(*place, timeout=_TIMEOUT)
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        body = answer.read(_MOST_BYTES).decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return None
    else:
        return body if answer.status == http.HTTPStatus.OK else ""
    finally:
        connection.close()


def log(event: str, severity: str = "INFO", **fields: object) -> None:
    """One line, as `runtime/serving/log.py` has it."""
    line = {"time": round(time.time(), 3), "severity": severity, "event": event, **fields}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def watched(
    endpoint: str,
    places: Callable[[], Iterable[Place]],
    bounds: Mapping[str, float],
    *,
    seconds: float,
    window: float,
    step: float = STEP,
) -> int:
    """Watch until it is clear: the exit code."""
    watch, ends = Watch(bounds, window), time.monotonic() + seconds
    log("release watched", endpoint=endpoint, bounds=bounds, seconds=seconds)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        while True:
            turn, now = time.monotonic(), time.time()
            there: Sequence[Place] = list(places())
            wrong = watch.look(now, dict(zip(there, pool.map(page, there), strict=True)))
            if wrong:
                log("release taken back", "ERROR", endpoint=endpoint, reason=wrong)
                return TAKEN_BACK
            if turn >= ends:
                counted = {family.said_by: counts.requests for family, counts in watch.since(now).items()}
                asked = watch.asked()
                log(
                    "release trusted", "INFO" if asked else "WARNING", endpoint=endpoint, requests=asked, lately=counted
                )
                return TRUSTED
            time.sleep(max(0, step - (time.monotonic() - turn)))


def main(environment: Mapping[str, str]) -> int:
    """As the environment says: WATCH_ENDPOINT, WATCH_HOST, WATCH_PORTS, WATCH_MINUTES, WATCH_WINDOW_MINUTES, WATCH_BOUNDS."""
    host, ports = environment["WATCH_HOST"], [int(port) for port in environment["WATCH_PORTS"].split(",")]
    return watched(
        environment["WATCH_ENDPOINT"],
        lambda: [(address, port) for address in listed(host) for port in ports],
        {sign: float(bound) for sign, bound in json.loads(environment["WATCH_BOUNDS"]).items()},
        seconds=60 * float(environment["WATCH_MINUTES"]),
        window=60 * float(environment["WATCH_WINDOW_MINUTES"]),
        step=float(environment.get("WATCH_STEP", STEP)),
    )


if __name__ == "__main__":
    sys.exit(main(os.environ))
