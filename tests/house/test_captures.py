"""Captured requests: on each cloud the same people read them, who are those of the zone of captures."""

import json
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

from components import plan
from components.spec.load import load
from policies.model import Graph
from tests.conftest import ROOT

Graphs = Callable[..., Graph]
PERSONAS = {"data-scientist", "ml-engineer", "platform-admin", "auditor"}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def on_aws(graph: Graph) -> set[str]:
    """Personas with a policy that lets them read objects of the bucket of captures, `personas-PERSONA-…`."""
    [bucket] = [r for r in graph.resources.values() if r.name == "logs-bucket"]
    captured = f"arn:aws:s3:::{bucket.get('bucket')}/capture/fraud-score/main/an.jsonl"
    found: set[str] = set()
    for policy in graph.resources.values():
        if policy.type != "aws:iam/policy:Policy" or not policy.name.startswith("personas-"):
            continue
        for statement in listed(json.loads(policy.get("policy"))["Statement"]):
            reads = any(fnmatchcase("s3:GetObject", action) for action in listed(statement.get("Action", [])))
            there = any(fnmatchcase(captured, str(each)) for each in listed(statement.get("Resource", [])))
            if statement["Effect"] == "Allow" and reads and there:
                found |= {each for each in PERSONAS if policy.name.startswith(f"personas-{each}-")}
    return found


def on_google_cloud(graph: Graph) -> set[str]:
    """Members with a role on the dataset of captures, but for who writes there."""
    [dataset] = [r for r in graph.resources.values() if r.name == "fraud-score-capture"]
    grants = [r for r in graph.resources.values() if dataset.urn in r.links("datasetId")]
    [writer] = [r for r in grants if r.get("role") == "roles/bigquery.dataEditor"]
    assert writer.get("member").startswith("serviceAccount:service-"), "Vertex AI itself"
    readers = [r for r in grants if r is not writer and r.type == "gcp:bigquery/datasetIamMember:DatasetIamMember"]
    assert {r.get("role") for r in readers} == {"roles/bigquery.dataViewer"}
    return {r.get("member") for r in readers}


def test_the_same_people_read_what_is_captured(graphs: Graphs):
    environment = load(ROOT, "dev-gcp")
    personas = on_aws(graphs("dev"))
    zone = environment.data.zones[environment.serving.capture_zone]
    assert personas == {*zone.readers, *zone.writers} == {"auditor"}
    people = environment.identity.personas
    assert on_google_cloud(graphs("dev-gcp")) == {f"group:{people[persona].group}" for persona in personas}  # type: ignore[index]


def test_who_reads_captures_on_google_cloud_may_ask_and_nobody_else(graphs: Graphs):
    roles = {
        persona: next(r for r in graphs("dev-gcp").resources.values() if r.name == f"personas-{persona}")
        for persona in PERSONAS
    }
    asks = {persona for persona, role in roles.items() if "bigquery.jobs.create" in role.get("permissions")}
    assert asks == {"auditor"}
    assert not any("bigquery.tables.getData" in role.get("permissions") for role in roles.values()), "of all datasets"


def test_readers_follow_the_description():
    environment = load(ROOT, "dev-gcp")
    zones = environment.data.zones
    zone = zones["logs"].model_copy(update={"readers": [], "writers": ["ml-engineer"]})
    data = environment.data.model_copy(update={"zones": {**zones, "logs": zone}})
    changed = environment.model_copy(update={"data": data})
    group = environment.identity.personas["ml-engineer"].group
    assert plan.capture_readers(changed, "gcp") == {"ml-engineer": group}
    nothing = changed.model_copy(update={"serving": environment.serving.model_copy(update={"endpoints": {}})})
    assert not plan.capture_readers(nothing, "gcp"), "nobody asks where nothing is captured"
