"""Caches of Memorystore: who reaches them, how much they hold, and how they are watched."""

import shutil
from functools import cache
from types import SimpleNamespace
from typing import Any

import pulumi
import pytest

from components import contracts
from components.core import caching
from components.gcp.serving.cache import Cache, CacheArgs, discovered, nodes, vouching
from policies.model import Graph
from preview.record import run
from tests.conftest import ROOT
from tests.gcp import building
from tests.gcp.building import before, kind, one
from tests.gcp.test_serving_endpoints import PROJECT_ID, TEAM, key, scope, text

SERVICES = ("cloudresourcemanager", "logging", "memorystore", "monitoring")
NETWORK = f"projects/{PROJECT_ID}/global/networks/acme-ai-dev-vpc"


def build(name: str = "answers", *, tier: str = "prod", preview: bool = False, **changes: Any) -> Graph:
    def program() -> None:
        here = scope(tier)
        values: dict[str, Any] = {
            "apis": {f"{service}.googleapis.com": text(PROJECT_ID) for service in SERVICES}, "max_gib": 8,
            "keep_minutes": 10, "clients": {"chat": "chat@a.iam.gserviceaccount.com"},
            "connected": text("policy"), "key": key("data"), "team": [text(TEAM)],
            "network": contracts.Network(id=text(NETWORK), workload_subnets=[], data_subnets=[], cidr="10.64.0.0/16"),
        }  # fmt: skip
        made = Cache(name, CacheArgs(**{**values, **changes}), scope=here, parent=here.provider).outputs
        pulumi.export("port", made.port)
        pulumi.export("told", {client: dict(entry.variables) for client, entry in made.entries.items()})

    return run(program, preview=preview)


@cache
def graph() -> Graph:
    return build()


def instance(found: Graph) -> Any:
    [made] = kind(found, "memorystore/Instance")
    return made


def test_it_is_private_encrypted_and_drops_what_is_longest_unused():
    made = instance(graph())
    assert made.get("authorizationMode") == "IAM_AUTH"
    assert made.get("transitEncryptionMode") == "SERVER_AUTHENTICATION"
    assert made.get("kmsKey").endswith("/data")
    assert made.get("engineConfigs") == {"maxmemory-policy": "allkeys-lru"}
    assert made.get("desiredAutoCreatedEndpoints") == [{"network": NETWORK, "projectId": PROJECT_ID}]
    assert made.get("persistenceConfig") == {"mode": "DISABLED"}


def test_a_destroy_is_refused_but_in_dev_and_prod_has_a_second_machine():
    assert (instance(graph()).get("deletionProtectionEnabled"), instance(graph()).get("replicaCount")) == (True, 1)
    dev = instance(build(tier="dev"))
    assert (dev.get("deletionProtectionEnabled"), dev.get("replicaCount")) == (False, 0)


def test_whoever_is_nobody_in_particular_may_do_nothing():
    [users] = kind(build(clients={}), "memorystore/AclPolicy")
    assert users.get("rules") == [{"username": "default", "rule": "on -@all"}]


def test_it_lets_nobody_in_by_itself_and_vouches_for_itself_alone():
    assert not kind(graph(), "projects/IAMMember")
    assert instance(graph()).get("serverCaMode") == "GOOGLE_MANAGED_PER_INSTANCE_CA", "names are not looked at"


@pytest.mark.parametrize("gib", [1, 5, 6, 10, 11, 46, 47, 200, 500])
@pytest.mark.parametrize("trial", [True, False])
def test_its_machines_hold_what_is_described(gib: int, trial: bool):
    holds = {"SHARED_CORE_NANO": 1.12, "STANDARD_SMALL": 5.2, "HIGHMEM_MEDIUM": 10.4, "HIGHMEM_XLARGE": 46.4}
    found, shards = nodes(gib, trial=trial)
    assert holds[found] * shards >= gib
    assert trial or found != "SHARED_CORE_NANO", "it has no service level"


def test_it_is_watched_before_it_is_full():
    policies = kind(graph(), "monitoring/AlertPolicy")
    assert len(policies) == 3
    for policy in policies:
        query = policy.get("conditions")[0]["conditionPrometheusQueryLanguage"]["query"]
        assert 'instance_id="acme-ai-prod-answers"' in query
        assert policy.get("notificationChannels") == [TEAM]
    full = one(graph(), "monitoring/AlertPolicy", "answers-alarm-answers-cache-full")
    assert "> 90" in full.get("conditions")[0]["conditionPrometheusQueryLanguage"]["query"]


def test_names_are_within_limits_and_a_first_preview_knows_no_outputs():
    made = instance(build("a" + "b" * 62, preview=True))
    assert 4 <= len(made.get("instanceId")) <= 63


def test_the_address_is_where_all_machines_are_found_and_its_authority_is_handed_on():
    def connection(type_: str, at: str) -> Any:
        return SimpleNamespace(psc_auto_connection=SimpleNamespace(connection_type=type_, ip_address=at))

    pair = [connection("CONNECTION_TYPE_PRIMARY", "10.64.1.1"), connection("CONNECTION_TYPE_DISCOVERY", "10.64.1.2")]
    assert discovered([SimpleNamespace(connections=pair)]) == "10.64.1.2"
    assert discovered([]) == ""
    chains = [SimpleNamespace(certificates=["new\n", "root"]), SimpleNamespace(certificates=["old"])]
    assert vouching([SimpleNamespace(ca_certs=chains)]) == "new\nroot\nold\n"
    assert vouching(None) == ""


