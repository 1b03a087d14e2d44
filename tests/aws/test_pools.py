"""Pools: what work finds on a machine, what is never exceeded, and what a change of the description does to machines."""

import base64
import json
from collections.abc import Mapping
from email import message_from_string
from email.message import Message
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.aws.training.pools import flavor, managed, node_pool, taints
from components.core import eks
from components.core.accelerators import machine
from components.spec.capacity import Capacity, PoolPlan
from policies.model import Graph, Resource
from tests.aws.building import kind, one
from tests.aws.clusters import TAGS, cluster, of
from tests.spec.test_capacity import environment, pool

H100: Mapping[str, Any] = {"type_": "nvidia-h100", "per_node": 8}
BLOCK = {
    "block": "cr-0456", "nodes": 2, "zone": "usw2-az2", "starts": "2026-07-01T13:30:00+02:00", "ends": "2026-07-08T11:30:00Z",
}  # fmt: skip
POOLS: Mapping[str, Any] = {
    "l4": pool(8, capacity=["spot", "on-demand"], team="vision"),
    "mixed": pool(8, capacity=[{"reserved": "cr-0aaa"}, {"reserved": "cr-0bbb"}, "spot", "on-demand"]),
    "shared": {
        "accelerator": {"type": "nvidia-l4", "sharing": {"kind": "time-slicing", "replicas": 4}},
        "nodes": {"max": 2},
    },
    "parts": {
        "accelerator": {"type": "nvidia-h100", "per_node": 8, "sharing": {"kind": "mig", "profile": "3g.40gb"}},
        "nodes": {"max": 1},
    },
    "fast": pool(4, interconnect="fast", **H100),
    "held": pool(5, capacity=[{"reserved": "cr-0123", "nodes": 3}, BLOCK], interconnect="fast", team="risk", **H100),
    "trn": pool(1, type_="aws-trainium", per_node=16),
    "cpu": {"machine": "m7i.2xlarge", "nodes": {"max": 3}},
}
KARPENTER = ("l4", "mixed", "shared", "parts", "fast", "trn", "cpu")
# Properties of a managed group that EKS cannot change ("UpdateNodegroupConfig" and "UpdateNodegroupVersion" take none of them),
# and the template's only one, its name. May only get shorter.
REPLACES = {
    "amiType",
    "capacityType",
    "clusterName",
    "diskSize",
    "instanceTypes",
    "nodeGroupName",
    "nodeRoleArn",
    "subnetIds",
}


def parts(data: str) -> list[tuple[str, str]]:
    """Kind and text of each part of user data."""
    found = message_from_string(data).get_payload()
    assert isinstance(found, list)
    return [(part.get_content_type(), str(part.get_payload())) for part in found if isinstance(part, Message)]


@pytest.fixture(scope="module")
def graph() -> Graph:
    return cluster(pools=POOLS)


def plans(**pools: Any) -> Mapping[str, PoolPlan]:
    return Capacity(environment(pools=pools), "aws").pools


def spec(graph: Graph, name: str) -> dict[str, Any]:
    return of(graph, "NodePool", f"pools-{name}-pool").get("spec")


def klass(graph: Graph, name: str) -> dict[str, Any]:
    return of(graph, "EC2NodeClass", f"pools-{name}-class").get("spec")


def wanted(graph: Graph, name: str) -> dict[str, list[str]]:
    return {r["key"]: r["values"] for r in spec(graph, name)["template"]["spec"]["requirements"]}


def test_a_pool_with_a_market_is_karpenters_and_one_of_reservations_alone_is_groups(graph: Graph) -> None:
    pools = [r.name for r in graph.resources.values() if r.type.endswith(":NodePool")]
    assert pools == [f"pools-{name}-pool" for name in sorted(KARPENTER)]
    groups = {g.name for g in kind(graph, "NodeGroup")} - {"cluster-system"}
    assert groups == {"pools-held-reserved", "pools-held-block"}


@pytest.mark.parametrize("name", KARPENTER)
def test_no_pool_is_without_a_ceiling(graph: Graph, name: str) -> None:
    plan = Capacity(environment(pools=POOLS), "aws").pools[name]
    found = spec(graph, name)["limits"]
    assert found["nodes"] == str(plan.max)
    assert found.get(plan.resource or "", str(plan.devices)) == str(plan.devices)
    assert set(found) == {"nodes", *([plan.resource] if plan.resource else [])}


