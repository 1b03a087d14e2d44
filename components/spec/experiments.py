"""How people and pipelines experiment: notebooks, where experiments are recorded, and pipelines that train on a cadence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from components.core import sagemaker, vertex
from components.core.accelerators import Machine, machine, machines
from components.core.cron import PATTERN
from components.spec.images import Image
from components.spec.section import CloudName, Email, Name, Section

Prefix = Annotated[str, Field(pattern=r"^([\w.-]+/)*$", max_length=200)]
Text = Annotated[str, Field(max_length=256)]


class WorkbenchUser(Section):
    """A person with a notebook of their own."""

    persona: Literal["data-scientist", "ml-engineer"] = Field(description="Whose rights on data the notebook has.")
    team: Name = Field(description="The team that pays for it.")
    email: Email = Field(
        description="Google Cloud: the account that alone may open it. AWS, with `sign_in: sso`: the user's name in"
        " IAM Identity Center."
    )
    machine: str | None = Field(
        default=None, description="Google Cloud: its machine type, one of `machines.gcp`; by default the first of them."
    )


class WorkbenchMachines(Section):
    """Machine types that a notebook may have, the default first."""

    aws: Annotated[list[str], Field(min_length=1, max_length=20)] = Field(
        default=["t3.medium", "t3.xlarge", "m7i.2xlarge"],
        description="EC2 instance types; jobs that are started from a notebook may have them too.",
    )
    gcp: Annotated[list[str], Field(min_length=1, max_length=20)] = Field(
        default=["e2-standard-4", "e2-standard-8"],
        description="Machine types of Compute Engine; one that takes a guest accelerator comes without.",
    )


class Workbench(Section):
    """Managed notebooks: private, one for each person, and off when nobody uses them."""

    users: dict[Name, WorkbenchUser] = Field(default={}, description="Who has a notebook.")
    sign_in: Literal["iam", "sso"] = Field(
        default="iam",
        description="AWS: `sso`: each user by IAM Identity Center, which has to be in the same region; `iam`: by the role"
        " of the persona, which is told apart from the others' by the name of its session only.",
    )
    idle_hours: Annotated[int, Field(ge=1, le=24)] = Field(
        default=2, description="Hours without use after which a notebook is switched off; nobody can set more."
    )
    machines: WorkbenchMachines = Field(
        default=WorkbenchMachines(), description="Machine types that a notebook may have."
    )
    disk_gib: Annotated[int, Field(ge=10, le=1000)] = Field(default=50, description="Disk of a notebook, GiB.")
    max_disk_gib: Annotated[int, Field(ge=10, le=4000)] = Field(
        default=200, description="AWS: the largest disk that a user can give a notebook, GiB."
    )


class Database(Section):
    """The database behind a tracking server of our own: PostgreSQL, run by the cloud."""

    size: Literal["small", "medium", "large"] = Field(
        default="small", description="`small`: 2 vCPUs at most; each further size has about twice as much."
    )
    disk_gib: Annotated[int, Field(ge=20, le=4000)] = Field(default=20, description="Disk to start with, GiB.")
    max_disk_gib: Annotated[int, Field(ge=20, le=16_000)] = Field(
        default=200, description="Disk that it may grow to by itself, GiB; it never shrinks."
    )


class Tracking(Section):
    """Where experiments are recorded: managed MLflow on AWS, TensorBoard and experiments of Vertex AI on Google Cloud.

    Or MLflow in the cluster, the same on each cloud, which only the teams' work in that cluster reaches.
    """

    server: Literal["managed", "kubernetes"] = Field(
        default="managed", description="`kubernetes`: MLflow in the cluster, with a database and a bucket of ours."
    )
    zone: Name = Field(
        default="artifacts",
        description="Zone of the artifacts of runs, under `mlflow/`; not of those that Vertex AI keeps itself.",
    )
    register_models: bool = Field(
        default=False,
        description="AWS, managed: enter models that a run registers in MLflow into SageMaker's registry too, to wait for"
        " approval there, in groups that the description does not know.",
    )
    image: Image = Field(
        default="ghcr.io/mlflow/mlflow:v3.15.1-full",
        description="In the cluster: the image of MLflow with its drivers of databases and clouds, or one of ours as"
        " `REPOSITORY:TAG`, with a repository of `registry.images`.",
    )
    database: Database = Field(default=Database(), description="In the cluster: its database.")


class Input(Section):
    """Data that a pipeline reads."""

    zone: Name = Field(description="The zone.")
    prefix: Prefix = Field(default="", description="What lies under it, ending in a slash; by default the whole zone.")


class Step(Section):
    """A job of a pipeline: a container on a machine that is there for as long as it runs.

    What it finds in its environment, the same on each cloud, is a folder or a file: `INPUT_{NAME}` for what it reads,
    `OUTPUT_{NAME}` for what it has to write, `MODEL` for the folder of the model.
    """

    image: Image = Field(
        description="The image, by tag or digest: one of ours as `REPOSITORY:TAG`, with a repository of `registry.images`."
    )
    arguments: Annotated[list[Text], Field(max_length=100)] = Field(
        default=[], description="Arguments of its entry point."
    )
    environment: dict[Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,62}$")], Text] = Field(
        default={}, description="Environment variables besides; never a secret.", max_length=50
    )
    machine: str | None = Field(
        default=None, description="Machine type; by default one with 2 to 4 vCPUs, or what the accelerator needs."
    )
    accelerator: str | None = Field(default=None, description="A name of the catalogue, such as `nvidia-l4`.")
    per_machine: Annotated[int, Field(ge=1, le=16)] = Field(default=1, description="Accelerators a machine.")
    machines: Annotated[int, Field(ge=1, le=64)] = Field(default=1, description="Machines at once, and no more.")
    disk_gib: Annotated[int, Field(ge=30, le=16_000)] = Field(
        default=100, description="Disk of a machine, GiB; a machine with disks of its own has those, on AWS."
    )
    max_hours: Annotated[int, Field(ge=1, le=120)] = Field(
        default=6, description="Hours after which it is stopped, whatever it does."
    )


class TrainingStep(Step):
    """The job that trains. `CHECKPOINT` is a folder that survives an interruption, and holds what was there before."""

    spot: bool = Field(
        default=False, description="On machines that can be taken away; it then starts from its checkpoint."
    )
    max_wait_hours: Annotated[int, Field(ge=1, le=120)] = Field(
        default=24,
        description="With `spot`: hours that it waits for machines, before its start and after an interruption.",
    )


class Gate(Section):
    """What a model has to reach before it is registered. `evaluation.json` holds a number for each metric."""

    metric: Annotated[str, Field(pattern=r"^[A-Za-z_]\w{0,62}$")] = Field(description="Name of the metric.")
    at_least: float | None = Field(default=None, description="The least that is enough.")
    at_most: float | None = Field(default=None, description="The most that is good enough, where less is better.")


class Pipeline(Section):
    """Prepare, train, evaluate and, where the model is good enough, register it; a person approves it after that.

    `prepare` writes `OUTPUT_TRAIN` and `OUTPUT_TEST`, `train` reads `INPUT_TRAIN` and writes `MODEL`, `evaluate` reads
    `INPUT_TEST` and `MODEL` and writes `evaluation.json` into `OUTPUT_EVALUATION`.
    """

    team: Name = Field(description="The team that owns it and pays for it.")
    on: CloudName | None = Field(default=None, description="The cloud; by default the environment's first.")
    model: Name = Field(description="The model of `registry.models` that it makes versions of.")
    schedule: Annotated[str, Field(pattern=PATTERN)] | None = Field(
        default=None,
        description="When it runs, in the five fields of cron, at most once an hour; by default when somebody starts it.",
    )
    time_zone: Annotated[str, Field(pattern=r"^[A-Za-z]+([/_+-][A-Za-z0-9]+)*$")] = Field(
        default="UTC", description="Time zone of the schedule, such as `Europe/Berlin`."
    )
    inputs: Annotated[dict[Name, Input], Field(min_length=1, max_length=9)] = Field(description="What `prepare` reads.")
    zone: Name = Field(
        default="artifacts", description="Zone of what its runs leave behind, under `pipelines/{name}/`."
    )
    prepare: Step = Field(description="Makes data to train with and to test with.")
    train: TrainingStep = Field(description="Trains.")
    evaluate: Step = Field(description="Measures the model against the test data.")
    serving_image: Image = Field(description="The image that serves the model.")
    gate: Gate = Field(description="What the model has to reach.")
    network: Literal["none", "private"] = Field(
        default="none",
        description="AWS: `none`: its containers reach nothing at all, data is brought to them; `private`: they reach the"
        " environment's network, to record experiments for instance. On Google Cloud it is always the latter.",
    )


# Machines of steps that name none.
_USUAL: Mapping[CloudName, str] = {"aws": "m7i.xlarge", "gcp": "n2-standard-4"}


@dataclass(frozen=True, kw_only=True)
class Job:
    """A step, worked out for one cloud."""

    image: Any
    """As written; a cloud puts the address of its own repository in its place, where it names one."""
    arguments: Sequence[str]
    environment: Mapping[str, str]
    machine: Machine
    machines: int
    disk_gib: int
    max_hours: int


@dataclass(frozen=True, kw_only=True)
class Run:
    """A pipeline, worked out for one cloud."""

    name: str
    team: str
    model: str
    schedule: str | None
    time_zone: str
    inputs: Mapping[str, Input]
    zone: str
    prepare: Job
    train: Job
    spot: bool
    max_wait_hours: int
    evaluate: Job
    serving_image: Any
    gate: Gate
    isolated: bool
    """AWS: its containers reach nothing."""

    @property
    def steps(self) -> dict[str, Job]:
        """The jobs by the name of their step."""
        return {"prepare": self.prepare, "train": self.train, "evaluate": self.evaluate}


def run(name: str, pipeline: Pipeline, cloud: CloudName, region: str) -> Run:
    """A pipeline on a cloud; one that the checks let through. ValueError where there is no machine for a step."""
    return Run(
        name=name,
        team=pipeline.team,
        model=pipeline.model,
        schedule=pipeline.schedule,
        time_zone=pipeline.time_zone,
        inputs=pipeline.inputs,
        zone=pipeline.zone,
        prepare=_job(pipeline.prepare, cloud, region, "processing"),
        train=_job(pipeline.train, cloud, region, "training"),
        spot=pipeline.train.spot,
        max_wait_hours=pipeline.train.max_wait_hours,
        evaluate=_job(pipeline.evaluate, cloud, region, "processing"),
        serving_image=pipeline.serving_image,
        gate=pipeline.gate,
        isolated=pipeline.network == "none",
    )


def _job(step: Step, cloud: CloudName, region: str, use: sagemaker.Use) -> Job:
    found = fitting(step, cloud, region, use)
    if found is None:
        raise ValueError(f"no machine of {cloud} for {step.machine or step.accelerator}")
    return Job(
        image=step.image,
        arguments=step.arguments,
        environment=step.environment,
        machine=found,
        machines=step.machines,
        disk_gib=step.disk_gib,
        max_hours=step.max_hours,
    )


def fitting(step: Step, cloud: CloudName, region: str, use: sagemaker.Use) -> Machine | None:
    """The machine of a step: the one that it names, else the best that has its accelerators and that the service offers.

    >>> found = fitting(Step(image="a:1", accelerator="nvidia-l4"), "aws", "us-west-2", "processing")
    >>> found.type if found else None
    'g6.2xlarge'
    """
    wanted = (step.accelerator, step.per_machine) if step.accelerator else ()
    if step.machine is None and wanted:
        known = machines(cloud, *wanted, region)
    else:
        named = machine(cloud, step.machine or _USUAL[cloud], *wanted)
        known = (named,) if named else ()
    return next((found for found in known if offers(found, use)), None)


def offers(found: Machine, use: sagemaker.Use) -> bool:
    """Whether the cloud's own service, SageMaker or Vertex AI, has a machine for a use."""
    if found.cloud == "aws":
        return sagemaker.offered(found, use)
    return vertex.offered(found, notebook=use == "notebook")
