"""What a component hands on, the same on each cloud: typed handles, never another component's internals.

Every output is usable when it resolves: it passes through the grant, the API or the policy that makes it so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pulumi

from components.core.rows import Row

Domain = Literal["data", "models", "logs", "secrets", "compute"]
Text = pulumi.Output[str]
INSIDE: Mapping[str, Any] = {"inside": True}
"""Of a field that goes from component to component, and is no output that Pulumi keeps."""


@dataclass(frozen=True, kw_only=True)
class Isolation:
    """The account or project, fenced."""

    account: Text
    """Account id or project id."""
    apis: Mapping[str, Text]
    """Google Cloud: service name (`cloudkms.googleapis.com`) to the project id, which resolves once it is on. Empty on AWS."""


@dataclass(frozen=True, kw_only=True)
class Key:
    """A customer-managed key."""

    id: Text
    """AWS: key ARN. Google Cloud: `projects/…/cryptoKeys/…`; resolves once the service agents may use it."""
    replica: Text | None
    """AWS: ARN of its replica in the second region, where there is one. Google Cloud: a key there, where one is needed."""


@dataclass(frozen=True, kw_only=True)
class Keys:
    """One key a domain."""

    domains: Mapping[Domain, Key]


@dataclass(frozen=True, kw_only=True)
class Boundary:
    """What no identity of the environment may exceed."""

    id: Text | None
    """AWS: ARN of the permission boundary. Google Cloud: name of the deny policy; None where no organisation is given."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The identity of one workload."""

    id: Text
    """AWS: role ARN. Google Cloud: e-mail of the service account. Resolves once its permissions are attached."""


@dataclass(frozen=True, kw_only=True)
class SecurityGroup:
    """AWS: whom machines may call, and who may call them."""

    id: Text
    """Resolves once its rules stand."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """A private network."""

    id: Text
    workload_subnets: Sequence[Text]
    """AWS: one a zone. Google Cloud: one, regional."""
    data_subnets: Sequence[Text]
    cidr: str
    reach: Sequence[str] = ()
    """Ranges that workloads may call by HTTPS: everywhere, or the network itself and what it allows."""
    prefix_lists: Mapping[str, Text] = field(default_factory=dict[str, Text])
    """AWS: service behind a gateway endpoint to the id of its prefix list, whose addresses are public ones; where ways out are
    closed, and `reach` does not hold them."""
    pod_range: str | None = None
    """Google Cloud: name of the secondary range of the workload subnet that pods get their addresses from."""
    service_range: str | None = None
    """Google Cloud: the same for services of a cluster."""
    connected: Mapping[str, Text] = field(default_factory=dict[str, Text])
    """Google Cloud: by class of service, the id of the network, once such services may put endpoints into it."""
    public_subnets: Sequence[Text] = ()
    """AWS: one a zone, for load balancers alone, where one stands towards the internet; resolves once there is a way in."""
    public_ranges: Sequence[str] = ()
    """AWS: the ranges of these; a load balancer calls from an address in them."""
    data_ranges: Sequence[str] = ()
    """AWS: the ranges of the subnets of data stores, where no pod has an address."""


@dataclass(frozen=True, kw_only=True)
class Storage:
    """One storage zone."""

    name: Text
    """Bucket name; resolves once nothing public can reach it and it is encrypted."""
    uri: Text
    """`s3://…` or `gs://…`."""
    resource: Text
    """What a grant names: the bucket's ARN, or its name on Google Cloud."""


@dataclass(frozen=True, kw_only=True)
class Zone:
    """AWS: a storage zone with the key that encrypts what lies in it: whoever reads an object uses its key."""

    bucket: Storage
    key: Key


@dataclass(frozen=True, kw_only=True)
class Notifications:
    """Where everything alarms to. Each a list of what an alarm takes: topic ARNs, or names of notification channels."""

    critical: Sequence[Text]
    warning: Sequence[Text]
    cost: Sequence[Text]
    teams: Mapping[str, Sequence[Text]] = field(default_factory=dict[str, Sequence[Text]])
    """The same by team, for what a team owns."""
    cost_topic: Text
    """SNS topic ARN or Pub/Sub topic id that budgets publish to; resolves once they may."""


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """The environment's secrets by name."""

    ids: Mapping[str, Text]
    """Secret ARN, or `projects/…/secrets/…`. Never a value."""


