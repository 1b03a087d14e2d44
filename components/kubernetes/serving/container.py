"""A service of containers in the cluster."""

from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

from components import contracts
from components.core.scrapes import MODEL as KEPT
from components.kubernetes import pods
from components.kubernetes.contracts import Artifact, Door, Spaces
from components.kubernetes.objects import custom, inside
from components.kubernetes.pods import Place
from components.scope import Component, Scope, after
from components.spec.endpoints import stepwise
from components.spec.models import called
from components.spec.serving import Container as Spec

_SCRATCH_GIB = 20
_UPDATE_SECONDS = 600
"""Until an update without a pod that becomes ready counts as failed: a machine, an image, a model."""
_STAYS_SECONDS = 20
"""That a new pod has to be ready for before an old one goes: until the load balancer has seen it too."""


@dataclass(frozen=True, kw_only=True)
class ContainerArgs:
    """What answers, as whom, and where."""

    cluster: contracts.Cluster
    spec: Spec
    image: pulumi.Input[str]
    identity: contracts.Text
    """Role ARN, or e-mail of a service account."""
    model: Artifact | None
    spaces: Spaces
    place: Place
    door: Door
    """The way from the internet."""
    ready: tuple[pulumi.Resource, ...]
    """What understands these kinds."""


class Container(Component):
    """A container in the cluster, as many pods as requests need within its bounds, behind the load balancer of the cloud.

    Owns its account, the deployment, the address within the cluster with the policies around its port, how many pods there are,
    and what keeps one of them while machines are drained; on Google Cloud also what collects its metrics. Never owns the
    identity behind the account, nor the way from the internet (`Door`).

    The container runs as a user without rights, on a file system that it cannot write to but for /tmp. A new version is a
    rolling update: a pod comes, has to be ready, also for the load balancer, and only then an old one goes; never are there
    fewer than before. One that does not become ready answers nobody, and the deployment fails after ten minutes with the old
    pods in place. With a canary or two colours the pods are a `Release`'s. A pod that goes still answers until the load balancer
    has let go of it.

    Pods come and go by the requests that they work on, where the container says so at `/metrics` (`serving_running`, as our own
    does), and on plain machines by their processors (KEDA). From within, pods of its own team call it by plain HTTP, without a
    token.

    Costs its machines: a pool's, or those of the cluster's own services. A destroy takes it along with the cluster.

    >>> args = ContainerArgs(
    ...     cluster=cluster, spec=container, image="registry.example.com/serving:1.0", identity=cluster.name, model=None,
    ...     spaces=spaces, place=Place(system={}), door=door, ready=(),
    ... )
    >>> Container("search", args, scope=scope, parent=parent).name
    'search'
    """

    layer = "kubernetes"
    outputs: contracts.Endpoint

    def __init__(self, name: str, args: ContainerArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the account, what answers, and what is around it."""
        super().__init__(name, scope, parent)
        self._args = args
        self._space = args.spaces.namespaces[args.spec.team]
        account = pods.account(f"{name}-account", name, self._space, scope.cloud, args.identity, self._options())
        service = self._service()
        deployment = self._deployment(account, service)
        around = [*self._fences(), self._scaled(deployment), *self._around()]
        self.outputs = contracts.Endpoint(
            id=pulumi.Output.concat(self._space, "/", name),
            address=after(args.door.address, service, deployment, *around),
            version=pulumi.Output.from_input(called(args.spec.model)),
        )
        self.finish(self.outputs)

    def _options(self, *made: pulumi.Resource) -> pulumi.ResourceOptions:
        return inside(self, self._args.cluster, *self._args.ready, *made)

    def _meta(self, name: str) -> dict[str, Any]:
        return {"name": name, "namespace": self._space, "labels": pods.labels(self.name)}

    def _service(self) -> pulumi.Resource:
        port, meta = self._args.spec.port, self._meta(f"{self.name}-http")
        # Pulumi would wait for pods behind it, which come after it.
        meta["annotations"] = {"pulumi.com/skipAwait": "true"}
        return kubernetes.core.v1.Service(
            f"{self.name}-http",
            metadata=kubernetes.meta.v1.ObjectMetaArgs(**meta),
            spec={
                "type": "ClusterIP",
                "selector": pods.labels(self.name),
                "ports": [{"name": "http", "port": port, "target_port": port, "protocol": "TCP"}],
            },
            opts=self._options(),
        )

    def _deployment(self, account: pulumi.Resource, service: pulumi.Resource) -> pulumi.Resource:
        args, matched, beside = self._args, pods.labels(self.name), self._args.door.beside
        pod = {
            "serviceAccountName": self.name,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "priorityClassName": args.spaces.priority,
            "terminationGracePeriodSeconds": pods.GRACE,
            "securityContext": pods.security(),
            "topologySpreadConstraints": pods.spread(matched),
            **args.place.scheduling(),
            "containers": [self._container(), *([beside.container] if beside else [])],
            "volumes": [
                {"name": "scratch", "emptyDir": {"sizeLimit": f"{_SCRATCH_GIB}Gi"}},
                *([beside.volume] if beside else []),
            ],
        }
        noted = {"ai-platform.io/code": beside.digest} if beside else {}
        return custom(
            f"{self.name}-deployment",
            "apps/v1",
            "Deployment",
            {**self._meta(self.name), "annotations": {"pulumi.com/timeoutSeconds": str(_UPDATE_SECONDS * 2)}},
            pulumi.ResourceOptions.merge(
                self._options(account, service, *args.door.made),
                # How many there are is KEDA's to say.
                pulumi.ResourceOptions(ignore_changes=["spec.replicas"]),
            ),
            spec={
                # With a `Release` its pods are the rollout's, and here is what they are made by.
                "replicas": 0 if stepwise(args.spec) else args.spec.scale.min,
                "revisionHistoryLimit": 3,
                "progressDeadlineSeconds": _UPDATE_SECONDS,
                "minReadySeconds": _STAYS_SECONDS,
                # There is room for one more: see `instances` in components/spec/endpoints.py.
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
                "selector": {"matchLabels": matched},
                "template": {
                    "metadata": {"labels": matched, "annotations": {**noted, **pods.identified(args.identity)}},
                    "spec": pod,
                },
            },
        )

    def _container(self) -> dict[str, Any]:
        args, spec = self._args, self._args.spec
        compute, kind = spec.compute, args.place.accelerators
        devices = {kind: str(compute.per_machine)} if kind and compute.accelerator != "none" else {}
        told = {
            **pods.told(self.name, spec.port, args.model, 0, pods.GRACE - pods.DRAIN),
            # Above what one pod is given, so that another one starts before it refuses anybody.
            "MAX_REQUESTS": str(max(64, 2 * (spec.scale.target.concurrency or 0))),
        }
        return {
            "name": pods.listening(self.name, spec).container,
            "image": args.image,
            "ports": [{"name": "http", "containerPort": spec.port, "protocol": "TCP"}],
            "env": pods.variables({**told, **pods.region(self.scope.cloud, self.scope.region)}),
            "resources": pods.resources(str(compute.cpu), f"{compute.memory_gib}Gi", **devices),
            "securityContext": dict(pods.RESTRICTED),
            **pods.probes(spec.port, spec.health),
            # Not every image goes on answering once it is told to end: it is told when nobody sends it anything any more.
            "lifecycle": {"preStop": {"sleep": {"seconds": pods.DRAIN}}},
            "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],  # noqa: S108  a volume of its own
        }

    def _fences(self) -> list[pulumi.Resource]:
        """On its own port it is called by its team, which has a way there, and by nobody else in the cluster."""
        args = self._args
        caller, port = args.spaces.callers[args.spec.team], args.spec.port
        open_: list[kubernetes.networking.v1.NetworkPolicyPortArgsDict] = [{"port": port, "protocol": "TCP"}]
        matched: kubernetes.meta.v1.LabelSelectorArgsDict = {"match_labels": pods.labels(self.name)}
        here = kubernetes.networking.v1.NetworkPolicy(
            f"{self.name}-called",
            metadata=kubernetes.meta.v1.ObjectMetaArgs(**self._meta(f"{self.name}-called")),
            spec={
                "pod_selector": matched,
                "policy_types": ["Ingress"],
                "ingress": [
                    {"from_": [pods.of(caller), *map(pods.of, pods.READERS[self.scope.cloud])], "ports": open_},
                ],
            },
            opts=self._options(),
        )
        there = kubernetes.networking.v1.NetworkPolicy(
            f"{self.name}-way",
            metadata={"name": f"endpoint-{self.name}", "namespace": caller, "labels": pods.labels(self.name)},
            spec={
                "pod_selector": {},
                "policy_types": ["Egress"],
                "egress": [{"to": [{**pods.of(self._space), "pod_selector": matched}], "ports": open_}],
            },
            opts=self._options(),
        )
        return [here, there]

    def _scaled(self, deployment: pulumi.Resource) -> pulumi.Resource:
        spec = self._args.spec
        aim = spec.scale.target.concurrency or 1
        url = pulumi.Output.concat(f"http://{self.name}-http.", self._space, f".svc:{spec.port}/metrics")
        running = pods.measured("running", url, "serving_running", aim)
        return custom(
            f"{self.name}-scaled",
            "keda.sh/v1alpha1",
            "ScaledObject",
            self._meta(self.name),
            self._options(deployment),
            spec=pods.scaled(
                self.name, spec.scale.min, spec.scale.max, "running", aim, [running],
                cpu=spec.compute.accelerator == "none", rollout=stepwise(spec) is not None,
            ),
        )  # fmt: skip

    def _around(self) -> list[pulumi.Resource]:
        """What keeps a pod while machines are drained, and what collects its metrics."""
        args, meta, opts = self._args, self._meta(self.name), self._options()
        port = args.spec.port
        collected = pods.collected(self.name, self.scope.cloud, meta, port, KEPT, opts, args.door)
        return [pods.kept(self.name, meta, opts), *collected]
