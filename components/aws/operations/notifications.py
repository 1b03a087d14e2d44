"""Where everything alarms to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws

from components import contracts
from components.aws.blocks.dead_letters import DeadLetters, DeadLettersArgs
from components.core import iam
from components.scope import Component, Scope, after

# Who publishes to a topic, with the resource that it acts for where it states one: the budget itself ("Creating an Amazon SNS
# topic for budget notifications"), the alarm, the rule.
_PUBLISHERS: Mapping[str, Sequence[tuple[str, str | None]]] = {
    "critical": (("cloudwatch", "arn:aws:cloudwatch:{region}:{account}:alarm:*"), ("events", None)),
    "warning": (("cloudwatch", "arn:aws:cloudwatch:{region}:{account}:alarm:*"), ("events", None)),
    "cost": (("budgets", "arn:aws:budgets::{account}:*"), ("costalerts", None)),
}
# All that a topic's own default policy gives its owner; a policy of ours replaces that default, so it is stated again.
_OWNER = (
    "sns:AddPermission", "sns:DeleteTopic", "sns:GetTopicAttributes", "sns:ListSubscriptionsByTopic", "sns:Publish",
    "sns:RemovePermission", "sns:SetTopicAttributes", "sns:Subscribe",
)  # fmt: skip
_TEAM = _PUBLISHERS["warning"]


@dataclass(frozen=True, kw_only=True)
class NotificationsArgs:
    """Who is told."""

    critical: Sequence[str]
    """E-mail addresses."""
    warning: Sequence[str]
    teams: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    """The same by team, for what a team owns."""
    webhook: pulumi.Output[str] | None = None
    """HTTPS address of a paging service, a secret; critical alarms go there too."""
    key: contracts.Key
    """Key that encrypts the topics; its policy lets the publishers use it."""


class Notifications(Component):
    """Three encrypted topics: critical (act now), warning (in working hours), cost; and one a team, for what the team owns.

    Owns the topics, who may publish, the subscriptions and, where there is a webhook, the queue of what it did not take,
    with an alarm on that. Never owns an alarm of something else.

    Costs next to nothing: 0.50 USD a million notifications, e-mails 2 USD per 100,000 (SNS pricing, 2026-09), an alarm 0.10.
    Every e-mail address has to confirm its subscription once. A destroy takes everything away, but AWS keeps a subscription
    that nobody ever confirmed for some days.

    >>> args = NotificationsArgs(critical=["on-call@example.com"], warning=["team@example.com"], key=key)
    >>> [topic] = Notifications("notifications", args, scope=scope, parent=parent).outputs.critical
    """

    outputs: contracts.Notifications

    def __init__(self, name: str, args: NotificationsArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the topics and their subscriptions."""
        super().__init__(name, scope, parent)
        self._args = args
        # Budgets send their own e-mails; their topic is for programs.
        people: Mapping[str, Sequence[str]] = {"critical": args.critical, "warning": args.warning, "cost": ()}
        topics = {topic: self._topic(topic, emails) for topic, emails in people.items()}
        if args.webhook is not None:
            self._webhook(topics["critical"], args.webhook, topics["warning"])
        self.outputs = contracts.Notifications(
            critical=[topics["critical"]],
            warning=[topics["warning"]],
            cost=[topics["cost"]],
            teams={team: [self._topic(f"team-{team}", emails)] for team, emails in args.teams.items()},
            cost_topic=topics["cost"],
        )
        self.finish(self.outputs)

    def _topic(self, topic: str, emails: Sequence[str]) -> pulumi.Output[str]:
        """ARN of a topic; resolves once its publishers may publish."""
        scope, label = self.scope, f"{self.name}-{topic}"
        physical = scope.names.of(topic, "topic")
        made = aws.sns.Topic(
            f"{label}-topic",
            name=physical,
            display_name=f"{scope.environment} {topic}",
            kms_master_key_id=self._args.key.id,
            # SHA-256 in place of SHA-1 for the signature of what is delivered.
            signature_version=2,
            opts=self.options(),
        )
        arn = f"arn:aws:sns:{scope.region}:{scope.account}:{physical}"
        policy = aws.sns.TopicPolicy(
            f"{label}-policy",
            arn=made.arn,
            policy=pulumi.Output.json_dumps(self._policy(topic, arn)),
            opts=self.options(),
        )
        for email in dict.fromkeys(emails):
            aws.sns.TopicSubscription(
                f"{label}-{email}", topic=made.arn, protocol="email", endpoint=email, opts=self.options()
            )
        return after(made.arn, policy)

    def _policy(self, topic: str, arn: str) -> iam.Document:
        account, region = self.scope.account, self.scope.region
        publishers = (
            iam.allow(
                ["sns:Publish"],
                [arn],
                sid=service.capitalize(),
                principals={"Service": f"{service}.amazonaws.com"},
                when=iam.source(account, source.format(region=region, account=account) if source else None),
            )
            for service, source in _PUBLISHERS.get(topic, _TEAM)
        )
        return iam.document(
            iam.allow(_OWNER, [arn], sid="Owner", principals={"AWS": f"arn:aws:iam::{account}:root"}),
            *publishers,
            iam.deny(
                ["sns:Publish"], [arn], sid="OnlyOverTls", principals="*", when=iam.secure_transport(required=False)
            ),
        )

    def _webhook(self, topic: pulumi.Output[str], address: pulumi.Output[str], warning: pulumi.Output[str]) -> None:
        """Send a topic to a paging service; what it does not take waits in a queue, and the warning topic is told."""
        scope, label = self.scope, f"{self.name}-webhook"
        failed = DeadLetters(
            f"{label}-failed",
            DeadLettersArgs(queue=scope.names.of("webhook-failed"), key=self._args.key, topic=topic),
            scope=scope,
            parent=self,
        ).outputs
        aws.sns.TopicSubscription(
            f"{label}-subscription",
            topic=topic,
            protocol="https",
            endpoint=address,
            # Paging services answer the confirmation by themselves.
            endpoint_auto_confirms=True,
            redrive_policy=pulumi.Output.json_dumps({"deadLetterTargetArn": failed.id}),
            opts=self.options(additional_secret_outputs=["endpoint"]),
        )
        aws.cloudwatch.MetricAlarm(
            f"{label}-failed-alarm",
            name=failed.name,
            alarm_description="A critical alarm did not reach the paging service. It lies in the queue of the same name.",
            namespace="AWS/SQS",
            metric_name="ApproximateNumberOfMessagesVisible",
            dimensions={"QueueName": failed.name},
            statistic="Maximum",
            period=60,
            evaluation_periods=1,
            threshold=0,
            comparison_operator="GreaterThanThreshold",
            treat_missing_data="notBreaching",
            alarm_actions=[warning],
            opts=self.options(),
        )
