"""Rules on endpoints."""

import json
from dataclasses import replace

from tests.policies.build import aws, bad, changed, gcp, good, make, ref

PROD, GCP_PROD = aws("prod"), gcp("prod")
BUCKET = make("aws:s3/bucket:Bucket", "captured", inputs={"bucket": "acme-prod-captured"})
ALARM = make("aws:cloudwatch/metricAlarm:MetricAlarm", "rollback", inputs={"name": "acme-prod-fraud-rollback"})
BACK = {"autoRollbackConfiguration": {"alarms": [{"alarmName": "acme-prod-fraud-rollback"}]}}
MACHINES = {"variantName": "main", "instanceType": "ml.m5.xlarge", "initialInstanceCount": 2}
ON_DEMAND = {"variantName": "main", "serverlessConfig": {"maxConcurrency": 5, "memorySizeInMb": 2048}}


def configuration(*variants, **inputs):
    return make(
        "aws:sagemaker/endpointConfiguration:EndpointConfiguration",
        inputs={"productionVariants": list(variants or [MACHINES]), **inputs},
    )


def endpoint(of=None, after=(ALARM,), **inputs):
    of = of or configuration()
    base = {"name": "acme-prod-fraud", "endpointConfigName": ref(of, "name"), "deploymentConfig": BACK}
    made = make(
        "aws:sagemaker/endpoint:Endpoint",
        inputs={key: value for key, value in {**base, **inputs}.items() if value is not None},
    )
    return replace(made, dependencies=(*made.dependencies, *(each.urn for each in after)))


def group(after=(ALARM,), events=("DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM"), **alarms):
    watched = {"enabled": True, "alarms": ["acme-prod-fraud-rollback"], **alarms}
    made = make(
        "aws:codedeploy/deploymentGroup:DeploymentGroup",
        inputs={
            "autoRollbackConfiguration": {"enabled": True, "events": list(events)},
            "alarmConfiguration": watched,
        },
        parent="urn:function",
    )
    return replace(made, dependencies=tuple(each.urn for each in after))


FUNCTION = make("aws:lambda/function:Function", "fraud", inputs={"name": "acme-prod-fraud"})
ALIAS = make("aws:lambda/alias:Alias", inputs={"functionName": ref(FUNCTION, "name")}, parent="urn:function")


def tasks(after=(ALARM,), **alarms):
    watched = {"enable": True, "rollback": True, "alarmNames": ["acme-prod-fraud-rollback"], **alarms}
    made = make("aws:ecs/service:Service", inputs={"name": "acme-prod-fraud", "alarms": watched})
    return replace(made, dependencies=tuple(each.urn for each in after))


def run(name="acme-prod-fraud", **inputs):
    base = {
        "name": name,
        "ingress": "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER",
        "labels": {"endpoint": "fraud"},
        "template": {"containers": [{"image": "us-docker.pkg.dev/acme/a:1"}]},
    }
    found = {key: value for key, value in {**base, **inputs}.items() if value is not None}
    return make("gcp:cloudrunv2/service:Service", inputs=found)


def vertex(**inputs):
    base = {"name": "9389639142", "labels": {"endpoint": "fraud"}, "dedicatedEndpointEnabled": True, **inputs}
    found = {key: value for key, value in base.items() if value is not None}
    return make("gcp:vertex/aiEndpoint:AiEndpoint", inputs=found)


def workflow(*steps, endpoint="fraud"):
    source = json.dumps({"main": {"steps": list(steps)}})
    return make("gcp:workflows/workflow:Workflow", inputs={"sourceContents": source, "labels": {"endpoint": endpoint}})


RUN_PATH = {"url": "https://run.googleapis.com/v2/projects/p/locations/l/services/acme-prod-fraud"}
VERTEX_PATH = {"url": "projects/p/locations/l/endpoints/9389639142"}


def rollout(strategy, **inputs):
    spec = {"progressDeadlineAbort": True, "strategy": strategy, **inputs}
    here = {"name": "rank", "namespace": "serving-risk"}
    return make("kubernetes:argoproj.io/v1alpha1:Rollout", inputs={"metadata": here, "spec": spec})


