"""Clusters of the tests' own: a training described, built on either cloud, and what is looked up in its graph."""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

import pulumi
import pulumi_aws as aws
import pulumi_gcp as gcp
import pulumi_kubernetes as kubernetes

from components import contracts
from components.core.naming import Names
from components.kubernetes.contracts import POOL, Verification
from components.kubernetes.environment import InClusterArgs, build
from components.scope import Scope
from components.spec.capacity import Capacity
from components.spec.environment import Environment
from components.spec.load import load
from components.spec.section import CloudName
from policies.model import Graph, Resource
from preview.record import run
from tests.conftest import ROOT

TEAMS = {"vision": {"share": 3, "gpus": 9}, "risk": {"share": 1, "gpus": 5}}
ACCELERATORS = "ai-platform.io/accelerators"
LEVELS = {
    "aws": ("topology.k8s.aws/network-node-layer-1", "topology.k8s.aws/network-node-layer-2"),
    "gcp": ("cloud.google.com/gce-topology-block", "cloud.google.com/gce-topology-host"),
}


def pool(most: int = 4, least: int = 0, *, per_node: int = 1, type_: str = "nvidia-l4", **rest: Any) -> dict[str, Any]:
    """A pool of the description."""
    accelerator = {"type": type_, "per_node": per_node, **rest.pop("accelerator", {})}
    return {"accelerator": accelerator, "nodes": {"min": least, "max": most}, **rest}


POOLS: dict[CloudName, dict[str, Any]] = {
    "aws": {
        "l4-spot": pool(8, capacity=["spot", "on-demand"]),
        "l4-shared": pool(2, accelerator={"sharing": {"kind": "time-slicing", "replicas": 4}}),
        "h100": pool(2, 2, per_node=8, type_="nvidia-h100", interconnect="fast", capacity=[{"reserved": "cr-0123"}]),
        "trn": pool(1, per_node=16, type_="aws-trainium"),
        "cpu": {"machine": "m7i.2xlarge", "nodes": {"max": 3}},
    },
    "gcp": {
        "l4-spot": pool(8, capacity=["spot", "on-demand"]),
        "l4-shared": pool(2, accelerator={"sharing": {"kind": "time-slicing", "replicas": 4}}),
        "h100": pool(
            2, 2, per_node=8, type_="nvidia-h100", interconnect="fast",
            capacity=[{"reserved": "held", "zone": "us-central1-a"}],
        ),
        "a100-queued": pool(3, per_node=8, type_="nvidia-a100-80gb", capacity=["queued"]),
        "tpu": pool(1, per_node=8, type_="google-tpu-v5e", accelerator={"topology": "2x4"}),
    },
}  # fmt: skip
QUEUES: dict[CloudName, dict[str, Any]] = {
    "aws": {
        "train": {"pools": ["l4-spot", "h100"], "priority_classes": {"urgent": 1000, "normal": 100}},
        "large": {"pools": ["h100"], "teams": ["vision"], "timeout_hours": 48},
        "try": {"pools": ["l4-shared"], "timeout_hours": 2},
        "neuron": {"pools": ["trn", "cpu"]},
    },
    "gcp": {
        "train": {"pools": ["l4-spot", "h100"], "priority_classes": {"urgent": 1000, "normal": 100}},
        "large": {"pools": ["h100"], "teams": ["vision"], "timeout_hours": 48},
        "try": {"pools": ["l4-shared"], "timeout_hours": 2},
        "whole": {"pools": ["a100-queued"], "timeout_hours": 300},
        "tensor": {"pools": ["tpu"]},
    },
}
VOLUMES: dict[CloudName, contracts.Volume] = {
    "aws": contracts.Volume(
        driver="fsx.csi.aws.com",
        handle=pulumi.Output.from_input("fs-1"),
        attributes={"dnsname": pulumi.Output.from_input("fs-1.fsx.us-west-2.amazonaws.com")},
        gib=1200,
        options=("flock",),
    ),
    "gcp": contracts.Volume(
        driver="lustre.csi.storage.gke.io",
        handle=pulumi.Output.from_input("acme/us-central1-a/scratch"),
        attributes={"mountpoint": pulumi.Output.from_input("10.0.0.2@tcp:/scratch")},
        gib=72000,
    ),
}
SIGNER = "arn:aws:signer:us-west-2:111111111111:/signing-profiles/acme_ai_dev_images_1"
VERIFICATION = Verification(
    signer=pulumi.Output.from_input(SIGNER),
    identity=pulumi.Output.from_input("arn:aws:iam::111111111111:role/acme-ai-dev-verifier"),
    enforced=True,
)
STACK: dict[CloudName, str] = {"aws": "dev", "gcp": "dev-gcp"}


