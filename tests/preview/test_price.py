"""What a stack costs: figures worked out by hand, bounds that hold for whatever is described, and nothing that is left out."""

import csv
import doctest
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from components.core import cron
from components.spec.checks import CHECKS
from components.spec.load import load
from components.spec.problems import Source
from components.spec.source import Layer
from components.spec.volumes import volumes
from policies.model import Graph, Resource
from preview.price import FREE, NOTHING_PAID, PRICED, SHARED, UNKNOWN, Bill, Figures, change, known, price
from preview.prices import items, rates
from preview.prices.asked import HOURS, SECONDS, asked, of
from preview.prices.items import UNPRICED
from preview.replaced import REPLACED_BY
from tests.conftest import ROOT, STACKS
from tests.house.test_descriptions_serving import CONTAINER, NAME, PACKAGE, described, endpoints
from tests.preview.graphs import AWS, GCP, graph, make, ref, urn

PLATFORM = "ai-platform:Platform"
REALTIME = "ai-platform:aws:RealTime"
ENDPOINT = "aws:sagemaker/endpoint:Endpoint"
CONFIGURATION = "aws:sagemaker/endpointConfiguration:EndpointConfiguration"
TARGET = "aws:appautoscaling/target:Target"
GROUP = "aws:eks/nodeGroup:NodeGroup"
TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
KEY = "aws:kms/key:Key"
POOL = "ai-platform.io/pool"


def figures(idle: float, expected: float, ceiling: float) -> Figures:
    return Figures(idle=idle, expected=expected, ceiling=ceiling)


def same(found: Figures, wanted: Figures) -> bool:
    pairs = ((found.idle, wanted.idle), (found.expected, wanted.expected), (found.ceiling, wanted.ceiling))
    return all(a == pytest.approx(b, abs=1e-6) for a, b in pairs)


def root(**said: Any) -> Resource:
    return make(PLATFORM, "dev", inputs={"volumes": said})


def scored(
    *,
    region: str = "us-west-2",
    machine: str = "ml.g5.xlarge",
    requests: int = 10_000_000,
    least: int = 1,
    most: int = 3,
) -> Graph:
    """An endpoint of SageMaker, as `RealTime` makes it."""
    said = {
        "team": "risk",
        "kind": "realtime",
        "cloud": "aws",
        "where": "managed",
        "scale": {"min": least, "max": most, "target": {"requests_per_second": 2}},
        "objective": {"p95_ms": 200, "requests_per_month": requests},
    }
    variant = {"instanceType": machine, "initialInstanceCount": least, "variantName": "main"}
    scale = {"resourceId": "endpoint/acme-score/variant/main", "minCapacity": least, "maxCapacity": most}
    provider = urn(AWS, "aws")
    return graph(
        root(endpoints={"score": said}, budget={"monthly_usd": 100, "teams": {"risk": 50}}),
        make(AWS, "aws", inputs={"region": region}),
        make(REALTIME, "score", parent=urn(PLATFORM, "dev")),
        make(CONFIGURATION, "score-1", inputs={"productionVariants": [variant]}, provider=provider),
        make(
            ENDPOINT,
            "score-endpoint",
            parent=urn(REALTIME, "score"),
            provider=provider,
            inputs={"name": "acme-score", "endpointConfigName": ref(CONFIGURATION, "score-1", "name")},
        ),
        make(TARGET, "score-scale", inputs=scale, provider=provider),
    )


# ---- tables


@pytest.mark.parametrize("stack", STACKS)
def test_every_type_is_priced_or_free_or_unknown_for_a_reason(graphs: Callable[..., Graph], stack: str):
    """A type that is in no table would cost nothing: add a line to PRICED, FREE or UNKNOWN in `preview/prices/`."""
    types = {r.type for r in graphs(stack).resources.values() if r.custom and not r.type.startswith("pulumi:")}
    assert {type_ for type_ in types if not known(type_)} == set()


def test_every_type_that_is_known_to_be_replaced_is_known_to_cost_or_not():
    assert {type_ for type_ in REPLACED_BY if ":" in type_ and not known(type_)} == set()


