"""Where the platform runs and what it stands on: clouds, network, keys, identities, secrets, protection."""

from datetime import date
from ipaddress import IPv4Network
from typing import Annotated, Literal

from pydantic import Field

from components.spec.section import CloudName, Email, Percent, Secret, Section

# The retention periods that CloudWatch Logs knows (API reference, PutRetentionPolicy), from a day to ten years.
LogDays = Literal[
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653
]

Persona = Literal["data-scientist", "ml-engineer", "platform-admin", "auditor"]


class Company(Section):
    """Whose platform it is."""

    prefix: Annotated[str, Field(pattern=r"^[a-z](-?[a-z0-9])+$", min_length=3, max_length=20)] = Field(
        description="First part of every physical name. Bucket names are unique in the world, so let it name the company."
    )
    owner: Email = Field(description="Who answers for the platform; a tag on every resource.")
    cost_center: Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,63}$")] = Field(
        default="unassigned", description="A tag on every resource, to split the bill by."
    )


class Team(Section):
    """A group of people with a share of the budget."""

    owner: Email = Field(description="Receives the warnings of the team's budget.")
    cost_center: Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,63}$")] | None = Field(
        default=None, description="Where it differs from the platform's."
    )
    budget_percent: Percent | None = Field(
        default=None, description="Share of the environment's monthly budget; no budget of its own where left out."
    )


class Aws(Section):
    """An AWS account that holds one environment and nothing else."""

    account: Annotated[str, Field(pattern=r"^\d{12}$")] = Field(description="Account id: twelve digits, in quotes.")
    region: str = Field(description="Region of everything but the replicas.")
    replica_region: str | None = Field(
        default=None, description="Second region of what is replicated; by default one in the same jurisdiction."
    )
    assume_role: Annotated[str, Field(pattern=r"^arn:aws:iam::\d{12}:role/[\w+=,.@/-]+$")] | None = Field(
        default=None, description="Role that Pulumi assumes to deploy; without it, the caller's own credentials."
    )
    organization: Annotated[str, Field(pattern=r"^o-[a-z0-9]{10,32}$")] | None = Field(
        default=None, description="AWS Organization; data then refuses every principal from outside it."
    )


class Gcp(Section):
    """A Google Cloud project that holds one environment and nothing else."""

    project: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{4,28}[a-z0-9]$")] = Field(description="Project id.")
    number: Annotated[str, Field(pattern=r"^\d{6,19}$")] = Field(description="Project number, in quotes.")
    region: str = Field(description="Region of everything but the replicas.")
    replica_region: str | None = Field(
        default=None, description="Second region of what is replicated; by default one in the same jurisdiction."
    )
    billing_account: Annotated[str, Field(pattern=r"^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$")] = Field(
        description="Billing account that the budgets live on."
    )
    impersonate: Annotated[str, Field(pattern=r"^[a-z0-9-]+@[a-z0-9.-]+\.iam\.gserviceaccount\.com$")] | None = Field(
        default=None, description="Service account that Pulumi deploys as; without it, the caller's own credentials."
    )
    organization: Annotated[str, Field(pattern=r"^\d{6,19}$")] | None = Field(
        default=None, description="Organisation number; organisation policies are set on the project where it is given."
    )
    access_policy: Annotated[str, Field(pattern=r"^\d{6,19}$")] | None = Field(
        default=None, description="Access policy number; a VPC Service Controls perimeter is drawn where it is given."
    )
    generation: Annotated[int, Field(ge=1, le=99)] = Field(
        default=1,
        description="Raise it by one to build again after a destroy: Google never frees the name of a key ring, and that"
        " of a custom role or an identity pool only after weeks.",
    )


class Clouds(Section):
    """Where the environment runs: on AWS, on Google Cloud, or on both."""

    aws: Aws | None = Field(default=None, description="The environment's AWS account.")
    gcp: Gcp | None = Field(default=None, description="The environment's Google Cloud project.")

    @property
    def names(self) -> tuple[CloudName, ...]:
        """The clouds that are there."""
        found: list[CloudName] = []
        if self.aws:
            found.append("aws")
        if self.gcp:
            found.append("gcp")
        return tuple(found)


class Network(Section):
    """A private network. Shared by no two environments."""

    cidr: IPv4Network = Field(description="IPv4 range, disjoint from that of every other environment.")
    zones: Annotated[int, Field(ge=1, le=6)] | Annotated[list[str], Field(min_length=1, max_length=6)] = Field(
        description="How many zones, or which: zone ids on AWS (usw2-az1), zone names on Google Cloud (us-central1-a)."
    )
    nat: Literal["none", "single", "per_zone"] = Field(
        description="Way out to the internet. Google's NAT is regional: there `single` and `per_zone` are the same."
    )
    egress: Literal["open", "deny"] = Field(
        description="`deny`: workloads reach the network itself and the cloud's own APIs; the rest is named in `allow`."
    )
    allow: list[IPv4Network] = Field(
        default=[], description="With `egress: deny`: ranges that workloads may reach (443)."
    )
    flow_logs: bool = Field(default=True, description="Record every flow for as long as `logs.retention_days`.")
    private_services: list[Annotated[str, Field(pattern=r"^[a-z][a-z0-9.-]*$")]] | None = Field(
        default=None, description="AWS: interface endpoints in place of the default list (each costs by zone and hour)."
    )
    perimeter: Literal["off", "dry_run", "enforced"] = Field(
        description="Google Cloud: VPC Service Controls around the project. Start with `dry_run`."
    )


