"""Rules on teams in a cluster."""

from dataclasses import replace

from tests.policies.build import bad, good, thing

LEVEL = "pod-security.kubernetes.io/enforce"
TEAM = {"ai-platform.io/team": "vision", LEVEL: "restricted"}
BOTH = ["Ingress", "Egress"]


def space(name="team-vision", **labels):
    return thing("core/v1:Namespace", name, labels={**TEAM, **labels})


def plain(name="tools", **labels):
    return thing("core/v1:Namespace", name, labels=labels)


def quota(namespace="team-vision", **hard):
    base = {"pods": "2000", "requests.nvidia.com/gpu": "9"}
    return thing("core/v1:ResourceQuota", "ceiling", namespace=namespace, spec={"hard": hard or base})


def limits(**default):
    limit = {"type": "Container", "default": default or {"cpu": "2", "memory": "8Gi"}}
    return thing("core/v1:LimitRange", "limits", namespace="team-vision", spec={"limits": [limit]})


def policy(name="closed", **spec):
    spec = {"podSelector": {}, "policyTypes": BOTH, **spec}
    return thing("networking.k8s.io/v1:NetworkPolicy", name, namespace="team-vision", spec=spec)


def admission(*resources, name="rules", **spec):
    rules = [{"apiGroups": ["*"], "resources": list(resources)}]
    spec = {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": rules}, **spec}
    return thing("admissionregistration.k8s.io/v1:ValidatingAdmissionPolicy", name, spec=spec)


def bound(name="rules", actions=("Deny", "Audit"), **selector):
    spec = {"policyName": name, "validationActions": list(actions)}
    spec |= {"matchResources": {"namespaceSelector": selector}} if selector else {}
    return thing("admissionregistration.k8s.io/v1:ValidatingAdmissionPolicyBinding", name, spec=spec)


def needs(operator, *values, key="ai-platform.io/team"):
    return {"matchExpressions": [{"key": key, "operator": operator, **({"values": list(values)} if values else {})}]}


def role(kind="ClusterRole", **rule):
    base = {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "create"], **rule}
    return thing(f"rbac.authorization.k8s.io/v1:{kind}", rules=[base])


def binding(role_, *subjects, kind="ClusterRoleBinding"):
    return thing(
        f"rbac.authorization.k8s.io/v1:{kind}",
        roleRef={"kind": "ClusterRole", "name": role_},
        subjects=[{"kind": "Group", "name": name} for name in subjects],
    )


def account(namespace="team-vision", **inputs):
    return thing("core/v1:ServiceAccount", "trainer", namespace=namespace, **inputs)


