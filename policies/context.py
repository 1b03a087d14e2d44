"""What a graph says about the environment as a whole: its tier, its providers, where it runs."""

import json
from collections.abc import Mapping
from typing import Any

from policies.model import REFERENCE, SECRET, Graph, Resource

AWS_PROVIDER = "pulumi:providers:aws"
GCP_PROVIDER = "pulumi:providers:gcp"

_COMMON_TAGS = {AWS_PROVIDER: "defaultTags", GCP_PROVIDER: "defaultLabels"}
"""Where each provider keeps what it puts on every resource."""


def providers(graph: Graph, *types: str) -> list[Resource]:
    """The AWS and Google Cloud providers of the graph, or those of the types given."""
    return graph.of_type(*(types or _COMMON_TAGS))


def setting(provider: Resource, name: str) -> Any:
    """A provider's setting. The engine is handed all but text as JSON."""
    value = provider.inputs.get(name)
    if isinstance(value, str) and value[:1] in {"[", "{"} and value != SECRET:
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def common_tags(provider: Resource) -> Mapping[str, Any]:
    """What a provider puts on every resource."""
    value = setting(provider, _COMMON_TAGS[provider.type])
    tags = value.get("tags") if provider.type == AWS_PROVIDER and isinstance(value, Mapping) else value
    return tags if isinstance(tags, Mapping) else {}


def is_prod(graph: Graph) -> bool:
    """Whether prod's rules hold: everywhere but where every provider names another tier.

    An environment that does not say what it is is held to the strictest.
    """
    tiers = {str(common_tags(provider).get("tier")) for provider in providers(graph)}
    return not tiers or not tiers <= {"dev", "staging"}


def uses(graph: Graph, cloud: str) -> bool:
    """Whether the graph declares anything on `aws` or `gcp`, providers included."""
    prefixes = (f"{cloud}:", f"pulumi:providers:{cloud}")
    return any(r.type.startswith(prefixes) for r in graph.resources.values())


def resolve(value: Any, graph: Graph) -> Any:
    """The value behind a reference, where the resource that it refers to was given it; otherwise the value as it is."""
    match = REFERENCE.fullmatch(value.strip()) if isinstance(value, str) else None
    target = graph.resources.get(match[1]) if match else None
    return target.get(match[2], value) if match and target else value


def mapping(value: Any) -> Mapping[str, Any]:
    """A map as it is; an empty one in place of anything else, such as a value that is not known."""
    return value if isinstance(value, Mapping) else {}


def maps(value: Any) -> list[Mapping[str, Any]]:
    """The maps in a list, or the one that stands in its place; what is not known is left out."""
    return [item for item in items(value) if isinstance(item, Mapping)]


def items(value: Any) -> list[Any]:
    """A list as it is, nothing as an empty one, one value as a list of it."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
