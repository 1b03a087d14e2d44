"""Enters a trained model into the registry: packs a folder, and pushes it as an OCI artifact under a tag.

Runs as the last step of a pipeline, with Python's standard library alone, in a container of Vertex AI that has buckets mounted. A
tag never moves: where it is there already, an earlier try of the same run has done the work, and nothing happens. The parts are
pushed before the manifest that names them, so a version is there as a whole or not at all.
"""

import argparse
import gzip
import hashlib
import json
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urljoin, urlsplit
from urllib.request import Request, urlopen

_TOKEN = "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token"  # noqa: S105
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_MODEL = "application/vnd.ai-platform.model.v1"
# The config of an artifact that has none (OCI image specification 1.1, "Guidance for an Empty Descriptor").
_EMPTY = {"mediaType": "application/vnd.oci.empty.v1+json", "data": "e30="}
_TIMEOUT = 600
_TRIES = 4


def pack(folder: Path, file: IO[bytes]) -> None:
    """Write a folder as an archive that is the same for the same files, whenever and by whomever it is made."""
    with (
        gzip.GzipFile(fileobj=file, mode="wb", mtime=0, filename="") as squeezed,
        tarfile.open(fileobj=squeezed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            entry = tarfile.TarInfo(path.relative_to(folder).as_posix())
            entry.size = path.stat().st_size
            entry.mode = 0o644
            with path.open("rb") as content:
                archive.addfile(entry, content)


def digest(file: IO[bytes]) -> tuple[str, int]:
    """The digest of a file, and its size."""
    file.seek(0)
    found, size = hashlib.sha256(), 0
    while chunk := file.read(1 << 20):
        found.update(chunk)
        size += len(chunk)
    return f"sha256:{found.hexdigest()}", size


class Registry:
    """A repository of Artifact Registry, by the distribution protocol of OCI."""

    def __init__(self, repository: str, token: str) -> None:
        """`repository` is `HOST/PROJECT/REPOSITORY/NAME`, with a scheme before it for a registry of a test."""
        address = repository if "://" in repository else f"https://{repository}"
        host, _, name = address.partition("://")[2].partition("/")
        self._base = f"{address.partition('://')[0]}://{host}/v2/{name}/"
        self._token = token

    def has(self, tag: str) -> bool:
        """Whether there is a version of this tag."""
        try:
            self._call("HEAD", f"manifests/{tag}", headers={"Accept": _MANIFEST})
        except HTTPError as error:
            if error.code == 404:
                return False
            raise
        return True

    def blob(self, name: str, size: int, content: Any) -> None:
        """Push a part; one that is there stays as it is."""
        try:
            self._call("HEAD", f"blobs/{name}")
        except HTTPError as error:
            if error.code != 404:
                raise
            start = self._call("POST", "blobs/uploads/", data=b"")
            where = urljoin(self._base, start["Location"])
            where += ("&" if urlsplit(where).query else "?") + urlencode({"digest": name})
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
            self._call("PUT", where, data=content, headers=headers)

    def manifest(self, tag: str, manifest: dict[str, Any]) -> None:
        """Push a manifest under a tag."""
        body = json.dumps(manifest, sort_keys=True).encode()
        self._call("PUT", f"manifests/{tag}", data=body, headers={"Content-Type": _MANIFEST})

    def _call(self, method: str, path: str, *, data: Any = None, headers: dict[str, str] | None = None) -> Any:
        request = Request(urljoin(self._base, path), data=data, method=method, headers=headers or {})  # noqa: S310
        request.add_header("Authorization", f"Bearer {self._token}")
        for left in reversed(range(_TRIES)):
            try:
                if hasattr(data, "seek"):
                    data.seek(0)
                with urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
                    return answer.headers
            except HTTPError as error:
                if error.code < 500 or not left:
                    raise
            except URLError:
                if not left:
                    raise
            time.sleep(2 ** (_TRIES - left))
        raise AssertionError


def register(folder: Path, repository: str, tag: str, labels: dict[str, str], token: str) -> bool:
    """Register the files of a folder; whether there was something to do."""
    registry = Registry(repository, token)
    if registry.has(tag):
        return False
    if not any(path.is_file() for path in folder.rglob("*")):
        raise FileNotFoundError(f"{folder} holds no model")
    with tempfile.TemporaryFile() as archive:
        pack(folder, archive)
        layer, size = digest(archive)
        registry.blob(layer, size, archive)
    empty = f"sha256:{hashlib.sha256(b'{}').hexdigest()}"
    registry.blob(empty, 2, b"{}")
    registry.manifest(
        tag,
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "artifactType": _MODEL,
            "config": {**_EMPTY, "digest": empty, "size": 2},
            "layers": [{"mediaType": _LAYER, "digest": layer, "size": size}],
            "annotations": labels,
        },
    )
    return True


def _token() -> str:
    """A token of the service account that the step runs as."""
    request = Request(_TOKEN, headers={"Metadata-Flavor": "Google"})
    with urlopen(request, timeout=30) as answer:  # noqa: S310
        return str(json.load(answer)["access_token"])


def main(arguments: list[str]) -> None:
    """`--folder FOLDER --repository HOST/PROJECT/REPOSITORY/NAME --tag TAG [--label KEY=VALUE …]`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--repository", required=True)
    parser.add_argument("--tag", required=True)
    parser.add_argument("--label", action="append", default=[])
    told = parser.parse_args(arguments)
    labels = dict(label.split("=", 1) for label in told.label)
    done = register(told.folder, told.repository, told.tag, labels, _token())
    print(json.dumps({"repository": told.repository, "tag": told.tag, "registered": done}))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
