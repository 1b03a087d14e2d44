"""The queues of training: who a team's jobs are, and where notices of interruption go. The cluster has the queues themselves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.contracts import Text
from components.core.google import agent
from components.gcp.blocks.workload import Grant, Workload, WorkloadArgs
from components.scope import Component, Scope, after
from components.spec.capacity import QueuePlan

_DAY = 86_400

# What takes a machine away that nobody of ours stopped: spot, a broken host, and maintenance of the host, which a machine with
# accelerators does not survive. "Compute Engine audit logging", system events.
_TAKEN = ("preempted", "hostError", "terminateOnHostMaintenance")
FILTER = (
    'log_id("cloudaudit.googleapis.com/system_event") AND resource.type="gce_instance" AND protoPayload.methodName=('
    + " OR ".join(f'"compute.instances.{what}"' for what in _TAKEN)
    + ")"
)
_EXACTLY = 6
"""Queues of a team whose checkpoints one condition names one by one; a condition has 12 logical operators (IAM "Quotas")."""


@dataclass(frozen=True, kw_only=True)
class QueuesArgs:
    """Who queues for what, and where it may read and write."""

    apis: Mapping[str, Text]
    number: str
    """Number of the project."""
    queues: Mapping[str, QueuePlan]
    teams: Sequence[str]
    """Who trains; the cluster divides by their shares."""
    checkpoints: Mapping[str, contracts.Storage]
    """The zones that queues keep checkpoints in."""
    readable: Mapping[str, contracts.Storage]
    """The zones that every team's jobs may read."""
    cluster: contracts.Cluster | None
    """Where the queues are; without one nobody becomes the teams' accounts."""
    key: contracts.Key
    """Key that encrypts the notices."""


