"""Makes and rotates generated secrets, in the four steps in which AWS Secrets Manager calls.

Each step may be called again at any time, after it was done or half-way; it then does what is left, and nothing twice. A
value is never logged or returned, and the old one stays valid (AWSCURRENT) until the last step.

`LENGTHS` maps the name of each secret to its number of characters: `{"acme-ai-dev-request-signing": 48}`. A secret that is not in
it is refused. The first rotation of a secret that has no value yet makes its first one.
"""

import json
import os
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import boto3  # pyright: ignore[reportMissingTypeStubs] - its types are made at run time

PENDING, CURRENT = "AWSPENDING", "AWSCURRENT"
# What shells, connection strings and YAML read as something else. Punctuation stays: it is what makes a value strong.
EXCLUDED = "\"'\\`$@/:;#&%{}[]()<>|,=~^*?! "


class RefusedError(Exception):
    """The call is none that this function may do; to repeat it would not help."""


class Call:
    """One step for one version of one secret."""

    def __init__(self, client: Any, lengths: Mapping[str, int], secret: str, token: str) -> None:
        """Look the secret up; raises RefusedError where this version of it is not ours to make."""
        self.client, self.secret, self.token = client, secret, token
        found = client.describe_secret(SecretId=secret)
        self.stages: dict[str, list[str]] = found.get("VersionIdsToStages", {})
        if found["Name"] not in lengths:
            raise RefusedError(f"{found['Name']} is none of the secrets that are generated here")
        if not found.get("RotationEnabled"):
            raise RefusedError(f"{found['Name']} is not set to rotate")
        self.length = lengths[found["Name"]]
        mine = self.stages.get(token)
        # A secret without any version is rotated for the first time: there is no version yet that could be pending.
        if mine is None and self.stages:
            raise RefusedError(f"{found['Name']} has no version {token}")
        if mine is not None and not {PENDING, CURRENT} & set(mine):
            raise RefusedError(f"version {token} of {found['Name']} is neither pending nor current")

    @property
    def done(self) -> bool:
        """Whether the version is already the current one."""
        return CURRENT in self.stages.get(self.token, [])

    def create(self) -> None:
        """Store a new random value as pending; keep the one that an earlier try stored."""
        if self._pending() is not None:
            return
        value = self.client.get_random_password(
            PasswordLength=self.length, ExcludeCharacters=EXCLUDED, RequireEachIncludedType=True
        )["RandomPassword"]
        self.client.put_secret_value(
            SecretId=self.secret, ClientRequestToken=self.token, SecretString=value, VersionStages=[PENDING]
        )

    def set(self) -> None:
        """Nothing to do: whoever uses the value reads it from here."""

    def test(self) -> None:
        """Check the pending value before it becomes the current one."""
        value = self._pending()
        if value is None or len(value) != self.length:
            raise RefusedError(f"the pending value of {self.secret} is not {self.length} characters long")

    def finish(self) -> None:
        """Make the pending version the current one; the one before stays readable as AWSPREVIOUS."""
        if self._pending() is None:
            raise RefusedError(f"{self.secret} has no pending value to make current")
        before = next((version for version, stages in self.stages.items() if CURRENT in stages), None)
        move = {"SecretId": self.secret, "VersionStage": CURRENT, "MoveToVersionId": self.token}
        if before is not None:
            move["RemoveFromVersionId"] = before
        self.client.update_secret_version_stage(**move)

    def _pending(self) -> str | None:
        """The value of this version, where it has one: at the start of a rotation there is a version without."""
        try:
            return self.client.get_secret_value(SecretId=self.secret, VersionId=self.token, VersionStage=PENDING)[
                "SecretString"
            ]
        except self.client.exceptions.ResourceNotFoundException:
            return None


STEPS: dict[str, Callable[[Call], None]] = {
    "createSecret": Call.create,
    "setSecret": Call.set,
    "testSecret": Call.test,
    "finishSecret": Call.finish,
}


@cache
def _client() -> Any:
    return boto3.client("secretsmanager")


def handler(event: Mapping[str, Any], context: object) -> None:  # noqa: ARG001 - the signature is Lambda's
    """Do one step; see the module. Raises RefusedError, or whatever Secrets Manager answers."""
    try:
        secret, token, step = str(event["SecretId"]), str(event["ClientRequestToken"]), STEPS[event["Step"]]
    except (KeyError, TypeError) as error:
        raise RefusedError(f"not a call of Secrets Manager: {error}") from None
    call = Call(_client(), json.loads(os.environ["LENGTHS"]), secret, token)
    print(json.dumps({"step": event["Step"], "secret": secret, "version": token, "done": call.done}))  # noqa: T201 - the log
    if not call.done:
        step(call)
