"""The teams' places in a cluster: one namespace each, with its ceiling, its limits and its fences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_kubernetes as kubernetes

from components import contracts
from components.kubernetes.contracts import TEAM
from components.kubernetes.contracts import Tenants as Handles
from components.kubernetes.objects import inside, outward
from components.scope import Component, Scope, after

TRAINER = "trainer"
"""Service account of a team's jobs."""
_PODS = 2_000
_JOBS = 2_000
"""Pods and jobs of a team at once, waiting ones among them: so that one team's loop does not fill the cluster's database."""
# A container that says nothing gets this, and is refused nothing for it; what trains says what it needs.
_DEFAULT: Mapping[str, str] = {"cpu": "2", "memory": "8Gi"}
_SUBMIT = "ai-platform:submit-jobs"
_READ = "ai-platform:read-jobs"
# By API group: what jobs of a team are made of.
_JOB_KINDS: Mapping[str, Sequence[str]] = {
    "batch": ["jobs"],
    "jobset.x-k8s.io": ["jobsets"],
    "ray.io": ["rayjobs", "rayclusters"],
}
_ALL = ("create", "delete", "get", "list", "patch", "update", "watch")
_SHOWN: Mapping[str, Sequence[str]] = {
    "": ["pods", "pods/log", "events", "resourcequotas", "limitranges", "persistentvolumeclaims", "services"],
    **_JOB_KINDS,
    "kueue.x-k8s.io": ["localqueues", "workloads"],
}


@dataclass(frozen=True, kw_only=True)
class Tenant:
    """What one team may take, and what its jobs are."""

    gpus: int
    """Accelerators at once at most."""
    annotations: Mapping[str, pulumi.Input[str]] = field(default_factory=dict[str, pulumi.Input[str]])
    """Of the service account of its jobs: `iam.gke.io/gcp-service-account` on GKE. EKS knows it without."""


@dataclass(frozen=True, kw_only=True)
class TenantsArgs:
    """Who works in a cluster."""

    cluster: contracts.Cluster
    tenants: Mapping[str, Tenant]
    """By team."""
    resources: Sequence[str]
    """What containers ask for to get an accelerator of this cluster, such as `nvidia.com/gpu`."""
    submitters: Sequence[str] = ()
    """Groups of people that submit jobs, in every team's namespace."""
    readers: Sequence[str] = ()
    """Groups of people that look at jobs."""
    ray: bool = False
    """Whether KubeRay is there: it starts pods of its own making, and asks the head of each cluster how it is."""


