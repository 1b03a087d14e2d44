"""Rules on the network."""

from tests.policies.build import aws, bad, gcp, good, make, ref, thing

VPC = make("aws:ec2/vpc:Vpc", "vpc", inputs={"cidrBlock": "10.0.0.0/16"})
GROUP = make("aws:ec2/securityGroup:SecurityGroup", "group", inputs={"vpcId": ref(VPC, "id")})
NETWORK = make("gcp:compute/network:Network", "net", inputs={"name": "acme-dev", "autoCreateSubnetworks": False})


def ingress(**inputs):
    inputs = {"ipProtocol": "tcp", "fromPort": 22, "toPort": 22, "securityGroupId": ref(GROUP, "id"), **inputs}
    return make("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", inputs=inputs)


def egress(**inputs):
    inputs = {"ipProtocol": "tcp", "fromPort": 443, "toPort": 443, "securityGroupId": ref(GROUP, "id"), **inputs}
    return make("aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule", inputs=inputs)


def inline(**rule):
    return make("aws:ec2/securityGroup:SecurityGroup", inputs={"ingress": [rule]})


def firewall(**inputs):
    return make("gcp:compute/firewall:Firewall", inputs={"network": ref(NETWORK, "id"), **inputs})


POLICY = make("gcp:compute/networkFirewallPolicy:NetworkFirewallPolicy", "policy", inputs={"name": "acme-dev"})
ASSOCIATION = make(
    "gcp:compute/networkFirewallPolicyAssociation:NetworkFirewallPolicyAssociation",
    inputs={"attachmentTarget": ref(NETWORK, "id"), "firewallPolicy": "acme-dev"},
    comes_from={"firewallPolicy": POLICY},
)


def policy_rule(direction, action, *, ranges=None, layers=None, kind="networkFirewallPolicyRule", **inputs):
    match = {"layer4Configs": layers or [{"ipProtocol": "all"}]}
    if ranges:
        match["srcIpRanges" if direction == "INGRESS" else "destIpRanges"] = ranges
    match.update(inputs.pop("match", {}))
    return make(
        f"gcp:compute/{kind}:{kind[0].upper()}{kind[1:]}",
        inputs={"firewallPolicy": "acme-dev", "direction": direction, "action": action, "match": match, **inputs},
        comes_from={"firewallPolicy": POLICY},
    )


DENY_ALL = policy_rule("EGRESS", "deny", ranges=["0.0.0.0/0"])
S3 = make(
    "aws:ec2/vpcEndpoint:VpcEndpoint",
    inputs={"vpcId": ref(VPC, "id"), "serviceName": "com.amazonaws.us-west-2.s3"},
)


def subnetwork(**inputs):
    return make("gcp:compute/subnetwork:Subnetwork", inputs={"network": ref(NETWORK, "id"), **inputs})


def default_group(**inputs):
    return make("aws:ec2/defaultSecurityGroup:DefaultSecurityGroup", inputs={"vpcId": ref(VPC, "id"), **inputs})


def flow_log(**inputs):
    return make("aws:ec2/flowLog:FlowLog", inputs={"vpcId": ref(VPC, "id"), **inputs})


EIP = make("aws:ec2/eip:Eip", "nat", inputs={"domain": "vpc"})
NAT = make("aws:ec2/natGateway:NatGateway", inputs={"allocationId": ref(EIP, "id")})
SECOND_NAT = make("aws:ec2/natGateway:NatGateway", inputs={"secondaryAllocationIds": [ref(EIP, "id")]})
WEB = {"layers": [{"ipProtocol": "tcp", "ports": ["443"]}]}

FRONTS = make("aws:ec2/securityGroup:SecurityGroup", "fronts", inputs={"name": "acme-prod-fronts"})
FRONT = make("aws:lb/loadBalancer:LoadBalancer", inputs={"securityGroups": [ref(FRONTS, "id")]})
BESIDES = make("aws:ec2/instance:Instance", inputs={"vpcSecurityGroupIds": [ref(FRONTS, "id")]})


def of_fronts(**inputs):
    open_ = {"cidrIpv4": "0.0.0.0/0", "ipProtocol": "tcp", "fromPort": 443, "toPort": 443, **inputs}
    type_ = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
    return make(type_, inputs={"securityGroupId": ref(FRONTS, "id"), **open_})


