"""What runs outside and comes in by OpenID Connect: the continuous integration."""

import re

from policies.context import items
from policies.documents import Statement, statements
from policies.grants import grants
from policies.model import Graph, Resource, is_unknown
from policies.rule import EVERY, Found, Violation, resource_rule

ROLE = "aws:iam/role:Role"
POOL_PROVIDER = "gcp:iam/workloadIdentityPoolProvider:WorkloadIdentityPoolProvider"

# What says which repository, and which part of it, a workflow's token speaks for (GitHub, "About security hardening with
# OpenID Connect").
_ASSERTS_REPOSITORY = re.compile(
    r"(assertion\.(repository|repository_id|sub)|attribute\.repository|google\.subject)\s*(==|in\b)"
)

# Callers of endpoints come with tokens of an issuer of ours, for our audience, that name the endpoint in their scope. An issuer
# that gives tokens to all the world is none of ours.
_ASSERTS_SCOPE = re.compile(r"assertion\.(scope|scp)\b")
_WORLDWIDE = re.compile(
    r"githubusercontent\.com|gitlab\.com|bitbucket\.org|circleci\.com|terraform\.io|accounts\.google\.com"
)

_WHOLE_POOL = re.compile(r"principalSet://.*/workloadIdentityPools/[^/]+/\*$")


@resource_rule(
    "delivery-bound",
    title="Only the named repository, and the named part of it, can come in from outside",
    types=(EVERY,),
    severity="critical",
    why="A trust that stops at the issuer lets any repository in the world deploy here.",
    remedy="AWS: StringEquals on the token's aud and sub. Google Cloud: an attribute condition on assertion.repository.",
    controls={
        "soc2": ("CC6.1", "CC6.2", "CC8.1"),
        "iso-27001": ("A.5.16", "A.8.4", "A.8.32"),
        "eu-ai-act": ("15",),
    },
)
def delivery_bound(resource: Resource, graph: Graph) -> Found:
    """Role trusts with a federated principal, pool providers, and grants to a whole pool."""
    if resource.type == ROLE:
        for statement in statements(resource, graph, "trust"):
            if statement.allows and any(_is_oidc(kind, value) for kind, value in statement.principals):
                yield from _trust(statement)
    if resource.type == POOL_PROVIDER:
        condition = str(resource.get("attributeCondition", ""))
        if not condition:
            yield "it has no attribute condition, so every token of the issuer is taken"
        elif is_unknown(condition):
            yield Violation("which tokens it takes is not known before the deployment", enforcement="advisory")
        elif not _of_callers(resource, condition) and not all(
            _ASSERTS_REPOSITORY.search(either) for either in condition.split("||")
        ):
            yield f"its condition names no repository: {condition}"
    for grant in grants(resource):
        if _WHOLE_POOL.search(grant.member):
            yield f"every identity of the pool is given {grant.role}"


def _of_callers(provider: Resource, condition: str) -> bool:
    issuer = str(provider.get("oidc.issuerUri", ""))
    named = bool(issuer) and not _WORLDWIDE.search(issuer) and bool(provider.get("oidc.allowedAudiences"))
    return named and all(_ASSERTS_SCOPE.search(either) for either in condition.split("||"))


def _is_oidc(kind: str, value: str) -> bool:
    return kind == "Federated" and ":saml-provider/" not in value and "samlProvider:" not in value


def _trust(statement: Statement) -> Found:
    claims = {c.key.rpartition(":")[2] for c in statement.conditions if c.demands}
    for claim in ("aud", "sub"):
        if claim not in claims:
            yield f"the trust does not demand the token's {claim}"
    for condition in statement.conditions:
        if condition.key.endswith(":sub"):
            for value in items(list(condition.values)):
                if "*" in value or "?" in value:
                    yield f"the trust takes any token whose sub looks like {value}"
