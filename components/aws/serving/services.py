"""The cloud's own models for a task: who may call which, and how often."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import pulumi
import pulumi_aws as aws

from components import contracts
from components.aws.blocks.alarms import Alarms, AlarmsArgs
from components.contracts import Text
from components.core import iam
from components.core.cloudwatch import Alarm, Metric
from components.scope import Component, Scope, after
from components.spec.serving import Pretrained, Service


@dataclass(frozen=True, kw_only=True)
class Task:
    """What AWS has for a task."""

    actions: tuple[str, ...]
    """Calls that work something out, and none that makes or keeps anything of ours. None of them knows resources."""
    counted: tuple[Metric, ...]
    """A series for each of them that does so anew, ten at most: an alarm looks at no more."""


def _published(namespace: str, *operations: str, name: str = "SuccessfulRequestCount") -> tuple[Metric, ...]:
    """Calls as the service itself publishes them."""
    return tuple(
        Metric(namespace=namespace, name=name, dimensions={"Operation": operation}, statistic="Sum")
        for operation in operations
    )


def _used(service: str, *operations: str) -> tuple[Metric, ...]:
    """Calls as CloudWatch counts them in the account, free of charge and without a trail."""
    at = {"Service": service, "Type": "API", "Class": "None"}
    return tuple(
        Metric(namespace="AWS/Usage", name="CallCount", dimensions={**at, "Resource": operation}, statistic="Sum")
        for operation in operations
    )


# Sources: Service Authorization Reference by service; "CloudWatch metrics for Rekognition", "… for Amazon Translate", "… for
# Amazon Textract", "Integrating CloudWatch with Amazon Polly". Comprehend publishes metrics of endpoints of our own alone, and
# those of Transcribe have the domain and the language among their dimensions: these are counted by "AWS API usage metrics", which
# knows both, and of Transcribe the streams by themselves.
TASKS: Mapping[Service, Task] = MappingProxyType(
    {
        # What is in a picture, and not who: neither CompareFaces nor RecognizeCelebrities, nor collections of faces.
        "vision": Task(
            actions=(
                "rekognition:DetectLabels", "rekognition:DetectModerationLabels", "rekognition:DetectProtectiveEquipment",
                "rekognition:DetectText",
            ),
            counted=_published(
                "AWS/Rekognition", "DetectLabels", "DetectModerationLabels", "DetectProtectiveEquipment", "DetectText"
            ),
        ),
        "language": Task(
            # One text a call: those of a batch have 25 ("BatchDetectEntities", TextList), and no count of calls would tell.
            actions=(
                "comprehend:ContainsPiiEntities", "comprehend:DetectDominantLanguage", "comprehend:DetectEntities",
                "comprehend:DetectKeyPhrases", "comprehend:DetectPiiEntities", "comprehend:DetectSentiment",
                "comprehend:DetectSyntax", "comprehend:DetectTargetedSentiment", "comprehend:DetectToxicContent",
            ),
            counted=_used(
                "Comprehend", "ContainsPiiEntities", "DetectDominantLanguage", "DetectEntities", "DetectKeyPhrases",
                "DetectPiiEntities", "DetectSentiment", "DetectSyntax", "DetectTargetedSentiment", "DetectToxicContent",
            ),
        ),
        "speech": Task(
            actions=(
                "transcribe:GetTranscriptionJob", "transcribe:StartStreamTranscription",
                "transcribe:StartStreamTranscriptionWebSocket", "transcribe:StartTranscriptionJob",
            ),
            counted=(
                *_used("Transcribe", "StartTranscriptionJob"),
                *_used("Transcribe Streaming", "StartStreamTranscription", "StartStreamTranscriptionWebSocket"),
            ),
        ),
        "translation": Task(
            # It finds out by Comprehend which language it is given ("Automatic language detection").
            actions=("comprehend:DetectDominantLanguage", "translate:TranslateDocument", "translate:TranslateText"),
            counted=_published("AWS/Translate", "TranslateDocument", "TranslateText"),
        ),
        "text_to_speech": Task(
            actions=("polly:DescribeVoices", "polly:SynthesizeSpeech"),
            counted=_published("AWS/Polly", "SynthesizeSpeech", name="2XXCount"),
        ),
        "document": Task(
            actions=(
                "textract:AnalyzeDocument", "textract:AnalyzeExpense", "textract:AnalyzeID", "textract:DetectDocumentText",
                "textract:GetDocumentAnalysis", "textract:GetDocumentTextDetection", "textract:GetExpenseAnalysis",
                "textract:StartDocumentAnalysis", "textract:StartDocumentTextDetection", "textract:StartExpenseAnalysis",
            ),
            counted=_published(
                "AWS/Textract", "AnalyzeDocument", "AnalyzeExpense", "AnalyzeID", "DetectDocumentText",
                "StartDocumentAnalysis", "StartDocumentTextDetection", "StartExpenseAnalysis",
            ),
        ),
    }
)  # fmt: skip
_DAY = 24 * 3600


@dataclass(frozen=True, kw_only=True)
class ServicesArgs:
    """Which services, and whose work calls them."""

    services: Mapping[Service, Pretrained]
    identities: Mapping[str, Text] = field(default_factory=dict[str, Text])
    """By team, ARN of the role that its work runs as."""
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    """By team."""
    network: contracts.Network
    """In prod calls come from it."""
    warning: Sequence[Text] = ()


class Services(Component):
    """Vision, language, speech, translation, text to speech and documents, each for the teams that it is described for.

    A policy for each service and team lists the calls that work something out, in this region, and in prod from the network
    alone, where the service has an endpoint of its own (`Network`); the work of the team has it, and the endpoints of the team
    can be given it too. What a call reads or writes in S3 it reads and writes as who calls. AWS has no quota of calls by the day
    that could be lowered: more of them than are described raise an alarm, with every service.

    Owns the policies, what attaches them, and the alarms. Never owns what calls. Costs what is called; an alarm 0.10 USD a month
    for each operation. A destroy takes all of it.

    >>> len(Services(
    ...     "services",
    ...     ServicesArgs(services={"vision": Pretrained(teams=["risk"], calls_per_day=100)}, network=network),
    ...     scope=scope, parent=parent,
    ... ).outputs.grants["vision"])
    1
    """

    outputs: contracts.Services

    def __init__(self, name: str, args: ServicesArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the policies, hand them to teams, and watch."""
        super().__init__(name, scope, parent)
        self._args = args
        watched = Alarms(
            f"{name}-alarm",
            AlarmsArgs(alarms=list(alarms(args.services)), critical=[], warning=list(args.warning)),
            scope=scope,
            parent=self,
        )
        self.outputs = contracts.Services(
            grants={
                service: {team: self._grant(service, team, watched) for team in sorted(spec.teams)}
                for service, spec in sorted(args.services.items())
            }
        )
        self.finish(self.outputs)

    def _grant(self, service: Service, team: str, watched: pulumi.Resource) -> Text:
        args, scope = self._args, self.scope
        part = f"{service.replace('_', '-')}-{team}"
        here: iam.Condition = {"StringEquals": {"aws:RequestedRegion": scope.region}}
        if scope.tier == "prod":
            here = iam.both(here, {"StringEquals": {"aws:SourceVpc": args.network.id}})
        policy = aws.iam.Policy(
            f"{self.name}-{part}",
            name=scope.names.of(f"call-{part}", "iam_policy"),
            description=f"{team} calls {service}.",
            policy=pulumi.Output.json_dumps(
                iam.document(iam.allow(TASKS[service].actions, ["*"], sid="Call", when=here))
            ),
            tags=dict(args.tags.get(team, {})),
            opts=self.options(depends_on=[watched]),
        )
        if team not in args.identities:
            return policy.arn
        attached = aws.iam.RolePolicyAttachment(
            f"{self.name}-{part}-attached",
            role=args.identities[team].apply(lambda arn: arn.rpartition("/")[2]),
            policy_arn=policy.arn,
            opts=self.options(),
        )
        return after(policy.arn, attached)


def alarms(services: Mapping[Service, Pretrained]) -> Iterator[Alarm]:
    """What is watched: calls of a day."""
    for service, spec in sorted(services.items()):
        metrics = {f"m{i}": metric for i, metric in enumerate(TASKS[service].counted)}
        yield Alarm(
            name=f"{service.replace('_', '-')}-calls",
            meaning=f"{service} was called more than {spec.calls_per_day} times within a day.",
            first="Which role calls, in CloudTrail. If it is meant: raise its calls_per_day, and look at the budget.",
            severity="warning",
            metrics=metrics,
            # An operation that nobody has called has no series.
            expression=f"SUM([{', '.join(metrics)}])",
            comparison=">",
            threshold=spec.calls_per_day,
            period=_DAY,
            periods=1,
        )
