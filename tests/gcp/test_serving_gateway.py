"""The gateway: what the internet may ask, what is behind each host, and whose tokens are taken."""

import json
import re
from functools import cache
from typing import Any

import pulumi
import pytest

from components.core.fronts import ARMOR, Front, armor, has_scope
from components.gcp.serving.exchange import Exchange, ExchangeArgs
from components.gcp.serving.gateway import Gateway, GatewayArgs
from components.scope import PROJECT
from components.spec.serving import Tokens
from policies.model import Graph, Resource
from preview.record import run
from tests.gcp.alone import scope, text

APIS = ("certificatemanager", "compute", "dns", "iam", "monitoring", "logging", "run")
NUMBER = "123456789012"
FRONTS = {
    "fraud": Front(host="fraud.ml.example.com", throttle_rps=500, scope="fraud"),
    "score": Front(host="score.ml.example.com", throttle_rps=500),
    "open": Front(host="open.ml.example.com", throttle_rps=500, waf=False),
}
TOKENS = Tokens(issuer="https://id.example.com", keys="https://id.example.com/keys", audience="ml")


@cache
def made(*, named: bool = True, tier: str = "dev", preview: bool = False) -> Graph:
    def program() -> None:
        root = pulumi.ComponentResource(f"{PROJECT}:Root", "root", None)
        here = scope(root, tier=tier)
        apis = {f"{name}.googleapis.com": text("acme-dev") for name in APIS}
        services = {name: text(f"acme-ai-dev-{name}") for name in FRONTS}
        args = GatewayArgs(
            fronts=FRONTS,
            services=services,
            domain="ml.example.com",
            zone="ml" if named else None,
            apis=apis,
            critical=[text("channels/1")],
            warning=[text("channels/2")],
        )
        gateway = Gateway("gateway", args, scope=here, parent=root).outputs
        told = ExchangeArgs(apis=apis, number=NUMBER, tokens=TOKENS, fronts=FRONTS, services=services, generation=1)
        exchange = Exchange("exchange", told, scope=here, parent=root).outputs
        pulumi.export("addresses", dict(gateway.addresses))
        pulumi.export("records", dict(gateway.records))
        pulumi.export("audiences", dict(exchange.audiences))
        pulumi.export("identities", dict(exchange.identities))

    return run(program, preview=preview)


def kind(graph: Graph, name: str) -> dict[str, Resource]:
    return {r.name: r for r in graph.resources.values() if r.type.startswith("gcp:") and r.type.endswith(f":{name}")}


def ref(resource: Resource) -> str:
    return f"${{{resource.urn}#id}}"


def upstream(graph: Graph, urn: str) -> set[str]:
    seen: set[str] = set()
    left = [urn]
    while left:
        for found in graph.resources[left.pop()].dependencies:
            if found not in seen:
                seen.add(found)
                left.append(found)
    return seen


def test_inventory():
    found = [r.type.rpartition(":")[2] for r in made().resources.values() if r.type.startswith("gcp:")]
    assert {name: found.count(name) for name in found} == {
        "GlobalAddress": 1, "BackendService": 4, "RegionNetworkEndpointGroup": 3, "SecurityPolicy": 3, "URLMap": 2,
        "SSLPolicy": 1, "TargetHttpsProxy": 1, "TargetHttpProxy": 1, "GlobalForwardingRule": 2, "Certificate": 1,
        "DnsAuthorization": 1, "CertificateMap": 1, "CertificateMapEntry": 1, "RecordSet": 4, "AlertPolicy": 2,
        "WorkloadIdentityPool": 1, "WorkloadIdentityPoolProvider": 1, "Account": 1, "IAMMember": 1, "ServiceIamMember": 1,
    }  # fmt: skip


