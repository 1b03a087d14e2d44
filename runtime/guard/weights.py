"""Brings the weights of a language model from a bucket to the disk of a machine, before vLLM starts. `python3 weights.py`.

It runs in the image of vLLM, so it needs of it nothing but Python, and on AWS boto3. What is on the disk already, as after a
restart, is not brought again. Variables: WEIGHTS_URI, a folder as `s3://…/` or `gs://…/`; WEIGHTS_DIR.
"""

import json
import os
import shutil
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

FILES = 8
"""At once."""
TRIES = 4
METADATA = os.environ.get("METADATA_URL", "http://metadata.google.internal")
STORAGE = os.environ.get("STORAGE_URL", "https://storage.googleapis.com")

Bring = Callable[[str, Path], None]


def s3(bucket: str, prefix: str) -> tuple[dict[str, int], Bring]:
    """Objects with their sizes, and how one of them is brought."""
    import boto3  # noqa: PLC0415 # pyright: ignore - only here
    from boto3.s3.transfer import TransferConfig  # noqa: PLC0415 # pyright: ignore

    client: Any = boto3.client("s3")  # pyright: ignore[reportUnknownMemberType]
    config = TransferConfig(max_concurrency=8, multipart_chunksize=64 << 20)
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    found = {each["Key"]: each["Size"] for page in pages for each in page.get("Contents", ())}
    return found, lambda key, path: client.download_file(bucket, key, str(path), Config=config)


def _google(url: str) -> Any:
    """Opened as whom the pod runs as: its token lives for an hour, so it is asked for each time."""
    asked = urllib.request.Request(  # noqa: S310 - an address of ours
        f"{METADATA}/computeMetadata/v1/instance/service-accounts/default/token", headers={"Metadata-Flavor": "Google"}
    )
    with urllib.request.urlopen(asked, timeout=10) as answer:  # noqa: S310
        token = json.load(answer)["access_token"]
    return urllib.request.urlopen(  # noqa: S310
        urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"}),  # noqa: S310
        timeout=60,
    )


def _listed(bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
    page = ""
    while True:
        query = urllib.parse.urlencode({"prefix": prefix, "pageToken": page})
        with _google(f"{STORAGE}/storage/v1/b/{bucket}/o?{query}") as answer:
            found = json.load(answer)
        yield from found.get("items", ())
        if not (page := found.get("nextPageToken", "")):
            return


def gs(bucket: str, prefix: str) -> tuple[dict[str, int], Bring]:
    """The same of Cloud Storage."""

    def bring(key: str, path: Path) -> None:
        name = urllib.parse.quote(key, safe="")
        with _google(f"{STORAGE}/storage/v1/b/{bucket}/o/{name}?alt=media") as source, path.open("wb") as target:
            shutil.copyfileobj(source, target, 8 << 20)

    return {each["name"]: int(each["size"]) for each in _listed(bucket, prefix)}, bring


STORES: dict[str, Callable[[str, str], tuple[dict[str, int], Bring]]] = {"s3": s3, "gs": gs}


def fetch(uri: str, folder: Path) -> int:
    """Bring everything under a URI; how many bytes came. Raises ValueError where nothing is there."""
    parts = urllib.parse.urlsplit(uri)
    prefix = parts.path.strip("/") + "/"
    found, bring = STORES[parts.scheme](parts.netloc, prefix)
    wanted = {key: size for key, size in found.items() if not key.endswith("/")}
    if not wanted:
        raise ValueError(f"nothing is under {uri}")

    def one(key: str) -> int:
        path = folder / key.removeprefix(prefix)
        if folder.resolve() not in path.resolve().parents:
            raise ValueError(f"{key} leads out of the folder")
        if path.is_file() and path.stat().st_size == wanted[key]:
            return 0
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        for left in reversed(range(TRIES)):
            try:
                bring(key, part)
                if part.stat().st_size != wanted[key]:
                    raise OSError(f"{key} did not come whole")  # noqa: TRY301
            except OSError:
                if not left:
                    raise
                time.sleep(2)
            else:
                break
        part.replace(path)
        return wanted[key]

    with ThreadPoolExecutor(FILES) as pool:
        return sum(pool.map(one, sorted(wanted)))


if __name__ == "__main__":
    began = time.monotonic()
    size = fetch(os.environ["WEIGHTS_URI"], Path(os.environ["WEIGHTS_DIR"]))
    line = {"event": "weights", "bytes": size, "seconds": round(time.monotonic() - began, 1)}
    sys.stdout.write(json.dumps(line) + "\n")