def test_markets_and_reservations_become_what_karpenter_calls_them(graph: Graph) -> None:
    assert wanted(graph, "l4")["karpenter.sh/capacity-type"] == ["spot", "on-demand"]
    assert wanted(graph, "mixed")["karpenter.sh/capacity-type"] == ["reserved", "spot", "on-demand"]
    assert klass(graph, "mixed")["capacityReservationSelectorTerms"] == [{"id": "cr-0aaa"}, {"id": "cr-0bbb"}]
    # Without terms Karpenter never looks for a reservation.
    assert "capacityReservationSelectorTerms" not in klass(graph, "l4")


MINE = {"karpenter.sh/discovery": "acme-ai-dev-cluster"}


def test_a_spot_pool_has_several_machine_types_in_all_its_zones(graph: Graph) -> None:
    types = wanted(graph, "l4")["node.kubernetes.io/instance-type"]
    assert len(types) > 1
    assert all((m := machine("aws", t)) and (m.accelerator, m.count) == ("nvidia-l4", 1) for t in types)
    assert wanted(graph, "l4")["topology.k8s.aws/zone-id"] == ["usw2-az1", "usw2-az2"]
    assert klass(graph, "l4")["subnetSelectorTerms"] == [{"tags": MINE}]


def test_a_machine_that_karpenter_starts_is_closed_and_its_disk_encrypted(graph: Graph) -> None:
    group = one(graph, "SecurityGroup", "cluster-machines")
    for name in KARPENTER:
        found = klass(graph, name)
        assert found["metadataOptions"] == {
            "httpEndpoint": "enabled", "httpProtocolIPv6": "disabled", "httpPutResponseHopLimit": 1, "httpTokens": "required",
        }  # fmt: skip
        [disk] = found["blockDeviceMappings"]
        assert disk["ebs"]["encrypted"] is True
        assert disk["ebs"]["kmsKeyID"].endswith("key/compute")
        assert disk["ebs"]["volumeSize"] == "200Gi"
        assert found["associatePublicIPAddress"] is False
        # By the tag that the cluster's own group has, and that of no other environment.
        assert found["securityGroupSelectorTerms"] == [{"tags": MINE}]
        assert MINE.items() <= group.get("tags").items()
        # A role would have Karpenter make instance profiles.
        assert found["instanceProfile"] == "acme-ai-dev-pools-machines"
        assert "role" not in found
        [image] = found["amiSelectorTerms"]
        assert image["alias"].startswith("al2023@v20")
        assert found["tags"].items() >= {**TAGS, "pool": name}.items()


def test_work_is_not_moved_to_save_money_and_machines_do_not_grow_old(graph: Graph) -> None:
    found = spec(graph, "l4")
    assert found["disruption"] == {
        "consolidationPolicy": "WhenEmpty",
        "consolidateAfter": "10m",
        "budgets": [
            {"nodes": "100%", "reasons": ["Empty"]},
            {"nodes": "0", "reasons": ["Drifted", "Underutilized"]},
        ],
    }
    assert found["template"]["spec"]["expireAfter"] == "720h"
    # Without it a pod that may not be disturbed holds a destroy up for ever.
    assert found["template"]["spec"]["terminationGracePeriod"] == "30m"


def test_only_work_of_a_pool_lands_on_it_and_finds_it(graph: Graph) -> None:
    built = {p.name: p for p in Capacity(environment(pools=POOLS), "aws").pools.values()}
    for name in KARPENTER:
        found = spec(graph, name)["template"]
        told = flavor(built[name])
        assert found["metadata"]["labels"].items() >= told.labels.items()
        assert found["spec"]["taints"] == list(told.taints)
    for label in ("reserved", "block"):
        group = one(graph, "NodeGroup", f"pools-held-{label}")
        told = flavor(built["held"])
        assert group.get("labels").items() >= told.labels.items()
        assert [{**t, "effect": "NoSchedule"} for t in group.get("taints")] == list(told.taints)
        assert {t["effect"] for t in group.get("taints")} == {"NO_SCHEDULE"}
    assert [t["key"] for t in taints(built["trn"])] == ["aws.amazon.com/neuron", "ai-platform.io/pool"]
    assert [t["key"] for t in taints(built["cpu"])] == ["ai-platform.io/pool"]


def test_topology_is_told_only_where_machines_stand() -> None:
    built = plans(**POOLS)
    assert flavor(built["held"]).topology[0] == "topology.k8s.aws/network-node-layer-1"
    assert flavor(built["fast"]).topology == ()
    assert not any(flavor(plan).queued for plan in built.values())


