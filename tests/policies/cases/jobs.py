"""Rules on jobs."""

import json

from tests.policies.build import bad, changed, good, make, thing
from tests.policies.cases.workloads import batch, container, multinode, pod

HOST = {"action": "RETRY", "onStatusReason": "Host EC2*"}
REST = {"action": "EXIT", "onReason": "*"}
LABELS = {"ai-platform.io/pool": "l4"}
GPU = {"limits": {"cpu": "1", "memory": "1Gi", "nvidia.com/gpu": "1"}}
RULE = "spot-retried"


def environment(market="SPOT"):
    return make("aws:batch/computeEnvironment:ComputeEnvironment", inputs={"computeResources": {"type": market}})


def retried(*lines, attempts=4):
    return changed(batch(), retryStrategy={"attempts": attempts, "evaluateOnExits": list(lines)})


def karpenter(*markets, labels=LABELS):
    needs = [{"key": "karpenter.sh/capacity-type", "operator": "In", "values": list(markets)}]
    template = {"metadata": {"labels": labels}, "spec": {"requirements": needs}}
    return thing("karpenter.sh/v1:NodePool", "l4", spec={"template": template, "limits": {"nodes": "4"}})


def gke(**node):
    return make("gcp:container/nodePool:NodePool", inputs={"nodeConfig": {"labels": LABELS, **node}})


def group(market):
    return make("aws:eks/nodeGroup:NodeGroup", inputs={"capacityType": market, "labels": LABELS})


def flavor(**labels):
    return thing("kueue.x-k8s.io/v1beta2:ResourceFlavor", "l4", spec={"nodeLabels": labels or LABELS})


def job(kind="batch/v1:Job", *, labels=None, annotations=None, containers=(), volumes=(), **spec):
    template = {"spec": pod(*containers, volumes=list(volumes))}
    return thing(kind, labels=labels or {}, annotations=annotations or {}, spec={"template": template, **spec})


def training(uri=None, **more):
    variables = [{"name": "CHECKPOINT_URI", "value": uri}] if uri else []
    return job(containers=[container(resources=GPU, env=variables)], **more)


def cron(**spec):
    return thing("batch/v1:CronJob", spec={"jobTemplate": {"spec": spec}})


CASES = [
    bad(RULE, "no retry", "not started again when", environment(), batch()),
    bad(RULE, "one attempt", "not started again when", environment(), retried(HOST, REST, attempts=1)),
    bad(RULE, "whatever it was", "whatever it failed of", environment(), retried(HOST)),
    bad(RULE, "every failure", "whatever it failed of", environment(), changed(batch(), retryStrategy={"attempts": 4})),
    bad(RULE, "on something else", "no line of its", environment(), retried({**HOST, "onStatusReason": "Task*"}, REST)),
    bad(RULE, "too late", "no line of its", environment(), retried(REST, HOST, REST)),
    bad(RULE, "only one exit code", "no line of its", environment(), retried({**HOST, "onExitCode": "143"}, REST)),
    bad(RULE, "a pool that no queue knows", "no queue sends work", karpenter("spot", "on-demand")),
    bad(RULE, "a queue for other machines", "no queue", karpenter("spot"), flavor(**{"ai-platform.io/pool": "h100"})),
    bad(RULE, "a flavor of any machine", "no queue", karpenter("spot"), changed(flavor(), spec={})),
    bad(RULE, "on GKE", "no queue sends work", gke(spot=True)),
    bad(RULE, "a managed group", "no queue sends work", group("SPOT")),
    good(RULE, "on host termination", environment(), retried(HOST, {"action": "RETRY", "onExitCode": "143"}, REST)),
    good(RULE, "on-demand only", environment("EC2"), batch()),
    good(RULE, "behind a queue", karpenter("spot"), gke(spot=True), group("SPOT"), flavor()),
    good(RULE, "nothing that goes", karpenter("on-demand"), gke(spot=False), group("ON_DEMAND")),
    bad("job-timeout", "none in Batch", "for ever", batch()),
    bad("job-timeout", "none in a cluster", "for ever", job()),
    bad("job-timeout", "none of a schedule's", "for ever", cron()),
    good("job-timeout", "in Batch", changed(batch(), timeout={"attemptDurationSeconds": 3600})),
    good("job-timeout", "in a cluster", job(activeDeadlineSeconds=900), cron(activeDeadlineSeconds=900)),
    good("job-timeout", "by its queue", job(labels={"kueue.x-k8s.io/max-exec-time-seconds": "900"})),
    bad("job-logged", "Batch's own", "names no log group", batch(logConfiguration=None)),
    bad("job-logged", "another driver", "names no log group", batch(logConfiguration={"logDriver": "json-file"})),
    bad("job-logged", "of nodes", "names no log group", multinode(logConfiguration=None)),
    good("job-logged", "a group of ours", batch(), multinode()),
    bad("job-checkpoint", "nowhere", "CHECKPOINT_URI is not given", batch(environment=[])),
    bad(
        "job-checkpoint",
        "on its machine",
        "CHECKPOINT_URI is /scratch",
        batch(environment=[{"name": "CHECKPOINT_URI", "value": "/scratch/run"}]),
    ),
    bad("job-checkpoint", "in a cluster", "not given", training()),
    bad("job-checkpoint", "passing volumes", "not given", training(volumes=[{"name": "a", "emptyDir": {}}])),
    bad("job-checkpoint", "of nodes", "not given", multinode(environment=None)),
    good("job-checkpoint", "in a bucket", batch(), multinode(), training("gs://acme-dev-artifacts/checkpoints")),
    good(
        "job-checkpoint",
        "on a file system",
        batch(environment=[], volumes=[{"name": "shared", "efsVolumeConfiguration": {"fileSystemId": "fs-1"}}]),
        training(volumes=[{"name": "shared", "persistentVolumeClaim": {"claimName": "shared"}}]),
    ),
    good("job-checkpoint", "said otherwise", training(annotations={"ai-platform.io/checkpoint": "none"})),
    good("job-checkpoint", "work without accelerators", job()),
    good(
        "job-checkpoint",
        "a definition that cannot be read",
        make("aws:batch/jobDefinition:JobDefinition", inputs={"containerProperties": json.dumps([])}),
    ),
    bad(
        RULE,
        "a last line that fits little",
        "whatever it failed of",
        environment(),
        retried(HOST, {**REST, "onReason": "Cannot*"}),
    ),
    bad(RULE, "a last line that retries", "whatever", environment(), retried(HOST, {**REST, "action": "RETRY"})),
    bad(RULE, "only for one reason", "no line of its", environment(), retried({**HOST, "onReason": "Cannot*"}, REST)),
    bad("job-timeout", "no time at all", "for ever", changed(batch(), timeout={"attemptDurationSeconds": 0})),
    bad("job-logged", "a driver without a group", "names no", batch(logConfiguration={"logDriver": "awslogs"})),
    bad(
        "job-logged",
        "a group of another driver's",
        "names no",
        batch(logConfiguration={"logDriver": "splunk", "options": {"awslogs-group": "a"}}),
    ),
    good(
        "job-checkpoint",
        "what serves",
        thing("apps/v1:Deployment", spec={"template": {"spec": pod(container(resources=GPU))}}),
    ),
]
