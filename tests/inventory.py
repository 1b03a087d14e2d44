"""What a stack consists of, small enough to review: `python -m tests.inventory` writes it anew for every stack.

counts      resources by type; 0 where another stack of the same cloud has the type and this one must not
components  the components by kind, each with its names
protected   what Pulumi refuses to delete; `retained`: what stays in the cloud even then
values      the inputs that a mistake in would hurt most, by logical name and type (`SALIENT`)
outputs     the keys of the stack's outputs
"""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from policies.model import Graph, Resource
from tests.conftest import AWS, GCP, STACKS, graph

DIRECTORY = Path(__file__).parent / "inventories"

# Type -> inputs worth a reviewer's eye.
SALIENT: dict[str, tuple[str, ...]] = {
    "pulumi:providers:aws": ("region", "allowedAccountIds", "defaultTags.tags"),
    "aws:budgets/budget:Budget": ("name", "limitAmount", "timeUnit"),
    "aws:cloudwatch/logGroup:LogGroup": ("name", "retentionInDays"),
    "aws:cloudwatch/metricAlarm:MetricAlarm": ("name", "metricName", "threshold"),
    "aws:ec2/subnet:Subnet": ("availabilityZoneId", "cidrBlock"),
    "aws:ec2/vpc:Vpc": ("cidrBlock",),
    "aws:ec2/vpcEndpoint:VpcEndpoint": ("serviceName", "vpcEndpointType"),
    "aws:iam/role:Role": ("name", "maxSessionDuration"),
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": ("policyArn",),
    "aws:kms/key:Key": ("rotationPeriodInDays", "deletionWindowInDays", "multiRegion"),
    "aws:kms/replicaKey:ReplicaKey": ("region", "deletionWindowInDays"),
    "aws:s3/bucket:Bucket": ("bucket", "region", "forceDestroy"),
    "aws:secretsmanager/secret:Secret": ("name", "recoveryWindowInDays", "replicas"),
    "aws:sns/topicSubscription:TopicSubscription": ("protocol", "endpoint"),
    "pulumi:providers:gcp": ("project", "region", "defaultLabels"),
    "gcp:billing/budget:Budget": ("displayName", "amount.specifiedAmount", "thresholdRules"),
    "gcp:cloudfunctionsv2/function:Function": (
        "name",
        "serviceConfig.ingressSettings",
        "serviceConfig.maxInstanceCount",
    ),
    "gcp:compute/networkFirewallPolicyRule:NetworkFirewallPolicyRule": ("action", "direction", "priority"),
    "gcp:compute/subnetwork:Subnetwork": ("name", "ipCidrRange", "purpose"),
    "gcp:iam/workloadIdentityPoolProvider:WorkloadIdentityPoolProvider": ("attributeCondition",),
    "gcp:kms/cryptoKey:CryptoKey": ("rotationPeriod", "versionTemplate.protectionLevel", "destroyScheduledDuration"),
    "gcp:kms/keyRing:KeyRing": ("name", "location"),
    "gcp:monitoring/notificationChannel:NotificationChannel": ("type", "labels"),
    "gcp:projects/iAMMember:IAMMember": ("role", "member"),
    "gcp:projects/service:Service": ("service",),
    "gcp:secretmanager/secret:Secret": ("secretId", "rotation.rotationPeriod", "deletionProtection"),
    "gcp:serviceaccount/account:Account": ("accountId",),
    "gcp:storage/bucket:Bucket": ("name", "location", "customPlacementConfig.dataLocations", "rpo", "forceDestroy"),
}


def path(stack: str) -> Path:
    """Where the inventory of a stack lies."""
    return DIRECTORY / f"{stack}.yaml"


def _short(resource: Resource) -> str:
    return f"{resource.name} ({resource.type})"


def _plain(value: Any) -> Any:
    """The value with each reference cut to the logical name that it leads to."""
    if isinstance(value, str):
        return re.sub(r"\$\{urn:[^#}]*::([^:#}]+)#", r"${\1#", value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return {k: _plain(v) for k, v in value.items()} if isinstance(value, dict) else value


def inventory(subject: Graph, siblings: list[Graph]) -> dict[str, Any]:
    """The inventory of a graph; `siblings` are those whose types it must show, if only as absent."""
    resources = list(subject.resources.values())
    types = {r.type for g in siblings for r in g.resources.values() if r.custom}
    counts = Counter(r.type for r in resources if r.custom)
    components: dict[str, list[str]] = {}
    for r in resources:
        if not r.custom:
            components.setdefault(r.type.removeprefix("ai-platform:"), []).append(r.name)
    values = {
        _short(r): {p: _plain(r.get(p)) for p in SALIENT[r.type] if r.get(p) is not None}
        for r in resources
        if r.type in SALIENT
    }
    return {
        "counts": {t: counts.get(t, 0) for t in sorted(types)},
        "components": {kind: sorted(names) for kind, names in sorted(components.items())},
        "protected": sorted(_short(r) for r in resources if r.protect and not r.retain_on_delete),
        "retained": sorted(_short(r) for r in resources if r.protect and r.retain_on_delete),
        "values": dict(sorted(values.items())),
        "outputs": sorted(f"{cloud}.{key}" for cloud, outputs in subject.outputs.items() for key in outputs),
    }


def text(stack: str) -> str:
    """The inventory of a stack of the repository, as it lies in its file."""
    siblings = [graph(s) for s in (AWS if stack in AWS else GCP)]
    return yaml.safe_dump(inventory(graph(stack), siblings), sort_keys=False, width=120, allow_unicode=True)


if __name__ == "__main__":
    for name in STACKS:
        path(name).write_text(text(name), encoding="utf-8")