class Tenants(Component):
    """The teams' namespaces, `team-{team}`.

    Owns of each: the namespace, its ceiling on accelerators, pods and jobs, limits for containers that name none, its network
    policies, the service account of its jobs, and who may submit and read jobs in it. Never owns the identity behind that
    service account, nor a queue.

    Nothing reaches a team's pods but the team's own, and they reach each other, the names' service, their credentials, and
    HTTPS, where the network itself says to whom. Fabrics (EFA, GPUDirect) pass by network policies: there, the pool's own
    security group or network keeps others out, and nothing keeps its teams apart.

    Pod security is `restricted`; with Ray it is `baseline`, and what is not restricted is warned of, since the operator's own
    pods for submission say nothing of users and seccomp. Load balancers and node ports are refused by the ceiling: they would
    outlive the cluster. Costs nothing. A destroy deletes the namespaces before the cluster, so that the disks of claims in them
    go too, and with them all work that runs.

    >>> args = TenantsArgs(cluster=cluster, tenants={"vision": Tenant(gpus=32)}, resources=["nvidia.com/gpu"])
    >>> sorted(Tenants("tenants", args, scope=scope, parent=parent).outputs.namespaces)
    ['vision']
    """

    layer = "kubernetes"
    outputs: Handles

    def __init__(self, name: str, args: TenantsArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the roles once, and each team's namespace."""
        super().__init__(name, scope, parent)
        self._args = args
        roles = [self._role("submit", _SUBMIT, submit=True), self._role("read", _READ, submit=False)]
        self.outputs = Handles(
            namespaces={team: self._tenant(team, tenant, roles) for team, tenant in args.tenants.items()}
        )
        self.finish(self.outputs)

    def _options(self, *made: pulumi.Resource, outlived: bool = True) -> pulumi.ResourceOptions:
        return inside(self, self._args.cluster, *made, outlived=outlived)

    def _role(self, label: str, role: str, *, submit: bool) -> pulumi.Resource:
        kinds = _JOB_KINDS if submit else {}
        return kubernetes.rbac.v1.ClusterRole(
            f"{self.name}-{label}",
            metadata={"name": role},
            rules=[
                *(
                    {"api_groups": [group], "resources": list(found), "verbs": ["get", "list", "watch"]}
                    for group, found in _SHOWN.items()
                ),
                *(
                    {"api_groups": [group], "resources": list(found), "verbs": ["create", "delete", "patch", "update"]}
                    for group, found in kinds.items()
                ),
                # The files of small jobs: their configuration. Never pods, whose makers are controllers, nor secrets.
                *([{"api_groups": [""], "resources": ["configmaps"], "verbs": list(_ALL)}] if submit else []),
            ],
            opts=self._options(),
        )  # fmt: skip

    def _tenant(self, team: str, tenant: Tenant, roles: Sequence[pulumi.Resource]) -> contracts.Text:
        level = "pod-security.kubernetes.io"
        enforced = "baseline" if self._args.ray else "restricted"
        space = kubernetes.core.v1.Namespace(
            f"{self.name}-{team}",
            metadata={
                "name": f"team-{team}",
                "labels": {
                    TEAM: team,
                    f"{level}/enforce": enforced,
                    f"{level}/warn": "restricted",
                    f"{level}/audit": "restricted",
                },
            },
            opts=self._options(outlived=False),
        )
        fences = [
            self._quota(team, tenant, space),
            self._limits(team, space),
            *self._network(team, space),
            self._account(team, tenant, space),
            *self._bindings(team, space, roles),
        ]
        return after(f"team-{team}", space, *fences)

    def _meta(self, team: str, name: str) -> kubernetes.meta.v1.ObjectMetaArgs:
        return kubernetes.meta.v1.ObjectMetaArgs(name=name, namespace=f"team-{team}")

    def _quota(self, team: str, tenant: Tenant, space: pulumi.Resource) -> pulumi.Resource:
        # Behind Kueue's own ceiling, which lets work wait where this one would refuse its pods.
        accelerators = {f"requests.{name}": str(tenant.gpus) for name in self._args.resources}
        return kubernetes.core.v1.ResourceQuota(
            f"{self.name}-{team}-ceiling",
            metadata=self._meta(team, "ceiling"),
            spec={
                "hard": {
                    **accelerators,
                    "pods": str(_PODS),
                    "count/jobs.batch": str(_JOBS),
                    "count/jobsets.jobset.x-k8s.io": str(_JOBS),
                    "count/rayjobs.ray.io": str(_JOBS),
                    "count/rayclusters.ray.io": str(_JOBS),
                    "count/ingresses.networking.k8s.io": "0",
                    "services.loadbalancers": "0",
                    "services.nodeports": "0",
                }
            },
            opts=self._options(space),
        )

    def _limits(self, team: str, space: pulumi.Resource) -> pulumi.Resource:
        return kubernetes.core.v1.LimitRange(
            f"{self.name}-{team}-limits",
            metadata=self._meta(team, "limits"),
            spec={"limits": [{"type": "Container", "default": dict(_DEFAULT), "default_request": dict(_DEFAULT)}]},
            opts=self._options(space),
        )

    def _network(self, team: str, space: pulumi.Resource) -> list[pulumi.Resource]:
        """Nothing in or out, then what has to be."""
        own: kubernetes.networking.v1.NetworkPolicyPeerArgsDict = {"pod_selector": {}}
        into: list[kubernetes.networking.v1.NetworkPolicyIngressRuleArgsDict] = [{"from_": [own]}]
        if self._args.ray:
            operator: kubernetes.networking.v1.NetworkPolicyPeerArgsDict = {
                "namespace_selector": {"match_labels": {"kubernetes.io/metadata.name": "kuberay-system"}}
            }
            into.append({"from_": [operator], "ports": [{"port": 8265, "protocol": "TCP"}]})
        out: list[kubernetes.networking.v1.NetworkPolicyEgressRuleArgsDict] = [
            {"to": [own]},
            *outward(self.scope.cloud),
        ]
        both = ["Ingress", "Egress"]
        closed = kubernetes.networking.v1.NetworkPolicy(
            f"{self.name}-{team}-closed",
            metadata=self._meta(team, "closed"),
            spec={"pod_selector": {}, "policy_types": both},
            opts=self._options(space),
        )
        needed = kubernetes.networking.v1.NetworkPolicy(
            f"{self.name}-{team}-needed",
            metadata=self._meta(team, "needed"),
            spec={"pod_selector": {}, "policy_types": both, "ingress": into, "egress": out},
            opts=self._options(space),
        )
        return [closed, needed]

    def _account(self, team: str, tenant: Tenant, space: pulumi.Resource) -> pulumi.Resource:
        return kubernetes.core.v1.ServiceAccount(
            f"{self.name}-{team}-trainer",
            metadata={"name": TRAINER, "namespace": f"team-{team}", "annotations": dict(tenant.annotations)},
            # Training asks nothing of the cluster's API, and neither cloud's identity needs this token.
            automount_service_account_token=False,
            opts=self._options(space),
        )

    def _bindings(self, team: str, space: pulumi.Resource, roles: Sequence[pulumi.Resource]) -> list[pulumi.Resource]:
        wanted = {"submit": (_SUBMIT, self._args.submitters), "read": (_READ, self._args.readers)}
        return [
            kubernetes.rbac.v1.RoleBinding(
                f"{self.name}-{team}-{label}",
                metadata=self._meta(team, role.replace(":", "-")),
                role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                subjects=[
                    {"api_group": "rbac.authorization.k8s.io", "kind": "Group", "name": group} for group in groups
                ],
                opts=self._options(space, *roles),
            )
            for label, (role, groups) in wanted.items()
            if groups
        ]
