"""Objects under a prefix: a folder, `s3://bucket/prefix` or `gs://bucket/prefix`, with the folders below it.

As the training job's store, and beyond it: names with folders, reading piece by piece, and `create`, of which one of several that
try succeeds.
"""

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import IO, Protocol
from urllib.parse import urlsplit

from runtime.training import store as base


class TooLargeError(Exception):
    """More than was allowed."""


class Store(Protocol):
    """See the module."""

    def sizes(self) -> dict[str, int]:
        """Every object by name, in alphabetical order, with its size in bytes."""
        ...

    def read(self, name: str) -> bytes | None:
        """An object's content; None where there is none."""
        ...

    def open(self, name: str) -> IO[bytes]:
        """An object's content, piece by piece."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Put an object in place of any of that name."""
        ...

    def create(self, name: str, data: bytes) -> bool:
        """Put an object where there is none of that name; whether it was put."""
        ...


class Folder(base.Folder):
    """A folder: a disk, a mounted file system."""

    def sizes(self) -> dict[str, int]:
        """See Store."""
        found = sorted(p for p in self.path.rglob("*") if p.is_file() and not p.name.endswith(".part"))
        return {path.relative_to(self.path).as_posix(): path.stat().st_size for path in found}

    def read(self, name: str) -> bytes | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """See Store."""
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None

    def open(self, name: str) -> IO[bytes]:
        """See Store."""
        return (self.path / name).open("rb")

    def write(self, name: str, data: bytes) -> None:
        """See Store."""
        path = self.path / name
        base.Folder(path.parent).write(path.name, data)

    def create(self, name: str, data: bytes) -> bool:
        """See Store: written beside it, then linked, which fails where there is one."""
        beside = f"{name}.{os.getpid()}.{id(data)}.part"
        self.write(beside, data)
        try:
            (self.path / name).hardlink_to(self.path / beside)
        except FileExistsError:
            return False
        finally:
            (self.path / beside).unlink()
        return True


class S3(base.S3):
    """A prefix of an S3 bucket."""

    def sizes(self) -> dict[str, int]:
        """See Store."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix)
        found = (each for page in pages for each in page.get("Contents", ()) if not each["Key"].endswith("/"))
        return {each["Key"][len(self.prefix) :]: each["Size"] for each in found}

    def read(self, name: str) -> bytes | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """See Store. A role without s3:ListBucket is told 403 of what is not there: that is raised."""
        try:
            return super().read(name)
        except self.client.exceptions.NoSuchKey:
            return None

    def open(self, name: str) -> IO[bytes]:
        """See Store."""
        return self.client.get_object(Bucket=self.bucket, Key=self.prefix + name)["Body"]

    def create(self, name: str, data: bytes) -> bool:
        """See Store: a conditional write (S3 user guide, "Conditional writes")."""
        try:
            self.client.put_object(Bucket=self.bucket, Key=self.prefix + name, Body=data, IfNoneMatch="*")
        except self.client.exceptions.ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 412:
                return False
            raise  # 409 too: another is at it, and may yet fail
        return True


class CloudStorage(base.CloudStorage):
    """A prefix of a Cloud Storage bucket."""

    def sizes(self) -> dict[str, int]:
        """See Store."""
        found = self.bucket.client.list_blobs(self.bucket, prefix=self.prefix)
        return {each.name[len(self.prefix) :]: each.size for each in found if not each.name.endswith("/")}

    def read(self, name: str) -> bytes | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """See Store."""
        from google.api_core.exceptions import NotFound  # noqa: PLC0415 # pyright: ignore

        try:
            return super().read(name)
        except NotFound:
            return None

    def open(self, name: str) -> IO[bytes]:
        """See Store."""
        return self.bucket.blob(self.prefix + name).open("rb", chunk_size=8 << 20)

    def create(self, name: str, data: bytes) -> bool:
        """See Store: generation 0 is that of an object that is not there."""
        from google.api_core.exceptions import PreconditionFailed  # noqa: PLC0415 # pyright: ignore

        try:
            self.bucket.blob(self.prefix + name).upload_from_string(
                data, content_type="application/octet-stream", if_generation_match=0
            )
        except PreconditionFailed:
            return False
        return True


_BUCKETS: dict[str, Callable[[str, str], Store]] = {"s3": S3, "gs": CloudStorage}


def open_store(uri: str) -> Store:
    """The store at a URI; raises ValueError for a scheme that is none of these."""
    parts = urlsplit(uri)
    if parts.scheme in _BUCKETS and parts.netloc:
        prefix = parts.path.strip("/")
        return _BUCKETS[parts.scheme](parts.netloc, f"{prefix}/" if prefix else "")
    if parts.scheme in {"", "file"}:
        return Folder(Path(parts.path))
    raise ValueError(f"{uri} is neither a folder nor s3://bucket/prefix nor gs://bucket/prefix")


def download(store: Store, name: str, path: Path, limit: int) -> int:
    """Copy an object to a file; its size. Raises TooLargeError before more than `limit` bytes are written."""
    size = 0
    with closing(store.open(name)) as source, path.open("wb") as target:
        while chunk := source.read(1 << 20):
            size += len(chunk)
            if size > limit:
                raise TooLargeError(f"{name} is larger than {limit} bytes")
            target.write(chunk)
    return size
