"""Dates, labels, locations and permissions."""

import re
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.core.calendar import next_month
from components.core.google import dual_region, label, nth
from components.core.permissions import SEE, see
from components.spec.regions import GCP_REGIONS


@given(st.dates(date(2026, 1, 1), date(2060, 12, 31)))
def test_the_first_rotation_is_still_to_come_and_no_two_months_away(today: date):
    first = next_month(today)
    assert first.day == 1
    assert timedelta(days=1) <= first - today <= timedelta(days=32)


@given(st.text(max_size=100))
def test_whatever_a_tag_says_a_label_can_hold(text: str):
    assert re.fullmatch(r"[a-z0-9_-]{0,63}", label(text))


@pytest.mark.parametrize("region", [name for name, r in GCP_REGIONS.items() if r.replica and r.multi_region])
def test_every_default_pair_of_regions_is_one_that_buckets_know(region: str):
    """Pairs that Google alone offers are refused when somebody chooses them, and the other way round."""
    known = GCP_REGIONS[region]
    assert known.replica is not None
    assert known.multi_region is not None
    found = dual_region(region, known.replica, known.multi_region)
    predefined = {
        frozenset({"us-central1", "us-east1"}): ("NAM4", "nam4"),
        frozenset({"europe-north1", "europe-west4"}): ("EUR4", "eur4"),
        frozenset({"asia-northeast1", "asia-northeast2"}): ("ASIA1", "asia1"),
    }
    pair = frozenset({region, known.replica})
    if pair in predefined:
        assert (found.location, found.key_location) == predefined[pair]
        assert found.placement is None
    else:
        assert found.location in {"US", "EU"}
        assert found.key_location == {"US": "us", "EU": "europe"}[found.location]
        assert found.placement == (region.upper(), known.replica.upper())


def test_a_name_of_a_later_life_is_another():
    assert len({nth("keys", n) for n in (1, 2, 3)}) == 3


def test_who_sees_reads_no_data_and_changes_nothing():
    verbs = {permission.rpartition(".")[2] for permission in see()}
    assert verbs == {"get", "list", "getIamPolicy", "getEffectiveFirewalls"}
    assert not {
        p for p in see() if p.startswith(("storage.objects", "secretmanager.versions.access", "logging.logEntries"))
    }
    assert len(set(see())) == len(see()) == sum(map(len, SEE.values()))
