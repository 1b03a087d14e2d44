"""The network: what leads in and out, and nothing else."""

from collections.abc import Callable
from ipaddress import IPv4Network
from itertools import combinations
from pathlib import Path

import pytest

from policies.model import Graph
from tests.conftest import GCP
from tests.gcp.building import before, build, kind, one

Graphs = Callable[..., Graph]
ANYWHERE = "0.0.0.0/0"
RESTRICTED = "199.36.153.4/30"


def rules(graph: Graph, direction: str) -> dict[str, tuple[int, str, list[str]]]:
    """Rules by name: priority, action, ranges."""
    side = "match.srcIpRanges" if direction == "INGRESS" else "match.destIpRanges"
    return {
        r.get("ruleName"): (r.get("priority"), r.get("action"), r.get(side))
        for r in kind(graph, "compute/NetworkFirewallPolicyRule")
        if r.get("direction") == direction
    }


@pytest.mark.parametrize("stack", GCP)
def test_ranges_lie_in_the_environment_and_cross_nowhere(graphs: Graphs, stack: str):
    graph = graphs(stack)
    whole = IPv4Network(graph.outputs["gcp"]["network"]["cidr"])
    found = [IPv4Network(s.get("ipCidrRange")) for s in kind(graph, "compute/Subnetwork")]
    found += [
        IPv4Network(r["ipCidrRange"]) for s in kind(graph, "compute/Subnetwork") for r in s.get("secondaryIpRanges", [])
    ]
    (producers,) = [r for r in kind(graph, "compute/GlobalAddress") if r.get("addressType") == "INTERNAL"]
    found.append(IPv4Network(f"{producers.get('address')}/{producers.get('prefixLength')}"))
    assert len(found) == 6
    assert all(r.subnet_of(whole) for r in found)
    assert not [pair for pair in combinations(found, 2) if pair[0].overlaps(pair[1])]


@pytest.mark.parametrize("stack", GCP)
def test_machines_reach_google_privately_and_every_flow_is_recorded(graphs: Graphs, stack: str):
    subnets = {s.name: s for s in kind(graphs(stack), "compute/Subnetwork")}
    for name in ("network-nodes", "network-data"):
        assert subnets[name].get("privateIpGoogleAccess") is True
        assert subnets[name].get("logConfig.flowSampling") == (1.0 if stack == "prod-gcp" else 0.5)
    assert subnets["network-proxies"].get("purpose") == "REGIONAL_MANAGED_PROXY"
    assert subnets["network-proxies"].get("logConfig") is None


def test_flow_logs_can_be_left_out(project: Path):
    graph = build(project, {"network": {"flow_logs": False}})
    assert not [s for s in kind(graph, "compute/Subnetwork") if s.get("logConfig")]


@pytest.mark.parametrize("nat", ["single", "per_zone"])
def test_with_nat_there_is_a_way_out_and_no_address_of_ours(project: Path, nat: str):
    graph = build(project, {"network": {"nat": nat}})
    assert {r.get("destRange") for r in kind(graph, "compute/Route")} == {RESTRICTED, ANYWHERE}
    (gateway,) = kind(graph, "compute/RouterNat")
    assert gateway.get("natIpAllocateOption") == "AUTO_ONLY"
    assert gateway.get("logConfig.enable") is True


def test_without_nat_only_googles_apis_are_reached(project: Path):
    graph = build(project, {"network": {"nat": "none"}})
    assert {r.get("destRange") for r in kind(graph, "compute/Route")} == {RESTRICTED}
    assert not kind(graph, "compute/RouterNat") + kind(graph, "compute/Router")


@pytest.mark.parametrize("stack", GCP)
def test_no_route_and_no_subnet_comes_by_itself(graphs: Graphs, stack: str):
    (network,) = kind(graphs(stack), "compute/Network")
    assert network.get("deleteDefaultRoutesOnCreate") is True
    assert network.get("autoCreateSubnetworks") is False


@pytest.mark.parametrize("stack", GCP)
def test_what_comes_in_is_named(graphs: Graphs, stack: str):
    found = rules(graphs(stack), "INGRESS")
    (cidr,) = found["internal"][2]
    assert cidr == graphs(stack).outputs["gcp"]["network"]["cidr"]
    assert found["iap"][2] == ["35.235.240.0/20"]
    assert found["health-checks"][2] == ["35.191.0.0/16", "130.211.0.0/22"]
    last = max(found.values())
    assert last == (65000, "deny", [ANYWHERE])
    assert [rule for rule in found.values() if rule[1] == "allow" and ANYWHERE in rule[2]] == []
    (ssh,) = [r for r in kind(graphs(stack), "compute/NetworkFirewallPolicyRule") if r.get("ruleName") == "iap"]
    assert ssh.get("match.layer4Configs") == [{"ipProtocol": "tcp", "ports": ["22"]}]


