"""Policy documents of AWS as plain dictionaries, from small parts.

A value may also be an output of another resource; `pulumi.Output.json_dumps` turns the whole into text once it is known.

>>> document(allow(["s3:GetObject"], ["arn:aws:s3:::b/*"], when=secure_transport()))["Statement"][0]["Condition"]
{'Bool': {'aws:SecureTransport': 'true'}}
"""

from collections.abc import Mapping, Sequence
from typing import Any

Condition = dict[str, dict[str, Any]]
Statement = dict[str, Any]
Document = dict[str, Any]


def allow(actions: Sequence[str], resources: Sequence[Any] = (), **rest: Any) -> Statement:
    """A statement that allows. See `statement` for what else it takes."""
    return statement("Allow", actions, resources, **rest)


def deny(actions: Sequence[str], resources: Sequence[Any] = (), **rest: Any) -> Statement:
    """A statement that denies. See `statement` for what else it takes."""
    return statement("Deny", actions, resources, **rest)


def statement(
    effect: str,
    actions: Sequence[str],
    resources: Sequence[Any] = (),
    *,
    sid: str | None = None,
    principals: Mapping[str, Any] | str | None = None,
    when: Condition | None = None,
) -> Statement:
    """One statement. `resources` are left out in trust policies; `principals` maps a kind (`Service`, `AWS`, …) to ids."""
    made: Statement = {"Sid": sid} if sid else {}
    made["Effect"] = effect
    if principals is not None:
        made["Principal"] = principals
    made["Action"] = list(actions)
    if resources:
        made["Resource"] = list(resources)
    if when:
        made["Condition"] = when
    return made


def document(*statements: Statement) -> Document:
    """A policy document of these statements."""
    return {"Version": "2012-10-17", "Statement": list(statements)}


def both(*conditions: Condition) -> Condition:
    """All of these conditions at once."""
    merged: Condition = {}
    for condition in conditions:
        for operator, keys in condition.items():
            merged[operator] = {**merged.get(operator, {}), **keys}
    return merged


def secure_transport(*, required: bool = True) -> Condition:
    """The request came over TLS; with `required=False`, that it did not."""
    return {"Bool": {"aws:SecureTransport": str(required).lower()}}


def source(account: str, arn: Any = None) -> Condition:
    """A service acts for this account and, where `arn` is given, for this resource: no confused deputy."""
    found: Condition = {"StringEquals": {"aws:SourceAccount": account}}
    return both(found, {"ArnLike": {"aws:SourceArn": arn}}) if arn is not None else found


def trust(service: str, account: str, arn: Any = None) -> Document:
    """The trust policy of a role that one service assumes, for this account and resource only."""
    return document(allow(["sts:AssumeRole"], principals={"Service": service}, when=source(account, arn)))


def outsiders(account: str, organization: str | None = None) -> Condition:
    """Whoever is neither of this account (of this organization, where one is given) nor a service of AWS; for denials.

    >>> outsiders("111111111111")["StringNotEquals"]
    {'aws:PrincipalAccount': '111111111111'}
    """
    inside = {"aws:PrincipalOrgID": organization} if organization else {"aws:PrincipalAccount": account}
    # Negated operators also match where the key is missing, as it is for a service of AWS: hence the second condition.
    return {"StringNotEquals": inside, "BoolIfExists": {"aws:PrincipalIsAWSService": "false"}}


def insiders(account: str, organization: str | None = None) -> Condition:
    """A principal of this account (of this organization, where one is given), on a resource of the same; for grants.

    >>> insiders("111111111111", "o-abcdefghij")["StringEquals"]["aws:ResourceOrgID"]
    'o-abcdefghij'
    """
    key, value = ("OrgID", organization) if organization else ("Account", account)
    return {"StringEquals": {f"aws:Principal{key}": value, f"aws:Resource{key}": value}}


def via(region: str, *services: str) -> Condition:
    """A key is used on somebody's behalf by one of these services of a region, never directly.

    >>> via("us-west-2", "s3")
    {'StringEquals': {'kms:ViaService': ['s3.us-west-2.amazonaws.com']}}
    """
    return {"StringEquals": {"kms:ViaService": [f"{service}.{region}.amazonaws.com" for service in services]}}
