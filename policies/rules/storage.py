"""Buckets."""

from collections.abc import Mapping
from typing import Any

from policies.context import is_prod, mapping, maps
from policies.documents import Statement, statements
from policies.model import Graph, Resource, is_unknown
from policies.rule import Found, Violation, resource_rule

BUCKET = "aws:s3/bucket:Bucket"
GCP_BUCKET = "gcp:storage/bucket:Bucket"
PUBLIC_ACCESS = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
ACCOUNT_PUBLIC_ACCESS = "aws:s3/accountPublicAccessBlock:AccountPublicAccessBlock"
OWNERSHIP = "aws:s3/bucketOwnershipControls:BucketOwnershipControls"
VERSIONING = "aws:s3/bucketVersioning:BucketVersioning"
POLICY = "aws:s3/bucketPolicy:BucketPolicy"
LIFECYCLE = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
LOGGING = "aws:s3/bucketLogging:BucketLogging"
ACLS = (
    "aws:s3/bucketAcl:BucketAcl",
    "gcp:storage/bucketACL:BucketACL",
    "gcp:storage/bucketAccessControl:BucketAccessControl",
)

_SWITCHES = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")


def _off(block: Resource) -> list[str]:
    return [switch for switch in _SWITCHES if block.get(switch) is not True]


@resource_rule(
    "bucket-private",
    title="No bucket can be made public",
    types=(BUCKET, PUBLIC_ACCESS, ACCOUNT_PUBLIC_ACCESS, GCP_BUCKET),
    severity="critical",
    why="Public buckets are how training data is lost; the block holds even when a policy or an ACL is wrong.",
    remedy="AWS: a BucketPublicAccessBlock with all four switches. Google Cloud: public_access_prevention='enforced'.",
    controls={
        "cis-aws": ("3.1.4",),
        "cis-gcp": ("5.1",),
        "aws-fsbp": ("S3.1", "S3.2", "S3.3", "S3.8"),
        "soc2": ("CC6.1", "CC6.6"),
        "iso-27001": ("A.8.3", "A.8.12"),
        "gdpr": ("25", "32"),
        "eu-ai-act": ("10", "15"),
        "nist-ai-rmf": ("MEASURE 2.10",),
    },
)
def bucket_private(resource: Resource, graph: Graph) -> Found:
    """A switch that is missing or not yet known counts as off."""
    if resource.type == BUCKET:
        if not graph.linked(resource.urn, PUBLIC_ACCESS, "bucket"):
            yield "nothing blocks public access to it"
    elif resource.type == GCP_BUCKET:
        if resource.get("publicAccessPrevention") != "enforced":
            yield "public access is not prevented"
    elif _off(resource):
        yield f"off: {', '.join(_off(resource))}"


@resource_rule(
    "bucket-no-acl",
    title="Only policies decide who reaches a bucket, never the ACL of an object",
    types=(BUCKET, GCP_BUCKET, *ACLS),
    severity="medium",
    why="An ACL on one object is seen by nobody who reads the policies.",
    remedy="AWS: BucketOwnershipControls with BucketOwnerEnforced. Google Cloud: uniform_bucket_level_access=True.",
    controls={"cis-gcp": ("5.2",), "aws-fsbp": ("S3.12",), "soc2": ("CC6.3",), "iso-27001": ("A.5.15",)},
)
def bucket_no_acl(resource: Resource, graph: Graph) -> Found:
    """A bucket whose objects may have ACLs, and any ACL."""
    if resource.type in ACLS:
        yield "an ACL gives access beside the policies"
    elif resource.type == GCP_BUCKET:
        if resource.get("uniformBucketLevelAccess") is not True:
            yield "uniform bucket-level access is off"
    else:
        controls = graph.linked(resource.urn, OWNERSHIP, "bucket")
        if any(c.get("rule.objectOwnership") != "BucketOwnerEnforced" for c in controls):
            yield "its objects may have ACLs and other owners"
        elif not controls:
            yield "it does not say that objects have no ACLs"


@resource_rule(
    "bucket-versioned",
    title="An overwritten or deleted object can be had back",
    types=(BUCKET, GCP_BUCKET),
    severity="medium",
    why="A wrong job, or an extortionist, overwrites a data set in minutes; a model cannot be explained without the data it saw.",
    remedy="AWS: BucketVersioning with status Enabled. Google Cloud: versioning enabled.",
    controls={
        "aws-fsbp": ("S3.14",),
        "soc2": ("A1.2", "CC7.5"),
        "iso-27001": ("A.8.13",),
        "gdpr": ("32",),
        "eu-ai-act": ("10",),
    },
)
def bucket_versioned(resource: Resource, graph: Graph) -> Found:
    """Versioning by the side resource on AWS, within the bucket on Google Cloud."""
    if resource.type == GCP_BUCKET:
        if resource.get("versioning.enabled") is not True:
            yield "it keeps no versions"
        return
    found = graph.linked(resource.urn, VERSIONING, "bucket")
    if not any(v.get("versioningConfiguration.status") == "Enabled" for v in found):
        yield "it keeps no versions"


