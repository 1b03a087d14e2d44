"""People: one role a persona."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.core.google import nth
from components.core.naming import Names
from components.core.permissions import see
from components.scope import Component, Scope, after
from components.spec.foundation import Persona


@dataclass(frozen=True)
class _Role:
    """What a persona may do on the project, beside the data that is granted bucket by bucket."""

    title: str
    description: str
    permissions: tuple[str, ...]


_WATCH = (
    "logging.logEntries.list",
    "logging.logs.list",
    "monitoring.metricDescriptors.list",
    "monitoring.timeSeries.list",
)
# Images to run and to look into; who writes to which repository is granted on the repository.
_PULL = (
    "artifactregistry.dockerimages.get",
    "artifactregistry.dockerimages.list",
    "artifactregistry.repositories.downloadArtifacts",
    "artifactregistry.tags.get",
    "artifactregistry.tags.list",
    "artifactregistry.versions.get",
    "artifactregistry.versions.list",
)
# How a pipeline is doing, and its jobs.
_FOLLOW = (
    "aiplatform.customJobs.get",
    "aiplatform.customJobs.list",
    "workflows.executions.get",
    "workflows.executions.list",
    "workflows.stepEntries.get",
    "workflows.stepEntries.list",
)
# Sources: IAM "Roles and permissions index". Nobody here can act as a service account, grant a role or read a secret's value.
_ROLES: Mapping[Persona, _Role] = {
    "data-scientist": _Role(
        "Data scientist",
        "Finds data and models, and sees how what he runs is doing.",
        (
            *_WATCH,
            *_PULL,
            *_FOLLOW,
            *see("aiplatform", "artifactregistry", "container", "monitoring", "projects", "storage", "workflows"),
        ),
    ),
    "ml-engineer": _Role(
        "ML engineer",
        "Sees everything that runs, and how it is doing; starts pipelines.",
        (
            *_WATCH,
            *_PULL,
            *_FOLLOW,
            *see(
                "aiplatform",
                "artifactregistry",
                "cloudfunctions",
                "cloudscheduler",
                "container",
                "lustre",
                "monitoring",
                "projects",
                "pubsub",
                "run",
                "secretmanager",
                "storage",
                "workflows",
            ),
            # As the identity of the pipeline, not as himself.
            "workflows.executions.cancel",
            "workflows.executions.create",
        ),
    ),
    "platform-admin": _Role(
        "Platform administrator",
        "Runs the environment: alerts, messages, pipelines, versions of secrets; reads no data and no secret.",
        (
            *_WATCH,
            *_FOLLOW,
            *see(),
            "aiplatform.customJobs.cancel",
            "cloudscheduler.jobs.enable",
            "cloudscheduler.jobs.pause",
            "monitoring.alertPolicies.create",
            "monitoring.alertPolicies.delete",
            "monitoring.alertPolicies.update",
            "monitoring.dashboards.create",
            "monitoring.dashboards.delete",
            "monitoring.dashboards.update",
            "monitoring.notificationChannels.sendVerificationCode",
            "monitoring.notificationChannels.verify",
            "notebooks.instances.stop",
            "secretmanager.versions.add",
            "secretmanager.versions.destroy",
            "secretmanager.versions.disable",
            "secretmanager.versions.enable",
            "workflows.executions.cancel",
        ),
    ),
    "auditor": _Role(
        "Auditor",
        "Sees who may do what, and who did it; changes nothing.",
        # What is recorded of reads of data is private.
        (*_WATCH, *see(), "logging.privateLogEntries.list"),
    ),
}
_READ, _WRITE = "roles/storage.objectViewer", "roles/storage.objectUser"
# A bucket of logs beside the two that every project has is read by its views ("Configure log views").
_LOGS = "roles/logging.viewAccessor"


@dataclass(frozen=True, kw_only=True)
class Zone:
    """A storage zone, and who reads and writes it."""

    bucket: contracts.Storage
    readers: Sequence[Persona]
    writers: Sequence[Persona]


@dataclass(frozen=True, kw_only=True)
class Secret:
    """A secret, and who reads its value."""

    id: contracts.Text
    readers: Sequence[Persona]


@dataclass(frozen=True, kw_only=True)
class PersonasArgs:
    """Who people are and what they reach."""

    apis: Mapping[str, contracts.Text]
    groups: Mapping[Persona, str | None]
    """Each persona with its group's address; without one the role is there and nobody has it."""
    zones: Mapping[str, Zone]
    secrets: Mapping[str, Secret]
    queries: Collection[str] = ()
    """Personas that may ask BigQuery: what they read of it is granted on each dataset."""
    generation: int


