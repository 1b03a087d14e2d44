"""Keys, and what has to be encrypted with them."""

import re
from collections.abc import Iterator, Mapping

from components.core.accelerators import machine
from policies.context import is_prod, items, maps, resolve
from policies.documents import statements
from policies.model import REFERENCE, Graph, Resource, is_unknown
from policies.rule import Found, Violation, resource_rule

AWS_KEY = "aws:kms/key:Key"
AWS_REPLICA = "aws:kms/replicaKey:ReplicaKey"
AWS_ALIAS = "aws:kms/alias:Alias"
GCP_KEY = "gcp:kms/cryptoKey:CryptoKey"
KEYS = {AWS_KEY, AWS_REPLICA, AWS_ALIAS, GCP_KEY}

BUCKET = "aws:s3/bucket:Bucket"
BUCKET_ENCRYPTION = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
BUCKET_LOGGING = "aws:s3/bucketLogging:BucketLogging"

LOG_BUCKET = "gcp:logging/projectBucketConfig:ProjectBucketConfig"
LUSTRE = "gcp:lustre/instance:Instance"
CONFIGURATION = "aws:sagemaker/endpointConfiguration:EndpointConfiguration"
FUNCTION = "aws:lambda/function:Function"
VOLUME = "kubernetes:core/v1:PersistentVolume"
STORAGE_CLASS = "kubernetes:storage.k8s.io/v1:StorageClass"
_DISKS = {"ebs.csi.aws.com", "pd.csi.storage.gke.io"}
"""What makes disks of a cluster; other classes are of file systems that have a key of their own."""

