"""Endpoints: that a release is taken back by itself, that somebody watches, and that what answers is closed in."""

import re
from collections.abc import Iterator
from typing import Any

from policies.context import is_prod, items, mapping, maps, resolve
from policies.model import REFERENCE, Graph, Resource, is_unknown, texts
from policies.pods import SERVICE_OF_RUN
from policies.rule import Found, Violation, graph_rule, resource_rule
from policies.rules.operations import ALERT_POLICY, COMPOSITE_ALARM, METRIC_ALARM
from policies.served import CONFIGURATION, configuration_of, deployments, is_own_bucket, is_serverless

ENDPOINT = "aws:sagemaker/endpoint:Endpoint"
MODEL = "aws:sagemaker/model:Model"
SCALING_TARGET = "aws:appautoscaling/target:Target"
DEPLOYMENT_GROUP = "aws:codedeploy/deploymentGroup:DeploymentGroup"
ALIAS = "aws:lambda/alias:Alias"
FUNCTION = "aws:lambda/function:Function"
ECS_SERVICE = "aws:ecs/service:Service"
AI_ENDPOINT = "gcp:vertex/aiEndpoint:AiEndpoint"
WORKFLOW = "gcp:workflows/workflow:Workflow"
DATASET = "gcp:bigquery/dataset:Dataset"

ROLLOUT = "kubernetes:argoproj.io/v1alpha1:Rollout"
ANALYSIS = "kubernetes:argoproj.io/v1alpha1:AnalysisTemplate"

_ALARM_NAMES = {METRIC_ALARM: "name", COMPOSITE_ALARM: "alarmName"}
LABEL = "endpoint"
"""Label of all that belongs to an endpoint."""


def _endpoint(resource: Resource) -> str:
    return str(mapping(resource.get("labels")).get(LABEL, ""))


@resource_rule(
    "release-taken-back",
    title="In prod a release is taken back by itself when an alarm goes off that was there before it",
    types=(ENDPOINT, DEPLOYMENT_GROUP, ALIAS, ECS_SERVICE, SERVICE_OF_RUN, AI_ENDPOINT, ROLLOUT),
    severity="high",
    why="A version that fails at night fails until somebody is awake; an alarm that comes after the release is none for it.",
    remedy="release.rollback_on of the endpoint; the alarm by its name, and depends_on it.",
    controls={
        "soc2": ("CC7.5", "CC8.1"),
        "iso-27001": ("A.8.32", "A.8.16"),
        "eu-ai-act": ("15",),
        "nist-ai-rmf": ("MEASURE 2.4",),
    },
)
def release_taken_back(resource: Resource, graph: Graph) -> Found:
    """On Google Cloud the endpoint's workflow does it, in a cluster an analysis. SageMaker has none of this without machines."""
    if not is_prod(graph):
        return
    if resource.type == ENDPOINT:
        configuration = configuration_of(resource, graph)
        if configuration is None or not is_serverless(configuration):
            alarms = maps(resource.get("deploymentConfig.autoRollbackConfiguration.alarms"))
            yield from _before([alarm.get("alarmName") for alarm in alarms], resource, graph)
    elif resource.type == DEPLOYMENT_GROUP:
        yield from _of_codedeploy(resource, graph)
    elif resource.type == ALIAS:
        if not any(each.type == DEPLOYMENT_GROUP for each in graph.children(resource.parent)):
            yield "nothing moves its callers to a new version, or back"
    elif resource.type == ECS_SERVICE:
        yield from _of_ecs(resource, graph)
    elif resource.type == ROLLOUT:
        yield from _of_rollout(resource, graph)
    elif not _released(resource, graph):
        unread = any(is_unknown(workflow.get("sourceContents")) for workflow in graph.of_type(WORKFLOW))
        wrong = "no workflow releases its versions, or takes them back"
        yield Violation(wrong, enforcement="advisory") if unread else wrong


