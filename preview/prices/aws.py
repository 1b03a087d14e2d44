"""What is paid for on AWS, by type of resource."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, cast

from components.core.accelerators import machine
from policies.model import Resource
from preview.prices import machines, rates
from preview.prices.asked import (
    DAYS,
    HOURS,
    NOTHING,
    QUESTION_SECONDS,
    SECONDS,
    awake,
    between,
    instances,
    requests,
    seconds,
)
from preview.prices.items import (
    OFFERED,
    POOL,
    UNPRICED,
    Item,
    Look,
    Priced,
    amount,
    document,
    fixed,
    hours,
    listed,
    ranging,
    untold,
    within,
)

_TARGET = "aws:appautoscaling/target:Target"
_CONFIGURATION = "aws:sagemaker/endpointConfiguration:EndpointConfiguration"
_FUNCTION = "aws:lambda/function:Function"
_STAGE = "aws:apigatewayv2/stage:Stage"
_TASK = "aws:ecs/taskDefinition:TaskDefinition"
_TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
_INSTANCE = "aws:rds/clusterInstance:ClusterInstance"

_LATER = "known only once it is built"
_MILLION = 1e6
_CONNECTIONS = 25
"""New connections a second that one capacity unit of a load balancer has (Elastic Load Balancing pricing: LCU)."""
_LEAST_ACU = 0.5
"""What a database that wakes up starts with (Aurora User Guide, "Scaling to Zero ACUs": 0, or 0.5 and more)."""
_LEAST_CACHED_GB = 0.1
"""What a serverless cache of Valkey is billed for at least (Amazon ElastiCache pricing: 100 MB)."""
_CHARACTERS = 4
"""Of a token, roughly: a text unit of a guardrail is 1,000 characters (Amazon Bedrock pricing)."""


def flat(service: str, sku: str, units: float) -> Priced:
    """Something that costs the same whatever is asked of it."""

    def priced(resource: Resource, look: Look) -> Iterator[Item]:
        yield fixed(look.rate(resource, service, sku), units)

    return priced


# ---- what answers


def _endpoint(resource: Resource, look: Look) -> Iterator[Item]:
    configuration = look.linked(resource, "endpointConfigName", _CONFIGURATION)
    if configuration is None:
        yield untold("SageMaker endpoint", _LATER)
        return
    for variants in ("productionVariants", "shadowProductionVariants"):
        for variant in listed(configuration.get(variants)):
            yield from _variant(resource, look, variant)


def _variant(resource: Resource, look: Look, variant: Mapping[str, Any]) -> Iterator[Item]:
    asked = look.endpoint(resource)
    if serverless := variant.get("serverlessConfig"):
        size, most = (amount(serverless.get(key)) for key in ("memorySizeInMb", "maxConcurrency"))
        rate = look.rate(resource, "SageMaker", "serverless inference compute")
        warm = amount(serverless.get("provisionedConcurrency")) or 0
        used = requests(asked) * seconds(asked, 60) / SECONDS
        yield ranging(rate, warm, between(warm, used, most or 0), most or 0, SECONDS * (size or 0) / 1024)
        return
    type_, first = variant.get("instanceType"), amount(variant.get("initialInstanceCount"))
    if not isinstance(type_, str) or first is None:
        yield untold("SageMaker instances", _LATER)
        return
    scaled = look.graph.where(
        _TARGET, "resourceId", f"endpoint/{resource.get('name')}/variant/{variant.get('variantName')}"
    )
    least, most = _bounds(scaled, first)
    yield ranging(rates.sagemaker(type_, look.region(resource)), least, instances(asked, least, most), most, HOURS)


def _bounds(targets: list[Resource], count: float) -> tuple[float, float]:
    """How many at least and at most: as they are scaled, else as many as there are."""
    for target in targets:
        least, most = amount(target.get("minCapacity")), amount(target.get("maxCapacity"))
        if least is not None and most is not None:
            return least, most
    return count, count


def _service(resource: Resource, look: Look) -> Iterator[Item]:
    task = look.linked(resource, "taskDefinition", _TASK)
    cpu, memory = (amount(task.get(key)) if task else None for key in ("cpu", "memory"))
    if task is None or cpu is None or memory is None:
        yield untold("Fargate tasks", _LATER)
        return
    suffix = "arm64" if task.get("runtimePlatform.cpuArchitecture") == "ARM64" else "x86"
    cluster = look.linked(resource, "cluster", "aws:ecs/cluster:Cluster")
    named = f"service/{cluster.get('name') if cluster else ''}/{resource.get('name')}"
    scaled = look.graph.where(_TARGET, "resourceId", named)
    least, most = _bounds(scaled, amount(resource.get("desiredCount")) or 0)
    expected = instances(look.endpoint(resource), least, most)
    for sku, each in (("vCPU", cpu / 1024), ("memory", memory / 1024)):
        yield ranging(look.rate(resource, "Fargate", f"{sku} {suffix}"), least, expected, most, each * HOURS)


def _function(resource: Resource, look: Look) -> Iterator[Item]:
    size, limit = amount(resource.get("memorySize")), amount(resource.get("timeout")) or 3
    if size is None:
        yield untold("Lambda", _LATER)
        return
    asked, name = look.endpoint(resource), look.named(resource)
    calls: float | None = None
    if name and resource.name == f"{name}-function":
        calls = requests(asked)
    elif resource.name == "ask-retrieval-function":
        calls = look.asked.questions("aws")
    takes = seconds(asked, limit) if name else min(QUESTION_SECONDS, limit)
    most = amount(resource.get("reservedConcurrentExecutions"))
    used = look.rate(resource, "Lambda", f"duration {_architecture(resource)}")
    each = SECONDS * size / 1024
    ceiling = most * each if most is not None else None
    unbounded = "" if most is not None else "nothing bounds how many run at once"
    if calls is None:
        yield Item(rate=used, ceiling=ceiling, why="its calls are not stated")
        return
    expected = calls * takes * size / 1024
    yield Item(
        rate=used,
        expected=expected if ceiling is None else min(expected, ceiling),
        ceiling=ceiling,
        why=unbounded,
    )
    at_most = None if most is None else most * SECONDS / takes / _MILLION
    counted = calls / _MILLION
    yield Item(
        rate=look.rate(resource, "Lambda", "requests"),
        expected=counted if at_most is None else min(counted, at_most),
        ceiling=at_most,
        why=unbounded,
    )


def _architecture(function: Resource) -> str:
    return "arm64" if function.get("architectures", ["x86_64"]) == ["arm64"] else "x86"


def _warm(resource: Resource, look: Look) -> Iterator[Item]:
    of = look.graph.where(_FUNCTION, "name", str(resource.get("functionName")))
    count = amount(resource.get("provisionedConcurrentExecutions"))
    size = amount(of[0].get("memorySize")) if of else None
    if size is None or count is None:
        yield untold("Lambda provisioned concurrency", _LATER)
        return
    rate = look.rate(resource, "Lambda", f"provisioned concurrency {_architecture(of[0])}")
    yield fixed(rate, count * SECONDS * size / 1024)


def _model(resource: Resource, look: Look) -> Iterator[Item]:
    """A language model: the component stands for it, for no cloud has a resource of one that is paid by the token."""
    asked = look.asked.endpoints.get(resource.name, NOTHING)
    if asked.get("kind") == "llm":
        yield from guarded(asked, look)
        if asked["where"] == "managed" and not asked.get("units"):
            yield from _tokens(asked, look)


def _tokens(asked: Mapping[str, Any], look: Look) -> Iterator[Item]:
    """Tokens of a language model of the cloud itself; as many a minute as its ceiling allows."""
    cloud = asked["cloud"]
    service = "Bedrock" if cloud == "aws" else "Vertex AI models"
    name = str(asked.get("model", "")).rpartition("/")[2].partition("@")[0]
    if name.split(".")[0] in {"us", "eu", "apac", "global"}:
        name = name.partition(".")[2]
    objective = asked["objective"]
    sides = {"input": objective["input_tokens"], "output": objective["output_tokens"]}
    most = asked["tokens_per_minute"] * 60 * HOURS / sum(sides.values())
    for side, count in sides.items():
        rate = rates.service(cloud, service, f"{name} {side}", look.home(cloud), "million tokens")
        each = count / _MILLION
        yield ranging(rate, 0, requests(asked), most, each)


def _bought(_resource: Resource, _look: Look) -> Iterator[Item]:
    yield untold("Bedrock model units", OFFERED)


def _guardrail(resource: Resource, look: Look) -> Iterator[Item]:
    """Prompts and answers are in the lines of the endpoint; of passages of corpora nobody says how long they are."""
    name = resource.name.removeprefix("guardrails-")
    if any(corpus.get("guardrail") == name for corpus in look.asked.corpora.values()):
        yield untold("Guardrails of corpora", "how long their passages are is not stated")


_FILTERS: Mapping[str, str] = {
    "Guardrails content filter": "contentPolicyConfig",
    "Guardrails denied topics": "topicPolicyConfig",
    "Guardrails sensitive information filter": "sensitiveInformationPolicyConfig",
}


def guarded(asked: Mapping[str, Any], look: Look) -> Iterator[Item]:
    """What a guardrail costs that prompts and answers of a language model pass: by the text, or by the token on Google Cloud."""
    cloud, named = asked.get("cloud", ""), f"guardrails-{asked.get('guardrail')}"
    objective = asked.get("objective", NOTHING)
    sides = [objective.get("input_tokens", 0), objective.get("output_tokens", 0)]
    most = asked.get("tokens_per_minute", 0) * 60 * HOURS / max(1, sum(sides))
    if cloud == "gcp" and "guardrail" in asked:
        rate = rates.service("gcp", "Model Armor", "tokens", look.home("gcp"))
        yield ranging(rate, 0, requests(asked), most, sum(sides) / _MILLION)
    units = sum(math.ceil(side * _CHARACTERS / 1000) for side in sides)
    for guardrail in look.graph.of_type("aws:bedrock/guardrail:Guardrail"):
        for sku, property_ in _FILTERS.items():
            if guardrail.name == named and guardrail.get(property_):
                yield ranging(look.rate(guardrail, "Bedrock", sku), 0, requests(asked), most, units / 1000)


def _state_machine(resource: Resource, look: Look) -> Iterator[Item]:
    """A run over many records: its machines, for as long as the objective allows."""
    definition = document(resource.get("definition"))
    asked = look.endpoint(resource)
    yield untold("Step Functions", "how many steps it takes is not stated")
    if definition is None:
        yield untold("Step Functions", _LATER)
        return
    for found in within(definition, "TransformResources"):
        type_, count = found.get("InstanceType"), amount(found.get("InstanceCount"))
        if isinstance(type_, str) and count is not None:
            yield _run(rates.sagemaker(type_, look.region(resource)), asked, count)


def _run(rate: rates.Rate, asked: Mapping[str, Any], count: float) -> Item:
    runs, finish = asked.get("runs"), asked.get("objective", NOTHING).get("finish_hours", 24)
    most = hours(count)
    if runs is None:
        return Item(rate=rate, ceiling=most, why="runs when somebody starts it")
    return Item(rate=rate, expected=min(runs * finish * count, most), ceiling=most)


run = _run
"""A run's machines, as they are on either cloud."""


