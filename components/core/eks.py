"""What EKS and Karpenter want to be told: versions that go together, and what every machine of a cluster is like.

Facts of one cloud without its SDK, as `google.py` has those of the other. Versions are raised here, in one commit: first
those of the add-ons and images, then the description's.
"""

from collections.abc import Mapping
from typing import Any, Literal

from components.core import iam

DISCOVERY = "karpenter.sh/discovery"
"""Tag of what Karpenter starts machines in, with the cluster's name as its value."""
POOL_LABEL = "ai-platform.io/pool"
"""Label of a machine, and key of its taint: the pool that it belongs to."""
SYSTEM_POOL = "system"
"""The machines of the cluster's own services."""
# Tolerated beforehand by what EKS installs and by Karpenter (charts/karpenter/values.yaml at 1.14.1), and by nothing else.
SYSTEM_TAINT = "CriticalAddonsOnly"

AddOn = Literal[
    "amazon-cloudwatch-observability", "aws-ebs-csi-driver", "aws-fsx-csi-driver", "coredns", "eks-node-monitoring-agent",
    "eks-pod-identity-agent", "kube-proxy", "metrics-server", "vpc-cni",
]  # fmt: skip

# By add-on and Kubernetes version. Sources, all answers of `aws eks describe-addon-versions` that others published: the default
# versions of 1.36 on 2026-08-27 (vpc-cni, coredns, kube-proxy, aws-ebs-csi-driver v1.64.0, eks-pod-identity-agent) and
# 2026-08-29 (CloudWatch v6.5.0); a table of 1.31 to 1.36 of 2026-09-04 (coredns, kube-proxy, vpc-cni), which agrees with them;
# CloudWatch v6.4.0 and metrics-server v0.9.0 for 1.34 and 1.35, the latter also for 1.36; the node monitoring agent by a plan of
# 2026-08-22 and the values of its chart (aws/eks-node-monitoring-agent@v1.7.0); FSx v1.9.0 of 2026-04-21.
_EVERY = ("1.34", "1.35", "1.36")
ADD_ONS: Mapping[AddOn, Mapping[str, str]] = {
    "vpc-cni": dict.fromkeys(_EVERY, "v1.22.4-eksbuild.3"),
    "kube-proxy": {
        "1.34": "v1.34.6-eksbuild.21",
        "1.35": "v1.35.3-eksbuild.21",
        "1.36": "v1.36.0-eksbuild.17",
    },
    "eks-pod-identity-agent": dict.fromkeys(_EVERY, "v1.3.10-eksbuild.3"),
    "coredns": {
        "1.34": "v1.12.4-eksbuild.29",
        "1.35": "v1.13.2-eksbuild.21",
        "1.36": "v1.14.3-eksbuild.14",
    },
    "aws-ebs-csi-driver": dict.fromkeys(_EVERY, "v1.64.0-eksbuild.1"),
    "metrics-server": dict.fromkeys(_EVERY, "v0.9.0-eksbuild.5"),
    "eks-node-monitoring-agent": dict.fromkeys(_EVERY, "v1.7.0-eksbuild.1"),
    "amazon-cloudwatch-observability": {
        "1.34": "v6.4.0-eksbuild.1",
        "1.35": "v6.4.0-eksbuild.1",
        "1.36": "v6.5.0-eksbuild.1",
    },
    "aws-fsx-csi-driver": dict.fromkeys(_EVERY, "v1.9.0-eksbuild.1"),
}

RELEASES: Mapping[str, str] = {
    "1.34": "1.34.9-20260714",
    "1.35": "1.35.6-20260714",
    "1.36": "1.36.2-20260714",
}
"""By Kubernetes version: the release of the images of managed groups (awslabs/amazon-eks-ami: CHANGELOG.md, v20260714)."""

KARPENTER = "1.14.1"
"""Version of both charts. Kubernetes 1.36 wants 1.13 or later (upgrading/compatibility.md of that version)."""
KARPENTER_IMAGE = "karpenter/controller"
"""Its image in public.ecr.aws, which the chart names with a digest of its own."""

WITHOUT_CONTROL_PLANE = frozenset({"use1-az3", "usw1-az2", "cac1-az3"})
"""Zones that EKS puts no interfaces of a control plane into ("Amazon EKS VPC and subnet considerations")."""

