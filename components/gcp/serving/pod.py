"""What the pods of an endpoint in the cluster run as, and what they read and write."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.contracts import Text
from components.gcp.blocks.workload import Grant, Workload, WorkloadArgs, connect
from components.scope import Component, Scope, after

_LISTED = "api.getAttribute('storage.googleapis.com/objectListPrefix', '')"


@dataclass(frozen=True, kw_only=True)
class Place:
    """What lies under a path of a storage zone: a folder ends in a slash, and without a path it is all of the zone."""

    zone: str
    bucket: contracts.Storage
    path: str


@dataclass(frozen=True, kw_only=True)
class PodArgs:
    """Which pods they are, and what they read and write."""

    apis: Mapping[str, Text]
    cluster: contracts.Cluster
    pod: tuple[str, str]
    """Namespace and service account."""
    reads: Mapping[str, Place]
    """By what it is: `model`, `input`."""
    writes: Place | None = None
    prompts: contracts.Prompts | None = None
    """Of a language model: where prompts and answers are kept."""
    guardrail: bool = False
    """Whether they pass a template of Model Armor."""
    cache: contracts.Entry | None = None
    """Of its answers, where it may use one."""


class Pod(Component):
    """The identity of one endpoint's pods: a service account that they alone become (Workload Identity Federation for GKE).

    It reads what it is told to, the endpoint's model in all of its versions, and nothing beside it; a run over many records also
    what it is run over, and writes its own folder; a client of a cache connects to that one; a language model adds what it is
    asked and answers to the table of prompts, which it cannot read, and asks Model Armor where it has a guardrail. A role for
    that is granted on nothing smaller than the project: which template is what the pods are told.

    Owns the account with its grants, and which pods become it. Never owns the pods, their namespace, a bucket, a template or the
    table (`Prompts`).

    Costs nothing but what is added, 0.05 USD a GB (BigQuery streaming inserts, us-central1, 2026-07). A destroy takes it away
    after the pods.

    >>> condition("acme-ai-dev-models", "llama/")
    "resource.name.startsWith('projects/_/buckets/acme-ai-dev-models/objects/llama/') || \
api.getAttribute('storage.googleapis.com/objectListPrefix', '').startsWith('llama/')"
    """

    outputs: contracts.Pod

    def __init__(self, name: str, args: PodArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the account, and let the pods become it."""
        super().__init__(name, scope, parent)
        self._args = args
        grants = {
            label: self._objects(label, place, "roles/storage.objectViewer") for label, place in args.reads.items()
        }
        if args.writes:
            grants["output"] = self._objects("output", args.writes, "roles/storage.objectUser")
        log: Text | None = None
        if args.prompts:
            if args.prompts.table is None or args.prompts.writes is None:
                raise ValueError(f"{name} is asked, and nobody has said where that is kept")
            if args.guardrail:
                grants["guardrail"] = Grant(role="roles/modelarmor.user")
            grants["prompts"] = Grant(role=args.prompts.writes, table=args.prompts.table)
            log = pulumi.Output.concat(args.prompts.place, "/tables/", args.prompts.table[1])
        if args.cache:
            grants["cache"] = connect(args.cache)
        email = Workload(
            f"{name}-pods",
            WorkloadArgs(description=f"Pods of the endpoint {name}.", apis=args.apis, grants=grants),
            scope=scope,
            parent=self,
        ).outputs.id
        pods = gcp.serviceaccount.IAMMember(
            f"{name}-pods",
            service_account_id=email.apply(lambda account: f"projects/{scope.account}/serviceAccounts/{account}"),
            role="roles/iam.workloadIdentityUser",
            member=f"serviceAccount:{scope.account}.svc.id.goog[{'/'.join(args.pod)}]",
            # The pool of identities comes with the project's first cluster: before, "Identity Pool does not exist".
            opts=self.options(depends_on=[args.cluster.resource]),
        )
        self.outputs = contracts.Pod(id=after(email, pods), log=log)
        self.finish(self.outputs)

    def _objects(self, label: str, place: Place, role: str) -> Grant:
        only = (label, condition(self.scope.names.of(place.zone, "bucket"), place.path)) if place.path else None
        return Grant(role=role, bucket=place.bucket.name, condition=only)


def condition(bucket: str, path: str) -> str:
    """That it is this object; or of this folder, what is in it and a list of that ("IAM conditions", Cloud Storage)."""
    name = f"projects/_/buckets/{bucket}/objects/{path}"
    if not path.endswith("/"):
        return f"resource.name == '{name}'"
    return f"resource.name.startsWith('{name}') || {_LISTED}.startsWith('{path}')"
