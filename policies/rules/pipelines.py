"""Pipelines that train and register models without anybody watching."""

from collections.abc import Iterator, Mapping
from typing import Any

from policies.context import items, mapping, maps
from policies.model import Graph, Resource, is_unknown
from policies.pods import decoded
from policies.rule import Found, Violation, resource_rule
from policies.rules.workloads import loose

PIPELINE = "aws:sagemaker/pipeline:Pipeline"
WORKFLOW = "gcp:workflows/workflow:Workflow"
_MAKES_JOBS = {"Processing", "Training", "Transform", "Tuning"}


def steps(pipeline: Resource) -> Iterator[Mapping[str, Any]]:
    """The steps of a pipeline's definition, those of its conditions too."""
    yield from _within(mapping(decoded(pipeline.get("pipelineDefinition"))).get("Steps"))


def _within(found: Any) -> Iterator[Mapping[str, Any]]:
    for step in maps(found):
        yield step
        for branch in ("IfSteps", "ElseSteps"):
            yield from _within(mapping(step.get("Arguments")).get(branch))


def _jobs(pipeline: Resource) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    """Name and arguments of each job that a pipeline makes."""
    for step in steps(pipeline):
        if str(step.get("Type")) in _MAKES_JOBS:
            yield step.get("Name"), mapping(step.get("Arguments"))


@resource_rule(
    "pipeline-readable",
    title="What a pipeline does can be read before it is deployed",
    types=(PIPELINE,),
    severity="medium",
    why="A definition that cannot be read is one that no rule looked at.",
    remedy="A definition written in the program, as pulumi.Output.json_dumps makes it.",
    controls={"soc2": ("CC8.1",), "iso-27001": ("A.8.32",)},
)
def pipeline_readable(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """One that waits for an output is only told of."""
    value = resource.get("pipelineDefinition")
    if is_unknown(value):
        yield Violation("its definition is not known before the deployment", enforcement="advisory")
    elif not any(True for _ in steps(resource)):
        yield "its definition has no steps"


@resource_rule(
    "pipeline-private",
    title="A job of a pipeline runs in the network, and leaves nothing unencrypted",
    types=(PIPELINE,),
    severity="high",
    why="A job outside of the network sends training data wherever its newest dependency likes.",
    remedy="VpcConfig, a key for volumes and outputs, and encryption between the machines of one job.",
    controls={
        "soc2": ("CC6.1", "CC6.6", "CC6.7"),
        "iso-27001": ("A.8.12", "A.8.20", "A.8.24"),
        "gdpr": ("32",),
        "eu-ai-act": ("15",),
    },
)
def pipeline_private(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """The disks of machines that bring their own are encrypted by the hardware, and take no key: volumes may name none."""
    for name, job in _jobs(resource):
        network = mapping(job.get("NetworkConfig"))
        inside = mapping(job.get("VpcConfig") or network.get("VpcConfig"))
        if not inside.get("Subnets") or not inside.get("SecurityGroupIds"):
            yield f"the step {name} is outside of the network"
        output = mapping(job.get("OutputDataConfig") or job.get("ProcessingOutputConfig"))
        if not output.get("KmsKeyId"):
            yield f"the output of the step {name} is encrypted with no key of ours"
        machines = mapping(
            job.get("ResourceConfig") or mapping(job.get("ProcessingResources")).get("ClusterConfig")
        ).get("InstanceCount", 1)
        between = "EnableInterContainerTrafficEncryption"
        if machines != 1 and (job.get(between) or network.get(between)) is not True:
            yield f"the machines of the step {name} speak in clear to one another"


@resource_rule(
    "pipeline-bounded",
    title="A job of a pipeline ends, and on machines that may be taken away it keeps checkpoints",
    types=(PIPELINE,),
    severity="medium",
    why="Nobody watches a pipeline: what hangs is found on the bill.",
    remedy="max_hours of each job; with spot a checkpoint, which the pipeline keeps in its own zone.",
    controls={"soc2": ("CC7.2", "A1.2"), "iso-27001": ("A.8.6", "A.8.13")},
)
def pipeline_bounded(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """Without a condition SageMaker stops a job after a day, whatever it was meant to take."""
    for name, job in _jobs(resource):
        if not mapping(job.get("StoppingCondition")).get("MaxRuntimeInSeconds"):
            yield f"the step {name} has no end"
        spot = job.get("EnableManagedSpotTraining", False) is not False
        if spot and not mapping(job.get("CheckpointConfig")).get("S3Uri"):
            yield f"the step {name} is on spot machines and keeps no checkpoint"


@resource_rule(
    "pipeline-approval",
    title="A pipeline registers models, and a person approves them",
    types=(PIPELINE,),
    severity="high",
    why="A model that approves itself is in prod the night that its training data was poisoned.",
    remedy="ModelApprovalStatus: PendingManualApproval.",
    controls={
        "soc2": ("CC8.1",),
        "iso-27001": ("A.5.3", "A.8.32"),
        "eu-ai-act": ("10", "15"),
        "nist-ai-rmf": ("MEASURE 2.7",),
    },
)
def pipeline_approval(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """Without a status a version waits; what a parameter decides, whoever starts the run decides."""
    for step in steps(resource):
        if step.get("Type") == "RegisterModel":
            status = mapping(step.get("Arguments")).get("ModelApprovalStatus", "PendingManualApproval")
            if status != "PendingManualApproval":
                yield f"what the step {step.get('Name')} registers is {status if isinstance(status, str) else 'not decided'}"


@resource_rule(
    "pipeline-images-pinned",
    title="A pipeline runs the same program every time",
    types=(PIPELINE,),
    severity="medium",
    why="What is called latest is another program next week, and no model can be explained by the run that made it.",
    remedy="A version, or a digest, of every image.",
    controls={"soc2": ("CC8.1",), "iso-27001": ("A.8.9",), "eu-ai-act": ("12", "15")},
)
def pipeline_images_pinned(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """Of the jobs, and of what will serve the model."""
    for step in steps(resource):
        arguments = mapping(step.get("Arguments"))
        images = [
            mapping(arguments.get("AppSpecification")).get("ImageUri"),
            mapping(arguments.get("AlgorithmSpecification")).get("TrainingImage"),
            *(c.get("Image") for c in maps(mapping(arguments.get("InferenceSpecification")).get("Containers"))),
        ]
        for image in items(images):
            if wrong := loose(image):
                yield f"in the step {step.get('Name')}, {wrong}"


@resource_rule(
    "pipeline-own-identity",
    title="A pipeline is somebody in particular",
    types=(PIPELINE, WORKFLOW),
    severity="high",
    why="Without an identity of its own a workflow is the project's default one, which is an editor of the whole project.",
    remedy="role_arn, or service_account, of an identity made for it.",
    controls={"cis-gcp": ("4.1",), "soc2": ("CC6.3",), "iso-27001": ("A.5.16",)},
)
def pipeline_own_identity(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """The identity is missing, or the default one."""
    path = "roleArn" if resource.type == PIPELINE else "serviceAccount"
    who = str(resource.get(path, ""))
    if not who:
        yield "it has no identity of its own"
    elif who.endswith("-compute@developer.gserviceaccount.com"):
        yield f"it is {who}"
