"""Pods of endpoints in the cluster: each may read its own model and write its own results, before it is made."""

from functools import cache
from pathlib import Path
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest

from components import contracts
from components.aws.serving.pod import Guard, Place, Pod, PodArgs
from policies.model import Graph
from preview.record import run
from tests.aws.building import build, one, statements, waits_for
from tests.aws.serving import AT, key, scope, text, zone

GUARDRAIL = f"arn:aws:bedrock:us-west-2:{AT}:guardrail/chats"
MODELS = "arn:aws:s3:::acme-ai-dev-models"
WHOLE: dict[str, dict[str, Any]] = {
    "training": {"pools": {"l4-large": {"nodes": {"max": 2}}}, "queues": {}},
    "retrieval": {"guardrails": {"chats": {}}},
    "serving": {
        "endpoints": {
            "chat": {
                "kind": "llm", "team": "risk", "model": {"weights": {"path": "llama"}}, "pool": "l4-large",
                "scale": {"max": 1}, "tokens_per_minute": 100_000, "guardrail": "chats",
                "objective": {"requests_per_month": 1000},
            },
            "scores": {
                "kind": "realtime", "team": "risk", "server": "kubernetes", "scale": {"max": 2},
                "model": {"image": "serving:1.0.0", "artifact": {"path": "fraud/model.tar.gz", "sha256": "a" * 64}},
                "objective": {"p95_ms": 200, "requests_per_month": 1000},
            },
            "churn": {
                "kind": "batch", "team": "risk", "queue": "train", "model": {"image": "serving:1.0.0"},
                "input": {"zone": "curated"}, "objective": {"finish_hours": 4, "records_per_month": 1000},
            },
        }
    },
}  # fmt: skip
"""One of each kind that a cluster has, for a test's own description."""


def place(name: str, domain: str, path: str) -> Place:
    return Place(**vars(zone(name, domain)), path=path)


@cache
def made(tier: str = "dev", preview: bool = False) -> Graph:
    """Pods that read an archive, that run over records, and that answer past a guardrail."""

    def program() -> None:
        parent, here = pulumi.ComponentResource("ai-platform:aws:Environment", "environment"), scope(tier)
        opts = pulumi.ResourceOptions(parent=parent, provider=here.provider)
        control = aws.eks.Cluster("cluster", name="acme", role_arn="role", vpc_config={"subnet_ids": []}, opts=opts)
        cluster = contracts.Cluster(
            name=control.name, physical_name="acme", endpoint=control.endpoint, location="us-west-2",
            provider=here.provider, resource=control, node_identity=control.arn, security_group=None,
        )  # fmt: skip
        common: dict[str, Any] = {
            "cluster": cluster,
            "boundary": contracts.Boundary(id=text(f"arn:aws:iam::{AT}:policy/acme-ai-dev-boundary")),
            "tags": {"team": "risk"},
        }
        archive, folder = place("models", "models", "fraud/model.tar.gz"), place("models", "models", "llama/")
        records, results = place("curated", "data", ""), place("artifacts", "models", "batch/churn/")
        kept = place("logs", "logs", "prompts/endpoints/chat/")
        guard = Guard(guardrail=(text(GUARDRAIL), key("models")), prompts=kept)
        each: dict[str, dict[str, Any]] = {
            "scores": {"pod": ("serving-risk", "scores"), "reads": {"model": archive}},
            "churn": {"pod": ("team-risk", "batch-churn"), "reads": {"input": records}, "writes": results},
            "chat": {"pod": ("serving-risk", "chat"), "reads": {"model": folder}, "guard": guard},
            "open": {
                "pod": ("serving-risk", "open"),
                "reads": {},
                "guard": Guard(prompts=place("logs", "logs", "prompts/endpoints/open/")),
            },
        }
        for name, args in each.items():
            found = Pod(name, PodArgs(**common, **args), scope=here, parent=parent).outputs
            pulumi.export(name, {"id": found.id, "log": found.log})
            aws.ssm.Parameter(f"{name}-after", name=name, type="String", value=found.id, opts=opts)

    return run(program, preview=preview)


def granted(name: str) -> list[tuple[list[str], list[str], dict[str, Any]]]:
    found = statements(one(made(), "RolePolicy", f"{name}-pods-policy"))
    return [(each["Action"], each["Resource"], each.get("Condition", {})) for each in found]


def through(service: str) -> dict[str, Any]:
    return {"StringEquals": {"kms:ViaService": [f"{service}.us-west-2.amazonaws.com"]}}


def on_key(domain: str) -> list[str]:
    return [f"arn:aws:kms:us-west-2:{AT}:key/{domain}"]


def test_a_model_reads_its_archive_and_looks_at_nothing_else():
    assert granted("scores") == [
        (["s3:GetObject"], [f"{MODELS}/fraud/model.tar.gz"], {}),
        (["kms:Decrypt"], on_key("models"), through("s3")),
    ]


