"""Stack files, good and bad: every problem at once, each with file, line, key, what is wrong and what would be right."""

from datetime import date
from pathlib import Path

import pytest
import yaml

from components.spec.load import load, stacks
from components.spec.problems import SpecError
from tests.conftest import ROOT, STACKS

TODAY = date(2026, 6, 1)

FIVE_LINES = """\
config:
  ai-platform:tier: dev
  ai-platform:cloud: {aws: {account: "777777777777", region: us-west-2}}
  ai-platform:network: {cidr: 10.112.0.0/16}
  ai-platform:budget: {monthly_usd: 1500, notify: [ml-platform@example.com]}
"""


def write(project: Path, stack: str, text: str) -> None:
    (project / f"stacks/Pulumi.{stack}.yaml").write_text(text)


def change(project: Path, stack: str, **sections: object) -> None:
    """Set sections of a stack's file."""
    file = project / f"stacks/Pulumi.{stack}.yaml"
    content = yaml.safe_load(file.read_text())
    content["config"].update({f"ai-platform:{key}": value for key, value in sections.items()})
    file.write_text(yaml.safe_dump(content, sort_keys=False))


def problems(project: Path, stack: str) -> dict[str, tuple[str, str, str]]:
    """Key -> (place, wrong, right) of every problem that loading reports."""
    with pytest.raises(SpecError) as caught:
        load(project, stack, today=TODAY)
    for problem in caught.value.problems:
        assert str(problem) in caught.value.report()
        assert problem.source.file.startswith("stacks/"), problem
    return {p.key: (str(p.source), p.wrong, p.right) for p in caught.value.problems}


@pytest.mark.parametrize("stack", STACKS)
def test_the_stacks_of_the_repository_load(stack: str):
    environment = load(ROOT, stack, today=TODAY)
    assert environment.name == stack
    assert environment.tier == stack.removesuffix("-gcp")


def test_five_lines_make_an_environment(project: Path):
    write(project, "five", FIVE_LINES)
    environment = load(project, "five")
    assert environment.network.nat == "single"
    assert set(environment.data.zones) == {"raw", "curated", "features", "artifacts", "models", "logs", "access-logs"}


def test_tiers_differ_where_real_environments_differ():
    dev, staging, prod = (load(ROOT, stack) for stack in ("dev", "staging", "prod"))
    for read in (
        lambda e: e.protection.data,
        lambda e: e.logs.retention_days,
        lambda e: e.keys.deletion_days,
        lambda e: e.training.checkpoint_days,
        lambda e: (e.budget.actual_percent, e.budget.forecast_percent),
    ):
        assert len({str(read(e)) for e in (dev, staging, prod)}) == 3
    assert (dev.network.nat, prod.network.nat) == ("single", "per_zone")
    assert (dev.network.zones, prod.network.zones) == (2, 3)
    assert (dev.keys.protection_level, prod.keys.protection_level) == ("software", "hsm")
    assert (dev.data.replicate, prod.data.replicate) == (False, True)


def test_the_stack_file_wins_over_the_platform_over_the_tier(project: Path):
    change(project, "dev", logs={"retention_days": 7}, teams={"vision": {"budget_percent": 10}})
    environment = load(project, "dev")
    assert environment.logs.retention_days == 7
    assert environment.teams["vision"].budget_percent == 10
    assert environment.teams["vision"].owner == "vision@example.com"
    assert environment.keys.deletion_days == 7


def test_null_removes(project: Path):
    nothing = {"teams": {"risk": None}, "workbench": None, "pipelines": None}
    change(
        project,
        "dev",
        teams={"risk": None},
        training=nothing,
        registry={"models": None},
        data={"zones": {"features": None}},
        serving={"endpoints": None},
        retrieval={"corpora": None},
    )
    environment = load(project, "dev")
    assert set(environment.teams) == {"vision"}
    assert "features" not in environment.data.zones


def test_other_stacks_do_not_matter_as_long_as_they_do_not_collide(project: Path):
    write(project, "broken", "config: [")
    assert load(project, "dev").name == "dev"


# -- bad input ---------------------------------------------------------------------------------------------------------


def test_a_stack_that_is_not_there_lists_those_that_are(project: Path):
    with pytest.raises(SpecError) as caught:
        load(project, "prdo")
    report = caught.value.report()
    assert "prod?" in report
    assert all(stack in report for stack in stacks(project))


