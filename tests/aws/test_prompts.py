"""The log of prompts: who writes it, who reads it, and who cannot."""

from functools import cache
from typing import Any

import pulumi
import pytest

from components import contracts
from components.aws.retrieval.prompts import Prompts, PromptsArgs, statements
from components.core.naming import Names
from policies.model import Graph
from preview.record import run
from tests.aws.building import by_sid, kind, one, waits_for
from tests.aws.serving import AT, CRITICAL, key, only, scope, text, zone

READER = f"arn:aws:iam::{AT}:role/acme-ai-dev-auditor"


def build(*, preview: bool = False) -> Graph:
    def program() -> None:
        here = scope("dev")
        roles = {
            persona: text(f"arn:aws:iam::{AT}:role/acme-ai-dev-{persona}") for persona in ("auditor", "ml-engineer")
        }
        args = PromptsArgs(
            bucket=zone("logs", "logs").bucket, key=key("logs"), personas=contracts.Personas(roles=roles),
            readers=["auditor", "nobody-signed-in"], critical=[text(CRITICAL)],
        )  # fmt: skip
        made = Prompts("prompts", args, scope=here, parent=here.provider).outputs
        pulumi.export("place", made.place)

    return run(program, preview=preview)


@cache
def graph() -> Graph:
    return build()


def test_every_prompt_and_answer_goes_to_the_zone():
    setting = only(graph(), "InvocationLoggingConfiguration").get("loggingConfig")
    assert setting["s3Config"] == {"bucketName": "acme-ai-dev-logs", "keyPrefix": "prompts"}
    assert setting["textDataDeliveryEnabled"] is setting["imageDataDeliveryEnabled"] is True
    assert setting["embeddingDataDeliveryEnabled"] is False
    assert "cloudwatchConfig" not in setting, "what reads logs in CloudWatch would read prompts"
    assert graph().outputs["place"] == "s3://acme-ai-dev-logs/prompts"


def test_only_described_readers_that_sign_in_are_let_in():
    [policy] = kind(graph(), "RolePolicy")
    assert policy.get("role") == "acme-ai-dev-auditor"
    found = by_sid(policy)
    assert found["ReadPrompts"]["Resource"] == ["arn:aws:s3:::acme-ai-dev-logs/prompts/*"]
    assert found["FindThem"]["Condition"] == {"StringLike": {"s3:prefix": ["prompts/*"]}}
    assert found["Decrypt"]["Condition"] == {"StringEquals": {"kms:ViaService": ["s3.us-west-2.amazonaws.com"]}}


def test_somebody_hears_of_what_was_not_logged_before_anything_is():
    alarm = only(graph(), "MetricAlarm")
    assert alarm.get("alarmActions") == [CRITICAL]
    assert {q["metric"]["metricName"] for q in alarm.get("metricQueries") if "metric" in q} == {
        "ModelInvocationLogsS3DeliveryFailure", "ModelInvocationLargeDataS3DeliveryFailure",
    }  # fmt: skip
    # Nothing is exported before readers are let in.
    assert not waits_for(graph(), one(graph(), "RolePolicy", "prompts-auditor"), alarm)


def said(readers: list[str]) -> dict[str, dict[str, Any]]:
    return {s["Sid"]: s for s in statements("acme-ai-dev-logs", AT, "us-west-2", Names("acme-ai", "dev"), readers)}


def test_the_bucket_lets_bedrock_of_this_account_write_and_nobody_change():
    found = said(["auditor"])
    write = found["PromptsByBedrock"]
    assert write["Principal"] == {"Service": "bedrock.amazonaws.com"}
    assert write["Action"] == ["s3:PutObject"]
    assert write["Resource"] == [f"arn:aws:s3:::acme-ai-dev-logs/prompts/AWSLogs/{AT}/BedrockModelInvocationLogs/*"]
    assert write["Condition"]["StringEquals"] == {"aws:SourceAccount": AT}
    assert write["Condition"]["ArnLike"] == {"aws:SourceArn": f"arn:aws:bedrock:us-west-2:{AT}:*"}
    unchanged = found["PromptsUnchanged"]
    assert (unchanged["Effect"], unchanged["Principal"]) == ("Deny", "*")
    assert {"s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion"} == set(unchanged["Action"])
    # Bedrock is a service, and this denies none.
    assert unchanged["Condition"] == {"BoolIfExists": {"aws:PrincipalIsAWSService": "false"}}


@pytest.mark.parametrize("readers", [["auditor"], []])
def test_whoever_may_read_the_zone_may_still_not_read_prompts(readers: list[str]):
    denied = said(readers)["PromptsForReaders"]
    assert (denied["Effect"], denied["Principal"]) == ("Deny", "*")
    assert denied["Resource"] == ["arn:aws:s3:::acme-ai-dev-logs/prompts/*"]
    assert set(denied["Action"]) == {"s3:GetObject", "s3:GetObjectVersion"}
    assert denied["Condition"].get("ArnNotLike") == ({"aws:PrincipalArn": [READER]} if readers else None)
    # S3 copies with actions of their own; a wildcard would stop it.
    assert not any("*" in action for action in denied["Action"])


def test_a_first_preview_knows_no_outputs():
    assert only(build(preview=True), "InvocationLoggingConfiguration")
