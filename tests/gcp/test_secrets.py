"""Secrets and their rotation: what waits for what, and who never sees a value."""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from policies.model import Graph, Resource
from tests.conftest import GCP, ROOT
from tests.gcp.building import before, build, kind, one, said

Graphs = Callable[..., Graph]


def rotation(graph: Graph) -> Resource:
    """The function that makes new values."""
    return one(graph, "cloudfunctionsv2/Function", "secrets-rotation-function")


@pytest.mark.parametrize("stack", GCP)
def test_a_secret_is_encrypted_by_us_in_each_of_its_regions(graphs: Graphs, stack: str):
    for secret in kind(graphs(stack), "secretmanager/Secret"):
        replicas = {
            r["location"]: r["customerManagedEncryption"]["kmsKeyName"].rpartition("::")[2]
            for r in secret.get("replication.userManaged.replicas")
        }
        expected = {"us-central1": "keys-secrets#id}"}
        if stack == "prod-gcp":
            expected["us-east1"] = "keys-secrets-copy#id}"
        assert replicas == expected


@pytest.mark.parametrize(("stack", "ttl"), [("dev-gcp", None), ("staging-gcp", 14), ("prod-gcp", 30)])
def test_a_secret_can_be_had_back_as_its_tier_says(graphs: Graphs, stack: str, ttl: int | None):
    for secret in kind(graphs(stack), "secretmanager/Secret"):
        assert secret.get("versionDestroyTtl") == (f"{ttl * 86_400}s" if ttl else None)
        assert secret.get("deletionProtection") is bool(ttl)
        assert secret.protect is bool(ttl)


@pytest.mark.parametrize("stack", GCP)
def test_somebody_listens_before_a_generated_secret_says_that_it_was_made(graphs: Graphs, stack: str):
    """The message comes once: missed, the secret would have no value until its first rotation."""
    graph = graphs(stack)
    secret = one(graph, "secretmanager/Secret", "secrets-request-signing")
    needed = {
        "secrets-rotation-function", "secrets-events-publisher-secrets", "secrets-rotation-caller-push",
        "keys-agent-secretmanager", "secrets-events-failed-publisher-agent", "secrets-events-subscription",
    }  # fmt: skip
    assert needed <= before(graph, secret)
    assert secret.get("topics.0.name").endswith("secrets-events-topic#id}")


def test_the_date_of_the_next_rotation_is_to_come_and_never_a_change(graphs: Graphs):
    secret = one(graphs("dev-gcp"), "secretmanager/Secret", "secrets-request-signing")
    assert secret.get("rotation.rotationPeriod") == f"{30 * 86_400}s"
    first = date.fromisoformat(secret.get("rotation.nextRotationTime").removesuffix("T00:00:00Z"))
    assert timedelta(0) < first - datetime.now(UTC).date() <= timedelta(days=32)
    assert secret.ignore_changes == ("rotation.nextRotationTime",)
    provided = one(graphs("dev-gcp"), "secretmanager/Secret", "secrets-model-hub")
    assert provided.get("rotation") is None
    assert provided.ignore_changes == ()


def test_the_function_adds_versions_of_its_secrets_and_reads_none(graphs: Graphs):
    graph = graphs("prod-gcp")
    function = rotation(graph)
    assert json.loads(function.get("serviceConfig.environmentVariables")["LENGTHS"]) == {
        "acme-ai-prod-gcp-request-signing": 48
    }
    rotator = one(graph, "serviceaccount/Account", "secret-rotation-account").urn
    given = {(r.name, r.get("role")) for r in graph.resources.values() if r.get("role") and rotator in said(r)}
    assert given == {("secrets-request-signing-rotation", "roles/secretmanager.secretVersionManager")}


def test_the_function_is_reached_by_its_own_caller_only(graphs: Graphs):
    graph = graphs("prod-gcp")
    function = rotation(graph)
    assert function.get("serviceConfig.ingressSettings") == "ALLOW_INTERNAL_ONLY"
    invoker = next(r for r in kind(graph, "cloudrunv2/ServiceIamMember") if r.name.startswith("secrets-"))
    assert invoker.get("role") == "roles/run.invoker"
    assert "rotation-push-account" in invoker.get("member")
    assert invoker.get("name") == function.get("name")
    push = one(graph, "pubsub/Subscription", "secrets-events-subscription").get("pushConfig")
    assert push["pushEndpoint"] == push["oidcToken"]["audience"]
    assert push["pushEndpoint"] == f"https://{function.get('name')}-666666666666.us-central1.run.app"
    assert "rotation-push-account" in push["oidcToken"]["serviceAccountEmail"]


def test_the_functions_host_is_one_label_however_long_the_names_are(project: Path):
    (project / "stacks" / "Pulumi.dev-gcp.yaml").rename(project / "stacks" / "Pulumi.development-of-all.yaml")
    graph = build(
        project,
        {"company": {"prefix": "acme-ai-of-the-globe"}},
        stack="development-of-all",
        cloud={"number": "1234567890123456789"},
    )
    push = one(graph, "pubsub/Subscription", "secrets-events-subscription").get("pushConfig.pushEndpoint")
    label = push.removeprefix("https://").partition(".")[0]
    assert len(label) <= 63
    assert label.startswith(rotation(graph).get("name"))


