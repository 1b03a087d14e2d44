"""Rules on inference in a cluster, and on weights."""

import json

from tests.policies.build import aws, bad, good, make, thing

PROBES = {
    "readinessProbe": {"httpGet": {"path": "/ping", "port": 8080}},
    "livenessProbe": {"tcpSocket": {"port": 8080}},
}
LABELS = {"ai-platform.io/endpoint": "fraud"}


def container(**changes):
    base = {"name": "main", "image": "111111111111.dkr.ecr.us-west-2.amazonaws.com/a:1", "ports": [{}], **PROBES}
    return {key: value for key, value in {**base, **changes}.items() if value is not None}


def deployment(*containers, replicas=2, namespace="serving-risk", labels=LABELS):
    template = {"metadata": {"labels": labels}, "spec": {"containers": list(containers) or [container()]}}
    return thing("apps/v1:Deployment", "fraud", namespace=namespace, spec={"replicas": replicas, "template": template})


def kserve(*containers, least=2, **predictor):
    found = {"minReplicas": least, "maxReplicas": 4, "labels": LABELS, **predictor}
    if "model" not in predictor:
        found["containers"] = list(containers) or [container()]
    kind = "serving.kserve.io/v1beta1:InferenceService"
    return thing(kind, "fraud", namespace="serving-risk", spec={"predictor": found})


def budget(namespace="serving-risk", **labels):
    selector = {"matchLabels": labels or LABELS}
    return thing("policy/v1:PodDisruptionBudget", namespace=namespace, spec={"maxUnavailable": 1, "selector": selector})


def rollout(of="fraud"):
    spec = {"replicas": 2, "workloadRef": {"kind": "Deployment", "name": of}}
    return thing("argoproj.io/v1alpha1:Rollout", of, namespace="serving-risk", spec=spec)


def variables(**named):
    return [{"name": key, "value": value} for key, value in named.items()]


RULE = "inference-probed"
PROBED = [
    bad(
        RULE,
        "none",
        "no livenessProbe and no readinessProbe",
        deployment(container(readinessProbe=None, livenessProbe=None)),
    ),
    bad(RULE, "not ready", "no readinessProbe", kserve(container(readinessProbe=None))),
    bad(RULE, "hangs", "no livenessProbe", kserve(container(livenessProbe=None))),
    good(RULE, "both", deployment(), kserve()),
    good(RULE, "what is not called", deployment(container(ports=None, readinessProbe=None, livenessProbe=None))),
]

RULE = "inference-kept"
PROD = aws("prod")
KEPT = [
    bad(RULE, "none", "may go at once", PROD, kserve()),
    bad(RULE, "of another namespace", "may go at once", PROD, deployment(), budget("serving-claims")),
    bad(RULE, "of other pods", "may go at once", PROD, kserve(), budget(app="other")),
    bad(RULE, "pods of a rollout", "may go at once", PROD, deployment(replicas=0), rollout()),
    good(RULE, "no pods of its own", PROD, deployment(replicas=0), rollout("other")),
    good(RULE, "one", PROD, deployment(), kserve(), budget()),
    good(RULE, "one, of a rollout", PROD, deployment(replicas=0), rollout(), budget()),
    good(RULE, "in dev", aws("dev"), kserve()),
    good(RULE, "a single pod", PROD, kserve(least=1)),
    good(RULE, "the cluster's own", PROD, deployment(namespace="kube-system")),
    good(RULE, "what nobody calls", PROD, deployment(container(ports=None))),
]


def model(**environment):
    return make("aws:sagemaker/model:Model", inputs={"primaryContainer": {"image": "a", "environment": environment}})


def task(**environment):
    made = {"name": "a", "image": "a", "environment": variables(**environment)}
    return make("aws:ecs/taskDefinition:TaskDefinition", inputs={"containerDefinitions": json.dumps([made])})


