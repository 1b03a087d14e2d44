"""Controllers, namespaces, and the order in which all of it comes and goes."""

from typing import Any

import pulumi
import pulumi_gcp as gcp
import pytest
import yaml

from components.kubernetes.foundation.charts import CHARTS
from policies.model import Graph, Resource
from tests.kubernetes.building import before, built, objects, pool, releases

CLOUDS = ("aws", "gcp")
NVIDIA = {"l4": pool(2)}
QUEUE = {"train": {"pools": ["l4"]}}


def small(cloud: Any, **rest: Any) -> Graph:
    described: dict[str, Any] = {"pools": NVIDIA, "queues": QUEUE, "distributed": {"ray": False}, **rest}
    return built(cloud, **described)


def values(graph: Graph, name: str) -> Any:
    return releases(graph)[name].inputs["values"]


def test_each_cloud_gets_the_charts_that_it_does_not_bring_itself():
    plugins = {"nvidia-device-plugin", "aws-efa-k8s-device-plugin", "neuron"}
    verifying = {"kyverno", "notation-aws-verifier"}
    assert set(releases(built("aws"))) == {"jobset", "kuberay-operator", "kueue"} | plugins | verifying
    assert set(releases(built("gcp"))) == {"jobset", "kuberay-operator", "kueue"}
    without = small("aws", distributed={"jobset": False}, args={"verification": None})
    assert set(releases(without)) == {"nvidia-device-plugin", "kueue"}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_every_release_is_pinned_undone_when_it_fails_and_after_its_namespace(cloud: Any):
    graph = built(cloud)
    spaces = objects(graph, "Namespace")
    for name, release in releases(graph).items():
        assert release.inputs["version"] == CHARTS[name].version
        assert release.inputs["atomic"] is release.inputs["cleanupOnFail"] is True
        namespace = release.inputs["namespace"]
        assert namespace == "kube-system" or spaces[namespace].urn in before(graph, release)
    for name in ("jobset", "kuberay-operator"):
        assert releases(graph)[name].urn in before(graph, releases(graph)["kueue"])


def deployments(graph: Graph) -> dict[str, Any]:
    return {
        "kueue": values(graph, "kueue")["controllerManager"],
        "jobset": values(graph, "jobset")["controller"],
        "kuberay-operator": values(graph, "kuberay-operator"),
    }


@pytest.mark.parametrize("cloud", CLOUDS)
def test_controllers_are_two_apart_on_the_machines_of_the_system(cloud: Any):
    for name, found in deployments(built(cloud)).items():
        assert found["replicas"] == 2, name
        assert found["nodeSelector"] == {"ai-platform.io/pool": "system"}
        tolerated = {t["key"] for t in found["tolerations"]}
        assert tolerated == {"CriticalAddonsOnly", "components.gke.io/gke-managed-components"}
        resources = found.get("manager", found)["resources"]
        assert {*resources["requests"]} == {*resources["limits"]} == {"cpu", "memory"}
        assert "topologySpreadConstraints" in found or "podAntiAffinity" in found["affinity"]
    budgets = {name: found.get("podDisruptionBudget") for name, found in deployments(built(cloud)).items()}
    assert budgets["kueue"] == budgets["jobset"] == {"enabled": True, "minAvailable": 1}


def configuration(graph: Graph) -> Any:
    return yaml.safe_load(values(graph, "kueue")["managerConfig"]["controllerManagerConfigYaml"])


def test_kueue_manages_the_teams_jobs_and_nothing_else():
    found = configuration(small("aws"))
    assert found["managedJobsNamespaceSelector"] == {
        "matchExpressions": [{"key": "ai-platform.io/team", "operator": "Exists"}]
    }
    assert found["manageJobsWithoutQueueName"] is True
    assert found["integrations"]["frameworks"] == ["batch/job", "jobset.x-k8s.io/jobset"]
    assert "ray.io/rayjob" in configuration(built("aws"))["integrations"]["frameworks"]
    labels = objects(small("aws"), "Namespace")["team-vision"].get("metadata.labels")
    assert labels["ai-platform.io/team"] == "vision"
    assert not any("ai-platform.io/team" in (objects(small("aws"), "Namespace")[n].get("metadata.labels") or {})
                   for n in ("kueue-system", "jobset-system", "ai-platform"))  # fmt: skip


