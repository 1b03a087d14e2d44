"""The cluster: who reaches it, what protects it, and in which order it comes and goes."""

import json
from datetime import datetime
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from components.core.google import started
from components.gcp.foundation.cluster import window
from components.spec.training import System, Window
from policies.model import Graph, Resource
from tests.gcp.alone import ZONES, build, choice, plan
from tests.gcp.building import before, kind, one
from tests.gcp.building import build as build_stack

L4 = plan("l4", "nvidia-l4", 1, choice("spot"))


@pytest.fixture(scope="module")
def graph() -> Graph:
    return build(L4)


def cluster(graph: Graph) -> Resource:
    return one(graph, "container/Cluster", "cluster-cluster")


def provider(graph: Graph) -> Resource:
    return next(r for r in graph.resources.values() if r.type == "pulumi:providers:kubernetes")


def test_nothing_of_it_has_a_public_address(graph: Graph):
    made = cluster(graph)
    assert made.get("privateClusterConfig") == {"enablePrivateNodes": True, "enablePrivateEndpoint": True}
    assert made.get("controlPlaneEndpointsConfig.ipEndpointsConfig.enabled") is False
    # Without it nobody outside of the network could deploy.
    assert made.get("controlPlaneEndpointsConfig.dnsEndpointConfig.allowExternalTraffic") is True
    assert made.get("controlPlaneEndpointsConfig.dnsEndpointConfig.enableK8sTokensViaDns") is False
    assert made.get("controlPlaneEndpointsConfig.dnsEndpointConfig.enableK8sCertsViaDns") is False
    # An empty block would switch the address on again.
    assert made.get("masterAuthorizedNetworksConfig") is None
    for pool in kind(graph, "container/NodePool"):
        assert pool.get("networkConfig.enablePrivateNodes") is True


def test_ranges_that_are_allowed_reach_an_address_and_no_other_does():
    made = cluster(build(allow=[IPv4Network("203.0.113.0/28"), IPv4Network("198.51.100.7/32")]))
    assert made.get("controlPlaneEndpointsConfig.ipEndpointsConfig.enabled") is True
    assert made.get("privateClusterConfig.enablePrivateEndpoint") is False
    allowed = made.get("masterAuthorizedNetworksConfig")
    assert [block["cidrBlock"] for block in allowed["cidrBlocks"]] == ["203.0.113.0/28", "198.51.100.7/32"]
    assert allowed["gcpPublicCidrsAccessEnabled"] is False


def test_whatever_it_keeps_is_encrypted_by_us(graph: Graph):
    made = cluster(graph)
    assert made.get("databaseEncryption") == {"state": "ENCRYPTED", "keyName": "keys/secrets"}
    # The pool that is there for minutes too: an organisation that asks for it refuses the cluster otherwise.
    for holder in [made, *kind(graph, "container/NodePool")]:
        assert holder.get("nodeConfig.bootDiskKmsKey") == "keys/compute"


def test_a_claim_that_names_no_class_is_encrypted_by_us_too(graph: Graph):
    [made] = [r for r in graph.resources.values() if r.type == "kubernetes:storage.k8s.io/v1:StorageClass"]
    assert made.get("metadata.annotations") == {"storageclass.kubernetes.io/is-default-class": "true"}
    assert made.get("provisioner") == "pd.csi.storage.gke.io"
    assert made.get("parameters.disk-encryption-kms-key") == "keys/compute"
    # A disk that was made in another zone than its machine is never attached.
    assert made.get("volumeBindingMode") == "WaitForFirstConsumer"
    assert made.provider == provider(graph).urn
    assert made.deleted_with == cluster(graph).urn


def test_every_machine_is_hardened(graph: Graph):
    pools = kind(graph, "container/NodePool")
    assert {pool.get("name") for pool in pools} == {"system", "l4-spot"}
    for holder in [cluster(graph), *pools]:
        config = holder.get("nodeConfig")
        assert config["shieldedInstanceConfig"] == {"enableSecureBoot": True, "enableIntegrityMonitoring": True}
        assert config["workloadMetadataConfig"] == {"mode": "GKE_METADATA"}
        assert config["metadata"] == {"disable-legacy-endpoints": "true"}
        assert config["kubeletConfig"] == {"insecureKubeletReadonlyPortEnabled": "FALSE"}
        assert config["imageType"] == "COS_CONTAINERD"
        # Never the default account, which may edit the project.
        assert config["serviceAccount"].endswith("cluster-nodes-account#email}")


def test_who_may_do_what_is_not_left_to_defaults(graph: Graph):
    made = cluster(graph)
    assert made.get("enableLegacyAbac") is False
    assert made.get("masterAuth.clientCertificateConfig.issueClientCertificate") is False
    assert made.get("anonymousAuthenticationConfig.mode") == "LIMITED"
    assert set(made.get("rbacBindingConfig").values()) == {False}
    assert made.get("workloadIdentityConfig.workloadPool") == "acme-dev.svc.id.goog"
    assert made.get("binaryAuthorization.evaluationMode") == "PROJECT_SINGLETON_POLICY_ENFORCE"
    assert made.get("authenticatorGroupsConfig") is None
    assert made.get("datapathProvider") == "ADVANCED_DATAPATH"
    assert made.get("addonsConfig.networkPolicyConfig.disabled") is True


