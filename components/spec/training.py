"""How models are trained. The pools and queues come with their own issue; what lives here now is where checkpoints go."""

from pydantic import Field

from components.spec.section import Days, Name, Section


class Training(Section):
    """Training of the environment."""

    checkpoint_zone: Name = Field(default="artifacts", description="Zone that holds checkpoints, under `checkpoints/`.")
    checkpoint_days: Days = Field(description="Days that a checkpoint is kept.")
