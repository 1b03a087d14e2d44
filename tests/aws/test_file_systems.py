"""File systems on AWS: who reaches them, what they are linked to, what a destroy takes, and what the bucket's key lets in."""

from datetime import date
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest

from components import contracts
from components.aws.data.file_systems import FileSystem, FileSystems, FileSystemsArgs
from components.aws.foundation.keys import policy
from components.core.naming import Names
from components.scope import Scope
from policies.model import Graph, Resource
from preview.record import run
from tests.aws.building import kind, one, waits_for

HERE = "111111111111"
KEY = f"arn:aws:kms:us-west-2:{HERE}:key/1"


def build(
    *, protection: str = "delete", fast: bool = False, clients: bool = True, preview: bool = False, **more: Any
) -> Graph:
    def program() -> None:
        root = pulumi.ComponentResource("test:Root", "root")
        opts = pulumi.ResourceOptions(parent=root)
        provider = aws.Provider("aws", region="us-west-2", opts=opts)
        inside = pulumi.ResourceOptions(parent=root, provider=provider)
        scope = Scope(
            environment="dev", tier="dev" if protection == "delete" else "prod", cloud="aws", account=HERE,
            region="us-west-2", replica_region=None, names=Names("acme-ai", "dev"), tags={}, protection=protection,
            log_days=30, today=date(2026, 1, 1), provider=provider,
        )  # fmt: skip
        text = pulumi.Output.from_input
        network = contracts.Network(
            id=text("vpc-1"), workload_subnets=[text("subnet-1")], data_subnets=[text("subnet-2")], cidr="10.16.0.0/16"
        )
        bucket = aws.s3.Bucket("artifacts", bucket="acme-ai-dev-artifacts", opts=inside)
        group = aws.ec2.SecurityGroup("cluster", vpc_id="vpc-1", opts=inside)
        scratch = FileSystem(
            bucket=contracts.Storage(name=bucket.bucket, uri=bucket.bucket, resource=bucket.arn),
            zone="artifacts",
            prefix="runs/",
            capacity_gib=4800,
            throughput=1000,
            fast=fast,
            key=contracts.Key(id=text(KEY), replica=None),
            subnet=network.workload_subnets[0],
            tags={"team": "vision"},
        )
        made = FileSystems(
            "file-systems",
            FileSystemsArgs(
                file_systems={"scratch": scratch, **more},
                network=network,
                clients={"cluster": group.id} if clients else {},
                logs_key=contracts.Key(id=text(KEY), replica=None),
            ),
            scope=scope,
            parent=root,
        )
        # Whoever mounts it comes after what its address passes through.
        aws.sns.Topic("user", display_name=made.outputs.addresses["scratch"], opts=inside)

    return run(program, preview=preview)


def test_it_is_encrypted_by_our_key_fast_and_logged() -> None:
    graph = build()
    made = one(graph, "LustreFileSystem", "file-systems-scratch")
    assert made.get("kmsKeyId") == KEY
    assert (made.get("deploymentType"), made.get("storageType")) == ("PERSISTENT_2", "SSD")
    assert (made.get("storageCapacity"), made.get("perUnitStorageThroughput")) == (4800, 1000)
    assert made.get("dataCompressionType") == "LZ4"
    # Metadata that grows with it takes 2.15, and cannot be had later.
    assert made.get("metadataConfiguration") == {"mode": "AUTOMATIC"}
    assert made.get("fileSystemTypeVersion") == "2.15"
    assert made.get("subnetIds") == "subnet-1"
    assert made.get("tags") == {"Name": "acme-ai-dev-scratch", "zone": "artifacts", "team": "vision"}
    log = one(graph, "LogGroup", "file-systems-log")
    assert log.get("name").startswith("/aws/fsx/"), "FSx writes to groups of this prefix only"
    assert log.get("kmsKeyId") == KEY
    assert log.get("retentionInDays") == 30
    assert made.get("logConfiguration.level") == "WARN_ERROR"
    assert waits_for(graph, made, log)


def test_there_is_no_backup_of_what_is_linked() -> None:
    made = one(build(), "LustreFileSystem", "file-systems-scratch")
    # FSx refuses a file system with backups a link, and a linked one a last backup.
    assert made.get("automaticBackupRetentionDays") == 0
    assert made.get("skipFinalBackup") is True


def test_the_folder_is_a_view_of_the_zone_both_ways() -> None:
    graph = build()
    link = one(graph, "DataRepositoryAssociation", "file-systems-scratch-link")
    assert link.get("dataRepositoryPath") == "s3://acme-ai-dev-artifacts/runs/"
    assert link.get("fileSystemPath") == "/artifacts"
    for way in ("autoImportPolicy", "autoExportPolicy"):
        assert set(link.get(f"s3.{way}.events")) == {"NEW", "CHANGED", "DELETED"}
    # What is in the zone from before is seen too; and a link that goes takes no file along.
    assert link.get("batchImportMetaDataOnCreate") is True
    assert link.get("deleteDataInFilesystem") is False
    user = one(graph, "Topic", "user")
    assert waits_for(graph, user, one(graph, "LustreFileSystem", "file-systems-scratch"), link)


