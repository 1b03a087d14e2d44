"""What the environment may cost, and how the bill is split."""

from typing import Annotated

from pydantic import Field

from components.spec.section import Email, Section

TagKey = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
TagValue = Annotated[str, Field(pattern=r"^[a-z0-9_-]{0,63}$")]
Threshold = Annotated[int, Field(ge=1, le=1000)]


class Budget(Section):
    """The environment's monthly budget."""

    monthly_usd: Annotated[int, Field(ge=1, le=100_000_000)] = Field(description="US dollars a month, on each cloud.")
    notify: Annotated[list[Email], Field(min_length=1, max_length=10)] = Field(
        description="Who is told when a threshold is passed; at most ten, the limit of a budget's notification on AWS."
    )
    # AWS allows five notifications a budget (AWS Budgets quotas), so three and two.
    actual_percent: Annotated[list[Threshold], Field(min_length=1, max_length=3)] = Field(
        description="Thresholds on what was spent, in percent of the budget; at most three."
    )
    forecast_percent: Annotated[list[Threshold], Field(max_length=2)] = Field(
        description="Thresholds on what the month will come to, in percent of the budget; at most two."
    )


class Cost(Section):
    """How the bill is split."""

    tags: dict[TagKey, TagValue] = Field(
        default={}, description="More tags (labels) for every resource: lower case, so that both clouds accept them."
    )
    activate_tags: bool = Field(
        default=False, description="AWS: activate the tags for cost allocation; only the payer account may."
    )
