"""The way from the internet to the pods of an endpoint."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

from components import contracts
from components.core.fronts import FRONT_METRICS, FRONT_PORT
from components.kubernetes import checker, pods
from components.kubernetes.contracts import Beside, Entrance
from components.kubernetes.contracts import Door as Handles
from components.kubernetes.objects import custom, inside
from components.scope import Component, Scope
from components.spec.serving import Container, RealTime, Tokens

_ANSWER_SECONDS, _DRAIN_SECONDS = 60, 20


@dataclass(frozen=True, kw_only=True)
class DoorArgs:
    """To whose pods, and through what."""

    cluster: contracts.Cluster
    endpoint: str
    spec: RealTime | Container
    namespace: contracts.Text
    """Of its pods."""
    doors: contracts.Doors
    tokens: Tokens
    envoy: pulumi.Input[str]
    """Where its image is pulled from."""
    entrance: Entrance | None = None
    """Google Cloud: the gateway of the cluster."""
    ready: Sequence[pulumi.Resource] = ()
    """AWS: what registers pods."""


class Door(Component):
    """What joins one endpoint of the cluster to the load balancer of its cloud, and lets that in.

    On AWS the load balancer is made with the environment, and checks tokens: a `TargetGroupBinding` says which pods are
    registered there, each with its own address. On Google Cloud the cluster's gateway is the load balancer (`Entrance`), which
    an `HTTPRoute` leads from the host to the pods; it throttles and looks for attacks (`GCPBackendPolicy`), asks whether they
    are healthy (`HealthCheckPolicy`) and logs, but checks no token: an Envoy beside each container does, and nothing that comes
    from outside reaches the container but through it.

    Owns these objects, and the policy by which the load balancer's ranges reach the pods on that one port. Never owns a pod, a
    load balancer or a certificate. Costs nothing by itself; on Google Cloud a quarter of a vCPU and 256 MiB a pod. A destroy
    takes it away before the load balancer.

    >>> args = DoorArgs(
    ...     cluster=cluster, endpoint="search", spec=container, namespace=cluster.name, doors=doors, tokens=tokens,
    ...     envoy="docker.io/envoyproxy/envoy:distroless-v1.39.1", entrance=Entrance(name=cluster.name, space=cluster.name),
    ... )
    >>> Door("search-door", args, scope=scope, parent=parent).name
    'search-door'
    """

    layer = "kubernetes"
    outputs: Handles

    def __init__(self, name: str, args: DoorArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Let the load balancer in, then join them."""
        super().__init__(name, scope, parent)
        self._args = args
        self._door = args.doors.doors[args.endpoint]
        self._listening = pods.listening(args.endpoint, args.spec)
        aws = scope.cloud == "aws"
        fence = self._fence([self._listening.port] if aws else [FRONT_PORT, FRONT_METRICS])
        made, beside = (self._bound(fence), None) if aws else self._routed(fence)
        self.outputs = Handles(address=self._door.address, made=[fence, *made], beside=beside)
        self.finish({"address": self._door.address})

    def _options(self, *made: pulumi.Resource) -> pulumi.ResourceOptions:
        return inside(self, self._args.cluster, *self._args.ready, *made)

    def _meta(self, name: str) -> dict[str, Any]:
        return {"name": name, "namespace": self._args.namespace, "labels": pods.labels(self._args.endpoint)}

    def _fence(self, ports: Sequence[int]) -> pulumi.Resource:
        endpoint, cloud = self._args.endpoint, self.scope.cloud
        rules: list[kubernetes.networking.v1.NetworkPolicyIngressRuleArgsDict] = [
            {
                "from_": [{"ip_block": {"cidr": cidr}} for cidr in self._args.doors.sources],
                "ports": [{"port": port, "protocol": "TCP"} for port in ports],
            }
        ]
        if FRONT_METRICS in ports:
            rules.append(
                {
                    "from_": [pods.of(reader) for reader in pods.READERS[cloud]],
                    "ports": [{"port": FRONT_METRICS, "protocol": "TCP"}],
                }
            )
        return kubernetes.networking.v1.NetworkPolicy(
            f"{self.name}-fence",
            metadata=kubernetes.meta.v1.ObjectMetaArgs(**self._meta(f"{endpoint}-front")),
            spec={
                "pod_selector": {"match_labels": pods.labels(endpoint)},
                "policy_types": ["Ingress"],
                "ingress": rules,
            },
            opts=self._options(),
        )

    def _bound(self, fence: pulumi.Resource) -> list[pulumi.Resource]:
        """AWS: all that the controller would look up is said, so that nothing is filled in afterwards.

        Without `networking`: who reaches machines is the program's to say, and the controller opens nothing.
        """
        args = self._args
        spec = {
            "serviceRef": {"name": f"{args.endpoint}-http", "port": self._listening.port},
            "targetGroupARN": self._door.target,
            "targetGroupProtocol": "HTTP",
            "targetType": "ip",
            "ipAddressType": "ipv4",
            "vpcID": args.doors.network,
        }
        kind = ("elbv2.k8s.aws/v1beta1", "TargetGroupBinding")
        # The controller's webhook refuses another group (v3.5.0, webhooks/elbv2/targetgroupbinding_validator.go).
        again = pulumi.ResourceOptions(
            replace_on_changes=["spec.targetGroupARN", "spec.vpcID"], delete_before_replace=True
        )
        opts = pulumi.ResourceOptions.merge(self._options(fence), again)
        return [custom(f"{self.name}-bound", *kind, self._meta(args.endpoint), opts, spec=spec)]

    def _routed(self, fence: pulumi.Resource) -> tuple[list[pulumi.Resource], Beside]:
        """Google Cloud: what checks tokens, the service that leads to it, and how the load balancer finds and treats that."""
        args, endpoint, entrance = self._args, self._args.endpoint, self._args.entrance
        if entrance is None:
            raise ValueError(f"{endpoint}: a route belongs to a gateway")
        listens = self._listening
        text = checker.configuration(
            args.tokens, self._door.scope, listens.port, listens.health, args.spec.objective.p95_ms
        )
        named = f"{endpoint}-front"
        told = kubernetes.core.v1.ConfigMap(
            f"{self.name}-told",
            metadata=kubernetes.meta.v1.ObjectMetaArgs(**self._meta(named)),
            data={"envoy.yaml": text},
            opts=self._options(),
        )
        meta = self._meta(named)
        # Pulumi would wait for pods behind it, which come after it.
        meta["annotations"] = {"pulumi.com/skipAwait": "true"}
        service = kubernetes.core.v1.Service(
            f"{self.name}-service",
            metadata=kubernetes.meta.v1.ObjectMetaArgs(**meta),
            spec={
                "type": "ClusterIP",
                "selector": pods.labels(endpoint),
                "ports": [{"name": "http", "port": FRONT_PORT, "target_port": FRONT_PORT, "protocol": "TCP"}],
            },
            opts=self._options(fence),
        )
        target = {"group": "", "kind": "Service", "name": named}
        healthy = {
            "checkIntervalSec": 10,
            "timeoutSec": 5,
            "healthyThreshold": 1,
            "unhealthyThreshold": 2,
            "logConfig": {"enabled": True},
            "config": {
                "type": "HTTP",
                "httpHealthCheck": {
                    "portSpecification": "USE_FIXED_PORT",
                    "port": FRONT_METRICS,
                    "requestPath": checker.READY,
                },
            },
        }
        guarded = {
            "securityPolicy": self._door.target,
            "timeoutSec": _ANSWER_SECONDS,
            "connectionDraining": {"drainingTimeoutSec": _DRAIN_SECONDS},
            # In millionths: every request.
            "logging": {"enabled": True, "sampleRate": 1_000_000},
        }
        policies = [
            custom(
                f"{self.name}-{label}",
                "networking.gke.io/v1",
                kind,
                self._meta(endpoint),
                self._options(service),
                spec={"default": default, "targetRef": target},
            )
            for label, kind, default in (
                ("healthy", "HealthCheckPolicy", healthy),
                ("guarded", "GCPBackendPolicy", guarded),
            )
        ]
        route = custom(
            f"{self.name}-route",
            "gateway.networking.k8s.io/v1",
            "HTTPRoute",
            self._meta(endpoint),
            # The policies first: no request passes without them.
            self._options(*policies),
            spec={
                "parentRefs": [{"name": entrance.name, "namespace": entrance.space, "sectionName": "https"}],
                "hostnames": [self._door.host],
                "rules": [{"backendRefs": [{"name": named, "port": FRONT_PORT}]}],
            },
        )
        return [told, service, *policies, route], checker.beside(endpoint, text, args.envoy)
