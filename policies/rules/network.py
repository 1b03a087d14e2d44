"""Who can reach the environment from outside, and where its workloads can go."""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_network
from typing import Any

from policies.context import is_prod, items, mapping, maps, resolve
from policies.model import Graph, Resource, is_unknown
from policies.rule import Found, Violation, resource_rule

SECURITY_GROUP = "aws:ec2/securityGroup:SecurityGroup"
SECURITY_GROUP_RULE = "aws:ec2/securityGroupRule:SecurityGroupRule"
INGRESS_RULE = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
EGRESS_RULE = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
LOAD_BALANCER = "aws:lb/loadBalancer:LoadBalancer"
VPC = "aws:ec2/vpc:Vpc"
SUBNET = "aws:ec2/subnet:Subnet"
EIP = "aws:ec2/eip:Eip"
NAT_GATEWAY = "aws:ec2/natGateway:NatGateway"
INSTANCE = "aws:ec2/instance:Instance"
ECS_SERVICE = "aws:ecs/service:Service"
LAUNCH_TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
NODE_CLASS = "kubernetes:karpenter.k8s.aws/v1:EC2NodeClass"
DEFAULT_SECURITY_GROUP = "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"
FLOW_LOG = "aws:ec2/flowLog:FlowLog"
VPC_ENDPOINT = "aws:ec2/vpcEndpoint:VpcEndpoint"
FIREWALL = "gcp:compute/firewall:Firewall"
POLICY_RULE = "gcp:compute/networkFirewallPolicyRule:NetworkFirewallPolicyRule"
REGION_POLICY_RULE = "gcp:compute/regionNetworkFirewallPolicyRule:RegionNetworkFirewallPolicyRule"
POLICY_ASSOCIATION = "gcp:compute/networkFirewallPolicyAssociation:NetworkFirewallPolicyAssociation"
GCP_NETWORK = "gcp:compute/network:Network"
SUBNETWORK = "gcp:compute/subnetwork:Subnetwork"
GCP_INSTANCE = "gcp:compute/instance:Instance"

WEB = {80, 443}
"""Ports that a public front door may have; anything else is administration or a service nobody outside should see."""

# Subnetworks of these purposes hold no machines and take no flow log (Compute API, subnetworks.purpose and logConfig).
_WITHOUT_MACHINES = {"REGIONAL_MANAGED_PROXY", "GLOBAL_MANAGED_PROXY", "PRIVATE_SERVICE_CONNECT", "PRIVATE_NAT"}

# Source filters other than ranges (Compute API, firewallPolicies.rules.match).
_OTHER_SOURCES = (
    "srcAddressGroups",
    "srcFqdns",
    "srcNetworks",
    "srcRegionCodes",
    "srcSecureTags",
    "srcThreatIntelligences",
)


@dataclass(frozen=True, slots=True)
class Opening:
    """What a firewall rule lets through: addresses of the other side, and ports by protocol."""

    ranges: tuple[Any, ...]
    protocol: str
    low: int
    high: int

    @property
    def web_only(self) -> bool:
        """Whether only web ports are open."""
        return (
            self.protocol in {"tcp", "6"}
            and all(port in WEB for port in (self.low, self.high))
            and self.low == self.high
        )

    @property
    def ports(self) -> str:
        """The ports for a person."""
        if (self.low, self.high) == (0, 65535):
            return f"every port of {'every protocol' if self.protocol == 'all' else self.protocol}"
        return f"{self.protocol} {self.low}" + ("" if self.low == self.high else f"-{self.high}")


def _aws_opening(rule: Any, ranges: list[Any], protocol: str) -> Opening:
    if str(rule.get(protocol, "-1")).lower() in {"-1", "all"}:
        return Opening(tuple(ranges), "all", 0, 65535)
    low, high = rule.get("fromPort"), rule.get("toPort")
    named = isinstance(low, int | float) and isinstance(high, int | float) and low >= 0
    return Opening(tuple(ranges), str(rule[protocol]).lower(), *((int(low), int(high)) if named else (0, 65535)))


def _unknown_opening(*values: Any) -> Iterator[Opening]:
    """What is not known could open everything: it stands as a range that is not known either."""
    for value in values:
        if is_unknown(value):
            yield Opening((value,), "all", 0, 65535)


