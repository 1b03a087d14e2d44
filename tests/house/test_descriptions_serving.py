# ruff: noqa: E501 - a strategy a line, to be read as a table
"""Whatever the description of endpoints and corpora says and the checks let through builds, with a ceiling, within every limit."""

import json
from datetime import date
from typing import Any

import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from components.spec.checks import CHECKS
from components.spec.endpoints import answering
from components.spec.environment import Environment
from components.spec.load import load
from components.spec.problems import Source
from components.spec.source import Layer
from tests.conftest import ROOT

NAME = st.from_regex(r"\A[a-z][a-z0-9-]{0,28}[a-z0-9]\Z").filter(lambda name: "--" not in name)
PACKAGE = st.builds(lambda n: {"package": "fraud", "version": str(n)}, st.integers(1, 99))
CONTAINER = st.builds(
    lambda tag, path: {"image": f"serving:1.{tag}.0", **({"artifact": {"path": path}} if path else {})},
    st.integers(0, 9),
    st.sampled_from([None, "fraud/model.tar.gz"]),
)
LANGUAGE = {"aws": "amazon.nova-lite-v1:0", "gcp": "publishers/google/models/gemini-2.5-flash"}
PROMISED = st.fixed_dictionaries(
    {"p95_ms": st.integers(5000, 60_000), "requests_per_month": st.integers(0, 50_000_000)},
    optional={"availability_percent": st.floats(95, 99.9)},
)
RELEASE = st.one_of(
    st.fixed_dictionaries(
        {"strategy": st.sampled_from(["all_at_once", "blue_green"]), "bake_minutes": st.integers(1, 60)}
    ),
    st.fixed_dictionaries({"strategy": st.just("canary"), "percent": st.integers(1, 50)}),
    st.fixed_dictionaries({"strategy": st.just("shadow"), "percent": st.integers(1, 100), "model": PACKAGE}),
)
TARGET = st.one_of(
    st.builds(lambda n: {"requests_per_second": n}, st.integers(1, 500)),
    st.builds(lambda n: {"concurrency": n}, st.integers(1, 50)),
)
API = st.fixed_dictionaries({"throttle_rps": st.integers(1, 5000), "waf": st.booleans()})
SCALE = st.builds(lambda low, more, target: {"min": low, "max": low + more, "target": target}, st.integers(1, 3), st.integers(0, 5), TARGET)  # fmt: skip
CONCURRENCY = st.builds(lambda warm, more: {"warm": warm, "max": warm + more}, st.integers(0, 3), st.integers(1, 20))
COMPUTE = st.fixed_dictionaries({"cpu": st.sampled_from([1, 2, 4]), "memory_gib": st.sampled_from([2, 4, 16])})


