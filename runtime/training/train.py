"""A small, real training run: a classifier of tabular data that survives the machine it runs on.

An interrupted run ends with exit code 143 and, started again with the same CHECKPOINT_URI, goes on with the very next step: the
order of the examples follows from the seed and the step, and a checkpoint holds the model, the optimizer, the scheduler and
every process's random numbers. On one kind of machine the weights come out bit by bit as if nothing had happened. Started
once more after its end, it finds itself done and ends with 0, so a queue may start it as often as it likes.

What it says is one JSON object a line on its output. What it makes: `model.pt` (a state dict) and `result.json`, beside the
checkpoints.

Exit codes: 0 done; 143 interrupted; 2 what is asked for makes no sense; 1 anything else. To start it again helps after 143, and
after a machine that went without a word.
"""

import argparse
import csv
import ctypes
import hashlib
import io
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch  # pyright: ignore[reportMissingImports] - is in the image, not among the platform's own requirements

from runtime.training.checkpoint import Checkpoints
from runtime.training.group import Group
from runtime.training.interruption import METADATA_HOST, NOTICES, Interruption
from runtime.training.store import open_store

INTERRUPTED = 128 + 15
"""What a process ends with that SIGTERM ended."""
REFUSED = 2
"""As argparse."""
# Of the data that is made where none is given.
_EXAMPLES, _FEATURES, _CLASSES = 4096, 16, 4


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What makes a run this run: a checkpoint of another recipe is refused."""

    data: str | None
    seed: int
    batch: int
    hidden: int
    dropout: float
    learning_rate: float
    decay: float


class RecipeError(Exception):
    """The checkpoint is that of another run."""


def options(arguments: Sequence[str], environment: Mapping[str, str]) -> argparse.Namespace:
    """What is asked for: by argument, else by the environment's variable of the same name in capitals, else by default."""
    parser = argparse.ArgumentParser(
        prog="python -m runtime.training", description="Train a classifier; see the module."
    )

    def add(name: str, kind: Any, default: Any, text: str, **more: Any) -> None:
        # The parser reads a default that is text as if it had been an argument.
        given = environment.get(name.upper().replace("-", "_"), default)
        parser.add_argument(f"--{name}", type=kind, default=given, help=text, **more)

    add("checkpoint-uri", str, None, "folder, s3://bucket/prefix or gs://bucket/prefix; one for each run")
    add("checkpoint-steps", _positive, 500, "steps between two checkpoints")
    add("checkpoint-seconds", float, 300.0, "seconds after which there is one all the same")
    add("checkpoint-keep", _positive, 3, "how many are kept")
    add("data-uri", str, None, "CSV with a line of titles and the class (0, 1, …) last; made up where not given")
    add("epochs", _positive, 20, "times that every example is seen; the one thing to raise on a run that is done")
    add("batch", _positive, 64, "examples a step, over all processes")
    add("hidden", _positive, 64, "width of the model")
    add("dropout", float, 0.1, "")
    add("learning-rate", float, 1e-3, "")
    add("decay", float, 0.9, "what the learning rate is multiplied by after each epoch")
    add("seed", int, 1, "")
    add("log-steps", _positive, 50, "steps between two lines on the loss")
    add("notice", str, None, "whose notice of an interruption to ask for, beside SIGTERM", choices=sorted(NOTICES))
    add("notice-host", str, METADATA_HOST, "whom to ask")
    asked = parser.parse_args(arguments)
    if asked.checkpoint_uri is None:
        parser.error(
            "--checkpoint-uri or CHECKPOINT_URI is missing: a run without it could not go on after an interruption"
        )
    return asked


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("is less than 1")
    return value


def main(arguments: Sequence[str], interruption: Interruption) -> int:
    """Run, or go on with, one training; its exit code."""
    asked = options(arguments, os.environ)
    group = Group()

    def log(event: str, **facts: Any) -> None:
        if group.first:
            print(json.dumps({"event": event, "time": round(time.time(), 3), **facts}), flush=True)  # noqa: T201

    if asked.notice is not None:
        interruption.watch(asked.notice, asked.notice_host, lambda text: log("no notices", error=text))
    try:
        run = Run(asked, group, log)
    except (RecipeError, ValueError) as error:
        log("refused", error=str(error))
        return REFUSED
    reason = run.to_the_end(interruption)
    if reason is not None:
        log("interrupted", step=run.step, reason=reason)
    group.leave()
    return 0 if reason is None else INTERRUPTED