def _pipeline(resource: Resource, look: Look) -> Iterator[Item]:
    definition = document(resource.get("pipelineDefinition"))
    if definition is None:
        yield untold("SageMaker pipeline", _LATER)
        return
    runs = look.asked.pipelines.get(resource.name.removeprefix("pipelines-"), NOTHING).get("runs", 0)
    for step in listed(definition.get("Steps")):
        arguments = step.get("Arguments", {})
        longest = amount(arguments.get("StoppingCondition", {}).get("MaxRuntimeInSeconds"))
        for key in ("ResourceConfig", "ClusterConfig"):
            for found in within(arguments, key):
                count = amount(found.get("InstanceCount"))
                if count is not None and longest is not None:
                    rate = rates.sagemaker(str(found.get("InstanceType")), look.region(resource))
                    used = runs * count * longest / 3600
                    yield Item(rate=rate, expected=min(used, hours(count)), ceiling=hours(count))


def _space(resource: Resource, look: Look) -> Iterator[Item]:
    for found in within(dict(resource.inputs), "instanceType"):
        rate = rates.sagemaker(str(found), look.region(resource))
        yield Item(rate=rate, ceiling=hours(1), why="hours of notebooks are not stated")
        return


# ---- what stands in front


def _balancer(resource: Resource, look: Look) -> Iterator[Item]:
    network = resource.get("loadBalancerType") == "network"
    kind, unit = ("Network Load Balancer", "NLB LCU") if network else ("Application Load Balancer", "ALB LCU")
    yield fixed(look.rate(resource, "ELB", kind), hours(1))
    doors = look.asked.doors("aws")
    expected = sum(requests(each) for each in doors) / SECONDS / _CONNECTIONS
    most = sum(each["throttle_rps"] for each in doors) / _CONNECTIONS
    yield ranging(look.rate(resource, "ELB", unit), 0, expected, most, HOURS)


