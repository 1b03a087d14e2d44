"""The training job, really run on a CPU: interrupted, killed, with damaged checkpoints, on each store, by two processes.

It is run by an interpreter that has PyTorch, which the platform's own has not: `.venv/training` (see the Makefile), or the one
that TRAINING_PYTHON names. Without one these tests say so and are skipped; in CI they fail.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.training import launch
from runtime.training.checkpoint import Checkpoints, DamagedError, seal, unseal
from runtime.training.interruption import NOTICES, Interruption
from runtime.training.launch import nodes
from runtime.training.store import open_store
from tests.conftest import ROOT
from tests.runtime.amazon import s3
from tests.runtime.cloud_storage import cloud_storage, serving

EPOCHS, STEPS = 8, 408  # of 51 steps: 4,096 examples less a fifth, 64 at a time
NEEDED = ("torch", "boto3", "google.cloud.storage")
# One thread, so that sums are done in one order.
QUIET = {"OMP_NUM_THREADS": "1", "PATH": os.environ["PATH"]}


def has_torch(python: str) -> bool:
    code = f"import importlib.util as u, sys; sys.exit(not all(u.find_spec(name) for name in {NEEDED}))"
    return subprocess.run([python, "-c", code], check=False, stderr=subprocess.DEVNULL).returncode == 0


@pytest.fixture(scope="session")
def python() -> str:
    """An interpreter that can run the job."""
    candidates = [os.environ.get("TRAINING_PYTHON"), str(ROOT / ".venv/training/bin/python"), sys.executable]
    for candidate in candidates:
        if candidate and shutil.which(candidate) and has_torch(candidate):
            return candidate
    missing = (
        f"no interpreter has {', '.join(NEEDED)}: `make test` makes one in .venv/training where python3-torch is there"
    )
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


class Job:
    """One process of the job, or one that launches several."""

    def __init__(self, python: str, uri: object, *more: str, processes: int = 1, **environment: str) -> None:
        module = ["runtime.training"]
        if processes > 1:
            module = ["runtime.training.launch", "--processes", str(processes)]
        command = [
            python,
            "-m",
            *module,
            "--checkpoint-uri",
            str(uri),
            "--epochs",
            str(EPOCHS),
            "--log-steps",
            "1",
            *more,
        ]
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as this
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=QUIET | environment, stdout=subprocess.PIPE, stderr=self.errors, text=True,
            start_new_session=True,
        )  # fmt: skip
        self.said: list[dict[str, Any]] = []
        # What hangs is ended, with all that it started.
        self.limit = threading.Timer(120, os.killpg, (self.process.pid, signal.SIGKILL))
        self.limit.daemon = True
        self.limit.start()

    def hear(self, line: str) -> None:
        if not line.startswith("[Gloo]"):  # which speaks for itself
            self.said.append(json.loads(line))

    def until(self, step: int) -> "Job":
        """Let it run until it has said that it did this step."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.hear(line)
            if self.said and self.said[-1]["event"] == "step" and self.said[-1]["step"] >= step:
                return self
        raise AssertionError(self.complaint())

    def send(self, number: signal.Signals) -> "Job":
        self.process.send_signal(number)
        return self

    def end(self, code: int = 0) -> "Job":
        """Let it come to its end."""
        assert self.process.stdout is not None
        for line in self.process.stdout:  # not communicate(), which would pass over what was read ahead
            self.hear(line)
        ended = self.process.wait()
        self.limit.cancel()
        assert ended == code, self.complaint()
        return self

    def complaint(self) -> str:
        self.errors.seek(0)
        return f"{self.process.wait()}\n{self.said[-3:]}\n{self.errors.read()}"

    def all(self, event: str) -> list[dict[str, Any]]:
        return [said for said in self.said if said["event"] == event]

    def one(self, event: str) -> dict[str, Any]:
        (found,) = self.all(event)
        return found

    @property
    def losses(self) -> dict[int, float]:
        """By step. None may come twice."""
        found = {said["step"]: said["loss"] for said in self.all("step")}
        assert len(found) == len(self.all("step"))
        return found


@pytest.fixture(scope="session")
def whole(python: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, Path]:
    """A run that nothing happened to, with a checkpoint every 50 steps, all of them kept."""
    folder = tmp_path_factory.mktemp("whole")
    return Job(python, folder, "--checkpoint-steps", "50", "--checkpoint-keep", "99").end(), folder


