"""What takes requests from the gateway to an endpoint of SageMaker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws

from components import contracts
from components.aws.blocks.lambda_function import LambdaFunction, LambdaFunctionArgs
from components.aws.blocks.route import Route, RouteArgs
from components.contracts import Text
from components.core import iam
from components.core.fronts import Front
from components.scope import Component, Scope, after
from components.spec.serving import Tokens

# SageMaker gives an answer 60 seconds ("InvokeEndpoint").
_ANSWER_SECONDS, _SECONDS = 60, 65


@dataclass(frozen=True, kw_only=True)
class PassageArgs:
    """Between what it leads."""

    endpoint: contracts.Endpoint
    """Of SageMaker: its ARN, and its name."""
    name: str
    """The endpoint's name in the description."""
    most: int
    """Requests at once."""
    gateway: contracts.Gateway
    front: Front
    tokens: Tokens
    network: contracts.Network
    compute_key: contracts.Key
    logs_key: contracts.Key
    boundary: contracts.Boundary
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class Passage(Component):
    """A function that the gateway calls, and that calls one endpoint of SageMaker and nothing else, from within the network.

    Requests and answers have 1 MB at most; larger ones are for callers with an identity of AWS (`auth: iam`), who call the
    endpoint itself. It adds some milliseconds. Its failures are those of the endpoint, whose alarms tell of them.

    Owns the function, its route and its target group. Never owns the endpoint or the gateway. Costs 0.20 USD a million
    requests and 0.0000133 a GB-second (us-east-1, 2026-09). A destroy takes it, its route first.

    >>> args = PassageArgs(
    ...     endpoint=contracts.Endpoint(id=topic, address=topic, version=topic), name="fraud", most=10,
    ...     gateway=contracts.Gateway(addresses={"fraud": topic}, listener=topic),
    ...     front=Front(host="fraud.ml.example.com", throttle_rps=50, scope="fraud"),
    ...     tokens=Tokens(issuer="https://id.example.com", keys="https://id.example.com/keys", audience="ml"),
    ...     network=network, compute_key=key, logs_key=key, boundary=boundary,
    ... )
    >>> address = Passage("fraud-passage", args, scope=scope, parent=parent).outputs.address
    """

    outputs: contracts.Endpoint

    def __init__(self, name: str, args: PassageArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the function, and the way to it."""
        super().__init__(name, scope, parent)
        if args.front.scope is None:
            raise ValueError(f"{name}: identities of AWS call the endpoint itself")
        function = LambdaFunction(
            name,
            LambdaFunctionArgs(
                description=f"Hands requests on to {args.name}.",
                module="invoke_endpoint",
                memory_mib=512,
                seconds=_SECONDS,
                most=args.most,
                environment={"ENDPOINT": args.endpoint.address, "SECONDS": str(_ANSWER_SECONDS)},
                statements=[iam.allow(["sagemaker:InvokeEndpoint"], [args.endpoint.id])],
                network=args.network,
                key=args.compute_key,
                logs_key=args.logs_key,
                boundary=args.boundary,
                tags=args.tags,
            ),
            scope=scope,
            parent=self,
        ).outputs
        ready = self._ready(args, function)
        self.outputs = contracts.Endpoint(
            id=args.endpoint.id,
            address=after(args.gateway.addresses[args.name], *ready),
            version=args.endpoint.version,
            row=args.endpoint.row,
        )
        self.finish(self.outputs)

    def _ready(self, args: PassageArgs, function: contracts.LambdaFunction) -> Sequence[pulumi.Resource]:
        target = aws.lb.TargetGroup(
            f"{self.name}-target",
            name=self.scope.names.of(self.name, "balancer"),
            target_type="lambda",
            tags=dict(args.tags),
            opts=self.options(),
        )
        allowed = aws.lambda_.Permission(
            f"{self.name}-from-gateway",
            function=function.name,
            action="lambda:InvokeFunction",
            principal="elasticloadbalancing.amazonaws.com",
            source_arn=target.arn,
            opts=self.options(),
        )
        attached = aws.lb.TargetGroupAttachment(
            f"{self.name}-attached",
            target_group_arn=target.arn,
            target_id=function.arn,
            # Lambda is asked whether the load balancer may call.
            opts=self.options(depends_on=[allowed]),
        )
        targets: Sequence[Text] = [after(target.arn, attached)]
        route = Route(
            f"{self.name}-route",
            RouteArgs(
                gateway=args.gateway,
                host=args.front.host,
                tokens=args.tokens,
                scope=str(args.front.scope),
                targets=targets,
                tags=args.tags,
            ),
            scope=self.scope,
            parent=self,
        )
        return [attached, route]