def test_no_type_is_in_two_tables():
    groups = tuple(prefix for prefix in FREE if prefix.endswith("/"))
    assert not PRICED.keys() & UNKNOWN.keys()
    assert not {type_ for type_ in (*PRICED, *UNKNOWN) if type_ in FREE or type_.startswith(groups)}
    assert all(UNKNOWN.values())


def test_every_price_says_where_and_when_it_is_from():
    with rates.TABLE.open(newline="") as file:
        found = list(csv.DictReader(file))
    keys = [(row["cloud"], row["service"], row["sku"], row["region"]) for row in found]
    assert len(keys) == len(set(keys))
    assert keys == sorted(keys)
    for row in found:
        assert all(row[column] for column in ("unit", "region", "source", "as_of")), row
        assert float(row["usd"]) > 0, row
    assert not any("/work" in row["source"] or "shared" in row["source"] for row in found)


def test_prices_need_no_sdk():
    """Whoever prices a graph from a file waits for no SDK."""
    code = "import sys, preview.price; print([name for name in sys.modules if name.startswith('pulumi')])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_guide_names_files_tables_and_keys_that_are_there():
    page = (ROOT / "docs" / "prices.md").read_text()
    paths = re.findall(r"`([\w/]+/[\w/.]+)`", page)
    assert len(paths) > 5
    assert all((ROOT / path).exists() for path in paths), paths
    keys = set(re.findall(r"`(?:[a-z_]+\.)?([a-z0-9_]+)`", page)) - {"usd", "as_of", "source", "async", "system"}
    schema = (ROOT / "stacks" / "platform.schema.json").read_text()
    assert {key for key in keys if f'"{key}"' not in schema} == set()


def test_examples():
    found = doctest.testmod(items)
    assert found.attempted
    assert not found.failed


@pytest.mark.parametrize(
    ("schedule", "runs"),
    [
        ("0 2 * * MON-FRI", 365 / 12 * 5 / 7),
        ("30 6,18 1-15 * *", 30),
        ("0 0 1 1,7 *", 1 / 6),
        ("0 */5 * * *", 5 * 365 / 12),
    ],
)
def test_runs_of_a_schedule(schedule: str, runs: float):
    assert cron.runs_a_month(schedule) == pytest.approx(runs)


# ---- by hand


def test_a_gpu_endpoint_costs_what_its_machines_cost():
    # 10,000,000 requests in 2,628,000 seconds are 3.8 a second, at 2 for each instance: two of them.
    bill = price(scored())
    (line,) = bill.lines
    assert (line.item.rate.what, line.item.rate.usd, line.item.rate.elsewhere) == (
        "SageMaker ml.g5.xlarge",
        1.41,
        False,
    )
    assert same(bill.total, figures(730 * 1.41, 2 * 730 * 1.41, 3 * 730 * 1.41))
    assert (line.component, line.endpoint, line.team) == ("", "score", "risk")
    assert bill.endpoints == {"score": bill.total}
    assert bill.teams == {"risk": bill.total}
    assert (bill.budget_usd, bill.team_budgets) == (100, {"risk": 50})


def test_a_machine_without_a_row_of_its_own_costs_that_of_ec2_and_the_ratio():
    (line,) = price(scored(machine="ml.m6i.xlarge")).lines
    assert line.item.rate.usd == pytest.approx(0.192 * 1.2)
    assert "times 1.2" in line.item.rate.source


def test_a_function_costs_its_calls_and_how_long_they_take():
    said = {
        "team": "risk", "kind": "function", "cloud": "aws", "where": "managed",
        "objective": {"p95_ms": 300, "requests_per_month": 2_000_000},
    }  # fmt: skip
    function = make(
        "aws:lambda/function:Function",
        "check-function",
        parent=urn("ai-platform:aws:Function", "check"),
        provider=urn(AWS, "aws"),
        inputs={"memorySize": 2048, "timeout": 15, "reservedConcurrentExecutions": 20, "name": "acme-check"},
    )
    bill = price(
        graph(
            root(endpoints={"check": said}),
            make(AWS, "aws", inputs={"region": "us-east-1"}),
            make("ai-platform:aws:Function", "check", parent=urn(PLATFORM, "dev")),
            function,
        )
    )
    # 2,000,000 calls of 0.3 seconds with 2 GB; at the most 20 at once for all of the month.
    gb_seconds, requests = 2_000_000 * 0.3 * 2 * 0.0000166667, 2 * 0.2
    most = 20 * SECONDS * 2 * 0.0000166667 + 20 * SECONDS / 0.3 / 1e6 * 0.2
    assert same(bill.total, figures(0, gb_seconds + requests, most))


