"""A model is packed and pushed: against a registry that speaks the protocol of OCI, and sometimes fails."""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlsplit

import pytest

from runtime.gcp import register_model
from runtime.gcp.register_model import pack, register

NAME = "/v2/project/repository/fraud/"


class Fake:
    """A registry in memory, in which a tag never moves."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []
        self.fail = 0
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: Any) -> None: ...  # noqa: A002

            def answer(self, status: int, **headers: str) -> None:
                self.send_response(status)
                for key, value in headers.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def handle_one(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                where = urlsplit(self.path)
                kind, _, name = where.path.removeprefix(NAME).partition("/")
                fake.calls.append(f"{self.command} {kind}")
                if self.headers["Authorization"] != "Bearer token":
                    self.answer(401)
                elif fake.fail:
                    fake.fail -= 1
                    self.answer(503)
                elif self.command == "HEAD":
                    self.answer(200 if name in (fake.blobs if kind == "blobs" else fake.manifests) else 404)
                elif self.command == "POST":
                    self.answer(202, Location=f"{NAME}blobs/uploads/1?state=x")
                elif kind == "blobs":
                    self.answer(fake.put_blob(parse_qs(where.query), body))
                else:
                    self.answer(fake.put_manifest(name, json.loads(body)))

            do_HEAD = do_POST = do_PUT = handle_one  # noqa: N815  as the server's base class calls them

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}/project/repository/fraud"

    def put_blob(self, query: dict[str, list[str]], body: bytes) -> int:
        """Keep a part that is what it says."""
        digest = query["digest"][0]
        if f"sha256:{hashlib.sha256(body).hexdigest()}" != digest or query["state"] != ["x"]:
            return 400
        self.blobs[digest] = body
        return 201

    def put_manifest(self, tag: str, manifest: dict[str, Any]) -> int:
        """Keep a manifest whose parts are there, under a tag that is free."""
        parts = [manifest["config"], *manifest["layers"]]
        if tag in self.manifests or any(part["digest"] not in self.blobs for part in parts):
            return 400
        self.manifests[tag] = manifest
        return 201


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    monkeypatch.setattr(register_model.time, "sleep", lambda _: None)
    found = Fake()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "part-0.bin").write_bytes(b"weights" * 1000)
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


def test_a_model_arrives_whole(fake: Fake, model: Path):
    assert register(model, fake.address, "run-1", {"pipeline": "fraud"}, "token")
    manifest = fake.manifests["run-1"]
    assert manifest["annotations"] == {"pipeline": "fraud"}
    (layer,) = manifest["layers"]
    packed = fake.blobs[layer["digest"]]
    assert len(packed) == layer["size"]
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as archive:
        assert archive.getnames() == ["config.json", "weights/part-0.bin"]
        content = archive.extractfile("weights/part-0.bin")
        assert content
        assert content.read() == b"weights" * 1000
    assert fake.blobs[manifest["config"]["digest"]] == b"{}"


def test_the_same_files_make_the_same_archive(model: Path, monkeypatch: pytest.MonkeyPatch):
    first, second = io.BytesIO(), io.BytesIO()
    pack(model, first)
    monkeypatch.setattr("gzip.time.time", lambda: 4_000_000_000.0)
    (model / "config.json").touch()
    (model / "config.json").chmod(0o600)
    pack(model, second)
    assert first.getvalue() == second.getvalue()


def test_a_second_try_of_a_run_does_nothing(fake: Fake, model: Path):
    assert register(model, fake.address, "run-1", {}, "token")
    before = dict(fake.manifests)
    fake.calls.clear()
    (model / "config.json").write_text("changed")
    assert not register(model, fake.address, "run-1", {}, "token")
    assert fake.manifests == before
    assert fake.calls == ["HEAD manifests"]


def test_a_registry_that_is_busy_is_asked_again(fake: Fake, model: Path):
    fake.fail = 3
    assert register(model, fake.address, "run-1", {}, "token")
    fake.fail = 4
    with pytest.raises(HTTPError, match="503"):
        register(model, fake.address, "run-2", {}, "token")


def test_a_token_that_is_not_good_is_no_reason_to_try_again(fake: Fake, model: Path):
    with pytest.raises(HTTPError, match="401"):
        register(model, fake.address, "run-1", {}, "other")
    assert fake.calls == ["HEAD manifests"]


def test_a_folder_without_a_model_registers_nothing(fake: Fake, tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        register(tmp_path, fake.address, "run-1", {}, "token")
    assert not fake.manifests


def test_parts_that_are_there_are_not_pushed_again(fake: Fake, model: Path):
    register(model, fake.address, "run-1", {}, "token")
    fake.calls.clear()
    register(model, fake.address, "run-2", {}, "token")
    assert "PUT blobs" not in fake.calls
    assert set(fake.manifests) == {"run-1", "run-2"}
