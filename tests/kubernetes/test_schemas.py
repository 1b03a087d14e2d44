"""Every object of every stack against its schema: without a server, so that it is never left out."""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
import yaml

from policies.model import Graph
from tests.conftest import STACKS
from tests.kubernetes.api_server import definitions, plain
from tests.kubernetes.building import built, objects

HERE = Path(__file__).parent
VERSIONS = sorted(file.stem for file in (HERE / "openapi").glob("v*.json"))
# Fields of GKE's ComputeClass, "About custom compute classes" and "ComputeClass CRD reference": a definition is not published.
COMPUTE_CLASS: dict[str, Any] = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "required": ["priorities"],
            "properties": {
                "priorities": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "minProperties": 1,
                        "properties": {
                            "nodepools": {"type": "array", "minItems": 1, "items": {"type": "string"}},
                            "machineFamily": {"type": "string"},
                            "machineType": {"type": "string"},
                            "spot": {"type": "boolean"},
                            "minCores": {"type": "integer"},
                            "minMemoryGb": {"type": "integer"},
                            "maxRunDurationSeconds": {"type": "integer"},
                            "gpu": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                            "tpu": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                            "flexStart": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                            "storage": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                            "reservations": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                            "location": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                        },
                    },
                },
                "whenUnsatisfiable": {"enum": ["ScaleUpAnyway", "DoNotScaleUp"]},
                "nodePoolAutoCreation": {"type": "object", "properties": {"enabled": {"type": "boolean"}}},
                "activeMigration": {
                    "type": "object",
                    "properties": {
                        "optimizeRulePriority": {"type": "boolean"},
                        "ensureAllDaemonSetPodsRunning": {"type": "boolean"},
                    },
                },
                "autoscalingPolicy": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "nodePoolConfig": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "priorityDefaults": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "description": {"type": "string"},
            },
        },
    },
}
STRINGS = {"type": "array", "minItems": 1, "items": {"type": "string"}}


def fields(required: list[str], **properties: Any) -> dict[str, Any]:
    """An object with these fields; those that are named first have to be there."""
    return {"type": "object", "required": required, "properties": properties}


def listed(item: dict[str, Any]) -> dict[str, Any]:
    """At least one of these."""
    return {"type": "array", "minItems": 1, "items": item}


STRING, BOOLEAN = {"type": "string"}, {"type": "boolean"}
CONDITION = fields(["key", "operator"], key=STRING, operator={"enum": ["Equals", "NotEquals"]}, value={})
EXPRESSION = fields(["key", "operator"], key=STRING, operator=STRING, values=STRINGS)
CALL = fields(
    [],
    urlPath=STRING,
    method={"enum": ["GET", "POST"]},
    jmesPath=STRING,
    data=listed(fields(["key", "value"], key=STRING, value={})),
    service=fields(["url"], url={"type": "string", "pattern": "^https://"}, caBundle=STRING),
)
MATCH = fields(
    ["kinds"],
    kinds=STRINGS,
    operations=listed({"enum": ["CREATE", "UPDATE", "CONNECT", "DELETE"]}),
    namespaceSelector=fields([], matchExpressions=listed(EXPRESSION)),
)
RULE = fields(
    ["name", "match"],
    name=STRING,
    match=fields([], any=listed(fields(["resources"], resources=MATCH))),
    context=listed(fields(["name", "apiCall"], name=STRING, apiCall=CALL)),
    validate=fields(
        ["failureAction"],
        failureAction={"enum": ["Audit", "Enforce"]},
        message=STRING,
        deny=fields(["conditions"], conditions=fields([], all=listed(CONDITION))),
    ),
)
WEBHOOK = fields(
    [],
    failurePolicy={"enum": ["Fail", "Ignore"]},
    timeoutSeconds={"type": "integer", "minimum": 1, "maximum": 30},
)
STATEMENT = fields(
    ["name", "registryScopes", "signatureVerification"],
    name=STRING,
    registryScopes=STRINGS,
    signatureVerification=fields(
        ["level"],
        level={"enum": ["strict", "permissive", "audit", "skip"]},
        override=fields([], revocation={"enum": ["enforce", "log", "skip"]}),
    ),
    trustStores=STRINGS,
    trustedIdentities=STRINGS,
)
# The fields that are used of Kyverno's policy (api/kyverno/v1, v1.19.0), and of what the verifier trusts
# (notation.nirmata.io/v1alpha1, notation-aws-verifier v1.0.0).
VERIFYING: dict[tuple[str, str], dict[str, Any]] = {
    ("kyverno.io/v1", "ClusterPolicy"): fields(
        ["rules"], background=BOOLEAN, emitWarning=BOOLEAN, webhookConfiguration=WEBHOOK, rules=listed(RULE)
    ),
    ("notation.nirmata.io/v1alpha1", "TrustPolicy"): fields(
        ["version", "trustPolicyName", "trustPolicies"],
        version={"enum": ["1.0"]},
        trustPolicyName=STRING,
        trustPolicies=listed(STATEMENT),
    ),
    ("notation.nirmata.io/v1alpha1", "TrustStore"): fields(
        ["trustStoreName", "type", "caBundle"],
        trustStoreName=STRING,
        type={"enum": ["ca", "signingAuthority"]},
        caBundle=STRING,
    ),
}
QUANTITY = r"^[+-]?([0-9]+|[0-9]+\.[0-9]*|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$"


