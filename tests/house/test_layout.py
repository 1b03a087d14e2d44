"""The house is in order: the same files, classes and outputs on each cloud, and data flows one way."""

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT

CLOUDS = ("aws", "gcp")
# Files that one cloud has and the other has not, each with its reason. May only get shorter.
EXCEPTIONS: dict[str, str] = {
    "foundation/autoscaler.py": "Karpenter is ours to run; GKE brings its own autoscaler.",
    "serving/edge.py": "Google Cloud has had no service for devices since IoT Core was retired in 2023.",
    "serving/exchange.py": "No load balancer of Google Cloud checks tokens of others; that of AWS does.",
    "serving/fleets.py": "Settings of the service for devices.",
    "serving/passage.py": "A load balancer of AWS cannot lead to SageMaker; that of Google Cloud leads to Cloud Run.",
    "serving/releases.py": "SageMaker, CodeDeploy and ECS move requests themselves; on Google Cloud a workflow of ours does.",
    "training/hyperpod.py": "GKE repairs and replaces machines of every pool by itself.",
    "training/verifier.py": "On Google Cloud Binary Authorization verifies, which is no pod of ours.",
}
# What components of a cloud are made of; the same on each where it means the same.
BLOCKS = "blocks"
# Endpoints of every kind hand on the same.
ENDPOINTS = (
    "asynchronous", "batch", "container", "edge", "function", "llm", "passage", "realtime", "serverless",
)  # fmt: skip
# Files whose class is called like another section's, and hand on something else.
HANDED = {"retrieval/database.py": "Tables"}
# Tables of contents: they alone know several components.
CONTENTS = ("environment.py", "contents.py")


def files(cloud: str) -> set[str]:
    folder = ROOT / "components" / cloud
    found = {p.relative_to(folder) for p in folder.rglob("*.py") if p.name != "__init__.py"}
    return {str(file) for file in found if file.parts[0] != BLOCKS}


def component(file: Path) -> ast.ClassDef | None:
    """The component that a file defines."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ClassDef) and any(isinstance(b, ast.Name) and b.id == "Component" for b in node.bases):
            return node
    return None


def contract(node: ast.ClassDef) -> set[str]:
    """The contracts that a component hands on: what `self.outputs` is built as."""
    found: set[str] = set()
    for statement in ast.walk(node):
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        named = any(isinstance(t, ast.Attribute) and t.attr == "outputs" for t in targets)
        if named and isinstance(statement, ast.Assign | ast.AnnAssign) and isinstance(statement.value, ast.Call):
            found.add(ast.unparse(statement.value.func))
    return found


def test_each_cloud_has_the_same_files():
    assert files("aws") ^ files("gcp") == set(EXCEPTIONS)


@pytest.mark.parametrize("file", sorted(files("aws") & files("gcp")))
def test_a_file_holds_the_same_entity_on_each_cloud(file: str):
    found = [component(ROOT / "components" / cloud / file) for cloud in CLOUDS]
    assert len({node.name if node else None for node in found}) == 1, found
    contracts = [contract(node) if node else set() for node in found]
    assert contracts[0] == contracts[1], contracts
    if found[0] is not None:
        handed = "Endpoint" if file.startswith("serving/") and Path(file).stem in ENDPOINTS else found[0].name
        handed = HANDED.get(file, handed)
        assert contracts[0] == {f"contracts.{handed}"}
        assert all(ast.get_docstring(node) for node in found if node)


def imports(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("components/spec", ("pulumi", "components.aws", "components.gcp", "components.scope", "policies", "preview")),
        ("components/core", ("pulumi", "components.aws", "components.gcp", "components.scope", "policies", "preview")),
        (
            "components/kubernetes",
            ("pulumi_aws", "pulumi_gcp", "components.aws", "components.gcp", "policies", "preview"),
        ),
        ("components/aws", ("pulumi_gcp", "components.gcp", "policies", "preview")),
        ("components/gcp", ("pulumi_aws", "components.aws", "policies", "preview")),
        ("policies", ("pulumi_aws", "pulumi_gcp", "components.aws", "components.gcp", "preview")),
        ("preview", ("pulumi_aws", "pulumi_gcp", "components.aws", "components.gcp")),
        ("runtime", ("pulumi", "components", "policies", "preview")),
    ],
)
def test_data_flows_one_way(folder: str, forbidden: tuple[str, ...]):
    for file in (ROOT / folder).rglob("*.py"):
        wrong = {name for name in imports(file) if any(name == f or name.startswith(f"{f}.") for f in forbidden)}
        assert not wrong, f"{file.relative_to(ROOT)} imports {wrong}"


def test_a_component_knows_its_contract_but_no_other_component():
    """Handles are typed by `contracts`; only the tables of contents, and what components are made of, are imported."""
    for cloud in CLOUDS:
        for file in sorted(f for f in files(cloud) if Path(f).name not in CONTENTS):
            wrong = {
                name
                for name in imports(ROOT / "components" / cloud / file)
                if name.startswith(f"components.{cloud}.") and not name.startswith(f"components.{cloud}.{BLOCKS}.")
            }
            assert not wrong, f"{cloud}/{file} imports {wrong}"


def test_what_components_are_made_of_knows_no_component():
    for cloud in CLOUDS:
        for file in sorted((ROOT / "components" / cloud / BLOCKS).glob("*.py")):
            wrong = {
                name
                for name in imports(file)
                if name.startswith(f"components.{cloud}.") and not name.startswith(f"components.{cloud}.{BLOCKS}.")
            }
            assert not wrong, f"{file.relative_to(ROOT)} imports {wrong}"
