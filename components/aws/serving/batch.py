"""Runs of a model over many records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pulumi
import pulumi_aws as aws

from components import contracts
from components.aws.blocks.alarms import Alarms, AlarmsArgs
from components.aws.blocks.dead_letters import DeadLetters, DeadLettersArgs
from components.aws.blocks.hosting import Hosting, HostingArgs, Place, Served
from components.aws.blocks.workload import Workload, WorkloadArgs
from components.contracts import Text, Zone
from components.core import cloudwatch, hosting, iam
from components.core.accelerators import Machine
from components.core.cloudwatch_rows import Line, row
from components.core.cron import eventbridge
from components.core.rows import Shown
from components.scope import Component, Scope, after
from components.spec import serving

_HOUR = 3600
_FLEXIBLE_MINUTES = 15
# "Logging using CloudWatch Logs" and "X-Ray and Step Functions", Step Functions Developer Guide: none of these knows a resource.
_DELIVER = (
    "logs:CreateLogDelivery", "logs:DeleteLogDelivery", "logs:DescribeLogGroups", "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery", "logs:ListLogDeliveries", "logs:PutResourcePolicy", "logs:UpdateLogDelivery",
)  # fmt: skip
_TRACE = ("xray:GetSamplingRules", "xray:GetSamplingTargets", "xray:PutTelemetryRecords", "xray:PutTraceSegments")


@dataclass(frozen=True, kw_only=True)
class BatchArgs:
    """What one run is."""

    spec: serving.Batch
    machine: Machine
    model: Served
    input: Zone
    """Of what it reads."""
    zone: Zone
    """Of what it writes."""
    jobs_log: Text
    """ARN of the log group of all transform jobs."""
    network: contracts.Network
    compute_key: contracts.Key
    logs_key: contracts.Key
    boundary: contracts.Boundary
    critical: Sequence[Text] = ()
    warning: Sequence[Text] = ()
    team: Sequence[Text] = ()
    """Topics of the team that owns it."""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class Batch(Component):
    """A run over all that lies under a prefix, a record a line, by one version of a model; the answers go to another.

    A state machine starts a transform job, starts it again where AWS had no machine for it, and stops it when its time is over.
    Answers go to `batch/{name}/{execution}/`, under the key of the zone: no run writes over another. Its machines are in the
    network and no more than the description says. Who watches is told of a run that failed, ended late or never started.

    Owns the state machine, its model, its schedule and its alarms. Never owns data or the log group of jobs. Costs what its
    machines cost while a run lasts (ml.m5.xlarge 0.23 USD an hour, us-west-2, 2026-09). A destroy takes everything but what was
    written; a job that is going on ends by itself.

    >>> from components.core.accelerators import machine
    >>> spec = serving.Batch.model_validate({
    ...     "kind": "batch", "team": "risk", "model": {"image": "serving:1.0"}, "input": {"zone": "raw"},
    ...     "schedule": "30 2 * * *", "objective": {"records_per_month": 1000},
    ... })
    >>> model = Served(
    ...     content={"image": "serving:1.0"}, version="serving:1.0",
    ...     image="111111111111.dkr.ecr.us-west-2.amazonaws.com/acme-ai-dev-serving:1.0",
    ... )
    >>> zone = Zone(bucket=bucket, key=key)
    >>> args = BatchArgs(
    ...     spec=spec, machine=machine("aws", "m7i.xlarge"), model=model, input=zone, zone=zone, jobs_log=topic,
    ...     network=network, compute_key=key, logs_key=key, boundary=boundary,
    ... )
    >>> started_by = Batch("nightly", args, scope=scope, parent=parent).outputs.address
    """

    outputs: contracts.Endpoint

    def __init__(self, name: str, args: BatchArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the model, the state machine and what starts it."""
        super().__init__(name, scope, parent)
        self._args = args
        self._jobs = scope.names.of(name, "transform_job")
        source = Place(zone=args.input, path=args.spec.input.prefix, use="read")
        target = Place(zone=args.zone, path=f"batch/{name}/", use="write")
        model = Hosting(
            f"{name}-hosting",
            HostingArgs(
                models={hosting.VARIANT: args.model},
                kind="transform",
                log_group=args.jobs_log,
                places=[source, target],
                network=args.network,
                key=args.compute_key,
                logs_key=args.logs_key,
                boundary=args.boundary,
                tags=args.tags,
            ),
            scope=scope,
            parent=self,
        ).outputs.models[hosting.VARIANT]
        machine = self._machine(model, source, target)
        found, watched = self._watch(machine)
        ready: list[pulumi.Resource] = [watched, *self._grants(machine)]
        if args.spec.schedule:
            ready.append(self._schedule(machine, args.spec.schedule))
        self.outputs = contracts.Endpoint(
            id=after(machine.arn, *ready),
            address=after(machine.arn, *ready),
            version=pulumi.Output.from_input(args.model.version),
            row=row(
                name,
                args.spec.kind,
                args.spec.team,
                found,
                arns=list(watched.outputs.names.values()),
                region=scope.region,
                log=self._log,
                more=self._runs(machine),
            ),
        )
        self.finish(self.outputs)

    def _machine(self, model: Text, source: Place, target: Place) -> aws.sfn.StateMachine:
        args, scope, name = self._args, self.scope, self.name
        physical = scope.names.of(f"batch-{name}", "state_machine")
        self._log = f"/aws/vendedlogs/states/{physical}"
        group = aws.cloudwatch.LogGroup(
            f"{name}-runs-log",
            # Names that begin like this keep the account's policy for deliveries of logs within its size ("Logging using
            # CloudWatch Logs").
            name=self._log,
            retention_in_days=scope.log_days,
            kms_key_id=args.logs_key.id,
            tags=dict(args.tags),
            opts=self.options(),
        )
        at = f"{scope.region}:{scope.account}"
        jobs = f"arn:aws:sagemaker:{at}:transform-job/{self._jobs}-*"
        identity = Workload(
            f"{name}-runs",
            WorkloadArgs(
                description=f"Starts jobs of {name}, with its model and no other.",
                service="states.amazonaws.com",
                statements=[
                    iam.allow(
                        ["sagemaker:CreateTransformJob"],
                        [jobs],
                        when={
                            "ArnEquals": {
                                "sagemaker:ModelArn": pulumi.Output.concat(f"arn:aws:sagemaker:{at}:model/", model)
                            }
                        },
                    ),
                    iam.allow(
                        ["sagemaker:DescribeTransformJob", "sagemaker:ListTags", "sagemaker:StopTransformJob"], [jobs]
                    ),
                    iam.allow(
                        ["events:DescribeRule", "events:PutRule", "events:PutTargets"],
                        [f"arn:aws:events:{at}:rule/{hosting.TRANSFORM_RULE}"],
                    ),
                    iam.allow([*_DELIVER, *_TRACE], ["*"]),
                    iam.allow(["kms:CreateGrant"], [args.compute_key.id], when=_FOR_AWS),
                    iam.allow(["kms:DescribeKey"], list(dict.fromkeys([args.compute_key.id, args.zone.key.id]))),
                ],
                boundary=args.boundary,
            ),
            scope=scope,
            parent=self,
        ).outputs.id
        run = hosting.Run(
            prefix=self._jobs,
            model=model,
            source=source.prefix,
            # Where the run lies is found out as it starts.
            target=pulumi.Output.concat("{% '", target.uri, "/' & $states.context.Execution.Name %}"),
            target_key=target.zone.key.id,
            volume_key=args.compute_key.id,
            machine=args.machine,
            machines=args.spec.machines,
            hours=args.spec.objective.finish_hours,
        )
        return aws.sfn.StateMachine(
            f"{name}-runs",
            name=physical,
            role_arn=identity,
            type="STANDARD",
            definition=pulumi.Output.json_dumps(hosting.transform(run)),
            logging_configuration={
                "level": "ALL",
                "include_execution_data": True,
                "log_destination": pulumi.Output.concat(group.arn, ":*"),
            },
            tracing_configuration={"enabled": True},
            tags=dict(args.tags),
            opts=self.options(),
        )

    def _runs(self, machine: aws.sfn.StateMachine) -> list[Line]:
        """Runs that began, and what they took ("Monitoring Step Functions metrics using CloudWatch": ms)."""
        hours = self._args.spec.objective.finish_hours
        return [
            Line(
                shown=Shown(slot="answers", label="started", counted=True),
                metrics={"started": _runs(machine, "ExecutionsStarted", "Sum")},
                period=300,
            ),
            Line(
                shown=Shown(slot="time", label="a run took, minutes"),
                metrics={"took": _runs(machine, "ExecutionTime", "Maximum")},
                expression="took / 60000",
                period=300,
                bound=60 * hours,
            ),
        ]

    def _watch(self, machine: aws.sfn.StateMachine) -> tuple[list[cloudwatch.Alarm], Alarms]:
        """Runs that did not end well, and starts that failed."""
        args, name = self._args, self.name
        hours = args.spec.objective.finish_hours

        found = [
            cloudwatch.Alarm(
                name=f"{name}-failed",
                meaning=f"A run of {name} failed, or had not ended after {hours} hours and was stopped.",
                first="Step Functions names the state and the cause. Mend it and start the run again: it writes to a new place.",
                severity="critical",
                metrics={
                    "failed": _runs(machine, "ExecutionsFailed", "Sum"),
                    "late": _runs(machine, "ExecutionsTimedOut", "Sum"),
                    "ended": _runs(machine, "ExecutionsAborted", "Sum"),
                },
                # Each of them is there only when it happens.
                expression="SUM([failed, late, ended])",
                comparison=">",
                threshold=0,
                period=300,
                periods=1,
            )
        ]
        if args.spec.schedule:
            queue = self.scope.names.of(f"{name}-not-started", "queue")
            found.append(
                cloudwatch.Alarm(
                    name=f"{name}-not-started",
                    meaning=f"A run of {name} was not started when its time had come.",
                    first=f"Why lies in the queue {queue}. Start the run by hand: aws stepfunctions start-execution.",
                    severity="critical",
                    metrics={
                        "lost": cloudwatch.Metric(
                            namespace="AWS/SQS",
                            name="ApproximateNumberOfMessagesVisible",
                            dimensions={"QueueName": queue},
                            statistic="Maximum",
                        )
                    },
                    comparison=">",
                    threshold=0,
                    period=300,
                    periods=1,
                )
            )
        told = [*args.critical, *args.team][:5]
        return found, Alarms(
            f"{name}-alarm",
            AlarmsArgs(alarms=found, critical=told, warning=list(args.team or args.warning)),
            scope=self.scope,
            parent=self,
        )

    def _schedule(self, machine: aws.sfn.StateMachine, schedule: str) -> pulumi.Resource:
        """What starts it when its time has come."""
        args, scope, label = self._args, self.scope, f"{self.name}-not-started"
        physical = scope.names.of(label, "queue")
        queue = DeadLetters(
            label, DeadLettersArgs(queue=physical, key=args.logs_key, tags=args.tags), scope=scope, parent=self
        ).outputs
        starter = Workload(
            f"{self.name}-start",
            WorkloadArgs(
                description=f"Starts {self.name} when its time has come.",
                service="scheduler.amazonaws.com",
                statements=[
                    iam.allow(["states:StartExecution"], [machine.arn]),
                    iam.allow(["sqs:SendMessage"], [queue.id]),
                    # Of the queue, and of the schedule itself ("Encryption at rest", EventBridge Scheduler User Guide).
                    iam.allow(["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"], [args.logs_key.id]),
                ],
                boundary=args.boundary,
            ),
            scope=scope,
            parent=self,
        ).outputs.id
        return aws.scheduler.Schedule(
            f"{self.name}-schedule",
            name=scope.names.of(f"batch-{self.name}", "schedule"),
            description=f"Starts {self.name}.",
            schedule_expression=eventbridge(schedule),
            schedule_expression_timezone=args.spec.time_zone,
            # Not everything at the full hour.
            flexible_time_window={"mode": "FLEXIBLE", "maximum_window_in_minutes": _FLEXIBLE_MINUTES},
            kms_key_arn=args.logs_key.id,
            target={
                "arn": machine.arn,
                "role_arn": starter,
                "retry_policy": {"maximum_retry_attempts": 5, "maximum_event_age_in_seconds": _HOUR},
                "dead_letter_config": {"arn": queue.id},
            },
            opts=self.options(),
        )

    def _grants(self, machine: aws.sfn.StateMachine) -> list[pulumi.Resource]:
        """Who may start it, and see how it goes."""
        args, scope = self._args, self.scope
        runs = machine.arn.apply(lambda arn: f"{arn.replace(':stateMachine:', ':execution:')}:*")
        statements: list[dict[str, Any]] = [
            iam.allow(["states:StartExecution"], [machine.arn]),
            iam.allow(["states:DescribeExecution"], [runs]),
        ]
        return [
            aws.iam.RolePolicy(
                f"{self.name}-caller-{caller}",
                name=scope.names.of(f"{self.name}-call", "iam_policy"),
                role=caller,
                policy=pulumi.Output.json_dumps(iam.document(*statements)),
                opts=self.options(),
            )
            for caller in args.spec.callers
        ]


_FOR_AWS: iam.Condition = {"Bool": {"kms:GrantIsForAWSResource": "true"}}


def _runs(machine: aws.sfn.StateMachine, series: str, statistic: Literal["Maximum", "Sum"]) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace="AWS/States", name=series, dimensions={"StateMachineArn": machine.arn}, statistic=statistic
    )
