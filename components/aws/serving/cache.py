"""Answers and embeddings that are not worked out twice."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws

from components import contracts
from components.aws.blocks.alarms import Alarms, AlarmsArgs
from components.contracts import Text
from components.core import caching
from components.core.cloudwatch import Alarm, Metric
from components.scope import Component, Scope, after

PORTS = (6379, 6380)
"""Of writes, and of reads that may be behind ("Connecting to a serverless cache")."""
_SECOND = 10_000
"""Processing units a second at most (ECPU: 1 KB read or written); ElastiCache takes 1,000 to 15,000,000."""
_ENGINE, _VERSION = "valkey", "8"
_FULL_PERCENT = 90
_EVICTED, _THROTTLED = 1000, 100
"""Within a quarter of an hour, and within five minutes."""


@dataclass(frozen=True, kw_only=True)
class CacheArgs:
    """One cache, and who uses it."""

    max_gib: int
    keep_minutes: int
    clients: Sequence[str] = ()
    """Names of the endpoints that may use it."""
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
    15 minutes (`elasticache:Connect`), each as a user of its own that reads and writes keys which begin with its name, and no
    others; there is no password. Requests a second have a ceiling too.

    It is there before its clients. An entry says what one of them needs: whoever makes the client gives its role the right to
    connect, and opens the way between the two security groups.

    Owns the cache, its users and their group, its security group, and its alarms. Never owns what a client runs as, nor the way
    to it. Costs 0.084 USD a GB and hour of what is in it, 100 MB at least, and 0.0023 a million processing units (us-east-1,
    2026-07): 6 USD a month when empty. A destroy is refused outside of dev; a snapshot a day is kept there.

    >>> args = CacheArgs(max_gib=2, keep_minutes=60, clients=["chat"], network=network, key=key)
    >>> sorted(Cache("answers", args, scope=scope, parent=parent).outputs.entries)
    ['chat']
    """

    outputs: contracts.Cache

    def __init__(self, name: str, args: CacheArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the cache, and whom clients sign in as."""
        super().__init__(name, scope, parent)
        self._args = args
        self.physical = scope.names.of(name, "cache")
        group = self._group()
        users = {client: self._user(client, caching.access(client)) for client in sorted(args.clients)}
        # A group has somebody in it; without clients that is one who may do nothing, and whom no role may be.
        known = users or {"": self._user("", caching.NOBODY)}
        members = aws.elasticache.UserGroup(
            f"{name}-users",
            user_group_id=self.physical,
            engine=_ENGINE,
            user_ids=[user.user_id for user in known.values()],
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
            user_group_id=members.user_group_id,
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
        end = cache.endpoints.apply(lambda found: found[0] if found else None)
        address = after(end.apply(lambda found: found.address if found else ""), members, watched)
        port = end.apply(lambda found: str(found.port) if found else str(PORTS[0]))
        self.outputs = contracts.Cache(
            id=after(cache.arn, members, watched),
            address=address,
            port=port,
            entries={
                client: contracts.Entry(
                    variables=caching.variables(
                        client,
                        url=pulumi.Output.concat("rediss://", user.user_id, "@", address, ":", port),
                        sign_in=f"elasticache/{scope.region}/{self.physical}",
                        minutes=args.keep_minutes,
                    ),
                    connects=[cache.arn, user.arn],
                    group=group.id,
                    ports=PORTS,
                    reach=args.network.cidr,
                )
                for client, user in users.items()
            },
        )
        self.finish(self.outputs)

    def _group(self) -> aws.ec2.SecurityGroup:
        """Nobody is let in but by the ways of clients, and nothing goes out."""
        physical = self.scope.names.of(f"{self.name}-cache")
        return aws.ec2.SecurityGroup(
            f"{self.name}-group",
            name=physical,
            description=f"Cache {self.name}: its clients in, nothing out",
            vpc_id=self._args.network.id,
            tags={"Name": physical, **self._args.tags},
            opts=self.options(),
        )

    def _user(self, client: str, may: str) -> aws.elasticache.User:
        physical = self.scope.names.of(f"{self.name}-{client}".rstrip("-"), "cache")
        return aws.elasticache.User(
            f"{self.name}-user-{client}".rstrip("-"),
            # The same, since it signs in by IAM; lower case ("Authenticating with IAM").
            user_id=physical,
            user_name=physical,
            engine=_ENGINE,
            access_string=may,
            authentication_mode={"type": "iam"},
            tags=dict(self._args.tags),
            opts=self.options(),
        )


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
