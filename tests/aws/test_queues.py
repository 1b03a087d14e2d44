"""Queues of Batch: what they may start, who shares them, what a job may do, and where it is told that a machine goes."""

import base64
import doctest
import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from datetime import date
from types import MappingProxyType
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest
from hypothesis import given
from hypothesis import settings as tuned
from hypothesis import strategies as st

from components import contracts
from components.aws.training.queues import Queues, QueuesArgs, Team
from components.contracts import Zone
from components.core import batch
from components.core.naming import LIMITS, Names
from components.scope import PROJECT, Scope
from components.spec.capacity import Capacity
from components.spec.environment import Environment
from components.spec.load import load
from policies.model import Graph, Resource
from policies.registry import evaluate
from preview.record import run
from tests.aws.building import by_sid, kind, one, statements, waits_for
from tests.conftest import ROOT

ZONES = ["usw2-az1", "usw2-az2"]
IMAGE = "111111111111.dkr.ecr.us-west-2.amazonaws.com/acme-ai-dev/training:1.4.0"
TEAMS = {"vision": {"share": 3, "gpus": 9}, "risk": {"share": 1, "gpus": 9}}


def pool(most: int = 4, least: int = 0, *, type_: str = "nvidia-l4", per_node: int = 1, **rest: Any) -> dict[str, Any]:
    return {
        "accelerator": {"type": type_, "per_node": per_node},
        "nodes": {"min": least, "max": most},
        "scheduler": "batch",
        **rest,
    }


SPOT, FAST = pool(capacity=["spot"]), pool(type_="nvidia-h100", per_node=8, interconnect="fast")
TRAINING: Mapping[str, Any] = {
    "teams": TEAMS,
    "pools": {"l4": SPOT, "l4-sure": pool(2), "h100": FAST},
    "queues": {
        "train": {"pools": ["l4", "l4-sure"], "retries": 3, "timeout_hours": 24},
        "large": {"pools": ["h100"], "priority_classes": {"urgent": 900, "normal": 100}, "teams": ["vision"]},
    },
}


def described(training: Mapping[str, Any]) -> Environment:
    base = load(ROOT, "dev", today=date(2026, 6, 1)).model_dump(exclude_none=True)
    base["training"] = {"checkpoint_days": 14, **training}
    return Environment.model_validate(base)


def build(
    training: Mapping[str, Any] = TRAINING,
    *,
    cluster: bool = False,
    reach: Sequence[str] = ("0.0.0.0/0",),
    lists: Mapping[str, str] = MappingProxyType({}),
    preview: bool = False,
    **options: Any,
) -> Graph:
    """The queues of a description, and nothing else but what they are handed."""
    environment = described(training)
    plan = Capacity(environment, "aws")

    def program() -> None:
        text = pulumi.Output.from_input
        root = pulumi.ComponentResource(f"{PROJECT}:aws:Root", "root")
        provider = aws.Provider("aws", region="us-west-2", opts=pulumi.ResourceOptions(parent=root))
        scope = Scope(
            environment="dev", tier="dev", cloud="aws", account="1" * 12, region="us-west-2", replica_region=None,
            names=Names("acme-ai", "dev"), tags={"environment": "dev"}, protection="delete", log_days=30,
            today=date(2026, 1, 1), provider=provider,
        )  # fmt: skip
        key = contracts.Key(id=text("arn:aws:kms:us-west-2:111111111111:key/1"), replica=None)

        def zone(name: str) -> Zone:
            bucket = contracts.Storage(
                name=text(f"acme-ai-dev-{name}"),
                uri=text(f"s3://acme-ai-dev-{name}"),
                resource=text(f"arn:aws:s3:::acme-ai-dev-{name}"),
            )
            return Zone(bucket=bucket, key=key)

        there = contracts.Cluster(
            name=text("acme-ai-dev-cluster"), physical_name="acme-ai-dev-cluster", endpoint=text("e"), location="us-west-2",
            provider=provider, resource=root, node_identity=text("arn:aws:iam::111111111111:role/n"), security_group=text("sg-1"),
        )  # fmt: skip
        args: dict[str, Any] = {
            "pools": plan.pools,
            "queues": plan.queues,
            "teams": {name: Team(share=team.share) for name, team in environment.training.teams.items()},
            "checkpoints": {name: zone(name) for name in environment.training.checkpoint_zones},
            "readable": {name: zone(name) for name in ("raw", "curated")},
            "image": IMAGE,
            "cluster": there if cluster else None,
            "network": contracts.Network(
                id=text("vpc-1"), workload_subnets=[text(f"subnet-{z}") for z in ZONES], data_subnets=[], cidr="10.0.0.0/16",
                reach=reach, prefix_lists={service: text(name) for service, name in lists.items()}
            ),
            "zones": ZONES,
            "compute_key": key,
            "logs_key": key,
            "boundary": contracts.Boundary(id=text("arn:aws:iam::111111111111:policy/boundary")),
            **options,
        }  # fmt: skip
        made = Queues("queues", QueuesArgs(**args), scope=scope, parent=root)
        for name in ("names", "identities", "checkpoints", "interruptions"):
            pulumi.export(name, getattr(made.outputs, name))
        pulumi.export("jobs", made.jobs)

    return run(program, preview=preview)


