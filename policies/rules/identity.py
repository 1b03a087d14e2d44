"""Who may do what: roles, policies and grants."""

import re
from collections.abc import Iterator

from policies.context import is_prod, items, uses
from policies.documents import PLACES, Statement, documents, statements
from policies.grants import Grant, grants, is_readable
from policies.model import Graph, Resource, is_unknown
from policies.rule import EVERY, Found, Violation, graph_rule, resource_rule

ROLE = "aws:iam/role:Role"
ROLE_ATTACHMENT = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
SERVICE_ACCOUNT = "gcp:serviceaccount/account:Account"
SERVICE_ACCOUNT_MEMBER = "gcp:serviceaccount/iAMMember:IAMMember"
CUSTOM_ROLE = "gcp:projects/iAMCustomRole:IAMCustomRole"
PROJECT_MEMBER = "gcp:projects/iAMMember:IAMMember"
DENY_POLICY = "gcp:iam/denyPolicy:DenyPolicy"

# Managed policies of AWS that make their holder an administrator (AWS Managed Policy Reference).
_ADMIN_POLICIES = {"AdministratorAccess", "PowerUserAccess", "IAMFullAccess"}

# Basic roles that may write (Google Cloud IAM, "Basic and predefined roles reference").
_BASIC_ROLES = {"roles/owner", "roles/editor"}

# Each lets its holder become, or make, an identity with more rights (Rhino Security Labs, "AWS IAM Privilege Escalation
# Methods"), unless a condition of the second column holds the new identity inside the boundary.
_ESCALATION: dict[str, tuple[str, ...]] = {
    "iam:PassRole": ("iam:passedtoservice",),
    "iam:CreateRole": ("iam:permissionsboundary",),
    "iam:PutRolePermissionsBoundary": ("iam:permissionsboundary",),
    "iam:AttachRolePolicy": ("iam:permissionsboundary", "iam:policyarn"),
    "iam:PutRolePolicy": ("iam:permissionsboundary",),
    "iam:DeleteRolePermissionsBoundary": (),
    "iam:UpdateAssumeRolePolicy": (),
    "iam:CreatePolicyVersion": (),
    "iam:SetDefaultPolicyVersion": (),
    "iam:CreateUser": ("iam:permissionsboundary",),
    "iam:CreateAccessKey": (),
    "iam:CreateLoginProfile": (),
    "iam:UpdateLoginProfile": (),
    "iam:AttachUserPolicy": ("iam:permissionsboundary",),
    "iam:PutUserPolicy": ("iam:permissionsboundary",),
    "iam:AddUserToGroup": (),
}

# The same on Google Cloud, when given on the whole project (CIS GCP 1.7; Rhino Security Labs, "GCP Privilege Escalation").
_ESCALATION_ROLES = {
    "roles/iam.serviceAccountUser",
    "roles/iam.serviceAccountTokenCreator",
    "roles/iam.serviceAccountKeyAdmin",
    "roles/iam.serviceAccountAdmin",
    "roles/iam.roleAdmin",
    "roles/iam.securityAdmin",
    "roles/iam.workloadIdentityPoolAdmin",
    "roles/resourcemanager.projectIamAdmin",
}
_ESCALATION_PERMISSIONS = {
    "iam.roles.create",
    "iam.roles.update",
    "iam.serviceAccountKeys.create",
    "iam.serviceAccounts.actAs",
    "iam.serviceAccounts.getAccessToken",
    "iam.serviceAccounts.implicitDelegation",
    "iam.serviceAccounts.setIamPolicy",
    "iam.serviceAccounts.signBlob",
    "iam.serviceAccounts.signJwt",
    "resourcemanager.projects.setIamPolicy",
}

# Conditions with which a principal that means everybody means somebody (IAM User Guide, "Global condition keys").
_NAMES_SOMEBODY = (
    "aws:principalaccount",
    "aws:principalarn",
    "aws:principalorgid",
    "aws:principalorgpaths",
    "aws:sourceaccount",
    "aws:sourcearn",
    "aws:sourceorgid",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "kms:calleraccount",
    "aws:sourceowner",  # in the policy that SNS gives a topic by default
)

