"""What watches endpoints in a cluster of AWS that no load balancer counts: the collector, its way there, and whom alarms tell."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pulumi
import yaml

from components import contracts
from components.aws.serving.watch import Watch, WatchArgs
from components.core import scrapes
from components.core.in_cluster import Watched, alarms, signs, spaces
from components.core.naming import LIMITS
from components.core.scrapes import ROLLOUTS
from policies.model import Graph, Resource
from preview.record import run
from tests.aws import fronted
from tests.aws.building import build, kind, one, upstream
from tests.aws.serving import CRITICAL, LONG, TEAM, WARNING, scope, text
from tests.aws.test_rows import pages, widgets
from tests.kubernetes.endpoints import endpoint

MACHINES = "sg-machines"
LLAMA = {
    "kind": "llm", "team": "risk", "model": {"weights": {"path": "llama/"}, "max_tokens": 4096}, "pool": "l4",
    "scale": {"max": 2}, "tokens_per_minute": 100_000, "objective": {"requests_per_month": 1000}, "guardrail": None,
}  # fmt: skip
REAL: dict[str, Any] = {
    "kind": "realtime", "team": "risk", "server": "kubernetes", "model": {"image": "serving:1.0.0"},
    "scale": {"min": 2, "max": 4}, "objective": {"p95_ms": 400, "requests_per_month": 1_000_000},
}  # fmt: skip
WHOLE: dict[str, Any] = {
    "serving": {
        "domain": {"name": "ml.example.com", "zone": {"aws": "Z0123456789"}},
        "endpoints": {"inner": REAL, "outer": {**REAL, "api": {"throttle_rps": 20}}},
    }
}


@cache
def made(*, name: str = "fraud", rollouts: bool = False, tier: str = "dev", preview: bool = False) -> Graph:
    specs = {name: endpoint("realtime"), "chat": endpoint("llm", team="vision")}

    def program() -> None:
        here, parent = scope(tier), fronted.parent()
        args = WatchArgs(
            endpoints={key: Watched(team=spec.team, signs=signs(key, spec, "acme", "aws")) for key, spec in specs.items()},
            scrapes=list(scrapes.scrapes(*spaces(specs.values()), [ROLLOUTS] if rollouts else [])),
            cluster=contracts.Cluster(
                name=text("acme"), physical_name="acme", endpoint=text("https://1"), location="us-west-2",
                provider=here.provider, resource=parent, node_identity=text("node"), security_group=text(MACHINES),
            ),
            network=fronted.around(),
            critical=[text(CRITICAL)],
            warning=[text(WARNING)],
            teams={"risk": [text(TEAM)]},
        )  # fmt: skip
        found = Watch("watch", args, scope=here, parent=parent).outputs
        pulumi.export("alarms", dict(found.alarms))

    return run(program, preview=preview)


def alarm(graph: Graph, name: str) -> Resource:
    return one(graph, "MetricAlarm", f"{name.partition('-')[0]}-alarm-{name}")


def test_there_is_one_collector_for_all_and_it_hands_on_to_cloudwatch():
    [collector] = kind(made(), "Scraper")
    assert collector.get("destination.cloudwatch.datasetArn").endswith(":dataset/default")
    assert collector.get("source.eks.clusterArn") == "arn:aws:eks:us-west-2:111111111111:cluster/acme"
    # No pod has an address there: what lets the collector in lets in nobody else.
    assert collector.get("source.eks.subnetIds") == ["subnet-3"]
    told = yaml.safe_load(collector.get("scrapeConfiguration"))
    assert [job["job_name"] for job in told["scrape_configs"]] == ["models", "servers", "routers"]
    assert int(told["global"]["scrape_interval"].rstrip("s")) >= 30
    more = kind(made(rollouts=True), "Scraper")[0]
    assert yaml.safe_load(more.get("scrapeConfiguration"))["scrape_configs"][-1]["job_name"] == "argo-rollouts"


def test_it_gets_to_what_it_reads_and_nobody_gets_to_it():
    graph = made()
    [group] = [g for g in kind(graph, "SecurityGroup") if "watch" in g.name]
    mine = f"${{{group.urn}#id}}"
    inward = [r for r in kind(graph, "SecurityGroupIngressRule") if r.name.startswith("watch")]
    assert {r.get("fromPort") for r in inward} == {443, 8000, 8080, 15090}
    for rule in inward:
        assert rule.get("securityGroupId") == MACHINES
        assert rule.get("referencedSecurityGroupId") == mine
        assert rule.get("fromPort") == rule.get("toPort")
    [collector] = kind(graph, "Scraper")
    first = upstream(graph, collector)
    assert {r.urn for r in inward} <= first
    ports = {r.get("fromPort") for r in kind(made(rollouts=True), "SecurityGroupIngressRule")}
    assert 8090 in ports


def test_an_alarm_that_asks_has_none_of_what_others_have():
    found = kind(made(), "MetricAlarm")
    assert len(found) == 10
    for each in found:
        criteria = each.get("evaluationCriteria.promqlCriteria")
        assert criteria["query"]
        assert each.get("evaluationInterval") == 60
        # "Cannot be used with traditional metric alarm parameters".
        others = (
            "comparisonOperator", "threshold", "metricName", "namespace", "period", "statistic", "evaluationPeriods",
            "datapointsToAlarm", "metricQueries", "treatMissingData", "dimensions",
        )  # fmt: skip
        assert [key for key in others if each.get(key) is not None] == []
        assert 0 <= criteria["pendingPeriod"] <= 86_400
        assert each.get("alarmActions") == each.get("okActions")
    table = {a.name: a for a in alarms("fraud", signs("fraud", endpoint("realtime"), "acme", "aws"))}
    for name, minutes in {"p95": 5, "errors": 5, "saturated": 15, "ceiling": 15, "silent": 30}.items():
        criteria = alarm(made(), f"fraud-{name}").get("evaluationCriteria.promqlCriteria")
        assert criteria["pendingPeriod"] == 60 * minutes
        assert criteria["query"] == table[f"fraud-{name}"].promql
    query = alarm(made(), "fraud-ceiling").get("evaluationCriteria.promqlCriteria.query")
    assert query.endswith(f">= {endpoint('realtime').scale.max}")


def test_the_team_hears_of_all_and_everybody_of_what_cannot_wait():
    for name in ("p95", "errors"):
        assert alarm(made(), f"fraud-{name}").get("alarmActions") == [CRITICAL, TEAM]
    for name in ("saturated", "ceiling", "silent"):
        assert alarm(made(), f"fraud-{name}").get("alarmActions") == [TEAM]
    # A team that nobody can tell.
    assert alarm(made(), "chat-errors").get("alarmActions") == [CRITICAL]
    assert alarm(made(), "chat-ceiling").get("alarmActions") == [WARNING]


def test_names_keep_to_their_limits():
    for each in kind(made(name=LONG), "MetricAlarm"):
        assert len(each.get("name")) <= 255
        assert len(each.get("alarmDescription")) <= 1024
    [group] = [g for g in kind(made(name=LONG), "SecurityGroup") if "watch" in g.name]
    assert len(group.get("name")) <= LIMITS.get("security_group", 255)


def test_a_first_preview_knows_nothing_and_still_watches():
    assert len(kind(made(preview=True), "MetricAlarm")) == 10


def test_what_a_load_balancer_counts_has_no_second_alarm(project: Path):
    graph = build(project, WHOLE)
    told = yaml.safe_load(kind(graph, "Scraper")[0].get("scrapeConfiguration"))
    assert [job["kubernetes_sd_configs"][0]["namespaces"]["names"] for job in told["scrape_configs"]] == [
        ["serving-risk"]
    ]
    asked = [a.name for a in kind(graph, "MetricAlarm") if a.get("evaluationCriteria")]
    assert sorted(asked) == [
        f"inner-alarm-inner-{sign}" for sign in ("ceiling", "errors", "p95", "saturated", "silent")
    ]
    assert [a for a in kind(graph, "MetricAlarm") if a.name.startswith("outer-alarm-outer-")]
    stated = [arn for body in pages(graph) for states in widgets(body, "alarm") for arn in states["alarms"]]
    for name in asked:
        arn = one(graph, "MetricAlarm", name)
        assert any(str(arn.urn) in each for each in stated), f"{name} is on no page"
    # Its team hears of it.
    topics = json.dumps(one(graph, "MetricAlarm", "inner-alarm-inner-errors").get("alarmActions"))
    assert "team-risk" in topics
    [policy] = [r for r in graph.resources.values() if r.name == "spaces-risk-needed"]
    ranges = {
        peer["ipBlock"]["cidr"] for rule in policy.get("spec.ingress") for peer in rule["from"] if "ipBlock" in peer
    }
    subnets = {r.get("cidrBlock") for r in kind(graph, "Subnet") if r.name.startswith("network-data-")}
    assert ranges == subnets
    assert not ranges & {r.get("cidrBlock") for r in kind(graph, "Subnet") if r.name.startswith("network-private-")}


def test_where_all_is_counted_by_a_load_balancer_nothing_is_collected(project: Path):
    only = {"serving": {**WHOLE["serving"], "endpoints": {"outer": {**REAL, "api": {"throttle_rps": 20}}}}}
    graph = build(project, only)
    assert not kind(graph, "Scraper")
    [policy] = [r for r in graph.resources.values() if r.name == "spaces-risk-needed"]
    assert not [peer for rule in policy.get("spec.ingress") for peer in rule["from"] if "ipBlock" in peer]
