"""Rules on retrieval."""

import json

from tests.policies.build import bad, changed, document, good, make, ref

EMBEDS = "arn:aws:bedrock:us-west-2::foundation-model/amazon.titan-embed-text-v2:0"
BUCKET = make("aws:s3/bucket:Bucket", "raw", inputs={"bucket": "acme-prod-raw"})
ROLE = make("aws:iam/role:Role", "corpus", inputs={"name": "acme-prod-corpus-policies"})


SECRET = "arn:aws:secretsmanager:us-west-2:111111111111:secret:acme-prod-corpus-policies-abcdef"  # noqa: S105 - its name
SIGNS_IN = {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": SECRET}


def base(name="policies", role=ROLE):
    config = {"type": "VECTOR", "vectorKnowledgeBaseConfiguration": {"embeddingModelArn": EMBEDS}}
    inputs = {"knowledgeBaseConfiguration": config, "roleArn": ref(role, "arn") if role else "arn:aws:iam::1:role/a"}
    inputs["storageConfiguration"] = {"rdsConfiguration": {"credentialsSecretArn": SECRET}}
    return make("aws:bedrock/agentKnowledgeBase:AgentKnowledgeBase", name, inputs=inputs)


READS = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"{ref(BUCKET, 'arn')}/documents/policies/*"}
LISTS = {
    "Effect": "Allow",
    "Action": "s3:ListBucket",
    "Resource": ref(BUCKET, "arn"),
    "Condition": {"StringLike": {"s3:prefix": ["documents/policies/*"]}},
}
MODEL = {"Effect": "Allow", "Action": "bedrock:InvokeModel", "Resource": EMBEDS}


def may(*statements):
    return make("aws:iam/rolePolicy:RolePolicy", inputs={"role": ref(ROLE, "name"), "policy": document(*statements)})


def attached(*statements):
    policy = make("aws:iam/policy:Policy", inputs={"policy": document(*statements)})
    attachment = make(
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
        inputs={"role": ref(ROLE, "name"), "policyArn": ref(policy, "arn")},
    )
    return policy, attachment


RULE = "corpus-narrow"
NARROW = [
    bad(RULE, "the whole bucket", "more than a folder", ROLE, base(), may({**READS, "Resource": f"{ref(BUCKET, 'arn')}/*"})),
    bad(RULE, "every bucket", "more than a folder", ROLE, base(), may({**READS, "Resource": "*"})),
    bad(RULE, "by an attached policy", "more than a folder", ROLE, base(),
        *attached({**READS, "Resource": "arn:aws:s3:::acme-prod-raw/*"})),
    bad(RULE, "in a folder of every bucket", "more than a folder", ROLE, base(),
        may({**READS, "Resource": "arn:aws:s3:::*/documents/policies/*"})),
    bad(RULE, "all but something", "more than a folder", ROLE, base(),
        may({"Effect": "Allow", "NotAction": "iam:*", "NotResource": "arn:aws:s3:::other"})),
    bad(RULE, "in the role itself", "more than a folder", base(),
        changed(ROLE, inlinePolicies=[{"policy": document({**READS, "Resource": "*"})}])),
    bad(RULE, "all names", "lists the whole", ROLE, base(), may({**LISTS, "Condition": {}})),
    bad(RULE, "every model", "not what it embeds with", ROLE, base(), may({**MODEL, "Resource": "*"})),
    bad(RULE, "another model", "not what it embeds with", ROLE, base(),
        may({**MODEL, "Resource": "arn:aws:bedrock:us-west-2::foundation-model/amazon.nova-lite-v1:0"})),
    bad(RULE, "a shared role", "it has the role of claims", ROLE, base(), base("claims"), may(READS)),
    bad(RULE, "somebody's role", "nobody of this program", base(role=None)),
    bad(RULE, "another's password", "not what it signs in with", ROLE, base(),
        may({**SIGNS_IN, "Resource": SECRET.replace("policies", "claims")})),
    good(RULE, "its own", ROLE, base(), may(READS, LISTS, MODEL, SIGNS_IN)),
    good(RULE, "its own, attached", ROLE, base(), *attached(READS, LISTS, MODEL)),
]  # fmt: skip


def rule(*kinds, prefix="documents/"):
    pattern = {"source": ["aws.s3"], "detail-type": list(kinds), "detail": {"object": {"key": [{"prefix": prefix}]}}}
    return make("aws:cloudwatch/eventRule:EventRule", inputs={"eventPattern": json.dumps(pattern)})


def told(*events, prefix="documents/"):
    queue = {"queueArn": "arn", "events": list(events), "filterPrefix": prefix}
    return make("aws:s3/bucketNotification:BucketNotification", inputs={"queues": [queue]})


def told_by_google(*events, prefix="documents/policies/"):
    return make(
        "gcp:storage/notification:Notification", inputs={"eventTypes": list(events), "objectNamePrefix": prefix}
    )


def source(policy):
    return make("aws:bedrock/agentDataSource:AgentDataSource", inputs={"dataDeletionPolicy": policy})


GONE = "not of those that go"
RULE = "corpus-forgets"
FORGETS = [
    bad(RULE, "a rule", GONE, rule("Object Created")),
    bad(RULE, "a notification", GONE, told("s3:ObjectCreated:*")),
    bad(RULE, "Google Cloud", GONE, told_by_google("OBJECT_FINALIZE")),
    bad(RULE, "left behind", "stays when it goes", source("RETAIN")),
    good(RULE, "both", rule("Object Created", "Object Deleted"), told("s3:ObjectCreated:*", "s3:ObjectRemoved:*")),
    good(RULE, "both on Google Cloud", told_by_google("OBJECT_FINALIZE", "OBJECT_DELETE"), source("DELETE")),
    good(RULE, "every event", told_by_google()),
    good(RULE, "deletions alone", rule("Object Deleted"), told("s3:ObjectRemoved:*")),
    good(RULE, "other folders of Google Cloud", told_by_google("OBJECT_FINALIZE", prefix="raw/")),
    good(RULE, "other folders", rule("Object Created", prefix="raw/"), told("s3:ObjectCreated:*", prefix="raw/")),
]

