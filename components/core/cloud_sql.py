"""Facts of PostgreSQL on Cloud SQL: its version, its machines and flags, and what is watched of it. Without Google's SDK."""

from collections.abc import Mapping
from dataclasses import dataclass

from components.core.monitoring import Alarm, Query

API = "sqladmin.googleapis.com"
VERSION = "POSTGRES_17"
# Cloud SQL "Configure database flags"; CIS Google Cloud, 6.2. Only the first lets a service account sign in as itself.
FLAGS: Mapping[str, str] = {
    "cloudsql.iam_authentication": "on",
    "log_connections": "on",
    "log_disconnections": "on",
}
BACKUPS: Mapping[str, int] = {"delete": 7, "protect": 14, "retain": 35}
"""Daily backups that are kept, by protection."""
_GIB = 1024**3
_PERCENT = 80


@dataclass(frozen=True, kw_only=True)
class Size:
    """A machine of the Enterprise edition ("Machine types"), and how many connections it is given.

    Those are not more than Cloud SQL gives it by itself ("Configure database flags", max_connections): each takes memory.
    """

    machine: str
    connections: int


CORPORA: Mapping[str, Size] = {
    "small": Size(machine="db-custom-2-7680", connections=200),
    "medium": Size(machine="db-custom-4-15360", connections=400),
    "large": Size(machine="db-custom-8-30720", connections=600),
}
"""Sizes of the database of corpora."""
RESERVED = 20
"""Connections for Cloud SQL itself, and for whoever looks what is the matter."""


def condition(project: str, instance: str) -> str:
    """That it is one instance ("Use IAM Conditions")."""
    return f"resource.name == 'projects/{project}/instances/{instance}' && resource.type == '{API}/Instance'"


LONGEST_USER = 63
"""Characters of what a service account signs in as: PostgreSQL cuts a longer name, which is then nobody's ("Identifiers")."""
CORPORA_USERS, TRACKING_USER = ("ingestion", "retrieval"), "tracking-database-client"
"""Workloads that sign in to the database of corpora, and to that of experiments."""


def user(account: str, project: str) -> str:
    """What a service account of a project signs in as: its e-mail without the end ("Manage users with IAM").

    >>> user("acme-ai-dev-ingestion", "acme-ai-dev")
    'acme-ai-dev-ingestion@acme-ai-dev.iam'
    """
    return f"{account}@{project}.iam"


def alarms(name: str, project: str, instance: str, *, disk_gib: int, connections: int) -> list[Alarm]:
    """What is watched of an instance that may grow so far ("Cloud SQL metrics": database/cpu, /disk and /postgresql)."""
    said = f'{{monitored_resource="cloudsql_database",database_id="{project}:{instance}"}}'
    disk, most = _PERCENT * disk_gib * _GIB // 100, _PERCENT * connections // 100
    return [
        Alarm(
            name=f"{name}-disk",
            meaning=f"The database {instance} holds more than {_PERCENT} percent of what its disk may grow to, {disk_gib} GiB."
            " When it is full nothing is written any more.",
            first="Raise disk_gib; it grows without a pause. Else take out what nobody asks.",
            severity="critical",
            condition=Query(promql=f"max(cloudsql_googleapis_com:database_disk_bytes_used{said}) > {disk}"),
            minutes=15,
        ),
        Alarm(
            name=f"{name}-connections",
            meaning=f"The database {instance} has more than {most} of {connections} connections.",
            first="Who holds them: pg_stat_activity. Else a larger size, or fewer requests a second.",
            severity="warning",
            condition=Query(promql=f"sum(cloudsql_googleapis_com:database_postgresql_num_backends{said}) > {most}"),
            minutes=10,
        ),
        Alarm(
            name=f"{name}-busy",
            meaning=f"The database {instance} has used more than 90 percent of its processors for half an hour.",
            first="Query Insights: which statement. A corpus that is built anew ends by itself; else a larger size.",
            severity="warning",
            condition=Query(promql=f"max(cloudsql_googleapis_com:database_cpu_utilization{said}) > 0.9"),
            minutes=30,
        ),
    ]
