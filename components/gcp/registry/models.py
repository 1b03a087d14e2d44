"""The registry of models: what was trained, what is approved, and who may read that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.contracts import Text
from components.core.google import labels
from components.core.naming import Names
from components.scope import Component, Scope, after

_API = "artifactregistry.googleapis.com"
_READ, _WRITE = "roles/artifactregistry.reader", "roles/artifactregistry.writer"
_DAY = 86_400


@dataclass(frozen=True, kw_only=True)
class Model:
    """One model."""

    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, kw_only=True)
class Source:
    """The environment that this one reads approved models from."""

    environment: str
    project: str
    location: str | None = None
    """Where its packages lie; by default in this one's region."""


@dataclass(frozen=True, kw_only=True)
class ModelsArgs:
    """Which models there are, who approves them and who reads them."""

    apis: Mapping[str, contracts.Text]
    models: Mapping[str, Model]
    key: contracts.Key
    approvers: Mapping[str, str]
    """Persona to the address of its group."""
    readers: Sequence[str] = ()
    """Service accounts of other projects that may read what is approved."""
    source: Source | None = None
    untagged_days: int = 30
    """Days that a candidate's parts are kept that no tag names any more."""
    warning: Sequence[Text] = ()
    """Channels that are told of every approval."""


class Models(Component):
    """Two repositories for each model: of candidates, and of versions that an approver copied from there.

    The registry of Vertex AI knows no grant on a single model or version and no resource to declare one, so what is approved is
    decided where a grant can be: training writes candidates, approvers read those and alone write what is approved, and
    other projects read that alone. A version is an OCI artifact, a model's files or an image that serves them, with a tag
    that never moves. Its digest is the same in both repositories: `gcrane cp CANDIDATE:VERSION APPROVED:VERSION`. A model of
    Vertex AI is then made from it in the project that serves it.

    Owns the repositories, the grants to approvers and to readers of other projects, the audit log of who read and wrote packages,
    and who is told of approvals. Never owns a package or the grant to training, which brings `Grant(role=…,
    repository=self.repositories[model])` into its own identity. Who approved what is in the audit log of the project:
    `Docker-PutManifest` on a repository of what is approved.

    Costs a month 0.10 USD a GB (us-central1, 2024-07), twice for what is approved, and what the audit log holds. A destroy in
    a tier that deletes takes the packages along; elsewhere it is refused.

    >>> Source(environment="dev", project="acme-ai-dev").location is None
    True
    """

    outputs: contracts.Models
    repositories: Mapping[str, tuple[str, Text]]
    """Model to location and name of the repository of candidates, for the grant to whoever publishes."""

    def __init__(self, name: str, args: ModelsArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the repositories and the grants."""
        super().__init__(name, scope, parent)
        self._args = args
        candidates = {model: self._repository(model, approved=False) for model in args.models}
        approved = {model: self._repository(model, approved=True) for model in args.models}
        ready: list[pulumi.Resource] = []
        if args.models:
            ready.append(self._audit())
            self._tell(approved)
        self.repositories = {model: (scope.region, made.name) for model, (made, _) in candidates.items()}
        self.outputs = contracts.Models(
            candidates={
                model: after(self._address(made), *grants, *ready) for model, (made, grants) in candidates.items()
            },
            approved={
                model: after(self._there(model) or self._address(made), *grants, *ready)
                for model, (made, grants) in approved.items()
            },
        )
        self.finish(self.outputs)

    def _address(self, repository: gcp.artifactregistry.Repository) -> Text:
        return pulumi.Output.concat(
            f"{self.scope.region}-docker.pkg.dev/{self.scope.account}/", repository.repository_id
        )

    def _there(self, model: str) -> str | None:
        """The address of what is approved in the source's environment."""
        source, scope = self._args.source, self.scope
        if source is None:
            return None
        repository = approved_id(Names(scope.names.prefix, source.environment), model)
        return f"{source.location or scope.region}-docker.pkg.dev/{source.project}/{repository}"

    def _repository(
        self, model: str, *, approved: bool
    ) -> tuple[gcp.artifactregistry.Repository, list[pulumi.Resource]]:
        args, scope, spec = self._args, self.scope, self._args.models[model]
        label = f"{self.name}-{model}-{'approved' if approved else 'candidates'}"
        made = gcp.artifactregistry.Repository(
            f"{label}-repository",
            repository_id=approved_id(scope.names, model) if approved else scope.names.of(f"model-{model}", "compute"),
            description=f"{'Approved versions' if approved else 'Candidates'} of {model}. {spec.description}".strip(),
            format="DOCKER",
            mode="STANDARD_REPOSITORY",
            location=scope.region,
            project=args.apis[_API],
            kms_key_name=args.key.id,
            docker_config={"immutable_tags": True},
            cleanup_policy_dry_run=False,
            cleanup_policies=[
                {
                    "id": "drop-untagged",
                    "action": "DELETE",
                    "condition": {"tag_state": "UNTAGGED", "older_than": f"{args.untagged_days * _DAY}s"},
                }
            ],
            labels={**labels(spec.tags), "model": model},
            opts=self.options(holds_data=True),
        )
        members = {
            persona: (_WRITE if approved else _READ, f"group:{group}") for persona, group in args.approvers.items()
        }
        if approved:
            members |= {reader: (_READ, f"serviceAccount:{reader}") for reader in args.readers}
        grants: list[pulumi.Resource] = [
            gcp.artifactregistry.RepositoryIamMember(
                f"{label}-{who}",
                project=args.apis[_API],
                location=scope.region,
                repository=made.name,
                role=role,
                member=member,
                opts=self.options(),
            )
            for who, (role, member) in members.items()
        ]
        return made, grants

    def _audit(self) -> pulumi.Resource:
        """Keep a record of who read and wrote packages; by default only changes to repositories are recorded."""
        return gcp.projects.IAMAuditConfig(
            f"{self.name}-audit",
            project=self._args.apis["cloudresourcemanager.googleapis.com"],
            service=_API,
            audit_log_configs=[{"log_type": "DATA_READ"}, {"log_type": "DATA_WRITE"}],
            opts=self.options(),
        )

    def _tell(self, approved: Mapping[str, tuple[gcp.artifactregistry.Repository, Sequence[pulumi.Resource]]]) -> None:
        """Tell people of approvals."""
        args, scope = self._args, self.scope
        names = [made.repository_id for made, _ in approved.values()]
        gcp.monitoring.AlertPolicy(
            f"{self.name}-approved",
            display_name=f"{scope.environment}: a version of a model was approved",
            project=args.apis["monitoring.googleapis.com"],
            combiner="OR",
            severity="WARNING",
            conditions=[
                {
                    "display_name": "A package was written to a repository of what is approved",
                    "condition_matched_log": {
                        "filter": pulumi.Output.all(*names).apply(lambda known: approvals(scope.account, known)),
                        "label_extractors": {
                            "who": "EXTRACT(protoPayload.authenticationInfo.principalEmail)",
                            "what": "EXTRACT(protoPayload.resourceName)",
                        },
                    },
                }
            ],
            # An alert on logs wants a limit; half an hour is the shortest that an incident stays open.
            alert_strategy={"notification_rate_limit": {"period": "300s"}, "auto_close": "1800s"},
            documentation={"content": "Who and what stand in the labels.", "mime_type": "text/markdown"},
            notification_channels=list(args.warning),
            user_labels=labels(scope.tags),
            opts=self.options(),
        )


def approved_id(names: Names, model: str) -> str:
    """Name of the repository of what is approved.

    >>> approved_id(Names("acme-ai", "dev"), "fraud")
    'acme-ai-dev-approved-fraud'
    """
    return names.of(f"approved-{model}", "compute")


def approvals(project: str, repositories: Sequence[str]) -> str:
    """Filter of the log entries of versions that were written to these repositories ("Artifact Registry audit logging").

    >>> approvals("acme-ai-dev", ["a", "b"]).splitlines()[-1]
    'protoPayload.resourceName:("/repositories/a/" OR "/repositories/b/")'
    """
    named = " OR ".join(f'"/repositories/{repository}/"' for repository in repositories)
    return "\n".join(
        (
            f'logName="projects/{project}/logs/cloudaudit.googleapis.com%2Fdata_access"',
            f'protoPayload.serviceName="{_API}"',
            'protoPayload.methodName="Docker-PutManifest"',
            "severity<ERROR",
            f"protoPayload.resourceName:({named})",
        )
    )