def test_machines_may_write_logs_and_read_images_and_no_more(graph: Graph):
    grants = [r for r in kind(graph, "projects/IAMMember") if r.name.startswith("cluster-nodes-")]
    assert {r.get("role") for r in grants} == {
        "roles/container.defaultNodeServiceAccount",
        "roles/artifactregistry.reader",
    }
    # A machine that starts without them never becomes ready.
    for holder in [cluster(graph), *kind(graph, "container/NodePool")]:
        assert {r.name for r in grants} <= before(graph, holder)


def test_people_are_let_in_by_group():
    groups = {"platform-admin": "admins@example.com", "data-scientist": "ds@example.com", "auditor": None}
    graph = build(groups=groups, security_group="gke-security-groups@example.com")
    found = {r.get("member"): r.get("role") for r in kind(graph, "projects/IAMMember") if "group:" in r.get("member")}
    assert found == {
        "group:admins@example.com": "roles/container.admin",
        "group:ds@example.com": "roles/container.clusterViewer",
    }
    assert cluster(graph).get("authenticatorGroupsConfig.securityGroup") == "gke-security-groups@example.com"


BINDING = "kubernetes:rbac.authorization.k8s.io/v1:RoleBinding"


def test_groups_submit_and_read_jobs_where_the_cluster_knows_them(project: Path):
    named = "gke-security-groups@example.com"
    graph = build_stack(project, {"training": {"cluster": {"security_group": named}}})
    assert cluster(graph).get("authenticatorGroupsConfig.securityGroup") == named
    bound = {
        (r.get("roleRef.name"), r.get("metadata.namespace")): [s["name"] for s in r.get("subjects")]
        for r in graph.of_type(BINDING)
        if r.get("roleRef.name", "").startswith("ai-platform:")
    }
    both = ["ml-engineers@example.com", "ml-scientists@example.com"]
    assert bound["ai-platform:submit-jobs", "team-vision"] == both
    assert bound["ai-platform:read-jobs", "team-risk"] == ["auditors@example.com"]


def test_without_groups_of_the_cluster_s_own_nobody_is_named_who_would_not_be_recognised(project: Path):
    graph = build_stack(project, {"training": {"cluster": {"security_group": None}}})
    assert cluster(graph).get("authenticatorGroupsConfig") is None
    assert not [r for r in graph.of_type(BINDING) if r.get("roleRef.name", "").startswith("ai-platform:submit")]


def test_logs_are_ours_from_the_first_line_and_stored_once(graph: Graph):
    bucket = one(graph, "logging/ProjectBucketConfig", "cluster-logs")
    assert bucket.get("retentionDays") == 30
    assert bucket.get("location") == "us-central1"
    sink = one(graph, "logging/ProjectSink", "cluster-logs-sink")
    exclusion = one(graph, "logging/ProjectExclusion", "cluster-logs-exclusion")
    assert sink.get("filter") == exclusion.get("filter")
    assert 'cluster_name="acme-ai-dev-cluster"' in sink.get("filter")
    assert "k8s_control_plane_component" in sink.get("filter")
    # The other way about there would be a moment in which nobody keeps them.
    assert sink.name in before(graph, exclusion)
    assert {bucket.name, sink.name, exclusion.name} <= before(graph, cluster(graph))
    assert {"APISERVER", "WORKLOADS"} <= set(cluster(graph).get("loggingConfig.enableComponents"))
    later = one(build(generation=2), "logging/ProjectBucketConfig", "cluster-logs")
    assert later.get("bucketId") != bucket.get("bucketId")


@pytest.mark.parametrize(
    ("protection", "kept", "retained"), [("delete", False, False), ("protect", True, False), ("retain", True, True)]
)
def test_tiers_protect_it(protection: str, *, kept: bool, retained: bool):
    graph = build(L4, scoped={"protection": protection})
    for resource in (cluster(graph), one(graph, "logging/ProjectBucketConfig", "cluster-logs")):
        assert resource.protect is kept
        assert resource.retain_on_delete is retained
    assert cluster(graph).get("deletionProtection") is kept
    # Machines hold nothing: whoever destroys a pool in prod may.
    assert not any(pool.protect for pool in kind(graph, "container/NodePool"))


def test_what_the_cloud_writes_back_is_no_difference(graph: Graph):
    """The first pool is gone after some minutes, and a change of what it was made of would replace the cluster."""
    assert cluster(graph).get("removeDefaultNodePool") is True
    assert cluster(graph).ignore_changes == ("nodeConfig",)
    assert one(graph, "container/NodePool", "cluster-system").ignore_changes == ("initialNodeCount",)


@pytest.mark.parametrize(("upgrades", "channel"), [("standard", "REGULAR"), ("extended", "EXTENDED")])
def test_the_channel_follows_the_description(upgrades: str, channel: str):
    made = cluster(build(upgrades=upgrades, version="1.34"))
    assert made.get("releaseChannel.channel") == channel
    assert made.get("minMasterVersion") == "1.34"


