"""Pipelines that train on a cadence: SageMaker Pipelines."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_aws as aws

from components import contracts
from components.aws.blocks.dead_letters import DeadLetters, DeadLettersArgs
from components.aws.blocks.security_group import SecurityGroup, SecurityGroupArgs
from components.aws.blocks.workload import Workload, WorkloadArgs
from components.contracts import Text, Zone
from components.core import iam
from components.core.cron import eventbridge
from components.core.sagemaker import instance
from components.scope import Component, Scope, after
from components.spec.experiments import Gate, Job, Run

_LOCAL = "/opt/ml/processing"
_HOUR = 3600
_FLEXIBLE_MINUTES = 15
# The names that SageMaker gives to a pipeline's jobs begin with this.
_PREFIX = "pipelines-*"
# What is tried again, and how ("Retry Policy for Pipeline Steps"): faults of the service soon, machines that are not to be had
# for a day.
_RETRIES: Sequence[Mapping[str, Any]] = (
    {
        "ExceptionType": ["Step.SERVICE_FAULT", "Step.THROTTLING"],
        "IntervalSeconds": 30,
        "BackoffRate": 2.0,
        "MaxAttempts": 5,
    },
    {
        "ExceptionType": ["SageMaker.CAPACITY_ERROR", "SageMaker.JOB_INTERNAL_ERROR", "SageMaker.RESOURCE_LIMIT"],
        "IntervalSeconds": 900,
        "BackoffRate": 1.0,
        "ExpireAfterMin": 24 * 60,
    },
)
_JOBS = ("sagemaker:CreateProcessingJob", "sagemaker:CreateTrainingJob")
_FOLLOW = (
    "sagemaker:DescribeProcessingJob", "sagemaker:DescribeTrainingJob", "sagemaker:StopProcessingJob",
    "sagemaker:StopTrainingJob",
)  # fmt: skip
_PULL = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
_SEE_NETWORK = (
    "ec2:DescribeDhcpOptions", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSecurityGroups", "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
)  # fmt: skip
_INTERFACES = (
    "ec2:CreateNetworkInterface", "ec2:CreateNetworkInterfacePermission", "ec2:DeleteNetworkInterface",
    "ec2:DeleteNetworkInterfacePermission",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class PipelinesArgs:
    """Which pipelines there are, and what they stand on."""

    runs: Mapping[str, Run]
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    """By pipeline."""
    zones: Mapping[str, Zone]
    packages: Zone
    """The zone of model packages."""
    candidates: Mapping[str, Text]
    """By model, where its versions are registered."""
    network: contracts.Network
    key: contracts.Key
    """Of volumes."""
    logs_key: contracts.Key
    tracking: contracts.Tracking | None = None
    """Where experiments are recorded, by pipelines whose containers reach the network."""
    record: Sequence[iam.Statement] = ()
    """What an identity needs for that."""
    boundary: contracts.Boundary
    warning: Sequence[Text] = ()
    """Topics that are told when a run fails, does not start, or leaves a version that waits for approval."""


class Pipelines(Component):
    """Pipelines of four steps: prepare, train, evaluate and, where the model is good enough, register.

    A version that was registered waits: somebody approves it in the registry, which tells them so, and no pipeline can. Every
    job runs in the network, on volumes encrypted with our key, on the machines that the description names and not a machine
    more, and is stopped when its time is over; on machines that can be taken away it keeps a checkpoint. Its role reads the
    pipeline's inputs, writes below `pipelines/{name}/` and, for the model and its measurements, below `{model}/` in the zone
    of model packages.

    Owns the pipelines, their roles and schedules, the queue of starts that failed, the security group, the alarms, and the log
    groups of all jobs of SageMaker in the account. Never owns data, images or the registry.

    Costs what its jobs cost (ml.m5.xlarge 0.23 USD an hour, us-east-1, 2026-09), an alarm 0.10 USD a month. A destroy takes
    everything; runs that are going on end by themselves.

    >>> args = PipelinesArgs(
    ...     runs={}, zones={}, packages=Zone(bucket=bucket, key=key), candidates={}, network=network, key=key,
    ...     logs_key=key, boundary=boundary,
    ... )
    >>> Pipelines("pipelines", args, scope=scope, parent=parent).outputs.ids
    {}
    """

    outputs: contracts.Pipelines

    def __init__(self, name: str, args: PipelinesArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the pipelines, and what starts and watches them."""
        super().__init__(name, scope, parent)
        self._args = args
        self._groups = [
            aws.cloudwatch.LogGroup(
                f"{name}-log-{kind}",
                # The names that SageMaker writes to, whoever starts a job; made here, for it would make them unencrypted and
                # for ever.
                name=f"/aws/sagemaker/{kind}",
                retention_in_days=scope.log_days,
                kms_key_id=args.logs_key.id,
                opts=self.options(),
            )
            for kind in ("ProcessingJobs", "TrainingJobs")
        ]
        made: dict[str, aws.sagemaker.Pipeline] = {}
        if args.runs:
            self._security = self._security_group()
            made = {pipeline: self._pipeline(run) for pipeline, run in args.runs.items()}
            self._waiting()
        started = self._schedules({pipeline: made[pipeline] for pipeline, run in args.runs.items() if run.schedule})
        self.outputs = contracts.Pipelines(
            ids={
                pipeline: after(resource.arn, *([started[pipeline]] if pipeline in started else []))
                for pipeline, resource in made.items()
            }
        )
        self.finish(self.outputs)

    def _security_group(self) -> Text:
        # Machines of one job speak to one another on any port, and encrypted by IPsec ("Protect Communications Between ML Compute
        # Instances in a Distributed Training Job").
        args = SecurityGroupArgs(
            label=self.name,
            description="Jobs of pipelines: HTTPS out, one another, nothing else",
            network=self._args.network,
            inside=("-1", None, None),
        )
        return SecurityGroup(f"{self.name}-network", args, scope=self.scope, parent=self).outputs.id

    def _pipeline(self, run: Run) -> aws.sagemaker.Pipeline:
        args, scope, label = self._args, self.scope, f"{self.name}-{run.name}"
        physical = scope.names.of(run.name, "pipeline")
        identity = Workload(
            f"pipeline-{run.name}",
            WorkloadArgs(
                description=f"Runs the pipeline {run.name}.",
                service="sagemaker.amazonaws.com",
                statements=[*self._steps(run), *self._data(run), *self._rest(run)],
                boundary=args.boundary,
            ),
            scope=scope,
            parent=self,
        ).outputs.id
        tracking = args.tracking.uri if args.tracking and not run.isolated else None
        where = Where(
            role=identity,
            inputs={
                channel: pulumi.Output.concat(args.zones[data.zone].bucket.uri, f"/{data.prefix}")
                for channel, data in run.inputs.items()
            },
            work=pulumi.Output.concat(args.zones[run.zone].bucket.uri, f"/pipelines/{run.name}"),
            work_key=args.zones[run.zone].key.id,
            packages=pulumi.Output.concat(args.packages.bucket.uri, f"/{run.model}"),
            packages_key=args.packages.key.id,
            group=args.candidates[run.model],
            volume_key=args.key.id,
            subnets=args.network.workload_subnets,
            security_group=self._security,
            environment={"MLFLOW_TRACKING_URI": tracking} if tracking else {},
        )
        made = aws.sagemaker.Pipeline(
            label,
            pipeline_name=physical,
            pipeline_display_name=physical,
            pipeline_description=f"Prepares, trains, evaluates and registers {run.model}.",
            role_arn=identity,
            pipeline_definition=pulumi.Output.json_dumps(definition(run, where)),
            parallelism_configuration={"max_parallel_execution_steps": 1},
            tags=dict(args.tags.get(run.name, {})),
            opts=self.options(depends_on=self._groups),
        )
        aws.cloudwatch.MetricAlarm(
            f"{label}-failed",
            name=scope.names.of(f"pipeline-{run.name}-failed"),
            alarm_description=f"A run of the pipeline {run.name} failed, or its model did not reach what it has to.",
            namespace="AWS/Sagemaker/ModelBuildingPipeline",
            metric_name="ExecutionFailed",
            dimensions={"PipelineName": made.pipeline_name},
            statistic="Sum",
            period=300,
            evaluation_periods=1,
            threshold=0,
            comparison_operator="GreaterThanThreshold",
            treat_missing_data="notBreaching",
            alarm_actions=list(args.warning),
            opts=self.options(),
        )
        return made

    def _steps(self, run: Run) -> Iterator[iam.Statement]:
        """Make the jobs of the definition, and no others."""
        args, scope = self._args, self.scope
        at = f"arn:aws:sagemaker:{scope.region}:{scope.account}"
        kinds = [f"{at}:processing-job/{_PREFIX}", f"{at}:training-job/{_PREFIX}"]
        yield iam.allow([*_JOBS, *_FOLLOW, "sagemaker:AddTags"], kinds)
        yield iam.allow(
            ["iam:PassRole"],
            [f"arn:aws:iam::{scope.account}:role/{scope.names.of(f'pipeline-{run.name}', 'iam_role')}"],
            when={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
        )
        machines = sorted({instance(job.machine.type) for job in (run.prepare, run.train, run.evaluate)})
        yield iam.deny(
            _JOBS,
            ["*"],
            sid="OnlyTheseMachines",
            when={"ForAnyValue:StringNotEquals": {"sagemaker:InstanceTypes": machines}},
        )
        # Two statements: in one, the two conditions would have to hold together, and a job with subnets alone would pass.
        for key, values in (
            ("VpcSubnets", list(args.network.workload_subnets)),
            ("VpcSecurityGroupIds", [self._security]),
        ):
            yield iam.deny(_JOBS, ["*"], sid=f"Some{key}", when={"Null": {f"sagemaker:{key}": "true"}})
            yield iam.deny(
                _JOBS, ["*"], sid=f"Our{key}", when={"ForAnyValue:StringNotEquals": {f"sagemaker:{key}": values}}
            )
        longest = max(job.max_hours for job in (run.prepare, run.train, run.evaluate)) * _HOUR
        yield iam.deny(
            _JOBS,
            ["*"],
            sid="NotForLonger",
            when={"NumericGreaterThan": {"sagemaker:MaxRuntimeInSeconds": str(longest)}},
        )
        # Register versions of its own model, none of them approved.
        group = scope.names.of(run.model, "model_group")
        yield iam.allow(
            ["sagemaker:CreateModelPackage"],
            [f"{at}:model-package-group/{group}", f"{at}:model-package/{group}/*"],
            when={"StringEqualsIfExists": {"sagemaker:ModelApprovalStatus": "PendingManualApproval"}},
        )
        yield iam.allow(["sagemaker:DescribeModelPackageGroup"], [f"{at}:model-package-group/{group}"])
        if run.isolated:
            yield iam.deny(_JOBS, ["*"], sid="Isolated", when={"Bool": {"sagemaker:NetworkIsolation": "false"}})

    def _data(self, run: Run) -> Iterator[iam.Statement]:
        """Read the inputs; write what a run leaves behind."""
        args, region = self._args, self.scope.region
        reads = [(args.zones[data.zone], data.prefix) for data in run.inputs.values()]
        writes = [(args.zones[run.zone], f"pipelines/{run.name}/"), (args.packages, f"{run.model}/")]
        for zone, prefix in (*reads, *writes):
            yield iam.allow(
                ["s3:ListBucket"],
                [zone.bucket.resource],
                when={"StringLike": {"s3:prefix": [prefix, f"{prefix}*"]}},
            )
        for actions, key_actions, chosen in (
            (["s3:GetObject"], ["kms:Decrypt"], reads),
            (
                ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"],
                ["kms:Decrypt", "kms:GenerateDataKey"],
                writes,
            ),
        ):
            yield iam.allow(
                actions, [pulumi.Output.concat(zone.bucket.resource, f"/{prefix}*") for zone, prefix in chosen]
            )
            keys = list(dict.fromkeys(zone.key.id for zone, _ in chosen))
            yield iam.allow(key_actions, keys, when=iam.via(region, "s3"))

    def _rest(self, run: Run) -> Iterator[iam.Statement]:
        """Images, logs, metrics, volumes, interfaces in the network; experiments."""
        args, scope = self._args, self.scope
        at = f"{scope.region}:{scope.account}"
        yield iam.allow(["ecr:GetAuthorizationToken"], ["*"])
        yield iam.allow(_PULL, [f"arn:aws:ecr:{at}:repository/*"])
        yield iam.allow(
            ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
            [pulumi.Output.concat(group.arn, ":*") for group in self._groups],
        )
        yield iam.allow(
            ["cloudwatch:PutMetricData"], ["*"], when={"StringLike": {"cloudwatch:namespace": "/aws/sagemaker/*"}}
        )
        yield iam.allow(["kms:CreateGrant"], [args.key.id], when={"Bool": {"kms:GrantIsForAWSResource": "true"}})
        yield iam.allow(
            ["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext"],
            [args.key.id],
            when=iam.via(scope.region, "ec2", "sagemaker"),
        )
        yield iam.allow(_SEE_NETWORK, ["*"])
        yield iam.allow(
            _INTERFACES,
            [
                f"arn:aws:ec2:{at}:network-interface/*",
                *(
                    pulumi.Output.concat(f"arn:aws:ec2:{at}:subnet/", subnet)
                    for subnet in args.network.workload_subnets
                ),
                pulumi.Output.concat(f"arn:aws:ec2:{at}:security-group/", self._security),
            ],
        )
        if not run.isolated:
            yield from args.record

    def _waiting(self) -> None:
        """Tell people that a version waits for them."""
        args, scope = self._args, self.scope
        groups = [scope.names.of(model, "model_group") for model in sorted({run.model for run in args.runs.values()})]
        rule = aws.cloudwatch.EventRule(
            f"{self.name}-waiting",
            name=scope.names.of(f"{self.name}-waiting", "event_rule"),
            description="A version of a model waits for approval.",
            event_pattern=pulumi.Output.json_dumps(
                {
                    "source": ["aws.sagemaker"],
                    "detail-type": ["SageMaker Model Package State Change"],
                    "detail": {"ModelPackageGroupName": groups, "ModelApprovalStatus": ["PendingManualApproval"]},
                }
            ),
            opts=self.options(),
        )
        for i, topic in enumerate(args.warning):
            aws.cloudwatch.EventTarget(
                f"{self.name}-waiting-{i}",
                rule=rule.name,
                target_id=f"warning-{i}",
                arn=topic,
                input_transformer={
                    "input_paths": {"package": "$.detail.ModelPackageArn"},
                    "input_template": '"<package> waits for approval: aws sagemaker update-model-package."',
                },
                opts=self.options(),
            )

    def _schedules(self, pipelines: Mapping[str, aws.sagemaker.Pipeline]) -> dict[str, aws.scheduler.Schedule]:
        """What starts pipelines when their time has come."""
        if not pipelines:
            return {}
        args, scope, label = self._args, self.scope, f"{self.name}-schedule"
        failed = self._failed(label)
        starter = Workload(
            "pipeline-start",
            WorkloadArgs(
                description="Starts pipelines when their time has come.",
                service="scheduler.amazonaws.com",
                statements=[
                    iam.allow(["sagemaker:StartPipelineExecution"], [made.arn for made in pipelines.values()]),
                    iam.allow(["sqs:SendMessage"], [failed.id]),
                    # Of the queue, and of the schedules themselves ("Encryption at rest", EventBridge Scheduler User Guide).
                    iam.allow(["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"], [args.logs_key.id]),
                ],
                boundary=args.boundary,
            ),
            scope=scope,
            parent=self,
        ).outputs.id
        group = aws.scheduler.ScheduleGroup(
            f"{label}-group", name=scope.names.of(self.name, "schedule"), opts=self.options()
        )
        return {
            pipeline: aws.scheduler.Schedule(
                f"{label}-{pipeline}",
                name=scope.names.of(pipeline, "schedule"),
                description=f"Starts the pipeline {pipeline}.",
                group_name=group.name,
                schedule_expression=eventbridge(args.runs[pipeline].schedule or ""),
                schedule_expression_timezone=args.runs[pipeline].time_zone,
                # Not everything at the full hour.
                flexible_time_window={"mode": "FLEXIBLE", "maximum_window_in_minutes": _FLEXIBLE_MINUTES},
                kms_key_arn=args.logs_key.id,
                target={
                    "arn": made.arn,
                    "role_arn": starter,
                    "retry_policy": {"maximum_retry_attempts": 5, "maximum_event_age_in_seconds": _HOUR},
                    "dead_letter_config": {"arn": failed.id},
                },
                opts=self.options(),
            )
            for pipeline, made in pipelines.items()
        }

    def _failed(self, label: str) -> contracts.DeadLetters:
        """The queue of starts that failed for good, and the alarm on it."""
        args, scope = self._args, self.scope
        physical = scope.names.of("pipelines-not-started")
        failed = DeadLetters(
            f"{label}-failed", DeadLettersArgs(queue=physical, key=args.logs_key), scope=scope, parent=self
        ).outputs
        aws.cloudwatch.MetricAlarm(
            f"{label}-failed-alarm",
            name=physical,
            alarm_description="A pipeline was not started when its time had come. Why lies in the queue of the same name.",
            namespace="AWS/SQS",
            metric_name="ApproximateNumberOfMessagesVisible",
            dimensions={"QueueName": failed.name},
            statistic="Maximum",
            period=300,
            evaluation_periods=1,
            threshold=0,
            comparison_operator="GreaterThanThreshold",
            treat_missing_data="notBreaching",
            alarm_actions=list(args.warning),
            opts=self.options(),
        )
        return failed


@dataclass(frozen=True, kw_only=True)
class Where:
    """What the definition of one pipeline refers to."""

    role: pulumi.Input[str]
    inputs: Mapping[str, pulumi.Input[str]]
    """By channel, where the data is."""
    work: pulumi.Input[str]
    """Where runs leave what is of no use after them."""
    work_key: pulumi.Input[str]
    packages: pulumi.Input[str]
    """Where models go, with what was measured of them."""
    packages_key: pulumi.Input[str]
    group: pulumi.Input[str]
    """Where versions are registered."""
    volume_key: pulumi.Input[str]
    subnets: Sequence[pulumi.Input[str]]
    security_group: pulumi.Input[str]
    environment: Mapping[str, pulumi.Input[str]]
    """Environment variables of every container."""


def definition(run: Run, where: Where) -> dict[str, Any]:
    """The definition of a pipeline ("Define a pipeline", schema version 2020-12-01). An argument is that of the API call."""
    data = [_input(channel, uri) for channel, uri in where.inputs.items()]
    sets = {name: _below(where.work, name) for name in ("train", "test")}
    variables = {f"INPUT_{_upper(channel)}": f"{_LOCAL}/input/{channel}" for channel in where.inputs}
    prepare = _processing(
        "prepare",
        run.prepare,
        run,
        where,
        data,
        sets,
        where.work_key,
        {**variables, "OUTPUT_TRAIN": f"{_LOCAL}/output/train", "OUTPUT_TEST": f"{_LOCAL}/output/test"},
    )
    model = {"Get": "Steps.train.ModelArtifacts.S3ModelArtifacts"}
    evaluate = _processing(
        "evaluate",
        run.evaluate,
        run,
        where,
        [_input("model", model), _input("test", _output("prepare", "test"))],
        {"evaluation": _below(where.packages, "evaluation")},
        where.packages_key,
        {
            "INPUT_TEST": f"{_LOCAL}/input/test",
            # As SageMaker packs it: model.tar.gz.
            "MODEL": f"{_LOCAL}/input/model",
            "OUTPUT_EVALUATION": f"{_LOCAL}/output/evaluation",
        },
    )
    evaluate["PropertyFiles"] = [
        {"PropertyFileName": "evaluation", "OutputName": "evaluation", "FilePath": "evaluation.json"}
    ]
    return {
        "Version": "2020-12-01",
        "Metadata": {},
        "Parameters": [],
        "Steps": [prepare, _training(run, where), evaluate, _gate(run, where, model)],
    }


def _processing(
    name: str,
    job: Job,
    run: Run,
    where: Where,
    inputs: Sequence[Any],
    outputs: Mapping[str, Any],
    key: pulumi.Input[str],
    variables: Mapping[str, str],
) -> dict[str, Any]:
    arguments = {
        "RoleArn": where.role,
        "AppSpecification": {"ImageUri": job.image, **_arguments(job)},
        "Environment": {**where.environment, **job.environment, **variables},
        "ProcessingInputs": list(inputs),
        "ProcessingOutputConfig": {
            "KmsKeyId": key,
            "Outputs": [
                {
                    "OutputName": output,
                    "AppManaged": False,
                    "S3Output": {
                        "S3Uri": uri,
                        "LocalPath": f"{_LOCAL}/output/{output}",
                        "S3UploadMode": "EndOfJob",
                    },
                }
                for output, uri in outputs.items()
            ],
        },
        "ProcessingResources": {"ClusterConfig": _machines(job, where)},
        "StoppingCondition": {"MaxRuntimeInSeconds": job.max_hours * _HOUR},
        "NetworkConfig": {
            "EnableNetworkIsolation": run.isolated,
            "EnableInterContainerTrafficEncryption": job.machines > 1,
            "VpcConfig": _network(where),
        },
    }
    return {"Name": name, "Type": "Processing", "Arguments": arguments, "RetryPolicies": list(_RETRIES)}


def _training(run: Run, where: Where) -> dict[str, Any]:
    job = run.train
    seconds = job.max_hours * _HOUR
    arguments = {
        "RoleArn": where.role,
        "AlgorithmSpecification": {
            "TrainingImage": job.image,
            "TrainingInputMode": "File",
            **_arguments(job),
        },
        "Environment": {
            **where.environment,
            **job.environment,
            "INPUT_TRAIN": "/opt/ml/input/data/train",
            "MODEL": "/opt/ml/model",
            "CHECKPOINT": "/opt/ml/checkpoints",
        },
        "InputDataConfig": [
            {
                "ChannelName": "train",
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": _output("prepare", "train"),
                        "S3DataDistributionType": "FullyReplicated",
                    }
                },
            }
        ],
        "OutputDataConfig": {"S3OutputPath": _below(where.packages), "KmsKeyId": where.packages_key},
        "CheckpointConfig": {"S3Uri": _below(where.work, "checkpoints"), "LocalPath": "/opt/ml/checkpoints"},
        "ResourceConfig": _machines(job, where),
        # Waiting counts into MaxWaitTimeInSeconds together with running.
        "StoppingCondition": {
            "MaxRuntimeInSeconds": seconds,
            **({"MaxWaitTimeInSeconds": seconds + run.max_wait_hours * _HOUR} if run.spot else {}),
        },
        "EnableManagedSpotTraining": run.spot,
        "EnableNetworkIsolation": run.isolated,
        "EnableInterContainerTrafficEncryption": job.machines > 1,
        "VpcConfig": _network(where),
    }
    return {"Name": "train", "Type": "Training", "Arguments": arguments, "RetryPolicies": list(_RETRIES)}