# Conditions with which a service acts for this account only. A key is also held to what it encrypts.
_NAMES_SOURCE = (
    "aws:sourceaccount",
    "aws:sourcearn",
    "aws:sourceorgid",
    "aws:sourceorgpaths",
    "kms:calleraccount",
    "kms:encryptioncontext:*",
    "kms:grantisforawsresource",
)

# Services that name no source when they assume a role: EC2 for its machines, S3 for live replication (S3 User Guide, "Setting
# up permissions for live replication"). They take a role from an identity of the same account only, which has to hold
# iam:PassRole.
_WITHOUT_SOURCE = {"ec2.amazonaws.com", "s3.amazonaws.com"}

# EventBridge says for which rule it acts when it writes to a log group, and not yet when it makes the stream, which alone gives
# nobody anything (aws-samples/serverless-patterns, pull request 618; hashicorp/terraform-provider-aws, issue 26628). It may, in
# the policy of log groups, in groups of its own prefix that are named in full.
_EVENTS = {"events.amazonaws.com", "delivery.logs.amazonaws.com"}
_EMPTY = ("logs:CreateLogStream",)
_OF_LOGS = "aws:cloudwatch/logResourcePolicy:LogResourcePolicy"
_EVENT_GROUP = re.compile(r"arn:aws[\w-]*:logs:[a-z0-9-]+:\d{12}:log-group:/aws/events/[\w./#-]+:(\*|log-stream:\*)")

# Elastic Load Balancing writes what comes from an account below that account's number, and names no source ("Enable access logs
# for your Application Load Balancer", bucket policy). The number is this account's: `isolation-no-foreign`.
_BALANCERS = {"logdelivery.elasticloadbalancing.amazonaws.com"}
_BALANCER_LOGS = re.compile(r"\S+/AWSLogs/\d{12}/\*")

# Google's own identity of a service, and ARNs that leave no identity or key out.
_SERVICE_AGENT = re.compile(r"serviceAccount:(service-\d+@|\d+@cloudservices|\$\{urn:[^}]*serviceIdentity:)")
_EVERY_IDENTITY = re.compile(r"arn:aws[\w-]*:iam::[^:]*:(role|user|policy|\*)(/\*)?")
_EVERY_KEY = re.compile(r"arn:aws[\w-]*:kms:[^:]*:[^:]*:(key/)?\*")

# Identities with keys that never expire by themselves, and ACL-like bypasses of IAM.
_STATIC = {
    "aws:iam/user:User": "an IAM user; people come by IAM Identity Center, workloads by roles",
    "aws:iam/accessKey:AccessKey": "a key that never expires",
    "aws:iam/userLoginProfile:UserLoginProfile": "a password",
    "aws:iam/serviceSpecificCredential:ServiceSpecificCredential": "a credential that never expires",
    "aws:iam/sshKey:SshKey": "a key that never expires",
    "gcp:serviceaccount/key:Key": "a service account key that never expires",
    "gcp:storage/hmacKey:HmacKey": "a key that never expires",
    "gcp:projects/apiKey:ApiKey": "an API key, which names no identity",
}

_DECRYPT_ROLES = {
    "roles/cloudkms.admin",
    "roles/cloudkms.cryptoKeyDecrypter",
    "roles/cloudkms.cryptoKeyDecrypterViaDelegation",
    "roles/cloudkms.cryptoKeyEncrypterDecrypter",
    "roles/cloudkms.cryptoKeyEncrypterDecrypterViaDelegation",
}


_CALLERS = "/attribute.endpoint/"
"""What names callers of an endpoint in a pool, who deploy nothing."""


