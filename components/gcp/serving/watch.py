"""What watches endpoints in the cluster: by what their pods say where nothing stands in front, and releases of any."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi

from components import contracts
from components.contracts import Text
from components.core import in_cluster
from components.core.in_cluster import Watched
from components.gcp.blocks.alarms import Alarms, AlarmsArgs
from components.scope import Component, Scope


@dataclass(frozen=True, kw_only=True)
class WatchArgs:
    """Whose endpoints, and who hears of them."""

    apis: Mapping[str, Text]
    endpoints: Mapping[str, Watched]
    """By name."""
    critical: Sequence[Text] = ()
    warning: Sequence[Text] = ()
    teams: Mapping[str, Sequence[Text]] = field(default_factory=dict[str, Sequence[Text]])
    """Channels of teams."""


class Watch(Component):
    """The alerts of endpoints in the cluster that no load balancer counts, and of releases there that were taken back.

    Managed Service for Prometheus collects what their pods say, told by a `PodMonitoring` of each (components/kubernetes). Alerts
    are queries in PromQL, the same as on AWS.

    Owns the alerts. Never owns what collects. Costs nothing by itself; samples that are collected cost 0.06 USD a million
    (2025-07). A destroy takes them away.

    >>> in_cluster.spaces([])
    (set(), set())
    """

    outputs: contracts.Watch

    def __init__(self, name: str, args: WatchArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Watch."""
        super().__init__(name, scope, parent)
        self._args = args
        self.outputs = contracts.Watch(
            alarms={endpoint: self._alarms(endpoint, watched) for endpoint, watched in sorted(args.endpoints.items())}
        )
        self.finish(self.outputs)

    def _alarms(self, endpoint: str, watched: Watched) -> list[Text]:
        args = self._args
        team = args.teams.get(watched.team, ())
        made = Alarms(
            f"{endpoint}-alarm",
            AlarmsArgs(
                apis=args.apis,
                alarms=in_cluster.alerts(endpoint, watched.signs),
                critical=[*args.critical, *team],
                warning=[*(team or args.warning)],
            ),
            scope=self.scope,
            parent=self,
        )
        return list(made.outputs.names.values())
