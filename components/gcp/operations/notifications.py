"""Where everything alarms to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.core.google import label, labels
from components.scope import Component, Scope, after

# Budgets publish as this account of Google's ("Programmatic notifications"). An organisation that restricts the domains of
# members has to let it in.
_BUDGETS = "serviceAccount:billing-budget-alert@system.gserviceaccount.com"
_WEEK = f"{7 * 86_400}s"


@dataclass(frozen=True, kw_only=True)
class NotificationsArgs:
    """Who is told."""

    apis: Mapping[str, contracts.Text]
    critical: Sequence[str]
    """E-mail addresses."""
    warning: Sequence[str]
    cost: Sequence[str]
    teams: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    """The same by team, for what a team owns."""
    webhook: pulumi.Output[str] | None = None
    """HTTPS address of a paging service, a secret; critical alarms go there too."""
    key: contracts.Key
    """Key that encrypts the topic."""


class Notifications(Component):
    """Channels by urgency: critical (act now), warning (in working hours), cost; one a team; and a topic for programs on cost.

    Owns the notification channels, the cost topic and who may publish to it. Never owns an alert, nor what reads the topic;
    whoever comes later finds what was published in the last seven days.

    Costs next to nothing: channels are free, Pub/Sub 40 USD a TiB (prices of 2026-07). A destroy takes everything away.

    >>> _WEEK
    '604800s'
    """

    outputs: contracts.Notifications

    def __init__(self, name: str, args: NotificationsArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the channels and the topic."""
        super().__init__(name, scope, parent)
        self._args = args
        critical = self._emails("critical", args.critical)
        if args.webhook is not None:
            critical.append(self._webhook(args.webhook))
        self.outputs = contracts.Notifications(
            critical=critical,
            warning=self._emails("warning", args.warning),
            cost=self._emails("cost", args.cost),
            teams={team: self._emails(f"team-{team}", emails) for team, emails in args.teams.items()},
            cost_topic=self._topic(),
        )
        self.finish(self.outputs)

    def _emails(self, urgency: str, addresses: Sequence[str]) -> list[contracts.Text]:
        return [
            gcp.monitoring.NotificationChannel(
                f"{self.name}-{urgency}-{label(address)}",
                display_name=f"{self.scope.environment} {urgency}: {address}",
                description=f"Alarms of {self.scope.environment}: {urgency}.",
                type="email",
                labels={"email_address": address},
                user_labels=labels(self.scope.tags),
                project=self._args.apis["monitoring.googleapis.com"],
                opts=self.options(),
            ).name
            for address in dict.fromkeys(addresses)
        ]

    def _webhook(self, address: pulumi.Output[str]) -> contracts.Text:
        """A channel to a paging service. Its address holds the token, so all of its labels are a secret."""
        return gcp.monitoring.NotificationChannel(
            f"{self.name}-critical-webhook",
            display_name=f"{self.scope.environment} critical: paging service",
            description=f"What is critical in {self.scope.environment}.",
            type="webhook_tokenauth",
            labels={"url": address},
            user_labels=labels(self.scope.tags),
            project=self._args.apis["monitoring.googleapis.com"],
            opts=self.options(additional_secret_outputs=["labels"]),
        ).name

    def _topic(self) -> contracts.Text:
        """The topic that budgets publish to; its id resolves once they may."""
        scope, project = self.scope, self._args.apis["pubsub.googleapis.com"]
        topic = gcp.pubsub.Topic(
            f"{self.name}-cost",
            name=scope.names.of("cost", "topic"),
            project=project,
            kms_key_name=self._args.key.id,
            message_retention_duration=_WEEK,
            message_storage_policy={"allowed_persistence_regions": [scope.region]},
            opts=self.options(),
        )
        publisher = gcp.pubsub.TopicIAMMember(
            f"{self.name}-cost-publisher",
            project=project,
            topic=topic.name,
            role="roles/pubsub.publisher",
            member=_BUDGETS,
            opts=self.options(),
        )
        return after(topic.id, publisher)
