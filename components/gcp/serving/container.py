"""Services of containers behind TLS."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi

from components import contracts
from components.contracts import Text
from components.core import cloud_run
from components.gcp.blocks.cloud_run import CloudRun, CloudRunArgs, Size
from components.gcp.blocks.rollout import Platform
from components.scope import Component, Scope
from components.spec import serving
from components.spec.endpoints import Alarm as Sign

_TIMEOUT_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class ContainerArgs:
    """One endpoint, and what it stands on."""

    spec: serving.Container
    image: pulumi.Input[str]
    """Address of the image of its model."""
    cache: contracts.Entry | None = None
    """Of its answers, where it may use one."""
    platform: Platform
    signs: Mapping[str, Sign]
    """What is watched, by sign."""
    callers: Mapping[str, pulumi.Input[str]] = field(default_factory=dict[str, pulumi.Input[str]])
    audiences: Sequence[str] = ()
    team: Sequence[Text] = ()
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class Container(Component):
    """A container on Cloud Run, with as many instances as the description says, behind the load balancer and nowhere else.

    Owns a service of Cloud Run with all that belongs to it (`CloudRun`). Never owns the image, the model or the load balancer.

    Costs what its instances cost while they work, and those that are always there (see `CloudRun`). A destroy takes it.

    >>> cloud_run.size(2, 4)
    (2, 4)
    """

    outputs: contracts.Endpoint

    def __init__(self, name: str, args: ContainerArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the service."""
        super().__init__(name, scope, parent)
        spec = args.spec
        compute, scale = spec.compute, spec.scale
        cpu, memory = cloud_run.size(compute.cpu, compute.memory_gib, gpu=compute.accelerator != "none")
        made = CloudRun(
            f"{name}-run",
            CloudRunArgs(
                platform=args.platform,
                endpoint=name,
                model=spec.model,
                image=args.image,
                cache=args.cache,
                size=Size(
                    cpu=cpu,
                    memory_gib=memory,
                    accelerator=compute.accelerator,
                    at_once=cloud_run.at_once(scale.target, spec.objective),
                    least=scale.min,
                    most=scale.max,
                ),
                timeout_seconds=_TIMEOUT_SECONDS,
                port=spec.port,
                health=spec.health,
                callers=args.callers,
                fronted=True,
                audiences=args.audiences,
                release=spec.release,
                kind=spec.kind,
                owner=spec.team,
                signs=args.signs,
                team=args.team,
                tags=args.tags,
            ),
            scope=scope,
            parent=self,
        ).outputs
        self.outputs = contracts.Endpoint(id=made.id, address=made.address, version=made.version, row=made.row)
        self.finish(self.outputs)
