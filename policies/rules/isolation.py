"""That an environment stays within itself: its account, its project, its part of the world, its names."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache

from components.spec.regions import REGIONS, Region
from policies.context import AWS_PROVIDER, GCP_PROVIDER, items, mapping, maps, providers, setting
from policies.model import REFERENCE, Graph, Resource, texts
from policies.pods import CLUSTERS
from policies.rule import EVERY, Found, Violation, graph_rule, resource_rule
from policies.stateful import HOLDS_DATA

_CLOUDS = {"aws": AWS_PROVIDER, "gcp": GCP_PROVIDER}
KUBERNETES_PROVIDER = "pulumi:providers:kubernetes"
_KUBE_CREDENTIALS = {"auth-provider", "client-certificate-data", "client-key-data", "password", "token"}
_CREDENTIAL_SETTINGS = ("accessKey", "secretKey", "token", "credentials", "accessToken", "profile")


def _cloud(resource: Resource) -> str:
    """`aws` or `gcp` for what either provider makes; empty for everything else."""
    cloud = resource.type.partition(":")[0]
    return cloud if cloud in _CLOUDS else ""


@resource_rule(
    "isolation-explicit-provider",
    title="Every resource names the account that it is made in",
    types=(EVERY,),
    severity="critical",
    why="A resource on the default provider is made wherever the caller happens to be logged in.",
    remedy="provider= the scope's provider, through Component.options.",
    controls={"soc2": ("CC8.1",), "iso-27001": ("A.8.31",)},
)
def isolation_explicit_provider(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """Of what a cloud or a cluster makes; the engine names a default provider `default` or `default_<version>`."""
    if resource.custom and (_cloud(resource) or resource.type.startswith("kubernetes:")):
        name = resource.provider.rpartition("::")[2] if resource.provider else ""
        if not resource.provider:
            yield "it has no explicit provider"
        elif re.fullmatch(r"default(_\d+)*(_.*)?", name) and "pulumi:providers:" in resource.provider:
            yield f"its provider is the default one, {name}"


@resource_rule(
    "isolation-provider-pinned",
    title="A provider works in one account and one region only, whoever is logged in",
    types=tuple(_CLOUDS.values()),
    severity="critical",
    why="With dev's file and prod's credentials, one command would change prod.",
    remedy="cloud.aws.account or cloud.gcp.project, and region, in the stack's file; no credentials in the program.",
    controls={"soc2": ("CC6.1", "CC8.1"), "iso-27001": ("A.8.31",)},
)
def isolation_provider_pinned(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """One allowed account, or one project; a region; and nobody's key."""
    if resource.type == AWS_PROVIDER and len(items(setting(resource, "allowedAccountIds"))) != 1:
        yield "it does not name the one account that it may work in"
    if resource.type == GCP_PROVIDER and not setting(resource, "project"):
        yield "it names no project"
    if not setting(resource, "region"):
        yield "it names no region"
    for name in _CREDENTIAL_SETTINGS:
        if setting(resource, name):
            yield f"it carries a credential: {name}"


@resource_rule(
    "isolation-cluster-pinned",
    title="A provider speaks to the environment's own cluster, as whoever deploys",
    types=(KUBERNETES_PROVIDER,),
    severity="critical",
    why="Without a kubeconfig of its own it speaks to the cluster that the caller used last; a token in it stays in the state.",
    remedy="kubeconfig made from the cluster's outputs with an exec plug-in, and cluster_identifier.",
    controls={"soc2": ("CC6.1", "CC8.1"), "iso-27001": ("A.8.31", "A.5.17")},
)
def isolation_cluster_pinned(resource: Resource, graph: Graph) -> Found:
    """A kubeconfig that names this program's cluster and holds no credential; an identifier, or a change replaces everything."""
    linked = [graph.resources[urn].type for urn in resource.links("kubeconfig") if urn in graph.resources]
    if not resource.get("kubeconfig"):
        yield "it speaks to whatever cluster the caller used last"
    elif not any(type_ in CLUSTERS for type_ in linked):
        yield "its cluster is not one that this program makes"
    for user in maps(setting(resource, "kubeconfig").get("users")) if _is_kubeconfig(resource) else ():
        held = sorted(mapping(user.get("user")).keys() & _KUBE_CREDENTIALS)
        if held:
            yield f"it carries a credential: {', '.join(held)}"
    if not resource.get("clusterIdentifier"):
        yield "nothing says which cluster it is, so a new kubeconfig replaces all that is in it"