@pytest.fixture(scope="module")
def graph() -> Graph:
    return build()


def resources(environment: Resource) -> dict[str, Any]:
    return environment.get("computeResources")


def container(definition: Resource) -> dict[str, Any]:
    return json.loads(definition.get("containerProperties"))


def asked(properties: dict[str, Any]) -> dict[str, int]:
    return {r["type"]: int(r["value"]) for r in properties["resourceRequirements"]}


def test_a_pool_is_an_environment_of_its_market(graph: Graph) -> None:
    spot, sure = (resources(one(graph, "ComputeEnvironment", f"queues-{p}-environment")) for p in ("l4", "l4-sure"))
    assert (spot["type"], spot["allocationStrategy"]) == ("SPOT", "SPOT_PRICE_CAPACITY_OPTIMIZED")
    assert (sure["type"], sure["allocationStrategy"]) == ("EC2", "BEST_FIT_PROGRESSIVE")
    assert {r["ec2Configurations"][0]["imageType"] for r in (spot, sure)} == {"ECS_AL2023_NVIDIA"}
    assert spot["subnets"] == [f"subnet-{zone}" for zone in ZONES]
    assert spot["tags"] == {"environment": "dev", "pool": "l4"}


def test_an_environment_can_be_updated_in_place_and_outlived_by_nothing_that_it_needs(graph: Graph) -> None:
    for environment in kind(graph, "ComputeEnvironment"):
        # Another service role than Batch's own, or BEST_FIT, would make each change a replacement.
        assert environment.get("serviceRole") is None
        assert resources(environment)["allocationStrategy"] != "BEST_FIT"
        # A name of its own, so that a replacement can stand beside it.
        assert environment.get("name") is None
        assert environment.get("namePrefix").startswith("acme-ai-dev-")
        assert environment.ignore_changes == ("computeResources.desiredVcpus",)
        assert environment.get("updatePolicy") == {"terminateJobsOnUpdate": False, "jobExecutionTimeoutMinutes": 360}
        template = resources(environment)["launchTemplate"]
        assert template["version"].endswith("#latestVersion}")
        assert waits_for(graph, environment, one(graph, "RolePolicy", "batch-machines-policy"))
    for queue in kind(graph, "JobQueue"):
        named = {r["computeEnvironment"].split("#")[0][2:] for r in queue.get("computeEnvironmentOrders")}
        assert waits_for(graph, queue, *(graph.resources[urn] for urn in named))