@pytest.mark.parametrize(
    ("cloud", "model", "each"),
    [
        ("aws", "amazon.nova-lite-v1:0", 100_000 * (1000 * 0.06 + 300 * 0.24) / 1e6),
        ("aws", "us.amazon.nova-lite-v1:0", 100_000 * (1000 * 0.06 + 300 * 0.24) / 1e6),
        ("gcp", "publishers/google/models/gemini-2.5-flash", 100_000 * (1000 * 0.3 + 300 * 2.5) / 1e6),
    ],
)
def test_a_language_model_costs_its_tokens(cloud: str, model: str, each: float):
    said = {
        "team": "risk", "kind": "llm", "cloud": cloud, "where": "managed", "model": model, "tokens_per_minute": 13_000,
        "objective": {"requests_per_month": 100_000, "input_tokens": 1000, "output_tokens": 300},
    }  # fmt: skip
    bill = price(
        graph(
            root(endpoints={"assistant": said}),
            make(AWS if cloud == "aws" else GCP, cloud, inputs={"region": rates.BASE[cloud]}),
            make(f"ai-platform:{cloud}:Llm", "assistant", parent=urn(PLATFORM, "dev")),
        )
    )
    # 13,000 tokens a minute are ten requests a minute, 438,000 a month.
    assert same(bill.total, figures(0, each, each * 4.38))
    assert bill.endpoints.keys() == {"assistant"}


def test_pods_are_paid_for_once_by_the_machines_that_they_need():
    machines = {
        "launchTemplate": {"id": ref(TEMPLATE, "cpu")},
        "scalingConfig": {"minSize": 0, "maxSize": 5},
        "labels": {POOL: "cpu"},
    }
    bill = price(
        graph(
            ranked("aws"),
            make(AWS, "aws", inputs={"region": "us-west-2"}),
            make(TEMPLATE, "cpu", inputs={"instanceType": "m7i.xlarge"}),
            make(GROUP, "cpu", inputs=machines, provider=urn(AWS, "aws")),
            pods("cpu", "3"),
        )
    )
    # Four vCPUs a machine: three quarters of one for each pod, so each has its own; two pods at rest, four as expected.
    assert [line.resource.name for line in bill.lines] == ["cpu"]
    assert same(bill.total, figures(2 * 730 * 0.2016, 4 * 730 * 0.2016, 5 * 730 * 0.2016))
    assert bill.hosted == {"rank": "cpu"}


def test_a_pool_without_endpoints_has_a_ceiling_and_hours_that_nobody_states():
    machines = {"launchTemplate": {"id": ref(TEMPLATE, "gpu")}, "scalingConfig": {"minSize": 1, "maxSize": 5}}
    bill = price(
        graph(
            make(AWS, "aws", inputs={"region": "us-west-2"}),
            make(TEMPLATE, "gpu", inputs={"instanceType": "g6.2xlarge"}),
            make(GROUP, "gpu", inputs=machines, provider=urn(AWS, "aws")),
        )
    )
    assert same(bill.total, figures(730 * 0.9776, 730 * 0.9776, 5 * 730 * 0.9776))
    assert bill.unknown == {("EC2 g6.2xlarge", "hours of jobs are not stated"): 1}


def pods(pool: str, cpu: str) -> Resource:
    """Two pods of the endpoint `rank` in a pool."""
    wanted = {"nodeSelector": {POOL: pool}, "containers": [{"resources": {"requests": {"cpu": cpu, "memory": "2Gi"}}}]}
    content = {"metadata": {"labels": {"ai-platform.io/endpoint": "rank"}}, "spec": {"template": {"spec": wanted}}}
    return make("kubernetes:apps/v1:Deployment", "rank", inputs=content)


