"""The ways from the gateway to pods: who registers there, what is opened, and in which order it comes."""

from functools import cache
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components import contracts
from components.aws.foundation.network import services
from components.aws.serving.doors import Doors, DoorsArgs, Way
from components.core.fronts import Front
from components.spec import serving
from components.spec.endpoints import alarms
from policies.model import Graph, Resource
from preview.difference import compare
from preview.record import run
from tests.aws import fronted
from tests.aws.building import build, kind, one, statements, waits_for
from tests.aws.serving import AT, CRITICAL, WARNING, alarm, formula, scope, series, text

GROUPS = "arn:aws:elasticloadbalancing:us-west-2:111111111111:targetgroup"
MACHINES = "sg-machines"
LONG = "a-name-of-an-endpoint-so-long-12"
BIND = "kubernetes:elbv2.k8s.aws/v1beta1:TargetGroupBinding"
WHOLE: dict[str, dict[str, Any]] = {
    "serving": {
        "domain": {"name": "ml.example.com", "zone": {"aws": "Z0123456789"}},
        "endpoints": {
            "search": {
                "kind": "container", "team": "risk", "server": "kubernetes", "model": {"image": "serving:1.0.0"},
                "scale": {"min": 2, "max": 4}, "objective": {"p95_ms": 400, "requests_per_month": 1_000_000},
                "api": {"throttle_rps": 200},
            }
        },
    },
}  # fmt: skip


@cache
def made(*, port: int = 8080, names: tuple[str, ...] = ("search", "score"), preview: bool = False) -> Graph:
    def program() -> None:
        here, parent = scope(), fronted.parent()
        ports = dict.fromkeys(names, 8080) | {names[0]: port}
        known = {n: Front(host=f"{n}.ml.example.com", throttle_rps=50, scope=n) for n in names}
        spec = serving.Container.model_validate({**fronted.CONTAINER, "server": "kubernetes"})
        ways = {
            name: Way(
                front=front,
                port=ports[name],
                health="/ping",
                space="serving-risk",
                workload=name,
                kind="container",
                alarms=alarms(spec),
                team=[text("team")],
                tags={"team": "risk", "endpoint": name},
            )
            for name, front in known.items()
        }
        args = DoorsArgs(
            ways=ways,
            gateway=fronted.gateway(here, parent, known),
            tokens=fronted.TOKENS,
            cluster=contracts.Cluster(
                name=text("acme"), physical_name="acme", endpoint=text("https://1"), location="us-west-2",
                provider=here.provider, resource=parent, node_identity=text("node"), security_group=text(MACHINES),
            ),
            network=fronted.around(),
            boundary=contracts.Boundary(id=text(f"arn:aws:iam::{AT}:policy/acme-ai-dev-boundary")),
            critical=[text(CRITICAL)],
            warning=[text(WARNING)],
        )  # fmt: skip
        found = Doors("doors", args, scope=here, parent=parent).outputs
        pulumi.export("targets", {name: door.target for name, door in found.doors.items()})
        pulumi.export("registrar", found.registrar)

    return run(program, preview=preview)


def mine(graph: Graph, name: str) -> list[Resource]:
    return [each for each in kind(graph, name) if "gateway" not in each.name]


def test_it_registers_in_these_groups_and_does_nothing_else():
    graph = made()
    registers, looks = statements(one(graph, "RolePolicy", "doors-registrar-policy"))
    assert registers["Action"] == ["elasticloadbalancing:DeregisterTargets", "elasticloadbalancing:RegisterTargets"]
    groups = [one(graph, "TargetGroup", f"doors-{name}") for name in ("score", "search")]
    assert registers["Resource"] == [f"${{{group.urn}#arn}}" for group in groups]
    assert all(action.split(":")[1].startswith("Describe") for action in looks["Action"])
    association = one(graph, "PodIdentityAssociation", "doors-registrar-pods")
    from components.kubernetes.foundation.charts import CHARTS

    assert association.get("namespace") == CHARTS["aws-load-balancer-controller"].namespace
    trusted = statements(one(graph, "Role", "doors-registrar-role"), "assumeRolePolicy")
    said = trusted[0]["Condition"]["StringEquals"]
    assert said["aws:RequestTag/kubernetes-service-account"] == association.get("serviceAccount")


