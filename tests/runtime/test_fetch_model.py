"""A version is brought from the registry: as a whole and as it was pushed, or not at all."""

import hashlib
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from runtime.gcp import fetch_model
from runtime.gcp.fetch_model import FILE, fetch
from runtime.gcp.register_model import pack
from runtime.serving.artifact import unpack

NAME = "/v2/project/approved/fraud/"


class Fake:
    """A registry whose parts lie behind a signed address elsewhere, as those of Artifact Registry do."""

    def __init__(self, archive: bytes) -> None:
        self.digest = f"sha256:{hashlib.sha256(archive).hexdigest()}"
        self.archive = archive
        self.manifest: dict[str, Any] = {
            "artifactType": "application/vnd.ai-platform.model.v1",
            "layers": [{"digest": self.digest, "size": len(archive)}],
        }
        self.fail = 0
        self.calls: list[tuple[str, str | None]] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: Any) -> None: ...  # noqa: A002

            def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
                self.send_response(status)
                for key, value in headers.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                fake.calls.append((self.path, self.headers["Authorization"]))
                if fake.fail:
                    fake.fail -= 1
                    self.answer(503)
                elif self.path == "/signed":
                    self.answer(200, fake.archive)
                elif self.headers["Authorization"] != "Bearer token":
                    self.answer(401)
                elif self.path == f"{NAME}manifests/12":
                    self.answer(200, json.dumps(fake.manifest).encode())
                elif self.path == f"{NAME}blobs/{fake.digest}":
                    self.answer(302, Location=f"http://127.0.0.1:{fake.server.server_port}/signed")
                else:
                    self.answer(404)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}/project/approved/fraud"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    monkeypatch.setattr(fetch_model.time, "sleep", lambda _: None)
    files = tmp_path / "files"
    files.mkdir()
    (files / "signature.json").write_text("{}")
    packed = BytesIO()
    pack(files, packed)
    found = Fake(packed.getvalue())
    yield found
    found.server.shutdown()
    found.server.server_close()


def test_a_version_arrives_as_it_was_pushed(fake: Fake, tmp_path: Path):
    target = tmp_path / "served" / "fraud" / "12"
    assert fetch(fake.address, "12", target, "token")
    assert (target / FILE).read_bytes() == fake.archive
    unpack(target / FILE, tmp_path / "unpacked")
    assert (tmp_path / "unpacked" / "signature.json").read_text() == "{}"
    signed = [token for path, token in fake.calls if path == "/signed"]
    assert signed == [None], "the token was shown elsewhere"
    calls = len(fake.calls)
    assert not fetch(fake.address, "12", target, "token")
    assert len(fake.calls) == calls


def test_what_is_not_what_the_manifest_says_is_not_kept(fake: Fake, tmp_path: Path):
    fake.archive = fake.archive[:-1] + b"x"
    with pytest.raises(ValueError, match="sha256"):
        fetch(fake.address, "12", tmp_path / "served", "token")
    assert not (tmp_path / "served" / FILE).exists()


@pytest.mark.parametrize("change", [{"artifactType": "application/vnd.other"}, {"layers": []}])
def test_what_no_pipeline_registered_is_refused(fake: Fake, tmp_path: Path, change: dict[str, Any]):
    fake.manifest |= change
    with pytest.raises(ValueError, match="is no model that a pipeline registered"):
        fetch(fake.address, "12", tmp_path / "served", "token")


def test_a_fault_that_passes_is_got_over(fake: Fake, tmp_path: Path):
    fake.fail = 2
    assert fetch(fake.address, "12", tmp_path / "served", "token")