def test_every_problem_at_once_with_its_line(project: Path):
    write(
        project,
        "dev",
        """\
config:
  ai-platform:tier: dev
  ai-platform:clouds: {}
  ai-platform:cloud:
    aws:
      account: 111
      regoin: us-west-2
  ai-platform:network: {cidr: 10.16.0.1/16, nat: two}
  ai-platform:data:
    zones:
      raw: {readers: [nobody], retain: 3}
      Bad_Name: {}
  ai-platform:budget: {monthly_usd: much, notify: []}
  ai-platform:policy: {waivers: [{rule: x}]}
""",
    )
    found = problems(project, "dev")
    lines = {key: place.rpartition(":")[2] for key, (place, _, _) in found.items()}
    assert lines == {
        "clouds": "3",
        "cloud.aws.account": "6",
        "cloud.aws.region": "5",
        "cloud.aws.regoin": "7",
        "network.cidr": "8",
        "network.nat": "8",
        "data.zones.raw.readers[0]": "11",
        "data.zones.raw.retain": "11",
        "data.zones.Bad_Name": "12",
        "budget.monthly_usd": "13",
        "budget.notify": "13",
        "policy.waivers[0].resource": "14",
        "policy.waivers[0].reason": "14",
        "policy.waivers[0].owner": "14",
        "policy.waivers[0].expires": "14",
    }
    assert found["clouds"][2].startswith("cloud? (one of: ")
    assert found["cloud.aws.regoin"][2].startswith("region? ")
    assert "in quotes" in found["cloud.aws.account"][2]
    assert found["network.cidr"][2] == "10.16.0.0/16"
    assert found["network.nat"][2] == "one of: none, single, per_zone"
    assert "data-scientist" in found["data.zones.raw.readers[0]"][2]


def test_shape_and_sense_are_reported_together(project: Path):
    change(project, "prod", network={"cidr": "10.48.0.0/16", "zone": 2, "zones": 9}, protection={"data": "delete"})
    assert {"network.zone", "network.zones", "protection.data"} <= problems(project, "prod").keys()


