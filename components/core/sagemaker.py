"""Which machines of the catalogue SageMaker has, for what, and what they are called there; and what HyperPod is told."""

from collections.abc import Mapping
from typing import Any, Literal

from components.core.accelerators import Machine

Use = Literal["hosting", "notebook", "processing", "training", "transform"]

# Families that EC2 has and SageMaker has not, and those that it has for some uses only. SageMaker API, TrainingInstanceType,
# ProcessingInstanceType, AppInstanceType and ProductionVariantInstanceType; the tests hold the catalogue against them.
_NEVER = ("c7g", "gr6", "inf2", "m7g")
_NEITHER = ("g4dn.metal", "trn2.3xlarge")
_ONLY_TRAINING = ("p5e", "p6-b300", "trn2")
_NO_PROCESSING = ("p4d", "p4de", "p5en", "p6-b200", "trn1", "trn1n")
# Endpoints: nothing of another architecture than that of the images (c7g), though SageMaker has it.
_NO_HOSTING = ("c7g", "gr6", "m7g", "t3")
# Batch transform has of those: TransformInstanceType.
_NO_TRANSFORM = ("p4d", "p4de", "p5", "p5e", "p5en", "p6-b200", "p6-b300", "trn1n", "trn2")
_SMALL = {"c6i.large": ("notebook",), "p5.48xlarge": ("notebook", "training")}


def offered(machine: Machine, use: Use) -> bool:
    """Whether SageMaker has a machine of the catalogue for a use.

    >>> from components.core.accelerators import machine
    >>> [offered(machine("aws", "p4d.24xlarge"), use) for use in ("notebook", "processing", "training")]
    [True, False, True]
    """
    family = machine.type.split(".")[0]
    if machine.cloud != "aws" or machine.type in _NEITHER:
        return False
    if use in ("hosting", "transform"):
        return family not in _NO_HOSTING and not (use == "transform" and family in _NO_TRANSFORM)
    if family in _NEVER:
        return False
    if machine.type in _SMALL:
        return use in _SMALL[machine.type]
    if family in _ONLY_TRAINING:
        return use == "training"
    return not (family in _NO_PROCESSING and use == "processing")


def instance(machine: str) -> str:
    """The name that SageMaker has for a machine type.

    >>> instance("g6.xlarge")
    'ml.g6.xlarge'
    """
    return f"ml.{machine}"


# ---- HyperPod

HYPERPOD_VERSIONS = ("1.34", "1.35")
"""Versions of Kubernetes, of those that a description may name, that HyperPod has machines for ("Getting started with Amazon EKS
support in SageMaker HyperPod": 1.30 to 1.35, as noted on 2026-10-04)."""
HYPERPOD_DISK_GIB = 1024
"""Largest disk of a machine under the default quota, L-E13DF72A."""
TRAINING_PLAN = r"^arn:aws:sagemaker:[a-z0-9-]+:\d{12}:training-plan/[\w-]+$"
"""AWS::SageMaker::Cluster, ClusterInstanceGroup, TrainingPlanArn."""

# Where the images of the agent lie, by region: an account for each. This and what follows: aws/sagemaker-hyperpod-cli@011ca92
# (2026-06-22), helm_chart/HyperPodHelmChart, which is in no registry of charts.
AGENT_ACCOUNTS: Mapping[str, str] = {
    "ap-northeast-1": "533267052152",
    "ap-south-1": "011528288864",
    "ap-southeast-1": "905418428165",
    "ap-southeast-2": "851725636348",
    "ap-southeast-3": "971422672635",
    "ap-southeast-4": "084375568333",
    "ca-central-1": "843976229209",
    "eu-central-1": "211125453373",
    "eu-north-1": "654654141839",
    "eu-south-2": "626887787726",
    "eu-west-1": "533267293120",
    "eu-west-2": "011528288831",
    "sa-east-1": "025066253954",
    "us-east-1": "767398015722",
    "us-east-2": "851725546812",
    "us-west-1": "011528288828",
    "us-west-2": "905418368575",
}
"""The regions that HyperPod is known to be in with EKS, and the account of its images there."""
_AGENT = "hyperpod-health-monitoring-agent:1.0.1892.0_1.0.424.0"

HYPERPOD_SPACE = "aws-hyperpod"
"""The namespace that HyperPod looks into; it has no other."""
HYPERPOD_USER = "hyperpod-service-linked-role"
"""What HyperPod itself is called in the cluster, by the access entry that it makes."""
AGENT = "health-monitoring-agent"
CHECKER = "deep-health-check-service-account"

_EVENTS = {"apiGroups": ["", "events.k8s.io"], "resources": ["events"]}
RIGHTS: Mapping[str, tuple[str, tuple[dict[str, Any], ...]]] = {
    AGENT: (
        AGENT,
        (
            {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]},
            {"apiGroups": [""], "resources": ["nodes", "nodes/status"], "verbs": ["patch"]},
            {**_EVENTS, "verbs": ["create", "patch", "update"]},
        ),
    ),
    "deep-health-check": (
        CHECKER,
        (
            {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list"]},
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "patch"]},
        ),
    ),
    # Without what it may do to jobs of Kubeflow, which are not there.
    "job-auto-restart": (
        HYPERPOD_USER,
        (
            {
                "apiGroups": [""],
                "resources": ["nodes", "nodes/status", "pods", "pods/status"],
                "verbs": ["get", "list", "watch"],
            },
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["delete", "deletecollection"]},
            {"apiGroups": [""], "resources": ["nodes", "nodes/status"], "verbs": ["patch"]},
            {**_EVENTS, "verbs": ["create"]},
            {
                "apiGroups": ["coordination.k8s.io"],
                "resources": ["leases"],
                "verbs": ["get", "create", "update", "delete"],
            },
        ),
    ),
    "hyperpod-patching": (
        HYPERPOD_USER,
        (
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
            {"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"]},
        ),
    ),
}
"""By part of HyperPod: who acts in the cluster, a service account or `HYPERPOD_USER`, and what that may do."""

# Runs once, before the kubelet starts. Every machine of HyperPod has a root disk of 100 GB, whatever it is for; images and what
# pods write go to the disk that the description gives it instead. Links, not mounts, for they outlast a restart of the machine,
# which HyperPod may want (awslabs/awsome-distributed-training@0edaf15, 1.architectures/7.sagemaker-hyperpod-eks/LifecycleScripts,
# moves the same two).
ON_CREATE = """#!/bin/bash
set -euo pipefail
root=${ROOT:-}
disk=$root/opt/sagemaker
for _ in {1..12}; do
  mountpoint -q "$disk" && break
  echo "waiting for $disk"
  sleep 5
done
if ! mountpoint -q "$disk"; then
  echo "no disk at $disk: images stay on the root disk"
  exit 0
fi
for name in containerd kubelet; do
  home=$root/var/lib/$name
  if systemctl is-active --quiet "$name"; then
    echo "$name runs already: it stays where it is"
  elif [ ! -L "$home" ]; then
    mkdir -p "$home" "$disk/$name"
    cp -a "$home/." "$disk/$name/"
    rm -rf "$home"
    ln -s "$disk/$name" "$home"
  fi
done
"""
"""What a machine of HyperPod runs as it is made."""


def agent_image(region: str) -> str:
    """The agent that watches the accelerators of a machine.

    >>> agent_image("us-west-2").partition(":")[0]
    '905418368575.dkr.ecr.us-west-2.amazonaws.com/hyperpod-health-monitoring-agent'
    """
    return f"{AGENT_ACCOUNTS[region]}.dkr.ecr.{region}.amazonaws.com/{_AGENT}"
