"""A component of the cluster built alone: its scope, what it is handed, and plans of pools."""

from collections.abc import Callable
from datetime import date
from typing import Any

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.core.accelerators import ACCELERATORS, machine, machines
from components.core.naming import Names
from components.gcp.foundation.cluster import Cluster, ClusterArgs
from components.gcp.training.pools import Pools, PoolsArgs
from components.scope import PROJECT, Scope
from components.spec.capacity import Choice, PoolPlan, slices
from components.spec.training import System, Window
from policies.model import Graph
from preview.record import run

APIS = ("cloudresourcemanager", "container", "iam", "logging")
ZONES = ("us-central1-a", "us-central1-b", "us-central1-c")


def text(value: str) -> contracts.Text:
    return pulumi.Output.from_input(value)


def scope(parent: pulumi.Resource, **changes: Any) -> Scope:
    provider = gcp.Provider("gcp", project="acme-dev", opts=pulumi.ResourceOptions(parent=parent))
    values: dict[str, Any] = {
        "environment": "dev", "tier": "dev", "cloud": "gcp", "account": "acme-dev", "region": "us-central1",
        "replica_region": None, "names": Names("acme-ai", "dev"), "tags": {"environment": "dev"}, "protection": "delete",
        "log_days": 30, "today": date(2026, 1, 1), "provider": provider,
    }  # fmt: skip
    return Scope(**{**values, **changes})


def cluster_args(**changes: Any) -> ClusterArgs:
    network = contracts.Network(
        id=text("projects/acme-dev/global/networks/vpc"),
        workload_subnets=[text("projects/acme-dev/regions/us-central1/subnetworks/nodes")],
        data_subnets=[], cidr="10.0.0.0/16", pod_range="pods", service_range="services",
    )  # fmt: skip
    values: dict[str, Any] = {
        "apis": {f"{api}.googleapis.com": text("acme-dev") for api in APIS}, "network": network,
        "secrets_key": contracts.Key(id=text("keys/secrets"), replica=None),
        "compute_key": contracts.Key(id=text("keys/compute"), replica=None),
        "version": "1.35", "upgrades": "standard", "window": Window(), "system": System(), "zones": ZONES, "generation": 1,
    }  # fmt: skip
    return ClusterArgs(**{**values, **changes})


def choice(kind: str, **changes: Any) -> Choice:
    values: dict[str, Any] = {"reservation": None, "min": 0, "max": 4, "zones": ZONES, "label": kind}
    return Choice(kind=kind, **{**values, **changes})


def plan(name: str, accelerator: str | None, per_node: int, *choices: Choice, **changes: Any) -> PoolPlan:
    """A pool of some accelerator, or of the machine of this type where there is none."""
    kind = changes.pop("type", None)
    named = machine("gcp", kind, accelerator, per_node) if kind else None
    found = (named,) if named else machines("gcp", accelerator, per_node, "us-central1")
    values: dict[str, Any] = {
        "machines": found, "accelerator": ACCELERATORS[accelerator] if accelerator else None, "per_node": per_node,
        "slices": slices(ACCELERATORS[accelerator], changes.get("sharing")) if accelerator else 1, "sharing": None, "min": 0,
        "max": max(c.max for c in choices), "choices": choices, "fast": False, "zones": ZONES, "disk_gib": 200,
        "topology": None, "scheduler": "kubernetes", "team": None,
    }  # fmt: skip
    return PoolPlan(name=name, **{**values, **changes})


def build(
    *plans: PoolPlan,
    scoped: dict[str, Any] | None = None,
    tags: dict[str, Any] | None = None,
    preview: bool = False,
    **cluster: Any,
) -> Graph:
    """A cluster, and these pools in it."""

    def program() -> None:
        root = pulumi.ComponentResource(f"{PROJECT}:Root", "root", None)
        here = scope(root, **(scoped or {}))
        args = cluster_args(**cluster)
        made = Cluster("cluster", args, scope=here, parent=root).outputs
        pools = Pools(
            "pools",
            PoolsArgs(
                apis=args.apis, cluster=made, key=args.compute_key, plans={p.name: p for p in plans}, tags=tags or {}
            ),
            scope=here,
            parent=root,
        ).outputs
        pulumi.export("cluster", {"name": made.name, "endpoint": made.endpoint, "identity": made.node_identity})
        pulumi.export("ready", pools.ready)
        pulumi.export(
            "flavors",
            {
                name: {
                    "labels": dict(f.labels),
                    "taints": [dict(t) for t in f.taints],
                    "queued": f.queued,
                    "topology": list(f.topology),
                }
                for name, f in pools.flavors.items()
            },
        )

    return run(program, preview=preview)


def raised(call: Callable[[], object]) -> str:
    """What an error says."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - whichever it is
        return str(error)
    return ""
