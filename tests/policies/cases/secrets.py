"""Rules on secrets."""
# ruff: noqa: S106 - examples of what must not be there

from tests.policies.build import bad, good, make, ref

VERSION = "aws:secretsmanager/secretVersion:SecretVersion"
OTHER = make("aws:kms/key:Key", "key", inputs={})
SECRET = make("aws:secretsmanager/secret:Secret", "signing", inputs={"name": "acme-dev-signing"})
CLEAR = "secret-not-in-clear"
# Put together here, so that no scanner takes them for real.
ACCESS_KEY = "AKIA" + "IOSFODNN7" + "EXAMPLE"
PEM = "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIE"
GITHUB = "ghp_" + "a" * 36


def function(**variables):
    return make("aws:lambda/function:Function", inputs={"environment": {"variables": variables}})


def rotation(**rules):
    type_ = "aws:secretsmanager/secretRotation:SecretRotation"
    return make(type_, inputs={"secretId": ref(SECRET, "id"), "rotationRules": rules})


def gcp_secret(**inputs):
    return make("gcp:secretmanager/secret:Secret", inputs={"secretId": "s", **inputs})


CASES = [
    bad(CLEAR, "a value", "secretString is not a secret", make(VERSION, inputs={"secretString": "hunter2"})),
    bad(
        CLEAR,
        "a value on Google Cloud",
        "secretData is not",
        make("gcp:secretmanager/secretVersion:SecretVersion", inputs={"secretData": "hunter2"}),
    ),
    bad(
        CLEAR,
        "another resource's output",
        "is not known",
        OTHER,
        make(VERSION, inputs={"secretString": ref(OTHER, "id")}),
        enforcement="advisory",
    ),
    bad(CLEAR, "a variable", "DB_PASSWORD holds", function(DB_PASSWORD="hunter2")),
    bad(
        CLEAR,
        "a variable on Google Cloud",
        "hubToken holds",
        make(
            "gcp:cloudfunctionsv2/function:Function",
            inputs={"serviceConfig": {"environmentVariables": {"hubToken": "x"}}},
        ),
    ),
    bad(
        CLEAR,
        "an access key anywhere",
        "a credential",
        make("aws:sqs/queue:Queue", inputs={"tags": {"note": f"use {ACCESS_KEY} here"}}),
    ),
    bad(CLEAR, "a private key anywhere", "a credential", function(CERT=PEM)),
    bad(
        CLEAR,
        "a token deep inside",
        "a credential",
        make("aws:ssm/document:Document", inputs={"attachmentsSources": [{"values": [GITHUB]}]}),
    ),
    good(CLEAR, "a secret", make(VERSION, inputs={"secretString": "[secret]"})),
    good(
        CLEAR,
        "what the CLI does not tell",
        make(VERSION, inputs={"secretString": "hunter2"}),
        untold=("retain_on_delete", "secrets"),
    ),
    good(CLEAR, "no value", make(VERSION, inputs={"secretId": "s"})),
    good(
        CLEAR,
        "a secret variable, and the name of one",
        SECRET,
        function(DB_PASSWORD="[secret]", HUB_TOKEN=ref(SECRET, "arn"), SECRET_NAME="acme-dev-signing"),
    ),
    bad("secret-not-exported", "a credential", "the output key", outputs={"key": {"deep": [ACCESS_KEY]}}),
    bad(
        "secret-not-exported",
        "a secret's value",
        "the output value",
        make(VERSION, "v", inputs={}),
        outputs={"value": ref(make(VERSION, "v"), "secretString")},
    ),
    good(
        "secret-not-exported",
        "a secret's name, and a secret",
        SECRET,
        outputs={"arn": ref(SECRET, "arn"), "value": "[secret]", "n": 1},
    ),
    bad("secret-rotates", "nothing", "nothing rotates it", SECRET),
    bad("secret-rotates", "no schedule", "nothing rotates it", SECRET, rotation()),
    bad("secret-rotates", "nothing on Google Cloud", "no rotation period", gcp_secret()),
    good("secret-rotates", "every month", SECRET, rotation(automaticallyAfterDays=30)),
    good("secret-rotates", "a schedule", SECRET, rotation(scheduleExpression="rate(30 days)")),
    good("secret-rotates", "every month on Google Cloud", gcp_secret(rotation={"rotationPeriod": "2592000s"})),
]