def _firewall(resource: Resource, look: Look) -> Iterator[Item]:
    yield fixed(look.rate(resource, "WAF", "web ACL"), 1)
    yield fixed(look.rate(resource, "WAF", "rule"), len(list(listed(resource.get("rules")))))
    doors = look.asked.doors("aws")
    most = sum(each["throttle_rps"] for each in doors) * SECONDS
    yield ranging(look.rate(resource, "WAF", "requests"), 0, sum(requests(each) for each in doors), most, 1 / _MILLION)


def _api(resource: Resource, look: Look) -> Iterator[Item]:
    stages = look.graph.linked(resource.urn, _STAGE, "apiId")
    rate = next(
        (found for each in stages if (found := amount(each.get("defaultRouteSettings.throttlingRateLimit")))), None
    )
    most = None if rate is None else rate * SECONDS / _MILLION
    expected = look.asked.questions("aws") / _MILLION
    yield Item(
        rate=look.rate(resource, "API Gateway", "HTTP API"),
        expected=expected if most is None else min(expected, most),
        ceiling=most,
        why="" if most is not None else "nothing throttles it",
    )


def _nat(resource: Resource, look: Look) -> Iterator[Item]:
    yield fixed(look.rate(resource, "VPC", "NAT gateway"), hours(1))
    yield untold("VPC NAT gateway data", "bytes that pass it are not stated")


