"""Every object of every stack, offered to a real API server; and work of all kinds, held against the rules of admission."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from policies.model import Graph
from tests.conftest import STACKS
from tests.kubernetes.api_server import ApiServer, RefusedError, assets, definitions, plain
from tests.kubernetes.building import built, objects
from tests.kubernetes.test_manifests import EXAMPLES, filled, templates

CRDS = Path(__file__).parent / "crds"
FOLDER = assets()
pytestmark = pytest.mark.skipif(
    FOLDER is None, reason="skipped: KUBEBUILDER_ASSETS names no folder with etcd and kube-apiserver"
)
DIGEST = "@sha256:" + "0" * 64
REGISTRY = "registry.example.com/acme"


def stub(group: str, version: str, kind: str, scope: str = "Namespaced") -> dict[str, Any]:
    """A definition without a schema, of kinds that the stacks install but declare no object of."""
    plural = f"{kind.lower()}s"
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"plural": plural, "kind": kind},
            "versions": [{"name": version, "served": True, "storage": True, "schema": schema}],
        },
    }


STUBS = [
    stub("cloud.google.com", "v1", "ComputeClass"),
    stub("kyverno.io", "v1", "ClusterPolicy", "Cluster"),
    stub("notation.nirmata.io", "v1alpha1", "TrustPolicy", "Cluster"),
    stub("notation.nirmata.io", "v1alpha1", "TrustStore", "Cluster"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    assert FOLDER is not None
    with ApiServer(FOLDER) as started:
        started.define([*definitions(CRDS), *STUBS])
        yield started


def refusals(server: ApiServer, graph: Graph) -> list[str]:
    """What the server says against a graph's objects."""
    found = [plain(resource.inputs) for resource in objects(graph).values()]
    spaces = {o["metadata"]["name"] for o in found if o["kind"] == "Namespace"}
    spaces |= {o["metadata"]["namespace"] for o in found if "namespace" in o["metadata"]}
    for name in sorted(spaces):
        make(server, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    said: list[str] = []
    for one in found:
        try:
            server.create(one)
        except RefusedError as refused:
            if "already exists" not in str(refused):
                said.append(str(refused))
    return said


def make(server: ApiServer, thing: dict[str, Any]) -> None:
    """Make an object for good, unless it is there."""
    try:
        server.create(thing, dry=False)
    except RefusedError as refused:
        if "already exists" not in str(refused):
            raise


@pytest.mark.parametrize("stack", STACKS)
def test_the_objects_of_a_stack_are_taken(server: ApiServer, graphs: Callable[..., Graph], stack: str):
    graph = graphs(stack)
    if not objects(graph):
        pytest.skip(f"{stack} has no cluster")
    assert refusals(server, graph) == []


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
@pytest.mark.parametrize("tier", ["dev", "prod"])
def test_the_objects_of_every_kind_of_pool_and_queue_are_taken(server: ApiServer, cloud: Any, tier: str):
    graph = built(cloud, tier=tier, args={"submitters": ["science@example.com"], "readers": ["audit@example.com"]})
    assert len(objects(graph)) > 60
    assert refusals(server, graph) == []


def test_the_server_refuses_what_is_wrong(server: ApiServer):
    """Else the tests above would say nothing."""
    flavor = {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "ResourceFlavor", "metadata": {"name": "wrong"}}
    with pytest.raises(RefusedError, match="unknown field"):
        server.create({**flavor, "spec": {"nodeLabel": {}}})
    with pytest.raises(RefusedError, match="at least one nodeLabel is required"):
        server.create({**flavor, "spec": {"topologyName": "wide"}})
    queue = {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "ClusterQueue", "metadata": {"name": "wrong"}}
    with pytest.raises(RefusedError, match="Unsupported value"):
        server.create({**queue, "spec": {"queueingStrategy": "Whatever"}})


def container(image: str, **rest: Any) -> dict[str, Any]:
    limits = {"cpu": "1", "memory": "1Gi", **rest.pop("limits", {})}
    secure = {
        "allowPrivilegeEscalation": False,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return {
        "name": "trainer",
        "image": image,
        "resources": {"limits": limits, "requests": limits},
        "securityContext": secure,
        **rest,
    }


SAVED = [{"name": "CHECKPOINT_URI", "value": "s3://bucket/checkpoints"}]
LABELS = {"kueue.x-k8s.io/queue-name": "train", "kueue.x-k8s.io/max-exec-time-seconds": "3600"}


def work(
    kind: str = "Job",
    *,
    image: str = f"{REGISTRY}/trainer:1.0{DIGEST}",
    labels: dict[str, str | None] | None = None,
    annotations: dict[str, str] | None = None,
    **rest: Any,
) -> dict[str, Any]:
    """Work of one kind that is well, but for what is said."""
    own = container(image, **({"env": SAVED} | rest))
    pod = {"spec": {"restartPolicy": "Never", "containers": [own]}}
    api, spec = {
        "Job": ("batch/v1", {"suspend": True, "template": pod}),
        "JobSet": ("jobset.x-k8s.io/v1alpha2", {"replicatedJobs": [{"name": "a", "template": {"spec": {"template": pod}}}]}),
        "RayJob": ("ray.io/v1", {"rayClusterSpec": {"headGroupSpec": {"template": pod}}}),
        "RayCluster": (
            "ray.io/v1",
            {
                "headGroupSpec": {"template": pod},
                "workerGroupSpecs": [{"groupName": "a", "minReplicas": 1, "maxReplicas": 1, "template": pod}],
            },
        ),
        "Pod": ("v1", pod["spec"]),
    }[kind]  # fmt: skip
    wanted = {**LABELS, **(labels or {})}
    metadata = {
        "name": "work",
        "namespace": "team-vision",
        "labels": {key: value for key, value in wanted.items() if value is not None},
        **({"annotations": annotations} if annotations else {}),
    }
    return {"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec}


@pytest.fixture(scope="module")
def guarded() -> Iterator[ApiServer]:
    """A server with production's rules in force, and a team's namespace."""
    assert FOLDER is not None
    graph = built("gcp", tier="prod", args={"registries": [REGISTRY, "mirror.example.com"]})
    with ApiServer(FOLDER) as started:
        started.define([*STUBS, *(made for folder in ("jobset", "kuberay") for made in definitions(CRDS / folder))])
        for kind in (
            "Namespace",
            "LimitRange",
            "ConfigMap",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
        ):
            for resource in objects(graph, kind).values():
                started.create(plain(resource.inputs), dry=False)
        strict = {"pod-security.kubernetes.io/enforce": "restricted"}
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "restricted", "labels": strict}}
        started.create(namespace, dry=False)
        # A policy is in force some time after it is there.
        for kind in ("Job", "JobSet", "RayJob", "RayCluster", "Pod"):
            for _ in range(200):
                try:
                    started.create(work(kind, image="other.example.com/a"))
                except RefusedError as refused:
                    if "no tag" in str(refused):
                        break
                time.sleep(0.1)
            else:
                pytest.fail(f"no rule on {kind} comes into force")
        yield started


KINDS = ("Job", "JobSet", "RayJob", "RayCluster")


@pytest.mark.parametrize("kind", KINDS)
def test_work_that_is_well_is_let_in(guarded: ApiServer, kind: str):
    guarded.create(work(kind))
    guarded.create(work(kind, labels={"kueue.x-k8s.io/priority-class": "train.urgent"}))
    guarded.create(work(kind, env=[], annotations={"ai-platform.io/checkpoint": "gs://bucket/checkpoints"}))
    guarded.create(work(kind, env=[], labels={"kueue.x-k8s.io/queue-name": "large"}))
    guarded.create(work(kind, image=f"gke.gcr.io/mounter:v1{DIGEST}"))
    guarded.create(work(kind, image=f"mirror.example.com/library/python:3.11{DIGEST}"))


QUEUE, TIME, CLASS = (f"kueue.x-k8s.io/{label}" for label in ("queue-name", "max-exec-time-seconds", "priority-class"))
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no-queue": ({"labels": {QUEUE: None}}, "it is missing"),
    "other-queue": ({"labels": {QUEUE: "trian"}}, "no queue of this cluster.*trian"),
    "no-time": ({"labels": {TIME: None}}, "86400 at most"),
    "too-long": ({"labels": {TIME: "86401"}}, "86400 at most"),
    "no-number": ({"labels": {TIME: "1h"}}, "86400 at most"),
    "other-priority": ({"labels": {CLASS: "large.urgent"}}, r"train\."),
    "no-checkpoint": ({"env": []}, "CHECKPOINT_URI"),
    "latest": ({"image": f"{REGISTRY}/trainer:latest"}, "no tag, or latest"),
    "no-tag": ({"image": f"{REGISTRY}/trainer"}, "no tag, or latest"),
    "no-digest": ({"image": f"{REGISTRY}/trainer:1.0"}, "digest"),
    "other-registry": ({"image": f"docker.io/acme/trainer:1.0{DIGEST}"}, f"not from {REGISTRY} or mirror"),
    "registry-lookalike": ({"image": f"{REGISTRY}evil/trainer:1.0{DIGEST}"}, "not from"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", WRONG)
def test_work_that_is_wrong_is_refused_with_what_is_right(guarded: ApiServer, kind: str, case: str):
    change, said = WRONG[case]
    with pytest.raises(RefusedError, match=said):
        guarded.create(work(kind, **change))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_what_the_guide_shows_is_let_in_and_so_are_its_pods(guarded: ApiServer, file: Path):
    thing = filled(file)
    if "name" not in thing["metadata"]:
        thing["metadata"]["name"] = f"{thing['metadata'].pop('generateName')}x"
    guarded.create(thing)
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "it", "uid": "1", "controller": True}
    for i, template in enumerate(templates(thing)):
        metadata = {"name": f"pod-{i}", "namespace": thing["metadata"]["namespace"], "ownerReferences": [owner]}
        pod = {"apiVersion": "v1", "kind": "Pod", "spec": template["spec"]}
        guarded.create({**pod, "metadata": {**template.get("metadata", {}), **metadata}})
        # Without Ray, teams' namespaces are `restricted` (see `Tenants`); with it that is only warned of.
        guarded.create({**pod, "metadata": {"name": f"pod-{i}", "namespace": "restricted"}})


def test_init_containers_are_held_to_the_same(guarded: ApiServer):
    job = work()
    job["spec"]["template"]["spec"]["initContainers"] = [{**container(f"docker.io/a:1{DIGEST}"), "name": "first"}]
    with pytest.raises(RefusedError, match="not from"):
        guarded.create(job)


def test_what_controllers_make_of_work_is_let_in_and_a_person_does_not_pass_for_one(guarded: ApiServer):
    roles = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding"}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    groups = ("system:serviceaccounts:jobset-system", "system:serviceaccounts:kube-system", "people")
    for i, group in enumerate(groups):
        subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}
        bound = {**roles, "metadata": {"name": f"test-{i}"}, "roleRef": reference, "subjects": [subject]}
        make(guarded, bound)
    child = work(labels={QUEUE: None, TIME: None})
    child["metadata"]["ownerReferences"] = [
        {"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "name": "work", "uid": "1", "controller": True}
    ]
    guarded.create(child, group=groups[0])
    for group in groups[1:]:  # nor does what a cron job starts by itself
        with pytest.raises(RefusedError, match="it is missing"):
            guarded.create(child, group=group)


def test_accelerators_are_for_jobs_and_not_for_pods(guarded: ApiServer):
    pod = work("Pod", limits={"nvidia.com/gpu": "1"})
    with pytest.raises(RefusedError, match="given to jobs"):
        guarded.create(pod)
    pod["metadata"]["ownerReferences"] = [
        {"apiVersion": "batch/v1", "kind": "Job", "name": "work", "uid": "1", "controller": True}
    ]
    guarded.create(pod)
    guarded.create(work("Pod"))


def test_a_container_that_names_no_limits_gets_them(guarded: ApiServer):
    pod = work("Pod")
    del pod["spec"]["containers"][0]["resources"]
    [made] = guarded.create(pod)["spec"]["containers"]
    assert made["resources"]["limits"] == {"cpu": "2", "memory": "8Gi"}


def test_a_pod_with_privileges_is_refused_by_the_namespace(guarded: ApiServer):
    pod = work("Pod")
    pod["spec"]["hostNetwork"] = True
    with pytest.raises(RefusedError, match="PodSecurity"):
        guarded.create(pod)


def test_other_namespaces_are_let_be(guarded: ApiServer):
    job = work(image="docker.io/anything", labels={QUEUE: None})
    job["metadata"]["namespace"] = "default"
    guarded.create(job)


def test_the_cluster_s_own_pods_are_as_restricted_as_their_namespaces_want(guarded: ApiServer):
    graph = built("aws")
    [job] = objects(graph, "Job").values()
    pod = plain(job.get("spec.template"))
    named = {"name": "probe", "namespace": "kueue-system"}
    guarded.create({"apiVersion": "v1", "kind": "Pod", **pod, "metadata": {**pod["metadata"], **named}})