def test_shared_accelerators_are_configured_by_label_and_cut_before_the_kubelet_starts(graph: Graph) -> None:
    for name in ("shared", "parts"):
        assert spec(graph, name)["template"]["metadata"]["labels"]["nvidia.com/device-plugin.config"] == name
    assert "nvidia.com/device-plugin.config" not in spec(graph, "l4")["template"]["metadata"]["labels"]
    assert spec(graph, "shared")["limits"]["nvidia.com/gpu"] == "8"
    assert "userData" not in klass(graph, "shared")
    [(type_, script)] = parts(klass(graph, "parts")["userData"])
    assert type_ == "text/x-shellscript"
    assert "nvidia-smi mig -cgi 3g.40gb,3g.40gb -C" in script


def test_local_disks_are_one(graph: Graph) -> None:
    assert klass(graph, "l4")["instanceStorePolicy"] == "RAID0"
    assert "instanceStorePolicy" not in klass(graph, "cpu")
    data = base64.b64decode(one(graph, "LaunchTemplate", "pools-held-block").get("userData")).decode()
    [(type_, config)] = parts(data)
    assert type_ == "application/node.eks.aws"
    assert "strategy: RAID0" in config


def test_fast_machines_are_side_by_side_with_every_interface_of_their_fabric(graph: Graph) -> None:
    placement = one(graph, "PlacementGroup", "pools-fast-placement")
    assert placement.get("strategy") == "cluster"
    found = klass(graph, "fast")
    assert found["placementGroupSelector"] == {"name": placement.get("name")}
    cards = [(i["networkCardIndex"], i["deviceIndex"], i["interfaceType"]) for i in found["networkInterfaces"]]
    assert cards[:2] == [(0, 0, "interface"), (0, 1, "efa-only")]
    assert cards[2:] == [(card, 1, "efa-only") for card in range(1, 32)]
    assert len(wanted(graph, "fast")["topology.k8s.aws/zone-id"]) == 1
    assert "networkInterfaces" not in klass(graph, "l4")
    template = one(graph, "LaunchTemplate", "pools-held-reserved")
    mine = [(i["networkCardIndex"], i["deviceIndex"], i["interfaceType"]) for i in template.get("networkInterfaces")]
    assert mine == cards
    group = one(graph, "SecurityGroup", "cluster-machines")
    assert all(i["securityGroups"] == [f"${{{group.urn}#id}}"] for i in template.get("networkInterfaces"))
    # EC2 takes groups in one of the two places.
    assert not template.get("vpcSecurityGroupIds")
    assert template.get("placement") == {"groupName": "acme-ai-dev-pool-held"}


def test_reserved_machines_stand_at_all_times(graph: Graph) -> None:
    group = one(graph, "NodeGroup", "pools-held-reserved")
    assert group.get("scalingConfig") == {"minSize": 3, "maxSize": 3, "desiredSize": 3}
    assert group.get("capacityType") == "ON_DEMAND"
    # Ignoring it, a larger reservation would never be filled, and EKS refuse a desired size under the minimum.
    assert group.ignore_changes == ()
    template = one(graph, "LaunchTemplate", "pools-held-reserved")
    target = template.get("capacityReservationSpecification")
    assert target == {"capacityReservationTarget": {"capacityReservationId": "cr-0123"}}
    assert template.get("instanceMarketOptions") is None


def test_a_block_runs_from_its_start_until_shortly_before_its_end(graph: Graph) -> None:
    group = one(graph, "NodeGroup", "pools-held-block")
    assert group.get("capacityType") == "CAPACITY_BLOCK"
    assert group.get("instanceTypes") is None
    assert group.get("subnetIds") == ["subnet-2"]
    assert group.get("scalingConfig") == {"minSize": 0, "maxSize": 2, "desiredSize": 0}
    assert group.ignore_changes == ("scalingConfig.desiredSize",)
    template = one(graph, "LaunchTemplate", "pools-held-block")
    assert template.get("instanceMarketOptions") == {"marketType": "capacity-block"}
    assert template.get("instanceType") == "p5.48xlarge"
    times = {s.get("scheduledActionName"): s for s in kind(graph, "Schedule")}
    assert times["start"].get("startTime") == "2026-07-01T11:30:00Z"
    # EC2 takes the machines half an hour before the end.
    assert times["end"].get("startTime") == "2026-07-08T10:50:00Z"
    assert (times["start"].get("desiredCapacity"), times["end"].get("desiredCapacity")) == (2, 0)
    assert all(s.get("maxSize") == 2 and s.get("minSize") == 0 for s in times.values())


