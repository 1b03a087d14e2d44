"""The batch runner: scores every row of every file under a prefix. `python -m runtime.serving batch`.

Reads JSON Lines (`.jsonl`, `.json`, `.ndjson`) and CSV with a head line (`.csv`), each also packed (`.gz`). For an input `a.csv`
it writes under the output prefix:

    a.csv-00000.jsonl …       {"row": 0, "prediction": …}, one file a chunk
    _errors/a.csv-00000.jsonl {"row": 7, "problems": […]}, of rows that do not fit the model
    _progress/a.csv.json      the chunks that are finished
    _plan.json                the inputs, the model and the chunk, as the first shard found them
    _shards/0.json            what a shard came to; written when it is finished
    manifest.json, _SUCCESS   written when all are

A chunk's files are written before the progress says so, under names that depend on the chunk alone. So a runner that was killed
goes on with the chunk it was at, and no row is in the output twice, or missing. Inputs that arrive later belong to the next run.

Files are dealt out among the shards: several tasks of Cloud Run, pods of an indexed Job, children of an array job of AWS Batch.
Exit code 0: done; 2: asked wrongly, or a run of something else is under this prefix; 3: more rows do not fit than may; 143: ended
by SIGTERM, to be started again. 2 and 3 need a person: do not retry them.
"""

import argparse
import csv
import gzip
import itertools
import json
import os
import signal
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from types import FrameType
from typing import IO, Any, cast

from runtime.serving import artifact, protocol
from runtime.serving.log import capture, log
from runtime.serving.model import Model
from runtime.serving.signature import Input, InvalidError
from runtime.serving.store import Store, open_store

SHARD = ("JOB_COMPLETION_INDEX", "CLOUD_RUN_TASK_INDEX", "AWS_BATCH_JOB_ARRAY_INDEX")
"""Which of several this one is (Kubernetes, "Indexed Job"; Cloud Run, "Container runtime contract"; Batch, "Array jobs")."""
SHARDS = ("SHARDS", "CLOUD_RUN_TASK_COUNT", "AWS_BATCH_JOB_ARRAY_SIZE")
SUFFIXES = (".jsonl", ".json", ".ndjson", ".csv")
LINE_BYTES = 32 << 20
WRONG, ERRORS, ENDED = 2, 3, 143

Json = dict[str, Any]


class WrongError(Exception):
    """The run cannot be done as it is asked for."""