class Run:
    """One training: what it consists of, where it is, how it goes on."""

    def __init__(self, asked: argparse.Namespace, group: Group, log: Any) -> None:
        """Build everything anew, then take over what the newest checkpoint holds."""
        self.asked, self.group, self.log = asked, group, log
        self.recipe = Recipe(
            data=asked.data_uri, seed=asked.seed, batch=asked.batch, hidden=asked.hidden,
            dropout=asked.dropout, learning_rate=asked.learning_rate, decay=asked.decay,
        )  # fmt: skip
        torch.use_deterministic_algorithms(True)
        torch.manual_seed(asked.seed)
        examples, labels = generated(asked.seed) if asked.data_uri is None else read(asked.data_uri)
        held_out = len(labels) // 5
        self.examples, self.labels = examples[held_out:].to(group.device), labels[held_out:].to(group.device)
        self.held_out = examples[:held_out].to(group.device), labels[:held_out].to(group.device)
        self.steps_an_epoch = len(self.labels) // asked.batch
        if not held_out or not self.steps_an_epoch or asked.batch % group.size:
            said = f"{len(labels)} examples cannot be had in batches of {asked.batch} by {group.size} processes"
            raise ValueError(said)
        self.steps = asked.epochs * self.steps_an_epoch

        self.model = torch.nn.Sequential(
            torch.nn.Linear(examples.shape[1], asked.hidden),
            torch.nn.ReLU(),
            torch.nn.Dropout(asked.dropout),
            torch.nn.Linear(asked.hidden, asked.hidden),
            torch.nn.ReLU(),
            torch.nn.Linear(asked.hidden, int(labels.max()) + 1),
        ).to(group.device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=asked.learning_rate)
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, step_size=1, gamma=asked.decay)
        self.step = 0
        """How many are done."""
        self.store = open_store(asked.checkpoint_uri)
        self.checkpoints = Checkpoints(self.store, asked.checkpoint_keep, log)
        # Read by one process: of what each would find, one could be newer.
        newest = group.of_first(self.checkpoints.newest() if group.first else None)
        if newest is None:
            torch.manual_seed(asked.seed + group.rank)
        else:
            # As data only, so that no file in the bucket can run code.
            self._resume(torch.load(io.BytesIO(newest), map_location="cpu", weights_only=True))
        self.saved = self.step
        how = {"processes": group.size, "device": str(group.device)}
        log("resumed" if newest else "started", step=self.step, steps=self.steps, **how)
        self.wrapped = group.wrap(self.model)

    def to_the_end(self, interruption: Interruption) -> str | None:
        """Do the steps that are left. None when all are done, else why not: then what was done is kept."""
        written = time.monotonic()
        order = None
        while self.step < self.steps:
            epoch, position = divmod(self.step, self.steps_an_epoch)
            if order is None or position == 0:
                order = torch.randperm(len(self.labels), generator=_generator(self.asked.seed, epoch))
            loss = self._one(order[position * self.asked.batch :][: self.asked.batch])
            due = self.step - self.saved >= self.asked.checkpoint_steps
            due |= time.monotonic() - written >= self.asked.checkpoint_seconds
            stop, due = self.group.any(interruption.reason is not None, due)
            if self.step % self.asked.log_steps == 0:
                self.log("step", step=self.step, epoch=epoch, loss=loss)
            if position + 1 == self.steps_an_epoch:
                self.log("epoch", epoch=epoch, **self._judge())
            if stop and self.step < self.steps:
                self._leave()
                return interruption.reason or "another process was interrupted"
            if due or self.step == self.steps:
                self._save()
                written = time.monotonic()
        self._finish()
        return None

    def _one(self, chosen: Any) -> float:
        """One step on these examples, of which each process takes its share; the loss of this process."""
        mine = chosen[self.group.rank :: self.group.size]
        loss = torch.nn.functional.cross_entropy(self.wrapped(self.examples[mine]), self.labels[mine])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.step += 1
        if self.step % self.steps_an_epoch == 0:
            self.scheduler.step()
        found = float(loss)
        if not math.isfinite(found):
            # Before it gets into a checkpoint: to go on from there would never end well.
            raise ArithmeticError(f"the loss of step {self.step} is {found}")
        return found

    def _judge(self) -> dict[str, float]:
        """How good the model is on what it has not seen."""
        examples, labels = self.held_out
        self.model.eval()
        with torch.no_grad():
            found = self.model(examples)
        self.model.train()
        return {
            "held_out_loss": float(torch.nn.functional.cross_entropy(found, labels)),
            "accuracy": float((found.argmax(1) == labels).float().mean()),
        }

    def _save(self) -> None:
        """Keep where the run is."""
        on_gpu = self.group.device.type == "cuda"
        random = {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state() if on_gpu else None}
        optimizer = self.optimizer.state_dict()
        # Tensors as such, all else as JSON: a reader of data only takes little more (no float, in older releases of torch).
        rest = {
            "recipe": asdict(self.recipe),
            "step": self.step,
            "groups": optimizer["param_groups"],
            "scheduler": self.scheduler.state_dict(),
        }
        state = {
            "model": self.model.state_dict(),
            "moments": optimizer["state"],
            "random": self.group.all(random),
            "rest": json.dumps(rest),
        }
        if self.group.first and self.step > self.saved:
            began = time.monotonic()
            data = _written(state)
            self.checkpoints.save(self.step, data)
            self.log("checkpoint", step=self.step, bytes=len(data), seconds=round(time.monotonic() - began, 3))
        self.saved = self.step

    def _leave(self) -> None:
        """Keep what was done, if it can be: the machine may already be losing its network, and the checkpoint before is there."""
        try:
            self._save()
        except Exception as error:  # noqa: BLE001 - each store has its own
            self.log("not kept", step=self.step, error=str(error))

    def _resume(self, state: dict[str, Any]) -> None:
        """Be where the run was."""
        rest = json.loads(state["rest"])
        other = {k: (v, now) for k, v in rest["recipe"].items() if (now := asdict(self.recipe)[k]) != v}
        if other:
            said = ", ".join(f"{name} was {before!r} and is {now!r}" for name, (before, now) in other.items())
            raise RecipeError(f"the checkpoint in {self.asked.checkpoint_uri} is of another run: {said}")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict({"state": state["moments"], "param_groups": rest["groups"]})
        self.scheduler.load_state_dict(rest["scheduler"])
        self.step = rest["step"]
        random = state["random"]
        if len(random) == self.group.size:
            mine = random[self.group.rank]
            torch.set_rng_state(mine["cpu"])
            if self.group.device.type == "cuda" and mine["cuda"] is not None:
                torch.cuda.set_rng_state(mine["cuda"])
        else:
            # With more or fewer processes than before the run goes on, though no longer bit by bit as it would have.
            torch.manual_seed(self.asked.seed + self.step * self.group.size + self.group.rank)

    def _finish(self) -> None:
        """Hand over the model."""
        weights = {name: value.detach().cpu().contiguous() for name, value in self.model.state_dict().items()}
        result = {"steps": self.steps, "weights": _fingerprint(weights), **self._judge()}
        if self.group.first:
            self.store.write("model.pt", _written(weights))
            self.store.write("result.json", json.dumps(result).encode())
        self.log("done", **result)