def _before(names: list[object], resource: Resource, graph: Graph) -> Found:
    if not names:
        yield "no alarm takes a release back"
    for name in names:
        alarm = _alarm(name, graph)
        if alarm is None:
            yield f"nothing declares the alarm {name}"
        elif alarm.urn not in resource.dependencies:
            yield f"it may be there before its alarm {name}"


def _alarm(name: object, graph: Graph) -> Resource | None:
    named = str(resolve(name, graph))
    referred = (graph.resources.get(match[1]) for match in REFERENCE.finditer(named))
    found = [each for type_, path in _ALARM_NAMES.items() for each in graph.where(type_, path, named)]
    return next((each for each in (*found, *referred) if each is not None and each.type in _ALARM_NAMES), None)


def _of_codedeploy(group: Resource, graph: Graph) -> Found:
    events = {str(event) for event in items(group.get("autoRollbackConfiguration.events"))}
    missing = {"DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM"} - events
    if group.get("autoRollbackConfiguration.enabled") is not True or missing:
        yield f"a release is not taken back after {', '.join(sorted(missing)) or 'anything'}"
    watches = group.get("alarmConfiguration.enabled") is True
    yield from _before(items(group.get("alarmConfiguration.alarms")) if watches else [], group, graph)
    if group.get("alarmConfiguration.ignorePollAlarmFailure", False) is not False:
        yield "a release goes on while nobody knows the state of its alarm"


def _of_ecs(service: Resource, graph: Graph) -> Found:
    """Alarms with rollback; the circuit breaker alone knows only of tasks that do not start."""
    if service.get("deploymentController.type", "ECS") == "CODE_DEPLOY":
        return  # the deployment group says how
    watched = service.get("alarms.enable") is True and service.get("alarms.rollback") is True
    yield from _before(items(service.get("alarms.alarmNames")) if watched else [], service, graph)


def _of_rollout(rollout: Resource, graph: Graph) -> Found:
    """An analysis that is there, and pods that do not become ready."""
    canary, colours = (mapping(rollout.get(f"spec.strategy.{each}")) for each in ("canary", "blueGreen"))
    found: list[Any] = [canary.get("analysis"), *(step.get("analysis") for step in maps(canary.get("steps")))]
    found += [colours.get(f"{when}PromotionAnalysis") for when in ("pre", "post")]
    named = [template.get("templateName") for each in found for template in maps(mapping(each).get("templates"))]
    if not named:
        yield "nothing watches a new version, or takes it back"
    space = rollout.get("metadata.namespace")
    for name in named:
        declared = graph.where(ANALYSIS, "metadata.name", str(name))
        if not any(each.get("metadata.namespace") == space for each in declared):
            yield f"nothing declares the analysis {name}"
    if rollout.get("spec.progressDeadlineAbort") is not True:
        yield "a version whose pods do not become ready stays"


def _released(resource: Resource, graph: Graph) -> bool:
    """Whether a workflow names an endpoint. Services of Cloud Run that are none, such as what fills a store, need no release."""
    kind = "services" if resource.type == SERVICE_OF_RUN else "endpoints"
    if kind == "services" and not _endpoint(resource):
        return True
    name = re.compile(rf"{kind}/{re.escape(str(resource.get('name', '')))}(?![\w-])")
    return any(
        name.search(str(workflow.get("sourceContents"))) or resource.urn in workflow.links("sourceContents")
        for workflow in graph.of_type(WORKFLOW)
        if not _endpoint(workflow) or _endpoint(workflow) == _endpoint(resource)
    )


# What alarms look at when they look at how long answers take, and at how many fail: words of metrics and of queries.
_SIGNS = {
    "how long its answers take": re.compile(r"latenc|duration|responsetime|first|age|waiting", re.IGNORECASE),
    "how many of them fail": re.compile(r"error|fail|5xx|response_co", re.IGNORECASE),
}


