"""What is let into the teams' namespaces: rules that the API server itself keeps, in CEL."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as kubernetes

from components import contracts
from components.kubernetes.contracts import SERVING, TEAM
from components.kubernetes.contracts import Admission as Handles
from components.kubernetes.objects import inside
from components.scope import Component, Scope, after
from components.spec.capacity import PoolPlan, QueuePlan
from components.spec.section import CloudName

SPACE = "ai-platform"
"""Namespace of the figures that the rules go by."""
FIGURES = "admission"
"""Name of their config map: see `figures`."""
CHECKPOINT = "ai-platform.io/checkpoint"
"""Annotation of work that says where it keeps its checkpoints otherwise than in the variable `CHECKPOINT_URI`."""

# Images that a cloud puts into pods by itself, such as the mounter of buckets (GKE, "About the Cloud Storage FUSE CSI driver").
_OWN_IMAGES: Mapping[CloudName, Sequence[str]] = {"aws": (), "gcp": ("gke.gcr.io/",)}


@dataclass(frozen=True, kw_only=True)
class AdmissionArgs:
    """What the rules go by."""

    cluster: contracts.Cluster
    plans: Mapping[str, PoolPlan]
    """By pool."""
    queues: Mapping[str, QueuePlan]
    registries: Sequence[pulumi.Input[str]] = ()
    """Addresses that every image lies under; without any, an image may come from anywhere."""


def figures(args: AdmissionArgs, scope: Scope) -> dict[str, pulumi.Input[str]]:
    """What differs between clusters. By queue: how long a job may run, and whether its machines may be taken away."""
    resources = sorted({plan.resource for plan in args.plans.values() if plan.resource})
    queues: dict[str, pulumi.Input[str]] = {}
    for queue in args.queues.values():
        kinds = {choice.kind for pool in queue.pools for choice in args.plans[pool].choices}
        queues[f"{queue.name}.seconds"] = str(queue.timeout_hours * 3600)
        queues[f"{queue.name}.interrupted"] = str("spot" in kinds).lower()
    return {
        "accelerators": "\n".join(resources),
        "digests": str(scope.tier == "prod").lower(),
        "own-images": "\n".join(_OWN_IMAGES[scope.cloud]),
        "registries": pulumi.Output.all(*args.registries).apply("\n".join) if args.registries else "",
        **queues,
    }


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One thing that has to hold."""

    expression: str
    message: str
    """What is said where it does not: CEL that makes a text."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Rules on objects of one kind."""

    group: str
    version: str
    resource: str
    groups: str
    """CEL: the containers of its pods, a list for each kind of pod."""
    queued: bool
    """Whether people make it, so that it has to name a queue."""


def _containers(pod: str) -> str:
    return f"({pod}.containers + (has({pod}.initContainers) ? {pod}.initContainers : []))"


def _ray(spec: str) -> str:
    workers = f"{spec}.workerGroupSpecs.map(w, {_containers('w.template.spec')})"
    head = _containers(f"{spec}.headGroupSpec.template.spec")
    return f"([{head}] + (has({spec}.workerGroupSpecs) ? {workers} : []))"


POLICIES: Mapping[str, Policy] = {
    "pods": Policy(
        group="", version="v1", resource="pods", groups=f"[{_containers('object.spec')}]", queued=False
    ),
    "jobs": Policy(
        group="batch",
        version="v1",
        resource="jobs",
        groups=f"[{_containers('object.spec.template.spec')}]",
        queued=True,
    ),
    "jobsets": Policy(
        group="jobset.x-k8s.io",
        version="v1alpha2",
        resource="jobsets",
        groups=f"object.spec.replicatedJobs.map(r, {_containers('r.template.spec.template.spec')})",
        queued=True,
    ),
    "rayjobs": Policy(
        group="ray.io",
        version="v1",
        resource="rayjobs",
        groups=f"(has(object.spec.rayClusterSpec) ? {_ray('object.spec.rayClusterSpec')} : [])",
        queued=True,
    ),
    "rayclusters": Policy(
        group="ray.io", version="v1", resource="rayclusters", groups=_ray("object.spec"), queued=True
    ),
}  # fmt: skip

