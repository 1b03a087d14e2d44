"""Endpoints on Google Cloud: who may do what, what is watched, what a change changes, and what a release is told."""

import base64
import json
import re
from collections.abc import Mapping
from datetime import date
from functools import cache, partial
from typing import Any

import pulumi
import pulumi_gcp as gcp
import pytest

from components import contracts
from components.core import cloud_run
from components.core.naming import Names
from components.core.rollouts import VERSION
from components.gcp.blocks.rollout import Platform, endpoint_id
from components.gcp.blocks.vertex_model import Packaged
from components.gcp.serving.asynchronous import Asynchronous, AsynchronousArgs
from components.gcp.serving.batch import Batch, BatchArgs
from components.gcp.serving.container import Container, ContainerArgs
from components.gcp.serving.function import Function, FunctionArgs
from components.gcp.serving.realtime import Capture, RealTime, RealTimeArgs
from components.gcp.serving.releases import Releases, ReleasesArgs, role_ids
from components.gcp.serving.serverless import Serverless, ServerlessArgs
from components.scope import PROJECT, Scope
from components.spec import serving
from components.spec.endpoints import alarms, fitting
from policies.model import Graph, Resource
from preview.difference import compare
from preview.record import run
from tests.gcp.alone import raised
from tests.gcp.building import before, kind, one
from tests.gcp.workflows import Interpreter

SERVICES = (
    "aiplatform", "artifactregistry", "bigquery", "cloudresourcemanager", "cloudscheduler", "iam", "monitoring", "pubsub",
    "run", "workflowexecutions", "workflows",
)  # fmt: skip
PROJECT_ID, NUMBER, REGION = "acme-ai-dev", "444444444444", "us-central1"
DIGEST = "a" * 64
REPOSITORY = f"{REGION}-docker.pkg.dev/{PROJECT_ID}"
CALLER = "shop@acme-ai-dev.iam.gserviceaccount.com"
CRITICAL, WARNING, TEAM = (f"projects/{PROJECT_ID}/notificationChannels/{n}" for n in (1, 2, 3))
ONLINE = {"p95_ms": 200, "availability_percent": 99.5, "requests_per_month": 1_000_000}
IMAGE = {"image": "serving:1.0", "artifact": {"zone": "models", "path": "fraud/3/model.tar.gz", "sha256": DIGEST}}
API = {"throttle_rps": 10}


def text(value: str) -> contracts.Text:
    return pulumi.Output.from_input(value)


def scope(tier: str, environment: str | None = None) -> Scope:
    parent = pulumi.ComponentResource("ai-platform:gcp:Example", "example")
    return Scope(
        environment=environment or tier,
        tier=tier,  # pyright: ignore[reportArgumentType]
        cloud="gcp",
        account=PROJECT_ID,
        region=REGION,
        replica_region=None,
        names=Names("acme-ai", environment or tier),
        tags={"environment": tier},
        protection={"dev": "delete", "prod": "retain"}[tier],
        log_days=30,
        today=date(2026, 1, 1),
        provider=gcp.Provider("gcp", project=PROJECT_ID, opts=pulumi.ResourceOptions(parent=parent)),
    )


def key(domain: str) -> contracts.Key:
    return contracts.Key(
        id=text(f"projects/{PROJECT_ID}/locations/{REGION}/keyRings/r/cryptoKeys/{domain}"), replica=None
    )


def bucket(here: Scope, zone: str) -> contracts.Storage:
    name = here.names.of(zone, "bucket")
    return contracts.Storage(name=text(name), uri=text(f"gs://{name}"), resource=text(name))


def platform(here: Scope, root: pulumi.Resource, **changes: Any) -> Platform:
    apis = {f"{service}.googleapis.com": text(PROJECT_ID) for service in SERVICES}
    subnets = f"projects/{PROJECT_ID}/regions/{REGION}/subnetworks/acme-ai-dev-"
    values: dict[str, Any] = {
        "apis": apis,
        "number": NUMBER,
        "network": contracts.Network(
            id=text(f"projects/{PROJECT_ID}/global/networks/acme-ai-dev-vpc"),
            workload_subnets=[text(f"{subnets}nodes")],
            data_subnets=[],
            cidr="10.64.0.0/16",
        ),
        "storage": {zone: bucket(here, zone) for zone in ("models", "artifacts", "curated")},
        "records_zone": "models",
        "compute_key": key("compute"),
        "models_key": key("models"),
        "signed": here.tier == "prod",
        "releases": Releases("releases", ReleasesArgs(apis=apis, generation=1), scope=here, parent=root).outputs,
        "critical": [text(CRITICAL)],
        "warning": [text(WARNING)],
    }
    return Platform(**{**values, **changes})


