"""A page of charts: training, or what answers, at one look."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.contracts import Text
from components.core.monitoring import address
from components.scope import Component, Scope


@dataclass(frozen=True, kw_only=True)
class DashboardArgs:
    """What is on it."""

    apis: Mapping[str, Text]
    body: Mapping[str, Any]
    """As the API has it (`components.core.monitoring`); it may hold outputs."""


class Dashboard(Component):
    """One page for people: charts against what was promised or may be at most, and the incidents that are open.

    Owns the page. Never owns a metric: where nothing publishes one, its chart is empty. Costs nothing. A destroy takes it
    away.

    >>> from components.core.monitoring import mosaic
    >>> DashboardArgs(apis={}, body=mosaic("Training in dev", [])).body["displayName"]
    'Training in dev'
    """

    outputs: contracts.Dashboard

    def __init__(self, name: str, args: DashboardArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the page."""
        super().__init__(name, scope, parent)
        page = gcp.monitoring.Dashboard(
            f"{name}-page",
            dashboard_json=pulumi.Output.json_dumps(args.body, sort_keys=True),
            project=args.apis["monitoring.googleapis.com"],
            opts=self.options(),
        )
        where = page.id.apply(lambda found: address(scope.account, found))
        self.outputs = contracts.Dashboard(id=page.id, address=where)
        self.finish(self.outputs)
