"""Rules on caches."""

from tests.policies.build import bad, good, make


def of(type_, /, **inputs):
    return make(type_, inputs={key: value for key, value in inputs.items() if value is not None})


def serverless(**inputs):
    base = {"userGroupId": "acme-users", "subnetIds": ["subnet-1"], "securityGroupIds": ["sg-1"]}
    return of("aws:elasticache/serverlessCache:ServerlessCache", **{**base, **inputs})


def group(**inputs):
    base = {
        "transitEncryptionEnabled": True, "userGroupIds": ["acme-users"], "subnetGroupName": "acme",
        "securityGroupIds": ["sg-1"],
    }  # fmt: skip
    return of("aws:elasticache/replicationGroup:ReplicationGroup", **{**base, **inputs})


def memorystore(**inputs):
    base = {
        "transitEncryptionMode": "SERVER_AUTHENTICATION",
        "authorizationMode": "IAM_AUTH",
        "desiredAutoCreatedEndpoints": [{"network": "projects/p/global/networks/n", "projectId": "p"}],
    }
    return of("gcp:memorystore/instance:Instance", **{**base, **inputs})


def redis(**inputs):
    base = {
        "transitEncryptionMode": "SERVER_AUTHENTICATION", "authEnabled": True, "connectMode": "PRIVATE_SERVICE_ACCESS",
    }  # fmt: skip
    return of("gcp:redis/instance:Instance", **{**base, **inputs})


def user(**inputs):
    return of(
        "aws:elasticache/user:User", **{"authenticationMode": {"type": "iam"}, "accessString": "on ~* +@all", **inputs}
    )


TLS, WHO, WHERE = "cache-encrypted-in-transit", "cache-authenticated", "cache-private"
CASES = [
    bad(TLS, "by default", "in clear", group(transitEncryptionEnabled=None)),
    bad(TLS, "whoever wants it", "whoever wants it", group(transitEncryptionMode="preferred")),
    bad(TLS, "one node", "in clear", of("aws:elasticache/cluster:Cluster", engine="valkey")),
    bad(TLS, "Memorystore", "in clear", memorystore(transitEncryptionMode=None)),
    bad(TLS, "Redis", "in clear", redis(transitEncryptionMode="DISABLED")),
    good(TLS, "encrypted", group(), memorystore(), redis()),
    good(TLS, "a node of a group", of("aws:elasticache/cluster:Cluster", replicationGroupId="a")),
    bad(WHO, "nobody is asked", "whoever reaches it", serverless(userGroupId=None)),
    bad(WHO, "a group without users", "whoever reaches it", group(userGroupIds=None)),
    bad(WHO, "no password", "no password", user(authenticationMode={"type": "no-password-required"})),
    bad(WHO, "no password, said otherwise", "no password", user(authenticationMode=None, noPasswordRequired=True)),
    bad(WHO, "the default user", "the user that ElastiCache makes",
        of("aws:elasticache/userGroup:UserGroup", userIds=["default", "app"])),
    bad(WHO, "Memorystore", "whoever reaches it", memorystore(authorizationMode="AUTH_DISABLED")),
    bad(WHO, "Redis", "whoever reaches it", redis(authEnabled=None)),
    good(WHO, "asked", serverless(), group(), memorystore(), redis(), user()),
    good(WHO, "a default user without rights",
         user(authenticationMode={"type": "no-password-required"}, accessString="off ~* -@all"),
         of("aws:elasticache/userGroup:UserGroup", userIds=["acme-default", "app"])),
    bad(WHERE, "the default network", "default network", serverless(subnetIds=None)),
    bad(WHERE, "the default group", "default security group", serverless(securityGroupIds=None)),
    bad(WHERE, "a group anywhere", "default network", group(subnetGroupName=None)),
    bad(WHERE, "Memorystore", "from which network", memorystore(desiredAutoCreatedEndpoints=None)),
    bad(WHERE, "Redis", "peered", redis(connectMode=None)),
    good(WHERE, "inside", serverless(), group(), memorystore(), redis()),
]  # fmt: skip
