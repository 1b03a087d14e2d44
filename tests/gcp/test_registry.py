"""Registries on Google Cloud: what others may read and pull, who approves and attests, what is kept, and in which order."""

from collections.abc import Sequence
from datetime import date
from typing import Any

import pulumi
import pulumi_gcp as gcp
import pytest

from components import contracts
from components.core.naming import Names
from components.gcp.registry.images import Images, ImagesArgs, Repository
from components.gcp.registry.models import Model, Models, ModelsArgs, Source
from components.scope import Scope
from components.spec.foundation import Persona
from policies.model import Graph
from preview.record import run
from tests.gcp.building import before, kind, one, said

NUMBER, PROJECT = "111111111111", "acme-ai-dev"
READER = "serving@acme-ai-prod.iam.gserviceaccount.com"
DEPLOYER = "deploy@acme-ai-dev.iam.gserviceaccount.com"
KEY = f"projects/{PROJECT}/locations/us-central1/keyRings/keys/cryptoKeys/models"
APIS = (
    "artifactregistry", "binaryauthorization", "cloudkms", "cloudresourcemanager", "containeranalysis", "containerscanning",
    "monitoring",
)  # fmt: skip
TWO = {"training": Repository(untagged_days=7), "serving": Repository(untagged_days=7, shared=True)}
HOST = f"us-central1-docker.pkg.dev/{PROJECT}"


def scope(root: pulumi.Resource, environment: str, protection: str) -> Scope:
    return Scope(
        environment=environment,
        tier="prod" if protection == "retain" else "dev",
        cloud="gcp",
        account=PROJECT,
        region="us-central1",
        replica_region=None,
        names=Names("acme-ai", environment),
        tags={"owner": "ml@example.com"},
        protection=protection,
        log_days=30,
        today=date(2026, 1, 1),
        provider=gcp.Provider("gcp", project=PROJECT, opts=pulumi.ResourceOptions(parent=root)),
    )


def users(of: Images | Models, addresses: dict[str, dict[str, Any]]) -> None:
    """Someone who uses each address, and so waits for what it passes through."""
    for what, found in addresses.items():
        for name, address in found.items():
            gcp.pubsub.Topic(
                f"user-{what}-{name}", name="user", labels={"address": address}, opts=of.options(), project="p"
            )


def base(root: pulumi.Resource, where: Scope) -> tuple[dict[str, Any], contracts.Key]:
    """APIs and a key that somebody can wait for."""
    opts = pulumi.ResourceOptions(parent=root, provider=where.provider)
    apis = {
        f"{api}.googleapis.com": gcp.projects.Service(
            f"api-{api}", project=PROJECT, service=f"{api}.googleapis.com", opts=opts
        ).project.apply(str)
        for api in APIS
    }
    granted = gcp.kms.CryptoKeyIAMMember("granted", crypto_key_id=KEY, role="r", member="m", opts=opts)
    key = pulumi.Output.all(KEY, granted.urn).apply(lambda known: str(known[0]))
    return apis, contracts.Key(id=key, replica=None)


def images(*, environment: str = "dev", protection: str = "delete", preview: bool = False, **args: Any) -> Graph:
    def program() -> None:
        root = pulumi.ComponentResource("test:Root", "root")
        where = scope(root, environment, protection)
        apis, key = base(root, where)
        given: dict[str, Any] = {
            "apis": apis,
            "number": NUMBER,
            "repositories": TWO,
            "key": key,
            "protection_level": "hsm",
            "rotation_days": 90,
            "deletion_days": 30,
            "generation": 1,
            "signatures": "audit",
        }
        made = Images("images", ImagesArgs(**(given | args)), scope=where, parent=root)
        users(made, {"image": dict(made.outputs.repositories), "mirror": dict(made.outputs.mirrors)})
        users(made, {"signer": {"it": made.outputs.signer}})

    return run(program, preview=preview)


