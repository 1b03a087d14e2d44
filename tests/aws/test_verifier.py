"""What verifies signatures in a cluster may read the environment's own images and ask Signer, and is the pods' alone."""

from pathlib import Path
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest

from components import contracts
from components.aws.training.verifier import Verifier, VerifierArgs
from components.kubernetes.foundation.signatures import VERIFIER
from policies.model import Graph
from preview.record import run
from tests.aws.building import build, one, statements
from tests.aws.test_examples import given


def built() -> Graph:
    def program() -> None:
        here = given()
        opts = pulumi.ResourceOptions(parent=here["parent"], provider=here["scope"].provider)
        made = aws.eks.Cluster("cluster", name="acme-ai-dev", role_arn="role", vpc_config={"subnet_ids": []}, opts=opts)
        cluster = contracts.Cluster(
            name=made.name, physical_name="acme-ai-dev", endpoint=made.endpoint, location="us-west-2",
            provider=here["scope"].provider, resource=made, node_identity=made.arn, security_group=None,
        )  # fmt: skip
        verifier = Verifier(
            "verifier",
            VerifierArgs(cluster=cluster, boundary=here["boundary"]),
            scope=here["scope"],
            parent=here["parent"],
        )
        aws.ssm.Parameter("after", name="after", type="String", value=verifier.outputs.id, opts=opts)

    return run(program)


def test_it_reads_the_environment_s_own_repositories_and_writes_nothing():
    granted = statements(one(built(), "RolePolicy", "verifier-policy"))
    actions = {action: statement["Resource"] for statement in granted for action in statement["Action"]}
    assert not any(word in action for action in actions for word in ("Put", "Delete", "Upload", "*"))
    assert {"ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "signer:GetRevocationStatus"} <= set(actions)
    own = ["arn:aws:ecr:us-west-2:111111111111:repository/acme-ai-dev/*"]
    everywhere = {"ecr:GetAuthorizationToken", "signer:GetRevocationStatus"}
    assert all(found == (["*"] if action in everywhere else own) for action, found in actions.items())


def test_the_pods_that_the_chart_makes_are_given_it_before_they_are_made():
    graph = built()
    association = one(graph, "PodIdentityAssociation", "verifier-pods")
    assert (association.get("namespace"), association.get("serviceAccount")) == (VERIFIER, VERIFIER)
    assert association.urn in one(graph, "Parameter", "after").dependencies


COPIES = {host: f"333333333333.dkr.ecr.us-west-2.amazonaws.com/copies/{host[:4]}" for host in ("ghcr.io", "nvcr.io")}


@pytest.mark.parametrize(("egress", "level"), [("deny", {"revocation": "skip"}), ("open", None)])
def test_signatures_are_verified_with_what_the_network_reaches(project: Path, egress: str, level: Any):
    registry = {"copies": COPIES, "signatures": "enforce"}
    graph = build(project, {"network": {"cidr": "10.16.0.0/16", "egress": egress}, "registry": registry})
    [trust] = graph.of_type("kubernetes:notation.nirmata.io/v1alpha1:TrustPolicy")
    assert trust.get("spec.trustPolicies.0.signatureVerification.override") == level
    [asking] = graph.of_type("kubernetes:kyverno.io/v1:ClusterPolicy")
    assert asking.get("spec.rules.0.validate.failureAction") == "Enforce"
    [chart] = [r for r in graph.of_type("kubernetes:helm.sh/v3:Release") if r.get("name") == VERIFIER]
    assert chart.get("chart") == f"oci://{COPIES['ghcr.io']}/krax1337/charts/notation-aws-verifier"
