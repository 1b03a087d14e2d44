"""Rules on functions."""

from tests.policies.build import ACCOUNT, PROJECT, bad, changed, good, make

FUNCTION = make("aws:lambda/function:Function", inputs={"runtime": "python3.13"})
GCP = make(
    "gcp:cloudfunctionsv2/function:Function",
    inputs={
        "buildConfig": {"runtime": "python313"},
        "serviceConfig": {
            "ingressSettings": "ALLOW_INTERNAL_ONLY",
            "serviceAccountEmail": f"rotation@{PROJECT}.iam.gserviceaccount.com",
        },
    },
)


def permission(**inputs):
    return make("aws:lambda/permission:Permission", inputs={"action": "lambda:InvokeFunction", **inputs})


def url(kind):
    return make("aws:lambda/functionUrl:FunctionUrl", inputs={"authorizationType": kind})


def service(**config):
    return changed(GCP, serviceConfig=config)


CASES = [
    bad("function-runtime", "an old one", "python3.8", changed(FUNCTION, runtime="python3.8")),
    bad("function-runtime", "none", "not stated", changed(FUNCTION, runtime=None)),
    bad(
        "function-runtime", "an old one on Google Cloud", "python38", changed(GCP, buildConfig={"runtime": "python38"})
    ),
    good("function-runtime", "a supported one", FUNCTION),
    good("function-runtime", "an image", changed(FUNCTION, runtime=None, packageType="Image")),
    good("function-runtime", "a supported one on Google Cloud", GCP),
    bad("function-private", "everybody", "everybody may call", permission(principal="*")),
    bad(
        "function-private",
        "a service of any account",
        "secretsmanager.amazonaws.com",
        permission(principal="secretsmanager.amazonaws.com"),
    ),
    bad("function-private", "an open URL", "asks nobody", url("NONE")),
    bad("function-private", "all ingress", "ALLOW_ALL", service(ingressSettings="ALLOW_ALL")),
    bad("function-private", "the default ingress", "ALLOW_ALL", changed(GCP, serviceConfig=None)),
    good(
        "function-private",
        "a service of this account",
        permission(principal="secretsmanager.amazonaws.com", sourceAccount=ACCOUNT),
    ),
    good("function-private", "an organisation", permission(principal="*", principalOrgId="o-abc")),
    good("function-private", "an account", permission(principal=ACCOUNT)),
    good("function-private", "a signed URL", url("AWS_IAM")),
    good("function-private", "internal ingress", GCP),
    bad("function-own-identity", "none", "default service account", service()),
    bad(
        "function-own-identity",
        "the default one",
        "compute@developer",
        service(serviceAccountEmail="1-compute@developer.gserviceaccount.com"),
    ),
    good("function-own-identity", "its own", GCP),
]
