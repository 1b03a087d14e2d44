"""Shared fast file systems, linked to storage zones."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws

from components import contracts
from components.contracts import Text
from components.scope import Component, Scope, after

_EVENTS = ("NEW", "CHANGED", "DELETED")
# What Lustre speaks ("File system access control with Amazon VPC", FSx for Lustre): servers to one another, and to clients, which
# they call back.
_PORTS = ((988, 988), (1018, 1023))
_SUNDAY_AT_3 = "7:03:00"
_VERSION = "2.15"


@dataclass(frozen=True, kw_only=True)
class FileSystem:
    """What one is like."""

    bucket: contracts.Storage
    zone: str
    """Name of the bucket's zone."""
    prefix: str = ""
    capacity_gib: int
    throughput: int
    """MB/s for each TiB."""
    fast: bool = False
    """Over the fabric of its clients (EFA)."""
    key: contracts.Key
    """Encrypts it."""
    subnet: Text
    """The only one that it lies in."""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, kw_only=True)
class FileSystemsArgs:
    """What there is, and who mounts it."""

    file_systems: Mapping[str, FileSystem]
    network: contracts.Network
    clients: Mapping[str, Text]
    """Security groups of the machines that mount them, by a name of ours."""
    logs_key: contracts.Key


class FileSystems(Component):
    """File systems of Lustre, each with one folder, `/{zone}`, that is a view of its storage zone.

    Files that are in the zone appear there, and are read when somebody opens them; what is written, changed or deleted there
    is so in the zone within minutes.

    What lies elsewhere in a file system is nowhere else: there are no backups, which FSx makes of no file system that is
    linked. Root is not squashed: a folder belongs to root until root hands it over, and pods of teams cannot be root.

    Owns the file systems, their links, their security group with the ways to and from the clients, and the log of what could
    not be copied. Never owns the bucket, nor a mount. The bucket's key has to let the role of FSx in (`Keys`).

    Costs a month for each GB, used or not (us-east-1): 0.145 USD at 125 MB/s a TiB, about 174 for the smallest, 1200 GiB; more
    at more throughput. A destroy takes a file system and what was not copied, and is refused in a tier that protects data.
    What replaces one: its subnet, key, or fabric, and less capacity.

    >>> scratch = FileSystem(
    ...     bucket=bucket, zone="artifacts", capacity_gib=1200, throughput=125, key=key, subnet=network.workload_subnets[0]
    ... )
    >>> args = FileSystemsArgs(file_systems={"scratch": scratch}, network=network, clients={}, logs_key=key)
    >>> list(FileSystems("file-systems", args, scope=scope, parent=parent).outputs.addresses)
    ['scratch']
    """

    outputs: contracts.FileSystems

    def __init__(self, name: str, args: FileSystemsArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the file systems."""
        super().__init__(name, scope, parent)
        self._args = args
        volumes: dict[str, contracts.Volume] = {}
        if args.file_systems:
            group, ways = self._security_group(fast=any(found.fast for found in args.file_systems.values()))
            log = aws.cloudwatch.LogGroup(
                f"{name}-log",
                # FSx writes to groups of this prefix only.
                name=f"/aws/fsx/{scope.names.of('file-systems')}",
                retention_in_days=scope.log_days,
                kms_key_id=args.logs_key.id,
                opts=self.options(),
            )
            volumes = {
                label: self._file_system(label, found, group, ways, log) for label, found in args.file_systems.items()
            }
        self.outputs = contracts.FileSystems(
            addresses={
                label: pulumi.Output.format("{dnsname}@tcp:/{mountname}", **volume.attributes)
                for label, volume in volumes.items()
            },
            volumes=volumes,
        )
        self.finish(self.outputs)

    def _file_system(
        self,
        label: str,
        args: FileSystem,
        group: aws.ec2.SecurityGroup,
        ways: list[pulumi.Resource],
        log: aws.cloudwatch.LogGroup,
    ) -> contracts.Volume:
        physical = self.scope.names.of(label)
        made = aws.fsx.LustreFileSystem(
            f"{self.name}-{label}",
            deployment_type="PERSISTENT_2",
            storage_type="SSD",
            file_system_type_version=_VERSION,
            storage_capacity=args.capacity_gib,
            per_unit_storage_throughput=args.throughput,
            subnet_ids=args.subnet,
            security_group_ids=[group.id],
            kms_key_id=args.key.id,
            data_compression_type="LZ4",
            metadata_configuration={"mode": "AUTOMATIC"},
            efa_enabled=args.fast,
            # "You can create a backup only for file systems that … are not linked to a data repository" (CreateBackup).
            automatic_backup_retention_days=0,
            skip_final_backup=True,
            weekly_maintenance_start_time=_SUNDAY_AT_3,
            log_configuration={"level": "WARN_ERROR", "destination": log.arn},
            tags={"Name": physical, "zone": args.zone, **args.tags},
            # It is refused while its group does not let Lustre through ("Creating an FSx for Lustre file system fails").
            opts=self.options(holds_data=True, depends_on=ways),
        )
        link = aws.fsx.DataRepositoryAssociation(
            f"{self.name}-{label}-link",
            file_system_id=made.id,
            file_system_path=f"/{args.zone}",
            data_repository_path=pulumi.Output.concat("s3://", args.bucket.name, f"/{args.prefix}"),
            batch_import_meta_data_on_create=True,
            # The zone keeps what was copied; the link goes, and nothing else.
            delete_data_in_filesystem=False,
            s3={
                "auto_import_policy": {"events": list(_EVENTS)},
                "auto_export_policy": {"events": list(_EVENTS)},
            },
            tags={"Name": physical, "zone": args.zone, **args.tags},
            opts=self.options(),
        )
        # As the driver's own example has it: kubernetes-sigs/aws-fsx-csi-driver v1.9.0, examples/kubernetes/static_provisioning.
        return contracts.Volume(
            driver="fsx.csi.aws.com",
            handle=after(made.id, link),
            attributes={"dnsname": after(made.dns_name, link), "mountname": after(made.mount_name, link)},
            gib=args.capacity_gib,
            options=("flock",),
        )

    def _security_group(self, *, fast: bool) -> tuple[aws.ec2.SecurityGroup, list[pulumi.Resource]]:
        """The group of all file systems, and its ways: among themselves, to the clients, and from them."""
        physical = self.scope.names.of("file-systems")
        group = aws.ec2.SecurityGroup(
            f"{self.name}-network",
            name=physical,
            description="File systems: Lustre within, from and to the machines that mount them",
            vpc_id=self._args.network.id,
            tags={"Name": physical},
            opts=self.options(),
        )
        ways: list[pulumi.Resource] = []
        pairs: list[tuple[str, pulumi.Input[str], pulumi.Input[str]]] = [("self", group.id, group.id)]
        for client, theirs in self._args.clients.items():
            pairs += [(f"from-{client}", group.id, theirs), (f"to-{client}", theirs, group.id)]
        # Over EFA everything within and with the clients has to be open ("EFA-enabled security groups").
        for first, last in ((None, None),) if fast else _PORTS:
            for label, of, other in pairs:
                part = f"{self.name}-{label}-{first or 'all'}"
                ways += [
                    aws.vpc.SecurityGroupIngressRule(
                        f"{part}-in",
                        security_group_id=of,
                        referenced_security_group_id=other,
                        description="Lustre",
                        ip_protocol="tcp" if first else "-1",
                        from_port=first,
                        to_port=last,
                        opts=self.options(),
                    ),
                    aws.vpc.SecurityGroupEgressRule(
                        f"{part}-out",
                        security_group_id=other,
                        referenced_security_group_id=of,
                        description="Lustre",
                        ip_protocol="tcp" if first else "-1",
                        from_port=first,
                        to_port=last,
                        opts=self.options(),
                    ),
                ]
        return group, ways
