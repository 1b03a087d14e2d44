"""Rules on what runs in containers."""

import json

from tests.policies.build import ACCOUNT, aws, bad, good, make, ref, thing

CONFINED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
LIMITS = {"limits": {"cpu": "1", "memory": "1Gi"}}
REPOSITORY = make("aws:ecr/repository:Repository", "repository", inputs={"name": "acme-dev/training"})


def container(**changed):
    base = {
        "name": "main",
        "image": "registry.k8s.io/kubectl:v1.35.3",
        "resources": LIMITS,
        "securityContext": CONFINED,
    }
    return {key: value for key, value in {**base, **changed}.items() if value is not None}


def pod(*containers, **spec):
    return {"containers": list(containers) or [container()], **spec}


def deployment(*containers, kind="apps/v1:Deployment", namespace="team-vision", **spec):
    return thing(kind, namespace=namespace, spec={"template": {"spec": pod(*containers, **spec)}})


def jobset(*containers):
    job = {"template": {"spec": {"template": {"spec": pod(*containers)}}}}
    return thing("jobset.x-k8s.io/v1alpha2:JobSet", spec={"replicatedJobs": [{"name": "workers", **job}]})


def batch(**changed):
    """A job definition whose container is changed."""
    base = {
        "image": f"{ACCOUNT}.dkr.ecr.us-west-2.amazonaws.com/training:1.4.0",
        "user": "10001:10001",
        "privileged": False,
        "resourceRequirements": [{"type": "VCPU", "value": "8"}, {"type": "MEMORY", "value": "1000"}],
        "environment": [{"name": "CHECKPOINT_URI", "value": "s3://acme-dev-artifacts/checkpoints"}],
        "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "/acme-dev-jobs"}},
    }
    container = {key: value for key, value in {**base, **changed}.items() if value is not None}
    return make(
        "aws:batch/jobDefinition:JobDefinition",
        inputs={"type": "container", "containerProperties": json.dumps(container)},
    )


def multinode(**changed):
    properties = json.loads(batch(**changed).inputs["containerProperties"])
    nodes = {"nodeRangeProperties": [{"targetNodes": "0:", "container": properties}]}
    return make(
        "aws:batch/jobDefinition:JobDefinition",
        inputs={"type": "multinode", "nodeProperties": json.dumps(nodes)},
    )


def release(chart="oci://registry.k8s.io/kueue/charts/kueue", **inputs):
    base = {"chart": chart, "version": "0.19.2", "values": {"controller": {"resources": LIMITS}}}
    found = {key: value for key, value in {**base, **inputs}.items() if value is not None}
    return make("kubernetes:helm.sh/v3:Release", inputs=found)


def service(kind="LoadBalancer", **annotations):
    return thing("core/v1:Service", annotations=annotations, spec={"type": kind})


def function(image):
    return make("aws:lambda/function:Function", inputs={"imageUri": image} if image else {"runtime": "python3.13"})


def model(image):
    return make("aws:sagemaker/model:Model", inputs={"primaryContainer": {"image": image}})


def run(image, **more):
    container = {"image": image, **more}
    return make("gcp:cloudrunv2/service:Service", inputs={"template": {"containers": [container]}})


OURS = f"{ACCOUNT}.dkr.ecr.us-west-2.amazonaws.com/acme-dev-serving:1.0"
RULE = "image-own"
OWN = [
    bad(RULE, "a public registry", "no registry of ours", function("public.ecr.aws/lambda/python:3.13")),
    bad(RULE, "somebody's", "no registry of ours", model("somebody/model:1.0")),
    bad(RULE, "a look-alike", "no registry of ours", run("evil.example.com/us-docker.pkg.dev/a:1")),
    bad(RULE, "in dev", "no registry of ours", aws(), function("public.ecr.aws/a:1"), enforcement="advisory"),
    good(
        RULE,
        "ours",
        function(OURS),
        model(OURS),
        run("us-central1-docker.pkg.dev/acme-ai-dev/serving/a:1.0"),
        function(None),
    ),
    good(RULE, "not yet known", REPOSITORY, function(ref(REPOSITORY, "repositoryUrl") + ":1.0")),
    bad("image-pinned", "a model", "latest is whatever", model(OURS.replace("1.0", "latest"))),
    bad("image-pinned", "Cloud Run", "has no tag", run("us-central1-docker.pkg.dev/acme-ai-dev/serving/a")),
    good("image-pinned", "a model of a version", model(OURS)),
    bad("secret-not-in-clear", "Cloud Run", "API_KEY holds", run("a:1", envs=[{"name": "API_KEY", "value": "x"}])),
    good(
        "secret-not-in-clear",
        "a reference of Cloud Run",
        run("a:1", envs=[{"name": "API_KEY", "valueSource": {"secretKeyRef": {"secret": "a"}}}]),
    ),
]

