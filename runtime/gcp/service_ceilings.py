"""Takes services of the cloud away from a project that calls them too often, and gives them back.

Cloud Scheduler calls it every ten minutes; what it is called with says nothing. Each time it asks Cloud Monitoring how often each
service answered within 24 hours, and sees to its quotas:

- more than the ceiling: every quota of a rate (by the minute, by the day, …) is overridden with 0, so all calls are refused;
- no more than is expected: those overrides are taken back;
- else they stay as they are: between both nothing goes to and fro.

Which quotas a service has is asked, not known: a new one is found, and none is guessed. An override is the project's own word,
and can never grant more than Google does ("consumerOverrides"). What fails is done with the next call; a service that fails keeps
none of the others waiting, and the call fails in the end.

`PROJECT` is the project, `SERVICES` says what is known of each service; `quotas` are calls a minute by metric, where the program
has lowered one, and come back in place of nothing: `{"speech": {"api": "speech.googleapis.com", "expected": 1440,
"ceiling": 2880, "quotas": {"speech.googleapis.com/default_requests": 10}}}`.
"""

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from runtime.gcp.retrieval_rest import ApiError, Google

_MONITORING, _QUOTAS = "monitoring.googleapis.com", "serviceusage.googleapis.com"
_DAY = 86_400
_RATE = re.compile(r"1/\d*(s|min|h|d)/")
"""Units of quotas that count what comes within a time ("ConsumerQuotaLimit", unit); others count what is there."""
_MINUTE = "1/min/{project}"
_WAIT_SECONDS, _PAUSE_SECONDS = 120.0, 2.0

Call = Callable[..., Any]
"""Calls an interface of Google's: method, host, path, and a body where there is one, to the answer."""


class NotDoneError(Exception):
    """Some of it failed; the next call tries again."""


@dataclass(frozen=True)
class Bucket:
    """A limit of a service, as a whole or for some of its dimensions, such as one region."""

    limit: str
    """Its resource name."""
    metric: str
    unit: str
    whole: bool
    effective: int
    override: str | None
    """Resource name of the project's own word on it, where there is one."""
    said: int
    """What that says."""


@dataclass(frozen=True)
class Change:
    """One change of an override."""

    method: str
    path: str
    value: int | None


def look(_: Any) -> tuple[str, int]:
    """Entry point: look how things are, and see to it that they are as they should be."""
    services: dict[str, dict[str, Any]] = json.loads(os.environ["SERVICES"])
    call, project = Google().call, os.environ["PROJECT"]
    failed: list[str] = []
    for name, service in services.items():
        try:
            _settle(name, service, project, call)
        except (ApiError, NotDoneError) as error:
            _say("ERROR", service=name, event="failed", error=str(error))
            failed.append(name)
    return (f"failed: {', '.join(failed)}", 500) if failed else ("", 204)


def _settle(name: str, service: Mapping[str, Any], project: str, call: Call) -> None:
    calls = called(service["api"], project, call)
    if service["expected"] < calls <= service["ceiling"]:
        return
    stop = calls > service["ceiling"]
    found = list(buckets(service["api"], project, call))
    made, refused = _make(changes(found, service.get("quotas", {}), stop=stop), call)
    if refused:
        # A limit that Google fixed: others of the service stop it as well.
        _say("WARNING", service=name, event="not overridden", quotas=refused)
    if stop and not made and not any(bucket.override and not bucket.said for bucket in found):
        raise NotDoneError("it has no quota that could be lowered")
    if made:
        _say("WARNING" if stop else "NOTICE", service=name, event="taken away" if stop else "given back", calls=calls)


