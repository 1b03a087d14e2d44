"""Where data lives: storage by zone."""

from typing import Annotated, Literal

from pydantic import Field

from components.spec.file_systems import FileSystem
from components.spec.foundation import Persona
from components.spec.section import Days, Name, Section


class Zone(Section):
    """A stage in the life of data; one bucket."""

    description: Annotated[str, Field(max_length=200)] = Field(default="", description="What lies here.")
    key: Literal["data", "models", "logs"] = Field(default="data", description="Domain of the key that encrypts it.")
    readers: list[Persona] = Field(default=[], description="Personas that may read.")
    writers: list[Persona] = Field(default=[], description="Personas that may read and write.")
    team: Name | None = Field(default=None, description="The team that owns it, for the bill.")
    cool_after_days: Days | None = Field(default=None, description="Move to storage for rare reads after so many days.")
    expire_after_days: Days | None = Field(default=None, description="Delete after so many days.")
    old_versions_days: Days = Field(default=30, description="Days that an overwritten or deleted version is kept.")
    old_versions_kept: Annotated[int, Field(ge=1, le=100)] | None = Field(
        default=None, description="Versions of an object that are kept for good, whatever their age."
    )


class Data(Section):
    """Data of the environment."""

    zones: dict[Name, Zone] = Field(min_length=1, description="Storage by zone.")
    file_systems: dict[Name, FileSystem] = Field(default={}, description="Shared fast file systems, linked to a zone.")
    access_log_zone: Name = Field(
        default="access-logs",
        description="The zone that receives the access logs of the others, and nothing else: S3 writes them with a key of its"
        " own, so no customer-managed key can be the bucket's.",
    )
    replicate: bool = Field(
        description="Keep a copy of every zone, but that of the access logs, in the replica region."
    )
