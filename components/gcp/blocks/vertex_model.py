"""A model as Vertex AI reads it: what it consists of, what it runs as, and how its files get where Vertex AI finds them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi

from components import contracts
from components.contracts import Text
from components.core import rollouts
from components.core.google import labels
from components.gcp.blocks.rollout import Platform
from components.gcp.blocks.workload import Grant, Workload, WorkloadArgs
from components.scope import Component, Scope
from components.spec.models import Container

_FETCH = Path(__file__).parents[3] / "runtime" / "gcp" / "fetch_model.py"
# What copies an archive, which is small work.
_FETCHER: Mapping[str, Any] = {"machineType": "e2-standard-4"}
_PORT = 8080
_WRITE = "roles/storage.objectUser"


@dataclass(frozen=True, kw_only=True)
class Packaged:
    """A version of the registry (`Models`): an OCI artifact with a model's files, or an image that serves them."""

    repository: Text
    """Address of the repository of what is approved."""
    package: str
    version: str
    """The tag that its approver gave it."""
    own: bool
    """Whether the repository is in this project; in another one its readers have to be named there."""
    server: pulumi.Input[str] | None
    """Image that serves the files; None where the version itself is that image."""
    python: pulumi.Input[str]
    """Image with Python, in which files are brought to the bucket."""


@dataclass(frozen=True, kw_only=True)
class VertexModelArgs:
    """One model."""

    platform: Platform
    endpoint: str
    model: Container | Packaged
    image: pulumi.Input[str] | None = None
    """Address of the image, where `model` names one."""
    grants: Mapping[str, Grant] = field(default_factory=dict[str, Grant])
    """What it may do besides writing its log."""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class VertexModel(Component):
    """What a version of a model is made of, and its identity. A workflow enters it into the registry of Vertex AI.

    Vertex AI reads files from a folder of a bucket, and the registry holds them as an artifact of OCI: a job brings the ones to
    the other, below `served/{endpoint}/{version}/` in the zone of records, before the version is entered for the first time.
    Vertex AI copies them to a bucket of its own, which the identity may read by itself ("Custom container requirements").

    Owns the identity that versions run as, and that of the job. Never owns a version: those stay in Vertex AI's registry after a
    destroy, at no cost, as do the files.

    Costs the job: minutes of an e2-standard-4 for each version. A destroy takes the identities.

    >>> Container(image="a:1").artifact is None
    True
    """

    outputs: contracts.Workload
    model: rollouts.Model
    """For the workflow."""
    workers: Mapping[str, Text]
    """Whom the workflow acts as."""

    def __init__(self, name: str, args: VertexModelArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the identities, and say what the model is."""
        super().__init__(name, scope, parent)
        self._args = args
        grants = {"logs": Grant(role="roles/logging.logWriter"), **args.grants}
        self.outputs = Workload(
            f"serve-{args.endpoint}",
            WorkloadArgs(description=f"Endpoint {args.endpoint}.", apis=args.platform.apis, grants=grants),
            scope=scope,
            parent=self,
        ).outputs
        self.workers = {"service": self.outputs.id}
        container: dict[str, Any] = {
            "ports": [{"containerPort": _PORT}],
            "healthRoute": "/ping",
            "predictRoute": "/predict",
        }
        unpack: dict[str, Any] | None = None
        files: pulumi.Input[str] | None = None
        if isinstance(args.model, Packaged):
            found = args.model
            address = pulumi.Output.concat(found.repository, f"/{found.package}")
            image = found.server or pulumi.Output.concat(address, f":{found.version}")
            if found.server is not None:
                below = f"served/{args.endpoint}/{found.version}"
                fetcher = self._fetcher(found)
                self.workers = {**self.workers, "fetch": fetcher}
                files = pulumi.Output.concat("gs://", self._bucket, f"/{below}")
                unpack = self._unpack(found, fetcher, address, pulumi.Output.concat("/gcs/", self._bucket, f"/{below}"))
        else:
            if args.image is None:
                raise ValueError(f"{args.endpoint}: an image without its address")
            image = args.image
            artifact = args.model.artifact
            if artifact is not None:
                folder = artifact.path if artifact.path.endswith("/") else artifact.path.rpartition("/")[0]
                files = pulumi.Output.concat(
                    "gs://", args.platform.storage[artifact.zone].name, f"/{folder.rstrip('/')}"
                )
                if artifact.sha256 is not None:
                    container["env"] = [{"name": "MODEL_DIGEST", "value": artifact.sha256}]
        content: dict[str, Any] = {
            "displayName": args.endpoint,
            "containerSpec": {**container, "imageUri": image},
            **({"artifactUri": files} if files is not None else {}),
            "encryptionSpec": {"kmsKeyName": args.platform.compute_key.id},
        }
        self.model = rollouts.Model(
            parent=f"projects/{scope.account}/locations/{scope.region}",
            region=scope.region,
            id=scope.names.of(args.endpoint, "compute"),
            # A letter first; what is the same has the same, so that a version is entered once.
            alias=pulumi.Output.json_dumps(content, sort_keys=True).apply(lambda text: f"v{rollouts.digest(text)}"),
            body={**content, "labels": self._labels()},
            unpack=unpack,
        )
        self.finish(self.outputs)

    @property
    def _bucket(self) -> Text:
        platform = self._args.platform
        return platform.storage[platform.records_zone].name

    def _labels(self) -> dict[str, str]:
        return {**labels({**self.scope.tags, **self._args.tags}), "endpoint": self._args.endpoint}

    def _fetcher(self, found: Packaged) -> Text:
        """Who brings files from the registry: of this model, to this endpoint's folder."""
        args, scope, platform = self._args, self.scope, self._args.platform
        objects = (
            f"projects/_/buckets/{scope.names.of(platform.records_zone, 'bucket')}/objects/served/{args.endpoint}/"
        )
        # A mounted bucket is listed, which is a right on the bucket and not on what lies in it.
        expression = f'resource.type == "storage.googleapis.com/Bucket" || resource.name.startsWith("{objects}")'
        grants = {
            "logs": Grant(role="roles/logging.logWriter"),
            "files": Grant(
                role=_WRITE,
                bucket=platform.storage[platform.records_zone].resource,
                condition=("its-files", expression),
            ),
        }
        if found.own:
            repository = found.repository.apply(lambda address: address.rpartition("/")[2])
            grants["versions"] = Grant(role="roles/artifactregistry.reader", repository=(self.scope.region, repository))
        return Workload(
            f"fetch-{args.endpoint}",
            WorkloadArgs(description=f"Brings versions to {args.endpoint}.", apis=platform.apis, grants=grants),
            scope=scope,
            parent=self,
        ).outputs.id

    def _unpack(self, found: Packaged, fetcher: Text, address: Text, folder: Text) -> dict[str, Any]:
        """The job (CustomJob)."""
        return {
            "displayName": f"{self.scope.names.of(self._args.endpoint, 'compute')}-fetch",
            "jobSpec": {
                "workerPoolSpecs": [
                    {
                        "machineSpec": dict(_FETCHER),
                        "replicaCount": "1",
                        "containerSpec": {
                            "imageUri": found.python,
                            "command": ["python3", "-c", _FETCH.read_text(encoding="utf-8")],
                            "args": ["--repository", address, "--tag", found.version, "--folder", folder],
                        },
                    }
                ],
                "scheduling": {"timeout": "3600s", "strategy": "STANDARD"},
                "serviceAccount": fetcher,
                "enableWebAccess": False,
            },
            "encryptionSpec": {"kmsKeyName": self._args.platform.compute_key.id},
            "labels": self._labels(),
        }
