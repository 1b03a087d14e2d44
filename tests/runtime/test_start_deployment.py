"""What starts releases of functions, against a CodeDeploy that is made up."""

import hashlib
import json
from typing import Any

import pytest

from runtime.aws import start_deployment


class Cloud:
    """CodeDeploy and Lambda: which releases there are, and where the alias leads."""

    def __init__(self) -> None:
        self.live = "6"
        self.releases: dict[str, dict[str, Any]] = {}
        self.made: list[dict[str, Any]] = []

    def client(self, _: str) -> "Cloud":
        return self

    def get_alias(self, **asked: str) -> dict[str, str]:
        assert asked == {"FunctionName": "acme-ai-dev-fraud", "Name": "live"}
        return {"FunctionVersion": self.live}

    def list_deployments(self, **asked: Any) -> dict[str, Any]:
        assert asked["applicationName"] == asked["deploymentGroupName"] == "acme-ai-dev-fraud"
        assert "Succeeded" not in asked["includeOnlyStatuses"]
        return {"deployments": list(self.releases)}

    def get_deployment(self, *, deploymentId: str) -> dict[str, Any]:  # noqa: N803
        return {"deploymentInfo": {"revision": self.releases[deploymentId]}}

    def create_deployment(self, **asked: Any) -> dict[str, str]:
        self.made.append(asked)
        self.releases["d-1"] = asked["revision"]
        return {"deploymentId": "d-1"}


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    made = Cloud()
    told = {
        "APPLICATION": "acme-ai-dev-fraud",
        "GROUP": "acme-ai-dev-fraud",
        "FUNCTION": "acme-ai-dev-fraud",
        "ALIAS": "live",
    }
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(start_deployment.boto3, "client", made.client)
    return made


def test_a_new_version_is_released(cloud: Cloud):
    assert start_deployment.handler({"version": "7"}, None) == {"deployment": "d-1", "version": "7"}
    [made] = cloud.made
    content = made["revision"]["appSpecContent"]
    assert made["revision"]["revisionType"] == "AppSpecContent"
    assert content["sha256"] == hashlib.sha256(content["content"].encode()).hexdigest()
    [resource] = json.loads(content["content"])["Resources"]
    assert resource["function"] == {
        "Type": "AWS::Lambda::Function",
        "Properties": {"Name": "acme-ai-dev-fraud", "Alias": "live", "CurrentVersion": "6", "TargetVersion": "7"},
    }


def test_the_first_version_needs_no_release(cloud: Cloud):
    cloud.live = "1"
    assert start_deployment.handler({"version": "1"}, None)["deployment"] == ""
    assert not cloud.made


def test_called_twice_it_starts_one(cloud: Cloud):
    first = start_deployment.handler({"version": "7"}, None)
    assert start_deployment.handler({"version": "7"}, None) == first
    assert len(cloud.made) == 1


def test_two_releases_are_never_on_their_way_at_once(cloud: Cloud):
    start_deployment.handler({"version": "7"}, None)
    with pytest.raises(RuntimeError, match="d-1 is on its way"):
        start_deployment.handler({"version": "8"}, None)
    assert len(cloud.made) == 1


def test_a_release_that_somebody_made_by_hand_counts_as_one(cloud: Cloud):
    cloud.releases["d-9"] = {"revisionType": "S3", "s3Location": {}}
    with pytest.raises(RuntimeError, match="d-9"):
        start_deployment.handler({"version": "7"}, None)