@pytest.mark.parametrize(
    ("stack", "sections", "key", "wrong", "right"),
    [
        ("dev", {"cloud": {}}, "cloud", "no cloud", "cloud.aws"),
        ("dev", {"cloud": {"aws": {"region": "us-west-2"}}}, "cloud.aws.account", "missing", "twelve digits"),
        ("dev", {"cloud": {"aws": {"account": "1234", "region": "us-west-2"}}}, "cloud.aws.account", "form", "12"),
        ("dev", {"cloud": {"aws": {"account": "1" * 12, "region": "us-west-9"}}}, "cloud.aws.region", "no region", "us-west-2?"),
        ("dev", {"cloud": {"aws": {"account": "1" * 12, "region": "us-central1"}}}, "cloud.aws.region", "of aws", "us-east-1"),
        (
            "dev",
            {"cloud": {"aws": {"account": "1" * 12, "region": "us-west-2", "assume_role": "arn:aws:iam::222222222222:role/x"}}},
            "cloud.aws.assume_role", "another account", "arn:aws:iam::111111111111:role/x",
        ),
        ("dev", {"cloud": {"aws": {"account": "1" * 12, "region": "us-west-2", "replica_region": "us-west-2"}}},
         "cloud.aws.replica_region", "cannot hold", "us-east-1"),
        ("dev", {"network": {"cidr": "10.16.0.0/22"}}, "network.cidr", "too small", "/20 or larger"),
        ("dev", {"network": {"cidr": "10.0.0.0/12"}}, "network.cidr", "larger than", "/16 or smaller"),
        ("dev", {"network": {"cidr": "10.16.0.0/32"}}, "network.cidr", "single address", "/19"),
        ("dev", {"network": {"cidr": "8.8.0.0/16"}}, "network.cidr", "public", "private"),
        ("dev", {"network": {"cidr": "ten"}}, "network.cidr", "no IPv4 range", "10.16.0.0/16"),
        ("dev", {"network": {}}, "network.cidr", "missing", "disjoint"),
        ("dev", {"network": {"cidr": "10.16.0.0/16", "zones": 5}}, "network.zones", "us-west-2 has 4", "4 at most"),
        ("dev", {"network": {"cidr": "10.16.0.0/16", "zones": "two"}}, "network.zones", "whole number", "whole number"),
        ("dev", {"network": {"cidr": "10.16.0.0/16", "zones": ["usw2-az9"]}}, "network.zones[0]", "no zone", "usw2-az1"),
        ("dev", {"network": {"cidr": "10.16.0.0/16", "zones": ["usw2-az1"] * 2}}, "network.zones[1]", "twice", "once"),
        (
            "dev",
            {"network": {"cidr": "10.16.0.0/16", "nat": "none", "private_services": ["ecr.api"]}},
            "network.private_services", "request-signing cannot be rotated", "secretsmanager in the list",
        ),
        ("dev", {"data": {"zones": {"raw-replica": {}}}}, "data.zones.raw-replica", "platform's own", "another name"),
        ("dev", {"data": {"zones": {"function-source": {}}}}, "data.zones.function-source", "platform's own", "another"),
        (
            "dev",
            {"delivery": {"github": {"repository": "acme/x", "owner_id": None, "repository_id": "1"}}},
            "delivery.github.owner_id", "one of two numbers", "beside the other",
        ),
        ("dev", {"tier": "devv"}, "tier", "not allowed", "dev?"),
        ("dev", {"data": {"zones": {"raw": {"team": "visoin"}}}}, "data.zones.raw.team", "no team", "vision?"),
        ("dev", {"teams": {"vision": {"budget_percent": 90}}}, "teams", "120", "100 at most"),
        ("dev", {"registry": {"model_zone": "model"}}, "registry.model_zone", "no zone model", "models?"),
        ("dev", {"company": {"prefix": "a-rather-long-prefix"}, "data": {"zones": {"x" * 32: {}}}},
         f"data.zones.{'x' * 32}", "characters, 55 at most", "30 characters"),
        ("dev", {"secrets": {"hub": {"kind": "provided", "value": "clear"}}}, "secrets.hub.value", "in clear", "--secret"),
        ("dev", {"secrets": {"hub": {"kind": "made"}}}, "secrets.hub", "no kind", "generated"),
        ("dev", {"secrets": {"hub": {"length": 20}}}, "secrets.hub", "kind is missing", "`kind`"),
        ("dev", {"secrets": {"hub": {"kind": "generated", "lenght": 20}}}, "secrets.hub.lenght", "no key", "length?"),
        ("dev", {"budget": {"monthly_usd": {"secure": "xyz"}, "notify": ["a@b.co"]}},
         "budget.monthly_usd", "cannot be a secret", "in clear"),
        ("dev", {"budget": {"monthly_usd": 0, "notify": ["a@b.co"]}}, "budget.monthly_usd", "too small", "1 or more"),
        ("dev", {"budget": {"monthly_usd": 5, "notify": ["me"]}}, "budget.notify[0]", "form", "e-mail"),
        ("dev", {"cost": {"activate_tags": "maybe"}}, "cost.activate_tags", "neither", "true or false"),
        ("dev", {"data": 3}, "data", "not a map", "map"),
        ("dev", {"teams": [1]}, "teams", "not a map", "map"),
        ("dev", {"name": "other"}, "name", "no key", "file"),
        ("dev-gcp", {"cloud": {"gcp": {"project": "acme-ai-dev"}}}, "cloud.gcp.number", "missing", "number"),
        ("dev-gcp", {"network": {"cidr": "10.64.0.0/20"}}, "network.cidr", "too small", "/19 or larger"),
        ("prod", {"protection": {"data": "delete"}}, "protection.data", "less than prod", "rule prod-protection"),
        ("prod", {"network": {"cidr": "10.48.0.0/16", "nat": "single"}}, "network.nat", "less than prod", "per_zone"),
        ("prod", {"network": {"cidr": "10.48.0.0/16", "zones": ["usw2-az1"]}}, "network.zones", "less than", "2 zones"),
        ("prod", {"network": {"cidr": "10.48.0.0/16", "flow_logs": False}}, "network.flow_logs", "false is less", "true"),
        ("prod", {"data": {"replicate": False}}, "data.replicate", "false is less", "true"),
        ("prod", {"logs": {"retention_days": 30}}, "logs.retention_days", "30 is less", "365"),
        ("prod-gcp", {"keys": {"protection_level": "software"}}, "keys.protection_level", "less than prod", "hsm"),
    ],
)  # fmt: skip
def test_bad_input(project: Path, stack: str, sections: dict[str, object], key: str, wrong: str, right: str):
    change(project, stack, **sections)
    found = problems(project, stack)
    assert key in found, found
    place, says_wrong, says_right = found[key]
    assert place.startswith(f"stacks/Pulumi.{stack}.yaml")
    assert wrong in says_wrong
    assert right in says_right