_QUEUE, _TIME, _PRIORITY = (
    f"kueue.x-k8s.io/{label}" for label in ("queue-name", "max-exec-time-seconds", "priority-class")
)
_EVERYWHERE: Mapping[str, str] = {
    "labels": "has(object.metadata.labels) ? object.metadata.labels : {}",
    "own": "params.data['own-images'].split('\\n').filter(p, p != '')",
    "registries": "params.data['registries'].split('\\n').filter(p, p != '')",
    "foreign": "variables.groups.map(g, g.filter(c, !variables.own.exists(p, c.image.startsWith(p))).map(c, c.image))",
}
_OF_IMAGES: Sequence[Rule] = (
    Rule(
        expression="variables.foreign.all(g, g.all(i, i.matches(':[^/]+$') && !i.endsWith(':latest')))",
        message="'an image has no tag, or latest: name one that does not move'",
    ),
    Rule(
        expression="params.data['digests'] != 'true' || variables.foreign.all(g, g.all(i,"
        " i.matches('@sha256:[0-9a-f]{64}$')))",
        message="'an image is not named by its digest, @sha256:…, as production wants it'",
    ),
    Rule(
        # The address, then what ends a name: a part below it, a tag, a digest. `evil` does not pass for `registry`.
        expression="size(variables.registries) == 0 || variables.foreign.all(g, g.all(i,"
        " variables.registries.exists(p, ['/', ':', '@'].exists(s, i.startsWith(p + s)))))",
        message="'an image is not from ' + variables.registries.join(' or ')",
    ),
)
_OF_PODS: Sequence[Rule] = (
    Rule(
        expression="variables.groups.all(g, g.all(c, has(c.resources) && has(c.resources.limits)"
        " && ['cpu', 'memory'].all(r, r in c.resources.limits)))",
        message="'a container has no limit of cpu and memory'",
    ),
    Rule(
        expression="!variables.groups.exists(g, g.exists(c, has(c.resources) && has(c.resources.limits)"
        " && params.data['accelerators'].split('\\n').exists(r, r in c.resources.limits)))"
        " || (has(object.metadata.ownerReferences) && object.metadata.ownerReferences.exists(o,"
        " has(o.controller) && o.controller && o.kind in ['Job', 'RayCluster']))"
        # What answers waits in no queue; nobody of a team makes anything in such a namespace.
        f" || (has(namespaceObject.metadata.labels) && '{SERVING}' in namespaceObject.metadata.labels)",
        message="'accelerators are given to jobs that wait in a queue, not to pods'",
    ),
)
_OF_WORK: Mapping[str, str] = {
    "queue": f"'{_QUEUE}' in variables.labels ? variables.labels['{_QUEUE}'] : ''",
    "known": "variables.queue + '.seconds' in params.data",
    "most": "variables.known ? int(params.data[variables.queue + '.seconds']) : 0",
    "asked": f"'{_TIME}' in variables.labels ? variables.labels['{_TIME}'] : ''",
    "saved": f"(has(object.metadata.annotations) && '{CHECKPOINT}' in object.metadata.annotations)"
    " || variables.groups.exists(g, g.exists(c, has(c.env) && c.env.exists(e, e.name == 'CHECKPOINT_URI')))",
}
_QUEUED: Sequence[Rule] = (
    Rule(
        expression="variables.known",
        message=f"'no queue of this cluster is named by the label {_QUEUE}: ' + (variables.queue == '' ? 'it is missing'"
        " : variables.queue)",
    ),
    Rule(
        expression="!variables.known || (variables.asked.matches('^[1-9][0-9]{0,8}$')"
        " && int(variables.asked) <= variables.most)",
        message=f"'the label {_TIME} has to say how long it may run: ' + string(variables.most) + ' at most'",
    ),
    Rule(
        expression=f"!('{_PRIORITY}' in variables.labels) || variables.labels['{_PRIORITY}'].startsWith("
        "variables.queue + '.')",
        message=f"'the label {_PRIORITY} names no priority of this queue: ' + variables.queue + '.…'",
    ),
    Rule(
        expression="!variables.known || params.data[variables.queue + '.interrupted'] != 'true' || variables.saved",
        message="'machines of this queue may be taken away at any time: give a container the variable CHECKPOINT_URI,"
        f" or say in the annotation {CHECKPOINT} where checkpoints are kept'",
    ),
)
# What controllers make of work that was let in, and what they change in it. JobSet and KubeRay make jobs of jobs; Kueue and the
# cluster's own controllers start and stop what is there.
_CONTROLLERS = (
    "!has(request.userInfo.groups) || !request.userInfo.groups.exists(g,"
    " g in ['system:serviceaccounts:jobset-system', 'system:serviceaccounts:kuberay-system']"
    " || (request.operation == 'UPDATE' && g in ['system:serviceaccounts:kueue-system',"
    " 'system:serviceaccounts:kube-system']))"
)


