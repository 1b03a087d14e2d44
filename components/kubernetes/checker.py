"""What checks tokens beside the pods of an endpoint, where the load balancer does not: an Envoy of ours, in the same pod.

Sources: Envoy v1.39, "JWT Authentication", "Role Based Access Control", "Health check", "HTTP connection manager".
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import pulumi
import yaml

from components.core.doors import FRONT
from components.core.fronts import FRONT_ADMIN, FRONT_METRICS, FRONT_PORT
from components.kubernetes import pods
from components.kubernetes.contracts import Beside
from components.spec.serving import Tokens

READY = "/ready"
"""Path of the health check on `FRONT_METRICS`: whether the container beside it is healthy."""
_TRUSTED = "/etc/ssl/certs/ca-certificates.crt"
"""Of the image, which is made from a distroless base."""
_JWT = "envoy.filters.http.jwt_authn"
_ANSWER = "60s"
# ms; what is promised is a bound of its own, so that an alarm is exact there.
_BUCKETS = (5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000)


def beside(endpoint: str, text: str, image: pulumi.Input[str]) -> Beside:
    """The container and the volume of the pods of an endpoint, whose ConfigMap `{endpoint}-front` holds this text."""
    asked = {"httpGet": {"path": READY, "port": FRONT_METRICS}, "timeoutSeconds": 5}
    container = {
        "name": "front",
        "image": image,
        "command": ["envoy"],
        "args": ["--config-path", "/etc/envoy/envoy.yaml", "--log-level", "warn"],
        "ports": [
            {"name": "front", "containerPort": FRONT_PORT, "protocol": "TCP"},
            {"name": "front-metrics", "containerPort": FRONT_METRICS, "protocol": "TCP"},
        ],
        "resources": pods.resources("250m", "256Mi"),
        "securityContext": dict(pods.RESTRICTED),
        "startupProbe": {"tcpSocket": {"port": FRONT_METRICS}, "periodSeconds": 2, "failureThreshold": 60},
        "readinessProbe": {**asked, "periodSeconds": 5, "failureThreshold": 2},
        "livenessProbe": {"tcpSocket": {"port": FRONT_METRICS}, "periodSeconds": 20, "failureThreshold": 3},
        # For as long as the container beside it may take to answer what it has.
        "lifecycle": {"preStop": {"sleep": {"seconds": pods.GRACE - 5}}},
        "volumeMounts": [{"name": "front", "mountPath": "/etc/envoy", "readOnly": True}],
    }
    return Beside(
        container=container,
        volume={"name": "front", "configMap": {"name": f"{endpoint}-front"}},
        digest=hashlib.sha256(text.encode()).hexdigest()[:16],
    )


def configuration(tokens: Tokens, scope: str, port: int, health: str, p95_ms: int) -> str:
    """What Envoy is told: a request passes with a token of this issuer and scope, and goes to the container beside it.

    >>> tokens = Tokens(issuer="https://id.example.com", keys="https://id.example.com/keys", audience="ml")
    >>> "exact: id.example.com" in configuration(tokens, "fraud", 8080, "/ping", 200)
    True
    """
    issuer = tokens.keys.removeprefix("https://").partition("/")[0]
    buckets, told = sorted({*_BUCKETS, p95_ms}), statistics(_healthy())
    return yaml.safe_dump(
        {
            "admin": told["admin"],
            "stats_config": {
                "histogram_bucket_settings": [
                    {"match": {"suffix": "downstream_rq_time"}, "buckets": [float(each) for each in buckets]}
                ]
            },
            "static_resources": {
                "listeners": [
                    _listener(FRONT, FRONT_PORT, [*_checks(tokens, scope), _router()], {"prefix": "/"}, "endpoint"),
                    told["listener"],
                ],
                "clusters": [
                    _cluster("endpoint", "STATIC", "127.0.0.1", port, health_checks=[_asked(health)]),
                    told["cluster"],
                    _cluster(
                        "keys", "LOGICAL_DNS", issuer, 443, dns_lookup_family="V4_ONLY", transport_socket=_tls(issuer)
                    ),
                ],
            },
        },
        sort_keys=False,
    )


def statistics(*filters: dict[str, Any]) -> dict[str, Any]:
    """How an Envoy says what it has counted, and nothing else of its administration, on `FRONT_METRICS`; `filters` come first.

    >>> statistics()["admin"]["address"]["socket_address"]["address"]
    '127.0.0.1'
    """
    return {
        "admin": {"address": _address("127.0.0.1", FRONT_ADMIN)},
        "listener": _listener("said", FRONT_METRICS, [*filters, _router()], {"path": "/metrics"}, "admin"),
        "cluster": _cluster("admin", "STATIC", "127.0.0.1", FRONT_ADMIN),
    }


def _typed(name: str, **content: Any) -> dict[str, Any]:
    return {"@type": f"type.googleapis.com/envoy.extensions.{name}", **content}


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def _checks(tokens: Tokens, scope: str) -> list[dict[str, Any]]:
    """A good token, by its issuer's keys; and the scope, a word of a list with spaces between."""
    provider = {
        "issuer": tokens.issuer,
        "audiences": [tokens.audience],
        "require_expiration": True,
        # By default a parameter of the address is a token too, and addresses are logged.
        "from_headers": [{"name": "Authorization", "value_prefix": "Bearer "}],
        "forward": True,
        "payload_in_metadata": "token",
        "remote_jwks": {
            "http_uri": {"uri": tokens.keys, "cluster": "keys", "timeout": "5s"},
            "cache_duration": "600s",
            # Before the first request, and again before they are old.
            "async_fetch": {},
        },
    }
    # What a scope consists of has no meaning in a pattern, but for the point.
    word = scope.replace(".", "[.]")
    said = {
        "filter": _JWT,
        "path": [{"key": "token"}, {"key": "scope"}],
        "value": {"string_match": {"safe_regex": {"regex": f"(.* )?{word}( .*)?"}}},
    }
    policy = {"permissions": [{"any": True}], "principals": [{"sourced_metadata": {"metadata_matcher": said}}]}
    return [
        {
            "name": "tokens",
            "typed_config": _typed(
                "filters.http.jwt_authn.v3.JwtAuthentication",
                providers={"tokens": provider},
                rules=[{"match": {"prefix": "/"}, "requires": {"provider_name": "tokens"}}],
            ),
        },
        {
            "name": "scope",
            "typed_config": _typed(
                "filters.http.rbac.v3.RBAC", rules={"action": "ALLOW", "policies": {"scope": policy}}
            ),
        },
    ]


