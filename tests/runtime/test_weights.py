"""Weights from a bucket: all of them, once, whole, and nowhere but into their folder."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from runtime.guard import weights
from tests.runtime.cloud_storage import serving

FILES = {"llama/config.json": b"{}", "llama/model-1.safetensors": b"x" * 3000, "llama/tokenizer/vocab.json": b"[]"}


class Bucket:
    """Cloud Storage in pages of two, and the metadata server."""

    def __init__(self) -> None:
        self.objects, self.read = {**FILES, "llama2/other": b"no"}, list[str]()
        self.cut = 0

    def answer(self, _: str, path: str, headers: Any, __: bytes) -> tuple[int, bytes]:
        url = urlsplit(path)
        query = parse_qs(url.query)
        if url.path.endswith("/token"):
            return 200, b'{"access_token": "it"}'
        assert headers["Authorization"] == "Bearer it"
        if query.get("alt") == ["media"]:
            name = unquote(url.path.rpartition("/")[2])
            self.read.append(name)
            if self.cut:
                self.cut -= 1
                return 200, self.objects[name][:1]
            return 200, self.objects[name]
        found = [n for n in sorted(self.objects) if n.startswith(query["prefix"][0])]
        start = int(query.get("pageToken", ["0"])[0])
        answer: dict[str, Any] = {
            "items": [{"name": n, "size": str(len(self.objects[n]))} for n in found[start : start + 2]]
        }
        if start + 2 < len(found):
            answer["nextPageToken"] = str(start + 2)
        return 200, json.dumps(answer).encode()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    made = Bucket()
    with serving(made.answer) as address:
        monkeypatch.setattr(weights, "METADATA", f"http://{address}")
        monkeypatch.setattr(weights, "STORAGE", f"http://{address}")
        monkeypatch.setattr(weights.time, "sleep", lambda _: None)
        yield made


def test_all_of_a_folder_comes_and_nothing_beside_it(bucket: Bucket, tmp_path: Path):
    assert weights.fetch("gs://acme/llama/", tmp_path) == sum(map(len, FILES.values()))
    found = {f"llama/{p.relative_to(tmp_path)}": p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert found == FILES


def test_what_is_there_is_not_brought_again(bucket: Bucket, tmp_path: Path):
    weights.fetch("gs://acme/llama", tmp_path)
    (tmp_path / "config.json").unlink()
    bucket.read.clear()
    assert weights.fetch("gs://acme/llama", tmp_path) == 2
    assert bucket.read == ["llama/config.json"]


def test_what_did_not_come_whole_is_asked_for_again(bucket: Bucket, tmp_path: Path):
    bucket.cut = 3
    weights.fetch("gs://acme/llama/", tmp_path)
    assert (tmp_path / "model-1.safetensors").read_bytes() == FILES["llama/model-1.safetensors"]
    bucket.cut = 100
    with pytest.raises(OSError, match="whole"):
        weights.fetch("gs://acme/llama/", tmp_path / "again")


def test_nothing_leads_out_of_the_folder(bucket: Bucket, tmp_path: Path):
    bucket.objects["llama/../../evil"] = b"x"
    with pytest.raises(ValueError, match="leads out"):
        weights.fetch("gs://acme/llama/", tmp_path / "here")
    assert not (tmp_path.parent / "evil").exists()


def test_an_empty_folder_is_an_error_that_names_it(bucket: Bucket, tmp_path: Path):
    with pytest.raises(ValueError, match="gs://acme/lama"):
        weights.fetch("gs://acme/lama/", tmp_path)


def test_of_aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from moto import mock_aws

    for key, value in {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(key, value)
    with mock_aws():
        import boto3  # pyright: ignore[reportMissingTypeStubs]

        client: Any = boto3.client("s3")
        client.create_bucket(Bucket="acme")
        for name, content in {**FILES, "llama2/other": b"no"}.items():
            client.put_object(Bucket="acme", Key=name, Body=content)
        assert weights.fetch("s3://acme/llama/", tmp_path) == sum(map(len, FILES.values()))
    assert (tmp_path / "tokenizer" / "vocab.json").read_bytes() == b"[]"
