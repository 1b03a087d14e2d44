"""The database of experiments on AWS: who reaches it, where its password is, and what a destroy leaves."""

from datetime import date
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest

from components import contracts
from components.aws.training.database import Database, DatabaseArgs
from components.core.naming import LIMITS, Names
from components.scope import Scope
from policies.model import Graph
from preview.record import run
from tests.aws.building import kind, one, statements, waits_for

AT = "arn:aws:kms:us-west-2:111111111111:key"


def text(value: str) -> contracts.Text:
    return pulumi.Output.from_input(value)


def key(name: str) -> contracts.Key:
    return contracts.Key(id=text(f"{AT}/{name}"), replica=None)


def build(
    protection: str = "delete", tier: Any = "dev", prefix: str = "acme-ai", preview: bool = False, **args: Any
) -> Graph:
    def program() -> None:
        root = pulumi.ComponentResource("test:Root", "root")
        provider = aws.Provider("aws", region="us-west-2", opts=pulumi.ResourceOptions(parent=root))
        scope = Scope(
            environment="dev", tier=tier, cloud="aws", account="111111111111", region="us-west-2", replica_region=None,
            names=Names(prefix, "dev"), tags={}, protection=protection, log_days=30, today=date(2026, 1, 1),
            provider=provider,
        )  # fmt: skip
        bucket = contracts.Storage(
            name=text("acme-ai-dev-artifacts"),
            uri=text("s3://acme-ai-dev-artifacts"),
            resource=text("arn:aws:s3:::acme-ai-dev-artifacts"),
        )
        network = contracts.Network(
            id=text("vpc-1"),
            workload_subnets=[text("subnet-1")],
            data_subnets=[text("subnet-2"), text("subnet-3")],
            cidr="10.16.0.0/16",
        )
        cluster = contracts.Cluster(
            name=text("acme-ai-dev"), physical_name="acme-ai-dev", endpoint=text("https://10.0.0.1"), location="here",
            provider=provider, resource=root, node_identity=text("node"), security_group=text("sg-machines"),
        )  # fmt: skip
        given: dict[str, Any] = {
            "size": "small", "disk_gib": 20, "max_disk_gib": 200, "network": network, "cluster": cluster,
            "pod": ("tracking", "mlflow"), "bucket": bucket, "bucket_key": key("models"), "key": key("data"),
            "secrets_key": key("secrets"), "logs_key": key("logs"),
            "boundary": contracts.Boundary(id=text("arn:aws:iam::111111111111:policy/boundary")),
        }  # fmt: skip
        made = Database("tracking-database", DatabaseArgs(**{**given, **args}), scope=scope, parent=root).outputs
        pulumi.export("host", made.host)
        pulumi.export("identity", made.identity)
        pulumi.export("artifacts", made.artifacts)

    return run(program, preview=preview)


def instance(graph: Graph) -> Any:
    return one(graph, "Instance", "tracking-database-instance")


@pytest.mark.parametrize("preview", [False, True])
def test_only_the_machines_of_the_cluster_reach_it(preview: bool):
    graph = build(preview=preview)
    (way,) = kind(graph, "SecurityGroupIngressRule")
    assert way.get("referencedSecurityGroupId") == "sg-machines"
    assert (way.get("fromPort"), way.get("toPort"), way.get("ipProtocol")) == (5432, 5432, "tcp")
    assert way.get("cidrIpv4") is None
    assert not kind(graph, "SecurityGroupEgressRule")
    assert instance(graph).get("publiclyAccessible") is False
    assert one(graph, "SubnetGroup", "tracking-database-subnets").get("subnetIds") == ["subnet-2", "subnet-3"]


def test_nothing_is_in_the_clear():
    graph = build()
    found = instance(graph)
    assert found.get("storageEncrypted") is True
    assert found.get("kmsKeyId") == found.get("performanceInsightsKmsKeyId") == f"{AT}/data"
    group = one(graph, "ParameterGroup", "tracking-database-parameters")
    parameters = {each["name"]: each["value"] for each in group.get("parameters")}
    assert parameters["rds.force_ssl"] == "1"
    assert group.get("family") == f"postgres{found.get('engineVersion')}"


