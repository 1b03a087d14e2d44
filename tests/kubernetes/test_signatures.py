"""Signatures of images on EKS: whose is trusted, which pods are asked about, and what follows."""

from dataclasses import replace
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from components.kubernetes.foundation.charts import CHARTS
from components.kubernetes.foundation.signatures import ROOT
from policies.model import Graph
from tests.kubernetes.building import SIGNER, VERIFICATION, before, built, objects, releases

AUDIT = {"verification": replace(VERIFICATION, enforced=False)}


def policy(graph: Graph) -> Any:
    [found] = objects(graph, "ClusterPolicy").values()
    return found


def rule(graph: Graph) -> Any:
    [found] = policy(graph).get("spec.rules")
    return found


def test_the_profile_of_the_environment_is_trusted_and_nobody_else():
    graph = built("aws")
    [trust], [store] = objects(graph, "TrustPolicy").values(), objects(graph, "TrustStore").values()
    [statement] = trust.get("spec.trustPolicies")
    assert statement["trustedIdentities"] == [SIGNER]
    assert statement["signatureVerification"] == {"level": "strict"}
    assert statement["registryScopes"] == ["*"]
    assert statement["trustStores"] == [f"{store.get('spec.type')}:{store.get('spec.trustStoreName')}"]
    # The policy names that one, and so does the verifier for whoever names none.
    data = {d["key"]: d["value"] for d in rule(graph)["context"][1]["apiCall"]["data"]}
    assert data == {"images": "{{ images }}", "trustPolicy": trust.get("spec.trustPolicyName")}
    assert releases(graph)["notation-aws-verifier"].inputs["values"]["defaultTrustPolicy"] == data["trustPolicy"]


def test_what_cannot_be_asked_is_not_asked_and_all_else_is_looked_at():
    """Else nothing of a team's would start in a network without a way out."""
    graph = built("aws", args={"verification": replace(VERIFICATION, revocation=False)})
    [trust] = objects(graph, "TrustPolicy").values()
    [statement] = trust.get("spec.trustPolicies")
    assert statement["signatureVerification"] == {"level": "strict", "override": {"revocation": "skip"}}


def test_the_root_is_aws_signer_s():
    certificate = x509.load_pem_x509_certificate(ROOT.encode())
    assert certificate.fingerprint(hashes.SHA256()).hex() == (
        "90a87d0543c3f094dbff9589b6649affe2f3d6e0f308799be2258461c686473f"
    )
    assert certificate.subject == certificate.issuer
    key, algorithm = certificate.public_key(), certificate.signature_hash_algorithm
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert algorithm
    key.verify(certificate.signature, certificate.tbs_certificate_bytes, ec.ECDSA(algorithm))


def test_every_pod_of_a_team_is_asked_about_also_when_its_images_change():
    [match] = rule(built("aws"))["match"]["any"]
    assert match["resources"] == {
        "kinds": ["Pod"],
        "operations": ["CREATE", "UPDATE"],
        "namespaceSelector": {"matchExpressions": [{"key": "ai-platform.io/team", "operator": "Exists"}]},
    }


def test_enforced_means_that_nothing_starts_without_an_answer_and_audited_that_all_does():
    enforced, audited = built("aws"), built("aws", args=AUDIT)
    for graph, failure, action in ((enforced, "Fail", "Enforce"), (audited, "Ignore", "Audit")):
        assert policy(graph).get("spec.webhookConfiguration.failurePolicy") == failure
        assert rule(graph)["validate"]["failureAction"] == action
    for graph, replicas in ((enforced, 3), (audited, 1)):
        kyverno, verifier = (releases(graph)[n].inputs["values"] for n in ("kyverno", "notation-aws-verifier"))
        assert kyverno["admissionController"]["replicas"] == verifier["replicaCount"] == replicas
        for budget in (kyverno["admissionController"]["podDisruptionBudget"], verifier["podDisruptionBudget"]):
            assert budget["enabled"] is (replicas > 1)


def test_no_other_namespace_waits_for_kyverno():
    selector = releases(built("aws"))["kyverno"].inputs["values"]["config"]["webhooks"]["namespaceSelector"]
    assert selector == {"matchExpressions": [{"key": "ai-platform.io/team", "operator": "Exists"}]}


def test_kyverno_is_believed_and_may_read_one_secret():
    graph = built("aws")
    values = releases(graph)["notation-aws-verifier"].inputs["values"]
    roles = objects(graph, "Role")
    [rule_] = roles["notation-aws-verifier/read-certificate"].get("rules")
    assert rule_["verbs"] == ["get"]
    [name] = rule_["resourceNames"]
    certificate, answer = (part["apiCall"] for part in rule(graph)["context"])
    assert certificate["urlPath"].endswith(f"/namespaces/notation-aws-verifier/secrets/{name}")
    assert answer["service"]["url"] == f"https://{name.removesuffix('.tls-pair')}/checkimages"
    [subject] = objects(graph, "RoleBinding")["notation-aws-verifier/read-certificate"].get("subjects")
    account = f"system:serviceaccount:{subject['namespace']}:{subject['name']}"
    assert values["tokenReview"]["allowedUsers"] == [account]
    # What Kyverno shows has an audience of its own since tokens for the API server are no longer sent.
    assert values["tokenReview"]["audiences"] == ["kyverno-svc.kyverno.io"]


def test_the_policy_comes_after_what_it_asks_and_the_verifier_after_its_identity():
    graph = built("aws")
    for name in ("kyverno", "notation-aws-verifier"):
        assert releases(graph)[name].urn in before(graph, policy(graph))
    for kind in ("TrustPolicy", "TrustStore"):
        assert all(thing.urn in before(graph, policy(graph)) for thing in objects(graph, kind).values())
    annotations = releases(graph)["notation-aws-verifier"].inputs["values"]["podAnnotations"]
    assert annotations == {"ai-platform.io/identity": "arn:aws:iam::111111111111:role/acme-ai-dev-verifier"}


def test_images_come_through_the_mirror_that_is_there():
    graph = built("aws", args={"mirrors": {"ghcr.io": "mirror.example.com/ghcr"}})
    kyverno, verifier = (releases(graph)[n].inputs["values"] for n in ("kyverno", "notation-aws-verifier"))
    assert kyverno["global"]["image"]["registry"] == "mirror.example.com/ghcr"
    assert kyverno["webhooksCleanup"]["image"]["registry"] == "mirror.example.com/ghcr"
    assert verifier["image"]["registry"] == "mirror.example.com/ghcr"


def test_google_does_it_itself():
    assert not set(releases(built("gcp"))) & {"kyverno", "notation-aws-verifier"}
    assert not objects(built("gcp"), "ClusterPolicy")
    assert {CHARTS[name].version for name in ("kyverno", "notation-aws-verifier")} == {"3.9.0", "1.0.0"}
