"""What is paid for on Google Cloud, by type of resource."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from components.core.accelerators import MACHINES, machine
from policies.model import Resource
from preview.prices import machines, rates
from preview.prices.asked import HOURS, NOTHING, QUESTION_SECONDS, SECONDS, awake, between, instances, requests, seconds
from preview.prices.aws import flat, run
from preview.prices.items import (
    POOL,
    UNPRICED,
    Item,
    Look,
    Priced,
    amount,
    document,
    fixed,
    gib,
    hours,
    listed,
    ranging,
    untold,
    within,
)

_RULE = "gcp:compute/globalForwardingRule:GlobalForwardingRule"
_GATEWAY = "kubernetes:gateway.networking.k8s.io/v1:Gateway"
_LATER = "known only once it is built"
_MILLION = 1e6
_TOGETHER = 5
"""Forwarding rules that cost as much as one (Cloud Load Balancing pricing)."""
_DISKS: Mapping[str, str] = {
    "pd-standard": "pd-standard",
    "pd-balanced": "pd-balanced",
    "pd-ssd": "pd-ssd",
    "hyperdisk-balanced": "hyperdisk-balanced capacity",
}
_ACCELERATORS: Mapping[str, str] = {"NVIDIA_TESLA_T4": "nvidia-t4"}
"""Those that are attached to a machine which is there without them too; others come with their type."""


# ---- what answers


def _cloud_run(resource: Resource, look: Look) -> Iterator[Item]:
    container = next(listed(resource.get("template.containers")), NOTHING)
    limits = container.get("resources", NOTHING).get("limits", NOTHING)
    scaling = resource.get("scaling", NOTHING)
    least, most = amount(scaling.get("minInstanceCount")) or 0, amount(scaling.get("maxInstanceCount"))
    longest = amount(str(resource.get("template.timeout", "300s")).removesuffix("s")) or 300
    asked = look.endpoint(resource)
    idles = container.get("resources", NOTHING).get("cpuIdle", True)
    redundant = not resource.get("template.gpuZonalRedundancyDisabled")
    yield from _instances(
        resource,
        look,
        asked,
        requests(asked),
        limits,
        least,
        most,
        longest,
        by_request=bool(idles),
        redundant=redundant,
    )


def _instances(
    resource: Resource,
    look: Look,
    asked: Mapping[str, Any],
    calls: float | None,
    limits: Mapping[str, Any],
    least: float,
    most: float | None,
    longest: float,
    *,
    by_request: bool,
    redundant: bool = True,
) -> Iterator[Item]:
    """Instances of Cloud Run: paid while they work, or for as long as they are there.

    Each request is reckoned as if it had an instance for itself: what several share is a saving that nobody promises.
    """
    cpu, memory = amount(limits.get("cpu")), gib(limits.get("memory"))
    if cpu is None or memory is None or most is None:
        yield untold("Cloud Run", _LATER)
        return
    if calls is None:
        working = None
    elif asked.get("kind") == "async":
        working = awake(calls, least, most)
    else:
        working = between(0 if by_request else least, calls * seconds(asked, longest) / SECONDS, most)
    basis = "request-based" if by_request else "instance-based"
    parts = [(f"CPU, {basis}", cpu), (f"memory, {basis}", memory)]
    if devices := amount(limits.get("nvidia.com/gpu")):
        parts.append((f"L4 GPU, {'' if redundant else 'no '}zonal redundancy", devices))
    for sku, each in parts:
        rate = look.rate(resource, "Cloud Run", sku)
        # By request, those that wait cost less; what they cost then has a line of its own.
        low = 0 if by_request else least
        if working is None:
            yield Item(rate=rate, ceiling=most * each * SECONDS, why="its calls are not stated")
        else:
            yield ranging(rate, low, working, most, each * SECONDS)
        if by_request and least:
            yield fixed(look.rate(resource, "Cloud Run", f"{sku.partition(',')[0]}, waiting"), least * each * SECONDS)
    if calls is not None:
        at_most = most * SECONDS / seconds(asked, longest)
        rate = look.rate(resource, "Cloud Run", "requests")
        yield ranging(rate, 0, min(calls, max(at_most, calls)), at_most, 1 / _MILLION)


def _function(resource: Resource, look: Look) -> Iterator[Item]:
    config = resource.get("serviceConfig", NOTHING)
    limits = {"cpu": config.get("availableCpu"), "memory": config.get("availableMemory")}
    calls = look.asked.questions("gcp") if resource.name == "ask-retrieval-function" else None
    yield from _instances(
        resource,
        look,
        NOTHING,
        calls,
        limits,
        amount(config.get("minInstanceCount")) or 0,
        amount(config.get("maxInstanceCount")),
        QUESTION_SECONDS,
        by_request=True,
    )


def _workflow(resource: Resource, look: Look) -> Iterator[Item]:
    """The machines that a workflow asks Vertex AI for: those of an endpoint, of a run over records, of a pipeline's jobs."""
    steps = document(resource.get("sourceContents"))
    yield untold("Workflows", "how many steps it takes is not stated")
    if steps is None:
        yield untold("Vertex AI machines", _LATER)
        return
    asked, region = look.endpoint(resource), look.region(resource)
    for found in within(steps, "dedicatedResources"):
        rate = _node(found, region)
        least, most = amount(found.get("minReplicaCount")), amount(found.get("maxReplicaCount"))
        if amount(found.get("startingReplicaCount")) is not None and most is not None:
            yield run(rate, asked, most)
        elif least is not None and most is not None:
            yield ranging(rate, least, instances(asked, least, most), most, HOURS)
        else:
            yield untold("Vertex AI machines", _LATER)
    yield from _jobs(resource, look, steps)