def analysis(namespace="serving-risk"):
    here = {"name": "rank", "namespace": namespace}
    return make("kubernetes:argoproj.io/v1alpha1:AnalysisTemplate", "rank", inputs={"metadata": here})


LOOKED_AT = {"templates": [{"templateName": "rank"}]}
STEPS = {"canary": {"steps": [{"setWeight": 33}, {"analysis": LOOKED_AT}]}}

RULE = "release-taken-back"
RELEASES = [
    bad(RULE, "a canary that nobody looks at", "nothing watches", PROD, rollout({"canary": {"steps": [{"setWeight": 33}]}})),
    bad(RULE, "two colours that nobody looks at", "nothing watches", GCP_PROD, rollout({"blueGreen": {}})),
    bad(RULE, "an analysis that nobody makes", "nothing declares", PROD, rollout(STEPS), analysis("serving-claims")),
    bad(RULE, "pods that are never ready", "stays", PROD, rollout(STEPS, progressDeadlineAbort=None), analysis()),
    good(RULE, "a canary that is looked at", PROD, rollout(STEPS), analysis()),
    good(RULE, "two colours", PROD, rollout({"blueGreen": {"prePromotionAnalysis": LOOKED_AT}}), analysis()),
    bad(RULE, "none", "no alarm takes", PROD, ALARM, endpoint(deploymentConfig=None)),
    bad(RULE, "an alarm that nobody makes", "nothing declares the alarm", PROD, endpoint(after=())),
    bad(RULE, "an alarm that comes later", "may be there before", PROD, ALARM, endpoint(after=())),
    bad(RULE, "no events", "STOP_ON_ALARM", PROD, ALARM, group(events=("DEPLOYMENT_FAILURE",))),
    bad(RULE, "an alarm that is not watched", "no alarm takes", PROD, ALARM, group(enabled=False)),
    bad(RULE, "in the dark", "nobody knows", PROD, ALARM, group(ignorePollAlarmFailure=True)),
    bad(RULE, "a group before its alarm", "may be there before", PROD, ALARM, group(after=())),
    bad(RULE, "an alias", "nothing moves", PROD, FUNCTION, ALIAS),
    bad(RULE, "tasks", "no alarm takes", PROD, ALARM, tasks(rollback=False)),
    bad(RULE, "tasks that nobody watches", "no alarm takes", PROD, ALARM, tasks(enable=False)),
    good(RULE, "tasks that CodeDeploy moves", PROD, changed(tasks(enable=False), deploymentController={"type": "CODE_DEPLOY"})),
    bad(RULE, "tasks of an alarm that nobody makes", "nothing declares", PROD, tasks(after=())),
    bad(RULE, "Cloud Run", "no workflow", GCP_PROD, run()),
    bad(RULE, "another endpoint's workflow", "no workflow", GCP_PROD, run("acme-prod"), workflow(RUN_PATH)),
    bad(RULE, "a workflow that does something else", "no workflow", GCP_PROD, vertex(), workflow(RUN_PATH)),
    good(RULE, "an alarm before it", PROD, ALARM, configuration(), endpoint()),
    good(
        RULE, "a composite alarm", PROD,
        composite := make(
            "aws:cloudwatch/compositeAlarm:CompositeAlarm", inputs={"alarmName": "acme-prod-fraud-rollback"}
        ),
        endpoint(after=(composite,)),
    ),
    good(RULE, "no machines", PROD, it := configuration(ON_DEMAND), endpoint(it, (), deploymentConfig=None)),
    good(RULE, "in dev", aws("dev"), endpoint(after=(), deploymentConfig=None)),
    good(RULE, "a function", PROD, ALARM, FUNCTION, ALIAS, group()),
    good(RULE, "tasks that are taken back", PROD, ALARM, tasks()),
    good(RULE, "workflows", GCP_PROD, run(), workflow(RUN_PATH)),
    bad(RULE, "the workflow of another endpoint", "no workflow", GCP_PROD, run(), workflow(RUN_PATH, endpoint="other")),
    good(RULE, "a workflow of Vertex AI", GCP_PROD, vertex(), workflow(VERTEX_PATH)),
    good(RULE, "a service that is no endpoint", GCP_PROD, run(labels=None)),
]  # fmt: skip


