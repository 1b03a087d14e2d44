"""The queue of what was given up."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws

from components import contracts
from components.contracts import Text
from components.core import iam
from components.scope import Component, Scope, after

FORTNIGHT = 14 * 24 * 3600
"""The longest that a queue keeps a message, seconds ("CreateQueue", MessageRetentionPeriod)."""


@dataclass(frozen=True, kw_only=True)
class DeadLettersArgs:
    """What the queue is called, what encrypts it, and which topic fills it."""

    queue: str
    key: contracts.Key
    topic: Text | None = None
    """ARN; a service that writes with a role of its own needs no mention."""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class DeadLetters(Component):
    """A queue that keeps for two weeks what nobody took, reached by TLS alone.

    Owns the queue and its policy. Never owns what fills it, nor the alarm on it. Costs 0.40 USD a million messages (us-east-1,
    2026-09). A destroy takes it with what lies there.

    >>> args = DeadLettersArgs(queue="acme-ai-dev-webhook-failed", key=key, topic=topic)
    >>> DeadLetters("webhook-failed", args, scope=scope, parent=parent).outputs.name
    'acme-ai-dev-webhook-failed'
    """

    outputs: contracts.DeadLetters

    def __init__(self, name: str, args: DeadLettersArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the queue, and say who may fill it."""
        super().__init__(name, scope, parent)
        queue = aws.sqs.Queue(
            f"{name}-queue",
            name=args.queue,
            kms_master_key_id=args.key.id,
            message_retention_seconds=FORTNIGHT,
            tags=dict(args.tags),
            opts=self.options(),
        )
        arn = f"arn:aws:sqs:{scope.region}:{scope.account}:{args.queue}"
        let_in = (
            []
            if args.topic is None
            else [
                iam.allow(
                    ["sqs:SendMessage"],
                    [arn],
                    sid="Topic",
                    principals={"Service": "sns.amazonaws.com"},
                    when=iam.source(scope.account, args.topic),
                )
            ]
        )
        clear = iam.deny(["sqs:*"], [arn], sid="OnlyOverTls", principals="*", when=iam.secure_transport(required=False))
        policy = aws.sqs.QueuePolicy(
            f"{name}-policy",
            queue_url=queue.id,
            policy=pulumi.Output.json_dumps(iam.document(*let_in, clear)),
            opts=self.options(),
        )
        self.outputs = contracts.DeadLetters(id=after(queue.arn, policy), name=args.queue)
        self.finish(self.outputs)
