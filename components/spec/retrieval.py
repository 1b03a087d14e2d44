"""How answers are grounded in documents."""

from pydantic import Field

from components.spec.section import Days, Name, Section


class Retrieval(Section):
    """Retrieval of the environment."""

    prompt_zone: Name = Field(default="logs", description="Zone of logged prompts and answers, under `prompts/`.")
    prompt_days: Days = Field(description="Days that logged prompts and answers are kept.")
