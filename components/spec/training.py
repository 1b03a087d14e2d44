"""How models are trained: the cluster, the pools of accelerators, the queues in front of them, and who shares them."""

from ipaddress import IPv4Network
from typing import Annotated, Literal

from pydantic import AwareDatetime, Discriminator, Field, Tag

from components.spec.experiments import Pipeline, Tracking, Workbench
from components.spec.section import CloudName, Days, Name, Section

Day = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
# The name is required ("Configure Google Groups for RBAC", GKE).
SecurityGroup = Annotated[str, Field(pattern=r"^gke-security-groups@[a-z0-9]([a-z0-9.-]*[a-z0-9])?\.[a-z]{2,}$")]
Market = Literal["spot", "on-demand", "flex-start", "queued"]


class Window(Section):
    """When the cloud may upgrade the cluster and its machines."""

    day: Day = Field(default="sunday", description="Day of the week, in UTC.")
    hour: Annotated[int, Field(ge=0, le=23)] = Field(default=3, description="Hour of the day in UTC.")
    hours: Annotated[int, Field(ge=12, le=24)] = Field(
        default=12, description="How long it lasts; GKE wants 48 hours in any 32 days."
    )


class System(Section):
    """Machines of the cluster's own services, apart from all workloads."""

    min: Annotated[int, Field(ge=2, le=20)] = Field(
        default=2, description="Machines at all times; Karpenter wants two in two zones."
    )
    max: Annotated[int, Field(ge=2, le=20)] = Field(default=4, description="Machines at most.")


class Cluster(Section):
    """The Kubernetes cluster. It is there where a pool or a queue needs it."""

    version: Literal["1.34", "1.35", "1.36"] = Field(
        default="1.35",
        description="Kubernetes version; one minor version at a time goes up, none goes down. 1.34 has no standard support left"
        " on GKE, nor on EKS from 2026-12-02: it wants `upgrades: extended`.",
    )
    allow: list[IPv4Network] = Field(
        default=[], description="Ranges outside the network that may reach the control plane; none: it is private."
    )
    security_group: SecurityGroup | None = Field(
        default=None,
        description="GKE: `gke-security-groups@DOMAIN`, a group of that name in the organisation's domain. The personas' groups"
        " are members of it, and members may see who is in them. Only then may roles in the cluster name them: without it"
        " nobody but administrators submits jobs there.",
    )
    upgrades: Literal["standard", "extended"] = Field(
        default="standard", description="`extended`: stay on a version for longer, at six times the price."
    )
    window: Window = Field(default=Window(), description="When the cloud may upgrade.")
    system: System = Field(default=System(), description="Machines of the cluster's own services.")


class TrainingTeam(Section):
    """What one team may take of the accelerators."""

    share: Annotated[int, Field(ge=1, le=1000)] = Field(
        description="Weight against the other teams when all want more."
    )
    gpus: Annotated[int, Field(ge=1, le=10_000)] = Field(description="Accelerators at once at most, in all its queues.")


class TimeSlicing(Section):
    """Several workloads take turns on one accelerator, without any wall between their memories."""

    kind: Literal["time-slicing"]
    replicas: Annotated[int, Field(ge=2, le=48)] = Field(description="Workloads an accelerator.")


class Mig(Section):
    """An accelerator is cut into parts, each with memory of its own (Multi-Instance GPU)."""

    kind: Literal["mig"]
    profile: Annotated[str, Field(pattern=r"^[1-7]g\.\d+gb$")] = Field(description="Size of a part, such as `1g.10gb`.")


Sharing = Annotated[TimeSlicing | Mig, Field(discriminator="kind")]


class Accelerated(Section):
    """Which accelerator a machine has, and how many."""

    type: str = Field(description="A name of the catalogue, such as `nvidia-l4`.")
    per_node: Annotated[int, Field(ge=1, le=16)] = Field(default=1, description="Accelerators a machine.")
    topology: Annotated[str, Field(pattern=r"^\d+x\d+(x\d+)?$")] | None = Field(
        default=None, description="TPU: how the chips of a slice are laid out, such as `2x4`."
    )
    sharing: Sharing | None = Field(default=None, description="Let several workloads share one accelerator.")


class Nodes(Section):
    """How many machines."""

    min: Annotated[int, Field(ge=0, le=1000)] = Field(default=0, description="Machines at all times.")
    max: Annotated[int, Field(ge=1, le=1000)] = Field(description="Machines at most.")


class Reserved(Section):
    """Machines of a reservation."""

    reserved: Annotated[str, Field(min_length=1)] = Field(
        description="AWS: id of a capacity reservation, `cr-…`; with `resilience: hyperpod` the ARN of a training plan of"
        " SageMaker. Google Cloud: name of a reservation,"
        " or `projects/PROJECT/reservations/NAME`; also one of a calendar."
    )
    nodes: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Machines of it; by default what is left of the pool's maximum, shared evenly."
    )
    zone: str | None = Field(default=None, description="Zone that it lies in.")