def is_delivery(resource: Resource, graph: Graph) -> bool:
    """Whether an identity is one that only a federated workflow can become: the deployer, which has to make identities.

    What may become it is `delivery-bound`'s concern.
    """
    if resource.type == ROLE:
        trust = list(statements(resource, graph, "trust"))
        return bool(trust) and all({kind for kind, _ in s.principals} == {"Federated"} for s in trust if s.allows)
    return any(
        member.get("role") == "roles/iam.workloadIdentityUser"
        and str(member.get("member", "")).startswith("principal")
        and _CALLERS not in str(member.get("member"))
        for member in graph.linked(resource.urn, SERVICE_ACCOUNT_MEMBER, "serviceAccountId")
    )


def _holders(policy: Resource, graph: Graph) -> list[Resource]:
    """The roles that a policy is attached to."""
    if policy.type == ROLE:
        return [policy]
    roles = set(policy.links("role"))
    for attachment in graph.linked(policy.urn, ROLE_ATTACHMENT, "policyArn"):
        roles |= attachment.links("role")
    return [
        graph.resources[urn] for urn in sorted(roles) if urn in graph.resources and graph.resources[urn].type == ROLE
    ]


def only_delivery(policy: Resource, graph: Graph) -> bool:
    """Whether nobody but the deployer has a policy."""
    holders = _holders(policy, graph)
    return bool(holders) and all(is_delivery(role, graph) for role in holders)


def is_delivery_member(grant_: Resource, graph: Graph) -> bool:
    """Whether a grant gives a role to nobody but the deployer."""
    sources = grant_.links("member") | grant_.links("members")
    accounts = [graph.resources[urn] for urn in sorted(sources) if urn in graph.resources]
    accounts = [account for account in accounts if account.type == SERVICE_ACCOUNT]
    return bool(accounts) and all(is_delivery(account, graph) for account in accounts)


def _allowed(resource: Resource, graph: Graph) -> Iterator[Statement]:
    return (s for s in statements(resource, graph, "identity") if s.allows)


@resource_rule(
    "identity-no-full-admin",
    title="Nobody may do everything",
    types=(EVERY,),
    severity="critical",
    why="One stolen session of such an identity is the whole environment.",
    remedy="Name the services and the resources that it needs; the boundary holds the rest.",
    controls={
        "cis-aws": ("2.14",),
        "aws-fsbp": ("IAM.1",),
        "soc2": ("CC6.1", "CC6.3"),
        "iso-27001": ("A.5.15", "A.8.2"),
        "gdpr": ("25", "32"),
        "eu-ai-act": ("15",),
        "nist-ai-rmf": ("MEASURE 2.7",),
    },
)
def identity_no_full_admin(resource: Resource, graph: Graph) -> Found:
    """Every action on everything, a managed policy to the same end, a basic role that may write."""
    for statement in _allowed(resource, graph):
        if statement.everywhere and (statement.not_actions or any(a.strip("*:") == "" for a in statement.actions)):
            yield f"statement {statement.label} allows every action on everything"
    for arn in _attached(resource):
        if arn.rpartition("/")[2] in _ADMIN_POLICIES:
            yield f"{arn.rpartition('/')[2]} is attached"
    for grant in grants(resource):
        if grant.role in _BASIC_ROLES:
            yield f"{grant.member} is given {grant.role}"


def _attached(resource: Resource) -> Iterator[str]:
    """ARNs of managed policies that a resource attaches."""
    if resource.type.startswith("aws:iam/"):
        for value in (*items(resource.get("managedPolicyArns")), resource.get("policyArn", "")):
            yield str(value)


