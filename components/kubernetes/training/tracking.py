"""Where experiments are recorded in a cluster: MLflow, with a database and a bucket outside of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

from components import contracts
from components.kubernetes.contracts import TEAM
from components.kubernetes.objects import inside, outward
from components.scope import Component, Scope, after
from components.spec.section import CloudName

SPACE, ACCOUNT = "tracking", "mlflow"
"""Namespace and service account of the server."""
# Of the service and of the container: with the network policies of EKS the two have to be the same ("Limit Pod traffic with
# Kubernetes network policies", considerations).
_PORT = 5000
_HOST = f"{ACCOUNT}.{SPACE}.svc.cluster.local"
# Names that a client may call it by; a browser reaches it through `kubectl port-forward` only. Any other is taken for a trick
# with names (MLflow "Protect Your Tracking Server from Network Exposure"); its health is asked without one.
_HOSTS = ",".join(f"{name}:{_PORT}" for name in (_HOST, f"{ACCOUNT}.{SPACE}.svc", f"{ACCOUNT}.{SPACE}", "localhost"))
_USER = 1001
_SECRETS = "/run/database"
_PASSWORD = f"{_SECRETS}/password"
_AUTHORITY = "/etc/database"
_STORE = "postgresql+psycopg2://"
"""libpq takes the rest from the environment, and the password from the file at every connection ("The Password File")."""

# How the password of the moment is had. AWS: what RDS keeps in a secret and changes every week. Google Cloud: a token of the
# server's own identity ("Log in with manual IAM database authentication"), which lives for an hour.
_HOW: Mapping[CloudName, str] = {
    "aws": """\
import boto3
secrets = boto3.client("secretsmanager")
def password():
    return json.loads(secrets.get_secret_value(SecretId=os.environ["DATABASE_SECRET"])["SecretString"])["password"]
""",
    "gcp": """\
import google.auth
from google.auth.transport.requests import Request
credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/sqlservice.login"])
def password():
    credentials.refresh(Request())
    return credentials.token