def test_machines_are_closed_and_encrypted(graph: Graph) -> None:
    for pool in ("l4", "l4-sure"):
        # Without a group of its own it gets the network's default one, which lets nothing out.
        assert resources(one(graph, "ComputeEnvironment", f"queues-{pool}-environment"))["securityGroupIds"]
    for template in kind(graph, "LaunchTemplate"):
        options = template.get("metadataOptions")
        assert (options["httpTokens"], options["httpPutResponseHopLimit"]) == ("required", 1)
        [disk] = template.get("blockDeviceMappings")
        assert (disk["ebs"]["encrypted"], disk["ebs"]["kmsKeyId"]) == (
            "true",
            "arn:aws:kms:us-west-2:111111111111:key/1",
        )
        assert disk["ebs"]["volumeSize"] == 200
    inside = kind(graph, "SecurityGroupIngressRule")
    assert [r.name for r in inside] == ["queues-batch-h100-in"]
    assert inside[0].get("referencedSecurityGroupId") == inside[0].get("securityGroupId")
    ranges = {(r.get("cidrIpv4"), r.get("fromPort"), r.get("toPort")) for r in kind(graph, "SecurityGroupEgressRule")}
    assert ranges == {("0.0.0.0/0", 443, 443), (None, None, None)}


def test_where_ways_out_are_closed_jobs_reach_the_network_and_s3() -> None:
    graph = build(reach=["10.0.0.0/16"], lists={"s3": "pl-1"})
    outside = [r for r in kind(graph, "SecurityGroupEgressRule") if r.get("fromPort") == 443]
    plain = {(r.get("cidrIpv4"), r.get("prefixListId")) for r in outside if "h100" not in r.name}
    assert plain == {("10.0.0.0/16", None), (None, "pl-1")}
    assert not [f for f in evaluate(graph) if f.rule == "prod-egress"]


@tuned(max_examples=20)
@given(
    most=st.integers(1, 50),
    least=st.integers(0, 50),
    type_=st.sampled_from([("nvidia-l4", 1), ("nvidia-t4", 1), ("nvidia-a10g", 1), ("nvidia-a10g", 4), ("nvidia-h100", 8)]),
    market=st.sampled_from(["spot", "on-demand"]),
)  # fmt: skip
def test_no_environment_has_more_accelerators_than_its_pool(
    most: int, least: int, type_: tuple[str, int], market: str
) -> None:
    described_ = pool(most, min(least, most), type_=type_[0], per_node=type_[1], capacity=[market])
    training = {"teams": TEAMS, "pools": {"p": described_}, "queues": {"q": {"pools": ["p"]}}}
    plan = Capacity(described(training), "aws").pools["p"]
    environment = resources(one(build(training), "ComputeEnvironment", "queues-p-environment"))
    types = {m.type: m for m in plan.machines}
    vcpus = {types[name].vcpus for name in environment["instanceTypes"]}
    # Of two sizes Batch would take the one whose vCPU is cheaper, and could go over with the larger.
    assert len(vcpus) == 1
    machines, rest = divmod(environment["maxVcpus"], vcpus.pop())
    assert rest == 0
    assert machines * plan.per_node == plan.accelerators
    assert environment["minVcpus"] <= environment["maxVcpus"]


def test_a_larger_share_weighs_less_and_strangers_most(graph: Graph) -> None:
    policy = one(graph, "SchedulingPolicy", "queues-train-shares").get("fairSharePolicy")
    weights = {d["shareIdentifier"]: d["weightFactor"] for d in policy["shareDistributions"]}
    assert weights == {"risk": 1.0, "vision": 0.3333}
    # An identifier that is not in the list has 1.0: never more than any team.
    assert max(weights.values()) <= 1.0
    assert policy["shareDecaySeconds"] == 24 * 3600
    # What is reserved of a pool of one machine is that machine: nobody would ever get it.
    assert policy["computeReservation"] == 0


