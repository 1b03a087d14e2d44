"""Machines that HyperPod keeps: what it is told, what it finds in the cluster, who may do what, in which order all of it goes."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from components.aws.training.pools import flavor
from components.core import sagemaker
from components.core.accelerators import MACHINES
from components.core.sagemaker import AGENT_ACCOUNTS, ON_CREATE, RIGHTS
from components.spec.capacity import Capacity
from components.spec.quotas import quotas
from components.spec.regions import AWS_REGIONS
from policies.model import REFERENCE, Graph, Resource
from policies.registry import evaluate
from tests.aws.building import build, kind, one, statements
from tests.aws.clusters import before, later, of
from tests.conftest import ROOT
from tests.kubernetes.test_schemas import wrong
from tests.spec.test_capacity import environment, pool

SCHEMA: dict[str, Any] = json.loads((Path(__file__).parent / "sagemaker-cluster.schema.json").read_text())
PLAN = "arn:aws:sagemaker:us-west-2:111111111111:training-plan/spring"
H100: Mapping[str, Any] = {"type_": "nvidia-h100", "per_node": 8, "resilience": "hyperpod"}
POOLS: Mapping[str, Any] = {
    "kept": pool(2, 2, interconnect="fast", team="vision", **H100),
    "planned": pool(4, 4, capacity=[{"reserved": PLAN, "zone": "usw2-az2"}], disk_gib=500, **H100),
}


def training(described: str) -> dict[str, Any]:
    """A pool that HyperPod keeps, as one of these, and one that it does not; both with the same name whichever it is."""
    return {
        "pools": {"kept": POOLS[described], "l4": pool(4, capacity=["spot"])},
        "queues": {"big": {"pools": ["kept", "l4"], "teams": ["vision"]}},
    }


# What stands for what a deployment knows only later, by the type that it comes from.
LATER = {
    "Role": "arn:aws:iam::111111111111:role/it", "Key": "arn:aws:kms:us-west-2:111111111111:key/0a1b",
    "SecurityGroup": "sg-1", "Subnet": "subnet-1",
}  # fmt: skip


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    return built(tmp_path_factory.mktemp("kept"), "kept")


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    return built(tmp_path_factory.mktemp("planned"), "planned")


def built(folder: Path, described: str) -> Graph:
    shutil.copytree(ROOT / "stacks", folder / "stacks")
    return build(folder, {"training": training(described)})


def made(graph: Graph) -> Resource:
    return one(graph, "Resource", "hyperpod-cluster")


def stand_in(reference: re.Match[str]) -> str:
    return LATER[reference[1].split("::")[-2].rpartition(":")[2]]


def state(graph: Graph) -> dict[str, Any]:
    """What Cloud Control is told, as it is once everything is known."""
    return json.loads(REFERENCE.sub(stand_in, made(graph).get("desiredState")))


def group(graph: Graph) -> dict[str, Any]:
    (only,) = state(graph)["InstanceGroups"]
    return only


def inside(graph: Graph) -> Iterator[Resource]:
    return (r for r in graph.resources.values() if r.type.startswith("kubernetes:") and r.name.startswith("hyperpod-"))


# ---- what HyperPod is told


def test_what_it_is_told_is_what_the_type_takes(graph: Graph) -> None:
    assert made(graph).get("typeName") == SCHEMA["typeName"]
    assert list(jsonschema.Draft7Validator(SCHEMA).iter_errors(state(graph))) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("NodeRecover", "Automatic"),
        ("NodeRecovery", "Always"),
        ("InstanceGroups/0/ImageID", "x"),
        ("InstanceGroups/0/InstanceCount", -1),
    ],
)
def test_a_wrong_key_would_be_seen(graph: Graph, path: str, value: Any) -> None:
    told = state(graph)
    *way, last = path.split("/")
    place: Any = told
    for part in way:
        place = place[int(part)] if part.isdigit() else place[part]
    place[last] = value
    assert list(jsonschema.Draft7Validator(SCHEMA).iter_errors(told))


def test_it_heals_in_the_cluster_that_is_there_and_starts_nothing_by_itself(graph: Graph) -> None:
    told = state(graph)
    assert (told["NodeRecovery"], told["NodeProvisioningMode"]) == ("Automatic", "Continuous")
    assert told["Orchestrator"]["Eks"]["ClusterArn"] == "arn:aws:eks:us-west-2:111111111111:cluster/acme-ai-dev-cluster"
    assert "AutoScaling" not in told
    assert of(graph, "Cluster", "cluster-cluster").get("accessConfig.authenticationMode") == "API"


def test_a_group_is_its_pool(graph: Graph, planned: Graph) -> None:
    assert [group(g)["InstanceCount"] for g in (graph, planned)] == [2, 4]
    assert {group(g)["InstanceType"] for g in (graph, planned)} == {"ml.p5.48xlarge"}
    assert "TrainingPlanArn" not in group(graph)
    assert group(planned)["TrainingPlanArn"] == PLAN
    found = flavor(Capacity(environment(**training("kept")), "aws").pools["kept"])
    told = group(graph)["KubernetesConfig"]
    assert told["Labels"] == found.labels == {"ai-platform.io/pool": "kept"}
    assert told["Taints"] == [{"Key": t["key"], "Value": t["value"], "Effect": "NoSchedule"} for t in found.taints]
    # With deep health checks at the start HyperPod takes no taints.
    assert "OnStartDeepHealthChecks" not in group(graph)


def test_a_pool_that_names_no_zone_is_in_one_all_the_same() -> None:
    plan = Capacity(environment(pools={"kept": pool(2, 2, **H100)}), "aws").pools["kept"]
    assert len(plan.zones) == len(plan.choices[0].zones) == len(plan.machines) == 1


def test_every_disk_is_under_our_key_and_only_the_second_has_a_size(planned: Graph) -> None:
    root, more = (each["EbsVolumeConfig"] for each in group(planned)["InstanceStorageConfigs"])
    assert root == {"RootVolume": True, "VolumeKmsKeyId": LATER["Key"]}
    assert more == {"VolumeSizeInGB": 500, "VolumeKmsKeyId": LATER["Key"]}
    assert made(planned).get("desiredState").count("keys-compute-key") == 2


@pytest.mark.parametrize(("which", "zone"), [("graph", "usw2-az1"), ("planned", "usw2-az2")])
def test_the_group_is_in_one_zone_and_the_cluster_in_the_first(
    request: pytest.FixtureRequest, which: str, zone: str
) -> None:
    """The cluster's own subnet is not to change with the zone of the pool, or the zones: it would be replaced."""
    told = json.loads(made(request.getfixturevalue(which)).get("desiredState"))
    own, override = told["VpcConfig"], told["InstanceGroups"][0]["OverrideVpcConfig"]
    subnets = [own["Subnets"], override["Subnets"]]
    assert [[each.rpartition("network-private-")[2][:8] for each in some] for some in subnets] == [["usw2-az1"], [zone]]
    assert own["SecurityGroupIds"] == override["SecurityGroupIds"]
    assert "cluster-machines" in own["SecurityGroupIds"][0]