def ranked(cloud: str) -> Resource:
    """The volumes of `rank`: two pods at rest, four as expected."""
    return root(
        endpoints={
            "rank": {
                "team": "risk", "kind": "container", "cloud": cloud, "where": "kubernetes",
                "scale": {"min": 2, "max": 8, "target": {"requests_per_second": 1}},
                "objective": {"p95_ms": 200, "requests_per_month": 4 * SECONDS},
            }
        }
    )  # fmt: skip


def test_karpenter_starts_the_cheapest_and_may_start_the_dearest():
    pool = "kubernetes:karpenter.sh/v1:NodePool"
    requirements = [
        {"key": "karpenter.sh/capacity-type", "values": ["spot", "on-demand"]},
        {"key": "node.kubernetes.io/instance-type", "values": ["m7i.4xlarge", "m7i.xlarge"]},
    ]
    template = {"metadata": {"labels": {POOL: "cpu"}}, "spec": {"requirements": requirements}}
    content = {"metadata": {"name": "cpu"}, "spec": {"limits": {"nodes": "6"}, "template": template}}
    bill = price(
        graph(
            ranked("aws"),
            make(AWS, "aws", inputs={"region": "us-west-2"}),
            make(pool, "cpu", inputs=content),
            pods("cpu", "1200m"),
        )
    )
    # Three pods fit on an m7i.xlarge: one at rest, two as expected, both spot; the other four of six the dear ones on demand.
    spot, dear = 730 * 0.086688, 730 * 0.8064
    assert same(bill.total, figures(spot, 2 * spot, 2 * spot + 4 * dear))


def test_a_node_pool_of_google_has_its_accelerators_in_its_price_and_disks_besides():
    config = {
        "machineType": "g2-standard-8", "spot": False, "diskType": "pd-balanced", "diskSizeGb": 200,
        "guestAccelerators": [{"type": "nvidia-l4", "count": 1}], "labels": {POOL: "l4"},
    }  # fmt: skip
    inputs = {"autoscaling": {"totalMinNodeCount": 1, "totalMaxNodeCount": 3}, "nodeConfig": config}
    type_ = "gcp:container/nodePool:NodePool"
    home_ = make(GCP, "gcp", inputs={"region": "us-central1"})
    bill = price(graph(home_, make(type_, "l4", inputs=inputs, provider=urn(GCP, "gcp"))))
    each = 730 * 0.853624 + 200 * 0.1
    assert same(bill.total, figures(each, each, 3 * each))
    by_zone = {**inputs, "autoscaling": {"minNodeCount": 0, "maxNodeCount": 2}, "nodeLocations": ["a", "b", "c"]}
    bill = price(graph(home_, make(type_, "l4", inputs=by_zone, provider=urn(GCP, "gcp"))))
    assert same(bill.total, figures(0, 0, 6 * each))


def served(kind: str, type_: str, inputs: dict[str, Any], cloud: str = "gcp", **said: Any) -> Bill:
    """An endpoint `search` of a kind, with one resource of its component."""
    provider, region = (GCP, "us-central1") if cloud == "gcp" else (AWS, "us-east-1")
    component = f"ai-platform:{cloud}:{kind}"
    about = {"team": "risk", "kind": kind.lower(), "cloud": cloud, "where": "managed", **said}
    return price(
        graph(
            root(endpoints={"search": about}),
            make(provider, cloud, inputs={"region": region}),
            make(component, "search", parent=urn(PLATFORM, "dev")),
            make(type_, "search-it", parent=urn(component, "search"), provider=urn(provider, cloud), inputs=inputs),
        )
    )


def test_cloud_run_costs_what_works_and_what_waits():
    container = {"resources": {"cpuIdle": True, "limits": {"cpu": "2", "memory": "4Gi"}}}
    inputs = {
        "scaling": {"minInstanceCount": 1, "maxInstanceCount": 4},
        "template": {"containers": [container], "timeout": "60s"},
    }
    objective = {"p95_ms": 400, "requests_per_month": 1_000_000}
    bill = served("Container", "gcp:cloudrunv2/service:Service", inputs, objective=objective)
    working, waiting = 2 * 0.000024 + 4 * 0.0000025, (2 + 4) * 0.0000025
    rest = SECONDS * waiting
    most = 4 * SECONDS * working + 4 * SECONDS / 0.4 / 1e6 * 0.4
    assert same(bill.total, figures(rest, rest + 400_000 * working + 0.4, rest + most))


