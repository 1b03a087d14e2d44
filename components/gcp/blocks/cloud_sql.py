"""PostgreSQL of Cloud SQL: an instance, and who signs in to it. Children of whichever component asks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.core import cloud_sql as facts
from components.core.google import labels
from components.gcp.blocks.workload import Grant
from components.scope import Component, Scope

_SUNDAY = 7


def sql_instance(
    owner: Component,
    physical: str,
    *,
    machine: str,
    disk_gib: int,
    max_disk_gib: int,
    flags: Mapping[str, str],
    network: contracts.Network,
    key: contracts.Key,
    project: contracts.Text,
    tags: Mapping[str, str],
) -> gcp.sql.DatabaseInstance:
    """An instance with a private address that speaks TLS only, under our key, which Cloud SQL may use by then.

    In prod it has a standby; it is protected, and keeps its backups, as the tier has it.
    """
    scope, keeps = owner.scope, not owner.scope.deletable
    settings: gcp.sql.DatabaseInstanceSettingsArgsDict = {
        "tier": machine,
        "edition": "ENTERPRISE",
        "availability_type": "REGIONAL" if scope.tier == "prod" else "ZONAL",
        "disk_type": "PD_SSD",
        "disk_size": disk_gib,
        "disk_autoresize": max_disk_gib > disk_gib,
        "disk_autoresize_limit": max_disk_gib,
        "deletion_protection_enabled": keeps,
        "retain_backups_on_delete": keeps,
        "ip_configuration": {
            "ipv4_enabled": False,
            "private_network": network.id,
            "ssl_mode": "ENCRYPTED_ONLY",
        },
        "backup_configuration": {
            "enabled": True,
            "start_time": "01:00",
            "location": scope.region,
            # A standby takes it ("About high availability").
            "point_in_time_recovery_enabled": True,
            "transaction_log_retention_days": 7,
            "backup_retention_settings": {"retained_backups": facts.BACKUPS[scope.protection]},
        },
        "maintenance_window": {"day": _SUNDAY, "hour": 3, "update_track": "stable"},
        "insights_config": {"query_insights_enabled": True, "record_client_address": True},
        "database_flags": [{"name": name, "value": value} for name, value in {**facts.FLAGS, **flags}.items()],
        "user_labels": labels(tags),
    }
    return gcp.sql.DatabaseInstance(
        f"{owner.name}-instance",
        name=physical,
        database_version=facts.VERSION,
        region=scope.region,
        project=project,
        encryption_key_name=key.id,
        settings=settings,
        deletion_protection=keeps,
        # It grows by itself, and cannot shrink again.
        opts=owner.options(holds_data=True, ignore_changes=["settings.diskSize"]),
    )


def sql_user(
    owner: Component,
    account: contracts.Text,
    *,
    instance: pulumi.Input[str],
    project: contracts.Text,
    roles: Sequence[str] = (),
) -> gcp.sql.User:
    """A service account that signs in as itself, with a token for a password; besides in roles of the database."""
    return gcp.sql.User(
        f"{owner.name}-user",
        name=account.apply(lambda email: email.removesuffix(".gserviceaccount.com")),
        type="CLOUD_IAM_SERVICE_ACCOUNT",
        instance=instance,
        database_roles=list(roles) or None,
        project=project,
        # A user that owns tables cannot be deleted; it goes with the instance.
        deletion_policy="ABANDON",
        opts=owner.options(),
    )


@dataclass(frozen=True, kw_only=True)
class Client:
    """What a function is given to sign in."""

    environment: Mapping[str, pulumi.Input[str]]
    grants: Mapping[str, Grant]


def client(server: contracts.Server | None, scope: Scope, label: str, *, reader: str | None = None) -> Client:
    """For the function of this label, where there is a database; it may let another one, `reader`, read."""
    if server is None:
        return Client(environment={}, grants={})

    def name(label: str) -> str:
        return facts.user(scope.names.of(label, "service_account"), scope.account)

    told = {"host": server.host, "authority": server.authority, "user": name(label)}
    others = {} if reader is None else {"reader": name(reader)}
    condition = ("own-database", facts.condition(scope.account, server.physical_name))
    return Client(
        environment={"DATABASE": pulumi.Output.json_dumps({**told, **others}, sort_keys=True)},
        grants={"database": Grant(role="roles/cloudsql.instanceUser", condition=condition)},
    )


def certificates(found: Sequence[Any] | None) -> str:
    r"""All that vouch for an instance: for a time there are two, when one takes the other's place.

    >>> certificates(None)
    '\n'
    """
    return "\n".join(str(each.cert).strip() for each in found or ()) + "\n"
