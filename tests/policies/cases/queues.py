"""Rules on queues."""

import yaml

from tests.policies.build import bad, changed, cluster, good, make, ref, thing
from tests.policies.cases.workloads import release

EKS = make("aws:eks/cluster:Cluster", "eks", inputs={"name": "acme-dev"})
GKE = make("gcp:container/cluster:Cluster", "gke", inputs={"name": "acme-dev"})
GPU = "nvidia.com/gpu"
LABELS = {"ai-platform.io/pool": "l4"}
SPACE = thing("core/v1:Namespace", "team-vision")
ROOT = thing("kueue.x-k8s.io/v1beta2:Cohort", "training", spec={})


def quotas(flavor="l4", **names):
    resources = [
        {"name": name, **({"nominalQuota": quota} if quota is not None else {})} for name, quota in names.items()
    ]
    return [{"coveredResources": list(names), "flavors": [{"name": flavor, "resources": resources}]}]


def queue(name="train.vision", groups=None, **spec):
    base = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "team-vision"}},
        "resourceGroups": quotas(**{GPU: "4"}) if groups is None else groups,
        **spec,
    }
    return thing("kueue.x-k8s.io/v1beta2:ClusterQueue", name, spec={k: v for k, v in base.items() if v is not None})


def cohort(name="team-vision", **spec):
    return thing("kueue.x-k8s.io/v1beta2:Cohort", name, spec={"parentName": "training", **spec})


def flavor(name="l4", **labels):
    return thing("kueue.x-k8s.io/v1beta2:ResourceFlavor", name, spec={"nodeLabels": labels or LABELS})


def local(of="train.vision"):
    return thing("kueue.x-k8s.io/v1beta2:LocalQueue", "train", namespace="team-vision", spec={"clusterQueue": of})


def karpenter(most="8", **labels):
    template = {"metadata": {"labels": labels or LABELS}}
    return thing("karpenter.sh/v1:NodePool", "l4", spec={"template": template, "limits": {GPU: most, "nodes": "8"}})


def gke(most=2, count=4, labels=None, **gpu):
    found = {"type": "nvidia-l4", "count": count, **gpu}
    config = {"labels": labels or LABELS, "guestAccelerators": [found]}
    scaling = {"totalMaxNodeCount": most}
    return make("gcp:container/nodePool:NodePool", inputs={"nodeConfig": config, "autoscaling": scaling})


_SLICE = "cloud.google.com/gke-tpu-topology"
TPU = {**LABELS, "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice", _SLICE: "4x4"}


def tpu(topology=None):
    config = {"labels": LABELS, "machineType": "ct5lp-hightpu-4t"}
    placed = {"placementPolicy": {"type": "COMPACT", "tpuTopology": topology}} if topology else {}
    return make("gcp:container/nodePool:NodePool", inputs={"nodeConfig": config, **placed})


TEMPLATE = make("aws:ec2/launchTemplate:LaunchTemplate", "template", inputs={"instanceType": "p5.48xlarge"})


def group(most=1, template=TEMPLATE, **labels):
    inputs = {"launchTemplate": {"id": ref(template, "id")}, "scalingConfig": {"maxSize": most}}
    return make("aws:eks/nodeGroup:NodeGroup", inputs={**inputs, "labels": {**LABELS, **labels}})


def kueue(**settings):
    values = {"managerConfig": {"controllerManagerConfigYaml": yaml.safe_dump(settings)}}
    return release(values=values)


def environment(**inputs):
    resources = {"type": "SPOT", "allocationStrategy": "SPOT_PRICE_CAPACITY_OPTIMIZED", **inputs.pop("resources", {})}
    base = {"type": "MANAGED", "namePrefix": "acme-dev-l4-", "computeResources": resources, **inputs}
    return make(
        "aws:batch/computeEnvironment:ComputeEnvironment", inputs={k: v for k, v in base.items() if v is not None}
    )


