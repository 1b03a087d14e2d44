"""What objects inside of a cluster have in common."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

from components import contracts
from components.scope import Component
from components.spec.section import CloudName

# Where pods get the credentials of their identity. EKS User Guide, "EKS Pod Identity", considerations: the agent's address. GKE,
# "About Workload Identity Federation for GKE" and "Control communication with network policies": port 988 with Calico, port 80
# with Dataplane V2. The machine's own metadata on EKS is not among them.
_CREDENTIALS: Mapping[CloudName, Sequence[tuple[str, int]]] = {
    "aws": (("169.254.170.23/32", 80),),
    "gcp": (("169.254.169.252/32", 988), ("169.254.169.254/32", 80)),
}
# Where names are looked up besides kube-dns: NodeLocal DNSCache answers on a link-local address, Cloud DNS on the metadata
# server's (GKE, "Setting up NodeLocal DNSCache", "Using Cloud DNS for GKE").
_RESOLVERS = ("169.254.20.10/32", "169.254.169.254/32")


def inside(
    component: Component,
    cluster: contracts.Cluster,
    *after: pulumi.Resource,
    outlived: bool = True,
    replaced_first: bool = False,
) -> pulumi.ResourceOptions:
    """Options of a child that lives in a cluster, made `after` these.

    It goes with the cluster, so that a destroy asks no API server that is gone; unless it is not `outlived` by the cluster,
    since what it holds owns something in the cloud, as a claim in a namespace owns a disk. With `replaced_first` the old one
    has to go before a new one can have its name.
    """
    return component.options(
        cluster=cluster.provider,
        depends_on=after,
        deleted_with=cluster.resource if outlived else None,
        delete_before_replace=replaced_first or None,
    )


def custom(
    label: str, api: str, kind: str, metadata: Mapping[str, Any], opts: pulumi.ResourceOptions, **content: Any
) -> pulumi.Resource:
    """An object of an operator's kind. The SDK's own class knows `spec` and nothing else; some kinds have other fields."""
    properties = {"apiVersion": api, "kind": kind, "metadata": dict(metadata), **content}
    return pulumi.CustomResource(f"kubernetes:{api}:{kind}", label, properties, opts)


def requirement(key: str, values: Sequence[str]) -> dict[str, object]:
    """What a node's label has to be, in an affinity."""
    return {"key": key, "operator": "In", "values": list(values)}


def outward(cloud: CloudName) -> list[kubernetes.networking.v1.NetworkPolicyEgressRuleArgsDict]:
    """Where any pod of ours may go: names, its credentials, and HTTPS, where the network itself says to whom."""
    resolvers: list[kubernetes.networking.v1.NetworkPolicyPeerArgsDict] = [
        {
            "namespace_selector": {"match_labels": {"kubernetes.io/metadata.name": "kube-system"}},
            "pod_selector": {"match_labels": {"k8s-app": "kube-dns"}},
        },
        *({"ip_block": {"cidr": cidr}} for cidr in _RESOLVERS),
    ]
    return [
        {"to": resolvers, "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]},
        *(
            {"to": [{"ip_block": {"cidr": cidr}}], "ports": [{"port": port, "protocol": "TCP"}]}
            for cidr, port in _CREDENTIALS[cloud]
        ),
        # The clouds' APIs have no ranges of their own that stay; who of these is reached is the network's to say.
        {
            "to": [{"ip_block": {"cidr": "0.0.0.0/0", "except_": ["169.254.0.0/16"]}}],
            "ports": [{"port": 443, "protocol": "TCP"}],
        },
    ]
