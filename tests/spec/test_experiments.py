"""The description of notebooks, tracking and pipelines: what is refused, with which words, and what is made of the rest."""

import doctest
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from components.core.accelerators import MACHINES
from components.core.cron import eventbridge
from components.spec.experiments import Pipeline, Step, Workbench, fitting, offers, run
from components.spec.load import load
from components.spec.problems import SpecError

STEP: dict[str, Any] = {"image": "111111111111.dkr.ecr.us-west-2.amazonaws.com/acme-ai-dev-training:1.0"}
PIPELINE: dict[str, Any] = {
    "team": "risk",
    "model": "fraud",
    "schedule": "0 3 * * 1",
    "inputs": {"transactions": {"zone": "curated", "prefix": "transactions/"}},
    "prepare": STEP,
    "train": {**STEP, "accelerator": "nvidia-l4", "spot": True},
    "evaluate": STEP,
    "serving_image": "111111111111.dkr.ecr.us-west-2.amazonaws.com/acme-ai-dev-serving:1.0",
    "gate": {"metric": "auc", "at_least": 0.9},
}
WORKBENCH: dict[str, Any] = {
    "users": {"ana": {"persona": "data-scientist", "team": "vision", "email": "ana@example.com"}}
}


@pytest.fixture(autouse=True)
def plain(project: Path) -> None:
    """The platform of these tests has no notebook and no pipeline of its own."""
    file = project / "stacks" / "platform.yaml"
    content = yaml.safe_load(file.read_text())
    for key in ("workbench", "tracking", "pipelines"):
        del content["training"][key]
    file.write_text(yaml.safe_dump(content))


def describe(project: Path, stack: str = "dev", network: Mapping[str, Any] | None = None, **training: Any) -> None:
    """Write these keys of the section `training` into a stack's file, which has a model `fraud`."""
    file = project / "stacks" / f"Pulumi.{stack}.yaml"
    content = yaml.safe_load(file.read_text())
    config = content["config"]
    before = config.get("ai-platform:training", {})
    config["ai-platform:training"] = {**before, "pipelines": {}, "workbench": None, "tracking": None, **training}
    copies = {
        host: f"mirror.example.com/{host}" for host in ("ghcr.io", "nvcr.io")
    }  # what a closed network needs besides
    registry = {"models": {"fraud": {"team": "risk"}}, "copies": copies}
    config["ai-platform:registry"] = {**config.get("ai-platform:registry", {}), **registry}
    config["ai-platform:network"] = {**config["ai-platform:network"], **(network or {})}
    file.write_text(yaml.safe_dump(content))


