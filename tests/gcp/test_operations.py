"""Who is told, and what it may cost."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from policies.model import Graph
from tests.conftest import GCP
from tests.gcp.building import before, build, kind, one

Graphs = Callable[..., Graph]
HOOK = "https://events.example.com/hook?token=t0k3n"


def test_each_urgency_has_its_own_people(project: Path):
    operations = {"critical": ["on-call@example.com", "on-call@example.com"], "warning": ["team@example.com"]}
    graph = build(project, {"operations": operations})
    emails = {c.name: c.get("labels")["email_address"] for c in kind(graph, "monitoring/NotificationChannel")}
    assert emails["notifications-critical-on-call_example_com"] == "on-call@example.com"
    assert emails["notifications-warning-team_example_com"] == "team@example.com"
    assert emails["notifications-cost-ml-platform_example_com"] == "ml-platform@example.com"
    assert len(graph.outputs["gcp"]["notifications"]["critical"]) == 1


def test_a_paging_service_hears_what_is_critical_and_its_address_stays_a_secret(project: Path):
    graph = build(
        project,
        {"operations": {"webhook": {"secure": "v1:abc"}}},
        secrets={"operations": {"webhook": HOOK}},
        whole=True,
    )
    hook = one(graph, "monitoring/NotificationChannel", "notifications-critical-webhook")
    assert hook.get("type") == "webhook_tokenauth"
    assert hook.get("labels") in ("[secret]", {"url": "[secret]"})
    assert "labels" in hook.secret_outputs
    assert "t0k3n" not in json.dumps([dict(r.inputs) for r in graph.resources.values()], default=str)
    critical, warning = (graph.outputs["gcp"]["notifications"][u] for u in ("critical", "warning"))
    assert [c for c in critical if "critical-webhook" in c]
    assert not [c for c in warning if "webhook" in c]


@pytest.mark.parametrize("stack", GCP)
def test_budgets_may_publish_before_there_is_one(graphs: Graphs, stack: str):
    graph = graphs(stack)
    publisher = one(graph, "pubsub/TopicIAMMember", "notifications-cost-publisher")
    assert publisher.get("member") == "serviceAccount:billing-budget-alert@system.gserviceaccount.com"
    assert publisher.get("role") == "roles/pubsub.publisher"
    budgets = kind(graph, "billing/Budget")
    assert {b.name for b in budgets} == {"budgets-environment", "budgets-team-vision", "budgets-team-risk"}
    for budget in budgets:
        assert publisher.name in before(graph, budget)
        assert budget.get("allUpdatesRule.disableDefaultIamRecipients") is True
        assert budget.get("budgetFilter.calendarPeriod") == "MONTH"


def test_a_budget_watches_its_project_and_a_team_its_label(graphs: Graphs):
    graph = graphs("prod-gcp")
    whole = one(graph, "billing/Budget", "budgets-environment")
    assert whole.get("budgetFilter.projects") == ["projects/666666666666"]
    assert not whole.get("budgetFilter.labels")
    assert whole.get("amount.specifiedAmount") == {"currencyCode": "USD", "units": "150000", "nanos": 0}
    vision = one(graph, "billing/Budget", "budgets-team-vision")
    assert vision.get("budgetFilter.labels") == {"team": "vision"}
    assert vision.get("amount.specifiedAmount.units") == "75000"
    channel = one(graph, "monitoring/NotificationChannel", "budgets-team-vision-vision_example_com")
    assert channel.get("labels") == {"email_address": "vision@example.com"}
    assert vision.get("allUpdatesRule.monitoringNotificationChannels.0").endswith(f"::{channel.name}#name}}")


def test_thresholds_are_those_of_the_tier(graphs: Graphs):
    def thresholds(stack: str) -> list[tuple[str, float]]:
        rules = one(graphs(stack), "billing/Budget", "budgets-environment").get("thresholdRules")
        return [(r["spendBasis"], r["thresholdPercent"]) for r in rules]

    assert thresholds("dev-gcp") == [("CURRENT_SPEND", 0.8), ("CURRENT_SPEND", 1.0), ("FORECASTED_SPEND", 1.0)]
    assert ("FORECASTED_SPEND", 0.8) in thresholds("prod-gcp")


def test_a_share_in_cents_is_not_lost(project: Path):
    graph = build(project, {"budget": {"monthly_usd": 333}, "teams": {"risk": {"budget_percent": 33}}})
    amount = one(graph, "billing/Budget", "budgets-team-risk").get("amount.specifiedAmount")
    assert (amount["units"], amount["nanos"]) == ("109", 890_000_000)


def test_nobody_is_left_out_when_more_are_told_than_a_budget_takes(project: Path):
    people = [f"person-{n}@example.com" for n in range(7)]
    graph = build(project, {"budget": {"notify": people}})
    told = [
        channel
        for budget in kind(graph, "billing/Budget")
        if budget.name.startswith("budgets-environment")
        for channel in budget.get("allUpdatesRule.monitoringNotificationChannels")
    ]
    assert all(len(b.get("allUpdatesRule.monitoringNotificationChannels")) <= 5 for b in kind(graph, "billing/Budget"))
    assert len(set(told)) == 7
    assert len({b.get("displayName") for b in kind(graph, "billing/Budget")}) == len(kind(graph, "billing/Budget"))
    assert set(graph.outputs["gcp"]["budgets"]) == {"environment", "team-vision", "team-risk"}
