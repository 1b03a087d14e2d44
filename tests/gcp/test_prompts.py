"""The log of prompts: who writes it, who reads it, and that it is on."""

import json
from functools import cache
from typing import Any

import pytest

from components.gcp.retrieval.prompts import Prompts, PromptsArgs
from policies.model import Graph
from preview.record import run
from tests.gcp.building import before, kind, one
from tests.gcp.test_serving_endpoints import CRITICAL, NUMBER, PROJECT_ID, key, scope, text
from tests.gcp.workflows import Interpreter, Raised, failed

SERVICES = (
    "bigquery", "cloudresourcemanager", "cloudscheduler", "iam", "logging", "monitoring", "workflowexecutions", "workflows",
)  # fmt: skip
MODELS = ("publishers/google/models/gemini-2.5-pro", "publishers/google/models/gemini-2.5-flash@001")


def build(*, models: tuple[str, ...] = MODELS, tier: str = "prod", preview: bool = False) -> Graph:
    def program() -> None:
        here = scope(tier)
        args = PromptsArgs(
            apis={f"{service}.googleapis.com": text(PROJECT_ID) for service in SERVICES}, number=NUMBER, models=models,
            days=30, readers={"auditor": "audit@example.com"}, key=key("logs"), workflow_key=key("models"),
            starter=text("starter@acme"), generation=1, critical=[text(CRITICAL)],
        )  # fmt: skip
        Prompts("prompts", args, scope=here, parent=here.provider)

    return run(program, preview=preview)


@cache
def graph() -> Graph:
    return build()


def test_nothing_is_kept_for_longer_than_it_may_be():
    dataset = one(graph(), "bigquery/Dataset", "prompts-dataset")
    for key_ in ("defaultPartitionExpirationMs", "defaultTableExpirationMs"):
        assert dataset.get(key_) == 30 * 24 * 3600 * 1000
    assert dataset.get("defaultEncryptionConfiguration.kmsKeyName").endswith("/logs")
    assert dataset.protect
    assert dataset.get("datasetId") == "acme_ai_prod_prompts"
    assert not one(build(tier="dev"), "bigquery/Dataset", "prompts-dataset").protect


def test_vertex_writes_readers_read_and_nobody_else_does():
    grants = {(g.get("role"), g.get("member")) for g in kind(graph(), "bigquery/DatasetIamMember")}
    assert grants == {
        ("roles/bigquery.dataEditor", f"serviceAccount:service-{NUMBER}@gcp-sa-aiplatform.iam.gserviceaccount.com"),
        ("roles/bigquery.dataViewer", "group:audit@example.com"),
    }


def test_who_sets_it_may_do_nothing_else():
    role = one(graph(), "projects/IAMCustomRole", "prompts-role")
    assert role.get("permissions") == ["aiplatform.endpoints.setPublisherModelConfig"]
    roles = {g.name: g.get("role") for g in kind(graph(), "projects/IAMMember") if g.name.startswith("log-prompts")}
    assert roles == {"log-prompts-sets": f"${{{role.urn}#name}}", "log-prompts-logs": "roles/logging.logWriter"}


def source() -> dict[str, Any]:
    return json.loads(one(graph(), "workflows/Workflow", "prompts-workflow").get("sourceContents"))


def test_it_is_set_for_every_model():
    called: list[tuple[str, dict[str, Any]]] = []
    Interpreter(source(), lambda name, args: called.append((name, args)), "execution").run({})
    assert [args["url"].rpartition("/")[2] for _, args in called] == [
        "gemini-2.5-flash:setPublisherModelConfig",
        "gemini-2.5-pro:setPublisherModelConfig",
    ]
    for name, args in called:
        assert name == "http.post"
        assert args["auth"] == {"type": "OAuth2"}
        assert args["url"].startswith(f"https://us-central1-aiplatform.googleapis.com/v1beta1/projects/{PROJECT_ID}/")
        config = args["body"]["publisherModelConfig"]["loggingConfig"]
        assert (config["enabled"], config["samplingRate"]) == (True, 1)
        assert config["bigqueryDestination"]["outputUri"] == f"bq://{PROJECT_ID}.acme_ai_prod_prompts.requests"


def test_one_model_that_refuses_keeps_no_other_from_being_logged_and_is_told_of():
    called: list[str] = []

    def call(name: str, args: dict[str, Any]) -> None:
        called.append(args["url"])
        if "flash" in args["url"]:
            raise failed(403)

    with pytest.raises(Raised, match="flash"):
        Interpreter(source(), call, "execution").run({})
    assert len(called) == 2
    alert = one(graph(), "monitoring/AlertPolicy", "prompts-alarm-prompts-not-logged")
    assert alert.get("notificationChannels") == [CRITICAL]
    assert alert.name in before(graph(), one(graph(), "workflows/Workflow", "prompts-workflow"))


def test_it_is_set_again_and_again_by_who_starts_workflows():
    job = one(graph(), "cloudscheduler/Job", "prompts-schedule")
    assert job.get("schedule") == "*/15 * * * *"
    assert job.get("httpTarget.oauthToken.serviceAccountEmail") == "starter@acme"
    assert "prompts-writer" in before(graph(), job), "a table is made by who may"


def test_without_a_model_of_the_cloud_there_is_the_dataset_alone():
    assert not kind(build(models=()), "workflows/Workflow")


def test_a_first_preview_knows_no_outputs():
    assert kind(build(preview=True), "workflows/Workflow")