DEAD = make("aws:sqs/queue:Queue", "dead", inputs={"name": "acme-prod-documents-failed"})
QUEUE = make(
    "aws:sqs/queue:Queue",
    "work",
    inputs={"redrivePolicy": json.dumps({"deadLetterTargetArn": ref(DEAD, "arn"), "maxReceiveCount": 5})},
)
WATCH = make(
    "aws:cloudwatch/metricAlarm:MetricAlarm",
    inputs={
        "metricName": "ApproximateNumberOfMessagesVisible",
        "dimensions": {"QueueName": "acme-prod-documents-failed"},
    },
)
BY_QUEUE = make(
    "aws:cloudwatch/metricAlarm:MetricAlarm",
    inputs={"metricName": "ApproximateNumberOfMessagesVisible", "dimensions": {"QueueName": ref(DEAD, "name")}},
)
APART = make(
    "aws:sqs/redrivePolicy:RedrivePolicy",
    inputs={"queueUrl": ref(QUEUE, "url"), "redrivePolicy": QUEUE.inputs["redrivePolicy"]},
)
OTHER = changed(WATCH, dimensions={"QueueName": "acme-prod-other"})


def reads(*types):
    inputs = {"eventSourceArn": ref(QUEUE, "arn"), "functionName": "f", "functionResponseTypes": list(types)}
    return make("aws:lambda/eventSourceMapping:EventSourceMapping", inputs=inputs)


ONE = "ReportBatchItemFailures"
PUSHED = make("gcp:pubsub/subscription:Subscription", inputs={"pushConfig": {"pushEndpoint": "https://a"}})
RULE = "ingestion-loses-nothing"
LOSES = [
    bad(RULE, "all or none", "brings back all", QUEUE, DEAD, WATCH, reads()),
    bad(RULE, "no dead letters", "no dead letters", changed(QUEUE, redrivePolicy=None), reads(ONE)),
    bad(RULE, "nobody hears", "nobody hears", QUEUE, DEAD, reads(ONE)),
    bad(RULE, "an alarm on another queue", "nobody hears", QUEUE, DEAD, OTHER, reads(ONE)),
    bad(RULE, "Google Cloud", "until it expires", PUSHED),
    good(RULE, "pulled", changed(PUSHED, pushConfig=None)),
    good(RULE, "dead letters that are said apart", changed(QUEUE, redrivePolicy=None), DEAD, WATCH, APART, reads(ONE)),
    bad(
        RULE,
        "nobody hears of those said apart",
        "nobody hears",
        changed(QUEUE, redrivePolicy=None),
        DEAD,
        APART,
        reads(ONE),
    ),
    good(RULE, "by the queue's own name", QUEUE, DEAD, BY_QUEUE, reads(ONE)),
    good(RULE, "kept and heard of", QUEUE, DEAD, WATCH, reads(ONE)),
    good(RULE, "kept on Google Cloud", changed(PUSHED, deadLetterPolicy={"deadLetterTopic": "t"})),
    good(RULE, "a stream", make("aws:lambda/eventSourceMapping:EventSourceMapping", inputs={"eventSourceArn": "arn"})),
]


TRUST = {"Effect": "Allow", "Principal": {"Federated": "arn:aws:iam::1:oidc-provider/x"}, "Action": "sts:AssumeRole"}
DEPLOYER = make("aws:iam/role:Role", "deploy", inputs={"assumeRolePolicy": document(TRUST)})


def writes(*actions, path="prompts/", effect="Allow"):
    statement = {"Effect": effect, "Action": list(actions), "Resource": f"{ref(BUCKET, 'arn')}/{path}*"}
    return make("aws:iam/rolePolicy:RolePolicy", inputs={"role": "ana", "policy": document(statement)})


RULE = "prompt-log-kept"
KEPT = [
    bad(RULE, "writes", "s3:PutObject", writes("s3:PutObject")),
    bad(RULE, "deletes", "s3:DeleteObject", writes("s3:GetObject", "s3:Delete*")),
    bad(RULE, "everything", "s3:PutObject", writes("s3:*")),
    bad(RULE, "of every endpoint", "s3:PutObject", writes("s3:PutObject", path="prompts/endpoints/")),
    bad(
        RULE,
        "deletes what it added",
        "s3:Delete",
        writes("s3:PutObject", "s3:DeleteObject", path="prompts/endpoints/chat/"),
    ),
    bad(RULE, "beside its own", "s3:PutObject", writes("s3:PutObject", path="prompts/AWSLogs/chat/")),
    good(RULE, "adds to its own", writes("s3:PutObject", path="prompts/endpoints/chat/")),
    good(RULE, "reads", writes("s3:GetObject")),
    good(RULE, "the deployer", DEPLOYER, changed(writes("s3:*"), role=ref(DEPLOYER, "name"))),
    good(RULE, "may not", writes("s3:PutObject", effect="Deny")),
    good(RULE, "writes elsewhere", writes("s3:PutObject", path="capture/")),
]

CASES = [*NARROW, *FORGETS, *LOSES, *KEPT]