def endpoints(model: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Endpoints of every kind that stands in front of a model."""
    online = {"release": RELEASE}
    return st.one_of(
        st.fixed_dictionaries({"kind": st.just("realtime"), "model": model, "scale": SCALE, "objective": PROMISED}, optional={**online, "compute": COMPUTE, "capture_percent": st.integers(0, 100), "api": API}),
        st.fixed_dictionaries({"kind": st.just("realtime"), "server": st.just("kubernetes"), "model": CONTAINER, "scale": SCALE, "objective": PROMISED}, optional=online),
        st.fixed_dictionaries({"kind": st.just("serverless"), "model": CONTAINER, "concurrency": CONCURRENCY, "objective": PROMISED}, optional={"memory_gib": st.integers(1, 6)}),
        st.fixed_dictionaries({"kind": st.just("async"), "model": CONTAINER, "scale": st.builds(lambda n: {"max": n}, st.integers(1, 5)), "objective": st.just({"requests_per_month": 1000})}),
        st.fixed_dictionaries({"kind": st.just("batch"), "model": model, "input": st.just({"zone": "curated"}), "objective": st.just({"records_per_month": 1000})}, optional={"schedule": st.just("0 3 * * *"), "queue": st.just("train")}),
        st.fixed_dictionaries({"kind": st.just("function"), "model": CONTAINER, "concurrency": CONCURRENCY, "objective": PROMISED, "api": API}, optional=online),
        st.fixed_dictionaries({"kind": st.just("container"), "model": CONTAINER, "scale": SCALE, "objective": PROMISED, "api": API}, optional=online),
        st.fixed_dictionaries({"kind": st.just("llm"), "model": st.just(LANGUAGE), "tokens_per_minute": st.integers(1000, 10**6), "objective": st.just({"requests_per_month": 1000})}, optional={"guardrail": st.just("default")}),
        st.fixed_dictionaries({"kind": st.just("edge"), "model": CONTAINER, "fleet": st.just("cameras")}),
    ).map(lambda made: {"team": "risk", **made})  # fmt: skip


def described(stack: str, serving: dict[str, Any], corpora: dict[str, Any]) -> Environment:
    """An environment with these endpoints and corpora and little else."""
    base = load(ROOT, stack, today=date(2026, 6, 1)).model_dump(exclude_none=True)
    base["secrets"] = {}
    base["serving"] = {
        "capture_days": 14,
        "tokens": {"issuer": "https://id.example.com", "keys": "https://id.example.com/keys", "audience": "ml"},
        "domain": {"name": "ml.example.com"},
        "endpoints": serving,
    }
    base["retrieval"] = {
        "prompt_days": 14, "corpora": corpora, "guardrails": {"default": {}}, "api": {"throttle_rps": 20},
    }  # fmt: skip
    keep = ("checkpoint_days", "teams", "pools", "queues")
    base["training"] = {key: value for key, value in base["training"].items() if key in keep}
    return Environment.model_validate(base)


LIMITS = {
    "aws:sagemaker/endpoint:Endpoint": ("name", 63), "aws:sagemaker/endpointConfiguration:EndpointConfiguration": ("name", 63),
    "aws:sagemaker/model:Model": ("name", 63), "aws:lambda/function:Function": ("name", 64), "aws:lb/targetGroup:TargetGroup": ("name", 32),
    "aws:lb/loadBalancer:LoadBalancer": ("name", 32), "aws:iam/role:Role": ("name", 64), "aws:sfn/stateMachine:StateMachine": ("name", 80),
    "gcp:cloudrunv2/service:Service": ("name", 49), "gcp:cloudrunv2/job:Job": ("name", 49), "gcp:serviceaccount/account:Account": ("accountId", 30),
    "gcp:workflows/workflow:Workflow": ("name", 64), "gcp:cloudscheduler/job:Job": ("name", 500),
}  # fmt: skip


@pytest.mark.parametrize(("stack", "cloud"), [("dev", "aws"), ("dev-gcp", "gcp")])
@settings(max_examples=8, phases=[Phase.generate])  # to shrink an example takes minutes
@given(data=st.data())
def test_endpoints_that_pass_the_checks_build(stack: str, cloud: Any, data: st.DataObject):
    from components.platform import Platform
    from preview.record import run

    model = st.one_of(PACKAGE, CONTAINER)
    serving = data.draw(st.dictionaries(NAME, endpoints(model), min_size=1, max_size=5))
    corpora = data.draw(
        st.dictionaries(
            NAME, st.just({"team": "risk", "readers": ["risk", "vision"], "guardrail": "default"}), max_size=1
        )
    )
    environment = described(stack, serving, corpora)
    assume(not [p for check in CHECKS for p in check(environment, Layer(Source("stacks/test.yaml")))])
    graph = run(lambda: Platform(environment) and None, stack=stack)
    for type_, (key, limit) in LIMITS.items():
        for resource in graph.of_type(type_):
            # Where Pulumi names it: the logical name, a hyphen and seven digits.
            named = resource.get(key) or f"{resource.name}-1234567"
            assert 1 <= len(named) <= limit, (type_, named)
    for name in answering(environment, cloud):
        mine = [r for r in graph.resources.values() if r.name == name or r.name.startswith(f"{name}-")]
        assert mine, f"nothing was built for {name}"
    for resource in graph.resources.values():
        if resource.type.startswith("kubernetes:"):
            assert "null" not in json.dumps(resource.inputs), resource.urn
