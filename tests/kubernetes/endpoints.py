"""Endpoints of the tests' own, as a cloud would hand them to its cluster."""

from collections.abc import Callable
from typing import Any

import pulumi

from components import contracts
from components.kubernetes.contracts import Artifact, Guard, Served
from components.spec.section import CloudName
from components.spec.serving import Batch, Container, Llm, RealTime, Tokens

DIGEST = "a" * 64
IMAGE = "registry.example.com/acme/serving:1.0@sha256:" + "0" * 64
_PROMISED = {"p95_ms": 200, "requests_per_month": 1000}
_DESCRIBED: dict[str, tuple[Any, dict[str, Any]]] = {
    "realtime": (
        RealTime,
        {
            "server": "kubernetes",
            "model": {"image": "serving:1", "artifact": {"path": "fraud/model.tar.gz", "sha256": DIGEST}},
            "scale": {"min": 2, "max": 6, "target": {"concurrency": 8}},
            "objective": _PROMISED,
        },
    ),
    "container": (
        Container,
        {
            "server": "kubernetes",
            "model": {"image": "serving:1", "artifact": {"path": "search/model.tar.gz", "sha256": DIGEST}},
            "port": 9000,
            "health": "/healthz",
            "scale": {"min": 2, "max": 6, "target": {"concurrency": 50}},
            "objective": _PROMISED,
            "api": {"throttle_rps": 50},
        },
    ),
    "llm": (
        Llm,
        {
            "model": {"weights": {"path": "llama/"}, "max_tokens": 4096},
            "pool": "h100",
            "scale": {"max": 1},
            "tokens_per_minute": 100_000,
            "objective": {"requests_per_month": 1000},
        },
    ),
    "batch": (
        Batch,
        {
            "model": {"image": "serving:1", "artifact": {"path": "churn/"}},
            "queue": "train",
            "machines": 3,
            "input": {"zone": "curated"},
            "schedule": "0 3 * * *",
            "time_zone": "Europe/Berlin",
            "objective": {"finish_hours": 4, "records_per_month": 1000},
        },
    ),
}


def endpoint(kind: str, **changes: Any) -> Any:
    """An endpoint of a kind, described."""
    model, described = _DESCRIBED[kind]
    return model.model_validate({"kind": kind, "team": "risk", **described, **changes})


def text(value: str) -> pulumi.Output[str]:
    """What a cloud would tell."""
    return pulumi.Output.from_input(value)


def served(cloud: CloudName, **changes: Any) -> Callable[[], dict[str, Any]]:
    """One of each kind and their variants, as arguments of a cluster; `changes` by name replaces fields, None takes one out."""
    bucket = "s3://acme" if cloud == "aws" else "gs://acme"

    def args() -> dict[str, Any]:
        whom = text("arn:aws:iam::1:role/it" if cloud == "aws" else "it@acme.iam.gserviceaccount.com")
        arn = "arn:aws:bedrock:us-west-2:1:guardrail/g"
        template = text(arn if cloud == "aws" else "projects/p/locations/us-central1/templates/g")
        table = "projects/p/datasets/d/tables/endpoints"

        def guard(name: str, *guardrail: pulumi.Output[str]) -> Guard:
            log = text(f"{bucket}/prompts/endpoints/{name}/" if cloud == "aws" else table)
            return Guard(guardrail=(guardrail[0], guardrail[1]) if guardrail else None, log=log)

        weights = Artifact(uri=text(f"{bucket}/llama/"))
        found: dict[str, dict[str, Any]] = {
            "fraud": {
                "spec": endpoint("realtime"),
                "model": Artifact(uri=text(f"{bucket}/fraud/model.tar.gz"), sha256=DIGEST),
            },
            "vision": {
                "spec": endpoint(
                    "realtime", team="vision", pool="l4-spot", compute={"accelerator": "nvidia-l4"}, scale={"max": 2}
                ),
                "model": Artifact(uri=text(f"{bucket}/vision/")),
            },
            "chat": {"spec": endpoint("llm"), "model": weights, "guard": guard("chat", template, text("3"))},
            "open": {
                "spec": endpoint("llm", pool="l4-spot", scale={"min": 1, "max": 3}),
                "model": weights,
                "guard": guard("open"),
            },
            "churn": {
                "spec": endpoint("batch"),
                "model": Artifact(uri=text(f"{bucket}/churn/")),
                "source": text(f"{bucket}/in/"),
                "target": text(f"{bucket}/out/churn/"),
            },
            "by-hand": {
                "spec": endpoint(
                    "batch",
                    machines=1,
                    schedule=None,
                    compute={"accelerator": "nvidia-l4"},
                    objective={"finish_hours": 2, "records_per_month": 1},
                ),
                "source": text(f"{bucket}/in/"),
                "target": text(f"{bucket}/out/by-hand/"),
            },
        }
        for name, change in changes.items():
            found[name.replace("_", "-")] = {**found.get(name.replace("_", "-"), {}), **change}
        every: dict[str, Any] = {"image": IMAGE, "identity": whom}
        return {"endpoints": {name: _served({**every, **each}) for name, each in found.items()}}

    return args


def _served(given: dict[str, Any]) -> Served:
    return Served(**given)


TOKENS = Tokens(issuer="https://id.example.com/", keys="https://keys.example.com/jwks.json", audience="ml")
SOURCES = {"aws": ("10.16.0.0/20", "10.16.16.0/20"), "gcp": ("35.191.0.0/16", "130.211.0.0/22")}


def doors(cloud: CloudName, *names: str) -> contracts.Doors:
    """What a cloud makes in front of these endpoints."""
    aws = cloud == "aws"
    return contracts.Doors(
        doors={
            name: contracts.Door(
                address=text(f"https://{name}.ml.example.com"),
                host=f"{name}.ml.example.com",
                scope=f"{name}.read",
                target=text(f"arn:aws:elasticloadbalancing:us-west-2:1:targetgroup/{name}/1" if aws else "throttle-50"),
            )
            for name in names
        },
        sources=SOURCES[cloud],
        registrar=text("arn:aws:iam::1:role/registrar") if aws else None,
        network=text("vpc-1") if aws else None,
        entrance={} if aws else {name: text(f"acme-{name}") for name in ("address", "certificates", "tls")},
    )


def fronted(cloud: CloudName, **changes: Any) -> Callable[[], dict[str, Any]]:
    """The same endpoints with a container and a model that the internet reaches, as arguments of a cluster."""

    def args() -> dict[str, Any]:
        whom = text("arn:aws:iam::1:role/it" if cloud == "aws" else "it@acme.iam.gserviceaccount.com")
        every: dict[str, Any] = {"image": IMAGE, "identity": whom}
        model = Artifact(uri=text("s3://acme/search/model.tar.gz"), sha256=DIGEST)
        score = endpoint("realtime", team="vision", api={"throttle_rps": 50})
        mine = {
            "search": _served({**every, "spec": endpoint("container"), "model": model, **changes}),
            "score": _served({**every, "spec": score, "model": model}),
        }
        endpoints = {**served(cloud)()["endpoints"], **mine}
        return {"endpoints": endpoints, "doors": doors(cloud, *mine), "tokens": TOKENS}

    return args
