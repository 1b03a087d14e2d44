"""Notebooks, tracking and pipelines on Google Cloud: what they may do, what stops them, and what a workflow says."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from functools import partial
from typing import Any

import pulumi
import pulumi_gcp as gcp
import pytest
import yaml

from components import contracts
from components.core.accelerators import MACHINES, machine
from components.core.naming import Names
from components.core.vertex import offered
from components.gcp.training import pipelines, tracking, workbench
from components.scope import Scope
from components.spec.experiments import Gate, Input, Pipeline, Step, TrainingStep, run
from policies.model import Graph
from preview.record import run as record
from tests.gcp.building import before, kind, one

SERVICES = (
    "aiplatform", "artifactregistry", "cloudresourcemanager", "cloudscheduler", "iam", "monitoring", "notebooks",
    "workflowexecutions", "workflows",
)  # fmt: skip
ZONES = ("raw", "curated", "artifacts", "models")
PYTHON = "us-central1-docker.pkg.dev/acme-ai-dev/docker-io/library/python:3.13.9-slim-bookworm"
CHANNEL = "projects/acme-ai-dev/notificationChannels/1"


def scope(tier: str) -> Scope:
    parent = pulumi.ComponentResource("ai-platform:gcp:Example", "example")
    return Scope(
        environment=tier,
        tier=tier,  # pyright: ignore[reportArgumentType]
        cloud="gcp",
        account="acme-ai-dev",
        region="us-central1",
        replica_region=None,
        names=Names("acme-ai", tier),
        tags={"environment": tier},
        protection={"dev": "delete", "prod": "retain"}[tier],
        log_days=30,
        today=date(2026, 1, 1),
        provider=gcp.Provider("gcp", project="acme-ai-dev", opts=pulumi.ResourceOptions(parent=parent)),
    )


def text(value: str) -> contracts.Text:
    return pulumi.Output.from_input(value)


def apis() -> dict[str, contracts.Text]:
    return {f"{service}.googleapis.com": text("acme-ai-dev") for service in SERVICES}


def key() -> contracts.Key:
    return contracts.Key(
        id=text("projects/acme-ai-dev/locations/us-central1/keyRings/r/cryptoKeys/models"), replica=None
    )


def bucket(zone: str) -> contracts.Storage:
    name = f"acme-ai-dev-{zone}"
    return contracts.Storage(name=text(name), uri=text(f"gs://{name}"), resource=text(name))


def network() -> contracts.Network:
    subnets = "projects/acme-ai-dev/regions/us-central1/subnetworks/acme-ai-dev-"
    return contracts.Network(
        id=text("projects/acme-ai-dev/global/networks/acme-ai-dev-vpc"),
        workload_subnets=[text(f"{subnets}nodes")],
        data_subnets=[text(f"{subnets}data")],
        cidr="10.64.0.0/16",
    )


def notebooks(**changes: Any) -> workbench.WorkbenchArgs:
    machines = [machine("gcp", "e2-standard-4"), machine("gcp", "g2-standard-8", "nvidia-l4", 1)]
    args = workbench.WorkbenchArgs(
        apis=apis(),
        users={
            "ana": workbench.User(persona="data-scientist", email="ana@example.com", tags={"team": "vision"}),
            "ben": workbench.User(persona="ml-engineer", email="ben@example.com", machine="g2-standard-8"),
        },
        idle_hours=3,
        machines=[m for m in machines if m],
        disk_gib=50,
        zones={
            "raw": workbench.Zone(bucket=bucket("raw"), readers=["ml-engineer"]),
            "curated": workbench.Zone(bucket=bucket("curated"), readers=["data-scientist"]),
            "artifacts": workbench.Zone(bucket=bucket("artifacts"), writers=["data-scientist", "ml-engineer"]),
        },
        network=network(),
        zone="us-central1-a",
        key=key(),
        record=text("projects/acme-ai-dev/roles/acme_ai_dev_experimenter"),
        generation=1,
    )
    return replace(args, **changes)


def pipeline(**changes: Any) -> Pipeline:
    step = Step(image="us-central1-docker.pkg.dev/acme-ai-dev/training/train:1.0", max_hours=2, arguments=["--fast"])
    train = TrainingStep.model_validate(
        {**step.model_dump(), "accelerator": "nvidia-l4", "machines": 3, "max_hours": 5, "spot": True}
    )
    told: dict[str, Any] = {
        "team": "risk",
        "model": "fraud",
        "schedule": "30 4 * * 1-5",
        "time_zone": "Europe/Berlin",
        "inputs": {"transactions": Input(zone="curated", prefix="transactions/"), "rates": Input(zone="raw")},
        "prepare": step,
        "train": train,
        "evaluate": step,
        "serving_image": "us-central1-docker.pkg.dev/acme-ai-dev/serving/serve:1.0",
        "gate": Gate(metric="auc", at_least=0.9),
    }
    return Pipeline.model_validate({**told, **changes})


def trains(**changes: Any) -> pipelines.PipelinesArgs:
    return pipelines.PipelinesArgs(
        apis=apis(),
        number="444444444444",
        runs={"fraud": run("fraud", pipeline(**changes), "gcp", "us-central1")},
        tags={"fraud": {"team": "risk"}},
        zones={zone: bucket(zone) for zone in ZONES},
        model_zone="models",
        candidates={"fraud": text("us-central1-docker.pkg.dev/acme-ai-dev/acme-ai-dev-model-fraud")},
        python=PYTHON,
        network=network(),
        key=key(),
        tracking=contracts.Tracking(uri=text("projects/444444444444/locations/us-central1/tensorboards/1")),
        record=text("projects/acme-ai-dev/roles/acme_ai_dev_experimenter"),
        warning=[text(CHANNEL)],
        generation=1,
    )


def records() -> tracking.TrackingArgs:
    return tracking.TrackingArgs(
        apis=apis(), key=key(), groups={"data-scientist": "ml-scientists@example.com"}, generation=2
    )


COMPONENTS: dict[type, Any] = {
    workbench.WorkbenchArgs: workbench.Workbench,
    tracking.TrackingArgs: tracking.Tracking,
    pipelines.PipelinesArgs: pipelines.Pipelines,
}


def built(make: Callable[[], Any], *, tier: str = "dev", preview: bool = False) -> Graph:
    """The graph of one component. Its arguments are made inside of the run, as outputs have to be."""

    def program() -> None:
        args = make()
        component = COMPONENTS[type(args)]
        parent = pulumi.ComponentResource("ai-platform:gcp:Environment", "environment")
        component(component.__name__.lower(), args, scope=scope(tier), parent=parent)

    return record(program, preview=preview)


def grants(graph: Graph, workload: str) -> set[tuple[str, str]]:
    """What a workload may do: roles, each with what it holds for."""
    found: set[tuple[str, str]] = set()
    for name, where in (
        ("storage/BucketIAMMember", "bucket"),
        ("projects/IAMMember", "project"),
        ("artifactregistry/RepositoryIamMember", "repository"),
    ):
        for grant in kind(graph, name):
            if grant.get("member") == f"${{{one(graph, 'serviceaccount/Account', f'{workload}-account').urn}#member}}":
                found.add((grant.get("role"), grant.get(where)))
    return found


# Notebooks


def test_an_instance_is_private_shielded_and_its_users_own():
    graph = built(notebooks)
    found = kind(graph, "workbench/Instance")
    assert {i.name for i in found} == {"workbench-ana", "workbench-ben"}
    for instance in found:
        setup = instance.get("gceSetup")
        assert setup["disablePublicIp"] is True
        assert not setup["networkInterfaces"][0].get("accessConfigs")
        assert setup["bootDisk"]["diskEncryption"] == setup["dataDisks"]["diskEncryption"] == "CMEK"
        assert setup["bootDisk"]["kmsKey"] == setup["dataDisks"]["kmsKey"]
        assert setup["shieldedInstanceConfig"]["enableVtpm"] is True
        # Drivers of a GPU are not signed: with secure boot it would start without them.
        assert setup["shieldedInstanceConfig"]["enableSecureBoot"] == (setup["machineType"] == "e2-standard-4")
    ana, ben = one(graph, "workbench/Instance", "workbench-ana"), one(graph, "workbench/Instance", "workbench-ben")
    assert (ana.get("instanceOwners"), ben.get("instanceOwners")) == (["ana@example.com"], ["ben@example.com"])
    assert ben.get("gceSetup.acceleratorConfigs") == [{"type": "NVIDIA_L4", "coreCount": "1"}]
    assert ana.get("labels.team") == "vision"


def test_every_notebook_goes_off_when_it_is_idle():
    graph = built(notebooks)
    for instance in kind(graph, "workbench/Instance"):
        told = instance.get("gceSetup.metadata")
        assert told["idle-timeout-seconds"] == str(3 * 3600)
        assert told["enable-guest-attributes"] == "TRUE", "without it nothing notices that it is idle"
        assert {told[f"notebook-disable-{what}"] for what in ("root", "terminal", "downloads")} == {"true"}
    templates = kind(graph, "colab/RuntimeTemplate")
    assert len(templates) == 2
    for template in templates:
        assert template.get("idleShutdownConfig.idleTimeout") == "10800s"
        assert template.get("networkSpec.enableInternetAccess") is False
        assert template.get("eucConfig.eucDisabled") is False
        assert template.get("encryptionSpec.kmsKeyName")


def test_a_notebook_reads_what_its_persona_reads():
    graph = built(notebooks)
    record_, logs = "projects/acme-ai-dev/roles/acme_ai_dev_experimenter", "roles/logging.logWriter"
    common = {(record_, "acme-ai-dev"), (logs, "acme-ai-dev"), ("roles/monitoring.metricWriter", "acme-ai-dev")}
    write = ("roles/storage.objectUser", "acme-ai-dev-artifacts")
    read = "roles/storage.objectViewer"
    assert grants(graph, "notebook-ana") == {*common, write, (read, "acme-ai-dev-curated")}
    assert grants(graph, "notebook-ben") == {*common, write, (read, "acme-ai-dev-raw")}
    for user in ("ana", "ben"):
        instance = one(graph, "workbench/Instance", f"workbench-{user}")
        data = [g.name for g in kind(graph, "storage/BucketIAMMember") if g.name.startswith(f"notebook-{user}-")]
        assert set(data) <= before(graph, instance)


def test_a_user_uses_an_instance_and_cannot_change_it():
    graph = built(notebooks)
    permissions = one(graph, "projects/IAMCustomRole", "workbench-role").get("permissions")
    assert not {p for p in permissions if re.search(r"\.(update|set|create|delete|upgrade$)", p)}
    found = {(g.get("name"), g.get("member")) for g in kind(graph, "workbench/InstanceIamMember")}
    assert found == {
        ("acme-ai-dev-notebook-ana", "user:ana@example.com"),
        ("acme-ai-dev-notebook-ben", "user:ben@example.com"),
    }
    members = kind(graph, "colab/RuntimeTemplateIamMember")
    assert len(members) == 4
    assert {m.get("role") for m in members} == {"roles/aiplatform.notebookRuntimeUser"}


@pytest.mark.parametrize(("tier", "kept"), [("dev", False), ("prod", True)])
def test_what_a_destroy_does(tier: str, kept: bool):
    graph = built(notebooks, tier=tier)
    for instance in kind(graph, "workbench/Instance"):
        assert bool(instance.protect) == kept
        assert instance.get("enableDeletionProtection") is kept
    for name in ("vertex/AiTensorboard", "vertex/AiMetadataStore"):
        assert [bool(r.protect) for r in kind(built(records, tier=tier), name)] == [kept]
    assert one(built(trains, tier=tier), "workflows/Workflow", "pipelines-fraud").get("deletionProtection") is kept


# Tracking


def test_experiments_are_encrypted_and_recorded_by_those_who_may():
    graph = built(records)
    board = one(graph, "vertex/AiTensorboard", "tracking-board")
    store = one(graph, "vertex/AiMetadataStore", "tracking-store")
    assert board.get("encryptionSpec.kmsKeyName") == store.get("encryptionSpec.kmsKeyName")
    assert store.get("name") == "default", "experiments would go to a store that Vertex AI makes without our key"
    role = one(graph, "projects/IAMCustomRole", "tracking-role")
    assert role.get("roleId") == "acme_ai_dev_experimenter_2"
    assert not {p for p in role.get("permissions") if p.endswith(".delete") or "Jobs." in p or "endpoints" in p}
    assert [m.get("member") for m in kind(graph, "projects/IAMMember")] == ["group:ml-scientists@example.com"]


# Pipelines


def source(graph: Graph) -> dict[str, Any]:
    """The source of the workflow. Workflows reads it as YAML, so it has to be that, with no key twice."""
    contents = one(graph, "workflows/Workflow", "pipelines-fraud").get("sourceContents")
    assert len(contents.encode()) < 128 * 1024
    found = yaml.safe_load(contents)
    assert found == json.loads(contents)
    return found


def steps(graph: Graph, routine: str = "main") -> dict[str, Any]:
    found = source(graph)[routine]["steps"]
    assert all(len(step) == 1 for step in found)
    names = [name for step in found for name in step]
    assert len(set(names)) == len(names), "two steps of one name"
    return {name: body for step in found for name, body in step.items()}


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, str):
        yield value


FUNCTIONS = {"sys.get_env", "text.url_encode", "json.decode", "get_type"}
GLOBAL = {"http.default_retry"}
KEYS = {"assign", "call", "args", "result", "switch", "next", "return", "raise", "try", "retry"}


@pytest.mark.parametrize("routine", ["main", "job"])
def test_every_step_leads_to_a_step_and_knows_what_it_names(routine: str):
    graph = built(trains)
    found = steps(graph, routine)
    known = set(source(graph)[routine].get("params", []))
    for name, step in found.items():
        assert re.fullmatch(r"[A-Za-z_]\w*", name)
        assert set(step) <= KEYS, name
        targets = [step.get("next"), *(case.get("next") for case in step.get("switch", []))]
        assert {t for t in targets if t} <= set(found), name
        for case in step.get("switch", []):
            assert set(case) - {"condition"} in ({"next"}, {"return"})
        assigned = [v for entry in step.get("assign", []) for v in entry]
        for expression in texts(step):
            if not expression.startswith("${") or expression.startswith("${urn:"):  # what the recorder does not know
                continue
            assert expression.endswith("}"), expression
            bare = re.sub(r'"[^"]*"', "", expression[2:-1])
            used = set(re.findall(r"[A-Za-z_][\w.]*", bare)) - FUNCTIONS - GLOBAL
            here = known | set(assigned) | {"answer"} if name == "measure" else known | set(assigned)
            assert {u.split(".")[0] for u in used} <= here, (name, expression)
        known |= {*assigned, *([step["result"]] if "result" in step else [])}
        if "try" in step:
            known.add(step["try"]["result"])


def paths(found: dict[str, Any], gate: float, outcome: float) -> list[str]:
    """The steps that a run goes through, were its model measured so."""
    order, taken = list(found), []
    at = order[0]
    while at:
        taken.append(at)
        step = found[at]
        follows = order[order.index(at) + 1] if order.index(at) + 1 < len(order) else ""
        if at == "good_enough":
            at = step["switch"][0]["next"] if outcome >= gate else step["next"]
        elif at == "parsed":
            at = step["next"]
        elif "raise" in step or "return" in step:
            at = ""
        else:
            at = step.get("next", follows)
    return taken


def test_a_model_is_registered_only_if_it_is_good_enough_and_then_waits():
    found = steps(built(trains))
    assert found["good_enough"]["switch"] == [{"condition": "${measured.auc >= 0.900000}", "next": "register"}]
    good = paths(found, 0.9, 0.95)
    assert [s for s in good if found[s].get("call") == "job"] == ["prepare", "train", "evaluate", "register"]
    assert good[-2:] == ["tell", "done"]
    bad = paths(found, 0.9, 0.5)
    assert bad[-1] == "not_good_enough"
    assert "register" not in bad
    less = steps(built(partial(trains, gate=Gate(metric="error", at_most=0))))
    assert less["good_enough"]["switch"][0]["condition"] == "${measured.error <= 0.000000}"
    assert found["tell"]["args"]["json"]["event"] == "model-waits-for-approval"
    waiting = one(built(trains), "monitoring/AlertPolicy", "pipelines-waiting")
    assert (
        'jsonPayload.event="model-waits-for-approval"' in waiting.get("conditions")[0]["conditionMatchedLog"]["filter"]
    )


def jobs(graph: Graph) -> dict[str, dict[str, Any]]:
    return {name: step["args"] for name, step in steps(graph).items() if step.get("call") == "job"}


# Vertex AI API v1, CustomJob and what is in it.
SHAPES = {
    "": {"displayName", "jobSpec", "encryptionSpec", "labels"},
    "jobSpec": {
        "workerPoolSpecs", "scheduling", "serviceAccount", "network", "enableWebAccess", "tensorboard", "baseOutputDirectory",
    },
    "scheduling": {"timeout", "strategy", "restartJobOnWorkerRestart", "disableRetries", "maxWaitDuration"},
    "pool": {"machineSpec", "diskSpec", "containerSpec", "replicaCount"},
    "machineSpec": {"machineType", "acceleratorType", "acceleratorCount"},
    "diskSpec": {"bootDiskType", "bootDiskSizeGb"},
    "containerSpec": {"imageUri", "command", "args", "env"},
}  # fmt: skip


def test_jobs_are_bounded_encrypted_and_in_the_network():
    found = jobs(built(trains))
    assert set(found) == {"prepare", "train", "evaluate", "register"}
    for name, args in found.items():
        body = args["body"]
        assert set(body) <= SHAPES[""]
        job = body["jobSpec"]
        assert set(job) <= SHAPES["jobSpec"]
        assert set(job["scheduling"]) <= SHAPES["scheduling"]
        assert job["network"] == "projects/444444444444/global/networks/acme-ai-dev-vpc"
        assert job["enableWebAccess"] is False
        assert body["encryptionSpec"]["kmsKeyName"].endswith("/models")
        assert body["labels"]["team"] == "risk"
        for pool in job["workerPoolSpecs"]:
            assert set(pool) == SHAPES["pool"]
            for part in ("machineSpec", "diskSpec", "containerSpec"):
                assert set(pool[part]) <= SHAPES[part], name
            assert pool["diskSpec"]["bootDiskSizeGb"] >= 100
        assert job["workerPoolSpecs"][0]["replicaCount"] == "1"
        # The workflow waits for longer than a job may run and wait for its machines.
        assert args["seconds"] >= int(job["scheduling"]["timeout"].rstrip("s")) + 3600
    train = found["train"]["body"]["jobSpec"]
    assert train["scheduling"] == {"timeout": "18000s", "strategy": "SPOT", "restartJobOnWorkerRestart": False}
    assert [p["replicaCount"] for p in train["workerPoolSpecs"]] == ["1", "2"]
    assert train["workerPoolSpecs"][0]["machineSpec"]["acceleratorType"] == "NVIDIA_L4"
    assert train["tensorboard"].endswith("/tensorboards/1")
    assert found["prepare"]["body"]["jobSpec"]["scheduling"]["strategy"] == "STANDARD"
    assert "tensorboard" not in found["prepare"]["body"]["jobSpec"]


def variables(args: dict[str, Any]) -> dict[str, str]:
    container = args["body"]["jobSpec"]["workerPoolSpecs"][0]["containerSpec"]
    return {entry["name"]: entry["value"] for entry in container["env"]}


def test_a_step_finds_what_the_one_before_it_wrote():
    found = jobs(built(trains))
    prepare, train, evaluate = (variables(found[step]) for step in ("prepare", "train", "evaluate"))
    assert prepare["INPUT_TRANSACTIONS"] == "/gcs/acme-ai-dev-curated/transactions/"
    assert prepare["INPUT_RATES"] == "/gcs/acme-ai-dev-raw/"
    assert prepare["OUTPUT_TRAIN"] == train["INPUT_TRAIN"]
    assert prepare["OUTPUT_TEST"] == evaluate["INPUT_TEST"]
    assert train["MODEL"] == evaluate["MODEL"]
    init = {k: v for entry in steps(built(trains))["init"]["assign"] for k, v in entry.items()}
    assert init["work"] == '${"/gcs/acme-ai-dev-artifacts/pipelines/fraud/" + run}'
    assert init["package"] == '${"/gcs/acme-ai-dev-models/" + prefix}'
    assert init["prefix"] == '${"fraud/" + run}'
    assert evaluate["OUTPUT_EVALUATION"] == '${package + "/evaluation"}'
    url = steps(built(trains))["measure"]["try"]["args"]["url"]
    assert "/b/acme-ai-dev-models/o/" in url
    assert '"/evaluation/evaluation.json"' in url


def test_the_registrar_pushes_the_model_of_this_very_run():
    container = jobs(built(trains))["register"]["body"]["jobSpec"]["workerPoolSpecs"][0]["containerSpec"]
    assert container["imageUri"] == PYTHON
    # What Workflows would take for an expression.
    assert "${" not in container["command"][2]
    compile(container["command"][2], "register_model.py", "exec")
    told = container["args"]
    assert told[told.index("--folder") + 1] == '${package + "/model"}'
    assert told[told.index("--tag") + 1] == "${run}"
    assert (
        told[told.index("--repository") + 1] == "us-central1-docker.pkg.dev/acme-ai-dev/acme-ai-dev-model-fraud/fraud"
    )


def test_identities_do_what_the_pipeline_says_and_nothing_else():
    graph = built(trains)
    project = "acme-ai-dev"
    assert grants(graph, "pipeline-fraud") == {
        ("roles/logging.logWriter", project),
        ("roles/monitoring.metricWriter", project),
        ("projects/acme-ai-dev/roles/acme_ai_dev_experimenter", project),
        ("roles/artifactregistry.writer", "acme-ai-dev-model-fraud"),
        ("roles/storage.objectViewer", "acme-ai-dev-curated"),
        ("roles/storage.objectViewer", "acme-ai-dev-raw"),
        ("roles/storage.objectUser", "acme-ai-dev-artifacts"),
        ("roles/storage.objectUser", "acme-ai-dev-models"),
    }
    conditions = {g.name: g.get("condition.expression") for g in kind(graph, "storage/BucketIAMMember")}
    below = 'resource.type == "storage.googleapis.com/Bucket" || resource.name.startsWith("projects/_/buckets/{}")'
    assert conditions == {
        "pipeline-fraud-input-transactions": below.format("acme-ai-dev-curated/objects/transactions/"),
        "pipeline-fraud-input-rates": None,
        "pipeline-fraud-work": below.format("acme-ai-dev-artifacts/objects/pipelines/fraud/"),
        "pipeline-fraud-models": below.format("acme-ai-dev-models/objects/fraud/"),
        "pipeline-fraud-drive-measured": below.format("acme-ai-dev-models/objects/fraud/"),
    }
    role = one(graph, "projects/IAMCustomRole", "pipelines-role")
    assert set(role.get("permissions")) == {
        "aiplatform.customJobs.cancel",
        "aiplatform.customJobs.create",
        "aiplatform.customJobs.get",
        "logging.logEntries.create",
    }
    acts = kind(graph, "serviceaccount/IAMMember")
    assert [(a.name, a.get("role")) for a in acts] == [("pipelines-fraud-acts", "roles/iam.serviceAccountUser")]
    assert grants(graph, "pipeline-start") == {("roles/workflows.invoker", project)}


def test_a_pipeline_starts_when_its_time_has_come_and_somebody_hears_when_it_does_not():
    graph = built(trains)
    schedule = one(graph, "cloudscheduler/Job", "pipelines-schedule-fraud")
    made = one(graph, "workflows/Workflow", "pipelines-fraud")
    assert (schedule.get("schedule"), schedule.get("timeZone")) == ("30 4 * * 1-5", "Europe/Berlin")
    target = schedule.get("httpTarget")
    assert target["uri"] == f"https://workflowexecutions.googleapis.com/v1/${{{made.urn}#id}}/executions"
    assert json.loads(base64.b64decode(target["body"])) == {"argument": "{}"}
    assert target["oauthToken"]["serviceAccountEmail"]
    assert "pipeline-start-start" in before(graph, schedule)
    alerts = kind(graph, "monitoring/AlertPolicy")
    assert {a.name for a in alerts} == {"pipelines-failed", "pipelines-waiting", "pipelines-not-started"}
    assert all(a.get("notificationChannels") == [CHANNEL] for a in alerts)
    for alert in alerts:
        # An alert on logs without a limit is refused, one on metrics with it.
        assert bool(alert.get("alertStrategy")) == ("conditionMatchedLog" in alert.get("conditions")[0])
    assert not kind(built(partial(trains, schedule=None)), "cloudscheduler/Job")


def test_a_workflow_comes_after_the_grants_of_whom_it_acts_as():
    graph = built(trains)
    made = one(graph, "workflows/Workflow", "pipelines-fraud")
    assert {
        "pipelines-fraud-acts",
        "pipeline-fraud-drive-drive",
        "pipeline-fraud-drive-measured",
        "pipeline-fraud-candidates",
        "pipeline-fraud-models",
    } <= before(graph, made)
    assert made.get("cryptoKeyName")
    assert made.get("callLogLevel") == "LOG_ALL_CALLS"


@pytest.mark.parametrize("args", [notebooks, trains, records])
def test_a_first_preview_knows_nothing_and_builds_all_the_same(args: Any):
    assert set(built(args, preview=True).resources) == set(built(args).resources)


def test_vertex_ai_has_no_tpu_by_this_name():
    assert not [m.type for m in MACHINES if offered(m) and (m.accelerator or "").startswith("google")]
    assert [m.type for m in MACHINES if offered(m) and not offered(m, notebook=True)] == [
        "a3-ultragpu-8g",
        "a4-highgpu-8g",
    ]
