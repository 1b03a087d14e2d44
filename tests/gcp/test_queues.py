"""Who a team's jobs are on Google Cloud, what they may reach, and where it is told that a machine goes."""

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

import pulumi
import pulumi_gcp as gcp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components import contracts
from components.core.naming import Names
from components.gcp.training.queues import FILTER, Queues, QueuesArgs, checkpoints
from components.scope import PROJECT, Scope
from components.spec.capacity import QueuePlan
from policies.model import Graph
from preview.record import run
from tests.gcp.building import before, kind, one

APIS = ("artifactregistry", "cloudresourcemanager", "iam", "logging", "pubsub")
TEAMS = ("vision", "risk")


def queue(name: str, *teams: str, zone: str = "artifacts") -> QueuePlan:
    return QueuePlan(
        name=name, pools=("l4",), teams=teams or TEAMS, priority_classes={"normal": 100}, retries=3, timeout_hours=24,
        checkpoint_zone=zone, scheduler="kubernetes",
    )  # fmt: skip


QUEUES = {"train": queue("train"), "large": queue("large", "vision")}


def build(queues: Mapping[str, QueuePlan] = QUEUES, *, cluster: bool = True, preview: bool = False) -> Graph:
    """The queues, and nothing else but what they are handed."""

    def program() -> None:
        text = pulumi.Output.from_input
        root = pulumi.ComponentResource(f"{PROJECT}:gcp:Root", "root")
        provider = gcp.Provider("gcp", project="acme-ai-dev", opts=pulumi.ResourceOptions(parent=root))
        own = pulumi.ResourceOptions(parent=root, provider=provider)
        made = gcp.container.Cluster("cluster", name="acme-ai-dev-cluster", location="us-central1", opts=own)
        scope = Scope(
            environment="dev", tier="dev", cloud="gcp", account="acme-ai-dev", region="us-central1", replica_region=None,
            names=Names("acme-ai", "dev"), tags={}, protection="delete", log_days=30, today=date(2026, 1, 1),
            provider=provider,
        )  # fmt: skip

        def zone(name: str) -> contracts.Storage:
            bucket = text(f"acme-ai-dev-{name}")
            return contracts.Storage(name=bucket, uri=text(f"gs://acme-ai-dev-{name}"), resource=bucket)

        there = contracts.Cluster(
            name=made.name, physical_name="acme-ai-dev-cluster", endpoint=made.endpoint, location="us-central1",
            provider=provider, resource=made, node_identity=text("n@x"), security_group=None,
        )  # fmt: skip
        args = QueuesArgs(
            apis={f"{name}.googleapis.com": text("acme-ai-dev") for name in APIS},
            number="111111111111",
            queues=queues,
            teams=TEAMS,
            checkpoints={name: zone(name) for name in ("artifacts", "models")},
            readable={name: zone(name) for name in ("raw", "curated")},
            cluster=there if cluster else None,
            key=contracts.Key(id=text("projects/p/locations/l/keyRings/r/cryptoKeys/logs"), replica=None),
        )
        outputs = Queues("queues", args, scope=scope, parent=root).outputs
        for name in ("names", "identities", "checkpoints", "interruptions"):
            pulumi.export(name, getattr(outputs, name))

    return run(program, preview=preview)


@pytest.fixture(scope="module")
def graph() -> Graph:
    return build()


def test_a_team_reads_data_and_keeps_its_own_checkpoints(graph: Graph):
    grants = {
        g.name.removeprefix("trainer-risk-"): g for g in kind(graph, "storage/BucketIAMMember") if "-risk-" in g.name
    }
    assert set(grants) == {"read-raw", "read-curated", "checkpoints-artifacts"}
    assert {grants[f"read-{zone}"].get("role") for zone in ("raw", "curated")} == {"roles/storage.objectViewer"}
    own = grants["checkpoints-artifacts"]
    assert (own.get("bucket"), own.get("role")) == ("acme-ai-dev-artifacts", "roles/storage.objectUser")
    expression = own.get("condition.expression")
    assert "projects/_/buckets/acme-ai-dev-artifacts/objects/checkpoints/train/risk/'" in expression
    # The queue `large` is not the team's.
    assert "large" not in expression
    [project] = [g for g in kind(graph, "projects/IAMMember") if "-risk-" in g.name]
    assert project.get("role") == "roles/monitoring.metricWriter"


