"""Storage by zone: where it lies, how long, and who is kept out."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pulumi
import pulumi_gcp as gcp
import pytest

from components import contracts
from components.core.google import DualRegion
from components.gcp.data.storage import Storage, StorageArgs
from components.scope import PROJECT
from policies.model import Graph, Resource
from preview.record import run
from tests.conftest import GCP
from tests.gcp.building import before, build, kind, one

Graphs = Callable[..., Graph]
ZONES = ("raw", "curated", "features", "artifacts", "models", "logs", "access-logs")


def buckets(graph: Graph) -> dict[str, Resource]:
    return {b.name.removesuffix("-bucket"): b for b in kind(graph, "storage/Bucket") if b.name.endswith("-bucket")}


def rules(bucket: Resource, action: str) -> list[dict[str, Any]]:
    """Conditions of the rules with an action."""
    return [r["condition"] for r in bucket.get("lifecycleRules") if r["action"]["type"] == action]


@pytest.mark.parametrize("stack", GCP)
def test_every_bucket_is_private_versioned_and_encrypted_by_us(graphs: Graphs, stack: str):
    # Those of functions' sources besides, each a component's own.
    all_of_them = kind(graphs(stack), "storage/Bucket")
    sources = tuple(f"-{function}-source" for function in ("retrieval", "ingestion", "service-ceilings"))
    found = [r for r in all_of_them if not r.get("name").endswith(sources)]
    assert len(found) == len(ZONES) + 1, [r.get("name") for r in all_of_them]
    for bucket in found:
        assert bucket.get("publicAccessPrevention") == "enforced"
        assert bucket.get("uniformBucketLevelAccess") is True
        assert bucket.get("versioning.enabled") is True
        assert "CryptoKey::keys-" in bucket.get("encryption.defaultKmsKeyName")
        assert rules(bucket, "AbortIncompleteMultipartUpload") == [{"age": 7}]


def test_in_prod_every_zone_but_that_of_access_logs_is_kept_in_two_regions(graphs: Graphs):
    found = buckets(graphs("prod-gcp"))
    for zone, bucket in found.items():
        if zone == "access-logs":
            assert bucket.get("location") == "US-CENTRAL1"
            assert bucket.get("rpo") is None
            assert bucket.get("encryption.defaultKmsKeyName").endswith("::keys-logs#id}")
        else:
            # Iowa and South Carolina are a pair of Google's own; to choose them is refused.
            assert bucket.get("location") == "NAM4"
            assert bucket.get("customPlacementConfig") is None
            assert bucket.get("rpo") == "ASYNC_TURBO"
            assert bucket.get("encryption.defaultKmsKeyName").endswith("-copy#id}")
    assert {b.get("location") for b in buckets(graphs("staging-gcp")).values()} == {"US-CENTRAL1"}


def test_a_pair_of_our_choice_is_named_with_both_its_regions(project: Path):
    graph = build(project, stack="prod-gcp", cloud={"region": "europe-west1", "replica_region": "europe-west9"})
    raw = buckets(graph)["raw"]
    assert raw.get("location") == "EU"
    assert raw.get("customPlacementConfig.dataLocations") == ["EUROPE-WEST1", "EUROPE-WEST9"]
    rings = {r.urn: r.get("location") for r in kind(graph, "kms/KeyRing")}
    key = one(graph, "kms/CryptoKey", "keys-data-copy")
    assert rings[next(iter(key.links("keyRing")))] == "europe"


def test_a_zone_of_another_key_has_that_key_where_it_lies(project: Path):
    """Also where one key serves the access logs, which stay in the region, and zones that do not."""
    graph = build(project, {"data": {"zones": {"access-logs": {"key": "data"}}}}, stack="prod-gcp")
    found = buckets(graph)
    assert found["access-logs"].get("encryption.defaultKmsKeyName").endswith("::keys-data#id}")
    assert found["raw"].get("encryption.defaultKmsKeyName").endswith("::keys-data-copy#id}")
    assert found["logs"].get("encryption.defaultKmsKeyName").endswith("::keys-logs-copy#id}")


@pytest.mark.parametrize(
    ("stack", "soft", "force"), [("dev-gcp", 0, True), ("staging-gcp", 7, False), ("prod-gcp", 30, False)]
)
def test_what_a_destroy_may_take_follows_the_tier(graphs: Graphs, stack: str, soft: int, *, force: bool):
    for bucket in buckets(graphs(stack)).values():
        assert bucket.get("forceDestroy") is force
        assert bucket.get("softDeletePolicy.retentionDurationSeconds") == soft * 86_400
        assert bucket.protect is not force
        assert bucket.retain_on_delete is (stack == "prod-gcp")


def test_objects_leave_when_the_description_says_so(project: Path):
    zones = {
        "raw": {"cool_after_days": 40, "expire_after_days": 400, "old_versions_days": 9},
        "curated": {"old_versions_kept": 3},
    }
    found = buckets(build(project, {"data": {"zones": zones}}))
    assert rules(found["raw"], "SetStorageClass") == [{"age": 40, "matchesStorageClasses": ["STANDARD"]}]
    assert rules(found["raw"], "Delete") == [
        {"age": 400, "withState": "LIVE"},
        {"daysSinceNoncurrentTime": 9, "withState": "ARCHIVED"},
    ]
    assert rules(found["curated"], "Delete") == [
        {"daysSinceNoncurrentTime": 30, "numNewerVersions": 4, "withState": "ARCHIVED"}
    ]
    assert not rules(found["curated"], "SetStorageClass")


def test_models_can_be_rolled_back_and_stages_expire_by_prefix(graphs: Graphs):
    found = buckets(graphs("prod-gcp"))
    assert rules(found["models"], "Delete")[-1]["numNewerVersions"] == 21
    expiring = {
        r["matchesPrefixes"][0]: r["age"]
        for zone in ("logs", "access-logs")
        for r in rules(found[zone], "Delete")
        if "matchesPrefixes" in r
    }
    assert expiring == {"access/": 400, "capture/": 365, "prompts/": 365}
    assert {"age": 90, "matchesPrefixes": ["checkpoints/"], "withState": "LIVE"} in rules(found["artifacts"], "Delete")


@pytest.mark.parametrize("stack", GCP)
def test_access_is_logged_into_a_bucket_that_takes_logs_by_then(graphs: Graphs, stack: str):
    graph = graphs(stack)
    writer = one(graph, "storage/BucketIAMMember", "access-logs-usage-logs")
    assert writer.get("member") == "group:cloud-storage-analytics@google.com"
    assert writer.get("role") == "roles/storage.objectCreator"
    for zone, bucket in buckets(graph).items():
        if zone == "access-logs":
            assert bucket.get("logging") is None
            continue
        assert bucket.get("logging.logBucket") == f"acme-ai-{stack}-access-logs"
        # Within what expires with the logs.
        assert bucket.get("logging.logObjectPrefix") == f"access/{zone}"
        assert writer.name in before(graph, bucket)


def test_a_team_pays_for_its_zone(project: Path):
    found = buckets(build(project, {"data": {"zones": {"raw": {"team": "vision"}}}}))
    assert found["raw"].get("labels") == {"team": "vision", "cost-center": "cc-4210", "zone": "raw"}
    assert found["curated"].get("labels") == {"zone": "curated"}


def test_a_zone_in_two_regions_with_a_key_in_one_is_a_mistake_of_ours(project: Path):
    """Cloud Storage would refuse the bucket, and not say why."""
    from components.core.naming import Names
    from components.scope import Scope

    def program() -> None:
        root = pulumi.ComponentResource(f"{PROJECT}:Root", "root", None)
        provider = gcp.Provider("gcp", project="p", opts=pulumi.ResourceOptions(parent=root))
        scope = Scope(
            environment="dev", tier="dev", cloud="gcp", account="p", region="us-west1", replica_region="us-central1",
            names=Names("acme", "dev"), tags={}, protection="delete", log_days=1, today=date(2026, 1, 1),
            provider=provider,
        )  # fmt: skip
        args = StorageArgs(
            apis={}, zone="raw", key=contracts.Key(id=pulumi.Output.from_input("key"), replica=None),
            dual_region=DualRegion(location="US", placement=None, key_location="us"), logs=None, old_versions_days=1,
        )  # fmt: skip
        Storage("raw", args, scope=scope, parent=root)

    with pytest.raises(ValueError, match="zone raw is kept in two regions, and its key in one"):
        run(program)
