"""The whole description of one environment, after merging: what the clouds are built from."""

from collections.abc import Iterator, Mapping
from typing import Protocol, TypeVar, cast

from pydantic import Field

from components.spec.cost import Budget, Cost
from components.spec.data import Data
from components.spec.foundation import (
    Aws,
    Clouds,
    Company,
    Delivery,
    Gcp,
    Identity,
    Keys,
    Logs,
    Network,
    Policy,
    Protection,
    SecretSpec,
    Team,
    Waiver,
)
from components.spec.operations import Operations
from components.spec.regions import REGIONS
from components.spec.registry import Registry
from components.spec.retrieval import Retrieval
from components.spec.section import CloudName, Name, Section, Tier
from components.spec.serving import Serving
from components.spec.training import Training


class Placed(Protocol):
    """Part of a description that is on one cloud: the one that it names, else the environment's first."""

    @property
    def on(self) -> CloudName | None:
        """The cloud that it names."""
        ...


K = TypeVar("K", bound=str)
P = TypeVar("P", bound=Placed)


class Environment(Section):
    """One isolated environment. Its name is the name of its stack."""

    name: Name = Field(description="Name of the stack; not written in a file.")
    tier: Tier = Field(description="Which defaults and which minimum the environment has.")
    cloud: Clouds = Field(description="Where it runs; at least one cloud.")
    company: Company = Field(description="Whose platform it is.")
    teams: dict[Name, Team] = Field(default={}, description="Groups of people that share the environment.")
    network: Network = Field(description="Its private network.")
    keys: Keys = Field(description="Its encryption keys.")
    logs: Logs = Field(description="Its operational logs.")
    protection: Protection = Field(description="What a destroy does.")
    identity: Identity = Field(description="Who its people are.")
    secrets: dict[Name, SecretSpec] = Field(default={}, description="Its secrets.")
    delivery: Delivery = Field(default=Delivery(), description="How changes reach it.")
    policy: Policy = Field(default=Policy(), description="Exceptions from the rules.")
    data: Data = Field(description="Where data lives.")
    training: Training = Field(description="How models are trained.")
    registry: Registry = Field(description="Where trained models are kept.")
    serving: Serving = Field(description="How models answer.")
    retrieval: Retrieval = Field(description="How answers are grounded.")
    operations: Operations = Field(default=Operations(), description="Who is told when something happens.")
    budget: Budget = Field(description="What it may cost.")
    cost: Cost = Field(default=Cost(), description="How its bill is split.")

    @property
    def waivers(self) -> tuple[Waiver, ...]:
        """The written exceptions from the rules."""
        return tuple(self.policy.waivers)

    @property
    def zone_references(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Each key that names a storage zone, with the zone it names."""
        yield ("data", "access_log_zone"), self.data.access_log_zone
        yield ("training", "checkpoint_zone"), self.training.checkpoint_zone
        for name, queue in self.training.queues.items():
            if queue.checkpoint:
                yield ("training", "queues", name, "checkpoint"), queue.checkpoint
        yield ("registry", "model_zone"), self.registry.model_zone
        yield ("serving", "capture_zone"), self.serving.capture_zone
        yield ("retrieval", "prompt_zone"), self.retrieval.prompt_zone

    def cloud_of(self, part: Placed) -> CloudName | None:
        """The cloud that a part is on; None where the environment is on none."""
        return part.on or next(iter(self.cloud.names), None)

    def known_cloud(self, part: Placed) -> CloudName | None:
        """The same, where the environment is on that cloud, in a region that the platform knows; else None."""
        cloud = self.cloud_of(part)
        return cloud if cloud in self.cloud.names and self._region(cloud) in REGIONS[cloud] else None

    def here(self, parts: Mapping[K, P], cloud: CloudName) -> dict[K, P]:
        """Those of some parts that are on a cloud, by name, in the order of the description."""
        return {name: part for name, part in parts.items() if self.cloud_of(part) == cloud}

    def subnet_zones(self, cloud: CloudName) -> tuple[str, ...]:
        """The zones that the description gives the network, in their order."""
        said = self.network.zones
        return REGIONS[cloud][self._region(cloud)].zones[:said] if isinstance(said, int) else tuple(said)

    def network_zones(self, cloud: CloudName) -> tuple[str, ...]:
        """The zones that the network reaches: a network of Google Cloud spans all of its region."""
        return REGIONS[cloud][self._region(cloud)].zones if cloud == "gcp" else self.subnet_zones(cloud)

    def _region(self, cloud: CloudName) -> str:
        return cast("Aws | Gcp", getattr(self.cloud, cloud)).region

    def expiries(self, zone: str) -> dict[str, int]:
        """Days after which objects under a prefix of a zone are deleted, as the stages of the description state it."""
        stages = (
            *((kept, "checkpoints/", self.training.checkpoint_days) for kept in self.training.checkpoint_zones),
            *((made.zone, "pipelines/", self.training.checkpoint_days) for made in self.training.pipelines.values()),
            (self.serving.capture_zone, "capture/", self.serving.capture_days),
            (self.retrieval.prompt_zone, "prompts/", self.retrieval.prompt_days),
            (self.data.access_log_zone, "access/", self.logs.retention_days),
        )
        return {prefix: days for name, prefix, days in stages if name == zone}
