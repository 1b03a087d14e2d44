"""The section `registry`: what it is when nothing is said, and what is wrong with what is said."""

from pathlib import Path
from typing import Any

import pytest

from components.spec.checks_registry import CHECKS
from components.spec.environment import Environment
from components.spec.load import load
from components.spec.problems import Source
from components.spec.registry import MIRRORED, Registry
from components.spec.source import Layer
from components.spec.tiers import COMMON
from components.spec.training import Accelerated
from tests.conftest import ROOT, STACKS
from tests.spec.test_load import change, problems

ALL = {"keep_versions": 2, "images": COMMON["registry"]["images"]}
PEOPLE = {"ml-engineer": {"permission_set": "MLEngineer", "group": "ml@example.com"}}


def described(stack: str, **registry: Any) -> Environment:
    """A stack of the repository with another registry."""
    return load(ROOT, stack).model_copy(update={"registry": Registry.model_validate(ALL | registry)})


def wrong(environment: Environment) -> dict[str, tuple[str, str]]:
    """Key -> (wrong, right) of every problem."""
    layer = Layer(Source("stacks/Pulumi.x.yaml"))
    return {p.key: (p.wrong, p.right) for check in CHECKS for p in check(environment, layer)}


@pytest.mark.parametrize("stack", STACKS)
def test_what_nobody_describes_is_sound(stack: str) -> None:
    environment = load(ROOT, stack)
    assert not wrong(environment)
    registry = environment.registry
    assert set(registry.images) == {"training", "serving"}
    assert not registry.images["training"].shared
    assert registry.promotion.aws.shared_with == registry.promotion.gcp.shared_with == []
    assert registry.promotion.aws.source is registry.promotion.gcp.source is None


def test_a_registry_is_merged_from_both_files(project: Path) -> None:
    change(project, "dev", registry={"models": {"fraud": {"team": "risk"}}, "images": {"batch": {"keep": 5}}})
    registry = load(project, "dev").registry
    assert registry.models["fraud"].team == "risk"
    assert registry.images["batch"].keep == 5
    assert registry.keep_versions == 2


CASES: list[tuple[str, dict[str, Any], dict[str, tuple[str, str]]]] = [
    (
        "dev",
        {"models": {"fraud": {"team": "riks"}}, "images": {"a": {"team": "nlp"}}},
        {
            "registry.models.fraud.team": ("there is no team riks", "risk? (one of: vision, risk)"),
            "registry.images.a.team": ("there is no team nlp", "one of: vision, risk"),
        },
    ),
    (
        "dev",
        {"models": {"fraud": {}}, "approvers": []},
        {
            "registry.approvers": (
                "no persona that approves models can sign in on aws",
                "a persona with a permission_set (one of: data-scientist, ml-engineer, platform-admin, auditor)",
            ),
        },
    ),
    (
        "dev",
        {"mirrors": ["quay.io", "ghcr.io"]},
        {
            "registry.mirrors[1]": (
                "aws reads ghcr.io with a credential only",
                "one of: public.ecr.aws, registry.k8s.io, quay.io",
            )
        },
    ),
    ("dev-gcp", {"mirrors": ["docker.io", "ghcr.io"]}, {}),
    (
        "dev",
        {
            "promotion": {
                "aws": {
                    "shared_with": ["111111111111", "222222222222", "222222222222"],
                    "source": {"environment": "dev", "account": "111111111111"},
                },
                "gcp": {"shared_with": ["serving@acme-ai-prod.iam.gserviceaccount.com"]},
            }
        },
        {
            "registry.promotion.aws.shared_with[0]": ("the environment's own account", "another"),
            "registry.promotion.aws.shared_with[2]": ("222222222222 stands twice", "each once"),
            "registry.promotion.aws.source.environment": (
                "the environment cannot read from itself",
                "another, or no source",
            ),
            "registry.promotion.aws.source.account": ("the environment's own account", "another"),
            "registry.promotion.gcp": ("the environment is not on gcp", "cloud.gcp, or no such key"),
        },
    ),
    (
        "dev-gcp",
        {
            "promotion": {
                "aws": {"source": {"environment": "lab", "account": "222222222222"}},
                "gcp": {
                    "shared_with": ["serving@acme-ai-dev.iam.gserviceaccount.com"],
                    "source": {"environment": "lab", "project": "acme-ai-dev"},
                },
            }
        },
        {
            "registry.promotion.aws": ("the environment is not on aws", "cloud.aws, or no such key"),
            "registry.promotion.gcp.shared_with[0]": ("of the environment's own project", "another"),
            "registry.promotion.gcp.source.project": ("the environment's own project", "another"),
        },
    ),
]