def test_a_run_reads_its_records_and_writes_its_own_folder():
    artifacts = "arn:aws:s3:::acme-ai-dev-artifacts"
    assert granted("churn") == [
        (["s3:ListBucket"], ["arn:aws:s3:::acme-ai-dev-curated"], {}),
        (["s3:GetObject"], ["arn:aws:s3:::acme-ai-dev-curated/*"], {}),
        (["kms:Decrypt"], on_key("data"), through("s3")),
        (["s3:ListBucket"], [artifacts], {"StringLike": {"s3:prefix": ["batch/churn/", "batch/churn/*"]}}),
        (["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"], [f"{artifacts}/batch/churn/*"], {}),
        (["kms:Decrypt", "kms:GenerateDataKey"], on_key("models"), through("s3")),
    ]


def test_a_language_model_applies_its_guardrail_and_adds_to_its_own_prompts():
    *stored, applies, decrypts, writes, encrypts = granted("chat")
    assert [each[0] for each in stored] == [["s3:ListBucket"], ["s3:GetObject"], ["kms:Decrypt"]]
    assert applies == (["bedrock:ApplyGuardrail"], [GUARDRAIL], {})
    assert decrypts == (["kms:Decrypt"], on_key("models"), through("bedrock"))
    # It adds to its own folder, and reads neither that nor any other: no GetObject, no Decrypt, no list.
    assert writes == (["s3:PutObject"], ["arn:aws:s3:::acme-ai-dev-logs/prompts/endpoints/chat/*"], {})
    assert encrypts == (["kms:GenerateDataKey"], on_key("logs"), through("s3"))
    assert made().outputs["chat"]["log"] == "s3://acme-ai-dev-logs/prompts/endpoints/chat/"
    assert made().outputs["churn"]["log"] is None
    # Without a guardrail it adds its prompts all the same, and nothing else is allowed.
    assert granted("open") == [
        (["s3:PutObject"], ["arn:aws:s3:::acme-ai-dev-logs/prompts/endpoints/open/*"], {}),
        (["kms:GenerateDataKey"], on_key("logs"), through("s3")),
    ]


@pytest.mark.parametrize(
    ("name", "pod"),
    [
        ("scores", ("serving-risk", "scores")),
        ("churn", ("team-risk", "batch-churn")),
        ("chat", ("serving-risk", "chat")),
    ],
)
def test_the_pods_alone_are_given_the_role_and_before_they_are_made(name: str, pod: tuple[str, str]):
    graph = made()
    association = one(graph, "PodIdentityAssociation", f"{name}-pods")
    assert (association.get("namespace"), association.get("serviceAccount")) == pod
    [trusted] = statements(one(graph, "Role", f"{name}-pods-role"), "assumeRolePolicy")
    assert trusted["Principal"] == {"Service": "pods.eks.amazonaws.com"}
    assert tuple(trusted["Condition"]["StringEquals"].values()) == pod
    assert waits_for(graph, association, one(graph, "RolePolicy", f"{name}-pods-policy"))
    assert waits_for(graph, one(graph, "Parameter", f"{name}-after"), association)


def test_what_is_not_known_yet_changes_nothing():
    assert set(made(preview=True).resources) == set(made().resources)


def test_endpoints_of_the_cluster_are_handed_all_that_the_cloud_made_for_them(project: Path):
    graph = build(project, WHOLE)
    named = {(r.type.rpartition(":")[2], r.name): r for r in graph.resources.values()}
    servers = named["Deployment", "chat-servers"]
    guardrail = named["GuardrailVersion", "guardrails-chats-version"]
    association = named["PodIdentityAssociation", "chat-pods"]
    # What protects prompts is there before anybody can ask.
    around = (named["BucketPolicy", "logs-policy"], named["BucketServerSideEncryptionConfiguration", "logs-encryption"])
    assert waits_for(graph, servers, association, guardrail, *around)
    [weights] = servers.get("spec.template.spec.initContainers")
    assert {"name": "WEIGHTS_URI", "value": "s3://acme-ai-dev-models/llama/"} in weights["env"]
    told = {each["name"]: each["value"] for each in servers.get("spec.template.spec.containers")[1]["env"]}
    assert told["PROMPT_LOG"] == "s3://acme-ai-dev-logs/prompts/endpoints/chat/"
    run_ = named["CronJob", "churn-runs"].get("spec.jobTemplate.spec.template.spec.containers")[0]
    told = {each["name"]: each.get("value") for each in run_["env"]}
    assert told["INPUT_URI"] == "s3://acme-ai-dev-curated/"
    assert told["OUTPUT_URI"] == "s3://acme-ai-dev-artifacts/batch/churn/$(RUN)"
    [account] = [
        r for r in graph.resources.values() if r.type.endswith(":ServiceAccount") and r.name == "churn-account"
    ]
    pods = named["PodIdentityAssociation", "churn-pods"]
    assert (account.get("metadata.namespace"), account.get("metadata.name")) == (
        pods.get("namespace"), pods.get("serviceAccount"),
    )  # fmt: skip
