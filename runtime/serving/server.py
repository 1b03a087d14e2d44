"""Runs the service until it is told to end: SIGTERM loses no request.

On SIGTERM readiness says no, and everything that still comes is answered, with the wish to close the connection; after
`drain_seconds` nothing new is accepted; what runs has `grace_seconds` to end. Exit code 0; 1 where the model could not be loaded.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager

import uvicorn
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from runtime.serving import artifact
from runtime.serving.log import capture, log
from runtime.serving.model import Model
from runtime.serving.service import Service
from runtime.serving.settings import Settings

KEEP_ALIVE = 620
"""Seconds that an idle connection is kept: longer than a load balancer does (Google's: 600; an AWS one: 60 as it comes), which
would otherwise send a request into a connection that is just being closed, and answer 502."""
HEAD_BYTES = 64 << 10
"""As much as a load balancer lets through (Application Load Balancer, "Quotas": 64 KiB of headers)."""


class Protocol(HttpToolsProtocol):
    """HTTP with a bound on the head of a request: the parser has none, and keeps all of it in memory."""

    _head, _in_head = 0, True

    def data_received(self, data: bytes) -> None:
        """Some of a request has come; the connection is closed where its head is too large."""
        super().data_received(data)
        self._head = self._head + len(data) if self._in_head else 0
        if self._head > HEAD_BYTES:
            self.transport.close()

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """It has ended."""
        self._in_head = False
        super().on_headers_complete()


class Server(uvicorn.Server):
    """uvicorn, which ends as said in the module."""

    def __init__(self, settings: Settings, environment: Mapping[str, str]) -> None:
        """Nothing is started yet."""
        self.settings, self.failed = settings, False

        def load() -> Model:
            return Model(artifact.locate(environment), use_threads=settings.model_threads)

        self.service = Service(settings, load, self._give_up)
        super().__init__(
            uvicorn.Config(
                self.service.app(),
                host="0.0.0.0",  # noqa: S104 - a container is reached from outside
                port=settings.port,
                http=Protocol,
                ws="none",
                lifespan="on",
                access_log=False,
                log_config=None,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE,
                timeout_graceful_shutdown=settings.grace_seconds,  # pyright: ignore[reportArgumentType] - any number of seconds
            )
        )

    def _give_up(self) -> None:
        self.failed = self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """In place of uvicorn's, which ends at once and then kills itself by the signal that it was sent."""
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, self._drain)
        yield

    def _drain(self) -> None:
        if self.service.draining or not self.service.ready:
            self.should_exit = True  # a second signal, or nothing to wait for
            return
        log("draining", seconds=self.settings.drain_seconds, running=self.service.running)
        self.service.draining = True
        asyncio.get_running_loop().call_later(self.settings.drain_seconds, setattr, self, "should_exit", True)


def main() -> None:
    """Serve; never returns."""
    capture()
    try:
        settings = Settings.of(os.environ)
    except ValueError as error:
        sys.exit(str(error))
    server = Server(settings, os.environ)

    async def serve() -> None:
        await server.serve()
        log("ended", running=server.service.running)
        # A call of the model that hangs would hold the interpreter back, beyond the bound.
        os._exit(1 if server.failed else 0)

    uvloop.run(serve())
