"""Answers that are not worked out twice: the same instances to the same model, from a cache of Valkey with a time to live.

| the variable | what it says |
|---|---|
| CACHE_URL | `rediss://USER@HOST:PORT`, `@` in USER as `%40`; none is no cache; `redis://USER:PASSWORD@…` to try things out |
| CACHE_SIGN_IN | how a password is had: `elasticache/REGION/NAME` (IAM), `memorystore` (an access token); else it is the URL's |
| CACHE_AUTHORITY | certificates of whoever vouches for the cache alone, in PEM; without them whoever vouches for everybody does |
| CACHE_PREFIX | what its keys begin with: the endpoint's name, since it may touch no others |
| CACHE_SECONDS, CACHE_MS | how long an answer is kept, and how long a request waits to be told that there is one |

A cache is never a reason for an error: what is not there in time is worked out, and after a failure nobody asks for some seconds.
What began goes on meanwhile, within its own bound: a connection that takes long to make is there for those who come after.

An answer is stored under a digest of the model and the instances as canonical JSON, so it is the same whether they came as JSON,
lines or CSV; neither the instances nor what is refused is stored.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from hashlib import sha256
from typing import Any, Literal, TypeVar, cast
from urllib.parse import unquote, urlencode, urlsplit

from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider

from runtime.serving import protocol
from runtime.serving.log import log
from runtime.serving.settings import Settings
from runtime.serving.signature import Signature

Outcome = Literal["hit", "miss", "away"]
Made = TypeVar("Made")
LARGEST = 1 << 20
"""Bytes of an answer that is stored; larger ones are quicker worked out than fetched in time."""
_BOUND = 2.0
"""Seconds that anything with the cache takes at most, whoever has stopped waiting for it."""
_REST = 5.0
"""Seconds that nobody asks after it failed."""
_PENDING = 64
"""Answers on their way into the cache; more are not stored."""
_TOKEN_SECONDS = 900
"""ElastiCache, "Authenticating with IAM": a token is valid for 15 minutes, a connection that was made with it for 12 hours."""


class Cache:
    """Answers of one model; for one event loop."""

    def __init__(self, settings: Settings) -> None:
        """Nothing is connected yet; raises ValueError where the variables make no sense."""
        parts = urlsplit(settings.cache_url)
        if parts.scheme not in {"redis", "rediss"} or not parts.hostname:
            raise ValueError("CACHE_URL is no redis:// or rediss://USER@HOST:PORT")
        self._wait, self._seconds, self._prefix = (
            settings.cache_ms / 1000,
            settings.cache_seconds,
            settings.cache_prefix,
        )
        self._rests_until, self._failing = 0.0, False
        self._tasks: set[asyncio.Task[Any]] = set()
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        signs = password or settings.cache_sign_in
        tls: dict[str, Any] = {}
        if parts.scheme == "rediss":
            authority = settings.cache_authority or None
            # Of an authority that vouches for one cache alone the name adds nothing, and Memorystore is called by an address.
            tls = {"ssl": True, "ssl_ca_data": authority, "ssl_check_hostname": authority is None}
        self._client: Any = RedisCluster(
            host=parts.hostname,
            port=parts.port or 6379,
            credential_provider=_Identity(user, passwords(settings.cache_sign_in, user, password)) if signs else None,
            socket_timeout=_BOUND,
            socket_connect_timeout=_BOUND,
            socket_keepalive=True,
            # Once more, at once: a connection that was made long ago may have been closed over there.
            retry=Retry(NoBackoff(), 1),
            max_connections=_PENDING,
            **tls,
        )

    def key(self, model: Signature, rows: Sequence[Any]) -> str | None:
        """Where the answer lies: a model whose files are others is another one, whatever its version is called.

        None for what cannot be written down, which no model takes either.
        """
        asked = {"model": model.name, "version": model.version, "files": dict(model.files), "instances": rows}
        try:
            text = protocol.canonical(asked)
        except (ValueError, RecursionError):
            return None
        return f"{self._prefix}:{sha256(text.encode()).hexdigest()}"

    async def read(self, key: str, count: int) -> tuple[list[Any] | None, Outcome]:
        """The predictions for so many instances, where they are there in time."""
        if time.monotonic() < self._rests_until:
            return None, "away"
        task = self._keep(self._get(key))
        await asyncio.wait({task}, timeout=self._wait)
        if not task.done():
            self._rest("slow")
            return None, "away"
        if task.cancelled() or task.exception():
            return None, "away"
        found = _predictions(task.result(), count)
        return found, "miss" if found is None else "hit"

    def store(self, key: str, predictions: Sequence[Any]) -> "asyncio.Task[Any] | None":
        """Put an answer there, while nobody waits for it."""
        if time.monotonic() < self._rests_until or len(self._tasks) >= _PENDING:
            return None
        try:
            text = protocol.dumps(predictions).encode()
        except ValueError:
            return None  # no number, which is an error
        return self._keep(self._set(key, text)) if len(text) <= LARGEST else None

    async def open(self) -> None:
        """Connect, so that the first request finds it done; raises nothing."""
        await asyncio.wait({self._keep(self._ping())}, timeout=_BOUND)

    async def close(self) -> None:
        """Let it go."""
        for task in self._tasks:
            task.cancel()
        await self._client.aclose()

    def _keep(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        task = asyncio.get_running_loop().create_task(self._bounded(work))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def _bounded(self, work: Coroutine[Any, Any, Any]) -> Any:
        async with asyncio.timeout(_BOUND):
            return await work

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        if error := task.exception():
            self._rest(type(error).__name__)
        elif self._failing:
            self._failing = False
            log("cache is back")

    def _rest(self, why: str) -> None:
        self._rests_until = time.monotonic() + _REST
        if not self._failing:
            self._failing = True
            log("cache is away", "WARNING", reason=why, seconds=_REST)

    async def _get(self, key: str) -> bytes | None:
        return await self._client.get(key)

    async def _set(self, key: str, text: bytes) -> None:
        await self._client.set(key, text, ex=self._seconds)

    async def _ping(self) -> None:
        await self._client.get(f"{self._prefix}:")


class Blocking:
    """The same for a program without an event loop: one of its own, in a thread."""

    def __init__(self, settings: Settings) -> None:
        """Connect; raises ValueError where the variables make no sense."""
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._cache: Cache = self._run(_made(settings))
        self.key = self._cache.key
        self._run(self._cache.open())

    def read(self, key: str, count: int) -> tuple[list[Any] | None, Outcome]:
        """See Cache."""
        return self._run(self._cache.read(key, count))

    def store(self, key: str, predictions: Sequence[Any], wait: float) -> None:
        """See Cache; waits for so many seconds, since what goes on after an answer may be frozen."""
        self._run(_stored(self._cache, key, predictions, wait))

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


async def _made(settings: Settings) -> Cache:
    return Cache(settings)


async def _stored(cache: Cache, key: str, predictions: Sequence[Any], wait: float) -> None:
    task = cache.store(key, predictions)
    if task is not None:
        await asyncio.wait({task}, timeout=wait)


def opened(settings: Settings, make: Callable[[Settings], Made]) -> Made | None:
    """A `Cache`, or a `Blocking` one; None where there is none. One that is described wrongly is none, and the log says so."""
    if not settings.cache_url:
        return None
    try:
        return make(settings)
    except Exception as error:  # noqa: BLE001 - whatever it is, the model answers without
        log("cache is not used", "ERROR", reason=str(error) if isinstance(error, ValueError) else type(error).__name__)
        return None


def _predictions(text: bytes | None, count: int) -> list[Any] | None:
    """What was stored, where it is an answer to so many instances."""
    if text is None:
        return None
    try:
        found = protocol.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, list):
        return None
    predictions = cast("list[Any]", found)
    return predictions if len(predictions) == count else None


class _Identity(CredentialProvider):
    """Whom a connection is made as: asked anew for each, since a password is one for minutes."""

    def __init__(self, user: str | None, password: Callable[[], str]) -> None:
        self._user, self._password = user, password

    def get_credentials(self) -> tuple[str, str] | tuple[str]:
        password = self._password()
        return (self._user, password) if self._user else (password,)

    async def get_credentials_async(self) -> tuple[str, str] | tuple[str]:
        # Whoever gives it may be asked over the network.
        return await asyncio.to_thread(self.get_credentials)


def passwords(sign_in: str, user: str, password: str) -> Callable[[], str]:
    """What gives a password; raises ValueError for a way to sign in that is not known."""
    kind, _, rest = sign_in.partition("/")
    region, _, name = rest.partition("/")
    if kind == "elasticache" and region and name and user:
        return _of_elasticache(region, name, user)
    if kind == "memorystore":
        return _of_memorystore()
    if sign_in:
        raise ValueError("CACHE_SIGN_IN is neither elasticache/REGION/NAME, with a user in CACHE_URL, nor memorystore")
    return lambda: password


def _of_elasticache(region: str, name: str, user: str) -> Callable[[], str]:
    """Of an identity of AWS: the address of a request that is signed and never sent ("Authenticating with IAM")."""
    import boto3  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs] - of one cloud
    from botocore.auth import SigV4QueryAuth  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs]
    from botocore.awsrequest import AWSRequest  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs]

    session: Any = boto3.Session()
    query = urlencode({"Action": "connect", "User": user, "ResourceType": "ServerlessCache"})

    def token() -> str:
        request: Any = AWSRequest("GET", f"http://{name}/?{query}")
        identity = session.get_credentials().get_frozen_credentials()
        signer: Any = SigV4QueryAuth(identity, "elasticache", region, expires=_TOKEN_SECONDS)
        signer.add_auth(request)
        return str(request.url).removeprefix("http://")

    return token


def _of_memorystore() -> Callable[[], str]:
    """Of a service account: its access token ("About IAM authentication", Memorystore for Valkey)."""
    import google.auth  # noqa: PLC0415 - of one cloud
    from google.auth.transport.requests import Request  # noqa: PLC0415

    found: Any = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    lock = threading.Lock()

    def token() -> str:
        with lock:
            if not found[0].valid:
                found[0].refresh(Request())
        return str(found[0].token)

    return token