def test_a_prod_that_replicates_needs_a_second_region(project: Path):
    change(project, "prod", training={})  # its reservations lie where they were bought
    change(project, "prod", cloud={"aws": {"account": "333333333333", "region": "sa-east-1"}})
    assert "replica_region" in problems(project, "prod")["cloud.aws.region"][2]
    change(
        project,
        "prod",
        cloud={"aws": {"account": "333333333333", "region": "sa-east-1", "replica_region": "us-east-1"}},
    )
    assert load(project, "prod").cloud.aws is not None


def test_dual_regions_lie_within_one_continent(project: Path):
    gcp = {"project": "acme-ai-prod", "number": "666666666666", "billing_account": "01ABCD-23EF45-6789AB"}
    change(project, "prod-gcp", cloud={"gcp": {**gcp, "region": "us-central1", "replica_region": "europe-west1"}})
    assert "no dual-region" in problems(project, "prod-gcp")["cloud.gcp.replica_region"][1]
    change(project, "prod-gcp", cloud={"gcp": {**gcp, "region": "us-central1", "replica_region": "us-west1"}})
    assert load(project, "prod-gcp").cloud.gcp is not None


def test_both_clouds_share_the_range(project: Path):
    gcp = {
        "project": "acme-ai-x",
        "number": "999999999999",
        "region": "us-east1",
        "billing_account": "01ABCD-23EF45-6789AB",
    }
    change(project, "dev", cloud={"aws": {"account": "1" * 12, "region": "us-west-2"}, "gcp": gcp})
    assert load(project, "dev").cloud.names == ("aws", "gcp")
    change(project, "dev", network={"cidr": "10.16.0.0/19"})
    assert "/18 or larger" in problems(project, "dev")["network.cidr"][2]


def test_an_overlap_names_both(project: Path):
    change(project, "dev", network={"cidr": "10.32.128.0/17"})
    place, wrong, _ = problems(project, "dev")["network.cidr"]
    assert place.startswith("stacks/Pulumi.dev.yaml:")
    assert "10.32.128.0/17 overlaps 10.32.0.0/16 of stack staging (stacks/Pulumi.staging.yaml:" in wrong


@pytest.mark.parametrize("key", ["project", "number"])
def test_no_two_environments_share_a_project(project: Path, key: str):
    gcp = {
        "project": "acme-ai-dev",
        "number": "111111111111",
        "region": "us-central1",
        "billing_account": "01ABCD-23EF45-6789AB",
    }
    other = {"project": "acme-ai-prod", "number": "666666666666"}
    change(project, "dev-gcp", cloud={"gcp": {**gcp, key: other[key]}})
    assert "also that of stack prod-gcp" in problems(project, "dev-gcp")[f"cloud.gcp.{key}"][1]


def test_no_two_environments_share_an_account(project: Path):
    change(project, "dev", cloud={"aws": {"account": "333333333333", "region": "us-west-2"}})
    assert "also that of stack prod" in problems(project, "dev")["cloud.aws.account"][1]


def test_a_waiver_lets_prod_be_less_until_it_expires(project: Path):
    waiver = {
        "rule": "prod-replication",
        "resource": "data.replicate",
        "reason": "The data is synthetic and can be made again.",
        "owner": "ml-platform@example.com",
        "expires": "2026-06-01",
    }
    change(project, "prod", data={"replicate": False}, policy={"waivers": [waiver]})
    assert load(project, "prod", today=TODAY).data.replicate is False
    change(project, "prod", policy={"waivers": [{**waiver, "expires": "2026-05-31"}]})
    assert "data.replicate" in problems(project, "prod")
    change(project, "prod", policy={"waivers": [{**waiver, "resource": "keys.*"}]})
    assert "data.replicate" in problems(project, "prod")


@pytest.mark.parametrize(
    ("text", "line", "wrong"),
    [
        ("config:\n  ai-platform:tier: [dev\n  x: 1\n", "3", "not YAML"),
        ("config:\n\t- x\n", "2", "not YAML"),
        ("- a\n", "1", "at the top"),
        ("config: 3\n", "1", "not a map"),
    ],
)
def test_a_file_that_does_not_parse_is_one_report(project: Path, text: str, line: str, wrong: str):
    write(project, "dev", text)
    with pytest.raises(SpecError) as caught:
        load(project, "dev")
    assert str(caught.value.problems[0].source) == f"stacks/Pulumi.dev.yaml:{line}"
    assert wrong in caught.value.report()