def _jobs(resource: Resource, look: Look, steps: Any) -> Iterator[Item]:
    pipeline = look.asked.pipelines.get(resource.name.removeprefix("pipelines-"))
    if pipeline is None:
        return
    for job in within(steps, "jobSpec"):
        longest = amount(str(job.get("scheduling", NOTHING).get("timeout", "")).removesuffix("s"))
        for pool in listed(job.get("workerPoolSpecs")):
            count = amount(pool.get("replicaCount")) or 1
            rate = _node(pool, look.region(resource))
            expected = None if longest is None else min(pipeline["runs"] * count * longest / 3600, hours(count))
            yield Item(
                rate=rate, expected=expected, ceiling=hours(count), why="" if longest else "how long it may take"
            )


def _node(found: Mapping[str, Any], region: str) -> rates.Rate:
    spec = found.get("machineSpec", NOTHING)
    return rates.vertex(str(spec.get("machineType")), region, _ACCELERATORS.get(str(spec.get("acceleratorType"))))


def _template(resource: Resource, look: Look) -> Iterator[Item]:
    """Prompts and answers are in the lines of the endpoint; of passages of corpora nobody says how long they are."""
    name = resource.name.removeprefix("guardrails-")
    if any(corpus.get("guardrail") == name for corpus in look.asked.corpora.values()):
        yield untold("Model Armor of corpora", "how long their passages are is not stated")


# ---- what stands in front


def rule(resource: Resource, look: Look) -> Iterator[Item]:
    """A forwarding rule: the first five of a project cost as much as one, which is what the first one says."""
    every = sorted(each.urn for each in look.graph.of_type(_RULE, _GATEWAY))
    place = every.index(resource.urn)
    if 0 < place < _TOGETHER:
        return
    sku = "forwarding rule, additional" if place else "forwarding rule, first five together"
    yield fixed(rates.service("gcp", "Cloud Load Balancing", sku, look.home("gcp")), hours(1))


def _armor(resource: Resource, look: Look) -> Iterator[Item]:
    yield fixed(look.rate(resource, "Cloud Armor", "security policy"), 1)
    yield fixed(look.rate(resource, "Cloud Armor", "rule"), len(list(listed(resource.get("rules")))))
    throttle = amount(resource.name.rpartition("-throttle-")[2])
    place = "kubernetes" if resource.name.startswith("doors") else "managed"
    through = [each for each in look.asked.doors("gcp", place) if each["throttle_rps"] == throttle]
    if through:
        most = len(through) * (throttle or 0) * SECONDS
        rate = look.rate(resource, "Cloud Armor", "requests")
        yield ranging(rate, 0, sum(requests(each) for each in through), most, 1 / _MILLION)


