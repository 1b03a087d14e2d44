"""People, workloads and the continuous integration: who may do what."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from policies.model import Graph, Resource
from tests.conftest import GCP, ROOT
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
            where = r.get("bucket") or r.get("secretId") or r.get("repository") or r.get("datasetId") or "project"
            role = r.get("role")
            found.add(("own" if role.startswith("$") else role, where.rpartition("::")[2] or where))
    return found


@pytest.mark.parametrize("stack", GCP)
def test_data_is_granted_where_it_lies_and_as_the_description_says(graphs: Graphs, stack: str):
    graph = graphs(stack)
    name = f"acme-ai-{stack}"
    read, write = "roles/storage.objectViewer", "roles/storage.objectUser"
    # To find the cluster; what is in it, roles in it say. The logs of its jobs.
    common = {
        ("own", "project"),
        ("roles/container.clusterViewer", "project"),
        ("roles/logging.viewAccessor", "project"),
    }
    assert grants(graph, GROUPS["data-scientist"]) == common | {
        (read, f"{name}-curated"), (write, f"{name}-features"), (write, f"{name}-artifacts"),
        (read, f"{name}-models"), ("roles/artifactregistry.writer", "images-training-repository#name}"),
    }  # fmt: skip
    assert grants(graph, GROUPS["auditor"]) == common | {
        (read, f"{name}-logs"), (read, f"{name}-access-logs"),
        ("roles/bigquery.dataViewer", f"{name}-capture-fraud-score".replace("-", "_")),
    }  # fmt: skip
    assert grants(graph, GROUPS["platform-admin"]) == {
        ("own", "project"), ("roles/container.admin", "project"), ("roles/logging.viewAccessor", "project")
    }  # fmt: skip
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
    # To read what was captured takes a query, and that is a job.
    verbs = {permission.rpartition(".")[2] for permission in roles["auditor"] - {"bigquery.jobs.create"}}
    assert not verbs & {
        "create", "update", "delete", "add", "destroy", "disable", "enable", "cancel", "pause", "stop", "downloadArtifacts"
    }  # fmt: skip
    assert "secretmanager.versions.add" in roles["platform-admin"]


def test_who_trains_starts_pipelines_and_writes_to_no_repository_by_his_role(graphs: Graphs):
    """Whoever could write to every repository could approve a model."""
    roles = {
        p: set(one(graphs("prod-gcp"), "projects/IAMCustomRole", f"personas-{p}").get("permissions")) for p in PERSONAS
    }
    assert [p for p in PERSONAS if "workflows.executions.create" in roles[p]] == ["ml-engineer"]
    pulls = [p for p in PERSONAS if "artifactregistry.repositories.downloadArtifacts" in roles[p]]
    assert pulls == ["data-scientist", "ml-engineer"]
    assert not [p for p in PERSONAS if "artifactregistry.repositories.uploadArtifacts" in roles[p]]
    for persona in pulls:
        assert {"workflows.executions.get", "container.clusters.get", "aiplatform.customJobs.get"} <= roles[persona]


@pytest.mark.parametrize("stack", GCP)
def test_people_read_the_logs_of_the_cluster_and_no_others_by_their_views(graphs: Graphs, stack: str):
    """On all views somebody would read who read what, which is the auditor's."""
    graph = graphs(stack)
    (bucket,) = kind(graph, "logging/ProjectBucketConfig")
    project, where = graph.outputs["gcp"]["account"], bucket.get("location")
    views = f"projects/{project}/locations/{where}/buckets/{bucket.get('bucketId')}/views/"
    for persona in PERSONAS:
        grant = one(graph, "projects/IAMMember", f"personas-{persona}-logs")
        assert grant.get("role") == "roles/logging.viewAccessor"
        assert grant.get("condition.expression") == f"resource.name.startsWith('{views}')"


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
    provider = one(graph, "iam/WorkloadIdentityPoolProvider", "delivery-github")
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
    provider = one(graphs("prod-gcp"), "iam/WorkloadIdentityPoolProvider", "delivery-github")
    assert evaluate(provider.get("attributeMapping")["attribute.gate"], claims) == gate


def test_another_protected_environment_can_be_named(project: Path):
    graph = build(project, {"delivery": {"github": {"repository": "acme/other", "environment": "production"}}})
    member = one(graph, "serviceaccount/IAMMember", "delivery-deploy-github")
    assert member.get("member").endswith("/attribute.gate/environment:production")


def test_without_a_repository_nothing_comes_in_from_outside(project: Path):
    graph = build(project, {"delivery": {"github": None}})
    assert not [r for r in kind(graph, "iam/WorkloadIdentityPool") if r.name.startswith("delivery")]
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


