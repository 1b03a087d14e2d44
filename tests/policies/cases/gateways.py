"""Rules on what stands in front of endpoints."""

import base64
import json

from tests.policies.build import aws, bad, changed, gcp, good, make, ref

BALANCER = make(
    "aws:lb/loadBalancer:LoadBalancer",
    "front",
    inputs={
        "internal": False,
        "loadBalancerType": "application",
        "dropInvalidHeaderFields": True,
        "enableDeletionProtection": True,
        "accessLogs": {"bucket": "acme-prod-logs", "enabled": True},
    },
)
INSIDE = make("aws:lb/loadBalancer:LoadBalancer", "inside", inputs={"internal": True})
REDIRECT = {"type": "redirect", "redirect": {"protocol": "HTTPS", "port": "443", "statusCode": "HTTP_301"}}
NOT_FOUND = {"type": "fixed-response", "fixedResponse": {"statusCode": "404"}}
FORWARD = {"type": "forward", "order": 2, "forward": {"targetGroups": [{"arn": "arn"}]}}
TOKEN = {"type": "jwt-validation", "order": 1, "jwtValidation": {"issuer": "https://id.example.com"}}


def listener(*actions, of=BALANCER, **inputs):
    base = {
        "loadBalancerArn": ref(of, "arn"),
        "port": 443,
        "protocol": "HTTPS",
        "sslPolicy": "ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09",
        "certificateArn": "arn",
        "defaultActions": list(actions or [NOT_FOUND]),
    }
    found = {key: value for key, value in {**base, **inputs}.items() if value is not None}
    return make("aws:lb/listener:Listener", of.name, inputs=found)


def plain(*actions, of=BALANCER):
    return listener(*actions, of=of, port=80, protocol="HTTP", sslPolicy=None, certificateArn=None)


def rule(*actions, of=None):
    of = of or listener()
    return make("aws:lb/listenerRule:ListenerRule", inputs={"listenerArn": ref(of, "arn"), "actions": list(actions)})


TLS = make("gcp:compute/sSLPolicy:SSLPolicy", inputs={"minTlsVersion": "TLS_1_2", "profile": "MODERN"})
MAP = make("gcp:compute/uRLMap:URLMap", inputs={"defaultUrlRedirect": {"httpsRedirect": True}})


def https(policy=TLS):
    inputs = {"urlMap": "map", **({"sslPolicy": ref(policy, "id")} if policy else {})}
    return make("gcp:compute/targetHttpsProxy:TargetHttpsProxy", inputs=inputs)


def http(map_=MAP):
    return make("gcp:compute/targetHttpProxy:TargetHttpProxy", inputs={"urlMap": ref(map_, "id")})


def domain(policy):
    return make(
        "aws:apigatewayv2/domainName:DomainName", inputs={"domainNameConfiguration": {"securityPolicy": policy}}
    )


RULE = "gateway-tls"
ENCRYPTED = [
    bad(RULE, "HTTP", "answers to HTTP", BALANCER, plain(NOT_FOUND)),
    bad(
        RULE,
        "the way to HTTP",
        "answers to HTTP",
        BALANCER,
        plain({"type": "redirect", "redirect": {"protocol": "HTTP"}}),
    ),
    bad(RULE, "nothing for HTTP", "answers to HTTP", BALANCER, plain({**REDIRECT, "type": "forward"})),
    bad(
        RULE, "no map", "answers to HTTP", make("gcp:compute/targetHttpProxy:TargetHttpProxy", inputs={"urlMap": "map"})
    ),
    bad(RULE, "HTTP inside", "answers to HTTP", INSIDE, plain(FORWARD, of=INSIDE)),
    bad(RULE, "an old policy", "2016-08", listener(sslPolicy="ELBSecurityPolicy-2016-08")),
    bad(RULE, "old ciphers", "Ext1", listener(sslPolicy="ELBSecurityPolicy-TLS13-1-2-Ext1-2021-06")),
    bad(RULE, "no policy", "the default", listener(sslPolicy=None)),
    bad(RULE, "no certificate", "no certificate", listener(certificateArn=None)),
    bad(RULE, "a proxy without a policy", "any age", https(None)),
    bad(RULE, "old TLS", "takes TLS_1_1", changed(TLS, minTlsVersion="TLS_1_1"), https()),
    bad(RULE, "all ciphers", "COMPATIBLE", changed(TLS, profile=None), https()),
    bad(RULE, "a proxy for HTTP", "answers to HTTP", changed(MAP, defaultUrlRedirect=None), http()),
    bad(RULE, "a domain", "TLS is TLS_1_0", domain("TLS_1_0")),
    good(RULE, "TLS", BALANCER, listener(), TLS, https(), domain("TLS_1_2")),
    good(RULE, "the way there", BALANCER, plain(REDIRECT), MAP, http()),
    good(RULE, "TLS 1.3 alone", BALANCER, listener(sslPolicy="ELBSecurityPolicy-TLS13-1-3-2021-06")),
]

