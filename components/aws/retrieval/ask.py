"""Where corpora are asked: an API with a function behind it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws

from components import contracts
from components.aws.blocks.alarms import Alarms, AlarmsArgs
from components.aws.blocks.worker import Worker, WorkerArgs
from components.contracts import Text
from components.core import iam, retrieval
from components.core.cloudwatch_rows import row
from components.core.rows import Row
from components.scope import Component, Scope, after
from components.spec.retrieval import Asking, Corpus
from components.spec.serving import Tokens

_TIMEOUT_SECONDS = 29
_STAGE = "$default"
# Neither the question nor the token, and no address that names a person.
_LOGGED = {
    "request_id": "$context.requestId", "time": "$context.requestTimeEpoch", "ip": "$context.identity.sourceIp",
    "method": "$context.httpMethod", "path": "$context.path", "status": "$context.status",
    "latency_ms": "$context.responseLatency", "bytes": "$context.responseLength", "denied": "$context.authorizer.error",
    "error": "$context.error.message", "integration_error": "$context.integrationErrorMessage",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class AskArgs:
    """Who may ask what."""

    corpora: Mapping[str, Corpus]
    stores: contracts.Corpora
    guardrails: contracts.Guardrails
    guardrails_key: contracts.Key
    """Encrypts the guardrails: whoever uses one decrypts with it."""
    bucket: contracts.Storage
    """The zone of the documents; passages from elsewhere are kept back. Nothing is read from it."""
    api: Asking
    tokens: Tokens | None = None
    """Whose tokens count, with `auth: jwt`."""
    claim: str
    """What names a caller's teams in its token."""
    identities: Mapping[str, Text] = field(default_factory=dict[str, Text])
    """Roles of teams, with `auth: iam`: ARNs."""
    network: contracts.Network
    compute_key: contracts.Key
    logs_key: contracts.Key
    boundary: contracts.Boundary
    critical: Sequence[Text] = ()
    warning: Sequence[Text] = ()


