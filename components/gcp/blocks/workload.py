"""The identity of one workload."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.scope import Component, Scope, after


@dataclass(frozen=True, kw_only=True)
class Grant:
    """A role on one thing: on the project, where no other is named."""

    role: pulumi.Input[str]
    bucket: contracts.Text | None = None
    repository: tuple[str, contracts.Text] | None = None
    """Location and name of a repository of Artifact Registry."""
    table: tuple[contracts.Text, contracts.Text] | None = None
    """Data set and table of BigQuery."""
    condition: tuple[str, str] | None = None
    """Title and expression; on the project or a bucket."""


def connect(entry: contracts.Entry) -> Grant:
    """The right to connect to a cache, and to no other ("Manage permissions for IAM authentication", Memorystore for Valkey)."""
    return Grant(
        role="roles/memorystore.dbConnectionUser", condition=("its-cache", f'resource.name == "{entry.resource}"')
    )


def email(name: str, scope: Scope) -> str:
    """What the account of a workload is called, known before it is there."""
    return f"{scope.names.of(name, 'service_account')}@{scope.account}.iam.gserviceaccount.com"


@dataclass(frozen=True, kw_only=True)
class WorkloadArgs:
    """What one workload is and may do."""

    description: str
    """At most 256 characters."""
    apis: Mapping[str, contracts.Text]
    grants: Mapping[str, Grant]
    """All that it may do, each by a name that is stable."""


class Workload(Component):
    """A service account for one workload, with just the roles given.

    Owns the account and its grants, each additive: nobody else's grant is ever taken away. Never owns a key: nothing of
    ours has one. Costs nothing; a destroy takes it away, after whatever uses `outputs.id`, since that resolves only
    once the grants are there. The id of a deleted account is free for a new one at once, but its grants do not come back.

    >>> Grant(role="roles/logging.logWriter").bucket is None
    True
    """

    outputs: contracts.Workload

    def __init__(self, name: str, args: WorkloadArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the account and its grants."""
        super().__init__(name, scope, parent)
        self._args = args
        identity = gcp.serviceaccount.Account(
            f"{name}-account",
            account_id=scope.names.of(name, "service_account"),
            display_name=scope.names.of(name),
            description=args.description,
            project=args.apis["iam.googleapis.com"],
            opts=self.options(),
        )
        grants = [self._grant(label, grant, identity) for label, grant in args.grants.items()]
        self.outputs = contracts.Workload(id=after(identity.email, *grants))
        self.finish(self.outputs)

    def _grant(self, label: str, grant: Grant, identity: gcp.serviceaccount.Account) -> pulumi.Resource:
        name, member, opts = f"{self.name}-{label}", identity.member, self.options()
        title, expression = grant.condition or (None, None)
        if grant.bucket is not None:
            return gcp.storage.BucketIAMMember(
                name,
                bucket=grant.bucket,
                role=grant.role,
                member=member,
                condition={"title": title, "expression": expression} if title and expression else None,
                opts=opts,
            )
        if grant.repository is not None:
            location, repository = grant.repository
            return gcp.artifactregistry.RepositoryIamMember(
                name,
                project=self._args.apis["artifactregistry.googleapis.com"],
                location=location,
                repository=repository,
                role=grant.role,
                member=member,
                opts=opts,
            )
        if grant.table is not None:
            dataset, table = grant.table
            return gcp.bigquery.IamMember(
                name,
                project=self._args.apis["bigquery.googleapis.com"],
                dataset_id=dataset,
                table_id=table,
                role=grant.role,
                member=member,
                opts=opts,
            )
        return gcp.projects.IAMMember(
            name,
            project=self._args.apis["cloudresourcemanager.googleapis.com"],
            role=grant.role,
            member=member,
            condition={"title": title, "expression": expression} if title and expression else None,
            opts=opts,
        )