def test_people_push_to_named_repositories_and_delete_nothing() -> None:
    both: dict[Persona, str] = {"ml-engineer": "engineers@example.com", "data-scientist": "scientists@example.com"}
    graph = images(
        repositories={
            "training": Repository(untagged_days=7, writers=both),
            "serving": Repository(untagged_days=7, shared=True, writers={"ml-engineer": "engineers@example.com"}),
        },
        readers=[READER],
    )
    grants = kind(graph, "artifactregistry/RepositoryIamMember")
    pushes = {r.name: r.get("member") for r in grants if r.get("role") == "roles/artifactregistry.writer"}
    assert pushes == {
        "images-training-ml-engineer": "group:engineers@example.com",
        "images-training-data-scientist": "group:scientists@example.com",
        "images-serving-ml-engineer": "group:engineers@example.com",
    }
    # Nobody of another project pushes.
    assert {r.get("role") for r in grants if r.get("member") == f"serviceAccount:{READER}"} == {
        "roles/artifactregistry.reader"
    }
    user = one(graph, "pubsub/Topic", "user-image-training")
    assert {"images-training-ml-engineer", "images-training-data-scientist"} <= before(graph, user)


def models(*, protection: str = "delete", preview: bool = False, **args: Any) -> tuple[Graph, Models]:
    built: list[Models] = []

    def program() -> None:
        root = pulumi.ComponentResource("test:Root", "root")
        where = scope(root, "dev", protection)
        apis, key = base(root, where)
        given: dict[str, Any] = {
            "apis": apis,
            "key": key,
            "models": {"fraud": Model(description="Scores payments.", tags={"team": "risk"})},
            "approvers": {"ml-engineer": "ml-engineers@example.com"},
            "warning": [pulumi.Output.from_input("projects/p/notificationChannels/1")],
        }
        made = Models("models", ModelsArgs(**(given | args)), scope=where, parent=root)
        users(made, {"candidate": dict(made.outputs.candidates), "approved": dict(made.outputs.approved)})
        built.append(made)

    return run(program, preview=preview), built[0]


# Images


def test_every_repository_is_encrypted_scanned_and_its_tags_stay() -> None:
    graph = images(mirrors=["registry.k8s.io"])
    found = kind(graph, "artifactregistry/Repository")
    assert len(found) == 3
    for repository in found:
        assert repository.get("kmsKeyName") == KEY
        assert "granted" in before(graph, repository)
        # What comes in before the scanner is there is never scanned.
        own = repository.get("mode") == "STANDARD_REPOSITORY"
        assert ("api-containerscanning" in before(graph, repository)) == own
        assert repository.get("vulnerabilityScanningConfig") == {"enablementConfig": "INHERITED"}
        assert repository.get("cleanupPolicyDryRun") is False
        assert len(repository.get("repositoryId")) <= 63
        # The clean-up would meet what it cannot delete: an image with a tag that cannot move.
        states = {p["condition"].get("tagState") for p in repository.get("cleanupPolicies")}
        assert (repository.get("dockerConfig"), states) == (
            ({"immutableTags": True}, {"UNTAGGED"}) if own else (None, {None})
        )
    assert one(graph, "pubsub/Topic", "user-image-serving").get("labels") == {
        "address": f"{HOST}/acme-ai-dev-image-serving"
    }


def test_other_projects_pull_what_is_shared() -> None:
    graph = images(readers=[READER])
    (grant,) = kind(graph, "artifactregistry/RepositoryIamMember")
    assert grant.get("role") == "roles/artifactregistry.reader"
    assert grant.get("member") == f"serviceAccount:{READER}"
    assert grant.property_dependencies["repository"] == (
        one(graph, "artifactregistry/Repository", "images-serving-repository").urn,
    )
    assert grant.name in before(graph, one(graph, "pubsub/Topic", "user-image-serving"))
    assert not kind(images(), "artifactregistry/RepositoryIamMember")


def test_images_of_two_regions_lie_in_a_multi_region_with_a_key_there() -> None:
    graph = images(multi_region="us", mirrors=["quay.io"])
    key = one(graph, "kms/CryptoKey", "images-key")
    ring = one(graph, "kms/KeyRing", "images-key-ring")
    assert ring.get("location") == "us"
    assert key.get("keyRing") == f"${{{ring.urn}#id}}"
    grant = one(graph, "kms/CryptoKeyIAMMember", "images-key-artifactregistry")
    assert grant.get("member") == f"serviceAccount:service-{NUMBER}@gcp-sa-artifactregistry.iam.gserviceaccount.com"
    # The agent is there once the domain's own key may be used by it.
    assert "granted" in before(graph, grant)
    for repository in kind(graph, "artifactregistry/Repository"):
        assert repository.get("location") == "us"
        assert repository.get("kmsKeyName") == f"${{{key.urn}#id}}"
        assert grant.name in before(graph, repository)
    assert one(graph, "pubsub/Topic", "user-mirror-quay.io").get("labels.address").startswith("us-docker.pkg.dev/")


