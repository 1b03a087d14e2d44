"""The container service: one server for every platform that runs containers. `python -m runtime.serving`.

| path | who asks |
|---|---|
| GET /healthz | liveness: the process answers |
| GET /readyz, /ping, /v1/models/NAME, /v2/health/ready, AIP_HEALTH_ROUTE | readiness: the model is loaded and warm |
| POST /predict, /invocations, /v1/models/NAME:predict, AIP_PREDICT_ROUTE | predictions |
| POST /push | Pub/Sub, where OUTPUT_URI is set (`worker.py`) |
| GET /execution-parameters | SageMaker batch transform |
| GET /metrics | Prometheus |

Bounded everywhere: body, requests at once, instances that wait, time. What is over a bound is refused at once, with Retry-After
where trying again helps. On Google Cloud the function endpoint is this service too: a function of Cloud Run is a container.
"""

import asyncio
import gc
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from runtime.serving import protocol
from runtime.serving.batcher import Batcher, FullError
from runtime.serving.cache import Cache, opened
from runtime.serving.log import log, place
from runtime.serving.model import Model, predictions
from runtime.serving.protocol import Caller, Refusal
from runtime.serving.settings import Settings
from runtime.serving.signature import InvalidError

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024)


class Answer(NamedTuple):
    """What a request is answered with."""

    status: int
    body: bytes
    media: str
    rows: int
    """Instances."""
    cache: str = ""
    """Whether it came from the cache, where there is one."""


