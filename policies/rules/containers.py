"""Containers on ECS: what a task may do, as whom, and who gets into it."""

from policies.context import is_prod, mapping
from policies.model import REFERENCE, Graph, Resource
from policies.pods import TASK_DEFINITION, pods
from policies.rule import Found, resource_rule

SERVICE = "aws:ecs/service:Service"
LOG_GROUP = "aws:cloudwatch/logGroup:LogGroup"


@resource_rule(
    "task-read-only",
    title="A task cannot change the program that it runs",
    types=(TASK_DEFINITION,),
    severity="medium",
    why="Who gets into a container that he can write to leaves something there, and it answers from then on.",
    remedy="readonlyRootFilesystem, and a volume for /tmp.",
    controls={"aws-fsbp": ("ECS.5",), "soc2": ("CC6.1",), "iso-27001": ("A.8.9",)},
)
def task_read_only(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """That it is not root and does not reach its machine, `workload-unprivileged` and `workload-no-host` say."""
    for pod in pods(resource):
        for container in pod.containers:
            if container.writes:
                yield f"{container.name or 'a container'} may write to the files that it is made of"


@resource_rule(
    "task-logged",
    title="A task writes its log to a group of ours",
    types=(TASK_DEFINITION,),
    severity="medium",
    why="Without a driver what a task says is gone with it; a group that ECS makes has no key and no end.",
    remedy="logConfiguration with awslogs and awslogs-group of a declared group, without awslogs-create-group.",
    controls={
        "aws-fsbp": ("ECS.9",),
        "soc2": ("CC7.2",),
        "iso-27001": ("A.8.15",),
        "eu-ai-act": ("12",),
    },
)
def task_logged(resource: Resource, graph: Graph) -> Found:
    """The group is another resource's output, or the name of a declared one."""
    for pod in pods(resource):
        for container in pod.containers:
            options = mapping(container.logs.get("options"))
            group = str(options.get("awslogs-group", ""))
            name = container.name or "a container"
            if container.logs.get("logDriver") != "awslogs" or not group:
                yield f"{name} keeps no log of ours"
            elif not REFERENCE.search(group) and not graph.where(LOG_GROUP, "name", group):
                yield f"nothing declares the log group {group} of {name}"
            elif str(options.get("awslogs-create-group", "false")).lower() == "true":
                yield f"{name} makes a log group of its own"


@resource_rule(
    "task-roles-apart",
    title="What starts a task is somebody else than the task",
    types=(TASK_DEFINITION,),
    severity="high",
    why="With one role the program that answers may pull every image and read every secret that a start needs.",
    remedy="execution_role_arn and task_role_arn of two Workloads.",
    controls={"soc2": ("CC6.3",), "iso-27001": ("A.5.3", "A.5.15")},
)
def task_roles_apart(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """A task without a role has no rights, and on Fargate one without the other does not start."""
    starts, runs = resource.get("executionRoleArn"), resource.get("taskRoleArn")
    if not starts:
        yield "nobody in particular starts it"
    if not runs:
        yield "it is nobody in particular"
    if starts and starts == runs:
        yield "one role starts it and is it"


@resource_rule(
    "task-not-entered",
    title="In prod nobody signs in to a task",
    types=(SERVICE,),
    severity="high",
    why="A shell in a container is the container's rights without its program, and what is typed there is in no review.",
    remedy="enable_execute_command=False; logs and traces say what happens inside.",
    controls={"soc2": ("CC6.1", "CC6.3"), "iso-27001": ("A.8.2", "A.8.32")},
)
def task_not_entered(resource: Resource, graph: Graph) -> Found:
    """ECS Exec; elsewhere it is a way to find out."""
    if is_prod(graph) and resource.get("enableExecuteCommand", False) is not False:
        yield "whoever may, opens a shell in its tasks"
