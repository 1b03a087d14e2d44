"""The program that Pulumi runs: load the description of the stack, build it, export what people and programs need."""

import sys
from pathlib import Path

import pulumi
from pulumi.runtime.config import CONFIG, get_config_env

ROOT = Path(__file__).resolve().parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from components.platform import Platform  # noqa: E402 - the root has to be importable first
from components.spec.load import load  # noqa: E402
from components.spec.problems import SpecError  # noqa: E402

try:
    environment = load(ROOT, pulumi.get_stack(), config={**get_config_env(), **CONFIG.get()})
except SpecError as error:
    raise pulumi.RunError(error.report()) from None

for name, value in Platform(environment).outputs.items():
    pulumi.export(name, value)
