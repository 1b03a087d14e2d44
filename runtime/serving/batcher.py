"""Requests that wait at the same moment go through the model together.

While the model works, requests gather; as soon as it is free, it takes as many of them as go into one batch. Nobody waits for
others to come (unless BATCH_WAIT_MS says so): a lone request is as fast as without this, and batches grow with the load.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from runtime.serving.model import Outputs
from runtime.serving.signature import Feed

INLINE = 0.001
"""Seconds. A call that is expected to be shorter is made in the event loop: to hand it to a thread and back costs more."""


class FullError(Exception):
    """As many instances wait as may."""


@dataclass(slots=True)
class _Waiting:
    feed: Feed
    rows: int
    answer: asyncio.Future[Outputs]


class Batcher:
    """In front of a model, inside one event loop."""

    def __init__(
        self,
        predict: Callable[[Feed], Outputs],
        *,
        rows: int,
        queue_rows: int,
        wait: float = 0.0,
        seen: Callable[[int], None],
    ) -> None:
        """`rows` is the most in one batch, `queue_rows` the most that wait, `wait` seconds, `seen` is told each batch's rows."""
        self._predict, self._rows, self._queue_rows, self._wait, self._seen = predict, rows, queue_rows, wait, seen
        self._queue: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._pool = ThreadPoolExecutor(1, "model")
        self._each = math.inf
        """Seconds that an instance took in the last call; unknown before the first."""
        self.waiting = 0
        """Instances that wait now."""

    async def submit(self, feed: Feed, rows: int) -> Outputs:
        """The outputs for a feed of this many rows; raises FullError, or whatever the model does."""
        if self.waiting + rows > max(self._queue_rows, rows if not self.waiting else 0):
            raise FullError
        item = _Waiting(feed, rows, asyncio.get_running_loop().create_future())
        self._queue.append(item)
        self.waiting += rows
        self._arrived.set()
        return await item.answer

    async def run(self) -> None:
        """Serve until it is cancelled."""
        try:
            while True:
                await self._arrived.wait()
                if self._wait and self.waiting < self._rows:
                    await asyncio.sleep(self._wait)
                if batch := self._take():
                    await self._serve(batch)
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _take(self) -> list[_Waiting]:
        """The next batch; who has given up meanwhile is left out."""
        batch: list[_Waiting] = []
        rows = 0
        while self._queue and (not batch or rows + self._queue[0].rows <= self._rows):
            item = self._queue.popleft()
            self.waiting -= item.rows
            if not item.answer.done():
                batch.append(item)
                rows += item.rows
        if not self._queue:
            self._arrived.clear()
        return batch

    async def _serve(self, batch: list[_Waiting]) -> None:
        first = batch[0].feed
        feed = first if len(batch) == 1 else {n: np.concatenate([each.feed[n] for each in batch]) for n in first}
        rows = sum(each.rows for each in batch)
        self._seen(rows)
        try:
            outputs, self._each = await self._call(feed, rows)
        except Exception as error:  # noqa: BLE001 - it belongs to who asked
            if len(batch) > 1:
                # One of them may be to blame: the others must not suffer from it.
                for each in batch:
                    await self._serve([each])
            elif not batch[0].answer.done():
                batch[0].answer.set_exception(error)
            return
        start = 0
        for each in batch:
            if not each.answer.done():
                each.answer.set_result({n: array[start : start + each.rows] for n, array in outputs.items()})
            start += each.rows

    async def _call(self, feed: Feed, rows: int) -> tuple[Outputs, float]:
        """The outputs, and seconds an instance."""

        def predict() -> tuple[Outputs, float]:
            began = time.perf_counter()
            return self._predict(feed), (time.perf_counter() - began) / rows

        if self._each * rows < INLINE:
            return predict()
        return await asyncio.get_running_loop().run_in_executor(self._pool, predict)
