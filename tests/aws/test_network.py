"""The network: ways out, ways in, and when a subnet is of use."""

from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from components.aws.foundation.network import services
from policies.model import Graph
from tests.aws.building import build, kind, one, statements, upstream, waits_for
from tests.conftest import AWS

Graphs = Callable[..., Graph]


def routes(graph: Graph, part: str) -> list[tuple[str, str]]:
    return [
        (r.name.removeprefix("network-"), r.get("destinationCidrBlock")) for r in kind(graph, "Route") if part in r.name
    ]


@pytest.mark.parametrize(("nat", "gateways"), [("none", 0), ("single", 1), ("per_zone", 3)])
def test_nat(project: Path, nat: str, gateways: int) -> None:
    graph = build(project, {"network": {"nat": nat, "zones": 3}})
    assert len(kind(graph, "NatGateway")) == len(kind(graph, "Eip")) == gateways
    out = [r for r in kind(graph, "Route") if "private" in r.name]
    assert len(out) == (3 if gateways else 0)
    assert len({r.get("natGatewayId") for r in out}) == gateways
    assert len(kind(graph, "InternetGateway")) == bool(gateways)
    assert len([r for r in kind(graph, "Subnet") if "public" in r.name]) == (3 if gateways else 0)


def test_a_zone_goes_out_through_its_own_gateway(project: Path) -> None:
    graph = build(project, {"network": {"nat": "per_zone", "zones": ["usw2-az2", "usw2-az4"]}})
    for zone in ("usw2-az2", "usw2-az4"):
        route = one(graph, "Route", f"network-private-{zone}-to-0.0.0.0-0")
        nat = one(graph, "NatGateway", f"network-nat-{zone}")
        assert route.get("natGatewayId") == f"${{{nat.urn}#id}}"
        subnet = one(graph, "Subnet", f"network-public-{zone}")
        assert nat.get("subnetId") == f"${{{subnet.urn}#id}}"
        assert subnet.get("availabilityZoneId") == zone
        # Without a way out while it is made, a NAT gateway fails for good.
        assert waits_for(graph, nat, one(graph, "Route", "network-public-default"))


@pytest.mark.parametrize(("stack", "zones"), [("dev", 2), ("staging", 2), ("prod", 3)])
def test_subnets_by_tier_lie_apart_in_the_range(graphs: Graphs, stack: str, zones: int) -> None:
    graph = graphs(stack)
    ranges = [ip_network(r.get("cidrBlock")) for r in kind(graph, "Subnet")]
    assert len(ranges) == 3 * zones
    assert not [(a, b) for a in ranges for b in ranges if a != b and a.overlaps(b)]
    whole = ip_network(one(graph, "Vpc", "network-vpc").get("cidrBlock"))
    assert all(r.subnet_of(whole) for r in ranges)
    assert len({r.get("availabilityZoneId") for r in kind(graph, "Subnet")}) == zones


def test_with_egress_denied_only_what_is_allowed_has_a_route(project: Path) -> None:
    graph = build(project, {"network": {"egress": "deny", "allow": ["203.0.113.0/24"], "nat": "single"}})
    assert {to for _, to in routes(graph, "private")} == {"203.0.113.0/24"}
    assert {to for _, to in routes(graph, "public")} == {"0.0.0.0/0"}
    acl = one(graph, "NetworkAcl", "network-private-acl")
    out = [(r["protocol"], r["fromPort"], r["toPort"], r["cidrBlock"]) for r in acl.get("egress")]
    assert out == [("-1", 0, 0, "10.16.0.0/16"), ("tcp", 443, 443, "0.0.0.0/0")]
    assert len(acl.get("subnetIds")) == 2


def test_prod_has_no_way_out_by_default(graphs: Graphs) -> None:
    graph = graphs("prod")
    assert routes(graph, "private") == []
    assert len(kind(graph, "NatGateway")) == 3


def test_with_egress_open_there_is_no_acl_on_workloads(graphs: Graphs) -> None:
    assert [r.name for r in kind(graphs("dev"), "NetworkAcl")] == ["network-data-acl"]


@pytest.mark.parametrize("stack", AWS)
def test_data_subnets_have_no_way_out(graphs: Graphs, stack: str) -> None:
    graph = graphs(stack)
    assert routes(graph, "data") == []
    acl = one(graph, "NetworkAcl", "network-data-acl")
    whole = one(graph, "Vpc", "network-vpc").get("cidrBlock")
    assert {r["cidrBlock"] for r in (*acl.get("ingress"), *acl.get("egress"))} == {whole}