def _gate(run: Run, where: Where, model: Mapping[str, str]) -> dict[str, Any]:
    """Register a model that is good enough; fail with one that is not."""
    measured = {
        "Std:JsonGet": {"PropertyFile": {"Get": "Steps.evaluate.PropertyFiles.evaluation"}, "Path": run.gate.metric}
    }
    register = {
        "Name": "register",
        "Type": "RegisterModel",
        "Arguments": {
            "ModelPackageGroupName": where.group,
            "ModelPackageDescription": {
                "Std:Join": {"On": " ", "Values": [f"Run of {run.name}:", {"Get": "Execution.PipelineExecutionId"}]}
            },
            "ModelApprovalStatus": "PendingManualApproval",
            "InferenceSpecification": {
                "Containers": [{"Image": run.serving_image, "ModelDataUrl": model}],
                "SupportedContentTypes": ["application/json"],
                "SupportedResponseMIMETypes": ["application/json"],
            },
            "ModelMetrics": {
                "ModelQuality": {
                    "Statistics": {
                        "ContentType": "application/json",
                        "S3Uri": {
                            "Std:Join": {"On": "/", "Values": [_output("evaluate", "evaluation"), "evaluation.json"]}
                        },
                    }
                }
            },
        },
    }
    return {
        "Name": "good-enough",
        "Type": "Condition",
        "Arguments": {
            "Conditions": [bound(run.gate, measured)],
            "IfSteps": [register],
            "ElseSteps": [
                {
                    "Name": "not-good-enough",
                    "Type": "Fail",
                    "Arguments": {"ErrorMessage": f"{run.gate.metric} is not what it has to be."},
                }
            ],
        },
    }


