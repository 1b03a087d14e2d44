"""What the container images that a description names have to fulfil, whatever runs them."""

from collections.abc import Iterator

from components.spec.environment import Environment
from components.spec.images import moves, own_repository
from components.spec.problems import Problem, one_of
from components.spec.registry import MIRRORED
from components.spec.serving import images as images_of
from components.spec.source import Layer, Path


def _named(environment: Environment) -> Iterator[tuple[Path, str]]:
    """Each image with its place in the description."""
    training = environment.training
    yield ("training", "image"), training.image
    for name, pipeline in training.pipelines.items():
        path = ("training", "pipelines", name)
        for step in ("prepare", "train", "evaluate"):
            yield (*path, step, "image"), getattr(pipeline, step).image
        yield (*path, "serving_image"), pipeline.serving_image
    for path, reference, cluster in images_of(environment.serving.endpoints):
        if not cluster:
            yield path, reference
    yield from _in_cluster(environment)


def _in_cluster(environment: Environment) -> Iterator[tuple[Path, str]]:
    tracking = environment.training.tracking
    if tracking and tracking.server == "kubernetes":
        yield ("training", "tracking", "image"), tracking.image
    for path, reference, cluster in images_of(environment.serving.endpoints):
        if cluster:
            yield path, reference


def images(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """Images of repositories that are there, and none that moves."""
    known = environment.registry.images
    for path, reference in _named(environment):
        repository = own_repository(reference)
        if repository is not None and repository not in known:
            yield layer.problem(path, f"there is no repository {repository}", one_of(repository, known))
        if moves(reference):
            wrong = f"{reference} is another image every day"
            yield layer.problem(path, wrong, "a tag that never moves, or a digest (@sha256:…)")


def reach(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """Images of clusters that a network without a way out can get."""
    if environment.network.egress != "deny":
        return
    for path, reference in _in_cluster(environment):
        registry = reference.partition("/")[0]
        for cloud in environment.cloud.names if own_repository(reference) is None else ():
            read = environment.registry.mirrors
            if registry not in (MIRRORED[cloud] if read is None else read):
                wrong = f"the network of {cloud} is closed, and {registry} is read through no registry of ours"
                yield layer.problem(path, wrong, "a copy in a repository of registry.images, as REPOSITORY:TAG")


CHECKS = (images, reach)
