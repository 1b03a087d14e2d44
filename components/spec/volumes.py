"""What a description says of how much is asked of an environment, and what it may cost: plain values, for what reads a graph."""

from typing import Any

from components.core.cron import runs_a_month
from components.core.fronts import fronts
from components.spec.endpoints import answering, where
from components.spec.environment import Environment
from components.spec.models import Foundation

KEYS = ("objective", "scale", "concurrency", "machines", "tokens_per_minute", "units", "guardrail", "timeout_seconds")
"""Keys of an endpoint that say how much is asked of it, and how much there may be."""


def volumes(environment: Environment) -> dict[str, Any]:
    """The volumes by what they are of. The root component carries them, so that a price needs nothing but the graph.

    Only what is stated is there. An endpoint has the keys of its description, and besides `team`, `kind`, its `cloud`, what
    runs it (`where`), `throttle_rps` of its door, the `model` where it is one of the cloud's, and `runs` a month.
    """
    endpoints: dict[str, Any] = {}
    for cloud in environment.cloud.names:
        doors = fronts(environment, cloud)
        for name, spec in answering(environment, cloud).items():
            said: dict[str, Any] = {"team": spec.team, "kind": spec.kind, "cloud": cloud, "where": where(spec)}
            said |= {key: value for key, value in spec.model_dump(exclude_none=True).items() if key in KEYS}
            if name in doors:
                said["throttle_rps"] = doors[name].throttle_rps
            if isinstance(model := getattr(spec, "model", None), Foundation) and (named := getattr(model, cloud)):
                said["model"] = named
            if schedule := getattr(spec, "schedule", None):
                said["runs"] = runs_a_month(schedule)
            endpoints[name] = said
    first, clouds = environment.cloud.names[0], len(environment.cloud.names)
    retrieval = environment.retrieval
    return {
        "budget": {
            "monthly_usd": environment.budget.monthly_usd * clouds,
            "teams": {
                name: environment.budget.monthly_usd * clouds * team.budget_percent / 100
                for name, team in environment.teams.items()
                if team.budget_percent
            },
        },
        "endpoints": endpoints,
        "corpora": {
            name: {
                "team": corpus.team,
                "cloud": corpus.on or first,
                "questions": corpus.questions_per_month,
                "documents_gib": corpus.documents_gib,
                "store": corpus.store,
                **({"guardrail": corpus.guardrail} if corpus.guardrail else {}),
            }
            for name, corpus in retrieval.corpora.items()
        },
        "questions_rps": retrieval.api.throttle_rps if retrieval.api else 0,
        "services": {
            name: {"cloud": service.on or first, "calls_per_day": service.calls_per_day}
            for name, service in environment.serving.services.items()
        },
        "pipelines": {
            name: {"team": pipeline.team, "runs": runs_a_month(pipeline.schedule) if pipeline.schedule else 0}
            for name, pipeline in environment.training.pipelines.items()
        },
    }
