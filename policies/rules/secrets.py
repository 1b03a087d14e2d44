"""Secrets, and values that should have been one."""

import re
from collections.abc import Iterator
from typing import Any

from policies.model import REFERENCE, SECRET, Graph, Resource, is_unknown, texts
from policies.pods import pods
from policies.rule import EVERY, Found, Violation, graph_rule, resource_rule

SECRET_TYPE = "aws:secretsmanager/secret:Secret"  # noqa: S105 - a type
ROTATION = "aws:secretsmanager/secretRotation:SecretRotation"
GCP_SECRET = "gcp:secretmanager/secret:Secret"  # noqa: S105 - a type

# Inputs that hold nothing but a secret.
SECRET_INPUTS: dict[str, tuple[str, ...]] = {
    "aws:secretsmanager/secretVersion:SecretVersion": ("secretString", "secretBinary"),
    "aws:rds/cluster:Cluster": ("masterPassword",),
    "aws:rds/instance:Instance": ("password",),
    "aws:ssm/parameter:Parameter": ("value",),
    "gcp:secretmanager/secretVersion:SecretVersion": ("secretData",),
    "gcp:secretmanager/regionalSecretVersion:RegionalSecretVersion": ("secretData",),
    "gcp:sql/user:User": ("password",),
}

# Where functions and models keep environment variables; what runs in containers is read by `pods`.
_ENVIRONMENTS = {
    "aws:lambda/function:Function": "environment.variables",
    "aws:sagemaker/model:Model": "primaryContainer.environment",
    "gcp:cloudfunctionsv2/function:Function": "serviceConfig.environmentVariables",
}

# Forms of credentials, as their issuers publish them for secret scanning: AWS access keys, private keys in PEM, GitHub tokens,
# Hugging Face tokens, Google API keys, Slack tokens.
_CREDENTIAL = re.compile(
    r"\b(AKIA|ASIA)[0-9A-Z]{16}\b|-----BEGIN ([A-Z]+ )*PRIVATE KEY-----|\bgh[pousr]_[0-9A-Za-z]{36}\b|\bgithub_pat_\w{22,}"
    r"|\bhf_[0-9A-Za-z]{30,}\b|\bAIza[0-9A-Za-z_-]{35}\b|\bxox[abprs]-[0-9A-Za-z-]{10,}"
)
_SECRET_NAME = re.compile(r"(PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|CREDENTIALS?)$", re.IGNORECASE)


@resource_rule(
    "secret-not-in-clear",
    title="No secret stands in clear",
    types=(EVERY,),
    severity="critical",
    why="A value in clear is in the state file, in every preview's log and in the history of the repository, for good.",
    remedy="pulumi config set --secret --path, or a reference to the secret's name that the code reads at run time.",
    controls={
        "aws-fsbp": ("ECS.8",),
        "cis-gcp": ("1.18",),
        "soc2": ("CC6.1",),
        "iso-27001": ("A.5.17",),
        "gdpr": ("32",),
    },
)
def secret_not_in_clear(resource: Resource, graph: Graph) -> Found:
    """The value itself is in no message. The CLI opens secrets before it asks, so there the rule can say nothing."""
    if "secrets" in graph.untold:
        return
    for path in SECRET_INPUTS.get(resource.type, ()):
        value = resource.get(path)
        if is_unknown(value):
            message = f"{path} comes from another resource; whether that keeps it secret is not known"
            yield Violation(message, enforcement="advisory")
        elif value is not None and value != SECRET:
            yield f"{path} is not a secret"
    for name, value in _environment(resource):
        if _SECRET_NAME.search(name) and value != SECRET and not REFERENCE.search(str(value)):
            yield f"the environment variable {name} holds its value in clear"
    if any(_CREDENTIAL.search(text) for text in texts(resource.inputs)):
        yield "an input holds a credential in clear"


def _environment(resource: Resource) -> Iterator[tuple[str, Any]]:
    path = _ENVIRONMENTS.get(resource.type)
    if path:
        variables = resource.get(path, {})
        yield from (variables if isinstance(variables, dict) else {}).items()
    for pod in pods(resource):
        for container in pod.containers:
            yield from ((name, value) for name, value in container.variables.items() if value)


@graph_rule(
    "secret-not-exported",
    title="No output of the stack holds a secret in clear",
    severity="critical",
    why="Outputs are printed after every deployment and can be read by every stack that refers to this one.",
    remedy="Export the name of the secret, never its value.",
    controls={"soc2": ("CC6.1",), "iso-27001": ("A.5.17",)},
)
def secret_not_exported(graph: Graph) -> Found:
    """A credential in an output, or an output that is the value of a secret."""
    for name, value in graph.outputs.items():
        for text in texts(value):
            sources = [(graph.resources.get(m[1]), m[2]) for m in REFERENCE.finditer(text)]
            held = any(r and path in SECRET_INPUTS.get(r.type, ()) for r, path in sources)
            if held or _CREDENTIAL.search(text):
                yield f"the output {name} holds a secret in clear"


@resource_rule(
    "secret-rotates",
    title="A secret is changed on a schedule",
    types=(SECRET_TYPE, GCP_SECRET),
    severity="medium",
    enforcement="advisory",
    why="A secret that leaked unnoticed works until it is changed.",
    remedy="kind: generated with rotation_days; for a value that somebody else issued, a waiver that says who renews it.",
    controls={
        "aws-fsbp": ("SecretsManager.1", "SecretsManager.4"),
        "soc2": ("CC6.1",),
        "iso-27001": ("A.5.17",),
    },
)
def secret_rotates(resource: Resource, graph: Graph) -> Found:
    """Advisory: the platform cannot change a value that somebody else issues."""
    if resource.type == GCP_SECRET:
        if not resource.get("rotation.rotationPeriod") and not resource.get("rotation.nextRotationTime"):
            yield "it has no rotation period"
        return
    rotations = graph.linked(resource.urn, ROTATION, "secretId")
    if not any(
        r.get("rotationRules.automaticallyAfterDays") or r.get("rotationRules.scheduleExpression") for r in rotations
    ):
        yield "nothing rotates it"
