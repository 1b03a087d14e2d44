"""What every component is given: where it is built, how things are called there, and what a destroy may do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import date
from typing import Any, ClassVar

import pulumi

from components.core.naming import Names
from components.spec.section import CloudName, Tier
from components.spec.source import Secure

PROJECT = "ai-platform"


@dataclass(frozen=True, kw_only=True)
class Scope:
    """One environment on one cloud."""

    environment: str
    tier: Tier
    cloud: CloudName
    account: str
    """AWS account id, or id of the Google Cloud project."""
    region: str
    replica_region: str | None
    names: Names
    tags: Mapping[str, str]
    """What the provider puts on every resource; for the few that it does not reach."""
    protection: str
    """`delete`, `protect` or `retain`; see `Protection` in the description."""
    log_days: int
    """Days that operational logs are kept."""
    today: date
    """The day of the run in UTC, for the few services that want a date to start from."""
    provider: pulumi.ProviderResource
    replica_provider: pulumi.ProviderResource | None = None
    """The provider of the second region, where the cloud wants one and the environment has such a region."""

    @property
    def deletable(self) -> bool:
        """Whether a destroy may take what holds data, contents and all."""
        return self.protection == "delete"


class Component(pulumi.ComponentResource):
    """A component: its type token says cloud and class, its children get their options from `options`."""

    layer: ClassVar[str | None] = None
    """What stands in the type token instead of the cloud: `kubernetes`, of what runs inside a cluster."""

    def __init__(self, name: str, scope: Scope, parent: pulumi.Resource) -> None:
        """Register the component under `parent`; `name` is the first part of its children's logical names."""
        token = f"{PROJECT}:{self.layer or scope.cloud}:{type(self).__name__}"
        super().__init__(token, name, None, pulumi.ResourceOptions(parent=parent))
        self.name = name
        self.scope = scope

    def options(
        self,
        *,
        holds_data: bool = False,
        replica: bool = False,
        cluster: pulumi.ProviderResource | None = None,
        formerly: Sequence[str] = (),
        depends_on: Sequence[pulumi.Resource] = (),
        ignore_changes: Sequence[str] = (),
        **rest: Any,
    ) -> pulumi.ResourceOptions:
        """Options of a child: this parent, the scope's provider, and the tier's protection where it `holds_data`.

        A `replica` is made by the provider of the second region, what lies in a `cluster` by that cluster's provider.
        `formerly` lists the logical names that the child had before, so that a rename moves it instead of replacing it.
        `rest` goes to `pulumi.ResourceOptions` as it is.
        """
        return pulumi.ResourceOptions(
            parent=self,
            provider=cluster or (self.scope.replica_provider if replica else self.scope.provider),
            protect=(holds_data and not self.scope.deletable) or None,
            retain_on_delete=(holds_data and self.scope.protection == "retain") or None,
            depends_on=list(depends_on),
            ignore_changes=list(ignore_changes),
            aliases=[pulumi.Alias(name=old) for old in formerly],
            **rest,
        )

    def finish(self, outputs: Any) -> None:
        """Register the fields of a contract as the component's outputs."""
        self.register_outputs(_plain(outputs))


def _plain(value: Any) -> Any:
    """A contract as what Pulumi stores: maps and lists, contracts inside of contracts too."""
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value) if not f.metadata.get("inside")}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def opened(secret: Secure) -> pulumi.Output[str]:
    """The value of a secret of the stack's file, from Pulumi's configuration; a secret to the end."""
    config = pulumi.Config(PROJECT)
    first, *rest = secret.path
    if not rest:
        return config.require_secret(str(first))

    def walk(value: Any) -> str:
        for part in rest:
            value = value[part]
        return str(value)

    return config.require_secret_object(str(first)).apply(walk)


def after(value: pulumi.Input[str], *resources: pulumi.Resource) -> pulumi.Output[str]:
    """`value`, once these resources are there: who uses it depends on every one of them.

    It goes by their URNs, which are known before anything is built, so a preview still knows a value that it knew.
    """
    return pulumi.Output.all(value, *(resource.urn for resource in resources)).apply(lambda found: str(found[0]))
