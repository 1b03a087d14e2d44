"""What every component gets from its base: options by tier, renames that move, outputs that wait."""

from collections.abc import Sequence
from datetime import date
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest

from components.core.naming import Names
from components.scope import Component, Scope, after
from policies.model import Graph, Resource
from preview.record import run


class Box(Component):
    """A component with one bucket."""

    def __init__(self, scope: Scope, parent: pulumi.Resource, **options: Any) -> None:
        super().__init__("box", scope, parent)
        self.bucket = aws.s3.Bucket("box-bucket", opts=self.options(**options))


def built(protection: str = "delete", waits: Sequence[str] = (), **options: Any) -> Graph:
    def program() -> None:
        root = pulumi.ComponentResource("test:Root", "root")
        provider, replica = (aws.Provider(n, opts=pulumi.ResourceOptions(parent=root)) for n in ("here", "there"))
        scope = Scope(
            environment="dev", tier="dev", cloud="aws", account="1" * 12, region="us-west-2", replica_region="us-east-2",
            names=Names("acme", "dev"), tags={}, protection=protection, log_days=1, today=date(2026, 1, 1),
            provider=provider, replica_provider=replica,
        )  # fmt: skip
        box = Box(scope, root, **options)
        last = aws.sns.Topic("last", opts=box.options(depends_on=[box.bucket]))
        aws.sqs.Queue("user", name=after("text", last), opts=box.options())

    return run(program)


def bucket(graph: Graph) -> Resource:
    (found,) = graph.of_type("aws:s3/bucket:Bucket")
    return found


@pytest.mark.parametrize(
    ("protection", "protect", "retain"), [("delete", False, False), ("protect", True, False), ("retain", True, True)]
)
def test_what_holds_data_is_protected_by_tier_and_nothing_else(protection: str, *, protect: bool, retain: bool):
    held = bucket(built(protection, holds_data=True))
    assert (held.protect, held.retain_on_delete) == (protect, retain)
    plain = bucket(built(protection))
    assert (plain.protect, plain.retain_on_delete) == (False, False)


def test_a_rename_moves_the_resource():
    now = bucket(built())
    aliases = set(bucket(built(formerly=["old-name"])).aliases) - set(
        now.aliases
    )  # the SDK adds former types of its own
    assert aliases == {now.urn.replace("box-bucket", "old-name")}


def test_a_replica_has_the_provider_of_the_second_region():
    assert bucket(built()).provider.endswith("::here")
    assert bucket(built(replica=True)).provider.endswith("::there")


def test_a_value_comes_after_what_it_waits_for():
    graph = built()
    (user,) = graph.of_type("aws:sqs/queue:Queue")
    (last,) = graph.of_type("aws:sns/topic:Topic")
    assert user.get("name") == "text"
    assert user.property_dependencies["name"] == (last.urn,)
    assert last.dependencies == (bucket(graph).urn,)


def test_the_type_token_says_cloud_and_class():
    assert "ai-platform:aws:Box" in {r.type for r in built().resources.values()}