def _api(resource: Resource, look: Look) -> Iterator[Item]:
    """Questions to corpora. Nothing throttles them but the instances behind it, whose ceiling is theirs."""
    calls = look.asked.questions("gcp")
    rate = look.rate(resource, "API Gateway", "calls")
    yield ranging(rate, 0, calls, max(calls, look.asked.questions_rps * SECONDS), 1 / _MILLION)


def _nat(resource: Resource, look: Look) -> Iterator[Item]:
    """By the machine, up to 32 of them: the report says what that comes to at the most, at all times."""
    yield fixed(look.rate(resource, "Cloud NAT", "gateway, cap above 32 VMs"), hours(1))
    yield untold("Cloud NAT data", "bytes that pass it are not stated")


# ---- machines


def _node_pool(resource: Resource, look: Look) -> Iterator[Item]:
    scaling, config = resource.get("autoscaling", NOTHING), resource.get("nodeConfig", NOTHING)
    count = amount(resource.get("nodeCount"))
    zones = resource.get("nodeLocations")
    each = len(cast("list[Any]", zones)) if isinstance(zones, list) else 1
    least, most = (_nodes(scaling, bound, each) if scaling else count for bound in ("Min", "Max"))
    type_ = config.get("machineType")
    if not isinstance(type_, str) or least is None or most is None:
        yield untold("GKE machines", _LATER)
        return
    guest = next(listed(config.get("guestAccelerators")), NOTHING)
    number = amount(guest.get("count"))
    found = next(
        (
            each
            for each in MACHINES
            if (each.cloud, each.type, each.gke_accelerator, each.count) == ("gcp", type_, guest.get("type"), number)
        ),
        machine("gcp", type_),
    )
    region = look.region(resource) or look.home("gcp")
    rate = rates.computer(
        "gcp",
        type_,
        region,
        spot=bool(config.get("spot")),
        accelerator=found.accelerator if found else None,
        count=found.count if found else None,
    )
    disks = [(_disk(config.get("diskType"), region), amount(config.get("diskSizeGb")) or 0)]
    pool = str(config.get("labels", NOTHING).get(POOL, ""))
    yield from machines.nodes(look, pool, found, rate, disks, least, most)


def _nodes(scaling: Mapping[str, Any], bound: str, zones: int) -> float | None:
    """Nodes of all zones together, which is said so or by the zone."""
    together = amount(scaling.get(f"total{bound}NodeCount"))
    if together is not None:
        return together
    by_zone = amount(scaling.get(f"{bound.lower()}NodeCount"))
    return None if by_zone is None else by_zone * zones


def _disk(kind: Any, region: str) -> rates.Rate:
    name = str(kind or "pd-balanced").lower().replace("_", "-")
    return rates.service("gcp", "Compute disks", _DISKS.get(name, name), region, "GB-month")


def _workbench(resource: Resource, look: Look) -> Iterator[Item]:
    setup = resource.get("gceSetup", NOTHING)
    region = look.region(resource)
    for disk in (setup.get("bootDisk"), setup.get("dataDisks")):
        for each in listed([disk] if isinstance(disk, Mapping) else disk):
            yield fixed(_disk(each.get("diskType"), region), amount(each.get("diskSizeGb")) or 0)
    rate = rates.computer("gcp", str(setup.get("machineType")), region)
    yield Item(rate=rate, ceiling=hours(1), why="hours of notebooks are not stated")


# ---- what keeps data


def _sql(resource: Resource, look: Look) -> Iterator[Item]:
    settings = resource.get("settings", NOTHING)
    parts = str(settings.get("tier")).split("-")
    cpu, memory = (
        (amount(part) for part in parts[2:4]) if parts[:2] == ["db", "custom"] and len(parts) == 4 else (None,) * 2
    )
    copies = 2 if settings.get("availabilityType") == "REGIONAL" else 1
    if cpu is None or memory is None:
        yield untold(f"Cloud SQL {settings.get('tier')}", UNPRICED)
    else:
        yield fixed(look.rate(resource, "Cloud SQL", "vCPU, zonal"), hours(cpu * copies))
        yield fixed(look.rate(resource, "Cloud SQL", "memory, zonal"), hours(memory / 1024 * copies))
    disk, most = amount(settings.get("diskSize")) or 10, amount(settings.get("diskAutoresizeLimit")) or 0
    yield ranging(look.rate(resource, "Cloud SQL", "SSD storage"), disk, disk, max(disk, most), copies * HOURS)


