"""Functions that run beside the platform."""

from policies.model import Graph, Resource
from policies.rule import Found, resource_rule

FUNCTION = "aws:lambda/function:Function"
PERMISSION = "aws:lambda/permission:Permission"
FUNCTION_URL = "aws:lambda/functionUrl:FunctionUrl"
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
def function_private(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """A permission for everybody or for a service of any account, a URL without authentication, ingress from anywhere."""
    if resource.type == PERMISSION:
        principal = str(resource.get("principal", ""))
        bound = any(resource.get(key) for key in ("sourceAccount", "sourceArn", "principalOrgId"))
        if principal == "*" and not bound:
            yield "everybody may call the function"
        elif principal.endswith(".amazonaws.com") and not bound:
            yield f"{principal} may call it for any account"
    if resource.type == FUNCTION_URL and resource.get("authorizationType") != "AWS_IAM":
        yield "its URL asks nobody who he is"
    if resource.type == GCP_FUNCTION:
        ingress = str(resource.get("serviceConfig.ingressSettings", "ALLOW_ALL"))
        if ingress not in {"ALLOW_INTERNAL_ONLY", "ALLOW_INTERNAL_AND_GCLB"}:
            yield f"its ingress is {ingress}"


@resource_rule(
    "function-own-identity",
    title="A function has an identity of its own",
    types=(GCP_FUNCTION,),
    severity="high",
    why="Without one it runs as the project's default service account, which is an editor of the whole project.",
    remedy="service_account_email of an account made for it.",
    controls={"cis-gcp": ("4.1",), "soc2": ("CC6.3",), "iso-27001": ("A.5.16",)},
)
def function_own_identity(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """The account is missing, or the default one."""
    account = str(resource.get("serviceConfig.serviceAccountEmail", ""))
    if not account:
        yield "it runs as the default service account"
    elif account.endswith(("-compute@developer.gserviceaccount.com", "@appspot.gserviceaccount.com")):
        yield f"it runs as {account}"
