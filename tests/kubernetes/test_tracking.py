"""MLflow in a cluster: who reaches it, how it gets at its database, and what starts before what."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components import contracts
from components.kubernetes.contracts import TEAM
from components.kubernetes.training.tracking import keeper
from components.spec.section import CloudName
from policies.model import Graph
from tests.kubernetes.building import before, built, objects
from tests.kubernetes.test_schemas import VERSIONS, wrong

IMAGE = "ghcr.io/mlflow/mlflow:v3.15.1-full"
CLOUDS: tuple[CloudName, ...] = ("aws", "gcp")


def text(value: str) -> contracts.Text:
    return pulumi.Output.from_input(value)


def database(cloud: CloudName) -> contracts.Database:
    aws = cloud == "aws"
    return contracts.Database(
        host=text("database.internal"),
        name="mlflow",
        user=text("mlflow"),
        secret=text("arn:aws:secretsmanager:us-west-2:111111111111:secret:rds!db-1") if aws else None,
        authority=None if aws else text("-----BEGIN CERTIFICATE-----\n"),
        reach="10.16.0.0/16",
        identity=text("tracking@acme-ai-dev.iam.gserviceaccount.com"),
        artifacts=text("s3://acme-ai-dev-artifacts/mlflow" if aws else "gs://acme-ai-dev-artifacts/mlflow"),
    )


def server(cloud: CloudName, tier: str = "dev") -> Graph:
    return built(cloud, tier=tier, args=lambda: {"experiments": (database(cloud), IMAGE)})


def pod(graph: Graph) -> dict[str, Any]:
    return objects(graph, "Deployment")["tracking/mlflow"].inputs["spec"]["template"]["spec"]


def containers(graph: Graph) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in [*pod(graph)["initContainers"], *pod(graph)["containers"]]}


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container["env"]}


def test_it_is_there_only_where_it_is_asked_for():
    assert not [name for name in objects(built("aws")) if "tracking" in name]
    assert "Deployment/tracking/mlflow" in objects(server("aws"))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("cloud", CLOUDS)
def test_its_objects_are_well_formed(cloud: CloudName, version: str):
    assert [found for found in wrong(server(cloud, "prod"), version) if "tracking" in found] == []


@pytest.mark.parametrize("cloud", CLOUDS)
def test_only_pods_of_teams_reach_it(cloud: CloudName):
    graph = server(cloud)
    policy = objects(graph, "NetworkPolicy")["tracking/needed"].inputs["spec"]
    assert policy["podSelector"] == {}
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert policy["ingress"] == [
        {
            "from": [{"namespaceSelector": {"matchExpressions": [{"key": TEAM, "operator": "Exists"}]}}],
            "ports": [{"port": 5000, "protocol": "TCP"}],
        }
    ]
    service = objects(graph, "Service")["tracking/mlflow"].inputs["spec"]
    assert service["type"] == "ClusterIP"
    assert not [name for name in objects(graph) if name.startswith(("Ingress/", "Gateway/", "HTTPRoute/"))]


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_team_finds_a_way_out_to_it_on_the_port_that_it_listens_on(cloud: CloudName):
    """The network policies of EKS take a service's port for the container's."""
    graph = server(cloud)
    port = objects(graph, "Service")["tracking/mlflow"].inputs["spec"]["ports"][0]
    listening = containers(graph)["mlflow"]["ports"][0]["containerPort"]
    assert port["port"] == port["targetPort"] == listening
    labels = objects(graph, "Deployment")["tracking/mlflow"].inputs["spec"]["template"]["metadata"]["labels"]
    for team in ("vision", "risk"):
        rules = objects(graph, "NetworkPolicy")[f"team-{team}/tracking"].inputs["spec"]["egress"]
        (peer,) = rules[0]["to"]
        assert len(rules) == 1
        assert rules[0]["ports"] == [{"port": listening, "protocol": "TCP"}]
        assert peer["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": "tracking"}}
        assert peer["podSelector"]["matchLabels"].items() <= labels.items()


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_fences_are_up_before_the_server(cloud: CloudName):
    graph = server(cloud, "prod")
    first = before(graph, objects(graph, "Deployment")["tracking/mlflow"])
    needed = ["NetworkPolicy/tracking/needed", "ServiceAccount/tracking/mlflow", "Namespace/tracking"]
    needed += ["ConfigMap/tracking/database-authority"] if cloud == "gcp" else []
    assert {objects(graph)[name].urn for name in needed} <= first


@pytest.mark.parametrize("cloud", CLOUDS)
def test_there_is_a_password_before_tables_and_tables_before_the_server(cloud: CloudName):
    graph = server(cloud)
    first, second = pod(graph)["initContainers"]
    assert (first["name"], second["name"]) == ("password", "tables")
    # Else it would have to end before the next one starts.
    assert first["restartPolicy"] == "Always"
    assert "restartPolicy" not in second
    shared = {environment(each)["PGPASSFILE"] for each in containers(graph).values()}
    assert shared == {first["startupProbe"]["exec"]["command"][-1]}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_no_password_is_among_what_the_program_says(cloud: CloudName):
    graph = server(cloud)
    for container in containers(graph).values():
        assert "PGPASSWORD" not in environment(container)
        assert not container.get("envFrom")
    assert not [name for name in objects(graph) if name.startswith("Secret/tracking/")]
    writable = [
        name
        for name, each in containers(graph).items()
        for mount in each["volumeMounts"]
        if mount["name"] == "password" and not mount["readOnly"]
    ]
    assert writable == ["password"]


def test_a_connection_is_encrypted_and_verified_where_that_can_be():
    assert environment(containers(server("aws"))["mlflow"])["PGSSLMODE"] == "require"
    graph = server("gcp")
    for container in containers(graph).values():
        said = environment(container)
        assert said["PGSSLMODE"] == "verify-ca"
        folder, _, file = said["PGSSLROOTCERT"].rpartition("/")
        assert {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}[folder] == "authority"
        assert file in objects(graph, "ConfigMap")["tracking/database-authority"].inputs["data"]
    assert {"name": "authority", "configMap": {"name": "database-authority"}} in pod(graph)["volumes"]


def test_its_account_says_on_gke_who_it_is():
    annotations = objects(server("gcp"), "ServiceAccount")["tracking/mlflow"].inputs["metadata"]["annotations"]
    assert annotations == {"iam.gke.io/gcp-service-account": "tracking@acme-ai-dev.iam.gserviceaccount.com"}
    assert not objects(server("aws"), "ServiceAccount")["tracking/mlflow"].inputs["metadata"].get("annotations")


def test_prod_has_two_and_keeps_one_of_them():
    graph = server("aws", "prod")
    assert objects(graph, "Deployment")["tracking/mlflow"].inputs["spec"]["replicas"] == 2
    assert objects(graph, "PodDisruptionBudget")["tracking/mlflow"].inputs["spec"]["minAvailable"] == 1
    alone = server("aws")
    # With one, a budget would keep a machine from ever being drained.
    assert objects(alone, "Deployment")["tracking/mlflow"].inputs["spec"]["replicas"] == 1
    assert "tracking/mlflow" not in objects(alone, "PodDisruptionBudget")


@pytest.mark.parametrize("cloud", CLOUDS)
def test_it_goes_with_the_cluster(cloud: CloudName):
    graph = server(cloud, "prod")
    mine = [r for name, r in objects(graph).items() if "/tracking" in name]
    assert len(mine) >= 7
    assert all(resource.deleted_with for resource in mine)


def test_a_closed_network_pulls_through_our_registry():
    mirror = "us-central1-docker.pkg.dev/acme/mirror-ghcr-io"
    graph = built("gcp", args=lambda: {"experiments": (database("gcp"), IMAGE), "mirrors": {"ghcr.io": text(mirror)}})
    images = {each["image"] for each in containers(graph).values()}
    assert images == {f"{mirror}/mlflow/mlflow:v3.15.1-full"}


FAKES = {
    "aws": {
        "boto3.py": """
