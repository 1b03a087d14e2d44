"""Whatever the model accepts builds, on either cloud, with names within every limit."""

from collections.abc import Mapping
from datetime import date
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from components.spec.environment import Environment
from components.spec.load import load
from tests.conftest import ROOT

# What is built here is covered by the tests of each part, and to trace it all takes half as long again.
pytestmark = pytest.mark.no_cover

NAME = st.from_regex(r"\A[a-z](-?[a-z0-9]){1,6}\Z")
PERSONAS = st.lists(st.sampled_from(["data-scientist", "ml-engineer", "platform-admin", "auditor"]), unique=True)
DAYS = st.integers(1, 400)
ZONES = st.dictionaries(
    NAME,
    st.fixed_dictionaries(
        {"key": st.sampled_from(["data", "models", "logs"]), "readers": PERSONAS, "writers": PERSONAS},
        optional={
            "cool_after_days": DAYS,
            "expire_after_days": DAYS,
            "old_versions_days": DAYS,
            "team": st.just("vision"),
        },
    ),
    max_size=2,
)
SECRETS = st.dictionaries(
    NAME,
    st.one_of(
        st.fixed_dictionaries(
            {"kind": st.just("generated"), "rotation_days": st.integers(1, 365), "readers": PERSONAS}
        ),
        st.fixed_dictionaries({"kind": st.just("provided"), "readers": PERSONAS}),
    ),
    max_size=2,
)
DIFFERENCES = st.fixed_dictionaries(
    {
        "network": st.fixed_dictionaries(
            {
                "zones": st.integers(1, 3),
                "nat": st.sampled_from(["none", "single", "per_zone"]),
                "egress": st.sampled_from(["open", "deny"]),
                "flow_logs": st.booleans(),
                "perimeter": st.sampled_from(["off", "dry_run", "enforced"]),
            }
        ),
        "protection": st.fixed_dictionaries({"data": st.sampled_from(["delete", "protect", "retain"])}),
        "data": st.fixed_dictionaries({"replicate": st.booleans(), "zones": ZONES}),
        "secrets": SECRETS,
        "keys": st.fixed_dictionaries({"rotation_days": st.integers(90, 365)}),
        "logs": st.fixed_dictionaries({"retention_days": st.sampled_from([1, 30, 400])}),
    }
)


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(below)
    for key, value in above.items():
        result[key] = (
            merged(result[key], value) if isinstance(value, dict) and isinstance(result.get(key), dict) else value
        )
    return result


@pytest.mark.parametrize("stack", ["dev", "dev-gcp"])
@settings(max_examples=6, phases=[Phase.generate])  # to shrink an example takes minutes
@given(differences=DIFFERENCES, organized=st.booleans())
def test_whatever_the_model_accepts_builds(stack: str, differences: dict[str, Any], *, organized: bool):
    from components.platform import Platform
    from preview.record import run

    base = load(ROOT, stack, today=date(2026, 6, 1)).model_dump(exclude_none=True)
    # What trains has a test of its own.
    base["training"] = {"checkpoint_days": base["training"]["checkpoint_days"]}
    base["registry"] |= {"models": {}}
    base["serving"] = {"capture_days": base["serving"]["capture_days"]}
    base["retrieval"] = {"prompt_days": base["retrieval"]["prompt_days"]}
    if organized and "gcp" in base["cloud"]:
        base["cloud"]["gcp"] |= {"organization": "123456789012", "access_policy": "123456789012"}
    elif organized:
        base["cloud"]["aws"] |= {"organization": "o-abcdefghij"}
    environment = Environment.model_validate(merged(base, differences))
    graph = run(lambda: Platform(environment) and None, stack=stack)
    buckets = graph.of_type("aws:s3/bucket:Bucket", "gcp:storage/bucket:Bucket")
    assert len(buckets) >= len(environment.data.zones)
    assert all(3 <= len(b.get("bucket") or b.get("name")) <= 63 for b in buckets)
    assert all(len(a.get("accountId")) <= 30 for a in graph.of_type("gcp:serviceaccount/account:Account"))
    assert all(len(r.get("name")) <= 64 for r in graph.of_type("aws:iam/role:Role"))
