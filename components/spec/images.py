"""How a description names a container image: one of a registry, or one of a repository of ours."""

from typing import Annotated

from pydantic import Field

# A host, with a port where it says one, a path, and a tag, a digest or both; without a host and a path, a repository of ours.
_IMAGE = r"^[a-z0-9][\w.-]*(:\d{1,5}/[\w.-]+)?(/[\w.-]+)*(:\w[\w.-]{0,127})?(@sha256:[0-9a-f]{64})?$"
Image = Annotated[str, Field(pattern=_IMAGE, max_length=255)]


def own_repository(reference: str) -> str | None:
    """The repository that an image names where it is one of ours: the whole of its name, without a registry or a folder.

    >>> own_repository("training:1.0.0"), own_repository("docker.io/library/python:3.12")
    ('training', None)
    """
    name = reference.replace("@", ":").partition(":")[0]
    return None if "/" in reference else name


def moves(reference: str) -> bool:
    """Whether the image that is meant may be another tomorrow.

    >>> moves("host:5000/serve"), moves("serve:1.0.0"), moves("serve:latest@sha256:" + "0" * 64)
    (True, False, False)
    """
    last = reference.rpartition("/")[2]
    return "@" not in last and (":" not in last or last.endswith(":latest"))
