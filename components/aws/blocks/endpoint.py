"""Endpoints of SageMaker: what makes one, how it changes, how it grows, and who may call it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import pulumi
import pulumi_aws as aws

from components import contracts
from components.aws.blocks.alarms import Alarms, AlarmsArgs
from components.aws.blocks.hosting import Place
from components.contracts import Text
from components.core import cloudwatch, hosting, iam, promises
from components.core.accelerators import Machine
from components.core.cloudwatch_rows import row
from components.core.sagemaker import instance
from components.scope import Component, Scope, after

_START_SECONDS = 1800
"""How long a machine with accelerators may take to load its model; it is large."""
_OUT_SECONDS, _IN_SECONDS = 60, 300
"""Between two steps of scaling, out and in."""
# What an event calls them ("SageMaker endpoint deployment state change"); the API's EndpointStatus.
_TAKEN_BACK = ("ROLLING_BACK", "UPDATE_ROLLBACK_FAILED", "FAILED")
# One alarm tells five at most ("PutMetricAlarm", AlarmActions).
_TOLD = 5


@dataclass(frozen=True, kw_only=True)
class Capture:
    """Requests and answers that are kept."""

    place: Place
    percent: int


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Where an asynchronous endpoint puts what it has to say."""

    good: Place
    bad: Place
    good_topic: Text
    bad_topic: Text


@dataclass(frozen=True, kw_only=True)
class OnDemand:
    """Instances that come with requests."""

    memory_mb: int
    most: int
    warm: int


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """How many instances there are."""

    minimum: int
    maximum: int
    first: int
    """How many a configuration begins with."""
    metric: str
    """A metric that Application Auto Scaling knows, or one of `hosting.NAMESPACE` for the endpoint as a whole."""
    predefined: bool
    value: float
    """What one instance is given of it."""

    @property
    def moves(self) -> bool:
        """Whether there may be more of them at one time than at another."""
        return self.minimum < self.maximum


