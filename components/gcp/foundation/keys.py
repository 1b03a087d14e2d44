"""Customer-managed keys: one a domain."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.contracts import Domain
from components.core.google import agent, nth
from components.scope import Component, Scope, after

# Services of Google that encrypt with each domain's key, in their own name. Source: Cloud KMS "Compatible services".
_USERS: Mapping[Domain, tuple[str, ...]] = {
    "data": ("storage.googleapis.com",),
    "models": (
        "aiplatform.googleapis.com",
        "artifactregistry.googleapis.com",
        "storage.googleapis.com",
        "workflows.googleapis.com",
    ),
    "logs": ("pubsub.googleapis.com", "storage.googleapis.com"),
    # GKE encrypts the secrets of a cluster with it ("Encrypt secrets at the application layer").
    "secrets": ("container.googleapis.com", "pubsub.googleapis.com", "secretmanager.googleapis.com"),
    # A function's source and image lie with all of these ("Protect your data with CMEK", Cloud Run functions). Disks of a
    # cluster's machines take both compute and container ("Use customer-managed encryption keys", GKE).
    "compute": (
        "aiplatform.googleapis.com",
        "artifactregistry.googleapis.com",
        "cloudfunctions.googleapis.com",
        "compute.googleapis.com",
        "container.googleapis.com",
        "eventarc.googleapis.com",
        "notebooks.googleapis.com",
        "run.googleapis.com",
        "storage.googleapis.com",
    ),
}
# Of them, those that keep something outside of the environment's region.
_ABROAD = ("secretmanager.googleapis.com", "storage.googleapis.com")
# What each of their agents needs to do its work. Google grants it to an agent that it made by itself, and to none that was
# made on request ("Create and grant roles to service agents"). The agents of Cloud Storage and of Compute Engine cannot be made
# on request; the latter comes with its API.
_AGENT_ROLES: Mapping[str, str | None] = {
    "aiplatform.googleapis.com": "roles/aiplatform.serviceAgent",
    "artifactregistry.googleapis.com": "roles/artifactregistry.serviceAgent",
    "cloudfunctions.googleapis.com": "roles/cloudfunctions.serviceAgent",
    "container.googleapis.com": "roles/container.serviceAgent",
    "eventarc.googleapis.com": "roles/eventarc.serviceAgent",
    "notebooks.googleapis.com": "roles/notebooks.serviceAgent",
    "pubsub.googleapis.com": "roles/pubsub.serviceAgent",
    "run.googleapis.com": "roles/run.serviceAgent",
    "secretmanager.googleapis.com": None,
    "workflows.googleapis.com": "roles/workflows.serviceAgent",
}
# Agents that are made where something needs them alone.
_ON_REQUEST: Mapping[str, str | None] = {
    "memorystore.googleapis.com": "roles/memorystore.serviceAgent",
    "sqladmin.googleapis.com": None,
    "vectorsearch.googleapis.com": None,
}
_ROLE = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
_DAY = 86_400


@dataclass(frozen=True, kw_only=True)
class KeysArgs:
    """Where and how long keys live."""

    number: str
    """Number of the project."""
    apis: Mapping[str, contracts.Text]
    protection_level: str
    """`software` or `hsm`."""
    rotation_days: int
    """Days between rotations."""
    deletion_days: int
    """Days in which a destroyed version can be had back."""
    generation: int
    """Which life of the environment this is: the name of a key ring is never free again."""
    users: Mapping[Domain, Sequence[str]] = field(default_factory=dict[Domain, Sequence[str]])
    """Services besides that encrypt with a domain's key, for what this environment has."""
    copies: Mapping[Domain, str]
    """Domains with a second key, and its location: a dual-region of buckets, or the replica region of secrets."""


