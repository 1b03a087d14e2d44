"""Registries of images and of models."""

from collections.abc import Iterator, Mapping
from typing import Any

from policies.context import is_prod, mapping, maps
from policies.documents import statements
from policies.grants import grants
from policies.model import Graph, Resource
from policies.pods import decoded
from policies.rule import Found, resource_rule

ECR = "aws:ecr/repository:Repository"
ECR_LIFECYCLE = "aws:ecr/lifecyclePolicy:LifecyclePolicy"
ECR_POLICY = "aws:ecr/repositoryPolicy:RepositoryPolicy"
ECR_SCANNING = "aws:ecr/registryScanningConfiguration:RegistryScanningConfiguration"
ECR_TEMPLATE = "aws:ecr/repositoryCreationTemplate:RepositoryCreationTemplate"
ECR_PUBLIC = "aws:ecrpublic/repository:Repository"
ARTIFACTS = "gcp:artifactregistry/repository:Repository"
FUNCTION = "gcp:cloudfunctionsv2/function:Function"
SERVICE = "gcp:projects/service:Service"
ADMISSION = "gcp:binaryauthorization/policy:Policy"
MODEL_POLICY = "aws:sagemaker/modelPackageGroupPolicy:ModelPackageGroupPolicy"
READERS = "gcp:artifactregistry/repositoryIamMember:RepositoryIamMember"

_SCANNING_API = "containerscanning.googleapis.com"
_IMMUTABLE = {"IMMUTABLE", "IMMUTABLE_WITH_EXCLUSION"}
# What another account never does: whoever may update a version may approve it. It looks and deploys ("Deploy a model version
# from a different account").
_WRITES = {"sagemaker:CreateModelPackage", "sagemaker:UpdateModelPackage", "sagemaker:DeleteModelPackage"}


@resource_rule(
    "image-immutable",
    title="A tag, once given, stays with its image",
    types=(ECR, ARTIFACTS),
    severity="high",
    why="Whoever can push to a tag that moves changes what runs in every environment, without a deployment.",
    remedy="image_tag_mutability IMMUTABLE; docker_config.immutable_tags.",
    controls={
        "aws-fsbp": ("ECR.2",),
        "soc2": ("CC7.1", "CC8.1"),
        "iso-27001": ("A.8.9", "A.8.32"),
        "eu-ai-act": ("15",),
    },
)
def image_immutable(resource: Resource, graph: Graph) -> Found:
    """Of our own images: a cache follows its upstream, and Cloud Functions moves the tags of what it builds."""
    if resource.type == ECR:
        if str(resource.get("imageTagMutability")) not in _IMMUTABLE:
            yield "its tags can be moved"
        return
    ours = resource.get("format") == "DOCKER" and resource.get("mode", "STANDARD_REPOSITORY") == "STANDARD_REPOSITORY"
    built = graph.linked(resource.urn, FUNCTION, "buildConfig")
    if ours and not built and resource.get("dockerConfig.immutableTags") is not True:
        yield "its tags can be moved"


@resource_rule(
    "image-scanned",
    title="An image is looked through for known holes",
    types=(ECR, ARTIFACTS),
    severity="high",
    why="A year-old base image has hundreds of known holes, and nobody looks without being told.",
    remedy="scan_on_push, or registry.scanning: continuous; the API containerscanning.googleapis.com.",
    controls={
        "aws-fsbp": ("ECR.1",),
        "cis-eks": ("5.1.1",),
        "cis-gke": ("5.1.1",),
        "soc2": ("CC7.1",),
        "iso-27001": ("A.8.8",),
        "eu-ai-act": ("15",),
    },
)
def image_scanned(resource: Resource, graph: Graph) -> Found:
    """By itself, or by what its registry says for all; on Google Cloud by an API of the project."""
    if resource.type == ECR:
        own = resource.get("imageScanningConfiguration.scanOnPush") is True
        if not own and all(each.provider != resource.provider for each in graph.of_type(ECR_SCANNING)):
            yield "nothing scans its images"
    elif resource.get("format") == "DOCKER":
        if resource.get("vulnerabilityScanningConfig.enablementConfig") == "DISABLED":
            yield "scanning is switched off"
        elif not graph.where(SERVICE, "service", _SCANNING_API):
            yield f"nothing scans its images: {_SCANNING_API} is not enabled"


