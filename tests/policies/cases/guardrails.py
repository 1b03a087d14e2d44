"""Rules on language models and what stands before them."""

from tests.policies.build import ACCOUNT, aws, bad, changed, document, gcp, good, make, ref, thing

PROD = aws("prod")
AT = f"arn:aws:bedrock:us-west-2:{ACCOUNT}"
MODEL = "arn:aws:bedrock:us-west-2::foundation-model/amazon.nova-lite-v1:0"
EMBEDS = "arn:aws:bedrock:us-west-2::foundation-model/amazon.titan-embed-text-v2:0"
GUARDRAIL = make(
    "aws:bedrock/guardrail:Guardrail",
    "default",
    inputs={
        "contentPolicyConfig": {
            "filtersConfigs": [
                {"type": kind, "inputStrength": "HIGH", "outputStrength": "HIGH"}
                for kind in ("HATE", "INSULTS", "MISCONDUCT", "SEXUAL", "VIOLENCE", "PROMPT_ATTACK")
            ]
        }
    },
)
VERSION = make("aws:bedrock/guardrailVersion:GuardrailVersion", inputs={"guardrailArn": ref(GUARDRAIL, "guardrailArn")})
KEY = "bedrock:GuardrailIdentifier"


def allows(*actions, on=MODEL, when=None, effect="Allow", more=()):
    statement = {"Effect": effect, "Action": list(actions), "Resource": on, **({"Condition": when} if when else {})}
    return make("aws:iam/rolePolicy:RolePolicy", inputs={"role": "app", "policy": document(statement, *more)})


def guarded(value=f"{AT}:guardrail/abc:3", operator="StringEquals"):
    return {operator: {KEY: value}}


TRUST = {"Effect": "Allow", "Principal": {"Federated": "arn:aws:iam::1:oidc-provider/x"}, "Action": "sts:AssumeRole"}
DEPLOYER = make("aws:iam/role:Role", "deploy", inputs={"assumeRolePolicy": document(TRUST)})
WITHOUT = {
    "Effect": "Deny",
    "Action": ["bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream"],
    "Resource": "*",
    "Condition": {"Null": {KEY: "true"}},
}
RULE = "prompt-guarded"
GUARDED = [
    bad(RULE, "none", "past every guardrail", PROD, allows("bedrock:InvokeModel")),
    bad(RULE, "streams", "past every", PROD, allows("bedrock:InvokeModelWithResponseStream", when={"Bool": {"a": "true"}})),
    bad(RULE, "a pattern", "past every", PROD, allows("bedrock:Invoke*", on=f"{AT}:inference-profile/a")),
    bad(RULE, "if it names one", "past every", PROD,
        allows("bedrock:InvokeModel", when=guarded(operator="StringEqualsIfExists"))),
    bad(RULE, "any", "past every", PROD, allows("bedrock:InvokeModel", when=guarded("*", "StringLike"))),
    bad(RULE, "refused of one model alone", "past every", PROD,
        allows("bedrock:InvokeModel", more=[{**WITHOUT, "Resource": MODEL}])),
    bad(RULE, "embeddings and more", "past every", PROD, allows("bedrock:InvokeModel", on=[EMBEDS, MODEL])),
    good(RULE, "a guardrail", PROD, allows("bedrock:InvokeModel", when=guarded())),
    good(RULE, "refused without", PROD, allows("bedrock:InvokeModel", more=[WITHOUT])),
    good(RULE, "embeddings", PROD, allows("bedrock:InvokeModel", on=EMBEDS)),
    good(RULE, "in dev", aws("dev"), allows("bedrock:InvokeModel")),
    good(RULE, "may not", PROD, allows("bedrock:InvokeModel", effect="Deny")),
    good(RULE, "the deployer", PROD, DEPLOYER, changed(allows("bedrock:*"), role=ref(DEPLOYER, "name"))),
    bad(RULE, "refused of one action alone", "past every", PROD,
        allows("bedrock:InvokeModel", more=[{**WITHOUT, "Action": "bedrock:InvokeModel"}])),
    bad(RULE, "refused for another reason", "past every", PROD,
        allows("bedrock:InvokeModel", more=[{**WITHOUT, "Condition": {"Null": {"aws:SourceVpc": "true"}}}])),
    bad(RULE, "refused with one", "past every", PROD,
        allows("bedrock:InvokeModel", more=[{**WITHOUT, "Condition": {"StringEquals": {KEY: "a:1"}}}])),
    bad(RULE, "allowed without", "past every", PROD,
        allows("bedrock:InvokeModel", more=[{**WITHOUT, "Effect": "Allow"}])),
    good(RULE, "something else", PROD, allows("bedrock:ApplyGuardrail", "s3:GetObject")),
]  # fmt: skip

