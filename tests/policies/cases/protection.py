"""Rules on keeping data."""

from dataclasses import replace

from tests.policies.build import aws, bad, changed, gcp, good, make, thing

BUCKET = make("aws:s3/bucket:Bucket", inputs={"bucket": "acme-dev-raw"}, protect=True, retain_on_delete=True)
SECRET = make(
    "aws:secretsmanager/secret:Secret", inputs={"recoveryWindowInDays": 30}, protect=True, retain_on_delete=True
)
EKS, GKE = "aws:eks/cluster:Cluster", "gcp:container/cluster:Cluster"
LOG_BUCKET = "gcp:logging/projectBucketConfig:ProjectBucketConfig"
KEPT = {"protect": True, "retain_on_delete": True}
GCS = make("gcp:storage/bucket:Bucket", inputs={"name": "acme-dev-raw"}, protect=True, retain_on_delete=True)


def group(days):
    return make("aws:cloudwatch/logGroup:LogGroup", inputs={"retentionInDays": days})


def volume(policy):
    return thing("core/v1:PersistentVolume", spec={"persistentVolumeReclaimPolicy": policy})


CASES = [
    bad("prod-protection", "not protected", "not protected", aws("prod"), replace(BUCKET, protect=False)),
    bad(
        "prod-protection",
        "not retained",
        "deleted when it leaves",
        aws("prod"),
        replace(BUCKET, retain_on_delete=False),
    ),
    bad("prod-protection", "may be emptied", "everything in it", aws("prod"), changed(BUCKET, forceDestroy=True)),
    bad("prod-protection", "deleted at once", "without a time", aws("prod"), changed(SECRET, recoveryWindowInDays=0)),
    bad("prod-protection", "on Google Cloud", "not protected", gcp("prod"), replace(GCS, protect=False)),
    bad("prod-protection", "a tier that is not said", "not protected", replace(BUCKET, protect=False)),
    bad(
        "prod-protection", "one of two clouds", "not protected", aws("dev"), gcp("prod"), replace(BUCKET, protect=False)
    ),
    bad(
        "prod-protection",
        "not protected, by the CLI",
        "not protected",
        aws("prod"),
        replace(BUCKET, protect=False),
        untold=("retain_on_delete",),
    ),
    good("prod-protection", "protected and retained", aws("prod"), BUCKET, SECRET),
    good("prod-protection", "on Google Cloud", gcp("prod"), GCS),
    good(
        "prod-protection",
        "what the CLI does not tell",
        aws("prod"),
        replace(BUCKET, retain_on_delete=False),
        untold=("retain_on_delete",),
    ),
    good("prod-protection", "dev", aws("dev"), changed(replace(BUCKET, protect=False), forceDestroy=True)),
    bad("prod-log-retention", "a month", "keeps 30 days", aws("prod"), group(30)),
    good("prod-log-retention", "a year", aws("prod"), group(365)),
    good("prod-log-retention", "for ever, which is another rule's", aws("prod"), group(0)),
    good("prod-log-retention", "a month in dev", aws("dev"), group(30)),
    bad("prod-protection", "a cluster", "for whoever asks", aws("prod"), make(EKS, inputs={}, **KEPT)),
    bad(
        "prod-protection",
        "a database",
        "for whoever asks",
        aws("prod"),
        make("aws:rds/cluster:Cluster", inputs={}, **KEPT),
    ),
    bad(
        "prod-protection",
        "a cluster of GKE",
        "for whoever asks",
        gcp("prod"),
        make(GKE, inputs={"deletionProtection": False}, **KEPT),
    ),
    bad(
        "prod-protection",
        "a database of Cloud SQL",
        "for whoever asks",
        gcp("prod"),
        make("gcp:sql/databaseInstance:DatabaseInstance", inputs={"deletionProtection": False}, **KEPT),
    ),
    bad("prod-protection", "a cluster by Pulumi", "not protected", gcp("prod"), make(GKE, inputs={})),
    bad(
        "prod-protection",
        "images",
        "every image in it",
        aws("prod"),
        make("aws:ecr/repository:Repository", inputs={"forceDelete": True}, **KEPT),
    ),
    bad(
        "prod-protection",
        "users' files",
        "users' files go",
        aws("prod"),
        make("aws:sagemaker/domain:Domain", inputs={"retentionPolicy": {"homeEfsFileSystem": "Delete"}}, **KEPT),
    ),
    bad("prod-protection", "a claim", "not protected", aws("prod"), thing("core/v1:PersistentVolumeClaim")),
    bad("prod-protection", "a volume", "not protected", aws("prod"), volume("Delete")),
    good("prod-protection", "a volume of a file system", aws("prod"), volume("Retain")),
    good(
        "prod-protection",
        "a claim on a file system",
        aws("prod"),
        thing("core/v1:PersistentVolumeClaim", spec={"volumeName": "scratch.team-vision"}),
    ),
    good(
        "prod-protection",
        "clusters",
        aws("prod"),
        make(EKS, inputs={"deletionProtection": True}, **KEPT),
        make(GKE, inputs={}, **KEPT),
    ),
    bad("prod-log-retention", "thirty days by default", "keeps 30 days", gcp("prod"), make(LOG_BUCKET, inputs={})),
    good("prod-log-retention", "a year on Google Cloud", gcp("prod"), make(LOG_BUCKET, inputs={"retentionDays": 400})),
]
