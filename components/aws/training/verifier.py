"""What reads the signatures of images for a cluster."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components import contracts
from components.aws.blocks.workload import Workload, WorkloadArgs
from components.core import iam
from components.scope import Component, Scope, after

_POD = ("notation-aws-verifier", "notation-aws-verifier")
"""Namespace and service account."""


@dataclass(frozen=True, kw_only=True)
class VerifierArgs:
    """Where it runs."""

    cluster: contracts.Cluster
    boundary: contracts.Boundary


class Verifier(Component):
    """The identity of the pods that verify signatures in a cluster.

    Owns a role that reads images and signatures of this environment's repositories and asks Signer whether a signature was
    revoked, and its association with the pods. Never owns the pods, the profile, nor the policy that refuses an image. On
    Google Cloud Binary Authorization verifies, which is no pod of ours.

    Costs nothing. A destroy takes it away before the cluster.

    >>> cluster = contracts.Cluster(
    ...     name=boundary.id, physical_name="acme-ai-dev-cluster", endpoint=boundary.id, location="us-west-2",
    ...     provider=scope.provider, resource=parent, node_identity=boundary.id, security_group=boundary.id,
    ... )
    >>> args = VerifierArgs(cluster=cluster, boundary=boundary)
    >>> role = Verifier("verifier", args, scope=scope, parent=parent).outputs.id
    """

    outputs: contracts.Workload

    def __init__(self, name: str, args: VerifierArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the role and associate it."""
        super().__init__(name, scope, parent)
        images = f"{scope.names.prefix}-{scope.names.environment}"
        namespace, account = _POD
        role = Workload(
            name,
            WorkloadArgs(
                description="Reads signatures of images.",
                service=None,
                pod=_POD,
                statements=statements(f"arn:aws:ecr:{scope.region}:{scope.account}:repository/{images}/*"),
                boundary=args.boundary,
            ),
            scope=scope,
            parent=self,
        ).outputs.id
        association = aws.eks.PodIdentityAssociation(
            f"{name}-pods",
            cluster_name=args.cluster.name,
            namespace=namespace,
            service_account=account,
            role_arn=role,
            opts=self.options(),
        )
        self.outputs = contracts.Workload(id=after(role, association))
        self.finish(self.outputs)


def statements(repositories: str) -> list[iam.Statement]:
    """What it may do: read from these repositories, and ask about signatures."""
    return [
        # notation-aws-verifier v1.0.0, README.md, "AWS permissions", as in Ratify's guide to AWS Signer.
        iam.allow(["ecr:GetAuthorizationToken", "signer:GetRevocationStatus"], ["*"]),
        iam.allow(
            ["ecr:BatchGetImage", "ecr:DescribeImages", "ecr:GetDownloadUrlForLayer", "ecr:ListImages"], [repositories]
        ),
    ]
