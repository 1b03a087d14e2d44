"""What answers in a cluster: as whom, past what, how it scales, how a new version comes, and who gets there."""

import json
import time
from collections.abc import Iterator
from functools import cache
from typing import Any

import pulumi
import pulumi_gcp as gcp
import pytest
import yaml

from components.core.answering import RELEASES
from components.kubernetes.foundation.charts import CHARTS
from components.kubernetes.serving.router import envoy
from policies.model import Graph, Resource
from preview.difference import compare
from tests.kubernetes.api_server import ApiServer, RefusedError, assets, definitions, plain
from tests.kubernetes.building import before, built, objects, releases
from tests.kubernetes.endpoints import DIGEST, IMAGE, endpoint, served, text
from tests.kubernetes.test_api_server import CRDS, STUBS, refusals
from tests.kubernetes.test_schemas import HERE, VERSIONS, wrong

CLOUDS = ("aws", "gcp")
FOLDER = assets()


@cache
def graph(cloud: Any, tier: str = "dev") -> Graph:
    return built(cloud, tier=tier, args=served(cloud))


def pod(found: Graph, kind: str, name: str) -> Any:
    resource = objects(found, kind)[name]
    paths = {
        "InferenceService": "spec.predictor",
        "Deployment": "spec.template.spec",
        "CronJob": "spec.jobTemplate.spec.template.spec",
    }
    return resource.get(paths[kind])


def everyone(found: Graph) -> dict[str, Any]:
    """Every pod of an endpoint."""
    kinds = ("InferenceService", "Deployment", "CronJob")
    spaces = ("serving-", "inference/", "team-")
    return {f"{kind}/{name}": pod(found, kind, name) for kind in kinds for name in objects(found, kind) if name.startswith(spaces)}  # fmt: skip  # noqa: E501


def variables(container: Any) -> dict[str, Any]:
    return {each["name"]: each.get("value") for each in container["env"]}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_objects_are_well_formed(cloud: Any, version: str):
    for tier in ("dev", "prod"):
        assert list(wrong(graph(cloud, tier), version)) == []


def test_definitions_are_of_the_versions_that_the_charts_install():
    readme = (HERE / "crds" / "README.md").read_text()
    assert f"kserve/kserve | {CHARTS['kserve'].version} " in readme
    assert f"kedacore/keda | v{CHARTS['keda'].version} " in readme
    assert f"kedacore/http-add-on | v{CHARTS['keda-add-ons-http'].version} " in readme
    assert CHARTS["kserve"].version == CHARTS["kserve-crd"].version


@pytest.mark.parametrize("cloud", CLOUDS)
def test_controllers_come_with_what_needs_them_and_in_order(cloud: Any):
    found = releases(graph(cloud))
    assert {"cert-manager", "kserve-crd", "kserve", "keda"} <= set(found)
    for first in ("cert-manager", "kserve-crd"):
        assert found[first].urn in before(graph(cloud), found["kserve"])
    values = found["kserve"].inputs["values"]["kserve"]["controller"]
    assert values["deploymentMode"] == "Standard"
    assert values["gateway"]["disableIngressCreation"] is True
    language = built(cloud, args=lambda: {"endpoints": {"chat": served(cloud)()["endpoints"]["chat"]}})
    assert "keda" in releases(language)
    assert not {"kserve", "cert-manager"} & set(releases(language))
    runs = built(cloud, args=lambda: {"endpoints": {"churn": served(cloud)()["endpoints"]["churn"]}})
    assert not {"kserve", "keda"} & set(releases(runs))
    assert not [name for name in objects(runs, "Namespace") if name.startswith("serving-")]
    # Their kinds are there before their objects, and go after them.
    for kind in ("InferenceService", "ScaledObject"):
        for each in objects(graph(cloud), kind).values():
            assert {found["kserve"].urn, found["keda"].urn} <= before(graph(cloud), each)