class Secrets:
    asked = 0
    def get_secret_value(self, SecretId):
        assert SecretId == "arn:secret"
        Secrets.asked += 1
        if Secrets.asked > 1: raise SystemExit(0)
        return {"SecretString": '{"username": "mlflow", "password": "a:b\\\\\\\\c d"}'}
def client(service):
    assert service == "secretsmanager"
    return Secrets()
"""
    },
    "gcp": {
        "google/__init__.py": "",
        "google/auth/__init__.py": """
class Credentials:
    asked, token = 0, None
    def refresh(self, request):
        Credentials.asked += 1
        if Credentials.asked > 1: raise SystemExit(0)
        self.token = "a:b\\\\c d"
def default(scopes):
    assert scopes == ["https://www.googleapis.com/auth/sqlservice.login"]
    return Credentials(), "project"
""",
        "google/auth/transport/__init__.py": "",
        "google/auth/transport/requests.py": "class Request: pass",
    },
}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_password_is_written_as_libpq_reads_it(cloud: CloudName, tmp_path: Path):
    for name, content in FAKES[cloud].items():
        file = tmp_path / "fakes" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    kept = tmp_path / "password"
    program = "import time\ntime.sleep = lambda seconds: None\n" + keeper(cloud)
    variables = {"PGPASSFILE": str(kept), "DATABASE_SECRET": "arn:secret", "PYTHONPATH": str(tmp_path / "fakes")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert kept.read_text() == "*:*:*:*:a\\:b\\\\c d\n"
    # libpq ignores a file that others may read.
    assert kept.stat().st_mode & 0o077 == 0
