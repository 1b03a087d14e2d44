"""Registries of images: our own, and what is read through them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.contracts import Text
from components.core.google import agent, labels, nth
from components.scope import Component, Scope, after
from components.spec.foundation import Persona

_API, _KMS, _ATTEST = "artifactregistry.googleapis.com", "cloudkms.googleapis.com", "containeranalysis.googleapis.com"
_SCAN = "containerscanning.googleapis.com"
_DAY = 86_400
_MIRRORED_DAYS = 90
"""Days after which a mirrored image is deleted; the next pull brings it back."""
_HUB = "docker.io"
# What Binary Authorization does with an image without an attestation ("Policy YAML reference", enforcementMode).
_MODES: Mapping[str, str] = {"audit": "DRYRUN_AUDIT_LOG_ONLY", "enforce": "ENFORCED_BLOCK_AND_AUDIT_LOG"}
# Reads and writes, and deletes nothing ("Artifact Registry roles"): what an image was that trained a model can be looked up.
_PUSHES = "roles/artifactregistry.writer"
# What it takes to attest, and on what ("Create attestations", Binary Authorization).
_ON_KEY = "roles/cloudkms.signerVerifier"
_ON_NOTE = "roles/containeranalysis.notes.attacher"
_ON_ATTESTOR = "roles/binaryauthorization.attestorsViewer"
_ON_PROJECT = "roles/containeranalysis.occurrences.editor"


@dataclass(frozen=True, kw_only=True)
class Repository:
    """One repository."""

    untagged_days: int
    shared: bool = False
    """Whether the readers may pull."""
    writers: Mapping[Persona, str] = field(default_factory=dict[Persona, str])
    """Who of our people may push: persona to the address of its group."""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, kw_only=True)
class ImagesArgs:
    """Which repositories there are, and what holds for them."""

    apis: Mapping[str, contracts.Text]
    number: str
    """Number of the project."""
    repositories: Mapping[str, Repository]
    mirrors: Sequence[str] = ()
    """Public registries that are read without a credential."""
    key: contracts.Key
    multi_region: str | None = None
    """`us`, `europe` or `asia`, where images are kept in more than one region."""
    protection_level: str
    """Of the keys that are made here: `software` or `hsm`."""
    rotation_days: int
    deletion_days: int
    generation: int
    """Which life of the environment this is: the name of a key ring is never free again."""
    readers: Sequence[str] = ()
    """Service accounts of other projects that may pull from the shared repositories."""
    signers: Sequence[Text] = ()
    """Service accounts that attest images."""
    signatures: str
    """`audit` or `enforce`."""


class Images(Component):
    """Repositories of images with tags that never move, scanned, encrypted, cleaned up; and who has to vouch for an image.

    Owns the repositories, what other projects may pull and our people push, the clean-up, remote repositories that cache
    public registries; the key that attestations are signed with, the note and the attestor, who may attest, and the project's
    policy of Binary Authorization. Never owns an image, a grant to an identity that pulls here, or the cluster: that asks for
    the project's policy (`PROJECT_SINGLETON_POLICY_ENFORCE`). Google's own images are let through by Google's list, those of
    the mirrors by their path, everything else by an attestation.

    Artifact Registry copies nothing to a second region. Where there is one, a repository therefore lies in the continent's
    multi-region, which outlives a region, under a key there: one more than the domains have. In a repository whose tags cannot
    move no image with a tag can be deleted ("Update repository settings"), so the clean-up takes those without.

    No resource tells the public half of a key, so once, after the first deployment, and after each new version of the key:
    `gcloud container binauthz attestors public-keys add --attestor=ATTESTOR --keyversion=VERSION`. Until then no image is
    attested.

    Costs a month (us-central1): 0.10 USD a GB above the first half (2024-07), scanning by image, a key version 0.06 USD, or
    2.50 in an HSM for one that signs and 1 for one that encrypts (2024-07). A destroy in a tier that deletes takes the images
    along; elsewhere it is refused. The policy falls back to Google's, which lets everything start.

    >>> Repository(untagged_days=14).shared
    False
    """

    outputs: contracts.Images

    def __init__(self, name: str, args: ImagesArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the repositories, the mirrors and the policy."""
        super().__init__(name, scope, parent)
        self._args = args
        self._location = args.multi_region or scope.region
        # What is pushed before the API for scanning is on is not scanned.
        self._scanned = pulumi.Output.all(args.apis[_API], args.apis[_SCAN]).apply(lambda known: str(known[0]))
        self._key = self._copy_key(args.multi_region) if args.multi_region else args.key.id
        repositories = {repository: self._repository(repository) for repository in args.repositories}
        mirrors = {mirror: self._mirror(mirror) for mirror in args.mirrors}
        attestor, policy = self._policy(list(mirrors.values()))
        self.outputs = contracts.Images(
            repositories=repositories,
            mirrors=mirrors,
            signer=after(attestor.id, policy),
            signatures=args.signatures,
        )
        self.finish(self.outputs)

    def _copy_key(self, location: str) -> Text:
        """The key of the images' own location; its id once Artifact Registry may use it."""
        args, scope = self._args, self.scope
        key = gcp.kms.CryptoKey(
            f"{self.name}-key",
            name=scope.names.of(self.name, "compute"),
            key_ring=self._ring("key-ring", location).id,
            purpose="ENCRYPT_DECRYPT",
            rotation_period=f"{args.rotation_days * _DAY}s",
            destroy_scheduled_duration=f"{args.deletion_days * _DAY}s",
            version_template={
                "algorithm": "GOOGLE_SYMMETRIC_ENCRYPTION",
                "protection_level": args.protection_level.upper(),
            },
            opts=self.options(holds_data=True),
        )
        grant = gcp.kms.CryptoKeyIAMMember(
            f"{self.name}-key-artifactregistry",
            crypto_key_id=key.id,
            role="roles/cloudkms.cryptoKeyEncrypterDecrypter",
            # The agent is there once the domain's key may be used by it.
            member=pulumi.Output.all(agent(_API, args.number), args.key.id).apply(lambda known: str(known[0])),
            opts=self.options(),
        )
        return after(key.id, grant)

    def _ring(self, label: str, location: str) -> gcp.kms.KeyRing:
        args = self._args
        return gcp.kms.KeyRing(
            f"{self.name}-{label}",
            name=self.scope.names.of(nth(f"{self.name}-{label}", args.generation), "compute"),
            location=location,
            project=args.apis[_KMS],
            opts=self.options(holds_data=True),
        )

    def _address(self, repository: gcp.artifactregistry.Repository) -> Text:
        return pulumi.Output.concat(f"{self._location}-docker.pkg.dev/{self.scope.account}/", repository.repository_id)

    def _repository(self, repository: str) -> Text:
        """The address of a repository, once those who may pull can."""
        args, spec, label = self._args, self._args.repositories[repository], f"{self.name}-{repository}"
        made = gcp.artifactregistry.Repository(
            f"{label}-repository",
            repository_id=self.scope.names.of(f"image-{repository}", "compute"),
            description=f"Images: {repository}.",
            format="DOCKER",
            mode="STANDARD_REPOSITORY",
            location=self._location,
            project=self._scanned,
            kms_key_name=self._key,
            docker_config={"immutable_tags": True},
            # As the project has it, and there the API for it is on.
            vulnerability_scanning_config={"enablement_config": "INHERITED"},
            cleanup_policy_dry_run=False,
            cleanup_policies=[
                {
                    "id": "drop-untagged",
                    "action": "DELETE",
                    "condition": {"tag_state": "UNTAGGED", "older_than": f"{spec.untagged_days * _DAY}s"},
                }
            ],
            labels=labels(spec.tags),
            opts=self.options(holds_data=True),
        )
        grants = [
            gcp.artifactregistry.RepositoryIamMember(
                f"{label}-{reader}",
                project=args.apis[_API],
                location=self._location,
                repository=made.name,
                role="roles/artifactregistry.reader",
                member=f"serviceAccount:{reader}",
                opts=self.options(),
            )
            for reader in (args.readers if spec.shared else ())
        ]
        grants += [
            gcp.artifactregistry.RepositoryIamMember(
                f"{label}-{persona}",
                project=args.apis[_API],
                location=self._location,
                repository=made.name,
                role=_PUSHES,
                member=f"group:{group}",
                opts=self.options(),
            )
            for persona, group in spec.writers.items()
        ]
        return after(self._address(made), *grants)

    def _mirror(self, mirror: str) -> Text:
        """The address in place of a public registry."""
        args, dashed = self._args, mirror.replace(".", "-")
        upstream: gcp.artifactregistry.RepositoryRemoteRepositoryConfigDockerRepositoryArgsDict = (
            {"public_repository": "DOCKER_HUB"}
            if mirror == _HUB
            else {"custom_repository": {"uri": f"https://{mirror}"}}
        )
        made = gcp.artifactregistry.Repository(
            f"{self.name}-{dashed}-mirror",
            repository_id=self.scope.names.of(f"mirror-{dashed}", "compute"),
            description=f"Images of {mirror}.",
            format="DOCKER",
            mode="REMOTE_REPOSITORY",
            location=self._location,
            project=args.apis[_API],
            kms_key_name=self._key,
            remote_repository_config={"description": mirror, "docker_repository": upstream},
            vulnerability_scanning_config={"enablement_config": "INHERITED"},
            cleanup_policy_dry_run=False,
            cleanup_policies=[
                {"id": "drop-old", "action": "DELETE", "condition": {"older_than": f"{_MIRRORED_DAYS * _DAY}s"}}
            ],
            # What upstream takes away stays here as long as it is in use.
            opts=self.options(holds_data=True),
        )
        return self._address(made)

    def _policy(
        self, mirrors: Sequence[Text]
    ) -> tuple[gcp.binaryauthorization.Attestor, gcp.binaryauthorization.Policy]:
        """Who vouches for images, and what happens to those for which nobody does."""
        args, scope, label = self._args, self.scope, f"{self.name}-signer"
        project = args.apis["binaryauthorization.googleapis.com"]
        key = gcp.kms.CryptoKey(
            f"{label}-key",
            name=scope.names.of(label, "compute"),
            key_ring=self._ring("signer-ring", scope.region).id,
            purpose="ASYMMETRIC_SIGN",
            destroy_scheduled_duration=f"{args.deletion_days * _DAY}s",
            version_template={
                "algorithm": "EC_SIGN_P256_SHA256",
                "protection_level": args.protection_level.upper(),
            },
            opts=self.options(holds_data=True),
        )
        note = gcp.containeranalysis.Note(
            f"{label}-note",
            name=scope.names.of(label, "compute"),
            short_description=f"Images that {scope.environment} runs.",
            project=args.apis[_ATTEST],
            attestation_authority={"hint": {"human_readable_name": scope.names.of(label)}},
            opts=self.options(),
        )
        attestor = gcp.binaryauthorization.Attestor(
            label,
            name=scope.names.of(label, "compute"),
            description=f"Vouches for images that {scope.environment} runs.",
            project=project,
            attestation_authority_note={"note_reference": note.name},
            # Added with a command, since no resource tells the public half of a key.
            opts=self.options(depends_on=[key], ignore_changes=["attestationAuthorityNote.publicKeys"]),
        )
        for i, signer in enumerate(args.signers):
            self._signer(f"{label}-{i}", pulumi.Output.concat("serviceAccount:", signer), key, note, attestor)
        policy = gcp.binaryauthorization.Policy(
            f"{self.name}-policy",
            project=project,
            description=f"Images of {scope.environment} need an attestation.",
            # Images of Google's own that a cluster of GKE is made of.
            global_policy_evaluation_mode="ENABLE",
            # Two asterisks match slashes too.
            admission_whitelist_patterns=[{"name_pattern": pulumi.Output.concat(mirror, "/**")} for mirror in mirrors],
            default_admission_rule={
                "evaluation_mode": "REQUIRE_ATTESTATION",
                "enforcement_mode": _MODES[args.signatures],
                "require_attestations_bies": [attestor.id],
            },
            opts=self.options(),
        )
        return attestor, policy

    def _signer(
        self,
        label: str,
        member: Text,
        key: gcp.kms.CryptoKey,
        note: gcp.containeranalysis.Note,
        attestor: gcp.binaryauthorization.Attestor,
    ) -> None:
        """All that it takes to attest."""
        args = self._args
        gcp.kms.CryptoKeyIAMMember(
            f"{label}-key", crypto_key_id=key.id, role=_ON_KEY, member=member, opts=self.options()
        )
        gcp.containeranalysis.NoteIamMember(
            f"{label}-note",
            project=args.apis[_ATTEST],
            note=note.name,
            role=_ON_NOTE,
            member=member,
            opts=self.options(),
        )
        gcp.binaryauthorization.AttestorIamMember(
            f"{label}-attestor",
            project=args.apis["binaryauthorization.googleapis.com"],
            attestor=attestor.name,
            role=_ON_ATTESTOR,
            member=member,
            opts=self.options(),
        )
        gcp.projects.IAMMember(
            f"{label}-project",
            project=args.apis["cloudresourcemanager.googleapis.com"],
            role=_ON_PROJECT,
            member=member,
            opts=self.options(),
        )
