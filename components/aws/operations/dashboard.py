"""A page of charts: training at one look."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws

from components import contracts
from components.contracts import Text
from components.core.cloudwatch import Watched, dashboard
from components.scope import Component, Scope


@dataclass(frozen=True, kw_only=True)
class DashboardArgs:
    """What is on it."""

    watched: Watched
    alarms: Sequence[Text]
    """ARNs of the alarms whose state stands at the top."""
    links: Mapping[str, str] = field(default_factory=dict[str, str])
    """Where somebody reads on, by title."""


class Dashboard(Component):
    """One page for people: alarms, queues, pools against their ceilings, use of accelerators, failures, interruptions, quotas.

    Owns the page. Never owns a metric: where nothing publishes one, its chart is empty.

    Costs 3 USD a month above the three that an account has free (CloudWatch pricing, 2026-09). A destroy takes it away.

    >>> watched = Watched(cluster="acme-ai-dev", pools={}, queues={}, namespace="acme-ai-dev-training")
    >>> page = Dashboard("dashboard", DashboardArgs(watched=watched, alarms=[]), scope=scope, parent=parent)
    """

    outputs: contracts.Dashboard

    def __init__(self, name: str, args: DashboardArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the page."""
        super().__init__(name, scope, parent)
        body = dashboard(
            args.watched,
            region=scope.region,
            title=f"Training in {scope.environment}",
            links=args.links,
            alarms=args.alarms,
        )
        page = aws.cloudwatch.Dashboard(
            f"{name}-page",
            dashboard_name=scope.names.of("training"),
            dashboard_body=pulumi.Output.json_dumps(body, sort_keys=True),
            opts=self.options(),
        )
        self.outputs = contracts.Dashboard(id=page.dashboard_arn)
        self.finish(self.outputs)
