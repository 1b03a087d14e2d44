"""Asynchronous inference on Google Cloud: Pub/Sub pushes a message to `/push`, the result goes to OUTPUT_URI.

| the message | what happens | answer |
|---|---|---|
| is scored | `results/KEY.json` is created, by the first that comes | 204: acknowledged |
| has a result already | nothing | 204 |
| does not fit the model, or the model fails | nothing: Pub/Sub tries again, then it is a dead letter | 4xx, 5xx |
| comes while there is no room or no model | nothing: Pub/Sub tries again, later and later | 429, 503 |
| is no message of Pub/Sub | `malformed/DIGEST.json` is written; only then is it acknowledged | 204, else 500 |

KEY is the attribute `request-id` where the publisher gives one, so that a message published twice counts once; else Pub/Sub's own
id. Pub/Sub delivers at least once, and two deliveries may run at the same time: the result is then computed twice, which changes
nothing, and written once. A mark set before the work would lose the message if the work then failed.

Who may push is decided before the container: Cloud Run lets only the subscription's service account in.
"""

import asyncio
import base64
import json
import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from runtime.serving import protocol
from runtime.serving.log import log
from runtime.serving.protocol import Caller, Refusal
from runtime.serving.store import Store, open_store

if TYPE_CHECKING:
    from runtime.serving.service import Answer, Service

_KEY = re.compile(r"[\w.=-]{1,128}")


class MalformedError(Exception):
    """No message of Pub/Sub: to deliver it again would not help."""


class Worker:
    """Handles messages with the service's model."""

    def __init__(self, service: "Service") -> None:
        self._service = service
        self._store: Store | None = None

    async def push(self, request: Request, caller: Caller) -> "Answer":
        """See the module; raises Refusal."""
        body = await self._service.body(request)
        store = await asyncio.to_thread(self._opened)
        try:
            key, data, media = envelope(body)
        except MalformedError as error:
            name = f"malformed/{sha256(body).hexdigest()}.json"
            record = {"reason": str(error), "request_id": caller.request_id, "body": base64.b64encode(body).decode()}
            await asyncio.to_thread(store.create, name, json.dumps(record).encode())
            log("malformed message", "ERROR", reason=str(error), record=name)
            return _done(0)
        model = self._service.model
        if model is None:
            raise Refusal(503, retry_after=5)
        said, name = model.signature, f"results/{key}.json"
        if await asyncio.to_thread(store.read, name) is not None:
            log("already done", key=key, trace_id=caller.trace_id)
            return _done(0)
        rows = protocol.decode(data, media, said.inputs, self._service.settings.max_instances)
        found, _ = await self._service.answered(rows)
        result = {"key": key, "model": said.name, "version": said.version, "predictions": found}
        first = await asyncio.to_thread(store.create, name, protocol.dumps(result).encode())
        log("scored" if first else "already done", key=key, trace_id=caller.trace_id)
        return _done(len(rows))

    def _opened(self) -> Store:
        if self._store is None:
            self._store = open_store(self._service.settings.output_uri)
        return self._store


def _done(rows: int) -> "Answer":
    from runtime.serving.service import Answer  # noqa: PLC0415 - which imports this

    return Answer(204, b"", protocol.JSON, rows)


def envelope(body: bytes) -> tuple[str, bytes, str]:
    """Key, data and content type of a message as Pub/Sub pushes it, wrapped (Pub/Sub, "Push subscriptions")."""
    try:
        message: dict[str, Any] = protocol.loads(body)["message"]
        attributes: dict[str, str] = message.get("attributes") or {}
        key = attributes.get("request-id") or message["messageId"]
        if not _KEY.fullmatch(key):
            raise MalformedError("its key is not made of letters, digits and .=_-")
        data = base64.b64decode(message.get("data", ""), validate=True)
        return key, data, str(attributes.get("content-type", protocol.JSON))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MalformedError(f"it is no envelope of Pub/Sub: {type(error).__name__}") from None
