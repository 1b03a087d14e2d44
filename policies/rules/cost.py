"""What an environment may cost, and what would cost without end."""

import re
from collections.abc import Mapping

from policies.context import mapping, maps, uses
from policies.model import Graph, Resource
from policies.rule import Found, graph_rule, resource_rule
from policies.served import FUNCTION, called_by, deployments

AWS_BUDGET = "aws:budgets/budget:Budget"
GCP_BUDGET = "gcp:billing/budget:Budget"
LOG_GROUP = "aws:cloudwatch/logGroup:LogGroup"

CLUSTER = "gcp:container/cluster:Cluster"
CONFIGURATION = "aws:sagemaker/endpointConfiguration:EndpointConfiguration"
SERVERLESS_CACHE = "aws:elasticache/serverlessCache:ServerlessCache"
WORKFLOW = "gcp:workflows/workflow:Workflow"

# What scales by itself, and where its ceiling stands: at one of these paths. A map holds one for each thing that it bounds.
_CEILINGS: Mapping[str, tuple[str, ...]] = {
    "aws:appautoscaling/target:Target": ("maxCapacity",),
    "aws:autoscaling/group:Group": ("maxSize",),
    "aws:batch/computeEnvironment:ComputeEnvironment": ("computeResources.maxVcpus",),
    "aws:eks/nodeGroup:NodeGroup": ("scalingConfig.maxSize",),
    "gcp:cloudfunctionsv2/function:Function": ("serviceConfig.maxInstanceCount",),
    "gcp:cloudrunv2/service:Service": ("template.scaling.maxInstanceCount", "scaling.maxInstanceCount"),
    "gcp:container/nodePool:NodePool": ("autoscaling.totalMaxNodeCount", "autoscaling.maxNodeCount", "nodeCount"),
    "kubernetes:autoscaling/v2:HorizontalPodAutoscaler": ("spec.maxReplicas",),
    "gcp:vertex/aiDeploymentResourcePool:AiDeploymentResourcePool": ("dedicatedResources.maxReplicaCount",),
    "gcp:vertex/aiEndpointWithModelGardenDeployment:AiEndpointWithModelGardenDeployment": (
        "deployConfig.dedicatedResources.maxReplicaCount",
    ),
    "kubernetes:karpenter.sh/v1:NodePool": ("spec.limits",),
    "kubernetes:keda.sh/v1alpha1:ScaledObject": ("spec.maxReplicaCount",),
    "kubernetes:serving.kserve.io/v1beta1:InferenceService": ("spec.predictor.maxReplicas",),
}
# The same, where each has to have all of several.
_EVERY_CEILING: Mapping[str, tuple[str, ...]] = {
    SERVERLESS_CACHE: ("cacheUsageLimits.dataStorage.maximum", "cacheUsageLimits.ecpuPerSeconds.0.maximum"),
}


@graph_rule(
    "budget-exists",
    title="Somebody is told before the money is gone",
    severity="high",
    why="A forgotten GPU or a loop that writes objects costs more over a weekend than the environment in a month.",
    remedy="budget.monthly_usd and budget.notify in the stack's file.",
    controls={"soc2": ("CC7.2",), "nist-ai-rmf": ("GOVERN 1.6",)},
)
def budget_exists(graph: Graph) -> Found:
    """On each cloud that is used, at least one budget for spending."""
    for cloud, type_ in (("aws", AWS_BUDGET), ("gcp", GCP_BUDGET)):
        if uses(graph, cloud) and not graph.of_type(type_):
            yield f"there is no budget on {cloud}"


