"""Tokens of our issuer for tokens that Cloud Run takes."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.contracts import Text
from components.core.fronts import Front, has_scope
from components.core.google import nth
from components.gcp.blocks.workload import Workload, WorkloadArgs
from components.scope import Component, Scope, after
from components.spec.serving import Tokens


@dataclass(frozen=True, kw_only=True)
class ExchangeArgs:
    """Whose tokens, and for what."""

    apis: Mapping[str, Text]
    number: str
    """Number of the project."""
    tokens: Tokens
    """The issuer has to have its configuration below `/.well-known/openid-configuration`: Google finds its keys there."""
    fronts: Mapping[str, Front]
    services: Mapping[str, Text]
    """By endpoint: name of its service of Cloud Run."""
    generation: int


class Exchange(Component):
    """Who has a token of our issuer with an endpoint's scope may call that endpoint, and no other.

    Cloud Run takes tokens of Google's alone, and no load balancer of Google's checks others. So a caller shows his token to
    Google's Security Token Service, which checks signature, issuer, age, audience and scope, and gets an hour's worth of being
    a service account that may call one service and do nothing else:

    1. `POST https://sts.googleapis.com/v1/token` with the token as `subjectToken`, and `outputs.audiences` as `audience`.
    2. `POST https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{identity}:generateIdToken` with what came back
       as bearer, and `{"audience": "https://{host}"}`. What comes back is shown to the endpoint, for an hour.

    Google's client libraries do both from a configuration file (`gcloud iam workload-identity-pools create-cred-config`).

    Owns a pool, a provider and a service account for each endpoint whose callers have tokens, and what those may do. Never owns
    a service. Costs nothing. A destroy takes it away; Google keeps the pool's id for 30 days, hence `generation`.

    >>> has_scope("fraud.v2")
    "assertion.scope.matches('(^| )fraud[.]v2( |$)')"
    """

    outputs: contracts.Exchange

    def __init__(self, name: str, args: ExchangeArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the pool, and a way through it for each endpoint."""
        super().__init__(name, scope, parent)
        self._args = args
        pool = gcp.iam.WorkloadIdentityPool(
            f"{name}-pool",
            workload_identity_pool_id=scope.names.of(nth("callers", args.generation), "identity_pool"),
            display_name="Callers of endpoints",
            description=f"Tokens of {args.tokens.issuer}."[:256],
            project=args.apis["iam.googleapis.com"],
            opts=self.options(),
        )
        identities: dict[str, Text] = {}
        audiences: dict[str, Text] = {}
        for endpoint, front in args.fronts.items():
            if front.scope is not None:
                identities[endpoint], audiences[endpoint] = self._way(pool, endpoint, front.scope)
        self.outputs = contracts.Exchange(identities=identities, audiences=audiences)
        self.finish(self.outputs)

    def _way(self, pool: gcp.iam.WorkloadIdentityPool, endpoint: str, wanted: str) -> tuple[Text, Text]:
        """The account that may call an endpoint, once the tokens with its scope can become it; and what STS calls that."""
        args, scope, name = self._args, self.scope, self.name
        provider = gcp.iam.WorkloadIdentityPoolProvider(
            f"{name}-{endpoint}",
            workload_identity_pool_id=pool.workload_identity_pool_id,
            workload_identity_pool_provider_id=scope.names.of(endpoint, "identity_pool"),
            display_name=endpoint[:32],
            description=f"Tokens with the scope {wanted}."[:256],
            project=args.apis["iam.googleapis.com"],
            oidc={"issuer_uri": args.tokens.issuer, "allowed_audiences": [args.tokens.audience]},
            # The endpoint is no claim: it says which provider has let the token through, and so which scope it has.
            attribute_mapping={"google.subject": "assertion.sub", "attribute.endpoint": f"'{endpoint}'"},
            attribute_condition=has_scope(wanted),
            opts=self.options(),
        )
        identity = Workload(
            f"call-{endpoint}",
            WorkloadArgs(description=f"Whoever has a token for {endpoint}.", apis=args.apis, grants={}),
            scope=scope,
            parent=self,
        ).outputs.id
        members = f"principalSet://iam.googleapis.com/projects/{args.number}/locations/global/workloadIdentityPools"
        become = gcp.serviceaccount.IAMMember(
            f"{name}-{endpoint}-becomes",
            service_account_id=identity.apply(lambda email: f"projects/{scope.account}/serviceAccounts/{email}"),
            role="roles/iam.workloadIdentityUser",
            member=pool.workload_identity_pool_id.apply(lambda id_: f"{members}/{id_}/attribute.endpoint/{endpoint}"),
            opts=self.options(),
        )
        call = gcp.cloudrunv2.ServiceIamMember(
            f"{name}-{endpoint}-calls",
            project=args.apis["run.googleapis.com"],
            location=scope.region,
            name=args.services[endpoint],
            role="roles/run.invoker",
            member=pulumi.Output.concat("serviceAccount:", identity),
            opts=self.options(),
        )
        audience = pulumi.Output.all(pool.workload_identity_pool_id, provider.workload_identity_pool_provider_id).apply(
            lambda ids: (
                f"//iam.googleapis.com/projects/{args.number}/locations/global/workloadIdentityPools/{ids[0]}"
                f"/providers/{ids[1]}"
            )
        )
        return after(identity, provider, become, call), audience