class Service:
    """A model behind HTTP."""

    def __init__(
        self, settings: Settings, load: Callable[[], Model], failed: Callable[[], None] = lambda: None
    ) -> None:
        """`load` runs in a thread while the server already says that it lives; `failed` is called where it raises."""
        self.settings, self._load, self._failed = settings, load, failed
        self.model: Model | None = None
        self.batcher: Batcher | None = None
        self.cache: Cache | None = None
        self.draining = False
        self.running = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter("serving_requests", "Requests", ["route", "status"], registry=self.registry)
        self._cached = Counter("serving_cache", "Answers by cache", ["outcome"], registry=self.registry)
        self._seconds = Histogram(
            "serving_request_seconds", "Times", ["route"], buckets=SECONDS, registry=self.registry
        )
        self._batches = Histogram("serving_batch_rows", "Instances a batch", buckets=ROWS, registry=self.registry)
        Gauge("serving_running", "Requests now", registry=self.registry).set_function(lambda: self.running)
        Gauge("serving_ready", "1: the model is ready", registry=self.registry).set_function(lambda: self.ready)

    @property
    def ready(self) -> bool:
        """Whether requests should come here."""
        return self.batcher is not None and not self.draining

    def app(self) -> ASGIApp:
        """The service as ASGI."""
        said = self.settings
        ready = ["/readyz", "/ping", "/v1/models/{name}", "/v2/health/ready", *filter(None, [said.health_route])]
        predict = ["/predict", "/invocations", "/v1/models/{name}:predict", *filter(None, [said.predict_route])]
        answers = self._answers("predict", self._predict)
        routes = [Route(path, answers, methods=["POST"]) for path in predict]
        if said.output_uri:
            from runtime.serving.worker import Worker  # noqa: PLC0415 - it needs the client of a cloud

            routes.append(Route("/push", self._answers("push", Worker(self).push), methods=["POST"]))
        routes += [Route(path, self._readiness, methods=["GET"]) for path in ready]
        routes += [
            Route("/healthz", self._liveness, methods=["GET"]),
            Route("/v2/health/live", self._liveness, methods=["GET"]),
            Route("/metrics", self._metrics, methods=["GET"]),
            Route("/execution-parameters", self._parameters, methods=["GET"]),
        ]
        errors = dict.fromkeys((404, 405), self._no_route)
        routed = Starlette(routes=routes, lifespan=self._lifespan, exception_handlers=errors)  # pyright: ignore[reportArgumentType]
        exact = {"/predict", "/invocations"}

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in exact:
                # Nearly all requests. They need no search for a route, and `answers` lets no error through.
                response = await answers(Request(scope, receive))
                await response(scope, receive, send)
            else:
                await routed(scope, receive, send)

        return app

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncGenerator[None]:
        loop = asyncio.get_running_loop()

        def load() -> None:
            began = time.monotonic()
            try:
                model = self._load()
            except Exception as error:  # noqa: BLE001 - whatever it is, it ends the service
                # Here the message is ours, or tells of files: nobody has sent anything yet.
                log("model not loaded", "ERROR", message=str(error), **place(error))
                loop.call_soon_threadsafe(self._failed)
                return
            gc.collect()
            said = model.signature
            log("model loaded", model=said.name, version=said.version, seconds=round(time.monotonic() - began, 3))
            loop.call_soon_threadsafe(self._start, model)

        self.cache = opened(self.settings, Cache)
        if self.cache is not None:
            self._tasks.add(loop.create_task(self.cache.open()))
        threading.Thread(target=load, daemon=True).start()
        yield
        if self.cache is not None:
            await self.cache.close()

    def _start(self, model: Model) -> None:
        # What is there now stays: whoever looks for what is left over need not go through it again and again.
        gc.freeze()
        self.model = model
        self.batcher = Batcher(
            model.predict,
            rows=model.signature.batch_limit,
            queue_rows=self.settings.queue_rows,
            wait=self.settings.batch_wait_ms / 1000,
            seen=self._batches.observe,
        )
        self._tasks.add(asyncio.get_running_loop().create_task(self.batcher.run()))

    def _answers(
        self, route: str, handle: Callable[[Request, Caller], Awaitable[Answer]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """What is the same for every request that does work: bounds, time, answer, metric, log."""
        said, times = self.settings, self._seconds.labels(route)

        async def answer(request: Request) -> Response:
            began = time.perf_counter()
            # Of several of one name the first counts, as everywhere; each look into `request.headers` goes through them all.
            caller = Caller.of(
                {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers.raw[::-1]}
            )
            headers, rows, cause, told = caller.headers(), 0, {}, dict[str, str]()
            self.running += 1
            try:
                self._admit()
                async with asyncio.timeout(said.request_seconds):
                    status, body, media, rows, cached = await handle(request, caller)
                if cached:
                    headers["x-cache"] = told["cache"] = cached
            except Refusal as refusal:
                status, body, media = refusal.status, refusal.body(caller.request_id), protocol.PROBLEM
                if refusal.retry_after is not None:
                    headers["retry-after"] = str(refusal.retry_after)
            except TimeoutError:
                status, media = 504, protocol.PROBLEM
                body = Refusal(504).body(caller.request_id)
            except Exception as error:  # noqa: BLE001 - the caller gets an answer, whatever it is
                status, media, cause = 500, protocol.PROBLEM, place(error)
                body = Refusal(500).body(caller.request_id)
            finally:
                self.running -= 1
            if self.draining:
                headers["connection"] = "close"  # the next request of this caller goes to another instance
            if self.model is not None:
                headers["x-model-version"] = self.model.signature.version
            seconds = time.perf_counter() - began
            self._requests.labels(route, status).inc()
            times.observe(seconds)
            if said.log_requests or status >= 500:
                log(
                    "request",
                    "ERROR" if status >= 500 else "INFO",
                    trace_id=caller.trace_id,
                    request_id=caller.request_id,
                    route=route,
                    status=status,
                    instances=rows,
                    ms=round(seconds * 1000, 2),
                    **told,
                    **cause,
                )
            return Response(body, status, headers, media)

        return answer

    def _admit(self) -> None:
        if self.running > self.settings.max_requests:
            raise Refusal(429, retry_after=1)

    async def body(self, request: Request) -> bytes:
        """The whole body of a request, never more of it than is allowed; raises Refusal."""
        limit = self.settings.max_body_bytes
        detail = f"At most {limit} bytes go into a request"
        if int(request.headers.get("content-length", 0)) > limit:
            raise Refusal(413, detail)
        parts, size = list[bytes](), 0
        try:
            # A caller that sends slowly must not hold a place for long.
            async with asyncio.timeout(self.settings.request_seconds / 2):
                async for part in request.stream():
                    size += len(part)
                    if size > limit:
                        raise Refusal(413, detail)
                    parts.append(part)
        except TimeoutError:
            raise Refusal(408) from None
        return b"".join(parts)

    async def score(self, rows: list[object]) -> list[object]:
        """A prediction for each instance; raises Refusal."""
        if self.model is None or self.batcher is None:
            raise Refusal(503, retry_after=5)
        said, found = self.model.signature, list[object]()
        try:
            feed = said.feed(rows)
            for start in range(0, len(rows), said.batch_limit):
                part = {name: array[start : start + said.batch_limit] for name, array in feed.items()}
                found += predictions(await self.batcher.submit(part, min(said.batch_limit, len(rows) - start)))
        except InvalidError as error:
            raise protocol.invalid(error) from None
        except FullError:
            raise Refusal(429, "Too many instances wait", retry_after=1) from None
        return found

    async def answered(self, rows: list[object]) -> tuple[list[object], str]:
        """The same, from the cache where it has them, and where they came from; raises Refusal."""
        if self.cache is None or self.model is None:
            return await self.score(rows), ""
        key = self.cache.key(self.model.signature, rows)
        if key is None:
            return await self.score(rows), ""
        found, outcome = await self.cache.read(key, len(rows))
        self._cached.labels(outcome).inc()
        if found is None:
            found = await self.score(rows)
            self.cache.store(key, found)
        return found, outcome

    async def _predict(self, request: Request, _: Caller) -> Answer:
        if self.model is None:
            raise Refusal(503, retry_after=5)
        said = self.model.signature
        if request.path_params.get("name", self._name()) != self._name():
            raise Refusal(404)
        sent = request.headers.get("content-type", "")
        rows = protocol.decode(await self.body(request), sent, said.inputs, self.settings.max_instances)
        found, cached = await self.answered(rows)
        body, media = protocol.encode(found, request.headers.get("accept", ""), sent)
        return Answer(200, body, media, len(rows), cached)

    def _name(self) -> str:
        return self.settings.model_name or (self.model.signature.name if self.model else "")

    async def _liveness(self, _: Request) -> Response:
        return _json({"alive": True})

    async def _readiness(self, request: Request) -> Response:
        if self.model and request.path_params.get("name", self._name()) != self._name():
            return await self._no_route(request, Refusal(404))
        found = {"ready": self.ready, "name": self._name()}
        if self.model is not None:
            found["version"] = self.model.signature.version
        return _json(found, 200 if self.ready else 503)

    async def _metrics(self, _: Request) -> Response:
        return Response(generate_latest(self.registry), media_type="text/plain; version=0.0.4")

    async def _parameters(self, _: Request) -> Response:
        megabytes = max(1, self.settings.max_body_bytes >> 20)
        batch = {"MaxConcurrentTransforms": 4, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": megabytes}
        return _json(batch)

    async def _no_route(self, request: Request, error: Exception) -> Response:
        status = getattr(error, "status_code", 404)
        caller = Caller.of(request.headers)
        headers = caller.headers() | dict(getattr(error, "headers", None) or {})
        return Response(Refusal(status).body(caller.request_id), status, headers, protocol.PROBLEM)


def _json(value: object, status: int = 200) -> Response:
    return Response(protocol.dumps(value), status, media_type=protocol.JSON)
