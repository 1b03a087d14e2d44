"""What the endpoints of a description come to on a cloud: machines, how many of them, and what their objectives mean.

Pure, and the same for both clouds, so that what is checked is what is built.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from components.core import sagemaker, vertex
from components.core.accelerators import MACHINES, Machine, machine, machines
from components.spec.environment import Environment
from components.spec.releases import BlueGreen, Canary, Shadow
from components.spec.section import CloudName
from components.spec.serving import (
    AnyEndpoint,
    Async,
    Compute,
    Container,
    Function,
    LanguageObjective,
    Llm,
    Objective,
    QueueObjective,
    RealTime,
    Serverless,
    live,
)

SECONDS_A_MONTH = 30 * 24 * 3600


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """A bound that follows from an objective."""

    sign: str
    """`p95_latency`, `error_rate`, `saturation`, `ceiling`, `waiting` or `throttled`."""
    above: float
    """ms, percent, percent of the capacity, instances, seconds or requests."""
    minutes: int
    """How long before somebody is told."""


def answering(environment: Environment, cloud: CloudName) -> dict[str, AnyEndpoint]:
    """The endpoints that are deployed on a cloud, by name, sorted: the order of the description means nothing."""
    here = environment.here(environment.serving.endpoints, cloud)
    return {name: endpoint for name, endpoint in sorted(here.items()) if live(endpoint)}


def where(endpoint: AnyEndpoint) -> str:
    """What runs an endpoint: `managed` by the cloud, or `kubernetes`."""
    match endpoint:
        case RealTime(server=server) | Container(server=server):
            return server
        case Llm(pool=pool):
            return "kubernetes" if pool else "managed"
        case _:
            return "kubernetes" if getattr(endpoint, "queue", None) else "managed"


def fitting(compute: Compute, cloud: CloudName, region: str, use: sagemaker.Use = "hosting") -> Machine | None:
    """The machine of an instance: the one that is named, else the smallest that has what is asked for and is offered.

    On AWS a run over many records has a `use` of its own, `transform`.

    >>> found = fitting(Compute(cpu=4, memory_gib=16), "aws", "us-west-2")
    >>> found.type if found else None
    'm6i.xlarge'
    """
    wanted = (compute.accelerator, compute.per_machine) if compute.accelerator != "none" else ()
    if compute.machine is not None:
        named = machine(cloud, compute.machine, *wanted)
        known: tuple[Machine, ...] = (named,) if named else ()
    elif wanted:
        known = machines(cloud, *wanted, region)
    else:
        plain = [m for m in MACHINES if m.cloud == cloud and not m.accelerator]
        known = tuple(sorted(plain, key=lambda m: (m.vcpus, m.memory_gib, m.type)))
    return next(
        (m for m in known if m.vcpus >= compute.cpu and m.memory_gib >= compute.memory_gib and hosted(m, use)), None
    )


def hosted(found: Machine, use: sagemaker.Use) -> bool:
    """Whether the cloud's own service, SageMaker or Vertex AI, answers on a machine."""
    return sagemaker.offered(found, use) if found.cloud == "aws" else vertex.offered(found)


def instances(endpoint: AnyEndpoint) -> int:
    """Instances at most, with those of a release that is on its way.

    A fleet of the same size stands beside the old one while a release is watched; in a cluster one instance at a time comes
    before an old one goes, but for two colours.
    """
    scale = getattr(endpoint, "scale", None)
    if scale is None:
        return int(getattr(endpoint, "machines", 0))
    match getattr(endpoint, "release", None):
        case Shadow():
            return 2 * scale.max
        case None:
            return scale.max
        case BlueGreen():
            return 2 * scale.max
        case _:
            return scale.max + 1 if where(endpoint) == "kubernetes" else 2 * scale.max


def alarms(endpoint: AnyEndpoint) -> dict[str, Alarm]:
    """What is watched, by sign: all of it follows from the objective and from the scale.

    >>> from components.spec.serving import Function
    >>> made = Function.model_validate({"kind": "function", "team": "risk", "model": {"image": "a:1"},
    ...     "concurrency": {"max": 10}, "objective": {"p95_ms": 200, "requests_per_month": 1000}, "api": {"throttle_rps": 5}})
    >>> {sign: alarm.above for sign, alarm in alarms(made).items()}
    {'p95_latency': 200, 'error_rate': 0.5, 'saturation': 80, 'ceiling': 10}
    """
    found: list[Alarm] = []
    match getattr(endpoint, "objective", None):
        case Objective(p95_ms=p95, availability_percent=availability):
            found.append(Alarm(sign="p95_latency", above=p95, minutes=5))
            found.append(Alarm(sign="error_rate", above=round(100 - availability, 4), minutes=5))
        case LanguageObjective(first_token_p95_ms=p95, availability_percent=availability):
            found.append(Alarm(sign="p95_latency", above=p95, minutes=5))
            found.append(Alarm(sign="error_rate", above=round(100 - availability, 4), minutes=5))
        case QueueObjective(max_wait_minutes=wait, availability_percent=availability):
            found.append(Alarm(sign="waiting", above=wait * 60, minutes=5))
            found.append(Alarm(sign="error_rate", above=round(100 - availability, 4), minutes=5))
        case _:
            pass
    match endpoint:
        case RealTime() | Container() | Async():
            found.append(Alarm(sign="saturation", above=80, minutes=15))
            found.append(Alarm(sign="ceiling", above=endpoint.scale.max, minutes=15))
        case Serverless() | Function():
            found.append(Alarm(sign="saturation", above=80, minutes=15))
            found.append(Alarm(sign="ceiling", above=endpoint.concurrency.max, minutes=15))
        case Llm(tokens_per_minute=tokens, pool=pool):
            if pool:
                found.append(Alarm(sign="saturation", above=80, minutes=15))
            found.append(Alarm(sign="ceiling", above=tokens, minutes=5))
        case _:
            pass
    return {alarm.sign: alarm for alarm in found}


def stepwise(endpoint: AnyEndpoint) -> BlueGreen | Canary | None:
    """The release of an endpoint in a cluster whose versions take over step by step: its pods are then a rollout's.

    >>> from components.spec.serving import Function
    >>> stepwise(Function.model_construct(release=Canary(strategy="canary"))) is None
    True
    """
    if not isinstance(endpoint, RealTime | Container) or where(endpoint) != "kubernetes":
        return None
    return endpoint.release if isinstance(endpoint.release, BlueGreen | Canary) else None


def requests_per_second(endpoint: AnyEndpoint) -> float:
    """Requests a second on average, as the objective expects them."""
    objective: Mapping[str, int] | object = getattr(endpoint, "objective", None)
    return getattr(objective, "requests_per_month", 0) / SECONDS_A_MONTH
