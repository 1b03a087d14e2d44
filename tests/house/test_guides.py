"""What docs/serving.md tells people to write, to run and to look for is what the code takes and makes."""

import json
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from botocore.session import get_session  # pyright: ignore[reportMissingTypeStubs]

from components.aws.serving import cache, edge, llm
from components.core import containers, fronts, functions, hosting, retrieval, watching
from components.core.accelerators import machine
from components.core.answering import RELEASES
from components.gcp.serving import cache as google_cache
from components.gcp.serving import llm as google_llm
from components.spec.endpoints import Alarm
from components.spec.load import load
from policies.model import Graph
from runtime.serving.signature import Signature
from tests.conftest import ROOT
from tests.spec.test_load import TODAY

GUIDE = (ROOT / "docs" / "serving.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)
YAML = [text for kind, text in BLOCKS if kind == "yaml"]
SHELL = "\n".join(text for kind, text in BLOCKS if kind == "sh").replace("\\\n", " ")
ANY = "NAME"
"""Stands for a name of the reader's."""
# Options of the command line itself ("AWS CLI Command Reference", global options and pagination).
_OF_THE_CLI = {"query", "output", "region", "max-items"}
# Commands that are more than one call of an API.
_OWN = {("s3", "cp"), ("s3", "ls"), ("s3", "rm"), ("s3", "sync"), ("ecr", "get-login-password")}
_SERVICES = {"deploy": "codedeploy"}


def section(title: str) -> str:
    """The text below a heading, up to the next one of its level or above."""
    level = re.search(rf"^(#+) {re.escape(title)}$", GUIDE, re.MULTILINE)
    assert level, f"there is no section {title}"
    return re.split(rf"^#{{1,{len(level[1])}}} ", GUIDE[level.end() :], maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> list[list[str]]:
    """The cells of the tables of a text, without their heads."""
    tables = re.findall(r"^\|.*\n\|[-| ]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [[cell.strip() for cell in row.strip("|\n").split("|")] for table in tables for row in table.splitlines()]


def merged(base: Any, more: Any) -> Any:
    """Maps by key, all else replaced: as one layer of a description upon another."""
    if not isinstance(base, dict) or not isinstance(more, dict):
        return more
    return {**base, **{key: merged(base.get(key), value) for key, value in more.items()}}


def edit(project: Path, stack: str, change: dict[str, Any]) -> None:
    file = project / f"stacks/Pulumi.{stack}.yaml"
    content = yaml.safe_load(file.read_text())
    content["config"] = merged(content["config"], change)
    file.write_text(yaml.safe_dump(content, sort_keys=False))


def edits() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each piece of a description, with the stack that it is for; what is for no stack alone is for one on each cloud."""
    for text in YAML:
        content = yaml.safe_load(text)
        named = re.match(r"# stacks/Pulumi\.([\w-]+)\.yaml\n", text)
        if named:
            yield named[1], content
        else:
            for stack in ("dev", "dev-gcp"):
                yield stack, {f"ai-platform:{key}": value for key, value in content.items()}


@pytest.mark.parametrize(("stack", "change"), list(edits()))
def test_a_description_in_the_guide_loads(project: Path, stack: str, change: dict[str, Any]):
    edit(project, stack, change)
    load(project, stack, today=TODAY)


def test_the_guide_describes_endpoints_and_corpora():
    found = [yaml.safe_load(text) for text in YAML]
    assert {"serving", "retrieval"} <= {key for content in found for key in content}
    assert any("ai-platform:serving" in content for content in found)


def paths() -> list[str]:
    return sorted(set(re.findall(r"""jq -r '?(\.(?:aws|gcp)(?:\.\w+|\["[\w-]+"\])+)""", GUIDE)))


@pytest.mark.parametrize("path", paths())
def test_an_output_that_the_guide_reads_is_there(graphs: Callable[..., Graph], path: str):
    value: Any = graphs("dev-gcp" if path.startswith(".gcp") else "dev").outputs
    for plain, quoted in re.findall(r'\.(\w+)|\["([\w-]+)"\]', path):
        key = plain or quoted
        assert isinstance(value, dict), path
        known = cast("dict[str, Any]", value)
        if not known:  # nothing of this kind is in the repository's stacks
            return
        assert key in known or key == ANY, f"{path}: {key} is none of {', '.join(known)}"
        value = next(iter(known.values())) if key == ANY else known[key]


def test_the_guide_names_the_releases_that_there_are():
    said = {
        (cloud, kind.strip("`")): tuple(re.findall(r"`(\w+)`", cell))
        for kind, *cells in rows(section("Releases"))
        for cloud, cell in zip(("aws", "gcp"), cells, strict=True)
    }
    assert said == dict(RELEASES)
    bounds = f"at most {hosting.LONGEST_BAKE['all_at_once']} with `all_at_once` and {hosting.LONGEST_BAKE['canary']} otherwise"
    assert bounds in " ".join(GUIDE.split())


@lru_cache
def _shape(service: str, operation: str) -> Any:
    """What an operation takes, as the command line calls it."""
    model: Any = get_session().get_service_model(_SERVICES.get(service, service))
    for name in model.operation_names:
        if dashed(name) == operation:
            return model.operation_model(name).input_shape
    raise AssertionError(f"aws {service} has no {operation}")


def dashed(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower()


def commands() -> list[str]:
    """The commands of AWS, without what is put into them."""
    inline = "\n".join(re.findall(r"`(aws [a-z0-9-]+ [^`]*--[^`]*)`", " ".join(GUIDE.split())))
    text = re.sub(r"\$\([^()]*(\([^()]*\)[^()]*)*\)", "X", f"{SHELL}\n{inline}")
    return sorted(set(re.findall(r"\baws [a-z0-9-]+ [a-z0-9-]+[^|\n]*", text)))


@pytest.mark.parametrize("command", commands())
def test_a_command_of_aws_is_one(command: str):
    _, service, operation, *_ = command.split()
    if (service, operation) in _OWN:
        return
    shape = _shape(service, operation)
    given = set(re.findall(r"(?<!\S)--([a-z0-9-]+)", command)) - _OF_THE_CLI
    tokens = {name for name, member in shape.members.items() if member.metadata.get("idempotencyToken")}
    # A switch is turned off by its opposite.
    off = {f"no-{dashed(name)}" for name, member in shape.members.items() if member.type_name == "boolean"}
    assert given <= {dashed(name) for name in shape.members} | off
    assert {dashed(name) for name in set(shape.required_members) - tokens} <= given


def test_the_signature_in_the_guide_is_one():
    [text] = [text for kind, text in BLOCKS if kind == "json" and '"inputs"' in text]
    signature = Signature.parse(json.dumps(json.loads(text) | {"files": {"model.onnx": "0" * 64}}))
    [asked] = set(re.findall(r"-d '(\{\"instances\": .*?\})'", SHELL))
    assert signature.feed(json.loads(asked)["instances"]).keys() == {"amount", "country"}


def _watched_on_aws() -> Iterator[str]:
    signs = ("p95_latency", "error_rate", "saturation", "ceiling", "waiting")
    bounds = {sign: Alarm(sign=sign, above=10, minutes=5) for sign in signs}
    common: dict[str, Any] = {"name": ANY, "physical": "x", "bounds": bounds, "signs": ["error_rate"]}
    plain = machine("aws", "m7i.xlarge")
    for kind in ("realtime", "async", "serverless"):
        yield from (alarm.name for alarm in hosting.alarms(hosting.Watched(**common, kind=kind, machine=plain)))
    yield from (
        alarm.name for alarm in functions.alarms(functions.Watched(**common, most=5, namespace="x", version="1"))
    )
    groups = {containers.OLD: "a", containers.NEW: "b"}
    yield from (alarm.name for alarm in containers.alarms(containers.Watched(**common, balancer="x", groups=groups)))
    yield from (alarm.name for alarm in llm.alarms(ANY, cast("Any", "x"), bounds))
    yield from (alarm.name for alarm in fronts.alarms("x", "x", "x", "x"))
    yield from (alarm.name for alarm in edge.alarms(ANY, "x", 100))
    yield from (alarm.name for alarm in cache.alarms(ANY, "x", 1))
    for found in (
        retrieval.aws_documents(ANY, "x"),
        retrieval.aws_ingestion("x", "x"),
        retrieval.aws_asking("x", "x", "x"),
        retrieval.aws_database("x", "x"),
    ):
        yield from (alarm.name for alarm in found)


def _watched_on_gcp() -> Iterator[str]:
    signs = ("p95_latency", "error_rate", "saturation", "ceiling", "waiting")
    yield from (watching.alarm(ANY, Alarm(sign=sign, above=10, minutes=5), "1").name for sign in signs)
    yield from (alarm.name for alarm in fronts.watches("x", []))
    signs_of = {sign: Alarm(sign=sign, above=10, minutes=5) for sign in ("p95_latency", "error_rate", "ceiling")}
    yield from (alarm.name for alarm in google_llm.alarms(ANY, "x", "x", signs_of))
    yield from (alarm.name for alarm in google_cache.alarms(ANY, "x"))


@pytest.mark.parametrize(("column", "names"), [(0, _watched_on_aws), (1, _watched_on_gcp)], ids=["aws", "gcp"])
def test_the_guide_explains_every_alarm(column: int, names: Callable[[], Iterator[str]]):
    cells = [row[column] for row in rows(section("Alarms"))]
    if column:
        # What is called the same on both clouds.
        cells = [row[0] if row[1] == "the same" else row[1] for row in rows(section("Alarms"))]
    said = {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}
    unknown = sorted(name for name in set(names()) if name not in said)
    assert not unknown


def test_what_the_guide_refers_to_is_there():
    for target in re.findall(r"\]\(([^)#]+)\)", GUIDE):
        assert (ROOT / "docs" / target).exists(), target
    for path in re.findall(r"`((?:components|runtime|stacks|docs|preview)/[\w./-]+)`", GUIDE):
        assert (ROOT / path).exists(), path
    for title in re.findall(r"\(\*([A-Z][^*]+)\*\)|below, \*([A-Z][^*]+)\*", GUIDE):
        assert re.search(rf"^#+ {re.escape(''.join(title))}$", GUIDE, re.MULTILINE), title
