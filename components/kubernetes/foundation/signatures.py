"""Whose signature the images of teams have to have, where no service of the cloud looks after that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

from components import contracts
from components.kubernetes.contracts import TEAM, Verification
from components.kubernetes.contracts import Signatures as Handles
from components.kubernetes.objects import custom, inside
from components.scope import Component, Scope, after

VERIFIER = "notation-aws-verifier"
"""Namespace, release and service account of what verifies."""
KYVERNO = "kyverno"
"""Namespace and release of what asks it."""
ASKS = "kyverno-admission-controller"
"""Service account of what asks (kyverno-chart-3.9.0, charts/kyverno, README.md)."""
_API = "notation.nirmata.io/v1alpha1"
_TRUST = "aws-signer-ts"
# Chart `notation-aws-verifier` 1.0.0, templates/_helpers/_names.tpl: the service, and the secret with its certificate.
_SERVICE = f"{VERIFIER}-svc.{VERIFIER}.svc"
_CERTIFICATE = f"{_SERVICE}.tls-pair"
# AWS Signer's root for all regions but GovCloud and China, which AWS publishes as aws-signer-notation-root.cert (AWS Signer,
# "Prerequisites for signing container images"). SHA-256 of its DER form: see tests/kubernetes/test_signatures.py.
ROOT = """-----BEGIN CERTIFICATE-----
MIICWTCCAd6gAwIBAgIRAMq5Lmt4rqnUdi8qM4eIGbYwCgYIKoZIzj0EAwMwbDEL
MAkGA1UEBhMCVVMxDDAKBgNVBAoMA0FXUzEVMBMGA1UECwwMQ3J5cHRvZ3JhcGh5
MQswCQYDVQQIDAJXQTErMCkGA1UEAwwiQVdTIFNpZ25lciBDb2RlIFNpZ25pbmcg
Um9vdCBDQSBHMTAgFw0yMjEwMjcyMTMzMjJaGA8yMTIyMTAyNzIyMzMyMlowbDEL
MAkGA1UEBhMCVVMxDDAKBgNVBAoMA0FXUzEVMBMGA1UECwwMQ3J5cHRvZ3JhcGh5
MQswCQYDVQQIDAJXQTErMCkGA1UEAwwiQVdTIFNpZ25lciBDb2RlIFNpZ25pbmcg
Um9vdCBDQSBHMTB2MBAGByqGSM49AgEGBSuBBAAiA2IABM9+dM9WXbVyNOIP08oN
IQW8DKKdBxP5nYNegFPLfGP0f7+0jweP8LUv1vlFZqVDep5ONus9IxwtIYBJLd36
5Q3Z44Xnm4PY/wSI5xRvB/m+/B2PHc7Smh0P5s3Dt25oVKNCMEAwDwYDVR0TAQH/
BAUwAwEB/zAdBgNVHQ4EFgQUONhd3abPX87l4YWKxjysv28QwAYwDgYDVR0PAQH/
BAQDAgGGMAoGCCqGSM49BAMDA2kAMGYCMQCd32GnYU2qFCtKjZiveGfs+gCBlPi2
Hw0zU52LXIFC2GlcvwcekbiM6w0Azlr9qvMCMQDl4+Os0yd+fVlYMuovvxh8xpjQ
NPJ9zRGyYa7+GNs64ty/Z6bzPHOKbGo4In3KKJo=
-----END CERTIFICATE-----
"""


@dataclass(frozen=True, kw_only=True)
class SignaturesArgs:
    """Whom images are trusted from, and what happens to others."""

    cluster: contracts.Cluster
    verification: Verification
    ready: Sequence[pulumi.Resource]
    """What verifies, and what asks it."""


class Signatures(Component):
    """Images in teams' namespaces are signed by one profile of AWS Signer, or do not start.

    Owns whom the verifier trusts, the policy that asks it about each pod of a team, and leave to read the certificate that it
    answers with. Never owns the controllers (`Charts`), the profile, nor the verifier's identity. On Google Cloud Binary
    Authorization does all of this.

    Every image of a pod is asked about, those of init containers too, and again where one is changed. Where signatures are
    enforced, no pod of a team starts while verifier or policy engine are down: there are three of each. Elsewhere a pod
    without a signature starts, and a policy report in its namespace says so; the same where nobody answers. What was verified
    is trusted for two hours more, also where its signature is revoked meanwhile.

    Whether a signature was revoked only Signer's data plane knows (`data-signer`), for which no endpoint of a network's own is
    documented. In a network without a way out it is therefore not asked: there an image is taken back by deleting it.

    Why these controllers (looked up again in November 2026): a signature of AWS Signer is verified by Signer's own plugin of
    Notation alone. AWS names two that load it ("Validate container image signatures during deployment", EKS User Guide), and
    nothing of EKS's own, though ECR's guide speaks of that. Ratify (1.4.4, and 2.0.0-beta.1) signs in to ECR with a web
    identity only (pkg/common/oras/authprovider/aws/awsecrbasic.go of 2026-08; pull request 2446 for Pod Identity is open since
    2025), and loads the plugin as it runs, from a tag that moves. kyverno-notation-aws takes no such identity either, and has
    had nothing but raised dependencies in 2025. Kyverno's own verifiers have one fixed trust policy, `ca:kyverno`, without
    plugins (pkg/image/verifiers/cpol/notary/notary.go, v1.19.0; issue 10710 is closed as stale). What is left is the
    continuation of kyverno-notation-aws, one person's work. It therefore comes from a copy that somebody has read, at one
    version, and whoever raises that reads what changed; without a copy, a description that enforces signatures is refused.

    The way out where that work ends: Cosign with a key of KMS, which Kyverno verifies by itself (pkg/image/verifiers/cpol/cosign,
    `kms`). It gives up revocation, and that ECR signs what is pushed.

    Costs nothing by itself: about 1 vCPU and 2 GiB of the system machines. A destroy takes it along with the cluster.

    >>> verification = Verification(signer=cluster.name, identity=cluster.name, enforced=True)
    >>> args = SignaturesArgs(cluster=cluster, verification=verification, ready=[])
    >>> ready = Signatures("signatures", args, scope=scope, parent=parent).outputs.ready
    """

    layer = "kubernetes"
    outputs: Handles

    def __init__(self, name: str, args: SignaturesArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Say whom to trust, then ask about every pod."""
        super().__init__(name, scope, parent)
        self._args = args
        store = self._object(
            "trust", _API, "TrustStore", _TRUST,
            {"trustStoreName": _TRUST, "type": "signingAuthority", "caBundle": ROOT},
        )  # fmt: skip
        statement = {
            "name": "signer",
            "registryScopes": ["*"],
            "signatureVerification": _level(revocation=args.verification.revocation),
            "trustStores": [f"signingAuthority:{_TRUST}"],
            "trustedIdentities": [args.verification.signer],
        }
        trust = self._object(
            "signer", _API, "TrustPolicy", "signer",
            {"version": "1.0", "trustPolicyName": "signer", "trustPolicies": [statement]},
            store,
        )  # fmt: skip
        policy = self._object(
            "policy",
            "kyverno.io/v1",
            "ClusterPolicy",
            "ai-platform-signatures",
            asked(enforced=args.verification.enforced),
            trust,
            self._leave(),
            # The policy goes by the verifier's answer and not by other pods' definitions, so it says nothing of jobs.
            annotations={"pod-policies.kyverno.io/autogen-controllers": "none"},
        )
        self.outputs = Handles(ready=after("ai-platform-signatures", policy))
        self.finish(self.outputs)

    def _options(self, *made: pulumi.Resource) -> pulumi.ResourceOptions:
        return inside(self, self._args.cluster, *self._args.ready, *made)

    def _object(
        self,
        label: str,
        api: str,
        kind: str,
        name: str,
        spec: Mapping[str, Any],
        *made: pulumi.Resource,
        **metadata: Any,
    ) -> pulumi.Resource:
        return custom(
            f"{self.name}-{label}", api, kind, {"name": name, **metadata}, self._options(*made), spec=dict(spec)
        )

    def _leave(self) -> pulumi.Resource:
        role = kubernetes.rbac.v1.Role(
            f"{self.name}-certificate",
            metadata={"name": "read-certificate", "namespace": VERIFIER},
            rules=[
                {"api_groups": [""], "resources": ["secrets"], "resource_names": [_CERTIFICATE], "verbs": ["get"]},
            ],
            opts=self._options(),
        )
        return kubernetes.rbac.v1.RoleBinding(
            f"{self.name}-certificate",
            metadata={"name": "read-certificate", "namespace": VERIFIER},
            role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "Role", "name": "read-certificate"},
            subjects=[{"kind": "ServiceAccount", "name": ASKS, "namespace": KYVERNO}],
            opts=self._options(role),
        )


