"""Quotas that the description needs, asked for."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components import contracts
from components.scope import Component, Scope
from components.spec.quotas import QuotaNeed


@dataclass(frozen=True, kw_only=True)
class QuotasArgs:
    """What is needed."""

    needs: Sequence[QuotaNeed]


class Quotas(Component):
    """A request for each quota that must be at least so high.

    Owns the requests. Never owns the quota: AWS grants or refuses it, at once or after days, and nothing here waits for
    that, since a machine that exceeds it fails by itself and is tried again. A request that is not above what the account
    has is none. Costs nothing. A destroy takes nothing back: the account keeps what it was granted.

    >>> Quotas("quotas", QuotasArgs(needs=[]), scope=scope, parent=parent).outputs.requests
    {}
    """

    outputs: contracts.Quotas

    def __init__(self, name: str, args: QuotasArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Ask for the quotas."""
        super().__init__(name, scope, parent)
        self.outputs = contracts.Quotas(requests={need.quota.code: self._request(need) for need in args.needs})
        self.finish(self.outputs)

    def _request(self, need: QuotaNeed) -> contracts.Text:
        request = aws.servicequotas.ServiceQuota(
            f"{self.name}-{need.quota.code}",
            service_code=need.quota.service,
            quota_code=need.quota.code,
            value=need.value,
            opts=self.options(),
        )
        return request.arn