class Personas(Component):
    """A custom role for each persona, given to its group, and the group's rights on buckets and secrets.

    Data is granted on the bucket that holds it and a secret on the secret, never on the project; each grant is a
    member of its own, so that neither a hundred zones nor another's grant meet a limit or each other. Everybody reads the
    logs of the cluster, where those of jobs are: they have a bucket of their own, which is read by a grant of its own. What
    approves a model and what opens a notebook is granted where those are made.

    Owns the custom roles and the grants to groups. Never owns a group, nor how long its members stay signed in: that is the
    organisation's session control. Costs nothing. A destroy takes it away; Google keeps a custom role's id for weeks,
    hence `generation`.

    >>> role_id(Names("acme-ai", "dev"), "data-scientist", 2)
    'acme_ai_dev_data_scientist_2'
    """

    outputs: contracts.Personas

    def __init__(self, name: str, args: PersonasArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the roles and the grants."""
        super().__init__(name, scope, parent)
        self._args = args
        self.outputs = contracts.Personas(roles={persona: self._role(persona) for persona in args.groups})
        self.finish(self.outputs)

    def _role(self, persona: Persona) -> contracts.Text:
        """The persona's role, and its name once its group has all that it may have."""
        args, what = self._args, _ROLES[persona]
        role = gcp.projects.IAMCustomRole(
            f"{self.name}-{persona}",
            role_id=role_id(self.scope.names, persona, args.generation),
            title=what.title,
            description=what.description,
            # A query is a job of the project; it sees nothing that its author may not read.
            permissions=sorted((*what.permissions, *(["bigquery.jobs.create"] if persona in args.queries else ()))),
            stage="GA",
            project=args.apis["iam.googleapis.com"],
            opts=self.options(),
        )
        group = args.groups[persona]
        return after(role.name, *self._grants(persona, f"group:{group}", role)) if group else role.name

    def _grants(self, persona: Persona, member: str, role: gcp.projects.IAMCustomRole) -> list[pulumi.Resource]:
        args, label = self._args, f"{self.name}-{persona}"
        grants: list[pulumi.Resource] = [
            gcp.projects.IAMMember(
                f"{label}-project",
                project=args.apis["cloudresourcemanager.googleapis.com"],
                role=role.name,
                member=member,
                opts=self.options(),
            )
        ]
        logs = self.scope.names.of(nth("cluster", args.generation), "compute")
        views = f"projects/{self.scope.account}/locations/{self.scope.region}/buckets/{logs}/views/"
        grants.append(
            gcp.projects.IAMMember(
                f"{label}-logs",
                project=args.apis["cloudresourcemanager.googleapis.com"],
                role=_LOGS,
                member=member,
                condition={"title": "logs-of-the-cluster", "expression": f"resource.name.startsWith('{views}')"},
                opts=self.options(),
            )
        )
        for zone, access in args.zones.items():
            if persona in (*access.readers, *access.writers):
                grants.append(
                    gcp.storage.BucketIAMMember(
                        f"{label}-zone-{zone}",
                        bucket=access.bucket.resource,
                        role=_WRITE if persona in access.writers else _READ,
                        member=member,
                        opts=self.options(),
                    )
                )
        for secret, access in args.secrets.items():
            if persona in access.readers:
                grants.append(
                    gcp.secretmanager.SecretIamMember(
                        f"{label}-secret-{secret}",
                        project=args.apis["secretmanager.googleapis.com"],
                        secret_id=access.id,
                        role="roles/secretmanager.secretAccessor",
                        member=member,
                        opts=self.options(),
                    )
                )
        return grants


def role_id(names: Names, persona: str, generation: int) -> str:
    """The id of a persona's role, which takes no hyphen."""
    return names.of(nth(persona, generation), "custom_role").replace("-", "_")