@dataclass(frozen=True, kw_only=True)
class Personas:
    """The roles of people, by persona."""

    roles: Mapping[str, Text]
    """AWS: role ARN. Google Cloud: id of the custom role."""


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """The identities of the continuous integration."""

    provider: Text
    """OpenID Connect provider ARN, or name of the workload identity pool provider."""
    preview: Text
    """Read-only: role ARN or service account."""
    deploy: Text
    """May change the environment; only the protected GitHub environment can become it."""


@dataclass(frozen=True, kw_only=True)
class Budgets:
    """Budgets by what they watch: the environment, and each team with a share."""

    names: Mapping[str, Text]


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A Kubernetes cluster."""

    name: Text
    """Resolves once workloads can be placed: the system machines are there, and what they need to run."""
    physical_name: str
    """The same, known before anything is built; for names of log groups and metrics, which would otherwise make a cycle."""
    endpoint: Text
    location: str
    """Region of its control plane."""
    provider: pulumi.ProviderResource
    """Speaks to its API server as whoever deploys: no credential is kept."""
    resource: pulumi.Resource
    """What `deleted_with` names: objects that own nothing outside of the cluster go with it."""
    node_identity: Text
    """AWS: ARN of the role of its machines. Google Cloud: e-mail of their service account."""
    security_group: Text | None
    """AWS: the security group that its machines share. None on Google Cloud."""


@dataclass(frozen=True, kw_only=True)
class Flavor:
    """How work finds the machines of a pool, and what may run on them."""

    labels: Mapping[str, str]
    """What a machine of the pool, and of no other, is labelled with."""
    taints: Sequence[Mapping[str, str]]
    """`key`, `value` and `effect` of each taint that work on it has to tolerate."""
    queued: bool = False
    """Whether machines come only for a request as a whole (queued provisioning)."""
    topology: Sequence[str] = ()
    """Labels of the levels at which its machines are near one another, the widest first; none where it does not matter."""


@dataclass(frozen=True, kw_only=True)
class Pools:
    """The pools of a cluster by name."""

    flavors: Mapping[str, Flavor]
    ready: Text
    """Name of the cluster; resolves once every pool is declared in it."""


@dataclass(frozen=True, kw_only=True)
class HyperPod:
    """Machines of a cluster that SageMaker HyperPod keeps."""

    id: Text
    """ARN of the HyperPod cluster."""


@dataclass(frozen=True, kw_only=True)
class Autoscaler:
    """What starts machines when work waits. GKE brings its own."""

    ready: Text
    """Name of the cluster; resolves once it takes orders."""


@dataclass(frozen=True, kw_only=True)
class Queues:
    """The queues of training."""

    names: Mapping[str, Text]
    """By queue: ARN of a job queue of Batch, or name of the queue in the cluster."""
    identities: Mapping[str, Text]
    """What a team's jobs run as, by team: role ARN, or e-mail of a service account."""
    checkpoints: Mapping[str, Text]
    """By queue: where its jobs keep checkpoints, `s3://…/checkpoints/{queue}` or `gs://…`."""
    interruptions: Text
    """Where notices of interruption arrive: URL of an SQS queue, or id of a Pub/Sub subscription."""


@dataclass(frozen=True, kw_only=True)
class Workbench:
    """Managed notebooks."""

    id: Text
    """SageMaker domain id, or name of the notebook runtime template."""


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """Where experiments are recorded."""

    uri: Text
    """What MLflow takes as tracking URI, an address inside of the cluster among them, or the resource name of the TensorBoard."""


@dataclass(frozen=True, kw_only=True)
class Database:
    """The database of a tracking server of our own, and what the server is: nobody keeps a password for it."""

    host: Text
    """Resolves once clients are let through, and what they need to sign in is there."""
    name: str
    user: Text
    secret: Text | None
    """AWS: ARN of the secret with the password of the moment. None on Google Cloud, where a token of `identity` is one."""
    authority: Text | None
    """Certificates of whoever vouches for the server, where its cloud hands them out."""
    reach: str
    """Range that it has its address from."""
    identity: Text
    """What the server runs as: role ARN, or e-mail of a service account. Resolves once it may sign in and keep artifacts."""
    artifacts: Text
    """Where the server keeps artifacts: `s3://…/mlflow`, or `gs://…`."""


@dataclass(frozen=True, kw_only=True)
class Pipelines:
    """Training pipelines by name."""

    ids: Mapping[str, Text]
    """ARN of the pipeline, or id of the workflow."""


