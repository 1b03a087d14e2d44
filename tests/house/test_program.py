"""The program as a whole: what holds for every stack."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from ipaddress import IPv4Network
from itertools import combinations, permutations
from pathlib import Path

import pulumi
import pytest
import yaml

from components.spec.load import load
from policies.model import Graph, Resource
from tests.conftest import AWS, GCP, ROOT, STACKS

Graphs = Callable[..., Graph]


def dump(graph: Graph) -> str:
    """Everything that a stack says: every input of every resource, and its outputs."""
    return json.dumps([dict(r.inputs) for r in graph.resources.values()] + [dict(graph.outputs)], default=str)


@pytest.mark.parametrize("stack", STACKS)
def test_every_resource_has_an_explicit_provider_of_its_environment(graphs: Graphs, stack: str):
    graph = graphs(stack)
    environment = load(ROOT, stack)
    missing = [
        r.urn for r in graph.resources.values() if r.custom and not r.provider and not r.type.startswith("pulumi:")
    ]
    assert not missing
    for provider in graph.of_type("pulumi:providers:aws"):
        assert environment.cloud.aws is not None
        assert provider.get("allowedAccountIds") == [environment.cloud.aws.account]
    for provider in graph.of_type("pulumi:providers:gcp"):
        assert environment.cloud.gcp is not None
        assert provider.get("project") == environment.cloud.gcp.project


@pytest.mark.parametrize("stack", STACKS)
def test_default_providers_are_off(stack: str):
    config = yaml.safe_load((ROOT / f"stacks/Pulumi.{stack}.yaml").read_text())["config"]
    assert config["pulumi:disable-default-providers"] == ["*"]


def names(text: str) -> set[str]:
    """The physical names in a text: all begin with the company's prefix."""
    return set(re.findall(r"(?<![a-z0-9-])acme-ai-[a-z0-9-]+", text))


def test_no_name_of_an_environment_appears_in_another(graphs: Graphs):
    # A project of Google Cloud is a name of the world's, not of an environment's: there its id is what tells them apart.
    projects = {place.project for stack in STACKS if (place := load(ROOT, stack).cloud.gcp)}
    for one, other in combinations(STACKS, 2):
        shared = (names(dump(graphs(one))) & names(dump(graphs(other)))) - projects
        assert not shared, f"{one} and {other} both say {sorted(shared)}"


def test_no_account_project_or_principal_of_an_environment_appears_in_another(graphs: Graphs):
    marks: dict[str, list[str]] = {}
    for stack in STACKS:
        cloud = load(ROOT, stack).cloud
        marks[stack] = [cloud.aws.account] if cloud.aws else []
        marks[stack] += (
            [cloud.gcp.number, f"{cloud.gcp.project}.iam", f"projects/{cloud.gcp.project}"] if cloud.gcp else []
        )
    for one, other in permutations(STACKS, 2):
        found = [mark for mark in marks[other] if re.search(rf"(?<!\w){re.escape(mark)}(?![\w-])", dump(graphs(one)))]
        assert not found, f"{one} names {found} of {other}"


def test_no_range_of_an_environment_appears_in_another(graphs: Graphs):
    for one, other in permutations(STACKS, 2):
        theirs = load(ROOT, other).network.cidr
        said = {IPv4Network(text) for text in re.findall(r'"(10\.\d+\.\d+\.\d+/\d+)"', dump(graphs(one)))}
        crossing = [str(r) for r in said if r.overlaps(theirs) and r.prefixlen > 8]
        assert not crossing, f"{one} names {crossing} of {other}"


@pytest.mark.parametrize("stack", STACKS)
def test_tiers_protect_what_holds_data(graphs: Graphs, stack: str):
    """Dev can be destroyed without leftovers; prod keeps its data even when it leaves the program."""
    resources = graphs(stack).resources.values()
    protected = {r.urn for r in resources if r.protect}
    # What answered before, so that a release finds its way back; it holds no data.
    former = {
        "aws:sagemaker/model:Model", "aws:sagemaker/endpointConfiguration:EndpointConfiguration",
        "aws:cloudcontrol/resource:Resource", "gcp:modelarmor/template:Template",
    }  # fmt: skip
    retained = {r.urn for r in resources if r.retain_on_delete and r.type not in former}
    match load(ROOT, stack).tier:
        case "dev":
            assert not protected
            assert not retained
            forced = graphs(stack).of_type("aws:s3/bucket:Bucket", "gcp:storage/bucket:Bucket")
            assert forced
            assert all(r.get("forceDestroy") is True for r in forced)
        case "staging":
            assert protected
            assert not retained
        case "prod":
            assert protected == retained
            assert protected


def shape(graph: Graph) -> dict[str, tuple[object, ...]]:
    """What must not depend on whether outputs are known."""
    return {
        urn: (r.type, r.parent, r.provider, r.dependencies, r.protect, r.retain_on_delete)
        for urn, r in graph.resources.items()
    }


@pytest.mark.parametrize("stack", STACKS)
def test_a_first_preview_with_unknown_outputs_registers_the_same(graphs: Graphs, stack: str):
    assert shape(graphs(stack, preview=True)) == shape(graphs(stack))