""",
}
# One line of the file that libpq reads: nobody else may read it, and a colon or a backslash of the password is escaped. A new one
# takes the old one's place at once.
_KEEP = """\
import json, os, time
{how}
while True:
    escaped = password().replace("\\\\", "\\\\\\\\").replace(":", "\\\\:")
    path = os.environ["PGPASSFILE"]
    with open(path + ".new", "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write("*:*:*:*:" + escaped + "\\n")
    os.replace(path + ".new", path)
    time.sleep(60)
"""
# What `mlflow db upgrade` does, for a database that is empty too (mlflow/store/db/utils.py), one server at a time.
_MIGRATE = f"""\
from mlflow.store.db import utils
from sqlalchemy import text
engine = utils.create_sqlalchemy_engine_with_retry("{_STORE}")
with engine.connect() as alone:
    alone.execute(text("SELECT pg_advisory_lock(5000)"))
    utils._initialize_tables(engine)
"""
# The cluster's own services, and what they tolerate.
_TOLERATED = ("CriticalAddonsOnly", "components.gke.io/gke-managed-components")


@dataclass(frozen=True, kw_only=True)
class MlflowArgs:
    """What it stands on, and who records."""

    cluster: contracts.Cluster
    database: contracts.Database
    image: pulumi.Input[str]
    """Of MLflow, with its drivers of databases and clouds."""
    teams: Mapping[str, contracts.Text]
    """By team: the namespace whose pods reach it."""
    system: Mapping[str, str]
    """Label of the machines of the cluster's own services."""


def keeper(cloud: CloudName) -> str:
    """The program that keeps the file with the password of the moment."""
    return _KEEP.format(how=_HOW[cloud])


class Mlflow(Component):
    """MLflow, which the teams' pods of this cluster reach, and nobody from outside.

    Clients take the address as `MLFLOW_TRACKING_URI`. It asks nobody who they are: whoever has a pod in a team's namespace reads
    and deletes what every team recorded. Artifacts pass through the server, which alone has rights on the bucket; one that is
    larger than its scratch, 20 GiB, belongs into a storage zone by itself.

    Not by a chart: the password lives for a moment only, so what keeps it has to run before the tables are made and for as long
    as the server does, and the known chart makes the tables first. The image is MLflow's own.

    Owns its namespace and all in it, and the way to it in the teams' namespaces. Never owns the database, the identity behind
    its service account, nor what is recorded. In prod there are two of it on different machines.

    Costs nothing by itself: half a vCPU and about 1.3 GiB of the system machines, each. A destroy takes it and leaves what was
    recorded in the database and the bucket.

    >>> args = MlflowArgs(cluster=cluster, database=database, image="ghcr.io/mlflow/mlflow:v3.15.1-full", teams={}, system={})
    >>> Mlflow("tracking", args, scope=scope, parent=parent).name
    'tracking'
    """

    layer = "kubernetes"
    outputs: contracts.Tracking

    def __init__(self, name: str, args: MlflowArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the namespace, its fences, and the server."""
        super().__init__(name, scope, parent)
        self._args = args
        self._replicas = 2 if scope.tier == "prod" else 1
        space = self._namespace()
        fences = self._network(space)
        account = kubernetes.core.v1.ServiceAccount(
            f"{name}-account",
            metadata={
                "name": ACCOUNT,
                "namespace": SPACE,
                # EKS knows it without.
                "annotations": {"iam.gke.io/gcp-service-account": args.database.identity}
                if scope.cloud == "gcp"
                else {},
            },
            automount_service_account_token=False,
            opts=self._options(space),
        )
        served = self._server([*fences, account, *self._authority(space), *self._kept(space)])
        self.outputs = contracts.Tracking(uri=after(f"http://{_HOST}:{_PORT}", *served, *self._ways()))
        self.finish(self.outputs)

    def _options(self, *made: pulumi.Resource) -> pulumi.ResourceOptions:
        return inside(self, self._args.cluster, *made)

    def _meta(self, name: str) -> kubernetes.meta.v1.ObjectMetaArgs:
        return kubernetes.meta.v1.ObjectMetaArgs(name=name, namespace=SPACE, labels=_labels())

    def _namespace(self) -> pulumi.Resource:
        level = "pod-security.kubernetes.io"
        return kubernetes.core.v1.Namespace(
            f"{self.name}-space",
            metadata={
                "name": SPACE,
                "labels": {f"{level}/{mode}": "restricted" for mode in ("enforce", "warn", "audit")},
            },
            opts=self._options(),
        )

    def _network(self, space: pulumi.Resource) -> list[pulumi.Resource]:
        """In from the teams, out to the database and to what every pod needs."""
        teams: kubernetes.networking.v1.NetworkPolicyPeerArgsDict = {
            "namespace_selector": {"match_expressions": [{"key": TEAM, "operator": "Exists"}]}
        }
        database: kubernetes.networking.v1.NetworkPolicyEgressRuleArgsDict = {
            "to": [{"ip_block": {"cidr": self._args.database.reach}}],
            "ports": [{"port": 5432, "protocol": "TCP"}],
        }
        return [
            kubernetes.networking.v1.NetworkPolicy(
                f"{self.name}-needed",
                metadata=self._meta("needed"),
                spec={
                    "pod_selector": {},
                    "policy_types": ["Ingress", "Egress"],
                    "ingress": [{"from_": [teams], "ports": [{"port": _PORT, "protocol": "TCP"}]}],
                    "egress": [database, *outward(self.scope.cloud)],
                },
                opts=self._options(space),
            )
        ]

    def _ways(self) -> list[pulumi.Resource]:
        """The way out to the server, in each team's namespace, whose own policies let nothing out that is not named."""
        server: kubernetes.networking.v1.NetworkPolicyPeerArgsDict = {
            "namespace_selector": {"match_labels": {"kubernetes.io/metadata.name": SPACE}},
            "pod_selector": {"match_labels": _labels()},
        }
        return [
            kubernetes.networking.v1.NetworkPolicy(
                f"{self.name}-{team}-way",
                metadata={"name": "tracking", "namespace": namespace},
                spec={
                    "pod_selector": {},
                    "policy_types": ["Egress"],
                    "egress": [{"to": [server], "ports": [{"port": _PORT, "protocol": "TCP"}]}],
                },
                opts=self._options(),
            )
            for team, namespace in sorted(self._args.teams.items())
        ]

    def _authority(self, space: pulumi.Resource) -> list[pulumi.Resource]:
        authority = self._args.database.authority
        if authority is None:
            return []
        return [
            kubernetes.core.v1.ConfigMap(
                f"{self.name}-authority",
                metadata=self._meta("database-authority"),
                data={"ca.pem": authority},
                opts=self._options(space),
            )
        ]

    def _kept(self, space: pulumi.Resource) -> list[pulumi.Resource]:
        """With two servers, a machine that is drained waits until the other one answers."""
        if self._replicas == 1:
            return []
        return [
            kubernetes.policy.v1.PodDisruptionBudget(
                f"{self.name}-budget",
                metadata=self._meta(ACCOUNT),
                spec={"min_available": 1, "selector": {"match_labels": _labels()}},
                opts=self._options(space),
            )
        ]

    def _server(self, first: Sequence[pulumi.Resource]) -> list[pulumi.Resource]:
        deployment = kubernetes.apps.v1.Deployment(
            f"{self.name}-server",
            metadata=self._meta(ACCOUNT),
            spec={
                "replicas": self._replicas,
                "revision_history_limit": 3,
                "strategy": {"type": "RollingUpdate", "rolling_update": {"max_surge": 1, "max_unavailable": 0}},
                "selector": {"match_labels": _labels()},
                "template": {"metadata": {"labels": _labels()}, "spec": self._pod()},
            },
            opts=self._options(*first),
        )
        service = kubernetes.core.v1.Service(
            f"{self.name}-service",
            metadata=self._meta(ACCOUNT),
            spec={
                "type": "ClusterIP",
                "selector": _labels(),
                "ports": [{"name": "http", "port": _PORT, "target_port": _PORT, "protocol": "TCP"}],
            },
            opts=self._options(*first),
        )
        return [deployment, service]

    def _pod(self) -> kubernetes.core.v1.PodSpecArgsDict:
        health: kubernetes.core.v1.HTTPGetActionArgsDict = {"path": "/health", "port": _PORT}
        volumes: list[kubernetes.core.v1.VolumeArgsDict] = [
            {"name": "scratch", "empty_dir": {"size_limit": "20Gi"}},
            {"name": "password", "empty_dir": {"medium": "Memory", "size_limit": "1Mi"}},
        ]
        if self._args.database.authority is not None:
            volumes.append({"name": "authority", "config_map": {"name": "database-authority"}})
        return {
            "service_account_name": ACCOUNT,
            "automount_service_account_token": False,
            "enable_service_links": False,
            "node_selector": dict(self._args.system),
            "tolerations": [{"key": key, "operator": "Exists"} for key in _TOLERATED],
            "topology_spread_constraints": [
                {
                    "max_skew": 1,
                    "topology_key": key,
                    "when_unsatisfiable": "ScheduleAnyway",
                    "label_selector": {"match_labels": _labels()},
                }
                for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
            ],
            "security_context": {
                "run_as_non_root": True,
                "run_as_user": _USER,
                "run_as_group": _USER,
                "fs_group": _USER,
                "seccomp_profile": {"type": "RuntimeDefault"},
            },
            "init_containers": [
                {
                    # It runs on beside the server ("Sidecar Containers"), and what follows starts once there is a password.
                    **self._container("password", ["python", "-c", keeper(self.scope.cloud)], "50m", "128Mi", "256Mi"),
                    "restart_policy": "Always",
                    "startup_probe": {
                        "exec_": {"command": ["test", "-s", _PASSWORD]},
                        "period_seconds": 2,
                        "failure_threshold": 60,
                    },
                },
                self._container("tables", ["python", "-c", _MIGRATE], "100m", "512Mi", "1Gi"),
            ],
            "containers": [
                {
                    **self._container("mlflow", _command(self._args.database), "500m", "1Gi", "3Gi"),
                    "ports": [{"name": "http", "container_port": _PORT, "protocol": "TCP"}],
                    "startup_probe": {"http_get": health, "period_seconds": 5, "failure_threshold": 60},
                    "readiness_probe": {"http_get": health, "period_seconds": 10, "timeout_seconds": 5},
                    "liveness_probe": {
                        "http_get": health,
                        "period_seconds": 30,
                        "timeout_seconds": 10,
                        "failure_threshold": 5,
                    },
                }
            ],
            "volumes": volumes,
        }

    def _container(
        self, name: str, command: Sequence[pulumi.Input[str]], cpu: str, memory: str, most: str
    ) -> kubernetes.core.v1.ContainerArgsDict:
        mounts: list[kubernetes.core.v1.VolumeMountArgsDict] = [
            {"name": "scratch", "mount_path": "/tmp"},  # noqa: S108  a volume of its own
            {"name": "password", "mount_path": _SECRETS, "read_only": name != "password"},
        ]
        if self._args.database.authority is not None:
            mounts.append({"name": "authority", "mount_path": _AUTHORITY, "read_only": True})
        return {
            "name": name,
            "image": self._args.image,
            "command": list(command),
            "env": [{"name": key, "value": value} for key, value in self._environment().items()],
            "resources": {
                "requests": {"cpu": cpu, "memory": memory},
                "limits": {"cpu": "2" if name == "mlflow" else "1", "memory": most},
            },
            "security_context": {
                "allow_privilege_escalation": False,
                "read_only_root_filesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
            "volume_mounts": mounts,
        }

    def _environment(self) -> dict[str, Any]:
        """What libpq, the clouds' libraries and MLflow go by. Without an authority a connection is encrypted, and no more."""
        database = self._args.database
        region = {"AWS_REGION": self.scope.region, "AWS_DEFAULT_REGION": self.scope.region}
        verified = {"PGSSLMODE": "verify-ca", "PGSSLROOTCERT": f"{_AUTHORITY}/ca.pem"}
        return {
            "HOME": "/tmp",  # noqa: S108  a volume of its own
            "PGHOST": database.host,
            "PGPORT": "5432",
            "PGDATABASE": database.name,
            "PGUSER": database.user,
            "PGPASSFILE": _PASSWORD,
            **({"PGSSLMODE": "require"} if database.authority is None else verified),
            **({"DATABASE_SECRET": database.secret} if database.secret is not None else {}),
            **(region if self.scope.cloud == "aws" else {}),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }


def _labels() -> dict[str, str]:
    return {"app.kubernetes.io/name": ACCOUNT}


def _command(database: contracts.Database) -> list[pulumi.Input[str]]:
    return [
        "mlflow", "server", "--host=0.0.0.0", f"--port={_PORT}", "--workers=2", f"--allowed-hosts={_HOSTS}",
        f"--backend-store-uri={_STORE}", "--serve-artifacts",
        pulumi.Output.concat("--artifacts-destination=", database.artifacts),
    ]  # fmt: skip