RULE = "guardrail-versioned"
VERSIONED = [
    bad(RULE, "not published", "nothing publishes", GUARDRAIL),
    bad(RULE, "the draft", "of which the draft holds", allows("bedrock:InvokeModel", when=guarded(f"{AT}:guardrail/abc:DRAFT"))),
    bad(RULE, "no version", "of which the draft", allows("bedrock:InvokeModel", when=guarded(f"{AT}:guardrail/abc"))),
    bad(RULE, "no version of an output", "of which the draft", GUARDRAIL, VERSION,
        allows("bedrock:InvokeModel", when=guarded(ref(GUARDRAIL, "guardrailArn")))),
    bad(RULE, "any version", "of which the draft",
        allows("bedrock:InvokeModel", when=guarded(f"{AT}:guardrail/abc:*", "StringLike"))),
    good(RULE, "a version", GUARDRAIL, VERSION, allows("bedrock:InvokeModel", when=guarded())),
    good(RULE, "an output", GUARDRAIL, VERSION, allows(
        "bedrock:InvokeModel", when=guarded(f"{ref(GUARDRAIL, 'guardrailArn')}:{ref(VERSION, 'version')}"))),
    good(RULE, "other conditions", allows("bedrock:InvokeModel", when={"StringEquals": {"aws:SourceVpc": "vpc-1"}})),
    good(RULE, "none at all", allows("bedrock:InvokeModel", effect="Deny", when={"Null": {KEY: "true"}})),
]  # fmt: skip


def filters(**changed_to):
    base = {
        "piAndJailbreakFilterSettings": {"filterEnforcement": "ENABLED", "confidenceLevel": "LOW_AND_ABOVE"},
        "raiSettings": {
            "raiFilters": [
                {"filterType": kind, "confidenceLevel": "LOW_AND_ABOVE"}
                for kind in ("DANGEROUS", "HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT")
            ]
        },
    }
    return {key: value for key, value in {**base, **changed_to}.items() if value is not None}


def template(enforcement="INSPECT_AND_BLOCK", **found):
    inputs = {"filterConfig": filters(**found), "templateMetadata": {"enforcementType": enforcement}}
    return make("gcp:modelarmor/template:Template", inputs=inputs)


def floor(**inputs):
    base = {
        "enableFloorSettingEnforcement": True,
        "integratedServices": ["AI_PLATFORM"],
        "aiPlatformFloorSetting": {"inspectAndBlock": True},
    }
    found = {key: value for key, value in {**base, **inputs}.items() if value is not None}
    return make("gcp:modelarmor/floorsetting:Floorsetting", inputs=found)


def without(kind):
    kinds = GUARDRAIL.inputs["contentPolicyConfig"]["filtersConfigs"]
    return changed(GUARDRAIL, contentPolicyConfig={"filtersConfigs": [each for each in kinds if each["type"] != kind]})


