"""Every example in a docstring of what is in a cluster is run, where it declares resources as a program of its own."""

import doctest
from importlib import import_module
from typing import Any

import pulumi
import pytest

from components import contracts
from components.kubernetes.contracts import Door, Spaces, Watchers
from components.spec.capacity import Capacity
from components.spec.training import Distributed
from preview.record import run
from tests.conftest import ROOT
from tests.kubernetes.building import cluster, described, flavors, pool, scope
from tests.kubernetes.endpoints import TOKENS, doors, endpoint

COMPONENTS = {
    "data.volumes": "Volumes",
    "foundation.admission": "Admission",
    "foundation.charts": "Charts",
    "foundation.signatures": "Signatures",
    "foundation.tenants": "Tenants",
    "operations.metrics": "Metrics",
    "serving.batch": "Batch",
    "serving.container": "Container",
    "serving.door": "Door",
    "serving.entrance": "Entrance",
    "serving.interceptors": "Interceptors",
    "serving.llm": "Llm",
    "serving.realtime": "RealTime",
    "serving.release": "Release",
    "serving.router": "Router",
    "serving.spaces": "Spaces",
    "serving.watchers": "Watchers",
    "training.queues": "Kueue",
    "training.tracking": "Mlflow",
}


def given() -> dict[str, Any]:
    """What an example finds: a scope, a parent, a cluster with a pool, a queue, a team."""
    parent = pulumi.ComponentResource("ai-platform:test:Example", "example")
    environment = described(
        "aws", teams={"vision": {"share": 3, "gpus": 32}}, pools={"l4": pool(4)}, queues={"train": {"pools": ["l4"]}}
    )
    capacity = Capacity(environment, "aws")
    own = cluster(parent)
    return {
        "scope": scope("aws", "dev", parent),
        "parent": parent,
        "cluster": own,
        "database": contracts.Database(
            **dict.fromkeys(("host", "user", "secret", "identity", "artifacts"), pulumi.Output.from_input("here")),
            name="mlflow",
            authority=None,
            reach="10.16.0.0/16",
        ),
        "plans": capacity.pools,
        "queues": capacity.queues,
        "nominal": capacity.nominal(),
        "teams": environment.training.teams,
        "pools": type("Pools", (), {"flavors": flavors("aws", capacity)}),
        "Distributed": Distributed,
        "spaces": Spaces(
            namespaces={"risk": own.name},
            callers={"risk": own.name},
            priority=own.name,
            routers=own.name,
        ),
        **{name: endpoint(name) for name in ("realtime", "container", "llm", "batch")},
        "watchers": Watchers(space=own.name, account="watcher", program="watch"),
        "doors": doors("aws", "search"),
        "door": Door(address=own.name, made=[], beside=None),
        "tokens": TOKENS,
    }


@pytest.mark.parametrize("module", COMPONENTS)
def test_examples(module: str):
    results: list[doctest.TestResults] = []
    found = import_module(f"components.kubernetes.{module}")
    graph = run(lambda: results.append(doctest.testmod(found, extraglobs=given())))
    assert results[0].attempted >= 1
    assert results[0].failed == 0
    assert f"ai-platform:kubernetes:{COMPONENTS[module]}" in {r.type for r in graph.resources.values()}


def test_there_is_an_example_in_every_file():
    folder = ROOT / "components" / "kubernetes"
    assert {
        ".".join(path.relative_to(folder).with_suffix("").parts)
        for path in folder.rglob("*/*.py")
        if path.name != "__init__.py"
    } == set(COMPONENTS)
