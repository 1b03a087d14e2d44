"""Rules on pools of accelerators."""

import json

from tests.policies.build import bad, changed, cluster, good, make, ref, thing
from tests.policies.cases.workloads import release

GKE = make("gcp:container/cluster:Cluster", "gke", inputs={"name": "acme-dev"})
EKS = make("aws:eks/cluster:Cluster", "eks", inputs={"name": "acme-dev"})
TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE"}
L4 = {"type": "nvidia-l4", "count": 1, "gpuDriverInstallationConfig": {"gpuDriverVersion": "LATEST"}}
OPERATOR = "https://helm.ngc.nvidia.com/nvidia"


def gpu(*taints, driver="LATEST", **node):
    found = {**L4, "gpuDriverInstallationConfig": {"gpuDriverVersion": driver}}
    config = {"machineType": "g2-standard-8", "guestAccelerators": [found], "taints": list(taints), **node}
    return make("gcp:container/nodePool:NodePool", inputs={"nodeConfig": config})


def karpenter(*types, limits=None, taints=()):
    needs = [{"key": "node.kubernetes.io/instance-type", "operator": "In", "values": list(types)}]
    spec = {"template": {"spec": {"requirements": needs, "taints": list(taints)}}, "limits": limits or {"nodes": "4"}}
    return thing("karpenter.sh/v1:NodePool", spec=spec)


def template(type_="p5.48xlarge", market=None, reservation=None):
    target = {"capacityReservationId": reservation}
    return make(
        "aws:ec2/launchTemplate:LaunchTemplate",
        "template",
        inputs={
            "instanceType": type_,
            **({"instanceMarketOptions": {"marketType": market}} if market else {}),
            **({"capacityReservationSpecification": {"capacityReservationTarget": target}} if reservation else {}),
        },
    )


def group(of=None, *taints, **inputs):
    made = {"launchTemplate": {"id": ref(of, "id")}} if of else {}
    return make("aws:eks/nodeGroup:NodeGroup", inputs={**made, "taints": list(taints), **inputs})


def chart(name, **driver):
    return release(name, repositoryOpts={"repo": OPERATOR}, values={"driver": driver} if driver else {})


def bought(affinity=None, **inputs):
    node = {"reservationAffinity": {"consumeReservationType": affinity}} if affinity else {}
    return make("gcp:container/nodePool:NodePool", inputs={"nodeConfig": {**node, **inputs.pop("node", {})}, **inputs})


KEY = "arn:aws:kms:us-west-2:111111111111:key/0a1b"


def hyperpod(*taints, type_name="AWS::SageMaker::Cluster", machine="ml.p5.48xlarge", key=KEY, root=True, **state):
    disks = [
        *([{"RootVolume": True, "VolumeKmsKeyId": key}] if root else []),
        {"VolumeSizeInGB": 200, "VolumeKmsKeyId": key},
    ]
    group = {
        "InstanceGroupName": "h100",
        "InstanceType": machine,
        "InstanceStorageConfigs": [{"EbsVolumeConfig": disk} for disk in disks],
        "KubernetesConfig": {"Taints": list(taints)},
    }
    made = {"NodeRecovery": "Automatic", "VpcConfig": {"Subnets": ["subnet-1"]}, "InstanceGroups": [group], **state}
    return make("aws:cloudcontrol/resource:Resource", inputs={"typeName": type_name, "desiredState": json.dumps(made)})


