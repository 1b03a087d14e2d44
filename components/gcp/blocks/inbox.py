"""Messages that are brought to a service, and what becomes of those that it cannot handle."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.core.google import agent, labels
from components.scope import Component, Scope, after

_PUBSUB = "pubsub.googleapis.com"
_WEEK = f"{7 * 86_400}s"


@dataclass(frozen=True, kw_only=True)
class InboxArgs:
    """Who sends, who is told, and how often it is tried."""

    apis: Mapping[str, contracts.Text]
    number: str
    """Number of the project."""
    label: str
    """Its name within the environment; that of what was given up has `-failed` behind it."""
    key: contracts.Key
    """Encrypts the topics."""
    publishers: Mapping[str, pulumi.Input[str]]
    """Members that send, each by a name that is stable."""
    address: contracts.Text
    """Where messages are brought; resolves once who brings them is let in."""
    audience: pulumi.Input[str]
    """Whom the token that they come with is for."""
    bringer: contracts.Text
    """E-mail of the service account that brings them."""
    seconds: int
    """What has no answer by then is brought again."""
    tries: int
    """After so many a message is given up."""
    first_wait: int = 30
    """Seconds until it is tried again; later ones are longer, up to ten minutes."""
    filter: str | None = None
    """Which messages are brought; the others are nobody's."""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class Inbox(Component):
    """A topic whose messages are pushed to a service; those that it cannot handle are kept apart for a week.

    Owns both topics and their subscriptions, and who may publish. Never owns the service, who brings messages, or an alarm.

    Costs 40 USD a TiB that is sent and as much for what is brought, the first 10 GiB a month free (Pub/Sub pricing, 2026).
    A destroy takes it with all messages in it.

    >>> _WEEK
    '604800s'
    """

    outputs: contracts.Inbox

    def __init__(self, name: str, args: InboxArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make where messages that fail go, then the topic and what empties it."""
        super().__init__(name, scope, parent)
        self._args = args
        self._tags = labels({**scope.tags, **args.tags})
        self._project = args.apis[_PUBSUB]
        physical, failed = (scope.names.of(label, "topic") for label in (args.label, f"{args.label}-failed"))
        # Pub/Sub moves a message by publishing it there and taking it here ("Handle message failures").
        dead = self._topic(f"{name}-failed", failed, {"agent": agent(_PUBSUB, args.number)})
        kept = gcp.pubsub.Subscription(
            f"{name}-failed-kept",
            name=failed,
            project=self._project,
            topic=dead,
            message_retention_duration=_WEEK,
            expiration_policy={"ttl": ""},
            labels=self._tags,
            opts=self.options(),
        )
        topic = self._topic(name, physical, args.publishers)
        subscription = gcp.pubsub.Subscription(
            f"{name}-subscription",
            name=physical,
            project=self._project,
            topic=topic,
            filter=args.filter,
            push_config={
                "push_endpoint": args.address,
                "oidc_token": {"service_account_email": args.bringer, "audience": args.audience},
            },
            ack_deadline_seconds=args.seconds,
            message_retention_duration=_WEEK,
            # By default a subscription that nothing came through for 31 days is deleted.
            expiration_policy={"ttl": ""},
            retry_policy={"minimum_backoff": f"{args.first_wait}s", "maximum_backoff": "600s"},
            dead_letter_policy={"dead_letter_topic": dead, "max_delivery_attempts": args.tries},
            labels=self._tags,
            # What is given up before somebody keeps it is gone.
            opts=self.options(depends_on=[kept]),
        )
        takes = gcp.pubsub.SubscriptionIAMMember(
            f"{name}-failed-taker",
            project=self._project,
            subscription=subscription.name,
            role="roles/pubsub.subscriber",
            member=agent(_PUBSUB, args.number),
            opts=self.options(),
        )
        self.outputs = contracts.Inbox(topic=after(topic, subscription, takes), failed=failed)
        self.finish(self.outputs)

    def _topic(self, name: str, physical: str, publishers: Mapping[str, pulumi.Input[str]]) -> contracts.Text:
        """Id of a topic; resolves once these may publish to it."""
        args, scope = self._args, self.scope
        made = gcp.pubsub.Topic(
            f"{name}-topic",
            name=physical,
            project=self._project,
            kms_key_name=args.key.id,
            message_retention_duration=_WEEK,
            message_storage_policy={"allowed_persistence_regions": [scope.region]},
            labels=self._tags,
            opts=self.options(),
        )
        grants = [
            gcp.pubsub.TopicIAMMember(
                f"{name}-publisher-{publisher}",
                project=self._project,
                topic=made.name,
                role="roles/pubsub.publisher",
                member=member,
                opts=self.options(),
            )
            for publisher, member in publishers.items()
        ]
        return after(made.id, *grants)
