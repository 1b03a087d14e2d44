"""For every rule, graphs that it must catch and graphs that it must pass; a module for each file of rules."""

from importlib import import_module

from policies.registry import CONCERNS
from tests.policies.build import Case

CASES: list[Case] = [case for name in CONCERNS for case in import_module(f"tests.policies.cases.{name}").CASES]
