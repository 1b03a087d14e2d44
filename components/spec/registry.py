"""Where trained models and images are kept, who approves them, and which other environments may read what is approved."""

from typing import Annotated, Literal

from pydantic import Field

from components.spec.foundation import Persona
from components.spec.section import CloudName, Days, Name, Section

Account = Annotated[str, Field(pattern=r"^\d{12}$")]
ServiceAccount = Annotated[
    str, Field(pattern=r"^[a-z][a-z0-9-]{4,28}[a-z0-9]@[a-z][a-z0-9-]{4,28}[a-z0-9]\.iam\.gserviceaccount\.com$")
]
Mirror = Literal["public.ecr.aws", "registry.k8s.io", "quay.io", "docker.io", "ghcr.io", "nvcr.io"]
# Upstream registries that each cloud reads without a credential of ours. Sources: Amazon ECR "Sync an upstream registry with an
# Amazon ECR private registry"; Artifact Registry "Remote repositories overview", where any registry of images will do. ECR would
# read ghcr.io and docker.io too, with somebody's token in a secret that only AWS's own key may encrypt ("Storing your upstream
# repository credentials"), and the first time on a way out of the network, which prod has not. A copy needs neither, and somebody
# has looked at it.
MIRRORED: dict[CloudName, tuple[Mirror, ...]] = {
    "aws": ("public.ecr.aws", "registry.k8s.io", "quay.io"),
    "gcp": ("public.ecr.aws", "registry.k8s.io", "quay.io", "docker.io", "ghcr.io", "nvcr.io"),
}


class Model(Section):
    """A model with its versions, each of them a candidate until somebody approves it."""

    team: Name | None = Field(default=None, description="The team that owns it, for the bill.")
    description: Annotated[str, Field(max_length=200)] = Field(default="", description="What it is for.")


class Repository(Section):
    """A repository of images. A tag never moves to another image."""

    team: Name | None = Field(default=None, description="The team that owns it, for the bill.")
    description: Annotated[str, Field(max_length=200)] = Field(default="", description="What lies here.")
    keep: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=50,
        description="AWS: images that are kept, the newest first; older ones are deleted. Google Cloud deletes no image whose tag"
        " cannot move.",
    )
    untagged_days: Days = Field(
        default=14,
        description="Days that an image without a tag is kept. On AWS not where signatures are enforced, since those have none.",
    )
    shared: bool = Field(default=False, description="Whether those of `registry.promotion` may pull from it.")


class AwsSource(Section):
    """The environment that publishes, on AWS; in the same region, for so SageMaker wants it."""

    environment: Name = Field(description="Its name; names of what it publishes begin with it.")
    account: Account = Field(description="Its account: twelve digits, in quotes.")


class GcpSource(Section):
    """The environment that publishes, on Google Cloud."""

    environment: Name = Field(description="Its name; names of what it publishes begin with it.")
    project: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{4,28}[a-z0-9]$")] = Field(description="Its project id.")
    location: str | None = Field(default=None, description="Where its packages lie; by default in the same region.")


class AwsPromotion(Section):
    """Promotion between accounts: the one that publishes lets others read, and they say where they read."""

    shared_with: list[Account] = Field(
        default=[], description="Accounts that may read approved models and pull from shared repositories."
    )
    source: AwsSource | None = Field(default=None, description="Where this environment reads approved models from.")


class GcpPromotion(Section):
    """Promotion between projects: the one that publishes lets others read, and they say where they read."""

    shared_with: list[ServiceAccount] = Field(
        default=[],
        description="Service accounts of other projects that may read approved models and pull from shared repositories.",
    )
    source: GcpSource | None = Field(default=None, description="Where this environment reads approved models from.")


class Promotion(Section):
    """Which environments read what is approved here, and from which this one reads: grants; no credential changes hands."""

    aws: AwsPromotion = Field(default=AwsPromotion(), description="Between accounts of AWS.")
    gcp: GcpPromotion = Field(default=GcpPromotion(), description="Between projects of Google Cloud.")


class Registry(Section):
    """Registry of models and of images."""

    model_zone: Name = Field(default="models", description="Zone that holds model packages.")
    keep_versions: Annotated[int, Field(ge=1, le=100)] = Field(
        description="Overwritten versions of a model package that are kept whatever their age, to roll back to."
    )
    models: dict[Name, Model] = Field(default={}, description="The models that are registered.")
    approvers: list[Persona] = Field(
        default=["ml-engineer"], description="Personas that approve a version of a model, or reject it."
    )
    images: dict[Name, Repository] = Field(description="Repositories of images.")
    mirrors: list[Mirror] | None = Field(
        default=None,
        description="Public registries that are read through one of our own; by default all that the cloud reads without a"
        " credential.",
    )
    copies: dict[str, Annotated[str, Field(pattern=r"^[a-z0-9.-]+\.[a-z]+(:\d+)?(/[a-z0-9._/-]+)?$")]] = Field(
        default={},
        description="Public registries that no mirror reads, such as `ghcr.io` and `nvcr.io` on AWS, each with the address that"
        " somebody copied their images to (docs/training.md, Copies of images). Signatures are verified on EKS where `ghcr.io`"
        " is one of them: the verifier comes from there, and it decides what starts. Without it, `signatures: enforce` is"
        " refused where there is a cluster of EKS.",
    )
    scanning: Literal["on_push", "continuous"] = Field(
        default="continuous",
        description="AWS: look for vulnerabilities once, which is free, or whenever one becomes known. On Google Cloud it is"
        " always both.",
    )
    signatures: Literal["audit", "enforce"] = Field(
        default="audit",
        description="What happens to an image without a signature: it is reported, or it does not start.",
    )
    promotion: Promotion = Field(default=Promotion(), description="From one environment to the next.")
