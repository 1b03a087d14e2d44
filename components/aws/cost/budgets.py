"""What the environment may cost, and who is told when it costs more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_aws as aws

from components import contracts
from components.plan import Share
from components.scope import Component, Scope


@dataclass(frozen=True, kw_only=True)
class BudgetsArgs:
    """How much, and who is told."""

    monthly_usd: int
    notify: Sequence[str]
    """E-mail addresses, ten at most."""
    actual_percent: Sequence[int]
    """Thresholds on what was spent."""
    forecast_percent: Sequence[int]
    """Thresholds on what the month will come to; with those above five at most, the limit of a budget."""
    teams: Mapping[str, Share] = field(default_factory=dict[str, Share])
    topic: pulumi.Output[str]
    activate_tags: Sequence[str] = ()
    """Keys of tags to activate for cost allocation; only the payer account may."""


class Budgets(Component):
    """A monthly budget of the account, and one of each team by its tag.

    Owns the budgets and the activation of cost allocation tags. Never stops anything by itself. A team's budget counts what
    carries its `team` tag, and sees anything only where that tag is active for cost allocation: here where the account pays
    its own bill, else in the organization's payer account. A tag can be activated a day after something first carried it.

    Costs nothing: budgets without actions are free (AWS Budgets pricing). A destroy takes them away, the tags stay active.

    >>> args = BudgetsArgs(
    ...     monthly_usd=1500, notify=["team@example.com"], actual_percent=[80, 100], forecast_percent=[100], topic=topic,
    ...     teams={"vision": Share(monthly_usd=750, notify=["vision@example.com"])},
    ... )
    >>> list(Budgets("budgets", args, scope=scope, parent=parent).outputs.names)
    ['environment', 'team-vision']
    """

    outputs: contracts.Budgets

    def __init__(self, name: str, args: BudgetsArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the budgets."""
        super().__init__(name, scope, parent)
        self._args = args
        names = {
            "environment": self._budget("environment", Share(monthly_usd=args.monthly_usd, notify=args.notify), [])
        }
        for team, share in args.teams.items():
            # "Filtering cost tags": the key with its kind, a dollar sign, the value.
            tagged = [{"name": "TagKeyValue", "values": [f"user:team${team}"]}]
            names[f"team-{team}"] = self._budget(f"team-{team}", share, tagged)
        for key in args.activate_tags:
            aws.costexplorer.CostAllocationTag(f"{name}-tag-{key}", tag_key=key, status="Active", opts=self.options())
        self.outputs = contracts.Budgets(names=names)
        self.finish(self.outputs)

    def _budget(self, label: str, share: Share, filters: Sequence[Any]) -> pulumi.Output[str]:
        args, scope = self._args, self.scope
        budget = aws.budgets.Budget(
            f"{self.name}-{label}",
            account_id=scope.account,
            name=scope.names.of(label, "budget"),
            budget_type="COST",
            limit_amount=f"{share.monthly_usd:.2f}",
            limit_unit="USD",
            time_unit="MONTHLY",
            # Without a start the first month is the present one; a date here would change with every run.
            cost_filters=list(filters),
            # What is used, whatever credits pay for it: they end without notice.
            cost_types={"include_credit": False, "include_refund": False},
            notifications=[
                {
                    "notification_type": kind,
                    "comparison_operator": "GREATER_THAN",
                    "threshold": percent,
                    "threshold_type": "PERCENTAGE",
                    "subscriber_email_addresses": list(share.notify),
                    "subscriber_sns_topic_arns": [args.topic],
                }
                for kind, percent in thresholds(args.actual_percent, args.forecast_percent)
            ],
            opts=self.options(),
        )
        return budget.name


def thresholds(actual: Sequence[int], forecast: Sequence[int]) -> list[tuple[str, int]]:
    """Each kind of notification with its percentage, once each.

    >>> thresholds([80, 80, 100], [100])
    [('ACTUAL', 80), ('ACTUAL', 100), ('FORECASTED', 100)]
    """
    kinds = {"ACTUAL": actual, "FORECASTED": forecast}
    return [(kind, percent) for kind, percents in kinds.items() for percent in dict.fromkeys(percents)]
