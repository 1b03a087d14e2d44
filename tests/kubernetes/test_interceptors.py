"""Endpoints in a cluster that may have no instance: who holds their requests, who is let in to that, and what stays as it is."""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from components.kubernetes.foundation.charts import CHARTS
from components.kubernetes.serving.interceptors import INTERCEPTOR
from policies.model import Graph, Resource
from preview.difference import compare
from tests.kubernetes.api_server import ApiServer, RefusedError, definitions, plain
from tests.kubernetes.building import before, built, objects, releases
from tests.kubernetes.endpoints import endpoint, served, text
from tests.kubernetes.test_api_server import CRDS, STUBS, refusals
from tests.kubernetes.test_schemas import VERSIONS, wrong
from tests.kubernetes.test_serving import FOLDER, graph, needs_a_server, peers, pod, variables

CLOUDS = ("aws", "gcp")
CHART = "keda-add-ons-http"
HERE = "http-add-on"
ZERO = {"min": 0, "max": 6, "target": {"concurrency": 8}}


@cache
def asleep(cloud: Any, tier: str = "dev", teams: tuple[str, ...] = ("risk", "vision")) -> Graph:
    change = {
        "fraud": {"spec": endpoint("realtime", scale=ZERO)},
        "vision": {
            "spec": endpoint(
                "realtime", team="vision", pool="l4-spot", compute={"accelerator": "nvidia-l4"}, scale=ZERO
            )
        },
    }
    chosen = {name: each for name, each in change.items() if each["spec"].team in teams}
    return built(cloud, tier=tier, args=served(cloud, **chosen))


def test_what_is_pinned_is_of_one_version():
    assert f"ghcr.io/kedacore/http-add-on-interceptor:{CHARTS[CHART].version}" == INTERCEPTOR


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_objects_are_well_formed(cloud: Any, version: str):
    for tier in ("dev", "prod"):
        assert list(wrong(asleep(cloud, tier), version)) == []