RULE = "guardrail-strict"
WEAK = [{"type": "PROMPT_ATTACK", "inputStrength": "NONE", "outputStrength": "NONE"}]
LOOKS = [{**each, "inputAction": "NONE"} for each in GUARDRAIL.inputs["contentPolicyConfig"]["filtersConfigs"]]
STRICT = [
    bad(RULE, "no attacks", "attacks by prompt", PROD, without("PROMPT_ATTACK")),
    bad(RULE, "no strength", "attacks by prompt", PROD, changed(GUARDRAIL, contentPolicyConfig={"filtersConfigs": WEAK})),
    bad(RULE, "hate", "lets through HATE", PROD, without("HATE")),
    bad(RULE, "looks on", "lets through HATE", PROD, changed(GUARDRAIL, contentPolicyConfig={"filtersConfigs": LOOKS})),
    bad(RULE, "nothing", "attacks by prompt", PROD, changed(GUARDRAIL, contentPolicyConfig=None)),
    bad(RULE, "a template without attacks", "attacks by prompt", gcp("prod"),
        template(piAndJailbreakFilterSettings={"filterEnforcement": "DISABLED"})),
    bad(RULE, "a template without harm", "lets through DANGEROUS", gcp("prod"), template(raiSettings=None)),
    bad(RULE, "a template that tells", "stops nothing", gcp("prod"), template("INSPECT_ONLY")),
    good(RULE, "all of it", PROD, GUARDRAIL),
    good(RULE, "a template", gcp("prod"), template()),
    good(RULE, "in dev", aws("dev"), without("HATE")),
]  # fmt: skip

RULE = "guardrail-floor"
FLOORS = [
    bad(RULE, "none", "there is no floor", gcp("prod"), template()),
    bad(RULE, "not enforced", "not enforced", gcp("prod"), template(), floor(enableFloorSettingEnforcement=False)),
    bad(RULE, "of nothing", "not held", gcp("prod"), template(), floor(integratedServices=None)),
    bad(RULE, "that tells", "not held", gcp("prod"), template(), floor(aiPlatformFloorSetting={"inspectOnly": True})),
    good(RULE, "one", gcp("prod"), template(), floor()),
    good(RULE, "in dev", gcp("dev"), template()),
    good(RULE, "no guardrails", gcp("prod")),
]

PROFILE = make("aws:bedrock/inferenceProfile:InferenceProfile", inputs={"name": "acme-prod-chat"})
GROUP = make("aws:cloudwatch/logGroup:LogGroup", "prompts", inputs={"name": "acme-prod-prompts"})
BUCKET = make("aws:s3/bucket:Bucket", "logs", inputs={"bucket": "acme-prod-logs"})


def log(**config):
    return make(
        "aws:bedrockmodel/invocationLoggingConfiguration:InvocationLoggingConfiguration",
        inputs={"loggingConfig": config},
    )


RULE = "prompt-logged"
LOGGED = [
    bad(RULE, "nothing", "nothing keeps their prompts", PROD, PROFILE),
    bad(RULE, "an identity", "nothing keeps", PROD, allows("bedrock:InvokeModel")),
    bad(RULE, "in dev", "nothing keeps", aws("dev"), PROFILE, enforcement="advisory"),
    bad(RULE, "no text", "text is left out", PROD, GROUP,
        log(textDataDeliveryEnabled=False, cloudwatchConfig={"logGroupName": "acme-prod-prompts"})),
    bad(RULE, "somebody's bucket", "no group and no bucket", PROD, BUCKET, log(s3Config={"bucketName": "theirs"})),
    bad(RULE, "nowhere", "no group and no bucket", PROD, log()),
    bad(RULE, "to somebody's group", "no group and no bucket", PROD, log(cloudwatchConfig={"logGroupName": "theirs"})),
    bad(RULE, "an identity of another model", "nothing keeps", PROD, allows("bedrock:InvokeModel", on="*")),
    good(RULE, "to a group", PROD, PROFILE, GROUP, log(cloudwatchConfig={"logGroupName": ref(GROUP, "name")})),
    good(RULE, "to a group by name", PROD, PROFILE, GROUP, log(cloudwatchConfig={"logGroupName": "acme-prod-prompts"})),
    good(RULE, "to a bucket", PROD, PROFILE, BUCKET, log(s3Config={"bucketName": "acme-prod-logs", "keyPrefix": "prompts"})),
    good(RULE, "no models", PROD, allows("bedrock:InvokeModel", on=EMBEDS)),
]  # fmt: skip