def test_images_of_controllers_and_routers_come_through_the_mirrors():
    mirrors = ("ghcr.io", "docker.io", "quay.io")
    stand_ins = {name: f"mirror.example.com/{name}" for name in mirrors}
    found = built("gcp", args=lambda: {**served("gcp")(), "mirrors": {n: text(v) for n, v in stand_ins.items()}})
    for name in ("cert-manager", "kserve", "keda"):
        written = json.dumps(plain(releases(found)[name].inputs["values"]))
        assert "mirror.example.com" in written
        assert all(f'"{registry}/' not in written for registry in mirrors)
    router = pod(found, "Deployment", "inference/chat")
    assert all(each["image"].startswith("mirror.example.com/") for each in router["containers"])


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize("tier", ["dev", "prod"])
def test_pods_are_as_restricted_as_their_namespaces_want(cloud: Any, tier: str):
    found = everyone(graph(cloud, tier))
    assert len(found) == 8
    for name, spec in found.items():
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True, name
        assert security["runAsUser"] > 0
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            given = container["resources"]
            assert given["requests"] == given["limits"], name
            assert {"cpu", "memory"} <= set(given["limits"])
        # Only the picker asks the cluster's API anything: which pods there are.
        assert spec["automountServiceAccountToken"] is name.startswith("Deployment/inference/")


@pytest.mark.parametrize("cloud", CLOUDS)
def test_each_endpoint_runs_as_itself(cloud: Any):
    accounts = {name: spec["serviceAccountName"] for name, spec in everyone(graph(cloud)).items()}
    apart = {name.split("/", 1)[1].split("/")[0] + "/" + account for name, account in accounts.items()}
    assert len(apart) == len(accounts)
    assert "trainer" not in accounts.values()
    account = objects(graph(cloud), "ServiceAccount")["serving-risk/fraud"]
    annotated = {"iam.gke.io/gcp-service-account": "it@acme.iam.gserviceaccount.com"}
    assert (account.get("metadata.annotations") or {}) == (annotated if cloud == "gcp" else {})


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_model_comes_from_its_zone_and_is_the_one_that_was_named(cloud: Any):
    [container] = pod(graph(cloud), "InferenceService", "serving-risk/fraud")["containers"]
    given = variables(container)
    scheme = "s3" if cloud == "aws" else "gs"
    assert given["MODEL_URI"] == f"{scheme}://acme/fraud/model.tar.gz"
    assert given["MODEL_DIGEST"] == DIGEST
    assert "AIP_STORAGE_URI" not in given
    [container] = pod(graph(cloud), "InferenceService", "serving-vision/vision")["containers"]
    assert variables(container)["AIP_STORAGE_URI"] == f"{scheme}://acme/vision/"
    # Nothing else gets into the pod: KServe brings a second image where it is told of a place.
    assert "storageUri" not in json.dumps(plain(objects(graph(cloud), "InferenceService")["serving-risk/fraud"].inputs))
    assert float(given["DRAIN_SECONDS"]) + float(given["GRACE_SECONDS"]) < 30


def test_the_variables_are_those_that_the_service_reads():
    from runtime.serving.settings import Settings

    [container] = pod(graph("aws"), "InferenceService", "serving-risk/fraud")["containers"]
    said = Settings.of(variables(container))
    assert (said.port, said.model_name, said.drain_seconds) == (8080, "fraud", 10)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_pods_come_and_go_by_what_they_work_on_within_their_bounds(cloud: Any):
    found = objects(graph(cloud), "ScaledObject")
    fraud, vision, opened = (found[name].get("spec") for name in ("serving-risk/fraud", "serving-vision/vision", "serving-risk/open"))  # fmt: skip  # noqa: E501
    assert (fraud["minReplicaCount"], fraud["maxReplicaCount"]) == (2, 6)
    assert fraud["scaleTargetRef"] == {"name": "fraud-predictor"}
    assert [each["type"] for each in fraud["triggers"]] == ["metrics-api", "cpu"]
    assert fraud["triggers"][0]["metadata"]["url"] == "http://fraud-http.serving-risk.svc:8080/metrics"
    assert fraud["triggers"][0]["metadata"]["targetValue"] == "8"
    # What a GPU does is not seen by its processors.
    assert [each["type"] for each in vision["triggers"]] == ["metrics-api"]
    assert opened["advanced"]["scalingModifiers"]["formula"] == "running + waiting"
    assert {each["name"] for each in opened["triggers"]} == {"running", "waiting"}
    assert (opened["minReplicaCount"], opened["maxReplicaCount"]) == (1, 3)
    # KServe itself says nothing of how many there are.
    for each in objects(graph(cloud), "InferenceService").values():
        assert each.get("metadata.annotations")["serving.kserve.io/autoscalerClass"] == "external"
    ports = {port["port"] for port in objects(graph(cloud), "Service")["serving-risk/fraud-http"].get("spec.ports")}
    assert ports == {8080}