# What must name a key of ours, and where it does: at each of these paths, or at one of several. A list is entered at every item.
Path = str | tuple[str, ...]
KEY_PATHS: Mapping[str, tuple[Path, ...]] = {
    "aws:bedrock/agentDataSource:AgentDataSource": ("serverSideEncryptionConfiguration.kmsKeyArn",),
    "aws:bedrock/guardrail:Guardrail": ("kmsKeyArn",),
    "aws:cloudwatch/logGroup:LogGroup": ("kmsKeyId",),
    "aws:dynamodb/table:Table": ("serverSideEncryption.kmsKeyArn",),
    "aws:ebs/volume:Volume": ("kmsKeyId",),
    "aws:ec2/launchTemplate:LaunchTemplate": ("blockDeviceMappings.*.ebs.kmsKeyId",),
    "aws:ecr/repository:Repository": ("encryptionConfigurations.*.kmsKey",),
    "aws:ecr/repositoryCreationTemplate:RepositoryCreationTemplate": ("encryptionConfigurations.*.kmsKey",),
    "aws:ecs/cluster:Cluster": ("configuration.managedStorageConfiguration.fargateEphemeralStorageKmsKeyId",),
    "aws:efs/fileSystem:FileSystem": ("kmsKeyId",),
    "aws:eks/cluster:Cluster": ("encryptionConfig.provider.keyArn",),
    "aws:elasticache/replicationGroup:ReplicationGroup": ("kmsKeyId",),
    "aws:elasticache/serverlessCache:ServerlessCache": ("kmsKeyId",),
    "aws:fsx/lustreFileSystem:LustreFileSystem": ("kmsKeyId",),
    "aws:fsx/openZfsFileSystem:OpenZfsFileSystem": ("kmsKeyId",),
    FUNCTION: ("kmsKeyArn",),
    "aws:rds/cluster:Cluster": ("kmsKeyId",),
    "aws:rds/instance:Instance": ("kmsKeyId",),
    "aws:s3/vectorsIndex:VectorsIndex": ("encryptionConfigurations.*.kmsKeyArn",),
    "aws:s3/vectorsVectorBucket:VectorsVectorBucket": ("encryptionConfigurations.*.kmsKeyArn",),
    "aws:sagemaker/domain:Domain": ("kmsKeyId",),
    CONFIGURATION: ("kmsKeyArn", "dataCaptureConfig.kmsKeyId", "asyncInferenceConfig.outputConfig.kmsKeyId"),
    "aws:sagemaker/notebookInstance:NotebookInstance": ("kmsKeyId",),
    "aws:sns/topic:Topic": ("kmsMasterKeyId",),
    "aws:sqs/queue:Queue": ("kmsMasterKeyId",),
    "aws:secretsmanager/secret:Secret": ("kmsKeyId",),
    BUCKET_ENCRYPTION: ("rules.*.applyServerSideEncryptionByDefault.kmsMasterKeyId",),
    "gcp:artifactregistry/repository:Repository": ("kmsKeyName",),
    "gcp:bigquery/dataset:Dataset": ("defaultEncryptionConfiguration.kmsKeyName",),
    "gcp:cloudrunv2/job:Job": ("template.template.encryptionKey",),
    "gcp:cloudrunv2/service:Service": ("template.encryptionKey",),
    "gcp:cloudrunv2/workerPool:WorkerPool": ("template.encryptionKey",),
    "gcp:colab/runtimeTemplate:RuntimeTemplate": ("encryptionSpec.kmsKeyName",),
    "gcp:container/cluster:Cluster": ("databaseEncryption.keyName", "nodeConfig.bootDiskKmsKey"),
    "gcp:container/nodePool:NodePool": ("nodeConfig.bootDiskKmsKey",),
    "gcp:filestore/instance:Instance": ("kmsKeyName",),
    LOG_BUCKET: ("cmekSettings.kmsKeyName",),
    LUSTRE: ("kmsKey",),
    "gcp:memorystore/instance:Instance": ("kmsKey",),
    "gcp:pubsub/topic:Topic": ("kmsKeyName",),
    "gcp:redis/cluster:Cluster": ("kmsKey",),
    "gcp:redis/instance:Instance": ("customerManagedKey",),
    "gcp:secretmanager/secret:Secret": (
        (
            "replication.auto.customerManagedEncryption.kmsKeyName",
            "replication.userManaged.replicas.*.customerManagedEncryption.kmsKeyName",
        ),
    ),
    "gcp:sql/databaseInstance:DatabaseInstance": ("encryptionKeyName",),
    "gcp:storage/bucket:Bucket": ("encryption.defaultKmsKeyName",),
    "gcp:vectorsearch/collection:Collection": ("encryptionSpec.cryptoKeyName",),
    "gcp:vertex/aiEndpoint:AiEndpoint": ("encryptionSpec.kmsKeyName",),
    "gcp:vertex/aiIndex:AiIndex": ("encryptionSpec.kmsKeyName",),
    "gcp:vertex/aiIndexEndpoint:AiIndexEndpoint": ("encryptionSpec.kmsKeyName",),
    "gcp:vertex/aiMetadataStore:AiMetadataStore": ("encryptionSpec.kmsKeyName",),
    "gcp:vertex/aiTensorboard:AiTensorboard": ("encryptionSpec.kmsKeyName",),
    "gcp:workbench/instance:Instance": ("gceSetup.bootDisk.kmsKey", "gceSetup.dataDisks.*.kmsKey"),
    "gcp:workflows/workflow:Workflow": ("cryptoKeyName",),
    "kubernetes:karpenter.k8s.aws/v1:EC2NodeClass": ("spec.blockDeviceMappings.*.ebs.kmsKeyID",),
    STORAGE_CLASS: (("parameters.kmsKeyId", "parameters.disk-encryption-kms-key"),),
}
# Of these a part may be missing, such as the capture of requests; an index has the key of its bucket where it names none.
_WHERE_USED = {
    "asyncInferenceConfig.outputConfig.kmsKeyId",
    "dataCaptureConfig.kmsKeyId",
    ("aws:s3/vectorsIndex:VectorsIndex", "encryptionConfigurations.*.kmsKeyArn"),
}

# The full name of a key on either cloud. An alias of AWS's own (`alias/aws/sns`) is none of ours.
_KEY_NAME = re.compile(
    r"arn:aws[\w-]*:kms:[\w-]*:\d{12}:(key/[\w-]+|alias/(?!aws/)[\w/-]+)|alias/(?!aws/)[\w/-]+"
    r"|projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+"
)

DAY = 86_400
GCP_DEFAULT_DESTROY_DAYS = 30
"""Days that a destroyed key version can be had back when the key does not say (Cloud KMS, destroyScheduledDuration)."""


def seconds(duration: object) -> int | None:
    """Whole seconds of a Google duration such as `7776000s`; `None` where it is not one."""
    match = re.fullmatch(r"(\d+)(\.\d+)?s", str(duration))
    return int(match[1]) if match else None


def _values(value: object, path: list[str]) -> list[object]:
    """What stands at a path; nothing where the path leads nowhere, `None` where only its end is missing."""
    if not path:
        return [value]
    if path[0] == "*":
        return [found for item in items(value) for found in _values(item, path[1:])]
    if not isinstance(value, Mapping) or (len(path) > 1 and path[0] not in value):
        return []
    return _values(value.get(path[0]), path[1:])


def _named(resource: Resource, path: Path) -> Iterator[tuple[str, object]]:
    """What stands at a path; of several, at those that are used."""
    either = (path,) if isinstance(path, str) else path
    found = {each: _values(resource.inputs, each.split(".")) for each in either}
    used = [each for each in either if any(value is not None for value in found[each])]
    for each in used or either[:1]:
        yield from ((each, value) for value in found[each])


