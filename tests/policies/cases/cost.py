"""Rules on cost."""

import json

from tests.policies.build import aws, bad, changed, gcp, good, make, thing


def notification(kind, threshold=80, **rest):
    rest = rest or {"subscriberEmailAddresses": ["a@example.com"]}
    return {
        "notificationType": kind,
        "threshold": threshold,
        "thresholdType": "PERCENTAGE",
        "comparisonOperator": "GREATER_THAN",
        **rest,
    }


def budget(*notifications):
    return make("aws:budgets/budget:Budget", inputs={"notifications": list(notifications)})


ENVIRONMENT = "aws:batch/computeEnvironment:ComputeEnvironment"


def karpenter(**limits):
    return thing("karpenter.sh/v1:NodePool", spec={"limits": limits} if limits else {})


def node_pool(**inputs):
    return make("gcp:container/nodePool:NodePool", inputs=inputs)


def cluster(**scaling):
    return make("gcp:container/cluster:Cluster", inputs={"clusterAutoscaling": scaling})


SPENT, FORECAST = notification("ACTUAL"), notification("FORECASTED", 100)
GCP_BUDGET = make(
    "gcp:billing/budget:Budget",
    inputs={"thresholdRules": [{"thresholdPercent": 0.8}, {"thresholdPercent": 1, "spendBasis": "FORECASTED_SPEND"}]},
)


def group(**inputs):
    return make("aws:cloudwatch/logGroup:LogGroup", inputs=inputs)


def function(**config):
    return make("gcp:cloudfunctionsv2/function:Function", inputs={"serviceConfig": config})


def on_demand(**config):
    variants = [{"variantName": "main", "serverlessConfig": config}]
    type_ = "aws:sagemaker/endpointConfiguration:EndpointConfiguration"
    return make(type_, inputs={"productionVariants": variants})


def deploys(**resources):
    source = {"main": {"steps": [{"deploy": {"deployedModel": {"dedicatedResources": resources}}}]}}
    return make("gcp:workflows/workflow:Workflow", inputs={"sourceContents": json.dumps(source)})


def cache(**limits):
    return make("aws:elasticache/serverlessCache:ServerlessCache", inputs={"cacheUsageLimits": limits})