def _memorystore(resource: Resource, look: Look) -> Iterator[Item]:
    nodes = (amount(resource.get("shardCount")) or 1) * (1 + (amount(resource.get("replicaCount")) or 0))
    kind = str(resource.get("nodeType", "HIGHMEM_MEDIUM"))
    yield fixed(look.rate(resource, "Memorystore for Valkey", kind, "hour"), hours(nodes))


def _lustre(resource: Resource, look: Look) -> Iterator[Item]:
    speed = f"{resource.get('perUnitStorageThroughput')} MBps per TiB"
    size = amount(resource.get("capacityGib"))
    if size is None:
        yield untold("Managed Lustre", _LATER)
        return
    yield fixed(look.rate(resource, "Managed Lustre", speed, "GiB-month"), size)


def _key(resource: Resource, look: Look) -> Iterator[Item]:
    """A version of the key; those from before a rotation cost as much again, each, for as long as they are kept."""
    template = resource.get("versionTemplate", NOTHING)
    hardware = template.get("protectionLevel", "SOFTWARE") == "HSM"
    curve = hardware and str(template.get("algorithm")).startswith("EC")
    skus = ("software key version", "HSM symmetric or RSA 2048 key version", "HSM EC or larger RSA key version")
    yield fixed(look.rate(resource, "Cloud KMS", skus[hardware + curve]), 1)


def _alert(resource: Resource, look: Look) -> Iterator[Item]:
    rate = look.rate(resource, "Cloud Monitoring", "alert condition")
    yield fixed(rate, len(list(listed(resource.get("conditions")))))


PRICED: Mapping[str, Priced] = {
    "gcp:apigateway/gateway:Gateway": _api,
    "gcp:cloudfunctionsv2/function:Function": _function,
    "gcp:cloudrunv2/service:Service": _cloud_run,
    _RULE: rule,
    "gcp:cloudscheduler/job:Job": flat("Cloud Scheduler", "job", 1),
    "gcp:compute/routerNat:RouterNat": _nat,
    "gcp:compute/securityPolicy:SecurityPolicy": _armor,
    "gcp:container/cluster:Cluster": flat("GKE", "cluster management fee", hours(1)),
    "gcp:container/nodePool:NodePool": _node_pool,
    "gcp:dns/managedZone:ManagedZone": flat("Cloud DNS", "managed zone", 1),
    "gcp:kms/cryptoKey:CryptoKey": _key,
    "gcp:lustre/instance:Instance": _lustre,
    "gcp:memorystore/instance:Instance": _memorystore,
    "gcp:modelarmor/template:Template": _template,
    "gcp:monitoring/alertPolicy:AlertPolicy": _alert,
    "gcp:secretmanager/secret:Secret": flat("Secret Manager", "active secret version", 1),
    "gcp:sql/databaseInstance:DatabaseInstance": _sql,
    "gcp:workbench/instance:Instance": _workbench,
    "gcp:workflows/workflow:Workflow": _workflow,
}
"""What of a resource is paid for. A new type is one line here, in `FREE` or in `UNKNOWN`."""

_STORED, _MESSAGES = "what is stored is not stated", "how many messages there are is not stated"

UNKNOWN: Mapping[str, str] = {
    "gcp:artifactregistry/repository:Repository": _STORED,
    "gcp:bigquery/dataset:Dataset": _STORED,
    "gcp:colab/runtimeTemplate:RuntimeTemplate": "hours of notebooks are not stated",
    "gcp:compute/backendService:BackendService": "bytes that pass it are not stated",
    "gcp:compute/network:Network": "bytes that leave are not stated",
    "gcp:logging/metric:Metric": "samples of metrics are not counted",
    "gcp:logging/projectBucketConfig:ProjectBucketConfig": "what is logged is not stated",
    "gcp:pubsub/subscription:Subscription": _MESSAGES,
    "gcp:pubsub/topic:Topic": _MESSAGES,
    "gcp:storage/bucket:Bucket": _STORED,
    "gcp:vectorsearch/collection:Collection": UNPRICED,
    "gcp:vertex/aiMetadataStore:AiMetadataStore": _STORED,
    "gcp:vertex/aiTensorboard:AiTensorboard": _STORED,
}
"""What is paid for, of which it is not known how much: why."""