def test_a_host_leads_to_its_service_and_any_other_name_to_nothing():
    graph = made()
    hosts, backends = kind(graph, "URLMap")["gateway-hosts"], kind(graph, "BackendService")
    matchers = {m["name"]: m["defaultService"] for m in hosts.get("pathMatchers")}
    for rule in hosts.get("hostRules"):
        [host] = rule["hosts"]
        endpoint = rule["pathMatcher"]
        assert host == FRONTS[endpoint].host
        backend = backends[f"gateway-to-{endpoint}"]
        assert matchers[endpoint] == ref(backend)
        group = kind(graph, "RegionNetworkEndpointGroup")[f"gateway-{endpoint}-service"]
        assert backend.get("backends") == [{"group": ref(group)}]
        assert group.get("cloudRun") == {"service": f"acme-ai-dev-{endpoint}"}
        assert group.get("networkEndpointType") == "SERVERLESS"
    nowhere = backends["gateway-to-nowhere"]
    assert hosts.get("defaultService") == ref(nowhere)
    assert not nowhere.get("backends")
    policy = kind(graph, "SecurityPolicy")["gateway-nowhere"]
    assert nowhere.get("securityPolicy") == ref(policy)
    assert [rule["action"] for rule in policy.get("rules")] == ["deny(404)"]


def test_every_backend_is_protected_and_recorded():
    for backend in kind(made(), "BackendService").values():
        assert backend.get("securityPolicy")
        assert backend.get("logConfig") == {"enable": True, "sampleRate": 1.0}
        assert backend.get("loadBalancingScheme") == "EXTERNAL_MANAGED"


def test_endpoints_with_the_same_throttle_share_a_policy():
    backends, policies = kind(made(), "BackendService"), kind(made(), "SecurityPolicy")
    assert backends["gateway-to-fraud"].get("securityPolicy") == backends["gateway-to-score"].get("securityPolicy")
    looks = [r for r in policies["gateway-throttle-500"].get("rules") if "expr" in r["match"]]
    assert len(looks) == len(ARMOR)
    assert not [r for r in policies["gateway-throttle-500-only"].get("rules") if "expr" in r["match"]]
    assert backends["gateway-to-open"].get("securityPolicy") == ref(policies["gateway-throttle-500-only"])


@pytest.mark.parametrize("rate", [1, 500, 100_000])
def test_attacks_are_looked_for_before_requests_are_counted(rate: int):
    *_, throttle, last = sorted(armor(rate, waf=True), key=lambda rule: rule["priority"])
    assert throttle["action"] == "throttle"
    limit = throttle["rate_limit_options"]["rate_limit_threshold"]
    assert limit["count"] / limit["interval_sec"] == rate
    # "Rate limiting overview": 1,000,000 at most.
    assert limit["count"] <= 1_000_000
    assert (last["action"], last["priority"]) == ("deny(403)", 2_147_483_647)
    assert len({rule["priority"] for rule in armor(rate, waf=True)}) == len(armor(rate, waf=True))


def test_in_prod_it_learns_what_is_usual():
    assert not kind(made(), "SecurityPolicy")["gateway-throttle-500"].get("adaptiveProtectionConfig")
    learns = kind(made(tier="prod"), "SecurityPolicy")["gateway-throttle-500"].get("adaptiveProtectionConfig")
    assert learns["layer7DdosDefenseConfig"]["enable"] is True


def test_tls_alone():
    graph = made()
    https, policy = kind(graph, "TargetHttpsProxy")["gateway-https"], kind(graph, "SSLPolicy")["gateway-tls"]
    assert (policy.get("profile"), policy.get("minTlsVersion")) == ("RESTRICTED", "TLS_1_2")
    assert https.get("sslPolicy") == ref(policy)
    assert https.get("certificateMap").startswith("//certificatemanager.googleapis.com/")
    redirect = kind(graph, "URLMap")["gateway-to-https"].get("defaultUrlRedirect")
    assert redirect["httpsRedirect"] is True
    ports = {r.get("portRange"): r.get("ipAddress") for r in kind(graph, "GlobalForwardingRule").values()}
    assert set(ports) == {"80", "443"}
    assert len(set(ports.values())) == 1


