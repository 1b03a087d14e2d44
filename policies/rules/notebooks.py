"""Notebooks: machines in front of which a person sits, with all the data that he may read."""

from collections.abc import Iterator, Mapping
from typing import Any

from policies.context import mapping, maps
from policies.model import Graph, Resource
from policies.rule import Found, resource_rule
from policies.rules.encryption import seconds

DOMAIN = "aws:sagemaker/domain:Domain"
INSTANCE = "aws:sagemaker/notebookInstance:NotebookInstance"
SPACE = "aws:sagemaker/space:Space"
PROFILE = "aws:sagemaker/userProfile:UserProfile"
WORKBENCH = "gcp:workbench/instance:Instance"
TEMPLATE = "gcp:colab/runtimeTemplate:RuntimeTemplate"

MOST_HOURS = 24
"""The longest that an idle notebook runs; the same as the description's bound."""
_APPS = ("jupyterLabAppSettings", "codeEditorAppSettings")


@resource_rule(
    "notebook-private",
    title="A notebook is in the network, and reaches the internet by no other way",
    types=(DOMAIN, INSTANCE, WORKBENCH, TEMPLATE),
    severity="high",
    why="A notebook with a way out of its own takes data past every rule of the network, by one `pip install` of the wrong name.",
    remedy="VpcOnly; direct_internet_access Disabled and a subnet; disable_public_ip; enable_internet_access=False.",
    controls={
        "aws-fsbp": ("SageMaker.1", "SageMaker.2"),
        "cis-gcp": ("4.9",),
        "soc2": ("CC6.6", "CC6.7"),
        "iso-27001": ("A.8.12", "A.8.20"),
        "gdpr": ("32",),
        "eu-ai-act": ("15",),
    },
)
def notebook_private(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """What is missing is open: so are the defaults of both clouds."""
    if resource.type == DOMAIN and resource.get("appNetworkAccessType", "PublicInternetOnly") != "VpcOnly":
        yield "its notebooks reach the internet past the network"
    if resource.type == INSTANCE:
        if resource.get("directInternetAccess", "Enabled") != "Disabled":
            yield "it reaches the internet past the network"
        if not resource.get("subnetId"):
            yield "it is in no network of ours"
    if resource.type == WORKBENCH and resource.get("gceSetup.disablePublicIp") is not True:
        yield "it has a public address"
    if resource.type == TEMPLATE and resource.get("networkSpec.enableInternetAccess", True) is not False:
        yield "its notebooks reach the internet past the network"


@resource_rule(
    "notebook-no-root",
    title="Nobody is root on a notebook",
    types=(DOMAIN, INSTANCE, WORKBENCH),
    severity="medium",
    why="Root switches off what shuts it down when it is idle and what records who read something, and reads other users' files.",
    remedy="root_access Disabled; metadata notebook-disable-root; no Docker in Studio.",
    controls={"aws-fsbp": ("SageMaker.3",), "soc2": ("CC6.3",), "iso-27001": ("A.8.2",)},
)
def notebook_no_root(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """Whoever starts containers with Docker is root."""
    if resource.type == INSTANCE and resource.get("rootAccess", "Enabled") != "Disabled":
        yield "its user is root"
    if resource.type == WORKBENCH and not _on(resource, "notebook-disable-root"):
        yield "its user is root"
    if resource.type == DOMAIN:
        docker = resource.get("domainSettings.dockerSettings.enableDockerAccess", "DISABLED")
        if docker != "DISABLED":
            yield "its users start containers as root"


@resource_rule(
    "notebook-idle",
    title="A notebook that nobody uses switches itself off",
    types=(DOMAIN, INSTANCE, WORKBENCH, TEMPLATE),
    severity="medium",
    why="A GPU notebook left on over a holiday costs what its user earns in that time.",
    remedy="workbench.idle_hours.",
    controls={"soc2": ("CC7.2",), "iso-27001": ("A.8.6",)},
)
def notebook_idle(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """Of Studio each application by itself; an instance of the older kind has only its own script."""
    if resource.type == INSTANCE:
        if not resource.get("lifecycleConfigName"):
            yield "nothing switches it off"
        return
    for what, value in _idle(resource):
        if not isinstance(value, int | float) or value <= 0:
            yield f"nothing switches {what} off"
        elif value > MOST_HOURS * 3600:
            yield f"{what} stays on for {value / 3600:g} hours"


def _idle(notebook: Resource) -> Iterator[tuple[str, Any]]:
    """What switches itself off after how many seconds."""
    if notebook.type == TEMPLATE:
        yield "it", seconds(notebook.get("idleShutdownConfig.idleTimeout"))
    elif notebook.type == WORKBENCH:
        given = str(mapping(notebook.get("gceSetup.metadata")).get("idle-timeout-seconds", ""))
        # Without guest attributes an instance does not notice that it is idle ("Idle shutdown").
        yield "it", int(given) if given.isdecimal() and _on(notebook, "enable-guest-attributes") else None
    else:
        for app in _APPS:
            path = f"defaultUserSettings.{app}.appLifecycleManagement.idleSettings"
            idle = mapping(notebook.get(path))
            minutes = idle.get("maxIdleTimeoutInMinutes", idle.get("idleTimeoutInMinutes"))
            switched = idle.get("lifecycleManagement") == "ENABLED" and isinstance(minutes, int | float)
            yield app.removesuffix("AppSettings"), minutes * 60 if switched else None


def _on(workbench: Resource, key: str) -> bool:
    return str(mapping(workbench.get("gceSetup.metadata")).get(key)).lower() == "true"


@resource_rule(
    "notebook-own-identity",
    title="A notebook is its user's, and has rights that were meant for it",
    types=(DOMAIN, INSTANCE, PROFILE, SPACE, WORKBENCH),
    severity="high",
    why="On a shared notebook everybody has everybody's data, and the audit log names none of them.",
    remedy="An execution role of each persona, private spaces; a service account and one owner of each instance.",
    controls={
        "cis-gcp": ("4.1",),
        "soc2": ("CC6.1", "CC6.3"),
        "iso-27001": ("A.5.15", "A.5.16"),
        "gdpr": ("25",),
        "eu-ai-act": ("12",),
    },
)
def notebook_own_identity(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """Without an account of its own an instance is the project's default one."""
    if resource.type == DOMAIN and not resource.get("defaultUserSettings.executionRole"):
        yield "its notebooks have no role"
    if resource.type == INSTANCE and not resource.get("roleArn"):
        yield "it has no role"
    if resource.type == PROFILE and not resource.get("userSettings.executionRole"):
        yield "it has whatever role its domain has"
    if resource.type == SPACE and resource.get("spaceSharingSettings.sharingType") != "Private":
        yield "it is shared"
    if resource.type == WORKBENCH:
        emails = [str(each.get("email", "")) for each in maps(resource.get("gceSetup.serviceAccounts"))]
        if not any(emails) or any(e.endswith("-compute@developer.gserviceaccount.com") for e in emails):
            yield "it is the default service account"
        if not resource.get("instanceOwners"):
            yield "everybody who may act as its service account opens it"


@resource_rule(
    "notebook-hardened",
    title="A notebook's machine boots what was signed, and opens no way in beside the proxy",
    types=(WORKBENCH, TEMPLATE),
    severity="medium",
    why="A serial port or a project-wide key is a way in that the proxy, which asks who somebody is, never sees.",
    remedy="shielded_instance_config, with secure boot where there is no accelerator; serial port off; block-project-ssh-keys.",
    controls={"soc2": ("CC6.6",), "iso-27001": ("A.8.9",)},
)
def notebook_hardened(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """Drivers of accelerators are not signed, so there secure boot may be off."""
    if resource.type == TEMPLATE:
        bare = not resource.get("machineSpec.acceleratorType")
        if bare and resource.get("shieldedVmConfig.enableSecureBoot", False) is not True:
            yield "secure boot is off"
        return
    shielded = mapping(resource.get("gceSetup.shieldedInstanceConfig"))
    yield from _unshielded(shielded, bare=not resource.get("gceSetup.acceleratorConfigs"))
    if _on(resource, "serial-port-enable"):
        yield "its serial port is open"
    if not _on(resource, "block-project-ssh-keys"):
        yield "keys of the project open it"


def _unshielded(shielded: Mapping[str, Any], *, bare: bool) -> Iterator[str]:
    # Both are on where nothing is said (Notebooks API, ShieldedInstanceConfig); secure boot is not.
    for switch, what in (("enableVtpm", "the virtual TPM"), ("enableIntegrityMonitoring", "integrity monitoring")):
        if shielded.get(switch, True) is not True:
            yield f"{what} is off"
    if bare and shielded.get("enableSecureBoot") is not True:
        yield "secure boot is off"
