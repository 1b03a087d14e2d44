"""What SageMaker is told of endpoints and of runs over many records, and what is watched of them: tables and pure functions.

Where nothing else is said: SageMaker API, `ProductionVariant`, `TrafficRoutingConfig`, `BlueGreenUpdatePolicy`; "Metrics for
monitoring Amazon SageMaker with Amazon CloudWatch"; "Monitor asynchronous endpoint"; "Monitor a serverless endpoint".
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal

from components.core import promises
from components.core.accelerators import ACCELERATORS, Machine
from components.core.cloudwatch import Alarm, Metric
from components.core.sagemaker import instance
from components.spec.endpoints import Alarm as Bound
from components.spec.images import own_repository
from components.spec.releases import AllAtOnce, BlueGreen, Canary, Shadow

VARIANT, SHADOW = "main", "shadow"
"""A release moves requests only between variants of the same name ("Deployment guardrails", exclusions)."""
NAMESPACE, HOSTS = "AWS/SageMaker", "/aws/sagemaker/Endpoints"
"""Metrics of requests, and of machines; the second is also where an endpoint's log group lies."""
_MINUTE, _HOUR = 60, 3600

# ---- Releases

LARGEST_CANARY = 50
"""Percent of a fleet (CanarySize)."""
_WHOLE, _STEPPED = 45, 22
# The provider waits an hour for an endpoint, whatever it is told (hashicorp/terraform-provider-aws,
# internal/service/sagemaker/endpoint.go, waitEndpointInService). In it fit the machines' start and every wait: one of a release
# at once, two of one in steps. SageMaker itself takes 60 minutes for each.
LONGEST_BAKE: Mapping[str, int] = {
    "all_at_once": _WHOLE,
    "blue_green": _STEPPED,
    "canary": _STEPPED,
}
"""Minutes that a release can be watched, by strategy."""
_LONGEST_DEPLOYMENT = 14_400
"""Seconds; SageMaker takes 28,800, the provider this."""


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """How a new configuration takes over from the one that answers."""

    type: Literal["ALL_AT_ONCE", "CANARY"]
    percent: int | None
    """Of the new fleet, in the first of two steps."""
    wait: int
    """Seconds between the two."""
    bake: int
    """Seconds that the old fleet is kept after all requests have moved."""
    longest: int
    """Seconds after which SageMaker gives up."""
    signs: tuple[str, ...]
    """What takes it back."""


def rollout(release: AllAtOnce | BlueGreen | Canary | Shadow) -> Rollout:
    """The release as SageMaker takes it. A shadow changes at once, watched by both signs, for it has nothing to say of either.

    >>> rollout(Canary(strategy="canary", percent=10, bake_minutes=15)).percent
    10
    >>> rollout(BlueGreen(strategy="blue_green")).percent, rollout(AllAtOnce(strategy="all_at_once")).wait
    (50, 0)
    """
    guarded = AllAtOnce(strategy="all_at_once") if isinstance(release, Shadow) else release
    percent = {"blue_green": LARGEST_CANARY, "canary": getattr(guarded, "percent", 0)}.get(guarded.strategy)
    bake = min(guarded.bake_minutes, LONGEST_BAKE[guarded.strategy]) * _MINUTE
    wait = bake if percent else 0
    return Rollout(
        type="CANARY" if percent else "ALL_AT_ONCE",
        percent=percent and min(percent, LARGEST_CANARY),
        wait=wait,
        bake=bake,
        longest=min(wait + bake + _HOUR, _LONGEST_DEPLOYMENT),
        signs=tuple(guarded.rollback_on),
    )


def first_count(minimum: int, maximum: int, expected: float, strategy: str) -> int:
    """How many instances a new configuration begins with.

    Never fewer than what autoscaling keeps, nor than what the expected requests need, since a release begins with it whatever
    the fleet had grown to (UpdateEndpoint, RetainAllVariantProperties, which the provider does not set). Steps need two: the
    first is half of a fleet at most.

    >>> first_count(2, 10, 4.2, "all_at_once"), first_count(0, 10, 0, "canary"), first_count(1, 1, 9, "all_at_once")
    (5, 2, 1)
    """
    least = 2 if strategy in ("blue_green", "canary") else 1
    return min(max(minimum, ceil(expected), least), maximum)


def digest(content: Any) -> str:
    """Eight letters and digits that stand for a content.

    >>> digest({"b": 1, "a": [2]}) == digest({"a": [2], "b": 1})
    True
    """
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


# ---- Models

