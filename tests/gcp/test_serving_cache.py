"""Caches of Memorystore: who reaches them, how much they hold, and how they are watched."""

from functools import cache
from typing import Any

import pulumi
import pytest

from components import contracts
from components.gcp.serving.cache import Cache, CacheArgs, nodes
from policies.model import Graph
from preview.record import run
from tests.gcp.building import kind, one
from tests.gcp.test_serving_endpoints import CALLER, PROJECT_ID, TEAM, key, scope, text

SERVICES = ("cloudresourcemanager", "logging", "memorystore", "monitoring")
NETWORK = f"projects/{PROJECT_ID}/global/networks/acme-ai-dev-vpc"


def build(name: str = "answers", *, tier: str = "prod", preview: bool = False, **changes: Any) -> Graph:
    def program() -> None:
        here = scope(tier)
        values: dict[str, Any] = {
            "apis": {f"{service}.googleapis.com": text(PROJECT_ID) for service in SERVICES}, "max_gib": 8,
            "clients": {"chat": CALLER}, "connected": text("policy"), "key": key("data"), "team": [text(TEAM)],
            "network": contracts.Network(id=text(NETWORK), workload_subnets=[], data_subnets=[], cidr="10.64.0.0/16"),
        }  # fmt: skip
        made = Cache(name, CacheArgs(**{**values, **changes}), scope=here, parent=here.provider).outputs
        pulumi.export("port", made.port)

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


def test_clients_sign_in_to_this_cache_and_to_no_other():
    [grant] = kind(graph(), "projects/IAMMember")
    assert (grant.get("role"), grant.get("member")) == (
        "roles/memorystore.dbConnectionUser",
        f"serviceAccount:{CALLER}",
    )
    path = f"projects/{PROJECT_ID}/locations/us-central1/instances/acme-ai-prod-answers"
    assert grant.get("condition.expression") == f'resource.name == "{path}"'
    assert instance(graph()).get("instanceId") == "acme-ai-prod-answers"


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
