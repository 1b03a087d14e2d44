"""Services of containers on AWS: sizes, releases, and what is watched of them.

Sources: Amazon ECS Developer Guide, "Task definition parameters for Fargate", "Amazon ECS canary deployments", "How CloudWatch
alarms detect Amazon ECS deployment failures", "Create an encryption key for Fargate ephemeral storage";
"CloudWatch metrics for your Application Load Balancer".
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.core import iam, promises
from components.core.cloudwatch import Alarm, Metric
from components.spec.endpoints import Alarm as Bound
from components.spec.releases import AllAtOnce, BlueGreen, Canary
from components.spec.serving import Target

_GIB = 1024
# CPU units of a task, 1,024 a vCPU, with the GiB that go with them: from, to, and the step between.
_SIZES: Mapping[int, tuple[int, int, int]] = {
    1024: (2, 8, 1),
    2048: (4, 16, 1),
    4096: (8, 30, 1),
    8192: (16, 60, 4),
    16384: (32, 120, 8),
}
LARGEST = "16 vCPUs and 120 GiB"
OLD, NEW = "a", "b"
"""The two target groups of a service; a release brings the requests from one to the other, and the next one back."""
_HALF, _MINUTE = 50, 60
_ELB, _ECS = "AWS/ApplicationELB", "AWS/ECS"


def fargate(cpu: int, memory_gib: int) -> tuple[int, int] | None:
    """CPU units and MiB of the smallest task that has so many vCPUs and GiB; None where there is none.

    >>> fargate(1, 1), fargate(2, 20), fargate(8, 17), fargate(64, 8)
    ((1024, 2048), (4096, 20480), (8192, 20480), None)
    """
    for units, (least, most, step) in _SIZES.items():
        if units >= cpu * 1024 and memory_gib <= most:
            memory = max(memory_gib, least)
            return units, (memory + (least - memory) % step) * _GIB
    return None


def uses_key(account: str, clusters: str) -> list[iam.Statement]:
    """What the policy of a key has to say for Fargate to encrypt the disks of tasks in clusters of this name pattern.

    >>> [statement["Action"] for statement in uses_key("111111111111", "acme-ai-dev-*")]
    [['kms:GenerateDataKeyWithoutPlaintext'], ['kms:CreateGrant'], ['kms:DescribeKey']]
    """
    fargate = {"Service": "fargate.amazonaws.com"}
    of_ours: iam.Condition = {
        "StringEquals": {"kms:EncryptionContext:aws:ecs:clusterAccount": account},
        "StringLike": {"kms:EncryptionContext:aws:ecs:clusterName": clusters},
    }
    decrypts: iam.Condition = {"ForAllValues:StringEquals": {"kms:GrantOperations": ["Decrypt"]}}
    return [
        iam.allow(["kms:GenerateDataKeyWithoutPlaintext"], ["*"], sid="DisksOfTasks", principals=fargate, when=of_ours),
        iam.allow(
            ["kms:CreateGrant"],
            ["*"],
            sid="GrantsOfTasks",
            principals=fargate,
            when=iam.both(of_ours, decrypts),
        ),
        iam.allow(["kms:DescribeKey"], ["*"], sid="KeyOfTasks", principals=fargate),
    ]


def deployment(release: AllAtOnce | BlueGreen | Canary) -> dict[str, Any]:
    """How ECS brings requests to new tasks; the old ones stay until the new ones were watched to the end.

    >>> deployment(Canary(strategy="canary", percent=10, bake_minutes=15))["canary_configuration"]
    {'canary_percent': 10.0, 'canary_bake_time_in_minutes': '15'}
    >>> deployment(AllAtOnce(strategy="all_at_once"))
    {'bake_time_in_minutes': '15', 'strategy': 'BLUE_GREEN'}
    """
    minutes = str(release.bake_minutes)
    percent = {"canary": getattr(release, "percent", _HALF), "blue_green": _HALF}.get(release.strategy)
    made: dict[str, Any] = {"bake_time_in_minutes": minutes}
    if percent is None:
        return {**made, "strategy": "BLUE_GREEN"}
    first = {"canary_percent": float(percent), "canary_bake_time_in_minutes": minutes}
    return {**made, "strategy": "CANARY", "canary_configuration": first}


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A service that is watched; texts of the cloud may be outputs."""

    name: str
    physical: str
    """Of the cluster and the service, both called so."""
    balancer: Any
    groups: Mapping[str, Any]
    """`OLD` and `NEW` to what metrics call the target group, `targetgroup/…`."""
    bounds: Mapping[str, Bound]
    """By sign, `components.spec.endpoints.alarms`."""
    fixed: bool = False
    """Whether there are always as many tasks as there may be."""
    signs: Sequence[str] = ()
    """What takes a release back."""


def scaling(target: Target, balancer: Any, groups: Mapping[str, Any]) -> tuple[list[dict[str, Any]], float]:
    """Series and target value of the autoscaling: what one task is given of requests a second, or of requests at once.

    Of both target groups, for a release moves all tasks from one to the other; one of them is empty between releases. As many
    requests are at once as arrive while one is answered (Little's law).
    """

    def series(id_: str, name: str, group: Any, statistic: str) -> dict[str, Any]:
        dimensions = [{"name": "LoadBalancer", "value": balancer}, {"name": "TargetGroup", "value": group}]
        metric = {"namespace": _ELB, "metric_name": name, "dimensions": dimensions}
        return {"id": id_, "metric_stat": {"metric": metric, "stat": statistic}, "return_data": False}

    each = {part: f"FILL(calls{part}, 0)" for part in groups}
    found = [series(f"calls{part}", "RequestCountPerTarget", group, "Sum") for part, group in groups.items()]
    value = (target.requests_per_second or 0) * _MINUTE
    if target.requests_per_second is None:
        each = {part: f"{calls} * FILL(time{part}, 0) / {_MINUTE}" for part, calls in each.items()}
        found += [series(f"time{part}", "TargetResponseTime", group, "Average") for part, group in groups.items()]
        value = float(target.concurrency or 1)
    result = {"id": "result", "expression": f"MAX([{', '.join(each.values())}])", "return_data": True}
    return [*found, {**result, "label": "What one task is given"}], float(value)


