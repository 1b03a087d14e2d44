"""Endpoints whose requests wait in a queue."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi

from components import contracts
from components.contracts import Text
from components.core import cloud_run, watching
from components.core.monitoring import Alarm
from components.gcp.blocks.cloud_run import CloudRun, CloudRunArgs, Size
from components.gcp.blocks.inbox import Inbox, InboxArgs
from components.gcp.blocks.rollout import Platform
from components.gcp.blocks.workload import Grant, Workload, WorkloadArgs
from components.scope import Component, Scope
from components.spec import serving
from components.spec.endpoints import Alarm as Sign
from components.spec.models import Container

_ACKNOWLEDGED_SECONDS = 600
"""Pub/Sub "Subscription properties": 600 seconds at most until a message counts as not handled, and is delivered again."""
_ATTEMPTS = 10


@dataclass(frozen=True, kw_only=True)
class AsynchronousArgs:
    """One endpoint, and what it stands on."""

    spec: serving.Async
    image: pulumi.Input[str]
    """Address of the image of its model."""
    cache: contracts.Entry | None = None
    """Of its answers, where it may use one."""
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
        served = self._service(pusher)
        # A request is a message of this topic: published before there is a subscription, it would be lost.
        topic = self._inbox(served, pusher)
        self.outputs = contracts.Endpoint(id=topic, address=topic, version=served.version, row=served.row)
        self.finish(self.outputs)

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
                cache=args.cache,
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
                kind=spec.kind,
                owner=spec.team,
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
            watching.waits(self.name, sign, self.scope.names.of(f"async-{self.name}", "topic"))
            for name, sign in self._args.signs.items()
            if name == "waiting"
        ]
        dead = self.scope.names.of(f"async-{self.name}-failed", "topic")
        return [
            *found,
            Alarm(
                name=f"{self.name}-dead-letters",
                meaning=f"Requests to {self.name} could not be handled in {_ATTEMPTS} attempts.",
                first=f"Its log says why; the requests lie in the subscription {dead} for a week.",
                severity="warning",
                condition=watching.undelivered(dead),
                minutes=0,
            ),
        ]

    def _inbox(self, served: contracts.Endpoint, pusher: Text) -> Text:
        """Id of the topic of requests."""
        args, platform = self._args, self._args.platform
        physical = self.scope.names.of(self.name, "run_service")
        return Inbox(
            f"{self.name}-requests",
            InboxArgs(
                apis=platform.apis,
                number=platform.number,
                label=f"async-{self.name}",
                key=args.logs_key,
                publishers={
                    caller: pulumi.Output.concat("serviceAccount:", email) for caller, email in args.callers.items()
                },
                address=served.address.apply(lambda address: f"{address}/push"),
                audience=cloud_run.url(physical, platform.number, self.scope.region),
                bringer=pusher,
                seconds=_ACKNOWLEDGED_SECONDS,
                tries=_ATTEMPTS,
                first_wait=10,
                tags={**args.tags, "endpoint": self.name},
            ),
            scope=self.scope,
            parent=self,
        ).outputs.topic
