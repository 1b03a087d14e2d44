"""Where experiments are recorded: TensorBoard and experiments of Vertex AI."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.contracts import Text
from components.core.google import nth
from components.core.naming import Names
from components.scope import Component, Scope, after

_API = "aiplatform.googleapis.com"
# What it takes to record an experiment and to look at it; nothing is deleted, and no job started. Source: IAM "Vertex AI
# permissions", by method.
_RECORD = (
    "aiplatform.artifacts.create", "aiplatform.artifacts.get", "aiplatform.artifacts.list", "aiplatform.artifacts.update",
    "aiplatform.contexts.addContextArtifactsAndExecutions", "aiplatform.contexts.addContextChildren",
    "aiplatform.contexts.create", "aiplatform.contexts.get", "aiplatform.contexts.list",
    "aiplatform.contexts.queryContextLineageSubgraph", "aiplatform.contexts.update",
    "aiplatform.executions.addExecutionEvents", "aiplatform.executions.create", "aiplatform.executions.get",
    "aiplatform.executions.list", "aiplatform.executions.queryExecutionInputsAndOutputs", "aiplatform.executions.update",
    "aiplatform.metadataSchemas.get", "aiplatform.metadataSchemas.list", "aiplatform.metadataStores.get",
    "aiplatform.metadataStores.list", "aiplatform.tensorboardExperiments.create", "aiplatform.tensorboardExperiments.get",
    "aiplatform.tensorboardExperiments.list", "aiplatform.tensorboardExperiments.update",
    "aiplatform.tensorboardExperiments.write", "aiplatform.tensorboardRuns.batchCreate", "aiplatform.tensorboardRuns.create",
    "aiplatform.tensorboardRuns.get", "aiplatform.tensorboardRuns.list", "aiplatform.tensorboardRuns.update",
    "aiplatform.tensorboardRuns.write", "aiplatform.tensorboardTimeSeries.batchCreate",
    "aiplatform.tensorboardTimeSeries.batchRead", "aiplatform.tensorboardTimeSeries.create",
    "aiplatform.tensorboardTimeSeries.get", "aiplatform.tensorboardTimeSeries.list", "aiplatform.tensorboardTimeSeries.read",
    "aiplatform.tensorboardTimeSeries.update", "aiplatform.tensorboards.get", "aiplatform.tensorboards.list",
    "resourcemanager.projects.get",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TrackingArgs:
    """What it stands on."""

    apis: Mapping[str, contracts.Text]
    key: contracts.Key
    groups: Mapping[str, str]
    """Personas that record experiments, each with the address of its group."""
    generation: int
    """Which life of the environment this is: the id of a custom role is free again after weeks only."""


class Tracking(Component):
    """A TensorBoard and the store of experiments of Vertex AI, encrypted with our key.

    Owns both, the role that it takes to record, and that role's grant to people. Never owns what is recorded, nor the grant to a
    workload: whoever records brings `record` into its own identity. The role holds for all experiments of the project.

    Costs 10 USD a month for each GiB that TensorBoard holds (Vertex AI pricing, 2024); the store of experiments is billed with
    10 USD a GiB as well. A destroy takes all that was recorded; in a tier that protects data it is refused.

    >>> role_id(Names("acme-ai", "dev"), 1)
    'acme_ai_dev_experimenter'
    """

    outputs: contracts.Tracking
    record: Text
    """Role that an identity needs on the project to record experiments and to look at them."""

    def __init__(self, name: str, args: TrackingArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the TensorBoard, the store and the role."""
        super().__init__(name, scope, parent)
        board = gcp.vertex.AiTensorboard(
            f"{name}-board",
            display_name=scope.names.of(name),
            description=f"Experiments of {scope.environment}.",
            project=args.apis[_API],
            region=scope.region,
            encryption_spec={"kms_key_name": args.key.id or ""},
            opts=self.options(holds_data=True),
        )
        store = gcp.vertex.AiMetadataStore(
            f"{name}-store",
            # The one that experiments go to; Vertex AI would make it by itself, and without our key.
            name="default",
            description=f"Experiments of {scope.environment}.",
            project=args.apis[_API],
            region=scope.region,
            encryption_spec={"kms_key_name": args.key.id},
            opts=self.options(holds_data=True),
        )
        role = gcp.projects.IAMCustomRole(
            f"{name}-role",
            role_id=role_id(scope.names, args.generation),
            title="Experimenter",
            description="Records experiments, and looks at them.",
            permissions=list(_RECORD),
            project=args.apis["iam.googleapis.com"],
            opts=self.options(),
        )
        grants = [
            gcp.projects.IAMMember(
                f"{name}-{persona}",
                project=args.apis["cloudresourcemanager.googleapis.com"],
                role=role.name,
                member=f"group:{group}",
                opts=self.options(),
            )
            for persona, group in args.groups.items()
        ]
        self.record = role.name
        self.outputs = contracts.Tracking(uri=after(board.id, store, *grants))
        self.finish(self.outputs)


def role_id(names: Names, generation: int) -> str:
    """Id of the custom role."""
    return names.of(nth("experimenter", generation), "custom_role").replace("-", "_")
