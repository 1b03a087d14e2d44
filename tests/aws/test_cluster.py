"""The cluster: who reaches it, what runs before what, and what a destroy leaves behind: nothing."""

import doctest
import json
from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import Any, get_args

import pytest

from components.aws.foundation.autoscaler import statements as karpenter
from components.aws.foundation.keys import policy
from components.core import eks
from components.core.accelerators import machine
from components.spec.section import Tier
from components.spec.training import Cluster as Described
from policies.model import Graph, Resource
from tests.aws.building import kind, one, statements
from tests.aws.clusters import ACCOUNT, TAGS, cluster, later, of
from tests.spec.test_capacity import pool

FIRST = ("vpc-cni", "kube-proxy", "eks-pod-identity-agent")
POOLS = {
    "l4": pool(8, capacity=["spot", "on-demand"]),
    "h100": pool(2, type_="nvidia-h100", per_node=8, capacity=[{"reserved": "cr-0123"}], interconnect="fast"),
}


@pytest.fixture(scope="module")
def graph() -> Graph:
    return cluster(pools=POOLS)


def plane(found: Graph) -> Resource:
    return one(found, "Cluster", "cluster-cluster")


def role(name: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


def test_the_control_plane_is_private_encrypted_and_heard(graph: Graph) -> None:
    found = plane(graph)
    assert found.get("vpcConfig.endpointPrivateAccess") is True
    assert found.get("vpcConfig.endpointPublicAccess") is False
    assert "publicAccessCidrs" not in found.get("vpcConfig")
    assert found.get("encryptionConfig") == {
        "provider": {"keyArn": "arn:aws:kms:us-west-2:111111111111:key/secrets"},
        "resources": ["secrets"],
    }
    assert set(found.get("enabledClusterLogTypes")) == {
        "api",
        "audit",
        "authenticator",
        "controllerManager",
        "scheduler",
    }
    assert found.get("bootstrapSelfManagedAddons") is False
    assert found.get("accessConfig.authenticationMode") == "API"


def test_the_public_endpoint_is_there_for_named_ranges_only() -> None:
    found = plane(cluster(more={"allow": [IPv4Network("203.0.113.0/24")]}))
    assert found.get("vpcConfig.endpointPublicAccess") is True
    assert found.get("vpcConfig.publicAccessCidrs") == ["203.0.113.0/24"]
    assert found.get("vpcConfig.endpointPrivateAccess") is True


def test_extended_support_is_chosen_and_not_slipped_into(graph: Graph) -> None:
    assert plane(graph).get("upgradePolicy.supportType") == "STANDARD"
    assert plane(cluster(more={"upgrades": "extended"})).get("upgradePolicy.supportType") == "EXTENDED"


def test_what_is_read_once_never_replaces_the_cluster(graph: Graph) -> None:
    assert set(plane(graph).ignore_changes) == {
        "accessConfig.bootstrapClusterCreatorAdminPermissions",
        "bootstrapSelfManagedAddons",
    }


@pytest.mark.parametrize(
    ("tier", "protected", "kept"), [("dev", False, False), ("staging", True, False), ("prod", True, True)]
)
def test_the_tier_protects_the_cluster(tier: Tier, protected: bool, kept: bool) -> None:
    found = cluster(tier)
    for resource in (plane(found), one(found, "LogGroup", "cluster-control-plane-log")):
        assert (resource.protect, resource.retain_on_delete) == (protected, kept)
    assert plane(found).get("deletionProtection") is protected


def test_log_groups_are_ours_and_there_before_whoever_writes_to_them(graph: Graph) -> None:
    groups = {g.get("name"): g for g in kind(graph, "LogGroup")}
    root = "/aws/containerinsights/acme-ai-dev-cluster"
    insights = [f"{root}/{part}" for part in ("application", "dataplane", "host", "performance", "prometheus")]
    assert set(groups) == {"/aws/eks/acme-ai-dev-cluster/cluster", *insights}
    for group in groups.values():
        assert group.get("retentionInDays") == 30
        assert group.get("kmsKeyId").endswith("key/logs")
    assert later(graph, plane(graph), groups["/aws/eks/acme-ai-dev-cluster/cluster"])
    agent = one(graph, "Addon", "cluster-amazon-cloudwatch-observability")
    assert later(graph, agent, *(groups[name] for name in insights))
    # Nobody makes a group again that a destroy took away.
    allowed = [a for s in statements(one(graph, "RolePolicy", f"{agent.name}-policy")) for a in s["Action"]]
    assert "logs:CreateLogGroup" not in allowed
    assert "logs:PutLogEvents" in allowed


def test_what_machines_need_comes_before_them_and_the_rest_after(graph: Graph) -> None:
    group = one(graph, "NodeGroup", "cluster-system")
    for addon in kind(graph, "Addon"):
        name = addon.get("addonName")
        if name in FIRST:
            assert later(graph, group, addon), name
        else:
            assert later(graph, addon, group), name
    assert {a.get("addonName") for a in kind(graph, "Addon")} > {*FIRST, "coredns", "aws-ebs-csi-driver"}


def test_whoever_runs_in_the_cluster_finds_it_ready(graph: Graph) -> None:
    chart = of(graph, "Release", "autoscaler-karpenter")
    assert later(graph, chart, *kind(graph, "Addon"), one(graph, "NodeGroup", "cluster-system"))
    assert later(graph, chart, of(graph, "Release", "autoscaler-karpenter-crd"))
    assert later(graph, chart, one(graph, "PodIdentityAssociation", "autoscaler-identity"))
    assert later(graph, chart, one(graph, "RolePolicy", "autoscaler-policy"))
    assert later(graph, chart, one(graph, "QueuePolicy", "autoscaler-notices"))


def test_a_destroy_ends_machines_first_then_what_they_need_then_the_cluster(graph: Graph) -> None:
    """A graph walk: what is made later goes earlier."""
    pool_, class_ = of(graph, "NodePool", "pools-l4-pool"), of(graph, "EC2NodeClass", "pools-l4-class")
    chart, group = of(graph, "Release", "autoscaler-karpenter"), one(graph, "NodeGroup", "cluster-system")
    order = [
        pool_, class_, chart, one(graph, "PodIdentityAssociation", "autoscaler-identity"), group,
        one(graph, "Addon", "cluster-vpc-cni"), plane(graph), one(graph, "LogGroup", "cluster-control-plane-log"),
    ]  # fmt: skip
    for i, first in enumerate(order[:-1]):
        if first.name != "autoscaler-identity":
            assert later(graph, first, *order[i + 1 :]), first.name
    # The machines of a pool end while their role, their network and the queue of notices are still there.
    rest = [
        one(graph, "Role", "cluster-nodes-role"),
        one(graph, "RolePolicyAttachment", "cluster-nodes-AmazonEKSWorkerNodeMinimalPolicy"),
        one(graph, "InstanceProfile", "pools-machines"),
        one(graph, "SecurityGroup", "cluster-machines"),
        *kind(graph, "SecurityGroupEgressRule"),
        one(graph, "Queue", "autoscaler-notices"),
        *kind(graph, "EventTarget"),
    ]
    assert later(graph, pool_, *rest)
    assert later(graph, one(graph, "NodeGroup", "pools-h100-reserved"), group, *rest[:2])


def test_every_add_on_is_pinned_for_every_version_that_may_be_described() -> None:
    described = get_args(Described.model_fields["version"].annotation)
    assert set(eks.RELEASES) == set(described)
    for version, release in eks.RELEASES.items():
        assert release.startswith(f"{version}.")
    for name, versions in eks.ADD_ONS.items():
        assert set(versions) == set(described), name
    for version in described:
        assert eks.ADD_ONS["kube-proxy"][version].startswith(f"v{version}.")


@pytest.mark.parametrize("version", ["1.34", "1.36"])
def test_versions_go_together(version: str) -> None:
    found = cluster(more={"version": version})
    assert plane(found).get("version") == version
    group = one(found, "NodeGroup", "cluster-system")
    assert group.get("version") == version
    assert group.get("releaseVersion") == eks.RELEASES[version]
    assert {a.get("addonName"): a.get("addonVersion") for a in kind(found, "Addon")} == {
        name: versions[version] for name, versions in eks.ADD_ONS.items() if name != "aws-fsx-csi-driver"
    }


def test_lustre_brings_its_driver_without_a_right_to_make_file_systems() -> None:
    addon = one(cluster(more={"lustre": True}), "Addon", "cluster-aws-fsx-csi-driver")
    assert not addon.get("podIdentityAssociations")


def values(found: Graph, name: str) -> dict[str, Any]:
    return json.loads(one(found, "Addon", f"cluster-{name}").get("configurationValues"))


def test_add_ons_do_what_the_platform_counts_on(graph: Graph) -> None:
    assert values(graph, "vpc-cni")["enableNetworkPolicy"] == "true"
    # Out of reach of the metadata it would not know where it is.
    assert values(graph, "aws-ebs-csi-driver")["controller"]["region"] == "us-west-2"
    assert values(graph, "aws-ebs-csi-driver")["controller"]["extraVolumeTags"] == TAGS
    insights = values(graph, "amazon-cloudwatch-observability")
    of_machines, of_controllers = insights["agents"]
    assert of_machines == {"name": "cloudwatch-agent"}
    # What reads the controllers keeps no accelerator's machine from being empty.
    assert of_controllers["nodeSelector"]["ai-platform.io/pool"] == "system"
    assert insights["containerInsights"] == {"enabled": True}
    system = {"key": "CriticalAddonsOnly", "operator": "Exists"}
    assert system in values(graph, "metrics-server")["tolerations"]
    assert system in insights["manager"]["tolerations"]
    assert values(graph, "eks-node-monitoring-agent")["dcgmAgent"]["tolerations"] == [{"operator": "Exists"}]


def test_add_ons_get_rights_by_pod_identity_alone(graph: Graph) -> None:
    with_role = {
        "vpc-cni": "aws-node",
        "aws-ebs-csi-driver": "ebs-csi-controller-sa",
        "amazon-cloudwatch-observability": "cloudwatch-agent",
    }
    for addon in kind(graph, "Addon"):
        account = with_role.get(addon.get("addonName"))
        given = addon.get("podIdentityAssociations") or []
        assert [a["serviceAccount"] for a in given] == ([account] if account else [])
        assert addon.get("serviceAccountRoleArn") is None
    accounts = {**{f"cluster-{name}": account for name, account in with_role.items()}, "autoscaler": "karpenter"}
    for label, account in accounts.items():
        [trust] = statements(one(graph, "Role", f"{label}-role"), "assumeRolePolicy")
        assert trust["Principal"] == {"Service": "pods.eks.amazonaws.com"}
        assert set(trust["Action"]) == {"sts:AssumeRole", "sts:TagSession"}
        assert trust["Condition"]["StringEqualsIfExists"] == {"aws:SourceAccount": ACCOUNT}
        # No other pod takes the role, whatever an association says.
        namespace = "amazon-cloudwatch" if account == "cloudwatch-agent" else "kube-system"
        assert trust["Condition"]["StringEquals"] == {
            "aws:RequestTag/kubernetes-namespace": namespace,
            "aws:RequestTag/kubernetes-service-account": account,
        }
    cni = one(graph, "Addon", "cluster-vpc-cni")
    assert later(graph, cni, one(graph, "RolePolicyAttachment", "cluster-vpc-cni-AmazonEKS_CNI_Policy"))
    # The machine's own role has no right to the network, or any pod on its network had it too.
    attached = {a.get("policyArn") for a in kind(graph, "RolePolicyAttachment") if a.name.startswith("cluster-nodes-")}
    assert attached == {
        "arn:aws:iam::aws:policy/AmazonEKSWorkerNodeMinimalPolicy",
        "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly",
    }


def templates(found: Graph) -> Iterator[Resource]:
    yield from kind(found, "LaunchTemplate")


def test_every_machine_is_closed_and_its_disk_encrypted(graph: Graph) -> None:
    found = list(templates(graph))
    assert {t.name for t in found} == {"cluster-system", "pools-h100-reserved"}
    for template in found:
        assert template.get("metadataOptions") == {
            "httpEndpoint": "enabled",
            "httpTokens": "required",
            "httpPutResponseHopLimit": 1,
            "instanceMetadataTags": "disabled",
        }
        [disk] = template.get("blockDeviceMappings")
        assert disk["ebs"]["encrypted"] == "true"
        assert disk["ebs"]["kmsKeyId"].endswith("key/compute")
        assert disk["ebs"]["deleteOnTermination"] == "true"
        specs = template.get("tagSpecifications")
        assert {s["resourceType"] for s in specs} == {"instance", "network-interface", "volume"}
        assert all(s["tags"].items() >= TAGS.items() for s in specs)
        assert template.get("imageId") is None
        assert template.get("iamInstanceProfile") is None


def test_no_workload_lands_on_the_system_machines_and_none_is_alone(graph: Graph) -> None:
    group = one(graph, "NodeGroup", "cluster-system")
    assert group.get("taints") == [{"key": "CriticalAddonsOnly", "value": "true", "effect": "NO_SCHEDULE"}]
    assert group.get("labels") == {"ai-platform.io/pool": "system"}
    assert group.get("scalingConfig") == {"minSize": 2, "maxSize": 4, "desiredSize": 2}
    assert group.get("amiType") == "AL2023_x86_64_STANDARD"
    # Two zones, which Karpenter's replicas insist on.
    assert len(group.get("subnetIds")) == 2
    # A type in the group would replace it when it changes.
    assert group.get("instanceTypes") is None
    assert group.get("nodeRepairConfig.enabled") is True


def test_machines_of_arm_get_its_image() -> None:
    group = one(cluster(more={"machine": machine("aws", "m7g.xlarge")}), "NodeGroup", "cluster-system")
    assert group.get("amiType") == "AL2023_ARM_64_STANDARD"


def test_machines_and_control_plane_share_one_group_that_the_cluster_owns(graph: Graph) -> None:
    group = one(graph, "SecurityGroup", "cluster-machines")
    reference = f"${{{group.urn}#id}}"
    assert group.get("tags")["kubernetes.io/cluster/acme-ai-dev-cluster"] == "owned"
    tagged = [g for g in kind(graph, "SecurityGroup") if any("kubernetes.io" in key for key in g.get("tags") or {})]
    assert tagged == [group]
    assert plane(graph).get("vpcConfig.securityGroupIds") == [reference]
    # An interface without its rules would hear nobody.
    assert later(graph, plane(graph), *kind(graph, "SecurityGroupIngressRule"), *kind(graph, "SecurityGroupEgressRule"))
    assert one(graph, "LaunchTemplate", "cluster-system").get("vpcSecurityGroupIds") == [reference]
    [inside] = kind(graph, "SecurityGroupIngressRule")
    assert inside.get("referencedSecurityGroupId") == reference
    out = {r.name: r for r in kind(graph, "SecurityGroupEgressRule")}
    # The fabric wants this one; a range does not do.
    assert out["cluster-machines-out"].get("referencedSecurityGroupId") == reference
    assert out["cluster-machines-network"].get("cidrIpv4") == "10.16.0.0/16"
    open_ = out["cluster-machines-to-0.0.0.0-0"]
    assert (open_.get("ipProtocol"), open_.get("fromPort"), open_.get("toPort")) == ("tcp", 443, 443)


def test_in_a_closed_network_machines_go_where_an_endpoint_is() -> None:
    found = cluster(reach=["10.16.0.0/16", "203.0.113.0/24"])
    rules = {r.name.removeprefix("cluster-machines-"): r for r in kind(found, "SecurityGroupEgressRule")}
    assert set(rules) == {"out", "network", "s3", "to-203.0.113.0-24"}
    assert rules["s3"].get("prefixListId") == "pl-68a54001"
    assert all(r.get("cidrIpv4") != "0.0.0.0/0" for r in rules.values())


def test_zones_that_take_no_control_plane_are_left_to_machines() -> None:
    found = cluster(more={"zones": ["use1-az3", "use1-az1"]})
    assert plane(found).get("vpcConfig.subnetIds") == ["subnet-2"]
    assert one(found, "NodeGroup", "cluster-system").get("subnetIds") == ["subnet-1", "subnet-2"]


def test_who_deploys_comes_in_and_nobody_else_by_chance() -> None:
    deploys = role("deploys")
    found = cluster(more={"role": deploys, "deployers": {"delivery": role("ci")}})
    assert plane(found).get("accessConfig.bootstrapClusterCreatorAdminPermissions") is False
    entries = {e.name: e for e in kind(found, "AccessEntry")}
    assert set(entries) == {"cluster-access-deployer", "cluster-access-delivery"}
    assert entries["cluster-access-deployer"].get("principalArn") == deploys
    for association in kind(found, "AccessPolicyAssociation"):
        assert association.get("policyArn").endswith("/AmazonEKSClusterAdminPolicy")
        assert association.get("accessScope") == {"type": "cluster"}
    # Whatever goes into the cluster waits until the deployer may.
    klass = of(found, "StorageClass", "cluster-gp3")
    assert later(found, klass, *kind(found, "AccessPolicyAssociation"), *kind(found, "AccessEntry"))


def test_whoever_deploys_first_is_let_in_only_where_nobody_is_named(graph: Graph) -> None:
    """EKS makes an entry for him, and refuses ours where it is the same role."""
    creator = "accessConfig.bootstrapClusterCreatorAdminPermissions"
    assert plane(graph).get(creator) is True
    assert plane(cluster(more={"deployers": {"delivery": role("ci")}})).get(creator) is False
    assert plane(cluster(more={"role": role("deploys")})).get(creator) is False


def test_personas_see_what_is_theirs() -> None:
    personas = {who: role(who) for who in ("platform-admin", "auditor", "ml-engineer", "data-scientist")}
    found = cluster(more={"personas": personas})
    given = {
        a.name.removeprefix("cluster-access-"): (a.get("policyArn").rpartition("/")[2], a.get("accessScope"))
        for a in kind(found, "AccessPolicyAssociation")
    }
    whole, teams = {"type": "cluster"}, {"type": "namespace", "namespaces": ["team-*"]}
    assert given == {
        "platform-admin": ("AmazonEKSClusterAdminPolicy", whole),
        "auditor": ("AmazonEKSViewPolicy", whole),
        "ml-engineer": ("AmazonEKSViewPolicy", teams),
        "data-scientist": ("AmazonEKSViewPolicy", teams),
    }
    groups = {e.name.removeprefix("cluster-access-"): e.get("kubernetesGroups") for e in kind(found, "AccessEntry")}
    assert groups == {who: [f"ai-platform:{who}"] for who in personas}


def test_the_provider_keeps_no_credential_and_is_never_mistaken() -> None:
    deploys = role("deploys")
    for more, ending in (({}, []), ({"role": deploys}, ["--role-arn", deploys])):
        [provider] = cluster(more=more).of_type("pulumi:providers:kubernetes")
        config = json.loads(provider.get("kubeconfig"))
        [user] = config["users"]
        assert set(user["user"]) == {"exec"}
        command = user["user"]["exec"]
        assert [command["command"], *command["args"][:4]] == [
            "aws", "eks", "get-token", "--cluster-name", "acme-ai-dev-cluster"
        ]  # fmt: skip
        assert command["args"][8:] == ending
        assert config["clusters"][0]["cluster"]["server"].endswith("#endpoint}")
        assert provider.get("clusterIdentifier") == "arn:aws:eks:us-west-2:111111111111:cluster/acme-ai-dev-cluster"
        assert provider.get("enableServerSideApply") in (True, "true")


def test_a_volume_is_encrypted_without_being_asked(graph: Graph) -> None:
    klass = of(graph, "StorageClass", "cluster-gp3")
    assert klass.get("parameters") == {
        "type": "gp3",
        "encrypted": "true",
        "kmsKeyId": "arn:aws:kms:us-west-2:111111111111:key/compute",
    }
    assert klass.get("metadata")["annotations"] == {"storageclass.kubernetes.io/is-default-class": "true"}
    assert klass.get("volumeBindingMode") == "WaitForFirstConsumer"
    uses = statements(one(graph, "RolePolicy", "cluster-aws-ebs-csi-driver-policy"))
    assert {tuple(s["Resource"]) for s in uses} == {("arn:aws:kms:us-west-2:111111111111:key/compute",)}
    assert all(s["Condition"]["StringEquals"] == {"kms:ViaService": ["ec2.us-west-2.amazonaws.com"]} for s in uses)


def test_whoever_starts_machines_for_aws_can_read_their_disks() -> None:
    found = {s.get("Sid"): s for s in policy(ACCOUNT, "us-west-2", "compute")["Statement"]}
    starters = {
        f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling",
        f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot",
    }
    for sid in ("DisksOfNewMachines", "DisksOfRunningMachines"):
        condition = found[sid]["Condition"]
        assert starters < set(condition["ArnLike"]["aws:PrincipalArn"])
        assert condition["StringEquals"] == {"kms:CallerAccount": ACCOUNT}
    assert found["DisksOfRunningMachines"]["Action"] == ["kms:CreateGrant"]
    assert found["DisksOfRunningMachines"]["Condition"]["Bool"] == {"kms:GrantIsForAWSResource": "true"}
    elsewhere = {s.get("Sid") for s in policy(ACCOUNT, "us-west-2", "data")["Statement"]}
    assert not elsewhere & {"DisksOfNewMachines", "DisksOfRunningMachines"}


def test_notices_reach_karpenter_from_its_five_rules_alone(graph: Graph) -> None:
    patterns = {tuple(json.loads(r.get("eventPattern"))["detail-type"]) for r in kind(graph, "EventRule")}
    assert patterns == {
        ("AWS Health Event",),
        ("EC2 Spot Instance Interruption Warning",),
        ("EC2 Instance Rebalance Recommendation",),
        ("EC2 Instance State-change Notification",),
        ("EC2 Capacity Reservation Instance Interruption Warning",),
    }
    queue = one(graph, "Queue", "autoscaler-notices")
    assert queue.get("kmsMasterKeyId").endswith("key/logs")
    assert queue.get("messageRetentionSeconds") == 300
    found = {s["Sid"]: s for s in statements(one(graph, "QueuePolicy", "autoscaler-notices"))}
    assert found["OnlyOverTls"]["Effect"] == "Deny"
    assert found["Notices"]["Condition"] == {
        "StringEquals": {"aws:SourceAccount": ACCOUNT},
        "ArnLike": {"aws:SourceArn": "arn:aws:events:us-west-2:111111111111:rule/acme-ai-dev-autoscaler-*"},
    }
    for rule in kind(graph, "EventRule"):
        assert rule.get("name").startswith("acme-ai-dev-autoscaler-")
    assert {t.get("arn") for t in kind(graph, "EventTarget")} == {f"${{{queue.urn}#arn}}"}


def test_karpenter_stands_on_the_system_machines_and_hears_notices(graph: Graph) -> None:
    chart = of(graph, "Release", "autoscaler-karpenter")
    assert chart.get("version") == of(graph, "Release", "autoscaler-karpenter-crd").get("version") == eks.KARPENTER
    assert chart.get("skipCrds") is True
    found = chart.get("values")
    assert found["replicas"] == 2
    assert found["nodeSelector"]["ai-platform.io/pool"] == "system"
    assert found["settings"]["interruptionQueue"] == "acme-ai-dev-autoscaler-notices"
    assert found["settings"]["isolatedVPC"] is True
    assert found["settings"]["featureGates"]["reservedCapacity"] is True
    assert {"requests", "limits"} == set(found["controller"]["resources"])


def test_karpenter_can_end_and_tag_only_what_it_started() -> None:
    found = {
        s.get("Sid", s["Action"][0]): s
        for s in karpenter(
            account=ACCOUNT, region="us-west-2", cluster="c", node_role="role", queue="queue", notices_key="notices",
            compute_key="compute",
        )
    }  # fmt: skip
    owned = {"aws:ResourceTag/kubernetes.io/cluster/c": "owned"}
    assert found["EndItsOwn"]["Condition"]["StringEquals"] == owned
    assert found["StartFromItsTemplates"]["Condition"]["StringEquals"] == owned
    assert found["TagItsMachines"]["Condition"]["StringEquals"] == owned
    created = found["TagWhatItStarts"]["Condition"]["StringEquals"]
    assert created["aws:RequestTag/kubernetes.io/cluster/c"] == "owned"
    assert created["ec2:CreateAction"] == ["RunInstances", "CreateFleet", "CreateLaunchTemplate"]
    assert found["RoleOfMachines"]["Resource"] == ["role"]
    assert found["RoleOfMachines"]["Condition"] == {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}
    unbound = [sid for sid, s in found.items() if s["Resource"] == ["*"] and "Condition" not in s]
    assert unbound == []
    everything = [action for s in found.values() for action in s["Action"]]
    assert not [
        a for a in everything if "InstanceProfile" in a or (a.endswith("*") and not a.startswith("kms:ReEncrypt"))
    ]
    # An inline policy holds 10,240 characters.
    assert len(json.dumps({"Statement": list(found.values())}, separators=(",", ":"))) < 9000


def test_names_fit_where_a_company_has_a_long_one() -> None:
    found = cluster("staging", prefix="the-longest-prefix", pools=POOLS)
    assert len(plane(found).get("name")) <= 100
    for group in kind(found, "NodeGroup"):
        assert len(group.get("nodeGroupName")) <= 63
    for resource in kind(found, "Role"):
        assert len(resource.get("name")) <= 64
    assert len({r.get("name") for r in kind(found, "Role")}) == len(kind(found, "Role"))


def test_examples_of_what_eks_wants_to_be_told() -> None:
    found = doctest.testmod(eks)
    assert found.attempted >= 3
    assert found.failed == 0


def test_a_first_preview_registers_the_same(graph: Graph) -> None:
    def shape(found: Graph) -> dict[str, Any]:
        return {urn: (r.type, r.parent, r.provider, r.dependencies) for urn, r in found.resources.items()}

    assert shape(cluster(preview=True, pools=POOLS)) == shape(graph)