_IMAGE = re.compile(r"^(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com/([^:@]+)")


def package(group: str, version: str) -> str:
    """ARN of a version of a package, from that of its group.

    >>> package("arn:aws:sagemaker:us-west-2:111111111111:model-package-group/acme-ai-dev-fraud", "12")
    'arn:aws:sagemaker:us-west-2:111111111111:model-package/acme-ai-dev-fraud/12'
    """
    return f"{group.replace(':model-package-group/', ':model-package/')}/{version}"


def repository(reference: str, at: str, namespace: str) -> str:
    """ARN of the repository of an image as the description names it: ours, or one of ECR; ValueError for what lies elsewhere.

    `at` is our region and account, `namespace` what our repositories begin with.

    >>> repository("serving:1.0", "us-west-2:111111111111", "acme-ai-dev")
    'arn:aws:ecr:us-west-2:111111111111:repository/acme-ai-dev/serving'
    >>> repository("222222222222.dkr.ecr.us-east-2.amazonaws.com/base:1.0", "us-west-2:111111111111", "acme-ai-dev")
    'arn:aws:ecr:us-east-2:222222222222:repository/base'
    """
    own = own_repository(reference)
    if own is not None:
        return f"arn:aws:ecr:{at}:repository/{namespace}/{own}"
    found = _IMAGE.match(reference)
    if found is None:
        raise ValueError(f"SageMaker pulls no image from outside of ECR: {reference}")
    account, region, name = found.groups()
    return f"arn:aws:ecr:{region}:{account}:repository/{name}"


# ---- What is watched

_REQUESTS = 20
"""Requests in a window: of fewer, 95 of 100 is the slowest one."""


@dataclass(frozen=True, kw_only=True)
class Watched:
    """An endpoint that is watched."""

    name: str
    physical: str
    """Known before the endpoint is: an alarm that a release depends on must not depend on the endpoint."""
    kind: Literal["realtime", "async", "serverless"]
    bounds: Mapping[str, Bound]
    """By sign, `components.spec.endpoints.alarms`."""
    machine: Machine | None = None
    fixed: bool = False
    """Whether there are always as many instances as there may be: then to have them all says nothing."""
    signs: Sequence[str] = ()
    """What takes a release back; none where nothing does."""


def alarms(watched: Watched) -> list[Alarm]:
    """What is watched of an endpoint; every bound that its kind publishes a series for.

    `throttled` is none of them: SageMaker counts no request that it refuses, but for serverless endpoints, whose refusals begin
    where `ceiling` is reached.
    """
    found = [_SIGNS[sign](watched, bound) for sign, bound in watched.bounds.items() if sign in _SIGNS]
    return [*(alarm for alarm in found if alarm), *_rollback(watched)]


def _metric(watched: Watched, name: str, statistic: Any, *, variant: bool = True, namespace: str = NAMESPACE) -> Metric:
    dimensions = {"EndpointName": watched.physical, **({"VariantName": VARIANT} if variant else {})}
    return Metric(namespace=namespace, name=name, dimensions=dimensions, statistic=statistic)


def _latency(watched: Watched) -> dict[str, Metric]:
    return {
        "model": _metric(watched, "ModelLatency", "p95"),
        "overhead": _metric(watched, "OverheadLatency", "p95"),
    }


def _failures(watched: Watched) -> dict[str, Metric]:
    """What failed and what was asked; an asynchronous endpoint does not publish Invocations."""
    failed, asked = (
        ("InvocationFailures", "InvocationsProcessed")
        if watched.kind == "async"
        else ("Invocation5XXErrors", "Invocations")
    )
    return {"errors": _metric(watched, failed, "Sum"), "calls": _metric(watched, asked, "Sum")}


# Both are in microseconds.
_MS = "(model + overhead) / 1000"


def _percent(watched: Watched) -> str:
    # Whether a request that failed counts as processed is not said, and where none was, there is no series to divide by.
    asked = "SUM([calls, errors])" if watched.kind == "async" else "calls"
    return f"100 * errors / {asked}"


def _p95(watched: Watched, bound: Bound) -> Alarm:
    return promises.late(
        watched.name,
        bound,
        first="Compare ModelLatency with OverheadLatency: the model, or what is around it. If a release is new, take it back.",
        metrics={**_latency(watched), "calls": _metric(watched, "Invocations", "Sum")},
        expression=f"IF(calls >= {_REQUESTS}, {_MS}, 0)",
        figure=_MS,
    )


