"""The pack: what the CLI hands over becomes the graph, and what the rules say reaches the CLI."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc
from pulumi_policy import EnforcementLevel, PolicyResource, StackValidationArgs
from pulumi_policy.policy import PolicyCustomTimeouts, PolicyProviderResource, PolicyResourceOptions
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, unknown_checking_proxy

from policies.model import Graph, Resource
from policies.pack import UNTOLD, graph, policies
from policies.registry import evaluate
from tests.policies.build import aws, gcp, make, ref, urn
from tests.policies.build import graph as built
from tests.policies.cases import CASES

ROOT = Path(__file__).resolve().parents[2]
SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "value": "hunter2"}
GROUP = make("aws:cloudwatch/logGroup:LogGroup", "flows", inputs={"name": "/acme-dev", "retentionInDays": 30})


def handed(given: Graph) -> list[PolicyResource]:
    """The resources as the CLI's SDK hands them to a policy: proxies all the way down, numbers as floats."""
    found = {r.urn: _handed(r) for r in given.resources.values()}
    for resource in given.resources.values():
        mine = found[resource.urn]
        mine.parent = found.get(resource.parent)
        mine.dependencies = [found[u] for u in resource.dependencies if u in found]
        mine.property_dependencies = {
            name: [found[u] for u in urns if u in found] for name, urns in resource.property_dependencies.items()
        }
    return list(found.values())


def _handed(resource: Resource) -> PolicyResource:
    options = PolicyResourceOptions(
        resource.protect,
        list(resource.ignore_changes),
        None,
        list(resource.aliases),
        PolicyCustomTimeouts(0, 0, 0),
        list(resource.secret_outputs),
    )
    type_, _, name = resource.provider.partition("::ai-platform::")[2].partition("::")
    known = PolicyProviderResource(type_, unknown_checking_proxy({}), resource.provider, name) if name else None
    values = json.loads(json.dumps(resource.inputs), parse_int=float)
    return PolicyResource(
        resource.type, unknown_checking_proxy(values), resource.urn, resource.name, options, known, None, [], {}
    )


def say(root: Path, given: Graph) -> dict[str, list[tuple[str, str | None]]]:
    said: dict[str, list[tuple[str, str | None]]] = {}
    for policy in policies(root):
        reports: list[tuple[str, str | None]] = said.setdefault(policy.name, [])
        args = StackValidationArgs(handed(given), None, {})
        policy.validate(args, lambda message, urn=None, to=reports: to.append((message, urn)))
    return said


def test_two_policies_hold_all_rules():
    assert [(p.name, p.enforcement_level) for p in policies(ROOT)] == [
        ("mandatory", EnforcementLevel.MANDATORY),
        ("advisory", EnforcementLevel.ADVISORY),
    ]


# The CLI tells nothing of the stack's outputs.
WITHOUT_OUTPUTS = [case for case in CASES if not case.graph.outputs]


@pytest.mark.parametrize("case", WITHOUT_OUTPUTS, ids=lambda case: f"{case.rule}: {case.what}")
def test_the_rules_say_the_same_of_what_the_cli_hands_over(case):
    got = graph(handed(case.graph))
    told = replace(case.graph, untold=UNTOLD)
    assert {u: r.inputs for u, r in got.resources.items()} == {u: r.inputs for u, r in told.resources.items()}
    if told.resources:
        assert evaluate(got) == evaluate(told)


def test_everything_else_of_a_resource_is_kept():
    parent = make("ai-platform:aws:Network", "network", custom=False)
    child = make(
        "aws:ec2/vpc:Vpc",
        "vpc",
        parent=parent.urn,
        protect=True,
        ignore_changes=("tags",),
        aliases=("urn:old",),
        secret_outputs=("arn",),
    )
    got = graph(handed(built(aws(), parent, child)))
    mine = got.resources[child.urn]
    assert (got.project, got.stack, got.untold) == ("ai-platform", "dev", UNTOLD)
    assert (mine.type, mine.name, mine.parent, mine.provider) == (child.type, "vpc", parent.urn, aws().urn)
    assert (mine.protect, mine.ignore_changes, mine.aliases, mine.secret_outputs) == (
        True, ("tags",), ("urn:old",), ("arn",),
    )  # fmt: skip
    assert got.resources[parent.urn].provider == ""


def test_what_is_not_known_refers_to_where_it_comes_from():
    key = make("aws:kms/key:Key", "key", inputs={})
    topic = make(
        "aws:sns/topic:Topic",
        inputs={"kmsMasterKeyId": UNKNOWN_STRING_VALUE, "tags": {"a": [UNKNOWN_STRING_VALUE]}, "__defaults": []},
        property_dependencies={"kmsMasterKeyId": (key.urn,)},
        dependencies=(key.urn,),
    )
    got = graph(handed(built(key, topic))).resources[topic.urn]
    assert got.inputs == {"kmsMasterKeyId": f"${{{key.urn}#}}", "tags": {"a": [f"${{{topic.urn}#tags}}"]}}
    assert got.links("kmsMasterKeyId") == {key.urn}
    assert got.dependencies == (key.urn,)


def test_no_resources_are_no_stack():
    got = graph([])
    assert got.resources == {}
    assert say(ROOT, built())["advisory"] == []


def test_a_finding_is_reported_on_its_resource_by_the_policy_of_its_level():
    said = say(ROOT, built(aws(), GROUP, make("aws:sqs/queue:Queue", inputs={"name": "acme-dev-work"})))
    (message,) = [m for m, where in said["mandatory"] if where == GROUP.urn]
    assert message.startswith("What holds data is encrypted with a key of the environment (encryption-own-key, high): ")
    assert "kmsKeyId names no key\nGive it the key" in message
    assert [where for m, where in said["advisory"] if "(queue-dead-letter, low)" in m] == [
        urn("aws:sqs/queue:Queue", "it")
    ]
    assert [where for m, where in said["mandatory"] if "(budget-exists, high)" in m] == [None]


