"""Every example in a docstring of the Google side is run."""

import doctest
from importlib import import_module

import pytest

from tests.conftest import ROOT
from tests.house.test_layout import CONTENTS

FILES = [path for path in (ROOT / "components" / "gcp").rglob("*.py") if path.name not in {"__init__.py", *CONTENTS}]
CORE = ["google", "calendar", "permissions"]
MODULES = sorted(".".join(path.relative_to(ROOT).with_suffix("").parts) for path in FILES)


@pytest.mark.parametrize("module", [*MODULES, *(f"components.core.{name}" for name in CORE)])
def test_examples(module: str):
    result = doctest.testmod(import_module(module))
    assert result.attempted >= 1
    assert result.failed == 0
