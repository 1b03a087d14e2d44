"""The checked-in JSON schemas are fresh, accept what the loader accepts, and refuse what it refuses."""

import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from components.spec.schema import schemas, text
from tests.conftest import ROOT, STACKS


def validator(name: str) -> Draft202012Validator:
    made = schemas()
    registry = Registry().with_resources((key, Resource.from_contents(value)) for key, value in made.items())
    return Draft202012Validator({"$id": name, **made[name]}, registry=registry)


def held(path: Path) -> object:
    """A file as an editor's YAML 1.2 reader sees it."""
    return json.loads(json.dumps(yaml.safe_load(path.read_text())))


@pytest.mark.parametrize("name", ["platform.schema.json", "stack.schema.json"])
def test_schemas_are_fresh(name: str):
    assert (ROOT / "stacks" / name).read_text() == text(schemas()[name]), "run `make docs`"


@pytest.mark.parametrize("stack", STACKS)
def test_the_stacks_are_valid(stack: str):
    file = ROOT / f"stacks/Pulumi.{stack}.yaml"
    assert not [e.message for e in validator("stack.schema.json").iter_errors(held(file))]
    assert file.read_text().startswith("# yaml-language-server: $schema=stack.schema.json\n")


def test_the_platform_is_valid():
    assert not [e.message for e in validator("platform.schema.json").iter_errors(held(ROOT / "stacks/platform.yaml"))]


@pytest.mark.parametrize(
    ("content", "valid"),
    [
        ({"network": {"nat": "single"}}, True),
        ({"network": {"nat": None}}, True),
        ({"network": {"nat": "two"}}, False),
        ({"netwrk": {}}, False),
        ({"name": "x"}, False),
        ({"operations": {"webhook": {"secure": "x"}}}, True),
        ({"operations": {"webhook": "clear"}}, False),
        ({"teams": {"vision": None}}, True),
        ({"secrets": {"a": {"kind": "generated", "length": 4}}}, False),
    ],
)
def test_a_part_is_enough_but_no_mistake(content: object, *, valid: bool):
    assert validator("platform.schema.json").is_valid(content) is valid


def test_keys_of_other_namespaces_belong_to_pulumi():
    check = validator("stack.schema.json")
    assert check.is_valid({"config": {"aws:region": "x"}, "encryptionsalt": "v1:x"})
    assert not check.is_valid({"config": {"ai-platform:teir": "dev"}})
    assert not check.is_valid({"config": {"tier": "dev"}})