class Batch:
    """One shard of a run."""

    def __init__(
        self, model: Model, source: Store, target: Store, *, shard: int, shards: int, chunk: int, key: str
    ) -> None:
        """`key` is an input column that comes back with the prediction and is none of the model's; empty: the row's number."""
        self.model, self.source, self.target = model, source, target
        self.shard, self.shards, self.chunk, self.key = shard, shards, chunk, key
        self.ended = False
        """Set from outside: stop after the chunk that is being scored."""

    def run(self) -> Json | None:
        """Score what is left of this shard; what it came to, or None where it was ended before."""
        names = self._plan()
        mine = names[self.shard :: self.shards]
        done: list[Json] = []
        for name in mine:
            if (found := self._file(name)) is None:
                return None
            done.append(found)
        return {"rows": sum(f["rows"] for f in done), "errors": sum(f["errors"] for f in done), "files": done}

    def finish(self, found: Json) -> None:
        """Say that this shard is done; the one that finds that all are says so of the run."""
        self._write(f"_shards/{self.shard}.json", found)
        read = [self._read(f"_shards/{number}.json") for number in range(self.shards)]
        if all(each is not None for each in read):
            all_done = cast("list[Json]", read)
            total: Json = {key: sum(each[key] for each in all_done) for key in ("rows", "errors")}
            files = sorted((file for each in all_done for file in each["files"]), key=lambda file: str(file["input"]))
            said = self.model.signature
            # Two that end at the same moment both write it: the same.
            self._write("manifest.json", {"model": said.name, "version": said.version, **total, "files": files})
            self.target.write("_SUCCESS", b"")

    def _plan(self) -> list[str]:
        """The inputs, the same for every shard and every try; raises WrongError."""
        said = self.model.signature
        mine: Json = {"model": said.name, "version": said.version, "files": dict(said.files), "chunk": self.chunk}
        mine |= {"shards": self.shards, "key": self.key}
        inputs = {
            name: size
            for name, size in sorted(self.source.sizes().items())
            if name.removesuffix(".gz").endswith(SUFFIXES) and not name.startswith(("_", "."))
        }
        if (plan := self._read("_plan.json")) is None:
            if not inputs:
                raise WrongError(f"there is no input: none of its names ends in {', '.join(SUFFIXES)}")
            if not self.target.create("_plan.json", _text({**mine, "inputs": inputs})):
                plan = self._read("_plan.json")
            else:
                plan = {**mine, "inputs": inputs}
        assert plan is not None  # noqa: S101 - somebody has created it
        if differ := [key for key, value in mine.items() if plan[key] != value]:
            raise WrongError(f"a run with another {', '.join(differ)} is under this prefix")
        if changed := [name for name, size in plan["inputs"].items() if inputs.get(name) != size]:
            raise WrongError(f"{len(changed)} inputs have changed since the run began, the first is {changed[0]}")
        return list(plan["inputs"])

    def _file(self, name: str) -> Json | None:
        progress = self._read(f"_progress/{name}.json") or {
            "input": name,
            "rows": 0,
            "errors": 0,
            "parts": [],
            "done": False,
        }
        if progress["done"]:
            return progress
        try:
            with closing(self.source.open(name)) as file:
                rows = itertools.islice(
                    enumerate(read(file, name, self.model.signature.inputs)), progress["rows"], None
                )
                while chunk := list(itertools.islice(rows, self.chunk)):
                    if self.ended:
                        return None
                    self._chunk(progress, chunk)
        except (EOFError, gzip.BadGzipFile, zlib.error, csv.Error) as error:
            raise WrongError(f"{name} cannot be read after row {progress['rows']}: {error}") from None
        progress["done"] = True
        self._write(f"_progress/{name}.json", progress)
        return progress

    def _chunk(self, progress: Json, chunk: Sequence[tuple[int, Any]]) -> None:
        part = f"{progress['input']}-{len(progress['parts']):05}.jsonl"
        scored, errors = self._score(chunk)
        self.target.write(part, _lines(scored))
        if errors:
            self.target.write(f"_errors/{part}", _lines(errors))
        progress["parts"].append({"name": part, "rows": len(scored), "errors": len(errors)})
        progress["rows"] += len(chunk)
        progress["errors"] += len(errors)
        self._write(f"_progress/{progress['input']}.json", progress)
        log("chunk", part=part, rows=len(scored), errors=len(errors))

    def _score(self, chunk: Sequence[tuple[int, Any]]) -> tuple[list[str], list[str]]:
        """Lines of predictions, and lines that say what is wrong with the rows that have none."""
        keys: list[Any] = [number for number, _ in chunk]
        if self.key:
            keys = [cast("Json", row).pop(self.key, None) if isinstance(row, dict) else None for _, row in chunk]
        rows = [row for _, row in chunk]
        bad: Mapping[int, list[Json]] = {}
        try:
            self.model.signature.feed(rows)
        except InvalidError as error:
            bad = {at: self._problems(rows[at]) for at in sorted(error.rows)}
        good = [at for at in range(len(rows)) if at not in bad]
        found = self.model.score([rows[at] for at in good]) if good else []
        scored, errors = [], [protocol.dumps({"row": chunk[at][0], "problems": said}) for at, said in bad.items()]
        for at, prediction in zip(good, found, strict=True):
            try:
                scored.append(protocol.dumps({self.key or "row": keys[at], "prediction": prediction}))
            except ValueError:
                errors.append(
                    protocol.dumps({"row": chunk[at][0], "problems": [{"problem": "the model gave no number"}]})
                )
        return scored, errors

    def _problems(self, row: Any) -> list[Json]:
        try:
            self.model.signature.feed([row])
        except InvalidError as error:
            return error.problems
        return []

    def _read(self, name: str) -> Json | None:
        found = self.target.read(name)
        return None if found is None else json.loads(found)

    def _write(self, name: str, value: Json) -> None:
        self.target.write(name, _text(value))


