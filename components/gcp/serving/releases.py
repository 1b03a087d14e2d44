"""What all releases share: roles for their workflows, and who starts them."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.core.google import nth
from components.core.naming import Names
from components.gcp.blocks.workload import Grant, Workload, WorkloadArgs
from components.scope import Component, Scope

# What each workflow calls, and nothing else. Sources: IAM "Permissions reference" by API.
_ROLES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "watch": (
        "Looks at metrics and at executions of workflows, and writes to the log.",
        ("logging.logEntries.create", "monitoring.timeSeries.list", "workflows.executions.get"),
    ),
    "run": (
        "Moves the traffic of a service of Cloud Run.",
        ("run.operations.get", "run.revisions.get", "run.services.get", "run.services.update"),
    ),
    "vertex": (
        "Deploys models to endpoints of Vertex AI, and enters them into its registry.",
        (
            "aiplatform.customJobs.create", "aiplatform.customJobs.get", "aiplatform.endpoints.deploy",
            "aiplatform.endpoints.get", "aiplatform.endpoints.undeploy", "aiplatform.endpoints.update",
            "aiplatform.models.get", "aiplatform.models.upload",
        ),
    ),
    "call": ("Calls an endpoint of Vertex AI.", ("aiplatform.endpoints.get", "aiplatform.endpoints.predict")),
    "batch": (
        "Runs models of Vertex AI over many records.",
        (
            "aiplatform.batchPredictionJobs.cancel", "aiplatform.batchPredictionJobs.create",
            "aiplatform.batchPredictionJobs.get", "aiplatform.customJobs.create", "aiplatform.customJobs.get",
            "aiplatform.models.get", "aiplatform.models.upload", "logging.logEntries.create",
        ),
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ReleasesArgs:
    """Where the roles are made."""

    apis: Mapping[str, contracts.Text]
    generation: int
    """Which life of the environment this is: the id of a custom role is free again after weeks only."""


class Releases(Component):
    """Custom roles for what moves endpoints from one version to the next, and the identity that starts it on time.

    Owns the roles, the starter and its right to start workflows. Never owns a workflow, nor the grant of a role: each
    endpoint's own driver brings that. One a project, since a project has 300 custom roles and 100 service accounts at first.

    Costs nothing. A destroy takes everything; a custom role's id is free again after weeks.

    >>> role_ids(Names("acme-ai", "dev"), 1)["run"]
    'acme_ai_dev_release_run'
    """

    outputs: contracts.Releases

    def __init__(self, name: str, args: ReleasesArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the roles and the starter."""
        super().__init__(name, scope, parent)
        ids = role_ids(scope.names, args.generation)
        roles = {
            role: gcp.projects.IAMCustomRole(
                f"{name}-{role}",
                role_id=ids[role],
                title=f"Release: {role}",
                description=description,
                permissions=list(permissions),
                project=args.apis["iam.googleapis.com"],
                opts=self.options(),
            ).name
            for role, (description, permissions) in _ROLES.items()
        }
        starter = Workload(
            "release-start",
            WorkloadArgs(
                description="Starts what releases new versions, and runs over many records.",
                apis=args.apis,
                # A workflow has no policy of its own.
                grants={"start": Grant(role="roles/workflows.invoker")},
            ),
            scope=scope,
            parent=self,
        ).outputs.id
        self.outputs = contracts.Releases(roles=roles, starter=starter)
        self.finish(self.outputs)


def role_ids(names: Names, generation: int) -> dict[str, str]:
    """Ids of the custom roles, for whoever may grant them."""
    return {role: names.of(nth(f"release-{role}", generation), "custom_role").replace("-", "_") for role in _ROLES}
