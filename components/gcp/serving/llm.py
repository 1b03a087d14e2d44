"""Language models that the cloud has: who calls which one, through what, and how it does."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.contracts import Text
from components.core.monitoring import Alarm, Query
from components.core.monitoring_rows import row
from components.gcp.blocks.alarms import Alarms, AlarmsArgs
from components.scope import Component, Scope, after
from components.spec import serving
from components.spec.endpoints import Alarm as Bound
from components.spec.models import Foundation

_WINDOW = "5m"
_FEW = 3
"""Errors in a window below which their share says nothing."""
_REFUSED = 10
"""Requests in five minutes that Vertex AI refused, and that clients will have tried again."""


@dataclass(frozen=True, kw_only=True)
class Guard:
    """The guardrail that each prompt and answer passes."""

    id: Text
    version: Text


@dataclass(frozen=True, kw_only=True)
class LlmArgs:
    """One endpoint, and what it stands on."""

    spec: serving.Llm
    guard: Guard | None
    apis: Mapping[str, Text]
    role: Text
    """Custom role that calls a model, and does nothing else."""
    alarms: Mapping[str, Bound]
    """By sign."""
    critical: Sequence[Text] = ()
    warning: Sequence[Text] = ()
    team: Sequence[Text] = ()
    """Channels of the team that owns it: told of everything, in place of those of warnings."""
    callers: Mapping[str, pulumi.Input[str]] = field(default_factory=dict[str, pulumi.Input[str]])
    """E-mail of a service account, by a name that is stable."""


class Llm(Component):
    """A model of Vertex AI in the environment's region, which its callers may call.

    Vertex AI knows no address of ours, no tags and no condition on a model: whoever may call one model of a publisher may call
    all that the project lets in, which are those of the description where `organization` is given (`Isolation`). So callers get a
    role with the call alone, and not Vertex AI User, which reads and changes everything; and guardrails are enforced by the
    project's floor (`Guardrails`), beside which a request names its own template: `modelArmorConfig: {promptTemplateName,
    responseTemplateName}`, the guardrail's id of the outputs. The address resolves once that is there.

    Metrics are those of the model in the project: two endpoints of the same model are watched together. Throughput that is
    bought is ordered in the console (checked at load). Requests a minute and tokens a minute are shared by all customers of
    Gemini, and a quota of the project and region for models of others.

    Owns the grants of callers and the alerts. Never owns a model, a guardrail or the log of prompts. Costs what its tokens cost.
    A destroy takes all of it.

    >>> label("publishers/google/models/gemini-2.5-flash@001")
    'gemini-2.5-flash'
    """

    outputs: contracts.Endpoint

    def __init__(self, name: str, args: LlmArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Let callers in, and watch."""
        super().__init__(name, scope, parent)
        foundation = args.spec.model
        if not isinstance(foundation, Foundation) or foundation.gcp is None:
            raise TypeError(f"{name}: weights of ours are served in a cluster")
        called = label(foundation.gcp)
        found = list(alarms(name, called, scope.region, args.alarms))
        watched = Alarms(
            f"{name}-alarm",
            AlarmsArgs(
                apis=args.apis,
                alarms=found,
                critical=[*args.critical, *args.team],
                warning=[*(args.team or args.warning)],
            ),
            scope=scope,
            parent=self,
        )
        grants: list[pulumi.Resource] = [
            gcp.projects.IAMMember(
                f"{name}-caller-{caller}",
                project=args.apis["cloudresourcemanager.googleapis.com"],
                role=args.role,
                member=pulumi.Output.concat("serviceAccount:", identity),
                opts=self.options(),
            )
            for caller, identity in args.callers.items()
        ]
        model = pulumi.Output.concat(
            "projects/", args.apis["aiplatform.googleapis.com"], f"/locations/{scope.region}/{foundation.gcp}"
        )
        # Not before the guardrail, though nothing of it stands in the address.
        known = pulumi.Output.all(model, args.guard.id).apply(lambda found: str(found[0])) if args.guard else model
        self.outputs = contracts.Endpoint(
            id=after(known, *grants, watched),
            address=after(
                pulumi.Output.concat(f"https://{scope.region}-aiplatform.googleapis.com/v1/", known), *grants, watched
            ),
            version=pulumi.Output.from_input(foundation.gcp),
            row=row(
                name,
                args.spec.kind,
                args.spec.team,
                found,
                policies=list(watched.outputs.names.values()),
            ),
        )
        self.finish(self.outputs)


def label(model: str) -> str:
    """What metrics call a model (`model_user_id`): its name, without publisher and version."""
    return model.rpartition("/")[2].partition("@")[0]


def alarms(name: str, model: str, region: str, bounds: Mapping[str, Bound]) -> Iterator[Alarm]:
    """What is watched, from what the objective promises.

    Sources: "Google Cloud metrics", aiplatform, publisher/online_serving: times in ms, `response_code` a number, tokens of
    questions and answers together.
    """
    prefix = "aiplatform_googleapis_com:publisher_online_serving_"
    chosen = (
        f'monitored_resource="aiplatform.googleapis.com/PublisherModel",model_user_id="{model}",location="{region}"'
    )

    def count(series: str, *more: str) -> str:
        return f"{prefix}{series}{{{','.join((chosen, *more))}}}[{_WINDOW}]"

    def over(figure: str, bound: Bound, more: str = "", beside: Mapping[str, str] | None = None) -> Query:
        promql = f"{figure} > {bound.above:g}{more}"
        return Query(promql=promql, figure=figure, above=bound.above, beside=beside or {})

    if bound := bounds.get("p95_latency"):
        yield Alarm(
            name=f"{name}-first-token",
            meaning=f"More than 5 of 100 answers of {name} began later than after {bound.above:g} ms.",
            first="Whether prompts have grown. Else Vertex AI is slow: its health page, another region, or throughput bought.",
            severity="critical",
            condition=over(
                f"histogram_quantile(0.95, sum by (le) (rate({count('first_token_latencies_bucket')})))", bound
            ),
            minutes=bound.minutes,
        )
    if bound := bounds.get("error_rate"):
        every, failed = (count("model_invocation_count", *more) for more in ((), ('response_code!~"2..|429"',)))
        yield Alarm(
            name=f"{name}-errors",
            meaning=f"More than {bound.above:g} % of the requests to {name} failed.",
            first="Their codes, on the chart: 4xx are the callers' (a prompt too long), 5xx those of Vertex AI.",
            severity="critical",
            condition=over(
                f"100 * sum(rate({failed})) / sum(rate({every}))",
                bound,
                f" and on() sum(increase({failed})) >= {_FEW}",
                {"requests in 5 minutes": f"sum(increase({every}))"},
            ),
            minutes=bound.minutes,
        )
    refused = count("model_invocation_count", 'response_code="429"')
    yield Alarm(
        name=f"{name}-refused",
        meaning=f"Vertex AI refused {_REFUSED} requests to {name} or more within 5 minutes.",
        first="Whether callers try again later and later; then throughput that is bought, or another region.",
        severity="warning",
        condition=Query(promql=f"sum(increase({refused})) >= {_REFUSED}", figure=f"sum(increase({refused}))"),
        minutes=0,
    )
    if bound := bounds.get("ceiling"):
        yield Alarm(
            name=f"{name}-ceiling",
            meaning=f"{name} has used more than {bound.above:g} tokens a minute for {bound.minutes} minutes.",
            first="Who calls it, in the log of prompts. If it is meant: raise tokens_per_minute, and look at the budget.",
            severity="warning",
            condition=over(f"60 * sum(rate({count('token_count')}))", bound),
            minutes=bound.minutes,
        )