def _gcp_openings(ranges: list[Any], layers: Any, protocol: str) -> Iterator[Opening]:
    yield from _unknown_opening(layers)
    for layer in maps(layers):
        for text in items(layer.get("ports")) or ["0-65535"]:
            low, _, high = str(text).partition("-")
            known = low.isdigit() and (high or low).isdigit()
            span = (int(low), int(high or low)) if known else (0, 65535)
            yield Opening(tuple(ranges), str(layer.get(protocol, "all")).lower(), *span)


def _security_group(resource: Resource, *, inbound: bool) -> Iterator[Opening]:
    """Of a security group, and of a rule of one, of either kind."""
    get = resource.inputs.get
    if resource.type == (INGRESS_RULE if inbound else EGRESS_RULE):
        yield _aws_opening(resource.inputs, [get(k) for k in ("cidrIpv4", "cidrIpv6") if get(k)], "ipProtocol")
    elif resource.type == SECURITY_GROUP:
        rules = get("ingress" if inbound else "egress")
        yield from _unknown_opening(rules)
        for rule in maps(rules):
            yield _aws_opening(rule, [*items(rule.get("cidrBlocks")), *items(rule.get("ipv6CidrBlocks"))], "protocol")
    elif resource.type == SECURITY_GROUP_RULE and (get("type") == "ingress") == inbound:
        yield _aws_opening(resource.inputs, [*items(get("cidrBlocks")), *items(get("ipv6CidrBlocks"))], "protocol")


def _firewall(resource: Resource, *, inbound: bool, action: str) -> Iterator[Opening]:
    get = resource.inputs.get
    if (get("direction", "INGRESS") == "INGRESS") != inbound or get("disabled") is True:
        return
    others = inbound and bool(get("sourceTags") or get("sourceServiceAccounts"))
    ranges = items(get("sourceRanges" if inbound else "destinationRanges"))
    everyone = [] if others else ["0.0.0.0/0"]
    yield from _gcp_openings(ranges or everyone, get("allows" if action == "allow" else "denies"), "protocol")


def _policy_rule(resource: Resource, *, inbound: bool, action: str) -> Iterator[Opening]:
    get = resource.inputs.get
    if (get("direction") == "INGRESS") != inbound or get("action") != action or get("disabled") is True:
        return
    yield from _unknown_opening(get("match"))
    match = mapping(get("match"))
    others = inbound and any(match.get(key) for key in _OTHER_SOURCES)
    ranges = items(match.get("srcIpRanges" if inbound else "destIpRanges"))
    everyone = [] if others else ["0.0.0.0/0"]
    yield from _gcp_openings(ranges or everyone, match.get("layer4Configs"), "ipProtocol")


def openings(resource: Resource, *, inbound: bool, action: str = "allow") -> Iterator[Opening]:
    """What a resource of any firewall type lets in or out; with `action="deny"`, what it refuses (Google Cloud)."""
    if resource.type == FIREWALL:
        yield from _firewall(resource, inbound=inbound, action=action)
    elif resource.type in {POLICY_RULE, REGION_POLICY_RULE}:
        yield from _policy_rule(resource, inbound=inbound, action=action)
    elif action == "allow":
        yield from _security_group(resource, inbound=inbound)


def is_anywhere(range_: Any) -> bool:
    """Whether a range is the internet, or so much of it that a few such make it up (`0.0.0.0/1`)."""
    try:
        network = ip_network(str(range_), strict=False)
    except ValueError:
        return False
    return network.prefixlen < (8 if isinstance(network, IPv4Network) else 16)


@resource_rule(
    "network-closed",
    title="Nothing but a web port is open to the internet",
    types=(INGRESS_RULE, SECURITY_GROUP, SECURITY_GROUP_RULE, FIREWALL, POLICY_RULE, REGION_POLICY_RULE),
    severity="critical",
    why="An administration or database port that the whole internet can reach is found within minutes and attacked for ever.",
    remedy="Name the ranges, or the security group, that really has to reach it.",
    controls={
        "cis-aws": ("6.3", "6.4"),
        "cis-gcp": ("3.6", "3.7"),
        "aws-fsbp": ("EC2.13", "EC2.14", "EC2.18", "EC2.19"),
        "soc2": ("CC6.6",),
        "iso-27001": ("A.8.20",),
        "eu-ai-act": ("15",),
    },
)
def network_closed(resource: Resource, graph: Graph) -> Found:
    """Each opening to the internet; a range that is not yet known is said to be unknown, never taken as closed."""
    for opening in openings(resource, inbound=True):
        if opening.web_only:
            continue
        for given in opening.ranges:
            range_ = resolve(given, graph)
            if is_anywhere(range_):
                yield f"{opening.ports} is open to {range_}"
            elif is_unknown(range_):
                yield Violation(
                    f"who may reach {opening.ports} is not known before the deployment", enforcement="advisory"
                )


