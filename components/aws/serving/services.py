"""The cloud's own models for a task: who may call which, and how often."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import pulumi
import pulumi_aws as aws

from components import contracts
from components.aws.blocks.alarms import Alarms, AlarmsArgs
from components.aws.blocks.ceilings import CALLS, Ceiling, Ceilings, CeilingsArgs
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
    besides: tuple[str, ...] = ()
    """Calls of another service that one of these makes in the name of who calls."""

    @property
    def anew(self) -> tuple[str, ...]:
        """Those that are counted. The others fetch what is paid for, or list what there is."""
        return tuple(action for action in self.actions if not action.partition(":")[2].startswith(("Describe", "Get")))


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
            actions=("translate:TranslateDocument", "translate:TranslateText"),
            # It finds out by Comprehend which language it is given ("Automatic language detection").
            besides=("comprehend:DetectDominantLanguage",),
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
    compute_key: contracts.Key
    logs_key: contracts.Key
    boundary: contracts.Boundary
    critical: Sequence[Text] = ()
    warning: Sequence[Text] = ()
    teams: Mapping[str, Sequence[Text]] = field(default_factory=dict[str, Sequence[Text]])
    """Topics of each team."""


class Services(Component):
    """Vision, language, speech, translation, text to speech and documents, each for the teams that it is described for.

    A policy for each service and team lists the calls that work something out, in this region, and in prod from the network
    alone, where the service has an endpoint of its own (`Network`); endpoints of the team can be given it. The team's own work
    has one policy with all of its services: IAM attaches ten to a role, and those that deny have to find room ("IAM and AWS
    STS quotas"). What a call reads or writes in S3 it reads and writes as who calls.

    More calls within a day than are described raise an alarm, with every service. More than the ceiling take the service
    away, until they are what is described again (`Ceilings`, which says what slips through).

    Owns the policies, what attaches them, the alarms and the ceilings. Never owns what calls. Costs what is called; two alarms,
    0.10 USD a month each for each operation. A destroy takes all of it.

    >>> len(Services(
    ...     "services",
    ...     ServicesArgs(
    ...         services={"vision": Pretrained(teams=["risk"], calls_per_day=100)}, network=network,
    ...         compute_key=key, logs_key=key, boundary=boundary,
    ...     ),
    ...     scope=scope, parent=parent,
    ... ).outputs.grants["vision"])
    1
    """

    outputs: contracts.Services

    def __init__(self, name: str, args: ServicesArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Watch and bound, make the policies, and hand them to teams."""
        super().__init__(name, scope, parent)
        self._args = args
        expected = {alarm.name: alarm for alarm in alarms(args.services)}
        watched = Alarms(
            f"{name}-alarm",
            AlarmsArgs(alarms=list(expected.values()), critical=[], warning=list(args.warning)),
            scope=scope,
            parent=self,
        )
        bounded = Ceilings(
            f"{name}-ceilings",
            CeilingsArgs(
                services={
                    service: self._ceiling(service, spec, expected[_alarm(service)])
                    for service, spec in sorted(args.services.items())
                },
                key=args.compute_key,
                logs_key=args.logs_key,
                boundary=args.boundary,
                critical=args.critical,
                warning=args.warning,
            ),
            scope=scope,
            parent=self,
        )
        # Nothing is called that nobody counts and bounds.
        self._before = [watched, bounded]
        works = {team: self._work(team) for team in sorted(args.identities) if self._of(team)}
        self.outputs = contracts.Services(
            grants={
                service: {team: self._grant(service, team, works.get(team)) for team in sorted(spec.teams)}
                for service, spec in sorted(args.services.items())
            }
        )
        self.finish(self.outputs)

    def _of(self, team: str) -> list[Service]:
        return sorted(service for service, spec in self._args.services.items() if team in spec.teams)

    def _ceiling(self, service: Service, spec: Pretrained, expected: Alarm) -> Ceiling:
        args = self._args
        works = [_work(team) for team in spec.teams if team in args.identities]
        return Ceiling(
            expected=expected,
            calls=spec.ceiling,
            actions=TASKS[service].anew,
            policies=[
                self.scope.names.of(policy, "iam_policy")
                for policy in (*(_call(service, team) for team in spec.teams), *works)
            ],
            told=[topic for team in spec.teams for topic in args.teams.get(team, ())],
        )

    def _policy(self, name: str, label: str, team: str, services: Sequence[Service]) -> aws.iam.Policy:
        args, scope = self._args, self.scope
        here: iam.Condition = {"StringEquals": {"aws:RequestedRegion": scope.region}}
        if scope.tier == "prod":
            here = iam.both(here, {"StringEquals": {"aws:SourceVpc": args.network.id}})
        actions = [action for service in services for action in (*TASKS[service].actions, *TASKS[service].besides)]
        return aws.iam.Policy(
            name,
            name=scope.names.of(label, "iam_policy"),
            # Another description is another policy, and there is one of the name already: it says nothing that changes.
            description=f"{label}: calls of {team} to the cloud's own models.",
            policy=pulumi.Output.json_dumps(
                iam.document(iam.allow(list(dict.fromkeys(actions)), ["*"], sid="Call", when=here))
            ),
            tags=dict(args.tags.get(team, {})),
            opts=self.options(depends_on=self._before),
        )

    def _work(self, team: str) -> pulumi.Resource:
        """All services of a team for its own work."""
        policy = self._policy(f"{self.name}-work-of-{team}", _work(team), team, self._of(team))
        return aws.iam.RolePolicyAttachment(
            f"{self.name}-{team}-attached",
            role=self._args.identities[team].apply(lambda arn: arn.rpartition("/")[2]),
            policy_arn=policy.arn,
            opts=self.options(),
        )

    def _grant(self, service: Service, team: str, work: pulumi.Resource | None) -> Text:
        policy = self._policy(f"{self.name}-{_part(service)}-{team}", _call(service, team), team, [service])
        return after(policy.arn, *([work] if work else []))


def alarms(services: Mapping[Service, Pretrained]) -> Iterator[Alarm]:
    """What is watched: calls of a day."""
    for service, spec in sorted(services.items()):
        metrics = {f"m{i}": metric for i, metric in enumerate(TASKS[service].counted)}
        yield Alarm(
            name=_alarm(service),
            meaning=f"{service} was called more than {spec.calls_per_day} times within a day.",
            first=f"Which role calls, in CloudTrail; above {spec.ceiling} the service is taken away. If it is meant: raise its"
            " calls_per_day, and look at the budget.",
            severity="warning",
            metrics=metrics,
            # An operation that nobody has called has no series.
            expression=f"SUM([{', '.join(metrics)}])",
            comparison=">",
            threshold=spec.calls_per_day,
            period=_DAY,
            periods=1,
        )


def _alarm(service: Service) -> str:
    return f"{_part(service)}-calls"


def _call(service: Service, team: str) -> str:
    return f"{CALLS}-{_part(service)}-{team}"


def _work(team: str) -> str:
    """No service is called `s`, so no policy of a team's is called as that of a service and a team."""
    return f"{CALLS}s-of-{team}"


def _part(service: str) -> str:
    return service.replace("_", "-")