RULE = "image-pinned"
CASES = [
    *OWN,
    bad(RULE, "latest", "whatever was pushed last", deployment(container(image="registry.k8s.io/kubectl:latest"))),
    bad(RULE, "no tag", "has no tag", deployment(container(image="localhost:5000/training"))),
    bad(
        RULE,
        "an init container",
        "busybox has no tag",
        deployment(container(), initContainers=[container(image="busybox")]),
    ),
    bad(RULE, "in an operator's kind", "has no tag", jobset(container(image="training"))),
    bad(RULE, "a job of Batch", "whatever was pushed last", batch(image="training:latest")),
    bad(RULE, "a multi-node job", "has no tag", multinode(image="training")),
    bad(RULE, "our own repository without a tag", "has no tag", REPOSITORY, batch(image=ref(REPOSITORY, "arn") + "/a")),
    bad(RULE, "a chart's tag", "whatever was", release(values={"image": {"repository": "a/b", "tag": "latest"}})),
    bad(RULE, "a chart's image", "whatever was", release(values={"workers": [{"image": "a/b:latest"}]})),
    good(RULE, "a version", deployment(), batch(), multinode(), release()),
    good(RULE, "a digest", deployment(container(image="training@sha256:0123"))),
    good(RULE, "not yet known", REPOSITORY, batch(image=ref(REPOSITORY, "repositoryUrl"))),
    good(
        RULE, "an address that is not yet known", REPOSITORY, batch(image=ref(REPOSITORY, "repositoryUrl") + ":1.4.0")
    ),
    bad("workload-limits", "none", "main has no limit of cpu and memory", deployment(container(resources=None))),
    bad("workload-limits", "no memory", "of memory", deployment(container(resources={"limits": {"cpu": "1"}}))),
    bad("workload-limits", "a job of Batch", "of memory", batch(resourceRequirements=[{"type": "VCPU", "value": "8"}])),
    bad(
        "workload-limits",
        "a chart that says nothing",
        "limit nothing",
        release(values={"replicas": 2}),
        enforcement="advisory",
    ),
    good("workload-limits", "both", deployment(), jobset(), batch(), multinode(), release()),
    good(
        "workload-limits", "a chart of definitions", release("oci://public.ecr.aws/karpenter/karpenter-crd", values={})
    ),
    bad(
        "workload-no-host",
        "privileged",
        "main is privileged",
        deployment(container(securityContext={**CONFINED, "privileged": True})),
    ),
    bad("workload-no-host", "its network", "hostNetwork", deployment(hostNetwork=True)),
    bad("workload-no-host", "its processes", "hostPID", jobset(), deployment(hostPID=True)),
    bad(
        "workload-no-host",
        "its files",
        "the machine's /var/run",
        deployment(volumes=[{"name": "run", "hostPath": {"path": "/var/run"}}]),
    ),
    bad("workload-no-host", "a privileged job of Batch", "is privileged", batch(privileged=True)),
    bad(
        "workload-no-host",
        "files for a job of Batch",
        "the machine's /",
        batch(volumes=[{"name": "all", "host": {"sourcePath": "/"}}]),
    ),
    bad(
        "workload-no-host",
        "an agent somewhere else",
        "hostNetwork",
        deployment(kind="apps/v1:DaemonSet", hostNetwork=True),
    ),
    bad(
        "workload-no-host",
        "no agent",
        "hostNetwork",
        deployment(namespace="kube-system", hostNetwork=True),
    ),
    good("workload-no-host", "nothing of it", deployment(), jobset(), batch(volumes=[{"name": "scratch", "host": {}}])),
    good(
        "workload-no-host",
        "an agent of the machine",
        deployment(kind="apps/v1:DaemonSet", namespace="kube-system", hostNetwork=True),
    ),
    bad(
        "workload-unprivileged",
        "root",
        "main may run as root",
        deployment(container(securityContext={**CONFINED, "runAsNonRoot": False})),
    ),
    bad("workload-unprivileged", "nothing said", "keeps capabilities", deployment(container(securityContext=None))),
    bad("workload-unprivileged", "user 0", "may run as root", deployment(securityContext={"runAsUser": 0})),
    bad("workload-unprivileged", "root in Batch", "may run as root", batch(user=None)),
    bad("workload-unprivileged", "root by number", "may run as root", batch(user="0:0")),
    good("workload-unprivileged", "confined", deployment(), jobset(), batch()),
    good(
        "workload-unprivileged",
        "by the pod",
        deployment(
            container(securityContext={"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}),
            securityContext={"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        ),
    ),
    bad("chart-pinned", "no version", "names no version", release(version=None)),
    bad("chart-pinned", "a range", ">=0.19 <1, which is not one", release(version=">=0.19 <1")),
    bad("chart-pinned", "somebody's copy", "not among", release("oci://ghcr.io/somebody/kueue")),
    bad("chart-pinned", "a look-alike", "not among", release("oci://registry.k8s.io.example.com/kueue")),
    bad(
        "chart-pinned",
        "a repository of somebody's",
        "not among",
        release("kueue", repositoryOpts={"repo": "https://charts.example.com"}),
    ),
    bad(
        "chart-pinned",
        "another chart of Kyverno's",
        "kyverno-policies is not among the charts",
        release("kyverno-policies", repositoryOpts={"repo": "https://kyverno.github.io/kyverno/"}),
    ),
    bad(
        "chart-pinned",
        "another chart of a registry",
        "not among",
        release("oci://registry.k8s.io/other/charts/kueue"),
        release("oci://registry.k8s.io/kueue/charts/jobset"),
    ),
    bad("chart-pinned", "nowhere", "not among", release("kueue")),
    good("chart-pinned", "its project's own", release()),
    good(
        "chart-pinned",
        "by its repository",
        release(
            "kuberay-operator", repositoryOpts={"repo": "https://ray-project.github.io/kuberay-helm/"}, version="v1.7.0"
        ),
    ),
    good(
        "chart-pinned",
        "Kyverno's own",
        release("kyverno", repositoryOpts={"repo": "https://kyverno.github.io/kyverno/"}, version="3.9.0"),
    ),
    good("chart-pinned", "a mirror of ours", release(f"oci://{ACCOUNT}.dkr.ecr.us-west-2.amazonaws.com/mirror/kueue")),
    good("chart-pinned", "in the program itself", release("./charts/mine", version=None)),
    bad("service-internal", "a load balancer", "on the internet", service()),
    bad(
        "service-internal",
        "one that says so",
        "on the internet",
        service(**{"service.beta.kubernetes.io/aws-load-balancer-scheme": "internet-facing"}),
    ),
    bad("service-internal", "a port of every machine", "every machine", service("NodePort")),
    good("service-internal", "inside of the cluster", service("ClusterIP")),
    good(
        "service-internal",
        "inside of the network",
        service(**{"service.beta.kubernetes.io/aws-load-balancer-scheme": "internal"}),
        service(**{"networking.gke.io/load-balancer-type": "Internal"}),
    ),
    good(
        "workload-unprivileged",
        "an agent of the machine",
        deployment(container(securityContext=None), kind="apps/v1:DaemonSet", namespace="kube-system"),
    ),
    bad(
        "workload-unprivileged",
        "an agent elsewhere",
        "may run",
        deployment(container(securityContext=None), kind="apps/v1:DaemonSet", namespace="tools"),
    ),
    bad(
        "workload-unprivileged",
        "no agent",
        "may run",
        deployment(container(securityContext=None), kind="apps/v1:Deployment", namespace="kube-system"),
    ),
    good(
        "workload-limits",
        "what a chart calls its containers",
        release(values={"containers": [{"name": "a"}], "all": {"resources": LIMITS}}),
    ),
    good(RULE, "a chart's image without its tag", release(values={"image": "a/b", "tag": "1.0"})),
    good(
        "chart-pinned",
        "a mirror that is not yet known",
        REPOSITORY,
        release("oci://" + ref(REPOSITORY, "repositoryUrl")),
    ),
]
