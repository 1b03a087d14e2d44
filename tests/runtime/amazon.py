"""Amazon's services as moto's server has them, empty for whoever starts it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import Request, urlopen

import boto3

AWS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-west-2"}


@contextmanager
def amazon() -> Iterator[str]:
    """The address of a server that holds nothing yet."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    try:
        emptied(address)
        yield address
    finally:
        server.stop()


def emptied(address: str) -> None:
    """Forget all: what a server holds is the process's, not the server's, also that of whoever was here before."""
    urlopen(Request(f"{address}/moto-api/reset", method="POST")).close()  # noqa: S310  our own server


@contextmanager
def s3(bucket: str = "models") -> Iterator[tuple[Any, dict[str, str]]]:
    """A bucket: its client, and the environment in which a process uses it."""
    with amazon() as address:
        client: Any = boto3.client(
            "s3", endpoint_url=address, region_name="us-west-2",
            aws_access_key_id="test", aws_secret_access_key="test",  # noqa: S106
        )  # fmt: skip
        client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
        yield client, AWS | {"AWS_ENDPOINT_URL": address}