@pytest.mark.parametrize(
    ("signatures", "mode"), [("audit", "DRYRUN_AUDIT_LOG_ONLY"), ("enforce", "ENFORCED_BLOCK_AND_AUDIT_LOG")]
)
def test_an_image_needs_an_attestation_or_a_known_origin(signatures: str, mode: str) -> None:
    graph = images(signatures=signatures, mirrors=["registry.k8s.io", "docker.io"])
    policy = one(graph, "binaryauthorization/Policy", "images-policy")
    attestor = one(graph, "binaryauthorization/Attestor", "images-signer")
    assert policy.get("globalPolicyEvaluationMode") == "ENABLE"
    assert policy.get("defaultAdmissionRule") == {
        "evaluationMode": "REQUIRE_ATTESTATION",
        "enforcementMode": mode,
        "requireAttestationsBies": [f"${{{attestor.urn}#id}}"],
    }
    # Our own repositories are not let through by their path.
    assert [p["namePattern"] for p in policy.get("admissionWhitelistPatterns")] == [
        f"{HOST}/acme-ai-dev-mirror-registry-k8s-io/**",
        f"{HOST}/acme-ai-dev-mirror-docker-io/**",
    ]
    assert policy.name in before(graph, one(graph, "pubsub/Topic", "user-signer-it"))
    # With a command a key was added, which the next deployment must not take away.
    assert "attestationAuthorityNote.publicKeys" in attestor.ignore_changes
    key = one(graph, "kms/CryptoKey", "images-signer-key")
    assert key.get("purpose") == "ASYMMETRIC_SIGN"
    assert key.get("versionTemplate") == {"algorithm": "EC_SIGN_P256_SHA256", "protectionLevel": "HSM"}
    # Keys that sign do not rotate by themselves: Cloud KMS refuses a period.
    assert "rotationPeriod" not in key.inputs


def test_mirrors_name_their_upstream() -> None:
    graph = images(mirrors=["docker.io", "ghcr.io"])
    hub, other = (one(graph, "artifactregistry/Repository", f"images-{m}-mirror") for m in ("docker-io", "ghcr-io"))
    assert hub.get("remoteRepositoryConfig.dockerRepository") == {"publicRepository": "DOCKER_HUB"}
    assert other.get("remoteRepositoryConfig.dockerRepository") == {"customRepository": {"uri": "https://ghcr.io"}}
    assert {r.get("mode") for r in (hub, other)} == {"REMOTE_REPOSITORY"}


def test_whoever_attests_has_all_that_it_takes_and_nobody_else_has() -> None:
    graph = images(signers=[DEPLOYER])
    grants = [r for r in graph.resources.values() if "roles/" in str(r.get("role", "")) and DEPLOYER in said(r)]
    assert {r.get("role") for r in grants} == {
        "roles/cloudkms.signerVerifier",
        "roles/containeranalysis.notes.attacher",
        "roles/binaryauthorization.attestorsViewer",
        "roles/containeranalysis.occurrences.editor",
    }
    assert "signerVerifier" not in "".join(said(r) for r in images().resources.values())


@pytest.mark.parametrize("protection", ["delete", "protect", "retain"])
def test_a_destroy_takes_images_and_keys_only_where_the_tier_deletes(protection: str) -> None:
    graph = images(protection=protection, multi_region="us", mirrors=["quay.io"])
    held = [*kind(graph, "artifactregistry/Repository"), *kind(graph, "kms/CryptoKey"), *kind(graph, "kms/KeyRing")]
    assert len(held) == 7
    assert {bool(r.protect) for r in held} == {protection != "delete"}
    assert {bool(r.retain_on_delete) for r in held} == {protection == "retain"}


def test_a_later_life_of_the_environment_has_rings_of_its_own() -> None:
    first, second = (
        {r.get("name") for r in kind(images(multi_region="us", generation=n), "kms/KeyRing")} for n in (1, 2)
    )
    assert len(first) == len(second) == 2
    assert not first & second


# Models


def grants(graph: Graph, part: str) -> set[tuple[str, str]]:
    prefix = f"models-fraud-{part}-"
    found = [r for r in kind(graph, "artifactregistry/RepositoryIamMember") if r.name.startswith(prefix)]
    repository = one(graph, "artifactregistry/Repository", f"{prefix}repository")
    assert all(r.property_dependencies["repository"] == (repository.urn,) for r in found)
    return {(r.get("role").rpartition(".")[2], r.get("member")) for r in found}


