"""Physical names are stable, distinct and within every limit."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.core.naming import LIMITS, Names

WORD = st.from_regex(r"\A[a-z]([a-z0-9-]{0,30}[a-z0-9])?\Z")


@given(WORD, WORD, WORD, st.sampled_from(sorted(LIMITS)))
def test_names_stay_within_the_limit_of_their_kind(prefix: str, environment: str, name: str, kind: str):
    made = Names(prefix, environment).of(name, kind)
    assert len(made) <= LIMITS[kind]
    assert re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", made)
    assert made == Names(prefix, environment).of(name, kind)
    full = f"{prefix}-{environment}-{name}"
    assert made == full or len(full) > LIMITS[kind]


def test_what_is_cut_stays_distinct():
    names = Names("acme-ai", "staging-gcp")
    assert names.of("secret-rotation-one", "service_account") != names.of("secret-rotation-two", "service_account")


def test_an_unknown_kind_is_a_mistake_of_ours():
    with pytest.raises(KeyError):
        Names("a", "b").of("c", "spaceship")
