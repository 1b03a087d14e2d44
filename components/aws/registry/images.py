"""Registries of images: our own, and what is read through them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_aws as aws

from components import contracts
from components.aws.blocks.workload import Workload, WorkloadArgs
from components.contracts import Text
from components.core import iam
from components.scope import Component, Scope, after

_PULL = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:DescribeImages", "ecr:GetDownloadUrlForLayer")
# What ECR needs to make the repository of a mirrored image for us ("Creating an IAM role for repository creation templates").
_CREATE = ("ecr:CreateRepository", "ecr:ReplicateImage", "ecr:TagResource")
_GRANT = ("kms:CreateGrant", "kms:DescribeKey", "kms:RetireGrant")
_MIRRORED_DAYS = 90
"""Days after which a mirrored image is deleted; the next pull brings it back."""
# "PutRegistryScanningConfiguration": continuous is Amazon Inspector's, on push is free.
_SCANNING: Mapping[str, tuple[str, str]] = {
    "on_push": ("BASIC", "SCAN_ON_PUSH"),
    "continuous": ("ENHANCED", "CONTINUOUS_SCAN"),
}
_SIGNED_MONTHS = 36
"""How long a signature holds; what is older has to be built again."""


@dataclass(frozen=True, kw_only=True)
class Repository:
    """One repository."""

    keep: int
    """Images that are kept, the newest first."""
    untagged_days: int
    shared: bool = False
    """Whether the readers may pull."""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, kw_only=True)
class ImagesArgs:
    """Which repositories there are, and what holds for them."""

    repositories: Mapping[str, Repository]
    mirrors: Sequence[str] = ()
    """Public registries that ECR reads without a credential."""
    key: contracts.Key
    """With a replica where there is a second region."""
    boundary: contracts.Boundary
    readers: Sequence[str] = ()
    """Accounts that may pull from the shared repositories."""
    organization: str | None = None
    scanning: str
    """`on_push` or `continuous`."""
    signatures: str
    """`audit` or `enforce`."""
    warning: Sequence[Text] = ()
    """Topics that are told of critical vulnerabilities."""


class Images(Component):
    """Repositories of images in ECR with tags that never move, scanned, encrypted, cleaned up, closed to other accounts.

    Owns the repositories, who outside may pull, their clean-up, how the registry scans and who is told of a critical finding;
    in the second region, where there is one, the same repositories again and the replication that fills them; a cache of
    public registries, with the role that makes its repositories; the signing profile. Never owns an image, a grant to an
    identity of this account, or what refuses an image at the cluster: that is the cluster's admission policy, which trusts
    `outputs.signer`. Whoever pushes signs, `notation sign --plugin com.amazonaws.signer.notation.plugin --id SIGNER IMAGE`,
    for which it needs `signer:SignPayload`. Whoever pulls through the cache first needs `ecr:BatchImportUpstreamImage` and
    `ecr:CreateRepository`, and a route to the internet even so ("Sync an upstream registry", considerations); afterwards the
    private endpoint does.

    Replicas are repositories of ours and not ones that a replication makes: those would have AWS's key and tags that move,
    and would outlive a destroy. The cache's repositories are made by ECR, and a destroy leaves them: they are deleted with
    `aws ecr delete-repository --force`, or by age but for their shells.

    Costs a month (us-east-1, 2024-07): 0.10 USD a GB, a replica as much again and the transfer between regions; scanning on
    push nothing, continuous scanning by image (Amazon Inspector); signing nothing. A destroy in a tier that deletes takes the
    images along; elsewhere it is refused. The name of a signing profile is never free again, hence the provider's suffix.

    >>> args = ImagesArgs(
    ...     repositories={"training": Repository(keep=20, untagged_days=7)}, mirrors=["registry.k8s.io"], key=key,
    ...     boundary=boundary, scanning="on_push", signatures="audit",
    ... )
    >>> sorted(Images("images", args, scope=scope, parent=parent).outputs.mirrors)
    ['registry.k8s.io']
    """

    outputs: contracts.Images

    def __init__(self, name: str, args: ImagesArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the repositories, the cache and the signing profile."""
        super().__init__(name, scope, parent)
        self._args = args
        self._namespace = f"{scope.names.prefix}-{scope.names.environment}"
        self._host = f"{scope.account}.dkr.ecr.{scope.region}.amazonaws.com"
        scanned = self._scanning(replica=False)
        second = scope.replica_region
        copies: list[pulumi.Resource] = []
        if second and args.repositories:
            copies = [self._repository(repository, replica=True)[0] for repository in args.repositories]
            copies += [self._replication(second, copies), self._scanning(replica=True)]
        profile = aws.signer.SigningProfile(
            f"{name}-signer",
            # Letters, digits and underscores. "Signing profile names are immutable and cannot be reused after canceled."
            name_prefix=scope.names.of(name, "signing_profile").replace("-", "_") + "_",
            platform_id="Notation-OCI-SHA384-ECDSA",
            signature_validity_period={"type": "MONTHS", "value": _SIGNED_MONTHS},
            opts=self.options(),
        )
        addresses: dict[str, Text] = {}
        for repository in args.repositories:
            made, parts = self._repository(repository)
            # ECR copies what is pushed once replication is there, and nothing from before.
            addresses[repository] = after(made.repository_url, *parts, *copies, scanned)
        self.outputs = contracts.Images(
            repositories=addresses, mirrors=self._mirrors(), signer=profile.arn, signatures=args.signatures
        )
        self.finish(self.outputs)

    def _repository(
        self, repository: str, *, replica: bool = False
    ) -> tuple[aws.ecr.Repository, Sequence[pulumi.Resource]]:
        """A repository, and what makes it fit for use; a `replica` lies in the second region."""
        args, spec = self._args, self._args.repositories[repository]
        label = f"{self.name}-{repository}{'-replica' if replica else ''}"
        made = aws.ecr.Repository(
            f"{label}-repository",
            name=f"{self._namespace}/{repository}",
            image_tag_mutability="IMMUTABLE",
            image_scanning_configuration={"scan_on_push": True},
            encryption_configurations=[
                {"encryption_type": "KMS", "kms_key": args.key.replica if replica else args.key.id}
            ],
            force_delete=self.scope.deletable,
            tags=dict(spec.tags),
            opts=self.options(holds_data=True, replica=replica),
        )
        policy = aws.ecr.RepositoryPolicy(
            f"{label}-policy",
            repository=made.name,
            policy=pulumi.Output.json_dumps(self._policy(args.readers if spec.shared else ())),
            opts=self.options(replica=replica),
        )
        lifecycle = aws.ecr.LifecyclePolicy(
            f"{label}-lifecycle",
            repository=made.name,
            policy=pulumi.Output.json_dumps(
                clean_up(keep=spec.keep, untagged_days=None if args.signatures == "enforce" else spec.untagged_days)
            ),
            opts=self.options(replica=replica),
        )
        return made, (policy, lifecycle)

    def _policy(self, readers: Sequence[str]) -> iam.Document:
        """Who of another account may pull: `readers`. Whoever is of this one has its own grant."""
        account = self.scope.account
        others = iam.both(
            iam.outsiders(account, self._args.organization),
            {"StringNotEquals": {"aws:PrincipalAccount": [account, *readers]}},
        )
        # A repository's policy knows no resource: it is the repository.
        statements = [
            iam.deny(["ecr:*"], sid="OnlyInsiders", principals="*", when=others),
            # Lambda reads an image in its own name, and writes itself into the policy where that does not let it ("Create a
            # Lambda function using a container image").
            iam.allow(
                ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
                sid="LambdaPulls",
                principals={"Service": "lambda.amazonaws.com"},
                when={
                    "ArnLike": {
                        "aws:SourceArn": f"arn:aws:lambda:{self.scope.region}:{account}:function:{self.scope.names.of('*')}"
                    }
                },
            ),
        ]
        if readers:
            principals = {"AWS": [f"arn:aws:iam::{reader}:root" for reader in readers]}
            statements.append(iam.allow(_PULL, sid="ReadersPull", principals=principals))
        return iam.document(*statements)

    def _replication(self, region: str, copies: Sequence[pulumi.Resource]) -> pulumi.Resource:
        """Copies of what is pushed, into repositories that are already there with key, policy and clean-up of ours."""
        rule: aws.ecr.ReplicationConfigurationReplicationConfigurationRuleArgsDict = {
            "destinations": [{"region": region, "registry_id": self.scope.account}],
            "repository_filters": [{"filter": f"{self._namespace}/", "filter_type": "PREFIX_MATCH"}],
        }
        return aws.ecr.ReplicationConfiguration(
            f"{self.name}-replication",
            replication_configuration={"rules": [rule]},
            opts=self.options(depends_on=copies),
        )

    def _scanning(self, *, replica: bool) -> pulumi.Resource:
        """How the registry of a region scans, and who is told."""
        args, label = self._args, f"{self.name}{'-replica' if replica else ''}"
        kind, frequency = _SCANNING[args.scanning]
        everything: aws.ecr.RegistryScanningConfigurationRuleRepositoryFilterArgsDict = {
            "filter": "*",
            "filter_type": "WILDCARD",
        }
        scanning = aws.ecr.RegistryScanningConfiguration(
            f"{label}-scanning",
            scan_type=kind,
            rules=[{"scan_frequency": frequency, "repository_filters": [everything]}],
            opts=self.options(replica=replica),
        )
        if replica:
            # The same images; the topics are in the first region.
            return scanning
        rule = aws.cloudwatch.EventRule(
            f"{label}-critical",
            name=self.scope.names.of(f"{self.name}-critical", "event_rule"),
            description="A critical vulnerability was found in an image.",
            event_pattern=pulumi.Output.json_dumps(finding(args.scanning)),
            opts=self.options(),
        )
        for i, topic in enumerate(args.warning):
            aws.cloudwatch.EventTarget(
                f"{label}-critical-{i}", rule=rule.name, target_id=f"warning-{i}", arn=topic, opts=self.options()
            )
        return scanning

    def _mirrors(self) -> dict[str, Text]:
        """The cache of public registries: where to pull in place of each."""
        args, scope = self._args, self.scope
        if not args.mirrors:
            return {}
        prefixes = {
            # `registry.k8s.io` to `registry-k8s-io`.
            mirror: scope.names.of(mirror.replace(".", "-"), "pull_through")
            for mirror in args.mirrors
        }
        at = f"arn:aws:ecr:{scope.region}:{scope.account}:repository"
        creator = Workload(
            f"{self.name}-mirrors",
            WorkloadArgs(
                description="Makes the repositories of mirrored images.",
                service="ecr.amazonaws.com",
                statements=[
                    iam.allow(_CREATE, [f"{at}/{prefix}/*" for prefix in prefixes.values()]),
                    iam.allow(_GRANT, [args.key.id], when=iam.via(scope.region, "ecr")),
                ],
                boundary=args.boundary,
            ),
            scope=scope,
            parent=self,
        )
        return {mirror: self._mirror(mirror, prefix, creator.outputs.id) for mirror, prefix in prefixes.items()}

    def _mirror(self, mirror: str, prefix: str, role: Text) -> Text:
        label = f"{self.name}-{mirror.replace('.', '-')}"
        expiry = _rule(1, "Come back with the next pull.", "any", "sinceImagePushed", _MIRRORED_DAYS)
        template = aws.ecr.RepositoryCreationTemplate(
            f"{label}-template",
            prefix=prefix,
            description=f"Images of {mirror}.",
            applied_fors=["PULL_THROUGH_CACHE"],
            custom_role_arn=role,
            encryption_configurations=[{"encryption_type": "KMS", "kms_key": self._args.key.id}],
            # Upstream moves its tags.
            image_tag_mutability="MUTABLE",
            repository_policy=pulumi.Output.json_dumps(self._policy(())),
            lifecycle_policy=pulumi.Output.json_dumps({"rules": [expiry]}),
            # The provider's default tags do not reach what ECR makes.
            resource_tags=dict(self.scope.tags),
            opts=self.options(),
        )
        cache = aws.ecr.PullThroughCacheRule(
            f"{label}-mirror",
            ecr_repository_prefix=prefix,
            upstream_registry_url=mirror,
            # The first pull after this makes a repository, as the template says.
            opts=self.options(depends_on=[template]),
        )
        return after(f"{self._host}/{prefix}", cache)