# What the deployer holds for each type of resource; None is given by hand, to whom it belongs.
NEEDS: dict[str, str | None] = {
    "accesscontextmanager/ServicePerimeter": None,
    "apigateway/Api": "apigateway.admin",
    "apigateway/ApiConfig": "apigateway.admin",
    "apigateway/Gateway": "apigateway.admin",
    "artifactregistry/Repository": "artifactregistry.admin",
    "artifactregistry/RepositoryIamMember": "artifactregistry.admin",
    "bigquery/Dataset": "bigquery.dataOwner",
    "bigquery/DatasetIamMember": "bigquery.dataOwner",
    "bigquery/Table": "bigquery.dataOwner",
    "bigquery/IamMember": "bigquery.dataOwner",
    "billing/Budget": None,
    "binaryauthorization/Attestor": "binaryauthorization.attestorsAdmin",
    "binaryauthorization/AttestorIamMember": "binaryauthorization.attestorsAdmin",
    "binaryauthorization/Policy": "binaryauthorization.policyEditor",
    "certificatemanager/Certificate": "certificatemanager.owner",
    "certificatemanager/CertificateMap": "certificatemanager.owner",
    "certificatemanager/CertificateMapEntry": "certificatemanager.owner",
    "certificatemanager/DnsAuthorization": "certificatemanager.owner",
    "cloudfunctionsv2/Function": "cloudfunctions.admin",
    "cloudquota/SQuotaPreference": "cloudquotas.admin",
    "cloudrunv2/Service": "run.admin",
    "cloudrunv2/ServiceIamMember": "run.admin",
    "cloudscheduler/Job": "cloudscheduler.admin",
    "colab/RuntimeTemplate": "aiplatform.admin",
    "colab/RuntimeTemplateIamMember": "aiplatform.admin",
    "compute/BackendService": "compute.loadBalancerAdmin",
    "compute/GlobalAddress": "compute.networkAdmin",
    "compute/GlobalForwardingRule": "compute.loadBalancerAdmin",
    "compute/Network": "compute.networkAdmin",
    "compute/NetworkFirewallPolicy": "compute.securityAdmin",
    "compute/NetworkFirewallPolicyAssociation": "compute.securityAdmin",
    "compute/NetworkFirewallPolicyRule": "compute.securityAdmin",
    "compute/RegionNetworkEndpointGroup": "compute.loadBalancerAdmin",
    "compute/Route": "compute.networkAdmin",
    "compute/Router": "compute.networkAdmin",
    "compute/RouterNat": "compute.networkAdmin",
    "compute/SSLPolicy": "compute.loadBalancerAdmin",
    "compute/SecurityPolicy": "compute.securityAdmin",
    "compute/Subnetwork": "compute.networkAdmin",
    "compute/TargetHttpProxy": "compute.loadBalancerAdmin",
    "compute/TargetHttpsProxy": "compute.loadBalancerAdmin",
    "compute/URLMap": "compute.loadBalancerAdmin",
    "container/Cluster": "container.admin",
    "container/NodePool": "container.admin",
    "containeranalysis/Note": "containeranalysis.admin",
    "containeranalysis/NoteIamMember": "containeranalysis.admin",
    "dataloss/PreventionInspectTemplate": "dlp.inspectTemplatesEditor",
    "dns/ManagedZone": "dns.admin",
    "dns/Policy": "dns.admin",
    "dns/RecordSet": "dns.admin",
    "iam/DenyPolicy": None,
    "iam/WorkloadIdentityPool": "iam.workloadIdentityPoolAdmin",
    "iam/WorkloadIdentityPoolProvider": "iam.workloadIdentityPoolAdmin",
    "kms/CryptoKey": "cloudkms.admin",
    "kms/CryptoKeyIAMMember": "cloudkms.admin",
    "kms/KeyRing": "cloudkms.admin",
    "logging/Metric": "logging.configWriter",
    "logging/ProjectBucketConfig": "logging.configWriter",
    "logging/ProjectExclusion": "logging.configWriter",
    "logging/ProjectSink": "logging.configWriter",
    "lustre/Instance": "lustre.admin",
    "memorystore/AclPolicy": "memorystore.admin",
    "memorystore/Instance": "memorystore.admin",
    "modelarmor/Floorsetting": "modelarmor.floorSettingsAdmin",
    "modelarmor/Template": "modelarmor.admin",
    "monitoring/AlertPolicy": "monitoring.alertPolicyEditor",
    "monitoring/Dashboard": "monitoring.dashboardEditor",
    "monitoring/NotificationChannel": "monitoring.notificationChannelEditor",
    "networkconnectivity/ServiceConnectionPolicy": "networkconnectivity.consumerNetworkAdmin",
    "orgpolicy/Policy": None,
    "projects/IAMAuditConfig": "resourcemanager.projectIamAdmin",
    "projects/IAMCustomRole": "iam.roleAdmin",
    "projects/IAMMember": "resourcemanager.projectIamAdmin",
    "projects/Service": "serviceusage.serviceUsageAdmin",
    "projects/ServiceIdentity": "serviceusage.serviceUsageAdmin",
    "pubsub/Subscription": "pubsub.admin",
    "pubsub/SubscriptionIAMMember": "pubsub.admin",
    "pubsub/Topic": "pubsub.admin",
    "pubsub/TopicIAMMember": "pubsub.admin",
    "secretmanager/Secret": "secretmanager.admin",
    "secretmanager/SecretIamMember": "secretmanager.admin",
    "secretmanager/SecretVersion": "secretmanager.admin",
    "serviceaccount/Account": "iam.serviceAccountAdmin",
    "serviceaccount/IAMMember": "iam.serviceAccountAdmin",
    "servicenetworking/Connection": "servicenetworking.networksAdmin",
    "serviceusage/ConsumerQuotaOverride": "serviceusage.serviceUsageAdmin",
    "sql/Database": "cloudsql.admin",
    "sql/DatabaseInstance": "cloudsql.admin",
    "sql/User": "cloudsql.admin",
    "storage/Bucket": "storage.admin",
    "storage/BucketIAMMember": "storage.admin",
    "storage/BucketObject": "storage.admin",
    "storage/Notification": "storage.admin",
    "vectorsearch/Collection": "vectorsearch.collectionWriter",
    "vertex/AiEndpoint": "aiplatform.admin",
    "vertex/AiEndpointIamMember": "aiplatform.admin",
    "vertex/AiMetadataStore": "aiplatform.admin",
    "vertex/AiTensorboard": "aiplatform.admin",
    "workbench/Instance": "notebooks.admin",
    "workbench/InstanceIamMember": "notebooks.admin",
    "workflows/Workflow": "workflows.editor",
}


