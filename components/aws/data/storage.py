"""Storage of data: one zone, one bucket."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_aws as aws

from components import contracts
from components.aws.blocks.workload import Workload, WorkloadArgs
from components.contracts import Text
from components.core import iam
from components.core.naming import REPLICA_SUFFIX
from components.scope import Component, Scope, after

ACCESS_LOGS = "access/"
"""Prefix of the access logs in the bucket that receives them."""
_ABANDONED_DAYS = 7
"""Days after which the parts of an upload that nobody finished are deleted."""
_COOL_FROM = 30
"""Days that S3 keeps an object at least before it moves it to Standard-IA ("Lifecycle transitions: constraints")."""
_REPLICATION_MINUTES = 15
"""The only threshold that replication time control knows."""


@dataclass(frozen=True, kw_only=True)
class AccessLogs:
    """Buckets that receive access logs: S3 wants one in each region."""

    here: Text
    replica: Text | None


@dataclass(frozen=True, kw_only=True)
class StorageArgs:
    """What one zone is like."""

    key: contracts.Key
    access_logs: AccessLogs | None
    """Where its access logs go; None for the zone that receives those of the others."""
    replicate: bool = False
    """Keep a copy in the replica region; for the zone of the access logs: receive those of the copies there."""
    boundary: contracts.Boundary
    warning: Sequence[Text] = ()
    """Topics that are told when a copy fails."""
    organization: str | None = None
    readers: Sequence[str] = ()
    """Other accounts that `statements` let in."""
    statements: Sequence[iam.Statement] = ()
    """What the policy of the bucket says besides; not that of its copy."""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    """Tags besides those of every resource: the team's."""
    cool_after_days: int | None = None
    expire_after_days: int | None = None
    expiries: Mapping[str, int] = field(default_factory=dict[str, int])
    """Prefix to the days after which what lies under it is deleted."""
    forgotten: Sequence[str] = ()
    """Prefixes of those under which a deleted object leaves no old version behind for longer than S3 takes, a day."""
    old_versions_days: int = 30
    old_versions_kept: int | None = None
    events: bool = False
    """Tell EventBridge of every object that comes, changes or goes; not of those in its copy."""


@dataclass(frozen=True, kw_only=True)
class _Bucket:
    name: str
    arn: str
    ready: Text
    """Its name, once it is private, encrypted, versioned and has its policy."""