@given(st.lists(st.from_regex(r"\A[a-z]([a-z0-9-]{0,30}[a-z0-9])?\Z"), unique=True), st.integers(1, 1000))
def test_batch_takes_every_share(teams: list[str], share: int) -> None:
    assert len({batch.share(team) for team in teams}) == len(teams)
    assert all(re.fullmatch("[a-zA-Z0-9]{1,255}", batch.share(team)) for team in teams)
    assert 0.0001 <= batch.weight(share) <= 999.9999


def test_a_queue_tries_its_pools_in_order_and_gives_up_what_can_never_run(graph: Graph) -> None:
    queue = one(graph, "JobQueue", "queues-train-queue")
    order = {r["order"]: r["computeEnvironment"] for r in queue.get("computeEnvironmentOrders")}
    assert [order[i].split("::")[-1].split("#")[0] for i in (1, 2)] == [
        "queues-l4-environment",
        "queues-l4-sure-environment",
    ]
    actions = queue.get("jobStateTimeLimitActions")
    assert all(
        (a["state"], a["action"]) == ("RUNNABLE", "CANCEL") and 600 <= a["maxTimeSeconds"] <= 86_400 for a in actions
    )
    assert not any(a["reason"].startswith("CAPACITY") for a in actions)


def test_a_job_starts_again_only_where_it_was_interrupted(graph: Graph) -> None:
    definition = one(graph, "JobDefinition", "queues-train_vision")
    strategy = definition.get("retryStrategy")
    assert strategy["attempts"] == 4
    assert strategy["evaluateOnExits"] == [
        {"action": "RETRY", "onStatusReason": "Host EC2*"},
        {"action": "RETRY", "onExitCode": "143"},
        # Without it whatever matches nothing is tried again too.
        {"action": "EXIT", "onReason": "*"},
    ]
    assert definition.get("timeout") == {"attemptDurationSeconds": 24 * 3600}
    assert one(graph, "JobDefinition", "queues-large_vision").get("schedulingPriority") == 100


def test_a_job_has_no_rights_on_its_machine_and_keeps_its_checkpoints_elsewhere(graph: Graph) -> None:
    for team in TEAMS:
        found = container(one(graph, "JobDefinition", f"queues-train_{team}"))
        assert (found["privileged"], found["readonlyRootFilesystem"], found["user"]) == (False, True, "10001:10001")
        environment = {e["name"]: e["value"] for e in found["environment"]}
        assert environment["CHECKPOINT_URI"] == f"s3://acme-ai-dev-artifacts/checkpoints/train/{team}"
        assert environment["NOTICE"] == "aws"
        assert f"::trainer-{team}-role#arn" in found["jobRoleArn"]
        assert found["executionRoleArn"] != found["jobRoleArn"]
        # A volume without a source: no other job sees it.
        assert found["volumes"] == [{"name": "scratch", "host": {}}]
        assert found["mountPoints"] == [{"sourceVolume": "scratch", "containerPath": "/tmp", "readOnly": False}]  # noqa: S108
        assert found["logConfiguration"]["options"]["awslogs-group"] == "/acme-ai-dev-jobs/train"
    large = container(one(graph, "JobDefinition", "queues-large_vision"))
    assert "NOTICE" not in {e["name"] for e in large["environment"]}


def test_a_job_fits_a_machine_of_each_pool_of_its_queue() -> None:
    pools = {"small": pool(), "big": pool(type_="nvidia-h100", per_node=8)}
    training = {"teams": TEAMS, "pools": pools, "queues": {"q": {"pools": ["small", "big"]}}}
    graph = build(training)
    found = asked(container(one(graph, "JobDefinition", "queues-q_vision")))
    plans = Capacity(described(training), "aws").pools
    for plan in plans.values():
        parts = plan.per_node
        assert found["VCPU"] * parts <= plan.machine.vcpus
        # The kernel and the agent need some of it: a job that asks for all waits for ever.
        assert found["MEMORY"] * parts <= plan.machine.memory_gib * 1024 * 0.95
    assert found["GPU"] == 1


