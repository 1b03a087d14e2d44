"""Shared fast file systems: how large, how fast, and which part of which storage zone they are linked to."""

from typing import Annotated, Literal

from pydantic import Field

from components.spec.section import CloudName, Name, Section


class FileSystem(Section):
    """A file system that many machines mount at once (Lustre), linked to a storage zone.

    On AWS what is in the zone appears in it, and what is written to it appears in the zone, by themselves. On Google Cloud
    somebody asks for either (`gcloud lustre instances import-data`, `export-data`).
    """

    zone: Name = Field(description="Storage zone that it is linked to.")
    prefix: Annotated[str, Field(pattern=r"^([\w.-]+/)*$", max_length=200)] = Field(
        default="", description="What of the zone, ending in a slash; by default all of it."
    )
    capacity_gib: Annotated[int, Field(ge=1200)] = Field(
        description="Size, GiB. AWS: 1200, or a multiple of 2400. Google Cloud: a multiple of 9000000 divided by `throughput`."
    )
    throughput: Literal[125, 250, 500, 1000] = Field(
        default=250, description="MB/s for each TiB; cannot be changed on Google Cloud."
    )
    interconnect: Literal["default", "fast"] = Field(
        default="default",
        description="AWS: `fast`: over the fabric of the machines (EFA), in steps 4 times as large or more.",
    )
    clients: Literal["cluster", "machines"] = Field(
        default="cluster",
        description="Who mounts it. Google Cloud: pods cannot mount one that is encrypted with a key of ours, so one for the"
        " `cluster` is encrypted by Google.",
    )
    place: str | None = Field(
        default=None, description="The only zone of the region that it lies in; by default the network's first."
    )
    team: Name | None = Field(default=None, description="The team that owns it, for the bill.")
    on: CloudName | None = Field(default=None, description="The cloud; by default the environment's first.")