ELSEWHERE = replace(quota(), provider="urn:pulumi:dev::ai-platform::pulumi:providers:kubernetes::other")
CASES = [
    bad("namespace-pod-security", "no label", "any pod", plain()),
    bad("namespace-pod-security", "anything goes", "what is privileged", plain(**{LEVEL: "privileged"})),
    bad("namespace-pod-security", "a word that is none", "what is strict", plain(**{LEVEL: "strict"})),
    bad(
        "namespace-pod-security",
        "a team that calls itself an agent",
        "what is privileged",
        space("gpu-operator", **{LEVEL: "privileged"}),
    ),
    good("namespace-pod-security", "restricted", space()),
    good("namespace-pod-security", "baseline", plain(**{LEVEL: "baseline"})),
    good("namespace-pod-security", "agents", plain("gpu-operator", **{LEVEL: "privileged"})),
    bad("tenant-fenced", "no ceiling", "bounds its accelerators", space(), limits(), policy()),
    bad("tenant-fenced", "a ceiling of something else", "bounds its pods", space(), quota(cpu="9"), limits()),
    bad("tenant-fenced", "a ceiling elsewhere", "bounds its pods", space(), quota("team-risk"), limits(), policy()),
    bad("tenant-fenced", "a ceiling in another cluster", "bounds its pods", space(), ELSEWHERE, limits(), policy()),
    bad("tenant-fenced", "no limits", "cpu and memory has none", space(), quota(), policy()),
    bad("tenant-fenced", "a limit only of cpu", "limit of memory", space(), quota(), limits(cpu="2"), policy()),
    bad("tenant-fenced", "open", "its ingress is open", space(), quota(), limits()),
    bad("tenant-fenced", "one way", "its egress is open", space(), quota(), limits(), policy(policyTypes=["Ingress"])),
    bad("tenant-fenced", "with a rule", "its egress", space(), quota(), limits(), policy(egress=[{}])),
    bad(
        "tenant-fenced",
        "some of its pods",
        "its ingress",
        space(),
        quota(),
        limits(),
        policy(podSelector={"matchLabels": {"a": "b"}}),
    ),
    good(
        "tenant-fenced",
        "all of it, and ways through",
        space(),
        quota(),
        limits(),
        policy(),
        policy("needed", egress=[{"to": [{"podSelector": {}}]}]),
    ),
    good("tenant-fenced", "no team's", plain()),
    bad("tenant-admission", "nothing", "nothing judges jobs", space()),
    bad("tenant-admission", "not bound", "nothing judges pods", space(), admission("pods", "jobs")),
    bad("tenant-admission", "pods only", "nothing judges jobs", space(), admission("pods"), bound()),
    bad(
        "tenant-admission", "only written down", "nothing", space(), admission("pods", "jobs"), bound(actions=["Audit"])
    ),
    bad(
        "tenant-admission",
        "let pass",
        "nothing",
        space(),
        admission("pods", "jobs", failurePolicy="Ignore"),
        bound(),
    ),
    bad(
        "tenant-admission",
        "elsewhere",
        "nothing",
        space(),
        admission("pods", "jobs"),
        bound(matchLabels={"ai-platform.io/team": "risk"}),
    ),
    bad("tenant-admission", "not a", "nothing", space(), admission("*"), bound(**needs("NotIn", "vision"))),
    bad("tenant-admission", "without", "nothing", space(), admission("*"), bound(**needs("DoesNotExist"))),
    bad("tenant-admission", "not said how", "nothing", space(), admission("*"), bound(**needs("Like"))),
    good("tenant-admission", "both", space(), admission("pods", "jobs"), bound(**needs("Exists"))),
    good("tenant-admission", "by name", space(), admission("*"), bound(**needs("In", "vision"))),
    good("tenant-admission", "no team's", plain()),
    bad("rbac-no-wildcard", "verbs", "verbs of a rule is * (jobs)", role(verbs=["*"])),
    bad("rbac-no-wildcard", "resources", "resources of a rule is *", role(kind="Role", resources=["*"])),
    bad("rbac-no-wildcard", "groups", "apiGroups of a rule is *", role(apiGroups=["*"])),
    good("rbac-no-wildcard", "named", role(), role(kind="Role")),
    bad(
        "rbac-no-escalation", "secrets", "it may get, list secrets", role(resources=["secrets"], verbs=["get", "list"])
    ),
    bad(
        "rbac-no-escalation",
        "somebody else",
        "it may impersonate users",
        role(resources=["users"], verbs=["impersonate"]),
    ),
    bad("rbac-no-escalation", "roles", "it may bind clusterroles", role(resources=["clusterroles"], verbs=["bind"])),
    bad("rbac-no-escalation", "tokens", "create serviceaccounts/token", role(resources=["serviceaccounts/token"])),
    bad(
        "rbac-no-escalation",
        "webhooks",
        "mutatingwebhook",
        role(resources=["mutatingwebhookconfigurations"], verbs=["patch"]),
    ),
    good("rbac-no-escalation", "jobs", role()),
    good("rbac-no-escalation", "one secret", role(resources=["secrets"], verbs=["get"], resourceNames=["mine"])),
    bad("rbac-no-admin", "a person", "the cluster's administrator", binding("cluster-admin", "ana")),
    bad("rbac-no-admin", "in a namespace", "administrator", binding("cluster-admin", "ana", kind="RoleBinding")),
    bad("rbac-no-admin", "masters", "cannot be taken", binding("view", "system:masters")),
    bad("rbac-no-admin", "everybody", "is anybody", binding("view", "system:authenticated")),
    good("rbac-no-admin", "a role that says what for", binding("ai-platform:submit-jobs", "ml-engineers")),
    bad("token-not-mounted", "by default", "into every pod", space(), account()),
    good("token-not-mounted", "off", space(), account(automountServiceAccountToken=False)),
    good("token-not-mounted", "a controller's", plain(), account("tools")),
    bad("namespace-pod-security", "an agent's that says nothing", "any pod", plain("gpu-operator")),
    bad(
        "tenant-fenced", "a count of jobs", "its accelerators", space(), quota(**{"pods": "1", "count/jobs.batch": "1"})
    ),
    bad("tenant-fenced", "a ceiling of cpu", "its accelerators", space(), quota(**{"pods": "1", "requests.cpu": "1"})),
    bad("tenant-admission", "another team", "nothing", space(), admission("*"), bound(**needs("In", "risk"))),
    bad("tenant-admission", "another label", "nothing", space(), admission("*"), bound(**needs("In", "a", key="b"))),
    good("rbac-no-escalation", "secrets that nobody reads", role(resources=["secrets"], verbs=["delete"])),
]