def test_rds_keeps_the_password_and_only_the_server_reads_it():
    graph = build()
    found = instance(graph)
    assert found.get("manageMasterUserPassword") is True
    assert found.get("masterUserSecretKmsKeyId") == f"{AT}/secrets"
    assert found.get("password") is None
    by_action = {action: s for s in statements(one(graph, "RolePolicy", "tracking-database-client-policy"))
        for action in s["Action"] if "kms" not in action}  # fmt: skip
    (secret,) = by_action["secretsmanager:GetSecretValue"]["Resource"]
    assert found.urn in secret
    assert "masterUserSecrets" in secret
    (decrypts,) = [
        s
        for s in statements(one(graph, "RolePolicy", "tracking-database-client-policy"))
        if s["Resource"] == [f"{AT}/secrets"]
    ]
    assert decrypts["Action"] == ["kms:Decrypt"]
    assert decrypts["Condition"]["StringEquals"] == {
        "kms:ViaService": ["secretsmanager.us-west-2.amazonaws.com"],
        "kms:EncryptionContext:SecretARN": secret,
    }


def test_the_server_has_its_own_prefix_and_no_other():
    graph = build()
    for statement in statements(one(graph, "RolePolicy", "tracking-database-client-policy")):
        if statement["Action"] == ["s3:ListBucket"]:
            assert statement["Condition"] == {"StringLike": {"s3:prefix": ["mlflow/", "mlflow/*"]}}
        elif statement["Action"][0].startswith("s3:"):
            assert statement["Resource"] == ["arn:aws:s3:::acme-ai-dev-artifacts/mlflow/*"]


def test_only_pods_of_its_account_become_the_server():
    graph = build()
    (trust,) = statements(one(graph, "Role", "tracking-database-client-role"), "assumeRolePolicy")
    assert trust["Principal"] == {"Service": "pods.eks.amazonaws.com"}
    tags = {"kubernetes-namespace": "tracking", "kubernetes-service-account": "mlflow"}
    assert trust["Condition"]["StringEquals"] == {f"aws:RequestTag/{name}": value for name, value in tags.items()}
    association = one(graph, "PodIdentityAssociation", "tracking-database-pods")
    assert (association.get("namespace"), association.get("serviceAccount")) == ("tracking", "mlflow")


def test_logs_are_ours_before_anything_writes_to_them():
    graph = build()
    groups = kind(graph, "LogGroup")
    found = instance(graph)
    assert {each.get("name") for each in groups} == {
        f"/aws/rds/instance/{found.get('identifier')}/{kind_}" for kind_ in found.get("enabledCloudwatchLogsExports")
    }
    assert all(each.get("kmsKeyId") == f"{AT}/logs" and each.get("retentionInDays") == 30 for each in groups)
    assert waits_for(graph, found, *groups)


@pytest.mark.parametrize(
    ("protection", "tier", "keeps", "days"),
    [("delete", "dev", False, 7), ("protect", "staging", True, 14), ("retain", "prod", True, 35)],
)
def test_what_holds_data_stays_where_it_has_to(protection: str, tier: str, keeps: bool, days: int):
    found = instance(build(protection, tier))
    assert found.protect is keeps
    assert found.get("deletionProtection") is keeps
    assert found.get("skipFinalSnapshot") is not keeps
    assert bool(found.get("finalSnapshotIdentifier")) is keeps
    assert found.get("deleteAutomatedBackups") is not keeps
    assert found.get("backupRetentionPeriod") == days
    assert found.get("multiAz") is (tier == "prod")


def test_a_ceiling_that_is_no_higher_is_none():
    assert instance(build(disk_gib=200)).get("maxAllocatedStorage") is None
    assert instance(build()).get("maxAllocatedStorage") == 200


def test_names_fit_however_long_the_company_is_called():
    graph = build(prefix="a" * 60)
    for resource in (instance(graph), one(graph, "SubnetGroup", "tracking-database-subnets")):
        assert len(resource.get("identifier") or resource.get("name")) <= LIMITS["database"]