def updated(old: Graph, new: Graph) -> set[str]:
    """Logical names of what changes in place, where nothing else changes."""
    found = compare(old, new)
    assert (found.created, found.removed, found.replaced) == ((), (), ())
    return {each.resource.name for each in found.changed}


def test_growing_changes_bounds_in_place_and_nothing_of_the_pods():
    grown = built("aws", args=served("aws", fraud={"spec": endpoint("realtime", scale={"min": 2, "max": 9, "target": {"concurrency": 8}})}))  # fmt: skip  # noqa: E501
    assert updated(graph("aws"), grown) == {"fraud-answering", "fraud-scaled"}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_new_version_changes_what_answers_and_never_the_address(cloud: Any):
    newer = IMAGE.replace(":1.0@", ":1.1@")
    changed = built(cloud, args=served(cloud, fraud={"image": newer}, open={"image": newer}, churn={"image": newer}))
    assert updated(graph(cloud), changed) == {"fraud-answering", "open-servers", "churn-runs"}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_version_that_does_not_become_ready_never_answers(cloud: Any):
    assert RELEASES[cloud, "llm"] == ("all_at_once",)
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    for each in objects(graph(cloud), "InferenceService").values():
        assert each.get("spec.predictor.deploymentStrategy") == rolling
        assert each.get("metadata.annotations")["pulumi.com/waitFor"] == "condition=Ready"
        [container] = each.get("spec.predictor.containers")
        assert container["readinessProbe"]["httpGet"]["path"] == "/ping"
    servers = objects(graph(cloud), "Deployment")["serving-risk/chat"]
    assert servers.get("spec.strategy") == rolling
    [vllm, _] = servers.get("spec.template.spec.containers")
    starting = vllm["startupProbe"]
    assert starting["periodSeconds"] * starting["failureThreshold"] == servers.get("spec.progressDeadlineSeconds")


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize("name", ["chat", "open"])
def test_nothing_reaches_a_model_but_past_its_guard(cloud: Any, name: str):
    spec = pod(graph(cloud), "Deployment", f"serving-risk/{name}")
    vllm, guard = spec["containers"]
    assert "--host=127.0.0.1" in vllm["args"]
    assert "ports" not in vllm
    assert [port["containerPort"] for port in guard["ports"]] == [8000]
    given = variables(guard)
    assert given["UPSTREAM"] == f"http://127.0.0.1:{dict(a.lstrip('-').split('=') for a in vllm['args'])['port']}"
    assert given["PROMPT_LOG"] in {f"s3://acme/prompts/endpoints/{name}/", "projects/p/datasets/d/tables/endpoints"}
    # Without a guardrail nothing is stopped, and all is kept.
    assert (given.get("GUARDRAIL_VERSION"), "GUARDRAIL" in given) == (("3", True) if name == "chat" else (None, False))
    code = objects(graph(cloud), "ConfigMap")[f"serving-risk/{name}-code"].inputs["data"]
    assert set(code) == {"guard.py", "weights.py"}
    assert guard["command"] == ["python3", "/code/guard.py"]


@pytest.mark.parametrize("cloud", CLOUDS)
def test_weights_come_from_the_bucket_and_nothing_from_the_internet(cloud: Any):
    spec = pod(graph(cloud), "Deployment", "serving-risk/chat")
    [weights] = spec["initContainers"]
    assert variables(weights)["WEIGHTS_URI"].endswith("//acme/llama/")
    vllm = spec["containers"][0]
    given = variables(vllm)
    assert (given["HF_HUB_OFFLINE"], given["TRANSFORMERS_OFFLINE"], given["VLLM_NO_USAGE_STATS"]) == ("1", "1", "1")
    assert {"--model=/model", "--served-model-name=chat", "--max-model-len=4096"} <= set(vllm["args"])
    assert "--tensor-parallel-size=8" in vllm["args"]
    assert vllm["resources"]["limits"]["nvidia.com/gpu"] == "8"
    mounted = {mount["mountPath"]: mount for mount in vllm["volumeMounts"]}
    assert mounted["/model"]["readOnly"] is True
    assert {"/dev/shm", given["HOME"]} <= set(mounted)  # noqa: S108
    assert spec["nodeSelector"] == {"ai-platform.io/pool": "h100"}
    assert {"nvidia.com/gpu", "ai-platform.io/pool"} == {each["key"] for each in spec["tolerations"]}


