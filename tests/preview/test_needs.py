"""What a person must have or do, each read from the smallest stack that asks for it."""

from typing import Any

import pytest

from policies.model import Graph, Resource
from preview.needs import KINDS, needs
from tests.preview.graphs import AWS, GCP, graph, make, ref, urn

EIP = "aws:ec2/eip:Eip"
ENDPOINT = "aws:ec2/vpcEndpoint:VpcEndpoint"
NAT = "aws:ec2/natGateway:NatGateway"
HELD = "aws:secretsmanager/secret:Secret"
GCP_HELD = "gcp:secretmanager/secret:Secret"


def said(*resources: Resource) -> list[tuple[str, str]]:
    return [(n.kind, n.text) for n in needs(graph(*resources))]


def one(type_: str, inputs: dict[str, Any], **fields: Any) -> list[tuple[str, str]]:
    return said(make(type_, "a", inputs=inputs, **fields))


def test_accounts_and_the_identities_that_deploy() -> None:
    role = {
        "allowedAccountIds": ["111111111111"],
        "assumeRoles": [{"roleArn": "arn:aws:iam::111111111111:role/deploy"}],
    }
    assert one(AWS, role) == [
        ("account", "AWS account 111111111111, and credentials for it"),
        ("account", "the role arn:aws:iam::111111111111:role/deploy, that whoever deploys may assume"),
    ]
    assert one(GCP, {"project": "acme", "impersonateServiceAccount": "x@y"}) == [
        ("account", "Google Cloud project acme, with billing, and credentials for it"),
        ("account", "the service account x@y, that whoever deploys may impersonate"),
    ]
    assert one(AWS, {}) == one(GCP, {}) == []


@pytest.mark.parametrize(
    ("type_", "inputs", "role"),
    [
        (
            "gcp:billing/budget:Budget",
            {"billingAccount": "01-A"},
            "roles/billing.costsManager on the billing account 01-A,",
        ),
        ("gcp:billing/budget:Budget", {}, "the billing account (billingAccount),"),
        ("gcp:accesscontextmanager/servicePerimeter:ServicePerimeter", {}, "roles/accesscontextmanager.policyEditor"),
        ("gcp:orgpolicy/policy:Policy", {}, "roles/orgpolicy.policyAdmin"),
        ("gcp:iam/denyPolicy:DenyPolicy", {}, "roles/iam.denyAdmin"),
    ],
)
def test_rights_beyond_the_project(type_: str, inputs: dict[str, Any], role: str) -> None:
    found = needs(graph(make(type_, "a", inputs=inputs), make(type_, "b", inputs=inputs)))
    assert [n.kind for n in found] == ["right"]
    assert role in found[0].text
    assert found[0].source.startswith("https://cloud.google.com/")
    assert found[0].resources == (urn(type_, "a"), urn(type_, "b"))


def test_what_only_some_resources_of_a_type_need() -> None:
    bucket, function = "gcp:storage/bucket:Bucket", "aws:lambda/function:Function"
    assert said(make(bucket, "a", inputs={"project": "p"}), make(function, "f")) == []
    agent = said(make(bucket, "a", inputs={"project": "p", "encryption": {"defaultKmsKeyName": "k"}}))
    assert [(kind, text.partition(",")[0]) for kind, text in agent] == [
        ("setting", "`gcloud storage service-agent --project=p`")
    ]
    ((kind, text),) = said(make(function, "f", inputs={"reservedConcurrentExecutions": 2}))
    assert kind == "quota"
    assert "concurrent executions" in text


def test_quotas_by_region() -> None:
    here, there = make(AWS, "aws", inputs={"region": "us-west-2"}), make(AWS, "other", inputs={"region": "eu-west-1"})

    def addresses(count: int, provider: str = "aws", **inputs: Any) -> list[Resource]:
        return [make(EIP, f"{provider}{i}", provider=urn(AWS, provider), inputs=inputs) for i in range(count)]

    assert said(here, *addresses(2)) == []
    assert said(here, *addresses(3)) == [
        (
            "quota",
            "3 of the 5 Elastic IP addresses a region that a new account has, in us-west-2: see what else uses it",
        )
    ]
    assert said(here, *addresses(6))[0][1].endswith("in us-west-2: raise it first")
    assert said(here, there, *addresses(2), *addresses(2, "other")) == []
    assert said(here, *addresses(3, region="us-east-1"))[0][1].endswith("in us-east-1: see what else uses it")


