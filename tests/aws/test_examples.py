"""Every example in a docstring of the AWS side is run, where it declares resources as a program of its own."""

import doctest
from datetime import date
from importlib import import_module
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest

from components import contracts
from components.core.naming import Names
from components.scope import Scope
from preview.record import run
from tests.conftest import ROOT
from tests.house.test_layout import CONTENTS, component

MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "components" / "aws").rglob("*.py")
    if path.name not in ("__init__.py", *CONTENTS)
)


def given() -> dict[str, Any]:
    """What an example finds: a scope, a parent, and handles of what other components would have made."""
    parent = pulumi.ComponentResource("ai-platform:aws:Example", "example")
    scope = Scope(
        environment="dev",
        tier="dev",
        cloud="aws",
        account="111111111111",
        region="us-west-2",
        replica_region=None,
        names=Names("acme-ai", "dev"),
        tags={},
        protection="delete",
        log_days=30,
        today=date(2026, 1, 1),
        provider=aws.Provider("aws", region="us-west-2", opts=pulumi.ResourceOptions(parent=parent)),
    )
    text = pulumi.Output.from_input
    return {
        "scope": scope,
        "parent": parent,
        "key": contracts.Key(id=text("arn:aws:kms:us-west-2:111111111111:key/1"), replica=None),
        "boundary": contracts.Boundary(id=text("arn:aws:iam::111111111111:policy/acme-ai-dev-boundary")),
        "network": contracts.Network(
            id=text("vpc-1"), workload_subnets=[text("subnet-1")], data_subnets=[text("subnet-2")], cidr="10.16.0.0/16"
        ),
        "bucket": contracts.Storage(
            name=text("acme-ai-dev-raw"),
            uri=text("s3://acme-ai-dev-raw"),
            resource=text("arn:aws:s3:::acme-ai-dev-raw"),
        ),
        "topic": text("arn:aws:sns:us-west-2:111111111111:acme-ai-dev-cost"),
    }


@pytest.mark.parametrize("module", MODULES)
def test_examples(module: str) -> None:
    results: list[doctest.TestResults] = []
    graph = run(lambda: results.append(doctest.testmod(import_module(module), extraglobs=given())))
    assert results[0].attempted >= 1
    assert results[0].failed == 0
    made = {r.type for r in graph.resources.values()}
    declared = component(ROOT / f"{module.replace('.', '/')}.py")
    assert declared is not None
    assert f"ai-platform:aws:{declared.name}" in made


def test_examples_of_policy_documents() -> None:
    result = doctest.testmod(import_module("components.core.iam"))
    assert result.attempted >= 3
    assert result.failed == 0