# ---- Its clients


OBJECTIVE = {"p95_ms": 8000, "requests_per_month": 1000}
MODEL = {"image": "serving:1.0.0"}
KINDS: dict[str, dict[str, Any]] = {
    "scores": {"kind": "realtime", "server": "kubernetes", "scale": {"max": 2}, "objective": OBJECTIVE},
    "rare": {"kind": "serverless", "concurrency": {"max": 5}, "objective": OBJECTIVE},
    "search": {"kind": "container", "scale": {"max": 2}, "objective": OBJECTIVE, "api": {"throttle_rps": 5}},
    "price": {"kind": "function", "concurrency": {"max": 5}, "objective": OBJECTIVE, "api": {"throttle_rps": 5}},
    "queue": {"kind": "async", "scale": {"max": 2}, "objective": {"requests_per_month": 1000}},
    "other": {"kind": "serverless", "concurrency": {"max": 5}, "objective": OBJECTIVE},
}  # fmt: skip
CLIENTS = sorted({*KINDS} - {"other"})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    project = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "stacks", project / "stacks")
    endpoints = {name: {"team": "risk", "model": MODEL, **said} for name, said in KINDS.items()}
    caches = {"answers": {"team": "risk", "clients": CLIENTS}}
    return building.build(project, {"serving": {"endpoints": endpoints, "caches": caches}, "training": {"queues": {}}})


def account(client: str) -> str:
    return f"{client}-pods" if client == "scores" else f"serve-{client}"


def told(found: Graph, client: str) -> dict[str, Any]:
    if client == "scores":
        [service] = [r for r in found.resources.values() if r.name == "scores-answering"]
        variables = service.get("spec.predictor.containers")[0]["env"]
    else:
        variables = one(found, "cloudrunv2/Service", f"{client}-run-service").get("template")["containers"][0]["envs"]
    return {each["name"]: each.get("value") for each in variables}


def test_each_client_may_connect_to_this_cache_and_nobody_else_may(whole: Graph):
    grants = [g for g in kind(whole, "projects/IAMMember") if g.get("role") == "roles/memorystore.dbConnectionUser"]
    accounts = {name: one(whole, "serviceaccount/Account", f"{account(name)}-account") for name in CLIENTS}
    assert {g.get("member") for g in grants} == {f"${{{found.urn}#member}}" for found in accounts.values()}
    made = instance(whole)
    path = f"projects/{PROJECT_ID}/locations/{made.get('location')}/instances/{made.get('instanceId')}"
    assert {g.get("condition.expression") for g in grants} == {f'resource.name == "{path}"'}


def test_each_client_reads_and_writes_keys_of_its_own_and_no_others(whole: Graph):
    [users] = kind(whole, "memorystore/AclPolicy")
    assert instance(whole).get("aclPolicy") == f"${{{users.urn}#id}}", "it would hold for no cache"
    rules = {rule["username"]: rule["rule"] for rule in users.get("rules")}
    assert rules.pop("default") == "on -@all", "whoever gives no name is this one"
    emails = {
        name: f"{one(whole, 'serviceaccount/Account', f'{account(name)}-account').get('accountId')}" for name in CLIENTS
    }
    ends = f"@{PROJECT_ID}.iam.gserviceaccount.com"
    assert rules == {f"{emails[name]}{ends}": caching.access(name) for name in CLIENTS}
    for name in CLIENTS:
        assert [word for word in caching.access(name).split() if word[0] in "~%&"] == [f"~{name}:*"]
        assert "allkeys" not in caching.access(name)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_is_told_where_its_cache_is_and_starts_once_it_gets_there(whole: Graph, client: str):
    found = told(whole, client)
    assert found["CACHE_URL"].startswith("rediss://")
    assert (found["CACHE_SIGN_IN"], found["CACHE_PREFIX"]) == ("memorystore", client)
    assert "CACHE_AUTHORITY" in found, "its authority is no public one"
    logical = "scores-answering" if client == "scores" else f"{client}-run-service"
    [resource] = [r for r in whole.resources.values() if r.name == logical]
    assert {"answers-cache", f"{account(client)}-cache", "network-connects-gcp-memorystore"} <= before(whole, resource)


def test_who_is_no_client_is_told_nothing(whole: Graph):
    assert not any(name.startswith("CACHE") for name in told(whole, "other"))


@pytest.mark.parametrize("client", [name for name in CLIENTS if name != "scores"])
def test_a_client_on_cloud_run_is_in_the_network_of_the_cache(whole: Graph, client: str):
    access = one(whole, "cloudrunv2/Service", f"{client}-run-service").get("template")["vpcAccess"]
    assert access["egress"] == "ALL_TRAFFIC"
    assert access["networkInterfaces"][0]["network"] == instance(whole).get("desiredAutoCreatedEndpoints")[0]["network"]


def test_pods_of_a_client_get_out_to_all_of_its_ports(whole: Graph):
    [policy] = [r for r in whole.resources.values() if r.name == "scores-to-cache"]
    [way] = policy.get("spec.egress")
    assert way["ports"] == [{"port": 6379, "endPort": 13047, "protocol": "TCP"}], "its machines have ports of their own"
    assert policy.get("spec.podSelector.matchLabels") == {"ai-platform.io/endpoint": "scores"}
    [service] = [r for r in whole.resources.values() if r.name == "scores-answering"]
    assert "scores-to-cache" in before(whole, service)
