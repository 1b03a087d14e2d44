"""Rules on buckets."""

from tests.policies.build import aws, bad, changed, document, good, make, ref

BUCKET = make("aws:s3/bucket:Bucket", "raw", inputs={"bucket": "acme-dev-raw"})
LOGS = make("aws:s3/bucket:Bucket", "logs", inputs={"bucket": "acme-dev-logs"})
GCS = make(
    "gcp:storage/bucket:Bucket",
    inputs={
        "name": "acme-dev-raw",
        "publicAccessPrevention": "enforced",
        "uniformBucketLevelAccess": True,
        "versioning": {"enabled": True},
        "lifecycleRules": [
            {"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": 7}},
            {"action": {"type": "Delete"}, "condition": {"daysSinceNoncurrentTime": 30}},
        ],
    },
)
SWITCHES = {"blockPublicAcls": True, "blockPublicPolicy": True, "ignorePublicAcls": True, "restrictPublicBuckets": True}
PLAIN = {
    "Sid": "Tls",
    "Effect": "Deny",
    "Principal": "*",
    "Action": "s3:*",
    "Resource": ["arn:aws:s3:::acme-dev-raw", "arn:aws:s3:::acme-dev-raw/*"],
    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
}


def side(kind, /, **inputs):
    """A side resource of the bucket, which is known by the name that it was given."""
    type_ = f"aws:s3/{kind}:{kind[0].upper()}{kind[1:]}"
    return make(type_, inputs={"bucket": "acme-dev-raw", **inputs}, comes_from={"bucket": BUCKET})


def policy(**statement):
    return side("bucketPolicy", policy=document({**PLAIN, **statement}))


def lifecycle(*rules):
    return side("bucketLifecycleConfiguration", rules=[{"id": "r", "status": "Enabled", **rule} for rule in rules])


VERSIONING = side("bucketVersioning", versioningConfiguration={"status": "Enabled"})
ABORT = {"abortIncompleteMultipartUpload": {"daysAfterInitiation": 7}}
EXPIRE = {"noncurrentVersionExpiration": {"noncurrentDays": 30}}
LOGGING = make(
    "aws:s3/bucketLogging:BucketLogging",
    inputs={"bucket": "acme-dev-raw", "targetBucket": ref(LOGS, "id"), "targetPrefix": "access/"},
    comes_from={"bucket": BUCKET},
)
ACCOUNT_BLOCK = make("aws:s3/accountPublicAccessBlock:AccountPublicAccessBlock", inputs=SWITCHES)

