"""The identity of one workload."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components import contracts
from components.core import iam
from components.scope import Component, Scope, after

# Services whose documentation says that they name the resource they act for when they assume a role ("IAM role for publishing
# flow logs to CloudWatch Logs"). Of the others it is not said, and S3 is known not to: there the condition holds where the
# service does name somebody, so that it can never keep a service out of its own role. No resource of another account can be
# given the role either way, for iam:PassRole does not cross accounts.
_NAME_THE_SOURCE = frozenset({"vpc-flow-logs.amazonaws.com"})
# EKS Pod Identity tags the sessions of pods with their cluster, namespace and service account ("EKS Pod Identity role").
_PODS = "pods.eks.amazonaws.com"


def connect(entry: contracts.Entry) -> iam.Statement:
    """The right to connect to a cache: which one, and as whom ("Authenticating with IAM", ElastiCache)."""
    return iam.allow(["elasticache:Connect"], list(entry.connects), sid="Connect")


@dataclass(frozen=True, kw_only=True)
class WorkloadArgs:
    """What one workload is and may do."""

    description: str
    service: str | None
    """The service that runs it and assumes the role: `lambda.amazonaws.com`; None where only pods do."""
    source: str | None = None
    """Pattern of the ARN that the service acts for, where the service names it."""
    pod: tuple[str, str] | None = None
    """Namespace and service account of the pods that assume the role, through EKS Pod Identity."""
    statements: Sequence[iam.Statement]
    """All that it may do of its own; resources may be outputs."""
    policies: Sequence[str] = ()
    """Policies of AWS besides, by their path: `AmazonEKS_CNI_Policy`. For software of AWS that grows with its versions."""
    boundary: contracts.Boundary


class Workload(Component):
    """A role that one service assumes for one workload, with just the statements given, inside the boundary.

    Owns the role, its inline policy and what is attached to it. Never owns what the role is used by. Costs nothing; a
    destroy takes it away, after whatever uses `outputs.id`, since that resolves only once all of it is attached.

    >>> reads = iam.allow(["s3:GetObject"], ["arn:aws:s3:::acme-ai-dev-raw/*"])
    >>> args = WorkloadArgs(
    ...     description="Reads what arrived.", service="lambda.amazonaws.com", statements=[reads], boundary=boundary
    ... )
    >>> role = Workload("reader", args, scope=scope, parent=parent).outputs.id
    """

    outputs: contracts.Workload

    def __init__(self, name: str, args: WorkloadArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the role and its policy."""
        super().__init__(name, scope, parent)
        role = aws.iam.Role(
            f"{name}-role",
            name=scope.names.of(name, "iam_role"),
            description=args.description,
            assume_role_policy=pulumi.Output.json_dumps(_trust(args, scope.account)),
            permissions_boundary=args.boundary.id,
            force_detach_policies=True,
            opts=self.options(),
        )
        may: list[pulumi.Resource] = [
            aws.iam.RolePolicyAttachment(
                f"{name}-{path.rpartition('/')[2]}",
                role=role.name,
                policy_arn=f"arn:aws:iam::aws:policy/{path}",
                opts=self.options(),
            )
            for path in args.policies
        ]
        if args.statements:
            may.append(
                aws.iam.RolePolicy(
                    f"{name}-policy",
                    name=scope.names.of(name, "iam_policy"),
                    role=role.name,
                    policy=pulumi.Output.json_dumps(iam.document(*args.statements)),
                    opts=self.options(),
                )
            )
        self.outputs = contracts.Workload(id=after(role.arn, *may))
        self.finish(self.outputs)


def _trust(args: WorkloadArgs, account: str) -> iam.Document:
    if args.service in _NAME_THE_SOURCE:
        return iam.trust(str(args.service), account, args.source)
    ours: iam.Condition = {"StringEqualsIfExists": {"aws:SourceAccount": account}}
    who: iam.Condition = {}
    if args.pod:
        namespace, name = args.pod
        who = {
            "StringEquals": {
                "aws:RequestTag/kubernetes-namespace": namespace,
                "aws:RequestTag/kubernetes-service-account": name,
            }
        }
    services = dict.fromkeys(filter(None, (args.service, _PODS if args.pod else None)))
    return iam.document(
        *(
            iam.allow(
                ["sts:AssumeRole", *(["sts:TagSession"] if service == _PODS else [])],
                principals={"Service": service},
                when=iam.both(ours, who if service == _PODS else {}),
            )
            for service in services
        )
    )
