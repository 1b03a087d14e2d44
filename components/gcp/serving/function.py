"""Functions behind an API."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi

from components import contracts
from components.contracts import Text
from components.core import cloud_run
from components.core.watching import bounded
from components.gcp.blocks.cloud_run import CloudRun, CloudRunArgs, Size, instances
from components.gcp.blocks.rollout import Platform
from components.scope import Component, Scope
from components.spec import serving
from components.spec.endpoints import Alarm as Sign

_AT_ONCE = 1
"""As a function of AWS: an instance for each request, so that `concurrency` means the same on both clouds."""


@dataclass(frozen=True, kw_only=True)
class FunctionArgs:
    """One endpoint, and what it stands on."""

    spec: serving.Function
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


class Function(Component):
    """A function: a container on Cloud Run that works on one request at a time, behind the load balancer and nowhere else.

    A function of Cloud Run that is built from source is a service of Cloud Run in the end, built by the cloud; this one is
    built, scanned and signed as every other image. Owns a service of Cloud Run with all that belongs to it (`CloudRun`).
    Never owns the image, the model or the load balancer.

    Costs what its instances cost while they work, and those that are warm at any time (see `CloudRun`). A destroy takes it.

    >>> instances(20, _AT_ONCE)
    20
    """

    outputs: contracts.Endpoint

    def __init__(self, name: str, args: FunctionArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the service."""
        super().__init__(name, scope, parent)
        spec = args.spec
        cpu, memory = cloud_run.size(1, spec.memory_gib)
        most = instances(spec.concurrency.max, _AT_ONCE)
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
                    at_once=_AT_ONCE,
                    least=spec.concurrency.warm,
                    most=most,
                ),
                timeout_seconds=spec.timeout_seconds,
                callers=args.callers,
                fronted=True,
                audiences=args.audiences,
                release=spec.release,
                kind=spec.kind,
                owner=spec.team,
                signs=bounded(args.signs, most),
                team=args.team,
                tags=args.tags,
            ),
            scope=scope,
            parent=self,
        ).outputs
        self.outputs = contracts.Endpoint(id=made.id, address=made.address, version=made.version, row=made.row)
        self.finish(self.outputs)
