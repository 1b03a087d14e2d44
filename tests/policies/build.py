"""Small graphs, written down directly: what a rule sees, without a program or a cloud."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from policies.context import AWS_PROVIDER, GCP_PROVIDER
from policies.model import REFERENCE, Graph, Resource
from policies.registry import evaluate
from policies.rules.isolation import KUBERNETES_PROVIDER

ACCOUNT = "111111111111"
PROJECT = "acme-ai-dev"
NUMBER = "222222222222"
STACK = "dev"


def urn(type_: str, name: str) -> str:
    return f"urn:pulumi:{STACK}::ai-platform::{type_}::{name}"


def make(type_: str, name: str = "it", /, *, comes_from: Mapping[str, Resource] | None = None, **more: Any) -> Resource:
    """A resource. `inputs` and every other attribute by keyword; properties depend on what their values refer to.

    `comes_from` adds dependencies that the value does not show: a name that was written down.
    """
    inputs: dict[str, Any] = more.pop("inputs", {})
    needs = {key: {m[1] for m in REFERENCE.finditer(json.dumps(value))} for key, value in inputs.items()}
    for key, source in (comes_from or {}).items():
        needs[key].add(source.urn)
    provider = _PROVIDERS.get(type_.partition(":")[0], "")
    return Resource(
        **{
            "urn": urn(type_, name),
            "type": type_,
            "name": name,
            "provider": provider,
            "inputs": inputs,
            "property_dependencies": {key: tuple(sorted(urns)) for key, urns in needs.items() if urns},
            "dependencies": tuple(sorted(set().union(*needs.values()))) if needs else (),
            **more,
        }
    )


_PROVIDERS = {
    "aws": urn(AWS_PROVIDER, "aws"),
    "gcp": urn(GCP_PROVIDER, "gcp"),
    "kubernetes": urn(KUBERNETES_PROVIDER, "cluster"),
}


def thing(kind: str, name: str = "it", /, *, namespace: str | None = None, **more: Any) -> Resource:
    """An object in a cluster, by `core/v1:Namespace`; labels, annotations and inputs by keyword."""
    metadata: dict[str, Any] = {"name": name, **({"namespace": namespace} if namespace else {})}
    metadata |= {key: more.pop(key) for key in ("labels", "annotations") if key in more}
    return make(f"kubernetes:{kind}", name, inputs={"metadata": metadata, **more})


def cluster(of: Resource | None = None) -> Resource:
    """The provider of the objects in a cluster."""
    config: dict[str, Any] = {
        "clusters": [{"name": "it", "cluster": {"server": ref(of, "endpoint") if of else "https://10.0.0.1"}}],
        "users": [{"name": "it", "user": {"exec": {"command": "aws"}}}],
    }
    return make(KUBERNETES_PROVIDER, "cluster", inputs={"kubeconfig": json.dumps(config), "clusterIdentifier": "it"})


def ref(resource: Resource, property_: str) -> str:
    return f"${{{resource.urn}#{property_}}}"


def tags(tier: str = "dev", **changed: str | None) -> dict[str, str]:
    common: dict[str, str | None] = {
        "environment": STACK,
        "tier": tier,
        "platform": "ai-platform",
        "owner": "ml-platform@example.com",
        "cost-center": "cc-1",
        "managed-by": "pulumi",
        **{key.replace("_", "-"): value for key, value in changed.items()},
    }
    return {key: value for key, value in common.items() if value is not None}


def aws(tier: str = "dev", region: str = "us-west-2", **changed: str | None) -> Resource:
    """A provider, with its settings as JSON: so the engine is handed them."""
    inputs = {
        "region": region,
        "allowedAccountIds": json.dumps([ACCOUNT]),
        "defaultTags": json.dumps({"tags": tags(tier, **changed)}),
    }
    return make(AWS_PROVIDER, "aws", inputs=inputs)


def gcp(tier: str = "dev", region: str = "us-central1", **changed: str | None) -> Resource:
    inputs = {"region": region, "project": PROJECT, "defaultLabels": json.dumps(tags(tier, **changed))}
    return make(GCP_PROVIDER, "gcp", inputs=inputs)


def graph(*resources: Resource, outputs: Mapping[str, Any] | None = None, untold: tuple[str, ...] = ()) -> Graph:
    found = {r.urn: r for r in sorted(resources, key=lambda r: r.urn)}
    return Graph(
        project="ai-platform", stack=STACK, resources=found, outputs=dict(outputs or {}), untold=frozenset(untold)
    )


def document(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def changed(resource: Resource, **inputs: Any) -> Resource:
    """The resource with other inputs; `None` takes one away."""
    merged = {**resource.inputs, **inputs}
    return replace(resource, inputs={key: value for key, value in merged.items() if value is not None})


@dataclass(frozen=True)
class Case:
    """A graph that a rule catches (`says` is part of what it says), or passes (`says` is empty)."""

    rule: str
    what: str
    graph: Graph
    says: str = ""
    enforcement: str = ""

    @property
    def messages(self) -> list[str]:
        return [f.message for f in evaluate(self.graph) if f.rule == self.rule]


def bad(rule: str, what: str, says: str, *resources: Resource, enforcement: str = "", **rest: Any) -> Case:
    return Case(rule, what, graph(*resources, **rest), says, enforcement)


def good(rule: str, what: str, *resources: Resource, **rest: Any) -> Case:
    return Case(rule, what, graph(*resources, **rest))