@pytest.mark.parametrize("cloud", CLOUDS)
def test_they_are_there_only_where_an_endpoint_may_have_no_instance(cloud: Any):
    assert CHART not in releases(graph(cloud))
    assert not any(name.startswith(HERE) for name in objects(graph(cloud)))
    assert "InterceptorRoute" not in json.dumps([plain(r.inputs) for r in objects(graph(cloud)).values()])
    one = asleep(cloud, teams=("risk",))
    assert CHART in releases(one)
    assert set(objects(one, "Deployment")) & {f"{HERE}/team-risk", f"{HERE}/team-vision"} == {f"{HERE}/team-risk"}
    assert HERE not in peers(objects(one, "NetworkPolicy")["team-vision/endpoints"], "egress")
    # One that keeps an instance is called without it, beside one that does not.
    assert objects(one, "Service")["serving-vision/vision-http"].get("spec.type") == "ClusterIP"


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_chart_comes_after_keda_and_before_what_needs_it(cloud: Any):
    found, chart = asleep(cloud), releases(asleep(cloud))[CHART]
    assert releases(found)["keda"].urn in before(found, chart)
    for kind in ("InterceptorRoute", "Deployment"):
        for name, each in objects(found, kind).items():
            if kind == "InterceptorRoute" or name.startswith(HERE):
                assert chart.urn in before(found, each)
    space = objects(found, "Namespace")[HERE]
    assert space.get("metadata.labels")["pod-security.kubernetes.io/enforce"] == "restricted"
    # The chart brings no such context of its own, and a budget of its own would be a second one for our pods.
    values = plain(chart.inputs["values"])
    assert values["podSecurityContext"]["runAsNonRoot"] is True
    assert values["podSecurityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert values["interceptor"]["pdb"] == {"enabled": False}
    assert values["interceptor"]["extraEnvs"]["KEDA_HTTP_WATCH_NAMESPACE"] == HERE


def test_images_come_through_the_mirrors():
    args = served("aws", fraud={"spec": endpoint("realtime", scale=ZERO)})
    found = built("aws", args=lambda: {**args(), "mirrors": {"ghcr.io": text("mirror.example.com")}})
    [container] = pod(found, "Deployment", f"{HERE}/team-risk")["containers"]
    assert container["image"] == INTERCEPTOR.replace("ghcr.io", "mirror.example.com")
    images = plain(releases(found)[CHART].inputs["values"])["images"]
    assert {name: each.partition("/")[0] for name, each in images.items()} == dict.fromkeys(
        ("operator", "interceptor", "scaler"), "mirror.example.com"
    )


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_address_is_the_same_with_and_without_an_instance(cloud: Any):
    front = objects(asleep(cloud), "Service")["serving-risk/fraud-http"]
    assert front.get("spec.externalName") == "team-risk.http-add-on.svc.cluster.local"
    [port] = front.get("spec.ports")
    holder = objects(asleep(cloud), "Service")[f"{HERE}/team-risk"]
    # With EKS's network policies a service's port has to be its container's.
    assert [(each["port"], each["targetPort"]) for each in holder.get("spec.ports")] == [(port["port"], port["port"])]
    route = objects(asleep(cloud), "InterceptorRoute")["serving-risk/fraud"].get("spec")
    # What callers write is what it is known by, before the address leads there.
    assert objects(asleep(cloud), "InterceptorRoute")["serving-risk/fraud"].urn in before(asleep(cloud), front)
    assert "fraud-http.serving-risk.svc.cluster.local" in route["rules"][0]["hosts"]
    behind = objects(asleep(cloud), "Service")[f"serving-risk/{route['target']['service']}"]
    assert route["target"]["port"] in [each["port"] for each in behind.get("spec.ports")]
    # Not the address again, which leads back to it.
    assert behind.get("spec.type") == "ClusterIP"
    assert behind.get("spec.selector") == {"ai-platform.io/endpoint": "fraud"}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_an_endpoint_is_put_to_sleep_in_place(cloud: Any):
    found = compare(graph(cloud), asleep(cloud, teams=("risk",)))
    assert (found.removed, found.replaced) == ((), ())
    assert {each.resource.name for each in found.changed} == {
        "fraud-http", "fraud-answering", "fraud-scaled", "spaces-risk-needed", "spaces-risk-way"
    }  # fmt: skip


@pytest.mark.parametrize("cloud", CLOUDS)
def test_pods_come_by_the_requests_that_wait_for_them(cloud: Any):
    found = asleep(cloud)
    scaled, route = (objects(found, kind)["serving-risk/fraud"] for kind in ("ScaledObject", "InterceptorRoute"))
    spec = scaled.get("spec")
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (0, 6)
    pushed, cpu = spec["triggers"]
    assert (pushed["type"], cpu["type"]) == ("external-push", "cpu")
    assert pushed["metadata"]["interceptorRoute"] == route.get("metadata.name")
    assert pushed["metadata"]["scalerAddress"] == f"{CHART}-external-scaler.{CHARTS[CHART].namespace}:9090"
    assert route.get("spec.scalingMetric") == {"concurrency": {"targetValue": 8}}
    # KEDA asks a route once what it counts.
    assert route.urn in before(found, scaled)
    # What runs is not sent away because nobody knows how much it has to do.
    assert spec["fallback"]["replicas"] == 1
    # A request waits as long as a pod may take to start, and a start goes on though nobody waits any more.
    [container] = pod(found, "InferenceService", "serving-risk/fraud")["containers"]
    starting = container["startupProbe"]["periodSeconds"] * container["startupProbe"]["failureThreshold"]
    assert starting < spec["cooldownPeriod"] == int(route.get("spec.timeouts")["readiness"].rstrip("s"))


def reached(policy: Resource, way: str) -> set[tuple[str, str, int]]:
    """Namespace, team of the pods, and port."""
    found: set[tuple[str, str, int]] = set()
    for rule in policy.get(f"spec.{way}") or []:
        for peer in rule.get("from", rule.get("to", [])):
            space = peer.get("namespaceSelector", {}).get("matchLabels", {}).get("kubernetes.io/metadata.name", "")
            team = peer.get("podSelector", {}).get("matchLabels", {}).get("ai-platform.io/team", "")
            if "ipBlock" not in peer:
                found |= {(space, team, port["port"]) for port in rule["ports"]}
    return found


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_team_gets_to_its_own_endpoints_and_past_nobody_s_interceptor_to_others(cloud: Any):
    policies = objects(asleep(cloud), "NetworkPolicy")
    assert policies[f"{HERE}/closed"].get("spec") == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for team in ("risk", "vision"):
        own = policies[f"{HERE}/team-{team}"]
        labels = pod_labels(asleep(cloud), f"{HERE}/team-{team}")
        assert own.get("spec.podSelector.matchLabels").items() <= labels.items()
        assert reached(own, "ingress") == {(f"team-{team}", "", 8080)}
        assert reached(own, "egress") == {(f"serving-{team}", "", 8080)}
        assert (HERE, team, 8080) in reached(policies[f"team-{team}/endpoints"], "egress")
        assert (HERE, team, 8080) in reached(policies[f"serving-{team}/needed"], "ingress")
        assert labels["ai-platform.io/team"] == team
    # Whatever is in there is not called but for counts.
    assert reached(policies[f"{HERE}/needed"], "ingress") == {("", "", 9090), ("keda", "", 9090)}


def pod_labels(found: Graph, name: str) -> dict[str, str]:
    return objects(found, "Deployment")[name].get("spec.template.metadata.labels")


@pytest.mark.parametrize("cloud", CLOUDS)
def test_an_interceptor_knows_the_routes_of_its_team_alone(cloud: Any):
    found = asleep(cloud)
    [container] = pod(found, "Deployment", f"{HERE}/team-risk")["containers"]
    assert variables(container)["KEDA_HTTP_WATCH_NAMESPACE"] == "serving-risk"
    assert not [name for name in objects(found, "ClusterRole") if "interceptor" in name]
    bound = objects(found, "RoleBinding")["serving-risk/interceptor"]
    assert bound.get("subjects") == [{"kind": "ServiceAccount", "name": "team-risk", "namespace": HERE}]
    verbs = {verb for rule in objects(found, "Role")["serving-risk/interceptor"].get("rules") for verb in rule["verbs"]}
    assert verbs == {"get", "list", "watch"}
    # Behind its fence from the first request.
    fences = {each.urn for name, each in objects(found, "NetworkPolicy").items() if name.startswith(f"{HERE}/")}
    mine = {objects(found, "NetworkPolicy")[f"{HERE}/{name}"].urn for name in ("closed", "needed", "team-risk")}
    assert fences & before(found, objects(found, "Deployment")[f"{HERE}/team-risk"]) == mine


def test_prod_has_two_and_what_they_hold_is_given_time():
    for tier, most in (("dev", 1), ("prod", 2)):
        deployment = objects(asleep("aws", tier), "Deployment")[f"{HERE}/team-risk"]
        assert deployment.get("spec.replicas") == most
        spec = deployment.get("spec.template.spec")
        given = variables(spec["containers"][0])
        waits = [int(given[f"KEDA_HTTP_{name}"].rstrip("s")) for name in ("SHUTDOWN_DELAY", "DRAIN_TIMEOUT")]
        assert sum(waits) <= spec["terminationGracePeriodSeconds"]


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    assert FOLDER is not None
    with ApiServer(FOLDER) as started:
        started.define([*STUBS, *definitions(CRDS)])
        yield started


@needs_a_server
@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_server_takes_them(server: ApiServer, cloud: Any):
    # The namespace as it is, so that its pods are held against it.
    for kind in ("Namespace", "PriorityClass"):
        for each in objects(asleep(cloud, "prod"), kind).values():
            try:
                server.create(plain(each.inputs), dry=False)
            except RefusedError as refused:
                assert "already exists" in str(refused)  # noqa: PT017  the other cloud's
    assert refusals(server, asleep(cloud, "prod")) == []
    spec = plain(pod(asleep(cloud, "prod"), "Deployment", f"{HERE}/team-risk"))
    thing = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": HERE}, "spec": spec}
    server.create(thing)
    spec["containers"][0]["securityContext"] = {}
    with pytest.raises(RefusedError, match="restricted"):
        server.create(thing)