def test_without_accelerators_a_job_asks_for_none() -> None:
    pools = {"cpu": {"machine": "m7i.2xlarge", "nodes": {"max": 3}, "scheduler": "batch"}}
    graph = build({"teams": TEAMS, "pools": pools, "queues": {"q": {"pools": ["cpu"]}}})
    assert "GPU" not in asked(container(one(graph, "JobDefinition", "queues-q_vision")))
    environment = resources(one(graph, "ComputeEnvironment", "queues-cpu-environment"))
    assert environment["ec2Configurations"] == [{"imageType": "ECS_AL2023"}]


def test_a_fabric_joins_machines_side_by_side(graph: Graph) -> None:
    environment = one(graph, "ComputeEnvironment", "queues-h100-environment")
    # "Either compute environment Security Groups or Network Interfaces in Launch template are exclusively allowed."
    assert "securityGroupIds" not in resources(environment)
    assert one(graph, "PlacementGroup", "queues-h100-placement").get("strategy") == "cluster"
    assert resources(environment)["placementGroup"] == "acme-ai-dev-h100"
    assert len(resources(environment)["subnets"]) == 1
    cards = one(graph, "LaunchTemplate", "queues-h100-template").get("networkInterfaces")
    assert [card["networkCardIndex"] for card in cards] == list(range(32))
    assert [card["deviceIndex"] for card in cards] == [0] + [1] * 31
    assert [card["interfaceType"] for card in cards] == ["efa"] + ["efa-only"] * 31
    assert all(card["securityGroups"] for card in cards)
    job = one(graph, "JobDefinition", "queues-large_vision_multinode")
    nodes = json.loads(job.get("nodeProperties"))
    assert (nodes["numNodes"], nodes["nodeRangeProperties"][0]["targetNodes"]) == (2, "0:")
    found = nodes["nodeRangeProperties"][0]["container"]
    assert asked(found)["GPU"] == 8
    assert len(found["linuxParameters"]["devices"]) == 32
    assert found["ulimits"] == [{"name": "memlock", "softLimit": -1, "hardLimit": -1}]


def test_no_job_spans_spot_machines_or_a_pool_of_one() -> None:
    """Batch refuses the first; the second would wait for ever."""
    pools = {
        "spot": pool(type_="nvidia-h100", per_node=8, interconnect="fast", capacity=["spot"]),
        "one": pool(1, type_="nvidia-h100", per_node=8, interconnect="fast"),
    }
    graph = build({"teams": TEAMS, "pools": pools, "queues": {"a": {"pools": ["spot"]}, "b": {"pools": ["one"]}}})
    assert {d.get("type") for d in kind(graph, "JobDefinition")} == {"container"}


def test_a_team_reaches_its_own_checkpoints_only(graph: Graph) -> None:
    found = by_sid(one(graph, "RolePolicy", "trainer-risk-policy"))
    assert found["KeepCheckpoints0"]["Resource"] == ["arn:aws:s3:::acme-ai-dev-artifacts/checkpoints/train/risk/*"]
    assert found["FindCheckpoints0"]["Condition"] == {
        "StringLike": {"s3:prefix": ["checkpoints/train/risk", "checkpoints/train/risk/*"]}
    }
    assert not any("Put" in a or "Delete" in a for a in found["ReadData"]["Action"])
    for sid in ("OpenData", "SealCheckpoints0"):
        assert found[sid]["Condition"] == {"StringEquals": {"kms:ViaService": ["s3.us-west-2.amazonaws.com"]}}
    assert found["Count"]["Condition"] == {"StringEquals": {"cloudwatch:namespace": "acme-ai-dev-training"}}
    everything = [s for s in statements(one(graph, "RolePolicy", "trainer-risk-policy")) if s["Resource"] == ["*"]]
    assert [s["Sid"] for s in everything] == ["Count"]


