"""What answers to the internet from a cluster: past what, whom its pods let in, and how a version takes over."""

import json
import re
from functools import cache
from typing import Any

import pulumi
import pytest
import yaml

from components.core.fronts import FRONT_ADMIN, FRONT_METRICS, FRONT_PORT
from components.kubernetes.foundation.charts import CHARTS
from policies.model import Graph
from tests.kubernetes.building import before, built, objects, releases
from tests.kubernetes.endpoints import SOURCES, TOKENS, fronted, text
from tests.kubernetes.test_schemas import HERE, VERSIONS, wrong
from tests.kubernetes.test_serving import CLOUDS, graph, needs_a_server, peers, pod, variables

REGISTRAR = "aws-load-balancer-controller"


@cache
def made(cloud: Any, tier: str = "dev") -> Graph:
    return built(cloud, tier=tier, args=fronted(cloud))


def envoy(name: str = "search") -> dict[str, Any]:
    space = {"search": "serving-risk", "score": "serving-vision"}[name]
    return yaml.safe_load(objects(made("gcp"), "ConfigMap")[f"{space}/{name}-front"].get("data")["envoy.yaml"])


def manager(config: dict[str, Any], name: str) -> dict[str, Any]:
    [listener] = [each for each in config["static_resources"]["listeners"] if each["name"] == name]
    return listener["filter_chains"][0]["filters"][0]["typed_config"]


def cluster_of(config: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in config["static_resources"]["clusters"] if each["name"] == name)


def address(config: dict[str, Any]) -> tuple[str, int]:
    found = config["address"]["socket_address"]
    return found["address"], found["port_value"]


def pods_of(cloud: Any) -> dict[str, Any]:
    found = made(cloud)
    return {
        "search": pod(found, "Deployment", "serving-risk/search"),
        "score": pod(found, "InferenceService", "serving-vision/score"),
    }


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_objects_are_well_formed(cloud: Any, version: str):
    assert list(wrong(made(cloud, "prod"), version)) == []


@needs_a_server
@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_server_takes_them(cloud: Any):
    from tests.kubernetes.api_server import ApiServer, assets, definitions
    from tests.kubernetes.test_api_server import CRDS, STUBS, refusals

    folder = assets()
    assert folder is not None
    with ApiServer(folder) as server:
        server.define([*STUBS, *definitions(CRDS)])
        assert refusals(server, made(cloud)) == []


def test_definitions_are_of_the_version_that_the_chart_installs():
    readme = (HERE / "crds" / "README.md").read_text()
    assert f"kubernetes-sigs/{REGISTRAR} | v{CHARTS[REGISTRAR].version} " in readme


def test_what_registers_pods_comes_only_where_it_has_something_to_do_and_makes_nothing():
    assert REGISTRAR not in releases(graph("aws"))
    assert REGISTRAR not in releases(made("gcp"))
    chart = releases(made("aws"))[REGISTRAR]
    values = chart.inputs["values"]
    assert values["vpcId"] == "vpc-1"
    assert values["enableServiceMutatorWebhook"] is False
    assert values["createIngressClassResource"] is False
    gates = values["controllerConfig"]["featureGates"]
    assert {gates[name] for name in ("ALBGatewayAPI", "NLBGatewayAPI", "EnableServiceController")} == {"false"}
    # A text, not a truth value, which Helm's template would leave out of a list of flags as well as print.
    assert values["podAnnotations"]["ai-platform.io/identity"] == "arn:aws:iam::1:role/registrar"
    mirrors = built("aws", args=lambda: {**fronted("aws")(), "mirrors": {"public.ecr.aws": text("mirror.example.com")}})
    written = json.dumps(releases(mirrors)[REGISTRAR].inputs["values"]["image"])
    assert "mirror.example.com/eks" in written


@pytest.mark.parametrize(("name", "port"), [("serving-risk/search", 9000), ("serving-vision/score", 8080)])
def test_aws_registers_pods_by_themselves_in_the_group_that_it_was_told(name: str, port: int):
    found = made("aws")
    spec = objects(found, "TargetGroupBinding")[name].get("spec")
    own = name.rpartition("/")[2]
    assert spec["serviceRef"] == {"name": f"{own}-http", "port": port}
    assert spec["targetGroupARN"].endswith(f"targetgroup/{own}/1")
    # All that the controller's webhook would fill in, and nothing that would let it open machines.
    assert {"targetType", "ipAddressType", "vpcID", "targetGroupProtocol"} < set(spec)
    assert "networking" not in spec
    service = objects(found, "Service")[f"{name}-http"].get("spec")
    # With the network policies of EKS the ports of service and container are the same.
    assert service["ports"] == [{"name": "http", "port": port, "targetPort": port, "protocol": "TCP"}]
    gated = objects(found, "Namespace")[name.partition("/")[0]].get("metadata.labels")
    assert gated["elbv2.k8s.aws/pod-readiness-gate-inject"] == "enabled"


