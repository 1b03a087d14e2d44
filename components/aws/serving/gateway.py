"""What stands in front of endpoints towards the internet: one load balancer with a firewall."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from components import contracts
from components.aws.blocks.alarms import Alarms, AlarmsArgs
from components.contracts import Text
from components.core import fronts, iam
from components.core.fronts import Front
from components.scope import Component, Scope, after

_ANYWHERE = "0.0.0.0/0"
_PORTS = {"https": 443, "http": 80}
_YEAR_SECONDS, _IDLE_SECONDS = 31_536_000, 75
# A person may have to put the record into the DNS while the deployment waits.
_VALIDATION = "75m"


@dataclass(frozen=True, kw_only=True)
class GatewayArgs:
    """Which hosts there are, and where they lead to."""

    fronts: Mapping[str, Front]
    """By endpoint, `components.core.fronts.fronts`."""
    domain: str
    """Of all hosts, which are one label below it."""
    zone: str | None = None
    """Id of its hosted zone, where it is ours to write to."""
    network: contracts.Network
    access_logs: contracts.Storage
    """The zone of access logs, encrypted by S3 alone, whose policy has `fronts.delivers_logs`."""
    logs_key: contracts.Key
    critical: Sequence[Text] = ()
    warning: Sequence[Text] = ()


class Gateway(Component):
    """An Application Load Balancer that speaks TLS to the internet, and lets a request through to a host that it knows.

    What is asked for by another name is answered with 404. Before that, AWS WAF refuses what is above the throttle of a host,
    counted over a minute for all of its callers, and looks for attacks with rule groups of AWS; a body is looked at for its
    first 8 KiB, and may be larger. Requests by HTTP are sent to HTTPS. An endpoint brings its own rule (`Route`), which checks
    the token: nothing is let through before its endpoint is there.

    Where the domain's zone is not given, somebody puts two kinds of records into the DNS: the one that shows that the domain
    is ours, which ACM names (`aws acm describe-certificate`) and a first deployment waits for, 75 minutes at most; and for each
    host one that leads to the load balancer (`outputs.records`).

    Owns the load balancer with its listeners, its security group, the firewall with its log, the certificate, the records and
    the alarms. Never owns a route, nor what answers. Costs a month (us-east-1): 16.43 USD and 5.84 for each unit of capacity
    (0.008 an hour, 2026-09), its addresses 3.65 in each zone, the firewall 5 and 1 for each rule, and 0.60 a million requests
    (2024-07). A destroy takes it after the routes; where the tier protects, its deletion is refused until that is turned off.

    >>> made = GatewayArgs(
    ...     fronts={"fraud": Front(host="fraud.ml.example.com", throttle_rps=100)}, domain="ml.example.com", zone="Z123",
    ...     network=network, access_logs=bucket, logs_key=key,
    ... )
    >>> list(Gateway("gateway", made, scope=scope, parent=parent).outputs.addresses)
    ['fraud']
    """

    outputs: contracts.Gateway

    def __init__(self, name: str, args: GatewayArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Make the load balancer, and what protects it."""
        super().__init__(name, scope, parent)
        self._args = args
        self._physical = scope.names.of(name, "balancer")
        group, doors = self._security_group()
        balancer = aws.lb.LoadBalancer(
            f"{name}-balancer",
            name=self._physical,
            load_balancer_type="application",
            internal=False,
            ip_address_type="ipv4",
            subnets=list(args.network.public_subnets),
            security_groups=[group.id],
            # An answer of SageMaker may take 60 seconds, and what hands it on some more.
            idle_timeout=_IDLE_SECONDS,
            drop_invalid_header_fields=True,
            desync_mitigation_mode="defensive",
            # Where the firewall does not answer, nobody gets through.
            enable_waf_fail_open=False,
            enable_deletion_protection=not scope.deletable,
            access_logs={"bucket": args.access_logs.name, "prefix": fronts.ACCESS_LOGS, "enabled": True},
            connection_logs={"bucket": args.access_logs.name, "prefix": fronts.CONNECTION_LOGS, "enabled": True},
            opts=self.options(depends_on=doors),
        )
        certificate, valid = self._certificate()
        listener = self._listeners(balancer, valid)
        guarded = self._firewall(balancer)
        records = self._records(balancer)
        self._alarms(balancer, certificate)
        self.outputs = contracts.Gateway(
            addresses={
                endpoint: after(f"https://{front.host}", listener, *guarded, *records.get(endpoint, []))
                for endpoint, front in args.fronts.items()
            },
            records={}
            if args.zone
            else {front.host: pulumi.Output.concat("CNAME ", balancer.dns_name) for front in args.fronts.values()},
            listener=after(listener.arn, *guarded),
            balancer=balancer.arn_suffix.apply(str),
            security_group=group.id,
        )
        self.finish(self.outputs)

    def _security_group(self) -> tuple[aws.ec2.SecurityGroup, list[pulumi.Resource]]:
        """Web ports in; out to where keys of tokens are, and to what routes let it out to."""
        group = aws.ec2.SecurityGroup(
            f"{self.name}-network",
            name=self._physical,
            description="Load balancer: web in, to endpoints and to keys of tokens out",
            vpc_id=self._args.network.id,
            tags={"Name": self._physical},
            opts=self.options(),
        )
        doors: list[pulumi.Resource] = [
            aws.vpc.SecurityGroupIngressRule(
                f"{self.name}-{protocol}",
                security_group_id=group.id,
                description=protocol.upper(),
                cidr_ipv4=_ANYWHERE,
                ip_protocol="tcp",
                from_port=port,
                to_port=port,
                opts=self.options(),
            )
            for protocol, port in _PORTS.items()
        ]
        # The load balancer reads the keys itself, from an address that anybody can read ("Verify JWTs").
        keys = aws.vpc.SecurityGroupEgressRule(
            f"{self.name}-keys",
            security_group_id=group.id,
            description="Keys of tokens",
            cidr_ipv4=_ANYWHERE,
            ip_protocol="tcp",
            from_port=443,
            to_port=443,
            opts=self.options(),
        )
        return group, [*doors, keys]

    def _certificate(self) -> tuple[aws.acm.Certificate, aws.acm.CertificateValidation]:
        """A certificate for the domain and each host below it, and the proof that the domain is ours."""
        args, name = self._args, self.name
        certificate = aws.acm.Certificate(
            f"{name}-certificate",
            domain_name=args.domain,
            subject_alternative_names=[f"*.{args.domain}"],
            validation_method="DNS",
            key_algorithm="EC_prime256v1",
            opts=self.options(),
        )
        # One record shows both: ACM asks for the same of a domain and of all below it.
        asked = certificate.domain_validation_options.apply(_first)
        proof: list[pulumi.Input[str]] = []
        if args.zone:
            proof.append(
                aws.route53.Record(
                    f"{name}-proof",
                    zone_id=args.zone,
                    name=asked["name"],
                    type=asked["type"],
                    records=[asked["value"]],
                    ttl=300,
                    # Two environments may share a domain, and ACM asks an account for one record a domain.
                    allow_overwrite=True,
                    opts=self.options(),
                ).fqdn
            )
        valid = aws.acm.CertificateValidation(
            f"{name}-certificate-valid",
            certificate_arn=certificate.arn,
            validation_record_fqdns=proof or None,
            opts=self.options(custom_timeouts=pulumi.CustomTimeouts(create=_VALIDATION)),
        )
        return certificate, valid

    def _listeners(self, balancer: aws.lb.LoadBalancer, valid: aws.acm.CertificateValidation) -> aws.lb.Listener:
        aws.lb.Listener(
            f"{self.name}-http-listener",
            load_balancer_arn=balancer.arn,
            port=_PORTS["http"],
            protocol="HTTP",
            default_actions=[
                {"type": "redirect", "redirect": {"protocol": "HTTPS", "port": "443", "status_code": "HTTP_301"}}
            ],
            opts=self.options(),
        )
        return aws.lb.Listener(
            f"{self.name}-https-listener",
            load_balancer_arn=balancer.arn,
            port=_PORTS["https"],
            protocol="HTTPS",
            ssl_policy=fronts.TLS,
            certificate_arn=valid.certificate_arn,
            default_actions=[
                {
                    "type": "fixed-response",
                    "fixed_response": {"content_type": "text/plain", "message_body": "Not found", "status_code": "404"},
                }
            ],
            routing_http_response_server_enabled=False,
            routing_http_response_strict_transport_security_header_value=f"max-age={_YEAR_SECONDS}",
            opts=self.options(),
        )

    def _firewall(self, balancer: aws.lb.LoadBalancer) -> list[pulumi.Resource]:
        args, scope, name = self._args, self.scope, self.name
        rules: Any = fronts.firewall(args.fronts, self._physical)
        firewall = aws.wafv2.WebAcl(
            f"{name}-firewall",
            name=self._physical,
            description="What the internet may ask of endpoints.",
            scope="REGIONAL",
            default_action={"allow": {}},
            rules=rules,
            visibility_config={
                "cloudwatch_metrics_enabled": True,
                "sampled_requests_enabled": True,
                "metric_name": self._physical,
            },
            opts=self.options(),
        )
        group = aws.cloudwatch.LogGroup(
            f"{name}-firewall-log",
            name=f"{fronts.FIREWALL_LOGS}{self._physical}",
            retention_in_days=scope.log_days,
            kms_key_id=args.logs_key.id,
            opts=self.options(),
        )
        # Declared, for WAF would make one by itself that stays after it ("Permissions to publish logs to CloudWatch Logs").
        writes = aws.cloudwatch.LogResourcePolicy(
            f"{name}-firewall-writes",
            policy_name=scope.names.of(f"{name}-firewall"),
            policy_document=pulumi.Output.json_dumps(
                iam.document(
                    iam.allow(
                        ["logs:CreateLogStream", "logs:PutLogEvents"],
                        [pulumi.Output.concat(group.arn, ":*")],
                        principals={"Service": "delivery.logs.amazonaws.com"},
                        when=iam.source(scope.account, f"arn:aws:logs:{scope.region}:{scope.account}:*"),
                    )
                )
            ),
            opts=self.options(),
        )
        logged = aws.wafv2.WebAclLoggingConfiguration(
            f"{name}-firewall-logging",
            resource_arn=firewall.arn,
            log_destination_configs=[group.arn],
            # A token is as good as a password while it lasts.
            redacted_fields=[{"single_header": {"name": header}} for header in ("authorization", "cookie")],
            # What was let through is in the access log.
            logging_filter={
                "default_behavior": "DROP",
                "filters": [
                    {
                        "behavior": "KEEP",
                        "requirement": "MEETS_ANY",
                        "conditions": [{"action_condition": {"action": action}} for action in ("BLOCK", "COUNT")],
                    }
                ],
            },
            opts=self.options(depends_on=[writes]),
        )
        before = aws.wafv2.WebAclAssociation(
            f"{name}-firewall-before",
            resource_arn=balancer.arn,
            web_acl_arn=firewall.arn,
            opts=self.options(),
        )
        return [before, logged]

    def _records(self, balancer: aws.lb.LoadBalancer) -> dict[str, list[pulumi.Resource]]:
        args = self._args
        if args.zone is None:
            return {}
        return {
            endpoint: [
                aws.route53.Record(
                    f"{self.name}-{endpoint}-name",
                    zone_id=args.zone,
                    name=front.host,
                    type="A",
                    aliases=[{"name": balancer.dns_name, "zone_id": balancer.zone_id, "evaluate_target_health": False}],
                    opts=self.options(),
                )
            ]
            for endpoint, front in args.fronts.items()
        }

    def _alarms(self, balancer: aws.lb.LoadBalancer, certificate: aws.acm.Certificate) -> None:
        args = self._args
        watched = fronts.alarms(balancer.arn_suffix, self._physical, self.scope.region, certificate.arn)
        Alarms(
            f"{self.name}-alarm",
            AlarmsArgs(alarms=watched, critical=args.critical, warning=args.warning),
            scope=self.scope,
            parent=self,
        )


def _first(options: Sequence[Any] | None) -> dict[str, str]:
    """The record that ACM asks for; without one, as of a certificate that is only planned, nothing is said."""
    for option in options or ():
        return {
            "name": option.resource_record_name,
            "type": option.resource_record_type,
            "value": option.resource_record_value,
        }
    return {"name": "", "type": "CNAME", "value": ""}