def _interface(resource: Resource, look: Look) -> Iterator[Item]:
    if resource.get("vpcEndpointType", "Gateway") == "Interface":
        zones = resource.get("subnetIds")
        count = len(cast("list[Any]", zones)) if isinstance(zones, list) else 1
        yield fixed(look.rate(resource, "VPC", "interface endpoint, per AZ"), hours(count))


# ---- machines


def _node_group(resource: Resource, look: Look) -> Iterator[Item]:
    template = look.linked(resource, "launchTemplate", _TEMPLATE)
    type_ = template.get("instanceType") if template else None
    least, most = (amount(resource.get(f"scalingConfig.{key}")) for key in ("minSize", "maxSize"))
    if template is None or not isinstance(type_, str) or least is None or most is None:
        yield untold("EKS machines", _LATER)
        return
    if resource.get("capacityType") == "CAPACITY_BLOCK":
        yield untold(f"EC2 {type_} in a block", OFFERED)
        return
    spot = resource.get("capacityType") == "SPOT"
    rate = rates.computer("aws", type_, look.region(resource), spot=spot)
    sizes = (amount(each.get("ebs", {}).get("volumeSize")) for each in listed(template.get("blockDeviceMappings")))
    disks = [(look.rate(resource, "EBS", "gp3 storage"), size or 0) for size in sizes]
    pool = str(resource.get("labels", {}).get(POOL, ""))
    yield from machines.nodes(look, pool, machine("aws", type_), rate, disks, least, most)


def _batch(resource: Resource, look: Look) -> Iterator[Item]:
    spot = resource.get("computeResources.type") == "SPOT"
    types = resource.get("computeResources.instanceTypes", [])
    least, most = (amount(resource.get(f"computeResources.{key}")) for key in ("minVcpus", "maxVcpus"))
    known = [found for each in types if (found := machine("aws", str(each)))]
    if not known or most is None:
        yield untold("Batch machines", _LATER)
        return
    rate, found = machines.dearest("aws", known, look.region(resource), spot=spot)
    low = hours((least or 0) / found.vcpus)
    yield Item(rate=rate, idle=low, ceiling=hours(most / found.vcpus), why=machines.JOBS)


