"""Where trained models are kept."""

from typing import Annotated

from pydantic import Field

from components.spec.section import Name, Section


class Registry(Section):
    """Model registry of the environment."""

    model_zone: Name = Field(default="models", description="Zone that holds model packages.")
    keep_versions: Annotated[int, Field(ge=1, le=100)] = Field(
        description="Overwritten versions of a model package that are kept whatever their age, to roll back to."
    )
