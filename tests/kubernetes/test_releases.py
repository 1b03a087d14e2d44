"""New versions of endpoints in a cluster: what takes a part of the requests, who watches it, and what stays as it is."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import jsonschema
import pytest

from components.kubernetes.foundation.charts import CHARTS
from components.kubernetes.serving.watchers import PYTHON
from components.spec.endpoints import alarms
from policies.model import Graph
from preview.difference import compare
from runtime.serving import watch
from tests.kubernetes.api_server import ApiServer, RefusedError, definitions, plain
from tests.kubernetes.building import before, built, objects, releases
from tests.kubernetes.endpoints import endpoint, fronted
from tests.kubernetes.test_api_server import CRDS, STUBS, refusals
from tests.kubernetes.test_interceptors import reached
from tests.kubernetes.test_schemas import HERE, VERSIONS, own, wrong
from tests.kubernetes.test_serving import FOLDER, needs_a_server, variables

CLOUDS = ("aws", "gcp")
CHART, SPACE, NEW = "argo-rollouts", "releases", "ai-platform.io/new-version"
CANARY = {"strategy": "canary", "percent": 33, "bake_minutes": 30}
COLOURS = {"strategy": "blue_green", "bake_minutes": 10, "rollback_on": ["error_rate"]}
AT_ONCE = {"strategy": "all_at_once"}
SEARCH, FRAUD = "serving-risk/search", "serving-risk/fraud-predictor"


@cache
def graph(cloud: Any, tier: str = "dev", *, search: str = "canary", fraud: str = "blue_green") -> Graph:
    """A container and a model, each with a release."""
    said = {"canary": CANARY, "blue_green": COLOURS, "all_at_once": AT_ONCE}

    def args() -> dict[str, Any]:
        given = fronted(cloud)()
        made = given["endpoints"]
        made["search"] = replace(made["search"], spec=endpoint("container", release=said[search]))
        made["fraud"] = replace(made["fraud"], spec=endpoint("realtime", release=said[fraud]))
        return given

    return built(cloud, tier=tier, args=args)


def job(found: Graph, name: str) -> dict[str, Any]:
    [metric] = objects(found, "AnalysisTemplate")[name].get("spec.metrics")
    return metric["provider"]["job"]


def as_made(found: Graph, name: str) -> dict[str, Any]:
    """The job that Argo Rollouts makes of an analysis."""
    said = plain(job(found, name))
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {**said["metadata"], "name": "a.watched.1", "namespace": SPACE},
        "spec": said["spec"],
    }


def told(found: Graph, name: str) -> dict[str, Any]:
    return variables(job(found, name)["spec"]["template"]["spec"]["containers"][0])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_objects_are_well_formed(cloud: Any, version: str):
    for tier in ("dev", "prod"):
        assert list(wrong(graph(cloud, tier), version)) == []
    # The definition leaves the job's pods open.
    schema = own(version)["batch/v1", "Job"]
    for name in (SEARCH, "serving-risk/fraud"):
        assert not list(jsonschema.Draft7Validator(schema).iter_errors(as_made(graph(cloud), name)))


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_controller_is_there_only_where_an_endpoint_is_released_so(cloud: Any):
    none = graph(cloud, search="all_at_once", fraud="all_at_once")
    assert CHART not in releases(none)
    assert not objects(none, "Rollout")
    assert SPACE not in objects(none, "Namespace")
    one = graph(cloud, fraud="all_at_once")
    assert set(objects(one, "Rollout")) == {SEARCH}
    assert CHART in releases(one)
    readme = (HERE / "crds" / "README.md").read_text()
    assert "argoproj/argo-rollouts | v1.9.0 " in readme
    assert "v1.9.0" in CHARTS[CHART].source


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_first_version_comes_in_order(cloud: Any):
    found = graph(cloud)
    for name, first in ((SEARCH, "Deployment/serving-risk/search"), (FRAUD, "InferenceService/serving-risk/fraud")):
        rollout = objects(found, "Rollout")[name]
        needed = {releases(found)[CHART].urn, objects(found)[first].urn}
        needed |= {
            objects(found, "NetworkPolicy")[f"{SPACE}/closed"].urn,
            objects(found, "ConfigMap")[f"{SPACE}/watch"].urn,
        }
        assert needed <= before(found, rollout)
        # A first version is tried as it is made.
        assert rollout.get("metadata.annotations")["pulumi.com/waitFor"] == "jsonpath={.status.phase}=Healthy"


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_pods_are_the_rollout_s_and_made_by_the_deployment(cloud: Any):
    found = graph(cloud)
    for name, rollout in objects(found, "Rollout").items():
        workload = rollout.get("spec.workloadRef")
        assert (workload["kind"], workload["scaleDown"]) == ("Deployment", "onsuccess")
        # Metrics and alarms go by this name: those of the cluster's own agents call pods after what owns their set.
        assert f"serving-risk/{workload['name']}" == name
        assert not {"template", "selector"} & set(rollout.get("spec"))
        assert rollout.get("spec.progressDeadlineAbort") is True
    assert objects(found, "Deployment")[SEARCH].get("spec.replicas") == 0
    # Or KServe would set the number of pods, and not leave it to the rollout.
    served = objects(found, "InferenceService")["serving-risk/fraud"]
    assert served.get("metadata.annotations")["serving.kserve.io/autoscalerClass"] == "external"
    for name in (SEARCH, FRAUD):
        [scaled] = [each for each in objects(found, "ScaledObject").values() if name.endswith(each.get("spec.scaleTargetRef.name"))]  # fmt: skip  # noqa: E501
        assert scaled.get("spec.scaleTargetRef") == {
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": name.partition("/")[2]
        }  # fmt: skip
        # Or KEDA would refuse it: the kind has to be there.
        assert releases(found)[CHART].urn in before(found, scaled)
    # One without such a release goes on as it was.
    other = objects(found, "ScaledObject")["serving-vision/vision"]
    assert releases(found)[CHART].urn not in before(found, other)
    assert other.get("spec.scaleTargetRef") == {"name": "vision-predictor"}


def spans(counts: tuple[int, int]) -> float:
    return 100 * counts[0] / sum(counts)


def split(replicas: int, percent: int) -> tuple[int, int]:
    """Pods of the new and of the old version, with one more than wanted at most.

    Source: argo-rollouts v1.9.0, utils/replicaset/canary.go, `approximateWeightedCanaryStableReplicaCounts`.
    """
    up, down = math.ceil(replicas * percent / 100), replicas * percent // 100

    def tied(total: int) -> bool:
        return math.isclose((total * percent / 100) % 1, 0.5)

    options: list[tuple[int, int]] = []
    if up < replicas:
        options.append((up, replicas))
    if not tied(replicas) and down:
        options.append((down, replicas))
    options.append((up, replicas + 1))
    if not tied(replicas + 1) and down:
        options.append((down, replicas + 1))
    new, total = min(options, key=lambda each: abs(100 * each[0] / each[1] - percent))
    return new, total - new


def test_a_canary_that_the_checks_let_through_has_what_it_says():
    """To half a pod: so the smallest one that they let through is one pod beside the others."""
    for least in range(1, 30):
        smallest = 100 // (least + 1)
        assert split(least, smallest) in {(1, least), (1, least - 1)}
        for percent in range(smallest, 51):
            new, old = split(least, percent)
            assert old >= 1
            assert abs(spans((new, old)) - percent) <= 100 / (least + 1)
    # And what they refuse would be more than it says.
    assert spans(split(2, 10)) > 30


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_canary_is_watched_before_the_rest_follows(cloud: Any):
    canary = objects(graph(cloud), "Rollout")[SEARCH].get("spec.strategy.canary")
    assert canary["steps"] == [
        {"setWeight": 33}, {"analysis": {"templates": [{"templateName": "search"}]}}
    ]  # fmt: skip
    assert (canary["maxSurge"], canary["maxUnavailable"]) == (1, 0)
    assert canary["canaryMetadata"] == {"labels": {NEW: "true"}}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_old_colour_stays_whole_and_answers_until_the_new_one_is_trusted(cloud: Any):
    found = graph(cloud)
    rollout = objects(found, "Rollout")[FRAUD]
    colours = rollout.get("spec.strategy.blueGreen")
    assert colours["prePromotionAnalysis"] == {"templates": [{"templateName": "fraud"}]}
    assert "previewReplicaCount" not in colours
    assert colours["previewMetadata"] == {"labels": {NEW: "true"}}
    # 0 would leave the pods that were taken back among those that answer.
    assert colours["abortScaleDownDelaySeconds"] > 0
    # What is switched leads nowhere that anybody goes.
    switched = f"serving-risk/{colours['activeService']}"
    assert objects(found, "Service")[switched].get("metadata.name") != "fraud-http"
    assert switched.partition("/")[2] not in json.dumps([plain(each.inputs) for each in objects(found, "TargetGroupBinding").values()])  # fmt: skip  # noqa: E501
    assert objects(found, "Service")["serving-risk/fraud-http"].get("spec.selector") == {
        "ai-platform.io/endpoint": "fraud"
    }
    # Being watched is no progress: the deadline of that is beyond the watch.
    assert (
        rollout.get("spec.progressDeadlineSeconds") > job(found, "serving-risk/fraud")["spec"]["activeDeadlineSeconds"]
    )


@pytest.mark.parametrize("cloud", CLOUDS)
def test_room_is_counted_for_both_colours(cloud: Any):
    def args(release: dict[str, Any]) -> Any:
        compute = {"accelerator": "nvidia-l4"}
        spec = endpoint("realtime", pool="l4-spot", compute=compute, scale={"min": 1, "max": 2}, release=release)
        given = fronted(cloud)()
        return {"endpoints": {"fraud": replace(given["endpoints"]["fraud"], spec=spec)}}

    held: list[str] = []
    for release in (AT_ONCE, {"strategy": "canary", "percent": 50}, COLOURS):
        found = built(cloud, args=lambda release=release: args(release))
        held.append(objects(found, "ResourceQuota")["serving-risk/ceiling"].get("spec.hard")["requests.nvidia.com/gpu"])
    assert held == ["3", "3", "4"]


@pytest.mark.parametrize("cloud", CLOUDS)
def test_whatever_is_no_trust_takes_a_version_back(cloud: Any):
    for name in (SEARCH, "serving-risk/fraud"):
        spec = job(graph(cloud), name)["spec"]
        failing, ignored = spec["podFailurePolicy"]["rules"]
        assert (failing["action"], failing["onExitCodes"]["values"]) == ("FailJob", [watch.TAKEN_BACK])
        [container] = spec["template"]["spec"]["containers"]
        assert failing["onExitCodes"]["containerName"] == container["name"]
        # A machine that is drained says nothing of a version.
        assert ignored["action"] == "Ignore"
        assert spec["template"]["spec"]["restartPolicy"] == "Never"
        minutes = int(told(graph(cloud), name)["WATCH_MINUTES"])
        assert spec["activeDeadlineSeconds"] >= 60 * minutes + 600
        [metric] = objects(graph(cloud), "AnalysisTemplate")[name].get("spec.metrics")
        assert not {"failureLimit", "inconclusiveLimit", "failureCondition"} & set(metric)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_what_is_compared_is_the_promise(cloud: Any):
    bounds = alarms(endpoint("container"))
    said = told(graph(cloud), SEARCH)
    assert json.loads(said["WATCH_BOUNDS"]) == {s: bounds[s].above for s in ("error_rate", "p95_latency")}
    assert said["WATCH_MINUTES"] == "30"
    assert list(json.loads(told(graph(cloud), "serving-risk/fraud")["WATCH_BOUNDS"])) == ["error_rate"]
    # Every variable that the program reads, and none that it does not know.
    program = objects(graph(cloud), "ConfigMap")[f"{SPACE}/watch"].get("data")["watch.py"]
    assert set(said) == {name for name in said if f'"{name}"' in program}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_watcher_finds_the_pods_of_the_new_version_alone(cloud: Any):
    found = graph(cloud)
    host, _, space = told(found, SEARCH)["WATCH_HOST"].removesuffix(".svc.cluster.local.").partition(".")
    listed = objects(found, "Service")[f"{space}/{host}"]
    assert listed.get("spec.clusterIP") == "None"
    # Or one that fell over would be as if it had been moved.
    assert listed.get("spec.publishNotReadyAddresses") is True
    assert listed.get("spec.selector") == {"ai-platform.io/endpoint": "search", NEW: "true"}
    template = objects(found, "Deployment")[SEARCH].get("spec.template.metadata.labels")
    assert NEW not in template
    assert listed.get("spec.selector").items() <= {**template, **objects(found, "Rollout")[SEARCH].get("spec.strategy.canary.canaryMetadata.labels")}.items()  # fmt: skip  # noqa: E501


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_watcher_gets_to_those_pods_and_nowhere_else(cloud: Any):
    found = graph(cloud)
    policies = objects(found, "NetworkPolicy")
    ports = {int(port) for port in told(found, SEARCH)["WATCH_PORTS"].split(",")}
    assert ports == ({9000} if cloud == "aws" else {9000, 15090})
    way, let = policies[f"{SPACE}/endpoint-search"], policies["serving-risk/search-watched"]
    assert reached(way, "egress") == {("serving-risk", "", port) for port in ports}
    assert reached(let, "ingress") == {(SPACE, "", port) for port in ports}
    labels = job(found, SEARCH)["spec"]["template"]["metadata"]["labels"]
    assert way.get("spec.podSelector.matchLabels").items() <= labels.items()
    closed = policies[f"{SPACE}/closed"]
    assert closed.get("spec.ingress") is None
    assert {port["port"] for rule in closed.get("spec.egress") for port in rule["ports"]} == {53}
    # Not where the rules for teams' work hold: Kueue would keep a job there until a queue let it go.
    space = objects(found, "Namespace")[SPACE].get("metadata.labels")
    assert not any(name.startswith("ai-platform.io/") for name in space)
    values = plain(releases(found)[CHART].inputs["values"])["controller"]
    assert values["extraEnv"] == [{"name": "ARGO_ROLLOUTS_ANALYSIS_JOB_NAMESPACE", "value": SPACE}]


def test_the_image_that_watches_comes_through_the_mirrors():
    stand_ins = {name: f"mirror.example.com/{name}" for name in ("public.ecr.aws", "quay.io")}

    def args() -> dict[str, Any]:
        given = fronted("aws")()
        given["endpoints"]["search"] = replace(given["endpoints"]["search"], spec=endpoint("container", release=CANARY))
        return {**given, "mirrors": stand_ins}

    found = built("aws", args=args)
    [container] = job(found, SEARCH)["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"mirror.example.com/{PYTHON}"
    assert plain(releases(found)[CHART].inputs["values"])["controller"]["image"] == {"registry": stand_ins["quay.io"]}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_release_is_described_in_place_and_no_address_changes(cloud: Any):
    """What answers goes on under its address; its pods go once those of the rollout are there."""
    found = compare(graph(cloud, search="all_at_once", fraud="all_at_once"), graph(cloud))
    assert (found.removed, found.replaced) == ((), ())
    assert {each.resource.name for each in found.changed} == {"search-scaled", "fraud-scaled"}
    other = compare(graph(cloud, search="blue_green"), graph(cloud))
    assert {each.resource.name for each in other.changed} == {"search-release-rollout", "search-release-watch"}
    assert {each.name for each in other.removed} == {"search-release-active"}


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    assert FOLDER is not None
    with ApiServer(FOLDER) as started:
        started.define([*STUBS, *definitions(CRDS)])
        yield started


@needs_a_server
@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_server_takes_them(server: ApiServer, cloud: Any):
    found = graph(cloud, "prod")
    for kind in ("Namespace", "PriorityClass"):
        for each in objects(found, kind).values():
            try:
                server.create(plain(each.inputs), dry=False)
            except RefusedError as refused:
                assert "already exists" in str(refused)  # noqa: PT017  the other cloud's
    assert refusals(server, found) == []
    made = as_made(found, SEARCH)
    server.create(made)
    spec = made["spec"]["template"]["spec"]
    thing = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": SPACE}, "spec": spec}
    account = objects(found, "ServiceAccount")[f"{SPACE}/watcher"]
    try:
        server.create(plain(account.inputs), dry=False)
    except RefusedError as refused:
        assert "already exists" in str(refused)  # noqa: PT017  the other cloud's
    server.create(thing)
    spec["containers"][0]["securityContext"] = {}
    with pytest.raises(RefusedError, match="restricted"):
        server.create(thing)