RULE, DRIVER, MARKET, KEPT = "pool-tainted", "pool-driver-owner", "pool-one-market", "pool-kept"
CASES = [
    bad(RULE, "GPUs of GKE", "no taint keeps", gpu()),
    bad(RULE, "a taint that only prefers", "no taint", gpu({**TAINT, "effect": "PREFER_NO_SCHEDULE"})),
    bad(
        RULE,
        "TPUs",
        "no taint",
        make("gcp:container/nodePool:NodePool", inputs={"nodeConfig": {"machineType": "ct5lp-hightpu-8t"}}),
    ),
    bad(RULE, "machines of Karpenter", "no taint", karpenter("g6.2xlarge", "gr6.4xlarge")),
    bad(RULE, "by what is counted", "no taint", karpenter(limits={"nvidia.com/gpu": "8"})),
    bad(RULE, "a managed group by its image", "no taint", group(amiType="AL2023_x86_64_NVIDIA")),
    bad(RULE, "a managed group by its template", "no taint", template(), group(template())),
    bad(RULE, "Trainium", "no taint", group(instanceTypes=["trn1.32xlarge"])),
    good(RULE, "kept off", gpu(TAINT), karpenter("g6.2xlarge", taints=[{**TAINT, "effect": "NoSchedule"}])),
    good(RULE, "a group kept off", template(), group(template(), TAINT)),
    good(RULE, "machines without", karpenter("m7g.2xlarge", "c7gn.large"), group(instanceTypes=["m7i.large"])),
    bad(DRIVER, "nobody said", "is not stated", gpu(driver=None)),
    bad(DRIVER, "two on EKS", "has one already", EKS, cluster(EKS), chart("gpu-operator")),
    bad(DRIVER, "two on GKE", "has one already", GKE, cluster(GKE), gpu(), chart("gpu-operator", enabled=True)),
    bad(
        DRIVER,
        "none",
        "nobody installs",
        GKE,
        cluster(GKE),
        gpu(driver="INSTALLATION_DISABLED"),
        chart("gpu-operator", enabled=False),
    ),
    bad(DRIVER, "a second plug-in", "brings the device plugin", GKE, cluster(GKE), chart("nvidia-device-plugin")),
    good(DRIVER, "GKE", GKE, cluster(GKE), gpu()),
    good(DRIVER, "the image", EKS, cluster(EKS), chart("gpu-operator", enabled=False)),
    good(DRIVER, "the plug-in of EKS", EKS, cluster(EKS), chart("nvidia-device-plugin")),
    good(DRIVER, "GKE, beside an operator", GKE, cluster(GKE), gpu(), chart("gpu-operator", enabled=False)),
    bad(DRIVER, "an operator without GPUs", "has one already", GKE, cluster(GKE), chart("gpu-operator")),
    good(
        DRIVER,
        "the operator",
        GKE,
        cluster(GKE),
        gpu(driver="INSTALLATION_DISABLED"),
        chart("gpu-operator", enabled=True),
    ),
    bad(MARKET, "spot takes what fits", "affinity to one is not stated", bought(node={"spot": True})),
    bad(MARKET, "spot of a reservation", "SPECIFIC_RESERVATION", bought("SPECIFIC_RESERVATION", node={"spot": True})),
    bad(MARKET, "flex start", "ANY_RESERVATION", bought("ANY_RESERVATION", node={"flexStart": True})),
    bad(
        MARKET,
        "queued and spot",
        "are never spot",
        bought("NO_RESERVATION", node={"spot": True}, queuedProvisioning={"enabled": True}),
    ),
    bad(MARKET, "spot of a reservation on EC2", "of a reservation", template(market="spot", reservation="cr-1")),
    bad(
        MARKET,
        "a spot group with a reservation",
        "takes a reservation",
        template(reservation="cr-1"),
        group(template(reservation="cr-1"), capacityType="SPOT"),
    ),
    good(MARKET, "spot", bought("NO_RESERVATION", node={"spot": True}), template(market="spot")),
    good(MARKET, "reserved", bought("SPECIFIC_RESERVATION"), template(reservation="cr-1")),
    good(
        MARKET, "a block", template(market="capacity-block", reservation="cr-1"), group(capacityType="CAPACITY_BLOCK")
    ),
    good(MARKET, "on demand", bought(), changed(group(), capacityType="ON_DEMAND")),
    bad(RULE, "GPUs that were attached", "no taint keeps", gpu(machineType="n1-standard-8")),
    good(MARKET, "by request", bought("NO_RESERVATION", node={"flexStart": True})),
    good(
        MARKET,
        "a reserved group",
        template(reservation="cr-1"),
        group(template(reservation="cr-1"), capacityType="ON_DEMAND"),
    ),
    good(MARKET, "a spot group", template(), group(template(), capacityType="SPOT")),
    bad(RULE, "machines of HyperPod", "off the machines of h100", hyperpod()),
    good(
        RULE,
        "machines of HyperPod, kept off",
        hyperpod({"Key": "nvidia.com/gpu", "Effect": "NoSchedule"}),
        hyperpod(machine="ml.m7i.2xlarge"),
    ),
    bad(KEPT, "nobody heals", "stays as it is", hyperpod(NodeRecovery="None")),
    bad(KEPT, "a network of SageMaker", "in no network", hyperpod(VpcConfig=None)),
    bad(KEPT, "an autoscaler without a ceiling", "past what is described", hyperpod(AutoScaling={"Mode": "Enable"})),
    bad(KEPT, "a disk under a key of AWS", "without a key", hyperpod(key=None)),
    bad(KEPT, "a root disk under a key of AWS", "without a key", hyperpod(root=False)),
    good(KEPT, "as it is to be", hyperpod()),
    good(KEPT, "a key that is yet to be made", hyperpod(key="${urn:pulumi:dev::p::aws:kms/key:Key::k#arn}")),
    good(KEPT, "something else", hyperpod(type_name="AWS::Logs::LogGroup", NodeRecovery="None")),
    good(
        KEPT,
        "not known yet",
        make(
            "aws:cloudcontrol/resource:Resource",
            inputs={"typeName": "AWS::SageMaker::Cluster", "desiredState": "later"},
        ),
    ),
]