def _cloud_control(resource: Resource, look: Look) -> Iterator[Item]:
    """What the provider has no type for: machines of HyperPod are there for as long as their group is."""
    if resource.get("typeName") != "AWS::SageMaker::Cluster":
        yield untold(str(resource.get("typeName")), "paid by what devices do")
        return
    state = document(resource.get("desiredState")) or {}
    for group in listed(state.get("InstanceGroups")):
        type_, count = group.get("InstanceType"), amount(group.get("InstanceCount"))
        if isinstance(type_, str) and count is not None:
            yield fixed(look.rate(resource, "SageMaker HyperPod", type_, "hour"), hours(count))


# ---- what keeps data


def _aurora(resource: Resource, look: Look) -> Iterator[Item]:
    scaling = resource.get("serverlessv2ScalingConfiguration", {})
    least, most = (amount(scaling.get(key)) for key in ("minCapacity", "maxCapacity"))
    count = len(look.graph.linked(resource.urn, _INSTANCE, "clusterIdentifier"))
    if least is None or most is None:
        yield untold("Aurora", _LATER)
        return
    pause = amount(scaling.get("secondsUntilAutoPause")) or 0
    up = awake(look.asked.questions("aws", "database"), 0, 1, pause) if least == 0 else 1
    rate = look.rate(resource, "Aurora Serverless v2", "ACU, standard")
    yield ranging(rate, least, up * max(least, _LEAST_ACU), most, count * HOURS)
    yield untold("Aurora storage", "what is stored is not stated")


def _aurora_instance(resource: Resource, _look: Look) -> Iterator[Item]:
    if resource.get("instanceClass") != "db.serverless":  # else its cluster says what it has
        yield untold(f"RDS {resource.get('instanceClass')}", UNPRICED)


def _database(resource: Resource, look: Look) -> Iterator[Item]:
    copies = 2 if resource.get("multiAz") else 1
    rate = look.rate(resource, "RDS for PostgreSQL", str(resource.get("instanceClass")), "hour")
    yield fixed(rate, hours(copies))
    disk, most = (amount(resource.get(key)) or 0 for key in ("allocatedStorage", "maxAllocatedStorage"))
    yield ranging(look.rate(resource, "RDS for PostgreSQL", "gp3 storage"), disk, disk, max(disk, most), copies)


def _cache(resource: Resource, look: Look) -> Iterator[Item]:
    size = amount(resource.get("cacheUsageLimits.dataStorage.maximum"))
    rate = look.rate(resource, "ElastiCache Serverless", "Valkey data stored")
    yield Item(
        rate=rate,
        idle=hours(_LEAST_CACHED_GB),
        ceiling=hours(size) if size is not None else None,
        why="how much it keeps is not stated",
    )
    units = next(
        (amount(each.get("maximum")) for each in listed(resource.get("cacheUsageLimits.ecpuPerSeconds"))), None
    )
    yield Item(
        rate=look.rate(resource, "ElastiCache Serverless", "Valkey ECPU"),
        ceiling=units * SECONDS / _MILLION if units is not None else None,
        why="how often it is asked is not stated",
    )


def _lustre(resource: Resource, look: Look) -> Iterator[Item]:
    size, speed = amount(resource.get("storageCapacity")), resource.get("perUnitStorageThroughput")
    kind = "SSD scratch"
    if str(resource.get("deploymentType")).startswith("PERSISTENT"):
        kind = f"SSD persistent, {amount(speed) or 0:.0f} MB/s per TiB"
    if size is None:
        yield untold("FSx for Lustre", _LATER)
        return
    yield fixed(look.rate(resource, "FSx for Lustre", kind, "GB-month"), size)


