"""Services of Google Cloud for a task: least privilege by service and team, what is bounded and what is watched."""

import json
import re
from functools import cache
from typing import Any, cast, get_args

from components import contracts
from components.gcp.serving.services import TASKS, Services, ServicesArgs, per_minute
from components.spec.serving import Pretrained, Service
from policies.model import Graph, Resource
from preview.record import run
from tests.gcp.building import before, kind, one
from tests.gcp.test_serving_endpoints import CALLER, CRITICAL, NUMBER, PROJECT_ID, TEAM, WARNING, scope, text

APIS = (
    "artifactregistry", "cloudfunctions", "cloudresourcemanager", "cloudscheduler", "iam", "logging", "monitoring", "run",
    "storage",
)  # fmt: skip
SERVICES: dict[str, dict[str, Any]] = {
    service: {"teams": ["risk", "claims"], "calls_per_day": 1440} for service in get_args(Service)
}


def build(*names: str, preview: bool = False) -> Graph:
    def program() -> None:
        here = scope("dev")
        chosen = {name: spec for name, spec in SERVICES.items() if name in (names or SERVICES)}
        args = ServicesArgs(
            services={cast("Service", name): Pretrained.model_validate(spec) for name, spec in chosen.items()},
            apis={f"{service}.googleapis.com": text(PROJECT_ID) for service in APIS}, identities={"risk": text(CALLER)},
            generation=1, number=NUMBER, network=None, compute_key=contracts.Key(id=text("key"), replica=None),
            logs=text("acme-ai-dev-access"), critical=[text(CRITICAL)], warning=[text(WARNING)],
            teams={"risk": [text(TEAM)]},
        )  # fmt: skip
        made = Services("services", args, scope=here, parent=here.provider).outputs
        assert set(made.grants) == set(chosen)

    return run(program, preview=preview)


@cache
def graph() -> Graph:
    return build()


def test_what_is_not_described_is_not_switched_on():
    [api] = kind(build("vision"), "projects/Service")
    assert api.get("service") == "vision.googleapis.com"
    assert api.get("disableOnDestroy") is False
    assert len(kind(graph(), "projects/Service")) == len(SERVICES)


def test_a_role_takes_what_a_call_takes():
    for service, task in TASKS.items():
        role = one(graph(), "projects/IAMCustomRole", f"services-{service.replace('_', '-')}-role")
        assert role.get("permissions") == list(task.permissions)
        verbs = {p.rpartition(".")[2] for p in task.permissions}
        assert not verbs & {"create", "delete", "update", "enable"}
        assert len(role.get("roleId")) <= 64
    grants = [g for g in kind(graph(), "projects/IAMMember") if CALLER in str(g.get("member"))]
    assert len(grants) == len(SERVICES)


def test_a_ceiling_is_there_before_anybody_calls():
    quotas = {q.get("service"): q for q in kind(graph(), "serviceusage/ConsumerQuotaOverride")}
    assert set(quotas) == {"speech.googleapis.com", "texttospeech.googleapis.com"}
    speech = quotas["speech.googleapis.com"]
    assert speech.get("metric") == "speech.googleapis.com%2Fdefault_requests"
    assert (speech.get("limit"), speech.get("overrideValue"), speech.get("force")) == ("%2Fmin%2Fproject", "10", True)
    first = before(graph(), one(graph(), "projects/IAMMember", "services-speech-risk"))
    assert speech.name in first
    acts = {"services-ceilings-function", "services-ceilings-schedule", "service-ceilings-quotas"}
    alerts = {"services-ceilings-speech-speech-capped", "services-ceilings-failing-service-ceilings-failing"}
    assert acts | alerts <= first
    assert per_minute(1) == 1


def test_an_update_does_not_undo_what_the_function_does():
    """It overrides the same quota with 0; were that seen, an update would let everybody call again."""
    for quota in kind(graph(), "serviceusage/ConsumerQuotaOverride"):
        assert quota.ignore_changes == ("overrideValue",)


def policies(ending: str) -> dict[str, Resource]:
    found = {p.get("displayName"): p for p in kind(graph(), "monitoring/AlertPolicy")}
    return {service: found[f"dev: {service.replace('_', '-')}-{ending}"] for service in SERVICES}


def query(policy: Resource) -> str:
    return policy.get("conditions")[0]["conditionPrometheusQueryLanguage"]["query"]