CLOSED = {"secretsmanager", "kms", "logs", "monitoring", "sns", "sqs", "sts", "xray"}
# What machines of a cluster cannot do without ("Private cluster requirements"); every environment of the repository has one.
CLUSTER = {"ec2", "ecr.api", "ecr.dkr", "eks", "eks-auth", "ssm"}


def interfaces(graph: Graph) -> set[str]:
    """Services with an interface endpoint, of which each has one."""
    found = [r for r in kind(graph, "VpcEndpoint") if r.get("vpcEndpointType") == "Interface"]
    names = {r.get("serviceName").removeprefix("com.amazonaws.us-west-2.") for r in found}
    assert len(found) == len(names)
    # "Amazon VPC quotas": 50 interface endpoints a VPC.
    assert len(found) <= 50
    return names


@pytest.mark.parametrize("network", [{"egress": "deny"}, {"nat": "none"}])
def test_whoever_cannot_go_out_finds_all_services_inside(project: Path, network: dict[str, object]) -> None:
    copies = {"copies": {"nvcr.io": "mirror.example.com/nvcr"}}  # what no mirror reads
    assert interfaces(build(project, {"network": network, "registry": copies}, whole=True)) >= CLOSED | CLUSTER


@pytest.mark.parametrize(
    ("network", "found"),
    [
        ({}, {"secretsmanager"}),
        ({"private_services": ["sts", "sts", "logs"]}, {"sts", "logs"}),
        ({"private_services": []}, set()),
    ],
)
def test_interface_endpoints(project: Path, network: dict[str, object], found: set[str]) -> None:
    graph = build(project, {"network": network})
    assert interfaces(graph) == found
    groups = [r for r in kind(graph, "SecurityGroup") if r.name == "network-endpoints"]
    assert len(groups) == bool(found)
    # Rotation finds Secrets Manager inside the network, or has to go out for it.
    reach = one(graph, "SecurityGroupEgressRule", "secrets-rotation-https").get("cidrIpv4")
    assert reach == ("10.16.0.0/16" if "secretsmanager" in found else "0.0.0.0/0")


@pytest.mark.parametrize(
    ("features", "more"),
    [
        ([], set()),
        (["cluster"], CLUSTER),
        (["batch"], {"ec2", "ecr.api", "ecr.dkr", "ecs", "ecs-agent", "ecs-telemetry"}),
        (["notebooks"], {"sagemaker.api", "sagemaker.runtime"}),
        (["batch", "cluster"], {*CLUSTER, "ecs", "ecs-agent", "ecs-telemetry"}),
    ],
)
def test_a_closed_network_has_endpoints_for_what_is_in_it(features: list[Any], more: set[str]) -> None:
    for nat, egress in (("single", "deny"), ("none", "open")):
        found = services(nat=nat, egress=egress, features=features, wanted=None)
        assert set(found) == CLOSED | more
        assert len(found) == len(set(found))
    assert services(nat="single", egress="open", features=features, wanted=None) == ("secretsmanager",)


def test_what_is_private_stays_inside_whatever_other_way_there_is():
    assert services(nat="single", egress="open", features=[], private=["polly"], wanted=None) == (
        "secretsmanager",
        "polly",
    )
    closed = services(nat="none", egress="open", features=["cluster"], private=["polly", "ec2"], wanted=None)
    assert {"polly", *CLUSTER} < set(closed)
    assert services(nat="none", egress="open", features=[], private=["polly"], wanted=["sts"]) == ("sts",)


@pytest.mark.parametrize(
    ("organization", "own"), [(None, ("Account", "111111111111")), ("o-abcdefghij", ("OrgID", "o-abcdefghij"))]
)
def test_endpoints_let_only_our_own_through(project: Path, organization: str | None, own: tuple[str, str]) -> None:
    aws = {"account": "111111111111", "region": "us-west-2"} | ({"organization": organization} if organization else {})
    graph = build(project, {"cloud": {"aws": aws}})
    kind_, value = own
    for endpoint in kind(graph, "VpcEndpoint"):
        statement, *others = statements(endpoint)
        principal = {f"aws:Principal{kind_}": value}
        resource = {f"aws:Resource{kind_}": value} if endpoint.get("vpcEndpointType") == "Gateway" else {}
        assert statement["Condition"] == {"StringEquals": principal | resource}
        assert bool(others) == (endpoint.name == "network-endpoint-s3")


def test_layers_of_images_can_be_read_and_nothing_else_of_strangers(graphs: Graphs) -> None:
    """Without it every pull in a closed network fails after its manifest."""
    [_, layers] = statements(one(graphs("prod"), "VpcEndpoint", "network-endpoint-s3"))
    assert layers["Action"] == ["s3:GetObject"]
    assert layers["Resource"] == ["arn:aws:s3:::prod-us-west-2-starport-layer-bucket/*"]
    assert "Condition" not in layers


