"""Rules on what comes in from outside."""

from tests.policies.build import ACCOUNT, NUMBER, PROJECT, bad, changed, document, good, make, ref

OIDC = make(
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider",
    "github",
    inputs={"url": "https://token.actions.githubusercontent.com"},
)
HOST = "token.actions.githubusercontent.com"
POOL = f"//iam.googleapis.com/projects/{NUMBER}/locations/global/workloadIdentityPools/ci"
RULE = "delivery-bound"


def role(condition, federated=None):
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": federated or ref(OIDC, "arn")},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": condition,
    }
    return make("aws:iam/role:Role", inputs={"assumeRolePolicy": document(statement)})


def claims(sub="repo:acme/ai-platform:environment:dev", aud="sts.amazonaws.com", operator="StringEquals"):
    return {operator: {f"{HOST}:sub": sub, f"{HOST}:aud": aud}}


PROVIDER = make(
    "gcp:iam/workloadIdentityPoolProvider:WorkloadIdentityPoolProvider",
    inputs={"attributeCondition": "assertion.repository == 'acme/ai-platform'"},
)


def member(who):
    return make(
        "gcp:serviceaccount/iAMMember:IAMMember", inputs={"role": "roles/iam.workloadIdentityUser", "member": who}
    )


CALLERS = {
    "attributeCondition": "assertion.scope.matches('(^| )fraud( |$)')",
    "oidc": {"issuerUri": "https://id.example.com", "allowedAudiences": ["ml"]},
}


def callers(**inputs):
    return changed(PROVIDER, **{**CALLERS, **inputs})


CASES = [
    good(RULE, "callers of an endpoint", callers()),
    bad(
        RULE,
        "callers of any issuer",
        "names no repository",
        callers(oidc={"issuerUri": f"https://{HOST}", "allowedAudiences": ["ml"]}),
    ),
    bad(RULE, "callers for anybody", "names no repository", callers(oidc={"issuerUri": "https://id.example.com"})),
    bad(RULE, "callers of every endpoint", "names no repository", callers(attributeCondition="assertion.sub != ''")),
    bad(RULE, "no condition", "does not demand the token's sub", OIDC, role({})),
    bad(
        RULE,
        "no audience",
        "the token's aud",
        OIDC,
        role({"StringEquals": {f"{HOST}:sub": "repo:acme/ai-platform:pull_request"}}),
    ),
    bad(RULE, "every repository", "the token's sub", OIDC, role(claims("repo:*", operator="StringLike"))),
    bad(
        RULE,
        "every repository of an owner",
        "looks like repo:acme/*",
        OIDC,
        role(claims("repo:acme/*", operator="StringLike")),
    ),
    bad(RULE, "every branch", "ai-platform:*", OIDC, role(claims("repo:acme/ai-platform:*", operator="StringLike"))),
    bad(
        RULE,
        "one good and one wide",
        "acme/*",
        OIDC,
        role(claims(["repo:acme/a:pull_request", "repo:acme/*"], operator="ForAnyValue:StringLike")),
    ),
    bad(
        RULE,
        "a condition that holds without the claim",
        "the token's sub",
        OIDC,
        role(claims(operator="StringEqualsIfExists")),
    ),
    bad(RULE, "a condition on all values", "the token's sub", OIDC, role(claims(operator="ForAllValues:StringEquals"))),
    bad(RULE, "the wrong way round", "the token's sub", OIDC, role(claims(operator="StringNotEquals"))),
    bad(RULE, "by ARN", "the token's sub", role({}, f"arn:aws:iam::{ACCOUNT}:oidc-provider/{HOST}")),
    bad(RULE, "no attribute condition", "no attribute condition", changed(PROVIDER, attributeCondition=None)),
    bad(
        RULE,
        "an owner only",
        "names no repository",
        changed(PROVIDER, attributeCondition="assertion.repository_owner == 'acme'"),
    ),
    bad(RULE, "always", "names no repository", changed(PROVIDER, attributeCondition="true")),
    bad(RULE, "the whole pool", "every identity of the pool", member(f"principalSet:{POOL}/*")),
    good(RULE, "one environment", OIDC, role(claims())),
    good(RULE, "a pattern without a wildcard", OIDC, role(claims(operator="StringLike"))),
    good(RULE, "people by SAML", role({}, f"arn:aws:iam::{ACCOUNT}:saml-provider/sso")),
    good(RULE, "a condition on Google Cloud", PROVIDER),
    good(
        RULE,
        "one of two repositories",
        changed(PROVIDER, attributeCondition="assertion.repository in ['acme/a'] || assertion.sub == 'repo:acme/b:x'"),
    ),
    bad(
        RULE,
        "a repository, or anything",
        "names no repository",
        changed(PROVIDER, attributeCondition="assertion.repository == 'acme/a' || true"),
    ),
    bad(
        RULE,
        "a condition that is not known",
        "not known before",
        OIDC,
        changed(PROVIDER, attributeCondition=ref(OIDC, "url")),
        enforcement="advisory",
    ),
    good(RULE, "one repository of a pool", member(f"principalSet:{POOL}/attribute.repository/acme/ai-platform")),
    good(RULE, "a service account", member(f"serviceAccount:ci@{PROJECT}.iam.gserviceaccount.com")),
]
