"""Rules on keys and encryption."""

from tests.policies.build import ACCOUNT, PROJECT, aws, bad, changed, document, gcp, good, make, ref, thing

ROOT = {
    "Sid": "Root",
    "Effect": "Allow",
    "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
    "Action": "kms:*",
    "Resource": "*",
}
KEY = make(
    "aws:kms/key:Key", "key", inputs={"policy": document(ROOT), "enableKeyRotation": True, "deletionWindowInDays": 30}
)
GCP_KEY = make("gcp:kms/cryptoKey:CryptoKey", "key", inputs={"name": "data", "rotationPeriod": "7776000s"})
BUCKET = make("aws:s3/bucket:Bucket", "raw", inputs={"bucket": "acme-dev-raw"})
KEY_NAME = f"projects/{PROJECT}/locations/us/keyRings/r/cryptoKeys/k"


def encryption(**default):
    return make(
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
        inputs={"bucket": "acme-dev-raw", "rules": [{"applyServerSideEncryptionByDefault": default}]},
        comes_from={"bucket": BUCKET},
    )


def group(**inputs):
    return make("aws:cloudwatch/logGroup:LogGroup", inputs={"name": "/flows", **inputs})


def secret(replication):
    return make("gcp:secretmanager/secret:Secret", inputs={"secretId": "s", "replication": replication})


def gcs(**inputs):
    return make("gcp:storage/bucket:Bucket", inputs={"name": "acme-dev-raw", **inputs})


def lustre(**inputs):
    return make("gcp:lustre/instance:Instance", inputs={"instanceId": "scratch", **inputs})


def mounted(driver="lustre.csi.storage.gke.io"):
    spec = {"csi": {"driver": driver, "volumeHandle": f"a/b/{ref(lustre(), 'instanceId')}"}}
    return thing("core/v1:PersistentVolume", spec=spec)


def log_bucket(**inputs):
    return make("gcp:logging/projectBucketConfig:ProjectBucketConfig", inputs={"bucketId": "logs", **inputs})


NODE_CLASS = "karpenter.k8s.aws/v1:EC2NodeClass"


def template(**ebs):
    return make("aws:ec2/launchTemplate:LaunchTemplate", inputs={"blockDeviceMappings": [{"ebs": ebs}]})


def disks(provisioner, **parameters):
    return thing("storage.k8s.io/v1:StorageClass", provisioner=provisioner, parameters=parameters)


def of_key(name):
    return {"customerManagedEncryption": {"kmsKeyName": name}}


def hosted(**inputs):
    type_ = "aws:sagemaker/endpointConfiguration:EndpointConfiguration"
    return make(type_, inputs={"productionVariants": [{"instanceType": "ml.m5.xlarge"}], **inputs})


def vectors(type_, **inputs):
    return make(f"aws:s3/{type_}", inputs=inputs)


OURS = ref(KEY, "arn")
# Where what answers, caches and finds names its key.
SERVED = {
    "aws:bedrock/agentDataSource:AgentDataSource": "serverSideEncryptionConfiguration.kmsKeyArn",
    "aws:bedrock/guardrail:Guardrail": "kmsKeyArn",
    "aws:dynamodb/table:Table": "serverSideEncryption.kmsKeyArn",
    "aws:ecs/cluster:Cluster": "configuration.managedStorageConfiguration.fargateEphemeralStorageKmsKeyId",
    "aws:elasticache/replicationGroup:ReplicationGroup": "kmsKeyId",
    "aws:elasticache/serverlessCache:ServerlessCache": "kmsKeyId",
    "aws:rds/cluster:Cluster": "kmsKeyId",
    "aws:rds/instance:Instance": "kmsKeyId",
    "gcp:cloudrunv2/job:Job": "template.template.encryptionKey",
    "gcp:cloudrunv2/service:Service": "template.encryptionKey",
    "gcp:memorystore/instance:Instance": "kmsKey",
    "gcp:redis/instance:Instance": "customerManagedKey",
    "gcp:sql/databaseInstance:DatabaseInstance": "encryptionKeyName",
    "gcp:vectorsearch/collection:Collection": "encryptionSpec.cryptoKeyName",
    "gcp:vertex/aiEndpoint:AiEndpoint": "encryptionSpec.kmsKeyName",
}