def test_vertex_costs_the_machines_that_a_workflow_deploys():
    machines = {"machineSpec": {"machineType": "g2-standard-8"}, "minReplicaCount": 1, "maxReplicaCount": 3}
    steps = json.dumps({"main": {"steps": [{"make": {"args": {"body": {"dedicatedResources": machines}}}}]}})
    said = {
        "scale": {"min": 1, "max": 3, "target": {"concurrency": 2}},
        "objective": {"p95_ms": 500, "requests_per_month": 8 * SECONDS},
    }
    bill = served("RealTime", "gcp:workflows/workflow:Workflow", {"sourceContents": steps}, **said)
    # Eight a second, each for half a second: four at once, two for each instance.
    assert same(bill.total, figures(730 * 0.98181, 2 * 730 * 0.98181, 3 * 730 * 0.98181))


def test_a_run_costs_its_machines_for_as_long_as_it_may_take():
    job = {"TransformResources": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 2}}
    definition = json.dumps({"States": {"Transform": {"Arguments": job}}})
    type_, objective = "aws:sfn/stateMachine:StateMachine", {"finish_hours": 4, "records_per_month": 1}
    bill = served("Batch", type_, {"definition": definition}, "aws", objective=objective, runs=30)
    assert same(bill.total, figures(0, 30 * 4 * 2 * 0.23, 730 * 2 * 0.23))
    by_hand = served("Batch", type_, {"definition": definition}, "aws", objective=objective)
    assert same(by_hand.total, figures(0, 0, 730 * 2 * 0.23))
    assert ("SageMaker ml.m5.xlarge", "runs when somebody starts it") in by_hand.unknown


def test_five_forwarding_rules_cost_as_much_as_one():
    type_ = "gcp:compute/globalForwardingRule:GlobalForwardingRule"
    home_ = make(GCP, "gcp", inputs={"region": "us-central1"})
    totals = [price(graph(home_, *(make(type_, f"r{i}") for i in range(n)))).total.idle for n in (1, 5, 7)]
    assert totals == pytest.approx([730 * 0.025, 730 * 0.025, 730 * (0.025 + 2 * 0.01)])


def test_a_standby_costs_as_much_again():
    def database(kind: str) -> float:
        settings_ = {"tier": "db-custom-2-8192", "availabilityType": kind, "diskSize": 20}
        home_ = make(GCP, "gcp", inputs={"region": "us-central1"})
        type_ = "gcp:sql/databaseInstance:DatabaseInstance"
        return price(
            graph(home_, make(type_, "db", inputs={"settings": settings_}, provider=urn(GCP, "gcp")))
        ).total.idle

    assert database("ZONAL") == pytest.approx(730 * (2 * 0.0413 + 8 * 0.007 + 20 * 0.000232877))
    assert database("REGIONAL") == pytest.approx(2 * database("ZONAL"))


# ---- what moves a figure


def test_a_higher_ceiling_raises_the_ceiling_alone():
    before, after = price(scored()).total, price(scored(most=6)).total
    assert after.ceiling == pytest.approx(2 * before.ceiling)
    assert (after.idle, after.expected) == (before.idle, before.expected)


def test_another_region_has_its_own_price_or_says_that_it_has_none():
    west, east, europe = (
        price(scored(region=region)).lines[0].item.rate for region in ("us-west-2", "us-east-1", "eu-west-1")
    )
    assert (west.usd, east.usd) == (1.41, 1.4084)
    assert not west.elsewhere
    assert not east.elsewhere
    assert europe.usd != west.usd or europe.elsewhere
    keys = graph(make(AWS, "aws", inputs={"region": "eu-west-1"}), make(KEY, "a", provider=urn(AWS, "aws")))
    assert price(keys).elsewhere == {"us-east-1": 1}
    assert price(replace(keys, resources={**keys.resources, **home("us-east-1")})).elsewhere == {}


