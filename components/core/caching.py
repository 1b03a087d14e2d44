"""Caches of answers: what an endpoint's container is told of one, and what endpoints can use one."""

from collections.abc import Mapping
from typing import Any

from components.spec.section import CloudName

URL = "CACHE_URL"
"""The variable that says where a cache is."""
ABLE: Mapping[CloudName, tuple[str, ...]] = {
    "aws": ("container", "function", "kubernetes"),
    "gcp": ("container", "function", "serverless", "async", "kubernetes"),
}
"""Kinds of endpoints whose containers reach a cache, `kubernetes` for a model in the cluster."""
_ELSEWHERE = "kind: container or function"
UNABLE: Mapping[tuple[CloudName, str], tuple[str, str]] = {
    ("aws", "realtime"): (
        "a container on SageMaker is isolated and calls nobody",
        f"{_ELSEWHERE}, or server: kubernetes",
    ),
    ("aws", "async"): ("a container on SageMaker is isolated and calls nobody", _ELSEWHERE),
    ("aws", "serverless"): ("serverless inference of SageMaker is in no network of ours", _ELSEWHERE),
    ("gcp", "realtime"): (
        "a container of Vertex AI is in a network of Google's",
        f"{_ELSEWHERE} or serverless, or server: kubernetes",
    ),
}
"""What keeps a kind from it, and what would not. Sources: SageMaker "Run Training and Inference Containers in Internet-Free Mode"
(network isolation: no outbound call, which `model-isolated` demands) and "Serverless Inference", exclusions; Vertex AI "Use a
dedicated private endpoint based on Private Service Connect" (a way in, none out)."""
NOWHERE: Mapping[str, tuple[str, str]] = {
    "batch": ("a run asks for each record once", "no client"),
    "edge": ("devices are not in the network", "no client"),
    "llm": (
        "a language model is asked by the cloud's service or by vLLM, which ask no cache of ours",
        "a client that asks it",
    ),
}
"""The same of kinds that cannot on any cloud."""
NOBODY = "on -@all"
"""What somebody may who may do nothing, as `access` says it of clients."""


def access(client: str) -> str:
    """What a client may: reads and writes of its own keys, and to ask where they are; it empties, lists and sets up nothing.

    >>> access("chat")
    'on ~chat:* -@all +@read +@write +@connection -@dangerous +cluster|nodes +cluster|shards +cluster|slots'
    """
    return f"on ~{client}:* -@all +@read +@write +@connection -@dangerous +cluster|nodes +cluster|shards +cluster|slots"


def variables(client: str, *, url: Any, sign_in: str, minutes: int, authority: Any = None) -> dict[str, Any]:
    """What `runtime/serving/cache.py` reads; address and authority may be outputs.

    >>> found = variables("chat", url="rediss://chat@a:6379", sign_in="memorystore", minutes=5)
    >>> found["CACHE_PREFIX"], found["CACHE_SECONDS"]
    ('chat', '300')
    """
    told = {URL: url, "CACHE_SIGN_IN": sign_in, "CACHE_PREFIX": client, "CACHE_SECONDS": str(minutes * 60)}
    return told if authority is None else told | {"CACHE_AUTHORITY": authority}