def test_a_port_is_opened_once_however_many_answer_on_it():
    """A second rule of the same port is refused by EC2."""
    assert [rule.get("fromPort") for rule in mine(made(), "SecurityGroupIngressRule")] == [8080]
    inward = mine(made(port=9000), "SecurityGroupIngressRule")
    assert [(rule.get("fromPort"), rule.get("toPort")) for rule in inward] == [(8080, 8080), (9000, 9000)]
    gateway = one(made(), "SecurityGroup", "gateway-network")
    for rule in inward:
        assert rule.get("securityGroupId") == MACHINES
        assert rule.get("referencedSecurityGroupId") == f"${{{gateway.urn}#id}}"
        assert not rule.get("cidrIpv4")


def test_requests_have_a_good_token_of_the_endpoint_s_own_scope():
    rules = {rule.name: rule for rule in kind(made(), "ListenerRule")}
    assert set(rules) == {"score-route-rule", "search-route-rule"}
    for name in ("score", "search"):
        rule = rules[f"{name}-route-rule"]
        assert rule.get("conditions") == [{"hostHeader": {"values": [f"{name}.ml.example.com"]}}]
        checks, forwards = rule.get("actions")
        assert checks["type"] == "jwt-validation"
        assert checks["jwtValidation"]["additionalClaims"][1]["values"] == [name]
        [group] = forwards["forward"]["targetGroups"]
        assert group["arn"] == f"${{{one(made(), 'TargetGroup', f'doors-{name}').urn}#arn}}"


def test_a_group_is_of_addresses_and_of_no_port():
    for group in mine(made(), "TargetGroup"):
        assert (group.get("targetType"), group.get("protocol"), group.get("vpcId")) == ("ip", "HTTP", "vpc-1")
        assert group.get("healthCheck")["path"] == "/ping"
    found = compare(made(), made(port=9000))
    assert not any("TargetGroup" in changed.resource.type for changed in found.changed)


def test_alarms_follow_from_the_objective():
    graph = made()
    late = alarm(graph, "acme-ai-dev-search-p95")
    assert late.get("threshold") == 200
    assert "1000" in formula(late)
    errors = alarm(graph, "acme-ai-dev-search-errors")
    assert errors.get("threshold") == pytest.approx(0.1)
    group = one(graph, "TargetGroup", "doors-search")
    for each in (late, errors):
        for metric in series(each).values():
            assert metric["dimensions"]["TargetGroup"] == f"${{{group.urn}#arnSuffix}}"
        assert each.get("alarmActions") == [CRITICAL, "team"]
    used = alarm(graph, "acme-ai-dev-search-saturated")
    assert used.get("dimensions") == {"ClusterName": "acme", "Namespace": "serving-risk", "PodName": "search"}
    assert alarm(graph, "acme-ai-dev-search-ceiling").get("threshold") == 10


def test_names_fit():
    graph = made(names=(LONG, f"{LONG[:-1]}3"))
    names = [group.get("name") for group in mine(graph, "TargetGroup")]
    assert len(set(names)) == 2
    assert all(len(name) <= 32 for name in names)


def test_a_first_preview_knows_what_to_make():
    assert set(made(preview=True).resources) == set(made().resources)


def test_a_closed_network_has_a_way_to_register():
    found = services(nat="none", egress="deny", features=["cluster", "doors"], wanted=None)
    assert "elasticloadbalancing" in found
    assert "elasticloadbalancing" not in services(nat="none", egress="deny", features=["cluster"], wanted=None)


def test_in_an_environment_the_rule_comes_before_the_binding_and_that_before_pods(project: Path):
    graph = build(project, WHOLE)
    [binding] = [r for r in graph.resources.values() if r.type == BIND]
    [deployment] = [r for r in graph.resources.values() if r.name == "search-deployment"]
    group, rule = one(graph, "TargetGroup", "doors-search"), one(graph, "ListenerRule", "search-route-rule")
    assert binding.get("spec.targetGroupARN").startswith(f"${{{group.urn}#")
    assert waits_for(graph, binding, rule, one(graph, "PodIdentityAssociation", "doors-registrar-pods"))
    assert waits_for(graph, deployment, binding)
    fence = next(r for r in graph.resources.values() if r.name == "search-door-fence")
    outside = [peer["ipBlock"]["cidr"] for peer in fence.get("spec.ingress")[0]["from"]]
    public = [r.get("cidrBlock") for r in kind(graph, "Subnet") if "public" in r.name]
    assert sorted(outside) == sorted(public)
