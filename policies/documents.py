"""IAM policy documents of AWS, read once and in one form, however they were written.

A statement may stand alone or in a list, an action may be text or a list, and what is named may also be named by exception
(`NotAction`). Rules look at `Statement` and need not know. Grammar: IAM User Guide, "Grammar of the IAM JSON policy language".
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, Literal

from policies.context import maps
from policies.model import REFERENCE, Graph, Resource, is_unknown

Kind = Literal["identity", "trust", "resource", "endpoint", "boundary"]


@dataclass(frozen=True, slots=True)
class Condition:
    """One line of a condition: an operator, a key (lower case, as IAM compares it) and the values."""

    operator: str
    key: str
    values: tuple[str, ...]

    @property
    def demands(self) -> bool:
        """Whether a request without the key, or with another value, fails the condition.

        `…IfExists` and `ForAllValues:` hold where the key is missing, `…Not…` where it is anything else, `*` always.
        """
        operator = self.operator.removeprefix("ForAnyValue:")
        positive = operator in _POSITIVE
        return positive and bool(self.values) and not any(_is_open(value) for value in self.values)


_POSITIVE = {
    "StringEquals",
    "StringEqualsIgnoreCase",
    "StringLike",
    "ArnEquals",
    "ArnLike",
    "IpAddress",
    "NumericEquals",
    "Bool",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement. Text that is missing is empty, lists are tuples."""

    sid: str
    allows: bool
    actions: tuple[str, ...]
    not_actions: tuple[str, ...]
    resources: tuple[str, ...]
    not_resources: tuple[str, ...]
    principals: tuple[tuple[str, str], ...]
    """Kind (`AWS`, `Service`, `Federated`, …) and value; everybody is `("AWS", "*")`."""
    not_principals: tuple[tuple[str, str], ...]
    conditions: tuple[Condition, ...]

    @property
    def label(self) -> str:
        """How a message calls the statement."""
        return self.sid or ", ".join((self.actions or self.not_actions)[:2])

    @property
    def anyone(self) -> bool:
        """Whether the principals leave nobody out."""
        return bool(self.not_principals) or any(
            value == "*" or (kind == "AWS" and "*" in value) for kind, value in self.principals
        )

    @property
    def everywhere(self) -> bool:
        """Whether the resources leave nothing of a service out, such as `*` or `arn:aws:s3:::*`."""
        return bool(self.not_resources) or any(_is_everything(resource) for resource in self.resources)

    def covers(self, action: str) -> bool:
        """Whether the statement speaks of `action`, given in full (`kms:Decrypt`)."""
        if self.not_actions:
            return not any(_matches(action, pattern) for pattern in self.not_actions)
        return any(_matches(action, pattern) for pattern in self.actions)

    def demands(self, *keys: str) -> bool:
        """Whether a condition insists on one of these keys, given in lower case; a trailing `*` matches any ending."""
        return any(c.demands and any(fnmatchcase(c.key, key) for key in keys) for c in self.conditions)

    def demands_if_stated(self, *keys: str) -> bool:
        """The same, where a request without the key may pass."""
        plain = [replace(c, operator=c.operator.removesuffix("IfExists")) for c in self.conditions]
        return replace(self, conditions=tuple(plain)).demands(*keys)


@dataclass(frozen=True, slots=True)
class Document:
    """A policy document of a resource."""

    path: str
    kind: Kind
    value: Any
    statements: tuple[Statement, ...] | None
    """`None` where the document cannot be read: not yet known, or no policy document at all."""

    @property
    def unknown(self) -> bool:
        """Whether the document is an output that does not exist yet."""
        return is_unknown(self.value)


# Where each type keeps a policy document, and what the document is there.
PLACES: Mapping[str, tuple[tuple[str, Kind], ...]] = {
    "aws:iam/policy:Policy": (("policy", "identity"),),
    "aws:iam/rolePolicy:RolePolicy": (("policy", "identity"),),
    "aws:iam/groupPolicy:GroupPolicy": (("policy", "identity"),),
    "aws:iam/userPolicy:UserPolicy": (("policy", "identity"),),
    "aws:iam/role:Role": (("assumeRolePolicy", "trust"),),
    "aws:kms/key:Key": (("policy", "resource"),),
    "aws:kms/replicaKey:ReplicaKey": (("policy", "resource"),),
    "aws:kms/keyPolicy:KeyPolicy": (("policy", "resource"),),
    "aws:s3/bucketPolicy:BucketPolicy": (("policy", "resource"),),
    "aws:sns/topicPolicy:TopicPolicy": (("policy", "resource"),),
    "aws:sns/topic:Topic": (("policy", "resource"),),
    "aws:sqs/queuePolicy:QueuePolicy": (("policy", "resource"),),
    "aws:sqs/queue:Queue": (("policy", "resource"),),
    "aws:secretsmanager/secretPolicy:SecretPolicy": (("policy", "resource"),),
    "aws:secretsmanager/secret:Secret": (("policy", "resource"),),
    "aws:cloudwatch/logResourcePolicy:LogResourcePolicy": (("policyDocument", "resource"),),
    "aws:ecr/repositoryPolicy:RepositoryPolicy": (("policy", "resource"),),
    "aws:ecr/registryPolicy:RegistryPolicy": (("policy", "resource"),),
    "aws:ecr/repositoryCreationTemplate:RepositoryCreationTemplate": (("repositoryPolicy", "resource"),),
    "aws:efs/fileSystemPolicy:FileSystemPolicy": (("policy", "resource"),),
    "aws:sagemaker/modelPackageGroupPolicy:ModelPackageGroupPolicy": (("resourcePolicy", "resource"),),
    "aws:ec2/vpcEndpoint:VpcEndpoint": (("policy", "endpoint"),),
    "aws:ec2/vpcEndpointPolicy:VpcEndpointPolicy": (("policy", "endpoint"),),
}

