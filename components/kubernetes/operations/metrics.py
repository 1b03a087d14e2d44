"""How what watches the environment comes to read Kueue's metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as kubernetes

from components import contracts
from components.core.scrapes import Controller
from components.kubernetes.contracts import Metrics as Handles
from components.kubernetes.objects import custom, inside
from components.scope import Component, Scope, after
from components.spec.section import CloudName

KEPT = "kueue_(pending_workloads|admitted_workloads_total|admission_wait_time_seconds_.+)"
"""The series that alarms and charts read, as an expression; every other costs by the sample, and nobody looks at it."""
_SPACE = "kueue-system"
_ROLE = "ai-platform:read-metrics"
_READER = "metrics-reader"
_TOKEN = f"{_READER}-token"
# Who asks, by namespace and service account. EKS: the agent of the add-on amazon-cloudwatch-observability, whose own role has
# this too as of the chart's cloudwatch-agent-clusterrole.yaml; an add-on may change its roles, so it is said here as well.
_READERS: Mapping[CloudName, tuple[str, str]] = {
    "aws": ("amazon-cloudwatch", "cloudwatch-agent"),
    "gcp": (_SPACE, _READER),
}
# The collectors of Managed Service for Prometheus on a Standard cluster (GKE, "Deploy a batch system using Kueue", "Monitor
# Workloads using Google Cloud Managed Service for Prometheus").
_COLLECTOR = ("gmp-system", "collector")


@dataclass(frozen=True, kw_only=True)
class MetricsArgs:
    """What is read, and when it is there."""

    cluster: contracts.Cluster
    ready: Sequence[pulumi.Resource]
    """What has to be there before Kueue has metrics."""
    controllers: Sequence[Controller] = ()
    """Others that are read besides: what they say, they say to whoever is let in."""
    installed: Sequence[pulumi.Resource] = ()
    """What they come with."""


class Metrics(Component):
    """Leave to read Kueue's metrics, which are given to nobody who does not show who they are; and whom to ask besides.

    Owns a role that may read metrics of controllers and nothing else, bound to what asks; on Google Cloud also the account that
    the collectors ask as, its token, their right to that one token, and what tells them whom to ask; on AWS that stands with
    the collector (components/aws/serving/watch.py). Never owns a collector, nor an alarm, nor what lets one in. Kueue makes its
    certificate itself, so nobody can check it; the way there stays within the cluster.

    Costs on Google Cloud what Managed Service for Prometheus takes by the sample: 0.06 USD a million (2025-07), about 0.30 a
    month for ten queues of five teams. A destroy takes it along with the cluster. The token does not expire: Google's
    collectors read it from a secret, and know no other way.

    >>> args = MetricsArgs(cluster=cluster, ready=[])
    >>> ready = Metrics("metrics", args, scope=scope, parent=parent).outputs.ready
    """

    layer = "kubernetes"
    outputs: Handles

    def __init__(self, name: str, args: MetricsArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Give leave, and on Google Cloud tell the collectors."""
        super().__init__(name, scope, parent)
        self._args = args
        namespace, account = _READERS[scope.cloud]
        role = kubernetes.rbac.v1.ClusterRole(
            f"{name}-read",
            metadata={"name": _ROLE},
            rules=[{"non_resource_urls": ["/metrics"], "verbs": ["get"]}],
            opts=self._options(),
        )
        bound = kubernetes.rbac.v1.ClusterRoleBinding(
            f"{name}-read",
            metadata={"name": _ROLE},
            role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": _ROLE},
            subjects=[{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
            opts=self._options(role),
        )
        made = self._collected(bound) if scope.cloud == "gcp" else bound
        for each in args.controllers if scope.cloud == "gcp" else ():
            self._asked(each)
        self.outputs = Handles(ready=after(_ROLE, made))
        self.finish(self.outputs)

    def _options(self, *made: pulumi.Resource) -> pulumi.ResourceOptions:
        return inside(self, self._args.cluster, *self._args.ready, *made)

    def _collected(self, bound: pulumi.Resource) -> pulumi.Resource:
        account = kubernetes.core.v1.ServiceAccount(
            f"{self.name}-reader",
            metadata={"name": _READER, "namespace": _SPACE},
            automount_service_account_token=False,
            opts=self._options(),
        )
        token = kubernetes.core.v1.Secret(
            f"{self.name}-token",
            metadata={
                "name": _TOKEN,
                "namespace": _SPACE,
                "annotations": {"kubernetes.io/service-account.name": _READER},
            },
            type="kubernetes.io/service-account-token",
            opts=self._options(account),
        )
        may = kubernetes.rbac.v1.Role(
            f"{self.name}-token",
            metadata={"name": _TOKEN, "namespace": _SPACE},
            rules=[
                {
                    "api_groups": [""],
                    "resources": ["secrets"],
                    "resource_names": [_TOKEN],
                    "verbs": ["get", "list", "watch"],
                }
            ],
            opts=self._options(),
        )
        namespace, collector = _COLLECTOR
        reads = kubernetes.rbac.v1.RoleBinding(
            f"{self.name}-token",
            metadata={"name": _TOKEN, "namespace": _SPACE},
            role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "Role", "name": _TOKEN},
            subjects=[{"kind": "ServiceAccount", "name": collector, "namespace": namespace}],
            opts=self._options(may),
        )
        endpoint = {
            "port": 8443,
            "path": "/metrics",
            "scheme": "https",
            "interval": "60s",
            "tls": {"insecureSkipVerify": True},
            "authorization": {"type": "Bearer", "credentials": {"secret": {"name": _TOKEN, "key": "token"}}},
            "metricRelabeling": [{"sourceLabels": ["__name__"], "regex": KEPT, "action": "keep"}],
        }
        return custom(
            f"{self.name}-kueue",
            "monitoring.googleapis.com/v1",
            "PodMonitoring",
            {"name": "kueue", "namespace": _SPACE},
            self._options(bound, token, reads),
            spec={
                "selector": {"matchLabels": {"app.kubernetes.io/name": "kueue", "control-plane": "controller-manager"}},
                "endpoints": [endpoint],
            },
        )

    def _asked(self, each: Controller) -> pulumi.Resource:
        """A controller that tells whoever asks: what it says of a namespace is then `exported_namespace`, for that is its own."""
        endpoint = {
            "port": each.port,
            "path": "/metrics",
            "interval": "60s",
            "metricRelabeling": [{"sourceLabels": ["__name__"], "regex": each.kept, "action": "keep"}],
        }
        return custom(
            f"{self.name}-{each.name}",
            "monitoring.googleapis.com/v1",
            "PodMonitoring",
            {"name": each.name, "namespace": each.namespace},
            inside(self, self._args.cluster, *self._args.installed),
            spec={"selector": {"matchLabels": dict(each.labels)}, "endpoints": [endpoint]},
        )
