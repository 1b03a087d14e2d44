"""The Kubernetes cluster."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network
from typing import cast

import pulumi
import pulumi_gcp as gcp
import pulumi_kubernetes as kubernetes

from components import contracts
from components.core.google import HARDENED, labels, nth, started
from components.gcp.blocks.workload import Grant, Workload, WorkloadArgs
from components.scope import Component, Scope, after
from components.spec.foundation import Persona
from components.spec.training import System, Window

POOL = "ai-platform.io/pool"
"""Label of a machine, with its pool as its value."""
# What GKE's own pods tolerate and nobody's else does ("Isolate your workloads in dedicated node pools").
_MANAGED = "components.gke.io/gke-managed-components"
# Queues, names and metrics take a few GB together; e2-standard-4: 4 vCPUs, 16 GB, 0.134 USD an hour (us-central1, 2026-07).
_SYSTEM_MACHINE, _SYSTEM_DISK_GIB, _SYSTEM_PODS = "e2-standard-4", 100, 64
# A node holds a range of its own: /26 for 32 pods, where 110 would take a /24 ("Flexible Pod CIDR").
_PODS = 32
_CHANNELS: Mapping[str, str] = {"standard": "REGULAR", "extended": "EXTENDED"}
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
# Some Monday from which windows are counted.
_MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
# Of what has labels of a cluster ("Resource types", GKE logs).
_LOGGED = (
    "gke_cluster", "gke_nodepool", "k8s_cluster", "k8s_container", "k8s_control_plane_component", "k8s_node", "k8s_pod",
)  # fmt: skip
_LOGS = ("SYSTEM_COMPONENTS", "WORKLOADS", "APISERVER", "CONTROLLER_MANAGER", "SCHEDULER")
# DCGM: the accelerators themselves, by an exporter that GKE runs.
_METRICS = (
    "SYSTEM_COMPONENTS", "APISERVER", "CONTROLLER_MANAGER", "SCHEDULER", "STORAGE", "POD", "DAEMONSET", "DEPLOYMENT", "JOBSET",
    "DCGM",
)  # fmt: skip
# What a persona may do in the project's clusters beside what the cluster itself grants it ("Kubernetes Engine roles"): a
# clusterViewer may ask the API server, and is told nothing there until somebody binds a role to the group.
_ROLES: Mapping[Persona, str] = {
    "data-scientist": "roles/container.clusterViewer",
    "ml-engineer": "roles/container.clusterViewer",
    "platform-admin": "roles/container.admin",
    "auditor": "roles/container.clusterViewer",
}


@dataclass(frozen=True, kw_only=True)
class ClusterArgs:
    """What cluster it is."""

    apis: Mapping[str, contracts.Text]
    network: contracts.Network
    secrets_key: contracts.Key
    """Encrypts the cluster's secrets."""
    compute_key: contracts.Key
    """Encrypts the disks of its machines."""
    version: str
    """Kubernetes version, `1.35`."""
    upgrades: str
    """`standard` or `extended`."""
    allow: Sequence[IPv4Network] = ()
    """Ranges outside the network that may reach the control plane's address; none: it has none."""
    window: Window
    system: System
    zones: Sequence[str]
    groups: Mapping[Persona, str | None] = field(default_factory=dict[Persona, str | None])
    """Each persona with its group's address."""
    security_group: str | None = None
    """`gke-security-groups@DOMAIN`, which the groups are members of; without it a role in the cluster names no group."""
    lustre: bool = False
    """Whether volumes may be file systems of Managed Lustre."""
    impersonate: str | None = None
    """Service account that whoever deploys becomes."""
    generation: int


