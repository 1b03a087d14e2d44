"""Takes services of the cloud away from those that call them too often, and gives them back.

EventBridge calls it when an alarm on the calls of a service changes, and four times an hour besides: at least once, in any order,
and late. So what an event says is not believed; each time it looks which alarms are on, and sees to it that it is so:

- the alarm at the ceiling is on: every role that holds a policy which lets it call has the policy that denies it;
- it is off, and so is that above what is expected: no role has it;
- else it stays as it is: between both nothing goes to and fro.

An alarm that does not know yet, or is not there, changes nothing. What fails is done with the next look; a service that fails
keeps none of the others waiting, and the call fails in the end.

A deployment calls it for each service (`aws.lambda_.Invocation`, CRUD): `{"stop": "acme-ai-dev-stop-vision"}`. With `tf.action`
`delete` the policy is about to go, and is detached from all; else there is nothing to do. Any other call is refused.

`SERVICES` says of each service what its alarms and policies are called, `POLICIES` what their ARNs begin with:
`{"vision": {"expected": …, "ceiling": …, "stop": "acme-ai-dev-stop-vision", "grants": ["acme-ai-dev-call-vision-risk"]}}`.
"""

import json
import os
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import boto3  # pyright: ignore[reportMissingTypeStubs] - its types are made at run time
from botocore.exceptions import ClientError  # pyright: ignore[reportMissingTypeStubs]

CHANGED, TIME = ("aws.cloudwatch", "CloudWatch Alarm State Change"), ("aws.events", "Scheduled Event")


class RefusedError(Exception):
    """The call is none that this function acts on; to repeat it would not help."""


class NotDoneError(Exception):
    """Some of it failed; the next look tries again."""


@cache
def _client(service: str) -> Any:
    return boto3.client(service)


def handler(event: Any, context: object) -> dict[str, list[str]]:  # noqa: ARG001 - the signature is Lambda's
    """Look how things are, and see to it that they are as they should be; answers with what changed, by service.

    Raises RefusedError, or NotDoneError where some of it failed.
    """
    services: dict[str, dict[str, Any]] = json.loads(os.environ["SERVICES"])
    match event:
        case {"stop": str(stop)}:
            told: Any = event.get("tf")
            leaving = isinstance(told, Mapping) and told.get("action") == "delete"  # pyright: ignore[reportUnknownMemberType]
            return {stop: _give_back(stop)} if leaving else {}
        case {"source": str(source), "detail-type": str(kind)} if (source, kind) in {CHANGED, TIME}:
            return _look(services)
        case _:
            raise RefusedError("neither an alarm that changed, nor time to look, nor a deployment")


def _look(services: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    states = _states(name for service in services.values() for name in (service["expected"], service["ceiling"]))
    changed: dict[str, list[str]] = {}
    failed: list[str] = []
    for name, service in services.items():
        expected, ceiling = states.get(service["expected"]), states.get(service["ceiling"])
        try:
            if ceiling == "ALARM":
                roles = _take_away(service["stop"], service["grants"])
            elif (expected, ceiling) == ("OK", "OK"):
                roles = _give_back(service["stop"])
            else:
                continue
        except ClientError as error:
            _say("ERROR", service=name, event="failed", error=str(error))
            failed.append(name)
            continue
        if roles:
            _say("WARNING", service=name, event="taken away" if ceiling == "ALARM" else "given back", roles=roles)
            changed[name] = roles
    if failed:
        raise NotDoneError(f"{', '.join(failed)}: the log says why")
    return changed


def _states(names: Iterable[str]) -> dict[str, str]:
    """Which alarms are on, by name."""
    found: dict[str, str] = {}
    # Twelve names at most: one page has 100.
    for alarm in _client("cloudwatch").describe_alarms(AlarmNames=sorted(names), MaxRecords=100)["MetricAlarms"]:
        found[alarm["AlarmName"]] = alarm["StateValue"]
    return found


def _take_away(stop: str, grants: Iterable[str]) -> list[str]:
    """Deny it to all roles that hold one of the grants; answers with those that had it until now."""
    holders = {role for grant in grants for role in _roles(grant)}
    new = sorted(holders - set(_roles(stop)))
    for role in new:
        try:
            _client("iam").attach_role_policy(RoleName=role, PolicyArn=_arn(stop))
        except _client("iam").exceptions.NoSuchEntityException:
            # The role went meanwhile: so did what it may call. Were it the policy, the deployment makes it.
            continue
    return new


def _give_back(stop: str) -> list[str]:
    """Deny it to nobody; answers with the roles that have it again."""
    denied = sorted(_roles(stop))
    for role in denied:
        try:
            _client("iam").detach_role_policy(RoleName=role, PolicyArn=_arn(stop))
        except _client("iam").exceptions.NoSuchEntityException:
            continue
    return denied


def _roles(policy: str) -> list[str]:
    """Roles that have a policy; none where there is no such policy, as before a deployment has made it."""
    pages = _client("iam").get_paginator("list_entities_for_policy")
    try:
        return [
            role["RoleName"]
            for page in pages.paginate(
                PolicyArn=_arn(policy), EntityFilter="Role", PolicyUsageFilter="PermissionsPolicy"
            )
            for role in page["PolicyRoles"]
        ]
    except _client("iam").exceptions.NoSuchEntityException:
        return []


def _arn(policy: str) -> str:
    return f"{os.environ['POLICIES']}/{policy}"


def _say(level: str, **what: Any) -> None:
    print(json.dumps({"level": level, **what}))  # noqa: T201 - the log
