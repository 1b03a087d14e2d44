"""The database behind a tracking server of our own, and what that server may do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pulumi
import pulumi_aws as aws

from components import contracts
from components.aws.blocks.workload import Workload, WorkloadArgs
from components.core import iam, postgres
from components.scope import Component, Scope, after

_NAME = "mlflow"
"""Of the database, and of the user that owns it."""
_ARTIFACTS = "mlflow/"
"""Prefix of the artifacts of runs in their zone."""
_FAMILY = f"postgres{postgres.VERSION}"
# Graviton machines that RDS has for PostgreSQL 17 ("Supported DB engines for DB instance classes").
_MACHINES: Mapping[str, str] = {"small": "db.t4g.medium", "medium": "db.m7g.large", "large": "db.m7g.xlarge"}
# Of each kind of log that RDS hands on for PostgreSQL ("Publishing PostgreSQL logs to CloudWatch Logs").
_LOGS = ("postgresql", "upgrade")


@dataclass(frozen=True, kw_only=True)
class DatabaseArgs:
    """How large it is, where it lies, and for whom it is."""

    size: Literal["small", "medium", "large"]
    disk_gib: int
    max_disk_gib: int
    network: contracts.Network
    cluster: contracts.Cluster
    """Whose machines alone reach it."""
    pod: tuple[str, str]
    """Namespace and service account of the server."""
    bucket: contracts.Storage
    """Zone of the artifacts."""
    bucket_key: contracts.Key
    """Of that zone."""
    key: contracts.Key
    """Encrypts the database."""
    secrets_key: contracts.Key
    logs_key: contracts.Key
    boundary: contracts.Boundary
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class Database(Component):
    """PostgreSQL of RDS for one server, in the subnets for data, reached by the machines of one cluster and over TLS only.

    No password is in the program or its state: RDS makes one, keeps it in a secret under our key, and has a new one every seven
    days ("Password management with Amazon RDS and AWS Secrets Manager"). The server reads it there as itself.

    Owns the instance, its parameters, subnets, security group and logs, the server's role with the right to that secret and to
    its artifacts, and which pods have the role. Never owns the bucket, a key, or what is in the database. The user is the
    instance's own, which has one database and one client.

    Costs by the hour (us-east-1, 2026): `small` 0.065 USD, `medium` 0.168, `large` 0.337, twice that in prod with its standby;
    0.115 a GB-month of disk, and of backups beyond its size 0.095; the secret 0.40 a month. A destroy takes it with its backups;
    in a tier that protects data RDS refuses, and whoever insists is left with a last snapshot. What replaces it: its name, its
    key.

    >>> handle = contracts.Cluster(
    ...     name=network.id, physical_name="acme", endpoint=network.id, location="here", provider=scope.provider,
    ...     resource=parent, node_identity=network.id, security_group=network.id,
    ... )
    >>> args = DatabaseArgs(
    ...     size="small", disk_gib=20, max_disk_gib=200, network=network, cluster=handle, pod=("tracking", "mlflow"),
    ...     bucket=bucket, bucket_key=key, key=key, secrets_key=key, logs_key=key, boundary=boundary,
    ... )
    >>> Database("tracking-database", args, scope=scope, parent=parent).outputs.name
    'mlflow'
    """

    outputs: contracts.Database

    def __init__(self, name: str, args: DatabaseArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the instance, and the identity of who uses it."""
        super().__init__(name, scope, parent)
        self._args = args
        self._physical = scope.names.of(name, "database")
        group, ways = self._security_group()
        instance = self._instance(group)
        secret = instance.master_user_secrets.apply(_arn)
        role = self._identity(secret)
        association = aws.eks.PodIdentityAssociation(
            f"{name}-pods",
            cluster_name=args.cluster.name,
            namespace=args.pod[0],
            service_account=args.pod[1],
            role_arn=role,
            tags=dict(args.tags),
            opts=self.options(),
        )
        self.outputs = contracts.Database(
            host=after(instance.address, *ways),
            name=_NAME,
            user=instance.username,
            secret=secret,
            authority=None,
            reach=args.network.cidr,
            identity=after(role, association),
            artifacts=pulumi.Output.concat(args.bucket.uri, f"/{_ARTIFACTS.rstrip('/')}"),
        )
        self.finish(self.outputs)

    def _security_group(self) -> tuple[aws.ec2.SecurityGroup, list[pulumi.Resource]]:
        """In from the cluster's machines to its port, and nothing out."""
        args = self._args
        group = aws.ec2.SecurityGroup(
            f"{self.name}-network",
            name=self._physical,
            description="Database of experiments: in from the machines of the cluster",
            vpc_id=args.network.id,
            tags={"Name": self._physical, **args.tags},
            opts=self.options(),
        )
        way = aws.vpc.SecurityGroupIngressRule(
            f"{self.name}-in",
            security_group_id=group.id,
            referenced_security_group_id=args.cluster.security_group,
            description="PostgreSQL",
            ip_protocol="tcp",
            from_port=postgres.PORT,
            to_port=postgres.PORT,
            opts=self.options(),
        )
        return group, [way]

    def _instance(self, group: aws.ec2.SecurityGroup) -> aws.rds.Instance:
        args, scope, keeps = self._args, self.scope, not self.scope.deletable
        subnets = aws.rds.SubnetGroup(
            f"{self.name}-subnets",
            name=self._physical,
            description="Subnets for data",
            subnet_ids=list(args.network.data_subnets),
            tags=dict(args.tags),
            opts=self.options(),
        )
        parameters = aws.rds.ParameterGroup(
            f"{self.name}-parameters",
            name=self._physical,
            description="Nothing without TLS, and who was there",
            family=_FAMILY,
            parameters=[{"name": name, "value": value} for name, value in postgres.PARAMETERS.items()],
            tags=dict(args.tags),
            opts=self.options(),
        )
        logs = [
            aws.cloudwatch.LogGroup(
                f"{self.name}-{kind}-log",
                name=f"/aws/rds/instance/{self._physical}/{kind}",
                retention_in_days=scope.log_days,
                kms_key_id=args.logs_key.id,
                tags=dict(args.tags),
                opts=self.options(),
            )
            for kind in _LOGS
        ]
        return aws.rds.Instance(
            f"{self.name}-instance",
            identifier=self._physical,
            engine="postgres",
            engine_version=postgres.VERSION,
            auto_minor_version_upgrade=True,
            allow_major_version_upgrade=False,
            instance_class=_MACHINES[args.size],
            db_name=_NAME,
            port=postgres.PORT,
            username=_NAME,
            manage_master_user_password=True,
            master_user_secret_kms_key_id=args.secrets_key.id,
            iam_database_authentication_enabled=True,
            storage_type="gp3",
            allocated_storage=args.disk_gib,
            # RDS takes a ceiling only above what is there.
            max_allocated_storage=args.max_disk_gib if args.max_disk_gib > args.disk_gib else None,
            storage_encrypted=True,
            kms_key_id=args.key.id,
            db_subnet_group_name=subnets.name,
            vpc_security_group_ids=[group.id],
            publicly_accessible=False,
            multi_az=scope.tier == "prod",
            parameter_group_name=parameters.name,
            enabled_cloudwatch_logs_exports=list(_LOGS),
            performance_insights_enabled=True,
            performance_insights_kms_key_id=args.key.id,
            performance_insights_retention_period=7,
            backup_retention_period=postgres.BACKUP_DAYS[scope.protection],
            backup_window="01:00-02:00",
            maintenance_window="sun:03:00-sun:04:00",
            copy_tags_to_snapshot=True,
            delete_automated_backups=not keeps,
            deletion_protection=keeps,
            skip_final_snapshot=not keeps,
            final_snapshot_identifier=f"{self._physical}-final" if keeps else None,
            tags={"Name": self._physical, **args.tags},
            opts=self.options(holds_data=True, depends_on=logs),
        )

    def _identity(self, secret: contracts.Text) -> contracts.Text:
        """The role of the server: the password of the moment, and what lies under its prefix."""
        args, region = self._args, self.scope.region
        context: iam.Condition = {"StringEquals": {"kms:EncryptionContext:SecretARN": secret}}
        return Workload(
            f"{self.name}-client",
            WorkloadArgs(
                description="Records experiments in a database, and their artifacts in a bucket.",
                service=None,
                pod=args.pod,
                statements=[
                    iam.allow(["secretsmanager:GetSecretValue"], [secret]),
                    iam.allow(
                        ["kms:Decrypt"],
                        [args.secrets_key.id],
                        when=iam.both(iam.via(region, "secretsmanager"), context),
                    ),
                    iam.allow(
                        ["s3:ListBucket"],
                        [args.bucket.resource],
                        when={"StringLike": {"s3:prefix": [_ARTIFACTS, f"{_ARTIFACTS}*"]}},
                    ),
                    iam.allow(
                        ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"],
                        [pulumi.Output.concat(args.bucket.resource, f"/{_ARTIFACTS}*")],
                    ),
                    iam.allow(["kms:Decrypt", "kms:GenerateDataKey"], [args.bucket_key.id], when=iam.via(region, "s3")),
                ],
                boundary=args.boundary,
            ),
            scope=self.scope,
            parent=self,
        ).outputs.id


def _arn(secrets: Sequence[Any]) -> str:
    """ARN of the only secret of an instance; what stands in its place where outputs are made up."""
    return str(getattr(secrets[0], "secret_arn", secrets[0]))
