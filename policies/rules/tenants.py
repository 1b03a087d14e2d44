"""Teams in a cluster: their namespaces, what fences them in, who may do what."""

from collections.abc import Iterator, Mapping
from typing import Any

from policies.context import items, mapping, maps
from policies.model import Graph, Resource
from policies.pods import NAMESPACE, TEAM, beside, inside, labels_of, name_of
from policies.rule import Found, resource_rule

QUOTA = "kubernetes:core/v1:ResourceQuota"
LIMITS = "kubernetes:core/v1:LimitRange"
NETWORK_POLICY = "kubernetes:networking.k8s.io/v1:NetworkPolicy"
ACCOUNT = "kubernetes:core/v1:ServiceAccount"
ADMISSION = "kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicy"
ADMISSION_BINDING = "kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicyBinding"
ROLES = ("kubernetes:rbac.authorization.k8s.io/v1:ClusterRole", "kubernetes:rbac.authorization.k8s.io/v1:Role")
BINDINGS = (
    "kubernetes:rbac.authorization.k8s.io/v1:ClusterRoleBinding",
    "kubernetes:rbac.authorization.k8s.io/v1:RoleBinding",
)

_ENFORCE = "pod-security.kubernetes.io/enforce"
_AGENTS = {"aws-hyperpod", "gpu-operator", "kube-system"}
"""Namespaces of agents that have to touch their machine, and of nothing else."""
_SUBMITTED = {"pods", "jobs"}
"""What people can bring into a cluster, and so has to be judged."""

# By what each lets its holder become more than it is (Kubernetes, "Role Based Access Control Good Practices").
_RISING_VERBS = {"bind", "escalate", "impersonate"}
_READING = {"get", "list", "watch", "*"}
_WRITING = {"create", "update", "patch", "*"}
_RISING: tuple[tuple[str, set[str]], ...] = (
    ("secrets", _READING),
    ("serviceaccounts/token", _WRITING),
    ("nodes/proxy", _READING | _WRITING),
    ("persistentvolumes", _WRITING),
    ("mutatingwebhookconfigurations", _WRITING),
    ("validatingwebhookconfigurations", _WRITING),
)
_ANYBODY = {"system:anonymous", "system:authenticated", "system:unauthenticated"}


def is_team(namespace: Resource) -> bool:
    """Whether a namespace is a team's."""
    return bool(labels_of(namespace).get(TEAM))