Whole = tuple[Job, Path]


def saved(folder: Path) -> list[int]:
    return sorted(int(path.stem.removeprefix("step-")) for path in folder.glob("*.ckpt"))


def same(job: Job, whole: Whole) -> None:
    assert job.one("done")["weights"] == whole[0].one("done")["weights"]


def test_it_learns(whole: Whole):
    job, folder = whole
    assert list(job.losses) == list(range(1, STEPS + 1))
    accuracy = [epoch["accuracy"] for epoch in job.all("epoch")]
    assert len(accuracy) == EPOCHS
    assert accuracy[-1] > 0.7  # of four classes
    assert saved(folder) == [*range(50, STEPS, 50), STEPS]
    assert json.loads((folder / "result.json").read_text())["accuracy"] == accuracy[-1]
    assert (folder / "model.pt").stat().st_size > 10_000


def test_sigterm_keeps_every_step_and_the_next_run_goes_on_with_the_next(python: str, whole: Whole, tmp_path: Path):
    rare = ("--checkpoint-steps", "100000")
    first = Job(python, tmp_path, *rare).until(137)
    began = time.monotonic()
    first.send(signal.SIGTERM).end(143)
    assert time.monotonic() - began < 10  # Kubernetes gives 30 s, Google a spot machine no more
    stopped = first.one("interrupted")
    assert stopped["reason"] == "SIGTERM"
    assert saved(tmp_path) == [stopped["step"]]

    second = Job(python, tmp_path, *rare).until(300).send(signal.SIGTERM).end(143)
    third = Job(python, tmp_path, *rare).end()
    assert second.one("resumed")["step"] == stopped["step"]
    # No step twice, none left out, and each as if nothing had happened.
    done = [*first.losses, *second.losses, *third.losses]
    assert done == list(range(1, STEPS + 1))
    assert first.losses | second.losses | third.losses == whole[0].losses
    same(third, whole)