def test_a_certificate_for_every_host():
    graph = made()
    certificate = kind(graph, "Certificate")["gateway-certificate"]
    assert certificate.get("managed")["domains"] == ["ml.example.com", "*.ml.example.com"]
    authorization = kind(graph, "DnsAuthorization")["gateway-proof"]
    assert authorization.get("type") == "PER_PROJECT_RECORD"
    proof = kind(graph, "RecordSet")["gateway-proof-record"]
    assert {authorization.urn, proof.urn} <= upstream(graph, certificate.urn)
    assert kind(graph, "CertificateMapEntry")["gateway-certificate-of-hosts"].get("hostname") == "*.ml.example.com"


def test_names_lead_to_it():
    records = {r.get("name"): r.get("rrdatas") for r in kind(made(), "RecordSet").values() if r.get("type") == "A"}
    assert set(records) == {f"{front.host}." for front in FRONTS.values()}
    graph = made(named=False)
    assert not kind(graph, "RecordSet")
    assert set(graph.outputs["records"]) == {*(f.host for f in FRONTS.values()), "_acme-challenge.ml.example.com"}


def test_somebody_is_told():
    found = kind(made(), "AlertPolicy")
    assert set(found) == {"gateway-alarm-gateway-errors", "gateway-alarm-gateway-blocks"}
    assert all(policy.get("notificationChannels") for policy in found.values())
    [condition] = found["gateway-alarm-gateway-errors"].get("conditions")
    query = condition["conditionPrometheusQueryLanguage"]["query"]
    assert kind(made(), "URLMap")["gateway-hosts"].get("name") in query


# ---- Whose tokens are taken


def test_a_token_with_its_scope_may_call_one_service():
    graph = made()
    [provider] = kind(graph, "WorkloadIdentityPoolProvider").values()
    assert provider.get("oidc") == {"issuerUri": TOKENS.issuer, "allowedAudiences": ["ml"]}
    assert provider.get("attributeCondition") == "assertion.scope.matches('(^| )fraud( |$)')"
    assert provider.get("attributeMapping")["attribute.endpoint"] == "'fraud'"
    [become] = kind(graph, "IAMMember").values()
    assert become.get("role") == "roles/iam.workloadIdentityUser"
    assert become.get("member").startswith(f"principalSet://iam.googleapis.com/projects/{NUMBER}/")
    assert become.get("member").endswith("/attribute.endpoint/fraud")
    [call] = kind(graph, "ServiceIamMember").values()
    assert (call.get("role"), call.get("name")) == ("roles/run.invoker", "acme-ai-dev-fraud")
    # Nothing else, on nothing else.
    assert not kind(graph, "IamMember")
    assert not [r for r in graph.resources.values() if r.type.endswith(":IAMMember") and "projects/iAM" in r.type]


def test_identities_of_the_cloud_need_no_exchange():
    assert set(made().outputs["identities"]) == {"fraud"}


def test_callers_are_told_what_to_ask_for():
    audience = made().outputs["audiences"]["fraud"]
    assert audience.startswith(f"//iam.googleapis.com/projects/{NUMBER}/locations/global/workloadIdentityPools/")


@pytest.mark.parametrize("scope", ["fraud", "fraud.v2", "ml:fraud/score-1"])
def test_a_scope_is_one_word_of_many(scope: str):
    pattern = has_scope(scope).removeprefix("assertion.scope.matches('").removesuffix("')")
    assert re.search(pattern, scope)
    assert re.search(pattern, f"openid {scope} email")
    assert not re.search(pattern, f"{scope}s")
    assert not re.search(pattern, f"not-{scope}")
    assert not re.search(pattern, scope.replace(".", "x") + "x")


def test_names_fit():
    for resource in made().resources.values():
        name: Any = resource.get("name")
        if resource.type.startswith("gcp:compute") and name:
            assert len(name) <= 63
    for provider in kind(made(), "WorkloadIdentityPoolProvider").values():
        assert 4 <= len(provider.get("workloadIdentityPoolProviderId")) <= 32


def test_a_preview_knows_what_to_make():
    graph = made(preview=True)
    assert {r.urn for r in graph.resources.values()} == {r.urn for r in made().resources.values()}
    assert graph.outputs["addresses"]["fraud"] == "https://fraud.ml.example.com"
    assert json.dumps(graph.outputs["addresses"])