CASES = [
    bad("network-closed", "ssh to the world", "tcp 22 is open to 0.0.0.0/0", ingress(cidrIpv4="0.0.0.0/0")),
    bad("network-closed", "ssh to the world by IPv6", "open to ::/0", ingress(cidrIpv6="::/0")),
    bad("network-closed", "half of the world", "open to 128.0.0.0/1", ingress(cidrIpv4="128.0.0.0/1")),
    bad("network-closed", "a range around ssh", "tcp 20-30", ingress(cidrIpv4="0.0.0.0/0", fromPort=20, toPort=30)),
    bad(
        "network-closed",
        "a range between web ports",
        "tcp 80-443",
        ingress(cidrIpv4="0.0.0.0/0", fromPort=80, toPort=443),
    ),
    bad(
        "network-closed",
        "every protocol",
        "every port of every protocol",
        ingress(cidrIpv4="0.0.0.0/0", ipProtocol="-1"),
    ),
    bad("network-closed", "no ports stated", "every port of tcp", ingress(cidrIpv4="0.0.0.0/0", fromPort=None)),
    bad(
        "network-closed",
        "443 by udp",
        "udp 443",
        ingress(cidrIpv4="0.0.0.0/0", ipProtocol="udp", fromPort=443, toPort=443),
    ),
    bad(
        "network-closed",
        "a range that another resource was given",
        "open to 0.0.0.0/0",
        make("aws:ec2/vpc:Vpc", "vpc", inputs={"cidrBlock": "0.0.0.0/0"}),
        ingress(cidrIpv4=ref(VPC, "cidrBlock")),
    ),
    bad(
        "network-closed",
        "a range that is not known",
        "is not known",
        VPC,
        ingress(cidrIpv4=ref(VPC, "other")),
        enforcement="advisory",
    ),
    bad(
        "network-closed",
        "within a group",
        "tcp 5432",
        inline(protocol="tcp", fromPort=5432, toPort=5432, cidrBlocks=["0.0.0.0/0"]),
    ),
    bad(
        "network-closed",
        "within a group, IPv6",
        "::/0",
        inline(protocol="-1", fromPort=0, toPort=0, ipv6CidrBlocks=["::/0"]),
    ),
    bad(
        "network-closed",
        "a rule of the old kind",
        "6 3389",
        make(
            "aws:ec2/securityGroupRule:SecurityGroupRule",
            inputs={"type": "ingress", "protocol": "6", "fromPort": 3389, "toPort": 3389, "cidrBlocks": ["0.0.0.0/0"]},
        ),
    ),
    bad(
        "network-closed",
        "a firewall without a source",
        "tcp 22",
        firewall(allows=[{"protocol": "tcp", "ports": ["22"]}]),
    ),
    bad(
        "network-closed",
        "a firewall rule for everything",
        "every port",
        firewall(allows=[{"protocol": "all"}], sourceRanges=["0.0.0.0/0"]),
    ),
    bad(
        "network-closed",
        "a policy rule",
        "tcp 3389",
        policy_rule("INGRESS", "allow", ranges=["0.0.0.0/0"], layers=[{"ipProtocol": "tcp", "ports": ["3389"]}]),
    ),
    bad("network-closed", "a policy rule without a source", "every port", policy_rule("INGRESS", "allow")),
    bad(
        "network-closed",
        "a regional policy rule",
        "every port",
        policy_rule("INGRESS", "allow", ranges=["0.0.0.0/0"], kind="regionNetworkFirewallPolicyRule"),
    ),
    bad(
        "network-closed",
        "a group whose rules are not known",
        "every port of every protocol is not known",
        VPC,
        make("aws:ec2/securityGroup:SecurityGroup", inputs={"ingress": ref(VPC, "rules")}),
        enforcement="advisory",
    ),
    bad(
        "network-closed",
        "a policy rule that is not known",
        "is not known",
        NETWORK,
        make(
            "gcp:compute/networkFirewallPolicyRule:NetworkFirewallPolicyRule",
            inputs={"direction": "INGRESS", "action": "allow", "match": ref(NETWORK, "match")},
        ),
        enforcement="advisory",
    ),
    bad(
        "prod-egress",
        "a range that is not known",
        "where tcp 443 leads",
        VPC,
        aws("prod"),
        egress(cidrIpv4=ref(VPC, "other")),
        enforcement="advisory",
    ),
    bad(
        "network-closed",
        "a range of something that is not there",
        "is not known",
        ingress(cidrIpv4=ref(VPC, "cidrBlock")),
        enforcement="advisory",
    ),
    bad(
        "network-closed",
        "ports that are no numbers",
        "every port of tcp",
        firewall(allows=[{"protocol": "tcp", "ports": ["22-ssh"]}]),
    ),
    good("network-closed", "the network itself", ingress(cidrIpv4="10.0.0.0/16")),
    good("network-closed", "another group", ingress(referencedSecurityGroupId=ref(GROUP, "id"))),
    good("network-closed", "https to the world", ingress(cidrIpv4="0.0.0.0/0", fromPort=443, toPort=443)),
    good("network-closed", "a range that another resource was given", VPC, ingress(cidrIpv4=ref(VPC, "cidrBlock"))),
    good("network-closed", "a way out", egress(cidrIpv4="0.0.0.0/0")),
    good("network-closed", "https by a policy rule", policy_rule("INGRESS", "allow", ranges=["0.0.0.0/0"], **WEB)),
    good(
        "network-closed",
        "a policy rule with another source",
        policy_rule("INGRESS", "allow", match={"srcSecureTags": [{"name": "t"}]}),
    ),
    good("network-closed", "a policy rule that denies", policy_rule("INGRESS", "deny", ranges=["0.0.0.0/0"])),
    good("network-closed", "a rule that is off", policy_rule("INGRESS", "allow", ranges=["10.0.0.0/8"], disabled=True)),
    good(
        "network-closed",
        "a firewall rule from tags",
        firewall(allows=[{"protocol": "tcp", "ports": ["22"]}], sourceTags=["bastion"]),
    ),
    good("network-closed", "a firewall rule that is off", firewall(allows=[{"protocol": "all"}], disabled=True)),
    good(
        "network-closed",
        "an old rule out",
        make(
            "aws:ec2/securityGroupRule:SecurityGroupRule",
            inputs={"type": "egress", "protocol": "-1", "cidrBlocks": ["0.0.0.0/0"]},
        ),
    ),
    bad("network-default-closed", "a VPC that leaves its group", "default security group", VPC),
    bad(
        "network-default-closed",
        "a default group that lets in",
        "ingress",
        VPC,
        default_group(ingress=[{"protocol": "-1"}]),
    ),
    bad(
        "network-default-closed",
        "a default group that lets out",
        "egress",
        VPC,
        default_group(egress=[{"protocol": "-1"}]),
    ),
    bad(
        "network-default-closed",
        "subnets everywhere",
        "every region",
        make("gcp:compute/network:Network", inputs={"name": "n"}),
    ),
    good("network-default-closed", "an empty default group", VPC, default_group()),
    good("network-default-closed", "a network without subnets", NETWORK),
    bad("network-flow-logs", "none in prod", "no flow log", aws("prod"), VPC),
    bad("network-flow-logs", "none in dev", "no flow log", aws("dev"), VPC, enforcement="advisory"),
    bad("network-flow-logs", "rejected traffic only", "leaves out", aws("prod"), VPC, flow_log(trafficType="REJECT")),
    bad("network-flow-logs", "a subnet without", "keeps no flow log", gcp("prod"), subnetwork()),
    good("network-flow-logs", "everything", aws("prod"), VPC, flow_log(trafficType="ALL")),
    good("network-flow-logs", "a subnet with", gcp("prod"), subnetwork(logConfig={"flowSampling": 0.5})),
    good("network-flow-logs", "a proxies' subnet", gcp("prod"), subnetwork(purpose="REGIONAL_MANAGED_PROXY")),
    bad(
        "network-no-public-address",
        "a public subnet",
        "gives a public address",
        make("aws:ec2/subnet:Subnet", inputs={"mapPublicIpOnLaunch": True}),
    ),
    bad("network-no-public-address", "an address without NAT", "no NAT gateway", EIP),
    bad(
        "network-no-public-address",
        "a public machine",
        "has a public",
        make("aws:ec2/instance:Instance", inputs={"associatePublicIpAddress": True}),
    ),
    bad(
        "network-no-public-address",
        "a public machine on Google Cloud",
        "has a public",
        make("gcp:compute/instance:Instance", inputs={"networkInterfaces": [{"accessConfigs": [{}]}]}),
    ),
    good(
        "network-no-public-address",
        "a private subnet",
        make("aws:ec2/subnet:Subnet", inputs={"mapPublicIpOnLaunch": False}),
    ),
    good("network-no-public-address", "an address of NAT", EIP, NAT),
    good("network-no-public-address", "a second address of NAT", EIP, SECOND_NAT),
    good(
        "network-no-public-address",
        "a private machine",
        make("aws:ec2/instance:Instance", inputs={"associatePublicIpAddress": False}),
    ),
    good(
        "network-no-public-address",
        "a private machine on Google Cloud",
        make("gcp:compute/instance:Instance", inputs={"networkInterfaces": [{"subnetwork": "s"}]}),
    ),
    bad("network-private-apis", "no endpoint", "no endpoint for S3", VPC),
    bad(
        "network-private-apis",
        "another endpoint",
        "no endpoint for S3",
        VPC,
        make(
            "aws:ec2/vpcEndpoint:VpcEndpoint",
            inputs={"vpcId": ref(VPC, "id"), "serviceName": "com.amazonaws.us-west-2.s3express"},
        ),
    ),
    bad("network-private-apis", "no private access", "Private Google Access", subnetwork()),
    good("network-private-apis", "an endpoint", VPC, S3),
    good("network-private-apis", "private access", subnetwork(privateIpGoogleAccess=True)),
    good("network-private-apis", "a proxies' subnet", subnetwork(purpose="REGIONAL_MANAGED_PROXY")),
    bad("prod-egress", "out to the world", "tcp 443 is open", aws("prod"), egress(cidrIpv4="0.0.0.0/0")),
    bad(
        "prod-egress", "of a front", "tcp 443 is open", aws("prod"), FRONTS, FRONT, of_fronts(), enforcement="advisory"
    ),
    bad(
        "prod-egress",
        "every port of a front",
        "tcp 1-65535",
        aws("prod"),
        FRONTS,
        FRONT,
        of_fronts(fromPort=1, toPort=65535),
    ),
    bad("prod-egress", "of a front and more", "tcp 443 is open", aws("prod"), FRONTS, FRONT, BESIDES, of_fronts()),
    bad("prod-egress", "out to the world, no tier said", "tcp 443 is open", egress(cidrIpv4="0.0.0.0/0")),
    bad("prod-egress", "a network without a denial", "no rule of its firewall", gcp("prod"), NETWORK),
    bad(
        "prod-egress",
        "a denial of one port",
        "no rule of its firewall",
        gcp("prod"),
        NETWORK,
        POLICY,
        ASSOCIATION,
        policy_rule("EGRESS", "deny", ranges=["0.0.0.0/0"], **WEB),
    ),
    bad(
        "prod-egress",
        "a denial that is off",
        "no rule of its firewall",
        gcp("prod"),
        NETWORK,
        POLICY,
        ASSOCIATION,
        policy_rule("EGRESS", "deny", ranges=["10.0.0.0/8"], disabled=True),
    ),
    bad("prod-egress", "a policy of no network", "no rule of its firewall", gcp("prod"), NETWORK, POLICY, DENY_ALL),
    good("prod-egress", "out to the network", aws("prod"), egress(cidrIpv4="10.0.0.0/16")),
    good("prod-egress", "out to the world in dev", aws("dev"), egress(cidrIpv4="0.0.0.0/0")),
    good("prod-egress", "a denial by the policy", gcp("prod"), NETWORK, POLICY, ASSOCIATION, DENY_ALL),
    good(
        "prod-egress",
        "a denial by the firewall",
        gcp("prod"),
        NETWORK,
        firewall(direction="EGRESS", denies=[{"protocol": "all"}]),
    ),
    bad(
        "network-no-public-address",
        "machines of a template",
        "have public addresses",
        make(
            "aws:ec2/launchTemplate:LaunchTemplate",
            inputs={"networkInterfaces": [{"deviceIndex": 0}, {"associatePublicIpAddress": "true"}]},
        ),
    ),
    bad(
        "network-no-public-address",
        "machines of Karpenter",
        "have public addresses",
        thing("karpenter.k8s.aws/v1:EC2NodeClass", spec={"associatePublicIPAddress": True}),
    ),
    good(
        "network-no-public-address",
        "machines without",
        make(
            "aws:ec2/launchTemplate:LaunchTemplate", inputs={"networkInterfaces": [{"associatePublicIpAddress": False}]}
        ),
        thing("karpenter.k8s.aws/v1:EC2NodeClass", spec={"associatePublicIPAddress": False}),
    ),
]