@dataclass(frozen=True, kw_only=True)
class Volume:
    """A file system as the driver of a cluster (CSI) mounts it."""

    driver: str
    handle: Text
    attributes: Mapping[str, Text]
    gib: int
    options: Sequence[str] = ()
    """Of the mount."""


@dataclass(frozen=True, kw_only=True)
class FileSystems:
    """Shared fast file systems by name."""

    addresses: Mapping[str, Text]
    """What a client mounts: `dns@tcp:/mountname` of Lustre."""
    volumes: Mapping[str, Volume]
    """The same as pods mount them."""


@dataclass(frozen=True, kw_only=True)
class Quotas:
    """Quotas that the description needs and that were asked for."""

    requests: Mapping[str, Text]
    """By name of the quota: id of the request."""


@dataclass(frozen=True, kw_only=True)
class Alarms:
    """What watches a part of the environment."""

    names: Mapping[str, Text]
    """By what it watches: ARN of the alarm, or name of the alert policy."""


@dataclass(frozen=True, kw_only=True)
class Dashboard:
    """A page of charts."""

    id: Text
    address: Text
    """Where people see it."""


@dataclass(frozen=True, kw_only=True)
class Images:
    """The registries of images."""

    repositories: Mapping[str, Text]
    """Name to its address, once policies and clean-up are in place. AWS: the image's tag or digest follows. Google Cloud: a
    slash and the image's name follow, since a repository holds many."""
    mirrors: Mapping[str, Text]
    """Public registry (`registry.k8s.io`) to the address that stands in its place."""
    signer: Text
    """Whose signature an image has to have. AWS: ARN of the signing profile. Google Cloud: `projects/…/attestors/…`."""
    signatures: str
    """`audit`: an image without a signature is reported; `enforce`: it does not start."""


@dataclass(frozen=True, kw_only=True)
class Models:
    """The registry of models."""

    candidates: Mapping[str, Text]
    """Model to where its versions are registered. AWS: ARN of the package group. Google Cloud: address of a repository."""
    approved: Mapping[str, Text]
    """Model to where this environment reads versions that are approved: its own registry, or that of its source."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Something that answers."""

    id: Text
    """What a grant names: an ARN, or a resource name."""
    address: Text
    """How it is called: an address, or the name under which the cloud's own service knows it. Resolves once it answers."""
    version: Text
    """What answers (`components/spec/models.py`, `called`).

    `PACKAGE:VERSION` of the registry; `IMAGE:TAG`, or its digest, without registry and folder; `PATH on IMAGE:TAG` where it
    loads an artifact or weights; or the name of the cloud's own model. The same on each cloud and in a cluster.
    """
    row: Row | None = field(default=None, metadata=INSIDE)
    """What a page of charts shows of it."""


@dataclass(frozen=True, kw_only=True)
class Pod:
    """What the pods of an endpoint run as."""

    id: Text
    """Role ARN, or e-mail of a service account; resolves once they may."""
    log: Text | None
    """Where they keep prompts: `s3://…/`, or `projects/…/datasets/…/tables/…`. None where nobody keeps any."""


@dataclass(frozen=True, kw_only=True)
class Hosting:
    """AWS: models of SageMaker, and what they run as."""

    identity: Text
    """Role ARN; resolves once its permissions are attached."""
    models: Mapping[str, Text]
    """By variant, the model's name."""


@dataclass(frozen=True, kw_only=True)
class LogGroup:
    """AWS: a log group that several share."""

    id: Text
    """Its ARN."""


@dataclass(frozen=True, kw_only=True)
class Releases:
    """Google Cloud: what the workflows that release new versions share."""

    roles: Mapping[str, Text]
    """Custom roles: on the project `watch`, `vertex` and `batch`; on a service of Cloud Run `run`; on an endpoint `call`."""
    starter: Text
    """E-mail of who starts workflows; resolves once it may."""


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """Google Cloud: what brings one endpoint's new versions to its callers."""

    id: Text
    """Id of the workflow; resolves once something starts it."""
    alarms: Sequence[Text] = ()
    """Names of the alert policies of the endpoint and of its releases."""


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """What stands in front of endpoints towards the internet."""

    addresses: Mapping[str, Text]
    """By endpoint: `https://…`; resolves once its name leads here and its certificate is there."""
    records: Mapping[str, Text] = field(default_factory=dict[str, Text])
    """Where nobody has given a zone: names that a person puts into the DNS, each with type and value."""
    listener: Text | None = None
    """AWS: ARN of the listener that routes belong to; resolves once the firewall is in front of it."""
    balancer: Text | None = None
    """AWS: what metrics call the load balancer, `app/…`; where a route is made it has to be there."""
    security_group: Text | None = None
    """AWS: of the load balancer, which reaches nothing that is not let out to."""
    certificates: Text | None = None
    """Google Cloud: name of the map that has the certificate of all hosts; resolves once it is in there."""