def closed(schema: Any) -> Any:
    """A schema of Kubernetes as JSON Schema has it: what it does not know is wrong, unless it says otherwise."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    # What a branch does not name, the schema around it knows.
    branches = ("allOf", "anyOf", "oneOf", "not")
    made = {
        key: value if key in branches else closed(value)
        for key, value in schema.items()
        if not key.startswith("x-kubernetes")
    }
    if isinstance(schema.get("$ref"), str) and schema["$ref"].endswith(".resource.Quantity"):
        return {"anyOf": [{"type": "string", "pattern": QUANTITY}, {"type": "number"}]}
    if schema.get("x-kubernetes-int-or-string") or schema.get("format") == "int-or-string":
        made.pop("type", None)
        made["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    if isinstance(schema.get("pattern"), str) and "(?i)" in schema["pattern"]:  # Go has it anywhere, Python in front
        made["pattern"] = "(?i)" + schema["pattern"].replace("(?i)", "")
    unknown = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if isinstance(schema.get("properties"), Mapping) and not unknown:
        made["additionalProperties"] = False
    return made


def rooted(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of an operator's kind with what every object has: a definition leaves it out."""
    metadata = {"type": "object", "required": ["name"]}
    named = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": metadata}
    return closed({**schema, "properties": {**schema.get("properties", {}), **named}})


@cache
def operators() -> dict[tuple[str, str], Any]:
    """Schema by API version and kind, of the operators' kinds."""
    found = {("cloud.google.com/v1", "ComputeClass"): rooted(COMPUTE_CLASS)}
    found |= {kind: rooted(fields(["spec"], spec=spec)) for kind, spec in VERIFYING.items()}
    for definition in definitions(HERE / "crds"):
        spec = definition["spec"]
        for version in spec["versions"]:
            api = f"{spec['group']}/{version['name']}"
            found[api, spec["names"]["kind"]] = rooted(version["schema"]["openAPIV3Schema"])
    return found


@cache
def own(version: str) -> dict[tuple[str, str], Any]:
    """Schema by API version and kind, of Kubernetes' own kinds."""
    whole = json.loads((HERE / "openapi" / f"{version}.json").read_text())["definitions"]
    known = {name: closed(schema) for name, schema in whole.items()}
    return {
        ("/".join(filter(None, [of["group"], of["version"]])), of["kind"]): {
            "$ref": f"#/definitions/{name}",
            "definitions": known,
        }
        for name, schema in whole.items()
        for of in schema.get("x-kubernetes-group-version-kind", [])
    }


def wrong(graph: Graph, version: str) -> Iterator[str]:
    """What is wrong with a graph's objects."""
    schemas = {**own(version), **operators()}
    for name, resource in objects(graph).items():
        thing = plain(resource.inputs)
        schema = schemas.get((thing["apiVersion"], thing["kind"]))
        if schema is None:
            yield f"{name}: no schema of {thing['apiVersion']} {thing['kind']} is here"
            continue
        for error in jsonschema.Draft7Validator(schema).iter_errors(thing):
            yield f"{name}: {error.json_path}: {error.message[:200]}"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("stack", STACKS)
def test_the_objects_of_a_stack_are_well_formed(graphs: Callable[..., Graph], stack: str, version: str):
    assert list(wrong(graphs(stack), version)) == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_the_objects_of_every_kind_of_pool_and_queue_are_well_formed(cloud: Any, version: str):
    graph = built(cloud, args={"submitters": ["science@example.com"], "readers": ["audit@example.com"]})
    assert list(wrong(graph, version)) == []


def test_what_is_misspelt_is_seen():
    """Else the tests above would say nothing."""
    graph = built("gcp")
    queue = objects(graph, "ClusterQueue")["train.vision"]
    queue.inputs["spec"]["preemptions"] = {}
    queue.inputs["spec"]["queueingStrategy"] = "FIFO"
    objects(graph, "LimitRange")["team-vision/limits"].inputs["spec"]["limits"][0]["defaults"] = {}
    found = "\n".join(wrong(graph, VERSIONS[-1]))
    assert all(word in found for word in ("preemptions", "FIFO", "defaults"))


def test_every_version_that_the_description_allows_is_here():
    from components.spec.training import Cluster

    allowed = Cluster.model_fields["version"].annotation
    assert [f"v{version}" for version in sorted(get_args(allowed))] == VERSIONS


def test_every_definition_is_of_a_version_that_the_chart_installs():
    from components.kubernetes.foundation.charts import CHARTS

    readme = (HERE / "crds" / "README.md").read_text()
    assert f"v{CHARTS['kueue'].version} " in readme
    assert all(yaml.safe_load(f.read_text())["kind"] == "CustomResourceDefinition" for f in HERE.rglob("crds/*/*.yaml"))
