"""Customer-managed keys: one a domain."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws

from components import contracts
from components.contracts import Domain
from components.core import containers, iam
from components.scope import Component, Scope

_USE = ("kms:Decrypt", "kms:GenerateDataKey*")


@dataclass(frozen=True)
class _Service:
    """A service of AWS that uses a key in its own name, not in that of whoever calls it."""

    sid: str
    principal: str
    actions: Sequence[str]
    when: Callable[[str, str], iam.Condition]
    """From the account and the region."""


def _log_groups(account: str, region: str) -> iam.Condition:
    # As text and not as the log group's own ARN: that would be a cycle. "Encrypt log data in CloudWatch Logs using KMS".
    return {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": f"arn:aws:logs:{region}:{account}:log-group:*"}}


def _account(account: str, region: str) -> iam.Condition:  # noqa: ARG001 - the table's signature
    return iam.source(account)


# Only services that have something to encrypt. S3, Secrets Manager and Lambda use a key in their caller's name: an
# identity's own policy grants that.
# SNS: "Enable compatibility between event sources from AWS services and encrypted topics". Its own deliveries that failed go
# to an encrypted queue.
_PUBLISHERS = ("cloudwatch", "events", "budgets", "costalerts", "sns")
_SERVICES: Mapping[Domain, Sequence[_Service]] = {
    # It refuses an index under a key that it cannot read by ("Data protection and encryption in S3 Vectors").
    "data": (
        _Service(
            "S3Vectors",
            "indexing.s3vectors.amazonaws.com",
            ("kms:Decrypt",),
            lambda account, region: iam.source(account, f"arn:aws:s3vectors:{region}:{account}:bucket/*"),
        ),
    ),
    "logs": (
        _Service(
            "CloudWatchLogs",
            "logs.{region}.amazonaws.com",
            ("kms:Encrypt*", "kms:Decrypt*", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:Describe*"),
            _log_groups,
        ),
        *(_Service(name.capitalize(), f"{name}.amazonaws.com", _USE, _account) for name in _PUBLISHERS),
        # Prompts and answers ("Monitor model invocation", set up an S3 destination).
        _Service(
            "Bedrock",
            "bedrock.amazonaws.com",
            ("kms:GenerateDataKey",),
            lambda account, region: iam.source(account, f"arn:aws:bedrock:{region}:{account}:*"),
        ),
    ),
}

# Services that start machines with encrypted disks as roles that AWS makes for them, and that have no rights to a key of their
# own ("Required AWS KMS key policy for use with encrypted volumes", EC2 Auto Scaling; "Service-linked role for Spot Instance
# requests"); without it a machine is gone at once, with Client.InternalError. By condition and not as the principal: a policy
# that names a role which is not there yet is refused (MalformedPolicyDocument), and AWS makes these with their first use.
_STARTERS = (
    "autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling",
    "ec2fleet.amazonaws.com/AWSServiceRoleForEC2Fleet",
    "spot.amazonaws.com/AWSServiceRoleForEC2Spot",
)
# The same of FSx ("Working with server-side encrypted Amazon S3 buckets", FSx for Lustre), for keys that encrypt buckets.
_LINKS = "s3.data-source.lustre.fsx.amazonaws.com/AWSServiceRoleForFSxS3Access_fs-*"
_BUCKETS = frozenset({"data", "models", "logs"})
_DISKS = ("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*")

_DOMAINS: Mapping[Domain, str] = {
    "data": "data at rest",
    "models": "models and what training leaves behind",
    "logs": "logs, captured requests and notifications",
    "secrets": "secrets",
    "compute": "volumes of machines",
}
# Volumes are not copied to the other region; everything else may be.
_REPLICATED: frozenset[Domain] = frozenset({"data", "models", "logs", "secrets"})


@dataclass(frozen=True, kw_only=True)
class KeysArgs:
    """How long keys live."""

    rotation_days: int
    """Days between rotations; 90 to 2560 on AWS."""
    deletion_days: int
    """Days in which a deleted key can be had back; 7 to 30."""
    readers: Mapping[Domain, Sequence[str]] = field(default_factory=dict[Domain, Sequence[str]])
    """Other accounts that read objects under a domain's key, where the bucket lets them."""


