"""Shared fast file systems, to be filled from storage zones and emptied into them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.contracts import Text
from components.core.google import agent, labels
from components.scope import Component, Scope, after

_API = "lustre.googleapis.com"


@dataclass(frozen=True, kw_only=True)
class FileSystem:
    """What one is like."""

    bucket: contracts.Storage
    zone: str
    """Name of the bucket's zone."""
    capacity_gib: int
    throughput: int
    """MB/s for each TiB."""
    key: contracts.Key | None
    """Encrypts it; none for one that pods mount, which Google encrypts."""
    place: str
    """Zone of the region."""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, kw_only=True)
class FileSystemsArgs:
    """What there is, and where."""

    apis: Mapping[str, Text]
    number: str
    """Number of the project."""
    file_systems: Mapping[str, FileSystem]
    network: contracts.Network


class FileSystems(Component):
    """File systems of Managed Lustre, to and from which data is copied when somebody asks for it.

    `gcloud lustre instances import-data` and `export-data` do that: the service's agent may read and write the zone's bucket,
    and that is all the link there is. What mounts the bucket itself (Cloud Storage FUSE) needs none of this.

    "CMEK-protected Managed Lustre instances cannot be used with Google Kubernetes Engine" (Managed Lustre,
    "Customer-managed encryption keys"), so one that pods mount is encrypted with keys of Google's. Root is not squashed: a
    folder belongs to root until root hands it over, and pods of teams cannot be root.

    Owns the file systems, the service's agent, and what that may do with their buckets and keys. Never owns the addresses,
    which come from the network's range for managed services, nor a mount.

    Costs a month for each GiB, used or not: 0.145 USD at 125 MB/s a TiB (2025-07), about 10,440 for the smallest, 72,000 GiB.
    A destroy takes a file system and what was not copied, and is refused in a tier that protects data. What replaces one: its
    place, network, key and throughput, and less capacity.

    >>> file_system_name("scratch-large")
    'scratchl'
    """

    outputs: contracts.FileSystems

    def __init__(self, name: str, args: FileSystemsArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the file systems."""
        super().__init__(name, scope, parent)
        self._args = args
        volumes: dict[str, contracts.Volume] = {}
        if args.file_systems:
            identity = gcp.projects.ServiceIdentity(
                f"{name}-agent", project=args.apis[_API], service=_API, opts=self.options()
            )
            copies = self._copies(identity)
            volumes = {
                label: self._volume(found, self._file_system(label, found, identity), copies[found.zone])
                for label, found in args.file_systems.items()
            }
        self.outputs = contracts.FileSystems(
            addresses={label: volume.attributes["mountpoint"] for label, volume in volumes.items()}, volumes=volumes
        )
        self.finish(self.outputs)

    def _volume(self, args: FileSystem, made: gcp.lustre.Instance, copies: pulumi.Resource) -> contracts.Volume:
        # As the driver's own example has it: GoogleCloudPlatform/lustre-csi-driver v0.6.11, examples/pre-prov.
        return contracts.Volume(
            driver="lustre.csi.storage.gke.io",
            handle=after(pulumi.Output.format("{}/{}/{}", self.scope.account, args.place, made.instance_id), copies),
            attributes={"mountpoint": after(made.mount_point, copies)},
            gib=args.capacity_gib,
        )

    def _copies(self, identity: pulumi.Resource) -> dict[str, pulumi.Resource]:
        """By zone: the right of the service's agent to copy from and to its bucket ("Transfer data to or from Cloud Storage")."""
        args = self._args
        return {
            found.zone: gcp.storage.BucketIAMMember(
                f"{self.name}-{found.zone}-copies",
                bucket=found.bucket.name,
                role="roles/storage.objectUser",
                member=agent(_API, args.number),
                opts=self.options(depends_on=[identity]),
            )
            for found in {found.zone: found for found in args.file_systems.values()}.values()
        }

    def _file_system(self, label: str, args: FileSystem, identity: pulumi.Resource) -> gcp.lustre.Instance:
        first: list[pulumi.Resource] = [identity]
        if args.key:
            first.append(
                gcp.kms.CryptoKeyIAMMember(
                    f"{self.name}-{label}-key",
                    crypto_key_id=args.key.id,
                    role="roles/cloudkms.cryptoKeyEncrypterDecrypter",
                    member=agent(_API, self._args.number),
                    opts=self.options(depends_on=[identity]),
                )
            )
        return gcp.lustre.Instance(
            f"{self.name}-{label}",
            instance_id=self.scope.names.of(label, "compute"),
            description=f"Shared files beside the zone {args.zone}.",
            project=self._args.apis[_API],
            location=args.place,
            network=self._args.network.id,
            filesystem=file_system_name(label),
            capacity_gib=str(args.capacity_gib),
            per_unit_storage_throughput=str(args.throughput),
            kms_key=args.key.id if args.key else None,
            # Not gke_support_enabled: it means another port, which GKE has not needed since 1.33.2 (LustreCsiDriverConfig).
            access_rules_options={"default_squash_mode": "NO_SQUASH"},
            maintenance_policy={"weekly_maintenance_windows": {"day_of_week": "SUNDAY", "start_time": {"hours": 3}}},
            labels={**labels(args.tags), "zone": args.zone},
            deletion_policy="DELETE" if self.scope.deletable else "PREVENT",
            opts=self.options(holds_data=True, depends_on=first),
        )


def file_system_name(label: str) -> str:
    """What clients call it: eight letters and digits at most."""
    return re.sub(r"[^a-z0-9]", "", label)[:8]
