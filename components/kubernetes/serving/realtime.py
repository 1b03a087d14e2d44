"""A model behind an address in the cluster: KServe in its plain form."""

from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

from components import contracts
from components.core.scrapes import MODEL as KEPT
from components.kubernetes import pods
from components.kubernetes.contracts import Artifact, Door, Interceptors, Spaces
from components.kubernetes.objects import custom, inside
from components.kubernetes.pods import MODEL_PORT as PORT
from components.kubernetes.pods import Place
from components.scope import Component, Scope, after
from components.spec.endpoints import stepwise
from components.spec.models import called
from components.spec.serving import RealTime as Spec

_SCRATCH_GIB = 20
_DRAIN, _GRACE = 10, 30
"""Seconds: until nobody sends it requests any more, and until it is ended whatever it does."""
_START = 900
"""Seconds that a request waits for a first pod: five minutes each for a machine, for its image, and for the model (`_container`).
So long does the pod stay, too, after the last request: a start that nobody waits for any more comes to its end."""


@dataclass(frozen=True, kw_only=True)
class RealTimeArgs:
    """What answers, as whom, and where."""

    cluster: contracts.Cluster
    spec: Spec
    image: pulumi.Input[str]
    identity: contracts.Text
    """Role ARN, or e-mail of a service account."""
    model: Artifact | None
    cache: contracts.Entry | None = None
    """Of its answers, where it may use one."""
    spaces: Spaces
    place: Place
    door: Door | None = None
    """The way from the internet, where there is one."""
    ready: tuple[pulumi.Resource, ...]
    """What understands these kinds."""
    interceptors: Interceptors | None = None
    """What holds requests while there is no pod; wanted with `scale.min: 0`."""


