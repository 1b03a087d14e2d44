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
from components.spec.section import LONGEST_NAME
from components.spec.source import Layer
from policies.model import Graph
from tests.conftest import ROOT

# What is built here is covered by the tests of each part, and to trace it all takes half as long again.
pytestmark = pytest.mark.no_cover

NAME = st.from_regex(r"\A[a-z](-?[a-z0-9]){1,31}\Z").map(lambda name: name[:LONGEST_NAME].rstrip("-"))
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
# In a cluster requests are split by pods: one beside another has half of them.
INSIDE = st.one_of(
    st.just({"strategy": "all_at_once"}),
    st.fixed_dictionaries({"strategy": st.just("blue_green"), "bake_minutes": st.integers(1, 60)}),
    st.just({"strategy": "canary", "percent": 50}),
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
        st.fixed_dictionaries({"kind": st.just("realtime"), "server": st.just("kubernetes"), "model": CONTAINER, "scale": SCALE, "objective": PROMISED}, optional={"release": INSIDE}),
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


# What each service takes at most. Sources: those of components.core.naming, and the models of the SDKs.
LIMITS = {
    "aws:sagemaker/endpoint:Endpoint": ("name", 63), "aws:sagemaker/endpointConfiguration:EndpointConfiguration": ("name", 63),
    "aws:sagemaker/model:Model": ("name", 63), "aws:lambda/function:Function": ("name", 64), "aws:lb/targetGroup:TargetGroup": ("name", 32),
    "aws:lb/loadBalancer:LoadBalancer": ("name", 32), "aws:iam/role:Role": ("name", 64), "aws:sfn/stateMachine:StateMachine": ("name", 80),
    "aws:iam/policy:Policy": ("name", 128), "aws:iam/rolePolicy:RolePolicy": ("name", 128), "aws:sns/topic:Topic": ("name", 256),
    "aws:sqs/queue:Queue": ("name", 80), "aws:cloudwatch/eventRule:EventRule": ("name", 64), "aws:scheduler/schedule:Schedule": ("name", 64),
    "aws:cloudwatch/metricAlarm:MetricAlarm": ("name", 255), "aws:codedeploy/application:Application": ("name", 100),
    "aws:codedeploy/deploymentConfig:DeploymentConfig": ("deploymentConfigName", 100), "aws:iot/thingGroup:ThingGroup": ("name", 128),
    "aws:iot/policy:Policy": ("name", 128), "aws:iot/roleAlias:RoleAlias": ("alias", 128), "aws:iot/topicRule:TopicRule": ("name", 128),
    "aws:elasticache/serverlessCache:ServerlessCache": ("name", 40), "aws:elasticache/user:User": ("userId", 40),
    "aws:elasticache/userGroup:UserGroup": ("userGroupId", 40), "aws:bedrock/guardrail:Guardrail": ("name", 50),
    "aws:bedrock/agentKnowledgeBase:AgentKnowledgeBase": ("name", 100), "aws:bedrock/agentDataSource:AgentDataSource": ("name", 100),
    "aws:bedrock/provisionedModelThroughput:ProvisionedModelThroughput": ("provisionedModelName", 63),
    "aws:s3/vectorsIndex:VectorsIndex": ("indexName", 63), "aws:ecs/service:Service": ("name", 255), "aws:ec2/securityGroup:SecurityGroup": ("name", 255),
    "gcp:cloudrunv2/service:Service": ("name", 49), "gcp:cloudrunv2/job:Job": ("name", 49), "gcp:serviceaccount/account:Account": ("accountId", 30),
    "gcp:workflows/workflow:Workflow": ("name", 64), "gcp:cloudscheduler/job:Job": ("name", 500), "gcp:cloudfunctionsv2/function:Function": ("name", 63),
    "gcp:logging/metric:Metric": ("name", 100), "gcp:dataloss/preventionInspectTemplate:PreventionInspectTemplate": ("templateId", 100),
    "gcp:modelarmor/template:Template": ("templateId", 63), "gcp:pubsub/topic:Topic": ("name", 255), "gcp:pubsub/subscription:Subscription": ("name", 255),
    "gcp:memorystore/instance:Instance": ("instanceId", 63), "gcp:vectorsearch/collection:Collection": ("collectionId", 63),
    "gcp:compute/backendService:BackendService": ("name", 63), "gcp:compute/regionNetworkEndpointGroup:RegionNetworkEndpointGroup": ("name", 63),
    "gcp:compute/securityPolicy:SecurityPolicy": ("name", 63), "gcp:vertex/aiEndpoint:AiEndpoint": ("displayName", 128),
    "gcp:iam/workloadIdentityPoolProvider:WorkloadIdentityPoolProvider": ("workloadIdentityPoolProviderId", 32),
}  # fmt: skip


UNBUILT = {"gcp:cloudrunv2/job:Job", "aws:lb/targetGroup:TargetGroup"}
"""Types that the longest names are not held against."""


def within(graph: Graph) -> set[str]:
    """Hold every name against what its service takes; the types that were there."""
    found: set[str] = set()
    for type_, (key, limit) in LIMITS.items():
        for resource in graph.of_type(type_):
            # Where Pulumi names it: the logical name, a hyphen and seven digits.
            named = resource.get(key) or f"{resource.name}-1234567"
            assert 1 <= len(named) <= limit, (type_, named)
            assert "--" not in named, (type_, named)
            found.add(type_)
    return found


def longest(name: str) -> str:
    return f"{name}-{'a' * (LONGEST_NAME - len(name) - 1)}"


@pytest.mark.parametrize(("stack", "cloud"), [("dev", "aws"), ("dev-gcp", "gcp")])
def test_the_longest_names_are_within_every_limit(stack: str, cloud: str):
    from components.platform import Platform
    from preview.record import run

    once = {"p95_ms": 9000, "requests_per_month": 1000}
    image, package = {"image": "serving:1.1.0"}, {"package": "fraud", "version": "12"}
    packed = {**image, "artifact": {"path": "fraud/model.tar.gz", "sha256": "0" * 64}}
    scale = {"min": 1, "max": 2, "target": {"requests_per_second": 5}}
    front = {
        "model": packed,
        "objective": once,
        "api": {"throttle_rps": 50},
        "release": {"strategy": "canary", "percent": 10},
    }
    run_over = {
        "model": package,
        "input": {"zone": "curated"},
        "objective": {"records_per_month": 1000},
        "schedule": "0 3 * * *",
    }
    spec: dict[str, Any] = {
        "realtime": {"model": package, "scale": scale, "objective": once, "capture_percent": 5},
        "serverless": {"model": image, "concurrency": {"max": 5}, "objective": once},
        "async": {"model": image, "scale": {"max": 4}, "objective": {"requests_per_month": 1000}},
        "batch": run_over,
        "function": {**front, "concurrency": {"warm": 1, "max": 5}},
        "container": {**front, "scale": {"min": 1, "max": 4}},
        "llm": {"model": LANGUAGE, "guardrail": longest("guard"), "tokens_per_minute": 1000, "objective": {"requests_per_month": 1}},
    }  # fmt: skip
    if cloud == "aws":
        spec["llm"]["units"] = 1
        spec["edge"] = {"model": packed, "fleet": "c" * 63}
    described_as = described(
        stack, {longest(kind): {"kind": kind, "team": "risk", **made} for kind, made in spec.items()}, {}
    ).model_dump(exclude_none=True)
    # Together as long as the bucket of a zone that every environment has allows, with its copy.
    described_as["company"]["prefix"], described_as["name"] = "a-rather-long-prefix", "an-environment-far-off"
    described_as["serving"]["caches"] = {longest("cache"): {"team": "risk", "clients": [longest("container")]}}
    described_as["retrieval"]["guardrails"] = {longest("guard"): {"pii": "block"}}
    described_as["retrieval"]["corpora"] = {
        longest("corpus"): {"team": "risk", "readers": ["risk"], "guardrail": longest("guard")}
    }
    environment = Environment.model_validate(described_as)
    assert not [p for check in CHECKS for p in check(environment, Layer(Source("stacks/test.yaml")))]
    found = within(run(lambda: Platform(environment) and None, stack=stack))
    assert {type_ for type_ in LIMITS if type_.startswith(cloud)} - found <= UNBUILT


@pytest.mark.parametrize(("stack", "cloud"), [("dev", "aws"), ("dev-gcp", "gcp")])
@settings(max_examples=5, phases=[Phase.generate])  # to shrink an example takes minutes
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
    within(graph)
    for name in answering(environment, cloud):
        mine = [r for r in graph.resources.values() if r.name == name or r.name.startswith(f"{name}-")]
        assert mine, f"nothing was built for {name}"
    for resource in graph.resources.values():
        if resource.type.startswith("kubernetes:"):
            assert "null" not in json.dumps(resource.inputs), resource.urn