CASES = [
    bad("budget-exists", "none on AWS", "no budget on aws", aws()),
    bad("budget-exists", "none on Google Cloud", "no budget on gcp", aws(), gcp(), budget(SPENT)),
    good("budget-exists", "one on each", aws(), gcp(), budget(SPENT), GCP_BUDGET),
    bad("budget-warns", "nothing", "what is spent", budget()),
    bad("budget-warns", "no forecast", "what is forecast", budget(SPENT)),
    bad("budget-warns", "after the fact", "what is spent", budget(FORECAST, notification("ACTUAL", 120))),
    bad(
        "budget-warns", "nobody", "what is spent", budget(FORECAST, notification("ACTUAL", subscriberEmailAddresses=[]))
    ),
    bad(
        "budget-warns",
        "dollars, not percent",
        "what is spent",
        budget(FORECAST, {**SPENT, "thresholdType": "ABSOLUTE_VALUE"}),
    ),
    bad(
        "budget-warns",
        "no forecast on Google Cloud",
        "what is forecast",
        changed(GCP_BUDGET, thresholdRules=[{"thresholdPercent": 0.5}]),
    ),
    bad(
        "budget-warns",
        "nobody on Google Cloud",
        "what is spent",
        changed(GCP_BUDGET, allUpdatesRule={"disableDefaultIamRecipients": True}),
    ),
    good("budget-warns", "both", budget(SPENT, FORECAST)),
    good("budget-warns", "by a topic", budget(FORECAST, notification("ACTUAL", subscriberSnsTopicArns=["arn"]))),
    good("budget-warns", "both on Google Cloud", GCP_BUDGET),
    good(
        "budget-warns",
        "by a topic on Google Cloud",
        changed(GCP_BUDGET, allUpdatesRule={"disableDefaultIamRecipients": True, "pubsubTopic": "t"}),
    ),
    bad("log-retention", "none", "for ever", group()),
    bad("log-retention", "zero", "for ever", group(retentionInDays=0)),
    bad("log-retention", "not yet known", "for ever", group(retentionInDays="${urn:pulumi:dev::p::t::n#days}")),
    good("log-retention", "a month", group(retentionInDays=30)),
    bad("scale-ceiling", "none", "no ceiling", function()),
    bad("scale-ceiling", "zero", "no ceiling", function(maxInstanceCount=0)),
    bad("scale-ceiling", "a service", "no ceiling", make("gcp:cloudrunv2/service:Service")),
    good("scale-ceiling", "one", function(maxInstanceCount=1)),
    good(
        "scale-ceiling",
        "a service",
        make("gcp:cloudrunv2/service:Service", inputs={"template": {"scaling": {"maxInstanceCount": 4}}}),
    ),
    bad("scale-ceiling", "a pool of Karpenter", "no ceiling", karpenter()),
    bad("scale-ceiling", "a pool of Karpenter with words", "no ceiling", karpenter(cpu="many")),
    bad("scale-ceiling", "a pool of GKE", "no ceiling", node_pool(autoscaling={"totalMinNodeCount": 0})),
    bad("scale-ceiling", "an environment of Batch", "no ceiling", make(ENVIRONMENT, inputs={"computeResources": {}})),
    bad("scale-ceiling", "a managed group", "no ceiling", make("aws:eks/nodeGroup:NodeGroup", inputs={})),
    bad("scale-ceiling", "pools by itself", "as many as it likes", cluster(enabled=True)),
    good("scale-ceiling", "a pool of Karpenter", karpenter(**{"nvidia.com/gpu": "8"}), karpenter(memory="64Gi")),
    good("scale-ceiling", "a pool of GKE", node_pool(autoscaling={"totalMaxNodeCount": 4}), node_pool(nodeCount=1)),
    good("scale-ceiling", "a pool of GKE by zone", node_pool(autoscaling={"maxNodeCount": 4})),
    good(
        "scale-ceiling",
        "an environment of Batch, a group",
        make(ENVIRONMENT, inputs={"computeResources": {"maxVcpus": 64}}),
        make("aws:eks/nodeGroup:NodeGroup", inputs={"scalingConfig": {"maxSize": 4}}),
    ),
    good(
        "scale-ceiling",
        "no pools by itself, or so many",
        cluster(enabled=False),
        cluster(enabled=True, resourceLimits=[{"resourceType": "cpu", "maximum": 64}]),
    ),
    bad("scale-ceiling", "a target", "no ceiling", make("aws:appautoscaling/target:Target", inputs={"minCapacity": 1})),
    bad("scale-ceiling", "without machines", "main has no ceiling", on_demand(memorySizeInMb=2048)),
    bad("scale-ceiling", "what a workflow deploys", "what it deploys", deploys(minReplicaCount=1)),
    bad("scale-ceiling", "a cache", "no ceiling of dataStorage", cache(ecpuPerSeconds=[{"maximum": 5000}])),
    bad("scale-ceiling", "a cache's requests", "no ceiling of ecpu", cache(dataStorage={"maximum": 10, "unit": "GB"})),
    good(
        "scale-ceiling",
        "endpoints",
        make("aws:appautoscaling/target:Target", inputs={"maxCapacity": 4}),
        on_demand(maxConcurrency=10),
        deploys(minReplicaCount=1, maxReplicaCount=3),
        cache(dataStorage={"maximum": 10, "unit": "GB"}, ecpuPerSeconds=[{"maximum": 5000}]),
    ),
    good(
        "scale-ceiling",
        "a service as a whole",
        make("gcp:cloudrunv2/service:Service", inputs={"scaling": {"maxInstanceCount": 4}}),
    ),
]