@resource_rule(
    "network-default-closed",
    title="A network comes with no doors of its own",
    types=(VPC, DEFAULT_SECURITY_GROUP, GCP_NETWORK),
    severity="high",
    why="What is put into a network without a thought lands in its default group or subnet, and is open by accident.",
    remedy="AWS: a DefaultSecurityGroup of the VPC without rules. Google Cloud: auto_create_subnetworks=False.",
    controls={
        "cis-aws": ("6.5",),
        "cis-gcp": ("3.1",),
        "aws-fsbp": ("EC2.2",),
        "soc2": ("CC6.6",),
        "iso-27001": ("A.8.20", "A.8.22"),
    },
)
def network_default_closed(resource: Resource, graph: Graph) -> Found:
    """A VPC whose default group is not taken over, a default group with rules, a network with subnets of its own."""
    if resource.type == VPC and not graph.linked(resource.urn, DEFAULT_SECURITY_GROUP, "vpcId"):
        yield "its default security group is not taken over, so it lets everything in it talk"
    if resource.type == DEFAULT_SECURITY_GROUP:
        for way in ("ingress", "egress"):
            if resource.inputs.get(way):
                yield f"the default security group has {way} rules"
    if resource.type == GCP_NETWORK and resource.get("autoCreateSubnetworks") is not False:
        yield "it makes a subnet in every region by itself"


@resource_rule(
    "network-flow-logs",
    title="Every flow is recorded",
    types=(VPC, SUBNETWORK),
    severity="medium",
    why="Without flow logs nobody can say after an incident what left the network.",
    remedy="network.flow_logs: true in the stack's file.",
    controls={
        "cis-aws": ("4.7",),
        "cis-gcp": ("3.10",),
        "aws-fsbp": ("EC2.6",),
        "soc2": ("CC7.2",),
        "iso-27001": ("A.8.15", "A.8.16"),
        "eu-ai-act": ("12",),
    },
)
def network_flow_logs(resource: Resource, graph: Graph) -> Found:
    """Mandatory in prod; elsewhere an environment may do without, and is told so."""
    enforcement = "mandatory" if is_prod(graph) else "advisory"
    if resource.type == VPC:
        logs = graph.linked(resource.urn, FLOW_LOG, "vpcId")
        if not logs:
            yield Violation("no flow log covers it", enforcement=enforcement)
        elif all(str(log.get("trafficType")) in {"ACCEPT", "REJECT"} for log in logs):
            yield Violation("its flow log leaves out part of the traffic", enforcement=enforcement)
    elif str(resource.get("purpose")) not in _WITHOUT_MACHINES and not resource.get("logConfig"):
        yield Violation("it keeps no flow log", enforcement=enforcement)


@resource_rule(
    "network-no-public-address",
    title="No workload has a public address",
    types=(SUBNET, EIP, INSTANCE, LAUNCH_TEMPLATE, NODE_CLASS, ECS_SERVICE, GCP_INSTANCE),
    severity="high",
    why="A public address makes every mistake in a firewall reachable.",
    remedy="Private subnets and NAT; an Elastic IP only for a NAT gateway.",
    controls={
        "cis-gcp": ("4.9",),
        "aws-fsbp": ("EC2.9", "EC2.15", "EC2.25", "ECS.2"),
        "cis-eks": ("5.4.3",),
        "soc2": ("CC6.6",),
        "iso-27001": ("A.8.20",),
    },
)
def network_no_public_address(resource: Resource, graph: Graph) -> Found:
    """A subnet that hands addresses out, an address that no NAT gateway uses, a machine with one."""
    if resource.type == SUBNET and resource.get("mapPublicIpOnLaunch", False) is not False:
        yield "it gives a public address to whatever starts in it"
    if resource.type == EIP:
        used = graph.linked(resource.urn, NAT_GATEWAY, "allocationId")
        if not used and not graph.linked(resource.urn, NAT_GATEWAY, "secondaryAllocationIds"):
            yield "no NAT gateway uses this public address"
    if resource.type == INSTANCE and resource.get("associatePublicIpAddress", False) is not False:
        yield "the machine has a public address"
    if resource.type == LAUNCH_TEMPLATE:
        for interface in maps(resource.get("networkInterfaces")):
            if str(interface.get("associatePublicIpAddress", False)).lower() != "false":
                yield "its machines have public addresses"
    if resource.type == NODE_CLASS and resource.get("spec.associatePublicIPAddress", False) is not False:
        yield "its machines have public addresses"
    if resource.type == ECS_SERVICE and resource.get("networkConfiguration.assignPublicIp", False) is not False:
        yield "its tasks have public addresses"
    if resource.type == GCP_INSTANCE:
        for interface in maps(resource.get("networkInterfaces")):
            if interface.get("accessConfigs") or interface.get("ipv6AccessConfigs"):
                yield "the machine has a public address"


