"""The database that holds corpora where one is asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.contracts import Text
from components.core.cloud_sql import API, CORPORA, alarms
from components.core.google import nth
from components.gcp.blocks.alarms import Alarms, AlarmsArgs
from components.gcp.blocks.cloud_sql import certificates, sql_instance
from components.scope import Component, Scope, after
from components.spec import retrieval

# Cloud SQL "Configure database flags"; CIS Google Cloud, 6.2. No statement is logged for its time, since its values would be with
# it: questions and passages.
_FLAGS: Mapping[str, str] = {"log_statement": "ddl", "log_min_duration_statement": "-1"}
_GROWS = 4
"""How many times as large as it began the disk may get."""


@dataclass(frozen=True, kw_only=True)
class DatabaseArgs:
    """How large it is, and what it holds."""

    apis: Mapping[str, Text]
    size: retrieval.Database
    corpora: Sequence[str]
    """Those that lie in it."""
    network: contracts.Network
    key: contracts.Key
    """Key of the zone of their documents: passages stand in the tables as they are. Cloud SQL may use it."""
    generation: int = 1
    """Which life of the environment this is: the name of a deleted instance is free again after a week."""
    critical: Sequence[Text] = ()
    warning: Sequence[Text] = ()
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class Database(Component):
    """PostgreSQL of Cloud SQL with a database for each corpus, on a private address, over TLS only, encrypted with our key.

    There is no password: what fills corpora and what asks them sign in as their service accounts ("IAM authentication"). What
    fills them makes the tables and owns them, and lets the other one read. pgvector is an extension that only members of
    cloudsqlsuperuser may create; it is one, of this instance alone ("Configure PostgreSQL extensions").

    Owns the instance, its databases and alerts. Never owns who signs in, the tables, the key, or the range of private addresses.

    What it holds can be built anew of the documents, in hours and for the price of the embeddings; meanwhile nobody finds
    anything. So it is protected as whatever holds data, by the tier, with its daily backups; in prod a standby takes over.

    Costs by the hour (us-central1, 2026-05): `small` 0.14 USD, `medium` 0.27, `large` 0.54, and 0.17 a GiB-month of disk; twice
    that in prod. A destroy takes it with its backups; in a tier that protects data Cloud SQL refuses, and whoever insists is
    left with the backups. A corpus that is not described any more takes its database with it; where somebody is just at work
    in it, Cloud SQL refuses, and the next `up` does it. What replaces the instance: its name, network and key.

    >>> CORPORA["small"].machine, _GROWS * 20
    ('db-custom-2-7680', 80)
    """

    outputs: contracts.Tables

    def __init__(self, name: str, args: DatabaseArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the instance, and a database for each corpus."""
        super().__init__(name, scope, parent)
        size, project = CORPORA[args.size.size], args.apis[API]
        physical = scope.names.of(nth(name, args.generation), "database")
        grown = _GROWS * args.size.disk_gib
        instance = sql_instance(
            self,
            physical,
            machine=size.machine,
            disk_gib=args.size.disk_gib,
            max_disk_gib=grown,
            flags={**_FLAGS, "max_connections": str(size.connections)},
            network=args.network,
            key=args.key,
            project=project,
            tags=args.tags,
        )
        databases = {
            corpus: gcp.sql.Database(
                f"{name}-{corpus}",
                name=scope.names.of(corpus, "database"),
                instance=instance.name,
                project=project,
                # It goes with its corpus, whatever the tier: nobody may find any more what is in it.
                opts=self.options(),
            )
            for corpus in args.corpora
        }
        Alarms(
            f"{name}-alert",
            AlarmsArgs(
                apis=args.apis,
                alarms=alarms(name, scope.account, physical, disk_gib=grown, connections=size.connections),
                critical=args.critical,
                warning=args.warning,
            ),
            scope=scope,
            parent=self,
        )
        server = contracts.Server(
            id=instance.name,
            physical_name=physical,
            databases={corpus: after(made.name, made) for corpus, made in databases.items()},
            host=instance.private_ip_address,
            # The provider takes them for a secret, which a certificate is not.
            authority=pulumi.Output.unsecret(instance.server_ca_certs).apply(certificates),
        )
        self.outputs = contracts.Tables(server=server)
        self.finish(self.outputs)
