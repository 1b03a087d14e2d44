"""Caches: who gets in, how, and from where."""

from policies.context import items, mapping, maps
from policies.model import Graph, Resource
from policies.rule import Found, resource_rule

SERVERLESS = "aws:elasticache/serverlessCache:ServerlessCache"
REPLICATION_GROUP = "aws:elasticache/replicationGroup:ReplicationGroup"
CLUSTER = "aws:elasticache/cluster:Cluster"
USER = "aws:elasticache/user:User"
USER_GROUP = "aws:elasticache/userGroup:UserGroup"
MEMORYSTORE = "gcp:memorystore/instance:Instance"
REDIS = "gcp:redis/instance:Instance"
REDIS_CLUSTER = "gcp:redis/cluster:Cluster"


@resource_rule(
    "cache-encrypted-in-transit",
    title="A cache speaks TLS",
    types=(REPLICATION_GROUP, CLUSTER, MEMORYSTORE, REDIS, REDIS_CLUSTER),
    severity="high",
    why="A cache of answers holds what people asked; without TLS it is read, and changed, on the way.",
    remedy="transit_encryption_enabled; SERVER_AUTHENTICATION on Google Cloud.",
    controls={
        "aws-fsbp": ("ElastiCache.5",),
        "soc2": ("CC6.7",),
        "iso-27001": ("A.8.24",),
        "gdpr": ("32",),
    },
)
def cache_encrypted_in_transit(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """A serverless cache of ElastiCache knows nothing else."""
    if resource.type in {REPLICATION_GROUP, CLUSTER}:
        member = resource.type == CLUSTER and resource.get("replicationGroupId")
        if not member and resource.get("transitEncryptionEnabled") is not True:
            yield "it speaks in clear"
        if resource.get("transitEncryptionMode", "required") != "required":
            yield "it speaks in clear to whoever wants it"
    elif str(resource.get("transitEncryptionMode")) not in {
        "SERVER_AUTHENTICATION",
        "TRANSIT_ENCRYPTION_MODE_SERVER_AUTHENTICATION",
    }:
        yield "it speaks in clear"


@resource_rule(
    "cache-authenticated",
    title="A cache asks who comes",
    types=(SERVERLESS, REPLICATION_GROUP, USER, USER_GROUP, MEMORYSTORE, REDIS, REDIS_CLUSTER),
    severity="high",
    why="By default whoever reaches the port reads every answer, and puts his own in their place.",
    remedy="A user group with users of the type iam; IAM_AUTH on Google Cloud.",
    controls={
        "aws-fsbp": ("ElastiCache.6",),
        "soc2": ("CC6.1",),
        "iso-27001": ("A.5.15", "A.5.17"),
        "eu-ai-act": ("15",),
    },
)
def cache_authenticated(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """A group has to have a user called default: with no rights, or with a password that nobody knows."""
    if resource.type == SERVERLESS:
        if not resource.get("userGroupId"):
            yield "it lets in whoever reaches it"
    elif resource.type == REPLICATION_GROUP:
        if not items(resource.get("userGroupIds")) and not resource.get("authToken"):
            yield "it lets in whoever reaches it"
    elif resource.type == USER:
        may = str(resource.get("accessString", ""))
        open_ = resource.get("noPasswordRequired") is True or resource.get("authenticationMode.type") == (
            "no-password-required"
        )
        if open_ and not may.startswith("off"):
            yield "it needs no password"
    elif resource.type == USER_GROUP:
        if "default" in items(resource.get("userIds")):
            yield "the user that ElastiCache makes is in it, who needs no password and may do everything"
    elif resource.type == REDIS:
        if resource.get("authEnabled") is not True:
            yield "it lets in whoever reaches it"
    elif str(resource.get("authorizationMode")) not in {"IAM_AUTH", "AUTH_MODE_IAM_AUTH"}:
        yield "it lets in whoever reaches it"


@resource_rule(
    "cache-private",
    title="A cache is in the network, behind a security group of ours",
    types=(SERVERLESS, REPLICATION_GROUP, MEMORYSTORE, REDIS, REDIS_CLUSTER),
    severity="high",
    why="Without a group of its own it has the network's default one, which is for whatever nobody has thought of.",
    remedy="subnet_ids and security_group_ids; Private Service Connect on Google Cloud.",
    controls={"soc2": ("CC6.6",), "iso-27001": ("A.8.20", "A.8.22")},
)
def cache_private(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """No cache of either cloud has an address on the internet; which addresses inside it has is to be said."""
    if resource.type in {SERVERLESS, REPLICATION_GROUP}:
        where = "subnetIds" if resource.type == SERVERLESS else "subnetGroupName"
        if not resource.get(where):
            yield "it is in the default network"
        if not items(resource.get("securityGroupIds")):
            yield "it has the default security group"
    elif resource.type == REDIS:
        if resource.get("connectMode", "DIRECT_PEERING") != "PRIVATE_SERVICE_ACCESS":
            yield "it is peered with the network past Private Service Access"
    else:
        wanted = ("desiredAutoCreatedEndpoints", "desiredPscAutoConnections", "pscConfigs")
        found = [mapping(each) for path in wanted for each in maps(resource.get(path))]
        if not any(each.get("network") for each in found):
            yield "nothing says from which network it is reached"
