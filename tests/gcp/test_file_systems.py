"""File systems on Google Cloud: who encrypts them, what their agent may do, and what a destroy takes."""

from dataclasses import replace
from datetime import date
from typing import Any

import pulumi
import pulumi_gcp as gcp
import pytest

from components import contracts
from components.core.naming import Names
from components.gcp.data.file_systems import FileSystem, FileSystems, FileSystemsArgs, file_system_name
from components.scope import Scope
from policies.model import Graph
from preview.record import run
from tests.gcp.building import before, kind, one

KEY = "projects/acme-ai-dev/locations/us-central1/keyRings/keys/cryptoKeys/models"
AGENT = "serviceAccount:service-111111111111@gcp-sa-lustre.iam.gserviceaccount.com"


def build(*, protection: str = "delete", ours: bool = False, none: bool = False, preview: bool = False) -> Graph:
    def program() -> None:
        root = pulumi.ComponentResource("test:Root", "root")
        provider = gcp.Provider("gcp", project="acme-ai-dev", opts=pulumi.ResourceOptions(parent=root))
        opts = pulumi.ResourceOptions(parent=root, provider=provider)
        scope = Scope(
            environment="dev-gcp", tier="dev" if protection == "delete" else "prod", cloud="gcp", account="acme-ai-dev",
            region="us-central1", replica_region=None, names=Names("acme-ai", "dev-gcp"), tags={}, protection=protection,
            log_days=30, today=date(2026, 1, 1), provider=provider,
        )  # fmt: skip
        api = gcp.projects.Service("lustre", service="lustre.googleapis.com", project="acme-ai-dev", opts=opts)
        bucket = gcp.storage.Bucket("artifacts", name="acme-ai-dev-gcp-artifacts", location="US-CENTRAL1", opts=opts)
        text = pulumi.Output.from_input
        network = contracts.Network(
            id=text("projects/acme-ai-dev/global/networks/vpc"),
            workload_subnets=[],
            data_subnets=[],
            cidr="10.0.0.0/16",
        )
        scratch = FileSystem(
            bucket=contracts.Storage(name=bucket.name, uri=bucket.url, resource=bucket.name),
            zone="artifacts",
            capacity_gib=9000,
            throughput=1000,
            key=contracts.Key(id=text(KEY), replica=None) if ours else None,
            place="us-central1-a",
            tags={"team": "vision"},
        )
        systems: dict[str, Any] = {"scratch": scratch, "second": replace(scratch, throughput=500, capacity_gib=18_000)}
        made = FileSystems(
            "file-systems",
            FileSystemsArgs(
                apis={"lustre.googleapis.com": api.project},
                number="111111111111",
                file_systems={} if none else systems,
                network=network,
            ),
            scope=scope,
            parent=root,
        )
        if not none:
            gcp.pubsub.Topic("user", name=made.outputs.addresses["scratch"], opts=opts)

    return run(program, preview=preview)


def test_what_is_asked_for_is_made_where_pods_can_mount_it() -> None:
    graph = build()
    made = one(graph, "lustre/Instance", "file-systems-scratch")
    assert made.get("instanceId") == "acme-ai-dev-gcp-scratch"
    assert (made.get("capacityGib"), made.get("perUnitStorageThroughput")) == ("9000", "1000")
    assert made.get("location") == "us-central1-a"
    assert made.get("network") == "projects/acme-ai-dev/global/networks/vpc"
    # GKE cannot mount one with a key of ours; and the flag for GKE means a port that it no longer uses.
    assert not made.get("kmsKey")
    assert not made.get("gkeSupportEnabled")
    assert made.get("labels") == {"team": "vision", "zone": "artifacts"}
    assert not kind(graph, "kms/CryptoKeyIAMMember")
    assert "lustre" in before(graph, made)


def test_one_for_machines_is_encrypted_by_our_key_once_the_agent_may_use_it() -> None:
    graph = build(ours=True)
    made = one(graph, "lustre/Instance", "file-systems-scratch")
    assert made.get("kmsKey") == KEY
    grant = one(graph, "kms/CryptoKeyIAMMember", "file-systems-scratch-key")
    assert (grant.get("cryptoKeyId"), grant.get("member")) == (KEY, AGENT)
    assert {grant.name, "file-systems-agent"} <= before(graph, made)
    assert "file-systems-agent" in before(graph, grant), "a grant to an agent that is not there yet is refused"


def test_the_agent_copies_from_and_to_the_bucket_and_may_do_nothing_else() -> None:
    graph = build()
    # Two file systems of one zone share one grant.
    [grant] = kind(graph, "storage/BucketIAMMember")
    assert grant.get("role") == "roles/storage.objectUser"
    assert grant.get("member") == AGENT
    assert "file-systems-agent" in before(graph, grant)
    assert {"file-systems-scratch", grant.name} <= before(graph, one(graph, "pubsub/Topic", "user"))


@pytest.mark.parametrize("protection", ["delete", "protect", "retain"])
def test_a_destroy_takes_it_only_where_the_tier_says_so(protection: str) -> None:
    made = one(build(protection=protection), "lustre/Instance", "file-systems-scratch")
    assert bool(made.protect) == (protection != "delete")
    assert bool(made.retain_on_delete) == (protection == "retain")
    assert made.get("deletionPolicy") == ("DELETE" if protection == "delete" else "PREVENT")


def test_names_fit() -> None:
    for label in ("a", "scratch", "team-vision-checkpoints", "x" * 32):
        assert file_system_name(label).isalnum()
        assert 1 <= len(file_system_name(label)) <= 8


def test_without_file_systems_nothing_is_made() -> None:
    graph = build(none=True)
    assert not kind(graph, "lustre/Instance")
    assert not kind(graph, "projects/ServiceIdentity")


def test_a_first_preview_knows_nothing_and_still_shows_all() -> None:
    assert len(kind(build(preview=True), "lustre/Instance")) == 2
