"""What notebooks, tracking and pipelines have to fulfil: machines that the clouds' services have, and parts that are there."""

from collections.abc import Callable, Iterator
from typing import cast
from zoneinfo import available_timezones

from components.core.accelerators import MACHINES
from components.core.cron import eventbridge
from components.core.sagemaker import Use
from components.spec.environment import Environment
from components.spec.experiments import Pipeline, Step, Tracking, fitting, offers
from components.spec.foundation import Aws, Gcp
from components.spec.problems import Problem, one_of
from components.spec.section import CloudName
from components.spec.source import Layer, Path

_STEPS: dict[str, Use] = {"prepare": "processing", "train": "training", "evaluate": "processing"}
# "Connect Amazon SageMaker Studio in a VPC to External Resources": what it cannot do without where there is no other way out.
_STUDIO = ("sagemaker.api", "sagemaker.runtime")


def users(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """People with a notebook: of a team, with a persona that can sign in, on a machine that is allowed."""
    workbench = environment.training.workbench
    if workbench is None:
        return
    for name, user in workbench.users.items():
        path = ("training", "workbench", "users", name)
        if user.team not in environment.teams:
            yield layer.problem((*path, "team"), f"there is no team {user.team}", one_of(user.team, environment.teams))
        access = environment.identity.personas.get(user.persona)
        if environment.cloud.aws and workbench.sign_in == "iam" and not (access and access.permission_set):
            yield layer.problem(
                (*path, "persona"),
                f"{user.persona} cannot sign in on aws",
                "sign_in: sso, or a permission_set for the persona",
            )
        if user.machine and user.machine not in workbench.machines.gcp:
            yield layer.problem(
                (*path, "machine"), f"{user.machine} is not allowed", one_of(user.machine, workbench.machines.gcp)
            )


def workbenches(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """Machines that notebooks can have, a disk under its ceiling, and a way to SageMaker."""
    workbench = environment.training.workbench
    if workbench is None:
        return
    path: Path = ("training", "workbench")
    for cloud in environment.cloud.names:
        known = dict.fromkeys(m.type for m in MACHINES if m.cloud == cloud and offers(m, "notebook"))
        for i, kind in enumerate(getattr(workbench.machines, cloud)):
            if kind not in known:
                yield layer.problem(
                    (*path, "machines", cloud, i), f"{kind} is no machine of a notebook on {cloud}", one_of(kind, known)
                )
    if environment.cloud.aws and workbench.disk_gib > workbench.max_disk_gib:
        yield layer.problem(
            (*path, "max_disk_gib"),
            f"{workbench.max_disk_gib} is under disk_gib {workbench.disk_gib}",
            f"{workbench.disk_gib} or more",
        )
    network, services = environment.network, environment.network.private_services
    closed = network.nat == "none" or network.egress == "deny"
    missing = [service for service in _STUDIO if service not in (services or ())]
    if environment.cloud.aws and closed and services is not None and missing:
        yield layer.problem(
            ("network", "private_services"),
            f"notebooks find no way to {' and '.join(missing)}",
            f"{', '.join(missing)} in the list, or a way out of the network",
        )


def tracking(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """A zone for artifacts that is there; for a server of our own a cluster, and a disk with room."""
    found = environment.training.tracking
    path: Path = ("training", "tracking")
    if found and found.zone not in environment.data.zones:
        yield layer.problem(
            (*path, "zone"), f"there is no zone {found.zone}", one_of(found.zone, environment.data.zones)
        )
    if found and found.server == "kubernetes":
        yield from _in_cluster(environment, layer, path, found)


def _in_cluster(environment: Environment, layer: Layer, path: Path, found: Tracking) -> Iterator[Problem]:
    pools = environment.training.pools.values()
    for cloud in environment.cloud.names:
        if not any(pool.scheduler == "kubernetes" and environment.cloud_of(pool) == cloud for pool in pools):
            yield layer.problem(
                (*path, "server"),
                f"there is no cluster on {cloud}",
                "managed, or a pool on it with scheduler: kubernetes",
            )
    if found.register_models:
        yield layer.problem(
            (*path, "register_models"), "MLflow in the cluster enters nothing there", "false, or server: managed"
        )
    if found.database.max_disk_gib < found.database.disk_gib:
        yield layer.problem(
            (*path, "database", "max_disk_gib"),
            f"{found.database.max_disk_gib} is under disk_gib {found.database.disk_gib}",
            f"{found.database.disk_gib} or more",
        )


def pipelines(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """Pipelines of teams, models and zones that are there, on a cloud that is there, with one bound to pass."""
    for name, pipeline in environment.training.pipelines.items():
        path: Path = ("training", "pipelines", name)
        if pipeline.on and pipeline.on not in environment.cloud.names:
            yield layer.problem(
                (*path, "on"), f"the environment is not on {pipeline.on}", one_of(pipeline.on, environment.cloud.names)
            )
        for key, value, known in (
            ("team", pipeline.team, environment.teams),
            ("model", pipeline.model, environment.registry.models),
            ("zone", pipeline.zone, environment.data.zones),
        ):
            if value not in known:
                yield layer.problem((*path, key), f"there is no {key} {value}", one_of(value, known))
        for channel, data in pipeline.inputs.items():
            if data.zone not in environment.data.zones:
                yield layer.problem(
                    (*path, "inputs", channel, "zone"),
                    f"there is no zone {data.zone}",
                    one_of(data.zone, environment.data.zones),
                )
        if (pipeline.gate.at_least is None) == (pipeline.gate.at_most is None):
            yield layer.problem(
                (*path, "gate"), "it has no bound, or two", "at_least where more is better, or at_most where less is"
            )
        yield from _schedule(environment, layer, path, pipeline)


def _schedule(environment: Environment, layer: Layer, path: Path, pipeline: Pipeline) -> Iterator[Problem]:
    known = available_timezones()
    # A machine without a database of time zones leaves it to the cloud.
    if known and pipeline.time_zone not in known:
        yield layer.problem(
            (*path, "time_zone"), f"there is no time zone {pipeline.time_zone}", "such as UTC or Europe/Berlin"
        )
    if pipeline.schedule and environment.cloud_of(pipeline) == "aws":
        try:
            eventbridge(pipeline.schedule)
        except ValueError:
            yield layer.problem(
                (*path, "schedule"),
                "EventBridge takes a day of the month or a day of the week",
                "a * in one of the two",
            )


def steps(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """Machines that the cloud's service has in the region."""
    for name, pipeline in environment.training.pipelines.items():
        path: Path = ("training", "pipelines", name)
        cloud = environment.known_cloud(pipeline)
        for key, use in _STEPS.items():
            step = cast("Step", getattr(pipeline, key))
            if cloud:
                region = cast("Aws | Gcp", getattr(environment.cloud, cloud)).region
                yield from _machine(layer, (*path, key), step, cloud, region, use)


def _machine(layer: Layer, path: Path, step: Step, cloud: CloudName, region: str, use: Use) -> Iterator[Problem]:
    if fitting(step, cloud, region, use):
        return
    known = dict.fromkeys(m.type for m in MACHINES if m.cloud == cloud and offers(m, use))
    service = "SageMaker" if cloud == "aws" else "Vertex AI"
    if step.machine and step.machine not in known:
        yield layer.problem(
            (*path, "machine"),
            f"{service} has no {step.machine} for this step",
            one_of(step.machine, known),
        )
        return
    accelerators = dict.fromkeys(m.accelerator for m in MACHINES if m.type in known and m.accelerator)
    what = f"{step.per_machine} {step.accelerator} a machine"
    if step.machine:
        yield layer.problem((*path, "accelerator"), f"{step.machine} does not carry {what}", "one of the two alone")
    else:
        yield layer.problem(
            (*path, "accelerator"),
            f"{service} has no machine with {what} in {region} for this step",
            one_of(step.accelerator or "", [str(name) for name in accelerators]),
        )


CHECKS: tuple[Callable[[Environment, Layer], Iterator[Problem]], ...] = (
    users,
    workbenches,
    tracking,
    pipelines,
    steps,
)
