"""Endpoints that work on a queue, and put their answers into a bucket."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws

from components import contracts
from components.aws.blocks.dead_letters import DeadLetters, DeadLettersArgs
from components.aws.blocks.endpoint import Answers, Capture, Endpoint, EndpointArgs, Scaling
from components.aws.blocks.hosting import Hosting, HostingArgs, Place, Served, Use
from components.contracts import Text, Zone
from components.core import cloudwatch, hosting, iam
from components.core.accelerators import Machine
from components.scope import Component, Scope, after
from components.spec import serving
from components.spec.endpoints import Alarm

# All that a topic's own default policy gives its owner; a policy of ours replaces that default, so it is stated again.
_OWNER = (
    "sns:AddPermission", "sns:DeleteTopic", "sns:GetTopicAttributes", "sns:ListSubscriptionsByTopic", "sns:Publish",
    "sns:RemovePermission", "sns:SetTopicAttributes", "sns:Subscribe",
)  # fmt: skip
_WINDOW = 300


@dataclass(frozen=True, kw_only=True)
class AsynchronousArgs:
    """What one endpoint is."""

    spec: serving.Async
    machine: Machine
    model: Served
    zone: Zone
    """Of requests and answers."""
    capture: Zone | None = None
    """Where requests and answers are kept besides, where any are."""
    alarms: Mapping[str, Alarm]
    """By sign, `components.spec.endpoints.alarms`."""
    network: contracts.Network
    compute_key: contracts.Key
    logs_key: contracts.Key
    """Of logs, and of what is said of answers."""
    boundary: contracts.Boundary
    critical: Sequence[Text] = ()
    warning: Sequence[Text] = ()
    team: Sequence[Text] = ()
    """Topics of the team that owns it."""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class Asynchronous(Component):
    """A model that works on a queue of SageMaker's, on no machine while nothing waits.

    A caller puts a request below `async/{name}/input/`, names it in InvokeEndpointAsync, and finds the answer below
    `async/{name}/output/`, or why there is none below `async/{name}/failure/`. One topic tells of answers, another of failures;
    these lie in a queue for two weeks as well, so that none is lost where nobody listened. Instances follow what waits for each
    of them; the first one comes when anything waits.

    Owns the endpoint with its model, the topics and the queue of failures. Never owns the bucket. Costs its machines while they
    are there (ml.m5.xlarge 0.23 USD an hour, us-west-2, 2026-09), 0.50 USD a million notifications. A destroy takes it with
    what waits.

    >>> from components.core.accelerators import machine
    >>> from components.spec.endpoints import alarms
    >>> spec = serving.Async.model_validate({
    ...     "kind": "async", "team": "risk", "model": {"image": "serving:1.0"}, "scale": {"max": 4},
    ...     "objective": {"requests_per_month": 1000},
    ... })
    >>> model = Served(
    ...     content={"image": "serving:1.0"}, version="serving:1.0",
    ...     image="111111111111.dkr.ecr.us-west-2.amazonaws.com/acme-ai-dev-serving:1.0",
    ... )
    >>> args = AsynchronousArgs(
    ...     spec=spec, machine=machine("aws", "m7i.xlarge"), model=model, zone=Zone(bucket=bucket, key=key),
    ...     alarms=alarms(spec), network=network, compute_key=key, logs_key=key, boundary=boundary,
    ... )
    >>> address = Asynchronous("ocr", args, scope=scope, parent=parent).outputs.address
    """

    outputs: contracts.Endpoint

    def __init__(self, name: str, args: AsynchronousArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the topics, the model and the endpoint."""
        super().__init__(name, scope, parent)
        self._args = args
        spec, physical = args.spec, scope.names.of(name, "endpoint")
        good, bad = self._topic("answers"), self._topic("failures")
        lost = self._failures(bad)
        said, failed = self._place("output", "write"), self._place("failure", "write")
        capture = None
        if args.capture and spec.capture_percent:
            place = Place(zone=args.capture, path=f"capture/{name}/", use="write")
            capture = Capture(place=place, percent=spec.capture_percent)
        rollout = hosting.rollout(spec.release)
        run = Hosting(
            f"{name}-hosting",
            HostingArgs(
                models={hosting.VARIANT: args.model},
                kind="machines",
                log_group=f"{hosting.HOSTS}/{physical}",
                places=[self._place("input", "read"), said, failed, *([capture.place] if capture else [])],
                statements=[
                    iam.allow(["sns:Publish"], [good, bad]),
                    iam.allow(
                        ["kms:Decrypt", "kms:GenerateDataKey"], [args.logs_key.id], when=iam.via(scope.region, "sns")
                    ),
                ],
                network=args.network,
                key=args.compute_key,
                logs_key=args.logs_key,
                boundary=args.boundary,
                tags=args.tags,
            ),
            scope=scope,
            parent=self,
        ).outputs
        watched = hosting.Watched(
            name=name,
            physical=physical,
            kind="async",
            bounds=args.alarms,
            machine=args.machine,
            fixed=spec.scale.min == spec.scale.max,
            signs=rollout.signs,
        )
        made = Endpoint(
            name,
            EndpointArgs(
                models=run.models,
                content={hosting.VARIANT: args.model.content},
                version=args.model.version,
                machine=args.machine,
                scaling=Scaling(
                    minimum=spec.scale.min,
                    maximum=spec.scale.max,
                    first=hosting.first_count(spec.scale.min, spec.scale.max, 0, spec.release.strategy),
                    metric="ApproximateBacklogSizePerInstance",
                    predefined=False,
                    value=float(spec.scale.waiting),
                ),
                rollout=rollout,
                capture=capture,
                answers=Answers(good=said, bad=failed, good_topic=good, bad_topic=bad),
                key=args.compute_key,
                alarms=[*hosting.alarms(watched), lost],
                kind=spec.kind,
                owner=spec.team,
                critical=args.critical,
                warning=args.warning,
                team=args.team,
                callers=spec.callers,
                call="sagemaker:InvokeEndpointAsync",
                calls=[
                    *self._place("input", "write").statements(scope.region),
                    *self._place("output", "read").statements(scope.region),
                    *self._place("failure", "read").statements(scope.region),
                ],
                network=args.network,
                tags=args.tags,
            ),
            scope=scope,
            parent=self,
        ).outputs
        self.outputs = contracts.Endpoint(id=made.id, address=made.address, version=made.version, row=made.row)
        self.finish(self.outputs)

    def _place(self, part: str, use: Use) -> Place:
        return Place(zone=self._args.zone, path=f"async/{self.name}/{part}/", use=use)

    def _topic(self, what: str) -> Text:
        """ARN of a topic; SageMaker publishes to it as the endpoint's own role."""
        scope, label = self.scope, f"{self.name}-{what}"
        physical = scope.names.of(f"async-{label}")
        topic = aws.sns.Topic(
            f"{label}-topic",
            name=physical,
            kms_master_key_id=self._args.logs_key.id,
            # SHA-256 in place of SHA-1 for the signature of what is delivered.
            signature_version=2,
            tags=dict(self._args.tags),
            opts=self.options(),
        )
        arn = f"arn:aws:sns:{scope.region}:{scope.account}:{physical}"
        policy = aws.sns.TopicPolicy(
            f"{label}-policy",
            arn=topic.arn,
            policy=pulumi.Output.json_dumps(
                iam.document(
                    iam.allow(_OWNER, [arn], sid="Owner", principals={"AWS": f"arn:aws:iam::{scope.account}:root"}),
                    iam.deny(
                        ["sns:Publish"],
                        [arn],
                        sid="OnlyOverTls",
                        principals="*",
                        when=iam.secure_transport(required=False),
                    ),
                )
            ),
            opts=self.options(),
        )
        return after(topic.arn, policy)

    def _failures(self, topic: Text) -> cloudwatch.Alarm:
        """The queue of requests that failed, and what says that there are any."""
        args, scope, label = self._args, self.scope, f"{self.name}-failed"
        # A name of its own: the queue of what corpora gave up would be that of an endpoint `documents`.
        physical = scope.names.of(f"async-{label}", "queue")
        failed = DeadLetters(
            label,
            DeadLettersArgs(queue=physical, key=args.logs_key, topic=topic, tags=args.tags),
            scope=scope,
            parent=self,
        ).outputs
        aws.sns.TopicSubscription(
            f"{label}-subscription",
            topic=topic,
            protocol="sqs",
            endpoint=failed.id,
            opts=self.options(),
        )
        return cloudwatch.Alarm(
            name=label,
            meaning=f"Requests to {self.name} failed, and lie in the queue {physical}.",
            first="Read one: it says where its request and its reason are. Ask again once it is mended, then purge the queue.",
            severity="warning",
            metrics={
                "failed": cloudwatch.Metric(
                    namespace="AWS/SQS",
                    name="ApproximateNumberOfMessagesVisible",
                    dimensions={"QueueName": physical},
                    statistic="Maximum",
                )
            },
            comparison=">",
            threshold=0,
            period=_WINDOW,
            periods=1,
        )