def _vectors(resource: Resource, look: Look) -> Iterator[Item]:
    """Text that is stated is kept beside its vectors: 1,200 characters of a passage take 4 kB as 1,024 numbers."""
    corpus = look.asked.corpora.get(resource.name.removeprefix("corpora-").removesuffix("-index"), NOTHING)
    if not corpus:
        yield untold("S3 Vectors", "what is stored is not stated")
        return
    dimensions = amount(resource.get("dimension")) or 0
    stored = corpus["documents_gib"] * (1 + dimensions * 4 / 1200)
    rate = look.rate(resource, "S3 Vectors", "storage")
    yield Item(rate=rate, idle=stored, expected=stored, ceiling=stored)
    rate = look.rate(resource, "S3 Vectors", "query requests")
    most = look.asked.questions_rps * SECONDS / 1000
    yield ranging(rate, 0, min(corpus["questions"] / 1000, most), most)


def called(resource: Resource, look: Look) -> Iterator[Item]:
    """The cloud's own models for a task: how often they are called is stated, what a call costs depends on what is sent."""
    cloud = resource.type.split(":")[1]
    for name, each in sorted(look.asked.services.items()):
        if each["cloud"] == cloud:
            calls = each["calls_per_day"] * DAYS
            rate = rates.service(cloud, "Pre-trained", name, look.home(cloud), "call")
            yield Item(rate=rate, expected=calls, why="what a call costs depends on what is sent")


# ---- watching


def _alarm(resource: Resource, look: Look) -> Iterator[Item]:
    metrics = sum("metric" in each for each in listed(resource.get("metricQueries")))
    yield fixed(look.rate(resource, "CloudWatch", "alarm"), max(1, metrics))


def _analyzer(resource: Resource, look: Look) -> Iterator[Item]:
    """That of access from outside costs nothing; that of unused access looks at each role."""
    if resource.get("type") == "ACCOUNT_UNUSED_ACCESS":
        roles = len(look.graph.of_type("aws:iam/role:Role"))
        yield fixed(look.rate(resource, "IAM Access Analyzer", "role, unused access"), roles)


def _secret(resource: Resource, look: Look) -> Iterator[Item]:
    yield fixed(look.rate(resource, "Secrets Manager", "secret"), 1 + len(list(listed(resource.get("replicas")))))


PRICED: Mapping[str, Priced] = {
    "ai-platform:aws:Llm": _model,
    "ai-platform:aws:Services": called,
    "ai-platform:gcp:Llm": _model,
    "ai-platform:gcp:Services": called,
    "ai-platform:kubernetes:Llm": _model,
    "aws:accessanalyzer/analyzer:Analyzer": _analyzer,
    "aws:apigatewayv2/api:Api": _api,
    "aws:batch/computeEnvironment:ComputeEnvironment": _batch,
    "aws:bedrock/guardrail:Guardrail": _guardrail,
    "aws:bedrock/provisionedModelThroughput:ProvisionedModelThroughput": _bought,
    "aws:cloudcontrol/resource:Resource": _cloud_control,
    "aws:cloudwatch/dashboard:Dashboard": flat("CloudWatch", "dashboard", 1),
    "aws:cloudwatch/metricAlarm:MetricAlarm": _alarm,
    "aws:ec2/eip:Eip": flat("VPC", "public IPv4 address", hours(1)),
    "aws:ec2/natGateway:NatGateway": _nat,
    "aws:ec2/vpcEndpoint:VpcEndpoint": _interface,
    "aws:ecs/service:Service": _service,
    "aws:eks/cluster:Cluster": flat("EKS", "control plane", hours(1)),
    "aws:eks/nodeGroup:NodeGroup": _node_group,
    "aws:elasticache/serverlessCache:ServerlessCache": _cache,
    "aws:fsx/lustreFileSystem:LustreFileSystem": _lustre,
    "aws:kms/key:Key": flat("KMS", "customer managed key", 1),
    "aws:kms/replicaKey:ReplicaKey": flat("KMS", "customer managed key", 1),
    "aws:lambda/function:Function": _function,
    "aws:lambda/provisionedConcurrencyConfig:ProvisionedConcurrencyConfig": _warm,
    "aws:lb/loadBalancer:LoadBalancer": _balancer,
    "aws:rds/cluster:Cluster": _aurora,
    "aws:rds/clusterInstance:ClusterInstance": _aurora_instance,
    "aws:rds/instance:Instance": _database,
    "aws:route53/zone:Zone": flat("Route 53", "hosted zone", 1),
    "aws:s3/vectorsIndex:VectorsIndex": _vectors,
    "aws:sagemaker/endpoint:Endpoint": _endpoint,
    "aws:sagemaker/pipeline:Pipeline": _pipeline,
    "aws:sagemaker/space:Space": _space,
    "aws:secretsmanager/secret:Secret": _secret,
    "aws:sfn/stateMachine:StateMachine": _state_machine,
    "aws:wafv2/webAcl:WebAcl": _firewall,
}
"""What of a resource is paid for. A new type is one line here, in `FREE` or in `UNKNOWN`."""

