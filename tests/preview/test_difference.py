"""What changes from one graph to another."""

import importlib
import json
from collections.abc import Mapping
from typing import Any, get_args

import pytest

from policies.model import Graph
from preview import schema
from preview.difference import ABSENT, Change, compare
from preview.replaced import EVERYTHING, REPLACED_BY
from tests.preview.graphs import graph, make, ref, urn

BUCKET = "aws:s3/bucket:Bucket"
KEY = "gcp:kms/cryptoKey:CryptoKey"
TOPIC = "aws:sns/topic:Topic"
POLICY = "aws:s3/bucketPolicy:BucketPolicy"
QUEUE = "kubernetes:kueue.x-k8s.io/v1beta2:ClusterQueue"
POOL = "gcp:container/nodePool:NodePool"
GROUP = "aws:eks/nodeGroup:NodeGroup"
MEMBER = "gcp:projects/iAMMember:IAMMember"
STATE = "aws:sfn/stateMachine:StateMachine"
LIFECYCLE = "aws:ecr/lifecyclePolicy:LifecyclePolicy"


def changes(old: dict[str, Any], new: dict[str, Any], **fields: Any) -> tuple[Change, ...]:
    found = compare(graph(make(TOPIC, "a", inputs=old)), graph(make(TOPIC, "a", inputs=new, **fields)))
    assert not found.created
    assert not found.removed
    return found.changed[0].changes if found.changed else ()


def test_created_removed_and_nothing_of_components() -> None:
    base = graph(make(TOPIC, "old"), make(TOPIC, "same"), make("ai-platform:aws:Alerts", "alerts"))
    head = graph(make(TOPIC, "new"), make(TOPIC, "same"), make("ai-platform:aws:Storage", "raw"))
    found = compare(base, head)
    assert [r.name for r in found.created] == ["new"]
    assert [r.name for r in found.removed] == ["old"]
    assert found.changed == ()
    assert found
    assert not compare(head, head)


def test_property_by_property() -> None:
    old = {"name": "a", "tags": {"x": "1", "y": "2"}, "rules": [{"days": 1}, {"days": 2}], "gone": True}
    new = {"name": "a", "tags": {"x": "1", "y": "3"}, "rules": [{"days": 1}, {"days": 5}, {"days": 9}], "new": [1]}
    assert changes(old, new) == (
        Change("tags.y", "2", "3"),
        Change("rules[1].days", 2, 5),
        Change("rules[2]", ABSENT, {"days": 9}),
        Change("gone", True, ABSENT),
        Change("new", ABSENT, [1]),
    )


def test_a_document_in_a_text_is_looked_into_and_its_statements_known_by_their_id() -> None:
    def document(*statements: dict[str, str]) -> str:
        return json.dumps({"Version": "2012-10-17", "Statement": statements})

    read, write = {"Sid": "read", "Action": "s3:Get*"}, {"Sid": "write", "Action": "s3:Put*"}
    assert changes({"policy": document(read)}, {"policy": document(write, read)}) == (
        Change("policy.Statement[write]", ABSENT, write),
    )
    assert changes({"policy": document(read)}, {"policy": document({**read, "Action": "s3:*"})}) == (
        Change("policy.Statement[read].Action", "s3:Get*", "s3:*"),
    )
    # Two of one id, or none: by position.
    assert changes({"policy": document(read, read)}, {"policy": document(read, write)}) == (
        Change("policy.Statement[1].Sid", "read", "write"),
        Change("policy.Statement[1].Action", "s3:Get*", "s3:Put*"),
    )
    assert changes({"policy": "{"}, {"policy": document(read)}) == (Change("policy", "{", document(read)),)
    assert changes({"a": [1]}, {"a": {"b": 1}}) == (Change("a", [1], {"b": 1}),)


def test_what_is_ignored_does_not_change() -> None:
    old = {"tags": {"a": "1"}, "size": 1, "sizes": 1, "list": [1]}
    new = {"tags": {"a": "2"}, "size": 2, "sizes": 2, "list": [2]}
    assert changes(old, new, ignore_changes=("tags", "size", "list")) == (Change("sizes", 1, 2),)


def test_options_are_part_of_it() -> None:
    before = make(BUCKET, "a", protect=True, retain_on_delete=True, provider="p")
    found = compare(graph(before), graph(make(BUCKET, "a", provider="q", dependencies=("x",))))
    assert found.changed[0].changes == (
        Change("(protect)", True, False),
        Change("(retain on delete)", True, False),
        Change("(provider)", "p", "q"),
    )