class Keys(Section):
    """Customer-managed keys: one a domain (data, models, logs, secrets, compute)."""

    protection_level: Literal["software", "hsm"] = Field(
        description="Google Cloud: where keys live. On AWS every key lives in an HSM."
    )
    rotation_days: Annotated[int, Field(ge=90, le=365)] = Field(
        description="Days between rotations; 90 is the most that CIS allows on Google Cloud and the least on AWS."
    )
    deletion_days: Annotated[int, Field(ge=7, le=30)] = Field(
        description="Days in which a deleted key can be had back."
    )


class Logs(Section):
    """Operational logs: flows, functions."""

    retention_days: LogDays = Field(description="Days that operational logs are kept.")


class Protection(Section):
    """What a destroy does to what holds data."""

    data: Literal["delete", "protect", "retain"] = Field(
        description="`delete`: goes with the stack, contents and all; `protect`: Pulumi refuses to delete it;"
        " `retain`: refused, and kept in the cloud even when it leaves the program."
    )


class PersonaAccess(Section):
    """How the people of a persona sign in."""

    permission_set: Annotated[str, Field(pattern=r"^[\w+=,.@-]{1,32}$")] | None = Field(
        default=None, description="AWS: the permission set of IAM Identity Center whose holders may assume the role."
    )
    group: Email | None = Field(
        default=None, description="Google Cloud: the group that is granted the persona's roles."
    )


class Identity(Section):
    """People. Workloads have their own identities, each beside what it runs."""

    personas: dict[Persona, PersonaAccess] = Field(description="How each persona signs in.")
    session_hours: Annotated[int, Field(ge=1, le=12)] = Field(description="Longest session of a person, in hours.")


class GeneratedSecret(Section):
    """A random value that the platform makes and rotates; it never passes through Pulumi."""

    kind: Literal["generated"]
    length: Annotated[int, Field(ge=16, le=128)] = Field(default=48, description="Characters.")
    rotation_days: Annotated[int, Field(ge=1, le=365)] = Field(default=30, description="Days between rotations.")
    readers: list[Persona] = Field(
        default=[], description="Personas that may read the value; workloads are granted apart."
    )


class ProvidedSecret(Section):
    """A value that somebody else issued, such as a token of a model hub."""

    kind: Literal["provided"]
    value: Secret | None = Field(
        default=None,
        description="Encrypted, by `pulumi config set --secret --path`; without it a person adds the value.",
    )
    readers: list[Persona] = Field(
        default=[], description="Personas that may read the value; workloads are granted apart."
    )


SecretSpec = Annotated[GeneratedSecret | ProvidedSecret, Field(discriminator="kind")]


class GitHub(Section):
    """The repository whose workflows preview and deploy, without a key, by OpenID Connect."""

    repository: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")] = Field(description="owner/name.")
    owner_id: Annotated[str, Field(pattern=r"^\d+$")] | None = Field(
        default=None, description="Number of the owner, in quotes: `gh api repos/OWNER/NAME --jq .owner.id`."
    )
    repository_id: Annotated[str, Field(pattern=r"^\d+$")] | None = Field(
        default=None, description="Number of the repository, in quotes: `gh api repos/OWNER/NAME --jq .id`."
    )
    environment: Annotated[str, Field(pattern=r"^[\w-]+$")] | None = Field(
        default=None, description="Protected GitHub environment that alone may deploy; by default the stack's name."
    )

    @property
    def subject(self) -> str:
        """How the subject of a workflow's token names the repository.

        With both numbers for every repository that was made, renamed or moved since 2026-07-15, so that nobody comes in by
        taking over a name ("OpenID Connect", GitHub Docs, immutable subject claims).
        """
        if self.owner_id is None:
            return self.repository
        owner, name = self.repository.split("/")
        return f"{owner}@{self.owner_id}/{name}@{self.repository_id}"


class Delivery(Section):
    """How changes reach the environment."""

    github: GitHub | None = Field(default=None, description="CI roles are made where it is given.")


class Waiver(Section):
    """A written exception from a rule."""

    rule: str = Field(description="Id of the rule.")
    resource: str = Field(description="Logical name or URN that it holds for; `*` matches any text.")
    reason: Annotated[str, Field(min_length=10)] = Field(description="Why the rule does not hold here.")
    owner: Email = Field(description="Who answers for it.")
    expires: date = Field(description="Last day on which it holds (YYYY-MM-DD).")


class Policy(Section):
    """Rules that the environment is held to, and the exceptions from them."""

    waivers: list[Waiver] = Field(default=[], description="Written exceptions; an expired one fails.")