def _is_kubeconfig(provider: Resource) -> bool:
    return isinstance(setting(provider, "kubeconfig"), Mapping)


# Places of Google Cloud that hold several regions, beside the bucket locations in the table of regions (Cloud KMS locations).
_GCP_MULTI_REGIONS = {"US": ("us", "nam4"), "EU": ("eu", "europe", "eur4"), "ASIA": ("asia", "asia1")}


@cache
def jurisdiction(cloud: str, region: str) -> frozenset[str]:
    """Every location where data of a region may lie, in lower case.

    The table of regions names for each a replica in the same jurisdiction; what those names join belongs together.
    """
    table: Mapping[str, Region] = REGIONS[cloud]
    found = {region}
    while True:
        more = {table[r].replica for r in found if r in table} | {n for n, r in table.items() if r.replica in found}
        if {name for name in more if name} <= found:
            break
        found |= {name for name in more if name}
    multi = {table[r].multi_region for r in found if r in table} - {None}
    return frozenset(found) | {n for m in multi if m for n in (m.lower(), *_GCP_MULTI_REGIONS.get(m, ()))}


def _locations(resource: Resource) -> Iterator[str]:
    for key in ("region", "location"):
        value = resource.inputs.get(key)
        if isinstance(value, str) and not REFERENCE.search(value):
            yield value
    replicas = resource.get("replication.userManaged.replicas")
    for place in (*items(replicas), *items(resource.get("customPlacementConfig.dataLocations"))):
        yield str(place.get("location") if isinstance(place, Mapping) else place)
    for place in items(resource.get("messageStoragePolicy.allowedPersistenceRegions")):
        yield str(place)


@resource_rule(
    "isolation-jurisdiction",
    title="Nothing leaves the environment's part of the world",
    types=(EVERY,),
    severity="high",
    why="Personal data that lies in another jurisdiction, if only as a replica, has been transferred there.",
    remedy="A replica_region of the same jurisdiction, or a waiver by whoever answers for the transfer.",
    controls={"soc2": ("CC6.7",), "iso-27001": ("A.5.31", "A.5.34"), "gdpr": ("44",), "eu-ai-act": ("10",)},
)
def isolation_jurisdiction(resource: Resource, graph: Graph) -> Found:
    """Against the region of the resource's own provider; of providers, against the first of their cloud."""
    cloud = _cloud(resource) or next((c for c, type_ in _CLOUDS.items() if type_ == resource.type), "")
    if not cloud:
        return
    home = graph.resources.get(resource.provider) or next(iter(providers(graph, _CLOUDS[cloud])), None)
    region = setting(home, "region") if home else None
    if not isinstance(region, str) or REFERENCE.search(region):
        return  # `isolation-provider-pinned` reports a provider without a region
    allowed = jurisdiction(cloud, region)
    for place in sorted(set(_locations(resource))):
        plain = place.lower()
        inside = plain in allowed or re.sub(r"-[a-z]$", "", plain) in allowed
        if not inside and not (plain == "global" and resource.type not in HOLDS_DATA):
            yield f"{place} is outside of what {region} may share data with"


_ACCOUNT = re.compile(r"(?<![\w.-])\d{12}(?![\w.-])")
_PROJECT = re.compile(r"projects/([a-z][a-z0-9-]{4,28}[a-z0-9])(?=/|$)")
_ACCOUNT_OF_PROJECT = re.compile(r"([a-z0-9-]+)@([a-z][a-z0-9-]{4,28}[a-z0-9])\.iam\.gserviceaccount\.com")
_NUMBER = re.compile(r"(?:projects/|service-|\bbq-|serviceAccount:)(\d{6,19})(?=[/@-]|$)")
_BUCKET = re.compile(r"arn:aws[\w-]*:s3:::([a-z0-9][a-z0-9.-]+)")

# Buckets of AWS itself that an endpoint has to let through (ECR User Guide, "Minimum Amazon S3 bucket permissions for Amazon
# ECR"; EC2 User Guide, Amazon Linux repositories).
_AWS_BUCKETS = re.compile(r"prod-[a-z0-9-]+-starport-layer-bucket|al2023-repos-[a-z0-9-]+")


