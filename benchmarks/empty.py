"""The floor of `benchmarks/serving.py`: an application that reads nothing and answers nothing. `uvicorn benchmarks.empty:app`."""

from collections.abc import Awaitable, Callable
from typing import Any


async def app(scope: dict[str, Any], _: object, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
    """An empty handler, as ASGI."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"{}"})
