"""A run over many records in the cluster: an indexed job in a team's queue."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

from components import contracts
from components.kubernetes import pods
from components.kubernetes.contracts import Artifact
from components.kubernetes.objects import inside
from components.scope import Component, Scope, after
from components.spec.capacity import QueuePlan
from components.spec.models import called
from components.spec.serving import Batch as Spec

_KUEUE = "kueue.x-k8s.io"
_SCRATCH_GIB = 20
# Of runtime/serving/batch.py: asked wrongly, and more rows that do not fit than may. Trying again makes neither better.
_HOPELESS = (2, 3)
_NEVER = "0 0 1 1 *"


@dataclass(frozen=True, kw_only=True)
class BatchArgs:
    """What runs over which records, as whom, and in which queue."""

    cluster: contracts.Cluster
    spec: Spec
    image: pulumi.Input[str]
    identity: contracts.Text
    model: Artifact | None
    source: contracts.Text
    target: contracts.Text
    namespace: contracts.Text
    """Of the team."""
    queue: QueuePlan
    name: contracts.Text
    """Of the queue; resolves once it is in the team's namespace."""
    resource: str | None
    """What a container asks for to get an accelerator of the queue."""


class Batch(Component):
    """One run over many records, when it is due or when somebody starts it.

    Owns its account and the cron job, whose jobs wait in the queue as all work does. Never owns the identity, the queue, nor
    records. Each run has a folder of its own, named after its job, so that one which was interrupted goes on where it was and
    the next one begins anew. Files are dealt out among `machines` pods; a run ends within `finish_hours`, or is stopped.

    Without a schedule it is suspended: `kubectl create job --from=cronjob/NAME NAME-1`, with the label of the queue that it has.
    The account lies in the team's namespace, so that work of the same team could run as it: what it may do is read that model
    and those records, and write that folder.

    Costs what its queue's machines do while it runs. A destroy takes it along with the cluster; what it wrote stays.

    >>> args = BatchArgs(
    ...     cluster=cluster, spec=batch, image="registry.example.com/serving:1.0", identity=cluster.name, model=None,
    ...     source=cluster.name, target=cluster.name, namespace=cluster.name, queue=queues["train"], name=cluster.name,
    ...     resource=None,
    ... )
    >>> Batch("churn", args, scope=scope, parent=parent).name
    'churn'
    """

    layer = "kubernetes"
    outputs: contracts.Endpoint

    def __init__(self, name: str, args: BatchArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the account and the cron job."""
        super().__init__(name, scope, parent)
        self._args = args
        account = pods.account(
            f"{name}-account", f"batch-{name}", args.namespace, scope.cloud, args.identity, self._options()
        )
        spec = args.spec
        cron = kubernetes.batch.v1.CronJob(
            f"{name}-runs",
            metadata={"name": name, "namespace": args.namespace, "labels": pods.labels(name)},
            spec={
                "schedule": spec.schedule or _NEVER,
                "time_zone": "Etc/UTC" if spec.time_zone == "UTC" else spec.time_zone,
                "suspend": spec.schedule is None,
                # A run that is late is not started twice.
                "concurrency_policy": "Forbid",
                "starting_deadline_seconds": 3600,
                "successful_jobs_history_limit": 3,
                "failed_jobs_history_limit": 3,
                "job_template": {"metadata": self._labelled(), "spec": self._job()},
            },
            opts=self._options(account),
        )
        self.outputs = contracts.Endpoint(
            id=pulumi.Output.concat(args.namespace, "/", name),
            address=after(pulumi.Output.concat("cronjob/", name, " in ", args.namespace), cron),
            version=pulumi.Output.from_input(called(args.spec.model)),
        )
        self.finish(self.outputs)

    def _options(self, *made: pulumi.Resource) -> pulumi.ResourceOptions:
        return inside(self, self._args.cluster, *made)

    def _labelled(self) -> Any:
        """What the rules of admission ask of work (`foundation/admission.py`)."""
        return {
            "labels": {
                **pods.labels(self.name),
                f"{_KUEUE}/queue-name": self._args.name,
                f"{_KUEUE}/max-exec-time-seconds": str(self._seconds),
            }
        }

    @property
    def _seconds(self) -> int:
        return self._args.spec.objective.finish_hours * 3600

    def _job(self) -> Any:
        machines = self._args.spec.machines
        return {
            # Kueue lets it go.
            "suspend": True,
            "completions": machines,
            "parallelism": machines,
            "completion_mode": "Indexed",
            "backoff_limit": max(self._args.queue.retries, 1) * machines,
            "active_deadline_seconds": self._seconds,
            "ttl_seconds_after_finished": 7 * 24 * 3600,
            "pod_failure_policy": {
                "rules": [
                    {
                        "action": "FailJob",
                        "on_exit_codes": {"container_name": "batch", "operator": "In", "values": list(_HOPELESS)},
                    },
                    {"action": "Ignore", "on_pod_conditions": [{"type": "DisruptionTarget", "status": "True"}]},
                ]
            },
            "template": {
                "metadata": {
                    "labels": pods.labels(self.name),
                    "annotations": pods.identified(self._args.identity),
                },
                "spec": self._pod(),
            },
        }

    def _pod(self) -> Any:
        compute, kind = self._args.spec.compute, self._args.resource
        devices = {kind: str(compute.per_machine)} if kind and compute.accelerator != "none" else {}
        user = pods.USER
        return {
            "service_account_name": f"batch-{self.name}",
            "automount_service_account_token": False,
            "enable_service_links": False,
            "restart_policy": "Never",
            "termination_grace_period_seconds": 120,
            "security_context": {
                "run_as_non_root": True,
                "run_as_user": user,
                "run_as_group": user,
                "fs_group": user,
                "seccomp_profile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "batch",
                    "image": self._args.image,
                    "args": ["batch"],
                    "env": [
                        # Known to a pod as a label (Kubernetes, "Well-Known Labels", batch.kubernetes.io/job-name).
                        {
                            "name": "RUN",
                            "value_from": {
                                "field_ref": {"field_path": "metadata.labels['batch.kubernetes.io/job-name']"}
                            },
                        },
                        *({"name": key, "value": value} for key, value in self._variables().items()),
                    ],
                    "resources": pods.resources(str(compute.cpu), f"{compute.memory_gib}Gi", **devices),
                    "security_context": {
                        "allow_privilege_escalation": False,
                        "read_only_root_filesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volume_mounts": [{"name": "scratch", "mount_path": "/tmp"}],  # noqa: S108  a volume of its own
                }
            ],
            "volumes": [{"name": "scratch", "empty_dir": {"size_limit": f"{_SCRATCH_GIB}Gi"}}],
        }

    def _variables(self) -> Mapping[str, pulumi.Input[str]]:
        args = self._args
        model: dict[str, pulumi.Input[str]] = {}
        if args.model and args.model.sha256:
            model = {"MODEL_URI": args.model.uri, "MODEL_DIGEST": args.model.sha256}
        elif args.model:
            model = {"AIP_STORAGE_URI": args.model.uri}
        return {
            "INPUT_URI": args.source,
            "OUTPUT_URI": pulumi.Output.concat(args.target, "$(RUN)"),
            # The runner keeps what is done beside what it writes; said to those who ask where a job keeps its checkpoints.
            "CHECKPOINT_URI": pulumi.Output.concat(args.target, "$(RUN)"),
            "SHARDS": str(args.spec.machines),
            **model,
            **pods.region(self.scope.cloud, self.scope.region),
        }
