"""Rules on functions."""

import base64
import json

from tests.policies.build import ACCOUNT, PROJECT, bad, changed, good, make, ref

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


SERVING = changed(
    FUNCTION,
    role="arn:aws:iam::111111111111:role/a",
    timeout=29,
    reservedConcurrentExecutions=10,
    tracingConfig={"mode": "Active"},
    vpcConfig={"subnetIds": ["subnet-1"], "securityGroupIds": ["sg-1"]},
)


def called(by="elasticloadbalancing.amazonaws.com"):
    return permission(principal=by, sourceArn="arn", function=ref(FUNCTION, "name"))


def reads():
    inputs = {"eventSourceArn": "arn", "functionName": ref(FUNCTION, "arn")}
    return make("aws:lambda/eventSourceMapping:EventSourceMapping", inputs=inputs)


API, BALANCER = "apigateway.amazonaws.com", make("aws:lb/loadBalancer:LoadBalancer", inputs={"idleTimeout": 120})
ROTATION = permission(principal="secretsmanager.amazonaws.com", sourceAccount=ACCOUNT, function=ref(FUNCTION, "name"))
ROLE = make("aws:iam/role:Role", "shared", inputs={"name": "acme-dev-shared"})


def with_role(name):
    return make("aws:lambda/function:Function", name, inputs={"runtime": "python3.13", "role": ref(ROLE, "arn")})


def run(account=None, kind="service:Service"):
    template = {"serviceAccount": account} if account else {}
    return make(f"gcp:cloudrunv2/{kind}", inputs={"template": {"template": template} if "job" in kind else template})


OPEN = changed(GCP, name="acme-dev-ask", serviceConfig={"ingressSettings": "ALLOW_ALL"})


def leads_to(address):
    api = json.dumps({"x-google-backend": {"address": address}, "paths": {}})
    documents = [{"document": {"contents": base64.b64encode(api.encode()).decode()}}]
    return make("gcp:apigateway/apiConfig:ApiConfig", inputs={"openapiDocuments": documents})


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
    bad("function-own-identity", "a shared role", "the role of second", ROLE, with_role("first"), with_role("second")),
    bad("function-own-identity", "Cloud Run", "default service account", run()),
    bad("function-own-identity", "a job", "compute@dev", run("1-compute@developer.gserviceaccount.com", "job:Job")),
    good("function-own-identity", "a role of its own", ROLE, with_role("first"), SERVING),
    good("function-own-identity", "Cloud Run's own", run("a@acme-ai-dev.iam.gserviceaccount.com")),
    bad(
        "function-private",
        "whatever balances",
        "whatever is a load balancer",
        permission(principal="elasticloadbalancing.amazonaws.com", sourceAccount=ACCOUNT),
    ),
    good("function-private", "one target group", called()),
    bad(
        "function-private",
        "behind an API",
        "ALLOW_ALL",
        OPEN,
        leads_to("https://acme-dev-ask-222222222222.us-central1.run.app"),
        enforcement="advisory",
    ),
    bad("function-private", "beside an API", "ALLOW_ALL", OPEN, leads_to("https://other.run.app")),
    bad("function-in-network", "nowhere", "a load balancer calls it", changed(SERVING, vpcConfig=None), called()),
    bad("function-in-network", "of a queue", "a queue calls it", changed(SERVING, vpcConfig=None), reads()),
    bad(
        "function-in-network",
        "no group",
        "no network of ours",
        changed(SERVING, vpcConfig={"subnetIds": ["subnet-1"]}),
        called(),
    ),
    good("function-in-network", "inside", SERVING, called(), reads()),
    good("function-in-network", "what rotates a secret", FUNCTION, ROTATION),
    bad("function-traced", "by default", "not traced", changed(SERVING, tracingConfig=None), called()),
    bad("function-traced", "by others", "not traced", changed(SERVING, tracingConfig={"mode": "PassThrough"}), reads()),
    good("function-traced", "traced", SERVING, called()),
    good("function-traced", "what nobody calls", FUNCTION),
    bad("function-in-time", "an API", "30 seconds, and an API waits for 29", changed(SERVING, timeout=30), called(API)),
    bad("function-in-time", "a load balancer", "waits for 60", changed(SERVING, timeout=65), called()),
    bad("function-in-time", "a patient one", "waits for 120", BALANCER, changed(SERVING, timeout=130), called()),
    good("function-in-time", "in time", SERVING, called(API)),
    good("function-in-time", "behind a patient one", BALANCER, changed(SERVING, timeout=65), called()),
    good("function-in-time", "of a queue", changed(SERVING, timeout=900), reads()),
    bad("scale-ceiling", "a function", "no ceiling", changed(SERVING, reservedConcurrentExecutions=None), called()),
    bad("scale-ceiling", "of a queue", "no ceiling", changed(SERVING, reservedConcurrentExecutions=None), reads()),
    good("scale-ceiling", "a function with one", SERVING, called()),
    good("scale-ceiling", "a function that nobody calls", FUNCTION),
    bad("image-pinned", "a function", "whatever was pushed last", changed(FUNCTION, imageUri="a/b:latest")),
    good("image-pinned", "a function of a version", changed(FUNCTION, imageUri="a/b:1.0")),
    bad(
        "encryption-own-key",
        "variables of a function",
        "kmsKeyArn names no key",
        changed(FUNCTION, environment={"variables": {"A": "b"}}),
    ),
    good("encryption-own-key", "no variables", FUNCTION),
]