def changed(base: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy in which one value differs; None takes it away."""
    first, _, rest = path.partition(".")
    inner = changed(base.get(first) or {}, rest, value) if rest else value
    return {k: v for k, v in {**base, first: inner}.items() if v is not None}


def problems(project: Path, stack: str = "dev") -> dict[str, tuple[str, str]]:
    with pytest.raises(SpecError) as caught:
        load(project, stack)
    return {p.key: (p.wrong, p.right) for p in caught.value.problems}


def test_a_good_description_loads(project: Path):
    describe(project, pipelines={"fraud": PIPELINE}, workbench=WORKBENCH, tracking={})
    training = load(project, "dev").training
    assert training.workbench
    assert training.tracking
    assert training.pipelines["fraud"].time_zone == "UTC"


def test_nothing_is_there_unasked(project: Path):
    training = load(project, "dev").training
    assert Workbench().users == {}
    describe(project)
    training = load(project, "dev").training
    assert (training.workbench, training.tracking, training.pipelines) == (None, None, {})


@pytest.mark.parametrize(
    ("path", "value", "key", "wrong", "right"),
    [
        ("team", "rsk", "team", "there is no team rsk", "risk?"),
        ("model", "frod", "model", "there is no model frod", "fraud?"),
        ("zone", "artefacts", "zone", "there is no zone artefacts", "artifacts?"),
        ("on", "gcp", "on", "the environment is not on gcp", "one of: aws"),
        ("inputs.transactions.zone", "cured", "inputs.transactions.zone", "there is no zone cured", "curated?"),
        ("gate.at_most", 0.1, "gate", "it has no bound, or two", "at_least where more is better"),
        ("gate", {"metric": "auc"}, "gate", "it has no bound, or two", "at_least where more is better"),
        ("time_zone", "Europe/Berln", "time_zone", "there is no time zone Europe/Berln", "such as UTC"),
        ("schedule", "0 3 1 * 1", "schedule", "EventBridge takes a day of the month or a day", "a * in one"),
        ("prepare.image", "repo/train:latest", "prepare.image", "repo/train:latest is another image", "a tag that"),
        ("serving_image", "host:5000/serve", "serving_image", "host:5000/serve is another image", "a tag that"),
        (
            "train.accelerator",
            "nvidia-l5",
            "train.accelerator",
            "SageMaker has no machine with 1 nvidia-l5",
            "nvidia-l4?",
        ),
        # SageMaker trains on these and does not process on them.
        (
            "prepare.machine",
            "p4d.24xlarge",
            "prepare.machine",
            "SageMaker has no p4d.24xlarge for this",
            "g4dn.4xlarge?",
        ),
        ("prepare.machine", "m7i.xlrge", "prepare.machine", "SageMaker has no m7i.xlrge", "m7i.xlarge?"),
        ("train.machine", "m7i.xlarge", "train.accelerator", "m7i.xlarge does not carry 1 nvidia-l4", "one of the two"),
    ],
)
def test_what_is_wrong_with_a_pipeline(project: Path, path: str, value: Any, key: str, wrong: str, right: str):
    describe(project, pipelines={"fraud": changed(PIPELINE, path, value)})
    found = problems(project)
    assert set(found) == {f"training.pipelines.fraud.{key}"}
    assert found[f"training.pipelines.fraud.{key}"][0].startswith(wrong)
    assert found[f"training.pipelines.fraud.{key}"][1].startswith(right)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        # More often than once an hour.
        ("schedule", "*/5 * * * *"),
        ("schedule", "* * * * *"),
        ("schedule", "0 3 * *"),
        ("inputs.transactions.prefix", "transactions"),
        ("inputs", {}),
        ("train.machines", 65),
        ("train.max_hours", 121),
        ("prepare.environment", {"lower": "case"}),
        ("gate.metric", "metrics.auc"),
        ("serving_image", "Has Spaces:1"),
        ("prepare.gpu", 1),
    ],
)
def test_what_has_no_shape(project: Path, path: str, value: Any):
    describe(project, pipelines={"fraud": changed(PIPELINE, path, value)})
    # What is closed to a key says so at the section that holds it.
    assert any(key.startswith(f"training.pipelines.fraud.{path}") for key in problems(project))


@pytest.mark.parametrize(
    ("path", "value", "key", "wrong"),
    [
        ("users.ana.team", "vison", "users.ana.team", "there is no team vison"),
        ("users.ana.machine", "e2-standard-16", "users.ana.machine", "e2-standard-16 is not allowed"),
        ("machines.aws", ["t3.huge"], "machines.aws[0]", "t3.huge is no machine of a notebook on aws"),
        ("machines.aws", ["p5e.48xlarge"], "machines.aws[0]", "p5e.48xlarge is no machine of a notebook on aws"),
        ("disk_gib", 300, "max_disk_gib", "200 is under disk_gib 300"),
    ],
)
def test_what_is_wrong_with_a_workbench(project: Path, path: str, value: Any, key: str, wrong: str):
    describe(project, workbench=changed(WORKBENCH, path, value))
    found = problems(project)
    assert {k.replace(".0", "[0]"): v[0] for k, v in found.items()} == {f"training.workbench.{key}": wrong}


@pytest.mark.parametrize("hours", [0, 25])
def test_no_notebook_stays_on_for_ever(project: Path, hours: int):
    describe(project, workbench=changed(WORKBENCH, "idle_hours", hours))
    assert "training.workbench.idle_hours" in problems(project)


def test_a_closed_network_lets_studio_reach_sagemaker(project: Path):
    closed = {"nat": "none", "egress": "deny", "private_services": ["secretsmanager", "sagemaker.api"]}
    describe(project, workbench=WORKBENCH, network=closed)
    assert problems(project)["network.private_services"] == (
        "notebooks find no way to sagemaker.runtime",
        "sagemaker.runtime in the list, or a way out of the network",
    )
    describe(project, network=closed)
    assert load(project, "dev")


def test_artifacts_of_runs_need_a_zone(project: Path):
    describe(project, tracking={"zone": "artefacts"})
    assert problems(project)["training.tracking.zone"][0] == "there is no zone artefacts"


# Machines and schedules


@pytest.mark.parametrize(
    ("cloud", "region", "use", "step", "expected"),
    [
        ("aws", "us-west-2", "training", {}, "m7i.xlarge"),
        ("gcp", "us-central1", "training", {}, "n2-standard-4"),
        ("aws", "us-west-2", "training", {"accelerator": "nvidia-h100", "per_machine": 8}, "p5.48xlarge"),
        # Eight of them train, and process nothing.
        ("aws", "us-west-2", "processing", {"accelerator": "nvidia-h100", "per_machine": 8}, None),
        ("gcp", "us-central1", "training", {"accelerator": "google-tpu-v5e"}, None),
        ("gcp", "us-central1", "training", {"machine": "n1-standard-8", "accelerator": "nvidia-t4"}, "n1-standard-8"),
    ],
)
def test_the_machine_of_a_step(cloud: Any, region: str, use: Any, step: dict[str, Any], expected: str | None):
    found = fitting(Step(image="a:1", **step), cloud, region, use)
    assert (found.type if found else None) == expected


@given(st.sampled_from([m for m in MACHINES if m.accelerator]), st.integers(1, 64), st.booleans())
def test_whatever_is_accepted_can_be_built(found: Any, machines: int, spot: bool):
    region = next(iter(found.zones), "us-west-2" if found.cloud == "aws" else "us-central1")
    train = {**STEP, "accelerator": found.accelerator, "per_machine": found.count, "machines": machines, "spot": spot}
    told = Pipeline.model_validate({**PIPELINE, "train": train})
    fits = fitting(told.train, found.cloud, region, "training")
    if fits is None:
        with pytest.raises(ValueError, match="no machine"):
            run("fraud", told, found.cloud, region)
        return
    made = run("fraud", told, found.cloud, region)
    assert (made.train.machine.accelerator, made.train.machine.count) == (found.accelerator, found.count)
    assert made.train.machines == machines
    assert offers(made.train.machine, "training")


DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]


@given(st.integers(0, 59), st.integers(0, 23), st.integers(0, 7))
def test_the_day_of_the_week_is_the_same_on_both_clouds(minute: int, hour: int, day: int):
    """In cron Sunday is 0, and 7; at EventBridge it is 1."""
    assert eventbridge(f"{minute} {hour} * * {day}") == f"cron({minute} {hour} ? * {DAYS[day % 7]} *)"


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("0 */6 * * *", "cron(0 0/6 * * ? *)"),
        ("0 3 1,15 * *", "cron(0 3 1,15 * ? *)"),
        ("0 3 1 1-6 *", "cron(0 3 1 1-6 ? *)"),
        ("0 3 * * MON-FRI", "cron(0 3 ? * MON-FRI *)"),
        ("0 3 * * 0,3", "cron(0 3 ? * SUN,WED *)"),
    ],
)
def test_schedules(schedule: str, expected: str):
    Pipeline.model_validate({**PIPELINE, "schedule": schedule})
    assert eventbridge(schedule) == expected


@pytest.mark.parametrize("module", ["core.cron", "core.sagemaker", "core.vertex", "spec.experiments"])
def test_examples(module: str):
    result = doctest.testmod(import_module(f"components.{module}"))
    assert result.attempted >= 1
    assert result.failed == 0


def test_a_tracking_server_of_our_own_is_managed_where_nothing_is_said(project: Path):
    describe(project, tracking={})
    found = load(project, "dev").training.tracking
    assert found
    assert found.server == "managed"
    describe(project, tracking={"server": "kubernetes", "database": {"size": "large"}})
    found = load(project, "dev").training.tracking
    assert found
    assert (found.server, found.database.size, found.image.partition("/")[0]) == ("kubernetes", "large", "ghcr.io")


@pytest.mark.parametrize(
    ("tracking", "key", "wrong", "right"),
    [
        (
            {"register_models": True},
            "register_models",
            "MLflow in the cluster enters nothing there",
            "false, or server: managed",
        ),
        ({"database": {"disk_gib": 400}}, "database.max_disk_gib", "200 is under disk_gib 400", "400 or more"),
        ({"image": "trainning:1.0"}, "image", "there is no repository trainning", "training?"),
        (
            {"image": "ghcr.io/mlflow/mlflow:latest"},
            "image",
            "ghcr.io/mlflow/mlflow:latest is another image every day",
            "a tag that never moves, or a digest (@sha256:…)",
        ),
    ],
)
def test_a_tracking_server_of_our_own_is_held_against_the_rest(
    project: Path, tracking: dict[str, Any], key: str, wrong: str, right: str
):
    describe(project, tracking={"server": "kubernetes", **tracking})
    found = problems(project)
    assert list(found) == [f"training.tracking.{key}"]
    assert found[f"training.tracking.{key}"][0] == wrong
    assert right in found[f"training.tracking.{key}"][1]


def test_a_tracking_server_of_our_own_wants_a_cluster(project: Path):
    file = project / "stacks" / "platform.yaml"
    content = yaml.safe_load(file.read_text())
    for part in ("pools", "queues"):
        content["training"].pop(part, None)
    file.write_text(yaml.safe_dump(content))
    describe(project, tracking={"server": "kubernetes"}, pools={}, queues={})
    assert problems(project) == {
        "training.tracking.server": (
            "there is no cluster on aws",
            "managed, or a pool on it with scheduler: kubernetes",
        )
    }


def test_a_closed_network_of_aws_has_no_way_to_the_usual_image(project: Path):
    """ECR reads GitHub's registry with a credential only; Artifact Registry without."""
    describe(project, stack="prod", tracking={"server": "kubernetes"})
    assert problems(project, "prod")["training.tracking.image"] == (
        "the network of aws is closed, and ghcr.io is read through no registry of ours",
        "a copy in a repository of registry.images, as REPOSITORY:TAG",
    )
    describe(project, stack="prod", tracking={"server": "kubernetes", "image": "training:3.15.1"})
    assert load(project, "prod").training.tracking
    describe(project, stack="prod-gcp", tracking={"server": "kubernetes"})
    assert load(project, "prod-gcp").training.tracking
