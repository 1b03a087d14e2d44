"""Rules on who may do what."""

from tests.policies.build import ACCOUNT, NUMBER, PROJECT, aws, bad, changed, document, gcp, good, make, ref

KEY = make("aws:kms/key:Key", "key", inputs={})
ARN = f"arn:aws:iam::{ACCOUNT}"
BOUNDARY = make(
    "aws:iam/policy:Policy",
    "boundary",
    inputs={"policy": document({"Effect": "Allow", "Action": "*", "Resource": "*"})},
)
HOST = "token.actions.githubusercontent.com"
FEDERATED = {
    "Effect": "Allow",
    "Principal": {"Federated": f"{ARN}:oidc-provider/{HOST}"},
    "Action": "sts:AssumeRoleWithWebIdentity",
    "Condition": {
        "StringEquals": {f"{HOST}:sub": "repo:acme/ai-platform:environment:dev", f"{HOST}:aud": "sts.amazonaws.com"}
    },
}
DEPLOYER = make("aws:iam/role:Role", "deploy", inputs={"assumeRolePolicy": document(FEDERATED)})
DEPLOY_ACCOUNT = make("gcp:serviceaccount/account:Account", "deploy", inputs={"accountId": "deploy"})
FROM_CI = make(
    "gcp:serviceaccount/iAMMember:IAMMember",
    "ci",
    inputs={
        "serviceAccountId": ref(DEPLOY_ACCOUNT, "name"),
        "role": "roles/iam.workloadIdentityUser",
        "member": f"principalSet://iam.googleapis.com/projects/{NUMBER}/locations/global/workloadIdentityPools/ci/attribute.repository/acme/a",
    },
)
WORKLOAD = f"serviceAccount:rotation@{PROJECT}.iam.gserviceaccount.com"


def policy(**statement):
    statement = {"Effect": "Allow", "Resource": "*", **statement}
    return make("aws:iam/policy:Policy", "policy", inputs={"policy": document(statement)})


def of_deployer(policy_, waits_for=None):
    attachment = make(
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
        inputs={"role": ref(waits_for, "id") if waits_for else "deploy", "policyArn": ref(policy_, "arn")},
        comes_from={"role": DEPLOYER},
    )
    return policy_, attachment, DEPLOYER


def log_policy(
    *actions, who="events.amazonaws.com", resource=f"arn:aws:logs:us-west-2:{ACCOUNT}:log-group:/aws/events/a:*"
):
    statement = {"Effect": "Allow", "Principal": {"Service": who}, "Action": list(actions), "Resource": resource}
    return make("aws:cloudwatch/logResourcePolicy:LogResourcePolicy", inputs={"policyDocument": document(statement)})


def role(**inputs):
    return make("aws:iam/role:Role", "role", inputs=inputs)


def trust(principal, **statement):
    return role(
        assumeRolePolicy=document({"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", **statement})
    )


def topic(principal, **statement):
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sns:Publish", "Resource": "*", **statement}
    return make("aws:sns/topicPolicy:TopicPolicy", inputs={"policy": document(statement)})


def when(operator, key, value):
    return {"Condition": {operator: {key: value}}}


def granted(role_, member=WORKLOAD, kind="projects/iAMMember:IAMMember", **inputs):
    stated = {"role": role_, "member": member, **inputs}
    return make(f"gcp:{kind}", inputs={key: value for key, value in stated.items() if value})


def to_deployer(role_):
    return DEPLOY_ACCOUNT, FROM_CI, granted(role_, f"serviceAccount:{ref(DEPLOY_ACCOUNT, 'email')}")


def custom(*permissions):
    return make(
        "gcp:projects/iAMCustomRole:IAMCustomRole", "custom", inputs={"roleId": "r", "permissions": list(permissions)}
    )


BINDING = "projects/iAMBinding:IAMBinding"
ANYONE_POLICY = '{"bindings": [{"role": "roles/storage.objectViewer", "members": ["allUsers"]}]}'
DENY = make("gcp:iam/denyPolicy:DenyPolicy", inputs={"name": "boundary"})
ALL_IDENTITIES = [f"{ARN}:role/*"]

