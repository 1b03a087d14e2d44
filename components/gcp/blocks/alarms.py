"""Alarms: when somebody is told, and what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.contracts import Text
from components.core.google import labels
from components.core.monitoring import Alarm, Count, Query
from components.scope import Component, Scope, after

_EVERY = "60s"
_FORGET = f"{24 * 3600}s"


@dataclass(frozen=True, kw_only=True)
class AlarmsArgs:
    """What is watched, and who hears of it."""

    apis: Mapping[str, Text]
    alarms: Sequence[Alarm]
    counts: Sequence[Count] = ()
    """Entries of logs that the alarms, and charts, look at as metrics."""
    critical: Sequence[Text]
    """Channels of what cannot wait."""
    warning: Sequence[Text]
    """Channels of what can wait until working hours."""


class Alarms(Component):
    """An alert policy for each line of a table, with what has happened and what to do first.

    Owns the policies and the metrics that are made of logs for them. Never owns what they look at, nor the channels that
    they tell. Each tells when it starts and when it is over; what is over by itself is closed after a day without data.

    Costs next to nothing: 0.258 USD a MiB of metrics made of logs (Cloud Monitoring prices of us-central1, 2026-07). A destroy
    takes them away.

    >>> Alarm(name="a", meaning="It broke.", first="Look.", severity="warning", condition=Query(promql="1"), minutes=5).minutes
    5
    """

    outputs: contracts.Alarms

    def __init__(self, name: str, args: AlarmsArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the metrics and the policies."""
        super().__init__(name, scope, parent)
        self._args = args
        counted = [self._count(count) for count in args.counts]
        channels: Mapping[str, list[Text]] = {"critical": list(args.critical), "warning": list(args.warning)}
        self.outputs = contracts.Alarms(
            names={
                alarm.name: after(self._policy(alarm, channels[alarm.severity]).name, *counted) for alarm in args.alarms
            }
        )
        self.finish(self.outputs)

    def _count(self, count: Count) -> gcp.logging.Metric:
        return gcp.logging.Metric(
            f"{self.name}-{count.name}-count",
            name=self.scope.names.full(count.name),
            description=count.description,
            filter=count.filter,
            metric_descriptor={"metric_kind": "DELTA", "value_type": "INT64", "unit": "1"},
            project=self._args.apis["logging.googleapis.com"],
            opts=self.options(),
        )

    def _policy(self, alarm: Alarm, channels: Sequence[Text]) -> gcp.monitoring.AlertPolicy:
        return gcp.monitoring.AlertPolicy(
            f"{self.name}-{alarm.name}",
            display_name=f"{self.scope.environment}: {alarm.name}",
            combiner="OR",
            conditions=[_condition(alarm)],
            severity=alarm.severity.upper(),
            documentation={
                "content": alarm.documentation,
                "mime_type": "text/markdown",
                "subject": f"{self.scope.environment}: {alarm.meaning}"[:255],
            },
            # No rate limit: only policies on single entries of a log take one ("AlertStrategy", notificationRateLimit).
            alert_strategy={"auto_close": _FORGET, "notification_prompts": ["OPENED", "CLOSED"]},
            notification_channels=list(channels),
            user_labels=labels(self.scope.tags),
            project=self._args.apis["monitoring.googleapis.com"],
            opts=self.options(),
        )


def _condition(alarm: Alarm) -> gcp.monitoring.AlertPolicyConditionArgsDict:
    lasting = f"{alarm.minutes * 60}s"
    if isinstance(alarm.condition, Query):
        return {
            "display_name": alarm.name,
            "condition_prometheus_query_language": {
                "query": alarm.condition.promql,
                "duration": lasting,
                "evaluation_interval": _EVERY,
                # A metric is known once something has published it, and nothing has before the first job.
                "disable_metric_validation": True,
            },
        }
    return {
        "display_name": alarm.name,
        "condition_threshold": {
            "filter": alarm.condition.filter,
            "aggregations": [
                {
                    "alignment_period": "300s",
                    "per_series_aligner": alarm.condition.aligner,
                    "cross_series_reducer": alarm.condition.reducer,
                }
            ],
            "comparison": "COMPARISON_GT",
            "threshold_value": alarm.condition.above,
            "duration": lasting,
            "trigger": {"count": 1},
            "evaluation_missing_data": "EVALUATION_MISSING_DATA_INACTIVE",
        },
    }