class Cluster(Component):
    """A GKE cluster of the region, its system machines, and the provider that speaks to it.

    Nothing of it has a public address. The control plane answers at a DNS name, from anywhere, to whoever IAM lets
    (`container.clusters.connect`), so that the pipeline needs no way into the network; it has an address of its own only
    where ranges are `allow`ed, and then for those alone. From the control plane to webhooks of ours traffic starts inside of
    the workload subnet, which the firewall policy lets through.

    GKE's own pods and the platform's controllers run on the system machines; these are tainted with
    `components.gke.io/gke-managed-components` and labelled `ai-platform.io/pool: system`. Every other pool has taints of
    its own.

    `version` is a minimum: GKE upgrades within the channel, in the window, one minor version at a time; with `extended`
    upgrades it stays on one for two years.

    Owns the cluster, its system node pool, the identity of all machines, the bucket of its logs, the default class of volumes,
    and what groups may do in the project's clusters. Never owns pools of accelerators, nor what runs in the cluster. The bucket
    of logs has a key of Google's: which identity would use another, Cloud Logging says to who asks it (`gcloud logging settings
    describe`), and no resource does.

    Costs 0.10 USD an hour, with `extended` upgrades 0.60 once a version is in extended support (GKE prices, 2026-10), and
    the system machines, 0.134 USD an hour each; logs 0.50 USD a GiB above 50 GiB (us-central1, 2026-07). A destroy takes all
    of it where the tier deletes data, objects in the cluster first, then machines, then the cluster; elsewhere it is refused.
    The name of the bucket of logs is free again after a week, hence `generation`. Another network or range replaces the
    cluster.

    >>> window(Window(day="sunday", hour=3, hours=12))
    {'start_time': '2026-01-11T03:00:00Z', 'end_time': '2026-01-11T15:00:00Z', 'recurrence': 'FREQ=WEEKLY;BYDAY=SU'}
    """

    outputs: contracts.Cluster

    def __init__(self, name: str, args: ClusterArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the cluster and what it stands on."""
        super().__init__(name, scope, parent)
        self._args = args
        self._called = scope.names.of("cluster", "cluster")
        self._identity = Workload(
            f"{name}-nodes",
            WorkloadArgs(
                description="Machines of the cluster: logs, metrics, images.",
                apis=args.apis,
                grants={
                    "node": Grant(role="roles/container.defaultNodeServiceAccount"),
                    "images": Grant(role="roles/artifactregistry.reader"),
                },
            ),
            scope=scope,
            parent=self,
        ).outputs.id
        cluster = self._cluster(self._logs())
        system = self._system(cluster)
        grants = self._grants()
        named = cluster.control_plane_endpoints_config.apply(
            lambda found: found.dns_endpoint_config.endpoint if found.dns_endpoint_config else None
        )
        # The address is what a cluster without a name would have.
        known = pulumi.Output.all(named, cluster.endpoint).apply(lambda found: str(found[0] or found[1]))
        endpoint = after(known, system)
        provider = self._speaker(endpoint)
        self._volumes(provider, cluster)
        self.outputs = contracts.Cluster(
            name=after(cluster.name, system, *grants),
            physical_name=self._called,
            endpoint=endpoint,
            location=scope.region,
            provider=provider,
            resource=cluster,
            node_identity=self._identity,
            security_group=None,
        )
        self.finish(self.outputs)

    def _logs(self) -> list[pulumi.Resource]:
        """Logs in a bucket of ours, and nowhere else."""
        args, scope = self._args, self.scope
        logging = args.apis["logging.googleapis.com"]
        kinds = " OR ".join(f'"{kind}"' for kind in _LOGGED)
        ours = f'resource.type=({kinds}) AND resource.labels.cluster_name="{self._called}"'
        bucket = gcp.logging.ProjectBucketConfig(
            f"{self.name}-logs",
            bucket_id=scope.names.of(nth("cluster", args.generation), "compute"),
            description="Logs of the cluster, of its control plane and of what runs in it.",
            project=logging,
            location=scope.region,
            retention_days=scope.log_days,
            opts=self.options(holds_data=True),
        )
        sink = gcp.logging.ProjectSink(
            f"{self.name}-logs-sink",
            name=scope.names.of("cluster", "compute"),
            description="Logs of the cluster.",
            project=logging,
            destination=bucket.id.apply(lambda path: f"logging.googleapis.com/{path}"),
            filter=ours,
            unique_writer_identity=True,
            opts=self.options(),
        )
        # What is stored twice is paid twice.
        exclusion = gcp.logging.ProjectExclusion(
            f"{self.name}-logs-exclusion",
            name=scope.names.of("cluster", "compute"),
            description="Logs of the cluster have a bucket of their own.",
            project=logging,
            filter=ours,
            opts=self.options(depends_on=[sink]),
        )
        return [sink, exclusion]

    def _cluster(self, logs: Sequence[pulumi.Resource]) -> gcp.container.Cluster:
        args, scope = self._args, self.scope
        reachable = bool(args.allow)
        return gcp.container.Cluster(
            f"{self.name}-cluster",
            name=self._called,
            description=f"Training and serving of {scope.environment}.",
            project=args.apis["container.googleapis.com"],
            location=scope.region,
            node_locations=list(args.zones),
            min_master_version=args.version,
            release_channel={"channel": _CHANNELS[args.upgrades]},
            maintenance_policy={"recurring_window": window(args.window)},
            # Network
            network=args.network.id,
            subnetwork=args.network.workload_subnets[0],
            networking_mode="VPC_NATIVE",
            ip_allocation_policy={
                "cluster_secondary_range_name": args.network.pod_range,
                "services_secondary_range_name": args.network.service_range,
                "stack_type": "IPV4",
            },
            default_max_pods_per_node=_PODS,
            # Network policies are its own: the add-on (Calico) is refused beside it.
            datapath_provider="ADVANCED_DATAPATH",
            # Machines whose accelerators have networks of their own; a cluster that was made without it never has it.
            enable_multi_networking=True,
            enable_intranode_visibility=True,
            enable_l4_ilb_subsetting=True,
            private_cluster_config={
                "enable_private_nodes": True,
                # Without an address of its own the API says true as well.
                "enable_private_endpoint": not reachable,
            },
            control_plane_endpoints_config={
                "dns_endpoint_config": {
                    "allow_external_traffic": True,
                    # IAM decides, not a certificate or a token of the cluster.
                    "enable_k8s_certs_via_dns": False,
                    "enable_k8s_tokens_via_dns": False,
                },
                "ip_endpoints_config": {"enabled": reachable},
            },
            master_authorized_networks_config={
                "cidr_blocks": [{"cidr_block": str(range_), "display_name": str(range_)} for range_ in args.allow],
                "gcp_public_cidrs_access_enabled": False,
                "private_endpoint_enforcement_enabled": True,
            }
            if reachable
            else None,
            service_external_ips_config={"enabled": False},
            gateway_api_config={"channel": "CHANNEL_STANDARD"},
            # Who may do what
            workload_identity_config={"workload_pool": f"{scope.account}.svc.id.goog"},
            authenticator_groups_config={"security_group": args.security_group} if args.security_group else None,
            anonymous_authentication_config={"mode": "LIMITED"},
            rbac_binding_config={
                "enable_insecure_binding_system_authenticated": False,
                "enable_insecure_binding_system_unauthenticated": False,
            },
            enable_legacy_abac=False,
            master_auth={"client_certificate_config": {"issue_client_certificate": False}},
            # Keys and images
            database_encryption={"state": "ENCRYPTED", "key_name": args.secrets_key.id},
            # Whether an image without a signature is only reported is a matter of the project's policy.
            binary_authorization={"evaluation_mode": "PROJECT_SINGLETON_POLICY_ENFORCE"},
            enable_shielded_nodes=True,
            security_posture_config={"mode": "BASIC", "vulnerability_mode": "VULNERABILITY_DISABLED"},
            # Machines
            initial_node_count=1,
            remove_default_node_pool=True,
            # Of the pool that is there for some minutes, since no cluster is made without one.
            node_config={
                **cast("gcp.container.ClusterNodeConfigArgsDict", HARDENED),
                "service_account": self._identity,
                "boot_disk_kms_key": args.compute_key.id,
                "disk_type": "pd-balanced",
                "disk_size_gb": 30,
            },
            node_pool_defaults={
                "node_config_defaults": {
                    "gcfs_config": HARDENED["gcfs_config"],
                    "insecure_kubelet_readonly_port_enabled": "FALSE",
                    "logging_variant": "DEFAULT",
                }
            },
            # No pools but those that are declared; a machine without work goes sooner.
            cluster_autoscaling={"enabled": False, "autoscaling_profile": "OPTIMIZE_UTILIZATION"},
            # What it has
            addons_config={
                # To switch it later recreates all machines.
                "dns_cache_config": {"enabled": True},
                "gce_persistent_disk_csi_driver_config": {"enabled": True},
                "gcs_fuse_csi_driver_config": {"enabled": True},
                "lustre_csi_driver_config": {"enabled": args.lustre},
                "http_load_balancing": {"disabled": False},
                "horizontal_pod_autoscaling": {"disabled": False},
                "network_policy_config": {"disabled": True},
                # Ray comes as a chart, the same on both clouds.
                "ray_operator_configs": [{"enabled": False}],
            },
            logging_config={"enable_components": list(_LOGS)},
            monitoring_config={"enable_components": list(_METRICS), "managed_prometheus": {"enabled": True}},
            cost_management_config={"enabled": True},
            resource_labels={"component": "cluster"},
            deletion_protection=not scope.deletable,
            opts=self.options(
                holds_data=True,
                # Its logs are at home from the first line on.
                depends_on=logs,
                ignore_changes=["nodeConfig"],
            ),
        )

    def _system(self, cluster: gcp.container.Cluster) -> gcp.container.NodePool:
        """Machines of the cluster's own services."""
        args = self._args
        zones, each = started(args.system.min, args.system.max, args.zones)
        return gcp.container.NodePool(
            f"{self.name}-system",
            name="system",
            cluster=cluster.id,
            node_locations=list(zones),
            initial_node_count=each,
            autoscaling={
                "total_min_node_count": args.system.min,
                "total_max_node_count": args.system.max,
                "location_policy": "BALANCED",
            },
            management={"auto_repair": True, "auto_upgrade": True},
            upgrade_settings={"strategy": "SURGE", "max_surge": 1, "max_unavailable": 0},
            max_pods_per_node=_SYSTEM_PODS,
            network_config={"enable_private_nodes": True},
            node_config={
                **cast("gcp.container.NodePoolNodeConfigArgsDict", HARDENED),
                "machine_type": _SYSTEM_MACHINE,
                "disk_type": "pd-balanced",
                "disk_size_gb": _SYSTEM_DISK_GIB,
                "boot_disk_kms_key": args.compute_key.id,
                "service_account": self._identity,
                "labels": {POOL: "system"},
                "taints": [{"key": _MANAGED, "value": "true", "effect": "NO_SCHEDULE"}],
                "resource_labels": {**labels(self.scope.tags), "pool": "system"},
            },
            # The autoscaler decides from then on.
            opts=self.options(ignore_changes=["initialNodeCount"]),
        )

    def _grants(self) -> list[pulumi.Resource]:
        return [
            gcp.projects.IAMMember(
                f"{self.name}-{persona}",
                project=self._args.apis["cloudresourcemanager.googleapis.com"],
                role=_ROLES[persona],
                member=f"group:{group}",
                opts=self.options(),
            )
            for persona, group in self._args.groups.items()
            if group
        ]

    def _volumes(self, provider: kubernetes.Provider, cluster: gcp.container.Cluster) -> None:
        """The class of volumes that a claim gets without asking, with a key of ours: of two defaults the newest counts.

        GKE's own default, `standard-rwo`, has a key of Google's ("Use customer-managed encryption keys", GKE).
        """
        kubernetes.storage.v1.StorageClass(
            f"{self.name}-balanced",
            metadata={"name": "balanced", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
            provisioner="pd.csi.storage.gke.io",
            parameters={"type": "pd-balanced", "disk-encryption-kms-key": self._args.compute_key.id},
            reclaim_policy="Delete",
            allow_volume_expansion=True,
            # A disk lies in one zone: that of the machine that wants it.
            volume_binding_mode="WaitForFirstConsumer",
            opts=self.options(cluster=provider, deleted_with=cluster),
        )

    def _speaker(self, endpoint: pulumi.Output[str]) -> kubernetes.Provider:
        """Speaks to the cluster as whoever deploys, with a token that is asked for when it is needed."""
        # The flags exclude each other (kubernetes/cloud-provider-gcp: cmd/gke-gcloud-auth-plugin/cred.go).
        who = self._args.impersonate
        flag = f"--impersonate_service_account={who}" if who else "--use_application_default_credentials"
        login = {
            "apiVersion": "client.authentication.k8s.io/v1beta1",
            "command": "gke-gcloud-auth-plugin",
            "args": [flag],
            "installHint": "gcloud components install gke-gcloud-auth-plugin",
            "interactiveMode": "Never",
            "provideClusterInfo": False,
        }
        name = self._called
        return kubernetes.Provider(
            f"{self.name}-kubernetes",
            kubeconfig=pulumi.Output.json_dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": name, "cluster": {"server": pulumi.Output.concat("https://", endpoint)}}],
                    "users": [{"name": name, "user": {"exec": login}}],
                    "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
                    "current-context": name,
                }
            ),
            # Otherwise a change in the text above looks like another cluster, and everything in it is replaced.
            cluster_identifier=f"{self.scope.account}/{self.scope.region}/{name}",
            enable_server_side_apply=True,
            # Else what a ConfigMap holds would be gone for a moment with each change of it.
            enable_config_map_mutable=True,
            # Hundreds of objects at once.
            kube_client_settings={"qps": 50, "burst": 100, "timeout": 60},
            opts=pulumi.ResourceOptions(parent=self),
        )


def window(wanted: Window) -> gcp.container.ClusterMaintenancePolicyRecurringWindowArgsDict:
    """The recurring window. GKE wants 48 hours in any 32 days ("Configure maintenance windows"): once a week makes four."""
    start = _MONDAY + timedelta(days=_DAYS.index(wanted.day), hours=wanted.hour)
    end = start + timedelta(hours=wanted.hours)
    return {
        "start_time": f"{start:%Y-%m-%dT%H:%M:%SZ}",
        "end_time": f"{end:%Y-%m-%dT%H:%M:%SZ}",
        "recurrence": f"FREQ=WEEKLY;BYDAY={wanted.day[:2].upper()}",
    }