def test_bytes_that_are_no_text_are_a_problem(project: Path):
    (project / "stacks/Pulumi.dev.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="UTF-8"):
        load(project, "dev")


def test_a_missing_platform_file_is_a_problem(project: Path):
    (project / "stacks/platform.yaml").unlink()
    with pytest.raises(SpecError, match=r"stacks/platform.yaml"):
        load(project, "dev")


def test_keys_outside_the_namespace_are_problems(project: Path):
    write(project, "dev", FIVE_LINES + "  tier: dev\ntier: dev\n")
    found = problems(project, "dev")
    assert [key for key in found if key == "tier"]
    assert any("ai-platform:tier" in right for _, _, right in found.values())


def test_keys_of_other_namespaces_are_pulumis_own(project: Path):
    write(project, "five", FIVE_LINES + '  pulumi:disable-default-providers: ["*"]\n')
    assert load(project, "five").name == "five"


def test_a_key_of_the_platform_file_is_reported_there(project: Path):
    file = project / "stacks/platform.yaml"
    file.write_text(file.read_text() + "teem: {}\n")
    place, _, right = problems(project, "dev")["teem"]
    assert place.startswith("stacks/platform.yaml:")
    assert right.startswith("teams?")


def test_a_default_that_cannot_hold_is_said_to_be_one(project: Path):
    change(project, "prod", cloud={"aws": {"account": "333333333333", "region": "us-west-1"}})
    place, wrong, _ = problems(project, "prod")["network.zones"]
    assert place == "stacks/Pulumi.prod.yaml (default of the tier)"
    assert "us-west-1 has 2" in wrong


# -- Pulumi's own configuration ----------------------------------------------------------------------------------------


def config(project: Path, stack: str) -> dict[str, str]:
    """What Pulumi hands a program: text as it is, all else as JSON."""
    import json

    held = yaml.safe_load((project / f"stacks/Pulumi.{stack}.yaml").read_text())["config"]
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in held.items()}


@pytest.mark.parametrize("stack", STACKS)
def test_pulumis_configuration_and_the_file_agree(project: Path, stack: str):
    assert load(project, stack, config=config(project, stack)).name == stack


def test_another_configuration_file_is_refused(project: Path):
    given = config(project, "dev")
    given["ai-platform:cloud"] = '{"aws": {"account": "333333333333", "region": "us-west-2"}}'
    with pytest.raises(SpecError, match="--config-file is not supported"):
        load(project, "dev", config=given)


def test_what_readers_of_yaml_write_differently_is_no_difference(project: Path):
    """Pulumi's own reader makes a moment of a date and keeps an underscore as it likes."""
    waiver = {"rule": "x", "resource": "y", "reason": "because it is so", "owner": "a@b.co", "expires": "2027-01-31"}
    change(project, "dev", policy={"waivers": [waiver]}, cost={"activate_tags": True, "tags": {"unit": "a_b"}})
    given = config(project, "dev")
    given["ai-platform:policy"] = given["ai-platform:policy"].replace("2027-01-31", "2027-01-31T00:00:00Z")
    given["ai-platform:cost"] = '{"activate_tags": true, "tags": {"unit": "a_b"}}'
    assert load(project, "dev", config=given).cost.activate_tags is True


def test_an_opened_secret_is_no_difference(project: Path):
    change(project, "dev", operations={"webhook": {"secure": "AAABAxyz"}})
    given = config(project, "dev")
    given["ai-platform:operations"] = '{"webhook": "https://hooks.example.com/T/secret"}'
    assert str(load(project, "dev", config=given).operations.webhook) == "[secret]"


@pytest.mark.parametrize(("project_id", "refused"), [("acme-ai-staging-" + "x" * 12, False), ("x" * 30, True)])
def test_a_database_of_google_cloud_takes_the_names_of_whoever_signs_in(project: Path, project_id: str, refused: bool):
    content = yaml.safe_load((project / "stacks/Pulumi.staging-gcp.yaml").read_text())
    where = content["config"]["ai-platform:cloud"]["gcp"]
    change(project, "staging-gcp", cloud={"gcp": {**where, "project": project_id}})
    if not refused:
        assert len(project_id) == 28
        assert load(project, "staging-gcp", today=TODAY).cloud.gcp
        return
    found = problems(project, "staging-gcp")["cloud.gcp.project"]
    assert "63 at most" in found[1]
    assert "a project id of" in found[2]
