"""YAML with its lines, and layers merged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.spec.problems import Source
from components.spec.source import Layer, Secure, dotted, merge, read, secure

SCALARS = st.one_of(st.integers(), st.booleans(), st.text(max_size=5))
TREES = st.dictionaries(
    st.sampled_from("abcd"),
    st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
        max_leaves=6,
    ),
    max_size=4,
)


def layer(text: str, file: str = "f.yaml") -> Layer:
    made, problems = read(text, file)
    assert not problems, problems
    return made


def test_every_value_knows_its_line():
    made = layer("a:\n  b: 1\n  c:\n    - x\n    - {y: 2}\n")
    lines = {dotted(path): source.line for path, source in made.sources.items() if path}
    assert lines == {"a": 1, "a.b": 2, "a.c": 3, "a.c[0]": 4, "a.c[1]": 5, "a.c[1].y": 5}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),  # the words of YAML 1.1 are words, so that `on: gcp` has a key `on`
        ("yes", "yes"),
        ("true", True),
        ("12:30", "12:30"),
        ("2027-01-31", "2027-01-31"),
        ("20_000_000", 20_000_000),
        ("-3", -3),
        ("1.5", 1.5),
        ("012345678901", "012345678901"),
        ("null", None),
        ("", None),
        ('"1"', "1"),
    ],
)
def test_plain_values_are_those_of_yaml_1_2(text: str, value: object):
    assert layer(f"k: {text}").values == {"k": value}


def test_a_key_on_is_a_key():
    assert layer("on: gcp").values == {"on": "gcp"}


def test_a_key_that_stands_twice_is_a_problem_of_its_second_line():
    _, problems = read("a: 1\nb: 2\na: 3\n", "f.yaml")
    (problem,) = problems
    assert problem.source == Source("f.yaml", 3)
    assert "line 1" in problem.wrong


def test_anchors_and_merge_keys_work():
    assert layer("x: &x {a: 1}\ny: {<<: *x, b: 2}").values["y"] == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("text", "line"), [("a: [1\nb: 2\n", 2), ("a: b: c", 1), ("\ta: 1", 1), ("a: \x00", 1), ("- 1", 1), ("word", 1)]
)
def test_what_is_no_map_of_yaml_is_one_problem_with_a_line(text: str, line: int):
    _, problems = read(text, "f.yaml")
    assert [p.source for p in problems] == [Source("f.yaml", line)], problems


def test_an_empty_file_is_an_empty_map():
    assert layer("# nothing\n").values == {}


def test_maps_merge_lists_replace_null_removes():
    below = layer("m: {a: 1, b: 2}\nl: [1, 2]\nx: 1\nd: {e: 1}", "below")
    above = layer("m: {b: 3, c: 4}\nl: [9]\nx: null\nd: 5", "above")
    merged = merge(below, above)
    assert merged.values == {"m": {"a": 1, "b": 3, "c": 4}, "l": [9], "d": 5}
    where = {dotted(p): merged.source(p).file for p in [("m", "a"), ("m", "b"), ("l", 0), ("d", "e"), ("d",)]}
    assert where == {"m.a": "below", "m.b": "above", "l[0]": "above", "d.e": "above", "d": "above"}


def test_a_replaced_list_leaves_no_source_behind():
    merged = merge(layer("l:\n  - 1\n  - 2\n  - 3", "below"), layer("l: [9]", "above"))
    assert merged.source(("l", 2)) == Source("above", 1)


def test_what_is_removed_leaves_no_source_behind():
    merged = merge(layer("m: {a: 1}", "below"), layer("m: {a: null}", "above"))
    assert merged.source(("m", "a")) == Source("above", 1)


def test_what_has_no_source_has_that_of_what_is_around_it():
    made = layer("a: {b: 1}")
    assert made.source(("a", "missing", "deep")) == Source("f.yaml", 1)
    assert Layer(Source("origin")).source(("x",)) == Source("origin")


@given(TREES, TREES)
def test_merging_with_nothing_changes_nothing_and_the_last_wins(below: dict[str, object], above: dict[str, object]):
    here = Source("x")
    assert merge(Layer(here, below), Layer(here)).values == below
    assert merge(Layer(here, above), Layer(here, above)).values == above
    merged = merge(Layer(here, below), Layer(here, above)).values
    assert set(merged) == set(below) | set(above)
    for key, value in above.items():
        if not isinstance(value, dict):
            assert merged[key] == value


def test_secrets_know_their_path_and_never_show():
    made = secure({"a": [{"secure": "xyz"}], "b": {"secure": "xyz", "more": 1}})
    assert made["a"][0] == Secure(("a", 0))
    assert repr(made["a"][0]) == "[secret]"
    assert made["b"] == {"secure": "xyz", "more": 1}
