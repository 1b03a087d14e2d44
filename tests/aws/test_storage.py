"""Storage zones: who may reach them, what is kept how long, and the copy in the second region."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.aws.data.storage import lifecycle
from policies.model import Graph, Resource
from tests.aws.building import build, by_sid, kind, one, statements, waits_for
from tests.conftest import AWS

Graphs = Callable[..., Graph]
ZONES = ("raw", "curated", "features", "artifacts", "models", "logs", "access-logs")
SIDES = {
    "BucketOwnershipControls": "ownership",
    "BucketPublicAccessBlock": "public-access",
    "BucketServerSideEncryptionConfiguration": "encryption",
    "BucketVersioning": "versioning",
    "BucketPolicy": "policy",
    "BucketLifecycleConfiguration": "lifecycle",
}


@pytest.mark.parametrize("stack", AWS)
def test_every_bucket_has_every_protection(graphs: Graphs, stack: str) -> None:
    graph = graphs(stack)
    buckets = kind(graph, "Bucket")
    assert len(buckets) == len(ZONES) * (2 if stack == "prod" else 1)
    for bucket in buckets:
        for name, part in SIDES.items():
            side = one(graph, name, bucket.name.removesuffix("bucket") + part)
            assert side.property_dependencies["bucket"] == (bucket.urn,)
            assert side.provider == bucket.provider
    for block in kind(graph, "BucketPublicAccessBlock"):
        assert all(
            block.get(k) for k in ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
        )
    assert {r.get("rule.objectOwnership") for r in kind(graph, "BucketOwnershipControls")} == {"BucketOwnerEnforced"}
    assert {r.get("versioningConfiguration.status") for r in kind(graph, "BucketVersioning")} == {"Enabled"}


def test_the_handle_of_a_bucket_waits_until_it_is_private_and_encrypted(graphs: Graphs) -> None:
    graph = graphs("prod")
    for zone in ZONES[:-1]:
        # Personas are granted the bucket by its handle: they stand for every user of it.
        arn = f'"arn:aws:s3:::acme-ai-prod-{zone}"'
        policy = next(p for p in kind(graph, "Policy") if "-storage-" in p.name and arn in p.get("policy"))
        needed = [one(graph, name, f"{zone}-{part}") for name, part in SIDES.items() if part != "lifecycle"]
        assert waits_for(graph, policy, *needed, one(graph, "BucketReplicationConfig", f"{zone}-replication"))


def rule(resource: Resource) -> dict[str, Any]:
    return resource.get("rules")[0]


def test_data_is_encrypted_with_the_key_of_its_domain(graphs: Graphs) -> None:
    graph = graphs("prod")
    domains = {"raw": "data", "curated": "data", "features": "data", "artifacts": "models", "models": "models"}
    for zone, domain in domains.items():
        for part, key in (
            ("", one(graph, "Key", f"keys-{domain}-key")),
            ("replica-", one(graph, "ReplicaKey", f"keys-{domain}-replica")),
        ):
            found = rule(one(graph, "BucketServerSideEncryptionConfiguration", f"{zone}-{part}encryption"))
            assert found["bucketKeyEnabled"] is True
            assert found["applyServerSideEncryptionByDefault"] == {
                "sseAlgorithm": "aws:kms",
                "kmsMasterKeyId": f"${{{key.urn}#arn}}",
            }
            found = by_sid(one(graph, "BucketPolicy", f"{zone}-{part}policy"))
            named = found["OnlyItsKey"]["Condition"]
            header = "s3:x-amz-server-side-encryption-aws-kms-key-id"
            assert named == {"Null": {header: "false"}, "StringNotEquals": {header: [f"${{{key.urn}#arn}}"]}}
            assert found["OnlyKms"]["Condition"]["StringNotEquals"] == {"s3:x-amz-server-side-encryption": ["aws:kms"]}


def test_the_zone_of_access_logs_can_be_written_by_the_service_that_delivers_them(graphs: Graphs) -> None:
    graph = graphs("prod")
    for part in ("", "replica-"):
        found = rule(one(graph, "BucketServerSideEncryptionConfiguration", f"access-logs-{part}encryption"))
        assert found["applyServerSideEncryptionByDefault"] == {"sseAlgorithm": "AES256"}
        policy = one(graph, "BucketPolicy", f"access-logs-{part}policy")
        found = by_sid(policy)
        assert "OnlyKms" not in found
        logs = found["AccessLogs"]
        assert logs["Principal"] == {"Service": "logging.s3.amazonaws.com"}
        assert logs["Resource"] == [f"arn:aws:s3:::acme-ai-prod-access-logs{'-replica' if part else ''}/access/*"]
        assert logs["Condition"]["StringEquals"] == {"aws:SourceAccount": "333333333333"}
        assert logs["Condition"]["ArnLike"] == {"aws:SourceArn": "arn:aws:s3:::acme-ai-prod-*"}


@pytest.mark.parametrize("stack", AWS)
def test_every_access_is_logged_in_its_own_region(graphs: Graphs, stack: str) -> None:
    graph = graphs(stack)
    logged = kind(graph, "BucketLogging")
    assert len(logged) == len(kind(graph, "Bucket")) - (2 if stack == "prod" else 1)
    for entry in logged:
        zone, copy = entry.name.removesuffix("-logging").removesuffix("-replica"), "-replica" in entry.name
        assert entry.get("targetBucket") == f"acme-ai-{stack}-access-logs{'-replica' if copy else ''}"
        assert entry.get("targetPrefix") == f"access/{zone}/"
        # Deliveries fail where the target's policy is not there yet.
        assert waits_for(graph, entry, one(graph, "BucketPolicy", f"access-logs-{'replica-' if copy else ''}policy"))


@pytest.mark.parametrize(
    ("organization", "condition"),
    [(None, {"aws:PrincipalAccount": "111111111111"}), ("o-abcdefghij", {"aws:PrincipalOrgID": "o-abcdefghij"})],
)
def test_outsiders_and_clear_text_are_denied(
    project: Path, organization: str | None, condition: dict[str, str]
) -> None:
    aws = {"account": "111111111111", "region": "us-west-2"} | ({"organization": organization} if organization else {})
    graph = build(project, {"cloud": {"aws": aws}})
    policies = kind(graph, "BucketPolicy")
    assert len(policies) == len(ZONES)
    for policy in policies:
        found = by_sid(policy)
        outside = found["OnlyInsiders"]
        assert (outside["Effect"], outside["Principal"]) == ("Deny", "*")
        assert outside["Condition"] == {
            "StringNotEquals": condition,
            "BoolIfExists": {"aws:PrincipalIsAWSService": "false"},
        }
        assert found["OnlyOverTls"]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        assert found["OnlyOverTls12"]["Condition"] == {"NumericLessThan": {"s3:TlsVersion": "1.2"}}
        assert not [s for s in statements(policy) if s["Effect"] == "Allow" and s["Principal"] == "*"]


def test_replication_in_prod(graphs: Graphs) -> None:
    graph = graphs("prod")
    configured = kind(graph, "BucketReplicationConfig")
    assert {r.name.removesuffix("-replication") for r in configured} == set(ZONES) - {"access-logs"}
    for config in configured:
        zone = config.name.removesuffix("-replication")
        assert waits_for(
            graph,
            config,
            one(graph, "BucketVersioning", f"{zone}-versioning"),
            one(graph, "BucketVersioning", f"{zone}-replica-versioning"),
            one(graph, "BucketPolicy", f"{zone}-replica-policy"),
            one(graph, "RolePolicy", f"{zone}-replication-policy"),
        )
        found = rule(config)
        domain = {"artifacts": "models", "models": "models", "logs": "logs"}.get(zone, "data")
        key = one(graph, "ReplicaKey", f"keys-{domain}-replica")
        assert found["destination"]["encryptionConfiguration"] == {"replicaKmsKeyId": f"${{{key.urn}#arn}}"}
        assert found["destination"]["bucket"] == f"arn:aws:s3:::acme-ai-prod-{zone}-replica"
        assert found["destination"]["replicationTime"]["status"] == "Enabled"
        assert found["sourceSelectionCriteria"]["sseKmsEncryptedObjects"]["status"] == "Enabled"
        assert found["deleteMarkerReplication"] == {"status": "Enabled"}
        alarm = one(graph, "MetricAlarm", f"{zone}-replication-failed")
        assert alarm.get("dimensions") == {
            "SourceBucket": f"acme-ai-prod-{zone}",
            "DestinationBucket": f"acme-ai-prod-{zone}-replica",
            "RuleId": found["id"],
        }
        assert alarm.property_dependencies["alarmActions"]


def test_whoever_copies_can_do_nothing_else(graphs: Graphs) -> None:
    graph = graphs("prod")
    found = statements(one(graph, "RolePolicy", "raw-replication-policy"))
    targets = {r for s in found for r in s["Resource"] if r.startswith("arn:aws:s3")}
    assert targets == {
        "arn:aws:s3:::acme-ai-prod-raw",
        "arn:aws:s3:::acme-ai-prod-raw/*",
        "arn:aws:s3:::acme-ai-prod-raw-replica/*",
    }
    keys = [s for s in found if any(a.startswith("kms:") for a in s["Action"])]
    regions = {s["Action"][0]: s["Condition"]["StringEquals"]["kms:ViaService"] for s in keys}
    assert regions == {"kms:Decrypt": ["s3.us-west-2.amazonaws.com"], "kms:Encrypt": ["s3.us-east-2.amazonaws.com"]}
    assert all("kms:EncryptionContext:aws:s3:arn" in s["Condition"]["StringLike"] for s in keys)
    [trust] = statements(one(graph, "Role", "raw-replication-role"), "assumeRolePolicy")
    assert trust["Condition"] == {"StringEqualsIfExists": {"aws:SourceAccount": "333333333333"}}


@pytest.mark.parametrize("stack", ["dev", "staging"])
def test_no_copy_where_none_is_wanted(graphs: Graphs, stack: str) -> None:
    graph = graphs(stack)
    assert not kind(graph, "BucketReplicationConfig")
    assert not kind(graph, "ReplicaKey")
    assert {r.get("multiRegion") for r in kind(graph, "Key")} == {False}


def rules(graph: Graph, zone: str) -> dict[str, dict[str, Any]]:
    return {r["id"]: r for r in one(graph, "BucketLifecycleConfiguration", f"{zone}-lifecycle").get("rules")}


def test_ages_come_from_the_description(graphs: Graphs) -> None:
    dev, prod = graphs("dev"), graphs("prod")
    assert rules(dev, "artifacts")["expire-checkpoints"]["expiration"] == {"days": 14}
    assert rules(prod, "artifacts")["expire-checkpoints"]["expiration"] == {"days": 90}
    assert {i for i in rules(prod, "logs") if i.startswith("expire")} == {"expire-capture", "expire-prompts"}
    assert rules(prod, "access-logs")["expire-access"]["expiration"] == {"days": 400}
    assert rules(prod, "models")["old-versions"]["noncurrentVersionExpiration"]["newerNoncurrentVersions"] == 20
    assert "newerNoncurrentVersions" not in rules(prod, "raw")["old-versions"]["noncurrentVersionExpiration"]
    assert rules(prod, "raw")["cool"]["transitions"] == [{"days": 60, "storageClass": "STANDARD_IA"}]


def test_a_zone_says_for_itself(project: Path) -> None:
    zones = {
        "raw": {
            "team": "vision",
            "cool_after_days": 10,
            "expire_after_days": 100,
            "old_versions_days": 5,
            "old_versions_kept": 3,
        }
    }
    graph = build(project, {"data": {"zones": zones}})
    found = rules(graph, "raw")
    assert found["cool"]["transitions"] == [{"days": 10, "storageClass": "GLACIER_IR"}]
    assert found["expire-everything"] == {
        "id": "expire-everything",
        "status": "Enabled",
        "filter": {"prefix": ""},
        "expiration": {"days": 100},
    }
    assert found["old-versions"]["noncurrentVersionExpiration"] == {"noncurrentDays": 5, "newerNoncurrentVersions": 3}
    assert one(graph, "Bucket", "raw-bucket").get("tags") == {"zone": "raw", "team": "vision", "cost-center": "cc-4210"}


days = st.none() | st.integers(1, 3650)


@given(cool=days, expire=days, prefix=st.integers(1, 3650), kept=st.none() | st.integers(1, 100))
def test_s3_accepts_every_lifecycle(cool: int | None, expire: int | None, prefix: int, kept: int | None) -> None:
    found = lifecycle(
        cool_after_days=cool, expire_after_days=expire, expiries={"capture/": prefix}, old_versions_kept=kept
    )
    assert len({r.get("id") for r in found}) == len(found)
    moved = [t for r in found for t in r.get("transitions", [])]
    for move in moved:
        assert move["storage_class"] != "STANDARD_IA" or move["days"] >= 30
        assert expire is None or expire > move["days"]
    # One rule may expire by age or clean up what is left of deletions, but not both; neither may two for the same objects.
    whole = [r["expiration"] for r in found if r["filter"] == {"prefix": ""} and "expiration" in r]
    assert len(whole) == 1
