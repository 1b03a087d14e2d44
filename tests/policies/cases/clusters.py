"""Rules on clusters."""

import json
from dataclasses import replace

from tests.policies.build import aws, bad, changed, cluster, gcp, good, make, ref, thing

LOG = make("aws:cloudwatch/logGroup:LogGroup", "log", inputs={"name": "/aws/eks/acme-dev/cluster"})
ALL = ["api", "audit", "authenticator", "controllerManager", "scheduler"]
EKS = make(
    "aws:eks/cluster:Cluster",
    "cluster",
    inputs={
        "name": "acme-dev",
        "version": "1.35",
        "vpcConfig": {"endpointPrivateAccess": True, "endpointPublicAccess": False},
        "accessConfig": {"authenticationMode": "API", "bootstrapClusterCreatorAdminPermissions": False},
        "encryptionConfig": {"resources": ["secrets"]},
        "enabledClusterLogTypes": ALL,
    },
    dependencies=(LOG.urn,),
)
NODE = {
    "shieldedInstanceConfig": {"enableSecureBoot": True, "enableIntegrityMonitoring": True},
    "imageType": "COS_CONTAINERD",
    "serviceAccount": "nodes@acme-ai-dev.iam.gserviceaccount.com",
    "workloadMetadataConfig": {"mode": "GKE_METADATA"},
    "metadata": {"disable-legacy-endpoints": "true"},
    "kubeletConfig": {"insecureKubeletReadonlyPortEnabled": "FALSE"},
}
COMPONENTS = ["SYSTEM_COMPONENTS", "WORKLOADS", "APISERVER", "CONTROLLER_MANAGER", "SCHEDULER"]
GKE = make(
    "gcp:container/cluster:Cluster",
    "cluster",
    inputs={
        "name": "acme-dev",
        "privateClusterConfig": {"enablePrivateNodes": True, "enablePrivateEndpoint": True},
        "workloadIdentityConfig": {"workloadPool": "acme-ai-dev.svc.id.goog"},
        "anonymousAuthenticationConfig": {"mode": "LIMITED"},
        "rbacBindingConfig": {
            "enableInsecureBindingSystemAuthenticated": False,
            "enableInsecureBindingSystemUnauthenticated": False,
        },
        "databaseEncryption": {"state": "ENCRYPTED"},
        "loggingConfig": {"enableComponents": COMPONENTS},
        "datapathProvider": "ADVANCED_DATAPATH",
        "releaseChannel": {"channel": "REGULAR"},
        "maintenancePolicy": {"recurringWindow": {"recurrence": "FREQ=WEEKLY"}},
        "removeDefaultNodePool": True,
        "nodeConfig": NODE,
        "binaryAuthorization": {"evaluationMode": "PROJECT_SINGLETON_POLICY_ENFORCE"},
    },
)
KEY = make("aws:kms/key:Key", "key", inputs={})


SIGNED, CLASS = "cluster-images-signed", "cluster-volumes-encrypted"


def asking(action="Enforce", failing="Fail", kind="Pod", value="{{ images }}"):
    """A policy that asks somebody about the images of pods."""
    call = {"method": "POST", "data": [{"key": "images", "value": value}], "service": {"url": "https://verifier.svc"}}
    rule = {
        "name": "signed",
        "match": {"any": [{"resources": {"kinds": [kind]}}]},
        "context": [{"name": "answer", "apiCall": call}],
        "validate": {"failureAction": action},
    }
    spec = {"webhookConfiguration": {"failurePolicy": failing}, "rules": [rule]}
    return thing("kyverno.io/v1:ClusterPolicy", "signatures", spec=spec)


def disks(default="true"):
    annotations = {"storageclass.kubernetes.io/is-default-class": default}
    return thing("storage.k8s.io/v1:StorageClass", "disks", annotations=annotations, provisioner="x")


def endpoint(*cidrs, private=True):
    access = {"endpointPrivateAccess": private, "endpointPublicAccess": True}
    return changed(EKS, vpcConfig={**access, **({"publicAccessCidrs": list(cidrs)} if cidrs else {})})


