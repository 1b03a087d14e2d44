"""The batch runner as a process: killed, ended, started again, in shards, with rows that do not fit, on each store."""

import csv
import gzip
import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.runtime.amazon import s3
from tests.runtime.serving import QUIET, buckets, trained


def lines(rows: list[Any]) -> bytes:
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows).encode()


def table(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


class Run:
    """The runner as a process."""

    def __init__(self, source: object, target: object, *more: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "runtime.serving", "batch", "--input", str(source), "--output", str(target), *more],
            cwd=ROOT, env=QUIET | {"MODEL_DIR": str(trained().folder)} | environment,
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.said: list[dict[str, Any]] = []

    def until(self, chunks: int) -> "Run":
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(json.loads(line))
            if len(self.chunks) >= chunks:
                return self
        raise AssertionError(self.said)

    def end(self, code: int = 0, number: signal.Signals | None = None) -> "Run":
        if number is not None:
            self.process.send_signal(number)
        assert self.process.stdout is not None
        self.said += [json.loads(line) for line in self.process.stdout]
        assert self.process.wait() == code, self.said
        return self

    @property
    def chunks(self) -> list[str]:
        return [said["part"] for said in self.said if said["event"] == "chunk"]


def output(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def predictions(found: dict[str, bytes], name: str) -> dict[Any, Any]:
    """By row or key; none twice."""
    parts = sorted(part for part in found if part.startswith(f"{name}-"))
    read = [json.loads(line) for part in parts for line in found[part].splitlines()]
    keys = [next(iter(each.values())) for each in read]
    assert len(set(keys)) == len(keys)
    return {key: each["prediction"] for key, each in zip(keys, read, strict=True)}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    (folder / "day=2").mkdir(parents=True)
    (folder / "a.jsonl").write_bytes(lines(trained().rows(230, seed=1)))
    (folder / "b.csv").write_bytes(table(trained().rows(95, seed=2)))
    (folder / "day=2" / "c.jsonl.gz").write_bytes(gzip.compress(lines(trained().rows(75, seed=3))))
    (folder / "_SUCCESS").write_bytes(b"")
    (folder / "notes.txt").write_bytes(b"not an input")
    return folder


INPUTS = {"a.jsonl": (230, 1), "b.csv": (95, 2), "day=2/c.jsonl.gz": (75, 3)}


def whole(found: dict[str, bytes]) -> None:
    for name, (count, seed) in INPUTS.items():
        by_row = predictions(found, name)
        assert list(by_row) == list(range(count))
        trained().same(list(by_row.values()), trained().rows(count, seed=seed))
    manifest = json.loads(found["manifest.json"])
    assert (manifest["rows"], manifest["errors"], manifest["version"]) == (400, 0, "12")
    assert {each["input"]: each["rows"] for each in manifest["files"]} == {k: v[0] for k, v in INPUTS.items()}
    assert sum(part["rows"] for each in manifest["files"] for part in each["parts"]) == 400
    assert "_SUCCESS" in found


def test_every_row_is_scored(source: Path, tmp_path: Path):
    Run(source, tmp_path / "out", "--chunk", "50").end()
    whole(output(tmp_path / "out"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143)])
def test_a_run_that_was_ended_goes_on_where_it_was(source: Path, tmp_path: Path, number: signal.Signals, code: int):
    small = ("--chunk", "5")
    Run(source, tmp_path / "whole", *small).end()
    parts: list[str] = []
    for chunks in (10, 25, 1):
        run = Run(source, tmp_path / "out", *small).until(chunks).end(code, number)
        assert "_SUCCESS" not in output(tmp_path / "out")
        parts += run.chunks
    last = Run(source, tmp_path / "out", *small).end()
    parts += last.chunks
    assert len(last.chunks) < 50
    if number == signal.SIGTERM:
        assert len(parts) == len(set(parts)) == 80  # nothing scored twice
    assert len(parts) <= 83  # at most the chunk that it was at, each time
    assert output(tmp_path / "out") == output(tmp_path / "whole")
    # Once more does nothing.
    assert Run(source, tmp_path / "out", *small).end().chunks == []


def test_a_kill_between_a_part_and_its_progress_writes_no_row_twice(source: Path, tmp_path: Path):
    target = tmp_path / "out"
    Run(source, target, "--chunk", "50").end()
    done = output(target)
    progress = json.loads(done["_progress/a.jsonl.json"])
    last = progress["parts"].pop()
    progress |= {"rows": 200, "done": False}
    (target / "_progress/a.jsonl.json").write_text(json.dumps(progress))
    (target / "_SUCCESS").unlink()
    again = Run(source, target, "--chunk", "50").end()
    assert again.chunks == [last["name"]]
    assert output(target) == done


SHARDED = [
    ("JOB_COMPLETION_INDEX", "SHARDS"),
    ("CLOUD_RUN_TASK_INDEX", "CLOUD_RUN_TASK_COUNT"),
    ("AWS_BATCH_JOB_ARRAY_INDEX", "AWS_BATCH_JOB_ARRAY_SIZE"),
]


@pytest.mark.parametrize(("index", "count"), SHARDED, ids=["kubernetes", "cloud-run", "batch"])
def test_shards_share_the_files_and_the_last_says_so(source: Path, tmp_path: Path, index: str, count: str):
    first, third = (Run(source, tmp_path / "out", **{index: number, count: "3"}) for number in ("0", "2"))
    first.end()
    third.end()
    assert "_SUCCESS" not in output(tmp_path / "out")
    Run(source, tmp_path / "out", **{index: "1", count: "3"}).end()
    whole(output(tmp_path / "out"))


def broken(count: int) -> list[Any]:
    rows: list[Any] = list(trained().rows(100))
    for n, bad in enumerate(["{", "", rows[0] | {"hour": 99}, "[1,2]", '{"amount": NaN}'][:count]):
        rows[n * 20] = bad
    return rows


def test_rows_that_do_not_fit_are_set_aside_up_to_the_limit(tmp_path: Path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jsonl").write_bytes(lines(broken(5)))
    asked = (tmp_path / "in", tmp_path / "out", "--chunk", "30", "--max-error-percent")
    Run(*asked, "4.9").end(3)
    assert "_SUCCESS" not in output(tmp_path / "out")
    assert Run(*asked, "5").end().chunks == []  # nothing again but the decision
    found = output(tmp_path / "out")
    assert json.loads(found["manifest.json"])["errors"] == 5
    assert set(predictions(found, "a.jsonl")) == set(range(100)) - {0, 20, 40, 60, 80}
    errors = [
        json.loads(line) for name in sorted(found) if name.startswith("_errors/") for line in found[name].splitlines()
    ]
    assert [each["row"] for each in errors] == [0, 20, 40, 60, 80]
    assert errors[2]["problems"] == [{"at": "instances[0].hour", "problem": "must be between 0 and 23"}]


def test_a_table_with_its_own_keys(tmp_path: Path):
    (tmp_path / "in").mkdir()
    rows = [{"order": f"o-{n}", **row} for n, row in enumerate(trained().rows(20))]
    bad = b"o-x,abc,,1\n" + b"o-y,1,2,3,4,5\n" + b'o-z,1,2,3,"0\xff"\n'
    (tmp_path / "in/a.csv").write_bytes(b"\xef\xbb\xbf" + table(rows) + bad)
    Run(tmp_path / "in", tmp_path / "out", "--key", "order", "--max-error-percent", "20").end()
    found = output(tmp_path / "out")
    by_key = predictions(found, "a.csv")
    assert list(by_key) == [f"o-{n}" for n in range(20)]
    trained().same(list(by_key.values()), trained().rows(20))
    assert json.loads(found["manifest.json"])["errors"] == 3


def test_what_cannot_be_done_is_said(source: Path, tmp_path: Path):
    def why(*more: str, **environment: str) -> str:
        return Run(source, tmp_path / "out", *more, **environment).end(2).said[-1]["message"]

    assert why("--chunk", "0").startswith("give --input")
    assert why(JOB_COMPLETION_INDEX="1").startswith("give --input")
    Run(source, tmp_path / "out", "--chunk", "50").until(1).end(-9, signal.SIGKILL)
    assert why("--chunk", "60") == "a run with another chunk is under this prefix"
    assert why("--chunk", "50", CLOUD_RUN_TASK_COUNT="2") == "a run with another shards is under this prefix"
    with (source / "b.csv").open("a") as file:
        file.write("1,2,3,4\n")
    assert why("--chunk", "50") == "1 inputs have changed since the run began, the first is b.csv"
    assert "_SUCCESS" not in output(tmp_path / "out")
    assert Run(tmp_path / "out" / "none", tmp_path / "o").end(2).said[-1]["message"].startswith("there is no input")


def test_a_torn_input_is_said(tmp_path: Path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jsonl.gz").write_bytes(gzip.compress(lines(trained().rows(50)))[:-400])
    said = Run(tmp_path / "in", tmp_path / "out").end(2).said[-1]["message"]
    assert said.startswith("a.jsonl.gz cannot be read after row 0")


@pytest.mark.parametrize("kind", ["s3", "gs"])
def test_it_runs_on_buckets(kind: str, tmp_path: Path):
    rows = trained().rows(60)
    with s3("artifacts") if kind == "s3" else buckets() as (bucket, environment):
        for name, content in {"in/a.jsonl": lines(rows), "in/b/c.csv": table(rows)}.items():
            if kind == "s3":
                bucket.put_object(Bucket="artifacts", Key=name, Body=content)
            else:
                bucket.objects[name] = content
        where = (f"{kind}://artifacts/in", f"{kind}://artifacts/out/1/", "--chunk", "25")
        Run(*where, **environment).until(2).end(-9, signal.SIGKILL)
        time.sleep(0.1)
        Run(*where, **environment).end()
        if kind == "s3":
            names = [each["Key"] for each in bucket.list_objects_v2(Bucket="artifacts")["Contents"]]
            found = {name: bucket.get_object(Bucket="artifacts", Key=name)["Body"].read() for name in names}
        else:
            found = bucket.objects
        found = {name.removeprefix("out/1/"): content for name, content in found.items()}
    for name in ("a.jsonl", "b/c.csv"):
        trained().same(list(predictions(found, name).values()), rows)
    assert json.loads(found["manifest.json"])["rows"] == 120
    assert "_SUCCESS" in found
