"""The private network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.core.addresses import gcp_plan
from components.core.google import labels, nth
from components.scope import Component, Scope, after

_ANYWHERE = "0.0.0.0/0"
# Google's APIs inside of a service perimeter; no other address of Google's is needed ("Configure Private Google Access").
_RESTRICTED = IPv4Network("199.36.153.4/30")
# Names that Google's APIs and registries go by, each answered with the addresses above (same source, "domain options").
_DOMAINS = ("googleapis.com", "gcr.io", "pkg.dev", "run.app", "cloudfunctions.net", "gke.goog")
_TTL = 300
# Secondary ranges of the subnet of machines.
_PODS, _SERVICES = "pods", "services"
# Where Identity-Aware Proxy comes from ("Using IAP for TCP forwarding"), and health checks ("Health checks overview").
_IAP = "35.235.240.0/20"
_HEALTH_CHECKS = ("35.191.0.0/16", "130.211.0.0/22")
# The metadata server also answers names ("Cloud DNS overview"), and Google's clock.
_METADATA = "169.254.169.254/32"
# Services whose data leaves the project only over the perimeter's border ("VPC Service Controls supported products"). To GKE
# belong its metadata and image streaming, to notebooks of Colab Enterprise Dataform, to workflows their executions.
_FENCED = (
    "aiplatform.googleapis.com", "artifactregistry.googleapis.com", "binaryauthorization.googleapis.com",
    "cloudfunctions.googleapis.com", "cloudkms.googleapis.com", "cloudscheduler.googleapis.com", "container.googleapis.com",
    "containeranalysis.googleapis.com", "containerfilesystem.googleapis.com", "dataform.googleapis.com",
    "kubernetesmetadata.googleapis.com", "logging.googleapis.com", "lustre.googleapis.com", "monitoring.googleapis.com",
    "notebooks.googleapis.com", "pubsub.googleapis.com", "run.googleapis.com", "secretmanager.googleapis.com",
    "sqladmin.googleapis.com", "storage.googleapis.com", "workflows.googleapis.com",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class NetworkArgs:
    """What network it is."""

    apis: Mapping[str, contracts.Text]
    number: str
    """Number of the project."""
    cidr: IPv4Network
    nat: str
    """`none`, `single` or `per_zone`: the last two are the same here."""
    egress: str
    """`open` or `deny`."""
    allow: Sequence[IPv4Network]
    """With `egress: deny`, ranges that may be reached over HTTPS."""
    flow_logs: bool
    connects: Sequence[str] = ()
    """Classes of services that put endpoints of their own into the workloads' subnet (Private Service Connect)."""
    access_policy: str | None
    """Number of the access policy that a service perimeter belongs to."""
    perimeter: str
    """`off`, `dry_run` or `enforced`."""
    generation: int


@dataclass(frozen=True)
class _Rule:
    """One rule of the firewall policy."""

    name: str
    priority: int
    direction: str
    action: str
    description: str
    ranges: tuple[str, ...]
    ports: tuple[tuple[str, tuple[str, ...]], ...] = (("all", ()),)


