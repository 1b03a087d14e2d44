"""What the installed SDKs know: resource types and their inputs."""

import importlib
import inspect
import re
from functools import cache

_PACKAGES = {"aws": "pulumi_aws", "gcp": "pulumi_gcp", "kubernetes": "pulumi_kubernetes"}
# The properties whose wire name is no plain camel case of the Python one.
_WIRE = {"enable_dns64": "enableDns64"}
# Kinds of operators, which no SDK has; all of them are an object's four fields. Sources: the operators' own definitions, at the
# versions that components/core/eks.py and components/kubernetes pin.
_KINDS = {
    "kubernetes:argoproj.io/v1alpha1:Rollout",
    "kubernetes:jobset.x-k8s.io/v1alpha2:JobSet",
    "kubernetes:karpenter.k8s.aws/v1:EC2NodeClass",
    "kubernetes:karpenter.sh/v1:NodePool",
    "kubernetes:kueue.x-k8s.io/v1beta2:ClusterQueue",
    "kubernetes:kueue.x-k8s.io/v1beta2:Cohort",
    "kubernetes:kueue.x-k8s.io/v1beta2:LocalQueue",
    "kubernetes:kueue.x-k8s.io/v1beta2:ResourceFlavor",
    "kubernetes:keda.sh/v1alpha1:ScaledObject",
    "kubernetes:gateway.networking.k8s.io/v1:Gateway",
    "kubernetes:ray.io/v1:RayCluster",
    "kubernetes:serving.kserve.io/v1beta1:InferenceService",
}


@cache
def _classes(package: str) -> dict[str, tuple[str, str]]:
    """Type token to module and class, from the list that the package registers on import."""
    text = inspect.getsource(importlib.import_module(package))
    found: dict[str, tuple[str, str]] = {}
    for block in re.split(r'"pkg": ', text)[1:]:
        module = re.search(r'"fqn": "([\w.]+)"', block)
        for token, name in re.findall(r'"((?:aws|gcp|kubernetes):[\w./-]+:\w+)": "(\w+)"', block):
            if module:
                found[token] = (module[1], name)
    return found


def knows(type_: str) -> bool:
    cloud = type_.removeprefix("pulumi:providers:").partition(":")[0]
    if type_.startswith("pulumi:providers:"):
        return cloud in _PACKAGES
    return type_ in _KINDS or (cloud in _PACKAGES and type_ in _classes(_PACKAGES[cloud]))


@cache
def inputs_of(type_: str) -> frozenset[str]:
    if type_ in _KINDS:
        return frozenset({"apiVersion", "kind", "metadata", "spec"})
    if type_.startswith("pulumi:providers:"):
        module, name = _PACKAGES[type_.rpartition(":")[2]], "Provider"
    else:
        module, name = _classes(_PACKAGES[type_.partition(":")[0]])[type_]
    cls = getattr(importlib.import_module(module), name)
    names = set(inspect.signature(cls._internal_init).parameters) - {"__self__", "resource_name", "opts", "__props__"}
    return frozenset(_WIRE.get(n) or re.sub(r"_(\w)", lambda m: m[1].upper(), n).strip("_") for n in names)
