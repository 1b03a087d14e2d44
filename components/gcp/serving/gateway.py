"""What stands in front of endpoints towards the internet: one load balancer with a firewall."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.contracts import Text
from components.core import fronts
from components.core.fronts import Front
from components.core.google import labels
from components.gcp.blocks.alarms import Alarms, AlarmsArgs
from components.scope import Component, Scope, after

_SCHEME = "EXTERNAL_MANAGED"
_TTL = 300


@dataclass(frozen=True, kw_only=True)
class GatewayArgs:
    """Which hosts there are, and where they lead to."""

    fronts: Mapping[str, Front]
    """By endpoint, `components.core.fronts.fronts`."""
    services: Mapping[str, Text]
    """By endpoint: name of its service of Cloud Run."""
    domain: str
    """Of all hosts, which are one label below it."""
    zone: str | None = None
    """Name of its zone of Cloud DNS, where it is ours to write to."""
    apis: Mapping[str, Text]
    critical: Sequence[Text] = ()
    warning: Sequence[Text] = ()
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class Gateway(Component):
    """A global load balancer that speaks TLS to the internet, and hands a request on to the service that its host stands for.

    What is asked for by another name is answered with 404. Before that, Cloud Armor refuses what looks like an attack, where an
    endpoint wants that, and what is above the throttle of its host, counted for all of its callers. Requests by HTTP are sent to
    HTTPS. Who calls is checked by the service behind: it takes tokens of Google's, which `Exchange` gives for those of our
    issuer, and is reached through here alone.

    Endpoints of the cluster have a load balancer of the cluster's own (`Doors`), with the certificates of this one; where there
    are no others, these are all that there is.

    Where the domain's zone is not given, somebody puts `outputs.records` into the DNS: the one that shows that the domain is
    ours, and the address for each host. The certificate is there within an hour after that, and hosts answer from then on.

    Owns the load balancer with its address, hosts, certificate, security policies, records and alerts. Never owns a service.
    Costs a month about 18 USD for both ways in, 5 for each security policy, 1 for each rule of it, and 0.75 a million requests
    (us-central1, Cloud Armor Standard). A destroy takes it, before the services.

    >>> made = fronts.armor(100, waf=False)
    >>> [rule["action"] for rule in made]
    ['throttle', 'deny(403)']
    """

    outputs: contracts.Gateway

    def __init__(self, name: str, args: GatewayArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the load balancer, and what protects it."""
        super().__init__(name, scope, parent)
        self._args = args
        self._project = args.apis["compute.googleapis.com"]
        self._labels = labels({**scope.tags, **args.tags})
        self._policies: dict[str, gcp.compute.SecurityPolicy] = {}
        proof, certificates, proven = self._certificate()
        wanted: dict[str, Text] = {}
        if args.zone is None:
            # Its name begins with one that Google makes up for the project: known once it is there.
            wanted[f"_acme-challenge.{args.domain}"] = proof.apply(
                lambda record: f"CNAME {record['data']} (of {record['name']})"
            )
        named = after(certificates.name, *proven)
        if not args.fronts:
            self.outputs = contracts.Gateway(addresses={}, records=wanted, certificates=named)
            self.finish(self.outputs)
            return
        address = gcp.compute.GlobalAddress(
            f"{name}-address",
            name=self._called(""),
            description="Endpoints, towards the internet.",
            project=self._project,
            opts=self.options(),
        )
        rules = self._doors(address, self._hosts(), certificates)
        records = self._records(address)
        Alarms(
            f"{name}-alarm",
            AlarmsArgs(
                alarms=fronts.watches(self._called(""), [self._called(part) for part in self._policies]),
                apis=args.apis,
                critical=args.critical,
                warning=args.warning,
            ),
            scope=scope,
            parent=self,
        )
        if args.zone is None:
            wanted |= {front.host: pulumi.Output.concat("A ", address.address) for front in args.fronts.values()}
        self.outputs = contracts.Gateway(
            addresses={
                endpoint: after(f"https://{front.host}", *rules, *proven, *records.get(endpoint, []))
                for endpoint, front in args.fronts.items()
            },
            records=wanted,
            certificates=named,
        )
        self.finish(self.outputs)

    def _called(self, part: str) -> str:
        return self.scope.names.of(f"{self.name}-{part}" if part else self.name, "compute")

    # -- where requests go

    def _policy(self, part: str, rules: Any) -> gcp.compute.SecurityPolicy:
        """The policy of this name; endpoints with the same throttle share one."""
        if part not in self._policies:
            # The machine that learns what is usual looks at what may take an endpoint down, where that matters.
            learns = self.scope.tier == "prod" and part != "nowhere"
            self._policies[part] = gcp.compute.SecurityPolicy(
                f"{self.name}-{part}",
                name=self._called(part),
                type="CLOUD_ARMOR",
                rules=rules,
                advanced_options_config={"json_parsing": "STANDARD", "log_level": "NORMAL"},
                adaptive_protection_config={
                    "layer7_ddos_defense_config": {"enable": True, "rule_visibility": "STANDARD"}
                }
                if learns
                else None,
                project=self._project,
                opts=self.options(),
            )
        return self._policies[part]

    def _backend(
        self, part: str, policy: gcp.compute.SecurityPolicy, group: gcp.compute.RegionNetworkEndpointGroup | None
    ) -> gcp.compute.BackendService:
        return gcp.compute.BackendService(
            f"{self.name}-to-{part}",
            name=self._called(f"to-{part}"),
            load_balancing_scheme=_SCHEME,
            protocol="HTTPS",
            backends=[{"group": group.id}] if group else None,
            security_policy=policy.id,
            log_config={"enable": True, "sample_rate": 1.0},
            project=self._project,
            opts=self.options(),
        )

    def _hosts(self) -> gcp.compute.URLMap:
        """The map from hosts to services; nothing stands behind any other name."""
        args, scope = self._args, self.scope
        backends: dict[str, gcp.compute.BackendService] = {}
        for endpoint, front in args.fronts.items():
            part = f"throttle-{front.throttle_rps}{'' if front.waf else '-only'}"
            group = gcp.compute.RegionNetworkEndpointGroup(
                f"{self.name}-{endpoint}-service",
                name=self._called(f"{endpoint}-service"),
                network_endpoint_type="SERVERLESS",
                region=scope.region,
                cloud_run={"service": args.services[endpoint]},
                project=self._project,
                opts=self.options(),
            )
            policy = self._policy(part, fronts.armor(front.throttle_rps, waf=front.waf))
            backends[endpoint] = self._backend(endpoint, policy, group)
        nowhere = self._backend("nowhere", self._policy("nowhere", fronts.nowhere()), None)
        return gcp.compute.URLMap(
            f"{self.name}-hosts",
            name=self._called(""),
            default_service=nowhere.id,
            host_rules=[{"hosts": [front.host], "path_matcher": endpoint} for endpoint, front in args.fronts.items()],
            path_matchers=[{"name": endpoint, "default_service": made.id} for endpoint, made in backends.items()],
            project=self._project,
            opts=self.options(),
        )

    # -- the ways in

    def _doors(
        self,
        address: gcp.compute.GlobalAddress,
        hosts: gcp.compute.URLMap,
        certificates: gcp.certificatemanager.CertificateMap,
    ) -> list[pulumi.Resource]:
        name, project = self.name, self._project
        modern = gcp.compute.SSLPolicy(
            f"{name}-tls",
            name=self._called("tls"),
            profile="RESTRICTED",
            min_tls_version="TLS_1_2",
            project=project,
            opts=self.options(),
        )
        https = gcp.compute.TargetHttpsProxy(
            f"{name}-https",
            name=self._called("https"),
            url_map=hosts.id,
            certificate_map=pulumi.Output.concat("//certificatemanager.googleapis.com/", certificates.id),
            ssl_policy=modern.id,
            project=project,
            opts=self.options(),
        )
        elsewhere = gcp.compute.URLMap(
            f"{name}-to-https",
            name=self._called("to-https"),
            default_url_redirect={
                "https_redirect": True,
                "strip_query": False,
                "redirect_response_code": "MOVED_PERMANENTLY_DEFAULT",
            },
            project=project,
            opts=self.options(),
        )
        http = gcp.compute.TargetHttpProxy(
            f"{name}-http", name=self._called("http"), url_map=elsewhere.id, project=project, opts=self.options()
        )
        return [
            gcp.compute.GlobalForwardingRule(
                f"{name}-{protocol}-rule",
                name=self._called(protocol),
                ip_address=address.id,
                ip_protocol="TCP",
                port_range=port,
                load_balancing_scheme=_SCHEME,
                target=target.id,
                labels=self._labels,
                project=project,
                opts=self.options(),
            )
            for protocol, port, target in (("https", "443", https), ("http", "80", http))
        ]

    def _certificate(
        self,
    ) -> tuple[pulumi.Output[dict[str, str]], gcp.certificatemanager.CertificateMap, list[pulumi.Resource]]:
        """What shows that the domain is ours, a certificate for the domain and each host below it, and where hosts find it."""
        args, name, project = self._args, self.name, self._args.apis["certificatemanager.googleapis.com"]
        authorization = gcp.certificatemanager.DnsAuthorization(
            f"{name}-proof",
            name=self._called("proof"),
            domain=args.domain,
            # A record of this project's own: other environments may have others for the same domain.
            type="PER_PROJECT_RECORD",
            labels=self._labels,
            project=project,
            opts=self.options(),
        )
        record = authorization.dns_resource_records.apply(_first)
        proven: list[pulumi.Resource] = []
        if args.zone:
            proven.append(
                gcp.dns.RecordSet(
                    f"{name}-proof-record",
                    managed_zone=args.zone,
                    name=record["name"],
                    type=record["type"],
                    rrdatas=[record["data"]],
                    ttl=_TTL,
                    project=args.apis["dns.googleapis.com"],
                    opts=self.options(),
                )
            )
        certificate = gcp.certificatemanager.Certificate(
            f"{name}-certificate",
            name=self._called(""),
            managed={"domains": [args.domain, f"*.{args.domain}"], "dns_authorizations": [authorization.id]},
            labels=self._labels,
            project=project,
            opts=self.options(depends_on=proven),
        )
        certificates = gcp.certificatemanager.CertificateMap(
            f"{name}-certificates", name=self._called(""), labels=self._labels, project=project, opts=self.options()
        )
        entry = gcp.certificatemanager.CertificateMapEntry(
            f"{name}-certificate-of-hosts",
            name=self._called("hosts"),
            map=certificates.name,
            hostname=f"*.{args.domain}",
            certificates=[certificate.id],
            labels=self._labels,
            project=project,
            opts=self.options(),
        )
        return record, certificates, [entry, *proven]

    def _records(self, address: gcp.compute.GlobalAddress) -> dict[str, list[pulumi.Resource]]:
        args = self._args
        if args.zone is None:
            return {}
        return {
            endpoint: [
                gcp.dns.RecordSet(
                    f"{self.name}-{endpoint}-name",
                    managed_zone=args.zone,
                    name=f"{front.host}.",
                    type="A",
                    rrdatas=[address.address],
                    ttl=_TTL,
                    project=args.apis["dns.googleapis.com"],
                    opts=self.options(),
                )
            ]
            for endpoint, front in args.fronts.items()
        }


def _first(records: Sequence[Any] | None) -> dict[str, str]:
    """The record that is asked for; without one, as of an authorization that is only planned, nothing is said."""
    for record in records or ():
        return {"name": record.name, "type": record.type, "data": record.data}
    return {"name": "", "type": "CNAME", "data": ""}