def generated(seed: int) -> tuple[Any, Any]:
    """Examples of a rule that can be learned: classes by a small random network, with some noise."""
    random = _generator(seed, -1)
    examples = torch.randn(_EXAMPLES, _FEATURES, generator=random)
    inner = torch.randn(_FEATURES, 32, generator=random)
    outer = torch.randn(32, _CLASSES, generator=random)
    scores = torch.tanh(examples @ inner) @ outer
    return examples, (scores + 0.1 * torch.randn(scores.shape, generator=random)).argmax(1)


def read(uri: str) -> tuple[Any, Any]:
    """Examples of a CSV file, each column at mean 0 and deviation 1, and their classes."""
    folder, _, name = uri.rpartition("/")
    text = open_store(folder or ".").read(name).decode()
    rows = [[float(cell) for cell in row] for row in list(csv.reader(io.StringIO(text)))[1:] if row]
    table = torch.tensor(rows, dtype=torch.float32)
    examples, labels = table[:, :-1], table[:, -1].long()
    return (examples - examples.mean(0)) / examples.std(0).clamp(min=1e-6), labels


def _generator(seed: int, stream: int) -> Any:
    """Random numbers of their own for each use: they depend on nothing that happened before."""
    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(f"{seed}/{stream}".encode()).digest()[:6]))


def _written(state: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def _fingerprint(weights: Mapping[str, Any]) -> str:
    """SHA-256 of all weights, to tell two runs apart to the last bit."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(ctypes.string_at(value.data_ptr(), value.numel() * value.element_size()))
    return digest.hexdigest()
