"""Starts the release of a version of a function: called within a deployment of the platform, once for each version.

The event is `{"version": "7"}`. Nothing happens where the alias leads there already, or a release of just this version is on its
way: called twice, it starts one. While another release is on its way, or another alias is meant, it fails, and with it the
deployment that asked: two releases at once would each take the other back.

`APPLICATION` and `GROUP` name the deployment group of CodeDeploy, `FUNCTION` and `ALIAS` what it moves.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

import boto3  # pyright: ignore[reportMissingTypeStubs] - its types are made at run time

ON_ITS_WAY = ["Created", "Queued", "InProgress", "Baking", "Ready"]


def specification(function: str, alias: str, current: str, target: str) -> str:
    """What CodeDeploy is to do ("AppSpec 'resources' section", AWS Lambda); the same text for the same versions."""
    moved = {"Name": function, "Alias": alias, "CurrentVersion": current, "TargetVersion": target}
    return json.dumps(
        {"version": 0.0, "Resources": [{"function": {"Type": "AWS::Lambda::Function", "Properties": moved}}]}
    )


def handler(event: Mapping[str, Any], context: object) -> dict[str, str]:  # noqa: ARG001
    """Start it, or say why there is nothing to start."""
    version = str(event["version"])
    application, group = os.environ["APPLICATION"], os.environ["GROUP"]
    function, alias = os.environ["FUNCTION"], os.environ["ALIAS"]
    releases: Any = boto3.client("codedeploy")
    functions: Any = boto3.client("lambda")
    known = {"applicationName": application, "deploymentGroupName": group}
    under_way: list[str] = releases.list_deployments(**known, includeOnlyStatuses=ON_ITS_WAY)["deployments"]
    for release in under_way:
        told = releases.get_deployment(deploymentId=release)["deploymentInfo"]["revision"]
        content = told.get("appSpecContent") or told.get("string") or {}
        moved = json.loads(content.get("content") or "{}").get("Resources", [{}])[0].get("function", {})
        if moved.get("Properties", {}).get("TargetVersion") == version:
            return {"deployment": release, "version": version}
        raise RuntimeError(f"the release {release} is on its way: run the deployment again when it has ended")
    current = str(functions.get_alias(FunctionName=function, Name=alias)["FunctionVersion"])
    if current == version:
        return {"deployment": "", "version": version}
    content = specification(function, alias, current, version)
    made = releases.create_deployment(
        **known,
        description=f"Version {version}, after {current}.",
        revision={
            "revisionType": "AppSpecContent",
            "appSpecContent": {"content": content, "sha256": hashlib.sha256(content.encode()).hexdigest()},
        },
    )
    print(json.dumps({"event": "release", "version": version, "deployment": made["deploymentId"]}))  # noqa: T201
    return {"deployment": made["deploymentId"], "version": version}