def _healthy() -> dict[str, Any]:
    return {
        "name": "healthy",
        "typed_config": _typed(
            "filters.http.health_check.v3.HealthCheck",
            pass_through_mode=False,
            cluster_min_healthy_percentages={"endpoint": {"value": 1}},
            headers=[{"name": ":path", "string_match": {"exact": READY}}],
        ),
    }


def _router() -> dict[str, Any]:
    return {"name": "router", "typed_config": _typed("filters.http.router.v3.Router")}


def _listener(
    name: str, port: int, filters: list[dict[str, Any]], match: Mapping[str, str], cluster: str
) -> dict[str, Any]:
    rewritten = {"prefix_rewrite": "/stats/prometheus"} if cluster == "admin" else {}
    manager = _typed(
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=name,
        route_config={
            "virtual_hosts": [
                {
                    "name": name,
                    "domains": ["*"],
                    "routes": [{"match": dict(match), "route": {"cluster": cluster, "timeout": _ANSWER, **rewritten}}],
                }
            ]
        },
        http_filters=filters,
        normalize_path=True,
        merge_slashes=True,
        # The load balancer keeps a connection for 600 s ("Timeouts and retries"): it has to be the first to give one up.
        common_http_protocol_options={"idle_timeout": "620s"},
        stream_idle_timeout=_ANSWER,
        request_headers_timeout="10s",
    )
    return {
        "name": name,
        "address": _address("0.0.0.0", port),  # noqa: S104  a pod is reached from outside
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }


def _cluster(name: str, type_: str, host: str, port: int, **more: Any) -> dict[str, Any]:
    found = {"endpoint": {"address": _address(host, port)}}
    return {
        "name": name,
        "type": type_,
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [found]}]},
        **more,
    }


def _asked(health: str) -> dict[str, Any]:
    return {
        "timeout": "5s",
        "interval": "5s",
        "no_traffic_interval": "5s",
        "unhealthy_threshold": 2,
        "healthy_threshold": 1,
        "http_health_check": {"path": health},
    }


def _tls(host: str) -> dict[str, Any]:
    """To the issuer of keys, and nobody who says so without its certificate."""
    return {
        "name": "tls",
        "typed_config": _typed(
            "transport_sockets.tls.v3.UpstreamTlsContext",
            sni=host,
            common_tls_context={
                "validation_context": {
                    "trusted_ca": {"filename": _TRUSTED},
                    "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": host}}],
                }
            },
        ),
    }