def test_more_calls_than_described_are_told_of():
    assert len(kind(graph(), "monitoring/AlertPolicy")) == 2 * len(SERVICES) + 1
    for policy in policies("calls").values():
        assert query(policy).endswith("[1d])) > 1440")
        assert policy.get("notificationChannels") == [WARNING]


def test_the_ceiling_counts_as_the_alert_below_it_does_and_the_team_hears_of_it():
    expected = policies("calls")
    for service, policy in policies("capped").items():
        assert query(policy) == query(expected[service]).replace("> 1440", "> 2880")
        assert policy.get("notificationChannels") == [WARNING, TEAM]


def told() -> dict[str, dict[str, Any]]:
    """What the function knows."""
    environment = one(graph(), "cloudfunctionsv2/Function", "services-ceilings-function").get(
        "serviceConfig.environmentVariables"
    )
    assert environment["PROJECT"] == PROJECT_ID
    return json.loads(environment["SERVICES"])


def test_the_function_counts_what_the_alerts_do_and_gives_back_what_was_lowered():
    assert set(told()) == set(SERVICES)
    lowered = {
        q.get("metric").replace("%2F", "/"): int(q.get("overrideValue"))
        for q in kind(graph(), "serviceusage/ConsumerQuotaOverride")
    }
    assert {metric: value for known in told().values() for metric, value in known["quotas"].items()} == lowered
    for service, known in told().items():
        assert (known["api"], known["expected"], known["ceiling"]) == (TASKS[cast("Service", service)].api, 1440, 2880)
        assert f'service="{known["api"]}"' in query(policies("capped")[service])
    # What the module of the function says of itself holds: it is handed what it imports.
    archive = one(graph(), "storage/BucketObject", "services-ceilings-code").get("source")
    assert "runtime/gcp/retrieval_rest.py" in json.dumps(archive, default=str)


def test_the_function_may_override_quotas_and_read_metrics_and_nothing_else():
    role = one(graph(), "projects/IAMCustomRole", "services-ceilings-role")
    assert role.get("permissions") == [
        "monitoring.timeSeries.list", "serviceusage.operations.get", "serviceusage.quotas.get", "serviceusage.quotas.update",
    ]  # fmt: skip
    grants = [g for g in kind(graph(), "projects/IAMMember") if g.name.startswith("service-ceilings-")]
    given = {g.name: str(g.get("role")) for g in grants if not g.name.startswith("service-ceilings-build")}
    assert set(given) == {"service-ceilings-quotas"}
    assert given["service-ceilings-quotas"].endswith("services-ceilings-role#name}")


def test_one_look_at_a_time_by_its_schedule_alone():
    config = one(graph(), "cloudfunctionsv2/Function", "services-ceilings-function").get("serviceConfig")
    assert (config["maxInstanceCount"], config["maxInstanceRequestConcurrency"]) == (1, 1)
    assert config["ingressSettings"] == "ALLOW_INTERNAL_ONLY"
    job = one(graph(), "cloudscheduler/Job", "services-ceilings-schedule")
    minutes = int(re.fullmatch(r"\*/(\d+) \* \* \* \*", job.get("schedule"))[1])  # pyright: ignore[reportOptionalSubscript]
    assert config["timeoutSeconds"] < int(job.get("attemptDeadline").rstrip("s")) < minutes * 60
    target = job.get("httpTarget")
    assert target["oidcToken"]["audience"] == target["uri"]
    [caller] = kind(graph(), "cloudrunv2/ServiceIamMember")
    assert caller.get("role") == "roles/run.invoker"
    assert caller.name in before(graph(), job)


def test_a_ceiling_that_nobody_keeps_is_told_of():
    found = {p.get("displayName"): p for p in kind(graph(), "monitoring/AlertPolicy")}
    policy = found["dev: service-ceilings-failing"]
    assert policy.get("notificationChannels") == [CRITICAL]
    [count] = kind(graph(), "logging/Metric")
    job = one(graph(), "cloudscheduler/Job", "services-ceilings-schedule")
    assert f'job_id="{job.get("name")}"' in count.get("filter")
    assert f"user_{count.get('name').replace('-', '_')}" in query(policy)


def test_a_first_preview_knows_no_outputs():
    assert len(kind(build(preview=True), "projects/IAMCustomRole")) == len(SERVICES) + 1
