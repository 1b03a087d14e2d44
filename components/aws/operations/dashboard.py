"""A page of charts: training, or what answers, at one look."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from components import contracts
from components.core.cloudwatch import address
from components.scope import Component, Scope, after


@dataclass(frozen=True, kw_only=True)
class DashboardArgs:
    """What is on it."""

    called: str
    """Within the environment: `training`."""
    body: Mapping[str, Any]
    """As CloudWatch has it (`components.core.cloudwatch`); it may hold outputs."""


class Dashboard(Component):
    """One page for people: charts against what was promised or may be at most, and the states of alarms.

    Owns the page. Never owns a metric: where nothing publishes one, its chart is empty.

    Costs 3 USD a month above the three that an account has free (CloudWatch pricing, 2026-09). A destroy takes it away.

    >>> from components.core.cloudwatch import page, said
    >>> body = page([said("# Training", at=(0, 0), size=(24, 3))])
    >>> made = Dashboard("dashboard", DashboardArgs(called="training", body=body), scope=scope, parent=parent)
    """

    outputs: contracts.Dashboard

    def __init__(self, name: str, args: DashboardArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the page."""
        super().__init__(name, scope, parent)
        called = scope.names.of(args.called)
        page = aws.cloudwatch.Dashboard(
            f"{name}-page",
            dashboard_name=called,
            dashboard_body=pulumi.Output.json_dumps(args.body, sort_keys=True),
            opts=self.options(),
        )
        self.outputs = contracts.Dashboard(id=page.dashboard_arn, address=after(address(scope.region, called), page))
        self.finish(self.outputs)
