"""The root of the tree: one child a cloud. A cloud's code is imported only where the environment runs on it."""

from importlib import import_module

import pulumi

from components.scope import PROJECT
from components.spec.environment import Environment
from components.spec.volumes import volumes


class Platform(pulumi.ComponentResource):
    """One isolated environment on every cloud that its description names.

    Owns nothing itself. Its input is what the description says of volumes, for the preview's price.
    `outputs` maps each cloud to what it hands out: names, addresses, identities; no secret.
    """

    def __init__(self, environment: Environment) -> None:
        """Build the environment."""
        super().__init__(f"{PROJECT}:Platform", environment.name, {"volumes": volumes(environment)})
        self.outputs = {
            cloud: import_module(f"components.{cloud}.environment").build(environment, parent=self).exports()
            for cloud in environment.cloud.names
        }
        self.register_outputs(self.outputs)
