"""Queues: that each has a bound, that together they promise no more than there is, and that nothing goes past them."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from components.core.accelerators import ACCELERATORS, machine
from policies.context import mapping, maps
from policies.model import Graph, Resource, is_unknown
from policies.pods import NAMESPACE, RELEASE, cluster_of, exists, name_of, quantity
from policies.rule import Found, Violation, graph_rule, resource_rule
from policies.rules.jobs import COMPUTE_ENVIRONMENT, FLAVOR
from policies.rules.pools import (
    CLOUD_CONTROL,
    KARPENTER_POOL,
    NODE_GROUP,
    NODE_POOL,
    instance_groups,
    labels_of_machines,
    templates_of,
)

CLUSTER_QUEUE = "kubernetes:kueue.x-k8s.io/v1beta2:ClusterQueue"
LOCAL_QUEUE = "kubernetes:kueue.x-k8s.io/v1beta2:LocalQueue"
COHORT = "kubernetes:kueue.x-k8s.io/v1beta2:Cohort"

_POOLS = (KARPENTER_POOL, NODE_GROUP, NODE_POOL, CLOUD_CONTROL)
_CLOUD_OF = {NODE_GROUP: "aws:", NODE_POOL: "gcp:", CLOUD_CONTROL: "aws:"}


def _quotas(queue: Resource) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Flavor, resource and what is said of it, of a queue or a cohort."""
    for group in maps(queue.get("spec.resourceGroups")):
        for flavor in maps(group.get("flavors")):
            for resource in maps(flavor.get("resources")):
                yield str(flavor.get("name")), str(resource.get("name")), resource


def _missing(resource: Resource, graph: Graph, type_: str, name: Any) -> bool:
    return not is_unknown(name) and not exists(type_, str(name), resource, graph)


@resource_rule(
    "queue-bounded",
    title="A queue has a quota of everything that it hands out, and borrows only within a cohort that is declared",
    types=(CLUSTER_QUEUE, COHORT),
    severity="high",
    why="A queue without a quota admits nothing or everything; a cohort that a typing error made lends nobody's machines.",
    remedy="nominalQuota of every resource of every flavor, and a Cohort of the name.",
    controls={"soc2": ("CC7.2",), "iso-27001": ("A.8.6",)},
)
def queue_bounded(resource: Resource, graph: Graph) -> Found:
    """What a queue may borrow is bounded by itself, or by what its cohort has: `queue-within-pool` says how much that is."""
    if resource.type == CLUSTER_QUEUE and not any(True for _ in _quotas(resource)):
        yield "it has no quota of anything"
    for flavor, name, quota in _quotas(resource):
        if quota.get("nominalQuota") is None:
            yield f"it has no quota of {name} of {flavor}"
    parent = resource.get("spec.cohortName" if resource.type == CLUSTER_QUEUE else "spec.parentName")
    if parent and _missing(resource, graph, COHORT, parent):
        yield f"nothing declares its cohort {parent}"


@resource_rule(
    "queue-complete",
    title="A queue leads somewhere: to flavors that are declared, on machines that exist, for the namespaces that it names",
    types=(CLUSTER_QUEUE, LOCAL_QUEUE, FLAVOR),
    severity="medium",
    why="Work in a queue whose flavor or machines are misspelt waits for ever, and nothing says why.",
    remedy="Take the names from the pools; name the namespaces that may use the queue.",
    controls={"iso-27001": ("A.8.6", "A.5.15")},
)
def queue_complete(resource: Resource, graph: Graph) -> Found:
    """An empty selector of namespaces is every namespace, a missing one none."""
    if resource.type == CLUSTER_QUEUE:
        for flavor in sorted({flavor for flavor, _, _ in _quotas(resource)}):
            if _missing(resource, graph, FLAVOR, flavor):
                yield f"nothing declares its flavor {flavor}"
        if not resource.get("spec.namespaceSelector"):
            yield "it names no namespaces"
    elif resource.type == LOCAL_QUEUE:
        for type_, name in (
            (CLUSTER_QUEUE, resource.get("spec.clusterQueue")),
            (NAMESPACE, resource.get("metadata.namespace")),
        ):
            if _missing(resource, graph, type_, name):
                yield f"nothing declares {name or 'what it leads to'}"
    elif mapping(resource.get("spec.nodeLabels")) and cluster_of(resource, graph) and not _pools_of(resource, graph):
        yield "no pool has machines with these labels"