def test_another_group_is_another_binding_and_never_the_same_one_moved():
    """The controller's webhook refuses it."""
    binding = objects(made("aws"), "TargetGroupBinding")["serving-risk/search"]
    assert "spec.targetGroupARN" in binding.replace_on_changes


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_way_is_there_before_the_first_pod_starts(cloud: Any):
    """A pod that starts before would be ready without the load balancer knowing it."""
    found = made(cloud)
    kinds = ("TargetGroupBinding",) if cloud == "aws" else ("HTTPRoute", "GCPBackendPolicy", "HealthCheckPolicy")
    for kind, space, name in (
        ("Deployment", "serving-risk", "search"),
        ("InferenceService", "serving-vision", "score"),
    ):
        first = before(found, objects(found, kind)[f"{space}/{name}"])
        for each in kinds:
            assert objects(found, each)[f"{space}/{name}"].urn in first, each
        assert objects(found, "NetworkPolicy")[f"{space}/{name}-front"].urn in first
        assert objects(found, "Service")[f"{space}/{name}-http"].urn in first
    if cloud == "aws":
        chart = releases(found)[REGISTRAR]
        assert chart.urn in before(found, objects(found, "TargetGroupBinding")["serving-risk/search"])


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_load_balancer_alone_comes_from_outside_and_the_team_alone_from_within(cloud: Any):
    policies = objects(made(cloud), "NetworkPolicy")
    front = policies["serving-risk/search-front"]
    [outside, *readers] = front.get("spec.ingress")
    assert [peer["ipBlock"]["cidr"] for peer in outside["from"]] == list(SOURCES[cloud])
    wanted = {9000} if cloud == "aws" else {FRONT_PORT, FRONT_METRICS}
    assert {each["port"] for each in outside["ports"]} == wanted
    # On Google Cloud nothing from outside reaches the container past what checks tokens.
    assert all(each["port"] == FRONT_METRICS for rule in readers for each in rule["ports"])
    assert front.get("spec.podSelector") == {"matchLabels": {"ai-platform.io/endpoint": "search"}}
    called = policies["serving-risk/search-called"]
    assert set(peers(called, "ingress")) == {"team-risk", "keda"} | ({"gmp-system"} if cloud == "gcp" else set())
    way = policies["team-risk/endpoint-search"]
    assert way.get("spec.policyTypes") == ["Egress"]
    [rule] = way.get("spec.egress")
    assert rule["to"][0]["podSelector"] == {"matchLabels": {"ai-platform.io/endpoint": "search"}}
    assert rule["ports"] == [{"port": 9000, "protocol": "TCP"}]
    for name, each in policies.items():
        if name.startswith("serving-") and not name.endswith("-front"):
            assert not set(peers(each, "ingress")) & {*SOURCES[cloud], "anyone"}, name


@pytest.mark.parametrize("cloud", CLOUDS)
def test_an_update_never_has_fewer_pods_than_before(cloud: Any):
    deployment = objects(made(cloud), "Deployment")["serving-risk/search"]
    assert deployment.get("spec.strategy") == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    }
    assert deployment.get("spec.minReadySeconds") > 10  # an interval of the health check
    assert deployment.get("spec.replicas") == 2
    assert "spec.replicas" in deployment.ignore_changes
    budget = objects(made(cloud), "PodDisruptionBudget")["serving-risk/search"]
    assert budget.get("spec.maxUnavailable") == 1
    scaled = objects(made(cloud), "ScaledObject")["serving-risk/search"].get("spec")
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (2, 6)
    assert ":9000/metrics" in scaled["triggers"][0]["metadata"]["url"]


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_pod_that_goes_answers_until_the_load_balancer_has_let_go(cloud: Any):
    spec = pods_of(cloud)["search"]
    grace = spec["terminationGracePeriodSeconds"]
    service, *front = spec["containers"]
    sleeps = service["lifecycle"]["preStop"]["sleep"]["seconds"]
    told = variables(service)
    assert sleeps > 20  # the draining of the target group
    assert sleeps + int(told["DRAIN_SECONDS"]) + int(told["GRACE_SECONDS"]) <= grace
    assert all(sleeps < each["lifecycle"]["preStop"]["sleep"]["seconds"] < grace for each in front)
    model = pods_of(cloud)["score"]
    told = variables(model["containers"][0])
    assert int(told["DRAIN_SECONDS"]) == sleeps
    assert int(told["DRAIN_SECONDS"]) + int(told["GRACE_SECONDS"]) < model["terminationGracePeriodSeconds"] == grace


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_container_is_asked_and_told_as_it_is_described(cloud: Any):
    service = pods_of(cloud)["search"]["containers"][0]
    assert service["startupProbe"]["httpGet"] == {"path": "/healthz", "port": 9000}
    told = variables(service)
    assert (told["PORT"], told["MAX_REQUESTS"], told["MODEL_DIGEST"]) == ("9000", "100", "a" * 64)
    for spec in pods_of(cloud).values():
        for each in spec["containers"]:
            assert each["securityContext"]["readOnlyRootFilesystem"] is True
            assert each["resources"]["requests"] == each["resources"]["limits"]


