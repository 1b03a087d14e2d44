"""Object storage: one zone."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.core.google import DualRegion, labels
from components.scope import Component, Scope, after

# Who writes usage logs ("Usage logs & storage logs"). An organisation that restricts the domains of members has to let it in.
_USAGE_LOGS = "group:cloud-storage-analytics@google.com"
# Where the access logs of other zones lie in the one that receives them.
_ACCESS = "access/"
_ABORT_DAYS = 7
# How long Cloud Storage keeps a deleted object beside all versions, by what a destroy does; none where all is to go.
_SOFT_DELETE_DAYS = {"delete": 0, "protect": 7, "retain": 30}
_DAY = 86_400


@dataclass(frozen=True, kw_only=True)
class StorageArgs:
    """What lies in the zone, and how long."""

    apis: Mapping[str, contracts.Text]
    zone: str
    key: contracts.Key
    dual_region: DualRegion | None
    """Where a copy is kept too; the key's replica has to live there."""
    logs: contracts.Text | None
    """Bucket that receives the access logs; none for that bucket itself."""
    cool_after_days: int | None = None
    """Days until an object moves to storage for rare reads."""
    expire_after_days: int | None = None
    expiries: Mapping[str, int] = field(default_factory=dict[str, int])
    """Days until objects under a prefix are deleted."""
    old_versions_days: int
    old_versions_kept: int | None = None
    """Old versions that stay whatever their age."""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class Storage(Component):
    """A bucket for one zone: private, versioned, encrypted with the domain's key, in two regions where a copy is kept.

    Owns the bucket, its lifecycle and, where it receives access logs, the right to write them. Never owns who reads
    it: people and workloads bring their own grants. Cloud Storage speaks TLS only to whoever presents a credential.

    Costs 0.020 USD a GB and month in a region, 0.010 once cooled, reads of that 0.01 a GB; in two regions both are
    billed (prices of us-central1, 2026-07). A destroy takes the bucket and everything in it where the tier deletes data,
    and is refused where it protects it. A change of `dual_region` makes a new bucket: copy first.

    >>> lifecycle(StorageArgs(apis={}, zone="raw", key=contracts.Key(id=None, replica=None), dual_region=None, logs=None,
    ...     old_versions_days=30))[0]["action"]
    {'type': 'AbortIncompleteMultipartUpload'}
    """

    outputs: contracts.Storage

    def __init__(self, name: str, args: StorageArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the bucket."""
        super().__init__(name, scope, parent)
        dual, key = args.dual_region, args.key.id
        if dual is not None:
            if args.key.replica is None:
                raise ValueError(f"zone {args.zone} is kept in two regions, and its key in one")
            key = args.key.replica
        bucket = gcp.storage.Bucket(
            f"{name}-bucket",
            name=scope.names.of(args.zone, "bucket"),
            project=args.apis["storage.googleapis.com"],
            location=dual.location if dual else scope.region.upper(),
            custom_placement_config={"data_locations": list(dual.placement)} if dual and dual.placement else None,
            # Turbo replication: in the other region within 15 minutes.
            rpo="ASYNC_TURBO" if dual else None,
            storage_class="STANDARD",
            uniform_bucket_level_access=True,
            public_access_prevention="enforced",
            versioning={"enabled": True},
            encryption={"default_kms_key_name": key},
            soft_delete_policy={"retention_duration_seconds": _SOFT_DELETE_DAYS[scope.protection] * _DAY},
            lifecycle_rules=lifecycle(args),
            logging={"log_bucket": args.logs, "log_object_prefix": f"{_ACCESS}{args.zone}"} if args.logs else None,
            force_destroy=scope.deletable,
            labels={**labels(args.tags), "zone": args.zone},
            opts=self.options(holds_data=True),
        )
        grants: list[pulumi.Resource] = []
        if args.logs is None:
            grants.append(
                gcp.storage.BucketIAMMember(
                    f"{name}-usage-logs",
                    bucket=bucket.name,
                    role="roles/storage.objectCreator",
                    member=_USAGE_LOGS,
                    opts=self.options(),
                )
            )
        self.outputs = contracts.Storage(
            name=after(bucket.name, *grants),
            uri=after(bucket.url, *grants),
            resource=after(bucket.name, *grants),
        )
        self.finish(self.outputs)


def lifecycle(args: StorageArgs) -> list[gcp.storage.BucketLifecycleRuleArgsDict]:
    """The rules of the bucket's lifecycle. What is deleted by age becomes an old version first."""
    rules: list[gcp.storage.BucketLifecycleRuleArgsDict] = [
        {"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": _ABORT_DAYS}}
    ]
    if args.cool_after_days is not None:
        cool: gcp.storage.BucketLifecycleRuleActionArgsDict = {"type": "SetStorageClass", "storage_class": "NEARLINE"}
        rules.append(
            {"action": cool, "condition": {"age": args.cool_after_days, "matches_storage_classes": ["STANDARD"]}}
        )
    delete: gcp.storage.BucketLifecycleRuleActionArgsDict = {"type": "Delete"}
    if args.expire_after_days is not None:
        rules.append({"action": delete, "condition": {"age": args.expire_after_days, "with_state": "LIVE"}})
    expiring: list[gcp.storage.BucketLifecycleRuleArgsDict] = [
        {"action": delete, "condition": {"age": days, "matches_prefixes": [prefix], "with_state": "LIVE"}}
        for prefix, days in sorted(args.expiries.items())
    ]
    old: gcp.storage.BucketLifecycleRuleConditionArgsDict = {
        "days_since_noncurrent_time": args.old_versions_days,
        "with_state": "ARCHIVED",
    }
    if args.old_versions_kept is not None:
        # The newest, which is live, counts as well.
        old["num_newer_versions"] = args.old_versions_kept + 1
    return [*rules, *expiring, {"action": delete, "condition": old}]
