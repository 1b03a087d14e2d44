"""What stands in front of endpoints has to fulfil: tokens, names, and what each cloud's load balancer can lead to."""

from collections.abc import Iterator

from components.core.fronts import FRONT_PORTS, MOST_THROTTLES, fronts
from components.spec.endpoints import where
from components.spec.environment import Environment
from components.spec.problems import Problem
from components.spec.regions import REGIONS
from components.spec.retrieval import Asking
from components.spec.section import CloudName
from components.spec.serving import AnyEndpoint, Api, Container, Function
from components.spec.source import Layer, Path


def apis(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """What stands in front of endpoints: tokens that somebody issues, and a name that is ours."""
    serving = environment.serving
    fronts: list[tuple[Path, str, Api | Asking | None]] = [
        (("serving", "endpoints", name, "api"), name, getattr(endpoint, "api", None))
        for name, endpoint in serving.endpoints.items()
    ]
    fronts.append((("retrieval", "api"), "retrieval", environment.retrieval.api))
    hosts: dict[str, Path] = {}
    for path, name, api in fronts:
        if api is None:
            continue
        if api.auth == "jwt" and serving.tokens is None:
            yield layer.problem(
                (*path, "auth"), "nobody issues tokens", "serving.tokens: issuer, keys and audience; or iam"
            )
        if isinstance(api, Asking):
            # It has an address of the cloud's own.
            continue
        if serving.domain is None:
            yield layer.problem(
                (*path, "domain"), "it has no name, and TLS needs one", "serving.domain, such as {name: ml.example.com}"
            )
            continue
        host = api.domain or f"{name}.{serving.domain.name}"
        label, _, domain = host.partition(".")
        if domain != serving.domain.name:
            # The certificate is one for all hosts of a label.
            wrong = f"{host} is not a label below {serving.domain.name}"
            yield layer.problem((*path, "domain"), wrong, f"{label if api.domain else name}.{serving.domain.name}")
        elif host in hosts:
            yield layer.problem((*path, "domain"), f"{host} stands twice", "each host once")
        hosts[host] = path


def gateways(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """What a load balancer leads to, and how many throttles its firewall counts."""
    for name, endpoint in environment.serving.endpoints.items():
        path: Path = ("serving", "endpoints", name)
        cloud, api = environment.known_cloud(endpoint), getattr(endpoint, "api", None)
        if api is None:
            continue
        if where(endpoint) == "kubernetes":
            yield from _inside(environment, layer, path, endpoint, cloud)
            continue
        if cloud == "gcp" and endpoint.kind == "realtime":
            wrong = "no load balancer of Google Cloud leads to an endpoint of Vertex AI"
            yield layer.problem((*path, "api"), wrong, "no api, or kind: serverless or container")
        if cloud == "aws" and isinstance(endpoint, Container) and api.auth == "iam":
            wrong = "a load balancer does not know identities of AWS"
            yield layer.problem((*path, "api", "auth"), wrong, "jwt, or kind: function, which they call by its name")
    known = fronts(environment, "aws") if environment.cloud.aws else {}
    rates = {front.throttle_rps for front in known.values()}
    if len(rates) > MOST_THROTTLES:
        wrong = f"{len(rates)} different throttles, and a firewall of AWS counts {MOST_THROTTLES}"
        yield layer.problem(("serving", "endpoints"), wrong, "the same throttle_rps for some of them")
    place = environment.cloud.aws
    zones = environment.subnet_zones("aws") if place and place.region in REGIONS["aws"] else ()
    # In prod there are two zones anyway.
    if known and environment.tier != "prod" and len(zones) == 1:
        # "Availability Zones for your Application Load Balancer".
        wrong = "a load balancer lies in two zones or more, and the network in one"
        yield layer.problem(("network", "zones"), wrong, "2 or more, or no api")


def _inside(
    environment: Environment, layer: Layer, path: Path, endpoint: AnyEndpoint, cloud: CloudName | None
) -> Iterator[Problem]:
    """What stands in front of a cluster: it checks tokens, whose keys have to be read, and has ports of its own."""
    api: Api = getattr(endpoint, "api")  # noqa: B009  there is one
    if api.auth == "iam":
        wrong = "in front of a cluster tokens are checked, not identities of the cloud"
        yield layer.problem((*path, "api", "auth"), wrong, "jwt, or server: managed")
    if cloud == "gcp" and environment.network.egress == "deny" and not environment.network.allow:
        wrong = "tokens are checked beside its pods, and the network lets nobody read their keys"
        yield layer.problem(
            (*path, "api"), wrong, "network.allow with the range of serving.tokens.keys; or server: managed"
        )
    port = getattr(endpoint, "port", None)
    if port in FRONT_PORTS:
        yield layer.problem(
            (*path, "port"),
            f"on {port} tokens are checked in a cluster",
            f"another than {', '.join(map(str, FRONT_PORTS))}",
        )


def digests(environment: Environment, layer: Layer) -> Iterator[Problem]:
    """A model that our own code fetches on AWS is one whose digest is known: nothing else is ever loaded."""
    for name, endpoint in environment.serving.endpoints.items():
        if environment.known_cloud(endpoint) != "aws" or not isinstance(endpoint, Function | Container):
            continue
        if where(endpoint) == "kubernetes":  # a folder is loaded there too; see checks_serving.py
            continue
        artifact = endpoint.model.artifact
        if artifact and artifact.sha256 is None:
            path: Path = ("serving", "endpoints", name, "model", "artifact", "sha256")
            yield layer.problem(path, "nobody has said what the archive's digest is", "what sha256sum prints for it")


CHECKS = (apis, gateways, digests)
