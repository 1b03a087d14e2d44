"""What a person must have, or do, before an `up` can succeed: read from what the stack declares."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from components.core.accelerators import QUOTAS
from policies.model import Graph, Resource, texts

Kind = Literal["account", "right", "quota", "setting", "confirmation", "value", "domain"]

KINDS: Mapping[Kind, str] = {
    "account": "Accounts and projects",
    "right": "Rights beyond the project or the account",
    "quota": "Quotas",
    "setting": "To be set up elsewhere",
    "value": "Values that only a person has",
    "domain": "Domains",
    "confirmation": "To be confirmed by mail",
}
"""Every kind of need and its heading, in the order in which a person meets them."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """One thing to have or to do."""

    kind: Kind
    text: str
    source: str = ""
    """Where the rule behind it is written down."""
    resources: tuple[str, ...] = ()
    """URNs of what needs it, sorted."""


@dataclass(frozen=True, slots=True)
class _Before:
    """What has to be so before a resource of a type can be made. `{…}` in the text is an input of the resource."""

    types: str
    text: str
    source: str
    kind: Kind = "right"
    where: str = ""
    """Only resources that have this input."""


# A type that ends in `/` stands for all of them.
_BEFORE = (
    _Before(
        "gcp:billing/budget:Budget",
        "roles/billing.costsManager on the billing account {billingAccount}, for whoever deploys; Owner is not enough",
        "https://cloud.google.com/billing/docs/how-to/budget-api-access-control",
    ),
    _Before(
        "gcp:accesscontextmanager/",
        "roles/accesscontextmanager.policyEditor on the organization, for whoever deploys",
        "https://cloud.google.com/vpc-service-controls/docs/access-control",
    ),
    _Before(
        "gcp:orgpolicy/",
        "roles/orgpolicy.policyAdmin on the organization, for whoever deploys: no project can grant it",
        "https://cloud.google.com/iam/docs/roles-permissions/orgpolicy",
    ),
    _Before(
        "gcp:iam/denyPolicy:DenyPolicy",
        "roles/iam.denyAdmin on the organization, for whoever deploys",
        "https://cloud.google.com/iam/docs/deny-access",
    ),
    _Before(
        "gcp:storage/bucket:Bucket",
        "`gcloud storage service-agent --project={project}`, once: nothing else makes the agent that uses a bucket's key",
        "https://cloud.google.com/storage/docs/getting-service-agent",
        kind="setting",
        where="encryption",
    ),
    _Before(
        "aws:lambda/function:Function",
        "Lambda's quota of concurrent executions above 100 by more than the functions reserve; a new account may have 10",
        "https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html",
        kind="quota",
        where="reservedConcurrentExecutions",
    ),
)


@dataclass(frozen=True, slots=True)
class _Quota:
    """A default that a new account has, and the share of it from which it is worth a look."""

    types: str
    what: str
    default: int
    scope: str
    """Input that tells the places apart in which it is counted; empty for the region."""
    source: str
    where: tuple[str, str] = ("", "")
    """Only resources whose input has this value."""


_VPC_QUOTAS = "https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html"
_ENDPOINT_QUOTAS = "https://docs.aws.amazon.com/vpc/latest/privatelink/vpc-limits-endpoints.html"
_QUOTAS = (
    _Quota("aws:ec2/eip:Eip", "Elastic IP addresses a region", 5, "", _VPC_QUOTAS),
    _Quota("aws:ec2/vpc:Vpc", "VPCs a region", 5, "", _VPC_QUOTAS),
    # The quota is on a zone; a subnet lies in one.
    _Quota("aws:ec2/natGateway:NatGateway", "NAT gateways a zone", 5, "subnetId", _VPC_QUOTAS),
    _Quota(
        "aws:ec2/vpcEndpoint:VpcEndpoint",
        "interface endpoints a VPC",
        50,
        "vpcId",
        _ENDPOINT_QUOTAS,
        ("vpcEndpointType", "Interface"),
    ),
    _Quota(
        "aws:ec2/vpcEndpoint:VpcEndpoint",
        "gateway endpoints a region",
        20,
        "",
        _ENDPOINT_QUOTAS,
        ("vpcEndpointType", "Gateway"),
    ),
)
# Requests for a quota: where its code and the value stand.
_REQUESTS = {
    "aws:servicequotas/serviceQuota:ServiceQuota": ("quotaCode", "value"),
    "gcp:cloudquota/sQuotaPreference:SQuotaPreference": ("quotaId", "quotaConfig.preferredValue"),
}
_UNITS = {"vcpus": "vCPUs", "accelerators": "accelerators", "instances": "instances"}
_NEAR = 0.6
"""From this share of a default on, what else lives in the account may take the rest."""

_GITHUB = "https://docs.github.com/en/actions/reference/openid-connect-reference"
_SSO = "https://docs.aws.amazon.com/singlesignon/latest/userguide/referencingpermissionsets.html"


@dataclass(frozen=True, slots=True)
class _Mention:
    """Something that must be set up elsewhere because a text of the stack names it."""

    pattern: re.Pattern[str]
    kind: Kind
    text: str
    source: str


_ENVIRONMENT = (
    r"GitHub: environment \3 in \1/\2, with required reviewers and its branches restricted: what runs in it deploys"
)
_MENTIONS = (
    _Mention(
        re.compile(r"repo:([\w.-]+)(?:@\d+)?/([\w.-]+)(?:@\d+)?:environment:([\w.-]+)"),
        "setting",
        _ENVIRONMENT,
        _GITHUB,
    ),
    # The same in a condition of Google's workload identity.
    _Mention(
        re.compile(r"assertion\.repository == '([\w.-]+)/([\w.-]+)'.*?'environment:([\w.-]+)'"),
        "setting",
        _ENVIRONMENT,
        _GITHUB,
    ),
    _Mention(
        re.compile(r"repo:([\w.-]+)(?:@\d+)?/([\w.-]+)(?:@\d+)?:ref:refs/heads/([\w./-]+)"),
        "setting",
        r"GitHub: branch \3 of \1/\2 protected: what runs on it is trusted",
        _GITHUB,
    ),
    _Mention(
        re.compile(r"AWSReservedSSO_([\w+=,.@-]+?)_[*?]"),
        "setting",
        r"IAM Identity Center: permission set \1, assigned to the account",
        _SSO,
    ),
    _Mention(
        # Google's own groups, such as the one that writes the usage logs of storage, are there.
        re.compile(r"\bgroup:([\w.+-]+@(?!google\.com\b)[\w.-]+\w)"),
        "setting",
        r"Google Workspace or Cloud Identity: group \1",
        "https://cloud.google.com/iam/docs/groups-in-cloud-console",
    ),
)


def needs(graph: Graph) -> list[Need]:
    """Every need of a stack, by kind and text, each once."""
    found: dict[tuple[Kind, str, str], set[str]] = {}
    for finder in _FINDERS:
        for need in finder(graph):
            found.setdefault((need.kind, need.text, need.source), set()).update(need.resources)
    order = {kind: i for i, kind in enumerate(KINDS)}
    return [
        Need(kind=kind, text=text, source=source, resources=tuple(sorted(urns)))
        for (kind, text, source), urns in sorted(found.items(), key=lambda item: (order[item[0][0]], item[0][1]))
    ]


def _accounts(graph: Graph) -> Iterator[Need]:
    for provider in graph.of_type("pulumi:providers:aws"):
        for account in provider.get("allowedAccountIds", []):
            yield Need(kind="account", text=f"AWS account {account}, and credentials for it", resources=(provider.urn,))
        for role in provider.get("assumeRoles", []):
            arn = role.get("roleArn")
            yield Need(
                kind="account", text=f"the role {arn}, that whoever deploys may assume", resources=(provider.urn,)
            )
    for provider in graph.of_type("pulumi:providers:gcp"):
        if project := provider.get("project"):
            text = f"Google Cloud project {project}, with billing, and credentials for it"
            yield Need(kind="account", text=text, resources=(provider.urn,))
        if account := provider.get("impersonateServiceAccount"):
            text = f"the service account {account}, that whoever deploys may impersonate"
            yield Need(kind="account", text=text, resources=(provider.urn,))


def _preconditions(graph: Graph) -> Iterator[Need]:
    for before in _BEFORE:
        for resource in graph.of_type(before.types):
            if not before.where or before.where in resource.inputs:
                text = before.text.format_map(_Inputs(resource))
                yield Need(kind=before.kind, text=text, source=before.source, resources=(resource.urn,))


class _Inputs(dict[str, Any]):
    """The inputs of a resource for a format text; what the cloud has to answer first is left open."""

    def __init__(self, resource: Resource) -> None:
        super().__init__(resource.inputs)

    def __missing__(self, key: str) -> str:
        return f"({key})"


def _quotas(graph: Graph) -> Iterator[Need]:
    for quota in _QUOTAS:
        counted: dict[tuple[str, str], list[str]] = {}
        for resource in graph.of_type(quota.types):
            if quota.where[0] and resource.get(quota.where[0], "Gateway") != quota.where[1]:
                continue
            provider = graph.resources.get(resource.provider)
            region = resource.get("region") or (provider.get("region", "") if provider else "")
            counted.setdefault((region, resource.get(quota.scope, "") if quota.scope else ""), []).append(resource.urn)
        for (region, _), urns in counted.items():
            if len(urns) >= _NEAR * quota.default:
                over = "raise it first" if len(urns) > quota.default else "see what else uses it"
                text = f"{len(urns)} of the {quota.default} {quota.what} that a new account has, in {region}: {over}"
                yield Need(kind="quota", text=text, source=quota.source, resources=tuple(urns))


def _requests(graph: Graph) -> Iterator[Need]:
    """Quotas that the stack asks for: what it needs against what a new account or project has."""
    for request in graph.of_type(*_REQUESTS):
        code, value = (request.get(key) for key in _REQUESTS[request.type])
        known = QUOTAS.get((request.get("serviceCode") or request.get("service"), code))
        has = "is not known" if known is None or known.default is None else f"is {known.default:.0f}"
        unit = _UNITS[known.unit] if known else "units"
        text = f"{float(value):.0f} {unit} of the quota {code}, which the stack asks for; the default {has}"
        yield Need(kind="quota", text=text, source=known.source if known else "", resources=(request.urn,))


def _mentions(graph: Graph) -> Iterator[Need]:
    for resource in graph.resources.values():
        for text in texts(resource.inputs):
            for mention in _MENTIONS:
                for match in mention.pattern.finditer(text):
                    said = match.expand(mention.text)
                    yield Need(kind=mention.kind, text=said, source=mention.source, resources=(resource.urn,))


# A secret and what gives it a value: a version, or a rotation that makes one.
_SECRETS = {
    "aws:secretsmanager/secret:Secret": (
        "aws:secretsmanager/secretVersion:SecretVersion",
        "aws:secretsmanager/secretRotation:SecretRotation",
    ),
    "gcp:secretmanager/secret:Secret": ("gcp:secretmanager/secretVersion:SecretVersion",),
}


def _values(graph: Graph) -> Iterator[Need]:
    for type_, givers in _SECRETS.items():
        for secret in graph.of_type(type_):
            # A topic for rotation calls a function of the platform, which writes the first value too.
            if not graph.referring(secret.urn, *givers) and not secret.get("rotation"):
                name = secret.get("name") or secret.get("secretId") or secret.name
                yield Need(
                    kind="value", text=f"the value of the secret {name}, added after the `up`", resources=(secret.urn,)
                )


def _domains(graph: Graph) -> Iterator[Need]:
    for zone in graph.of_type("gcp:dns/managedZone:ManagedZone"):
        if zone.get("visibility", "public") == "public":
            text = f"the domain {zone.get('dnsName')} delegated to its zone"
            yield Need(kind="domain", text=text, resources=(zone.urn,))
    for zone in graph.of_type("aws:route53/zone:Zone"):
        if not zone.get("vpcs"):
            yield Need(
                kind="domain", text=f"the domain {zone.get('name')} delegated to its zone", resources=(zone.urn,)
            )
    for certificate in graph.of_type("aws:acm/certificate:Certificate"):
        if domain := certificate.get("domainName"):
            text = f"a certificate for {domain}: its validation waits until the domain answers"
            yield Need(kind="domain", text=text, resources=(certificate.urn,))


def _confirmations(graph: Graph) -> Iterator[Need]:
    for subscription in graph.of_type("aws:sns/topicSubscription:TopicSubscription"):
        if str(subscription.get("protocol")).startswith("email"):
            text = f"{subscription.get('endpoint')} confirms the subscription mail; until then it hears of no alarm"
            source = "https://docs.aws.amazon.com/sns/latest/dg/sns-email-notifications.html"
            yield Need(kind="confirmation", text=text, source=source, resources=(subscription.urn,))


_FINDERS: tuple[Callable[[Graph], Iterable[Need]], ...] = (
    _accounts,
    _preconditions,
    _quotas,
    _requests,
    _mentions,
    _values,
    _domains,
    _confirmations,
)
