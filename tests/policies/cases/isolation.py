"""Rules on staying within the environment."""

from dataclasses import replace

from tests.policies.build import (
    ACCOUNT,
    NUMBER,
    PROJECT,
    STACK,
    aws,
    bad,
    changed,
    cluster,
    document,
    gcp,
    good,
    make,
    ref,
    thing,
    urn,
)

AWS, GCP = aws(), gcp()
EUROPE = aws(region="eu-central-1")
TOPIC = make("aws:sns/topic:Topic", inputs={"name": "acme-dev-alerts"})
PROVIDER, PINNED = "isolation-explicit-provider", "isolation-provider-pinned"
CLUSTER, EKS = "isolation-cluster-pinned", make("aws:eks/cluster:Cluster", inputs={"name": "acme-dev"})
PLACE, FOREIGN = "isolation-jurisdiction", "isolation-no-foreign"
DEFAULT = f"urn:pulumi:{STACK}::ai-platform::pulumi:providers:aws::default_7_51_1"


def changed_provider(provider):
    return replace(thing("core/v1:Namespace"), provider=provider)


def bucket(**inputs):
    return make("gcp:storage/bucket:Bucket", inputs={"name": "acme-dev-raw", **inputs})


def policy(*, principal=None, resource="*", **statement):
    value = {
        "Effect": "Allow",
        "Principal": principal or "*",
        "Action": "s3:GetObject",
        "Resource": resource,
        **statement,
    }
    return make("aws:s3/bucketPolicy:BucketPolicy", inputs={"policy": document(value)})


def member(who, name="it", **inputs):
    return make("gcp:pubsub/topicIAMMember:TopicIAMMember", name, inputs={"member": who, **inputs})


def agent(number):
    return f"serviceAccount:service-{number}@gcp-sa-pubsub.iam.gserviceaccount.com"