def test_its_tags_are_those_of_everything_for_the_provider_gives_it_none(graph: Graph) -> None:
    tags = {tag["Key"]: tag["Value"] for tag in state(graph)["Tags"]}
    assert tags.items() >= {"environment": "dev", "managed-by": "pulumi", "Name": "acme-ai-dev-hyperpod"}.items()
    assert tags["team"] == "vision"


def test_another_number_of_machines_changes_nothing_that_replaces(graph: Graph, planned: Graph) -> None:
    old, new = state(graph), state(planned)
    assert old.pop("InstanceGroups") != new.pop("InstanceGroups")
    assert old.pop("Tags") != new.pop("Tags")  # of another team
    assert old == new
    # Of a group there is none that would; nothing else of it is in the state.
    assert set(SCHEMA["createOnlyProperties"]) == {
        "/properties/ClusterName", "/properties/VpcConfig", "/properties/Orchestrator/Eks",
    }  # fmt: skip


# ---- what it finds in the cluster


def test_karpenter_and_managed_groups_leave_its_pool_alone(graph: Graph) -> None:
    names = {r.name for r in graph.resources.values() if r.type.endswith((":NodePool", ":NodeGroup"))}
    assert "pools-l4-pool" in names
    assert not [name for name in names if "kept" in name]


def test_queues_send_work_to_its_pool_as_to_any_other(graph: Graph, planned: Graph) -> None:
    for each, near in ((graph, True), (planned, False)):
        flavors = {r.get("metadata.name"): r for r in each.resources.values() if r.type.endswith(":ResourceFlavor")}
        assert flavors["kept"].get("spec.nodeLabels") == {"ai-platform.io/pool": "kept"}
        # Its machines stand, so that Kueue can choose those of a fabric by how near they are.
        assert bool(flavors["kept"].get("spec.topologyName")) is near
    (plugin,) = [r for r in graph.resources.values() if r.get("chart") == "nvidia-device-plugin"]
    text = json.dumps(plugin.get("values"))
    assert '"kept"' in text
    assert "sagemaker.amazonaws.com/node-health-status" in text