def peers(policy: Resource, way: str) -> list[str]:
    found: list[str] = []
    for rule in policy.get(f"spec.{way}") or []:
        for peer in rule.get("from", rule.get("to", [])):
            labels = peer.get("namespaceSelector", {}).get("matchLabels", {})
            found.append(labels.get("kubernetes.io/metadata.name") or peer.get("ipBlock", {}).get("cidr") or "anyone")
    return found


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_team_s_endpoints_are_called_from_its_own_namespace(cloud: Any):
    policies = objects(graph(cloud), "NetworkPolicy")
    assert policies["serving-risk/closed"].get("spec") == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    collectors = {"gmp-system"} if cloud == "gcp" else set[str]()
    assert set(peers(policies["serving-risk/needed"], "ingress")) == {"team-risk", "keda", "inference"} | collectors
    assert policies["team-risk/endpoints"].get("spec.policyTypes") == ["Egress"]
    assert peers(policies["inference/chat"], "ingress") == ["team-risk", *collectors]
    assert "serving-risk" in peers(policies["inference/chat"], "egress")
    assert set(peers(policies["team-risk/endpoints"], "egress")) == {"serving-risk", "inference"}
    assert set(peers(policies["serving-vision/needed"], "ingress")) >= {"team-vision"}
    assert policies["inference/closed"].get("spec.podSelector") == {}


def test_who_collects_metrics_from_outside_gets_to_what_says_them_and_no_further():
    ranges = ["10.16.128.0/20", "10.16.144.0/20"]
    args = lambda: {**served("aws")(), "collectors": ranges}  # noqa: E731 - arguments are made in the program
    policies = objects(built("aws", args=args), "NetworkPolicy")
    found: dict[str, set[int]] = {}
    for name, policy in policies.items():
        for rule in policy.get("spec.ingress") or []:
            # A rule that names nobody lets everybody in.
            assert rule["from"], name
            if {peer.get("ipBlock", {}).get("cidr") for peer in rule["from"]} & {*ranges}:
                assert [peer["ipBlock"]["cidr"] for peer in rule["from"]] == ranges
                found[name] = {each["port"] for each in rule["ports"]}
    models, routers = ("serving-risk/needed", "serving-vision/needed"), ("inference/chat", "inference/open")
    assert found == {name: {8080, 8000} if name in models else {15090} for name in (*models, *routers)}
    ports = {
        (container["name"], port["containerPort"])
        for container in pod(built("aws", args=args), "Deployment", "inference/chat")["containers"]
        for port in container.get("ports", ())
    }
    assert ("envoy", 15090) in ports, "the collector finds pods by the ports that they name"


def test_google_collects_of_a_router_what_it_counts():
    monitored = objects(graph("gcp"), "PodMonitoring")["inference/chat"]
    [asked] = monitored.get("spec.endpoints")
    assert asked["port"] == 15090
    assert monitored.get("spec.selector.matchLabels") == {"ai-platform.io/endpoint": "chat"}
    assert asked["metricRelabeling"][0]["regex"] == "envoy_http_downstream_rq_xx"


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_namespace_of_endpoints_is_fenced_before_anything_is_in_it(cloud: Any):
    found = graph(cloud)
    needed = {
        objects(found, kind)[f"serving-risk/{name}"].urn
        for kind, name in (("ResourceQuota", "ceiling"), ("LimitRange", "limits"), ("NetworkPolicy", "closed"))
    }
    inside = [r for name, r in objects(found).items() if "/serving-risk/" in name and r.urn not in needed]
    assert len(inside) > 10
    for each in inside:
        if each.name != "spaces-risk-needed":
            assert needed <= before(found, each), each.name
    hard = objects(found, "ResourceQuota")["serving-risk/ceiling"].get("spec.hard")
    # Two servers of eight, and four of one: each with one more for a release.
    assert hard["requests.nvidia.com/gpu"] == str(2 * 8 + 4 * 1)
    # Of what the cluster has besides, none: also where endpoints use no accelerator at all.
    assert {kind for kind, most in hard.items() if kind.startswith("requests.") and most == "0"}
    alone = built(cloud, args=lambda: {"endpoints": {"fraud": served(cloud)()["endpoints"]["fraud"]}})
    assert objects(alone, "ResourceQuota")["serving-risk/ceiling"].get("spec.hard")["requests.nvidia.com/gpu"] == "0"
    assert hard["services.loadbalancers"] == "0"


