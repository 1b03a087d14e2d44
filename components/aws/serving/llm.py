"""Language models that the cloud has: who calls which one, through what, and how it does."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws

from components import contracts
from components.aws.blocks.alarms import Alarms, AlarmsArgs
from components.contracts import Text
from components.core import iam, promises
from components.core.answering import GEOGRAPHIES
from components.core.cloudwatch import Alarm, Metric
from components.core.cloudwatch_rows import Line, row
from components.core.hosting import digest
from components.core.rows import Shown
from components.scope import Component, Scope, after
from components.spec import serving
from components.spec.endpoints import Alarm as Bound
from components.spec.models import Foundation

_INVOKE = ("bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream")
"""Converse and ConverseStream are these two as well ("Actions, resources, and condition keys for Amazon Bedrock")."""
_GUARDRAIL, _PROFILE = "bedrock:GuardrailIdentifier", "bedrock:InferenceProfileArn"
_MINUTE = 60
_PERCENT = "100 * SUM([theirs, ours]) / MAX([calls, theirs, ours])"
_REFUSED = 10
"""Requests in five minutes that Bedrock refused, and that clients will have tried again."""
# One alarm tells five at most ("PutMetricAlarm", AlarmActions).
_TOLD = 5


@dataclass(frozen=True, kw_only=True)
class Guard:
    """The guardrail that each prompt and answer passes."""

    id: Text
    version: Text
    key: contracts.Key
    """What it is encrypted with: Bedrock reads it in the caller's name."""