def _pools_of(flavor: Resource, graph: Graph) -> list[Resource]:
    """The pools that a flavor's work may land on."""
    labels, cluster = mapping(flavor.get("spec.nodeLabels")), cluster_of(flavor, graph)
    cloud = cluster.type.partition(":")[0] + ":" if cluster else ""
    return [
        pool
        for pool in graph.of_type(*_POOLS)
        if labels
        and (labels.items() <= labels_of_machines(pool).items() or _groups_of(pool, labels))
        and (pool.provider == flavor.provider or (pool.type in _CLOUD_OF and _CLOUD_OF[pool.type].startswith(cloud)))
    ]


def _groups_of(pool: Resource, labels: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The groups of HyperPod whose machines have these labels."""
    return [
        group
        for group in instance_groups(pool)
        if labels.items() <= mapping(mapping(group.get("KubernetesConfig")).get("Labels")).items()
    ]


@graph_rule(
    "queue-within-pool",
    title="All queues together promise no more accelerators than their pool may have",
    severity="high",
    why="What is promised twice is had once: jobs are admitted, hold their quota and wait for machines that cannot come.",
    remedy="Nominal quotas from Capacity.nominal(), which divides a pool among its queues and teams.",
    controls={"soc2": ("CC7.2",), "iso-27001": ("A.8.6",)},
)
def queue_within_pool(graph: Graph) -> Found:
    """Of accelerators, where the pool says how many it has; cohorts' own quotas count too."""
    promised: dict[tuple[str, str], dict[str, float]] = {}
    for queue in graph.of_type(CLUSTER_QUEUE, COHORT):
        for flavor, resource, quota in _quotas(queue):
            if "/" in resource:
                of_flavor = promised.setdefault((queue.provider, flavor), {})
                of_flavor[resource] = of_flavor.get(resource, 0) + (quantity(quota.get("nominalQuota")) or 0)
    for flavor in graph.of_type(FLAVOR):
        pools = _pools_of(flavor, graph)
        for resource, total in sorted(promised.get((flavor.provider, name_of(flavor)), {}).items()):
            labels = mapping(flavor.get("spec.nodeLabels"))
            most = [_most(pool, resource, labels, graph) for pool in pools]
            known = [each for each in most if each is not None]
            if known and len(known) == len(most) and total > sum(known):
                yield Violation(f"queues promise {total:g} {resource}, of {sum(known):g}", flavor)


def _most(pool: Resource, resource: str, labels: Mapping[str, Any], graph: Graph) -> float | None:
    """How many of a resource a pool may have, on machines with these labels; None where it does not say."""
    if pool.type == CLOUD_CONTROL:
        held = [_held(group, resource) for group in _groups_of(pool, labels)]
        return None if None in held else sum(filter(None, held))
    if pool.type == KARPENTER_POOL:
        return quantity(mapping(pool.get("spec.limits")).get(resource))
    if pool.type == NODE_GROUP:
        types = [template.get("instanceType") for template in templates_of(pool, graph)]
        known = machine("aws", str(types[0])) if types else None
        shared = "nvidia.com/device-plugin.config" in labels_of_machines(pool)
        if known is None or shared or known.accelerator is None:
            return None
        nodes = quantity(pool.get("scalingConfig.maxSize"))
        return None if nodes is None else nodes * known.count * (ACCELERATORS[known.accelerator].resource == resource)
    nodes = quantity(pool.get("autoscaling.totalMaxNodeCount"))
    gpus = maps(pool.get("nodeConfig.guestAccelerators"))
    if nodes is None or not gpus or resource != "nvidia.com/gpu" or any(gpu.get("gpuPartitionSize") for gpu in gpus):
        return None
    each = [
        (quantity(gpu.get("count")) or 0)
        * (quantity(mapping(gpu.get("gpuSharingConfig")).get("maxSharedClientsPerGpu")) or 1)
        for gpu in gpus
    ]
    return nodes * sum(each)


def _held(group: Mapping[str, Any], resource: str) -> float | None:
    """How many of a resource a group of HyperPod has."""
    known, nodes = (
        machine("aws", str(group.get("InstanceType")).removeprefix("ml.")),
        quantity(group.get("InstanceCount")),
    )
    if known is None or known.accelerator is None or nodes is None:
        return None
    return nodes * known.count * (ACCELERATORS[known.accelerator].resource == resource)


@resource_rule(
    "queue-reclaims",
    title="What a team lends, it can have back",
    types=(CLUSTER_QUEUE,),
    severity="medium",
    why="Without it the first team to fill the cluster keeps it until its last job ends, whoever it belongs to.",
    remedy="preemption.reclaimWithinCohort: Any, and withinClusterQueue: LowerPriority.",
    controls={"soc2": ("A1.2",), "iso-27001": ("A.8.6",)},
)
def queue_reclaims(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """Of queues in a cohort; by default nothing is taken back (Kueue, "Cluster Queue", preemption)."""
    if resource.get("spec.cohortName") and resource.get("spec.preemption.reclaimWithinCohort", "Never") == "Never":
        yield "what others borrow of it, it does not get back"


@resource_rule(
    "queue-not-bypassed",
    title="Nothing starts past the queues",
    types=(RELEASE,),
    severity="high",
    why="A job without the queue's label starts at once, on machines that somebody else was promised.",
    remedy="manageJobsWithoutQueueName: true, for the teams' namespaces.",
    controls={"soc2": ("CC6.3",), "iso-27001": ("A.8.6",)},
)
def queue_not_bypassed(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """Kueue's own configuration; what is not known before the deployment is said to be so."""
    if str(resource.get("chart", "")).rpartition("/")[2] != "kueue":
        return
    text = resource.get("values.managerConfig.controllerManagerConfigYaml", "")
    if is_unknown(text):
        yield Violation("its configuration is not known before the deployment", enforcement="advisory")
        return
    try:
        settings = mapping(yaml.safe_load(str(text)))
    except yaml.YAMLError:
        settings = {}
    if settings.get("manageJobsWithoutQueueName") is not True:
        yield "jobs that name no queue start at once"
    elif not mapping(settings.get("managedJobsNamespaceSelector")):
        yield "it manages jobs of every namespace, the cluster's own too"


@resource_rule(
    "batch-updatable",
    title="An environment of Batch can be changed without being replaced",
    types=(COMPUTE_ENVIRONMENT,),
    severity="medium",
    why="One that cannot is deleted under its queue, which Batch refuses: the deployment stops half-way, with jobs waiting.",
    remedy="An allocation strategy other than BEST_FIT, the service-linked role, and a name prefix instead of a name.",
    controls={"soc2": ("CC8.1",), "iso-27001": ("A.8.32",)},
)
def batch_updatable(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """AWS Batch User Guide, "Perform infrastructure updates"; environments on Fargate have no strategy."""
    if resource.get("type") != "MANAGED":
        yield "its machines are nobody's to replace: it is not managed"
        return
    if str(resource.get("computeResources.type", "")).startswith("FARGATE"):
        return
    strategy = resource.get("computeResources.allocationStrategy", "BEST_FIT")
    if strategy == "BEST_FIT":
        yield "its allocation strategy is BEST_FIT"
    role = str(resource.get("serviceRole", ""))
    if role and not re.search(r"AWSServiceRoleForBatch", role):
        yield "its service role is not the service-linked one"
    if resource.get("name"):
        yield "its name is fixed, so another cannot stand beside it"
