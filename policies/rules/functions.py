"""Functions that run beside the platform."""

from policies.model import Graph, Resource
from policies.pods import CLOUD_RUN
from policies.rule import Found, Violation, resource_rule
from policies.served import FRONTS, FUNCTION, FUNCTION_URL, PERMISSION, called_by, is_behind_api

LOAD_BALANCER = "aws:lb/loadBalancer:LoadBalancer"
GCP_FUNCTION = "gcp:cloudfunctionsv2/function:Function"

# Runtimes that get security updates until 2027 or longer (Lambda Developer Guide, "Lambda runtimes"; Cloud Run, "Function
# runtimes"), read in 2026.
_SUPPORTED = {
    FUNCTION: {
        "python3.12",
        "python3.13",
        "python3.14",
        "nodejs22.x",
        "nodejs24.x",
        "java21",
        "java25",
        "provided.al2023",
    },
    GCP_FUNCTION: {"python312", "python313", "python314", "nodejs22", "nodejs24"},
}


@resource_rule(
    "function-runtime",
    title="Functions run on a runtime that gets security updates",
    types=tuple(_SUPPORTED),
    severity="medium",
    why="After its end a runtime gets no fixes, and some months later no deployments.",
    remedy="Move to the newest Python that both clouds run.",
    controls={"aws-fsbp": ("Lambda.2",), "soc2": ("CC7.1",), "iso-27001": ("A.8.8",)},
)
def function_runtime(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """A function that is an image chooses its own runtime."""
    path = "runtime" if resource.type == FUNCTION else "buildConfig.runtime"
    if resource.get("packageType") != "Image" and str(resource.get(path)) not in _SUPPORTED[resource.type]:
        yield f"its runtime is {resource.get(path, 'not stated')}"


@resource_rule(
    "function-private",
    title="A function is called by named callers only",
    types=(PERMISSION, FUNCTION_URL, GCP_FUNCTION),
    severity="high",
    why="A function that anybody can call runs his input with our rights, on our bill.",
    remedy="AWS: source_account or source_arn beside the principal. Google Cloud: ingress ALLOW_INTERNAL_ONLY.",
    controls={"aws-fsbp": ("Lambda.1",), "soc2": ("CC6.6",), "iso-27001": ("A.5.15", "A.8.20")},
)
def function_private(resource: Resource, graph: Graph) -> Found:
    """A permission for everybody or for a service of any account, a URL without authentication, ingress from anywhere."""
    if resource.type == PERMISSION:
        principal = str(resource.get("principal", ""))
        bound = any(resource.get(key) for key in ("sourceAccount", "sourceArn", "principalOrgId"))
        if principal == "*" and not bound:
            yield "everybody may call the function"
        elif principal.endswith(".amazonaws.com") and not bound:
            yield f"{principal} may call it for any account"
        elif principal in FRONTS and not resource.get("sourceArn"):
            yield f"whatever is {FRONTS[principal]} in the account may call it"
    if resource.type == FUNCTION_URL and resource.get("authorizationType") != "AWS_IAM":
        yield "its URL asks nobody who he is"
    if resource.type == GCP_FUNCTION:
        ingress = str(resource.get("serviceConfig.ingressSettings", "ALLOW_ALL"))
        if ingress not in {"ALLOW_INTERNAL_ONLY", "ALLOW_INTERNAL_AND_GCLB"}:
            # API Gateway calls from outside of every network: IAM alone tells it from others.
            enforcement = "advisory" if is_behind_api(resource, graph) else None
            yield Violation(f"its ingress is {ingress}", enforcement=enforcement)


@resource_rule(
    "function-own-identity",
    title="A function, and a service of Cloud Run, has an identity of its own",
    types=(FUNCTION, GCP_FUNCTION, *CLOUD_RUN),
    severity="high",
    why="One that is shared may do what all of them need; the project's default one is an editor of the whole project.",
    remedy="A Workload of its own: role, service_account or service_account_email.",
    controls={"cis-gcp": ("4.1",), "soc2": ("CC6.3",), "iso-27001": ("A.5.16",)},
)
def function_own_identity(resource: Resource, graph: Graph) -> Found:
    """The account is missing, or the default one; the role is another function's as well."""
    if resource.type == FUNCTION:
        shared = [each.name for role in resource.links("role") for each in graph.linked(role, FUNCTION, "role")]
        others = sorted(set(shared) - {resource.name})
        if others:
            yield f"it has the role of {', '.join(others[:3])}"
        return
    path = CLOUD_RUN.get(resource.type)
    account = str(resource.get(f"{path}.serviceAccount" if path else "serviceConfig.serviceAccountEmail", ""))
    if not account:
        yield "it runs as the default service account"
    elif account.endswith(("-compute@developer.gserviceaccount.com", "@appspot.gserviceaccount.com")):
        yield f"it runs as {account}"


@resource_rule(
    "function-in-network",
    title="A function that works on requests or messages is in the network",
    types=(FUNCTION,),
    severity="high",
    why="Outside of it nothing bounds where a poisoned package in the function sends what it is handed.",
    remedy="network= of LambdaFunction or Worker: subnets for workloads and a security group of its own.",
    controls={"soc2": ("CC6.6", "CC6.7"), "iso-27001": ("A.8.22",), "eu-ai-act": ("15",)},
)
def function_in_network(resource: Resource, graph: Graph) -> Found:
    """Those that see no data, such as what starts a release, may do without."""
    callers = called_by(resource, graph)
    if callers and not all(resource.get(f"vpcConfig.{part}") for part in ("subnetIds", "securityGroupIds")):
        yield f"{callers[0]} calls it, and it is in no network of ours"


@resource_rule(
    "function-traced",
    title="A function that works on requests or messages is traced",
    types=(FUNCTION,),
    severity="low",
    why="Without a trace nobody can say where the two seconds of one slow answer in a thousand went.",
    remedy="tracing_config mode Active.",
    controls={
        "aws-fsbp": ("Lambda.7",),
        "soc2": ("CC7.2",),
        "iso-27001": ("A.8.15", "A.8.16"),
        "eu-ai-act": ("12",),
        "nist-ai-rmf": ("MEASURE 2.4",),
    },
)
def function_traced(resource: Resource, graph: Graph) -> Found:
    """`PassThrough` traces what somebody else has chosen to trace."""
    if called_by(resource, graph) and resource.get("tracingConfig.mode") != "Active":
        yield "it is not traced"


# Seconds that a front waits for its answer: an HTTP API of API Gateway 30 and no more ("HTTP API quotas", integration timeout);
# a load balancer as long as its idle timeout, 60 unless it says otherwise ("Connection idle timeout").
_API_SECONDS, _BALANCER_SECONDS = 29, 60


@resource_rule(
    "function-in-time",
    title="A function behind an API gives up before the API does",
    types=(FUNCTION,),
    severity="medium",
    why="The caller is told of an error while the function goes on working, and what he asks for again is done twice.",
    remedy="timeout_seconds of the endpoint: 29 behind an API, not more than the idle timeout behind a load balancer.",
    controls={"soc2": ("A1.2",), "iso-27001": ("A.8.6",)},
)
def function_in_time(resource: Resource, graph: Graph) -> Found:
    """Of several load balancers the most patient counts."""
    waits = [each.get("idleTimeout", _BALANCER_SECONDS) for each in graph.of_type(LOAD_BALANCER)]
    limits = {
        "an API": _API_SECONDS,
        "a load balancer": max([_BALANCER_SECONDS, *(w for w in waits if isinstance(w, int))]),
    }
    seconds = resource.get("timeout", 3)
    for caller in sorted(set(called_by(resource, graph)) & limits.keys()):
        if isinstance(seconds, int | float) and seconds > limits[caller]:
            yield f"it may take {seconds:g} seconds, and {caller} waits for {limits[caller]}"