def is_own_key(value: object, resource: Resource, path: str, graph: Graph) -> bool:
    """Whether a value names a customer-managed key: by its name, or as the output of one."""
    if not isinstance(value, str) or not value:
        return False
    if _KEY_NAME.fullmatch(str(resolve(value, graph))):
        return True
    sources = {match[1] for match in REFERENCE.finditer(value)} or resource.links(path.partition(".")[0])
    return (
        any(graph.resources[urn].type in KEYS for urn in sources if urn in graph.resources)
        and "alias/aws/" not in value
    )


@resource_rule(
    "encryption-own-key",
    title="What holds data is encrypted with a key of the environment",
    types=(BUCKET, *KEY_PATHS),
    severity="high",
    why="With a key of the provider's nobody can say who may decrypt, take that right away, or prove that data is gone.",
    remedy="Give it the key of its domain: data, models, logs, secrets or compute.",
    controls={
        "aws-fsbp": ("EC2.181", "EFS.1", "ElastiCache.4", "S3.17", "SNS.1", "SQS.1"),
        "cis-gke": ("5.9.1", "5.9.2"),
        "soc2": ("CC6.1",),
        "iso-27001": ("A.8.24",),
        "gdpr": ("32",),
        "eu-ai-act": ("15",),
        "nist-ai-rmf": ("MEASURE 2.7",),
    },
)
def encryption_own_key(resource: Resource, graph: Graph) -> Found:
    """A value that leads to no key of ours is reported, be it missing, the provider's own, or another resource's."""
    if resource.type == BUCKET:
        if not graph.linked(resource.urn, BUCKET_ENCRYPTION, "bucket"):
            yield "nothing says how the bucket is encrypted"
        return
    if resource.type == BUCKET_ENCRYPTION and _receives_access_logs(resource, graph):
        return
    if reason := _cannot_have_one(resource, graph):
        yield Violation(f"it has a key of Google's: {reason}", enforcement="advisory")
        return
    if _needs_none(resource):
        return
    for wanted in KEY_PATHS[resource.type]:
        yield from _at(wanted, resource, graph)
    if resource.type == BUCKET_ENCRYPTION:
        for value in _values(resource.inputs, ["rules", "*", "applyServerSideEncryptionByDefault", "sseAlgorithm"]):
            if str(value) not in {"aws:kms", "aws:kms:dsse"}:
                yield f"the algorithm is {value}, not aws:kms"


def _cannot_have_one(resource: Resource, graph: Graph) -> str:
    """Why a resource that names no key has none of ours, where that is no choice of the program's; empty elsewhere.

    Cloud Logging, "Configure CMEK for log buckets": the identity that needs the key is told by `gcloud logging settings
    describe`, and by no resource. Managed Lustre, "Customer-managed encryption keys": not with GKE.
    """
    if resource.type == LOG_BUCKET and resource.get("cmekSettings") is None:
        return "which identity would use another, Cloud Logging says to who asks it, and to no program"
    if resource.type == LUSTRE and resource.get("kmsKey") is None:
        mounts = graph.linked(resource.urn, VOLUME, "spec")
        if any(str(each.get("spec.csi.driver", "")).startswith("lustre.csi.") for each in mounts):
            return "GKE mounts no file system that has another"
    return ""


def _needs_none(resource: Resource) -> bool:
    """Classes of what is no disk, and functions without variables: those are what its key encrypts."""
    if resource.type == STORAGE_CLASS:
        return str(resource.get("provisioner")) not in _DISKS
    return resource.type == FUNCTION and not resource.get("environment.variables")


def _at(wanted: Path, resource: Resource, graph: Graph) -> Iterator[str]:
    if wanted == "kmsKeyArn" and _has_local_disks(resource):
        return
    found = list(_named(resource, wanted))
    if not found and not {wanted, (resource.type, wanted)} & _WHERE_USED:
        yield "it names no key" if len(KEY_PATHS[resource.type]) == 1 else f"{wanted} names no key"
    for path, value in found:
        if not is_own_key(value, resource, path, graph):
            yield _no_key(path, value)


def _has_local_disks(resource: Resource) -> bool:
    """Whether machines of an endpoint have disks that the hardware encrypts, for which no key is taken.

    SageMaker API, CreateEndpointConfig, KmsKeyId.
    """
    if resource.type != CONFIGURATION or resource.get("kmsKeyArn") is not None:
        return False
    variants = maps(resource.get("productionVariants"))
    types = [str(variant.get("instanceType", "")).removeprefix("ml.") for variant in variants]
    known = [machine("aws", type_) if type_ else None for type_ in types]
    return bool(known) and all(each is not None and each.local_ssd_gib is not None for each in known)


