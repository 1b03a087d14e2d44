"""What docs/examples shows people to submit: well formed, and let in by the rules of production."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from components.gcp.training.queues import checkpoints
from components.kubernetes.foundation.charts import CHARTS
from components.kubernetes.foundation.tenants import TRAINER
from tests.conftest import ROOT
from tests.kubernetes.test_schemas import HERE, VERSIONS, closed, operators, own

EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.yaml"))
GUIDE = ROOT / "docs" / "training.md"
GIVEN = {
    "IMAGE": "registry.example.com/acme/trainer:1.0@sha256:" + "0" * 64,
    "RAY_VERSION": "2.55.1",
    "CHECKPOINT_URI": "s3://bucket/checkpoints/train/vision/it",
    "DATA_BUCKET": "acme-ai-dev-curated",
    "CHECKPOINT_BUCKET": "acme-ai-dev-artifacts",
}


def filled(file: Path) -> dict[str, Any]:
    """A manifest with what its first lines tell people to fill in, as `envsubst` would, and with nothing else."""
    text = file.read_text()
    told = re.search(r"envsubst '([^']*)' < docs/examples/" + re.escape(file.name), text)
    assert told, f"{file.name} does not say how to submit it"
    for name in told[1].split():
        text = text.replace("${" + name[1:] + "}", GIVEN[name[1:]])
    assert "${" not in text
    return yaml.safe_load(text)


def templates(value: Any) -> Iterator[Mapping[str, Any]]:
    """The templates of pods in an object."""
    if isinstance(value, Mapping):
        spec = value.get("spec")
        if isinstance(spec, Mapping) and "containers" in spec:
            yield value
            return
        for item in value.values():
            yield from templates(item)
    elif isinstance(value, list):
        for item in value:
            yield from templates(item)


@cache
def template_schema(version: str) -> Any:
    """The schema of a template, which the operators' definitions here leave open."""
    whole = json.loads((HERE / "openapi" / f"{version}.json").read_text())["definitions"]
    [name] = [name for name in whole if name.endswith("api.core.v1.PodTemplateSpec")]
    return {"$ref": f"#/definitions/{name}", "definitions": {key: closed(schema) for key, schema in whole.items()}}


everyone = pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)


@pytest.mark.parametrize("version", VERSIONS)
@everyone
def test_an_example_is_well_formed(file: Path, version: str):
    thing = filled(file)
    # A generated name is one that the server makes.
    thing["metadata"].setdefault("name", thing["metadata"].get("generateName", "") + "x")
    schema = {**own(version), **operators()}[thing["apiVersion"], thing["kind"]]
    assert [error.message for error in jsonschema.Draft7Validator(schema).iter_errors(thing)] == []
    found = list(templates(thing))
    assert found
    for template in found:
        errors = jsonschema.Draft7Validator(template_schema(version)).iter_errors(template)
        assert [f"{error.json_path}: {error.message[:200]}" for error in errors] == []


@everyone
def test_an_example_waits_in_a_queue_and_runs_as_its_team(file: Path):
    thing = filled(file)
    labels = thing["metadata"]["labels"]
    assert labels["kueue.x-k8s.io/queue-name"] == "train"
    assert labels["kueue.x-k8s.io/priority-class"].startswith("train.")
    assert int(labels["kueue.x-k8s.io/max-exec-time-seconds"]) <= 24 * 3600
    assert thing["spec"]["suspend"] is True
    for template in templates(thing):
        spec = template["spec"]
        assert spec["serviceAccountName"] == TRAINER
        assert spec["terminationGracePeriodSeconds"] > 30  # a checkpoint takes longer than the default
        assert (
            spec["securityContext"].items()
            >= {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}.items()
        )
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            # Without a request of its own a container asks for its limits; with one that is less, Kueue counts less.
            assert set(container["resources"]) == {"limits"}
            assert {"cpu", "memory"} <= container["resources"]["limits"].keys()


def test_every_example_is_in_the_guide_and_every_one_of_the_guide_is_there():
    named = set(re.findall(r"docs/examples/([\w.-]+)", GUIDE.read_text()))
    assert named == {file.name for file in EXAMPLES}


def test_machines_of_one_training_find_the_first_of_them():
    thing = filled(ROOT / "docs/examples/jobset.yaml")
    [job] = thing["spec"]["replicatedJobs"]
    [container] = job["template"]["spec"]["template"]["spec"]["containers"]
    arguments = dict(each.removeprefix("--").split("=") for each in container["args"][1:])
    # JobSet: {jobset}-{job}-{index of the job}-{index of the pod}.{jobset}
    name = thing["metadata"]["name"]
    assert arguments["address"] == f"{name}-{job['name']}-0-0.{name}"
    spec = job["template"]["spec"]
    assert int(arguments["nodes"]) == spec["parallelism"] == spec["completions"]
    assert spec["completionMode"] == "Indexed"
    assert int(arguments["processes"]) == int(container["resources"]["limits"]["nvidia.com/gpu"])
    # What is done about a job that makes no sense goes by the reason that its own policy gives.
    assert spec["podFailurePolicy"]["rules"][0]["action"] == "FailJob"
    assert thing["spec"]["failurePolicy"]["rules"][0]["onJobFailureReasons"] == ["PodFailurePolicy"]


def test_a_program_on_ray_holds_nothing_after_its_end_and_needs_no_pod_of_the_operator_s():
    spec = filled(ROOT / "docs/examples/rayjob.yaml")["spec"]
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["submissionMode"] == "HTTPMode"
    assert spec["rayClusterSpec"]["enableInTreeAutoscaling"] is False
    for group in spec["rayClusterSpec"]["workerGroupSpecs"]:
        assert group["minReplicas"] == group["replicas"] == group["maxReplicas"]


def test_a_bucket_is_mounted_where_its_team_may_write():
    thing = filled(ROOT / "docs/examples/job-on-buckets.yaml")
    [template] = templates(thing)
    assert template["metadata"]["annotations"]["gke-gcsfuse/volumes"] == "true"
    volumes = {volume["name"]: volume["csi"] for volume in template["spec"]["volumes"] if "csi" in volume}
    assert volumes["data"]["readOnly"] is True
    options = dict(
        part.partition("=")[::2] for part in volumes["checkpoints"]["volumeAttributes"]["mountOptions"].split(",")
    )
    bucket = volumes["checkpoints"]["volumeAttributes"]["bucketName"]
    team = thing["metadata"]["namespace"].removeprefix("team-")
    allowed = checkpoints(bucket, team, [thing["metadata"]["labels"]["kueue.x-k8s.io/queue-name"]])
    [place] = re.findall(r"resource\.name\.startsWith\('projects/_/buckets/[^/]+/objects/([^']+)'\)", allowed)
    assert options["only-dir"].startswith(place)
    # Files belong to whom the mount says, and not to whom the pod runs as.
    user = template["spec"]["securityContext"]
    assert (options["uid"], options["gid"]) == (str(user["runAsUser"]), str(user["runAsGroup"]))


def test_definitions_are_of_the_versions_that_the_charts_install():
    readme = (HERE / "crds" / "README.md").read_text()
    for folder, chart in (("jobset", "jobset"), ("kuberay", "kuberay-operator")):
        assert re.search(rf"\| `{folder}/` \|.*\| v{re.escape(CHARTS[chart].version)} ", readme)
