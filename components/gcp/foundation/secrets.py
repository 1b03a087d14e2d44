"""The environment's secrets, and the function that rotates those that the platform makes itself."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.core.calendar import next_month
from components.core.google import agent
from components.core.monitoring import Alarm
from components.core.watching import undelivered
from components.gcp.blocks.alarms import Alarms, AlarmsArgs
from components.gcp.blocks.inbox import Inbox, InboxArgs
from components.gcp.blocks.worker import Worker, WorkerArgs
from components.gcp.blocks.workload import Workload, WorkloadArgs
from components.plan import Generated, Provided
from components.scope import Component, Scope, after

_DAY = 86_400


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

    >>> from datetime import date
    >>> next_month(date(2026, 11, 21)).isoformat()  # when the first rotation is
    '2026-12-01'
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

    def _secret(self, secret: str, **rest: Any) -> gcp.secretmanager.Secret:
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
        self, secret: str, spec: Generated, topic: contracts.Text, rotator: contracts.Text
    ) -> contracts.Text:
        made = self._secret(
            secret,
            # The message that it was made is sent once; by the time that there is the topic, somebody listens.
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

    def _rotation(self, generated: Mapping[str, Generated]) -> tuple[contracts.Text, contracts.Text]:
        """The topic that Secret Manager publishes to, with somebody who listens, and the identity of the function."""
        args, scope = self._args, self.scope
        pushing = WorkloadArgs(
            description="Brings messages to the function that rotates secrets.", apis=args.apis, grants={}
        )
        caller = Workload("rotation-push", pushing, scope=scope, parent=self).outputs.id
        worker = Worker(
            f"{self.name}-rotation",
            WorkerArgs(
                apis=args.apis,
                number=args.number,
                label="secret-rotation",
                module="secret_rotation",
                entry="rotate",
                others=[],
                requirements="requirements.txt",
                description="Makes and rotates generated secrets.",
                memory="256M",
                timeout_seconds=60,
                # One message at a time, so that the same one delivered twice at once makes no two versions.
                at_once=1,
                instances=1,
                environment={
                    "LENGTHS": json.dumps(
                        {scope.names.of(secret, "secret"): spec.length for secret, spec in sorted(generated.items())}
                    )
                },
                # Each secret brings its own.
                grants={},
                callers={"push": caller},
                network=args.network,
                compute_key=args.compute_key,
                logs=args.logs,
            ),
            scope=scope,
            parent=self,
        )
        inbox = Inbox(
            f"{self.name}-events",
            InboxArgs(
                apis=args.apis,
                number=args.number,
                label="secret-rotation",
                key=args.key,
                publishers={"secrets": agent("secretmanager.googleapis.com", args.number)},
                address=worker.outputs.id.apply(lambda _: worker.address),
                audience=worker.address,
                bringer=caller,
                seconds=120,
                # A new secret's grant takes some minutes to be known everywhere.
                tries=20,
                filter='attributes.eventType = "SECRET_CREATE" OR attributes.eventType = "SECRET_ROTATE"',
            ),
            scope=scope,
            parent=self,
        ).outputs
        self._watch(inbox.failed)
        return inbox.topic, worker.outputs.identity

    def _watch(self, failed: str) -> None:
        alarm = Alarm(
            name="secret-rotation-failed",
            meaning="A generated secret was not rotated.",
            first=f"The log of the function says why; the message lies in the subscription {failed} for a week.",
            severity="warning",
            condition=undelivered(failed),
            minutes=0,
        )
        told = list(self._args.warning)
        Alarms(
            f"{self.name}-rotation-alert",
            AlarmsArgs(apis=self._args.apis, alarms=[alarm], critical=told, warning=told),
            scope=self.scope,
            parent=self,
        )