class Storage(Component):
    """A bucket that is private, versioned, encrypted with the domain's key, reached over TLS only, and cleaned up by age.

    Owns the bucket and everything about it: ownership, public access block, policy, encryption, versions, lifecycle, access
    logging, the events that it sends; its copy in the replica region with the same protections, the role that copies, and the
    alarm when that fails. Never owns who may read it: identities bring their own grants. The zone that receives access logs is
    encrypted with keys of S3, because the service that writes them cannot use ours; it owns a second bucket for the logs of the
    copies.

    Costs a month (us-east-1, 2026-09): 0.023 USD a GB, 0.0125 once cooled; a copy as much again, 0.02 a GB to get there and
    0.015 a GB for being there within 15 minutes; requests to the key are few, since S3 makes one key a bucket. A destroy in
    a tier that deletes empties the bucket first; elsewhere it is refused, and in prod the bucket would stay even so.

    >>> args = StorageArgs(key=key, access_logs=None, boundary=boundary)
    >>> logs = Storage("logs", args, scope=scope, parent=parent)
    >>> args = StorageArgs(key=key, access_logs=logs.access_logs, boundary=boundary, cool_after_days=60)
    >>> uri = Storage("raw", args, scope=scope, parent=parent).outputs.uri
    """

    outputs: contracts.Storage
    access_logs: AccessLogs | None
    """For the zone that receives access logs: where the other zones send theirs."""

    def __init__(self, name: str, args: StorageArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the bucket, and its copy where one is wanted."""
        super().__init__(name, scope, parent)
        self._args = args
        logs = args.access_logs
        second = scope.replica_region if args.replicate else None
        physical = scope.names.of(name, "bucket")
        here = self._bucket("", physical, args.key.id, logs.here if logs else None)
        copy = None
        if second:
            there = scope.names.of(name, "bucket") + REPLICA_SUFFIX
            copy = self._bucket("replica-", there, args.key.replica, logs.replica if logs else None, replica=True)
        self.access_logs = None if logs else AccessLogs(here=here.ready, replica=copy.ready if copy else None)
        ready: list[pulumi.Resource] = []
        if copy and logs and args.key.replica:
            ready.append(self._replicate(here, copy, args.key.replica))
        if args.events:
            ready.append(self._tell(here))
        self.outputs = contracts.Storage(
            name=after(here.ready, *ready),
            uri=after(pulumi.Output.concat("s3://", here.ready), *ready),
            resource=after(pulumi.Output.concat("arn:aws:s3:::", here.ready), *ready),
        )
        self.finish(self.outputs)

    def _tell(self, here: _Bucket) -> aws.s3.BucketNotification:
        # A bucket has one such resource: a second one would take away what the first has declared.
        return aws.s3.BucketNotification(
            f"{self.name}-events", bucket=here.ready, eventbridge=True, opts=self.options()
        )

    def _bucket(self, part: str, name: str, key: Text | None, logs: Text | None, *, replica: bool = False) -> _Bucket:
        """One bucket with all that protects it; a `replica` lies in the second region."""
        args, scope, label = self._args, self.scope, f"{self.name}-{part}"
        receives_logs = args.access_logs is None
        bucket = aws.s3.Bucket(
            f"{label}bucket",
            bucket=name,
            force_destroy=scope.deletable,
            tags={"zone": self.name, **args.tags},
            opts=self.options(replica=replica, holds_data=True),
        )
        ownership = aws.s3.BucketOwnershipControls(
            f"{label}ownership",
            bucket=bucket.id,
            # No access control lists: policies alone decide.
            rule={"object_ownership": "BucketOwnerEnforced"},
            opts=self.options(replica=replica),
        )
        private = aws.s3.BucketPublicAccessBlock(
            f"{label}public-access",
            bucket=bucket.id,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=self.options(replica=replica),
        )
        # "You can use default bucket encryption on the destination bucket only if you use … SSE-S3" (Amazon S3 User Guide,
        # "Enabling server access logging"). Nothing else is written to that zone.
        by_default: aws.s3.BucketServerSideEncryptionConfigurationRuleArgsDict = (
            {"apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}}
            if receives_logs
            else {
                "apply_server_side_encryption_by_default": {"sse_algorithm": "aws:kms", "kms_master_key_id": key},
                "bucket_key_enabled": True,
            }
        )
        encrypted = aws.s3.BucketServerSideEncryptionConfiguration(
            f"{label}encryption",
            bucket=bucket.id,
            rules=[by_default],
            opts=self.options(replica=replica),
        )
        versioning = aws.s3.BucketVersioning(
            f"{label}versioning",
            bucket=bucket.id,
            versioning_configuration={"status": "Enabled"},
            opts=self.options(replica=replica),
        )
        policy = aws.s3.BucketPolicy(
            f"{label}policy",
            bucket=bucket.id,
            policy=pulumi.Output.json_dumps(
                iam.document(
                    *self._statements(name, key, () if replica else args.readers, receives_logs=receives_logs),
                    *(() if replica else args.statements),
                )
            ),
            # S3 refuses two changes to the access of one bucket at once.
            opts=self.options(replica=replica, depends_on=[private, ownership]),
        )
        aws.s3.BucketLifecycleConfiguration(
            f"{label}lifecycle",
            bucket=bucket.id,
            rules=lifecycle(
                cool_after_days=args.cool_after_days,
                expire_after_days=args.expire_after_days,
                expiries=args.expiries,
                forgotten=args.forgotten,
                old_versions_days=args.old_versions_days,
                old_versions_kept=args.old_versions_kept,
            ),
            # Rules about old versions want a bucket that has versions.
            opts=self.options(replica=replica, depends_on=[versioning]),
        )
        # The bucket that receives logs keeps none of its own: each delivery would make a line that has to be delivered.
        logged = logs is not None and [
            aws.s3.BucketLogging(
                f"{label}logging",
                bucket=bucket.id,
                target_bucket=logs,
                target_prefix=f"{ACCESS_LOGS}{self.name}/",
                target_object_key_format={"partitioned_prefix": {"partition_date_source": "EventTime"}},
                opts=self.options(replica=replica),
            )
        ]
        return _Bucket(
            name=name,
            arn=f"arn:aws:s3:::{name}",
            # The policy waits for the public access block and the ownership.
            ready=after(bucket.bucket, policy, encrypted, versioning, *(logged or [])),
        )

    def _statements(
        self, name: str, key: Text | None, readers: Sequence[str], *, receives_logs: bool
    ) -> list[iam.Statement]:
        args, scope = self._args, self.scope
        arn = f"arn:aws:s3:::{name}"
        both = [arn, f"{arn}/*"]
        algorithm, key_id = "s3:x-amz-server-side-encryption", "s3:x-amz-server-side-encryption-aws-kms-key-id"

        def named(header: str, *right: Any) -> iam.Condition:
            # A write that names nothing gets the bucket's default. Null, since a negated operator also matches what is missing.
            return {"Null": {header: "false"}, "StringNotEquals": {header: list(right)}}

        outside = iam.outsiders(scope.account, args.organization)
        if readers:
            accounts = {"StringNotEquals": {"aws:PrincipalAccount": [scope.account, *readers]}}
            outside = iam.both(outside, accounts)
        statements = [
            iam.deny(["s3:*"], both, sid="OnlyOverTls", principals="*", when=iam.secure_transport(required=False)),
            iam.deny(
                ["s3:*"], both, sid="OnlyOverTls12", principals="*", when={"NumericLessThan": {"s3:TlsVersion": "1.2"}}
            ),
            iam.deny(["s3:*"], both, sid="OnlyInsiders", principals="*", when=outside),
            iam.deny(["s3:PutObject"], [f"{arn}/*"], sid="OnlyItsKey", principals="*", when=named(key_id, key)),
        ]
        if receives_logs:
            statements.append(
                iam.allow(
                    ["s3:PutObject"],
                    [f"{arn}/{ACCESS_LOGS}*"],
                    sid="AccessLogs",
                    principals={"Service": "logging.s3.amazonaws.com"},
                    when=iam.source(scope.account, f"arn:aws:s3:::{scope.names.of('*', 'bucket')}"),
                )
            )
        else:
            statements.append(
                iam.deny(
                    ["s3:PutObject"], [f"{arn}/*"], sid="OnlyKms", principals="*", when=named(algorithm, "aws:kms")
                )
            )
        return statements

    def _replicate(self, here: _Bucket, copy: _Bucket, second_key: Text) -> aws.s3.BucketReplicationConfig:
        args, scope, name = self._args, self.scope, self.name
        copier = Workload(
            f"{name}-replication",
            WorkloadArgs(
                description=f"Copies the zone {name} to its replica region.",
                service="s3.amazonaws.com",
                statements=[
                    iam.allow(["s3:GetReplicationConfiguration", "s3:ListBucket"], [here.arn]),
                    iam.allow(
                        [
                            "s3:GetObjectVersionForReplication",
                            "s3:GetObjectVersionAcl",
                            "s3:GetObjectVersionTagging",
                        ],
                        [f"{here.arn}/*"],
                    ),
                    iam.allow(["s3:ReplicateObject", "s3:ReplicateDelete", "s3:ReplicateTags"], [f"{copy.arn}/*"]),
                    # With a bucket key the context is the bucket, without one the object ("Replicating encrypted objects").
                    iam.allow(
                        ["kms:Decrypt"],
                        [args.key.id],
                        when=iam.both(
                            iam.via(scope.region, "s3"),
                            {"StringLike": {"kms:EncryptionContext:aws:s3:arn": [here.arn, f"{here.arn}/*"]}},
                        ),
                    ),
                    iam.allow(
                        ["kms:Encrypt", "kms:GenerateDataKey"],
                        [second_key],
                        when=iam.both(
                            iam.via(str(scope.replica_region), "s3"),
                            {"StringLike": {"kms:EncryptionContext:aws:s3:arn": [copy.arn, f"{copy.arn}/*"]}},
                        ),
                    ),
                ],
                boundary=args.boundary,
            ),
            scope=scope,
            parent=self,
        )
        everything = "everything"
        rule: aws.s3.BucketReplicationConfigRuleArgsDict = {
            "id": everything,
            "priority": 1,
            "status": "Enabled",
            "filter": {"prefix": ""},
            # A deletion is copied as a deletion; the version below stays for `old_versions_days`, here and there.
            "delete_marker_replication": {"status": "Enabled"},
            "source_selection_criteria": {"sse_kms_encrypted_objects": {"status": "Enabled"}},
            "destination": {
                "bucket": pulumi.Output.concat("arn:aws:s3:::", copy.ready),
                "encryption_configuration": {"replica_kms_key_id": second_key},
                "replication_time": {"status": "Enabled", "time": {"minutes": _REPLICATION_MINUTES}},
                "metrics": {"status": "Enabled", "event_threshold": {"minutes": _REPLICATION_MINUTES}},
            },
        }
        replication = aws.s3.BucketReplicationConfig(
            f"{name}-replication",
            bucket=here.ready,
            role=copier.outputs.id,
            rules=[rule],
            # Both have to have versions first: neither hands its name on before.
            opts=self.options(),
        )
        # Of the metrics of replication only this one is there in the source's region ("Using S3 Replication metrics"); an alarm
        # on the latency would have to stand in the other, where no topic of ours is.
        aws.cloudwatch.MetricAlarm(
            f"{name}-replication-failed",
            name=scope.names.of(f"{name}-replication-failed"),
            alarm_description=f"Objects of the zone {name} were not copied to {scope.replica_region}.",
            namespace="AWS/S3",
            metric_name="OperationsFailedReplication",
            dimensions={"SourceBucket": here.name, "DestinationBucket": copy.name, "RuleId": everything},
            statistic="Sum",
            period=300,
            evaluation_periods=1,
            threshold=0,
            comparison_operator="GreaterThanThreshold",
            treat_missing_data="notBreaching",
            alarm_actions=list(args.warning),
            opts=self.options(depends_on=[replication]),
        )
        return replication


def lifecycle(
    *,
    cool_after_days: int | None = None,
    expire_after_days: int | None = None,
    expiries: Mapping[str, int] | None = None,
    forgotten: Sequence[str] = (),
    old_versions_days: int = 30,
    old_versions_kept: int | None = None,
) -> "list[aws.s3.BucketLifecycleConfigurationRuleArgsDict]":
    """The rules of a bucket by age, in days; `old_versions_kept` versions of an object outlive `old_versions_days`.

    What would go before it has cooled is not cooled: S3 refuses such a pair of rules. Of two rules that both let an old version
    go the shorter holds ("Examples of S3 Lifecycle configurations": overlapping filters).

    >>> [rule["id"] for rule in lifecycle(cool_after_days=60, expiries={"checkpoints/": 14})]
    ['abandoned-uploads', 'old-versions', 'cool', 'expire-checkpoints']
    """
    old: aws.s3.BucketLifecycleConfigurationRuleNoncurrentVersionExpirationArgsDict = {
        "noncurrent_days": old_versions_days
    }
    if old_versions_kept:
        old["newer_noncurrent_versions"] = old_versions_kept
    versions: aws.s3.BucketLifecycleConfigurationRuleArgsDict = {
        "id": "old-versions",
        "status": "Enabled",
        "filter": {"prefix": ""},
        "noncurrent_version_expiration": old,
    }
    if expire_after_days is None:
        # What is left of a deleted object when its last version has gone; an expiry by age takes that along.
        versions["expiration"] = {"expired_object_delete_marker": True}
    rules: list[aws.s3.BucketLifecycleConfigurationRuleArgsDict] = [
        {
            "id": "abandoned-uploads",
            "status": "Enabled",
            "filter": {"prefix": ""},
            "abort_incomplete_multipart_upload": {"days_after_initiation": _ABANDONED_DAYS},
        },
        versions,
    ]
    if cool_after_days and (expire_after_days is None or expire_after_days > cool_after_days):
        # What is asked to go sooner than S3 allows for Standard-IA goes to the class that has no such bound.
        cold = "STANDARD_IA" if cool_after_days >= _COOL_FROM else "GLACIER_IR"
        rules.append(
            {
                "id": "cool",
                "status": "Enabled",
                "filter": {"prefix": ""},
                "transitions": [{"days": cool_after_days, "storage_class": cold}],
            }
        )
    ages = {**({"": expire_after_days} if expire_after_days else {}), **(expiries or {})}
    for prefix, days in ages.items():
        rule: aws.s3.BucketLifecycleConfigurationRuleArgsDict = {
            "id": f"expire-{prefix.rstrip('/') or 'everything'}",
            "status": "Enabled",
            "filter": {"prefix": prefix},
            "expiration": {"days": days},
        }
        if prefix in forgotten:
            rule["noncurrent_version_expiration"] = {"noncurrent_days": 1}
        rules.append(rule)
    return rules