def alarms(watched: Watched) -> Iterator[Alarm]:
    """What is watched of a service."""
    for sign, bound in watched.bounds.items():
        made = _SIGNS[sign](watched, bound) if sign in _SIGNS else None
        if made:
            yield made
    yield Alarm(
        name=f"{watched.name}-unhealthy",
        meaning=f"A task of {watched.name} has not answered its health check for 10 minutes, and is not replaced.",
        first="Its log group, and the events of the service: aws ecs describe-services.",
        severity="warning",
        metrics=_each(watched, "UnHealthyHostCount", "Minimum"),
        expression=_most(watched),
        comparison=">",
        threshold=0,
        period=5 * _MINUTE,
        periods=2,
    )
    if watched.signs:
        yield _rollback(watched)


def _each(watched: Watched, name: str, statistic: Any, prefix: str = "of") -> dict[str, Metric]:
    """One series for each target group."""
    return {
        f"{prefix}{part}": Metric(
            namespace=_ELB,
            name=name,
            dimensions={"LoadBalancer": watched.balancer, "TargetGroup": group},
            statistic=statistic,
        )
        for part, group in watched.groups.items()
    }


def _most(watched: Watched, prefix: str = "of") -> str:
    return f"MAX([{', '.join(f'FILL({prefix}{part}, 0)' for part in watched.groups)}])"


def _failing(watched: Watched) -> tuple[dict[str, Metric], list[str], list[str]]:
    """The percent of requests that fail, of each target group: the few of a canary do not vanish among the others.

    First as alarms look at it, who let a few failures be; then the figure itself.
    """
    metrics = {
        **_each(watched, "HTTPCode_Target_5XX_Count", "Sum", "bad"),
        # Tasks that are gone, or that hang up.
        **_each(watched, "TargetConnectionErrorCount", "Sum", "lost"),
        **_each(watched, "RequestCount", "Sum", "calls"),
    }
    failed = {part: f"FILL(bad{part}, 0) + FILL(lost{part}, 0)" for part in watched.groups}
    return (
        metrics,
        [_rate(part, n, enough=True) for part, n in failed.items()],
        [_rate(part, n) for part, n in failed.items()],
    )


def _rate(part: str, failed: str, *, enough: bool = False) -> str:
    rate = f"100 * ({failed}) / FILL(calls{part}, 1)"
    return f"IF({failed} >= {promises.ERRORS}, {rate}, 0)" if enough else rate


def _p95(watched: Watched, bound: Bound) -> Alarm:
    return promises.late(
        watched.name,
        bound,
        first="Whether tasks are busy (its saturated alarm). If a release is new, take it back.",
        metrics=_each(watched, "TargetResponseTime", "p95"),
        expression=f"1000 * {_most(watched)}",
    )


def _error_rate(watched: Watched, bound: Bound) -> Alarm:
    metrics, rates, figures = _failing(watched)
    return promises.failing(
        watched.name,
        bound,
        first=f"Read its log group /ecs/{watched.physical}. If a release is new, take it back.",
        metrics=metrics,
        expression=f"MAX([{', '.join(rates)}])",
        figure=f"MAX([{', '.join(figures)}])",
    )


def _saturation(watched: Watched, bound: Bound) -> Alarm:
    return promises.saturated(
        watched.name,
        bound,
        meaning=f"{bound.above:g} % of the processors of {watched.name} have been in use for {bound.minutes} minutes.",
        first="Whether more tasks start. If they do and it stays: a smaller scale.target, or more compute.cpu.",
        metrics={
            "used": Metric(
                namespace=_ECS,
                name="CPUUtilization",
                dimensions={"ClusterName": watched.physical, "ServiceName": watched.physical},
                statistic="Average",
            )
        },
    )


def _ceiling(watched: Watched, bound: Bound) -> Alarm | None:
    if watched.fixed:
        return None
    return promises.full(
        watched.name,
        bound,
        meaning=f"{watched.name} has had all of its {bound.above:g} tasks at work for {bound.minutes} minutes.",
        first="Whether answers are late. If so: raise its scale.max.",
        metrics=_each(watched, "HealthyHostCount", "Maximum"),
        expression=_most(watched),
    )


_SIGNS = {"p95_latency": _p95, "error_rate": _error_rate, "saturation": _saturation, "ceiling": _ceiling}


def _rollback(watched: Watched) -> Alarm:
    """One alarm for all that takes a release back: it is named in the service before the first release."""
    chosen = promises.judged(watched.bounds, watched.signs)
    metrics: dict[str, Metric] = {}
    tests: list[str] = []
    for sign, above in chosen.items():
        if sign == "p95_latency":
            metrics |= _each(watched, "TargetResponseTime", "p95")
            tests.append(f"1000 * {_most(watched)} > {above:g}")
        else:
            more, rates, _ = _failing(watched)
            metrics |= more
            tests.append(f"MAX([{', '.join(rates)}]) > {above:g}")
    return promises.rollback(watched.name, metrics, tests)
