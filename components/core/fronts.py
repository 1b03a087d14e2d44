"""What stands in front of endpoints: hosts, the firewall of AWS, and what is watched of the load balancer.

Sources: AWS WAF Developer Guide, "AWS WAF quotas", "Rate-based rule statement", "Baseline rule groups"; ELB User Guide, "Security
policies for your Application Load Balancer", "Enable access logs"; Cloud Armor "Rate limiting overview", "Rules language
reference", "Preconfigured WAF rules".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from components.core import iam, monitoring
from components.core.cloudwatch import Alarm, Metric
from components.spec.endpoints import answering, where
from components.spec.environment import Environment
from components.spec.section import CloudName
from components.spec.serving import Api, RealTime

TLS = "ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09"
"""TLS 1.3 and 1.2 with forward secrecy, and key exchange that withstands a quantum computer: what AWS recommends."""
ACCESS_LOGS, CONNECTION_LOGS = "access/balancer", "access/balancer-connections"
"""Prefixes in the bucket of access logs, below what its life cycle counts as access logs."""
FIREWALL_LOGS = "aws-waf-logs-"
"""What the name of a log group of the firewall begins with ("Logging web ACL traffic", CloudWatch Logs)."""
MOST_THROTTLES = 10
"""Rules that count requests, of one firewall; cannot be raised."""
FRONT_PORT, FRONT_METRICS, FRONT_ADMIN = 15443, 15090, 15000
"""Of what checks tokens beside the pods of a cluster: for the load balancer, for who collects metrics, and on the loopback."""
FRONT_PORTS = (FRONT_ADMIN, FRONT_METRICS, FRONT_PORT)
_WINDOW, _LEAST = 60, 10
"""Seconds that requests are counted for, and the smallest number that a rule takes."""
# Rule groups of AWS that look at requests of any kind of API. The body of a request may be larger than the 8 KiB that are looked
# at, and is with images or many records: the rule against that counts only.
_GROUPS: Mapping[str, tuple[str, ...]] = {
    "AWSManagedRulesAmazonIpReputationList": (),
    "AWSManagedRulesKnownBadInputsRuleSet": (),
    "AWSManagedRulesCommonRuleSet": ("SizeRestrictions_BODY",),
}
# Without a port and in small letters: a name that is written otherwise would be counted apart.
_HOST = "^[a-z0-9][a-z0-9.-]*[a-z0-9]$"
_SIGNATURES = ("sqli", "xss", "lfi", "rfi", "rce", "scannerdetection", "protocolattack", "java", "nodejs")
ARMOR: Sequence[str] = tuple(f"{name}-v422-stable" for name in _SIGNATURES)
"""Rule sets of Cloud Armor that apply to an API (OWASP Core Rule Set 4.22)."""
_ARMOR_SECONDS, _LAST = 10, 2_147_483_647
"""The shortest interval of a rule that throttles, and the priority of the rule that every policy has to have."""
ARMOR_MOST = 1_000_000
"""Requests in an interval, of a rule that throttles."""


@dataclass(frozen=True, kw_only=True)
class Front:
    """How one endpoint is reached from the internet."""

    host: str
    throttle_rps: int
    waf: bool = True
    scope: str | None = None
    """What has to be in a token's scope; None where identities of the cloud call."""


def fronts(
    environment: Environment, cloud: CloudName, server: Literal["managed", "kubernetes"] | None = None
) -> dict[str, Front]:
    """The endpoints of a cloud that are reached from the internet, by name, sorted; of a `server`, or of both.

    On AWS identities call an endpoint itself, or its function: a load balancer does not know them. On Google Cloud none leads to
    Vertex AI.
    """
    domain = environment.serving.domain
    found: dict[str, Front] = {}
    for name, endpoint in answering(environment, cloud).items():
        api: Api | None = getattr(endpoint, "api", None)
        place = where(endpoint)
        if api is None or domain is None or server not in {None, place}:
            continue
        checked = cloud == "aws" or place == "kubernetes"
        if (api.auth != "jwt") if checked else isinstance(endpoint, RealTime):
            continue
        found[name] = Front(
            host=api.domain or f"{name}.{domain.name}",
            throttle_rps=api.throttle_rps,
            waf=api.waf,
            scope=(api.scope or name) if api.auth == "jwt" else None,
        )
    return found