def test_a_policy_of_very_many_queues_still_fits() -> None:
    queues = {f"queue-{i}": {"pools": ["l4"]} for i in range(60)}
    graph = build({"teams": TEAMS, "pools": {"l4": SPOT}, "queues": queues})
    policy = one(graph, "RolePolicy", "trainer-risk-policy")
    assert len(policy.get("policy")) <= 10_240
    assert by_sid(policy)["KeepCheckpoints0"]["Resource"] == ["arn:aws:s3:::acme-ai-dev-artifacts/checkpoints/*/risk/*"]


@pytest.mark.parametrize(
    ("cluster", "queues", "trusted"),
    [
        (False, {"b": {"pools": ["l4"]}}, ["ecs-tasks.amazonaws.com"]),
        (True, {"b": {"pools": ["l4"]}}, ["ecs-tasks.amazonaws.com", "pods.eks.amazonaws.com"]),
        (True, {"k": {"pools": ["kube"]}}, ["pods.eks.amazonaws.com"]),
    ],
)
def test_a_team_is_the_same_in_batch_and_in_the_cluster(
    queues: dict[str, Any], trusted: list[str], *, cluster: bool
) -> None:
    pools = {"l4": SPOT, "kube": {**pool(), "scheduler": "kubernetes"}}
    graph = build({"teams": TEAMS, "pools": pools, "queues": queues}, cluster=cluster)
    found = statements(one(graph, "Role", "trainer-vision-role"), "assumeRolePolicy")
    assert [s["Principal"]["Service"] for s in found] == trusted
    if cluster:
        assert found[-1]["Action"] == ["sts:AssumeRole", "sts:TagSession"]
        assert found[-1]["Condition"]["StringEquals"]["aws:RequestTag/kubernetes-namespace"] == "team-vision"
        pods = one(graph, "PodIdentityAssociation", "queues-vision-pods")
        assert (pods.get("namespace"), pods.get("serviceAccount")) == ("team-vision", "trainer")
        assert waits_for(graph, pods, one(graph, "RolePolicy", "trainer-vision-policy"))


def test_a_queue_of_the_cluster_has_an_identity_and_a_place_and_nothing_of_batch() -> None:
    pools = {"kube": {**pool(), "scheduler": "kubernetes"}}
    training = {"teams": TEAMS, "pools": pools, "queues": {"k": {"pools": ["kube"]}}}
    graph = build(training, cluster=True, image=None)
    assert graph.outputs["names"] == {"k": "k"}
    assert graph.outputs["checkpoints"] == {"k": "s3://acme-ai-dev-artifacts/checkpoints/k"}
    assert not [r for r in graph.resources.values() if r.type.startswith("aws:batch/")]
    assert {r.name for r in kind(graph, "EventRule")} == {"queues-spot-warning", "queues-rebalance"}


def test_notices_reach_a_queue_and_a_metric(graph: Graph) -> None:
    rules = {r.name.removeprefix("queues-"): json.loads(r.get("eventPattern")) for r in kind(graph, "EventRule")}
    assert set(rules) == set(batch.EVENTS)
    assert rules["spot-warning"] == {"source": ["aws.ec2"], "detail-type": ["EC2 Spot Instance Interruption Warning"]}
    ours = [{"prefix": "arn:aws:batch:us-west-2:111111111111:job-queue/acme-ai-dev-"}]
    assert rules["job-lost"]["detail"] == {
        "status": ["FAILED"], "statusReason": [{"prefix": "Host EC2"}], "jobQueue": ours
    }  # fmt: skip
    queues = {q.get("name") for q in kind(graph, "JobQueue")}
    assert all(f"arn:aws:batch:us-west-2:111111111111:job-queue/{q}".startswith(ours[0]["prefix"]) for q in queues)
    assert all(len(json.dumps(pattern)) <= 2048 for pattern in rules.values())
    told = {r.name.removesuffix("-queue") for r in kind(graph, "EventTarget") if r.get("targetId") == "queue"}
    assert told == {f"queues-{e}" for e in ("spot-warning", "rebalance", "job-interrupted", "job-lost")}
    assert all(r.get("deadLetterConfig.arn") for r in kind(graph, "EventTarget"))
    counted = {r.get("metricTransformation.name"): r for r in kind(graph, "LogMetricFilter")}
    assert set(counted) == set(batch.METRICS)
    # A default together with dimensions is refused.
    assert all(
        ("defaultValue" in m) != ("dimensions" in m) for m in (r.get("metricTransformation") for r in counted.values())
    )


