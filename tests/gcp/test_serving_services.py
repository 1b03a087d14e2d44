"""Services of Google Cloud for a task: least privilege by service and team, what is bounded and what is watched."""

from functools import cache
from typing import Any, cast, get_args

from components.gcp.serving.services import TASKS, Services, ServicesArgs, per_minute
from components.spec.serving import Pretrained, Service
from policies.model import Graph
from preview.record import run
from tests.gcp.building import before, kind, one
from tests.gcp.test_serving_endpoints import CALLER, PROJECT_ID, WARNING, scope, text

APIS = ("cloudresourcemanager", "iam", "logging", "monitoring")
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
            generation=1, warning=[text(WARNING)],
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
    grants = kind(graph(), "projects/IAMMember")
    assert {g.get("member") for g in grants} == {f"serviceAccount:{CALLER}"}
    assert len(grants) == len(SERVICES)


def test_a_ceiling_is_there_before_anybody_calls():
    quotas = {q.get("service"): q for q in kind(graph(), "serviceusage/ConsumerQuotaOverride")}
    assert set(quotas) == {"speech.googleapis.com", "texttospeech.googleapis.com"}
    speech = quotas["speech.googleapis.com"]
    assert speech.get("metric") == "speech.googleapis.com%2Fdefault_requests"
    assert (speech.get("limit"), speech.get("overrideValue"), speech.get("force")) == ("%2Fmin%2Fproject", "10", True)
    assert speech.name in before(graph(), one(graph(), "projects/IAMMember", "services-speech-risk"))
    assert per_minute(1) == 1


def test_more_calls_than_described_are_told_of():
    policies = kind(graph(), "monitoring/AlertPolicy")
    assert len(policies) == len(SERVICES)
    for policy in policies:
        query = policy.get("conditions")[0]["conditionPrometheusQueryLanguage"]["query"]
        assert query.endswith("[1d])) > 1440")
        assert policy.get("notificationChannels") == [WARNING]


def test_a_first_preview_knows_no_outputs():
    assert len(kind(build(preview=True), "projects/IAMCustomRole")) == len(SERVICES)