class RealTime(Component):
    """One endpoint of KServe: deployments and services, without Knative and without a mesh.

    Owns its account, the InferenceService, the address that does not change, how many pods there are, and what keeps one of
    them while machines are drained; the way to its cache; on Google Cloud also what collects its metrics. Never owns the
    identity behind the account, nor a cache.

    The image follows the contract of `runtime/serving`: it is asked at `/ping` whether it is ready, answers on port 8080, and
    says at `/metrics` how many requests it works on, by which pods come and go (KEDA reads it from the pods: no store of
    metrics is needed). On plain machines three quarters of the processors are a second reason for another pod. An image that
    says nothing there keeps `scale.min`, and what the processors ask for.

    The model comes from its zone through the container's own program, which checks its digest: KServe's initializer would be a
    second image in the pod, and looks at none. A new version is a rolling update: a pod comes, is ready, and an old one goes.
    One that does not become ready answers nobody, the update stops after ten minutes with the old pods in place, and the
    deployment fails. With a canary or two colours the pods are a `Release`'s. Requests are plain HTTP: they do not leave the
    cluster's network, and pods of other teams do not get there. From the internet nothing gets there but through a `Door`.

    With `scale.min: 0` there is no pod while nobody asks, by KEDA's HTTP add-on, which is beta. The address stays: its service
    then leads to the team's interceptor, which knows the endpoint by the name that was called, holds the request until a pod is
    ready, for 15 minutes at most (504 after these), and says how many there are. The last pod goes 15 minutes after the last
    request. An endpoint's first version is tried as it is made; a later one that comes while nothing runs is tried by the next
    request, and the deployment does not wait for it.

    Costs its machines: a pool's, or those of the cluster's own services. A destroy takes it along with the cluster.

    >>> args = RealTimeArgs(
    ...     cluster=cluster, spec=realtime, image="registry.example.com/serving:1.0", identity=cluster.name, model=None,
    ...     spaces=spaces, place=Place(system={}), ready=(),
    ... )
    >>> RealTime("fraud", args, scope=scope, parent=parent).name
    'fraud'
    """

    layer = "kubernetes"
    outputs: contracts.Endpoint

    def __init__(self, name: str, args: RealTimeArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the account, what answers, and what is around it."""
        super().__init__(name, scope, parent)
        self._args = args
        self._space = args.spaces.namespaces[args.spec.team]
        account = pods.account(f"{name}-account", name, self._space, scope.cloud, args.identity, self._options())
        route = [self._route()] if self._host() is not None else []
        service = self._services(*route)
        self._drain, self._grace = (pods.DRAIN, pods.GRACE) if args.door else (_DRAIN, _GRACE)
        answering = self._answering(account, *service, *self._way())
        around = [self._scaled(answering, *route), *self._around()]
        self.outputs = contracts.Endpoint(
            id=pulumi.Output.concat(self._space, "/", name),
            address=after(
                args.door.address
                if args.door
                else pulumi.Output.concat(f"http://{name}-http.", self._space, f".svc.cluster.local:{PORT}"),
                *service, answering, *around,
            ),
            version=pulumi.Output.from_input(called(args.spec.model)),
        )  # fmt: skip
        self.finish(self.outputs)

    def _options(self, *made: pulumi.Resource) -> pulumi.ResourceOptions:
        return inside(self, self._args.cluster, *self._args.ready, *made)

    def _meta(self, name: str) -> dict[str, Any]:
        return {"name": name, "namespace": self._space, "labels": pods.labels(self.name)}

    def _host(self) -> pulumi.Input[str] | None:
        """What stands in front, where there may be no pod."""
        interceptors, spec = self._args.interceptors, self._args.spec
        return interceptors.hosts[spec.team] if interceptors and spec.scale.min == 0 else None

    def _services(self, *route: pulumi.Resource) -> list[pulumi.Resource]:
        host = self._host()
        if host is None:
            return [self._service(f"{self.name}-http")]
        # The address is another name for the interceptor, so that it is the same with and without one. Callers go on sending the
        # name that they know, and by it the interceptor tells endpoints apart.
        front = kubernetes.core.v1.Service(
            f"{self.name}-http",
            metadata=kubernetes.meta.v1.ObjectMetaArgs(**self._meta(f"{self.name}-http")),
            spec={"type": "ExternalName", "external_name": host, "ports": [{"name": "http", "port": PORT}]},
            # The interceptor answers 404 to a name that it does not know.
            opts=self._options(*route),
        )
        return [front, self._service(f"{self.name}-pods")]

    def _service(self, name: str) -> pulumi.Resource:
        meta = self._meta(name)
        # Of our own: KServe's has another port than the container. Pulumi would wait for pods behind it, which come after it.
        meta["annotations"] = {"pulumi.com/skipAwait": "true"}
        return kubernetes.core.v1.Service(
            name,
            metadata=kubernetes.meta.v1.ObjectMetaArgs(**meta),
            spec={
                "type": "ClusterIP",
                "selector": pods.labels(self.name),
                "ports": [{"name": "http", "port": PORT, "target_port": PORT, "protocol": "TCP"}],
            },
            opts=self._options(),
        )

    def _way(self) -> list[pulumi.Resource]:
        """Out to the cache, of these pods alone: its namespace lets nothing out that is not named."""
        cache = self._args.cache
        if cache is None:
            return []
        first, last = cache.ports
        return [
            kubernetes.networking.v1.NetworkPolicy(
                f"{self.name}-to-cache",
                metadata=kubernetes.meta.v1.ObjectMetaArgs(**self._meta(f"{self.name}-to-cache")),
                spec={
                    "pod_selector": {"match_labels": pods.labels(self.name)},
                    "policy_types": ["Egress"],
                    "egress": [
                        {
                            "to": [{"ip_block": {"cidr": cache.reach}}],
                            "ports": [{"port": first, "end_port": last, "protocol": "TCP"}],
                        }
                    ],
                },
                opts=self._options(),
            )
        ]

    def _answering(self, account: pulumi.Resource, *before: pulumi.Resource) -> pulumi.Resource:
        scale, door = self._args.spec.scale, self._args.door
        beside = door.beside if door else None
        metadata = self._meta(self.name)
        metadata["labels"] = {**metadata["labels"], "networking.kserve.io/visibility": "cluster-local"}
        metadata["annotations"] = {
            "serving.kserve.io/deploymentMode": "Standard",
            # Nobody of KServe's says how many (v0.20.0, deployment_reconciler.go): `_scaled` does.
            "serving.kserve.io/autoscalerClass": "external",
            "pulumi.com/waitFor": "condition=Ready",
            "pulumi.com/timeoutSeconds": "1500",
        }
        predictor: dict[str, Any] = {
            "minReplicas": scale.min,
            "maxReplicas": scale.max,
            "labels": pods.labels(self.name),
            "annotations": {
                **pods.identified(self._args.identity),
                **({"ai-platform.io/code": beside.digest} if beside else {}),
            },
            # There is room for one more: see `instances` in components/spec/endpoints.py.
            "deploymentStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "serviceAccountName": self.name,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "priorityClassName": self._args.spaces.priority,
            "terminationGracePeriodSeconds": self._grace,
            "securityContext": pods.security(),
            "topologySpreadConstraints": pods.spread(pods.labels(self.name)),
            **self._args.place.scheduling(),
            "containers": [self._container(), *([beside.container] if beside else [])],
            "volumes": [
                {"name": "scratch", "emptyDir": {"sizeLimit": f"{_SCRATCH_GIB}Gi"}},
                *([beside.volume] if beside else []),
            ],
        }
        return custom(
            f"{self.name}-answering",
            "serving.kserve.io/v1beta1",
            "InferenceService",
            metadata,
            self._options(account, *before, *(door.made if door else ())),
            spec={"predictor": predictor},
        )

    def _container(self) -> dict[str, Any]:
        compute, kind = self._args.spec.compute, self._args.place.accelerators
        devices = {kind: str(compute.per_machine)} if kind and compute.accelerator != "none" else {}
        return {
            "name": "kserve-container",
            "image": self._args.image,
            "ports": [{"name": "http1", "containerPort": PORT, "protocol": "TCP"}],
            "env": pods.variables(self._variables()),
            "resources": pods.resources(str(compute.cpu), f"{compute.memory_gib}Gi", **devices),
            "securityContext": dict(pods.RESTRICTED),
            **pods.probes(PORT, "/ping"),
            "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],  # noqa: S108  a volume of its own
        }

    def _variables(self) -> dict[str, pulumi.Input[str]]:
        told = pods.told(self.name, PORT, self._args.model, self._drain, self._grace)
        cached = self._args.cache.variables if self._args.cache else {}
        return {**told, **pods.region(self.scope.cloud, self.scope.region), **cached}

    def _scaled(self, *made: pulumi.Resource) -> pulumi.Resource:
        scale = self._args.spec.scale
        aim, asleep = scale.target.concurrency or 1, self._host() is not None
        url = pulumi.Output.concat(f"http://{self.name}-http.", self._space, f".svc:{PORT}/metrics")
        running = self._pushed() if asleep else pods.measured("running", url, "serving_running", aim)
        spec = pods.scaled(
            f"{self.name}-predictor", scale.min, scale.max, "running", aim, [running],
            cpu=self._args.spec.compute.accelerator == "none", rollout=stepwise(self._args.spec) is not None,
        )  # fmt: skip
        return custom(
            f"{self.name}-scaled",
            "keda.sh/v1alpha1",
            "ScaledObject",
            self._meta(self.name),
            # After a route: KEDA asks once what it counts, and without one would scale by processors alone.
            self._options(*made),
            spec={**spec, "cooldownPeriod": _START} if asleep else spec,
        )

    def _pushed(self) -> dict[str, Any]:
        """A trigger: how many requests wait or are answered, as the interceptors count them."""
        assert self._args.interceptors is not None  # noqa: S101  `_host`
        return {
            "type": "external-push",
            "name": "running",
            "metricType": "AverageValue",
            "metadata": {"scalerAddress": self._args.interceptors.scaler, "interceptorRoute": self.name},
        }

    def _route(self) -> pulumi.Resource:
        aim = self._args.spec.scale.target.concurrency or 1
        called = [
            pulumi.Output.concat(f"{self.name}-http.", self._space, end) for end in (".svc.cluster.local", ".svc", "")
        ]
        return custom(
            f"{self.name}-route",
            "http.keda.sh/v1beta1",
            "InterceptorRoute",
            self._meta(self.name),
            self._options(),
            spec={
                "target": {"service": f"{self.name}-pods", "port": PORT},
                "rules": [{"hosts": called}],
                "timeouts": {"readiness": f"{_START}s", "responseHeader": f"{_START}s"},
                "scalingMetric": {"concurrency": {"targetValue": aim}},
            },
        )

    def _around(self) -> list[pulumi.Resource]:
        """What keeps a pod while machines are drained, and what collects its metrics."""
        meta, opts = self._meta(self.name), self._options()
        collected = pods.collected(self.name, self.scope.cloud, meta, PORT, KEPT, opts, self._args.door)
        return [pods.kept(self.name, meta, opts), *collected]
