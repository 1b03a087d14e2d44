"""Endpoints of SageMaker built alone: what they are handed, and versions of them."""

import json
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

import pulumi
import pulumi_aws as aws

from components import contracts
from components.aws.blocks.hosting import Served, served
from components.aws.serving.asynchronous import Asynchronous, AsynchronousArgs
from components.aws.serving.batch import Batch, BatchArgs
from components.aws.serving.realtime import RealTime, RealTimeArgs
from components.aws.serving.serverless import Serverless, ServerlessArgs
from components.contracts import Zone
from components.core import iam
from components.core.accelerators import Machine, machine
from components.core.naming import Names
from components.scope import Scope
from components.spec import serving
from components.spec.endpoints import alarms
from components.spec.models import Container, Package
from policies.model import Graph, Resource
from preview.record import run

IMAGE = "111111111111.dkr.ecr.us-west-2.amazonaws.com/acme-ai-dev-serving:1.0"
AT = "111111111111"
LONG = "a" + "b" * 62
"""Longer than a description lets an endpoint be called."""
CRITICAL, WARNING, TEAM = (f"arn:aws:sns:us-west-2:{AT}:acme-ai-dev-{t}" for t in ("critical", "warning", "team-risk"))


def text(value: str) -> contracts.Text:
    return pulumi.Output.from_input(value)


def scope(tier: str = "dev", environment: str | None = None) -> Scope:
    parent = pulumi.ComponentResource("ai-platform:aws:Example", "example")
    name = environment or tier
    return Scope(
        environment=name,
        tier=tier,  # pyright: ignore[reportArgumentType]
        cloud="aws",
        account=AT,
        region="us-west-2",
        replica_region=None,
        names=Names("acme-ai", name),
        tags={},
        protection={"dev": "delete", "staging": "protect", "prod": "retain"}[tier],
        log_days=30,
        today=date(2026, 1, 1),
        provider=aws.Provider("aws", region="us-west-2", opts=pulumi.ResourceOptions(parent=parent)),
    )


def key(domain: str) -> contracts.Key:
    return contracts.Key(id=text(f"arn:aws:kms:us-west-2:{AT}:key/{domain}"), replica=None)


def zone(name: str, domain: str) -> Zone:
    bucket = f"acme-ai-dev-{name}"
    storage = contracts.Storage(name=text(bucket), uri=text(f"s3://{bucket}"), resource=text(f"arn:aws:s3:::{bucket}"))
    return Zone(bucket=storage, key=key(domain))


def network() -> contracts.Network:
    return contracts.Network(
        id=text("vpc-1"),
        workload_subnets=[text("subnet-1"), text("subnet-2")],
        data_subnets=[text("subnet-3")],
        cidr="10.16.0.0/16",
        reach=["10.16.0.0/16"],
        prefix_lists={"s3": text("pl-1")},
    )


def model(told: Mapping[str, Any]) -> Served:
    """A model as the table of contents hands it on."""
    if "package" in told:
        package = Package.model_validate(told)
        group = text(f"arn:aws:sagemaker:us-west-2:{AT}:model-package-group/acme-ai-dev-{package.package}")
        reads = iam.allow(["s3:GetObject"], [f"arn:aws:s3:::acme-ai-dev-models/{package.package}/*"])
        return served(package, group=group, statements=[reads])
    return served(Container.model_validate(told), image=text(IMAGE), zone=zone("models", "models"))


def common() -> dict[str, Any]:
    return {
        "network": network(),
        "compute_key": key("compute"),
        "logs_key": key("logs"),
        "boundary": contracts.Boundary(id=text(f"arn:aws:iam::{AT}:policy/acme-ai-dev-boundary")),
        "critical": [text(CRITICAL)],
        "warning": [text(WARNING)],
        "team": [text(TEAM)],
        "tags": {"team": "risk", "endpoint": "fraud-score"},
    }