def _level(*, revocation: bool) -> dict[str, Any]:
    """How closely a signature is looked at (Notary Project, "Trust store and trust policy", signature verification)."""
    return {"level": "strict", **({} if revocation else {"override": {"revocation": "skip"}})}


def asked(*, enforced: bool) -> dict[str, Any]:
    """The policy: what is asked about which pods, and what follows.

    Source of the fields: api/kyverno/v1, v1.19.0. The verifier answers 406 where an image is not signed, which is an error of
    the rule and no failure of it: `failurePolicy` decides then, as it does where nobody answers.
    """
    return {
        "background": False,
        "emitWarning": not enforced,
        "webhookConfiguration": {"failurePolicy": "Fail" if enforced else "Ignore", "timeoutSeconds": 30},
        "rules": [
            {
                "name": "signed",
                "match": {
                    "any": [
                        {
                            "resources": {
                                "kinds": ["Pod"],
                                "operations": ["CREATE", "UPDATE"],
                                "namespaceSelector": {"matchExpressions": [{"key": TEAM, "operator": "Exists"}]},
                            }
                        }
                    ]
                },
                "context": [
                    {
                        "name": "certificate",
                        "apiCall": {
                            "urlPath": f"/api/v1/namespaces/{VERIFIER}/secrets/{_CERTIFICATE}",
                            "jmesPath": 'base64_decode(data."tls.crt")',
                        },
                    },
                    {
                        "name": "answer",
                        "apiCall": {
                            "method": "POST",
                            # Nothing that would leave an image out: neither references nor annotations of the pod.
                            "data": [
                                {"key": "images", "value": "{{ images }}"},
                                {"key": "trustPolicy", "value": "signer"},
                            ],
                            "service": {"url": f"https://{_SERVICE}/checkimages", "caBundle": "{{ certificate }}"},
                        },
                    },
                ],
                "validate": {
                    "failureAction": "Enforce" if enforced else "Audit",
                    "message": "an image is not signed by the profile of this environment: {{ answer.message }}",
                    "deny": {
                        "conditions": {
                            "all": [{"key": "{{ answer.verified }}", "operator": "NotEquals", "value": True}]
                        }
                    },
                },
            }
        ],
    }