@pytest.mark.parametrize("protection", ["delete", "protect", "retain"])
def test_a_destroy_takes_it_only_where_the_tier_says_so(protection: str) -> None:
    graph = build(protection=protection)
    made = one(graph, "LustreFileSystem", "file-systems-scratch")
    assert bool(made.protect) == (protection != "delete")
    assert bool(made.retain_on_delete) == (protection == "retain")
    # Teardown: link, then file system, then its ways and its group.
    assert waits_for(graph, one(graph, "DataRepositoryAssociation", "file-systems-scratch-link"), made)
    assert waits_for(graph, made, *ways(graph), one(graph, "SecurityGroup", "file-systems-network"))


def ways(graph: Graph) -> list[Resource]:
    return [*kind(graph, "SecurityGroupIngressRule"), *kind(graph, "SecurityGroupEgressRule")]


def test_only_lustre_passes_and_only_between_it_and_its_clients() -> None:
    graph = build()
    own, theirs = (f"${{{one(graph, 'SecurityGroup', name).urn}#id}}" for name in ("file-systems-network", "cluster"))

    def said(rules: list[Resource]) -> set[tuple[str, str, int, int]]:
        for rule in rules:
            assert rule.get("ipProtocol") == "tcp"
            assert not rule.get("cidrIpv4"), "machines, never ranges"
        return {
            (r.get("securityGroupId"), r.get("referencedSecurityGroupId"), r.get("fromPort"), r.get("toPort"))
            for r in rules
        }

    pairs = ((own, own), (own, theirs), (theirs, own))
    expected = {(a, b, *span) for a, b in pairs for span in ((988, 988), (1018, 1023))}
    # Servers call clients back: both ways in, and for each the way out of the other.
    assert said(kind(graph, "SecurityGroupIngressRule")) == expected
    assert said(kind(graph, "SecurityGroupEgressRule")) == expected
    assert not one(graph, "SecurityGroup", "file-systems-network").get("egress")


def test_over_the_fabric_everything_passes_between_them() -> None:
    graph = build(fast=True)
    assert one(graph, "LustreFileSystem", "file-systems-scratch").get("efaEnabled") is True
    assert {(rule.get("ipProtocol"), rule.get("fromPort")) for rule in ways(graph)} == {("-1", None)}
    assert len(ways(graph)) == 6
    assert one(build(), "LustreFileSystem", "file-systems-scratch").get("efaEnabled") is False


def test_without_file_systems_nothing_is_made() -> None:
    def program() -> None:
        root = pulumi.ComponentResource("test:Root", "root")
        provider = aws.Provider("aws", region="us-west-2", opts=pulumi.ResourceOptions(parent=root))
        scope = Scope(
            environment="dev", tier="dev", cloud="aws", account=HERE, region="us-west-2", replica_region=None,
            names=Names("acme-ai", "dev"), tags={}, protection="delete", log_days=30, today=date(2026, 1, 1),
            provider=provider,
        )  # fmt: skip
        text = pulumi.Output.from_input
        network = contracts.Network(id=text("vpc-1"), workload_subnets=[], data_subnets=[], cidr="10.16.0.0/16")
        args = FileSystemsArgs(
            file_systems={}, network=network, clients={}, logs_key=contracts.Key(id=text(KEY), replica=None)
        )
        FileSystems("file-systems", args, scope=scope, parent=root)

    assert not [r for r in run(program).resources.values() if r.type.startswith("aws:")]


def test_a_first_preview_knows_nothing_and_still_shows_all() -> None:
    graph = build(preview=True)
    assert kind(graph, "LustreFileSystem")
    assert kind(graph, "DataRepositoryAssociation")
    assert len(ways(graph)) == 12


@pytest.mark.parametrize("domain", ["data", "models", "logs", "secrets", "compute"])
def test_the_role_that_copies_may_use_the_keys_of_buckets_through_s3_only(domain: Any) -> None:
    found = [s for s in policy(HERE, "us-west-2", domain)["Statement"] if s.get("Sid") == "LinkedFileSystems"]
    if domain in {"secrets", "compute"}:
        assert not found
        return
    [statement] = found
    # Not as the principal: FSx makes the role with the file system, and a key is there before.
    assert statement["Principal"] == {"AWS": "*"}
    assert statement["Condition"]["StringEquals"] == {
        "kms:CallerAccount": HERE,
        "kms:ViaService": ["s3.us-west-2.amazonaws.com"],
    }
    assert statement["Condition"]["ArnLike"]["aws:PrincipalArn"] == (
        f"arn:aws:iam::{HERE}:role/aws-service-role/s3.data-source.lustre.fsx.amazonaws.com/AWSServiceRoleForFSxS3Access_fs-*"
    )
    assert "kms:CreateGrant" not in statement["Action"]
