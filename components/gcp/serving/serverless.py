"""Endpoints whose instances come with requests, and go without."""

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
from components.spec.models import Container

_AT_ONCE = 8
"""Requests that an instance works on at once: the server puts those that wait together into one call of the model."""
_TIMEOUT_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class ServerlessArgs:
    """One endpoint, and what it stands on."""

    spec: serving.Serverless
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


class Serverless(Component):
    """A model on Cloud Run: none of its instances is there without requests, unless some are kept warm.

    Owns a service of Cloud Run with all that belongs to it (`CloudRun`). Never owns the image or the model.

    Costs what its instances cost while they work, and those that are warm at any time (see `CloudRun`). A destroy takes it.

    >>> instances(20, _AT_ONCE)
    3
    """

    outputs: contracts.Endpoint

    def __init__(self, name: str, args: ServerlessArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the service."""
        super().__init__(name, scope, parent)
        spec = args.spec
        if not isinstance(spec.model, Container):
            raise TypeError(f"{name}: Cloud Run reads no package of the registry")
        cpu, memory = cloud_run.size(spec.cpu, spec.memory_gib, gpu=spec.accelerator != "none")
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
                    accelerator=spec.accelerator,
                    at_once=min(_AT_ONCE, spec.concurrency.max),
                    least=min(spec.concurrency.warm, most),
                    most=most,
                ),
                timeout_seconds=_TIMEOUT_SECONDS,
                callers=args.callers,
                fronted=spec.api is not None,
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
