"""Kubernetes clusters: who reaches them, who comes in, what is written down, what their machines are like."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from policies.context import is_prod, items, mapping, maps, resolve
from policies.model import Graph, Resource, is_unknown
from policies.pods import CLUSTERS, NAMESPACE, TEAM, cluster_of, decoded, labels_of
from policies.rule import EVERY, Found, Violation, resource_rule
from policies.rules.network import INSTANCE, is_anywhere
from policies.stateful import leads_elsewhere

EKS = "aws:eks/cluster:Cluster"
GKE = "gcp:container/cluster:Cluster"
ADDON = "aws:eks/addon:Addon"
NODE_GROUP = "aws:eks/nodeGroup:NodeGroup"
NODE_POOL = "gcp:container/nodePool:NodePool"
LAUNCH_TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
NODE_CLASS = "kubernetes:karpenter.k8s.aws/v1:EC2NodeClass"
STORAGE_CLASS = "kubernetes:storage.k8s.io/v1:StorageClass"
KYVERNO_POLICY = "kubernetes:kyverno.io/v1:ClusterPolicy"
NOTEBOOK = "aws:sagemaker/notebookInstance:NotebookInstance"
SERVICE = "kubernetes:core/v1:Service"
LOG_GROUP = "aws:cloudwatch/logGroup:LogGroup"
PERIMETER = "gcp:accesscontextmanager/servicePerimeter:ServicePerimeter"

# Objects whose controllers make machines, disks and load balancers for them.
_OWNERS = {
    NODE_CLASS,
    "kubernetes:core/v1:PersistentVolumeClaim",
    "kubernetes:gateway.networking.k8s.io/v1:Gateway",
    "kubernetes:karpenter.sh/v1:NodePool",
    "kubernetes:networking.k8s.io/v1:Ingress",
}

# The kinds of logs that a control plane writes (EKS API, LogSetup; GKE API, LoggingComponentConfig), and workloads' own on GKE.
_LOGS: Mapping[str, tuple[str, frozenset[str]]] = {
    EKS: ("enabledClusterLogTypes", frozenset({"api", "audit", "authenticator", "controllerManager", "scheduler"})),
    GKE: (
        "loggingConfig.enableComponents",
        frozenset({"SYSTEM_COMPONENTS", "WORKLOADS", "APISERVER", "CONTROLLER_MANAGER", "SCHEDULER"}),
    ),
}
_CHANNELS = {"RAPID", "REGULAR", "STABLE", "EXTENDED"}


@resource_rule(
    "cluster-private-endpoint",
    title="The control plane is reached from inside, in prod by no other way; elsewhere from named ranges besides",
    types=(EKS, GKE),
    severity="critical",
    why="An API server on the internet is one stolen token, or one hole in Kubernetes, away from every team's work.",
    remedy="training.cluster.endpoint without `allow` in prod; elsewhere the ranges that really have to reach it.",
    controls={
        "aws-fsbp": ("EKS.1",),
        "cis-eks": ("5.4.1", "5.4.2"),
        "cis-gke": ("5.6.3", "5.6.4"),
        "soc2": ("CC6.1", "CC6.6"),
        "iso-27001": ("A.8.20", "A.8.22"),
        "eu-ai-act": ("15",),
    },
)
def cluster_private_endpoint(resource: Resource, graph: Graph) -> Found:
    """A switch that is missing has the cloud's default. A name that IAM guards is no address, but is told of in prod."""
    if resource.type == EKS:
        if resource.get("vpcConfig.endpointPrivateAccess") is not True:
            yield "its machines reach it by way of the internet: the private endpoint is off"
        public = resource.get("vpcConfig.endpointPublicAccess", True) is not False
        ranges = resource.get("vpcConfig.publicAccessCidrs", ["0.0.0.0/0"])
    else:
        public = _gke_address(resource)
        authorized = resource.get("masterAuthorizedNetworksConfig")
        known = [block.get("cidrBlock") for block in maps(mapping(authorized).get("cidrBlocks"))]
        ranges = known if isinstance(authorized, Mapping) else ["0.0.0.0/0"]
        yield from _gke_name(resource, graph)
        if public and resource.get("masterAuthorizedNetworksConfig.gcpPublicCidrsAccessEnabled", True) is not False:
            yield "every machine of Google Cloud, whoever's it is, reaches it"
    if public and is_prod(graph):
        yield "its control plane has a public address"
    elif public:
        yield from _open(items(ranges), graph)