_STORED, _MESSAGES = "what is stored is not stated", "how many messages there are is not stated"

UNKNOWN: Mapping[str, str] = {
    "aws:amp/scraper:Scraper": UNPRICED,
    "aws:bedrock/agentKnowledgeBase:AgentKnowledgeBase": "tokens to embed are not stated",
    "aws:cloudwatch/logGroup:LogGroup": "what is logged is not stated",
    "aws:cloudwatch/logMetricFilter:LogMetricFilter": "paid as a metric while it has values",
    "aws:ec2/flowLog:FlowLog": "what is logged is not stated",
    "aws:ec2/internetGateway:InternetGateway": "bytes that leave are not stated",
    "aws:ecr/repository:Repository": _STORED,
    "aws:eks/addon:Addon": "metrics of the cluster are not counted",
    "aws:fsx/dataRepositoryAssociation:DataRepositoryAssociation": "requests to its bucket are not stated",
    "aws:iot/topicRule:TopicRule": _MESSAGES,
    "aws:s3/bucket:Bucket": _STORED,
    "aws:s3/bucketReplicationConfig:BucketReplicationConfig": "what is copied is not stated",
    "aws:scheduler/schedule:Schedule": "paid by the invocation: nothing at a few a day",
    "aws:sns/topic:Topic": _MESSAGES,
    "aws:sqs/queue:Queue": _MESSAGES,
}
"""What is paid for, of which it is not known how much: why."""

