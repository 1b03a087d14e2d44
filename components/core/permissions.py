"""Permissions of Google Cloud with which one sees how an environment is made, and nothing of what it holds.

Source: IAM "Roles and permissions index". A custom role takes permissions one by one; a basic role, `roles/viewer`, would let its
holder read data as well.
"""

from collections.abc import Mapping

SEE: Mapping[str, tuple[str, ...]] = {
    "aiplatform": (
        "aiplatform.endpoints.get", "aiplatform.endpoints.list", "aiplatform.metadataStores.get",
        "aiplatform.metadataStores.list", "aiplatform.notebookRuntimeTemplates.get", "aiplatform.notebookRuntimeTemplates.list",
        "aiplatform.tensorboards.get", "aiplatform.tensorboards.list",
    ),
    "apigateway": (
        "apigateway.apiconfigs.get", "apigateway.apiconfigs.list", "apigateway.apis.get", "apigateway.apis.list",
        "apigateway.gateways.get", "apigateway.gateways.list", "apigateway.operations.get",
    ),
    "artifactregistry": ("artifactregistry.repositories.get", "artifactregistry.repositories.list"),
    # How tables are made; what was asked and answered is in them, and takes `getData`.
    "bigquery": ("bigquery.datasets.get", "bigquery.tables.get"),
    "binaryauthorization": (
        "binaryauthorization.attestors.get", "binaryauthorization.attestors.list", "binaryauthorization.policy.get",
    ),
    "certificatemanager": (
        "certificatemanager.certmapentries.get", "certificatemanager.certmapentries.list", "certificatemanager.certmaps.get",
        "certificatemanager.certmaps.list", "certificatemanager.certs.get", "certificatemanager.certs.list",
        "certificatemanager.dnsauthorizations.get", "certificatemanager.dnsauthorizations.list",
        "certificatemanager.operations.get",
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
        "compute.backendServices.get", "compute.backendServices.list", "compute.firewallPolicies.get",
        "compute.firewallPolicies.list", "compute.globalAddresses.get", "compute.globalAddresses.list",
        "compute.globalForwardingRules.get", "compute.globalForwardingRules.list", "compute.networkEndpointGroups.get",
        "compute.networkEndpointGroups.list", "compute.networks.get", "compute.networks.getEffectiveFirewalls",
        "compute.networks.list", "compute.regionNetworkEndpointGroups.get", "compute.regionNetworkEndpointGroups.list",
        "compute.routers.get", "compute.routers.list", "compute.routes.get", "compute.routes.list",
        "compute.securityPolicies.get", "compute.securityPolicies.list", "compute.sslPolicies.get", "compute.sslPolicies.list",
        "compute.subnetworks.get", "compute.subnetworks.list", "compute.targetHttpProxies.get", "compute.targetHttpProxies.list",
        "compute.targetHttpsProxies.get", "compute.targetHttpsProxies.list", "compute.urlMaps.get", "compute.urlMaps.list",
    ),
    "container": (
        "container.clusters.get", "container.clusters.list", "container.operations.get", "container.operations.list",
    ),
    "containeranalysis": ("containeranalysis.notes.get", "containeranalysis.notes.list"),
    "dlp": ("dlp.inspectTemplates.get", "dlp.inspectTemplates.list"),
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
    "memorystore": ("memorystore.instances.get", "memorystore.instances.list", "memorystore.operations.get"),
    "modelarmor": ("modelarmor.floorSettings.get", "modelarmor.templates.get", "modelarmor.templates.list"),
    "monitoring": (
        "monitoring.alertPolicies.get", "monitoring.alertPolicies.list", "monitoring.dashboards.get",
        "monitoring.dashboards.list", "monitoring.notificationChannels.get", "monitoring.notificationChannels.list",
    ),
    "networkconnectivity": (
        "networkconnectivity.operations.get", "networkconnectivity.serviceConnectionPolicies.get",
        "networkconnectivity.serviceConnectionPolicies.list",
    ),
    "notebooks": ("notebooks.instances.get", "notebooks.instances.list", "notebooks.operations.get"),
    "policies": (
        "aiplatform.endpoints.getIamPolicy", "aiplatform.notebookRuntimeTemplates.getIamPolicy",
        "artifactregistry.repositories.getIamPolicy", "bigquery.datasets.getIamPolicy", "bigquery.tables.getIamPolicy",
        "binaryauthorization.attestors.getIamPolicy", "cloudkms.cryptoKeys.getIamPolicy",
        "containeranalysis.notes.getIamPolicy", "iam.serviceAccounts.getIamPolicy", "notebooks.instances.getIamPolicy",
        "pubsub.subscriptions.getIamPolicy", "pubsub.topics.getIamPolicy", "resourcemanager.projects.getIamPolicy",
        "run.services.getIamPolicy", "secretmanager.secrets.getIamPolicy", "storage.buckets.getIamPolicy",
    ),
    "projects": (
        "resourcemanager.projects.get", "serviceusage.quotas.get", "serviceusage.services.get", "serviceusage.services.list",
    ),
    "pubsub": ("pubsub.subscriptions.get", "pubsub.subscriptions.list", "pubsub.topics.get", "pubsub.topics.list"),
    "run": ("run.services.get", "run.services.list"),
    "secretmanager": (
        "secretmanager.secrets.get", "secretmanager.secrets.list", "secretmanager.versions.get", "secretmanager.versions.list",
    ),
    "storage": ("storage.buckets.get", "storage.buckets.list"),
    # Not what is in a collection.
    "vectorsearch": ("vectorsearch.collections.get", "vectorsearch.collections.list", "vectorsearch.operations.get"),
    # Not executions: what a pipeline was given and what came out is its content.
    "workflows": ("workflows.operations.get", "workflows.workflows.get", "workflows.workflows.list"),
}  # fmt: skip


def see(*services: str) -> tuple[str, ...]:
    """Permissions to see what these services have, or all where none is named; sorted.

    >>> see("run", "storage")
    ('run.services.get', 'run.services.list', 'storage.buckets.get', 'storage.buckets.list')
    """
    return tuple(sorted(permission for service in services or SEE for permission in SEE[service]))