@pytest.fixture
def root(tmp_path):
    """The project's descriptions, to be changed."""
    shutil.copytree(ROOT / "stacks", tmp_path / "stacks")
    return tmp_path


def waive(root: Path, **changed: str) -> None:
    waiver = {
        "rule": "encryption-own-key",
        "resource": "flows",
        "reason": "Nothing but addresses of machines is in it.",
        "owner": "a@example.com",
        "expires": (datetime.now(UTC).date() + timedelta(days=2)).isoformat(),
        **changed,
    }
    file = root / "stacks" / "Pulumi.dev.yaml"
    file.write_text(f"{file.read_text()}  ai-platform:policy: {{waivers: [{json.dumps(waiver)}]}}\n")


def test_a_waiver_of_the_stacks_file_holds(root):
    waive(root)
    said = say(root, built(aws(), GROUP))
    assert [m for m, _ in said["mandatory"] if "encryption-own-key" in m] == []
    (message,) = [m for m, _ in said["advisory"] if "encryption-own-key" in m]
    assert re.search(r"\nExcused until \d{4}-\d\d-\d\d by a@example.com: Nothing but addresses", message)


def test_a_waiver_that_has_expired_stops_the_deployment(root):
    waive(root, expires="2020-01-01")
    said = say(root, built(aws(), GROUP))
    assert any("waiver-expired" in m for m, _ in said["mandatory"])
    assert any("encryption-own-key" in m for m, _ in said["mandatory"])


def test_without_a_description_no_waiver_holds_and_that_is_said(root):
    waive(root)
    (root / "stacks" / "Pulumi.dev.yaml").unlink()
    said = say(root, built(aws(), GROUP))
    assert said["mandatory"][0][0].startswith("No waiver holds, for the stack's description cannot be read:\n")
    assert "there is no stack dev" in said["mandatory"][0][0]
    assert any("encryption-own-key" in m for m, _ in said["mandatory"])


def test_the_two_policies_share_one_evaluation(monkeypatch):
    calls: list[Graph] = []
    monkeypatch.setattr("policies.pack.evaluate", lambda g, _waivers: calls.append(g) or [])
    say(ROOT, built(aws(), GROUP))
    assert len(calls) == 1
    mandatory, _ = policies(ROOT)
    for given in (built(aws(), GROUP), built(gcp())):
        mandatory.validate(StackValidationArgs(handed(given), None, {}), lambda *_: None)
    assert len(calls) == 3


@pytest.fixture(scope="module")
def analyzer():
    """The pack, as the CLI starts it: in its own directory, on a port that it prints."""
    command = [sys.executable, "-u", "-m", "pulumi.policy", "127.0.0.1:1", "."]
    with subprocess.Popen(command, cwd=ROOT / "policies", stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            port = process.stdout.readline().strip()
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                grpc.channel_ready_future(channel).result(timeout=30)
                yield analyzer_pb2_grpc.AnalyzerStub(channel)
        finally:
            process.kill()


def sent(resource: Resource, **inputs: object) -> analyzer_pb2.AnalyzerResource:
    provider = aws()
    return analyzer_pb2.AnalyzerResource(
        type=resource.type,
        urn=resource.urn,
        name=resource.name,
        properties=ParseDict({**resource.inputs, **inputs}, Struct()),
        provider=analyzer_pb2.AnalyzerProviderResource(type=provider.type, urn=provider.urn, name=provider.name),
        dependencies=resource.dependencies,
        propertyDependencies={
            name: analyzer_pb2.AnalyzerPropertyDependencies(urns=urns)
            for name, urns in resource.property_dependencies.items()
        },
    )


def test_the_pack_introduces_itself(analyzer):
    info = analyzer.GetAnalyzerInfo(Empty())
    assert info.name == "ai-platform"
    assert [(p.name, p.enforcementLevel) for p in info.policies] == [
        ("mandatory", analyzer_pb2.MANDATORY),
        ("advisory", analyzer_pb2.ADVISORY),
    ]


def test_the_engine_is_told_what_is_wrong_with_which_resource(analyzer):
    key = make("aws:kms/key:Key", "key", inputs={"enableKeyRotation": False})
    document = make("aws:iam/policy:Policy", "p", inputs={"name": "acme-dev-p", "policy": ref(key, "policy")})
    version = make("aws:secretsmanager/secretVersion:SecretVersion", "v", inputs={"secretString": "[secret]"})
    request = analyzer_pb2.AnalyzeStackRequest(
        resources=[
            sent(aws()),
            sent(key, arn=UNKNOWN_STRING_VALUE),
            sent(GROUP, kmsKeyId=UNKNOWN_STRING_VALUE),
            sent(document, policy=UNKNOWN_STRING_VALUE),
            sent(version, secretString=SECRET),
        ]
    )
    found = analyzer.AnalyzeStack(request).diagnostics
    said = {(d.urn, re.findall(r"\(([\w-]+), \w+\): ", d.message)[0], d.policyName, d.enforcementLevel) for d in found}
    assert (key.urn, "key-rotation", "mandatory", analyzer_pb2.MANDATORY) in said
    assert (GROUP.urn, "encryption-own-key", "mandatory", analyzer_pb2.MANDATORY) in said
    assert (document.urn, "document-readable", "advisory", analyzer_pb2.ADVISORY) in said
    assert not any("can't run policy" in d.message or "hunter2" in d.message for d in found)