def watches(name, metric, **dimensions):
    return make("aws:cloudwatch/metricAlarm:MetricAlarm", name, inputs={"metricName": metric, "dimensions": dimensions})


def queries(name, *metrics, **dimensions):
    found = [{"id": m.lower(), "metric": {"metricName": m, "dimensions": dimensions}} for m in metrics]
    return make("aws:cloudwatch/metricAlarm:MetricAlarm", name, inputs={"metricQueries": found})


def alert(name, query, endpoint="fraud"):
    condition = {"conditionPrometheusQueryLanguage": {"query": query}}
    return make(
        "gcp:monitoring/alertPolicy:AlertPolicy",
        name,
        inputs={"conditions": [condition], "userLabels": {"endpoint": endpoint}},
    )


TARGET = make("aws:lb/targetGroup:TargetGroup", inputs={"name": "acme-prod-fraud"})
BEHIND = changed(tasks(), loadBalancers=[{"targetGroupArn": ref(TARGET, "arn")}])
BEHIND = replace(BEHIND, property_dependencies={"loadBalancers": (TARGET.urn,)})
RULE = "endpoint-watched"
WATCHED = [
    bad(RULE, "nothing", "how long its answers take or how many of them fail", endpoint()),
    bad(
        RULE, "latency alone", "no alarm looks at how many", endpoint(),
        watches("a", "ModelLatency", EndpointName="acme-prod-fraud"),
    ),
    bad(
        RULE, "of another endpoint", "how long", endpoint(), watches("a", "ModelLatency", EndpointName="acme-prod-other"),
        watches("b", "Invocation5XXErrors", EndpointName="acme-prod-fraud"),
    ),
    bad(RULE, "a function", "how many", FUNCTION, ALIAS, watches("a", "Duration", FunctionName="acme-prod-fraud")),
    bad(RULE, "Cloud Run", "how many of them fail", run(), alert("a", "run_googleapis_com:request_latencies_bucket")),
    bad(RULE, "somebody else's alert", "how long", vertex(), alert("a", "latencies response_code", endpoint="other")),
    good(
        RULE, "both", endpoint(), queries("a", "ModelLatency", EndpointName="acme-prod-fraud"),
        queries("b", "Invocation5XXErrors", "Invocations", EndpointName="acme-prod-fraud"),
    ),
    good(
        RULE, "a function with both", FUNCTION, ALIAS, queries("a", "Duration", FunctionName=ref(FUNCTION, "name")),
        queries("b", "Errors", FunctionName="acme-prod-fraud"),
    ),
    good(
        RULE, "tasks by their target group", TARGET, BEHIND,
        queries("a", "TargetResponseTime", TargetGroup=ref(TARGET, "arnSuffix")),
        queries("b", "HTTPCode_Target_5XX_Count", TargetGroup=ref(TARGET, "arnSuffix")),
    ),
    good(RULE, "alerts", run(), vertex(), alert("a", "request_latencies"), alert("b", 'count{response_code="5"}')),
    good(RULE, "what is no endpoint", run(labels={})),
]  # fmt: skip


def scaled(least, of="endpoint/acme-prod-fraud/variant/main"):
    return make("aws:appautoscaling/target:Target", inputs={"resourceId": of, "minCapacity": least, "maxCapacity": 4})


