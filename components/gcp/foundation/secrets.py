"""The environment's secrets, and the function that rotates those that the platform makes itself."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.core.calendar import next_month
from components.core.google import agent, labels
from components.gcp.blocks.workload import Grant, Workload, WorkloadArgs
from components.plan import Generated, Provided
from components.scope import Component, Scope, after

_RUNTIME = Path(__file__).parents[3] / "runtime" / "gcp"
_CODE = {"main.py": "secret_rotation.py", "requirements.txt": "requirements.txt"}
_DAY = 86_400
_WEEK = f"{7 * _DAY}s"


@dataclass(frozen=True, kw_only=True)
class SecretsArgs:
    """Which secrets there are, and what their rotation stands on."""

    apis: Mapping[str, contracts.Text]
    number: str
    """Number of the project."""
    secrets: Mapping[str, Generated | Provided]
    key: contracts.Key
    """Its replica, where there is one, lives in the scope's replica region."""
    compute_key: contracts.Key
    network: contracts.Network | None
    """Network that the function goes out by; without one it goes by Google's own."""
    logs: contracts.Text
    """Bucket that receives access logs."""
    warning: Sequence[contracts.Text] = ()
    """Channels that are told when a rotation fails."""
    recovery_days: int
    """Days in which a destroyed version can be had back; 0 where it may go at once."""