@pytest.mark.parametrize("cloud", CLOUDS)
def test_everything_goes_with_the_cluster(cloud: Any):
    mine = [r for name, r in objects(graph(cloud, "prod")).items() if "serving-" in name or "/inference" in name]
    assert len(mine) > 40
    # But the teams' namespaces: what is in them is deleted one by one, so that pods end as they should.
    spaces = {each.name for each in mine if not each.deleted_with}
    assert spaces == {"spaces-risk", "spaces-vision"} & {each.name for each in mine}
    assert spaces


def test_names_fit_where_the_longest_name_stands():
    longest = "a" * 32
    found = built("aws", args=lambda: {"endpoints": {longest: served("aws")()["endpoints"]["fraud"], "b" * 32: served("aws")()["endpoints"]["chat"]}})  # fmt: skip  # noqa: E501
    for name, each in objects(found).items():
        assert len(each.get("metadata.name")) <= 63, name
        for value in (each.get("metadata.labels") or {}).values():
            assert len(value) <= 63
    assert len(f"isvc.{longest}-predictor") <= 63


def job(found: Graph, name: str) -> Any:
    return objects(found, "CronJob")[name].get("spec.jobTemplate")


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_run_waits_in_its_queue_and_ends_in_time(cloud: Any):
    cron = objects(graph(cloud), "CronJob")["team-risk/churn"].get("spec")
    assert (cron["schedule"], cron["timeZone"], cron["suspend"]) == ("0 3 * * *", "Europe/Berlin", False)
    assert cron["concurrencyPolicy"] == "Forbid"
    found = job(graph(cloud), "team-risk/churn")
    assert found["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "train"
    assert found["metadata"]["labels"]["kueue.x-k8s.io/max-exec-time-seconds"] == str(4 * 3600)
    spec = found["spec"]
    assert (spec["completions"], spec["parallelism"], spec["completionMode"]) == (3, 3, "Indexed")
    assert spec["activeDeadlineSeconds"] == 4 * 3600
    assert spec["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"] == [2, 3]
    [container] = spec["template"]["spec"]["containers"]
    given = variables(container)
    names = [each["name"] for each in container["env"]]
    # A variable is known to those after it.
    assert names.index("RUN") < names.index("OUTPUT_URI")
    assert given["OUTPUT_URI"].endswith("//acme/out/churn/$(RUN)")
    assert given["SHARDS"] == "3"
    byhand = objects(graph(cloud), "CronJob")["team-risk/by-hand"].get("spec")
    assert byhand["suspend"] is True
    [container] = job(graph(cloud), "team-risk/by-hand")["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_the_router_asks_the_picker_and_believes_nobody_else():
    found = envoy()
    listener = found["static_resources"]["listeners"][0]
    [chain] = listener["filter_chains"]
    manager = chain["filters"][0]["typed_config"]
    names = [each["name"] for each in manager["http_filters"]]
    assert names.index("picked-by-nobody") < names.index("picker") < names.index("router")
    picker = manager["http_filters"][names.index("picker")]["typed_config"]
    assert picker["failure_mode_allow"] is False
    removed = manager["http_filters"][names.index("picked-by-nobody")]["typed_config"]["mutations"]
    cluster = found["static_resources"]["clusters"][0]
    assert removed["request_mutations"] == [{"remove": cluster["original_dst_lb_config"]["http_header_name"]}]
    written = objects(graph("aws"), "ConfigMap")["inference/chat"].inputs["data"]["envoy.yaml"]
    assert yaml.safe_load(written) == found
    rules = objects(graph("aws"), "Role")["serving-risk/chat-router"].get("rules")
    assert rules == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}]
    arguments = pod(graph("aws"), "Deployment", "inference/chat")["containers"][0]["args"]
    assert "--pool-namespace=serving-risk" in arguments
    assert "--endpoint-selector=ai-platform.io/endpoint=chat" in arguments