def test_the_agent_runs_on_its_machines_alone_whatever_their_taints(graph: Graph) -> None:
    agent = of(graph, "DaemonSet", "hyperpod-agent")
    assert agent.get("metadata.namespace") == "aws-hyperpod"
    spec = agent.get("spec.template.spec")
    (term,) = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [{"key": "ai-platform.io/pool", "operator": "In", "values": ["kept"]}]
    assert {t["effect"]: t["operator"] for t in spec["tolerations"]} == {"NoSchedule": "Exists", "NoExecute": "Exists"}
    (container,) = spec["containers"]
    assert container["image"].startswith(
        "905418368575.dkr.ecr.us-west-2.amazonaws.com/hyperpod-health-monitoring-agent:1."
    )
    assert container["resources"]["limits"] == {"cpu": "500m", "memory": "512Mi"}
    assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in spec["volumes"]}


def test_who_acts_in_the_cluster_is_bound_to_what_it_needs_and_to_no_more(graph: Graph) -> None:
    bound = {
        r.get("roleRef.name"): r.get("subjects")[0] for r in inside(graph) if r.type.endswith(":ClusterRoleBinding")
    }
    assert bound.keys() == RIGHTS.keys()
    assert {name for name, who in bound.items() if who["kind"] == "User"} == {"hyperpod-patching", "job-auto-restart"}
    accounts = {r.get("metadata.name") for r in inside(graph) if r.type.endswith(":ServiceAccount")}
    for name, subject in bound.items():
        if subject["kind"] == "User":
            assert subject["name"] == "hyperpod-service-linked-role"
        else:
            assert subject["name"] in accounts, name
            assert subject["namespace"] == "aws-hyperpod"
    rules = [rule for r in inside(graph) if r.type.endswith(":ClusterRole") for rule in r.get("rules")]
    assert not [rule for rule in rules if "*" in (*rule["verbs"], *rule["resources"]) or "secrets" in rule["resources"]]


def test_the_objects_are_well_formed(graph: Graph) -> None:
    """The agent as what is started by number instead of by machine: what it starts has the same fields."""
    mine = {r.urn: r for r in inside(graph)}
    agent = of(graph, "DaemonSet", "hyperpod-agent")
    mine[agent.urn] = replace(agent, inputs={**agent.inputs, "kind": "Deployment"})
    mine = replace(graph, resources=mine)
    assert list(wrong(mine, "v1.35")) == []


def test_the_rules_find_nothing(graph: Graph) -> None:
    found = [
        f
        for f in evaluate(graph)
        if "hyperpod" in (f.resource or "") or f.rule in {"queue-complete", "queue-within-pool"}
    ]
    assert [(f.rule, f.message) for f in found] == []


# ---- who may do what