def test_a_block_that_has_begun_is_not_scheduled_into_the_past() -> None:
    begun = {**BLOCK, "starts": "2026-05-30T11:30:00Z"}
    found = cluster(pools={"held": pool(2, capacity=[begun], **H100)})
    assert [s.get("scheduledActionName") for s in kind(found, "Schedule")] == ["end"]
    assert one(found, "NodeGroup", "pools-held-block").get("scalingConfig.desiredSize") == 2
    over = {**begun, "ends": "2026-05-31T11:30:00Z"}
    assert not kind(cluster(pools={"held": pool(2, capacity=[over], **H100)}), "Schedule")


def test_teams_pay_for_their_pools(graph: Graph) -> None:
    assert klass(graph, "l4")["tags"]["team"] == "vision"
    assert "team" not in klass(graph, "mixed")["tags"]
    assert one(graph, "NodeGroup", "pools-held-block").get("tags")["team"] == "risk"
    for specification in one(graph, "LaunchTemplate", "pools-held-block").get("tagSpecifications"):
        assert specification["tags"].items() >= {
            **TAGS, "team": "risk", "cost-center": "cc-9", "pool": "held",
        }.items()  # fmt: skip


def test_no_pool_outlives_its_cluster(graph: Graph) -> None:
    for name in KARPENTER:
        found = of(graph, "NodePool", f"pools-{name}-pool")
        # Gone when its last machine is, and never just forgotten with the cluster.
        assert found.get("metadata")["annotations"] == {"pulumi.com/deletionPropagationPolicy": "foreground"}
        assert not found.deleted_with
        assert not of(graph, "EC2NodeClass", f"pools-{name}-class").deleted_with
    # What owns nothing outside goes with the cluster, and holds no destroy up.
    gone = one(graph, "Cluster", "cluster-cluster").urn
    for type_, name in (
        ("Release", "autoscaler-karpenter"),
        ("Release", "autoscaler-karpenter-crd"),
        ("StorageClass", "cluster-gp3"),
    ):
        assert of(graph, type_, name).deleted_with == gone


def own(graph: Graph) -> dict[str, Resource]:
    return {r.urn: r for r in graph.resources.values() if r.name.startswith("pools-")}


def changes(one_: Graph, other: Graph) -> dict[str, set[str]]:
    """By logical name, the inputs that differ; what is there only once is not."""
    before, after = own(one_), own(other)
    assert set(before) == set(after)
    return {
        f"{r.type.rpartition(':')[2]} {r.name}": found
        for urn, r in before.items()
        if (found := {k for k in {*r.inputs, *after[urn].inputs} if r.inputs.get(k) != after[urn].inputs.get(k)})
    }


def changed(name: str, **rest: Any) -> dict[str, Any]:
    return {**POOLS, name: {**POOLS[name], **rest}}


def test_the_order_of_keys_and_an_unrelated_team_change_nothing(graph: Graph) -> None:
    turned = {name: dict(reversed(described.items())) for name, described in reversed(list(POOLS.items()))}
    assert changes(graph, cluster(pools=turned)) == {}
    teams = {"vision": {"share": 1, "gpus": 1}, "risk": {"share": 9, "gpus": 9}}
    assert changes(graph, cluster(pools=POOLS, teams=teams)) == {}


def test_another_pool_changes_none_of_the_others(graph: Graph) -> None:
    more = own(cluster(pools={"first": pool(1), **POOLS}))
    for urn, resource in own(graph).items():
        assert more[urn].inputs == resource.inputs


def test_more_machines_are_an_update_in_place(graph: Graph) -> None:
    found = cluster(pools=changed("l4", nodes={"min": 0, "max": 20}))
    assert changes(graph, found) == {"NodePool pools-l4-pool": {"spec"}}
    one_, other = spec(graph, "l4"), spec(found, "l4")
    assert {key for key in one_ if one_[key] != other[key]} == {"limits"}
    capacity = [{"reserved": "cr-0123", "nodes": 4}, {**BLOCK, "nodes": 3}]
    found = cluster(pools=changed("held", nodes={"min": 0, "max": 7}, capacity=capacity))
    assert changes(graph, found) == {
        "NodeGroup pools-held-reserved": {"scalingConfig"},
        "NodeGroup pools-held-block": {"scalingConfig"},
        "Schedule pools-held-block-start": {"desiredCapacity", "maxSize"},
        "Schedule pools-held-block-end": {"maxSize"},
    }