@resource_rule(
    "budget-warns",
    title="A budget warns at its limit or before, of what is spent and of what is forecast",
    types=(AWS_BUDGET, GCP_BUDGET),
    severity="medium",
    why="A budget that warns nobody, or only after the fact, is a report.",
    remedy="budget.actual_percent and budget.forecast_percent, and budget.notify.",
    controls={"soc2": ("CC7.2",)},
)
def budget_warns(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """Percentages on AWS are of 100, on Google Cloud of 1."""
    if resource.type == AWS_BUDGET:
        warnings = {
            str(n.get("notificationType"))
            for n in maps(resource.get("notifications"))
            if n.get("thresholdType") == "PERCENTAGE"
            and isinstance(n.get("threshold"), int | float)
            and n["threshold"] <= 100
            and (n.get("subscriberEmailAddresses") or n.get("subscriberSnsTopicArns"))
        }
        kinds = {"ACTUAL": "spent", "FORECASTED": "forecast"}
    else:
        rule = mapping(resource.get("allUpdatesRule"))
        told = rule.get("pubsubTopic") or rule.get("monitoringNotificationChannels")
        told = told or rule.get("disableDefaultIamRecipients") is not True
        warnings = {
            str(r.get("spendBasis", "CURRENT_SPEND"))
            for r in maps(resource.get("thresholdRules"))
            if isinstance(r.get("thresholdPercent"), int | float) and r["thresholdPercent"] <= 1 and told
        }
        kinds = {"CURRENT_SPEND": "spent", "FORECASTED_SPEND": "forecast"}
    for kind, what in kinds.items():
        if kind not in warnings:
            yield f"nobody is warned of what is {what}"


@resource_rule(
    "log-retention",
    title="Logs are kept for a stated time, never for ever",
    types=(LOG_GROUP,),
    severity="medium",
    why="A log group without a term keeps everything for ever, personal data too, and is billed for it.",
    remedy="retention_in_days from scope.log_days.",
    controls={"soc2": ("C1.2",), "iso-27001": ("A.8.10",), "gdpr": ("25",)},
)
def log_retention(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """Zero is for ever too."""
    days = resource.get("retentionInDays", 0)
    if not isinstance(days, int | float) or days <= 0:
        yield "it keeps everything for ever"


def _of_function(function: Resource, graph: Graph) -> Found:
    if called_by(function, graph) and not isinstance(function.get("reservedConcurrentExecutions"), int | float):
        yield "it has no ceiling: nothing bounds how often it runs at once"


def _of_endpoint(configuration: Resource, graph: Graph) -> Found:  # noqa: ARG001
    for variant in maps(configuration.get("productionVariants")):
        sized = variant.get("serverlessConfig")
        if sized and not _number(mapping(sized).get("maxConcurrency")):
            yield f"{variant.get('variantName', 'a variant')} has no ceiling"


def _of_workflow(workflow: Resource, graph: Graph) -> Found:  # noqa: ARG001
    for deployed in deployments(workflow):
        if not _number(mapping(deployed.get("dedicatedResources")).get("maxReplicaCount")):
            yield "what it deploys has no ceiling"


_OWN_WAY = {FUNCTION: _of_function, CONFIGURATION: _of_endpoint, WORKFLOW: _of_workflow}


@resource_rule(
    "scale-ceiling",
    title="Nothing scales without a ceiling",
    types=(*_CEILINGS, *_EVERY_CEILING, *_OWN_WAY, CLUSTER),
    severity="medium",
    why="Without a ceiling a flood of requests, or one wrong number in a job, is a flood of cost.",
    remedy="scale.max or concurrency.max of an endpoint; max_instance_count; nodes.max of a pool.",
    controls={"soc2": ("CC7.2",), "iso-27001": ("A.8.6",)},
)
def scale_ceiling(resource: Resource, graph: Graph) -> Found:
    """Missing, zero or unknown is no ceiling. A cluster of GKE has one where it makes pools by itself.

    Of functions those have one that requests or a queue call: others take from the account what is free.
    """
    if resource.type in _OWN_WAY:
        yield from _OWN_WAY[resource.type](resource, graph)
        return
    if resource.type in _EVERY_CEILING:
        for path in _EVERY_CEILING[resource.type]:
            if not _number(resource.get(path)):
                yield f"it has no ceiling of {path.split('.')[1]}"
        return
    if resource.type == CLUSTER:
        if resource.get("clusterAutoscaling.enabled") is True and not resource.get("clusterAutoscaling.resourceLimits"):
            yield "it makes pools by itself, as many as it likes"
        return
    given = [resource.get(path) for path in _CEILINGS[resource.type]]
    values = [each for value in given for each in (value.values() if isinstance(value, Mapping) else [value])]
    if not any((_number(value) or 0) > 0 for value in values):
        yield "it has no ceiling"


def _number(value: object) -> float | None:
    """A number, also one with a unit (`64Gi`): that there is one is what counts."""
    if isinstance(value, int | float):
        return float(value)
    found = re.fullmatch(r"(\d+(?:\.\d+)?)[A-Za-z]{0,2}", value) if isinstance(value, str) else None
    return float(found[1]) if found else None
