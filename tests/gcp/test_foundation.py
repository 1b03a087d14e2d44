"""The project, its keys and its boundary."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from policies.model import Graph
from tests.conftest import GCP
from tests.gcp.building import before, build, foundation_only, kind, one, said

Graphs = Callable[..., Graph]
DAY = 86_400


# Isolation


# Module of a resource to the API that makes it.
APIS = {
    "artifactregistry": "artifactregistry", "billing": "billingbudgets", "binaryauthorization": "binaryauthorization",
    "cloudfunctionsv2": "cloudfunctions", "cloudquota": "cloudquotas", "cloudrunv2": "run", "cloudscheduler": "cloudscheduler",
    "colab": "aiplatform", "compute": "compute", "container": "container", "containeranalysis": "containeranalysis",
    "dns": "dns", "iam": "iam", "kms": "cloudkms", "logging": "logging", "monitoring": "monitoring", "orgpolicy": "orgpolicy",
    "pubsub": "pubsub", "secretmanager": "secretmanager", "serviceaccount": "iam", "servicenetworking": "servicenetworking",
    "storage": "storage", "vertex": "aiplatform", "workbench": "notebooks", "workflows": "workflows",
}  # fmt: skip


@pytest.mark.parametrize("stack", GCP)
def test_every_resource_waits_for_the_api_that_makes_it(graphs: Graphs, stack: str):
    graph = graphs(stack)
    seen: set[str] = set()
    for resource in graph.resources.values():
        module = resource.type.split(":")[1].partition("/")[0]
        if resource.type.startswith("gcp:") and module in APIS:
            seen.add(module)
            assert f"isolation-{APIS[module]}" in before(graph, resource), resource.urn
    assert seen == set(APIS)


def test_an_api_is_never_switched_off_with_what_is_not_ours(graphs: Graphs):
    services = kind(graphs("dev-gcp"), "projects/Service")
    assert {f"{api}.googleapis.com" for api in APIS.values()} <= {s.get("service") for s in services}
    assert all(s.get("disableOnDestroy") is False and s.get("disableDependentServices") is False for s in services)


def test_what_takes_an_organisation_is_made_where_there_is_one(project: Path, graphs: Graphs):
    graph = build(project, cloud={"organization": None})
    assert not kind(graph, "orgpolicy/Policy")
    assert not kind(graph, "iam/DenyPolicy")
    graph = graphs("dev-gcp")
    policies = {p.get("name").rpartition("/")[2]: p for p in kind(graph, "orgpolicy/Policy")}
    assert policies["iam.disableServiceAccountKeyCreation"].get("spec.rules.0.enforce") == "TRUE"
    assert policies["compute.vmExternalIpAccess"].get("spec.rules.0.denyAll") == "TRUE"
    assert policies["gcp.resourceLocations"].get("spec.rules.0.values.allowedValues") == ["in:us-locations"]
    assert all(p.get("parent") == "projects/acme-ai-dev" for p in policies.values())
    assert all("isolation-orgpolicy" in before(graph, p) for p in policies.values())


def models(graph: Graph) -> Any:
    (policy,) = [p for p in kind(graph, "orgpolicy/Policy") if "allowedModels" in p.name]
    return policy.get("spec.rules.0")


def test_only_models_that_the_description_names_are_called(project: Path):
    """A role cannot name one: whoever may call a model of a publisher may call all that the project lets in."""
    assert models(build(project, cloud={"organization": "123456789012"})) == {"denyAll": "TRUE"}
    chat = {
        "kind": "llm", "team": "vision", "tokens_per_minute": 1000, "objective": {"requests_per_month": 1},
        "model": {"gcp": "publishers/anthropic/models/claude-sonnet-4-5@20250929"},
    }  # fmt: skip
    elsewhere = {**chat, "model": {"gcp": "publishers/google/models/gemini-2.5-flash"}}
    foundation_only(project, "dev-gcp")
    described = {
        "serving": {"endpoints": {"chat": chat, "talk": elsewhere}},
        "retrieval": {
            "corpora": {"manuals": {"team": "vision", "readers": ["vision"]}},
            "api": {"throttle_rps": 5, "auth": "iam"},
        },
    }
    graph = build(project, described)
    assert models(graph) == {
        "values": {
            "allowedValues": [
                "publishers/anthropic/models/claude-sonnet-4-5:predict",
                "publishers/google/models/gemini-2.5-flash:predict",
                "publishers/google/models/text-embedding-005:predict",
            ]
        }
    }


def test_a_region_without_a_pair_is_the_only_place_of_its_resources(project: Path):
    graph = build(project, cloud={"organization": "123456789012", "region": "europe-west2"})
    (policy,) = [p for p in kind(graph, "orgpolicy/Policy") if "resourceLocations" in p.name]
    assert policy.get("spec.rules.0.values.allowedValues") == ["in:europe-west2-locations"]


def test_the_provider_labels_everything_and_counts_on_the_project(project: Path, graphs: Graphs):
    (provider,) = graphs("prod-gcp").of_type("pulumi:providers:gcp")
    assert provider.get("billingProject") == provider.get("project") == "acme-ai-prod"
    assert str(provider.get("userProjectOverride")).lower() == "true"
    assert str(provider.get("addPulumiAttributionLabel")).lower() == "false"
    for expected in ("ml-platform_example_com", "cost-center", "managed-by", "prod-gcp"):
        assert expected in said(provider)
    email = "deployer@acme-ai-dev.iam.gserviceaccount.com"
    graph = build(project, cloud={"impersonate": email})
    assert graph.of_type("pulumi:providers:gcp")[0].get("impersonateServiceAccount") == email


# Keys


@pytest.mark.parametrize(("stack", "level", "days"), [("dev-gcp", "SOFTWARE", 7), ("prod-gcp", "HSM", 30)])
def test_keys_rotate_and_can_be_had_back(graphs: Graphs, stack: str, level: str, days: int):
    keys = kind(graphs(stack), "kms/CryptoKey")
    assert len(keys) >= 5
    for key in keys:
        # One that signs gets a new version by hand, whose public half somebody has to publish ("Key rotation").
        signs = key.get("purpose") == "ASYMMETRIC_SIGN"
        assert signs == (key.name == "images-signer-key")
        assert key.get("rotationPeriod") == (None if signs else f"{90 * DAY}s")
        assert key.get("destroyScheduledDuration") == f"{days * DAY}s"
        assert key.get("versionTemplate.protectionLevel") == level


@pytest.mark.parametrize("stack", GCP)
def test_whoever_uses_a_key_waits_until_its_agent_may(graphs: Graphs, stack: str):
    """Else the first deployment fails: the grant is what makes a key usable, not the key."""
    graph = graphs(stack)
    agents = {
        "storage/Bucket": "storage", "pubsub/Topic": "pubsub", "secretmanager/Secret": "secretmanager",
        "artifactregistry/Repository": "artifactregistry", "cloudfunctionsv2/Function": "cloudfunctions",
    }  # fmt: skip
    for type_, agent in agents.items():
        users = kind(graph, type_)
        assert users
        for user in users:
            keys = {graph.resources[urn].name for urn, _ in user.references if ":CryptoKey::" in urn}
            assert keys, user.name
            for key in keys:
                assert f"{key}-{agent}" in before(graph, user), user.name


def test_a_database_waits_until_its_agent_may_use_its_key(graphs: Graphs):
    graph = graphs("staging-gcp")
    [database] = kind(graph, "sql/DatabaseInstance")
    assert {"keys-data-sqladmin", "keys-agent-sqladmin"} <= before(graph, database)


@pytest.mark.parametrize("stack", GCP)
def test_nobody_grants_the_use_of_a_key_twice(graphs: Graphs, stack: str):
    """Else the end of one of them is the end of both."""
    grants = [(g.get("cryptoKeyId"), g.get("member")) for g in kind(graphs(stack), "kms/CryptoKeyIAMMember")]
    assert len(set(grants)) == len(grants)


def test_an_agent_that_we_make_has_its_role_before_its_first_key(graphs: Graphs):
    graph = graphs("dev-gcp")
    agents = {
        "compute": (
            "aiplatform", "artifactregistry", "cloudfunctions", "compute", "container", "eventarc", "notebooks", "run", "storage",
        ),
        "data": ("storage", "vectorsearch"),
        "logs": ("bigquery", "pubsub", "storage"),
        "models": ("aiplatform", "artifactregistry", "storage", "workflows"),
        "secrets": ("container", "pubsub", "secretmanager"),
    }  # fmt: skip
    grants = [g for g in kind(graph, "kms/CryptoKeyIAMMember") if g.name.startswith("keys-")]
    assert {g.name for g in grants} == {f"keys-{key}-{agent}" for key, users in agents.items() for agent in users}
    for grant in grants:
        assert grant.get("role") == "roles/cloudkms.cryptoKeyEncrypterDecrypter"
        service = grant.name.rpartition("-")[2]
        # The first is there once it was asked for; the other two come with their APIs.
        if service not in {"bigquery", "compute", "storage"}:
            assert f"keys-agent-{service}" in before(graph, grant)
        if service not in {"bigquery", "compute", "storage", "secretmanager", "vectorsearch"}:
            assert f"keys-agent-{service}-role" in before(graph, grant)
            role = one(graph, "projects/IAMMember", f"keys-agent-{service}-role")
            assert role.get("role") == f"roles/{service}.serviceAgent"
            assert f"keys-agent-{service}" in before(graph, role)


def test_keys_live_where_their_data_does(graphs: Graphs):
    graph = graphs("prod-gcp")
    rings = {ring.urn: ring.get("location") for ring in kind(graph, "kms/KeyRing")}
    where = {key.name: rings[next(iter(key.links("keyRing")))] for key in kind(graph, "kms/CryptoKey")}
    assert where == {
        "keys-data": "us-central1", "keys-data-copy": "nam4", "keys-models": "us-central1", "keys-models-copy": "nam4",
        "keys-logs": "us-central1", "keys-logs-copy": "nam4", "keys-secrets": "us-central1", "keys-secrets-copy": "us-east1",
        "keys-compute": "us-central1", "images-key": "us", "images-signer-key": "us-central1",
    }  # fmt: skip
    assert {r.get("location") for r in kind(graphs("dev-gcp"), "kms/KeyRing")} == {"us-central1"}


def test_a_later_life_of_an_environment_takes_new_names_where_the_old_are_never_free(project: Path, graphs: Graphs):
    def names(graph: Graph) -> set[str]:
        return {
            *(r.get("name") for r in kind(graph, "kms/KeyRing")),
            *(r.get("roleId") for r in kind(graph, "projects/IAMCustomRole")),
            *(r.get("workloadIdentityPoolId") for r in kind(graph, "iam/WorkloadIdentityPool")),
        }

    assert not names(graphs("dev-gcp")) & names(build(project, cloud={"generation": 2}, whole=True))


# Boundary


def rules(graph: Graph) -> dict[str, dict[str, list[str]]]:
    (policy,) = kind(graph, "iam/DenyPolicy")
    assert (
        policy.get("parent")
        == f"cloudresourcemanager.googleapis.com%2Fprojects%2Facme-ai-{policy.get('name').split('-')[2]}"
    )
    return {rule["description"]: rule["denyRule"] for rule in policy.get("rules")}


@pytest.mark.parametrize("stack", GCP)
def test_nobody_at_all_makes_a_credential_that_lasts(graphs: Graphs, stack: str):
    rule = rules(graphs(stack))["No credential that lasts."]
    assert "iam.googleapis.com/serviceAccountKeys.create" in rule["deniedPermissions"]
    assert rule["deniedPrincipals"] == ["principalSet://goog/public:all"]
    assert "exceptionPrincipals" not in rule


def test_keys_and_evidence_are_bound_where_data_is_kept(graphs: Graphs):
    assert set(rules(graphs("dev-gcp"))) == {"No credential that lasts.", "Who deploys reads no data."}
    for stack in ("staging-gcp", "prod-gcp"):
        found = rules(graphs(stack))
        keys = found["Keys stay, and with them what they encrypt."]
        assert keys["deniedPermissions"] == ["cloudkms.googleapis.com/cryptoKeyVersions.destroy"]
        assert "exceptionPrincipals" not in keys
        evidence = found["Evidence stays."]
        assert "logging.googleapis.com/sinks.delete" in evidence["deniedPermissions"]
        (deployer,) = evidence["exceptionPrincipals"]
        assert deployer.startswith("principal://iam.googleapis.com/projects/-/serviceAccounts/$")
        assert "deploy-account" in deployer


@pytest.mark.parametrize("stack", GCP)
def test_who_deploys_reads_no_prompt_and_no_captured_request(graphs: Graphs, stack: str):
    """The role that makes data sets would read what is in them."""
    rule = rules(graphs(stack))["Who deploys reads no data."]
    assert rule["deniedPermissions"] == ["bigquery.googleapis.com/tables.getData"]
    (deployer,) = rule["deniedPrincipals"]
    assert "deploy-account" in deployer
    assert "exceptionPrincipals" not in rule


def test_an_environment_without_a_pipeline_excepts_whom_it_deploys_as(project: Path):
    email = "deployer@acme-ai-staging.iam.gserviceaccount.com"
    graph = build(project, {"delivery": {"github": None}}, stack="staging-gcp", cloud={"impersonate": email})
    evidence = rules(graph)["Evidence stays."]
    assert evidence["exceptionPrincipals"] == [f"principal://iam.googleapis.com/projects/-/serviceAccounts/{email}"]


def test_who_becomes_whom_is_recorded(graphs: Graphs):
    configs = {c.get("service"): c for c in kind(graphs("dev-gcp"), "projects/IAMAuditConfig")}
    for service in ("iam.googleapis.com", "iamcredentials.googleapis.com", "sts.googleapis.com"):
        kinds = {c["logType"] for c in configs[service].get("auditLogConfigs")}
        assert kinds == {"ADMIN_READ", "DATA_READ", "DATA_WRITE"}
