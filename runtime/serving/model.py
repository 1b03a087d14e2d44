"""A model, loaded and ready: ONNX, run by ONNX Runtime.

One format for everything that is served: a scikit-learn model is converted when it is packed (`pack.py`). A pickle runs whatever
code is in it as soon as it is read; an ONNX file holds no code.
"""

import os
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as onnx  # pyright: ignore[reportMissingTypeStubs] - has none

from runtime.serving.signature import Feed, Signature

MODEL = "model.onnx"
SIGNATURE = "signature.json"
PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")
# Names of ONNX's types in ONNX Runtime by those of the signature.
_NAMES = {"float32": "float", "float64": "double"}

Outputs = dict[str, np.ndarray]


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    found = sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            found.update(chunk)
    return found.hexdigest()


def threads() -> int:
    """Processors that this container may use: the host shows all of its own to it."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        limit = max(1, int(quota) // int(period))
    except (OSError, ValueError):  # no cgroup v2, or "max"
        limit = os.cpu_count() or 1
    return min(limit, len(os.sched_getaffinity(0)))


class Model:
    """A model in a folder. Its calls may run at the same time in several threads."""

    def __init__(self, folder: Path, *, use_threads: int = 0) -> None:
        """Check the files, load the model and warm it up; raises ValueError where it is not what the signature says."""
        self.signature = Signature.parse((folder / SIGNATURE).read_bytes())
        if MODEL not in self.signature.files:
            raise ValueError(f"{SIGNATURE} has no digest of {MODEL}")
        for name, expected in self.signature.files.items():
            if digest(folder / Path(name).name) != expected:
                raise ValueError(f"{name} is not the file that {SIGNATURE} names")
        options: Any = onnx.SessionOptions()
        options.intra_op_num_threads = use_threads or threads()
        # Threads that wait burn no processor: others in this container have use for it.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers = [each for each in PROVIDERS if each in onnx.get_available_providers()]
        self._session: Any = onnx.InferenceSession(str(folder / MODEL), options, providers)
        self._ranks = self._check()
        self._outputs = list(self.signature.outputs)
        for rows in {1, self.signature.batch_limit}:
            self.predict(self.signature.feed([self.signature.sample()] * rows))

    def _check(self) -> Mapping[str, int]:
        """The rank of each tensor that the model takes."""
        said, found = self.signature, {each.name: each for each in self._session.get_inputs()}
        wanted = {said.stack} if said.stack else {each.name for each in said.inputs}
        missing = wanted ^ found.keys() | set(said.outputs) - {each.name for each in self._session.get_outputs()}
        if missing:
            raise ValueError(f"{SIGNATURE} and {MODEL} differ in {', '.join(sorted(missing))}")
        for each in said.inputs:
            name = said.stack or each.name
            if found[name].type != f"tensor({_NAMES.get(each.type, each.type)})":
                raise ValueError(f"{name} is {found[name].type} in {MODEL}, {each.type} in {SIGNATURE}")
        return {name: len(each.shape) for name, each in found.items()}

    def predict(self, feed: Feed) -> Outputs:
        """The outputs for a batch, by name."""
        if self.signature.stack:
            feed = {self.signature.stack: np.column_stack([feed[each.name] for each in self.signature.inputs])}
        # A single value is a column to models of tables (n, 1), and a list to others (n).
        shaped = {n: a[:, None] if a.ndim == 1 and self._ranks[n] == 2 else a for n, a in feed.items()}
        return dict(zip(self._outputs, self._session.run(self._outputs, shaped), strict=True))

    def score(self, rows: Sequence[Any]) -> list[Any]:
        """A prediction for each of any number of instances; raises InvalidError."""
        feed, limit = self.signature.feed(rows), self.signature.batch_limit
        found: list[Any] = []
        for start in range(0, len(rows), limit):
            found += predictions(self.predict({name: a[start : start + limit] for name, a in feed.items()}))
        return found


def predictions(outputs: Outputs) -> list[Any]:
    """Outputs by instance: the value of the only output, or an object of all of them."""
    lists = {name: array.tolist() for name, array in outputs.items()}
    if len(lists) == 1:
        return next(iter(lists.values()))
    return [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]
