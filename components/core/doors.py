"""What is watched of endpoints in a cluster that are reached from the internet.

Sources: "CloudWatch metrics for your Application Load Balancer"; "Amazon EKS and Kubernetes Container Insights metrics"; Envoy,
"HTTP connection manager", statistics; GKE, "Kubernetes metrics".
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from components.core import promises, watching
from components.core.cloudwatch import Alarm, Metric
from components.core.monitoring import Alarm as Alert
from components.core.watching import Source
from components.spec.endpoints import Alarm as Bound

_ELB, _INSIGHTS = "AWS/ApplicationELB", "ContainerInsights"
_MINUTE = 60
FRONT = "front"
"""Prefix of the series of what checks tokens beside a pod."""
KEPT = "envoy_http_downstream_rq_(xx|active|time_.+)"
"""Those of its series that alerts read."""


@dataclass(frozen=True, kw_only=True)
class Watched:
    """An endpoint of a cluster of AWS that is watched; texts of the cloud may be outputs."""

    name: str
    space: str
    """Namespace of its pods."""
    workload: str
    """What its pods belong to, as Container Insights has it."""
    cluster: str
    balancer: Any
    group: Any
    """What metrics call its target group, `targetgroup/…`."""
    bounds: Mapping[str, Bound]
    """By sign, `components.spec.endpoints.alarms`."""
    fixed: bool = False
    """Whether there are always as many pods as there may be."""


def alarms(watched: Watched) -> Iterator[Alarm]:
    """What is watched of an endpoint on AWS: answers as the load balancer sees them, and how busy its pods are."""
    name, logs = watched.name, f"kubectl logs -n {watched.space} -l ai-platform.io/endpoint={watched.name}"
    for sign, bound in watched.bounds.items():
        match sign:
            case "p95_latency":
                yield promises.late(
                    name,
                    bound,
                    first="Whether its pods are busy (its saturated alarm). If a version is new, go back to the old one.",
                    metrics={"time": _counted(watched, "TargetResponseTime", "p95")},
                    expression="1000 * FILL(time, 0)",
                )
            case "error_rate":
                yield promises.failing(
                    name,
                    bound,
                    first=f"What its pods say: {logs}. If a version is new, go back to the old one.",
                    metrics={
                        "bad": _counted(watched, "HTTPCode_Target_5XX_Count", "Sum"),
                        # Pods that are gone, or that hang up.
                        "lost": _counted(watched, "TargetConnectionErrorCount", "Sum"),
                        "calls": _counted(watched, "RequestCount", "Sum"),
                    },
                    expression=f"IF(FILL(bad, 0) + FILL(lost, 0) >= {promises.ERRORS},"
                    " 100 * (FILL(bad, 0) + FILL(lost, 0)) / FILL(calls, 1), 0)",
                )
            case "saturation":
                yield promises.saturated(
                    name,
                    bound,
                    meaning=f"{bound.above:g} % of the processors of {name} have been in use for {bound.minutes} minutes.",
                    first="Whether more pods start. If they do and it stays: a smaller scale.target, or more compute.cpu.",
                    metrics={
                        "used": Metric(
                            namespace=_INSIGHTS,
                            name="pod_cpu_utilization_over_pod_limit",
                            dimensions={
                                "ClusterName": watched.cluster,
                                "Namespace": watched.space,
                                "PodName": watched.workload,
                            },
                            statistic="Average",
                        )
                    },
                )
            case "ceiling" if not watched.fixed:
                yield promises.full(
                    name,
                    bound,
                    meaning=f"{name} has had all of its {bound.above:g} pods at work for {bound.minutes} minutes.",
                    first="Whether answers are late. If so: raise its scale.max.",
                    metrics={"pods": _counted(watched, "HealthyHostCount", "Maximum")},
                )
            case _:
                pass
    yield Alarm(
        name=f"{name}-unhealthy",
        meaning=f"A pod of {name} has not answered its health check for 10 minutes, and is not replaced.",
        first=f"What it says: {logs}; and kubectl describe pods there.",
        severity="warning",
        metrics={"pods": _counted(watched, "UnHealthyHostCount", "Minimum")},
        comparison=">",
        threshold=0,
        period=5 * _MINUTE,
        periods=2,
    )


def _counted(watched: Watched, name: str, statistic: Any) -> Metric:
    dimensions = {"LoadBalancer": watched.balancer, "TargetGroup": watched.group}
    return Metric(namespace=_ELB, name=name, dimensions=dimensions, statistic=statistic)


def alerts(
    endpoint: str, space: str, cluster: str, container: str, bounds: Mapping[str, Bound], *, fixed: bool = False
) -> list[Alert]:
    """What is watched of an endpoint on Google Cloud: by what checks tokens beside each of its pods, and how busy `container` is.

    >>> bound = Bound(sign="error_rate", above=0.5, minutes=5)
    >>> alerts("fraud", "serving-risk", "acme", "service", {"error_rate": bound})[0].name
    'fraud-error-rate'
    """
    # As Managed Service for Prometheus names what it collects; see `collected` in components/kubernetes/pods.py.
    collected = {"cluster": cluster, "namespace": space, "job": endpoint, "envoy_http_conn_manager_prefix": FRONT}
    source = Source(
        labels=collected,
        version="pod",
        latency={"envoy_http_downstream_rq_time_bucket": ""},
        count=("envoy_http_downstream_rq_xx",),
        failed='envoy_response_code_class="5"',
        busy="",
        instances="count(envoy_http_downstream_rq_active{%s})",
    )
    machine = (
        f'monitored_resource="k8s_container",cluster_name="{cluster}",namespace_name="{space}"'
        f',container_name="{container}",pod_name=~"{endpoint}-.*"'
    )
    used = f"100 * avg(kubernetes_io:container_cpu_limit_utilization{{{machine}}})"
    signs = {sign: bound for sign, bound in bounds.items() if not (sign == "ceiling" and fixed)}
    busy = signs.pop("saturation", None)
    found = watching.alarms(endpoint, source, signs)
    if busy:
        found.append(watching.alarm(endpoint, busy, f"{used} > {busy.above:g}", shown=used))
    return found