def address(*cidrs, google=False):
    networks = {"cidrBlocks": [{"cidrBlock": cidr} for cidr in cidrs], "gcpPublicCidrsAccessEnabled": google}
    return changed(
        GKE,
        privateClusterConfig={"enablePrivateNodes": True, "enablePrivateEndpoint": False},
        masterAuthorizedNetworksConfig=networks if cidrs else None,
    )


def switched_off():
    private = {"enablePrivateNodes": True, "enablePrivateEndpoint": False}
    off = {"ipEndpointsConfig": {"enabled": False}}
    return changed(GKE, privateClusterConfig=private, controlPlaneEndpointsConfig=off)


def dns(**switches):
    name = {"allowExternalTraffic": True, **switches}
    return changed(GKE, controlPlaneEndpointsConfig={"dnsEndpointConfig": name})


def fence(*services):
    return make(
        "gcp:accesscontextmanager/servicePerimeter:ServicePerimeter",
        inputs={"spec": {"restrictedServices": list(services)}},
    )


def addon(values=None, name="vpc-cni", **inputs):
    settings = {"configurationValues": json.dumps(values)} if values is not None else {}
    inputs = {"clusterName": ref(EKS, "name"), "addonName": name, "addonVersion": "v1", **settings, **inputs}
    return make("aws:eks/addon:Addon", inputs={key: value for key, value in inputs.items() if value is not None})


def node_pool(**inputs):
    base = {"management": {"autoRepair": True, "autoUpgrade": True}, "nodeConfig": NODE}
    return make("gcp:container/nodePool:NodePool", inputs={**base, **inputs})


def node(**changes):
    """Machines that differ in one thing; None takes it away."""
    return {key: value for key, value in {**NODE, **changes}.items() if value is not None}


def group(**inputs):
    base = {"releaseVersion": "1.35.6-20260714", "launchTemplate": {"id": "lt-1"}}
    return make("aws:eks/nodeGroup:NodeGroup", inputs={k: v for k, v in {**base, **inputs}.items() if v is not None})


def template(**options):
    base = {"httpTokens": "required", "httpPutResponseHopLimit": 1, **options}
    found = {key: value for key, value in base.items() if value is not None}
    return make("aws:ec2/launchTemplate:LaunchTemplate", inputs={"metadataOptions": found})


def node_class(alias="al2023@v20260728", **options):
    terms = [{"alias": alias}] if alias else []
    return thing("karpenter.k8s.aws/v1:EC2NodeClass", spec={"amiSelectorTerms": terms, "metadataOptions": options})


def notebook(version="2"):
    options = {"minimumInstanceMetadataServiceVersion": version}
    return make(
        "aws:sagemaker/notebookInstance:NotebookInstance", inputs={"instanceMetadataServiceConfiguration": options}
    )


def mode(value):
    return changed(GKE, binaryAuthorization={"evaluationMode": value} if value else None)


TEAM = thing("core/v1:Namespace", "team-vision", labels={"ai-platform.io/team": "vision"})
CLAIMS, BALANCED = {"volumeClaimTemplates": [{"metadata": {"name": "data"}}]}, {"type": "LoadBalancer"}


def going(resource, of=EKS):
    return replace(resource, deleted_with=of.urn)