def test_a_resource_is_where_it_says_and_a_zone_is_in_its_region():
    lustre = {"capacityGib": "18000", "perUnitStorageThroughput": "125"}
    provider = urn(GCP, "gcp")
    found = price(
        graph(
            make(GCP, "gcp", inputs={"region": "europe-west4"}),
            make(AWS, "aws", inputs={"region": "us-west-2"}),
            make(
                "gcp:lustre/instance:Instance", "a", provider=provider, inputs={**lustre, "location": "us-central1-a"}
            ),
            make(
                "gcp:lustre/instance:Instance", "b", provider=provider, inputs={**lustre, "location": "europe-west4-a"}
            ),
            make("aws:kms/replicaKey:ReplicaKey", "c", provider=urn(AWS, "aws"), inputs={"region": "us-east-1"}),
            make(KEY, "d", provider=urn(AWS, "aws")),
        )
    )
    assert {line.resource.name for line in found.lines if line.item.rate.elsewhere} == {"b", "d"}


def home(region: str) -> dict[str, Resource]:
    return {urn(AWS, "aws"): make(AWS, "aws", inputs={"region": region})}


@pytest.mark.parametrize("stack", ["staging", "staging-gcp"])
@settings(max_examples=25)
@given(data=st.data())
def test_more_requests_never_make_anything_cheaper(graphs: Callable[..., Graph], stack: str, data: st.DataObject):
    recorded = graphs(stack)
    (top,) = recorded.of_type(PLATFORM)
    said = json.loads(json.dumps(top.inputs["volumes"]))
    name = data.draw(
        st.sampled_from(sorted(n for n, e in said["endpoints"].items() if e["kind"] not in {"batch", "edge"}))
    )
    counts = sorted(data.draw(st.tuples(*[st.integers(0, 10**10)] * 2)))
    bills: list[Bill] = []
    for count in counts:
        said["endpoints"][name]["objective"]["requests_per_month"] = count
        bills.append(price(replace(recorded, resources=without(recorded, top)), of(said)))
    less, more = (bill.total for bill in bills)
    assert more.expected >= less.expected - 1e-6
    assert more.idle == pytest.approx(less.idle)
    ordered(bills[1])


def without(recorded: Graph, top: Resource) -> dict[str, Resource]:
    """The resources, of which the root says nothing of volumes."""
    return {**recorded.resources, top.urn: replace(top, inputs={})}


# ---- bounds


def ordered(bill: Bill) -> None:
    for line in bill.lines:
        found = line.figures
        assert 0 <= found.idle <= found.expected * (1 + 1e-9) + 1e-9, (line.resource.urn, line.item)
        assert found.expected <= found.ceiling * (1 + 1e-9) + 1e-9, (line.resource.urn, line.item)
        # Known as a whole, or with a reason.
        item = line.item
        whole = None not in {item.rate.usd, item.expected, item.ceiling}
        assert whole or line.unknown, (line.resource.urn, item)


@pytest.mark.parametrize("stack", STACKS)
def test_the_totals_are_the_sums_of_the_lines_and_each_figure_bounds_the_next(graphs: Callable[..., Graph], stack: str):
    bill = price(graphs(stack))
    ordered(bill)
    assert same(bill.total, total([line.figures for line in bill.lines]))
    for parts in (bill.endpoints, bill.teams, bill.components):
        assert same(bill.total, total(list(parts.values())))
    assert bill.volumes
    assert bill.budget_usd
    assert SHARED in bill.endpoints
    # Every endpoint of the description costs something, or runs on machines that do.
    said = load(ROOT, stack)
    named = {name for name, e in volumes(said)["endpoints"].items() if e["kind"] != "edge"}
    assert named <= bill.endpoints.keys() | bill.hosted.keys()
    assert {line.team for line in bill.lines} - {""} <= said.teams.keys()


def total(parts: list[Figures]) -> Figures:
    found = figures(0, 0, 0)
    for part in parts:
        found += part
    return found


@pytest.mark.parametrize("stack", ["staging", "staging-gcp"])
def test_what_only_the_cloud_will_know_breaks_nothing(graphs: Callable[..., Graph], stack: str):
    unsure, sure = price(graphs(stack, preview=True)), price(graphs(stack))
    ordered(unsure)
    assert 0 < unsure.total.ceiling <= sure.total.ceiling + 1e-6
    assert len(unsure.unknown) >= len(sure.unknown)