def at(path, value=OURS):
    """Inputs with the key at a path."""
    for part in reversed(path.split(".")):
        value = {part: value}
    return value


RULE = "encryption-own-key"
CASES = [
    bad(RULE, "a bucket that says nothing", "nothing says", BUCKET),
    bad(RULE, "a bucket with the provider's key", "names no key", BUCKET, encryption(sseAlgorithm="aws:kms")),
    bad(
        RULE,
        "another algorithm",
        "the algorithm is AES256",
        BUCKET,
        KEY,
        encryption(sseAlgorithm="AES256", kmsMasterKeyId=ref(KEY, "arn")),
    ),
    bad(
        RULE,
        "AWS's own alias",
        "no key of the environment",
        make("aws:sns/topic:Topic", inputs={"kmsMasterKeyId": "alias/aws/sns"}),
    ),
    bad(RULE, "AWS's own alias by ARN", "no key of", group(kmsKeyId=f"arn:aws:kms:us-west-2:{ACCOUNT}:alias/aws/logs")),
    bad(RULE, "no key at all", "kmsKeyId names no key", group()),
    bad(RULE, "an empty key", "no key of", group(kmsKeyId="")),
    bad(RULE, "another resource's output", "which is no key", BUCKET, group(kmsKeyId=ref(BUCKET, "arn"))),
    bad(RULE, "a topic without", "names no key", make("gcp:pubsub/topic:Topic", inputs={"name": "t"})),
    bad(RULE, "a secret with Google's key", "it names no key", secret({"auto": {}})),
    bad(
        RULE,
        "a secret with one replica of two",
        "names no key",
        secret(
            {
                "userManaged": {
                    "replicas": [
                        {"location": "a", **of_key(KEY_NAME)},
                        {"location": "b", "customerManagedEncryption": {}},
                    ]
                }
            }
        ),
    ),
    bad(RULE, "a bucket on Google Cloud without", "it names no key", gcs()),
    good(RULE, "a bucket with a key", BUCKET, KEY, encryption(sseAlgorithm="aws:kms", kmsMasterKeyId=ref(KEY, "arn"))),
    good(RULE, "a key by its ARN", group(kmsKeyId=f"arn:aws:kms:us-west-2:{ACCOUNT}:key/1234-ab")),
    good(RULE, "a key by the environment's alias", group(kmsKeyId="alias/acme-dev-logs")),
    good(
        RULE,
        "a key whose name was written down",
        KEY,
        make("aws:sqs/queue:Queue", inputs={"kmsMasterKeyId": "key-id"}, comes_from={"kmsMasterKeyId": KEY}),
    ),
    good(RULE, "a bucket on Google Cloud", GCP_KEY, gcs(encryption={"defaultKmsKeyName": ref(GCP_KEY, "id")})),
    good(RULE, "a secret", secret({"userManaged": {"replicas": [{"location": "a", **of_key(KEY_NAME)}]}})),
    good(
        RULE,
        "a bucket that S3 writes access logs to",
        BUCKET,
        encryption(sseAlgorithm="AES256"),
        make(
            "aws:s3/bucketLogging:BucketLogging",
            inputs={"bucket": "acme-dev-curated", "targetBucket": "acme-dev-raw"},
            comes_from={"targetBucket": BUCKET},
        ),
    ),
    bad("key-rotation", "off", "rotation is off", make("aws:kms/key:Key", inputs={})),
    bad(
        "key-rotation",
        "not yet known",
        "rotation is off",
        BUCKET,
        make("aws:kms/key:Key", inputs={"enableKeyRotation": ref(BUCKET, "id")}),
    ),
    bad("key-rotation", "too seldom", "every 400 days", changed(KEY, rotationPeriodInDays=400)),
    bad("key-rotation", "none on Google Cloud", "no rotation period", changed(GCP_KEY, rotationPeriod=None)),
    bad("key-rotation", "too seldom on Google Cloud", "every 180 days", changed(GCP_KEY, rotationPeriod="15552000s")),
    good("key-rotation", "on", KEY),
    good("key-rotation", "every 90 days", GCP_KEY),
    good(
        "key-rotation",
        "a key that cannot",
        make("aws:kms/key:Key", inputs={"customerMasterKeySpec": "RSA_2048", "keyUsage": "SIGN_VERIFY"}),
    ),
    good(
        "key-rotation", "a key for signatures only", make("aws:kms/key:Key", inputs={"keyUsage": "GENERATE_VERIFY_MAC"})
    ),
    good(
        "key-rotation",
        "a signing key on Google Cloud",
        make("gcp:kms/cryptoKey:CryptoKey", inputs={"purpose": "ASYMMETRIC_SIGN"}),
    ),
    bad("prod-key-deletion", "a week", "only 7 days", aws("prod"), changed(KEY, deletionWindowInDays=7)),
    bad(
        "prod-key-deletion",
        "a replica's week",
        "only 7 days",
        aws("prod"),
        make("aws:kms/replicaKey:ReplicaKey", inputs={"deletionWindowInDays": 7}),
    ),
    bad(
        "prod-key-deletion",
        "a day on Google Cloud",
        "only 1 days",
        gcp("prod"),
        changed(GCP_KEY, destroyScheduledDuration="86400s"),
    ),
    bad(
        "prod-key-deletion",
        "a time that is none",
        "soon is no time",
        gcp("prod"),
        changed(GCP_KEY, destroyScheduledDuration="soon"),
    ),
    good("prod-key-deletion", "a month", aws("prod"), KEY),
    good("prod-key-deletion", "the default", gcp("prod"), GCP_KEY),
    good("prod-key-deletion", "a week in dev", aws("dev"), changed(KEY, deletionWindowInDays=7)),
    bad("key-administrable", "no policy", "the default policy", changed(KEY, policy=None)),
    bad(
        "key-administrable",
        "no statement for the account",
        "in control",
        changed(KEY, policy=document({**ROOT, "Principal": {"Service": "logs.amazonaws.com"}})),
    ),
    bad(
        "key-administrable",
        "a statement that denies",
        "in control",
        changed(KEY, policy=document({**ROOT, "Effect": "Deny"})),
    ),
    bad(
        "key-administrable",
        "rights too few",
        "in control",
        changed(KEY, policy=document({**ROOT, "Action": ["kms:Describe*"]})),
    ),
    bad("key-administrable", "no safety check", "switched off", changed(KEY, bypassPolicyLockoutSafetyCheck=True)),
    good("key-administrable", "the account's statement", KEY),
    good(
        "key-administrable",
        "the account by its number",
        changed(KEY, policy=document({**ROOT, "Principal": {"AWS": ACCOUNT}})),
    ),
    good("key-administrable", "not yet known", BUCKET, changed(KEY, policy=ref(BUCKET, "policy"))),
    bad(
        RULE,
        "one path of two",
        "nodeConfig.bootDiskKmsKey names no key",
        make("gcp:container/cluster:Cluster", inputs={"databaseEncryption": {"keyName": KEY_NAME}}),
    ),
    bad(RULE, "a machine's disk", "names no key", template(encrypted="true")),
    bad(RULE, "no disk that it says anything of", "names no key", make("aws:ec2/launchTemplate:LaunchTemplate")),
    bad(RULE, "a disk of Karpenter's machines", "names no key", thing(NODE_CLASS, spec={"amiFamily": "AL2023"})),
    bad(RULE, "a class of disks", "names no key", disks("ebs.csi.aws.com", type="gp3")),
    bad(RULE, "a file system", "kmsKeyId names no key", make("aws:fsx/lustreFileSystem:LustreFileSystem")),
    bad(RULE, "a file system of Google's", "kmsKey names no key", lustre()),
    bad(RULE, "one beside a volume of something else", "kmsKey names no key", lustre(), mounted("fsx.csi.aws.com")),
    bad(RULE, "one that a cluster mounts", "GKE mounts no", lustre(), mounted(), enforcement="advisory"),
    bad(
        RULE,
        "one that a cluster mounts, with somebody's key",
        "no key of the environment",
        lustre(kmsKey="mine"),
        mounted(),
    ),
    bad(RULE, "a bucket of logs", "Cloud Logging says", log_bucket(), enforcement="advisory"),
    bad(RULE, "a bucket of logs, empty settings", "names no key", log_bucket(cmekSettings={})),
    bad(
        RULE,
        "a bucket of logs, with somebody's key",
        "no key of the environment",
        log_bucket(cmekSettings={"kmsKeyName": "mine"}),
    ),
    good(
        RULE,
        "logs and files with a key",
        GCP_KEY,
        log_bucket(cmekSettings={"kmsKeyName": ref(GCP_KEY, "id")}),
        lustre(kmsKey=ref(GCP_KEY, "id")),
    ),
    bad(
        RULE,
        "a notebook's second disk",
        "gceSetup.dataDisks.*.kmsKey names no key",
        make("gcp:workbench/instance:Instance", inputs={"gceSetup": {"bootDisk": {"kmsKey": KEY_NAME}}}),
    ),
    good(
        RULE,
        "both paths",
        make(
            "gcp:container/cluster:Cluster",
            inputs={"databaseEncryption": {"keyName": KEY_NAME}, "nodeConfig": {"bootDiskKmsKey": KEY_NAME}},
        ),
    ),
    good(
        RULE,
        "machines' disks",
        KEY,
        template(kmsKeyId=ref(KEY, "arn")),
        thing(NODE_CLASS, spec={"blockDeviceMappings": [{"ebs": {"kmsKeyID": ref(KEY, "arn")}}]}),
    ),
    good(RULE, "a class of disks", KEY, disks("ebs.csi.aws.com", kmsKeyId=ref(KEY, "arn"))),
    good(RULE, "a class of disks on GKE", disks("pd.csi.storage.gke.io", **{"disk-encryption-kms-key": KEY_NAME})),
    good(RULE, "a class of file systems", disks("fsx.csi.aws.com")),
    bad(RULE, "an endpoint", "kmsKeyArn names no key", hosted()),
    bad(
        RULE,
        "machines whose disks nobody encrypts",
        "kmsKeyArn names no key",
        hosted(productionVariants=[{"instanceType": "ml.g5.xlarge"}, {"instanceType": "ml.m5.xlarge"}]),
    ),
    bad(
        RULE,
        "what is captured",
        "dataCaptureConfig.kmsKeyId names no key",
        hosted(kmsKeyArn=OURS, dataCaptureConfig={}),
    ),
    bad(
        RULE,
        "answers",
        "asyncInferenceConfig.outputConfig.kmsKeyId names no key",
        hosted(kmsKeyArn=OURS, asyncInferenceConfig={"outputConfig": {"s3OutputPath": "s3://a"}}),
    ),
    good(RULE, "an endpoint with a key", KEY, hosted(kmsKeyArn=OURS, dataCaptureConfig={"kmsKeyId": OURS})),
    good(
        RULE,
        "disks that the hardware encrypts",
        hosted(productionVariants=[{"instanceType": "ml.g5.xlarge"}]),
    ),
    bad(RULE, "a vector bucket", "it names no key", vectors("vectorsVectorBucket:VectorsVectorBucket")),
    good(
        RULE,
        "a vector bucket with a key, and its index",
        KEY,
        vectors("vectorsVectorBucket:VectorsVectorBucket", encryptionConfigurations=[{"kmsKeyArn": OURS}]),
        vectors("vectorsIndex:VectorsIndex"),
    ),
    bad(
        RULE,
        "an index with another's key",
        "no key of the environment",
        vectors("vectorsIndex:VectorsIndex", encryptionConfigurations=[{"kmsKeyArn": "arn:aws:kms:a"}]),
    ),
    *(
        case
        for type_, path in SERVED.items()
        for case in (
            bad(RULE, f"{type_} without", "names no key", make(type_)),
            good(RULE, f"{type_} with a key", KEY, make(type_, inputs=at(path))),
        )
    ),
]