RULE = "endpoint-redundant"
REDUNDANT = [
    bad(RULE, "one machine", "begins with one", PROD, configuration({**MACHINES, "initialInstanceCount": 1})),
    bad(RULE, "down to one", "come down to one", PROD, scaled(1)),
    good(RULE, "two", PROD, configuration(), scaled(2)),
    good(RULE, "one in dev", aws("dev"), configuration({**MACHINES, "initialInstanceCount": 1}), scaled(1)),
    good(RULE, "tasks", PROD, scaled(1, "service/a/b")),
    good(RULE, "no machines", PROD, configuration(ON_DEMAND)),
    good(
        RULE, "what waits", PROD, scaled(0),
        configuration({**MACHINES, "initialInstanceCount": 1}, asyncInferenceConfig={"outputConfig": {}}),
    ),
]  # fmt: skip


def model(**inputs):
    base = {
        "enableNetworkIsolation": True,
        "vpcConfig": {"subnets": ["subnet-1"], "securityGroupIds": ["sg-1"]},
        "primaryContainer": {"image": "111111111111.dkr.ecr.us-west-2.amazonaws.com/a:1"},
    }
    found = {key: value for key, value in {**base, **inputs}.items() if value is not None}
    return make("aws:sagemaker/model:Model", "m", inputs=found)


OPEN = model(enableNetworkIsolation=False, vpcConfig=None)
RULE = "model-isolated"
ISOLATED = [
    bad(RULE, "open", "isolation is off", model(enableNetworkIsolation=None)),
    bad(RULE, "nowhere", "no network of ours", model(vpcConfig=None)),
    bad(RULE, "no group", "no network of ours", model(vpcConfig={"subnets": ["subnet-1"]})),
    bad(RULE, "on machines", "is off", OPEN, configuration({**MACHINES, "modelName": ref(OPEN, "name")})),
    bad(
        RULE, "a registry outside", "outside of AWS",
        model(primaryContainer={"image": "a/b:1", "imageConfig": {"repositoryAccessMode": "Vpc"}}),
    ),
    good(RULE, "isolated", model()),
    good(RULE, "without machines", OPEN, configuration({**ON_DEMAND, "modelName": ref(OPEN, "name")})),
]  # fmt: skip


def captures(uri):
    return configuration(dataCaptureConfig={"enableCapture": True, "destinationS3Uri": uri})


def waits(**output):
    base = {
        "s3OutputPath": "s3://acme-prod-captured/async/ocr/output",
        "s3FailurePath": "s3://acme-prod-captured/async/ocr/failure",
        "notificationConfig": {"errorTopic": "arn:aws:sns:us-west-2:111111111111:failed"},
    }
    found = {key: value for key, value in {**base, **output}.items() if value is not None}
    return configuration(asyncInferenceConfig={"outputConfig": found})


DATASET = make("gcp:bigquery/dataset:Dataset", inputs={"datasetId": "capture", "defaultTableExpirationMs": 86_400_000})
RULE = "endpoint-output-ours"


def logs(uri="bq://acme-ai-dev.capture"):
    return vertex(
        predictRequestResponseLoggingConfig={"enabled": True, "bigqueryDestination": {"outputUri": uri}},
    )


OUTPUT = [
    bad(RULE, "somebody's bucket", "no bucket of ours", BUCKET, captures("s3://theirs/capture")),
    bad(RULE, "no failures", "no s3FailurePath", BUCKET, waits(s3FailurePath=None)),
    bad(RULE, "answers elsewhere", "s3OutputPath is", BUCKET, waits(s3OutputPath="s3://theirs/a")),
    bad(RULE, "nobody is told", "nobody hears", BUCKET, waits(notificationConfig={"successTopic": "arn"})),
    bad(RULE, "a data set for ever", "for ever", changed(DATASET, defaultTableExpirationMs=None), logs()),
    bad(RULE, "somebody's data set", "no data set of ours", logs("bq://theirs.a")),
    good(RULE, "ours", BUCKET, captures("s3://acme-prod-captured/capture"), logs(), DATASET),
    good(RULE, "by reference", BUCKET, captures(f"s3://{ref(BUCKET, 'bucket')}/capture")),
    good(RULE, "what waits", BUCKET, waits()),
    good(RULE, "nothing", configuration(), vertex()),
]

