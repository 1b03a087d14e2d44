"""People, workloads and the continuous integration: who may do what."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from policies.model import Graph, Resource
from tests.conftest import GCP
from tests.gcp.building import before, build, kind, one, said

Graphs = Callable[..., Graph]
PERSONAS = ("data-scientist", "ml-engineer", "platform-admin", "auditor")
GROUPS = {
    "data-scientist": "group:ml-scientists@example.com",
    "ml-engineer": "group:ml-engineers@example.com",
    "platform-admin": "group:ml-platform@example.com",
    "auditor": "group:auditors@example.com",
}


def grants(graph: Graph, member: str) -> set[tuple[str, str]]:
    """What a member is given: the role, or the name of our own, and the resource."""
    found: set[tuple[str, str]] = set()
    for r in graph.resources.values():
        if "IAMMember" in r.type or r.type.endswith(("IamMember",)):
            if r.get("member") != member:
                continue
            where = r.get("bucket") or r.get("secretId") or "project"
            role = r.get("role")
            found.add(("own" if role.startswith("$") else role, where.rpartition("::")[2] or where))
    return found


@pytest.mark.parametrize("stack", GCP)
def test_data_is_granted_where_it_lies_and_as_the_description_says(graphs: Graphs, stack: str):
    graph = graphs(stack)
    name = f"acme-ai-{stack}"
    read, write = "roles/storage.objectViewer", "roles/storage.objectUser"
    assert grants(graph, GROUPS["data-scientist"]) == {
        ("own", "project"), (read, f"{name}-curated"), (write, f"{name}-features"), (write, f"{name}-artifacts"),
        (read, f"{name}-models"),
    }  # fmt: skip
    assert grants(graph, GROUPS["auditor"]) == {
        ("own", "project"),
        (read, f"{name}-logs"),
        (read, f"{name}-access-logs"),
    }
    assert grants(graph, GROUPS["platform-admin"]) == {("own", "project")}
    engineer = grants(graph, GROUPS["ml-engineer"])
    assert (read, f"{name}-raw") in engineer
    assert ("roles/secretmanager.secretAccessor", "secrets-model-hub#id}") in engineer
    assert len([g for g in engineer if g[0] == "roles/secretmanager.secretAccessor"]) == 1


@pytest.mark.parametrize("persona", PERSONAS)
def test_no_persona_reads_data_or_secrets_or_becomes_more_by_its_role(graphs: Graphs, persona: str):
    role = one(graphs("prod-gcp"), "projects/IAMCustomRole", f"personas-{persona}")
    permissions = set(role.get("permissions"))
    assert len(permissions) == len(role.get("permissions"))
    forbidden = ("storage.objects.", "secretmanager.versions.access", "cloudkms.cryptoKeyVersions.useTo")
    assert not [p for p in permissions if p.startswith(forbidden)]
    rising = ("actAs", "setIamPolicy", "getAccessToken", "signJwt", "signBlob", "implicitDelegation")
    assert not [p for p in permissions if p.endswith(rising)]
    assert "monitoring.timeSeries.list" in permissions


def test_only_the_auditor_sees_private_logs_and_changes_nothing(graphs: Graphs):
    roles = {
        p: set(one(graphs("prod-gcp"), "projects/IAMCustomRole", f"personas-{p}").get("permissions")) for p in PERSONAS
    }
    assert [p for p in PERSONAS if "logging.privateLogEntries.list" in roles[p]] == ["auditor"]
    verbs = {permission.rpartition(".")[2] for permission in roles["auditor"]}
    assert not verbs & {"create", "update", "delete", "add", "destroy", "disable", "enable"}
    assert "secretmanager.versions.add" in roles["platform-admin"]


def test_a_persona_without_a_group_has_a_role_that_nobody_holds(project: Path):
    graph = build(project, {"identity": {"personas": {"auditor": {"group": None}}}})
    role = one(graph, "projects/IAMCustomRole", "personas-auditor")
    assert not [r for r in graph.resources.values() if role.urn in {u for u, _ in r.references} and r.get("member")]
    assert not [r for r in graph.resources.values() if r.get("member") == GROUPS["auditor"]]
    assert set(graph.outputs["gcp"]["personas"]) == set(PERSONAS)


@pytest.mark.parametrize("stack", GCP)
def test_every_grant_adds_and_none_takes_away(graphs: Graphs, stack: str):
    """A binding or a policy would take the grants away that somebody else made."""
    wrong = [r.urn for r in graphs(stack).resources.values() if r.type.lower().endswith(("iambinding", "iampolicy"))]
    assert not wrong
    roles = {str(r.get("role")) for r in graphs(stack).resources.values() if r.get("member")}
    assert not roles & {"roles/owner", "roles/editor", "roles/viewer"}


# Delivery


@pytest.mark.parametrize("stack", GCP)
def test_a_workflow_becomes_only_what_it_runs_for(graphs: Graphs, stack: str):
    graph = graphs(stack)
    (provider,) = kind(graph, "iam/WorkloadIdentityPoolProvider")
    condition = provider.get("attributeCondition")
    assert "assertion.repository == 'acme/ai-platform'" in condition
    assert f"attribute.gate in ['pull_request', 'environment:{stack}']" in condition
    assert provider.get("oidc.issuerUri") == "https://token.actions.githubusercontent.com"
    pool = f"workloadIdentityPools/acme-ai-{stack}-ci/attribute.gate/"
    for account, gate in {"preview": "pull_request", "deploy": f"environment:{stack}"}.items():
        member = one(graph, "serviceaccount/IAMMember", f"delivery-{account}-github")
        assert member.get("role") == "roles/iam.workloadIdentityUser"
        assert member.get("member").endswith(pool + gate)
        assert f"{account}-account" in member.get("serviceAccountId")


def evaluate(expression: str, claims: dict[str, str]) -> str:
    """The value of an expression of the Common Expression Language, as far as the mapping uses it."""
    python = re.sub(r"assertion\.(\w+)", r'assertion["\1"]', expression)
    while match := re.search(
        r"\(?([^()?:]+(?:'[^']*:'[^()?:]*)?) \? ((?:'[^']*'|[^?:'])+) : ([^()?]+|\([^?]+\))\)?$", python
    ):
        python = f"{python[: match.start()]}({match[2]} if {match[1]} else {match[3]})"
    return str(eval(python, {"assertion": claims}))  # noqa: S307 - an expression of our own


@pytest.mark.parametrize(
    ("claims", "gate"),
    [
        ({"event_name": "pull_request"}, "pull_request"),
        ({"event_name": "pull_request", "environment": "prod"}, "environment:prod"),
        ({"event_name": "push", "environment": "prod"}, "environment:prod"),
        ({"event_name": "push"}, "other"),
        ({"event_name": "pull_request_target"}, "other"),
    ],
)
def test_the_gate_is_read_from_claims_that_have_one_form(graphs: Graphs, claims: dict[str, str], gate: str):
    """The subject has two: with numbers in it where the repository is new."""
    (provider,) = kind(graphs("prod-gcp"), "iam/WorkloadIdentityPoolProvider")
    assert evaluate(provider.get("attributeMapping")["attribute.gate"], claims) == gate


def test_another_protected_environment_can_be_named(project: Path):
    graph = build(project, {"delivery": {"github": {"repository": "acme/other", "environment": "production"}}})
    member = one(graph, "serviceaccount/IAMMember", "delivery-deploy-github")
    assert member.get("member").endswith("/attribute.gate/environment:production")


def test_without_a_repository_nothing_comes_in_from_outside(project: Path):
    graph = build(project, {"delivery": {"github": None}})
    assert not kind(graph, "iam/WorkloadIdentityPool")
    assert graph.outputs["gcp"]["delivery"] == {}
    assert not [r for r in graph.resources.values() if "principalSet://iam" in said(r)]


def of(graph: Graph, account: str) -> list[Resource]:
    """What an account is given on the project."""
    urn = one(graph, "serviceaccount/Account", f"{account}-account").urn
    return [r for r in kind(graph, "projects/IAMMember") if any(u == urn for u, _ in r.references)]


def test_a_preview_reads_how_things_are_and_no_data(graphs: Graphs):
    graph = graphs("prod-gcp")
    (grant,) = of(graph, "preview")
    role = graph.resources[next(urn for urn in grant.links("role"))]
    assert role.name == "delivery-preview-role"
    assert {p.rpartition(".")[2] for p in role.get("permissions")} == {
        "get",
        "list",
        "getIamPolicy",
        "getEffectiveFirewalls",
    }


def test_the_deployer_grants_no_role_that_makes_anybody_a_deployer(graphs: Graphs):
    graph = graphs("prod-gcp")
    held = {r.get("role"): r for r in of(graph, "deploy")}
    granting = held.pop("roles/resourcemanager.projectIamAdmin")
    expression = granting.get("condition.expression")
    assert expression.startswith("api.getAttribute('iam.googleapis.com/modifiedGrantsByRole', []).hasOnly([")
    grantable = set(expression.split("'")[3::2])
    assert grantable == {
        "roles/logging.logWriter",
        "roles/storage.objectViewer",
        *(f"projects/acme-ai-prod/roles/acme_ai_prod_gcp_{p.replace('-', '_')}" for p in PERSONAS),
    }
    assert not grantable & set(held)
    assert len(grantable) <= 10
    assert all(r.get("condition") is None for r in held.values())


def test_roles_that_may_be_granted_are_those_that_there_are(graphs: Graphs):
    """A role that is called otherwise would be refused to the pipeline, at the first change of it."""
    graph = graphs("prod-gcp")
    (granting,) = [r for r in of(graph, "deploy") if r.get("condition")]
    made = {r.get("roleId") for r in kind(graph, "projects/IAMCustomRole") if r.name.startswith("personas-")}
    assert all(f"/roles/{role}'" in granting.get("condition.expression") for role in made)


# Workloads


@pytest.mark.parametrize("stack", GCP)
def test_every_workload_has_an_identity_of_its_own_with_a_name_that_fits(graphs: Graphs, stack: str):
    accounts = {a.name: a for a in kind(graphs(stack), "serviceaccount/Account")}
    assert set(accounts) == {
        "preview-account", "deploy-account", "rotation-account", "rotation-push-account", "rotation-build-account",
    }  # fmt: skip
    assert all(6 <= len(a.get("accountId")) <= 30 for a in accounts.values())
    assert len({a.get("accountId") for a in accounts.values()}) == len(accounts)


def test_what_runs_waits_until_its_identity_may_do_its_work(graphs: Graphs):
    graph = graphs("dev-gcp")
    (function,) = kind(graph, "cloudfunctionsv2/Function")
    for grant in ("logs", "source", "copies", "images"):
        assert f"rotation-build-{grant}" in before(graph, function)


def test_the_builder_reads_only_sources_of_functions(graphs: Graphs):
    graph = graphs("dev-gcp")
    found = {r.get("role"): r.get("condition.expression") for r in of(graph, "rotation-build")}
    assert found == {
        "roles/logging.logWriter": None,
        "roles/storage.objectViewer": (
            "resource.name.startsWith('projects/_/buckets/gcf-v2-sources-444444444444-us-central1')"
        ),
    }
    bucket = one(graph, "storage/BucketIAMMember", "rotation-build-source")
    assert bucket.get("bucket") == "acme-ai-dev-gcp-function-source"
    repository = one(graph, "artifactregistry/RepositoryIamMember", "rotation-build-images")
    assert repository.get("role") == "roles/artifactregistry.writer"
