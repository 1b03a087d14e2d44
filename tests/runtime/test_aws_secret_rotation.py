"""The rotation function against an emulator of Secrets Manager: repeated, interrupted and poisoned calls."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from runtime.aws import secret_rotation
from runtime.aws.secret_rotation import RefusedError, handler

NAME = "acme-ai-dev-request-signing"
FIRST, SECOND, THIRD = (f"{n}{n}{n}{n}{n}{n}{n}{n}-0000-4000-8000-000000000000" for n in "123")
STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for key, value in {
        "AWS_DEFAULT_REGION": "us-west-2",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "LENGTHS": json.dumps({NAME: 48}),
    }.items():
        monkeypatch.setenv(key, value)
    secret_rotation._client.cache_clear()
    with mock_aws(config={"lambda": {"use_docker": False}}):
        client = boto3.client("secretsmanager")
        client.create_secret(Name=NAME)
        yield client
    secret_rotation._client.cache_clear()


def begin(client: Any, token: str, name: str = NAME) -> None:
    """What RotateSecret does before the first step: a version that is pending and empty, where there is a value already."""
    rules = {"AutomaticallyAfterDays": 30}
    before = client.describe_secret(SecretId=name).get("VersionIdsToStages", {})
    if not before:  # the emulator has no first rotation with a function
        client.rotate_secret(SecretId=name, ClientRequestToken=token, RotationRules=rules)
        return
    for version, stages in before.items():
        # Secrets Manager takes a version that is pending and current for a rotation that is over (API reference,
        # RotateSecret); the emulator takes it for one in progress.
        if {"AWSPENDING", "AWSCURRENT"} <= set(stages):
            client.update_secret_version_stage(SecretId=name, VersionStage="AWSPENDING", RemoveFromVersionId=version)
    client.rotate_secret(
        SecretId=name, ClientRequestToken=token, RotationRules=rules, RotationLambdaARN=_silent_function()
    )


def _silent_function() -> str:
    """A function that the emulator calls and that does nothing, so that the tests make the steps themselves."""
    functions, roles = boto3.client("lambda"), boto3.client("iam")
    if found := functions.list_functions()["Functions"]:
        return found[0]["FunctionArn"]
    role = roles.create_role(RoleName="rotation", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    made = functions.create_function(
        FunctionName="rotation",
        Role=role,
        Runtime="python3.13",
        Handler="a.b",
        Code={"ZipFile": b"PK\x05\x06" + bytes(18)},
    )
    return made["FunctionArn"]


def step(name: str, token: str, secret: str = NAME) -> None:
    handler({"SecretId": secret, "ClientRequestToken": token, "Step": name}, None)


def rotate(client: Any, token: str) -> str:
    begin(client, token)
    for name in STEPS:
        step(name, token)
    return value(client)


def value(client: Any, stage: str = "AWSCURRENT") -> str:
    return client.get_secret_value(SecretId=NAME, VersionStage=stage)["SecretString"]


def versions(client: Any) -> dict[str, list[str]]:
    return client.describe_secret(SecretId=NAME)["VersionIdsToStages"]


def test_the_first_rotation_makes_the_first_value(secrets: Any) -> None:
    assert len(rotate(secrets, FIRST)) == 48
    assert "AWSCURRENT" in versions(secrets)[FIRST]


def test_a_rotation_replaces_the_value_and_keeps_the_one_before(secrets: Any) -> None:
    first = rotate(secrets, FIRST)
    second = rotate(secrets, SECOND)
    assert second != first
    assert value(secrets, "AWSPREVIOUS") == first
    third = rotate(secrets, THIRD)
    assert third not in {first, second}
    assert value(secrets, "AWSPREVIOUS") == second


def test_the_old_value_stays_valid_until_the_last_step(secrets: Any) -> None:
    first = rotate(secrets, FIRST)
    begin(secrets, SECOND)
    for name in STEPS[:-1]:
        step(name, SECOND)
        assert value(secrets) == first
    step(STEPS[-1], SECOND)
    assert value(secrets) != first


@pytest.mark.parametrize("again", STEPS)
def test_each_step_may_come_twice(secrets: Any, again: str) -> None:
    first = rotate(secrets, FIRST)
    begin(secrets, SECOND)
    pending = ""
    for name in STEPS:
        step(name, SECOND)
        if name == "createSecret":
            pending = value(secrets, "AWSPENDING")
        if name == again:
            step(name, SECOND)
    assert value(secrets) == pending
    assert value(secrets, "AWSPREVIOUS") == first
    assert set(versions(secrets)) == {FIRST, SECOND}


def test_all_steps_may_come_again_after_the_last(secrets: Any) -> None:
    rotate(secrets, FIRST)
    after = rotate(secrets, SECOND)
    for name in STEPS:
        step(name, SECOND)
    assert value(secrets) == after
    assert sorted(versions(secrets)) == [FIRST, SECOND]


def test_an_interrupted_first_rotation_goes_on_with_the_value_that_it_stored(secrets: Any) -> None:
    begin(secrets, FIRST)
    step("createSecret", FIRST)
    stored = value(secrets, "AWSPENDING")
    for name in STEPS:
        step(name, FIRST)
    assert value(secrets) == stored


def test_the_first_value_is_made_current_where_storing_it_did_not_do_so(
    secrets: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(secrets, FIRST)
    step("createSecret", FIRST)
    secrets.update_secret_version_stage(SecretId=NAME, VersionStage="AWSCURRENT", RemoveFromVersionId=FIRST)
    moves: list[dict[str, str]] = []
    # The emulator knows no secret without a current version, so what it would be asked is looked at instead.
    monkeypatch.setattr(secret_rotation._client(), "update_secret_version_stage", lambda **call: moves.append(call))
    for name in STEPS[1:]:
        step(name, FIRST)
    assert moves == [{"SecretId": NAME, "VersionStage": "AWSCURRENT", "MoveToVersionId": FIRST}]


def test_a_failed_store_leaves_the_old_value_and_the_next_try_mends_it(
    secrets: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = rotate(secrets, FIRST)
    begin(secrets, SECOND)

    def fail(**_: Any) -> None:
        raise ConnectionError

    with monkeypatch.context() as broken:
        broken.setattr(secret_rotation._client(), "put_secret_value", fail)
        with pytest.raises(ConnectionError):
            step("createSecret", SECOND)
    assert value(secrets) == first
    for name in STEPS:
        step(name, SECOND)
    assert value(secrets) != first


def test_nothing_is_made_current_before_it_was_made(secrets: Any) -> None:
    first = rotate(secrets, FIRST)
    begin(secrets, SECOND)
    for name in ("testSecret", "finishSecret"):
        with pytest.raises(RefusedError, match="pending value"):
            step(name, SECOND)
    assert value(secrets) == first


def test_a_value_of_the_wrong_length_is_not_made_current(secrets: Any) -> None:
    first = rotate(secrets, FIRST)
    begin(secrets, SECOND)
    secrets.put_secret_value(SecretId=NAME, ClientRequestToken=SECOND, SecretString="x", VersionStages=["AWSPENDING"])
    with pytest.raises(RefusedError, match="48 characters"):
        step("testSecret", SECOND)
    assert value(secrets) == first


def test_a_version_that_nobody_asked_for_is_refused(secrets: Any) -> None:
    rotate(secrets, FIRST)
    with pytest.raises(RefusedError, match="has no version"):
        step("createSecret", SECOND)
    assert set(versions(secrets)) == {FIRST}


def test_a_version_of_long_ago_is_refused(secrets: Any) -> None:
    rotate(secrets, FIRST)
    rotate(secrets, SECOND)
    with pytest.raises(RefusedError, match="neither pending nor current"):
        step("finishSecret", FIRST)
    assert "AWSCURRENT" in versions(secrets)[SECOND]


def test_a_secret_that_is_not_ours_is_refused(secrets: Any) -> None:
    secrets.create_secret(Name="acme-ai-dev-model-hub", SecretString="issued by somebody else")
    begin(secrets, SECOND, "acme-ai-dev-model-hub")
    with pytest.raises(RefusedError, match="none of the secrets"):
        step("createSecret", SECOND, "acme-ai-dev-model-hub")


def test_a_secret_that_does_not_rotate_is_refused(secrets: Any) -> None:
    with pytest.raises(RefusedError, match="not set to rotate"):
        step("createSecret", FIRST)
    assert not secrets.describe_secret(SecretId=NAME).get("VersionIdsToStages")


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"SecretId": NAME, "ClientRequestToken": FIRST},
        {"SecretId": NAME, "ClientRequestToken": FIRST, "Step": "deleteSecret"},
        {"SecretId": NAME, "Step": "createSecret"},
        {"SecretId": NAME, "ClientRequestToken": FIRST, "Step": ["createSecret"]},
    ],
)
def test_a_call_that_is_none_of_secrets_manager_is_refused(secrets: Any, event: dict[str, Any]) -> None:
    begin(secrets, FIRST)
    with pytest.raises(RefusedError, match="not a call"):
        handler(event, None)
    assert not secrets.describe_secret(SecretId=NAME).get("VersionIdsToStages")


def test_no_value_is_in_the_log(secrets: Any, capsys: pytest.CaptureFixture[str]) -> None:
    made = rotate(secrets, FIRST)
    said = capsys.readouterr().out
    assert [json.loads(line)["step"] for line in said.splitlines()] == list(STEPS)
    assert made not in said


def test_values_survive_shells_and_connection_strings(secrets: Any) -> None:
    for token in (FIRST, SECOND, THIRD):
        made = rotate(secrets, token)
        assert not set(made) & set(secret_rotation.EXCLUDED)
        assert any(c.isdigit() for c in made)
        assert any(c.isupper() for c in made)