class Secrets(Component):
    """Secrets, each encrypted with our key in each of its regions; generated ones are made and rotated by a function.

    A generated value is made in the cloud and never passes through Pulumi. Secret Manager publishes that a secret was made,
    and later that its time has come; a subscription pushes that to the function, again and again until it is done, and what
    cannot be done is kept as a dead letter that the warning channels are told of.

    Owns the secrets, values that the description provides, the topics, the function with its identities, image
    repository and source. Never owns who reads a secret: people and workloads bring their own grants.

    Costs 0.06 USD a month for each version and region, 0.05 a rotation, 0.10 for the alert; the function, next to nothing
    (prices of 2026-07). A destroy takes everything away where the tier deletes data, but for the bucket `gcf-v2-sources-…`,
    which Google makes for functions and keeps; in others the secrets are refused.

    >>> endpoint("rotate", "111111111111", "us-central1")
    'https://rotate-111111111111.us-central1.run.app'
    """

    outputs: contracts.Secrets

    def __init__(self, name: str, args: SecretsArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the secrets and, where one is generated, their rotation."""
        super().__init__(name, scope, parent)
        self._args = args
        self._project = args.apis["secretmanager.googleapis.com"]
        ids = {
            secret: self._provided(secret, spec) for secret, spec in args.secrets.items() if isinstance(spec, Provided)
        }
        generated = {secret: spec for secret, spec in args.secrets.items() if isinstance(spec, Generated)}
        if generated:
            rotation = self._rotation(generated)
            ids |= {secret: self._generated(secret, spec, *rotation) for secret, spec in generated.items()}
        self.outputs = contracts.Secrets(ids=ids)
        self.finish(self.outputs)

    def _secret(self, secret: str, depends_on: Sequence[pulumi.Resource] = (), **rest: Any) -> gcp.secretmanager.Secret:
        args, scope = self._args, self.scope
        keys = {scope.region: args.key.id}
        if scope.replica_region is not None and args.key.replica is not None:
            keys[scope.replica_region] = args.key.replica
        return gcp.secretmanager.Secret(
            f"{self.name}-{secret}",
            secret_id=scope.names.of(secret, "secret"),
            project=self._project,
            replication={
                "user_managed": {
                    "replicas": [
                        {"location": location, "customer_managed_encryption": {"kms_key_name": key}}
                        for location, key in keys.items()
                    ]
                }
            },
            version_destroy_ttl=f"{args.recovery_days * _DAY}s" if args.recovery_days else None,
            deletion_protection=not scope.deletable,
            opts=self.options(
                holds_data=True,
                depends_on=depends_on,
                # Secret Manager moves it on with every rotation.
                ignore_changes=["rotation.nextRotationTime"] if "rotation" in rest else [],
            ),
            **rest,
        )

    def _provided(self, secret: str, spec: Provided) -> contracts.Text:
        made = self._secret(secret)
        if spec.value is None:
            return made.id
        version = gcp.secretmanager.SecretVersion(
            f"{self.name}-{secret}-value",
            secret=made.id,
            secret_data=spec.value,
            opts=self.options(holds_data=True),
        )
        return after(made.id, version)

    def _generated(
        self,
        secret: str,
        spec: Generated,
        topic: contracts.Text,
        rotator: contracts.Text,
        subscription: pulumi.Resource,
    ) -> contracts.Text:
        made = self._secret(
            secret,
            # The message that it was made is sent once: somebody has to be listening.
            depends_on=[subscription],
            topics=[{"name": topic}],
            rotation={
                "rotation_period": f"{spec.rotation_days * _DAY}s",
                "next_rotation_time": f"{next_month(self.scope.today)}T00:00:00Z",
            },
        )
        grant = gcp.secretmanager.SecretIamMember(
            f"{self.name}-{secret}-rotation",
            project=self._project,
            secret_id=made.id,
            # Adds, lists and destroys versions, and reads none.
            role="roles/secretmanager.secretVersionManager",
            member=rotator.apply(lambda email: f"serviceAccount:{email}"),
            opts=self.options(),
        )
        return after(made.id, grant)

    def _rotation(
        self, generated: Mapping[str, Generated]
    ) -> tuple[contracts.Text, contracts.Text, gcp.pubsub.Subscription]:
        """The topic that Secret Manager publishes to, the identity of the function, and what brings one to the other."""
        rotator = self._identity("rotation", "Rotates generated secrets.", {})
        caller = self._identity("rotation-push", "Brings messages to the function that rotates secrets.", {})
        function = self._function(generated, rotator)
        topic = self._topic("secret-events", "secretmanager.googleapis.com")
        subscription = self._subscription(topic, function, caller)
        return topic, rotator, subscription

    def _identity(self, name: str, description: str, grants: Mapping[str, Grant]) -> contracts.Text:
        args = WorkloadArgs(description=description, apis=self._args.apis, grants=grants)
        return Workload(name, args, scope=self.scope, parent=self).outputs.id

    def _topic(self, topic: str, publisher: str) -> contracts.Text:
        """Id of a topic; resolves once the service may publish to it."""
        scope, project = self.scope, self._args.apis["pubsub.googleapis.com"]
        made = gcp.pubsub.Topic(
            f"{self.name}-{topic}",
            name=scope.names.of(topic, "topic"),
            project=project,
            kms_key_name=self._args.key.id,
            message_storage_policy={"allowed_persistence_regions": [scope.region]},
            opts=self.options(),
        )
        grant = gcp.pubsub.TopicIAMMember(
            f"{self.name}-{topic}-publisher",
            project=project,
            topic=made.name,
            role="roles/pubsub.publisher",
            member=agent(publisher, self._args.number),
            opts=self.options(),
        )
        return after(made.id, grant)

    def _subscription(
        self, topic: contracts.Text, function: gcp.cloudfunctionsv2.Function, caller: contracts.Text
    ) -> gcp.pubsub.Subscription:
        args, scope, project = self._args, self.scope, self._args.apis["pubsub.googleapis.com"]
        invoker = gcp.cloudrunv2.ServiceIamMember(
            f"{self.name}-rotation-invoker",
            project=args.apis["run.googleapis.com"],
            location=scope.region,
            # A function is a service of Cloud Run with the same name.
            name=function.name,
            role="roles/run.invoker",
            member=caller.apply(lambda email: f"serviceAccount:{email}"),
            opts=self.options(),
        )
        failed = self._dead_letters()
        url = endpoint(self._function_name, args.number, scope.region)
        subscription = gcp.pubsub.Subscription(
            f"{self.name}-rotation",
            name=scope.names.of("secret-rotation", "topic"),
            project=project,
            topic=topic,
            filter='attributes.eventType = "SECRET_CREATE" OR attributes.eventType = "SECRET_ROTATE"',
            push_config={
                "push_endpoint": after(url, function, invoker),
                "oidc_token": {"service_account_email": caller, "audience": url},
            },
            ack_deadline_seconds=120,
            message_retention_duration=_WEEK,
            # By default a subscription that nothing came through for 31 days is deleted.
            expiration_policy={"ttl": ""},
            # A new secret's grant takes some minutes to be known everywhere.
            retry_policy={"minimum_backoff": "30s", "maximum_backoff": "600s"},
            dead_letter_policy={"dead_letter_topic": failed, "max_delivery_attempts": 20},
            opts=self.options(),
        )
        gcp.pubsub.SubscriptionIAMMember(
            f"{self.name}-rotation-dead-letters",
            project=project,
            subscription=subscription.name,
            # To move a message away, Pub/Sub has to take it as a subscriber does.
            role="roles/pubsub.subscriber",
            member=agent("pubsub.googleapis.com", args.number),
            opts=self.options(),
        )
        return subscription

    def _dead_letters(self) -> contracts.Text:
        """The topic of messages that could not be handled, kept for a week, with an alert."""
        args, scope, project = self._args, self.scope, self._args.apis["pubsub.googleapis.com"]
        topic = self._topic("secret-rotation-failed", "pubsub.googleapis.com")
        name = scope.names.of("secret-rotation-failed", "topic")
        kept = gcp.pubsub.Subscription(
            f"{self.name}-rotation-failed",
            name=name,
            project=project,
            topic=topic,
            message_retention_duration=_WEEK,
            expiration_policy={"ttl": ""},
            opts=self.options(),
        )
        gcp.monitoring.AlertPolicy(
            f"{self.name}-rotation-failed-alert",
            display_name=f"{scope.environment}: a secret was not rotated",
            combiner="OR",
            severity="WARNING",
            conditions=[
                {
                    "display_name": "A message could not be handled",
                    "condition_threshold": {
                        "filter": kept.name.apply(
                            lambda subscription: (
                                'resource.type = "pubsub_subscription"'
                                f' AND resource.labels.subscription_id = "{subscription}"'
                                ' AND metric.type = "pubsub.googleapis.com/subscription/num_undelivered_messages"'
                            )
                        ),
                        "comparison": "COMPARISON_GT",
                        "threshold_value": 0,
                        "duration": "0s",
                        "aggregations": [{"alignment_period": "300s", "per_series_aligner": "ALIGN_MAX"}],
                    },
                }
            ],
            documentation={
                "mime_type": "text/markdown",
                "content": f"The message lies in the subscription `{name}`; the function's log says why.",
            },
            notification_channels=list(args.warning),
            user_labels=labels(scope.tags),
            project=args.apis["monitoring.googleapis.com"],
            opts=self.options(),
        )
        return topic

    @property
    def _function_name(self) -> str:
        return self.scope.names.of("secret-rotation", "run_service")

    def _function(self, generated: Mapping[str, Generated], rotator: contracts.Text) -> gcp.cloudfunctionsv2.Function:
        args, scope = self._args, self.scope
        bucket, source = self._source()
        repository = self._repository()
        builder = self._builder(bucket, repository)
        network: gcp.cloudfunctionsv2.FunctionServiceConfigArgsDict = {}
        if args.network is not None:
            network = {
                "direct_vpc_egress": "VPC_EGRESS_ALL_TRAFFIC",
                "direct_vpc_network_interfaces": [
                    {"network": args.network.id, "subnetwork": args.network.workload_subnets[0]}
                ],
            }
        return gcp.cloudfunctionsv2.Function(
            f"{self.name}-rotation",
            name=self._function_name,
            description="Makes and rotates generated secrets.",
            project=args.apis["cloudfunctions.googleapis.com"],
            location=scope.region,
            kms_key_name=args.compute_key.id,
            build_config={
                "runtime": "python313",
                "entry_point": "rotate",
                "source": {"storage_source": {"bucket": bucket, "object": source}},
                "docker_repository": repository.id,
                # Else it is built as the default account, which may edit the whole project.
                "service_account": builder.apply(lambda email: f"projects/{scope.account}/serviceAccounts/{email}"),
            },
            service_config={
                "service_account_email": rotator,
                "available_memory": "256M",
                "timeout_seconds": 60,
                "min_instance_count": 0,
                # One message at a time, so that the same one delivered twice at once makes no two versions.
                "max_instance_count": 1,
                "max_instance_request_concurrency": 1,
                "ingress_settings": "ALLOW_INTERNAL_ONLY",
                "all_traffic_on_latest_revision": True,
                "environment_variables": {
                    "LENGTHS": json.dumps(
                        {scope.names.of(secret, "secret"): spec.length for secret, spec in sorted(generated.items())}
                    )
                },
                **network,
            },
            opts=self.options(),
        )

    def _source(self) -> tuple[contracts.Text, contracts.Text]:
        """The bucket and the object that the function is built from."""
        args, scope = self._args, self.scope
        texts = {name: (_RUNTIME / file).read_text(encoding="utf-8") for name, file in _CODE.items()}
        digest = hashlib.sha256(json.dumps(texts, sort_keys=True).encode()).hexdigest()[:16]
        bucket = gcp.storage.Bucket(
            f"{self.name}-source",
            name=scope.names.of("function-source", "bucket"),
            project=args.apis["storage.googleapis.com"],
            location=scope.region.upper(),
            uniform_bucket_level_access=True,
            public_access_prevention="enforced",
            versioning={"enabled": True},
            encryption={"default_kms_key_name": args.compute_key.id},
            soft_delete_policy={"retention_duration_seconds": 0},
            lifecycle_rules=[
                {"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": 7}},
                {
                    "action": {"type": "Delete"},
                    "condition": {"days_since_noncurrent_time": 30, "with_state": "ARCHIVED"},
                },
            ],
            logging={"log_bucket": args.logs, "log_object_prefix": "access/function-source"},
            force_destroy=scope.deletable,
            opts=self.options(holds_data=True),
        )
        source = gcp.storage.BucketObject(
            f"{self.name}-source-rotation",
            bucket=bucket.name,
            # By content: a new object is what makes a new build.
            name=f"secret-rotation-{digest}.zip",
            source=pulumi.AssetArchive({name: pulumi.StringAsset(text) for name, text in texts.items()}),
            opts=self.options(),
        )
        return bucket.name, source.name

    def _repository(self) -> gcp.artifactregistry.Repository:
        scope = self.scope
        return gcp.artifactregistry.Repository(
            f"{self.name}-images",
            repository_id=scope.names.of("functions", "compute"),
            description="Images of functions.",
            format="DOCKER",
            mode="STANDARD_REPOSITORY",
            location=scope.region,
            project=self._args.apis["artifactregistry.googleapis.com"],
            # The same key as the function's: so Google demands.
            kms_key_name=self._args.compute_key.id,
            cleanup_policies=[
                {"id": "keep-newest", "action": "KEEP", "most_recent_versions": {"keep_count": 5}},
                {"id": "drop-old", "action": "DELETE", "condition": {"older_than": f"{30 * _DAY}s"}},
            ],
            opts=self.options(holds_data=True),
        )

    def _builder(self, bucket: contracts.Text, repository: gcp.artifactregistry.Repository) -> contracts.Text:
        args, scope = self._args, self.scope
        # Cloud Run functions copies the source into a bucket of its own before it builds.
        copies = f"projects/_/buckets/gcf-v2-sources-{args.number}-{scope.region}"
        return self._identity(
            "rotation-build",
            "Builds the function that rotates secrets.",
            {
                "logs": Grant(role="roles/logging.logWriter"),
                "source": Grant(role="roles/storage.objectViewer", bucket=bucket),
                "copies": Grant(
                    role="roles/storage.objectViewer",
                    condition=("sources-of-functions", f"resource.name.startsWith('{copies}')"),
                ),
                "images": Grant(role="roles/artifactregistry.writer", repository=(scope.region, repository.name)),
            },
        )


def endpoint(service: str, number: str, region: str) -> str:
    """Where a service of Cloud Run listens, in the project of this number ("Invoke with an HTTPS request", deterministic URL)."""
    return f"https://{service}-{number}.{region}.run.app"
