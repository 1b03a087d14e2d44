"""The log of prompts: who writes it, who reads it, and who cannot."""

import json
import shutil
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

import pulumi
import pytest

from components import contracts
from components.aws.retrieval.prompts import Prompts, PromptsArgs, folder, statements
from components.core.naming import Names
from policies.model import Graph, Resource
from preview.record import run
from tests.aws.building import build as environment
from tests.aws.building import by_sid, kind, one, waits_for
from tests.aws.building import statements as said_by
from tests.aws.serving import AT, CRITICAL, key, only, scope, text, zone
from tests.aws.test_serving_pod import WHOLE
from tests.conftest import ROOT

READER = f"arn:aws:iam::{AT}:role/acme-ai-dev-auditor"


def build(*, preview: bool = False, asked: bool = True) -> Graph:
    def program() -> None:
        here = scope("dev")
        roles = {
            persona: text(f"arn:aws:iam::{AT}:role/acme-ai-dev-{persona}") for persona in ("auditor", "ml-engineer")
        }
        args = PromptsArgs(
            bucket=zone("logs", "logs").bucket, key=key("logs"), personas=contracts.Personas(roles=roles),
            readers=["auditor", "nobody-signed-in"], critical=[text(CRITICAL)],
            asked=asked,
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


def said(readers: list[str], **more: Any) -> dict[str, dict[str, Any]]:
    names = Names("acme-ai", "dev")
    return {s["Sid"]: s for s in statements("acme-ai-dev-logs", AT, "us-west-2", names, readers, **more)}


def test_the_bucket_lets_bedrock_of_this_account_write_and_nobody_change():
    found = said(["auditor"])
    write = found["PromptsByBedrock"]
    assert write["Principal"] == {"Service": "bedrock.amazonaws.com"}
    assert write["Action"] == ["s3:PutObject"]
    assert write["Resource"] == [f"arn:aws:s3:::acme-ai-dev-logs/prompts/AWSLogs/{AT}/BedrockModelInvocationLogs/*"]
    assert write["Condition"]["StringEquals"] == {"aws:SourceAccount": AT}
    assert write["Condition"]["ArnLike"] == {"aws:SourceArn": f"arn:aws:bedrock:us-west-2:{AT}:*"}
    unchanged, stay = found["PromptsUnchanged"], found["PromptsStay"]
    assert (unchanged["Action"], unchanged["Resource"]) == (
        ["s3:PutObject"], ["arn:aws:s3:::acme-ai-dev-logs/prompts/AWSLogs/*"],
    )  # fmt: skip
    assert set(stay["Action"]) == {"s3:DeleteObject", "s3:DeleteObjectVersion"}
    assert stay["Resource"] == ["arn:aws:s3:::acme-ai-dev-logs/prompts/*"]
    for each in (unchanged, stay):
        assert (each["Effect"], each["Principal"]) == ("Deny", "*")
        # Bedrock is a service, and this denies none.
        assert each["Condition"] == {"BoolIfExists": {"aws:PrincipalIsAWSService": "false"}}


def test_prompts_of_our_own_models_are_written_by_their_pods_alone():
    found = said(["auditor"], asked=False, endpoints=["chat", "help"])
    assert "PromptsByBedrock" not in found
    pods = found["PromptsByPods"]
    assert (pods["Effect"], pods["Principal"], pods["Action"]) == ("Deny", "*", ["s3:PutObject"])
    [place] = pods["Resource"]
    assert fnmatchcase(f"arn:aws:s3:::acme-ai-dev-logs/{folder('chat')}2026/01/01/00/a.json", place)
    assert pods["Condition"]["ArnNotLike"]["aws:PrincipalArn"] == [
        f"arn:aws:iam::{AT}:role/acme-ai-dev-chat-pods", f"arn:aws:iam::{AT}:role/acme-ai-dev-help-pods",
    ]  # fmt: skip
    # What was written stays as it was: an old version would be gone the next day.
    once = found["PromptsOnce"]
    assert (once["Effect"], once["Action"], once["Resource"]) == ("Deny", ["s3:PutObject"], [place])
    assert once["Condition"]["Null"] == {"s3:if-none-match": "true"}
    # Without one nobody writes there.
    assert "ArnNotLike" not in said(["auditor"])["PromptsByPods"]["Condition"]


def test_where_no_model_of_bedrock_is_asked_readers_are_let_in_and_nothing_else_is_made():
    found = build(asked=False)
    assert not kind(found, "InvocationLoggingConfiguration")
    assert not kind(found, "MetricAlarm")
    assert one(found, "RolePolicy", "prompts-auditor")
    assert found.outputs["place"] == "s3://acme-ai-dev-logs/prompts"


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


# A whole environment, with a model of ours in the cluster and none of Bedrock's

PLACE = f"arn:aws:s3:::acme-ai-dev-logs/{folder('chat')}2026/01/01/00/a-request.json"


def answering() -> dict[str, dict[str, Any]]:
    kept = {**WHOLE["retrieval"], "prompt_readers": ["auditor"], "prompt_days": 30}
    endpoints = {**WHOLE["serving"]["endpoints"], "assistant": None}
    return {**WHOLE, "retrieval": kept, "serving": {"endpoints": endpoints}}


def listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def about(statement: dict[str, Any], action: str, place: str = PLACE) -> bool:
    """Whether a statement speaks of an action on an object."""
    return any(fnmatchcase(action, each) for each in listed(statement.get("Action", []))) and any(
        fnmatchcase(place, each) for each in listed(statement.get("Resource", []))
    )


def denied(policy: Resource, role: str, action: str) -> bool:
    """Whether the bucket refuses a role of the account something, whatever the role's own policies say."""
    arn = f"arn:aws:iam::*:role/{role}"
    for statement in said_by(policy):
        when = statement.get("Condition", {})
        people = statement["Principal"] == "*" and set(when) <= {"BoolIfExists", "ArnNotLike"}
        spared = any(fnmatchcase(each, arn) for each in listed(when.get("ArnNotLike", {}).get("aws:PrincipalArn", [])))
        if statement["Effect"] == "Deny" and people and about(statement, action) and not spared:
            return True
    return False


def holders(graph: Graph) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Each role by its name, with all that its policies say."""
    attached = [(r.links("role"), r.links("policyArn")) for r in kind(graph, "RolePolicyAttachment")]
    for role in kind(graph, "Role"):
        found = [s for r in kind(graph, "RolePolicy") if role.urn in r.links("role") for s in said_by(r)]
        # By name, of a role that another component made.
        found += [s for r in kind(graph, "RolePolicy") if r.get("role") == role.get("name") for s in said_by(r)]
        for roles, policies in attached:
            if role.urn in roles:
                found += [s for urn in policies for s in said_by(graph.resources[urn])]
        yield str(role.get("name")), found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    folder_ = tmp_path_factory.mktemp("prompts")
    shutil.copytree(ROOT / "stacks", folder_ / "stacks")
    return environment(folder_, answering())


def test_of_all_roles_readers_alone_read_prompts_of_our_own_models(whole: Graph):
    policy = one(whole, "BucketPolicy", "logs-policy")
    roles = dict(holders(whole))
    assert {"acme-ai-dev-auditor", "acme-ai-dev-platform-admin", "acme-ai-dev-deploy", "acme-ai-dev-chat-pods"} <= set(
        roles
    )
    for action in ("s3:GetObject", "s3:GetObjectVersion"):
        allowed = {
            role for role, found in roles.items() if any(s["Effect"] == "Allow" and about(s, action) for s in found)
        }
        assert "acme-ai-dev-auditor" in allowed
        assert {role for role in roles if not denied(policy, role, action)} == {"acme-ai-dev-auditor"}
    assert {role for role in roles if not denied(policy, role, "s3:PutObject")} == {"acme-ai-dev-chat-pods"}
    assert {role for role in roles if not denied(policy, role, "s3:DeleteObject")} == set()


def test_no_prompt_lies_where_whoever_reads_logs_reads_it(whole: Graph):
    names = [str(group.get("name")) for group in kind(whole, "LogGroup")]
    assert names
    assert not [name for name in names if "prompt" in name]
    assert not kind(whole, "InvocationLoggingConfiguration"), "no model of Bedrock is asked"


def test_prompts_have_a_key_of_ours_and_are_gone_when_they_have_to_be(whole: Graph):
    encrypted = one(whole, "BucketServerSideEncryptionConfiguration", "logs-encryption")
    [rule] = encrypted.get("rules")
    chosen = rule["applyServerSideEncryptionByDefault"]
    assert (chosen["sseAlgorithm"], "keys-logs" in json.dumps(chosen)) == ("aws:kms", True)
    rules = {r["id"]: r for r in one(whole, "BucketLifecycleConfiguration", "logs-lifecycle").get("rules")}
    gone = rules["expire-prompts"]
    assert (gone["filter"], gone["expiration"]) == ({"prefix": "prompts/"}, {"days": 30})
    # A version that stays behind would be read for another month.
    assert gone["noncurrentVersionExpiration"] == {"noncurrentDays": 1}
    assert "noncurrentVersionExpiration" not in rules["expire-capture"]