def test_after_sigkill_it_goes_on_from_the_last_checkpoint(python: str, whole: Whole, tmp_path: Path):
    often = ("--checkpoint-steps", "50", "--checkpoint-keep", "2")
    first = Job(python, tmp_path, *often).until(170).send(signal.SIGKILL).end(-signal.SIGKILL)
    last = saved(tmp_path)[-1]
    assert last >= 150
    second = Job(python, tmp_path, *often).end()
    assert second.one("resumed")["step"] == last
    assert list(second.losses) == list(range(last + 1, STEPS + 1))
    assert (first.losses | second.losses) == whole[0].losses
    same(second, whole)
    assert saved(tmp_path) == [400, STEPS]


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(python: str, whole: Whole, tmp_path: Path):
    for step in (100, 150, 200, 250):
        shutil.copy(whole[1] / f"step-{step:012}.ckpt", tmp_path)
    torn, changed, empty = (tmp_path / f"step-{step:012}.ckpt" for step in (150, 200, 250))
    content = torn.read_bytes()
    torn.write_bytes(content[: len(content) // 2])
    middle = len(content) // 2
    changed.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    empty.write_bytes(b"")
    (tmp_path / ".step-000000000300.ckpt.part").write_bytes(content[:10])

    job = Job(python, tmp_path, "--checkpoint-steps", "50", "--checkpoint-keep", "1").end()
    assert [said["file"] for said in job.all("skipped")] == [empty.name, changed.name, torn.name]
    assert job.one("resumed")["step"] == 100
    same(job, whole)
    assert saved(tmp_path) == [STEPS]


def test_a_run_that_is_done_is_done_again_at_once_and_goes_on_where_more_is_asked(
    python: str, whole: Whole, tmp_path: Path
):
    shutil.copy(whole[1] / f"step-{STEPS:012}.ckpt", tmp_path)
    again = Job(python, tmp_path).end()
    assert not again.losses
    same(again, whole)
    more = Job(python, tmp_path, "--epochs", str(EPOCHS + 1)).end()
    assert list(more.losses) == list(range(STEPS + 1, STEPS + 52))


def test_the_checkpoint_of_another_run_is_refused(python: str, whole: Whole, tmp_path: Path):
    shutil.copy(whole[1] / "step-000000000050.ckpt", tmp_path)
    job = Job(python, tmp_path, "--learning-rate", "0.1", "--seed", "2").end(2)
    assert re.search("learning_rate was 0.001 and is 0.1", job.one("refused")["error"])
    assert saved(tmp_path) == [50]


def test_a_run_without_a_place_for_checkpoints_is_refused(python: str):
    done = subprocess.run(
        [python, "-m", "runtime.training"], cwd=ROOT, env=QUIET, check=False, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "CHECKPOINT_URI is missing" in done.stderr


def test_data_of_ones_own(python: str, tmp_path: Path):
    rows = [f"{i % 7},{(i * i) % 11},{int(i % 7 > 3)}" for i in range(400)]
    (tmp_path / "data.csv").write_text("\n".join(["a,b,late", *rows, ""]))
    job = Job(python, tmp_path / "run", DATA_URI=str(tmp_path / "data.csv"), LEARNING_RATE="0.01").end()
    assert job.one("done")["accuracy"] > 0.95


DECOYS = ("runs/fraud-2/step-000000000999.ckpt", "runs/fraud/other/step-000000000999.ckpt")
"""Objects of other runs beside and below the prefix."""


def test_checkpoints_in_s3(python: str, whole: Whole):
    with s3("artifacts") as (client, variables):
        for key in DECOYS:
            client.put_object(Bucket="artifacts", Key=key, Body=b"not ours")
        environment = {**variables, "CHECKPOINT_STEPS": "40", "CHECKPOINT_KEEP": "2"}
        uri = "s3://artifacts/runs/fraud/"
        first = Job(python, uri, **environment).until(150).send(signal.SIGTERM).end(143)
        second = Job(python, uri, **environment).end()
        keys = {found["Key"] for found in client.list_objects_v2(Bucket="artifacts")["Contents"]}
    assert second.one("resumed")["step"] == first.one("interrupted")["step"]
    same(second, whole)
    here = {key.removeprefix("runs/fraud/") for key in keys - set(DECOYS)}
    assert set(DECOYS) <= keys
    assert {"model.pt", "result.json", f"step-{STEPS:012}.ckpt"} < here
    assert len(here) == 4


def test_checkpoints_in_cloud_storage(python: str, whole: Whole):
    with cloud_storage() as fake:
        fake.objects = dict.fromkeys(DECOYS, b"not ours")
        fake.unavailable = 1
        environment = {"STORAGE_EMULATOR_HOST": fake.address, "CHECKPOINT_STEPS": "40", "CHECKPOINT_KEEP": "3"}
        uri = "gs://artifacts/runs/fraud"
        first = Job(python, uri, **environment).until(150).send(signal.SIGTERM).end(143)
        second = Job(python, uri, **environment).end()
    assert second.one("resumed")["step"] == first.one("interrupted")["step"]
    same(second, whole)
    here = {key.removeprefix("runs/fraud/") for key in fake.objects if key not in DECOYS}
    assert set(DECOYS) <= set(fake.objects)
    assert {"model.pt", "result.json", f"step-{STEPS:012}.ckpt"} < here
    assert len(here) == 5
    assert not fake.unavailable


def process_of(job: Job, rank: int) -> int:
    """The process of a rank, among those that the launcher started."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == job.process.pid and f"RANK={rank}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                return int(folder.name)
        except OSError:  # it has ended meanwhile
            continue
    raise AssertionError(f"no process of rank {rank}")


def test_two_processes_stop_after_the_same_step_and_go_on_together(python: str, tmp_path: Path):
    short = ("--epochs", "4", "--checkpoint-steps", "100000")
    calm = Job(python, tmp_path / "calm", *short, processes=2).end()
    assert calm.one("started")["processes"] == 2
    # The notice of one machine ends them all. The launcher ends with their code: a queue knows by it that it was an interruption.
    first = Job(python, tmp_path / "run", *short, processes=2).until(60)
    os.kill(process_of(first, rank=1), signal.SIGTERM)
    assert first.end(143).one("interrupted")["reason"] == "another process was interrupted"
    second = Job(python, tmp_path / "run", *short, processes=2).until(120).send(signal.SIGTERM).end(143)
    third = Job(python, tmp_path / "run", *short, processes=2).end()
    assert second.one("resumed")["step"] == first.one("interrupted")["step"]
    assert [*first.losses, *second.losses, *third.losses] == list(range(1, 4 * 51 + 1))
    assert third.one("done")["weights"] == calm.one("done")["weights"]
    # One machine fewer: it goes on all the same.
    alone = Job(python, tmp_path / "calm", "--epochs", "5").end()
    assert alone.one("resumed")["step"] == 4 * 51
    assert alone.one("done")["accuracy"] > 0.7


@pytest.mark.parametrize(("endings", "code"), [("00", 0), ("02", 2), ("s2", 2), ("d2", 2), ("k0", 137)])
def test_the_launcher_ends_as_its_processes_do_and_leaves_none_behind(
    monkeypatch: pytest.MonkeyPatch, endings: str, code: int
):
    """Well, with a failure, asleep, deaf to SIGTERM, killed."""
    programs = {
        "0": "", "2": "sys.exit(2)", "s": "time.sleep(60)", "k": "os.kill(os.getpid(), 9)",
        "d": "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)",
    }  # fmt: skip
    monkeypatch.setattr(launch, "GRACE", 0.5)
    processes: list[subprocess.Popen[bytes]] = []
    for ending in endings:
        processes.append(subprocess.Popen([sys.executable, "-c", f"import os, signal, sys, time; {programs[ending]}"]))
        time.sleep(0.3)  # so that the deaf one is
    began = time.monotonic()
    assert launch._wait(processes) == code
    assert time.monotonic() - began < 30
    assert all(process.returncode is not None for process in processes)


def test_it_knows_the_other_nodes_of_a_queue():
    assert nodes({}) == {"nodes": "1", "node": "0", "address": "127.0.0.1"}
    assert nodes({"JOB_COMPLETION_INDEX": "3"})["node"] == "3"
    of_all = {"AWS_BATCH_JOB_NUM_NODES": "3", "AWS_BATCH_JOB_MAIN_NODE_INDEX": "1"}
    main = of_all | {"AWS_BATCH_JOB_NODE_INDEX": "1"}
    assert nodes(main) == {"nodes": "3", "node": "0", "address": "127.0.0.1"}
    child = of_all | {"AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS": "10.0.0.9"}
    assert nodes(child | {"AWS_BATCH_JOB_NODE_INDEX": "2"}) == {"nodes": "3", "node": "1", "address": "10.0.0.9"}
    assert nodes(child | {"AWS_BATCH_JOB_NODE_INDEX": "0"})["node"] == "2"


class Memory:
    """A store whose files can be looked at, and which may refuse."""

    def __init__(self, *refused: str) -> None:
        self.files: dict[str, bytes] = {}
        self.refused = refused

    def names(self) -> list[str]:
        return sorted(self.files)

    def read(self, name: str) -> bytes:
        if "read" in self.refused:
            raise PermissionError(name)
        return self.files[name]

    def write(self, name: str, data: bytes) -> None:
        self.files[name] = data

    def delete(self, name: str) -> None:
        if "delete" in self.refused:
            raise PermissionError(name)
        del self.files[name]


@pytest.mark.parametrize("keep", range(1, 6))
def test_the_last_few_checkpoints_are_kept(keep: int):
    store = Memory()
    store.files["model.pt"] = b"no checkpoint"
    checkpoints = Checkpoints(store, keep, print)
    for step in range(1, 8):
        checkpoints.save(step * 500, str(step).encode())
        kept = [int(name[5:17]) // 500 for name in store.names() if name != "model.pt"]
        assert kept == list(range(max(1, step - keep + 1), step + 1))
        assert checkpoints.newest() == str(step).encode()


def test_a_role_that_may_not_delete_loses_no_run_and_one_that_may_not_read_starts_none_anew():
    said: list[str] = []
    checkpoints = Checkpoints(Memory("delete"), 1, lambda event, **_: said.append(event))
    checkpoints.save(1, b"one")
    checkpoints.save(2, b"two")
    assert checkpoints.newest() == b"two"
    assert said == ["not deleted"]
    checkpoints.store = Memory("read")
    checkpoints.store.write("step-000000000001.ckpt", seal(b"one"))
    with pytest.raises(PermissionError):
        checkpoints.newest()


@given(state=st.binary(max_size=300), data=st.data())
def test_no_change_of_a_checkpoint_goes_unseen(state: bytes, data: st.DataObject):
    sealed = seal(state)
    assert unseal(sealed) == state
    at = data.draw(st.integers(0, len(sealed) - 1))
    damaged = [sealed[:at], sealed[:at] + bytes([sealed[at] ^ data.draw(st.integers(1, 255))]) + sealed[at + 1 :]]
    for broken in [*damaged, sealed + b"x"]:
        with pytest.raises(DamagedError):
            unseal(broken)


@pytest.mark.parametrize("uri", ["ftp://host/x", "s3:bucket/x", "s3:///x", "gcs://bucket/x", "https://bucket/x"])
def test_a_place_that_is_none_is_refused(uri: str):
    with pytest.raises(ValueError, match="neither a folder nor"):
        open_store(uri)


class Metadata:
    """The metadata servers of both clouds, on a machine that may be about to go."""

    def __init__(self) -> None:
        self.going = False

    def answer(self, method: str, path: str, headers: Mapping[str, str], _: bytes) -> tuple[int, bytes]:
        if path == "/latest/api/token":
            assert 1 <= int(headers["X-aws-ec2-metadata-token-ttl-seconds"]) <= 21600
            return (200, b"t0k3n") if method == "PUT" else (405, b"")
        if path == "/latest/meta-data/spot/instance-action":
            if headers["X-aws-ec2-metadata-token"] != "t0k3n":
                return 401, b""
            return (200, b'{"action": "terminate", "time": "2026-11-01T08:22:00Z"}') if self.going else (404, b"")
        if path == "/computeMetadata/v1/instance/preempted" and headers["Metadata-Flavor"] == "Google":
            return 200, b"TRUE" if self.going else b"FALSE"
        return 403, b""


@pytest.mark.parametrize("cloud", NOTICES)
def test_a_notice_is_heard_once_it_is_there(cloud: str):
    metadata = Metadata()
    complaints: list[str] = []
    with serving(metadata.answer) as host:
        assert NOTICES[cloud](host) is None
        interruption = Interruption()
        interruption.watch(cloud, host, complaints.append, every=0.01)
        time.sleep(0.05)
        assert interruption.reason is None
        metadata.going = True
        end = time.monotonic() + 5
        while interruption.reason is None and time.monotonic() < end:
            time.sleep(0.01)
    assert interruption.reason in {"preempted", '{"action": "terminate", "time": "2026-11-01T08:22:00Z"}'}
    assert not complaints


@pytest.mark.parametrize("cloud", NOTICES)
def test_a_metadata_server_out_of_reach_is_said_once_and_is_no_interruption(cloud: str):
    complaints: list[str] = []
    with serving(lambda *_: (500, b"")) as host:
        interruption = Interruption()
        interruption.watch(cloud, host, complaints.append, every=0.01)
        end = time.monotonic() + 5
        while not complaints and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.1)
    assert interruption.reason is None
    assert len(complaints) == 1
    interruption.reason = "end of the test"  # ends the thread


def test_a_notice_ends_the_run_with_its_steps_kept(python: str, tmp_path: Path):
    metadata = Metadata()
    metadata.going = True
    with serving(metadata.answer) as host:
        # More than can be done before the notice is seen.
        job = Job(python, tmp_path, "--notice", "aws", "--notice-host", host, "--epochs", "1000").end(143)
    assert "terminate" in job.one("interrupted")["reason"]
    assert saved(tmp_path) == [job.one("interrupted")["step"]]


def test_the_image_is_pinned_runs_without_rights_and_holds_what_is_run():
    folder = ROOT / "runtime/training"
    lines = (folder / "Containerfile").read_text().splitlines()
    (base,) = (line for line in lines if line.startswith("ARG BASE="))
    assert re.fullmatch(r"ARG BASE=docker\.io/library/python:\d+\.\d+\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", base)
    assert [line for line in lines if line.startswith("FROM")] == ["FROM ${BASE}"]
    (user,) = (line for line in lines if line.startswith("USER"))
    assert int(user.split()[1].partition(":")[0]) >= 10_000
    assert "COPY runtime/training/*.py runtime/training/" in lines
    assert 'ENTRYPOINT ["python", "-m"]' in lines
    assert 'CMD ["runtime.training"]' in lines
    for name in ("requirements.txt", "requirements-torch.txt"):
        assert f"runtime/training/{name}" in "".join(lines)
        pins = [pin for pin in (folder / name).read_text().splitlines() if not pin.startswith("#")]
        assert pins
        assert all(re.fullmatch(r"[a-z0-9-]+==[0-9.]+", pin) for pin in pins)
