"""The way from a host name to what answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws

from components import contracts
from components.contracts import Text
from components.scope import Component, Scope
from components.spec.serving import Tokens


@dataclass(frozen=True, kw_only=True)
class RouteArgs:
    """Who gets through, and to whom."""

    gateway: contracts.Gateway
    host: str
    tokens: Tokens
    scope: str
    """What a token's scope has to have."""
    targets: Sequence[Text]
    """Target groups: of one all requests, of two the first gets them until a release moves them."""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class Route(Component):
    """A rule of the gateway's listener: requests for a host, with a token that is good, go to what answers.

    The load balancer checks the token: its signature (RS256 alone), issuer, age, audience and scope. The audience is one
    text, the scope a list with spaces between ("Verify JWTs using an Application Load Balancer"). The issuer's document of
    keys has ten keys and 150 KB at most. The token is passed on as it is.

    Owns the rule. Never owns the listener or a target group. Costs nothing. A destroy takes it before what answers: its host
    is answered with 404.

    >>> tokens = Tokens(issuer="https://id.example.com", keys="https://id.example.com/keys", audience="ml")
    >>> gateway = contracts.Gateway(addresses={}, listener=topic)
    >>> args = RouteArgs(gateway=gateway, host="fraud.ml.example.com", tokens=tokens, scope="fraud", targets=[topic])
    >>> arn = Route("fraud-route", args, scope=scope, parent=parent).outputs.id
    """

    outputs: contracts.Route

    def __init__(self, name: str, args: RouteArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the rule."""
        super().__init__(name, scope, parent)
        if args.gateway.listener is None:
            raise ValueError(f"{name}: a route belongs to a gateway")
        releases = len(args.targets) > 1
        rule = aws.lb.ListenerRule(
            f"{name}-rule",
            listener_arn=args.gateway.listener,
            # Without a priority of its own: no two rules know the same host, so their order means nothing.
            conditions=[{"host_header": {"values": [args.host]}}],
            actions=[
                {
                    "type": "jwt-validation",
                    "order": 1,
                    "jwt_validation": {
                        "issuer": args.tokens.issuer,
                        "jwks_endpoint": args.tokens.keys,
                        "additional_claims": [
                            {"name": "aud", "format": "single-string", "values": [args.tokens.audience]},
                            {"name": "scope", "format": "space-separated-values", "values": [args.scope]},
                        ],
                    },
                },
                {
                    "type": "forward",
                    "order": 2,
                    "forward": {
                        "target_groups": [
                            {"arn": target, "weight": 100 if i == 0 else 0} for i, target in enumerate(args.targets)
                        ]
                    },
                },
            ],
            tags=dict(args.tags),
            # A release moves the weights, and nothing else of the rule: what checks tokens is put right by the next update.
            opts=self.options(
                ignore_changes=[f"actions[1].forward.targetGroups[{i}].weight" for i in range(len(args.targets))]
                if releases
                else []
            ),
        )
        self.outputs = contracts.Route(id=rule.arn)
        self.finish(self.outputs)
