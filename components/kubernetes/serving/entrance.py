"""The gateway of a cluster of Google Cloud."""

from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

from components import contracts
from components.kubernetes.contracts import SERVING
from components.kubernetes.contracts import Entrance as Handles
from components.kubernetes.objects import custom, inside
from components.scope import Component, Scope, after

_SPACE, _NAME = "front", "front"
_CLASS = "gke-l7-global-external-managed"
_API, _POLICIES = "gateway.networking.k8s.io/v1", "networking.gke.io/v1"


@dataclass(frozen=True, kw_only=True)
class EntranceArgs:
    """Under which address, and with which certificates."""

    cluster: contracts.Cluster
    doors: contracts.Doors


class Entrance(Component):
    """A global load balancer that speaks TLS to the internet, and leads to hosts of the cluster: GKE's own Gateway.

    Its address, its certificates and how it speaks TLS are made outside, so that names are known beforehand and are there
    before it. Only namespaces of endpoints have routes of it, in which nobody but who deploys makes anything. What is asked for
    by another name is answered with 404, and requests by HTTP are sent to HTTPS.

    The other load balancer (`components/gcp/serving/gateway.py`) cannot lead to pods: which groups of their addresses there
    are, and in which zones, is the cluster's to say.

    Owns the namespace, the gateway with its policy, and the redirect. Never owns a route to an endpoint. Costs about 18 USD a
    month for both ways in, and 0.008 a GB (us-central1, 2026-07). A destroy takes it away, with all that GKE made for it, and
    waits for that; the groups of addresses go with the namespaces of the endpoints.

    >>> names = {"address": cluster.name, "certificates": cluster.name, "tls": cluster.name}
    >>> args = EntranceArgs(cluster=cluster, doors=contracts.Doors(doors={}, sources=[], entrance=names))
    >>> Entrance("front", args, scope=scope, parent=parent).name
    'front'
    """

    layer = "kubernetes"
    outputs: Handles

    def __init__(self, name: str, args: EntranceArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the namespace, the gateway, and what it is told besides."""
        super().__init__(name, scope, parent)
        self._args = args
        told = args.doors.entrance
        level = "pod-security.kubernetes.io"
        space = kubernetes.core.v1.Namespace(
            f"{name}-space",
            metadata={
                "name": _SPACE,
                "labels": {f"{level}/{mode}": "restricted" for mode in ("enforce", "warn", "audit")},
            },
            opts=self._options(),
        )
        closed = kubernetes.networking.v1.NetworkPolicy(
            f"{name}-closed",
            metadata={"name": "closed", "namespace": _SPACE},
            spec={"pod_selector": {}, "policy_types": ["Ingress", "Egress"]},
            opts=self._options(space),
        )
        modern = custom(
            f"{name}-tls",
            _POLICIES,
            "GCPGatewayPolicy",
            self._meta(),
            self._options(space),
            spec={
                "default": {"sslPolicy": told["tls"]},
                "targetRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": _NAME},
            },
        )
        routes = {"namespaces": {"from": "Selector", "selector": {"matchLabels": {SERVING: "true"}}}}
        gateway = custom(
            f"{name}-gateway",
            _API,
            "Gateway",
            {
                **self._meta(),
                "annotations": {
                    # In place of certificates in the cluster, which it then takes none of ("Secure a Gateway").
                    "networking.gke.io/certmap": told["certificates"],
                    "pulumi.com/waitFor": "condition=Programmed",
                    "pulumi.com/timeoutSeconds": "1800",
                },
            },
            # What GKE makes for it lies outside of the cluster, and would stay if it went unasked.
            self._options(modern, outlived=False),
            spec={
                "gatewayClassName": _CLASS,
                "addresses": [{"type": "NamedAddress", "value": told["address"]}],
                "listeners": [
                    {"name": "https", "protocol": "HTTPS", "port": 443, "allowedRoutes": routes},
                    {"name": "http", "protocol": "HTTP", "port": 80, "allowedRoutes": {"namespaces": {"from": "Same"}}},
                ],
            },
        )
        redirect = custom(
            f"{name}-to-https",
            _API,
            "HTTPRoute",
            {**self._meta(), "name": "to-https"},
            self._options(gateway),
            spec={
                "parentRefs": [{"name": _NAME, "sectionName": "http"}],
                "rules": [
                    {
                        "filters": [
                            {"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 301}}
                        ]
                    }
                ],
            },
        )
        self.outputs = Handles(name=after(_NAME, gateway, redirect, closed), space=pulumi.Output.from_input(_SPACE))
        self.finish(self.outputs)

    def _options(self, *made: pulumi.Resource, outlived: bool = True) -> pulumi.ResourceOptions:
        return inside(self, self._args.cluster, *made, outlived=outlived)

    def _meta(self) -> dict[str, Any]:
        return {"name": _NAME, "namespace": _SPACE}
