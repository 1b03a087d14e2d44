"""Rules on policy documents as such."""

from tests.policies.build import bad, document, good, make, ref

KEY = make("aws:kms/key:Key", "key", inputs={})
STATEMENT = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::acme-dev-raw/*"}


def policy(value):
    return make("aws:iam/policy:Policy", inputs={"name": "acme-dev-p", "policy": value})


def role(**inputs):
    return make("aws:iam/role:Role", inputs=inputs)


CASES = [
    bad("document-readable", "no JSON", "no policy document", policy("Allow everything, please")),
    bad("document-readable", "JSON of another kind", "no policy document", policy('["a"]')),
    bad("document-readable", "no statement", "no policy document", policy('{"Version": "2012-10-17"}')),
    bad("document-readable", "a statement without an effect", "no policy document", policy(document({"Action": "*"}))),
    bad(
        "document-readable",
        "not yet known",
        "not known before",
        KEY,
        policy(ref(KEY, "policy")),
        enforcement="advisory",
    ),
    bad(
        "document-readable",
        "made of two outputs",
        "not known before",
        KEY,
        policy(ref(KEY, "policy") + ref(KEY, "arn")),
        enforcement="advisory",
    ),
    bad("document-readable", "inline", "inlinePolicies.0.policy", role(inlinePolicies=[{"name": "x", "policy": "x"}])),
    good("document-readable", "a document", policy(document(STATEMENT))),
    good(
        "document-readable",
        "a statement alone",
        policy('{"Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}}'),
    ),
    good(
        "document-readable",
        "a document with a reference in it",
        KEY,
        policy(document({**STATEMENT, "Resource": ref(KEY, "arn")})),
    ),
    good("document-readable", "none", role()),
    bad(
        "document-no-null",
        "a resource",
        "policy.Statement.0.Resource.1 is null",
        policy(document({**STATEMENT, "Resource": ["a", None]})),
    ),
    bad(
        "document-no-null",
        "a condition",
        "Condition.StringEquals",
        policy({"Statement": [{**STATEMENT, "Condition": {"StringEquals": {"a": None}}}]}),
    ),
    bad(
        "document-no-null",
        "an output as text",
        "unresolved output",
        policy(document({**STATEMENT, "Resource": "Calling __str__ on an Output[T] is not supported."})),
    ),
    good("document-no-null", "a document", policy(document(STATEMENT))),
    good("document-no-null", "no document", policy("null and void")),
]