DOWN = "cluster-teardown"
RULE, WHO, LOGS, HARD = "cluster-private-endpoint", "cluster-identities", "cluster-logs", "cluster-nodes-hardened"
CASES = [
    bad(RULE, "public in prod", "a public address", aws("prod"), endpoint("203.0.113.0/24")),
    bad(
        RULE,
        "public by default",
        "open to 0.0.0.0/0",
        aws("dev"),
        changed(EKS, vpcConfig={"endpointPrivateAccess": True}),
    ),
    bad(RULE, "open in dev", "open to 0.0.0.0/0", aws("dev"), endpoint("203.0.113.0/24", "0.0.0.0/0")),
    bad(RULE, "no private one", "private endpoint is off", aws("dev"), endpoint("203.0.113.0/24", private=False)),
    bad(
        RULE,
        "not yet known",
        "not known before",
        aws("dev"),
        KEY,
        endpoint(ref(KEY, "arn")),
        enforcement="advisory",
    ),
    bad(RULE, "public on GKE in prod", "a public address", gcp("prod"), address("203.0.113.0/24")),
    bad(RULE, "open on GKE", "open to 0.0.0.0/0", gcp("dev"), address()),
    bad(RULE, "open to Google Cloud", "every machine of", gcp("dev"), address("203.0.113.0/24", google=True)),
    bad(RULE, "tokens by its name", "tokens of the cluster's own", gcp("dev"), dns(enableK8sTokensViaDns=True)),
    bad(RULE, "certificates by its name", "certificates of the", gcp("dev"), dns(enableK8sCertsViaDns=True)),
    bad(RULE, "its name in prod", "answers on the internet", gcp("prod"), dns(), enforcement="advisory"),
    bad(
        RULE,
        "a fence around others",
        "answers",
        gcp("prod"),
        dns(),
        fence("storage.googleapis.com"),
        enforcement="advisory",
    ),
    good(RULE, "private", aws("prod"), EKS),
    good(RULE, "named ranges in dev", aws("dev"), endpoint("203.0.113.0/24")),
    good(RULE, "private on GKE", gcp("prod"), GKE, dns(allowExternalTraffic=False)),
    good(RULE, "named ranges on GKE in dev", gcp("dev"), address("203.0.113.0/24")),
    good(RULE, "its name in dev", gcp("dev"), dns()),
    good(RULE, "its name inside a perimeter", gcp("prod"), dns(), fence("container.googleapis.com")),
    bad(WHO, "the config map", "is CONFIG_MAP", changed(EKS, accessConfig=None)),
    bad(WHO, "both", "API_AND_CONFIG_MAP", changed(EKS, accessConfig={"authenticationMode": "API_AND_CONFIG_MAP"})),
    bad(
        WHO,
        "its maker",
        "administrator for good",
        aws("prod"),
        changed(EKS, accessConfig={"authenticationMode": "API"}),
        enforcement="advisory",
    ),
    bad(WHO, "no Workload Identity", "Workload Identity is off", changed(GKE, workloadIdentityConfig=None)),
    bad(WHO, "legacy ABAC", "legacy ABAC", changed(GKE, enableLegacyAbac=True)),
    bad(
        WHO,
        "a certificate",
        "client certificate",
        changed(GKE, masterAuth={"clientCertificateConfig": {"issueClientCertificate": True}}),
    ),
    bad(WHO, "anonymous", "do not say who", changed(GKE, anonymousAuthenticationConfig=None)),
    bad(WHO, "everybody bound", "system:authenticated", changed(GKE, rbacBindingConfig=None)),
    good(WHO, "the cloud's own", aws("prod"), EKS),
    good(WHO, "on GKE", gcp("prod"), GKE),
    bad("cluster-secrets-encrypted", "nothing", "not among", changed(EKS, encryptionConfig=None)),
    bad(
        "cluster-secrets-encrypted", "something else", "not among", changed(EKS, encryptionConfig={"resources": ["a"]})
    ),
    bad("cluster-secrets-encrypted", "off", "is DECRYPTED", changed(GKE, databaseEncryption={"state": "DECRYPTED"})),
    bad("cluster-secrets-encrypted", "not stated", "not stated", changed(GKE, databaseEncryption=None)),
    good("cluster-secrets-encrypted", "both", EKS, GKE),
    bad(LOGS, "none", "does not log api, audit", LOG, changed(EKS, enabledClusterLogTypes=None)),
    bad(LOGS, "no audit", "does not log audit", LOG, changed(EKS, enabledClusterLogTypes=ALL[:1] + ALL[2:])),
    bad(LOGS, "on GKE", "does not log SCHEDULER", changed(GKE, loggingConfig={"enableComponents": COMPONENTS[:-1]})),
    bad(LOGS, "a group of EKS's", "so EKS makes it", EKS),
    bad(LOGS, "a group too late", "may be there before", LOG, replace(EKS, dependencies=())),
    good(LOGS, "all", LOG, EKS, GKE),
    bad("cluster-network-policy", "no add-on", "nothing enforces", EKS),
    bad("cluster-network-policy", "switched off", "nothing enforces", EKS, addon({})),
    bad(
        "cluster-network-policy", "of another add-on", "nothing", EKS, addon({"enableNetworkPolicy": "true"}, "coredns")
    ),
    bad("cluster-network-policy", "on GKE", "nothing enforces", changed(GKE, datapathProvider=None)),
    good("cluster-network-policy", "on EKS", EKS, addon({"enableNetworkPolicy": "true"})),
    good("cluster-network-policy", "on GKE", GKE),
    good("cluster-network-policy", "Calico", changed(GKE, datapathProvider=None, networkPolicy={"enabled": True})),
    bad(
        "cluster-upgrades", "no channel", "no release channel", changed(GKE, releaseChannel={"channel": "UNSPECIFIED"})
    ),
    bad("cluster-upgrades", "no window", "no maintenance window", changed(GKE, maintenancePolicy=None)),
    bad("cluster-upgrades", "never", "are not upgraded", node_pool(management={"autoRepair": True})),
    bad("cluster-upgrades", "never repaired", "are not repaired", node_pool(management={"autoUpgrade": True})),
    good("cluster-upgrades", "both", GKE, node_pool()),
    good(
        "cluster-upgrades",
        "machines that live for days",
        node_pool(management={"autoRepair": False, "autoUpgrade": True}, nodeConfig={**NODE, "flexStart": True}),
    ),
    bad("cluster-pinned", "the cluster", "no Kubernetes version", changed(EKS, version=None)),
    bad("cluster-pinned", "an add-on", "vpc-cni has no version", addon(addonVersion=None)),
    bad("cluster-pinned", "machines", "the newest", group(releaseVersion=None)),
    bad("cluster-pinned", "machines of Karpenter", "the newest: al2023@latest", node_class("al2023@latest")),
    bad("cluster-pinned", "no image", "no alias", node_class("")),
    good("cluster-pinned", "all of it", EKS, addon(), group(), node_class()),
    good("cluster-pinned", "an image of its own", group(releaseVersion=None, amiType="CUSTOM")),
    bad(HARD, "the default pool", "default node pool stays", changed(GKE, removeDefaultNodePool=None)),
    bad(HARD, "not shielded", "not shielded", changed(GKE, enableShieldedNodes=False)),
    bad(HARD, "its first machines", "secure boot is off", changed(GKE, nodeConfig=None)),
    bad(HARD, "no integrity", "integrity monitoring", node_pool(nodeConfig=node(shieldedInstanceConfig={}))),
    bad(
        HARD,
        "another image",
        "its image is UBUNTU_CONTAINERD",
        node_pool(nodeConfig=node(imageType="UBUNTU_CONTAINERD")),
    ),
    bad(HARD, "no account", "default service account", node_pool(nodeConfig=node(serviceAccount=None))),
    bad(
        HARD,
        "the default account",
        "default service account",
        node_pool(nodeConfig=node(serviceAccount="1-compute@developer.gserviceaccount.com")),
    ),
    bad(HARD, "its metadata", "identity of their machine", node_pool(nodeConfig=node(workloadMetadataConfig=None))),
    bad(HARD, "old endpoints", "old metadata endpoints", node_pool(nodeConfig=node(metadata={}))),
    bad(HARD, "the kubelet's port", "the kubelet answers", node_pool(nodeConfig=node(kubeletConfig=None))),
    good(HARD, "all of it", GKE, node_pool()),
    good(HARD, "machines that Google runs", changed(GKE, enableAutopilot=True, nodeConfig=None)),
    bad("machine-metadata", "no token", "tokens are optional", template(httpTokens="optional")),
    bad("machine-metadata", "not stated", "tokens are not required", template(httpTokens=None)),
    bad("machine-metadata", "two hops", "the hop limit is 2", template(httpPutResponseHopLimit=2)),
    bad("machine-metadata", "hops not stated", "is not stated", template(httpPutResponseHopLimit=None)),
    bad("machine-metadata", "of Karpenter", "the hop limit is 2", node_class(httpPutResponseHopLimit=2)),
    bad("machine-metadata", "a machine", "not required", make("aws:ec2/instance:Instance", inputs={"ami": "ami-1"})),
    bad("machine-metadata", "a group without", "the cloud's defaults", group(launchTemplate=None)),
    bad("machine-metadata", "a notebook", "without a token", notebook("1")),
    good("machine-metadata", "the machine alone", template(), node_class(), group(), notebook()),
    bad("cluster-private-nodes", "not said", "public addresses", changed(GKE, privateClusterConfig=None)),
    bad("cluster-private-nodes", "a pool", "public", node_pool(networkConfig={"enablePrivateNodes": False})),
    good("cluster-private-nodes", "private", GKE, node_pool(networkConfig={"enablePrivateNodes": True})),
    good("cluster-private-nodes", "as the cluster", GKE, node_pool()),
    bad("cluster-images-signed", "nobody asked", "is DISABLED", gcp("prod"), mode(None)),
    bad("cluster-images-signed", "another policy", "is POLICY_BINDINGS", gcp("prod"), mode("POLICY_BINDINGS")),
    good("cluster-images-signed", "asked", gcp("prod"), GKE),
    good("cluster-images-signed", "nobody asked in dev", gcp("dev"), mode(None)),
    bad(SIGNED, "no policy on EKS", "nobody is asked", aws("prod"), EKS, cluster(EKS)),
    bad(SIGNED, "a policy of another cluster", "nobody is asked", aws("prod"), EKS, cluster(KEY), asking()),
    bad(
        SIGNED, "a policy of something else", "nobody is asked", aws("prod"), EKS, cluster(EKS), asking(value="{{ x }}")
    ),
    bad(SIGNED, "it is only written down", "starts: Audit", aws("prod"), EKS, cluster(EKS), asking("Audit")),
    bad(SIGNED, "nobody answers", "nobody answers", aws("prod"), EKS, cluster(EKS), asking(failing="Ignore")),
    bad(SIGNED, "jobs alone", "asked of Job, and not", aws("prod"), EKS, cluster(EKS), asking(kind="Job")),
    good(SIGNED, "asked on EKS", aws("prod"), EKS, cluster(EKS), asking()),
    good(SIGNED, "no policy on EKS in dev", aws("dev"), EKS, cluster(EKS)),
    bad(CLASS, "no class", "a claim that names no class", GKE, cluster(GKE)),
    bad(CLASS, "a class that has to be asked for", "a claim that names no class", EKS, cluster(EKS), disks("false")),
    bad(CLASS, "another cluster's", "a claim that names no class", GKE, cluster(KEY), disks()),
    good(CLASS, "a default", GKE, cluster(GKE), disks()),
    good(CLASS, "a default on EKS", EKS, cluster(EKS), disks()),
    bad(DOWN, "machines that stay", "unasked", EKS, going(thing("karpenter.sh/v1:NodePool"))),
    bad(DOWN, "people's disks that stay", "unasked", EKS, going(TEAM)),
    bad(DOWN, "a set's disks that stay", "unasked", EKS, going(thing("apps/v1:StatefulSet", spec=CLAIMS))),
    bad(DOWN, "a load balancer that stays", "unasked", EKS, going(thing("core/v1:Service", spec=BALANCED))),
    bad(DOWN, "an object that is asked for", "may be gone", EKS, thing("core/v1:ConfigMap"), enforcement="advisory"),
    bad(
        DOWN, "with something else", "may be gone", LOG, going(thing("core/v1:ConfigMap"), LOG), enforcement="advisory"
    ),
    good(DOWN, "with its cluster", EKS, going(thing("core/v1:ConfigMap")), going(thing("core/v1:Service", spec={}))),
    good(
        DOWN, "before its cluster", EKS, TEAM, thing("karpenter.sh/v1:NodePool"), thing("core/v1:PersistentVolumeClaim")
    ),
    bad(DOWN, "a disk that stays", "unasked", EKS, going(thing("core/v1:PersistentVolumeClaim", spec={}))),
    good(
        DOWN,
        "a claim on what is another's",
        EKS,
        going(thing("core/v1:PersistentVolumeClaim", spec={"volumeName": "a"})),
    ),
    good(DOWN, "what the CLI does not tell", EKS, thing("core/v1:ConfigMap"), untold=("deleted_with",)),
    good(RULE, "an address that is switched off", gcp("prod"), switched_off()),
    bad(
        HARD,
        "the default account by its short name",
        "default service",
        node_pool(nodeConfig=node(serviceAccount="default")),
    ),
    good(WHO, "its maker in dev", aws("dev"), changed(EKS, accessConfig={"authenticationMode": "API"})),
    good("cluster-pinned", "an image by its id", changed(node_class(), spec={"amiSelectorTerms": [{"id": "ami-1"}]})),
]
