"""What answers requests, read once and in one form: which function is called by whom, and what a workflow deploys."""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from typing import Any

from policies.context import items, mapping, resolve
from policies.model import Graph, Resource
from policies.pods import decoded

FUNCTION = "aws:lambda/function:Function"
PERMISSION = "aws:lambda/permission:Permission"
FUNCTION_URL = "aws:lambda/functionUrl:FunctionUrl"
MAPPING = "aws:lambda/eventSourceMapping:EventSourceMapping"
CONFIGURATION = "aws:sagemaker/endpointConfiguration:EndpointConfiguration"

FRONTS = {"apigateway.amazonaws.com": "an API", "elasticloadbalancing.amazonaws.com": "a load balancer"}
"""Services that bring requests of people."""


def called_by(function: Resource, graph: Graph) -> list[str]:
    """What calls a function without an end: an API, a load balancer, a URL, a queue. Schedules and rotations are left out."""
    permissions = graph.linked(function.urn, PERMISSION, "function")
    found = [FRONTS[who] for p in permissions if (who := str(p.get("principal"))) in FRONTS]
    found += ["a URL" for _ in graph.linked(function.urn, FUNCTION_URL, "functionName")]
    return found + ["a queue" for _ in graph.linked(function.urn, MAPPING, "functionName")]


API_CONFIG = "gcp:apigateway/apiConfig:ApiConfig"


def is_behind_api(function: Resource, graph: Graph) -> bool:
    """Whether an API of API Gateway (Google Cloud) leads to a function."""
    name = resource_text(function.get("name"))
    return bool(name) and any(
        name in json.dumps(api) for config in graph.of_type(API_CONFIG) for api in described(config)
    )


def deployments(workflow: Resource) -> list[Mapping[str, Any]]:
    """What a workflow of Google Cloud deploys to machines of Vertex AI (`dedicatedResources`), where its source is JSON."""
    source = resource_text(workflow.get("sourceContents"))
    return list(_deployed(decoded(source))) if "dedicatedResources" in source else []


def described(config: Resource) -> list[Mapping[str, Any]]:
    """The APIs that a configuration of API Gateway (Google Cloud) describes, where that can be read."""
    found = [mapping(mapping(each).get("document")).get("contents") for each in items(config.get("openapiDocuments"))]
    return [mapping(decoded(_plain(resource_text(contents)))) for contents in found]


def _plain(contents: str) -> str:
    try:
        return base64.b64decode(contents, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return contents


def resource_text(value: Any) -> str:
    """A text as it is; empty for anything else."""
    return value if isinstance(value, str) else ""


def _deployed(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        if isinstance(value.get("dedicatedResources"), Mapping):
            yield value
        for item in value.values():
            yield from _deployed(item)
    elif isinstance(value, list):
        for item in value:
            yield from _deployed(item)


def is_serverless(configuration: Resource) -> bool:
    """Whether an endpoint of SageMaker has no machines of its own."""
    variants = [mapping(each) for each in items(configuration.get("productionVariants"))]
    return any(variant.get("serverlessConfig") for variant in variants)


def configuration_of(endpoint: Resource, graph: Graph) -> Resource | None:
    """The configuration of an endpoint of SageMaker, where this program makes it."""
    linked = [graph.resources.get(urn) for urn in sorted(endpoint.links("endpointConfigName"))]
    return next((each for each in linked if each is not None and each.type == CONFIGURATION), None)


def is_own_bucket(resource: Resource, property_: str, address: Any, graph: Graph) -> bool:
    """Whether an address in an input (`s3://name/path`) lies in a bucket of this program."""
    buckets = "aws:s3/bucket:Bucket"
    linked = (graph.resources.get(urn) for urn in resource.links(property_))
    if any(each is not None and each.type == buckets for each in linked):
        return True
    name = str(resolve(address, graph)).removeprefix("s3://").partition("/")[0]
    return bool(graph.where(buckets, "bucket", name))