def called(api: str, project: str, call: Call) -> int:
    """How often a service answered within 24 hours; what it refused costs nothing."""
    now = datetime.now(UTC)
    asked = {
        "filter": 'metric.type="serviceruntime.googleapis.com/api/request_count" AND resource.type="consumed_api"'
        f' AND resource.labels.service="{api}" AND metric.labels.response_code_class="2xx"',
        "interval.startTime": (now - timedelta(seconds=_DAY)).isoformat(timespec="seconds"),
        "interval.endTime": now.isoformat(timespec="seconds"),
        "aggregation.alignmentPeriod": f"{_DAY}s",
        "aggregation.perSeriesAligner": "ALIGN_SUM",
        "aggregation.crossSeriesReducer": "REDUCE_SUM",
    }
    answer = call("GET", _MONITORING, f"/v3/projects/{project}/timeSeries?{urlencode(asked)}")
    if answer.get("executionErrors"):
        raise NotDoneError("Cloud Monitoring knows a part alone")
    values = (point["value"] for series in answer.get("timeSeries", ()) for point in series["points"])
    return sum(round(float(value.get("int64Value") or value.get("doubleValue") or 0)) for value in values)


def buckets(api: str, project: str, call: Call) -> Iterator[Bucket]:
    """Limits of rates of a service, with what the project has said of them. The interface leaves zeroes out."""
    page = ""
    while True:
        path = f"/v1beta1/projects/{project}/services/{api}/consumerQuotaMetrics?pageToken={quote(page)}"
        answer = call("GET", _QUOTAS, path)
        for metric in answer.get("metrics", ()):
            for limit in metric.get("consumerQuotaLimits", ()):
                if not _RATE.match(limit["unit"]):
                    continue
                for bucket in limit.get("quotaBuckets", ()):
                    said = bucket.get("consumerOverride") or {}
                    yield Bucket(
                        limit=limit["name"],
                        metric=metric["metric"],
                        unit=limit["unit"],
                        whole=not bucket.get("dimensions"),
                        effective=int(bucket.get("effectiveLimit", 0)),
                        override=said.get("name"),
                        said=int(said.get("overrideValue", 0)),
                    )
        page = answer.get("nextPageToken", "")
        if not page:
            return


def changes(found: list[Bucket], quotas: Mapping[str, int], *, stop: bool) -> Iterator[Change]:
    """What has to be said of the limits, so that all are refused, or that it is as it was."""
    for bucket in found:
        own = quotas.get(bucket.metric) if bucket.unit == _MINUTE and bucket.whole else None
        if stop and bucket.effective and bucket.override:
            yield _said(bucket.override, 0)
        elif stop and bucket.effective and bucket.whole:
            # Holds for whatever has no word of its own.
            yield Change("POST", f"/v1beta1/{bucket.limit}/consumerOverrides?force=true", 0)
        elif not stop and bucket.override and own is not None and bucket.said != own:
            yield _said(bucket.override, own)
        elif not stop and bucket.override and own is None and bucket.said == 0:
            yield Change("DELETE", f"/v1beta1/{bucket.override}?force=true", None)


def _said(override: str, value: int) -> Change:
    # By force: else no limit falls by more than a tenth at once.
    return Change("PATCH", f"/v1beta1/{override}?force=true&updateMask=overrideValue", value)


def _make(wanted: Iterator[Change], call: Call) -> tuple[int, list[str]]:
    """Make changes, and wait until they are made: how many were, and which are refused for good."""
    under_way: list[Any] = []
    refused: list[str] = []
    for change in wanted:
        body = None if change.value is None else {"overrideValue": str(change.value)}
        try:
            under_way.append(call(change.method, _QUOTAS, change.path, body))
        except ApiError as error:
            if error.status != 400:
                raise
            refused.append(change.path)
    made, end = len(under_way), time.monotonic() + _WAIT_SECONDS
    while under_way:
        operation = under_way.pop()
        if operation.get("error"):
            raise NotDoneError(f"an override was not made: {json.dumps(operation['error'])[:500]}")
        if operation.get("done"):
            continue
        if time.monotonic() > end:
            raise NotDoneError("overrides are not made yet")
        time.sleep(_PAUSE_SECONDS)
        under_way.append(call("GET", _QUOTAS, f"/v1beta1/{operation['name']}"))
    return made, refused


def _say(severity: str, **what: Any) -> None:
    print(json.dumps({"severity": severity, **what}))  # noqa: T201 - how a function logs