@given(
    st.lists(st.from_regex(r"\A[a-z]([a-z0-9-]{0,10}[a-z0-9])?\Z"), min_size=1, max_size=12, unique=True),
    st.from_regex(r"\A[a-z]([a-z0-9-]{0,10}[a-z0-9])?\Z"),
)
def test_iam_takes_every_condition_and_a_prefix_ends_with_its_folder(queues: list[str], team: str):
    expression = checkpoints("bucket", team, queues)
    assert expression.count("||") <= 12
    # Without the slash `risk` would be let into the checkpoints of `risk-eu`.
    own = [p for p in re.findall(r"startsWith\('([^']+)'\)", expression) if p != "checkpoints/"]
    assert all(p.endswith(f"/{team}/") for p in own)
    # What is listed is a name in the bucket, what is opened a resource.
    assert all(p.startswith(("projects/_/buckets/bucket/objects/checkpoints/", "checkpoints/")) for p in own)


def test_only_the_pods_of_a_team_become_its_account(graph: Graph):
    pods = one(graph, "serviceaccount/IAMMember", "queues-vision-pods")
    assert pods.get("role") == "roles/iam.workloadIdentityUser"
    assert pods.get("member") == "serviceAccount:acme-ai-dev.svc.id.goog[team-vision/trainer]"
    # The pool of identities is not there before the first cluster is.
    assert "cluster" in before(graph, pods)
    assert not kind(build(cluster=False), "serviceaccount/IAMMember")


def test_an_account_is_handed_on_once_it_can_be_used(graph: Graph):
    accounts = {a.name: a for a in kind(graph, "serviceaccount/Account")}
    assert set(accounts) == {f"trainer-{team}-account" for team in TEAMS}
    assert all(len(a.get("accountId")) <= 30 for a in accounts.values())
    assert set(graph.outputs["identities"]) == set(TEAMS)


def test_queues_are_the_clusters(graph: Graph):
    assert graph.outputs["names"] == {"train": "train", "large": "large"}
    assert graph.outputs["checkpoints"]["train"] == "gs://acme-ai-dev-artifacts/checkpoints/train"


def test_a_queue_keeps_its_checkpoints_where_it_says():
    graph = build({"train": queue("train", zone="models")})
    assert graph.outputs["checkpoints"] == {"train": "gs://acme-ai-dev-models/checkpoints/train"}
    assert (
        one(graph, "storage/BucketIAMMember", "trainer-risk-checkpoints-models").get("bucket") == "acme-ai-dev-models"
    )


def test_notices_reach_a_subscription_and_a_metric(graph: Graph):
    sink = one(graph, "logging/ProjectSink", "queues-interruptions-sink")
    metric = one(graph, "logging/Metric", "queues-interruptions-metric")
    assert sink.get("filter") == metric.get("filter") == FILTER
    assert 'log_id("cloudaudit.googleapis.com/system_event")' in FILTER
    assert '"compute.instances.preempted"' in FILTER
    assert sink.get("uniqueWriterIdentity") is True
    assert sink.get("destination").startswith("pubsub.googleapis.com/")
    # What is extracted has to be declared.
    assert {label["key"] for label in metric.get("metricDescriptor.labels")} == set(metric.get("labelExtractors"))
    publisher = one(graph, "pubsub/TopicIAMMember", "queues-interruptions-publisher")
    assert publisher.get("member").endswith("#writerIdentity}")
    for topic in kind(graph, "pubsub/Topic"):
        assert topic.get("kmsKeyName")
        assert topic.get("messageStoragePolicy.allowedPersistenceRegions") == ["us-central1"]


def test_a_notice_that_nobody_takes_is_kept(graph: Graph):
    notices = one(graph, "pubsub/Subscription", "queues-interruptions-subscription")
    lost = one(graph, "pubsub/Subscription", "queues-interruptions-lost-subscription")
    assert notices.get("deadLetterPolicy.maxDeliveryAttempts") == 5
    # A dead letter is lost where nobody is subscribed, or where Pub/Sub may not publish it.
    assert {"queues-interruptions-lost-subscription", "queues-interruptions-lost-publisher"} <= before(graph, notices)
    agent = "serviceAccount:service-111111111111@gcp-sa-pubsub.iam.gserviceaccount.com"
    assert one(graph, "pubsub/TopicIAMMember", "queues-interruptions-lost-publisher").get("member") == agent
    assert one(graph, "pubsub/SubscriptionIAMMember", "queues-interruptions-dead-letters").get("member") == agent
    # By default both would be gone after a quiet month.
    assert notices.get("expirationPolicy") == lost.get("expirationPolicy") == {"ttl": ""}


def test_the_order_of_keys_changes_nothing(graph: Graph):
    def inputs(found: Graph) -> dict[str, Any]:
        return {urn: r.inputs for urn, r in found.resources.items() if r.custom}

    assert inputs(build(dict(reversed(QUEUES.items())))) == inputs(graph)


def test_a_first_preview_works(graph: Graph):
    assert set(build(preview=True).resources) == set(graph.resources)