def specs(**changes: Mapping[str, Any]) -> dict[str, Any]:
    """One endpoint of each kind, each with its changes."""
    canary = {"strategy": "canary", "percent": 10, "bake_minutes": 15}
    described: dict[str, Any] = {
        "fraud": {
            "kind": "realtime", "model": {"package": "fraud", "version": "12"}, "scale": {"min": 2, "max": 6, "target":
            {"requests_per_second": 5}}, "release": canary, "objective": ONLINE, "compute": {"cpu": 4, "memory_gib": 16},
            "capture_percent": 10,
        },
        "churn": {
            "kind": "serverless", "model": IMAGE, "memory_gib": 6, "concurrency": {"max": 20, "warm": 1}, "objective": ONLINE,
            "release": canary,
        },
        "price": {
            "kind": "function", "model": IMAGE, "concurrency": {"max": 10, "warm": 1}, "objective": ONLINE, "api": API,
            "timeout_seconds": 9,
        },
        "shelf": {
            "kind": "container", "model": {"image": "shelf:2.0", "artifact": {"path": "shelf/7/"}}, "objective": ONLINE,
            "scale": {"min": 1, "max": 4, "target": {"requests_per_second": 50}}, "api": API, "port": 9000,
            "health": "/health", "release": {"strategy": "blue_green"},
        },
        "ocr": {
            "kind": "async", "model": IMAGE, "scale": {"max": 5}, "objective": {"requests_per_month": 1000},
        },
        "rank": {
            "kind": "batch", "model": IMAGE, "machines": 3, "input": {"zone": "curated", "prefix": "daily/"},
            "schedule": "0 4 * * *", "time_zone": "Europe/Berlin", "objective": {"records_per_month": 1000},
        },
    }  # fmt: skip
    kinds = {
        "realtime": serving.RealTime, "serverless": serving.Serverless, "function": serving.Function,
        "container": serving.Container, "async": serving.Async, "batch": serving.Batch,
    }  # fmt: skip
    return {
        name: kinds[said["kind"]].model_validate({"team": "risk", **said, **changes.get(name, {})})
        for name, said in described.items()
    }


def endpoint(name: str, spec: Any, ground: Platform, here: Scope, root: pulumi.Resource) -> contracts.Endpoint:
    # The alarms of an endpoint do not know one of the queue alone.
    common: dict[str, Any] = {
        "spec": spec, "platform": ground, "callers": {"shop": CALLER}, "team": [text(TEAM)], "tags": {"team": "risk"},
    }  # fmt: skip
    model = spec.model
    image = f"{REPOSITORY}/serving/{getattr(model, 'image', 'serving:1.0')}"
    if not isinstance(spec, serving.Batch):
        common["signs"] = alarms(spec)
    packaged = Packaged(
        repository=text(f"{REPOSITORY}/acme-ai-dev-approved-fraud"), package="fraud",
        version=getattr(model, "version", None) or "1", own=True, server=f"{REPOSITORY}/serving/serving:1.0",
        python=f"{REPOSITORY}/docker-io/library/python:3.13",
    )  # fmt: skip
    made: Any
    match spec:
        case serving.RealTime():
            machine = fitting(spec.compute, "gcp", REGION)
            assert machine
            args = RealTimeArgs(
                model=packaged, machine=machine, private=here.tier == "prod", connected=text("policy"),
                capture=Capture(key=key("logs"), days=30), **common,
            )  # fmt: skip
            made = RealTime(name, args, scope=here, parent=root)
        case serving.Serverless():
            made = Serverless(name, ServerlessArgs(image=image, **common), scope=here, parent=root)
        case serving.Function():
            made = Function(name, FunctionArgs(image=image, **common), scope=here, parent=root)
        case serving.Container():
            made = Container(name, ContainerArgs(image=image, **common), scope=here, parent=root)
        case serving.Async():
            args = AsynchronousArgs(image=image, logs_key=key("logs"), **common)
            made = Asynchronous(name, args, scope=here, parent=root)
        case _:
            machine = fitting(spec.compute, "gcp", REGION)
            assert machine
            made = Batch(name, BatchArgs(model=model, image=image, machine=machine, **common), scope=here, parent=root)
    return made.outputs


