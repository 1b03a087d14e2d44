"""Answers and embeddings that are not worked out twice."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws

from components import contracts
from components.aws.blocks.alarms import Alarms, AlarmsArgs
from components.contracts import Text
from components.core import iam
from components.core.cloudwatch import Alarm, Metric
from components.scope import Component, Scope, after

PORTS = (6379, 6380)
"""Of writes, and of reads that may be behind ("Connecting to a serverless cache")."""
_SECOND = 10_000
"""Processing units a second at most (ECPU: 1 KB read or written); ElastiCache takes 1,000 to 15,000,000."""
_ENGINE, _VERSION = "valkey", "8"
# Reads and writes of keys; nothing that empties, lists or reconfigures the whole.
_ACCESS = "on ~* -@all +@read +@write +@connection -@dangerous"
_FULL_PERCENT = 90
_EVICTED, _THROTTLED = 1000, 100
"""Within a quarter of an hour, and within five minutes."""


@dataclass(frozen=True, kw_only=True)
class CacheArgs:
    """One cache, and who uses it."""

    max_gib: int
    clients: Mapping[str, Text] = field(default_factory=dict[str, Text])
    """ARN of the role of each client."""
    groups: Mapping[str, Text] = field(default_factory=dict[str, Text])
    """Security group of each client that has one; where none has, the network's range is let through."""
    network: contracts.Network
    key: contracts.Key
    warning: Sequence[Text] = ()
    team: Sequence[Text] = ()
    """Topics of the team that owns it, in place of those of warnings."""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class Cache(Component):
    """A serverless cache of Valkey that grows to its ceiling and no further, which clients sign in to as themselves.

    At the ceiling it drops what was longest unused of what expires (`volatile-lru`): a client that gives its keys no time to live
    finds it full. Clients speak TLS and the protocol of a cluster, and sign in with a token of their own role that is valid for
    15 minutes (`elasticache:Connect`), as the one user of the cache; there is no password. Requests a second have a ceiling too.

    Owns the cache, its user and group, its security group with the way to it from clients', their right to connect, and its
    alarms. Never owns what a client runs as. Costs 0.084 USD a GB and hour of what is in it, 100 MB at least, and 0.0023 a
    million processing units (us-east-1, 2026-07): 6 USD a month when empty. A destroy is refused outside of dev; a snapshot a
    day is kept there.

    >>> args = CacheArgs(max_gib=2, clients={"chat": topic}, network=network, key=key)
    >>> address = Cache("answers", args, scope=scope, parent=parent).outputs.address
    """

    outputs: contracts.Cache

    def __init__(self, name: str, args: CacheArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the cache, and let clients in."""
        super().__init__(name, scope, parent)
        self._args = args
        self.physical = scope.names.of(name, "cache")
        group, ways = self._group()
        user = aws.elasticache.User(
            f"{name}-user",
            # The same, since it signs in by IAM; lower case ("Authenticating with IAM").
            user_id=self.physical,
            user_name=self.physical,
            engine=_ENGINE,
            access_string=_ACCESS,
            authentication_mode={"type": "iam"},
            tags=dict(args.tags),
            opts=self.options(),
        )
        users = aws.elasticache.UserGroup(
            f"{name}-users",
            user_group_id=self.physical,
            engine=_ENGINE,
            user_ids=[user.user_id],
            tags=dict(args.tags),
            opts=self.options(),
        )
        opts = self.options()
        opts.protect = not scope.deletable or None
        cache = aws.elasticache.ServerlessCache(
            f"{name}-cache",
            name=self.physical,
            description=f"Answers and embeddings: {name}.",
            engine=_ENGINE,
            major_engine_version=_VERSION,
            cache_usage_limits={
                "data_storage": {"maximum": args.max_gib, "unit": "GB"},
                "ecpu_per_seconds": [{"maximum": _SECOND}],
            },
            kms_key_id=args.key.id,
            user_group_id=users.user_group_id,
            security_group_ids=[group.id],
            # Two or three, each in a zone of its own.
            subnet_ids=list(args.network.data_subnets)[:3],
            daily_snapshot_time=None if scope.deletable else "03:00",
            snapshot_retention_limit=None if scope.deletable else 1,
            tags=dict(args.tags),
            opts=opts,
        )
        watched = Alarms(
            f"{name}-alarm",
            AlarmsArgs(
                alarms=list(alarms(name, self.physical, args.max_gib)),
                critical=[],
                warning=[*(args.team or args.warning)],
            ),
            scope=scope,
            parent=self,
        )
        ready = [*ways, *self._grants(cache, user), watched]
        end = cache.endpoints.apply(lambda found: found[0] if found else None)
        self.outputs = contracts.Cache(
            id=after(cache.arn, *ready),
            address=after(end.apply(lambda found: found.address if found else ""), *ready),
            port=end.apply(lambda found: str(found.port) if found else str(PORTS[0])),
            user=user.user_id,
        )
        self.finish(self.outputs)

    def _group(self) -> tuple[aws.ec2.SecurityGroup, list[pulumi.Resource]]:
        """Who is let in: the groups of clients, or where none has one of its own, the network."""
        args, scope, name = self._args, self.scope, self.name
        physical = scope.names.of(f"{name}-cache")
        group = aws.ec2.SecurityGroup(
            f"{name}-group",
            name=physical,
            description=f"Cache {name}: its clients in, nothing out",
            vpc_id=args.network.id,
            tags={"Name": physical, **args.tags},
            opts=self.options(),
        )
        first, last = PORTS
        if not args.groups:
            return group, [
                aws.vpc.SecurityGroupIngressRule(
                    f"{name}-from-network",
                    security_group_id=group.id,
                    description="Clients",
                    ip_protocol="tcp",
                    from_port=first,
                    to_port=last,
                    cidr_ipv4=args.network.cidr,
                    opts=self.options(),
                )
            ]
        ways: list[pulumi.Resource] = []
        for client, theirs in sorted(args.groups.items()):
            # A client's own group lets HTTPS out and nothing else.
            for way, make, own, other in (
                ("from", aws.vpc.SecurityGroupIngressRule, group.id, theirs),
                ("out-of", aws.vpc.SecurityGroupEgressRule, theirs, group.id),
            ):
                ways.append(
                    make(
                        f"{name}-{way}-{client}",
                        security_group_id=own,
                        description=f"{client} to the cache {name}",
                        referenced_security_group_id=other,
                        ip_protocol="tcp",
                        from_port=first,
                        to_port=last,
                        opts=self.options(),
                    )
                )
        return group, ways

    def _grants(self, cache: aws.elasticache.ServerlessCache, user: aws.elasticache.User) -> list[pulumi.Resource]:
        return [
            aws.iam.RolePolicy(
                f"{self.name}-client-{client}",
                name=self.scope.names.of(f"{self.name}-cache", "iam_policy"),
                role=role.apply(lambda arn: arn.rpartition("/")[2]),
                # Both: in which cache, and as whom.
                policy=pulumi.Output.json_dumps(
                    iam.document(iam.allow(["elasticache:Connect"], [cache.arn, user.arn], sid="Connect"))
                ),
                opts=self.options(),
            )
            for client, role in sorted(self._args.clients.items())
        ]


def alarms(name: str, physical: str, max_gib: int) -> Iterator[Alarm]:
    """What is watched of a cache ("Metrics and events for Valkey and Redis OSS serverless caches", by `clusterId`)."""

    def metric(series: str, statistic: str) -> Metric:
        return Metric(
            namespace="AWS/ElastiCache",
            name=series,
            dimensions={"clusterId": physical},
            statistic=statistic,  # pyright: ignore[reportArgumentType]
        )

    yield Alarm(
        name=f"{name}-cache-full",
        meaning=f"The cache {name} has been {_FULL_PERCENT} % full for a quarter of an hour.",
        first="Whether its keys expire: without a time to live it refuses writes. Else raise its max_gib.",
        severity="warning",
        metrics={"used": metric("BytesUsedForCache", "Maximum")},
        comparison=">",
        threshold=max_gib * 2**30 * _FULL_PERCENT // 100,
        period=300,
        periods=3,
    )
    yield Alarm(
        name=f"{name}-cache-evicts",
        meaning=f"The cache {name} dropped {_EVICTED} keys or more within a quarter of an hour, before they expired.",
        first="Whether what it is asked for is still there (CacheHitRate). If not: raise its max_gib.",
        severity="warning",
        metrics={"evicted": metric("Evictions", "Sum")},
        comparison=">=",
        threshold=_EVICTED,
        period=900,
        periods=1,
    )
    yield Alarm(
        name=f"{name}-cache-throttled",
        meaning=f"The cache {name} refused {_THROTTLED} commands or more within 5 minutes: it is asked for more than {_SECOND}"
        " units a second, or has not grown to it yet.",
        first="Which client asks for so much, and whether it reads whole answers where a part would do.",
        severity="warning",
        metrics={"throttled": metric("ThrottledCmds", "Sum")},
        comparison=">=",
        threshold=_THROTTLED,
        period=300,
        periods=1,
    )