CASES = [
    bad("bucket-private", "no block", "nothing blocks", BUCKET),
    bad(
        "bucket-private",
        "another bucket's block",
        "nothing blocks",
        BUCKET,
        LOGS,
        make("aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock", inputs={"bucket": ref(LOGS, "id"), **SWITCHES}),
    ),
    bad(
        "bucket-private",
        "one switch off",
        "off: restrictPublicBuckets",
        BUCKET,
        side("bucketPublicAccessBlock", **{**SWITCHES, "restrictPublicBuckets": False}),
    ),
    bad(
        "bucket-private",
        "a switch that is missing",
        "off: blockPublicAcls",
        side("bucketPublicAccessBlock", blockPublicPolicy=True, ignorePublicAcls=True, restrictPublicBuckets=True),
    ),
    bad(
        "bucket-private",
        "a switch that is not known",
        "off: blockPublicAcls",
        LOGS,
        side("bucketPublicAccessBlock", **{**SWITCHES, "blockPublicAcls": ref(LOGS, "id")}),
    ),
    bad("bucket-private", "the account", "off: blockPublicPolicy", changed(ACCOUNT_BLOCK, blockPublicPolicy=False)),
    bad(
        "bucket-private", "inherited on Google Cloud", "not prevented", changed(GCS, publicAccessPrevention="inherited")
    ),
    good("bucket-private", "four switches", BUCKET, side("bucketPublicAccessBlock", **SWITCHES)),
    good("bucket-private", "the account", ACCOUNT_BLOCK),
    good("bucket-private", "enforced on Google Cloud", GCS),
    bad("bucket-no-acl", "nothing said", "does not say", BUCKET),
    bad(
        "bucket-no-acl",
        "the writer owns",
        "may have ACLs",
        BUCKET,
        side("bucketOwnershipControls", rule={"objectOwnership": "ObjectWriter"}),
    ),
    bad("bucket-no-acl", "an ACL", "beside the policies", side("bucketAcl", acl="private")),
    bad("bucket-no-acl", "fine-grained on Google Cloud", "uniform", changed(GCS, uniformBucketLevelAccess=False)),
    good(
        "bucket-no-acl",
        "the bucket's owner owns",
        BUCKET,
        side("bucketOwnershipControls", rule={"objectOwnership": "BucketOwnerEnforced"}),
    ),
    good("bucket-no-acl", "uniform on Google Cloud", GCS),
    bad("bucket-versioned", "none", "keeps no versions", BUCKET),
    bad(
        "bucket-versioned",
        "suspended",
        "keeps no versions",
        BUCKET,
        side("bucketVersioning", versioningConfiguration={"status": "Suspended"}),
    ),
    bad("bucket-versioned", "off on Google Cloud", "keeps no versions", changed(GCS, versioning={"enabled": False})),
    good("bucket-versioned", "on", BUCKET, VERSIONING),
    good("bucket-versioned", "on on Google Cloud", GCS),
    bad("bucket-tls", "no policy", "has no policy", BUCKET),
    bad("bucket-tls", "allowed, not denied", "lets in", BUCKET, policy(Effect="Allow")),
    bad("bucket-tls", "some actions", "lets in", BUCKET, policy(Action=["s3:GetObject"])),
    bad("bucket-tls", "all actions but reading", "lets in", BUCKET, policy(Action=None, NotAction="s3:GetObject")),
    bad("bucket-tls", "somebody", "lets in", BUCKET, policy(Principal={"AWS": "arn:aws:iam::111111111111:root"})),
    bad("bucket-tls", "the bucket only", "lets in", BUCKET, policy(Resource="arn:aws:s3:::acme-dev-raw")),
    bad("bucket-tls", "the objects only", "lets in", BUCKET, policy(Resource=["arn:aws:s3:::acme-dev-raw/*"])),
    bad(
        "bucket-tls",
        "the wrong way round",
        "lets in",
        BUCKET,
        policy(Condition={"Bool": {"aws:SecureTransport": "true"}}),
    ),
    bad(
        "bucket-tls",
        "with a way around",
        "lets in",
        BUCKET,
        policy(Condition={"Bool": {"aws:SecureTransport": "false"}, "StringNotEquals": {"aws:PrincipalArn": "x"}}),
    ),
    bad(
        "bucket-tls",
        "another operator",
        "lets in",
        BUCKET,
        policy(Condition={"StringEquals": {"aws:SecureTransport": "false"}}),
    ),
    good("bucket-tls", "denied", BUCKET, policy()),
    good(
        "bucket-tls",
        "a boolean, a lower-case key, everybody by kind",
        BUCKET,
        policy(Principal={"AWS": ["*"]}, Condition={"Bool": {"aws:securetransport": False}}),
    ),
    good("bucket-tls", "one statement, no list", BUCKET, side("bucketPolicy", policy={"Statement": PLAIN})),
    good("bucket-tls", "not yet known", BUCKET, side("bucketPolicy", policy=ref(BUCKET, "policy"))),
    bad("bucket-lifecycle", "none", "incomplete uploads", BUCKET),
    bad(
        "bucket-lifecycle",
        "a rule that is off",
        "incomplete uploads",
        BUCKET,
        side("bucketLifecycleConfiguration", rules=[{"id": "r", "status": "Disabled", **ABORT}]),
    ),
    bad("bucket-lifecycle", "old versions", "old versions", BUCKET, VERSIONING, lifecycle(ABORT)),
    bad("bucket-lifecycle", "none on Google Cloud", "incomplete uploads", changed(GCS, lifecycleRules=None)),
    bad(
        "bucket-lifecycle",
        "old versions on Google Cloud",
        "old versions",
        changed(GCS, lifecycleRules=[{"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": 1}}]),
    ),
    good("bucket-lifecycle", "both", BUCKET, VERSIONING, lifecycle(ABORT, EXPIRE)),
    good("bucket-lifecycle", "no versions, no old ones", BUCKET, lifecycle(ABORT)),
    good("bucket-lifecycle", "both on Google Cloud", GCS),
    bad("bucket-access-log", "none in prod", "nothing records", aws("prod"), BUCKET),
    bad("bucket-access-log", "none in dev", "nothing records", aws("dev"), BUCKET, enforcement="advisory"),
    bad(
        "bucket-access-log", "to itself", "fills itself", BUCKET, side("bucketLogging", targetBucket=ref(BUCKET, "id"))
    ),
    bad(
        "bucket-access-log",
        "to itself by name",
        "fills itself",
        make("aws:s3/bucketLogging:BucketLogging", inputs={"bucket": "a", "targetBucket": "a"}),
    ),
    good("bucket-access-log", "to another, which keeps none", aws("prod"), BUCKET, LOGS, LOGGING),
]