def test_its_machines_may_join_pull_and_read_their_script(graph: Graph) -> None:
    attached = [a for a in kind(graph, "RolePolicyAttachment") if "hyperpod-machines" in a.name]
    assert {a.get("policyArn").rpartition("/")[2] for a in attached} == {
        "AmazonSageMakerClusterInstanceRolePolicy", "AmazonEC2ContainerRegistryPullOnly",
    }  # fmt: skip
    role = one(graph, "Role", "hyperpod-machines-role")
    (trust,) = statements(role, "assumeRolePolicy")
    assert trust["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    assert role.get("permissionsBoundary")
    may = statements(one(graph, "RolePolicy", "hyperpod-machines-policy"))
    changing = [s for s in may if any(not re.match(r"ec2:Describe", a) for a in s["Action"])]
    assert all("*" not in s["Resource"] for s in changing)
    by = {action: s for s in may for action in s["Action"]}
    assert by["eks-auth:AssumeRoleForPodIdentity"]["Resource"] == [
        "arn:aws:eks:us-west-2:111111111111:cluster/acme-ai-dev-cluster"
    ]
    through = {"kms:ViaService": ["sagemaker.us-west-2.amazonaws.com"]}
    assert by["kms:CreateGrant"]["Condition"] == {
        "StringEquals": through, "Bool": {"kms:GrantIsForAWSResource": "true"},
    }  # fmt: skip
    assert "keys-compute-key" in by["kms:CreateGrant"]["Resource"][0]
    assert "keys-models-key" in by["kms:Decrypt"]["Resource"][0]
    assert "s3:PutObject" not in by


def test_the_script_lies_in_a_bucket_of_its_own_that_nobody_is_let_into(graph: Graph) -> None:
    script = one(graph, "BucketObjectv2", "hyperpod-script")
    assert "hyperpod-scripts" in script.get("bucket")
    assert script.get("serverSideEncryption") == "aws:kms"
    told = group(graph)["LifeCycleConfig"]
    assert told == {"SourceS3Uri": "s3://acme-ai-dev-hyperpod-scripts", "OnCreate": script.get("key")}
    assert one(graph, "BucketLogging", "hyperpod-scripts-logging").get("targetBucket")
    writers = [
        r.name for r in graph.resources.values()
        if isinstance(r.get("policy"), str) and "hyperpod-scripts" in r.get("policy") and "s3:PutObject" in r.get("policy")
        and not r.name.startswith("delivery-deploy")  # who puts the script there
    ]  # fmt: skip
    assert writers == ["hyperpod-scripts-policy"]  # which only denies
    assert {s["Effect"] for s in statements(one(graph, "BucketPolicy", "hyperpod-scripts-policy"))} == {"Deny"}


# ---- in which order


def test_its_machines_come_last_and_go_first(graph: Graph) -> None:
    hyperpod = made(graph)
    assert later(graph, hyperpod, *inside(graph))
    assert later(
        graph, hyperpod, one(graph, "BucketObjectv2", "hyperpod-script"), one(graph, "RolePolicy", "hyperpod-machines-policy"),
        one(graph, "Addon", "cluster-vpc-cni"), one(graph, "Addon", "cluster-eks-pod-identity-agent"),
    )  # fmt: skip
    assert not [r.name for r in inside(graph) if hyperpod.urn in before(graph, r)]


def test_what_is_not_known_yet_hinders_no_preview(project: Path) -> None:
    assert "hyperpod-cluster" in {
        r.name for r in kind(build(project, {"training": training("kept")}, preview=True), "Resource")
    }


def test_an_environment_without_such_a_pool_has_nothing_of_it(graphs: Any) -> None:
    assert not [r.name for r in graphs("dev").resources.values() if "hyperpod" in r.name]


# ---- what it needs of the account


def test_it_counts_against_the_quotas_of_sagemaker_and_not_of_ec2() -> None:
    found = {n.quota.code: n for n in quotas(environment(**training("planned")), "aws")}
    machines, each, all_ = "L-8762A75F", "L-2CE978FC", "L-3308CCC7"
    assert {code: found[code].value for code in (machines, each, all_)} == dict.fromkeys((machines, each, all_), 4)
    assert found[machines].needed_by == ("kept",)
    assert found[machines].quota.service == "sagemaker"
    assert "L-417A185B" not in found  # P machines of EC2, on demand


def test_what_is_kept_is_a_machine_of_hyperpods_in_a_region_of_its() -> None:
    boto = pytest.importorskip("botocore.session").get_session().get_service_model("sagemaker")
    known = set(boto.shape_for("ClusterInstanceType").enum)
    kept = [m for m in MACHINES if m.quota_cluster]
    assert len(kept) > 8
    assert {sagemaker.instance(m.type) for m in kept} <= known
    assert {m.accelerator.partition("-")[0] for m in kept if m.accelerator} == {"nvidia"}  # whom the agent knows
    assert set(AGENT_ACCOUNTS) <= set(AWS_REGIONS)
    assert len(set(AGENT_ACCOUNTS.values())) == len(AGENT_ACCOUNTS)


# ---- what a machine runs at first


def run(root: Path, *, disk: bool = True, active: bool = False) -> str:
    """The script with the machine's commands replaced: whether the disk is there, whether the services run."""
    tools = root / "tools"
    tools.mkdir(exist_ok=True)
    for name, says in (("mountpoint", disk), ("systemctl", active), ("sleep", True)):
        (tools / name).write_text(f"#!/bin/sh\nexit {0 if says else 1}\n")
        (tools / name).chmod(0o755)
    done = subprocess.run(
        ["bash", "-c", ON_CREATE], env={"ROOT": str(root), "PATH": f"{tools}:/usr/bin:/bin"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


@pytest.fixture
def computer(tmp_path: Path) -> Path:
    for folder in ("opt/sagemaker", "var/lib/containerd/images", "var/lib/kubelet"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "var/lib/containerd/images/pause").write_text("it")
    return tmp_path


def test_images_and_pods_go_to_the_disk_that_the_description_gives(computer: Path) -> None:
    run(computer)
    for name in ("containerd", "kubelet"):
        assert (computer / "var/lib" / name).readlink() == computer / "opt/sagemaker" / name
    assert (computer / "var/lib/containerd/images/pause").read_text() == "it"
    run(computer)  # a second time changes nothing
    assert (computer / "var/lib/containerd/images/pause").read_text() == "it"


def test_without_the_disk_or_once_they_run_they_stay_where_they_are(computer: Path) -> None:
    assert "no disk" in run(computer, disk=False)
    assert "runs already" in run(computer, active=True)
    assert not (computer / "var/lib/containerd").is_symlink()
