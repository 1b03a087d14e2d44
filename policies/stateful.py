"""Which resources hold data."""

from policies.model import Resource

# What holds data that no second `up` brings back: the data itself, the keys without which it is noise, and clusters, whose end is
# that of every volume and of all work in them.
HOLDS_DATA = frozenset(
    {
        "aws:dynamodb/table:Table",
        "aws:ebs/volume:Volume",
        "aws:ecr/repository:Repository",
        "aws:efs/fileSystem:FileSystem",
        "aws:eks/cluster:Cluster",
        "aws:fsx/lustreFileSystem:LustreFileSystem",
        "aws:fsx/openZfsFileSystem:OpenZfsFileSystem",
        "aws:kms/key:Key",
        "aws:kms/replicaKey:ReplicaKey",
        "aws:rds/cluster:Cluster",
        "aws:rds/instance:Instance",
        "aws:s3/bucket:Bucket",
        "aws:sagemaker/domain:Domain",
        "aws:sagemaker/mlflowApp:MlflowApp",
        "aws:sagemaker/mlflowTrackingServer:MlflowTrackingServer",
        "aws:sagemaker/modelPackageGroup:ModelPackageGroup",
        "aws:sagemaker/notebookInstance:NotebookInstance",
        "aws:sagemaker/space:Space",
        "aws:secretsmanager/secret:Secret",
        "gcp:artifactregistry/repository:Repository",
        "gcp:bigquery/dataset:Dataset",
        "gcp:bigquery/table:Table",
        "gcp:compute/disk:Disk",
        "gcp:container/cluster:Cluster",
        "gcp:filestore/instance:Instance",
        "gcp:kms/cryptoKey:CryptoKey",
        "gcp:logging/projectBucketConfig:ProjectBucketConfig",
        "gcp:lustre/instance:Instance",
        "gcp:secretmanager/regionalSecret:RegionalSecret",
        "gcp:secretmanager/secret:Secret",
        "gcp:sql/databaseInstance:DatabaseInstance",
        "gcp:storage/bucket:Bucket",
        "gcp:vertex/aiMetadataStore:AiMetadataStore",
        "gcp:vertex/aiTensorboard:AiTensorboard",
        "gcp:workbench/instance:Instance",
        "kubernetes:core/v1:PersistentVolume",
        "kubernetes:core/v1:PersistentVolumeClaim",
    }
)


def leads_elsewhere(resource: Resource) -> bool:
    """Whether a volume or a claim of Kubernetes only leads to data that something else holds, such as a file system.

    Its end changes nothing there: a volume is let go of (`Retain`), and a claim names its volume instead of asking for a disk.
    """
    if resource.type == "kubernetes:core/v1:PersistentVolume":
        return resource.get("spec.persistentVolumeReclaimPolicy") == "Retain"
    return resource.type == "kubernetes:core/v1:PersistentVolumeClaim" and bool(resource.get("spec.volumeName"))