class Keys(Component):
    """One symmetric key a domain, with an alias, and a replica in the second region where the environment has one.

    Owns the keys, their policies and aliases. Never owns a grant to an identity of ours: the root statement hands that to
    IAM, so a role's own policy says what it may do with a key, and nobody can lock the account out of its data.

    Costs 1 USD a month for each key and each replica, and as much again for each of the first two rotations (KMS pricing,
    2024-07): 5 to 15 USD without replication. A destroy schedules the deletion; until `deletion_days` have passed it can be
    cancelled, and while a key waits it costs nothing. In a tier that protects data, a destroy is refused.

    >>> keys = Keys("keys", KeysArgs(rotation_days=90, deletion_days=7), scope=scope, parent=parent).outputs
    >>> sorted(keys.domains)
    ['compute', 'data', 'logs', 'models', 'secrets']
    """

    outputs: contracts.Keys

    def __init__(self, name: str, args: KeysArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the keys."""
        super().__init__(name, scope, parent)
        self._args = args
        self.outputs = contracts.Keys(domains={domain: self._key(domain) for domain in _DOMAINS})
        self.finish(self.outputs)

    def _policy(self, domain: Domain) -> iam.Document:
        scope = self.scope
        made = policy(scope.account, scope.region, domain)
        if domain == "compute":
            # Disks of containers, wherever there may be any: clusters of ours, by name.
            made["Statement"] += containers.uses_key(scope.account, scope.names.of("*", "cluster"))
        accounts = self._args.readers.get(domain)
        if accounts:
            buckets = f"arn:aws:s3:::{scope.names.of('*', 'bucket')}"
            made["Statement"].append(readers(accounts, scope.region, buckets))
        return made

    def _key(self, domain: Domain) -> contracts.Key:
        scope, args = self.scope, self._args
        second = scope.replica_region if domain in _REPLICATED else None
        label, alias = f"{self.name}-{domain}", f"alias/{scope.names.of(domain, 'kms_alias')}"
        key = aws.kms.Key(
            f"{label}-key",
            description=f"{scope.names.of(domain)}: {_DOMAINS[domain]}",
            policy=pulumi.Output.json_dumps(self._policy(domain)),
            enable_key_rotation=True,
            rotation_period_in_days=args.rotation_days,
            deletion_window_in_days=args.deletion_days,
            # Cannot be changed later: a key that is not multi-region from the start would have to be replaced.
            multi_region=second is not None,
            opts=self.options(holds_data=True),
        )
        aws.kms.Alias(f"{label}-alias", name=alias, target_key_id=key.key_id, opts=self.options())
        if second is None:
            return contracts.Key(id=key.arn, replica=None)
        replica = aws.kms.ReplicaKey(
            f"{label}-replica",
            description=f"{scope.names.of(domain)}: {_DOMAINS[domain]}, in the second region",
            primary_key_arn=key.arn,
            # Copies of data are all that it is for; what else uses the key has no copy there.
            policy=pulumi.Output.json_dumps(policy(scope.account, second)),
            deletion_window_in_days=args.deletion_days,
            opts=self.options(holds_data=True, replica=True),
        )
        aws.kms.Alias(
            f"{label}-replica-alias", name=alias, target_key_id=replica.key_id, opts=self.options(replica=True)
        )
        return contracts.Key(id=key.arn, replica=replica.arn)


def readers(accounts: Sequence[str], region: str, buckets: str) -> iam.Statement:
    """Accounts decrypt objects of these buckets, through S3 alone. The context is the bucket's ARN, or the object's."""
    return iam.allow(
        ["kms:Decrypt"],
        ["*"],
        sid="ReadersOfObjects",
        principals={"AWS": [f"arn:aws:iam::{account}:root" for account in accounts]},
        when=iam.both(iam.via(region, "s3"), {"StringLike": {"kms:EncryptionContext:aws:s3:arn": buckets}}),
    )


def policy(account: str, region: str, domain: Domain | None = None) -> iam.Document:
    """The policy of a key: the account's own IAM decides, and the services that use the domain's key in their own name may."""
    root = iam.allow(["kms:*"], ["*"], sid="AccountDecidesByIam", principals={"AWS": f"arn:aws:iam::{account}:root"})
    services = (
        iam.allow(
            used.actions,
            ["*"],
            sid=used.sid,
            principals={"Service": used.principal.format(region=region)},
            when=used.when(account, region),
        )
        for used in (_SERVICES.get(domain, ()) if domain else ())
    )
    others = _starters(account) if domain == "compute" else _links(account, region) if domain in _BUCKETS else ()
    return iam.document(root, *services, *others)


def _links(account: str, region: str) -> Sequence[iam.Statement]:
    """What copies between a bucket and the file system that is linked to it: a role that AWS makes for each file system."""
    who = f"arn:aws:iam::{account}:role/aws-service-role/{_LINKS}"
    mine: iam.Condition = {"StringEquals": {"kms:CallerAccount": account}, "ArnLike": {"aws:PrincipalArn": who}}
    return (
        iam.allow(
            _DISKS,
            ["*"],
            sid="LinkedFileSystems",
            principals={"AWS": "*"},
            when=iam.both(mine, iam.via(region, "s3")),
        ),
    )


def _starters(account: str) -> Sequence[iam.Statement]:
    roles = [f"arn:aws:iam::{account}:role/aws-service-role/{role}" for role in _STARTERS]
    mine: iam.Condition = {"StringEquals": {"kms:CallerAccount": account}, "ArnLike": {"aws:PrincipalArn": roles}}
    anyone = {"AWS": "*"}
    return (
        iam.allow(_DISKS, ["*"], sid="DisksOfNewMachines", principals=anyone, when=mine),
        # The grant by which EC2 reads the disk of a machine for as long as that runs.
        iam.allow(
            ["kms:CreateGrant"],
            ["*"],
            sid="DisksOfRunningMachines",
            principals=anyone,
            when=iam.both(mine, {"Bool": {"kms:GrantIsForAWSResource": "true"}}),
        ),
    )
