"""A secret of a stack's file stays one to the end: through the real program, on each cloud, in every report."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from preview.record import record
from tests.conftest import ROOT

CIPHER = "AAABAJmFrZU5vdEFTZWNyZXQ"
SECTIONS = {
    "ai-platform:secrets": {"model-hub": {"value": {"secure": CIPHER}}},
    "ai-platform:operations": {"webhook": {"secure": CIPHER}},
}


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The program as it is, with stack files of its own."""
    for folder in ("components", "policies", "preview", "runtime"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    for file in ("__main__.py", "Pulumi.yaml"):
        shutil.copy(ROOT / file, tmp_path)
    shutil.copytree(ROOT / "stacks", tmp_path / "stacks")
    for stack in ("dev", "dev-gcp"):
        file = tmp_path / f"stacks/Pulumi.{stack}.yaml"
        content = yaml.safe_load(file.read_text())
        content["config"] |= SECTIONS
        content["encryptionsalt"] = "v1:xyz"
        file.write_text(yaml.safe_dump(content))
    return tmp_path


# Where each of the two arrives.
ARRIVES = {
    "dev": {
        ("aws:secretsmanager/secretVersion:SecretVersion", "secretString"),
        ("aws:sns/topicSubscription:TopicSubscription", "endpoint"),
    },
    "dev-gcp": {
        ("gcp:secretmanager/secretVersion:SecretVersion", "secretData"),
        ("gcp:monitoring/notificationChannel:NotificationChannel", "labels"),
    },
}


@pytest.mark.parametrize("stack", ARRIVES)
def test_a_secret_arrives_where_it_is_used_and_nowhere_else(program: Path, stack: str):
    graph = record(program, stack)
    found = {
        (resource.type, name)
        for resource in graph.resources.values()
        for name, value in resource.inputs.items()
        if "[secret]" in json.dumps(value)
    }
    assert found == ARRIVES[stack]
    assert "[secret]" not in json.dumps(graph.outputs)


@pytest.mark.parametrize("stack", ARRIVES)
def test_no_report_shows_what_stands_in_the_file(program: Path, stack: str):
    done = subprocess.run(
        [sys.executable, "-m", "preview", stack, "--format", "json", "--out", "out"],
        cwd=program, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert CIPHER not in done.stdout + done.stderr
    assert "[secret]" in done.stdout
    for form in ("json", "md", "txt"):
        report = (program / "out" / f"{stack}.{form}").read_text()
        assert CIPHER not in report
        assert ("[secret]" in report) == (form == "json")