def variables(policy: Policy) -> dict[str, str]:
    """What a policy's rules are written in, in the order in which it is worked out."""
    return {"groups": policy.groups, **_EVERYWHERE, **(_OF_WORK if policy.queued else {})}


def rules(policy: Policy) -> tuple[Rule, ...]:
    """What has to hold for a kind."""
    return (*(_QUEUED if policy.queued else _OF_PODS), *_OF_IMAGES)


class Admission(Component):
    """Rules of admission in every team's namespace, kept by the API server: no webhook that can be down.

    Owns the policies, what binds them to the namespaces of teams, and the figures that they go by. Never owns pod security
    (privileges, host paths and networks), which the namespaces' own labels set, nor signatures of images.

    Work names a queue of the cluster, a time that the queue allows and a priority of that queue; where its machines may be
    taken away, it says where it keeps checkpoints. Accelerators are given to jobs only. An image has a tag that does not move,
    in production a digest, and comes from the environment's own registries where they are given. A container has limits. What
    a rule cannot judge, it refuses. What is there already when a rule comes stays.

    Costs nothing. A destroy takes the rules along with the cluster.

    >>> args = AdmissionArgs(cluster=cluster, plans=plans, queues=queues)
    >>> ready = Admission("admission", args, scope=scope, parent=parent).outputs.ready
    """

    layer = "kubernetes"
    outputs: Handles

    def __init__(self, name: str, args: AdmissionArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the figures, the policies, and what binds them."""
        super().__init__(name, scope, parent)
        self._args = args
        space = kubernetes.core.v1.Namespace(
            f"{name}-figures",
            metadata={"name": SPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
            opts=self._options(),
        )
        data = kubernetes.core.v1.ConfigMap(
            f"{name}-figures",
            metadata={"name": FIGURES, "namespace": SPACE},
            data=figures(args, scope),
            opts=self._options(space),
        )
        bound = [self._bound(label, policy, data) for label, policy in POLICIES.items()]
        self.outputs = Handles(ready=after(FIGURES, *bound))
        self.finish(self.outputs)

    def _options(self, *made: pulumi.Resource) -> pulumi.ResourceOptions:
        return inside(self, self._args.cluster, *made)

    def _bound(self, label: str, policy: Policy, data: pulumi.Resource) -> pulumi.Resource:
        name = f"ai-platform-{label}"
        # A pod's containers cannot be changed; what is declared of work can.
        operations = ["CREATE", "UPDATE"] if policy.queued else ["CREATE"]
        made = kubernetes.admissionregistration.v1.ValidatingAdmissionPolicy(
            f"{self.name}-{label}",
            metadata={"name": name},
            spec={
                "failure_policy": "Fail",
                "param_kind": {"api_version": "v1", "kind": "ConfigMap"},
                "match_constraints": {
                    "resource_rules": [
                        {
                            "api_groups": [policy.group],
                            # An object of any other version is turned into this one first.
                            "api_versions": [policy.version],
                            "operations": operations,
                            "resources": [policy.resource],
                        }
                    ],
                    "match_policy": "Equivalent",
                },
                "match_conditions": [{"name": "made-by-people", "expression": _CONTROLLERS}] if policy.queued else [],
                "variables": [{"name": key, "expression": text} for key, text in variables(policy).items()],
                "validations": [
                    {"expression": rule.expression, "message_expression": rule.message, "reason": "Forbidden"}
                    for rule in rules(policy)
                ],
            },
            opts=self._options(data),
        )
        return kubernetes.admissionregistration.v1.ValidatingAdmissionPolicyBinding(
            f"{self.name}-{label}",
            metadata={"name": name},
            spec={
                "policy_name": name,
                "param_ref": {"name": FIGURES, "namespace": SPACE, "parameter_not_found_action": "Deny"},
                "match_resources": {"namespace_selector": {"match_expressions": [{"key": TEAM, "operator": "Exists"}]}},
                "validation_actions": ["Deny", "Audit"],
            },
            opts=self._options(made),
        )