def test_quotas_by_network_and_kind() -> None:
    def endpoints(count: int, vpc: str, kind: str | None) -> list[Resource]:
        inputs = {"vpcId": ref("aws:ec2/vpc:Vpc", vpc)} | ({"vpcEndpointType": kind} if kind else {})
        return [make(ENDPOINT, f"{vpc}{kind}{i}", inputs=inputs) for i in range(count)]

    assert said(*endpoints(29, "a", "Interface"), *endpoints(29, "b", "Interface"), *endpoints(11, "a", None)) == []
    assert "30 of the 50 interface endpoints a VPC" in said(*endpoints(30, "a", "Interface"))[0][1]
    # Where it says nothing, an endpoint is a gateway.
    assert (
        "12 of the 20 gateway endpoints a region" in said(*endpoints(6, "a", "Gateway"), *endpoints(6, "b", None))[0][1]
    )
    gateways = [make(NAT, f"n{i}", inputs={"subnetId": f"subnet-{i}"}) for i in range(4)]
    assert said(*gateways) == []


def test_what_a_trust_names_must_be_set_up_elsewhere() -> None:
    trust = {
        "assumeRolePolicy": '{"sub": ["repo:acme/ai-platform:environment:prod", "repo:acme/ai-platform:ref:refs/heads/main"],'
        ' "aws:PrincipalArn": "arn:aws:iam::1:role/aws-reserved/sso.amazonaws.com/*/AWSReservedSSO_MLEngineer_*"}'
    }
    assert one("aws:iam/role:Role", trust) == [
        ("setting", "GitHub: branch main of acme/ai-platform protected: what runs on it is trusted"),
        (
            "setting",
            (
                "GitHub: environment prod in acme/ai-platform, with required reviewers and its branches restricted: what runs"
                " in it deploys"
            ),
        ),
        ("setting", "IAM Identity Center: permission set MLEngineer, assigned to the account"),
    ]
    condition = (
        "assertion.repository == 'acme/ai-platform' && attribute.gate in ['pull_request', 'environment:prod-gcp']"
    )
    provider = one(
        "gcp:iam/workloadIdentityPoolProvider:WorkloadIdentityPoolProvider", {"attributeCondition": condition}
    )
    assert [text.partition(",")[0] for _, text in provider] == ["GitHub: environment prod-gcp in acme/ai-platform"]
    member = {"members": [{"member": "group:ml@example.com"}, {"member": "group:cloud-storage-analytics@google.com"}]}
    assert one("gcp:projects/iAMMember:IAMMember", member) == [
        ("setting", "Google Workspace or Cloud Identity: group ml@example.com")
    ]


@pytest.mark.parametrize(
    ("secret", "giver", "prop"),
    [
        (HELD, "aws:secretsmanager/secretVersion:SecretVersion", "secretId"),
        (HELD, "aws:secretsmanager/secretRotation:SecretRotation", "secretId"),
        (GCP_HELD, "gcp:secretmanager/secretVersion:SecretVersion", "secret"),
    ],
)
def test_a_secret_without_a_value_waits_for_a_person(secret: str, giver: str, prop: str) -> None:
    key = "name" if secret == HELD else "secretId"
    alone = make(secret, "hub", inputs={key: "acme/hub"})
    assert said(alone) == [("value", "the value of the secret acme/hub, added after the `up`")]
    assert said(make(secret, "hub"))[0][1] == "the value of the secret hub, added after the `up`"
    assert said(alone, make(giver, "v", inputs={prop: ref(secret, "hub")})) == []
    assert said(alone, make(giver, "v", inputs={prop: ref(secret, "other")})) != []
    assert one(GCP_HELD, {"rotation": {"rotationPeriod": "1s"}}) == []


