"""The ways to pods of a cluster, as far as they lie outside of it: address, names, certificates, the firewall and alerts."""

from functools import cache
from pathlib import Path
from typing import Any

import pulumi

from components import contracts
from components.core.doors import FRONT
from components.core.fronts import Front
from components.gcp.serving.doors import Doors, DoorsArgs, Way
from components.gcp.serving.gateway import Gateway, GatewayArgs
from components.scope import PROJECT
from components.spec import serving
from components.spec.endpoints import alarms
from policies.model import Graph
from preview.record import run
from tests.gcp.alone import scope, text
from tests.gcp.building import build
from tests.gcp.test_serving_gateway import APIS, kind, upstream

SPEC = serving.Container.model_validate(
    {
        "kind": "container", "team": "risk", "server": "kubernetes", "model": {"image": "serving:1"},
        "scale": {"min": 2, "max": 6}, "objective": {"p95_ms": 300, "requests_per_month": 1000},
        "api": {"throttle_rps": 50},
    }
)  # fmt: skip
WAYS = {
    "search": Front(host="search.ml.example.com", throttle_rps=50, scope="search"),
    "score": Front(host="score.ml.example.com", throttle_rps=50, scope="score"),
    "open": Front(host="open.ml.example.com", throttle_rps=50, waf=False, scope="open"),
}
WHOLE: dict[str, dict[str, Any]] = {
    "serving": {
        "domain": {"name": "ml.example.com", "zone": {"gcp": "ml"}},
        "endpoints": {
            "search": {**SPEC.model_dump(exclude_none=True, exclude={"release"}), "model": {"image": "serving:1.0.0"}}
        },
    },
}


@cache
def made(*, named: bool = True, preview: bool = False) -> Graph:
    def program() -> None:
        root = pulumi.ComponentResource(f"{PROJECT}:Root", "root", None)
        here = scope(root)
        apis = {f"{name}.googleapis.com": text("acme-dev") for name in APIS}
        zone = "ml" if named else None
        gateway = Gateway(
            "gateway",
            GatewayArgs(fronts={}, services={}, domain="ml.example.com", zone=zone, apis=apis),
            scope=here,
            parent=root,
        ).outputs
        ways = {
            name: Way(
                front=front,
                space="serving-risk",
                container="service",
                kind="container",
                alarms=alarms(SPEC),
                team=[text("team")],
            )
            for name, front in WAYS.items()
        }
        cluster = contracts.Cluster(
            name=text("acme"), physical_name="acme", endpoint=text("1"), location="us-central1", provider=here.provider,
            resource=root, node_identity=text("node"), security_group=None,
        )  # fmt: skip
        args = DoorsArgs(
            apis=apis, ways=ways, gateway=gateway, cluster=cluster, zone=zone, critical=[text("channels/1")]
        )
        found = Doors("doors", args, scope=here, parent=root).outputs
        pulumi.export("entrance", dict(found.entrance))
        pulumi.export("records", {**gateway.records, **found.records})
        pulumi.export("policies", {name: door.target for name, door in found.doors.items()})

    return run(program, preview=preview)


def test_without_other_endpoints_the_gateway_is_its_certificates_alone():
    found = [r.type.rpartition(":")[2] for r in made().resources.values() if r.name.startswith("gateway-")]
    assert sorted(set(found)) == [
        "Certificate", "CertificateMap", "CertificateMapEntry", "DnsAuthorization", "RecordSet"
    ]  # fmt: skip


def test_the_load_balancer_is_told_what_was_made_for_it():
    told = made().outputs["entrance"]
    address, tls = kind(made(), "GlobalAddress")["doors-address"], kind(made(), "SSLPolicy")["doors-tls"]
    assert told["address"] == f"${{{address.urn}#name}}" or told["address"] == address.get("name")
    assert (tls.get("profile"), tls.get("minTlsVersion")) == ("RESTRICTED", "TLS_1_2")
    for name in WAYS:
        record = kind(made(), "RecordSet")[f"doors-{name}-name"]
        assert record.get("name") == f"{name}.ml.example.com."
        assert address.urn in upstream(made(), record.urn)


def test_endpoints_with_one_throttle_share_a_policy_and_those_without_a_firewall_another():
    policies = kind(made(), "SecurityPolicy")
    assert set(policies) == {"doors-throttle-50", "doors-throttle-50-only"}
    assert len(policies["doors-throttle-50"].get("rules")) > len(policies["doors-throttle-50-only"].get("rules"))
    for policy in policies.values():
        assert [rule["action"] for rule in policy.get("rules")][-2:] == ["throttle", "deny(403)"]
    told = made().outputs["policies"]
    assert told["search"] == told["score"] != told["open"]


def test_where_the_zone_is_somebody_s_else_a_person_gets_what_goes_there():
    records = made(named=False).outputs["records"]
    assert set(records) == {*(front.host for front in WAYS.values()), "_acme-challenge.ml.example.com"}
    assert not kind(made(named=False), "RecordSet")


def test_alerts_follow_from_the_objective_and_look_at_requests_that_came_from_outside():
    found = {r.get("displayName"): r for r in kind(made(), "AlertPolicy").values() if "search" in r.name}
    assert len(found) == 4
    queries = {}
    for name, policy in found.items():
        [condition] = policy.get("conditions")
        queries[name.rpartition("search-")[2]] = condition["conditionPrometheusQueryLanguage"]["query"]
    late, failed = queries["p95-latency"], queries["error-rate"]
    assert "> 300" in late
    assert 'envoy_response_code_class="5"' in failed
    for query in (late, failed, queries["ceiling"]):
        assert f'envoy_http_conn_manager_prefix="{FRONT}"' in query
        assert 'cluster="acme",namespace="serving-risk",job="search"' in query
    assert ">= 6" in queries["ceiling"]
    assert 'container_name="service"' in queries["saturation"]


def test_a_first_preview_knows_what_to_make():
    assert set(made(preview=True).resources) == set(made().resources)


def test_in_an_environment_what_it_is_told_comes_first_and_the_name_leads_there(project: Path):
    graph = build(project, WHOLE)
    by_name = {r.name: r for r in graph.resources.values()}
    gateway, route = by_name["front-gateway"], by_name["search-door-route"]
    first = upstream(graph, gateway.urn)
    for name in ("doors-address", "doors-tls", "gateway-certificate-of-hosts"):
        assert by_name[name].urn in first, name
    assert {gateway.urn, by_name["doors-throttle-50"].urn} <= upstream(graph, route.urn)
    assert route.urn in upstream(graph, by_name["search-deployment"].urn)