def _gke_address(cluster: Resource) -> bool:
    private = cluster.get("privateClusterConfig.enablePrivateEndpoint") is True
    return not private and cluster.get("controlPlaneEndpointsConfig.ipEndpointsConfig.enabled", True) is not False


def _gke_name(cluster: Resource, graph: Graph) -> Found:
    dns = mapping(cluster.get("controlPlaneEndpointsConfig.dnsEndpointConfig"))
    if dns.get("allowExternalTraffic", False) is False:
        return
    for kind, switch in (("certificates", "enableK8sCertsViaDns"), ("tokens", "enableK8sTokensViaDns")):
        if dns.get(switch, False) is not False:
            yield f"its name lets in {kind} of the cluster's own, past IAM, from anywhere"
    if is_prod(graph) and not any(_fences(perimeter) for perimeter in graph.of_type(PERIMETER)):
        message = "its name answers on the internet to whoever IAM lets in, and no perimeter restricts container.googleapis.com"
        yield Violation(message, enforcement="advisory")


def _fences(perimeter: Resource) -> bool:
    return any(
        "container.googleapis.com" in items(perimeter.get(f"{part}.restrictedServices")) for part in ("spec", "status")
    )


def _open(ranges: list[Any], graph: Graph) -> Iterator[str | Violation]:
    for given in ranges:
        range_ = resolve(given, graph)
        if is_anywhere(range_):
            yield f"its control plane is open to {range_}"
        elif is_unknown(range_):
            yield Violation(
                "who may reach its control plane is not known before the deployment", enforcement="advisory"
            )


@resource_rule(
    "cluster-identities",
    title="Only identities of the cloud come into a cluster, and what runs there has one of its own",
    types=(EKS, GKE),
    severity="high",
    why="A config map or a certificate of the cluster's own is access that no audit of the cloud shows, and that never ends.",
    remedy="EKS: authentication_mode API. GKE: Workload Identity, no legacy ABAC, client certificates or anonymous access.",
    controls={
        "cis-eks": ("4.1.7", "5.5.1"),
        "cis-gke": ("4.1.8", "4.1.9", "4.1.10", "5.2.2", "5.8.1", "5.8.3"),
        "soc2": ("CC6.1", "CC6.3"),
        "iso-27001": ("A.5.15", "A.5.16", "A.8.2"),
    },
)
def cluster_identities(resource: Resource, graph: Graph) -> Found:
    """The ways in that a cluster may have, and the identities of pods. Its maker's own right is only told of."""
    if resource.type == EKS:
        mode = resource.get("accessConfig.authenticationMode", "CONFIG_MAP")
        if mode != "API":
            yield f"its authentication mode is {mode}: the config map aws-auth lets people in"
        if is_prod(graph) and resource.get("accessConfig.bootstrapClusterCreatorAdminPermissions", True) is not False:
            yield Violation("whoever makes it is its administrator for good", enforcement="advisory")
        return
    if not resource.get("workloadIdentityConfig.workloadPool"):
        yield "its pods have the identity of their machine: Workload Identity is off"
    if resource.get("enableLegacyAbac", False) is not False:
        yield "legacy ABAC lets every service account do everything"
    if resource.get("masterAuth.clientCertificateConfig.issueClientCertificate", False) is not False:
        yield "it issues a client certificate, which nobody can take back"
    if resource.get("anonymousAuthenticationConfig.mode") != "LIMITED":
        yield "it answers to those who do not say who they are"
    for who in ("Authenticated", "Unauthenticated"):
        # Both are allowed unless the cluster says otherwise (GKE API, RBACBindingConfig).
        if resource.get(f"rbacBindingConfig.enableInsecureBindingSystem{who}") is not False:
            yield f"a role may be bound to system:{who.lower()}, which is anybody"


