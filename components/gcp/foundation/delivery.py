"""How changes reach the environment: the identities of the continuous integration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.core.google import nth
from components.core.permissions import see
from components.gcp.blocks.workload import Grant, Workload, WorkloadArgs
from components.scope import Component, Scope, after

_ISSUER = "https://token.actions.githubusercontent.com"
# The subject of a token names owner and repository, and their numbers too where the repository was made or renamed after
# 2026-07-15 ("Immutable subject claims", GitHub changelog 2026-04-23). So what a workflow runs for is read from claims that
# every token has in one form. As in the subject, an environment comes before a pull request.
_GATE = (
    "'environment' in assertion ? 'environment:' + assertion.environment"
    " : (assertion.event_name == 'pull_request' ? 'pull_request' : 'other')"
)
# What deploying takes, and for what. Neither owner nor editor: those would also read data. Roles of Google's alone, since the
# deployer changes custom roles, and must not change what it may do itself.
_DEPLOY: Mapping[str, str] = {
    "roles/aiplatform.admin": "TensorBoard, store of experiments, templates of notebooks, endpoints",
    "roles/apigateway.admin": "gateway in front of corpora",
    "roles/artifactregistry.admin": "repositories of images and of models",
    "roles/bigquery.dataOwner": "datasets of prompts and captured requests",
    "roles/binaryauthorization.attestorsAdmin": "who vouches for images",
    "roles/binaryauthorization.policyEditor": "what happens to an image that nobody vouches for",
    "roles/certificatemanager.owner": "certificates of gateways",
    "roles/cloudfunctions.admin": "the function that rotates secrets",
    "roles/cloudkms.admin": "keys; not their use",
    "roles/cloudquotas.admin": "quotas asked for",
    "roles/cloudscheduler.admin": "when pipelines run",
    "roles/cloudsql.admin": "databases of experiments and of corpora",
    "roles/compute.loadBalancerAdmin": "gateway in front of endpoints",
    "roles/compute.networkAdmin": "network, routes, NAT",
    "roles/compute.securityAdmin": "firewall policies, of the network and of gateways",
    "roles/container.admin": "the cluster, its machines, and what is declared in it",
    "roles/containeranalysis.admin": "what is vouched",
    "roles/dlp.inspectTemplatesEditor": "what guardrails take for private",
    "roles/dns.admin": "private zones",
    "roles/iam.roleAdmin": "custom roles",
    "roles/iam.serviceAccountAdmin": "identities of workloads",
    "roles/iam.serviceAccountUser": "to give a workload its identity",
    "roles/iam.workloadIdentityPoolAdmin": "this pool",
    "roles/logging.configWriter": "where logs go, and metrics of them; not the logs",
    "roles/lustre.admin": "shared file systems",
    "roles/memorystore.admin": "caches",
    "roles/modelarmor.admin": "guardrails",
    "roles/modelarmor.floorSettingsAdmin": "the least that every guardrail stops",
    "roles/monitoring.alertPolicyEditor": "alerts",
    "roles/monitoring.dashboardEditor": "dashboards",
    "roles/monitoring.notificationChannelEditor": "notification channels",
    "roles/networkconnectivity.consumerNetworkAdmin": "endpoints of managed services in the network",
    "roles/notebooks.admin": "notebooks",
    "roles/pubsub.admin": "topics",
    "roles/run.admin": "services, and who may call them and functions",
    "roles/secretmanager.admin": "secrets",
    "roles/servicenetworking.networksAdmin": "private addresses of managed services",
    "roles/serviceusage.serviceUsageAdmin": "APIs",
    "roles/storage.admin": "buckets",
    "roles/vectorsearch.collectionWriter": "corpora; not what is in them",
    "roles/workflows.editor": "pipelines",
}
# What one list of a condition may hold ("Set limits on granting roles").
_PER_LIST = 10


@dataclass(frozen=True, kw_only=True)
class DeliveryArgs:
    """Whose workflows, and what they may hand on."""

    apis: Mapping[str, contracts.Text]
    number: str
    """Number of the project."""
    repository: str
    """owner/name on GitHub."""
    repository_id: str | None = None
    """Its number, which nobody can take over with the name."""
    environment: str
    """The protected GitHub environment that alone may deploy."""
    grantable: Sequence[str]
    """Roles that the deployer may grant on the project."""
    generation: int


class Delivery(Component):
    """A pool that trusts the workflows of one repository, and two service accounts that they can become.

    The one for previews sees how the environment is made and nothing of what it holds; any pull request's workflow may
    become it. The one that deploys can be become only in the protected GitHub environment, and can grant on the project no
    role but those that the environment's people and workloads have: neither to itself nor to anybody else.

    Owns the pool, its provider, both accounts and what they may do on the project. Never owns a key, nor rights outside
    of the project: a budget takes `roles/billing.costsManager` on the billing account, a policy of the organisation
    `roles/orgpolicy.policyAdmin`, the boundary `roles/iam.denyAdmin`; those are given by hand, to whom they belong.

    Costs nothing. A destroy takes it away; Google keeps the pool's id for 30 days, hence `generation`.

    >>> only(["roles/logging.logWriter"])
    "api.getAttribute('iam.googleapis.com/modifiedGrantsByRole', []).hasOnly(['roles/logging.logWriter'])"
    """

    outputs: contracts.Delivery

    def __init__(self, name: str, args: DeliveryArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the pool and the accounts."""
        super().__init__(name, scope, parent)
        self._apis = args.apis
        iam = args.apis["iam.googleapis.com"]
        pool = gcp.iam.WorkloadIdentityPool(
            f"{name}-pool",
            workload_identity_pool_id=scope.names.of(nth("ci", args.generation), "identity_pool"),
            display_name="Continuous integration",
            description=f"Workflows of {args.repository}.",
            project=iam,
            opts=self.options(),
        )
        gates = {"preview": "pull_request", "deploy": f"environment:{args.environment}"}
        allowed = ", ".join(f"'{gate}'" for gate in gates.values())
        number = f" && assertion.repository_id == '{args.repository_id}'" if args.repository_id else ""
        provider = gcp.iam.WorkloadIdentityPoolProvider(
            f"{name}-github",
            workload_identity_pool_id=pool.workload_identity_pool_id,
            workload_identity_pool_provider_id="github",
            display_name="GitHub Actions",
            description=f"Tokens of {args.repository} only, for a pull request or for {args.environment}.",
            project=iam,
            oidc={"issuer_uri": _ISSUER},
            attribute_mapping={
                "google.subject": "assertion.sub",
                "attribute.repository": "assertion.repository",
                "attribute.gate": _GATE,
            },
            attribute_condition=(
                f"assertion.repository == '{args.repository}'{number} && assertion.sub.startsWith('repo:')"
                f" && attribute.gate in [{allowed}]"
            ),
            opts=self.options(),
        )
        accounts = {"preview": self._preview(args), "deploy": self._deploy(args)}
        members = [
            gcp.serviceaccount.IAMMember(
                f"{name}-{which}-github",
                service_account_id=workload.outputs.id.apply(
                    lambda email: f"projects/{scope.account}/serviceAccounts/{email}"
                ),
                role="roles/iam.workloadIdentityUser",
                member=pool.workload_identity_pool_id.apply(
                    lambda pool_id, which=which: (
                        f"principalSet://iam.googleapis.com/projects/{args.number}/locations/global/workloadIdentityPools/"
                        f"{pool_id}/attribute.gate/{gates[which]}"
                    )
                ),
                opts=self.options(),
            )
            for which, workload in accounts.items()
        ]
        preview, deploy = (workload.outputs.id for workload in accounts.values())
        self.outputs = contracts.Delivery(
            provider=after(provider.name, *members),
            preview=after(preview, members[0]),
            deploy=after(deploy, members[1]),
        )
        self.finish(self.outputs)

    def _preview(self, args: DeliveryArgs) -> Workload:
        scope = self.scope
        role = gcp.projects.IAMCustomRole(
            f"{self.name}-preview-role",
            role_id=scope.names.of(nth("preview", args.generation), "custom_role").replace("-", "_"),
            title="Preview",
            description="Sees how the environment is made, and nothing of what it holds.",
            permissions=list(see()),
            project=args.apis["iam.googleapis.com"],
            stage="GA",
            opts=self.options(),
        )
        return self._workload("preview", "Previews a change: reads how things are.", {"see": Grant(role=role.name)})

    def _deploy(self, args: DeliveryArgs) -> Workload:
        grants = {role.removeprefix("roles/"): Grant(role=role) for role in _DEPLOY}
        grants["resourcemanager.projectIamAdmin"] = Grant(
            role="roles/resourcemanager.projectIamAdmin",
            condition=("grants-of-the-environment", only(args.grantable)),
        )
        return self._workload("deploy", "Deploys a change, from the protected GitHub environment.", grants)

    def _workload(self, which: str, description: str, grants: Mapping[str, Grant]) -> Workload:
        args = WorkloadArgs(description=description, apis=self._apis, grants=grants)
        return Workload(which, args, scope=self.scope, parent=self)


def only(roles: Sequence[str]) -> str:
    """The condition that holds a grantor to these roles.

    One request may change grants of one list only. The provider, which sends several grants at once, then sends each by itself
    (terraform-provider-google: request_batcher.go).

    >>> only([f"roles/{i}" for i in range(11)]).count("hasOnly")
    2
    """
    parts = [roles[i : i + _PER_LIST] for i in range(0, len(roles), _PER_LIST)]
    lists = (", ".join(f"'{role}'" for role in part) for part in parts)
    return " || ".join(
        f"api.getAttribute('iam.googleapis.com/modifiedGrantsByRole', []).hasOnly([{listed}])" for listed in lists
    )
