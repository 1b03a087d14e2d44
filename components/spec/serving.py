"""How models answer."""

from pydantic import Field

from components.spec.section import Days, Name, Section


class Serving(Section):
    """Serving of the environment."""

    capture_zone: Name = Field(default="logs", description="Zone of captured requests and answers, under `capture/`.")
    capture_days: Days = Field(description="Days that captured requests and answers are kept.")