def test_a_pool_shares_its_accelerators_as_it_says():
    found = values(built("aws"), "nvidia-device-plugin")
    maps = {name: yaml.safe_load(text) for name, text in found["config"]["map"].items()}
    assert set(maps) == {"whole", "l4-shared"}
    assert found["config"]["default"] == "whole"
    assert maps["l4-shared"]["sharing"]["timeSlicing"]["resources"] == [{"name": "nvidia.com/gpu", "replicas": 4}]
    mig = pool(1, per_node=8, type_="nvidia-h100", accelerator={"sharing": {"kind": "mig", "profile": "1g.10gb"}})
    found = values(small("aws", pools={"l4": mig}), "nvidia-device-plugin")
    assert yaml.safe_load(found["config"]["map"]["l4"])["flags"] == {"migStrategy": "single"}
    assert "config" not in values(small("aws"), "nvidia-device-plugin")


def pools_of(affinity: Any) -> set[str]:
    [term] = affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    [expression] = term["matchExpressions"]
    assert expression["key"] == "ai-platform.io/pool"
    return set(expression["values"])


def test_device_plugins_run_where_their_devices_are_and_tolerate_those_machines():
    graph = built("aws")
    nvidia, efa = values(graph, "nvidia-device-plugin"), values(graph, "aws-efa-k8s-device-plugin")
    assert pools_of(nvidia["affinity"]) == {"l4-spot", "l4-shared", "h100"}
    assert efa["supportedInstanceLabels"] == {"keys": ["ai-platform.io/pool"], "values": ["h100"]}
    for found in (nvidia, efa, values(graph, "neuron")["devicePlugin"]):
        assert "ai-platform.io/pool" in {t["key"] for t in found["tolerations"]}
    assert ".us-west-2." in efa["image"]["repository"]


def test_images_come_through_the_mirrors_that_are_there():
    mirror = {"registry.k8s.io": "mirror.example.com/k8s"}
    graph = built("aws", args={"mirrors": mirror})
    assert values(graph, "kueue")["controllerManager"]["manager"]["image"]["repository"] == (
        "mirror.example.com/k8s/kueue/kueue"
    )
    assert values(graph, "jobset")["image"]["repository"] == "mirror.example.com/k8s/jobset/jobset"
    assert values(graph, "kuberay-operator")["image"]["repository"] == "quay.io/kuberay/operator"
    [probe] = objects(graph, "Job").values()
    assert probe.get("spec.template.spec.containers")[0]["image"].startswith("mirror.example.com/k8s/kubectl:v1.")


def test_the_probe_may_do_nothing_but_ask():
    graph = small("aws")
    rules = objects(graph, "ClusterRole")["ai-platform:webhook-probe"].get("rules")
    assert rules == [{"apiGroups": ["kueue.x-k8s.io"], "resources": ["resourceflavors"], "verbs": ["create"]}]
    [probe] = objects(graph, "Job").values()
    assert "--dry-run=server" in probe.get("spec.template.spec.containers")[0]["args"]
    assert probe.get("metadata.name") == "webhook-probe-0-19-2"


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_team_s_place_is_fenced_before_anything_is_in_it(cloud: Any):
    graph = built(cloud)
    fences = {
        "ResourceQuota": "ceiling",
        "LimitRange": "limits",
        "ServiceAccount": "trainer",
        "NetworkPolicy": "closed",
    }
    for team in ("vision", "risk"):
        needed = {objects(graph, kind)[f"team-{team}/{name}"].urn for kind, name in fences.items()}
        local = [q for n, q in objects(graph, "LocalQueue").items() if n.startswith(f"team-{team}/")]
        assert local
        assert all(needed <= before(graph, queue) for queue in local)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_namespace_s_ceiling_is_the_team_s(cloud: Any):
    graph = built(cloud)
    hard = objects(graph, "ResourceQuota")["team-risk/ceiling"].get("spec.hard")
    other = "aws.amazon.com/neuron" if cloud == "aws" else "google.com/tpu"
    assert hard["requests.nvidia.com/gpu"] == hard[f"requests.{other}"] == "5"
    assert hard["services.loadbalancers"] == hard["services.nodeports"] == "0"
    limits = objects(graph, "LimitRange")["team-risk/limits"].get("spec.limits")
    assert {*limits[0]["default"]} == {*limits[0]["defaultRequest"]} == {"cpu", "memory"}


