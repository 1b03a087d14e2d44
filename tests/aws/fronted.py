"""The gateway and what is behind it, built alone."""

from collections.abc import Callable, Mapping
from typing import Any

import pulumi

from components import contracts
from components.aws.blocks.hosting import served
from components.aws.serving.container import Container, ContainerArgs
from components.aws.serving.function import Function, FunctionArgs
from components.aws.serving.gateway import Gateway, GatewayArgs
from components.aws.serving.passage import Passage, PassageArgs
from components.core.fronts import Front
from components.scope import Scope
from components.spec import serving
from components.spec.endpoints import alarms
from components.spec.models import Container as Packed
from policies.model import Graph
from tests.aws.serving import CRITICAL, IMAGE, WARNING, built, common, key, network, scope, text, zone

TOKENS = serving.Tokens(issuer="https://id.example.com", keys="https://id.example.com/keys", audience="ml")
DIGEST = "a" * 64
MODEL: dict[str, Any] = {
    "image": "serving:1.0",
    "artifact": {"zone": "models", "path": "fraud/12/model.tar.gz", "sha256": DIGEST},
}
OBJECTIVE = {"p95_ms": 200, "availability_percent": 99.9, "requests_per_month": 20_000_000}
FUNCTION: dict[str, Any] = {
    "kind": "function", "team": "risk", "model": MODEL, "memory_gib": 2, "timeout_seconds": 10,
    "concurrency": {"warm": 2, "max": 20}, "release": {"strategy": "canary", "percent": 10, "bake_minutes": 15},
    "objective": {**OBJECTIVE, "p95_ms": 1500}, "api": {"throttle_rps": 50}, "callers": ["acme-ai-dev-shop"],
}  # fmt: skip
CONTAINER: dict[str, Any] = {
    "kind": "container", "team": "risk", "model": MODEL, "compute": {"cpu": 2, "memory_gib": 16},
    "scale": {"min": 2, "max": 10, "target": {"requests_per_second": 50}},
    "release": {"strategy": "canary", "percent": 10, "bake_minutes": 15}, "objective": OBJECTIVE,
    "api": {"throttle_rps": 500},
}  # fmt: skip
FRONTS = {
    "fraud": Front(host="fraud.ml.example.com", throttle_rps=50, scope="fraud"),
    "score": Front(host="score.ml.example.com", throttle_rps=500, scope="score"),
    "open": Front(host="open.ml.example.com", throttle_rps=50, waf=False, scope="open"),
}


def around() -> contracts.Network:
    inside = network()
    return contracts.Network(
        id=inside.id,
        workload_subnets=inside.workload_subnets,
        data_subnets=inside.data_subnets,
        cidr=inside.cidr,
        reach=inside.reach,
        prefix_lists=inside.prefix_lists,
        public_subnets=[text("subnet-7"), text("subnet-8")],
    )


def gateway(
    scoped: Scope, parent: pulumi.Resource, fronts: Mapping[str, Front] = FRONTS, *, named: bool = True
) -> contracts.Gateway:
    args = GatewayArgs(
        fronts=fronts,
        domain="ml.example.com",
        zone="Z0123456789" if named else None,
        network=around(),
        access_logs=zone("logs", "logs").bucket,
        logs_key=key("logs"),
        critical=[text(CRITICAL)],
        warning=[text(WARNING)],
    )
    return Gateway("gateway", args, scope=scoped, parent=parent).outputs


def parent() -> pulumi.Resource:
    return pulumi.ComponentResource("ai-platform:aws:Environment", "environment")


def front(tier: str = "dev", *, named: bool = True) -> Callable[[], Any]:
    def program() -> None:
        made = gateway(scope(tier), parent(), named=named)
        pulumi.export("addresses", dict(made.addresses))
        pulumi.export("records", dict(made.records))

    return program


def _packed(told: Any) -> Any:
    return served(Packed.model_validate(told), image=text(IMAGE), zone=zone("models", "models"))


def function(name: str = "fraud", *, tier: str = "dev", **changes: Any) -> Callable[[], Any]:
    def program() -> None:
        spec = serving.Function.model_validate({**FUNCTION, **changes})
        scoped, here = scope(tier), parent()
        behind: dict[str, Any] = {}
        if spec.api.auth == "jwt":
            wanted = Front(host=f"{name}.ml.example.com", throttle_rps=50, scope=name)
            behind = {"gateway": gateway(scoped, here, {name: wanted}), "front": wanted, "tokens": TOKENS}
        args = FunctionArgs(
            spec=spec, model=_packed(spec.model.model_dump()), alarms=alarms(spec), **behind, **common()
        )
        pulumi.export("endpoint", vars(Function(name, args, scope=scoped, parent=here).outputs))

    return program


def container(name: str = "score", *, tier: str = "dev", **changes: Any) -> Callable[[], Any]:
    def program() -> None:
        spec = serving.Container.model_validate({**CONTAINER, **changes})
        scoped, here = scope(tier), parent()
        wanted = Front(host=f"{name}.ml.example.com", throttle_rps=500, scope=name)
        args = ContainerArgs(
            spec=spec,
            model=_packed(spec.model.model_dump()),
            alarms=alarms(spec),
            gateway=gateway(scoped, here, {name: wanted}),
            front=wanted,
            tokens=TOKENS,
            **common(),
        )
        pulumi.export("endpoint", vars(Container(name, args, scope=scoped, parent=here).outputs))

    return program


def passage(name: str = "fraud") -> Callable[[], Any]:
    def program() -> None:
        scoped, here = scope(), parent()
        arn = "arn:aws:sagemaker:us-west-2:111111111111:endpoint/acme-ai-dev-fraud"
        told = {k: v for k, v in common().items() if k not in ("critical", "warning", "team")}
        args = PassageArgs(
            endpoint=contracts.Endpoint(id=text(arn), address=text("acme-ai-dev-fraud"), version=text("12")),
            name=name,
            most=20,
            gateway=gateway(scoped, here),
            front=FRONTS[name],
            tokens=TOKENS,
            **told,
        )
        Passage(f"{name}-passage", args, scope=scoped, parent=here)

    return program


def graph(program: Callable[[], Any], *, preview: bool = False) -> Graph:
    return built(program, preview=preview)
