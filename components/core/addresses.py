"""How a network's range is divided: pure arithmetic, so that a range never depends on what a cloud answers."""

from dataclasses import dataclass
from ipaddress import IPv4Network

# The smallest range that leaves a useful subnet for each use (AWS: five addresses of each subnet are the cloud's own;
# Google: a range for pods has to hold at least one node's /24).
SMALLEST = {"aws": 20, "gcp": 19}
# The largest: a VPC of AWS takes a /16 at most ("VPC CIDR blocks"); Google's networks have no such bound, private space has.
LARGEST = {"aws": 16, "gcp": 8}


@dataclass(frozen=True, kw_only=True)
class AwsPlan:
    """Subnets of a VPC, one of each kind a zone, in the order of the zones."""

    private: tuple[IPv4Network, ...]
    data: tuple[IPv4Network, ...]
    public: tuple[IPv4Network, ...]


@dataclass(frozen=True, kw_only=True)
class GcpPlan:
    """Ranges of a regional network."""

    pods: IPv4Network
    nodes: IPv4Network
    services: IPv4Network
    data: IPv4Network
    producers: IPv4Network
    """Private services access: where Google's managed services get their addresses from."""
    proxies: IPv4Network
    """Proxy-only subnet of the regional load balancers."""


def share(cidr: IPv4Network, clouds: tuple[str, ...]) -> dict[str, IPv4Network]:
    """The part of an environment's range that each of its clouds gets: all of it, or a half each."""
    if len(clouds) == 1:
        return {clouds[0]: cidr}
    return dict(zip(clouds, cidr.subnets(prefixlen_diff=1), strict=True))


def aws_plan(cidr: IPv4Network, zones: int) -> AwsPlan:
    """Divide a VPC: half for workloads, a quarter for data stores, an eighth for what is public, the rest in reserve.

    >>> plan = aws_plan(IPv4Network("10.16.0.0/16"), 3)
    >>> [str(n) for n in plan.private]
    ['10.16.0.0/19', '10.16.32.0/19', '10.16.64.0/19']
    >>> str(plan.data[0]), str(plan.public[0])
    ('10.16.128.0/20', '10.16.192.0/21')
    """
    bits = (zones - 1).bit_length()
    private, rest = cidr.subnets(prefixlen_diff=1)
    data, rest = rest.subnets(prefixlen_diff=1)
    public, _ = rest.subnets(prefixlen_diff=1)
    return AwsPlan(
        private=tuple(private.subnets(prefixlen_diff=bits))[:zones],
        data=tuple(data.subnets(prefixlen_diff=bits))[:zones],
        public=tuple(public.subnets(prefixlen_diff=bits))[:zones],
    )


def gcp_plan(cidr: IPv4Network) -> GcpPlan:
    """Divide a network: half for pods, a quarter for nodes, and a sixteenth each for services, data stores and producers.

    >>> plan = gcp_plan(IPv4Network("10.64.0.0/16"))
    >>> str(plan.pods), str(plan.nodes), str(plan.services)
    ('10.64.0.0/17', '10.64.128.0/18', '10.64.192.0/20')
    """
    pods, rest = cidr.subnets(prefixlen_diff=1)
    nodes, rest = rest.subnets(prefixlen_diff=1)
    services, data, producers, proxies = rest.subnets(prefixlen_diff=2)
    return GcpPlan(
        pods=pods,
        nodes=nodes,
        services=services,
        data=data,
        producers=producers,
        proxies=next(proxies.subnets(prefixlen_diff=1)),
    )