def egress(policy: Resource) -> set[tuple[str, int | None]]:
    return {
        (to.get("ipBlock", {}).get("cidr", "pods"), port["port"])
        for rule in policy.get("spec.egress")
        for to in rule["to"]
        for port in rule.get("ports", [{"port": None}])
    }


@pytest.mark.parametrize(
    ("cloud", "credentials"),
    [("aws", {("169.254.170.23/32", 80)}), ("gcp", {("169.254.169.252/32", 988), ("169.254.169.254/32", 80)})],
)
def test_nothing_comes_in_from_outside_and_little_goes_out(cloud: Any, credentials: set[tuple[str, int]]):
    graph = built(cloud)
    policies = objects(graph, "NetworkPolicy")
    closed, needed = policies["team-vision/closed"], policies["team-vision/needed"]
    assert closed.get("spec") == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    sources = [rule["from"] for rule in needed.get("spec.ingress")]
    assert [{"podSelector": {}}] in sources
    assert all("ipBlock" not in peer for peers in sources for peer in peers)
    found = egress(needed)
    assert credentials <= found
    names = {("169.254.20.10/32", 53), ("169.254.169.254/32", 53), ("pods", 53), ("pods", None)}
    assert found - credentials - names == {("0.0.0.0/0", 443)}
    [web] = [r for r in needed.get("spec.egress") if r["to"][0].get("ipBlock", {}).get("cidr") == "0.0.0.0/0"]
    assert web["to"][0]["ipBlock"]["except"] == ["169.254.0.0/16"]
    # With Ray its operator asks the head of each cluster, and nobody else does.
    assert len(sources) == 2
    assert len(objects(small(cloud), "NetworkPolicy")["team-vision/needed"].get("spec.ingress")) == 1


def test_pods_are_restricted_unless_ray_makes_some():
    level = "pod-security.kubernetes.io"
    for ray, enforced in ((False, "restricted"), (True, "baseline")):
        graph = small("aws", distributed={"ray": ray})
        labels = objects(graph, "Namespace")["team-vision"].get("metadata.labels")
        assert labels[f"{level}/enforce"] == enforced
        assert labels[f"{level}/warn"] == "restricted"


def test_jobs_run_as_the_team_and_its_cloud_identity():
    email = "vision@acme.iam.gserviceaccount.com"
    graph = built("gcp", args={"annotations": {"vision": {"iam.gke.io/gcp-service-account": email}}})
    accounts = objects(graph, "ServiceAccount")
    assert accounts["team-vision/trainer"].get("metadata.annotations") == {
        "iam.gke.io/gcp-service-account": "vision@acme.iam.gserviceaccount.com"
    }
    assert not accounts["team-risk/trainer"].get("metadata.annotations")
    assert accounts["team-vision/trainer"].inputs["automountServiceAccountToken"] is False