def _error_rate(watched: Watched, bound: Bound) -> Alarm:
    return promises.failing(
        watched.name,
        bound,
        first=f"Read its log group {HOSTS}/{watched.physical}. If a release is new, take it back.",
        metrics=_failures(watched),
        expression=f"IF(errors >= {promises.ERRORS}, {_percent(watched)}, 0)",
        figure=_percent(watched),
    )


def _waiting(watched: Watched, bound: Bound) -> Alarm:
    return Alarm(
        name=f"{watched.name}-waiting",
        meaning=f"A request to {watched.name} has waited for more than {bound.above / 60:g} minutes.",
        first="Whether it is at its ceiling; else whether instances start: aws sagemaker describe-endpoint, and the log group.",
        severity="critical",
        metrics={"age": _metric(watched, "ApproximateAgeOfOldestRequest", "Maximum", variant=False)},
        comparison=">",
        threshold=bound.above,
        period=bound.minutes * _MINUTE,
        periods=1,
    )


def _saturation(watched: Watched, bound: Bound) -> Alarm | None:
    metrics, expression = {}, ""
    if watched.kind == "serverless":
        metrics = {"used": _metric(watched, "ServerlessConcurrentExecutionsUtilization", "Maximum")}
        expression, what = "100 * used", "instances that may work at once"
    elif watched.machine is None:
        return None
    else:
        graphics = watched.machine.accelerator and ACCELERATORS[watched.machine.accelerator].vendor == "nvidia"
        name, parts = (
            ("GPUUtilization", watched.machine.count) if graphics else ("CPUUtilization", watched.machine.vcpus)
        )
        metrics = {"used": _metric(watched, name, "Average", namespace=HOSTS)}
        # The sum of its cores, or of its GPUs.
        expression, what = f"used / {parts}", "GPUs" if graphics else "processors"
    return promises.saturated(
        watched.name,
        bound,
        meaning=f"{bound.above:g} % of the {what} of {watched.name} have been in use for {bound.minutes} minutes.",
        first="Whether more instances start. If they do and it stays: a smaller scale.target, or a larger machine.",
        metrics=metrics,
        expression=expression,
    )


def _ceiling(watched: Watched, bound: Bound) -> Alarm | None:
    if watched.fixed:
        return None
    if watched.kind == "serverless":
        metrics = {"used": _metric(watched, "ServerlessConcurrentExecutionsUtilization", "Maximum")}
        expression, threshold, key = f"used * {bound.above:g}", bound.above, "concurrency.max"
    else:
        # Nothing publishes how many instances there are: it is what one of two series has been divided by.
        whole, part = (
            ("ApproximateBacklogSize", "ApproximateBacklogSizePerInstance")
            if watched.kind == "async"
            else ("Invocations", "InvocationsPerInstance")
        )
        statistic, variant = ("Average", False) if watched.kind == "async" else ("Sum", True)
        metrics = {
            "all": _metric(watched, whole, statistic, variant=variant),
            "each": _metric(watched, part, statistic, variant=variant),
        }
        expression, threshold, key = "IF(each > 0, all / each, 0)", bound.above - 0.5, "scale.max"
    return promises.full(
        watched.name,
        bound,
        meaning=f"{watched.name} has had all of its {bound.above:g} instances at work for {bound.minutes} minutes.",
        first=f"Whether answers are late. If so: raise its {key}, and the quota of its machine.",
        metrics=metrics,
        expression=expression,
        threshold=threshold,
    )


_SIGNS = {
    "p95_latency": _p95,
    "error_rate": _error_rate,
    "waiting": _waiting,
    "saturation": _saturation,
    "ceiling": _ceiling,
}


def _rollback(watched: Watched) -> Iterator[Alarm]:
    """One alarm for all that takes a release back.

    One, because the list of a release's alarms cannot change without the endpoint being made again
    (`auto_rollback_configuration` of the provider, ForceNew): what counts changes inside of it.
    """
    if not watched.signs:
        return
    chosen = promises.judged(watched.bounds, watched.signs)
    tests = {
        "p95_latency": lambda bound: f"{_MS} > {bound:g}",
        "error_rate": lambda bound: f"(errors >= {promises.ERRORS} AND {_percent(watched)} > {bound:g})",
    }
    metrics: dict[str, Metric] = {}
    for sign in chosen:
        metrics |= _latency(watched) if sign == "p95_latency" else _failures(watched)
    yield promises.rollback(watched.name, metrics, [tests[sign](above) for sign, above in chosen.items()])


NOBODY_WORKS = "HasBacklogWithoutCapacity"
"""Says that requests wait and no instance is there ("Autoscale an asynchronous endpoint", a policy that scales up from zero)."""