def build(
    tier: str = "dev",
    *,
    environment: str | None = None,
    preview: bool = False,
    names: Mapping[str, str] | None = None,
    ground: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Graph:
    def program() -> None:
        root = pulumi.ComponentResource(f"{PROJECT}:Root", "root", None)
        here = scope(tier, environment)
        stands = platform(here, root, **(ground or {}))
        for name, spec in specs(**changes).items():
            called = (names or {}).get(name, name)
            found = endpoint(called, spec, stands, here, root)
            pulumi.export(called, {"id": found.id, "address": found.address, "version": found.version})

    return run(program, preview=preview)


@cache
def graph() -> Graph:
    return build()


@cache
def prod() -> Graph:
    return build("prod")


def grants(found: Graph, workload: str) -> set[tuple[str, str]]:
    """What an identity may do: roles, each with what it holds for."""
    who = f"${{{one(found, 'serviceaccount/Account', f'{workload}-account').urn}#member}}"
    mail = f"serviceAccount:${{{one(found, 'serviceaccount/Account', f'{workload}-account').urn}#email}}"
    where = {
        "storage/BucketIAMMember": "bucket", "projects/IAMMember": "project", "artifactregistry/RepositoryIamMember":
        "repository", "serviceaccount/IAMMember": "serviceAccountId", "cloudrunv2/ServiceIamMember": "name",
        "vertex/AiEndpointIamMember": "endpoint", "pubsub/TopicIAMMember": "topic",
    }  # fmt: skip
    return {
        (short(found, grant.get("role")), grant.name)
        for name in where
        for grant in kind(found, name)
        if grant.get("member") in {who, mail}
    }


def short(found: Graph, role: str) -> str:
    """A role; a custom one by its id."""
    urn = re.fullmatch(r"\$\{(.+)#name\}", role)
    return found.resources[urn[1]].get("roleId") if urn else role


def template(found: Graph, name: str) -> dict[str, Any]:
    return one(found, "cloudrunv2/Service", f"{name}-run-service").get("template")


def source(found: Graph, logical: str) -> dict[str, Any]:
    return json.loads(one(found, "workflows/Workflow", logical).get("sourceContents"))


# Identities


def test_each_endpoint_reads_its_model_and_does_nothing_else():
    found = graph()
    for name in ("churn", "price"):
        assert grants(found, f"serve-{name}") == {("roles/storage.objectViewer", f"serve-{name}-model")}
        condition = one(found, "storage/BucketIAMMember", f"serve-{name}-model").get("condition.expression")
        # Of all its versions: what is taken back starts again, and reads the old one.
        assert condition == 'resource.name.startsWith("projects/_/buckets/acme-ai-dev-models/objects/fraud/")'
    mounted = one(found, "storage/BucketIAMMember", "serve-shelf-model").get("condition.expression")
    assert mounted == (
        'resource.type == "storage.googleapis.com/Bucket" ||'
        ' resource.name.startsWith("projects/_/buckets/acme-ai-dev-models/objects/shelf/")'
    )
    assert grants(found, "serve-fraud") == {("roles/logging.logWriter", "serve-fraud-logs")}
    assert {role for role, _ in grants(found, "serve-ocr")} == {
        "roles/storage.objectViewer",
        "roles/storage.objectUser",
    }
    answers = one(found, "storage/BucketIAMMember", "serve-ocr-answers").get("condition.expression")
    assert answers == 'resource.name.startsWith("projects/_/buckets/acme-ai-dev-artifacts/objects/async/ocr/")'
    assert grants(found, "push-ocr") == {("roles/run.invoker", "ocr-run-caller-push")}
    assert {name for _, name in grants(found, "serve-rank")} == {
        "serve-rank-logs", "serve-rank-input", "serve-rank-output",
    }  # fmt: skip


def test_a_driver_releases_its_endpoint_and_no_other():
    found = graph()
    assert grants(found, "release-churn") == {
        ("acme_ai_dev_release_watch", "release-churn-watch"),
        ("roles/storage.objectUser", "release-churn-record"),
        ("acme_ai_dev_release_run", "churn-release-moves"),
        ("roles/iam.serviceAccountUser", "churn-release-acts-service"),
    }
    assert grants(found, "release-fraud") == {
        ("acme_ai_dev_release_watch", "release-fraud-watch"),
        ("acme_ai_dev_release_vertex", "release-fraud-deploy"),
        ("roles/storage.objectUser", "release-fraud-record"),
        ("roles/iam.serviceAccountUser", "fraud-release-acts-service"),
        ("roles/iam.serviceAccountUser", "fraud-release-acts-fetch"),
    }
    record = one(found, "storage/BucketIAMMember", "release-churn-record").get("condition.expression")
    assert record == 'resource.name == "projects/_/buckets/acme-ai-dev-models/objects/releases/churn.json"'
    moves = one(found, "cloudrunv2/ServiceIamMember", "churn-release-moves")
    assert moves.get("name") == "acme-ai-dev-churn"
    assert grants(found, "release-start") == {("roles/workflows.invoker", "release-start-start")}


def test_a_version_is_fetched_by_who_may_read_that_model_only():
    found = graph()
    assert grants(found, "fetch-fraud") == {
        ("roles/logging.logWriter", "fetch-fraud-logs"),
        ("roles/storage.objectUser", "fetch-fraud-files"),
        ("roles/artifactregistry.reader", "fetch-fraud-versions"),
    }
    versions = one(found, "artifactregistry/RepositoryIamMember", "fetch-fraud-versions")
    assert versions.get("repository") == "acme-ai-dev-approved-fraud"
    job = source(found, "fraud-release-workflow")["model"]["steps"]
    body = next(step["unpack"]["args"]["body"] for step in job if "unpack" in step)
    container = body["jobSpec"]["workerPoolSpecs"][0]["containerSpec"]
    assert container["args"] == [
        "--repository", f"{REPOSITORY}/acme-ai-dev-approved-fraud/fraud", "--tag", "12",
        "--folder", "/gcs/acme-ai-dev-models/served/fraud/12",
    ]  # fmt: skip
    assert "${" not in container["command"][2], "Workflows would take it for an expression"
    compile(container["command"][2], "fetch_model.py", "exec")
    begin = next(step["begin"]["assign"] for step in job if "begin" in step)
    content = next(entry["content"] for entry in begin if "content" in entry)
    assert content["artifactUri"] == "gs://acme-ai-dev-models/served/fraud/12"
    assert content["encryptionSpec"]["kmsKeyName"].endswith("/compute")


def test_callers_may_call_and_nobody_else():
    found = graph()
    invokers = {
        (g.name, short(found, g.get("role")), g.get("member"))
        for g in [*kind(found, "cloudrunv2/ServiceIamMember"), *kind(found, "vertex/AiEndpointIamMember")]
        if "-moves" not in g.name and "push" not in g.name
    }
    shop = f"serviceAccount:{CALLER}"
    assert invokers == {
        ("churn-run-caller-shop", "roles/run.invoker", shop),
        ("price-run-caller-shop", "roles/run.invoker", shop),
        ("shelf-run-caller-shop", "roles/run.invoker", shop),
        ("fraud-caller-shop", "acme_ai_dev_release_call", shop),
    }
    sender = one(found, "pubsub/TopicIAMMember", "ocr-requests-publisher-shop")
    assert (sender.get("role"), sender.get("member")) == ("roles/pubsub.publisher", shop)
    for grant in found.resources.values():
        assert "allUsers" not in json.dumps(grant.inputs, default=str), grant.name


# Services


def test_a_service_is_private_encrypted_bounded_and_healthy():
    found = graph()
    for service in kind(found, "cloudrunv2/Service"):
        made = service.get("template")
        assert 0 < service.get("scaling.maxInstanceCount") <= 100
        assert "scaling" not in made, "another ceiling would be another revision, and a release"
        assert made["encryptionKey"].endswith("/compute")
        assert made["executionEnvironment"] == "EXECUTION_ENVIRONMENT_GEN2"
        assert made["vpcAccess"]["egress"] == "ALL_TRAFFIC"
        assert made["serviceAccount"]
        container = made["containers"][0]
        assert container["startupProbe"]["httpGet"]["path"] == container["livenessProbe"]["httpGet"]["path"]
        probe = container["startupProbe"]
        assert probe["periodSeconds"] * probe["failureThreshold"] <= 240, "Cloud Run gives a start four minutes"
        assert service.get("traffics") is None, "the rollout's"
        assert len(made["revision"]) <= 63
        variables = {e["name"]: e.get("value") for e in container["envs"]}
        assert int(variables["MAX_REQUESTS"]) >= made["maxInstanceRequestConcurrency"]
    ingress = {s.name: s.get("ingress").removeprefix("INGRESS_TRAFFIC_") for s in kind(found, "cloudrunv2/Service")}
    assert ingress == {
        "churn-run-service": "INTERNAL_ONLY", "ocr-run-service": "INTERNAL_ONLY",
        "price-run-service": "INTERNAL_LOAD_BALANCER", "shelf-run-service": "INTERNAL_LOAD_BALANCER",
    }  # fmt: skip
    for service in kind(found, "cloudrunv2/Service"):
        fronted = ingress[service.name] == "INTERNAL_LOAD_BALANCER"
        assert service.get("defaultUriDisabled") is fronted
        assert not service.get("invokerIamDisabled"), "Cloud Run asks who calls, behind a load balancer too"


def test_sizes_follow_from_what_is_described():
    found = graph()
    limits = {
        name: template(found, name)["containers"][0]["resources"]["limits"] for name in ("churn", "price", "shelf")
    }
    assert limits["churn"] == {"cpu": "2", "memory": "6Gi"}, "more than 4 GiB take 2 vCPUs"
    assert limits["price"] == {"cpu": "1", "memory": "2Gi"}
    churn = one(found, "cloudrunv2/Service", "churn-run-service")
    assert churn.get("scaling") == {"minInstanceCount": 1, "maxInstanceCount": 3}, "20 requests at once, 8 an instance"
    assert template(found, "price")["maxInstanceRequestConcurrency"] == 1
    assert template(found, "price")["timeout"] == "9s"
    assert template(found, "shelf")["maxInstanceRequestConcurrency"] == 10, "50 a second, each 200 ms"
    shelf = template(found, "shelf")["containers"][0]
    assert (shelf["ports"]["containerPort"], shelf["startupProbe"]["httpGet"]["path"]) == (9000, "/health")


@pytest.mark.parametrize(("cpu", "memory"), [(9, 4), (1, 33)])
def test_what_is_too_large_is_said(cpu: int, memory: int):
    assert "8 and 32 at most" in raised(partial(cloud_run.size, cpu, memory))


def test_a_model_is_found():
    found = graph()
    variables = {e["name"]: e.get("value") for e in template(found, "churn")["containers"][0]["envs"]}
    assert variables["MODEL_URI"] == "gs://acme-ai-dev-models/fraud/3/model.tar.gz"
    assert variables["MODEL_DIGEST"] == DIGEST
    shelf = template(found, "shelf")
    assert shelf["volumes"] == [{"name": "models", "gcs": {"bucket": "acme-ai-dev-models", "readOnly": True}}]
    mounted = {e["name"]: e.get("value") for e in shelf["containers"][0]["envs"]}
    assert mounted["MODEL_DIR"].startswith(shelf["containers"][0]["volumeMounts"][0]["mountPath"])
    ocr = {e["name"]: e.get("value") for e in template(found, "ocr")["containers"][0]["envs"]}
    assert ocr["OUTPUT_URI"] == "gs://acme-ai-dev-artifacts/async/ocr/"


def test_an_accelerator_is_there_at_once_and_in_one_zone():
    found = build(churn={"accelerator": "nvidia-l4"})
    made = template(found, "churn")
    assert made["nodeSelector"] == {"accelerator": "nvidia-l4"}
    assert made["gpuZonalRedundancyDisabled"] is True
    resources = made["containers"][0]["resources"]
    assert resources["limits"] == {"cpu": "4", "memory": "16Gi", "nvidia.com/gpu": "1"}
    assert resources["cpuIdle"] is False


# Vertex AI


def deployed(found: Graph) -> dict[str, Any]:
    steps = source(found, "fraud-release-workflow")["deploy"]["steps"]
    return next(s["make"]["args"]["body"]["deployedModel"] for s in steps if "make" in s)


def test_an_endpoint_of_vertex_ai():
    found = graph()
    made = one(found, "vertex/AiEndpoint", "fraud-endpoint")
    assert re.fullmatch(r"[1-9]\d{9}", made.get("name"))
    assert made.get("encryptionSpec.kmsKeyName").endswith("/compute")
    assert made.get("dedicatedEndpointEnabled") is True
    assert made.get("trafficSplit") is None, "the rollout's"
    said = deployed(found)["dedicatedResources"]
    assert (said["minReplicaCount"], said["maxReplicaCount"]) == (2, 6)
    metrics = {m["metricName"].rpartition("online/")[2]: m["target"] for m in said["autoscalingMetricSpecs"]}
    assert metrics == {"request_count": 300, "cpu/utilization": 60}
    assert found.outputs["fraud"]["address"].startswith(f"https://{made.get('name')}.{REGION}-{NUMBER}.")


def test_in_prod_it_is_in_the_network_alone():
    made = one(prod(), "vertex/AiEndpoint", "fraud-endpoint")
    assert made.get("dedicatedEndpointEnabled") is None, "Vertex AI takes one of the two"
    private = made.get("privateServiceConnectConfig")
    assert private["enablePrivateServiceConnect"] is True
    assert private["projectAllowlists"] == [PROJECT_ID]
    (automated,) = private["pscAutomationConfigs"]
    assert automated["network"] == f"projects/{PROJECT_ID}/global/networks/acme-ai-dev-vpc"


def test_what_is_captured_is_encrypted_and_goes():
    found = graph()
    made = one(found, "bigquery/Dataset", "fraud-capture")
    assert re.fullmatch(r"\w+", made.get("datasetId"))
    assert made.get("defaultEncryptionConfiguration.kmsKeyName").endswith("/logs")
    assert made.get("defaultTableExpirationMs") == made.get("defaultPartitionExpirationMs") == 30 * 86_400_000
    logged = one(found, "vertex/AiEndpoint", "fraud-endpoint").get("predictRequestResponseLoggingConfig")
    assert logged["samplingRate"] == pytest.approx(0.1)
    assert "fraud-capture-writer" in before(found, one(found, "vertex/AiEndpoint", "fraud-endpoint"))
    kept = one(prod(), "bigquery/Dataset", "fraud-capture")
    assert kept.protect
    assert not kept.get("deleteContentsOnDestroy")
    assert not kind(build(fraud={"capture_percent": 0}), "bigquery/Dataset")


# Queue


def test_a_message_is_handled_or_kept():
    found = graph()
    subscription = one(found, "pubsub/Subscription", "ocr-requests-subscription")
    push = subscription.get("pushConfig")
    url = f"https://acme-ai-dev-ocr-{NUMBER}.{REGION}.run.app"
    assert (push["pushEndpoint"], push["oidcToken"]["audience"]) == (f"{url}/push", url)
    assert subscription.get("ackDeadlineSeconds") <= 600
    assert template(found, "ocr")["timeout"] == f"{subscription.get('ackDeadlineSeconds')}s"
    assert not subscription.get("enableMessageOrdering")
    assert subscription.get("expirationPolicy") == {"ttl": ""}
    dead = one(found, "pubsub/Topic", "ocr-requests-failed-topic")
    assert subscription.get("deadLetterPolicy.deadLetterTopic") == f"${{{dead.urn}#id}}"
    # Before it moves a message there, Pub/Sub has to be let, and somebody has to keep it.
    assert {"ocr-requests-failed-publisher-agent", "ocr-requests-failed-kept", "ocr-run-caller-push"} <= before(
        found, subscription
    )
    takes = one(found, "pubsub/SubscriptionIAMMember", "ocr-requests-failed-taker")
    assert takes.get("role") == "roles/pubsub.subscriber"
    for topic in kind(found, "pubsub/Topic"):
        assert topic.get("kmsKeyName").endswith("/logs")
    queries = {a.name: query(a) for a in policies(found, "ocr")}
    assert "oldest_unacked_message_age" in queries["ocr-release-waiting"]
    assert queries["ocr-release-waiting"].endswith("> 900")
    assert 'subscription_id="acme-ai-dev-async-ocr-failed"' in queries["ocr-release-dead-letters"]


# Runs


def test_a_run_has_its_machines_its_time_and_its_folder():
    found = graph()
    steps = {n: b for step in source(found, "rank-workflow")["main"]["steps"] for n, b in step.items()}
    body = steps["start"]["args"]["body"]
    assert body["inputConfig"]["gcsSource"]["uris"] == ["gs://acme-ai-dev-curated/daily/*"]
    assert body["dedicatedResources"]["startingReplicaCount"] == body["dedicatedResources"]["maxReplicaCount"] == 3
    assert steps["every_minute"]["for"]["range"] == [1, 6 * 60]
    schedule = one(found, "cloudscheduler/Job", "rank-schedule")
    assert (schedule.get("schedule"), schedule.get("timeZone")) == ("0 4 * * *", "Europe/Berlin")
    assert {a.name for a in policies(found, "rank")} == {"rank-failed", "rank-not-started"}
    assert {"rank-failed", "rank-acts-service", "serve-rank-input"} <= before(
        found, one(found, "workflows/Workflow", "rank-workflow")
    )
    assert "release-start-start" in before(found, schedule)
    assert not [j for j in kind(build(rank={"schedule": None}), "cloudscheduler/Job") if j.name == "rank-schedule"]


# Alerts


def policies(found: Graph, name: str) -> list[Resource]:
    return [a for a in kind(found, "monitoring/AlertPolicy") if a.name.startswith(f"{name}-")]


def query(alert: Resource) -> str:
    return alert.get("conditions")[0].get("conditionPrometheusQueryLanguage", {}).get("query", "")


def test_every_sign_of_the_objective_is_watched_and_told():
    found = graph()
    for name, spec in specs().items():
        if isinstance(spec, serving.Batch):
            continue
        made = {a.name.removeprefix(f"{name}-release-") for a in policies(found, name)}
        assert {sign.replace("_", "-") for sign in alarms(spec)} <= made, name
        assert {"taken-back", "not-released"} <= made
        for alert in policies(found, name):
            channels = alert.get("notificationChannels")
            assert channels[0] == (CRITICAL if alert.get("severity") == "CRITICAL" else WARNING)
            assert channels[-1] == TEAM
    p95 = query(one(found, "monitoring/AlertPolicy", "churn-release-p95-latency"))
    assert 'service_name="acme-ai-dev-churn"' in p95
    assert "> 200 and" in p95
    ceiling = query(one(found, "monitoring/AlertPolicy", "churn-release-ceiling"))
    assert ceiling.endswith(">= 3"), "in instances, not in requests"
    vertex = query(one(found, "monitoring/AlertPolicy", "fraud-release-error-rate"))
    assert f'endpoint_id="{endpoint_id(Names("acme-ai", "dev"), "fraud")}"' in vertex
    busy = query(one(found, "monitoring/AlertPolicy", "fraud-release-saturation"))
    assert busy.endswith(") / 4 > 80"), "of 4 vCPUs each counts 100 %"
    assert "prediction_online_private_response_count" in vertex, "an endpoint in the network writes these instead"
    for alert in kind(found, "monitoring/AlertPolicy"):
        # An alert on logs without a limit is refused, one on metrics with it.
        logs = "conditionMatchedLog" in alert.get("conditions")[0]
        assert ("notificationRateLimit" in (alert.get("alertStrategy") or {})) == logs, alert.name
        for opening, closing in ("{}", "()", "[]"):
            assert query(alert).count(opening) == query(alert).count(closing)
        assert "%s" not in query(alert)


def test_alerts_come_before_a_release_and_know_no_endpoint():
    found = graph()
    for name in ("fraud", "churn", "price", "shelf", "ocr"):
        made = one(found, "workflows/Workflow", f"{name}-release-workflow")
        signs = {a.name for a in policies(found, name)}
        assert signs <= before(found, made), name
        for alert in policies(found, name):
            needed = {found.resources[urn].type for urn in alert.dependencies}
            assert not any("cloudrunv2" in t or "AiEndpoint" in t for t in needed), alert.name


def test_a_release_is_watched_by_what_the_alerts_say_of_the_new_version_alone():
    found = graph()
    looks = json.dumps(source(found, "churn-release-workflow")["bake"])
    for sign in ("p95-latency", "error-rate"):
        said = query(one(found, "monitoring/AlertPolicy", f"churn-release-{sign}"))
        narrowed = said.replace(
            'service_name="acme-ai-dev-churn"', f'service_name="acme-ai-dev-churn",revision_name="{VERSION}"'
        )
        assert json.dumps(narrowed)[1:-1] in looks
    narrow = json.dumps(source(build(churn={"release": {"strategy": "canary", "rollback_on": ["error_rate"]}}),
                               "churn-release-workflow")["bake"])  # fmt: skip
    assert "p95_latency" not in narrow


def test_a_release_starts_once_everything_is_granted():
    found = graph()
    for name, needs in {
        "fraud": {"fraud-endpoint", "release-fraud-deploy", "fraud-release-acts-service", "fetch-fraud-versions"},
        "churn": {"churn-run-service", "churn-release-moves", "serve-churn-model"},
    }.items():
        schedule = one(found, "cloudscheduler/Job", f"{name}-release-schedule")
        assert {*needs, "release-start-start", f"release-{name}-record"} <= before(found, schedule)
        target = schedule.get("httpTarget")
        assert json.loads(base64.b64decode(target["body"])) == {"argument": "{}"}
        physical = one(found, "workflows/Workflow", f"{name}-release-workflow").get("name")
        assert target["uri"].endswith(f"/workflows/{physical}/executions")
        # What the workflow asks of itself is the workflow that is there.
        assert f"/workflows/{physical}/executions/" in json.dumps(source(found, f"{name}-release-workflow")["busy"])


def test_every_source_is_one_that_workflows_takes():
    found = graph()
    made = kind(found, "workflows/Workflow")
    assert len(made) == 6
    for workflow in made:
        contents = workflow.get("sourceContents")
        assert len(contents.encode()) < 128 * 1024
        Interpreter(json.loads(contents), lambda *_: None, "e1")
        assert workflow.get("cryptoKeyName").endswith("/models")


# Changes


def changed(head: Graph, base: Graph | None = None) -> dict[str, set[str]]:
    difference = compare(base or graph(), head)
    assert not difference.created, [r.name for r in difference.created]
    assert not difference.removed, [r.name for r in difference.removed]
    assert not difference.replaced, [c.resource.name for c in difference.replaced]
    return {c.resource.name: {change.path.split(".")[0] for change in c.changes} for c in difference.changed}


def test_the_same_description_changes_nothing():
    assert changed(build()) == {}


def test_another_version_changes_what_it_must_and_no_address():
    head = build(fraud={"model": {"package": "fraud", "version": "13"}})
    assert changed(head) == {"fraud-release-workflow": {"sourceContents"}}
    assert head.outputs["fraud"]["address"] == graph().outputs["fraud"]["address"]
    assert head.outputs["fraud"]["version"] == "fraud:13"
    other = {**IMAGE, "artifact": {**IMAGE["artifact"], "path": "fraud/4/model.tar.gz", "sha256": "b" * 64}}  # pyright: ignore
    head = build(churn={"model": other})
    assert set(changed(head)) == {"churn-run-service", "churn-release-workflow"}
    assert head.outputs["churn"]["address"] == graph().outputs["churn"]["address"]


def test_what_is_said_of_a_release_makes_no_version():
    head = build(churn={"release": {"strategy": "blue_green", "bake_minutes": 30}})
    assert changed(head) == {"churn-release-workflow": {"sourceContents"}}
    assert template(head, "churn")["revision"] == template(graph(), "churn")["revision"]


def test_a_larger_fleet_is_a_version_of_its_own():
    head = build(fraud={"scale": {"min": 2, "max": 8, "target": {"requests_per_second": 5}}})
    assert set(changed(head)) == {"fraud-release-workflow", "fraud-release-ceiling"}
    ids = [
        next(e["declared"] for step in source(g, "fraud-release-workflow")["main"]["steps"] if "init" in step
             for e in step["init"]["assign"] if "declared" in e)
        for g in (graph(), head)
    ]  # fmt: skip
    assert ids[0] != ids[1]


# What a destroy does, names, first previews


def test_what_a_destroy_does():
    for tier, kept in ((graph(), False), (prod(), True)):
        for service in kind(tier, "cloudrunv2/Service"):
            assert service.get("deletionProtection") is kept
    assert {bool(s.get("binaryAuthorization.useDefault")) for s in kind(prod(), "cloudrunv2/Service")} == {True}
    assert {bool(s.get("binaryAuthorization")) for s in kind(graph(), "cloudrunv2/Service")} == {False}


def test_long_names_stay_within_their_limits():
    long = {name: f"{name}-{'x' * (62 - len(name))}" for name in specs()}
    found = build(environment="staging-with-a-long-name", names=long)
    limits = {
        "serviceaccount/Account": ("accountId", 30), "cloudrunv2/Service": ("name", 43), "workflows/Workflow": ("name", 64),
        "cloudscheduler/Job": ("name", 500), "pubsub/Topic": ("name", 255), "bigquery/Dataset": ("datasetId", 1024),
        "vertex/AiEndpoint": ("displayName", 128), "projects/IAMCustomRole": ("roleId", 64),
    }  # fmt: skip
    for name, (field, limit) in limits.items():
        found_names = [r.get(field) for r in kind(found, name)]
        assert found_names
        assert len(set(found_names)) == len(found_names), f"{name}: two of one name"
        assert all(len(n) <= limit for n in found_names), name
    for service in kind(found, "cloudrunv2/Service"):
        assert len(service.get("template")["revision"]) <= 63
    for label in (v for r in found.resources.values() for v in (r.get("labels") or {}).values()):
        assert len(label) <= 63


def test_a_first_preview_knows_nothing_and_builds_all_the_same():
    assert set(build(preview=True).resources) == set(graph().resources)


def test_roles_have_what_the_workflows_call():
    found = graph()
    made = {r.get("roleId"): set(r.get("permissions")) for r in kind(found, "projects/IAMCustomRole")}
    assert set(made) == set(role_ids(Names("acme-ai", "dev"), 1).values())
    assert "run.services.update" in made["acme_ai_dev_release_run"]
    # Nobody deletes, and nobody grants.
    assert not {p for permissions in made.values() for p in permissions if re.search(r"\.(delete|setIamPolicy)$", p)}
    assert role_ids(Names("acme-ai", "dev"), 2)["run"] == "acme_ai_dev_release_run_2"


def test_what_cannot_be_is_said():
    assert "captures, and nobody has said where" in raised(partial(run, _nowhere))
    assert "is private, and there is no network" in raised(partial(build, "prod", ground={"network": None}))


def _nowhere() -> None:
    root = pulumi.ComponentResource(f"{PROJECT}:Root", "root", None)
    here = scope("dev")
    spec = specs()["fraud"]
    machine = fitting(spec.compute, "gcp", REGION)
    assert machine
    args = RealTimeArgs(
        spec=spec, model=Packaged(repository=text("r"), package="fraud", version="1", own=True, server=None, python="p"),
        machine=machine, platform=platform(here, root), private=False, signs=alarms(spec),
    )  # fmt: skip
    RealTime("fraud", args, scope=here, parent=root)