@graph_rule(
    "endpoint-watched",
    title="Each endpoint has an alarm on how long its answers take, and one on how many of them fail",
    severity="high",
    why="Callers are the ones who notice otherwise, and they write when it is over.",
    remedy="objective of the endpoint, from which components/spec/endpoints.py makes the alarms.",
    controls={
        "soc2": ("CC7.2", "A1.2"),
        "iso-27001": ("A.8.16",),
        "eu-ai-act": ("12", "15"),
        "nist-ai-rmf": ("MEASURE 2.4", "MEASURE 3.1"),
    },
)
def endpoint_watched(graph: Graph) -> Found:
    """An alarm belongs to what its metrics' dimensions name, or to the endpoint of its label.

    That it tells somebody, `alarm-reaches-somebody` says. What only hands requests on is watched by what it hands them to.
    """
    known = _watching(graph)
    for resource in graph.of_type(ENDPOINT, ALIAS, ECS_SERVICE, SERVICE_OF_RUN, AI_ENDPOINT):
        keys = set(_keys(resource, graph))
        said = " ".join(text for key in keys for text in known.get(key, ()))
        missing = [what for what, words in _SIGNS.items() if keys and not words.search(said)]
        if missing:
            yield Violation(f"no alarm looks at {' or '.join(missing)}", resource)


def _keys(resource: Resource, graph: Graph) -> Iterator[str]:
    """What alarms call an endpoint."""
    if resource.type in {SERVICE_OF_RUN, AI_ENDPOINT}:
        if _endpoint(resource):
            yield f"{LABEL}={_endpoint(resource)}"
    elif resource.type == ALIAS:
        for urn in resource.links("functionName"):
            function = graph.resources.get(urn)
            if function is not None and function.type == FUNCTION:
                yield str(function.get("name", ""))
                yield urn
    elif resource.type == ECS_SERVICE:
        yield str(resource.get("name", ""))
        yield from resource.links("loadBalancers")
    else:
        yield str(resource.get("name", ""))
        yield resource.urn


def _watching(graph: Graph) -> dict[str, list[str]]:
    """By what is watched, the words of the alarms that watch it."""
    found: dict[str, list[str]] = {}
    for alarm in graph.of_type(METRIC_ALARM):
        queries = [mapping(query.get("metric")) for query in maps(alarm.get("metricQueries"))]
        series = [alarm.inputs, *queries]
        words = " ".join(str(each.get("metricName", "")) for each in series)
        for value in {value for each in series for value in texts(each.get("dimensions"))}:
            for key in {value, *(match[1] for match in REFERENCE.finditer(value))}:
                found.setdefault(key, []).append(words)
    for policy in graph.of_type(ALERT_POLICY):
        label = mapping(policy.get("userLabels")).get(LABEL)
        conditions = " ".join(texts(policy.get("conditions")))
        found.setdefault(f"{LABEL}={label}", []).append(conditions)
    return found


@resource_rule(
    "endpoint-redundant",
    title="In prod an endpoint has two machines or more",
    types=(CONFIGURATION, SCALING_TARGET),
    severity="medium",
    enforcement="advisory",
    why="With one machine every fault of it, and of its zone, is an outage of some minutes.",
    remedy="scale.min: 2.",
    controls={"aws-fsbp": ("SageMaker.4",), "soc2": ("A1.2",), "iso-27001": ("A.8.14",)},
)
def endpoint_redundant(resource: Resource, graph: Graph) -> Found:
    """Of those that answer at once: what waits in a queue may wait for a machine."""
    if not is_prod(graph):
        return
    if resource.type == SCALING_TARGET:
        scaled = re.fullmatch(r"endpoint/(.+)/variant/.+", str(resource.get("resourceId")))
        least = resource.get("minCapacity", 0)
        if scaled and isinstance(least, int | float) and least == 1:
            yield "it may come down to one machine"
    elif not resource.get("asyncInferenceConfig"):
        for variant in maps(resource.get("productionVariants")):
            count = variant.get("initialInstanceCount")
            if isinstance(count, int | float) and count < 2:
                yield f"{variant.get('variantName', 'a variant')} begins with one machine"