@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """An environment with all that a description can ask for."""
    root = tmp_path_factory.mktemp("everything")
    shutil.copytree(ROOT / "stacks", root / "stacks")
    platform = root / "stacks" / "platform.yaml"
    content = yaml.safe_load(platform.read_text())
    content["data"] = {"file_systems": {"scratch": {"zone": "curated", "capacity_gib": 36_000}}}
    content["registry"]["promotion"] = {"gcp": {"shared_with": ["deploy@acme-ai-prod.iam.gserviceaccount.com"]}}
    platform.write_text(yaml.safe_dump(content))
    return build(root, whole=True)


def given(graph: Graph) -> set[str]:
    """Roles that the program grants on the project, but for what makes the two accounts of delivery what they are."""
    found: set[str] = set()
    for grant in kind(graph, "projects/IAMMember"):
        if not grant.name.startswith(("deploy-", "preview-")):
            custom = [graph.resources[urn] for urn in grant.links("role") if "IAMCustomRole" in urn]
            project = graph.outputs["gcp"]["account"]
            found |= {f"projects/{project}/roles/{role.get('roleId')}" for role in custom} or {grant.get("role")}
    return found


def may_grant(graph: Graph) -> list[set[str]]:
    """The lists of roles that the deployer's condition has."""
    (granting,) = [r for r in of(graph, "deploy") if r.get("condition")]
    assert granting.get("role") == "roles/resourcemanager.projectIamAdmin"
    start, end = "api.getAttribute('iam.googleapis.com/modifiedGrantsByRole', []).hasOnly([", "])"
    parts = granting.get("condition.expression").split(" || ")
    assert all(part.startswith(start) and part.endswith(end) for part in parts)
    # A condition has at most 12 logical operators (IAM "Quotas and limits").
    assert len(parts) <= 13
    return [set(re.findall(r"'([^']+)'", part[len(start) :])) for part in parts]


def test_the_pipeline_can_make_all_that_there_is(graphs: Graphs, everything: Graph):
    """A type that brings no role to the deployer is refused to the pipeline, half way through a deployment."""
    for graph in (graphs("dev-gcp"), graphs("prod-gcp"), everything):
        held = {r.get("role") for r in of(graph, "deploy")}
        types = {r.type for r in graph.resources.values() if r.type.startswith("gcp:")}
        for type_ in sorted(types):
            module, _, rest = type_.removeprefix("gcp:").partition("/")
            need = NEEDS[f"{module}/{rest.partition(':')[2]}"]
            assert need is None or f"roles/{need}" in held, type_