VLLM = {"image": "acme/vllm:1", "command": ["vllm", "serve", "/weights"]}
OFFLINE = variables(HF_HUB_OFFLINE="1")
RULE = "weights-ours"
GARDEN = "gcp:vertex/aiEndpointWithModelGardenDeployment:AiEndpointWithModelGardenDeployment"
WEIGHTS = [
    bad(RULE, "Hugging Face", "hf://org/name", kserve(model={"storageUri": "hf://org/name"})),
    bad(RULE, "the internet", "https://example.com", kserve(model={"storageUri": "https://example.com/m.tar"})),
    bad(RULE, "a model by its address", "hf://org", thing("serving.kserve.io/v1alpha1:LLMInferenceService",
                                                         spec={"model": {"uri": "hf://org/name"}})),
    bad(RULE, "a variable", "HF_MODEL_ID is org/name", model(HF_MODEL_ID="org/name")),
    bad(RULE, "a task", "MODEL_URI is https://", task(MODEL_URI="https://example.com/m.tar")),
    bad(RULE, "on the command line", "loads org/name",
        deployment(container(**{**VLLM, "command": ["vllm", "serve", "org/name"]}, env=OFFLINE))),
    bad(RULE, "a flag", "loads org/name", deployment(container(args=["--model", "org/name"]))),
    bad(RULE, "a flag with its value", "loads org/name", deployment(container(args=["--model=org/name"]))),
    bad(RULE, "may fetch", "may fetch from Hugging Face", deployment(container(**VLLM))),
    bad(RULE, "may fetch, and says so", "may fetch", deployment(container(**VLLM, env=variables(HF_HUB_OFFLINE="0")))),
    bad(RULE, "Model Garden", "from Hugging Face", make(GARDEN, inputs={"huggingFaceModelId": "org/name"})),
    good(RULE, "ours", kserve(model={"storageUri": "s3://acme-prod-models/a"}), task(MODEL_URI="s3://a/b")),
    bad(RULE, "a list of addresses", "hf://a/b", thing("a.io/v1:Router", spec={"models": [{"storageUri": "hf://a/b"}]})),
    good(RULE, "a path", task(MODEL_URI="/weights"), model(MODEL_ID="")),
    good(RULE, "a name without an owner", model(MODEL_ID="fraud")),
    good(RULE, "a model of ours by its address",
         thing("serving.kserve.io/v1alpha1:LLMInferenceService", spec={"model": {"uri": "s3://a/b", "name": "a"}})),
    good(RULE, "a disk", deployment(container(**VLLM, args=["--model=/weights"], env=OFFLINE))),
    good(RULE, "a name", kserve(container(env=variables(MODEL_NAME="org/name"))), model(MODEL_URI="s3://a/b")),
    good(RULE, "a model of Google's", make(GARDEN, inputs={"publisherModelName": "publishers/google/models/gemma"})),
]  # fmt: skip

SCALED = "keda.sh/v1alpha1:ScaledObject"
GATEWAY = "gateway.networking.k8s.io/v1:Gateway"
INGRESS = "networking.k8s.io/v1:Ingress"


def gateway(class_):
    return thing(GATEWAY, spec={"gatewayClassName": class_})


def ingress(scheme):
    return thing(INGRESS, annotations={"alb.ingress.kubernetes.io/scheme": scheme}, spec={"ingressClassName": "alb"})


ROUTE = "gateway.networking.k8s.io/v1:HTTPRoute"
CERTIFIED = {"networking.gke.io/certmap": "acme-ai-dev-gateway"}
EXTERNAL = "gke-l7-global-external-managed"


def outward(http="Same", annotations=CERTIFIED):
    listeners = [
        {"name": "https", "protocol": "HTTPS", "port": 443, "allowedRoutes": {"namespaces": {"from": "Selector"}}},
        {"name": "http", "protocol": "HTTP", "port": 80, "allowedRoutes": {"namespaces": {"from": http}}},
    ]
    return thing(GATEWAY, "front", annotations=annotations, spec={"gatewayClassName": EXTERNAL, "listeners": listeners})


def leads(section="https", **rest):
    parents = [{"name": "front", "sectionName": section}]
    rules = [{"backendRefs": [{"name": "search", "port": 15443}]}]
    return thing(ROUTE, "search", spec={"parentRefs": parents, "rules": rules}, **rest)


def guarded(policy="acme-ai-dev-throttle-5"):
    target = {"group": "", "kind": "Service", "name": "search"}
    return thing(
        "networking.gke.io/v1:GCPBackendPolicy",
        "search",
        spec={"default": {"securityPolicy": policy}, "targetRef": target},
    )


OTHERS = [
    bad("service-internal", "a gateway without certificates", "without TLS", outward(annotations={})),
    bad("service-internal", "a gateway with plain HTTP", "without TLS", outward(http="All")),
    bad("service-internal", "a route past no firewall", "no firewall is before search", outward(), leads()),
    bad("service-internal", "a policy without a firewall", "no firewall", outward(), leads(), guarded(None)),
    bad("service-internal", "a route from plain HTTP", "from plain HTTP", outward(), leads("http"), guarded()),
    good("service-internal", "a gateway with all of it", outward(), leads(), guarded()),
    bad("scale-ceiling", "KServe", "no ceiling", thing("serving.kserve.io/v1beta1:InferenceService", spec={"predictor": {}})),
    bad("scale-ceiling", "KEDA", "no ceiling", thing(SCALED, spec={"minReplicaCount": 1})),
    good("scale-ceiling", "in a cluster", kserve(), thing(SCALED, spec={"maxReplicaCount": 3})),
    bad("service-internal", "a gateway", "gke-l7-global-external", gateway("gke-l7-global-external-managed")),
    bad("service-internal", "an ingress", "on the internet", ingress("internet-facing")),
    good("service-internal", "a gateway inside", gateway("gke-l7-rilb")),
    good("service-internal", "an ingress inside", ingress("internal")),
]  # fmt: skip

CASES = [*PROBED, *KEPT, *WEIGHTS, *OTHERS]
