"""Each stack consists of what its inventory says."""

import difflib
from collections.abc import Callable

import pytest

from policies.model import Graph
from preview.replaced import REPLACED_BY
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


@pytest.mark.parametrize("stack", STACKS)
def test_of_every_type_it_is_known_what_replaces_it(graphs: Callable[..., Graph], stack: str):
    """What is in no table would be shown as an update, whatever becomes of it. Look its provider's schema up."""
    clouds = {r.type for r in graphs(stack).resources.values() if r.custom and r.type.startswith(("aws:", "gcp:"))}
    assert not clouds - set(REPLACED_BY)