@resource_rule(
    "model-isolated",
    title="A model on machines of SageMaker is in the network, and its container reaches nothing",
    types=(MODEL,),
    severity="high",
    why="A model file can hold a program; what it finds in requests it would send to whoever put it there.",
    remedy="enable_network_isolation and vpc_config: kind `machines` of Hosting.",
    controls={
        "aws-fsbp": ("SageMaker.5",),
        "soc2": ("CC6.6", "CC6.7"),
        "iso-27001": ("A.8.12", "A.8.22"),
        "eu-ai-act": ("15",),
        "nist-ai-rmf": ("MEASURE 2.7",),
    },
)
def model_isolated(resource: Resource, graph: Graph) -> Found:
    """Serverless endpoints take neither ("Serverless Inference", exclusions)."""
    uses = [
        each
        for variants in ("productionVariants", "shadowProductionVariants")
        for each in graph.linked(resource.urn, CONFIGURATION, variants)
    ]
    if uses and all(is_serverless(each) for each in uses):
        return
    if resource.get("enableNetworkIsolation") is not True:
        yield "its container may call whom it likes: network isolation is off"
    if not all(resource.get(f"vpcConfig.{part}") for part in ("subnets", "securityGroupIds")):
        yield "it is in no network of ours"
    for container in (*maps(resource.get("primaryContainer")), *maps(resource.get("containers"))):
        if mapping(container.get("imageConfig")).get("repositoryAccessMode", "Platform") != "Platform":
            yield "its image comes from a registry outside of AWS"


@resource_rule(
    "endpoint-output-ours",
    title="What an endpoint keeps of requests and answers lies with us, for a stated time, and failures are told",
    types=(CONFIGURATION, AI_ENDPOINT),
    severity="high",
    why="Requests hold what people typed: in another's bucket, or for ever, that is a leak; what fails unheard is a loss.",
    remedy="capture_percent of the endpoint; s3_failure_path and notification_config.error_topic of asynchronous ones.",
    controls={
        "soc2": ("CC6.1", "C1.2"),
        "iso-27001": ("A.8.10", "A.8.12", "A.8.15"),
        "gdpr": ("25", "32"),
        "eu-ai-act": ("10", "12"),
    },
)
def endpoint_output_ours(resource: Resource, graph: Graph) -> Found:
    """Buckets of the program; that they are encrypted and cleaned up is the concern of the rules on buckets."""
    if resource.type == AI_ENDPOINT:
        if resource.get("predictRequestResponseLoggingConfig.enabled") is True:
            linked = [graph.resources.get(urn) for urn in resource.links("predictRequestResponseLoggingConfig")]
            datasets = [each for each in (*linked, *_named_dataset(resource, graph)) if each and each.type == DATASET]
            if not datasets:
                yield "what it captures lies in no data set of ours"
            elif not all(each.get("defaultTableExpirationMs") for each in datasets):
                yield "what it captures is kept for ever"
        return
    capture = mapping(resource.get("dataCaptureConfig"))
    if capture.get("enableCapture") is True and not is_own_bucket(
        resource, "dataCaptureConfig", capture.get("destinationS3Uri"), graph
    ):
        yield f"it captures requests into {capture.get('destinationS3Uri', 'nowhere')}, which is no bucket of ours"
    output = mapping(resource.get("asyncInferenceConfig.outputConfig"))
    if resource.get("asyncInferenceConfig") is not None:
        for path in ("s3OutputPath", "s3FailurePath"):
            if not output.get(path):
                yield f"it has no {path}"
            elif not is_own_bucket(resource, "asyncInferenceConfig", output[path], graph):
                yield f"{path} is {output[path]}, which is no bucket of ours"
        if not mapping(output.get("notificationConfig")).get("errorTopic"):
            yield "nobody hears of a request that failed"


def _named_dataset(endpoint: Resource, graph: Graph) -> list[Resource]:
    uri = str(endpoint.get("predictRequestResponseLoggingConfig.bigqueryDestination.outputUri", ""))
    return graph.where(DATASET, "datasetId", uri.rpartition(".")[2])


