"""What runs in containers, read once and in one form: pods of Kubernetes, jobs of AWS Batch, tasks of ECS, Cloud Run.

A pod of Kubernetes stands in an object of any kind, an operator's too, as a map with a list of `containers`; a chart's pods
cannot be seen. Batch and ECS keep theirs as JSON. Rules look at `Pod` and need not know.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from policies.context import items, mapping, maps
from policies.model import Graph, Resource

JOB_DEFINITION = "aws:batch/jobDefinition:JobDefinition"
TASK_DEFINITION = "aws:ecs/taskDefinition:TaskDefinition"
SERVICE_OF_RUN = "gcp:cloudrunv2/service:Service"
CLOUD_RUN: Mapping[str, str] = {
    "gcp:cloudrunv2/job:Job": "template.template",
    SERVICE_OF_RUN: "template",
    "gcp:cloudrunv2/workerPool:WorkerPool": "template",
}
"""Types of Cloud Run, and where each says what runs."""
RELEASE = "kubernetes:helm.sh/v3:Release"
NAMESPACE = "kubernetes:core/v1:Namespace"
CLUSTERS = ("aws:eks/cluster:Cluster", "gcp:container/cluster:Cluster")
TEAM = "ai-platform.io/team"
"""Label of a team's namespace."""

# Kinds without pods: charts, whose pods nobody sees, and Kueue's, of which there are thousands.
_WITHOUT = (RELEASE, "kubernetes:kueue.")
_HOST_NAMESPACES = ("hostNetwork", "hostPID", "hostIPC")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
# Volumes of a pod that are gone with its machine, or with the pod; whatever else there is lies elsewhere.
_PASSING = {"configMap", "downwardAPI", "emptyDir", "ephemeral", "hostPath", "image", "name", "projected", "secret"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container, init containers among them."""

    name: str
    image: Any
    limits: frozenset[str] = frozenset()
    """What it has a limit of: `cpu`, `memory`, `nvidia.com/gpu`."""
    privileged: bool = False
    unconfined: Sequence[str] = ()
    """What it may do beyond what its work needs, in words."""
    variables: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Environment variables; empty text for one whose value comes from elsewhere."""
    serves: bool = False
    """Whether it says on which port it is called."""
    asked: frozenset[str] = frozenset()
    """What it is asked for: `livenessProbe`, `readinessProbe`, `startupProbe`."""
    words: Sequence[str] = ()
    """Command and arguments."""
    logs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """ECS: where its log goes."""
    writes: bool = False
    """ECS: whether it may write to the files that it is made of."""

    @property
    def accelerated(self) -> bool:
        """Whether it has an accelerator: what no cluster has by itself is named by whoever brings it."""
        return any("/" in name for name in self.limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """Containers that share a machine."""

    containers: Sequence[Container]
    host: Sequence[str] = ()
    """What it has of the machine beyond its share, in words."""
    kept: bool = False
    """Whether it has a volume that outlives its machine."""


def pods(resource: Resource) -> Iterator[Pod]:
    """The pods that a resource declares; what is not known, or cannot be read, is left out."""
    if resource.type == JOB_DEFINITION:
        yield from _of_batch(resource)
    elif resource.type == TASK_DEFINITION:
        yield from _of_ecs(resource)
    elif resource.type in CLOUD_RUN:
        yield from _of_cloud_run(mapping(resource.get(CLOUD_RUN[resource.type])))
    elif resource.type.startswith("kubernetes:") and not resource.type.startswith(_WITHOUT):
        for spec in _specs(resource.inputs):
            yield _of_kubernetes(spec)


def cluster_of(resource: Resource, graph: Graph) -> Resource | None:
    """The cluster that an object is in, where this program makes it."""
    provider = graph.resources.get(resource.provider)
    linked = sorted(provider.links("kubeconfig")) if provider else []
    return next(
        (graph.resources[u] for u in linked if u in graph.resources and graph.resources[u].type in CLUSTERS), None
    )


def beside(resource: Resource, graph: Graph, *types: str) -> list[Resource]:
    """The objects of these types in the same cluster."""
    return [r for r in graph.of_type(*types) if r.provider == resource.provider]


def inside(namespace: Resource, graph: Graph, type_: str) -> list[Resource]:
    """The objects of a type in a namespace."""
    found = graph.where(type_, "metadata.namespace", name_of(namespace))
    return [r for r in found if r.provider == namespace.provider]


def exists(type_: str, name: str, asking: Resource, graph: Graph) -> bool:
    """Whether an object of a type has this name in the cluster of the one that asks."""
    return any(r.provider == asking.provider for r in graph.where(type_, "metadata.name", name))


def name_of(resource: Resource) -> str:
    """An object's own name."""
    return str(resource.get("metadata.name", ""))


def labels_of(resource: Resource) -> Mapping[str, Any]:
    """An object's own labels."""
    return mapping(resource.get("metadata.labels"))


def quantity(value: object) -> float | None:
    """The number of a quantity without a unit (`8`, `"8"`); None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    return float(value) if isinstance(value, str) and value.isdecimal() else None


def decoded(value: object) -> Any:
    """What a text in JSON says; None where it says nothing. Not to be changed: it is read once for all who ask."""
    return _decoded(value) if isinstance(value, str) else None


@lru_cache(maxsize=4096)
def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _specs(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        if maps(value.get("containers")):
            yield value
        else:
            for item in value.values():
                yield from _specs(item)
    elif isinstance(value, list):
        for item in value:
            yield from _specs(item)


def _of_kubernetes(spec: Mapping[str, Any]) -> Pod:
    volumes = maps(spec.get("volumes"))
    paths = [str(mapping(volume["hostPath"]).get("path")) for volume in volumes if volume.get("hostPath")]
    shared = [name for name in _HOST_NAMESPACES if spec.get(name, False) is not False]
    whole = mapping(spec.get("securityContext"))
    found = [*maps(spec.get("containers")), *maps(spec.get("initContainers"))]
    return Pod(
        containers=[_container(each, whole) for each in found],
        host=[*shared, *(f"the machine's {path}" for path in paths)],
        kept=any(volume.keys() - _PASSING for volume in volumes),
    )


def _container(container: Mapping[str, Any], pod: Mapping[str, Any]) -> Container:
    own = mapping(container.get("securityContext"))
    both = {**pod, **own}
    dropped = items(mapping(own.get("capabilities")).get("drop"))
    profile = str(mapping(both.get("seccompProfile")).get("type"))
    may = {
        "may run as root": both.get("runAsNonRoot") is not True or both.get("runAsUser") == 0,
        "may gain privileges": own.get("allowPrivilegeEscalation") is not False,
        "keeps capabilities": "ALL" not in dropped,
        "has no seccomp profile": profile not in {"RuntimeDefault", "Localhost"},
    }
    return Container(
        name=str(container.get("name", "")),
        image=container.get("image"),
        limits=frozenset(map(str, mapping(mapping(container.get("resources")).get("limits")))),
        privileged=own.get("privileged", False) is not False,
        unconfined=[what for what, so in may.items() if so],
        variables=_variables(container.get("env")),
        serves=bool(container.get("ports")),
        asked=frozenset(probe for probe in _PROBES if container.get(probe)),
        words=[str(word) for part in ("command", "args") for word in items(container.get(part))],
    )


def _variables(named: Any) -> dict[str, Any]:
    return {str(each.get("name")): each.get("value", "") for each in maps(named)}


def _of_ecs(task: Resource) -> Iterator[Pod]:
    found = maps(decoded(task.get("containerDefinitions")))
    if not found:
        return
    whole = {part for part in ("cpu", "memory") if task.get(part)}
    shared = [name for name in ("networkMode", "pidMode", "ipcMode") if task.get(name) == "host"]
    paths = [str(volume["hostPath"]) for volume in maps(task.get("volumes")) if volume.get("hostPath")]
    yield Pod(
        containers=[
            Container(
                name=str(each.get("name", "")),
                image=each.get("image"),
                limits=frozenset(whole | {part for part in ("cpu", "memory") if each.get(part)}),
                privileged=each.get("privileged", False) is not False,
                unconfined=["may run as root"] if _is_root(each.get("user")) else [],
                variables=_variables(each.get("environment")),
                serves=bool(each.get("portMappings")),
                words=[str(word) for part in ("entryPoint", "command") for word in items(each.get(part))],
                logs=mapping(each.get("logConfiguration")),
                writes=each.get("readonlyRootFilesystem") is not True,
            )
            for each in found
        ],
        host=[*(f"the machine's {name}" for name in shared), *(f"the machine's {path}" for path in paths)],
    )


def _of_cloud_run(template: Mapping[str, Any]) -> Iterator[Pod]:
    """A container of Cloud Run is confined by Cloud Run; without a limit of its own it has the service's."""
    found = maps(template.get("containers"))
    if found:
        yield Pod(
            containers=[
                Container(
                    name=str(each.get("name", "")),
                    image=each.get("image"),
                    limits=frozenset({"cpu", "memory"}.union(mapping(mapping(each.get("resources")).get("limits")))),
                    variables=_variables(each.get("envs")),
                    serves=bool(each.get("ports")),
                    asked=frozenset(probe for probe in _PROBES if each.get(probe)),
                    words=[str(word) for part in ("commands", "args") for word in items(each.get(part))],
                )
                for each in found
            ]
        )


def _is_root(user: Any) -> bool:
    return str(user or "root").partition(":")[0] in {"", "0", "root"}


def _of_batch(resource: Resource) -> Iterator[Pod]:
    if "containerProperties" in resource.inputs:
        yield from _batch_pod(decoded(resource.inputs["containerProperties"]))
    for group in maps(mapping(decoded(resource.get("nodeProperties"))).get("nodeRangeProperties")):
        yield from _batch_pod(group.get("container"))


def _batch_pod(container: Any) -> Iterator[Pod]:
    if not isinstance(container, Mapping):
        return
    asked = {str(each.get("type")) for each in maps(container.get("resourceRequirements"))}
    named = {"VCPU": "cpu", "MEMORY": "memory", "GPU": "nvidia.com/gpu"}
    volumes = maps(container.get("volumes"))
    # A `host` without a path is scratch that Docker makes for the job ("Host", sourcePath).
    paths = [str(path) for volume in volumes if (path := mapping(volume.get("host")).get("sourcePath"))]
    yield Pod(
        containers=[
            Container(
                name="job",
                image=container.get("image"),
                limits=frozenset(named.get(each, each) for each in asked),
                privileged=container.get("privileged", False) is not False,
                unconfined=["may run as root"] if _is_root(container.get("user")) else [],
                variables=_variables(container.get("environment")),
            )
        ],
        host=[f"the machine's {path}" for path in paths],
        kept=any(volume.keys() & {"efsVolumeConfiguration", "s3filesVolumeConfiguration"} for volume in volumes),
    )