def test_an_alias_keeps_a_resource_and_what_refers_to_it() -> None:
    nested = {"bucket": ref(BUCKET, "old"), "deep": [{"arn": f"{ref(BUCKET, 'old', 'arn')}/*"}]}
    after = {"bucket": ref(BUCKET, "new"), "deep": [{"arn": f"{ref(BUCKET, 'new', 'arn')}/*"}]}
    base = graph(make(BUCKET, "old"), make(POLICY, "p", inputs=nested, provider=urn(BUCKET, "old")))
    head = graph(
        make(BUCKET, "new", aliases=(urn(BUCKET, "older"), urn(BUCKET, "old"))),
        make(POLICY, "p", inputs=after, provider=urn(BUCKET, "new")),
    )
    found = compare(base, head)
    assert (found.created, found.removed) == ((), ())
    assert [c.changes for c in found.changed] == [(Change("(urn)", urn(BUCKET, "old"), urn(BUCKET, "new")),)]


def test_an_alias_of_something_that_stays_moves_nothing() -> None:
    base = graph(make(BUCKET, "old"))
    found = compare(base, graph(make(BUCKET, "old"), make(BUCKET, "new", aliases=(urn(BUCKET, "old"),))))
    assert [r.name for r in found.created] == ["new"]
    assert (found.removed, found.changed) == ((), ())