@dataclass(frozen=True, kw_only=True)
class EndpointArgs:
    """What one endpoint is."""

    models: Mapping[str, Text]
    """By variant, `hosting.VARIANT` and, for copies of requests, `hosting.SHADOW`."""
    content: Mapping[str, Any]
    """What makes these, known before anything is built."""
    version: str
    machine: Machine | None = None
    on_demand: OnDemand | None = None
    """In place of a machine."""
    shadow_percent: int = 100
    scaling: Scaling | None = None
    rollout: hosting.Rollout | None = None
    capture: Capture | None = None
    answers: Answers | None = None
    key: contracts.Key
    """Of volumes."""
    alarms: Sequence[cloudwatch.Alarm]
    kind: str = "realtime"
    owner: str | None = None
    """The team's name."""
    critical: Sequence[Text] = ()
    warning: Sequence[Text] = ()
    team: Sequence[Text] = ()
    """Topics of the team that owns it: told of everything, in place of those of warnings."""
    callers: Sequence[str] = ()
    """Names of roles that may call it."""
    calls: Sequence[iam.Statement] = ()
    """What a caller needs besides the call itself."""
    call: str = "sagemaker:InvokeEndpoint"
    network: contracts.Network
    """In prod callers come from it."""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class Endpoint(Component):
    """An endpoint that keeps its name whatever answers, with the alarms that it is judged by.

    A configuration cannot be changed, so another version, machine or share of captured requests is another configuration, named
    by what makes it; the endpoint moves to it as its release says. How many instances a configuration begins with is no part of
    its name, and autoscaling counts from there: to scale changes no configuration. SageMaker reports success where it has gone
    back to the former configuration, and so does the provider (hashicorp/terraform-provider-aws#48997): former configurations
    are kept, and a rule tells people of every release that was taken back or failed. A release waits for an hour at most, so
    what it is watched for is bounded (`hosting.LONGEST_BAKE`).

    Scaling rests while a release is on its way. SageMaker refuses another machine for an endpoint that is scaled ("Update
    endpoints that use auto scaling"): set `scale.min` to `scale.max` in one update, the machine in the next, then scale again.

    The alarms stand before the endpoint and know its name only. One of them takes a release back; while it is on, no release
    goes through, not even one that would mend what is wrong: set its state to OK first (`aws cloudwatch set-alarm-state`).

    Owns the configuration, the endpoint, its alarms, its scaling, the rule and the grants of callers. Never owns a model or the
    role that it runs as. Costs what its machines cost, day and night (ml.m5.xlarge 0.23 USD an hour, us-west-2, 2026-09), twice
    that while a release is watched or a shadow answers; an alarm 0.10 USD a month for each series. A destroy ends scaling
    first, then the endpoint; configurations stay, and cost nothing, but in an environment that may be deleted.

    >>> args = EndpointArgs(
    ...     models={"main": topic}, content={}, version="12", on_demand=OnDemand(memory_mb=2048, most=10, warm=0), key=key,
    ...     alarms=[], network=network,
    ... )
    >>> answers = Endpoint("fraud", args, scope=scope, parent=parent).outputs
    """

    outputs: contracts.Endpoint

    def __init__(self, name: str, args: EndpointArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the endpoint, and what it is judged by before it."""
        super().__init__(name, scope, parent)
        self._args = args
        self.physical = scope.names.of(name, "endpoint")
        critical = [*args.critical, *args.team][:_TOLD]
        alarms = Alarms(
            f"{name}-alarm",
            AlarmsArgs(alarms=args.alarms, critical=critical, warning=[*(args.team or args.warning)]),
            scope=scope,
            parent=self,
        )
        self._tell(critical)
        endpoint = aws.sagemaker.Endpoint(
            f"{name}-endpoint",
            name=self.physical,
            endpoint_config_name=self._configuration().name,
            deployment_config=self._deployment(),
            tags=dict(args.tags),
            opts=self.options(depends_on=[alarms]),
        )
        ready = [*self._scale(endpoint), *self._grants(endpoint)]
        self.outputs = contracts.Endpoint(
            id=after(endpoint.arn, *ready),
            address=after(endpoint.name, *ready),
            version=pulumi.Output.from_input(args.version),
            row=row(
                name,
                args.kind,
                args.owner,
                args.alarms,
                arns=list(alarms.outputs.names.values()),
                region=scope.region,
                log=f"{hosting.HOSTS}/{self.physical}",
            ),
        )
        self.finish(self.outputs)

    # -- what it is

    def _configuration(self) -> aws.sagemaker.EndpointConfiguration:
        args, scope = self._args, self.scope
        content = {
            "models": dict(args.content),
            "machine": args.machine.type if args.machine else None,
            "on_demand": vars(args.on_demand) if args.on_demand else None,
            "shadow": args.shadow_percent if hosting.SHADOW in args.models else None,
            "capture": args.capture.percent if args.capture else None,
            "answers": bool(args.answers),
            # Of a fleet that never grows the number is what it is; of one that does, autoscaling counts from wherever it is.
            "fixed": args.scaling.first if args.scaling and not args.scaling.moves else None,
            # An endpoint is updated with another configuration only (UpdateEndpoint): so is how it is updated.
            "rollout": {k: v for k, v in vars(args.rollout).items() if k != "signs"} if args.rollout else None,
        }
        shadowed = hosting.SHADOW in args.models
        counted = [
            f"{variants}[0].initialInstanceCount"
            for variants in ("productionVariants", *(["shadowProductionVariants"] if shadowed else []))
            if args.scaling and args.scaling.moves
        ]
        opts = self.options(ignore_changes=counted)
        # What was there before is what a release goes back to, by itself or by hand.
        opts.retain_on_delete = not scope.deletable or None
        main = self._variant(hosting.VARIANT, 1)
        return aws.sagemaker.EndpointConfiguration(
            # Without a name of its own, as its models: a suffix lets the same content be made once more beside what was kept.
            scope.names.of(f"{self.name}-{hosting.digest(content)}", "hosted"),
            production_variants=[main],
            shadow_production_variants=[self._shadow()] if shadowed else None,
            # Local disks are encrypted by the hardware, and no key is taken for a machine that has them
            # (CreateEndpointConfig, KmsKeyId).
            kms_key_arn=None if args.machine and args.machine.local_ssd_gib is not None else args.key.id,
            data_capture_config=self._capture(),
            async_inference_config=self._answers(),
            tags=dict(args.tags),
            opts=opts,
        )

    def _variant(self, name: str, weight: float) -> aws.sagemaker.EndpointConfigurationProductionVariantArgsDict:
        args = self._args
        found: aws.sagemaker.EndpointConfigurationProductionVariantArgsDict = {
            "variant_name": name,
            "model_name": args.models[name],
            "initial_variant_weight": weight,
        }
        if args.on_demand:
            sized: aws.sagemaker.EndpointConfigurationProductionVariantServerlessConfigArgsDict = {
                "memory_size_in_mb": args.on_demand.memory_mb,
                "max_concurrency": args.on_demand.most,
            }
            if args.on_demand.warm:
                sized["provisioned_concurrency"] = args.on_demand.warm
            found["serverless_config"] = sized
        elif args.machine:
            found["instance_type"] = instance(args.machine.type)
            found["initial_instance_count"] = args.scaling.first if args.scaling else 1
            found["routing_configs"] = [{"routing_strategy": "LEAST_OUTSTANDING_REQUESTS"}]
            if args.machine.accelerator:
                found["container_startup_health_check_timeout_in_seconds"] = _START_SECONDS
                found["model_data_download_timeout_in_seconds"] = _START_SECONDS
        return found

    def _shadow(self) -> aws.sagemaker.EndpointConfigurationShadowProductionVariantArgsDict:
        args = self._args
        # Its share is its weight as part of that of the variant that answers.
        made: Any = self._variant(hosting.SHADOW, args.shadow_percent / 100)
        # As many machines as its share needs, and never more: nobody waits for its answers.
        made["initial_instance_count"] = ceil(args.shadow_percent / 100 * (args.scaling.first if args.scaling else 1))
        return made

    def _capture(self) -> aws.sagemaker.EndpointConfigurationDataCaptureConfigArgsDict | None:
        capture = self._args.capture
        if capture is None:
            return None
        return {
            "enable_capture": True,
            "initial_sampling_percentage": capture.percent,
            "destination_s3_uri": capture.place.uri,
            "kms_key_id": capture.place.zone.key.id,
            "capture_options": [{"capture_mode": "Input"}, {"capture_mode": "Output"}],
            # What is not named here is kept in base64.
            "capture_content_type_header": {
                "csv_content_types": ["text/csv"],
                "json_content_types": ["application/json", "application/jsonlines"],
            },
        }

    def _answers(self) -> aws.sagemaker.EndpointConfigurationAsyncInferenceConfigArgsDict | None:
        answers = self._args.answers
        if answers is None:
            return None
        return {
            "output_config": {
                "s3_output_path": answers.good.uri,
                "s3_failure_path": answers.bad.uri,
                "kms_key_id": answers.good.zone.key.id,
                "notification_config": {"success_topic": answers.good_topic, "error_topic": answers.bad_topic},
            }
        }

    # -- how it changes

    def _deployment(self) -> aws.sagemaker.EndpointDeploymentConfigArgsDict | None:
        plan = self._args.rollout
        if plan is None:
            return None
        routing: aws.sagemaker.EndpointDeploymentConfigBlueGreenUpdatePolicyTrafficRoutingConfigurationArgsDict = {
            "type": plan.type,
            "wait_interval_in_seconds": plan.wait,
        }
        if plan.percent:
            # In percent: the fleet that it is taken of is as large as the requests were.
            routing["canary_size"] = {"type": "CAPACITY_PERCENT", "value": plan.percent}
        return {
            "blue_green_update_policy": {
                "traffic_routing_configuration": routing,
                "termination_wait_in_seconds": plan.bake,
                "maximum_execution_timeout_in_seconds": plan.longest,
            },
            # By its name as text, and the same one for every release: see `promises.rollback_alarm`.
            "auto_rollback_configuration": {
                "alarms": [{"alarm_name": self.scope.names.of(promises.rollback_alarm(self.name))}]
            },
        }

    def _tell(self, topics: Sequence[Text]) -> None:
        """Tell people of a release that did not stay."""
        args, scope, label = self._args, self.scope, f"{self.name}-release"
        if args.rollout is None:
            return
        rule = aws.cloudwatch.EventRule(
            label,
            name=scope.names.of(label, "event_rule"),
            description=f"A release of {self.name} was taken back, or failed.",
            event_pattern=pulumi.Output.json_dumps(
                {
                    "source": ["aws.sagemaker"],
                    "detail-type": ["SageMaker Endpoint State Change", "SageMaker Endpoint Deployment State Change"],
                    "detail": {"EndpointName": [self.physical], "EndpointStatus": list(_TAKEN_BACK)},
                }
            ),
            tags=dict(args.tags),
            opts=self.options(),
        )
        for i, topic in enumerate(topics):
            aws.cloudwatch.EventTarget(
                f"{label}-{i}",
                rule=rule.name,
                target_id=f"told-{i}",
                arn=topic,
                input_transformer={
                    "input_paths": {"name": "$.detail.EndpointName", "status": "$.detail.EndpointStatus"},
                    "input_template": '"The release of <name> did not stay: <status>. The former version answers. Why: aws'
                    ' sagemaker describe-endpoint. After pulumi refresh the next update tries again."',
                },
                opts=self.options(),
            )

    # -- how it grows

    def _scale(self, endpoint: aws.sagemaker.Endpoint) -> list[pulumi.Resource]:
        """Its scaling. It refers to the endpoint, and so ends before it: SageMaker deletes no endpoint that is still scaled.

        The shadow does not scale: a variant that did could not be taken away again.
        """
        scaling = self._args.scaling
        if scaling is None or not scaling.moves:
            return []
        target = aws.appautoscaling.Target(
            f"{self.name}-scale",
            service_namespace="sagemaker",
            scalable_dimension="sagemaker:variant:DesiredInstanceCount",
            resource_id=pulumi.Output.concat("endpoint/", endpoint.name, f"/variant/{hosting.VARIANT}"),
            min_capacity=scaling.minimum,
            max_capacity=scaling.maximum,
            opts=self.options(),
        )
        first = self._from_zero(target) if scaling.minimum == 0 else []
        return [target, self._policy(target, scaling), *first]

    def _policy(self, target: aws.appautoscaling.Target, scaling: Scaling) -> aws.appautoscaling.Policy:
        tracking: aws.appautoscaling.PolicyTargetTrackingScalingPolicyConfigurationArgsDict = {
            "target_value": scaling.value,
            "scale_in_cooldown": _IN_SECONDS,
            "scale_out_cooldown": _OUT_SECONDS,
        }
        if scaling.predefined:
            tracking["predefined_metric_specification"] = {"predefined_metric_type": scaling.metric}
        else:
            tracking["customized_metric_specification"] = {
                "namespace": hosting.NAMESPACE,
                "metric_name": scaling.metric,
                "dimensions": [{"name": "EndpointName", "value": self.physical}],
                "statistic": "Average",
            }
        return aws.appautoscaling.Policy(
            f"{self.name}-load",
            name=self.scope.names.of(f"{self.name}-load"),
            policy_type="TargetTrackingScaling",
            service_namespace=target.service_namespace,
            scalable_dimension=target.scalable_dimension,
            resource_id=target.resource_id,
            target_tracking_scaling_policy_configuration=tracking,
            opts=self.options(),
        )

    def _from_zero(self, target: aws.appautoscaling.Target) -> list[pulumi.Resource]:
        """The first instance: what waits per instance says nothing while there is none."""
        label = f"{self.name}-first"
        name = self.scope.names.of(label)
        policy = aws.appautoscaling.Policy(
            label,
            name=name,
            policy_type="StepScaling",
            service_namespace=target.service_namespace,
            scalable_dimension=target.scalable_dimension,
            resource_id=target.resource_id,
            step_scaling_policy_configuration={
                "adjustment_type": "ChangeInCapacity",
                "metric_aggregation_type": "Average",
                "cooldown": _IN_SECONDS,
                "step_adjustments": [{"metric_interval_lower_bound": "0", "scaling_adjustment": 1}],
            },
            opts=self.options(),
        )
        alarm = aws.cloudwatch.MetricAlarm(
            f"{label}-alarm",
            name=name,
            alarm_description=f"Starts the first instance of {self.name}: a request waits, and none is there. Nothing to do.",
            namespace=hosting.NAMESPACE,
            metric_name=hosting.NOBODY_WORKS,
            dimensions={"EndpointName": self.physical},
            statistic="Average",
            period=60,
            evaluation_periods=2,
            threshold=1,
            comparison_operator="GreaterThanOrEqualToThreshold",
            treat_missing_data="missing",
            alarm_actions=[policy.arn],
            opts=self.options(),
        )
        return [policy, alarm]

    # -- who may call it

    def _grants(self, endpoint: aws.sagemaker.Endpoint) -> list[pulumi.Resource]:
        args, scope = self._args, self.scope
        # In prod from the network alone, by the endpoint that SageMaker's runtime has there.
        inside: iam.Condition | None = (
            {"StringEquals": {"aws:SourceVpc": args.network.id}} if scope.tier == "prod" else None
        )
        return [
            aws.iam.RolePolicy(
                f"{self.name}-caller-{caller}",
                name=scope.names.of(f"{self.name}-call", "iam_policy"),
                role=caller,
                policy=pulumi.Output.json_dumps(
                    iam.document(iam.allow([args.call], [endpoint.arn], when=inside), *args.calls)
                ),
                opts=self.options(),
            )
            for caller in args.callers
        ]