def test_a_first_preview_knows_nothing_of_the_cloud_and_still_builds():
    def args() -> dict[str, Any]:
        made = gcp.serviceaccount.Account(
            "it", account_id="it", opts=pulumi.ResourceOptions(provider=gcp.Provider("g"))
        )
        change = {name: {"identity": made.email, "image": made.email} for name in ("fraud", "chat", "churn")}
        return served("gcp", **change)()

    assert set(objects(built("gcp", preview=True, args=args))) == set(objects(graph("gcp")))


@pytest.mark.parametrize("cloud", CLOUDS)
def test_pods_wait_for_their_identity(cloud: Any):
    def args() -> dict[str, Any]:
        made = gcp.serviceaccount.Account(
            "it", account_id="it", opts=pulumi.ResourceOptions(provider=gcp.Provider("g"))
        )
        return served(cloud, **{name: {"identity": made.email} for name in ("fraud", "chat", "churn")})()

    found = built(cloud, args=args)
    [account] = [r for r in found.resources.values() if r.type == "gcp:serviceaccount/account:Account"]
    for kind, name in (
        ("InferenceService", "serving-risk/fraud"),
        ("Deployment", "serving-risk/chat"),
        ("CronJob", "team-risk/churn"),
    ):
        assert account.urn in before(found, objects(found, kind)[name]), name


needs_a_server = pytest.mark.skipif(
    FOLDER is None, reason="skipped: KUBEBUILDER_ASSETS names no folder with etcd and kube-apiserver"
)


@pytest.fixture(scope="module")
def guarded() -> Iterator[ApiServer]:
    """A server with production's rules in force, and the namespaces."""
    assert FOLDER is not None
    with ApiServer(FOLDER) as started:
        started.define([*STUBS, *definitions(CRDS)])
        found = graph("gcp", "prod")
        for kind in ("Namespace", "PriorityClass", "ConfigMap", "LimitRange", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"):  # fmt: skip  # noqa: E501
            for resource in objects(found, kind).values():
                started.create(plain(resource.inputs), dry=False)
        loose = {"name": "a", "image": "registry.example.com/a"}
        thing = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "a", "namespace": "team-risk"},
            "spec": {"containers": [loose]},
        }
        for _ in range(200):
            try:
                started.create(thing)
            except RefusedError as refused:
                if "no tag" in str(refused):
                    break
            time.sleep(0.1)
        else:
            pytest.fail("no rule comes into force")
        yield started


@needs_a_server
@pytest.mark.parametrize("tier", ["dev", "prod"])
@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_server_takes_them(guarded: ApiServer, cloud: Any, tier: str):
    assert refusals(guarded, graph(cloud, tier)) == []


@needs_a_server
def test_their_pods_are_let_in_by_production_s_rules(guarded: ApiServer):
    seen = 0
    for name, spec in everyone(graph("gcp", "prod")).items():
        kind, space, own = name.split("/")
        metadata: dict[str, Any] = {"name": f"{own}-x", "namespace": space}
        if kind == "CronJob":
            owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "it", "uid": "1", "controller": True}
            metadata["ownerReferences"] = [owner]
            template = job(graph("gcp", "prod"), f"{space}/{own}")
            made = {**plain(template["metadata"]), "name": own, "namespace": space}
            guarded.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": made, "spec": plain(template["spec"])})
        # A priority's figure is the server's to say.
        guarded.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": plain(spec_of(spec))})
        seen += 1
    assert seen == 8


def spec_of(predictor: Any) -> Any:
    """What of a predictor is a pod's."""
    own = ("minReplicas", "maxReplicas", "labels", "annotations", "deploymentStrategy")
    return {key: value for key, value in predictor.items() if key not in own}


@needs_a_server
def test_a_team_gives_itself_no_accelerator_past_the_queues(guarded: ApiServer):
    spec = plain(pod(graph("gcp", "prod"), "Deployment", "serving-risk/open"))
    metadata = {"name": "mine", "namespace": "team-risk"}
    with pytest.raises(RefusedError, match="given to jobs"):
        guarded.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
