"""Alarms of endpoints in a cluster that nothing stands in front of: bounds, queries, and series that somebody says and keeps."""

import asyncio
import doctest
import re
from functools import cache
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from components.core import in_cluster, scrapes
from components.core.fronts import FRONT_METRICS
from components.core.in_cluster import Sign
from components.core.scrapes import LANGUAGE, MODEL, ROLLOUTS, ROUTER, STATES, Controller
from components.kubernetes.serving.router import envoy
from components.spec.endpoints import alarms as bounds
from runtime.serving.service import Service
from runtime.serving.settings import Settings
from tests.core.promql import series
from tests.kubernetes.endpoints import endpoint

CLOUDS: tuple[Any, ...] = ("aws", "gcp")
KINDS = ("realtime", "llm")
CLUSTER = "acme-ai-dev"
PORTS = {MODEL: 8080, LANGUAGE: 8000, ROUTER: FRONT_METRICS}


def signs(kind: str, cloud: Any, **changes: Any) -> dict[str, Sign]:
    spec = endpoint(kind, **changes)
    return {sign.bound.sign: sign for sign in in_cluster.signs("fraud", spec, CLUSTER, cloud)}


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_sign_of_the_objective_has_an_alarm_at_its_bound(kind: str, cloud: Any):
    spec, found = endpoint(kind), signs(kind, cloud)
    wanted = bounds(spec)
    assert set(wanted) == {"p95_latency", "error_rate", "saturation", "ceiling"}
    assert set(found) == {*wanted, "silent"}
    for sign, bound in wanted.items():
        assert found[sign].bound == bound
        assert re.search(rf" >=? {bound.above:g}( and |$)", found[sign].promql), found[sign].promql
    most = spec.tokens_per_minute if kind == "llm" else spec.scale.max
    assert f"{found['ceiling'].at} {most:g}" in found["ceiling"].promql
    assert found["p95_latency"].promql.startswith("1000 * histogram_quantile(0.95, ")
    # One request that failed wakes nobody, nor does one of three that was slow.
    assert found["error_rate"].promql.endswith(" >= 3")
    assert found["p95_latency"].promql.endswith(" >= 20")


@pytest.mark.parametrize("cloud", CLOUDS)
def test_what_cannot_be_promised_is_not_watched(cloud: Any):
    assert "ceiling" not in signs("realtime", cloud, scale={"min": 3, "max": 3})
    assert "silent" not in signs("realtime", cloud, scale={"min": 0, "max": 3}), "nobody hears of what sleeps"
    # What all pods take at once, whatever there are of them now: the autoscaler keeps each of them at its target.
    busy = signs("realtime", cloud, scale={"min": 1, "max": 5, "target": {"concurrency": 8}})["saturation"]
    assert busy.figure.endswith("/ 40")


@given(
    st.sampled_from(KINDS), st.sampled_from(CLOUDS), st.integers(50, 50_000),
    st.floats(90, 99.99, allow_nan=False), st.integers(1000, 10**8),
)  # fmt: skip
def test_every_query_is_promql(kind: str, cloud: Any, ms: int, available: float, tokens: int):
    timed = {"first_token_p95_ms": ms} if kind == "llm" else {"p95_ms": ms}
    objective = {**timed, "availability_percent": available, "requests_per_month": 1}
    more = {"tokens_per_minute": tokens} if kind == "llm" else {}
    for sign in signs(kind, cloud, objective=objective, **more).values():
        assert series(sign.promql), sign.promql
        assert series(sign.figure), sign.figure
        assert len(sign.promql) <= 10_000  # AlarmPromQLCriteria, Query
        for query in sign.beside.values():
            assert series(query)


@pytest.mark.parametrize(
    "wrong",
    [
        "sum(rate(a{}[5m])", "sum(a{)}", "rate(a{})", "sum(a{}[5m])", 'a{b=c}', "a{} >", "a{} b{}", 'a{b="c}', "sum by le (a{})",
        "a{} and on() ", "a[5m]",
    ],
)  # fmt: skip
def test_the_check_sees_what_is_no_promql(wrong: str):
    with pytest.raises(ValueError, match=r"\w"):
        series(wrong)