def bound(gate: Gate, measured: Any) -> dict[str, Any]:
    """The condition that a measurement has to fulfil.

    >>> bound(Gate(metric="error", at_most=0.1), 0.2)
    {'Type': 'LessThanOrEqualTo', 'LeftValue': 0.2, 'RightValue': 0.1}
    """
    kind, value = (
        ("LessThanOrEqualTo", gate.at_most) if gate.at_least is None else ("GreaterThanOrEqualTo", gate.at_least)
    )
    return {"Type": kind, "LeftValue": measured, "RightValue": value}


def _input(name: str, uri: Any) -> dict[str, Any]:
    return {
        "InputName": name,
        "AppManaged": False,
        "S3Input": {
            "S3Uri": uri,
            "LocalPath": f"{_LOCAL}/input/{name}",
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
            "S3DataDistributionType": "FullyReplicated",
            "S3CompressionType": "None",
        },
    }


def _output(step: str, name: str) -> dict[str, str]:
    """Where a step wrote an output."""
    return {"Get": f"Steps.{step}.ProcessingOutputConfig.Outputs['{name}'].S3Output.S3Uri"}


def _below(uri: pulumi.Input[str], *parts: str) -> dict[str, Any]:
    """A place that each run has for itself."""
    return {"Std:Join": {"On": "/", "Values": [uri, {"Get": "Execution.PipelineExecutionId"}, *parts]}}


def _machines(job: Job, where: Where) -> dict[str, Any]:
    found: dict[str, Any] = {"InstanceType": instance(job.machine.type), "InstanceCount": job.machines}
    local = job.machine.local_ssd_gib
    if local is None:
        return {**found, "VolumeSizeInGB": job.disk_gib, "VolumeKmsKeyId": where.volume_key}
    # Such a machine gets no volume: its own disks are encrypted by the hardware, a key is refused, and so is more than they hold
    # ("ResourceConfig", VolumeSizeInGB and VolumeKmsKeyId).
    return {**found, "VolumeSizeInGB": min(job.disk_gib, int(local))}


def _network(where: Where) -> dict[str, Any]:
    return {"Subnets": list(where.subnets), "SecurityGroupIds": [where.security_group]}


def _arguments(job: Job) -> dict[str, Any]:
    return {"ContainerArguments": list(job.arguments)} if job.arguments else {}


def _upper(name: str) -> str:
    return name.upper().replace("-", "_")