@pytest.mark.parametrize(
    ("type_", "old", "new", "replaced"),
    [
        (BUCKET, {"bucket": "a"}, {"bucket": "b"}, True),
        (BUCKET, {"bucket": "a"}, {"bucket": "a", "forceDestroy": True}, False),
        (
            KEY,
            {"versionTemplate": {"protectionLevel": "HSM"}},
            {"versionTemplate": {"protectionLevel": "SOFTWARE"}},
            True,
        ),
        (KEY, {"versionTemplate": {"algorithm": "a"}}, {"versionTemplate": {"algorithm": "b"}}, False),
        (TOPIC, {"displayName": "a"}, {"displayName": "b"}, False),
        # What holds for every type of a provider.
        (TOPIC, {}, {"region": "us-west-2"}, True),
        (QUEUE, {"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}, True),
        (QUEUE, {"metadata": {"labels": {"a": "b"}}}, {"metadata": {"labels": {}}}, False),
        # Below a path, in the items of a list too; beside it.
        (
            POOL,
            {"nodeConfig": {"guestAccelerators": [{"count": 1}]}},
            {"nodeConfig": {"guestAccelerators": [{"count": 8}]}},
            True,
        ),
        (POOL, {"nodeConfig": {"labels": {"a": "b"}}}, {"nodeConfig": {"labels": {"a": "c"}}}, False),
        (
            GROUP,
            {"launchTemplate": {"id": "a", "version": "1"}},
            {"launchTemplate": {"id": "a", "version": "2"}},
            False,
        ),
        # A block that comes or goes counts by what is in it.
        (POOL, {"nodeConfig": {"spot": True}}, {}, True),
        (POOL, {"nodeConfig": {"labels": {}}}, {}, False),
        (POOL, {"nodeConfig": {"reservationAffinity": {"values": ["a"]}}}, {"nodeConfig": {}}, True),
        # A type that knows no update.
        (MEMBER, {"role": "a", "condition": {"title": "a"}}, {"role": "a", "condition": {"title": "b"}}, True),
        # A document is looked into, and its input counts.
        (STATE, {"definition": '{"a": 1}'}, {"definition": '{"a": 2}'}, False),
        (LIFECYCLE, {"policy": '{"a": 1}'}, {"policy": '{"a": 2}'}, True),
    ],
)
def test_replaced_where_a_source_says_so(type_: str, old: dict[str, Any], new: dict[str, Any], replaced: bool) -> None:
    found = compare(graph(make(type_, "a", inputs=old)), graph(make(type_, "a", inputs=new)))
    assert [c.replaced for c in found.changed] == [replaced]
    assert len(found.replaced) == replaced


@pytest.mark.parametrize("type_", sorted(type_ for type_ in REPLACED_BY if ":" in type_))
def test_what_the_table_names_is_an_input_of_its_type(type_: str) -> None:
    """A path that the provider does not know would never be seen to change."""
    package, where, _ = type_.split(":")
    group, _, version = where.partition("/")
    module = f"{group.partition('.')[0]}.{version}" if package == "kubernetes" else group.replace("lambda", "lambda_")
    importlib.import_module(f"pulumi_{package}.{module.lower()}")
    # Whoever asked before the import, in another test, was told that there is none.
    for asked in (schema.resource_class, schema.arguments, schema.inputs):
        asked.cache_clear()
    inputs = schema.inputs(type_)
    assert inputs, f"the SDK knows no {type_}"
    for path in REPLACED_BY[type_] - {EVERYTHING}:
        known: Any = inputs
        for key in path.split("."):
            assert key in known, f"{type_} has no input {path}"
            known = nested(known[key])


def nested(type_: Any) -> Mapping[str, Any]:
    """The inputs of a structure, also of one that a list or a choice of types holds."""
    if (found := schema.fields(type_)) is not None:
        return found
    return next((inner for part in get_args(type_) if (inner := nested(part))), {})


def test_replaced_where_the_program_says_so() -> None:
    before, after = ({"placementPolicy": {"type": "COMPACT", "tpuTopology": t}} for t in ("2x4", "4x4"))
    for said in (False, True):
        head = make(POOL, "a", inputs=after, replace_on_changes=("placementPolicy",) if said else ())
        found = compare(graph(make(POOL, "a", inputs=before)), graph(head))
        assert [c.replaced for c in found.changed] == [said]


def test_options_replace_nothing() -> None:
    found = compare(graph(make(MEMBER, "a", protect=True)), graph(make(MEMBER, "a")))
    assert [c.replaced for c in found.changed] == [False]


def data(name: str, **fields: Any) -> Graph:
    return graph(make(BUCKET, name, **fields), make(TOPIC, name))


@pytest.mark.parametrize(
    ("base", "head", "how", "fate"),
    [
        (data("a"), graph(), "removed", "lost"),
        (data("a", retain_on_delete=True), graph(), "removed", "left behind"),
        (data("a", protect=True, retain_on_delete=True), graph(), "removed", "refused"),
        (data("a", inputs={"bucket": "a"}), data("a", inputs={"bucket": "b"}, protect=True), "replaced", "lost"),
        (data("a", inputs={"bucket": "a"}, protect=True), data("a", inputs={"bucket": "b"}), "replaced", "refused"),
        (data("a", protect=True), data("a"), "changed", "stays"),
    ],
)
def test_what_holds_data_and_what_becomes_of_it(base: Graph, head: Graph, how: str, fate: str) -> None:
    found = compare(base, head).endangered
    assert [(e.resource.name, e.resource.type, e.how, e.fate) for e in found] == [("a", BUCKET, how, fate)]


def test_secrets_have_no_difference() -> None:
    assert changes({"value": "[secret]"}, {"value": "[secret]"}) == ()


def test_texts_in_a_list_are_their_own_names() -> None:
    assert changes({"l": ["a", "b", "c"]}, {"l": ["new", "a", "c"]}) == (
        Change("l[b]", "b", ABSENT),
        Change("l[new]", ABSENT, "new"),
    )
    assert changes({"l": ["a", "b"]}, {"l": ["b", "a"]}) == (Change("l[0]", "a", "b"), Change("l[1]", "b", "a"))
    assert changes({"l": ["a", "a"]}, {"l": ["a", "b"]}) == (Change("l[1]", "a", "b"),)


def test_items_with_a_name_are_known_by_it() -> None:
    """One more variable, or a rule less, is no change of those that follow."""
    a, b, c = ({"name": name, "value": name} for name in "abc")
    assert changes({"l": [a, b]}, {"l": [c, a, {**b, "value": "z"}]}) == (
        Change("l[b].value", "b", "z"),
        Change("l[c]", ABSENT, c),
    )
    # In another order each place holds another one.
    assert [change.path for change in changes({"l": [a, b]}, {"l": [b, a]})] == [
        "l[0].name", "l[0].value", "l[1].name", "l[1].value",
    ]  # fmt: skip
    # A name that stands twice, or is an output, tells nothing apart.
    for name in ("a", ref(BUCKET, "a")):
        twice = [{"name": name, "value": value} for value in "ab"]
        assert changes({"l": [twice[0]] * 2}, {"l": twice}) == (Change("l[1].value", "a", "b"),)


def test_what_replaces_is_told_from_what_changes_besides() -> None:
    """A person sees why: of all that changes on a bucket, it is the name that makes another one."""
    [found] = compare(
        graph(make(BUCKET, "a", inputs={"bucket": "a", "tags": {"x": "1"}})),
        graph(make(BUCKET, "a", inputs={"bucket": "b", "tags": {"x": "2"}})),
    ).changed
    assert found.replaced
    assert [change.path for change in found.changes] == ["bucket", "tags.x"]
    assert [change.path for change in found.because] == ["bucket"]
