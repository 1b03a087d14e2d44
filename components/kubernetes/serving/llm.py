"""A language model of ours in the cluster: servers of vLLM on the machines of a pool."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pulumi
import pulumi_kubernetes as kubernetes

from components import contracts
from components.core.scrapes import LANGUAGE as KEPT
from components.kubernetes import pods
from components.kubernetes.contracts import Artifact, Guard, Spaces
from components.kubernetes.objects import custom, inside
from components.kubernetes.pods import SERVER_PORT as ROUTED
from components.kubernetes.pods import Place
from components.scope import Component, Scope, after
from components.spec.models import Weights, called
from components.spec.serving import Llm as Spec

_BEHIND = 8001
"""Of vLLM, on the pod's loopback, where a guard stands in front of it."""
_CODE = Path(__file__).parents[3] / "runtime" / "guard"
# What the machine's own agents take, and what is left for the server: of processors and memory, and of the disk for weights.
_SHARE, _DISK_SHARE = 0.75, 0.6
_SHARED_GIB = 8
"""Memory that the processes of vLLM share (vLLM "Using Docker": PyTorch shares data between processes)."""
_DRAIN, _GRACE = 15, 120
"""Seconds: until the router sends nothing more, and until an answer that is being written has to be whole."""
_START_MINUTES = 30
"""Tens of GB from the bucket, then onto the accelerators, then graphs of CUDA."""
_HOME = "/tmp"  # noqa: S108  a volume of its own
# The image is made for root. As somebody else it needs a name (vLLM, PyTorch: `getpass.getuser` at import; kserve issue 5666)
# and places to write; and it looks for nothing on the internet.
_VARIABLES: Mapping[str, str] = {
    "HOME": _HOME,
    "USER": "vllm",
    "LOGNAME": "vllm",
    "HF_HOME": f"{_HOME}/huggingface",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "XDG_CACHE_HOME": f"{_HOME}/cache",
    "XDG_CONFIG_HOME": f"{_HOME}/config",
    "VLLM_CACHE_ROOT": f"{_HOME}/cache/vllm",
    "TORCHINDUCTOR_CACHE_DIR": f"{_HOME}/cache/inductor",
    "TRITON_CACHE_DIR": f"{_HOME}/cache/triton",
    "NUMBA_CACHE_DIR": f"{_HOME}/cache/numba",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}


@dataclass(frozen=True, kw_only=True)
class LlmArgs:
    """Which weights answer, as whom, on which machines, past which guardrail, and where prompts are kept."""

    cluster: contracts.Cluster
    spec: Spec
    image: pulumi.Input[str]
    identity: contracts.Text
    """Role ARN, or e-mail of a service account."""
    weights: Artifact
    guard: Guard
    spaces: Spaces
    router: contracts.Text
    """Address of what is in front of it; see `Router`."""
    place: Place
    ready: tuple[pulumi.Resource, ...]
    """What understands these kinds."""