@pytest.mark.parametrize("day", ["monday", "wednesday", "sunday"])
@pytest.mark.parametrize("hours", [12, 18, 24])
def test_a_window_starts_on_its_day_and_is_as_long_as_the_cloud_wants_it(day: Any, hours: int):
    """48 hours in any 32 days, of which a weekly window sees four whole ones: a shorter one is refused."""
    found = window(Window(day=day, hour=22, hours=hours))
    start, end = datetime.fromisoformat(str(found["start_time"])), datetime.fromisoformat(str(found["end_time"]))
    assert f"{start:%A}".lower() == day
    assert start.hour == 22
    assert found["recurrence"] == f"FREQ=WEEKLY;BYDAY={day[:2].upper()}"
    length = (end - start).total_seconds() / 3600
    assert length == hours
    assert 4 * length >= 48


@pytest.mark.parametrize("least", range(2, 6))
@pytest.mark.parametrize("most", range(2, 8))
@pytest.mark.parametrize("zones", range(1, 5))
def test_a_pool_starts_within_its_bounds(least: int, most: int, zones: int):
    if least > most:
        return
    places, each = started(least, most, [*ZONES, "us-central1-f"][:zones])
    assert least <= each * len(places) <= most
    # Whichever it leaves out, it begins with the first.
    assert places == tuple([*ZONES, "us-central1-f"][: len(places)])


def test_no_start_outside_of_bounds_is_made_up():
    with pytest.raises(ValueError, match="3 machines at least and 2 at most"):
        started(3, 2, ZONES)


def test_its_own_services_are_apart(graph: Graph):
    pool = one(graph, "container/NodePool", "cluster-system")
    assert pool.get("nodeConfig.taints") == [
        {"key": "components.gke.io/gke-managed-components", "value": "true", "effect": "NO_SCHEDULE"}
    ]
    assert pool.get("nodeConfig.labels") == {"ai-platform.io/pool": "system"}
    assert pool.get("nodeConfig.spot") is None
    # One more while it upgrades: Kueue's webhook is never away.
    assert pool.get("upgradeSettings") == {"strategy": "SURGE", "maxSurge": 1, "maxUnavailable": 0}
    tight = one(build(system=System(min=2, max=2)), "container/NodePool", "cluster-system")
    assert tight.get("initialNodeCount") * len(tight.get("nodeLocations")) == 2


def test_addresses_of_pods_come_from_our_ranges(graph: Graph):
    assert cluster(graph).get("ipAllocationPolicy") == {
        "clusterSecondaryRangeName": "pods", "servicesSecondaryRangeName": "services", "stackType": "IPV4",
    }  # fmt: skip
    # At 110 a machine would take a /24, and a /17 of pods end at 128 machines.
    assert cluster(graph).get("defaultMaxPodsPerNode") == 32


def test_whoever_deploys_speaks_to_it_without_a_credential_of_its_own(graph: Graph):
    made = provider(graph)
    config = json.loads(made.get("kubeconfig"))
    assert config["clusters"][0]["cluster"]["server"].startswith("https://$")
    assert set(config["users"][0]["user"]) == {"exec"}
    assert config["users"][0]["user"]["exec"]["args"] == ["--use_application_default_credentials"]
    assert made.get("clusterIdentifier") == "acme-dev/us-central1/acme-ai-dev-cluster"
    other = json.loads(provider(build(impersonate="deploy@acme-dev.iam.gserviceaccount.com")).get("kubeconfig"))
    assert other["users"][0]["user"]["exec"]["args"] == [
        "--impersonate_service_account=deploy@acme-dev.iam.gserviceaccount.com"
    ]


def test_what_is_in_it_comes_after_its_machines_and_goes_before_them(graph: Graph):
    assert {"cluster-cluster", "cluster-system"} <= before(graph, provider(graph))
    inside = next(r for r in graph.resources.values() if r.name == "pools-l4-class")
    assert inside.provider == provider(graph).urn
    assert "pools-l4-spot" in before(graph, inside)
    # And a pool after the system's machines: what starts machines for it runs there.
    assert "cluster-system" in before(graph, one(graph, "container/NodePool", "pools-l4-spot"))


def test_names_are_within_their_limits():
    from components.core.naming import Names

    graph = build(L4, scoped={"names": Names("acme-intelligence-and-more", "staging-europe-west1")})
    assert len(cluster(graph).get("name")) <= 40
    assert len(one(graph, "serviceaccount/Account", "cluster-nodes-account").get("accountId")) <= 30


def test_a_first_preview_declares_the_same():
    known, unknown = (build(L4, preview=preview) for preview in (False, True))
    assert set(known.resources) == set(unknown.resources)


def test_lustre_is_there_where_asked_for(graph: Graph):
    assert cluster(graph).get("addonsConfig.lustreCsiDriverConfig.enabled") is False
    assert cluster(build(lustre=True)).get("addonsConfig.lustreCsiDriverConfig.enabled") is True
