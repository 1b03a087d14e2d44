"""What Google Cloud calls things: locations, labels, service agents, names that are never freed."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

# Service agents: identities of Google's own services in a project, by the name of the service's API. Source: IAM "Service
# agents".
_AGENTS = {
    "aiplatform.googleapis.com": "gcp-sa-aiplatform.iam.gserviceaccount.com",
    "artifactregistry.googleapis.com": "gcp-sa-artifactregistry.iam.gserviceaccount.com",
    "bigquery.googleapis.com": "bigquery-encryption.iam.gserviceaccount.com",
    "cloudfunctions.googleapis.com": "gcf-admin-robot.iam.gserviceaccount.com",
    "compute.googleapis.com": "compute-system.iam.gserviceaccount.com",
    "container.googleapis.com": "container-engine-robot.iam.gserviceaccount.com",
    "eventarc.googleapis.com": "gcp-sa-eventarc.iam.gserviceaccount.com",
    "lustre.googleapis.com": "gcp-sa-lustre.iam.gserviceaccount.com",
    "memorystore.googleapis.com": "gcp-sa-memorystore.iam.gserviceaccount.com",
    "notebooks.googleapis.com": "gcp-sa-notebooks.iam.gserviceaccount.com",
    "pubsub.googleapis.com": "gcp-sa-pubsub.iam.gserviceaccount.com",
    "run.googleapis.com": "serverless-robot-prod.iam.gserviceaccount.com",
    "secretmanager.googleapis.com": "gcp-sa-secretmanager.iam.gserviceaccount.com",
    "sqladmin.googleapis.com": "gcp-sa-cloud-sql.iam.gserviceaccount.com",
    "storage.googleapis.com": "gs-project-accounts.iam.gserviceaccount.com",
    "vectorsearch.googleapis.com": "gcp-sa-vectorsearch.iam.gserviceaccount.com",
    "workflows.googleapis.com": "gcp-sa-workflows.iam.gserviceaccount.com",
}
# Pairs that Google alone offers, each under a name of its own; any other pair of a continent is chosen by its owner. Source:
# Cloud Storage "Bucket locations", predefined dual-regions.
_PREDEFINED = {
    frozenset({"us-central1", "us-east1"}): "NAM4",
    frozenset({"europe-north1", "europe-west4"}): "EUR4",
    frozenset({"asia-northeast1", "asia-northeast2"}): "ASIA1",
}
# Where the key of a bucket in a chosen pair has to live. Sources: Cloud Storage "Use customer-managed encryption keys", Cloud KMS
# "Locations".
_KEYS = {"US": "us", "EU": "europe", "ASIA": "asia"}

HARDENED: Mapping[str, Any] = MappingProxyType(
    {
        # What a machine may do is said by the roles of its identity, not by scopes ("Access scopes in GKE").
        "oauth_scopes": ["https://www.googleapis.com/auth/cloud-platform"],
        "image_type": "COS_CONTAINERD",
        "shielded_instance_config": {"enable_secure_boot": True, "enable_integrity_monitoring": True},
        # Pods see their own identity, never that of the machine.
        "workload_metadata_config": {"mode": "GKE_METADATA"},
        "metadata": {"disable-legacy-endpoints": "true"},
        "kubelet_config": {"insecure_kubelet_readonly_port_enabled": "FALSE"},
        "gvnic": {"enabled": True},
        # Image streaming: a container starts while its image is still being read.
        "gcfs_config": {"enabled": True},
    }
)
"""What every machine of a GKE cluster has ("Harden your cluster's security")."""


@dataclass(frozen=True, kw_only=True)
class DualRegion:
    """Two regions that hold the same objects."""

    location: str
    """Location of the bucket."""
    placement: tuple[str, str] | None
    """The two regions, where the location does not say them."""
    key_location: str
    """Where Cloud KMS has to keep the key of such a bucket."""


def dual_region(region: str, replica: str, multi_region: str) -> DualRegion:
    """The bucket location that is made of two regions of one continent, `US`, `EU` or `ASIA`.

    >>> dual_region("us-west1", "us-central1", "US")
    DualRegion(location='US', placement=('US-WEST1', 'US-CENTRAL1'), key_location='us')
    >>> dual_region("us-central1", "us-east1", "US")
    DualRegion(location='NAM4', placement=None, key_location='nam4')
    """
    code = _PREDEFINED.get(frozenset({region, replica}))
    if code:
        return DualRegion(location=code, placement=None, key_location=code.lower())
    return DualRegion(
        location=multi_region, placement=(region.upper(), replica.upper()), key_location=_KEYS[multi_region]
    )


def label(value: str) -> str:
    """A label's key or value: lower case, and an underscore for what a label cannot hold; 63 characters at most.

    >>> label("ML-Platform@example.com")
    'ml-platform_example_com'
    """
    return re.sub(r"[^a-z0-9_-]", "_", value.lower())[:63]


def labels(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags as labels.

    >>> labels({"owner": "vision@example.com", "team": "vision"})
    {'owner': 'vision_example_com', 'team': 'vision'}
    """
    return {label(key): label(value) for key, value in tags.items()}


def agent(service: str, number: str) -> str:
    """The member that a service's agent is, in the project of this number.

    >>> agent("storage.googleapis.com", "111111111111")
    'serviceAccount:service-111111111111@gs-project-accounts.iam.gserviceaccount.com'
    """
    # BigQuery's comes first where it encrypts, and is called otherwise ("Customer-managed Cloud KMS keys", BigQuery).
    name = "bq" if service == "bigquery.googleapis.com" else "service"
    return f"serviceAccount:{name}-{number}@{_AGENTS[service]}"


def nth(name: str, generation: int) -> str:
    """A name that the cloud does not free, or only after weeks, in the environment's first or a later life.

    >>> nth("keys", 1), nth("keys", 2)
    ('keys', 'keys-2')
    """
    return name if generation == 1 else f"{name}-{generation}"


def started(least: int, most: int, zones: Sequence[str]) -> tuple[tuple[str, ...], int]:
    """The zones of a node pool and how many machines it starts with in each, so that their sum is within its bounds.

    GKE refuses a pool that starts outside of them ("NodePoolAutoscaling"), and starts as many in every zone: where no
    such sum is, the last zones are left out.

    >>> started(2, 4, ["a", "b", "c"]), started(2, 2, ["a", "b", "c"]), started(0, 9, ["a", "b"])
    ((('a', 'b', 'c'), 1), (('a', 'b'), 1), (('a', 'b'), 0))
    """
    for count in range(len(zones), 0, -1):
        each = -(-least // count)
        if each * count <= most:
            return tuple(zones[:count]), each
    raise ValueError(f"no zone, or {least} machines at least and {most} at most")
