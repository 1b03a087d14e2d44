"""Inference in a cluster, and weights wherever they are loaded."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from policies.context import is_prod, mapping
from policies.model import Graph, Resource
from policies.pods import name_of, pods
from policies.rule import EVERY, Found, resource_rule

DEPLOYMENT = "kubernetes:apps/v1:Deployment"
INFERENCE_SERVICE = "kubernetes:serving.kserve.io/v1beta1:InferenceService"
ROLLOUT = "kubernetes:argoproj.io/v1alpha1:Rollout"
BUDGET = "kubernetes:policy/v1:PodDisruptionBudget"
MODEL_GARDEN = "gcp:vertex/aiEndpointWithModelGardenDeployment:AiEndpointWithModelGardenDeployment"

# Kinds that answer, the labels of their pods, and how many they are at least.
_ANSWERS: Mapping[str, tuple[str, str]] = {
    DEPLOYMENT: ("spec.template.metadata.labels", "spec.replicas"),
    INFERENCE_SERVICE: ("spec.predictor.labels", "spec.predictor.minReplicas"),
}
_SYSTEM = "kube-system"


@resource_rule(
    "inference-probed",
    title="What answers in a cluster says when it is ready, and is started again when it hangs",
    types=(DEPLOYMENT, INFERENCE_SERVICE),
    severity="medium",
    why="Requests go to a pod that is still loading its model, and to one that has hung, until somebody looks.",
    remedy="readinessProbe and livenessProbe of every container with a port.",
    controls={"soc2": ("A1.2",), "iso-27001": ("A.8.14", "A.8.16")},
)
def inference_probed(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """Of containers that are called on a port."""
    for pod in pods(resource):
        for container in pod.containers:
            missing = {"readinessProbe", "livenessProbe"} - container.asked
            if container.serves and missing:
                yield f"{container.name or 'a container'} has no {' and no '.join(sorted(missing))}"


@resource_rule(
    "inference-kept",
    title="In prod, while machines are drained, some of what answers stays",
    types=(DEPLOYMENT, INFERENCE_SERVICE),
    severity="medium",
    why="An upgrade of the cluster takes every pod of an endpoint at once, where nothing says how many may go.",
    remedy="A PodDisruptionBudget whose selector fits the pods.",
    controls={"soc2": ("A1.2",), "iso-27001": ("A.8.14",)},
)
def inference_kept(resource: Resource, graph: Graph) -> Found:
    """Of what is called on a port and has two pods or more; of the cluster's own agents their charts say it."""
    labels, count = _ANSWERS[resource.type]
    released = [each for each in graph.of_type(ROLLOUT) if _made_by(each, resource)]
    least = released[0].get("spec.replicas", 1) if released else resource.get(count, 1)
    served = any(container.serves for pod in pods(resource) for container in pod.containers)
    several = isinstance(least, int | float) and least > 1
    if not is_prod(graph) or not served or not several or resource.get("metadata.namespace") == _SYSTEM:
        return
    own = mapping(resource.get(labels))
    budgets = graph.where(BUDGET, "metadata.namespace", str(resource.get("metadata.namespace", "")))
    chosen = [mapping(each.get("spec.selector.matchLabels")) for each in budgets if each.provider == resource.provider]
    if not any(selector and selector.items() <= own.items() for selector in chosen):
        yield f"nothing says how many of {name_of(resource)} may go at once"


def _made_by(rollout: Resource, deployment: Resource) -> bool:
    """Whether the pods of a deployment are a rollout's."""
    of = (rollout.get("spec.workloadRef.name"), rollout.get("metadata.namespace"), rollout.provider)
    return of == (deployment.get("metadata.name"), deployment.get("metadata.namespace"), deployment.provider)


# Where weights of ours lie; `pvc://` is a volume of the cluster, `oci://` a registry, whose images are another rule's concern.
_OURS = ("s3://", "gs://", "pvc://", "oci://", "/", "${")
_ADDRESSES = {"storageUri", "modelUri", "storage_uri"}
# Variables by which servers of models are told what to load: KServe, Vertex AI, Text Generation Inference, our own.
_VARIABLES = {"AIP_STORAGE_URI", "HF_MODEL_ID", "MODEL_ID", "MODEL_URI", "STORAGE_URI"}
_HUB = re.compile(r"(hf|https?)://|[\w.-]+/[\w.-]+$")
_OFFLINE = {"1", "true", "yes", "on"}
_MODEL_FLAG = re.compile(r"--model(?:=(.*))?")


@resource_rule(
    "weights-ours",
    title="Weights come from a bucket of ours, never from the internet",
    types=(EVERY,),
    severity="high",
    why="Who can change what lies there changes what answers here; and an endpoint that cannot load does not start again.",
    remedy="model.artifact in a zone of the environment; HF_HUB_OFFLINE=1 for what knows the way to Hugging Face.",
    controls={
        "soc2": ("CC6.7", "CC8.1"),
        "iso-27001": ("A.8.9", "A.8.12"),
        "eu-ai-act": ("15",),
        "nist-ai-rmf": ("MEASURE 2.7",),
    },
)
def weights_ours(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """Addresses in inputs, in variables and on command lines; vLLM fetches what it does not find, unless it is told not to."""
    if resource.type == MODEL_GARDEN and resource.get("huggingFaceModelId"):
        yield f"it loads {resource.get('huggingFaceModelId')} from Hugging Face"
    if resource.type.startswith("kubernetes:"):
        for address in _addresses(resource.inputs):
            if not address.startswith(_OURS):
                yield f"it loads {address}"
    named = mapping(resource.get("primaryContainer.environment")).items() if resource.type == _MODEL else ()
    yield from _from_hub(named)
    for pod in pods(resource):
        for container in pod.containers:
            yield from _from_hub(container.variables.items())
            yield from _on_command_line(container.words)
            served = any("vllm" in str(word) for word in (container.image, *container.words))
            if served and str(container.variables.get("HF_HUB_OFFLINE", "")).lower() not in _OFFLINE:
                yield f"{container.name or 'a container'} may fetch from Hugging Face what it does not find"


_MODEL = "aws:sagemaker/model:Model"


def _addresses(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key in _ADDRESSES and isinstance(item, str):
                yield item
            elif key == "model" and isinstance(item, Mapping) and isinstance(item.get("uri"), str):
                yield item["uri"]
            yield from _addresses(item)
    elif isinstance(value, list):
        for item in value:
            yield from _addresses(item)


def _from_hub(variables: Any) -> Iterator[str]:
    for name, value in variables:
        text = str(value)
        if name in _VARIABLES and text and not text.startswith(_OURS) and _HUB.match(text):
            yield f"{name} is {text}"


def _on_command_line(words: Any) -> Iterator[str]:
    """`--model org/name`, and what follows `vllm serve`: a path is on a disk."""
    for before, word in zip(("", *words), words, strict=False):
        flag = _MODEL_FLAG.fullmatch(word)
        given = (flag[1] or "") if flag else word if before in {"--model", "serve"} else ""
        if given and not given.startswith((*_OURS, ".", "-")):
            yield f"it loads {given}"
