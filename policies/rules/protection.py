"""That a destroy, or a line too many, does not lose data."""

from collections.abc import Mapping

from policies.context import is_prod
from policies.model import Graph, Resource
from policies.rule import Found, resource_rule
from policies.stateful import HOLDS_DATA, leads_elsewhere

LOG_GROUP = "aws:cloudwatch/logGroup:LogGroup"
LOG_BUCKET = "gcp:logging/projectBucketConfig:ProjectBucketConfig"
MIN_LOG_DAYS = 365
"""FSBP CloudWatch.16 and CKV_AWS_338."""

# The clouds' own refusal to delete, and whether it holds where nothing is said (EKS API, CreateCluster; RDS API, CreateDBCluster
# and CreateDBInstance; hashicorp/google, container_cluster and sql_database_instance: deletion_protection; Notebooks API,
# Instance).
_REFUSALS: Mapping[str, tuple[str, bool]] = {
    "aws:eks/cluster:Cluster": ("deletionProtection", False),
    "aws:rds/cluster:Cluster": ("deletionProtection", False),
    "aws:rds/instance:Instance": ("deletionProtection", False),
    "gcp:container/cluster:Cluster": ("deletionProtection", True),
    "gcp:sql/databaseInstance:DatabaseInstance": ("deletionProtection", True),
    "gcp:workbench/instance:Instance": ("enableDeletionProtection", False),
}


@resource_rule(
    "prod-protection",
    title="In prod, what holds data is protected and outlives the program",
    types=tuple(sorted(HOLDS_DATA)),
    severity="critical",
    why="One destroy in the wrong terminal, or one renamed line, deletes the data and the keys that it is readable with.",
    remedy="protection.data: retain, and options(holds_data=True) in the component.",
    controls={
        "soc2": ("A1.2", "CC7.5"),
        "iso-27001": ("A.5.33", "A.8.13"),
        "gdpr": ("32",),
        "eu-ai-act": ("10",),
    },
)
def prod_protection(resource: Resource, graph: Graph) -> Found:
    """Pulumi's own protection, and the switches of a provider that would empty a bucket or drop a secret at once."""
    if not is_prod(graph) or leads_elsewhere(resource):
        return
    if not resource.protect:
        yield "it is not protected"
    if not resource.retain_on_delete and "retain_on_delete" not in graph.untold:
        yield "it is deleted when it leaves the program"
    if resource.get("forceDestroy", False) is not False:
        yield "it may be deleted with everything in it"
    if resource.get("forceDelete", False) is not False:
        yield "it may be deleted with every image in it"
    if resource.get("recoveryWindowInDays", 30) == 0:
        yield "it is deleted at once, without a time to have it back"
    if resource.get("retentionPolicy.homeEfsFileSystem", "Retain") == "Delete":
        yield "its users' files go with it"
    switch, default = _REFUSALS.get(resource.type, ("", True))
    if switch and resource.get(switch, default) is not True:
        yield "the cloud deletes it for whoever asks"


@resource_rule(
    "prod-log-retention",
    title="In prod, logs are kept for a year or longer",
    types=(LOG_GROUP, LOG_BUCKET),
    severity="medium",
    why="Half of all intrusions are found months later.",
    remedy="logs.retention_days: 365 or more.",
    controls={"soc2": ("CC7.2", "CC7.3"), "iso-27001": ("A.5.28", "A.8.15"), "eu-ai-act": ("12",)},
)
def prod_log_retention(resource: Resource, graph: Graph) -> Found:
    """A term that is missing is `log-retention`'s concern; on Google Cloud it is 30 days (Cloud Logging, "Quotas")."""
    days = resource.get("retentionDays", 30) if resource.type == LOG_BUCKET else resource.get("retentionInDays", 0)
    if is_prod(graph) and isinstance(days, int | float) and 0 < days < MIN_LOG_DAYS:
        yield f"it keeps {days:g} days"