@pytest.mark.parametrize("stack", STACKS)
def test_dependencies_lead_to_resources_of_the_stack_and_never_in_a_circle(graphs: Graphs, stack: str):
    graph = graphs(stack)
    done: set[str] = set()

    def visit(resource: Resource, path: tuple[str, ...]) -> None:
        assert resource.urn not in path, f"circle: {path}"
        if resource.urn in done:
            return
        for urn in (*resource.dependencies, *filter(None, [resource.parent])):
            assert urn in graph.resources, f"{resource.urn} depends on {urn}, which is not there"
            visit(graph.resources[urn], (*path, resource.urn))
        done.add(resource.urn)

    for resource in graph.resources.values():
        visit(resource, ())
        assert all(urn in graph.resources for urn, _ in resource.references), resource.urn


@pytest.mark.parametrize("stack", STACKS)
def test_outputs_are_complete_and_hold_no_secret(graphs: Graphs, stack: str):
    outputs = graphs(stack).outputs
    (cloud,) = outputs
    assert set(outputs[cloud]) == {
        "account", "region", "keys", "network", "storage", "secrets", "personas", "delivery", "notifications", "images",
        "models", "training", "serving", "retrieval", "budgets",
    }  # fmt: skip
    assert set(outputs[cloud]["storage"]) == set(load(ROOT, stack).data.zones)
    assert "[secret]" not in json.dumps(outputs)
    assert "null" not in json.dumps(outputs)


def test_both_clouds_hand_out_the_same(graphs: Graphs):
    # By names of the description, which differ where the clouds do.
    named = {"checkpoints", "file_systems", "queues", "endpoints", "records", "exchange", "services"}

    def keys(value: object) -> object:
        inner = sorted(value.items()) if isinstance(value, dict) else ()
        return {k: None if k in named else keys(v) for k, v in inner} or None

    for aws, gcp in zip(AWS, GCP, strict=True):
        assert keys(graphs(aws).outputs["aws"]) == keys(graphs(gcp).outputs["gcp"])


@pytest.mark.parametrize(("stack", "other"), [("dev", "pulumi_gcp"), ("dev-gcp", "pulumi_aws")])
def test_only_the_clouds_of_the_stack_are_imported(stack: str, other: str):
    """An SDK costs seconds to import."""
    code = (
        "import sys; from pathlib import Path; from preview.record import record; "
        f"record(Path('.'), {stack!r}); sys.exit({other!r} in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_bad_input_stops_the_program_with_its_report_and_no_traceback(tmp_path: Path):
    """As `pulumi up` would show it: one message, exit code 1."""
    code = (
        "import pulumi, runpy, sys\n"
        "from pulumi.runtime import mocks\n"
        "class M(mocks.Mocks):\n"
        "    def new_resource(self, args): raise AssertionError('nothing may be registered')\n"
        "    def call(self, args): return {}\n"
        "pulumi.runtime.set_mocks(M(), project='ai-platform', stack='prdo')\n"
        "try:\n"
        "    runpy.run_path('__main__.py', run_name='__main__')\n"
        "except pulumi.RunError as error:\n"
        "    print(error); sys.exit(1)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "there is no stack prdo" in done.stdout
    assert "prod? (one of: " in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_an_environment_on_both_clouds_is_the_sum_of_both(project: Path):
    from components.platform import Platform
    from preview.record import run

    file = project / "stacks/Pulumi.dev.yaml"
    content = yaml.safe_load(file.read_text())
    content["config"]["ai-platform:cloud"]["gcp"] = {
        "project": "acme-ai-both", "number": "888888888888", "region": "us-central1", "billing_account": "01ABCD-23EF45-6789AB",
    }  # fmt: skip
    file.write_text(yaml.safe_dump(content))
    environment = load(project, "dev")
    graph = run(lambda: [pulumi.export(k, v) for k, v in Platform(environment).outputs.items()] and None)
    assert set(graph.outputs) == {"aws", "gcp"}
    providers = {
        urn: {r.provider for r in graph.resources.values() if r.type.startswith(f"{urn}:")} for urn in ("aws", "gcp")
    }
    assert all(len(found) == 1 for found in providers.values())
    here, there = (IPv4Network(graph.outputs[cloud]["network"]["cidr"]) for cloud in ("aws", "gcp"))
    assert not here.overlaps(there)
    assert [str(n) for n in (here, there)] == ["10.16.0.0/17", "10.16.128.0/17"]


def shuffled(value: object) -> object:
    """The same description with its keys in another order."""
    return {k: shuffled(v) for k, v in reversed(value.items())} if isinstance(value, dict) else value


@pytest.mark.parametrize("stack", ["prod", "prod-gcp"])
def test_the_order_of_keys_changes_nothing(graphs: Graphs, project: Path, stack: str):
    from components.platform import Platform
    from preview.difference import compare
    from preview.record import run

    for name in (f"Pulumi.{stack}.yaml", "platform.yaml"):
        file = project / "stacks" / name
        file.write_text(yaml.safe_dump(shuffled(yaml.safe_load(file.read_text())), sort_keys=False))
    environment = load(project, stack)
    again = run(lambda: Platform(environment) and None, stack=stack)
    assert not compare(graphs(stack), again)