def refused(on="prompts/*", effect="Deny", actions=("s3:GetObject", "s3:GetObjectVersion"), when=None):
    named = {"BoolIfExists": {"aws:PrincipalIsAWSService": "false"},
             "ArnNotLike": {"aws:PrincipalArn": [f"arn:aws:iam::{ACCOUNT}:role/auditor"]}}  # fmt: skip
    statement = {
        "Effect": effect,
        "Principal": "*",
        "Action": list(actions),
        "Resource": f"arn:aws:s3:::acme-prod-logs/{on}",
    }
    inputs = {"bucket": ref(BUCKET, "id"), "policy": document({**statement, "Condition": when or named})}
    return make("aws:s3/bucketPolicy:BucketPolicy", inputs=inputs)


def ends(prefix="prompts/", **more):
    rule = {"status": "Enabled", "filter": {"prefix": prefix}, "expiration": {"days": 30}, **more}
    inputs = {"bucket": ref(BUCKET, "id"), "rules": [rule]}
    return make("aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration", inputs=inputs)


def keyed(key="arn:aws:kms:us-west-2:1:key/logs"):
    rule = {"applyServerSideEncryptionByDefault": {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": key}}
    type_ = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
    return make(type_, inputs={"bucket": ref(BUCKET, "id"), "rules": [rule]})


def servers(log, **more):
    given = [{"name": "GUARDRAIL", "value": "it"}, *([{"name": "PROMPT_LOG", "value": log}] if log else [])]
    containers = [{"name": "vllm"}, {"name": "guard", "env": given}]
    return thing("apps/v1:Deployment", "chat", spec={"template": {"spec": {"containers": containers}}}, **more)


def dataset(**inputs):
    base = {
        "datasetId": "prompts",
        "defaultTableExpirationMs": 1,
        "defaultEncryptionConfiguration": {"kmsKeyName": "k"},
    }
    found = {key: value for key, value in {**base, **inputs}.items() if value is not None}
    return make("gcp:bigquery/dataset:Dataset", "prompts", inputs=found)


def table(**inputs):
    return make(
        "gcp:bigquery/table:Table", inputs={"datasetId": ref(DATASET, "datasetId"), "tableId": "endpoints", **inputs}
    )


def reader(member="group:audit@example.com", role="roles/bigquery.dataViewer"):
    inputs = {"datasetId": ref(DATASET, "datasetId"), "role": role, "member": member}
    return make("gcp:bigquery/datasetIamMember:DatasetIamMember", inputs=inputs)


def wide(role, member="group:everybody@example.com"):
    return make("gcp:projects/iAMMember:IAMMember", inputs={"project": "acme", "role": role, "member": member})


BEDROCK = log(s3Config={"bucketName": ref(BUCKET, "bucket"), "keyPrefix": "prompts"})
OURS = "s3://acme-prod-logs/prompts/endpoints/chat/"
DATASET = dataset()
TABLE = table(timePartitioning={"expirationMs": 1})
VERTEX = make("gcp:workflows/workflow:Workflow", inputs={
    "sourceContents": '{"url": "x:setPublisherModelConfig", "outputUri": "bq://acme.prompts.requests"}'})  # fmt: skip
ROWS = "projects/acme/datasets/prompts/tables/endpoints"
RULE = "prompt-private"
PRIVATE = [
    bad(RULE, "no key", "no key of ours", PROD, BUCKET, BEDROCK, refused(), ends()),
    bad(RULE, "a key of the cloud's", "no key of ours", PROD, BUCKET, BEDROCK, refused(), ends(), keyed(None)),
    bad(RULE, "no end", "stays for ever", PROD, BUCKET, BEDROCK, refused(), keyed()),
    bad(RULE, "an end of something else", "stays for ever", PROD, BUCKET, BEDROCK, refused(), keyed(), ends("capture/")),
    bad(RULE, "an end that is off", "stays for ever", PROD, BUCKET, BEDROCK, refused(), keyed(), ends(status="Disabled")),
    bad(RULE, "readers of the bucket", "may read the bucket", PROD, BUCKET, BEDROCK, keyed(), ends()),
    bad(RULE, "readers of a neighbour", "may read the bucket", PROD, BUCKET, BEDROCK, keyed(), ends(),
        refused("prompts/AWSLogs/*")),
    bad(RULE, "of old versions", "may read the bucket", PROD, BUCKET, BEDROCK, keyed(), ends(),
        refused(actions=["s3:GetObject"])),
    bad(RULE, "of all roles", "may read the bucket", PROD, BUCKET, BEDROCK, keyed(), ends(),
        refused(when={"ArnNotLike": {"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:role/*"}})),
    bad(RULE, "of one network", "may read the bucket", PROD, BUCKET, BEDROCK, keyed(), ends(),
        refused(when={"StringNotEquals": {"aws:SourceVpc": "vpc-1"}})),
    bad(RULE, "let in", "may read the bucket", PROD, BUCKET, BEDROCK, keyed(), ends(), refused(effect="Allow")),
    bad(RULE, "a group of logs", "a log, and whoever", PROD, GROUP, log(cloudwatchConfig={"logGroupName": "acme-prod-prompts"})),
    bad(RULE, "ours in the bucket", "may read the bucket", PROD, BUCKET, servers(OURS), keyed(), ends()),
    bad(RULE, "ours in a group of logs", "whoever may read logs", PROD, servers("/acme/prompts")),
    bad(RULE, "ours nowhere", "no place", PROD, servers(None)),
    bad(RULE, "ours in a log of the project", "whoever may read logs", gcp("prod"), servers("projects/acme/logs/prompts")),
    bad(RULE, "a data set for ever", "stays for ever", gcp("prod"), dataset(defaultTableExpirationMs=None), VERTEX),
    bad(RULE, "a data set without a key", "no key", gcp("prod"), dataset(defaultEncryptionConfiguration=None), VERTEX),
    bad(RULE, "a table for ever", "the table endpoints stays", gcp("prod"), DATASET, table(), servers(ROWS)),
    bad(RULE, "a whole domain", "domain:example.com is let in", gcp("prod"), DATASET, VERTEX, reader("domain:example.com")),
    bad(RULE, "whoever sees the project", "projectViewers:acme is let", gcp("prod"), DATASET, VERTEX,
        reader("projectViewers:acme")),
    bad(RULE, "readers of the project", "roles/bigquery.dataViewer on the whole", gcp("prod"), DATASET, VERTEX,
        wide("roles/bigquery.dataViewer")),
    bad(RULE, "viewers", "roles/viewer on the whole", gcp("prod"), DATASET, servers(ROWS), wide("roles/viewer")),
    good(RULE, "all of it", PROD, BUCKET, BEDROCK, servers(OURS), keyed(), ends(), refused()),
    good(RULE, "the whole bucket", PROD, BUCKET, BEDROCK, keyed(), ends(""), refused("*")),
    good(RULE, "on Google Cloud", gcp("prod"), DATASET, TABLE, VERTEX, servers(ROWS), reader(), wide("roles/bigquery.jobUser")),
    good(RULE, "another data set", gcp("prod"), dataset(datasetId="else", defaultTableExpirationMs=None), VERTEX),
    good(RULE, "no guard", PROD, thing("apps/v1:Deployment", "x", spec={"template": {"spec": {"containers": [{"name": "x"}]}}})),
]  # fmt: skip

CASES = [*GUARDED, *VERSIONED, *STRICT, *FLOORS, *LOGGED, *PRIVATE]
