"""The database of experiments on Google Cloud: who reaches it, who signs in, and what a destroy leaves."""

from datetime import date
from types import SimpleNamespace
from typing import Any

import pulumi
import pulumi_gcp as gcp
import pytest

from components import contracts
from components.core.cloud_sql import TRACKING_USER
from components.core.naming import LIMITS, Names
from components.gcp.blocks import cloud_sql
from components.gcp.training import database
from components.gcp.training.database import Database, DatabaseArgs
from components.scope import Scope
from policies.model import Graph
from preview.record import run
from tests.gcp.building import before, kind, one

KEY = "projects/acme-ai-dev/locations/us-central1/keyRings/keys/cryptoKeys/data"
APIS = ("cloudresourcemanager", "iam", "sqladmin")


def text(value: str) -> contracts.Text:
    return pulumi.Output.from_input(value)


def build(
    protection: str = "delete", tier: Any = "dev", prefix: str = "acme-ai", preview: bool = False, **args: Any
) -> Graph:
    def program() -> None:
        root = pulumi.ComponentResource("test:Root", "root")
        provider = gcp.Provider("gcp", project="acme-ai-dev", opts=pulumi.ResourceOptions(parent=root))
        scope = Scope(
            environment="dev", tier=tier, cloud="gcp", account="acme-ai-dev", region="us-central1", replica_region=None,
            names=Names(prefix, "dev"), tags={}, protection=protection, log_days=30, today=date(2026, 1, 1),
            provider=provider,
        )  # fmt: skip
        opts = pulumi.ResourceOptions(parent=root, provider=provider)
        control = gcp.container.Cluster("cluster", name="acme-ai-dev", location="us-central1", opts=opts)
        cluster = contracts.Cluster(
            name=control.name, physical_name="acme-ai-dev", endpoint=control.endpoint, location="us-central1",
            provider=provider, resource=control, node_identity=text("node"), security_group=None,
        )  # fmt: skip
        given: dict[str, Any] = {
            "apis": {f"{api}.googleapis.com": text("acme-ai-dev") for api in APIS},
            "size": "small", "disk_gib": 20, "max_disk_gib": 200,
            "network": contracts.Network(
                id=text("projects/acme-ai-dev/global/networks/vpc"), workload_subnets=[], data_subnets=[],
                cidr="10.64.0.0/16",
            ),
            "cluster": cluster, "pod": ("tracking", "mlflow"),
            "bucket": contracts.Storage(
                name=text("acme-ai-dev-artifacts"), uri=text("gs://acme-ai-dev-artifacts"),
                resource=text("acme-ai-dev-artifacts"),
            ),
            "zone": "artifacts", "key": contracts.Key(id=text(KEY), replica=None), "generation": 1,
        }  # fmt: skip
        made = Database("tracking-database", DatabaseArgs(**{**given, **args}), scope=scope, parent=root).outputs
        pulumi.export("host", made.host)
        pulumi.export("identity", made.identity)

    return run(program, preview=preview)


def instance(graph: Graph) -> Any:
    return one(graph, "sql/DatabaseInstance", "tracking-database-instance")


@pytest.mark.parametrize("preview", [False, True])
def test_it_has_a_private_address_and_speaks_tls_only(preview: bool):
    found = instance(build(preview=preview)).get("settings.ipConfiguration")
    assert found == {
        "ipv4Enabled": False,
        "privateNetwork": "projects/acme-ai-dev/global/networks/vpc",
        "sslMode": "ENCRYPTED_ONLY",
    }


def test_it_is_encrypted_with_our_key():
    assert instance(build()).get("encryptionKeyName") == KEY


def test_the_server_signs_in_as_itself_and_nobody_has_a_password():
    graph = build()
    (user,) = kind(graph, "sql/User")
    assert user.get("type") == "CLOUD_IAM_SERVICE_ACCOUNT"
    # A check looks whether the database takes the name of this one.
    assert [r.name for r in kind(graph, "serviceaccount/Account") if r.urn in user.links("name")] == [
        f"{TRACKING_USER}-account"
    ]
    assert user.get("password") is None
    assert instance(graph).get("rootPassword") is None
    flags = {each["name"]: each["value"] for each in instance(graph).get("settings.databaseFlags")}
    assert flags["cloudsql.iam_authentication"] == "on"
    # Else it could make no table since PostgreSQL 15.
    assert user.get("databaseRoles") == ["cloudsqlsuperuser"]
    assert not kind(graph, "serviceaccount/Key")


def test_it_signs_in_to_this_instance_and_keeps_what_is_under_its_prefix():
    graph = build()
    grants = {each.get("role"): each.get("condition.expression") for each in kind(graph, "projects/IAMMember")}
    name = instance(graph).get("name")
    assert grants == {"roles/cloudsql.instanceUser": database.condition("acme-ai-dev", name)}
    (artifacts,) = kind(graph, "storage/BucketIAMMember")
    assert artifacts.get("role") == "roles/storage.objectUser"
    assert artifacts.get("condition.expression") == (
        "resource.name.startsWith('projects/_/buckets/acme-ai-dev-artifacts/objects/mlflow/') || "
        "api.getAttribute('storage.googleapis.com/objectListPrefix', '').startsWith('mlflow/')"
    )


def test_only_pods_of_its_account_become_the_server_once_the_cluster_is_there():
    graph = build()
    pods = one(graph, "serviceaccount/IAMMember", "tracking-database-pods")
    assert pods.get("member") == "serviceAccount:acme-ai-dev.svc.id.goog[tracking/mlflow]"
    assert pods.get("role") == "roles/iam.workloadIdentityUser"
    assert "cluster" in before(graph, pods)


@pytest.mark.parametrize(
    ("protection", "tier", "keeps", "backups"),
    [("delete", "dev", False, 7), ("protect", "staging", True, 14), ("retain", "prod", True, 35)],
)
def test_what_holds_data_stays_where_it_has_to(protection: str, tier: str, keeps: bool, backups: int):
    found = instance(build(protection, tier))
    assert found.protect is keeps
    assert found.get("deletionProtection") is keeps
    assert found.get("settings.deletionProtectionEnabled") is keeps
    assert found.get("settings.retainBackupsOnDelete") is keeps
    kept = found.get("settings.backupConfiguration")
    assert kept["enabled"]
    assert kept["pointInTimeRecoveryEnabled"]
    assert kept["backupRetentionSettings"]["retainedBackups"] == backups
    assert found.get("settings.availabilityType") == ("REGIONAL" if tier == "prod" else "ZONAL")


def test_a_disk_that_grew_is_not_made_smaller():
    found = instance(build())
    assert found.ignore_changes == ("settings.diskSize",)
    assert (found.get("settings.diskAutoresize"), found.get("settings.diskAutoresizeLimit")) == (True, 200)
    assert instance(build(disk_gib=200)).get("settings.diskAutoresize") is False


def test_a_destroy_does_not_stumble_over_what_the_user_owns():
    graph = build()
    assert one(graph, "sql/User", "tracking-database-user").get("deletionPolicy") == "ABANDON"
    assert one(graph, "sql/Database", "tracking-database-contents").get("deletionPolicy") == "ABANDON"


def test_a_later_life_takes_another_name_and_names_fit():
    assert instance(build(generation=2)).get("name") == "acme-ai-dev-tracking-database-2"
    assert len(instance(build(prefix="a" * 60)).get("name")) <= LIMITS["database"]


def test_all_that_vouch_for_it_are_handed_on():
    found = [SimpleNamespace(cert="first\n"), SimpleNamespace(cert="second")]
    assert cloud_sql.certificates(found) == "first\nsecond\n"
