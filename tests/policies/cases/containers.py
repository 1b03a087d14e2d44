"""Rules on tasks of ECS."""

import json

from tests.policies.build import ACCOUNT, aws, bad, good, make, ref

IMAGE = f"{ACCOUNT}.dkr.ecr.us-west-2.amazonaws.com/acme-ai-prod-serving:1.0"
GROUP = make("aws:cloudwatch/logGroup:LogGroup", "tasks", inputs={"name": "/ecs/acme-prod-fraud"})
STARTS = make("aws:iam/role:Role", "starts")
RUNS = make("aws:iam/role:Role", "runs")


def logs(**options):
    return {"logDriver": "awslogs", "options": {"awslogs-group": ref(GROUP, "name"), **options}}


def task(starts=STARTS, runs=RUNS, container=None, **inputs):
    """A task whose container is changed."""
    base = {
        "name": "fraud",
        "image": IMAGE,
        "user": "10001:10001",
        "readonlyRootFilesystem": True,
        "logConfiguration": logs(),
        "environment": [{"name": "MODEL_URI", "value": "s3://acme-prod-models/fraud/1"}],
    }
    made = {key: value for key, value in {**base, **(container or {})}.items() if value is not None}
    roles = {
        **({"executionRoleArn": ref(starts, "arn")} if starts else {}),
        **({"taskRoleArn": ref(runs, "arn")} if runs else {}),
    }
    return make(
        "aws:ecs/taskDefinition:TaskDefinition",
        inputs={"cpu": "1024", "memory": "2048", "containerDefinitions": json.dumps([made]), **roles, **inputs},
    )


def service(**inputs):
    return make("aws:ecs/service:Service", inputs=inputs)


CASES = [
    bad("task-read-only", "by default", "fraud may write", task(container={"readonlyRootFilesystem": None})),
    bad("task-read-only", "said", "fraud may write", task(container={"readonlyRootFilesystem": False})),
    good("task-read-only", "read only", task()),
    bad("task-logged", "nowhere", "no log of ours", GROUP, task(container={"logConfiguration": None})),
    bad("task-logged", "to somebody", "no log of ours", task(container={"logConfiguration": {"logDriver": "splunk"}})),
    bad(
        "task-logged", "to somebody, and a group", "no log of ours", GROUP,
        task(container={"logConfiguration": {**logs(), "logDriver": "fluentd"}}),
    ),
    bad("task-logged", "to no group", "no log of ours", task(container={"logConfiguration": {"logDriver": "awslogs"}})),
    bad(
        "task-logged", "to a group that nobody makes", "nothing declares",
        task(container={"logConfiguration": logs(**{"awslogs-group": "/ecs/other"})}),
    ),
    bad(
        "task-logged", "to a group of its own", "makes a log group", GROUP,
        task(container={"logConfiguration": logs(**{"awslogs-create-group": "true"})}),
    ),
    good("task-logged", "to a declared one", GROUP, task()),
    good(
        "task-logged", "by its name", GROUP,
        task(container={"logConfiguration": logs(**{"awslogs-group": "/ecs/acme-prod-fraud"})}),
    ),
    bad("task-roles-apart", "one for both", "one role", STARTS, task(runs=STARTS)),
    bad("task-roles-apart", "none of its own", "nobody in particular", STARTS, task(runs=None)),
    bad("task-roles-apart", "nobody starts it", "starts it", RUNS, task(starts=None)),
    good("task-roles-apart", "two", STARTS, RUNS, task()),
    bad("task-not-entered", "open", "opens a shell", aws("prod"), service(enableExecuteCommand=True)),
    bad("task-not-entered", "where nothing says what it is", "opens a shell", service(enableExecuteCommand=True)),
    good("task-not-entered", "closed", aws("prod"), service(enableExecuteCommand=False), task()),
    good("task-not-entered", "in dev", aws("dev"), service(enableExecuteCommand=True)),
    # What rules on containers see of tasks.
    bad("workload-unprivileged", "a task of root", "may run as root", task(container={"user": None})),
    bad("workload-unprivileged", "a task of user 0", "may run as root", task(container={"user": "0:0"})),
    good("workload-unprivileged", "a task of nobody", task()),
    bad("workload-no-host", "a privileged task", "is privileged", task(container={"privileged": True})),
    bad("workload-no-host", "a task in the machine's network", "networkMode", task(networkMode="host")),
    bad("workload-no-host", "files for a task", "/var/run", task(volumes=[{"name": "a", "hostPath": "/var/run"}])),
    good("workload-no-host", "a task", task(networkMode="awsvpc", volumes=[{"name": "scratch"}])),
    bad("workload-limits", "a task", "no limit of cpu", task(cpu="", container={"memory": 512})),
    good("workload-limits", "a task of Fargate", task()),
    bad("image-pinned", "a task", "whatever was pushed last", task(container={"image": IMAGE.replace("1.0", "latest")})),
    good("image-pinned", "a task with a version", task()),
    bad(
        "secret-not-in-clear", "a task", "API_KEY holds its value",
        task(container={"environment": [{"name": "API_KEY", "value": "x"}]}),
    ),
    good("secret-not-in-clear", "a task that has none", task()),
    bad("network-no-public-address", "tasks", "public addresses", service(networkConfiguration={"assignPublicIp": True})),
    good("network-no-public-address", "tasks inside", service(networkConfiguration={"assignPublicIp": False})),
]  # fmt: skip
