"""A project of its own under a temporary folder: the real engine, a program of a few lines."""

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from tests import tracing

PULUMI = """
name: ai-platform
runtime: python
stackConfigDir: stacks
"""
PLATFORM = """
company: {prefix: acme, owner: ml@example.com}
teams: {}
identity:
  personas:
    auditor: {permission_set: Auditor, group: auditors@example.com}
delivery:
  github: {repository: acme/ai-platform}
"""
AWS_STACK = """
config:
  pulumi:disable-default-providers: ["*"]
  ai-platform:tier: dev
  ai-platform:cloud: {aws: {account: "111111111111", region: us-west-2}}
  ai-platform:network: {cidr: 10.16.0.0/16}
  ai-platform:budget: {monthly_usd: 1500, notify: [ml-platform@example.com]}
"""
GCP_STACK = """
config:
  pulumi:disable-default-providers: ["*"]
  ai-platform:tier: dev
  ai-platform:cloud:
    gcp: {project: acme-ai-dev, number: "333333333333", region: us-central1, billing_account: 01ABCD-23EF45-6789AB}
  ai-platform:network: {cidr: 10.32.0.0/16}
  ai-platform:budget: {monthly_usd: 1500, notify: [ml-platform@example.com]}
"""

Project = Callable[..., Path]


@pytest.fixture(autouse=True)
def _all_is_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recorder itself is what these tests are about."""
    for owner, name, value in tracing.WHOLE:
        monkeypatch.setattr(owner, name, value)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Write a project with this `__main__.py` (and these further files) and return its folder."""

    def build(main: str, **files: str) -> Path:
        root = tmp_path / "project"
        (root / "stacks").mkdir(parents=True, exist_ok=True)
        texts = {
            "Pulumi.yaml": PULUMI,
            "stacks/platform.yaml": PLATFORM,
            "stacks/Pulumi.dev.yaml": AWS_STACK,
            "stacks/Pulumi.dev-gcp.yaml": GCP_STACK,
            "__main__.py": main,
            **files,
        }
        for name, text in texts.items():
            (root / name).write_text(dedent(text), encoding="utf-8")
        return root

    return build