@resource_rule(
    "network-private-apis",
    title="The cloud's own services are reached without the internet",
    types=(VPC, SUBNETWORK),
    severity="medium",
    why="Training data that goes to the object store by way of NAT is billed by the byte and leaves the private network.",
    remedy="AWS: a gateway endpoint for S3 in every VPC. Google Cloud: private_ip_google_access=True on every subnet.",
    controls={"cis-aws": ("6.8",), "aws-fsbp": ("EC2.10",), "soc2": ("CC6.7",), "iso-27001": ("A.8.21",)},
)
def network_private_apis(resource: Resource, graph: Graph) -> Found:
    """A VPC without a way to S3 of its own, a subnet without Private Google Access."""
    if resource.type == VPC:
        services = [str(e.get("serviceName", "")) for e in graph.linked(resource.urn, VPC_ENDPOINT, "vpcId")]
        if not any(service.endswith(".s3") for service in services):
            yield "it has no endpoint for S3"
    elif str(resource.get("purpose")) not in _WITHOUT_MACHINES and resource.get("privateIpGoogleAccess") is not True:
        yield "Private Google Access is off"


@resource_rule(
    "prod-egress",
    title="In prod, workloads go only where they are told to",
    types=(EGRESS_RULE, SECURITY_GROUP, SECURITY_GROUP_RULE, GCP_NETWORK),
    severity="high",
    why="A stolen model or data set leaves by an open way out; a poisoned package calls home by it.",
    remedy="network.egress: deny, with the exceptions in network.allow.",
    controls={"soc2": ("CC6.6", "CC6.7"), "iso-27001": ("A.8.12", "A.8.22"), "gdpr": ("32",), "eu-ai-act": ("15",)},
)
def prod_egress(resource: Resource, graph: Graph) -> Found:
    """On AWS what is not allowed is denied; on Google Cloud everything is allowed until a rule denies it.

    A load balancer that checks tokens reads their issuer's keys from the internet, and runs nobody's code: that is only told.
    """
    if not is_prod(graph):
        return
    for opening in openings(resource, inbound=False):
        ranges = [resolve(range_, graph) for range_ in opening.ranges]
        if any(is_anywhere(range_) for range_ in ranges):
            front = opening.web_only and _of_a_front(resource, graph)
            enforcement = "advisory" if front else None
            yield Violation(f"{opening.ports} is open to the whole internet", enforcement=enforcement)
        elif any(is_unknown(range_) for range_ in ranges):
            yield Violation(f"where {opening.ports} leads is not known before the deployment", enforcement="advisory")
    if resource.type == GCP_NETWORK and not any(
        opening.protocol == "all" and any(is_anywhere(r) for r in opening.ranges)
        for rule in _rules_of(resource, graph)
        for opening in openings(rule, inbound=False, action="deny")
    ):
        yield "no rule of its firewall denies what is not allowed to leave"


def _of_a_front(rule: Resource, graph: Graph) -> bool:
    """Whether a rule is of a security group that load balancers have and nothing else."""
    users = [
        user
        for group in rule.links("securityGroupId")
        for user in graph.referring(group)
        if user.type not in {INGRESS_RULE, EGRESS_RULE, SECURITY_GROUP_RULE}
    ]
    return bool(users) and all(user.type == LOAD_BALANCER for user in users)


def _rules_of(network: Resource, graph: Graph) -> Iterator[Resource]:
    yield from graph.linked(network.urn, FIREWALL, "network")
    for association in graph.linked(network.urn, POLICY_ASSOCIATION, "attachmentTarget"):
        for policy in association.links("firewallPolicy"):
            yield from graph.linked(policy, POLICY_RULE, "firewallPolicy")
