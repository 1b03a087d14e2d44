"""What takes a service of the cloud away from those that call it too often, and gives it back."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pulumi
import pulumi_aws as aws

from components import contracts
from components.aws.blocks.alarms import Alarms, AlarmsArgs
from components.aws.blocks.lambda_function import LambdaFunction, LambdaFunctionArgs
from components.contracts import Text
from components.core import iam
from components.core.cloudwatch import Alarm, Metric
from components.scope import Component, Scope, after

CALLS = "call"
"""What names of policies that let somebody call begin with: among the holders of these the function looks."""
_STOP = "stop"
_LOOK = "rate(15 minutes)"


@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """One service: when it is taken away, from whom, and when it is given back."""

    expected: Alarm
    """While it is quiet the service is given back."""
    calls: int
    """More of them within a day take it away. Counted as those that are expected are."""
    actions: tuple[str, ...]
    """What is taken."""
    policies: Sequence[str]
    """Physical names of all that let somebody call it; they need not be there yet."""
    told: Sequence[Text] = ()
    """Topics of the teams."""


@dataclass(frozen=True, kw_only=True)
class CeilingsArgs:
    """Which services, and what the function that bounds them stands on."""

    services: Mapping[str, Ceiling]
    key: contracts.Key
    logs_key: contracts.Key
    boundary: contracts.Boundary
    critical: Sequence[Text] = ()
    warning: Sequence[Text] = ()


class Ceilings(Component):
    """An alarm on each service's calls within 24 hours, and a function that acts on it.

    AWS has no quota of calls by the day. So more calls than the ceiling make the function attach a policy that denies the
    service to every role that holds one of the policies that let it be called; once calls are what is expected again, it
    detaches it. That is a day later, as the window slides: those of a wall clock are looked at when they are over ("Alarm
    evaluation window"). The function is called when one of both alarms changes, and four times an hour besides; each time it
    looks at how things are, so nothing is lost with an event, and a role that got the grant meanwhile is found. It may attach
    and detach these policies, to and from roles of the environment, and do nothing else to them. Nothing of that is in the
    program's state: an update neither sees it nor undoes it. A destroy takes what is attached away first.

    What is called until CloudWatch has counted, and IAM has spread what was attached, goes through: some minutes. Calls of
    roles that hold the right by something else are counted, and not stopped.

    Owns the alarms, the policies that deny, and the function with its log, its role and what calls it. Never owns the
    policies that let somebody call. Costs 0.10 USD a month for each operation that an alarm looks at, and cents.

    >>> counted = Metric(namespace="AWS/Rekognition", name="SuccessfulRequestCount", statistic="Sum")
    >>> expected = Alarm(
    ...     name="vision-calls", meaning="It was called often.", first="Look.", severity="warning", metrics={"m0": counted},
    ...     expression="SUM([m0])", comparison=">", threshold=100, period=86_400, periods=1,
    ... )
    >>> vision = Ceiling(
    ...     expected=expected, calls=200, actions=("rekognition:DetectLabels",), policies=["acme-ai-dev-call-vision-risk"]
    ... )
    >>> args = CeilingsArgs(services={"vision": vision}, key=key, logs_key=key, boundary=boundary)
    >>> list(Ceilings("ceilings", args, scope=scope, parent=parent).outputs.names)
    ['vision']
    """

    outputs: contracts.Alarms

    def __init__(self, name: str, args: CeilingsArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the alarms, what denies, and what acts."""
        super().__init__(name, scope, parent)
        self._args = args
        self._own = f"arn:aws:iam::{scope.account}"
        denials = {service: self._denial(service, spec) for service, spec in args.services.items()}
        function = self._function()
        # Called with `delete` before a policy goes, and once nothing attaches it any more: IAM deletes none that is attached.
        given_back = [
            aws.lambda_.Invocation(
                f"{name}-{service}-given-back",
                function_name=function.name,
                input=pulumi.Output.json_dumps({"stop": denial.name}),
                lifecycle_scope="CRUD",
                opts=self.options(depends_on=[denial]),
            )
            for service, denial in denials.items()
        ]
        acts = [*self._events(function, given_back), self._watch(function)]
        self.outputs = contracts.Alarms(
            names={service: after(self._alarm(service, spec), *acts) for service, spec in args.services.items()}
        )
        self.finish(self.outputs)

    def _alarm(self, service: str, spec: Ceiling) -> Text:
        """Told to those of the expected one and to the teams, who have their calls refused."""
        told = list(dict.fromkeys([*self._args.warning, *spec.told]))
        alarm = replace(
            spec.expected,
            name=ceiling(service),
            meaning=f"{service} was called more than {spec.calls} times within a day, its ceiling: it is taken away from all"
            " who may call it, until calls are what is expected again.",
            first="Which role calls, in CloudTrail. If it is meant: raise its calls_per_day over what was called.",
            threshold=spec.calls,
        )
        args = AlarmsArgs(alarms=[alarm], critical=[], warning=told)
        return Alarms(f"{self.name}-{_part(service)}", args, scope=self.scope, parent=self).outputs.names[alarm.name]

    def _denial(self, service: str, spec: Ceiling) -> aws.iam.Policy:
        return aws.iam.Policy(
            f"{self.name}-{_part(service)}-denial",
            name=self.scope.names.of(f"{_STOP}-{_part(service)}", "iam_policy"),
            description=f"Nobody who has it calls {service}. Attached while its ceiling is exceeded.",
            policy=pulumi.Output.json_dumps(iam.document(iam.deny(spec.actions, ["*"], sid="Stop"))),
            opts=self.options(),
        )

    def _function(self) -> contracts.LambdaFunction:
        args, scope = self._args, self.scope
        policy, role = f"{self._own}:policy", f"{self._own}:role"
        stops = f"{policy}/{scope.names.of(f'{_STOP}-*', 'iam_policy')}"
        services = {
            service: {
                "expected": scope.names.of(spec.expected.name),
                "ceiling": scope.names.of(ceiling(service)),
                "stop": scope.names.of(f"{_STOP}-{_part(service)}", "iam_policy"),
                "grants": sorted(spec.policies),
            }
            for service, spec in sorted(args.services.items())
        }
        return LambdaFunction(
            self.name,
            LambdaFunctionArgs(
                description="Takes services away from those that call them too often, and gives them back.",
                module="service_ceilings",
                seconds=300,
                # One after the other: two at once could each undo what the other does.
                most=1,
                environment={"POLICIES": policy, "SERVICES": json.dumps(services, separators=(",", ":"))},
                statements=[
                    # Names and states of alarms, and nothing that is measured.
                    iam.allow(["cloudwatch:DescribeAlarms"], ["*"]),
                    iam.allow(
                        ["iam:ListEntitiesForPolicy"],
                        [stops, f"{policy}/{scope.names.of(f'{CALLS}*', 'iam_policy')}"],
                    ),
                    iam.allow(
                        ["iam:AttachRolePolicy", "iam:DetachRolePolicy"],
                        [f"{role}/{scope.names.of('*', 'iam_role')}"],
                        when={"ArnLike": {"iam:PolicyARN": stops}},
                    ),
                ],
                # IAM has no endpoint in networks of most regions.
                network=None,
                key=args.key,
                logs_key=args.logs_key,
                boundary=args.boundary,
            ),
            scope=scope,
            parent=self,
        ).outputs

    def _events(self, function: contracts.LambdaFunction, before: Sequence[pulumi.Resource]) -> list[pulumi.Resource]:
        """What calls the function. No queue of what it could not do: it is called again, and looks anew."""
        args, scope = self._args, self.scope
        watched = [
            scope.names.of(alarm)
            for service, spec in args.services.items()
            for alarm in (spec.expected.name, ceiling(service))
        ]
        rule = aws.cloudwatch.EventRule(
            f"{self.name}-changes",
            name=scope.names.of(self.name, "event_rule"),
            description="An alarm on the calls of a service changed, or it is time to look.",
            event_pattern=json.dumps(
                {
                    "source": ["aws.cloudwatch"],
                    "detail-type": ["CloudWatch Alarm State Change"],
                    "detail": {"alarmName": sorted(watched)},
                }
            ),
            # A rule may have both ("PutRule").
            schedule_expression=_LOOK,
            opts=self.options(),
        )
        allowed = aws.lambda_.Permission(
            f"{self.name}-from-events",
            function=function.name,
            action="lambda:InvokeFunction",
            principal="events.amazonaws.com",
            source_arn=rule.arn,
            opts=self.options(),
        )
        target = aws.cloudwatch.EventTarget(
            f"{self.name}-target",
            rule=rule.name,
            target_id="ceilings",
            arn=function.arn,
            opts=self.options(depends_on=[allowed, *before]),
        )
        return [target]

    def _watch(self, function: contracts.LambdaFunction) -> pulumi.Resource:
        """Two looks in a row that failed: then nobody bounds what is called."""
        alarm = Alarm(
            name="service-ceilings-failing",
            meaning="Services can be called above their ceilings: what takes them away has failed for half an hour.",
            first="The log of the function service-ceilings; stop what calls by hand if an alarm ending in -capped is on.",
            severity="critical",
            metrics={
                "errors": Metric(
                    namespace="AWS/Lambda", name="Errors", dimensions={"FunctionName": function.name}, statistic="Sum"
                )
            },
            comparison=">",
            threshold=0,
            period=15 * 60,
            periods=2,
        )
        told = AlarmsArgs(alarms=[alarm], critical=list(self._args.critical), warning=[])
        return Alarms(f"{self.name}-failing", told, scope=self.scope, parent=self)


def ceiling(service: str) -> str:
    """Name of the alarm at a service's ceiling."""
    # Not `-ceiling`: an endpoint of the same name may have an alarm of that, and the second would be the first.
    return f"{_part(service)}-capped"


def _part(service: str) -> str:
    return service.replace("_", "-")
