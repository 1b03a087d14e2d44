"""Shared file systems as pods mount them."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as kubernetes

from components import contracts
from components.kubernetes.contracts import Volumes as Handles
from components.kubernetes.objects import inside
from components.scope import Component, Scope, after


@dataclass(frozen=True, kw_only=True)
class VolumesArgs:
    """What is mounted, and where."""

    cluster: contracts.Cluster
    volumes: Mapping[str, contracts.Volume]
    """By file system."""
    namespaces: Mapping[str, contracts.Text]
    """By team."""


class Volumes(Component):
    """A claim on every file system in every team's namespace, called like the file system.

    Owns the claims and the volumes behind them, one for each claim, since a volume is bound once. Never owns a file system:
    its size is what it was made with, and what becomes of the claims changes nothing in it. All teams see all of it; who may
    write where is what the folders' owners say.

    All volumes of a file system have one handle. Google's driver mounts a file system once on a machine, by its handle, and
    refuses the next mount of the same name ("A mountpoint with the same lustre filesystem name already exists"), so that work
    of two teams could not run beside each other (GoogleCloudPlatform/lustre-csi-driver v0.6.11, pkg/csi_driver/node.go).

    Costs nothing. A destroy takes the claims along with the cluster; where the cluster stays, a claim goes when the last pod
    that uses it has ended.

    >>> scratch = contracts.Volume(
    ...     driver="fsx.csi.aws.com", handle=cluster.name, attributes={"dnsname": cluster.name}, gib=1200
    ... )
    >>> args = VolumesArgs(
    ...     cluster=cluster, volumes={"scratch": scratch},
    ...     namespaces={"vision": pulumi.Output.from_input("team-vision")},
    ... )
    >>> sorted(Volumes("volumes", args, scope=scope, parent=parent).outputs.claims)
    ['scratch']
    """

    layer = "kubernetes"
    outputs: Handles

    def __init__(self, name: str, args: VolumesArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the volumes and claim them."""
        super().__init__(name, scope, parent)
        self._args = args
        self.outputs = Handles(
            claims={
                label: after(label, *(self._claim(label, volume, team) for team in sorted(args.namespaces)))
                for label, volume in sorted(args.volumes.items())
            }
        )
        self.finish(self.outputs)

    def _claim(self, label: str, volume: contracts.Volume, team: str) -> pulumi.Resource:
        size, whole = {"storage": f"{volume.gib}Gi"}, f"{label}.team-{team}"
        made = kubernetes.core.v1.PersistentVolume(
            f"{self.name}-{whole}",
            metadata={"name": whole},
            spec={
                "capacity": size,
                "volume_mode": "Filesystem",
                "access_modes": ["ReadWriteMany"],
                # The file system is the environment's: a driver never deletes it.
                "persistent_volume_reclaim_policy": "Retain",
                # None, and not the cluster's default, which would make a disk.
                "storage_class_name": "",
                # Kept for this claim: nobody else's is bound to it first.
                "claim_ref": {"namespace": f"team-{team}", "name": label},
                "mount_options": list(volume.options),
                "csi": {
                    "driver": volume.driver,
                    "volume_handle": volume.handle,
                    "volume_attributes": dict(volume.attributes),
                },
            },
            opts=inside(self, self._args.cluster),
        )
        return kubernetes.core.v1.PersistentVolumeClaim(
            f"{self.name}-{whole}",
            metadata={"name": label, "namespace": self._args.namespaces[team]},
            spec={
                "access_modes": ["ReadWriteMany"],
                "storage_class_name": "",
                "volume_name": whole,
                "resources": {"requests": size},
            },
            opts=inside(self, self._args.cluster, made),
        )
