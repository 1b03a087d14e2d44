"""Jobs: that they end, are heard of, start again where their machine was taken away, and lose nothing by it."""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from policies.context import mapping, maps
from policies.model import Graph, Resource
from policies.pods import JOB_DEFINITION, beside, decoded, labels_of, pods
from policies.rule import EVERY, Found, resource_rule
from policies.rules.pools import KARPENTER_POOL, NODE_GROUP, NODE_POOL, is_spot, labels_of_machines

JOB = "kubernetes:batch/v1:Job"
CRON_JOB = "kubernetes:batch/v1:CronJob"
COMPUTE_ENVIRONMENT = "aws:batch/computeEnvironment:ComputeEnvironment"
FLAVOR = "kubernetes:kueue.x-k8s.io/v1beta2:ResourceFlavor"

_MOST_SECONDS = "kueue.x-k8s.io/max-exec-time-seconds"
"""Label of work by which Kueue ends it."""
_HOST_GONE = "Host EC2 (instance i-0123456789abcdef0) terminated."
"""What Batch says of a job whose machine went (AWS Batch User Guide, "Automated job retries")."""
_CHECKPOINT = "ai-platform.io/checkpoint"
_ELSEWHERE = ("s3://", "gs://")


def _started_again(definition: Resource) -> Iterator[str]:
    """What is wrong with the retries of a job that may run on spot machines."""
    attempts = definition.get("retryStrategy.attempts", 1)
    lines = maps(definition.get("retryStrategy.evaluateOnExits"))
    first = next((line for line in lines if _meant(line)), None)
    if not isinstance(attempts, int | float) or attempts < 2:
        yield "it is not started again when its machine is taken away"
    elif lines and (first is None or str(first.get("action")).upper() != "RETRY"):
        yield "no line of its retry strategy starts it again when its machine is taken away"
    # What no line fits is tried again ("EvaluateOnExit"): a defect would then be paid for as often as there are attempts.
    last = lines[-1] if lines else {}
    if str(last.get("action")).upper() != "EXIT" or last.get("onReason") != "*":
        yield "it is started again whatever it failed of"


def _meant(line: Mapping[str, Any]) -> bool:
    """Whether a line of a strategy speaks of a machine that went, and of nothing narrower."""
    if line.get("onExitCode"):
        return False
    reason, why = str(line.get("onStatusReason", "*")), str(line.get("onReason", "*"))
    return fnmatchcase(_HOST_GONE, reason) and why.strip("*") == ""


@resource_rule(
    "spot-retried",
    title="Spot machines are only where work starts again that lost its machine, and only then",
    types=(JOB_DEFINITION, KARPENTER_POOL, NODE_GROUP, NODE_POOL),
    severity="high",
    why="A spot machine goes at two minutes' notice, or thirty seconds': without a retry a day of training ends there.",
    remedy="Batch: retries on `Host EC2*` and nothing else. In a cluster: a queue of Kueue in front of the pool.",
    controls={"soc2": ("A1.2",), "iso-27001": ("A.8.14",)},
)
def spot_retried(resource: Resource, graph: Graph) -> Found:
    """A submission to Batch may choose any queue, so every definition is held to it as soon as one environment is spot."""
    if resource.type == JOB_DEFINITION:
        markets = {str(ce.get("computeResources.type")) for ce in graph.of_type(COMPUTE_ENVIRONMENT)}
        if markets & {"SPOT", "FARGATE_SPOT"}:
            yield from _started_again(resource)
        return
    if not is_spot(resource):
        return
    machines = labels_of_machines(resource)
    found = beside(resource, graph, FLAVOR) if resource.type == KARPENTER_POOL else graph.of_type(FLAVOR)
    chosen = [mapping(flavor.get("spec.nodeLabels")) for flavor in found]
    if not any(labels and labels.items() <= machines.items() for labels in chosen):
        yield "no queue sends work to it, so nothing puts back what loses its machine"


@resource_rule(
    "job-timeout",
    title="Every job ends, if need be by itself",
    types=(JOB_DEFINITION, JOB, CRON_JOB),
    severity="medium",
    why="A job that hangs holds its GPUs until somebody looks at the bill.",
    remedy="timeout_hours of the queue; activeDeadlineSeconds of a job in the cluster.",
    controls={"soc2": ("CC7.2",), "iso-27001": ("A.8.6",)},
)
def job_timeout(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """Of work in a queue, Kueue's own bound will do."""
    paths = {
        JOB_DEFINITION: "timeout.attemptDurationSeconds",
        CRON_JOB: "spec.jobTemplate.spec.activeDeadlineSeconds",
    }
    given = resource.get(paths.get(resource.type, "spec.activeDeadlineSeconds"))
    ends = isinstance(given, int | float) and given > 0
    if not ends and not (resource.type == JOB and labels_of(resource).get(_MOST_SECONDS)):
        yield "it may run for ever"


@resource_rule(
    "job-logged",
    title="A job writes its log to a group of ours",
    types=(JOB_DEFINITION,),
    severity="medium",
    why="Batch otherwise makes /aws/batch/job, without a key and for ever, in which every team reads every other's.",
    remedy="logConfiguration with awslogs and awslogs-group.",
    controls={"soc2": ("CC7.2",), "iso-27001": ("A.8.15",), "eu-ai-act": ("12",)},
)
def job_logged(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """Of a multi-node job each group of nodes."""
    whole = decoded(resource.get("containerProperties"))
    groups = maps(mapping(decoded(resource.get("nodeProperties"))).get("nodeRangeProperties"))
    for container in (*([whole] if isinstance(whole, dict) else []), *(group.get("container") for group in groups)):
        log = mapping(mapping(container).get("logConfiguration"))
        if log.get("logDriver") != "awslogs" or not mapping(log.get("options")).get("awslogs-group"):
            yield "it names no log group"


@resource_rule(
    "job-checkpoint",
    title="A job keeps its checkpoints outside of its machine",
    types=(EVERY,),
    severity="high",
    why="A checkpoint on the machine's own disk goes with the machine, which is the very moment that it was kept for.",
    remedy="CHECKPOINT_URI with s3:// or gs://, or a volume that outlives the machine.",
    controls={"soc2": ("A1.2", "CC7.5"), "iso-27001": ("A.8.13",), "eu-ai-act": ("10",)},
)
def job_checkpoint(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """Of job definitions of Batch, and in a cluster of what has accelerators; services keep none."""
    batch = resource.type == JOB_DEFINITION
    if not batch and not _is_work(resource):
        return
    if mapping(resource.get("metadata.annotations")).get(_CHECKPOINT):
        return
    for pod in pods(resource):
        uris = [str(container.variables.get("CHECKPOINT_URI", "")) for container in pod.containers]
        wanted = batch or any(container.accelerated for container in pod.containers)
        if wanted and not pod.kept and not any(_is_elsewhere(uri) for uri in uris):
            yield f"its checkpoints stay on its machine: CHECKPOINT_URI is {next(filter(None, uris), 'not given')}"


def _is_work(resource: Resource) -> bool:
    """Whether an object of a cluster is work that ends."""
    return resource.type.startswith("kubernetes:") and resource.type.rpartition(":")[2] in {
        "CronJob",
        "Job",
        "JobSet",
        "RayJob",
    }


def _is_elsewhere(uri: str) -> bool:
    return uri.startswith((*_ELSEWHERE, "${"))