RULE = "run-private"
PRIVATE = [
    bad(RULE, "by default", "INGRESS_TRAFFIC_ALL", run(ingress=None)),
    bad(RULE, "everywhere", "INGRESS_TRAFFIC_ALL", run(ingress="INGRESS_TRAFFIC_ALL")),
    bad(
        RULE,
        "nobody is asked",
        "nobody who calls",
        run(ingress="INGRESS_TRAFFIC_INTERNAL_ONLY", invokerIamDisabled=True),
    ),
    bad(RULE, "its own address", "its own address", run(invokerIamDisabled=True)),
    good(RULE, "inside", run(ingress="INGRESS_TRAFFIC_INTERNAL_ONLY")),
    good(RULE, "behind a front that asks", run(invokerIamDisabled=True, defaultUriDisabled=True)),
]
SIGNED = make(
    "gcp:binaryauthorization/policy:Policy",
    "signed",
    inputs={
        "defaultAdmissionRule": {
            "evaluationMode": "REQUIRE_ATTESTATION",
            "enforcementMode": "ENFORCED_BLOCK_AND_AUDIT_LOG",
        }
    },
)
TRIED = changed(
    SIGNED,
    defaultAdmissionRule={"evaluationMode": "REQUIRE_ATTESTATION", "enforcementMode": "DRYRUN_AUDIT_LOG_ONLY"},
)
RULE = "run-signed"
SIGNATURES = [
    bad(RULE, "not asked for", "signed or not", GCP_PROD, SIGNED, run()),
    bad(RULE, "a job", "signed or not", GCP_PROD, SIGNED, make("gcp:cloudrunv2/job:Job", inputs={"name": "a"})),
    good(RULE, "asked for", GCP_PROD, SIGNED, run(binaryAuthorization={"useDefault": True})),
    good(RULE, "a policy of its own", GCP_PROD, SIGNED, run(binaryAuthorization={"policy": "projects/p/platforms/a"})),
    good(
        RULE,
        "a policy that lets everything through",
        GCP_PROD,
        changed(SIGNED, defaultAdmissionRule={"evaluationMode": "ALWAYS_ALLOW"}),
        run(),
    ),
    good(RULE, "a policy that is tried", GCP_PROD, TRIED, run()),
    good(RULE, "in dev", gcp("dev"), SIGNED, run()),
]
RULE = "vertex-endpoint-own"
PSC = {"privateServiceConnectConfig": {"enablePrivateServiceConnect": True, "projectAllowlists": ["acme-ai-dev"]}}
OWN = [
    bad(RULE, "shared", "shares its address", vertex(dedicatedEndpointEnabled=None)),
    bad(RULE, "shared in prod", "shares its address", GCP_PROD, vertex(dedicatedEndpointEnabled=False)),
    bad(RULE, "public in prod", "answers on the internet", GCP_PROD, vertex(), enforcement="advisory"),
    good(RULE, "its own", gcp("dev"), vertex()),
    good(RULE, "peered", GCP_PROD, vertex(dedicatedEndpointEnabled=None, network="projects/1/global/networks/n")),
    good(RULE, "private", GCP_PROD, vertex(dedicatedEndpointEnabled=None, **PSC)),
]
DEPLOYED = {"dedicatedResources": {"minReplicaCount": 1, "maxReplicaCount": 3}, "serviceAccount": "serve@a.iam"}
RULE = "vertex-own-identity"
IDENTITIES = [
    bad(RULE, "nobody", "nobody of ours", workflow({"deploy": {**DEPLOYED, "serviceAccount": ""}})),
    bad(
        RULE, "the default one", "runs as 1-compute@",
        workflow([{"deploy": {**DEPLOYED, "serviceAccount": "1-compute@developer.gserviceaccount.com"}}]),
    ),
    good(RULE, "its own", workflow({"deploy": DEPLOYED}), workflow(RUN_PATH)),
]  # fmt: skip

CASES = [
    *RELEASES, *WATCHED, *REDUNDANT, *ISOLATED, *OUTPUT, *PRIVATE, *SIGNATURES, *OWN, *IDENTITIES,
]  # fmt: skip
