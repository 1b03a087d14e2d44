"""Quotas that the description needs, asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.scope import Component, Scope
from components.spec.quotas import QuotaNeed


@dataclass(frozen=True, kw_only=True)
class QuotasArgs:
    """What is needed, and who answers for it."""

    apis: Mapping[str, contracts.Text]
    needs: Sequence[QuotaNeed]
    contact: str
    """E-mail of whoever Google asks before it grants; has to have `roles/cloudquotas.admin` on the project."""


class Quotas(Component):
    """A preference for each quota that must be at least so high.

    Owns the preferences. Never owns the quota: Google grants it at once, in part, or after days, and nothing here waits for
    that, since a machine that exceeds it fails by itself and is tried again. Costs nothing. A destroy takes nothing back: a
    preference cannot be deleted, the project keeps what it was granted.
    """

    outputs: contracts.Quotas

    def __init__(self, name: str, args: QuotasArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Ask for the quotas."""
        super().__init__(name, scope, parent)
        self._args = args
        self.outputs = contracts.Quotas(requests={_label(need): self._request(need) for need in args.needs})
        self.finish(self.outputs)

    def _request(self, need: QuotaNeed) -> contracts.Text:
        quota, label = need.quota, _label(need)
        preference = gcp.cloudquota.SQuotaPreference(
            f"{self.name}-{label}",
            name=self.scope.names.of(label, "compute"),
            parent=pulumi.Output.concat("projects/", self._args.apis["cloudquotas.googleapis.com"]),
            service=quota.service,
            quota_id=quota.code,
            dimensions={**quota.dimensions, **({"region": self.scope.region} if quota.per == "region" else {})},
            quota_config={"preferred_value": str(need.value)},
            contact_email=self._args.contact,
            justification=f"{self.scope.names.of('training')}: pools {', '.join(sorted(need.needed_by))} at their maximum",
            opts=self.options(),
        )
        return preference.name


def _label(need: QuotaNeed) -> str:
    """What the request is called: the quota, and what it is divided by.

    >>> from components.core.accelerators import GPUS_ALL_REGIONS
    >>> _label(QuotaNeed(quota=GPUS_ALL_REGIONS, value=1, needed_by=()))
    'gpus-all-regions-per-project'
    """
    return "-".join([need.quota.code, *need.quota.dimensions.values()]).lower().replace("_", "-")
