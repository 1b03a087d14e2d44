"""Endpoints whose instances come with requests, and go without."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi

from components import contracts
from components.aws.blocks.endpoint import Endpoint, EndpointArgs, OnDemand
from components.aws.blocks.hosting import Hosting, HostingArgs, Served
from components.contracts import Text
from components.core import hosting
from components.scope import Component, Scope
from components.spec import serving
from components.spec.endpoints import Alarm

_MB = 1024


@dataclass(frozen=True, kw_only=True)
class ServerlessArgs:
    """What one endpoint is."""

    spec: serving.Serverless
    model: Served
    alarms: Mapping[str, Alarm]
    """By sign, `components.spec.endpoints.alarms`."""
    network: contracts.Network
    compute_key: contracts.Key
    logs_key: contracts.Key
    boundary: contracts.Boundary
    critical: Sequence[Text] = ()
    warning: Sequence[Text] = ()
    team: Sequence[Text] = ()
    """Topics of the team that owns it."""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class Serverless(Component):
    """A model without machines of its own: nothing is paid for while nothing is asked, and the first request waits for a start.

    What is above its concurrency is refused. It is in no network of ours, keeps no requests, and its releases are not watched:
    SageMaker has none of these for it ("Serverless Inference", exclusions). A new version takes over at once, and the way back
    is the former version in the description.

    Owns the endpoint with its model. Never owns a gateway or an image. Costs 0.00002 USD for a second of an answer and a GB of
    memory (us-east-1, 2026-09), and what is kept warm all the time. A destroy takes it.

    >>> from components.spec.endpoints import alarms
    >>> spec = serving.Serverless.model_validate({
    ...     "kind": "serverless", "team": "risk", "model": {"image": "serving:1.0"}, "concurrency": {"max": 10},
    ...     "objective": {"p95_ms": 5000, "requests_per_month": 1000},
    ... })
    >>> model = Served(
    ...     content={"image": "serving:1.0"}, version="serving:1.0",
    ...     image="111111111111.dkr.ecr.us-west-2.amazonaws.com/acme-ai-dev-serving:1.0",
    ... )
    >>> args = ServerlessArgs(
    ...     spec=spec, model=model, alarms=alarms(spec), network=network, compute_key=key, logs_key=key, boundary=boundary
    ... )
    >>> address = Serverless("fraud-rare", args, scope=scope, parent=parent).outputs.address
    """

    outputs: contracts.Endpoint

    def __init__(self, name: str, args: ServerlessArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the model and the endpoint."""
        super().__init__(name, scope, parent)
        spec, physical = args.spec, scope.names.of(name, "endpoint")
        run = Hosting(
            f"{name}-hosting",
            HostingArgs(
                models={hosting.VARIANT: args.model},
                kind="serverless",
                log_group=f"{hosting.HOSTS}/{physical}",
                network=args.network,
                key=args.compute_key,
                logs_key=args.logs_key,
                boundary=args.boundary,
                tags=args.tags,
            ),
            scope=scope,
            parent=self,
        ).outputs
        made = Endpoint(
            name,
            EndpointArgs(
                models=run.models,
                content={hosting.VARIANT: args.model.content},
                version=args.model.version,
                on_demand=OnDemand(
                    memory_mb=spec.memory_gib * _MB, most=spec.concurrency.max, warm=spec.concurrency.warm
                ),
                key=args.compute_key,
                alarms=hosting.alarms(
                    hosting.Watched(name=name, physical=physical, kind="serverless", bounds=args.alarms)
                ),
                kind=spec.kind,
                owner=spec.team,
                critical=args.critical,
                warning=args.warning,
                team=args.team,
                callers=spec.callers,
                network=args.network,
                tags=args.tags,
            ),
            scope=scope,
            parent=self,
        ).outputs
        self.outputs = contracts.Endpoint(id=made.id, address=made.address, version=made.version, row=made.row)
        self.finish(self.outputs)