def _text(value: Json) -> bytes:
    return json.dumps(value, indent=1).encode()


def _lines(lines: Sequence[str]) -> bytes:
    return "".join(line + "\n" for line in lines).encode()


def read(file: IO[bytes], name: str, inputs: Sequence[Input]) -> Iterator[Any]:
    """The rows of a file. One that cannot be read is None, which fits no model."""
    plain = cast("IO[bytes]", gzip.GzipFile(fileobj=file)) if name.endswith(".gz") else file
    if not name.removesuffix(".gz").endswith(".csv"):
        for line in _pieces(plain):
            try:
                yield protocol.loads(line)
            except (ValueError, RecursionError):
                yield None
        return
    # What is no UTF-8 becomes what is no valid text, and its row does not fit.
    text = (line.decode("utf-8", "surrogateescape") for line in _pieces(plain))
    types = {each.name: each for each in inputs}
    for row in csv.DictReader((line.removeprefix("\ufeff") for line in text), restkey="\0"):
        yield {k: protocol.typed([cell], [types[k]])[0] if k in types else cell for k, cell in row.items()}


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    """Lines with their ends, of a file that need not know of lines."""
    rest = b""
    while chunk := file.read(1 << 20):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line + b"\n" for line in lines)
        if len(rest) > LINE_BYTES:
            raise EOFError(f"a line is longer than {LINE_BYTES} bytes")
    if rest:
        yield rest


def _number(names: Sequence[str], environment: Mapping[str, str], default: int) -> int:
    return next((int(environment[name]) for name in names if environment.get(name)), default)


def main(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> int:
    """See the module; the exit code."""
    capture()
    parser = argparse.ArgumentParser(prog="python -m runtime.serving batch", description=__doc__)
    parser.add_argument("--input", default=environment.get("INPUT_URI"), help="prefix of the inputs (INPUT_URI)")
    parser.add_argument("--output", default=environment.get("OUTPUT_URI"), help="prefix of the outputs (OUTPUT_URI)")
    parser.add_argument(
        "--chunk", type=int, default=int(environment.get("CHUNK_ROWS", "10000")), help="rows of a chunk"
    )
    parser.add_argument("--key", default=environment.get("KEY_COLUMN", ""), help="column that names a row")
    percent = float(environment.get("MAX_ERROR_PERCENT", "0"))
    parser.add_argument("--max-error-percent", type=float, default=percent, help="rows that may not fit")
    asked = parser.parse_args(arguments)
    shard, shards = _number(SHARD, environment, 0), _number(SHARDS, environment, 1)
    try:
        if not asked.input or not asked.output or asked.chunk < 1 or not 0 <= shard < shards:
            raise ValueError("give --input, --output, a --chunk of 1 or more, and SHARDS where there are several")  # noqa: TRY301
        model = Model(artifact.locate(environment))
        source, target = open_store(asked.input), open_store(asked.output)
    except ValueError as error:
        log("wrong", "ERROR", message=str(error))
        return WRONG
    batch = Batch(model, source, target, shard=shard, shards=shards, chunk=asked.chunk, key=asked.key)

    def end(_: int, __: FrameType | None) -> None:
        batch.ended = True

    signal.signal(signal.SIGTERM, end)
    try:
        found = batch.run()
    except WrongError as error:
        log("wrong", "ERROR", message=str(error))
        return WRONG
    if found is None:
        log("ended", "WARNING", shard=shard)
        return ENDED
    if found["errors"] > found["rows"] * asked.max_error_percent / 100:
        log("too many errors", "ERROR", shard=shard, rows=found["rows"], errors=found["errors"])
        return ERRORS
    batch.finish(found)
    log("done", shard=shard, rows=found["rows"], errors=found["errors"])
    return 0