class Block(Section):
    """Machines of a capacity block of EC2."""

    block: Annotated[str, Field(pattern=r"^cr-[0-9a-f]{4,20}$")] = Field(
        description="Id of the reservation that the block is, `cr-…`."
    )
    nodes: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Machines of it; by default what is left of the pool's maximum, shared evenly."
    )
    zone: str | None = Field(default=None, description="Zone that it lies in.")
    starts: AwareDatetime | None = Field(
        default=None, description="When its machines may start; without it a person scales the pool."
    )
    ends: AwareDatetime | None = Field(
        default=None, description="When it ends; its machines are gone half an hour before, as EC2 wants it."
    )


def _branch(value: object) -> str:
    """Which form of capacity somebody wrote, so that what is wrong with it is said of that form."""
    if isinstance(value, Block) or (isinstance(value, dict) and "block" in value):
        return Block.__name__
    return Reserved.__name__ if isinstance(value, dict | Reserved) else "Market"


Capacity = Annotated[
    Annotated[Market, Tag("Market")] | Annotated[Reserved, Tag("Reserved")] | Annotated[Block, Tag("Block")],
    Discriminator(_branch),
]


class Pool(Section):
    """Machines of one kind. Names the accelerator, or the machine type itself, or both."""

    accelerator: Accelerated | None = Field(
        default=None, description="The accelerator; the catalogue finds the machine."
    )
    machine: str | None = Field(default=None, description="The machine type, such as `g6.12xlarge`.")
    nodes: Nodes = Field(description="How many machines.")
    capacity: Annotated[list[Capacity], Field(min_length=1)] = Field(
        default=["on-demand"], description="Where they come from, the first choice first."
    )
    interconnect: Literal["default", "fast"] = Field(
        default="default", description="`fast`: side by side in one zone, on the machine's own fabric (EFA, GPUDirect)."
    )
    zone: str | None = Field(default=None, description="The only zone; by default all zones that have the machine.")
    disk_gib: Annotated[int, Field(ge=50, le=16_000)] = Field(default=200, description="Root disk of a machine, GiB.")
    scheduler: Literal["kubernetes", "batch"] = Field(
        default="kubernetes", description="What places work on it: the cluster, or AWS Batch."
    )
    resilience: Literal["none", "hyperpod"] = Field(
        default="none",
        description="`hyperpod`, on AWS: SageMaker HyperPod watches the machines, and restarts or replaces those that fail.",
    )
    team: Name | None = Field(default=None, description="The team that alone uses it, for the bill.")
    on: CloudName | None = Field(default=None, description="The cloud; by default the environment's first.")


class Queue(Section):
    """Where jobs wait for machines of some pools."""

    pools: Annotated[list[Name], Field(min_length=1)] = Field(description="Pools, the first choice first.")
    teams: Annotated[list[Name], Field(min_length=1)] | None = Field(
        default=None, description="Teams that may use it; by default all that train."
    )
    priority_classes: dict[Name, Annotated[int, Field(ge=0, le=9999)]] = Field(
        default={"normal": 100}, description="Names of priorities; more goes first."
    )
    retries: Annotated[int, Field(ge=0, le=9)] = Field(
        default=3, description="How often a job is started again after its machine was taken away."
    )
    timeout_hours: Annotated[int, Field(ge=1, le=720)] = Field(
        default=24, description="Longest run of a job, in hours."
    )
    checkpoint: Name | None = Field(
        default=None, description="Zone of its checkpoints; by default `training.checkpoint_zone`."
    )


class Distributed(Section):
    """Controllers of jobs that span machines."""

    jobset: bool = Field(default=True, description="JobSet: groups of jobs that start and fail as one.")
    ray: bool = Field(default=False, description="KubeRay: clusters of Ray, from a queue.")


class Training(Section):
    """Training of the environment."""

    checkpoint_zone: Name = Field(default="artifacts", description="Zone that holds checkpoints, under `checkpoints/`.")
    checkpoint_days: Days = Field(description="Days that a checkpoint is kept.")
    max_accelerators: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        default=None, description="Accelerators at once in all pools; by default what the pools' maxima come to."
    )
    cluster: Cluster = Field(default=Cluster(), description="The Kubernetes cluster.")
    teams: dict[Name, TrainingTeam] = Field(default={}, description="Who trains, and with which share.")
    pools: dict[Name, Pool] = Field(default={}, description="Machines by pool.")
    queues: dict[Name, Queue] = Field(default={}, description="Queues in front of them.")
    distributed: Distributed = Field(default=Distributed(), description="Controllers of jobs that span machines.")
    image: Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]{0,30}[a-z0-9])?[:@][\w.:-]{1,128}$")] = Field(
        default="training:1.0.0",
        description="AWS: what jobs of Batch run unless a submission says otherwise: a repository of `registry.images` with"
        " a tag or a digest.",
    )
    workbench: Workbench | None = Field(default=None, description="Managed notebooks; none where left out.")
    tracking: Tracking | None = Field(
        default=None, description="Where experiments are recorded; nowhere where left out."
    )
    pipelines: dict[Name, Pipeline] = Field(default={}, description="Pipelines that train, and register what is good.")

    @property
    def checkpoint_zones(self) -> frozenset[str]:
        """Every zone that holds checkpoints."""
        return frozenset(
            {self.checkpoint_zone, *(queue.checkpoint for queue in self.queues.values() if queue.checkpoint)}
        )

    def checkpoints(self, queue: str) -> str:
        """The zone of a queue's checkpoints."""
        return self.queues[queue].checkpoint or self.checkpoint_zone