@pytest.mark.parametrize(("stack", "registry", "expected"), CASES)
def test_bad_input_says_what_would_be_right(
    stack: str, registry: dict[str, Any], expected: dict[str, tuple[str, str]]
) -> None:
    assert wrong(described(stack, **registry)) == expected


COPIES = {"ghcr.io": "111111111111.dkr.ecr.us-west-2.amazonaws.com/copies/ghcr"}


def closed(environment: Environment) -> Environment:
    """The same environment with no way out of its network."""
    return environment.model_copy(update={"network": environment.network.model_copy(update={"egress": "deny"})})


def without(environment: Environment, **pools: Any) -> Environment:
    """The same environment with other pools."""
    return environment.model_copy(update={"training": environment.training.model_copy(update={"pools": pools})})


def test_signatures_are_not_said_to_be_enforced_where_nothing_verifies_them() -> None:
    [(key, (said, right))] = wrong(described("dev", signatures="enforce")).items()
    assert key == "registry.copies.ghcr.io"
    assert "ghcr.io, which no mirror reads" in said
    assert "docs/training.md, Signatures on EKS" in right
    assert right.endswith("or registry.signatures: audit")
    in_prod = described("dev", signatures="enforce").model_copy(update={"tier": "prod"})
    assert wrong(in_prod)[key][1].endswith("with a waiver of rule prod-signatures")
    assert not wrong(described("dev", signatures="enforce", copies=COPIES))
    assert not wrong(described("dev", signatures="audit"))


def test_who_has_no_cluster_of_eks_needs_no_verifier_there() -> None:
    assert not wrong(described("dev-gcp", signatures="enforce"))
    enforced = described("dev", signatures="enforce")
    assert not wrong(without(enforced))
    batch = {name: pool.model_copy(update={"scheduler": "batch"}) for name, pool in enforced.training.pools.items()}
    assert not wrong(without(enforced, **batch))


def test_what_no_mirror_reads_is_copied_where_the_network_is_closed() -> None:
    shut = closed(described("dev"))
    assert list(wrong(shut)) == ["registry.copies.nvcr.io"]
    assert not wrong(closed(described("dev", copies={"nvcr.io": "mirror.example.com/nvcr"})))
    plain = next(iter(shut.training.pools.values()))
    trainium = Accelerated(type="aws-trainium", per_node=16)
    assert not wrong(without(shut, chips=plain.model_copy(update={"accelerator": trainium})))


def test_a_persona_that_cannot_sign_in_approves_nothing() -> None:
    environment = described("dev-gcp", models={"fraud": {}}, approvers=["ml-engineer"])
    access = {"ml-engineer": environment.identity.personas["ml-engineer"].model_copy(update={"group": None})}
    alone = environment.identity.model_copy(update={"personas": environment.identity.personas | access})
    assert list(wrong(environment.model_copy(update={"identity": alone}))) == ["registry.approvers"]


def test_a_prefix_with_two_hyphens_makes_no_repository_on_aws() -> None:
    environment = described("dev")
    company = environment.company.model_copy(update={"prefix": "acme--ai"})
    found = wrong(environment.model_copy(update={"company": company}))
    assert found == {
        "registry.images": ("repositories begin with acme--ai-dev, with two hyphens in a row", "single hyphens")
    }


SHAPES: list[tuple[dict[str, Any], str]] = [
    ({"models": {"Fraud": {}}}, "registry.models.Fraud"),
    ({"images": {"a": {"keep": 0}}}, "registry.images.a.keep"),
    ({"images": {"a": {"mutable": True}}}, "registry.images.a.mutable"),
    ({"mirrors": ["example.com"]}, "registry.mirrors[0]"),
    ({"signatures": "off"}, "registry.signatures"),
    ({"approvers": ["everybody"]}, "registry.approvers[0]"),
    ({"promotion": {"aws": {"shared_with": ["12345"]}}}, "registry.promotion.aws.shared_with[0]"),
    ({"promotion": {"gcp": {"shared_with": ["allUsers"]}}}, "registry.promotion.gcp.shared_with[0]"),
    ({"promotion": {"gcp": {"source": {"project": "acme-ai-lab"}}}}, "registry.promotion.gcp.source.environment"),
]


@pytest.mark.parametrize(("registry", "key"), SHAPES)
def test_what_has_no_shape_is_named_by_its_key(project: Path, registry: dict[str, Any], key: str) -> None:
    change(project, "dev", registry=registry)
    assert key in problems(project, "dev")


def test_what_one_cloud_mirrors_the_other_mirrors_too() -> None:
    assert set(MIRRORED["aws"]) <= set(MIRRORED["gcp"])