def described(cloud: CloudName, **training: Any) -> Environment:
    """An environment of the repository with this training instead of its own."""
    base = load(ROOT, STACK[cloud], today=date(2026, 6, 1)).model_dump(exclude_none=True)
    keep = {"checkpoint_days": base["training"]["checkpoint_days"]}
    own = {"teams": TEAMS, "pools": POOLS[cloud], "queues": QUEUES[cloud], "distributed": {"jobset": True, "ray": True}}
    base["training"] = {**keep, **own, **training}
    return Environment.model_validate(base)


def scope(cloud: CloudName, tier: Any, parent: pulumi.Resource) -> Scope:
    """Where it is built."""
    opts = pulumi.ResourceOptions(parent=parent)
    provider = aws.Provider("aws", region="us-west-2", opts=opts) if cloud == "aws" else gcp.Provider("gcp", opts=opts)
    return Scope(
        environment="dev",
        tier=tier,
        cloud=cloud,
        account="111111111111",
        region="us-west-2" if cloud == "aws" else "us-central1",
        replica_region=None,
        names=Names("acme-ai", "dev"),
        tags={},
        protection="delete",
        log_days=30,
        today=date(2026, 1, 1),
        provider=provider,
    )


def cluster(parent: pulumi.Resource) -> contracts.Cluster:
    """A cluster that somebody else made."""
    opts = pulumi.ResourceOptions(parent=parent)
    return contracts.Cluster(
        name=pulumi.Output.from_input("acme-ai-dev"),
        physical_name="acme-ai-dev",
        endpoint=pulumi.Output.from_input("https://10.0.0.1"),
        location="here",
        provider=kubernetes.Provider("cluster", kubeconfig="{}", cluster_identifier="acme-ai-dev", opts=opts),
        resource=pulumi.ComponentResource("ai-platform:test:Cluster", "cluster", None, opts),
        node_identity=pulumi.Output.from_input("node"),
        security_group=None,
    )


def flavors(cloud: CloudName, capacity: Capacity) -> dict[str, contracts.Flavor]:
    """What either cloud makes of its pools, as far as the cluster sees it."""
    return {
        name: contracts.Flavor(
            labels={POOL: name},
            taints=[
                *([{"key": plan.resource, "value": "present", "effect": "NoSchedule"}] if plan.resource else []),
                {"key": POOL, "value": name, "effect": "NoSchedule"},
            ],
            queued=any(choice.kind == "queued" for choice in plan.choices),
            topology=LEVELS[cloud] if plan.fast else (),
        )
        for name, plan in capacity.pools.items()
        if plan.scheduler == "kubernetes"
    }


def built(cloud: CloudName, *, tier: str = "dev", preview: bool = False, args: Any = None, **training: Any) -> Graph:
    """What is in a cluster whose training is this, and what else is handed over with `args`."""
    environment = described(cloud, **training)
    capacity = Capacity(environment, cloud)

    def program() -> None:
        parent = pulumi.ComponentResource("ai-platform:test:Environment", "dev")
        given: dict[str, Any] = {"file_systems": {"scratch": VOLUMES[cloud]}}
        if cloud == "aws":
            given["verification"] = VERIFICATION
        more: Any = args() if callable(args) else args or {}
        handed = InClusterArgs(
            cluster=cluster(parent),
            pools=contracts.Pools(flavors=flavors(cloud, capacity), ready=pulumi.Output.from_input("acme-ai-dev")),
            plans=capacity.pools,
            queues=capacity.queues,
            nominal=capacity.nominal(),
            teams=environment.training.teams,
            distributed=environment.training.distributed,
            **{**given, **more},
        )
        build(handed, scope=scope(cloud, tier, parent), parent=parent)

    return run(program, preview=preview)


def objects(graph: Graph, kind: str | None = None) -> dict[str, Resource]:
    """The objects of a kind by their own name; of all kinds, by kind and name. A namespaced name has its namespace first."""
    return {
        (name if kind else f"{resource.inputs['kind']}/{name}"): resource
        for resource, name in _named(graph)
        if kind in {None, resource.inputs["kind"]}
    }


def _named(graph: Graph) -> Iterator[tuple[Resource, str]]:
    for resource in graph.resources.values():
        if resource.type.startswith("kubernetes:") and resource.inputs.get("kind"):
            metadata: Mapping[str, str] = resource.inputs["metadata"]
            yield resource, "/".join(filter(None, [metadata.get("namespace"), metadata["name"]]))


def releases(graph: Graph) -> dict[str, Resource]:
    """The releases of charts by name."""
    kind = "kubernetes:helm.sh/v3:Release"
    return {resource.inputs["name"]: resource for resource in graph.resources.values() if resource.type == kind}


def before(graph: Graph, resource: Resource) -> set[str]:
    """URNs of everything that has to exist before a resource, directly or not."""
    seen: set[str] = set()
    left = [resource.urn]
    while left:
        for urn in graph.resources[left.pop()].dependencies:
            if urn not in seen:
                seen.add(urn)
                left.append(urn)
    return seen