RULE, WHOLE, WITHIN = "queue-bounded", "queue-complete", "queue-within-pool"
IN = (EKS, cluster(EKS))
CASES = [
    bad(RULE, "of nothing", "no quota of anything", queue(groups=[])),
    bad(RULE, "not of everything", f"no quota of {GPU} of l4", queue(groups=quotas(cpu="8", **{GPU: None}))),
    bad(
        RULE,
        "a cohort that is not there",
        "nothing declares its cohort team-visoin",
        cohort(),
        ROOT,
        queue(cohortName="team-visoin"),
    ),
    bad(RULE, "a cohort of nothing's", "its cohort training", cohort()),
    good(RULE, "of its cohort", queue(cohortName="team-vision"), cohort(), ROOT),
    good(RULE, "by itself", queue()),
    bad(WHOLE, "a flavor that is not there", "its flavor l4", queue()),
    bad(WHOLE, "every namespace", "names no namespaces", flavor(), queue(namespaceSelector={})),
    bad(WHOLE, "to no queue", "nothing declares train.visoin", SPACE, queue(), flavor(), local("train.visoin")),
    bad(WHOLE, "in no namespace", "nothing declares team-vision", queue(), flavor(), local()),
    bad(WHOLE, "on no machines", "no pool has machines", *IN, flavor(**{"ai-platform.io/pool": "l5"}), karpenter()),
    bad(WHOLE, "on the other cloud's machines", "no pool has machines", *IN, flavor(), gke()),
    good(WHOLE, "all of it", *IN, SPACE, queue(), flavor(), local(), karpenter()),
    good(WHOLE, "on machines of GKE", GKE, cluster(GKE), flavor(), gke()),
    bad(WHOLE, "on another slice", "no pool has machines", GKE, cluster(GKE), flavor(**TPU), tpu("2x4")),
    good(WHOLE, "on a slice of TPUs", GKE, cluster(GKE), flavor(**TPU), tpu("4x4")),
    good(WHOLE, "on one machine with TPUs", GKE, cluster(GKE), flavor(**{**TPU, _SLICE: "2x2"}), tpu()),
    good(WHOLE, "a flavor that is no machine", *IN, changed(flavor(), spec={})),
    bad(
        WITHIN,
        "more than Karpenter starts",
        "promise 9 nvidia.com/gpu, of 8",
        *IN,
        flavor(),
        karpenter(),
        queue(groups=quotas(**{GPU: "9"})),
    ),
    bad(
        WITHIN,
        "two together",
        "promise 10",
        *IN,
        flavor(),
        karpenter(),
        queue(groups=quotas(**{GPU: "5"})),
        queue("train.risk", groups=quotas(**{GPU: "5"})),
    ),
    bad(
        WITHIN,
        "with what their cohort has",
        "promise 9",
        *IN,
        flavor(),
        karpenter(),
        queue(groups=quotas(**{GPU: "8"})),
        cohort(resourceGroups=quotas(**{GPU: 1})),
    ),
    bad(WITHIN, "more than GKE starts", "of 8", GKE, cluster(GKE), flavor(), gke(), queue(groups=quotas(**{GPU: "9"}))),
    bad(WITHIN, "more than a group has", "of 8", *IN, flavor(), TEMPLATE, group(), queue(groups=quotas(**{GPU: "9"}))),
    good(WITHIN, "what there is", *IN, flavor(), karpenter(), queue(groups=quotas(**{GPU: "8"}))),
    good(WITHIN, "two pools", *IN, flavor(), TEMPLATE, group(), karpenter(), queue(groups=quotas(**{GPU: "16"}))),
    good(
        WITHIN,
        "shared ones",
        GKE,
        cluster(GKE),
        flavor(),
        gke(gpuSharingConfig={"maxSharedClientsPerGpu": 4}),
        queue(groups=quotas(**{GPU: "32"})),
    ),
    good(
        WITHIN,
        "parts, which the pool does not count",
        GKE,
        cluster(GKE),
        flavor(),
        gke(gpuPartitionSize="1g.5gb"),
        queue(groups=quotas(**{GPU: "56"})),
    ),
    good(
        WITHIN,
        "shares, which a group does not count",
        *IN,
        flavor(),
        TEMPLATE,
        group(**{"nvidia.com/device-plugin.config": "l4"}),
        queue(groups=quotas(**{GPU: "32"})),
    ),
    bad("queue-reclaims", "by default", "does not get back", queue(cohortName="team-vision")),
    bad(
        "queue-reclaims",
        "never",
        "does not get back",
        queue(cohortName="team-vision", preemption={"reclaimWithinCohort": "Never"}),
    ),
    good("queue-reclaims", "any", queue(cohortName="team-vision", preemption={"reclaimWithinCohort": "Any"})),
    good("queue-reclaims", "nobody to lend to", queue()),
    bad("queue-not-bypassed", "by default", "start at once", kueue()),
    bad("queue-not-bypassed", "no configuration", "start at once", release()),
    bad(
        "queue-not-bypassed",
        "none that can be read",
        "start",
        release(values={"managerConfig": {"controllerManagerConfigYaml": "{"}}),
    ),
    bad("queue-not-bypassed", "everywhere", "every namespace", kueue(manageJobsWithoutQueueName=True)),
    bad(
        "queue-not-bypassed",
        "not yet known",
        "not known before",
        EKS,
        release(values={"managerConfig": {"controllerManagerConfigYaml": ref(EKS, "name")}}),
        enforcement="advisory",
    ),
    good(
        "queue-not-bypassed",
        "of teams",
        kueue(manageJobsWithoutQueueName=True, managedJobsNamespaceSelector={"matchLabels": {"a": "b"}}),
    ),
    good("queue-not-bypassed", "another chart", release("oci://registry.k8s.io/jobset/charts/jobset")),
    bad("batch-updatable", "by default", "is BEST_FIT", environment(resources={"allocationStrategy": "BEST_FIT"})),
    bad("batch-updatable", "not managed", "not managed", environment(type="UNMANAGED")),
    bad("batch-updatable", "a role of its own", "service role", environment(serviceRole="arn:aws:iam::1:role/batch")),
    bad("batch-updatable", "a fixed name", "name is fixed", environment(name="acme-dev-l4", namePrefix=None)),
    good("batch-updatable", "in place", environment()),
    good("batch-updatable", "Fargate", environment(resources={"type": "FARGATE", "allocationStrategy": None})),
    good(RULE, "of a cohort not yet known", EKS, queue(cohortName=ref(EKS, "name"))),
    good(
        WITHIN,
        "machines that nobody counts",
        GKE,
        cluster(GKE),
        flavor(),
        changed(gke(), autoscaling=None),
        queue(groups=quotas(**{GPU: "99"})),
    ),
    good(
        WITHIN,
        "another accelerator",
        GKE,
        cluster(GKE),
        flavor(),
        gke(),
        queue(groups=quotas(**{"google.com/tpu": "99"})),
    ),
    good(
        WITHIN,
        "one pool of two that says nothing",
        *IN,
        flavor(),
        karpenter(),
        group(template=EKS),
        queue(groups=quotas(**{GPU: "99"})),
    ),
    good(
        WITHIN,
        "a flavor that is no machine",
        *IN,
        changed(flavor(), spec={}),
        karpenter(),
        queue(groups=quotas(**{GPU: "99"})),
    ),
    good(
        "batch-updatable",
        "the service-linked role",
        environment(serviceRole="arn:aws:iam::1:role/AWSServiceRoleForBatch"),
    ),
]
