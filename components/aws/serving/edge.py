"""Models on devices, which fetch them when they can."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import pulumi
import pulumi_aws as aws

from components import contracts
from components.aws.blocks.alarms import Alarms, AlarmsArgs
from components.aws.blocks.workload import Workload, WorkloadArgs
from components.contracts import Text, Zone
from components.core import iam
from components.core.cloudwatch import Alarm, Metric
from components.core.cloudwatch_rows import row
from components.core.hosting import digest, repository
from components.scope import Component, Scope, after
from components.spec import serving
from components.spec.models import called

_HOUR = 3600
_ENOUGH = 10
"""Devices that have to have ended before their failures stop a roll-out; of a small fleet, all."""
_SLOWEST, _FASTEST = 1, 1000
"""Devices a minute that a job is told to (JobExecutionsRolloutConfig, MaximumPerMinute)."""
_INSTALL_MINUTES = 60
_RETRIES = 2
_BAD = ("failed", "rejected", "timed_out")
_THING = "${iot:Connection.Thing.ThingName}"
_PULL = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
# One alarm tells five at most ("PutMetricAlarm", AlarmActions).
_TOLD = 5


@dataclass(frozen=True, kw_only=True)
class EdgeArgs:
    """One fleet, and what runs on it."""

    spec: serving.Edge
    image: pulumi.Input[str]
    """Address of the image, in ECR."""
    zone: Zone | None
    """Where the model is, where it is not in the image."""
    ready: contracts.LogGroup
    """What an account has once for all devices (`Fleets`)."""
    boundary: contracts.Boundary
    critical: Sequence[Text] = ()
    warning: Sequence[Text] = ()
    team: Sequence[Text] = ()
    """Topics of the team that owns it, in place of those of warnings."""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class Edge(Component):
    """A fleet of devices, what each of them may do, and how a new version reaches them.

    A device connects with a certificate of its own as the thing that this is attached to, and sees its own jobs and shadow, and
    no other's. It changes its certificate for credentials of an hour that read the image and the model in all of their versions,
    and nothing else (IoT's credentials provider). Devices are registered, and their certificates made and attached, by whoever
    makes the devices.

    A roll-out is a job for the group, from the template of the version: so many devices a minute as are the described percent of
    the fleet an hour, one at least, for IoT goes no slower; two more tries a device; and no further once so many percent failed.
    The job's document names the image, which is signed, and the model with its digest: a device refuses what does not match.
    Templates cannot be changed: another version is another one, and the former one is there to go back to, but in dev.

    Owns the type and group of things, the policy of devices, their role and its alias, the template, what counts jobs that ended
    badly, and the alarm on it. Never owns a device, a certificate or a job. `callers` may start a roll-out and stop it. Costs
    0.003 USD a job of a device (IoT Device Management, us-east-1, 2026-09); a connected device 0.042 a year. A destroy waits some
    five minutes for the type, and is refused while certificates have the policy.

    >>> spec = serving.Edge.model_validate(
    ...     {"kind": "edge", "team": "risk", "fleet": "cameras", "model": {"image": "detector:1.0"}}
    ... )
    >>> args = EdgeArgs(
    ...     spec=spec, image="detector:1.0", zone=None, ready=contracts.LogGroup(id=topic), boundary=boundary, warning=[topic]
    ... )
    >>> group = Edge("detector", args, scope=scope, parent=parent).outputs.id
    """

    outputs: contracts.Endpoint

    def __init__(self, name: str, args: EdgeArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the fleet, say what a device may do, and how it gets a new version."""
        super().__init__(name, scope, parent)
        self._args = args
        self._begins = scope.names.of(name, "roll_out")
        """What names of its templates and jobs begin with."""
        physical = scope.names.of(args.spec.fleet, "fleet")
        about = f"Devices that run {name}"
        kind = aws.iot.ThingType(
            f"{name}-type",
            name=physical,
            properties={"description": about, "searchable_attributes": ["site"]},
            tags=dict(args.tags),
            opts=self.options(),
        )
        group = aws.iot.ThingGroup(
            f"{name}-group",
            name=physical,
            properties={"description": about},
            tags=dict(args.tags),
            opts=self.options(depends_on=[kind]),
        )
        policy = self._devices()
        found, watched = self._watch()
        counted = [self._count(), watched]
        template = self._template()
        arn = f"arn:aws:iot:{scope.region}:{scope.account}:jobtemplate/{template.job_template_id}"
        grants = self._grants(group)
        ready = [policy, *counted, template.resource, *grants]
        self.outputs = contracts.Endpoint(
            id=after(group.arn, *ready),
            address=after(arn, *ready),
            version=pulumi.Output.from_input(called(args.spec.model)),
            row=row(
                name,
                args.spec.kind,
                args.spec.team,
                found,
                arns=list(watched.outputs.names.values()),
                region=scope.region,
            ),
        )
        self.finish(self.outputs)

    # -- what a device may do

    def _devices(self) -> aws.iot.Policy:
        args, scope, name = self._args, self.scope, self.name
        alias = aws.iot.RoleAlias(
            f"{name}-alias",
            alias=scope.names.of(f"{name}-device", "fleet"),
            role_arn=self._role(),
            credential_duration=_HOUR,
            tags=dict(args.tags),
            opts=self.options(),
        )
        at = f"arn:aws:iot:{scope.region}:{scope.account}"
        own = f"$aws/things/{_THING}"
        # Its jobs, and what it says that it runs.
        topics = (f"{own}/jobs/*", f"{own}/shadow/name/$package/*")
        statements = [
            iam.allow(
                ["iot:Connect"],
                [f"{at}:client/{_THING}"],
                # As a thing that its certificate is attached to, and under no other name.
                when={"Bool": {"iot:Connection.Thing.IsAttached": "true"}},
            ),
            iam.allow(["iot:Publish", "iot:Receive"], [f"{at}:topic/{topic}" for topic in topics]),
            iam.allow(["iot:Subscribe"], [f"{at}:topicfilter/{topic}" for topic in topics]),
            iam.allow(["iot:AssumeRoleWithCertificate"], [alias.arn]),
        ]
        return aws.iot.Policy(
            f"{name}-policy",
            name=scope.names.of(f"{name}-device", "fleet"),
            policy=pulumi.Output.json_dumps(iam.document(*statements)),
            tags=dict(args.tags),
            opts=self.options(),
        )

    def _role(self) -> Text:
        args, scope = self._args, self.scope
        at, ours = f"{scope.region}:{scope.account}", scope.names.full("").rstrip("-")
        statements: list[iam.Statement] = [
            iam.allow(["ecr:GetAuthorizationToken"], ["*"], sid="SignInToRegistry"),
            iam.allow(_PULL, [repository(args.spec.model.image, at, ours)], sid="PullImage"),
        ]
        artifact = args.spec.model.artifact
        if artifact and args.zone:
            bucket = args.zone.bucket.resource
            # Every version of it: the way back is a job from the former template.
            whole = f"{artifact.family}*" if artifact.family.endswith("/") else artifact.family
            statements += [
                iam.allow(["s3:GetObject"], [pulumi.Output.concat(bucket, "/", whole)], sid="ReadModel"),
                iam.allow(["kms:Decrypt"], [args.zone.key.id], sid="Decrypt", when=iam.via(scope.region, "s3")),
            ]
        return Workload(
            f"{self.name}-device",
            WorkloadArgs(
                description=f"A device that runs {self.name}.",
                service="credentials.iot.amazonaws.com",
                statements=statements,
                boundary=args.boundary,
            ),
            scope=scope,
            parent=self,
        ).outputs.id

    # -- how it gets a new version

    def _template(self) -> "_Template":
        args, scope, spec = self._args, self.scope, self._args.spec
        artifact = spec.model.artifact
        known = {
            "image": spec.model.image,
            "artifact": artifact.model_dump() if artifact else None,
            "pace": pace(spec.devices, spec.percent_per_hour),
            "abort": spec.abort_percent,
        }
        # Of what is known before anything is built, so that a preview shows the name.
        physical = f"{self._begins}-{digest(known)}"
        model = (
            pulumi.Output.concat(args.zone.bucket.uri, f"/{artifact.path}")
            if artifact and args.zone
            else pulumi.Output.from_input("")
        )
        content = pulumi.Output.json_dumps(
            {
                "operation": "install",
                "endpoint": self.name,
                "image": args.image,
                "model": model,
                "sha256": artifact.sha256 if artifact else None,
            },
            sort_keys=True,
        )
        opts = self.options(replace_on_changes=["desiredState"])
        opts.retain_on_delete = not scope.deletable or None
        made = aws.cloudcontrol.Resource(
            f"{self.name}-template",
            # The provider has no resource of it.
            type_name="AWS::IoT::JobTemplate",
            desired_state=pulumi.Output.json_dumps(self._state(physical, content, args.ready.id), sort_keys=True),
            opts=opts,
        )
        return _Template(resource=made, job_template_id=physical)

    def _state(self, physical: str, content: Text, ready: Text) -> dict[str, Any]:
        spec = self._args.spec
        return {
            "JobTemplateId": physical,
            "Description": f"Installs {self.name} on {spec.fleet}.",
            # Not before jobs are told of and logged.
            "Document": pulumi.Output.all(content, ready).apply(lambda found: str(found[0])),
            "JobExecutionsRolloutConfig": {"MaximumPerMinute": pace(spec.devices, spec.percent_per_hour)},
            "AbortConfig": {
                "CriteriaList": [
                    {
                        "Action": "CANCEL",
                        "FailureType": "ALL",
                        "MinNumberOfExecutedThings": min(_ENOUGH, spec.devices),
                        "ThresholdPercentage": spec.abort_percent,
                    }
                ]
            },
            "JobExecutionsRetryConfig": {
                "RetryCriteriaList": [
                    {"FailureType": kind, "NumberOfRetries": _RETRIES} for kind in ("FAILED", "TIMED_OUT")
                ]
            },
            "TimeoutConfig": {"InProgressTimeoutInMinutes": _INSTALL_MINUTES},
            "Tags": [{"Key": key, "Value": value} for key, value in sorted(self._args.tags.items())],
        }

    def _grants(self, group: aws.iot.ThingGroup) -> list[pulumi.Resource]:
        """Who may start a roll-out of it, to a version or back: by a job whose name begins as its own."""
        scope = self.scope
        at = f"arn:aws:iot:{scope.region}:{scope.account}"
        jobs, templates = f"{at}:job/{self._begins}-*", f"{at}:jobtemplate/{self._begins}-*"
        statements = [
            iam.allow(["iot:CreateJob"], [jobs, group.arn, templates], sid="RollOut"),
            iam.allow(["iot:CancelJob", "iot:DescribeJob", "iot:ListJobExecutionsForJob"], [jobs], sid="StopIt"),
        ]
        return [
            aws.iam.RolePolicy(
                f"{self.name}-caller-{caller}",
                name=scope.names.of(f"{self.name}-roll-out", "iam_policy"),
                role=caller,
                policy=pulumi.Output.json_dumps(iam.document(*statements)),
                opts=self.options(),
            )
            for caller in self._args.spec.callers
        ]

    # -- how it does

    def _count(self) -> aws.iot.TopicRule:
        """Counts jobs of devices that ended badly: IoT's own metrics go by job, whose name nobody knows before."""
        args, scope, name = self._args, self.scope, self.name
        space = scope.names.full("devices")
        counter = Workload(
            f"{name}-count",
            WorkloadArgs(
                description=f"Counts jobs of {name} that ended badly.",
                service="iot.amazonaws.com",
                statements=[
                    iam.allow(
                        ["cloudwatch:PutMetricData"], ["*"], when={"StringEquals": {"cloudwatch:namespace": space}}
                    )
                ],
                boundary=args.boundary,
            ),
            scope=scope,
            parent=self,
        ).outputs.id
        bad = ", ".join(f"'{status}'" for status in _BAD)
        return aws.iot.TopicRule(
            f"{name}-count",
            # No hyphens ("CreateTopicRule", ruleName).
            name=scope.names.of(f"{name}-count", "fleet").replace("-", "_"),
            description=f"Jobs of {name} that ended badly.",
            enabled=True,
            sql_version="2016-03-23",
            sql=" ".join(
                (
                    "SELECT * FROM '$aws/events/jobExecution/+/+' WHERE",
                    f"startswith(topic(4), '{self._begins}-') AND topic(5) IN [{bad}]",
                )
            ),
            cloudwatch_metrics=[
                {
                    "metric_namespace": space,
                    "metric_name": name,
                    "metric_unit": "Count",
                    "metric_value": "1",
                    "role_arn": counter,
                }
            ],
            tags=dict(args.tags),
            opts=self.options(),
        )

    def _watch(self) -> tuple[list[Alarm], Alarms]:
        args = self._args
        found = list(alarms(self.name, self.scope.names.full("devices"), args.spec.devices))
        return found, Alarms(
            f"{self.name}-alarm",
            AlarmsArgs(
                alarms=found,
                critical=[*args.critical, *args.team][:_TOLD],
                warning=[*(args.team or args.warning)],
            ),
            scope=self.scope,
            parent=self,
        )


@dataclass(frozen=True)
class _Template:
    resource: aws.cloudcontrol.Resource
    job_template_id: str


def pace(devices: int, percent_per_hour: int) -> int:
    """Devices a minute, from the percent of a fleet that take a new version in an hour.

    >>> pace(1000, 10), pace(10, 10), pace(1_000_000, 100)
    (2, 1, 1000)
    """
    return min(max(ceil(devices * percent_per_hour / 100 / 60), _SLOWEST), _FASTEST)


def alarms(name: str, namespace: str, devices: int) -> Iterator[Alarm]:
    """What is watched of a fleet."""
    bad = Metric(namespace=namespace, name=name, statistic="Sum")
    yield Alarm(
        name=f"{name}-devices",
        meaning=f"Jobs of {name} ended badly on {max(1, devices // 100)} devices or more within an hour.",
        first="aws iot list-job-executions-for-job, and what the device says. The job stops by itself at its abort_percent.",
        severity="warning",
        metrics={"bad": bad},
        comparison=">=",
        threshold=max(1, devices // 100),
        period=_HOUR,
        periods=1,
    )