@resource_rule(
    "image-clean-up",
    title="Images that nobody needs go by themselves",
    types=(ECR, ECR_TEMPLATE, ARTIFACTS),
    severity="low",
    why="A training image has ten gigabytes; one for every commit, for ever, costs more than the machines that build it.",
    remedy="A lifecycle policy; cleanup_policies that are not a dry run.",
    controls={"aws-fsbp": ("ECR.3",), "soc2": ("C1.2",), "iso-27001": ("A.8.10",)},
)
def image_clean_up(resource: Resource, graph: Graph) -> Found:
    """Of what ECR makes for a cache, the template says so."""
    if resource.type == ECR:
        if not any(_expires(each.get("policy")) for each in graph.linked(resource.urn, ECR_LIFECYCLE, "repository")):
            yield "it keeps every image for ever"
    elif resource.type == ECR_TEMPLATE:
        if not _expires(resource.get("lifecyclePolicy")):
            yield "what it makes keeps every image for ever"
    elif not any(p.get("action") == "DELETE" for p in maps(resource.get("cleanupPolicies"))):
        yield "it keeps everything for ever"
    elif resource.get("cleanupPolicyDryRun", False) is not False:
        yield "its clean-up is a dry run"


def _expires(policy: Any) -> bool:
    """Whether a lifecycle policy deletes anything; one that is not yet known may."""
    rules = mapping(decoded(policy)).get("rules")
    if rules is None:
        return isinstance(policy, str) and "${" in policy
    return any(mapping(rule.get("action")).get("type") == "expire" for rule in maps(rules))


@resource_rule(
    "image-vouched-for",
    title="Images without a signature are noticed, and in prod do not start",
    types=(ADMISSION,),
    severity="high",
    why="Whoever can push an image, or take over a pipeline that can, runs it in prod otherwise.",
    remedy="registry.signatures: enforce in prod, audit elsewhere.",
    controls={
        "cis-gke": ("4.5.1", "5.1.4"),
        "soc2": ("CC8.1",),
        "iso-27001": ("A.8.32",),
        "eu-ai-act": ("15",),
    },
)
def image_vouched_for(resource: Resource, graph: Graph) -> Found:
    """The default, and every exception for a cluster or a pattern of names."""
    rules = [("by default", mapping(resource.get("defaultAdmissionRule")))]
    rules += [(f"in {r.get('cluster')}", r) for r in maps(resource.get("clusterAdmissionRules"))]
    for where, rule in rules:
        yield from _lets_pass(where, rule, graph)
    for pattern in maps(resource.get("admissionWhitelistPatterns")):
        if str(pattern.get("namePattern")).strip("*/") == "":
            yield "every image is an exception"


def _lets_pass(where: str, rule: Mapping[str, Any], graph: Graph) -> Iterator[str]:
    if str(rule.get("evaluationMode")) not in {"REQUIRE_ATTESTATION", "ALWAYS_DENY"}:
        yield f"{where} nobody is asked: {rule.get('evaluationMode', 'no mode')}"
    elif is_prod(graph) and rule.get("enforcementMode") != "ENFORCED_BLOCK_AND_AUDIT_LOG":
        yield f"{where} an image without a signature starts: {rule.get('enforcementMode', 'no mode')}"


@resource_rule(
    "registry-private",
    title="A registry is for named readers, who read",
    types=(ECR_POLICY, ECR_PUBLIC, MODEL_POLICY, READERS),
    severity="critical",
    why="Who can write to it from another environment decides what runs in this one; a model that anybody reads is given away.",
    remedy="Accounts and service accounts by name, who may pull and deploy; approval stays at home.",
    controls={
        "cis-aws": ("2.21",),
        "cis-eks": ("5.1.2", "5.1.3"),
        "cis-gke": ("5.1.2", "5.1.3"),
        "soc2": ("CC6.1", "CC6.3"),
        "iso-27001": ("A.5.15", "A.8.3", "A.8.31"),
        "eu-ai-act": ("15",),
    },
)
def registry_private(resource: Resource, graph: Graph) -> Found:
    """Whom a policy takes for everybody is `identity-no-anonymous`'s concern; here it is what others may do."""
    if resource.type == ECR_PUBLIC:
        yield "it is a public one"
    elif resource.type == READERS:
        for grant in grants(resource):
            if grant.member.startswith("domain:") or grant.member in {"allUsers", "allAuthenticatedUsers"}:
                yield f"{grant.member} is nobody in particular"
    for statement in statements(resource, graph, "resource"):
        if not statement.allows:
            continue
        if resource.type == MODEL_POLICY and any(statement.covers(action) for action in _WRITES):
            yield f"another account may register or approve versions (statement {statement.label})"
        if resource.type == ECR_POLICY and statement.covers("ecr:PutImage"):
            yield f"another account may push (statement {statement.label})"