@pytest.mark.parametrize("stack", AWS)
def test_defaults_are_empty(graphs: Graphs, stack: str) -> None:
    graph = graphs(stack)
    group = one(graph, "DefaultSecurityGroup", "network-default-security-group")
    assert (group.get("ingress"), group.get("egress")) == ([], [])
    assert one(graph, "DefaultRouteTable", "network-default-routes").get("routes") == []
    assert len(kind(graph, "RouteTableAssociation")) == len(kind(graph, "Subnet"))


@pytest.mark.parametrize("stack", AWS)
def test_nothing_comes_in(graphs: Graphs, stack: str) -> None:
    graph = graphs(stack)
    whole = one(graph, "Vpc", "network-vpc").get("cidrBlock")
    groups = {r.urn for r in kind(graph, "SecurityGroup")}
    for rule in kind(graph, "SecurityGroupIngressRule"):
        assert not rule.get("cidrIpv6")
        assert not rule.get("prefixListId")
        # From the network itself, or from machines that have a group of ours.
        if rule.name.startswith("gateway-"):
            # The one door from the internet, and what it leads to.
            assert rule.get("cidrIpv4") != "0.0.0.0/0" or rule.get("toPort") in {80, 443}, rule.name
        elif rule.get("cidrIpv4"):
            assert rule.get("cidrIpv4") == whole
        else:
            assert rule.links("referencedSecurityGroupId") & groups, rule.name


@pytest.mark.parametrize(("stack", "days"), [("dev", 30), ("staging", 90), ("prod", 400)])
def test_flows_are_recorded_encrypted_and_leave_nothing(graphs: Graphs, stack: str, days: int) -> None:
    graph = graphs(stack)
    group = one(graph, "LogGroup", "network-flows")
    assert group.get("retentionInDays") == days
    assert group.property_dependencies["kmsKeyId"] == (one(graph, "Key", "keys-logs-key").urn,)
    log = one(graph, "FlowLog", "network-flow-log")
    assert waits_for(graph, log, one(graph, "RolePolicy", "network-flows-writer-policy"), group)
    allowed = [a for s in statements(one(graph, "RolePolicy", "network-flows-writer-policy")) for a in s["Action"]]
    assert "logs:CreateLogGroup" not in allowed
    [trust] = statements(one(graph, "Role", "network-flows-writer-role"), "assumeRolePolicy")
    assert trust["Principal"] == {"Service": "vpc-flow-logs.amazonaws.com"}
    assert set(trust["Condition"]) == {"StringEquals", "ArnLike"}


def test_flow_logs_can_be_switched_off(project: Path) -> None:
    graph = build(project, {"network": {"flow_logs": False}})
    assert not kind(graph, "FlowLog")
    assert not [r for r in kind(graph, "LogGroup") if "flows" in r.name]


@pytest.mark.parametrize("stack", AWS)
def test_who_uses_a_workload_subnet_finds_a_way_and_a_record(graphs: Graphs, stack: str) -> None:
    graph = graphs(stack)
    function = one(graph, "Function", "secrets-rotation-function")
    needed = [
        *kind(graph, "VpcEndpoint"),
        *[r for r in kind(graph, "RouteTableAssociation") if "private" in r.name],
        *[r for r in kind(graph, "Route") if "private" in r.name],
        *kind(graph, "FlowLog"),
        *[r for r in kind(graph, "SecurityGroupIngressRule") if r.name.startswith(("network-", "secrets-"))],
    ]
    assert waits_for(graph, function, *needed)
    assert not upstream(graph, one(graph, "FlowLog", "network-flow-log")) & {function.urn}


def test_nodes_and_load_balancers_are_led_to_their_subnets(graphs: Graphs) -> None:
    tags = {r.name: r.get("tags") for r in kind(graphs("dev"), "Subnet")}
    assert tags["network-private-usw2-az1"]["kubernetes.io/role/internal-elb"] == "1"
    assert tags["network-private-usw2-az1"]["karpenter.sh/discovery"] == "acme-ai-dev-cluster"
    assert tags["network-public-usw2-az1"]["kubernetes.io/role/elb"] == "1"
    assert set(tags["network-data-usw2-az1"]) == {"Name"}
    [provider] = [r for r in graphs("dev").resources.values() if r.type == "pulumi:providers:aws"]
    assert provider.get("ignoreTags") == {"keyPrefixes": ["kubernetes.io/cluster/"]}