# -- Google Cloud


def test_the_gateway_speaks_tls_under_the_address_that_was_made_for_it():
    gateway = objects(made("gcp"), "Gateway")["front/front"]
    assert gateway.get("metadata.annotations")["networking.gke.io/certmap"] == "acme-certificates"
    assert gateway.get("spec.addresses") == [{"type": "NamedAddress", "value": "acme-address"}]
    https, http = gateway.get("spec.listeners")
    # GKE refuses both at once: "TLS configuration not allowed when CertificateMap is attached".
    assert (https["protocol"], "tls" in https) == ("HTTPS", False)
    assert https["allowedRoutes"]["namespaces"]["selector"] == {"matchLabels": {"ai-platform.io/serving": "true"}}
    assert http["allowedRoutes"]["namespaces"]["from"] == "Same"
    redirect = objects(made("gcp"), "HTTPRoute")["front/to-https"].get("spec")
    assert redirect["rules"][0]["filters"][0]["requestRedirect"] == {"scheme": "https", "statusCode": 301}
    assert "backendRefs" not in redirect["rules"][0]
    policy = objects(made("gcp"), "GCPGatewayPolicy")["front/front"]
    assert policy.get("spec.default.sslPolicy") == "acme-tls"
    assert policy.urn in before(made("gcp"), gateway)
    # What GKE makes for it lies outside of the cluster: it is asked for while the cluster is there.
    assert not gateway.deleted_with
    assert not objects(made("aws"), "Gateway")
    assert not objects(graph("gcp"), "Gateway")


def test_each_request_passes_the_firewall_and_is_logged():
    found = made("gcp")
    for space, name in (("serving-risk", "search"), ("serving-vision", "score")):
        route = objects(found, "HTTPRoute")[f"{space}/{name}"].get("spec")
        assert route["hostnames"] == [f"{name}.ml.example.com"]
        assert route["parentRefs"] == [{"name": "front", "namespace": "front", "sectionName": "https"}]
        [rule] = route["rules"]
        assert rule["backendRefs"] == [{"name": f"{name}-front", "port": FRONT_PORT}]
        policy = objects(found, "GCPBackendPolicy")[f"{space}/{name}"].get("spec")
        health = objects(found, "HealthCheckPolicy")[f"{space}/{name}"].get("spec")
        target = {"group": "", "kind": "Service", "name": f"{name}-front"}
        assert policy["targetRef"] == health["targetRef"] == target
        assert policy["default"]["securityPolicy"] == "throttle-50"
        assert policy["default"]["logging"] == {"enabled": True, "sampleRate": 1_000_000}
        assert health["default"]["config"]["httpHealthCheck"]["port"] == FRONT_METRICS
        service = objects(found, "Service")[f"{space}/{name}-front"].get("spec")
        assert service["selector"] == {"ai-platform.io/endpoint": name}
        assert service["ports"][0]["targetPort"] == FRONT_PORT