@resource_rule(
    "cluster-secrets-encrypted",
    title="The cluster's secrets are encrypted before they are written down",
    types=(EKS, GKE),
    severity="high",
    why="A copy of the cluster's database holds every team's secrets in clear otherwise.",
    remedy="encryption_config of `secrets`, or database_encryption, with the key of the secrets domain.",
    controls={
        "aws-fsbp": ("EKS.3",),
        "cis-eks": ("5.3.1",),
        "cis-gke": ("5.3.1",),
        "soc2": ("CC6.1",),
        "iso-27001": ("A.8.24",),
        "gdpr": ("32",),
    },
)
def cluster_secrets_encrypted(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """That it is on; whose key it is says `encryption-own-key`."""
    if resource.type == EKS:
        if "secrets" not in items(resource.get("encryptionConfig.resources")):
            yield "secrets are not among what it encrypts"
    elif str(resource.get("databaseEncryption.state")) not in {"ENCRYPTED", "ALL_OBJECTS_ENCRYPTION_ENABLED"}:
        yield f"encryption of its database is {resource.get('databaseEncryption.state', 'not stated')}"


@resource_rule(
    "cluster-logs",
    title="All that a control plane does is written down, where we keep it",
    types=(EKS, GKE),
    severity="high",
    why="Who read which secret, and who started what, is in no other log; a log group that EKS makes has no key and no end.",
    remedy="EKS: all five kinds, and a log group /aws/eks/<name>/cluster that the cluster depends on. GKE: all components.",
    controls={
        "aws-fsbp": ("EKS.8",),
        "cis-eks": ("2.1.1", "2.1.2"),
        "cis-gke": ("5.7.1",),
        "soc2": ("CC7.2", "CC7.3"),
        "iso-27001": ("A.8.15", "A.5.28"),
        "eu-ai-act": ("12",),
    },
)
def cluster_logs(resource: Resource, graph: Graph) -> Found:
    """The group has to be there before the cluster, which otherwise makes one of its own."""
    path, wanted = _LOGS[resource.type]
    missing = wanted - {str(kind) for kind in items(resource.get(path))}
    if missing:
        yield f"it does not log {', '.join(sorted(missing))}"
    if resource.type == EKS:
        name = f"/aws/eks/{resource.get('name', '')}/cluster"
        group = next((g for g in graph.of_type(LOG_GROUP) if resolve(g.get("name"), graph) == name), None)
        if group is None:
            yield f"nothing declares the log group {name}, so EKS makes it"
        elif group.urn not in resource.dependencies:
            yield f"it may be there before its log group {name}"


@resource_rule(
    "cluster-network-policy",
    title="A cluster keeps to its network policies",
    types=(EKS, GKE),
    severity="high",
    why="Without something that enforces them, network policies are words: every pod reaches every other team's.",
    remedy="EKS: the add-on vpc-cni with enableNetworkPolicy. GKE: datapath_provider ADVANCED_DATAPATH.",
    controls={
        "cis-eks": ("4.3.1", "5.4.4"),
        "cis-gke": ("4.3.1",),
        "soc2": ("CC6.6",),
        "iso-27001": ("A.8.22",),
    },
)
def cluster_network_policy(resource: Resource, graph: Graph) -> Found:
    """Either data path of GKE will do; EKS brings one with its own add-on."""
    if resource.type == GKE:
        calico = resource.get("networkPolicy.enabled") is True
        if resource.get("datapathProvider") != "ADVANCED_DATAPATH" and not calico:
            yield "nothing enforces network policies"
        return
    addons = [a for a in graph.linked(resource.urn, ADDON, "clusterName") if a.get("addonName") == "vpc-cni"]
    settings = [mapping(decoded(addon.get("configurationValues"))) for addon in addons]
    if not any(str(setting.get("enableNetworkPolicy")).lower() == "true" for setting in settings):
        yield "nothing enforces network policies"


@resource_rule(
    "cluster-upgrades",
    title="A cluster and its machines are kept up to date, at an hour that was agreed",
    types=(GKE, NODE_POOL),
    severity="medium",
    why="A cluster without a channel is upgraded when its version ends, at the provider's hour, in the middle of a training run.",
    remedy="training.cluster.window and upgrades; auto_upgrade and auto_repair of every node pool.",
    controls={
        "cis-gke": ("5.5.2", "5.5.3", "5.5.4"),
        "soc2": ("CC7.1",),
        "iso-27001": ("A.8.8", "A.8.32"),
    },
)
def cluster_upgrades(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """GKE upgrades by itself; EKS does what the program says, which is `cluster-pinned`'s concern."""
    if resource.type == GKE:
        if str(resource.get("releaseChannel.channel")) not in _CHANNELS:
            yield "it follows no release channel"
        if not {"recurringWindow", "dailyMaintenanceWindow"} & mapping(resource.get("maintenancePolicy")).keys():
            yield "it has no maintenance window"
        return
    if resource.get("management.autoUpgrade") is not True:
        yield "its machines are not upgraded"
    # GKE takes flex-start machines only without repair: they live for seven days at most.
    if resource.get("management.autoRepair") is not True and resource.get("nodeConfig.flexStart") is not True:
        yield "its machines are not repaired"


@resource_rule(
    "cluster-pinned",
    title="What a cluster consists of has versions that the program states",
    types=(EKS, ADDON, NODE_GROUP, NODE_CLASS),
    severity="medium",
    why="What takes the newest is another cluster after every deployment, and no deployment says so.",
    remedy="version, addon_version, release_version, and an image alias with a version.",
    controls={"soc2": ("CC8.1",), "iso-27001": ("A.8.9", "A.8.32")},
)
def cluster_pinned(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """A launch template with an image of its own pins that instead of a release."""
    if resource.type == EKS and not resource.get("version"):
        yield "it states no Kubernetes version"
    if resource.type == ADDON and not resource.get("addonVersion"):
        yield f"the add-on {resource.get('addonName')} has no version"
    if resource.type == NODE_GROUP and not resource.get("releaseVersion") and resource.get("amiType") != "CUSTOM":
        yield "its machines have whatever image is the newest"
    if resource.type == NODE_CLASS:
        for term in maps(resource.get("spec.amiSelectorTerms")) or [{}]:
            if "id" not in term and not re.fullmatch(r"[^@]+@v.+", str(term.get("alias", ""))):
                yield f"its machines have whatever image is the newest: {term.get('alias', 'no alias')}"


@resource_rule(
    "cluster-nodes-hardened",
    title="A machine of GKE boots what Google signed, and is nobody by default",
    types=(GKE, NODE_POOL),
    severity="high",
    why="By default a machine is the project's editor, and every pod on it can be the machine.",
    remedy="HARDENED of components/core/google.py in node_config, and the cluster's own service account.",
    controls={
        "cis-gcp": ("4.1",),
        "cis-gke": ("5.2.1", "5.4.1", "5.5.1", "5.5.5", "5.5.6", "5.5.7"),
        "soc2": ("CC6.1", "CC6.3"),
        "iso-27001": ("A.8.9", "A.5.16"),
        "eu-ai-act": ("15",),
    },
)
def cluster_nodes_hardened(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """Of a cluster its first machines, which every cluster is made with; they have to go when it is there."""
    if resource.get("enableAutopilot") is True:
        return
    if resource.type == GKE:
        if resource.get("removeDefaultNodePool") is not True:
            yield "its default node pool stays"
        if resource.get("enableShieldedNodes", True) is not True:
            yield "its machines are not shielded"
    node = mapping(resource.get("nodeConfig"))
    shielded = mapping(node.get("shieldedInstanceConfig"))
    for switch, what in (("enableSecureBoot", "secure boot"), ("enableIntegrityMonitoring", "integrity monitoring")):
        if shielded.get(switch) is not True:
            yield f"{what} is off"
    if not str(node.get("imageType", "")).upper().startswith("COS_CONTAINERD"):
        yield f"its image is {node.get('imageType', 'not stated')}"
    account = str(node.get("serviceAccount", ""))
    if not account or account == "default" or account.endswith("-compute@developer.gserviceaccount.com"):
        yield "its machines are the default service account"
    if mapping(node.get("workloadMetadataConfig")).get("mode") != "GKE_METADATA":
        yield "pods see the identity of their machine"
    if str(mapping(node.get("metadata")).get("disable-legacy-endpoints")).lower() != "true":
        yield "the old metadata endpoints answer, which ask for no header"
    if str(mapping(node.get("kubeletConfig")).get("insecureKubeletReadonlyPortEnabled")).upper() != "FALSE":
        yield "the kubelet answers on a port that asks nobody who he is"


@resource_rule(
    "machine-metadata",
    title="A machine's metadata are given to the machine alone, and for a token",
    types=(LAUNCH_TEMPLATE, NODE_CLASS, INSTANCE, NODE_GROUP, NOTEBOOK),
    severity="high",
    why="A container that reaches the metadata has the rights of its machine; one request through a proxy is enough.",
    remedy="http_tokens: required and a hop limit of 1; pods have rights of their own by Pod Identity.",
    controls={
        "cis-aws": ("6.7",),
        "aws-fsbp": ("EC2.8", "EC2.170"),
        "soc2": ("CC6.1",),
        "iso-27001": ("A.8.9",),
    },
)
def machine_metadata(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """What is not stated is the account's or the image's choice; Karpenter's own default is the right one."""
    if resource.type == NODE_GROUP:
        if not resource.get("launchTemplate"):
            yield "without a launch template its machines have the cloud's defaults"
        return
    if resource.type == NOTEBOOK:
        path = "instanceMetadataServiceConfiguration.minimumInstanceMetadataServiceVersion"
        if str(resource.get(path)) != "2":
            yield "its metadata are given without a token"
        return
    karpenter = resource.type == NODE_CLASS
    options = mapping(resource.get("spec.metadataOptions" if karpenter else "metadataOptions"))
    if options.get("httpTokens", "required" if karpenter else "not stated") != "required":
        yield f"tokens are {options.get('httpTokens', 'not required')}"
    hops = options.get("httpPutResponseHopLimit", 1 if karpenter else None)
    if hops != 1:
        yield f"the hop limit is {'not stated' if hops is None else hops}"


@resource_rule(
    "cluster-private-nodes",
    title="Machines of GKE have no public address",
    types=(GKE, NODE_POOL),
    severity="high",
    why="A public address makes every mistake in a firewall reachable.",
    remedy="enable_private_nodes of the cluster and of every node pool.",
    controls={"cis-gcp": ("4.9",), "cis-gke": ("5.6.5",), "soc2": ("CC6.6",), "iso-27001": ("A.8.20",)},
)
def cluster_private_nodes(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """A node pool that says nothing has what its cluster says."""
    if resource.type == GKE:
        if resource.get("privateClusterConfig.enablePrivateNodes") is not True:
            yield "its machines have public addresses"
    elif resource.get("networkConfig.enablePrivateNodes", True) is not True:
        yield "its machines have public addresses"


@resource_rule(
    "cluster-images-signed",
    title="In prod, a cluster asks whether somebody vouches for an image",
    types=(GKE, EKS),
    severity="high",
    why="Whoever can push an image, or take over a pipeline that can, runs it in prod otherwise.",
    remedy="binary_authorization with PROJECT_SINGLETON_POLICY_ENFORCE; EKS: registry.signatures: enforce, a copy of ghcr.io.",
    controls={
        "cis-eks": ("5.1.4",),
        "cis-gke": ("4.5.1", "5.1.4"),
        "soc2": ("CC8.1",),
        "iso-27001": ("A.8.32",),
        "eu-ai-act": ("15",),
    },
)
def cluster_images_signed(resource: Resource, graph: Graph) -> Found:
    """What the policy of GKE then says is `image-vouched-for`'s concern. EKS has none: a policy of Kyverno asks about pods."""
    if resource.type == EKS:
        if is_prod(graph):
            yield from _unasked(resource, graph)
        return
    mode = str(resource.get("binaryAuthorization.evaluationMode", "DISABLED"))
    if is_prod(graph) and "PROJECT_SINGLETON_POLICY_ENFORCE" not in mode:
        yield f"Binary Authorization is {mode}"


def _unasked(cluster: Resource, graph: Graph) -> Iterator[str]:
    """Why images start without a signature in a cluster of EKS: nobody asks, or the answer changes nothing."""
    asking = [
        (policy, rule)
        for policy in graph.of_type(KYVERNO_POLICY)
        if cluster_of(policy, graph) == cluster
        for rule in maps(policy.get("spec.rules"))
        if _asks_about_images(rule)
    ]
    if not asking:
        yield "nobody is asked who vouches for an image"
    for policy, rule in asking:
        action = mapping(rule.get("validate")).get("failureAction", "Audit")
        if action != "Enforce":
            yield f"an image without a signature starts: {action}"
        if policy.get("spec.webhookConfiguration.failurePolicy", "Fail") != "Fail":
            yield "an image starts where nobody answers"
        kinds = {kind for found in _matched(rule) for kind in items(found.get("kinds"))}
        if "Pod" not in kinds:
            yield f"it is asked of {', '.join(sorted(map(str, kinds))) or 'nothing'}, and not of pods"


def _asks_about_images(rule: Mapping[str, Any]) -> bool:
    """Whether a rule hands its images to a service that answers (Kyverno, "External Data Sources", service calls)."""
    calls = [mapping(part.get("apiCall")) for part in maps(rule.get("context"))]
    return any(
        call.get("service") and any("images" in str(sent.get("value")) for sent in maps(call.get("data")))
        for call in calls
    )


def _matched(rule: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    match = mapping(rule.get("match"))
    return [mapping(each.get("resources")) for way in ("any", "all") for each in maps(match.get(way))]


@resource_rule(
    "cluster-volumes-encrypted",
    title="A volume that a claim gets without asking is encrypted with a key of the environment",
    types=(EKS, GKE),
    severity="high",
    why="GKE's own classes have keys of Google's; a claim that names no class takes the default, whoever wrote it.",
    remedy="A StorageClass of ours with the annotation storageclass.kubernetes.io/is-default-class, and the key of compute.",
    controls={
        "cis-gke": ("5.9.1",),
        "soc2": ("CC6.1",),
        "iso-27001": ("A.8.24",),
        "gdpr": ("32",),
    },
)
def cluster_volumes_encrypted(resource: Resource, graph: Graph) -> Found:
    """That there is a default class of ours; which key it names is `encryption-own-key`'s concern."""
    classes = [found for found in graph.of_type(STORAGE_CLASS) if cluster_of(found, graph) == resource]
    if not any(_is_default(found) for found in classes):
        yield "a claim that names no class has whatever class the cloud made the default"


def _is_default(found: Resource) -> bool:
    annotations = mapping(found.get("metadata.annotations"))
    return str(annotations.get("storageclass.kubernetes.io/is-default-class")).lower() == "true"


@resource_rule(
    "cluster-teardown",
    title="A destroy asks no cluster that is gone, and leaves nothing that an object owns",
    types=(EVERY,),
    severity="medium",
    why="An object that outlives its cluster makes a destroy hang; one that goes unasked leaves machines and disks on the bill.",
    remedy="deleted_with the cluster; not for what owns something outside: pools, claims, load balancers, teams' namespaces.",
    controls={"soc2": ("C1.2",), "iso-27001": ("A.8.10",)},
)
def cluster_teardown(resource: Resource, graph: Graph) -> Found:
    """What owns something is asked for while the cluster is there; of the rest, that nobody need be asked is only told of."""
    if not resource.type.startswith("kubernetes:") or "deleted_with" in graph.untold:
        return
    with_it = graph.resources.get(resource.deleted_with)
    if _owns(resource):
        if resource.deleted_with:
            yield "it goes with its cluster unasked, and what it owns outside of it stays"
    elif with_it is None or with_it.type not in CLUSTERS:
        yield Violation("a destroy asks its cluster for it, which may be gone", enforcement="advisory")


def _owns(resource: Resource) -> bool:
    """Whether an object has something outside of its cluster, which its controller takes away when it is deleted itself."""
    if resource.type == NAMESPACE:
        return bool(labels_of(resource).get(TEAM))  # with people's claims in it
    if resource.type == SERVICE:
        return resource.get("spec.type") == "LoadBalancer"
    if leads_elsewhere(resource):
        return False
    return resource.type in _OWNERS or bool(resource.get("spec.volumeClaimTemplates"))
