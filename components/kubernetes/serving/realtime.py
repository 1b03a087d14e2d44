"""A model behind an address in the cluster: KServe in its plain form."""

from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

from components import contracts
from components.kubernetes import pods
from components.kubernetes.contracts import Artifact, Spaces
from components.kubernetes.objects import custom, inside
from components.kubernetes.pods import MODEL_PORT as PORT
from components.kubernetes.pods import Place
from components.scope import Component, Scope, after
from components.spec.serving import RealTime as Spec

KEPT = "serving_(requests_total|request_seconds_.+|running|ready)"
"""The series that alarms and charts read."""
_SCRATCH_GIB = 20
_DRAIN, _GRACE = 10, 30
"""Seconds: until nobody sends it requests any more, and until it is ended whatever it does."""


@dataclass(frozen=True, kw_only=True)
class RealTimeArgs:
    """What answers, as whom, and where."""

    cluster: contracts.Cluster
    spec: Spec
    image: pulumi.Input[str]
    identity: contracts.Text
    """Role ARN, or e-mail of a service account."""
    model: Artifact | None
    spaces: Spaces
    place: Place
    ready: tuple[pulumi.Resource, ...]
    """What understands these kinds."""


class RealTime(Component):
    """One endpoint of KServe: deployments and services, without Knative and without a mesh.

    Owns its account, the InferenceService, the address that does not change, how many pods there are, and what keeps one of
    them while machines are drained; on Google Cloud also what collects its metrics. Never owns the identity behind the account.

    The image follows the contract of `runtime/serving`: it is asked at `/ping` whether it is ready, answers on port 8080, and
    says at `/metrics` how many requests it works on, by which pods come and go (KEDA reads it from the pods: no store of
    metrics is needed). On plain machines three quarters of the processors are a second reason for another pod. An image that
    says nothing there keeps `scale.min`, and what the processors ask for.

    The model comes from its zone through the container's own program, which checks its digest: KServe's initializer would be a
    second image in the pod, and looks at none. A new version is a rolling update: a pod comes, is ready, and an old one goes.
    One that does not become ready answers nobody, the update stops after ten minutes with the old pods in place, and the
    deployment fails. Nothing watches alarms here, so there is no canary. Requests are plain HTTP: they do not leave the
    cluster's network, and pods of other teams do not get there.

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
        account = kubernetes.core.v1.ServiceAccount(
            f"{name}-account",
            metadata={
                "name": name,
                "namespace": self._space,
                "annotations": pods.annotations(scope.cloud, args.identity),
            },
            # It asks nothing of the cluster's API.
            automount_service_account_token=False,
            opts=self._options(),
        )
        service = self._service()
        answering = self._answering(account)
        around = [self._scaled(answering), *self._around()]
        version = pulumi.Output.from_input(args.image).apply(lambda image: image.rpartition("/")[2])
        self.outputs = contracts.Endpoint(
            id=pulumi.Output.concat(self._space, "/", name),
            address=after(
                pulumi.Output.concat(f"http://{name}-http.", self._space, f".svc.cluster.local:{PORT}"),
                service, answering, *around,
            ),
            version=version,
        )  # fmt: skip
        self.finish(self.outputs)

    def _options(self, *made: pulumi.Resource) -> pulumi.ResourceOptions:
        return inside(self, self._args.cluster, *self._args.ready, *made)

    def _meta(self, name: str) -> dict[str, Any]:
        return {"name": name, "namespace": self._space, "labels": pods.labels(self.name)}

    def _service(self) -> pulumi.Resource:
        # Of our own: KServe's has another port than the container.
        return kubernetes.core.v1.Service(
            f"{self.name}-http",
            metadata=kubernetes.meta.v1.ObjectMetaArgs(**self._meta(f"{self.name}-http")),
            spec={
                "type": "ClusterIP",
                "selector": pods.labels(self.name),
                "ports": [{"name": "http", "port": PORT, "target_port": PORT, "protocol": "TCP"}],
            },
            # Pulumi would wait for pods behind it, which come only after it.
            opts=pulumi.ResourceOptions.merge(
                self._options(), pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(create="20m"))
            ),
        )

    def _answering(self, account: pulumi.Resource) -> pulumi.Resource:
        scale = self._args.spec.scale
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
            "annotations": pods.identified(self._args.identity),
            # There is room for one more: see `instances` in components/spec/endpoints.py.
            "deploymentStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "serviceAccountName": self.name,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "priorityClassName": self._args.spaces.priority,
            "terminationGracePeriodSeconds": _GRACE,
            "securityContext": pods.security(),
            "topologySpreadConstraints": pods.spread(pods.labels(self.name)),
            **self._args.place.scheduling(),
            "containers": [self._container()],
            "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": f"{_SCRATCH_GIB}Gi"}}],
        }
        return custom(
            f"{self.name}-answering",
            "serving.kserve.io/v1beta1",
            "InferenceService",
            metadata,
            self._options(account),
            spec={"predictor": predictor},
        )

    def _container(self) -> dict[str, Any]:
        compute, kind = self._args.spec.compute, self._args.place.accelerators
        devices = {kind: str(compute.per_machine)} if kind and compute.accelerator != "none" else {}
        asked = {"httpGet": {"path": "/ping", "port": PORT}, "timeoutSeconds": 5}
        return {
            "name": "kserve-container",
            "image": self._args.image,
            "ports": [{"name": "http1", "containerPort": PORT, "protocol": "TCP"}],
            "env": pods.variables(self._variables()),
            "resources": pods.resources(str(compute.cpu), f"{compute.memory_gib}Gi", **devices),
            "securityContext": dict(pods.RESTRICTED),
            # Five minutes for an image that is there to load its model.
            "startupProbe": {**asked, "periodSeconds": 5, "failureThreshold": 60},
            "readinessProbe": {**asked, "periodSeconds": 5, "failureThreshold": 2},
            # Not the same question: what has too much to do is no better for a restart.
            "livenessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 20, "failureThreshold": 3},
            "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],  # noqa: S108  a volume of its own
        }

    def _variables(self) -> dict[str, pulumi.Input[str]]:
        model = self._args.model
        found: dict[str, pulumi.Input[str]] = {
            "PORT": str(PORT),
            "MODEL_NAME": self.name,
            "DRAIN_SECONDS": str(_DRAIN),
            "GRACE_SECONDS": str(_GRACE - _DRAIN - 5),
            **pods.region(self.scope.cloud, self.scope.region),
        }
        if model and model.sha256:
            found |= {"MODEL_URI": model.uri, "MODEL_DIGEST": model.sha256}
        elif model:
            found["AIP_STORAGE_URI"] = model.uri
        return found

    def _scaled(self, answering: pulumi.Resource) -> pulumi.Resource:
        scale = self._args.spec.scale
        aim = scale.target.concurrency or 1
        url = pulumi.Output.concat(f"http://{self.name}-http.", self._space, f".svc:{PORT}/metrics")
        running = pods.measured("running", url, "serving_running", aim)
        spec = pods.scaled(
            f"{self.name}-predictor", scale.min, scale.max, "running", aim, [running],
            cpu=self._args.spec.compute.accelerator == "none",
        )  # fmt: skip
        return custom(
            f"{self.name}-scaled",
            "keda.sh/v1alpha1",
            "ScaledObject",
            self._meta(self.name),
            self._options(answering),
            spec=spec,
        )

    def _around(self) -> list[pulumi.Resource]:
        """What keeps a pod while machines are drained, and what collects its metrics."""
        meta, opts = self._meta(self.name), self._options()
        return [pods.kept(self.name, meta, opts), *pods.collected(self.name, self.scope.cloud, meta, PORT, KEPT, opts)]
