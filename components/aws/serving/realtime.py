"""Endpoints on machines that are always there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi

from components import contracts
from components.aws.blocks.endpoint import Capture, Endpoint, EndpointArgs, Scaling
from components.aws.blocks.hosting import Hosting, HostingArgs, Place, Served
from components.contracts import Text, Zone
from components.core import hosting
from components.core.accelerators import Machine
from components.scope import Component, Scope
from components.spec import serving
from components.spec.endpoints import Alarm, requests_per_second
from components.spec.releases import Shadow


@dataclass(frozen=True, kw_only=True)
class RealTimeArgs:
    """What one endpoint is."""

    spec: serving.RealTime
    machine: Machine
    model: Served
    shadow: Served | None = None
    """What answers in the shadow, where its release is one."""
    capture: Zone | None = None
    """Where requests and answers are kept, where any are."""
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


class RealTime(Component):
    """A model on machines that are always there, as many as requests need and never more than its maximum.

    Autoscaling counts requests a minute, or requests at once, by the target of its scale. What is captured goes to
    `capture/{endpoint}/`, under the key of its zone. See `Endpoint` for how a version takes over from another, and `Hosting`
    for what it may do.

    Owns the endpoint with its models. Never owns a gateway, a bucket or an image. Costs its machines, day and night
    (ml.m5.xlarge 0.23 USD an hour, us-west-2, 2026-09), twice that while a release is watched. A destroy takes it.

    >>> from components.core.accelerators import machine
    >>> from components.spec.endpoints import alarms
    >>> spec = serving.RealTime.model_validate({
    ...     "kind": "realtime", "team": "risk", "model": {"image": "serving:1.0"}, "scale": {"min": 2, "max": 10},
    ...     "objective": {"p95_ms": 200, "requests_per_month": 1_000_000},
    ... })
    >>> model = Served(
    ...     content={"image": "serving:1.0"}, version="serving:1.0",
    ...     image="111111111111.dkr.ecr.us-west-2.amazonaws.com/acme-ai-dev-serving:1.0",
    ... )
    >>> args = RealTimeArgs(
    ...     spec=spec, machine=machine("aws", "m7i.xlarge"), model=model, alarms=alarms(spec), network=network,
    ...     compute_key=key, logs_key=key, boundary=boundary,
    ... )
    >>> address = RealTime("fraud-score", args, scope=scope, parent=parent).outputs.address
    """

    outputs: contracts.Endpoint

    def __init__(self, name: str, args: RealTimeArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the models and the endpoint."""
        super().__init__(name, scope, parent)
        spec, release = args.spec, args.spec.release
        physical = scope.names.of(name, "endpoint")
        models = {hosting.VARIANT: args.model}
        if isinstance(release, Shadow) and args.shadow:
            models[hosting.SHADOW] = args.shadow
        capture = None
        if args.capture and spec.capture_percent:
            place = Place(zone=args.capture, path=f"capture/{name}/", use="write")
            capture = Capture(place=place, percent=spec.capture_percent)
        rollout = hosting.rollout(release)
        run = Hosting(
            f"{name}-hosting",
            HostingArgs(
                models=models,
                kind="machines",
                log_group=f"{hosting.HOSTS}/{physical}",
                places=[capture.place] if capture else [],
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
                content={variant: model.content for variant, model in models.items()},
                version=args.model.version,
                machine=args.machine,
                shadow_percent=release.percent if isinstance(release, Shadow) else 100,
                scaling=scaling(spec),
                rollout=rollout,
                capture=capture,
                key=args.compute_key,
                alarms=hosting.alarms(
                    hosting.Watched(
                        name=name,
                        physical=physical,
                        kind="realtime",
                        bounds=args.alarms,
                        machine=args.machine,
                        fixed=spec.scale.min == spec.scale.max,
                        signs=rollout.signs,
                    )
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


def scaling(spec: serving.RealTime) -> Scaling:
    """Its scale as Application Auto Scaling takes it, by requests a minute or by requests at once.

    >>> made = serving.RealTime.model_validate({
    ...     "kind": "realtime", "team": "risk", "model": {"image": "serving:1.0"},
    ...     "scale": {"min": 2, "max": 10, "target": {"requests_per_second": 50}},
    ...     "objective": {"p95_ms": 200, "requests_per_month": 500_000_000},
    ... })
    >>> scaling(made).value, scaling(made).first
    (3000.0, 4)
    """
    target, rate = spec.scale.target, requests_per_second(spec)
    if target.requests_per_second is not None:
        metric, value = "SageMakerVariantInvocationsPerInstance", target.requests_per_second * 60
        expected = rate / target.requests_per_second
    else:
        value = float(target.concurrency or 1)
        metric = "SageMakerVariantConcurrentRequestsPerModelHighResolution"
        # As many are at once as arrive while one is answered.
        expected = rate * spec.objective.p95_ms / 1000 / value
    return Scaling(
        minimum=spec.scale.min,
        maximum=spec.scale.max,
        first=hosting.first_count(spec.scale.min, spec.scale.max, expected, spec.release.strategy),
        metric=metric,
        predefined=True,
        value=value,
    )
