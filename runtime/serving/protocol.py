"""What callers say and are answered, on every kind of endpoint: instances in, predictions or a problem out.

| content type | instances | predictions |
|---|---|---|
| application/json | `{"instances": […]}` (Vertex AI, KServe), or the list alone | `{"predictions": […]}` |
| application/jsonlines | one a line | one a line |
| text/csv | one a line, its columns in the order of the signature | one a line |

`Accept` chooses among the same; without it the answer is of the kind of the question. Errors are `application/problem+json`
(RFC 9457) and never repeat what was sent.
"""

import csv
import io
import json
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from runtime.serving.signature import TYPES, Input, InvalidError

JSON, LINES, CSV, PROBLEM = "application/json", "application/jsonlines", "text/csv", "application/problem+json"
# Names in use for the same thing (SageMaker, "Common data formats for inference").
_ALIASES = {"application/x-jsonlines": LINES, "application/jsonl": LINES, "application/x-ndjson": LINES, "": JSON}
_TITLES = {
    400: "The request cannot be read",
    404: "There is nothing at this address",
    405: "The address is not asked in this way",
    408: "The request took too long to arrive",
    413: "The request is too large",
    415: "The content type is not known",
    422: "The instances do not fit the model",
    429: "Too many requests at once",
    500: "The model failed",
    503: "The model is not ready",
    504: "The model took too long",
}


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


# Made once: json.loads and json.dumps make a new one in each call that is not of the simplest kind.
_DECODER = json.JSONDecoder(parse_constant=_no_constant)
_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))
_CANONICAL = json.JSONEncoder(allow_nan=False, separators=(",", ":"), sort_keys=True)
_ID = re.compile(r"[!-~]{1,128}")
_TRACE = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


class Refusal(Exception):  # noqa: N818 - the caller's error, or a lack of room: nothing that went wrong here
    """A request that is not answered with predictions."""

    def __init__(
        self, status: int, detail: str = "", *, problems: Sequence[object] = (), retry_after: int | None = None
    ) -> None:
        """`retry_after`: seconds after which it may go better."""
        super().__init__(detail or _TITLES[status])
        self.status, self.detail, self.problems, self.retry_after = status, detail, problems, retry_after

    def body(self, request_id: str) -> bytes:
        """As a problem document."""
        found: dict[str, object] = {
            "type": "about:blank",
            "title": _TITLES[self.status],
            "status": self.status,
            "request_id": request_id,
        }
        if self.detail:
            found["detail"] = self.detail
        if self.problems:
            found["problems"] = self.problems
        return json.dumps(found).encode()


def invalid(error: InvalidError) -> Refusal:
    """As a refusal."""
    return Refusal(422, problems=error.problems)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as far as logs and the answer need it."""

    request_id: str
    trace_id: str
    traceparent: str
    custom: str | None
    """SageMaker's custom attributes: what the container does not set is not answered."""

    @classmethod
    def of(cls, headers: Mapping[str, str], fallback: str = "") -> "Caller":
        """From the headers of a request, with names in lower case."""
        asked = headers.get("x-request-id") or headers.get("x-amzn-sagemaker-inference-id") or fallback
        trace = _TRACE.fullmatch(headers.get("traceparent", ""))
        # What is not said is made up, from the system's random numbers asked once.
        made = secrets.token_hex(40)
        trace_id = trace[1] if trace else made[32:64]
        return cls(
            request_id=asked if _ID.fullmatch(asked) else made[:32],
            trace_id=trace_id,
            traceparent=trace[0] if trace else f"00-{trace_id}-{made[64:]}-00",
            custom=headers.get("x-amzn-sagemaker-custom-attributes"),
        )

    def headers(self) -> dict[str, str]:
        """What every answer carries."""
        found = {"x-request-id": self.request_id, "traceparent": self.traceparent}
        if self.custom is not None:
            found["x-amzn-sagemaker-custom-attributes"] = self.custom
        return found


def kind(content_type: str) -> str:
    """The content type without its parameters, by its common name."""
    name = content_type.partition(";")[0].strip().lower()
    return _ALIASES.get(name, name)


def decode(body: bytes, content_type: str, inputs: Sequence[Input], limit: int) -> list[Any]:
    """The instances of a request, not yet checked against the model; raises Refusal."""
    what = kind(content_type)
    if what not in {JSON, LINES, CSV}:
        raise Refusal(415, f"Send {JSON}, {LINES} or {CSV}")
    try:
        if what == JSON:
            rows = _instances(loads(body))
        elif what == LINES:
            rows = [loads(line) for line in body.splitlines() if line.strip()]
        else:
            rows = [row for row in csv.reader(io.StringIO(body.decode("utf-8-sig")), strict=True) if row]
            rows = [typed(row, inputs) for row in rows]
    except (ValueError, RecursionError, csv.Error):
        raise Refusal(400, f"The body is not {what}") from None
    if len(rows) > limit:
        raise Refusal(422, f"At most {limit} instances go into a request")
    return rows


def loads(text: bytes) -> Any:
    """JSON as it is defined, in UTF-8: NaN and Infinity are none."""
    return _DECODER.decode(text.decode())


def _instances(found: Any) -> list[Any]:
    if isinstance(found, dict):
        asked = cast("dict[str, Any]", found)
        if asked.keys() - {"instances", "parameters"} or asked.get("parameters"):
            raise Refusal(400, 'Only "instances" can be given')
        found = asked.get("instances")
    if not isinstance(found, list):
        raise Refusal(400, 'Give a list as "instances"')
    return cast("list[Any]", found)


def typed(cells: Sequence[str | None], inputs: Sequence[Input]) -> list[Any]:
    """Cells of a table as values; what is no number stays a text, and is then refused by the signature."""
    if len(inputs) == 1 and len(inputs[0].shape) == 1:
        return [[_cell(cell, inputs[0].type) for cell in cells]]
    if len(cells) != len(inputs):
        return list(cells)
    return [_cell(cell, each.type) for cell, each in zip(cells, inputs, strict=True)]


def _cell(cell: str | None, wanted: str) -> Any:
    if cell is None or wanted == "string":
        return cell
    if wanted == "bool":
        return {"true": True, "false": False}.get(cell.strip().lower(), cell)
    try:
        # Python would read 1_000 as a number.
        return cell if "_" in cell else (float if "f" in TYPES[wanted][1] else int)(cell)
    except ValueError:
        return cell if cell.strip() else None


def encode(predictions: Iterable[Any], accept: str, content_type: str) -> tuple[bytes, str]:
    """The body of an answer and its content type; raises Refusal where a value has no place in JSON."""
    wanted = kind(accept.partition(",")[0])
    what = wanted if accept and wanted in {JSON, LINES, CSV} else kind(content_type)
    try:
        if what == LINES:
            text = "".join(dumps(each) + "\n" for each in predictions)
        elif what == CSV:
            table = io.StringIO()
            csv.writer(table, lineterminator="\n").writerows(map(_flat, predictions))
            text = table.getvalue()
        else:
            text = dumps({"predictions": list(predictions)})
    except ValueError:
        raise Refusal(500, "The model gave no number") from None
    return text.encode(), what


def dumps(value: Any) -> str:
    """As JSON; raises ValueError for what is no number."""
    return _ENCODER.encode(value)


def canonical(value: Any) -> str:
    """As JSON that is the same for whatever means the same: without spaces, and with names in order."""
    return _CANONICAL.encode(value)


def _flat(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = list(cast("dict[str, Any]", value).values())
    if isinstance(value, list):
        return [cell for each in cast("list[Any]", value) for cell in _flat(each)]
    return [value]