@dataclass(frozen=True, kw_only=True)
class Door:
    """The way from the internet to the pods of one endpoint in a cluster."""

    address: Text
    """`https://…`; resolves once its name leads to the load balancer and its certificate is there."""
    host: str
    scope: str
    """What has to be in a token's scope."""
    target: Text
    """AWS: ARN of the group that its pods are registered in; resolves once requests are led there. Google Cloud: name of the
    security policy that each request passes."""
    row: Row | None = field(default=None, metadata=INSIDE)
    """What a page of charts shows of it."""


@dataclass(frozen=True, kw_only=True)
class Doors:
    """What stands in front of the endpoints in a cluster."""

    doors: Mapping[str, Door]
    """By endpoint."""
    sources: Sequence[str]
    """Ranges that the load balancer calls pods from."""
    registrar: Text | None = None
    """AWS: role ARN of what registers pods with the load balancer; resolves once that would be given it."""
    network: Text | None = None
    """AWS: id of the network of the groups that pods are registered in."""
    entrance: Mapping[str, Text] = field(default_factory=dict[str, Text])
    """Google Cloud: names of the load balancer's `address`, `certificates` and `tls` policy."""
    records: Mapping[str, Text] = field(default_factory=dict[str, Text])
    """Google Cloud: where nobody has given a zone, names that a person puts into the DNS, each with type and value."""

    @property
    def rows(self) -> dict[str, Row]:
        """What a page of charts shows, by endpoint."""
        return {name: door.row for name, door in self.doors.items() if door.row}


@dataclass(frozen=True, kw_only=True)
class Watch:
    """What watches endpoints in a cluster by what is read there."""

    alarms: Mapping[str, Sequence[Text]]
    """By endpoint: ARNs of alarms, or names of alert policies; resolve once what they look at is collected."""


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """Google Cloud: tokens of our issuer for tokens that endpoints take, by endpoint."""

    identities: Mapping[str, Text]
    """E-mail of the service account that whoever has a token may become; resolves once he may, and it may call."""
    audiences: Mapping[str, Text]
    """What a token is shown to the Security Token Service for: `//iam.googleapis.com/projects/…`."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """AWS: the way from a host name to what answers."""

    id: Text
    """ARN of the rule of the listener."""


@dataclass(frozen=True, kw_only=True)
class LambdaFunction:
    """AWS: a function of Lambda."""

    arn: Text
    """Resolves once what it runs as may do its work."""
    name: Text
    version: Text
    """The newest one that is published."""


@dataclass(frozen=True, kw_only=True)
class Guardrails:
    """What is let through to language models and back, by name."""

    ids: Mapping[str, Text]
    """ARN of the guardrail, or name of the template."""
    versions: Mapping[str, Text]
    """Version that is attached; on Google Cloud a template has none, and its name says which content it is."""


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """Where prompts and answers are kept."""

    id: Text
    """What tells the cloud's own models where to log: id of the configuration, or of the workflow that keeps it; where none of
    them is asked, `place`. Resolves once they are logged."""
    place: Text
    """Where they lie: `s3://…/prompts`, or `projects/…/datasets/…`. Resolves once readers are let in."""
    table: tuple[Text, Text] | None = None
    """Google Cloud: dataset and table of what our own models in the cluster are asked, where there are any."""
    writes: Text | None = None
    """Google Cloud: role that adds to that table, and reads nothing of it."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """How one endpoint gets into a cache: what it is told, and what its identity and its network need besides."""

    variables: Mapping[str, pulumi.Input[str]]
    """What its container is told (`runtime/serving/cache.py`); resolves once the cache would know it."""
    connects: Sequence[Text]
    """AWS: ARNs of the cache and of its user there, which the right to connect names both."""
    resource: str = ""
    """Google Cloud: name of the cache, which the right to connect is bound to; known before anything is built."""
    group: Text | None = None
    """AWS: the cache's security group."""
    ports: tuple[int, int]
    """First and last."""
    reach: str
    """Range that the cache has its addresses from."""


