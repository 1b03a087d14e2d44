"""What stands between the internet and endpoints: one door, with TLS, a firewall, a log, and somebody who asks who comes."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from policies.context import is_prod, mapping, maps
from policies.model import Graph, Resource
from policies.pods import SERVICE_OF_RUN
from policies.rule import Found, resource_rule
from policies.served import API_CONFIG, described

LOAD_BALANCER = "aws:lb/loadBalancer:LoadBalancer"
LISTENER = "aws:lb/listener:Listener"
LISTENER_RULE = "aws:lb/listenerRule:ListenerRule"
WEB_ACL = "aws:wafv2/webAcl:WebAcl"
WEB_ACL_ASSOCIATION = "aws:wafv2/webAclAssociation:WebAclAssociation"
WEB_ACL_LOG = "aws:wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration"
API_ROUTE = "aws:apigatewayv2/route:Route"
API_STAGE = "aws:apigatewayv2/stage:Stage"
API_DOMAIN = "aws:apigatewayv2/domainName:DomainName"
AUTHZ_POLICY = "gcp:networksecurity/authzPolicy:AuthzPolicy"

# Google Cloud has each of these for a region and for the world; what leads from one to the other has the same name.
BACKENDS = ("gcp:compute/backendService:BackendService", "gcp:compute/regionBackendService:RegionBackendService")
HTTPS_PROXIES = (
    "gcp:compute/regionTargetHttpsProxy:RegionTargetHttpsProxy",
    "gcp:compute/targetHttpsProxy:TargetHttpsProxy",
)
HTTP_PROXIES = (
    "gcp:compute/regionTargetHttpProxy:RegionTargetHttpProxy",
    "gcp:compute/targetHttpProxy:TargetHttpProxy",
)
FORWARDING_RULES = (
    "gcp:compute/forwardingRule:ForwardingRule",
    "gcp:compute/globalForwardingRule:GlobalForwardingRule",
)
ARMORS: Mapping[str, str] = {
    "gcp:compute/regionSecurityPolicy:RegionSecurityPolicy": "gcp:compute/regionSecurityPolicyRule:RegionSecurityPolicyRule",
    "gcp:compute/securityPolicy:SecurityPolicy": "gcp:compute/securityPolicyRule:SecurityPolicyRule",
}
"""Policies of Cloud Armor, and rules that are declared apart from them."""

# TLS 1.2 and 1.3 with forward secrecy alone (Elastic Load Balancing, "Security policies for your Application Load Balancer"): the
# policies with `Ext` take older ciphers, those without `Res` CBC.
_TLS = re.compile(r"ELBSecurityPolicy-TLS13-1-(3|2-Res)(-FIPS)?(-PQ)?(-\d{4}-\d{2})")
_PROFILES = {"MODERN", "RESTRICTED", "FIPS_202205"}
_EXTERNAL = {"EXTERNAL", "EXTERNAL_MANAGED"}
_CHECKS = {"jwt-validation", "authenticate-cognito", "authenticate-oidc"}


def _linked(resource: Resource, property_: str, graph: Graph) -> list[Resource]:
    found = (graph.resources.get(urn) for urn in sorted(resource.links(property_)))
    return [each for each in found if each is not None]


def is_public(balancer: Resource) -> bool:
    """Whether a load balancer of AWS has addresses on the internet."""
    return balancer.type == LOAD_BALANCER and balancer.get("internal", False) is not True


def _faces_internet(listener: Resource, graph: Graph) -> bool:
    """Whether a listener may be reached from the internet: unless its load balancer is known to be internal."""
    balancers = [each for each in _linked(listener, "loadBalancerArn", graph) if each.type == LOAD_BALANCER]
    return not balancers or any(map(is_public, balancers))


def _is_external(backend: Resource) -> bool:
    default = "EXTERNAL" if backend.type == BACKENDS[0] else "INTERNAL"
    return str(backend.get("loadBalancingScheme", default)) in _EXTERNAL


@resource_rule(
    "gateway-tls",
    title="A front speaks TLS 1.2 or newer with ciphers that stand, and to HTTP it answers with the way to HTTPS",
    types=(LISTENER, API_DOMAIN, *HTTPS_PROXIES, *HTTP_PROXIES),
    severity="high",
    why="What goes over HTTP, or over TLS of 2006, is read on the way: the token first.",
    remedy="components/core/fronts.py, TLS; on Google Cloud an SSL policy with MODERN and TLS_1_2; a redirect for port 80.",
    controls={
        "aws-fsbp": ("ELB.1", "ELB.17", "ELB.18"),
        "soc2": ("CC6.7",),
        "iso-27001": ("A.5.14", "A.8.24"),
        "gdpr": ("32",),
        "eu-ai-act": ("15",),
    },
)
def gateway_tls(resource: Resource, graph: Graph) -> Found:
    """Of internal listeners too. A proxy without a policy takes TLS 1.0 ("SSL policies overview", default policy)."""
    if resource.type == LISTENER:
        yield from _of_listener(resource)
    elif resource.type == API_DOMAIN:
        if resource.get("domainNameConfiguration.securityPolicy") != "TLS_1_2":
            yield f"its TLS is {resource.get('domainNameConfiguration.securityPolicy', 'whatever is the default')}"
    elif resource.type in HTTPS_PROXIES:
        yield from _of_proxy(_linked(resource, "sslPolicy", graph))
    else:
        maps_ = _linked(resource, "urlMap", graph)
        if not maps_ or not all(each.get("defaultUrlRedirect.httpsRedirect") is True for each in maps_):
            yield "it answers to HTTP"


def _of_listener(listener: Resource) -> Iterator[str]:
    protocol = str(listener.get("protocol", "HTTP"))
    if protocol == "HTTP" and not _only_redirects(listener):
        yield "it answers to HTTP"
    if protocol in {"HTTPS", "TLS"}:
        if not _TLS.fullmatch(str(listener.get("sslPolicy"))):
            yield f"its TLS is {listener.get('sslPolicy', 'whatever is the default')}"
        if not listener.get("certificateArn"):
            yield "it has no certificate"


def _of_proxy(policies: list[Resource]) -> Iterator[str]:
    if not policies:
        yield "it takes TLS of any age: it names no SSL policy of ours"
    for policy in policies:
        if str(policy.get("minTlsVersion", "TLS_1_0")) not in {"TLS_1_2", "TLS_1_3"}:
            yield f"it takes {policy.get('minTlsVersion', 'TLS_1_0')}"
        if str(policy.get("profile", "COMPATIBLE")) not in _PROFILES:
            yield f"it takes the ciphers of {policy.get('profile', 'COMPATIBLE')}"


def _only_redirects(listener: Resource) -> bool:
    actions = maps(listener.get("defaultActions"))
    return bool(actions) and all(
        action.get("type") == "redirect" and mapping(action.get("redirect")).get("protocol") == "HTTPS"
        for action in actions
    )


@resource_rule(
    "gateway-firewalled",
    title="In front of what the internet reaches stands a firewall that counts requests",
    types=(LOAD_BALANCER, WEB_ACL, *BACKENDS, *ARMORS),
    severity="high",
    why="One script asks as much as all customers together: the endpoint grows to its ceiling, and the customers wait.",
    remedy="api.throttle_rps; the gateway's web ACL, or its policy of Cloud Armor.",
    controls={
        "aws-fsbp": ("WAF.10", "WAF.12"),
        "soc2": ("CC6.6", "A1.2"),
        "iso-27001": ("A.8.20", "A.8.21"),
        "eu-ai-act": ("15",),
    },
)
def gateway_firewalled(resource: Resource, graph: Graph) -> Found:
    """A rule that limits the rate, in the firewall or declared beside it; what is in preview limits nothing."""
    if resource.type == LOAD_BALANCER:
        if is_public(resource) and not graph.linked(resource.urn, WEB_ACL_ASSOCIATION, "resourceArn"):
            yield "no firewall stands in front of it"
    elif resource.type == WEB_ACL:
        rules = maps(resource.get("rules"))
        if not any(mapping(rule.get("statement")).get("rateBasedStatement") and _blocks(rule) for rule in rules):
            yield "it limits nobody's rate"
        for rule in rules:
            if mapping(rule.get("visibilityConfig")).get("cloudwatchMetricsEnabled") is not True:
                yield f"nobody sees how often {rule.get('name')} holds"
    elif resource.type in BACKENDS:
        if _is_external(resource) and not _linked(resource, "securityPolicy", graph):
            yield "no firewall stands in front of it"
    else:
        apart = graph.linked(resource.urn, ARMORS[resource.type], "securityPolicy")
        found = [*maps(resource.get("rules")), *(each.inputs for each in apart)]
        limits = [rule for rule in found if str(rule.get("action")) in {"throttle", "rate_based_ban"}]
        if found and all(str(rule.get("action")).startswith("deny") for rule in found):
            return  # nobody gets through
        if resource.get("type", "CLOUD_ARMOR") == "CLOUD_ARMOR" and not any(
            rule.get("preview", False) is False for rule in limits
        ):
            yield "it limits nobody's rate"


def _blocks(rule: Mapping[str, Any]) -> bool:
    return "block" in mapping(rule.get("action"))


@resource_rule(
    "gateway-logged",
    title="Who asked for what at a front is written down",
    types=(LOAD_BALANCER, WEB_ACL, API_STAGE, *BACKENDS),
    severity="medium",
    why="After an incident the first question is who called, and nothing behind the front knows.",
    remedy="access_logs, a logging configuration of the web ACL, access_log_settings of a stage, log_config of a backend.",
    controls={
        "aws-fsbp": ("APIGateway.9", "ELB.5"),
        "soc2": ("CC7.2",),
        "iso-27001": ("A.8.15",),
        "gdpr": ("30",),
        "eu-ai-act": ("12",),
    },
)
def gateway_logged(resource: Resource, graph: Graph) -> Found:
    """Backends inside of the network keep none."""
    if resource.type == LOAD_BALANCER:
        if resource.get("accessLogs.enabled") is not True or not resource.get("accessLogs.bucket"):
            yield "it keeps no access log"
    elif resource.type == WEB_ACL:
        if not graph.linked(resource.urn, WEB_ACL_LOG, "resourceArn"):
            yield "nobody sees what it has refused"
    elif resource.type == API_STAGE:
        if not resource.get("accessLogSettings.destinationArn"):
            yield "it keeps no access log"
    elif _is_external(resource) and resource.get("logConfig.enable") is not True:
        yield "it keeps no access log"


@resource_rule(
    "gateway-hardened",
    title="A load balancer drops what is no request, lets nobody past its firewall, and in prod is not deleted by accident",
    types=(LOAD_BALANCER,),
    severity="medium",
    why="Two programs that read one header differently are how a request gets past the first; a deleted front is an outage.",
    remedy="drop_invalid_header_fields, desync_mitigation_mode, enable_waf_fail_open False, enable_deletion_protection.",
    controls={
        "aws-fsbp": ("ELB.4", "ELB.6", "ELB.12"),
        "soc2": ("CC6.6", "A1.2"),
        "iso-27001": ("A.8.20", "A.8.21"),
    },
)
def gateway_hardened(resource: Resource, graph: Graph) -> Found:
    """Headers and firewalls are those of application load balancers."""
    if resource.get("loadBalancerType", "application") == "application":
        if resource.get("dropInvalidHeaderFields") is not True:
            yield "it hands on headers that are none"
        if str(resource.get("desyncMitigationMode", "defensive")) not in {"defensive", "strictest"}:
            yield "it hands on requests that can be read in two ways"
        if resource.get("enableWafFailOpen", False) is not False:
            yield "it lets everybody in while its firewall does not answer"
    if is_prod(graph) and resource.get("enableDeletionProtection") is not True:
        yield "whoever may, deletes it at once"


@resource_rule(
    "gateway-authenticated",
    title="Nothing is handed on before its caller has shown who he is",
    types=(LISTENER, LISTENER_RULE, API_ROUTE, API_CONFIG, SERVICE_OF_RUN),
    severity="critical",
    why="A model that anybody may ask is copied question by question, on our bill, and tells what it was trained on.",
    remedy="api.auth: jwt or iam; a Route of the gateway, whose first action checks the token.",
    controls={
        "aws-fsbp": ("APIGateway.8",),
        "soc2": ("CC6.1", "CC6.6"),
        "iso-27001": ("A.5.15", "A.5.17", "A.8.3"),
        "gdpr": ("32",),
        "eu-ai-act": ("15",),
        "nist-ai-rmf": ("MEASURE 2.7",),
    },
)
def gateway_authenticated(resource: Resource, graph: Graph) -> Found:
    """Of listeners that the internet may reach, every route of an API, and a service that leaves the question to its front."""
    if resource.type == LISTENER:
        if _faces_internet(resource, graph) and _forwards_unasked(resource.get("defaultActions")):
            yield "what no rule knows is handed on without a token"
    elif resource.type == LISTENER_RULE:
        listeners = [each for each in _linked(resource, "listenerArn", graph) if each.type == LISTENER]
        public = not listeners or any(_faces_internet(each, graph) for each in listeners)
        if public and _forwards_unasked(resource.get("actions")):
            yield "requests are handed on without a token"
    elif resource.type == API_ROUTE:
        if str(resource.get("authorizationType", "NONE")) not in {"JWT", "AWS_IAM", "CUSTOM"}:
            yield "it asks nobody who he is"
    elif resource.type == API_CONFIG:
        yield from _open_operations(resource)
    elif resource.get("invokerIamDisabled", False) is not False and not _asked_in_front(graph):
        yield "it leaves the question who calls to its front, and no front asks it"


def _forwards_unasked(actions: Any) -> bool:
    """Whether an action forwards before one has asked; actions without an order stand in theirs."""
    listed = maps(actions)
    ordered = sorted(enumerate(listed), key=lambda pair: (pair[1].get("order", pair[0] + 1), pair[0]))
    for _, action in ordered:
        if str(action.get("type")) in _CHECKS and _refuses(action):
            return False
        if action.get("type") == "forward":
            return True
    return False


def _refuses(action: Mapping[str, Any]) -> bool:
    """Whether who shows nothing gets no further: an authentication may also be told to let him."""
    kinds = ("authenticateOidc", "authenticateCognito")
    return all(mapping(action.get(kind)).get("onUnauthenticatedRequest", "deny") != "allow" for kind in kinds)


def _open_operations(config: Resource) -> Iterator[str]:
    """Operations of an API of API Gateway (Google Cloud) that nobody has to show a token for."""
    for api in described(config):
        for path, methods in mapping(api.get("paths")).items():
            for method, operation in mapping(methods).items():
                if isinstance(operation, Mapping) and not operation.get("security", api.get("security")):
                    yield f"{method.upper()} {path} asks nobody who he is"


def _asked_in_front(graph: Graph) -> bool:
    """Whether a front of Google Cloud asks: a policy of authorization, IAP, or an API that takes tokens."""
    iap = any(mapping(each.get("iap")).get("enabled") is True for each in graph.of_type(*BACKENDS))
    return iap or bool(graph.of_type(AUTHZ_POLICY, API_CONFIG))


@resource_rule(
    "gateway-throttled",
    title="A stage of an API refuses what is above its throttle",
    types=(API_STAGE,),
    severity="medium",
    why="Without a throttle of its own one API takes the whole account's, and the others are refused.",
    remedy="default_route_settings with throttling_rate_limit and throttling_burst_limit, from api.throttle_rps.",
    controls={"soc2": ("A1.2",), "iso-27001": ("A.8.6",)},
)
def gateway_throttled(resource: Resource, graph: Graph) -> Found:  # noqa: ARG001
    """Zero refuses everything, and is not said in the program by accident only."""
    settings = mapping(resource.get("defaultRouteSettings"))
    for limit in ("throttlingRateLimit", "throttlingBurstLimit"):
        if not isinstance(settings.get(limit), int | float):
            yield f"it has no {limit}"


@resource_rule(
    "gateway-only-door",
    title="The internet reaches load balancers that read requests, and nothing else",
    types=(LOAD_BALANCER, *FORWARDING_RULES),
    severity="critical",
    why="What forwards packets has no firewall, no token and no log in front of it.",
    remedy="internal=True; endpoints come behind the gateway.",
    controls={"soc2": ("CC6.6",), "iso-27001": ("A.8.20", "A.8.22"), "eu-ai-act": ("15",)},
)
def gateway_only_door(resource: Resource, graph: Graph) -> Found:
    """An address for Private Service Connect says that it has no scheme, and is inside."""
    if resource.type == LOAD_BALANCER:
        if is_public(resource) and resource.get("loadBalancerType", "application") != "application":
            yield f"a {resource.get('loadBalancerType')} load balancer is on the internet"
        return
    if str(resource.inputs.get("loadBalancingScheme", "EXTERNAL")) not in _EXTERNAL:
        return
    targets = {each.type for each in _linked(resource, "target", graph)}
    if not targets or not targets <= {*HTTP_PROXIES, *HTTPS_PROXIES}:
        yield "it is on the internet, and leads to nothing that reads requests"
