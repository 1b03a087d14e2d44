"""Each stack consists of what its inventory says."""

import difflib

import pytest

from tests import inventory
from tests.conftest import STACKS


@pytest.mark.parametrize("stack", STACKS)
def test_a_stack_is_what_its_inventory_says(stack: str):
    expected, actual = inventory.path(stack).read_text(), inventory.text(stack)
    difference = "\n".join(
        difflib.unified_diff(expected.splitlines(), actual.splitlines(), "inventory", "built", lineterm="", n=2)
    )
    assert not difference, (
        f"{stack} is not what its inventory says; if it should be, run `make inventories`.\n{difference}"
    )


def test_every_stack_has_an_inventory_and_no_other():
    assert {p.stem for p in inventory.DIRECTORY.glob("*.yaml")} == set(STACKS)