def test_nothing_is_counted_twice(graph: Graph) -> None:
    """A job that is lost matches two rules: only one of them writes it down."""
    logged = [r.name for r in kind(graph, "EventTarget") if r.get("targetId") == "log"]
    assert "queues-job-lost-log" not in logged
    assert {"queues-job-failed-log", "queues-job-interrupted-log"} <= set(logged)


def test_events_can_be_delivered_and_only_by_our_rules(graph: Graph) -> None:
    for name in ("interruptions", "interruptions-lost"):
        queue = one(graph, "Queue", f"queues-{name}")
        assert queue.get("kmsMasterKeyId")
        found = by_sid(one(graph, "QueuePolicy", f"queues-{name}-policy"))
        assert found["OnlyOverTls"]["Effect"] == "Deny"
        assert found["Events"]["Condition"] == {
            "StringEquals": {"aws:SourceAccount": "111111111111"},
            "ArnLike": {"aws:SourceArn": "arn:aws:events:us-west-2:111111111111:rule/acme-ai-dev-*"},
        }
    assert all(r.get("name").startswith("acme-ai-dev-") for r in kind(graph, "EventRule"))
    writes = by_sid(one(graph, "LogResourcePolicy", "queues-events-policy"), "policyDocument")
    assert writes["Streams"]["Action"] == ["logs:CreateLogStream"]
    assert writes["Events"]["Condition"] == {
        "ArnLike": {"aws:SourceArn": "arn:aws:events:us-west-2:111111111111:rule/acme-ai-dev-*"}
    }
    log = one(graph, "LogGroup", "queues-events")
    assert log.get("name").startswith("/aws/events/")
    for target in kind(graph, "EventTarget"):
        if target.get("targetId") == "log":
            # Else what comes first is lost, without a word.
            assert waits_for(graph, target, one(graph, "LogResourcePolicy", "queues-events-policy"))


def test_every_log_is_ours_and_there_before_its_first_line(graph: Graph) -> None:
    for log in kind(graph, "LogGroup"):
        assert (log.get("retentionInDays"), bool(log.get("kmsKeyId"))) == (30, True)
    for definition in kind(graph, "JobDefinition"):
        queue = definition.name.removeprefix("queues-").partition("_")[0]
        assert waits_for(graph, definition, one(graph, "LogGroup", f"queues-{queue}-log"))
    allowed = statements(one(graph, "RolePolicy", "batch-executor-policy"))
    [writes] = [s for s in allowed if "logs:PutLogEvents" in s["Action"]]
    assert writes["Resource"] == ["arn:aws:logs:us-west-2:111111111111:log-group:/acme-ai-dev-jobs/*:*"]


def inputs(graph: Graph) -> dict[str, Mapping[str, Any]]:
    return {urn: r.inputs for urn, r in graph.resources.items() if r.custom}


def test_the_order_of_keys_changes_nothing(graph: Graph) -> None:
    def reversed_(value: Any) -> Any:
        return {k: reversed_(v) for k, v in reversed(value.items())} if isinstance(value, dict) else value

    assert inputs(build(reversed_(dict(TRAINING)))) == inputs(graph)


