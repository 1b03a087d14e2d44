"""Queues of a cluster: Kueue's flavors, cohorts, queues and priorities."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pulumi

from components import contracts
from components.core.accelerators import Machine
from components.kubernetes.contracts import Kueue as Handles
from components.kubernetes.objects import custom, inside
from components.scope import Component, Scope, after
from components.spec.capacity import PoolPlan, QueuePlan, divide
from components.spec.section import CloudName
from components.spec.training import TrainingTeam

API = "kueue.x-k8s.io/v1beta2"
ACCELERATORS = "ai-platform.io/accelerators"
"""Accelerators of any kind: what Kueue is told to count each of them as besides (see `Charts`)."""
CEILING = "accelerators.ceiling"
"""The flavor of that count. It is no machine, so it has no label; no pool can be named so."""
ROOT = "training"
"""The cohort of all teams."""
_HOSTNAME = "kubernetes.io/hostname"
_RESERVED = {"reserved", "block"}


@dataclass(frozen=True, kw_only=True)
class Provisioning:
    """How a cloud is asked for all machines of a piece of work at once."""

    provisioner: str
    label: str
    """Of the machines that came for one request."""
    detail: str
    """Where the answer has that label's value."""
    most_seconds: int
    """How long such a machine may run."""


# GKE, "About flex-start provisioning with queued provisioning": seven days. Label and detail: AI-Hypercomputer/xpk,
# src/xpk/core/kueue_manager.py.
_PROVISIONING: Mapping[CloudName, Provisioning] = {
    "gcp": Provisioning(
        provisioner="queued-provisioning.gke.io",
        label="autoscaling.gke.io/provisioning-request",
        detail="ResizeRequestName",
        most_seconds=604_800,
    )
}