@resource_rule(
    "run-private",
    title="A service of Cloud Run is called by named callers, from inside or through the load balancer",
    types=(SERVICE_OF_RUN,),
    severity="critical",
    why="By default a service has an address on the internet, past the firewall, the throttle and the log of the gateway.",
    remedy="ingress internal; invoker_iam_disabled only behind a load balancer that has checked who calls.",
    controls={"soc2": ("CC6.1", "CC6.6"), "iso-27001": ("A.5.15", "A.8.20"), "eu-ai-act": ("15",)},
)
def run_private(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """Everybody as a caller is `identity-no-anonymous`'s concern."""
    ingress = str(resource.get("ingress", "INGRESS_TRAFFIC_ALL"))
    if ingress not in {"INGRESS_TRAFFIC_INTERNAL_ONLY", "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"}:
        yield f"its ingress is {ingress}"
    if resource.get("invokerIamDisabled", False) is not False:
        if ingress != "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER":
            yield "nobody who calls it is asked who he is"
        elif resource.get("defaultUriDisabled") is not True:
            yield "its own address, which no load balancer stands in front of, asks nobody who he is"


_SIGNING = "gcp:binaryauthorization/policy:Policy"


@resource_rule(
    "run-signed",
    title="Where images have to be signed, Cloud Run starts no other",
    types=("gcp:cloudrunv2/job:Job", SERVICE_OF_RUN, "gcp:cloudrunv2/workerPool:WorkerPool"),
    severity="high",
    why="A policy on signatures that a service does not ask for holds for clusters alone.",
    remedy="binary_authorization use_default.",
    controls={"soc2": ("CC7.1", "CC8.1"), "iso-27001": ("A.8.9", "A.8.32"), "eu-ai-act": ("15",)},
)
def run_signed(resource: Resource, graph: Graph) -> Found:
    """Where the project's policy lets through what is attested and nothing else."""
    strict = any(
        str(policy.get("defaultAdmissionRule.evaluationMode")) in {"REQUIRE_ATTESTATION", "ALWAYS_DENY"}
        and policy.get("defaultAdmissionRule.enforcementMode", "ENFORCED_BLOCK_AND_AUDIT_LOG")
        == "ENFORCED_BLOCK_AND_AUDIT_LOG"
        for policy in graph.of_type(_SIGNING)
    )
    asked = resource.get("binaryAuthorization.useDefault") is True or resource.get("binaryAuthorization.policy")
    if strict and is_prod(graph) and not asked:
        yield "it starts whatever it is given, signed or not"


@resource_rule(
    "vertex-endpoint-own",
    title="An endpoint of Vertex AI has an address of its own, in prod a private one",
    types=(AI_ENDPOINT,),
    severity="medium",
    why="On the address that all of Google's customers share one of them can use up the share of the others.",
    remedy="dedicated_endpoint_enabled, or private_service_connect_config.",
    controls={"soc2": ("CC6.6",), "iso-27001": ("A.8.20", "A.8.22")},
)
def vertex_endpoint_own(resource: Resource, graph: Graph) -> Found:
    """A dedicated address in prod is told of: IAM guards it, and anybody can reach it."""
    private = resource.get("privateServiceConnectConfig.enablePrivateServiceConnect") is True or resource.get("network")
    if not private and resource.get("dedicatedEndpointEnabled") is not True:
        yield "it shares its address with everybody's endpoints"
    elif not private and is_prod(graph):
        yield Violation("its address answers on the internet to whoever IAM lets in", enforcement="advisory")


@resource_rule(
    "vertex-own-identity",
    title="What a workflow deploys to Vertex AI runs as an identity of its own",
    types=(WORKFLOW,),
    severity="high",
    why="Without one a model runs as an agent of Google's, which reads every bucket of the project.",
    remedy="serviceAccount in the deployed model: VertexModel makes one.",
    controls={"cis-gcp": ("4.1",), "soc2": ("CC6.3",), "iso-27001": ("A.5.16",)},
)
def vertex_own_identity(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """The account is missing, or the project's default one."""
    for deployed in deployments(resource):
        account = str(deployed.get("serviceAccount", ""))
        if not account or account.endswith("-compute@developer.gserviceaccount.com"):
            yield f"what it deploys runs as {account or 'nobody of ours'}"
