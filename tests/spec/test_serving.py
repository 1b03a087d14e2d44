# ruff: noqa: E501 - a case a line, to be read as a table
"""Endpoints of a description: what is refused, with which words, and what follows from an objective."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from components.core.answering import COLD_START_MS, NEVER_ZERO, RELEASES
from components.spec import checks_serving
from components.spec.capacity import Capacity
from components.spec.endpoints import alarms, answering, fitting, instances, requests_per_second
from components.spec.load import load
from components.spec.serving import Async, Batch, Compute, Container, Function, Llm, Pretrained, RealTime, Serverless
from tests.spec.test_load import TODAY, problems

PROMISED = {"p95_ms": 2000, "requests_per_month": 20_000_000}
API = {"throttle_rps": 500}
BASE: dict[str, dict[str, Any]] = {
    "realtime": {"model": {"package": "fraud", "version": "12"}, "scale": {"min": 2, "max": 10, "target": {"requests_per_second": 50}}, "objective": PROMISED},
    "serverless": {"model": {"image": "serving:1.0.0", "artifact": {"path": "fraud/model.tar.gz"}}, "concurrency": {"max": 5}, "objective": {**PROMISED, "p95_ms": 8000}},
    "async": {"model": {"image": "serving:1.0.0"}, "scale": {"max": 4}, "objective": {"requests_per_month": 1000}},
    "batch": {"model": {"image": "serving:1.0.0"}, "input": {"zone": "curated"}, "objective": {"records_per_month": 1000}},
    "function": {"model": {"image": "serving:1.0.0"}, "concurrency": {"warm": 1, "max": 5}, "objective": PROMISED, "api": API},
    "container": {"model": {"image": "serving:1.0.0"}, "scale": {"max": 4}, "objective": PROMISED, "api": API},
    "llm": {"model": {"aws": "amazon.nova-lite-v1:0", "gcp": "publishers/google/models/gemini-2.5-flash"}, "tokens_per_minute": 100_000, "objective": {"requests_per_month": 1000}},
    "edge": {"model": {"image": "serving:1.0.0"}, "fleet": "cameras"},
}  # fmt: skip
WEIGHTS = {"model": {"weights": {"path": "llama/"}}, "pool": "l4-spot", "scale": {"min": 1, "max": 2}}
CLUSTER = {"server": "kubernetes", "model": {"image": "serving:1.0.0"}, "scale": {"max": 3}}
SLOW = {**PROMISED, "p95_ms": 60_000}
ASLEEP = {**CLUSTER, "scale": {"min": 0, "max": 3}}
ON_L4 = {"pool": "l4-spot", "compute": {"accelerator": "nvidia-l4"}}
DOMAIN = {
    "tokens": {"issuer": "https://id.example.com", "keys": "https://id.example.com/keys", "audience": "ml"},
    "domain": {"name": "ml.example.com"},
}
AT = "serving.endpoints.score"


def endpoint(kind: str, **changes: Any) -> dict[str, Any]:
    """An endpoint of a kind; None takes a key away."""
    made = {"kind": kind, "team": "risk", **BASE[kind], **changes}
    return {key: value for key, value in made.items() if value is not None}


def describe(
    project: Path,
    stack: str,
    *,
    serving: dict[str, Any] | None = None,
    retrieval: dict[str, Any] | None = None,
    **endpoints: Any,
) -> None:
    """Give a stack these endpoints and no others."""
    platform = project / "stacks/platform.yaml"
    content = yaml.safe_load(platform.read_text())
    content.pop("serving", None)
    content.pop("retrieval", None)
    platform.write_text(yaml.safe_dump(content))
    file = project / f"stacks/Pulumi.{stack}.yaml"
    content = yaml.safe_load(file.read_text())
    content["config"]["ai-platform:serving"] = {
        **DOMAIN,
        **(serving or {}),
        "endpoints": {name.replace("_", "-"): e for name, e in endpoints.items()},
    }
    content["config"]["ai-platform:retrieval"] = retrieval or {}
    file.write_text(yaml.safe_dump(content, sort_keys=False))


CASES: dict[str, tuple[str, dict[str, Any], str, str, str]] = {
    # what -> stack, the endpoint, key of the problem, what is wrong, what would be right
    "no kind": ("dev", {"team": "risk"}, AT, "its kind is missing", "a key `kind`"),
    "no such kind": ("dev", {"team": "risk", "kind": "realtme"}, AT, "realtme is no kind", "realtime?"),
    "a key of another kind": ("dev", endpoint("realtime", concurrency={"max": 3}), f"{AT}.concurrency", "no key here", "one of: team"),
    "a model that is a word": ("dev", endpoint("realtime", model="fraud"), f"{AT}.model", "fraud is not a map", "a map"),
    "no such strategy": ("dev", endpoint("realtime", release={"strategy": "canry"}), f"{AT}.release", "canry is no strategy", "canary?"),
    "no such team": ("dev", endpoint("realtime", team="rsk"), f"{AT}.team", "no team rsk", "risk?"),
    "no such model": ("dev", endpoint("realtime", model={"package": "frod", "version": "1"}), f"{AT}.model.package", "no model frod", "fraud?"),
    "no version in prod": ("prod", endpoint("realtime", model={"package": "fraud"}), f"{AT}.model.version", "which version", '"12"'),
    "no version in a shadow": ("dev", endpoint("realtime", release={"strategy": "shadow", "model": {"package": "fraud"}}), f"{AT}.release.model.version", "which version", '"12"'),
    "no such zone of an artifact": ("dev", endpoint("function", model={"image": "serving:1.0.0", "artifact": {"zone": "modles", "path": "a", "sha256": "0" * 64}}), f"{AT}.model.artifact.zone", "no zone modles", "models?"),
    "no such zone of answers": ("dev", endpoint("async", zone="artefacts"), f"{AT}.zone", "no zone artefacts", "artifacts?"),
    "no such zone of records": ("dev", endpoint("batch", input={"zone": "cured"}), f"{AT}.input.zone", "no zone cured", "curated?"),
    "no such repository": ("dev", endpoint("function", model={"image": "srving:1"}), f"{AT}.model.image", "no repository srving", "serving?"),
    "an image that moves": ("dev", endpoint("container", model={"image": "serving:latest"}), f"{AT}.model.image", "another image every day", "digest"),
    "a cloud that is not there": ("dev", endpoint("realtime", on="gcp"), f"{AT}.on", "not on gcp", "aws"),
    "min over max": ("dev", endpoint("realtime", scale={"min": 5, "max": 3}), f"{AT}.scale", "min 5 is over max 3", "max: 5"),
    "real time at zero": ("dev", endpoint("realtime", scale={"min": 0, "max": 3}), f"{AT}.scale.min", "does not scale to zero", "async or serverless"),
    "real time at zero on Google Cloud": ("dev-gcp", endpoint("realtime", scale={"min": 0, "max": 3}), f"{AT}.scale.min", "does not scale to zero", "serverless"),
    "a container at zero": ("dev", endpoint("container", scale={"min": 0, "max": 3}), f"{AT}.scale.min", "does not scale to zero", "function"),
    "weights at zero": ("dev", endpoint("llm", **{**WEIGHTS, "scale": {"min": 0, "max": 2}}), f"{AT}.scale.min", "does not scale to zero", "foundation"),
    "more warm than there may be": ("dev", endpoint("function", concurrency={"warm": 9, "max": 3}), f"{AT}.concurrency", "warm 9 is over max 3", "max: 9"),
    "two targets": ("dev", endpoint("realtime", scale={"max": 3, "target": {"requests_per_second": 3, "concurrency": 2}}), f"{AT}.scale.target", "no measure, or two", "requests_per_second or concurrency"),
    "no machine": ("dev", endpoint("realtime", compute={"accelerator": "nvidia-l5"}), f"{AT}.compute", "SageMaker answers on no machine with 1 nvidia-l5", "another accelerator"),
    "no such machine": ("dev-gcp", endpoint("realtime", compute={"machine": "m7i.large"}), f"{AT}.compute", "Vertex AI answers on no machine with m7i.large", "less"),
    "a GPU on Fargate": ("dev", endpoint("container", compute={"accelerator": "nvidia-l4"}), f"{AT}.compute", "Fargate has no nvidia-l4", "none"),
    "a large container": ("dev-gcp", endpoint("container", compute={"cpu": 16, "memory_gib": 64}), f"{AT}.compute", "Cloud Run has no instance with 16 vCPUs", "8 and 32 at most"),
    "a machine on Cloud Run": ("dev-gcp", endpoint("async", compute={"machine": "n2-standard-4"}), f"{AT}.compute", "Cloud Run has no n2-standard-4", "cpu and memory_gib"),
    "canary over half of the fleet": ("dev", endpoint("realtime", release={"strategy": "canary", "percent": 60}), f"{AT}.release.percent", "more than half", "50 at most"),
    "shadow on serverless": ("dev", endpoint("serverless", release={"strategy": "shadow", "model": {"image": "serving:2.0.0"}}), f"{AT}.release.strategy", "shadow is not there for serverless on aws", "kind: realtime"),
    "canary on serverless of AWS": ("dev", endpoint("serverless", release={"strategy": "canary"}), f"{AT}.release.strategy", "canary is not there", "kind: realtime or kind: async"),
    "shadow on Google Cloud": ("dev-gcp", endpoint("realtime", release={"strategy": "shadow", "model": {"package": "fraud", "version": "3"}}), f"{AT}.release.strategy", "shadow is not there", "canary"),
    "two colours of a function of AWS": ("dev", endpoint("function", release={"strategy": "blue_green"}), f"{AT}.release.strategy", "blue_green is not there", "canary"),
    "a promise under a cold start": ("dev", endpoint("serverless", objective=PROMISED), f"{AT}.objective.p95_ms", "2000 ms cannot be kept", "concurrency.warm: 1"),
    "a promise under a cold start of a GPU": ("dev-gcp", endpoint("serverless", accelerator="nvidia-l4", objective={**PROMISED, "p95_ms": 4000}), f"{AT}.objective.p95_ms", "5000 ms or more", "concurrency.warm: 1"),
    "a promise under a cold start in a cluster": ("dev", endpoint("realtime", **ASLEEP), f"{AT}.objective.p95_ms", "in a cluster takes 5000 ms or more", "scale.min: 1"),
    "a promise under a cold start in Google Cloud's": ("dev-gcp", endpoint("realtime", **ASLEEP), f"{AT}.objective.p95_ms", "in a cluster takes 5000 ms or more", "scale.min: 1"),
    "a promise under the start of a machine": ("dev", endpoint("realtime", **ASLEEP, **ON_L4, objective={**PROMISED, "p95_ms": 8000}), f"{AT}.objective.p95_ms", "in an empty pool takes 60000 ms or more", "scale.min: 1"),
    "too much memory": ("dev", endpoint("serverless", memory_gib=8), f"{AT}.memory_gib", "8 GiB are too many", "6 at most"),
    "a GPU on serverless of AWS": ("dev", endpoint("serverless", accelerator="nvidia-l4"), f"{AT}.accelerator", "has no nvidia-l4", "kind: realtime"),
    "a package in a function of Google Cloud": ("dev-gcp", endpoint("serverless", model={"package": "fraud", "version": "1"}), f"{AT}.model", "reads no package", "image and artifact"),
    "captured asynchronously on Google Cloud": ("dev-gcp", endpoint("async", capture_percent=5), f"{AT}.capture_percent", "captures nothing", "0"),
    "devices on Google Cloud": ("dev-gcp", endpoint("edge"), f"{AT}.kind", "no service for fleets", "on: aws"),
    "a pool without a cluster": ("dev", endpoint("realtime", pool="l4-spot"), f"{AT}.pool", "has no pool", "server: kubernetes"),
    "no such pool": ("dev", endpoint("llm", **{**WEIGHTS, "pool": "l4-spt"}), f"{AT}.pool", "no pool l4-spt", "l4-spot?"),
    "more than the pool has": ("dev", endpoint("llm", **{**WEIGHTS, "scale": {"max": 30}}), f"{AT}.scale.max", "l4-spot has 8", "nodes.max"),
    "an accelerator without a pool": ("dev", endpoint("realtime", **CLUSTER, compute={"accelerator": "nvidia-l4"}), f"{AT}.pool", "comes from a pool", "l4-spot"),
    "a rate in a cluster": ("dev", endpoint("realtime", **{**CLUSTER, "scale": {"max": 3, "target": {"requests_per_second": 5}}}), f"{AT}.scale.target", "keeps no rates", "concurrency"),
    "a canary that is less than a pod": ("dev", endpoint("realtime", **{**CLUSTER, "scale": {"min": 2, "max": 4}}, release={"strategy": "canary", "percent": 10}), f"{AT}.release.percent", "one beside 2 has 33 percent, not 10", "33 or more, or scale.min: 9, or strategy: blue_green"),
    "a canary of one pod": ("dev-gcp", endpoint("realtime", **CLUSTER, release={"strategy": "canary", "percent": 49}), f"{AT}.release.percent", "one beside 1 has 50 percent", "50 or more, or scale.min: 2"),
    "a canary of none": ("dev", endpoint("realtime", **ASLEEP, release={"strategy": "canary", "percent": 50}, objective=SLOW), f"{AT}.scale.min", "there may be none", "1 or more, or strategy: all_at_once"),
    "two colours of none": ("dev-gcp", endpoint("realtime", **ASLEEP, release={"strategy": "blue_green"}, objective=SLOW), f"{AT}.scale.min", "there may be none", "1 or more, or strategy: all_at_once"),
    "two colours that do not fit": ("dev", endpoint("realtime", **{**CLUSTER, "scale": {"min": 1, "max": 5}}, **ON_L4, release={"strategy": "blue_green"}), f"{AT}.scale.max", "10 accelerators with its release, and l4-spot has 8", "nodes.max"),
    "a canary that does not fit": ("dev", endpoint("realtime", **{**CLUSTER, "scale": {"min": 1, "max": 8}}, **ON_L4, release={"strategy": "canary", "percent": 50}), f"{AT}.scale.max", "9 accelerators with its release, and l4-spot has 8", "nodes.max"),
    "a shadow in a cluster": ("dev", endpoint("realtime", **CLUSTER, release={"strategy": "shadow", "model": {"image": "serving:2.0.0"}}), f"{AT}.release.strategy", "shadow is not there", "kind: realtime"),
    "a canary of a language model of ours": ("dev", endpoint("llm", **WEIGHTS, release={"strategy": "canary"}), f"{AT}.release.strategy", "canary is not there", "all_at_once"),
    "an alarm that takes nothing back": ("dev", endpoint("realtime", **CLUSTER, release={"strategy": "all_at_once", "rollback_on": ["error_rate"]}), f"{AT}.release.rollback_on", "does not become ready", "strategy: canary or blue_green"),
    "a watch of a language model of ours": ("dev", endpoint("llm", **WEIGHTS, release={"strategy": "all_at_once", "bake_minutes": 5}), f"{AT}.release.bake_minutes", "does not become ready", "no bake_minutes"),
    "identities before a cluster": ("dev", endpoint("realtime", **CLUSTER, api={**API, "auth": "iam"}), f"{AT}.api.auth", "not identities of the cloud", "jwt, or server: managed"),
    "identities before a container in a cluster": ("dev-gcp", endpoint("container", server="kubernetes", api={**API, "auth": "iam"}), f"{AT}.api.auth", "not identities of the cloud", "server: managed"),
    "a port of what checks tokens": ("dev-gcp", endpoint("container", server="kubernetes", port=15443), f"{AT}.port", "tokens are checked", "another than 15000"),
    "a pool without a cluster, of a container": ("dev", endpoint("container", pool="l4-spot"), f"{AT}.pool", "has no pool", "server: kubernetes"),
    "a canary of a container that is less than a pod": ("dev", endpoint("container", server="kubernetes", release={"strategy": "canary"}), f"{AT}.release.percent", "one beside 1 has 50 percent, not 10", "strategy: blue_green"),
    "a rate of a container in a cluster": ("dev", endpoint("container", server="kubernetes", scale={"max": 3, "target": {"requests_per_second": 5}}), f"{AT}.scale.target", "keeps no rates", "concurrency"),
    "a container of a cluster at zero": ("dev-gcp", endpoint("container", server="kubernetes", scale={"min": 0, "max": 3}, objective=SLOW), f"{AT}.scale.min", "does not scale to zero", "serverless"),
    "an archive of a container in a cluster": ("dev", endpoint("container", server="kubernetes", model={"image": "serving:1.0.0", "artifact": {"path": "a.tar.gz"}}), f"{AT}.model.artifact.sha256", "whose digest", "pack"),
    "asleep behind a front": ("dev", endpoint("realtime", **ASLEEP, api=API, objective=SLOW), f"{AT}.scale.min", "behind an api does not scale to zero", "no api"),
    "captured in a cluster": ("dev", endpoint("realtime", **CLUSTER, capture_percent=5), f"{AT}.capture_percent", "nothing captures", "0"),
    "an archive without a digest": ("dev", endpoint("realtime", **{**CLUSTER, "model": {"image": "serving:1.0.0", "artifact": {"path": "a.tar.gz"}}}), f"{AT}.model.artifact.sha256", "whose digest", "pack"),
    "a run for longer than its queue": ("dev", endpoint("batch", queue="train", objective={"finish_hours": 100, "records_per_month": 5}), f"{AT}.objective.finish_hours", "after 24 hours", "24 at most"),
    "no such queue": ("dev", endpoint("batch", queue="trian"), f"{AT}.queue", "no queue trian", "train?"),
    "a language model in prod without a guardrail": ("prod", endpoint("llm"), f"{AT}.guardrail", "unchecked", "retrieval.guardrails"),
    "no such guardrail": ("dev", endpoint("llm", guardrail="strict"), f"{AT}.guardrail", "no guardrail strict", ""),
    "no name on this cloud": ("dev-gcp", endpoint("llm", model={"aws": "amazon.nova-lite-v1:0"}), f"{AT}.model.gcp", "what it is called on gcp", "its name"),
    "machines for a model of the cloud": ("dev", endpoint("llm", scale={"max": 2}), f"{AT}.scale", "no machines of ours", "weights"),
    "weights without machines": ("dev", endpoint("llm", model={"weights": {"path": "llama/"}}), f"{AT}.pool", "machines of ours", "a pool"),
    "units on Vertex AI": ("dev-gcp", endpoint("llm", units=2), f"{AT}.units", "cannot be bought", "console"),
    "units in several regions": ("dev", endpoint("llm", model={"aws": "us.amazon.nova-lite-v1:0"}, units=2), f"{AT}.units", "in one region", "amazon.nova-lite-v1:0"),
    "a model of devices without a digest": ("dev", endpoint("edge", model={"image": "serving:1.0.0", "artifact": {"path": "cameras/model.tar.gz"}}), f"{AT}.model.artifact.sha256", "could not tell", "digest"),
    "units of a model of ours": ("dev", endpoint("llm", **WEIGHTS, units=2), f"{AT}.units", "units are bought", "no units"),
    "a foreign domain": ("dev", endpoint("function", api={**API, "domain": "score.example.org"}), f"{AT}.api.domain", "not a label below ml.example.com", "score.ml.example.com"),
    "an image of another registry": ("dev", endpoint("realtime", model={"image": "docker.io/acme/serve:1"}), f"{AT}.model.image", "Amazon ECR alone", "registry.images"),
    "a long watch": ("dev", endpoint("realtime", release={"strategy": "all_at_once", "bake_minutes": 90}), f"{AT}.release.bake_minutes", "90 minutes do not fit", "at most"),
    "a canary of one": ("dev", endpoint("realtime", scale={"max": 1}, release={"strategy": "canary"}), f"{AT}.release.strategy", "a fleet of one", "all_at_once"),
    "a canary that p95 does not see": ("dev", endpoint("realtime", release={"strategy": "canary", "percent": 3, "rollback_on": ["p95_latency"]}), f"{AT}.release.rollback_on", "does not see 3 percent", "error_rate"),
    "too many at once": ("dev", endpoint("serverless", concurrency={"max": 300}), f"{AT}.concurrency.max", "300 requests at once", "200 at most"),
    "a folder for serverless": ("dev", endpoint("serverless", model={"image": "serving:1.0.0", "artifact": {"path": "fraud/"}}), f"{AT}.model.artifact.path", "no folder", "model.tar.gz"),
    "a digest for a run": ("dev", endpoint("batch", model={"image": "serving:1.0.0", "artifact": {"path": "model.tar.gz", "sha256": "0" * 64}}), f"{AT}.model.artifact.sha256", "no digest", "realtime"),
    "a host two labels below": ("dev", endpoint("function", api={**API, "domain": "score.eu.ml.example.com"}), f"{AT}.api.domain", "not a label below", "score.ml.example.com"),
    "an api of Vertex AI": ("dev-gcp", endpoint("realtime", api=API), f"{AT}.api", "no load balancer of Google Cloud", "serverless or container"),
    "identities before a container": ("dev", endpoint("container", api={**API, "auth": "iam"}), f"{AT}.api.auth", "does not know identities", "jwt"),
    "an archive of a function without a digest": ("dev", endpoint("function", model={"image": "serving:1.0.0", "artifact": {"path": "model.tar.gz"}}), f"{AT}.model.artifact.sha256", "digest", "sha256sum"),
    "days of month and of week": ("dev", endpoint("batch", schedule="0 3 1 * 1"), f"{AT}.schedule", "EventBridge takes", "a *"),
}  # fmt: skip


@pytest.mark.parametrize("what", CASES)
def test_a_bad_endpoint_is_reported(project: Path, what: str):
    stack, bad, key, wrong, right = CASES[what]
    describe(project, stack, score=bad)
    found = problems(project, stack)
    assert key in found, found
    assert wrong in found[key][1], found[key]
    assert right in found[key][2], found[key]
    assert len(found) == 1 or what in {"units of a model of ours", "weights without machines"}, found


@pytest.mark.parametrize("kind", BASE)
@pytest.mark.parametrize("stack", ["dev", "dev-gcp"])
def test_every_kind_can_be_described(project: Path, stack: str, kind: str):
    described = endpoint(kind)
    if stack == "dev-gcp" and kind == "edge":
        return
    describe(project, stack, score=described)
    environment = load(project, stack, today=TODAY)
    assert list(answering(environment, "gcp" if stack.endswith("gcp") else "aws")) == ["score"]
    assert answering(environment, "aws" if stack.endswith("gcp") else "gcp") == {}


@pytest.mark.parametrize("stack", ["dev", "dev-gcp"])
def test_an_endpoint_in_a_cluster_may_have_no_instance(project: Path, stack: str):
    slow, slower = ({**PROMISED, "p95_ms": ms} for ms in (6000, 90_000))
    describe(
        project,
        stack,
        score=endpoint("realtime", **{**ASLEEP, "objective": slow}),
        see=endpoint("realtime", **{**ASLEEP, **ON_L4, "objective": slower}),
    )
    assert load(project, stack).serving.endpoints.keys() == {"score", "see"}


def test_an_endpoint_waits_for_a_version(project: Path):
    describe(project, "dev", score=endpoint("realtime", model={"package": "fraud"}))
    environment = load(project, "dev", today=TODAY)
    assert list(environment.serving.endpoints) == ["score"]
    assert answering(environment, "aws") == {}


def test_all_endpoints_with_their_releases_stay_under_the_ceiling(project: Path):
    describe(
        project,
        "dev",
        serving={"max_instances": 25},
        a=endpoint("realtime"),
        b=endpoint("container"),
        c=endpoint("function"),
    )
    found = problems(project, "dev")["serving.max_instances"]
    assert found[1].endswith(": a 20, b 8")
    assert found[2].startswith("28 or more")
    describe(project, "dev", serving={"max_instances": 28}, a=endpoint("realtime"), b=endpoint("container"))
    assert load(project, "dev", today=TODAY).serving.max_instances == 28


def test_tokens_and_a_name_are_asked_for_where_there_is_a_front(project: Path):
    describe(project, "dev", serving={"tokens": None, "domain": None}, score=endpoint("function"))
    found = problems(project, "dev")
    assert "nobody issues tokens" in found[f"{AT}.api.auth"][1]
    assert "TLS needs one" in found[f"{AT}.api.domain"][1]


def test_a_front_of_a_cluster_needs_a_name_and_keys_that_it_can_read(project: Path):
    for stack in ("dev", "dev-gcp"):
        describe(
            project, stack, score=endpoint("container", server="kubernetes"), a=endpoint("realtime", **CLUSTER, api=API)
        )
        assert set(load(project, stack, today=TODAY).serving.endpoints) == {"score", "a"}
        describe(project, stack, serving={"domain": None}, score=endpoint("container", server="kubernetes"))
        assert "TLS needs one" in problems(project, stack)[f"{AT}.api.domain"][1]
    describe(project, "dev-gcp", score=endpoint("container", server="kubernetes"))
    file = project / "stacks/Pulumi.dev-gcp.yaml"
    content = yaml.safe_load(file.read_text())
    network = content["config"]["ai-platform:network"]
    network["egress"] = "deny"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    found = problems(project, "dev-gcp")[f"{AT}.api"]
    assert "lets nobody read their keys" in found[1]
    assert "network.allow" in found[2]
    network["allow"] = ["203.0.113.0/24"]
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    assert load(project, "dev-gcp", today=TODAY)


def test_a_gateway_wants_two_zones_and_few_throttles(project: Path):
    many = {f"f{i}": endpoint("function", api={"throttle_rps": i + 1}) for i in range(11)}
    describe(project, "dev", **many)
    assert "11 different throttles" in problems(project, "dev")["serving.endpoints"][1]
    describe(project, "dev", score=endpoint("function"))
    file = project / "stacks/Pulumi.dev.yaml"
    content = yaml.safe_load(file.read_text())
    content["config"]["ai-platform:network"]["zones"] = 1
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    assert "two zones" in problems(project, "dev")["network.zones"][1]


def test_a_host_stands_for_one_endpoint(project: Path):
    api = {**API, "domain": "score.ml.example.com"}
    describe(project, "dev", one=endpoint("function", api=api), two=endpoint("container", api=api))
    assert "stands twice" in problems(project, "dev")["serving.endpoints.two.api.domain"][1]


def test_caches_and_services_belong_to_somebody(project: Path):
    serving = {
        "caches": {"answers": {"team": "rsk", "clients": ["scroe"]}},
        "services": {
            "vision": {"teams": ["visoin"], "calls_per_day": 5},
            "speech": {"teams": ["risk"], "calls_per_day": 5, "on": "gcp"},
        },
    }
    describe(project, "dev", serving=serving, score=endpoint("function"))
    found = problems(project, "dev")
    assert "risk?" in found["serving.caches.answers.team"][2]
    assert "score?" in found["serving.caches.answers.clients[0]"][2]
    assert "vision?" in found["serving.services.vision.teams[0]"][2]
    assert found["serving.services.speech.on"][1:] == ("the environment is not on gcp", "one of: aws")


@pytest.mark.parametrize(
    ("expected", "cap", "ceiling"), [(5, None, 10), (5, 5, 5), (5, 6, 6), (5, 1_000_000, 1_000_000), (5, 4, None)]
)
def test_a_ceiling_is_never_below_what_is_expected(project: Path, expected: int, cap: int | None, ceiling: int | None):
    service = {"teams": ["risk"], "calls_per_day": expected} | ({"cap_calls_per_day": cap} if cap else {})
    describe(project, "dev", serving={"services": {"vision": service}})
    if ceiling is None:
        wrong = "a ceiling of 4 is below the 5 calls that are expected"
        assert problems(project, "dev")["serving.services.vision.cap_calls_per_day"][1:] == (
            wrong, "5 or more, or nothing for twice that",
        )  # fmt: skip
    else:
        assert load(project, "dev").serving.services["vision"].ceiling == ceiling


@pytest.mark.parametrize("key", ["calls_per_day", "cap_calls_per_day"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "many"])
def test_calls_are_counted_in_whole_ones(project: Path, key: str, value: Any):
    service = {"teams": ["risk"], "calls_per_day": 5} | {key: value}
    describe(project, "dev", serving={"services": {"vision": service}})
    assert f"serving.services.vision.{key}" in problems(project, "dev")


@given(st.integers(1, 10**9), st.none() | st.integers(1, 10**9))
def test_without_a_word_twice_what_is_expected_may_be_called(expected: int, cap: int | None):
    spec = Pretrained(teams=["risk"], calls_per_day=expected, cap_calls_per_day=cap)
    assert spec.ceiling == (2 * expected if cap is None else cap)


# What else of the environment has to be reached.
OTHERS = ["secretsmanager", "sagemaker.api", "sagemaker.runtime"]


@pytest.mark.parametrize(
    ("tier", "nat", "private", "told"),
    [
        ("dev", "single", OTHERS, False),
        ("dev", "none", None, False),
        ("dev", "none", [*OTHERS, "transcribe"], True),
        ("dev", "none", [*OTHERS, "transcribe", "transcribestreaming"], False),
        # In prod a policy lets calls through that come by an endpoint, whatever other way there is.
        ("prod", "per_zone", OTHERS, True),
    ],
)
def test_a_service_is_called_where_there_is_a_way(
    project: Path, tier: str, nat: str, private: list[str] | None, told: bool
):
    describe(project, "dev", serving={"services": {"speech": {"teams": ["risk"], "calls_per_day": 5}}})
    file = project / "stacks/Pulumi.dev.yaml"
    content = yaml.safe_load(file.read_text())
    content["config"]["ai-platform:tier"] = tier
    content["config"]["ai-platform:network"].update({"nat": nat, "egress": "open", "private_services": private})
    file.write_text(yaml.safe_dump(content))
    if not told:
        assert load(project, "dev").serving.services
        return
    _, wrong, right = problems(project, "dev")["network.private_services"]
    assert wrong.startswith("speech is called")
    assert "transcribestreaming in the list" in right


CLIENTS: dict[str, tuple[str, dict[str, Any], str, str]] = {
    # what -> stack, the endpoint, what is wrong, what would be right
    "real time on SageMaker": ("dev", endpoint("realtime"), "is isolated", "kind: container or function, or server: kubernetes"),
    "asynchronous on SageMaker": ("dev", endpoint("async"), "is isolated", "kind: container or function"),
    "serverless on SageMaker": ("dev", endpoint("serverless"), "in no network of ours", "kind: container or function"),
    "real time on Vertex AI": ("dev-gcp", endpoint("realtime"), "network of Google's", "serverless, or server: kubernetes"),
    "a run": ("dev", endpoint("batch"), "each record once", "no client"),
    "a run on Google Cloud": ("dev-gcp", endpoint("batch"), "each record once", "no client"),
    "a language model": ("dev-gcp", endpoint("llm"), "ask no cache of ours", "a client that asks it"),
    "a language model of ours": ("dev", endpoint("llm", **WEIGHTS), "ask no cache of ours", "a client that asks it"),
    "devices": ("dev", endpoint("edge"), "not in the network", "no client"),
}  # fmt: skip


@pytest.mark.parametrize("case", CLIENTS)
def test_what_uses_no_cache_is_refused(project: Path, case: str):
    stack, described, wrong, right = CLIENTS[case]
    describe(project, stack, serving={"caches": {"answers": {"team": "risk", "clients": ["score"]}}}, score=described)
    found = problems(project, stack)["serving.caches.answers.clients[0]"]
    assert wrong in found[1]
    assert right in found[2]


@pytest.mark.parametrize("stack", ["dev", "dev-gcp"])
def test_what_has_a_container_of_ours_in_the_network_uses_one(project: Path, stack: str):
    able = {"function": {}, "container": {}, "realtime": CLUSTER}
    if stack == "dev-gcp":
        able |= {"serverless": {}, "async": {}}
    endpoints = {kind: endpoint(kind, **more) for kind, more in able.items()}
    describe(project, stack, serving={"caches": {"answers": {"team": "risk", "clients": sorted(able)}}}, **endpoints)
    assert load(project, stack).serving.caches["answers"].clients == sorted(able)


@pytest.mark.parametrize("stack", ["dev", "dev-gcp"])
def test_endpoints_of_several_teams_share_one(project: Path, stack: str):
    serving = {"caches": {"answers": {"team": "risk", "clients": ["score"]}}}
    describe(project, stack, serving=serving, score=endpoint("function", team="vision"))
    assert load(project, stack).serving.caches["answers"].clients == ["score"]


def test_an_endpoint_has_one_cache_and_is_its_client_once(project: Path):
    serving = {
        "caches": {
            "answers": {"team": "risk", "clients": ["score", "score"]},
            "others": {"team": "risk", "clients": ["score"], "keep_minutes": 0},
        }
    }
    describe(project, "dev", serving=serving, score=endpoint("function"))
    found = problems(project, "dev")
    assert "holds" in found["serving.caches.others.keep_minutes"][1] or found["serving.caches.others.keep_minutes"]
    serving["caches"]["others"].pop("keep_minutes")
    describe(project, "dev", serving=serving, score=endpoint("function"))
    found = problems(project, "dev")
    assert "twice" in found["serving.caches.answers.clients[1]"][1]
    assert "keeps its answers in answers" in found["serving.caches.others.clients[0]"][1]


RETRIEVAL: dict[str, tuple[str, dict[str, Any], str, str, str]] = {
    "no such reader": ("dev", {"corpora": {"policies": {"team": "risk", "readers": ["claims"]}}}, "retrieval.corpora.policies.readers[0]", "no team claims", "risk"),
    "no reader": ("dev", {"corpora": {"policies": {"team": "risk", "readers": []}}}, "retrieval.corpora.policies.readers", "holds 0", "1 or more"),
    "no such source": ("dev", {"corpora": {"policies": {"team": "risk", "readers": ["risk"], "source": "documents"}}}, "retrieval.corpora.policies.source", "no zone documents", "raw"),
    "no such guardrail": ("dev", {"corpora": {"policies": {"team": "risk", "readers": ["risk"], "guardrail": "strict"}}}, "retrieval.corpora.policies.guardrail", "no guardrail strict", ""),
    "nobody can ask": ("dev", {"corpora": {"policies": {"team": "risk", "readers": ["risk"]}}, "api": None}, "retrieval.api", "nobody can ask", "throttle_rps"),
    "topics on Google Cloud": ("dev-gcp", {"guardrails": {"strict": {"topics": {"law": {"definition": "Advice."}}}}, "corpora": {"policies": {"team": "risk", "readers": ["risk"], "guardrail": "strict"}}}, "retrieval.guardrails.strict.topics", "no filter for topics", "without topics"),
    "too few connections": ("dev-gcp", {"api": {"throttle_rps": 100}, "corpora": {"policies": {"team": "risk", "readers": ["risk"], "store": "database"}}}, "retrieval.database.size", "take 223 connections, and small has 200", "medium or large"),
    "connections that no size has": ("dev-gcp", {"api": {"throttle_rps": 500}, "database": {"size": "large"}, "corpora": {"policies": {"team": "risk", "readers": ["risk"], "store": "database"}}}, "retrieval.database.size", "large has 600", "throttle_rps"),
    "a database that is too small": ("dev-gcp", {"database": {"disk_gib": 5}}, "retrieval.database.disk_gib", "5 is too small", "20 or more"),
    "an embedding of elsewhere": ("dev", {"corpora": {"policies": {"team": "risk", "readers": ["risk"], "embedding": {"aws": "amazon.titan-embed-txt-v2:0"}}}}, "retrieval.corpora.policies.embedding.aws", "no corpus on aws", "amazon.titan-embed-text-v2:0"),
    "vectors that are too long": ("dev-gcp", {"corpora": {"policies": {"team": "risk", "readers": ["risk"], "embedding": {"dimensions": 1024}}}}, "retrieval.corpora.policies.embedding.dimensions", "do not have 1024", "768"),
    "tokens on Google Cloud": ("dev-gcp", {"corpora": {"policies": {"team": "risk", "readers": ["risk"], "chunks": {"tokens": 500}}}}, "retrieval.corpora.policies.chunks", "by characters", "no chunks"),
    "documents in two zones": ("dev", {"corpora": {"policies": {"team": "risk", "readers": ["risk"]}, "claims": {"team": "risk", "readers": ["risk"], "source": "curated"}}}, "retrieval.corpora.claims.source", "lie in raw", "raw"),
    "a guardrail of nothing": ("dev", {"guardrails": {"open": {"pii": "off", "prompt_attack": "off", "harmful": "off"}}}, "retrieval.guardrails.open", "lets everything through", "not off"),
    "two hyphens": ("dev", {"guardrails": {"very--strict": {}}}, "retrieval.guardrails.very--strict", "wrong form", "single hyphens"),
    "a long name": ("dev", {"guardrails": {"a" * 33: {}}}, f"retrieval.guardrails.{'a' * 33}", "too long", "32 characters"),
    "a host of the corpora": ("dev", {"api": {"throttle_rps": 20, "domain": "ask.ml.example.com"}}, "retrieval.api.domain", "no key here", "auth"),
    "no such persona": ("dev", {"prompt_readers": ["auditr"]}, "retrieval.prompt_readers[0]", "no persona auditr", "auditor?"),
}  # fmt: skip


@pytest.mark.parametrize("what", RETRIEVAL)
def test_bad_retrieval_is_reported(project: Path, what: str):
    stack, bad, key, wrong, right = RETRIEVAL[what]
    describe(project, stack, retrieval={"api": API, **bad})
    found = problems(project, stack)
    assert list(found) == [key], found
    assert wrong in found[key][1], found[key]
    assert right in found[key][2], found[key]


def test_a_guardrail_of_words_alone_is_one(project: Path):
    off = {"pii": "off", "prompt_attack": "off", "harmful": "off"}
    describe(project, "dev", retrieval={"guardrails": {"polite": {**off, "words": ["darn"]}}})
    assert load(project, "dev", today=TODAY).retrieval.guardrails["polite"].words == ["darn"]


def test_many_endpoints_in_a_cluster_look_at_its_pools_once(project: Path, monkeypatch: pytest.MonkeyPatch):
    made: list[Any] = []

    class Counted(Capacity):
        def __init__(self, *args: Any) -> None:
            made.append(args)
            super().__init__(*args)

    monkeypatch.setattr(checks_serving, "Capacity", Counted)
    llm = endpoint("llm", **WEIGHTS, guardrail="default")
    run = endpoint("batch", queue="train")
    many = {f"e{i}": [endpoint("realtime", **CLUSTER), llm, run][i % 3] for i in range(30)}
    describe(project, "dev", serving={"max_instances": 500}, retrieval={"guardrails": {"default": {}}}, **many)
    assert len(load(project, "dev", today=TODAY).serving.endpoints) == 30
    assert len(made) == 1


def test_a_database_holds_corpora_on_google_cloud(project: Path):
    corpus = {"team": "risk", "readers": ["risk"], "store": "database"}
    describe(project, "dev-gcp", retrieval={"api": {"throttle_rps": 80}, "corpora": {"policies": corpus}})
    assert load(project, "dev-gcp", today=TODAY).retrieval.corpora
    # Whoever asks collections holds no connection.
    describe(
        project,
        "dev-gcp",
        retrieval={"api": {"throttle_rps": 900}, "corpora": {"policies": {**corpus, "store": "vectors"}}},
    )
    assert load(project, "dev-gcp", today=TODAY).retrieval.corpora


def test_what_makes_tables_finds_the_database_and_its_secrets(project: Path):
    corpora = {"policies": {"team": "risk", "readers": ["risk"], "store": "database"}}
    describe(project, "dev", retrieval={"api": API, "corpora": corpora})
    assert load(project, "dev", today=TODAY)
    file = project / "stacks/Pulumi.dev.yaml"
    content = yaml.safe_load(file.read_text())
    network = content["config"]["ai-platform:network"] | {"nat": "none", "egress": "deny"}
    for there, missing in (
        (["secretsmanager", "sagemaker.api", "sagemaker.runtime"], "rds-data"),
        (["rds-data"], "secretsmanager"),
    ):
        content["config"]["ai-platform:network"] = network | {"private_services": there}
        file.write_text(yaml.safe_dump(content, sort_keys=False))
        found = problems(project, "dev")["network.private_services"]
        assert missing in found[1]
        assert missing in found[2]


@pytest.mark.parametrize(
    ("cpu", "memory", "cloud", "machine"),
    [(4, 16, "aws", "m6i.xlarge"), (2, 4, "aws", "c6i.large"), (2, 8, "gcp", "e2-standard-2")],
)
def test_an_instance_is_the_smallest_that_has_what_is_asked_for(cpu: int, memory: int, cloud: Any, machine: str):
    found = fitting(Compute(cpu=cpu, memory_gib=memory), cloud, "us-west-2" if cloud == "aws" else "us-central1")
    assert found
    assert (found.vcpus, found.memory_gib) >= (cpu, memory)
    assert found.type == machine


def test_what_follows_from_an_objective():
    made = RealTime.model_validate(
        endpoint("realtime", objective={"p95_ms": 200, "availability_percent": 99.9, "requests_per_month": 2_592_000})
    )
    assert {sign: alarm.above for sign, alarm in alarms(made).items()} == {
        "p95_latency": 200,
        "error_rate": 0.1,
        "saturation": 80,
        "ceiling": 10,
    }
    assert requests_per_second(made) == 1
    waiting = Async.model_validate(endpoint("async", objective={"max_wait_minutes": 10, "requests_per_month": 1}))
    assert alarms(waiting)["waiting"].above == 600
    assert alarms(Llm.model_validate(endpoint("llm")))["ceiling"].above == 100_000
    assert alarms(Batch.model_validate(endpoint("batch"))) == {}
    for kind, model in (("serverless", Serverless), ("function", Function), ("container", Container)):
        assert {"p95_latency", "error_rate", "saturation", "ceiling"} == set(
            alarms(model.model_validate(endpoint(kind)))
        )


@pytest.mark.parametrize(
    ("kind", "changes", "most"),
    [
        ("realtime", {}, 20),
        ("realtime", {"release": {"strategy": "canary"}}, 20),
        ("realtime", {"release": {"strategy": "shadow", "model": {"package": "fraud", "version": "3"}}}, 20),
        ("realtime", {"server": "kubernetes"}, 11),
        ("realtime", {"server": "kubernetes", "release": {"strategy": "canary"}}, 11),
        ("realtime", {"server": "kubernetes", "release": {"strategy": "blue_green"}}, 20),
        ("batch", {"machines": 3}, 3),
        ("function", {}, 0),
        ("edge", {}, 0),
    ],
)  # fmt: skip
def test_a_release_on_its_way_counts(kind: str, changes: dict[str, Any], most: int):
    models: dict[str, Any] = {"realtime": RealTime, "batch": Batch, "function": Function}
    assert (
        instances(
            models.get(kind, Function).model_validate(endpoint(kind if kind in models else "function", **changes))
        )
        == most
    )


def test_tables_speak_of_kinds_that_there_are():
    kinds = {*BASE, "kubernetes", "gpu", "pool"}
    for table in (RELEASES, NEVER_ZERO, COLD_START_MS):
        assert {kind for _, kind in table} <= kinds
    assert set(RELEASES) >= {
        (cloud, kind)
        for cloud in ("aws", "gcp")
        for kind in ("realtime", "serverless", "async", "function", "container", "kubernetes", "llm")
    }