def test_people_submit_jobs_and_never_pods_or_secrets():
    graph = built("aws", args={"submitters": ["scientists"], "readers": ["auditors"]})
    roles = objects(graph, "ClusterRole")
    for name in ("ai-platform:submit-jobs", "ai-platform:read-jobs"):
        rules = roles[name].get("rules")
        assert not any({"secrets", "*"} & set(rule["resources"]) for rule in rules)
        writes = [r for r in rules if not set(r["verbs"]) <= {"get", "list", "watch"}]
        written = {resource for rule in writes for resource in rule["resources"]}
        jobs = {"configmaps", "jobs", "jobsets", "rayjobs", "rayclusters"}
        assert written == (jobs if "submit" in name else set())
    bound = {n: b.get("subjects")[0]["name"] for n, b in objects(graph, "RoleBinding").items()}
    assert bound["team-vision/ai-platform-submit-jobs"] == "scientists"
    assert bound["team-risk/ai-platform-read-jobs"] == "auditors"
    assert not any(name.startswith("team-") for name in objects(built("aws"), "RoleBinding"))


@pytest.mark.parametrize("cloud", CLOUDS)
def test_everything_is_made_by_the_cluster_s_own_provider(cloud: Any):
    graph = built(cloud)
    inside = [r for r in graph.resources.values() if r.type.startswith("kubernetes:")]
    assert len(inside) > 60
    assert {graph.resources[r.provider].name for r in inside} == {"cluster"}


def test_the_rules_go_by_what_the_queues_are():
    data = objects(built("gcp", tier="prod"), "ConfigMap")["ai-platform/admission"].inputs["data"]
    assert data["train.seconds"] == "86400"
    assert data["try.seconds"] == "7200"
    assert (data["train.interrupted"], data["large.interrupted"]) == ("true", "false")
    assert (data["digests"], data["registries"]) == ("true", "")
    assert data["accelerators"] == "google.com/tpu\nnvidia.com/gpu"
    data = objects(built("aws"), "ConfigMap")["ai-platform/admission"].inputs["data"]
    assert data["digests"] == "false"


@pytest.mark.parametrize("cloud", CLOUDS)
def test_every_policy_is_bound_and_refuses_what_it_cannot_judge(cloud: Any):
    graph = built(cloud)
    policies = objects(graph, "ValidatingAdmissionPolicy")
    bindings = objects(graph, "ValidatingAdmissionPolicyBinding")
    assert set(policies) == {b.get("spec.policyName") for b in bindings.values()}
    assert len(policies) == 5
    assert {p.get("spec.failurePolicy") for p in policies.values()} == {"Fail"}
    for binding in bindings.values():
        assert binding.get("spec.validationActions") == ["Deny", "Audit"]
        assert binding.get("spec.paramRef.parameterNotFoundAction") == "Deny"
        [expression] = binding.get("spec.matchResources.namespaceSelector.matchExpressions")
        assert expression == {"key": "ai-platform.io/team", "operator": "Exists"}


def test_a_first_preview_knows_nothing_of_the_cloud_and_still_builds():
    def args() -> dict[str, Any]:
        made = gcp.serviceaccount.Account(
            "vision", account_id="vision", opts=pulumi.ResourceOptions(provider=gcp.Provider("g"))
        )
        return {
            "annotations": {"vision": {"iam.gke.io/gcp-service-account": made.email}},
            "registries": [made.email],
            "mirrors": {"registry.k8s.io": made.email},
        }

    known, unknown = objects(built("gcp", args=args)), objects(built("gcp", preview=True, args=args))
    assert set(known) == set(unknown)
    assert len(known) > 60


@pytest.mark.parametrize("cloud", CLOUDS)
def test_what_lives_in_a_namespace_of_ours_comes_after_it(cloud: Any):
    graph = built(cloud, args={"submitters": ["scientists"]})
    spaces = objects(graph, "Namespace")
    inside = [r for r in objects(graph).values() if r.get("metadata.namespace") in spaces]
    assert len(inside) > 20
    for resource in inside:
        assert spaces[resource.get("metadata.namespace")].urn in before(graph, resource), resource.name