@resource_rule(
    "identity-no-service-admin",
    title="No workload and no person administers a whole service",
    types=(EVERY,),
    severity="high",
    why="A right on every resource of a service is a right on the audit log, the next team's data and prod's model too.",
    remedy="Name the actions, and the resources by ARN; on Google Cloud grant on the resource, not on the project.",
    controls={
        "cis-gcp": ("1.6",),
        "aws-fsbp": ("IAM.21",),
        "soc2": ("CC6.3",),
        "iso-27001": ("A.5.15", "A.5.18", "A.8.2"),
    },
)
def identity_no_service_admin(resource: Resource, graph: Graph) -> Found:
    """The deployer is left out: making and removing the environment is what it is for, within the boundary."""
    for statement in _allowed(resource, graph):
        whole = [a for a in statement.actions if a.endswith(":*") and a != "*:*"]
        if whole and statement.everywhere and not only_delivery(resource, graph):
            yield f"statement {statement.label} allows {', '.join(whole)} on everything"
    for grant in grants(resource):
        workload = grant.member.startswith("serviceAccount:") and not _SERVICE_AGENT.match(grant.member)
        if grant.wide and workload and "admin" in grant.role.lower() and not is_delivery_member(resource, graph):
            yield f"{grant.member} is given {grant.role} on the whole project"


@resource_rule(
    "identity-no-escalation",
    title="Nobody can give himself more rights than he has",
    types=(EVERY,),
    severity="critical",
    why="Whoever may write policies, or pass any role to a machine, has every right that the account knows.",
    remedy="AWS: name the roles and demand iam:PassedToService or iam:PermissionsBoundary. Google Cloud: grant on the account.",
    controls={
        "cis-gcp": ("1.7",),
        "soc2": ("CC6.3",),
        "iso-27001": ("A.8.2", "A.5.3"),
        "nist-ai-rmf": ("MEASURE 2.7",),
    },
)
def identity_no_escalation(resource: Resource, graph: Graph) -> Found:
    """Full administration is `identity-no-full-admin`'s concern; the deployer is `delivery-bound`'s."""
    for statement in _allowed(resource, graph):
        if statement.not_actions or any(a.strip("*:") == "" for a in statement.actions) or not _every_role(statement):
            continue
        open_ = [
            a for a, keys in _ESCALATION.items() if statement.covers(a) and not (keys and statement.demands(*keys))
        ]
        if open_ and not only_delivery(resource, graph):
            yield f"statement {statement.label} allows {', '.join(open_[:3])} on every identity"
    for grant in grants(resource):
        if grant.wide and grant.role in _ESCALATION_ROLES and not _is_exempt(grant, resource, graph):
            yield f"{grant.member} is given {grant.role} on the whole project"
    if resource.type == CUSTOM_ROLE:
        found = sorted(_ESCALATION_PERMISSIONS.intersection(map(str, items(resource.get("permissions")))))
        if found and not _role_of_delivery(resource, graph):
            yield f"the role holds {', '.join(found)}"


def _every_role(statement: Statement) -> bool:
    """Whether a statement on IAM names no identity in particular."""
    return statement.everywhere or any(_EVERY_IDENTITY.fullmatch(resource) for resource in statement.resources)


def _is_exempt(grant: Grant, resource: Resource, graph: Graph) -> bool:
    return bool(_SERVICE_AGENT.match(grant.member)) or is_delivery_member(resource, graph)


def _role_of_delivery(role: Resource, graph: Graph) -> bool:
    members = graph.linked(role.urn, PROJECT_MEMBER, "role")
    return bool(members) and all(is_delivery_member(member, graph) for member in members)


@resource_rule(
    "identity-no-anonymous",
    title="Nothing may be used by everybody",
    types=(EVERY,),
    severity="critical",
    why="A queue, key or bucket that everybody may use is found by scanners, not by people.",
    remedy="Name the principal, or add a condition that does: aws:PrincipalOrgID, aws:SourceAccount, kms:CallerAccount.",
    controls={
        "cis-aws": ("2.21",),
        "cis-gcp": ("1.10", "5.1"),
        "aws-fsbp": ("KMS.5", "S3.2", "S3.3", "S3.6", "SNS.4"),
        "soc2": ("CC6.1", "CC6.6"),
        "iso-27001": ("A.5.15", "A.8.3"),
        "gdpr": ("25", "32"),
        "eu-ai-act": ("15",),
    },
)
def identity_no_anonymous(resource: Resource, graph: Graph) -> Found:
    """A principal that leaves nobody out, unless a condition that cannot be dodged names somebody."""
    for statement in statements(resource, graph, "resource", "trust"):
        if statement.allows and statement.anyone and not statement.demands(*_NAMES_SOMEBODY):
            yield f"statement {statement.label} allows everybody"
    for grant in grants(resource):
        if grant.member in {"allUsers", "allAuthenticatedUsers"}:
            yield f"{grant.member} is given {grant.role}"
    if not is_readable(resource):
        enforcement = "advisory" if is_unknown(resource.inputs["policyData"]) else None
        yield Violation("who is given what cannot be read", enforcement=enforcement)


