"""A page of charts: training at one look."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.contracts import Text
from components.core.monitoring import Watched, dashboard, text
from components.scope import Component, Scope


@dataclass(frozen=True, kw_only=True)
class DashboardArgs:
    """What is on it."""

    apis: Mapping[str, Text]
    watched: Watched
    links: Mapping[str, str] = field(default_factory=dict[str, str])
    """Where somebody reads on, by title."""


class Dashboard(Component):
    """One page for people: incidents, queues, pools against their ceilings, use of accelerators, failures, interruptions, quotas.

    Owns the page. Never owns a metric: where nothing publishes one, its chart is empty. Costs nothing. A destroy takes it
    away.

    >>> watched = Watched(region="us-central1", prefix="a-dev-", cluster="c", pools={}, labels={}, queues={})
    >>> dashboard(watched, title="Training in dev", links={})["displayName"]
    'Training in dev'
    """

    outputs: contracts.Dashboard

    def __init__(self, name: str, args: DashboardArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the page."""
        super().__init__(name, scope, parent)
        page = gcp.monitoring.Dashboard(
            f"{name}-page",
            dashboard_json=text(dashboard(args.watched, title=f"Training in {scope.environment}", links=args.links)),
            project=args.apis["monitoring.googleapis.com"],
            opts=self.options(),
        )
        self.outputs = contracts.Dashboard(id=page.id)
        self.finish(self.outputs)
