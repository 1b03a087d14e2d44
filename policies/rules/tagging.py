"""Tags and labels, by which the bill is split and an owner is found."""

from collections.abc import Mapping

from policies.context import AWS_PROVIDER, GCP_PROVIDER, common_tags
from policies.model import Graph, Resource
from policies.rule import EVERY, Found, resource_rule

REQUIRED = ("environment", "tier", "platform", "owner", "cost-center", "managed-by")
_FIXED = ("environment", "tier", "platform", "managed-by")


@resource_rule(
    "tags-common",
    title="Every resource says what it belongs to and who answers for it",
    types=(AWS_PROVIDER, GCP_PROVIDER),
    severity="medium",
    why="What nobody owns is never switched off, and a bill that cannot be split is nobody's.",
    remedy="default_tags or default_labels of the provider, from scope.tags.",
    controls={"soc2": ("CC6.1",), "iso-27001": ("A.5.9",), "nist-ai-rmf": ("GOVERN 1.6",)},
)
def tags_common(resource: Resource, graph: Graph) -> Found:
    """The provider puts them on everything, so it is the provider that is asked."""
    tags = common_tags(resource)
    missing = [key for key in REQUIRED if not tags.get(key)]
    if missing:
        yield f"not on everything: {', '.join(missing)}"
    if "environment" in tags and tags["environment"] != graph.stack:
        yield f"the environment is called {tags['environment']}, not {graph.stack}"


@resource_rule(
    "tags-not-overridden",
    title="No resource pretends to belong to another environment",
    types=(EVERY,),
    severity="medium",
    why="Access rules and budgets that go by tags believe them.",
    remedy="Leave the common tags to the provider; a resource adds team and feature.",
    controls={"iso-27001": ("A.5.9",)},
)
def tags_not_overridden(resource: Resource, graph: Graph) -> Found:
    """A common tag of a resource has the value that its provider gives."""
    provider = graph.resources.get(resource.provider)
    if provider is None or provider.type not in {AWS_PROVIDER, GCP_PROVIDER}:
        return
    common = common_tags(provider)
    for kind in ("tags", "labels"):
        own = resource.inputs.get(kind)
        for key in _FIXED:
            if isinstance(own, Mapping) and key in own and own[key] != common.get(key, own[key]):
                yield f"{kind[:-1]} {key} is {own[key]}, not {common[key]}"
