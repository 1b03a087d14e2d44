"""Managed notebooks: instances of Vertex AI Workbench, and templates of Colab Enterprise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.contracts import Text
from components.core.accelerators import Machine
from components.core.google import labels, nth
from components.core.naming import Names
from components.core.vertex import ACCELERATORS
from components.gcp.blocks.workload import Grant, Workload, WorkloadArgs
from components.scope import Component, Scope, after

_HOUR = 3600
# The system's disk; the image wants 150 GB at least ("Create an instance", boot disk).
_BOOT_GB = 150
# What a user may do with his own instance, without any right to change what it is. Source: IAM "Vertex AI Workbench permissions".
_USE = (
    "notebooks.instances.checkUpgradability", "notebooks.instances.get", "notebooks.instances.getHealth",
    "notebooks.instances.reset", "notebooks.instances.start", "notebooks.instances.stop", "notebooks.instances.use",
    "notebooks.operations.get",
)  # fmt: skip
_READ, _WRITE = "roles/storage.objectViewer", "roles/storage.objectUser"


@dataclass(frozen=True, kw_only=True)
class User:
    """A person with a notebook."""

    persona: str
    email: str
    machine: str | None = None
    """One of the machines of the list; by default the first."""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, kw_only=True)
class Zone:
    """A storage zone, and which personas may use it."""

    bucket: contracts.Storage
    readers: Sequence[str] = ()
    writers: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class WorkbenchArgs:
    """Who has a notebook, what it may be, and what it reaches."""

    apis: Mapping[str, contracts.Text]
    users: Mapping[str, User]
    idle_hours: int
    machines: Sequence[Machine]
    """Machines that notebooks may have, the default first."""
    disk_gib: int
    zones: Mapping[str, Zone]
    network: contracts.Network
    zone: str
    """Zone of the machines, `us-central1-a`."""
    key: contracts.Key
    record: Text | None = None
    """Role that an identity needs to record experiments."""
    generation: int
    """Which life of the environment this is: the id of a custom role is free again after weeks only."""


class Workbench(Component):
    """A private notebook for each user, and templates for notebooks that live as long as somebody works with them.

    An instance has no public address, a disk encrypted with our key, neither root nor a terminal nor downloads, and opens for
    its user alone. It is switched off after `idle_hours`; its user starts it again, but cannot change what it is. Each has a
    service account of its own that reads what the user's persona reads, so that the audit log says whose notebook read
    something. A notebook that is made from a template reads by the rights of whoever made it, reaches no internet, and goes
    the same way when it is idle: there is a template for each machine that is allowed.

    Owns the instances, their identities, the templates, the role to use an instance, and who has it. Never owns buckets or what
    lies in them. Who may open a template may look for it with Colab Enterprise; files of such notebooks lie in Dataform.

    Costs while it is on what its machine costs (e2-standard-4 0.134 USD an hour, us-central1, 2026-07), and its two disks for as
    long as it is there. A destroy takes instances and disks along in a tier that deletes; elsewhere it is refused.

    >>> role_id(Names("acme-ai", "dev"), 2)
    'acme_ai_dev_notebook_user_2'
    """

    outputs: contracts.Workbench

    def __init__(self, name: str, args: WorkbenchArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the templates, and an instance for each user."""
        super().__init__(name, scope, parent)
        self._args = args
        role = gcp.projects.IAMCustomRole(
            f"{name}-role",
            role_id=role_id(scope.names, args.generation),
            title="Notebook user",
            description="Starts, stops and uses a notebook, and cannot change what it is.",
            permissions=list(_USE),
            project=args.apis["iam.googleapis.com"],
            opts=self.options(),
        )
        ready: list[pulumi.Resource] = []
        for user, spec in args.users.items():
            instance = self._instance(user, spec)
            grant = gcp.workbench.InstanceIamMember(
                f"{name}-{user}-uses",
                project=args.apis["notebooks.googleapis.com"],
                location=args.zone,
                name=instance.name,
                role=role.name,
                member=f"user:{spec.email}",
                opts=self.options(),
            )
            ready += [instance, grant]
        templates = [self._template(machine) for machine in args.machines]
        self.outputs = contracts.Workbench(id=after(templates[0].id, *templates, *ready))
        self.finish(self.outputs)

    def _instance(self, user: str, spec: User) -> gcp.workbench.Instance:
        args, scope = self._args, self.scope
        machine = next((m for m in args.machines if m.type == spec.machine), args.machines[0])
        return gcp.workbench.Instance(
            f"{self.name}-{user}",
            name=scope.names.of(f"notebook-{user}", "compute"),
            location=args.zone,
            project=args.apis["notebooks.googleapis.com"],
            # One user only; with nobody named, all who can act as its service account.
            instance_owners=[spec.email],
            # The proxy is the way in: it asks who somebody is, and needs no address.
            disable_proxy_access=False,
            enable_deletion_protection=not scope.deletable,
            gce_setup={
                "machine_type": machine.type,
                "accelerator_configs": [{"type": ACCELERATORS[machine.accelerator], "core_count": str(machine.count)}]
                if machine.accelerator
                else [],
                "boot_disk": {
                    "disk_encryption": "CMEK",
                    "kms_key": args.key.id,
                    "disk_type": "PD_BALANCED",
                    "disk_size_gb": str(_BOOT_GB),
                },
                "data_disks": {
                    "disk_encryption": "CMEK",
                    "kms_key": args.key.id,
                    "disk_type": "PD_BALANCED",
                    "disk_size_gb": str(args.disk_gib),
                },
                "disable_public_ip": True,
                "enable_ip_forwarding": False,
                "network_interfaces": [
                    {"network": args.network.id, "subnet": args.network.workload_subnets[0], "nic_type": "GVNIC"}
                ],
                "service_accounts": [{"email": self._identity(user, spec)}],
                "shielded_instance_config": {
                    "enable_vtpm": True,
                    "enable_integrity_monitoring": True,
                    # The drivers of accelerators are not signed ("Create an instance", Shielded VM).
                    "enable_secure_boot": machine.accelerator is None,
                },
                "vm_image": {"project": "cloud-notebooks-managed", "family": "workbench-instances"},
                "metadata": metadata(args.idle_hours),
            },
            labels={**labels(spec.tags), "notebook": user},
            # Workbench adds metadata and labels of its own; the user starts and stops it; an image is taken once.
            opts=self.options(
                holds_data=True,
                ignore_changes=["desiredState", "gceSetup.vmImage", "gceSetup.tags"],
            ),
        )

    def _identity(self, user: str, spec: User) -> Text:
        args = self._args
        grants = {
            "logs": Grant(role="roles/logging.logWriter"),
            "metrics": Grant(role="roles/monitoring.metricWriter"),
            **{
                f"{zone}-data": Grant(
                    role=_WRITE if spec.persona in found.writers else _READ, bucket=found.bucket.resource
                )
                for zone, found in args.zones.items()
                if spec.persona in (*found.readers, *found.writers)
            },
        }
        if args.record is not None:
            grants["experiments"] = Grant(role=args.record)
        return Workload(
            f"notebook-{user}",
            WorkloadArgs(description=f"Notebook of {user}, {spec.persona}.", apis=args.apis, grants=grants),
            scope=self.scope,
            parent=self,
        ).outputs.id

    def _template(self, machine: Machine) -> gcp.colab.RuntimeTemplate:
        args, scope = self._args, self.scope
        count = f"-{machine.count}" if machine.attached else ""
        label = f"{machine.type}{count}"
        template = gcp.colab.RuntimeTemplate(
            f"{self.name}-template-{label}",
            display_name=scope.names.of(label),
            description=f"Notebooks on {machine.type}.",
            location=scope.region,
            project=args.apis["aiplatform.googleapis.com"],
            machine_spec={
                "machine_type": machine.type,
                "accelerator_type": ACCELERATORS[machine.accelerator] if machine.accelerator else None,
                "accelerator_count": machine.count or None,
            },
            data_persistent_disk_spec={"disk_type": "pd-balanced", "disk_size_gb": str(args.disk_gib)},
            network_spec={
                "enable_internet_access": False,
                "network": args.network.id,
                "subnetwork": args.network.workload_subnets[0],
            },
            # At most a day ("NotebookIdleShutdownConfig"); the description's bound is the same.
            idle_shutdown_config={"idle_timeout": f"{args.idle_hours * _HOUR}s"},
            # Reads by the rights of whoever sits in front of it.
            euc_config={"euc_disabled": False},
            shielded_vm_config={"enable_secure_boot": machine.accelerator is None},
            encryption_spec={"kms_key_name": args.key.id},
            opts=self.options(),
        )
        for user, spec in args.users.items():
            gcp.colab.RuntimeTemplateIamMember(
                f"{self.name}-template-{label}-{user}",
                project=args.apis["aiplatform.googleapis.com"],
                location=scope.region,
                runtime_template=template.name,
                role="roles/aiplatform.notebookRuntimeUser",
                member=f"user:{spec.email}",
                opts=self.options(),
            )
        return template


def role_id(names: Names, generation: int) -> str:
    """Id of the custom role of those who have an instance."""
    return names.of(nth("notebook-user", generation), "custom_role").replace("-", "_")


def metadata(idle_hours: int) -> dict[str, str]:
    """What an instance is told ("Manage features through metadata", and Compute Engine's own keys).

    >>> metadata(2)["idle-timeout-seconds"]
    '7200'
    """
    return {
        "idle-timeout-seconds": str(idle_hours * _HOUR),
        # Without it an instance does not notice that it is idle.
        "enable-guest-attributes": "TRUE",
        "notebook-disable-root": "true",
        "notebook-disable-terminal": "true",
        "notebook-disable-downloads": "true",
        "notebook-disable-nbconvert": "true",
        # Kernels of other services, which have ceilings of their own.
        "disable-mixer": "true",
        "install-unattended-upgrades": "true",
        "enable-oslogin": "TRUE",
        "block-project-ssh-keys": "TRUE",
        "serial-port-enable": "FALSE",
    }