def test_closed_ways_out_leave_the_network_googles_apis_and_what_is_named(project: Path, graphs: Graphs):
    assert rules(graphs("dev-gcp"), "EGRESS") == {}
    found = rules(graphs("prod-gcp"), "EGRESS")
    assert set(found) == {"to-internal", "to-apis", "to-metadata", "no-egress"}
    assert max(found.values()) == (65100, "deny", [ANYWHERE])
    assert found["to-apis"][2] == [RESTRICTED]
    graph = build(project, {"network": {"egress": "deny", "allow": ["192.0.2.0/24"]}})
    (named,) = [r for r in kind(graph, "compute/NetworkFirewallPolicyRule") if r.get("ruleName") == "to-allowed"]
    assert named.get("match.destIpRanges") == ["192.0.2.0/24"]
    assert named.get("match.layer4Configs") == [{"ipProtocol": "tcp", "ports": ["443"]}]
    assert named.get("priority") < rules(graph, "EGRESS")["no-egress"][0]


@pytest.mark.parametrize("stack", GCP)
def test_every_rule_is_logged_and_has_a_priority_of_its_own(graphs: Graphs, stack: str):
    found = kind(graphs(stack), "compute/NetworkFirewallPolicyRule")
    assert all(r.get("enableLogging") is True for r in found)
    assert len({r.get("priority") for r in found}) == len(found)


def test_the_firewall_is_whole_before_the_network_has_it_and_before_anybody_uses_that(graphs: Graphs):
    graph = graphs("prod-gcp")
    (association,) = kind(graph, "compute/NetworkFirewallPolicyAssociation")
    names = {r.name for r in kind(graph, "compute/NetworkFirewallPolicyRule")}
    assert names <= before(graph, association)
    function = one(graph, "cloudfunctionsv2/Function", "secrets-rotation-function")
    assert association.name in before(graph, function)
    assert "network-route-apis" in before(graph, function)


@pytest.mark.parametrize("domain", ["googleapis.com", "pkg.dev", "gcr.io", "run.app"])
def test_googles_names_lead_to_the_restricted_addresses(graphs: Graphs, domain: str):
    graph = graphs("dev-gcp")
    records = {r.get("name"): r for r in kind(graph, "dns/RecordSet")}
    addresses = [str(a) for a in IPv4Network(RESTRICTED)]
    assert records[f"{domain}."].get("rrdatas") == addresses
    assert records[f"*.{domain}."].get("rrdatas") == [f"{domain}."]
    zone = one(graph, "dns/ManagedZone", f"network-zone-{domain.replace('.', '-')}")
    assert zone.get("visibility") == "private"
    assert one(graph, "dns/Policy", "network-names").get("enableLogging") is True


def test_managed_services_never_hold_a_destroy_up(graphs: Graphs):
    for stack in GCP:
        (connection,) = kind(graphs(stack), "servicenetworking/Connection")
        assert connection.get("deletionPolicy") == "ABANDON"
        assert "network-producers" in before(graphs(stack), connection)


@pytest.mark.parametrize("perimeter", ["off", "dry_run", "enforced"])
def test_a_perimeter_is_drawn_as_it_is_asked_for(project: Path, perimeter: str):
    graph = build(project, {"network": {"perimeter": perimeter}}, cloud={"access_policy": "123456789012"})
    found = kind(graph, "accesscontextmanager/ServicePerimeter")
    if perimeter == "off":
        assert not found
        return
    (drawn,) = found
    side, other = ("spec", "status") if perimeter == "dry_run" else ("status", "spec")
    assert drawn.get(f"{side}.resources") == ["projects/444444444444"]
    # Where data, models and secrets are, and what runs with them.
    fenced = {service.removesuffix(".googleapis.com") for service in drawn.get(f"{side}.restrictedServices")}
    assert {
        "aiplatform", "artifactregistry", "container", "kubernetesmetadata", "lustre", "notebooks", "secretmanager", "storage",
        "workflows",
    } <= fenced  # fmt: skip
    # The pipeline comes from outside, and these are how it becomes somebody.
    assert not fenced & {"iam", "iamcredentials", "sts", "cloudresourcemanager", "serviceusage"}
    assert drawn.get(other) is None
    assert drawn.get("useExplicitDryRunSpec") is (perimeter == "dry_run")
    assert drawn.get("name") == "accessPolicies/123456789012/servicePerimeters/acme_ai_dev_gcp_perimeter"


def test_without_an_access_policy_there_is_no_perimeter(project: Path):
    graph = build(project, stack="prod-gcp", cloud={"access_policy": None})
    assert not kind(graph, "accesscontextmanager/ServicePerimeter")
    assert not [s for s in kind(graph, "projects/Service") if s.get("service") == "accesscontextmanager.googleapis.com"]