@resource_rule(
    "namespace-pod-security",
    title="Every namespace says which pods it lets in, and no team's lets in one that owns its machine",
    types=(NAMESPACE,),
    severity="high",
    why="Without the label the API server takes any pod, one with the machine's disk and network included.",
    remedy="The label pod-security.kubernetes.io/enforce: restricted, or baseline where an operator needs it.",
    controls={
        "cis-eks": ("4.2.1", "4.2.2", "4.2.3", "4.2.4", "4.5.1"),
        "cis-gke": ("4.2.1", "4.6.1"),
        "soc2": ("CC6.1",),
        "iso-27001": ("A.8.9", "A.8.22"),
    },
)
def namespace_pod_security(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """Namespaces of agents may be privileged, if they say so; what is not known is not said."""
    level = labels_of(resource).get(_ENFORCE)
    if level == "privileged" and name_of(resource) in _AGENTS and not is_team(resource):
        return
    if str(level) not in {"baseline", "restricted"}:
        yield f"it lets in {'any pod' if level is None else f'what is {level}'}"


@resource_rule(
    "tenant-fenced",
    title="A team's namespace has a ceiling, limits for those who name none, and nothing in or out but what is let through",
    types=(NAMESPACE,),
    severity="high",
    why="One team's loop fills the cluster's database, its leak the machines, and its poisoned package reaches everybody else.",
    remedy="A ResourceQuota, a LimitRange with defaults, and a NetworkPolicy on all pods, both ways, without rules.",
    controls={
        "cis-eks": ("4.3.2", "4.5.1"),
        "cis-gke": ("4.3.2", "4.6.1"),
        "soc2": ("CC6.6", "A1.2"),
        "iso-27001": ("A.8.6", "A.8.22"),
        "eu-ai-act": ("15",),
    },
)
def tenant_fenced(resource: Resource, graph: Graph) -> Found:
    """Network policies add up, so one that closes everything has to be among them."""
    if not is_team(resource):
        return
    hard = {name for quota in inside(resource, graph, QUOTA) for name in mapping(quota.get("spec.hard"))}
    for what, found in (("pods", "pods" in hard), ("accelerators", any(_is_accelerator(name) for name in hard))):
        if not found:
            yield f"nothing bounds its {what}"
    limits = [limit for each in inside(resource, graph, LIMITS) for limit in maps(each.get("spec.limits"))]
    defaults = {name for limit in limits if limit.get("type") == "Container" for name in mapping(limit.get("default"))}
    missing = {"cpu", "memory"} - defaults
    if missing:
        yield f"a container that names no limit of {' and '.join(sorted(missing))} has none"
    closed = [way for each in inside(resource, graph, NETWORK_POLICY) for way in _closes(each)]
    for way in ("Ingress", "Egress"):
        if way not in closed:
            yield f"its {way.lower()} is open to everything"


def _is_accelerator(name: str) -> bool:
    """Whether a key of a quota is one of accelerators (`requests.nvidia.com/gpu`)."""
    return name.startswith("requests.") and "/" in name


def _closes(policy: Resource) -> Iterator[str]:
    """The ways that a policy closes for all pods of its namespace."""
    spec = mapping(policy.get("spec"))
    if spec.get("podSelector") not in ({}, None):
        return
    for way in items(spec.get("policyTypes")):
        if not spec.get(str(way).lower()):
            yield str(way)


@resource_rule(
    "tenant-admission",
    title="What people bring into a team's namespace is judged before it is let in",
    types=(NAMESPACE,),
    severity="high",
    why="These rules see what the program declares; what a person submits tomorrow, only the API server sees.",
    remedy="ValidatingAdmissionPolicies on pods and jobs, bound to the teams' namespaces with Deny.",
    controls={
        "cis-eks": ("5.1.4",),
        "cis-gke": ("4.6.3",),
        "soc2": ("CC8.1",),
        "iso-27001": ("A.8.9", "A.8.32"),
    },
)
def tenant_admission(resource: Resource, graph: Graph) -> Found:
    """A policy that is only audited, or that lets pass what it cannot judge, judges nothing."""
    if not is_team(resource):
        return
    bound = {
        str(binding.get("spec.policyName"))
        for binding in beside(resource, graph, ADMISSION_BINDING)
        if "Deny" in items(binding.get("spec.validationActions")) and _reaches(binding, resource)
    }
    judged = {
        str(kind)
        for policy in beside(resource, graph, ADMISSION)
        if name_of(policy) in bound and policy.get("spec.failurePolicy", "Fail") == "Fail"
        for rule in maps(policy.get("spec.matchConstraints.resourceRules"))
        for kind in items(rule.get("resources"))
    }
    for kind in sorted(_SUBMITTED - judged):
        if "*" not in judged:
            yield f"nothing judges {kind}"


def _reaches(binding: Resource, namespace: Resource) -> bool:
    """Whether a binding's selector of namespaces, where it has one, takes this one in."""
    selector, labels = mapping(binding.get("spec.matchResources.namespaceSelector")), labels_of(namespace)
    if not mapping(selector.get("matchLabels")).items() <= labels.items():
        return False
    return all(_fits(need, labels) for need in maps(selector.get("matchExpressions")))


def _fits(need: Mapping[str, Any], labels: Mapping[str, Any]) -> bool:
    key, operator, values = str(need.get("key")), need.get("operator"), items(need.get("values"))
    match operator:
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case "In":
            return key in labels and labels[key] in values
        case "NotIn":
            return labels.get(key) not in values
        case _:
            return False


@resource_rule(
    "rbac-no-wildcard",
    title="A role names what it may do, and with what",
    types=ROLES,
    severity="high",
    why="A star takes in what is not there yet: the next operator's kinds, the next version's verbs.",
    remedy="List groups, resources and verbs.",
    controls={
        "cis-eks": ("4.1.3",),
        "cis-gke": ("4.1.3",),
        "soc2": ("CC6.3",),
        "iso-27001": ("A.5.15", "A.5.18", "A.8.2"),
    },
)
def rbac_no_wildcard(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """Each part of a rule by itself."""
    for rule in maps(resource.get("rules")):
        about = ", ".join(str(each) for each in items(rule.get("resources")))
        for part in ("apiGroups", "resources", "verbs", "nonResourceURLs"):
            if "*" in items(rule.get(part)):
                yield f"{part} of a rule is *" + (f" ({about})" if about and part != "resources" else "")


@resource_rule(
    "rbac-no-escalation",
    title="A role does not let its holder become more than it is",
    types=ROLES,
    severity="critical",
    why="Who may read secrets, make tokens, bind roles or impersonate has every right that anybody in the cluster has.",
    remedy="Leave it out; what an operator needs of it, its own chart brings for its own account.",
    controls={
        "cis-eks": ("4.1.2", "4.1.8", "4.1.9", "4.1.10", "4.1.11", "4.1.12"),
        "cis-gke": ("4.1.2", "4.1.7"),
        "soc2": ("CC6.1", "CC6.3"),
        "iso-27001": ("A.8.2", "A.5.18"),
    },
)
def rbac_no_escalation(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """A secret that a role names is left out: that is one secret, and known."""
    for rule in maps(resource.get("rules")):
        verbs = {str(verb) for verb in items(rule.get("verbs"))}
        about = {str(each) for each in items(rule.get("resources"))}
        if rising := sorted(verbs & _RISING_VERBS):
            yield f"it may {', '.join(rising)} {', '.join(sorted(about))}"
        for kind, dangerous in _RISING:
            if kind in about and verbs & dangerous and not rule.get("resourceNames"):
                yield f"it may {', '.join(sorted(verbs & dangerous))} {kind}"


@resource_rule(
    "rbac-no-admin",
    title="Nobody is the cluster's administrator by a binding, and nothing is bound to everybody",
    types=BINDINGS,
    severity="critical",
    why="A binding in the cluster is seen by nobody who looks at the cloud's access, and outlives whoever it was made for.",
    remedy="EKS: an access entry. GKE: roles/container.admin of a group, or a role of the cluster that names what it is for.",
    controls={
        "cis-eks": ("4.1.1",),
        "cis-gke": ("4.1.1", "4.1.6", "4.1.8", "4.1.9", "4.1.10"),
        "soc2": ("CC6.1", "CC6.3"),
        "iso-27001": ("A.5.15", "A.8.2"),
    },
)
def rbac_no_admin(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """Service accounts count too: their token is what an intruder finds first."""
    role = resource.get("roleRef.name")
    for subject in maps(resource.get("subjects")):
        who = str(subject.get("name"))
        if role == "cluster-admin":
            yield f"it makes {who} the cluster's administrator"
        if who == "system:masters":
            yield "system:masters cannot be taken any right"
        elif who in _ANYBODY:
            yield f"{who} is anybody"


@resource_rule(
    "token-not-mounted",
    title="A team's pods carry no key to the cluster",
    types=(ACCOUNT,),
    severity="medium",
    why="Training asks nothing of the API server; a token in every pod is for whoever breaks into one.",
    remedy="automount_service_account_token=False; identities of the cloud need none.",
    controls={"cis-eks": ("4.1.6",), "cis-gke": ("4.1.5",), "soc2": ("CC6.1",), "iso-27001": ("A.5.17",)},
)
def token_not_mounted(resource: Resource, graph: Graph) -> Found:
    """Of service accounts in teams' namespaces; controllers need theirs."""
    spaces = graph.where(NAMESPACE, "metadata.name", str(resource.get("metadata.namespace", "")))
    in_team = any(is_team(space) for space in spaces if space.provider == resource.provider)
    if in_team and resource.get("automountServiceAccountToken") is not False:
        yield "its token is mounted into every pod"