@dataclass(frozen=True, kw_only=True)
class Cache:
    """A cache of answers and embeddings."""

    id: Text
    """ARN, or resource name."""
    address: Text
    """Host name, or address in the network, of TLS; resolves once clients may sign in."""
    port: Text
    entries: Mapping[str, Entry] = field(default_factory=dict[str, Entry])
    """By endpoint that may use it."""


@dataclass(frozen=True, kw_only=True)
class Services:
    """The cloud's own models for a task, by service."""

    grants: Mapping[str, Mapping[str, Text]]
    """By service and team, what lets somebody call it: ARN of a policy, or name of a role."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """Google Cloud: what holds corpora with `store: database`; nobody keeps a password for it."""

    id: Text
    """Name of the instance."""
    physical_name: str
    """Its name, known before it is there."""
    databases: Mapping[str, Text]
    """By corpus, the name of its database there; resolves once there is one."""
    host: Text
    """Address in the network."""
    authority: Text
    """Certificates of whoever vouches for the server."""


@dataclass(frozen=True, kw_only=True)
class Corpora:
    """What can be asked, by name."""

    ids: Mapping[str, Text]
    """Id of the knowledge base, name of the collection or of the database; resolves once changes of documents reach it."""
    sources: Mapping[str, Text]
    """Where its documents are put: `s3://…/documents/{corpus}/` or `gs://…`."""
    rows: Mapping[str, Row] = field(default_factory=dict[str, Row], metadata=INSIDE)
    """What a page of charts shows of each."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """AWS: where a corpus with `store: database` has its passages."""

    cluster: Text
    """ARN of the cluster; resolves once the table is there, and whoever reads `secret` may sign in."""
    database: str
    name: str
    """With its schema."""
    secret: Text
    """ARN of the secret of its users."""


@dataclass(frozen=True, kw_only=True)
class Tables:
    """The database of the corpora with `store: database`."""

    tables: Mapping[str, Table] = field(default_factory=dict[str, Table])
    """AWS: by corpus."""
    server: Server | None = None
    """Google Cloud: where all of them are."""


@dataclass(frozen=True, kw_only=True)
class Ask:
    """Where corpora are asked."""

    address: Text
    """`https://…/v1`; `corpora/{corpus}/query` follows. Resolves once questions get through."""
    row: Row | None = field(default=None, metadata=INSIDE)
    """What a page of charts shows of all corpora together."""


@dataclass(frozen=True, kw_only=True)
class Inbox:
    """Messages that are brought to a service."""

    topic: Text
    """Id of the topic; resolves once messages are brought on, and those that fail are kept."""
    failed: str
    """Name of the subscription that keeps those."""


@dataclass(frozen=True, kw_only=True)
class DeadLetters:
    """What was given up, kept for a person to look at."""

    id: Text
    """ARN of the queue; resolves once who fills it may."""
    name: str


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A function of the platform's own."""

    id: Text
    """ARN of the function, or name of its service of Cloud Run; resolves once it can work and who shall call it may."""
    name: str
    """The same name, known before anything is built."""
    identity: Text
    """What it runs as: role ARN, or e-mail of a service account."""
    log: Text | None
    """AWS: name of its log group. None on Google Cloud, where logs are the project's."""


@dataclass(frozen=True, kw_only=True)
class Foundation:
    """What everything else of an environment stands on."""

    isolation: Isolation
    keys: Keys
    boundary: Boundary
    network: Network
    storage: Mapping[str, Storage]
    secrets: Secrets
    personas: Personas
    delivery: Delivery | None
    notifications: Notifications


@dataclass(frozen=True, kw_only=True)
class Registry:
    """Where images and trained models are kept."""

    images: Images
    models: Models


