"""What is in front of a language model in the cluster: an Envoy, and what tells it which server is the least busy."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
import yaml

from components import contracts
from components.core.fronts import FRONT_METRICS
from components.core.scrapes import ROUTED as CALLERS
from components.core.scrapes import ROUTER as KEPT
from components.kubernetes import checker, pods
from components.kubernetes.contracts import Router as Handles
from components.kubernetes.objects import custom, inside, outward
from components.kubernetes.pods import ROUTER_PORT as PORT
from components.kubernetes.pods import SERVER_PORT as ROUTED
from components.kubernetes.pods import Place
from components.scope import Component, Scope, after

PICKER = "ghcr.io/llm-d/llm-d-router-endpoint-picker:v0.10.0"
"""The endpoint picker of the Gateway API's inference extension, which llm-d keeps since v1.6 of that extension."""
ENVOY = "docker.io/envoyproxy/envoy:distroless-v1.39.1"
_PICK, _PICK_HEALTH = 9002, 9003
_PICKED = "x-gateway-destination-endpoint"
_GRACE = 120
"""Seconds until an answer that is being written has to be whole."""


@dataclass(frozen=True, kw_only=True)
class RouterArgs:
    """To whose servers, and for whom."""

    cluster: contracts.Cluster
    endpoint: str
    namespace: contracts.Text
    """Of the servers."""
    caller: contracts.Text
    """The namespace that calls."""
    routers: contracts.Text
    """The namespace of the routers; resolves once it is there."""
    priority: contracts.Text
    system: Mapping[str, str]
    """Label of the machines of the cluster's own services."""
    images: Mapping[str, pulumi.Input[str]]
    """Where its two are pulled from: `picker`, `envoy`."""
    collectors: Sequence[str] = ()
    """Ranges that metrics are collected from, outside of the cluster."""


