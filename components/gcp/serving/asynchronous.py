"""Endpoints whose requests wait in a queue."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.contracts import Text
from components.core import cloud_run, watching
from components.core.google import agent, labels
from components.core.monitoring import Alarm, Query
from components.gcp.blocks.cloud_run import CloudRun, CloudRunArgs, Size
from components.gcp.blocks.rollout import Platform
from components.gcp.blocks.workload import Grant, Workload, WorkloadArgs
from components.scope import Component, Scope, after
from components.spec import serving
from components.spec.endpoints import Alarm as Sign
from components.spec.models import Container

_ACKNOWLEDGED_SECONDS = 600
"""Pub/Sub "Subscription properties": 600 seconds at most until a message counts as not handled, and is delivered again."""
_ATTEMPTS = 10
_WEEK = "604800s"
_PUBSUB = "pubsub.googleapis.com"


@dataclass(frozen=True, kw_only=True)
class AsynchronousArgs:
    """One endpoint, and what it stands on."""

    spec: serving.Async
    image: pulumi.Input[str]
    """Address of the image of its model."""
    platform: Platform
    logs_key: contracts.Key
    """Encrypts what waits: Pub/Sub may use it."""
    signs: Mapping[str, Sign]
    """What is watched, by sign."""
    callers: Mapping[str, pulumi.Input[str]] = field(default_factory=dict[str, pulumi.Input[str]])
    """E-mails of service accounts that may send requests."""
    team: Sequence[Text] = ()
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class Asynchronous(Component):
    """A topic that takes requests, a service of Cloud Run that works on them, a bucket that takes answers.

    A message is delivered again until it was handled, at growing distances; one that never is goes to the topic of dead letters,
    and stays there for a week. Messages have no order. Answers lie below `async/{name}/` in the zone, each under the id of its
    message, so that one that is delivered twice is answered once.

    Owns the topics, subscriptions and their grants, who may send, and a service of Cloud Run with all that belongs to it
    (`CloudRun`). Never owns the image, the model or the answers.

    Costs 40 USD a TiB of messages (Pub/Sub prices, 2026-07) and what its instances cost while they work (see `CloudRun`). A
    destroy takes everything but the answers; what still waits is lost.

    >>> min(_ACKNOWLEDGED_SECONDS, 700)
    600
    """

    outputs: contracts.Endpoint

    def __init__(self, name: str, args: AsynchronousArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the topics, the service, and what brings messages to it."""
        super().__init__(name, scope, parent)
        self._args = args
        pusher = Workload(
            f"push-{name}",
            WorkloadArgs(description=f"Brings messages to {name}.", apis=args.platform.apis, grants={}),
            scope=scope,
            parent=self,
        ).outputs.id
        topic = self._topic("requests", name)
        served = self._service(pusher)
        subscription = self._subscription(topic, served, pusher)
        senders = [
            gcp.pubsub.TopicIAMMember(
                f"{name}-caller-{caller}",
                project=args.platform.apis[_PUBSUB],
                topic=topic.name,
                role="roles/pubsub.publisher",
                member=pulumi.Output.concat("serviceAccount:", email),
                opts=self.options(),
            )
            for caller, email in args.callers.items()
        ]
        ready = [*subscription, *senders]
        # A request is a message of this topic: published before there is a subscription, it would be lost.
        self.outputs = contracts.Endpoint(
            id=after(topic.id, *ready), address=after(topic.id, *ready), version=served.version
        )
        self.finish(self.outputs)

    def _topic(self, label: str, physical: str) -> gcp.pubsub.Topic:
        args, scope = self._args, self.scope
        return gcp.pubsub.Topic(
            f"{self.name}-{label}",
            name=scope.names.of(physical, "topic"),
            project=args.platform.apis[_PUBSUB],
            kms_key_name=args.logs_key.id,
            message_retention_duration=_WEEK,
            message_storage_policy={"allowed_persistence_regions": [scope.region]},
            labels={**labels({**scope.tags, **args.tags}), "endpoint": self.name},
            opts=self.options(),
        )

    def _service(self, pusher: Text) -> contracts.Endpoint:
        args, scope, spec = self._args, self.scope, self._args.spec
        if not isinstance(spec.model, Container):
            raise TypeError(f"{self.name}: Cloud Run reads no package of the registry")
        compute, storage = spec.compute, args.platform.storage[spec.zone]
        cpu, memory = cloud_run.size(compute.cpu, compute.memory_gib, gpu=compute.accelerator != "none")
        prefix = f"async/{self.name}/"
        objects = f"projects/_/buckets/{scope.names.of(spec.zone, 'bucket')}/objects/{prefix}"
        signs = {sign: found for sign, found in args.signs.items() if sign != "waiting"}
        return CloudRun(
            f"{self.name}-run",
            CloudRunArgs(
                platform=args.platform,
                endpoint=self.name,
                model=spec.model,
                image=args.image,
                size=Size(
                    cpu=cpu,
                    memory_gib=memory,
                    accelerator=compute.accelerator,
                    # With a push subscription Pub/Sub sends as fast as is answered; another instance comes at this many.
                    at_once=min(spec.scale.waiting, cloud_run.MOST_AT_ONCE),
                    least=spec.scale.min,
                    most=spec.scale.max,
                ),
                timeout_seconds=_ACKNOWLEDGED_SECONDS,
                environment={"OUTPUT_URI": pulumi.Output.concat(storage.uri, "/", prefix)},
                grants={
                    "answers": Grant(
                        role="roles/storage.objectUser",
                        bucket=storage.resource,
                        condition=("its-answers", f'resource.name.startsWith("{objects}")'),
                    )
                },
                callers={"push": pusher},
                release=spec.release,
                signs=signs,
                alarms=self._alarms(),
                team=args.team,
                tags=args.tags,
            ),
            scope=scope,
            parent=self,
        ).outputs

    def _alarms(self) -> list[Alarm]:
        """Of what waits, and of what nobody could handle."""
        found = [
            watching.alarm(self.name, sign, watching.oldest(self.scope.names.of(self.name, "topic"), sign.above))
            for name, sign in self._args.signs.items()
            if name == "waiting"
        ]
        dead = self.scope.names.of(f"{self.name}-dead", "topic")
        return [
            *found,
            Alarm(
                name=f"{self.name}-dead-letters",
                meaning=f"Requests to {self.name} could not be handled in {_ATTEMPTS} attempts.",
                first=f"Its log says why; the requests lie in the subscription {dead} for a week.",
                severity="warning",
                condition=Query(promql=watching.undelivered(dead)),
                minutes=0,
            ),
        ]

    def _subscription(self, topic: gcp.pubsub.Topic, served: contracts.Endpoint, pusher: Text) -> list[pulumi.Resource]:
        args, scope, project = self._args, self.scope, self._args.platform.apis[_PUBSUB]
        dead = self._topic("dead", f"{self.name}-dead")
        kept = gcp.pubsub.Subscription(
            f"{self.name}-dead-kept",
            name=scope.names.of(f"{self.name}-dead", "topic"),
            project=project,
            topic=dead.id,
            message_retention_duration=_WEEK,
            expiration_policy={"ttl": ""},
            opts=self.options(),
        )
        # Pub/Sub moves a message by publishing it there and taking it here ("Handle message failures").
        publishes = gcp.pubsub.TopicIAMMember(
            f"{self.name}-dead-publisher",
            project=project,
            topic=dead.name,
            role="roles/pubsub.publisher",
            member=agent(_PUBSUB, args.platform.number),
            opts=self.options(),
        )
        physical = scope.names.of(self.name, "run_service")
        url = cloud_run.url(physical, args.platform.number, scope.region)
        subscription = gcp.pubsub.Subscription(
            f"{self.name}-subscription",
            name=scope.names.of(self.name, "topic"),
            project=project,
            topic=topic.id,
            push_config={
                "push_endpoint": served.address.apply(lambda address: f"{address}/push"),
                "oidc_token": {"service_account_email": pusher, "audience": url},
            },
            ack_deadline_seconds=_ACKNOWLEDGED_SECONDS,
            message_retention_duration=_WEEK,
            enable_message_ordering=False,
            # By default a subscription that nothing came through for 31 days is deleted.
            expiration_policy={"ttl": ""},
            retry_policy={"minimum_backoff": "10s", "maximum_backoff": "600s"},
            dead_letter_policy={"dead_letter_topic": dead.id, "max_delivery_attempts": _ATTEMPTS},
            labels={**labels({**scope.tags, **args.tags}), "endpoint": self.name},
            opts=self.options(depends_on=[kept, publishes]),
        )
        takes = gcp.pubsub.SubscriptionIAMMember(
            f"{self.name}-dead-subscriber",
            project=project,
            subscription=subscription.name,
            role="roles/pubsub.subscriber",
            member=agent(_PUBSUB, args.platform.number),
            opts=self.options(),
        )
        return [subscription, takes]
