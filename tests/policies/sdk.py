"""What the installed SDKs know: resource types and their inputs."""

import importlib
import inspect
import re
from functools import cache

_PACKAGES = {"aws": "pulumi_aws", "gcp": "pulumi_gcp"}
# The properties whose wire name is no plain camel case of the Python one.
_WIRE = {"enable_dns64": "enableDns64"}


@cache
def _classes(package: str) -> dict[str, tuple[str, str]]:
    """Type token to module and class, from the list that the package registers on import."""
    text = inspect.getsource(importlib.import_module(package))
    found: dict[str, tuple[str, str]] = {}
    for block in re.split(r'"pkg": ', text)[1:]:
        module = re.search(r'"fqn": "([\w.]+)"', block)
        for token, name in re.findall(r'"((?:aws|gcp):[\w/]+:\w+)": "(\w+)"', block):
            if module:
                found[token] = (module[1], name)
    return found


def knows(type_: str) -> bool:
    cloud = type_.removeprefix("pulumi:providers:").partition(":")[0]
    if type_.startswith("pulumi:providers:"):
        return cloud in _PACKAGES
    return cloud in _PACKAGES and type_ in _classes(_PACKAGES[cloud])


@cache
def inputs_of(type_: str) -> frozenset[str]:
    if type_.startswith("pulumi:providers:"):
        module, name = _PACKAGES[type_.rpartition(":")[2]], "Provider"
    else:
        module, name = _classes(_PACKAGES[type_.partition(":")[0]])[type_]
    cls = getattr(importlib.import_module(module), name)
    names = set(inspect.signature(cls._internal_init).parameters) - {"__self__", "resource_name", "opts", "__props__"}
    return frozenset(_WIRE.get(n) or re.sub(r"_(\w)", lambda m: m[1].upper(), n).strip("_") for n in names)