def _no_key(path: str, value: object) -> str:
    if value is None:
        return f"{path} names no key"
    if is_unknown(value):
        return f"{path} comes from {value}, which is no key"
    return f"{path} is {value}, which is no key of the environment"


def _receives_access_logs(encryption: Resource, graph: Graph) -> bool:
    """Whether S3 writes access logs to the bucket, which it does to one with its own key only.

    Amazon S3 User Guide, "Enabling Amazon S3 server access logging".
    """
    return any(graph.linked(urn, BUCKET_LOGGING, "targetBucket") for urn in encryption.links("bucket"))


@resource_rule(
    "key-rotation",
    title="Keys rotate by themselves, at least once a year on AWS and every 90 days on Google Cloud",
    types=(AWS_KEY, GCP_KEY),
    severity="high",
    why="A key that never changes protects everything that was ever written with one secret.",
    remedy="keys.rotation_days in the stack's file.",
    controls={
        "cis-aws": ("4.6",),
        "cis-gcp": ("1.11",),
        "aws-fsbp": ("KMS.4",),
        "soc2": ("CC6.1",),
        "iso-27001": ("A.8.24",),
        "gdpr": ("32",),
    },
)
def key_rotation(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """Of keys that can rotate: symmetric ones, for encryption."""
    if resource.type == AWS_KEY:
        symmetric = resource.get("customerMasterKeySpec", "SYMMETRIC_DEFAULT") == "SYMMETRIC_DEFAULT"
        if not symmetric or resource.get("keyUsage", "ENCRYPT_DECRYPT") != "ENCRYPT_DECRYPT":
            return
        if resource.get("enableKeyRotation") is not True:
            yield "rotation is off"
        days = resource.get("rotationPeriodInDays", 365)
        if not isinstance(days, int | float) or days > 365:
            yield f"it rotates every {days} days"
        return
    if resource.get("purpose", "ENCRYPT_DECRYPT") != "ENCRYPT_DECRYPT":
        return
    period = seconds(resource.get("rotationPeriod"))
    if period is None:
        yield "it has no rotation period"
    elif period > 90 * DAY:
        yield f"it rotates every {period // DAY} days"


@resource_rule(
    "prod-key-deletion",
    title="In prod, a deleted key can be had back for 30 days",
    types=(AWS_KEY, AWS_REPLICA, GCP_KEY),
    severity="medium",
    why="Whoever deletes a key deletes all that was written with it, backups too.",
    remedy="keys.deletion_days: 30.",
    controls={"aws-fsbp": ("KMS.3",), "soc2": ("CC7.5",), "iso-27001": ("A.8.24",)},
)
def prod_key_deletion(resource: Resource, graph: Graph) -> Found:
    """The waiting period, where it is stated; the default of either cloud is 30 days."""
    if not is_prod(graph):
        return
    if resource.type == GCP_KEY:
        given = resource.get("destroyScheduledDuration", f"{GCP_DEFAULT_DESTROY_DAYS * DAY}s")
        period = seconds(given)
        days = None if period is None else period // DAY
    else:
        given = days = resource.get("deletionWindowInDays", 30)
    if not isinstance(days, int | float):
        yield f"{given} is no time between the deletion and the loss"
    elif days < 30:
        yield f"only {days:g} days between the deletion and the loss"


@resource_rule(
    "key-administrable",
    title="A key has a policy of its own that keeps the account in control of it",
    types=(AWS_KEY, AWS_REPLICA),
    severity="high",
    why="Without the account's own statement a key whose last administrator is deleted is lost, with all that it encrypts.",
    remedy="A statement that allows kms:* to arn:aws:iam::<account>:root.",
    controls={"soc2": ("CC6.1",), "iso-27001": ("A.8.24",)},
)
def key_administrable(resource: Resource, graph: Graph) -> Found:
    """A policy that is not yet known is reported by `document-readable`."""
    own = statements(resource, graph, "resource")
    if resource.get("policy") is None:
        yield "it has the default policy, which lets every identity policy of the account use it"
    elif not is_unknown(resource.get("policy")) and not any(
        s.allows
        and s.covers("kms:PutKeyPolicy")
        and any(kind == "AWS" and (value.endswith(":root") or value.isdigit()) for kind, value in s.principals)
        for s in own
    ):
        yield "its policy does not leave the account in control"
    if resource.get("bypassPolicyLockoutSafetyCheck", False) is not False:
        yield "the check against locking oneself out is switched off"