CASES = [
    bad(PROVIDER, "none", "no explicit provider", make("aws:sns/topic:Topic", provider="")),
    bad(PROVIDER, "the default one", "default_7_51_1", make("aws:sns/topic:Topic", provider=DEFAULT)),
    good(PROVIDER, "the environment's", AWS, TOPIC),
    good(
        PROVIDER,
        "a component, a stack",
        make("ai-platform:aws:Storage", custom=False),
        make("pulumi:pulumi:Stack", custom=False),
    ),
    good(
        PROVIDER,
        "a provider that is called default-like",
        make("aws:sns/topic:Topic", provider=urn("pulumi:providers:aws", "defaulting")),
    ),
    bad(PINNED, "no account", "the one account", changed(AWS, allowedAccountIds=None)),
    bad(PINNED, "two accounts", "the one account", changed(AWS, allowedAccountIds=[ACCOUNT, "333333333333"])),
    bad(PINNED, "no region", "no region", changed(AWS, region=None)),
    bad(PINNED, "no project", "no project", changed(GCP, project=None)),
    bad(PINNED, "a key", "a credential: accessKey", changed(AWS, accessKey="[secret]")),
    bad(PINNED, "somebody's profile", "a credential: profile", changed(AWS, profile="me")),
    good(PINNED, "an account and a region", AWS),
    good(PINNED, "a list that is no JSON", changed(AWS, allowedAccountIds=[ACCOUNT])),
    good(PINNED, "a project and a region", GCP),
    bad(
        PLACE,
        "a replica abroad",
        "eu-west-1 is outside",
        AWS,
        make("aws:s3/bucket:Bucket", inputs={"region": "eu-west-1"}),
    ),
    bad(
        PLACE,
        "the United Kingdom from the Union",
        "eu-west-2 is outside",
        EUROPE,
        make("aws:kms/replicaKey:ReplicaKey", inputs={"region": "eu-west-2"}),
    ),
    bad(PLACE, "a bucket abroad", "EU is outside", GCP, bucket(location="EU")),
    bad(
        PLACE,
        "a dual region abroad",
        "EUROPE-WEST1",
        GCP,
        bucket(location="US", customPlacementConfig={"dataLocations": ["US-CENTRAL1", "EUROPE-WEST1"]}),
    ),
    bad(
        PLACE,
        "a secret's replica abroad",
        "europe-west1",
        GCP,
        make(
            "gcp:secretmanager/secret:Secret",
            inputs={"replication": {"userManaged": {"replicas": [{"location": "europe-west1"}]}}},
        ),
    ),
    bad(
        PLACE,
        "messages abroad",
        "asia-east1",
        GCP,
        make("gcp:pubsub/topic:Topic", inputs={"messageStoragePolicy": {"allowedPersistenceRegions": ["asia-east1"]}}),
    ),
    bad(PLACE, "data anywhere", "global is outside", GCP, bucket(location="global")),
    bad(
        PLACE,
        "a second provider abroad",
        "eu-west-1 is outside",
        AWS,
        make("pulumi:providers:aws", "second", inputs={"region": "eu-west-1"}),
    ),
    good(PLACE, "a replica at home", AWS, make("aws:s3/bucket:Bucket", inputs={"region": "us-east-2"})),
    good(
        PLACE, "a replica in the Union", EUROPE, make("aws:kms/replicaKey:ReplicaKey", inputs={"region": "eu-west-1"})
    ),
    good(
        PLACE,
        "a zone",
        GCP,
        make("gcp:compute/instance:Instance", inputs={"zone": "us-central1-a"}),
        make("gcp:cloudfunctionsv2/function:Function", inputs={"location": "us-central1-a"}),
    ),
    good(
        PLACE,
        "two regions, a key ring for both",
        GCP,
        bucket(location="US"),
        make("gcp:kms/keyRing:KeyRing", inputs={"location": "us"}),
    ),
    good(PLACE, "a global service", GCP, make("gcp:cloudfunctionsv2/function:Function", inputs={"location": "global"})),
    good(
        PLACE,
        "no region to compare with",
        changed(AWS, region=None),
        make("aws:s3/bucket:Bucket", inputs={"region": "eu-west-1"}),
    ),
    bad(
        FOREIGN,
        "a principal",
        "the account 333333333333",
        AWS,
        policy(principal={"AWS": "arn:aws:iam::333333333333:root"}),
    ),
    bad(FOREIGN, "a bare account", "the account 333333333333", AWS, policy(principal={"AWS": "333333333333"})),
    bad(
        FOREIGN,
        "in a condition",
        "the account 333333333333",
        AWS,
        policy(Condition={"StringEquals": {"aws:SourceAccount": "333333333333"}}),
    ),
    bad(FOREIGN, "a bucket", "the bucket acme-prod-raw", AWS, policy(resource="arn:aws:s3:::acme-prod-raw/*")),
    bad(
        FOREIGN,
        "a project",
        "the project acme-ai-prod",
        GCP,
        make(
            "gcp:pubsub/topic:Topic",
            inputs={"kmsKeyName": "projects/acme-ai-prod/locations/us/keyRings/r/cryptoKeys/k"},
        ),
    ),
    bad(
        FOREIGN,
        "another project's topic",
        "the project acme-ai-prod",
        GCP,
        make("gcp:pubsub/topic:Topic", inputs={"project": "acme-ai-prod"}),
    ),
    bad(
        FOREIGN,
        "an account of a project",
        "the project acme-ai-prod",
        GCP,
        member("serviceAccount:ci@acme-ai-prod.iam.gserviceaccount.com"),
    ),
    good(
        FOREIGN,
        "itself",
        AWS,
        policy(principal={"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, resource="arn:aws:s3:::acme-dev-raw/*"),
    ),
    good(FOREIGN, "a bucket of AWS's", AWS, policy(resource="arn:aws:s3:::prod-us-west-2-starport-layer-bucket/*")),
    good(FOREIGN, "a bucket by reference", AWS, TOPIC, policy(resource=ref(TOPIC, "arn"))),
    good(
        FOREIGN,
        "the project itself",
        GCP,
        make("gcp:pubsub/topic:Topic", inputs={"project": PROJECT}),
        member(f"serviceAccount:ci@{PROJECT}.iam.gserviceaccount.com", "m"),
    ),
    good(FOREIGN, "a service agent", GCP, member(agent(NUMBER))),
    good(
        FOREIGN,
        "Google's images",
        GCP,
        make(
            "gcp:compute/instance:Instance",
            inputs={"bootDisk": {"initializeParams": {"image": "projects/cos-cloud/global/images/family/cos-stable"}}},
        ),
    ),
    good(
        FOREIGN,
        "how a provider signs in",
        changed(AWS, assumeRoles=[{"roleArn": "arn:aws:iam::333333333333:role/ci"}]),
        TOPIC,
    ),
    bad(
        "isolation-one-number",
        "another project's agent",
        "333333333333, not 222222222222",
        GCP,
        member(agent(NUMBER), "a"),
        member(agent(NUMBER), "b"),
        member(agent("333333333333"), "c"),
    ),
    good(
        "isolation-one-number",
        "one",
        GCP,
        member(agent(NUMBER), "a"),
        member(f"principal://iam.googleapis.com/projects/{NUMBER}/x", "b"),
    ),
    good("isolation-one-number", "none", AWS),
    bad(
        "isolation-named",
        "another environment",
        "acme-prod-alerts does not say dev",
        changed(TOPIC, name="acme-prod-alerts"),
    ),
    bad("isolation-named", "none", "no stated name", changed(TOPIC, name=None)),
    bad(
        "isolation-named",
        "a secret on Google Cloud",
        "does not say dev",
        make("gcp:secretmanager/secret:Secret", inputs={"secretId": "signing"}),
    ),
    good("isolation-named", "this environment", TOPIC),
    good(
        "isolation-named", "with slashes", make("aws:secretsmanager/secret:Secret", inputs={"name": "acme/dev/signing"})
    ),
    good(
        "isolation-named",
        "another resource's name",
        TOPIC,
        make("aws:sqs/queue:Queue", inputs={"name": ref(TOPIC, "name")}),
    ),
    bad(
        "isolation-named-once",
        "twice",
        "acme-dev-alerts is the name of it too",
        TOPIC,
        make("aws:sns/topic:Topic", "twin", inputs={"name": "acme-dev-alerts"}),
    ),
    bad(
        "isolation-named-once",
        "services of one region",
        "acme-dev-ingestion is the name of ingestion too",
        make("gcp:cloudrunv2/service:Service", "ingestion", inputs={"name": "acme-dev-ingestion", "location": "here"}),
        make("gcp:cloudrunv2/service:Service", "served", inputs={"name": "acme-dev-ingestion", "location": "here"}),
    ),
    good(
        "isolation-named-once",
        "two regions, two kinds, and names that are not known",
        make("gcp:pubsub/topic:Topic", "one", inputs={"name": "acme-dev-ingestion"}),
        make("gcp:pubsub/subscription:Subscription", "two", inputs={"name": "acme-dev-ingestion"}),
        make("gcp:cloudrunv2/service:Service", "here", inputs={"name": "acme-dev-ingestion", "location": "here"}),
        make("gcp:cloudrunv2/service:Service", "there", inputs={"name": "acme-dev-ingestion", "location": "there"}),
        make("aws:sqs/queue:Queue", "three", inputs={"name": ref(TOPIC, "name")}),
        make("aws:sqs/queue:Queue", "four", inputs={"name": ref(TOPIC, "name")}),
    ),
    bad(PROVIDER, "an object in whatever cluster", "no explicit provider", changed_provider("")),
    bad(PROVIDER, "an object by default", "the default one", changed_provider(DEFAULT.replace("aws", "kubernetes"))),
    good(PROVIDER, "an object in its cluster", thing("core/v1:Namespace")),
    bad(CLUSTER, "none", "the caller used last", changed(cluster(EKS), kubeconfig=None)),
    bad(CLUSTER, "another's", "not one that this program makes", cluster()),
    bad(CLUSTER, "no identifier", "nothing says which cluster", EKS, changed(cluster(EKS), clusterIdentifier=None)),
    bad(
        CLUSTER,
        "a token",
        "a credential: token",
        EKS,
        changed(cluster(EKS), kubeconfig='{"users": [{"name": "it", "user": {"token": "x"}}]}'),
    ),
    good(CLUSTER, "its own", EKS, cluster(EKS)),
]