@resource_rule(
    "isolation-no-foreign",
    title="Nothing of another environment is named",
    types=(EVERY,),
    severity="critical",
    why="A principal, key or bucket of another environment in a policy is a door between the two.",
    remedy="Take names from the environment's own resources; what has to cross, crosses by a waiver with an owner.",
    controls={
        "aws-fsbp": ("S3.6",),
        "soc2": ("CC6.1", "CC6.3"),
        "iso-27001": ("A.8.31", "A.8.22"),
    },
)
def isolation_no_foreign(resource: Resource, graph: Graph) -> Found:
    """Account ids, projects, service accounts and bucket names. A provider's own sign-in is left out."""
    cloud = _cloud(resource)
    if not cloud:
        return
    found = sorted(set(texts(resource.inputs)))
    if cloud == "aws":
        own = {str(a) for p in providers(graph, AWS_PROVIDER) for a in items(setting(p, "allowedAccountIds"))}
        for account in sorted({a for text in found for a in _ACCOUNT.findall(text)} - own if own else ()):
            yield f"it names the account {account}"
        for bucket in sorted({b for text in found for b in _BUCKET.findall(text)}):
            if f"-{graph.stack}-" not in f"-{bucket}-" and not _AWS_BUCKETS.fullmatch(bucket):
                yield f"it names the bucket {bucket}, which is not this environment's"
        return
    own = {str(setting(p, "project")) for p in providers(graph, GCP_PROVIDER)}
    for project in sorted(_projects(resource, found) - own - _GOOGLE_PROJECTS if own else ()):
        yield f"it names the project {project}"


# Projects of Google's own that hold public images.
_GOOGLE_PROJECTS = {"cos-cloud", "debian-cloud", "deeplearning-platform-release", "ml-images", "ubuntu-os-cloud"}


def _projects(resource: Resource, found: list[str]) -> set[str]:
    named = {p for text in found for p in _PROJECT.findall(text)}
    for text in found:
        for local, project in _ACCOUNT_OF_PROJECT.findall(text):
            if not re.fullmatch(r"(service|bq)-\d+", local):  # a service agent lives in a project of Google's
                named.add(project)
    project = resource.inputs.get("project")
    if isinstance(project, str) and not REFERENCE.search(project) and not project.isdigit():
        named.add(project.removeprefix("projects/"))
    return named


@graph_rule(
    "isolation-one-number",
    title="One project number stands for the whole environment",
    severity="critical",
    why="A service agent of another project in a grant lets that project's services in; its number is all that tells them apart.",
    remedy="cloud.gcp.number in the stack's file is the number of cloud.gcp.project.",
    controls={"soc2": ("CC6.1", "CC6.3"), "iso-27001": ("A.8.31",)},
)
def isolation_one_number(graph: Graph) -> Found:
    """Against the number that is named most: a provider knows only the id of its project."""
    named = {
        resource.urn: {n for text in texts(resource.inputs) for n in _NUMBER.findall(text)}
        for resource in graph.resources.values()
        if _cloud(resource) == "gcp"
    }
    counts = Counter(number for numbers in named.values() for number in numbers)
    own = min(counts, key=lambda number: (-counts[number], number), default="")
    for urn, numbers in named.items():
        for number in sorted(numbers - {own}):
            yield Violation(f"it names the project number {number}, not {own}", graph.resources[urn])


# Types whose physical name has to be unique in the world, or is how people tell environments apart, and where it stands.
_NAMED: dict[str, str] = {
    "aws:s3/bucket:Bucket": "bucket",
    "aws:iam/role:Role": "name",
    "aws:iam/policy:Policy": "name",
    "aws:secretsmanager/secret:Secret": "name",
    "aws:sns/topic:Topic": "name",
    "aws:sqs/queue:Queue": "name",
    "aws:lambda/function:Function": "name",
    "gcp:storage/bucket:Bucket": "name",
    "gcp:pubsub/topic:Topic": "name",
    "gcp:secretmanager/secret:Secret": "secretId",
    "gcp:compute/network:Network": "name",
}