SPARE = {
    "roles/acme_ai_dev_gcp_documents", "roles/acme_ai_dev_gcp_release_call", "roles/acme_ai_dev_gcp_release_run",
    "roles/bigquery.jobUser", "roles/cloudsql.instanceUser", "roles/memorystore.dbConnectionUser",
    "roles/memorystore.serviceAgent",
}  # fmt: skip


def test_the_pipeline_can_grant_what_the_program_grants_and_nothing_else(graphs: Graphs, everything: Graph):
    for graph in (graphs("dev-gcp"), graphs("staging-gcp"), graphs("prod-gcp"), everything):
        lists = may_grant(graph)
        assert all(len(part) <= 10 for part in lists)
        assert not given(graph) - set[str]().union(*lists)
    spare = set[str]().union(*may_grant(everything)) - given(everything)
    project = everything.outputs["gcp"]["account"]
    # Of a server of experiments that runs in the cluster, and of kinds of endpoints and stores: nothing here has them all.
    assert {role.removeprefix(f"projects/{project}/") for role in spare} <= SPARE


@pytest.mark.parametrize("stack", GCP)
def test_the_deployer_grants_no_role_that_makes_anybody_a_deployer(graphs: Graphs, stack: str):
    graph = graphs(stack)
    held = {r.get("role"): r for r in of(graph, "deploy") if r.name.startswith("deploy-")}
    grantable = set[str]().union(*may_grant(graph))
    # What is in the cluster is administered by the platform's administrators too.
    assert grantable & set(held) == {"roles/container.admin"}
    assert not grantable & {"roles/owner", "roles/editor", "roles/iam.securityAdmin", "roles/iam.roleAdmin"}
    del held["roles/resourcemanager.projectIamAdmin"]
    assert all(r.get("condition") is None for r in held.values())
    # It changes custom roles, so it holds none.
    assert all(role.startswith("roles/") for role in held)


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
    further = {
        "staging-gcp": {
            "call-search", "rank-pods", "release-search", "release-thumbnails", "serve-search", "serve-thumbnails",
            "service-ceilings", "service-ceilings-build", "service-ceilings-caller", "similar-pods",
        },
    }  # fmt: skip
    assert {name.removesuffix("-account") for name in accounts} == {
        "preview", "deploy", "secret-rotation", "rotation-push", "secret-rotation-build",
        "cluster-nodes", "trainer-vision", "trainer-risk",
        "notebook-ana", "notebook-ben", "pipeline-fraud", "pipeline-fraud-drive", "pipeline-start",
        # Each endpoint as itself; what calls, fetches, releases and starts for it as somebody else.
        "serve-documents", "serve-fraud-night", "serve-fraud-score", "serve-price-check", "fetch-fraud-night",
        "fetch-fraud-score", "batch-fraud-night", "call-price-check", "push-documents", "release-documents",
        "release-fraud-score", "release-price-check", "release-start",
        "ask-gateway", "ingestion", "ingestion-build", "ingestion-push", "log-prompts", "retrieval", "retrieval-build",
    } | further.get(stack, set())  # fmt: skip
    assert all(6 <= len(a.get("accountId")) <= 30 for a in accounts.values())
    assert len({a.get("accountId") for a in accounts.values()}) == len(accounts)


def test_what_runs_waits_until_its_identity_may_do_its_work(graphs: Graphs):
    graph = graphs("dev-gcp")
    function = next(r for r in kind(graph, "cloudfunctionsv2/Function") if "rotation" in r.get("name"))
    for grant in ("logs", "source", "copies", "images"):
        assert f"secret-rotation-build-{grant}" in before(graph, function)


def test_the_builder_reads_only_sources_of_functions(graphs: Graphs):
    graph = graphs("dev-gcp")
    found = {r.get("role"): r.get("condition.expression") for r in of(graph, "secret-rotation-build")}
    assert found == {
        "roles/logging.logWriter": None,
        "roles/storage.objectViewer": (
            "resource.name.startsWith('projects/_/buckets/gcf-v2-sources-444444444444-us-central1')"
        ),
    }
    bucket = one(graph, "storage/BucketIAMMember", "secret-rotation-build-source")
    assert bucket.get("bucket") == "acme-ai-dev-gcp-secret-rotation-source"
    repository = one(graph, "artifactregistry/RepositoryIamMember", "secret-rotation-build-images")
    assert repository.get("role") == "roles/artifactregistry.writer"
