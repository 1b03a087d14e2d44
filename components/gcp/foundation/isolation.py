"""The project as a fence around one environment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.scope import Component, Scope, after

# What the environment uses, and for what. An API that stands here costs nothing until it is called.
_APIS: Mapping[str, str] = {
    "aiplatform.googleapis.com": "training jobs, notebooks, experiments",
    "apigateway.googleapis.com": "gateway in front of corpora",
    "artifactregistry.googleapis.com": "image of the function that rotates secrets",
    "bigquery.googleapis.com": "prompts and captured requests",
    "billingbudgets.googleapis.com": "budgets",
    "binaryauthorization.googleapis.com": "who vouches for images",
    "certificatemanager.googleapis.com": "certificates of gateways",
    "containeranalysis.googleapis.com": "what is vouched",
    "containerscanning.googleapis.com": "vulnerabilities of images",
    "cloudbuild.googleapis.com": "builds the function that rotates secrets",
    "cloudfunctions.googleapis.com": "the function that rotates secrets",
    "cloudkms.googleapis.com": "keys",
    "cloudquotas.googleapis.com": "quotas asked for",
    "cloudresourcemanager.googleapis.com": "grants on the project",
    "cloudscheduler.googleapis.com": "when pipelines run",
    "compute.googleapis.com": "network, machines of the cluster",
    "container.googleapis.com": "the cluster",
    "containerfilesystem.googleapis.com": "images that start before they are read to the end",
    "dataform.googleapis.com": "files of notebooks",
    "dlp.googleapis.com": "what guardrails take for private",
    "dns.googleapis.com": "private names of Google's APIs",
    "eventarc.googleapis.com": "its agent has to be there for a function with a key of ours",
    "iam.googleapis.com": "identities, roles, deny policies",
    "iamcredentials.googleapis.com": "continuous integration becomes a service account",
    "logging.googleapis.com": "logs",
    "lustre.googleapis.com": "shared file systems",
    "memorystore.googleapis.com": "caches",
    "modelarmor.googleapis.com": "guardrails",
    "monitoring.googleapis.com": "notification channels, alerts",
    "networkconnectivity.googleapis.com": "endpoints of managed services in the network",
    "notebooks.googleapis.com": "notebooks",
    "pubsub.googleapis.com": "notifications to programs",
    "run.googleapis.com": "runs the function that rotates secrets",
    "secretmanager.googleapis.com": "secrets",
    "servicecontrol.googleapis.com": "what the gateway tells of its calls",
    "servicemanagement.googleapis.com": "what the gateway is configured by",
    "servicenetworking.googleapis.com": "private addresses of managed services",
    "serviceusage.googleapis.com": "these APIs",
    "sqladmin.googleapis.com": "databases of experiments and of corpora",
    "storage.googleapis.com": "buckets",
    "sts.googleapis.com": "exchanges a workflow's token",
    "vectorsearch.googleapis.com": "corpora",
    "workflowexecutions.googleapis.com": "runs of pipelines",
    "workflows.googleapis.com": "pipelines",
}
_ORGANIZATION_APIS: Mapping[str, str] = {"orgpolicy.googleapis.com": "organisation policies"}
_PERIMETER_APIS: Mapping[str, str] = {"accesscontextmanager.googleapis.com": "service perimeter"}

# Constraints that are on or off, and what each keeps out. Source: "Organization policy constraints".
_ENFORCED: Mapping[str, str] = {
    "compute.disableNestedVirtualization": "machines inside machines",
    "compute.disableSerialPortAccess": "consoles beside the network",
    "compute.requireOsLogin": "SSH keys in metadata",
    "compute.requireShieldedVm": "machines whose start nobody measured",
    "compute.skipDefaultNetworkCreation": "a network with open ports",
    "iam.automaticIamGrantsForDefaultServiceAccounts": "default identities that may edit everything",
    "iam.disableAuditLoggingExemption": "people whose reads are not recorded",
    "iam.disableServiceAccountKeyCreation": "keys that never expire",
    "iam.disableServiceAccountKeyUpload": "keys from elsewhere",
    "sql.restrictPublicIp": "databases on the internet",
    "storage.publicAccessPrevention": "public objects",
    "storage.uniformBucketLevelAccess": "access control lists of single objects",
}


@dataclass(frozen=True, kw_only=True)
class IsolationArgs:
    """What the fence is made of."""

    organization: str | None
    """Number of the organisation; without it no policy can be set."""
    perimeter: bool
    """Whether a service perimeter is drawn."""
    locations: tuple[str, ...]
    """Where resources may be, as value groups: `in:us-locations`."""
    models: Sequence[str] = ()
    """Models of publishers that may be called, and no others: `publishers/google/models/gemini-2.5-flash`."""


class Isolation(Component):
    """The APIs of the project, and the organisation policies that nothing in it can fall behind.

    No permission and no condition knows a model of a publisher, so whoever may call one could call all of them: a policy lets
    those be called that the description names, and none be tuned or deployed. Models of the project's own are not concerned.

    Owns which APIs are on, and the policies on the project, where `organization` is given: they take the place of what is set
    above. Never owns the project itself.

    Costs nothing. A destroy leaves the APIs on, because a project may hold what is not ours, and takes the policies away.

    >>> IsolationArgs(organization=None, perimeter=False, locations=()).organization is None
    True
    """

    outputs: contracts.Isolation

    def __init__(self, name: str, args: IsolationArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Switch the APIs on and set the policies."""
        super().__init__(name, scope, parent)
        wanted = [*_APIS]
        wanted += _ORGANIZATION_APIS if args.organization else ()
        wanted += _PERIMETER_APIS if args.perimeter else ()
        services = {service: self._service(service) for service in sorted(wanted)}
        # By the service itself and not its `project` output, which a first preview does not know: then nothing would be.
        apis = {service: after(scope.account, resource) for service, resource in services.items()}
        policies = self._policies(args, apis) if args.organization else []
        self.outputs = contracts.Isolation(account=after(scope.account, *policies), apis=apis)
        self.finish(self.outputs)

    def _service(self, service: str) -> gcp.projects.Service:
        return gcp.projects.Service(
            f"{self.name}-{service.removesuffix('.googleapis.com')}",
            project=self.scope.account,
            service=service,
            # To switch an API off deletes what stands on it, also what is not ours.
            disable_on_destroy=False,
            disable_dependent_services=False,
            opts=self.options(),
        )

    def _policies(self, args: IsolationArgs, apis: Mapping[str, pulumi.Output[str]]) -> list[gcp.orgpolicy.Policy]:
        rules: dict[str, gcp.orgpolicy.PolicySpecRuleArgsDict] = {name: {"enforce": "TRUE"} for name in _ENFORCED}
        rules["compute.vmExternalIpAccess"] = {"deny_all": "TRUE"}
        rules["gcp.resourceLocations"] = {"values": {"allowed_values": list(args.locations)}}
        # "Control access to Model Garden models": a model without its version, and what is done with it.
        called = sorted({f"{model.partition('@')[0]}:predict" for model in args.models})
        rules["vertexai.allowedModels"] = {"values": {"allowed_values": called}} if called else {"deny_all": "TRUE"}
        account = self.scope.account
        return [
            gcp.orgpolicy.Policy(
                f"{self.name}-policy-{constraint}",
                name=f"projects/{account}/policies/{constraint}",
                parent=apis["orgpolicy.googleapis.com"].apply(lambda project: f"projects/{project}"),
                spec={"inherit_from_parent": False, "rules": [rule]},
                opts=self.options(),
            )
            for constraint, rule in sorted(rules.items())
        ]