SEEN = {"visibilityConfig": {"cloudwatchMetricsEnabled": True}}
LIMIT = {"name": "throttle", "action": {"block": {}}, "statement": {"rateBasedStatement": {"limit": 300}}, **SEEN}


def acl(*rules):
    return make("aws:wafv2/webAcl:WebAcl", inputs={"rules": list(rules)})


BEFORE = make("aws:wafv2/webAclAssociation:WebAclAssociation", inputs={"resourceArn": ref(BALANCER, "arn")})


def armor(*rules, kind="securityPolicy:SecurityPolicy", **inputs):
    return make(f"gcp:compute/{kind}", "armor", inputs={"rules": list(rules), **inputs})


def backend(policy=None, region=False, **inputs):
    type_ = "gcp:compute/regionBackendService:RegionBackendService" if region else (
        "gcp:compute/backendService:BackendService"
    )  # fmt: skip
    base = {"loadBalancingScheme": "EXTERNAL_MANAGED", "logConfig": {"enable": True}, **inputs}
    if policy:
        base["securityPolicy"] = ref(policy, "id")
    return make(type_, inputs={key: value for key, value in base.items() if value is not None})


THROTTLE = {"action": "throttle", "priority": 1000}
APART = make(
    "gcp:compute/securityPolicyRule:SecurityPolicyRule",
    inputs={"action": "rate_based_ban", "securityPolicy": ref(armor(), "name")},
)
RULE = "gateway-firewalled"
FIREWALLED = [
    bad(RULE, "nothing", "no firewall stands", BALANCER),
    bad(RULE, "by default on the internet", "no firewall stands", changed(BALANCER, internal=None)),
    bad(RULE, "no limit", "limits nobody", acl({"name": "a", "action": {"block": {}}, "statement": {}, **SEEN})),
    bad(RULE, "counted only", "limits nobody", acl({**LIMIT, "action": {"count": {}}})),
    bad(RULE, "unseen", "how often throttle holds", acl({**LIMIT, "visibilityConfig": {}})),
    bad(RULE, "a backend", "no firewall stands", backend()),
    bad(RULE, "a backend by default", "no firewall stands", backend(loadBalancingScheme=None)),
    bad(RULE, "no limit of Armor", "limits nobody", armor({"action": "allow"})),
    bad(RULE, "a limit in preview", "limits nobody", armor({**THROTTLE, "preview": True})),
    good(RULE, "behind one", BALANCER, BEFORE, acl(LIMIT)),
    good(RULE, "inside", INSIDE, backend(loadBalancingScheme="INTERNAL_MANAGED")),
    good(RULE, "a backend inside by default", backend(region=True, loadBalancingScheme=None)),
    good(RULE, "behind Armor", it := armor(THROTTLE), backend(it)),
    good(RULE, "rules apart", armor(), APART),
    good(RULE, "for names that nobody knows", armor({"action": "deny(404)"})),
    bad(RULE, "no rules", "limits nobody", armor()),
    good(RULE, "at the edge", armor(type="CLOUD_ARMOR_EDGE")),
]

LOG = make("aws:wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration", inputs={"resourceArn": ref(acl(), "arn")})


def stage(**inputs):
    base = {
        "accessLogSettings": {"destinationArn": "arn", "format": "json"},
        "defaultRouteSettings": {"throttlingRateLimit": 50, "throttlingBurstLimit": 100},
    }
    found = {key: value for key, value in {**base, **inputs}.items() if value is not None}
    return make("aws:apigatewayv2/stage:Stage", inputs=found)


RULE = "gateway-logged"
LOGGED = [
    bad(RULE, "a load balancer", "no access log", changed(BALANCER, accessLogs=None)),
    bad(RULE, "to nowhere", "no access log", changed(BALANCER, accessLogs={"enabled": True})),
    bad(RULE, "switched off", "no access log", changed(BALANCER, accessLogs={"bucket": "a", "enabled": False})),
    bad(RULE, "a firewall", "what it has refused", acl(LIMIT)),
    bad(RULE, "a stage", "no access log", stage(accessLogSettings=None)),
    bad(RULE, "a backend", "no access log", backend(logConfig=None)),
    good(RULE, "all of them", BALANCER, acl(LIMIT), LOG, stage(), backend()),
    good(RULE, "a backend inside", backend(loadBalancingScheme="INTERNAL_MANAGED", logConfig=None)),
]

RULE = "gateway-hardened"
HARDENED = [
    bad(RULE, "headers", "headers that are none", changed(BALANCER, dropInvalidHeaderFields=None)),
    bad(RULE, "two ways", "in two ways", changed(BALANCER, desyncMitigationMode="monitor")),
    bad(RULE, "past the firewall", "does not answer", changed(BALANCER, enableWafFailOpen=True)),
    bad(RULE, "deleted in prod", "deletes it", aws("prod"), changed(BALANCER, enableDeletionProtection=None)),
    good(RULE, "hardened", aws("prod"), BALANCER),
    good(RULE, "deleted in dev", aws("dev"), changed(BALANCER, enableDeletionProtection=False)),
    good(RULE, "of packets", aws("dev"), changed(INSIDE, loadBalancerType="network")),
]

