"""How much is asked of an environment: what its root component carries of the description's volumes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from policies.model import Graph

HOURS = 730
"""Of a month."""
SECONDS = HOURS * 3600
DAYS = HOURS / 24

QUESTION_SECONDS = 2
"""What a question to a corpus takes, as those at once are reckoned in `components/core/retrieval.py`."""

_ROOT = "ai-platform:Platform"
_WAKE_SECONDS = 600
"""How long what sleeps stays awake for one request at most: it works, and then waits for the next one."""

Values = Mapping[str, Any]
NOTHING: Values = {}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The volumes, as `components/spec/volumes.py` says them; all of them empty for a graph that does not."""

    endpoints: Mapping[str, Values]
    corpora: Mapping[str, Values]
    services: Mapping[str, Values]
    pipelines: Mapping[str, Values]
    questions_rps: float
    budget_usd: float | None
    team_budgets: Mapping[str, float]

    def questions(self, cloud: str, store: str | None = None) -> float:
        """Questions a month to the corpora of a cloud, or to those in one sort of store."""
        return sum(
            corpus["questions"]
            for corpus in self.corpora.values()
            if corpus["cloud"] == cloud and store in {None, corpus["store"]}
        )

    def doors(self, cloud: str, place: str | None = None) -> list[Values]:
        """The endpoints of a cloud that the internet reaches, or those of them that run in one place."""
        return [
            each
            for each in self.endpoints.values()
            if each["cloud"] == cloud and "throttle_rps" in each and place in {None, each["where"]}
        ]


def asked(graph: Graph) -> Asked | None:
    """The volumes of a graph; None where it carries none."""
    roots = [root.inputs["volumes"] for root in graph.of_type(_ROOT) if "volumes" in root.inputs]
    return of(roots[0]) if roots else None


def of(said: Values) -> Asked:
    """Volumes from what the root component says."""
    budget = said.get("budget", NOTHING)
    return Asked(
        endpoints=said.get("endpoints", NOTHING),
        corpora=said.get("corpora", NOTHING),
        services=said.get("services", NOTHING),
        pipelines=said.get("pipelines", NOTHING),
        questions_rps=said.get("questions_rps", 0),
        budget_usd=budget.get("monthly_usd"),
        team_budgets=budget.get("teams", NOTHING),
    )


def requests(endpoint: Values) -> float:
    """Requests a month."""
    return endpoint.get("objective", NOTHING).get("requests_per_month", 0)


def seconds(endpoint: Values, most: float) -> float:
    """How long a request takes: all but a few no longer than the objective allows; without one, as long as it may."""
    p95 = endpoint.get("objective", NOTHING).get("p95_ms")
    return min(p95 / 1000, most) if p95 is not None else most


def instances(endpoint: Values, least: float, most: float) -> float:
    """How many instances the expected requests need, spread over the month, each with as much as it is given."""
    if endpoint.get("kind") == "async":
        return awake(requests(endpoint), least, most)
    rate, target = requests(endpoint) / SECONDS, endpoint.get("scale", NOTHING).get("target", NOTHING)
    needed = 0.0
    if each := target.get("requests_per_second"):
        needed = rate / each
    elif (each := target.get("concurrency")) and "p95_ms" in endpoint.get("objective", NOTHING):
        needed = rate * endpoint["objective"]["p95_ms"] / 1000 / each
    return between(least, math.ceil(needed), most)


def awake(calls: float, least: float, most: float, keeps: float = _WAKE_SECONDS) -> float:
    """How many instances are there on average where the last one sleeps: one for as long as calls keep it awake."""
    return between(least, min(calls * keeps / SECONDS, 1), most)


def between(least: float, value: float, most: float) -> float:
    """The value, within its bounds."""
    return max(least, min(value, most))
