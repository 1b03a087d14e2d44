"""Permissions of Google Cloud with which one sees how an environment is made, and nothing of what it holds.

Source: IAM "Roles and permissions index". A custom role takes permissions one by one; a basic role, `roles/viewer`, would let its
holder read data as well.
"""

from collections.abc import Mapping

SEE: Mapping[str, tuple[str, ...]] = {
    "aiplatform": (
        "aiplatform.metadataStores.get", "aiplatform.metadataStores.list", "aiplatform.notebookRuntimeTemplates.get",
        "aiplatform.notebookRuntimeTemplates.list", "aiplatform.tensorboards.get", "aiplatform.tensorboards.list",
    ),
    "artifactregistry": ("artifactregistry.repositories.get", "artifactregistry.repositories.list"),
    "binaryauthorization": (
        "binaryauthorization.attestors.get", "binaryauthorization.attestors.list", "binaryauthorization.policy.get",
    ),
    "cloudfunctions": ("cloudfunctions.functions.get", "cloudfunctions.functions.list"),
    "cloudkms": (
        "cloudkms.cryptoKeyVersions.list", "cloudkms.cryptoKeys.get", "cloudkms.cryptoKeys.list", "cloudkms.keyRings.get",
        "cloudkms.keyRings.list",
    ),
    "cloudquotas": ("cloudquotas.quotas.get",),
    "cloudscheduler": ("cloudscheduler.jobs.get", "cloudscheduler.jobs.list"),
    "cloudsql": (
        "cloudsql.databases.get", "cloudsql.databases.list", "cloudsql.instances.get", "cloudsql.instances.list",
        "cloudsql.users.get", "cloudsql.users.list",
    ),
    "compute": (
        "compute.firewallPolicies.get", "compute.firewallPolicies.list", "compute.globalAddresses.get",
        "compute.globalAddresses.list", "compute.networks.get", "compute.networks.getEffectiveFirewalls", "compute.networks.list",
        "compute.routers.get", "compute.routers.list", "compute.routes.get", "compute.routes.list", "compute.subnetworks.get",
        "compute.subnetworks.list",
    ),
    "container": (
        "container.clusters.get", "container.clusters.list", "container.operations.get", "container.operations.list",
    ),
    "containeranalysis": ("containeranalysis.notes.get", "containeranalysis.notes.list"),
    "dns": (
        "dns.managedZones.get", "dns.managedZones.list", "dns.policies.get", "dns.policies.list", "dns.resourceRecordSets.list",
    ),
    "iam": (
        "iam.roles.get", "iam.roles.list", "iam.serviceAccounts.get", "iam.serviceAccounts.list",
        "iam.workloadIdentityPoolProviders.get", "iam.workloadIdentityPoolProviders.list", "iam.workloadIdentityPools.get",
        "iam.workloadIdentityPools.list",
    ),
    "logging": (
        "logging.buckets.get", "logging.buckets.list", "logging.exclusions.get", "logging.exclusions.list",
        "logging.logMetrics.get", "logging.logMetrics.list", "logging.sinks.get", "logging.sinks.list", "logging.views.get",
        "logging.views.list",
    ),
    "lustre": ("lustre.instances.get", "lustre.instances.list"),
    "monitoring": (
        "monitoring.alertPolicies.get", "monitoring.alertPolicies.list", "monitoring.dashboards.get",
        "monitoring.dashboards.list", "monitoring.notificationChannels.get", "monitoring.notificationChannels.list",
    ),
    "notebooks": ("notebooks.instances.get", "notebooks.instances.list", "notebooks.operations.get"),
    "policies": (
        "aiplatform.notebookRuntimeTemplates.getIamPolicy", "artifactregistry.repositories.getIamPolicy",
        "binaryauthorization.attestors.getIamPolicy", "cloudkms.cryptoKeys.getIamPolicy",
        "containeranalysis.notes.getIamPolicy", "iam.serviceAccounts.getIamPolicy", "notebooks.instances.getIamPolicy",
        "pubsub.subscriptions.getIamPolicy", "pubsub.topics.getIamPolicy", "resourcemanager.projects.getIamPolicy",
        "run.services.getIamPolicy", "secretmanager.secrets.getIamPolicy", "storage.buckets.getIamPolicy",
    ),
    "projects": ("resourcemanager.projects.get", "serviceusage.services.get", "serviceusage.services.list"),
    "pubsub": ("pubsub.subscriptions.get", "pubsub.subscriptions.list", "pubsub.topics.get", "pubsub.topics.list"),
    "run": ("run.services.get", "run.services.list"),
    "secretmanager": (
        "secretmanager.secrets.get", "secretmanager.secrets.list", "secretmanager.versions.get", "secretmanager.versions.list",
    ),
    "storage": ("storage.buckets.get", "storage.buckets.list"),
    # Not executions: what a pipeline was given and what came out is its content.
    "workflows": ("workflows.operations.get", "workflows.workflows.get", "workflows.workflows.list"),
}  # fmt: skip


def see(*services: str) -> tuple[str, ...]:
    """Permissions to see what these services have, or all where none is named; sorted.

    >>> see("run", "storage")
    ('run.services.get', 'run.services.list', 'storage.buckets.get', 'storage.buckets.list')
    """
    return tuple(sorted(permission for service in services or SEE for permission in SEE[service]))