_ATTACHMENTS = (
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
    "aws:iam/policyAttachment:PolicyAttachment",
    "aws:iam/userPolicyAttachment:UserPolicyAttachment",
    "aws:iam/groupPolicyAttachment:GroupPolicyAttachment",
)


def documents(resource: Resource, graph: Graph, *kinds: Kind) -> Iterator[Document]:
    """The policy documents of a resource, of these kinds where any is given."""
    for path, kind in PLACES.get(resource.type, ()):
        found = "boundary" if kind == "identity" and _is_boundary(resource, graph) else kind
        if (not kinds or found in kinds) and path in resource.inputs:
            yield _document(path, found, resource.inputs[path])
    if resource.type == "aws:iam/role:Role" and (not kinds or "identity" in kinds):
        for i, policy in enumerate(maps(resource.get("inlinePolicies"))):
            yield _document(f"inlinePolicies.{i}.policy", "identity", policy.get("policy"))


def statements(resource: Resource, graph: Graph, *kinds: Kind) -> Iterator[Statement]:
    """The statements of the documents that can be read; `document-readable` reports the others."""
    for document in documents(resource, graph, *kinds):
        yield from document.statements or ()


def _document(path: str, kind: Kind, value: Any) -> Document:
    text = value if isinstance(value, str) else json.dumps(value)
    return Document(path, kind, value, read(text))


def _is_boundary(policy: Resource, graph: Graph) -> bool:
    """Whether a policy only ever limits: a boundary of identities, attached to none."""
    if policy.type != "aws:iam/policy:Policy":
        return False
    referring = graph.referring(policy.urn)
    limits = any(policy.urn in _targets(r.inputs.get("permissionsBoundary")) for r in referring)
    return limits and not any(r.type in _ATTACHMENTS for r in referring)


def _targets(value: Any) -> set[str]:
    return {match[1] for match in REFERENCE.finditer(value)} if isinstance(value, str) else set()


@lru_cache(maxsize=4096)
def read(text: str) -> tuple[Statement, ...] | None:
    """The statements of a policy document in JSON; `None` where the text is none."""
    try:
        document = json.loads(text)
    except ValueError:
        return None
    if not isinstance(document, dict) or "Statement" not in document:
        return None
    listed = document["Statement"]
    raw = listed if isinstance(listed, list) else [listed]
    if not all(isinstance(item, dict) and str(item.get("Effect")) in {"Allow", "Deny"} for item in raw):
        return None
    return tuple(_statement(item) for item in raw)


def _statement(raw: Mapping[str, Any]) -> Statement:
    return Statement(
        sid=str(raw.get("Sid", "")),
        allows=raw["Effect"] == "Allow",
        actions=_texts(raw.get("Action")),
        not_actions=_texts(raw.get("NotAction")),
        resources=_texts(raw.get("Resource")),
        not_resources=_texts(raw.get("NotResource")),
        principals=_principals(raw.get("Principal")),
        not_principals=_principals(raw.get("NotPrincipal")),
        conditions=_conditions(raw.get("Condition")),
    )


def _texts(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    return tuple(str(item) for item in value) if isinstance(value, list) else (str(value),)


def _principals(value: Any) -> tuple[tuple[str, str], ...]:
    if isinstance(value, dict):
        return tuple((kind, item) for kind, items in value.items() for item in _texts(items))
    return tuple(("AWS", item) for item in _texts(value))


def _conditions(value: Any) -> tuple[Condition, ...]:
    if not isinstance(value, dict):
        return ()
    return tuple(
        Condition(operator, key.lower(), tuple(_plain(v) for v in (items if isinstance(items, list) else [items])))
        for operator, keys in value.items()
        if isinstance(keys, dict)
        for key, items in keys.items()
    )


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _matches(action: str, pattern: str) -> bool:
    return fnmatchcase(action.lower(), pattern.lower())


def _is_open(value: str) -> bool:
    """Whether a pattern in a condition leaves nobody out, such as `*`, `repo:*` or `arn:aws:s3:::*`."""
    if value.startswith("arn:") and not REFERENCE.search(value):
        account, resource = (value.split(":", 5) + ["*"] * 6)[4:6]
        return account.strip("*") == "" and resource.strip("*/") == ""
    return value.strip("*?:/") in {"", "repo"}


def _is_everything(resource: str) -> bool:
    if resource.strip("*") == "":
        return True
    if REFERENCE.search(resource):
        return False
    parts = resource.split(":", 5)
    return parts[0] == "arn" and len(parts) == 6 and parts[5].strip("*") == ""