@resource_rule(
    "identity-source-named",
    title="A service acts only for this account",
    types=tuple(PLACES),
    severity="high",
    why="Without a source, anybody's bucket or rule can make the service use our role, topic or key for him.",
    remedy="A condition on aws:SourceAccount, and on aws:SourceArn where the resource is known: components.core.iam.source.",
    controls={"soc2": ("CC6.3",), "iso-27001": ("A.5.15",)},
)
def identity_source_named(resource: Resource, graph: Graph) -> Found:
    """Of every statement that allows a service something.

    A role cannot be passed to a service by another account, so there the condition may hold only where the service states
    for whom it acts.
    """
    for document in documents(resource, graph, "resource", "trust"):
        for statement in document.statements or ():
            services = {value for kind, value in statement.principals if kind == "Service"}
            if document.kind == "trust":
                services -= _WITHOUT_SOURCE
            if resource.type == _OF_LOGS and _only_streams_of_events(statement):
                services -= _EVENTS
            if _only_logs_of_own_balancers(statement):
                services -= _BALANCERS
            if statement.actions == ("kms:DescribeKey",):
                services -= _FARGATE
            demands = statement.demands_if_stated if document.kind == "trust" else statement.demands
            if statement.allows and services and not demands(*_NAMES_SOURCE):
                yield f"{', '.join(sorted(services))} may act for any account (statement {statement.label})"


# "Fargate ephemeral storage", customer managed keys: no condition that it would meet; a description of the key is all it gets.
_FARGATE = frozenset({"fargate.amazonaws.com"})


def _only_logs_of_own_balancers(statement: Statement) -> bool:
    """Whether load balancers may do no more than write logs where their account stands in the name."""
    named = bool(statement.resources) and all(_BALANCER_LOGS.fullmatch(each) for each in statement.resources)
    return statement.actions == ("s3:PutObject",) and named


def _only_streams_of_events(statement: Statement) -> bool:
    """Whether a statement lets nobody do more than make an empty stream in groups for events."""
    named = bool(statement.resources) and all(_EVENT_GROUP.fullmatch(each) for each in statement.resources)
    return statement.actions == _EMPTY and named


@resource_rule(
    "identity-decrypt-named",
    title="Whoever may decrypt, may with named keys only",
    types=(EVERY,),
    severity="high",
    why="A right to decrypt with every key undoes the separation that a key for each domain is there for.",
    remedy="Name the key; on Google Cloud grant on the key, never on the project.",
    controls={
        "cis-gcp": ("1.12",),
        "aws-fsbp": ("KMS.1", "KMS.2"),
        "soc2": ("CC6.1", "CC6.3"),
        "iso-27001": ("A.8.24",),
        "gdpr": ("32",),
    },
)
def identity_decrypt_named(resource: Resource, graph: Graph) -> Found:
    """Full administration is `identity-no-full-admin`'s concern. A service that a condition names is no way around a key."""
    for statement in _allowed(resource, graph):
        if statement.not_actions or any(a.strip("*:") == "" for a in statement.actions):
            continue
        wide = statement.everywhere or any(_EVERY_KEY.fullmatch(r) for r in statement.resources)
        named = [a for a in ("kms:Decrypt", "kms:ReEncryptFrom") if statement.covers(a)]
        if wide and named and not statement.demands("kms:viaservice", "kms:resourcealiases"):
            yield f"statement {statement.label} allows {', '.join(named)} with every key"
    for grant in grants(resource):
        if grant.wide and grant.role in _DECRYPT_ROLES and not is_delivery_member(resource, graph):
            yield f"{grant.member} is given {grant.role} on the whole project"