class Network(Component):
    """A network of its own with nothing public in it: subnets, routes, names and a firewall that are all written down.

    Owns the network, its subnets, routes, NAT, private names, firewall policy, the range and connection of managed
    services, and the service perimeter around the project. Never owns a machine or an address on the internet: NAT
    takes its own.

    The perimeter lets nobody from outside in. In a dry run it only records what it would stop; whoever enforces it first
    gives the pipeline and people an access level, which belongs to the organisation.

    Costs: NAT 0.0014 USD an hour for each machine up to 32, 0.045 USD a GB; private names 0.20 USD a month for each zone;
    logs 0.50 USD a GiB above 50 GiB (prices of us-central1, 2026-07). A destroy takes everything away; but while a managed
    service still has an address here, Google keeps the connection to it for some days.

    >>> [rule.name for rule in firewall(IPv4Network("10.0.0.0/16"), egress="open", allow=()) if rule.direction == "EGRESS"]
    []
    """

    outputs: contracts.Network

    def __init__(self, name: str, args: NetworkArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the network."""
        super().__init__(name, scope, parent)
        self._args = args
        self._plan = gcp_plan(args.cidr)
        self._compute = args.apis["compute.googleapis.com"]
        network = gcp.compute.Network(
            f"{name}-vpc",
            name=scope.names.of("vpc", "compute"),
            description=f"Private network of {scope.environment}.",
            project=self._compute,
            auto_create_subnetworks=False,
            # The default route leads everywhere; ours are below.
            delete_default_routes_on_create=True,
            routing_mode="REGIONAL",
            # The policy before any rule that somebody makes by hand.
            network_firewall_policy_enforcement_order="BEFORE_CLASSIC_FIREWALL",
            opts=self.options(),
        )
        self._network = network
        guard = self._firewall()
        subnets = self._subnets()
        ready = [*guard, *self._routes(), *self._names(), *self._managed_services(), *self._perimeter()]
        self.outputs = contracts.Network(
            id=after(network.id, *ready),
            workload_subnets=[after(subnets["nodes"].id, *ready)],
            data_subnets=[after(subnets["data"].id, *ready)],
            cidr=str(args.cidr),
            pod_range=_PODS,
            service_range=_SERVICES,
            connected={each: self._connection(each, subnets["nodes"], ready) for each in args.connects},
        )
        self.finish(self.outputs)

    def _connection(
        self, service: str, subnet: gcp.compute.Subnetwork, before: Sequence[pulumi.Resource]
    ) -> contracts.Text:
        """Id of the network, once a class of services may put endpoints into it."""
        policy = gcp.networkconnectivity.ServiceConnectionPolicy(
            f"{self.name}-connects-{service}",
            name=self.scope.names.of(service, "compute"),
            location=self.scope.region,
            network=self._network.id,
            service_class=service,
            psc_config={"subnetworks": [subnet.id]},
            project=self._args.apis["networkconnectivity.googleapis.com"],
            labels=labels(self.scope.tags),
            opts=self.options(depends_on=before),
        )
        return after(self._network.id, policy)

    def _subnets(self) -> dict[str, gcp.compute.Subnetwork]:
        plan, scope, args = self._plan, self.scope, self._args
        logs: Any = (
            {
                "aggregation_interval": "INTERVAL_5_SEC",
                "flow_sampling": 1.0 if scope.tier == "prod" else 0.5,
                "metadata": "INCLUDE_ALL_METADATA",
            }
            if args.flow_logs
            else None
        )
        ranges = {"nodes": plan.nodes, "data": plan.data}
        uses = {"nodes": "Machines that run workloads.", "data": "Data stores."}
        subnets = {
            use: gcp.compute.Subnetwork(
                f"{self.name}-{use}",
                name=scope.names.of(use, "compute"),
                description=uses[use],
                project=self._compute,
                region=scope.region,
                network=self._network.id,
                ip_cidr_range=str(cidr),
                secondary_ip_ranges=[
                    {"range_name": _PODS, "ip_cidr_range": str(plan.pods)},
                    {"range_name": _SERVICES, "ip_cidr_range": str(plan.services)},
                ]
                if use == "nodes"
                else [],
                private_ip_google_access=True,
                stack_type="IPV4_ONLY",
                log_config=logs,
                opts=self.options(),
            )
            for use, cidr in ranges.items()
        }
        # Load balancers of the region stand here; it holds no machine, and Google writes no flow log of it.
        subnets["proxies"] = gcp.compute.Subnetwork(
            f"{self.name}-proxies",
            name=scope.names.of("proxies", "compute"),
            description="Regional load balancers.",
            project=self._compute,
            region=scope.region,
            network=self._network.id,
            ip_cidr_range=str(plan.proxies),
            purpose="REGIONAL_MANAGED_PROXY",
            role="ACTIVE",
            opts=self.options(),
        )
        return subnets

    def _routes(self) -> list[pulumi.Resource]:
        args, scope = self._args, self.scope
        ways = {"apis": (str(_RESTRICTED), "Google's APIs.")}
        if args.nat != "none":
            ways["internet"] = (_ANYWHERE, "Everything else, through NAT.")
        found: list[pulumi.Resource] = [
            gcp.compute.Route(
                f"{self.name}-route-{way}",
                name=scope.names.of(f"to-{way}", "compute"),
                description=description,
                project=self._compute,
                network=self._network.id,
                dest_range=cidr,
                next_hop_gateway="default-internet-gateway",
                priority=1000,
                opts=self.options(),
            )
            for way, (cidr, description) in ways.items()
        ]
        return found + self._nat() if args.nat != "none" else found

    def _nat(self) -> list[pulumi.Resource]:
        scope = self.scope
        router = gcp.compute.Router(
            f"{self.name}-router",
            name=scope.names.of("router", "compute"),
            description="Carries NAT.",
            project=self._compute,
            region=scope.region,
            network=self._network.id,
            opts=self.options(),
        )
        nat = gcp.compute.RouterNat(
            f"{self.name}-nat",
            name=scope.names.of("nat", "compute"),
            project=self._compute,
            region=scope.region,
            router=router.name,
            nat_ip_allocate_option="AUTO_ONLY",
            source_subnetwork_ip_ranges_to_nat="ALL_SUBNETWORKS_ALL_IP_RANGES",
            # Downloads of data and images open thousands of connections to one address.
            enable_dynamic_port_allocation=True,
            min_ports_per_vm=64,
            max_ports_per_vm=8192,
            # Not possible together with dynamic ports ("Ports and addresses").
            enable_endpoint_independent_mapping=False,
            log_config={"enable": True, "filter": "ALL" if scope.tier == "prod" else "ERRORS_ONLY"},
            opts=self.options(),
        )
        return [router, nat]

    def _names(self) -> list[pulumi.Resource]:
        """Private zones that answer for Google's names with the restricted addresses, and a record of every question."""
        scope, dns = self.scope, self._args.apis["dns.googleapis.com"]
        made: list[pulumi.Resource] = [
            gcp.dns.Policy(
                f"{self.name}-names",
                name=scope.names.of("names", "compute"),
                description="Records every name that is asked for.",
                project=dns,
                enable_logging=True,
                enable_inbound_forwarding=False,
                networks=[{"network_url": self._network.id}],
                opts=self.options(),
            )
        ]
        for domain in _DOMAINS:
            label = domain.replace(".", "-")
            zone = gcp.dns.ManagedZone(
                f"{self.name}-zone-{label}",
                name=scope.names.of(label, "compute"),
                description=f"{domain} inside of the network.",
                project=dns,
                dns_name=f"{domain}.",
                visibility="private",
                private_visibility_config={"networks": [{"network_url": self._network.id}]},
                # Records of our own only: they go first.
                force_destroy=False,
                opts=self.options(),
            )
            # The zone's own name has the addresses, every name below is another name for it.
            records = {
                "apex": (f"{domain}.", "A", [str(address) for address in _RESTRICTED]),
                "all": (f"*.{domain}.", "CNAME", [f"{domain}."]),
            }
            made += [
                gcp.dns.RecordSet(
                    f"{self.name}-{label}-{which}",
                    name=record,
                    type=kind,
                    ttl=_TTL,
                    rrdatas=data,
                    managed_zone=zone.name,
                    project=dns,
                    opts=self.options(),
                )
                for which, (record, kind, data) in records.items()
            ]
        return made

    def _firewall(self) -> list[pulumi.Resource]:
        args, scope = self._args, self.scope
        policy = gcp.compute.NetworkFirewallPolicy(
            f"{self.name}-firewall",
            name=scope.names.of("firewall", "compute"),
            description="All that may come in and go out.",
            project=self._compute,
            opts=self.options(),
        )
        rules = [
            gcp.compute.NetworkFirewallPolicyRule(
                f"{self.name}-firewall-{rule.name}",
                rule_name=rule.name,
                description=rule.description,
                project=self._compute,
                firewall_policy=policy.name,
                priority=rule.priority,
                direction=rule.direction,
                action=rule.action,
                enable_logging=True,
                match=_match(rule),
                opts=self.options(),
            )
            for rule in firewall(args.cidr, egress=args.egress, allow=args.allow)
        ]
        association = gcp.compute.NetworkFirewallPolicyAssociation(
            f"{self.name}-firewall-association",
            name=scope.names.of("firewall", "compute"),
            project=self._compute,
            firewall_policy=policy.name,
            attachment_target=self._network.id,
            # Never a moment with half of the rules.
            opts=self.options(depends_on=rules),
        )
        return [association]

    def _managed_services(self) -> list[pulumi.Resource]:
        """A range of ours that Google's managed services take their addresses from, and the connection to them."""
        scope, cidr = self.scope, self._plan.producers
        producers = gcp.compute.GlobalAddress(
            f"{self.name}-producers",
            name=scope.names.of("producers", "compute"),
            description="Addresses of managed services.",
            project=self._compute,
            network=self._network.id,
            purpose="VPC_PEERING",
            address_type="INTERNAL",
            address=str(cidr.network_address),
            prefix_length=cidr.prefixlen,
            opts=self.options(),
        )
        connection = gcp.servicenetworking.Connection(
            f"{self.name}-producers-connection",
            network=self._network.id,
            service=self._args.apis["servicenetworking.googleapis.com"].apply(
                lambda _: "servicenetworking.googleapis.com"
            ),
            reserved_peering_ranges=[producers.name],
            # A connection that outlived an earlier life of the environment is taken over.
            update_on_creation_fail=True,
            # A database that was just deleted holds on to it for days, and a destroy would fail until then; the peering
            # is deleted together with the network.
            deletion_policy="ABANDON",
            opts=self.options(),
        )
        return [connection]

    def _perimeter(self) -> list[pulumi.Resource]:
        args, scope = self._args, self.scope
        if args.access_policy is None or args.perimeter == "off":
            return []
        border: Any = {
            "resources": [f"projects/{args.number}"],
            "restricted_services": list(_FENCED),
        }
        dry = args.perimeter == "dry_run"
        # Names of perimeters take letters, digits and underscores.
        name = scope.names.of(nth("perimeter", args.generation), "compute").replace("-", "_")
        policy = args.apis["accesscontextmanager.googleapis.com"].apply(
            lambda _: f"accessPolicies/{args.access_policy}"
        )
        return [
            gcp.accesscontextmanager.ServicePerimeter(
                f"{self.name}-perimeter",
                name=policy.apply(lambda parent: f"{parent}/servicePerimeters/{name}"),
                parent=policy,
                title=name,
                description=f"Around {scope.environment}: what its services hold stays in.",
                perimeter_type="PERIMETER_TYPE_REGULAR",
                spec=border if dry else None,
                use_explicit_dry_run_spec=dry,
                status=None if dry else border,
                opts=self.options(),
            )
        ]


def firewall(cidr: IPv4Network, *, egress: str, allow: Sequence[IPv4Network]) -> list[_Rule]:
    """The rules of a network: those of `egress` only where it is denied, with `allow` open for HTTPS."""
    inside = str(cidr)
    rules = [
        _Rule("internal", 1000, "INGRESS", "allow", "The network itself.", (inside,)),
        _Rule("iap", 1100, "INGRESS", "allow", "SSH through Identity-Aware Proxy.", (_IAP,), (("tcp", ("22",)),)),
        _Rule("health-checks", 1200, "INGRESS", "allow", "Health checks.", _HEALTH_CHECKS, (("tcp", ()),)),
        _Rule("no-ingress", 65000, "INGRESS", "deny", "Nothing else comes in.", (_ANYWHERE,)),
    ]
    if egress == "deny":
        https = (("tcp", ("443",)),)
        local = (("tcp", ("53", "80")), ("udp", ("53", "123")))
        rules += [
            _Rule("to-internal", 2000, "EGRESS", "allow", "The network itself.", (inside,)),
            _Rule("to-apis", 2100, "EGRESS", "allow", "Google's APIs.", (str(_RESTRICTED),), https),
            _Rule("to-metadata", 2200, "EGRESS", "allow", "Identity, names, time.", (_METADATA,), local),
        ]
        if allow:
            named = tuple(str(range_) for range_ in allow)
            rules.append(
                _Rule("to-allowed", 2300, "EGRESS", "allow", "Ranges that the description names.", named, https)
            )
        rules.append(_Rule("no-egress", 65100, "EGRESS", "deny", "Nothing else goes out.", (_ANYWHERE,)))
    return rules


def _match(rule: _Rule) -> gcp.compute.NetworkFirewallPolicyRuleMatchArgsDict:
    layers: list[gcp.compute.NetworkFirewallPolicyRuleMatchLayer4ConfigArgsDict] = [
        {"ip_protocol": protocol, "ports": list(ports)} if ports else {"ip_protocol": protocol}
        for protocol, ports in rule.ports
    ]
    if rule.direction == "INGRESS":
        return {"src_ip_ranges": list(rule.ranges), "layer4_configs": layers}
    return {"dest_ip_ranges": list(rule.ranges), "layer4_configs": layers}
