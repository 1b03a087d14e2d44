"""The database behind a tracking server of our own, and what that server may do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.core.cloud_sql import API, condition
from components.core.google import nth
from components.gcp.blocks.cloud_sql import certificates, sql_instance, sql_user
from components.gcp.blocks.workload import Grant, Workload, WorkloadArgs
from components.scope import Component, Scope, after

_NAME = "mlflow"
_ARTIFACTS = "mlflow/"
"""Prefix of the artifacts of runs in their zone."""
# Cloud SQL "Machine types", Enterprise edition: vCPUs and MiB.
_MACHINES: Mapping[str, str] = {
    "small": "db-custom-1-3840",
    "medium": "db-custom-2-7680",
    "large": "db-custom-4-15360",
}
_FLAGS: Mapping[str, str] = {"log_min_duration_statement": "1000"}


@dataclass(frozen=True, kw_only=True)
class DatabaseArgs:
    """How large it is, where it lies, and for whom it is."""

    apis: Mapping[str, contracts.Text]
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
    """Encrypts the database; Cloud SQL may use it."""
    generation: int
    """Which life of the environment this is: the name of a deleted instance is free again after a week."""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class Database(Component):
    """PostgreSQL of Cloud SQL for one server, on a private address of the network, over TLS only, encrypted with our key.

    There is no password: the server signs in as its service account, with a token that lives for an hour ("IAM
    authentication"). What vouches for the instance is handed on, so that the server can tell it from another.

    Owns the instance, its database and user, and the server's service account with the rights to sign in and to its artifacts,
    and which pods are that account. Never owns the bucket, the key, the range of
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
        project = args.apis[API]
        instance = sql_instance(
            self,
            self._physical,
            machine=_MACHINES[args.size],
            disk_gib=args.disk_gib,
            max_disk_gib=args.max_disk_gib,
            flags=_FLAGS,
            network=args.network,
            key=args.key,
            project=project,
            tags=args.tags,
        )
        account = self._identity()
        # In a database that the API made, this role owns what everybody shares, where since PostgreSQL 15 nobody else can make a
        # table ("About PostgreSQL users and roles").
        user = sql_user(self, account, instance=instance.name, project=project, roles=["cloudsqlsuperuser"])
        database = gcp.sql.Database(
            f"{name}-contents",
            name=_NAME,
            instance=instance.name,
            project=project,
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
            authority=pulumi.Output.unsecret(instance.server_ca_certs).apply(certificates),
            reach=args.network.cidr,
            identity=after(account, pods),
            artifacts=pulumi.Output.concat(args.bucket.uri, f"/{_ARTIFACTS.rstrip('/')}"),
        )
        self.finish(self.outputs)

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
