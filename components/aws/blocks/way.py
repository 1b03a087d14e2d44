"""The way from one security group to another."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components import contracts
from components.contracts import Text
from components.scope import Component, Scope, after


def way(entry: contracts.Entry | None) -> Mapping[str, tuple[Text, tuple[int, int]]]:
    """Where a client's security group has to lead to reach its cache: group and ports, by a name of ours."""
    return {"cache": (entry.group, entry.ports)} if entry and entry.group is not None else {}


@dataclass(frozen=True, kw_only=True)
class WayArgs:
    """From where, to where, and on which ports."""

    source: Text
    """Id of the group of those that call."""
    target: Text
    """Id of the group of what is called."""
    ports: tuple[int, int]
    """First and last."""
    description: str


class Way(Component):
    """Both rules that a connection takes: out of the one group, into the other.

    Owns the two rules. Never owns a group. Costs nothing; a destroy takes it away before the groups.

    >>> args = WayArgs(source=key.id, target=key.id, ports=(6379, 6380), description="Answers")
    >>> group = Way("chat-cache", args, scope=scope, parent=parent).outputs.id
    """

    outputs: contracts.SecurityGroup

    def __init__(self, name: str, args: WayArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the rules."""
        super().__init__(name, scope, parent)
        first, last = args.ports
        outward = aws.vpc.SecurityGroupEgressRule(
            f"{name}-out",
            security_group_id=args.source,
            referenced_security_group_id=args.target,
            description=args.description,
            ip_protocol="tcp",
            from_port=first,
            to_port=last,
            opts=self.options(),
        )
        inward = aws.vpc.SecurityGroupIngressRule(
            f"{name}-in",
            security_group_id=args.target,
            referenced_security_group_id=args.source,
            description=args.description,
            ip_protocol="tcp",
            from_port=first,
            to_port=last,
            opts=self.options(),
        )
        self.outputs = contracts.SecurityGroup(id=after(args.source, outward, inward))
        self.finish(self.outputs)
