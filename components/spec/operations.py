"""Who is told when something happens."""

from typing import Annotated

from pydantic import Field

from components.spec.section import Email, Secret, Section


class Operations(Section):
    """Operations of the environment. Everything alarms to one of two topics: critical (act now) and warning."""

    critical: Annotated[list[Email], Field(max_length=20)] = Field(
        default=[], description="Who is told at once; by default those whom the budget notifies."
    )
    warning: Annotated[list[Email], Field(max_length=20)] = Field(
        default=[], description="Who is told in working hours; by default those whom the budget notifies."
    )
    webhook: Secret | None = Field(
        default=None, description="HTTPS address of a paging service that critical alarms are sent to; encrypted."
    )