def test_a_token_is_checked_before_the_container_and_nowhere_else_passed():
    config = envoy()
    names = [each["name"] for each in manager(config, "front")["http_filters"]]
    assert names == ["tokens", "scope", "router"]
    tokens = manager(config, "front")["http_filters"][0]["typed_config"]
    provider = tokens["providers"]["tokens"]
    assert (provider["issuer"], provider["audiences"]) == (TOKENS.issuer, ["ml"])
    assert provider["require_expiration"] is True
    # A parameter of the address would do by default, and addresses are logged.
    assert provider["from_headers"] == [{"name": "Authorization", "value_prefix": "Bearer "}]
    assert tokens["rules"] == [{"match": {"prefix": "/"}, "requires": {"provider_name": "tokens"}}]
    assert [route["match"] for route in routes(config, "front")] == [{"prefix": "/"}]
    assert routes(config, "front")[0]["route"]["cluster"] == "endpoint"
    # What is open without a token is the health check and the metrics, on a port that no route leads to.
    assert [route["match"] for route in routes(config, "said")] == [{"path": "/metrics"}]
    listeners = {each["name"]: address(each) for each in config["static_resources"]["listeners"]}
    assert listeners == {"front": ("0.0.0.0", FRONT_PORT), "said": ("0.0.0.0", FRONT_METRICS)}  # noqa: S104
    assert address(config["admin"]) == ("127.0.0.1", FRONT_ADMIN)


def routes(config: dict[str, Any], name: str) -> list[dict[str, Any]]:
    [host] = manager(config, name)["route_config"]["virtual_hosts"]
    return host["routes"]


@pytest.mark.parametrize(
    ("said", "good"),
    [("search.read", True), ("a search.read b", True), ("searchXread", False), ("search.reads", False), ("", False)],
)
def test_a_scope_is_one_word_of_the_token_s(said: str, good: bool):
    rules = manager(envoy(), "front")["http_filters"][1]["typed_config"]["rules"]
    assert rules["action"] == "ALLOW"
    [policy] = rules["policies"].values()
    [principal] = policy["principals"]
    found = principal["sourced_metadata"]["metadata_matcher"]
    assert [each["key"] for each in found["path"]] == ["token", "scope"]
    pattern = found["value"]["string_match"]["safe_regex"]["regex"]
    assert bool(re.fullmatch(pattern, said)) is good


def test_keys_come_from_their_issuer_and_from_nobody_who_says_so():
    config = envoy()
    remote = manager(config, "front")["http_filters"][0]["typed_config"]["providers"]["tokens"]["remote_jwks"]
    assert remote["http_uri"]["uri"] == TOKENS.keys
    keys = cluster_of(config, remote["http_uri"]["cluster"])
    found = keys["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    assert address(found) == ("keys.example.com", 443)
    tls = keys["transport_socket"]["typed_config"]
    trusted = tls["common_tls_context"]["validation_context"]
    assert tls["sni"] == "keys.example.com"
    assert trusted["match_typed_subject_alt_names"] == [{"san_type": "DNS", "matcher": {"exact": "keys.example.com"}}]
    assert trusted["trusted_ca"]["filename"].startswith("/etc/ssl/")


def test_what_checks_tokens_knows_the_container_and_counts_by_what_is_promised():
    config = envoy()
    behind = cluster_of(config, "endpoint")
    found = behind["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    assert address(found) == ("127.0.0.1", 9000)
    assert behind["health_checks"][0]["http_health_check"] == {"path": "/healthz"}
    [bound] = config["stats_config"]["histogram_bucket_settings"]
    assert 200.0 in bound["buckets"]
    monitored = objects(made("gcp"), "PodMonitoring")["serving-risk/search"].get("spec.endpoints")
    assert {each["port"] for each in monitored} == {9000, FRONT_METRICS}
    kept = next(each for each in monitored if each["port"] == FRONT_METRICS)["metricRelabeling"][0]["regex"]
    for series in ("rq_xx", "rq_active", "rq_time_bucket", "rq_time_count"):
        assert re.fullmatch(kept, f"envoy_http_downstream_{series}")


def test_other_tokens_make_pods_anew():
    other = TOKENS.model_copy(update={"audience": "others"})
    changed = built("gcp", args=lambda: {**fronted("gcp")(), "tokens": other})
    noted = "spec.template.metadata.annotations"
    digests = {
        objects(found, "Deployment")["serving-risk/search"].get(noted)["ai-platform.io/code"]
        for found in (made("gcp"), changed)
    }
    assert len(digests) == 2


def test_a_first_preview_knows_nothing_of_the_cloud_and_still_builds():
    def args() -> dict[str, Any]:
        unknown = pulumi.Output.from_input("x").apply(lambda value: value)
        return fronted("gcp", identity=unknown, image=unknown)()

    assert set(objects(built("gcp", preview=True, args=args))) == set(objects(made("gcp")))