@cache
def said() -> dict[str, Any]:
    """What runtime/serving says at /metrics after a request, by family."""
    service = Service(Settings(log_requests=False), lambda: (_ for _ in ()).throw(AssertionError))
    app, sent = service.app(), list[dict[str, Any]]()

    async def ask(method: str, path: str) -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"{}", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(dict(message))

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "headers": [],
            "query_string": b"",
            "http_version": "1.1",
        }
        await app({**scope, "root_path": "", "scheme": "http", "server": ("h", 1), "client": ("c", 1)}, receive, send)

    asyncio.run(ask("POST", "/predict"))
    sent.clear()
    asyncio.run(ask("GET", "/metrics"))
    text = b"".join(part.get("body", b"") for part in sent).decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_what_is_asked_of_a_model_is_what_our_runtime_says():
    samples = {sample.name: sample for family in said().values() for sample in family.samples}
    for cloud in CLOUDS:
        for sign in signs("realtime", cloud).values():
            for name, labels in series(f"{sign.promql} + {' + '.join(sign.beside.values()) or 1}"):
                own = set(labels) - {"cluster", "namespace", "endpoint", "job"}
                if "histogram_quantile" in sign.figure and name.startswith("serving_request_seconds"):
                    # CloudWatch keeps a histogram whole, under its family's name.
                    assert (name in said() and said()[name].type == "histogram") if cloud == "aws" else name in samples
                    continue
                assert name in samples, name
                assert own <= set(samples[name].labels), name
                assert all(re.fullmatch(labels[key][1:], samples[name].labels[key]) for key in own), labels


def configured(*controllers: Controller) -> list[dict[str, Any]]:
    made = scrapes.configuration(CLUSTER, list(scrapes.scrapes({"serving-risk"}, {"serving-vision"}, controllers)))
    assert yaml.safe_load(yaml.safe_dump(made)) == made
    return made["scrape_configs"]


def kept(job: dict[str, Any], name: str) -> bool:
    [rule] = job["metric_relabel_configs"]
    assert rule["action"] == "keep"
    # A histogram is kept whole, or not at all.
    parts = [name, *(f"{name}_{end}" for end in ("bucket", "count", "sum"))]
    return re.fullmatch(rule["regex"], name) is not None or all(re.fullmatch(rule["regex"], p) for p in parts[1:])


def test_the_collector_keeps_every_series_that_an_alarm_reads_and_stamps_its_labels():
    jobs = {job["job_name"]: job for job in configured()}
    assert set(jobs) == {"models", "servers", "routers"}
    for kind in KINDS:
        for sign in signs(kind, "aws").values():
            for name, labels in series(sign.promql):
                [job] = [job for job in jobs.values() if kept(job, name)]
                stamped = {rule["target_label"] for rule in job["relabel_configs"] if "target_label" in rule}
                assert {"cluster", "namespace", "endpoint"} <= stamped & set(labels)
                assert "job" not in labels, "the collector makes a resource attribute of it"
                place = {"models": "serving-risk", "servers": "serving-risk", "routers": "inference"}[job["job_name"]]
                assert labels["namespace"] == place


def test_what_google_collects_has_every_series_that_an_alert_reads():
    for kind, expressions in (("realtime", [MODEL]), ("llm", [LANGUAGE, ROUTER])):
        for sign in signs(kind, "gcp").values():
            for name, labels in series(f"{sign.promql} + {' + '.join(sign.beside.values()) or 1}"):
                assert any(re.fullmatch(kept, name) for kept in expressions), name
                assert labels["job"] == "fraud"
                assert labels["namespace"] == ("inference" if name.startswith("envoy_") else "serving-risk")