FREE = frozenset(
    {
        "aws:acm/certificate:Certificate",
        "aws:acm/certificateValidation:CertificateValidation",
        "aws:apigatewayv2/authorizer:Authorizer",
        "aws:apigatewayv2/integration:Integration",
        "aws:apigatewayv2/route:Route",
        _STAGE,
        "aws:appautoscaling/policy:Policy",
        _TARGET,
        "aws:autoscaling/schedule:Schedule",
        "aws:batch/jobDefinition:JobDefinition",
        "aws:batch/jobQueue:JobQueue",
        "aws:batch/schedulingPolicy:SchedulingPolicy",
        "aws:bedrock/agentDataSource:AgentDataSource",
        "aws:bedrock/guardrailVersion:GuardrailVersion",
        "aws:bedrock/inferenceProfile:InferenceProfile",  # the component of the language model has its tokens
        "aws:bedrockmodel/invocationLoggingConfiguration:InvocationLoggingConfiguration",
        "aws:budgets/budget:Budget",  # without actions
        "aws:cloudwatch/eventRule:EventRule",  # of the services' own events
        "aws:cloudwatch/eventTarget:EventTarget",
        "aws:cloudwatch/logResourcePolicy:LogResourcePolicy",
        "aws:codedeploy/application:Application",
        "aws:codedeploy/deploymentConfig:DeploymentConfig",
        "aws:codedeploy/deploymentGroup:DeploymentGroup",
        "aws:costexplorer/costAllocationTag:CostAllocationTag",
        "aws:ebs/defaultKmsKey:DefaultKmsKey",
        "aws:ebs/encryptionByDefault:EncryptionByDefault",
        "aws:ebs/snapshotBlockPublicAccess:SnapshotBlockPublicAccess",
        "aws:ec2/defaultRouteTable:DefaultRouteTable",
        "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
        "aws:ec2/imageBlockPublicAccess:ImageBlockPublicAccess",
        "aws:ec2/instanceMetadataDefaults:InstanceMetadataDefaults",
        _TEMPLATE,
        "aws:ec2/networkAcl:NetworkAcl",
        "aws:ec2/placementGroup:PlacementGroup",
        "aws:ec2/route:Route",
        "aws:ec2/routeTable:RouteTable",
        "aws:ec2/routeTableAssociation:RouteTableAssociation",
        "aws:ec2/securityGroup:SecurityGroup",
        "aws:ec2/serialConsoleAccess:SerialConsoleAccess",
        "aws:ec2/subnet:Subnet",
        "aws:ec2/vpc:Vpc",
        "aws:ecr/lifecyclePolicy:LifecyclePolicy",
        "aws:ecr/pullThroughCacheRule:PullThroughCacheRule",
        "aws:ecr/registryScanningConfiguration:RegistryScanningConfiguration",
        "aws:ecr/replicationConfiguration:ReplicationConfiguration",
        "aws:ecr/repositoryCreationTemplate:RepositoryCreationTemplate",
        "aws:ecr/repositoryPolicy:RepositoryPolicy",
        "aws:ecs/cluster:Cluster",
        _TASK,
        "aws:eks/accessEntry:AccessEntry",
        "aws:eks/accessPolicyAssociation:AccessPolicyAssociation",
        "aws:eks/podIdentityAssociation:PodIdentityAssociation",
        "aws:elasticache/user:User",
        "aws:elasticache/userGroup:UserGroup",
        "aws:iam/",
        "aws:iot/eventConfigurations:EventConfigurations",
        "aws:iot/indexingConfiguration:IndexingConfiguration",
        "aws:iot/loggingOptions:LoggingOptions",
        "aws:iot/policy:Policy",
        "aws:iot/roleAlias:RoleAlias",
        "aws:iot/thingGroup:ThingGroup",
        "aws:iot/thingType:ThingType",
        "aws:kms/alias:Alias",
        "aws:lambda/alias:Alias",
        "aws:lambda/eventSourceMapping:EventSourceMapping",
        "aws:lambda/invocation:Invocation",
        "aws:lambda/permission:Permission",
        "aws:lb/listener:Listener",
        "aws:lb/listenerRule:ListenerRule",
        "aws:lb/targetGroup:TargetGroup",
        "aws:lb/targetGroupAttachment:TargetGroupAttachment",
        "aws:rds/clusterParameterGroup:ClusterParameterGroup",
        "aws:rds/parameterGroup:ParameterGroup",
        "aws:rds/subnetGroup:SubnetGroup",
        "aws:route53/record:Record",
        "aws:s3/accountPublicAccessBlock:AccountPublicAccessBlock",
        "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
        "aws:s3/bucketLogging:BucketLogging",
        "aws:s3/bucketNotification:BucketNotification",
        "aws:s3/bucketObjectv2:BucketObjectv2",  # a script of ours
        "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
        "aws:s3/bucketPolicy:BucketPolicy",
        "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
        "aws:s3/bucketVersioning:BucketVersioning",
        "aws:s3/vectorsVectorBucket:VectorsVectorBucket",  # its indexes are paid for
        "aws:sagemaker/domain:Domain",
        _CONFIGURATION,  # its endpoint is paid for
        "aws:sagemaker/mlflowApp:MlflowApp",  # where a tracking server of the older kind costs by the hour
        "aws:sagemaker/model:Model",
        "aws:sagemaker/modelPackageGroup:ModelPackageGroup",
        "aws:sagemaker/modelPackageGroupPolicy:ModelPackageGroupPolicy",
        "aws:sagemaker/userProfile:UserProfile",
        "aws:scheduler/scheduleGroup:ScheduleGroup",
        "aws:secretsmanager/secretPolicy:SecretPolicy",
        "aws:secretsmanager/secretRotation:SecretRotation",
        "aws:secretsmanager/secretVersion:SecretVersion",
        "aws:servicequotas/serviceQuota:ServiceQuota",
        "aws:signer/signingProfile:SigningProfile",
        "aws:sns/topicPolicy:TopicPolicy",
        "aws:sns/topicSubscription:TopicSubscription",
        "aws:sqs/queuePolicy:QueuePolicy",
        "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
        "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
        "aws:wafv2/webAclAssociation:WebAclAssociation",
        "aws:wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration",
    }
)  # fmt: skip
"""What costs nothing itself. One that ends in `/` stands for all that begin so."""