class Queues(Component):
    """Who a team's jobs are, and where it is told that machines are taken away.

    A team's jobs, in the namespace `team-{team}` as the service account `trainer`, are a service account of Google Cloud that
    reads training data, keeps checkpoints in `checkpoints/{queue}/{team}` and nowhere else, and writes metrics. That machines
    were taken away is published to a topic and counted; the job itself hears SIGTERM, for GKE ends pods before the machine.

    Owns the accounts with their grants, the sink, the topic, the subscription of notices with its dead letters, and the
    metric that an alert stands on. Never owns a queue, nor the Kubernetes service account, which names the account in
    `iam.gke.io/gcp-service-account`.

    Costs cents: 40 USD a TiB of messages, 0.258 a MiB of metrics (us-central1, 2026-07). A destroy takes everything away.

    >>> checkpoints("acme-ai-dev-artifacts", "vision", ["train"])[:63]
    "resource.name.startsWith('projects/_/buckets/acme-ai-dev-artifa"
    """

    outputs: contracts.Queues
    metric: str
    """What counts machines taken away, by `method` and `zone`: `logging.googleapis.com/user/…`."""
    dead_letters: str
    """Name of the subscription of notices that nobody could take."""

    def __init__(self, name: str, args: QueuesArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the accounts and the way of notices."""
        super().__init__(name, scope, parent)
        self._args = args
        self.outputs = contracts.Queues(
            names={queue: pulumi.Output.from_input(queue) for queue in args.queues},
            identities={team: self._identity(team) for team in args.teams},
            checkpoints={
                queue: pulumi.Output.concat(args.checkpoints[plan.checkpoint_zone].uri, f"/checkpoints/{queue}")
                for queue, plan in args.queues.items()
            },
            interruptions=self._interruptions(),
        )
        self.finish(self.outputs)

    def _identity(self, team: str) -> Text:
        """E-mail of what a team's jobs run as; resolves once its pods may become it."""
        args, scope = self._args, self.scope
        grants = {
            f"read-{zone}": Grant(role="roles/storage.objectViewer", bucket=bucket.name)
            for zone, bucket in args.readable.items()
        }
        mine = [queue for queue in args.queues.values() if team in queue.teams]
        for zone in sorted({queue.checkpoint_zone for queue in mine}):
            names = sorted(queue.name for queue in mine if queue.checkpoint_zone == zone)
            grants[f"checkpoints-{zone}"] = Grant(
                role="roles/storage.objectUser",
                bucket=args.checkpoints[zone].name,
                condition=("own-checkpoints", checkpoints(scope.names.of(zone, "bucket"), team, names)),
            )
        grants["metrics"] = Grant(role="roles/monitoring.metricWriter")
        email = Workload(
            f"trainer-{team}",
            WorkloadArgs(description=f"Training jobs of the team {team}.", apis=args.apis, grants=grants),
            scope=scope,
            parent=self,
        ).outputs.id
        if args.cluster is None:
            return email
        pods = gcp.serviceaccount.IAMMember(
            f"{self.name}-{team}-pods",
            service_account_id=email.apply(lambda account: f"projects/{scope.account}/serviceAccounts/{account}"),
            role="roles/iam.workloadIdentityUser",
            member=f"serviceAccount:{scope.account}.svc.id.goog[team-{team}/trainer]",
            # The pool of identities comes with the project's first cluster: before, "Identity Pool does not exist".
            opts=self.options(depends_on=[args.cluster.resource]),
        )
        return after(email, pods)

    def _interruptions(self) -> Text:
        """Id of the subscription of notices; resolves once they arrive."""
        args, scope = self._args, self.scope
        labels = {"method": "EXTRACT(protoPayload.methodName)", "zone": "EXTRACT(resource.labels.zone)"}
        count = scope.names.of("interruptions")
        self.metric = f"logging.googleapis.com/user/{count}"
        counted = gcp.logging.Metric(
            f"{self.name}-interruptions-metric",
            name=count,
            description="Machines that were taken away.",
            filter=FILTER,
            metric_descriptor={
                "metric_kind": "DELTA",
                "value_type": "INT64",
                "unit": "1",
                "labels": [{"key": key, "value_type": "STRING"} for key in labels],
            },
            label_extractors=labels,
            project=args.apis["logging.googleapis.com"],
            opts=self.options(),
        )
        topic = self._topic("interruptions")
        sink = gcp.logging.ProjectSink(
            f"{self.name}-interruptions-sink",
            name=count,
            description="Machines that were taken away, to whoever waits for it.",
            destination=topic.id.apply(lambda id_: f"pubsub.googleapis.com/{id_}"),
            filter=FILTER,
            # An account of its own, which may publish to nothing else.
            unique_writer_identity=True,
            project=args.apis["logging.googleapis.com"],
            opts=self.options(),
        )
        publisher = self._publisher("interruptions", topic, sink.writer_identity)
        lost = self._topic("interruptions-lost")
        pubsub = agent("pubsub.googleapis.com", args.number)
        keeps = self._publisher("interruptions-lost", lost, pubsub)
        self.dead_letters = scope.names.of("interruptions-lost")
        kept = self._subscription("interruptions-lost", lost, days=7)
        notices = self._subscription("interruptions", topic, days=1, lost=after(lost.id, keeps, kept))
        moves = gcp.pubsub.SubscriptionIAMMember(
            f"{self.name}-interruptions-dead-letters",
            project=args.apis["pubsub.googleapis.com"],
            subscription=notices.name,
            # To move a message away, Pub/Sub has to take it as a subscriber does.
            role="roles/pubsub.subscriber",
            member=pubsub,
            opts=self.options(),
        )
        return after(notices.id, publisher, moves, counted)

    def _topic(self, name: str) -> gcp.pubsub.Topic:
        scope = self.scope
        return gcp.pubsub.Topic(
            f"{self.name}-{name}",
            name=scope.names.of(name, "topic"),
            project=self._args.apis["pubsub.googleapis.com"],
            kms_key_name=self._args.key.id,
            message_storage_policy={"allowed_persistence_regions": [scope.region]},
            opts=self.options(),
        )

    def _publisher(self, name: str, topic: gcp.pubsub.Topic, member: pulumi.Input[str]) -> gcp.pubsub.TopicIAMMember:
        return gcp.pubsub.TopicIAMMember(
            f"{self.name}-{name}-publisher",
            project=self._args.apis["pubsub.googleapis.com"],
            topic=topic.name,
            role="roles/pubsub.publisher",
            member=member,
            opts=self.options(),
        )

    def _subscription(
        self, name: str, topic: gcp.pubsub.Topic, *, days: int, lost: Text | None = None
    ) -> gcp.pubsub.Subscription:
        return gcp.pubsub.Subscription(
            f"{self.name}-{name}-subscription",
            name=self.scope.names.of(name, "topic"),
            project=self._args.apis["pubsub.googleapis.com"],
            topic=topic.id,
            ack_deadline_seconds=60,
            message_retention_duration=f"{days * _DAY}s",
            # By default a subscription that nothing came through for 31 days is deleted.
            expiration_policy={"ttl": ""},
            dead_letter_policy={"dead_letter_topic": lost, "max_delivery_attempts": 5} if lost is not None else None,
            opts=self.options(),
        )


def checkpoints(bucket: str, team: str, queues: list[str]) -> str:
    """The condition that an object, or a listing, is of a team's checkpoints in these queues ("IAM conditions", Cloud Storage).

    Of very many queues it is any queue's, of which the team still has its own part only; what is there, it can then list.
    """
    objects, listed = f"projects/_/buckets/{bucket}/objects/", "storage.googleapis.com/objectListPrefix"
    prefix = f"api.getAttribute('{listed}', '')"
    if len(queues) > _EXACTLY:
        return (
            f"resource.name.extract('{objects}checkpoints/{{queue}}/{team}/') != '' || "
            f"{prefix}.startsWith('checkpoints/')"
        )
    places = [f"checkpoints/{queue}/{team}/" for queue in queues]
    return " || ".join(
        [
            *(f"resource.name.startsWith('{objects}{place}')" for place in places),
            *(f"{prefix}.startsWith('{place}')" for place in places),
        ]
    )
