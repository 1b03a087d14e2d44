"""Alarms: when somebody is told, and what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import pulumi
import pulumi_aws as aws

from components import contracts
from components.contracts import Text
from components.core.cloudwatch import Alarm, Metric
from components.scope import Component, Scope

_COMPARISONS = MappingProxyType(
    {">": "GreaterThanThreshold", ">=": "GreaterThanOrEqualToThreshold", "<": "LessThanThreshold"}
)
_RECOVERED = 300
"""Seconds that it has to be over for, where a query is asked."""


@dataclass(frozen=True, kw_only=True)
class AlarmsArgs:
    """What is watched, and who hears of it."""

    alarms: Sequence[Alarm]
    critical: Sequence[Text]
    """Topics of what cannot wait."""
    warning: Sequence[Text]
    """Topics of what can wait until working hours."""


class Alarms(Component):
    """An alarm for each line of a table. Its description says what has happened and what to do first.

    Owns the alarms. Never owns what they look at, nor the topics that they publish to. Each tells when it starts and when
    it is over.

    Costs a month 0.10 USD for each series that an alarm looks at (us-east-1, 2026-09); what one with a query costs stands with
    who makes it. A destroy takes them away.

    >>> failed = Metric(namespace="AWS/Batch", name="Failed", statistic="Sum")
    >>> alarm = Alarm(
    ...     name="failing", meaning="Jobs fail.", first="Read a log.", severity="warning", metrics={"failed": failed},
    ...     comparison=">", threshold=0, period=300, periods=1,
    ... )
    >>> list(Alarms("alarms", AlarmsArgs(alarms=[alarm], critical=[], warning=[topic]), scope=scope, parent=parent).outputs.names)
    ['failing']
    """

    outputs: contracts.Alarms

    def __init__(self, name: str, args: AlarmsArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the alarms."""
        super().__init__(name, scope, parent)
        topics: Mapping[str, list[Text]] = {"critical": list(args.critical), "warning": list(args.warning)}
        self.outputs = contracts.Alarms(
            names={alarm.name: self._alarm(alarm, topics[alarm.severity]) for alarm in args.alarms}
        )
        self.finish(self.outputs)

    def _alarm(self, alarm: Alarm, topics: Sequence[Text]) -> Text:
        if alarm.promql is not None:
            return self._asking(alarm, alarm.promql, topics)
        one = next(iter(alarm.metrics.values())) if alarm.expression is None else None
        return aws.cloudwatch.MetricAlarm(
            f"{self.name}-{alarm.name}",
            name=self.scope.names.of(alarm.name),
            alarm_description=alarm.description,
            namespace=one.namespace if one else None,
            metric_name=one.name if one else None,
            dimensions=one.dimensions if one else None,
            statistic=one.statistic if one else None,
            period=alarm.period if one else None,
            metric_queries=None if one else _queries(alarm),
            comparison_operator=_COMPARISONS[alarm.comparison],
            threshold=alarm.threshold,
            evaluation_periods=alarm.periods,
            datapoints_to_alarm=alarm.breaching or alarm.periods,
            treat_missing_data=alarm.missing,
            alarm_actions=list(topics),
            ok_actions=list(topics),
            opts=self.options(),
        ).arn

    def _asking(self, alarm: Alarm, promql: str, topics: Sequence[Text]) -> Text:
        """One with a query, which takes none of the arguments of the others ("PromQL alarms")."""
        return aws.cloudwatch.MetricAlarm(
            f"{self.name}-{alarm.name}",
            name=self.scope.names.of(alarm.name),
            alarm_description=alarm.description,
            evaluation_criteria={
                "promql_criteria": {
                    "query": promql,
                    "pending_period": alarm.period * alarm.periods,
                    "recovery_period": _RECOVERED,
                }
            },
            evaluation_interval=alarm.period,
            alarm_actions=list(topics),
            ok_actions=list(topics),
            opts=self.options(),
        ).arn


def _queries(alarm: Alarm) -> "list[aws.cloudwatch.MetricAlarmMetricQueryArgsDict]":
    def series(metric: Metric) -> aws.cloudwatch.MetricAlarmMetricQueryMetricArgsDict:
        return {
            "namespace": metric.namespace,
            "metric_name": metric.name,
            "dimensions": metric.dimensions,
            "stat": metric.statistic,
            "period": alarm.period,
        }

    return [
        {"id": "result", "expression": alarm.expression, "label": alarm.name, "return_data": True},
        *({"id": name, "metric": series(metric), "return_data": False} for name, metric in alarm.metrics.items()),
    ]
