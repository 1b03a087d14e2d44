"""What the tests of serving share: a model that scikit-learn has trained, the server as a process, and clouds to talk to."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from functools import cache
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

from runtime.serving.pack import from_sklearn, pack
from tests.conftest import ROOT
from tests.runtime.cloud_storage import CloudStorage, serving

INPUTS = [
    {"name": "amount", "minimum": 0, "maximum": 10_000},
    {"name": "hour", "minimum": 0, "maximum": 23},
    {"name": "age_days", "minimum": 0},
    {"name": "risk"},
]
NAMES = [str(each["name"]) for each in INPUTS]
JSON = {"Content-Type": "application/json"}
QUIET = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "MODEL_THREADS": "1", "PYTHONUNBUFFERED": "1"}


@dataclass(frozen=True)
class Trained:
    """A model, what it is made of, and what scikit-learn itself says."""

    folder: Path
    archive: Path
    digest: str
    estimator: Any

    def rows(self, count: int, seed: int = 1) -> list[dict[str, float]]:
        values = np.random.default_rng(seed).uniform((0, 0, 0, -1), (10_000, 23, 900, 1), (count, 4))
        return [dict(zip(NAMES, map(float, row), strict=True)) for row in values.astype(np.float32)]

    def expected(self, rows: list[dict[str, float]]) -> list[dict[str, Any]]:
        values = np.array([[row[name] for name in NAMES] for row in rows], dtype=np.float32)
        labels, sure = self.estimator.predict(values), self.estimator.predict_proba(values)
        return [{"label": int(a), "probabilities": b.tolist()} for a, b in zip(labels, sure, strict=True)]

    def same(self, predictions: list[dict[str, Any]], rows: list[dict[str, float]]) -> None:
        expected = self.expected(rows)
        assert [each["label"] for each in predictions] == [each["label"] for each in expected]
        np.testing.assert_allclose(
            [each["probabilities"] for each in predictions], [each["probabilities"] for each in expected], atol=1e-5
        )


@cache
def trained() -> Trained:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    folder = Path(tempfile.mkdtemp(prefix="model-"))
    random = np.random.default_rng(0)
    x = random.uniform((0, 0, 0, -1), (10_000, 23, 900, 1), (600, 4)).astype(np.float32)
    y = ((x[:, 0] > 6000) & (x[:, 1] < 8) | (x[:, 3] > 0.7)).astype(int)
    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y)
    content, signature = from_sklearn(estimator, INPUTS, name="fraud", version="12")
    model, archive = folder / "in.onnx", folder / "model.tar.gz"
    model.write_bytes(content)
    digest = pack(model, signature | {"batch_limit": 64}, archive)
    (folder / "files").mkdir()
    subprocess.run(["tar", "xzf", archive, "-C", folder / "files"], check=True)
    return Trained(folder / "files", archive, digest, estimator)


@dataclass
class Answer:
    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Service:
    """The service as a process."""

    def __init__(self, *, wait: bool = True, **environment: str) -> None:
        self.port = free_port()
        settings = {"PORT": str(self.port), "MODEL_DIR": str(trained().folder), "DRAIN_SECONDS": "0"}
        self.output = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as this
        self.process = subprocess.Popen(
            [sys.executable, "-m", "runtime.serving", "serve"], cwd=ROOT, env=QUIET | settings | environment,
            stdout=self.output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        # What hangs is ended.
        self.limit = threading.Timer(60, self.process.kill)
        self.limit.daemon = True
        self.limit.start()
        if wait:
            self.until("/readyz")

    def until(self, path: str, status: int = 200) -> None:
        for _ in range(600):
            try:
                if self.get(path).status == status:
                    return
            except OSError:
                assert self.process.poll() is None, self.said
            time.sleep(0.02)
        raise AssertionError(self.said)

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers or {})
            return read(connection.getresponse())
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        return self.ask("GET", path)

    def post(self, path: str, value: Any, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        return self.ask("POST", path, body, JSON | named)

    def metric(self, name: str) -> float:
        text = self.get("/metrics").body.decode()
        return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (.*)$", text, re.MULTILINE))

    @property
    def said(self) -> list[Any]:
        self.output.seek(0)
        lines = self.output.read().splitlines()
        return [json.loads(line) if line.startswith("{") else line for line in lines]

    def memory(self) -> float:
        """Most mebibytes that it has held."""
        text = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(re.findall(r"VmHWM:\s+(\d+)", text)[0]) / 1024

    def end(self, code: int = 0, number: signal.Signals = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)
        ended = self.process.wait()
        self.limit.cancel()
        assert ended == code, self.said


def read(response: HTTPResponse) -> Answer:
    return Answer(response.status, response.headers, response.read())


@contextmanager
def service(**environment: str) -> Iterator[Service]:
    running = Service(**environment)
    try:
        yield running
    finally:
        running.end()


class Buckets(CloudStorage):
    """Cloud Storage with what serving asks of it besides: preconditions, folders, ranges."""

    def answer(self, method: str, path: str, content_type: str, body: bytes) -> tuple[int, bytes]:
        url = urlsplit(path)
        if method == "POST" and parse_qs(url.query).get("ifGenerationMatch") == ["0"] and not self.unavailable:
            before = dict(self.objects)
            status, answered = self.insert(body, content_type)
            name = json.loads(answered)["name"]
            if name in before:
                self.objects[name] = before[name]
                return 412, b"{}"
            return status, answered
        return super().answer(method, path, content_type, body)

    def list(self, query: dict[str, list[str]]) -> tuple[int, bytes]:
        prefix = query.get("prefix", [""])[0]
        found = [{"name": n, "size": str(len(v))} for n, v in sorted(self.objects.items()) if n.startswith(prefix)]
        return 200, json.dumps({"items": found}).encode()


@contextmanager
def buckets() -> Iterator[tuple[Buckets, dict[str, str]]]:
    """A Cloud Storage, and the environment in which a process uses it."""
    fake, lock = Buckets(), threading.Lock()

    def answer(method: str, path: str, headers: Any, body: bytes) -> tuple[int, bytes]:
        with lock:
            status, content = fake.answer(method, path, headers["Content-Type"], body)
        if found := re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("Range", "")):
            start = int(found[1])
            if start >= len(content):
                return 416, b""
            return 206, content[start : int(found[2]) + 1 if found[2] else None]
        return status, content

    with serving(answer) as host:
        yield fake, {"STORAGE_EMULATOR_HOST": f"http://{host}", "GOOGLE_CLOUD_PROJECT": "test"}
