"""Which model answers: a version of the registry, an image with an artifact, one that the cloud has, or weights of ours."""

from collections.abc import Mapping
from typing import Annotated, Any, cast

from pydantic import Discriminator, Field, Tag

from components.spec.images import Image
from components.spec.section import Name, Section


class Package(Section):
    """A version of a model of the registry."""

    package: Name = Field(description="The model, as `registry.models` calls it.")
    version: Annotated[str, Field(pattern=r"^[1-9]\d{0,8}$")] | None = Field(
        default=None,
        description="Its version, in quotes. Without one the endpoint is not deployed; in prod there has to be one.",
    )


class Artifact(Section):
    """What somebody put into a storage zone."""

    zone: Name = Field(default="models", description="The zone.")
    path: Annotated[str, Field(pattern=r"^[\w.=-]+(/[\w.=-]+)*/?$", max_length=512)] = Field(
        description="Where in the zone: an archive, or a folder, which ends in a slash."
    )
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        default=None, description="Digest of an archive; with it nothing else is ever loaded."
    )

    @property
    def family(self) -> str:
        """Where all versions of it lie: the first folder of its path; of an archive that lies in none, itself.

        What was released before starts once more, while a release is watched and when it was taken back, and reads its own.

        >>> Artifact(path="fraud/3/model.tar.gz").family, Artifact(path="fraud.tar.gz").family
        ('fraud/', 'fraud.tar.gz')
        """
        first, slash, _ = self.path.partition("/")
        return f"{first}{slash}"


class Container(Section):
    """An image, and the model that it loads."""

    image: Image = Field(description="The image, by tag or digest; one of ours as `REPOSITORY:TAG`.")
    artifact: Artifact | None = Field(default=None, description="The model; none where the image holds it.")


class Foundation(Section):
    """A model that the cloud has, under the name that it has there."""

    aws: Annotated[str, Field(pattern=r"^[\w.:-]{3,128}$")] | None = Field(
        default=None, description="Bedrock: id of a model, or of an inference profile such as `us.anthropic.…`."
    )
    gcp: Annotated[str, Field(pattern=r"^publishers/[\w-]+/models/[\w.@-]+$")] | None = Field(
        default=None, description="Vertex AI: `publishers/PUBLISHER/models/MODEL`, with a version after an @."
    )


class Weights(Section):
    """A language model of ours, which vLLM serves on a pool of the cluster."""

    weights: Artifact = Field(description="The folder of its weights; nothing is ever read from the internet.")
    image: Image = Field(
        default="docker.io/vllm/vllm-openai:v0.11.2", description="The server; one of ours as `REPOSITORY:TAG`."
    )
    max_tokens: Annotated[int, Field(ge=256, le=1_048_576)] = Field(
        default=8192, description="Longest context, question and answer together."
    )


def _branch(value: Any) -> str:
    """Which of the two a value is, before it is checked: a package names itself so."""
    if isinstance(value, Mapping):
        return "Package" if "package" in cast("Mapping[str, Any]", value) else "Container"
    return type(value).__name__


def _language(value: Any) -> str:
    if isinstance(value, Mapping):
        return "Weights" if "weights" in cast("Mapping[str, Any]", value) else "Foundation"
    return type(value).__name__


def called(model: Package | Container | Weights) -> str:
    """What answers, as outputs call it (`contracts.Endpoint.version`); the same on each cloud and in a cluster.

    >>> called(Package(package="fraud", version="12")), called(Container(image="docker.io/acme/serving:1.0.0"))
    ('fraud:12', 'serving:1.0.0')
    >>> called(Weights(weights=Artifact(path="llama/3/")))
    'llama/3/ on vllm-openai:v0.11.2'
    """
    if isinstance(model, Package):
        return f"{model.package}:{model.version}"
    image = model.image.rpartition("/")[2]
    loaded = model.weights if isinstance(model, Weights) else model.artifact
    return f"{loaded.path} on {image}" if loaded else image


Source = Annotated[
    Annotated[Package, Tag("Package")] | Annotated[Container, Tag("Container")],
    Discriminator(_branch),
]
"""A model of a classical kind."""
LanguageModel = Annotated[
    Annotated[Foundation, Tag("Foundation")] | Annotated[Weights, Tag("Weights")],
    Discriminator(_language),
]
