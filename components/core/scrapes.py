"""What is read of pods in a cluster: the series that are kept, where they are said, and how the collector of AWS is told.

On Google Cloud each row is a `PodMonitoring` in the cluster (components/kubernetes). On AWS one configuration names all of them,
for the managed collector of CloudWatch (components/aws/serving/watch.py). Sources: CloudWatch User Guide, "Amazon CloudWatch
managed Prometheus collectors", "PromQL querying"; Prometheus, "Configuration", kubernetes_sd_config; argo-helm,
charts/argo-rollouts; argo-rollouts, docs/features/controller-metrics.md.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.core.fronts import FRONT_METRICS

MODEL_PORT = 8080
"""Where a model of KServe is called, and says what it does."""
SERVER_PORT = 8000
"""Where a language model's own pods listen, and say what they do."""
ROUTER_PORT = 8081
"""Where a language model is called: its router, which says what it does on `FRONT_METRICS`."""
ROUTERS = "inference"
"""Namespace of the routers."""
ENDPOINT = "ai-platform.io/endpoint"
"""Label of the pods of an endpoint, and of its router."""
MODEL = "serving_(cache_total|requests_total|request_seconds_.+|running|ready)"
"""The series of runtime/serving that alarms and charts read."""
LANGUAGE = (
    "vllm:(num_requests_(running|waiting)|time_to_first_token_seconds_.+|e2e_request_latency_seconds_.+|request_success_total"
    "|(prompt|generation)_tokens_total|kv_cache_usage_perc)"
)
"""Those of vLLM."""
ROUTER = "envoy_http_downstream_rq_xx"
"""Those of the Envoy in front of it: answers by their class, health checks not among them."""
ROUTED = "llm"
"""What they call the requests of callers (`envoy_http_conn_manager_prefix`)."""
_EVERY, _TIMEOUT = "60s", "10s"
"""The collector takes 30 s and more (AWS PCS User Guide, "Suggested scrape configuration"); queries look at five minutes."""
_POD = "__meta_kubernetes_"
_PORT = f"{_POD}pod_container_port_number"


@dataclass(frozen=True, kw_only=True)
class Controller:
    """What is read of a controller in the cluster."""

    name: str
    namespace: str
    labels: Mapping[str, str]
    """Of its pods."""
    port: int
    """That its container names."""
    kept: str
    """The series that alarms read, as an expression."""


ROLLOUTS = Controller(
    name="argo-rollouts",
    namespace="argo-rollouts",
    labels={"app.kubernetes.io/name": "argo-rollouts", "app.kubernetes.io/component": "rollouts-controller"},
    port=8090,
    kept="rollout_info",
)
"""Where it is installed: the phase of each release, `rollout_info{namespace, name, phase}`; taken back is `Degraded`."""
STATES = Controller(
    name="kube-state-metrics",
    namespace="kube-state-metrics",
    labels={"app.kubernetes.io/name": "kube-state-metrics"},
    port=8080,
    kept="kube_job_failed",
)
"""Where runs over records are started: whether a job has failed, `kube_job_failed{namespace, job_name, condition}`."""


@dataclass(frozen=True, kw_only=True)
class Scrape:
    """What is read of some pods."""

    job: str
    namespaces: Sequence[str]
    labels: Mapping[str, str]
    """Of the pods, as expressions."""
    port: int
    kept: str
    stamped: bool = True
    """Whether series are given their pod's namespace and endpoint; a controller tells of others, by labels of its own."""


def scrapes(
    models: Collection[str], servers: Collection[str], controllers: Sequence[Controller] = ()
) -> Iterator[Scrape]:
    """What the collector of AWS reads, of models and of servers of language models in these namespaces.

    By port and not by name: to tell it something else takes minutes, and so nothing of it changes with another endpoint.
    """
    answering = {ENDPOINT: ".+"}
    for job, found, port, kept in (("models", models, MODEL_PORT, MODEL), ("servers", servers, SERVER_PORT, LANGUAGE)):
        if found:
            yield Scrape(job=job, namespaces=sorted(found), labels=answering, port=port, kept=kept)
    if servers:
        yield Scrape(job="routers", namespaces=[ROUTERS], labels=answering, port=FRONT_METRICS, kept=ROUTER)
    for each in controllers:
        labels = {key: re.escape(value) for key, value in each.labels.items()}
        space = [each.namespace]
        yield Scrape(job=each.name, namespaces=space, labels=labels, port=each.port, kept=each.kept, stamped=False)


def ports(found: Sequence[Scrape]) -> list[int]:
    """Where the collector has to get to."""
    return sorted({each.port for each in found})


def configuration(cluster: str, found: Sequence[Scrape]) -> dict[str, Any]:
    """What the collector is told, as Prometheus has it. It stamps `cluster` on all, for all of an account share one store.

    >>> made = configuration("acme", list(scrapes({"serving-risk"}, ())))
    >>> made["scrape_configs"][0]["kubernetes_sd_configs"]
    [{'role': 'pod', 'namespaces': {'names': ['serving-risk']}}]
    """
    return {
        "global": {"scrape_interval": _EVERY, "scrape_timeout": _TIMEOUT},
        "scrape_configs": [_job(cluster, each) for each in found],
    }


def _job(cluster: str, each: Scrape) -> dict[str, Any]:
    stamped = {"endpoint": _label(ENDPOINT), "namespace": f"{_POD}namespace", "pod": f"{_POD}pod_name"}
    matched = {**{_label(key): value for key, value in each.labels.items()}, _PORT: str(each.port)}
    return {
        "job_name": each.job,
        "kubernetes_sd_configs": [{"role": "pod", "namespaces": {"names": list(each.namespaces)}}],
        "relabel_configs": [
            {"source_labels": list(matched), "regex": ";".join(f"({e})" for e in matched.values()), "action": "keep"},
            # What has ended keeps its address for a while.
            {"source_labels": [f"{_POD}pod_phase"], "regex": "Pending|Succeeded|Failed|Unknown", "action": "drop"},
            {"target_label": "cluster", "replacement": cluster},
            *({"source_labels": [meta], "target_label": label} for label, meta in stamped.items() if each.stamped),
        ],
        "metric_relabel_configs": [{"source_labels": ["__name__"], "regex": each.kept, "action": "keep"}],
    }


def _label(name: str) -> str:
    """What service discovery calls a label of a pod."""
    return f"{_POD}pod_label_{re.sub(r'[^a-zA-Z0-9_]', '_', name)}"