@dataclass(frozen=True, kw_only=True)
class LlmArgs:
    """One endpoint, and what it stands on."""

    spec: serving.Llm
    guard: Guard | None
    network: contracts.Network
    """In prod callers come from it."""
    alarms: Mapping[str, Bound]
    """By sign."""
    critical: Sequence[Text] = ()
    warning: Sequence[Text] = ()
    team: Sequence[Text] = ()
    """Topics of the team that owns it: told of everything, in place of those of warnings."""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class Llm(Component):
    """A model of Bedrock under an address of our own, which callers name in place of the model.

    The address is an application inference profile, so that cost and metrics are the endpoint's, whoever else calls the model;
    or, where units of throughput are bought, those. Callers may call it, and the model through it alone, with the guardrail's
    version of now: a request that names another version, a draft or none is refused. They find address and version in the
    outputs, and take both anew when a guardrail changes. In prod the same is denied whatever else they may.

    Where the model is named with a geography (`us.…`) Bedrock answers from any of its regions, and the environment's boundary
    has to let it. A model of another publisher is subscribed to with its first call, which its agreement has to be accepted for
    once an account (Bedrock, "Access Amazon Bedrock foundation models"). Tokens a minute are a quota of account, region and model
    (Service Quotas, `bedrock`), which reserves what a request allows for its answer (`maxTokens`) while it runs.

    Neither can be changed, and Bedrock gives each an id of its own: another model is another address, which callers take from the
    outputs. The name says of what it is, for the new one is made before the old one goes (pulumi-terraform-bridge#823: of these
    resources a name of ours does not turn that round), and a name cannot be had twice.

    Metrics know the profile by its id, which Bedrock gives: the alarms come after it. Time to the first token is that of requests
    that stream. Owns the profile or the units, the grants of callers and the alarms. Never owns a model, a guardrail or the log
    of prompts. A profile costs nothing but its tokens; a unit is paid by the hour until it is deleted, and without a commitment
    it can be at any time. A destroy takes all of it.

    >>> spec = serving.Llm(
    ...     kind="llm", team="risk", model=Foundation(aws="us.amazon.nova-lite-v1:0"), tokens_per_minute=100_000,
    ...     objective=serving.LanguageObjective(requests_per_month=1000),
    ... )
    >>> args = LlmArgs(spec=spec, guard=None, network=network, alarms={}, warning=[topic])
    >>> address = Llm("assistant", args, scope=scope, parent=parent).outputs.address
    """

    outputs: contracts.Endpoint

    def __init__(self, name: str, args: LlmArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the address, let callers in, and watch."""
        super().__init__(name, scope, parent)
        self._args = args
        foundation = args.spec.model
        if not isinstance(foundation, Foundation) or foundation.aws is None:
            raise TypeError(f"{name}: weights of ours are served in a cluster")
        self._model = foundation.aws
        arn, known = self._units(args.spec.units) if args.spec.units else self._profile()
        critical = [*args.critical, *args.team][:_TOLD]
        found = list(alarms(name, known, args.alarms))
        watched = Alarms(
            f"{name}-alarm",
            AlarmsArgs(
                alarms=found,
                critical=critical,
                warning=[*(args.team or args.warning)],
            ),
            scope=scope,
            parent=self,
        )
        ready = [*self._grants(arn), watched]
        self.outputs = contracts.Endpoint(
            id=after(arn, *ready),
            address=after(arn, *ready),
            version=pulumi.Output.from_input(self._model),
            row=row(
                name,
                args.spec.kind,
                args.spec.team,
                found,
                arns=list(watched.outputs.names.values()),
                region=scope.region,
                more=list(_guarded(args.guard)),
            ),
        )
        self.finish(self.outputs)

    def _profile(self) -> tuple[Text, Text]:
        """ARN of the profile, and what metrics call it."""
        args, scope = self._args, self.scope
        profile = aws.bedrock.InferenceProfile(
            f"{self.name}-profile",
            name=scope.names.of(f"{self.name}-{digest(self._model)}", "inference_profile"),
            description=f"{self.name}: {self._model}",
            model_source={"copy_from": source(self._model, scope.region, scope.account)},
            tags=dict(args.tags),
            opts=self.options(),
        )
        # "ModelId" of an application inference profile is its id (cloud-custodian, c7n/resources/bedrock.py).
        return profile.arn, profile.arn.apply(lambda arn: arn.rpartition("/")[2])

    def _units(self, units: int) -> tuple[Text, Text]:
        args, scope = self._args, self.scope
        bought = aws.bedrock.ProvisionedModelThroughput(
            f"{self.name}-units",
            provisioned_model_name=scope.names.of(f"{self.name}-{digest([self._model, units])}", "provisioned_model"),
            # Without a commitment: one of a month or six could not be taken back by a deployment.
            model_arn=source(self._model, scope.region, scope.account),
            model_units=units,
            tags=dict(args.tags),
            opts=self.options(),
        )
        return bought.provisioned_model_arn, bought.provisioned_model_arn

    # -- who may call it

    def _grants(self, arn: Text) -> list[pulumi.Resource]:
        return [
            aws.iam.RolePolicy(
                f"{self.name}-caller-{caller}",
                name=self.scope.names.of(f"{self.name}-call", "iam_policy"),
                role=caller,
                policy=pulumi.Output.json_dumps(iam.document(*self._statements(arn))),
                opts=self.options(),
            )
            for caller in self._args.spec.callers
        ]

    def _statements(self, arn: Text) -> Iterator[iam.Statement]:
        args, scope, guard = self._args, self.scope, self._args.guard
        models = behind(self._model, scope.region)
        prod = scope.tier == "prod"
        # In prod from the network alone, by the endpoint that Bedrock's runtime has there.
        inside: iam.Condition = {"StringEquals": {"aws:SourceVpc": args.network.id}} if prod else {}
        version = pulumi.Output.concat(guard.id, ":", guard.version) if guard else None
        guarded: iam.Condition = {"StringEquals": {_GUARDRAIL: version}} if version is not None else {}
        may = iam.both(inside, guarded)
        yield iam.allow(_INVOKE, [arn], sid="Call", when=may or None)
        if not args.spec.units:
            through = iam.both(may, {"StringEquals": {_PROFILE: arn}})
            yield iam.allow(_INVOKE, models, sid="ModelThroughIt", when=through)
        if guard is None:
            return
        yield iam.allow(["bedrock:ApplyGuardrail"], [guard.id], sid="Guardrail")
        yield iam.allow(["kms:Decrypt"], [guard.key.id], sid="GuardrailKey", when=iam.via(scope.region, "bedrock"))
        if prod:
            yield iam.deny(_INVOKE, [arn], sid="NotWithout", when={"StringNotEquals": {_GUARDRAIL: version}})
            # Another endpoint may call the same model with another guardrail, and none may without.
            yield iam.deny(_INVOKE, models, sid="NotBesideIt", when={"Null": {_GUARDRAIL: "true"}})


def _guarded(guard: Guard | None) -> Iterator[Line]:
    """What the guardrail did, whoever's prompts it saw ("Monitor Amazon Bedrock Guardrails using CloudWatch metrics")."""
    if guard is None:
        return
    for label, series in (("looked at", "Invocations"), ("stepped in", "InvocationsIntervened")):
        metric = Metric(
            namespace="AWS/Bedrock/Guardrails",
            name=series,
            dimensions={"GuardrailArn": guard.id, "GuardrailVersion": guard.version},
            statistic="Sum",
        )
        counted = Shown(slot="use", label=label, counted=True)
        yield Line(shown=counted, metrics={"seen": metric}, period=5 * _MINUTE)


def plain(model: str) -> str:
    """The model's own id, without a geography.

    >>> plain("us.amazon.nova-lite-v1:0"), plain("amazon.nova-lite-v1:0")
    ('amazon.nova-lite-v1:0', 'amazon.nova-lite-v1:0')
    """
    head, _, rest = model.partition(".")
    return rest if head in GEOGRAPHIES else model


def source(model: str, region: str, account: str) -> str:
    """ARN of a model, or of the profile of several regions that it is named by.

    >>> source("us.amazon.nova-lite-v1:0", "us-west-2", "111111111111")
    'arn:aws:bedrock:us-west-2:111111111111:inference-profile/us.amazon.nova-lite-v1:0'
    """
    if plain(model) != model:
        return f"arn:aws:bedrock:{region}:{account}:inference-profile/{model}"
    return f"arn:aws:bedrock:{region}::foundation-model/{model}"


def behind(model: str, region: str) -> list[str]:
    """ARNs of the models that answer: where a profile has several regions, that in each of them has to be named.

    >>> behind("us.amazon.nova-lite-v1:0", "us-west-2")
    ['arn:aws:bedrock:*::foundation-model/amazon.nova-lite-v1:0']
    """
    bare = plain(model)
    if bare == model:
        return [source(model, region, "")]
    everywhere = [f"arn:aws:bedrock:*::foundation-model/{bare}"]
    # A global profile asks for the model in no region ("Supported Regions and models for inference profiles", global).
    return [*everywhere, f"arn:aws:bedrock:::foundation-model/{bare}"] if model.startswith("global.") else everywhere


def alarms(name: str, model: Text, bounds: Mapping[str, Bound]) -> Iterator[Alarm]:
    """What is watched, from what the objective promises.

    Sources: Bedrock User Guide, "Monitor bedrock-runtime inference using CloudWatch metrics". `Invocations` counts what was
    accepted, failures among them; what was refused is in `InvocationThrottles` alone.
    """

    def metric(series: str, statistic: str) -> Metric:
        return Metric(namespace="AWS/Bedrock", name=series, dimensions={"ModelId": model}, statistic=statistic)  # pyright: ignore[reportArgumentType]

    if bound := bounds.get("p95_latency"):
        yield Alarm(
            name=f"{name}-first-token",
            meaning=f"More than 5 of 100 answers of {name} began later than after {bound.above:g} ms.",
            first="Whether prompts have grown (InputTokenCount). Else Bedrock is slow: its health page, or a geography.",
            severity="critical",
            metrics={"first": metric("TimeToFirstToken", "p95")},
            # A percentile stands in an expression only.
            expression="first * 1",
            comparison=">",
            threshold=bound.above,
            period=bound.minutes * _MINUTE,
            periods=1,
        )
    if bound := bounds.get("error_rate"):
        yield promises.failing(
            name,
            bound,
            first="Whether they are callers' errors (InvocationClientErrors: a prompt too long, a former guardrail).",
            metrics={
                "theirs": metric("InvocationServerErrors", "Sum"),
                "ours": metric("InvocationClientErrors", "Sum"),
                "calls": metric("Invocations", "Sum"),
            },
            expression=f"IF(SUM([theirs, ours]) >= {promises.ERRORS}, {_PERCENT}, 0)",
            figure=_PERCENT,
        )
    yield Alarm(
        name=f"{name}-refused",
        meaning=f"Bedrock refused {_REFUSED} requests to {name} or more within 5 minutes: the quota, or the units, are used up.",
        first="A lower maxTokens, since the quota reserves it; then a larger quota of tokens a minute, or units.",
        severity="warning",
        metrics={"refused": metric("InvocationThrottles", "Sum")},
        comparison=">=",
        threshold=_REFUSED,
        period=5 * _MINUTE,
        periods=1,
    )
    if bound := bounds.get("ceiling"):
        yield Alarm(
            name=f"{name}-ceiling",
            meaning=f"{name} has used more than {bound.above:g} tokens a minute for {bound.minutes} minutes.",
            first="Who calls it, in the log of prompts. If it is meant: raise tokens_per_minute, and look at the budget.",
            severity="warning",
            # As the quota counts them, with what a token of an answer weighs.
            metrics={"tokens": metric("EstimatedTPMQuotaUsage", "Sum")},
            comparison=">",
            threshold=bound.above,
            period=_MINUTE,
            periods=bound.minutes,
        )