def test_another_team_with_a_queue_of_its_own_changes_no_other_queue(graph: Graph) -> None:
    training = json.loads(json.dumps(TRAINING))
    training["teams"]["speech"] = {"share": 2, "gpus": 1}
    training["queues"]["train"]["teams"] = ["vision", "risk"]
    training["queues"]["speech"] = {"pools": ["l4"], "teams": ["speech"]}
    now = inputs(build(training))
    assert {urn: now[urn] for urn in inputs(graph)} == inputs(graph)


def test_a_larger_pool_is_a_larger_ceiling_and_nothing_else(graph: Graph) -> None:
    training = {**TRAINING, "pools": {**TRAINING["pools"], "l4": {**SPOT, "nodes": {"min": 0, "max": 9}}}}
    before, now = inputs(graph), inputs(build(training))
    [changed] = [urn for urn in now if now[urn] != before[urn]]
    old, new = before[changed]["computeResources"], now[changed]["computeResources"]
    assert {k for k in new if new[k] != old[k]} == {"maxVcpus"}


def test_names_that_look_alike_stay_apart_and_within_every_limit() -> None:
    long = "a" * 32
    training = {
        "teams": {"c": TEAMS["risk"], "b-c": TEAMS["risk"], long: TEAMS["risk"]},
        "pools": {"l4": SPOT, long: SPOT},
        "queues": {
            "a-b": {"pools": ["l4"]},
            "a": {"pools": [long]},
            long: {"pools": [long]},
            "events": {"pools": ["l4"]},
        },
    }
    graph = build(training)
    names = [d.get("name") for d in kind(graph, "JobDefinition")]
    assert len(set(names)) == len(names) == 12
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,128}", n) for n in names)
    limits = {"EventRule": 64, "Role": 64, "Queue": 80, "JobQueue": 128, "SchedulingPolicy": 128, "LaunchTemplate": 128}
    for type_, most in limits.items():
        assert all(len(r.get("name")) <= most for r in kind(graph, type_)), type_
    assert all(len(r.get("namePrefix")) + 26 <= 128 + 1 for r in kind(graph, "ComputeEnvironment"))
    assert LIMITS["batch"] == 102


def test_what_batch_has_not_is_said_before_anything_is_built() -> None:
    neuron = {"machine": "trn1.2xlarge", "nodes": {"max": 1}, "scheduler": "batch"}
    with pytest.raises(ValueError, match=r"pool trn: Batch has no image for trn1\.2xlarge"):
        build({"teams": TEAMS, "pools": {"trn": neuron}, "queues": {"q": {"pools": ["trn"]}}})
    with pytest.raises(ValueError, match="queues of Batch need an image: large, train"):
        build(image=None)


def test_a_first_preview_knows_what_it_can(graph: Graph) -> None:
    previewed = build(preview=True)
    assert set(previewed.resources) == set(graph.resources)
    assert resources(one(previewed, "ComputeEnvironment", "queues-l4-environment"))["maxVcpus"] == 32


def test_a_machine_keeps_images_and_volumes_on_its_own_disks(graph: Graph) -> None:
    text = base64.b64decode(one(graph, "LaunchTemplate", "queues-l4-template").get("userData")).decode()
    # Without MIME, an environment is INVALID.
    assert text.startswith("MIME-Version: 1.0\n")
    parts = text.split("--==BOUNDARY==")
    assert parts[-1].strip() == "--"
    script = parts[1].split("\n\n", 1)[1]
    assert script.startswith("#!/bin/bash\n")
    subprocess.run(["bash", "-n"], input=script.encode(), check=True, timeout=10)
    assert "ECS_CONTAINER_STOP_TIMEOUT=120s" in script


def test_jobs_can_be_found(graph: Graph) -> None:
    assert set(graph.outputs["jobs"]) == {"train_vision", "train_risk", "large_vision", "large_vision_multinode"}
    assert set(graph.outputs["names"]) == {"train", "large"}
    assert set(graph.outputs["identities"]) == set(TEAMS)


def test_examples_of_batch() -> None:
    result = doctest.testmod(batch)
    assert result.attempted >= 3
    assert result.failed == 0
