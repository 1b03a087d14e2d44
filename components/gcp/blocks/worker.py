"""A function of the platform's own: code of a few files, and what it is built and runs as."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.core.cloud_run import url
from components.core.google import labels
from components.gcp.blocks.workload import Grant, Workload, WorkloadArgs
from components.scope import Component, Scope, after

_ROOT = Path(__file__).parents[3]
_DAY = 86_400


@dataclass(frozen=True, kw_only=True)
class WorkerArgs:
    """What one function is and may do."""

    apis: Mapping[str, contracts.Text]
    number: str
    """Number of the project."""
    label: str
    """Its name within the environment."""
    module: str
    """The file of `runtime/gcp` whose function `entry` is called."""
    entry: str
    others: Sequence[str]
    """Files of `runtime/gcp` that it imports."""
    requirements: str
    """File of `runtime/gcp` that names packages, each with its version."""
    description: str
    memory: str
    timeout_seconds: int
    at_once: int
    """Requests that an instance works on at once."""
    instances: int
    """Instances at most."""
    public: bool = False
    """Whether calls reach it that do not come from the project or its network. Who calls is checked either way."""
    environment: Mapping[str, pulumi.Input[str]]
    grants: Mapping[str, Grant]
    """All that it may do."""
    callers: Mapping[str, pulumi.Input[str]]
    """E-mails of service accounts that may call it, each by a name that is stable; nobody else may."""
    network: contracts.Network | None
    compute_key: contracts.Key
    logs: contracts.Text
    """Bucket of access logs."""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class Worker(Component):
    """A function of Cloud Run with an identity, a source and a repository of images of its own, under our key.

    Owns the function, what it runs and is built as, who may call it, the bucket of its source and the repository of its image.
    Never owns what calls it. Its logs are those of the project.

    Costs 0.000024 USD a vCPU-second and 0.0000025 a GiB-second while it works, 0.40 a million requests (us-central1, 2026-08);
    its source and images cents. A destroy takes it all, but for the bucket `gcf-v2-sources-…`, which Google makes for functions
    and keeps.

    >>> sorted(code("retrieval", "query", ["retrieval_rest"], "requirements.txt"))
    ['main.py', 'requirements.txt', 'runtime/gcp/retrieval.py', 'runtime/gcp/retrieval_rest.py']
    """

    outputs: contracts.Worker

    def __init__(self, name: str, args: WorkerArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the function and what it stands on."""
        super().__init__(name, scope, parent)
        self._args = args
        self.physical = scope.names.of(args.label, "run_service")
        self.address = url(self.physical, args.number, scope.region)
        """Where it listens, known before it does; what tokens of its callers have to be for."""
        identity = self._identity(args.label, args.description, args.grants)
        function = self._function(identity)
        invokers = [
            gcp.cloudrunv2.ServiceIamMember(
                f"{name}-caller-{caller}",
                project=args.apis["run.googleapis.com"],
                location=scope.region,
                # A function is a service of Cloud Run with the same name.
                name=function.name,
                role="roles/run.invoker",
                member=pulumi.Output.concat("serviceAccount:", email),
                opts=self.options(),
            )
            for caller, email in args.callers.items()
        ]
        self.outputs = contracts.Worker(
            id=after(function.name, *invokers), name=self.physical, identity=identity, log=None
        )
        self.finish(self.outputs)

    def _identity(self, label: str, description: str, grants: Mapping[str, Grant]) -> contracts.Text:
        args = WorkloadArgs(description=description, apis=self._args.apis, grants=grants)
        return Workload(label, args, scope=self.scope, parent=self).outputs.id

    def _function(self, identity: contracts.Text) -> gcp.cloudfunctionsv2.Function:
        args, scope = self._args, self.scope
        bucket, source = self._source()
        repository = self._repository()
        builder = self._builder(bucket, repository)
        network: gcp.cloudfunctionsv2.FunctionServiceConfigArgsDict = {}
        if args.network is not None:
            network = {
                "direct_vpc_egress": "VPC_EGRESS_ALL_TRAFFIC",
                "direct_vpc_network_interfaces": [
                    {"network": args.network.id, "subnetwork": args.network.workload_subnets[0]}
                ],
            }
        return gcp.cloudfunctionsv2.Function(
            f"{self.name}-function",
            name=self.physical,
            description=args.description,
            project=args.apis["cloudfunctions.googleapis.com"],
            location=scope.region,
            kms_key_name=args.compute_key.id,
            build_config={
                "runtime": "python313",
                "entry_point": args.entry,
                "source": {"storage_source": {"bucket": bucket, "object": source}},
                "docker_repository": repository.id,
                # Else it is built as the default account, which may edit the whole project.
                "service_account": builder.apply(lambda email: f"projects/{scope.account}/serviceAccounts/{email}"),
            },
            service_config={
                "service_account_email": identity,
                "available_memory": args.memory,
                # Less than one takes one request at a time ("Concurrency", Cloud Run functions).
                "available_cpu": "1",
                "timeout_seconds": args.timeout_seconds,
                "min_instance_count": 0,
                "max_instance_count": args.instances,
                "max_instance_request_concurrency": args.at_once,
                "ingress_settings": "ALLOW_ALL" if args.public else "ALLOW_INTERNAL_ONLY",
                "all_traffic_on_latest_revision": True,
                "environment_variables": dict(args.environment),
                **network,
            },
            labels=labels({**scope.tags, **args.tags}),
            opts=self.options(),
        )

    def _source(self) -> tuple[contracts.Text, contracts.Text]:
        """The bucket and the object that the function is built from."""
        args, scope = self._args, self.scope
        texts = code(args.module, args.entry, args.others, args.requirements)
        digest = hashlib.sha256(json.dumps(texts, sort_keys=True).encode()).hexdigest()[:16]
        label = f"{args.label}-source"
        bucket = gcp.storage.Bucket(
            f"{self.name}-source",
            name=scope.names.of(label, "bucket"),
            project=args.apis["storage.googleapis.com"],
            location=scope.region.upper(),
            uniform_bucket_level_access=True,
            public_access_prevention="enforced",
            versioning={"enabled": True},
            encryption={"default_kms_key_name": args.compute_key.id},
            soft_delete_policy={"retention_duration_seconds": 0},
            lifecycle_rules=[
                {"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": 7}},
                {
                    "action": {"type": "Delete"},
                    "condition": {"days_since_noncurrent_time": 30, "with_state": "ARCHIVED"},
                },
            ],
            logging={"log_bucket": args.logs, "log_object_prefix": f"access/{label}"},
            force_destroy=scope.deletable,
            opts=self.options(holds_data=True),
        )
        source = gcp.storage.BucketObject(
            f"{self.name}-code",
            bucket=bucket.name,
            # By content: a new object is what makes a new build.
            name=f"{args.label}-{digest}.zip",
            source=pulumi.AssetArchive({name: pulumi.StringAsset(text) for name, text in texts.items()}),
            opts=self.options(),
        )
        return bucket.name, source.name

    def _repository(self) -> gcp.artifactregistry.Repository:
        args, scope = self._args, self.scope
        return gcp.artifactregistry.Repository(
            f"{self.name}-images",
            repository_id=scope.names.of(f"{args.label}-images", "compute"),
            description=f"Images of the function {args.label}.",
            format="DOCKER",
            mode="STANDARD_REPOSITORY",
            location=scope.region,
            project=args.apis["artifactregistry.googleapis.com"],
            # The same key as the function's: so Google demands.
            kms_key_name=args.compute_key.id,
            cleanup_policies=[
                {"id": "keep-newest", "action": "KEEP", "most_recent_versions": {"keep_count": 5}},
                {"id": "drop-old", "action": "DELETE", "condition": {"older_than": f"{30 * _DAY}s"}},
            ],
            opts=self.options(holds_data=True),
        )

    def _builder(self, bucket: contracts.Text, repository: gcp.artifactregistry.Repository) -> contracts.Text:
        args, scope = self._args, self.scope
        # Cloud Run functions copies the source into a bucket of its own before it builds.
        copies = f"projects/_/buckets/gcf-v2-sources-{args.number}-{scope.region}"
        return self._identity(
            f"{args.label}-build",
            f"Builds the function {args.label}.",
            {
                "logs": Grant(role="roles/logging.logWriter"),
                "source": Grant(role="roles/storage.objectViewer", bucket=bucket),
                "copies": Grant(
                    role="roles/storage.objectViewer",
                    condition=("sources-of-functions", f"resource.name.startsWith('{copies}')"),
                ),
                "images": Grant(role="roles/artifactregistry.writer", repository=(scope.region, repository.name)),
            },
        )


def code(module: str, entry: str, others: Sequence[str], requirements: str) -> dict[str, str]:
    """The files of a function by name. Modules keep their places, so that they find one another as they do here."""
    found = {
        "main.py": f"from runtime.gcp.{module} import {entry} as {entry}\n",
        "requirements.txt": (_ROOT / "runtime" / "gcp" / requirements).read_text(encoding="utf-8"),
    }
    for file in (module, *others):
        place = f"runtime/gcp/{file}.py"
        found[place] = (_ROOT / place).read_text(encoding="utf-8")
    return found