@dataclass(frozen=True, kw_only=True)
class Training:
    """Where models are trained. What the description does not ask for is None."""

    cluster: Cluster | None
    queues: Queues | None
    workbench: Workbench | None
    tracking: Tracking | None
    pipelines: Pipelines
    file_systems: FileSystems
    dashboard: Dashboard | None
    served: Mapping[str, Endpoint] = field(default_factory=dict[str, Endpoint])
    """What answers in the cluster, by name: `Serving` hands it on with the rest."""
    records: Mapping[str, Text] = field(default_factory=dict[str, Text])
    """The same, of what leads there: names that a person puts into the DNS."""
    rows: Mapping[str, Row] = field(default_factory=dict[str, Row], metadata=INSIDE)
    """Of the endpoints among it that are reached from the internet, what a page of charts shows."""

    def exports(self) -> dict[str, Any]:
        """What people need to submit work, and to find it again."""
        cluster, queues = self.cluster, self.queues
        return {
            "cluster": {"name": cluster.name, "endpoint": cluster.endpoint, "location": cluster.location}
            if cluster
            else {},
            "queues": dict(queues.names) if queues else {},
            "checkpoints": dict(queues.checkpoints) if queues else {},
            "identities": dict(queues.identities) if queues else {},
            "interruptions": queues.interruptions if queues else "",
            "workbench": self.workbench.id if self.workbench else "",
            "tracking": self.tracking.uri if self.tracking else "",
            "pipelines": dict(self.pipelines.ids),
            "file_systems": dict(self.file_systems.addresses),
            "dashboard": self.dashboard.address if self.dashboard else "",
        }


@dataclass(frozen=True, kw_only=True)
class Serving:
    """What answers."""

    endpoints: Mapping[str, Endpoint] = field(default_factory=dict[str, Endpoint])
    caches: Mapping[str, Cache] = field(default_factory=dict[str, Cache])
    services: Services | None = None
    gateway: Gateway | None = None
    exchange: Exchange | None = None
    dashboards: Sequence[Dashboard] = ()
    """Pages with a row for each endpoint and each corpus; more than one where there are too many for one."""
    records: Mapping[str, Text] = field(default_factory=dict[str, Text])
    """Names that a person puts into the DNS, besides those of the gateway."""

    def exports(self) -> dict[str, Any]:
        """What callers need: where each endpoint is, and what answers there."""
        return {
            "endpoints": {
                name: {"id": found.id, "address": found.address, "version": found.version}
                for name, found in self.endpoints.items()
            },
            "caches": {name: {"address": found.address, "port": found.port} for name, found in self.caches.items()},
            "services": {name: dict(teams) for name, teams in self.services.grants.items()} if self.services else {},
            "records": {**(self.gateway.records if self.gateway else {}), **self.records},
            "dashboards": [page.address for page in self.dashboards],
            "exchange": {
                name: {"identity": found, "audience": self.exchange.audiences[name]}
                for name, found in self.exchange.identities.items()
            }
            if self.exchange
            else {},
        }


@dataclass(frozen=True, kw_only=True)
class Retrieval:
    """What answers are grounded in, and what is let through. What the description does not ask for is None."""

    guardrails: Guardrails
    corpora: Corpora | None = None
    ask: Ask | None = None

    def exports(self) -> dict[str, Any]:
        """What people need to put documents in, and to ask."""
        return {
            "guardrails": {
                name: {"id": found, "version": self.guardrails.versions[name]}
                for name, found in self.guardrails.ids.items()
            },
            "corpora": dict(self.corpora.sources) if self.corpora else {},
            "ask": self.ask.address if self.ask else "",
        }


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Everything that was built on one cloud."""

    region: str
    foundation: Foundation
    registry: Registry
    training: Training
    serving: Serving
    retrieval: Retrieval
    quotas: Quotas
    budgets: Budgets

    def exports(self) -> dict[str, Any]:
        """The stack's outputs for this cloud: what people and other programs need to find their way. No secret is in it."""
        base, registry = self.foundation, self.registry
        return {
            "account": base.isolation.account,
            "region": self.region,
            "keys": {domain: key.id for domain, key in base.keys.domains.items()},
            "network": {
                "id": base.network.id,
                "cidr": base.network.cidr,
                "workload_subnets": list(base.network.workload_subnets),
                "data_subnets": list(base.network.data_subnets),
            },
            "storage": {zone: bucket.uri for zone, bucket in base.storage.items()},
            "secrets": dict(base.secrets.ids),
            "personas": dict(base.personas.roles),
            "delivery": {"preview": base.delivery.preview, "deploy": base.delivery.deploy} if base.delivery else {},
            "notifications": {
                "critical": list(base.notifications.critical),
                "warning": list(base.notifications.warning),
            },
            "images": dict(registry.images.repositories),
            "models": {
                name: {"candidates": registry.models.candidates[name], "approved": registry.models.approved[name]}
                for name in registry.models.candidates
            },
            "training": self.training.exports(),
            "serving": self.serving.exports(),
            "retrieval": self.retrieval.exports(),
            "budgets": dict(self.budgets.names),
        }
