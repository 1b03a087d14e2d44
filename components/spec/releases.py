"""How a new version of a model takes over from the one that answers, and what takes it back."""

from typing import Annotated, Literal

from pydantic import Field

from components.spec.models import Source
from components.spec.section import Section

Sign = Literal["p95_latency", "error_rate"]
Minutes = Annotated[int, Field(ge=1, le=1440)]


class _Guarded(Section):
    """A release that is taken back by itself when an alarm that follows from the objective goes off."""

    bake_minutes: Minutes = Field(default=15, description="How long the new version is watched before it is trusted.")
    rollback_on: Annotated[list[Sign], Field(min_length=1)] = Field(
        default=["p95_latency", "error_rate"], description="Which alarms of the endpoint take the release back."
    )


class AllAtOnce(_Guarded):
    """All requests move to the new version at once; the old one stays until the new one is trusted."""

    strategy: Literal["all_at_once"]


class BlueGreen(_Guarded):
    """Half of the requests move, then the rest: the old fleet stays whole until the new one is trusted."""

    strategy: Literal["blue_green"]


class Canary(_Guarded):
    """A few requests move, and the rest once those were answered well."""

    strategy: Literal["canary"]
    percent: Annotated[int, Field(ge=1, le=99)] = Field(default=10, description="Percent of the fleet, or of requests.")


class Shadow(Section):
    """Another version gets copies of the requests; its answers are recorded, and nobody sees them."""

    strategy: Literal["shadow"]
    percent: Annotated[int, Field(ge=1, le=100)] = Field(default=10, description="Percent of the requests copied.")
    model: Source = Field(description="What answers in the shadow.")


Release = Annotated[AllAtOnce | BlueGreen | Canary | Shadow, Field(discriminator="strategy")]