# ---- Runs over many records

_PAYLOAD_MB = 6
"""Of one request; MaxPayloadInMB times MaxConcurrentTransforms is 100 at most."""
_PARALLEL = 16
LINES = "application/jsonlines"
"""What a run reads and writes: a record a line."""
_CAPACITY = r"/CapacityError|InsufficientCapacity|ResourceLimitExceeded/"
_AGAIN_SECONDS = 900
TRANSFORM_RULE = "StepFunctionsGetEventsForSageMakerTransformJobsRule"
"""What Step Functions hears of a job's end through ("IAM policies for Amazon SageMaker", Step Functions)."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run over many records; texts may be outputs."""

    prefix: str
    """What the names of its jobs begin with; an id of 37 characters follows."""
    model: Any
    source: Any
    target: Any
    """May be an expression."""
    target_key: Any
    volume_key: Any
    machine: Machine
    machines: int
    hours: int


def transform(run: Run) -> dict[str, Any]:
    """The state machine of a run: a job, again where there was no machine, stopped when its time is over.

    A job has no time limit of its own. Step Functions counts from the start of the execution, waits for machines among it, and
    stops the job; only what AWS had no capacity for is tried again, as often as the time allows. A model that fails fails.
    """
    seconds = run.hours * _HOUR
    left = f"$floor({seconds} - ($millis() - $toMillis($states.context.Execution.StartTime)) / 1000)"
    resources: dict[str, Any] = {"InstanceType": instance(run.machine.type), "InstanceCount": run.machines}
    if run.machine.local_ssd_gib is None:
        resources["VolumeKmsKeyId"] = run.volume_key
    return {
        "QueryLanguage": "JSONata",
        "StartAt": "Name",
        # Beyond what the task waits for, so that what stops the job has time to.
        "TimeoutSeconds": seconds + _HOUR,
        "States": {
            # Names are never used again, not even those of jobs that are gone.
            "Name": {"Type": "Pass", "Assign": {"job": f"{{% '{run.prefix}-' & $uuid() %}}"}, "Next": "Transform"},
            "Transform": {
                "Type": "Task",
                "Resource": "arn:aws:states:::sagemaker:createTransformJob.sync",
                "TimeoutSeconds": f"{{% {left} %}}",
                "Arguments": {
                    "TransformJobName": "{% $job %}",
                    "ModelName": run.model,
                    "BatchStrategy": "MultiRecord",
                    "MaxPayloadInMB": _PAYLOAD_MB,
                    "MaxConcurrentTransforms": min(run.machine.vcpus, _PARALLEL),
                    "ModelClientConfig": {"InvocationsTimeoutInSeconds": 600, "InvocationsMaxRetries": 3},
                    "TransformInput": {
                        "ContentType": LINES,
                        "SplitType": "Line",
                        "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": run.source}},
                    },
                    "TransformOutput": {
                        "S3OutputPath": run.target,
                        "Accept": LINES,
                        "AssembleWith": "Line",
                        "KmsKeyId": run.target_key,
                    },
                    "TransformResources": resources,
                },
                "Output": {"job": "{% $job %}"},
                "Catch": [
                    {"ErrorEquals": ["States.Timeout"], "Next": "Stop"},
                    {
                        "ErrorEquals": ["States.ALL"],
                        "Assign": {"cause": "{% $states.errorOutput.Error & ': ' & $states.errorOutput.Cause %}"},
                        "Next": "Why",
                    },
                ],
                "End": True,
            },
            "Why": {
                "Type": "Choice",
                "Choices": [
                    {
                        "Condition": f"{{% $contains($cause, {_CAPACITY}) and {left} > {2 * _AGAIN_SECONDS} %}}",
                        "Next": "Wait",
                    }
                ],
                "Default": "Failed",
            },
            "Wait": {"Type": "Wait", "Seconds": _AGAIN_SECONDS, "Next": "Name"},
            "Stop": {
                "Type": "Task",
                "Resource": "arn:aws:states:::aws-sdk:sagemaker:stopTransformJob",
                "Arguments": {"TransformJobName": "{% $job %}"},
                # It may have ended by itself in the meantime.
                "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Late"}],
                "Next": "Late",
            },
            "Late": {"Type": "Fail", "Error": "Late", "Cause": f"It has not ended after {run.hours} hours, and was stopped."},
            "Failed": {"Type": "Fail", "Error": "Failed", "Cause": "{% $cause %}"},
        },
    }  # fmt: skip
