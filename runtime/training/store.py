"""Where files are kept: a folder, `s3://bucket/prefix` or `gs://bucket/prefix`. A file is there as a whole or not at all."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit


class Store(Protocol):
    """A flat set of files."""

    def names(self) -> list[str]:
        """Every file, in alphabetical order."""
        ...

    def read(self, name: str) -> bytes:
        """The content of a file; raises whatever the store answers where there is none."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Put a file in place of any of that name."""
        ...

    def delete(self, name: str) -> None:
        """Take a file away."""
        ...


class Folder:
    """A folder: a disk, a mounted file system."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def names(self) -> list[str]:
        """See Store."""
        return sorted(p.name for p in self.path.iterdir() if p.is_file())

    def read(self, name: str) -> bytes:
        """See Store."""
        return (self.path / name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        """See Store: written beside it, brought to the disk, then renamed."""
        beside = self.path / f".{name}.part"
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self.path / name)
        folder = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def delete(self, name: str) -> None:
        """See Store."""
        (self.path / name).unlink(missing_ok=True)


class S3:
    """A prefix of an S3 bucket: an object is visible once it, or the last of its parts, has arrived."""

    def __init__(self, bucket: str, prefix: str) -> None:
        import boto3  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs] - only the client of the store in use
        from botocore.config import Config  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs]

        self.client: Any = boto3.client("s3", config=Config(retries={"mode": "standard", "max_attempts": 6}))
        self.bucket, self.prefix = bucket, prefix

    def names(self) -> list[str]:
        """See Store."""
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=self.prefix, Delimiter="/"
        )
        return sorted(found["Key"][len(self.prefix) :] for page in pages for found in page.get("Contents", ()))

    def read(self, name: str) -> bytes:
        """See Store."""
        return self.client.get_object(Bucket=self.bucket, Key=self.prefix + name)["Body"].read()

    def write(self, name: str, data: bytes) -> None:
        """See Store. Encrypted by the bucket's own key."""
        self.client.upload_fileobj(io.BytesIO(data), self.bucket, self.prefix + name)

    def delete(self, name: str) -> None:
        """See Store."""
        self.client.delete_object(Bucket=self.bucket, Key=self.prefix + name)


class CloudStorage:
    """A prefix of a Cloud Storage bucket: an object is visible once its upload is complete."""

    def __init__(self, bucket: str, prefix: str) -> None:
        from google.cloud import storage  # noqa: PLC0415 # pyright: ignore

        client: Any = storage.Client()
        self.bucket: Any = client.bucket(bucket)
        self.prefix = prefix

    def names(self) -> list[str]:
        """See Store."""
        found = self.bucket.client.list_blobs(self.bucket, prefix=self.prefix, delimiter="/")
        return sorted(blob.name[len(self.prefix) :] for blob in found)

    def read(self, name: str) -> bytes:
        """See Store."""
        return self.bucket.blob(self.prefix + name).download_as_bytes()

    def write(self, name: str, data: bytes) -> None:
        """See Store. Encrypted by the bucket's own key."""
        self.bucket.blob(self.prefix + name).upload_from_string(data, content_type="application/octet-stream")

    def delete(self, name: str) -> None:
        """See Store."""
        self.bucket.blob(self.prefix + name).delete()


BUCKETS: dict[str, Callable[[str, str], Store]] = {"s3": S3, "gs": CloudStorage}


def open_store(uri: str) -> Store:
    """The store at a URI; what has no scheme is a folder. Raises ValueError for a scheme that is none of these."""
    parts = urlsplit(uri)
    if parts.scheme in BUCKETS and parts.netloc:
        prefix = parts.path.strip("/")
        return BUCKETS[parts.scheme](parts.netloc, f"{prefix}/" if prefix else "")
    if parts.scheme in {"", "file"}:
        return Folder(Path(parts.path))
    raise ValueError(f"{uri} is neither a folder nor s3://bucket/prefix nor gs://bucket/prefix")