ROOT_DISK = "/dev/xvda"
"""The only disk of Amazon Linux 2023 (concepts/nodeclasses.md of Karpenter 1.14)."""

NETWORK_LAYERS = (
    "topology.k8s.aws/network-node-layer-1",
    "topology.k8s.aws/network-node-layer-2",
    "topology.k8s.aws/network-node-layer-3",
    "kubernetes.io/hostname",
)
"""Labels that the cloud controller gives to machines of a fast kind, the widest first ("Instance topology", EC2 User Guide)."""


def template(*, disk_gib: int, key: Any, tags: Mapping[str, str]) -> dict[str, Any]:
    """What is the same in every launch template: tokens for the metadata, an encrypted disk, tags on all that is started.

    Pods have no way to the metadata (one hop is the machine itself); they get their rights by Pod Identity.

    >>> template(disk_gib=50, key="arn:aws:kms:…", tags={})["metadata_options"]["http_put_response_hop_limit"]
    1
    """
    return {
        "metadata_options": {
            "http_endpoint": "enabled",
            "http_tokens": "required",
            "http_put_response_hop_limit": 1,
            "instance_metadata_tags": "disabled",
        },
        "block_device_mappings": [
            {
                "device_name": ROOT_DISK,
                "ebs": {
                    "volume_size": disk_gib,
                    "volume_type": "gp3",
                    "encrypted": "true",
                    "kms_key_id": key,
                    "delete_on_termination": "true",
                },
            }
        ],
        "monitoring": {"enabled": True},
        "tag_specifications": [
            {"resource_type": kind, "tags": dict(tags)} for kind in ("instance", "network-interface", "volume")
        ],
        "update_default_version": True,
    }


def interfaces(*, count: int, cards: int) -> list[tuple[int, int, str]]:
    """Network card, device and kind of each interface of a machine with a fabric.

    The first is an ordinary one; the fabric's own carry no address, or a machine with 32 would take as many from its subnet.
    They are device 1 of their card, which on the first is taken by the ordinary one and elsewhere what EC2 asks for. A machine
    with more cards than interfaces of the fabric has them on its last cards.

    >>> interfaces(count=1, cards=1)
    [(0, 0, 'interface'), (0, 1, 'efa-only')]
    >>> [card for card, _, _ in interfaces(count=16, cards=17)][:3]
    [0, 1, 2]
    """
    return [(0, 0, "interface"), *((card, 1, "efa-only") for card in range(max(cards - count, 0), cards))]


_RAID0 = """apiVersion: node.eks.aws/v1alpha1
kind: NodeConfig
spec:
  instance:
    localStorage:
      strategy: RAID0
"""


def node_config(*, local_disks: bool, script: str | None) -> str | None:
    """User data of Amazon Linux 2023 (nodeadm): local disks as one, and a script that runs before the kubelet starts.

    None where neither is wanted. EKS and Karpenter add what joins the machine to its cluster.
    """
    parts: list[tuple[str, str]] = []
    if local_disks:
        parts.append(("application/node.eks.aws", _RAID0))
    if script:
        parts.append(("text/x-shellscript", script))
    if not parts:
        return None
    body = "".join(f"--BOUNDARY\nContent-Type: {kind}\n\n{text}\n" for kind, text in parts)
    return f'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="BOUNDARY"\n\n{body}--BOUNDARY--\n'


def divide_script(profile: str, parts: int) -> str:
    """Script that divides every accelerator of a machine into `parts` of a profile (`nvidia-smi mig`, NVIDIA MIG User Guide)."""
    wanted = ",".join([profile] * parts)
    return f"#!/bin/bash\nset -euo pipefail\nnvidia-smi -mig 1\nnvidia-smi mig -cgi {wanted} -C\n"


def disks(key: Any, region: str) -> list[iam.Statement]:
    """What an identity needs to start or make disks that are encrypted with a key: through EC2, and in no other way."""
    through = iam.via(region, "ec2")
    return [
        iam.allow(
            ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncrypt*"],
            [key],
            when=through,
        ),
        iam.allow(["kms:CreateGrant"], [key], when=iam.both(through, {"Bool": {"kms:GrantIsForAWSResource": "true"}})),
    ]
