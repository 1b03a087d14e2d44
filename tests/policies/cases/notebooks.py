"""Rules on notebooks."""

from tests.policies.build import bad, changed, good, make

IDLE = {"lifecycleManagement": "ENABLED", "idleTimeoutInMinutes": 120, "maxIdleTimeoutInMinutes": 120}
META = {
    "idle-timeout-seconds": "7200",
    "enable-guest-attributes": "TRUE",
    "notebook-disable-root": "true",
    "block-project-ssh-keys": "TRUE",
    "serial-port-enable": "FALSE",
}


def app(**changes):
    return {"appLifecycleManagement": {"idleSettings": {**IDLE, **changes}}}


def domain(**settings):
    base = {"executionRole": "arn:aws:iam::1:role/a", "jupyterLabAppSettings": app(), "codeEditorAppSettings": app()}
    found = {key: value for key, value in {**base, **settings}.items() if value is not None}
    return make("aws:sagemaker/domain:Domain", inputs={"appNetworkAccessType": "VpcOnly", "defaultUserSettings": found})


def instance(**changes):
    base = {
        "directInternetAccess": "Disabled",
        "subnetId": "subnet-1",
        "rootAccess": "Disabled",
        "lifecycleConfigName": "idle",
        "roleArn": "arn:aws:iam::1:role/a",
    }
    found = {key: value for key, value in {**base, **changes}.items() if value is not None}
    return make("aws:sagemaker/notebookInstance:NotebookInstance", inputs=found)


def workbench(metadata=None, owners=("ana@example.com",), **changes):
    base = {
        "disablePublicIp": True,
        "metadata": {**META, **(metadata or {})},
        "serviceAccounts": [{"email": "ana@acme-ai-dev.iam.gserviceaccount.com"}],
        "shieldedInstanceConfig": {"enableSecureBoot": True},
    }
    setup = {key: value for key, value in {**base, **changes}.items() if value is not None}
    return make("gcp:workbench/instance:Instance", inputs={"gceSetup": setup, "instanceOwners": list(owners)})


def template(**changes):
    base = {
        "networkSpec": {"enableInternetAccess": False},
        "idleShutdownConfig": {"idleTimeout": "7200s"},
        "shieldedVmConfig": {"enableSecureBoot": True},
    }
    found = {key: value for key, value in {**base, **changes}.items() if value is not None}
    return make("gcp:colab/runtimeTemplate:RuntimeTemplate", inputs=found)


def space(sharing):
    return make("aws:sagemaker/space:Space", inputs={"spaceSharingSettings": {"sharingType": sharing}})


def profile(**settings):
    return make("aws:sagemaker/userProfile:UserProfile", inputs={"userSettings": settings})


DOCKER = {"dockerSettings": {"enableDockerAccess": "ENABLED"}}
RULE, IDLES, OWN, HARD = "notebook-private", "notebook-idle", "notebook-own-identity", "notebook-hardened"
CASES = [
    bad(RULE, "a domain by default", "past the network", changed(domain(), appNetworkAccessType=None)),
    bad(RULE, "a domain", "past the network", changed(domain(), appNetworkAccessType="PublicInternetOnly")),
    bad(RULE, "an instance", "past the network", instance(directInternetAccess=None)),
    bad(RULE, "an instance nowhere", "no network of ours", instance(subnetId=None)),
    bad(RULE, "a public address", "a public address", workbench(disablePublicIp=None)),
    bad(RULE, "a template", "past the network", template(networkSpec=None)),
    good(RULE, "inside", domain(), instance(), workbench(), template()),
    bad("notebook-no-root", "by default", "its user is root", instance(rootAccess=None)),
    bad("notebook-no-root", "on Google Cloud", "its user is root", workbench({"notebook-disable-root": "false"})),
    bad("notebook-no-root", "by Docker", "start containers as root", changed(domain(), domainSettings=DOCKER)),
    good("notebook-no-root", "nobody", domain(), instance(), workbench()),
    bad(IDLES, "never", "switches jupyterLab off", domain(jupyterLabAppSettings=None)),
    bad(IDLES, "switched off", "codeEditor off", domain(codeEditorAppSettings=app(lifecycleManagement="DISABLED"))),
    bad(
        IDLES,
        "up to a week",
        "stays on for 168 hours",
        domain(jupyterLabAppSettings=app(maxIdleTimeoutInMinutes=10080)),
    ),
    bad(IDLES, "an instance", "nothing switches it off", instance(lifecycleConfigName=None)),
    bad(IDLES, "no time", "nothing switches it off", workbench({"idle-timeout-seconds": ""})),
    bad(IDLES, "not noticed", "nothing switches it off", workbench({"enable-guest-attributes": "FALSE"})),
    bad(IDLES, "a template", "nothing switches it off", template(idleShutdownConfig=None)),
    bad(IDLES, "two days", "48 hours", template(idleShutdownConfig={"idleTimeout": "172800s"})),
    good(IDLES, "two hours", domain(), instance(), workbench(), template()),
    bad(OWN, "a domain", "have no role", domain(executionRole=None)),
    bad(OWN, "an instance", "it has no role", instance(roleArn=None)),
    bad(OWN, "a user", "whatever role its domain has", profile()),
    bad(OWN, "a shared space", "it is shared", space("Shared")),
    bad(OWN, "the default account", "default service account", workbench(serviceAccounts=None)),
    bad(
        OWN,
        "the default account by name",
        "default service account",
        workbench(serviceAccounts=[{"email": "1-compute@developer.gserviceaccount.com"}]),
    ),
    bad(OWN, "anybody's", "opens it", workbench(owners=())),
    good(OWN, "its user's", domain(), instance(), profile(executionRole="arn"), space("Private"), workbench()),
    bad(HARD, "not signed", "secure boot is off", workbench(shieldedInstanceConfig=None)),
    bad(HARD, "no TPM", "virtual TPM", workbench(shieldedInstanceConfig={"enableVtpm": False})),
    bad(HARD, "a serial port", "serial port is open", workbench({"serial-port-enable": "TRUE"})),
    bad(HARD, "keys of the project", "keys of the project", workbench({"block-project-ssh-keys": "FALSE"})),
    bad(HARD, "a template", "secure boot is off", template(shieldedVmConfig=None)),
    good(HARD, "shielded", workbench(), template()),
    good(
        HARD,
        "with a driver that nobody signed",
        workbench(acceleratorConfigs=[{"type": "NVIDIA_L4"}], shieldedInstanceConfig={"enableSecureBoot": False}),
        template(machineSpec={"acceleratorType": "NVIDIA_L4"}, shieldedVmConfig=None),
    ),
    bad(IDLES, "no time at all", "nothing switches it off", template(idleShutdownConfig={"idleTimeout": "0s"})),
]
