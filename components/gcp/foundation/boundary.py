"""What no identity of the environment may exceed, and what watches it."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from components import contracts
from components.scope import Component, Scope

_EVERYBODY = "principalSet://goog/public:all"
# In the form of IAM v2, all of them supported there. Source: IAM "Permissions supported in deny policies". To upload a key
# takes the same permission as to make one.
_LASTING_CREDENTIALS = (
    "apikeys.googleapis.com/keys.create",
    "iam.googleapis.com/serviceAccountKeys.create",
    "storage.googleapis.com/hmacKeys.create",
)
_EVIDENCE = (
    "logging.googleapis.com/buckets.delete",
    "logging.googleapis.com/buckets.update",
    "logging.googleapis.com/sinks.delete",
    "logging.googleapis.com/sinks.update",
)
_KEYS = ("cloudkms.googleapis.com/cryptoKeyVersions.destroy",)
# What a deployer's role on data sets holds besides (BigQuery roles: bigquery.dataOwner), and deploying never takes.
_ROWS = ("bigquery.googleapis.com/tables.getData",)
# Services whose reads are recorded, so that one sees who became whom, and who tried.
_WATCHED = ("iam.googleapis.com", "iamcredentials.googleapis.com", "sts.googleapis.com")


@dataclass(frozen=True, kw_only=True)
class BoundaryArgs:
    """Who is outside of part of it."""

    project: contracts.Text
    """From the API that holds deny policies."""
    organization: str | None
    """Number of the organisation; without one nobody can have the right to write a deny policy."""
    deployers: Sequence[pulumi.Input[str]]
    """E-mail addresses of the service accounts that deploy: they may change where logs go."""


class Boundary(Component):
    """A deny policy on the project: what nobody can do, whatever he is granted, and a record of who becomes whom.

    No credential that lasts, for nobody. In an environment that keeps its data, no key version is destroyed, and no log
    sink or bucket changed but by who deploys. And who deploys reads no row of any table: prompts and captured requests are there.

    Owns the deny policy and the audit configuration of the identity services. Never owns a grant. To write a deny policy
    takes `roles/iam.denyAdmin`, which only an organisation can give; so the policy is made where `organization` is given, by
    a person, at the first `pulumi up`, and the pipeline that it binds cannot change it.

    Costs nothing but the logs, 0.50 USD a GiB above 50 GiB a month (Cloud Logging prices, 2026-07). A destroy takes that
    person as well; Google needs some minutes to forget the policy.

    >>> [rule.get("description") for rule in rules([], keeps=False)]
    ['No credential that lasts.']
    """

    outputs: contracts.Boundary

    def __init__(self, name: str, args: BoundaryArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the policy and the audit configuration."""
        super().__init__(name, scope, parent)
        for service in _WATCHED:
            gcp.projects.IAMAuditConfig(
                f"{name}-audit-{service.removesuffix('.googleapis.com')}",
                project=args.project,
                service=service,
                audit_log_configs=[{"log_type": kind} for kind in ("ADMIN_READ", "DATA_READ", "DATA_WRITE")],
                opts=self.options(),
            )
        self.outputs = contracts.Boundary(id=self._policy(args).id if args.organization else None)
        self.finish(self.outputs)

    def _policy(self, args: BoundaryArgs) -> gcp.iam.DenyPolicy:
        scope = self.scope
        return gcp.iam.DenyPolicy(
            f"{self.name}-policy",
            name=scope.names.of(self.name, "compute"),
            display_name="What nobody in the environment can do",
            parent=args.project.apply(lambda project: f"cloudresourcemanager.googleapis.com%2Fprojects%2F{project}"),
            rules=rules([_principal(email) for email in args.deployers], keeps=not scope.deletable),
            opts=self.options(),
        )


def rules(deployers: Sequence[pulumi.Input[str]], *, keeps: bool) -> list[gcp.iam.DenyPolicyRuleArgsDict]:
    """The rules of the deny policy; `keeps` where the environment keeps its data, `deployers` as principals."""
    found = [_rule("No credential that lasts.", _LASTING_CREDENTIALS)]
    if deployers:
        found.append(_rule("Who deploys reads no data.", _ROWS, whose=deployers))
    if keeps:
        found.append(_rule("Evidence stays.", _EVIDENCE, deployers))
        found.append(_rule("Keys stay, and with them what they encrypt.", _KEYS))
    return found


def _rule(
    description: str,
    permissions: Sequence[str],
    but: Sequence[pulumi.Input[str]] = (),
    whose: Sequence[pulumi.Input[str]] = (_EVERYBODY,),
) -> gcp.iam.DenyPolicyRuleArgsDict:
    denied: gcp.iam.DenyPolicyRuleDenyRuleArgsDict = {
        "denied_principals": list(whose),
        "denied_permissions": list(permissions),
    }
    if but:
        denied["exception_principals"] = list(but)
    return {"description": description, "deny_rule": denied}


def _principal(email: pulumi.Input[str]) -> pulumi.Output[str]:
    return pulumi.Output.concat("principal://iam.googleapis.com/projects/-/serviceAccounts/", email)
