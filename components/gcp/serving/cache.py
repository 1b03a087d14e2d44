"""Answers and embeddings that are not worked out twice."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any
from urllib.parse import quote

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.contracts import Text
from components.core import caching
from components.core.google import labels
from components.core.monitoring import Alarm, Query
from components.gcp.blocks.alarms import Alarms, AlarmsArgs
from components.scope import Component, Scope, after

_PORT = 6379
_PORTS = (6379, 13047)
"""The first says where its machines are, which have 11000 to 13047 ("Connect to a Memorystore for Valkey instance", ports)."""
# What one node holds, GiB, of what it has: the rest is kept free ("Instance and node specification"). The first is for trying
# things out: it has no service level.
_TRIAL = ("SHARED_CORE_NANO", 1.12)
_NODES = (("STANDARD_SMALL", 5.2), ("HIGHMEM_MEDIUM", 10.4), ("HIGHMEM_XLARGE", 46.4))
_FULL_PERCENT = 90
_EVICTED = 1000
"""Within a quarter of an hour."""


@dataclass(frozen=True, kw_only=True)
class CacheArgs:
    """One cache, and who uses it."""

    apis: Mapping[str, Text]
    max_gib: int
    keep_minutes: int
    clients: Mapping[str, str] = field(default_factory=dict[str, str])
    """By endpoint that may use it, the e-mail of the account that it runs as, which need not be there yet."""
    network: contracts.Network
    connected: Text
    """Id of what lets Memorystore make addresses in the network: one a network and region, of the class `gcp-memorystore`."""
    key: contracts.Key
    """Memorystore may use it."""
    warning: Sequence[Text] = ()
    team: Sequence[Text] = ()
    """Channels of the team that owns it, in place of those of warnings."""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class Cache(Component):
    """A cache of Valkey on machines of Memorystore, as many as hold its ceiling, which clients sign in to as themselves.

    When it is full it drops what was longest unused (`allkeys-lru`). It does not grow: its machines are there at any time.
    Clients speak TLS and the protocol of a cluster, from the network alone, and sign in with a token of their own service account
    (`memorystore.instances.connect`, on this cache); there is no password. Each is a user of its own, called as its account, that
    reads and writes keys which begin with its name, and no others ("Secure access to your instances by using ACL policies"); the
    user `default`, who else may do everything, may do nothing. Its machines are what clients share. It writes nothing to disks,
    so that the key is for backups, of which there are none by default. In prod a second machine takes over where one fails.

    It is there before its clients. An entry says what one of them needs: whoever makes the client gives its account the right
    to connect. The address is one of the network's own, in the subnet of workloads.

    Owns the instance, who may do what in it, and its alerts. Never owns what a client runs as, its right to connect, nor the way
    from the network. Costs by the hour and machine 0.032 USD for 1.1 GiB, 0.143 for 5.2 (us-central1, Memorystore for Redis
    Cluster, whose machines are the same, 2025-07), as much again for the second one. A destroy is refused outside of dev.

    >>> nodes(1, trial=True), nodes(8, trial=False), nodes(200, trial=False)
    (('SHARED_CORE_NANO', 1), ('HIGHMEM_MEDIUM', 1), ('HIGHMEM_XLARGE', 5))
    """

    outputs: contracts.Cache

    def __init__(self, name: str, args: CacheArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the cache, and let clients in."""
        super().__init__(name, scope, parent)
        physical = scope.names.of(name, "valkey")
        kind, shards = nodes(args.max_gib, trial=scope.tier == "dev")
        users = gcp.memorystore.AclPolicy(
            f"{name}-users",
            acl_policy_id=physical,
            location=scope.region,
            rules=[
                {"username": "default", "rule": caching.NOBODY},
                *(
                    {"username": email, "rule": caching.access(client)}
                    for client, email in sorted(args.clients.items())
                ),
            ],
            project=args.apis["memorystore.googleapis.com"],
            opts=self.options(),
        )
        instance = gcp.memorystore.Instance(
            f"{name}-cache",
            instance_id=physical,
            location=scope.region,
            node_type=kind,
            shard_count=shards,
            replica_count=1 if scope.tier == "prod" else 0,
            mode="CLUSTER",
            engine_version="VALKEY_8_0",
            engine_configs={"maxmemory-policy": "allkeys-lru"},
            authorization_mode="IAM_AUTH",
            acl_policy=users.id,
            transit_encryption_mode="SERVER_AUTHENTICATION",
            # Clients are told whose certificates to believe, and those vouch for nothing else.
            server_ca_mode="GOOGLE_MANAGED_PER_INSTANCE_CA",
            kms_key=args.key.id,
            persistence_config={"mode": "DISABLED"},
            zone_distribution_config={"mode": "MULTI_ZONE"},
            deletion_protection_enabled=not scope.deletable,
            desired_auto_created_endpoints=[
                {
                    # By the policy's id: without the policy there is no address.
                    "network": pulumi.Output.all(args.network.id, args.connected).apply(lambda found: str(found[0])),
                    "project_id": scope.account,
                }
            ],
            project=args.apis["memorystore.googleapis.com"],
            labels={**labels({**scope.tags, **args.tags}), "cache": name},
            opts=self.options(),
        )
        watched = Alarms(
            f"{name}-alarm",
            AlarmsArgs(
                apis=args.apis,
                alarms=list(alarms(name, physical)),
                critical=[],
                warning=[*(args.team or args.warning)],
            ),
            scope=scope,
            parent=self,
        )
        address = after(instance.endpoints.apply(discovered), watched)
        self.outputs = contracts.Cache(
            id=after(instance.name, watched),
            address=address,
            port=pulumi.Output.from_input(str(_PORT)),
            entries={
                client: contracts.Entry(
                    variables=caching.variables(
                        client,
                        url=pulumi.Output.concat("rediss://", quote(email, safe=""), "@", address, f":{_PORT}"),
                        sign_in="memorystore",
                        minutes=args.keep_minutes,
                        authority=instance.managed_server_cas.apply(vouching),
                    ),
                    connects=[],
                    resource=f"projects/{scope.account}/locations/{scope.region}/instances/{physical}",
                    ports=_PORTS,
                    reach=args.network.cidr,
                )
                for client, email in sorted(args.clients.items())
            },
        )
        self.finish(self.outputs)


