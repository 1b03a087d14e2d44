"""A cluster, its autoscaler and its pools, built alone, from a description of training."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import pulumi
import pulumi_aws as aws

from components import contracts
from components.aws.foundation.autoscaler import Autoscaler, AutoscalerArgs
from components.aws.foundation.cluster import Cluster, ClusterArgs
from components.aws.training.pools import Pools, PoolsArgs
from components.core.accelerators import machine
from components.core.naming import Names
from components.scope import Scope
from components.spec.capacity import Capacity
from components.spec.section import Tier
from policies.model import Graph, Resource
from preview.record import run
from tests.aws.building import upstream
from tests.spec.test_capacity import environment

ACCOUNT, REGION, ZONES = "111111111111", "us-west-2", ("usw2-az1", "usw2-az2")
TODAY = date(2026, 6, 1)
PROTECTION: Mapping[Tier, str] = {"dev": "delete", "staging": "protect", "prod": "retain"}
TAGS = {"environment": "dev", "cost-center": "cc-1"}


def cluster(
    tier: Tier = "dev",
    *,
    preview: bool = False,
    prefix: str = "acme-ai",
    reach: Sequence[str] = ("0.0.0.0/0",),
    more: Mapping[str, Any] | None = None,
    **training: Any,
) -> Graph:
    """The graph of the three, for the pools of `training`; `more` are arguments of the cluster, handles as text."""
    plans = Capacity(environment(**training), "aws").pools if training else {}
    built: list[contracts.Pools] = []

    def program() -> None:
        parent = pulumi.ComponentResource("ai-platform:aws:Environment", "dev")
        scope = Scope(
            environment=tier, tier=tier, cloud="aws", account=ACCOUNT, region=REGION, replica_region=None,
            names=Names(prefix, tier), tags=TAGS, protection=PROTECTION[tier], log_days=30, today=TODAY,
            provider=aws.Provider("aws", region=REGION, opts=pulumi.ResourceOptions(parent=parent)),
        )  # fmt: skip
        text = pulumi.Output.from_input
        domains: tuple[contracts.Domain, ...] = ("data", "models", "logs", "secrets", "compute")
        keys: dict[contracts.Domain, contracts.Key] = {
            domain: contracts.Key(id=text(f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{domain}"), replica=None)
            for domain in domains
        }
        boundary = contracts.Boundary(id=text(f"arn:aws:iam::{ACCOUNT}:policy/boundary"))
        network = contracts.Network(
            id=text("vpc-1"),
            workload_subnets=[text("subnet-1"), text("subnet-2")],
            data_subnets=[],
            cidr="10.16.0.0/16",
            reach=reach,
            prefix_lists={"s3": text("pl-68a54001")},
        )
        small = machine("aws", "m7i.xlarge")
        assert small is not None
        args: dict[str, Any] = {
            "version": "1.35", "machine": small, "min": 2, "max": 4, "zones": ZONES, **(more or {}),
        }  # fmt: skip
        for handles in ("deployers", "personas"):
            args[handles] = {name: text(value) for name, value in args.get(handles, {}).items()}
        made = Cluster(
            "cluster",
            ClusterArgs(network=network, keys=contracts.Keys(domains=keys), boundary=boundary, **args),
            scope=scope, parent=parent,
        ).outputs  # fmt: skip
        autoscaler = Autoscaler(
            "autoscaler",
            AutoscalerArgs(cluster=made, compute_key=keys["compute"], notices_key=keys["logs"], boundary=boundary),
            scope=scope, parent=parent,
        ).outputs  # fmt: skip
        built.append(
            Pools(
                "pools",
                PoolsArgs(
                    pools={name: plan for name, plan in plans.items() if plan.scheduler == "kubernetes"},
                    version=args["version"], cluster=made, autoscaler=autoscaler, network=network, zones=ZONES,
                    key=keys["compute"], teams={"risk": {"team": "risk", "cost-center": "cc-9"}},
                ),
                scope=scope, parent=parent,
            ).outputs
        )  # fmt: skip

    return run(program, preview=preview)


def of(graph: Graph, type_: str, logical: str) -> Resource:
    """The resource whose type ends like this and that has this logical name."""
    found = [r for r in graph.resources.values() if r.type.endswith(f":{type_}") and r.name == logical]
    assert len(found) == 1, f"{type_} {logical}: {sorted(r.name for r in graph.resources.values())}"
    return found[0]


def before(graph: Graph, resource: Resource) -> set[str]:
    """URNs of all that is made before a resource, so deleted after it: also what its provider waits for."""
    seen: set[str] = set()
    left = [resource.urn]
    while left:
        found = graph.resources[left.pop()]
        for urn in {*upstream(graph, found), *([found.provider] if found.provider else [])} - seen:
            seen.add(urn)
            left.append(urn)
    return seen


def later(graph: Graph, resource: Resource, *others: Resource) -> bool:
    """Whether a resource is made after all the others, and so deleted before them."""
    return {other.urn for other in others} <= before(graph, resource)