FREE = frozenset(
    {
        "gcp:accesscontextmanager/",
        "gcp:apigateway/api:Api",
        "gcp:apigateway/apiConfig:ApiConfig",
        "gcp:artifactregistry/repositoryIamMember:RepositoryIamMember",
        "gcp:bigquery/datasetIamMember:DatasetIamMember",
        "gcp:bigquery/iamMember:IamMember",
        "gcp:bigquery/table:Table",  # its dataset says what is not known
        "gcp:billing/budget:Budget",
        "gcp:binaryauthorization/",  # of GKE, with the cluster's fee
        "gcp:certificatemanager/",  # the first hundred certificates
        "gcp:cloudquota/sQuotaPreference:SQuotaPreference",
        "gcp:cloudrunv2/serviceIamMember:ServiceIamMember",
        "gcp:colab/runtimeTemplateIamMember:RuntimeTemplateIamMember",
        "gcp:compute/globalAddress:GlobalAddress",  # in use by a forwarding rule, or inside of the network
        "gcp:compute/networkFirewallPolicy:NetworkFirewallPolicy",  # the essentials tier
        "gcp:compute/networkFirewallPolicyAssociation:NetworkFirewallPolicyAssociation",
        "gcp:compute/networkFirewallPolicyRule:NetworkFirewallPolicyRule",
        "gcp:compute/regionNetworkEndpointGroup:RegionNetworkEndpointGroup",
        "gcp:compute/route:Route",
        "gcp:compute/router:Router",
        "gcp:compute/sSLPolicy:SSLPolicy",
        "gcp:compute/subnetwork:Subnetwork",
        "gcp:compute/targetHttpProxy:TargetHttpProxy",
        "gcp:compute/targetHttpsProxy:TargetHttpsProxy",
        "gcp:compute/uRLMap:URLMap",
        "gcp:containeranalysis/",
        "gcp:dataloss/preventionInspectTemplate:PreventionInspectTemplate",  # what it looks at is Model Armor's
        "gcp:dns/policy:Policy",
        "gcp:dns/recordSet:RecordSet",
        "gcp:iam/",
        "gcp:kms/cryptoKeyIAMMember:CryptoKeyIAMMember",
        "gcp:kms/keyRing:KeyRing",
        "gcp:logging/projectExclusion:ProjectExclusion",
        "gcp:logging/projectSink:ProjectSink",
        "gcp:memorystore/aclPolicy:AclPolicy",
        "gcp:modelarmor/floorsetting:Floorsetting",
        "gcp:monitoring/dashboard:Dashboard",
        "gcp:monitoring/notificationChannel:NotificationChannel",
        "gcp:networkconnectivity/serviceConnectionPolicy:ServiceConnectionPolicy",
        "gcp:orgpolicy/policy:Policy",
        "gcp:projects/",
        "gcp:pubsub/subscriptionIAMMember:SubscriptionIAMMember",
        "gcp:pubsub/topicIAMMember:TopicIAMMember",
        "gcp:secretmanager/secretIamMember:SecretIamMember",
        "gcp:secretmanager/secretVersion:SecretVersion",  # its secret is paid for
        "gcp:serviceaccount/",
        "gcp:servicenetworking/connection:Connection",
        "gcp:serviceusage/consumerQuotaOverride:ConsumerQuotaOverride",
        "gcp:sql/database:Database",
        "gcp:sql/user:User",
        "gcp:storage/bucketIAMMember:BucketIAMMember",
        "gcp:storage/bucketObject:BucketObject",
        "gcp:storage/notification:Notification",
        "gcp:vertex/aiEndpoint:AiEndpoint",  # the workflow that deploys to it has its machines
        "gcp:vertex/aiEndpointIamMember:AiEndpointIamMember",
        "gcp:workbench/instanceIamMember:InstanceIamMember",
    }
)  # fmt: skip
"""What costs nothing itself. One that ends in `/` stands for all that begin so."""