class Keys(Component):
    """One symmetric key a domain in the region, and a second one where data of the domain lies in another location.

    Owns the key rings, the keys, the service agents of Google's services with their usual roles, and what these agents may
    do with a key. Never owns a grant to an identity of ours: nobody but those services encrypts.

    The agent of Cloud Storage exists once somebody asked for it: `gcloud storage service-agent --project=PROJECT`, before
    the first `pulumi up`. So does that of BigQuery, where requests are captured: `bq show --encryption_service_account`.

    Costs 0.06 USD a month for each version of a software key, 1 USD in an HSM (Cloud KMS prices, 2026-07): a version is
    added with every rotation and stays. A destroy schedules the deletion of every version, which can be cancelled until
    `deletion_days` have passed, and leaves the rings and the keys' names behind, which nobody can delete; hence `generation`.
    In a tier that protects data, a destroy is refused.

    >>> agent("pubsub.googleapis.com", "111111111111")
    'serviceAccount:service-111111111111@gcp-sa-pubsub.iam.gserviceaccount.com'
    """

    outputs: contracts.Keys

    def __init__(self, name: str, args: KeysArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the rings, the keys and the grants."""
        super().__init__(name, scope, parent)
        self._args = args
        asked = {user: _ON_REQUEST[user] for users in args.users.values() for user in users if user in _ON_REQUEST}
        agents = {**_AGENT_ROLES, **asked}
        self._agents = {service: self._agent(service, role) for service, role in agents.items()}
        self._rings = {
            location: gcp.kms.KeyRing(
                f"{name}-{location}",
                name=scope.names.of(nth("keys", args.generation), "compute"),
                location=location,
                project=args.apis["cloudkms.googleapis.com"],
                opts=self.options(holds_data=True),
            )
            for location in sorted({scope.region, *args.copies.values()})
        }
        all_users: dict[Domain, tuple[str, ...]] = {
            domain: (*users, *args.users.get(domain, ())) for domain, users in _USERS.items()
        }
        self.outputs = contracts.Keys(
            domains={
                domain: contracts.Key(
                    id=self._key(domain, domain, scope.region, users),
                    replica=self._copy(domain, users),
                )
                for domain, users in all_users.items()
            }
        )
        self.finish(self.outputs)

    def _agent(self, service: str, role: str | None) -> list[pulumi.Resource]:
        """A service's agent, and its usual role."""
        label = f"{self.name}-agent-{service.removesuffix('.googleapis.com')}"
        identity = gcp.projects.ServiceIdentity(
            label, project=self._args.apis[service], service=service, opts=self.options()
        )
        if role is None:
            return [identity]
        grant = gcp.projects.IAMMember(
            f"{label}-role",
            project=self._args.apis["cloudresourcemanager.googleapis.com"],
            role=role,
            member=agent(service, self._args.number),
            opts=self.options(depends_on=[identity]),
        )
        return [identity, grant]

    def _copy(self, domain: Domain, users: tuple[str, ...]) -> contracts.Text | None:
        location = self._args.copies.get(domain)
        if location is None:
            return None
        return self._key(f"{domain}-copy", domain, location, tuple(user for user in users if user in _ABROAD))

    def _key(self, label: str, domain: Domain, location: str, users: tuple[str, ...]) -> contracts.Text:
        """A key, and its id once all of its users may use it."""
        args = self._args
        key = gcp.kms.CryptoKey(
            f"{self.name}-{label}",
            name=self.scope.names.of(domain, "compute"),
            key_ring=self._rings[location].id,
            purpose="ENCRYPT_DECRYPT",
            rotation_period=f"{args.rotation_days * _DAY}s",
            destroy_scheduled_duration=f"{args.deletion_days * _DAY}s",
            version_template={
                "algorithm": "GOOGLE_SYMMETRIC_ENCRYPTION",
                "protection_level": args.protection_level.upper(),
            },
            opts=self.options(holds_data=True),
        )
        grants = [
            gcp.kms.CryptoKeyIAMMember(
                f"{self.name}-{label}-{user.removesuffix('.googleapis.com')}",
                crypto_key_id=key.id,
                role=_ROLE,
                # A grant to an agent that is not there yet is refused.
                member=args.apis[user].apply(lambda _, user=user: agent(user, args.number)),
                opts=self.options(depends_on=self._agents.get(user, [])),
            )
            for user in users
        ]
        return after(key.id, *grants)
