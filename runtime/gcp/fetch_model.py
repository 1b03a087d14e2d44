"""Brings a version of the registry to a folder: the archive of an OCI artifact, as `register_model.py` pushed it.

Runs before a version is entered into Vertex AI, with Python's standard library alone, in a container of Vertex AI that has
buckets mounted. What is there already is left as it is. What came has the digest that the manifest says, or nothing is kept.
"""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

_TOKEN = "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token"  # noqa: S105
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_MODEL = "application/vnd.ai-platform.model.v1"
_TIMEOUT = 600
_TRIES = 4
FILE = "model.tar.gz"


class _Bare(HTTPRedirectHandler):
    """Follows to where parts are kept, without showing the token there: the address is signed."""

    def redirect_request(self, *args: Any, **more: Any) -> Request | None:
        found = super().redirect_request(*args, **more)
        if found is not None:
            found.headers = {k: v for k, v in found.headers.items() if k.lower() != "authorization"}
        return found


def fetch(repository: str, tag: str, folder: Path, token: str) -> bool:
    """Bring the version of this tag; whether there was something to do. Raises ValueError for what is no model of ours."""
    target = folder / FILE
    if target.exists():
        return False
    address = repository if "://" in repository else f"https://{repository}"
    host, _, name = address.partition("://")[2].partition("/")
    base = f"{address.partition('://')[0]}://{host}/v2/{name}/"
    manifest = json.loads(_read(f"{base}manifests/{tag}", {"Accept": _MANIFEST}, token))
    if manifest.get("artifactType") != _MODEL or len(manifest["layers"]) != 1:
        raise ValueError(f"{repository}:{tag} is no model that a pipeline registered")
    wanted = manifest["layers"][0]["digest"]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with target.open("wb") as file:
            _copy(f"{base}blobs/{wanted}", wanted, file, token)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return True


def _read(url: str, headers: Mapping[str, str], token: str) -> bytes:
    with _open(url, headers, token) as answer:
        return answer.read()


def _copy(url: str, wanted: str, file: IO[bytes], token: str) -> None:
    """Copy piece by piece; raises ValueError where something else came."""
    digest = hashlib.sha256()
    with _open(url, {}, token) as answer:
        while chunk := answer.read(1 << 20):
            digest.update(chunk)
            file.write(chunk)
    if wanted != f"sha256:{digest.hexdigest()}":
        raise ValueError(f"{url} is sha256:{digest.hexdigest()}")


def _open(url: str, headers: Mapping[str, str], token: str) -> Any:
    request = Request(url, headers={**headers, "Authorization": f"Bearer {token}"})  # noqa: S310
    for left in reversed(range(_TRIES)):
        try:
            return build_opener(_Bare()).open(request, timeout=_TIMEOUT)
        except HTTPError as error:
            if error.code < 500 or not left:
                raise
        except URLError:
            if not left:
                raise
        time.sleep(2 ** (_TRIES - left))
    raise AssertionError


def _token() -> str:
    """A token of the service account that the job runs as."""
    request = Request(_TOKEN, headers={"Metadata-Flavor": "Google"})
    with build_opener().open(request, timeout=30) as answer:
        return str(json.load(answer)["access_token"])


def main(arguments: list[str]) -> None:
    """`--repository HOST/PROJECT/REPOSITORY/NAME --tag TAG --folder FOLDER`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repository", required=True)
    parser.add_argument("--tag", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    told = parser.parse_args(arguments)
    done = fetch(told.repository, told.tag, told.folder, _token())
    print(json.dumps({"repository": told.repository, "tag": told.tag, "fetched": done}))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