SERVICE = make(
    "gcp:cloudrunv2/service:Service",
    inputs={"ingress": "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER", "invokerIamDisabled": True},
)


def api(encoded=True, **more):
    described = {"paths": {"/ask": {"post": {"operationId": "ask", **more}}}}
    text = json.dumps(described)
    contents = base64.b64encode(text.encode()).decode() if encoded else text
    return make(
        "gcp:apigateway/apiConfig:ApiConfig", inputs={"openapiDocuments": [{"document": {"contents": contents}}]}
    )


def route(kind=None):
    return make(
        "aws:apigatewayv2/route:Route", inputs={"routeKey": "POST /", **({"authorizationType": kind} if kind else {})}
    )


RULE = "gateway-authenticated"
AUTHENTICATED = [
    bad(RULE, "no token", "without a token", BALANCER, listener(), rule(FORWARD)),
    bad(RULE, "the token later", "without a token", BALANCER, listener(), rule({**TOKEN, "order": 3}, FORWARD)),
    bad(RULE, "in the order of the list", "without a token", BALANCER, listener(),
        rule({"type": "forward"}, {"type": "jwt-validation"})),
    bad(
        RULE, "whoever is not signed in", "without a token", BALANCER, listener(),
        rule({"type": "authenticate-oidc", "authenticateOidc": {"onUnauthenticatedRequest": "allow"}}, FORWARD),
    ),
    bad(RULE, "a load balancer that is not known", "without a token", rule(FORWARD)),
    bad(RULE, "by default", "what no rule knows", BALANCER, listener(FORWARD)),
    bad(RULE, "a route", "asks nobody", route()),
    bad(RULE, "a route of nobody", "asks nobody", route("NONE")),
    bad(RULE, "an operation", "POST /ask asks nobody", api()),
    bad(RULE, "an operation in clear", "POST /ask asks nobody", api(encoded=False, security=[])),
    bad(RULE, "a service whose front asks nobody", "no front asks", SERVICE),
    good(RULE, "a token first", BALANCER, listener(), rule(TOKEN, FORWARD)),
    good(RULE, "all that comes inside", INSIDE, listener(FORWARD, of=INSIDE)),
    good(RULE, "a front with a policy", SERVICE, make("gcp:networksecurity/authzPolicy:AuthzPolicy")),
    good(RULE, "signed in", BALANCER, listener(), rule({"type": "authenticate-oidc", "authenticateOidc": {}}, FORWARD)),
    good(RULE, "nowhere", BALANCER, listener(), rule(NOT_FOUND)),
    good(RULE, "inside", INSIDE, it := listener(of=INSIDE), rule(FORWARD, of=it)),
    good(RULE, "routes", route("JWT"), api(security=[{"tokens": []}])),
    good(RULE, "a service whose front asks", SERVICE, backend(iap={"enabled": True})),
    good(RULE, "a service that asks itself", changed(SERVICE, invokerIamDisabled=None)),
]  # fmt: skip

RULE = "gateway-throttled"
THROTTLED = [
    bad(RULE, "nothing", "throttlingRateLimit", stage(defaultRouteSettings=None)),
    bad(RULE, "half", "throttlingBurstLimit", stage(defaultRouteSettings={"throttlingRateLimit": 50})),
    good(RULE, "both", stage()),
]


def forwarding(target=None, **inputs):
    base = {"loadBalancingScheme": "EXTERNAL_MANAGED", **({"target": ref(target, "id")} if target else {}), **inputs}
    found = {key: value for key, value in base.items() if value is not None}
    return make("gcp:compute/globalForwardingRule:GlobalForwardingRule", inputs=found)


RULE = "gateway-only-door"
DOORS = [
    bad(RULE, "packets", "a network load balancer", changed(BALANCER, loadBalancerType="network")),
    bad(RULE, "packets by default outside", "a gateway", changed(INSIDE, internal=None, loadBalancerType="gateway")),
    bad(RULE, "to nothing that reads", "nothing that reads", gcp(), forwarding()),
    bad(RULE, "by default", "nothing that reads", forwarding(loadBalancingScheme=None)),
    bad(RULE, "to machines", "nothing that reads", pool := make("gcp:compute/targetPool:TargetPool"), forwarding(pool)),
    good(RULE, "an application load balancer", BALANCER, changed(INSIDE, loadBalancerType="network")),
    good(RULE, "to proxies", https(), forwarding(https())),
    good(RULE, "inside of Google's network", forwarding(loadBalancingScheme="")),
]

CASES = [*ENCRYPTED, *FIREWALLED, *LOGGED, *HARDENED, *AUTHENTICATED, *THROTTLED, *DOORS]
