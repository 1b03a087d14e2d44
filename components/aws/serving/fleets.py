"""What an account has once for all devices: their index, their log, and what happens to their jobs."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components import contracts
from components.aws.blocks.workload import Workload, WorkloadArgs
from components.core import iam
from components.scope import Component, Scope, after

_LOG = "AWSIotLogsV2"
"""Where IoT writes, whatever it is told ("Configure AWS IoT logging")."""
# What a device runs, as it says itself: the shadow that IoT keeps for it ("Preparing fleet indexing", software packages).
_PACKAGES = "$package"


@dataclass(frozen=True, kw_only=True)
class FleetsArgs:
    """What it is encrypted with."""

    logs_key: contracts.Key
    boundary: contracts.Boundary


class Fleets(Component):
    """Settings of IoT that an account and region have once, where an environment has devices.

    Devices can be found by what they are, whether they are connected and what they run; errors go to a log group of ours; and
    each job of a device that ends is an event, which `Edge` counts.

    Owns these settings, the log group and the role that writes to it. Never owns a device or a group of them. Costs 2.25 USD for
    a million updates of the index, 0.50 a GB of logs (us-east-1, 2026-09). A destroy takes the group and turns the rest off.

    >>> args = FleetsArgs(logs_key=key, boundary=boundary)
    >>> arn = Fleets("fleets", args, scope=scope, parent=parent).outputs.id
    """

    outputs: contracts.LogGroup

    def __init__(self, name: str, args: FleetsArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the log group, and then what writes to it."""
        super().__init__(name, scope, parent)
        group = aws.cloudwatch.LogGroup(
            f"{name}-log",
            name=_LOG,
            retention_in_days=scope.log_days,
            kms_key_id=args.logs_key.id,
            opts=self.options(),
        )
        # As text: so a first preview knows what waits for it.
        arn = f"arn:aws:logs:{scope.region}:{scope.account}:log-group:{_LOG}"
        writes = iam.allow(
            ["logs:CreateLogStream", "logs:PutLogEvents"],
            [f"{arn}:*"],
        )
        writer = Workload(
            f"{name}-log",
            WorkloadArgs(
                description="IoT writes its errors.",
                service="iot.amazonaws.com",
                statements=[writes],
                boundary=args.boundary,
            ),
            scope=scope,
            parent=self,
        ).outputs.id
        made = [
            aws.iot.LoggingOptions(
                f"{name}-logging",
                default_log_level="ERROR",
                role_arn=writer,
                opts=self.options(depends_on=[group]),
            ),
            aws.iot.IndexingConfiguration(
                f"{name}-index",
                thing_indexing_configuration={
                    "thing_indexing_mode": "REGISTRY",
                    "thing_connectivity_indexing_mode": "STATUS",
                    "named_shadow_indexing_mode": "ON",
                    "filter": {"named_shadow_names": [_PACKAGES]},
                },
                thing_group_indexing_configuration={"thing_group_indexing_mode": "ON"},
                # What IoT indexes by itself, it writes back.
                opts=self.options(
                    ignore_changes=[
                        "thingIndexingConfiguration.managedFields",
                        "thingGroupIndexingConfiguration.managedFields",
                    ]
                ),
            ),
            aws.iot.EventConfigurations(
                f"{name}-events", event_configurations={"JOB": True, "JOB_EXECUTION": True}, opts=self.options()
            ),
        ]
        self.outputs = contracts.LogGroup(id=after(pulumi.Output.from_input(arn), group, *made))
        self.finish(self.outputs)