@resource_rule(
    "bucket-tls",
    title="A bucket refuses what does not come over TLS",
    types=(BUCKET,),
    severity="high",
    why="One client with http:// in its settings sends data and credentials in clear.",
    remedy="A statement that denies s3:* to everybody, on the bucket and its objects, where aws:SecureTransport is false.",
    controls={
        "cis-aws": ("3.1.1",),
        "aws-fsbp": ("S3.5",),
        "soc2": ("CC6.7",),
        "iso-27001": ("A.8.24", "A.5.14"),
        "gdpr": ("32",),
    },
)
def bucket_tls(resource: Resource, graph: Graph) -> Found:
    """A policy that is not yet known is reported by `document-readable`."""
    policies = graph.linked(resource.urn, POLICY, "bucket")
    if not policies:
        yield "it has no policy"
    elif not any(
        is_unknown(policy.get("policy")) or any(_denies_plain(s) for s in statements(policy, graph, "resource"))
        for policy in policies
    ):
        yield "its policy lets in what does not come over TLS"


def _denies_plain(statement: Statement) -> bool:
    """Whether a statement refuses everybody everything that does not come over TLS, on the bucket and in it."""
    plain = [c for c in statement.conditions if c.key == "aws:securetransport"]
    return (
        not statement.allows
        and ("AWS", "*") in statement.principals
        and statement.covers("s3:GetObject")
        and statement.covers("s3:PutObject")
        and statement.covers("s3:ListBucket")
        and len(plain) == len(statement.conditions) == 1
        and plain[0].operator in {"Bool", "BoolIfExists"}
        and plain[0].values == ("false",)
        and (statement.everywhere or {r.endswith("/*") for r in statement.resources} == {True, False})
    )


def _enabled(rule: Mapping[str, Any]) -> bool:
    return rule.get("status") == "Enabled"


@resource_rule(
    "bucket-lifecycle",
    title="What nobody needs leaves a bucket by itself",
    types=(BUCKET, GCP_BUCKET),
    severity="low",
    enforcement="advisory",
    why="Broken uploads and old versions are invisible, and are billed for ever.",
    remedy="A lifecycle with rules that abort incomplete uploads and expire noncurrent versions.",
    controls={"aws-fsbp": ("S3.10", "S3.13"), "soc2": ("C1.2",), "iso-27001": ("A.8.10",), "gdpr": ("25",)},
)
def bucket_lifecycle(resource: Resource, graph: Graph) -> Found:
    """Broken uploads, and old versions where there are any."""
    if resource.type == GCP_BUCKET:
        rules = maps(resource.get("lifecycleRules"))
        types = {str(mapping(rule.get("action")).get("type")) for rule in rules}
        old = any(mapping(rule.get("condition")).keys() & _OLD_VERSIONS for rule in rules)
        aborts, versioned = "AbortIncompleteMultipartUpload" in types, resource.get("versioning.enabled") is True
    else:
        found = graph.linked(resource.urn, LIFECYCLE, "bucket")
        rules = [rule for lifecycle in found for rule in maps(lifecycle.get("rules")) if _enabled(rule)]
        aborts = any(rule.get("abortIncompleteMultipartUpload") for rule in rules)
        old = any(rule.get("noncurrentVersionExpiration") for rule in rules)
        versioned = bool(graph.linked(resource.urn, VERSIONING, "bucket"))
    if not aborts:
        yield "incomplete uploads stay for ever"
    if versioned and not old:
        yield "old versions stay for ever"


# Conditions of Cloud Storage that only noncurrent versions meet (Storage API, lifecycle.rule.condition).
_OLD_VERSIONS = {"daysSinceNoncurrentTime", "noncurrentTimeBefore", "numNewerVersions"}


@resource_rule(
    "bucket-access-log",
    title="Who read which object is written down, in another bucket",
    types=(BUCKET, LOGGING),
    severity="medium",
    why="After a leak the first question is who read the data, and nothing else answers it.",
    remedy="BucketLogging to the zone that data.access_log_zone names.",
    controls={
        "aws-fsbp": ("S3.9",),
        "soc2": ("CC7.2",),
        "iso-27001": ("A.8.15",),
        "gdpr": ("30", "32"),
        "eu-ai-act": ("12",),
    },
)
def bucket_access_log(resource: Resource, graph: Graph) -> Found:
    """The bucket that receives the logs keeps none of its own: each would write the next. Replicas hold no first reads."""
    if resource.type == LOGGING:
        if resource.links("bucket") & resource.links("targetBucket") or _same(resource):
            yield "a bucket that logs to itself fills itself"
        return
    receives = graph.linked(resource.urn, LOGGING, "targetBucket")
    if not receives and not graph.linked(resource.urn, LOGGING, "bucket"):
        enforcement = "mandatory" if is_prod(graph) else "advisory"
        yield Violation("nothing records who reads it", enforcement=enforcement)


def _same(logging: Resource) -> bool:
    return logging.get("bucket") is not None and logging.get("bucket") == logging.get("targetBucket")
