"""The log of prompts: who writes it, who reads it, and that it is on."""

import json
import shutil
from functools import cache
from typing import Any

import pulumi
import pytest

from components.core.naming import Names
from components.gcp.retrieval.prompts import Prompts, PromptsArgs, writer_id
from policies.model import Graph
from preview.record import run
from tests.aws.test_prompts import answering
from tests.conftest import ROOT
from tests.gcp.building import before, kind, one
from tests.gcp.building import build as environment
from tests.gcp.test_serving_endpoints import CRITICAL, NUMBER, PROJECT_ID, key, scope, text
from tests.gcp.workflows import Interpreter, Raised, failed
from tests.runtime.test_guard import COLUMNS

SERVICES = (
    "bigquery", "cloudresourcemanager", "cloudscheduler", "iam", "logging", "monitoring", "workflowexecutions", "workflows",
)  # fmt: skip
MODELS = ("publishers/google/models/gemini-2.5-pro", "publishers/google/models/gemini-2.5-flash@001")


def build(
    *, models: tuple[str, ...] = MODELS, tier: str = "prod", endpoints: bool = False, preview: bool = False
) -> Graph:
    def program() -> None:
        here = scope(tier)
        args = PromptsArgs(
            apis={f"{service}.googleapis.com": text(PROJECT_ID) for service in SERVICES}, number=NUMBER, models=models,
            endpoints=endpoints, days=30, readers={"auditor": "audit@example.com"}, key=key("logs"),
            workflow_key=key("models"), starter=text("starter@acme") if models else None, generation=1,
            critical=[text(CRITICAL)],
        )  # fmt: skip
        made = Prompts("prompts", args, scope=here, parent=here.provider).outputs
        pulumi.export("prompts", {"id": made.id, "place": made.place, "table": made.table, "writes": made.writes})

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
    found = build(models=())
    assert not kind(found, "workflows/Workflow")
    assert not kind(found, "bigquery/Table")
    assert found.outputs["prompts"]["table"] is None
    assert found.outputs["prompts"]["place"] == f"projects/{PROJECT_ID}/datasets/acme_ai_prod_prompts"


def test_what_models_of_ours_are_asked_lies_in_the_same_dataset_for_as_long():
    found = build(models=(), endpoints=True)
    table = one(found, "bigquery/Table", "prompts-endpoints")
    assert table.get("datasetId") == "acme_ai_prod_prompts"
    assert table.get("timePartitioning") == {"type": "DAY", "field": "time", "expirationMs": 30 * 24 * 3600 * 1000}
    assert table.get("encryptionConfiguration.kmsKeyName").endswith("/logs")
    assert (table.protect, table.get("deletionProtection")) == (True, True)
    dev = one(build(models=(), endpoints=True, tier="dev"), "bigquery/Table", "prompts-endpoints")
    assert (dev.protect, dev.get("deletionProtection")) == (False, False)


def test_the_table_has_the_columns_that_the_guard_writes():
    """A row with a column more, or without one that has to be there, is refused, and nobody is answered."""
    table = one(build(endpoints=True), "bigquery/Table", "prompts-endpoints")
    columns = {each["name"]: each for each in json.loads(table.get("schema"))}
    assert set(columns) == COLUMNS
    assert columns["time"]["type"] == "TIMESTAMP"
    # An answer comes without its question, and a question without its answer.
    assert {name for name, each in columns.items() if each["mode"] == "REQUIRED"} == {"time", "endpoint", "request_id"}


def test_who_adds_prompts_reads_none():
    found = build(endpoints=True)
    role = one(found, "projects/IAMCustomRole", "prompts-adds")
    assert "bigquery.tables.updateData" in role.get("permissions")
    assert not {"bigquery.tables.getData", "bigquery.tables.export", "bigquery.jobs.create"} & set(
        role.get("permissions")
    )
    assert role.get("roleId") == writer_id(Names("acme-ai", "prod"), 1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """A model of ours in the cluster, and none of Google's."""
    folder = tmp_path_factory.mktemp("prompts")
    shutil.copytree(ROOT / "stacks", folder / "stacks")
    return environment(folder, answering())


# Permissions and roles by which somebody reads rows of tables (IAM, "BigQuery roles and permissions").
READS = {"bigquery.tables.getData", "bigquery.tables.export", "bigquery.rowAccessPolicies.getFilteredData"}
READERS = {f"roles/bigquery.{name}" for name in ("admin", "dataEditor", "dataOwner", "dataViewer", "studioAdmin")}
BASIC = {"roles/editor", "roles/owner", "roles/viewer"}


def test_of_all_who_have_anything_readers_alone_read_prompts_of_our_own_models(whole: Graph):
    dataset = one(whole, "bigquery/Dataset", "prompts-dataset")
    let_in = {(g.get("role"), g.get("member")) for g in kind(whole, "bigquery/DatasetIamMember")}
    assert ("roles/bigquery.dataViewer", "group:auditors@example.com") in let_in
    assert {member for _, member in let_in if str(member).startswith("group:")} == {"group:auditors@example.com"}
    assert dataset.get("accesses") is None, "what is not said here is not let in"
    for role in kind(whole, "projects/IAMCustomRole"):
        assert not READS & set(role.get("permissions")), role.name
    wide = {g.name for g in kind(whole, "projects/IAMMember") if g.get("role") in READERS | BASIC}
    assert wide == {"deploy-bigquery.dataOwner"}, "whoever makes data sets is denied what is in them"
    [deny] = kind(whole, "iam/DenyPolicy")
    denied = [each["denyRule"] for each in deny.get("rules")]
    assert ["bigquery.googleapis.com/tables.getData"] in [each["deniedPermissions"] for each in denied]


def test_no_prompt_lies_where_whoever_reads_logs_reads_it(whole: Graph):
    roles = {g.name: g.get("role") for g in kind(whole, "projects/IAMMember")}
    assert "chat-pods-prompts" not in roles
    assert not {role for name, role in roles.items() if name.startswith("chat-pods") and "logging" in str(role)}
    assert not kind(whole, "workflows/Workflow") or not [
        w for w in kind(whole, "workflows/Workflow") if "prompts" in w.name
    ]


def test_the_dataset_has_a_key_that_bigquery_may_use_and_days_as_described(whole: Graph):
    dataset = one(whole, "bigquery/Dataset", "prompts-dataset")
    assert dataset.get("defaultTableExpirationMs") == 30 * 24 * 3600 * 1000
    grants = [g for g in kind(whole, "kms/CryptoKeyIAMMember") if "bq-" in str(g.get("member"))]
    assert grants
    assert {g.name for g in grants} & before(whole, dataset), "a data set is refused a key that it may not use"


def test_a_first_preview_knows_no_outputs():
    assert kind(build(preview=True), "workflows/Workflow")