def test_the_collector_reads_these_pods_and_no_others():
    for job in configured(ROLLOUTS):
        [found] = job["kubernetes_sd_configs"]
        # What service discovery knows of a pod (Prometheus, "kubernetes_sd_config"); another name is no error, and never matches.
        for rule in job["relabel_configs"]:
            for label in rule.get("source_labels", ()):
                known = r"__meta_kubernetes_(namespace|pod_(name|phase|container_port_number|label_\w+))"
                assert re.fullmatch(known, label), label
        keep, drop, *_ = job["relabel_configs"]
        assert (keep["action"], drop["action"]) == ("keep", "drop")
        assert found["namespaces"]["names"], "without names it would look everywhere"
        labels = {"__meta_kubernetes_pod_label_ai_platform_io_endpoint": "fraud"}
        pod = [labels.get(label, "") for label in keep["source_labels"][:-1]]
        ports = [
            port for port in ("8000", "8080", "15090", "8090") if re.fullmatch(keep["regex"], ";".join([*pod, port]))
        ]
        assert ports == {"models": ["8080"], "servers": ["8000"], "routers": ["15090"]}.get(job["job_name"], [])
    models = configured()[0]["relabel_configs"][0]
    for other in ("fraud;8081", "fraud;80801", ";8080"):
        assert not re.fullmatch(models["regex"], other)
    assert {job["job_name"]: job["kubernetes_sd_configs"][0]["namespaces"]["names"] for job in configured()} == {
        "models": ["serving-risk"], "servers": ["serving-vision"], "routers": ["inference"]
    }  # fmt: skip


def test_a_controller_is_one_more_row_and_keeps_its_own_labels():
    assert configured() == configured(ROLLOUTS)[:-1]
    job = configured(ROLLOUTS)[-1]
    assert kept(job, "rollout_info")
    assert not kept(job, "rollout_events_total")
    stamped = {rule["target_label"] for rule in job["relabel_configs"] if "target_label" in rule}
    assert stamped == {"cluster"}, "rollout_info says a namespace of its own"
    for cloud in CLOUDS:
        selected = in_cluster.of_controller(
            cloud, CLUSTER, ROLLOUTS, namespace="serving-risk", name="fraud", phase="Degraded"
        )
        [(name, labels)] = series(f"max(rollout_info{{{selected}}}) > 0")
        assert name == "rollout_info"
        assert labels["cluster"] == CLUSTER
        assert ("namespace" in labels, "exported_namespace" in labels) == (
            (True, False) if cloud == "aws" else (False, True)
        )


def test_the_router_says_what_it_counts_and_nothing_else_of_its_administration():
    made = envoy()
    assert made["admin"]["address"]["socket_address"]["address"] == "127.0.0.1"
    calls, statistics = (
        each["filter_chains"][0]["filters"][0]["typed_config"] for each in made["static_resources"]["listeners"]
    )
    assert calls["stat_prefix"] == scrapes.ROUTED
    assert statistics["stat_prefix"] != scrapes.ROUTED, "who reads metrics is no caller"
    [route] = statistics["route_config"]["virtual_hosts"][0]["routes"]
    assert route["match"] == {"path": "/metrics"}
    assert (route["route"]["cluster"], route["route"]["prefix_rewrite"]) == ("admin", "/stats/prometheus")
    ports = [each["address"]["socket_address"]["port_value"] for each in made["static_resources"]["listeners"]]
    assert ports[1] == FRONT_METRICS
    assert "admin" in {cluster["name"] for cluster in made["static_resources"]["clusters"]}


@pytest.mark.parametrize("module", [in_cluster, scrapes])
def test_examples(module: Any):
    result = doctest.testmod(module)
    assert result.attempted >= 1
    assert result.failed == 0


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_release_that_was_taken_back_is_told_at_once(cloud: Any):
    sign = in_cluster.taken_back("fraud", "serving-risk", "fraud", CLUSTER, cloud)
    [(name, labels)] = series(sign.promql)
    assert re.fullmatch(ROLLOUTS.kept, name)
    assert (labels["phase"], labels["name"], sign.severity, sign.bound.minutes) == ("Degraded", "fraud", "critical", 0)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_run_that_failed_is_told_for_a_day_and_no_other_one_with_it(cloud: Any):
    sign = in_cluster.failed("churn", endpoint("batch"), CLUSTER, cloud)
    found = series(sign.promql)
    assert {name for name, _ in found} == {"kube_job_failed"}
    assert re.fullmatch(STATES.kept, "kube_job_failed")
    space = "exported_namespace" if cloud == "gcp" else "namespace"
    for _, labels in found:
        assert (labels[space], labels["condition"], labels["cluster"]) == ("team-risk", "true", CLUSTER)
        jobs = labels["job_name"].removeprefix("~")
        assert re.fullmatch(jobs, "churn-29384756")
        # A run of an endpoint whose name goes on, and one of the other's by hand.
        assert not re.fullmatch(jobs, "churn-risk-29384756")
    assert "4 hours" in sign.meaning
    assert "offset 1d" in sign.promql