class Ask(Component):
    """An API that answers questions with passages of one corpus, to those who may read that corpus.

    API Gateway refuses who shows no token of the issuer, or is no role that may call, and whatever is above the throttle. The
    function looks up whether the caller's teams are among the readers; a corpus that is not for them and one that there is not
    are answered alike. Neither questions nor passages are logged. The address is the cloud's own.

    Owns the API, the function with its role and log, the log of who called, the grants of roles with `auth: iam`, and the alarms.
    Never owns the stores or the guardrails. Lambda takes 4 KB of environment, which some fifteen corpora fill.

    Costs 1.00 USD a million questions (us-east-1, 2024-07) besides the function, the store and the guardrail; five alarms 0.60 a
    month. A destroy takes it all.

    >>> policies = Corpus.model_validate({"team": "risk", "readers": ["risk"]})
    >>> args = AskArgs(
    ...     corpora={"policies": policies}, stores=contracts.Corpora(ids={"policies": topic}, sources={}),
    ...     guardrails=contracts.Guardrails(ids={}, versions={}), guardrails_key=key, bucket=bucket, claim="teams",
    ...     api=Asking(auth="iam", throttle_rps=20), network=network, compute_key=key, logs_key=key, boundary=boundary,
    ... )
    >>> address = Ask("ask", args, scope=scope, parent=parent).outputs.address
    """

    outputs: contracts.Ask

    def __init__(self, name: str, args: AskArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the function, and the API in front of it."""
        super().__init__(name, scope, parent)
        self._args = args
        worker = self._worker()
        api = aws.apigatewayv2.Api(
            f"{name}-api",
            name=scope.names.of("corpora"),
            description=f"Questions to the corpora of {scope.environment}.",
            # A WAF cannot stand in front of one, and a page of somebody else's cannot call it: nothing is said of CORS.
            protocol_type="HTTP",
            opts=self.options(),
        )
        route = self._route(api, worker)
        permission = aws.lambda_.Permission(
            f"{name}-permission",
            function=worker.id,
            action="lambda:InvokeFunction",
            principal="apigateway.amazonaws.com",
            source_account=scope.account,
            source_arn=pulumi.Output.concat(api.execution_arn, "/*/POST/v1/corpora/*"),
            opts=self.options(),
        )
        stage = self._stage(api, route)
        row = self._watch(api, worker)
        self.outputs = contracts.Ask(
            address=after(pulumi.Output.concat(api.api_endpoint, "/v1"), stage, permission, *self._grants(api)),
            row=row,
        )
        self.finish(self.outputs)

    def _worker(self) -> contracts.Worker:
        args, scope = self._args, self.scope
        used = sorted({spec.guardrail for spec in args.corpora.values() if spec.guardrail})
        bases = [
            pulumi.Output.concat(
                f"arn:aws:bedrock:{scope.region}:{scope.account}:knowledge-base/", args.stores.ids[corpus]
            )
            for corpus in args.corpora
        ]
        statements = [iam.allow(["bedrock:Retrieve"], bases)]
        if used:
            statements += [
                iam.allow(["bedrock:ApplyGuardrail"], [args.guardrails.ids[name] for name in used]),
                iam.allow(["kms:Decrypt"], [args.guardrails_key.id], when=iam.via(scope.region, "bedrock")),
            ]
        return Worker(
            f"{self.name}-retrieval",
            WorkerArgs(
                label="retrieval",
                module="retrieval",
                description="Answers questions with passages of a corpus.",
                memory_mb=512,
                timeout_seconds=_TIMEOUT_SECONDS,
                concurrency=retrieval.at_once(args.api.throttle_rps),
                environment={
                    "BUCKET": args.bucket.name,
                    "GROUPS_CLAIM": args.claim,
                    "CORPORA": pulumi.Output.json_dumps(
                        {corpus: self._readers(corpus, spec) for corpus, spec in args.corpora.items()}, sort_keys=True
                    ),
                },
                statements=statements,
                network=args.network,
                compute_key=args.compute_key,
                logs_key=args.logs_key,
                boundary=args.boundary,
            ),
            scope=scope,
            parent=self,
        ).outputs

    def _readers(self, corpus: str, spec: Corpus) -> dict[str, object]:
        """What the function knows of a corpus: teams count with tokens, their roles without."""
        args = self._args
        by_token = args.api.auth == "jwt"
        guardrail = spec.guardrail and {
            "id": args.guardrails.ids[spec.guardrail], "version": args.guardrails.versions[spec.guardrail],
        }  # fmt: skip
        return {
            "knowledge_base": args.stores.ids[corpus],
            "groups": list(spec.readers) if by_token else [],
            "roles": [] if by_token else [args.identities[team] for team in spec.readers if team in args.identities],
            "guardrail": guardrail,
        }

    def _route(self, api: aws.apigatewayv2.Api, worker: contracts.Worker) -> aws.apigatewayv2.Route:
        args = self._args
        integration = aws.apigatewayv2.Integration(
            f"{self.name}-integration",
            api_id=api.id,
            integration_type="AWS_PROXY",
            integration_method="POST",
            integration_uri=worker.id,
            payload_format_version="2.0",
            timeout_milliseconds=_TIMEOUT_SECONDS * 1000,
            opts=self.options(),
        )
        authorizer = None
        if args.api.auth == "jwt":
            if args.tokens is None:
                raise ValueError("nobody issues the tokens that corpora are asked with")
            authorizer = aws.apigatewayv2.Authorizer(
                f"{self.name}-tokens",
                name=self.scope.names.of("corpora"),
                api_id=api.id,
                authorizer_type="JWT",
                identity_sources=["$request.header.Authorization"],
                jwt_configuration={"issuer": args.tokens.issuer, "audiences": [args.tokens.audience]},
                opts=self.options(),
            )
        return aws.apigatewayv2.Route(
            f"{self.name}-route",
            api_id=api.id,
            route_key=f"POST {retrieval.ROUTE}",
            target=pulumi.Output.concat("integrations/", integration.id),
            authorization_type="JWT" if authorizer else "AWS_IAM",
            authorizer_id=authorizer.id if authorizer else None,
            opts=self.options(),
        )

    def _stage(self, api: aws.apigatewayv2.Api, route: aws.apigatewayv2.Route) -> aws.apigatewayv2.Stage:
        args, scope = self._args, self.scope
        group = aws.cloudwatch.LogGroup(
            f"{self.name}-access-log",
            # Below this, the policy that lets the service write does not grow with each group ("Log delivery").
            name=f"/aws/vendedlogs/apigateway/{scope.names.of('corpora')}",
            retention_in_days=scope.log_days,
            kms_key_id=args.logs_key.id,
            opts=self.options(),
        )
        rate = args.api.throttle_rps
        return aws.apigatewayv2.Stage(
            f"{self.name}-stage",
            api_id=api.id,
            name=_STAGE,
            auto_deploy=True,
            access_log_settings={"destination_arn": group.arn, "format": json.dumps(_LOGGED)},
            # Of each route, and there is one.
            default_route_settings={
                "throttling_rate_limit": rate,
                "throttling_burst_limit": rate,
                "detailed_metrics_enabled": False,
            },
            # What auto_deploy deploys is written back.
            opts=self.options(depends_on=[route], ignore_changes=["deploymentId"]),
        )

    def _grants(self, api: aws.apigatewayv2.Api) -> list[pulumi.Resource]:
        """With `auth: iam`, what the roles of teams may call: the corpora that they read."""
        args, scope = self._args, self.scope
        if args.api.auth == "jwt":
            return []
        return [
            aws.iam.RolePolicy(
                f"{self.name}-reader-{team}",
                name=scope.names.of("ask-corpora", "iam_policy"),
                role=role.apply(lambda arn: arn.rpartition("/")[2]),
                policy=pulumi.Output.json_dumps(
                    iam.document(
                        iam.allow(
                            ["execute-api:Invoke"],
                            [
                                pulumi.Output.concat(api.execution_arn, f"/{_STAGE}/POST/v1/corpora/{corpus}/query")
                                for corpus, spec in args.corpora.items()
                                if team in spec.readers
                            ],
                        )
                    )
                ),
                opts=self.options(),
            )
            for team, role in args.identities.items()
            if any(team in spec.readers for spec in args.corpora.values())
        ]

    def _watch(self, api: aws.apigatewayv2.Api, worker: contracts.Worker) -> Row:
        args, scope = self._args, self.scope
        namespace = scope.names.full(retrieval.NAMESPACE)
        aws.cloudwatch.LogMetricFilter(
            f"{self.name}-foreign",
            name=scope.names.of(retrieval.FOREIGN),
            log_group_name=worker.log or "",
            pattern="{ $.foreign > 0 }",
            metric_transformation={"name": retrieval.FOREIGN, "namespace": namespace, "value": "1"},
            opts=self.options(),
        )
        found = retrieval.aws_asking(namespace, api.id, worker.name)
        made = Alarms(
            f"{self.name}-alarm",
            AlarmsArgs(alarms=found, critical=args.critical, warning=args.warning),
            scope=scope,
            parent=self,
        ).outputs
        arns, log = list(made.names.values()), f"/aws/lambda/{worker.name}"
        return row("corpora", "retrieval", None, found, arns=arns, region=scope.region, log=log)