def firewall(known: Mapping[str, Front], prefix: str) -> list[dict[str, Any]]:
    """The rules of a web ACL, in order; ValueError where throttles have more different values than a firewall takes.

    Requests of each host are counted together, whoever they come from. One rule counts for all hosts with the same throttle,
    each for itself, since there may be ten such rules and no more.

    >>> made = firewall({"fraud": Front(host="fraud.example.com", throttle_rps=5)}, "acme")
    >>> [rule["name"] for rule in made][:2], made[1]["statement"]["rate_based_statement"]["limit"]
    (['host', 'throttle-5'], 300)
    """
    by_rate: dict[int, list[str]] = {}
    for front in known.values():
        by_rate.setdefault(front.throttle_rps, []).append(front.host)
    if len(by_rate) > MOST_THROTTLES:
        raise ValueError(f"a firewall takes {MOST_THROTTLES} different throttles, not {len(by_rate)}")
    host = {"single_header": {"name": "host"}}
    rules: list[dict[str, Any]] = [
        {
            "name": "host",
            "action": {"block": {}},
            "statement": {
                "not_statement": {
                    "statement": {
                        "regex_match_statement": {
                            "regex_string": _HOST,
                            "field_to_match": host,
                            "text_transformations": [{"priority": 0, "type": "NONE"}],
                        }
                    }
                }
            },
        },
        *(
            {
                "name": f"throttle-{rate}",
                "action": {"block": {"custom_response": {"response_code": 429}}},
                "statement": {
                    "rate_based_statement": {
                        "limit": max(_LEAST, rate * _WINDOW),
                        "evaluation_window_sec": _WINDOW,
                        "aggregate_key_type": "CUSTOM_KEYS",
                        "custom_keys": [
                            {"header": {"name": "host", "text_transformations": [{"priority": 0, "type": "NONE"}]}}
                        ],
                        "scope_down_statement": _one_of(hosts),
                    }
                },
            }
            for rate, hosts in sorted(by_rate.items())
        ),
    ]
    unseen = [front.host for front in known.values() if not front.waf]
    if len(unseen) < len(known):
        for group, counted in _GROUPS.items():
            told: dict[str, Any] = {"vendor_name": "AWS", "name": group}
            if counted:
                told["rule_action_overrides"] = [{"name": rule, "action_to_use": {"count": {}}} for rule in counted]
            if unseen:
                told["scope_down_statement"] = {"not_statement": {"statement": _one_of(unseen)}}
            rules.append(
                {
                    "name": group,
                    "override_action": {"none": {}},
                    "statement": {"managed_rule_group_statement": told},
                }
            )
    for priority, rule in enumerate(rules):
        rule["priority"] = priority
        rule["visibility_config"] = visible(f"{prefix}-{rule['name']}")
    return rules


def visible(name: str) -> dict[str, Any]:
    """Metrics of a rule, and samples of what it met."""
    return {"cloudwatch_metrics_enabled": True, "sampled_requests_enabled": True, "metric_name": name}


def _one_of(hosts: Sequence[str]) -> dict[str, Any]:
    each: list[dict[str, Any]] = [
        {
            "byte_match_statement": {
                "field_to_match": {"single_header": {"name": "host"}},
                "positional_constraint": "EXACTLY",
                "search_string": host,
                "text_transformations": [{"priority": 0, "type": "NONE"}],
            }
        }
        for host in sorted(hosts)
    ]
    return each[0] if len(each) == 1 else {"or_statement": {"statements": each}}


def delivers_logs(bucket: str, account: str) -> iam.Statement:
    """What the bucket of access logs has to say for the load balancer of this account to write there, encrypted by S3 alone.

    >>> delivers_logs("acme-ai-dev-logs", "111111111111")["Principal"]
    {'Service': 'logdelivery.elasticloadbalancing.amazonaws.com'}
    """
    return iam.allow(
        ["s3:PutObject"],
        [f"arn:aws:s3:::{bucket}/{prefix}/AWSLogs/{account}/*" for prefix in (ACCESS_LOGS, CONNECTION_LOGS)],
        sid="BalancerLogs",
        principals={"Service": "logdelivery.elasticloadbalancing.amazonaws.com"},
    )


def alarms(balancer: Any, firewall: str, region: str, certificate: Any) -> list[Alarm]:
    """What is watched of the gateway itself."""

    def counted(name: str) -> Metric:
        return Metric(namespace="AWS/ApplicationELB", name=name, dimensions={"LoadBalancer": balancer}, statistic="Sum")

    def looked(name: str) -> Metric:
        dimensions = {"WebACL": firewall, "Region": region, "Rule": "ALL"}
        return Metric(namespace="AWS/WAFV2", name=name, dimensions=dimensions, statistic="Sum")

    return [
        Alarm(
            name="gateway-errors",
            meaning="The gateway itself cannot answer more than 1 percent of requests: what is behind it is not there.",
            first="Which host: its access log. Then the alarms of that endpoint.",
            severity="critical",
            metrics={"errors": counted("HTTPCode_ELB_5XX_Count"), "calls": counted("RequestCount")},
            expression="IF(errors >= 10, 100 * errors / calls, 0)",
            comparison=">",
            threshold=1,
            period=300,
            periods=1,
        ),
        Alarm(
            name="gateway-refuses",
            meaning="The gateway refuses connections: it has as many as it can have.",
            first="Whether this is an attack (the connection log); else it grows by itself within minutes.",
            severity="critical",
            metrics={"refused": counted("RejectedConnectionCount")},
            comparison=">",
            threshold=0,
            period=300,
            periods=1,
        ),
        Alarm(
            name="gateway-blocks",
            meaning="The firewall blocks more than a fifth of all requests, 100 of them at least.",
            first="Which rule and whom: the firewall's log. A throttle that a caller has outgrown is api.throttle_rps.",
            severity="warning",
            metrics={"blocked": looked("BlockedRequests"), "allowed": looked("AllowedRequests")},
            expression="IF(blocked >= 100, 100 * blocked / SUM([blocked, allowed]), 0)",
            comparison=">",
            threshold=20,
            period=300,
            periods=1,
        ),
        Alarm(
            name="gateway-certificate",
            meaning="The certificate ends in less than 30 days, and AWS has not renewed it.",
            first="Whether the record that shows that the domain is ours is still in the DNS.",
            severity="critical",
            metrics={
                "days": Metric(
                    namespace="AWS/CertificateManager",
                    name="DaysToExpiry",
                    dimensions={"CertificateArn": certificate},
                    statistic="Minimum",
                )
            },
            comparison="<",
            threshold=30,
            period=86400,
            periods=1,
        ),
    ]


