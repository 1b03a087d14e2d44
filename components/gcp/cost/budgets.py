"""What the environment may cost, and who is told when it costs more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.core.google import label, labels
from components.plan import Share
from components.scope import Component, Scope

# "Create, edit, or delete budgets and budget alerts": a budget tells at most so many channels.
_CHANNELS = 5


@dataclass(frozen=True, kw_only=True)
class BudgetsArgs:
    """How much, and who is told."""

    apis: Mapping[str, contracts.Text]
    number: str
    """Number of the project."""
    billing_account: str
    monthly_usd: int
    actual_percent: Sequence[int]
    """Thresholds on what was spent."""
    forecast_percent: Sequence[int]
    """Thresholds on what the month will come to."""
    teams: Mapping[str, Share] = field(default_factory=dict[str, Share])
    channels: Sequence[contracts.Text]
    """Who is told of the environment's budget."""
    topic: contracts.Text


class Budgets(Component):
    """A monthly budget of the project, and one of each team by its label.

    Owns the budgets, and the channels of the teams' owners. Never stops anything by itself. A team's budget counts what
    carries its `team` label. Where more people are told than one budget takes, a second one says the same to the others.

    To make a budget takes `roles/billing.costsManager` on the billing account; to be owner of the project is not enough.
    Costs nothing (Cloud Billing). A destroy takes them away.

    >>> thresholds([80, 100], [100])
    [('CURRENT_SPEND', 0.8), ('CURRENT_SPEND', 1.0), ('FORECASTED_SPEND', 1.0)]
    """

    outputs: contracts.Budgets

    def __init__(self, name: str, args: BudgetsArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the budgets."""
        super().__init__(name, scope, parent)
        self._args = args
        names = {"environment": self._budget("environment", args.monthly_usd, args.channels, {})}
        for team, share in args.teams.items():
            names[f"team-{team}"] = self._budget(
                f"team-{team}", share.monthly_usd, self._channels(team, share.notify), {"team": label(team)}
            )
        self.outputs = contracts.Budgets(names=names)
        self.finish(self.outputs)

    def _channels(self, team: str, addresses: Sequence[str]) -> list[contracts.Text]:
        return [
            gcp.monitoring.NotificationChannel(
                f"{self.name}-team-{team}-{label(address)}",
                display_name=f"{self.scope.environment} {team}: {address}",
                description=f"What {team} spends in {self.scope.environment}.",
                type="email",
                labels={"email_address": address},
                user_labels={**labels(self.scope.tags), "team": label(team)},
                project=self._args.apis["monitoring.googleapis.com"],
                opts=self.options(),
            ).name
            for address in dict.fromkeys(addresses)
        ]

    def _budget(
        self, which: str, usd: float, channels: Sequence[contracts.Text], by: Mapping[str, str]
    ) -> contracts.Text:
        """A budget, as often as its channels take; the name of the first."""
        groups = [channels[i : i + _CHANNELS] for i in range(0, len(channels), _CHANNELS)] or [channels]
        first, *_ = [self._one(which, number, usd, group, by) for number, group in enumerate(groups, 1)]
        return first

    def _one(
        self, which: str, number: int, usd: float, channels: Sequence[contracts.Text], by: Mapping[str, str]
    ) -> contracts.Text:
        args, suffix = self._args, "" if number == 1 else f"-{number}"
        cents = round(usd * 100)
        budget = gcp.billing.Budget(
            f"{self.name}-{which}{suffix}",
            # By the API's output, so that the API is on.
            billing_account=args.apis["billingbudgets.googleapis.com"].apply(lambda _: args.billing_account),
            display_name=self.scope.names.of(f"{which}{suffix}", "budget"),
            amount={
                "specified_amount": {
                    "currency_code": "USD",
                    "units": str(cents // 100),
                    "nanos": cents % 100 * 10_000_000,
                }
            },
            budget_filter={
                # By number: what the API answers with, so that a refresh finds no difference.
                "projects": [f"projects/{args.number}"],
                "calendar_period": "MONTH",
                # What is used, whatever credits pay for it: they end without notice.
                "credit_types_treatment": "EXCLUDE_ALL_CREDITS",
                "labels": dict(by),
            },
            threshold_rules=[
                {"spend_basis": basis, "threshold_percent": part}
                for basis, part in thresholds(args.actual_percent, args.forecast_percent)
            ],
            all_updates_rule={
                "pubsub_topic": args.topic,
                "schema_version": "1.0",
                "monitoring_notification_channels": list(channels),
                # Those who are named, and not whoever administers the billing account.
                "disable_default_iam_recipients": True,
            },
            opts=self.options(),
        )
        return budget.name


def thresholds(actual: Sequence[int], forecast: Sequence[int]) -> list[tuple[str, float]]:
    """Each basis with its part of the budget, once each; from percent."""
    bases = {"CURRENT_SPEND": actual, "FORECASTED_SPEND": forecast}
    return [(basis, percent / 100) for basis, percents in bases.items() for percent in dict.fromkeys(percents)]
