"""Checkpoints of a training run: written as a whole, checked when read, the last few kept.

A file is a line that says what it is, a line with the SHA-256 of the rest, and the rest. One that is torn or damaged is passed
over for the one before.
"""

import hashlib
import re
from collections.abc import Callable

from runtime.training.store import Store

Log = Callable[..., None]

_MAGIC = b"checkpoint 1\n"
_DIGEST = 65
"""Characters of a SHA-256 and the end of the line."""
_NAME = re.compile(r"step-(\d{12})\.ckpt")


class DamagedError(Exception):
    """A file is no checkpoint, or no longer the one that was written."""


def seal(state: bytes) -> bytes:
    """A state as a file."""
    return _MAGIC + _digest(state) + state


def unseal(data: bytes) -> bytes:
    """The state in a file; raises DamagedError."""
    start = len(_MAGIC) + _DIGEST
    if not data.startswith(_MAGIC) or data[len(_MAGIC) : start] != _digest(data[start:]):
        raise DamagedError(f"its {len(data)} bytes are not what was written")
    return data[start:]


def _digest(state: bytes) -> bytes:
    return hashlib.sha256(state).hexdigest().encode() + b"\n"


class Checkpoints:
    """The checkpoints of one run in a store."""

    def __init__(self, store: Store, keep: int, log: Log) -> None:
        self.store, self.keep, self.log = store, keep, log

    def save(self, step: int, state: bytes) -> None:
        """Write the checkpoint after `step` steps, then let go of those that are too old.

        A failed removal is only logged: a role that may not delete is no reason to lose a run.
        """
        self.store.write(f"step-{step:012}.ckpt", seal(state))
        older = [name for at, name in self._found() if at < step]
        for name in older[: max(0, len(older) - self.keep + 1)]:
            try:
                self.store.delete(name)
            except Exception as error:  # noqa: BLE001 - each store has its own
                self.log("not deleted", file=name, error=str(error))

    def newest(self) -> bytes | None:
        """The state of the newest good checkpoint; None where there is none.

        Raises where the store itself fails: that is no fresh start.
        """
        for _, name in reversed(self._found()):
            try:
                return unseal(self.store.read(name))
            except DamagedError as error:
                self.log("skipped", file=name, error=str(error))
        return None

    def _found(self) -> list[tuple[int, str]]:
        named = (_NAME.fullmatch(name) for name in self.store.names())
        return sorted((int(match[1]), match[0]) for match in named if match)