def has_scope(wanted: str) -> str:
    """The condition, in CEL, that a token's scope has a word.

    >>> has_scope("fraud")
    "assertion.scope.matches('(^| )fraud( |$)')"
    """
    # A scope has letters, digits and _:./- alone; of those the point alone means something in a pattern.
    return f"assertion.scope.matches('(^| ){wanted.replace('.', '[.]')}( |$)')"


def armor(rate: int, *, waf: bool) -> list[dict[str, Any]]:
    """The rules of a security policy of Cloud Armor, in order; the throttle is the last, for it lets through what it counts.

    It counts each backend apart, so one policy is for all endpoints with the same throttle.

    >>> made = armor(500, waf=True)
    >>> made[0]["match"]["expr"], made[-2]["rate_limit_options"]["rate_limit_threshold"]
    ({'expression': "evaluatePreconfiguredWaf('sqli-v422-stable', {'sensitivity': 1})"}, {'count': 5000, 'interval_sec': 10})
    """
    everybody = {"versioned_expr": "SRC_IPS_V1", "config": {"src_ip_ranges": ["*"]}}
    looks = [
        {
            "action": "deny(403)",
            "priority": 1000 + i,
            "description": name,
            # Signatures that hardly ever mean somebody who is right.
            "match": {"expr": {"expression": f"evaluatePreconfiguredWaf('{name}', {{'sensitivity': 1}})"}},
        }
        for i, name in enumerate(ARMOR if waf else ())
    ]
    return [
        *looks,
        {
            "action": "throttle",
            "priority": 10_000,
            "description": f"{rate} requests a second of all callers together",
            "match": everybody,
            "rate_limit_options": {
                "conform_action": "allow",
                "exceed_action": "deny(429)",
                "enforce_on_key": "ALL",
                "rate_limit_threshold": {
                    "count": min(ARMOR_MOST, rate * _ARMOR_SECONDS),
                    "interval_sec": _ARMOR_SECONDS,
                },
            },
        },
        {"action": "deny(403)", "priority": _LAST, "description": "Nothing else", "match": everybody},
    ]


def nowhere() -> list[dict[str, Any]]:
    """The rules for what is asked for by a name that nobody knows."""
    everybody = {"versioned_expr": "SRC_IPS_V1", "config": {"src_ip_ranges": ["*"]}}
    return [{"action": "deny(404)", "priority": _LAST, "description": "Nobody is called so", "match": everybody}]


def watches(url_map: str, policies: Sequence[str]) -> list[monitoring.Alarm]:
    """What is watched of the gateway of Google Cloud: by the name of its map of hosts, and those of its security policies.

    Sources: "Google Cloud metrics", loadbalancing and networksecurity.
    """
    lb = (
        f'loadbalancing_googleapis_com:https_request_count{{monitored_resource="https_lb_rule",url_map_name="{url_map}"'
    )
    failed, all_ = f'{lb},response_code_class="500"}}[5m]', f"{lb}}}[5m]"
    names = "|".join(policies)
    armored = (
        'networksecurity_googleapis_com:https_request_count{monitored_resource="network_security_policy",'
        f'policy_name=~"{names}"'
    )
    blocked, seen = f'{armored},blocked="true"}}[5m]', f"{armored}}}[5m]"
    return [
        monitoring.Alarm(
            name="gateway-errors",
            meaning="More than 1 percent of the requests to the gateway fail, whatever the reason.",
            first="Which host: the load balancer's log, statusDetails. Then the alarms of that endpoint.",
            severity="critical",
            condition=monitoring.Query(
                promql=f"100 * sum(rate({failed})) / sum(rate({all_})) > 1 and on() sum(increase({failed})) >= 10"
            ),
            minutes=5,
        ),
        monitoring.Alarm(
            name="gateway-blocks",
            meaning="The firewall blocks more than a fifth of all requests, 100 of them at least.",
            first="Which rule and whom: the load balancer's log, enforcedSecurityPolicy. A throttle that a caller has outgrown is"
            " api.throttle_rps.",
            severity="warning",
            condition=monitoring.Query(
                promql=f"100 * sum(rate({blocked})) / sum(rate({seen})) > 20 and on() sum(increase({blocked})) >= 100"
            ),
            minutes=5,
        ),
    ]