PACKAGE = {"package": "fraud", "version": "12"}
OBJECTIVE = {"p95_ms": 200, "availability_percent": 99.9, "requests_per_month": 20_000_000}
REALTIME: dict[str, Any] = {
    "kind": "realtime", "team": "risk", "model": PACKAGE, "scale": {"min": 2, "max": 10, "target": {"requests_per_second": 50}},
    "release": {"strategy": "canary", "percent": 10, "bake_minutes": 15}, "objective": OBJECTIVE, "capture_percent": 10,
    "callers": ["acme-ai-dev-shop"],
}  # fmt: skip
SERVERLESS: dict[str, Any] = {
    "kind": "serverless", "team": "risk", "model": PACKAGE, "memory_gib": 3, "concurrency": {"warm": 2, "max": 20},
    "objective": {**OBJECTIVE, "p95_ms": 5000}, "callers": ["acme-ai-dev-shop"],
}  # fmt: skip
ASYNC: dict[str, Any] = {
    "kind": "async", "team": "risk", "model": PACKAGE, "scale": {"min": 0, "max": 4, "waiting": 3},
    "objective": {"max_wait_minutes": 15, "requests_per_month": 1000}, "callers": ["acme-ai-dev-shop"],
    "capture_percent": 5,
}  # fmt: skip
BATCH: dict[str, Any] = {
    "kind": "batch", "team": "risk", "model": PACKAGE, "machines": 3, "input": {"zone": "curated", "prefix": "claims/"},
    "schedule": "30 2 * * 1-5", "time_zone": "Europe/Berlin", "objective": {"finish_hours": 6, "records_per_month": 10_000},
    "callers": ["acme-ai-dev-shop"],
}  # fmt: skip


def found(type_: str) -> Machine:
    made = machine("aws", type_)
    assert made
    return made


def realtime(
    name: str = "fraud-score", *, tier: str = "dev", on: str = "m7i.xlarge", **changes: Any
) -> Callable[[], Any]:
    """A program with one endpoint; `changes` are those of its description."""

    def program() -> None:
        spec = serving.RealTime.model_validate({**REALTIME, **changes})
        shadow = getattr(spec.release, "model", None)
        args = RealTimeArgs(
            spec=spec,
            machine=found(on),
            model=model(spec.model.model_dump()),
            shadow=model(shadow.model_dump()) if shadow else None,
            capture=zone("logs", "logs"),
            alarms=alarms(spec),
            **common(),
        )
        RealTime(name, args, scope=scope(tier), parent=_parent())

    return program


def serverless(name: str = "fraud-rare", *, tier: str = "dev", **changes: Any) -> Callable[[], Any]:
    def program() -> None:
        spec = serving.Serverless.model_validate({**SERVERLESS, **changes})
        args = ServerlessArgs(spec=spec, model=model(spec.model.model_dump()), alarms=alarms(spec), **common())
        Serverless(name, args, scope=scope(tier), parent=_parent())

    return program


def asynchronous(name: str = "ocr", *, tier: str = "dev", on: str = "g5.xlarge", **changes: Any) -> Callable[[], Any]:
    def program() -> None:
        spec = serving.Async.model_validate({**ASYNC, **changes})
        args = AsynchronousArgs(
            spec=spec,
            machine=found(on),
            model=model(spec.model.model_dump()),
            zone=zone("artifacts", "models"),
            capture=zone("logs", "logs"),
            alarms=alarms(spec),
            **common(),
        )
        Asynchronous(name, args, scope=scope(tier), parent=_parent())

    return program


def batch(name: str = "nightly", *, tier: str = "dev", on: str = "m7i.xlarge", **changes: Any) -> Callable[[], Any]:
    def program() -> None:
        spec = serving.Batch.model_validate({**BATCH, **changes})
        args = BatchArgs(
            spec=spec,
            machine=found(on),
            model=model(spec.model.model_dump()),
            input=zone("curated", "data"),
            zone=zone("artifacts", "models"),
            jobs_log=text(f"arn:aws:logs:us-west-2:{AT}:log-group:/aws/sagemaker/TransformJobs"),
            **common(),
        )
        Batch(name, args, scope=scope(tier), parent=_parent())

    return program


def _parent() -> pulumi.Resource:
    return pulumi.ComponentResource("ai-platform:aws:Environment", "environment")


def built(program: Callable[[], Any], *, preview: bool = False) -> Graph:
    return run(program, preview=preview)


def only(graph: Graph, name: str) -> Resource:
    """The one resource of a class."""
    [resource] = [r for r in graph.resources.values() if r.type.startswith("aws:") and r.type.endswith(f":{name}")]
    return resource


def alarm(graph: Graph, physical: str) -> Resource:
    """The alarm with this name."""
    [resource] = [r for r in graph.resources.values() if r.type.endswith(":MetricAlarm") and r.get("name") == physical]
    return resource


def formula(resource: Resource) -> str:
    """What an alarm works out."""
    return next(q["expression"] for q in resource.get("metricQueries") if q.get("expression"))


def series(resource: Resource) -> dict[str, dict[str, Any]]:
    """What an alarm looks at, by the name that its formula has for it."""
    return {q["id"]: q["metric"] for q in resource.get("metricQueries") if "metric" in q}


def document(resource: Resource, path: str) -> Any:
    return json.loads(resource.get(path))
