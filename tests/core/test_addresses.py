"""Ranges are divided without overlap, whatever their size."""

from ipaddress import IPv4Network, collapse_addresses
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from components.core.addresses import LARGEST, SMALLEST, aws_plan, gcp_plan, share


def ranges(cloud: str) -> st.SearchStrategy[IPv4Network]:
    """Ranges of 10.0.0.0/8 that a cloud takes."""

    def network(prefix: int) -> st.SearchStrategy[IPv4Network]:
        return st.integers(0, 2 ** (prefix - 8) - 1).map(
            lambda i: IPv4Network((int(IPv4Network("10.0.0.0/8").network_address) + i * 2 ** (32 - prefix), prefix))
        )

    return st.integers(LARGEST[cloud], SMALLEST[cloud]).flatmap(network)


def disjoint_within(cidr: IPv4Network, parts: list[IPv4Network]) -> None:
    assert all(part.subnet_of(cidr) for part in parts), (cidr, parts)
    assert not [pair for pair in combinations(parts, 2) if pair[0].overlaps(pair[1])], (cidr, parts)


@given(ranges("aws"), st.integers(1, 6))
def test_a_vpc_has_a_subnet_of_each_kind_in_each_zone(cidr: IPv4Network, zones: int):
    plan = aws_plan(cidr, zones)
    assert [len(kind) for kind in (plan.private, plan.data, plan.public)] == [zones] * 3
    parts = [*plan.private, *plan.data, *plan.public]
    disjoint_within(cidr, parts)
    assert all(part.prefixlen <= 28 for part in parts)  # the smallest subnet of a VPC


@given(ranges("gcp"))
def test_a_network_of_google_has_room_for_pods_nodes_and_services(cidr: IPv4Network):
    plan = gcp_plan(cidr)
    disjoint_within(cidr, [plan.pods, plan.nodes, plan.services, plan.data, plan.producers, plan.proxies])
    assert plan.pods.prefixlen <= 20
    assert (
        plan.producers.prefixlen <= 24
    )  # "Configure private services access": /24 is the smallest that every service takes
    assert plan.proxies.prefixlen <= 26  # "Proxy-only subnets": 64 addresses at least


def test_two_clouds_get_a_half_each():
    cidr = IPv4Network("10.16.0.0/16")
    assert share(cidr, ("gcp",)) == {"gcp": cidr}
    parts = share(cidr, ("aws", "gcp"))
    assert list(collapse_addresses(parts.values())) == [cidr]
    disjoint_within(cidr, list(parts.values()))