@pytest.mark.parametrize(
    ("type_", "inputs", "text"),
    [
        ("gcp:dns/managedZone:ManagedZone", {"dnsName": "ai.example.com."}, "the domain ai.example.com. delegated to its zone"),
        ("gcp:dns/managedZone:ManagedZone", {"dnsName": "x.", "visibility": "private"}, None),
        ("aws:route53/zone:Zone", {"name": "ai.example.com"}, "the domain ai.example.com delegated to its zone"),
        ("aws:route53/zone:Zone", {"name": "x", "vpcs": [{"vpcId": "v"}]}, None),
        (
            "aws:acm/certificate:Certificate",
            {"domainName": "api.example.com"},
            "a certificate for api.example.com: its validation waits until the domain answers",
        ),
        ("aws:acm/certificate:Certificate", {"privateKey": "x"}, None),
    ],
)  # fmt: skip
def test_domains(type_: str, inputs: dict[str, Any], text: str | None) -> None:
    assert one(type_, inputs) == ([("domain", text)] if text else [])


def test_mail_that_must_be_confirmed() -> None:
    subscription = "aws:sns/topicSubscription:TopicSubscription"
    assert one(subscription, {"protocol": "email", "endpoint": "ops@example.com"}) == [
        ("confirmation", "ops@example.com confirms the subscription mail; until then it hears of no alarm")
    ]
    assert one(subscription, {"protocol": "sqs", "endpoint": "arn"}) == []


def test_in_the_order_in_which_a_person_meets_them() -> None:
    found: Graph = graph(
        make("aws:sns/topicSubscription:TopicSubscription", "m", inputs={"protocol": "email", "endpoint": "x@y"}),
        make(HELD, "s"),
        make("gcp:orgpolicy/policy:Policy", "o"),
        make(AWS, "aws", inputs={"allowedAccountIds": ["2", "1"]}),
    )
    kinds = [n.kind for n in needs(found)]
    assert kinds == sorted(kinds, key=list(KINDS).index)
    assert [n.text[:13] for n in needs(found)][:2] == ["AWS account 1", "AWS account 2"]


def test_types_and_inputs_exist_in_the_sdks() -> None:
    """A misspelt type would never be met, and the need never told."""
    import pulumi_aws
    import pulumi_gcp

    from preview import needs as module

    known = "".join(f.read_text() for f in (_init(pulumi_aws), _init(pulumi_gcp)))
    types = {r.types for r in module._BEFORE} | {q.types for q in module._QUOTAS} | set(module._SECRETS)
    types |= {giver for givers in module._SECRETS.values() for giver in givers}
    types |= {"gcp:dns/managedZone:ManagedZone", "aws:route53/zone:Zone", "aws:acm/certificate:Certificate"}
    assert [t for t in sorted(types) if f'"{t.removesuffix("/")}' not in known] == []


def _init(package: Any) -> Any:
    from pathlib import Path

    return Path(package.__file__)


def test_quotas_that_the_stack_asks_for_stand_beside_what_an_account_has() -> None:
    asked = {"serviceCode": "ec2", "quotaCode": "L-3819A6DF", "value": 96}
    [(kind, text)] = one("aws:servicequotas/serviceQuota:ServiceQuota", asked)
    assert kind == "quota"
    assert text == "96 vCPUs of the quota L-3819A6DF, which the stack asks for; the default is 0"
    preference = {
        "service": "compute.googleapis.com",
        "quotaId": "GPUS-ALL-REGIONS-per-project",
        "quotaConfig": {"preferredValue": "16"},
    }
    [(_, text)] = one("gcp:cloudquota/sQuotaPreference:SQuotaPreference", preference)
    assert text.startswith("16 accelerators of the quota GPUS-ALL-REGIONS-per-project")
    [(_, text)] = one("aws:servicequotas/serviceQuota:ServiceQuota", {**asked, "quotaCode": "L-0"})
    assert text == "96 units of the quota L-0, which the stack asks for; the default is not known"