@pytest.mark.parametrize(
    ("change", "replaced"),
    [
        ({"disk_gib": 500}, set[str]()),
        ({"team": "vision"}, set[str]()),
        ({"machine": "p5en.48xlarge", "accelerator": None, "zone": "usw2-az1"}, set[str]()),
        ({"interconnect": "default"}, {"subnetIds"}),
        ({"capacity": [{"reserved": "cr-0999", "nodes": 3}, BLOCK]}, set[str]()),
        ({"zone": "usw2-az2"}, {"subnetIds"}),
    ],
)
def test_a_group_is_replaced_only_where_the_cloud_has_no_other_way(
    graph: Graph, change: Mapping[str, Any], replaced: set[str]
) -> None:
    described = {k: v for k, v in {**POOLS["held"], **change}.items() if v is not None}
    before, after = own(graph), own(cluster(pools={**POOLS, "held": described}))
    for urn, group in before.items():
        if group.type.endswith(":NodeGroup"):
            other = after[urn]
            different = {k for k in {*group.inputs, *other.inputs} if group.inputs.get(k) != other.inputs.get(k)}
            assert different & REPLACES <= replaced, group.name
        if group.type.endswith(":LaunchTemplate"):
            assert after[urn].get("name") == group.get("name")


def test_another_version_replaces_no_group(graph: Graph) -> None:
    found = changes(graph, cluster(more={"version": "1.36"}, pools=POOLS))
    groups = {name: keys for name, keys in found.items() if name.startswith("NodeGroup")}
    assert set(groups) == {"NodeGroup pools-held-block", "NodeGroup pools-held-reserved"}
    assert all(keys == {"version", "releaseVersion"} for keys in groups.values())


def test_reserved_groups_need_no_spare_machine_for_an_update(graph: Graph) -> None:
    for label in ("reserved", "block"):
        update = one(graph, "NodeGroup", f"pools-held-{label}").get("updateConfig")
        assert update == {"maxUnavailable": 1, "updateStrategy": "MINIMAL"}


def test_a_first_preview_registers_the_same(graph: Graph) -> None:
    def shape(found: Graph) -> dict[str, Any]:
        return {urn: (r.type, r.parent, r.provider, r.dependencies) for urn, r in found.resources.items()}

    assert shape(cluster(preview=True, pools=POOLS)) == shape(graph)


def test_without_markets_there_is_no_profile_for_karpenter() -> None:
    assert not kind(cluster(pools={"held": POOLS["held"]}), "InstanceProfile")


markets = st.lists(st.sampled_from(["spot", "on-demand"]), min_size=1, max_size=2, unique=True).map(
    lambda found: sorted(found, key=["spot", "on-demand"].index)
)


@given(st.integers(1, 50), markets, st.integers(1, 8), st.integers(0, 3), st.none() | st.integers(1, 64))
@settings(max_examples=40)
def test_what_karpenter_may_start_never_exceeds_what_was_asked(
    most: int, capacity: list[str], replicas: int, held: int, ceiling: int | None
) -> None:
    sharing = {"sharing": {"kind": "time-slicing", "replicas": replicas}} if replicas > 1 else {}
    reserved = [{"reserved": f"cr-0{i}00"} for i in range(min(held, most))]
    described = {
        "accelerator": {"type": "nvidia-l4", **sharing}, "nodes": {"max": most}, "capacity": [*reserved, *capacity],
    }  # fmt: skip
    training: dict[str, Any] = {"pools": {"l4": described}, **({"max_accelerators": ceiling} if ceiling else {})}
    plan = Capacity(environment(**training), "aws").pools["l4"]
    found = node_pool(plan)
    assert not managed(plan)
    assert int(found["limits"]["nodes"]) <= min(most, ceiling or most)
    assert int(found["limits"]["nvidia.com/gpu"]) == int(found["limits"]["nodes"]) * replicas
    values = [r["values"] for r in found["template"]["spec"]["requirements"]]
    assert all(values)
    assert all(len(set(v)) == len(v) for v in values)
    assert json.loads(json.dumps(found)) == found


@given(st.integers(1, 33), st.integers(0, 2))
def test_interfaces_of_a_fabric_are_one_a_card(count: int, spare: int) -> None:
    found = eks.interfaces(count=count, cards=count + spare)
    assert found[0] == (0, 0, "interface")
    assert len([i for i in found if i[2] == "efa-only"]) == count
    assert len({(card, device) for card, device, _ in found}) == len(found)
    assert max(card for card, _, _ in found) == count + spare - 1
