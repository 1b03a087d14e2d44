"""What watches endpoints in the cluster: by what their pods say where nothing stands in front, and releases of any."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws
import yaml

from components import contracts
from components.aws.blocks.alarms import Alarms, AlarmsArgs
from components.aws.blocks.security_group import SecurityGroup, SecurityGroupArgs
from components.contracts import Text
from components.core import in_cluster, scrapes
from components.core.in_cluster import Watched
from components.core.scrapes import Scrape
from components.scope import Component, Scope, after

_API = 443
"""Of the control plane, which says what pods there are."""
_TOLD = 5
"""Actions of an alarm at most."""


@dataclass(frozen=True, kw_only=True)
class WatchArgs:
    """Whose endpoints, and who hears of them."""

    endpoints: Mapping[str, Watched]
    """By name."""
    cluster: contracts.Cluster
    network: contracts.Network
    scrapes: Sequence[Scrape]
    """What is collected for it."""
    critical: Sequence[Text] = ()
    warning: Sequence[Text] = ()
    teams: Mapping[str, Sequence[Text]] = field(default_factory=dict[str, Sequence[Text]])
    """Topics of teams."""


class Watch(Component):
    """The alarms of endpoints in the cluster that no load balancer counts, of releases there, and what collects what they read.

    A managed collector of CloudWatch finds the pods by their labels, reads them from interfaces of its own once a minute, keeps
    the series that alarms read, and hands them to CloudWatch within AWS's network: no pod of ours, no right in an account, and
    no way out of the network. Its interfaces are in the subnets of data stores, where no pod has an address, so that network
    policies can let it in and nobody else. Who may list pods it gets by itself: the service makes its access entry, and nobody
    else may ("Set up managed collectors for Amazon EKS"). Alarms are queries in PromQL, the same as on Google Cloud.

    The other ways: the add-on's agent makes log events of what it reads and knows no histograms, so no p95; one of its versions
    from 8 on would be a pod with a right to write metrics; a workspace of Managed Prometheus would be a second store, with its
    own routing of alarms.

    Owns the collector, its security group and the alarms. Never owns what pods say, nor the policies that let it in. Metrics lie
    in the account's one data set of such (`dataset/default`), for 15 months. What the collector meets it tells nobody; that it is
    gone is seen by the alarms `NAME-silent`.

    Costs by the hour that the collector is there, and by the GB that it hands on, nothing by the series ("OTel metrics pricing
    and storage"); a series of each of fifty pods comes to about 1 GB a month. No price was confirmed, nor whether an alarm that
    asks has another than others: 0.04 USD an hour is that of a collector of Managed Prometheus (from memory). A destroy takes it,
    with its interfaces, before the cluster.

    >>> from components.spec.serving import RealTime
    >>> cluster = contracts.Cluster(
    ...     name=boundary.id, physical_name="acme-ai-dev-cluster", endpoint=boundary.id, location="us-west-2",
    ...     provider=scope.provider, resource=parent, node_identity=boundary.id, security_group=boundary.id,
    ... )
    >>> fraud = RealTime.model_validate({
    ...     "kind": "realtime", "team": "risk", "server": "kubernetes", "model": {"image": "fraud:1"},
    ...     "scale": {"max": 4}, "objective": {"p95_ms": 200, "requests_per_month": 1000},
    ... })
    >>> signs = in_cluster.signs("fraud", fraud, "acme-ai-dev-cluster", "aws")
    >>> args = WatchArgs(
    ...     endpoints={"fraud": Watched(team="risk", signs=signs)}, cluster=cluster, network=network,
    ...     scrapes=list(scrapes.scrapes({"serving-risk"}, ())),
    ... )
    >>> len(Watch("watch", args, scope=scope, parent=parent).outputs.alarms["fraud"])
    5
    """

    outputs: contracts.Watch

    def __init__(self, name: str, args: WatchArgs, *, scope: Scope, parent: pulumi.Resource) -> None:
        """Collect, then watch."""
        super().__init__(name, scope, parent)
        self._args = args
        collector = self._collector()
        self.outputs = contracts.Watch(
            alarms={
                endpoint: [after(arn, collector) for arn in self._alarms(endpoint, watched)]
                for endpoint, watched in sorted(args.endpoints.items())
            }
        )
        self.finish(self.outputs)

    def _collector(self) -> pulumi.Resource:
        args, scope, name = self._args, self.scope, self.name
        group = args.cluster.security_group
        if group is None:
            raise ValueError(f"{name}: machines have a group")
        secured = SecurityGroup(
            f"{name}-network",
            SecurityGroupArgs(
                label="collector",
                description="Collector of metrics: pods of endpoints, and the control plane",
                network=args.network,
                services=(),
                to={f"pods-{port}": (group, (port, port)) for port in (_API, *scrapes.ports(args.scrapes))},
            ),
            scope=scope,
            parent=self,
        ).outputs.id
        at = f"{scope.region}:{scope.account}"
        text = yaml.safe_dump(scrapes.configuration(args.cluster.physical_name, args.scrapes), sort_keys=False)
        return aws.amp.Scraper(
            f"{name}-collector",
            alias=scope.names.of("collector"),
            source={
                "eks": {
                    "cluster_arn": pulumi.Output.concat(f"arn:aws:eks:{at}:cluster/", args.cluster.name),
                    "security_group_ids": [secured],
                    "subnet_ids": list(args.network.data_subnets),
                }
            },
            destination={"cloudwatch": {"dataset_arn": f"arn:aws:cloudwatch:{at}:dataset/default"}},
            scrape_configuration=text,
            opts=self.options(),
        )

    def _alarms(self, endpoint: str, watched: Watched) -> list[Text]:
        args = self._args
        team = args.teams.get(watched.team, ())
        made = Alarms(
            f"{endpoint}-alarm",
            AlarmsArgs(
                alarms=in_cluster.alarms(endpoint, watched.signs),
                critical=[*args.critical, *team][:_TOLD],
                warning=[*(team or args.warning)],
            ),
            scope=self.scope,
            parent=self,
        )
        return list(made.outputs.names.values())