@pytest.mark.no_cover
@pytest.mark.parametrize(("stack", "cloud"), [("dev", "aws"), ("dev-gcp", "gcp")])
@settings(max_examples=4, phases=[Phase.generate])  # to shrink an example takes minutes
@given(data=st.data())
def test_figures_are_in_order_for_whatever_is_described(stack: str, cloud: str, data: st.DataObject):
    from components.platform import Platform
    from preview.record import run

    serving = data.draw(st.dictionaries(NAME, endpoints(st.one_of(PACKAGE, CONTAINER)), min_size=1, max_size=4))
    environment = described(stack, serving, {})
    assume(not [p for check in CHECKS for p in check(environment, Layer(Source("stacks/test.yaml")))])
    recorded = run(lambda: Platform(environment) and None, stack=stack)
    bill = price(recorded)
    ordered(bill)
    assert not [
        r.type for r in recorded.resources.values() if r.custom and r.type[:6] != "pulumi" and not known(r.type)
    ]
    named = {name for name, e in volumes(environment)["endpoints"].items() if e["kind"] != "edge"}
    jobs = {name for name in named if serving[name].get("queue")}
    assert named - jobs <= bill.endpoints.keys() | bill.hosted.keys()


# ---- what is not known


def test_an_unknown_price_is_listed_and_never_zero():
    lustre = "aws:fsx/lustreFileSystem:LustreFileSystem"
    shape = {"deploymentType": "PERSISTENT_2", "perUnitStorageThroughput": 500, "storageCapacity": 1200}
    bill = price(
        graph(
            make(AWS, "aws", inputs={"region": "us-east-1"}),
            make(KEY, "a", provider=urn(AWS, "aws")),
            make(lustre, "scratch", provider=urn(AWS, "aws"), inputs=shape),
            make("aws:new/thing:Thing", "new"),
        )
    )
    assert same(bill.total, figures(1, 1, 1))
    assert bill.unknown == {
        ("FSx for Lustre SSD persistent, 500 MB/s per TiB", UNPRICED): 1,
        ("new.Thing", "no table of prices has this type"): 1,
    }
    assert [line.item.rate.usd for line in bill.lines].count(None) == 2


def test_a_graph_that_says_no_volumes_is_priced_as_it_is_when_idle():
    whole = scored()
    silent = replace(whole, resources=without(whole, whole.resources[urn(PLATFORM, "dev")]))
    bill = price(silent)
    assert not bill.volumes
    assert same(bill.total, figures(730 * 1.41, 730 * 1.41, 3 * 730 * 1.41))
    assert price(graph()) == replace(NOTHING_PAID, volumes=False)


# ---- the change


def test_a_change_costs_the_difference():
    before, after = price(scored()), price(scored(machine="ml.g5.2xlarge", most=4))
    found = change(before, after)
    assert same(found.total, figures(730 * 0.11, 2 * 730 * 0.11, 4 * 730 * 1.52 - 3 * 730 * 1.41))
    ((resource, only),) = found.resources
    assert (resource.name, only) == ("score-endpoint", found.total)
    assert same(change(after, after).total, figures(0, 0, 0))
    assert change(after, after).resources == []


def test_what_goes_is_saved_and_a_base_without_volumes_has_those_of_the_head():
    whole = scored()
    silent = replace(whole, resources=without(whole, whole.resources[urn(PLATFORM, "dev")]))
    assert same(change(price(silent, asked(whole)), price(whole)).total, figures(0, 0, 0))
    gone = change(price(whole), NOTHING_PAID)
    assert gone.total == figures(0, 0, 0) - price(whole).total
    assert [resource.name for resource, _ in gone.resources] == ["score-endpoint"]


# ---- speed


@pytest.mark.no_cover
def test_a_price_takes_next_to_no_time(graphs: Callable[..., Graph]):
    recorded = graphs("staging")
    taken: list[float] = []
    for _ in range(3):
        fresh = replace(recorded)  # what a graph has worked out before is not counted
        start = time.process_time()
        price(fresh)
        taken.append(time.process_time() - start)
    assert min(taken) < 0.2
    assert HOURS == 730