def test_one_message_at_a_time(graphs: Graphs):
    function = rotation(graphs("dev-gcp"))
    assert function.get("serviceConfig.maxInstanceCount") == 1
    assert function.get("serviceConfig.maxInstanceRequestConcurrency") == 1


def test_the_function_goes_out_by_the_network_where_ways_out_are_closed(graphs: Graphs):
    open_ = rotation(graphs("dev-gcp"))
    assert open_.get("serviceConfig.directVpcEgress") is None
    closed = rotation(graphs("prod-gcp"))
    assert closed.get("serviceConfig.directVpcEgress") == "VPC_EGRESS_ALL_TRAFFIC"
    assert "network-nodes" in closed.get("serviceConfig.directVpcNetworkInterfaces.0.subnetwork")


def test_what_cannot_be_handled_is_kept_and_somebody_is_told(graphs: Graphs):
    graph = graphs("prod-gcp")
    subscription = one(graph, "pubsub/Subscription", "secrets-events-subscription")
    assert subscription.get("deadLetterPolicy.maxDeliveryAttempts") == 20
    assert "secrets-events-failed-topic" in subscription.get("deadLetterPolicy.deadLetterTopic")
    agent = "serviceAccount:service-666666666666@gcp-sa-pubsub.iam.gserviceaccount.com"
    mover = one(graph, "pubsub/SubscriptionIAMMember", "secrets-events-failed-taker")
    publisher = one(graph, "pubsub/TopicIAMMember", "secrets-events-failed-publisher-agent")
    assert mover.get("member") == publisher.get("member") == agent
    assert mover.get("subscription") == subscription.get("name")
    kept = one(graph, "pubsub/Subscription", "secrets-events-failed-kept")
    assert all(s.get("expirationPolicy") == {"ttl": ""} for s in (subscription, kept))
    alert = next(a for a in kind(graph, "monitoring/AlertPolicy") if a.name.startswith("secrets-rotation-alert"))
    asked = alert.get("conditions.0.conditionPrometheusQueryLanguage.query")
    assert f'subscription_id="{kept.get("name")}"' in asked
    assert asked.endswith("> 0")
    assert "notifications-warning" in alert.get("notificationChannels.0")


def test_the_function_is_made_of_our_code_and_anew_when_that_changes(graphs: Graphs):
    graph = graphs("dev-gcp")
    source = one(graph, "storage/BucketObject", "secrets-rotation-code")
    assert set(source.get("source")) == {"main.py", "requirements.txt", "runtime/gcp/secret_rotation.py"}
    function = rotation(graph)
    assert function.get("buildConfig.source.storageSource.object") == source.get("name")
    assert "def rotate(" in (ROOT / "runtime/gcp/secret_rotation.py").read_text()
    assert function.get("buildConfig.entryPoint") == "rotate"
    repository = one(graph, "artifactregistry/Repository", "secrets-rotation-images")
    # Cloud Run functions demands one key for both.
    assert repository.get("kmsKeyName") == function.get("kmsKeyName")


def test_code_that_changes_is_another_object(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, project: Path, graphs: Graphs
):
    from components.gcp.blocks import worker

    shutil.copytree(ROOT / "runtime", tmp_path / "runtime", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "runtime" / "gcp" / "secret_rotation.py").write_text("changed")
    monkeypatch.setattr(worker, "_ROOT", tmp_path)
    changed = one(build(project), "storage/BucketObject", "secrets-rotation-code")
    assert changed.get("name") != one(graphs("dev-gcp"), "storage/BucketObject", "secrets-rotation-code").get("name")


def test_without_generated_secrets_there_is_nothing_that_rotates(project: Path):
    graph = build(project, {"secrets": {"request-signing": None}})
    subscriptions = [s.name for s in kind(graph, "pubsub/Subscription") if s.name.startswith("secrets-")]
    assert not kind(graph, "cloudfunctionsv2/Function") + subscriptions
    assert [s.name for s in kind(graph, "secretmanager/Secret")] == ["secrets-model-hub"]


def test_a_provided_value_is_a_secret_to_the_end(project: Path):
    hub = {"kind": "provided", "value": {"secure": "v1:abc"}}
    graph = build(
        project,
        {"secrets": {"model-hub": hub}},
        secrets={"secrets": {"model-hub": {"kind": "provided", "value": "hf_value"}}},
        whole=True,
    )
    version = one(graph, "secretmanager/SecretVersion", "secrets-model-hub-value")
    assert version.get("secretData") == "[secret]"
    assert "hf_value" not in json.dumps([dict(r.inputs) for r in graph.resources.values()], default=str)
    assert "hf_value" not in json.dumps(graph.outputs)
    reader = one(graph, "secretmanager/SecretIamMember", "personas-ml-engineer-secret-model-hub")
    assert version.name in before(graph, reader)


def test_a_value_that_a_person_adds_is_not_declared(graphs: Graphs):
    assert not kind(graphs("prod-gcp"), "secretmanager/SecretVersion")