@resource_rule(
    "isolation-named",
    title="A physical name says which environment it belongs to",
    types=tuple(_NAMED),
    severity="medium",
    why="Bucket names are unique in the world, and a person at three in the morning reads names, not account numbers.",
    remedy="scope.names.of(…).",
    controls={"iso-27001": ("A.5.9", "A.8.31"), "nist-ai-rmf": ("GOVERN 1.6",)},
)
def isolation_named(resource: Resource, graph: Graph) -> Found:
    """A name that is left out is made up by Pulumi, and cannot be written down before."""
    name = str(resource.get(_NAMED[resource.type], ""))
    words = f"-{re.sub(r'[^a-z0-9]+', '-', name.lower())}-"
    if not name:
        yield "it has no stated name"
    elif not REFERENCE.search(name) and f"-{graph.stack}-" not in words:
        yield f"{name} does not say {graph.stack}"


# Types whose name is given once in an account and a region, or in a project and a location, and what holds it. Left out is what
# has its name within something else (a policy of a role, a key of a ring), or may share it (an alert's display name).
_ONCE: dict[str, str] = {
    **_NAMED,
    "aws:batch/jobQueue:JobQueue": "name",
    "aws:bedrock/agentKnowledgeBase:AgentKnowledgeBase": "name",
    "aws:bedrock/guardrail:Guardrail": "name",
    "aws:budgets/budget:Budget": "name",
    "aws:cloudwatch/eventRule:EventRule": "name",
    "aws:cloudwatch/logGroup:LogGroup": "name",
    "aws:cloudwatch/metricAlarm:MetricAlarm": "name",
    "aws:codedeploy/application:Application": "name",
    "aws:ec2/launchTemplate:LaunchTemplate": "name",
    "aws:ecr/repository:Repository": "name",
    "aws:ecs/cluster:Cluster": "name",
    "aws:eks/cluster:Cluster": "name",
    "aws:elasticache/serverlessCache:ServerlessCache": "name",
    "aws:kms/alias:Alias": "name",
    "aws:lb/loadBalancer:LoadBalancer": "name",
    "aws:lb/targetGroup:TargetGroup": "name",
    "aws:sagemaker/endpoint:Endpoint": "name",
    "aws:sfn/stateMachine:StateMachine": "name",
    "aws:wafv2/webAcl:WebAcl": "name",
    "gcp:artifactregistry/repository:Repository": "repositoryId",
    "gcp:certificatemanager/certificate:Certificate": "name",
    "gcp:cloudfunctionsv2/function:Function": "name",
    "gcp:cloudrunv2/service:Service": "name",
    "gcp:cloudscheduler/job:Job": "name",
    "gcp:compute/backendService:BackendService": "name",
    "gcp:compute/globalAddress:GlobalAddress": "name",
    "gcp:compute/securityPolicy:SecurityPolicy": "name",
    "gcp:compute/subnetwork:Subnetwork": "name",
    "gcp:container/cluster:Cluster": "name",
    "gcp:dns/managedZone:ManagedZone": "name",
    "gcp:kms/keyRing:KeyRing": "name",
    "gcp:logging/metric:Metric": "name",
    "gcp:logging/projectSink:ProjectSink": "name",
    "gcp:projects/iAMCustomRole:IAMCustomRole": "roleId",
    "gcp:pubsub/subscription:Subscription": "name",
    "gcp:serviceaccount/account:Account": "accountId",
    "gcp:vectorsearch/collection:Collection": "collectionId",
    "gcp:vertex/aiEndpoint:AiEndpoint": "name",
    "gcp:workflows/workflow:Workflow": "name",
}


@graph_rule(
    "isolation-named-once",
    title="No two resources of a kind have the same physical name",
    severity="high",
    why="The second of them is refused in the middle of a deployment, or takes the first one over and they undo each other.",
    remedy="Another name in the description, or another label for scope.names.of(…).",
    controls={"iso-27001": ("A.5.9",), "nist-ai-rmf": ("GOVERN 1.6",)},
)
def isolation_named_once(graph: Graph) -> Found:
    """Within one account or project, and one region or location; a name that is not known yet is not compared."""
    first: dict[tuple[str, ...], Resource] = {}
    for resource in graph.resources.values():
        name = resource.get(_ONCE.get(resource.type, ""), "")
        if not isinstance(name, str) or not name or REFERENCE.search(name):
            continue
        where = (resource.provider, *(str(resource.get(key, "")) for key in ("project", "region", "location")))
        other = first.setdefault((resource.type, name, *where), resource)
        if other is not resource:
            yield Violation(f"{name} is the name of {other.name} too", resource)