class Llm(Component):
    """One language model: servers of vLLM, one a machine with all of its accelerators.

    Owns its account, the servers, how many there are, the program that brings the weights and the one that guards; on Google
    Cloud also what collects metrics. Never owns identity, guardrail or log, nor what routes to it (`Router`).

    Weights come from their zone to the machine's disk before vLLM starts, as the endpoint's own identity. vLLM listens on the
    loopback only, and what is called is the guard beside it (`runtime/guard`): each prompt and each answer passes the log, and
    the guardrail where there is one, whoever calls.

    Servers come and go by the requests that they work on and that wait (KEDA reads both from the pods), within `scale`. A new
    version is a rolling update: one server more, which has to be ready before an old one goes; one that does not become ready
    answers nobody, and the deployment fails after the time that a start may take.

    Costs its machines, for as long as they are held. A destroy takes it along with the cluster.

    >>> args = LlmArgs(
    ...     cluster=cluster, spec=llm, image="docker.io/vllm/vllm-openai:v0.11.2", identity=cluster.name,
    ...     weights=Artifact(uri=cluster.name), guard=Guard(log=cluster.name), spaces=spaces, router=cluster.name,
    ...     place=Place(system={}, plan=plans["l4"], flavor=pools.flavors["l4"]), ready=(),
    ... )
    >>> Llm("chat", args, scope=scope, parent=parent).name
    'chat'
    """

    layer = "kubernetes"
    outputs: contracts.Endpoint

    def __init__(self, name: str, args: LlmArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the servers, and what is around them."""
        super().__init__(name, scope, parent)
        self._args = args
        self._space = args.spaces.namespaces[args.spec.team]
        account = pods.account(f"{name}-account", name, self._space, scope.cloud, args.identity, self._options())
        code = kubernetes.core.v1.ConfigMap(
            f"{name}-code",
            metadata=kubernetes.meta.v1.ObjectMetaArgs(**self._meta(f"{name}-code")),
            data=_code(),
            opts=self._options(),
        )
        servers = self._servers(account, code)
        around = [self._listed(servers), self._scaled(servers), *self._around()]
        self.outputs = contracts.Endpoint(
            id=pulumi.Output.concat(self._space, "/", name),
            address=after(args.router, servers, *around),
            version=pulumi.Output.from_input(called(self._weights)),
        )
        self.finish(self.outputs)

    def _options(self, *made: pulumi.Resource) -> pulumi.ResourceOptions:
        return inside(self, self._args.cluster, *self._args.ready, *made)

    def _meta(self, name: str) -> dict[str, Any]:
        return {"name": name, "namespace": self._space, "labels": pods.labels(self.name)}

    @property
    def _weights(self) -> Weights:
        return cast("Weights", self._args.spec.model)

    def _servers(self, account: pulumi.Resource, code: pulumi.Resource) -> pulumi.Resource:
        plan, matched = self._args.place.plan, pods.labels(self.name)
        assert plan is not None  # noqa: S101  components/spec/checks_serving.py, `language`
        disk = int(plan.disk_gib * _DISK_SHARE)
        pod = {
            "serviceAccountName": self.name,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "priorityClassName": self._args.spaces.priority,
            "terminationGracePeriodSeconds": _GRACE,
            "securityContext": pods.security(),
            "topologySpreadConstraints": pods.spread(matched),
            **self._args.place.scheduling(),
            "initContainers": [self._container("weights", "weights.py", "2", "4Gi", self._brought())],
            "containers": [self._vllm(plan.machine.vcpus, plan.machine.memory_gib, plan.per_node), self._guard()],
            "volumes": [
                {"name": "weights", "emptyDir": {"sizeLimit": f"{disk}Gi"}},
                {"name": "scratch", "emptyDir": {"sizeLimit": "20Gi"}},
                {"name": "shared", "emptyDir": {"medium": "Memory", "sizeLimit": f"{_SHARED_GIB}Gi"}},
                {"name": "code", "configMap": {"name": f"{self.name}-code"}},
            ],
        }
        # A new program is a new pod.
        digest = hashlib.sha256("".join(_code().values()).encode()).hexdigest()[:16]
        return custom(
            f"{self.name}-servers",
            "apps/v1",
            "Deployment",
            {
                **self._meta(self.name),
                "annotations": {"pulumi.com/timeoutSeconds": str(_START_MINUTES * 60 * 2)},
            },
            # How many there are is KEDA's to say.
            pulumi.ResourceOptions.merge(
                self._options(account, code), pulumi.ResourceOptions(ignore_changes=["spec.replicas"])
            ),
            spec={
                "replicas": self._scale.min,
                "revisionHistoryLimit": 3,
                "progressDeadlineSeconds": _START_MINUTES * 60,
                # There is room for one more: see `instances` in components/spec/endpoints.py.
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
                "selector": {"matchLabels": matched},
                "template": {
                    "metadata": {
                        "labels": matched,
                        "annotations": {"ai-platform.io/code": digest, **pods.identified(self._args.identity)},
                    },
                    "spec": pod,
                },
            },
        )

    @property
    def _scale(self) -> Any:
        return self._args.spec.scale

    def _container(
        self, name: str, program: str, cpu: str, memory: str, given: Mapping[str, pulumi.Input[str]]
    ) -> dict[str, Any]:
        """One of our programs in the image of vLLM: no other image is built, signed and pulled for it."""
        mounts = [
            {"name": "code", "mountPath": "/code", "readOnly": True},
            {"name": "scratch", "mountPath": _HOME, "subPath": name},
        ]
        if name == "weights":
            mounts.append({"name": "weights", "mountPath": "/model"})
        return {
            "name": name,
            "image": self._args.image,
            "command": ["python3", f"/code/{program}"],
            "env": pods.variables(
                {**given, "HOME": _HOME, "HF_HUB_OFFLINE": "1", **pods.region(self.scope.cloud, self.scope.region)}
            ),
            "resources": pods.resources(cpu, memory),
            "securityContext": dict(pods.RESTRICTED),
            "volumeMounts": mounts,
        }

    def _brought(self) -> dict[str, pulumi.Input[str]]:
        return {"WEIGHTS_URI": self._args.weights.uri, "WEIGHTS_DIR": "/model"}

    def _vllm(self, vcpus: float, memory: float, devices: int) -> dict[str, Any]:
        kind = self._args.place.accelerators or "nvidia.com/gpu"
        # From within: the kubelet does not reach the loopback.
        asks = f"import urllib.request as u; u.urlopen('http://127.0.0.1:{_BEHIND}/health', timeout=5)"
        asked: dict[str, Any] = {"exec": {"command": ["python3", "-c", asks]}, "timeoutSeconds": 10}
        return {
            "name": "vllm",
            "image": self._args.image,
            # Whatever the image starts with: newer ones have `vllm serve`.
            "command": ["python3", "-m", "vllm.entrypoints.openai.api_server"],
            "args": [
                "--model=/model",
                f"--served-model-name={self.name}",
                f"--max-model-len={self._weights.max_tokens}",
                f"--tensor-parallel-size={devices}",
                "--host=127.0.0.1",
                f"--port={_BEHIND}",
            ],
            "env": pods.variables(dict(_VARIABLES)),
            "resources": pods.resources(
                str(max(1, int(vcpus * _SHARE) - 1)), f"{max(4, int(memory * _SHARE) - 1)}Gi", **{kind: str(devices)}
            ),
            "securityContext": dict(pods.RESTRICTED),
            "startupProbe": {**asked, "periodSeconds": 10, "failureThreshold": _START_MINUTES * 6},
            "readinessProbe": {**asked, "periodSeconds": 15, "failureThreshold": 2},
            "livenessProbe": {**asked, "periodSeconds": 30, "failureThreshold": 4},
            "lifecycle": {"preStop": {"sleep": {"seconds": _DRAIN}}},
            "volumeMounts": [
                {"name": "weights", "mountPath": "/model", "readOnly": True},
                {"name": "scratch", "mountPath": _HOME, "subPath": "vllm"},
                {"name": "shared", "mountPath": "/dev/shm"},  # noqa: S108  a volume of its own
            ],
        }

    def _guard(self) -> dict[str, Any]:
        guard = self._args.guard
        given: dict[str, pulumi.Input[str]] = {
            "PORT": str(ROUTED),
            "UPSTREAM": f"http://127.0.0.1:{_BEHIND}",
            "ENDPOINT": self.name,
            "PROMPT_LOG": guard.log,
        }
        if guard.guardrail is not None:
            given |= dict(zip(("GUARDRAIL", "GUARDRAIL_VERSION"), guard.guardrail, strict=True))
        asked = {"httpGet": {"path": "/health", "port": ROUTED}, "timeoutSeconds": 10}
        return {
            **self._container("guard", "guard.py", "500m", "512Mi", given),
            "ports": [{"name": "http", "containerPort": ROUTED, "protocol": "TCP"}],
            # It is ready once vLLM is, and alive before.
            "readinessProbe": {**asked, "periodSeconds": 10, "failureThreshold": 2},
            "livenessProbe": {"tcpSocket": {"port": ROUTED}, "periodSeconds": 20, "failureThreshold": 3},
            "lifecycle": {"preStop": {"sleep": {"seconds": _DRAIN}}},
        }

    def _listed(self, servers: pulumi.Resource) -> pulumi.Resource:
        """The servers by name, for KEDA; callers go through the router."""
        return kubernetes.core.v1.Service(
            f"{self.name}-servers",
            metadata=kubernetes.meta.v1.ObjectMetaArgs(**self._meta(f"{self.name}-servers")),
            spec={
                "type": "ClusterIP",
                "cluster_ip": "None",
                "selector": pods.labels(self.name),
                "ports": [{"name": "http", "port": ROUTED, "target_port": ROUTED, "protocol": "TCP"}],
            },
            opts=self._options(servers),
        )

    def _scaled(self, servers: pulumi.Resource) -> pulumi.Resource:
        scale = self._scale
        aim = scale.target.concurrency or 1
        url = pulumi.Output.concat(f"http://{self.name}-servers.", self._space, f".svc:{ROUTED}/metrics")
        triggers = [
            pods.measured(name, url, f"vllm:num_requests_{name}", aim) for name in ("running", "waiting")
        ]  # fmt: skip
        return custom(
            f"{self.name}-scaled",
            "keda.sh/v1alpha1",
            "ScaledObject",
            self._meta(self.name),
            self._options(servers),
            spec=pods.scaled(self.name, scale.min, scale.max, "running + waiting", aim, triggers, cpu=False),
        )

    def _around(self) -> list[pulumi.Resource]:
        """What keeps a pod while machines are drained, and what collects its metrics."""
        meta, opts = self._meta(self.name), self._options()
        return [
            pods.kept(self.name, meta, opts),
            *pods.collected(self.name, self.scope.cloud, meta, ROUTED, KEPT, opts),
        ]


def _code() -> dict[str, str]:
    return {name: (_CODE / name).read_text() for name in ("guard.py", "weights.py")}