def clean_up(*, keep: int, untagged_days: int | None) -> dict[str, Any]:
    """The clean-up of a repository; `untagged_days` is None where an image must have a signature to start.

    A signature is an image without a tag, so by age it would go too. ECR deletes it with the image that it signs.

    >>> [rule["selection"]["tagStatus"] for rule in clean_up(keep=50, untagged_days=14)["rules"]]
    ['untagged', 'tagged']
    """
    rules: list[dict[str, Any]] = []
    if untagged_days is not None:
        rules.append(_rule(1, "Nobody can name them.", "untagged", "sinceImagePushed", untagged_days))
    rules.append(_rule(2, "The newest stay.", "tagged", "imageCountMoreThan", keep))
    return {"rules": rules}


def _rule(priority: int, description: str, status: str, count: str, number: int) -> dict[str, Any]:
    """A rule of a lifecycle policy ("Lifecycle policy properties in Amazon ECR")."""
    selection: dict[str, Any] = {"tagStatus": status, "countType": count, "countNumber": number}
    if status == "tagged":
        selection["tagPatternList"] = ["*"]
    if count == "sinceImagePushed":
        selection["countUnit"] = "days"
    return {
        "rulePriority": priority,
        "description": description,
        "selection": selection,
        "action": {"type": "expire"},
    }


def finding(scanning: str) -> dict[str, Any]:
    """The event of a critical finding, as the scanner sends it.

    Sources: "Amazon ECR events and EventBridge"; Amazon Inspector "EventBridge schema".

    >>> finding("on_push")["source"], finding("continuous")["source"]
    (['aws.ecr'], ['aws.inspector2'])
    """
    if scanning == "on_push":
        return {
            "source": ["aws.ecr"],
            "detail-type": ["ECR Image Scan"],
            "detail": {
                "scan-status": ["COMPLETE"],
                "finding-severity-counts": {"CRITICAL": [{"numeric": [">", 0]}]},
            },
        }
    return {
        "source": ["aws.inspector2"],
        "detail-type": ["Inspector2 Finding"],
        "detail": {
            "severity": ["CRITICAL"],
            "status": ["ACTIVE"],
            "resources": {"type": ["AWS_ECR_CONTAINER_IMAGE"]},
        },
    }