def test_approvers_alone_write_what_is_approved_and_others_read_only_that() -> None:
    graph, made = models(readers=[READER])
    people = "group:ml-engineers@example.com"
    assert grants(graph, "candidates") == {("reader", people)}
    assert grants(graph, "approved") == {("writer", people), ("reader", f"serviceAccount:{READER}")}
    # Training is granted the repository of candidates.
    candidates = one(graph, "artifactregistry/Repository", "models-fraud-candidates-repository")
    assert candidates.get("repositoryId") == "acme-ai-dev-model-fraud"
    assert made.repositories["fraud"][0] == "us-central1"
    waits = before(graph, one(graph, "pubsub/Topic", "user-approved-fraud"))
    assert {f"models-fraud-approved-{READER}", "models-audit"} <= waits


@pytest.mark.parametrize("protection", ["delete", "retain"])
def test_versions_stay_as_they_are(protection: str) -> None:
    graph, _ = models(protection=protection)
    found = kind(graph, "artifactregistry/Repository")
    assert len(found) == 2
    for repository in found:
        assert repository.get("dockerConfig") == {"immutableTags": True}
        assert repository.get("kmsKeyName") == KEY
        assert repository.get("labels") == {"team": "risk", "model": "fraud"}
        assert {p["condition"]["tagState"] for p in repository.get("cleanupPolicies")} == {"UNTAGGED"}
        assert bool(repository.protect) == (protection == "retain")


def test_who_approved_what_is_recorded_and_told() -> None:
    graph, _ = models(models={"fraud": Model(), "churn": Model()})
    audit = one(graph, "projects/IAMAuditConfig", "models-audit")
    # Versions that are pushed are data access, which nothing records unless told to.
    assert {c["logType"] for c in audit.get("auditLogConfigs")} == {"DATA_READ", "DATA_WRITE"}
    assert audit.get("service") == "artifactregistry.googleapis.com"
    alert = one(graph, "monitoring/AlertPolicy", "models-approved")
    (condition,) = alert.get("conditions")
    log = condition["conditionMatchedLog"]
    assert 'protoPayload.methodName="Docker-PutManifest"' in log["filter"]
    for repository in kind(graph, "artifactregistry/Repository"):
        named = f'"/repositories/{repository.get("repositoryId")}/"' in log["filter"]
        assert named == ("approved" in repository.name)
    assert log["labelExtractors"]["who"] == "EXTRACT(protoPayload.authenticationInfo.principalEmail)"
    # An alert on logs is refused without a limit.
    assert alert.get("alertStrategy.notificationRateLimit.period") == "300s"
    assert alert.get("notificationChannels") == ["projects/p/notificationChannels/1"]


@pytest.mark.parametrize(("location", "host"), [(None, "us-central1"), ("us", "us")])
def test_an_environment_that_reads_from_another_names_that_one(location: str | None, host: str) -> None:
    graph, _ = models(source=Source(environment="lab", project="acme-lab", location=location))
    approved = one(graph, "pubsub/Topic", "user-approved-fraud").get("labels.address")
    assert approved == f"{host}-docker.pkg.dev/acme-lab/acme-ai-lab-approved-fraud"
    candidate = one(graph, "pubsub/Topic", "user-candidate-fraud").get("labels.address")
    assert candidate == f"{HOST}/acme-ai-dev-model-fraud"
    own, _ = models()
    assert one(own, "pubsub/Topic", "user-approved-fraud").get("labels.address") == f"{HOST}/acme-ai-dev-approved-fraud"


def test_no_model_no_registry() -> None:
    graph, _ = models(models={}, readers=[READER])
    assert not kind(graph, "artifactregistry/Repository")
    assert not kind(graph, "projects/IAMAuditConfig")
    assert not kind(graph, "monitoring/AlertPolicy")


def shape(graph: Graph) -> Sequence[tuple[object, ...]]:
    return [(urn, r.dependencies, r.protect) for urn, r in graph.resources.items()]


def test_a_first_preview_registers_the_same() -> None:
    full: dict[str, Any] = {"readers": [READER], "multi_region": "us", "mirrors": ["quay.io"], "signers": [DEPLOYER]}
    assert shape(images(**full)) == shape(images(**full, preview=True))
    assert shape(models(readers=[READER])[0]) == shape(models(readers=[READER], preview=True)[0])