class Router(Component):
    """The way to the servers of one language model.

    Owns the router, its account and what that may look at, its fence, and the address that does not change; on Google Cloud also
    what collects its metrics. Never owns servers.

    It is the endpoint picker of the Gateway API's inference extension beside an Envoy of its own, the form without a gateway: it
    asks each server how many requests wait and how full its cache is, and sends a prompt where its beginning is known already.
    A gateway would give callers within the cluster nothing more, and there is none that is the same on both clouds: GKE keeps
    the definitions that Envoy Gateway would bring itself, and GKE's own wants a subnet of proxies. What a caller says of where
    to go is taken away; where the picker does not answer, nothing goes anywhere. Requests are plain HTTP within the cluster's
    network. What it answers is counted here, for vLLM counts successes alone, and is said on a port of its own. In prod there
    are two.

    Costs about half a vCPU and 1 GiB of the system machines, each. A destroy takes it along with the cluster.

    >>> args = RouterArgs(
    ...     cluster=cluster, endpoint="chat", namespace=cluster.name, caller=cluster.name, routers=cluster.name,
    ...     priority=cluster.name, system={}, images={"picker": PICKER, "envoy": ENVOY},
    ... )
    >>> Router("chat-router", args, scope=scope, parent=parent).name
    'chat-router'
    """

    layer = "kubernetes"
    outputs: Handles

    def __init__(self, name: str, args: RouterArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the account, then the router."""
        super().__init__(name, scope, parent)
        self._args = args
        matched = {"app.kubernetes.io/name": "llm-router", **pods.labels(args.endpoint)}
        here = kubernetes.meta.v1.ObjectMetaArgs(name=args.endpoint, namespace=args.routers, labels=matched)
        account = kubernetes.core.v1.ServiceAccount(
            self.name, metadata=here, automount_service_account_token=False, opts=self._options()
        )
        # Which pods there are, in the endpoint's namespace, and nothing else of the cluster.
        role = kubernetes.rbac.v1.Role(
            self.name,
            metadata=kubernetes.meta.v1.ObjectMetaArgs(
                name=self.name, namespace=args.namespace, labels=pods.labels(args.endpoint)
            ),
            rules=[{"api_groups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}],
            opts=self._options(),
        )
        bound = kubernetes.rbac.v1.RoleBinding(
            self.name,
            metadata=kubernetes.meta.v1.ObjectMetaArgs(
                name=self.name, namespace=args.namespace, labels=pods.labels(args.endpoint)
            ),
            role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "Role", "name": self.name},
            subjects=[{"kind": "ServiceAccount", "name": args.endpoint, "namespace": args.routers}],
            opts=self._options(account, role),
        )
        text = yaml.safe_dump(envoy(), sort_keys=False)
        config = kubernetes.core.v1.ConfigMap(self.name, metadata=here, data={"envoy.yaml": text}, opts=self._options())
        two = scope.tier == "prod"
        deployment = custom(
            self.name,
            "apps/v1",
            "Deployment",
            {"name": args.endpoint, "namespace": args.routers, "labels": matched},
            self._options(bound, config),
            spec={
                "replicas": 2 if two else 1,
                "revisionHistoryLimit": 3,
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
                "selector": {"matchLabels": matched},
                "template": {
                    "metadata": {
                        "labels": matched,
                        "annotations": {"ai-platform.io/code": hashlib.sha256(text.encode()).hexdigest()[:16]},
                    },
                    "spec": self._routing(matched),
                },
            },
        )
        service = kubernetes.core.v1.Service(
            self.name,
            metadata=here,
            spec={
                "type": "ClusterIP",
                "selector": matched,
                "ports": [{"name": "http", "port": PORT, "target_port": PORT, "protocol": "TCP"}],
            },
            opts=self._options(deployment),
        )
        budget = kubernetes.policy.v1.PodDisruptionBudget(
            self.name,
            metadata=here,
            spec={"max_unavailable": 1, "selector": {"match_labels": matched}},
            opts=self._options(),
        )
        self.outputs = Handles(
            address=after(
                pulumi.Output.concat(f"http://{args.endpoint}.", args.routers, f".svc.cluster.local:{PORT}/v1"),
                deployment, service, budget, self._fence(here, matched), *self._collected(),
            )
        )  # fmt: skip
        self.finish(self.outputs)

    def _options(self, *made: pulumi.Resource) -> pulumi.ResourceOptions:
        return inside(self, self._args.cluster, *made)

    def _collected(self) -> list[pulumi.Resource]:
        args = self._args
        meta = {"name": args.endpoint, "namespace": args.routers, "labels": pods.labels(args.endpoint)}
        return pods.collected(self.name, self.scope.cloud, meta, FRONT_METRICS, KEPT, self._options())

    def _fence(self, here: Any, matched: Mapping[str, str]) -> pulumi.Resource:
        """In from its team, and for who collects metrics; out to its servers, and to the API server, which names them."""
        served: kubernetes.networking.v1.NetworkPolicyPeerArgsDict = {
            "namespace_selector": {"match_labels": {"kubernetes.io/metadata.name": self._args.namespace}},
            "pod_selector": {"match_labels": pods.labels(self._args.endpoint)},
        }
        return kubernetes.networking.v1.NetworkPolicy(
            self.name,
            metadata=here,
            spec={
                "pod_selector": {"match_labels": dict(matched)},
                "policy_types": ["Ingress", "Egress"],
                "ingress": [
                    {
                        "from_": [
                            {"namespace_selector": {"match_labels": {"kubernetes.io/metadata.name": self._args.caller}}}
                        ],
                        "ports": [{"port": PORT, "protocol": "TCP"}],
                    },
                    *pods.collected_by(self.scope.cloud, self._args.collectors, FRONT_METRICS),
                ],
                "egress": [
                    {"to": [served], "ports": [{"port": ROUTED, "protocol": "TCP"}]},
                    *outward(self.scope.cloud),
                ],
            },
            opts=self._options(),
        )

    def _routing(self, matched: Mapping[str, str]) -> dict[str, Any]:
        place = Place(system=self._args.system)
        selector = ",".join(f"{key}={value}" for key, value in pods.labels(self._args.endpoint).items())
        health = {"grpc": {"port": _PICK_HEALTH, "service": "inference-extension"}, "periodSeconds": 5}
        picker = {
            "name": "picker",
            "image": self._args.images["picker"],
            # Without a pool (llm-d-router v0.10.0, pkg/epp/server/options.go): the pods are named here, and it watches no kinds.
            "args": [
                f"--endpoint-selector={selector}",
                f"--endpoint-target-ports={ROUTED}",
                pulumi.Output.concat("--pool-namespace=", self._args.namespace),
                f"--grpc-port={_PICK}",
                f"--grpc-health-port={_PICK_HEALTH}",
                # Envoy is in the same pod; nobody but it is let in.
                "--secure-serving=false",
                "--metrics-endpoint-auth=false",
                "--tracing=false",
            ],
            "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "resources": pods.resources("250m", "512Mi"),
            "securityContext": dict(pods.RESTRICTED),
            "readinessProbe": health,
            "livenessProbe": {**health, "periodSeconds": 15, "failureThreshold": 4},
        }
        proxy = {
            "name": "envoy",
            "image": self._args.images["envoy"],
            "command": ["envoy"],
            "args": ["--config-path", "/etc/envoy/envoy.yaml", "--log-level", "warn", "--drain-time-s", "60"],
            "ports": [
                {"name": "http", "containerPort": PORT, "protocol": "TCP"},
                {"name": "metrics", "containerPort": FRONT_METRICS, "protocol": "TCP"},
            ],
            "resources": pods.resources("250m", "512Mi"),
            "securityContext": dict(pods.RESTRICTED),
            "readinessProbe": {"httpGet": {"path": "/ready", "port": PORT}, "periodSeconds": 5},
            "livenessProbe": {"httpGet": {"path": "/ready", "port": PORT}, "periodSeconds": 15, "failureThreshold": 4},
            "lifecycle": {"preStop": {"sleep": {"seconds": 10}}},
            "volumeMounts": [{"name": "config", "mountPath": "/etc/envoy", "readOnly": True}],
        }
        return {
            "serviceAccountName": self._args.endpoint,
            # The picker watches pods.
            "automountServiceAccountToken": True,
            "enableServiceLinks": False,
            "priorityClassName": self._args.priority,
            "terminationGracePeriodSeconds": _GRACE,
            "securityContext": pods.security(65532),
            "topologySpreadConstraints": pods.spread(matched),
            **place.scheduling(),
            "containers": [picker, proxy],
            "volumes": [{"name": "config", "configMap": {"name": self._args.endpoint}}],
        }


def _typed(name: str, **content: Any) -> dict[str, Any]:
    return {"@type": f"type.googleapis.com/envoy.{name}", **content}


def envoy() -> dict[str, Any]:
    """What Envoy does: it asks the picker, which names a server in a header, and goes there. Without the picker nothing goes.

    Source of the fields: Envoy v1.39, "External Processing", "Original destination"; of the header and of how bodies are sent
    to the picker: docs of the endpoint picker protocol (gateway-api-inference-extension, proposal 004).
    """
    ask = _typed(
        "extensions.filters.http.ext_proc.v3.ExternalProcessor",
        grpc_service={"envoy_grpc": {"cluster_name": "picker"}, "timeout": "10s"},
        failure_mode_allow=False,
        message_timeout="30s",
        processing_mode={
            "request_header_mode": "SEND",
            "response_header_mode": "SEND",
            "request_body_mode": "FULL_DUPLEX_STREAMED",
            "response_body_mode": "FULL_DUPLEX_STREAMED",
            "request_trailer_mode": "SEND",
            "response_trailer_mode": "SEND",
        },
    )
    ready = _typed(
        "extensions.filters.http.health_check.v3.HealthCheck",
        pass_through_mode=False,
        headers=[{"name": ":path", "string_match": {"exact": "/ready"}}],
    )
    last = _typed("extensions.filters.http.router.v3.Router")
    manager = _typed(
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=CALLERS,
        route_config={
            "virtual_hosts": [
                {
                    "name": "llm",
                    "domains": ["*"],
                    "routes": [
                        {"match": {"prefix": "/v1/"}, "route": {"cluster": "servers", "timeout": "900s"}},
                    ],
                }
            ],
        },
        http_filters=[
            {"name": "ready", "typed_config": ready},
            {"name": "picked-by-nobody", "typed_config": _foreign()},
            {"name": "picker", "typed_config": ask},
            {"name": "router", "typed_config": last},
        ],
        normalize_path=True,
        merge_slashes=True,
        stream_idle_timeout="300s",
        request_headers_timeout="10s",
    )
    http2 = _typed(
        "extensions.upstreams.http.v3.HttpProtocolOptions", explicit_http_config={"http2_protocol_options": {}}
    )
    picker = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": _PICK}}}
    said = checker.statistics()
    return {
        "admin": said["admin"],
        "static_resources": {
            "listeners": [
                {
                    "name": "llm",
                    "address": {"socket_address": {"address": "0.0.0.0", "port_value": PORT}},  # noqa: S104
                    "per_connection_buffer_limit_bytes": 4 << 20,
                    "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
                },
                said["listener"],
            ],
            "clusters": [
                {
                    "name": "servers",
                    "type": "ORIGINAL_DST",
                    "lb_policy": "CLUSTER_PROVIDED",
                    "connect_timeout": "5s",
                    "original_dst_lb_config": {"use_http_header": True, "http_header_name": _PICKED},
                },
                {
                    "name": "picker",
                    "type": "STATIC",
                    "connect_timeout": "2s",
                    "typed_extension_protocol_options": {
                        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2
                    },
                    "load_assignment": {
                        "cluster_name": "picker",
                        "endpoints": [{"lb_endpoints": [{"endpoint": picker}]}],
                    },
                },
                said["cluster"],
            ],
        },
    }


def _foreign() -> dict[str, Any]:
    """A caller that says where to go is not believed: else it would be sent to any address that the router reaches."""
    return _typed(
        "extensions.filters.http.header_mutation.v3.HeaderMutation",
        mutations={"request_mutations": [{"remove": _PICKED}]},
    )