def nodes(max_gib: int, *, trial: bool) -> tuple[str, int]:
    """Kind and number of the machines that hold so much: one of the smallest kind that does, else several of the largest."""
    kinds = (*([_TRIAL] if trial else []), *_NODES)
    fitting = next((kind for kind, gib in kinds if gib >= max_gib), None)
    if fitting:
        return fitting, 1
    largest, gib = _NODES[-1]
    return largest, ceil(max_gib / gib)


def discovered(endpoints: Sequence[Any] | None) -> str:
    """Where clients find all of its machines."""
    for endpoint in endpoints or ():
        for connection in endpoint.connections or ():
            found = connection.psc_auto_connection
            if found and found.connection_type == "CONNECTION_TYPE_DISCOVERY":
                return str(found.ip_address)
    return ""


def vouching(found: Sequence[Any] | None) -> str:
    """Certificates of whoever vouches for it: an authority of its own."""
    chains = [chain for each in found or () for chain in each.ca_certs or ()]
    return "".join(f"{text.strip()}\n" for chain in chains for text in chain.certificates or ())


def alarms(name: str, physical: str) -> Iterator[Alarm]:
    """What is watched of a cache ("Supported monitoring metrics", Memorystore for Valkey)."""
    prefix = "memorystore_googleapis_com:instance_"
    chosen = f'{{monitored_resource="memorystore.googleapis.com/Instance",instance_id="{physical}"}}'
    yield Alarm(
        name=f"{name}-cache-full",
        meaning=f"A machine of the cache {name} has been {_FULL_PERCENT} % full for a quarter of an hour.",
        first="Whether what it is asked for is still there (hit ratio). If not: raise its max_gib.",
        severity="warning",
        condition=Query(promql=f"100 * max({prefix}memory_maximum_utilization{chosen}) > {_FULL_PERCENT}"),
        minutes=15,
    )
    yield Alarm(
        name=f"{name}-cache-evicts",
        meaning=f"The cache {name} dropped {_EVICTED} keys or more within a quarter of an hour, before they expired.",
        first="Whether what it is asked for is still there (hit ratio). If not: raise its max_gib.",
        severity="warning",
        condition=Query(promql=f"sum(increase({prefix}stats_total_evicted_keys_count{chosen}[15m])) >= {_EVICTED}"),
        minutes=0,
    )
    yield Alarm(
        name=f"{name}-cache-refuses",
        meaning=f"The cache {name} refused connections: it has as many as it takes.",
        first="Whether clients close what they open.",
        severity="warning",
        condition=Query(promql=f"sum(increase({prefix}stats_total_rejected_connections_count{chosen}[5m])) > 0"),
        minutes=0,
    )
