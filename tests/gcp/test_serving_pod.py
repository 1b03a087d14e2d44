"""Pods of endpoints in the cluster: each may read its own model and write its own results, before it is made."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pulumi
import pulumi_gcp as gcp
import pytest

from components import contracts
from components.gcp.serving.pod import Place, Pod, PodArgs
from policies.model import Graph
from preview.record import run
from tests.aws.test_serving_pod import WHOLE
from tests.gcp.alone import APIS, scope, text
from tests.gcp.building import before, build, kind, one

LISTED = "api.getAttribute('storage.googleapis.com/objectListPrefix', '')"
ADDS = "projects/acme-dev/roles/acme_ai_dev_prompts_adds"
VIEWER, USER = "roles/storage.objectViewer", "roles/storage.objectUser"


def place(zone: str, path: str) -> Place:
    bucket = f"acme-ai-dev-{zone}"
    handle = contracts.Storage(name=text(bucket), uri=text(f"gs://{bucket}"), resource=text(bucket))
    return Place(zone=zone, bucket=handle, path=path)


def prompts() -> contracts.Prompts:
    table = (text("acme_prompts"), text("endpoints"))
    return contracts.Prompts(
        id=text("it"), place=text("projects/acme-dev/datasets/acme_prompts"), table=table, writes=text(ADDS)
    )


def build_alone(each: Callable[[], dict[str, dict[str, Any]]], preview: bool = False) -> Graph:
    """The pods of these endpoints."""

    def program() -> None:
        parent = pulumi.ComponentResource("ai-platform:gcp:Environment", "environment")
        here = scope(parent)
        opts = pulumi.ResourceOptions(parent=parent, provider=here.provider)
        control = gcp.container.Cluster("cluster", name="acme", location="us-central1", opts=opts)
        common: dict[str, Any] = {
            "apis": {f"{api}.googleapis.com": text("acme-dev") for api in (*APIS, "bigquery")},
            "cluster": contracts.Cluster(
                name=control.name, physical_name="acme", endpoint=control.endpoint, location="us-central1",
                provider=here.provider, resource=control, node_identity=text("node"), security_group=None,
            ),
        }  # fmt: skip
        for name, args in each().items():
            found = Pod(name, PodArgs(**common, **args), scope=here, parent=parent).outputs
            pulumi.export(name, {"id": found.id, "log": found.log})
            gcp.pubsub.Topic(f"{name}-after", name=found.id, opts=opts)

    return run(program, preview=preview)


@cache
def made(preview: bool = False) -> Graph:
    """Pods that read an archive, that run over records, and that answer past a guardrail."""

    def each() -> dict[str, dict[str, Any]]:
        archive, folder = place("models", "fraud/model.tar.gz"), place("models", "llama/")
        records, results = place("curated", ""), place("artifacts", "batch/churn/")
        return {
            "scores": {"pod": ("serving-risk", "scores"), "reads": {"model": archive}},
            "churn": {"pod": ("team-risk", "batch-churn"), "reads": {"input": records}, "writes": results},
            "chat": {
                "pod": ("serving-risk", "chat"),
                "reads": {"model": folder},
                "prompts": prompts(),
                "guardrail": True,
            },
            "open": {"pod": ("serving-risk", "open"), "reads": {"model": folder}, "prompts": prompts()},
        }

    return build_alone(each, preview)


def granted(name: str) -> dict[str, tuple[str, str, str | None]]:
    """By name of a grant on a bucket: the bucket, the role and its condition."""
    found = [r for r in kind(made(), "storage/BucketIAMMember") if r.name.startswith(f"{name}-pods-")]
    return {
        r.name.removeprefix(f"{name}-pods-"): (r.get("bucket"), r.get("role"), r.get("condition.expression"))
        for r in found
    }


def inside(zone: str, path: str) -> str:
    objects = f"projects/_/buckets/acme-ai-dev-{zone}/objects/{path}"
    return f"resource.name.startsWith('{objects}') || {LISTED}.startsWith('{path}')"


def test_a_model_reads_its_archive_and_looks_at_nothing_else():
    only = "resource.name == 'projects/_/buckets/acme-ai-dev-models/objects/fraud/model.tar.gz'"
    assert granted("scores") == {"model": ("acme-ai-dev-models", VIEWER, only)}


def test_a_run_reads_its_records_and_writes_its_own_folder():
    assert granted("churn") == {
        "input": ("acme-ai-dev-curated", VIEWER, None),
        "output": ("acme-ai-dev-artifacts", USER, inside("artifacts", "batch/churn/")),
    }


def test_a_language_model_asks_model_armor_and_adds_its_prompts():
    assert granted("chat") == {"model": ("acme-ai-dev-models", VIEWER, inside("models", "llama/"))}
    roles = {r.name: r.get("role") for r in kind(made(), "projects/IAMMember")}
    assert roles == {"chat-pods-guardrail": "roles/modelarmor.user"}
    # On the table alone; and no other endpoint has it.
    # Without a guardrail it adds its prompts all the same.
    found = kind(made(), "bigquery/IamMember")
    assert [adds.name for adds in found] == ["chat-pods-prompts", "open-pods-prompts"]
    for adds in found:
        assert (adds.get("datasetId"), adds.get("tableId"), adds.get("role")) == ("acme_prompts", "endpoints", ADDS)
    assert made().outputs["chat"]["log"] == "projects/acme-dev/datasets/acme_prompts/tables/endpoints"
    assert made().outputs["churn"]["log"] is None


def test_nobody_is_asked_where_nobody_has_said_where_that_is_kept():
    def each() -> dict[str, dict[str, Any]]:
        nowhere = contracts.Prompts(id=text("it"), place=text("it"))
        return {"chat": {"pod": ("serving-risk", "chat"), "reads": {}, "prompts": nowhere}}

    with pytest.raises(Exception, match="nobody has said where"):
        build_alone(each)


@pytest.mark.parametrize(
    ("name", "pod"),
    [("scores", "serving-risk/scores"), ("churn", "team-risk/batch-churn"), ("chat", "serving-risk/chat")],
)
def test_the_pods_alone_become_the_account_and_before_they_are_made(name: str, pod: str):
    graph = made()
    member = one(graph, "serviceaccount/IAMMember", f"{name}-pods")
    assert member.get("role") == "roles/iam.workloadIdentityUser"
    assert member.get("member") == f"serviceAccount:acme-dev.svc.id.goog[{pod}]"
    assert "cluster" in before(graph, member)
    grants = {f"{name}-pods-{label}" for label in granted(name)}
    if name == "chat":
        grants |= {"chat-pods-guardrail", "chat-pods-prompts"}
    assert {f"{name}-pods", *grants} <= before(graph, one(graph, "pubsub/Topic", f"{name}-after"))


def test_what_is_not_known_yet_changes_nothing():
    assert set(made(preview=True).resources) == set(made().resources)


def test_endpoints_of_the_cluster_are_handed_all_that_the_cloud_made_for_them(project: Path):
    graph = build(project, WHOLE)
    named = {(r.type.rpartition(":")[2], r.name): r for r in graph.resources.values()}
    servers = named["Deployment", "chat-servers"]
    assert {"chat-pods", "chat-pods-guardrail", "chat-pods-prompts", "guardrails-chats"} <= before(graph, servers)
    # Where prompts are kept, and who reads them, is there before anybody can ask.
    assert {"prompts-dataset", "prompts-endpoints", "prompts-adds", "prompts-writer"} <= before(graph, servers)
    [weights] = servers.get("spec.template.spec.initContainers")
    [uri] = [each["value"] for each in weights["env"] if each["name"] == "WEIGHTS_URI"]
    # The address of a bucket is known once it is there.
    assert uri.endswith("::models-bucket#url}/llama/")
    told = {each["name"]: each["value"] for each in servers.get("spec.template.spec.containers")[1]["env"]}
    assert told["PROMPT_LOG"].endswith("/datasets/acme_ai_dev_gcp_prompts/tables/endpoints")
    run_ = named["CronJob", "churn-runs"].get("spec.jobTemplate.spec.template.spec.containers")[0]
    told = {each["name"]: each.get("value") for each in run_["env"]}
    assert told["OUTPUT_URI"].endswith("::artifacts-bucket#url}/batch/churn/$(RUN)")
    [account] = [
        r for r in graph.resources.values() if r.type.endswith(":ServiceAccount") and r.name == "churn-account"
    ]
    at = f"{account.get('metadata.namespace')}/{account.get('metadata.name')}"
    [pods] = [r for r in kind(graph, "serviceaccount/IAMMember") if r.name == "churn-pods"]
    assert pods.get("member") == f"serviceAccount:acme-ai-dev.svc.id.goog[{at}]"
