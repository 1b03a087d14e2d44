"""What a component hands on, the same on each cloud: typed handles, never another component's internals.

Every output is usable when it resolves: it passes through the grant, the API or the policy that makes it so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pulumi

Domain = Literal["data", "models", "logs", "secrets", "compute"]
Text = pulumi.Output[str]


@dataclass(frozen=True, kw_only=True)
class Isolation:
    """The account or project, fenced."""

    account: Text
    """Account id or project id."""
    apis: Mapping[str, Text]
    """Google Cloud: service name (`cloudkms.googleapis.com`) to the project id, which resolves once it is on. Empty on AWS."""


@dataclass(frozen=True, kw_only=True)
class Key:
    """A customer-managed key."""

    id: Text
    """AWS: key ARN. Google Cloud: `projects/…/cryptoKeys/…`; resolves once the service agents may use it."""
    replica: Text | None
    """AWS: ARN of its replica in the second region, where there is one. Google Cloud: a key there, where one is needed."""


@dataclass(frozen=True, kw_only=True)
class Keys:
    """One key a domain."""

    domains: Mapping[Domain, Key]


@dataclass(frozen=True, kw_only=True)
class Boundary:
    """What no identity of the environment may exceed."""

    id: Text | None
    """AWS: ARN of the permission boundary. Google Cloud: name of the deny policy; None where no organisation is given."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The identity of one workload."""

    id: Text
    """AWS: role ARN. Google Cloud: e-mail of the service account. Resolves once its permissions are attached."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """A private network."""

    id: Text
    workload_subnets: Sequence[Text]
    """AWS: one a zone. Google Cloud: one, regional."""
    data_subnets: Sequence[Text]
    cidr: str


@dataclass(frozen=True, kw_only=True)
class Storage:
    """One storage zone."""

    name: Text
    """Bucket name; resolves once nothing public can reach it and it is encrypted."""
    uri: Text
    """`s3://…` or `gs://…`."""
    resource: Text
    """What a grant names: the bucket's ARN, or its name on Google Cloud."""


@dataclass(frozen=True, kw_only=True)
class Notifications:
    """Where everything alarms to. Each a list of what an alarm takes: topic ARNs, or names of notification channels."""

    critical: Sequence[Text]
    warning: Sequence[Text]
    cost: Sequence[Text]
    cost_topic: Text
    """SNS topic ARN or Pub/Sub topic id that budgets publish to; resolves once they may."""


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """The environment's secrets by name."""

    ids: Mapping[str, Text]
    """Secret ARN, or `projects/…/secrets/…`. Never a value."""


@dataclass(frozen=True, kw_only=True)
class Personas:
    """The roles of people, by persona."""

    roles: Mapping[str, Text]
    """AWS: role ARN. Google Cloud: id of the custom role."""


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """The identities of the continuous integration."""

    provider: Text
    """OpenID Connect provider ARN, or name of the workload identity pool provider."""
    preview: Text
    """Read-only: role ARN or service account."""
    deploy: Text
    """May change the environment; only the protected GitHub environment can become it."""


@dataclass(frozen=True, kw_only=True)
class Budgets:
    """Budgets by what they watch: the environment, and each team with a share."""

    names: Mapping[str, Text]


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Everything that was built on one cloud."""

    region: str
    isolation: Isolation
    keys: Keys
    network: Network
    storage: Mapping[str, Storage]
    secrets: Secrets
    personas: Personas
    delivery: Delivery | None
    notifications: Notifications
    budgets: Budgets

    def exports(self) -> dict[str, Any]:
        """The stack's outputs for this cloud: what people and other programs need to find their way. No secret is in it."""
        return {
            "account": self.isolation.account,
            "region": self.region,
            "keys": {domain: key.id for domain, key in self.keys.domains.items()},
            "network": {
                "id": self.network.id,
                "cidr": self.network.cidr,
                "workload_subnets": list(self.network.workload_subnets),
                "data_subnets": list(self.network.data_subnets),
            },
            "storage": {zone: bucket.uri for zone, bucket in self.storage.items()},
            "secrets": dict(self.secrets.ids),
            "personas": dict(self.personas.roles),
            "delivery": {"preview": self.delivery.preview, "deploy": self.delivery.deploy} if self.delivery else {},
            "notifications": {
                "critical": list(self.notifications.critical),
                "warning": list(self.notifications.warning),
            },
            "budgets": dict(self.budgets.names),
        }