@resource_rule(
    "identity-no-static-keys",
    title="There is no credential that does not expire",
    types=tuple(_STATIC),
    severity="critical",
    why="A key that never expires ends up in a repository, a notebook or a laptop, and works from everywhere.",
    remedy="A role, Workload Identity, or federation for what runs outside.",
    controls={
        "cis-aws": ("2.19",),
        "cis-gcp": ("1.5",),
        "soc2": ("CC6.1", "CC6.2"),
        "iso-27001": ("A.5.16", "A.5.17"),
    },
)
def identity_no_static_keys(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """Any resource of such a type."""
    yield f"it is {_STATIC[resource.type]}"


@resource_rule(
    "identity-bounded",
    title="No identity can exceed the environment's boundary",
    types=(ROLE, SERVICE_ACCOUNT),
    severity="high",
    why="A wrong policy is made sooner or later; the boundary is what keeps it from reaching the audit log and other regions.",
    remedy="AWS: permissions_boundary on every role. Google Cloud: a deny policy on the project.",
    controls={"soc2": ("CC6.1", "CC6.3"), "iso-27001": ("A.8.2",), "nist-ai-rmf": ("MEASURE 2.7",)},
)
def identity_bounded(resource: Resource, graph: Graph) -> Found:
    """Each role has it; on Google Cloud one deny policy holds for every identity of the project."""
    if resource.type == ROLE and not resource.get("permissionsBoundary"):
        yield "the role has no permission boundary"
    if resource.type == SERVICE_ACCOUNT and not graph.of_type(DENY_POLICY):
        # Only an organisation can grant the right to write one: what a trial project without one does not have, prod must.
        enforcement = None if is_prod(graph) else "advisory"
        yield Violation("no deny policy bounds the project's identities", enforcement=enforcement)


# What an AWS account has to have switched on, once: type, input, the values that are right, and what is missing without it.
_ACCOUNT: tuple[tuple[str, str, tuple[object, ...], str], ...] = (
    (
        "aws:accessanalyzer/analyzer:Analyzer",
        "type",
        (None, "ACCOUNT", "ORGANIZATION"),
        "nothing watches for access from outside",
    ),
    (
        "aws:ebs/encryptionByDefault:EncryptionByDefault",
        "enabled",
        (None, True),
        "new volumes are not encrypted by default",
    ),
    (
        "aws:s3/accountPublicAccessBlock:AccountPublicAccessBlock",
        "blockPublicPolicy",
        (True,),
        "the account lets buckets be public",
    ),
    (
        "aws:ebs/snapshotBlockPublicAccess:SnapshotBlockPublicAccess",
        "state",
        ("block-all-sharing", "block-new-sharing"),
        "snapshots can be made public",
    ),
    (
        "aws:ec2/instanceMetadataDefaults:InstanceMetadataDefaults",
        "httpTokens",
        ("required",),
        "machines hand out their role's credentials to IMDSv1",
    ),
)


@graph_rule(
    "account-defaults",
    title="The account itself is closed",
    severity="high",
    why="What an account allows by default is what the next hurried change gets.",
    remedy="The account's baseline in components/aws/foundation.",
    controls={
        "cis-aws": ("2.18", "3.1.4", "6.1.1", "6.7"),
        "aws-fsbp": ("EC2.1", "EC2.7", "EC2.8", "S3.1"),
        "soc2": ("CC6.1", "CC6.6"),
        "iso-27001": ("A.8.9",),
    },
)
def account_defaults(graph: Graph) -> Found:
    """Of an AWS account; on Google Cloud the organisation sets these."""
    if not uses(graph, "aws"):
        return
    for type_, input_, right, missing in _ACCOUNT:
        if not any(resource.get(input_) in right for resource in graph.of_type(type_)):
            yield f"{missing}: no {type_.rpartition(':')[2]} says otherwise"
