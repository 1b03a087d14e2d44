"""The database behind a tracking server of our own, and what that server may do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.core.google import agent, labels, nth
from components.gcp.blocks.workload import Grant, Workload, WorkloadArgs
from components.scope import Component, Scope, after

_API = "sqladmin.googleapis.com"
_NAME = "mlflow"
_ARTIFACTS = "mlflow/"
"""Prefix of the artifacts of runs in their zone."""
_VERSION = "POSTGRES_17"
# Cloud SQL "Machine types", Enterprise edition: vCPUs and MiB.
_MACHINES: Mapping[str, str] = {
    "small": "db-custom-1-3840",
    "medium": "db-custom-2-7680",
    "large": "db-custom-4-15360",
}
# Cloud SQL "Configure database flags"; CIS Google Cloud, 6.2. Only the first lets a service account sign in as itself.
_FLAGS: Mapping[str, str] = {
    "cloudsql.iam_authentication": "on",
    "log_connections": "on",
    "log_disconnections": "on",
    "log_min_duration_statement": "1000",
}
_BACKUPS: Mapping[str, int] = {"delete": 7, "protect": 14, "retain": 35}
"""Daily backups that are kept, by protection."""
_SUNDAY = 7


@dataclass(frozen=True, kw_only=True)
class DatabaseArgs:
    """How large it is, where it lies, and for whom it is."""

    apis: Mapping[str, contracts.Text]
    number: str
    """Number of the project."""
    size: Literal["small", "medium", "large"]
    disk_gib: int
    max_disk_gib: int
    network: contracts.Network
    cluster: contracts.Cluster
    pod: tuple[str, str]
    """Namespace and service account of the server."""
    bucket: contracts.Storage
    """Zone of the artifacts."""
    zone: str
    """Name of that zone."""
    key: contracts.Key
    """Encrypts the database."""
    generation: int
    """Which life of the environment this is: the name of a deleted instance is free again after a week."""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class Database(Component):
    """PostgreSQL of Cloud SQL for one server, on a private address of the network, over TLS only, encrypted with our key.

    There is no password: the server signs in as its service account, with a token that lives for an hour ("IAM
    authentication"). What vouches for the instance is handed on, so that the server can tell it from another.

    Owns the instance, its database and user, the right of Cloud SQL's agent to the key, and the server's service account with
    the rights to sign in and to its artifacts, and which pods are that account. Never owns the bucket, the key, the range of
    private addresses, or what is in the database.

    Costs by the hour (us-central1, 2026): `small` 0.07 USD, `medium` 0.14, `large` 0.27, twice that in prod with its standby;
    0.17 a GiB-month of disk. A destroy takes it with its backups; in a tier that protects data Cloud SQL refuses, and whoever
    insists is left with the backups. What replaces it: its name, network and key.

    >>> condition("acme", "tracking")
    "resource.name == 'projects/acme/instances/tracking' && resource.type == 'sqladmin.googleapis.com/Instance'"
    """

    outputs: contracts.Database

    def __init__(self, name: str, args: DatabaseArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the instance, and the identity of who uses it."""
        super().__init__(name, scope, parent)
        self._args = args
        self._physical = scope.names.of(nth(name, args.generation), "database")
        instance = self._instance()
        account = self._identity()
        # In a database that the API made, this role owns what everybody shares, where since PostgreSQL 15 nobody else can make a
        # table ("About PostgreSQL users and roles").
        user = gcp.sql.User(
            f"{name}-user",
            name=account.apply(lambda email: email.removesuffix(".gserviceaccount.com")),
            type="CLOUD_IAM_SERVICE_ACCOUNT",
            instance=instance.name,
            database_roles=["cloudsqlsuperuser"],
            project=args.apis[_API],
            # A user that owns tables cannot be deleted; it goes with the instance.
            deletion_policy="ABANDON",
            opts=self.options(),
        )
        database = gcp.sql.Database(
            f"{name}-contents",
            name=_NAME,
            instance=instance.name,
            project=args.apis[_API],
            deletion_policy="ABANDON",
            opts=self.options(holds_data=True),
        )
        pods = gcp.serviceaccount.IAMMember(
            f"{name}-pods",
            service_account_id=account.apply(lambda email: f"projects/{scope.account}/serviceAccounts/{email}"),
            role="roles/iam.workloadIdentityUser",
            member=f"serviceAccount:{scope.account}.svc.id.goog[{'/'.join(args.pod)}]",
            # The pool of identities comes with the project's first cluster: before, "Identity Pool does not exist".
            opts=self.options(depends_on=[args.cluster.resource]),
        )
        self.outputs = contracts.Database(
            host=after(instance.private_ip_address, user, database),
            name=_NAME,
            user=user.name,
            secret=None,
            # The provider takes them for a secret, which a certificate is not.
            authority=pulumi.Output.unsecret(instance.server_ca_certs).apply(_certificates),
            reach=args.network.cidr,
            identity=after(account, pods),
            artifacts=pulumi.Output.concat(args.bucket.uri, f"/{_ARTIFACTS.rstrip('/')}"),
        )
        self.finish(self.outputs)

    def _instance(self) -> gcp.sql.DatabaseInstance:
        args, scope, keeps = self._args, self.scope, not self.scope.deletable
        identity = gcp.projects.ServiceIdentity(
            f"{self.name}-agent", project=args.apis[_API], service=_API, opts=self.options()
        )
        grant = gcp.kms.CryptoKeyIAMMember(
            f"{self.name}-key",
            crypto_key_id=args.key.id,
            role="roles/cloudkms.cryptoKeyEncrypterDecrypter",
            member=agent(_API, args.number),
            opts=self.options(depends_on=[identity]),
        )
        settings: gcp.sql.DatabaseInstanceSettingsArgsDict = {
            "tier": _MACHINES[args.size],
            "edition": "ENTERPRISE",
            "availability_type": "REGIONAL" if scope.tier == "prod" else "ZONAL",
            "disk_type": "PD_SSD",
            "disk_size": args.disk_gib,
            "disk_autoresize": args.max_disk_gib > args.disk_gib,
            "disk_autoresize_limit": args.max_disk_gib,
            "deletion_protection_enabled": keeps,
            "retain_backups_on_delete": keeps,
            "ip_configuration": {
                "ipv4_enabled": False,
                "private_network": args.network.id,
                "ssl_mode": "ENCRYPTED_ONLY",
            },
            "backup_configuration": {
                "enabled": True,
                "start_time": "01:00",
                "location": scope.region,
                "point_in_time_recovery_enabled": True,
                "transaction_log_retention_days": 7,
                "backup_retention_settings": {"retained_backups": _BACKUPS[scope.protection]},
            },
            "maintenance_window": {"day": _SUNDAY, "hour": 3, "update_track": "stable"},
            "insights_config": {"query_insights_enabled": True, "record_client_address": True},
            "database_flags": [{"name": name, "value": value} for name, value in _FLAGS.items()],
            "user_labels": labels(args.tags),
        }
        return gcp.sql.DatabaseInstance(
            f"{self.name}-instance",
            name=self._physical,
            database_version=_VERSION,
            region=scope.region,
            project=args.apis[_API],
            encryption_key_name=args.key.id,
            settings=settings,
            deletion_protection=keeps,
            # It grows by itself, and cannot shrink again.
            opts=self.options(holds_data=True, depends_on=[grant], ignore_changes=["settings.diskSize"]),
        )

    def _identity(self) -> contracts.Text:
        """The service account of the server: it signs in to this instance, and keeps what lies under its prefix."""
        args, scope = self._args, self.scope
        objects = f"projects/_/buckets/{scope.names.of(args.zone, 'bucket')}/objects/{_ARTIFACTS}"
        listed = "api.getAttribute('storage.googleapis.com/objectListPrefix', '')"
        artifacts = f"resource.name.startsWith('{objects}') || {listed}.startsWith('{_ARTIFACTS}')"
        return Workload(
            f"{self.name}-client",
            WorkloadArgs(
                description="Records experiments in a database, and their artifacts in a bucket.",
                apis=args.apis,
                grants={
                    "sign-in": Grant(
                        role="roles/cloudsql.instanceUser",
                        condition=("own-database", condition(scope.account, self._physical)),
                    ),
                    "artifacts": Grant(
                        role="roles/storage.objectUser",
                        bucket=args.bucket.name,
                        condition=("own-artifacts", artifacts),
                    ),
                },
            ),
            scope=scope,
            parent=self,
        ).outputs.id


def _certificates(found: Sequence[Any] | None) -> str:
    """All that vouch for an instance: for a time there are two, when one takes the other's place."""
    return "\n".join(str(each.cert).strip() for each in found or ()) + "\n"


def condition(project: str, instance: str) -> str:
    """That it is one instance of Cloud SQL ("Use IAM Conditions")."""
    return f"resource.name == 'projects/{project}/instances/{instance}' && resource.type == '{_API}/Instance'"
