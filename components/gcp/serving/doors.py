"""What stands in front of endpoints in the cluster: a load balancer of the cluster's own, and what is made for it outside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.contracts import Text
from components.core import doors, fronts
from components.core.fronts import Front
from components.core.monitoring_rows import row
from components.core.rows import Row
from components.gcp.blocks.alarms import Alarms, AlarmsArgs
from components.scope import Component, Scope, after
from components.spec.endpoints import Alarm

_TTL = 300
# Where the load balancer, and its health checks, call from ("Firewall rules", external Application Load Balancers).
_SOURCES = ("35.191.0.0/16", "130.211.0.0/22")


@dataclass(frozen=True, kw_only=True)
class Way:
    """Where one endpoint answers, and what it promises."""

    front: Front
    space: str
    """Namespace of its pods."""
    container: str
    """What answers in its pods."""
    kind: str
    alarms: Mapping[str, Alarm]
    """By sign, `components.spec.endpoints.alarms`."""
    fixed: bool = False
    """Whether there are always as many pods as there may be."""
    owner: str | None = None
    """The team that owns it."""
    team: Sequence[Text] = ()
    """Its channels."""


@dataclass(frozen=True, kw_only=True)
class DoorsArgs:
    """To whose pods, and through what."""

    apis: Mapping[str, Text]
    ways: Mapping[str, Way]
    """By endpoint."""
    gateway: contracts.Gateway
    cluster: contracts.Cluster
    zone: str | None = None
    """Name of the domain's zone of Cloud DNS, where it is ours to write to."""
    critical: Sequence[Text] = ()
    warning: Sequence[Text] = ()


class Doors(Component):
    """The ways from the internet to pods of the cluster, as far as they lie outside of it.

    GKE's gateway makes the load balancer (`components/kubernetes/serving/entrance.py`), since it alone knows the groups of
    addresses of the pods. It is told what stands here: its address, with which the names are there before it; the certificates
    of the gateway of all others; what it speaks TLS with; and for each endpoint a policy of Cloud Armor, which throttles and
    looks for attacks as there.

    Where the domain's zone is not given, somebody puts `outputs.records` into the DNS. Owns the address, the policies, the
    names and the alerts. Never owns the load balancer, a certificate or a pod. Costs a month 5 USD for each security policy and
    1 for each rule of it (us-central1, 2026-07, Cloud Armor Standard); the address nothing while it is used. A destroy takes it
    after the load balancer.

    >>> made = fronts.armor(100, waf=True)
    >>> [rule["action"] for rule in made][-2:]
    ['throttle', 'deny(403)']
    """

    outputs: contracts.Doors

    def __init__(self, name: str, args: DoorsArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the address, what guards it, and the names that lead there."""
        super().__init__(name, scope, parent)
        self._args = args
        self._project = args.apis["compute.googleapis.com"]
        if args.gateway.certificates is None:
            raise ValueError(f"{name}: there are no certificates")
        address = gcp.compute.GlobalAddress(
            f"{name}-address",
            name=self._called(""),
            description="Endpoints of the cluster, towards the internet.",
            project=self._project,
            opts=self.options(),
        )
        modern = gcp.compute.SSLPolicy(
            f"{name}-tls",
            name=self._called("tls"),
            profile="RESTRICTED",
            min_tls_version="TLS_1_2",
            project=self._project,
            opts=self.options(),
        )
        ways = dict(sorted(args.ways.items()))
        policies: dict[str, gcp.compute.SecurityPolicy] = {}
        found: dict[str, contracts.Door] = {}
        for endpoint, way in ways.items():
            part = f"throttle-{way.front.throttle_rps}{'' if way.front.waf else '-only'}"
            if part not in policies:
                policies[part] = self._policy(part, way.front)
            found[endpoint] = contracts.Door(
                address=after(f"https://{way.front.host}", *self._record(endpoint, way.front, address)),
                host=way.front.host,
                scope=str(way.front.scope),
                target=policies[part].name,
                row=self._alarms(endpoint, way),
            )
        self.outputs = contracts.Doors(
            doors=found,
            sources=_SOURCES,
            entrance={"address": address.name, "certificates": args.gateway.certificates, "tls": modern.name},
            records={}
            if args.zone
            else {way.front.host: pulumi.Output.concat("A ", address.address) for way in ways.values()},
        )
        self.finish(self.outputs)

    def _alarms(self, endpoint: str, way: Way) -> Row:
        args = self._args
        made = list(
            doors.alerts(endpoint, way.space, args.cluster.physical_name, way.container, way.alarms, fixed=way.fixed)
        )
        alarms = Alarms(
            f"{endpoint}-alarm",
            AlarmsArgs(
                apis=args.apis,
                alarms=made,
                critical=[*args.critical, *way.team],
                warning=[*(way.team or args.warning)],
            ),
            scope=self.scope,
            parent=self,
        ).outputs
        return row(endpoint, way.kind, way.owner, made, policies=list(alarms.names.values()))

    def _called(self, part: str) -> str:
        return self.scope.names.of(f"{self.name}-{part}" if part else self.name, "compute")

    def _policy(self, part: str, front: Front) -> gcp.compute.SecurityPolicy:
        """One for all endpoints with the same throttle, which counts each of them apart."""
        rules = fronts.armor(front.throttle_rps, waf=front.waf)
        learns = self.scope.tier == "prod"
        return gcp.compute.SecurityPolicy(
            f"{self.name}-{part}",
            name=self._called(part),
            type="CLOUD_ARMOR",
            rules=rules,  # pyright: ignore[reportArgumentType]  a table of `components/core/fronts.py`
            advanced_options_config={"json_parsing": "STANDARD", "log_level": "NORMAL"},
            adaptive_protection_config={"layer7_ddos_defense_config": {"enable": True, "rule_visibility": "STANDARD"}}
            if learns
            else None,
            project=self._project,
            opts=self.options(),
        )

    def _record(self, endpoint: str, front: Front, address: gcp.compute.GlobalAddress) -> list[pulumi.Resource]:
        if self._args.zone is None:
            return []
        return [
            gcp.dns.RecordSet(
                f"{self.name}-{endpoint}-name",
                managed_zone=self._args.zone,
                name=f"{front.host}.",
                type="A",
                rrdatas=[address.address],
                ttl=_TTL,
                project=self._args.apis["dns.googleapis.com"],
                opts=self.options(),
            )
        ]