@dataclass(frozen=True, kw_only=True)
class KueueArgs:
    """What waits for what, and who may have how much of it."""

    cluster: contracts.Cluster
    flavors: Mapping[str, contracts.Flavor]
    """By pool."""
    plans: Mapping[str, PoolPlan]
    """By pool."""
    queues: Mapping[str, QueuePlan]
    teams: Mapping[str, TrainingTeam]
    nominal: Mapping[tuple[str, str, str], int]
    """By queue, team and pool: devices that the team may count on, or machines where the pool has no accelerator."""
    ready: Sequence[pulumi.Resource]
    """What has to be there before Kueue takes its objects."""
    namespaces: Mapping[str, contracts.Text]
    """By team."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """What a machine leaves to work."""

    millicores: int
    mebibytes: int


def room(machine: Machine) -> Room:
    """What is left of a machine once system, kubelet and the services on every machine have theirs; never more than there is.

    CPU: 6 % of the first core, 1 % of the second, 0.5 % of the next two, 0.25 % of the rest. Memory: 25 % of the first 4 GiB,
    20 % of the next 4, 10 % of the next 8, 6 % of the next 112, 2 % of the rest, and 100 MiB. Source: GKE, "Plan GKE Standard
    node sizes"; EKS reserves CPU by the same rule and less memory (awslabs/amazon-eks-ami, kubelet configuration). Our own
    allowance for the services on every machine: half a core and 1 GiB.

    >>> from components.core.accelerators import machine
    >>> room(machine("aws", "g6.2xlarge"))
    Room(millicores=7410, mebibytes=27998)
    """
    cores, gib = machine.vcpus, machine.memory_gib
    reserved = sum(
        max(0, min(cores, upper) - lower) * share
        for lower, upper, share in ((0, 1, 60.0), (1, 2, 10.0), (2, 4, 5.0), (4, cores, 2.5))
    )
    kept = sum(
        max(0.0, min(gib, upper) - lower) * share
        for lower, upper, share in ((0, 4, 0.25), (4, 8, 0.20), (8, 16, 0.10), (16, 128, 0.06), (128, gib, 0.02))
    )
    return Room(
        millicores=max(100, int(cores * 1000 - reserved - 500)),
        mebibytes=max(256, int((gib - kept - 1) * 1024 - 100)),
    )


def cpu(millicores: int) -> str:
    """A quantity as Kubernetes itself writes it, so that nothing is seen to change.

    >>> cpu(7410), cpu(8000)
    ('7410m', '8')
    """
    return f"{millicores}m" if millicores % 1000 else str(millicores // 1000)


def memory(mebibytes: int) -> str:
    """The same of memory.

    >>> memory(28418), memory(2048), memory(0), memory(3 << 20)
    ('28418Mi', '2Gi', '0', '3Ti')
    """
    for unit in ("Mi", "Gi", "Ti"):
        if mebibytes % 1024 or unit == "Ti":
            return f"{mebibytes}{unit}"
        if mebibytes == 0:
            return "0"
        mebibytes //= 1024
    raise AssertionError


def placed_by_topology(plan: PoolPlan, flavor: contracts.Flavor) -> bool:
    """Whether Kueue chooses the machines of work on a pool by how near they are.

    It does so only among machines that are there, or that come for a request as a whole; for those of an autoscaler, which start
    for pods that wait, it would wait for ever (Kueue, "Topology Aware Scheduling", ClusterAutoscaler support).
    """
    stands = plan.min == plan.max or {choice.kind for choice in plan.choices} <= _RESERVED
    return bool(flavor.topology) and (stands or flavor.queued)


class Kueue(Component):
    """Who gets which machines, when all want more than there are.

    Owns a flavor for each pool, with what a machine's label and taints are, and the topology of those where it matters; a cohort
    for all, below it one for each team, below that a queue for each of (queue, team), named `{queue}.{team}`; the team's own
    name for it, `{queue}`, in its namespace; a priority class for each of the queue's, named `{queue}.{class}`; the check that
    asks GKE for all machines of a job at once. Never owns machines, nor namespaces.

    A team may count on its nominal quota; what it leaves idle, others borrow, and it has it back when it wants it: work on
    borrowed machines is stopped, with notice. Among those who want more, the teams' shares decide. No team ever has more
    accelerators than its ceiling, in all queues and all pools of the cluster together: each is counted once more under one
    name, of which the team has that many and nobody lends any. A shared accelerator counts there as often as it is shared.

    Where a pool has a topology, work says how near its pods have to be, in the annotation of its pods
    `kueue.x-k8s.io/podset-required-topology`, `…-preferred-topology` or `…-unconstrained-topology`; what says nothing is never
    sent there.

    Of accelerators, queues together have what the pool has; of CPU and memory, in proportion, what its machines leave to work.
    Machines other than the pool's first choice are not smaller, so work that fits the quota fits them.

    Costs nothing. A destroy stops what runs and deletes the queues; where the cluster goes too, nothing waits for that.

    >>> args = KueueArgs(
    ...     cluster=cluster, flavors=pools.flavors, plans=plans, queues=queues, teams=teams, nominal=nominal, ready=[],
    ...     namespaces={"vision": pulumi.Output.from_input("team-vision")},
    ... )
    >>> sorted(Kueue("kueue", args, scope=scope, parent=parent).outputs.queues)
    ['train']
    """

    layer = "kubernetes"
    outputs: Handles

    def __init__(self, name: str, args: KueueArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the flavors, then the cohorts, then the queues."""
        super().__init__(name, scope, parent)
        self._args = args
        flavors = {pool: self._flavor(pool, flavor) for pool, flavor in args.flavors.items() if pool in args.plans}
        ceiling = self._object("ceiling", "ResourceFlavor", CEILING, {})
        root = self._object("cohort", "Cohort", ROOT, {})
        cohorts = {team: self._cohort(team, share, [root, ceiling]) for team, share in args.teams.items()}
        checks = {queue.name: self._check(queue) for queue in args.queues.values() if self._queued(queue)}
        found: dict[str, contracts.Text] = {}
        for queue in args.queues.values():
            made = [self._priority(queue, label, value) for label, value in queue.priority_classes.items()]
            needed = [*(flavors[pool] for pool in queue.pools), *filter(None, [checks.get(queue.name)])]
            made += [self._queue(queue, team, [*needed, cohorts[team]]) for team in queue.teams]
            found[queue.name] = after(queue.name, *made)
        self.outputs = Handles(queues=found)
        self.finish(self.outputs)

    def _object(
        self,
        label: str,
        kind: str,
        name: str,
        spec: Mapping[str, Any],
        needed: Sequence[pulumi.Resource] = (),
        *,
        namespace: pulumi.Input[str] | None = None,
    ) -> pulumi.Resource:
        metadata = {"name": name} if namespace is None else {"name": name, "namespace": namespace}
        return custom(f"{self.name}-{label}", API, kind, metadata, self._options(needed), spec=dict(spec))

    def _options(self, needed: Sequence[pulumi.Resource] = ()) -> pulumi.ResourceOptions:
        return inside(self, self._args.cluster, *self._args.ready, *needed)

    def _flavor(self, pool: str, flavor: contracts.Flavor) -> pulumi.Resource:
        taints = [dict(taint) for taint in flavor.taints]
        topology: list[pulumi.Resource] = []
        if placed_by_topology(self._args.plans[pool], flavor):
            # Down to the machine, so that one that fails can be replaced alone.
            levels = [*flavor.topology, *({_HOSTNAME} - set(flavor.topology))]
            spec = {"levels": [{"nodeLabel": level} for level in levels]}
            topology.append(self._object(f"{pool}-topology", "Topology", pool, spec))
        return self._object(
            f"{pool}-flavor",
            "ResourceFlavor",
            pool,
            {
                "nodeLabels": dict(flavor.labels),
                # Kueue lets work tolerate what it sends it to: a job names its queue and nothing else.
                **({"nodeTaints": taints, "tolerations": [_tolerated(taint) for taint in taints]} if taints else {}),
                **({"topologyName": pool} if topology else {}),
            },
            topology,
        )

    def _cohort(self, team: str, share: TrainingTeam, needed: Sequence[pulumi.Resource]) -> pulumi.Resource:
        # Neither lent nor borrowed: what its queues have of the count is all that the team ever has.
        alone = _resource(ACCELERATORS, "0", borrowingLimit="0", lendingLimit="0")
        return self._object(
            f"{team}-cohort",
            "Cohort",
            f"team-{team}",
            {
                "parentName": ROOT,
                "fairSharing": {"weight": str(share.share)},
                "resourceGroups": [_group([ACCELERATORS], {CEILING: [alone]})],
            },
            needed,
        )

    def _queue(self, queue: QueuePlan, team: str, needed: Sequence[pulumi.Resource]) -> pulumi.Resource:
        queued = self._queued(queue)
        checks = [{"name": f"queued-{queue.name}", "onFlavors": queued}] if queued else []
        name = f"{queue.name}.{team}"
        cluster_queue = self._object(
            name,
            "ClusterQueue",
            name,
            {
                "cohortName": f"team-{team}",
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": f"team-{team}"}},
                "queueingStrategy": "BestEffortFIFO",
                "resourceGroups": self._groups(queue, team),
                "preemption": {
                    "reclaimWithinCohort": "Any",
                    "withinClusterQueue": "LowerPriority",
                    # Fair sharing has no other (Kueue, "Cluster Queue", preemption).
                    "borrowWithinCohort": {"policy": "Never"},
                },
                # The first pool that has room, borrowed or not; what runs is stopped only where none has.
                "flavorFungibility": {"whenCanBorrow": "MayStopSearch", "whenCanPreempt": "TryNextFlavor"},
                "stopPolicy": "None",
                **({"admissionChecksStrategy": {"admissionChecks": checks}} if checks else {}),
            },
            needed,
        )
        return self._object(
            f"{name}-local",
            "LocalQueue",
            queue.name,
            {"clusterQueue": name, "stopPolicy": "None"},
            [cluster_queue],
            namespace=self._args.namespaces[team],
        )

    def _groups(self, queue: QueuePlan, team: str) -> list[dict[str, Any]]:
        """What a queue of a team may count on, by pool; and its part of the team's ceiling."""
        plans = [self._args.plans[pool] for pool in queue.pools]
        accelerators = sorted({plan.resource for plan in plans if plan.resource})
        flavors = {
            plan.name: self._quota(plan, self._args.nominal.get((queue.name, team, plan.name), 0), accelerators)
            for plan in plans
        }
        groups = [_group(["cpu", "memory", *accelerators], flavors)]
        if accelerators:
            part = _resource(ACCELERATORS, str(self._ceilings[queue.name, team]))
            groups.append(_group([ACCELERATORS], {CEILING: [part]}))
        return groups

    def _quota(self, plan: PoolPlan, units: int, accelerators: Sequence[str]) -> list[dict[str, str]]:
        whole = room(plan.machine)
        total = max(plan.units, 1)
        return [
            _resource("cpu", cpu(whole.millicores * plan.max * units // total)),
            _resource("memory", memory(whole.mebibytes * plan.max * units // total)),
            *(_resource(name, str(units) if name == plan.resource else "0") for name in accelerators),
        ]

    @cached_property
    def _ceilings(self) -> Mapping[tuple[str, str], int]:
        """Each team's ceiling, in even parts among its queues with accelerators; whoever of them has none to use lends."""
        parts: dict[tuple[str, str], int] = {}
        plans = self._args.plans
        able = [q for q in self._args.queues.values() if any(plans[pool].resource for pool in q.pools)]
        for team, share in self._args.teams.items():
            mine = {queue.name: 1.0 for queue in able if team in queue.teams}
            for name, part in divide(share.gpus, mine).items() if mine else ():
                parts[name, team] = part
        return parts

    def _queued(self, queue: QueuePlan) -> list[str]:
        return [pool for pool in queue.pools if self._args.flavors[pool].queued]

    def _check(self, queue: QueuePlan) -> pulumi.Resource:
        how, name = _PROVISIONING[self.scope.cloud], f"queued-{queue.name}"
        resources = sorted({r for pool in self._queued(queue) if (r := self._args.plans[pool].resource)})
        seconds = min(queue.timeout_hours * 3600, how.most_seconds)
        config = self._object(
            f"{queue.name}-provisioning",
            "ProvisioningRequestConfig",
            name,
            {
                "provisioningClassName": how.provisioner,
                "managedResources": resources,
                "parameters": {"maxRunDurationSeconds": str(seconds)},
                # Work runs on the machines that came for it, and on no others.
                "podSetUpdates": {"nodeSelector": [{"key": how.label, "valueFromProvisioningClassDetail": how.detail}]},
                "podSetMergePolicy": "IdenticalWorkloadSchedulingRequirements",
                "retryStrategy": {"backoffLimitCount": 10, "backoffBaseSeconds": 60, "backoffMaxSeconds": 1800},
            },
        )
        return self._object(
            f"{queue.name}-check",
            "AdmissionCheck",
            name,
            {
                "controllerName": "kueue.x-k8s.io/provisioning-request",
                "parameters": {"apiGroup": "kueue.x-k8s.io", "kind": "ProvisioningRequestConfig", "name": name},
            },
            [config],
        )

    def _priority(self, queue: QueuePlan, label: str, value: int) -> pulumi.Resource:
        metadata = {"name": f"{queue.name}.{label}"}
        return custom(
            f"{self.name}-{queue.name}.{label}-priority",
            API,
            "WorkloadPriorityClass",
            metadata,
            self._options(),
            value=value,
            description=f"{label} in the queue {queue.name}",
        )


def _resource(name: str, nominal: str, **limits: str) -> dict[str, str]:
    return {"name": name, "nominalQuota": nominal, **limits}


def _group(covered: Sequence[str], flavors: Mapping[str, Sequence[Mapping[str, str]]]) -> dict[str, Any]:
    # Every flavor names the same resources in the same order: Kueue's webhook wants it so.
    return {
        "coveredResources": list(covered),
        "flavors": [{"name": name, "resources": list(resources)} for name, resources in flavors.items()],
    }


def _tolerated(taint: Mapping[str, str]) -> dict[str, str]:
    by_value = {"operator": "Equal", "value": taint["value"]} if taint.get("value") else {"operator": "Exists"}
    return {"key": taint["key"], "effect": taint["effect"], **by_value}