ACCOUNT_DEFAULTS = (
    make("aws:accessanalyzer/analyzer:Analyzer", inputs={"analyzerName": "acme-dev"}),
    make("aws:ebs/encryptionByDefault:EncryptionByDefault", inputs={}),
    make("aws:s3/accountPublicAccessBlock:AccountPublicAccessBlock", inputs={"blockPublicPolicy": True}),
    make("aws:ebs/snapshotBlockPublicAccess:SnapshotBlockPublicAccess", inputs={"state": "block-all-sharing"}),
    make("aws:ec2/instanceMetadataDefaults:InstanceMetadataDefaults", inputs={"httpTokens": "required"}),
)


def without(i, **inputs):
    """The account's defaults, one changed, or left out where nothing is given."""
    rest = ACCOUNT_DEFAULTS[:i] + ACCOUNT_DEFAULTS[i + 1 :]
    return (*rest, changed(ACCOUNT_DEFAULTS[i], **inputs)) if inputs else rest


FULL, SERVICE, ESCALATION = "identity-no-full-admin", "identity-no-service-admin", "identity-no-escalation"
ANONYMOUS, SOURCE, DECRYPT = "identity-no-anonymous", "identity-source-named", "identity-decrypt-named"


def balancer_logs(on=f"arn:aws:s3:::acme-dev-logs/access/AWSLogs/{ACCOUNT}/*", action="s3:PutObject"):
    who = {"Service": "logdelivery.elasticloadbalancing.amazonaws.com"}
    statement = {"Effect": "Allow", "Principal": who, "Action": action, "Resource": on}
    return make("aws:s3/bucketPolicy:BucketPolicy", inputs={"policy": document(statement)})


def fargate(action: str):
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "fargate.amazonaws.com"},
        "Action": action,
        "Resource": "*",
    }
    return make("aws:kms/key:Key", inputs={"policy": document(statement)})


CALLERS = changed(
    FROM_CI, member=FROM_CI.inputs["member"].replace("attribute.repository/acme/a", "attribute.endpoint/fraud")
)
AS_DEPLOYER = granted("roles/storage.admin", f"serviceAccount:{ref(DEPLOY_ACCOUNT, 'email')}")

