"""Where the machines of one workload may call, and who may call them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws

from components import contracts
from components.aws.blocks.way import Way, WayArgs
from components.contracts import Text
from components.scope import Component, Scope, after


@dataclass(frozen=True, kw_only=True)
class SecurityGroupArgs:
    """What one workload reaches."""

    label: str
    """Name of the group, within the environment."""
    description: str
    network: contracts.Network
    services: Sequence[str] = ("s3",)
    """Services behind a gateway that it calls, where ways out are closed."""
    inside: tuple[str, int | None, int | None] | None = None
    """Protocol and ports, first and last, that its machines have open for one another; None for none."""
    to: Mapping[str, tuple[Text, tuple[int, int]]] = field(default_factory=dict[str, tuple[Text, tuple[int, int]]])
    """What else it reaches, by a name of ours: group and ports, whose side is opened too."""


class SecurityGroup(Component):
    """A group that lets nobody in, HTTPS out to where the network's workloads may call, and its own machines to one another.

    Owns the group, its rules, and those of the groups that it reaches. Never owns the machines. Costs nothing; a destroy takes it
    away after the machines in it.

    >>> args = SecurityGroupArgs(label="jobs", description="Jobs: HTTPS out", network=network, inside=("-1", None, None))
    >>> group = SecurityGroup("jobs-network", args, scope=scope, parent=parent).outputs.id
    """

    outputs: contracts.SecurityGroup

    def __init__(self, name: str, args: SecurityGroupArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the group and its rules."""
        super().__init__(name, scope, parent)
        physical, network = scope.names.of(args.label), args.network
        group = aws.ec2.SecurityGroup(
            name,
            name=physical,
            description=args.description,
            vpc_id=network.id,
            tags={"Name": physical},
            opts=self.options(),
        )
        # What is behind a gateway has addresses that are public.
        gateways = {name: found for name, found in sorted(network.prefix_lists.items()) if name in args.services}
        rules: list[pulumi.Resource] = [
            aws.vpc.SecurityGroupEgressRule(
                f"{name}-to-{way.replace('/', '-')}",
                security_group_id=group.id,
                description="HTTPS",
                ip_protocol="tcp",
                from_port=443,
                to_port=443,
                cidr_ipv4=way if way in network.reach else None,
                prefix_list_id=gateways.get(way),
                opts=self.options(),
            )
            for way in (*network.reach, *gateways)
        ]
        if args.inside:
            protocol, first, last = args.inside
            both = {"in": aws.vpc.SecurityGroupIngressRule, "out": aws.vpc.SecurityGroupEgressRule}
            rules += [
                make(
                    f"{name}-{way}",
                    security_group_id=group.id,
                    description="One another",
                    referenced_security_group_id=group.id,
                    ip_protocol=protocol,
                    from_port=first,
                    to_port=last,
                    opts=self.options(),
                )
                for way, make in both.items()
            ]
        for label, (target, ports) in sorted(args.to.items()):
            way = WayArgs(source=group.id, target=target, ports=ports, description=f"{args.label} to {label}")
            rules.append(Way(f"{name}-to-{label}", way, scope=scope, parent=self))
        self.outputs = contracts.SecurityGroup(id=after(group.id, *rules))
        self.finish(self.outputs)
