"""Where new versions of endpoints are watched from while they have some of the requests."""

from dataclasses import dataclass
from pathlib import Path

import pulumi
import pulumi_kubernetes as kubernetes

from components import contracts
from components.kubernetes.contracts import WATCHERS
from components.kubernetes.contracts import Watchers as Handles
from components.kubernetes.objects import inside, outward
from components.scope import Component, Scope, after

PYTHON = "public.ecr.aws/docker/library/python:3.13.15-slim-bookworm"
"""What it runs on: an endpoint's own image may have no Python. This registry is mirrored on either cloud."""
_CODE = Path(__file__).parents[3] / "runtime" / "serving" / "watch.py"
_ACCOUNT, _PROGRAM = "watcher", "watch"


@dataclass(frozen=True, kw_only=True)
class WatchersArgs:
    """In which cluster."""

    cluster: contracts.Cluster


class Watchers(Component):
    """The namespace of what watches releases.

    Owns the namespace, closed but for the look-up of names, the program (`runtime/serving/watch.py`) and the account that it
    runs as, which has no right and no identity. Never owns a watcher: Argo Rollouts starts one as a job for each release that
    has to be watched (`Release`), which also opens the way to the endpoint's pods.

    Apart from the endpoints, since it is the platform's: the rules on images and queues of a team's namespace are not for it,
    and no pod of an endpoint can be taken for one. Costs nothing while nothing is released. A destroy takes it along with the
    cluster.

    >>> Watchers("watchers", WatchersArgs(cluster=cluster), scope=scope, parent=parent).outputs.program
    'watch'
    """

    layer = "kubernetes"
    outputs: Handles

    def __init__(self, name: str, args: WatchersArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the namespace, then what is in it."""
        super().__init__(name, scope, parent)
        level = "pod-security.kubernetes.io"
        space = kubernetes.core.v1.Namespace(
            name,
            metadata={
                "name": WATCHERS,
                "labels": {f"{level}/{mode}": "restricted" for mode in ("enforce", "warn", "audit")},
            },
            opts=inside(self, args.cluster),
        )
        opts = inside(self, args.cluster, space)
        names, *_ = outward(scope.cloud)
        closed = kubernetes.networking.v1.NetworkPolicy(
            f"{name}-closed",
            metadata={"name": "closed", "namespace": WATCHERS},
            spec={"pod_selector": {}, "policy_types": ["Ingress", "Egress"], "egress": [names]},
            opts=opts,
        )
        account = kubernetes.core.v1.ServiceAccount(
            f"{name}-account",
            metadata={"name": _ACCOUNT, "namespace": WATCHERS},
            automount_service_account_token=False,
            opts=opts,
        )
        program = kubernetes.core.v1.ConfigMap(
            f"{name}-program",
            metadata={"name": _PROGRAM, "namespace": WATCHERS},
            data={_CODE.name: _CODE.read_text()},
            opts=opts,
        )
        self.outputs = Handles(
            space=after(WATCHERS, space, closed, account, program), account=_ACCOUNT, program=_PROGRAM
        )
        self.finish(self.outputs)