CASES = [
    bad(
        "identity-no-service-admin",
        "callers of an endpoint",
        "on the whole project",
        DEPLOY_ACCOUNT,
        CALLERS,
        AS_DEPLOYER,
    ),
    good("identity-source-named", "logs of load balancers", balancer_logs()),
    good("identity-source-named", "Fargate looks at a key", fargate("kms:DescribeKey")),
    bad(
        "identity-source-named", "Fargate uses a key", "may act for any", fargate("kms:GenerateDataKeyWithoutPlaintext")
    ),
    bad(
        "identity-source-named",
        "logs of any account",
        "may act for any",
        balancer_logs("arn:aws:s3:::acme-dev-logs/AWSLogs/*"),
    ),
    bad(
        "identity-source-named",
        "more than logs",
        "may act for any",
        balancer_logs(action=["s3:PutObject", "s3:GetObject"]),
    ),
    good("identity-no-service-admin", "the deployer of Google Cloud", DEPLOY_ACCOUNT, FROM_CI, AS_DEPLOYER),
    bad(FULL, "everything", "every action on everything", policy(Action="*")),
    bad(FULL, "everything, spelt otherwise", "every action", policy(Action=["*:*"], Resource=["*"])),
    bad(FULL, "everything but", "every action", policy(NotAction="iam:*")),
    bad(
        FULL,
        "everything on everything but",
        "every action",
        policy(Action="*", Resource=None, NotResource="arn:aws:s3:::x"),
    ),
    bad(
        FULL,
        "in an inline policy",
        "every action",
        role(inlinePolicies=[{"policy": document({"Effect": "Allow", "Action": "*", "Resource": "*"})}]),
    ),
    bad(
        FULL,
        "in a role's policy",
        "every action",
        make(
            "aws:iam/rolePolicy:RolePolicy",
            inputs={"policy": document({"Effect": "Allow", "Action": "*", "Resource": "*"})},
        ),
    ),
    bad(FULL, "even the deployer", "every action", *of_deployer(policy(Action="*"))),
    bad(
        FULL,
        "a boundary that is attached too",
        "every action",
        BOUNDARY,
        role(permissionsBoundary=ref(BOUNDARY, "arn")),
        of_deployer(BOUNDARY)[1],
    ),
    bad(
        FULL,
        "a managed policy",
        "AdministratorAccess",
        make(
            "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
            inputs={"policyArn": "arn:aws:iam::aws:policy/AdministratorAccess"},
        ),
    ),
    bad(
        FULL,
        "a managed policy of a role",
        "PowerUserAccess",
        role(managedPolicyArns=["arn:aws:iam::aws:policy/PowerUserAccess"]),
    ),
    bad(FULL, "an editor", "given roles/editor", granted("roles/editor")),
    bad(
        FULL,
        "owners by a binding",
        "user:a@example.com is given roles/owner",
        granted("roles/owner", None, BINDING, members=["user:a@example.com"]),
    ),
    good(FULL, "named actions", policy(Action=["s3:GetObject"])),
    good(FULL, "everything on one bucket", policy(Action="*", Resource="arn:aws:s3:::acme-dev-raw/*")),
    good(FULL, "a denial", policy(Effect="Deny", Action="*")),
    good(FULL, "a boundary", BOUNDARY, role(permissionsBoundary=ref(BOUNDARY, "arn"))),
    good(FULL, "a reader", granted("roles/viewer"), role(managedPolicyArns=["arn:aws:iam::aws:policy/SecurityAudit"])),
    bad(SERVICE, "a whole service", "allows s3:* on everything", policy(Action=["s3:*"])),
    bad(SERVICE, "a whole service by its ARN", "allows s3:*", policy(Action="s3:*", Resource="arn:aws:s3:::*")),
    bad(SERVICE, "an administrator", "roles/storage.admin on the whole project", granted("roles/storage.admin")),
    good(SERVICE, "on one resource", policy(Action="s3:*", Resource="arn:aws:s3:::acme-dev-raw")),
    good(SERVICE, "a resource that is not known", KEY, policy(Action="kms:*", Resource=ref(KEY, "arn"))),
    good(SERVICE, "the deployer", *of_deployer(policy(Action="s3:*"))),
    good(
        SERVICE,
        "the deployer's inline policy",
        changed(
            DEPLOYER, inlinePolicies=[{"policy": document({"Effect": "Allow", "Action": "s3:*", "Resource": "*"})}]
        ),
    ),
    bad(
        SERVICE,
        "a workload in a cluster, which is no deployer",
        "roles/storage.admin on the whole project",
        DEPLOY_ACCOUNT,
        changed(FROM_CI, member=f"serviceAccount:{PROJECT}.svc.id.goog[ns/app]"),
        to_deployer("roles/storage.admin")[2],
    ),
    bad(
        SERVICE,
        "an account that a federated identity may only look at",
        "roles/storage.admin on the whole project",
        DEPLOY_ACCOUNT,
        changed(FROM_CI, role="roles/iam.serviceAccountViewer"),
        to_deployer("roles/storage.admin")[2],
    ),
    good(
        SERVICE,
        "the deployer, whose name waits for something else",
        KEY,
        *of_deployer(policy(Action="s3:*"), waits_for=KEY),
    ),
    good(
        SERVICE,
        "the deployer, whose name waits for something that is not there",
        *of_deployer(policy(Action="s3:*"), waits_for=KEY),
    ),
    bad(
        SERVICE,
        "the deployer's policy, somebody else's too",
        "allows s3:*",
        *of_deployer(policy(Action="s3:*")),
        role(),
        make(
            "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
            "other",
            inputs={"role": ref(role(), "name"), "policyArn": ref(policy(Action="s3:*"), "arn")},
        ),
    ),
    good(SERVICE, "the deployer on Google Cloud", *to_deployer("roles/storage.admin")),
    good(SERVICE, "on one bucket", granted("roles/storage.admin", kind="storage/bucketIAMMember:BucketIAMMember")),
    good(
        SERVICE,
        "a service agent",
        granted(
            "roles/container.serviceAgentAdmin",
            f"serviceAccount:service-{NUMBER}@container-engine-robot.iam.gserviceaccount.com",
        ),
    ),
    bad(ESCALATION, "pass any role", "iam:PassRole", policy(Action="iam:PassRole")),
    bad(
        ESCALATION, "pass any role of the account", "iam:PassRole", policy(Action="iam:Pass*", Resource=ALL_IDENTITIES)
    ),
    bad(
        ESCALATION,
        "a condition that holds without the key",
        "iam:PassRole",
        policy(Action="iam:PassRole", **when("StringEqualsIfExists", "iam:PassedToService", "sagemaker.amazonaws.com")),
    ),
    bad(
        ESCALATION,
        "a condition that takes all",
        "iam:PassRole",
        policy(Action="iam:PassRole", **when("StringLike", "iam:PassedToService", "*")),
    ),
    bad(ESCALATION, "write policies", "iam:CreatePolicyVersion", policy(Action=["iam:CreatePolicyVersion"])),
    bad(
        ESCALATION,
        "become any account",
        "roles/iam.serviceAccountTokenCreator",
        granted("roles/iam.serviceAccountTokenCreator"),
    ),
    bad(ESCALATION, "a person", "user:a@example.com", granted("roles/iam.serviceAccountUser", "user:a@example.com")),
    bad(
        ESCALATION,
        "a role of ours",
        "iam.serviceAccounts.actAs",
        custom("iam.serviceAccounts.actAs", "storage.objects.get"),
    ),
    bad(
        ESCALATION,
        "a role of ours, of others too",
        "resourcemanager.projects.setIamPolicy",
        custom("resourcemanager.projects.setIamPolicy"),
        DEPLOY_ACCOUNT,
        FROM_CI,
        granted(ref(custom(), "name")),
    ),
    good(ESCALATION, "one role", policy(Action="iam:PassRole", Resource=f"{ARN}:role/acme-dev-training")),
    good(
        ESCALATION,
        "to one service",
        policy(Action="iam:PassRole", **when("StringEquals", "iam:PassedToService", "sagemaker.amazonaws.com")),
    ),
    good(
        ESCALATION,
        "within the boundary",
        policy(Action="iam:CreateRole", **when("StringEquals", "iam:PermissionsBoundary", f"{ARN}:policy/b")),
    ),
    good(ESCALATION, "the deployer", *of_deployer(policy(Action=["iam:CreateRole", "iam:PassRole"]))),
    good(ESCALATION, "the deployer on Google Cloud", *to_deployer("roles/resourcemanager.projectIamAdmin")),
    good(
        ESCALATION,
        "the deployer's own role",
        custom("resourcemanager.projects.setIamPolicy"),
        *to_deployer(ref(custom(), "name")),
    ),
    good(
        ESCALATION, "on one account", granted("roles/iam.serviceAccountUser", kind="serviceaccount/iAMMember:IAMMember")
    ),
    good(
        ESCALATION,
        "a service agent",
        granted(
            "roles/iam.serviceAccountTokenCreator",
            f"serviceAccount:service-{NUMBER}@gcp-sa-pubsub.iam.gserviceaccount.com",
        ),
    ),
    good(ESCALATION, "a reader's role", custom("storage.objects.get")),
    bad(ANONYMOUS, "everybody", "allows everybody", topic("*")),
    bad(ANONYMOUS, "everybody of AWS", "allows everybody", topic({"AWS": "*"})),
    bad(ANONYMOUS, "everybody in a list", "allows everybody", topic({"AWS": [f"{ARN}:root", "*"]})),
    bad(ANONYMOUS, "every account's role", "allows everybody", trust({"AWS": "arn:aws:iam::*:role/admin"})),
    bad(
        ANONYMOUS,
        "everybody but",
        "allows everybody",
        make(
            "aws:sqs/queue:Queue",
            inputs={
                "policy": document(
                    {"Effect": "Allow", "NotPrincipal": {"AWS": f"{ARN}:root"}, "Action": "sqs:*", "Resource": "*"}
                )
            },
        ),
    ),
    bad(
        ANONYMOUS,
        "a condition that can be dodged",
        "allows everybody",
        topic("*", **when("StringEqualsIfExists", "aws:PrincipalOrgID", "o-a")),
    ),
    bad(
        ANONYMOUS,
        "a condition that excludes",
        "allows everybody",
        topic("*", **when("StringNotEquals", "aws:SourceAccount", "1")),
    ),
    bad(
        ANONYMOUS,
        "a condition that takes all",
        "allows everybody",
        topic("*", **when("ArnLike", "aws:SourceArn", "arn:*")),
    ),
    bad(
        ANONYMOUS,
        "a condition on something else",
        "allows everybody",
        topic("*", **when("Bool", "aws:SecureTransport", "true")),
    ),
    bad(ANONYMOUS, "a role for everybody", "allows everybody", trust("*")),
    bad(
        ANONYMOUS,
        "all users",
        "allUsers is given",
        granted("roles/storage.objectViewer", "allUsers", "storage/bucketIAMMember:BucketIAMMember"),
    ),
    bad(
        ANONYMOUS,
        "all users of Google",
        "allAuthenticatedUsers",
        granted(
            "roles/cloudkms.cryptoKeyDecrypter",
            None,
            "kms/cryptoKeyIAMBinding:CryptoKeyIAMBinding",
            members=["allAuthenticatedUsers"],
        ),
    ),
    bad(
        ANONYMOUS,
        "all users by a policy",
        "allUsers",
        make("gcp:storage/bucketIAMPolicy:BucketIAMPolicy", inputs={"policyData": ANYONE_POLICY}),
    ),
    good(ANONYMOUS, "an organisation", topic("*", **when("StringEquals", "aws:PrincipalOrgID", "o-abc"))),
    good(
        ANONYMOUS,
        "an account's key",
        make(
            "aws:kms/key:Key",
            inputs={
                "policy": document(
                    {
                        "Effect": "Allow",
                        "Principal": {"AWS": "*"},
                        "Action": "kms:Decrypt",
                        "Resource": "*",
                        "Condition": {
                            "StringEquals": {
                                "KMS:CallerAccount": ACCOUNT,
                                "kms:ViaService": "s3.us-west-2.amazonaws.com",
                            }
                        },
                    }
                )
            },
        ),
    ),
    good(ANONYMOUS, "a denial of everybody", topic("*", Effect="Deny")),
    good(
        ANONYMOUS,
        "an endpoint, which only limits",
        make(
            "aws:ec2/vpcEndpoint:VpcEndpoint",
            inputs={"policy": document({"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"})},
        ),
    ),
    bad(
        ANONYMOUS,
        "a policy that is not known",
        "cannot be read",
        KEY,
        make("gcp:storage/bucketIAMPolicy:BucketIAMPolicy", inputs={"policyData": ref(KEY, "policy")}),
        enforcement="advisory",
    ),
    bad(
        ANONYMOUS,
        "a policy that is none",
        "cannot be read",
        make("gcp:storage/bucketIAMPolicy:BucketIAMPolicy", inputs={"policyData": "everybody"}),
    ),
    bad(
        ANONYMOUS,
        "every bucket of everybody",
        "allows everybody",
        topic("*", **when("ArnLike", "aws:SourceArn", "arn:aws:s3:::*")),
    ),
    bad(
        ANONYMOUS,
        "any source, at length",
        "allows everybody",
        topic("*", **when("ArnLike", "aws:SourceArn", ["arn:aws:s3:::acme-dev-raw", "arn:aws:*:*:*:*"])),
    ),
    good(
        ANONYMOUS,
        "whatever an account has",
        topic("*", **when("ArnLike", "aws:SourceArn", f"arn:aws:events:*:{ACCOUNT}:*")),
    ),
    good(
        ANONYMOUS,
        "a source that is not known yet",
        KEY,
        topic("*", **when("ArnEquals", "aws:SourceArn", ref(KEY, "arn"))),
    ),
    bad(ANONYMOUS, "everybody of another kind", "allows everybody", trust({"Federated": "*"})),
    good(ANONYMOUS, "an account", topic({"AWS": f"{ARN}:root"})),
    good(ANONYMOUS, "a pattern of people's tokens", trust({"Federated": f"{ARN}:saml-provider/*"})),
    good(ANONYMOUS, "a group", granted("roles/storage.objectViewer", "group:a@example.com")),
    bad(
        SOURCE,
        "a role for a service",
        "lambda.amazonaws.com may act for any account",
        trust({"Service": "lambda.amazonaws.com"}),
    ),
    bad(
        SOURCE,
        "a role for two services, one of them excepted",
        "batch.amazonaws.com may",
        trust({"Service": ["ec2.amazonaws.com", "batch.amazonaws.com"]}),
    ),
    bad(SOURCE, "a topic for a service", "s3.amazonaws.com may act", topic({"Service": "s3.amazonaws.com"})),
    bad(
        SOURCE,
        "a key for a service",
        "logs",
        make(
            "aws:kms/key:Key",
            inputs={
                "policy": document(
                    {
                        "Effect": "Allow",
                        "Principal": {"Service": "logs.us-west-2.amazonaws.com"},
                        "Action": "kms:Decrypt",
                        "Resource": "*",
                    }
                )
            },
        ),
    ),
    good(
        SOURCE,
        "an account",
        trust({"Service": "lambda.amazonaws.com"}, **when("StringEquals", "aws:SourceAccount", ACCOUNT)),
    ),
    good(
        SOURCE,
        "a resource",
        topic({"Service": "s3.amazonaws.com"}, **when("ArnLike", "AWS:SourceArn", "arn:aws:s3:::acme-dev-raw")),
    ),
    good(
        SOURCE,
        "what a key encrypts",
        make(
            "aws:kms/key:Key",
            inputs={
                "policy": document(
                    {
                        "Effect": "Allow",
                        "Principal": {"Service": "logs.us-west-2.amazonaws.com"},
                        "Action": "kms:Decrypt",
                        "Resource": "*",
                        **when(
                            "ArnLike",
                            "kms:EncryptionContext:aws:logs:arn",
                            f"arn:aws:logs:us-west-2:{ACCOUNT}:log-group:/acme",
                        ),
                    }
                )
            },
        ),
    ),
    bad(
        SOURCE,
        "a topic for a service that may keep silent",
        "s3.amazonaws.com may act",
        topic({"Service": "s3.amazonaws.com"}, **when("StringEqualsIfExists", "aws:SourceAccount", ACCOUNT)),
    ),
    bad(
        SOURCE,
        "a role for any account",
        "lambda.amazonaws.com may act",
        trust({"Service": "lambda.amazonaws.com"}, **when("StringLikeIfExists", "aws:SourceAccount", "*")),
    ),
    good(
        SOURCE,
        "a role, where the service says for whom",
        trust({"Service": "lambda.amazonaws.com"}, **when("StringEqualsIfExists", "aws:SourceAccount", ACCOUNT)),
    ),
    good(SOURCE, "machines", trust({"Service": "ec2.amazonaws.com"})),
    good(SOURCE, "people", trust({"AWS": f"{ARN}:root"})),
    bad(DECRYPT, "every key", "kms:Decrypt", policy(Action="kms:Decrypt")),
    bad(
        DECRYPT,
        "every key of the account",
        "kms:Decrypt",
        policy(Action=["kms:De*"], Resource=f"arn:aws:kms:us-west-2:{ACCOUNT}:key/*"),
    ),
    bad(DECRYPT, "re-encrypt", "kms:ReEncryptFrom", policy(Action="kms:ReEncrypt*")),
    bad(DECRYPT, "on the project", "whole project", granted("roles/cloudkms.cryptoKeyEncrypterDecrypter")),
    good(DECRYPT, "one key", KEY, policy(Action="kms:Decrypt", Resource=ref(KEY, "arn"))),
    good(
        DECRYPT,
        "through one service",
        policy(Action="kms:Decrypt", **when("StringEquals", "kms:ViaService", "s3.us-west-2.amazonaws.com")),
    ),
    good(DECRYPT, "encrypt only", policy(Action="kms:Encrypt")),
    good(DECRYPT, "everything, which is another rule's", policy(Action="*")),
    good(
        DECRYPT,
        "one key on Google Cloud",
        granted("roles/cloudkms.cryptoKeyDecrypter", kind="kms/cryptoKeyIAMMember:CryptoKeyIAMMember"),
    ),
    bad("identity-no-static-keys", "a user", "an IAM user", make("aws:iam/user:User")),
    bad("identity-no-static-keys", "a service account key", "service account key", make("gcp:serviceaccount/key:Key")),
    good("identity-no-static-keys", "roles and accounts", role(), DEPLOY_ACCOUNT),
    bad("identity-bounded", "a role without", "no permission boundary", role()),
    bad("identity-bounded", "a project without", "no deny policy", DEPLOY_ACCOUNT),
    good("identity-bounded", "a role with", BOUNDARY, role(permissionsBoundary=ref(BOUNDARY, "arn"))),
    good("identity-bounded", "a project with", DEPLOY_ACCOUNT, DENY),
    bad("account-defaults", "no analyzer", "access from outside", *without(0)),
    bad(
        "account-defaults",
        "an analyzer of another kind",
        "access from outside",
        *without(0, type="ACCOUNT_UNUSED_ACCESS"),
    ),
    bad("account-defaults", "no default encryption", "not encrypted", *without(1, enabled=False)),
    bad("account-defaults", "public buckets", "be public", *without(2)),
    bad("account-defaults", "public snapshots", "snapshots", *without(3, state="unblocked")),
    bad("account-defaults", "old metadata", "IMDSv1", *without(4, httpTokens="optional")),
    bad("account-defaults", "nothing", "access from outside", aws()),
    good("account-defaults", "everything", aws(), *ACCOUNT_DEFAULTS),
    good("account-defaults", "another cloud", gcp()),
    bad(SOURCE, "events that somebody's rule writes", "events.amazonaws.com may", log_policy("logs:PutLogEvents")),
    bad(SOURCE, "a stream, and what is in it", "may act", log_policy("logs:CreateLogStream", "logs:PutLogEvents")),
    bad(SOURCE, "a stream of any group", "may act", log_policy("logs:CreateLogStream", resource="*")),
    bad(SOURCE, "a stream for another service", "may act", log_policy("logs:CreateLogStream", who="es.amazonaws.com")),
    bad(
        SOURCE,
        "a stream of every group for events",
        "may act",
        log_policy("logs:CreateLogStream", resource=f"arn:aws:logs:us-west-2:{ACCOUNT}:log-group:/aws/events/*:*"),
    ),
    bad(
        SOURCE,
        "a stream of every account's group",
        "may act",
        log_policy("logs:CreateLogStream", resource="arn:aws:logs:us-west-2:*:log-group:/aws/events/a:*"),
    ),
    bad(
        SOURCE,
        "a stream beside those for events",
        "may act",
        log_policy("logs:CreateLogStream", resource=f"arn:aws:logs:us-west-2:{ACCOUNT}:log-group:/aws/eks/a/cluster:*"),
    ),
    bad(
        SOURCE,
        "an empty stream that is everything but",
        "may act",
        changed(
            log_policy(),
            policyDocument=document(
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "events.amazonaws.com"},
                    "Action": "logs:CreateLogStream",
                    "NotResource": "arn:aws:logs:us-west-2:1:log-group:a:*",
                }
            ),
        ),
    ),
    bad(
        SOURCE,
        "a stream, said by a key",
        "may act",
        make("aws:kms/key:Key", inputs={"policy": log_policy("logs:CreateLogStream").inputs["policyDocument"]}),
    ),
    good(SOURCE, "an empty stream for EventBridge", log_policy("logs:CreateLogStream")),
]
